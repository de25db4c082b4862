//! `ws:` and `wss:` addresses (RFC 6455 section 3).

use alloc::string::String;
use core::net::Ipv6Addr;

use thiserror::Error;

/// An address of a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uri {
    /// `wss`: over TLS.
    pub secure: bool,
    /// The name or address to connect to, without the brackets of IPv6.
    pub host: String,
    /// The port; 80 or 443 if none was given.
    pub port: u16,
    /// What belongs into the Host field.
    pub authority: String,
    /// The path and query, at least `/`.
    pub target: String,
}

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriError {
    /// Another scheme, or none.
    #[error("the address begins with neither ws:// nor wss://")]
    Scheme,
    /// No host, or one that is none. Names beyond ASCII are written in their ASCII form (`xn--…`).
    #[error("the address has no valid host")]
    Host,
    /// No number from 1 to 65535.
    #[error("the address has no valid port")]
    Port,
    /// WebSocket addresses have none (RFC 6455 section 3).
    #[error("the address has a fragment")]
    Fragment,
}

impl Uri {
    /// Parses `ws://host[:port][/path][?query]`, or `wss`. User names and passwords are not for addresses.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        let secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("ws") => false,
            _ if scheme.eq_ignore_ascii_case("wss") => true,
            _ => return Err(UriError::Scheme),
        };
        if rest.contains('#') {
            return Err(UriError::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (host, port) = match authority.strip_prefix('[') {
            Some(inner) => {
                let (host, after) = inner.split_once(']').ok_or(UriError::Host)?;
                let port = if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(UriError::Host)?) };
                (host, port)
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'%');
        let is_address = || host.split('%').next().is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
        if host.is_empty() || !host.bytes().all(named) || (authority.starts_with('[') && !is_address()) {
            return Err(UriError::Host);
        }
        let port = match port {
            None if secure => 443,
            None => 80,
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
                port.parse().ok().filter(|port| *port > 0).ok_or(UriError::Port)?
            }
            Some(_) => return Err(UriError::Port),
        };
        let mut path = String::new();
        if !target.starts_with('/') {
            path.push('/');
        }
        path.push_str(target);
        Ok(Self { secure, host: String::from(host), port, authority: String::from(authority), target: path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let parts = |text| Uri::parse(text).map(|uri| (uri.secure, uri.host, uri.port, uri.authority, uri.target));
        let all = |secure, host: &str, port, authority: &str, target: &str| {
            Ok((secure, String::from(host), port, String::from(authority), String::from(target)))
        };
        assert_eq!(parts("ws://a.b"), all(false, "a.b", 80, "a.b", "/"));
        assert_eq!(parts("WSS://a:9?q=1"), all(true, "a", 9, "a:9", "/?q=1"));
        assert_eq!(parts("wss://[::1]/x/y?z"), all(true, "::1", 443, "[::1]", "/x/y?z"));
        assert_eq!(parts("ws://[::1]:80/"), all(false, "::1", 80, "[::1]:80", "/"));
        assert_eq!(parts("ws://[fe80::1%eth0]/").map(|parts| parts.1), Ok(String::from("fe80::1%eth0")));
        for (text, error) in [
            ("http://a", UriError::Scheme),
            ("a.b/c", UriError::Scheme),
            ("ws://", UriError::Host),
            ("ws://u@h/", UriError::Host),
            ("ws://a b/", UriError::Host),
            ("ws://[::1/", UriError::Host),
            ("ws://[h]/", UriError::Host),
            ("ws://[]/", UriError::Host),
            ("ws://b\u{fc}cher.example/", UriError::Host),
            ("ws://a:0/", UriError::Port),
            ("ws://a:65536/", UriError::Port),
            ("ws://a:/", UriError::Port),
            ("ws://a/#f", UriError::Fragment),
        ] {
            assert_eq!(Uri::parse(text), Err(error), "{text}");
        }
    }
}
