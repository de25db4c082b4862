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

/// Whether a socket has all that [`Options`] says about TCP, because its listener had it.
#[must_use]
pub fn has_tcp_options<'s, S>(stream: &'s S, options: &Options) -> bool
where
    SockRef<'s>: From<&'s S>,
{
    #[cfg(target_os = "linux")]
    {
        let socket = SockRef::from(stream);
        let probes = |after: Duration| {
            socket.keepalive().is_ok_and(|on| on)
                && socket.tcp_keepalive_time().is_ok_and(|time| time.as_secs() == after.as_secs().max(1))
                && socket.tcp_keepalive_interval().is_ok_and(|time| time.as_secs() == (after / 3).as_secs().max(1))
                && socket.tcp_keepalive_retries().is_ok_and(|retries| retries == 3)
        };
        let patience = options.tcp_user_timeout;
        socket.tcp_nodelay().is_ok_and(|on| on == options.no_delay)
            && options.tcp_keepalive.is_none_or(probes)
            && (patience.is_none() || socket.tcp_user_timeout().is_ok_and(|wait| wait == patience))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (stream, options);
        false
    }
}

/// Sets what [`Options`] says about TCP on a listener, from which accepted sockets take it over on Linux. Those that wait to
/// be accepted already do not have it: see [`has_tcp_options`].
#[must_use]
pub fn set_listener_options<'s, S>(listener: &'s S, options: &Options) -> bool
where
    SockRef<'s>: From<&'s S>,
{
    cfg!(target_os = "linux") && set_tcp_options(listener, options).is_ok()
}

/// Lets up to `backlog` connections wait on a socket that listens already, as far as the system allows. Windows keeps the
/// number that it began to listen with.
///
/// # Errors
/// The system refused it.
pub fn set_backlog<'s, S>(listener: &'s S, backlog: u32) -> io::Result<()>
where
    SockRef<'s>: From<&'s S>,
{
    SockRef::from(listener).listen(i32::try_from(backlog).unwrap_or(i32::MAX))
}

/// Arranges that closing the socket resets the connection (RST).
pub fn reset_on_drop<'s, S>(stream: &'s S)
where
    SockRef<'s>: From<&'s S>,
{
    // Without it the drop is a normal close: worse for the peer, harmless for us.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// What the peer or the network did to a connected socket, without reading or writing: told once. Linux and the BSDs keep
/// a peer's reset ready to be asked for; Windows tells it only to who reads or writes.
#[must_use]
pub fn failure<'s, S>(stream: &'s S) -> Option<io::Error>
where
    SockRef<'s>: From<&'s S>,
{
    SockRef::from(stream).take_error().unwrap_or_else(Some)
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
