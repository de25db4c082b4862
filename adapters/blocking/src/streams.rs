//! Handles for the streams of one connection, for threads: each call waits on the thread that makes it. One thread
//! behind a [`Mux`] drives the connection; it ends with the connection.
//!
//! Streams of bytes are [`std::io::Read`] and [`std::io::Write`]; flushing is the connection's own business.

use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use duologue_async::streams as neutral;
use duologue_core::streams::Multiplex;
use duologue_core::{CloseIntent, Closed, Code, Session};
use futures_io::{AsyncRead, AsyncWrite};

use crate::connection::wait_within;
use crate::{ByteStream, Clock, StreamConnection, StreamTransport, TcpStream, wait};

pub use duologue_async::streams::MuxOptions;
pub use duologue_core::streams::{OpenError, RefusedData, StreamEnd, StreamError, StreamId};

/// One connection of many streams: open, accept, close. Clones are the same connection.
#[derive(Debug)]
pub struct Mux<P: Multiplex, S: ByteStream = TcpStream>(neutral::Mux<P, StreamTransport<S>, Clock>);

/// A stream, both ways.
#[derive(Debug)]
pub struct MuxStream<P: Multiplex, S: ByteStream = TcpStream>(neutral::MuxStream<P, StreamTransport<S>, Clock>);

/// Sends on one stream, from any number of threads. Dropping the last clone of a stream that was not finished resets it
/// by [`MuxOptions::dropped`].
#[derive(Debug)]
pub struct StreamSender<P: Multiplex, S: ByteStream = TcpStream>(neutral::StreamSender<P, StreamTransport<S>, Clock>);

/// Receives on one stream. Dropping it before the end says that nothing more is wanted.
#[derive(Debug)]
pub struct StreamReceiver<P: Multiplex, S: ByteStream = TcpStream>(
    neutral::StreamReceiver<P, StreamTransport<S>, Clock>,
);

impl<P: Multiplex, S: ByteStream> Clone for Mux<P, S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P: Multiplex, S: ByteStream> Clone for StreamSender<P, S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P: Multiplex, S: ByteStream> Mux<P, S> {
    /// Takes a connection over, and starts the thread that drives it.
    ///
    /// # Errors
    /// The system has no thread for it; the connection is reset.
    pub fn new(connection: StreamConnection<P, S>, options: MuxOptions) -> io::Result<Self>
    where
        neutral::MuxTask<P, StreamTransport<S>, Clock>: Send + 'static,
        Closed<P::Violation>: Send + 'static,
    {
        let (mux, task) = neutral::Mux::new(connection.into_inner(), options);
        std::thread::Builder::new().name("duologue-streams".into()).spawn(move || drop(wait(task)))?;
        Ok(Self(mux))
    }

    /// Opens a stream, waiting for a place if there are too many.
    ///
    /// # Errors
    /// No stream can be opened on this connection any more.
    pub fn open(&self) -> Result<MuxStream<P, S>, OpenError> {
        wait(self.0.open()).map(MuxStream)
    }

    /// Waits for the next stream that the peer opened; `None` once the connection ended.
    pub fn accept(&self) -> Option<MuxStream<P, S>> {
        wait(self.0.accept()).map(MuxStream)
    }

    /// As [`accept`](Self::accept), but waits no longer than this: `Pending` if none came.
    pub fn accept_within(&self, at_most: Duration) -> Poll<Option<MuxStream<P, S>>> {
        wait_within(at_most, self.0.accept()).map(|stream| stream.map(MuxStream))
    }

    /// Waits for the next event that is not about streams; `None` once the connection ended.
    pub fn event(&self) -> Option<P::Event> {
        wait(self.0.event())
    }

    /// Events that found no room.
    #[must_use]
    pub fn missed_events(&self) -> u64 {
        self.0.missed_events()
    }

    /// Winds down: what is under way is ended first where the protocol can tell, otherwise this is
    /// [`close`](Self::close) with a goodbye.
    pub fn drain(&self) {
        self.0.drain();
    }

    /// Begins to end the connection: what streams accepted is sent, then the goodbye.
    pub fn close(&self, intent: CloseIntent) {
        self.0.close(intent);
    }

    /// Resets the connection, and with it every stream.
    pub fn abort(&self, code: Code) {
        self.0.abort(code);
    }

    /// Sends a command of the protocol's own.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn try_send(&self, command: P::Command) -> Result<(), duologue_core::SendError<P::Command>> {
        self.0.try_send(command)
    }

    /// Waits for the end of the connection.
    pub fn closed(&self) -> Closed<P::Violation> {
        wait(self.0.closed())
    }

    /// Looks at the session: its states, counters, streams.
    pub fn inspect<R>(&self, look: impl FnOnce(&Session<P>) -> R) -> R {
        self.0.inspect(look)
    }
}

impl<P: Multiplex, S: ByteStream> MuxStream<P, S> {
    /// A sender, to be cloned for any number of threads, and a receiver.
    #[must_use]
    pub fn split(self) -> (StreamSender<P, S>, StreamReceiver<P, S>) {
        let (sender, receiver) = self.0.split();
        (StreamSender(sender), StreamReceiver(receiver))
    }

    /// Accepts all of `data`, waiting for room.
    ///
    /// # Errors
    /// The rest of the data, and why it was not accepted.
    pub fn send(&self, data: Bytes) -> Result<(), RefusedData> {
        wait(self.0.send(data))
    }

    /// Waits for what comes next; `None` once the peer finished.
    ///
    /// # Errors
    /// The stream ended before the peer finished.
    pub fn recv(&mut self) -> Result<Option<Bytes>, StreamEnd> {
        wait(self.0.recv())
    }

    /// Waits for the next whole message, in streams of messages; `None` once the peer finished.
    ///
    /// # Errors
    /// The stream ended before the peer finished.
    pub fn recv_message(&mut self) -> Result<Option<Bytes>, StreamEnd> {
        wait(self.0.recv_message())
    }

    /// A clone of the sender.
    #[must_use]
    pub fn sender(&self) -> StreamSender<P, S> {
        StreamSender(self.0.sender().clone())
    }

    /// Our half-close; receiving goes on.
    pub fn finish(&self) {
        self.0.finish();
    }

    /// Cancels the stream, both ways.
    pub fn reset(&self, code: Code) {
        self.0.reset(code);
    }

    /// The stream ends by itself unless it is over within this time; `None` for never.
    pub fn end_within(&self, at_most: Option<Duration>) {
        self.0.end_within(at_most);
    }

    /// Its name in this connection.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.0.id()
    }
}

impl<P: Multiplex, S: ByteStream> StreamSender<P, S> {
    /// As [`MuxStream::send`].
    ///
    /// # Errors
    /// As [`MuxStream::send`].
    pub fn send(&self, data: Bytes) -> Result<(), RefusedData> {
        wait(self.0.send(data))
    }

    /// Our half-close; receiving goes on.
    pub fn finish(&self) {
        self.0.finish();
    }

    /// Cancels the stream, both ways.
    pub fn reset(&self, code: Code) {
        self.0.reset(code);
    }

    /// As [`MuxStream::end_within`].
    pub fn end_within(&self, at_most: Option<Duration>) {
        self.0.end_within(at_most);
    }
}

impl<P: Multiplex, S: ByteStream> StreamReceiver<P, S> {
    /// As [`MuxStream::recv`].
    ///
    /// # Errors
    /// As [`MuxStream::recv`].
    pub fn recv(&mut self) -> Result<Option<Bytes>, StreamEnd> {
        wait(self.0.recv())
    }

    /// As [`MuxStream::recv_message`].
    ///
    /// # Errors
    /// As [`MuxStream::recv_message`].
    pub fn recv_message(&mut self) -> Result<Option<Bytes>, StreamEnd> {
        wait(self.0.recv_message())
    }

    /// As [`recv`](Self::recv), but waits no longer than this: `Pending` if nothing came.
    pub fn recv_within(&mut self, at_most: Duration) -> Poll<Result<Option<Bytes>, StreamEnd>> {
        wait_within(at_most, self.0.recv())
    }

    /// Wants nothing more of the peer; sending goes on.
    pub fn stop(self, code: Code) {
        self.0.stop(code);
    }
}

impl<P: Multiplex, S: ByteStream> io::Read for MuxStream<P, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        wait(std::future::poll_fn(|cx| Pin::new(&mut self.0).poll_read(cx, into)))
    }
}

impl<P: Multiplex, S: ByteStream> io::Read for StreamReceiver<P, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        wait(std::future::poll_fn(|cx| AsyncRead::poll_read(Pin::new(&mut self.0), cx, into)))
    }
}

impl<P: Multiplex, S: ByteStream> io::Write for StreamSender<P, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        wait(std::future::poll_fn(|cx| AsyncWrite::poll_write(Pin::new(&mut self.0), cx, bytes)))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<P: Multiplex, S: ByteStream> io::Write for MuxStream<P, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        wait(std::future::poll_fn(|cx| Pin::new(&mut self.0).poll_write(cx, bytes)))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
