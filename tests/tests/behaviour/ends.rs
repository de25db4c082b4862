//! Resets, truncation, close and drop.

use std::io::ErrorKind;

use bytes::Bytes;
use duologue_core::{Cause, CloseIntent, Code, Event};
use duologue_tests::sockets::Chat;

use super::*;

macro_rules! abort_resets {
    ($made:expr) => {{
        let (mut connection, mut peer): (Connection<Frames>, Peer) = $made;
        for _ in 0..10 {
            connection.try_send(Bytes::from_static(b"queued")).unwrap();
        }
        connection.abort(Code(7));
        let (events, closed) = wait!(drain(&mut connection));
        assert_eq!(events, []);
        assert_eq!((closed.cause, closed.unsent), (Cause::LocalAbort(Code(7)), 10));
        let (bytes, result) = peer.rest();
        assert_eq!((bytes.len(), result.unwrap_err().kind()), (0, ErrorKind::ConnectionReset));
    }};
}

test! {
    fn abort_is_a_reset_on_the_wire_of_a_dialled_connection() {
        abort_resets!(wait!(dialled(Options::new())));
    }
}

test! {
    fn abort_is_a_reset_on_the_wire_of_an_accepted_connection() {
        abort_resets!(accepted(frames(), &Options::new()));
    }
}

test! {
    fn a_reset_by_the_peer_is_typed_and_the_unsent_are_counted() {
        let (mut connection, peer) = wait!(dialled(with_big_queue()));
        fill(&mut connection);
        let ended = beside!({ (wait!(drain(&mut connection)), connection.session().stats()) });
        std::thread::sleep(std::time::Duration::from_millis(50));
        peer.reset();
        let ((_, closed), stats) = ended.join().unwrap();
        assert_eq!((closed.cause, closed.peer_finished), (Cause::PeerReset, false));
        assert!(closed.unsent > 0);
        assert_eq!(stats.accepted, stats.flushed + closed.unsent);
    }
}

test! {
    fn a_reset_is_never_taken_for_the_peers_fin() {
        for queued in [false, true] {
            let (mut connection, mut peer) = accepted(frames(), &Options::new());
            peer.write(&frame(b"before the reset"));
            peer.reset();
            // The kernel takes the RST in.
            std::thread::sleep(std::time::Duration::from_millis(50));
            if queued {
                connection.try_send(Bytes::from_static(b"written first")).unwrap();
            }
            let (events, closed) = wait!(drain(&mut connection));
            assert_eq!(messages(&events), ["before the reset"], "queued: {queued}");
            assert!(!events.contains(&Event::PeerFinished), "queued: {queued}");
            assert_eq!((closed.cause, closed.peer_finished), (Cause::PeerReset, false), "queued: {queued}");
        }
    }
}

test! {
    fn a_fin_inside_a_frame_is_truncation_with_the_missing_bytes() {
        let (mut connection, mut peer) = accepted(frames(), &Options::new());
        peer.write(&[&frame(b"whole")[..], &frame(b"cut off")[..6]].concat());
        drop(peer);
        let (events, closed) = wait!(drain(&mut connection));
        assert_eq!(messages(&events), ["whole"]);
        assert_eq!(closed.cause, Cause::Truncated { missing: Some(5) });
    }
}

test! {
    fn close_says_goodbye_flushes_and_waits_for_the_answer() {
        let (mut connection, mut peer) = accepted(Chat::new(false), &Options::new());
        wait!(connection.send(Bytes::from_static(b"hello"))).unwrap();
        let closing = beside!({ wait!(connection.close(Code(1))) });
        let mut heard = [0; 10];
        std::io::Read::read_exact(&mut peer.stream, &mut heard).unwrap();
        assert_eq!(&heard, b"hello\nBYE\n");
        peer.write(b"BYE\n");
        assert_eq!(peer.rest().0, b"");
        drop(peer);
        let closed = closing.join().unwrap();
        assert_eq!((closed.cause, closed.unsent, closed.peer_finished), (Cause::LocalClose(Code(1)), 0, true));
    }
}

test! {
    fn dropping_sends_what_the_kernel_takes_and_then_fin() {
        let (mut connection, mut peer) = wait!(dialled(Options::new()));
        connection.try_send(Bytes::from_static(b"parting")).unwrap();
        drop(connection);
        assert_eq!(peer.frame().as_deref(), Some(&b"parting"[..]));
        assert_eq!(peer.frame(), None);
    }
}

test! {
    fn dropping_with_more_than_the_kernel_takes_is_a_reset() {
        let (mut connection, mut peer) = wait!(dialled(with_big_queue()));
        fill(&mut connection);
        drop(connection);
        assert_eq!(peer.rest().1.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

test! {
    fn a_close_without_an_answer_ends_in_time() {
        let timeouts = duologue_core::Timeouts::new().linger(Some(std::time::Duration::from_millis(200)));
        let (mut connection, _peer) = accepted(frames(), &with_timeouts(timeouts));
        let start = std::time::Instant::now();
        connection.start_close(CloseIntent::Flush(Code(4)));
        let (_, closed) = wait!(drain(&mut connection));
        assert_eq!((closed.cause, closed.peer_finished), (Cause::LocalClose(Code(4)), false));
        assert!(start.elapsed() >= std::time::Duration::from_millis(200));
        assert!(start.elapsed() < std::time::Duration::from_secs(5));
    }
}
