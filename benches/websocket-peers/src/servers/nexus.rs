//! nexus-web's reader and writer on tokio: one read, the answers to all that it brought, one write.

use std::io::{self, ErrorKind};

use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
use ::tokio::net::TcpStream;
use nexus_web::ws::{FrameReader, FrameWriter, Message, Role, pair_with};

use super::handshake;

/// Bytes of its buffer for reads, of which by default it would allocate 1 MiB for each connection.
const BUFFER: usize = 64 << 10;

pub(super) async fn serve(mut stream: TcpStream) -> io::Result<()> {
    handshake::accept(&mut stream).await?;
    ::tokio::spawn(async move {
        let (mut reader, mut writer) = pair_with(Role::Server, FrameReader::builder().buffer_capacity(BUFFER));
        let mut out = Vec::new();
        loop {
            if reader.spare().is_empty() || reader.should_compact() {
                reader.compact();
            }
            let n = stream.read(reader.spare()).await?;
            if n == 0 {
                return io::Result::Ok(());
            }
            reader.filled(n);
            let goes_on = answer(&mut reader, &mut writer, &mut out)?;
            stream.write_all(&out).await?;
            out.clear();
            if !goes_on {
                return Ok(());
            }
        }
    });
    Ok(())
}

fn answer(reader: &mut FrameReader, writer: &mut FrameWriter, out: &mut Vec<u8>) -> io::Result<bool> {
    while let Some(message) =
        reader.next().map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?
    {
        let at = out.len();
        let payload = message.as_bytes();
        out.resize(at + writer.max_encoded_len(payload.len()), 0);
        let room = &mut out[at..];
        let written = match message {
            Message::Binary(payload) => writer.encode_binary(payload, room),
            Message::Text(payload) => writer.encode_text(payload.as_bytes(), room),
            Message::Ping(payload) => writer.encode_pong(payload, room).map_err(|_| ErrorKind::InvalidData)?,
            Message::Pong(_) => 0,
            Message::Close(_) => {
                out.truncate(at);
                return Ok(false);
            }
        };
        out.truncate(at + written);
    }
    Ok(true)
}
