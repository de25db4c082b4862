//! The load: a window of messages per connection, and every echoed byte checked.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
use ::tokio::net::TcpStream;
use ::tokio::task::JoinSet;

use super::{HEADER, IN_FLIGHT, PAYLOAD};

const FRAME: usize = HEADER + PAYLOAD;

/// Connections with nothing in flight.
#[derive(Debug)]
pub(super) struct Load(Vec<TcpStream>);

impl Load {
    pub(super) async fn open(address: SocketAddr, connections: usize) -> io::Result<Self> {
        let mut streams = Vec::with_capacity(connections);
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        Ok(Self(streams))
    }

    /// Has `messages` echoed on every connection, all connections at the same time.
    pub(super) async fn echo(self, messages: usize) -> io::Result<Self> {
        let mut running = JoinSet::new();
        for stream in self.0 {
            running.spawn(echo(stream, messages));
        }
        let mut streams = Vec::new();
        while let Some(ended) = running.join_next().await {
            streams.push(ended.map_err(io::Error::other)??);
        }
        Ok(Self(streams))
    }
}

async fn echo(mut stream: TcpStream, messages: usize) -> io::Result<TcpStream> {
    // One frame more than a window, so that any stretch of the stream is found in it whatever byte it starts at.
    let pattern = frame().repeat(IN_FLIGHT + 1);
    let mut sent = messages.min(IN_FLIGHT);
    stream.write_all(&pattern[..sent * FRAME]).await?;
    let mut buffer = vec![0; IN_FLIGHT * FRAME];
    let mut received = 0;
    while received < messages * FRAME {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let phase = received % FRAME;
        if buffer[..n] != pattern[phase..phase + n] {
            return Err(io::Error::new(ErrorKind::InvalidData, "the echo differs from what was sent"));
        }
        received += n;
        let due = (received / FRAME + IN_FLIGHT).min(messages) - sent;
        stream.write_all(&pattern[..due * FRAME]).await?;
        sent += due;
    }
    Ok(stream)
}

fn frame() -> Vec<u8> {
    let payload: [u8; PAYLOAD] = std::array::from_fn(|i| i as u8 ^ 0x5A);
    [&(PAYLOAD as u32).to_be_bytes()[..], &payload].concat()
}
