//! TLS of futures-rustls over any byte stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncWrite;
use futures_rustls::{client, server};

use crate::stream::ByteStream;

/// `close_notify` first, then the end of the stream below: closing TLS alone would send no FIN.
macro_rules! tls {
    ($($stream:ident)::+) => {
        impl<S: ByteStream> ByteStream for $($stream)::+<S> {
            fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let gone = |e: &io::Error| e.kind() == io::ErrorKind::NotConnected;
                let closed = ready!(Pin::new(&mut *self).poll_close(cx));
                if closed.as_ref().is_err_and(|e| !gone(e)) {
                    return Poll::Ready(closed);
                }
                match ready!(self.get_mut().0.poll_shutdown_write(cx)) {
                    // Some sockets sent their FIN with the close above, and the peer may have taken it and left already.
                    Err(e) if gone(&e) && closed.is_ok() => Poll::Ready(Ok(())),
                    result => Poll::Ready(result),
                }
            }

            fn reset_on_drop(&self) {
                self.get_ref().0.reset_on_drop();
            }

            fn failure(&self) -> Option<io::Error> {
                self.get_ref().0.failure()
            }
        }
    };
}

tls!(client::TlsStream);
tls!(server::TlsStream);
