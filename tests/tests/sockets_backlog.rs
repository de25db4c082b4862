//! How many connections wait at a server's door, on every runtime: as many as its owner said, and not what the runtime's
//! `bind` happens to ask for.
#![cfg(target_os = "linux")]

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use duologue_async::{Bind, Options, Server};

/// Long enough for a connection on this machine.
const STEP: Duration = Duration::from_secs(10);
/// A SYN that found no room is sent again after a second.
const TURNED_AWAY: Duration = Duration::from_millis(300);

/// Nobody accepts: all that is connected waits. Linux lets one more wait than was asked for.
fn wait_at(address: SocketAddr, connections: usize) {
    let waiting: Vec<_> = (0..connections)
        .map(|n| TcpStream::connect_timeout(&address, STEP).unwrap_or_else(|e| panic!("connection {n}: {e}")))
        .collect();
    let turned_away = TcpStream::connect_timeout(&address, TURNED_AWAY);
    assert!(turned_away.is_err(), "{} wait, and one more", waiting.len());
}

async fn as_many_wait_as_the_owner_said<R: Bind<&'static str>>() {
    for backlog in [3, 200] {
        let server = Server::<R>::bind("127.0.0.1:0", Options::new().backlog(backlog)).await.expect("bound");
        wait_at(server.local_addr().expect("its address"), backlog as usize + 1);
    }
    let server = Server::<R>::bind("127.0.0.1:0", Options::new()).await.expect("bound");
    let address = server.local_addr().expect("its address");
    let _waiting: Vec<_> = (0..150).map(|_| TcpStream::connect_timeout(&address, STEP).expect("room")).collect();
}

#[test]
fn on_tokio() {
    duologue_tests::bounds::on_tokio(as_many_wait_as_the_owner_said::<duologue_tokio::Tokio>());
}

#[test]
fn on_smol() {
    smol::block_on(as_many_wait_as_the_owner_said::<duologue_smol::Smol>());
}

#[test]
fn on_async_std() {
    async_std::task::block_on(as_many_wait_as_the_owner_said::<duologue_async_std::AsyncStd>());
}

#[test]
fn on_threads() {
    smol::block_on(as_many_wait_as_the_owner_said::<duologue_blocking::Threads>());
}
