//! The sockets of async-net, which are those of smol.

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
#[cfg(unix)]
use async_net::unix::UnixStream;
use async_net::{AsyncToSocketAddrs, TcpStream};

sockets!(tcp: TcpStream, adopt: TcpStream => Ok, shutdown: TcpStream::shutdown);
sockets!(unix: UnixStream, shutdown: UnixStream::shutdown);

impl<A: AsyncToSocketAddrs> Dial<A> for StreamTransport<TcpStream> {
    type Clock = Clock;

    fn clock() -> Clock {
        Clock::new()
    }

    /// Tries every address that the name resolves to, in order; the last failure is told.
    async fn dial(address: A, options: &Options) -> Result<Self, TransportFault> {
        let addresses = async_net::resolve(address).await.map(Vec::into_iter);
        first_of(addresses, |address| async move {
            let stream = TcpStream::connect(address).await?;
            set_tcp_options(&stream, options)?;
            Ok(stream)
        })
        .await
    }
}
