//! Calls: made, answered, given up.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use duologue_core::streams::Abuse;
use duologue_core::{Code, Cx, Refusal, Step};
use prost::Message;

use super::{Brpc, Pending, Role, Waiting, put};
use crate::body::{describe, restore};
use crate::call::{BrpcEvent, Call, CallError, CallId, Reply, Request, RequestId, Response, code};
use crate::error::BrpcViolation;
use crate::meta::{RpcMeta, RpcRequestMeta, RpcResponseMeta, StreamSettings};
use crate::wire::{HEADER, Header, Magic, Prefix};

/// Header, meta, body and attachment.
fn frame(meta: &RpcMeta, body: &[u8], attachment: &[u8]) -> BytesMut {
    let len = meta.encoded_len();
    let total = len + body.len() + attachment.len();
    let mut out = BytesMut::with_capacity(HEADER + total);
    let header = Header { magic: Magic::Rpc, body: u32::try_from(total).unwrap_or(u32::MAX), meta: len as u32 };
    out.extend_from_slice(&header.encode());
    // Room was made for it.
    let _ = meta.encode(&mut out);
    out.extend_from_slice(body);
    out.extend_from_slice(attachment);
    out
}

impl Brpc {
    pub(super) fn call(&mut self, cx: &mut Cx<'_, Self>, call: &Call) -> Result<(), Refusal> {
        if self.role == Role::Server {
            return Err(Refusal::Invalid("a server does not call"));
        }
        if self.draining {
            return Err(Refusal::Invalid("the session drains"));
        }
        if self.calls.contains_key(&call.id) {
            return Err(Refusal::Invalid("a call with this correlation id waits for its response"));
        }
        // What nobody heard of yet counts: an application that takes no events must not fill the memory.
        if self.calls.len() + self.failed.len() >= self.config.max_calls {
            return Err(Refusal::Invalid("too many calls wait for their response"));
        }
        if call.streams.len() > self.config.max_streams_per_call {
            return Err(Refusal::Invalid("too many streams for one call"));
        }
        let mut streams = Vec::with_capacity(call.streams.len());
        for id in &call.streams {
            let used = self.calls.values().any(|waiting| waiting.streams.iter().any(|(other, _)| other == id));
            let twice = streams.iter().any(|(other, _)| other == id);
            let fresh = self.streams.get_mut(*id).filter(|stream| stream.end().is_none());
            let key = fresh.and_then(|mut stream| {
                let key = stream.key();
                stream.data_mut().filter(|remote| remote.id.is_none()).map(|_| key)
            });
            match key.filter(|_| !used && !twice) {
                Some(key) => streams.push((*id, key)),
                None => return Err(Refusal::Invalid("a stream of the call ended, or belongs to another call")),
            }
        }
        let timeout = call.timeout.unwrap_or(self.config.call_timeout);
        let mut meta = call.meta.clone();
        let described = meta.request.take().unwrap_or_default();
        meta.request = Some(RpcRequestMeta {
            service_name: call.service.clone(),
            method_name: call.method.clone(),
            // Rounded up: a server that keeps it does not give up before us, and part of a millisecond is not "for ever".
            timeout_ms: Some(i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)),
            ..described
        });
        meta.correlation_id = Some(call.id);
        meta.stream_settings = self.settings(&streams);
        meta.attachment_size = (!call.attachment.is_empty()).then_some(call.attachment.len() as i32);
        let body = call.compression.compress(call.body.clone()).map_err(Refusal::Invalid)?;
        describe(&mut meta, call.compression, call.checksum, &body);
        let bytes = frame(&meta, &body, &call.attachment);
        self.fits(&meta, bytes.len())?;
        cx.tx.message(bytes.len())?.put_bytes(bytes.freeze());
        // The answer comes to the first of them.
        let mut first = streams.first().and_then(|(id, _)| self.streams.get_mut(*id));
        if let Some(remote) = first.as_mut().and_then(|stream| stream.data_mut()) {
            remote.answered = false;
        }
        let until = cx.after(timeout);
        self.deadlines.insert((until, call.id));
        self.calls.insert(call.id, Waiting { until, streams });
        Ok(())
    }

    /// One pair of limits for both directions.
    fn fits(&self, meta: &RpcMeta, frame: usize) -> Result<(), Refusal> {
        if frame - HEADER > self.config.max_body as usize {
            return Err(Refusal::Invalid("larger than max_body"));
        }
        if meta.encoded_len() > self.config.max_meta as usize {
            return Err(Refusal::Invalid("meta larger than max_meta"));
        }
        Ok(())
    }

    fn settings(&self, streams: &[(duologue_core::streams::StreamId, u64)]) -> Option<StreamSettings> {
        let (first, rest) = streams.split_first()?;
        Some(StreamSettings {
            stream_id: Some(first.1 as i64),
            need_feedback: Some(self.config.need_feedback),
            writable: Some(self.config.writable),
            extra_stream_ids: rest.iter().map(|(_, key)| *key as i64).collect(),
        })
    }

    /// Takes a call out of those that wait, and its streams with it.
    pub(super) fn give_up(&mut self, id: i64, why: Code) -> bool {
        let Some(waiting) = self.calls.remove(&id) else { return false };
        self.deadlines.remove(&(waiting.until, id));
        for (id, _) in waiting.streams {
            if let Some(mut stream) = self.streams.get_mut(id) {
                stream.reset(why);
            }
        }
        true
    }

    pub(super) fn cancel(&mut self, id: CallId) -> Result<(), Refusal> {
        if self.give_up(id.0, Code(0)) { Ok(()) } else { Err(Refusal::Invalid("no such call waits")) }
    }

    pub(super) fn response(
        &mut self,
        cx: &mut Cx<'_, Self>,
        meta: RpcMeta,
        body: Bytes,
        attachment: Bytes,
    ) -> Result<Step<BrpcEvent>, BrpcViolation> {
        let id = meta.correlation_id.ok_or(BrpcViolation::Missing("correlation_id"))?;
        let remote: Vec<i64> = meta.stream_settings.iter().flat_map(StreamSettings::ids).collect();
        let Some(waiting) = self.calls.remove(&id) else {
            // Too late: what the server opened for it must not stay half open.
            for remote in remote {
                self.reject(cx, remote)?;
            }
            return Ok(Step::Progress);
        };
        self.deadlines.remove(&(waiting.until, id));
        let (accepted, opened) = (remote.len(), waiting.streams.len());
        let error = meta.response.clone().unwrap_or_default();
        let error_code = error.error_code.unwrap_or(0);
        let restored = restore(&meta, body, &attachment, self.config.max_body as usize);
        let good = error_code == 0 && restored.is_ok();
        let connected = if accepted > opened {
            Err(BrpcViolation::TooManyAccepted { accepted, opened })
        } else {
            self.connect(cx, &waiting, &remote, good, meta.stream_settings.as_ref())
        };
        if let Err(violation) = connected {
            // The session ends, and with it the call, which is among those that wait no more.
            self.failed.push_back((id, CallError::Lost));
            return Err(violation);
        }
        Ok(Step::Event(match restored {
            Ok(body) => BrpcEvent::Response(Box::new(Response {
                id: CallId(id),
                error_code,
                error_text: error.error_text.unwrap_or_default(),
                body,
                attachment,
                streams: if good { accepted } else { 0 },
                meta: Box::new(meta),
            })),
            Err(why) => BrpcEvent::CallFailed(CallId(id), CallError::Unreadable(why)),
        }))
    }

    /// The streams of a call that was answered: those that the server accepted begin, the others end.
    fn connect(
        &mut self,
        cx: &mut Cx<'_, Self>,
        waiting: &Waiting,
        remote: &[i64],
        good: bool,
        settings: Option<&StreamSettings>,
    ) -> Result<(), BrpcViolation> {
        let feedback = settings.and_then(|settings| settings.need_feedback).unwrap_or(false);
        let writable = settings.and_then(|settings| settings.writable).unwrap_or(false);
        for (n, (id, key)) in waiting.streams.iter().enumerate() {
            self.late.retain(|late| late != key);
            let Some(remote) = remote.get(n).copied() else {
                self.streams.peer_refused(*id);
                continue;
            };
            // A stream that we ended meanwhile is still named while its reset is due.
            let named = self.streams.lookup(*key) == Some(*id);
            match self.streams.get_mut(*id).filter(|_| named && good) {
                Some(mut stream) => {
                    if let Some(data) = stream.data_mut() {
                        data.id = Some(remote);
                        data.feedback = feedback;
                    }
                    if !writable {
                        self.streams.peer_takes_nothing(*id, Code(code::EBADF));
                    }
                    self.streams.accepted(*id);
                }
                None => {
                    self.streams.peer_refused(*id);
                    self.reject(cx, remote)?;
                }
            }
        }
        Ok(())
    }

    fn reject(&mut self, cx: &mut Cx<'_, Self>, remote: i64) -> Result<(), BrpcViolation> {
        self.unknown(cx, remote).map_err(|violation| BrpcViolation::Stream { stream: remote, violation })
    }

    pub(super) fn request(
        &mut self,
        cx: &mut Cx<'_, Self>,
        meta: RpcMeta,
        body: Bytes,
        attachment: Bytes,
    ) -> Result<Step<BrpcEvent>, BrpcViolation> {
        let settings = meta.stream_settings.as_ref();
        if settings.is_some_and(|settings| settings.stream_id.is_none()) {
            return Err(BrpcViolation::Missing("stream_settings.stream_id"));
        }
        let pending = Pending {
            correlation: meta.correlation_id,
            offered: settings.iter().flat_map(|settings| settings.ids()).collect(),
            feedback: settings.and_then(|settings| settings.need_feedback).unwrap_or(false),
            writable: settings.and_then(|settings| settings.writable).unwrap_or(false),
            accepted: Vec::new(),
            abandoned: false,
        };
        if self.draining {
            return self.turn_away(cx, &pending, code::ELOGOFF, "the server takes nothing up any more");
        }
        if self.requests.len() >= self.config.max_requests {
            return self.turn_away(cx, &pending, code::ELIMIT, "too many requests wait for their reply");
        }
        if pending.offered.len() > self.config.max_streams_per_call {
            return self.turn_away(cx, &pending, code::EREQUEST, "too many streams for one call");
        }
        let body = match restore(&meta, body, &attachment, self.config.max_body as usize) {
            Ok(body) => body,
            Err(why) => return self.turn_away(cx, &pending, code::EREQUEST, &why),
        };
        let id = self.next_request;
        self.next_request += 1;
        let streams = pending.offered.len();
        self.requests.insert(id, pending);
        let called = meta.request.clone().unwrap_or_default();
        let timeout = called.timeout_ms.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0);
        Ok(Step::Event(BrpcEvent::Request(Box::new(Request {
            id: RequestId(id),
            service: called.service_name,
            method: called.method_name,
            body,
            attachment,
            arrived: cx.now,
            timeout: timeout.map(Duration::from_millis),
            streams,
            meta: Box::new(meta),
        }))))
    }

    /// A request that the application does not hear of.
    fn turn_away(
        &mut self,
        cx: &mut Cx<'_, Self>,
        pending: &Pending,
        error_code: i32,
        text: &str,
    ) -> Result<Step<BrpcEvent>, BrpcViolation> {
        // Clients cannot know that there is too much to do, and an answer costs less than what was asked for would.
        if error_code == code::EREQUEST {
            let spent = self.streams.spend(cx.now, Abuse::Answers);
            spent.map_err(|violation| BrpcViolation::Stream { stream: super::INVALID, violation })?;
        }
        let bytes = answer(pending, &completed(pending, RpcMeta::default(), (error_code, text)), &[], &[]);
        cx.tx.control(bytes.len()).put_slice(&bytes);
        Ok(Step::Progress)
    }

    pub(super) fn reply(&mut self, cx: &mut Cx<'_, Self>, reply: &Reply) -> Result<(), Refusal> {
        let Some(pending) = self.requests.get(&reply.to.0).filter(|pending| !pending.abandoned) else {
            return Err(Refusal::Invalid("no such request waits for its reply"));
        };
        let body = reply.compression.compress(reply.body.clone()).map_err(Refusal::Invalid)?;
        let attachment_size = (!reply.attachment.is_empty()).then_some(reply.attachment.len() as i32);
        let mut meta = RpcMeta { attachment_size, ..RpcMeta::default() };
        describe(&mut meta, reply.compression, reply.checksum, &body);
        if reply.error_code == 0 {
            meta.stream_settings = self.settings(&pending.accepted);
        }
        let meta = completed(pending, meta, (reply.error_code, reply.error_text.as_str()));
        let bytes = answer(pending, &meta, &body, &reply.attachment);
        self.fits(&meta, bytes.len())?;
        cx.tx.message(bytes.len())?.put_bytes(bytes);
        self.replied(cx, reply.to, reply.error_code == 0);
        Ok(())
    }

    /// A request that nobody works on any more: it is answered as soon as there is room. Many may be given up at once,
    /// before a client that reads slowly: the control reserve is not for them.
    pub(super) fn abandon(&mut self, request: RequestId) {
        if let Some(pending) = self.requests.get_mut(&request.0).filter(|pending| !pending.abandoned) {
            pending.abandoned = true;
            self.abandoned.push_back(request);
        }
    }

    /// Answers what was given up, as far as there is room.
    pub(super) fn answer_abandoned(&mut self, cx: &mut Cx<'_, Self>) {
        let error = (code::EINTERNAL, "the handler ended without a reply");
        while let Some(request) = self.abandoned.front().copied() {
            if let Some(pending) = self.requests.get(&request.0) {
                let bytes = answer(pending, &completed(pending, RpcMeta::default(), error), &[], &[]);
                if cx.tx.room() >= bytes.len() {
                    if let Ok(mut out) = cx.tx.message(bytes.len()) {
                        out.put_bytes(bytes);
                    }
                } else if cx.tx.is_empty() {
                    // More room than this there will never be.
                    cx.tx.control(bytes.len()).put_slice(&bytes);
                } else {
                    return;
                }
                self.replied(cx, request, false);
            }
            self.abandoned.pop_front();
        }
    }

    /// A request has its reply: its streams begin, or end.
    fn replied(&mut self, cx: &mut Cx<'_, Self>, request: RequestId, well: bool) {
        let Some(pending) = self.requests.remove(&request.0) else { return };
        for ((id, key), remote) in pending.accepted.into_iter().zip(pending.offered) {
            if let Some(remote) = self.streams.get_mut(id).as_mut().and_then(|stream| stream.data_mut()) {
                remote.waits = false;
            }
            if !well {
                self.streams.peer_refused(id);
            } else if self.streams.lookup(key) == Some(id) {
                self.streams.accepted(id);
            } else {
                // It was given up before the reply that names it.
                put(cx, &Prefix::rst(remote));
            }
        }
    }
}

/// The meta of a reply, with what names its request and how it went.
fn completed(pending: &Pending, mut meta: RpcMeta, error: (i32, &str)) -> RpcMeta {
    meta.response =
        Some(RpcResponseMeta { error_code: Some(error.0), error_text: (!error.1.is_empty()).then(|| error.1.into()) });
    meta.correlation_id = pending.correlation;
    meta
}

/// The frame of a reply: inside a streaming frame if the request opened streams, whatever became of them.
fn answer(pending: &Pending, meta: &RpcMeta, body: &[u8], attachment: &[u8]) -> Bytes {
    let source = meta.stream_settings.as_ref().and_then(|settings| settings.stream_id);
    let inner = frame(meta, body, attachment);
    let Some(to) = pending.offered.first() else { return inner.freeze() };
    let prefix = Prefix::data(*to, source.unwrap_or(super::INVALID), false, inner.len());
    let mut out = BytesMut::with_capacity(prefix.as_slice().len() + inner.len());
    out.extend_from_slice(prefix.as_slice());
    out.extend_from_slice(&inner);
    out.freeze()
}
