//! An HTTP/1.1 client that uses its connections again, or with `--naive` none of them; and what that leaves behind.
//!
//! ```text
//! cargo run --release -p duologue-tokio --example http_client -- http://127.0.0.1:8080/ --requests 1000 --connections 4
//! cargo run --release -p duologue-tokio --example http_client -- https://example.com/ --ca /etc/ssl/certs/ca-certificates.crt
//! ```
//!
//! The numbers of TIME_WAIT are the kernel's, of this machine, for the server's port: those at the client's ends, and at the
//! server's if it runs here too.

#[path = "common/mod.rs"]
mod common;
#[path = "tour/kernel.rs"]
mod kernel;
#[path = "common/tls.rs"]
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::Parser;
use duologue_core::pool::PoolConfig;
use duologue_core::{Code, Event};
use duologue_tokio::http1::http::{Method, StatusCode, Uri};
use duologue_tokio::http1::{Client, ClientCommand, ClientEvent, ClientSettings, HttpClient, Incoming, Request};
use duologue_tokio::{Connection, Options, PoolOptions};

use common::{Failure, at, run, say};

#[derive(Parser)]
#[command(about = "Asks an HTTP/1.1 server, over pooled connections or over one for each request")]
struct Args {
    /// What to ask for: an http URL, or with --ca an https URL.
    url: Uri,
    /// Requests in all.
    #[arg(long, default_value_t = 1)]
    requests: usize,
    /// Requests under way at a time, and most connections of the pool.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Dial for each request, and close afterwards: http only.
    #[arg(long)]
    naive: bool,
    /// Whom to trust for https: a file of certificates (PEM).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// What the requests came to.
#[derive(Debug, Default)]
struct Tally {
    /// Requests that somebody took on.
    begun: AtomicUsize,
    answered: AtomicUsize,
    other_than_200: AtomicUsize,
    bytes: AtomicUsize,
    errors: AtomicUsize,
    /// Sockets that the naive client opened.
    sockets: AtomicUsize,
}

fn main() -> ExitCode {
    run(1, ask_all(Args::parse()))
}

async fn ask_all(args: Args) -> Result<(), Failure> {
    let default_port = match args.url.scheme_str() {
        Some("http") => 80,
        Some("https") if args.naive => return Err("--naive asks http only".into()),
        Some("https") if args.ca.is_none() => return Err("https takes --ca FILE: whom to trust".into()),
        Some("https") => 443,
        _ => return Err(format!("{} is neither an http nor an https URL", args.url).into()),
    };
    let host = args.url.host().ok_or("the URL names no host")?.trim_matches(['[', ']']);
    let port = args.url.port_u16().unwrap_or(default_port);
    let server =
        at("looking up", host, tokio::net::lookup_host((host, port)).await)?.next().ok_or("the host has no address")?;
    let connections = args.connections.clamp(1, args.requests.max(1));
    let options = PoolOptions::new().pool(PoolConfig::new().per_target(u32::try_from(connections)?));
    let client = match &args.ca {
        Some(file) => HttpClient::with_tls(ClientSettings::new(), tls::trusting(file)?, options)?,
        None => HttpClient::new(ClientSettings::new(), options)?,
    };

    let before = kernel::time_wait(server).unwrap_or_default();
    let start = Instant::now();
    let tally = Arc::new(Tally::default());
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let (client, tally, url) = (client.clone(), Arc::clone(&tally), args.url.clone());
            tokio::spawn(async move {
                while tally.begun.fetch_add(1, Ordering::Relaxed) < args.requests {
                    let asked = if args.naive {
                        dial_and_ask(server, &url, &tally).await
                    } else {
                        ask(&client, &url, &tally).await
                    };
                    match asked {
                        Ok(status) => {
                            tally.answered.fetch_add(1, Ordering::Relaxed);
                            tally.other_than_200.fetch_add(usize::from(status != 200), Ordering::Relaxed);
                        }
                        Err(error) => {
                            if tally.errors.fetch_add(1, Ordering::Relaxed) == 0 {
                                eprintln!("the first error: {error}");
                            }
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    let elapsed = start.elapsed();
    let [answered, other, bytes, errors, dialled] =
        [&tally.answered, &tally.other_than_200, &tally.bytes, &tally.errors, &tally.sockets]
            .map(|count| count.load(Ordering::Relaxed));
    let stats = client.pool().stats();
    let sockets = if args.naive { dialled as u64 } else { stats.dialled };
    say(format_args!("{answered} answers, {other} of them not 200, {bytes} bytes of content, {errors} errors"));
    say(format_args!("{:.0} requests per second", answered as f64 / elapsed.as_secs_f64()));
    say(format_args!("{sockets} sockets opened, {} % of the requests on a used one", stats.reuse_percent()));
    match kernel::time_wait(server) {
        Ok((at_server, at_client)) => say(format_args!(
            "TIME_WAIT for port {}: {at_client} at the client (before: {}), {at_server} at the server (before: {})",
            server.port(),
            before.1,
            before.0
        )),
        Err(error) => say(format_args!("TIME_WAIT cannot be read here: {error}")),
    }
    if answered == args.requests { Ok(()) } else { Err("some requests were not answered".into()) }
}

/// One request over the pool.
async fn ask(client: &HttpClient, url: &Uri, tally: &Tally) -> Result<StatusCode, Failure> {
    let mut response = client.get(url.clone()).await?;
    while let Some(piece) = response.chunk().await? {
        tally.bytes.fetch_add(piece.len(), Ordering::Relaxed);
    }
    Ok(response.head().status)
}

/// One request over a connection of its own.
async fn dial_and_ask(server: SocketAddr, url: &Uri, tally: &Tally) -> Result<StatusCode, Failure> {
    let mut connection = Connection::connect(server, Client::new(ClientSettings::new()), Options::new()).await?;
    tally.sockets.fetch_add(1, Ordering::Relaxed);
    connection.send(ClientCommand::Request(Request::new(Method::GET, url.clone()))).await?;
    let mut status = StatusCode::OK;
    while let Some(event) = connection.next_event().await {
        let complete = match event {
            Event::App(ClientEvent::Response(head)) => {
                status = head.status;
                head.body == Incoming::Empty
            }
            Event::App(ClientEvent::Data(data)) => {
                tally.bytes.fetch_add(data.len(), Ordering::Relaxed);
                false
            }
            Event::App(ClientEvent::End(_)) => true,
            Event::Closed(closed) => return Err(closed.to_string().into()),
            _ => false,
        };
        if complete {
            connection.close(Code(0)).await;
            return Ok(status);
        }
    }
    Err("the connection ended".into())
}
