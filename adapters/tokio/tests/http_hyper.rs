//! hyper as client and as server, over real sockets.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use duologue_core::{Code, Event};
use duologue_http1::http::{HeaderMap, HeaderValue, Method};
use duologue_http1::{
    Body, Client, ClientCommand, ClientEvent, ClientSettings, Incoming, Request, Response, Server as Http,
    ServerCommand, ServerEvent, ServerSettings,
};
use duologue_tokio::{Connection, Options, Served, Server};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// A hang is a failure.
async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

/// Sends the content back as it came, with its trailers.
async fn echo(mut connection: Served<Http>) {
    while let Some(event) = connection.next_event().await {
        let command = match event {
            Event::App(ServerEvent::Request(head)) => ServerCommand::Respond(Response {
                body: match head.body {
                    Incoming::Empty => Body::Full(Bytes::from_static(b"nothing")),
                    Incoming::Sized(length) => Body::Sized(length),
                    Incoming::Chunked | Incoming::UntilClose => Body::Stream,
                },
                ..Response::default()
            }),
            Event::App(ServerEvent::Data(data)) => ServerCommand::Data(data),
            Event::App(ServerEvent::End(trailers)) => ServerCommand::End(trailers),
            _ => continue,
        };
        connection.send(command).await.expect("sent");
    }
}

/// Content of 300 000 bytes in uneven pieces.
fn pieces() -> Vec<Bytes> {
    (0..300usize).map(|i| Bytes::from(vec![i as u8; 1000 - (i % 7) + (i + 3) % 7])).collect()
}

#[tokio::test]
async fn hyper_asks_our_server() {
    within(async {
        let options = Options::new().config(Http::config());
        let server = Server::bind("127.0.0.1:0", options).await.expect("bound");
        let (address, handle) = (server.local_addr().expect("an address"), server.handle());
        let serving = tokio::spawn(server.serve(|_| Http::new(ServerSettings::new()), echo));
        let stream = TcpStream::connect(address).await.expect("connected");
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("ready");
        let driving = tokio::spawn(connection);
        for round in 0..20 {
            let frames: Vec<Result<Frame<Bytes>, Infallible>> = match round % 3 {
                0 => Vec::new(),
                _ => pieces().into_iter().map(|piece| Ok(Frame::data(piece))).collect(),
            };
            let whole: Vec<u8> = frames.iter().flatten().filter_map(|f| f.data_ref()).flatten().copied().collect();
            let body = if round % 3 == 2 {
                StreamBody::new(futures_util::stream::iter(frames)).boxed()
            } else {
                Full::new(Bytes::from(whole.clone())).boxed()
            };
            let request = hyper::Request::post("/").header("host", "a").body(body).expect("a request");
            let response = send.send_request(request).await.expect("an answer");
            assert_eq!(response.status(), 200);
            let answer = response.into_body().collect().await.expect("its content").to_bytes();
            let expected = if whole.is_empty() { &b"nothing"[..] } else { &whole[..] };
            assert_eq!(answer, expected, "round {round}");
        }
        drop(send);
        driving.await.expect("no panic").expect("an orderly end");
        handle.drain(Duration::from_secs(2));
        serving.await.expect("no panic");
    })
    .await;
}

#[tokio::test]
async fn our_client_asks_hyper() {
    within(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("accepted");
            let echo = service_fn(|request: hyper::Request<hyper::body::Incoming>| async {
                Ok::<_, hyper::Error>(hyper::Response::new(request.into_body()))
            });
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), echo).await
        });
        let client = Client::new(ClientSettings::new());
        let mut connection = Connection::connect(address, client, Options::new()).await.expect("connected");
        let whole = pieces().concat();
        for round in 0..20 {
            let body = match round % 4 {
                0 => Body::Empty,
                1 => Body::Full(Bytes::from_static(b"all at once")),
                2 => Body::Sized(whole.len() as u64),
                _ => Body::Stream,
            };
            let streams = !body.is_complete();
            let mut request = Request::new(Method::POST, "http://a/".parse().expect("a URI"));
            request.headers.insert("x-round", HeaderValue::from(round));
            request.body = body;
            let expected = match &request.body {
                Body::Empty => Vec::new(),
                Body::Full(bytes) => bytes.to_vec(),
                _ => whole.clone(),
            };
            let (mut to_send, mut received, mut complete) = (Vec::new(), Vec::new(), false);
            connection.send(ClientCommand::Request(request)).await.expect("sent");
            if streams {
                to_send = pieces();
                to_send.reverse();
            }
            // What comes back is taken while the rest goes out: neither side may wait for the other.
            let mut ended = !streams;
            while !complete || !ended {
                while let Some(piece) = to_send.pop() {
                    if let Err(refused) = connection.try_send(ClientCommand::Data(piece)) {
                        let ClientCommand::Data(piece) = refused.into_command() else { unreachable!() };
                        to_send.push(piece);
                        break;
                    }
                }
                if to_send.is_empty() && !ended && connection.try_send(ClientCommand::End(None::<HeaderMap>)).is_ok() {
                    ended = true;
                    continue;
                }
                match connection.next_event().await.expect("not closed") {
                    Event::App(ClientEvent::Response(head)) => {
                        assert_eq!(head.status, 200);
                        complete = head.body == Incoming::Empty;
                    }
                    Event::App(ClientEvent::Data(data)) => received.extend(data),
                    Event::App(ClientEvent::End(_)) => complete = true,
                    Event::Writable => {}
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(received, expected, "round {round}");
            assert!(connection.session().protocol().is_idle());
        }
        connection.close(Code(0)).await;
        serving.await.expect("no panic").expect("an orderly end");
    })
    .await;
}
