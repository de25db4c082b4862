//! bRPC's streams under the laws of streams: messages with ends, credit by totals, opened by calls.

use bytes::Bytes;
use duologue_brpc::{Brpc, BrpcCommand, BrpcConfig, BrpcEvent, Call, Reply};
use duologue_core::streams::{AbuseBudget, Multiplex, OpenError, StreamsConfig};
use duologue_core::{Code, Config, Instant, Limits, Session};
use duologue_laws::Role;
use duologue_laws::streams::{KnownStream, StreamSubject};

/// bRPC: the client opens streams by calls, and the server accepts each.
pub(crate) struct OfBrpc;

impl StreamSubject for OfBrpc {
    type Protocol = Brpc;

    fn name(&self) -> &'static str {
        "brpc"
    }

    fn variants(&self) -> usize {
        3
    }

    fn protocol(&self, role: Role, variant: usize) -> Brpc {
        let abuse = AbuseBudget { burst: 1 << 30, ..AbuseBudget::default() };
        let streams = StreamsConfig::new().max_local(8).max_peer(8).slots(24).abuse(abuse);
        let window = [2000, 64, 256 << 10][variant];
        let streams = streams.recv_window(window).send_window(window).turn_bytes([500, 1 << 14, 128][variant]);
        let config = BrpcConfig::new().streams(streams).max_message(8 << 10).max_segment([900, 64, 4096][variant]);
        let role = match role {
            Role::Client => duologue_brpc::Role::Client,
            Role::Server => duologue_brpc::Role::Server,
        };
        Brpc::new(role, config).unwrap()
    }

    fn config(&self, _role: Role, variant: usize) -> Config {
        Config::new().limits(
            Limits::new()
                .send_buffer([3 << 10, 64 << 10, 9 << 10][variant])
                .recv_buffer(4 << 10)
                .control_reserve(4 << 10),
        )
    }

    fn opens(&self, role: Role) -> bool {
        role == Role::Client
    }

    fn open(&self, session: &mut Session<Brpc>, _: Role, now: Instant, fresh: u64) -> Result<KnownStream, OpenError> {
        let id = session.protocol_mut(now).open(now)?;
        let call = Call {
            id: fresh as i64,
            service: "S".into(),
            method: "m".into(),
            body: Bytes::copy_from_slice(&fresh.to_be_bytes()),
            streams: vec![id],
            ..Call::default()
        };
        if session.send(now, BrpcCommand::Call(Box::new(call))).is_err() {
            session.protocol_mut(now).streams_mut().get_mut(id).unwrap().reset(Code(1));
        }
        Ok(KnownStream { id, tag: fresh })
    }

    fn heard(&self, session: &mut Session<Brpc>, _: Role, now: Instant, event: &BrpcEvent) -> Vec<KnownStream> {
        let BrpcEvent::Request(request) = event else { return Vec::new() };
        let Ok(tag) = request.body[..].try_into().map(u64::from_be_bytes) else { return Vec::new() };
        let accepted = session.protocol_mut(now).accept(request.id).unwrap_or_default();
        let _ = session.send(now, BrpcCommand::Reply(Box::new(Reply::ok(request.id, Bytes::new()))));
        accepted.into_iter().map(|id| KnownStream { id, tag }).collect()
    }

    fn resets_by_itself(&self) -> bool {
        true
    }

    fn half_close(&self) -> bool {
        false
    }
}
