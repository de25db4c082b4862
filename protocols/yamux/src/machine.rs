//! The protocol: frames become facts about streams, and the orders of the streams become frames.

use core::time::Duration;

use duologue_core::streams::{
    Abuse, Grant, Multiplex, OpenError, OpenOptions, Order, Refuse, StreamEnd, StreamEvent, StreamId, StreamOrder,
    StreamViolation, Streams, StreamsError,
};
use duologue_core::{
    Cause, CloseStep, Code, Cx, Deadline, EofAction, Fault, Instant, Payload, Protocol, RecvBuf, Refusal, Refused,
    Step, TimeoutReason, TimerSet,
};

use crate::config::YamuxConfig;
use crate::error::YamuxViolation;
use crate::wire::{ACK, FIN, HEADER, Header, INITIAL_WINDOW, Kind, NORMAL, PROTOCOL_ERROR, RST, SYN};

/// Smallest piece of data that is worth a frame while more room is to come.
const WORTH_A_FRAME: usize = 512;
/// From this size on received payloads are shared and not copied.
const SHARED: usize = 4 << 10;

/// Which side of the connection: it decides the ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Opened the connection: odd ids.
    Client,
    /// Took the connection: even ids.
    Server,
}

/// What a session tells its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum YamuxEvent {
    /// About a stream, or all of them.
    Stream(StreamEvent),
    /// The answer to a ping came after this time.
    Pong(Duration),
}

/// What an application asks of the connection. Everything about streams goes through
/// [`Session::protocol_mut`](duologue_core::Session::protocol_mut).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum YamuxCommand {
    /// Ask for a sign of life; [`YamuxEvent::Pong`] follows, or the session ends by
    /// [`TimeoutReason::KeepaliveReply`]. Invalid while another is on its way.
    Ping,
    /// Take and open no further streams (GoAway 0); those that exist go on.
    Drain,
}

/// The only timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum YamuxTimer {
    /// The answer to a ping is due.
    Pong,
}

impl TimerSet for YamuxTimer {
    type Slots = [Option<Instant>; 1];
    const ALL: &'static [Self] = &[Self::Pong];

    fn index(self) -> usize {
        0
    }

    fn reason(self) -> TimeoutReason {
        TimeoutReason::KeepaliveReply
    }
}

/// One side of a yamux connection.
#[derive(Debug)]
pub struct Yamux {
    role: Role,
    config: YamuxConfig,
    streams: Streams,
    /// The next id of ours; `None` once they are used up.
    next: Option<u32>,
    /// The highest id that the peer opened.
    highest: u32,
    /// The payload that is being received.
    body: Option<Body>,
    established: bool,
    ping: u32,
    asked: Option<Asked>,
    /// When a ping was last sent.
    asked_at: Option<Instant>,
    pong: Option<Duration>,
    /// Our goodbye goes after everything that was accepted.
    goodbye: Option<u32>,
    /// The session ends once no stream is open.
    leaving: bool,
}

/// The rest of a data frame.
#[derive(Clone, Copy, Debug)]
struct Body {
    /// The stream, unless it is not known here any more.
    id: Option<StreamId>,
    header: Header,
    left: usize,
}

/// A ping on its way.
#[derive(Clone, Copy, Debug)]
struct Asked {
    value: u32,
    at: Instant,
    /// By the application, which waits for the answer.
    by_owner: bool,
}

impl Yamux {
    /// One side.
    ///
    /// # Errors
    /// Limits for streams that cannot work.
    pub fn new(role: Role, config: YamuxConfig) -> Result<Self, StreamsError> {
        Ok(Self {
            role,
            streams: Streams::new(config.fixed())?,
            config,
            next: Some(if role == Role::Client { 1 } else { 2 }),
            highest: 0,
            body: None,
            established: false,
            ping: 0,
            asked: None,
            asked_at: None,
            pong: None,
            goodbye: None,
            leaving: false,
        })
    }

    /// Which side this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The last stream ended, and that was waited for.
    fn has_left(&self) -> bool {
        self.leaving && self.streams.open_counts() == (0, 0) && self.streams.is_quiescent()
    }

    fn is_ours(&self, stream: u32) -> bool {
        (stream % 2 == 1) == (self.role == Role::Client)
    }

    /// One header was received.
    fn header(&mut self, cx: &mut Cx<'_, Self>, header: Header) -> Result<Step<YamuxEvent>, YamuxViolation> {
        match header.kind {
            Kind::Data | Kind::WindowUpdate => self.stream_frame(cx, header)?,
            Kind::Ping => self.pinged(cx, header)?,
            Kind::GoAway if header.length == NORMAL => {
                self.empty(cx, header)?;
                self.streams.peer_drains(|_| true);
            }
            Kind::GoAway => return Ok(Step::Close(Code(header.length))),
        }
        Ok(Step::Progress)
    }

    fn stream_frame(&mut self, cx: &mut Cx<'_, Self>, header: Header) -> Result<(), YamuxViolation> {
        let violated = |violation| YamuxViolation::Stream { stream: header.stream, violation };
        let id = if header.has(SYN) {
            self.peer_opened(cx, header)?
        } else if self.was_opened(header.stream) {
            self.streams.lookup(u64::from(header.stream))
        } else if header.flags & (FIN | RST) != 0 && header.payload() == 0 && !self.is_ours(header.stream) {
            // Who announces a stream by its first data may give it up before, as the `yamux` crate does.
            return self.empty(cx, header);
        } else {
            return Err(YamuxViolation::NeverOpened(header.stream));
        };
        let accepts = id.filter(|_| header.has(ACK)).is_none_or(|id| self.streams.accepted(id));
        if header.payload() > 0 {
            self.measure(cx);
            self.body = Some(Body { id, header, left: header.length as usize });
            return Ok(());
        }
        let says_nothing = header.kind == Kind::Data && header.flags == 0;
        if says_nothing || (!accepts && header.flags == ACK && header.length == 0) {
            self.empty(cx, header)?;
        }
        // What a reset has in its place is no credit.
        if header.kind == Kind::WindowUpdate && !header.has(RST) && (header.length > 0 || header.flags == 0) {
            match id {
                Some(id) => self.streams.granted(cx.now, id, header.length),
                None => self.streams.spend(cx.now, Abuse::Grants),
            }
            .map_err(violated)?;
        }
        self.ends(cx, id, header).map_err(violated)
    }

    /// A frame that moves nothing.
    fn empty(&mut self, cx: &Cx<'_, Self>, header: Header) -> Result<(), YamuxViolation> {
        let spent = self.streams.spend(cx.now, Abuse::Empty);
        spent.map_err(|violation| YamuxViolation::Stream { stream: header.stream, violation })
    }

    /// FIN and RST count after everything else in their frame.
    fn ends(&mut self, cx: &Cx<'_, Self>, id: Option<StreamId>, header: Header) -> Result<(), StreamViolation> {
        let Some(id) = id else { return Ok(()) };
        if header.has(RST) {
            let code = if header.kind == Kind::WindowUpdate { header.length } else { 0 };
            return self.streams.peer_reset(cx.now, id, Code(code));
        }
        if !header.has(FIN) {
            return Ok(());
        }
        match self.streams.peer_finished(id) {
            // The `yamux` crate says it as often as its stream is closed.
            Err(StreamViolation::AfterFinish) => self.streams.spend(cx.now, Abuse::Empty),
            other => other,
        }
    }

    fn peer_opened(&mut self, cx: &mut Cx<'_, Self>, header: Header) -> Result<Option<StreamId>, YamuxViolation> {
        let stream = header.stream;
        if self.is_ours(stream) {
            return Err(YamuxViolation::WrongSide(stream));
        }
        self.highest = self.highest.max(stream);
        let violated = |violation| YamuxViolation::Stream { stream, violation };
        match self.streams.peer_opened(u64::from(stream), ()) {
            Ok(id) => Ok(Some(id)),
            Err(Refuse::Violation(violation)) => Err(violated(violation)),
            Err(_) => {
                self.streams.spend(cx.now, Abuse::Provoked).map_err(violated)?;
                control(cx, Header { kind: Kind::WindowUpdate, flags: RST, stream, length: 0 });
                Ok(None)
            }
        }
    }

    /// A frame of a stream that ended here may still be on its way; one that never was may not.
    fn was_opened(&self, stream: u32) -> bool {
        if self.is_ours(stream) { self.next.is_none_or(|next| stream < next) } else { stream <= self.highest }
    }

    fn pinged(&mut self, cx: &mut Cx<'_, Self>, header: Header) -> Result<(), YamuxViolation> {
        match header.flags {
            SYN => {
                let spent = self.streams.spend(cx.now, Abuse::Answers);
                spent.map_err(|violation| YamuxViolation::Stream { stream: 0, violation })?;
                control(cx, Header { flags: ACK, ..header });
            }
            ACK => {
                if let Some(asked) = self.asked.take_if(|asked| asked.value == header.length) {
                    let rtt = cx.now.since(asked.at);
                    self.streams.set_rtt(rtt);
                    if asked.by_owner {
                        cx.timers.clear(YamuxTimer::Pong);
                        self.pong = Some(rtt);
                    }
                } else {
                    self.empty(cx, header)?;
                }
            }
            other => return Err(YamuxViolation::Ping(other)),
        }
        Ok(())
    }

    fn ask(&mut self, cx: &mut Cx<'_, Self>, by_owner: bool) {
        self.asked_at = Some(cx.now);
        let owner_waits = self.asked.is_some_and(|asked| asked.by_owner);
        self.ping = self.ping.wrapping_add(1);
        control(cx, Header { kind: Kind::Ping, flags: SYN, stream: 0, length: self.ping });
        if !owner_waits {
            self.asked = Some(Asked { value: self.ping, at: cx.now, by_owner });
        }
    }

    /// Measures the round trip anew while data comes. A question that was never answered is asked again: the peer is
    /// alive, it sends. But not before what was said earlier has left, or a peer that takes nothing fills the queue.
    fn measure(&mut self, cx: &mut Cx<'_, Self>) {
        let due = |every: Duration| self.asked_at.is_none_or(|at| cx.now.since(at) >= every);
        let owner_waits = self.asked.is_some_and(|asked| asked.by_owner);
        let leaves = cx.tx.control_len() < MEASURE_BACKLOG;
        if leaves && !owner_waits && self.goodbye.is_none() && self.config.measure_every.is_some_and(due) {
            self.ask(cx, false);
        }
    }

    /// Bytes of a payload, as they come.
    fn payload(&mut self, cx: &Cx<'_, Self>, rx: &mut RecvBuf, mut body: Body) -> Result<(), YamuxViolation> {
        let violated = |violation| YamuxViolation::Stream { stream: body.header.stream, violation };
        let n = body.left.min(rx.len());
        body.left -= n;
        let received = match body.id {
            None => {
                rx.advance(n);
                self.streams.discarded(n)
            }
            Some(id) if n >= SHARED => {
                let bytes = rx.take(n);
                self.streams.received(cx.now, id, Payload::Owned(bytes), false)
            }
            Some(id) => self.streams.received(cx.now, id, Payload::Borrowed(rx.view(n)), false),
        };
        received.map_err(violated)?;
        self.body = (body.left > 0).then_some(body);
        if body.left == 0 { self.ends(cx, body.id, body.header).map_err(violated) } else { Ok(()) }
    }

    /// Writes one order as a frame.
    fn write(cx: &mut Cx<'_, Self>, stream: u32, what: StreamOrder<'_>) {
        let window = |flags, length| Header { kind: Kind::WindowUpdate, flags, stream, length };
        let header = match what {
            StreamOrder::Data { payload, finish, .. } => {
                let length = payload.len() as u32;
                let flags = if finish { FIN } else { 0 };
                // There is room: it was looked at before the order was taken.
                if let Ok(mut out) = cx.tx.message(HEADER + payload.len()) {
                    out.put_slice(&Header { kind: Kind::Data, flags, stream, length }.encode());
                    payload.put(&mut out);
                }
                return;
            }
            StreamOrder::Open { window: size } => window(SYN, size.saturating_sub(INITIAL_WINDOW)),
            StreamOrder::Accept { window: size } => window(ACK, size.saturating_sub(INITIAL_WINDOW)),
            StreamOrder::Finish => Header { kind: Kind::Data, flags: FIN, stream, length: 0 },
            StreamOrder::Reset { code } => window(RST, code.0),
            StreamOrder::Credit(Grant { increment, .. }) => window(0, increment),
            // The wire has no word for it, and the streams were told so.
            StreamOrder::StopReading { .. } => return,
        };
        control(cx, header);
    }
}

/// Bytes of answers that wait to be transmitted, from which on the round trip is not measured.
const MEASURE_BACKLOG: usize = 64 * HEADER;

fn control(cx: &mut Cx<'_, Yamux>, header: Header) {
    cx.tx.control(HEADER).put_slice(&header.encode());
}

impl Protocol for Yamux {
    type Event = YamuxEvent;
    type Command = YamuxCommand;
    type Timer = YamuxTimer;
    type Violation = YamuxViolation;

    /// Only windows that grow look at the time there, and roughly will do.
    const TIMED_FILL: bool = false;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        // The answer tells the round trip, by which windows grow.
        self.ask(cx, false);
        self.established = true;
        cx.establish();
    }

    fn decode(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<YamuxEvent>, YamuxViolation> {
        if let Some(body) = self.body {
            if rx.is_empty() {
                return Ok(Step::NeedMore { hint: body.left });
            }
            self.payload(cx, rx, body)?;
            return Ok(Step::Progress);
        }
        let Some(bytes) = rx.first_chunk::<HEADER>() else {
            return Ok(Step::NeedMore { hint: HEADER.saturating_sub(rx.len()) });
        };
        let header = Header::decode(bytes)?;
        rx.advance(HEADER);
        self.header(cx, header)
    }

    fn eof(&mut self, cx: &mut Cx<'_, Self>, rest: &mut RecvBuf) -> Result<EofAction<YamuxEvent>, YamuxViolation> {
        let _ = cx;
        let missing = self.body.map(|body| body.left as u64);
        // A session ends by GoAway; without it, by a FIN behind the last finish.
        let cut = self.streams.would_be_cut();
        // Nobody grants credit or finishes any more.
        self.streams.end_all(StreamEnd::Lost);
        let whole = missing.is_none() && rest.is_empty() && !cut;
        Ok(if whole { EofAction::Clean } else { EofAction::Truncated { missing } })
    }

    fn command(&mut self, cx: &mut Cx<'_, Self>, command: YamuxCommand) -> Result<(), Refused<YamuxCommand>> {
        let refuse = |why| Err(Refused::new(command, why));
        match command {
            YamuxCommand::Ping if self.asked.is_some_and(|asked| asked.by_owner) => {
                refuse(Refusal::Invalid("a ping is on its way"))
            }
            YamuxCommand::Ping => {
                self.ping = self.ping.wrapping_add(1);
                let header = Header { kind: Kind::Ping, flags: SYN, stream: 0, length: self.ping };
                match cx.tx.message(HEADER) {
                    Ok(mut out) => out.put_slice(&header.encode()),
                    Err(no_room) => return refuse(no_room.into()),
                }
                self.asked = Some(Asked { value: self.ping, at: cx.now, by_owner: true });
                self.asked_at = Some(cx.now);
                cx.timers.set(YamuxTimer::Pong, cx.after(self.config.ping_timeout));
                Ok(())
            }
            YamuxCommand::Drain => {
                let header = Header { kind: Kind::GoAway, flags: 0, stream: 0, length: NORMAL };
                match cx.tx.message(HEADER) {
                    Ok(mut out) => out.put_slice(&header.encode()),
                    Err(no_room) => return refuse(no_room.into()),
                }
                self.streams.drain();
                Ok(())
            }
        }
    }

    fn timer(&mut self, _cx: &mut Cx<'_, Self>, timer: YamuxTimer) -> Result<Step<YamuxEvent>, Fault<YamuxViolation>> {
        Err(Fault::Timeout(timer.reason()))
    }

    fn keepalive(&mut self, cx: &mut Cx<'_, Self>) -> bool {
        self.ask(cx, false);
        true
    }

    fn begin_close(&mut self, cx: &mut Cx<'_, Self>, cause: &Cause<YamuxViolation>) -> CloseStep {
        match cause {
            Cause::Violation(_) => {
                self.streams.end_all(StreamEnd::Lost);
                control(cx, Header { kind: Kind::GoAway, flags: 0, stream: 0, length: PROTOCOL_ERROR });
            }
            Cause::LocalClose(code) => {
                self.streams.drain();
                self.goodbye = Some(code.0);
            }
            cause if cause.is_orderly() || matches!(cause, Cause::Timeout(_)) => {
                self.streams.end_all(StreamEnd::Lost);
                self.goodbye = Some(NORMAL);
            }
            _ => self.streams.end_all(StreamEnd::Lost),
        }
        CloseStep::Done
    }

    /// GoAway goes at once. The session ends once the streams that exist have ended.
    fn drain(&mut self, cx: &mut Cx<'_, Self>) -> bool {
        if !self.leaving {
            self.leaving = true;
            self.streams.drain();
            control(cx, Header { kind: Kind::GoAway, flags: 0, stream: 0, length: NORMAL });
        }
        true
    }

    fn quiescent(&self) -> bool {
        self.streams.is_quiescent() && self.goodbye.is_none()
    }

    fn wants_fill(&self) -> bool {
        self.established && (self.streams.has_orders() || self.goodbye.is_some() || self.has_left())
    }

    fn fill(&mut self, cx: &mut Cx<'_, Self>) {
        while cx.tx.room() >= HEADER {
            let room = cx.tx.room() - HEADER;
            let ahead = self.config.ahead.saturating_sub(cx.tx.len());
            // A queue that is not empty gets more room soon; one that is empty takes what there is.
            let room = if cx.tx.is_empty() { room } else { room.min(ahead) };
            let room = if room < WORTH_A_FRAME && !cx.tx.is_empty() { 0 } else { room };
            match self.streams.next_order(cx.now, room) {
                Some(Order::Stream { key, what, .. }) => Self::write(cx, key as u32, what),
                Some(Order::ConnectionCredit(_)) => {}
                None => break,
            }
        }
        if self.streams.is_quiescent() && cx.tx.room() >= HEADER {
            if let Some(length) = self.goodbye.take() {
                control(cx, Header { kind: Kind::GoAway, flags: 0, stream: 0, length });
            }
        }
        if self.has_left() {
            self.leaving = false;
            cx.close(Code(0));
        }
    }

    fn has_event(&self) -> bool {
        self.pong.is_some() || self.streams.has_event()
    }

    fn take_event(&mut self, _now: Instant) -> Option<YamuxEvent> {
        match self.pong.take() {
            Some(rtt) => Some(YamuxEvent::Pong(rtt)),
            None => self.streams.next_event().map(YamuxEvent::Stream),
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        let at = self.streams.deadline()?;
        Some(Deadline { at, reason: TimeoutReason::Protocol("stream") })
    }

    fn deadline_passed(&mut self, cx: &mut Cx<'_, Self>) {
        self.streams.handle_timeout(cx.now);
    }

    fn ended(&mut self, _now: Instant, cause: &Cause<YamuxViolation>) {
        self.goodbye = None;
        self.streams.end_all(match cause {
            Cause::LocalClose(_) | Cause::LocalAbort(_) | Cause::LocalFinished => StreamEnd::LocalClose,
            _ => StreamEnd::Lost,
        });
    }

    fn max_unit(&self) -> usize {
        HEADER
    }
}

impl Multiplex for Yamux {
    type Data = ();

    fn streams(&self) -> &Streams {
        &self.streams
    }

    fn streams_mut(&mut self) -> &mut Streams {
        &mut self.streams
    }

    fn open(&mut self, _now: Instant) -> Result<StreamId, OpenError> {
        let key = self.next.ok_or(OpenError::NoIds)?;
        let id = self.streams.open(OpenOptions::default(), (), |_| u64::from(key))?;
        self.next = key.checked_add(2);
        Ok(id)
    }

    fn as_stream_event(event: &YamuxEvent) -> Option<StreamEvent> {
        match event {
            YamuxEvent::Stream(event) => Some(*event),
            YamuxEvent::Pong(_) => None,
        }
    }
}
