//! yamux under the laws of streams: windows of 256 KiB are the smallest that it has, so stalled streams fill send buffers.

use std::time::Duration;

use duologue_core::streams::{AbuseBudget, Multiplex, OpenError, StreamEvent, StreamsConfig};
use duologue_core::{Config, Instant, Keepalive, Limits, Session, Timeouts};
use duologue_laws::Role;
use duologue_laws::streams::{KnownStream, StreamSubject};
use duologue_yamux::{Yamux, YamuxConfig, YamuxEvent};

/// yamux, both roles.
pub(crate) struct OfYamux;

impl StreamSubject for OfYamux {
    type Protocol = Yamux;

    fn name(&self) -> &'static str {
        "yamux"
    }

    fn variants(&self) -> usize {
        4
    }

    fn protocol(&self, role: Role, variant: usize) -> Yamux {
        let abuse = AbuseBudget { burst: 1 << 30, ..AbuseBudget::default() };
        let streams = StreamsConfig::new().max_local(6).max_peer(6).slots(24).abuse(abuse);
        let streams = match variant {
            0 => streams.send_buffer(3000).max_piece(900).turn_bytes(1500),
            1 => streams.send_buffer(700).max_piece(128).turn_bytes(128).max_unaccepted(2),
            2 => streams.send_buffer(20_000).max_piece(16 << 10).turn_bytes(400).turn_pieces(2).recv_pieces(3),
            _ => streams.slots(7).send_pieces(4),
        };
        let role = match role {
            Role::Client => duologue_yamux::Role::Client,
            Role::Server => duologue_yamux::Role::Server,
        };
        let ahead = [2 << 10, 100, 64 << 10, 512][variant];
        Yamux::new(role, YamuxConfig::new().streams(streams).ahead(ahead)).unwrap()
    }

    fn config(&self, _role: Role, variant: usize) -> Config {
        let limits = Limits::new().send_buffer(4 << 10).recv_buffer(2 << 10).control_reserve(2 << 10);
        let limits = if variant == 3 { limits.recv_buffer(64).send_buffer(300) } else { limits };
        let quiet = Keepalive { quiet: Duration::from_secs(5), reply: Duration::from_secs(2) };
        let timeouts = if variant == 1 { Timeouts::new().keepalive(Some(quiet)) } else { Timeouts::new() };
        Config::new().limits(limits).timeouts(timeouts)
    }

    fn open(
        &self,
        session: &mut Session<Yamux>,
        _role: Role,
        now: Instant,
        _fresh: u64,
    ) -> Result<KnownStream, OpenError> {
        let mut protocol = session.protocol_mut(now);
        let id = protocol.open(now)?;
        let tag = protocol.streams().inspect(id).unwrap().key;
        Ok(KnownStream { id, tag })
    }

    fn heard(&self, session: &mut Session<Yamux>, _: Role, _: Instant, event: &YamuxEvent) -> Vec<KnownStream> {
        let Some(StreamEvent::Opened(id)) = Yamux::as_stream_event(event) else { return Vec::new() };
        let tag = session.protocol().streams().inspect(id).unwrap().key;
        vec![KnownStream { id, tag }]
    }
}
