//! The suite of stream handles on tokio.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

/// The adapter under test.
mod adapter {
    use std::net::TcpListener;

    pub(crate) use duologue_tokio::streams::{Mux, MuxOptions, MuxStream, MuxTask};
    use duologue_tokio::{Connection, Options};
    use duologue_yamux::Yamux;

    pub(crate) const NAME: &str = "tokio";

    fn runtime() -> &'static tokio::runtime::Runtime {
        static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
        RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap())
    }

    pub(crate) fn run<F: Future>(future: F) -> F::Output {
        runtime().block_on(future)
    }

    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(work));
    }

    /// Two sides of one TCP connection.
    pub(crate) fn pair(client: Yamux, server: Yamux) -> [(Mux<Yamux>, MuxTask<Yamux>); 2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialled = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        [(dialled, client), (accepted, server)].map(|(socket, protocol)| {
            let connection = Connection::accept(tcp(socket), protocol, &Options::new()).unwrap();
            Mux::new(connection, MuxOptions::new().dropped(crate::streams::DROPPED))
        })
    }

    fn tcp(stream: std::net::TcpStream) -> tokio::net::TcpStream {
        stream.set_nonblocking(true).unwrap();
        tokio::net::TcpStream::from_std(stream).unwrap()
    }
}

mod streams;

/// What only tokio has: its own byte stream traits.
mod as_byte_streams {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};

    use crate::streams::{bounded, joined, pattern, sides, spawn};

    const LARGE: usize = 1 << 20;

    #[test]
    fn shutdown_is_the_half_close() {
        bounded(|| async {
            let (client, server) = sides();
            let (mut ours, mut theirs) = joined(&client, &server).await;
            ours.write_all(b"question").await.unwrap();
            ours.flush().await.unwrap();
            ours.shutdown().await.unwrap();
            ours.shutdown().await.unwrap();
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"question");
            theirs.write_all(b"answer").await.unwrap();
            theirs.shutdown().await.unwrap();
            got.clear();
            ours.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"answer");
        });
    }

    /// A proxy of two connections: half-closes pass through it each way.
    #[test]
    fn copied_in_both_directions() {
        bounded(|| async {
            let ((client, proxy), (of_proxy, server)) = (sides(), sides());
            let proxying = spawn(async move {
                let mut near = proxy.accept().await.unwrap();
                let mut far = of_proxy.open().await.unwrap();
                copy_bidirectional(&mut near, &mut far).await.unwrap()
            });
            let serving = spawn(async move {
                let stream = server.accept().await.unwrap();
                let (mut reader, mut writer) = tokio::io::split(stream);
                let n = tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                writer.write_all(b"bye").await.unwrap();
                writer.shutdown().await.unwrap();
                n
            });
            let (mut reader, mut writer) = tokio::io::split(client.open().await.unwrap());
            let writing = spawn(async move {
                writer.write_all(&pattern(9, LARGE)).await.unwrap();
                writer.shutdown().await.unwrap();
                writer
            });
            let mut got = Vec::new();
            reader.read_to_end(&mut got).await.unwrap();
            assert_eq!(serving.await, LARGE as u64);
            assert!(got[..LARGE] == pattern(9, LARGE) && &got[LARGE..] == b"bye");
            assert_eq!(proxying.await, (LARGE as u64, LARGE as u64 + 3));
            drop(writing.await);
        });
    }
}
