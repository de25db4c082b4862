//! Two-byte lengths with a heartbeat: the common case.

use core::time::Duration;

use bytes::Bytes;
use duologue_core::framed::{Endian, Framed, Heartbeat, LengthPrefixed};
use duologue_core::{Config, Rng, SendError, Session};

use super::{STANDARD, both_deliveries, letters};
use crate::subject::{End, Handling, Reference, Role, Subject};

/// `Framed<LengthPrefixed>` with a heartbeat.
#[derive(Clone, Copy, Debug)]
pub struct Prefixed;

const MAX: usize = 24;
const BEAT: &[u8] = b"~";

impl Subject for Prefixed {
    type Protocol = Framed<LengthPrefixed>;

    fn name(&self) -> &'static str {
        "prefixed"
    }

    fn variants(&self) -> usize {
        2 * STANDARD
    }

    fn protocol(&self, _role: Role, variant: usize) -> Self::Protocol {
        let framed = Framed::new(LengthPrefixed::new(2, Endian::Big, MAX));
        let beat = Heartbeat::new(Bytes::from_static(BEAT)).send_after(Duration::from_millis(2_111));
        match variant % 3 {
            0 => framed,
            1 => framed.heartbeat(beat),
            _ => framed.heartbeat(beat.expect_within(Duration::from_millis(8_117))),
        }
    }

    fn config(&self, _role: Role, variant: usize) -> Config {
        both_deliveries(variant, MAX + 2)
    }

    fn ends_when_left_alone(&self, variant: usize) -> bool {
        variant % 3 != 1
    }

    fn command(&self, _role: Role, rng: &mut Rng) -> Bytes {
        Bytes::from(letters(rng, MAX as u64 + 2))
    }

    fn event_for(&self, command: &Bytes) -> Option<Bytes> {
        Some(command.clone())
    }

    fn reference(&self, _receiver: Role, variant: usize, bytes: &[u8]) -> Reference<Bytes> {
        let mut reference = Reference::default();
        let mut at = 0;
        while let Some(header) = bytes.get(at..at + 2) {
            let len = usize::from(header[0]) * 256 + usize::from(header[1]);
            if len > MAX {
                reference.violated = true;
                return reference;
            }
            let Some(payload) = bytes.get(at + 2..at + 2 + len) else { break };
            at += 2 + len;
            reference.boundaries.push(at);
            let beats = variant % 3 > 0 && payload == BEAT;
            if !beats {
                reference.events.push((at, Bytes::copy_from_slice(payload)));
                reference.messages += 1;
            }
        }
        if at < bytes.len() {
            reference.rest = End::Truncated;
        }
        reference
    }

    fn flood(&self, _receiver: Role, rng: &mut Rng) -> Vec<u8> {
        (0..3).flat_map(|_| frame(&letters(rng, 6))).collect()
    }

    fn handle(&self, session: &mut Session<Self::Protocol>, handling: &mut Handling<'_, Self>) {
        let Handling { now, room, budget, reply, out, replied, refused } = handling;
        session.handle(*now, *room, *budget, |payload, replies| {
            out.push(Bytes::copy_from_slice(payload));
            let Some(reply) = reply.as_ref() else { return };
            match replies.send(reply) {
                Ok(()) => replied.push(reply.clone()),
                Err(SendError::Full { need, .. }) => **refused = Some(need),
                Err(_) => {}
            }
        });
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u16).to_be_bytes(), payload].concat()
}
