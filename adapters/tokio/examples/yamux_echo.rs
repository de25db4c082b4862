//! Serves yamux over TCP and echoes every stream: `cargo run --release -p duologue-tokio --example yamux_echo -- --port 7000`.
#![allow(clippy::print_stdout)]

use clap::Parser;
use duologue_tokio::streams::{Mux, MuxOptions, MuxStream};
use duologue_tokio::{Connection, Options};
use duologue_yamux::{Role, Yamux, YamuxConfig};
use tokio::net::{TcpListener, TcpStream};

/// Echoes every yamux stream.
#[derive(Parser)]
struct Args {
    /// TCP port to listen on; 0 chooses one.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
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

async fn serve(socket: TcpStream) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let yamux = Yamux::new(Role::Server, YamuxConfig::new())?;
    let connection = Connection::accept(socket, yamux, &Options::new())?;
    let (mux, task) = Mux::new(connection, MuxOptions::new());
    let task = tokio::spawn(task);
    while let Some(stream) = mux.accept().await {
        tokio::spawn(echo(stream));
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
