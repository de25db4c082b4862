//! The server's side: is the request one, do we want it, what do we answer (RFC 6455 section 4.2).

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::{
    DeflateParams, HandshakeError, Opened, Rejection, RequestHead, VERSION, accept_for, extension, is_field, is_host,
    is_key, is_our_own, is_target, push_field,
};
use crate::settings::Settings;

/// Looks at a request and decides. It runs inside the machine, so it must not wait for anything.
pub type Guard = Arc<dyn Fn(&RequestHead<'_>) -> Result<Choice, Rejection> + Send + Sync>;

/// What a guard adds to the answer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Choice {
    /// The subprotocol, instead of the first of ours that the client offers. One that it did not offer fails.
    pub subprotocol: Option<String>,
    /// Further header fields of the answer (cookies). One that could break out of its line is left out, and so is one that the
    /// answer says itself.
    pub headers: Vec<(String, String)>,
}

impl Choice {
    /// The request is welcome.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses the subprotocol.
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocol = Some(name.into());
        self
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// How a server opens conversations. Share one among all connections.
#[derive(Clone, Default)]
pub struct ServerHandshake {
    pub(crate) settings: Settings,
    subprotocols: Vec<String>,
    origins: Option<Vec<String>>,
    guard: Option<Guard>,
}

impl fmt::Debug for ServerHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandshake")
            .field("settings", &self.settings)
            .field("subprotocols", &self.subprotocols)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}

impl ServerHandshake {
    /// Accepts every valid request, without subprotocols.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// What was set.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Speaks these subprotocols, the best first. A client that offers others is accepted without one.
    #[must_use]
    pub fn subprotocols<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Accepts browsers only from pages of these origins (`https://example.org`), others get 403. Who sends no `Origin`
    /// is no browser, and is accepted.
    #[must_use]
    pub fn origins<S: Into<String>>(mut self, origins: impl IntoIterator<Item = S>) -> Self {
        self.origins = Some(origins.into_iter().map(Into::into).collect());
        self
    }

    /// Asks `guard` about every request that is valid.
    #[must_use]
    pub fn guard(
        mut self,
        guard: impl Fn(&RequestHead<'_>) -> Result<Choice, Rejection> + Send + Sync + 'static,
    ) -> Self {
        self.guard = Some(Arc::new(guard));
        self
    }

    /// Judges a request: the answer to send, or the refusal with its own ([`HandshakeError::response`]).
    ///
    /// # Errors
    /// The request is invalid or not wanted.
    pub fn answer(&self, request: &RequestHead<'_>) -> Result<Accepted, HandshakeError> {
        validate(request)?;
        let key = request.one("Sec-WebSocket-Key")?;
        if !is_key(key) {
            return Err(HandshakeError::Header { name: "Sec-WebSocket-Key", problem: "not 16 bytes in base64" });
        }
        if let (Some(allowed), Some(origin)) = (&self.origins, request.all("Origin").next()) {
            if !allowed.iter().any(|one| one.as_bytes().eq_ignore_ascii_case(origin)) {
                return Err(HandshakeError::Refused(Rejection::forbidden("this origin may not connect")));
            }
        }
        let choice = match &self.guard {
            Some(guard) => guard(request).map_err(Rejection::into_error)?,
            None => Choice::default(),
        };
        let subprotocol = self.subprotocol(request, choice.subprotocol)?;
        let deflate = if cfg!(feature = "deflate") { self.settings.deflate.as_ref() } else { None };
        let granted = extension::choose(request.all("Sec-WebSocket-Extensions"), deflate)?;
        let (deflate, extension) = granted.unzip();
        let mut headers = alloc::vec![
            (String::from("Upgrade"), String::from("websocket")),
            (String::from("Connection"), String::from("Upgrade")),
            (String::from("Sec-WebSocket-Accept"), accept_for(key)),
        ];
        let own = |name: &str, value: Option<&String>| value.map(|value| (String::from(name), value.clone()));
        headers.extend(own("Sec-WebSocket-Protocol", subprotocol.as_ref()));
        headers.extend(own("Sec-WebSocket-Extensions", extension.as_ref()));
        headers.extend(choice.headers.into_iter().filter(|(name, value)| is_field(name, value) && !is_our_own(name)));
        let owned = |(name, value): &(&str, &[u8])| (String::from(*name), value.to_vec());
        let opened = Opened {
            target: String::from(request.target()),
            subprotocol,
            deflate,
            headers: request.fields().iter().map(owned).collect(),
        };
        Ok(Accepted { headers, opened })
    }

    fn subprotocol(&self, request: &RequestHead<'_>, chosen: Option<String>) -> Result<Option<String>, HandshakeError> {
        let name = "Sec-WebSocket-Protocol";
        if request.subprotocols().any(|offer| !super::is_token(offer)) {
            return Err(HandshakeError::Header { name, problem: "not a list of tokens" });
        }
        match chosen {
            Some(chosen) if request.subprotocols().any(|offer| offer == chosen) => Ok(Some(chosen)),
            Some(_) => Err(HandshakeError::Refused(Rejection::new(400, "the subprotocol is needed"))),
            None => Ok(self.subprotocols.iter().find(|ours| request.subprotocols().any(|o| o == *ours)).cloned()),
        }
    }
}

/// RFC 6455 section 4.2.1.
fn validate(request: &RequestHead<'_>) -> Result<(), HandshakeError> {
    if request.method() != "GET" {
        return Err(HandshakeError::Method);
    }
    if request.minor() < 1 {
        return Err(HandshakeError::HttpVersion);
    }
    if !is_target(request.target()) {
        return Err(HandshakeError::NotHttp { why: "bad target" });
    }
    if !is_host(request.one("Host")?) {
        return Err(HandshakeError::Header { name: "Host", problem: "no host" });
    }
    if !request.has_token("Upgrade", "websocket") || !request.has_token("Connection", "upgrade") {
        return Err(HandshakeError::NoUpgrade);
    }
    // A body would be taken for frames.
    if request.all("Transfer-Encoding").next().is_some() {
        return Err(HandshakeError::Header { name: "Transfer-Encoding", problem: "an upgrade has no body" });
    }
    if request.all("Content-Length").any(|len| len.trim_ascii() != b"0") {
        return Err(HandshakeError::Header { name: "Content-Length", problem: "an upgrade has no body" });
    }
    if request.all("Origin").count() > 1 {
        return Err(HandshakeError::Header { name: "Origin", problem: "stands more than once" });
    }
    if request.one("Sec-WebSocket-Version")? != VERSION.as_bytes() {
        return Err(HandshakeError::WebSocketVersion);
    }
    Ok(())
}

/// An accepted request: the answer, and what was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    headers: Vec<(String, String)>,
    opened: Opened,
}

impl Accepted {
    /// The header fields of the answer, whose status is 101: for whoever writes it himself.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The whole answer.
    #[must_use]
    pub fn response(&self) -> String {
        let mut head = String::from("HTTP/1.1 101 Switching Protocols\r\n");
        for (name, value) in &self.headers {
            push_field(&mut head, name, value);
        }
        head.push_str("\r\n");
        head
    }

    /// What was agreed on.
    #[must_use]
    pub const fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The compression that was agreed on, for [`WebSocket::upgraded`](crate::WebSocket::upgraded).
    #[must_use]
    pub const fn deflate(&self) -> Option<DeflateParams> {
        self.opened.deflate
    }

    pub(crate) fn into_opened(self) -> Opened {
        self.opened
    }
}
