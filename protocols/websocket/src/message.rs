//! What an application receives and sends.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use bytes::Bytes;
use duologue_core::Payload;

use crate::handshake::Opened;
use crate::utf8::is_utf8;
use crate::wire::CloseFrame;

/// Which side of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The side that asked for the upgrade; it masks what it sends.
    Client,
    /// The side that granted it.
    Server,
}

/// What a message consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// Bytes that are UTF-8: checked as they came in, or made from a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct Text<B = Bytes>(B);

impl<B: AsBytes> Text<B> {
    /// Checks that the bytes are UTF-8; otherwise they come back.
    ///
    /// # Errors
    /// The bytes, unchanged.
    pub fn new(bytes: B) -> Result<Self, B> {
        if is_utf8(bytes.as_bytes()) { Ok(Self(bytes)) } else { Err(bytes) }
    }

    /// The text. It is looked through once more, because that is what a `&str` costs without `unsafe`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        simdutf8::basic::from_utf8(self.0.as_bytes()).unwrap_or_default()
    }

    /// The bytes of the text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The bytes, as they are held.
    #[must_use]
    pub fn into_inner(self) -> B {
        self.0
    }

    pub(crate) const fn inner(&self) -> &B {
        &self.0
    }
}

impl<B> Text<B> {
    /// Without looking: the bytes were checked as they came.
    #[inline]
    pub(crate) const fn checked(bytes: B) -> Self {
        Self(bytes)
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl<'a> Text<Payload<'a>> {
    /// A text to answer with, borrowed.
    #[must_use]
    pub const fn borrowed(text: &'a str) -> Self {
        Self(Payload::Borrowed(text.as_bytes()))
    }
}

impl<B: AsBytes> fmt::Display for Text<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What holds bytes: [`Bytes`] in owned events and commands, [`Payload`] in those that are handled in place.
pub trait AsBytes {
    /// The bytes.
    fn as_bytes(&self) -> &[u8];

    /// The bytes for the send queue: shared if they are many and can be, borrowed if not.
    fn payload(&self) -> Payload<'_>;
}

/// Below this many bytes copying costs less than counting who shares them.
pub(crate) const SHARE: usize = 1 << 10;

impl AsBytes for Bytes {
    #[inline]
    fn as_bytes(&self) -> &[u8] {
        self
    }

    #[inline]
    fn payload(&self) -> Payload<'_> {
        if self.len() < SHARE { Payload::Borrowed(self) } else { Payload::Owned(self.clone()) }
    }
}

impl AsBytes for Payload<'_> {
    #[inline]
    fn as_bytes(&self) -> &[u8] {
        self.as_slice()
    }

    #[inline]
    fn payload(&self) -> Payload<'_> {
        match self {
            Self::Borrowed(bytes) => Payload::Borrowed(bytes),
            Self::Owned(bytes) => bytes.payload(),
        }
    }
}

/// What a WebSocket brings its application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<B = Bytes> {
    /// The opening is over, with what was asked for and agreed on. The first event, unless the protocol was made for a
    /// stream that somebody else upgraded.
    Opened(Box<Opened>),
    /// A text message.
    Text(Text<B>),
    /// A binary message.
    Binary(B),
    /// A part of a message, while [`Settings::streaming`](crate::Settings::streaming).
    Part(Part<B>),
    /// A ping, already answered; only with [`Settings::control_events`](crate::Settings::control_events).
    Ping(B),
    /// A pong; only with [`Settings::control_events`](crate::Settings::control_events).
    Pong(B),
    /// The peer's Close: the last event of the conversation. Unless we said Close before, messages can still be sent
    /// until it is taken; then it is answered.
    Close(CloseFrame),
}

/// What an application sends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<B = Bytes> {
    /// A text message.
    Text(Text<B>),
    /// A binary message.
    Binary(B),
    /// A part of a message, as a frame of its own. Between the first part and the last no other message can be sent.
    Part(Part<B>),
    /// A ping of at most 125 bytes.
    Ping(B),
    /// A pong that nobody asked for, of at most 125 bytes: a sign of life in one direction (RFC 6455 section 5.5.3).
    Pong(B),
    /// Says nothing now: the reason that a later close will give, cut to 123 bytes.
    CloseReason(Text<B>),
}

impl Command {
    /// A text message.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Text::from(text.into()))
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }
}

/// A part of a message.
///
/// Received: the kind is that of the message, text is checked over the parts and may be cut inside a character. Where a
/// message is cut does not depend on how it arrived, only on its frames and on [`Limits::piece`](crate::Limits::piece).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<B = Bytes> {
    /// What the message consists of.
    pub kind: Kind,
    /// The first part of its message.
    pub first: bool,
    /// The last part of its message.
    pub last: bool,
    /// The bytes, possibly none.
    pub data: B,
}
