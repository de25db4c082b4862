//! F3: short connections, and which side is left with TIME_WAIT.
//!
//! A service had 28 218 sockets in TIME_WAIT for three clients: the side that sends FIN first carries them. Here the
//! order is a policy, and the kernel is asked who carries them. That there are so many at all is the other half of the
//! case: see `f3_reuse`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use duologue_core::{CloseIntent, CloseOrder, Code, Config, Event, Side};
use duologue_tokio::{Connection, Options};
use tokio::net::TcpListener;

use crate::Error;
use crate::kernel;
use crate::report::{Outcome, Progress};
use crate::timeline::Lane;
use crate::wire;

/// Connections per policy.
const CONNECTIONS: usize = 500;

pub async fn play(mut outcome: Outcome, seed: u64, progress: &Progress) -> Result<Outcome, Error> {
    progress.start("F3 short connections", 2 * CONNECTIONS as u64);
    for (order, name) in [
        (CloseOrder::LocalFirst, "server closes first"),
        (CloseOrder::PeerFirst { within: Duration::from_secs(5) }, "server lets the client close first"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let lane = outcome.timeline.lane(format!("server: {name}"));
        let done = if order == CloseOrder::LocalFirst { 0 } else { CONNECTIONS };
        let options = Options::new().config(Arc::new(Config::new().close_order(order))).seed(seed);
        let server = tokio::spawn(serve(listener, options, lane));
        for n in 0..CONNECTIONS {
            ask_once(address, order).await?;
            progress.at((done + n + 1) as u64);
        }
        let first = server.await??;
        let (at_server, at_clients) = kernel::time_wait(address)?;
        let ours = first.iter().filter(|side| **side == Some(Side::Local)).count();
        let line = format!(
            "{CONNECTIONS} connections, {name}: the server's FIN came first {ours} times; \
             TIME_WAIT at the server {at_server}, at the clients {at_clients}"
        );
        outcome = outcome.check(
            match order {
                CloseOrder::LocalFirst => ours == CONNECTIONS && at_server == CONNECTIONS && at_clients == 0,
                CloseOrder::PeerFirst { .. } => ours == 0 && at_server == 0 && at_clients == CONNECTIONS,
            },
            line,
        );
    }
    Ok(outcome)
}

/// Answers one request per connection and closes; who sent FIN first, for each.
async fn serve(listener: TcpListener, options: Options, lane: Lane) -> Result<Vec<Option<Side>>, Error> {
    let mut first = Vec::with_capacity(CONNECTIONS);
    while first.len() < CONNECTIONS {
        let (stream, _) = listener.accept().await?;
        let mut connection = Connection::accept(stream, wire::messages(), &options)?;
        while let Some(event) = connection.next_event().await {
            lane.sample(connection.session());
            match event {
                Event::App(request) => {
                    connection.send(request).await?;
                    connection.start_close(CloseIntent::Goodbye(Code(0)));
                }
                Event::Closed(closed) => first.push(closed.finished_first),
                Event::Writable | Event::PeerFinished => {}
            }
        }
    }
    Ok(first)
}

/// A client that knows from the protocol that the answer is the last message. Where the server waits for it, it
/// closes at once; otherwise it waits for the server's FIN.
async fn ask_once(address: SocketAddr, order: CloseOrder) -> Result<(), Error> {
    let mut connection = Connection::connect(address, wire::messages(), Options::new()).await?;
    connection.send(Bytes::from_static(b"request")).await?;
    while let Some(event) = connection.next_event().await {
        if let (Event::App(_), CloseOrder::PeerFirst { .. }) = (&event, order) {
            connection.start_close(CloseIntent::Goodbye(Code(0)));
        }
        if let Event::Closed(closed) = event {
            if !closed.cause.is_orderly() {
                return Err(closed.to_string().into());
            }
        }
    }
    Ok(())
}
