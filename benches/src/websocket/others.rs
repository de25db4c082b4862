//! tungstenite and fastwebsockets over memory, set up as their documentation says.

use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use ::bytes::Bytes;
use ::fastwebsockets::{Frame, OpCode, Payload, Role as FastRole};
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tungstenite::Message;
use ::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

use super::BATCH;
use super::wire::{Wire, note};

/// The reads of a wire one after the other, and an end; whatever is written is looked at and dropped.
struct Memory<'a> {
    wire: &'a Wire,
    at: usize,
    reads: bool,
}

impl Read for Memory<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.wire.read_at(&mut self.at, buf.len()).filter(|_| self.reads);
        let Some(read) = read else { return Err(ErrorKind::WouldBlock.into()) };
        buf[..read.len()].copy_from_slice(read);
        Ok(read.len())
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(std::hint::black_box(buf).len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Memory<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { wire, at, .. } = &mut *self;
        if let Some(read) = wire.read_at(at, buf.remaining()) {
            buf.put_slice(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(std::hint::black_box(buf).len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Memory is always ready.
fn complete<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("memory is always ready"),
    }
}

pub(super) fn tungstenite(wire: &Wire) -> u64 {
    let memory = Memory { wire, at: 0, reads: true };
    let config = WebSocketConfig::default().read_buffer_size(64 << 10);
    let mut socket = WebSocket::from_raw_socket(memory, Role::Server, Some(config));
    let mut sum = 0;
    while let Ok(Message::Binary(bytes)) = socket.read() {
        note(&mut sum, &bytes);
    }
    sum
}

pub(super) fn tungstenite_writes(wire: &Wire) -> u64 {
    let memory = Memory { wire, at: 0, reads: false };
    let config = WebSocketConfig::default().write_buffer_size(1 << 20).max_write_buffer_size(2 << 20);
    let mut socket = WebSocket::from_raw_socket(memory, Role::Client, Some(config));
    let payload = Bytes::copy_from_slice(&wire.payload);
    let last = wire.payload.last().copied().unwrap_or_default();
    let mut sum = 0;
    for i in 0..wire.messages {
        let message = Message::Binary(std::hint::black_box(&payload).clone());
        sum += socket.write(message).map_or(0, |()| payload.len() as u64 + u64::from(last));
        if i % BATCH == BATCH - 1 {
            assert!(socket.flush().is_ok(), "memory takes everything");
        }
    }
    sum
}

pub(super) fn fastwebsockets(wire: &Wire) -> u64 {
    let memory = Memory { wire, at: 0, reads: true };
    let mut socket = ::fastwebsockets::WebSocket::after_handshake(memory, FastRole::Server);
    socket.set_auto_pong(false);
    let mut sum = 0;
    complete(async {
        while let Ok(Frame { opcode: OpCode::Binary, payload, .. }) = socket.read_frame().await {
            note(&mut sum, &payload);
        }
    });
    sum
}

/// It has no way to queue: every frame is a write of its own, here into memory.
pub(super) fn fastwebsockets_writes(wire: &Wire) -> u64 {
    let memory = Memory { wire, at: 0, reads: false };
    let mut socket = ::fastwebsockets::WebSocket::after_handshake(memory, FastRole::Client);
    let last = wire.payload.last().copied().unwrap_or_default();
    let mut sum = 0;
    complete(async {
        for _ in 0..wire.messages {
            let frame = Frame::binary(Payload::Borrowed(std::hint::black_box(&wire.payload)));
            if socket.write_frame(frame).await.is_ok() {
                sum += wire.payload.len() as u64 + u64::from(last);
            }
        }
    });
    sum
}
