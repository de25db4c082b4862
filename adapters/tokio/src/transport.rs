//! Any tokio byte stream as a transport. Its twin is in `duologue-futures-io`, over other traits: what is changed
//! here is changed there (decision 0090), but for the streams that end when they are dropped: those there can be cloned.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use bytes::buf::Limit;
use duologue_core::driver::Transport;
use duologue_core::{FaultKind, Operation, Release, TransportFault};
use tokio::io::{AsyncRead, AsyncWrite};

use duologue_async::{Carrier, fault, pool};

use crate::clock::Clock;

/// Slices passed to one vectored write.
const SLICES: usize = 32;

/// A byte stream whose write half can be shut down by itself: `poll_shutdown` must send the end of our stream (FIN) and
/// leave reading possible.
///
/// Implemented for TCP, Unix sockets, in-memory streams, and with the feature `rustls` for TLS over any of them.
/// For a stream of your own the defaults are right unless it can be reset or never buffers what is written.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin {
    /// Whether written bytes may stay inside the stream until `poll_flush`. True is always safe.
    const BUFFERS: bool = true;

    /// Whether dropping the stream sends its end (FIN), because nobody else can hold it: then a FIN in front of that is saved.
    /// False is always right.
    const ENDS_WHEN_DROPPED: bool = false;

    /// Arranges that dropping the stream resets the connection (RST) instead of closing it.
    fn reset_on_drop(&self) {}

    /// What has befallen the stream by itself, told once: asked now and then while it is neither read nor written. None,
    /// the default, says nothing.
    fn failure(&self) -> Option<io::Error> {
        None
    }

    /// Whether there may be something to read. `Pending` promises that `poll_read` would say the same, and has registered
    /// the waker as it would; ready, the default, promises nothing.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }
}

impl ByteStream for tokio::net::TcpStream {
    const BUFFERS: bool = false;
    const ENDS_WHEN_DROPPED: bool = true;

    fn reset_on_drop(&self) {
        duologue_async::reset_on_drop(self);
    }

    fn failure(&self) -> Option<io::Error> {
        duologue_async::failure(self)
    }

    #[inline]
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // The read tells what is wrong.
        self.poll_read_ready(cx).map(drop)
    }
}

#[cfg(unix)]
impl ByteStream for tokio::net::UnixStream {
    const BUFFERS: bool = false;
    const ENDS_WHEN_DROPPED: bool = true;

    #[inline]
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_read_ready(cx).map(drop)
    }
}

impl ByteStream for tokio::io::DuplexStream {
    const BUFFERS: bool = false;
}

#[cfg(feature = "rustls")]
impl<S: ByteStream> ByteStream for tokio_rustls::client::TlsStream<S> {
    fn reset_on_drop(&self) {
        self.get_ref().0.reset_on_drop();
    }

    fn failure(&self) -> Option<io::Error> {
        self.get_ref().0.failure()
    }
}

#[cfg(feature = "rustls")]
impl<S: ByteStream> ByteStream for tokio_rustls::server::TlsStream<S> {
    fn reset_on_drop(&self) {
        self.get_ref().0.reset_on_drop();
    }

    fn failure(&self) -> Option<io::Error> {
        self.get_ref().0.failure()
    }
}

/// A [`ByteStream`] as a duologue transport.
#[derive(Debug)]
pub struct StreamTransport<S> {
    /// `None` after the release.
    stream: Option<S>,
    /// Written bytes may still be inside the stream.
    unflushed: bool,
    /// A write met the peer's reset. Systems tell it once; reading gives 0 after it, as if a FIN had come.
    reset: bool,
}

impl<S: ByteStream> StreamTransport<S> {
    /// Takes the stream as it is.
    #[must_use]
    pub const fn new(stream: S) -> Self {
        Self { stream: Some(stream), unflushed: false, reset: false }
    }

    /// The stream, until the session has released it.
    #[must_use]
    pub const fn stream(&self) -> Option<&S> {
        self.stream.as_ref()
    }

    /// As [`stream`](Self::stream), to ask it something that it must look for. What is read from it here the session never
    /// sees.
    pub const fn stream_mut(&mut self) -> Option<&mut S> {
        self.stream.as_mut()
    }

    /// The stream, unless the session has released it: to wrap it before a session begins.
    #[must_use]
    pub fn into_stream(self) -> Option<S> {
        self.stream
    }

    fn write_fault(&mut self, error: &io::Error) -> TransportFault {
        let fault = fault(error, Operation::Write);
        self.reset |= fault.kind == FaultKind::Reset;
        fault
    }

    /// Pushes on what the stream buffers. Its waker is registered if it cannot go on.
    fn flush_inner(&mut self, cx: &mut Context<'_>) -> Result<(), io::Error> {
        if let (true, Some(stream)) = (self.unflushed, &mut self.stream) {
            if let Poll::Ready(flushed) = Pin::new(stream).poll_flush(cx) {
                self.unflushed = false;
                return flushed;
            }
        }
        Ok(())
    }
}

impl<S: ByteStream> Transport for StreamTransport<S> {
    const WATCHED: bool = true;

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Limit<&mut BytesMut>,
    ) -> Poll<Result<usize, TransportFault>> {
        self.flush_inner(cx).map_err(|e| self.write_fault(&e))?;
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(gone(Operation::Read))) };
        loop {
            match ready!(tokio_util::io::poll_read_buf(Pin::new(&mut *stream), cx, buf)) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) if self.reset => {
                    return Poll::Ready(Err(TransportFault::new(FaultKind::Reset, Operation::Read)));
                }
                result => return Poll::Ready(result.map_err(|e| fault(&e, Operation::Read))),
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, TransportFault>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(gone(Operation::Write))) };
        let written = loop {
            let polled = match slices {
                [one] => Pin::new(&mut *stream).poll_write(cx, one),
                _ => {
                    let mut io = [IoSlice::new(&[]); SLICES];
                    for (to, from) in io.iter_mut().zip(slices) {
                        *to = IoSlice::new(from);
                    }
                    Pin::new(&mut *stream).poll_write_vectored(cx, &io[..slices.len().min(SLICES)])
                }
            };
            match ready!(polled) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => break result.map_err(|e| self.write_fault(&e))?,
            }
        };
        if written == 0 {
            return Poll::Ready(Err(gone(Operation::Write)));
        }
        if S::BUFFERS {
            self.unflushed = true;
            self.flush_inner(cx).map_err(|e| self.write_fault(&e))?;
        }
        Poll::Ready(Ok(written))
    }

    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(gone(Operation::ShutdownWrite))) };
        Pin::new(stream).poll_shutdown(cx).map_err(|e| fault(&e, Operation::ShutdownWrite))
    }

    fn poll_release(&mut self, _cx: &mut Context<'_>, how: Release) -> Poll<()> {
        if let Some(stream) = self.stream.take() {
            if how == Release::Abort {
                stream.reset_on_drop();
            }
        }
        Poll::Ready(())
    }

    #[inline]
    fn release_sends_fin(&self) -> bool {
        S::ENDS_WHEN_DROPPED
    }

    #[inline]
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.stream {
            // What it holds back must be pushed on while we wait.
            Some(stream) if !self.unflushed => stream.poll_readable(cx),
            _ => Poll::Ready(()),
        }
    }

    fn failure(&mut self) -> Option<TransportFault> {
        let error = self.stream.as_ref()?.failure()?;
        Some(fault(&error, Operation::Read))
    }

    fn take_buffer(&mut self) -> Option<BytesMut> {
        Some(pool::take())
    }

    fn give_buffer(&mut self, buffer: BytesMut) {
        pool::give(buffer);
    }
}

/// What clients connect again over: any stream of this runtime, TLS for one.
impl<S: ByteStream + Send + 'static> Carrier for StreamTransport<S> {
    type Transport = Self;
    type Clock = Clock;

    fn clock() -> Clock {
        Clock::new()
    }
}

fn gone(operation: Operation) -> TransportFault {
    TransportFault::new(FaultKind::BrokenPipe, operation)
}
