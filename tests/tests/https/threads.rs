//! The client and the event source of plain threads, as their users hold them; and both ends duologue's.

use std::sync::Arc;
use std::task::Poll;

use duologue_blocking::http1::{EventSource, HttpClient, HttpError};
use duologue_blocking::{PoolError, ReconnectOptions, TlsConnector, TlsError};
use duologue_core::Event;
use duologue_http1::http::Method;
use duologue_http1::{
    Body, ClientSettings, Request, Response, Server as Http, ServerCommand, ServerEvent, ServerSettings,
};
use tokio_rustls::rustls::ServerConfig;

use super::peer::{STEP, peer};
use super::server::{accept, configured};
use super::{options, uri};

#[test]
fn threads_ask_over_tls() {
    let (config, trusting) = configured(&["localhost"]);
    let config = Arc::new(config);
    let (address, server) = peer(move |listener| {
        let mut peer = accept(listener, &config);
        for _ in 0..20 {
            peer.head();
            peer.answer("hello");
        }
        // The client that asks by address.
        assert!(super::server::secure(listener.accept().stream, &config).is_err());
    });
    let connector = TlsConnector::from(Arc::new(trusting));
    let client = HttpClient::with_tls(ClientSettings::new(), connector, options(1)).expect("a pool");
    for _ in 0..20 {
        let mut response = client.get(uri(format!("https://localhost:{}/", address.port()))).expect("an answer");
        assert_eq!(response.bytes(100).expect("all of it"), "hello");
    }
    assert_eq!(client.stats().dialled, 1);
    let refused = client.get(uri(format!("https://127.0.0.1:{}/", address.port())));
    assert!(matches!(refused, Err(HttpError::Pool(PoolError::Tls(TlsError::Certificate { .. })))));
    server.join().expect("no panic");
}

#[test]
fn threads_hear_events_over_tls() {
    let (config, trusting) = configured(&["localhost"]);
    let config = Arc::new(config);
    let (address, server) = peer(move |listener| {
        for number in 1..=2 {
            let mut peer = accept(listener, &config);
            let head = peer.head();
            assert_eq!(head.contains("last-event-id: 1\r\n"), number == 2, "{head}");
            peer.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
            peer.say(&format!("id: {number}\nretry: 0\ndata: {number}\n\n"));
            peer.cut();
            peer.rest();
        }
    });
    let request = Request::new(Method::GET, uri(format!("https://localhost:{}/", address.port())));
    let connector = TlsConnector::from(Arc::new(trusting));
    let mut source = EventSource::with_tls(request, connector, ReconnectOptions::new()).expect("a source");
    for number in 1..=2 {
        let Poll::Ready(Ok(Some(event))) = source.next_event_within(STEP) else { panic!("{:?}", source.trouble()) };
        assert_eq!(event.data, number.to_string());
    }
    drop(source);
    server.join().expect("no panic");
}

/// Our server over TLS on tokio, with a thread of its own; it ends with its client.
fn our_server(config: Arc<ServerConfig>) -> (u16, std::thread::JoinHandle<usize>) {
    use duologue_tokio::{AsIs, Options, StreamConnection};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    listener.set_nonblocking(true).expect("set");
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let serving = async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let (stream, _) = listener.accept().await.expect("a client");
            let stream = tokio_rustls::TlsAcceptor::from(config).accept(stream).await.expect("TLS");
            let options = Options::new().config(Http::config());
            let http = Http::new(ServerSettings::new());
            let mut connection = StreamConnection::accept(AsIs(stream), http, &options).expect("a connection");
            let mut answered = 0;
            while let Some(event) = connection.next_event().await {
                if let Event::App(ServerEvent::Request(_)) = event {
                    let response = Response { body: Body::Full("hello".into()), ..Response::default() };
                    connection.send(ServerCommand::Respond(response)).await.expect("sent");
                    answered += 1;
                }
            }
            answered
        };
        runtime.block_on(async { tokio::time::timeout(STEP, serving).await.expect("in time") })
    });
    (port, thread)
}

#[test]
fn both_ends_are_ours() {
    let (config, trusting) = configured(&["localhost"]);
    let config = Arc::new(config);
    let (port, server) = our_server(Arc::clone(&config));
    let connector = TlsConnector::from(Arc::new(trusting));
    let client = HttpClient::with_tls(ClientSettings::new(), connector, options(1)).expect("a pool");
    for _ in 0..20 {
        let mut response = client.get(uri(format!("https://localhost:{port}/"))).expect("an answer");
        assert_eq!(response.bytes(100).expect("all of it"), "hello");
    }
    assert_eq!(client.stats().dialled, 1);
    drop(client);
    assert_eq!(server.join().expect("no panic"), 20);
}
