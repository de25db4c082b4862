//! A protocol with everything that a framing lacks: credit, answers of its own, probes, a close handshake.
//!
//! A frame is a tag, a length and a payload: `D` data (costs one credit), `C` credit, `P` ping, `O` pong, `F` the end
//! of our data, `G` goodbye with a code, `A` its answer, `X` the end after a violation.

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use duologue_core::{
    Cause, CloseStep, Code, Config, Cx, EofAction, Fault, Instant, Protocol, RecvBuf, Refusal, Refused, Rng, Step,
    TimeoutReason, TimerSet,
};

use super::{STANDARD, letters, standard};
use crate::subject::{End, Reference, Role, Subject};

/// [`ChatProtocol`] with its traffic.
#[derive(Clone, Copy, Debug)]
pub struct Chat;

const MAX: usize = 20;
/// Credit at the start, and how many messages wait for credit at most.
const CREDIT: u32 = 3;
const HELD: usize = 3;
const TICK: Duration = Duration::from_millis(1_301);

/// The protocol of one side.
#[derive(Clone, Debug, Hash)]
pub struct ChatProtocol {
    credit: u32,
    held: VecDeque<Bytes>,
    /// Messages taken and not yet given credit for.
    owed: u8,
    /// What ends our stream, once nothing is held back any more.
    last: Option<(u8, Option<u8>)>,
    ticks: bool,
}

/// What a chat brings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ChatEvent {
    /// A message.
    Text(Bytes),
    /// The clock ticked.
    Tick,
}

/// The only timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatTimer {
    /// Ticks for the application.
    Tick,
}

impl TimerSet for ChatTimer {
    type Slots = [Option<Instant>; 1];
    const ALL: &'static [Self] = &[Self::Tick];

    fn index(self) -> usize {
        0
    }

    fn reason(self) -> TimeoutReason {
        TimeoutReason::Protocol("tick")
    }
}

/// A frame that means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChatViolation {
    /// Its tag.
    pub tag: u8,
}

impl fmt::Display for ChatViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown or overlong frame {:#04x}", self.tag)
    }
}

impl core::error::Error for ChatViolation {}

impl ChatProtocol {
    /// One side; it ticks if it is told to.
    #[must_use]
    pub const fn new(ticks: bool) -> Self {
        Self { credit: CREDIT, held: VecDeque::new(), owed: 0, last: None, ticks }
    }

    fn answer(cx: &mut Cx<'_, Self>, tag: u8, payload: &[u8]) {
        let mut out = cx.tx.control(2 + payload.len());
        out.put_slice(&[tag, payload.len() as u8]);
        out.put_slice(payload);
    }

    fn say_last(&mut self, cx: &mut Cx<'_, Self>, tag: u8, code: Option<u8>) {
        self.last = Some((tag, code));
        self.refill(cx);
    }

    fn message(&mut self, cx: &mut Cx<'_, Self>, text: Bytes) -> Result<(), Refused<Bytes>> {
        // In two reservations, so that a refusal has something to undo.
        if let Err(no_room) = cx.tx.message(2).map(|mut out| out.put_slice(&[b'D', text.len() as u8])) {
            return Err(Refused::new(text, no_room.into()));
        }
        match cx.tx.message(text.len()) {
            Ok(mut out) => {
                out.put_bytes(text);
                self.credit -= 1;
                Ok(())
            }
            Err(no_room) => Err(Refused::new(text, no_room.into())),
        }
    }

    fn take(&mut self, cx: &mut Cx<'_, Self>, tag: u8, payload: Bytes) -> Result<Step<ChatEvent>, ChatViolation> {
        match (tag, &payload[..]) {
            (b'D', _) => {
                self.owed += 1;
                if self.owed == 2 {
                    Self::answer(cx, b'C', &[self.owed]);
                    self.owed = 0;
                }
                return Ok(Step::Event(ChatEvent::Text(payload)));
            }
            (b'C', &[n]) => {
                self.credit = self.credit.saturating_add(u32::from(n));
                self.refill(cx);
            }
            (b'P', []) => Self::answer(cx, b'O', &[]),
            (b'O' | b'F', []) => {}
            (b'G', &[code]) => {
                // Nothing may follow the answer.
                self.held.clear();
                cx.tx.give_up_held();
                self.last = None;
                Self::answer(cx, b'A', &[]);
                return Ok(Step::Close(Code(u32::from(code))));
            }
            (b'A' | b'X', []) => {
                self.held.clear();
                cx.tx.give_up_held();
                self.last = None;
                return Ok(Step::Close(Code(if tag == b'A' { 0 } else { 99 })));
            }
            _ => return Err(ChatViolation { tag }),
        }
        Ok(Step::Progress)
    }
}

impl Protocol for ChatProtocol {
    type Event = ChatEvent;
    type Command = Bytes;
    type Timer = ChatTimer;
    type Violation = ChatViolation;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        if self.ticks {
            cx.timers.set(ChatTimer::Tick, cx.after(TICK));
        }
        cx.establish();
    }

    fn decode(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<ChatEvent>, ChatViolation> {
        let (tag, len) = match **rx {
            [tag, len, ..] => (tag, usize::from(len)),
            _ => return Ok(Step::NeedMore { hint: 2 - rx.len() }),
        };
        if len > MAX {
            return Err(ChatViolation { tag });
        }
        if rx.len() < 2 + len {
            return Ok(Step::NeedMore { hint: 2 + len - rx.len() });
        }
        rx.advance(2);
        let payload = rx.take(len);
        self.take(cx, tag, payload)
    }

    fn eof(&mut self, cx: &mut Cx<'_, Self>, rest: &mut RecvBuf) -> Result<EofAction<ChatEvent>, ChatViolation> {
        // Nobody gives credit any more: what is held goes without.
        self.credit = u32::MAX;
        self.refill(cx);
        Ok(if rest.is_empty() { EofAction::Clean } else { EofAction::Truncated { missing: None } })
    }

    fn command(&mut self, cx: &mut Cx<'_, Self>, text: Bytes) -> Result<(), Refused<Bytes>> {
        if text.len() > MAX {
            return Err(Refused::new(text, Refusal::Invalid("longer than a frame")));
        }
        // What was held goes first.
        self.refill(cx);
        if self.credit > 0 && self.held.is_empty() {
            return self.message(cx, text);
        }
        if self.held.len() == HELD {
            return Err(Refused::new(text, Refusal::Invalid("too many messages wait for credit")));
        }
        cx.tx.hold();
        self.held.push_back(text);
        Ok(())
    }

    fn refill(&mut self, cx: &mut Cx<'_, Self>) {
        while let Some(text) = self.held.front().filter(|_| self.credit > 0) {
            let Ok(mut out) = cx.tx.held(2 + text.len()) else { return };
            out.put_slice(&[b'D', text.len() as u8]);
            out.put_slice(text);
            self.credit -= 1;
            self.held.pop_front();
        }
        if let Some((tag, code)) = self.last.take_if(|_| self.held.is_empty()) {
            Self::answer(cx, tag, code.as_slice());
        }
    }

    fn timer(&mut self, cx: &mut Cx<'_, Self>, timer: ChatTimer) -> Result<Step<ChatEvent>, Fault<ChatViolation>> {
        cx.timers.set(timer, cx.after(TICK));
        Ok(Step::Event(ChatEvent::Tick))
    }

    fn keepalive(&mut self, cx: &mut Cx<'_, Self>) -> bool {
        Self::answer(cx, b'P', &[]);
        true
    }

    fn finish(&mut self, cx: &mut Cx<'_, Self>) {
        self.say_last(cx, b'F', None);
    }

    fn begin_close(&mut self, cx: &mut Cx<'_, Self>, cause: &Cause<ChatViolation>) -> CloseStep {
        match cause {
            Cause::LocalClose(Code(code)) => self.say_last(cx, b'G', Some(*code as u8)),
            Cause::Timeout(TimeoutReason::Idle) => self.say_last(cx, b'G', Some(77)),
            _ => {
                self.say_last(cx, b'X', None);
                return CloseStep::Done;
            }
        }
        CloseStep::AwaitPeer
    }

    fn quiescent(&self) -> bool {
        self.held.is_empty() && self.last.is_none()
    }

    fn max_unit(&self) -> usize {
        2 + MAX
    }
}

impl Subject for Chat {
    type Protocol = ChatProtocol;

    fn name(&self) -> &'static str {
        "chat"
    }

    fn variants(&self) -> usize {
        2 * STANDARD
    }

    fn protocol(&self, _role: Role, variant: usize) -> ChatProtocol {
        ChatProtocol::new(variant >= STANDARD)
    }

    fn config(&self, _role: Role, variant: usize) -> Config {
        standard(variant % STANDARD, 2 + MAX)
    }

    fn command(&self, _role: Role, rng: &mut Rng) -> Bytes {
        Bytes::from(letters(rng, MAX as u64 + 1))
    }

    fn event_for(&self, command: &Bytes) -> Option<ChatEvent> {
        Some(ChatEvent::Text(command.clone()))
    }

    fn is_from_timer(&self, event: &ChatEvent) -> bool {
        *event == ChatEvent::Tick
    }

    fn reference(&self, _receiver: Role, _variant: usize, bytes: &[u8]) -> Reference<ChatEvent> {
        let mut reference = Reference::default();
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let (Some(tag), Some(len)) = (rest.first(), rest.get(1)) else {
                reference.rest = if rest.is_empty() { End::Clean } else { End::Truncated };
                return reference;
            };
            let len = usize::from(*len);
            let payload = rest.get(2..2 + len);
            if len <= MAX && payload.is_none() {
                reference.rest = End::Truncated;
                return reference;
            }
            let closed = match (*tag, payload) {
                (b'D', Some(text)) if len <= MAX => {
                    reference.events.push((at + 2 + len, ChatEvent::Text(Bytes::copy_from_slice(text))));
                    reference.messages += 1;
                    None
                }
                (b'C', Some([_])) | (b'P' | b'O' | b'F', Some([])) => None,
                (b'G', Some([code])) => Some(Code(u32::from(*code))),
                (b'A', Some([])) => Some(Code(0)),
                (b'X', Some([])) => Some(Code(99)),
                _ => {
                    reference.violated = true;
                    return reference;
                }
            };
            at += 2 + len;
            reference.boundaries.push(at);
            if closed.is_some() {
                reference.closed = closed;
                return reference;
            }
        }
    }

    fn flood(&self, _receiver: Role, rng: &mut Rng) -> Vec<u8> {
        match rng.below(4) {
            0 => b"P\0P\0P\0".to_vec(),
            1 => b"C\x01\x02".to_vec(),
            _ => b"D\x03abcD\x00P\0".to_vec(),
        }
    }
}
