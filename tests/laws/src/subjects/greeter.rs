//! A protocol whose server speaks first: nothing may be sent before the greeting was seen and answered.
//!
//! The server sends `HELO` and a line feed, the client answers `OK` and a line feed. From then on a frame is one byte
//! of length and the payload.

use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use duologue_core::{
    Config, Cx, Fault, InPlace, Instant, Payload, Protocol, RecvBuf, Refusal, Refused, Rng, SendError, Session, Step,
    TimeoutReason, TimerSet,
};

use super::{STANDARD, both_deliveries, letters};
use crate::subject::{End, Handling, Reference, Role, Subject};

/// [`GreeterProtocol`] with its traffic.
#[derive(Clone, Copy, Debug)]
pub struct Greeter;

const MAX: usize = 15;
const ANSWER: Duration = Duration::from_millis(23_003);

/// The protocol of one side.
#[derive(Clone, Debug, Hash)]
pub struct GreeterProtocol {
    role: Role,
    greeted: bool,
    /// Whether a client that asks for nothing is told of, instead of being closed.
    patient: bool,
}

/// What a greeter brings: the end of the opening, then frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GreeterNote<B> {
    /// The peer greeted.
    Ready,
    /// A frame.
    Frame(B),
    /// The client asked for nothing in time.
    Quiet,
}

/// The only timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GreeterTimer {
    /// The client asks for something within a time.
    Answer,
}

impl TimerSet for GreeterTimer {
    type Slots = [Option<Instant>; 1];
    const ALL: &'static [Self] = &[Self::Answer];

    fn index(self) -> usize {
        0
    }

    fn reason(self) -> TimeoutReason {
        TimeoutReason::Protocol("first-frame")
    }
}

/// What a peer can do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GreeterViolation {
    /// It said something else than its greeting.
    BadGreeting,
    /// A frame is too long.
    TooLong(u8),
}

impl fmt::Display for GreeterViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadGreeting => f.write_str("not a greeting"),
            Self::TooLong(len) => write!(f, "a frame of {len} bytes"),
        }
    }
}

impl core::error::Error for GreeterViolation {}

const fn greeting_of(role: Role) -> &'static [u8] {
    match role {
        Role::Server => b"HELO\n",
        Role::Client => b"OK\n",
    }
}

impl GreeterProtocol {
    /// One side.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self { role, greeted: false, patient: false }
    }

    /// A client that asks for nothing is told of once, instead of being closed.
    #[must_use]
    pub const fn patient(mut self) -> Self {
        self.patient = true;
        self
    }

    fn greet(&self, cx: &mut Cx<'_, Self>) {
        let greeting = greeting_of(self.role);
        cx.tx.control(greeting.len()).put_slice(greeting);
    }

    /// The size of what is in front: the greeting, or a frame with its length byte.
    fn find(&mut self, cx: &mut Cx<'_, Self>, rx: &RecvBuf) -> Result<Step<usize>, GreeterViolation> {
        if self.greeted {
            return match rx.first() {
                None => Ok(Step::NeedMore { hint: 1 }),
                Some(len) if usize::from(*len) > MAX => Err(GreeterViolation::TooLong(*len)),
                Some(len) if rx.len() <= usize::from(*len) => {
                    Ok(Step::NeedMore { hint: 1 + usize::from(*len) - rx.len() })
                }
                Some(len) => {
                    cx.timers.clear(GreeterTimer::Answer);
                    Ok(Step::Event(1 + usize::from(*len)))
                }
            };
        }
        let due = greeting_of(self.role.other());
        if rx.len() < due.len() && due.starts_with(rx) {
            return Ok(Step::NeedMore { hint: due.len() - rx.len() });
        }
        if !rx.starts_with(due) {
            return Err(GreeterViolation::BadGreeting);
        }
        self.greeted = true;
        match self.role {
            Role::Client => self.greet(cx),
            Role::Server => cx.timers.set(GreeterTimer::Answer, cx.after(ANSWER)),
        }
        cx.establish();
        Ok(Step::Event(due.len()))
    }

    fn write(cx: &mut Cx<'_, Self>, payload: Payload<'_>) -> Result<(), Refusal> {
        let len = u8::try_from(payload.len()).ok().filter(|len| usize::from(*len) <= MAX);
        let len = len.ok_or(Refusal::Invalid("longer than a frame"))?;
        let mut out = cx.tx.message(1 + payload.len())?;
        out.put_u8(len);
        payload.put(&mut out);
        Ok(())
    }
}

impl Protocol for GreeterProtocol {
    type Event = GreeterNote<Bytes>;
    type Command = Bytes;
    type Timer = GreeterTimer;
    type Violation = GreeterViolation;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        if self.role == Role::Server {
            self.greet(cx);
        }
    }

    fn decode(
        &mut self,
        cx: &mut Cx<'_, Self>,
        rx: &mut RecvBuf,
    ) -> Result<Step<GreeterNote<Bytes>>, GreeterViolation> {
        let opening = !self.greeted;
        Ok(match self.find(cx, rx)? {
            Step::Event(len) if opening => {
                rx.advance(len);
                Step::Event(GreeterNote::Ready)
            }
            Step::Event(len) => {
                rx.advance(1);
                Step::Event(GreeterNote::Frame(rx.copy(len - 1)))
            }
            Step::NeedMore { hint } => Step::NeedMore { hint },
            Step::Progress => Step::Progress,
            Step::Close(code) => Step::Close(code),
        })
    }

    fn command(&mut self, cx: &mut Cx<'_, Self>, payload: Bytes) -> Result<(), Refused<Bytes>> {
        Self::write(cx, Payload::Owned(payload.clone())).map_err(|why| Refused::new(payload, why))
    }

    fn timer(
        &mut self,
        _cx: &mut Cx<'_, Self>,
        timer: GreeterTimer,
    ) -> Result<Step<GreeterNote<Bytes>>, Fault<GreeterViolation>> {
        if self.patient { Ok(Step::Event(GreeterNote::Quiet)) } else { Err(Fault::Timeout(timer.reason())) }
    }

    fn max_unit(&self) -> usize {
        1 + MAX
    }
}

impl InPlace for GreeterProtocol {
    type View<'a> = GreeterNote<&'a [u8]>;
    type Reply<'a> = &'a [u8];

    fn decode_in_place<'a>(
        &mut self,
        cx: &mut Cx<'_, Self>,
        rx: &'a mut RecvBuf,
    ) -> Result<Step<GreeterNote<&'a [u8]>>, GreeterViolation> {
        let opening = !self.greeted;
        Ok(match self.find(cx, rx)? {
            Step::Event(len) if opening => {
                rx.advance(len);
                Step::Event(GreeterNote::Ready)
            }
            Step::Event(len) => Step::Event(GreeterNote::Frame(&rx.view(len)[1..])),
            Step::NeedMore { hint } => Step::NeedMore { hint },
            Step::Progress => Step::Progress,
            Step::Close(code) => Step::Close(code),
        })
    }

    fn reply(&mut self, cx: &mut Cx<'_, Self>, reply: &[u8]) -> Result<(), Refusal> {
        Self::write(cx, Payload::Borrowed(reply))
    }
}

impl Subject for Greeter {
    type Protocol = GreeterProtocol;

    fn name(&self) -> &'static str {
        "greeter"
    }

    fn variants(&self) -> usize {
        2 * STANDARD
    }

    fn protocol(&self, role: Role, variant: usize) -> GreeterProtocol {
        let protocol = GreeterProtocol::new(role);
        if variant % 2 == 0 { protocol.patient() } else { protocol }
    }

    fn config(&self, _role: Role, variant: usize) -> Config {
        both_deliveries(variant, 1 + MAX)
    }

    fn command(&self, _role: Role, rng: &mut Rng) -> Bytes {
        Bytes::from(letters(rng, MAX as u64 + 1))
    }

    fn event_for(&self, command: &Bytes) -> Option<GreeterNote<Bytes>> {
        Some(GreeterNote::Frame(command.clone()))
    }

    fn is_from_timer(&self, event: &GreeterNote<Bytes>) -> bool {
        *event == GreeterNote::Quiet
    }

    fn is_from_command(&self, event: &GreeterNote<Bytes>) -> bool {
        *event != GreeterNote::Ready
    }

    fn reference(&self, receiver: Role, _variant: usize, bytes: &[u8]) -> Reference<GreeterNote<Bytes>> {
        let mut reference = Reference::default();
        let greeting: &[u8] = if receiver == Role::Client { b"HELO\n" } else { b"OK\n" };
        let seen = bytes.len().min(greeting.len());
        if bytes[..seen] != greeting[..seen] {
            reference.violated = true;
            return reference;
        }
        if seen < greeting.len() {
            reference.rest = if seen == 0 { End::Clean } else { End::Truncated };
            return reference;
        }
        reference.boundaries.push(seen);
        reference.events.push((seen, GreeterNote::Ready));
        let mut at = seen;
        while let Some(len) = bytes.get(at) {
            let len = usize::from(*len);
            if len > MAX {
                reference.violated = true;
                return reference;
            }
            let Some(payload) = bytes.get(at + 1..at + 1 + len) else {
                reference.rest = End::Truncated;
                break;
            };
            at += 1 + len;
            reference.boundaries.push(at);
            reference.events.push((at, GreeterNote::Frame(Bytes::copy_from_slice(payload))));
            reference.messages += 1;
        }
        reference
    }

    fn flood(&self, _receiver: Role, rng: &mut Rng) -> Vec<u8> {
        let payload = letters(rng, 5);
        [&[payload.len() as u8], &payload[..], b"\x02yz"].concat()
    }

    fn handle(&self, session: &mut Session<GreeterProtocol>, handling: &mut Handling<'_, Self>) {
        let Handling { now, room, budget, reply, out, replied, refused } = handling;
        session.handle(*now, *room, *budget, |note, replies| {
            out.push(match note {
                GreeterNote::Ready => GreeterNote::Ready,
                GreeterNote::Quiet => GreeterNote::Quiet,
                GreeterNote::Frame(payload) => GreeterNote::Frame(Bytes::copy_from_slice(payload)),
            });
            let Some(reply) = reply.as_ref() else { return };
            match replies.send(reply) {
                Ok(()) => replied.push(reply.clone()),
                Err(SendError::Full { need, .. }) => **refused = Some(need),
                Err(_) => {}
            }
        });
    }
}
