//! F5: many tasks write while the connection opens, closes and is replaced.
//!
//! A client crashed here with "writing is not allowed after writer was completed". Here every writer gets its message
//! back or has it delivered once; a handle of an old connection never writes into the new one; and a frame without an
//! end mark ends at exactly the limit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use duologue_core::framed::{Delimited, FrameError, Framed};
use duologue_core::{Cause, CloseIntent, Code, Event, SendError as Refused};
use duologue_tokio::{Connection, Options, SendError, SendHalf};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::Error;
use crate::report::{Outcome, Progress, count};
use crate::timeline::Lane;
use crate::wire::{self, Messages};

const WRITERS: u64 = 64;
const GENERATIONS: u64 = 200;
const PER_WRITER: u64 = 4_000;

/// The sender of the generation that is open now, if one is.
type Current = Option<(u64, Arc<SendHalf<Messages>>)>;

/// What all writers together experienced.
#[derive(Default)]
struct Tally {
    accepted: AtomicU64,
    came_back: AtomicU64,
    refused_otherwise: AtomicU64,
    done: AtomicU64,
}

pub async fn play(outcome: Outcome, seed: u64, progress: &Progress) -> Result<Outcome, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let lane = outcome.timeline.lane("client");
    let server = tokio::spawn(collect(listener));
    let (current, watch) = watch::channel::<Current>(None);
    let tally = Arc::new(Tally::default());
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(writer, watch.clone(), Arc::clone(&tally)))).collect();
    drop(watch);

    progress.start("F5 generations under 64 writers", GENERATIONS);
    let (mut generation, mut unsent, mut disorderly) = (0, 0, 0);
    while generation < GENERATIONS || tally.done.load(Ordering::SeqCst) < WRITERS {
        let connection = Connection::connect(address, wire::messages(), Options::new().seed(seed)).await?;
        let last = generation + 1 >= GENERATIONS;
        let closed = live(connection, generation, &current, &tally, last, &lane).await?;
        unsent += closed.unsent;
        disorderly += u64::from(!closed.cause.is_orderly());
        generation += 1;
        progress.at(generation.min(GENERATIONS));
    }
    drop(current);
    for writer in writers {
        writer.await??;
    }
    // One last connection tells the server that nothing more comes.
    let mut end = Connection::connect(address, wire::messages(), Options::new()).await?;
    end.send(Bytes::from_static(b"end")).await?;
    end.close(Code(0)).await;
    let seen = server.await??;
    let accepted = tally.accepted.load(Ordering::SeqCst);
    let (limit, outcome) = unterminated(outcome).await?;
    Ok(outcome
        .measured(format!(
            "{} writers over {generation} connections: {} messages accepted, {} came back to be written again, {} unsent",
            WRITERS,
            count(accepted),
            count(tally.came_back.load(Ordering::SeqCst)),
            count(unsent),
        ))
        .check(seen.messages + unsent == accepted, format!(
            "delivered {} + unsent {} = accepted {}", count(seen.messages), count(unsent), count(accepted),
        ))
        .check(seen.twice == 0, format!("{} messages came twice", seen.twice))
        .check(seen.strays == 0, format!("{} messages came over another connection than they were sent on", seen.strays))
        .check(tally.refused_otherwise.load(Ordering::SeqCst) == 0, "every refused message came back, with a typed reason; no panic")
        .check(disorderly == 0, "every connection ended in order")
        .check(limit, "a frame without an end mark ends at exactly its limit"))
}

/// One generation: handed to the writers, then closed under them.
async fn live(
    connection: Connection<Messages>,
    generation: u64,
    current: &watch::Sender<Current>,
    tally: &Tally,
    last: bool,
    lane: &Lane,
) -> Result<duologue_core::Closed<FrameError>, Error> {
    let (mut receiver, sender) = connection.split();
    let sender = Arc::new(sender);
    current.send_replace(Some((generation, Arc::clone(&sender))));
    let start = tally.accepted.load(Ordering::SeqCst);
    let enough = start + WRITERS * PER_WRITER / GENERATIONS;
    let mut closing = false;
    loop {
        let done = tally.done.load(Ordering::SeqCst) == WRITERS;
        if !closing && (done || (!last && tally.accepted.load(Ordering::SeqCst) >= enough)) {
            closing = true;
            // Under the writers' hands, without telling them.
            sender.start_close(CloseIntent::Goodbye(Code(0)));
        }
        let event = tokio::select! {
            event = receiver.next_event() => event,
            () = tokio::task::yield_now(), if !closing => continue,
        };
        receiver.inspect(|session| lane.sample(session));
        match event {
            Some(Event::Closed(closed)) => return Ok(closed),
            Some(_) => {}
            None => return Err("the events ended without Closed".into()),
        }
    }
}

/// Writes its messages one by one, over whichever connection is open. What comes back is written again.
async fn write(writer: u64, mut watch: watch::Receiver<Current>, tally: Arc<Tally>) -> Result<(), Error> {
    for sequence in 0..PER_WRITER {
        loop {
            let Some((generation, sender)) = watch.borrow_and_update().clone() else {
                watch.changed().await?;
                continue;
            };
            match sender.send(message(generation, writer, sequence)).await {
                Ok(()) => {
                    tally.accepted.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                Err(SendError::Refused(Refused::Closed { command } | Refused::Finished { command })) => {
                    debug_assert_eq!(command, message(generation, writer, sequence));
                    tally.came_back.fetch_add(1, Ordering::SeqCst);
                    // The old handle is of no use any more: wait for the next generation.
                    let next = watch.wait_for(|c| c.as_ref().is_some_and(|(g, _)| *g > generation)).await;
                    if next.is_err() {
                        return Err("the connections ended before the writer".into());
                    }
                }
                Err(_) => {
                    tally.refused_otherwise.fetch_add(1, Ordering::SeqCst);
                    return Ok(());
                }
            }
        }
    }
    tally.done.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

fn message(generation: u64, writer: u64, sequence: u64) -> Bytes {
    let mut message = BytesMut::with_capacity(24);
    message.put_u64(generation);
    message.put_u64(writer);
    message.put_u64(sequence);
    message.freeze()
}

#[derive(Default)]
struct Seen {
    messages: u64,
    twice: u64,
    strays: u64,
}

/// Takes what comes over each connection in turn.
async fn collect(listener: TcpListener) -> Result<Seen, Error> {
    let mut seen = Seen::default();
    let mut known = BTreeSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let mut connection = Connection::accept(stream, wire::messages(), &Options::new())?;
        let mut generation = None;
        while let Some(event) = connection.next_event().await {
            let Event::App(mut message) = event else { continue };
            if message == "end" {
                connection.closed().await;
                return Ok(seen);
            }
            let of = message.get_u64();
            let key = (message.get_u64(), message.get_u64());
            seen.messages += 1;
            seen.twice += u64::from(!known.insert(key));
            seen.strays += u64::from(*generation.get_or_insert(of) != of);
        }
    }
}

/// A client that never ends its line.
async fn unterminated(outcome: Outcome) -> Result<(bool, Outcome), Error> {
    const LIMIT: usize = 4096;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut client = TcpStream::connect(listener.local_addr()?).await?;
    let (stream, _) = listener.accept().await?;
    let mut connection = Connection::accept(stream, Framed::new(Delimited::crlf(LIMIT)), &Options::new())?;
    client.write_all(&[b'x'; 2 * LIMIT]).await?;
    client.shutdown().await?;
    let closed = connection.closed().await;
    let exact = matches!(&closed.cause, Cause::Violation(FrameError::TooLong(e))
        if e.limit == LIMIT && e.buffered == LIMIT as u64 + 1);
    Ok((exact, outcome.measured(format!("an unterminated line: \"{}\"", closed.cause))))
}
