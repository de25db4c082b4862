//! Our side of the interoperation with WebSockets of other languages; see `tests/peers/websocket/interop.sh`.

use std::net::SocketAddr;
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};
use duologue_tests::websocket::{Abilities, check, killed, serve};
use duologue_tests::websocket_writers;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Serves, and prints how each connection ended.
    Serve {
        #[arg(long)]
        deflate: bool,
    },
    /// Many writers against a foreign server that ends connection after connection.
    Writers {
        address: SocketAddr,
        #[arg(long, default_value_t = 64)]
        writers: u64,
        #[arg(long, default_value_t = 1000)]
        connections: usize,
    },
    /// Puts a foreign server through everything.
    Check {
        address: SocketAddr,
        #[arg(long)]
        deflate: bool,
        /// It cannot send a message in fragments.
        #[arg(long)]
        no_fragments: bool,
        /// It answers our Close with a code of its own.
        #[arg(long)]
        any_code: bool,
        /// Kills this process at last, the server's, and looks how that looks.
        #[arg(long)]
        kill: Option<u32>,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Args::parse().role {
        Role::Serve { deflate } => listen(deflate).await,
        Role::Writers { address, writers, connections } => {
            println!("  {:?}", websocket_writers::run(address, writers, connections).await);
        }
        Role::Check { address, deflate, no_fragments, any_code, kill } => {
            let can = Abilities { deflate, fragments: !no_fragments, fin: true, echoes_code: !any_code };
            let checked = async {
                let mut done = check(address, can).await?;
                if let Some(pid) = kill {
                    // A server that is not killed shows as one that never ends.
                    let kill = || drop(Command::new("kill").args(["-9", &pid.to_string()]).status());
                    println!("  killed: {}", killed(address, kill).await?);
                    done.push("killed");
                }
                Ok::<_, String>(done)
            };
            match checked.await {
                Ok(done) => println!("  {}", done.join(", ")),
                Err(error) => {
                    println!("  FAILED: {error}");
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    ExitCode::SUCCESS
}

async fn listen(deflate: bool) {
    let Ok(listener) = TcpListener::bind("127.0.0.1:0").await else { return };
    let Ok(address) = listener.local_addr() else { return };
    println!("listening {address}");
    let (ended, mut ends) = mpsc::unbounded_channel();
    tokio::spawn(serve(listener, deflate, ended));
    while let Some(end) = ends.recv().await {
        println!("end {} {} {} {}", end.target, end.code, end.cause, end.messages);
    }
}
