//! async-std as a runtime for servers.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use async_std::net::{TcpListener, TcpStream, ToSocketAddrs};
use duologue_async::{Bind, Runtime};
use duologue_futures_io::{Clock, StreamTransport, reset_on_drop};

/// What the server needs of async-std. Nothing holds one.
#[derive(Clone, Copy, Debug)]
pub enum AsyncStd {}

impl Runtime for AsyncStd {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type Transport = StreamTransport<TcpStream>;
    type Clock = Clock;

    fn clock() -> Clock {
        Clock::new()
    }

    async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        listener.accept().await
    }

    fn local_addr(listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    fn reset(stream: TcpStream) {
        reset_on_drop(&stream);
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        async_std::task::spawn(future);
        Ok(())
    }
}

impl<A: ToSocketAddrs> Bind<A> for AsyncStd {
    async fn bind(address: A) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }
}
