//! websocket-sans-io. It knows frames and no messages: whoever uses it puts them together, here without a copy where a
//! message lies whole.

use websocket_sans_io::{FrameInfo, Opcode, WebsocketFrameDecoder, WebsocketFrameEncoder, WebsocketFrameEvent};

use super::BATCH;
use super::wire::{KEY, Wire, note};

pub(super) fn parse(wire: &Wire) -> u64 {
    let mut decoder = WebsocketFrameDecoder::new();
    let mut buffer = vec![0; 64 << 10];
    let mut message = Vec::new();
    let mut expected = 0;
    let mut sum = 0;
    wire.for_each_read(|read| {
        let buffer = &mut buffer[..read.len()];
        buffer.copy_from_slice(read);
        let mut at = 0;
        loop {
            let rest = &mut buffer[at..];
            let Ok(added) = decoder.add_data(rest);
            at += added.consumed_bytes;
            match added.event {
                None if added.consumed_bytes == 0 => break,
                None => {}
                Some(WebsocketFrameEvent::Start { frame_info, .. }) => {
                    assert!(frame_info.is_reasonable() && frame_info.mask.is_some(), "a sound masked frame");
                    expected = frame_info.payload_length as usize;
                }
                Some(WebsocketFrameEvent::PayloadChunk { original_opcode: Opcode::Binary }) => {
                    let chunk = &rest[..added.consumed_bytes];
                    if message.is_empty() && chunk.len() == expected {
                        note(&mut sum, chunk);
                        expected = 0;
                    } else {
                        message.extend_from_slice(chunk);
                    }
                }
                Some(WebsocketFrameEvent::PayloadChunk { .. }) => {}
                Some(WebsocketFrameEvent::End { frame_info, .. }) if frame_info.fin && !message.is_empty() => {
                    note(&mut sum, &message);
                    message.clear();
                }
                Some(WebsocketFrameEvent::End { .. }) => {}
            }
        }
    });
    sum
}

pub(super) fn serialise(wire: &Wire) -> u64 {
    let mut sum = 0;
    write(
        wire,
        || sum += wire.payload.len() as u64 + u64::from(wire.payload.last().copied().unwrap_or_default()),
        |_| (),
    );
    sum
}

fn write(wire: &Wire, mut wrote: impl FnMut(), mut take: impl FnMut(&[u8])) {
    let mut encoder = WebsocketFrameEncoder::new();
    let mut out = Vec::with_capacity(BATCH * (wire.payload.len() + 14));
    let mut state = u64::from(u32::from_ne_bytes(KEY));
    for i in 0..wire.messages {
        // Keys are the caller's to make: as by hand.
        state = state.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
        let payload = std::hint::black_box(&wire.payload[..]);
        let header = encoder.start_frame(&FrameInfo {
            opcode: Opcode::Binary,
            payload_length: payload.len() as u64,
            mask: Some(((state >> 32) as u32).to_ne_bytes()),
            fin: true,
            reserved: 0,
        });
        out.extend_from_slice(&header);
        let start = out.len();
        out.extend_from_slice(payload);
        encoder.transform_frame_payload(&mut out[start..]);
        wrote();
        if i % BATCH == BATCH - 1 || i + 1 == wire.messages {
            take(std::hint::black_box(&out));
            out.clear();
        }
    }
}

#[cfg(test)]
pub(super) fn written(wire: &Wire) -> Vec<u8> {
    let mut all = Vec::new();
    write(wire, || (), |out| all.extend_from_slice(out));
    all
}
