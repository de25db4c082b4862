//! A client or a server as one protocol type, with events that can be compared.

use std::time::Duration;

use bytes::Bytes;
use duologue_core::{Cause, CloseStep, Cx, EofAction, Fault, Protocol, RecvBuf, Refused, Step};
use duologue_http1::{
    Client, ClientCommand, ClientEvent, ClientSettings, Limits, Server, ServerCommand, ServerEvent, ServerSettings,
    Timer, Violation, Waits,
};
use duologue_laws::Role;

/// The longest head, in bytes.
pub(crate) const HEAD: usize = 120;
/// Requests that may wait for their answers.
pub(crate) const PIPELINED: usize = 3;

/// Either side.
#[derive(Debug)]
pub(crate) enum Wrapped {
    Client(Client),
    Server(Server),
}

/// What either side says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Say {
    Client(ClientCommand),
    Server(ServerCommand),
}

/// What either side hears.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Head(String),
    Data(Bytes),
    /// A byte of content.
    Byte(u8),
    /// With so many trailers.
    End(usize),
}

impl Wrapped {
    pub(crate) fn new(role: Role, limits: Limits) -> Self {
        // No two waits are equal, so that it is clear which of them came.
        let millis = |millis| Some(Duration::from_millis(millis));
        let waits = Waits::new().head(millis(9_001)).body(millis(11_003)).idle(millis(13_007)).drain(millis(3_511));
        let waits = waits.response(millis(17_011));
        match role {
            Role::Client => Self::Client(Client::new(ClientSettings::new().limits(limits).waits(waits))),
            Role::Server => {
                let settings = ServerSettings::new().limits(limits).waits(waits).pipelined(PIPELINED);
                Self::Server(Server::new(settings))
            }
        }
    }
}

fn from_client(event: ClientEvent) -> Seen {
    match event {
        ClientEvent::Interim(head) | ClientEvent::Response(head) => Seen::Head(head.status.as_str().to_string()),
        ClientEvent::Data(data) => Seen::Data(data),
        ClientEvent::End(trailers) => Seen::End(trailers.map_or(0, |trailers| trailers.len())),
        ClientEvent::ContinueOverdue => Seen::Head("overdue".into()),
    }
}

fn from_server(event: ServerEvent) -> Seen {
    match event {
        ServerEvent::Request(head) => Seen::Head(format!("{} {}", head.method, head.uri)),
        ServerEvent::Data(data) => Seen::Data(data),
        ServerEvent::End(trailers) => Seen::End(trailers.map_or(0, |trailers| trailers.len())),
    }
}

fn step<E>(step: Step<E>, map: impl FnOnce(E) -> Seen) -> Step<Seen> {
    match step {
        Step::Event(event) => Step::Event(map(event)),
        Step::NeedMore { hint } => Step::NeedMore { hint },
        Step::Progress => Step::Progress,
        Step::Close(code) => Step::Close(code),
    }
}

fn action<E>(action: EofAction<E>, map: impl FnOnce(E) -> Seen) -> EofAction<Seen> {
    match action {
        EofAction::Final(event) => EofAction::Final(map(event)),
        EofAction::Clean => EofAction::Clean,
        EofAction::Truncated { missing } => EofAction::Truncated { missing },
    }
}

impl Protocol for Wrapped {
    type Event = Seen;
    type Command = Say;
    type Timer = Timer;
    type Violation = Violation;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        match self {
            Self::Client(client) => client.start(&mut cx.wrapping()),
            Self::Server(server) => server.start(&mut cx.wrapping()),
        }
    }

    fn decode(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<Seen>, Violation> {
        Ok(match self {
            Self::Client(client) => step(client.decode(&mut cx.wrapping(), rx)?, from_client),
            Self::Server(server) => step(server.decode(&mut cx.wrapping(), rx)?, from_server),
        })
    }

    fn eof(&mut self, cx: &mut Cx<'_, Self>, rest: &mut RecvBuf) -> Result<EofAction<Seen>, Violation> {
        Ok(match self {
            Self::Client(client) => action(client.eof(&mut cx.wrapping(), rest)?, from_client),
            Self::Server(server) => action(server.eof(&mut cx.wrapping(), rest)?, from_server),
        })
    }

    fn command(&mut self, cx: &mut Cx<'_, Self>, command: Say) -> Result<(), Refused<Say>> {
        match (self, command) {
            (Self::Client(client), Say::Client(command)) => client
                .command(&mut cx.wrapping(), command)
                .map_err(|refused| Refused::new(Say::Client(refused.command), refused.why)),
            (Self::Server(server), Say::Server(command)) => server
                .command(&mut cx.wrapping(), command)
                .map_err(|refused| Refused::new(Say::Server(refused.command), refused.why)),
            (_, command) => Err(Refused::new(command, duologue_core::Refusal::Invalid("the other side's"))),
        }
    }

    fn timer(&mut self, cx: &mut Cx<'_, Self>, timer: Timer) -> Result<Step<Seen>, Fault<Violation>> {
        Ok(match self {
            Self::Client(client) => step(client.timer(&mut cx.wrapping(), timer)?, from_client),
            Self::Server(server) => step(server.timer(&mut cx.wrapping(), timer)?, from_server),
        })
    }

    fn finish(&mut self, cx: &mut Cx<'_, Self>) {
        match self {
            Self::Client(client) => client.finish(&mut cx.wrapping()),
            Self::Server(server) => server.finish(&mut cx.wrapping()),
        }
    }

    fn drain(&mut self, cx: &mut Cx<'_, Self>) -> bool {
        match self {
            Self::Client(client) => client.drain(&mut cx.wrapping()),
            Self::Server(server) => server.drain(&mut cx.wrapping()),
        }
    }

    fn begin_close(&mut self, cx: &mut Cx<'_, Self>, cause: &Cause<Violation>) -> CloseStep {
        match self {
            Self::Client(client) => client.begin_close(&mut cx.wrapping(), cause),
            Self::Server(server) => server.begin_close(&mut cx.wrapping(), cause),
        }
    }

    fn max_unit(&self) -> usize {
        match self {
            Self::Client(client) => client.max_unit(),
            Self::Server(server) => server.max_unit(),
        }
    }
}
