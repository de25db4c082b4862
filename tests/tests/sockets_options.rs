//! Socket options are set on both roles: a dead peer must not depend on who dialled (field case F2).

use std::time::Duration;

use duologue_tests::sockets::*;
use duologue_tokio::{Options, Served, Server};
use socket2::SockRef;

#[tokio::test]
#[cfg(target_os = "linux")]
async fn the_defaults_are_set_on_both_roles() {
    for (connection, _peer) in [dialled(frames(), Options::new()).await, accepted(frames(), Options::new()).await] {
        let socket = SockRef::from(connection.transport().stream().unwrap());
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(30)));
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn what_the_owner_chose_is_set_on_both_roles() {
    let chosen = Options::new()
        .no_delay(false)
        .tcp_keepalive(Some(Duration::from_secs(6)))
        .tcp_user_timeout(Some(Duration::from_millis(1500)));
    for (connection, _peer) in [dialled(frames(), chosen.clone()).await, accepted(frames(), chosen.clone()).await] {
        let socket = SockRef::from(connection.transport().stream().unwrap());
        assert!(!socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(6));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(2));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(1500)));
    }
    let off = Options::new().tcp_keepalive(None).tcp_user_timeout(None);
    let (connection, _peer) = accepted(frames(), off).await;
    let socket = SockRef::from(connection.transport().stream().unwrap());
    assert!(!socket.keepalive().unwrap());
    assert_eq!(socket.tcp_user_timeout().unwrap(), None);
}

/// A server sets them once, on its listener, and every accepted socket has them.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn what_a_server_accepts_has_them_from_the_listener() {
    let chosen = Options::new()
        .no_delay(false)
        .tcp_keepalive(Some(Duration::from_secs(6)))
        .tcp_user_timeout(Some(Duration::from_millis(1500)));
    for (options, wanted) in [(Options::new(), (true, 30, 10, 30_000)), (chosen, (false, 6, 2, 1500))] {
        let server = Server::bind("127.0.0.1:0", options).await.unwrap();
        let (address, handle) = (server.local_addr().unwrap(), server.handle());
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let serving = server.serve(
            |_| frames(),
            move |connection: Served<_>| {
                let tell = tell.clone();
                async move {
                    let socket = SockRef::from(connection.transport().stream().unwrap());
                    let keepalive = (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
                    let retries = socket.tcp_keepalive_retries().unwrap();
                    let (nodelay, on) = (socket.tcp_nodelay().unwrap(), socket.keepalive().unwrap());
                    tell.send((nodelay, on, keepalive, retries, socket.tcp_user_timeout().unwrap())).unwrap();
                }
            },
        );
        let serving = tokio::spawn(serving);
        // The first may come before the server serves; after a number that had them it sets them no more.
        for _ in 0..40 {
            let _peer = tokio::net::TcpStream::connect(address).await.unwrap();
            let (nodelay, on, (time, interval), retries, timeout) =
                tokio::time::timeout(Duration::from_secs(10), told.recv()).await.unwrap().unwrap();
            assert_eq!((nodelay, time.as_secs(), interval.as_secs()), (wanted.0, wanted.1, wanted.2));
            assert_eq!((on, retries, timeout), (true, 3, Some(Duration::from_millis(wanted.3))));
        }
        handle.drain(Duration::ZERO);
        serving.await.unwrap();
    }
}
