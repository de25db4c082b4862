//! The captured exchanges, played to each of our roles.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use duologue_brpc::wire::{Header, Magic, Prefix};
use duologue_brpc::{BrpcConfig, BrpcEvent, Reply, Role};
use duologue_core::streams::StreamEvent;
use serde_json::Value;

fn exchange_of(file: &str, dir: &str) -> Vec<(Value, Vec<u8>)> {
    let all: Vec<Value> = serde_json::from_str(include_str!("vectors/vectors.json")).unwrap();
    let unhex = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let of = all.into_iter().filter(|v| v["file"] == file && v["dir"] == dir);
    of.map(|v| (v.clone(), unhex(v["hex"].as_str().unwrap()))).collect()
}

/// Payloads of the DATA frames, but for the response: whole messages.
fn messages(frames: &[(Value, Vec<u8>)]) -> Vec<Vec<u8>> {
    let (mut all, mut message) = (Vec::new(), Vec::new());
    for (vector, bytes) in frames {
        if vector["meta"]["frame_type"] == "DATA" && vector.get("inner_prpc_meta").is_none() {
            let header = Header::decode(bytes.first_chunk().unwrap()).unwrap();
            assert_eq!(header.magic, Magic::Stream);
            message.extend_from_slice(&bytes[bytes.len() - header.payload()..]);
            if vector["meta"]["has_continuation"] == false {
                all.push(std::mem::take(&mut message));
            }
        }
    }
    all
}

/// What the peer sends after its CLOSE is for nobody.
fn until_close(frames: &[(Value, Vec<u8>)]) -> &[(Value, Vec<u8>)] {
    let at = frames.iter().position(|(v, _)| v["meta"]["frame_type"] == "CLOSE").map_or(frames.len(), |at| at + 1);
    &frames[..at]
}

#[test]
fn clients_of_the_original_are_served_as_the_original_did() {
    // The id of the original server is 0 in these, as ours is.
    for file in ["brpc_streaming_echo", "A_pyclient_brpcserver", "S6_nohandler", "S7_empty"] {
        for cut in [1, 13, usize::MAX] {
            let frames = exchange_of(file, "C->S");
            let mut server = Side::new(Role::Server, BrpcConfig::new());
            server.cut = cut;
            server.feed(&frames[0].1);
            let request = server.request();
            assert_eq!((&request.service[..], &request.method[..]), ("example.EchoService", "Echo"));
            let id = server.session.protocol_mut(NOW).accept(request.id).unwrap()[0];
            server.reply(Reply::ok(request.id, b"\x0a\x0fAccepted stream"[..].into()));
            all_output(&mut server.session);
            let alive = until_close(&frames[1..]);
            let client = frames[0].0["meta"]["stream_settings"]["stream_id"].as_i64().unwrap();
            for (_, bytes) in alive {
                server.feed(bytes);
            }
            let answered = all_output(&mut server.session);
            assert!(answered.ends_with(Prefix::close(client, 0).as_slice()), "{file}: CLOSE is mirrored");
            assert_eq!(server.take(id), messages(alive), "{file}");
            server.pump();
            assert_eq!(server.end_of(id).len(), 1, "{file}");
            for (vector, bytes) in &frames[1 + alive.len()..] {
                server.feed(bytes);
                let rst = if vector["meta"]["frame_type"] == "RST" {
                    Vec::new()
                } else {
                    Prefix::rst(client).as_slice().to_vec()
                };
                assert_eq!(all_output(&mut server.session), rst, "{file}");
            }
            assert_eq!(server.session.cause(), None, "{file}");
        }
    }
}

#[test]
fn servers_answer_our_client_as_they_answered_the_original() {
    for file in ["brpc_streaming_echo", "B_echo", "D_noaccept", "E_err", "F_rst", "G_close", "S6_nohandler", "S7_empty"]
    {
        for cut in [1, 13, usize::MAX] {
            let (asked, answered) = (exchange_of(file, "C->S"), exchange_of(file, "S->C"));
            let mut client = Side::new(Role::Client, BrpcConfig::new());
            client.cut = cut;
            let id = client.open();
            client.call(echo(4_294_967_298, vec![id]));
            messages(&asked).into_iter().for_each(|message| client.send(id, message));
            client.feed(&answered[0].1);
            let response = client.response();
            let inner = &answered[0].0["inner_prpc_meta"];
            assert_eq!(i64::from(response.error_code), inner["response"]["error_code"].as_i64().unwrap(), "{file}");
            let accepted = inner.get("stream_settings").is_some_and(Value::is_object);
            assert_eq!(response.streams, usize::from(accepted), "{file}");
            let sent = all_output(&mut client.session);
            let same = asked.iter().filter(|(v, _)| v["meta"]["frame_type"] == "DATA");
            let same: Vec<u8> = same.flat_map(|(_, bytes)| bytes.clone()).collect();
            if accepted {
                assert!(sent.ends_with(&same), "{file}: DATA comes out as the original's");
            } else {
                assert_eq!(client.end_of(id).len(), 1, "{file}");
            }
            for (_, bytes) in &answered[1..] {
                client.feed(bytes);
            }
            assert_eq!(client.session.cause(), None, "{file}");
            let reset = answered.iter().any(|(v, _)| v["meta"]["frame_type"] == "RST");
            let told = messages(until_close(&answered[1..]));
            if accepted && !reset && !told.is_empty() {
                assert_eq!(client.take(id), told, "{file}");
            }
            client.pump();
            let closed = answered.iter().any(|(v, _)| ["CLOSE", "RST"].iter().any(|k| v["meta"]["frame_type"] == *k));
            let ends = client.events.iter().filter(|e| matches!(e, BrpcEvent::Stream(StreamEvent::Closed(..))));
            assert_eq!(ends.count(), usize::from(closed || !accepted), "{file}: one end");
        }
    }
}
