//! A keep-alive HTTP/1.1 client: so many requests over so many connections, one request at a time on each.
//!
//! ```text
//! cargo run --release -p duologue-tokio --example http_client -- http://127.0.0.1:8080/ --requests 1000 --connections 4
//! ```

use std::error::Error;
use std::time::Instant;

use clap::Parser;
use duologue_core::{Code, Event};
use duologue_http1::http::{Method, Uri};
use duologue_http1::{Client, ClientCommand, ClientEvent, ClientSettings, Incoming, Request};
use duologue_tokio::{Connection, Options};

#[derive(Parser)]
#[command(about = "Asks an HTTP/1.1 server over connections that are kept alive")]
struct Args {
    /// What to ask for: an http URL.
    url: Uri,
    /// Requests in all.
    #[arg(long, default_value_t = 1)]
    requests: usize,
    /// Connections at a time.
    #[arg(long, default_value_t = 1)]
    connections: usize,
}

/// What a connection came to.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    answered: usize,
    other_than_200: usize,
    bytes: usize,
    sockets: usize,
}

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let connections = args.connections.clamp(1, args.requests.max(1));
    let start = Instant::now();
    let mut tasks = Vec::new();
    for i in 0..connections {
        let share = args.requests / connections + usize::from(i < args.requests % connections);
        tasks.push(tokio::spawn(ask(args.url.clone(), share)));
    }
    let mut total = Tally::default();
    for task in tasks {
        let tally = task.await??;
        total.answered += tally.answered;
        total.other_than_200 += tally.other_than_200;
        total.bytes += tally.bytes;
        total.sockets += tally.sockets;
    }
    let elapsed = start.elapsed();
    let rate = total.answered as f64 / elapsed.as_secs_f64();
    println!("{} answers, {} of them not 200, {} bytes of content", total.answered, total.other_than_200, total.bytes);
    println!("{} sockets opened, {rate:.0} requests per second", total.sockets);
    if total.answered == args.requests { Ok(()) } else { Err("some requests were not answered".into()) }
}

/// Asks `requests` times, over a new connection whenever the server ended the last one.
async fn ask(url: Uri, requests: usize) -> Result<Tally, Failure> {
    let host = url.host().ok_or("the URL names no host")?.trim_matches(['[', ']']).to_string();
    let address = (host, url.port_u16().unwrap_or(80));
    let mut tally = Tally::default();
    while tally.answered < requests {
        let client = Client::new(ClientSettings::new());
        let mut connection = Connection::connect(address.clone(), client, Options::new()).await?;
        tally.sockets += 1;
        while tally.answered < requests && connection.session().protocol().is_idle() {
            connection.send(ClientCommand::Request(Request::new(Method::GET, url.clone()))).await?;
            receive(&mut connection, &mut tally).await?;
        }
        connection.close(Code(0)).await;
    }
    Ok(tally)
}

/// Takes one response with its content.
async fn receive(connection: &mut Connection<Client>, tally: &mut Tally) -> Result<(), Failure> {
    while let Some(event) = connection.next_event().await {
        match event {
            Event::App(ClientEvent::Response(head)) => {
                tally.other_than_200 += usize::from(head.status != 200);
                if head.body == Incoming::Empty {
                    tally.answered += 1;
                    return Ok(());
                }
            }
            Event::App(ClientEvent::Data(data)) => tally.bytes += data.len(),
            Event::App(ClientEvent::End(_)) => {
                tally.answered += 1;
                return Ok(());
            }
            Event::Closed(closed) => return Err(closed.to_string().into()),
            _ => {}
        }
    }
    Err("the connection ended".into())
}
