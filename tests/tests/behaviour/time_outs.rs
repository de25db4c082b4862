//! Deadlines come on the adapter's own timers, as typed causes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue_core::{Cause, Keepalive, TimeoutReason, Timeouts};
use duologue_tests::sockets::Chat;

use super::*;
use crate::adapter::SendError;

test! {
    fn a_peer_that_does_not_read_is_a_write_stall() {
        let timeouts = Timeouts::new().write_stall(Some(Duration::from_millis(300)));
        let limits = Limits::new().send_buffer(24 << 20);
        let options = with_config(Config::new().timeouts(timeouts).limits(limits));
        let (mut connection, _peer) = wait!(dialled(options));
        fill(&mut connection);
        let start = Instant::now();
        let (_, closed) = wait!(drain(&mut connection));
        assert_eq!(closed.cause, Cause::Timeout(TimeoutReason::WriteStall));
        assert!(closed.unsent > 0);
        assert!((Duration::from_millis(300)..Duration::from_secs(10)).contains(&start.elapsed()));
    }
}

test! {
    fn a_deadline_that_comes_nearer_is_kept() {
        let timeouts = Timeouts::new().idle(Some(Duration::from_secs(4))).write_stall(Some(Duration::from_millis(300)));
        let limits = Limits::new().send_buffer(24 << 20);
        let (mut connection, mut peer) = wait!(dialled(with_config(Config::new().timeouts(timeouts).limits(limits))));
        // The timer is set to the far one while this is waited for.
        let later = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            peer.write(&frame(b"now"));
            peer
        });
        assert_eq!(wait!(message(&mut connection)), "now");
        let _peer = later.join().unwrap();
        fill(&mut connection);
        let start = Instant::now();
        let (_, closed) = wait!(drain(&mut connection));
        assert_eq!(closed.cause, Cause::Timeout(TimeoutReason::WriteStall));
        assert!((Duration::from_millis(300)..Duration::from_secs(3)).contains(&start.elapsed()));
    }
}

test! {
    fn a_peer_that_answers_no_probe_is_dead() {
        let keepalive = Keepalive { quiet: Duration::from_millis(100), reply: Duration::from_millis(100) };
        let options = with_timeouts(Timeouts::new().keepalive(Some(keepalive)));
        let (mut connection, mut peer) = accepted(Chat::new(false), &options);
        let start = Instant::now();
        let ended = beside!({ wait!(connection.closed()) });
        let mut probe = [0; 5];
        // The first probe is answered, the second is not.
        std::io::Read::read_exact(&mut peer.stream, &mut probe).unwrap();
        assert_eq!(&probe, b"PING\n");
        peer.write(b"pong\n");
        std::io::Read::read_exact(&mut peer.stream, &mut probe).unwrap();
        assert_eq!(&probe, b"PING\n");
        assert_eq!(ended.join().unwrap().cause, Cause::Timeout(TimeoutReason::KeepaliveReply));
        assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&start.elapsed()));
    }
}

test! {
    fn a_silent_session_ends_idle() {
        let timeouts = Timeouts::new().idle(Some(Duration::from_millis(150))).linger(None);
        let (mut connection, _peer) = accepted(frames(), &with_timeouts(timeouts));
        let (_, closed) = wait!(drain(&mut connection));
        assert_eq!(closed.cause, Cause::Timeout(TimeoutReason::Idle));
    }
}

test! {
    fn an_opening_that_is_not_answered_ends_in_time() {
        let timeouts = Timeouts::new().handshake(Some(Duration::from_millis(150)));
        let (mut connection, _peer) = accepted(Chat::new(true), &with_timeouts(timeouts));
        assert_eq!(wait!(connection.closed()).cause, Cause::Timeout(TimeoutReason::Handshake));
    }
}

test! {
    fn a_send_without_room_gives_the_message_back_in_time() {
        let (mut connection, _peer) = wait!(dialled(with_big_queue().send_within(Duration::from_millis(200))));
        let last = loop {
            let start = Instant::now();
            let sent = wait!(connection.send(Bytes::from(vec![1; 100_000])));
            if let Err(refused) = sent {
                assert!(start.elapsed() >= Duration::from_millis(200));
                break refused;
            }
        };
        assert!(matches!(last, SendError::TimedOut { .. }), "{last}");
        assert_eq!(last.into_command().len(), 100_000);
    }
}
