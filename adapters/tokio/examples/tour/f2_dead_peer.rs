//! F2: tens of gigabytes are pushed, and the peer dies.
//!
//! An RPC framework waited here for ever: its wait had no deadline, its kernel time-outs were set on clients only, and a
//! peer that had consumed everything and then hung was invisible to TCP. Here each death is found within its bound, on
//! both roles, and has a name.

use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue_core::{Cause, Closed, Config, Event, Protocol, TimeoutReason, Timeouts};
use duologue_tokio::{Connection, Options};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::report::{Outcome, Progress, count, secs, size};
use crate::timeline::Lane;
use crate::wire::{self, Messages};
use crate::{Error, f2_black_hole};

/// How long bytes may make no progress.
pub const STALL: Duration = Duration::from_secs(1);
/// How long the peer may be silent.
pub const SILENCE: Duration = Duration::from_millis(1500);
/// What a busy machine may add before the bound counts as missed.
pub const SLACK: Duration = Duration::from_millis(700);
/// One message of the big stream.
const MESSAGE: usize = 64 << 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Death {
    StopsReading,
    ConsumesAllThenHangs,
}

pub async fn play(mut outcome: Outcome, seed: u64, progress: &Progress) -> Result<Outcome, Error> {
    for role in [Role::Server, Role::Client] {
        for death in [Death::StopsReading, Death::ConsumesAllThenHangs] {
            outcome = die(outcome, role, death, seed, progress).await?;
        }
    }
    f2_black_hole::stage(outcome, progress).await
}

async fn die(outcome: Outcome, role: Role, death: Death, seed: u64, progress: &Progress) -> Result<Outcome, Error> {
    let who = if role == Role::Server { "server pushes" } else { "client pushes" };
    let (how, expected, bound) = match death {
        Death::StopsReading => ("the peer stops reading", TimeoutReason::WriteStall, STALL),
        Death::ConsumesAllThenHangs => {
            ("the peer consumed everything, then hangs", TimeoutReason::KeepaliveReply, SILENCE)
        }
    };
    progress.say(format!("F2 {who}, {how}"));
    let lane = outcome.timeline.lane(format!("{who}: {how}"));
    let timeouts = Timeouts::new().write_stall(Some(STALL));
    let options = Options::new().config(Config::new().timeouts(timeouts)).seed(seed).send_within(STALL * 8);
    // Only the second death needs a heartbeat: with bytes on their way, no progress says it all.
    let protocol = if death == Death::StopsReading { wire::messages() } else { wire::messages_with_heartbeat(SILENCE) };

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (connection, peer) = match role {
        Role::Server => {
            let peer = TcpStream::connect(address).await?;
            let (stream, _) = listener.accept().await?;
            (Connection::accept(stream, protocol, &options)?, peer)
        }
        Role::Client => {
            let connection = Connection::connect(address, protocol, options).await?;
            (connection, listener.accept().await?.0)
        }
    };
    let (dead, death_time) = tokio::sync::oneshot::channel();
    let peer = tokio::spawn(peer_dies(peer, death, dead));
    let (closed, ended) = push(connection, death, &lane).await?;
    let last_sign = death_time.await?;
    let found = ended.saturating_duration_since(last_sign);
    peer.abort();
    Ok(outcome.check(
        closed.cause == Cause::Timeout(expected) && found <= bound + SLACK,
        format!(
            "{who}, {how}: \"{}\" {} after its last sign (bound {}); {} sent, {} messages unsent",
            closed.cause,
            secs(found),
            secs(bound),
            size(lane.transmitted()),
            count(closed.unsent),
        ),
    ))
}

/// Reads for a while, then lives on without a sign.
async fn peer_dies(
    mut peer: TcpStream,
    death: Death,
    dead: tokio::sync::oneshot::Sender<Instant>,
) -> Result<(), Error> {
    let mut buffer = vec![0; 1 << 16];
    let mut last = Instant::now();
    let quiet = Duration::from_millis(200);
    match death {
        Death::StopsReading => {
            for _ in 0..64 {
                peer.read_exact(&mut buffer).await?;
            }
            last = Instant::now();
        }
        Death::ConsumesAllThenHangs => {
            // Keeps up its own side of the heartbeat while it lives.
            use tokio::io::AsyncWriteExt;
            peer.write_all(b"\0\0\0\x04beat").await?;
            while let Ok(read) = tokio::time::timeout(quiet, peer.read(&mut buffer)).await {
                if read? == 0 {
                    break;
                }
            }
        }
    }
    // The one who waits for this may be gone only if the case already failed.
    let _ = dead.send(last);
    std::future::pending().await
}

/// Pushes until the session ends.
async fn push(
    mut connection: Connection<Messages>,
    death: Death,
    lane: &Lane,
) -> Result<(Closed<<Messages as Protocol>::Violation>, Instant), Error> {
    let message = Bytes::from(vec![0x5a; MESSAGE]);
    let mut budget = if death == Death::StopsReading { u64::MAX } else { 64 };
    while budget > 0 && connection.send(message.clone()).await.is_ok() {
        budget -= 1;
        lane.sample(connection.session());
    }
    lane.mark(if death == Death::StopsReading { "no more room" } else { "all sent" });
    loop {
        match connection.next_event().await {
            Some(Event::Closed(closed)) => {
                lane.sample(connection.session());
                lane.mark(format!("closed: {}", closed.cause));
                return Ok((closed, Instant::now()));
            }
            Some(_) => lane.sample(connection.session()),
            None => return Err("the events ended without Closed".into()),
        }
    }
}
