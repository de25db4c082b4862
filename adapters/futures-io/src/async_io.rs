//! Sockets of the standard library on async-io: for `smol::Async`, and for plain threads.

use std::io;
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll};

use duologue_async::{Adopt, Dial, Options};
use duologue_core::TransportFault;

use crate::clock::Clock;
#[cfg(unix)]
use crate::dial::UnixPath;
use crate::dial::{failed, first_of, sockets};
use crate::set_tcp_options;
use crate::stream::{ByteStream, StreamTransport};
use async_io::Async;

sockets!(tcp: Async<TcpStream>, adopt: TcpStream => Async::new, shutdown: |stream, how| stream.get_ref().shutdown(how));
sockets!(unix: Async<UnixStream>, shutdown: |stream, how| stream.get_ref().shutdown(how));

/// Resolving blocks the thread, as the standard library does it; connecting does not.
impl<A: ToSocketAddrs> Dial<A> for StreamTransport<Async<TcpStream>> {
    type Clock = Clock;

    fn clock() -> Clock {
        Clock::new()
    }

    /// Tries every address that the name resolves to, in order; the last failure is told.
    async fn dial(address: A, options: &Options) -> Result<Self, TransportFault> {
        first_of(address.to_socket_addrs(), |address| async move {
            let stream = Async::<TcpStream>::connect(address).await?;
            set_tcp_options(&stream, options)?;
            Ok(stream)
        })
        .await
    }
}
