//! 408 (Request Timeout): a server gave up waiting for a request while one was on its way.

use duologue_async::http1::HttpCarrier;
use duologue_http1::http::Method;

use super::peer::{Listener, Peer, peer};
use super::{client, post, step};

const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";
/// A server should say that it closes; some do not.
const LATE: [&str; 2] = [
    "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nlate",
];

/// A server that answers on one connection after the other, and drops each for the next one.
fn answering(listener: &mut Listener, connections: &[&[&str]]) -> Option<Peer> {
    let mut last = None;
    for answers in connections {
        drop(last.take());
        let mut peer = listener.accept();
        for answer in *answers {
            peer.head();
            peer.say(answer);
        }
        last = Some(peer);
    }
    last
}

pub(crate) async fn a_server_that_gave_up_waiting_as_its_connection_was_used_again_is_asked_once_more<
    R: HttpCarrier,
>() {
    for late in LATE {
        let (address, server) = peer(move |listener| answering(listener, &[&[OK, late], &[OK]]));
        let client = client::<R>(1);
        for method in [Method::PUT, Method::GET] {
            let mut request = post(address);
            request.method = method;
            let response = step::<R, _>("an answer", client.request(request)).await.expect("an answer");
            assert_eq!((response.head().status.as_u16(), response.is_reused()), (204, false), "{late}");
        }
        assert_eq!(client.pool().stats().dialled, 2);
        drop(server.join().expect("no panic"));
    }
}

pub(crate) async fn what_could_do_harm_twice_or_is_about_this_request_has_408_as_its_answer<R: HttpCarrier>() {
    for late in LATE {
        let (address, server) = peer(move |listener| answering(listener, &[&[OK, late], &[late], &[OK]]));
        let client = client::<R>(1);
        let mut answers = Vec::new();
        // A POST on a connection that was used before; a GET on a new one.
        for method in [Method::GET, Method::POST, Method::GET, Method::GET] {
            let mut request = post(address);
            request.method = method;
            let mut response = step::<R, _>("an answer", client.request(request)).await.expect("an answer");
            step::<R, _>("its end", response.bytes(100)).await.expect("whole");
            answers.push((response.head().status.as_u16(), response.is_reused()));
        }
        assert_eq!(answers, [(204, false), (408, true), (408, false), (204, false)], "{late}");
        assert_eq!(client.pool().stats().dialled, 3, "no connection is used again after 408");
        drop(server.join().expect("no panic"));
    }
}
