//! async-std as a runtime for servers.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_std::net::{TcpListener, TcpStream, ToSocketAddrs};
use duologue_async::{
    Bind, Connecting, Connection, Dial, DialTls, Opening, Options, Redial, Runtime, SendProtocol, is_quiet, set_backlog,
};
use duologue_core::TransportFault;
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

    fn set_backlog(listener: &TcpListener, backlog: u32) -> io::Result<()> {
        set_backlog(listener, backlog)
    }

    fn reset(stream: TcpStream) {
        reset_on_drop(&stream);
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        async_std::task::spawn(future);
        Ok(())
    }
}

impl Redial for AsyncStd {
    fn connect<P: SendProtocol>(address: Arc<str>, protocol: P, options: Options) -> Connecting<P, Self> {
        Box::pin(async move { Connection::connect(address.to_string(), protocol, options).await })
    }

    fn is_quiet(transport: &Self::Transport) -> bool {
        transport.stream().is_some_and(is_quiet)
    }
}

impl DialTls for AsyncStd {
    #[cfg(feature = "rustls")]
    type Tls = duologue_futures_io::Rustls;
    #[cfg(not(feature = "rustls"))]
    type Tls = duologue_async::NoTls;

    fn dial(address: String, options: Options) -> Opening<Self::Transport, TransportFault> {
        Box::pin(async move { <Self::Transport as Dial<String>>::dial(address, &options).await })
    }
}

impl<A: ToSocketAddrs> Bind<A> for AsyncStd {
    async fn bind(address: A) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }
}
