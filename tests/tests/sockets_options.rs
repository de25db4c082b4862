//! Socket options are set on both roles: a dead peer must not depend on who dialled (field case F2).

use std::time::Duration;

use duologue_tests::sockets::*;
use duologue_tokio::Options;
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
