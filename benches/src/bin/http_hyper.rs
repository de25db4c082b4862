//! A hyper server with the same answer as the example `http_server` of duologue-tokio, to be measured beside it: one thread,
//! `GET /` with 13 bytes, no Date field, TCP_NODELAY.
//!
//! `http_hyper [PORT] [--deadlines]`
//!
//! By itself hyper has no deadlines. With a timer it has one, for the head of a request (30 s by default); ours has one for
//! each phase.

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse::<u16>())?;
    let deadlines = std::env::args().any(|argument| argument == "--deadlines");
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    eprintln!("serving on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
                let mut response = Response::new(Full::new(Bytes::from_static(b"Hello, world!")));
                if request.uri().path() == "/" {
                    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
                } else {
                    *response.status_mut() = StatusCode::NOT_FOUND;
                }
                Ok::<_, Infallible>(response)
            });
            let mut builder = http1::Builder::new();
            builder.auto_date_header(false).half_close(true);
            if deadlines {
                builder.timer(TokioTimer::new());
            }
            // A client that goes away is its own business.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
