//! The WebSocket helpers of every adapter: open, talk, close with a code.

use duologue_core::{Cause, CloseIntent, Code, Config, Delivery, Event as SessionEvent};
use futures_util::{SinkExt, StreamExt};

/// One conversation between the client and the server of one adapter.
macro_rules! conversation {
    ($module:ident, $adapter:ident, $net:path, $run:expr, $join:path) => {
        mod $module {
            use $adapter::Options;
            use $adapter::websocket::{self, Command, Event, ServerHandshake, Settings, Text};

            use super::*;

            #[test]
            fn opens_talks_and_closes() {
                let run: fn(std::pin::Pin<Box<dyn Future<Output = ()>>>) = $run;
                run(Box::pin(async {
                    use $net as net;
                    let listener = net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                    let address = listener.local_addr().expect("an address");
                    let serve = async {
                        let (stream, _) = listener.accept().await.expect("a connection");
                        let handshake = ServerHandshake::new(Settings::new()).subprotocols(["echo"]);
                        let (mut socket, opened) =
                            websocket::accept(stream, handshake, &Options::new()).await.expect("open");
                        assert_eq!(opened.target, "/x?y");
                        while let Some(event) = socket.next_event().await {
                            if let SessionEvent::App(Event::Text(text)) = event {
                                socket.send(Command::Text(text)).await.expect("sent");
                            }
                        }
                        socket.closed().await.cause
                    };
                    let talk = async {
                        let uri = format!("ws://{address}/x?y");
                        let (mut socket, _) = websocket::connect(&uri, Options::new()).await.expect("open");
                        socket.send(Command::text("hello")).await.expect("sent");
                        let event = socket.next_event().await;
                        assert_eq!(event, Some(SessionEvent::App(Event::Text("hello".into()))));
                        socket.close(Code(4001)).await.cause
                    };
                    let (server, client) = $join(serve, talk).await;
                    assert_eq!((server, client), (Cause::PeerClose(Code(4001)), Cause::LocalClose(Code(4001))));
                }));
            }

            #[test]
            fn is_a_sink_and_a_stream_and_its_sender_is_cloned() {
                let run: fn(std::pin::Pin<Box<dyn Future<Output = ()>>>) = $run;
                run(Box::pin(async {
                    use $net as net;
                    let listener = net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                    let address = listener.local_addr().expect("an address");
                    let serve = async {
                        let (stream, _) = listener.accept().await.expect("a connection");
                        let handshake = ServerHandshake::new(Settings::new());
                        let (socket, _) = websocket::accept(stream, handshake, &Options::new()).await.expect("open");
                        // Nothing but messages is an item: the end of the stream is the end.
                        let (sink, stream) = StreamExt::split(socket);
                        let echoes = stream.filter_map(async |event| match event {
                            Ok(Event::Text(text)) => Some(Ok(Command::Text(text))),
                            _ => None,
                        });
                        // Who is told of the Close cannot answer any more.
                        let _ = echoes.forward(sink).await;
                    };
                    let talk = async {
                        let uri = format!("ws://{address}/");
                        let (mut socket, _) = websocket::connect(&uri, Options::new()).await.expect("open");
                        let texts = || (0..100).map(|n: u32| n.to_string());
                        let sent = texts().map(|text| Ok(Command::text(text)));
                        socket.send_all(&mut futures_util::stream::iter(sent)).await.expect("sent");
                        let mut heard = Vec::new();
                        while heard.len() < 100 {
                            if let Some(Ok(Event::Text(text))) = socket.next().await {
                                heard.push(text.as_str().to_owned());
                            }
                        }
                        assert!(heard.iter().cloned().eq(texts()), "{heard:?}");
                        let (mut recv, send) = socket.split();
                        let writers = futures_util::future::join_all((0..4).map(|writer: u32| {
                            let send = send.clone();
                            async move {
                                for n in 0..50 {
                                    send.send(Command::text(format!("{writer} {n}"))).await.expect("sent");
                                }
                            }
                        }));
                        let reader = async {
                            let mut heard = std::collections::BTreeSet::new();
                            while heard.len() < 200 {
                                match recv.next_event().await {
                                    Some(SessionEvent::App(Event::Text(text))) => {
                                        assert!(heard.insert(text.as_str().to_owned()), "{text} came twice");
                                    }
                                    Some(_) => {}
                                    None => panic!("it is over: {heard:?}"),
                                }
                            }
                        };
                        $join(writers, reader).await;
                        send.start_close(CloseIntent::Goodbye(Code(1000)));
                        assert_eq!(recv.closed().await.cause, Cause::LocalClose(Code(1000)));
                    };
                    $join(serve, talk).await;
                }));
            }

            #[test]
            fn connects_again() {
                use $adapter::{ReconnectEvent, ReconnectOptions};
                let run: fn(std::pin::Pin<Box<dyn Future<Output = ()>>>) = $run;
                run(Box::pin(async {
                    use $net as net;
                    let listener = net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                    let address = listener.local_addr().expect("an address");
                    let serve = async {
                        for accepted in 0..3 {
                            let (stream, _) = listener.accept().await.expect("a connection");
                            let handshake = ServerHandshake::new(Settings::new());
                            let opened = websocket::accept(stream, handshake, &Options::new()).await;
                            let (mut socket, _) = opened.expect("open");
                            while let Some(event) = socket.next_event().await {
                                if let SessionEvent::App(Event::Text(text)) = event {
                                    socket.send(Command::Text(text)).await.expect("sent");
                                    socket.flush().await;
                                    // The first ones are dropped without a Close.
                                    if accepted < 2 {
                                        break;
                                    }
                                }
                            }
                        }
                    };
                    let talk = async {
                        let pauses = duologue_core::reconnect::Backoff::new();
                        let pauses = pauses.initial(std::time::Duration::from_millis(5));
                        let handshake = websocket::ClientHandshake::new("h", "/");
                        let options = ReconnectOptions::new().backoff(pauses);
                        let client = websocket::reconnecting(address, handshake, options).expect("a client");
                        let mut client = client.resubscribe(|generation| vec![Command::text(generation.0.to_string())]);
                        let mut heard = Vec::new();
                        while let Some(event) = client.next_event().await {
                            if let ReconnectEvent::App { event: Event::Text(text), .. } = event {
                                heard.push(text.as_str().to_owned());
                                if heard.len() == 3 {
                                    client.start_close(Code(1000));
                                }
                            }
                        }
                        assert_eq!(heard, ["1", "2", "3"]);
                    };
                    $join(serve, talk).await;
                }));
            }

            /// Whoever opens a WebSocket in place gets what was agreed on as an event, and every message in its handler.
            #[test]
            fn opens_and_talks_in_place() {
                let run: fn(std::pin::Pin<Box<dyn Future<Output = ()>>>) = $run;
                run(Box::pin(async {
                    use $net as net;
                    let listener = net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                    let address = listener.local_addr().expect("an address");
                    let in_place = Options::new().config(Config::new().delivery(Delivery::InPlace));
                    let serve = async {
                        let (stream, _) = listener.accept().await.expect("a connection");
                        let handshake = ServerHandshake::new(Settings::new());
                        let (mut socket, opened) = websocket::accept(stream, handshake, &in_place).await.expect("open");
                        assert_eq!(opened.target, "/x?y");
                        loop {
                            let event = socket.handle(64, |event, replies| {
                                if let Event::Text(text) = event {
                                    replies.send(Command::Text(text)).expect("there is room");
                                }
                            });
                            if let Some(SessionEvent::Closed(closed)) = event.await {
                                return closed.cause;
                            }
                        }
                    };
                    let talk = async {
                        let uri = format!("ws://{address}/x?y");
                        let (mut socket, _) = websocket::connect(&uri, in_place.clone()).await.expect("open");
                        for text in ["one", "two", "three"] {
                            socket.try_send_in_place(Command::Text(Text::borrowed(text))).expect("sent");
                        }
                        // What was sent before our Close is answered before theirs.
                        socket.start_close(CloseIntent::Goodbye(Code(4001)));
                        let mut heard = Vec::new();
                        loop {
                            let event = socket.handle(0, |event, _| {
                                if let Event::Text(text) = event {
                                    heard.push(text.as_str().to_owned());
                                }
                            });
                            if let Some(SessionEvent::Closed(closed)) = event.await {
                                assert_eq!(heard, ["one", "two", "three"]);
                                return closed.cause;
                            }
                        }
                    };
                    let (server, client) = $join(serve, talk).await;
                    assert_eq!((server, client), (Cause::PeerClose(Code(4001)), Cause::LocalClose(Code(4001))));
                }));
            }
        }
    };
}

conversation!(
    on_tokio,
    duologue_tokio,
    tokio::net,
    |future| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime
            .block_on(async { tokio::time::timeout(std::time::Duration::from_secs(20), future).await })
            .expect("in time");
    },
    futures_util::future::join
);
conversation!(
    on_smol,
    duologue_smol,
    smol::net,
    |future| {
        smol::block_on(smol::future::or(future, async {
            smol::Timer::after(std::time::Duration::from_secs(20)).await;
            panic!("not in time");
        }));
    },
    futures_util::future::join
);
conversation!(
    on_async_std,
    duologue_async_std,
    async_std::net,
    |future| {
        let within = std::time::Duration::from_secs(20);
        async_std::task::block_on(async_std::future::timeout(within, future)).expect("in time");
    },
    futures_util::future::join
);

#[test]
fn on_threads_opens_and_talks_in_place() {
    use duologue_blocking::Options;
    use duologue_blocking::websocket::{self, Command, Event, ServerHandshake, Settings};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let in_place = Options::new().config(Config::new().delivery(Delivery::InPlace));
    let options = in_place.clone();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let handshake = ServerHandshake::new(Settings::new());
        let (mut socket, _) = websocket::accept(stream, handshake, &options).expect("open");
        loop {
            let event = socket.handle(64, |event, replies| {
                if let Event::Binary(data) = event {
                    replies.send(Command::Binary(data)).expect("there is room");
                }
            });
            if let Some(SessionEvent::Closed(closed)) = event {
                return closed.cause;
            }
        }
    });
    let (mut socket, _) = websocket::connect(&format!("ws://{address}"), in_place).expect("open");
    socket.send(Command::binary(&b"hello"[..])).expect("sent");
    socket.start_close(CloseIntent::Goodbye(Code(4001)));
    let mut heard = Vec::new();
    let closed = loop {
        let event = socket.handle(0, |event, _| {
            if let Event::Binary(data) = event {
                heard.push(data.as_slice().to_vec());
            }
        });
        if let Some(SessionEvent::Closed(closed)) = event {
            break closed;
        }
    };
    assert_eq!(heard, [b"hello"]);
    assert_eq!(closed.cause, Cause::LocalClose(Code(4001)));
    assert_eq!(server.join().expect("no panic"), Cause::PeerClose(Code(4001)));
}

#[test]
fn on_threads_opens_talks_and_closes() {
    use duologue_blocking::Options;
    use duologue_blocking::websocket::{self, Command, Event, ServerHandshake, Settings};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let handshake = ServerHandshake::new(Settings::new());
        let (mut socket, _) = websocket::accept(stream, handshake, &Options::new()).expect("open");
        while let Some(event) = socket.next_event() {
            if let SessionEvent::App(Event::Binary(data)) = event {
                socket.send(Command::Binary(data)).expect("sent");
            }
        }
        socket.closed().cause
    });
    // Every wait of the client's has its time: `connect_within`, `send_within`, the time-outs of the session.
    let (mut socket, _) = websocket::connect(&format!("ws://{address}"), Options::new()).expect("open");
    socket.send(Command::binary(&b"hello"[..])).expect("sent");
    assert_eq!(socket.next_event(), Some(SessionEvent::App(Event::Binary("hello".into()))));
    assert_eq!(socket.close(Code(4001)).cause, Cause::LocalClose(Code(4001)));
    assert_eq!(server.join().expect("no panic"), Cause::PeerClose(Code(4001)));
}
