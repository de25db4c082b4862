//! A non-blocking TCP socket as a transport.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::buf::Limit;
use bytes::{BufMut, BytesMut};
use duologue_core::driver::Transport;
use duologue_core::{FaultKind, Operation, Release, TransportFault};

/// Empty buffers, shared by the connections of one thread.
#[derive(Clone, Debug, Default)]
pub struct Pool(Rc<RefCell<Vec<BytesMut>>>);

/// What a pooled buffer holds at least.
const CAPACITY: usize = 16 << 10;
/// How many are kept.
const KEPT: usize = 16;

/// A TCP socket as a transport.
#[derive(Debug)]
pub struct Socket {
    /// `None` after the release.
    stream: Option<TcpStream>,
    pool: Pool,
    /// A write met the peer's reset. The system tells it once; a read after it looks like a FIN.
    reset: bool,
}

impl Socket {
    /// Takes over a connected socket.
    ///
    /// # Errors
    /// The socket refused an option.
    pub fn new(stream: TcpStream, pool: &Pool) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Some(stream), pool: pool.clone(), reset: false })
    }
}

impl Transport for Socket {
    fn poll_read(
        &mut self,
        _cx: &mut Context<'_>,
        buf: &mut Limit<&mut BytesMut>,
    ) -> Poll<Result<usize, TransportFault>> {
        let Some(stream) = &mut self.stream else { return gone(Operation::Read) };
        // Through initialised memory: the buffer's own spare room is not, and filling it directly needs `unsafe`.
        let mut scratch = [0; 16 << 10];
        let room = buf.remaining_mut().min(scratch.len());
        match attempt(|| stream.read(&mut scratch[..room])) {
            Poll::Ready(Ok(0)) if self.reset => {
                Poll::Ready(Err(TransportFault::new(FaultKind::Reset, Operation::Read)))
            }
            Poll::Ready(Ok(n)) => {
                buf.put_slice(&scratch[..n]);
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(fault(&e, Operation::Read))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_write(&mut self, _cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, TransportFault>> {
        let Some(stream) = &mut self.stream else { return gone(Operation::Write) };
        let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        match attempt(|| stream.write_vectored(&slices)) {
            Poll::Ready(Ok(0)) => gone(Operation::Write),
            Poll::Ready(Ok(n)) => Poll::Ready(Ok(n)),
            Poll::Ready(Err(e)) => {
                let fault = fault(&e, Operation::Write);
                self.reset |= fault.kind == FaultKind::Reset;
                Poll::Ready(Err(fault))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_shutdown_write(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        let Some(stream) = &self.stream else { return gone(Operation::ShutdownWrite) };
        Poll::Ready(stream.shutdown(Shutdown::Write).map_err(|e| fault(&e, Operation::ShutdownWrite)))
    }

    fn poll_release(&mut self, _cx: &mut Context<'_>, how: Release) -> Poll<()> {
        if let Some(stream) = self.stream.take() {
            if how == Release::Abort {
                // Closing then sends RST. Without it the drop is a normal close: worse for the peer, harmless for us.
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
        }
        Poll::Ready(())
    }

    fn take_buffer(&mut self) -> Option<BytesMut> {
        let pooled = self.pool.0.borrow_mut().pop();
        Some(pooled.unwrap_or_else(|| BytesMut::with_capacity(CAPACITY)))
    }

    fn give_buffer(&mut self, mut buffer: BytesMut) {
        let mut pool = self.pool.0.borrow_mut();
        // Messages that the application still holds may share the buffer's memory; such a buffer is let go.
        if pool.len() < KEPT && buffer.try_reclaim(CAPACITY) {
            pool.push(buffer);
        }
    }
}

/// One system call, without blocking.
fn attempt<R>(mut call: impl FnMut() -> io::Result<R>) -> Poll<io::Result<R>> {
    loop {
        match call() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Poll::Pending,
            result => return Poll::Ready(result),
        }
    }
}

/// A system error as a fault.
fn fault(error: &io::Error, operation: Operation) -> TransportFault {
    let kind = match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => FaultKind::Reset,
        ErrorKind::BrokenPipe | ErrorKind::NotConnected => FaultKind::BrokenPipe,
        ErrorKind::TimedOut => FaultKind::TimedOut,
        _ => FaultKind::Other,
    };
    TransportFault { kind, operation, os_code: error.raw_os_error() }
}

fn gone<R>(operation: Operation) -> Poll<Result<R, TransportFault>> {
    Poll::Ready(Err(TransportFault::new(FaultKind::BrokenPipe, operation)))
}
