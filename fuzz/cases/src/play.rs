//! Any protocol's session, fed with bytes that are cut in any way.

use bytes::BufMut;
use duologue_core::{Event, Instant, Protocol, Session};

/// The time of everything that is played: nothing here depends on it.
pub(crate) const NOW: Instant = Instant::ORIGIN;

/// Feeds `bytes`, and the FIN behind them if `fin`, and hands every event to `on`. What the session wrote meanwhile.
/// Each read is of at most one byte more than the next of `cuts`, over and over; without cuts there is no bound.
pub(crate) fn play<P: Protocol>(
    session: &mut Session<P>,
    bytes: &[u8],
    cuts: &[u8],
    fin: bool,
    mut on: impl FnMut(&mut Session<P>, Event<P::Event, P::Violation>),
) -> Vec<u8> {
    let (mut rest, mut cuts, mut written) = (bytes, cuts.iter().cycle(), Vec::new());
    settle(session, &mut written, &mut on);
    while !rest.is_empty() && session.interest().read {
        let most = cuts.next().map_or(usize::MAX, |cut| usize::from(*cut) + 1);
        let mut room = session.recv_buf();
        assert!(room.remaining_mut() > 0, "L12: read is wanted without room");
        let (read, later) = rest.split_at(most.min(room.remaining_mut()).min(rest.len()));
        room.put_slice(read);
        rest = later;
        session.received(NOW);
        settle(session, &mut written, &mut on);
    }
    if fin {
        session.received_eof(NOW);
        settle(session, &mut written, &mut on);
    }
    written
}

/// Takes all events and everything that is to be written, until there is neither.
fn settle<P: Protocol>(
    session: &mut Session<P>,
    written: &mut Vec<u8>,
    on: &mut impl FnMut(&mut Session<P>, Event<P::Event, P::Violation>),
) {
    loop {
        while let Some(event) = session.poll_event(NOW) {
            on(session, event);
        }
        let before = written.len();
        drain(session, written);
        if written.len() == before && !session.interest().event {
            return;
        }
    }
}

/// Takes everything that a session wants to write.
pub(crate) fn drain<P: Protocol>(session: &mut Session<P>, written: &mut Vec<u8>) {
    while session.interest().write {
        let mut slices: [&[u8]; 4] = [&[]; 4];
        let filled = session.transmit(&mut slices);
        let before = written.len();
        slices[..filled].iter().for_each(|slice| written.extend_from_slice(slice));
        let n = written.len() - before;
        assert!(n > 0, "write is wanted and nothing is offered");
        session.transmitted(NOW, n);
    }
}
