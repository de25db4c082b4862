//! What an idle WebSocket connection weighs on tokio: bytes that the server allocated for each, with all default time-outs
//! armed, after one message went back and forth.

#[path = "../idle.rs"]
mod idle;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use duologue_core::{Config, Delivery, Event as SessionEvent};
use duologue_tokio::websocket::{Command, Event, Role, ServerHandshake, Settings, WebSocket, fitted};
use duologue_tokio::{Options, Served, Server};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;

fn main() -> io::Result<()> {
    let mut out = io::stdout();
    for name in ["duologue-owned", "duologue-borrowed", "tokio-tungstenite"] {
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || serve(name, |address| tell.send(address).is_ok()));
        let address = told.recv().map_err(io::Error::other)?;
        let bytes = idle::weigh(address)?;
        writeln!(out, "{name:<20}{bytes:>8} bytes per idle connection")?;
    }
    Ok(())
}

fn serve(name: &str, ready: impl FnOnce(SocketAddr) -> bool) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        if !ready(listener.local_addr()?) {
            return Ok(());
        }
        match name {
            "duologue-owned" => duologue(listener, Delivery::Owned).await,
            "duologue-borrowed" => duologue(listener, Delivery::InPlace).await,
            _ => loop {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(async move {
                    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
                    let (mut sink, mut stream) = socket.split();
                    while let Some(Ok(message)) = stream.next().await {
                        if message.is_binary() && sink.send(message).await.is_err() {
                            return;
                        }
                    }
                });
            },
        }
        Ok(())
    })
}

async fn duologue(listener: TcpListener, delivery: Delivery) {
    let settings = Settings::new();
    let options = fitted(Options::new().config(Config::new().delivery(delivery)), &settings, Role::Server);
    let handshake = Arc::new(ServerHandshake::new(settings));
    let protocol = move |_| WebSocket::server(Arc::clone(&handshake));
    let server = Server::from_listener(listener, options);
    if delivery == Delivery::Owned {
        server.serve(protocol, owned).await;
    } else {
        server.serve(protocol, borrowed).await;
    }
}

async fn owned(mut connection: Served<WebSocket>) {
    while let Some(event) = connection.next_event().await {
        if let SessionEvent::App(Event::Binary(data)) = event {
            let _ = connection.send(Command::Binary(data)).await;
        }
    }
}

async fn borrowed(mut connection: Served<WebSocket>) {
    let handler = |event: Event<duologue_core::Payload<'_>>,
                   replies: &mut duologue_core::Replies<'_, '_, WebSocket>| {
        if let Event::Binary(data) = event {
            let _ = replies.send(Command::Binary(data));
        }
    };
    while let Some(event) = connection.handle(1 << 16, handler).await {
        if let SessionEvent::Closed(_) = event {
            return;
        }
    }
}
