//! Winding down: what is open goes on to its end, nothing new begins, and then the session ends.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

use bytes::{BufMut, Bytes};
use duologue_core::streams::{Multiplex, OpenError, Received, StreamEnd, StreamEvent, StreamId, StreamMut};
use duologue_core::{Cause, Code, Config, Event, Instant, Session};
use duologue_yamux::{Role, Yamux, YamuxConfig};

const NOW: Instant = Instant::from_nanos(1_000);

struct Side {
    session: Session<Yamux>,
    told: Vec<StreamEvent>,
    end: Option<Cause<duologue_yamux::YamuxViolation>>,
}

impl Side {
    fn new(role: Role) -> Self {
        let yamux = Yamux::new(role, YamuxConfig::new()).unwrap();
        Self { session: Session::new(yamux, Config::new(), 7, NOW).unwrap(), told: Vec::new(), end: None }
    }

    fn open(&mut self) -> Result<StreamId, OpenError> {
        self.session.protocol_mut(NOW).open(NOW)
    }

    fn with<R>(&mut self, id: StreamId, act: impl FnOnce(&mut StreamMut<'_>) -> R) -> R {
        act(&mut self.session.protocol_mut(NOW).streams_mut().get_mut(id).unwrap())
    }

    fn take(&mut self, id: StreamId) -> Vec<u8> {
        let mut all = Vec::new();
        while let Received::Data { bytes, .. } = self.with(id, |stream| stream.recv(usize::MAX)) {
            self.with(id, |stream| stream.release(bytes.len())).unwrap();
            all.extend_from_slice(&bytes);
        }
        all
    }

    fn events(&mut self) {
        while let Some(event) = self.session.poll_event(NOW) {
            match event {
                Event::App(event) => self.told.extend(Yamux::as_stream_event(&event)),
                Event::Closed(closed) => self.end = Some(closed.cause),
                _ => {}
            }
        }
    }

    fn end_of(&self, id: StreamId) -> Option<StreamEnd> {
        self.told.iter().find_map(|event| match event {
            StreamEvent::Closed(of, closed) if *of == id => Some(closed.end),
            _ => None,
        })
    }
}

/// As two drivers over a perfect transport, until nothing moves.
fn settle(sides: &mut [Side; 2]) {
    for step in 0.. {
        assert!(step < 10_000, "it never comes to rest");
        let mut moved = false;
        for from in [0, 1] {
            let [a, b] = sides;
            let (from, to) = if from == 0 { (a, b) } else { (b, a) };
            let mut slices = [&[][..]; 16];
            let filled = from.session.transmit(&mut slices);
            let bytes = slices[..filled].concat();
            from.session.transmitted(NOW, bytes.len());
            if !bytes.is_empty() && to.session.interest().read {
                to.session.recv_buf().put_slice(&bytes);
                to.session.received(NOW);
            }
            let fin = from.session.interest().shutdown_write;
            if fin {
                from.session.shutdown_done(NOW);
                to.session.received_eof(NOW);
            }
            if from.session.interest().release.is_some() {
                from.session.released();
            }
            moved |= !bytes.is_empty() || fin;
            from.events();
            to.events();
        }
        if !moved {
            return;
        }
    }
}

fn joined(sides: &mut [Side; 2]) -> (StreamId, StreamId) {
    let mine = sides[0].open().unwrap();
    settle(sides);
    let theirs = sides[1].told.iter().rev().find_map(|event| match event {
        StreamEvent::Opened(id) => Some(*id),
        _ => None,
    });
    (mine, theirs.unwrap())
}

#[test]
fn what_is_open_goes_on_to_its_end_and_then_the_session_ends_in_order() {
    for drains in [0, 1] {
        let mut sides = [Side::new(Role::Client), Side::new(Role::Server)];
        let (mine, theirs) = joined(&mut sides);
        assert!(sides[drains].session.drain(NOW), "yamux knows what is under way");
        assert!(sides[drains].session.drain(NOW), "again changes nothing");
        settle(&mut sides);
        assert!(sides[1 - drains].told.contains(&StreamEvent::Draining), "it is told at once");
        for side in &mut sides {
            assert_eq!(side.open(), Err(OpenError::Draining));
            assert!(side.session.cause().is_none());
        }
        let request = Bytes::from(vec![3; 100_000]);
        let mut sent = 0;
        while sent < request.len() {
            sent += sides[0].with(mine, |stream| stream.write(&request[sent..])).unwrap_or(0);
            settle(&mut sides);
        }
        sides[0].with(mine, |stream| stream.finish());
        settle(&mut sides);
        assert_eq!(sides[1].take(theirs).len(), request.len());
        sides[1].with(theirs, |stream| stream.send("answer".into())).unwrap();
        sides[1].with(theirs, |stream| stream.finish());
        settle(&mut sides);
        // Who sent it all may go, who has not read it yet stays.
        assert_eq!(sides[drains].session.cause().is_some(), drains == 1, "{drains}");
        assert_eq!(sides[0].take(mine), b"answer");
        settle(&mut sides);
        assert_eq!(
            (sides[0].end_of(mine), sides[1].end_of(theirs)),
            (Some(StreamEnd::Finished), Some(StreamEnd::Finished))
        );
        assert_eq!(sides[drains].end, Some(Cause::LocalClose(Code(0))));
        assert!(sides[1 - drains].end.as_ref().is_some_and(Cause::is_orderly), "{:?}", sides[1 - drains].end);
    }
}

#[test]
fn a_stream_that_crossed_the_drain_is_refused_and_nobody_waits_for_it() {
    let mut sides = [Side::new(Role::Client), Side::new(Role::Server)];
    let (mine, theirs) = joined(&mut sides);
    assert!(sides[1].session.drain(NOW));
    let late = sides[0].open().unwrap();
    settle(&mut sides);
    assert_eq!(sides[0].end_of(late), Some(StreamEnd::PeerReset(Code(0))));
    assert_eq!(sides[1].session.cause(), None);
    sides[1].with(theirs, |stream| stream.reset(Code(4)));
    settle(&mut sides);
    assert_eq!(sides[0].end_of(mine), Some(StreamEnd::PeerReset(Code(4))));
    assert_eq!(sides[1].end, Some(Cause::LocalClose(Code(0))));
}

#[test]
fn where_nothing_is_open_it_ends_at_once() {
    let mut sides = [Side::new(Role::Client), Side::new(Role::Server)];
    settle(&mut sides);
    assert!(sides[0].session.drain(NOW));
    settle(&mut sides);
    assert_eq!(sides[0].end, Some(Cause::LocalClose(Code(0))));
}
