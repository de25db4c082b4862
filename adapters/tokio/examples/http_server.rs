//! An HTTP/1.1 server for measuring and for newcomers.
//!
//! ```text
//! cargo run --release -p duologue-tokio --example http_server -- --port 8080
//! ```
//!
//! `GET /` has a small body, `POST /echo` answers with the request's content while it comes, `GET /events` is a stream of
//! server-sent events, `GET /page` a page that shows them, `GET /slow?ms=N` answers after a while, `POST /refuse` refuses
//! before the content came. HEAD works wherever GET does. It serves 127.0.0.1 until SIGINT or SIGTERM; then it answers
//! what was asked, and ends.

#[path = "common/mod.rs"]
mod common;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use duologue_core::{CloseIntent, CloseOrder, Code, Event};
use duologue_http1::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use duologue_http1::http::{Method, StatusCode};
use duologue_http1::{
    Body, Continue, Incoming, RequestHead, Response, Server as Http, ServerCommand, ServerEvent, ServerSettings, sse,
};
use duologue_tokio::{Options, Served, Server};

use common::{DRAIN, Failure, at, run, told_to_end};

/// The longest that `/slow` waits.
const LONGEST: Duration = Duration::from_secs(60);
/// Between two events of `/events`.
const TICK: Duration = Duration::from_millis(200);

/// Receives `/events` and keeps their ids.
const PAGE: &str = r#"<!doctype html>
<title>events</title>
<ul id="list"></ul>
<script>
window.seen = [];
window.opened = 0;
const source = new EventSource("/events");
source.onopen = () => { window.opened += 1; };
source.addEventListener("tick", event => {
    window.seen.push(event.lastEventId);
    const item = document.createElement("li");
    item.textContent = event.data;
    document.getElementById("list").append(item);
});
</script>
"#;

#[derive(Parser)]
#[command(about = "Serves HTTP/1.1 on 127.0.0.1")]
struct Args {
    /// Port to listen on; 0 takes a free one, and prints it.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Which side sends the first FIN, and so carries TIME_WAIT.
    #[arg(long, value_enum, default_value_t = Order::LocalFirst)]
    close_order: Order,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    PeerFirst,
    LocalFirst,
}

fn main() -> ExitCode {
    let args = Args::parse();
    run(args.threads, serve(&args))
}

async fn serve(args: &Args) -> Result<(), Failure> {
    let close_order = match args.close_order {
        Order::LocalFirst => CloseOrder::LocalFirst,
        Order::PeerFirst => CloseOrder::PeerFirst { within: Duration::from_secs(2) },
    };
    let options = Options::new().config(Http::config().close_order(close_order));
    let server = at("listening on port", args.port, Server::bind(("127.0.0.1", args.port), options).await)?;
    eprintln!("serving on http://{}", server.local_addr()?);
    let settings = Arc::new(ServerSettings::new().requests(u64::MAX).continues(Continue::Manual));
    let handle = server.handle();
    tokio::spawn(async move {
        told_to_end().await;
        handle.drain(DRAIN);
    });
    let report = server.serve(move |_peer| Http::new(Arc::clone(&settings)), answer_all).await;
    eprintln!("{report}; since the start: {:?}", report.stats);
    Ok(())
}

type Connection = Served<Http>;

/// Answers one request after the other; those that a client sent ahead wait in the connection.
async fn answer_all(mut connection: Connection) {
    while let Some(event) = connection.next_event().await {
        // What is left of the content of a request that was answered early needs no attention.
        let Event::App(ServerEvent::Request(request)) = event else { continue };
        if answer(&mut connection, &request).await.is_none() {
            connection.start_close(CloseIntent::Flush(Code(1)));
        }
    }
}

/// Answers a request; `None` if the connection ended meanwhile.
async fn answer(connection: &mut Connection, request: &RequestHead) -> Option<()> {
    let reads = request.method == Method::GET || request.method == Method::HEAD;
    match request.uri.path() {
        "/" if reads => connection.send(ServerCommand::Respond(text("Hello, world!"))).await.ok(),
        "/echo" if request.method == Method::POST => echo(connection, request).await,
        "/events" if reads => events(connection, request).await,
        "/page" if reads => {
            respond(connection, content(PAGE, HeaderValue::from_static("text/html; charset=utf-8"))).await
        }
        "/slow" if reads => {
            let Some(Ok(millis)) = request.uri.query().and_then(|query| Some(query.strip_prefix("ms=")?.parse()))
            else {
                return respond(connection, Response::new(StatusCode::BAD_REQUEST)).await;
            };
            // A client that goes away meanwhile is noticed.
            connection.drive_during(tokio::time::sleep(Duration::from_millis(millis).min(LONGEST))).await?;
            respond(connection, text("At last.")).await
        }
        "/refuse" => respond(connection, Response::new(StatusCode::PAYLOAD_TOO_LARGE)).await,
        _ => respond(connection, Response::new(StatusCode::NOT_FOUND)).await,
    }
}

async fn respond(connection: &mut Connection, response: Response) -> Option<()> {
    connection.send(ServerCommand::Respond(response)).await.ok()
}

/// Sends the content back as it comes.
async fn echo(connection: &mut Connection, request: &RequestHead) -> Option<()> {
    if request.expects_continue {
        connection.send(ServerCommand::Continue).await.ok()?;
    }
    let body = match request.body {
        Incoming::Sized(length) => Body::Sized(length),
        Incoming::Chunked => Body::Stream,
        Incoming::Empty | Incoming::UntilClose => Body::Empty,
    };
    let mut complete = body.is_complete();
    connection.feed(ServerCommand::Respond(Response { body, ..Response::default() })).await.ok()?;
    while !complete {
        match connection.next_event().await? {
            Event::App(ServerEvent::Data(data)) => connection.send(ServerCommand::Data(data)).await.ok()?,
            Event::App(ServerEvent::End(trailers)) => {
                connection.send(ServerCommand::End(trailers)).await.ok()?;
                complete = true;
            }
            Event::Closed(_) => return None,
            _ => {}
        }
    }
    Some(())
}

/// Counts from the event that the client saw last.
async fn events(connection: &mut Connection, request: &RequestHead) -> Option<()> {
    let last = request.headers.get(sse::LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    let mut response = Response { body: Body::Stream, ..Response::default() };
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static(sse::CONTENT_TYPE));
    response.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    respond(connection, response).await?;
    if request.method == Method::HEAD {
        return connection.send(ServerCommand::End(None)).await.ok();
    }
    connection.send(ServerCommand::Data(sse::retry(Duration::from_millis(500)))).await.ok()?;
    let mut tick = tokio::time::interval(TICK);
    for number in last.map_or(1, |last| last.saturating_add(1)).. {
        // The connection is driven while we wait, so that a client that went away is noticed.
        connection.drive_during(tick.tick()).await?;
        if connection.is_draining() {
            return connection.send(ServerCommand::End(None)).await.ok();
        }
        let (id, data) = (number.to_string(), format!("event {number}"));
        let event = sse::EventBuilder::new(&data).name("tick").id(&id).encode().ok()?;
        connection.send(ServerCommand::Data(event)).await.ok()?;
    }
    Some(())
}

fn text(text: &'static str) -> Response {
    content(text, HeaderValue::from_static("text/plain"))
}

fn content(text: &'static str, kind: HeaderValue) -> Response {
    let mut response = Response::new(StatusCode::OK);
    response.headers.insert(CONTENT_TYPE, kind);
    response.body = Body::Full(Bytes::from_static(text.as_bytes()));
    response
}
