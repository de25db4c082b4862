//! `Sec-WebSocket-Extensions`, of which permessage-deflate is understood (RFC 6455 section 9.1, RFC 7692 section 7.1).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use super::{HandshakeError, is_token};
#[cfg(feature = "deflate")]
use crate::message::Role;
use crate::settings::Deflate;

const NAME: &str = "permessage-deflate";
const HEADER: &str = "Sec-WebSocket-Extensions";

/// The four parameters of permessage-deflate, as agreed on (RFC 7692 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateParams {
    /// The server compresses each message for itself.
    pub server_no_context_takeover: bool,
    /// The client compresses each message for itself.
    pub client_no_context_takeover: bool,
    /// How far back the server refers, as a power of two, 8 to 15.
    pub server_max_window_bits: u8,
    /// How far back the client refers, as a power of two, 8 to 15.
    pub client_max_window_bits: u8,
}

impl DeflateParams {
    /// What binds the compression of one side: whether it forgets, and its window.
    #[cfg(feature = "deflate")]
    pub(crate) const fn of(self, role: Role) -> (bool, u8) {
        match role {
            Role::Client => (self.client_no_context_takeover, self.client_max_window_bits),
            Role::Server => (self.server_no_context_takeover, self.server_max_window_bits),
        }
    }
}

/// One extension of a list, with its parameters.
struct Extension<'a> {
    name: &'a str,
    params: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// What one `permessage-deflate` element says; each parameter at most once, each value in its range.
#[derive(Default)]
struct Said {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// The inner value may be left out in an offer.
    client_max_window_bits: Option<Option<u8>>,
}

impl Said {
    fn parse(extension: &Extension<'_>) -> Option<Self> {
        let mut said = Self::default();
        for (name, value) in &extension.params {
            let value = value.as_deref();
            let repeated = match *name {
                "server_no_context_takeover" if value.is_none() => {
                    core::mem::replace(&mut said.server_no_context_takeover, true)
                }
                "client_no_context_takeover" if value.is_none() => {
                    core::mem::replace(&mut said.client_no_context_takeover, true)
                }
                "server_max_window_bits" => said.server_max_window_bits.replace(bits(value?)?).is_some(),
                "client_max_window_bits" => {
                    let value = match value {
                        Some(value) => Some(bits(value)?),
                        None => None,
                    };
                    said.client_max_window_bits.replace(value).is_some()
                }
                _ => return None,
            };
            if repeated {
                return None;
            }
        }
        Some(said)
    }
}

/// 8 to 15, without a leading zero (RFC 7692 section 7.1.2).
fn bits(value: &str) -> Option<u8> {
    let plain = !value.starts_with('0') && value.bytes().all(|b| b.is_ascii_digit());
    value.parse().ok().filter(|bits| plain && (8..=15).contains(bits))
}

const fn own_bits(bits: u8) -> u8 {
    if bits < 9 {
        9
    } else if bits > 15 {
        15
    } else {
        bits
    }
}

/// The server's choice among the offers: the first that it can keep. `None` declines, and the conversation goes on
/// without compression.
pub(crate) fn choose<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    ours: Option<&Deflate>,
) -> Result<Option<(DeflateParams, String)>, HandshakeError> {
    let offers = parse_lists(values)?;
    let Some(ours) = ours else { return Ok(None) };
    let offered = offers.iter().filter(|offer| offer.name == NAME);
    Ok(offered.filter_map(Said::parse).map(|said| grant(&said, ours)).next())
}

fn grant(said: &Said, ours: &Deflate) -> (DeflateParams, String) {
    let server_bits = said.server_max_window_bits.unwrap_or(15).min(own_bits(ours.server_max_window_bits));
    // A client that does not say that it can limit its window must not be asked to.
    let client_bits =
        said.client_max_window_bits.map(|offer| offer.unwrap_or(15).min(own_bits(ours.client_max_window_bits)));
    let params = DeflateParams {
        server_no_context_takeover: said.server_no_context_takeover || ours.server_no_context_takeover,
        client_no_context_takeover: said.client_no_context_takeover || ours.client_no_context_takeover,
        server_max_window_bits: server_bits,
        client_max_window_bits: client_bits.unwrap_or(15),
    };
    let mut text = String::from(NAME);
    if params.server_no_context_takeover {
        text.push_str("; server_no_context_takeover");
    }
    if params.client_no_context_takeover {
        text.push_str("; client_no_context_takeover");
    }
    // Writing into a String cannot fail.
    if said.server_max_window_bits.is_some() || server_bits < 15 {
        let _ = write!(text, "; server_max_window_bits={server_bits}");
    }
    if let Some(bits) = client_bits {
        let _ = write!(text, "; client_max_window_bits={bits}");
    }
    (params, text)
}

/// What a client offers.
pub(crate) fn offer(ours: &Deflate) -> String {
    let mut text = String::from(NAME);
    if ours.server_no_context_takeover {
        text.push_str("; server_no_context_takeover");
    }
    if ours.client_no_context_takeover {
        text.push_str("; client_no_context_takeover");
    }
    if own_bits(ours.server_max_window_bits) < 15 {
        let _ = write!(text, "; server_max_window_bits={}", own_bits(ours.server_max_window_bits));
    }
    text.push_str("; client_max_window_bits");
    if own_bits(ours.client_max_window_bits) < 15 {
        let _ = write!(text, "={}", own_bits(ours.client_max_window_bits));
    }
    text
}

/// Whether the server's answer is one that our offer allows (RFC 7692 section 5.1, RFC 6455 section 4.1).
pub(crate) fn confirm<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    ours: Option<&Deflate>,
) -> Result<Option<DeflateParams>, HandshakeError> {
    let wrong = |problem| HandshakeError::Header { name: HEADER, problem };
    let mut granted = parse_lists(values)?.into_iter();
    let Some(first) = granted.next() else { return Ok(None) };
    let (Some(ours), true, None) = (ours, first.name == NAME, granted.next()) else {
        return Err(wrong("an extension that was not offered"));
    };
    let said = Said::parse(&first).ok_or_else(|| wrong("wrong parameters of permessage-deflate"))?;
    let server_bits = said.server_max_window_bits.unwrap_or(15);
    if server_bits > own_bits(ours.server_max_window_bits) {
        return Err(wrong("a larger server window than was asked for"));
    }
    if ours.server_no_context_takeover && !said.server_no_context_takeover {
        return Err(wrong("server_no_context_takeover was asked for"));
    }
    let client_bits = match said.client_max_window_bits {
        Some(None) => return Err(wrong("client_max_window_bits without a value")),
        Some(Some(bits)) => bits.min(own_bits(ours.client_max_window_bits)),
        None => own_bits(ours.client_max_window_bits),
    };
    Ok(Some(DeflateParams {
        server_no_context_takeover: said.server_no_context_takeover,
        client_no_context_takeover: said.client_no_context_takeover || ours.client_no_context_takeover,
        server_max_window_bits: server_bits,
        client_max_window_bits: client_bits,
    }))
}

/// The elements of all the fields, in order.
fn parse_lists<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Extension<'a>>, HandshakeError> {
    let mut extensions = Vec::new();
    for value in values {
        let text = core::str::from_utf8(value).ok();
        let list = text.and_then(|text| parse_list(text, &mut extensions));
        list.ok_or(HandshakeError::Header { name: HEADER, problem: "not a list of extensions" })?;
    }
    Ok(extensions)
}

/// `name *( ";" param [ "=" ( token / quoted token ) ] )`, separated by commas; in time proportional to its length (the
/// regular expressions of others were not: CVE-2021-32640).
fn parse_list<'a>(text: &'a str, out: &mut Vec<Extension<'a>>) -> Option<()> {
    for element in split_unquoted(text, b',') {
        if element.trim().is_empty() {
            continue;
        }
        let mut parts = split_unquoted(element, b';').map(str::trim);
        let name = parts.next().filter(|name| is_token(name))?;
        let mut params = Vec::new();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(unquote(value.trim_start())?)),
                None => (part, None),
            };
            params.push((Some(name).filter(|name| is_token(name))?, value));
        }
        out.push(Extension { name, params });
    }
    Some(())
}

fn split_unquoted(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    core::iter::from_fn(move || {
        let text = rest.take()?;
        let mut quoted = false;
        let mut escaped = false;
        for (i, b) in text.bytes().enumerate() {
            match b {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b if b == separator && !quoted => {
                    rest = text.get(i + 1..);
                    return text.get(..i);
                }
                _ => {}
            }
        }
        Some(text)
    })
}

/// A token, or one in quotes, which means the same (RFC 6455 section 9.1).
fn unquote(value: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return is_token(value).then_some(Cow::Borrowed(value));
    };
    let plain: String = inner.replace('\\', "");
    is_token(&plain).then_some(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(offers: &str, ours: &Deflate) -> Option<String> {
        choose([offers.as_bytes()].into_iter(), Some(ours)).ok().flatten().map(|(_, text)| text)
    }

    fn confirmed(answer: &str, ours: &Deflate) -> Result<Option<DeflateParams>, HandshakeError> {
        confirm([answer.as_bytes()].into_iter(), Some(ours))
    }

    #[test]
    fn the_first_offer_that_can_be_kept_is_taken() {
        let ours = Deflate::new();
        assert_eq!(chosen("permessage-deflate", &ours).as_deref(), Some("permessage-deflate"));
        let all = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                   server_max_window_bits=\"10\"; client_max_window_bits";
        assert_eq!(
            chosen(all, &ours).as_deref(),
            Some(
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=10; client_max_window_bits=15"
            )
        );
        let fallback = "x-other, permessage-deflate; unknown, permessage-deflate; client_max_window_bits=9";
        assert_eq!(chosen(fallback, &ours).as_deref(), Some("permessage-deflate; client_max_window_bits=9"));
    }

    #[test]
    fn offers_with_wrong_parameters_are_declined() {
        for params in [
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=09",
            "server_max_window_bits=+9",
            "client_max_window_bits=16",
            "server_no_context_takeover=1",
            "server_no_context_takeover; server_no_context_takeover",
            "client_max_window_bits; client_max_window_bits=9",
            "something",
        ] {
            assert_eq!(chosen(&alloc::format!("permessage-deflate; {params}"), &Deflate::new()), None, "{params}");
        }
        for broken in ["permessage-deflate; =3", "permessage deflate", "permessage-deflate; a=\"b c\"", ";"] {
            assert!(choose([broken.as_bytes()].into_iter(), None).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_client_that_cannot_limit_its_window_is_not_asked_to() {
        let ours = Deflate::new().client_max_window_bits(10).server_max_window_bits(11);
        assert_eq!(
            chosen("permessage-deflate", &ours).as_deref(),
            Some("permessage-deflate; server_max_window_bits=11")
        );
        assert_eq!(
            chosen("permessage-deflate; client_max_window_bits", &ours).as_deref(),
            Some("permessage-deflate; server_max_window_bits=11; client_max_window_bits=10")
        );
    }

    #[test]
    fn an_answer_must_fit_the_offer() {
        let ours = Deflate::new();
        assert_eq!(confirmed("", &ours), Ok(None));
        let plain = confirmed("permessage-deflate", &ours).ok().flatten();
        assert_eq!(plain.map(|p| (p.server_max_window_bits, p.client_max_window_bits)), Some((15, 15)));
        let narrow = confirmed("permessage-deflate; client_max_window_bits=8", &ours).ok().flatten();
        assert_eq!(narrow.map(|p| p.client_max_window_bits), Some(8));
        for wrong in [
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; unknown",
            "permessage-deflate, permessage-deflate",
            "x-other",
            "permessage-deflate; server_max_window_bits=77",
        ] {
            assert!(confirmed(wrong, &ours).is_err(), "{wrong}");
        }
        let strict = Deflate::new().server_no_context_takeover(true).server_max_window_bits(10);
        assert!(confirmed("permessage-deflate; server_max_window_bits=10", &strict).is_err());
        assert!(confirmed("permessage-deflate; server_no_context_takeover", &strict).is_err());
        let kept = "permessage-deflate; server_no_context_takeover; server_max_window_bits=10";
        assert!(confirmed(kept, &strict).is_ok());
        assert!(confirm([b"permessage-deflate".as_slice()].into_iter(), None).is_err(), "nothing was offered");
    }
}
