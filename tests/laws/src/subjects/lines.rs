//! Lines without any timer: a heartbeat would mask a missing linger.

use bytes::Bytes;
use duologue_core::framed::{Delimited, Framed};
use duologue_core::{Config, Rng, SendError, Session};

use super::{STANDARD, both_deliveries, letters};
use crate::subject::{End, Handling, Reference, Role, Subject};

/// `Framed<Delimited>` at LF; in some variants the last line needs none.
#[derive(Clone, Copy, Debug)]
pub struct Lines;

const MAX: usize = 16;

const fn last_needs_mark(variant: usize) -> bool {
    variant % 2 == 0
}

impl Subject for Lines {
    type Protocol = Framed<Delimited>;

    fn name(&self) -> &'static str {
        "lines"
    }

    fn variants(&self) -> usize {
        2 * STANDARD
    }

    fn protocol(&self, _role: Role, variant: usize) -> Self::Protocol {
        let lines = Delimited::new("\n", MAX).unwrap_or_else(|e| panic!("{e}"));
        Framed::new(lines.last_frame_needs_delimiter(last_needs_mark(variant)))
    }

    fn config(&self, _role: Role, variant: usize) -> Config {
        both_deliveries(variant, MAX + 1)
    }

    fn command(&self, _role: Role, rng: &mut Rng) -> Bytes {
        let mut line = letters(rng, MAX as u64 + 1);
        if rng.below(16) == 0 {
            line.push(b'\n');
        }
        Bytes::from(line)
    }

    fn event_for(&self, command: &Bytes) -> Option<Bytes> {
        Some(command.clone())
    }

    fn reference(&self, _receiver: Role, variant: usize, bytes: &[u8]) -> Reference<Bytes> {
        let mut reference = Reference::default();
        let mut from = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' {
                reference.boundaries.push(at + 1);
                reference.events.push((at + 1, Bytes::copy_from_slice(&bytes[from..at])));
                reference.messages += 1;
                from = at + 1;
            } else if at - from == MAX {
                reference.violated = true;
                return reference;
            }
        }
        let rest = &bytes[from..];
        reference.rest = match rest {
            [] => End::Clean,
            _ if last_needs_mark(variant) => End::Truncated,
            _ => End::Final(Bytes::copy_from_slice(rest)),
        };
        reference
    }

    fn flood(&self, _receiver: Role, rng: &mut Rng) -> Vec<u8> {
        (0..4).flat_map(|_| [letters(rng, 5), b"\n".to_vec()].concat()).collect()
    }

    fn handle(&self, session: &mut Session<Self::Protocol>, handling: &mut Handling<'_, Self>) {
        let Handling { now, room, budget, reply, out, replied, refused } = handling;
        session.handle(*now, *room, *budget, |line, replies| {
            out.push(Bytes::copy_from_slice(line));
            let Some(reply) = reply.as_ref() else { return };
            match replies.send(reply) {
                Ok(()) => replied.push(reply.clone()),
                Err(SendError::Full { need, .. }) => **refused = Some(need),
                Err(_) => {}
            }
        });
    }
}
