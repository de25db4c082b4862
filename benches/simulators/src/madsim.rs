//! madsim's TCP: a task for each side, reads into a buffer, one write and flush for what came together.

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use madsim::net::{TcpListener, TcpStream};
use madsim::runtime::Runtime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::contest::{Contest, FRAME, frame, number};

pub fn run(contest: Contest) -> u32 {
    let mut config = madsim::Config::default();
    config.net.send_latency = contest.latency..contest.latency + std::time::Duration::from_nanos(1);
    let runtime = Runtime::with_seed_and_config(1, config);
    let address: SocketAddr = "10.0.0.1:80".parse().expect("an address");
    let server = runtime.create_node().ip(address.ip()).build();
    let client = runtime.create_node().ip("10.0.0.2".parse().expect("an address")).build();
    let listening = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    let ready = listening.clone();
    server.spawn(async move {
        let listener = TcpListener::bind(address).await.expect("bound");
        ready.wait().await;
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let mut buffer = BytesMut::new();
        while stream.read_buf(&mut buffer).await.expect("read") > 0 {
            let whole = buffer.len() / FRAME * FRAME;
            if whole > 0 {
                stream.write_all(&buffer[..whole]).await.expect("written");
                stream.flush().await.expect("flushed");
                buffer.advance(whole);
            }
        }
    });
    let client = client.spawn(async move {
        listening.wait().await;
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let (mut sent, mut echoed) = (0, 0);
        let (mut buffer, mut out) = (BytesMut::new(), Vec::new());
        while sent < contest.in_flight.min(contest.echoes) {
            out.extend_from_slice(&frame(sent));
            sent += 1;
        }
        while echoed < contest.echoes {
            if !out.is_empty() {
                stream.write_all(&out).await.expect("written");
                stream.flush().await.expect("flushed");
                out.clear();
            }
            assert!(stream.read_buf(&mut buffer).await.expect("read") > 0);
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
        echoed
    });
    runtime.block_on(client).expect("the client ends")
}
