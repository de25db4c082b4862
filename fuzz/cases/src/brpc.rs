//! bRPC: any order of calls and stream operations between two of our sides, and frames of a peer that keeps no rule.
//!
//! * messages that are read on a stream are those that were sent on it, whole and in order, and all of them unless it was
//!   given up;
//! * every call ends once, as it was replied to, unless it was cancelled; every stream that ends does so once, and on
//!   both sides;
//! * neither side breaks the protocol for the other;
//! * frames of any kind are told, answered and ended in the same way however they are cut; their metas are written as they
//!   were read.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use bytes::Bytes;
use duologue_brpc::meta::{RpcMeta, RpcRequestMeta, RpcResponseMeta, StreamFrameMeta, StreamSettings};
use duologue_brpc::prost::Message;
use duologue_brpc::wire::{Header, Magic, Prefix};
use duologue_brpc::{Brpc, BrpcCommand, BrpcConfig, BrpcEvent, Call, CallId, Reply, Request, Role};
use duologue_core::streams::{Multiplex, Received, StreamEvent, StreamId};
use duologue_core::{Cause, Code, Config, Event, Session, Timeouts};

use crate::play::{NOW, drain, play};

/// Operations, and frames made by hand.
#[derive(Arbitrary, Debug)]
pub struct Input {
    operations: Vec<Operation>,
    cuts: Vec<u8>,
    window: u8,
    server: bool,
    calls: u8,
    frames: Vec<Frame>,
    rest: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
struct Operation {
    by_client: bool,
    /// Which stream, call or request of the side's.
    which: u8,
    what: What,
}

#[derive(Arbitrary, Debug)]
enum What {
    Call {
        streams: u8,
    },
    Cancel,
    Reply {
        accept: bool,
        code: i8,
    },
    Abandon,
    Send(Vec<u8>),
    SendMuch(u16),
    Finish,
    Reset,
    Read,
    /// What the side wrote goes to the other one.
    Carry,
}

#[derive(Arbitrary, Debug)]
enum Frame {
    Data {
        to: Id,
        from: Id,
        continues: bool,
        payload: Vec<u8>,
    },
    Feedback {
        to: Id,
        from: Id,
        consumed: i16,
    },
    Close {
        to: Id,
        from: Id,
    },
    Rst {
        to: Id,
    },
    Meta {
        to: Option<Id>,
        from: Option<Id>,
        kind: Option<i8>,
        continues: Option<bool>,
        payload: Vec<u8>,
    },
    Rpc {
        correlation: Option<i8>,
        request: bool,
        code: Option<i8>,
        ids: Vec<Id>,
        feedback: bool,
        attachment: i8,
        wrapped: bool,
    },
}

/// Small ids, which may be of streams, and the odd ones.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Id {
    Small(u8),
    MinusOne,
    Least,
    Any(i64),
}

impl Id {
    fn get(self) -> i64 {
        match self {
            Self::Small(id) => i64::from(id % 8),
            Self::MinusOne => -1,
            Self::Least => i64::MIN,
            Self::Any(id) => id,
        }
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some(input) = crate::parse::<Input>(data) else { return };
    operate(&input);
    hostile(&input);
}

fn config(window: u8) -> BrpcConfig {
    let streams = BrpcConfig::new().streams.send_window(u32::from(window) * 16 + 64).slots(64);
    BrpcConfig::new().streams(streams).max_segment(300).max_message(8 << 10).max_calls(8).max_requests(8)
}

fn session(role: Role, window: u8) -> Session<Brpc> {
    let brpc = Brpc::new(role, config(window)).unwrap_or_else(|error| panic!("{error}"));
    Session::new(brpc, Config::new().timeouts(Timeouts::none()), 3, NOW).unwrap_or_else(|error| panic!("{error}"))
}

/// A stream as its two sides know it: the client's is 0.
#[derive(Default)]
struct Joined {
    ids: [Option<StreamId>; 2],
    sent: [Vec<Vec<u8>>; 2],
    read: [Vec<Vec<u8>>; 2],
    begun: [Vec<u8>; 2],
    /// Whether a side finished: what is on its way to it may be given up.
    finished: [bool; 2],
    given_up: bool,
    ends: [u32; 2],
}

struct Pair {
    sessions: [Session<Brpc>; 2],
    streams: Vec<Joined>,
    calls: BTreeMap<i64, (Vec<usize>, u32)>,
    cancelled: Vec<i64>,
    requests: Vec<Request>,
    replies: BTreeMap<i64, i32>,
}

fn operate(input: &Input) {
    let sessions = [session(Role::Client, input.window), session(Role::Server, input.window)];
    let (streams, calls, requests) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut pair = Pair { sessions, streams, calls, cancelled: Vec::new(), requests, replies: BTreeMap::new() };
    for operation in input.operations.iter().take(200) {
        perform(&mut pair, operation, &input.cuts);
    }
    // To the end of everything that was sent: what is carried is read, and makes room for more.
    for _ in 0..256 {
        let mut moved = false;
        for from in [0, 1] {
            moved |= carry(&mut pair, from, &input.cuts);
        }
        for side in [0, 1] {
            (0..pair.streams.len()).for_each(|stream| read(&mut pair, side, stream));
        }
        if !moved && pair.requests.is_empty() {
            break;
        }
        if let Some(request) = pair.requests.pop() {
            reply(&mut pair, &request, true, 0);
        }
    }
    check(&pair);
}

fn check(pair: &Pair) {
    for (number, stream) in pair.streams.iter().enumerate() {
        for from in [0, 1] {
            let (sent, read) = (&stream.sent[from], &stream.read[1 - from]);
            assert!(sent.starts_with(read), "stream {number} from {from}: what is read was not sent");
            let lost = stream.given_up || stream.finished[1 - from];
            assert!(lost || read.len() == sent.len(), "stream {number} from {from}: {} of {}", read.len(), sent.len());
            assert!(stream.ends[from] <= 1, "stream {number} ends {} times", stream.ends[from]);
        }
        let [here, there] = stream.ends;
        assert!(stream.ids[1].is_none() || here == there, "stream {number} is half open: {here} and {there}");
    }
    for (id, (_, ends)) in &pair.calls {
        let expected = u32::from(!pair.cancelled.contains(id));
        assert_eq!(*ends, expected, "call {id} ends {ends} times");
    }
}

fn perform(pair: &mut Pair, operation: &Operation, cuts: &[u8]) {
    let Operation { by_client, which, what } = operation;
    let (side, which) = (usize::from(!by_client), usize::from(*which));
    match what {
        What::Carry => {
            carry(pair, side, cuts);
        }
        What::Call { streams } => call(pair, usize::from(*streams % 4)),
        What::Cancel => {
            let open: Vec<i64> = pair.calls.iter().filter(|(_, (_, ends))| *ends == 0).map(|(id, _)| *id).collect();
            let Some(id) = open.get(which % open.len().max(1)).copied() else { return };
            if pair.sessions[0].send(NOW, BrpcCommand::Cancel(CallId(id))).is_ok() {
                pair.cancelled.push(id);
                give_up(pair, id);
            }
        }
        What::Reply { accept, code } if !pair.requests.is_empty() => {
            let request = pair.requests.remove(which % pair.requests.len());
            reply(pair, &request, *accept, i32::from(*code));
        }
        What::Abandon if !pair.requests.is_empty() => {
            let request = pair.requests.remove(which % pair.requests.len());
            assert!(pair.sessions[1].send(NOW, BrpcCommand::Abandon(request.id)).is_ok(), "never refused");
            let id = request.meta.correlation_id.unwrap_or_default();
            pair.replies.insert(id, duologue_brpc::code::EINTERNAL);
            give_up(pair, id);
        }
        What::Read if !pair.streams.is_empty() => read(pair, side, which % pair.streams.len()),
        What::Send(bytes) => send(pair, side, which, bytes.clone()),
        What::SendMuch(n) => send(pair, side, which, vec![*n as u8; usize::from(*n) % 9_000]),
        What::Finish | What::Reset if !pair.streams.is_empty() => {
            let number = which % pair.streams.len();
            let Pair { sessions, streams, .. } = pair;
            let joined = &mut streams[number];
            let mut protocol = sessions[side].protocol_mut(NOW);
            let Some(mut stream) = joined.ids[side].and_then(|id| protocol.streams_mut().get_mut(id)) else { return };
            if let What::Finish = what {
                joined.finished[side] = true;
                stream.finish();
            } else {
                joined.given_up = true;
                stream.reset(Code(0));
            }
        }
        _ => {}
    }
}

fn call(pair: &mut Pair, n: usize) {
    let mut opened = Vec::new();
    for _ in 0..n {
        if let Ok(id) = pair.sessions[0].protocol_mut(NOW).open(NOW) {
            opened.push(id);
        }
    }
    let id = pair.calls.len() as i64 - 3;
    let call = Call { id, streams: opened.clone(), ..Call::new("a.Service", "Method", "body") };
    if pair.sessions[0].send(NOW, BrpcCommand::Call(Box::new(call))).is_err() {
        for id in opened {
            if let Some(mut stream) = pair.sessions[0].protocol_mut(NOW).streams_mut().get_mut(id) {
                stream.reset(Code(0));
            }
        }
        return;
    }
    let first = pair.streams.len();
    pair.streams.extend(opened.into_iter().map(|id| Joined { ids: [Some(id), None], ..Joined::default() }));
    pair.calls.insert(id, ((first..pair.streams.len()).collect(), 0));
}

fn give_up(pair: &mut Pair, call: i64) {
    for stream in pair.calls.get(&call).map(|(streams, _)| streams.clone()).unwrap_or_default() {
        pair.streams[stream].given_up = true;
    }
}

fn reply(pair: &mut Pair, request: &Request, accept: bool, code: i32) {
    let id = request.meta.correlation_id.unwrap_or_default();
    let streams = pair.calls.get(&id).map(|(streams, _)| streams.clone()).unwrap_or_default();
    assert_eq!(streams.len(), request.streams, "streams of call {id}");
    let accepted = if accept { pair.sessions[1].protocol_mut(NOW).accept(request.id).ok() } else { None };
    let refused = accepted.is_none() || code != 0;
    for (n, stream) in streams.iter().enumerate() {
        pair.streams[*stream].ids[1] = accepted.as_ref().map(|ids| ids[n]);
        pair.streams[*stream].given_up |= refused;
    }
    let reply = if code == 0 { Reply::ok(request.id, "well".into()) } else { Reply::error(request.id, code, "badly") };
    pair.replies.insert(id, code);
    let sent = pair.sessions[1].send(NOW, BrpcCommand::Reply(Box::new(reply)));
    assert!(sent.is_ok(), "a reply is refused: {sent:?}");
}

fn send(pair: &mut Pair, side: usize, which: usize, message: Vec<u8>) {
    if pair.streams.is_empty() {
        return;
    }
    let number = which % pair.streams.len();
    let Pair { sessions, streams, .. } = pair;
    let mut protocol = sessions[side].protocol_mut(NOW);
    let Some(mut stream) = streams[number].ids[side].and_then(|id| protocol.streams_mut().get_mut(id)) else { return };
    if stream.send(Bytes::from(message.clone())).is_ok() {
        streams[number].sent[side].push(message);
    }
}

fn read(pair: &mut Pair, side: usize, number: usize) {
    let Pair { sessions, streams, .. } = pair;
    let joined = &mut streams[number];
    let mut protocol = sessions[side].protocol_mut(NOW);
    let Some(mut stream) = joined.ids[side].and_then(|id| protocol.streams_mut().get_mut(id)) else { return };
    while let Received::Data { bytes, ends } = stream.recv(usize::MAX) {
        assert!(stream.release(bytes.len()).is_ok(), "what was read can be released");
        joined.begun[side].extend_from_slice(&bytes);
        if ends {
            joined.read[side].push(core::mem::take(&mut joined.begun[side]));
        }
    }
}

/// Carries what a side wrote to the other one, and tells whether there was anything.
fn carry(pair: &mut Pair, from: usize, cuts: &[u8]) -> bool {
    let mut wire = Vec::new();
    drain(&mut pair.sessions[from], &mut wire);
    let mut to = 1 - from;
    let mut moved = !wire.is_empty();
    // What the receiver answers by itself goes back at once.
    for _ in 0..64 {
        let Pair { sessions, streams, calls, requests, replies, .. } = pair;
        let back = play(&mut sessions[to], &wire, cuts, false, |_, event| match event {
            Event::App(BrpcEvent::Request(request)) => requests.push(*request),
            Event::App(BrpcEvent::Response(response)) => {
                let id = response.id.0;
                let code = replies.get(&id).copied().unwrap_or(duologue_brpc::code::ELIMIT);
                assert_eq!(response.error_code, code, "call {id}");
                if let Some((opened, ends)) = calls.get_mut(&id) {
                    *ends += 1;
                    opened.iter().filter(|_| code != 0).for_each(|stream| streams[*stream].given_up = true);
                }
            }
            Event::App(BrpcEvent::CallFailed(id, why)) => panic!("call {id:?}: {why}"),
            Event::App(BrpcEvent::Stream(StreamEvent::Closed(id, _))) => {
                let known = streams.iter_mut().filter(|stream| stream.ids[to] == Some(id));
                known.for_each(|stream| stream.ends[to] += 1);
            }
            Event::Closed(closed) => panic!("closed: {closed:?}"),
            _ => {}
        });
        if back.is_empty() {
            break;
        }
        moved = true;
        (wire, to) = (back, 1 - to);
    }
    assert!(pair.sessions.iter().all(|session| session.cause().is_none()), "one of ours broke the rules");
    moved
}

fn hostile(input: &Input) {
    let mut wire: Vec<u8> = input.frames.iter().take(64).flat_map(Frame::bytes).collect();
    wire.extend_from_slice(&input.rest);
    let whole = told(input, &wire, &[]);
    let cut = told(input, &wire, &input.cuts);
    assert_eq!((&cut.0, &cut.2), (&whole.0, &whole.2), "cut");
    // What was answered before a violation may still have been queued when the session ended.
    let violated = whole.2.contains("Violation");
    assert!(cut.1 == whole.1 || (violated && cut.1.starts_with(&whole.1)), "cut: it answers otherwise");
}

/// What a session says to hostile frames: what it tells but for the order of wakes, what it answers, and its end.
fn told(input: &Input, wire: &[u8], cuts: &[u8]) -> (Vec<BrpcEvent>, Vec<u8>, String) {
    let role = if input.server { Role::Server } else { Role::Client };
    let mut session = session(role, 255);
    let mut written = Vec::new();
    for id in 0..i64::from(input.calls % 5) {
        let streams: Vec<StreamId> = (0..id).filter_map(|_| session.protocol_mut(NOW).open(NOW).ok()).collect();
        let call = Call { id, streams, ..Call::new("a", "b", "") };
        let _ = session.send(NOW, BrpcCommand::Call(Box::new(call)));
    }
    drain(&mut session, &mut written);
    let mut events = Vec::new();
    written.extend(play(&mut session, wire, cuts, true, |_, event| match event {
        // Nobody replies: when a reply comes between two frames is not the same however they are cut.
        Event::App(event @ (BrpcEvent::Request(_) | BrpcEvent::Response(_) | BrpcEvent::CallFailed(..))) => {
            events.push(event)
        }
        Event::App(BrpcEvent::Stream(event @ StreamEvent::Closed(..))) => events.push(BrpcEvent::Stream(event)),
        _ => {}
    }));
    // What ended at once may have been told in any order.
    events.sort_by_key(|event| format!("{event:?}"));
    match session.cause() {
        Some(Cause::Misuse(misuse)) => panic!("a bug of ours: {misuse:?}"),
        cause => (events, written, format!("{cause:?}")),
    }
}

impl Frame {
    fn bytes(&self) -> Vec<u8> {
        let short = |payload: &[u8]| payload.get(..300).unwrap_or(payload).to_vec();
        match self {
            Self::Data { to, from, continues, payload } => {
                let payload = short(payload);
                [Prefix::data(to.get(), from.get(), *continues, payload.len()).as_slice(), &payload].concat()
            }
            Self::Feedback { to, from, consumed } => {
                Prefix::feedback(to.get(), from.get(), i64::from(*consumed)).as_slice().to_vec()
            }
            Self::Close { to, from } => Prefix::close(to.get(), from.get()).as_slice().to_vec(),
            Self::Rst { to } => Prefix::rst(to.get()).as_slice().to_vec(),
            Self::Meta { to, from, kind, continues, payload } => {
                let meta = StreamFrameMeta {
                    stream_id: to.map(Id::get),
                    source_stream_id: from.map(Id::get),
                    frame_type: kind.map(i32::from),
                    has_continuation: *continues,
                    feedback: None,
                };
                same(&meta);
                frame(Magic::Stream, &meta, &short(payload))
            }
            Self::Rpc { correlation, request, code, ids, feedback, attachment, wrapped } => {
                let mut meta = RpcMeta { correlation_id: correlation.map(i64::from), ..RpcMeta::default() };
                if *request {
                    let named =
                        RpcRequestMeta { service_name: "a".into(), method_name: "b".into(), ..Default::default() };
                    meta.request = Some(named);
                } else {
                    meta.response = Some(RpcResponseMeta { error_code: code.map(i32::from), error_text: None });
                }
                if let Some((first, rest)) = ids.split_first() {
                    meta.stream_settings = Some(StreamSettings {
                        stream_id: Some(first.get()),
                        need_feedback: Some(*feedback),
                        writable: Some(!*feedback || *wrapped),
                        extra_stream_ids: rest.iter().take(8).map(|id| id.get()).collect(),
                    });
                }
                meta.attachment_size = (*attachment != 0).then_some(i32::from(*attachment));
                same(&meta);
                let inner = frame(Magic::Rpc, &meta, b"a body");
                let to = correlation.map_or(0, i64::from) & 7;
                if *wrapped { [Prefix::data(to, -1, false, inner.len()).as_slice(), &inner].concat() } else { inner }
            }
        }
    }
}

fn frame(magic: Magic, meta: &impl Message, payload: &[u8]) -> Vec<u8> {
    let meta = meta.encode_to_vec();
    let header = Header { magic, body: (meta.len() + payload.len()) as u32, meta: meta.len() as u32 };
    assert_eq!(Header::decode(&header.encode()), Ok(header), "headers are read as they are written");
    [&header.encode()[..], &meta, payload].concat()
}

/// A meta is read as it was written, and written again as it was read.
fn same<M: Message + Default + PartialEq>(meta: &M) {
    let bytes = meta.encode_to_vec();
    let read = M::decode(&bytes[..]).unwrap_or_else(|error| panic!("{error}"));
    assert!(read == *meta && read.encode_to_vec() == bytes, "{meta:?}");
}
