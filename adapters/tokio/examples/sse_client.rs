//! Prints server-sent events, and connects again whenever the stream ends or breaks.
//!
//! ```text
//! cargo run --release -p duologue-tokio --example sse_client -- http://127.0.0.1:8080/events --events 20
//! ```

#[path = "common/mod.rs"]
mod common;
#[path = "common/tls.rs"]
mod tls;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use duologue_tokio::ReconnectOptions;
use duologue_tokio::http1::http::{Method, Uri};
use duologue_tokio::http1::{EventSource, Request};

use common::{Failure, run, say};

/// Silence after which the state of things is told.
const SILENCE: Duration = Duration::from_secs(2);

#[derive(Parser)]
#[command(about = "Prints server-sent events, over as many connections as it takes")]
struct Args {
    /// The stream: an http URL, or with --ca an https URL.
    url: Uri,
    /// Stop after so many events.
    #[arg(long)]
    events: Option<u64>,
    /// Whom to trust for https: a file of certificates (PEM).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

fn main() -> ExitCode {
    run(1, print(Args::parse()))
}

async fn print(args: Args) -> Result<(), Failure> {
    let request = Request::new(Method::GET, args.url);
    let mut source = match &args.ca {
        Some(file) => EventSource::with_tls(request, tls::trusting(file)?, ReconnectOptions::new())?,
        None => EventSource::with_request(request, ReconnectOptions::new())?,
    };
    let mut seen = 0;
    let mut told = None;
    while args.events.is_none_or(|wanted| seen < wanted) {
        // Waiting can be interrupted: nothing is lost by that.
        let Ok(event) = tokio::time::timeout(SILENCE, source.next_event()).await else {
            let trouble = source.trouble();
            if let Some(trouble) = trouble.filter(|trouble| told.as_deref() != Some(*trouble)) {
                eprintln!("no connection, trying again: {trouble}");
            }
            told = trouble.map(String::from);
            continue;
        };
        let Some(event) = event? else { break };
        seen += 1;
        say(format_args!("[{}] {} {:?}: {}", source.connections(), event.name, event.last_event_id, event.data));
    }
    Ok(())
}
