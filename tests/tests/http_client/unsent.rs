//! Requests of which no byte left: they go on another connection with all their content, whatever made it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::BytesMut;
use bytes::buf::Limit;
use duologue_async::http1::HttpError;
use duologue_async::{Adopt, Connecting, Connection, Dial, Options, Redial, Runtime, SendProtocol};
use duologue_core::driver::Transport;
use duologue_core::pool::Delivery;
use duologue_core::{FaultKind, Operation, Release, TransportFault};
use duologue_tokio::{Clock, Tokio};

use super::peer::peer;
use super::streaming::Counted;
use super::{client, idle, post, step};

type Tcp = <Tokio as Runtime>::Transport;
type Stream = <Tokio as Runtime>::Stream;
type Listener = <Tokio as Runtime>::Listener;

/// How many bytes each connection to an address still takes, in the order of their dials; then its writes fail.
static BUDGETS: Mutex<BTreeMap<String, VecDeque<Arc<AtomicUsize>>>> = Mutex::new(BTreeMap::new());

/// What the next connection to `address` still takes; to be changed while it is used.
fn budget(address: SocketAddr) -> Arc<AtomicUsize> {
    let budget = Arc::new(AtomicUsize::new(usize::MAX));
    let mut budgets = BUDGETS.lock().expect("nobody panics with it");
    budgets.entry(address.to_string()).or_default().push_back(Arc::clone(&budget));
    budget
}

/// TCP on tokio whose writes fail when a test wants it, after as many bytes as it says.
struct Failing {
    tcp: Tcp,
    budget: Arc<AtomicUsize>,
}

impl Transport for Failing {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Limit<&mut BytesMut>,
    ) -> Poll<Result<usize, TransportFault>> {
        self.tcp.poll_read(cx, buf)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, TransportFault>> {
        let budget = self.budget.load(Ordering::SeqCst);
        let Some(first) = slices.iter().find(|slice| !slice.is_empty()) else { return self.tcp.poll_write(cx, slices) };
        let wrote = match first.len().min(budget) {
            0 => return Poll::Ready(Err(TransportFault::new(FaultKind::Reset, Operation::Write))),
            n => std::task::ready!(self.tcp.poll_write(cx, &[&first[..n]]))?,
        };
        if budget != usize::MAX {
            self.budget.fetch_sub(wrote, Ordering::SeqCst);
        }
        Poll::Ready(Ok(wrote))
    }

    fn poll_shutdown_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        self.tcp.poll_shutdown_write(cx)
    }

    fn poll_release(&mut self, cx: &mut Context<'_>, how: Release) -> Poll<()> {
        self.tcp.poll_release(cx, how)
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.tcp.poll_readable(cx)
    }
}

impl Adopt<Stream> for Failing {
    type Clock = Clock;

    fn clock() -> Clock {
        Clock::new()
    }

    fn adopt(stream: Stream, options: &Options) -> io::Result<Self> {
        Ok(Self { tcp: Tcp::adopt(stream, options)?, budget: Arc::new(AtomicUsize::new(usize::MAX)) })
    }
}

impl Dial<String> for Failing {
    type Clock = Clock;

    fn clock() -> Clock {
        Clock::new()
    }

    async fn dial(address: String, options: &Options) -> Result<Self, TransportFault> {
        let told = BUDGETS.lock().expect("nobody panics with it").get_mut(&address).and_then(VecDeque::pop_front);
        let tcp = <Tcp as Dial<String>>::dial(address, options).await?;
        Ok(Self { tcp, budget: told.unwrap_or_else(|| Arc::new(AtomicUsize::new(usize::MAX))) })
    }
}

struct OnFailing;

impl Runtime for OnFailing {
    type Listener = Listener;
    type Stream = Stream;
    type Transport = Failing;
    type Clock = Clock;

    fn clock() -> Clock {
        Clock::new()
    }

    async fn accept(listener: &Listener) -> io::Result<(Stream, SocketAddr)> {
        listener.accept().await
    }

    fn local_addr(listener: &Listener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    fn reset(stream: Stream) {
        Tokio::reset(stream);
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        Tokio::spawn(future)
    }
}

impl Redial for OnFailing {
    fn connect<P: SendProtocol>(address: Arc<str>, protocol: P, options: Options) -> Connecting<P, Self> {
        Box::pin(async move { Connection::connect(address.to_string(), protocol, options).await })
    }

    fn is_quiet(transport: &Failing) -> bool {
        Tokio::is_quiet(&transport.tcp)
    }
}

#[test]
fn content_of_a_request_of_which_no_byte_left_goes_whole_on_another_connection() {
    duologue_tests::bounds::on_tokio(async {
        let (address, server) = peer(|listener| {
            // Used once before its writes fail: the request that fails is its second.
            let mut reused = listener.accept();
            reused.head();
            reused.say("HTTP/1.1 204 No Content\r\n\r\n");
            let failed = listener.accept();
            let mut third = listener.accept();
            third.read_up_to("5\r\npiece\r\n5\r\npiece\r\n0\r\n\r\n");
            third.say("HTTP/1.1 204 No Content\r\n\r\n");
            [reused.rest().0, failed.rest().0].concat()
        });
        let (first, fresh) = (budget(address), budget(address));
        fresh.store(0, Ordering::SeqCst);
        let client = client::<OnFailing>(1);
        step::<Tokio, _>("an answer", client.get(post(address).uri)).await.expect("an answer");
        first.store(0, Ordering::SeqCst);
        // On the connection that was used, on one that is new, and then whole: POST, and nobody allowed to repeat it.
        let (body, asked) = Counted::new(2);
        let response = step::<Tokio, _>("an answer", client.request_with(post(address), body)).await;
        assert_eq!(response.expect("an answer").head().status, 204);
        assert_eq!(
            asked.load(Ordering::SeqCst),
            3,
            "two pieces and the end: asked once, by the connection that sent it"
        );
        assert!(server.join().expect("no panic").is_empty(), "not a byte of it came on the other two");
        let stats = client.pool().stats();
        assert_eq!((stats.dialled, stats.in_use), (3, 0), "{stats:?}");
    });
}

#[test]
fn content_of_a_request_of_which_one_byte_left_is_not_sent_again_by_itself() {
    duologue_tests::bounds::on_tokio(async {
        let (address, server) = peer(|listener| {
            let got = listener.accept().rest().0;
            let mut next = listener.accept();
            next.head();
            next.say("HTTP/1.1 204 No Content\r\n\r\n");
            got
        });
        budget(address).store(1, Ordering::SeqCst);
        let client = client::<OnFailing>(1);
        let (body, _) = Counted::new(2);
        let error =
            step::<Tokio, _>("a loss", client.request_with(post(address), body)).await.expect_err("one byte left");
        assert_eq!(error.delivery(), Delivery::PossiblySent, "{error}");
        assert!(matches!(error, HttpError::Lost { .. }), "{error}");
        step::<Tokio, _>("an answer", client.get(post(address).uri)).await.expect("an answer");
        assert_eq!(server.join().expect("no panic"), b"P");
        idle(&client, 2);
    });
}
