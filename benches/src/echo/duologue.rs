//! duologue's two ways to take messages, with everything that is armed by default.

use std::io;

use ::tokio::net::TcpListener;
use duologue_core::framed::{Framed, LengthPrefixed};
use duologue_core::{CloseIntent, Code, Config, Delivery, Event};
use duologue_tokio::{Options, Served, Server};

use super::{HEADER, MAX_PAYLOAD};

type Protocol = Framed<LengthPrefixed>;

fn protocol() -> Protocol {
    Framed::new(LengthPrefixed::u32_be(MAX_PAYLOAD))
}

pub(super) async fn serve_owned(listener: TcpListener) -> io::Result<()> {
    let server = Server::from_listener(listener, Options::new());
    server.serve(|_| protocol(), echo_owned).await;
    Ok(())
}

pub(super) async fn serve_borrowed(listener: TcpListener) -> io::Result<()> {
    let options = Options::new().config(Config::new().delivery(Delivery::InPlace));
    let server = Server::from_listener(listener, options);
    server.serve(|_| protocol(), echo_borrowed).await;
    Ok(())
}

async fn echo_owned(mut connection: Served<Protocol>) {
    while let Some(event) = connection.next_event().await {
        if let Event::App(message) = event {
            if connection.send(message).await.is_err() {
                connection.start_close(CloseIntent::Flush(Code(1)));
            }
        }
    }
}

async fn echo_borrowed(mut connection: Served<Protocol>) {
    let reply_room = HEADER + MAX_PAYLOAD;
    while let Some(event) = connection.handle(reply_room, |message, replies| drop(replies.send(message))).await {
        if let Event::Closed(_) = event {
            return;
        }
    }
}
