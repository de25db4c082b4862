//! Messages there and back.

use bytes::Bytes;
use duologue_core::{Cause, Code, Config, Delivery, Event};

use super::*;
use crate::adapter::Server;

fn sizes() -> Vec<Bytes> {
    [0, 1, 63, 4096, 60_000, 70_000, 100_000].iter().map(|size| Bytes::from(vec![7; *size])).collect()
}

test! {
    fn echo_owned() {
        let server = wait!(Server::bind("127.0.0.1:0", Options::new())).unwrap();
        let (address, handle) = (server.local_addr().unwrap(), server.handle());
        let running = beside!({
            wait!(server.serve(|_| frames(), handler!(connection, {
                while let Some(event) = wait!(connection.next_event()) {
                    if let Event::App(message) = event {
                        wait!(connection.send(message)).unwrap();
                    }
                }
            })))
        });
        let mut client = wait!(dial(address));
        for message_sent in sizes() {
            wait!(client.send(message_sent.clone())).unwrap();
            assert_eq!(wait!(message(&mut client)), message_sent);
        }
        let closed = wait!(client.close(Code(3)));
        assert_eq!((closed.cause, closed.unsent), (Cause::LocalClose(Code(3)), 0));
        handle.drain(std::time::Duration::from_secs(10));
        let report = running.join().unwrap();
        assert_eq!((report.left.len(), report.stats.accepted), (0, 1), "{report}");
    }
}

test! {
    fn echo_in_place() {
        let in_place = with_config(Config::new().delivery(Delivery::InPlace));
        let (mut connection, mut peer) = accepted(frames(), &in_place);
        let echoing = beside!({
            loop {
                let told = wait!(connection.handle(130_000, |message, replies| drop(replies.send(message))));
                if let Some(Event::Closed(closed)) = told {
                    return closed;
                }
            }
        });
        for message in sizes() {
            peer.write(&frame(&message));
            assert_eq!(peer.frame().unwrap(), message);
        }
        peer.finish();
        assert_eq!(peer.frame(), None);
        assert_eq!(echoing.join().unwrap().cause, Cause::PeerFinished);
    }
}

test! {
    fn bytes_may_come_one_by_one() {
        let (mut connection, mut peer) = accepted(frames(), &Options::new());
        let receiving = beside!({ wait!(drain(&mut connection)) });
        peer.stream.set_nodelay(true).unwrap();
        for byte in [frame(b"one"), frame(b""), frame(b"three")].concat() {
            peer.write(&[byte]);
        }
        drop(peer);
        let (events, closed) = receiving.join().unwrap();
        assert_eq!(messages(&events), ["one", "", "three"]);
        assert_eq!(closed.cause, Cause::PeerFinished);
    }
}

test! {
    fn a_batch_of_many_messages_keeps_its_order() {
        let (mut connection, mut peer) = accepted(frames(), &Options::new());
        let echoing = beside!({
            while let Some(event) = wait!(connection.next_event()) {
                if let Event::App(message) = event {
                    wait!(connection.send(message)).unwrap();
                }
            }
        });
        let count = 20_000_u32;
        let mut writer = Peer::new(peer.stream.try_clone().unwrap());
        let writing = std::thread::spawn(move || {
            for number in 0..count {
                writer.write(&frame(&number.to_be_bytes()));
            }
            writer.finish();
        });
        for number in 0..count {
            assert_eq!(peer.frame().unwrap(), number.to_be_bytes());
        }
        assert_eq!(peer.frame(), None);
        writing.join().unwrap();
        echoing.join().unwrap();
    }
}
