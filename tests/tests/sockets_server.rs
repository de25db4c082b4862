//! The server: draining, connection limits, and an accept loop that survives running out of descriptors.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue_core::{Cause, CloseIntent, Code, Event, Timeouts};
use duologue_tests::sockets::*;
use duologue_tokio::{AtLimit, Connection, DrainReport, Options, Served, Server, ServerHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

async fn echo(mut connection: Served<Frames>) {
    while let Some(event) = connection.next_event().await {
        if let Event::App(message) = event {
            assert_ne!(message, "panic", "this handler was asked to panic");
            if connection.send(message).await.is_err() {
                return;
            }
        }
    }
}

async fn start(configure: impl FnOnce(Server) -> Server) -> (SocketAddr, ServerHandle, JoinHandle<DrainReport>) {
    let server = configure(Server::bind("127.0.0.1:0", Options::new()).await.expect("bound"));
    let (address, handle) = (server.local_addr().expect("its address"), server.handle());
    (address, handle, tokio::spawn(server.serve(|_| frames(), echo)))
}

async fn dial(address: SocketAddr) -> Connection<Frames> {
    step("dialling", Connection::connect(address, frames(), Options::new())).await.expect("connected")
}

async fn is_served(connection: &mut Connection<Frames>) {
    step("asking", connection.send(Bytes::from_static(b"ping"))).await.expect("sent");
    assert_eq!(message(connection).await, "ping");
}

#[tokio::test]
async fn draining_says_goodbye_waits_resets_the_rest_and_reports() {
    let (address, handle, running) = start(|server| server).await;
    let mut polite = [dial(address).await, dial(address).await];
    for connection in &mut polite {
        is_served(connection).await;
    }
    let mut stubborn = TcpStream::connect(address).await.unwrap();
    write(&mut stubborn, &frame(b"here")).await;
    assert_eq!(read_frame(&mut stubborn).await.as_deref(), Some(&b"here"[..]));
    let left = stubborn.local_addr().unwrap();

    let start = Instant::now();
    handle.drain(Duration::from_millis(400));
    handle.drain(Duration::from_secs(1000));
    for connection in &mut polite {
        let (_, closed) = drain(connection).await;
        assert_eq!(closed.cause, Cause::PeerFinished);
    }
    assert_eq!(read_frame(&mut stubborn).await, None, "it heard the goodbye, and stays");
    let report = step("the drain", running).await.unwrap();
    assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&start.elapsed()), "the first call decides");
    assert_eq!((report.open, report.ended), (3, 2), "{report}");
    assert_eq!(report.left, [left]);
    assert_eq!(report.stats.accepted, 3);
    until("the reset", || stubborn.peer_addr().is_err()).await;
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_drain_waits_for_a_connection_that_its_handler_handed_on() {
    let server = Server::bind("127.0.0.1:0", Options::new()).await.expect("bound");
    let (address, handle) = (server.local_addr().expect("its address"), server.handle());
    let running = tokio::spawn(server.serve(
        |_| frames(),
        |connection: Served<Frames>| async {
            tokio::spawn(echo(connection));
        },
    ));
    let mut peer = dial(address).await;
    is_served(&mut peer).await;
    handle.drain(Duration::from_secs(1000));
    assert_eq!(drain(&mut peer).await.1.cause, Cause::PeerFinished, "closed in order");
    let report = step("the drain", running).await.expect("no panic");
    assert_eq!((report.open, report.ended, report.stats.open, report.stats.ended.in_order), (1, 1, 0, 1), "{report:?}");
}

#[tokio::test]
async fn a_drain_without_connections_ends_at_once() {
    let (_, handle, running) = start(|server| server).await;
    handle.drain(Duration::from_secs(1000));
    let report = step("the drain", running).await.unwrap();
    assert_eq!((report.open, report.ended, report.left.len()), (0, 0, 0));
}

#[tokio::test]
async fn at_the_limit_newcomers_are_reset_and_a_free_seat_is_given_again() {
    let (address, handle, _running) = start(|server| server.limit(2, AtLimit::Refuse)).await;
    let (mut a, mut b) = (dial(address).await, dial(address).await);
    is_served(&mut a).await;
    is_served(&mut b).await;
    let mut c = TcpStream::connect(address).await.unwrap();
    let (bytes, result) = read_to_end(&mut c).await;
    assert_eq!((bytes.len(), result.unwrap_err().kind()), (0, std::io::ErrorKind::ConnectionReset));
    assert_eq!((handle.stats().open, handle.stats().refused), (2, 1));
    step("leaving", a.close(duologue_core::Code(0))).await;
    until("the seat", || handle.stats().open == 1).await;
    is_served(&mut dial(address).await).await;
    is_served(&mut b).await;
}

#[tokio::test]
async fn at_the_limit_the_longest_idle_connection_can_be_closed_instead() {
    let (address, handle, _running) = start(|server| server.limit(2, AtLimit::CloseLongestIdle)).await;
    let (mut idle, mut busy) = (dial(address).await, dial(address).await);
    is_served(&mut idle).await;
    is_served(&mut busy).await;
    let mut newcomer = dial(address).await;
    is_served(&mut newcomer).await;
    assert_eq!(drain(&mut idle).await.1.cause, Cause::PeerFinished, "closed in order");
    is_served(&mut busy).await;
    assert_eq!((handle.stats().evicted, handle.stats().refused), (1, 0));
    // Who has gone makes no room for two.
    until("the seat", || handle.stats().open == 2).await;
    is_served(&mut dial(address).await).await;
    assert_eq!(handle.stats().evicted, 2);
}

#[tokio::test]
async fn connections_on_their_way_out_are_bounded_as_well() {
    let (address, handle, _running) = start(|server| server.limit(2, AtLimit::CloseLongestIdle)).await;
    // None of them ever closes, so each that must leave lingers.
    let mut crowd = Vec::new();
    for arrived in 1..=20 {
        crowd.push(TcpStream::connect(address).await.unwrap());
        until("admission", || handle.stats().accepted + handle.stats().refused == arrived).await;
        assert!(handle.stats().open <= 4, "{:?}", handle.stats());
    }
    assert!(handle.stats().refused > 0);
}

#[tokio::test]
async fn a_panic_in_a_handler_is_the_end_of_its_connection_only() {
    let (address, handle, running) = start(|server| server).await;
    let (mut bad, mut good) = (dial(address).await, dial(address).await);
    is_served(&mut good).await;
    bad.send(Bytes::from_static(b"panic")).await.unwrap();
    drain(&mut bad).await;
    is_served(&mut good).await;
    is_served(&mut dial(address).await).await;
    handle.drain(Duration::from_secs(10));
    drain(&mut good).await;
    step("the drain", running).await.unwrap();
}

#[tokio::test]
async fn a_panic_before_a_handler_first_waits_is_counted_and_the_server_goes_on() {
    let server = Server::bind("127.0.0.1:0", Options::new()).await.expect("bound");
    let (address, handle) = (server.local_addr().expect("its address"), server.handle());
    let (asked, made) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let running = tokio::spawn(server.serve(
        move |_| {
            assert_ne!(made.fetch_add(1, Ordering::Relaxed), 1, "no protocol for the second");
            frames()
        },
        move |connection: Served<Frames>| {
            assert_ne!(asked.fetch_add(1, Ordering::Relaxed), 0, "no handler for the first");
            echo(connection)
        },
    ));
    for panics in 1..=2 {
        let mut bad = TcpStream::connect(address).await.expect("connected");
        let _ = read_to_end(&mut bad).await;
        until("the count", || handle.stats().panicked == panics).await;
    }
    let mut third = dial(address).await;
    is_served(&mut third).await;
    third.send(Bytes::from_static(b"panic")).await.expect("sent");
    drain(&mut third).await;
    until("the count", || handle.stats().panicked == 3).await;
    is_served(&mut dial(address).await).await;
    handle.drain(Duration::from_secs(10));
    let report = step("the drain", running).await.expect("no panic");
    assert_eq!((report.stats.accepted, report.stats.refused, report.left.len()), (3, 1, 0), "{report:?}");
}

/// A peer that never pauses: on a runtime without a budget for reads, or with one that is large, every look at the
/// connection finds a message.
#[tokio::test]
async fn a_drain_is_heard_though_input_is_always_there() {
    let server = Server::bind("127.0.0.1:0", Options::new()).await.expect("bound");
    let (address, handle) = (server.local_addr().expect("its address"), server.handle());
    let (told, since) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counting, counted) = (Arc::clone(&told), Arc::clone(&since));
    let draining = handle.clone();
    let handler = move |mut connection: Served<Frames>| {
        let (told, since, draining) = (Arc::clone(&counting), Arc::clone(&counted), draining.clone());
        async move {
            while let Some(event) = connection.next_event().await {
                if let Event::App(_) = event {
                    if told.fetch_add(1, Ordering::Relaxed) == 1000 {
                        draining.drain(Duration::from_secs(10));
                    }
                    since.fetch_add(usize::from(connection.is_draining()), Ordering::Relaxed);
                }
            }
        }
    };
    let running = tokio::spawn(server.serve(|_| frames(), handler));
    let mut peer = TcpStream::connect(address).await.expect("connected");
    let flood = frame(b"x").repeat(1 << 12);
    let flooding = async {
        while peer.write_all(&flood).await.is_ok() {}
        // The server has gone; its report follows.
        drop(peer);
        std::future::pending::<()>().await;
    };
    let report = tokio::select! {
        report = running => report.expect("no panic"),
        () = flooding => unreachable!("it waits for ever"),
        () = tokio::time::sleep(STEP) => panic!("{} messages, and no end", told.load(Ordering::Relaxed)),
    };
    assert_eq!((report.open, report.ended), (1, 1), "{report:?}");
    let since = since.load(Ordering::Relaxed);
    assert!(since <= 70, "{since} messages were taken up after the drain");
}

const CHILD: &str = "DUOLOGUE_TEST_SERVER_WITH_FEW_DESCRIPTORS";

/// The server of the next test, in a process of its own with few descriptors: echoes, and tells its accept failures.
/// Of use only as the child process of that test; on its own it does nothing.
#[tokio::test]
async fn serve_with_few_descriptors() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let server = Server::bind("127.0.0.1:0", Options::new()).await.unwrap();
    println!("\nlistening on {}", server.local_addr().unwrap());
    let handle = server.handle();
    let serving = server.serve(
        |_| frames(),
        move |mut connection| {
            let handle = handle.clone();
            async move {
                while let Some(event) = connection.next_event().await {
                    if let Event::App(_) = event {
                        let failures = handle.stats().accept_failures.to_string();
                        if connection.send(Bytes::from(failures)).await.is_err() {
                            return;
                        }
                    }
                }
            }
        },
    );
    let _ = tokio::time::timeout(STEP * 3, serving).await;
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks for the number of accept failures; an error if nobody answers within `patience`.
fn ask(stream: &mut StdStream, patience: Duration) -> std::io::Result<u64> {
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(&frame(b"?"))?;
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let mut digits = vec![0; u32::from_be_bytes(header) as usize];
    stream.read_exact(&mut digits)?;
    Ok(String::from_utf8_lossy(&digits).parse().expect("a number"))
}

#[test]
#[cfg(unix)]
fn the_accept_loop_survives_running_out_of_descriptors() {
    let script = "ulimit -n 24; exec \"$0\" --exact --nocapture serve_with_few_descriptors";
    let mut command = Command::new("sh");
    command
        .env(CHILD, "1")
        .arg("-c")
        .arg(script)
        .arg(std::env::current_exe().unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = KillOnDrop(command.spawn().unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("listening on ")).unwrap();
    let address: SocketAddr = line["listening on ".len()..].parse().unwrap();

    let mut crowd: Vec<StdStream> = (0..40).map(|_| StdStream::connect(address).unwrap()).collect();
    let mut served = Vec::new();
    let mut waiting = Vec::new();
    for mut stream in crowd.drain(..) {
        // Descriptors are given in order: after the first that is not served, the others wait as well.
        let patience = if waiting.is_empty() { STEP / 8 } else { Duration::from_millis(20) };
        match ask(&mut stream, patience) {
            Ok(_) => served.push(stream),
            Err(_) => waiting.push(stream),
        }
    }
    assert!(served.len() >= 5 && waiting.len() >= 15, "{} served, {} waiting", served.len(), waiting.len());
    let failures = ask(&mut served[0], STEP).unwrap();
    assert!(failures > 0, "accepting failed, and those served did not notice");
    // Room again: those who waited are served, in the order they came.
    drop(served);
    waiting.truncate(5);
    for stream in &mut waiting {
        assert!(ask(stream, STEP).is_ok());
    }
    drop(waiting);
    let mut newcomer = StdStream::connect(address).unwrap();
    assert!(ask(&mut newcomer, STEP).unwrap() >= failures);
}

#[tokio::test]
async fn one_byte_every_so_often_does_not_keep_a_message_alive() {
    let timeouts = Timeouts::new().message(Some(Duration::from_millis(300))).idle(Some(Duration::from_millis(200)));
    let server = Server::bind("127.0.0.1:0", with_timeouts(timeouts)).await.expect("bound");
    let (address, handle) = (server.local_addr().expect("its address"), server.handle());
    tokio::spawn(server.serve(|_| frames(), echo));
    let mut slow = TcpStream::connect(address).await.unwrap();
    let start = Instant::now();
    // Never idle: a byte comes long before that.
    let ended = step("the slow client", async {
        for byte in frame(&[7; 1000]) {
            if slow.write_all(&[byte]).await.is_err() {
                return;
            }
            let mut answer = [0; 1];
            let ended = tokio::time::timeout(Duration::from_millis(40), slow.read(&mut answer)).await;
            if ended.is_ok() {
                return;
            }
        }
        panic!("a thousand bytes were taken, one by one");
    });
    ended.await;
    assert!((Duration::from_millis(250)..Duration::from_secs(10)).contains(&start.elapsed()), "{:?}", start.elapsed());
    until("its end", || handle.stats().open == 0).await;
    assert_eq!(handle.stats().ended.timed_out, 1, "{:?}", handle.stats());
    // A message that comes in pieces, in time, is as good as any, again and again.
    let mut prompt = TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        for part in frame(b"in pieces").chunks(5) {
            write(&mut prompt, part).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(read_frame(&mut prompt).await.as_deref(), Some(&b"in pieces"[..]));
    }
}

#[tokio::test]
async fn a_client_beyond_the_limit_may_be_told_so_in_the_protocol() {
    let say_no = AtLimit::SayGoodbye { code: Code(7), within: Duration::from_millis(500) };
    let server = Server::bind("127.0.0.1:0", Options::new()).await.expect("bound").limit(1, say_no);
    let (address, handle) = (server.local_addr().expect("its address"), server.handle());
    tokio::spawn(server.serve(
        |_| Chat::new(false),
        |mut connection: Served<Chat>| async move { while connection.next_event().await.is_some() {} },
    ));
    let connect = || Connection::connect(address, Chat::new(false), Options::new());
    let mut first = step("dialling", connect()).await.expect("connected");
    until("it is served", || handle.stats().open == 1).await;
    let mut second = step("dialling", connect()).await.expect("connected");
    let closed = step("the refusal", second.closed()).await;
    assert_eq!(closed.cause, Cause::PeerClose(Code(0)), "the goodbye of the protocol, no reset: {closed}");
    // Who does not listen to it is reset in the end, and as many as may be served may be on their way out.
    let deaf = TcpStream::connect(address).await.unwrap();
    until("the deaf one is reset", || deaf.peer_addr().is_err() || deaf.take_error().unwrap().is_some()).await;
    let stats = handle.stats();
    assert_eq!((stats.open, stats.accepted, stats.refused), (1, 1, 2), "{stats:?}");
    first.start_close(CloseIntent::Goodbye(Code(0)));
    step("the end", first.closed()).await;
    until("the seat is free", || handle.stats().open == 0).await;
    assert_eq!(handle.stats().ended.in_order, 1, "{:?}", handle.stats());
}

#[tokio::test]
async fn the_end_of_every_connection_is_counted_by_its_kind() {
    let (address, handle, _running) = start(|server| server).await;
    dial(address).await.close(Code(0)).await;
    until("in order", || handle.stats().ended.in_order == 1).await;
    let mut resetting = TcpStream::connect(address).await.unwrap();
    write(&mut resetting, &frame(b"here")).await;
    read_frame(&mut resetting).await;
    reset(resetting);
    until("reset", || handle.stats().ended.by_reset == 1).await;
    let mut wrong = TcpStream::connect(address).await.unwrap();
    write(&mut wrong, &u32::MAX.to_be_bytes()).await;
    until("violation", || handle.stats().ended.by_violation == 1).await;
    let mut cut = TcpStream::connect(address).await.unwrap();
    write(&mut cut, &frame(b"whole")[..6]).await;
    drop(cut);
    until("truncated", || handle.stats().ended.truncated == 1).await;
    let ended = handle.stats().ended;
    assert_eq!((ended.dropped, ended.timed_out, ended.total()), (0, 0, 4), "{ended:?}");
}

/// How a new process takes over: both listen on the same port (SO_REUSEPORT), the old one drains; or the listener itself
/// is handed over.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_listener_can_be_handed_over_without_refusing_anybody() {
    let listen_at = |address: SocketAddr| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(1024).unwrap();
        tokio::net::TcpListener::from_std(socket.into()).unwrap()
    };
    let old = listen_at("127.0.0.1:0".parse().unwrap());
    let address = old.local_addr().unwrap();
    let old = Server::from_listener(old, Options::new());
    let old_handle = old.handle();
    let old_running = tokio::spawn(old.serve(|_| frames(), echo));
    let mut kept = dial(address).await;
    is_served(&mut kept).await;
    let new = Server::from_listener(listen_at(address), Options::new());
    let new_handle = new.handle();
    tokio::spawn(new.serve(|_| frames(), echo));
    let mut both = vec![dial(address).await, dial(address).await];
    for connection in &mut both {
        is_served(connection).await;
    }
    old_handle.drain(Duration::from_secs(5));
    drop((kept, both));
    step("the old one", old_running).await.unwrap();
    for _ in 0..20 {
        is_served(&mut dial(address).await).await;
    }
    assert!(new_handle.stats().accepted >= 20);

    // Within one process or by a descriptor: the listener is dup'ed, and connections that wait in its queue stay.
    let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    first.set_nonblocking(true).unwrap();
    let second = first.try_clone().unwrap();
    let address = first.local_addr().unwrap();
    let first = Server::from_listener(tokio::net::TcpListener::from_std(first).unwrap(), Options::new());
    let (handle, running) = (first.handle(), tokio::spawn(first.serve(|_| frames(), echo)));
    is_served(&mut dial(address).await).await;
    handle.drain(Duration::from_secs(5));
    step("the first", running).await.unwrap();
    let mut waiting = dial(address).await;
    let second = Server::from_listener(tokio::net::TcpListener::from_std(second).unwrap(), Options::new());
    tokio::spawn(second.serve(|_| frames(), echo));
    is_served(&mut waiting).await;
}
