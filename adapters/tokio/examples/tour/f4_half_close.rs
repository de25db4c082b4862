//! F4: finish sending, and go on receiving.
//!
//! A client that had finished sending waited for ever in receive, and its application had no way out but to kill the
//! connection. Here receiving goes on until the peer's end; a deadline or a cancel ends it in bounded time; and the
//! peer sees finish, cancel and loss as three different things.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duologue_core::{Cause, Closed, Code, Config, Event, OnPeerFinish, Protocol, TimeoutReason, Timeouts};
use duologue_tokio::{Connection, Options};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Error;
use crate::report::{Outcome, Progress, count, secs};
use crate::timeline::Lane;
use crate::wire::{self, Messages};

const REQUESTS: u64 = 1_000;
const ANSWERS: u64 = 200_000;
const PATIENCE: Duration = Duration::from_millis(800);
const SLACK: Duration = Duration::from_millis(700);

type End = Closed<<Messages as Protocol>::Violation>;

/// What the server saw of one client.
struct Served {
    requests: u64,
    finished: bool,
    closed: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    /// Finishes, and receives to the end.
    Finishes,
    /// Finishes, and the server never answers.
    LosesPatience,
    /// Changes its mind.
    Cancels,
    /// Is gone without a word.
    IsLost,
}

pub async fn play(mut outcome: Outcome, seed: u64, progress: &Progress) -> Result<Outcome, Error> {
    progress.start("F4 answers after the half-close", ANSWERS);
    let (client, served) = meet(Client::Finishes, &outcome, seed, progress).await?;
    outcome = outcome
        .check(
            served.requests == REQUESTS && served.finished,
            format!("{} requests, then the client's FIN: seen as finished", count(served.requests)),
        )
        .check(
            client.0 == ANSWERS && client.1.cause == Cause::LocalFinished,
            format!(
                "{} answers received after it had finished, in {}: \"{}\"",
                count(client.0),
                secs(client.2),
                client.1.cause
            ),
        );

    progress.say("F4 a server that never answers");
    let (client, silent) = meet(Client::LosesPatience, &outcome, seed, progress).await?;
    outcome = outcome.check(
        client.1.cause == Cause::Timeout(TimeoutReason::Idle) && client.2 <= PATIENCE + SLACK,
        format!(
            "finished, and the server never answers: \"{}\" after {} (bound {})",
            client.1.cause,
            secs(client.2),
            secs(PATIENCE)
        ),
    );

    let (_, cancelled) = meet(Client::Cancels, &outcome, seed, progress).await?;
    let (_, lost) = meet(Client::IsLost, &outcome, seed, progress).await?;
    let told = [&served.closed.cause, &cancelled.closed.cause, &lost.closed.cause];
    Ok(outcome.measured(format!("its server saw, at its next write: \"{}\"", silent.closed.cause)).check(
        served.finished
            && served.closed.cause == Cause::PeerFinished
            && !cancelled.finished
            && cancelled.closed.cause == Cause::PeerReset
            && !lost.finished
            && matches!(lost.closed.cause, Cause::Timeout(_)),
        format!("the server tells them apart: finish \"{}\", cancel \"{}\", loss \"{}\"", told[0], told[1], told[2]),
    ))
}

/// One client, one server: the answers that the client got after its last word, how and when it ended, and what the
/// server saw.
async fn meet(
    kind: Client,
    outcome: &Outcome,
    seed: u64,
    progress: &Progress,
) -> Result<((u64, End, Duration), Served), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let name = match kind {
        Client::Finishes => "finishes",
        Client::LosesPatience => "loses patience",
        Client::Cancels => "cancels",
        Client::IsLost => "is lost",
    };
    let lane = outcome.timeline.lane(format!("server of a client that {name}"));
    let server: JoinHandle<Result<Served, Error>> = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        // Answers come late, so the server goes on sending after the client has finished.
        let config = Config::new().on_peer_finish(OnPeerFinish::KeepSending);
        let protocol = wire::messages_with_heartbeat(if kind == Client::IsLost { PATIENCE } else { PATIENCE * 10 });
        let options = Options::new().config(Arc::new(config)).seed(seed);
        serve(Connection::accept(stream, protocol, &options)?, kind, lane).await
    });
    let patience = if kind == Client::LosesPatience { PATIENCE } else { Duration::from_secs(30) };
    let config = Config::new().timeouts(Timeouts::new().idle(Some(patience)));
    let options = Options::new().config(Arc::new(config)).seed(seed);
    let mut connection = Connection::connect(address, wire::messages(), options).await?;
    let lane = outcome.timeline.lane(format!("client that {name}"));
    for request in 0..REQUESTS {
        connection.feed(Bytes::from(request.to_be_bytes().to_vec())).await?;
    }
    connection.flush().await;
    lane.sample(connection.session());
    match kind {
        Client::Cancels => connection.abort(Code(7)),
        Client::IsLost => {
            // Nobody drives it any more, and its socket stays open: a hung process.
            let served = server.await??;
            connection.abort(Code(0));
            return Ok(((0, connection.closed().await, Duration::ZERO), served));
        }
        Client::Finishes | Client::LosesPatience => connection.finish(),
    }
    lane.sample(connection.session());
    let start = Instant::now();
    let mut answers = 0;
    let closed = loop {
        match connection.next_event().await {
            Some(Event::App(_)) => {
                answers += 1;
                if answers % 1024 == 0 {
                    progress.at(answers);
                    lane.sample(connection.session());
                }
            }
            Some(Event::Closed(closed)) => break closed,
            Some(_) => lane.sample(connection.session()),
            None => return Err("the client's events ended without Closed".into()),
        }
    };
    lane.sample(connection.session());
    lane.mark(format!("closed: {}", closed.cause));
    let took = start.elapsed();
    Ok(((answers, closed, took), server.await??))
}

async fn serve(mut connection: Connection<Messages>, kind: Client, lane: Lane) -> Result<Served, Error> {
    let (mut requests, mut finished) = (0, false);
    loop {
        let event = connection.next_event().await;
        lane.sample(connection.session());
        match event {
            Some(Event::App(_)) => requests += 1,
            Some(Event::PeerFinished) => {
                finished = true;
                lane.mark("client finished");
                if kind == Client::Finishes {
                    for answer in 0..ANSWERS {
                        connection.feed(Bytes::from(answer.to_be_bytes().to_vec())).await?;
                    }
                    connection.finish();
                }
            }
            Some(Event::Writable) => {}
            Some(Event::Closed(closed)) => {
                lane.mark(format!("closed: {}", closed.cause));
                return Ok(Served { requests, finished, closed });
            }
            None => return Err("the server's events ended without Closed".into()),
        }
    }
}
