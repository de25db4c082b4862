//! TCP and Unix sockets: dialling, taking over, socket options.

use std::io;
use std::net::SocketAddr;

use duologue_async::{Adopt, Dial, Options, fault, set_tcp_options, unresolved};
use duologue_core::{FaultKind, Operation, TransportFault};
use tokio::net::{TcpStream, ToSocketAddrs, lookup_host};

use crate::clock::Clock;
use crate::transport::{ByteStream, StreamTransport};

impl<A: ToSocketAddrs> Dial<A> for StreamTransport<TcpStream> {
    type Clock = Clock;

    fn clock() -> Clock {
        Clock::new()
    }

    /// Tries every address that the name resolves to, in order; the last failure is told.
    async fn dial(address: A, options: &Options) -> Result<Self, TransportFault> {
        let failed = |e: io::Error| fault(&e, Operation::Connect);
        let mut last = TransportFault::new(FaultKind::Unreachable, Operation::Connect);
        for address in lookup_host(address).await.map_err(|e| unresolved(&e))? {
            match connect_one(address, options).await {
                Ok(stream) => return Ok(Self::new(stream)),
                Err(e) => last = failed(e),
            }
        }
        Err(last)
    }
}

async fn connect_one(address: SocketAddr, options: &Options) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    set_tcp_options(&stream, options)?;
    Ok(stream)
}

impl Adopt<TcpStream> for StreamTransport<TcpStream> {
    type Clock = Clock;

    fn clock() -> Clock {
        Clock::new()
    }

    fn adopt(stream: TcpStream, options: &Options) -> io::Result<Self> {
        set_tcp_options(&stream, options)?;
        Ok(Self::new(stream))
    }
}

/// A path to dial a Unix socket at.
#[cfg(unix)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixPath(pub std::path::PathBuf);

#[cfg(unix)]
impl Dial<UnixPath> for StreamTransport<tokio::net::UnixStream> {
    type Clock = Clock;

    fn clock() -> Clock {
        Clock::new()
    }

    async fn dial(address: UnixPath, _options: &Options) -> Result<Self, TransportFault> {
        let stream = tokio::net::UnixStream::connect(address.0).await;
        stream.map(Self::new).map_err(|e| fault(&e, Operation::Connect))
    }
}

/// A stream that needs no options set: Unix sockets, memory, TLS over a socket that its owner prepared.
#[derive(Debug)]
pub struct AsIs<S>(pub S);

impl<S: ByteStream> Adopt<AsIs<S>> for StreamTransport<S> {
    type Clock = Clock;

    fn clock() -> Clock {
        Clock::new()
    }

    fn adopt(stream: AsIs<S>, _options: &Options) -> io::Result<Self> {
        Ok(Self::new(stream.0))
    }
}
