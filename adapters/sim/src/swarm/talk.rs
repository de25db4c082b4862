//! An application that sends numbered messages, checks those that it gets, and ends in its own way.

use std::time::Duration;

use bytes::Bytes;
use duologue_core::{CloseIntent, Code, Event, InPlace, Protocol, Rng, SendError};

use crate::{App, Io};

/// How a talker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Half-closes after its last message.
    Finish,
    /// Closes after its last message.
    Close,
    /// Closes without waiting for an answer.
    Flush,
    /// Resets after its last message.
    Abort,
    /// Does nothing: the peer, or a time-out, ends it.
    Nothing,
}

/// What a talker does.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Of its own stream, and of the one that it expects.
    pub seeds: [u64; 2],
    /// Messages to send.
    pub messages: u32,
    /// The longest of them, in bytes.
    pub longest: u64,
    /// The longest of those that it expects.
    pub expects: u64,
    /// Between two messages.
    pub gap: Option<Duration>,
    /// How long it is busy with each message that it gets.
    pub busy: Option<Duration>,
    /// Wants nothing more from the peer after this many messages.
    pub deaf_after: Option<u32>,
    /// How it ends.
    pub ending: Ending,
}

/// The content of a message: its number and text that no other stream has.
#[must_use]
pub fn message(stream: u64, number: u32, longest: u64) -> Bytes {
    let mut rng = Rng::new(stream ^ (u64::from(number) << 32));
    let length = rng.below(longest.max(1));
    let mut text = format!("{number:08x}").into_bytes();
    text.extend((0..length).map(|_| b'a' + rng.below(26) as u8));
    Bytes::from(text)
}

/// The application.
#[derive(Debug)]
pub struct Talker {
    /// Its plan.
    pub plan: Plan,
    /// Messages that the session accepted.
    pub accepted: u32,
    /// Messages that it got, each as it should be.
    pub got: u32,
    /// The peer finished.
    pub peer_finished: bool,
    /// The first thing that was not as it should be.
    pub wrong: Option<String>,
    ended: bool,
    closed: bool,
    deaf: bool,
}

impl Talker {
    /// One with this plan.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self { plan, accepted: 0, got: 0, peer_finished: false, wrong: None, ended: false, closed: false, deaf: false }
    }

    fn check(&mut self, payload: &[u8]) {
        if self.peer_finished || self.closed {
            self.wrong.get_or_insert("a message after the end".into());
        }
        let expected = message(self.plan.seeds[1], self.got, self.plan.expects);
        if payload != expected {
            let text =
                format!("message {}: expected {expected:?}, got {:?}", self.got, Bytes::copy_from_slice(payload));
            self.wrong.get_or_insert(text);
        }
        self.got += 1;
    }

    fn talk<P: Protocol<Command = Bytes>>(&mut self, io: &mut Io<'_, P>) {
        while self.accepted < self.plan.messages {
            match io.send(message(self.plan.seeds[0], self.accepted, self.plan.longest)) {
                Ok(()) => self.accepted += 1,
                // Writable comes, or nothing is to be done.
                Err(SendError::Full { .. } | SendError::NotOpen { .. }) => return,
                Err(SendError::Finished { .. } | SendError::Closed { .. }) => return,
                Err(error) => {
                    self.wrong.get_or_insert(error.to_string());
                    return;
                }
            }
            if let Some(gap) = self.plan.gap {
                let at = io.now().after(gap);
                return io.wake_at(at);
            }
        }
        self.end(io);
    }

    fn end<P: Protocol<Command = Bytes>>(&mut self, io: &mut Io<'_, P>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        match self.plan.ending {
            Ending::Finish => io.finish(),
            Ending::Close => io.close(CloseIntent::Goodbye(Code(1))),
            Ending::Flush => io.close(CloseIntent::Flush(Code(2))),
            Ending::Abort => io.abort(Code(3)),
            Ending::Nothing => {}
        }
        if self.plan.ending == Ending::Nothing {
            return;
        }
        let late = io.send(Bytes::from_static(b"late"));
        if !matches!(late, Err(SendError::Finished { .. } | SendError::Closed { .. })) {
            self.wrong.get_or_insert(format!("a message after the end was not refused as such: {late:?}"));
        }
    }

    fn took<P: Protocol<Command = Bytes>>(&mut self, io: &mut Io<'_, P>) {
        if let Some(busy) = self.plan.busy {
            let at = io.now().after(busy);
            io.pause_until(at);
        }
        if self.plan.deaf_after.is_some_and(|after| self.got >= after) && !std::mem::replace(&mut self.deaf, true) {
            io.shutdown_read();
        }
    }
}

impl<P: Protocol<Event = Bytes, Command = Bytes>> App<P> for Talker {
    fn on_start(&mut self, io: &mut Io<'_, P>) {
        self.talk(io);
    }

    fn on_event(&mut self, io: &mut Io<'_, P>, event: Event<Bytes, P::Violation>) {
        match event {
            Event::App(payload) => {
                self.check(&payload);
                self.took(io);
            }
            Event::Writable => self.talk(io),
            Event::PeerFinished => self.peer_finished = true,
            Event::Closed(_) => self.closed = true,
        }
    }

    fn on_alarm(&mut self, io: &mut Io<'_, P>) {
        self.talk(io);
    }
}

/// A talker that takes its messages in place.
#[derive(Debug)]
pub struct InPlaceTalker(pub Talker);

impl<P> App<P> for InPlaceTalker
where
    P: Protocol<Event = Bytes, Command = Bytes> + for<'a> InPlace<View<'a> = &'a [u8]>,
{
    fn on_start(&mut self, io: &mut Io<'_, P>) {
        App::<P>::on_start(&mut self.0, io);
    }

    fn on_event(&mut self, io: &mut Io<'_, P>, event: Event<Bytes, P::Violation>) {
        self.0.on_event(io, event);
    }

    fn on_messages(&mut self, io: &mut Io<'_, P>) -> usize {
        let handled = io.handle(0, 1, |view, _| self.0.check(view));
        if handled > 0 {
            self.0.took(io);
        }
        handled
    }

    fn on_alarm(&mut self, io: &mut Io<'_, P>) {
        App::<P>::on_alarm(&mut self.0, io);
    }
}

/// The talker inside an application.
pub trait AsTalker {
    /// A new one.
    fn of(plan: Plan) -> Self;
    /// The talker.
    fn talker(&self) -> &Talker;
}

impl AsTalker for Talker {
    fn of(plan: Plan) -> Self {
        Self::new(plan)
    }
    fn talker(&self) -> &Talker {
        self
    }
}

impl AsTalker for InPlaceTalker {
    fn of(plan: Plan) -> Self {
        Self(Talker::new(plan))
    }
    fn talker(&self) -> &Talker {
        &self.0
    }
}
