//! What every foreign WebSocket is put through, as a server, and our server for it as a client.
//!
//! Both ends echo, and do what a text asks for: `close CODE REASON` closes with that, `fragments N` sends the digits 0 to
//! N-1 as a text of N fragments, `fin` sends "last" and then FIN without a Close.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use duologue_core::{CloseIntent, Code, Config, Event as SessionEvent, Limits as Buffers};
use duologue_tokio::Options;
use duologue_tokio::websocket::{
    self, ClientHandshake, CloseCode, Command, Deflate, Event, Kind, Limits, Part, ServerHandshake, Settings,
    WebSocketConnection,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

/// Bytes of the largest message.
pub const HUGE: usize = 64 << 20;
/// No single step takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a foreign server can do of what is asked.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// It compresses: offer it, and insist on it.
    pub deflate: bool,
    /// It can send a message in fragments.
    pub fragments: bool,
    /// It can send FIN without a Close.
    pub fin: bool,
    /// It tells back the code of our Close; otherwise any code will do.
    pub echoes_code: bool,
}

/// The settings of both ends.
#[must_use]
pub fn settings(deflate: bool) -> Settings {
    let limits = Limits::new().max_frame(HUGE as u64).max_message(HUGE as u64);
    Settings::new().limits(limits).control_events(true).deflate(deflate.then(|| Deflate::new().level(1)))
}

/// Room for the largest message, and for what a compressor may add to it.
#[must_use]
pub fn options() -> Options {
    Options::new().config(Config::new().limits(Buffers::new().send_buffer(HUGE + (HUGE >> 2) + 64)))
}

/// How a connection of [`serve`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// What was asked for.
    pub target: String,
    /// The peer's close code; 1006 if it sent no Close.
    pub code: CloseCode,
    /// The name of the cause.
    pub cause: &'static str,
    /// Messages that came.
    pub messages: u64,
}

/// Serves any number of connections and tells how each ended.
pub async fn serve(listener: TcpListener, deflate: bool, ended: UnboundedSender<End>) {
    while let Ok((stream, _)) = listener.accept().await {
        let ended = ended.clone();
        tokio::spawn(async move {
            let handshake = ServerHandshake::new(settings(deflate));
            let Ok((mut socket, opened)) = websocket::accept(stream, handshake, &options()).await else { return };
            let messages = echo(&mut socket).await;
            let closed = socket.closed().await;
            let code = socket.session().protocol().close_code();
            // Nobody may want to know any more.
            let _ = ended.send(End { target: opened.target, code, cause: closed.cause.kind(), messages });
        });
    }
}

async fn echo(socket: &mut WebSocketConnection) -> u64 {
    let mut messages = 0;
    while let Some(event) = socket.next_event().await {
        let answer = match event {
            SessionEvent::App(Event::Text(text)) => {
                messages += 1;
                if obey(socket, text.as_str()).await {
                    continue;
                }
                Command::Text(text)
            }
            SessionEvent::App(Event::Binary(data)) => {
                messages += 1;
                Command::Binary(data)
            }
            _ => continue,
        };
        // The peer may have closed meanwhile.
        let _ = socket.send(answer).await;
    }
    messages
}

async fn obey(socket: &mut WebSocketConnection, text: &str) -> bool {
    let mut words = text.splitn(3, ' ');
    match (words.next(), words.next().and_then(|word| word.parse::<u32>().ok())) {
        (Some("close"), Some(code)) => {
            let reason = words.next().unwrap_or_default().to_owned();
            let _ = socket.send(Command::CloseReason(reason.into())).await;
            socket.start_close(CloseIntent::Goodbye(Code(code)));
        }
        (Some("fragments"), Some(count)) => {
            for n in 0..count {
                let data = Bytes::from((n % 10).to_string());
                let part = Part { kind: Kind::Text, first: n == 0, last: n + 1 == count, data };
                let _ = socket.send(Command::Part(part)).await;
            }
        }
        _ => return false,
    }
    true
}

type Outcome = Result<(), String>;

fn expect<T: PartialEq + Debug>(what: &str, got: T, wanted: T) -> Outcome {
    if got == wanted { Ok(()) } else { Err(format!("{what}: got {got:.200?}, wanted {wanted:.200?}")) }
}

/// A client of a foreign server, every step of it bounded.
struct Client {
    socket: WebSocketConnection,
}

impl Client {
    async fn connect(address: SocketAddr, deflate: bool) -> Result<Self, String> {
        let handshake = ClientHandshake::new(address.to_string(), "/").settings(settings(deflate));
        let connected = timeout(PATIENCE, websocket::connect_to(address, handshake, options())).await;
        let (socket, opened) = connected.map_err(|_| "connecting takes too long")?.map_err(|e| e.to_string())?;
        expect("compression", opened.deflate.is_some(), deflate)?;
        Ok(Self { socket })
    }

    async fn send(&mut self, command: Command) -> Outcome {
        self.socket.send(command).await.map_err(|e| format!("sending: {e}"))
    }

    async fn next(&mut self) -> Result<Event, String> {
        loop {
            let event = timeout(PATIENCE, self.socket.next_event()).await.map_err(|_| "an event takes too long")?;
            match event {
                Some(SessionEvent::App(event)) => return Ok(event),
                Some(SessionEvent::Closed(closed)) => return Err(format!("it is over: {closed}")),
                None => return Err("it is over".into()),
                Some(_) => {}
            }
        }
    }

    async fn echoes(&mut self, command: Command, event: Event) -> Outcome {
        self.send(command).await?;
        expect("echo", self.next().await?, event)
    }

    /// The end, how it is called, and the peer's close code.
    async fn end(&mut self) -> Result<(&'static str, CloseCode), String> {
        let closed = timeout(PATIENCE, self.socket.closed()).await.map_err(|_| "the end takes too long")?;
        Ok((closed.cause.kind(), self.socket.session().protocol().close_code()))
    }
}

/// Puts a foreign echo server through everything. Tells what was done.
///
/// # Errors
/// The first thing that was not as it should be.
pub async fn check(address: SocketAddr, can: Abilities) -> Result<Vec<&'static str>, String> {
    let mut done = Vec::new();
    let mut client = Client::connect(address, can.deflate).await?;
    messages(&mut client).await?;
    done.push("text and binary");
    fragments(&mut client, can).await?;
    done.push(if can.fragments { "fragments both ways" } else { "fragments to it" });
    client.send(Command::Ping(Bytes::from_static(b"are you there"))).await?;
    expect("pong", client.next().await?, Event::Pong(Bytes::from_static(b"are you there")))?;
    done.push("ping");
    let huge = Bytes::from((0..HUGE).map(|i| (i >> 4) as u8).collect::<Vec<_>>());
    client.echoes(Command::Binary(huge.clone()), Event::Binary(huge)).await?;
    done.push("64 MiB");
    client.socket.start_close(CloseIntent::Goodbye(Code(1000)));
    expect("the end", client.end().await?.0, "local-close")?;
    close_codes(address, can).await?;
    done.push("close codes both ways");
    half_close(address, can).await?;
    done.push(if can.fin { "half-close both ways" } else { "half-close of ours" });
    Ok(done)
}

async fn messages(client: &mut Client) -> Outcome {
    for text in ["", "hello", "h\u{fc} \u{20ac} \u{1f600}", &"long ".repeat(30_000)] {
        client.echoes(Command::text(text), Event::Text(text.to_owned().into())).await?;
    }
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
        let data = Bytes::from((0..len).map(|i| (i * 7) as u8).collect::<Vec<_>>());
        client.echoes(Command::Binary(data.clone()), Event::Binary(data)).await?;
    }
    Ok(())
}

async fn fragments(client: &mut Client, can: Abilities) -> Outcome {
    // A character is cut in two.
    let parts: [&'static [u8]; 4] = [b"h\xc3", b"\xbc", b"", b"!"];
    for (n, data) in parts.iter().enumerate() {
        let data = Bytes::from_static(data);
        let part = Part { kind: Kind::Text, first: n == 0, last: n + 1 == parts.len(), data };
        client.send(Command::Part(part)).await?;
    }
    expect("fragmented text", client.next().await?, Event::Text("h\u{fc}!".into()))?;
    let data = Bytes::from_static(&[7; 100]);
    for n in 0..1000 {
        let part = Part { kind: Kind::Binary, first: n == 0, last: n == 999, data: data.clone() };
        client.send(Command::Part(part)).await?;
    }
    expect("1000 fragments", client.next().await?, Event::Binary(Bytes::from(vec![7; 100_000])))?;
    if can.fragments {
        client.echoes(Command::text("fragments 12"), Event::Text("012345678901".into())).await?;
    }
    Ok(())
}

async fn close_codes(address: SocketAddr, can: Abilities) -> Outcome {
    for code in [1000, 1001, 1008, 3000, 4999] {
        let mut client = Client::connect(address, can.deflate).await?;
        client.echoes(Command::text("a"), Event::Text("a".into())).await?;
        client.socket.start_close(CloseIntent::Goodbye(Code(code)));
        let (cause, answered) = client.end().await?;
        expect("our close", cause, "local-close")?;
        let wanted = if can.echoes_code { CloseCode(code as u16) } else { answered };
        expect("the code that came back", answered, wanted)?;
        expect("it was answered", answered == CloseCode::ABNORMAL, false)?;
    }
    for code in [1000_u16, 1001, 3000, 4321] {
        let mut client = Client::connect(address, can.deflate).await?;
        client.send(Command::text(format!("close {code} because"))).await?;
        let event = client.next().await?;
        let Event::Close(close) = event else { return Err(format!("not a Close: {event:?}")) };
        expect("its close", (close.code, close.reason.as_str()), (CloseCode(code), "because"))?;
        expect("the end", client.end().await?, ("peer-close", CloseCode(code)))?;
    }
    Ok(())
}

async fn half_close(address: SocketAddr, can: Abilities) -> Outcome {
    let mut client = Client::connect(address, can.deflate).await?;
    for n in 0..10 {
        client.send(Command::text(n.to_string())).await?;
    }
    for n in 0..10 {
        expect("before our end", client.next().await?, Event::Text(n.to_string().into()))?;
    }
    client.socket.finish();
    let event = client.next().await?;
    expect("a Close for our Close and FIN", matches!(event, Event::Close(_)), true)?;
    client.end().await?;
    if can.fin {
        let mut client = Client::connect(address, can.deflate).await?;
        client.echoes(Command::text("fin"), Event::Text("last".into())).await?;
        expect("FIN without Close", client.end().await?.1, CloseCode::ABNORMAL)?;
    }
    Ok(())
}

/// Talks to a foreign server, has `kill` end it, and tells how that looked.
///
/// # Errors
/// It looked like an orderly end, or never ended.
pub async fn killed(address: SocketAddr, kill: impl FnOnce()) -> Result<&'static str, String> {
    let mut client = Client::connect(address, false).await?;
    client.echoes(Command::text("a"), Event::Text("a".into())).await?;
    kill();
    let (cause, code) = client.end().await?;
    expect("the code", code, CloseCode::ABNORMAL)?;
    expect("an orderly end", matches!(cause, "local-close" | "peer-close"), false)?;
    Ok(cause)
}
