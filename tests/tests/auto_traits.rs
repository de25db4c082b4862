//! What may go to another thread, and what may be shared between threads, is part of the API. Nothing declares it, so that a
//! field can take it away: here that does not compile, and not at a user's.

use bytes::Bytes;
use duologue_core::framed::FrameError;
use duologue_core::{Cause, Closed, Config, Event, LimitsError, Session, TransportFault};
use duologue_tests::sockets::Frames;

fn sent<T: Send + 'static>() {}
fn shared<T: Send + Sync + 'static>() {}
fn sent_while_it_waits<F: Future + Send>(_: F) {}

macro_rules! handles {
    ($test:ident, $adapter:ident) => {
        #[test]
        fn $test() {
            use $adapter as adapter;
            sent::<adapter::Connection<Frames>>();
            sent::<adapter::RecvHalf<Frames>>();
            shared::<adapter::SendHalf<Frames>>();
            sent::<adapter::Server>();
            sent::<adapter::Served<Frames>>();
            shared::<adapter::ServerHandle>();
            shared::<adapter::PoolClient<Frames>>();
            sent::<adapter::Pooled<Frames>>();
            sent::<adapter::Reconnecting<Frames>>();
            shared::<adapter::ReconnectSender<Frames>>();
            shared::<adapter::Options>();
            shared::<adapter::ConnectError<FrameError>>();
            shared::<adapter::SendError<Bytes>>();
            shared::<adapter::DrainReport>();
            shared::<adapter::PoolError>();
            shared::<adapter::http1::HttpClient>();
            shared::<adapter::http1::HttpError>();
            sent::<adapter::http1::HttpResponse>();
            sent::<adapter::http1::EventSource>();
        }
    };
}

handles!(the_handles_on_tokio, duologue_tokio);
handles!(the_handles_on_smol, duologue_smol);
handles!(the_handles_on_async_std, duologue_async_std);
handles!(the_handles_on_threads, duologue_blocking);

macro_rules! futures {
    ($test:ident, $adapter:ident) => {
        #[test]
        fn $test() {
            use $adapter as adapter;
            let _ = |connection: &mut adapter::Connection<Frames>| sent_while_it_waits(connection.next_event());
            let _ = |connection: &mut adapter::Connection<Frames>| sent_while_it_waits(connection.send(Bytes::new()));
            let _ = |half: &mut adapter::RecvHalf<Frames>| sent_while_it_waits(half.next_event());
            let _ = |half: &adapter::SendHalf<Frames>| sent_while_it_waits(half.send(Bytes::new()));
            let _ = |pool: &adapter::PoolClient<Frames>| sent_while_it_waits(pool.acquire("a:1"));
            let _ = |pool: &adapter::http1::HttpPool| sent_while_it_waits(pool.acquire("https://a:1"));
            let _ = |client: &adapter::http1::HttpClient, uri| sent_while_it_waits(client.get(uri));
            let _ = |source: &mut adapter::http1::EventSource| sent_while_it_waits(source.next_event());
            let _ = |sender: &adapter::ReconnectSender<Frames>| sent_while_it_waits(sender.send(Bytes::new()));
        }
    };
}

futures!(what_waits_on_tokio, duologue_tokio);
futures!(what_waits_on_smol, duologue_smol);
futures!(what_waits_on_async_std, duologue_async_std);

#[test]
fn sessions_and_what_they_tell() {
    shared::<Session<Frames>>();
    shared::<Session<duologue_http1::Client>>();
    shared::<Session<duologue_http1::Server>>();
    shared::<Session<duologue_websocket::WebSocket>>();
    shared::<Session<duologue_yamux::Yamux>>();
    shared::<Session<duologue_brpc::Brpc>>();
    shared::<Event<Bytes, FrameError>>();
    shared::<Closed<FrameError>>();
    shared::<Cause<FrameError>>();
    shared::<Config>();
    shared::<LimitsError>();
    shared::<TransportFault>();
    shared::<duologue_http1::Violation>();
    shared::<duologue_websocket::Violation>();
    shared::<duologue_yamux::YamuxViolation>();
    shared::<duologue_brpc::BrpcViolation>();
}
