//! What the example programs share: how they are told to end, and how they end.
#![allow(dead_code, reason = "each program takes its part")]

use std::error::Error;
use std::fmt::Display;
use std::future::Future;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

/// An error of any kind, from any thread.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// The pause after accepting failed: for want of descriptors or memory, which come back as connections end.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that may wait to be accepted, as far as the system allows.
const BACKLOG: u32 = 4096;
/// From the first byte of a message to its last. One that drips in holds what came of it so long and no longer.
pub(crate) const MESSAGE: Duration = Duration::from_secs(120);
/// How long those who are being served have when the program is told to end.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);

/// Runs a program on `threads` threads; see [`outcome`].
pub(crate) fn run(threads: usize, program: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if threads <= 1 {
        runtime = tokio::runtime::Builder::new_current_thread();
    }
    let runtime = at("starting", "the runtime", runtime.worker_threads(threads.max(1)).enable_all().build());
    outcome(runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(program)))
}

/// Says what went wrong and why, in one line, and ends with 1. (Wrong arguments end with 2.)
pub(crate) fn outcome(result: Result<(), Failure>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let said = source.to_string();
        // Many errors say their cause themselves.
        if !line.contains(&said) {
            line = format!("{line}: {said}");
        }
        cause = source.source();
    }
    eprintln!("error: {line}");
    ExitCode::FAILURE
}

/// Adds what was being done, and to what: the system's own words name neither.
pub(crate) fn at<T>(doing: &str, what: impl Display, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{doing} {what}: {error}")))
}

/// A line on the standard output; if nobody reads it (`| head`), the program ends.
pub(crate) fn say(line: impl Display) {
    if writeln!(io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

/// Listens on 127.0.0.1, with room for a burst of connections: tokio's `bind` asks for 128, and who finds no room tries
/// again after a second.
pub(crate) fn listen(port: u16) -> io::Result<TcpListener> {
    let bound = || {
        let socket = TcpSocket::new_v4()?;
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
        socket.listen(BACKLOG)
    };
    at("listening on port", port, bound())
}

/// The next connection. A lack of descriptors or memory passes, and so does a peer that went away while it waited: neither
/// ends a server.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut said = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    eprintln!("cannot accept, trying again: {error}");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Waits until the program is told to end: SIGINT or SIGTERM.
pub(crate) async fn told_to_end() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        Ok(()) = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
