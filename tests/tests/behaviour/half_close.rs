//! Half-close in both orders: `finish` is a FIN after the last byte, and receiving goes on.

use bytes::Bytes;
use duologue_core::{Cause, Config, Event, OnPeerFinish, Side};

use super::*;

/// The peer sees our bytes, then our FIN, and what it writes after that still reaches us.
macro_rules! fin_is_seen {
    ($made:expr) => {{
        let (mut connection, mut peer): (Connection<Frames>, Peer) = $made;
        wait!(connection.send(Bytes::from_static(b"last"))).unwrap();
        connection.finish();
        let ended = beside!({ wait!(drain(&mut connection)) });
        assert_eq!(peer.frame().as_deref(), Some(&b"last"[..]));
        assert_eq!(peer.frame(), None, "FIN, and nothing before it");
        peer.write(&[frame(b"one"), frame(b"two")].concat());
        drop(peer);
        let (events, closed) = ended.join().unwrap();
        assert_eq!(messages(&events), ["one", "two"]);
        assert_eq!(events.last(), Some(&Event::PeerFinished));
        assert_eq!((closed.cause, closed.finished_first), (Cause::LocalFinished, Some(Side::Local)));
    }};
}

test! {
    fn finish_is_a_fin_on_the_wire_of_a_dialled_connection() {
        fin_is_seen!(wait!(dialled(Options::new())));
    }
}

test! {
    fn finish_is_a_fin_on_the_wire_of_an_accepted_connection() {
        fin_is_seen!(accepted(frames(), &Options::new()));
    }
}

test! {
    fn who_keeps_sending_answers_long_after_the_peers_fin() {
        let keep_sending = with_config(Config::new().on_peer_finish(OnPeerFinish::KeepSending));
        let (mut connection, mut peer) = wait!(dialled(keep_sending));
        peer.write(&frame(b"question"));
        peer.finish();
        assert_eq!(wait!(message(&mut connection)), "question");
        assert_eq!(wait!(connection.next_event()), Some(Event::PeerFinished));
        let answering = beside!({
            for number in 0..500_u32 {
                wait!(connection.send(Bytes::copy_from_slice(&number.to_be_bytes()))).unwrap();
            }
            connection.finish();
            wait!(drain(&mut connection)).1
        });
        for number in 0..500_u32 {
            assert_eq!(peer.frame().unwrap(), number.to_be_bytes());
        }
        assert_eq!(peer.frame(), None);
        let closed = answering.join().unwrap();
        assert_eq!((closed.cause, closed.finished_first, closed.unsent), (Cause::PeerFinished, Some(Side::Peer), 0));
    }
}

test! {
    /// Nothing more is read of the peer and nothing is there to be written, so that neither would tell.
    #[cfg(unix)]
    fn a_reset_behind_the_peers_fin_is_noticed_though_nothing_is_read_or_written() {
        let patient = Config::new().on_peer_finish(OnPeerFinish::KeepSending).timeouts(Timeouts::none());
        let (mut connection, mut peer) = wait!(dialled(with_config(patient)));
        peer.write(&frame(b"question"));
        peer.finish();
        assert_eq!(wait!(message(&mut connection)), "question");
        assert_eq!(wait!(connection.next_event()), Some(Event::PeerFinished));
        let ended = beside!({ wait!(drain(&mut connection)).1 });
        peer.reset();
        assert_eq!(ended.join().unwrap().cause, Cause::PeerReset);
    }
}

test! {
    fn fin_comes_after_the_last_byte_of_a_big_queue() {
        let (mut connection, mut peer) = accepted(frames(), &with_big_queue());
        let count = fill(&mut connection);
        connection.finish();
        let ended = beside!({ wait!(drain(&mut connection)).1 });
        let (wire, result) = peer.rest();
        result.unwrap();
        let (payloads, rest) = parse(&wire);
        assert_eq!((payloads.len(), rest.len()), (count, 0));
        drop(peer);
        assert_eq!(ended.join().unwrap().unsent, 0);
    }
}

test! {
    fn queued_output_is_flushed_when_the_peer_finishes_first() {
        let (mut connection, mut peer) = wait!(dialled(with_big_queue()));
        let count = fill(&mut connection);
        peer.finish();
        let ended = beside!({ wait!(drain(&mut connection)).1 });
        let (wire, result) = peer.rest();
        result.unwrap();
        assert_eq!(parse(&wire).0.len(), count);
        let closed = ended.join().unwrap();
        assert_eq!((closed.cause, closed.unsent), (Cause::PeerFinished, 0));
    }
}
