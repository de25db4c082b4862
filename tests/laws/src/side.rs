//! One side of a run: its session and everything that was seen of it from outside.

use duologue_core::{Closed, Config, Event, Instant, Interest, RecvState, SendState, Session, Stats, TimeoutReason};

use crate::subject::{CommandOf, EventOf, Reference, Role, Subject, ViolationOf};

/// All that can be asked of a session without changing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) interest: Interest,
    pub(crate) recv: RecvState,
    pub(crate) send: SendState,
    pub(crate) stats: Stats,
    pub(crate) established: bool,
    pub(crate) room: usize,
    pub(crate) buffered: (usize, usize),
    /// The cause with its details, as text: violations need not be comparable.
    pub(crate) cause: Option<String>,
}

impl View {
    pub(crate) fn of<S: Subject>(session: &Session<S::Protocol>) -> Self {
        let (recv, send) = session.states();
        Self {
            interest: session.interest(),
            recv,
            send,
            stats: session.stats(),
            established: session.is_established(),
            room: session.room(),
            buffered: session.buffered(),
            cause: session.cause().map(|cause| format!("{cause:?}")),
        }
    }

    /// A deadline that is due at `now`.
    pub(crate) fn due(&self, now: Instant) -> Option<TimeoutReason> {
        self.interest.deadline.filter(|d| d.at <= now).map(|d| d.reason)
    }
}

/// One side.
pub(crate) struct Side<S: Subject> {
    pub(crate) role: Role,
    pub(crate) session: Session<S::Protocol>,
    pub(crate) config: Config,
    pub(crate) connected: bool,
    /// The latest time that the session was told.
    pub(crate) told: Instant,

    /// When a byte was last received, and last transmitted.
    pub(crate) heard: Instant,
    pub(crate) spoke: Instant,
    /// Bytes thrown away after our FIN.
    pub(crate) lingered: u64,

    /// Every byte that the session was given, and every byte that was taken from it.
    pub(crate) received: Vec<u8>,
    pub(crate) transmitted: Vec<u8>,
    pub(crate) decoded: Cached<EventOf<S>>,
    pub(crate) encoded: Cached<EventOf<S>>,

    /// What the application took, timers' events left out.
    pub(crate) delivered: Vec<EventOf<S>>,
    pub(crate) timer_events: usize,
    /// What the peer must see of the accepted commands, and their number.
    pub(crate) accepted: Vec<EventOf<S>>,
    pub(crate) accepted_count: u64,
    /// The accepted commands themselves.
    pub(crate) commands: Vec<CommandOf<S>>,
    /// [`Subject::own_close`].
    pub(crate) own_close: Option<duologue_core::Code>,
    pub(crate) peer_finished: bool,
    pub(crate) closed: Option<Closed<ViolationOf<S>>>,
    /// Several events came after `Closed`, or `Closed` twice.
    pub(crate) after_closed: bool,

    pub(crate) eof_given: bool,
    pub(crate) fin_done: bool,
    /// Which of the two came first.
    pub(crate) eof_before_fin: Option<bool>,
    pub(crate) released: bool,
    pub(crate) finish_called: bool,
    pub(crate) read_shut: bool,
    /// The application closed it before it ended by itself, perhaps with the code that its protocol uses.
    pub(crate) close_called: bool,
    /// What there was when a drain was taken up.
    pub(crate) drained: Option<DrainedAt>,
    pub(crate) misused: bool,

    /// The first cause, as text.
    pub(crate) first_cause: Option<String>,
    /// The room that a refused command waits for; 0 for one that came before the opening.
    pub(crate) wants: Option<usize>,
    /// That room was there at some time since, so `Writable` is on its way.
    pub(crate) due: Option<usize>,
    /// Output was queued since the refusal, so `Writable` may find less room than was asked.
    pub(crate) queued_since: bool,
    /// Bytes that the transport took during the last call.
    pub(crate) taken: usize,
    /// What broke during the call, found on the spot.
    pub(crate) broken: Option<crate::law::Broken>,
}

/// What there was when a drain was taken up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrainedAt {
    /// Events that the application had taken.
    pub(crate) delivered: usize,
    /// What the peer is to see of the commands accepted until then.
    pub(crate) sent: usize,
}

/// A reference decode, redone when bytes or commands were added.
#[derive(Clone)]
pub(crate) struct Cached<E> {
    len: usize,
    pub(crate) reference: Reference<E>,
}

impl<E> Cached<E> {
    fn new() -> Self {
        Self { len: 0, reference: Reference::default() }
    }
}

impl<S: Subject> Clone for Side<S>
where
    S::Protocol: Clone,
{
    fn clone(&self) -> Self {
        Self {
            role: self.role,
            session: self.session.clone(),
            config: self.config.clone(),
            connected: self.connected,
            told: self.told,
            heard: self.heard,
            spoke: self.spoke,
            lingered: self.lingered,
            received: self.received.clone(),
            transmitted: self.transmitted.clone(),
            decoded: self.decoded.clone(),
            encoded: self.encoded.clone(),
            delivered: self.delivered.clone(),
            timer_events: self.timer_events,
            accepted: self.accepted.clone(),
            accepted_count: self.accepted_count,
            commands: self.commands.clone(),
            own_close: self.own_close,
            peer_finished: self.peer_finished,
            closed: self.closed.clone(),
            after_closed: self.after_closed,
            eof_given: self.eof_given,
            fin_done: self.fin_done,
            eof_before_fin: self.eof_before_fin,
            released: self.released,
            finish_called: self.finish_called,
            read_shut: self.read_shut,
            close_called: self.close_called,
            drained: self.drained,
            misused: self.misused,
            first_cause: self.first_cause.clone(),
            wants: self.wants,
            due: self.due,
            queued_since: self.queued_since,
            taken: self.taken,
            broken: self.broken.clone(),
        }
    }
}

impl<S: Subject> Side<S> {
    pub(crate) fn new(
        role: Role,
        session: Session<S::Protocol>,
        config: Config,
        connected: bool,
        now: Instant,
    ) -> Self {
        Self {
            role,
            session,
            config,
            connected,
            told: now,
            heard: now,
            spoke: now,
            lingered: 0,
            received: Vec::new(),
            transmitted: Vec::new(),
            decoded: Cached::new(),
            encoded: Cached::new(),
            delivered: Vec::new(),
            timer_events: 0,
            accepted: Vec::new(),
            accepted_count: 0,
            commands: Vec::new(),
            own_close: None,
            peer_finished: false,
            closed: None,
            after_closed: false,
            eof_given: false,
            fin_done: false,
            eof_before_fin: None,
            released: false,
            finish_called: false,
            read_shut: false,
            close_called: false,
            drained: None,
            misused: false,
            first_cause: None,
            wants: None,
            due: None,
            queued_since: false,
            taken: 0,
            broken: None,
        }
    }

    pub(crate) fn view(&self) -> View {
        View::of::<S>(&self.session)
    }

    /// The independent decode of what was received and of what was transmitted, brought up to date.
    pub(crate) fn refresh(&mut self, subject: &S, variant: usize) {
        let known = self.received.len() + self.commands.len();
        if self.decoded.len != known {
            self.decoded.len = known;
            self.decoded.reference = subject.reference_after(self.role, variant, &self.commands, &self.received);
        }
        if self.encoded.len != self.transmitted.len() {
            self.encoded.len = self.transmitted.len();
            self.encoded.reference = subject.written(self.role, variant, &self.transmitted);
            self.encoded.reference.events.retain(|(_, event)| subject.is_from_command(event));
        }
    }

    /// Notes an event that the application took.
    pub(crate) fn note(&mut self, subject: &S, event: Event<EventOf<S>, ViolationOf<S>>) {
        self.after_closed |= self.closed.is_some();
        match event {
            Event::App(event) if subject.is_from_timer(&event) => self.timer_events += 1,
            Event::App(event) => subject.atoms(event).into_iter().for_each(|atom| self.take(atom)),
            Event::Writable => self.note_writable(),
            Event::PeerFinished => {
                if self.peer_finished {
                    self.fail(crate::Law::L6EofOrder, "PeerFinished came twice".into());
                }
                self.peer_finished = true;
            }
            Event::Closed(closed) => self.closed = Some(closed),
        }
    }

    /// Notes a message that the application took, in whatever way.
    pub(crate) fn take(&mut self, event: EventOf<S>) {
        if self.peer_finished {
            self.fail(crate::Law::L6EofOrder, format!("{event:?} came after PeerFinished"));
        }
        self.delivered.push(event);
    }

    fn note_writable(&mut self) {
        let room = self.session.room();
        match self.due.take().or_else(|| self.wants.take()) {
            None => self.fail(crate::Law::L11Writable, "Writable, and nothing was refused: a spin".into()),
            Some(need) if room < need && !self.queued_since => {
                let what =
                    format!("Writable with {room} bytes free, but {need} were refused and nothing was queued since");
                self.fail(crate::Law::L11Writable, what);
            }
            Some(_) if !self.session.is_established() => {
                self.fail(crate::Law::L11Writable, "Writable before the session is open".into());
            }
            Some(_) => {}
        }
    }

    pub(crate) fn note_accepted(&mut self, subject: &S, command: &CommandOf<S>) {
        self.accepted_count += 1;
        self.accepted.extend(subject.events_for(command));
        self.commands.push(command.clone());
        self.queued_since = true;
    }

    pub(crate) fn note_refused(&mut self, need: usize) {
        self.wants = Some(self.wants.map_or(need, |earlier| earlier.min(need)));
        // Who was told of room before may still find it taken.
        self.queued_since = self.due.is_some();
    }

    pub(crate) fn fail(&mut self, law: crate::Law, what: String) {
        self.broken.get_or_insert(crate::Broken { law, what });
    }
}
