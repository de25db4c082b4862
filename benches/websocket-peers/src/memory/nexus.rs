//! nexus-web's `FrameReader` and `FrameWriter`.

use nexus_web::ws::{FrameReader, FrameWriter, Message, Role};

use super::BATCH;
use super::wire::{Wire, note};

pub(super) fn parse(wire: &Wire) -> u64 {
    let mut reader = FrameReader::builder().role(Role::Server).buffer_capacity((64 << 10) + 512).build();
    let mut sum = 0;
    wire.for_each_read(|read| {
        assert!(reader.read(read).is_ok(), "there is room");
        while let Ok(Some(message)) = reader.next() {
            if let Message::Binary(payload) = message {
                note(&mut sum, payload);
            }
        }
    });
    sum
}

pub(super) fn serialise(wire: &Wire) -> u64 {
    let mut sum = 0;
    write(
        wire,
        |_| sum += wire.payload.len() as u64 + u64::from(wire.payload.last().copied().unwrap_or_default()),
        |_| (),
    );
    sum
}

fn write(wire: &Wire, mut wrote: impl FnMut(usize), mut take: impl FnMut(&[u8])) {
    let mut writer = FrameWriter::new(Role::Client);
    let mut out = vec![0; BATCH * (wire.payload.len() + 14)];
    let mut at = 0;
    for i in 0..wire.messages {
        let n = writer.encode_binary(std::hint::black_box(&wire.payload), &mut out[at..]);
        wrote(n);
        at += n;
        if i % BATCH == BATCH - 1 || i + 1 == wire.messages {
            take(std::hint::black_box(&out[..at]));
            at = 0;
        }
    }
}

#[cfg(test)]
pub(super) fn written(wire: &Wire) -> Vec<u8> {
    let mut all = Vec::new();
    write(wire, |_| (), |out| all.extend_from_slice(out));
    all
}
