//! What is quiet over TLS, case by case, and what is not.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use duologue_async::{TlsError, is_quiet, is_quiet_over_tls, opened, opening_failed, server_name};
use socket2::SockRef;
use tokio_rustls::rustls::ClientConnection;

use super::peer::STEP;
use super::server::{Secure, configured, secure};

/// A client's end that reads nothing of itself, and the server's, whose tickets wait.
fn pair() -> (ClientConnection, TcpStream, Secure) {
    let (config, trusting) = configured(&["localhost"]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut socket = TcpStream::connect(listener.local_addr().expect("its address")).expect("connected");
    let (stream, _) = listener.accept().expect("accepted");
    for end in [&stream, &socket] {
        end.set_read_timeout(Some(STEP)).expect("set");
    }
    let server = std::thread::spawn(move || secure(stream, &Arc::new(config)).expect("a handshake"));
    let name = server_name("localhost").expect("a name");
    let mut client = ClientConnection::new(Arc::new(trusting), name).expect("a client");
    assert!(matches!(opened("localhost", &client), Err(TlsError::Handshake { .. })), "nothing is agreed on yet");
    while client.is_handshaking() || client.wants_write() {
        if client.wants_write() {
            client.write_tls(&mut socket).expect("writable");
        } else {
            client.read_tls(&mut socket).expect("readable");
            client.process_new_packets().expect("TLS");
        }
    }
    assert_eq!(opened("localhost", &client), Ok(()));
    socket.set_nonblocking(true).expect("set");
    (client, socket, server.join().expect("no panic"))
}

/// Waits until the kernel has something to be read.
pub(crate) fn arrived<S>(socket: &S)
where
    for<'s> SockRef<'s>: From<&'s S>,
{
    let until = Instant::now() + STEP;
    while is_quiet(socket) {
        assert!(Instant::now() < until, "nothing arrives");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn quiet_after(what: impl FnOnce(&mut Secure)) -> bool {
    let (mut client, socket, mut server) = pair();
    assert!(is_quiet_over_tls(&mut client, &socket), "nothing came yet");
    what(&mut server);
    arrived(&socket);
    let quiet = is_quiet_over_tls(&mut client, &socket);
    assert!(!quiet || socket.peek(&mut [0]).is_err(), "all of it was looked at");
    quiet
}

#[test]
fn what_tls_says_of_itself_is_quiet() {
    assert!(quiet_after(|server| {
        assert!(server.tls.wants_write(), "the tickets waited");
        server.flush();
    }));
    assert!(quiet_after(|server| {
        server.flush();
        server.tls.refresh_traffic_keys().expect("TLS 1.3");
        server.flush();
    }));
    // The first bytes of a record tell nothing yet.
    assert!(quiet_after(|server| server.stream.write_all(&[0x17, 3, 3]).expect("writable")));
}

#[test]
fn content_and_ends_are_not_quiet() {
    assert!(!quiet_after(|server| server.say("?")));
    assert!(!quiet_after(Secure::notify));
    assert!(!quiet_after(Secure::cut));
    assert!(!quiet_after(|server| {
        server.flush();
        server.say("?");
        server.notify();
        server.cut();
    }));
    assert!(!quiet_after(|server| server.stream.write_all(b"no TLS at all").expect("writable")));
    // Who goes on and on.
    assert!(!quiet_after(|server| {
        for _ in 0..10_000 {
            server.tls.refresh_traffic_keys().expect("TLS 1.3");
            server.flush();
        }
    }));
}

#[test]
fn content_that_was_read_and_not_taken_is_not_quiet() {
    let (mut client, mut socket, mut server) = pair();
    server.say("?");
    arrived(&socket);
    client.read_tls(&mut socket).expect("readable");
    assert!(!is_quiet_over_tls(&mut client, &socket));
}

#[test]
fn a_reset_is_not_quiet() {
    let (mut client, socket, server) = pair();
    SockRef::from(&server.stream).set_linger(Some(Duration::ZERO)).expect("set");
    drop(server);
    arrived(&socket);
    assert!(!is_quiet_over_tls(&mut client, &socket));
}

#[test]
fn names_are_domains_and_addresses() {
    for host in ["localhost", "a.example", "127.0.0.1", "::1", "[::1]"] {
        assert!(server_name(host).is_ok(), "{host}");
    }
    for host in ["", "a..b", "[::1", "a b", "-a.example", "[a]:1"] {
        assert_eq!(server_name(host), Err(TlsError::Name { host: host.into() }));
    }
}

#[test]
fn an_end_of_the_socket_is_no_refusal() {
    let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let told = opening_failed("a.example", &reset).to_string();
    assert!(told.contains("a.example") && told.contains("connection reset"), "{told}");
}
