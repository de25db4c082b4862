//! tokio as a runtime for servers.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use duologue_async::{
    Bind, Connecting, Connection, Dial, DialTls, Opening, Options, Redial, Runtime, SendProtocol, has_tcp_options,
    is_quiet, set_backlog, set_listener_options,
};
use duologue_core::TransportFault;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};

use crate::clock::Clock;
use crate::transport::{ByteStream, StreamTransport};

/// What the server needs of tokio. Nothing holds one.
#[derive(Clone, Copy, Debug)]
pub enum Tokio {}

impl Runtime for Tokio {
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

    fn prepare(listener: &TcpListener, options: &Options) -> bool {
        set_listener_options(listener, options)
    }

    fn is_prepared(stream: &TcpStream, options: &Options) -> bool {
        has_tcp_options(stream, options)
    }

    fn set_backlog(listener: &TcpListener, backlog: u32) -> io::Result<()> {
        set_backlog(listener, backlog)
    }

    fn reset(stream: TcpStream) {
        stream.reset_on_drop();
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        tokio::spawn(future);
        Ok(())
    }
}

impl Redial for Tokio {
    fn connect<P: SendProtocol>(address: Arc<str>, protocol: P, options: Options) -> Connecting<P, Self> {
        Box::pin(async move { Connection::connect(address.to_string(), protocol, options).await })
    }

    fn is_quiet(transport: &Self::Transport) -> bool {
        transport.stream().is_some_and(is_quiet)
    }
}

impl DialTls for Tokio {
    #[cfg(feature = "rustls")]
    type Tls = crate::Rustls;
    #[cfg(not(feature = "rustls"))]
    type Tls = duologue_async::NoTls;

    fn dial(address: String, options: Options) -> Opening<Self::Transport, TransportFault> {
        Box::pin(async move { <Self::Transport as Dial<String>>::dial(address, &options).await })
    }
}

impl<A: ToSocketAddrs> Bind<A> for Tokio {
    async fn bind(address: A) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }
}
