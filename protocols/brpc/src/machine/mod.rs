//! The protocol: frames become facts about calls and streams, and orders of the streams become frames.

mod calls;
mod frames;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::BytesMut;
use duologue_core::streams::{
    Multiplex, OpenError, OpenOptions, Order, StreamEnd, StreamEvent, StreamId, StreamOrder, Streams,
};
use duologue_core::{
    Cause, CloseStep, Code, Cx, Deadline, EofAction, Instant, NoTimers, Protocol, RecvBuf, Refusal, Refused, Step,
    TimeoutReason,
};

use crate::call::{AcceptError, BrpcCommand, BrpcEvent, CallError, CallId, RequestId, code};
use crate::config::{BrpcConfig, BrpcError};
use crate::error::BrpcViolation;
use crate::wire::{HEADER, Header, Prefix, STREAM_OVERHEAD};

/// Smallest piece of data that is worth a frame while more room is to come.
const WORTH_A_FRAME: usize = 512;
/// Longest meta of a streaming frame that is taken; the known fields take 40 bytes.
const MAX_STREAM_META: usize = 1024;
/// Streams given up before their call was answered, remembered for the late answer.
const MAX_LATE: usize = 256;
/// The id that never names a stream, here or there: probes go to it.
const INVALID: i64 = -1;
/// Which stream a probe comes from: the answer is an RST to it.
const PROBE: i64 = i64::MIN;

/// Which side of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Calls.
    Client,
    /// Replies.
    Server,
}

/// What the protocol keeps with each stream. Opaque to the application.
#[derive(Clone, Debug, Default)]
pub struct Remote {
    /// The peer's id, once it is known.
    id: Option<i64>,
    /// The peer wants feedback.
    feedback: bool,
    /// The peer's CLOSE came.
    closed: bool,
    /// At the server: accepted, and the reply that says so is still to be made.
    waits: bool,
    /// At the client: no answer to a call comes to it, or none any more.
    answered: bool,
    /// Bytes of the message that is being received.
    message: usize,
    /// The peer's CLOSE is waited for. Apart, for few streams are so at a time.
    closing: Option<Box<Closing>>,
}

/// Until when the peer's CLOSE is waited for.
#[derive(Clone, Copy, Debug)]
struct Closing {
    by: Instant,
    /// The application's own deadline, which holds again when it came.
    own: Option<Instant>,
}

/// One side of a bRPC connection: calls and streams.
#[derive(Debug)]
pub struct Brpc {
    role: Role,
    config: BrpcConfig,
    streams: Streams<Remote>,
    /// The next id of a stream of ours: ids are never used twice.
    next_key: u64,
    rx: Rx,
    /// At the client: calls without a response.
    calls: BTreeMap<i64, Waiting>,
    deadlines: BTreeSet<(Instant, i64)>,
    /// At the server: requests without a reply.
    requests: BTreeMap<u64, Pending>,
    /// Those of them that nobody works on any more, each once.
    abandoned: VecDeque<RequestId>,
    next_request: u64,
    /// Calls that ended otherwise than by a response.
    failed: VecDeque<(i64, CallError)>,
    /// Ids of streams that were given up before their call was answered, by which the late answer comes.
    late: VecDeque<u64>,
    established: bool,
    /// Nothing new is taken up; the session ends once nothing is under way.
    draining: bool,
}

/// A call that waits.
#[derive(Debug)]
struct Waiting {
    until: Instant,
    /// Streams with their ids.
    streams: Vec<(StreamId, u64)>,
}

/// A request that waits.
#[derive(Debug)]
struct Pending {
    correlation: Option<i64>,
    /// The client's ids of the streams that it opened.
    offered: Vec<i64>,
    feedback: bool,
    writable: bool,
    /// Ours, once they are accepted.
    accepted: Vec<(StreamId, u64)>,
    /// Nobody works on it any more.
    abandoned: bool,
}

/// What is being received.
#[derive(Debug)]
enum Rx {
    /// A header.
    Header,
    /// A call's frame, or the payload of a streaming frame that holds one.
    Call { header: Option<Header>, left: usize, bytes: BytesMut },
    /// The payload of a DATA frame.
    Data { id: Option<StreamId>, key: i64, ends: bool, left: usize },
}

impl Brpc {
    /// One side.
    ///
    /// # Errors
    /// Limits that cannot work.
    pub fn new(role: Role, config: BrpcConfig) -> Result<Self, BrpcError> {
        Ok(Self {
            role,
            streams: Streams::new(config.fixed()?)?,
            config,
            next_key: 0,
            rx: Rx::Header,
            calls: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            requests: BTreeMap::new(),
            abandoned: VecDeque::new(),
            next_request: 0,
            failed: VecDeque::new(),
            late: VecDeque::new(),
            established: false,
            draining: false,
        })
    }

    /// Which side this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The limits and time-outs.
    #[must_use]
    pub const fn config(&self) -> &BrpcConfig {
        &self.config
    }

    /// Calls without a response, and requests without a reply.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        (self.calls.len(), self.requests.len())
    }

    /// Opens a stream for a call, as [`Multiplex::open`] does.
    ///
    /// # Errors
    /// There is no place for it, or this is a server, whose streams come by [`accept`](Self::accept).
    pub fn open_stream(&mut self) -> Result<StreamId, OpenError> {
        if self.role == Role::Server {
            return Err(OpenError::NoIds);
        }
        self.open_waiting(Remote { answered: true, ..Remote::default() }).map(|(id, _)| id)
    }

    /// Accepts all streams that a request opens, in its order. What is sent on them goes behind the reply.
    ///
    /// # Errors
    /// See [`AcceptError`]; nothing was accepted.
    pub fn accept(&mut self, request: RequestId) -> Result<Vec<StreamId>, AcceptError> {
        let pending = self.requests.get(&request.0).ok_or(AcceptError::Unknown)?;
        if pending.offered.is_empty() || !pending.accepted.is_empty() {
            return Err(AcceptError::NoStreams);
        }
        let (offered, feedback) = (pending.offered.clone(), pending.feedback);
        let writable = pending.writable;
        self.streams.may_open_together(u32::try_from(offered.len()).unwrap_or(u32::MAX))?;
        let mut accepted = Vec::with_capacity(offered.len());
        for remote in offered {
            let data = Remote { id: Some(remote), feedback, waits: true, ..Remote::default() };
            match self.open_waiting(data) {
                Ok(stream) => accepted.push(stream),
                Err(e) => {
                    accepted.into_iter().for_each(|(id, _)| self.streams.peer_refused(id));
                    return Err(e.into());
                }
            }
        }
        let ids = accepted.iter().map(|(id, _)| *id).collect();
        for (id, _) in accepted.iter().filter(|_| !writable) {
            self.streams.peer_takes_nothing(*id, Code(code::EBADF));
        }
        if let Some(pending) = self.requests.get_mut(&request.0) {
            pending.accepted = accepted;
        }
        Ok(ids)
    }

    /// Opens a stream that neither is announced nor carries data before its call was answered.
    fn open_waiting(&mut self, data: Remote) -> Result<(StreamId, u64), OpenError> {
        let key = self.next_key;
        let mut options = OpenOptions::default();
        options.announce = false;
        options.wait = true;
        let id = self.streams.open(options, data, |_| key)?;
        self.next_key = key.wrapping_add(1);
        Ok((id, key))
    }

    /// Remembers the id of a stream whose call was not answered when it ended.
    fn remember(&mut self, key: u64) {
        if self.late.len() >= MAX_LATE {
            self.late.pop_front();
        }
        self.late.push_back(key);
    }

    /// Nothing is under way: neither calls nor requests nor streams.
    fn is_idle(&self) -> bool {
        let (local, peer) = self.streams.open_counts();
        self.calls.is_empty() && self.requests.is_empty() && local + peer == 0 && self.streams.is_quiescent()
    }

    /// The peer has yet to answer, or to close a stream: no half-close of this wire leaves these open.
    fn is_cut(&mut self) -> bool {
        let ids: Vec<StreamId> = self.streams.ids().collect();
        let peers = |remote: &mut Remote| remote.id.is_some() && !remote.closed;
        let cut = |id| {
            let stream = self.streams.get_mut(id).filter(|stream| stream.states().0.expects());
            stream.is_some_and(|mut stream| stream.data_mut().is_some_and(peers))
        };
        !self.calls.is_empty() || ids.into_iter().any(cut)
    }

    /// Nothing more comes: every call and every stream ends.
    fn end_all(&mut self, end: StreamEnd) {
        self.streams.end_all(end);
        self.deadlines.clear();
        self.requests.clear();
        let calls = core::mem::take(&mut self.calls);
        self.failed.extend(calls.into_keys().map(|id| (id, CallError::Lost)));
    }

    /// Writes one order; true if it was our CLOSE.
    fn write(&mut self, cx: &mut Cx<'_, Self>, room: usize) -> Option<()> {
        let order = self.streams.next_order(cx.now, room)?;
        let Order::Stream { id, key, data, what } = order else { return Some(()) };
        let Some(to) = data.id else {
            // Its call was not answered: the peer knows nothing of it, and we nothing of the peer's.
            if matches!(what, StreamOrder::Reset { .. }) && !data.answered {
                self.remember(key);
            }
            return Some(());
        };
        if data.waits {
            // The peer hears of it by the reply, and of its end behind that.
            return Some(());
        }
        let from = key as i64;
        let (mut closes, mut unheard) = (false, false);
        match what {
            StreamOrder::Data { payload, ends, finish } => {
                unheard = !self.config.need_feedback;
                let prefix = Prefix::data(to, from, !ends, payload.len());
                // There is room: it was looked at before the order was taken.
                if let Ok(mut out) = cx.tx.message(prefix.as_slice().len() + payload.len()) {
                    payload.put_behind(prefix.as_slice(), &mut out);
                }
                closes = finish;
            }
            StreamOrder::Finish => closes = true,
            StreamOrder::Reset { .. } => put(cx, &Prefix::rst(to)),
            StreamOrder::Credit(grant) if data.feedback => put(cx, &Prefix::feedback(to, from, grant.total as i64)),
            // The wire has no word for these.
            _ => {}
        }
        if closes {
            // Feedback behind our CLOSE would be for nobody.
            data.feedback = false;
            put(cx, &Prefix::close(to, from));
            let until = cx.after(self.config.close_timeout);
            if let Some(mut stream) = self.streams.get_mut(id) {
                let (waits, own) = (stream.states().0.expects(), stream.deadline());
                if waits && own.is_none_or(|at| at > until) {
                    stream.set_deadline(Some(until));
                    if let Some(data) = stream.data_mut() {
                        data.closing = Some(Box::new(Closing { by: until, own }));
                    }
                }
            }
        }
        if unheard {
            // Nobody tells what was consumed: what is sent no longer counts.
            let sent = self.streams.get_mut(id).map_or(0, |stream| stream.credit().0.used());
            let _ = self.streams.consumed(cx.now, id, u64::try_from(sent).unwrap_or(0));
        }
        Some(())
    }
}

fn put(cx: &mut Cx<'_, Brpc>, prefix: &Prefix) {
    let bytes = prefix.as_slice();
    cx.tx.control(bytes.len()).put_slice(bytes);
}

impl Protocol for Brpc {
    type Event = BrpcEvent;
    type Command = BrpcCommand;
    type Timer = NoTimers;
    type Violation = BrpcViolation;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        self.established = true;
        cx.establish();
    }

    fn decode(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<BrpcEvent>, BrpcViolation> {
        self.receive(cx, rx)
    }

    fn eof(&mut self, cx: &mut Cx<'_, Self>, rest: &mut RecvBuf) -> Result<EofAction<BrpcEvent>, BrpcViolation> {
        let _ = cx;
        let missing = match &self.rx {
            Rx::Header => None,
            Rx::Call { left, .. } | Rx::Data { left, .. } => Some(*left as u64),
        };
        let cut = self.is_cut();
        // Nobody answers or gives credit any more.
        self.end_all(StreamEnd::Lost);
        if missing.is_none() && rest.is_empty() && !cut {
            Ok(EofAction::Clean)
        } else {
            Ok(EofAction::Truncated { missing })
        }
    }

    fn command(&mut self, cx: &mut Cx<'_, Self>, command: BrpcCommand) -> Result<(), Refused<BrpcCommand>> {
        let done = match &command {
            BrpcCommand::Call(call) => self.call(cx, call),
            BrpcCommand::Reply(reply) => self.reply(cx, reply),
            BrpcCommand::Cancel(id) => self.cancel(*id),
            BrpcCommand::Abandon(id) => {
                self.abandon(*id);
                Ok(())
            }
        };
        done.map_err(|why: Refusal| Refused::new(command, why))
    }

    /// A CLOSE for a stream that nobody has: bRPC answers it by an RST to its source.
    fn keepalive(&mut self, cx: &mut Cx<'_, Self>) -> bool {
        put(cx, &Prefix::close(INVALID, PROBE));
        true
    }

    fn begin_close(&mut self, cx: &mut Cx<'_, Self>, cause: &Cause<BrpcViolation>) -> CloseStep {
        let _ = cx;
        match cause {
            Cause::LocalClose(_) => self.streams.drain(),
            _ => self.end_all(StreamEnd::Lost),
        }
        CloseStep::Done
    }

    /// A client calls no more, a server answers new requests by ELOGOFF. The session ends once what is under way is done:
    /// calls answered, requests replied to, streams ended.
    fn drain(&mut self, cx: &mut Cx<'_, Self>) -> bool {
        let _ = cx;
        self.draining = true;
        if self.role == Role::Client {
            self.streams.drain();
        }
        true
    }

    fn quiescent(&self) -> bool {
        self.streams.is_quiescent() && self.abandoned.is_empty()
    }

    fn wants_fill(&self) -> bool {
        let due = self.streams.has_orders() || !self.abandoned.is_empty();
        self.established && (due || (self.draining && self.is_idle()))
    }

    fn fill(&mut self, cx: &mut Cx<'_, Self>) {
        // DATA, and the CLOSE behind it.
        const FRAMES: usize = 2 * STREAM_OVERHEAD;
        self.answer_abandoned(cx);
        while cx.tx.room() >= FRAMES {
            let room = cx.tx.room() - FRAMES;
            let ahead = self.config.ahead.saturating_sub(cx.tx.len());
            // A queue that is not empty gets more room soon; one that is empty takes what there is.
            let room = if cx.tx.is_empty() { room } else { room.min(ahead) };
            let room = if room < WORTH_A_FRAME && !cx.tx.is_empty() { 0 } else { room };
            if self.write(cx, room).is_none() {
                break;
            }
        }
        if self.draining && self.is_idle() {
            self.draining = false;
            cx.close(Code(0));
        }
    }

    fn has_event(&self) -> bool {
        !self.failed.is_empty() || self.streams.has_event()
    }

    fn take_event(&mut self, _now: Instant) -> Option<BrpcEvent> {
        match self.failed.pop_front() {
            Some((id, why)) => Some(BrpcEvent::CallFailed(CallId(id), why)),
            None => self.streams.next_event().map(BrpcEvent::Stream),
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        let stream = self.streams.deadline().map(|at| (at, "stream"));
        let call = self.deadlines.first().map(|(at, _)| (*at, "call"));
        let (at, name) = stream.into_iter().chain(call).min()?;
        Some(Deadline { at, reason: TimeoutReason::Protocol(name) })
    }

    fn deadline_passed(&mut self, cx: &mut Cx<'_, Self>) {
        self.streams.handle_timeout(cx.now);
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= cx.now) {
            self.give_up(id, Code(code::ERPCTIMEDOUT as u32));
            self.failed.push_back((id, CallError::Timeout));
        }
    }

    fn ended(&mut self, _now: Instant, cause: &Cause<BrpcViolation>) {
        self.end_all(match cause {
            Cause::LocalClose(_) | Cause::LocalAbort(_) | Cause::LocalFinished => StreamEnd::LocalClose,
            _ => StreamEnd::Lost,
        });
    }

    fn max_unit(&self) -> usize {
        HEADER + MAX_STREAM_META
    }
}

impl Multiplex for Brpc {
    type Data = Remote;

    fn streams(&self) -> &Streams<Remote> {
        &self.streams
    }

    fn streams_mut(&mut self) -> &mut Streams<Remote> {
        &mut self.streams
    }

    /// Opens a stream for a call: it carries data once the call that names it in [`Call::streams`](crate::Call::streams)
    /// was answered. What is sent before waits.
    fn open(&mut self, _now: Instant) -> Result<StreamId, OpenError> {
        self.open_stream()
    }

    fn as_stream_event(event: &BrpcEvent) -> Option<StreamEvent> {
        match event {
            BrpcEvent::Stream(event) => Some(*event),
            _ => None,
        }
    }
}
