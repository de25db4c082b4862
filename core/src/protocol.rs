//! The protocol seam: what a wire protocol implements to become a full-duplex session.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::time::Duration;

use bytes::Bytes;

use crate::closed::{Cause, Code};
use crate::recv_buf::RecvBuf;
use crate::rng::Rng;
use crate::send_queue::{NoRoom, SendQueue};
use crate::time::{Deadline, Instant, TimeoutReason};
use crate::timers::{TimerSet, Timers};

/// A wire protocol: pure, without a clock, a socket or a thread. A [`Session`](crate::Session) calls it.
///
/// A protocol may decode, answer by itself, arm timers and say goodbye. For the common case of frames and nothing
/// more there is [`Framed`](crate::framed::Framed), which is written on this trait as any user's protocol would be.
pub trait Protocol: Sized {
    /// What the application receives.
    type Event;
    /// What the application sends.
    type Command;
    /// The protocol's own timers; [`NoTimers`](crate::NoTimers) if it has none.
    type Timer: TimerSet;
    /// How the peer can break the protocol.
    type Violation: core::error::Error + Clone + 'static;

    /// Whether the time of its call means anything to [`command`](Self::command) (and [`InPlace::reply`]), or to what is
    /// decoded when a message was taken: timers are armed, ends begin. True is always right. False spares a driver all
    /// but the first of many looks at the clock, for messages that are sent in a row.
    const TIMED: bool = true;

    /// Whether the time of an access ([`Session::protocol_mut`](crate::Session::protocol_mut)) means anything to the
    /// [`fill`](Self::fill) behind it. False spares a look at the clock where output is queued already, as
    /// [`TIMED`](Self::TIMED) does.
    const TIMED_FILL: bool = true;

    /// The transport is connected. Write what opens the conversation, and call [`Cx::establish`] as soon as
    /// commands may be sent: here, if there is no handshake.
    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        cx.establish();
    }

    /// The short way, asked first: the next message, if it lies whole at the front of `rx` and taking it off needs
    /// nothing of the session. `None`, the default: nothing was consumed, and [`decode`](Self::decode) says what there
    /// is. It makes the same message, only with more words.
    #[inline(always)]
    fn decode_short(&mut self, rx: &mut RecvBuf) -> Option<Self::Event> {
        let _ = rx;
        None
    }

    /// Asked in place of [`decode`](Self::decode) while nothing is buffered. True: it would say [`Step::NeedMore`] with a
    /// `hint` of 0, and do nothing with its context. False, the default: it is called.
    #[inline(always)]
    fn needs_bytes(&mut self) -> bool {
        false
    }

    /// Takes at most one message off the front of `rx`. Called again while it returns [`Step::Progress`], and
    /// after a [`Step::Event`] was taken by the application. Work per call is bounded by `rx`.
    ///
    /// # Errors
    /// The peer broke the protocol. The session calls [`begin_close`](Self::begin_close), flushes and ends.
    fn decode(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<Self::Event>, Self::Violation>;

    /// The peer's FIN came after `rest`, of which [`decode`](Self::decode) made no message.
    ///
    /// # Errors
    /// The peer may not end its stream here.
    fn eof(&mut self, cx: &mut Cx<'_, Self>, rest: &mut RecvBuf) -> Result<EofAction<Self::Event>, Self::Violation> {
        let _ = cx;
        Ok(if rest.is_empty() { EofAction::Clean } else { EofAction::Truncated { missing: None } })
    }

    /// Encodes one command into `cx.tx`. What a refused command wrote is undone.
    ///
    /// # Errors
    /// The command comes back, with the room it needs or with what is wrong with it.
    fn command(&mut self, cx: &mut Cx<'_, Self>, command: Self::Command) -> Result<(), Refused<Self::Command>>;

    /// As [`command`](Self::command), from where its owner keeps it: taken if it is accepted, left if it is refused. For
    /// protocols whose commands are large, which cost more to move through all layers than to encode where they lie.
    ///
    /// # Errors
    /// What is wrong with the command.
    #[inline(always)]
    fn command_from(&mut self, cx: &mut Cx<'_, Self>, command: &mut Option<Self::Command>) -> Result<(), Refusal> {
        let Some(taken) = command.take() else { return Ok(()) };
        self.command(cx, taken).map_err(|refused| {
            *command = Some(refused.command);
            refused.why
        })
    }

    /// A timer of [`Timer`](Self::Timer) came. It is disarmed before the call.
    ///
    /// # Errors
    /// The session ends with the fault.
    fn timer(
        &mut self,
        cx: &mut Cx<'_, Self>,
        timer: Self::Timer,
    ) -> Result<Step<Self::Event>, Fault<Self::Violation>> {
        let _ = (cx, timer);
        Ok(Step::Progress)
    }

    /// The peer was quiet for [`Keepalive::quiet`](crate::Keepalive): write a probe that it must answer, and
    /// return true. Any byte from the peer counts as the answer. False, the default: the protocol has no probe.
    fn keepalive(&mut self, cx: &mut Cx<'_, Self>) -> bool {
        let _ = cx;
        false
    }

    /// Bytes were transmitted while the protocol was not [`quiescent`](Self::quiescent) or held messages back:
    /// write what now fits.
    fn refill(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// The protocol has something of its own accord to write, as soon as there is room. While this is true
    /// [`fill`](Self::fill) is called after everything that may have made room or work.
    fn wants_fill(&self) -> bool {
        false
    }

    /// Write what is due and fits, and leave the rest for the next time: a protocol that chooses among many sources
    /// keeps the choice to itself for as long as it can, instead of queueing everything in the order it came.
    fn fill(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// There is an event in the protocol's own keeping. Those do not hold up decoding, so they must be bounded by
    /// what they are about: one per stream, however often its data came.
    fn has_event(&self) -> bool {
        false
    }

    /// The next event in the protocol's own keeping. They come after the event that was decoded before.
    fn take_event(&mut self, now: Instant) -> Option<Self::Event> {
        let _ = now;
        None
    }

    /// The earliest deadline in the protocol's own keeping, where the fixed set of [`Timer`](Self::Timer) is not
    /// enough: one per stream.
    fn deadline(&self) -> Option<Deadline> {
        None
    }

    /// That deadline passed. After this call [`deadline`](Self::deadline) is later than `cx.now`.
    fn deadline_passed(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// The conversation is over for `cause`, and nothing more will be decoded: once, before
    /// [`Event::Closed`](crate::Event::Closed). What the protocol keeps ends here, each with an event of its own if
    /// it has one.
    fn ended(&mut self, now: Instant, cause: &Cause<Self::Violation>) {
        let _ = (now, cause);
    }

    /// The owner winds down: take up nothing new, say so in the protocol's words, and end the conversation by
    /// [`Cx::close`] once what is under way is done (at once, if nothing is). True: the protocol sees to all that.
    /// False, the default: it cannot tell what is under way, and its owner closes the session.
    fn drain(&mut self, cx: &mut Cx<'_, Self>) -> bool {
        let _ = cx;
        false
    }

    /// The application sends nothing more, and goes on receiving: write what ends our stream, if anything does.
    fn finish(&mut self, cx: &mut Cx<'_, Self>) {
        let _ = cx;
    }

    /// The session ends for `cause`: write the goodbye that fits it. [`CloseStep::AwaitPeer`] keeps decoding
    /// until [`Step::Close`], bounded by the close-handshake time-out; it counts only for ends that leave the
    /// peer in good standing (our close, idleness).
    fn begin_close(&mut self, cx: &mut Cx<'_, Self>, cause: &Cause<Self::Violation>) -> CloseStep {
        let _ = (cx, cause);
        CloseStep::Done
    }

    /// Nothing that was accepted waits inside the protocol. Our FIN waits for it, within the flush time-out.
    fn quiescent(&self) -> bool {
        true
    }

    /// The most bytes that [`decode`](Self::decode) may need at once to make progress, checked against
    /// [`Limits::recv_buffer`](crate::Limits::recv_buffer) when a session is made.
    fn max_unit(&self) -> usize {
        1
    }
}

/// A protocol whose messages can be handled where they lie in the receive buffer, and answered from borrowed
/// bytes: nothing is counted or copied.
pub trait InPlace: Protocol {
    /// A message borrowed from the receive buffer.
    type View<'a>;
    /// A command borrowed from wherever its bytes are.
    type Reply<'a>;

    /// As [`Protocol::decode_short`], with a view instead of an owned event. After `None` it is
    /// [`decode_in_place`](Self::decode_in_place) that says what there is.
    #[inline(always)]
    fn decode_short_in_place<'a>(&mut self, rx: &'a mut RecvBuf) -> Option<Self::View<'a>> {
        let _ = rx;
        None
    }

    /// As [`Protocol::decode`], with a view instead of an owned event.
    ///
    /// # Errors
    /// As [`Protocol::decode`].
    fn decode_in_place<'a>(
        &mut self,
        cx: &mut Cx<'_, Self>,
        rx: &'a mut RecvBuf,
    ) -> Result<Step<Self::View<'a>>, Self::Violation>;

    /// As [`Protocol::command`], from borrowed bytes.
    ///
    /// # Errors
    /// The room that is needed, or what is wrong with the reply.
    fn reply(&mut self, cx: &mut Cx<'_, Self>, reply: Self::Reply<'_>) -> Result<(), Refusal>;
}

/// What one call of `decode` or `timer` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<E> {
    /// The bytes do not make a message yet. `hint` further bytes would help; 0 if that is unknown.
    NeedMore {
        /// Bytes to make room for.
        hint: usize,
    },
    /// Bytes were consumed or the state moved on; there is nothing for the application.
    Progress,
    /// A message for the application.
    Event(E),
    /// The peer ended the conversation in the protocol's own words; our answer, if one is due, was written.
    Close(Code),
}

/// What the end of the peer's stream means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EofAction<E> {
    /// It ended between messages.
    Clean,
    /// The rest was the last message.
    Final(E),
    /// It ended too early: inside a message, or of what the protocol has both sides end.
    Truncated {
        /// Bytes that were still due, where that is known.
        missing: Option<u64>,
    },
}

/// Whether the goodbye needs an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseStep {
    /// Nothing more to wait for.
    Done,
    /// The peer answers; `decode` returns [`Step::Close`] when it did.
    AwaitPeer,
}

/// What a timer found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault<V> {
    /// What was waited for did not come. [`TimeoutReason::KeepaliveReply`] and [`TimeoutReason::Request`] take
    /// the peer for dead and reset; other reasons say goodbye first.
    Timeout(TimeoutReason),
    /// The peer broke the protocol.
    Violation(V),
}

/// A refused command and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<C> {
    /// The command, unchanged.
    pub command: C,
    /// The reason.
    pub why: Refusal,
}

impl<C> Refused<C> {
    /// Gives `command` back.
    pub const fn new(command: C, why: Refusal) -> Self {
        Self { command, why }
    }
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not fit now, or never will.
    NoRoom(NoRoom),
    /// The protocol cannot express it.
    Invalid(&'static str),
}

impl From<NoRoom> for Refusal {
    fn from(no_room: NoRoom) -> Self {
        Self::NoRoom(no_room)
    }
}

/// A payload that is borrowed or owned: what an encoder that serves both writes.
#[derive(Clone, Debug)]
pub enum Payload<'a> {
    /// Copied into the send queue.
    Borrowed(&'a [u8]),
    /// Shared with the send queue from the share threshold on.
    Owned(Bytes),
}

impl Payload<'_> {
    /// The bytes.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    /// Their number.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Appends `header` and them to a message: cheaper than one after the other.
    #[inline(always)]
    pub fn put_behind(self, header: &[u8], out: &mut crate::send_queue::Writer<'_>) {
        match self {
            Self::Owned(bytes) if !out.copies(bytes.len()) => {
                out.put_slice(header);
                out.put_bytes(bytes);
            }
            Self::Owned(bytes) => out.put_slices([header, &bytes]),
            Self::Borrowed(bytes) => out.put_slices([header, bytes]),
        }
    }

    /// Appends them to a message.
    #[inline(always)]
    pub fn put(self, out: &mut crate::send_queue::Writer<'_>) {
        match self {
            Self::Borrowed(bytes) => out.put_slice(bytes),
            Self::Owned(bytes) => out.put_bytes(bytes),
        }
    }
}

/// What a protocol sees of its session during a call.
pub struct Cx<'a, P: Protocol> {
    /// The time of the fact or intent that led here.
    pub now: Instant,
    /// The way out.
    pub tx: &'a mut SendQueue,
    /// The protocol's timers.
    pub timers: &'a mut Timers<P::Timer>,
    /// Randomness from the session's seed.
    pub rng: &'a mut Rng,
    pub(crate) link: &'a mut Link,
}

impl<P: Protocol> fmt::Debug for Cx<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx").field("now", &self.now).field("link", &self.link).finish_non_exhaustive()
    }
}

impl<P: Protocol> Cx<'_, P> {
    /// The opening is over: commands may be sent.
    #[inline]
    pub fn establish(&mut self) {
        self.link.established = true;
        self.link.asked = true;
    }

    /// When the last byte came from the peer, or when the session started.
    #[must_use]
    pub fn last_received(&self) -> Instant {
        self.link.last_received
    }

    /// When the transport took the last byte, or when the session started.
    #[must_use]
    pub fn last_transmitted(&self) -> Instant {
        self.link.last_transmitted
    }

    /// The peer can be heard: its stream is open, and the application leaves room to read. While this is false the
    /// peer's silence proves nothing.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.link.listening
    }

    /// What is buffered waits for the application, not for further bytes: say it with [`Step::NeedMore`]. A full
    /// buffer is then back-pressure and no exceeded limit, and the peer's FIN waits behind the bytes. Decoding goes on
    /// after the next command, or when nothing can be sent any more.
    ///
    /// From [`Protocol::eof`] it puts the verdict off: `eof` is asked again after the next command.
    pub fn await_command(&mut self) {
        self.link.awaits_command = true;
    }

    /// A message is under way, though this call of [`Protocol::decode`] makes none and may leave no byte in the buffer:
    /// its deadline ([`Timeouts::message`](crate::Timeouts::message)) runs on. For a protocol that takes parts of a message
    /// off as they come; to be said each time.
    pub fn message_under_way(&mut self) {
        self.link.under_way = true;
    }

    /// The conversation is over by the protocol's own rules (its last answer is written): the session ends as by
    /// [`Session::close`](crate::Session::close) with a goodbye, once this call is done.
    pub fn close(&mut self, code: Code) {
        self.link.close.get_or_insert(code);
        self.link.asked = true;
    }

    /// The peer has promised to send nothing more, whatever follows: once our FIN has gone nobody lingers for it, and the
    /// transport is let go at once. A byte that comes all the same takes the promise back. Of a peer that breaks it behind
    /// our back the end may be a reset, so promise only what the wire protocol says.
    pub fn waive_linger(&mut self) {
        self.link.silent = true;
    }

    /// Our side has said all that it can ever say: finishes as [`Session::finish`](crate::Session::finish), once this
    /// call is done.
    pub fn finish(&mut self) {
        self.link.finish = true;
        self.link.asked = true;
    }

    /// The same context for another protocol with the same timers: for a protocol that wraps one.
    pub fn wrapping<Q: Protocol<Timer = P::Timer>>(&mut self) -> Cx<'_, Q> {
        Cx { now: self.now, tx: self.tx, timers: self.timers, rng: self.rng, link: self.link }
    }

    /// The deadline `wait` from now.
    #[must_use]
    pub fn after(&self, wait: Duration) -> Instant {
        self.now.after(wait)
    }
}

/// What the session and its protocol share about the byte stream.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) established: bool,
    pub(crate) listening: bool,
    pub(crate) last_received: Instant,
    pub(crate) last_transmitted: Instant,
    /// What the protocol wants of its session, until the call is over.
    pub(crate) awaits_command: bool,
    pub(crate) under_way: bool,
    pub(crate) close: Option<Code>,
    pub(crate) finish: bool,
    /// The peer has promised to send nothing more.
    pub(crate) silent: bool,
    /// One of `established`, `close` and `finish` was set: one look instead of three.
    pub(crate) asked: bool,
}

/// What decides how a session goes on; `asked` only tells where to look.
impl Hash for Link {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            established,
            listening,
            last_received,
            last_transmitted,
            awaits_command,
            under_way,
            close,
            finish,
            silent,
            asked: _,
        } = self;
        (established, listening, last_received, last_transmitted, awaits_command).hash(state);
        (under_way, close, finish, silent).hash(state);
    }
}

impl Link {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            established: false,
            listening: true,
            last_received: now,
            last_transmitted: now,
            awaits_command: false,
            under_way: false,
            close: None,
            finish: false,
            silent: false,
            asked: false,
        }
    }
}
