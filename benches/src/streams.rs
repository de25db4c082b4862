//! Streams of one connection: duologue's yamux against the `yamux` crate, with the same tasks on the same runtime.
//!
//! One thread runs both ends, and its CPU time counts, so that other processes do not. Every message is one `write_all` through
//! futures-io's traits; receivers read into 16 KiB. Streams are opened, and known to both sides, before the clock runs.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use duologue_core::streams::{Multiplex, Received, StreamEvent, StreamId, Streams, StreamsConfig};
use duologue_core::{Config, Event, Session};
use duologue_tokio::streams::{Mux, MuxOptions};
use duologue_tokio::{AsIs, Options, StreamConnection};
use duologue_yamux::{Role, Yamux, YamuxConfig};
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::TokioAsyncReadCompatExt;

/// Compares duologue's yamux with the yamux crate, both ends counted, in one run.
#[derive(Parser)]
#[command(name = "streams")]
struct Args {
    /// Rounds over both; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Messages of 128 bytes per round.
    #[arg(long, default_value_t = 500_000)]
    messages: usize,
    /// A short run that only shows that everything works.
    #[arg(long)]
    quick: bool,
    /// Runs only the two machines, without runtime or handles, on so many streams: to be counted by valgrind.
    #[arg(long, value_name = "STREAMS")]
    machines: Option<usize>,
    /// Runs only this contestant in memory.
    #[arg(long, value_enum)]
    only: Option<Who>,
    /// On so many streams.
    #[arg(long, default_value_t = 100)]
    streams: usize,
    /// With messages of so many bytes.
    #[arg(long, default_value_t = 128)]
    size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Who {
    Ours,
    Crate,
}

/// How both ends are joined.
#[derive(Clone, Copy)]
enum Over {
    Memory,
    Loopback,
}

#[derive(Clone, Copy)]
struct Load {
    streams: usize,
    size: usize,
    /// On all streams together.
    messages: usize,
}

type Pair<S> = (Vec<S>, Vec<S>);

trait Byte: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Byte for S {}

/// What an application reads into.
const READ: usize = 16 << 10;

/// CPU time of this thread, user and system.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// Sends on the ones and receives on the others, each stream in tasks of its own.
async fn carry<S: Byte>((ours, theirs): Pair<S>, load: Load) -> Duration {
    let each = load.messages / load.streams;
    // Buffers are the application's: making 10 000 of them would be most of what is measured.
    let theirs: Vec<_> = theirs.into_iter().map(|stream| (stream, vec![0_u8; READ])).collect();
    let start = cpu();
    let receivers: Vec<_> = theirs
        .into_iter()
        .map(|(mut stream, mut buffer)| {
            tokio::spawn(async move {
                let mut left = each * load.size;
                while left > 0 {
                    let n = stream.read(&mut buffer).await.unwrap();
                    assert!(n > 0, "cut");
                    left -= n;
                }
                stream
            })
        })
        .collect();
    let senders: Vec<_> = ours
        .into_iter()
        .map(|mut stream| {
            tokio::spawn(async move {
                let message = vec![7; load.size];
                for _ in 0..each {
                    stream.write_all(&message).await.unwrap();
                }
                stream
            })
        })
        .collect();
    let mut done = Vec::new();
    for receiver in receivers {
        done.push(receiver.await.unwrap());
    }
    let elapsed = cpu() - start;
    for sender in senders {
        done.push(sender.await.unwrap());
    }
    elapsed
}

/// Makes every stream known to the other side. The crate acknowledges a stream with its first answer, and opens no
/// more than 256 before.
async fn greet<S: Byte>(stream: &mut S) {
    stream.write_all(b"!").await.unwrap();
    stream.flush().await.unwrap();
}

async fn greeted<S: Byte>(stream: &mut S) {
    stream.read_exact(&mut [0]).await.unwrap();
}

fn settings() -> YamuxConfig {
    YamuxConfig::new().streams(StreamsConfig::new().slots(20_480).max_local(10_240).max_peer(10_240))
}

async fn ours(over: Over, load: Load) -> Duration {
    match over {
        Over::Memory => {
            let (a, b) = tokio::io::duplex(64 << 10);
            of_ours(a, b, load).await
        }
        Over::Loopback => {
            let (a, b) = sockets().await;
            of_ours(a, b, load).await
        }
    }
}

async fn of_ours<T: duologue_tokio::ByteStream + Send + 'static>(near: T, far: T, load: Load) -> Duration {
    let mux = |socket, role| {
        let yamux = Yamux::new(role, settings()).unwrap();
        let connection: StreamConnection<Yamux, T> =
            StreamConnection::accept(AsIs(socket), yamux, &Options::new()).unwrap();
        let (mux, task) = Mux::<Yamux, T>::new(connection, MuxOptions::new());
        tokio::spawn(task);
        mux
    };
    let (client, server) = (mux(near, Role::Client), mux(far, Role::Server));
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for _ in 0..load.streams {
        let mut stream = client.open().await.unwrap();
        greet(&mut stream).await;
        let mut other = server.accept().await.unwrap();
        greeted(&mut other).await;
        greet(&mut other).await;
        greeted(&mut stream).await;
        near.push(stream);
        far.push(other);
    }
    carry((near, far), load).await
}

async fn theirs(over: Over, load: Load) -> Duration {
    match over {
        Over::Memory => {
            let (a, b) = tokio::io::duplex(64 << 10);
            of_theirs(a.compat(), b.compat(), load).await
        }
        Over::Loopback => {
            let (a, b) = sockets().await;
            of_theirs(a.compat(), b.compat(), load).await
        }
    }
}

async fn of_theirs<T: Byte>(near: T, far: T, load: Load) -> Duration {
    let mut config = yamux::Config::default();
    config.set_max_connection_receive_window(None);
    config.set_max_num_streams(10_240);
    let mut client = yamux::Connection::new(near, config.clone(), yamux::Mode::Client);
    let mut server = yamux::Connection::new(far, config, yamux::Mode::Server);
    let (opened, mut near) = tokio::sync::mpsc::channel(1);
    let (accepted, mut far) = tokio::sync::mpsc::channel(1);
    let mut left = load.streams;
    let asked = std::sync::Arc::new(tokio::sync::Notify::new());
    let ask = asked.clone();
    // Its connection must be polled for everything, opening included.
    tokio::spawn(async move {
        loop {
            let mut asking = std::pin::pin!(asked.notified());
            let outcome = poll_fn(|cx| {
                let driven = client.poll_next_inbound(cx);
                if left > 0 && asking.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(true);
                }
                if driven.is_ready() { Poll::Ready(false) } else { Poll::Pending }
            })
            .await;
            if !outcome {
                return;
            }
            left -= 1;
            opened.send(poll_fn(|cx| client.poll_new_outbound(cx)).await.unwrap()).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Some(Ok(stream)) = poll_fn(|cx| server.poll_next_inbound(cx)).await {
            if accepted.send(stream).await.is_err() {
                // Everything was accepted; from now on it is only driven.
                continue;
            }
        }
    });
    let mut pair: Pair<yamux::Stream> = (Vec::new(), Vec::new());
    for _ in 0..load.streams {
        ask.notify_one();
        let mut stream: yamux::Stream = near.recv().await.unwrap();
        greet(&mut stream).await;
        let mut other: yamux::Stream = far.recv().await.unwrap();
        greeted(&mut other).await;
        greet(&mut other).await;
        greeted(&mut stream).await;
        pair.0.push(stream);
        pair.1.push(other);
    }
    carry(pair, load).await
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let (client, server) = (client.unwrap(), server.unwrap().0);
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    (client, server)
}

/// Two machines and nothing else: no runtime, no handles, no locks.
struct Machines {
    sides: [Session<Yamux>; 2],
    near: Vec<StreamId>,
}

const NOW: duologue_core::Instant = duologue_core::Instant::ORIGIN;

impl Machines {
    fn new(streams: usize) -> Self {
        let sides = [Role::Client, Role::Server]
            .map(|role| Session::new(Yamux::new(role, settings()).unwrap(), Config::new(), 1, NOW).unwrap());
        let mut machines = Self { sides, near: Vec::new() };
        for _ in 0..streams {
            let id = machines.sides[0].protocol_mut(NOW).open(NOW).unwrap();
            machines.near.push(id);
            machines.exchange();
        }
        machines
    }

    /// Moves what is queued, and takes everything that came; tells how many bytes.
    fn exchange(&mut self) -> usize {
        let mut taken = 0;
        for _ in 0..1000 {
            let mut moved = false;
            for from in 0..2 {
                let [a, b] = &mut self.sides;
                let (from, to) = if from == 0 { (a, b) } else { (b, a) };
                let mut slices: [&[u8]; 8] = [&[]; 8];
                let filled = from.transmit(&mut slices);
                let mut n = 0;
                for slice in &slices[..filled] {
                    let mut buf = to.recv_buf();
                    let fits = slice.len().min(bytes::BufMut::remaining_mut(&buf));
                    bytes::BufMut::put_slice(&mut buf, &slice[..fits]);
                    to.received(NOW);
                    n += fits;
                    if fits < slice.len() {
                        break;
                    }
                }
                moved |= n > 0;
                from.transmitted(NOW, n);
                while let Some(event) = to.poll_event(NOW) {
                    moved = true;
                    let Event::App(event) = event else { continue };
                    if let Some(StreamEvent::Readable(id)) = Yamux::as_stream_event(&event) {
                        let mut protocol = to.protocol_mut(NOW);
                        let Some(mut stream) = protocol.streams_mut().get_mut(id) else { continue };
                        while let Received::Data { bytes, .. } = stream.recv(usize::MAX) {
                            taken += bytes.len();
                            stream.release(bytes.len()).unwrap();
                        }
                    }
                }
            }
            if !moved {
                break;
            }
        }
        taken
    }

    /// Sends on every stream in turn, as many at a time as a busy application queues.
    fn carry(&mut self, messages: usize) {
        let message = [7; 128];
        let (mut sent, mut taken) = (0, 0);
        let mut at = 0;
        while sent < messages {
            for _ in 0..64.min(messages - sent) {
                let id = self.near[at % self.near.len()];
                at += 1;
                let mut protocol = self.sides[0].protocol_mut(NOW);
                let n = protocol.streams_mut().get_mut(id).unwrap().write(&message).unwrap();
                assert_eq!(n, 128);
                sent += 1;
            }
            taken += self.exchange();
        }
        taken += self.exchange();
        assert_eq!(taken, messages * 128);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare(args: &Args, name: &str, over: Over, load: Load) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let per = |time: Duration| time.as_nanos() as f64 / load.messages as f64;
    let rounds = if args.quick { 1 } else { args.rounds.max(1) };
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        a.push(per(runtime.block_on(ours(over, load))));
        b.push(per(runtime.block_on(theirs(over, load))));
    }
    let ratio = median(a.iter().zip(&b).map(|(ours, theirs)| ours / theirs).collect());
    let (ours, theirs) = (median(a), median(b));
    let rate = load.size as f64 * 1000.0 / ours;
    println!("{name:<34} {ours:>9.0} {theirs:>12.0} {ratio:>7.2} {rate:>9.0}");
}

fn main() {
    let args = Args::parse();
    let messages = if args.quick { 20_000 } else { args.messages };
    if let Some(streams) = args.machines {
        return Machines::new(streams).carry(messages);
    }
    if let Some(who) = args.only {
        let load = Load { streams: args.streams, size: args.size, messages };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let time = match who {
            Who::Ours => runtime.block_on(ours(Over::Memory, load)),
            Who::Crate => runtime.block_on(theirs(Over::Memory, load)),
        };
        return println!("{:.0} ns per message", time.as_nanos() as f64 / messages as f64);
    }
    println!(
        "{:<34} {:>9} {:>12} {:>7} {:>9}",
        "both ends, ns per message", "duologue", "yamux 0.14", "ratio", "our MB/s"
    );
    for (over, name) in [(Over::Memory, "memory"), (Over::Loopback, "loopback")] {
        for streams in [1, 100, 10_000] {
            let load = Load { streams, size: 128, messages: messages.max(streams) / streams * streams };
            compare(&args, &format!("{name}, 128 bytes, {streams} streams"), over, load);
        }
        let bulk = Load { streams: 1, size: 64 << 10, messages: (messages / 100).max(16) };
        compare(&args, &format!("{name}, 64 KiB, 1 stream"), over, bulk);
    }
    for streams in [1, 100, 10_000] {
        let mut machines = Machines::new(streams);
        machines.carry(messages / 10);
        let start = cpu();
        machines.carry(messages);
        let ns = (cpu() - start).as_nanos() as f64 / messages as f64;
        println!("{:<34} {ns:>9.0}", format!("machines only, 128 bytes, {streams}"));
    }
    println!("{:<34} {:>9}", "bytes per idle stream (machine)", Streams::<()>::bytes_per_idle_stream());
}
