//! Connections that do not come about, each with its own error.

use std::time::{Duration, Instant};

use duologue_core::{FaultKind, Operation};
use duologue_tests::sockets::Chat;

use super::*;
use crate::adapter::ConnectError;

test! {
    fn an_address_that_leads_nowhere_is_typed() {
        let gone = wait!(Connection::connect("no address", frames(), Options::new())).unwrap_err();
        let ConnectError::Transport(fault) = gone else { panic!("{gone}") };
        assert_eq!((fault.kind, fault.operation), (FaultKind::Unresolved, Operation::Connect));
    }
}

test! {
    fn a_refused_connect_is_typed() {
        let (listener, address) = peer::listen();
        drop(listener);
        let refused = wait!(Connection::connect(address, frames(), Options::new())).unwrap_err();
        let ConnectError::Transport(fault) = refused else { panic!("{refused}") };
        assert_eq!((fault.kind, fault.operation), (FaultKind::Refused, Operation::Connect));
    }
}

test! {
    fn a_name_is_resolved_and_every_address_tried() {
        let (listener, address) = peer::listen();
        let target = ("localhost", address.port());
        let connection = wait!(Connection::connect(target, frames(), Options::new())).unwrap();
        drop(listener.accept().unwrap());
        drop(connection);
    }
}

test! {
    #[cfg_attr(not(target_os = "linux"), ignore = "how a full accept queue behaves is Linux's")]
    fn a_connect_that_is_not_answered_times_out() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        // Nobody accepts: once the queue is full the kernel drops what comes.
        let patience = Duration::from_millis(100);
        let _queue: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect_timeout(&address, patience)).collect();
        let start = Instant::now();
        let options = Options::new().connect_within(Duration::from_millis(200));
        let late = wait!(Connection::connect(address, frames(), options)).unwrap_err();
        assert!(matches!(late, ConnectError::TimedOut { doing: "connecting", .. }), "{late}");
        assert!((Duration::from_millis(200)..Duration::from_secs(5)).contains(&start.elapsed()));
    }
}

test! {
    fn an_opening_that_is_not_answered_times_out() {
        let (listener, address) = peer::listen();
        let options = Options::new().connect_within(Duration::from_millis(200));
        let late = wait!(Connection::connect(address, Chat::new(true), options)).unwrap_err();
        assert!(matches!(late, ConnectError::TimedOut { doing: "opening the protocol", .. }), "{late}");
        let mut peer = Peer::new(listener.accept().unwrap().0);
        // What was said may have come before the reset, or be lost to it.
        assert_eq!(peer.rest().1.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    }
}

test! {
    fn connect_returns_once_the_protocol_is_open() {
        let (listener, address) = peer::listen();
        let server = std::thread::spawn(move || {
            let mut peer = Peer::new(listener.accept().unwrap().0);
            peer.write(b"early\nHI\nlate\n");
            peer
        });
        let mut connection = wait!(Connection::connect(address, Chat::new(true), Options::new())).unwrap();
        assert!(connection.session().is_established());
        assert_eq!(wait!(connection.next_event()), Some(Event::App(Bytes::from_static(b"early"))));
        assert_eq!(wait!(connection.next_event()), Some(Event::App(Bytes::from_static(b"late"))));
        drop(server.join().unwrap());
    }
}
