//! The smallest protocol with frames: one byte of length, and one letter or none.

use bytes::Bytes;
use duologue_core::framed::{Endian, Framed, LengthPrefixed};
use duologue_core::{Config, Rng};

use crate::subject::{End, Reference, Role, Subject};

/// `Framed<LengthPrefixed>` at its smallest: one byte of length, and one letter or none. For searches over all states.
#[derive(Clone, Copy, Debug)]
pub struct Letters;

impl Subject for Letters {
    type Protocol = Framed<LengthPrefixed>;

    fn name(&self) -> &'static str {
        "letters"
    }

    fn protocol(&self, _role: Role, _variant: usize) -> Self::Protocol {
        Framed::new(LengthPrefixed::new(1, Endian::Big, 1))
    }

    fn config(&self, _role: Role, _variant: usize) -> Config {
        Config::new()
    }

    fn command(&self, _role: Role, _rng: &mut Rng) -> Bytes {
        Bytes::from_static(b"x")
    }

    fn event_for(&self, command: &Bytes) -> Option<Bytes> {
        Some(command.clone())
    }

    fn reference(&self, _receiver: Role, _variant: usize, bytes: &[u8]) -> Reference<Bytes> {
        let mut reference = Reference::default();
        let mut at = 0;
        while let Some(len) = bytes.get(at).map(|len| usize::from(*len)) {
            if len > 1 {
                reference.violated = true;
                return reference;
            }
            let Some(payload) = bytes.get(at + 1..at + 1 + len) else {
                reference.rest = End::Truncated;
                return reference;
            };
            at += 1 + len;
            reference.boundaries.push(at);
            reference.events.push((at, Bytes::copy_from_slice(payload)));
            reference.messages += 1;
        }
        reference
    }

    fn flood(&self, _receiver: Role, _rng: &mut Rng) -> Vec<u8> {
        b"\x01x\x00".to_vec()
    }
}
