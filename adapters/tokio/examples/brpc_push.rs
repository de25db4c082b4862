//! A server pushes gigabytes to a client over a bRPC stream; kill either at any moment, start it again, and it resumes.
//!
//! ```text
//! cargo run --release -p duologue-tokio --example brpc_push -- serve --port 7000 --megabytes 4096
//! cargo run --release -p duologue-tokio --example brpc_push -- fetch --port 7000
//! ```
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use clap::{Parser, Subcommand};
use duologue_brpc::{Brpc, BrpcCommand, BrpcConfig, BrpcEvent, Call, Reply, Role, code};
use duologue_core::streams::{Multiplex, Received, StreamEvent, StreamId};
use duologue_core::{Config, Event, Keepalive, Timeouts};
use duologue_tokio::{Connection, Options};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of one message.
const CHUNK: u64 = 64 << 10;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Push to whoever calls.
    Serve {
        /// TCP port; 0 chooses one.
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// How much there is to push.
        #[arg(long, default_value_t = 4096)]
        megabytes: u64,
        /// Seconds within which a client that is gone is named.
        #[arg(long, default_value_t = 4)]
        bound: u64,
    },
    /// Fetch it all, resuming after every loss.
    Fetch {
        /// TCP port of the server.
        #[arg(long)]
        port: u16,
    },
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn options(bound: Duration) -> Options {
    let keepalive = Keepalive { quiet: bound / 2, reply: bound / 2 };
    let timeouts = Timeouts::new().write_stall(Some(bound)).keepalive(Some(keepalive));
    Options::new().config(Config::new().timeouts(timeouts))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    match Args::parse().what {
        What::Serve { port, megabytes, bound } => serve(port, megabytes << 20, Duration::from_secs(bound)).await,
        What::Fetch { port } => fetch(port).await,
    }
}

/// A number as the message of `example.PushService`: field 1, a string.
fn encode(number: u64) -> Bytes {
    let text = number.to_string();
    [&[0x0a, text.len() as u8], text.as_bytes()].concat().into()
}

fn decode(body: &[u8]) -> Option<u64> {
    let text = body.strip_prefix(&[0x0a])?.get(1..)?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

async fn serve(port: u16, total: u64, bound: Duration) -> Result<(), Failure> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (socket, peer) = listener.accept().await?;
        tokio::spawn(async move {
            match push(socket, total, bound).await {
                Ok(how) => println!("{peer}: {how}"),
                Err(e) => println!("{peer}: {e}"),
            }
        });
    }
}

async fn push(socket: TcpStream, total: u64, bound: Duration) -> Result<String, Failure> {
    let brpc = Brpc::new(Role::Server, BrpcConfig::new())?;
    let mut connection: Connection<Brpc> = Connection::accept(socket, brpc, &options(bound))?;
    // Where each stream has come to.
    let mut streams = BTreeMap::<StreamId, u64>::new();
    let data = Bytes::from(vec![0x5a; CHUNK as usize]);
    while let Some(event) = connection.next_event().await {
        match event {
            Event::App(BrpcEvent::Request(request)) => {
                let from = decode(&request.body).filter(|from| *from <= total);
                let accepted = from.and_then(|from| Some((from, connection.protocol_mut().accept(request.id).ok()?)));
                let reply = match accepted {
                    Some((from, ids)) => {
                        streams.extend(ids.into_iter().map(|id| (id, from)));
                        Reply::ok(request.id, encode(total))
                    }
                    None => Reply::error(request.id, code::EREQUEST, "say from where, and open a stream"),
                };
                connection.send(BrpcCommand::Reply(Box::new(reply))).await.map_err(|e| e.to_string())?;
            }
            Event::App(BrpcEvent::Stream(StreamEvent::Closed(id, closed))) => {
                if let Some(at) = streams.remove(&id) {
                    println!("stream at {at} of {total} bytes: {} ({} unsent)", closed.end, closed.unsent);
                }
            }
            Event::Closed(closed) => return Ok(closed.to_string()),
            _ => {}
        }
        // Refused data is told by an event when there is room.
        let mut protocol = connection.protocol_mut();
        for (id, at) in &mut streams {
            let Some(mut stream) = protocol.streams_mut().get_mut(*id) else { continue };
            while *at < total {
                let n = CHUNK.min(total - *at);
                if stream.send(data.slice(..n as usize)).is_err() {
                    break;
                }
                *at += n;
            }
            if *at == total {
                stream.finish();
            }
        }
    }
    Ok("ended".into())
}

async fn fetch(port: u16) -> Result<(), Failure> {
    let bar = ProgressBar::no_length();
    bar.set_style(ProgressStyle::with_template("{bytes}/{total_bytes} {bar:30} {bytes_per_sec} {msg}")?);
    let (mut at, mut total) = (0, None);
    while total != Some(at) {
        if let Err(e) = resume(port, &bar, &mut at, &mut total).await {
            bar.println(format!("at {at} bytes: {e}; trying again"));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    bar.finish();
    println!("all {at} bytes came");
    Ok(())
}

async fn resume(port: u16, bar: &ProgressBar, at: &mut u64, total: &mut Option<u64>) -> Result<(), Failure> {
    let brpc = Brpc::new(Role::Client, BrpcConfig::new())?;
    let options = options(Duration::from_secs(4));
    let mut connection: Connection<Brpc> = Connection::connect(("127.0.0.1", port), brpc, options).await?;
    let stream = connection.protocol_mut().open_stream()?;
    let call = Call {
        id: 1,
        service: "example.PushService".into(),
        method: "Push".into(),
        body: encode(*at),
        streams: vec![stream],
        ..Call::default()
    };
    connection.send(BrpcCommand::Call(Box::new(call))).await.map_err(|e| e.to_string())?;
    while let Some(event) = connection.next_event().await {
        match event {
            Event::App(BrpcEvent::Response(response)) if response.error_code == 0 => {
                let length = decode(&response.body).ok_or("the server does not say how much there is")?;
                *total = Some(length);
                bar.set_length(length);
            }
            Event::App(BrpcEvent::Response(response)) => return Err(response.error_text.into()),
            Event::App(BrpcEvent::CallFailed(_, why)) => return Err(why.into()),
            Event::App(BrpcEvent::Stream(StreamEvent::Closed(_, closed))) if *total != Some(*at) => {
                return Err(closed.end.into());
            }
            Event::Closed(closed) => return Err(closed.to_string().into()),
            _ => {}
        }
        let mut protocol = connection.protocol_mut();
        if let Some(mut stream) = protocol.streams_mut().get_mut(stream) {
            while let Received::Data { bytes, .. } = stream.recv(usize::MAX) {
                stream.release(bytes.len())?;
                *at += bytes.len() as u64;
            }
        }
        bar.set_position(*at);
        if *total == Some(*at) {
            return Ok(());
        }
    }
    Err("the connection ended".into())
}
