//! Options of TCP sockets, whatever they are wrapped in.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::Options;

/// Sets what [`Options`] says about TCP, on whichever side the socket is.
///
/// # Errors
/// The system refused an option that it has.
pub fn set_tcp_options<'s, S>(stream: &'s S, options: &Options) -> io::Result<()>
where
    SockRef<'s>: From<&'s S>,
{
    if options.inherited {
        return Ok(());
    }
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(options.no_delay)?;
    if let Some(after) = options.tcp_keepalive {
        let keepalive = TcpKeepalive::new().with_time(after.max(Duration::from_secs(1)));
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd"))]
        let keepalive = keepalive.with_interval((after / 3).max(Duration::from_secs(1))).with_retries(3);
        socket.set_tcp_keepalive(&keepalive)?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if options.tcp_user_timeout.is_some() {
        socket.set_tcp_user_timeout(options.tcp_user_timeout)?;
    }
    Ok(())
}

/// Sets what [`Options`] says about TCP on a listener, where accepted sockets take it over (Linux), and tells whether they
/// do: six system calls once instead of with each connection.
#[must_use]
pub fn set_listener_options<'s, S>(listener: &'s S, options: &Options) -> bool
where
    SockRef<'s>: From<&'s S>,
{
    cfg!(target_os = "linux") && set_tcp_options(listener, options).is_ok()
}

/// Arranges that closing the socket resets the connection (RST).
pub fn reset_on_drop<'s, S>(stream: &'s S)
where
    SockRef<'s>: From<&'s S>,
{
    // Without it the drop is a normal close: worse for the peer, harmless for us.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Whether nothing waits to be read on a non-blocking socket: neither bytes nor a FIN nor an error. It asks the kernel, not
/// the runtime, which may not have heard of a FIN that is there already.
#[must_use]
pub fn is_quiet<'s, S>(stream: &'s S) -> bool
where
    SockRef<'s>: From<&'s S>,
{
    let mut byte = [std::mem::MaybeUninit::uninit()];
    matches!(SockRef::from(stream).peek(&mut byte), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}
