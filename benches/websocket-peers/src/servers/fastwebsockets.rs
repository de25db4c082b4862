//! fastwebsockets as its echo example has it: fragments collected, a write for each frame.

use std::io;

use ::fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket};
use ::tokio::net::TcpStream;

use super::handshake;

pub(super) async fn serve(mut stream: TcpStream) -> io::Result<()> {
    handshake::accept(&mut stream).await?;
    ::tokio::spawn(::tokio::task::unconstrained(async move {
        let mut socket = FragmentCollector::new(WebSocket::after_handshake(stream, Role::Server));
        loop {
            let frame = socket.read_frame().await?;
            match frame.opcode {
                OpCode::Close => return Ok::<_, ::fastwebsockets::WebSocketError>(()),
                OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
                _ => {}
            }
        }
    }));
    Ok(())
}
