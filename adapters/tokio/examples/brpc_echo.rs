//! Serves `example.EchoService/Echo` of bRPC, and echoes every stream opened with it:
//! `cargo run --release -p duologue-tokio --example brpc_echo -- --port 7000`.
//!
//! With `--connect PORT` it is the client: it calls, sends messages on two streams, and checks what comes back.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use duologue_brpc::{Brpc, BrpcCommand, BrpcConfig, BrpcEvent, Call, Reply, Request, Role, code};
use duologue_core::streams::{Multiplex, Received, StreamError, StreamEvent, StreamId};
use duologue_core::{Code, Event};
use duologue_tokio::{Connection, Options};
use tokio::net::{TcpListener, TcpStream};

/// Echoes calls and streams of bRPC.
#[derive(Parser)]
struct Args {
    /// TCP port to listen on; 0 chooses one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Be the client of the server at this port.
    #[arg(long)]
    connect: Option<u16>,
    /// Messages that the client sends on each stream.
    #[arg(long, default_value_t = 1000)]
    messages: u32,
    /// Bytes of each.
    #[arg(long, default_value_t = 100)]
    size: usize,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Bound = Connection<Brpc>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    if let Some(port) = args.connect {
        return tokio::time::timeout(Duration::from_secs(60), client(port, args.messages, args.size)).await?;
    }
    let listener = TcpListener::bind(("127.0.0.1", args.port)).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (socket, peer) = listener.accept().await?;
        tokio::spawn(async move {
            match serve(socket).await {
                Ok(closed) => println!("{peer}: {closed}"),
                Err(e) => println!("{peer}: {e}"),
            }
        });
    }
}

/// One stream: the message that is coming, and the one that waits to go back.
#[derive(Default)]
struct Echo {
    coming: Vec<u8>,
    going: Option<Bytes>,
}

async fn serve(socket: TcpStream) -> Result<String, Failure> {
    let mut connection: Bound =
        Connection::accept(socket, Brpc::new(Role::Server, BrpcConfig::new())?, &Options::new())?;
    let mut streams = BTreeMap::<StreamId, Echo>::new();
    while let Some(event) = connection.next_event().await {
        match event {
            Event::App(BrpcEvent::Request(request)) => {
                let reply = answer(&mut connection, &mut streams, &request);
                connection.send(BrpcCommand::Reply(Box::new(reply))).await.map_err(|e| e.to_string())?;
            }
            Event::App(BrpcEvent::Stream(StreamEvent::Closed(id, _))) => {
                streams.remove(&id);
            }
            Event::App(BrpcEvent::Stream(StreamEvent::Readable(id) | StreamEvent::Writable(id))) => {
                if let Some(stream) = streams.get_mut(&id) {
                    echo(&mut connection, id, stream);
                }
            }
            Event::Closed(closed) => return Ok(closed.to_string()),
            _ => {}
        }
    }
    Ok("ended".into())
}

fn answer(connection: &mut Bound, streams: &mut BTreeMap<StreamId, Echo>, request: &Request) -> Reply {
    match (&request.service[..], &request.method[..]) {
        ("example.EchoService", "Echo") => {}
        ("example.EchoService", _) => return Reply::error(request.id, code::ENOMETHOD, "no such method"),
        _ => return Reply::error(request.id, code::ENOSERVICE, "no such service"),
    }
    if request.streams > 0 {
        match connection.protocol_mut().accept(request.id) {
            Ok(accepted) => streams.extend(accepted.into_iter().map(|id| (id, Echo::default()))),
            Err(e) => return Reply::error(request.id, code::ELIMIT, e.to_string()),
        }
    }
    // Request and response are the same message: field 1, a string.
    Reply { attachment: request.attachment.clone(), ..Reply::ok(request.id, request.body.clone()) }
}

/// Takes messages while they can be sent back. Credit is given when a message was.
fn echo(connection: &mut Bound, id: StreamId, echo: &mut Echo) {
    let mut protocol = connection.protocol_mut();
    let Some(mut stream) = protocol.streams_mut().get_mut(id) else { return };
    loop {
        if let Some(message) = echo.going.take() {
            let len = message.len();
            match stream.send(message) {
                Ok(()) => drop(stream.release(len)),
                Err(refused) if matches!(refused.why, StreamError::Full { .. }) => {
                    echo.going = Some(refused.data);
                    return;
                }
                // The peer takes nothing, or no more.
                Err(_) => drop(stream.release(len)),
            }
        }
        match stream.recv(usize::MAX) {
            Received::Data { bytes, ends: true } if echo.coming.is_empty() => echo.going = Some(bytes),
            Received::Data { bytes, ends } => {
                echo.coming.extend_from_slice(&bytes);
                if ends {
                    echo.going = Some(std::mem::take(&mut echo.coming).into());
                }
            }
            Received::Nothing => return,
            Received::Finished | Received::Ended(_) => return stream.finish(),
        }
    }
}

async fn client(port: u16, messages: u32, size: usize) -> Result<(), Failure> {
    let brpc = Brpc::new(Role::Client, BrpcConfig::new())?;
    let mut connection: Bound = Connection::connect(("127.0.0.1", port), brpc, Options::new()).await?;
    let first = connection.protocol_mut().open_stream()?;
    let streams = [first, connection.protocol_mut().open_stream()?];
    let body = Bytes::from_static(b"\x0a\x05hello");
    let call = |id, streams: &[StreamId]| Call {
        id,
        service: "example.EchoService".into(),
        method: "Echo".into(),
        body: body.clone(),
        streams: streams.to_vec(),
        ..Call::default()
    };
    for call in [call(1, &streams), call(2, &[]), Call { method: "Nothing".into(), ..call(3, &[]) }] {
        connection.send(BrpcCommand::Call(Box::new(call))).await.map_err(|e| e.to_string())?;
    }
    let message = |n: u32| Bytes::from(vec![n as u8; size]);
    let (mut sent, mut back) = ([0_u32; 2], [0_u32; 2]);
    let (mut errors, mut ended) = (Vec::new(), 0);
    let mut coming = [Vec::new(), Vec::new()];
    loop {
        for n in 0..2 {
            let mut protocol = connection.protocol_mut();
            let Some(mut stream) = protocol.streams_mut().get_mut(streams[n]) else { continue };
            while sent[n] < messages && stream.send(message(sent[n])).is_ok() {
                sent[n] += 1;
            }
            while let Received::Data { bytes, ends } = stream.recv(usize::MAX) {
                stream.release(bytes.len())?;
                coming[n].extend_from_slice(&bytes);
                if ends {
                    if coming[n] != message(back[n]) {
                        return Err(format!("message {} of stream {n} came back otherwise", back[n]).into());
                    }
                    coming[n].clear();
                    back[n] += 1;
                }
            }
            if back[n] == messages {
                stream.finish();
            }
        }
        match connection.next_event().await {
            Some(Event::App(BrpcEvent::Response(response))) => {
                errors.push(response.error_code);
                if response.error_code == 0 && response.body != body {
                    return Err("the call came back otherwise".into());
                }
            }
            Some(Event::App(BrpcEvent::Stream(StreamEvent::Closed(_, closed)))) => {
                println!("stream: {}", closed.end);
                ended += 1;
            }
            Some(Event::App(_)) => {}
            Some(Event::Closed(closed)) => return Err(closed.to_string().into()),
            Some(_) | None => {}
        }
        if ended == 2 && errors.len() == 3 {
            break;
        }
    }
    let closed = connection.close(Code(0)).await;
    println!("echoed {} and {} messages, calls ended with {errors:?}; {closed}", back[0], back[1]);
    if back == [messages; 2] && errors == [0, 0, code::ENOMETHOD] { Ok(()) } else { Err("not everything came".into()) }
}
