//! tokio-util's `Framed`, in the two ways that people use it.

use std::io;

use ::tokio::net::{TcpListener, TcpStream};
use ::tokio_util::codec::{Framed, LengthDelimitedCodec};
use futures_util::{SinkExt, StreamExt, TryStreamExt};

use super::MAX_PAYLOAD;

pub(super) async fn serve_forward(listener: TcpListener) -> io::Result<()> {
    loop {
        let (sink, stream) = accept(&listener).await?.split();
        ::tokio::spawn(stream.map_ok(bytes::BytesMut::freeze).forward(sink));
    }
}

pub(super) async fn serve_send(listener: TcpListener) -> io::Result<()> {
    loop {
        let mut framed = accept(&listener).await?;
        ::tokio::spawn(async move {
            while let Some(frame) = framed.next().await {
                framed.send(frame?.freeze()).await?;
            }
            io::Result::Ok(())
        });
    }
}

async fn accept(listener: &TcpListener) -> io::Result<Framed<TcpStream, LengthDelimitedCodec>> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(LengthDelimitedCodec::builder().max_frame_length(MAX_PAYLOAD).new_framed(stream))
}
