//! What HTTP runs over: TCP, or TLS over it where the URI says so.

use std::sync::Arc;

use duologue_http1::http::Uri;
use duologue_http1::http::uri::Scheme;

use super::HttpError;
use crate::redial::{Dialling, PoolCarrier, Redial, SendProtocol};
use crate::tls::TlsError;
use crate::{ConnectError, ConnectorOf, DialTls, NoTls, OpenTls, Options, PlainOrTls, Secured};

/// How a target that takes TLS begins. Without it, TCP is meant: neither ever gets a connection of the other.
const SECURE: &str = "https://";
/// What is spoken over TLS, as ALPN calls it (RFC 7301, section 6). Nothing agreed means it too (RFC 9110, section 4.2.2).
const SPOKEN: &str = "http/1.1";

/// What the connections of an [`HttpClient`](super::HttpClient) and of an [`EventSource`](super::EventSource) are made of. A
/// target is `host:port`, or `https://host:port`. Every [`Redial`] is one, for http alone; [`PlainOrTls`] is one for both.
pub trait HttpCarrier: PoolCarrier {
    /// What TLS is opened with.
    type Connector: Clone + Send + Sync + 'static;

    /// Connects to a target, with TLS or without, all within [`Options::connect_within`].
    fn connect<P: SendProtocol>(
        target: Arc<str>,
        connector: Option<Self::Connector>,
        protocol: P,
        options: Options,
    ) -> Dialling<P, Self>;

    /// Whether a certificate can be for `host`.
    ///
    /// # Errors
    /// See [`TlsError`].
    fn check_host(host: &str) -> Result<(), TlsError>;
}

impl<R: Redial> HttpCarrier for R {
    type Connector = NoTls;

    fn connect<P: SendProtocol>(
        target: Arc<str>,
        _connector: Option<NoTls>,
        protocol: P,
        options: Options,
    ) -> Dialling<P, Self> {
        if target.starts_with(SECURE) {
            return no_connector::<P, Self>();
        }
        R::connect(target, protocol, options)
    }

    fn check_host(_host: &str) -> Result<(), TlsError> {
        Err(TlsError::NoConnector)
    }
}

impl<R: DialTls> HttpCarrier for PlainOrTls<R> {
    type Connector = ConnectorOf<R>;

    fn connect<P: SendProtocol>(
        target: Arc<str>,
        connector: Option<Self::Connector>,
        protocol: P,
        options: Options,
    ) -> Dialling<P, Self> {
        let (address, secured) = match (target.strip_prefix(SECURE), connector) {
            (Some(address), Some(connector)) => (address, Some(Secured { connector, speaks: SPOKEN })),
            (Some(_), None) => return no_connector::<P, Self>(),
            (None, _) => (&*target, None),
        };
        Box::pin(Self::connect(address.to_owned(), secured, protocol, options))
    }

    fn check_host(host: &str) -> Result<(), TlsError> {
        R::Tls::check_host(host)
    }
}

fn no_connector<P: SendProtocol, C: HttpCarrier>() -> Dialling<P, C> {
    Box::pin(async { Err(ConnectError::Tls(TlsError::NoConnector)) })
}

/// The target of a URI. `secure` says whether https can be asked.
pub(super) fn target(uri: &Uri, secure: bool) -> Result<String, HttpError> {
    let (prefix, port) = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => ("", 80),
        Some(scheme) if *scheme == Scheme::HTTPS && secure => (SECURE, 443),
        Some(scheme) if *scheme == Scheme::HTTPS => {
            return Err(HttpError::Target(
                "https needs TLS: enable the adapter's feature `rustls` and call `with_tls`",
            ));
        }
        _ => return Err(HttpError::Target("the scheme has to be http or https")),
    };
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or(HttpError::Target("it names no host"))?;
    let mut target = match authority.port_u16() {
        // It is asked for every request: what is written out already is not formatted.
        Some(_) if !authority.as_str().contains('@') => [prefix, authority.as_str()].concat(),
        given => format!("{prefix}{}:{}", authority.host(), given.unwrap_or(port)),
    };
    // However a host is written it is one host, with one share of the pool (RFC 9110, section 4.2.3).
    target.make_ascii_lowercase();
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_host_and_a_port_and_says_whether_it_takes_tls() {
        let rows = [
            ("http://a/b", Some("a:80")),
            ("http://a:81", Some("a:81")),
            ("http://a:443", Some("a:443")),
            ("http://a:/", Some("a:80")),
            ("http://u@a:81/", Some("a:81")),
            ("http://[::1]:81/", Some("[::1]:81")),
            ("http://Example.ORG/A", Some("example.org:80")),
            ("http://Example.ORG:81/A", Some("example.org:81")),
            ("https://a/", Some("https://a:443")),
            ("https://u:p@a:80/", Some("https://a:80")),
            ("HTTPS://[::1]/", Some("https://[::1]:443")),
            ("ftp://a/", None),
            ("/only/a/path", None),
        ];
        for (uri, expected) in rows {
            let uri = uri.parse::<Uri>().expect("a URI");
            assert_eq!(target(&uri, true).ok().as_deref(), expected, "{uri}");
            let plain = expected.filter(|target| !target.starts_with(SECURE));
            assert_eq!(target(&uri, false).ok().as_deref(), plain, "{uri}");
        }
    }
}
