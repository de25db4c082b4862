//! The sockets of async-std.

use std::io;
use std::net::Shutdown;
use std::task::{Context, Poll};

use duologue_async::{Adopt, Dial, Options};
use duologue_core::TransportFault;

use crate::clock::Clock;
#[cfg(unix)]
use crate::dial::UnixPath;
use crate::dial::{failed, first_of, sockets};
use crate::set_tcp_options;
use crate::stream::{ByteStream, StreamTransport};
use async_std::net::{TcpStream, ToSocketAddrs};
#[cfg(unix)]
use async_std::os::unix::net::UnixStream;

sockets!(tcp: TcpStream, adopt: TcpStream => Ok, shutdown: TcpStream::shutdown);
sockets!(unix: UnixStream, shutdown: UnixStream::shutdown);

impl<A: ToSocketAddrs> Dial<A> for StreamTransport<TcpStream> {
    type Clock = Clock;

    fn clock() -> Clock {
        Clock::new()
    }

    /// Tries every address that the name resolves to, in order; the last failure is told.
    async fn dial(address: A, options: &Options) -> Result<Self, TransportFault> {
        first_of(address.to_socket_addrs().await, |address| async move {
            let stream = TcpStream::connect(address).await?;
            set_tcp_options(&stream, options)?;
            Ok(stream)
        })
        .await
    }
}
