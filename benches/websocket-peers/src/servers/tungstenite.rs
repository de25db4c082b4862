//! tokio-tungstenite with its default buffers.

use std::io;

use ::tokio::net::TcpStream;
use futures_util::{SinkExt, StreamExt, TryStreamExt, future};
use tokio_tungstenite::{WebSocketStream, accept_async};

pub(super) async fn forward(stream: TcpStream) -> io::Result<()> {
    let socket = accept(stream).await?;
    ::tokio::spawn(async move {
        let (sink, stream) = socket.split();
        stream.try_filter(|message| future::ready(message.is_binary() || message.is_text())).forward(sink).await
    });
    Ok(())
}

pub(super) async fn send(stream: TcpStream) -> io::Result<()> {
    let mut socket = accept(stream).await?;
    ::tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_binary() || message.is_text()) && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

async fn accept(stream: TcpStream) -> io::Result<WebSocketStream<TcpStream>> {
    accept_async(stream).await.map_err(io::Error::other)
}
