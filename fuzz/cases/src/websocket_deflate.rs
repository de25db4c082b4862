//! permessage-deflate: what is sent arrives, and what a hostile peer sends inflates to what flate2 makes of it, within the
//! limit, or ends the conversation.

use arbitrary::Arbitrary;
use bytes::Bytes;
use duologue_core::{Cause, Config, Event as SessionEvent, Session, Timeouts};
use duologue_websocket::{
    ClientHandshake, Command, Deflate, Event, Limits, Role, ServerHandshake, Settings, WebSocket,
};
use flate2::{Decompress, FlushDecompress, Status};

use crate::play::{NOW, drain, play};

const MAX_MESSAGE: u64 = 4096;

/// What was agreed on, messages each way, and a compressed message made by hand.
#[derive(Arbitrary, Debug)]
pub struct Input {
    forget: (bool, bool),
    bits: (u8, u8),
    level: u8,
    cuts: Vec<u8>,
    messages: Vec<Message>,
    /// In one frame, or cut there.
    cut_at: Option<u8>,
    hostile: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
struct Message {
    from_client: bool,
    text: bool,
    /// Repeated so often: what compresses well.
    times: u8,
    bytes: Vec<u8>,
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some(input) = crate::parse::<Input>(data) else { return };
    let bits = |bits: u8| 9 + bits % 7;
    let deflate = Deflate::new()
        .level(input.level % 10)
        .min_len(0)
        .server_no_context_takeover(input.forget.0)
        .client_no_context_takeover(input.forget.1)
        .server_max_window_bits(bits(input.bits.0))
        .client_max_window_bits(bits(input.bits.1));
    let settings = Settings::new().deflate(Some(deflate)).limits(Limits::new().max_message(MAX_MESSAGE).max_head(4096));
    let config = |role| settings.config(role, Config::new().timeouts(Timeouts::none()));
    let handshake = ClientHandshake::new("example.org", "/").settings(settings);
    let client = WebSocket::client(handshake).unwrap_or_else(|error| panic!("{error}"));
    let server = WebSocket::server(ServerHandshake::new(settings));
    let mut client = Session::new(client, config(Role::Client), 1, NOW).unwrap_or_else(|error| panic!("{error}"));
    let mut server = Session::new(server, config(Role::Server), 2, NOW).unwrap_or_else(|error| panic!("{error}"));

    let request = play(&mut client, &[], &[], false, |_, _| {});
    let response = play(&mut server, &request, &input.cuts, false, |_, _| {});
    play(&mut client, &response, &input.cuts, false, |_, _| {});
    assert!(client.protocol().is_compressed() && server.protocol().is_compressed(), "both want it: {response:?}");

    for message in input.messages.iter().take(16) {
        let (from, to) = if message.from_client { (&mut client, &mut server) } else { (&mut server, &mut client) };
        exchange(from, to, message, &input.cuts);
    }
    hostile(&mut server, &input);
}

fn exchange(from: &mut Session<WebSocket>, to: &mut Session<WebSocket>, message: &Message, cuts: &[u8]) {
    let mut bytes = message.bytes.repeat(1 + usize::from(message.times));
    bytes.truncate(MAX_MESSAGE as usize);
    let text = message.text && std::str::from_utf8(&bytes).is_ok();
    let command = match String::from_utf8(bytes.clone()) {
        Ok(string) if text => Command::text(string),
        _ => Command::binary(bytes.clone()),
    };
    let sent = from.send(NOW, command);
    assert!(sent.is_ok(), "there is room: {:?}", sent.err());
    let mut wire = Vec::new();
    drain(from, &mut wire);
    let mut got = Vec::new();
    play(to, &wire, cuts, false, |_, event| match event {
        SessionEvent::App(Event::Text(text)) => got.push((true, text.as_bytes().to_vec())),
        SessionEvent::App(Event::Binary(data)) => got.push((false, data.to_vec())),
        other => panic!("{other:?} instead of a message"),
    });
    assert_eq!(got, [(text, bytes)], "what arrives is what was sent");
}

/// A compressed binary message of any bytes, for a server that remembers what came before, or does not.
fn hostile(server: &mut Session<WebSocket>, input: &Input) {
    let hostile = input.hostile.get(..4000).unwrap_or(&input.hostile);
    let cut = input.cut_at.map_or(hostile.len(), |cut| usize::from(cut).min(hostile.len()));
    let (first, second) = hostile.split_at(cut);
    let mut wire = frame(if input.cut_at.is_some() { 0x42 } else { 0xC2 }, first);
    if input.cut_at.is_some() {
        wire.extend(frame(0x80, second));
    }
    let mut got: Option<Bytes> = None;
    play(server, &wire, &input.cuts, false, |_, event| match event {
        SessionEvent::App(Event::Binary(data)) => got = Some(data),
        SessionEvent::Closed(_) | SessionEvent::App(Event::Close(_)) => {}
        other => panic!("{other:?} instead of a message or an end"),
    });
    let remembers = !input.forget.1 && input.messages.iter().take(16).any(|message| message.from_client);
    match (&got, server.cause()) {
        (Some(data), None) => {
            assert!(data.len() as u64 <= MAX_MESSAGE, "a message of {} bytes", data.len());
            if !remembers {
                assert_eq!(reference(hostile).as_deref(), Some(&data[..]), "flate2 inflates it differently");
            }
        }
        (None, Some(Cause::Violation(violation))) => {
            assert!(matches!(violation.close_code().0, 1007 | 1009), "{violation:?}");
        }
        other => panic!("neither a message nor a violation: {other:?}"),
    }
}

/// A masked frame; the key is zero.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    if payload.len() < 126 {
        frame.push(0x80 | payload.len() as u8);
    } else {
        frame.push(0xFE);
        frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// RFC 7692 section 7.2.2 word for word: append 00 00 FF FF and inflate. What follows a final block begins anew (7.2.3.5).
fn reference(payload: &[u8]) -> Option<Vec<u8>> {
    let bytes = [payload, &[0, 0, 0xFF, 0xFF]].concat();
    let mut out = Vec::with_capacity(2 * MAX_MESSAGE as usize);
    let mut rest = &bytes[..];
    loop {
        let mut stream = Decompress::new(false);
        let status = stream.decompress_vec(rest, &mut out, FlushDecompress::Sync).ok()?;
        rest = rest.get(stream.total_in() as usize..)?;
        if status != Status::StreamEnd || rest.is_empty() {
            return Some(out);
        }
    }
}
