//! A small protocol with everything that frames alone do not have: an opening, probes and answers, acknowledgements, a
//! goodbye that is answered.
//!
//! ```text
//! kind (1 byte: hello, data, ping, pong, bye, bye-back, ack), length (1 byte), payload
//! ```

use bytes::Bytes;
use duologue_core::{Cause, CloseStep, Code, Cx, NoTimers, Protocol, RecvBuf, Refusal, Refused, Step};
use thiserror::Error;

const HELLO: u8 = 0;
const DATA: u8 = 1;
const PING: u8 = 2;
const PONG: u8 = 3;
const BYE: u8 = 4;
const BYE_BACK: u8 = 5;
const ACK: u8 = 6;

/// The peer sent what nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("unknown kind of frame: {0}")]
pub struct UnknownKind(u8);

/// The protocol. A mute one never says hello, so that its peer waits for the opening.
#[derive(Clone, Debug, Default)]
pub struct Polite {
    /// Says no hello.
    pub mute: bool,
}

impl Polite {
    fn say(cx: &mut Cx<'_, Self>, kind: u8) {
        cx.tx.control(2).put_slice(&[kind, 0]);
    }
}

impl Protocol for Polite {
    type Event = Bytes;
    type Command = Bytes;
    type Timer = NoTimers;
    type Violation = UnknownKind;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        if !self.mute {
            Self::say(cx, HELLO);
        }
    }

    fn decode(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<Bytes>, UnknownKind> {
        let &[kind, length, ..] = &**rx else { return Ok(Step::NeedMore { hint: 2 }) };
        let length = usize::from(length);
        if rx.len() < 2 + length {
            return Ok(Step::NeedMore { hint: 2 + length - rx.len() });
        }
        rx.advance(2);
        if kind == DATA {
            Self::say(cx, ACK);
            return Ok(Step::Event(rx.copy(length)));
        }
        rx.advance(length);
        match kind {
            HELLO => cx.establish(),
            PING => Self::say(cx, PONG),
            PONG | ACK => {}
            BYE => {
                Self::say(cx, BYE_BACK);
                return Ok(Step::Close(Code(4)));
            }
            BYE_BACK => return Ok(Step::Close(Code(5))),
            other => return Err(UnknownKind(other)),
        }
        Ok(Step::Progress)
    }

    fn command(&mut self, cx: &mut Cx<'_, Self>, payload: Bytes) -> Result<(), Refused<Bytes>> {
        let Ok(length) = u8::try_from(payload.len()) else {
            return Err(Refused::new(payload, Refusal::Invalid("longer than 255 bytes")));
        };
        match cx.tx.message(2 + payload.len()) {
            Ok(mut writer) => {
                writer.put_slice(&[DATA, length]);
                writer.put_slice(&payload);
                Ok(())
            }
            Err(no_room) => Err(Refused::new(payload, no_room.into())),
        }
    }

    fn keepalive(&mut self, cx: &mut Cx<'_, Self>) -> bool {
        Self::say(cx, PING);
        true
    }

    fn begin_close(&mut self, cx: &mut Cx<'_, Self>, _cause: &Cause<UnknownKind>) -> CloseStep {
        Self::say(cx, BYE);
        CloseStep::AwaitPeer
    }

    fn max_unit(&self) -> usize {
        2 + 255
    }
}
