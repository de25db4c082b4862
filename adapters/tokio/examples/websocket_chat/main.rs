//! A chat whose page shows what the connection does, and can drop it: nothing is lost or doubled when it comes back.
//!
//! ```text
//! cargo run --release -p duologue-tokio --example websocket_chat -- --port 9002
//! ```
//!
//! Open the address that it prints in two windows. Every message has a number of the room's and a name of its sender's.
//! A page that comes back tells the last number it has and gets what it missed; it says again what was not confirmed,
//! and the room knows by the name what it has already. The room keeps a bounded history: a page that was away for
//! longer is told how much it missed.

#[path = "../common/mod.rs"]
mod common;
mod room;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use duologue_core::{CloseIntent, Code, Event as SessionEvent};
use duologue_tokio::Options;
use duologue_tokio::websocket::{self, Command, Event, Limits, ServerHandshake, Settings, WebSocketConnection};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use common::{DRAIN, Failure, accept, run, told_to_end};
use room::{Room, Visit};

const PAGE: &str = include_str!("page.html");
/// A head that takes longer is not waited for.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
const MAX_HEAD: usize = 8 << 10;
/// Bytes of what a page says at once.
const MAX_MESSAGE: u64 = 16 << 10;

#[derive(Parser)]
#[command(about = "A chat on 127.0.0.1")]
struct Args {
    /// Port to listen on; 0 takes a free one, and prints it.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

fn main() -> ExitCode {
    run(1, chat(Args::parse().port))
}

async fn chat(port: u16) -> Result<(), Failure> {
    let listener = common::listen(port)?;
    let address = listener.local_addr()?;
    eprintln!("chatting on http://{address}");
    let limits = Limits::new().max_frame(MAX_MESSAGE).max_message(MAX_MESSAGE);
    // Pages of other sites must not talk here in their visitors' names.
    let origins = [format!("http://{address}"), format!("http://localhost:{}", address.port())];
    let handshake = Arc::new(ServerHandshake::new(Settings::new().limits(limits)).origins(origins));
    let room = Arc::new(Room::new());
    let mut pages = JoinSet::new();
    let ended = told_to_end();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => break,
            (stream, peer) = accept(&listener) => {
                let (handshake, room) = (Arc::clone(&handshake), Arc::clone(&room));
                pages.spawn(async move {
                    if let Err(error) = serve(stream, handshake, &room).await {
                        eprintln!("{peer}: {error}");
                    }
                });
            }
            Some(_) = pages.join_next() => {}
        }
    }
    drop(listener);
    room.end();
    let all = async { while pages.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, all).await;
    eprintln!("{} pages were still connected", pages.len());
    Ok(())
}

/// A page, or a conversation: the head tells, and stays where it is for whoever it is for.
async fn serve(mut stream: TcpStream, handshake: Arc<ServerHandshake>, room: &Room) -> Result<(), Failure> {
    let head = tokio::time::timeout(HEAD_WITHIN, peek_head(&stream)).await.map_err(|_| "no head came in time")??;
    if head.to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n") {
        let (socket, opened) = websocket::accept(stream, handshake, &Options::new()).await?;
        return converse(socket, room.visit(&opened.target)).await;
    }
    stream.read_exact(&mut vec![0; head.len()]).await?;
    let (status, body) = if head.starts_with("GET / ") { ("200 OK", PAGE) } else { ("404 Not Found", "") };
    let kind = "Content-Type: text/html; charset=utf-8\r\nConnection: close";
    let answer = format!("HTTP/1.1 {status}\r\n{kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}

async fn peek_head(stream: &TcpStream) -> std::io::Result<String> {
    // Who says nothing gets no buffer.
    stream.readable().await?;
    let mut buffer = vec![0; MAX_HEAD];
    loop {
        let seen = stream.peek(&mut buffer).await?;
        if let Some(end) = buffer[..seen].windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok(String::from_utf8_lossy(&buffer[..end + 4]).into_owned());
        }
        if seen == 0 || seen == MAX_HEAD {
            let why = if seen == 0 { "it ended before a whole head came" } else { "its head is too long" };
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why));
        }
        // What was seen stays readable, so there is nothing to wait for but time.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn converse(mut socket: WebSocketConnection, mut visit: Visit<'_>) -> Result<(), Failure> {
    socket.send(text(&visit.welcome())).await?;
    let mut leaving = false;
    loop {
        // Everything that is new to this page, as fast as it takes it.
        while let Some(news) = visit.next().filter(|_| !leaving) {
            socket.send(text(&news)).await?;
        }
        tokio::select! {
            more = visit.news(), if !leaving => if !more {
                // The page comes back, to whoever serves then.
                leaving = true;
                socket.start_close(CloseIntent::Goodbye(Code(1001)));
            },
            event = socket.next_event() => match event {
                Some(SessionEvent::App(Event::Text(said))) => {
                    match serde_json::from_str(said.as_str()) {
                        Ok(said) => answer(&mut socket, &visit, &said).await?,
                        Err(_) => socket.start_close(CloseIntent::Goodbye(Code(1003))),
                    }
                }
                // Nothing can be said any more, and what is new must not get between the page and the answer to its Close.
                Some(SessionEvent::App(Event::Close(_))) => {
                    socket.closed().await;
                    return Ok(());
                }
                None | Some(SessionEvent::Closed(_)) => return Ok(()),
                Some(_) => {}
            },
        }
    }
}

async fn answer(socket: &mut WebSocketConnection, visit: &Visit<'_>, said: &Value) -> Result<(), Failure> {
    match said["type"].as_str() {
        Some("say") => visit.say(&said["id"], &said["from"], &said["text"]),
        Some("ping") => socket.send(text(&json!({ "type": "pong", "at": said["at"] }))).await?,
        // The network is to fail: a reset, without goodbye and without a flush.
        Some("drop") => socket.abort(Code(0)),
        _ => socket.start_close(CloseIntent::Goodbye(Code(1003))),
    }
    Ok(())
}

fn text(value: &Value) -> Command {
    Command::text(value.to_string())
}
