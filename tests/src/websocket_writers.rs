//! Many writers on one client whose server ends connection after connection: what arrived against what was reported.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use duologue_core::pool::Delivery;
use duologue_core::reconnect::{Backoff, Queued};
use duologue_core::{Code, Event as SessionEvent};
use duologue_tokio::websocket::{self, ClientHandshake, Command, Event, Limits, Settings, WebSocket};
use duologue_tokio::{Options, Receipt, ReconnectEvent, ReconnectOptions, ReconnectSendError, ReconnectSender};
use tokio::sync::watch;
use tokio::time::timeout;

const STEP: Duration = Duration::from_secs(20);

/// What became of a message, as its writer was told.
type Told = (u64, Result<Receipt, ReconnectSendError<Command>>);

/// Counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Connections that came about.
    pub connections: usize,
    /// Of these, ended by a Close of the server.
    pub orderly: usize,
    /// Messages that writers wanted to send.
    pub wanted: usize,
    /// Messages that arrived.
    pub arrived: usize,
    /// Messages handed to a connection that broke before they arrived; its loss was reported.
    pub lost_with_receipt: usize,
    /// Messages that were given back.
    pub returned: usize,
}

async fn keep_sending(sender: ReconnectSender<WebSocket>, writer: u64, mut stop: watch::Receiver<bool>) -> Vec<Told> {
    let mut told = Vec::new();
    for n in 0.. {
        if *stop.borrow_and_update() {
            break;
        }
        let id = writer * 1_000_000 + n;
        let sent = timeout(STEP, sender.send(Command::text(id.to_string()))).await.expect("a fate in time");
        let over = matches!(sent, Err(ReconnectSendError::Closed { .. }));
        told.push((id, sent));
        if over {
            break;
        }
    }
    told
}

/// `writers` send as fast as they can until the server ended `connections`; then the client is closed under them. The
/// server says "hello" on each connection, keeps what comes by the generation that the first message names, and tells
/// all of it on the path `/report`: `generation id id ...`, a line each.
///
/// # Panics
/// Something was lost that was not reported, came twice or out of order, or took too long.
pub async fn run(address: SocketAddr, writers: u64, connections: usize) -> Run {
    let backoff = Backoff::new().initial(Duration::from_millis(1)).cap(Duration::from_millis(3)).min_connect(STEP);
    let options = ReconnectOptions::new().backoff(backoff).queued(Queued::ResendUnsent);
    let handshake = ClientHandshake::new(address.to_string(), "/");
    let client = websocket::reconnecting(address, handshake, options.connection(Options::new().send_within(STEP)));
    let mut client = client.expect("a client").resubscribe(|generation| vec![Command::text(generation.0.to_string())]);
    let (stop, stopped) = watch::channel(false);
    let tasks: Vec<_> = (0..writers).map(|n| tokio::spawn(keep_sending(client.sender(), n, stopped.clone()))).collect();
    let mut counts = Run::default();
    let mut orderly = BTreeSet::new();
    while let Some(event) = timeout(STEP, client.next_event()).await.expect("an event in time") {
        match event {
            ReconnectEvent::Connected { .. } => {
                counts.connections += 1;
                if counts.connections == connections {
                    client.start_close(Code(1000));
                }
            }
            ReconnectEvent::Lost { generation, closed, .. } if closed.cause.kind() == "peer-close" => {
                orderly.insert(generation.0);
            }
            ReconnectEvent::Failed { error, .. } => panic!("not connected: {error}"),
            _ => {}
        }
    }
    stop.send(true).expect("writers");
    let mut told = Vec::new();
    for task in tasks {
        told.extend(task.await.expect("no panic in a writer"));
    }
    counts.orderly = orderly.len();
    judge(&mut counts, told, &report(address).await, &orderly);
    counts
}

fn judge(counts: &mut Run, told: Vec<Told>, arrived: &BTreeMap<u64, Vec<u64>>, orderly: &BTreeSet<u64>) {
    counts.wanted = told.len();
    counts.arrived = arrived.values().map(Vec::len).sum();
    let all: BTreeSet<u64> = arrived.values().flatten().copied().collect();
    assert_eq!(all.len(), counts.arrived, "something arrived twice");
    // By connection, in the order of transmission; those that may have been sent come last.
    let mut sent: BTreeMap<u64, BTreeMap<u64, u64>> = BTreeMap::new();
    let mut possibly = BTreeSet::new();
    for (id, fate) in told {
        match fate {
            Ok(receipt) => {
                let twice = sent.entry(receipt.generation.0).or_default().insert(receipt.number, id);
                assert_eq!(twice, None, "two messages with one number");
                counts.lost_with_receipt += usize::from(!all.contains(&id));
            }
            Err(error) => {
                counts.returned += 1;
                let possible = matches!(error, ReconnectSendError::Lost { delivery: Delivery::PossiblySent, .. });
                if possible {
                    possibly.insert(id);
                }
                assert!(possible || !all.contains(&id), "{id} arrived, and was given back as not sent: {error}");
            }
        }
    }
    for (generation, got) in arrived {
        let empty = BTreeMap::new();
        let receipts: Vec<u64> = sent.get(generation).unwrap_or(&empty).values().copied().collect();
        let common = got.len().min(receipts.len());
        assert_eq!(got[..common], receipts[..common], "connection {generation}: another order");
        assert!(got[common..].iter().all(|id| possibly.contains(id)), "connection {generation}: more than was sent");
        if orderly.contains(generation) {
            assert!(got.len() >= receipts.len(), "connection {generation} ended in order and lost something");
        }
    }
}

/// What the server got, by connection.
async fn report(address: SocketAddr) -> BTreeMap<u64, Vec<u64>> {
    let limits = Limits::new().max_frame(64 << 20).max_message(64 << 20);
    let handshake = ClientHandshake::new(address.to_string(), "/report").settings(Settings::new().limits(limits));
    let connecting = websocket::connect_to(address, handshake, Options::new());
    let (mut socket, _) = timeout(STEP, connecting).await.expect("in time").expect("connected");
    loop {
        match timeout(STEP, socket.next_event()).await.expect("the report in time") {
            Some(SessionEvent::App(Event::Text(text))) => return parse(text.as_str()),
            Some(SessionEvent::Closed(closed)) => panic!("no report: {closed}"),
            None => panic!("no report"),
            Some(_) => {}
        }
    }
}

fn parse(report: &str) -> BTreeMap<u64, Vec<u64>> {
    let mut arrived = BTreeMap::new();
    for line in report.lines() {
        let mut numbers = line.split(' ').map(|number| number.parse::<u64>().expect("a number"));
        let Some(generation) = numbers.next() else { continue };
        let twice = arrived.insert(generation, numbers.collect());
        assert_eq!(twice, None, "two connections of one generation");
    }
    arrived
}
