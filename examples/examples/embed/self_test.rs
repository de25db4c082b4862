//! Clients for the loop, on threads: each sends, half-closes, and must get everything back before the server's FIN.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mio::net::TcpListener;

const CLIENTS: usize = 8;
const FRAMES: u32 = 2000;

pub(crate) fn run(listener: TcpListener, address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    let server = thread::spawn({
        let stop = Arc::clone(&stop);
        move || crate::serve(listener, &stop)
    });
    let clients: Vec<_> = (0..CLIENTS).map(|_| thread::spawn(move || client(address))).collect();
    for client in clients {
        let echoed = client.join().map_err(|_| "a client panicked")??;
        if !echoed {
            return Err("a client did not get back what it sent".into());
        }
    }
    stop.store(true, Ordering::Relaxed);
    let served = server.join().map_err(|_| "the loop panicked")??;
    eprintln!("self-test passed: {served} connections, {FRAMES} frames each, half-closed and echoed to the end");
    Ok(())
}

fn client(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut sent = Vec::new();
    for number in 0..FRAMES {
        let payload = number.to_be_bytes().repeat(1 + number as usize % 7);
        sent.extend((payload.len() as u32).to_be_bytes());
        sent.extend(payload);
    }
    let mut writer = stream.try_clone()?;
    let out = sent.clone();
    let writing = thread::spawn(move || writer.write_all(&out).and_then(|()| writer.shutdown(Shutdown::Write)));
    let mut echoed = Vec::new();
    stream.read_to_end(&mut echoed)?;
    Ok(matches!(writing.join(), Ok(Ok(()))) && echoed == sent)
}
