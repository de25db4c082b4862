//! Pushes a file over a WebSocket in fragments, or takes such files: neither side ever holds more than a piece of one.
//!
//! ```text
//! cargo run --release -p duologue-tokio --example websocket_push -- serve --port 9003 --into /tmp
//! cargo run --release -p duologue-tokio --example websocket_push -- send ws://127.0.0.1:9003/name.bin FILE
//! ```
//!
//! The server answers with the length and the checksum of what it got, and the client compares them with its own. A push
//! is not resumed: when its connection is lost the server removes what came, and the client says so and ends with code 1.

#[path = "common/mod.rs"]
mod common;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use clap::{Parser, Subcommand};
use duologue_core::{CloseIntent, Code, Event as SessionEvent};
use duologue_tokio::Options;
use duologue_tokio::websocket::{
    self, ClientHandshake, Command, Event, Kind, Limits, Part, ServerHandshake, Settings, WebSocketConnection,
    handshake::Uri,
};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use common::{Failure, accept, at, run};

/// Bytes of a fragment.
const PIECE: usize = 64 << 10;
/// The longest file.
const MAX_FILE: u64 = 64 << 30;

type Outcome = Result<(), Failure>;

#[derive(Parser)]
#[command(about = "Pushes files over WebSockets, in fragments")]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Takes files on 127.0.0.1.
    Serve {
        /// Port to listen on; 0 takes a free one, and prints it.
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// Writes them into this folder, by the last part of the address; otherwise they are only counted.
        #[arg(long)]
        into: Option<PathBuf>,
    },
    /// Sends a file to a `ws://` address.
    Send { address: String, file: PathBuf },
}

fn main() -> ExitCode {
    match Args::parse().role {
        Role::Serve { port, into } => run(1, serve(port, into.map(Arc::new))),
        Role::Send { address, file } => run(1, async move { send(&address, &file).await }),
    }
}

/// FNV-1a, 64 bits: finds damage, not malice.
struct Checksum(u64);

impl Checksum {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

async fn send(address: &str, path: &Path) -> Outcome {
    let mut file = at("opening", path.display(), File::open(path).await)?;
    let bar = ProgressBar::new(file.metadata().await?.len());
    bar.set_style(ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}")?);
    let uri = Uri::parse(address)?;
    let handshake = ClientHandshake::new(uri.authority, uri.target);
    let (mut socket, _) = websocket::connect_to((uri.host, uri.port), handshake, Options::new()).await?;
    let (mut sum, mut first, mut total) = (Checksum::new(), true, 0_u64);
    loop {
        let mut piece = vec![0; PIECE];
        let len = file.read(&mut piece).await?;
        piece.truncate(len);
        sum.add(&piece);
        total += len as u64;
        // `send` waits for room: no more of the file is read than the connection takes.
        let part = Part { kind: Kind::Binary, first, last: len == 0, data: Bytes::from(piece) };
        if let Err(error) = socket.send(Command::Part(part)).await {
            return Err(lost(total, &error));
        }
        bar.set_position(total);
        first = false;
        if len == 0 {
            break;
        }
    }
    bar.finish();
    let answer = receipt(total, &sum);
    while let Some(event) = socket.next_event().await {
        match event {
            SessionEvent::App(Event::Text(text)) if text.as_str() == answer => {
                eprintln!("arrived: {answer}");
                socket.close(Code(1000)).await;
                return Ok(());
            }
            SessionEvent::App(Event::Text(text)) => return Err(format!("damaged: {text}, not {answer}").into()),
            SessionEvent::Closed(closed) => return Err(lost(total, &closed)),
            _ => {}
        }
    }
    Err(lost(total, &"no answer came"))
}

/// Whether the file is there, the receipt would have told.
fn lost(read: u64, why: &dyn Display) -> Failure {
    format!("lost after {read} bytes were read, without a receipt ({why}); a push is not resumed: send it again").into()
}

fn receipt(total: u64, sum: &Checksum) -> String {
    format!("{total} bytes, checksum {:016x}", sum.0)
}

async fn serve(port: u16, into: Option<Arc<PathBuf>>) -> Outcome {
    let listener = common::listen(port)?;
    eprintln!("taking files on ws://{}", listener.local_addr()?);
    // The message may be long, for nothing holds it; its parts are as long as a piece at most.
    let limits = Limits::new().max_frame(1 << 20).max_message(MAX_FILE).max_fragments(u32::MAX);
    let handshake = Arc::new(ServerHandshake::new(Settings::new().limits(limits).streaming(true)));
    loop {
        let (stream, peer) = accept(&listener).await;
        let (handshake, into) = (Arc::clone(&handshake), into.clone());
        tokio::spawn(async move {
            if let Err(error) = take(stream, handshake, into).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn take(stream: TcpStream, handshake: Arc<ServerHandshake>, into: Option<Arc<PathBuf>>) -> Outcome {
    let (mut socket, opened) = websocket::accept(stream, handshake, &Options::new()).await?;
    let Some(folder) = into else {
        return receive(&mut socket, &opened.target, None).await;
    };
    let Some(name) = file_name(&opened.target) else { return refuse(socket, "no file name").await };
    let path = folder.join(name);
    // Nothing that is there is overwritten.
    let file = match at("making", path.display(), File::create_new(&path).await) {
        Ok(file) => file,
        Err(error) => return refuse(socket, &error.to_string()).await,
    };
    let outcome = receive(&mut socket, &opened.target, Some(file)).await;
    if outcome.is_err() {
        // What came of it must not be taken for the file.
        tokio::fs::remove_file(&path).await?;
    }
    outcome
}

/// Takes one file, and tells what came. Fails unless all of it did.
async fn receive(socket: &mut WebSocketConnection, target: &str, mut file: Option<File>) -> Outcome {
    let (mut sum, mut total) = (Checksum::new(), 0_u64);
    while let Some(event) = socket.next_event().await {
        let SessionEvent::App(Event::Part(part)) = event else { continue };
        sum.add(&part.data);
        total += part.data.len() as u64;
        if let Some(file) = &mut file {
            file.write_all(&part.data).await?;
        }
        if part.last {
            if let Some(file) = &mut file {
                file.sync_all().await?;
            }
            let answer = receipt(total, &sum);
            eprintln!("{target}: {answer}");
            // Whether the receipt arrives is another matter: the file is there.
            if socket.send(Command::text(answer)).await.is_ok() {
                socket.closed().await;
            }
            return Ok(());
        }
    }
    Err(format!("{target}: ended after {total} bytes, before its last part").into())
}

async fn refuse(mut socket: WebSocketConnection, why: &str) -> Outcome {
    socket.start_close(CloseIntent::Goodbye(Code(1008)));
    socket.closed().await;
    Err(why.into())
}

/// The last part of the path, if it is nothing but a name.
fn file_name(target: &str) -> Option<&str> {
    let path = target.split('?').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    (plain && !name.is_empty() && !name.starts_with('.')).then_some(name)
}
