//! Any futures-io byte stream as a transport. Its twin is in `duologue-tokio`, over other traits: what is changed
//! here is changed there (decision 0090).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::buf::Limit;
use bytes::{BufMut, BytesMut};
use duologue_async::{fault, pool};
use duologue_core::driver::Transport;
use duologue_core::{FaultKind, Operation, Release, TransportFault};
use futures_io::{AsyncRead, AsyncWrite};

use crate::scratch;

/// Slices passed to one vectored write.
const SLICES: usize = 32;

/// A byte stream whose write half can be shut down by itself.
///
/// Implemented for the sockets of async-io, async-net (smol) and async-std, and with the feature `rustls` for TLS over
/// any of them.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin {
    /// Whether written bytes may stay inside the stream until `poll_flush`. True is always safe.
    const BUFFERS: bool = true;

    /// Sends the end of our stream (FIN) and leaves reading possible.
    ///
    /// There is no default, because `poll_close` is none: on the sockets of async-std and of async-io it does nothing
    /// at all, and the peer would wait for ever.
    ///
    /// # Errors
    /// The stream is broken already.
    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Arranges that dropping the stream resets the connection (RST) instead of closing it.
    fn reset_on_drop(&self) {}

    /// What has befallen the stream by itself, told once: asked now and then while it is neither read nor written. None,
    /// the default, says nothing.
    fn failure(&self) -> Option<io::Error> {
        None
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

/// One read into the room that `buf` has, through initialised memory.
fn read_into<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    buf: &mut Limit<&mut BytesMut>,
) -> Poll<io::Result<usize>> {
    let room = buf.chunk_mut().len();
    scratch::with(|scratch| {
        let most = room.min(scratch.len());
        let scratch = &mut scratch[..most];
        let n = ready!(Pin::new(stream).poll_read(cx, scratch))?;
        let Some(read) = scratch.get(..n) else {
            return Poll::Ready(Err(io::Error::other("the stream says that it read more than it was given room for")));
        };
        buf.put_slice(read);
        Poll::Ready(Ok(n))
    })
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
            match ready!(read_into(stream, cx, buf)) {
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
        stream.poll_shutdown_write(cx).map_err(|e| fault(&e, Operation::ShutdownWrite))
    }

    fn poll_release(&mut self, _cx: &mut Context<'_>, how: Release) -> Poll<()> {
        if let Some(stream) = self.stream.take() {
            if how == Release::Abort {
                stream.reset_on_drop();
            }
        }
        Poll::Ready(())
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

fn gone(operation: Operation) -> TransportFault {
    TransportFault::new(FaultKind::BrokenPipe, operation)
}
