//! Streams as byte streams, whole and in halves: futures-io's traits, and tokio's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use duologue_core::driver::{Timekeeper, Transport};
use duologue_core::streams::{Multiplex, StreamEnd, StreamError};

use super::handle::{MuxStream, StreamReceiver, StreamSender};

fn of_end(end: StreamEnd) -> io::Error {
    let kind = match end {
        StreamEnd::PeerReset(_) => io::ErrorKind::ConnectionReset,
        StreamEnd::Deadline => io::ErrorKind::TimedOut,
        StreamEnd::Refused => io::ErrorKind::ConnectionRefused,
        StreamEnd::LocalReset(_) | StreamEnd::LocalClose => io::ErrorKind::ConnectionAborted,
        _ => io::ErrorKind::UnexpectedEof,
    };
    io::Error::new(kind, end)
}

fn of_error(error: StreamError) -> io::Error {
    match error {
        StreamError::Ended(end) => of_end(end),
        other => io::Error::new(io::ErrorKind::BrokenPipe, other),
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> futures_io::AsyncRead for StreamReceiver<P, T, K> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Self::poll_read(self.get_mut(), cx, into).map_err(of_end)
    }
}

/// Closing is the half-close of the stream, for all clones: receiving goes on. Flushing is the connection's own business.
impl<P: Multiplex, T: Transport, K: Timekeeper> futures_io::AsyncWrite for StreamSender<P, T, K> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_own(cx, bytes).map_err(of_error)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl<P: Multiplex, T: Transport, K: Timekeeper> futures_io::AsyncRead for MuxStream<P, T, K> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        futures_io::AsyncRead::poll_read(Pin::new(&mut self.get_mut().receiver), cx, into)
    }
}

/// Closing is the half-close of the stream: receiving goes on. Flushing is the connection's own business.
impl<P: Multiplex, T: Transport, K: Timekeeper> futures_io::AsyncWrite for MuxStream<P, T, K> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        futures_io::AsyncWrite::poll_write(Pin::new(&mut self.get_mut().sender), cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_io::AsyncWrite::poll_flush(Pin::new(&mut self.get_mut().sender), cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_io::AsyncWrite::poll_close(Pin::new(&mut self.get_mut().sender), cx)
    }
}

#[cfg(feature = "tokio")]
impl<P: Multiplex, T: Transport, K: Timekeeper> tokio::io::AsyncRead for StreamReceiver<P, T, K> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let free = into.initialize_unfilled();
        let polled = Self::poll_read(self.get_mut(), cx, free).map_err(of_end);
        polled.map_ok(|n| into.advance(n))
    }
}

/// As for futures-io: shutting down is the half-close of the stream.
#[cfg(feature = "tokio")]
impl<P: Multiplex, T: Transport, K: Timekeeper> tokio::io::AsyncWrite for StreamSender<P, T, K> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_own(cx, bytes).map_err(of_error)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

#[cfg(feature = "tokio")]
impl<P: Multiplex, T: Transport, K: Timekeeper> tokio::io::AsyncRead for MuxStream<P, T, K> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        tokio::io::AsyncRead::poll_read(Pin::new(&mut self.get_mut().receiver), cx, into)
    }
}

/// As for futures-io: shutting down is the half-close of the stream.
#[cfg(feature = "tokio")]
impl<P: Multiplex, T: Transport, K: Timekeeper> tokio::io::AsyncWrite for MuxStream<P, T, K> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut self.get_mut().sender), cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.get_mut().sender), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.get_mut().sender), cx)
    }
}
