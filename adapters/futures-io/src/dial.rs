//! What dialling has in common on all runtimes.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use duologue_async::{Adopt, Carrier, Options};
use duologue_core::{FaultKind, Operation, TransportFault};

use crate::clock::Clock;
use crate::stream::{ByteStream, StreamTransport};

/// A path to dial a Unix socket at.
#[cfg(unix)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixPath(pub std::path::PathBuf);

/// A stream that needs no options set: Unix sockets, TLS over a socket that its owner prepared.
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

/// What clients connect again over: any stream of this runtime, TLS for one.
impl<S: ByteStream + Send + 'static> Carrier for StreamTransport<S> {
    type Transport = Self;
    type Clock = Clock;

    fn clock() -> Clock {
        Clock::new()
    }
}

/// Tries every address, in order; the last failure is told.
pub(crate) async fn first_of<S: ByteStream, F: Future<Output = io::Result<S>>>(
    addresses: io::Result<impl Iterator<Item = SocketAddr>>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<StreamTransport<S>, TransportFault> {
    let mut last = TransportFault::new(FaultKind::Unreachable, Operation::Connect);
    for address in addresses.map_err(|e| duologue_async::unresolved(&e))? {
        match connect(address).await {
            Ok(stream) => return Ok(StreamTransport::new(stream)),
            Err(e) => last = failed(&e),
        }
    }
    Err(last)
}

pub(crate) fn failed(error: &io::Error) -> TransportFault {
    duologue_async::fault(error, Operation::Connect)
}

/// `ByteStream`, `Adopt`, `Dial` and `OpenTls` for the sockets of one runtime, which all look alike. `$adopted` is what users hold
/// and `$into` makes the stream of it.
macro_rules! sockets {
    (tcp: $tcp:ty, adopt: $adopted:ty => $into:expr, shutdown: $shutdown:expr) => {
        impl ByteStream for $tcp {
            const BUFFERS: bool = false;

            fn poll_shutdown_write(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let shutdown: fn(&$tcp, Shutdown) -> io::Result<()> = $shutdown;
                Poll::Ready(shutdown(self, Shutdown::Write))
            }

            fn reset_on_drop(&self) {
                duologue_async::reset_on_drop(self);
            }

            fn failure(&self) -> Option<io::Error> {
                duologue_async::failure(self)
            }
        }

        impl Adopt<$adopted> for StreamTransport<$tcp> {
            type Clock = Clock;

            fn clock() -> Clock {
                Clock::new()
            }

            fn adopt(stream: $adopted, options: &Options) -> io::Result<Self> {
                let into: fn($adopted) -> io::Result<$tcp> = $into;
                let stream = into(stream)?;
                set_tcp_options(&stream, options)?;
                Ok(Self::new(stream))
            }
        }

        #[cfg(feature = "rustls")]
        impl duologue_async::OpenTls<StreamTransport<$tcp>> for crate::Rustls {
            type Connector = crate::TlsConnector;
            type Transport = StreamTransport<crate::TlsStream<$tcp>>;

            fn check_host(host: &str) -> Result<(), duologue_async::TlsError> {
                duologue_async::server_name(host).map(drop)
            }

            fn open(
                transport: StreamTransport<$tcp>,
                host: String,
                connector: crate::TlsConnector,
            ) -> duologue_async::Opening<Self::Transport, duologue_async::TlsError> {
                Box::pin(crate::tls_target::open(transport, host, connector))
            }

            fn agreed(transport: &Self::Transport) -> Option<&[u8]> {
                transport.stream()?.get_ref().1.alpn_protocol()
            }

            fn is_quiet(transport: &mut Self::Transport) -> bool {
                transport.stream_mut().is_some_and(|stream| {
                    let (socket, connection) = stream.get_mut();
                    duologue_async::is_quiet_over_tls(connection, socket)
                })
            }
        }
    };
    (unix: $unix:ty, shutdown: $shutdown:expr) => {
        #[cfg(unix)]
        impl ByteStream for $unix {
            const BUFFERS: bool = false;

            fn poll_shutdown_write(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let shutdown: fn(&$unix, Shutdown) -> io::Result<()> = $shutdown;
                Poll::Ready(shutdown(self, Shutdown::Write))
            }
        }

        #[cfg(unix)]
        impl Dial<UnixPath> for StreamTransport<$unix> {
            type Clock = Clock;

            fn clock() -> Clock {
                Clock::new()
            }

            async fn dial(address: UnixPath, _options: &Options) -> Result<Self, TransportFault> {
                <$unix>::connect(address.0).await.map(Self::new).map_err(|e| failed(&e))
            }
        }
    };
}
pub(crate) use sockets;
