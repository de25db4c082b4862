//! Serves yamux over TCP and echoes every stream: `cargo run --release -p duologue-tokio --example yamux_echo -- --port 7000`.
//!
//! How each connection ended is printed. SIGINT and SIGTERM end it, once the streams have ended or five seconds have passed.
#![allow(clippy::print_stdout)]

#[path = "common/mod.rs"]
mod common;

use std::process::ExitCode;

use clap::Parser;
use duologue_core::{Config, Timeouts};
use duologue_tokio::streams::{Mux, MuxOptions, MuxStream};
use duologue_tokio::{Connection, Options};
use duologue_yamux::{Role, Yamux, YamuxConfig};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use common::{DRAIN, Failure, MESSAGE, accept, run, told_to_end};

/// Echoes every yamux stream.
#[derive(Parser)]
struct Args {
    /// TCP port to listen on; 0 chooses one.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

fn main() -> ExitCode {
    let args = Args::parse();
    run(2, listen(args.port))
}

async fn listen(port: u16) -> Result<(), Failure> {
    let listener = common::listen(port)?;
    println!("listening on {}", listener.local_addr()?);
    let (end, ending) = watch::channel(false);
    let mut connections = JoinSet::new();
    let ended = told_to_end();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => break,
            (socket, peer) = accept(&listener) => {
                let ending = ending.clone();
                connections.spawn(async move {
                    match serve(socket, ending).await {
                        Ok(closed) => println!("{peer}: {closed}"),
                        Err(e) => println!("{peer}: {e}"),
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    end.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, all).await;
    println!("{} connections were still open", connections.len());
    Ok(())
}

async fn serve(socket: TcpStream, mut ending: watch::Receiver<bool>) -> Result<String, Failure> {
    let yamux = Yamux::new(Role::Server, YamuxConfig::new())?;
    let timeouts = Timeouts::new().message(Some(MESSAGE));
    let options = Options::new().config(Config::new().timeouts(timeouts));
    let connection = Connection::accept(socket, yamux, &options)?;
    let (mux, task) = Mux::new(connection, MuxOptions::new());
    let task = tokio::spawn(task);
    loop {
        tokio::select! {
            stream = mux.accept() => match stream {
                Some(stream) => drop(tokio::spawn(echo(stream))),
                None => break,
            },
            Ok(_) = ending.wait_for(|ending| *ending), if !*ending.borrow() => mux.drain(),
        }
    }
    Ok(task.await?.to_string())
}

async fn echo(mut stream: MuxStream<Yamux>) {
    while let Ok(Some(bytes)) = stream.recv().await {
        if stream.send(bytes).await.is_err() {
            return;
        }
    }
    stream.finish();
}
