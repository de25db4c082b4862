//! Content that is made while it is sent, and answers that are taken as they come.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use duologue_async::http1::{ContentGone, HttpCarrier, HttpError, content};
use duologue_core::pool::Delivery;
use duologue_http1::Body;
use duologue_http1::http::{HeaderMap, HeaderValue, Method};
use futures_util::future::{Either, join, select};
use http_body_util::{BodyExt, Full, StreamBody};

use super::peer::peer;
use super::{client, idle, pause, post, step};

/// Content of any number of pieces that counts how often it was asked.
pub(crate) struct Counted {
    asked: Arc<AtomicUsize>,
    left: usize,
}

impl Counted {
    pub(crate) fn new(pieces: usize) -> (Self, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        (Self { asked: Arc::clone(&asked), left: pieces }, asked)
    }
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(self.left.checked_sub(1).map(|left| {
            self.left = left;
            Ok(hyper::body::Frame::data(Bytes::from_static(b"piece")))
        }))
    }
}

/// Content that is always ready and never any: it says so if one poll asks for too much of it.
struct Nothing(Arc<AtomicUsize>);

impl hyper::body::Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        assert!(self.0.fetch_add(1, Ordering::SeqCst) < 10_000, "one poll goes on for ever");
        Poll::Ready(Some(Ok(hyper::body::Frame::data(Bytes::new()))))
    }
}

pub(crate) async fn content_that_never_pauses_keeps_nobody_from_the_answer<R: HttpCarrier>() {
    let (address, server) = peer(|listener| {
        let mut peer = listener.accept();
        peer.head();
        std::thread::sleep(Duration::from_millis(50));
        peer.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    });
    let client = client::<R>(1);
    let asked = Arc::new(AtomicUsize::new(0));
    let mut asking = Box::pin(client.request_with(post(address), Nothing(Arc::clone(&asked))));
    let bounded = std::future::poll_fn(|cx| {
        asked.store(0, Ordering::SeqCst);
        asking.as_mut().poll(cx)
    });
    let response = step::<R, _>("an answer", bounded).await.expect("an answer");
    assert_eq!(response.head().status, 413);
    server.join().expect("no panic");
}

pub(crate) async fn content_of_unknown_length_goes_in_chunks_with_trailers<R: HttpCarrier>() {
    let (address, server) = peer(|listener| {
        let mut peer = listener.accept();
        let head = peer.head();
        let all = peer.read_up_to("x-sum: 7\r\n\r\n");
        peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-end\r\n\r\n");
        peer.say("3\r\none\r\n3\r\ntwo\r\n0\r\nx-end: yes\r\n\r\n");
        (head, all)
    });
    let client = client::<R>(1);
    let (mut sender, body) = content();
    let made = async {
        for piece in ["hello", "", "world!"] {
            sender.send(piece.into()).await.expect("wanted");
        }
        let trailers = HeaderMap::from_iter([("x-sum".parse().expect("a name"), HeaderValue::from_static("7"))]);
        sender.finish(Some(trailers));
    };
    let (response, ()) = step::<R, _>("an answer", join(client.request_with(post(address), body), made)).await;
    let response = response.expect("an answer");
    let whole = step::<R, _>("its content", response.collect()).await.expect("all of it");
    assert_eq!(whole.trailers().expect("trailers")["x-end"], "yes");
    assert_eq!(whole.to_bytes(), "onetwo");
    let (head, all) = server.join().expect("no panic");
    assert!(head.contains("\r\ntransfer-encoding: chunked\r\n") && !head.contains("content-length"), "{head}");
    assert_eq!(all, "5\r\nhello\r\n6\r\nworld!\r\n0\r\nx-sum: 7\r\n\r\n", "an empty piece is no end");
    idle(&client, 1);
}

pub(crate) async fn content_that_knows_its_length_or_is_told_goes_without_chunks<R: HttpCarrier>() {
    let (address, server) = peer(|listener| {
        let mut peer = listener.accept();
        let mut heads = Vec::new();
        for _ in 0..2 {
            heads.push(peer.head());
            assert_eq!(peer.take(10), b"0123456789");
            peer.say("HTTP/1.1 204 No Content\r\n\r\n");
        }
        heads
    });
    let client = client::<R>(1);
    let known = Full::new(Bytes::from_static(b"0123456789"));
    let response = step::<R, _>("an answer", client.request_with(post(address), known)).await.expect("an answer");
    assert_eq!(response.head().status, 204);
    let mut request = post(address);
    request.body = Body::Sized(10);
    let pieces = ["01234", "56789"].map(|piece| Ok::<_, Infallible>(hyper::body::Frame::data(Bytes::from(piece))));
    let told = StreamBody::new(futures_util::stream::iter(pieces));
    let response = step::<R, _>("an answer", client.request_with(request, told)).await.expect("an answer");
    assert!(response.is_reused() && !response.is_sending());
    for head in server.join().expect("no panic") {
        assert!(head.contains("\r\ncontent-length: 10\r\n") && !head.contains("chunked"), "{head}");
    }
    idle(&client, 1);
}

pub(crate) async fn content_is_made_no_faster_than_the_server_reads_it<R: HttpCarrier>() {
    const PIECES: usize = 1 << 12;
    let (address, server) = peer(|listener| {
        let mut peer = listener.accept();
        peer.head();
        // The client must stop by itself: nothing is read for a while.
        std::thread::sleep(Duration::from_millis(300));
        peer.say("HTTP/1.1 100 Continue\r\n\r\n");
        let mut content = 0;
        while content < PIECES << 14 {
            content += peer.take(1 << 14).len();
        }
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let client = client::<R>(1);
    let (mut sender, body) = content();
    let made = Arc::new(AtomicUsize::new(0));
    let making = async {
        for _ in 0..PIECES {
            sender.send(Bytes::from(vec![1; 1 << 14])).await.expect("wanted");
            made.fetch_add(1, Ordering::SeqCst);
        }
        sender.finish(None);
    };
    let mut request = post(address);
    request.body = Body::Sized((PIECES as u64) << 14);
    let asking = Box::pin(join(client.request_with(request, body), making));
    let pause = Box::pin(pause::<R>(Duration::from_millis(200)));
    let Either::Right(((), asking)) = select(asking, pause).await else { panic!("the server reads nothing yet") };
    // The buffers of the loopback take a few MiB of the 64.
    let stopped = made.load(Ordering::SeqCst);
    assert!((1..PIECES / 2).contains(&stopped), "{stopped} pieces of 16 KiB were made");
    let (response, ()) = step::<R, _>("an answer", asking).await;
    assert_eq!(response.expect("an answer").head().status, 200);
    server.join().expect("no panic");
    idle(&client, 1);
}

pub(crate) async fn an_answer_that_comes_first_is_told_and_the_content_is_not_wanted<R: HttpCarrier>() {
    let (address, server) = peer(|listener| {
        let mut peer = listener.accept();
        peer.head();
        peer.read_up_to("begun");
        peer.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nlong");
        let (rest, _) = peer.rest();
        let mut again = listener.accept();
        again.head();
        again.say("HTTP/1.1 204 No Content\r\n\r\n");
        rest
    });
    let client = client::<R>(1);
    let (mut sender, body) = content();
    step::<R, _>("a piece", sender.send("begun".into())).await.expect("wanted");
    let mut response = step::<R, _>("an answer", client.request_with(post(address), body)).await.expect("an answer");
    assert_eq!(response.head().status, 413);
    assert_eq!(step::<R, _>("no taker", sender.send("more".into())).await, Err(ContentGone));
    assert_eq!(step::<R, _>("its content", response.bytes(10)).await.expect("all of it"), "long");
    let next = step::<R, _>("another", client.get(post(address).uri)).await.expect("an answer");
    assert!(!next.is_reused(), "half a request is under way on the first connection");
    let rest = String::from_utf8(server.join().expect("no panic")).expect("text");
    assert_eq!(rest, "\r\n", "the first chunk's end, and no last chunk: the server never takes it for the whole");
}

pub(crate) async fn both_contents_go_at_the_same_time<R: HttpCarrier>() {
    let (address, server) = peer(|listener| {
        let mut peer = listener.accept();
        peer.head();
        peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for n in 0..3 {
            peer.read_up_to(&format!("question {n}\r\n"));
            peer.say(&format!("8\r\nanswer {n}\r\n"));
        }
        // The answer ends first; the request's content goes on.
        peer.say("0\r\n\r\n");
        peer.read_up_to("4\r\nlast\r\n0\r\n\r\n");
    });
    let client = client::<R>(1);
    let (mut sender, body) = content();
    let mut response = step::<R, _>("a head", client.request_with(post(address), body)).await.expect("a head");
    for n in 0..3 {
        step::<R, _>("a piece", sender.send(format!("question {n}").into())).await.expect("wanted");
        let answer = step::<R, _>("an answer", response.chunk()).await.expect("a piece");
        assert_eq!(answer.expect("no end"), format!("answer {n}"));
    }
    assert!(response.is_sending());
    let last = async {
        sender.send("last".into()).await.expect("wanted");
        sender.finish(None);
    };
    let (end, ()) = step::<R, _>("the end", join(response.chunk(), last)).await;
    assert_eq!(end.expect("in order"), None);
    server.join().expect("no panic");
    idle(&client, 1);
}

pub(crate) async fn content_waits_for_the_servers_word_if_that_was_expected<R: HttpCarrier>() {
    let (address, server) = peer(|listener| {
        let mut peer = listener.accept();
        assert!(peer.head().contains("\r\nexpect: 100-Continue\r\n"));
        assert!(peer.is_quiet_for(Duration::from_millis(100)), "the content waits");
        peer.say("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
        assert!(peer.rest().0.is_empty(), "it was never wanted");
        let mut peer = listener.accept();
        peer.head();
        assert!(peer.is_quiet_for(Duration::from_millis(100)), "the content waits");
        peer.say("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        peer.read_up_to("5\r\npiece\r\n0\r\n\r\n");
        peer.say("HTTP/1.1 204 No Content\r\n\r\n");
        // Content that is there already waits as well.
        assert!(peer.head().contains("\r\ncontent-length: 5\r\n"));
        assert!(peer.is_quiet_for(Duration::from_millis(100)), "the content waits");
        peer.say("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(peer.take(5), b"whole");
        peer.say("HTTP/1.1 204 No Content\r\n\r\n");
    });
    let client = client::<R>(1);
    let expecting = || {
        let mut request = post(address);
        request.headers.insert("expect", HeaderValue::from_static("100-Continue"));
        request
    };
    let (body, asked) = Counted::new(1);
    let refused = step::<R, _>("an answer", client.request_with(expecting(), body)).await.expect("an answer");
    assert_eq!((refused.head().status.as_u16(), asked.load(Ordering::SeqCst)), (417, 0));
    let (body, asked) = Counted::new(1);
    let response = step::<R, _>("an answer", client.request_with(expecting(), body)).await.expect("an answer");
    assert_eq!((response.head().status.as_u16(), asked.load(Ordering::SeqCst)), (204, 2));
    drop(response);
    let mut request = expecting();
    request.body = Body::Full(Bytes::from_static(b"whole"));
    let response = step::<R, _>("an answer", client.request(request)).await.expect("an answer");
    assert!(response.is_reused());
    server.join().expect("no panic");
    idle(&client, 2);
}

pub(crate) async fn a_request_that_is_dropped_never_poisons_the_pool<R: HttpCarrier>() {
    let (address, server) = peer(|listener| {
        let mut peer = listener.accept();
        peer.read_up_to("begun\r\n");
        let (rest, _) = peer.rest();
        // A head that came, and a caller who left before its content.
        let mut peer = listener.accept();
        peer.head();
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfirst");
        let _ = peer.rest();
        let mut peer = listener.accept();
        peer.head();
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright");
        rest
    });
    let client = client::<R>(1);
    let (mut sender, body) = content();
    let made = async {
        sender.send("begun".into()).await.expect("wanted");
        // Taken: the second one waits for room in the handle.
        sender.send("second".into()).await.expect("wanted");
        sender.send("third".into()).await
    };
    let asking = Box::pin(client.request_with(post(address), body));
    let Either::Right((third, asking)) = step::<R, _>("a piece", select(asking, Box::pin(made))).await else {
        panic!("the server answers nothing")
    };
    assert_eq!(third, Ok(()));
    drop(asking);
    let response = step::<R, _>("a head", client.get(post(address).uri)).await.expect("a head");
    drop(response);
    let mut response = step::<R, _>("a head", client.get(post(address).uri)).await.expect("a head");
    assert_eq!(step::<R, _>("its content", response.bytes(5)).await.expect("all of it"), "right");
    assert_eq!((response.is_reused(), client.pool().stats().dialled), (false, 3));
    let rest = server.join().expect("no panic");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a dropped request is never complete: {}", rest.escape_ascii());
}

pub(crate) async fn content_that_fails_or_is_cut_or_is_not_what_was_announced_ends_its_connection<R: HttpCarrier>() {
    const ENDS: usize = 4;
    let (address, server) = peer(|listener| {
        let rests = (0..ENDS).map(|_| {
            let mut peer = listener.accept();
            peer.head();
            peer.rest().0
        });
        rests.collect::<Vec<_>>()
    });
    let client = client::<R>(1);
    let mut failures = Vec::new();
    for end in 0..ENDS {
        let (mut sender, body) = content();
        let mut request = post(address);
        if end > 1 {
            request.body = Body::Sized(if end == 2 { 4 } else { 6 });
        }
        let made = async {
            sender.send("piece".into()).await.expect("wanted");
            if end != 1 {
                sender.finish(None);
            }
        };
        let error = if end == 0 {
            let broken = StreamBody::new(futures_util::stream::iter([Err::<hyper::body::Frame<Bytes>, _>("broken")]));
            step::<R, _>("an error", client.request_with(request, broken)).await.expect_err("it fails")
        } else {
            step::<R, _>("an error", join(client.request_with(request, body), made)).await.0.expect_err("it fails")
        };
        assert!(matches!(error, HttpError::Content { .. }), "{error}");
        assert_eq!(error.delivery(), Delivery::PossiblySent);
        failures.push(error.to_string());
    }
    let told = ["broken", "dropped before", "more content than", "less content than"];
    assert!(failures.iter().zip(told).all(|(failure, told)| failure.contains(told)), "{failures:?}");
    let rests = server.join().expect("no panic");
    assert_eq!(rests.iter().map(Vec::len).collect::<Vec<_>>(), [0, 10, 0, 5], "cut, each of them");
}

pub(crate) async fn only_content_that_nobody_touched_goes_on_another_connection<R: HttpCarrier>() {
    let (address, server) = peer(|listener| {
        // It read a part.
        let mut peer = listener.accept();
        peer.read_up_to("piece\r\n");
        drop(peer);
        // It knows of the request; its content was never asked for.
        let mut peer = listener.accept();
        peer.head();
        drop(peer);
        let mut peer = listener.accept();
        peer.head();
        peer.say("HTTP/1.1 100 Continue\r\n\r\n");
        peer.read_up_to("5\r\npiece\r\n0\r\n\r\n");
        peer.say("HTTP/1.1 204 No Content\r\n\r\n");
    });
    let client = client::<R>(1).retry_idempotent(true);
    let put = || {
        let mut request = post(address);
        request.method = Method::PUT;
        request
    };
    let (mut sender, body) = content();
    step::<R, _>("a piece", sender.send("piece".into())).await.expect("wanted");
    let error = step::<R, _>("a loss", client.request_with(put(), body)).await.expect_err("a part of it is gone");
    assert!(matches!(error, HttpError::ContentGone { delivery: Delivery::PossiblySent, .. }), "{error}");
    let mut request = put();
    request.headers.insert("expect", HeaderValue::from_static("100-continue"));
    let (body, _) = Counted::new(1);
    let response = step::<R, _>("an answer", client.request_with(request, body)).await.expect("an answer");
    assert_eq!((response.head().status.as_u16(), client.pool().stats().dialled), (204, 3));
    server.join().expect("no panic");
}

pub(crate) async fn an_answer_that_nobody_takes_stays_with_the_server<R: HttpCarrier>() {
    const LEN: usize = 64 << 20;
    let written = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&written);
    let (address, server) = peer(move |listener| {
        let mut peer = listener.accept();
        peer.head();
        peer.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n"));
        let piece = vec![b'x'; 1 << 16];
        for _ in 0..LEN >> 16 {
            std::io::Write::write_all(&mut peer.stream, &piece).expect("writable");
            counting.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    let client = client::<R>(1);
    let mut response = step::<R, _>("a head", client.get(post(address).uri)).await.expect("a head");
    let first = step::<R, _>("a piece", response.chunk()).await.expect("a piece").expect("no end");
    pause::<R>(Duration::from_millis(200)).await;
    let stopped = written.load(Ordering::SeqCst);
    assert!(stopped < LEN / 2, "{stopped} bytes were taken for nobody");
    let rest = step::<R, _>("the rest", response.bytes(LEN)).await.expect("all of it");
    assert_eq!(first.len() + rest.len(), LEN);
    server.join().expect("no panic");
    idle(&client, 1);
}
