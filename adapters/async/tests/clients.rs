//! Clients of many connections over pipes in memory and a clock set by hand: what was promised at the exact point.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use duologue_async::core::driver::Transport;
use duologue_async::core::framed::{Framed, LengthPrefixed};
use duologue_async::core::pool::{Delivery, PoolConfig};
use duologue_async::core::{Release, TransportFault};
use duologue_async::{
    Adopt, Connecting, Connection, Dial, ManualClock, Options, Pipe, PoolClient, PoolError, PoolOptions,
    ReconnectEvent, ReconnectEventOf, ReconnectOptions, ReconnectSendError, ReconnectSender, Reconnecting, Redial,
    Runtime, SendProtocol, pipe,
};

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
    static SPAWNED: RefCell<Vec<Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(Vec::new()) };
}

/// A runtime of this thread, polled by hand.
enum Memory {}

/// Whatever listens.
struct Next;

impl Dial<Next> for Pipe {
    type Clock = ManualClock;

    fn clock() -> ManualClock {
        CLOCK.with(Clone::clone)
    }

    async fn dial(_: Next, _: &Options) -> Result<Self, TransportFault> {
        DIALS.set(DIALS.get() + 1);
        match LISTENING.with_borrow_mut(VecDeque::pop_front) {
            Some(transport) => Ok(transport),
            None => pending().await,
        }
    }
}

impl Adopt<Next> for Pipe {
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
    type Transport = Pipe;
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

    fn is_quiet(_: &Pipe) -> bool {
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

/// A waker that counts its wakes.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future and the bell of its task, polled by hand.
struct Task<'a, X> {
    future: Pin<Box<dyn Future<Output = X> + 'a>>,
    bell: Arc<Bell>,
}

impl<'a, X> Task<'a, X> {
    fn new(future: impl Future<Output = X> + 'a) -> Self {
        Self { future: Box::pin(future), bell: Arc::default() }
    }

    fn poll(&mut self) -> Option<X> {
        self.bell.0.store(0, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.bell));
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    fn rang(&self) -> bool {
        self.bell.0.load(Ordering::SeqCst) > 0
    }
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
