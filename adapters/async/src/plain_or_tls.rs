//! Connections that are plain or TLS, as their target says: one kind of transport for both.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use bytes::buf::Limit;
use duologue_core::driver::Transport;
use duologue_core::{Protocol, Release, TransportFault};

use crate::Options;
use crate::connection::Connection;
use crate::error::ConnectError;
use crate::redial::{Carrier, ConnectionOver, PoolCarrier, Redial, SendProtocol};
use crate::server::Runtime;
use crate::tls::TlsError;

/// A transport in the making.
pub type Opening<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'static>>;

/// Opens TLS over transports of the type `T`, as a client. Nothing holds one. [`NoTls`] opens none.
pub trait OpenTls<T>: 'static {
    /// What it is opened with: whom to trust, who we are.
    type Connector: Clone + Send + Sync + 'static;
    /// TLS over `T`.
    type Transport: Transport + Send;

    /// Whether a certificate can be for `host`.
    ///
    /// # Errors
    /// [`TlsError::Name`].
    fn check_host(host: &str) -> Result<(), TlsError>;

    /// Opens TLS; the server's certificate is for `host`. The caller bounds it in time by dropping it.
    fn open(transport: T, host: String, connector: Self::Connector) -> Opening<Self::Transport, TlsError>;

    /// What both sides agreed to speak (ALPN).
    fn agreed(transport: &Self::Transport) -> Option<&[u8]>;

    /// As [`Redial::is_quiet`]. What belongs to TLS alone, session tickets for one, is nothing.
    fn is_quiet(transport: &mut Self::Transport) -> bool;
}

/// A runtime whose TCP connections TLS can be opened over.
pub trait DialTls: Redial {
    /// What opens it: [`NoTls`] where the adapter's feature `rustls` is off.
    type Tls: OpenTls<<Self as Runtime>::Transport>;

    /// Dials TCP at `host:port`.
    fn dial(address: String, options: Options) -> Opening<<Self as Runtime>::Transport, TransportFault>;
}

/// A connector, and a transport, that there is none of: TLS is not compiled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTls {}

impl<T: 'static> OpenTls<T> for NoTls {
    type Connector = Self;
    type Transport = Self;

    fn check_host(_: &str) -> Result<(), TlsError> {
        Err(TlsError::NoConnector)
    }

    fn open(_: T, _: String, connector: Self) -> Opening<Self, TlsError> {
        match connector {}
    }

    fn agreed(transport: &Self) -> Option<&[u8]> {
        match *transport {}
    }

    fn is_quiet(transport: &mut Self) -> bool {
        match *transport {}
    }
}

impl Transport for NoTls {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut Limit<&mut BytesMut>) -> Poll<Result<usize, TransportFault>> {
        match *self {}
    }

    fn poll_write(&mut self, _: &mut Context<'_>, _: &[&[u8]]) -> Poll<Result<usize, TransportFault>> {
        match *self {}
    }

    fn poll_shutdown_write(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        match *self {}
    }

    fn poll_release(&mut self, _: &mut Context<'_>, _: Release) -> Poll<()> {
        match *self {}
    }
}

/// What a [`DialTls`] opens TLS with.
pub type ConnectorOf<R> = <<R as DialTls>::Tls as OpenTls<<R as Runtime>::Transport>>::Connector;

type TlsOf<R> = <<R as DialTls>::Tls as OpenTls<<R as Runtime>::Transport>>::Transport;

/// TCP of the runtime `R`, or TLS over it: both in one pool, and in one type.
pub enum PlainOrTls<R: DialTls> {
    /// TCP.
    Plain(<R as Runtime>::Transport),
    /// TLS over TCP. Boxed, so that plain connections are no larger for it.
    Tls(Box<TlsOf<R>>),
}

/// What TLS is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Secured<C> {
    /// Whom to trust, and who we are.
    pub connector: C,
    /// What is spoken over it, as ALPN calls it: both sides agree on this, or on nothing.
    pub speaks: &'static str,
}

impl<R: DialTls> PlainOrTls<R> {
    /// It is TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Connects to `host:port` and waits until the protocol is established, over TLS if it is to be secured, all within
    /// [`Options::connect_within`]. The server's certificate has to be for the host; an IPv6 address is in brackets.
    ///
    /// # Errors
    /// See [`ConnectError`]; nothing of the connection is left.
    pub async fn connect<P: SendProtocol>(
        address: String,
        secured: Option<Secured<ConnectorOf<R>>>,
        protocol: P,
        options: Options,
    ) -> Result<ConnectionOver<P, Self>, ConnectError<P::Violation>> {
        let doing = if secured.is_some() { "connecting or opening TLS" } else { "connecting" };
        let opening = Self::open::<P>(address, secured, options.clone());
        Connection::opened_by(<R as Runtime>::clock(), opening, doing, protocol, &options).await
    }

    async fn open<P: Protocol>(
        address: String,
        secured: Option<Secured<ConnectorOf<R>>>,
        options: Options,
    ) -> Result<Self, ConnectError<P::Violation>> {
        let Some(Secured { connector, speaks }) = secured else {
            return R::dial(address, options).await.map(Self::Plain).map_err(ConnectError::Transport);
        };
        let host = host_of(&address).to_owned();
        // What can be told without dialling is.
        R::Tls::check_host(&host)?;
        let plain = R::dial(address, options).await.map_err(ConnectError::Transport)?;
        let tls = R::Tls::open(plain, host.clone(), connector).await?;
        match R::Tls::agreed(&tls) {
            Some(agreed) if agreed != speaks.as_bytes() => {
                let agreed = agreed.escape_ascii().to_string();
                Err(TlsError::Protocol { host, agreed, wanted: speaks }.into())
            }
            _ => Ok(Self::Tls(Box::new(tls))),
        }
    }
}

/// The host of `host:port`, with its brackets if it has any.
fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

/// Does the same on either side. Written out, so that TCP costs one comparison more than without TLS.
macro_rules! either {
    ($self:ident, $transport:ident => $call:expr) => {
        match $self {
            Self::Plain($transport) => $call,
            Self::Tls($transport) => $call,
        }
    };
}

impl<R: DialTls> Transport for PlainOrTls<R> {
    const WATCHED: bool = true;

    #[inline]
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Limit<&mut BytesMut>,
    ) -> Poll<Result<usize, TransportFault>> {
        either!(self, transport => transport.poll_read(cx, buf))
    }

    #[inline]
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, TransportFault>> {
        either!(self, transport => transport.poll_write(cx, slices))
    }

    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        either!(self, transport => transport.poll_shutdown_write(cx))
    }

    fn poll_release(&mut self, cx: &mut Context<'_>, how: Release) -> Poll<()> {
        either!(self, transport => transport.poll_release(cx, how))
    }

    #[inline]
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        either!(self, transport => transport.poll_readable(cx))
    }

    fn failure(&mut self) -> Option<TransportFault> {
        either!(self, transport => transport.failure())
    }

    #[inline]
    fn take_buffer(&mut self) -> Option<BytesMut> {
        either!(self, transport => transport.take_buffer())
    }

    #[inline]
    fn give_buffer(&mut self, buffer: BytesMut) {
        either!(self, transport => transport.give_buffer(buffer));
    }
}

impl<R: DialTls> Carrier for PlainOrTls<R> {
    type Transport = Self;
    type Clock = <R as Runtime>::Clock;

    fn clock() -> Self::Clock {
        <R as Runtime>::clock()
    }
}

impl<R: DialTls> PoolCarrier for PlainOrTls<R> {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        <R as Runtime>::spawn(future)
    }

    #[inline]
    fn is_quiet(transport: &mut Self) -> bool {
        match transport {
            Self::Plain(transport) => <R as Redial>::is_quiet(transport),
            Self::Tls(tls) => R::Tls::is_quiet(tls),
        }
    }
}

impl<R: DialTls> fmt::Debug for PlainOrTls<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_tls() { "Tls" } else { "Plain" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_is_before_the_port() {
        for (address, host) in [("a:1", "a"), ("[::1]:443", "[::1]"), ("a", "a")] {
            assert_eq!(host_of(address), host);
        }
    }
}
