//! What the example `websocket_echo` does, with the default limits, for weighing; `echo` measures the example itself.

use std::sync::Arc;

use ::tokio::net::TcpListener;
use duologue_core::{Config, Delivery, Event as SessionEvent, Payload, Replies};
use duologue_tokio::websocket::{Command, Event, Role, ServerHandshake, Settings, WebSocket, fitted};
use duologue_tokio::{Options, Served, Server};

pub(super) async fn serve_owned(listener: TcpListener) {
    let (server, handshake) = server(listener, Delivery::Owned);
    server.serve(move |_| WebSocket::server(Arc::clone(&handshake)), owned).await;
}

pub(super) async fn serve_borrowed(listener: TcpListener) {
    let (server, handshake) = server(listener, Delivery::InPlace);
    server.serve(move |_| WebSocket::server(Arc::clone(&handshake)), borrowed).await;
}

fn server(listener: TcpListener, delivery: Delivery) -> (Server, Arc<ServerHandshake>) {
    let settings = Settings::new();
    let options = fitted(Options::new().config(Config::new().delivery(delivery)), &settings, Role::Server);
    (Server::from_listener(listener, options), Arc::new(ServerHandshake::new(settings)))
}

async fn owned(mut connection: Served<WebSocket>) {
    loop {
        let data = match connection.next_event().await {
            Some(SessionEvent::App(Event::Binary(data))) => data,
            Some(_) => continue,
            None => return,
        };
        if connection.send(Command::Binary(data)).await.is_err() {
            return;
        }
    }
}

async fn borrowed(mut connection: Served<WebSocket>) {
    let handler = |event: Event<Payload<'_>>, replies: &mut Replies<'_, '_, WebSocket>| {
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
