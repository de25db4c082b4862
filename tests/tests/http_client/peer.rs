//! Servers that say byte for byte what a test wants: plain threads and sockets, whatever the client runs on.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest that anything may take.
pub(crate) use duologue_tests::sockets::STEP;

/// A server whose connections are `script`'s.
pub(crate) fn peer<T: Send + 'static>(
    script: impl FnOnce(&mut Listener) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    (address, std::thread::spawn(move || script(&mut Listener(listener))))
}

pub(crate) struct Listener(TcpListener);

impl Listener {
    /// The next client.
    pub(crate) fn accept(&mut self) -> Peer {
        self.0.set_nonblocking(true).expect("set");
        let until = std::time::Instant::now() + STEP;
        loop {
            match self.0.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).expect("set");
                    stream.set_read_timeout(Some(STEP)).expect("set");
                    stream.set_write_timeout(Some(STEP)).expect("set");
                    return Peer { stream, got: Vec::new() };
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    assert!(std::time::Instant::now() < until, "nobody connects");
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(e) => panic!("accepting: {e}"),
            }
        }
    }
}

/// A connected client.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    got: Vec<u8>,
}

impl Peer {
    /// All that comes up to and with `end`; what is behind it stays for later.
    pub(crate) fn read_up_to(&mut self, end: &str) -> String {
        let end = end.as_bytes();
        loop {
            if let Some(at) = self.got.windows(end.len()).position(|window| window == end) {
                let rest = self.got.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.got, rest)).expect("text");
            }
            assert_ne!(self.read(), 0, "the client ended: {:?}", String::from_utf8_lossy(&self.got));
        }
    }

    /// A request's head.
    pub(crate) fn head(&mut self) -> String {
        self.read_up_to("\r\n\r\n")
    }

    /// Exactly `n` bytes.
    pub(crate) fn take(&mut self, n: usize) -> Vec<u8> {
        while self.got.len() < n {
            assert_ne!(self.read(), 0, "the client ended");
        }
        let rest = self.got.split_off(n);
        std::mem::replace(&mut self.got, rest)
    }

    /// All that comes up to the client's FIN or reset; and whether it was a FIN.
    pub(crate) fn rest(mut self) -> (Vec<u8>, bool) {
        let mut buffer = [0; 1 << 14];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return (self.got, true),
                Ok(n) => self.got.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return (self.got, false),
                Err(e) => panic!("reading: {e}"),
            }
        }
    }

    /// Whether something comes within this time.
    pub(crate) fn is_quiet_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).expect("set");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(STEP)).expect("set");
        self.got.is_empty() && peeked.is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("writable");
    }

    fn read(&mut self) -> usize {
        let mut buffer = [0; 1 << 14];
        let n = self.stream.read(&mut buffer).expect("readable");
        self.got.extend_from_slice(&buffer[..n]);
        n
    }
}
