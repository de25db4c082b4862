//! wtx: its own handshake and default buffers; a write for each frame.

use std::io;

use ::tokio::net::TcpStream;
use ::wtx::collection::Vector;
use ::wtx::web_socket::{OpCode, WebSocketAcceptor, WebSocketPayloadOrigin};

pub(super) async fn serve(stream: TcpStream) -> io::Result<()> {
    let accepted: Result<_, ::wtx::Error> = WebSocketAcceptor::default().accept(stream).await;
    let mut socket = accepted.map_err(|error| io::Error::other(format!("{error:?}")))?;
    ::tokio::spawn(async move {
        let (mut common, mut reader, mut writer) = socket.split_mut();
        let mut buffer = Vector::new();
        loop {
            let mut frame = reader.read_frame(&mut buffer, &mut common, WebSocketPayloadOrigin::Adaptive).await?;
            match frame.op_code() {
                OpCode::Close => return Ok::<_, ::wtx::Error>(()),
                OpCode::Text | OpCode::Binary => writer.write_frame(&mut common, &mut frame).await?,
                _ => {}
            }
        }
    });
    Ok(())
}
