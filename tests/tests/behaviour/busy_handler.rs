//! A handler that blocks its thread: usual where every connection has a thread of its own.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use duologue_core::Event;

use crate::adapter::{Options, Served, Server};
use crate::behaviour::{Frames, Peer, frame, frames};

test! {
    fn a_handler_that_is_busy_elsewhere_does_not_hold_up_the_end() {
        let server = wait!(Server::bind("127.0.0.1:0", Options::new())).unwrap();
        let (address, handle) = (server.local_addr().unwrap(), server.handle());
        let running = beside!({
            let busy = handler!(connection: Served<Frames>, {
                wait!(is_asked(&mut connection));
                // It blocks its thread, which is usual without a runtime, and wrong on one.
                std::thread::sleep(Duration::from_millis(2500));
            });
            wait!(server.serve(|_| frames(), busy))
        });
        let mut peer = Peer::connect(address);
        peer.write(&frame(b"go"));
        assert_eq!(peer.frame().as_deref(), Some(&b"go"[..]));
        let start = Instant::now();
        handle.drain(Duration::from_millis(100));
        let report = running.join().unwrap();
        assert_eq!(report.left, [peer.stream.local_addr().unwrap()]);
        assert!(start.elapsed() < Duration::from_millis(2300), "{:?}", start.elapsed());
        assert_eq!(peer.rest().1.unwrap_err().kind(), ErrorKind::ConnectionReset, "once it comes back");
    }
}

waiting! {
    fn is_asked(connection: &mut Served<Frames>) {
        if let Some(Event::App(message)) = wait!(connection.next_event()) {
            wait!(connection.send(message)).expect("sent");
        }
    }
}
