//! The timers of both sides.

use duologue_core::{Instant, TimeoutReason, TimerSet};

/// The timers of [`Server`](crate::Server) and [`Client`](crate::Client). A server that does not answer ends a client's
/// session with [`TimeoutReason::Request`]; the other reasons are named at the variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Server: a request head, from its first byte; the first one from the connection (`request-head`).
    Head,
    /// The content of a request or response, or what is left of a request after its answer (`body`).
    Body,
    /// Server: the next request (`keep-alive`).
    Idle,
    /// Server: the application's answer (`response`).
    Answer,
    /// Client: the response's head, from the end of the request.
    Response,
    /// Client: 100 (Continue); it ends nothing (`expect-continue`).
    Expect,
}

impl TimerSet for Timer {
    type Slots = [Option<Instant>; 6];
    const ALL: &'static [Self] = &[Self::Head, Self::Body, Self::Idle, Self::Answer, Self::Response, Self::Expect];

    fn index(self) -> usize {
        self as usize
    }

    fn reason(self) -> TimeoutReason {
        TimeoutReason::Protocol(match self {
            Self::Head => HEAD,
            Self::Body => BODY,
            Self::Idle => "keep-alive",
            Self::Answer => ANSWER,
            Self::Response => return TimeoutReason::Request,
            Self::Expect => "expect-continue",
        })
    }
}

pub(crate) const HEAD: &str = "request-head";
pub(crate) const BODY: &str = "body";
pub(crate) const ANSWER: &str = "response";
