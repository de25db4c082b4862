//! The opening handshake over the stream.

use alloc::boxed::Box;
use alloc::string::String;

use duologue_core::{Cx, RecvBuf, Step};

use super::keys::Keys;
use super::{Found, Shared, WebSocket};
use crate::error::Violation;
use crate::handshake::{ClientHandshake, HandshakeError, Scan, new_key, parse_request, parse_response};

/// Interim answers (100, 103) that a server may send before its real one.
const INTERIM: u8 = 8;

/// An opening that is under way.
#[derive(Debug)]
pub(super) enum Opening {
    /// Waits for a request.
    Server(Scan),
    /// Waits for the answer to its request.
    Client(Box<Asking>),
}

/// What a client asked.
#[derive(Debug)]
pub(super) struct Asking {
    handshake: ClientHandshake,
    key: String,
    interim: u8,
    scan: Scan,
}

impl Opening {
    pub(super) fn server() -> Self {
        Self::Server(Scan::default())
    }

    pub(super) fn client(handshake: ClientHandshake) -> Self {
        Self::Client(Box::new(Asking { handshake, key: String::new(), interim: 0, scan: Scan::default() }))
    }

    /// A part of what it waits for came.
    pub(super) const fn has_begun(&self) -> bool {
        match self {
            Self::Server(scan) => scan.has_begun(),
            Self::Client(asking) => asking.scan.has_begun(),
        }
    }

    pub(super) fn start(&mut self, cx: &mut Cx<'_, WebSocket>, keys: &mut Keys) {
        if let Self::Client(asking) = self {
            asking.key = new_key([(); 4].map(|()| keys.next(cx.rng)));
            let request = asking.handshake.request(&asking.key);
            cx.tx.control(request.len()).put_slice(request.as_bytes());
        }
    }
}

impl WebSocket {
    #[cold]
    pub(super) fn continue_opening(
        &mut self,
        cx: &mut Cx<'_, Self>,
        rx: &mut RecvBuf,
    ) -> Result<Step<Found>, Violation> {
        match self.opening {
            Some(Opening::Client(_)) => self.read_response(cx, rx),
            _ => self.read_request(cx, rx),
        }
    }

    fn read_request(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<Found>, Violation> {
        let (Shared::Server(server), Some(Opening::Server(scan))) = (&self.settings, &mut self.opening) else {
            return Ok(Step::Progress);
        };
        let limits = server.settings.limits;
        let Some(len) = scan.find(rx, &limits)? else { return Ok(Step::NeedMore { hint: 0 }) };
        let head = rx.get(..len).unwrap_or_default();
        let accepted = server.answer(&parse_request(head, &limits)?)?;
        let response = accepted.response();
        cx.tx.control(response.len()).put_slice(response.as_bytes());
        rx.advance(len);
        self.opened(cx, accepted.into_opened())
    }

    fn read_response(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<Found>, Violation> {
        let limits = *self.limits();
        let Some(Opening::Client(asking)) = &mut self.opening else { return Ok(Step::Progress) };
        let Asking { handshake, key, interim, scan } = &mut **asking;
        let Some(len) = scan.find(rx, &limits)? else { return Ok(Step::NeedMore { hint: 0 }) };
        let head = rx.get(..len).unwrap_or_default();
        let response = parse_response(head, &limits)?;
        if matches!(response.status, 100 | 102..=199) {
            *interim += 1;
            if *interim > INTERIM {
                return Err(HandshakeError::NotHttp { why: "too many interim answers" }.into());
            }
            *scan = Scan::default();
            rx.advance(len);
            return Ok(Step::Progress);
        }
        let opened = handshake.confirm(key, &response, head)?;
        rx.advance(len);
        self.opened(cx, opened)
    }

    fn opened(&mut self, cx: &mut Cx<'_, Self>, opened: crate::Opened) -> Result<Step<Found>, Violation> {
        self.open(opened.deflate);
        cx.establish();
        Ok(Step::Event(Found::Opened(Box::new(opened))))
    }
}
