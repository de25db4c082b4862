//! Decoding through a session: the bytes cut in any way, the events taken in either way.

use bytes::{BufMut, Bytes};
use duologue_core::framed::{FrameError, Framed, Framing};
use duologue_core::{Cause, Config, Delivery, Event, Instant, Limits, OnPeerFinish, Session, Timeouts};

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The payloads, in order.
    pub(crate) frames: Vec<Vec<u8>>,
    /// Frames that were too long and skipped.
    pub(crate) skipped: u64,
    /// How it ended.
    pub(crate) end: End,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Between two frames.
    Clean,
    /// Inside a frame, so many bytes before its end.
    Truncated(Option<u64>),
    /// The peer broke the framing.
    Broken(FrameError),
}

/// How a stream is given to a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feed<'a> {
    /// The most bytes of each read, less one, over and over; nothing is no bound.
    pub(crate) cuts: &'a [u8],
    /// Handled in place instead of as owned events.
    pub(crate) in_place: bool,
    /// The receive buffer holds the largest unit and not a byte more.
    pub(crate) tight: bool,
}

impl Feed<'static> {
    /// All at once.
    pub(crate) const WHOLE: Self = Self { cuts: &[], in_place: false, tight: false };
}

/// Decodes `bytes` and the FIN behind them. Also what the session wrote by itself.
pub(crate) fn decode<F>(framed: Framed<F>, bytes: &[u8], feed: Feed<'_>) -> (Outcome, Vec<u8>)
where
    F: Framing<Error = FrameError>,
{
    let now = Instant::ORIGIN;
    let unit = framed.framing().max_unit();
    let limits = Limits::new().recv_buffer(if feed.tight { unit } else { unit.saturating_add(bytes.len()) });
    let delivery = if feed.in_place { Delivery::InPlace } else { Delivery::Owned };
    let config = Config::new().limits(limits).timeouts(Timeouts::none()).delivery(delivery);
    let config = config.on_peer_finish(OnPeerFinish::KeepSending);
    let mut session = Session::new(framed, config, 0, now).unwrap_or_else(|error| panic!("{error}"));
    let mut taken = Taken::default();
    let mut cuts = feed.cuts.iter().cycle();
    let mut rest = bytes;
    taken.take(&mut session, now);
    while !rest.is_empty() && session.cause().is_none() {
        assert!(session.interest().read, "all events were taken, and still nothing is read: {session:?}");
        let most = cuts.next().map_or(usize::MAX, |cut| usize::from(*cut) + 1);
        let mut room = session.recv_buf();
        assert!(room.remaining_mut() > 0, "L12: read is wanted without room");
        let (now_read, later) = rest.split_at(most.min(room.remaining_mut()).min(rest.len()));
        room.put_slice(now_read);
        rest = later;
        session.received(now);
        taken.take(&mut session, now);
    }
    session.received_eof(now);
    taken.take(&mut session, now);
    let end = match session.cause() {
        Some(Cause::Truncated { missing }) => End::Truncated(*missing),
        Some(Cause::Violation(error)) => End::Broken(*error),
        None if taken.peer_finished => End::Clean,
        other => panic!("the stream ended, and the session says {other:?}: {session:?}"),
    };
    (Outcome { frames: taken.frames, skipped: session.protocol().skipped(), end }, taken.written)
}

/// What a session gave.
#[derive(Default)]
struct Taken {
    frames: Vec<Vec<u8>>,
    written: Vec<u8>,
    peer_finished: bool,
}

impl Taken {
    fn take<F: Framing>(&mut self, session: &mut Session<Framed<F>>, now: Instant) {
        while session.handle(now, 0, 16, |frame, _| self.frames.push(frame.to_vec())) > 0 {}
        while let Some(event) = session.poll_event(now) {
            match event {
                Event::App(frame) => {
                    assert!(!self.peer_finished, "L6: a message after PeerFinished");
                    self.frames.push(frame.to_vec());
                }
                Event::PeerFinished => self.peer_finished = true,
                Event::Writable => panic!("L11: nobody was refused"),
                Event::Closed(_) => panic!("L9: closed without a release"),
            }
        }
        drain(session, now, &mut self.written);
    }
}

/// Takes everything that a session wants to write.
fn drain<F: Framing>(session: &mut Session<Framed<F>>, now: Instant, written: &mut Vec<u8>) {
    while session.interest().write {
        let mut slices: [&[u8]; 4] = [&[]; 4];
        let filled = session.transmit(&mut slices);
        let before = written.len();
        slices[..filled].iter().for_each(|slice| written.extend_from_slice(slice));
        let n = written.len() - before;
        assert!(n > 0, "write is wanted and nothing is offered");
        session.transmitted(now, n);
    }
}

/// Sends `payloads`; those that were accepted, and what went on the wire for them.
pub(crate) fn encode<F: Framing>(framed: Framed<F>, payloads: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let now = Instant::ORIGIN;
    let unit = framed.framing().max_unit();
    let limits = Limits::new().recv_buffer(unit).share_threshold(5);
    let config = Config::new().limits(limits).timeouts(Timeouts::none());
    let mut session = Session::new(framed, config, 0, now).unwrap_or_else(|error| panic!("{error}"));
    let (mut accepted, mut wire) = (Vec::new(), Vec::new());
    for payload in payloads {
        let command = Bytes::copy_from_slice(payload);
        match session.send(now, command) {
            Ok(()) => accepted.push(payload.clone()),
            Err(error) => {
                assert!(!error.is_temporary(), "a queue of 256 KiB is full: {error}");
                assert_eq!(error.into_command(), payload, "a refused command comes back as it was");
            }
        }
    }
    drain(&mut session, now, &mut wire);
    assert_eq!(session.stats().accepted, session.stats().flushed, "L14");
    (accepted, wire)
}
