//! The upgrade for those that come without one: the least that our load's request needs.

use std::io::{self, ErrorKind};

use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
use ::tokio::net::TcpStream;
use ::tungstenite::handshake::derive_accept_key;

/// Bytes of a request that is taken.
const MOST: usize = 1024;

/// The answer to a whole request; `None` until it is whole.
pub(super) fn answer(request: &[u8]) -> io::Result<Option<String>> {
    if !request.ends_with(b"\r\n\r\n") {
        return if request.len() < MOST { Ok(None) } else { Err(ErrorKind::InvalidData.into()) };
    }
    let text = std::str::from_utf8(request).map_err(|_| ErrorKind::InvalidData)?;
    let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).ok_or(ErrorKind::InvalidData)?;
    Ok(Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    )))
}

pub(super) async fn accept(stream: &mut TcpStream) -> io::Result<()> {
    let mut request = Vec::with_capacity(MOST);
    loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Some(answer) = answer(&request)? {
            return stream.write_all(answer.as_bytes()).await;
        }
    }
}
