//! What a session makes of a stream does not depend on how the stream was cut, nor on how its messages are taken.

use bytes::Bytes;
use duologue_core::framed::{
    Delimited, Endian, FixedSize, Framed, Framing, HeaderFramed, LengthPrefixed, Marked, OnTooLong, VarintPrefixed,
};
use duologue_core::{Config, Delivery, Event, InPlace, Instant, Limits, Protocol, Rng, Session};
use duologue_laws::subjects::{Chat, Greeter, GreeterNote};
use duologue_laws::{Role, Subject};

mod pump;

const NOW: Instant = Instant::ORIGIN;
const CASES: u64 = 150;

/// The messages, what else was told, the answers written, and the first cause.
type Outcome = (Vec<String>, Vec<u8>, Option<String>);

/// How a stream is cut: the size of the next piece.
type Cut<'a> = &'a mut dyn FnMut() -> usize;

fn play<P: Protocol<Event: std::fmt::Debug>>(
    session: &mut Session<P>,
    stream: &[u8],
    cut: Cut<'_>,
    mut take: impl FnMut(&mut Session<P>) -> Vec<String>,
) -> Outcome {
    let (mut told, mut answers) = (Vec::new(), Vec::new());
    let mut rest = stream;
    for _ in 0..pump::STEPS {
        let size = cut().clamp(1, rest.len().max(1)).min(rest.len());
        let n = pump::input(session, NOW, &rest[..size]);
        rest = &rest[n..];
        told.extend(take(session));
        answers.extend(pump::output(session, NOW).0);
        if rest.is_empty() || n == 0 {
            break;
        }
    }
    if session.interest().read {
        session.received_eof(NOW);
        told.extend(take(session));
        answers.extend(pump::output(session, NOW).0);
    }
    let cause = session.cause().map(|cause| format!("{cause:?}"));
    (told, answers, cause)
}

fn polled<P: Protocol<Event: std::fmt::Debug>>(session: &mut Session<P>) -> Vec<String> {
    let told = pump::events(session, NOW);
    told.into_iter().filter(|event| !matches!(event, Event::Closed(_))).map(|event| format!("{event:?}")).collect()
}

/// Whole, byte by byte and in random pieces: the same.
fn same_however_cut<P: Protocol<Event: std::fmt::Debug>>(
    what: &str,
    stream: &[u8],
    rng: &mut Rng,
    make: impl Fn() -> Session<P>,
    mut take: impl FnMut(&mut Session<P>) -> Vec<String>,
) -> Outcome {
    let whole = play(&mut make(), stream, &mut || usize::MAX, &mut take);
    let bytewise = play(&mut make(), stream, &mut || 1, &mut take);
    assert_eq!(
        whole,
        bytewise,
        "{what}: whole against byte by byte, of {}",
        Bytes::copy_from_slice(stream).escape_ascii()
    );
    for _ in 0..3 {
        let mut seed = rng.clone();
        let random = play(&mut make(), stream, &mut || 1 + seed.below(9) as usize, &mut take);
        assert_eq!(whole, random, "{what}: whole against pieces, of {}", stream.escape_ascii());
        rng.next_u64();
    }
    whole
}

fn config(delivery: Delivery) -> Config {
    Config::new().delivery(delivery).limits(Limits::new().recv_buffer(200).read_chunk(7))
}

/// A stream of frames as a sender writes them, sometimes spoilt or cut off.
fn stream<P: Protocol<Event: std::fmt::Debug>>(
    rng: &mut Rng,
    sender: &mut Session<P>,
    mut command: impl FnMut(&mut Rng) -> P::Command,
) -> Vec<u8> {
    for _ in 0..=rng.below(6) {
        let command = command(rng);
        let _ = sender.send(NOW, command);
    }
    let (mut bytes, _) = pump::output(sender, NOW);
    match rng.below(5) {
        0 if !bytes.is_empty() => {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next_u32() as u8;
        }
        1 => bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize),
        2 => bytes.extend((0..rng.below(12)).map(|_| rng.next_u32() as u8)),
        _ => {}
    }
    bytes
}

fn framing<F: Framing + Clone>(name: &str, framing: impl Fn() -> F, payload: impl Fn(&mut Rng) -> Vec<u8>)
where
    F::Error: PartialEq,
{
    let policies = [OnTooLong::Close, OnTooLong::Skip, OnTooLong::Answer(Bytes::from_static(b"long"))];
    let mut rng = Rng::new(7);
    for case in 0..CASES {
        let policy = &policies[(case % 3) as usize];
        let make = |delivery| {
            let framed = Framed::new(framing()).on_too_long(policy.clone());
            Session::new(framed, config(delivery), 1, NOW).unwrap_or_else(|e| panic!("{name}: {e}"))
        };
        let bytes = stream(&mut rng, &mut make(Delivery::Owned), |rng| Bytes::from(payload(rng)));
        let owned = same_however_cut(name, &bytes, &mut rng, || make(Delivery::Owned), polled);
        let in_place = same_however_cut(
            name,
            &bytes,
            &mut rng,
            || make(Delivery::InPlace),
            |session| take_in_place(session, Bytes::copy_from_slice),
        );
        assert_eq!(owned, in_place, "{name}: owned against in place, of {}", bytes.escape_ascii());
    }
}

fn take_in_place<P: InPlace<Event: std::fmt::Debug>, E: std::fmt::Debug>(
    session: &mut Session<P>,
    own: impl Fn(P::View<'_>) -> E,
) -> Vec<String> {
    // What belongs to the opening is an event under either delivery.
    let mut taken = polled(session);
    let handled = pump::handled(session, NOW, own);
    taken.extend(handled.iter().map(|event| format!("App({event:?})")));
    taken.extend(polled(session));
    taken
}

fn any_bytes(most: u64) -> impl Fn(&mut Rng) -> Vec<u8> {
    move |rng| (0..rng.below(most + 1)).map(|_| rng.next_u32() as u8).collect()
}

fn text(most: u64) -> impl Fn(&mut Rng) -> Vec<u8> {
    move |rng| (0..rng.below(most + 1)).map(|_| b" a\rb;"[rng.below(5) as usize]).collect()
}

#[test]
fn delimited() {
    let valid = |delimiters: &[&str]| Delimited::any(delimiters, 20).unwrap_or_else(|e| panic!("{e}"));
    framing("lines", || Delimited::lines(20), text(24));
    framing("crlf", || Delimited::crlf(20), text(24));
    framing("kept lines", || Delimited::lines(20).keep_delimiter(), |rng| [text(18)(rng), b"\n".to_vec()].concat());
    framing("lines with an open end", || Delimited::lines(20).last_frame_needs_delimiter(false), text(24));
    framing("two delimiters", || valid(&["\r\n", ";"]), text(24));
    framing("a long delimiter", || valid(&["\r\n\r\n"]), text(24));
}

#[test]
fn length_prefixed() {
    framing("u32", || LengthPrefixed::u32_be(30), any_bytes(33));
    framing("u16 little endian", || LengthPrefixed::new(2, Endian::Little, 30), any_bytes(33));
    framing(
        "u24 after a header, self-counting",
        || LengthPrefixed::new(3, Endian::Big, 30).offset(2).adjustment(-5),
        any_bytes(33),
    );
    framing("kept header", || LengthPrefixed::new(1, Endian::Big, 30).offset(1).keep_header(), any_bytes(33));
}

#[test]
fn varint_prefixed() {
    framing("varint", || VarintPrefixed::new(150), any_bytes(170));
}

#[test]
fn header_framed() {
    let lengths = || {
        HeaderFramed::with(
            |first| match first & 0x7F {
                0x0B | 0x0C => Some(4),
                0x01..=0x0A => Some(6),
                _ => None,
            },
            |header| match header {
                [_, _, _, _, low, high] => Ok(u64::from(u16::from_le_bytes([*low, *high]))),
                _ => Ok(0),
            },
            40,
        )
    };
    framing("headers", lengths, |rng| {
        let body = any_bytes(36)(rng);
        if rng.below(2) == 0 { vec![0x8B, 1, 2, 3] } else { [&[3, 0, 0, 0, body.len() as u8, 0], &body[..]].concat() }
    });
}

#[test]
fn fixed_size() {
    framing("fixed", || FixedSize::new(9), |_| b"ninebytes".to_vec());
}

#[test]
fn marked() {
    framing("slip", || Marked::slip(30), any_bytes(33));
    framing("slip, marks in front", || Marked::slip(30).leading_end(), any_bytes(33));
    framing("hdlc", || Marked::hdlc(30), any_bytes(33));
}

#[test]
fn chat_and_its_answers() {
    let mut rng = Rng::new(11);
    for _ in 0..CASES {
        let make = || {
            let protocol = Chat.protocol(Role::Server, 0);
            Session::new(protocol, config(Delivery::Owned), 1, NOW).unwrap_or_else(|e| panic!("{e}"))
        };
        let frames = stream(&mut rng, &mut make(), |rng| Chat.command(Role::Client, rng));
        let bytes = [frames, Chat.flood(Role::Server, &mut rng)].concat();
        same_however_cut("chat", &bytes, &mut rng, make, polled);
    }
}

#[test]
fn greeter_and_its_opening() {
    let mut rng = Rng::new(13);
    for _ in 0..CASES {
        let make = |delivery| {
            let protocol = Greeter.protocol(Role::Client, 0);
            Session::new(protocol, config(delivery), 1, NOW).unwrap_or_else(|e| panic!("{e}"))
        };
        let mut bytes = b"HELO\n".to_vec();
        (0..rng.below(5)).for_each(|_| bytes.extend(Greeter.flood(Role::Client, &mut rng)));
        if rng.below(3) == 0 {
            bytes.truncate(rng.below(bytes.len() as u64) as usize);
        }
        let owned = same_however_cut("greeter", &bytes, &mut rng, || make(Delivery::Owned), polled);
        let in_place = same_however_cut(
            "greeter",
            &bytes,
            &mut rng,
            || make(Delivery::InPlace),
            |session| {
                take_in_place(session, |note| match note {
                    GreeterNote::Ready => GreeterNote::Ready,
                    GreeterNote::Quiet => GreeterNote::Quiet,
                    GreeterNote::Frame(payload) => GreeterNote::Frame(Bytes::copy_from_slice(payload)),
                })
            },
        );
        assert_eq!(owned, in_place, "greeter: owned against in place");
    }
}
