//! A heartbeat for framed protocols: say something when we were silent, expect something from the peer.

use core::time::Duration;

use bytes::Bytes;

use super::{Framed, Framing};
use crate::protocol::Cx;
use crate::time::{Instant, TimeoutReason};
use crate::timers::TimerSet;

/// When to send a frame of our own accord, and how long the peer may be silent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    payload: Bytes,
    send_after: Option<Duration>,
    expect_within: Option<Duration>,
    deliver: bool,
}

impl Heartbeat {
    /// A heartbeat frame with this payload. Received frames with the same payload are taken for heartbeats and not
    /// delivered. Nothing is sent or expected until the times are set.
    #[must_use]
    pub const fn new(payload: Bytes) -> Self {
        Self { payload, send_after: None, expect_within: None, deliver: false }
    }

    /// Sends the heartbeat when nothing was transmitted for this long, at least a millisecond.
    #[must_use]
    pub fn send_after(mut self, silence: Duration) -> Self {
        self.send_after = Some(silence.max(Duration::from_millis(1)));
        self
    }

    /// Takes the peer for dead when nothing was received for this long: the session ends with
    /// [`TimeoutReason::KeepaliveReply`].
    #[must_use]
    pub const fn expect_within(mut self, silence: Duration) -> Self {
        self.expect_within = Some(silence);
        self
    }

    /// Delivers received heartbeats to the application as well.
    #[must_use]
    pub const fn deliver(mut self) -> Self {
        self.deliver = true;
        self
    }

    #[inline]
    pub(super) fn swallows(&self, payload: &[u8]) -> bool {
        !self.deliver && self.payload == payload
    }

    pub(super) fn start<F: Framing>(&self, cx: &mut Cx<'_, Framed<F>>) {
        if let Some(wait) = self.send_after {
            cx.timers.set(HeartbeatTimer::Send, cx.after(wait));
        }
        if let Some(wait) = self.expect_within {
            cx.timers.set(HeartbeatTimer::Expect, cx.after(wait));
        }
    }

    /// A timer came: the payload to send, if one is due. Traffic does not touch the timers; they look back when
    /// they come, and wait for the rest of their time.
    pub(super) fn due<F: Framing>(
        &self,
        cx: &mut Cx<'_, Framed<F>>,
        timer: HeartbeatTimer,
    ) -> Result<Option<Bytes>, TimeoutReason> {
        match (timer, self.send_after, self.expect_within) {
            (HeartbeatTimer::Send, Some(wait), _) => {
                let due = cx.last_transmitted().after(wait);
                // What is queued already will tell the peer as much as a heartbeat could.
                let beat = due <= cx.now && cx.tx.is_empty();
                cx.timers.set(timer, if due <= cx.now { cx.after(wait) } else { due });
                Ok(beat.then(|| self.payload.clone()))
            }
            (HeartbeatTimer::Expect, _, Some(wait)) => {
                let due = if cx.is_listening() { cx.last_received().after(wait) } else { cx.after(wait) };
                if due <= cx.now {
                    return Err(TimeoutReason::KeepaliveReply);
                }
                cx.timers.set(timer, due);
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}

/// The timers of a [`Heartbeat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatTimer {
    /// We were silent.
    Send,
    /// The peer was silent.
    Expect,
}

impl TimerSet for HeartbeatTimer {
    type Slots = [Option<Instant>; 2];
    const ALL: &'static [Self] = &[Self::Send, Self::Expect];

    fn index(self) -> usize {
        self as usize
    }

    fn reason(self) -> TimeoutReason {
        match self {
            Self::Send => TimeoutReason::KeepaliveSend,
            Self::Expect => TimeoutReason::KeepaliveReply,
        }
    }
}
