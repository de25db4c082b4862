//! Prints server-sent events, and connects again whenever the stream ends or breaks.
//!
//! ```text
//! cargo run --release -p duologue-tokio --example sse_client -- http://127.0.0.1:8080/events --events 20
//! ```

use std::error::Error;

use clap::Parser;
use duologue_tokio::ReconnectOptions;
use duologue_tokio::http1::EventSource;
use duologue_tokio::http1::http::Uri;

#[derive(Parser)]
#[command(about = "Prints server-sent events, over as many connections as it takes")]
struct Args {
    /// The stream: an http URL.
    url: Uri,
    /// Stop after so many events.
    #[arg(long)]
    events: Option<u64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut source = EventSource::new(args.url, ReconnectOptions::new())?;
    let mut seen = 0;
    while args.events.is_none_or(|wanted| seen < wanted) {
        let Some(event) = source.next_event().await? else { break };
        seen += 1;
        println!("[{}] {} {:?}: {}", source.connections(), event.name, event.last_event_id, event.data);
    }
    Ok(())
}
