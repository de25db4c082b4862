//! The client's side: what we ask for, and whether the answer grants it (RFC 6455 section 4.1).

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::head::{ResponseHead, all, one, tokens};
use super::{
    HandshakeError, Opened, VERSION, accept_for, extension, is_field, is_host, is_our_own, is_target, is_token,
    push_field,
};
use crate::settings::{Deflate, Settings};

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHandshake {
    pub(crate) settings: Settings,
    host: String,
    target: String,
    subprotocols: Vec<String>,
    headers: Vec<(String, String)>,
}

impl ClientHandshake {
    /// A request to `host` (with the port, unless it is the scheme's own) for `target`, a path with its query.
    #[must_use]
    pub fn new(host: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            settings: Settings::new(),
            host: host.into(),
            target: target.into(),
            subprotocols: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// Sets limits, policies and compression.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Offers these subprotocols, the best first. A server that chooses another one, or several, fails.
    #[must_use]
    pub fn subprotocols<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a header field: `Origin`, `Authorization`, cookies. Not one that the handshake says itself: it is an error.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// What was set.
    #[must_use]
    pub const fn current_settings(&self) -> &Settings {
        &self.settings
    }

    /// The host, as it is sent.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The same, known to be something that can be sent.
    ///
    /// # Errors
    /// What cannot stand in a request.
    pub fn checked(self) -> Result<CheckedHandshake, HandshakeError> {
        self.check()?;
        Ok(CheckedHandshake { settings: Arc::new(self.settings), handshake: self })
    }

    fn deflate(&self) -> Option<&Deflate> {
        if cfg!(feature = "deflate") { self.settings.deflate.as_ref() } else { None }
    }

    /// Whether what the caller gave can stand in a head: it fails before anything is sent, not in the server.
    pub(crate) fn check(&self) -> Result<(), HandshakeError> {
        let wrong = |name| HandshakeError::Header { name, problem: "cannot stand in a request" };
        if !is_target(&self.target) {
            return Err(wrong("request target"));
        }
        if self.host.is_empty() || !is_host(self.host.as_bytes()) {
            return Err(wrong("Host"));
        }
        if !self.subprotocols.iter().all(|name| is_token(name)) {
            return Err(wrong("Sec-WebSocket-Protocol"));
        }
        if !self.headers.iter().all(|(name, value)| is_field(name, value)) {
            return Err(wrong("custom header"));
        }
        if self.headers.iter().any(|(name, _)| is_our_own(name)) {
            return Err(HandshakeError::Header { name: "custom header", problem: "is said by the handshake itself" });
        }
        Ok(())
    }

    /// The request with this key.
    pub(crate) fn request(&self, key: &str) -> String {
        let mut head = String::with_capacity(256);
        head.push_str("GET ");
        head.push_str(&self.target);
        head.push_str(" HTTP/1.1\r\n");
        push_field(&mut head, "Host", &self.host);
        push_field(&mut head, "Upgrade", "websocket");
        push_field(&mut head, "Connection", "Upgrade");
        push_field(&mut head, "Sec-WebSocket-Key", key);
        push_field(&mut head, "Sec-WebSocket-Version", VERSION);
        if !self.subprotocols.is_empty() {
            push_field(&mut head, "Sec-WebSocket-Protocol", &self.subprotocols.join(", "));
        }
        if let Some(deflate) = self.deflate() {
            push_field(&mut head, "Sec-WebSocket-Extensions", &extension::offer(deflate));
        }
        for (name, value) in &self.headers {
            push_field(&mut head, name, value);
        }
        head.push_str("\r\n");
        head
    }

    /// Judges the answer to the request with this key; `head` is it as it came.
    pub(crate) fn confirm(
        &self,
        key: &str,
        response: &ResponseHead<'_>,
        head: &[u8],
    ) -> Result<Opened, HandshakeError> {
        if response.status != 101 {
            return Err(HandshakeError::Status { status: response.status, head: head.to_vec() });
        }
        if response.minor < 1 {
            return Err(HandshakeError::NotHttp { why: "HTTP/1.0 has no upgrades" });
        }
        let fields = &response.fields;
        let header = |name, problem| HandshakeError::Header { name, problem };
        if !one(fields, "Upgrade")?.eq_ignore_ascii_case(b"websocket") {
            return Err(header("Upgrade", "not websocket"));
        }
        if !tokens(fields, "Connection").any(|token| token.eq_ignore_ascii_case("upgrade")) {
            return Err(header("Connection", "without upgrade"));
        }
        if one(fields, "Sec-WebSocket-Accept")? != accept_for(key.as_bytes()).as_bytes() {
            return Err(header("Sec-WebSocket-Accept", "not the answer to our key"));
        }
        let subprotocol = match all(fields, "Sec-WebSocket-Protocol").next() {
            None => None,
            Some(_) => {
                let chosen = one(fields, "Sec-WebSocket-Protocol")?;
                let offered = self.subprotocols.iter().find(|offer| offer.as_bytes() == chosen);
                Some(offered.ok_or(header("Sec-WebSocket-Protocol", "not offered"))?.clone())
            }
        };
        let deflate = extension::confirm(all(fields, "Sec-WebSocket-Extensions"), self.deflate())?;
        let owned = |(name, value): &(&str, &[u8])| (String::from(*name), value.to_vec());
        Ok(Opened { target: self.target.clone(), subprotocol, deflate, headers: fields.iter().map(owned).collect() })
    }
}

/// A [`ClientHandshake`] that can be sent, as often as wanted: who connects again and again makes each connection's
/// [`WebSocket`](crate::WebSocket) of one.
#[derive(Clone, Debug)]
pub struct CheckedHandshake {
    pub(crate) handshake: ClientHandshake,
    pub(crate) settings: Arc<Settings>,
}
