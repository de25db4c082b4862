//! F3: a client that dials for every request, and one that uses its connections again.
//!
//! 28 218 sockets in TIME_WAIT for three clients come from the first kind. Both ask the same HTTP/1.1 server here, and the
//! kernel is asked what each leaves behind.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue_core::pool::PoolConfig;
use duologue_core::{Code, Event};
use duologue_tokio::http1::http::{Method, Uri};
use duologue_tokio::http1::{
    Body, Client, ClientCommand, ClientEvent, ClientSettings, HttpClient, Incoming, Request, Response, Server as Http,
    ServerCommand, ServerEvent, ServerSettings,
};
use duologue_tokio::{Connection, Options, PoolOptions, Served, Server};

use crate::Error;
use crate::kernel;
use crate::report::{Outcome, Progress, count, secs};

/// Requests of each client.
const REQUESTS: usize = 4000;
/// How many it has under way at a time, and most connections of the pool.
const CALLERS: usize = 8;
/// How often the kernel is asked meanwhile: its table is long.
const LOOK: Duration = Duration::from_millis(200);
const CONTENT: &[u8] = b"Hello, world!";

/// What a client came to.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    sockets: u64,
    reused: u64,
    errors: u64,
    /// In TIME_WAIT at the client and at the server.
    time_wait: (usize, usize),
    took: Duration,
}

impl Tally {
    fn line(&self, who: &str) -> String {
        format!(
            "{who}: {} requests in {}, {} sockets opened, {} requests on a used one, {} errors; TIME_WAIT at the client {}, \
             at the server {}",
            count(REQUESTS as u64),
            secs(self.took),
            count(self.sockets),
            count(self.reused),
            self.errors,
            count(self.time_wait.0 as u64),
            count(self.time_wait.1 as u64),
        )
    }
}

pub async fn play(outcome: Outcome, seed: u64, progress: &Progress) -> Result<Outcome, Error> {
    let naive = run(Kind::Naive, seed, progress).await?;
    let pooled = run(Kind::Pooled, seed, progress).await?;
    // A port in TIME_WAIT may be given out again on the loopback after a second (`tcp_tw_reuse`), so some may be missing.
    let litters = naive.time_wait.0 + naive.time_wait.1 >= REQUESTS * 9 / 10;
    let all = REQUESTS as u64;
    Ok(outcome
        .check(naive.sockets == all && naive.errors == 0 && litters, naive.line("a client that dials every time"))
        .check(
            pooled.sockets <= CALLERS as u64
                && pooled.sockets + pooled.reused == all
                && pooled.errors == 0
                && pooled.time_wait == (0, 0),
            pooled.line("a client with a pool"),
        ))
}

#[derive(Clone)]
enum Kind {
    Naive,
    Pooled,
}

/// What a caller asks with.
#[derive(Clone)]
enum Asker {
    Naive(SocketAddr, Options),
    Pooled(HttpClient),
}

async fn run(kind: Kind, seed: u64, progress: &Progress) -> Result<Tally, Error> {
    let server = Server::bind("127.0.0.1:0", Options::new().config(Http::config()).seed(seed)).await?;
    let (address, handle) = (server.local_addr()?, server.handle());
    let serving = tokio::spawn(server.serve(|_| Http::new(ServerSettings::new()), answer));
    let options = Options::new().seed(seed);
    let (asker, what) = match kind {
        Kind::Naive => (Asker::Naive(address, options), "F3 a connection for each request"),
        Kind::Pooled => {
            let pool = PoolOptions::new().connection(options).pool(PoolConfig::new().per_target(CALLERS as u32));
            (Asker::Pooled(HttpClient::new(ClientSettings::new(), pool)?), "F3 pooled connections")
        }
    };
    progress.start(what, REQUESTS as u64);
    let start = Instant::now();
    let uri: Uri = format!("http://{address}/").parse()?;
    let (done, mut seen) = tokio::sync::mpsc::channel(CALLERS);
    for _ in 0..CALLERS {
        let (asker, uri, done) = (asker.clone(), uri.clone(), done.clone());
        tokio::spawn(async move {
            for _ in 0..REQUESTS / CALLERS {
                let asked = ask(&asker, &uri).await;
                if done.send(asked.is_ok()).await.is_err() {
                    return;
                }
            }
        });
    }
    drop(done);
    let mut tally = Tally::default();
    let mut answered = 0;
    let mut looked = start;
    while let Some(ok) = seen.recv().await {
        answered += u64::from(ok);
        tally.errors += u64::from(!ok);
        progress.at(answered);
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            let (at_server, at_client) = kernel::time_wait(address)?;
            progress.say(format!("{what}: {} sockets, TIME_WAIT {}", handle.stats().accepted, at_server + at_client));
        }
    }
    tally.took = start.elapsed();
    let (at_server, at_client) = kernel::time_wait(address)?;
    tally.time_wait = (at_client, at_server);
    tally.sockets = handle.stats().accepted;
    tally.reused = match &asker {
        Asker::Naive(..) => 0,
        Asker::Pooled(client) => client.pool().stats().reused,
    };
    // With the last of its clients the pool drains; the server has nobody left then.
    drop(asker);
    handle.drain(Duration::from_secs(5));
    serving.await?;
    Ok(tally)
}

/// One request, and all of its answer.
async fn ask(asker: &Asker, uri: &Uri) -> Result<(), Error> {
    match asker {
        Asker::Pooled(client) => {
            let mut response = client.get(uri.clone()).await?;
            let content = response.bytes(1024).await?;
            if content == CONTENT { Ok(()) } else { Err("not the content that was asked for".into()) }
        }
        Asker::Naive(address, options) => {
            let protocol = Client::new(ClientSettings::new());
            let mut connection = Connection::connect(*address, protocol, options.clone()).await?;
            connection.send(ClientCommand::Request(Request::new(Method::GET, uri.clone()))).await?;
            loop {
                match connection.next_event().await {
                    Some(Event::App(ClientEvent::End(_))) => break,
                    Some(Event::App(ClientEvent::Response(head))) if head.body == Incoming::Empty => break,
                    Some(Event::Closed(closed)) => return Err(closed.to_string().into()),
                    None => return Err("no answer".into()),
                    Some(_) => {}
                }
            }
            connection.close(Code(0)).await;
            Ok(())
        }
    }
}

async fn answer(mut connection: Served<Http>) {
    while let Some(event) = connection.next_event().await {
        if let Event::App(ServerEvent::Request(_)) = event {
            let response = Response { body: Body::Full(Bytes::from_static(CONTENT)), ..Response::default() };
            if connection.send(ServerCommand::Respond(response)).await.is_err() {
                return;
            }
        }
    }
}
