//! Handles for the streams of one TCP connection; see [`duologue_async::streams`].

use smol::net::TcpStream;

use crate::{Clock, StreamTransport};

pub use duologue_async::streams::MuxOptions;
pub use duologue_core::streams::{OpenError, RefusedData, StreamEnd, StreamError, StreamId};

/// One connection of many streams: open, accept, close.
pub type Mux<P, S = TcpStream> = duologue_async::streams::Mux<P, StreamTransport<S>, Clock>;
/// Drives the connection; spawn it.
pub type MuxTask<P, S = TcpStream> = duologue_async::streams::MuxTask<P, StreamTransport<S>, Clock>;
/// A stream, both ways.
pub type MuxStream<P, S = TcpStream> = duologue_async::streams::MuxStream<P, StreamTransport<S>, Clock>;
/// Sends on one stream.
pub type StreamSender<P, S = TcpStream> = duologue_async::streams::StreamSender<P, StreamTransport<S>, Clock>;
/// Receives on one stream.
pub type StreamReceiver<P, S = TcpStream> = duologue_async::streams::StreamReceiver<P, StreamTransport<S>, Clock>;
