//! The machine: a [`Protocol`] over the pure formats of `wire` and `handshake`.
//!
//! ```text
//!  opening ──head──▶ open: frames ─┬─▶ messages, whole or in parts
//!                                  ├─▶ pings, answered
//!                                  └─▶ Close, answered: the end
//! ```
//!
//! `opening` does the handshake, `decode` what comes in, `encode` what goes out, `control` pings and closes.

mod control;
mod decode;
mod encode;
mod keys;
mod opening;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use duologue_core::{
    Cause, CloseStep, Cx, EofAction, InPlace, NoTimers, Payload, Protocol, RecvBuf, Refusal, Refused, Step,
};

use crate::deflate::Deflate;
use crate::error::Violation;
use crate::handshake::{CheckedHandshake, ClientHandshake, DeflateParams, HandshakeError, Opened, ServerHandshake};
use crate::message::{Command, Event, Kind, Part, Role, SHARE, Text};
use crate::settings::Settings;
use crate::utf8::Utf8;
use crate::wire::{CloseCode, CloseFrame};
use control::Control;
use decode::{Frame, Message};
use keys::Keys;
use opening::Opening;

/// One side of a WebSocket conversation: the protocol of a [`Session`](duologue_core::Session).
///
/// Its closing follows RFC 6455 section 7. `close` with a code of 1000 to 4999 sends it; with any other number, 0 for
/// instance, the Close says 1000. `finish` sends Close(1000), then FIN, and goes on delivering what the peer still sends.
/// The end is told by [`Closed`](duologue_core::Closed), whose `PeerClose` carries the peer's code (1005 if there was
/// none); [`close_code`](Self::close_code) gives 1006 for every end without a Close from the peer.
///
/// **A client's seed must be unpredictable**: the masking keys and the handshake key come from the session's seed, through
/// ChaCha8, and masking protects proxies on the way only from who cannot guess the keys (RFC 6455 section 10.3). The
/// adapters seed from the operating system. Keys that were seen do not tell the next ones.
#[derive(Debug)]
pub struct WebSocket {
    role: Role,
    /// No frame and no message is under way, and messages are delivered whole: the short way is open.
    idle: bool,
    streaming: bool,
    strict: bool,
    close_sent: bool,
    /// The peer's Close was told; with the next step the conversation ends.
    closing: bool,
    /// Messages below this many bytes are sent the short way: no message is in parts, and nothing is compressed.
    short_below: u16,
    /// Payloads up to this many bytes come the short way.
    short: usize,
    frame: Option<Frame>,
    message: Option<Message>,
    sending: Option<Sending>,
    /// What was inflated or put together of the message under way.
    gathered: Vec<u8>,
    control: Control,
    keys: Keys,
    deflate: Option<Box<Deflate>>,
    opening: Option<Opening>,
    close_received: Option<Box<CloseFrame>>,
    reason: Option<Box<str>>,
    settings: Shared,
}

/// Settings alone, or with all that a server needs to open conversations.
#[derive(Clone, Debug)]
enum Shared {
    Own(Arc<Settings>),
    Server(Arc<ServerHandshake>),
}

impl Shared {
    #[inline]
    fn get(&self) -> &Settings {
        match self {
            Self::Own(settings) => settings,
            Self::Server(server) => &server.settings,
        }
    }
}

/// The message in parts that we are sending.
#[derive(Clone, Copy, Debug)]
struct Sending {
    kind: Kind,
    compressed: bool,
    utf8: Utf8,
}

/// An event, with the bytes that lie at the front of the receive buffer, or with its own.
enum Found {
    Opened(Box<Opened>),
    Close(CloseFrame),
    /// The first `len` bytes, unmasked and checked.
    Front {
        what: What,
        len: usize,
    },
    Own {
        what: What,
        data: Bytes,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Whole(Kind),
    Part { kind: Kind, first: bool, last: bool },
    Ping,
    Pong,
}

impl What {
    #[inline(always)]
    fn event<B>(self, data: B) -> Event<B> {
        match self {
            Self::Whole(Kind::Text) => Event::Text(text(data)),
            Self::Whole(Kind::Binary) => Event::Binary(data),
            Self::Part { kind, first, last } => Event::Part(Part { kind, first, last, data }),
            Self::Ping => Event::Ping(data),
            Self::Pong => Event::Pong(data),
        }
    }
}

#[inline]
fn text<B>(data: B) -> Text<B> {
    Text::checked(data)
}

impl WebSocket {
    /// A client that opens the conversation with this request.
    ///
    /// # Errors
    /// What cannot stand in a request.
    pub fn client(handshake: ClientHandshake) -> Result<Self, HandshakeError> {
        Ok(handshake.checked()?.into())
    }

    /// A server that waits for a request.
    #[must_use]
    pub fn server(handshake: impl Into<Arc<ServerHandshake>>) -> Self {
        Self::new(Role::Server, Shared::Server(handshake.into()), Some(Opening::server()))
    }

    /// One side of a stream that somebody else upgraded. There is no [`Event::Opened`]. Bytes that came behind the head
    /// belong into the session's receive buffer first.
    #[must_use]
    pub fn upgraded(role: Role, settings: impl Into<Arc<Settings>>, deflate: Option<DeflateParams>) -> Self {
        let mut socket = Self::new(role, Shared::Own(settings.into()), None);
        socket.open(deflate);
        socket
    }

    fn new(role: Role, settings: Shared, opening: Option<Opening>) -> Self {
        let Settings { limits, allow_long_lengths, streaming, .. } = *settings.get();
        let most = limits.max_frame.min(limits.max_message);
        Self {
            role,
            idle: false,
            streaming,
            strict: !allow_long_lengths,
            close_sent: false,
            closing: false,
            short_below: SHARE as u16,
            short: usize::try_from(most).unwrap_or(usize::MAX).min(limits.piece_len()),
            frame: None,
            message: None,
            sending: None,
            gathered: Vec::new(),
            control: Control::default(),
            keys: Keys::default(),
            deflate: None,
            opening,
            close_received: None,
            reason: None,
            settings,
        }
    }

    /// The role.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Whether messages are compressed on the way.
    #[must_use]
    pub const fn is_compressed(&self) -> bool {
        self.deflate.is_some()
    }

    /// The peer's Close, once it came.
    #[must_use]
    pub fn close_received(&self) -> Option<&CloseFrame> {
        self.close_received.as_deref()
    }

    /// The connection's close code (RFC 6455 section 7.1.5): the peer's, 1005 if its Close had none, 1006 if no Close
    /// came.
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        self.close_received.as_ref().map_or(CloseCode::ABNORMAL, |close| close.code)
    }

    /// The handshake is over.
    fn open(&mut self, deflate: Option<DeflateParams>) {
        let wanted = self.settings.get().deflate.unwrap_or_default();
        self.deflate = deflate.map(|params| Box::new(Deflate::new(self.role, params, &wanted)));
        self.opening = None;
        self.idle = !self.streaming;
        self.note_short();
    }

    /// To be called where `sending` or `deflate` changed.
    fn note_short(&mut self) {
        self.short_below = if self.sending.is_some() || self.deflate.is_some() { 0 } else { SHARE as u16 };
    }

    /// Bytes that are kept for compressing.
    #[cfg(all(test, feature = "deflate"))]
    pub(crate) fn deflater_keeps(&self) -> usize {
        self.deflate.as_ref().map_or(0, |deflate| deflate.deflater.keeps())
    }

    fn limits(&self) -> &crate::Limits {
        &self.settings.get().limits
    }
}

impl From<CheckedHandshake> for WebSocket {
    /// A client that opens the conversation with this request.
    fn from(checked: CheckedHandshake) -> Self {
        Self::new(Role::Client, Shared::Own(checked.settings), Some(Opening::client(checked.handshake)))
    }
}

impl Protocol for WebSocket {
    type Event = Event;
    type Command = Command;
    type Timer = NoTimers;
    type Violation = Violation;

    const TIMED: bool = false;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        match &mut self.opening {
            Some(opening) => opening.start(cx, &mut self.keys),
            None => cx.establish(),
        }
    }

    #[inline(always)]
    fn decode_short(&mut self, rx: &mut RecvBuf) -> Option<Event> {
        let short = self.short_way(rx)?;
        if short.kind == Kind::Binary {
            short.unmask(rx.as_mut_slice().get_mut(short.header..short.whole).unwrap_or_default());
            return Some(Event::Binary(rx.take_part(short.whole, short.header, short.whole)));
        }
        if !short.unmask_text(rx) {
            return None;
        }
        Some(Event::Text(text(rx.take_part(short.whole, short.header, short.whole))))
    }

    fn decode(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<Event>, Violation> {
        Ok(match self.long_way(cx, rx)? {
            Step::Event(Found::Front { what, len }) => Step::Event(what.event(rx.take(len))),
            Step::Event(Found::Own { what, data }) => Step::Event(what.event(data)),
            Step::Event(Found::Opened(opened)) => Step::Event(Event::Opened(opened)),
            Step::Event(Found::Close(close)) => Step::Event(Event::Close(close)),
            Step::NeedMore { hint } => Step::NeedMore { hint },
            Step::Progress => Step::Progress,
            Step::Close(code) => Step::Close(code),
        })
    }

    fn eof(&mut self, _cx: &mut Cx<'_, Self>, rest: &mut RecvBuf) -> Result<EofAction<Event>, Violation> {
        Ok(self.end_of_stream(rest))
    }

    #[inline(always)]
    fn command(&mut self, cx: &mut Cx<'_, Self>, command: Command) -> Result<(), Refused<Command>> {
        self.write(cx, &command).map_err(|why| Refused::new(command, why))
    }

    fn keepalive(&mut self, cx: &mut Cx<'_, Self>) -> bool {
        self.probe(cx);
        true
    }

    fn refill(&mut self, cx: &mut Cx<'_, Self>) {
        self.answer_owed(cx);
    }

    fn finish(&mut self, cx: &mut Cx<'_, Self>) {
        self.say_close(cx, CloseCode::NORMAL);
    }

    fn begin_close(&mut self, cx: &mut Cx<'_, Self>, cause: &Cause<Violation>) -> CloseStep {
        self.say_goodbye(cx, cause)
    }

    fn quiescent(&self) -> bool {
        !self.control.owes()
    }

    fn max_unit(&self) -> usize {
        self.limits().max_unit()
    }
}

impl InPlace for WebSocket {
    type View<'a> = Event<Payload<'a>>;
    type Reply<'a> = Command<Payload<'a>>;

    #[inline(always)]
    fn decode_short_in_place<'a>(&mut self, rx: &'a mut RecvBuf) -> Option<Event<Payload<'a>>> {
        let short = self.short_way(rx)?;
        if short.kind == Kind::Binary {
            let payload = rx.view_part_mut(short.whole, short.header, short.whole);
            short.unmask(payload);
            return Some(Event::Binary(Payload::Borrowed(payload)));
        }
        if !short.unmask_text(rx) {
            return None;
        }
        Some(Event::Text(text(Payload::Borrowed(rx.view_part(short.whole, short.header, short.whole)))))
    }

    fn decode_in_place<'a>(
        &mut self,
        cx: &mut Cx<'_, Self>,
        rx: &'a mut RecvBuf,
    ) -> Result<Step<Event<Payload<'a>>>, Violation> {
        Ok(match self.long_way(cx, rx)? {
            Step::Event(Found::Front { what, len }) => Step::Event(what.event(Payload::Borrowed(rx.view(len)))),
            Step::Event(Found::Own { what, data }) => Step::Event(what.event(Payload::Owned(data))),
            Step::Event(Found::Opened(opened)) => Step::Event(Event::Opened(opened)),
            Step::Event(Found::Close(close)) => Step::Event(Event::Close(close)),
            Step::NeedMore { hint } => Step::NeedMore { hint },
            Step::Progress => Step::Progress,
            Step::Close(code) => Step::Close(code),
        })
    }

    #[inline(always)]
    fn reply(&mut self, cx: &mut Cx<'_, Self>, reply: Command<Payload<'_>>) -> Result<(), Refusal> {
        self.write(cx, &reply)
    }
}

/// A close reason, as it is kept until it is needed.
fn keep_reason(text: &str) -> Option<Box<str>> {
    if text.is_empty() { None } else { Some(String::from(text).into_boxed_str()) }
}
