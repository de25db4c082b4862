//! The example `yamux_echo`, run as a process, against the `yamux` crate's client.
// The helpers of tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::{AsyncReadExt, AsyncWriteExt};
use tokio_util::compat::TokioAsyncReadCompatExt;

/// Ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example beside this test; built if the tests were built without examples.
fn example() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let path = this.parent().unwrap().parent().unwrap().join("examples").join("yamux_echo");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "-p", "duologue-tokio", "--example", "yamux_echo"]);
    if !path.exists() && path.components().any(|part| part.as_os_str() == "release") {
        build.arg("--release");
    }
    if !path.exists() {
        assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    }
    path
}

fn start() -> (Running, String) {
    let child = Command::new(example()).args(["--port", "0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut running = Running(child);
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    (running, address)
}

#[tokio::test]
async fn the_example_echoes_the_streams_of_the_yamux_crate() {
    let (mut running, address) = tokio::task::spawn_blocking(start).await.unwrap();
    let talk = async {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut client = yamux::Connection::new(socket.compat(), yamux::Config::default(), yamux::Mode::Client);
        let mut streams = Vec::new();
        for n in 0..20_u8 {
            let opened = std::future::poll_fn(|cx| client.poll_new_outbound(cx)).await.unwrap();
            streams.push((n, opened));
        }
        // Its connection must be polled for everything.
        let driving = tokio::spawn(async move {
            while let Some(Ok(_)) = std::future::poll_fn(|cx| client.poll_next_inbound(cx)).await {}
        });
        let talking: Vec<_> = streams
            .into_iter()
            .map(|(n, stream)| {
                tokio::spawn(async move {
                    let data: Vec<u8> = (0..300_000_u32).map(|at| (at % 239) as u8 ^ n).collect();
                    let (mut reader, mut writer) = stream.split();
                    let sent = data.clone();
                    let sending = tokio::spawn(async move {
                        writer.write_all(&sent).await.unwrap();
                        writer.close().await.unwrap();
                    });
                    let mut back = Vec::new();
                    reader.read_to_end(&mut back).await.unwrap();
                    sending.await.unwrap();
                    assert!(back == data, "stream {n}: {} bytes came back", back.len());
                })
            })
            .collect();
        for talk in talking {
            talk.await.unwrap();
        }
        driving.abort();
    };
    tokio::time::timeout(Duration::from_secs(40), talk).await.expect("the test hangs");
    assert!(running.0.try_wait().unwrap().is_none(), "the example goes on serving");
}
