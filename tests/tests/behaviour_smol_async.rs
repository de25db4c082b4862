//! Sockets wrapped in `smol::Async`, whose `poll_close` sends no FIN: `finish` must, through the socket itself.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use duologue_core::{Cause, Event};
use duologue_smol::{Options, StreamConnection};
use duologue_tests::sockets::{Frames, frame, frames};

#[test]
fn finish_is_a_fin_on_the_wire() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    smol::block_on(async {
        let mut connection: StreamConnection<Frames, smol::Async<TcpStream>> =
            StreamConnection::connect(address, frames(), Options::new()).await.unwrap();
        let mut peer = listener.accept().unwrap().0;
        peer.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        connection.send(Bytes::from_static(b"last")).await.unwrap();
        connection.finish();
        let ended = smol::spawn(async move {
            while let Some(event) = connection.next_event().await {
                if let Event::Closed(closed) = event {
                    return Some(closed);
                }
            }
            None
        });
        let peer = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).unwrap();
            bytes
        });
        assert_eq!(peer.join().unwrap(), frame(b"last"));
        assert_eq!(ended.await.unwrap().cause, Cause::LocalFinished);
    });
}

/// What the hook is for: the day this fails, the sockets' own close would do.
#[test]
fn closing_the_stream_itself_sends_none() {
    use smol::io::AsyncWriteExt;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    smol::block_on(async {
        let mut ours = smol::Async::<TcpStream>::connect(address).await.unwrap();
        let mut peer = listener.accept().unwrap().0;
        peer.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        ours.close().await.unwrap();
        let nothing = peer.read(&mut [0; 1]).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);

        let mut ours = async_std::net::TcpStream::connect(address).await.unwrap();
        let mut peer = listener.accept().unwrap().0;
        peer.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        ours.close().await.unwrap();
        let nothing = peer.read(&mut [0; 1]).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    });
}
