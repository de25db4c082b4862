//! The captured frames of the original: what they say, and that they come out again byte for byte.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use duologue_brpc::BrpcViolation;
use duologue_brpc::meta::{Feedback, RpcMeta, RpcRequestMeta, RpcResponseMeta, StreamFrameMeta, StreamSettings};
use duologue_brpc::wire::{FrameType, HEADER, Header, Magic, Prefix};
use proptest::prelude::*;
use prost::Message;
use serde_json::Value;

fn vectors() -> Vec<Value> {
    serde_json::from_str(include_str!("vectors/vectors.json")).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn int(value: &Value) -> Option<i64> {
    value.as_i64()
}

fn small(value: &Value) -> Option<i32> {
    value.as_i64().map(|n| i32::try_from(n).unwrap())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The meta of a call as the capture decoded it.
fn rpc_meta(json: &Value) -> RpcMeta {
    let known = ["request", "response", "compress_type", "correlation_id", "stream_settings", "content_type"];
    let known = [&known[..], &["checksum_type", "checksum_value"]].concat();
    json.as_object().unwrap().keys().for_each(|key| assert!(known.contains(&key.as_str()), "{key} is not compared"));
    let object = |name: &str| json.get(name).filter(|value| value.is_object());
    RpcMeta {
        request: object("request").map(|r| RpcRequestMeta {
            service_name: text(&r["service_name"]).unwrap(),
            method_name: text(&r["method_name"]).unwrap(),
            timeout_ms: small(&r["timeout_ms"]),
            ..RpcRequestMeta::default()
        }),
        response: object("response")
            .map(|r| RpcResponseMeta { error_code: small(&r["error_code"]), error_text: text(&r["error_text"]) }),
        compress_type: small(&json["compress_type"]),
        correlation_id: int(&json["correlation_id"]),
        stream_settings: object("stream_settings").map(|s| StreamSettings {
            stream_id: int(&s["stream_id"]),
            need_feedback: s["need_feedback"].as_bool(),
            writable: s["writable"].as_bool(),
            extra_stream_ids: s["extra_stream_ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect(),
        }),
        content_type: small(&json["content_type"]),
        checksum_type: small(&json["checksum_type"]),
        checksum_value: text(&json["checksum_value"]).map(Bytes::from),
        ..RpcMeta::default()
    }
}

fn frame_meta(json: &Value) -> StreamFrameMeta {
    let kind = match json["frame_type"].as_str().unwrap() {
        "RST" => FrameType::Rst,
        "CLOSE" => FrameType::Close,
        "DATA" => FrameType::Data,
        "FEEDBACK" => FrameType::Feedback,
        other => panic!("{other}"),
    };
    StreamFrameMeta {
        stream_id: int(&json["stream_id"]),
        source_stream_id: int(&json["source_stream_id"]),
        frame_type: Some(kind as i32),
        has_continuation: json["has_continuation"].as_bool(),
        feedback: json.get("feedback").map(|f| Feedback { consumed_size: int(&f["consumed_size"]) }),
    }
}

/// Splits a frame, and checks its lengths.
fn split(frame: &[u8]) -> (Header, &[u8], &[u8]) {
    let header = Header::decode(frame.first_chunk::<HEADER>().unwrap()).unwrap();
    assert_eq!(header.encode(), frame[..HEADER]);
    assert_eq!(header.body as usize, frame.len() - HEADER);
    let (meta, payload) = frame[HEADER..].split_at(header.meta as usize);
    assert_eq!(payload.len(), header.payload());
    (header, meta, payload)
}

fn check_call(frame: &[u8], json: &Value) -> Vec<u8> {
    let (header, bytes, payload) = split(frame);
    assert_eq!(header.magic, Magic::Rpc);
    let meta = RpcMeta::decode(bytes).unwrap();
    assert_eq!(meta, rpc_meta(json));
    assert_eq!(meta.encode_to_vec(), bytes, "the meta comes out otherwise");
    payload.to_vec()
}

#[test]
fn every_captured_frame_is_decoded_as_the_capture_says_and_comes_out_again() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 100);
    for vector in &vectors {
        let name = format!("{} {}", vector["file"], vector["seq"]);
        let frame = unhex(vector["hex"].as_str().unwrap());
        if vector["magic"] == "PRPC" {
            let payload = check_call(&frame, &vector["meta"]);
            assert_eq!(payload.len() as u64, vector["body_len"].as_u64().unwrap(), "{name}");
            continue;
        }
        let (_, bytes, payload) = split(&frame);
        let meta = StreamFrameMeta::decode(bytes).unwrap();
        assert_eq!(meta, frame_meta(&vector["meta"]), "{name}");
        let (to, from) = (meta.stream_id.unwrap(), meta.source_stream_id);
        let ours = match FrameType::from_wire(meta.frame_type.unwrap()).unwrap() {
            FrameType::Rst => Prefix::rst(to),
            FrameType::Close => Prefix::close(to, from.unwrap()),
            FrameType::Feedback => Prefix::feedback(to, from.unwrap(), meta.feedback.unwrap().consumed_size.unwrap()),
            FrameType::Data => Prefix::data(to, from.unwrap(), meta.has_continuation.unwrap(), payload.len()),
        };
        assert_eq!([ours.as_slice(), payload].concat(), frame, "{name}");
        if let Some(inner) = vector.get("inner_prpc_meta") {
            let body = check_call(payload, inner);
            assert_eq!(body, unhex(vector["inner_body_hex"].as_str().unwrap()), "{name}");
        }
    }
}

#[test]
fn headers_that_cannot_be_are_told_apart() {
    let decode = |bytes: &[u8; 12]| Header::decode(bytes);
    assert_eq!(decode(b"HTTP\0\0\0\0\0\0\0\0"), Err(BrpcViolation::Magic(*b"HTTP")));
    let meta = decode(b"STRM\0\0\0\x01\0\0\0\x02");
    assert_eq!(meta, Err(BrpcViolation::MetaBeyondBody { meta: 2, body: 1 }));
}

proptest! {
    #[test]
    fn streaming_frames_round_trip(to: i64, from: i64, continues: bool, payload in 0_usize..1 << 30, told: i64) {
        let frames = [
            Prefix::data(to, from, continues, payload),
            Prefix::feedback(to, from, told),
            Prefix::close(to, from),
            Prefix::rst(to),
        ];
        for (frame, kind) in frames.into_iter().zip([3, 4, 2, 1]) {
            let bytes = frame.as_slice();
            let header = Header::decode(bytes.first_chunk::<HEADER>().unwrap()).unwrap();
            prop_assert_eq!(header.meta as usize, bytes.len() - HEADER);
            prop_assert_eq!(header.payload(), if kind == 3 { payload } else { 0 });
            let meta = StreamFrameMeta::decode(&bytes[HEADER..]).unwrap();
            prop_assert_eq!(meta.stream_id, Some(to));
            prop_assert_eq!(meta.source_stream_id, (kind != 1).then_some(from));
            prop_assert_eq!(meta.frame_type, Some(kind));
            prop_assert_eq!(meta.has_continuation, (kind == 3).then_some(continues));
            prop_assert_eq!(meta.feedback.and_then(|f| f.consumed_size), (kind == 4).then_some(told));
        }
    }

    #[test]
    fn metas_of_calls_round_trip(
        id: i64, streams in proptest::collection::vec(any::<i64>(), 1..5), error: i32, text in ".{0,20}",
        fields in proptest::collection::btree_map("[a-z]{1,5}", ".{0,9}", 0..4), writable: bool,
    ) {
        let meta = RpcMeta {
            response: Some(RpcResponseMeta { error_code: Some(error), error_text: Some(text) }),
            correlation_id: Some(id),
            stream_settings: Some(StreamSettings {
                stream_id: Some(streams[0]),
                need_feedback: Some(!writable),
                writable: Some(writable),
                extra_stream_ids: streams[1..].to_vec(),
            }),
            user_fields: fields,
            ..RpcMeta::default()
        };
        prop_assert_eq!(RpcMeta::decode(&meta.encode_to_vec()[..]).unwrap(), meta);
    }
}
