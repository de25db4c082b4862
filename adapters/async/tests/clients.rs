//! Clients of many connections over pipes in memory and a clock set by hand: what was promised at the exact point.

mod by_hand;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use duologue_async::core::driver::Transport;
use duologue_async::core::framed::{Framed, LengthPrefixed};
use duologue_async::core::pool::{Delivery, PoolConfig};
use duologue_async::core::{Cx, RecvBuf, Refused, Release, Step, TransportFault};
use duologue_async::{
    Adopt, Connecting, Connection, Dial, ManualClock, Options, Pipe, PoolClient, PoolError, PoolOptions,
    ReconnectEvent, ReconnectEventOf, ReconnectOptions, ReconnectSendError, ReconnectSender, Reconnecting, Redial,
    Runtime, SendProtocol, pipe,
};

use by_hand::Task;

type Frames = Framed<LengthPrefixed>;
type Bytes = bytes::Bytes;

const WITHIN: Duration = Duration::from_secs(5);
/// Bytes that a pipe holds each way: one message and its header.
const PIPE: usize = 8;

thread_local! {
    static CLOCK: ManualClock = ManualClock::new();
    /// Ends of pipes that can be dialled, one after the other.
    static LISTENING: RefCell<VecDeque<Pipe>> = const { RefCell::new(VecDeque::new()) };
    static DIALS: Cell<u32> = const { Cell::new(0) };
    /// What the kernel would say of every connection.
    static QUIET: Cell<bool> = const { Cell::new(true) };
    /// How often a transport was asked for input.
    static LOOKS: Cell<u32> = const { Cell::new(0) };
    static SPAWNED: RefCell<Vec<Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(Vec::new()) };
}

/// A runtime of this thread, polled by hand.
enum Memory {}

/// Whatever listens.
struct Next;

/// Our end of a pipe, which counts how often it is asked for input.
struct Link(Pipe);

impl Transport for Link {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut bytes::buf::Limit<&mut BytesMut>,
    ) -> Poll<Result<usize, TransportFault>> {
        LOOKS.set(LOOKS.get() + 1);
        self.0.poll_read(cx, buf)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, TransportFault>> {
        self.0.poll_write(cx, slices)
    }

    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        self.0.poll_shutdown_write(cx)
    }

    fn poll_release(&mut self, cx: &mut Context<'_>, how: Release) -> Poll<()> {
        self.0.poll_release(cx, how)
    }
}

impl Dial<Next> for Link {
    type Clock = ManualClock;

    fn clock() -> ManualClock {
        CLOCK.with(Clone::clone)
    }

    async fn dial(_: Next, _: &Options) -> Result<Self, TransportFault> {
        DIALS.set(DIALS.get() + 1);
        match LISTENING.with_borrow_mut(VecDeque::pop_front) {
            Some(transport) => Ok(Self(transport)),
            None => pending().await,
        }
    }
}

impl Adopt<Next> for Link {
    type Clock = ManualClock;

    fn clock() -> ManualClock {
        CLOCK.with(Clone::clone)
    }

    fn adopt(_: Next, _: &Options) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Runtime for Memory {
    type Listener = ();
    type Stream = Next;
    type Transport = Link;
    type Clock = ManualClock;

    fn clock() -> ManualClock {
        CLOCK.with(Clone::clone)
    }

    async fn accept(_: &()) -> io::Result<(Next, SocketAddr)> {
        pending().await
    }

    fn local_addr(_: &()) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn reset(_: Next) {}

    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        SPAWNED.with_borrow_mut(|spawned| spawned.push(Box::pin(future)));
        Ok(())
    }
}

impl Redial for Memory {
    fn connect<P: SendProtocol>(_: Arc<str>, protocol: P, options: Options) -> Connecting<P, Self> {
        Box::pin(Connection::connect(Next, protocol, options))
    }

    fn is_quiet(_: &Link) -> bool {
        QUIET.get()
    }
}

/// Lets the next dial reach a peer, whose end this is.
fn listen() -> Pipe {
    let (ours, theirs) = pipe(PIPE);
    LISTENING.with_borrow_mut(|listening| listening.push_back(ours));
    theirs
}

fn frames() -> Frames {
    Framed::new(LengthPrefixed::u32_be(1000))
}

/// Everything that the peer can read now.
fn read(peer: &mut Pipe) -> Vec<u8> {
    let (mut all, mut cx) = (BytesMut::new(), Context::from_waker(Waker::noop()));
    loop {
        match peer.poll_read(&mut cx, &mut (&mut all).limit(1000)) {
            Poll::Ready(Ok(1..)) => {}
            _ => return all.to_vec(),
        }
    }
}

fn let_go(peer: &mut Pipe, how: Release) {
    assert!(peer.poll_release(&mut Context::from_waker(Waker::noop()), how).is_ready());
}

type Client = Reconnecting<Frames, Memory>;
type Sender = ReconnectSender<Frames, Memory>;

fn next(client: &mut Client) -> Option<ReconnectEventOf<Frames>> {
    match client.poll_next_event(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(event) => Some(event.expect("the client goes on")),
        Poll::Pending => None,
    }
}

/// A client with a connection whose first message fills the pipe, so that the second only waits.
fn client() -> (Client, Sender, Pipe) {
    let peer = listen();
    let options = ReconnectOptions::new().connection(Options::new().send_within(WITHIN));
    let mut client = Client::new("here:1", |_| frames(), options).expect("pauses that work");
    assert!(matches!(next(&mut client), Some(ReconnectEvent::Connected { .. })));
    let sender = client.sender();
    (client, sender, peer)
}

#[test]
fn what_a_dropped_client_calls_not_sent_is_never_sent() {
    let (mut client, sender, mut peer) = client();
    let mut first = Task::new(sender.send(Bytes::from_static(b"1111")));
    let mut second = Task::new(sender.send(Bytes::from_static(b"2222")));
    assert!(first.poll().is_none() && second.poll().is_none());
    assert!(next(&mut client).is_none());
    assert_eq!(read(&mut peer), b"\0\0\0\x041111");
    // There is room for the second by now, and nobody polls any more.
    drop(client);
    assert!(matches!(first.poll(), Some(Ok(_))));
    let arrived = !read(&mut peer).is_empty();
    match second.poll().expect("its fate") {
        Ok(_) => assert!(arrived, "it was sent and did not arrive"),
        Err(lost) => assert_eq!((lost.delivery(), arrived), (Delivery::NotSent, false)),
    }
}

#[test]
fn a_message_that_comes_back_from_a_lost_connection_waits_no_longer_than_was_said() {
    let (mut client, sender, mut peer) = client();
    let mut first = Task::new(sender.send(Bytes::from_static(b"1111")));
    let mut second = Task::new(sender.send(Bytes::from_static(b"2222")));
    assert!(first.poll().is_none() && second.poll().is_none());
    assert!(next(&mut client).is_none());
    CLOCK.with(|clock| clock.advance(WITHIN));
    assert!(first.poll().is_some_and(|sent| sent.is_ok()), "the pipe has it");
    assert!(second.poll().is_none(), "a connection has it");
    let_go(&mut peer, Release::Abort);
    assert!(matches!(next(&mut client), Some(ReconnectEvent::Lost { .. })));
    // It may go to the next connection, but there is none, and its time is over.
    assert!(second.rang(), "nobody woke its sender");
    let Some(Err(ReconnectSendError::TimedOut { command, .. })) = second.poll() else { panic!("it waits on") };
    assert_eq!(command, &b"2222"[..]);
}

#[test]
fn a_peer_that_drops_every_connection_is_not_dialled_as_fast_as_it_can() {
    for _ in 0..20 {
        let_go(&mut listen(), Release::Graceful);
    }
    QUIET.set(false);
    let options = PoolOptions::new().pool(PoolConfig::new()).acquire_within(WITHIN);
    let pool = PoolClient::<Frames, Memory>::new(|_| frames(), options).expect("a pool");
    let mut caller = Task::new(pool.acquire("there:1"));
    assert!(caller.poll().is_none());
    let mut driver = Task::new(SPAWNED.with_borrow_mut(|spawned| spawned.remove(0)));
    for _ in 0..100 {
        assert!(driver.poll().is_none());
        if !driver.rang() {
            break;
        }
    }
    assert!(matches!(caller.poll(), Some(Err(PoolError::Dial { .. }))), "dialled {} times", DIALS.get());
    assert_eq!(DIALS.get(), 1);
}

#[test]
fn a_connection_is_its_callers_alone_whatever_the_pool_would_allow() {
    let _peers = [listen(), listen()];
    let options = PoolOptions::new().pool(PoolConfig::new().users_per_connection(2)).acquire_within(WITHIN);
    let pool = PoolClient::<Frames, Memory>::new(|_| frames(), options).expect("a pool");
    let mut driver = Task::new(SPAWNED.with_borrow_mut(|spawned| spawned.remove(0)));
    let mut leases = Vec::new();
    for _ in 0..2 {
        let mut caller = Task::new(pool.acquire("there:1"));
        assert!(caller.poll().is_none() && driver.poll().is_none());
        leases.push(caller.poll().expect("an answer").expect("a connection"));
    }
    leases.drain(..).for_each(|lease| lease.release());
    assert!(driver.poll().is_none());
    let stats = pool.stats();
    assert_eq!((stats.dialled, stats.idle, stats.stale), (2, 2, 0));
}

/// A pool with `idle` connections that nobody uses, and what works behind it.
fn idle_pool(idle: u32, pipes: &mut Vec<Pipe>) -> (PoolClient<Frames, Memory>, Task<'static, ()>) {
    pipes.extend((0..idle).map(|_| listen()));
    let config = PoolConfig::new().per_target(idle).total(idle);
    let options = PoolOptions::new().pool(config).acquire_within(WITHIN);
    let pool = PoolClient::<Frames, Memory>::new(|_| frames(), options).expect("a pool");
    let mut driver = Task::new(SPAWNED.with_borrow_mut(|spawned| spawned.remove(0)));
    pool.keep_warm("there:1", idle);
    for _ in 0..2 * idle + 10 {
        assert!(driver.poll().is_none());
        if !driver.rang() {
            break;
        }
    }
    assert_eq!(pool.stats().idle, idle);
    (pool, driver)
}

/// Also a measurement, under a counter of instructions: `REQUESTS` and `IDLE` are how many.
#[test]
fn a_request_costs_the_same_however_many_connections_are_idle() {
    // An interpreter takes a thousand times as long for each of them.
    let some = if cfg!(miri) { 20 } else { 1000 };
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(some);
    let (mut pipes, requests) = (Vec::new(), number("REQUESTS"));
    let (pool, mut driver) = idle_pool(number("IDLE"), &mut pipes);
    LOOKS.set(0);
    for _ in 0..requests {
        let lease = Task::new(pool.acquire("there:1")).poll().expect("at once").expect("a connection");
        lease.release();
        assert!(driver.poll().is_none());
    }
    assert_eq!(LOOKS.get(), requests, "one look at the connection that came back, and none at the others");
}

#[test]
fn only_the_connection_that_was_woken_is_looked_at() {
    let mut pipes = Vec::new();
    let (pool, mut driver) = idle_pool(3, &mut pipes);
    LOOKS.set(0);
    let lease = Task::new(pool.acquire("there:1")).poll().expect("at once").expect("a connection");
    lease.release();
    assert!(driver.rang() && driver.poll().is_none());
    // It wrote nothing, and is read once to see that nothing is there.
    assert_eq!(LOOKS.get(), 1, "the others rest");
    // Each is woken by what happens to it, and by nothing else.
    for (n, peer) in pipes.iter_mut().enumerate() {
        let_go(peer, Release::Graceful);
        assert!(driver.rang(), "its FIN wakes the pool");
        LOOKS.set(0);
        while driver.rang() {
            assert!(driver.poll().is_none());
        }
        assert!(LOOKS.get() <= 3, "{} looks", LOOKS.get());
        assert_eq!(pool.stats().closed_by_peer, n as u64 + 1);
    }
    assert_eq!(pool.stats().open, 0, "what has ended is in nobody's way");
}

#[test]
fn a_connection_that_is_being_closed_is_looked_at_as_often_as_it_is_woken() {
    let mut pipes = Vec::new();
    let (pool, mut driver) = idle_pool(1, &mut pipes);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(pipes[0].poll_write(&mut cx, &[b"\0"]), Poll::Ready(Ok(1))));
    assert!(driver.rang(), "nobody asked for that");
    while driver.rang() {
        assert!(driver.poll().is_none());
    }
    assert_eq!((pool.stats().unsolicited, pool.stats().open), (1, 1), "our FIN is out, and the peer's is awaited");
    let_go(&mut pipes[0], Release::Graceful);
    assert!(driver.rang());
    while driver.rang() {
        assert!(driver.poll().is_none());
    }
    assert_eq!(pool.stats().open, 0);
}

#[test]
fn a_connection_granted_to_a_caller_that_went_away_is_the_next_ones() {
    let _peer = listen();
    let options = PoolOptions::new().pool(PoolConfig::new()).acquire_within(WITHIN);
    let pool = PoolClient::<Frames, Memory>::new(|_| frames(), options).expect("a pool");
    let mut driver = Task::new(SPAWNED.with_borrow_mut(|spawned| spawned.remove(0)));
    let mut gone = Task::new(pool.acquire("there:1"));
    assert!(gone.poll().is_none() && driver.poll().is_none());
    assert!(gone.rang(), "it is there, and was not fetched");
    drop(gone);
    assert_eq!(pool.stats().idle, 1);
    let lease = Task::new(pool.acquire("there:1")).poll().expect("at once").expect("a connection");
    assert_eq!((pool.stats().dialled, pool.stats().stale), (1, 0));
    lease.release();
}

/// A protocol whose server greets while the session is opened: each byte is a message, and `!` ends the opening.
struct Greeted;

impl duologue_async::core::Protocol for Greeted {
    type Event = u8;
    type Command = u8;
    type Timer = duologue_async::core::NoTimers;
    type Violation = std::convert::Infallible;

    fn start(&mut self, _: &mut Cx<'_, Self>) {}

    fn decode(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<u8>, Self::Violation> {
        let Some(byte) = rx.first().copied() else { return Ok(Step::NeedMore { hint: 1 }) };
        rx.advance(1);
        if byte == b'!' {
            cx.establish();
            return Ok(Step::Progress);
        }
        Ok(Step::Event(byte))
    }

    fn command(&mut self, cx: &mut Cx<'_, Self>, command: u8) -> Result<(), Refused<u8>> {
        cx.tx.message(1).map(|mut out| out.put_u8(command)).map_err(|why| Refused::new(command, why.into()))
    }
}

#[test]
fn what_came_while_it_was_opened_is_the_first_users_and_untaken_it_retires_the_connection() {
    let mut peers = [listen(), listen()];
    for peer in &mut peers {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(peer.poll_write(&mut cx, &[b"hi!"]), Poll::Ready(Ok(3))));
    }
    let options = PoolOptions::new().pool(PoolConfig::new()).acquire_within(WITHIN);
    let pool = PoolClient::<Greeted, Memory>::new(|_| Greeted, options).expect("a pool");
    let mut driver = Task::new(SPAWNED.with_borrow_mut(|spawned| spawned.remove(0)));
    // Made in advance, it is kept with its greeting.
    pool.keep_warm("there:1", 1);
    for _ in 0..5 {
        assert!(driver.poll().is_none());
    }
    assert_eq!((pool.stats().idle, pool.stats().dialled, pool.stats().unsolicited), (1, 1, 0));
    pool.keep_warm("there:1", 0);
    let acquire = || Task::new(pool.acquire("there:1")).poll();
    let mut first = acquire().expect("at once").expect("a connection");
    for byte in *b"hi" {
        assert_eq!(first.next_ready(), Some(duologue_async::core::Event::App(byte)));
    }
    first.release();
    // Nothing of the greeting is left, so it is used again; and the next is not told of it.
    let mut again = acquire().expect("at once").expect("a connection");
    assert!(again.is_reused() && again.next_ready().is_none());
    // A second one, whose greeting nobody takes.
    let mut caller = Task::new(pool.acquire("there:1"));
    assert!(caller.poll().is_none() && driver.poll().is_none());
    caller.poll().expect("an answer").expect("a connection").release();
    again.release();
    assert!(driver.poll().is_none());
    let stats = pool.stats();
    assert_eq!((stats.dialled, stats.unsolicited, stats.idle), (2, 1, 1), "{stats:?}");
}

#[test]
fn what_nobody_took_retires_a_connection() {
    let mut peers = [listen(), listen()];
    let options = PoolOptions::new().pool(PoolConfig::new()).acquire_within(WITHIN);
    let pool = PoolClient::<Frames, Memory>::new(|_| frames(), options).expect("a pool");
    let mut driver = Task::new(SPAWNED.with_borrow_mut(|spawned| spawned.remove(0)));
    let greeting = |peer: &mut Pipe| {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(peer.poll_write(&mut cx, &[b"\0\0\0\x02hi"]), Poll::Ready(Ok(6))));
    };
    for peer in &mut peers {
        greeting(peer);
    }
    let mut turn = |takes: bool| {
        let mut caller = Task::new(pool.acquire("there:1"));
        let lease = match caller.poll() {
            Some(lease) => lease,
            None => {
                assert!(driver.poll().is_none());
                caller.poll().expect("an answer")
            }
        };
        let mut lease = lease.expect("a connection");
        if takes {
            let event = Task::new(lease.next_event()).poll().expect("the greeting");
            assert!(matches!(event, Some(duologue_async::core::Event::App(_))), "{event:?}");
        }
        lease.release();
        assert!(driver.poll().is_none());
    };
    turn(false);
    turn(true);
    turn(false);
    let stats = pool.stats();
    assert_eq!((stats.dialled, stats.reused, stats.unsolicited, stats.idle), (2, 1, 1, 1), "{stats:?}");
}
