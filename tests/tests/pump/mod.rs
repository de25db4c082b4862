//! A hand pump: what a driver does, a step at a time, without a clock or a socket.
#![allow(dead_code)]

pub(crate) mod cast;

use bytes::BufMut;
use duologue_core::{Event, InPlace, Instant, Protocol, Session};

/// Something that a step bound has caught: no test here can hang.
pub(crate) const STEPS: usize = 10_000;

pub(crate) type EventOf<P> = Event<<P as Protocol>::Event, <P as Protocol>::Violation>;

/// Takes everything that is queued, and the FIN behind it.
pub(crate) fn output<P: Protocol>(session: &mut Session<P>, now: Instant) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    for _ in 0..STEPS {
        if !session.interest().write {
            break;
        }
        let mut slices: [&[u8]; 4] = [&[]; 4];
        let filled = session.transmit(&mut slices);
        let some = slices[..filled].concat();
        session.transmitted(now, some.len());
        bytes.extend(some);
    }
    let fin = session.interest().shutdown_write;
    if fin {
        session.shutdown_done(now);
    }
    (bytes, fin)
}

/// Gives as many of `bytes` as the session reads, and tells how many that were.
pub(crate) fn input<P: Protocol>(session: &mut Session<P>, now: Instant, bytes: &[u8]) -> usize {
    if !session.interest().read {
        return 0;
    }
    let mut buf = session.recv_buf();
    let n = bytes.len().min(buf.remaining_mut());
    buf.put_slice(&bytes[..n]);
    session.received(now);
    n
}

/// Everything that can be polled now.
pub(crate) fn events<P: Protocol>(session: &mut Session<P>, now: Instant) -> Vec<EventOf<P>> {
    std::iter::from_fn(|| session.poll_event(now)).take(STEPS).collect()
}

/// Everything that can be handled in place now, made owned by `own`.
pub(crate) fn handled<P: InPlace, E>(session: &mut Session<P>, now: Instant, own: impl Fn(P::View<'_>) -> E) -> Vec<E> {
    let mut out = Vec::new();
    session.handle(now, 0, STEPS, |view, _| out.push(own(view)));
    out
}

/// Lets the transport go if that is asked for.
pub(crate) fn release<P: Protocol>(session: &mut Session<P>) -> bool {
    let asked = session.interest().release.is_some();
    if asked {
        session.released();
    }
    asked
}

/// Two sessions that hear each other at once, until nothing moves. Their events are left to be taken.
pub(crate) fn pump<P: Protocol, Q: Protocol>(a: &mut Session<P>, b: &mut Session<Q>, now: Instant) {
    for _ in 0..STEPS {
        let moved = [flow(a, b, now), flow(b, a, now), release(a), release(b)];
        if moved == [false; 4] {
            return;
        }
    }
    panic!("two sessions do not come to rest");
}

fn flow<P: Protocol, Q: Protocol>(from: &mut Session<P>, to: &mut Session<Q>, now: Instant) -> bool {
    let (bytes, fin) = output(from, now);
    let mut rest = &bytes[..];
    for _ in 0..STEPS {
        let n = input(to, now, rest);
        rest = &rest[n..];
        if n == 0 {
            break;
        }
    }
    assert!(rest.is_empty() || !to.interest().read, "a session that reads takes what comes");
    if fin && to.interest().read {
        to.received_eof(now);
    }
    fin || !bytes.is_empty()
}
