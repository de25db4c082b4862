//! The same session over a Unix socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use bytes::Bytes;
use duologue_core::{Cause, FaultKind};

use super::*;
use crate::adapter::{ConnectError, StreamConnection, Unix, UnixPath};

fn path(name: &str) -> std::path::PathBuf {
    let unique = format!("duologue-{}-{}-{name}", crate::adapter::NAME, std::process::id());
    std::env::temp_dir().join(unique)
}

test! {
    fn a_unix_socket_carries_a_session_and_its_half_close() {
        let path = path("session");
        let listener = UnixListener::bind(&path).unwrap();
        let target = UnixPath(path.clone());
        let mut connection: StreamConnection<Frames, Unix> =
            wait!(StreamConnection::connect(target, frames(), Options::new())).unwrap();
        let mut peer = listener.accept().unwrap().0;
        std::fs::remove_file(path).unwrap();
        wait!(connection.send(Bytes::from_static(b"hello"))).unwrap();
        connection.finish();
        let ended = beside!({
            let mut events = Vec::new();
            loop {
                match wait!(connection.next_event()) {
                    Some(Event::Closed(closed)) => return (events, closed),
                    Some(event) => events.push(event),
                    None => panic!("no Closed came"),
                }
            }
        });
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, frame(b"hello"));
        peer.write_all(&frame(b"after the FIN")).unwrap();
        drop(peer);
        let (events, closed) = ended.join().unwrap();
        assert_eq!(messages(&events), ["after the FIN"]);
        assert_eq!(closed.cause, Cause::LocalFinished);
    }
}

test! {
    fn a_path_without_a_listener_refuses() {
        let path = path("nobody");
        drop(UnixListener::bind(&path).unwrap());
        let target = UnixPath(path.clone());
        let dialled: Result<StreamConnection<Frames, Unix>, _> =
            wait!(StreamConnection::connect(target, frames(), Options::new()));
        std::fs::remove_file(path).unwrap();
        let refused = dialled.unwrap_err();
        let ConnectError::Transport(fault) = refused else { panic!("{refused}") };
        assert_eq!(fault.kind, FaultKind::Refused);
    }
}
