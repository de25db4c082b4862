//! Split connections: one receives, many send.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use duologue_core::{Cause, Code, Config, Event, Limits};

use super::*;

const SENDERS: u32 = 64;
const EACH: u32 = 300;

/// A queue for a few dozen messages, so that senders wait for one another.
fn small_queue() -> Options {
    with_config(Config::new().limits(Limits::new().send_buffer(600)))
}

test! {
    fn sixty_four_senders_each_keep_their_order() {
        let (connection, mut peer) = accepted(frames(), &small_queue());
        let (mut receiver, sender) = connection.split();
        let senders: Vec<_> = (0..SENDERS)
            .map(|id| {
                let sender = sender.clone();
                beside!({
                    for number in 0..EACH {
                        let message = Bytes::from([id.to_be_bytes(), number.to_be_bytes()].concat());
                        wait!(sender.send(message)).unwrap();
                    }
                })
            })
            .collect();
        let receiving = beside!({
            loop {
                match wait!(receiver.next_event()) {
                    Some(Event::Closed(closed)) => return (closed, receiver.stats()),
                    Some(_) => {}
                    None => panic!("no Closed came"),
                }
            }
        });
        let mut next: HashMap<u32, u32> = HashMap::new();
        for _ in 0..SENDERS * EACH {
            let payload = peer.frame().unwrap();
            let id = u32::from_be_bytes(payload[..4].try_into().unwrap());
            let expected = next.entry(id).or_default();
            assert_eq!(u32::from_be_bytes(payload[4..].try_into().unwrap()), *expected);
            *expected += 1;
        }
        for sender in senders {
            sender.join().unwrap();
        }
        // The last clone goes, and with it our half.
        drop(sender);
        assert_eq!(peer.frame(), None);
        drop(peer);
        let (closed, stats) = receiving.join().unwrap();
        assert_eq!((closed.cause, closed.unsent), (Cause::LocalFinished, 0));
        assert_eq!(stats.accepted, u64::from(SENDERS * EACH));
    }
}

test! {
    fn waiting_senders_are_woken_by_an_abort() {
        let (connection, mut peer) = wait!(dialled(small_queue()));
        let (mut receiver, sender) = connection.split();
        let receiving = beside!({ wait!(receiver.closed()) });
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                let sender = sender.clone();
                beside!({ while wait!(sender.send(Bytes::from_static(&[0; 500]))).is_ok() {} })
            })
            .collect();
        // Traffic first.
        for _ in 0..1000 {
            peer.frame().unwrap();
        }
        sender.abort(Code(5));
        for sender in senders {
            sender.join().unwrap();
        }
        let closed = receiving.join().unwrap();
        assert_eq!(closed.cause, Cause::LocalAbort(Code(5)));
        assert_eq!(sender.end(), Some(closed));
    }
}

test! {
    fn senders_go_on_without_the_receiver() {
        let (connection, mut peer) = accepted(frames(), &Options::new());
        let (receiver, sender) = connection.split();
        drop(receiver);
        peer.write(&frame(b"nobody hears this"));
        wait!(sender.send(Bytes::from_static(b"still here"))).unwrap();
        wait!(sender.flush());
        assert_eq!(peer.frame().as_deref(), Some(&b"still here"[..]));
    }
}

test! {
    fn a_message_wakes_a_receiver_that_waits_long() {
        let (connection, mut peer) = accepted(frames(), &Options::new());
        let (mut receiver, sender) = connection.split();
        let receiving = beside!({ wait!(receiver.next_event()) });
        std::thread::sleep(Duration::from_millis(100));
        // Sent past a receiver that waits, and answered.
        wait!(sender.send(Bytes::from_static(b"ask"))).unwrap();
        assert_eq!(peer.frame().as_deref(), Some(&b"ask"[..]));
        peer.write(&frame(b"answer"));
        assert_eq!(receiving.join().unwrap(), Some(Event::App(Bytes::from_static(b"answer"))));
    }
}
