//! Serves `example.EchoService/Echo` of bRPC, and echoes every stream opened with it:
//! `cargo run --release -p duologue-tokio --example brpc_echo -- --port 7000`.
//!
//! With `--connect PORT` it is the client: it calls, sends messages on two streams, and checks what comes back.
//!
//! How each connection ended is printed. SIGINT and SIGTERM end it, once what was asked is answered or five seconds have
//! passed.
#![allow(clippy::print_stdout)]

#[path = "common/mod.rs"]
mod common;

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use duologue_core::{Config, Timeouts};
use duologue_tokio::brpc::{
    Answer, Brpc, BrpcClient, BrpcConfig, BrpcServer, BrpcStream, Call, ErrorCode, Exchange, Role, Router, RpcError,
    Status,
};
use duologue_tokio::{Connection, Options};

use common::{DRAIN, Failure, MESSAGE, at, run, told_to_end};

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

const SERVICE: &str = "example.EchoService";

fn main() -> ExitCode {
    let args = Args::parse();
    run(2, serve_or_ask(args))
}

async fn serve_or_ask(args: Args) -> Result<(), Failure> {
    if let Some(port) = args.connect {
        return tokio::time::timeout(Duration::from_secs(60), client(port, args.messages, args.size)).await?;
    }
    let options = Options::new().config(Config::new().timeouts(Timeouts::new().message(Some(MESSAGE))));
    let server = BrpcServer::bind(("127.0.0.1", args.port), options, BrpcConfig::new()).await;
    let server = at("listening on port", args.port, server)?;
    println!("listening on {}", server.local_addr()?);
    let handle = server.handle();
    tokio::spawn(async move {
        told_to_end().await;
        handle.drain(DRAIN);
    });
    let report = server
        .when_closed(|peer, closed| println!("{peer}: {closed}"))
        .serve(Router::new().exchange(SERVICE, "Echo", echo))
        .await;
    println!("{} of {} connections were still open", report.reset, report.open);
    Ok(())
}

/// Request and response are the same message: field 1, a string.
async fn echo(exchange: Exchange) {
    let request = exchange.request();
    let answer = Answer::new(request.body.clone()).attachment(request.attachment.clone());
    let accepted = if request.streams > 0 { exchange.accept() } else { Ok(Vec::new()) };
    let (streams, answer) = match accepted {
        Ok(streams) => (streams, Ok(answer)),
        Err(e) => (Vec::new(), Err(Status::new(ErrorCode::Limit, e.to_string()))),
    };
    for stream in streams {
        tokio::spawn(echo_stream(stream));
    }
    // What a client that went away is not told is nobody's loss.
    let _ = exchange.reply(answer).await;
}

async fn echo_stream(mut stream: BrpcStream) {
    while let Ok(Some(message)) = stream.recv_message().await {
        // A peer that takes no data is listened to all the same.
        let _ = stream.send(message).await;
    }
    stream.finish();
}

async fn client(port: u16, messages: u32, size: usize) -> Result<(), Failure> {
    let brpc = Brpc::new(Role::Client, BrpcConfig::new())?;
    let (client, task) = BrpcClient::new(Connection::connect(("127.0.0.1", port), brpc, Options::new()).await?);
    let task = tokio::spawn(task);
    let body = Bytes::from_static(b"\x0a\x05hello");
    let call = |method: &str| Call::new(SERVICE, method, body.clone());
    let (first, plain, failed) = tokio::join!(
        client.call_with_streams(call("Echo"), 2),
        client.call(call("Echo")),
        client.call(call("Nothing"))
    );
    let (response, streams) = first?;
    let code = match failed {
        Err(RpcError::Status(status)) => status.code.to_wire(),
        other => return Err(format!("a method that is not there answered {other:?}").into()),
    };
    if response.body != body || plain?.body != body {
        return Err("the call came back otherwise".into());
    }
    let streams =
        streams.into_iter().enumerate().map(|(n, stream)| tokio::spawn(send_and_check(n, stream, messages, size)));
    let mut back = Vec::new();
    for stream in streams.collect::<Vec<_>>() {
        back.push(stream.await??);
    }
    drop(client);
    let closed = task.await?;
    println!("echoed {back:?} messages, a method that is not there answered {code}; {closed}");
    if back == [messages; 2] && code == duologue_tokio::brpc::code::ENOMETHOD {
        Ok(())
    } else {
        Err("not everything came".into())
    }
}

async fn send_and_check(n: usize, stream: BrpcStream, messages: u32, size: usize) -> Result<u32, Failure> {
    let message = move |n: u32| Bytes::from(vec![n as u8; size]);
    let (sender, mut receiver) = stream.split();
    let sending = tokio::spawn(async move {
        for n in 0..messages {
            sender.send(message(n)).await?;
        }
        Ok::<_, Failure>(sender)
    });
    for at in 0..messages {
        if receiver.recv_message().await?.is_none_or(|came| came != message(at)) {
            return Err(format!("message {at} of stream {n} came back otherwise").into());
        }
    }
    // The wire has no half-close: what comes back behind our CLOSE would be for nobody.
    sending.await??.finish();
    match receiver.recv_message().await? {
        Some(_) => Err(format!("stream {n} brought more than was sent").into()),
        None => Ok(messages),
    }
}
