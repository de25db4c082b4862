//! Real loopback sockets for the tests `sockets_*`: pairs of connections, and peers that are plain sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use duologue_core::framed::{Framed, LengthPrefixed};
use duologue_core::{
    Cause, CloseStep, Closed, Code, Config, Cx, Event, Limits, NoTimers, Protocol, RecvBuf, Refused, Step, Timeouts,
};
use duologue_tokio::{Connection, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The longest that any step of a test may take: a hang fails.
pub const STEP: Duration = Duration::from_secs(20);

/// The protocol of most tests: frames behind a 32-bit length.
pub type Frames = Framed<LengthPrefixed>;

/// An event of [`Frames`].
pub type FramesEvent = Event<Bytes, <Frames as Protocol>::Violation>;

/// How a session of [`Frames`] ended.
pub type FramesClosed = Closed<<Frames as Protocol>::Violation>;

/// Frames of up to 128 KiB.
#[must_use]
pub const fn frames() -> Frames {
    Framed::new(LengthPrefixed::u32_be(128 << 10))
}

/// `future`'s output, within [`STEP`].
///
/// # Panics
/// When it takes longer.
pub async fn step<F: Future>(what: &str, future: F) -> F::Output {
    let Ok(output) = tokio::time::timeout(STEP, future).await else { panic!("a step hangs: {what}") };
    output
}

/// Waits until `condition` holds, within [`STEP`].
///
/// # Panics
/// When it takes longer.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    step(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Default options with a configuration.
#[must_use]
pub fn with_config(config: Config) -> Options {
    Options::new().config(config)
}

/// Default options with time-outs.
#[must_use]
pub fn with_timeouts(timeouts: Timeouts) -> Options {
    with_config(Config::new().timeouts(timeouts))
}

/// Options whose send queue holds at least `bytes`.
#[must_use]
pub fn with_queue(bytes: usize) -> Options {
    with_config(Config::new().limits(Limits::new().send_buffer(bytes)))
}

/// A listener on a free port of the loopback.
///
/// # Panics
/// The system has none.
pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

/// Two ends of a TCP connection: the dialling one first.
///
/// # Panics
/// The loopback does not work.
pub async fn tcp_pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listen().await;
    let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (dialled.expect("connected"), accepted.expect("accepted").0)
}

/// A connection made by dialling, and a plain socket as its peer.
///
/// # Panics
/// The loopback does not work.
pub async fn dialled<P: Protocol>(protocol: P, options: Options) -> (Connection<P>, TcpStream) {
    let (listener, address) = listen().await;
    let (ours, theirs) = tokio::join!(Connection::connect(address, protocol, options), listener.accept());
    (ours.expect("connected"), theirs.expect("accepted").0)
}

/// A connection made by accepting, and a plain socket as its peer.
///
/// # Panics
/// The loopback does not work.
pub async fn accepted<P: Protocol>(protocol: P, options: Options) -> (Connection<P>, TcpStream) {
    let (theirs, ours) = tcp_pair().await;
    (Connection::accept(ours, protocol, &options).expect("accepted"), theirs)
}

/// Two connections of [`Frames`] with each other: the dialling one first.
///
/// # Panics
/// The loopback does not work.
pub async fn connected(client: Options, server: Options) -> (Connection<Frames>, Connection<Frames>) {
    let (ours, theirs) = dialled(frames(), client).await;
    (ours, Connection::accept(theirs, frames(), &server).expect("accepted"))
}

/// A frame on the wire.
#[must_use]
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), payload].concat()
}

/// The payloads of whole frames; what is left over comes last.
#[must_use]
pub fn parse(mut wire: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut payloads = Vec::new();
    while let Some((header, rest)) = wire.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*header) as usize;
        let Some(payload) = rest.get(..length) else { break };
        payloads.push(payload.to_vec());
        wire = &rest[length..];
    }
    (payloads, wire.to_vec())
}

/// The next frame from a plain socket; `None` at its end.
///
/// # Panics
/// The stream ends inside a frame, or with an error.
pub async fn read_frame(peer: &mut TcpStream) -> Option<Vec<u8>> {
    let mut header = [0; 4];
    if step("reading a header", peer.read(&mut header[..1])).await.expect("no reset") == 0 {
        return None;
    }
    step("reading a header", peer.read_exact(&mut header[1..])).await.expect("a whole header");
    let mut payload = vec![0; u32::from_be_bytes(header) as usize];
    step("reading a payload", peer.read_exact(&mut payload)).await.expect("a whole payload");
    Some(payload)
}

/// Reads a plain socket to its end: the bytes, and the error if it was no FIN.
pub async fn read_to_end(peer: &mut TcpStream) -> (Vec<u8>, std::io::Result<()>) {
    let mut bytes = Vec::new();
    let result = step("reading to the end", peer.read_to_end(&mut bytes)).await;
    (bytes, result.map(|_| ()))
}

/// Writes all to a plain socket.
///
/// # Panics
/// It takes too long, or fails.
pub async fn write(peer: &mut TcpStream, bytes: &[u8]) {
    step("writing", peer.write_all(bytes)).await.expect("written");
}

/// Resets a plain socket (RST).
///
/// # Panics
/// The system refuses.
pub fn reset(peer: TcpStream) {
    duologue_tokio::ByteStream::reset_on_drop(&peer);
    drop(peer);
}

/// Takes events up to the end: all of them but the last, and how it ended.
///
/// # Panics
/// An event takes too long.
pub async fn drain(connection: &mut Connection<Frames>) -> (Vec<FramesEvent>, FramesClosed) {
    let mut events = Vec::new();
    loop {
        match step("waiting for an event", connection.next_event()).await {
            Some(Event::Closed(closed)) => return (events, closed),
            Some(event) => events.push(event),
            None => panic!("no Closed came"),
        }
    }
}

/// The messages among events.
#[must_use]
pub fn messages(events: &[FramesEvent]) -> Vec<Bytes> {
    let message = |event: &FramesEvent| match event {
        Event::App(message) => Some(message.clone()),
        _ => None,
    };
    events.iter().filter_map(message).collect()
}

/// The next message.
///
/// # Panics
/// It takes too long, or something else comes.
pub async fn message(connection: &mut Connection<Frames>) -> Bytes {
    match step("waiting for a message", connection.next_event()).await {
        Some(Event::App(message)) => message,
        other => panic!("a message was expected, not {other:?}"),
    }
}

/// A pseudo-random sequence from a seed (SplitMix64): tests that cut or drop at random print the seed.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }
}

/// A protocol of lines with what [`Frames`] has not: an opening (the peer's line `HI`), a probe (`PING`, which any byte
/// answers), and a goodbye (`BYE`, answered by `BYE`).
#[derive(Clone, Debug, Default)]
pub struct Chat {
    /// Commands wait for the peer's `HI`.
    pub opening: bool,
    said_bye: bool,
}

impl Chat {
    /// With an opening, or open at once.
    #[must_use]
    pub const fn new(opening: bool) -> Self {
        Self { opening, said_bye: false }
    }

    fn say(&mut self, cx: &mut Cx<'_, Self>, line: &[u8]) {
        cx.tx.control(line.len()).put_slice(line);
    }
}

impl Protocol for Chat {
    type Event = Bytes;
    type Command = Bytes;
    type Timer = NoTimers;
    type Violation = std::convert::Infallible;

    fn start(&mut self, cx: &mut Cx<'_, Self>) {
        if self.opening {
            self.say(cx, b"HELLO\n");
        } else {
            cx.establish();
        }
    }

    fn decode(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<Bytes>, Self::Violation> {
        let Some(end) = rx.iter().position(|byte| *byte == b'\n') else { return Ok(Step::NeedMore { hint: 0 }) };
        let line = rx.copy(end);
        rx.advance(1);
        Ok(match &line[..] {
            b"HI" => {
                cx.establish();
                Step::Progress
            }
            b"BYE" => {
                if !std::mem::replace(&mut self.said_bye, true) {
                    self.say(cx, b"BYE\n");
                }
                Step::Close(Code(0))
            }
            _ => Step::Event(line),
        })
    }

    fn command(&mut self, cx: &mut Cx<'_, Self>, line: Bytes) -> Result<(), Refused<Bytes>> {
        match cx.tx.message(line.len() + 1) {
            Ok(mut writer) => {
                writer.put_slice(&line);
                writer.put_u8(b'\n');
                Ok(())
            }
            Err(no_room) => Err(Refused::new(line, no_room.into())),
        }
    }

    fn keepalive(&mut self, cx: &mut Cx<'_, Self>) -> bool {
        self.say(cx, b"PING\n");
        true
    }

    fn begin_close(&mut self, cx: &mut Cx<'_, Self>, _cause: &Cause<Self::Violation>) -> CloseStep {
        self.said_bye = true;
        self.say(cx, b"BYE\n");
        CloseStep::AwaitPeer
    }
}
