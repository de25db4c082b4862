//! What comes: headers, metas, segments.

use bytes::{Bytes, BytesMut};
use duologue_core::streams::{Abuse, StreamId, StreamSendState, StreamViolation};
use duologue_core::{Code, Cx, Payload, RecvBuf, Step};
use prost::Message;

use super::{Brpc, MAX_STREAM_META, PROBE, Role, Rx, put};
use crate::call::{BrpcEvent, code};
use crate::error::BrpcViolation;
use crate::meta::{RpcMeta, StreamFrameMeta};
use crate::wire::{FrameType, HEADER, Header, Magic, Prefix};

/// From this size on received payloads are shared and not copied.
const SHARED: usize = 4 << 10;

impl Brpc {
    pub(super) fn receive(
        &mut self,
        cx: &mut Cx<'_, Self>,
        rx: &mut RecvBuf,
    ) -> Result<Step<BrpcEvent>, BrpcViolation> {
        match &mut self.rx {
            Rx::Header => self.header(cx, rx),
            Rx::Data { left, .. } if rx.is_empty() => Ok(Step::NeedMore { hint: *left }),
            Rx::Data { id, key, ends, left } => {
                let (id, key, ends, n) = (*id, *key, *ends, (*left).min(rx.len()));
                *left -= n;
                let last = *left == 0;
                if last {
                    self.rx = Rx::Header;
                }
                self.data(cx, rx, id, key, n, ends && last)?;
                Ok(Step::Progress)
            }
            Rx::Call { left, .. } if rx.is_empty() && *left > 0 => {
                cx.message_under_way();
                Ok(Step::NeedMore { hint: *left })
            }
            Rx::Call { header, left, bytes } => {
                let n = (*left).min(rx.len());
                *left -= n;
                let whole = *left == 0;
                let frame = if whole && bytes.is_empty() {
                    rx.take(n)
                } else {
                    bytes.extend_from_slice(rx.view(n));
                    if !whole {
                        cx.message_under_way();
                        return Ok(Step::Progress);
                    }
                    core::mem::take(bytes).freeze()
                };
                let header = *header;
                self.rx = Rx::Header;
                match header {
                    Some(header) => self.call_frame(cx, header, frame),
                    None => self.wrapped(cx, frame),
                }
            }
        }
    }

    fn header(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<BrpcEvent>, BrpcViolation> {
        let Some(bytes) = rx.first_chunk::<HEADER>() else {
            return Ok(Step::NeedMore { hint: HEADER.saturating_sub(rx.len()) });
        };
        let header = Header::decode(bytes)?;
        if header.body > self.config.max_body {
            return Err(BrpcViolation::TooLarge { body: header.body, limit: self.config.max_body });
        }
        let most = match header.magic {
            Magic::Rpc => self.config.max_meta,
            Magic::Stream => MAX_STREAM_META as u32,
        };
        if header.meta > most {
            return Err(BrpcViolation::MetaTooLarge { meta: header.meta, limit: most });
        }
        if header.magic == Magic::Rpc {
            rx.advance(HEADER);
            cx.message_under_way();
            self.rx = Rx::Call { header: Some(header), left: header.body as usize, bytes: BytesMut::new() };
            return Ok(Step::Progress);
        }
        let meta = header.meta as usize;
        let Some(bytes) = rx.get(HEADER..HEADER + meta) else {
            return Ok(Step::NeedMore { hint: (HEADER + meta).saturating_sub(rx.len()) });
        };
        let frame = StreamFrameMeta::decode(bytes).map_err(|_| BrpcViolation::Meta)?;
        rx.advance(HEADER + meta);
        self.stream_frame(cx, &frame, header.payload())?;
        Ok(Step::Progress)
    }

    fn stream_frame(
        &mut self,
        cx: &mut Cx<'_, Self>,
        frame: &StreamFrameMeta,
        payload: usize,
    ) -> Result<(), BrpcViolation> {
        let key = frame.stream_id.ok_or(BrpcViolation::Missing("stream_id"))?;
        let violated = |violation| BrpcViolation::Stream { stream: key, violation };
        let kind = frame.frame_type.unwrap_or(0);
        let kind = FrameType::from_wire(kind).ok_or(BrpcViolation::FrameType(kind, key));
        let found = self.streams.lookup(key as u64);
        let mut stream = found.and_then(|id| self.streams.get_mut(id));
        let (answers_call, is_known) = match stream.as_mut().and_then(|stream| stream.data_mut()) {
            Some(remote) => (
                remote.id.is_none() && !remote.answered,
                // What waits for its call, or was closed by the peer, is as unknown to the peer as what never was.
                remote.id.is_some() && !remote.closed && !remote.waits,
            ),
            None => (self.late.contains(&(key as u64)), false),
        };
        if answers_call && self.role == Role::Client && kind == Ok(FrameType::Data) {
            // It comes once: what follows is data, of a server that does not know yet.
            self.answered(found, key as u64);
            self.rx = Rx::Call { header: None, left: payload, bytes: BytesMut::new() };
            return Ok(());
        }
        let known = found.filter(|_| is_known);
        if payload > 0 {
            let ends = frame.has_continuation != Some(true);
            self.rx = Rx::Data { id: known.filter(|_| kind == Ok(FrameType::Data)), key, ends, left: payload };
        }
        let Some(id) = known else {
            return match (kind, frame.source_stream_id) {
                // Whatever it means, it is not answered: the peer may have sent it before it knew.
                (Ok(FrameType::Rst | FrameType::Feedback), _) | (_, None) => {
                    // The answer to a probe is what we asked for, and the peer may consume a whole window of a stream that
                    // we reset, message by message, before it hears of that.
                    let ours = key == PROBE || (key as u64) < self.next_key;
                    if ours { Ok(()) } else { self.streams.spend(cx.now, Abuse::Empty).map_err(violated) }
                }
                (_, Some(source)) => self.unknown(cx, source).map_err(violated),
            };
        };
        match kind? {
            FrameType::Data if payload == 0 => {
                let ends = frame.has_continuation != Some(true);
                let received = self.streams.received(cx.now, id, Payload::Borrowed(&[]), ends);
                self.taken(id, 0, ends, received).map_err(violated)
            }
            FrameType::Data => Ok(()),
            FrameType::Feedback => {
                let told = frame.feedback.and_then(|feedback| feedback.consumed_size).unwrap_or(0);
                self.streams.consumed(cx.now, id, told as u64).map_err(violated)
            }
            FrameType::Close => self.closed(id).map_err(violated),
            FrameType::Rst => {
                // An RST is never answered.
                self.streams.peer_reset(cx.now, id, Code(code::ECONNRESET)).map_err(violated)
            }
        }
    }

    /// No answer to its call comes to this stream any more.
    pub(super) fn answered(&mut self, stream: Option<StreamId>, key: u64) {
        self.late.retain(|late| *late != key);
        if let Some(remote) = stream.and_then(|id| self.streams.get_mut(id)).as_mut().and_then(|s| s.data_mut()) {
            remote.answered = true;
        }
    }

    /// A frame for a stream that is not known here: its sender is told, but not without bounds.
    pub(super) fn unknown(&mut self, cx: &mut Cx<'_, Self>, source: i64) -> Result<(), StreamViolation> {
        self.streams.spend(cx.now, Abuse::Provoked)?;
        put(cx, &Prefix::rst(source));
        Ok(())
    }

    /// The peer's CLOSE: nothing that we still send would be taken, and our CLOSE answers it, unless it was first.
    fn closed(&mut self, id: StreamId) -> Result<(), StreamViolation> {
        if let Some(mut stream) = self.streams.get_mut(id) {
            let mut waited = None;
            if let Some(remote) = stream.data_mut() {
                remote.closed = true;
                waited = remote.closing.take();
            }
            // It was waited for; what was not read yet may wait as long as the application says.
            if let Some(closing) = waited.filter(|closing| stream.deadline() == Some(closing.by)) {
                stream.set_deadline(closing.own);
            }
            if stream.states().1 != StreamSendState::Finished {
                self.streams.peer_stopped(id, Code(0));
            }
        }
        self.streams.peer_finished(id)
    }

    /// Bytes of a segment, as they come.
    fn data(
        &mut self,
        cx: &mut Cx<'_, Self>,
        rx: &mut RecvBuf,
        id: Option<StreamId>,
        key: i64,
        n: usize,
        ends: bool,
    ) -> Result<(), BrpcViolation> {
        let Some(id) = id else {
            rx.advance(n);
            return Ok(());
        };
        let received = if n >= SHARED {
            let bytes = rx.take(n);
            self.streams.received(cx.now, id, Payload::Owned(bytes), ends)
        } else {
            self.streams.received(cx.now, id, Payload::Borrowed(rx.view(n)), ends)
        };
        self.taken(id, n, ends, received).map_err(|violation| BrpcViolation::Stream { stream: key, violation })
    }

    /// Keeps the length of the message, and resets a stream that goes beyond what we keep of it: its sender could not
    /// know our bounds, and the other streams have no part in it.
    fn taken(
        &mut self,
        id: StreamId,
        n: usize,
        ends: bool,
        received: Result<(), StreamViolation>,
    ) -> Result<(), StreamViolation> {
        let limit = self.config.max_message as usize;
        let Some(mut stream) = self.streams.get_mut(id) else { return received };
        let mut length = 0;
        if let Some(remote) = stream.data_mut() {
            remote.message += n;
            length = remote.message;
            if ends {
                remote.message = 0;
            }
        }
        match received {
            Err(StreamViolation::Overrun { .. } | StreamViolation::TooManyPieces { .. }) => {}
            Err(other) => return Err(other),
            Ok(()) if length > limit => {}
            Ok(()) => return Ok(()),
        }
        stream.reset(Code(code::EOVERCROWDED as u32));
        Ok(())
    }

    /// A response inside a streaming frame.
    fn wrapped(&mut self, cx: &mut Cx<'_, Self>, mut frame: Bytes) -> Result<Step<BrpcEvent>, BrpcViolation> {
        let bytes = frame.first_chunk::<HEADER>().ok_or(BrpcViolation::NotAResponse)?;
        let header = Header::decode(bytes)?;
        if header.magic != Magic::Rpc || header.body as usize != frame.len() - HEADER {
            return Err(BrpcViolation::NotAResponse);
        }
        if header.meta > self.config.max_meta {
            return Err(BrpcViolation::MetaTooLarge { meta: header.meta, limit: self.config.max_meta });
        }
        let _ = frame.split_to(HEADER);
        self.call_frame(cx, header, frame)
    }

    fn call_frame(
        &mut self,
        cx: &mut Cx<'_, Self>,
        header: Header,
        mut frame: Bytes,
    ) -> Result<Step<BrpcEvent>, BrpcViolation> {
        let meta = frame.split_to((header.meta as usize).min(frame.len()));
        let meta = RpcMeta::decode(meta).map_err(|_| BrpcViolation::Meta)?;
        let attachment = meta.attachment_size.unwrap_or(0);
        let body = usize::try_from(attachment).ok().and_then(|n| frame.len().checked_sub(n));
        let Some(body) = body else {
            return Err(BrpcViolation::Attachment { attachment, payload: frame.len() });
        };
        let attachment = frame.split_off(body);
        match self.role {
            Role::Client if meta.request.is_none() => self.response(cx, meta, frame, attachment),
            Role::Server if meta.request.is_some() => self.request(cx, meta, frame, attachment),
            _ => Err(BrpcViolation::WrongSide),
        }
    }
}
