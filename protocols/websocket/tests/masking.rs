//! A client's keys: nobody who sees some of them can work out another (RFC 6455 sections 5.3 and 10.3).

mod pump;

use std::collections::BTreeSet;

use base64::Engine;
use bytes::Bytes;
use duologue_core::{Config, Instant, Rng, Session};
use duologue_websocket::{ClientHandshake, Command, Kind, Part, Role, Settings, WebSocket};
use pump::output;

const NOW: Instant = Instant::ORIGIN;
const SEED: u64 = 7;

fn client(protocol: WebSocket, seed: u64) -> Session<WebSocket> {
    let config = Settings::new().config(Role::Client, Config::new());
    Session::new(protocol, config, seed, NOW).expect("limits that work")
}

/// The key of the request that a client with this seed makes.
fn asked(seed: u64) -> [u8; 16] {
    let handshake = ClientHandshake::new("h", "/");
    let (request, _) = output(&mut client(WebSocket::client(handshake).expect("a request"), seed), NOW);
    let request = String::from_utf8(request).expect("text");
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let key = base64::engine::general_purpose::STANDARD.decode(key).expect("base64");
    key.try_into().expect("16 bytes")
}

/// The masking keys of frames of every sort, one for each, in order.
fn masks(seed: u64) -> Vec<[u8; 4]> {
    let mut session = client(WebSocket::upgraded(Role::Client, Settings::new(), None), seed);
    let mut keys = Vec::new();
    let part = |first, last| Command::Part(Part { kind: Kind::Binary, first, last, data: Bytes::from_static(&[0; 3]) });
    for n in 0..40 {
        let commands = [
            Command::binary(vec![0; 3]),
            Command::binary(vec![0; 200]),
            Command::binary(vec![0; 2000]),
            Command::Ping(Bytes::new()),
            part(true, false),
            part(false, true),
        ];
        for command in commands {
            session.send(NOW, command).unwrap_or_else(|error| panic!("{n}: {error}"));
            let (frame, _) = output(&mut session, NOW);
            let header = match frame[1] & 0x7F {
                126 => 4,
                _ => 2,
            };
            let key = *frame[header..].first_chunk::<4>().expect("a key");
            assert!(frame[header + 4..].iter().zip(key.iter().cycle()).all(|(byte, key)| byte == key), "masked");
            keys.push(key);
        }
    }
    keys
}

#[test]
fn no_key_is_an_output_of_the_sessions_generator() {
    // Its outputs lead back to its state, and so to all that follow: the 16 bytes of the request alone would do.
    let mut rng = Rng::new(SEED);
    let outputs: Vec<u64> = (0..1000).map(|_| rng.next_u64()).collect();
    let halves = |n: &u64| [*n as u32, (n >> 32) as u32].into_iter().flat_map(|n| [n.to_le_bytes(), n.to_be_bytes()]);
    let known: BTreeSet<[u8; 4]> = outputs.iter().flat_map(halves).collect();
    let asked = asked(SEED);
    let told = asked.chunks_exact(4).map(|four| four.try_into().expect("four bytes")).chain(masks(SEED));
    let found = told.filter(|key| known.contains(key)).count();
    assert_eq!(found, 0, "keys that the generator's own outputs are");
}

#[test]
fn every_frame_has_a_key_of_its_own_and_a_run_repeats() {
    let keys = masks(SEED);
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    assert_eq!((masks(SEED), asked(SEED)), (keys.clone(), asked(SEED)));
    assert!(masks(SEED + 1).iter().all(|key| !keys.contains(key)) && asked(SEED) != asked(SEED + 1));
}
