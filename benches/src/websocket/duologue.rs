//! Sessions over streams that were upgraded, every check on.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use duologue_core::{Config, Delivery, Event as SessionEvent, Instant, Limits, Payload, Session};
use duologue_websocket::{AsBytes, Command, Event, Role, Settings, WebSocket};

use super::BATCH;
use super::wire::{Wire, note};

type Messages = Session<WebSocket>;

fn session(role: Role, delivery: Delivery, streaming: bool) -> Messages {
    let settings = Settings::new().streaming(streaming);
    let config = settings.config(role, Config::new().delivery(delivery).limits(Limits::new().send_buffer(1 << 20)));
    let mut session = match Session::new(WebSocket::upgraded(role, settings, None), config, 1, Instant::ORIGIN) {
        Ok(session) => session,
        Err(error) => unreachable!("the limits fit the protocol: {error}"),
    };
    session.lend_recv(BytesMut::with_capacity((64 << 10) + 512));
    session
}

/// One read into the session, as a driver would: into its buffer, and the fact that it came.
fn receive(session: &mut Messages, now: &mut u64, mut read: &[u8], mut take: impl FnMut(&mut Messages, Instant)) {
    *now += 1000;
    let now = Instant::from_nanos(*now);
    while !read.is_empty() {
        let mut room = session.recv_buf();
        let n = room.remaining_mut().min(room.chunk_mut().len()).min(read.len());
        room.put_slice(&read[..n]);
        read.advance(n);
        session.received(now);
        take(session, now);
    }
}

pub(super) fn owned(wire: &Wire) -> u64 {
    let mut session = session(Role::Server, Delivery::Owned, false);
    let (mut now, mut sum) = (0, 0);
    wire.for_each_read(|read| {
        receive(&mut session, &mut now, read, |session, now| {
            while let Some(event) = session.poll_event(now) {
                if let SessionEvent::App(Event::Binary(bytes)) = event {
                    note(&mut sum, &bytes);
                }
            }
        });
    });
    sum
}

pub(super) fn borrowed(wire: &Wire) -> u64 {
    let mut session = session(Role::Server, Delivery::InPlace, false);
    let (mut now, mut sum) = (0, 0);
    wire.for_each_read(|read| {
        receive(&mut session, &mut now, read, |session, now| {
            session.handle(now, 0, usize::MAX, |event, _| {
                if let Event::Binary(bytes) = event {
                    note(&mut sum, bytes.as_slice());
                }
            });
        });
    });
    sum
}

/// Parts of a message as they come: nobody holds it whole.
pub(super) fn parts(wire: &Wire) -> u64 {
    let mut session = session(Role::Server, Delivery::InPlace, true);
    let (mut now, mut sum) = (0, 0);
    wire.for_each_read(|read| {
        receive(&mut session, &mut now, read, |session, now| {
            session.handle(now, 0, usize::MAX, |event, _| {
                if let Event::Part(part) = event {
                    let bytes = std::hint::black_box(part.data.as_bytes());
                    let last = bytes.last().copied().filter(|_| part.last).unwrap_or_default();
                    sum += bytes.len() as u64 + u64::from(last);
                }
            });
        });
    });
    sum
}

pub(super) fn serialise(wire: &Wire) -> u64 {
    let payload = Bytes::copy_from_slice(&wire.payload);
    write(wire, |session, now| session.send(now, Command::Binary(std::hint::black_box(&payload).clone())).is_ok())
}

pub(super) fn serialise_in_place(wire: &Wire) -> u64 {
    write(wire, |session, now| {
        let payload = Payload::Borrowed(std::hint::black_box(&wire.payload));
        session.send_in_place(now, Command::Binary(payload)).is_ok()
    })
}

fn write(wire: &Wire, mut send: impl FnMut(&mut Messages, Instant) -> bool) -> u64 {
    let mut session = session(Role::Client, Delivery::InPlace, false);
    session.lend_send(BytesMut::with_capacity(BATCH * (wire.payload.len() + 14)));
    let now = Instant::ORIGIN;
    let last = wire.payload.last().copied().unwrap_or_default();
    let mut sum = 0;
    for i in 0..wire.messages {
        assert!(send(&mut session, now), "there is room");
        sum += wire.payload.len() as u64 + u64::from(last);
        if i % BATCH == BATCH - 1 {
            drain(&mut session, now);
        }
    }
    sum
}

/// As a transport that takes everything.
fn drain(session: &mut Messages, now: Instant) {
    let mut slices = [&[][..]; 16];
    let filled = session.transmit(&mut slices);
    let n = std::hint::black_box(&slices[..filled]).iter().map(|slice| slice.len()).sum();
    session.transmitted(now, n);
}
