//! A protocol in which every byte is a message, so that a model of a session over it stays small.

use bytes::Bytes;
use duologue_core::{Cause, CloseStep, Code, Cx, EofAction, NoTimers, Protocol, RecvBuf, Refusal, Refused, Step};

/// Bytes with a meaning; small letters are messages, all others mean nothing.
pub(super) const HELLO: u8 = 1;
pub(super) const PING: u8 = 2;
pub(super) const BYE: u8 = 3;
pub(super) const BAD: u8 = 4;
/// With the byte after it it is one message.
pub(super) const PAIR: u8 = 5;

/// What we write of our own accord.
pub(super) const PONG: u8 = 0xF1;
pub(super) const OUR_BYE: u8 = 0xF2;
pub(super) const OUR_END: u8 = 0xF3;
pub(super) const PROBE: u8 = 0xF4;
pub(super) const OUR_HELLO: u8 = 0xF5;

/// The code that a received [`BYE`] carries.
pub(super) const BYE_CODE: Code = Code(77);

/// What varies about it.
#[derive(arbitrary::Arbitrary, Clone, Copy, Debug)]
pub(super) struct Traits {
    /// It says hello and waits for the peer's, instead of being open at once.
    pub(super) greets: bool,
    /// It says goodbye and waits for the answer.
    pub(super) waits_for_bye: bool,
    /// It ends its stream with a byte of its own.
    pub(super) says_end: bool,
    /// It can probe a quiet peer.
    pub(super) probes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a bad byte")]
pub(super) struct Broken;

pub(super) struct Toy(pub(super) Traits);

fn say(cx: &mut Cx<'_, Toy>, byte: u8) {
    cx.tx.control(1).put_u8(byte);
}

impl Protocol for Toy {
    type Event = u8;
    type Command = Bytes;
    type Timer = NoTimers;
    type Violation = Broken;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        if self.0.greets {
            say(cx, OUR_HELLO);
        } else {
            cx.establish();
        }
    }

    fn decode(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<u8>, Broken> {
        let (first, second) = (rx.first().copied(), rx.get(1).copied());
        let Some(first) = first else { return Ok(Step::NeedMore { hint: 0 }) };
        let message = match (first, second) {
            (PAIR, None) => return Ok(Step::NeedMore { hint: 1 }),
            (PAIR, second) => {
                rx.advance(1);
                second
            }
            (b'a'..=b'z', _) => Some(first),
            _ => None,
        };
        rx.advance(1);
        match first {
            HELLO => cx.establish(),
            PING => say(cx, PONG),
            BYE => return Ok(Step::Close(BYE_CODE)),
            BAD => return Err(Broken),
            _ => {}
        }
        Ok(message.map_or(Step::Progress, Step::Event))
    }

    fn eof(&mut self, _: &mut Cx<'_, Self>, rest: &mut RecvBuf) -> Result<EofAction<u8>, Broken> {
        Ok(if rest.is_empty() { EofAction::Clean } else { EofAction::Truncated { missing: Some(1) } })
    }

    fn command(&mut self, cx: &mut Cx<'_, Self>, command: Bytes) -> Result<(), Refused<Bytes>> {
        if command.is_empty() {
            return Err(Refused::new(command, Refusal::Invalid("nothing to send")));
        }
        match cx.tx.message(command.len()) {
            Ok(mut writer) => {
                writer.put_bytes(command);
                Ok(())
            }
            Err(no_room) => Err(Refused::new(command, no_room.into())),
        }
    }

    fn keepalive(&mut self, cx: &mut Cx<'_, Self>) -> bool {
        if self.0.probes {
            say(cx, PROBE);
        }
        self.0.probes
    }

    fn finish(&mut self, cx: &mut Cx<'_, Self>) {
        if self.0.says_end {
            say(cx, OUR_END);
        }
    }

    fn begin_close(&mut self, cx: &mut Cx<'_, Self>, _: &Cause<Broken>) -> CloseStep {
        if !self.0.waits_for_bye {
            return CloseStep::Done;
        }
        say(cx, OUR_BYE);
        CloseStep::AwaitPeer
    }

    fn max_unit(&self) -> usize {
        2
    }
}
