//! F1: a server pushes from the first byte on while the client confirms every frame, on one connection.
//!
//! A task framework closed here: bytes that came before its reply was finished were garbage to it, it read nothing while
//! a write was pending, and a client's FIN meant "closed" while the reply was on its way.

use std::sync::Arc;
use std::time::Instant;

use duologue_core::{Cause, Closed, Config, Event, OnPeerFinish, SendState, Side};
use duologue_tokio::{Connection, Options};
use tokio::net::TcpListener;

use crate::Error;
use crate::report::{Outcome, Progress, count, secs};
use crate::timeline::Lane;
use crate::wire::{self, Checksum, DispatchProtocol};

/// What the client still has to say after the server has finished.
const LAST_WORDS: u64 = 1_000;

/// What one side saw.
struct Seen {
    sent: Checksum,
    received: Checksum,
    frames: u64,
    while_full: u64,
    closed: Closed<<DispatchProtocol as duologue_core::Protocol>::Violation>,
}

pub async fn play(outcome: Outcome, frames: u64, seed: u64, progress: &Progress) -> Result<Outcome, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // The client goes on talking after the server has finished.
    let config = Arc::new(Config::new().on_peer_finish(OnPeerFinish::KeepSending));
    let options = Options::new().config(config).seed(seed);
    let start = Instant::now();
    let server_lane = outcome.timeline.lane("server");
    let client_lane = outcome.timeline.lane("client");
    let server_options = options.clone();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        serve(Connection::accept(stream, wire::dispatch(), &server_options)?, frames, server_lane).await
    });
    let connection = Connection::connect(address, wire::dispatch(), options).await?;
    progress.start("F1 frames confirmed", frames);
    let client = talk(connection, frames, &client_lane, progress).await?;
    let server = server.await??;
    let took = start.elapsed();

    let each_way = server.frames.min(client.frames);
    let rate = (server.frames + client.frames) as f64 / took.as_secs_f64();
    Ok(outcome
        .measured(format!(
            "{} frames pushed, {} frames back, in {}: {} frames per second",
            count(client.frames),
            count(server.frames),
            secs(took),
            count(rate as u64),
        ))
        .measured(format!("{} frames were received while the send queue was full", count(server.while_full)))
        .check(each_way >= frames, format!("at least {} frames each way", count(frames)))
        .check(
            server.sent == client.received,
            format!("server to client: checksum {:016x} on both sides", server.sent.0),
        )
        .check(
            client.sent == server.received,
            format!("client to server: checksum {:016x} on both sides", client.sent.0),
        )
        .check(
            server.closed.cause == Cause::LocalFinished && client.closed.cause == Cause::PeerFinished,
            format!("the server finished first and went on receiving: \"{}\" / \"{}\"", server.closed, client.closed),
        )
        .check(
            server.closed.unsent + client.closed.unsent + server.closed.undelivered + client.closed.undelivered == 0,
            "nothing unsent, nothing undelivered on either side",
        )
        .check(server.closed.finished_first == Some(Side::Local), "who sent FIN first is known: the server"))
}

/// Pushes from one task, receives in another.
async fn serve(connection: Connection<DispatchProtocol>, frames: u64, lane: Lane) -> Result<Seen, Error> {
    let (mut receiver, sender) = connection.split();
    let pusher = tokio::spawn(async move {
        let mut sent = Checksum::default();
        for sequence in 0..frames {
            let frame = wire::data(sequence);
            sent.add(&frame);
            sender.send(frame).await?;
        }
        // The last sender goes: our stream is finished, and we go on receiving.
        Ok::<_, Error>(sent)
    });
    let (mut received, mut count, mut while_full) = (Checksum::default(), 0, 0);
    lane.mark("speaks first");
    loop {
        match receiver.next_event().await {
            Some(Event::App(frame)) => {
                received.add(&frame);
                count += 1;
                if count % 512 == 0 {
                    let full = receiver.inspect(|session| {
                        lane.sample(session);
                        session.states().1 == SendState::Open && session.room() < 4096
                    });
                    while_full += if full { 512 } else { 0 };
                }
            }
            Some(Event::PeerFinished) => lane.mark("client finished"),
            Some(Event::Writable) => {}
            Some(Event::Closed(closed)) => {
                receiver.inspect(|session| lane.sample(session));
                lane.mark(format!("closed: {}", closed.cause));
                return Ok(Seen { sent: pusher.await??, received, frames: count, while_full, closed });
            }
            None => return Err("the server's events ended without Closed".into()),
        }
    }
}

/// Confirms every frame as it comes, and has some last words after the server has finished.
async fn talk(
    mut connection: Connection<DispatchProtocol>,
    frames: u64,
    lane: &Lane,
    progress: &Progress,
) -> Result<Seen, Error> {
    let (mut sent, mut received, mut count) = (Checksum::default(), Checksum::default(), 0);
    loop {
        match connection.next_event().await {
            Some(Event::App(frame)) => {
                received.add(&frame);
                count += 1;
                let ack = wire::ack(&frame);
                sent.add(&ack);
                connection.send(ack).await?;
                if count % 1024 == 0 {
                    progress.at(count);
                    lane.sample(connection.session());
                }
            }
            Some(Event::PeerFinished) => {
                lane.mark(format!("server finished after {count} of {frames}"));
                for sequence in 0..LAST_WORDS {
                    let frame = wire::data(sequence);
                    sent.add(&frame);
                    connection.send(frame).await?;
                }
                connection.finish();
            }
            Some(Event::Writable) => {}
            Some(Event::Closed(closed)) => {
                lane.sample(connection.session());
                lane.mark(format!("closed: {}", closed.cause));
                return Ok(Seen { sent, received, frames: count, while_full: 0, closed });
            }
            None => return Err("the client's events ended without Closed".into()),
        }
    }
}
