//! Protocols to run the laws on, each with its traffic and an independent decoder.

mod chat;
mod greeter;
mod letters;
mod lines;
mod prefixed;

use core::time::Duration;

use duologue_core::{CloseOrder, Config, Delivery, Keepalive, Limits, OnPeerFinish, Rng, Timeouts};

pub use chat::{Chat, ChatEvent, ChatProtocol, ChatTimer, ChatViolation};
pub use greeter::{Greeter, GreeterNote, GreeterProtocol, GreeterTimer, GreeterViolation};
pub use letters::Letters;
pub use lines::Lines;
pub use prefixed::Prefixed;

/// Configurations that every subject runs with.
const STANDARD: usize = 9;

/// Every wait is short, and no two are equal, so that it is clear which of them came.
fn short() -> Timeouts {
    Timeouts::new()
        .connect(Some(Duration::from_millis(7_013)))
        .handshake(Some(Duration::from_millis(5_011)))
        .idle(Some(Duration::from_millis(19_037)))
        .keepalive(Some(Keepalive { quiet: Duration::from_millis(4_007), reply: Duration::from_millis(2_003) }))
        .write_stall(Some(Duration::from_millis(6_029)))
        .close_handshake(Some(Duration::from_millis(1_009)))
        .flush(Some(Duration::from_millis(3_001)))
        .linger(Some(Duration::from_millis(907)))
}

/// The smallest limits that carry the subject's traffic.
fn tiny(max_unit: usize) -> Limits {
    Limits::new()
        .recv_buffer(max_unit + 3)
        .send_buffer(40)
        .control_reserve(24)
        .events(2)
        .linger_bytes(90)
        .read_chunk(4)
        .share_threshold(5)
}

fn standard(variant: usize, max_unit: usize) -> Config {
    let base = Config::new().timeouts(short()).limits(tiny(max_unit));
    let bare = Timeouts::none().flush(Some(Duration::from_millis(3_001))).linger(Some(Duration::from_millis(907)));
    match variant {
        0 => Config::new(),
        1 => base,
        2 => base.close_order(CloseOrder::PeerFirst { within: Duration::from_millis(2_503) }),
        3 => base.on_peer_finish(OnPeerFinish::KeepSending),
        4 => base.on_peer_finish(OnPeerFinish::Abort),
        5 => base.timeouts(short().linger(None)),
        6 => base.timeouts(bare),
        7 => Config::new().timeouts(bare).limits(tiny(max_unit).linger_bytes(0)),
        // Waits of nothing at all end at once, and do not spin.
        _ => base.timeouts(
            short()
                .keepalive(Some(Keepalive { quiet: Duration::from_millis(4_007), reply: Duration::ZERO }))
                .close_handshake(Some(Duration::ZERO))
                .flush(Some(Duration::ZERO))
                .linger(Some(Duration::from_millis(907))),
        ),
    }
}

/// The standard configurations twice: with owned delivery, and in place.
fn both_deliveries(variant: usize, max_unit: usize) -> Config {
    let config = standard(variant % STANDARD, max_unit);
    if variant < STANDARD { config } else { config.delivery(Delivery::InPlace) }
}

fn letters(rng: &mut Rng, most: u64) -> Vec<u8> {
    let len = match rng.below(4) {
        0 => rng.below(3),
        1 => most,
        _ => rng.below(most + 1),
    };
    (0..len).map(|_| b'a' + rng.below(26) as u8).collect()
}
