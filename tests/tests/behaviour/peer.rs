//! The other side: a plain socket of the standard library.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

/// The longest that a test may take: a hang fails.
const BOUND: Duration = Duration::from_secs(40);
/// The longest that a peer waits for one read or write.
const STEP: Duration = Duration::from_secs(15);

/// Runs a test, and fails if it takes too long.
pub(crate) fn bounded(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    if let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(BOUND) {
        panic!("the test hangs");
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Waits until `condition` holds.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < STEP, "it takes too long: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

/// Two ends of a TCP connection.
pub(crate) fn tcp_pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listen();
    let dialled = TcpStream::connect(address).expect("connected");
    (listener.accept().expect("accepted").0, dialled)
}

pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(STEP)).expect("a time-out");
        stream.set_write_timeout(Some(STEP)).expect("a time-out");
        Self { stream }
    }

    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).expect("connected"))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("written");
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) fn frame(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; 4];
        if self.stream.read(&mut header[..1]).expect("no reset") == 0 {
            return None;
        }
        self.stream.read_exact(&mut header[1..]).expect("a whole header");
        let mut payload = vec![0; u32::from_be_bytes(header) as usize];
        self.stream.read_exact(&mut payload).expect("a whole payload");
        Some(payload)
    }

    /// All bytes to the end, and the error if it was no FIN.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, std::io::Result<()>) {
        let mut bytes = Vec::new();
        let result = self.stream.read_to_end(&mut bytes);
        (bytes, result.map(|_| ()))
    }

    /// Sends FIN.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("FIN");
    }

    /// Sends RST.
    pub(crate) fn reset(self) {
        let linger = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        linger.expect("linger");
    }
}
