//! turmoil's TCP: a host that echoes and a client, as its own examples are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

use crate::contest::{Contest, FRAME, frame, number};

pub fn run(contest: Contest) -> u32 {
    let mut sim = turmoil::Builder::new()
        .simulation_duration(Duration::from_secs(10_000_000))
        .min_message_latency(contest.latency)
        .max_message_latency(contest.latency)
        .tcp_capacity(1 << 16)
        .build();
    sim.host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:80").await?;
        let (mut stream, _) = listener.accept().await?;
        let mut buffer = BytesMut::new();
        while stream.read_buf(&mut buffer).await? > 0 {
            let whole = buffer.len() / FRAME * FRAME;
            if whole > 0 {
                stream.write_all(&buffer[..whole]).await?;
                buffer.advance(whole);
            }
        }
        Ok(())
    });
    let result = Arc::new(AtomicU32::new(0));
    let told = result.clone();
    sim.client("client", async move {
        let mut stream = TcpStream::connect("server:80").await?;
        let (mut sent, mut echoed) = (0, 0);
        let (mut buffer, mut out) = (BytesMut::new(), Vec::new());
        while sent < contest.in_flight.min(contest.echoes) {
            out.extend_from_slice(&frame(sent));
            sent += 1;
        }
        while echoed < contest.echoes {
            if !out.is_empty() {
                stream.write_all(&out).await?;
                out.clear();
            }
            assert!(stream.read_buf(&mut buffer).await? > 0);
            while buffer.len() >= FRAME {
                assert_eq!(number(&buffer[..FRAME]), Some(echoed));
                buffer.advance(FRAME);
                echoed += 1;
                if sent < contest.echoes {
                    out.extend_from_slice(&frame(sent));
                    sent += 1;
                }
            }
        }
        told.store(echoed, Ordering::Relaxed);
        Ok(())
    });
    sim.run().expect("the simulation ends");
    result.load(Ordering::Relaxed)
}
