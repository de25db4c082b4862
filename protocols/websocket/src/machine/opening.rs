//! The opening handshake over the stream.

use alloc::boxed::Box;
use alloc::string::String;

use duologue_core::{Cx, RecvBuf, Step};

use super::{Found, Shared, WebSocket};
use crate::error::Violation;
use crate::handshake::{ClientHandshake, HandshakeError, Scan, new_key, parse_request, parse_response};

/// Interim answers (100, 103) that a server may send before its real one.
const INTERIM: u8 = 8;

/// An opening that is under way.
#[derive(Debug)]
pub(super) enum Opening {
    /// Waits for a request.
    Server,
    /// Waits for the answer to its request.
    Client { handshake: ClientHandshake, key: String, interim: u8, scan: Scan },
    /// Has looked at a part of the request.
    Reading(Scan),
}

impl Opening {
    pub(super) fn client(handshake: ClientHandshake) -> Self {
        Self::Client { handshake, key: String::new(), interim: 0, scan: Scan::default() }
    }

    pub(super) fn start(&mut self, cx: &mut Cx<'_, WebSocket>) {
        if let Self::Client { handshake, key, .. } = self {
            *key = new_key([cx.rng.next_u64(), cx.rng.next_u64()]);
            let request = handshake.request(key);
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
        match self.opening.as_deref_mut() {
            Some(Opening::Client { .. }) => self.read_response(cx, rx),
            _ => self.read_request(cx, rx),
        }
    }

    fn read_request(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<Found>, Violation> {
        let (Shared::Server(server), Some(opening)) = (&self.settings, self.opening.as_deref_mut()) else {
            return Ok(Step::Progress);
        };
        if let Opening::Server = opening {
            *opening = Opening::Reading(Scan::default());
        }
        let Opening::Reading(scan) = opening else { return Ok(Step::Progress) };
        // An empty line before the request is to be ignored (RFC 9112 section 2.2); one is enough.
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
        let Some(Opening::Client { handshake, key, interim, scan }) = self.opening.as_deref_mut() else {
            return Ok(Step::Progress);
        };
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
