//! What a user of the kit says about a protocol.

use duologue_core::{Code, Config, Protocol, Rng, Session};

/// Which side of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The side that connects.
    Client,
    /// The side that was connected to.
    Server,
}

impl Role {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Client, Self::Server];

    /// The side with this index, 0 or 1.
    pub(crate) const fn of(index: usize) -> Self {
        if index == 0 { Self::Client } else { Self::Server }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Client => 0,
            Self::Server => 1,
        }
    }

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// The role's name, as scripts print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// The event type of a subject's protocol.
pub type EventOf<S> = <<S as Subject>::Protocol as Protocol>::Event;
/// The command type of a subject's protocol.
pub type CommandOf<S> = <<S as Subject>::Protocol as Protocol>::Command;
/// The violation type of a subject's protocol.
pub type ViolationOf<S> = <<S as Subject>::Protocol as Protocol>::Violation;

/// A protocol under test, with its traffic and an independent decoder.
///
/// ```
/// use duologue_laws::{check, subjects::Lines};
///
/// let report = check(&Lines, 7, 100).unwrap_or_else(|failure| panic!("{failure}"));
/// assert!(report.steps > 0);
/// ```
pub trait Subject {
    /// The protocol.
    type Protocol: Protocol<Event: Clone + PartialEq + core::fmt::Debug, Command: Clone + PartialEq + core::fmt::Debug>;

    /// A name for reports.
    fn name(&self) -> &'static str;

    /// How many configurations there are; a run takes each of them in turn.
    fn variants(&self) -> usize {
        1
    }

    /// The protocol of one side.
    fn protocol(&self, role: Role, variant: usize) -> Self::Protocol;

    /// The configuration of one side.
    fn config(&self, role: Role, variant: usize) -> Config {
        let _ = (role, variant);
        Config::new()
    }

    /// Whether a session left alone by its peer ends by itself, with all time-outs set. One that only sends
    /// heartbeats, and expects none, is never idle.
    fn ends_when_left_alone(&self, variant: usize) -> bool {
        let _ = variant;
        true
    }

    /// A random command. Some should be too large, and some impossible to express.
    fn command(&self, role: Role, rng: &mut Rng) -> CommandOf<Self>;

    /// What the other side sees of an accepted command; `None` if nothing.
    fn event_for(&self, command: &CommandOf<Self>) -> Option<EventOf<Self>>;

    /// As [`event_for`](Self::event_for), for commands that the other side sees as several events.
    fn events_for(&self, command: &CommandOf<Self>) -> Vec<EventOf<Self>> {
        self.event_for(command).into_iter().collect()
    }

    /// The parts of an event that the reference decoder knows: a piece of a stream may be cut anywhere, so what is
    /// compared is its bytes.
    fn atoms(&self, event: EventOf<Self>) -> Vec<EventOf<Self>> {
        vec![event]
    }

    /// The code with which the protocol ends a session by its own rules ([`Cx::close`](duologue_core::Cx::close)).
    fn own_close(&self) -> Option<Code> {
        None
    }

    /// Whether an event that the peer caused was caused by a command, and not by the protocol itself.
    fn is_from_command(&self, event: &EventOf<Self>) -> bool {
        let _ = event;
        true
    }

    /// Whether an event was made by a timer and not by the peer.
    fn is_from_timer(&self, event: &EventOf<Self>) -> bool {
        let _ = event;
        false
    }

    /// Decodes everything that `receiver` was sent so far, written without the code under test.
    fn reference(&self, receiver: Role, variant: usize, bytes: &[u8]) -> Reference<EventOf<Self>>;

    /// As [`reference`](Self::reference), where what the receiver itself said so far decides what the bytes mean: whether
    /// a response was asked for, whether a further request is looked at.
    fn reference_after(
        &self,
        receiver: Role,
        variant: usize,
        accepted: &[CommandOf<Self>],
        bytes: &[u8],
    ) -> Reference<EventOf<Self>> {
        let _ = accepted;
        self.reference(receiver, variant, bytes)
    }

    /// Decodes everything that `sender` transmitted so far. It differs from [`reference`](Self::reference) of the other
    /// side where one may say what ends the other: a refusal of the opening.
    fn written(&self, sender: Role, variant: usize, bytes: &[u8]) -> Reference<EventOf<Self>> {
        self.reference(sender.other(), variant, bytes)
    }

    /// Whether an event asks its receiver for something new: what a drain does not take up any more.
    fn begins(&self, event: &EventOf<Self>) -> bool {
        let _ = event;
        false
    }

    /// What is wrong with how a side of the role ended that was drained and then ended by its protocol's own rules
    /// ([`own_close`](Self::own_close)).
    ///
    /// # Errors
    /// What is wrong.
    fn drained(&self, role: Role, drained: &Drained<'_, EventOf<Self>>) -> Result<(), String> {
        let _ = (role, drained);
        Ok(())
    }

    /// Valid bytes for `receiver` that a hostile peer would repeat for ever.
    fn flood(&self, receiver: Role, rng: &mut Rng) -> Vec<u8>;

    /// Under in-place delivery: hands up to `budget` messages over as events into `out`, answering each with
    /// `reply` where there is one. The kit checks what comes out as it checks events. An answer that was accepted
    /// is pushed into `replied`.
    fn handle(&self, session: &mut Session<Self::Protocol>, handling: &mut Handling<'_, Self>)
    where
        Self: Sized,
    {
        let _ = (session, handling);
    }
}

/// What was seen of a side that was drained.
#[derive(Debug)]
pub struct Drained<'a, E> {
    /// All that its application was told.
    pub delivered: &'a [E],
    /// All that it said, as the peer sees it.
    pub sent: &'a [(usize, E)],
    /// How much of `sent` had been accepted when it was drained.
    pub sent_before: usize,
    /// The bytes.
    pub transmitted: &'a [u8],
}

/// One call of [`Subject::handle`].
#[derive(Debug)]
pub struct Handling<'a, S: Subject + ?Sized> {
    /// The time.
    pub now: duologue_core::Instant,
    /// `reply_room` of [`Session::handle`].
    pub room: usize,
    /// The most messages.
    pub budget: usize,
    /// What to answer each message with.
    pub reply: Option<CommandOf<S>>,
    /// Messages handled.
    pub out: &'a mut Vec<EventOf<S>>,
    /// Accepted answers.
    pub replied: &'a mut Vec<CommandOf<S>>,
    /// The room that the first answer refused for want of it needed.
    pub refused: &'a mut Option<usize>,
}

/// What an independent decoder makes of a stream's beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference<E> {
    /// The messages for the application, each with the offset of its last byte + 1.
    pub events: Vec<(usize, E)>,
    /// Offsets at which a frame of any kind ends.
    pub boundaries: Vec<usize>,
    /// How many whole frames carry an accepted command.
    pub messages: u64,
    /// The stream broke the protocol at this offset or earlier.
    pub violated: bool,
    /// The peer said goodbye; nothing after it counts.
    pub closed: Option<Code>,
    /// The rest, or its violation, waits for a command of the receiver's.
    pub awaits_command: bool,
    /// What the rest, from the last boundary on, is if the stream ends here.
    pub rest: End<E>,
}

/// What the end of a stream would mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<E> {
    /// It ends between frames.
    Clean,
    /// The rest is the last message.
    Final(E),
    /// It ends inside a frame.
    Truncated,
    /// It may not end like this.
    Violation,
}

impl<E> Default for Reference<E> {
    fn default() -> Self {
        Self {
            events: Vec::new(),
            boundaries: vec![0],
            messages: 0,
            violated: false,
            closed: None,
            awaits_command: false,
            rest: End::Clean,
        }
    }
}
