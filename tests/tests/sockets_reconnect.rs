//! A thousand fast reconnects, ended in every way, leave no descriptor behind. Alone in its process, to count them.

use bytes::Bytes;
use duologue_core::{Code, Event};
use duologue_tests::sockets::*;
use duologue_tokio::{Connection, Options, Server};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_thousand_reconnects_leak_nothing() {
    let server = Server::bind("127.0.0.1:0", Options::new()).await.unwrap();
    let (address, handle) = (server.local_addr().unwrap(), server.handle());
    let running = tokio::spawn(server.serve(
        |_| frames(),
        |mut connection| async move {
            while let Some(event) = connection.next_event().await {
                if let Event::App(message) = event {
                    let _ = connection.send(message).await;
                }
            }
        },
    ));
    let before = descriptors();
    for round in 0..1000_u32 {
        let connecting = Connection::connect(address, frames(), Options::new());
        let mut connection = step("connecting", connecting).await.unwrap();
        let question = Bytes::copy_from_slice(&round.to_be_bytes());
        step("asking", connection.send(question.clone())).await.unwrap();
        assert_eq!(message(&mut connection).await, question);
        match round % 5 {
            0 => {
                step("closing", connection.close(Code(0))).await;
            }
            1 => drop(connection),
            2 => {
                connection.finish();
                drain(&mut connection).await;
            }
            3 => {
                connection.abort(Code(0));
                drain(&mut connection).await;
            }
            _ => drop(connection.split()),
        }
    }
    until("the server's side", || handle.stats().open == 0).await;
    assert_eq!(handle.stats().accepted, 1000);
    assert_eq!(descriptors(), before);
    handle.drain(STEP);
    step("the drain", running).await.unwrap();
}
