//! Writing requests.

use bytes::Bytes;
use duologue_core::{Cx, Refusal};
use http::uri::Authority;
use http::{HeaderMap, Method, header};

use super::{Client, Exchange};
use crate::message::{Body, Request};
use crate::timer::Timer;
use crate::wire::{
    BodyEncoder, Count, Digits, Out, Place, field, fields, is_framing, names_token, owned, put_data, put_end,
};

/// How a request goes out, decided before a byte is written.
#[derive(Debug)]
struct Plan<'a> {
    target: &'a str,
    /// The host, if the application's fields do not name it.
    host: Option<&'a str>,
    length: Option<u64>,
    encoder: Option<BodyEncoder>,
    exchange: Exchange,
    closes: bool,
}

impl Client {
    pub(super) fn request(&mut self, cx: &mut Cx<'_, Self>, request: &Request) -> Result<(), Refusal> {
        if !self.is_idle() {
            return Err(Refusal::Invalid("a request is outstanding, or the connection ends: see Client::is_idle"));
        }
        let plan = plan(request).map_err(Refusal::Invalid)?;
        let mut count = Count::default();
        put_head(&mut count, request, &plan);
        let body = match &request.body {
            Body::Full(body) => Some(body),
            _ => None,
        };
        let mut out = cx.tx.message(count.0 + body.map_or(0, Bytes::len))?;
        out.put_with(count.0, |place| put_head(&mut Place(place), request, &plan));
        if let Some(body) = body {
            out.put_bytes(body.clone());
        }
        drop(out);
        self.requests += 1;
        self.interim = 0;
        self.closes = plan.closes;
        self.exchange = Some(plan.exchange);
        self.sending = plan.encoder;
        if plan.exchange.expects {
            self.await_continue(cx);
        } else if self.sending.is_none() {
            self.await_response(cx);
        }
        Ok(())
    }

    pub(super) fn data(&mut self, cx: &mut Cx<'_, Self>, data: &Bytes) -> Result<(), Refusal> {
        let Some(encoder) = &mut self.sending else { return Err(Refusal::Invalid("no request is being sent")) };
        put_data(cx.tx, encoder, owned(data))?;
        cx.timers.clear(Timer::Expect);
        Ok(())
    }

    pub(super) fn end(&mut self, cx: &mut Cx<'_, Self>, trailers: Option<&HeaderMap>) -> Result<(), Refusal> {
        let Some(encoder) = self.sending else { return Err(Refusal::Invalid("no request is being sent")) };
        put_end(cx.tx, encoder, trailers)?;
        self.sent(cx);
        Ok(())
    }
}

fn plan(request: &Request) -> Result<Plan<'_>, &'static str> {
    let Request { method, uri, headers, body } = request;
    if is_framing(headers) {
        return Err("Content-Length and Transfer-Encoding are written by the session");
    }
    let connect = *method == Method::CONNECT;
    if connect && *body != Body::Empty {
        return Err("CONNECT has no content");
    }
    if *method == Method::TRACE && *body != Body::Empty {
        return Err("TRACE has no content");
    }
    let target = match (connect, uri.path_and_query()) {
        (true, _) => {
            let authority = uri.authority().filter(|a| a.port_u16().is_some());
            without_user(authority.ok_or("CONNECT needs host:port")?)
        }
        (false, Some(path)) => path.as_str(),
        (false, None) => "/",
    };
    if target == "*" && *method != Method::OPTIONS {
        return Err("the target * is for OPTIONS only");
    }
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the target has bytes that must be percent-encoded");
    }
    let hosts = headers.get_all(header::HOST).iter().count();
    let host = match (hosts, uri.authority()) {
        (1, _) => None,
        (0, Some(authority)) => Some(without_user(authority)),
        (0, None) => return Err("no Host field, and no host in the URI"),
        _ => return Err("several Host fields"),
    };
    let takes_content = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    let (length, encoder) = match body {
        Body::Empty => (takes_content.then_some(0), None),
        Body::Full(bytes) => (Some(bytes.len() as u64), None),
        Body::Sized(left) => (Some(*left), Some(BodyEncoder::Sized { left: *left })),
        Body::Stream => (None, Some(BodyEncoder::Chunked)),
    };
    let expects = names_token(headers, &header::EXPECT, "100-continue");
    if expects && encoder.is_none() {
        return Err("Expect: 100-continue needs content that is sent later: Body::Sized or Body::Stream");
    }
    let upgrade = connect || headers.contains_key(header::UPGRADE);
    let exchange = Exchange { head: *method == Method::HEAD, connect, upgrade, expects };
    let closes = names_token(headers, &header::CONNECTION, "close");
    Ok(Plan { target, host, length, encoder, exchange, closes })
}

/// The host and port: who the user is stays at home.
fn without_user(authority: &Authority) -> &str {
    let text = authority.as_str();
    text.rsplit_once('@').map_or(text, |(_, host)| host)
}

fn put_head(out: &mut impl Out, request: &Request, plan: &Plan<'_>) {
    out.put(request.method.as_str().as_bytes());
    out.put(b" ");
    // A URI may have a query and no path; a request target begins with one (RFC 9112, section 3.2.1).
    if plan.target.starts_with('?') {
        out.put(b"/");
    }
    out.put(plan.target.as_bytes());
    out.put(b" HTTP/1.1\r\n");
    if let Some(host) = plan.host {
        field(out, "host", host.as_bytes());
    }
    fields(out, &request.headers);
    match (plan.length, plan.encoder) {
        (Some(length), _) => field(out, "content-length", Digits::decimal(length).as_slice()),
        (None, Some(BodyEncoder::Chunked)) => out.put(b"transfer-encoding: chunked\r\n"),
        (None, _) => {}
    }
    out.put(b"\r\n");
}
