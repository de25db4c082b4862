//! Every adapter has the same public surface: the same code compiles and runs against each of them, and none has a
//! name that another one lacks.

use std::collections::BTreeSet;

/// The program, with every type and every method of the surface: what is missing in an adapter does not compile.
/// `$wait` is `awaited` or `at_once`.
macro_rules! surface {
    ($module:ident, $adapter:ident, $wait:ident, |$future:ident| $run:expr, |$stream:ident| $into:expr) => {
        mod $module {
            use std::net::SocketAddr;
            use std::time::Duration;

            use bytes::Bytes;
            use $adapter::core::framed::{Framed, LengthPrefixed};
            use $adapter::core::{CloseIntent, Code, Config, Delivery, Event, FaultKind, Operation, Protocol};
            use $adapter::{
                Adopt, AsIs, AtLimit, ByteStream, Clock, ConnectError, Connection, Dial, DrainReport, Options,
                PoolClient, PoolError, PoolOptions, Pooled, Receipt, ReconnectEvent, ReconnectOptions,
                ReconnectSendError, ReconnectSender, Reconnecting, RecvHalf, SendError, SendHalf, Served, Server,
                ServerHandle, ServerStats, StreamConnection, StreamTransport,
            };

            type Frames = Framed<LengthPrefixed>;
            type Violation = <Frames as Protocol>::Violation;

            fn frames() -> Frames {
                Framed::new(LengthPrefixed::u32_be(1024))
            }

            #[test]
            fn has_the_whole_surface() {
                let $future = $wait!(@block { program!($wait) });
                $run;
            }

            $wait! { @function
                fn serve(connection: Served<Frames>) {
                    let mut connection = connection;
                    assert!(connection.peer_addr().is_some() && !connection.is_draining());
                    while let Some(event) = $wait!(connection.next_event()) {
                        if let Event::App(message) = event {
                            // The peer may be gone.
                            let _ = $wait!(connection.send(message));
                        }
                    }
                }
            }

            #[allow(dead_code, reason = "that it compiles is the test")]
            fn over_any_stream<S: ByteStream>(stream: S, options: &Options)
            where
                StreamTransport<S>: Adopt<AsIs<S>, Clock = Clock>,
            {
                let accepted: Result<StreamConnection<Frames, S>, ConnectError<Violation>> =
                    StreamConnection::accept(AsIs(stream), frames(), options);
                drop(accepted);
            }

            #[cfg(unix)]
            #[allow(dead_code, reason = "that it compiles is the test")]
            fn over_unix_sockets<S: ByteStream>() -> impl Fn($adapter::UnixPath)
            where
                StreamTransport<S>: Dial<$adapter::UnixPath, Clock = Clock>,
            {
                drop
            }

            #[allow(dead_code, reason = "that it compiles is the test")]
            fn accepting($stream: std::net::TcpStream, options: &Options) {
                let stream = $into;
                let accepted: Result<Connection<Frames>, _> = Connection::accept(stream, frames(), options);
                accepted.expect("accepted").abort(Code(0));
            }

            #[test]
            fn maps_errors_alike() {
                let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
                assert_eq!($adapter::fault(&refused, Operation::Connect).kind, FaultKind::Refused);
            }
        }
    };
}

/// What a client and an operator do.
macro_rules! program {
    ($wait:ident) => {{
        let server = $wait!(Server::bind("127.0.0.1:0", Options::new())).unwrap().limit(10, AtLimit::CloseLongestIdle);
        let (address, handle): (SocketAddr, ServerHandle) = (server.local_addr().unwrap(), server.handle());
        let serving = $wait!(@beside { $wait!(server.serve(|_peer: SocketAddr| frames(), serve)) });

        let options = Options::new()
            .seed(7)
            .no_delay(true)
            .connect_within(Duration::from_secs(10))
            .send_within(Duration::from_secs(10))
            .tcp_keepalive(None)
            .tcp_user_timeout(None);
        let connected: Result<Connection<Frames>, ConnectError<Violation>> =
            $wait!(Connection::connect(address, frames(), options.clone()));
        let mut connection = connected.unwrap();
        let sent: Result<(), SendError<Bytes>> = $wait!(connection.send(Bytes::from_static(b"1")));
        sent.unwrap();
        $wait!(connection.feed(Bytes::from_static(b"2"))).unwrap();
        connection.try_send(Bytes::from_static(b"3")).unwrap();
        connection.try_send_in_place(b"4").unwrap();
        $wait!(connection.flush());
        // The first of the echoes.
        assert_eq!($wait!(connection.next_event()), Some(Event::App(Bytes::from_static(b"1"))));
        let _: Option<Event<Bytes, Violation>> = connection.next_ready();
        assert!(connection.session().is_established() && connection.transport().stream().is_some());

        let (mut receiver, sender): (RecvHalf<Frames>, SendHalf<Frames>) = connection.split();
        let clone = sender.clone();
        $wait!(clone.send(Bytes::from_static(b"5"))).unwrap();
        clone.try_send(Bytes::from_static(b"6")).unwrap();
        $wait!(sender.flush());
        assert!(matches!($wait!(receiver.next_event()), Some(Event::App(_))));
        assert_eq!(sender.stats().accepted, receiver.stats().accepted);
        assert!(receiver.inspect(|session| session.is_established()));
        sender.finish();
        sender.start_close(CloseIntent::Goodbye(Code(0)));
        receiver.start_close(CloseIntent::Flush(Code(0)));
        receiver.shutdown_read();
        let closed = $wait!(receiver.closed());
        assert_eq!(sender.end(), Some(closed));
        sender.abort(Code(0));
        receiver.abort(Code(0));

        let in_place = options.config(Config::new().delivery(Delivery::InPlace));
        let mut connection: Connection<Frames> = $wait!(Connection::connect(address, frames(), in_place)).unwrap();
        connection.finish();
        assert_eq!($wait!(connection.handle(0, |_message, _replies| {})), Some(Event::PeerFinished));
        connection.shutdown_read();
        connection.start_close(CloseIntent::Flush(Code(0)));
        connection.abort(Code(0));
        $wait!(connection.closed());

        let connection: Connection<Frames> =
            $wait!(Connection::connect(address, frames(), Options::new())).unwrap();
        $wait!(connection.close(Code(0)));

        let pool: PoolClient<Frames> = PoolClient::new(|_| frames(), PoolOptions::new()).unwrap();
        let pooled: Result<Pooled<Frames>, PoolError> = $wait!(pool.acquire(&address.to_string()));
        let mut pooled = pooled.unwrap();
        $wait!(pooled.send(Bytes::from_static(b"7"))).unwrap();
        assert_eq!($wait!(pooled.next_event()), Some(Event::App(Bytes::from_static(b"7"))));
        pooled.release();
        let pooled = $wait!(pool.acquire(&address.to_string())).unwrap();
        assert!(pooled.is_reused() && pooled.conn_id().generation == 0);
        pooled.discard();
        pool.keep_warm("localhost:1", 0);
        pool.clone().drain();
        assert_eq!(pool.stats().reused, 1);

        let mut client: Reconnecting<Frames> =
            Reconnecting::new(address, |_| frames(), ReconnectOptions::new()).unwrap().resubscribe(|_| Vec::new());
        let Some(ReconnectEvent::Connected { generation }) = $wait!(client.next_event()) else {
            panic!("it connects")
        };
        client.proved_useful(generation);
        assert!(client.machine().is_up());
        let sender: ReconnectSender<Frames> = client.sender().clone();
        assert_eq!(sender.generation(), Some(generation));
        let driven = $wait!(@beside { while $wait!(client.next_event()).is_some() {} });
        let sent: Result<Receipt, ReconnectSendError<Bytes>> = $wait!(sender.send(Bytes::from_static(b"8")));
        assert_eq!(sent, Ok(Receipt { generation, number: 1 }));
        $wait!(sender.send_on(generation, Bytes::from_static(b"9"))).unwrap();
        sender.start_close(Code(0));
        driven.join().unwrap();

        let stats: ServerStats = handle.stats();
        assert_eq!(stats.accepted, 5);
        handle.drain(Duration::from_secs(10));
        let report: DrainReport = serving.join().unwrap();
        assert_eq!(report.left, [], "{report}");
    }};
}

macro_rules! awaited {
    (@block $body:block) => { async move $body };
    (@beside $body:block) => { std::thread::spawn(move || super::run_beside(async move $body)) };
    (@function fn $name:ident($argument:ident: $kind:ty) $body:block) => { async fn $name($argument: $kind) $body };
    ($waiting:expr) => { $waiting.await };
}

macro_rules! at_once {
    (@block $body:block) => { || $body };
    (@beside $body:block) => { std::thread::spawn(move || $body) };
    (@function fn $name:ident($argument:ident: $kind:ty) $body:block) => { fn $name($argument: $kind) $body };
    ($waiting:expr) => { $waiting };
}

/// Any executor will do beside the test, except that tokio's sockets want tokio's runtime.
fn run_beside<F: Future>(future: F) -> F::Output {
    let _inside = tokio_runtime().enter();
    smol::block_on(future)
}

fn tokio_runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime"))
}

surface!(on_tokio, duologue_tokio, awaited, |future| super::tokio_runtime().block_on(future), |stream| {
    tokio::net::TcpStream::from_std(stream).expect("registered")
});
surface!(on_async_std, duologue_async_std, awaited, |future| async_std::task::block_on(future), |stream| {
    async_std::net::TcpStream::from(stream)
});
surface!(on_smol, duologue_smol, awaited, |future| smol::block_on(future), |stream| {
    smol::net::TcpStream::try_from(stream).expect("registered")
});
surface!(on_threads, duologue_blocking, at_once, |program| program(), |stream| stream);

/// The names after `pub`: of functions and types, and those that a `pub use` brings.
fn names(source: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut rest = source;
    while let Some(at) = rest.find("pub ") {
        let public = at == 0 || rest[..at].ends_with(char::is_whitespace);
        rest = &rest[at + 4..];
        let end = rest.find([';', '{', '(']).unwrap_or(rest.len());
        let item = rest[..end].trim_start_matches("async ").trim_start_matches("const ");
        if let (true, Some(path)) = (public, item.strip_prefix("use ")) {
            // `a::{B, C}` or `a::B` or `a as b`.
            let list = if rest[end..].starts_with('{') {
                rest[end + 1..].split('}').next().unwrap_or_default()
            } else {
                path.rsplit([':', ' ']).next().unwrap_or_default()
            };
            names.extend(list.split(',').map(str::trim).filter(|name| !name.is_empty()));
        } else if let (true, Some((_, name))) = (public, item.split_once(' ')) {
            names.extend(name.split(|c: char| !c.is_alphanumeric() && c != '_').next());
        }
    }
    names
}

#[test]
fn names_are_found() {
    let found =
        names("pub use a::{B, C};\npub use d::E;\npub use f as g;\npub type H<P> = I;\n    pub async fn j(&self) {}");
    assert_eq!(found, BTreeSet::from(["B", "C", "E", "g", "H", "j"]));
}

/// What an adapter has beside the others: its own names for the runtime and the socket.
const OWN: [&str; 6] = ["Tokio", "AsyncStd", "Smol", "Threads", "Async", "TcpStream"];

#[test]
fn no_adapter_lacks_a_name_that_another_has() {
    let of = |source| names(source).into_iter().filter(|name| !OWN.contains(name)).collect::<BTreeSet<_>>();
    let tokio = of(include_str!("../../adapters/tokio/src/lib.rs"));
    assert!(tokio.len() > 15, "{tokio:?}");
    assert_eq!(of(include_str!("../../adapters/async-std/src/lib.rs")), tokio, "async-std");
    assert_eq!(of(include_str!("../../adapters/smol/src/lib.rs")), tokio, "smol");
    // bRPC has async handles only so far; threads work on it through `protocol_mut`.
    let mut blocking = of(include_str!("../../adapters/blocking/src/lib.rs"));
    assert!(blocking.insert("brpc"), "no longer an exception");
    assert_eq!(blocking, tokio, "blocking");
}

#[test]
fn the_blocking_handles_have_every_method_of_the_async_ones() {
    let wrapped = [
        include_str!("../../adapters/blocking/src/connection.rs"),
        include_str!("../../adapters/blocking/src/split.rs"),
        include_str!("../../adapters/blocking/src/server.rs"),
        include_str!("../../adapters/blocking/src/reconnecting.rs"),
        include_str!("../../adapters/blocking/src/pooled.rs"),
        include_str!("../../adapters/blocking/src/streams.rs"),
    ]
    .concat();
    let wrapped = names(&wrapped);
    for source in [
        include_str!("../../adapters/async/src/connection.rs"),
        include_str!("../../adapters/async/src/split.rs"),
        include_str!("../../adapters/async/src/server/served.rs"),
        include_str!("../../adapters/async/src/reconnecting/sender.rs"),
        include_str!("../../adapters/async/src/pooled/lease.rs"),
        include_str!("../../adapters/async/src/streams/mod.rs"),
        include_str!("../../adapters/async/src/streams/handle.rs"),
        include_str!("../../adapters/async/src/streams/events.rs"),
    ] {
        // What is a poll, or is made from parts, makes no sense there.
        let missing: Vec<_> = names(source)
            .difference(&wrapped)
            .copied()
            .filter(|name| !name.starts_with("poll_") && !["Connection", "from_driver", "MuxTask"].contains(name))
            .collect();
        assert_eq!(missing, Vec::<&str>::new());
    }
}
