//! A simple protocol for machines that have several sessions: numbered messages, and a server that answers each with
//! itself.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use duologue_core::framed::{Framed, LengthPrefixed};
use duologue_core::{Event, Protocol, Rng};
use duologue_sim::{App, Io};

pub(crate) type Link = crate::simlink::Link<Frames>;
pub(crate) type Frames = Framed<LengthPrefixed>;
pub(crate) type Violation = <Frames as Protocol>::Violation;
pub(crate) type FramesEvent = Event<Bytes, Violation>;

pub(crate) fn frames() -> Frames {
    Framed::new(LengthPrefixed::u32_be(1024))
}

/// A message that is its own number.
pub(crate) fn numbered(id: u64) -> Bytes {
    Bytes::copy_from_slice(&id.to_be_bytes())
}

pub(crate) fn number(message: &[u8]) -> u64 {
    u64::from_be_bytes(message.try_into().expect("eight bytes"))
}

/// What a server did, in order.
pub(crate) type Ledger = Rc<RefCell<Vec<u64>>>;

/// Answers each message with itself, and now and then finishes of its own accord.
pub(crate) struct Echo {
    pub(crate) ledger: Ledger,
    pub(crate) rng: Rng,
    pub(crate) finish_one_in: u64,
}

impl App<Frames> for Echo {
    fn on_event(&mut self, io: &mut Io<'_, Frames>, event: FramesEvent) {
        if let Event::App(message) = event {
            self.ledger.borrow_mut().push(number(&message));
            let _ = io.send(message);
            if self.rng.below(self.finish_one_in) == 0 {
                io.finish();
            }
        }
    }
}
