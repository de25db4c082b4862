//! Echo servers, one thread each, set up as their documentation says.

mod bare;
mod by_hand;
mod duologue;
mod fastwebsockets;
mod handshake;
mod nexus;
mod tungstenite;
mod wtx;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};

use ::tokio::runtime::Builder;
use clap::ValueEnum;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// An epoll loop by hand, without tokio: payloads behind a 32-bit length, not WebSocket.
    ByHandPrefix,
    /// The same loop with WebSocket frames: whole masked binary messages and nothing else.
    ByHand,
    /// duologue, `handle`: answered where they lie.
    DuologueBorrowed,
    /// duologue, `next_event` and `send`.
    DuologueOwned,
    /// nexus-web's codec on tokio: all that one read brought is answered by one write.
    NexusWeb,
    /// tokio-tungstenite, its stream forwarded into its sink.
    TungsteniteForward,
    /// tokio-tungstenite, one `send`, and so one flush, per message.
    TungsteniteSend,
    /// fastwebsockets: a write per message.
    Fastwebsockets,
    /// wtx: a write per message.
    Wtx,
    /// A tokio task that holds a socket and answers bytes: what everybody on tokio pays.
    Bare,
}

impl Peer {
    /// As the tables name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ByHandPrefix => "by hand, epoll, length-prefixed",
            Self::ByHand => "by hand, epoll, WebSocket",
            Self::DuologueBorrowed => "duologue, borrowed",
            Self::DuologueOwned => "duologue, owned",
            Self::NexusWeb => "nexus-web's codec on tokio",
            Self::TungsteniteForward => "tokio-tungstenite, forward",
            Self::TungsteniteSend => "tokio-tungstenite, send",
            Self::Fastwebsockets => "fastwebsockets",
            Self::Wtx => "wtx",
            Self::Bare => "tokio task, bare socket",
        }
    }
}

/// Serves until standard input ends, which it does when the process that started this one is gone.
pub(crate) fn serve_until_stdin_ends(peer: Peer) -> io::Result<()> {
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    serve(peer, |address| writeln!(io::stdout(), "{address}").is_ok())
}

/// Serves on a free port of 127.0.0.1 in this thread, and does not return while that goes well.
///
/// # Errors
/// The socket could not be opened or accepted from.
pub fn serve(peer: Peer, ready: impl FnOnce(SocketAddr) -> bool) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    if !ready(listener.local_addr()?) {
        return Ok(());
    }
    listener.set_nonblocking(true)?;
    match peer {
        Peer::ByHandPrefix => return by_hand::serve::<by_hand::Prefix>(&listener),
        Peer::ByHand => return by_hand::serve::<by_hand::WebSocket>(&listener),
        _ => {}
    }
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = ::tokio::net::TcpListener::from_std(listener)?;
        match peer {
            Peer::DuologueBorrowed => duologue::serve_borrowed(listener).await,
            Peer::DuologueOwned => duologue::serve_owned(listener).await,
            Peer::NexusWeb => each(&listener, nexus::serve).await?,
            Peer::TungsteniteForward => each(&listener, tungstenite::forward).await?,
            Peer::TungsteniteSend => each(&listener, tungstenite::send).await?,
            Peer::Fastwebsockets => each(&listener, fastwebsockets::serve).await?,
            Peer::Wtx => each(&listener, wtx::serve).await?,
            Peer::Bare => each(&listener, bare::serve).await?,
            Peer::ByHandPrefix | Peer::ByHand => unreachable!("they left above"),
        }
        Ok(())
    })
}

/// A task for each connection's handshake, which starts another for its messages, so that nobody's idle connection
/// carries its handshake.
async fn each<F>(listener: &::tokio::net::TcpListener, serve: fn(::tokio::net::TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        ::tokio::spawn(serve(stream));
    }
}
