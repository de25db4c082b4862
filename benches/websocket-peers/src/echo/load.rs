//! The one load for all: epoll by hand, a window of messages per connection, every echoed byte checked.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::IN_FLIGHT;
use crate::servers::Peer;

/// Bytes of a payload.
const PAYLOAD: usize = 64;
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
/// Seconds without a byte after which a server has failed.
const PATIENCE: i64 = 20;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// RFC 6455, section 1.3: what belongs to that key.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Connections with nothing in flight.
#[derive(Debug)]
pub(crate) struct Load {
    poll: OwnedFd,
    connections: Vec<Connection>,
    out: Frames,
    back: Frames,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// Bytes, since the last `echo` began.
    sent: usize,
    received: usize,
    /// It is also waited for room to write.
    blocked: bool,
}

/// One frame over and over: one more than a window, so that any stretch of the stream is found in it.
#[derive(Debug)]
struct Frames {
    bytes: Vec<u8>,
    len: usize,
}

impl Frames {
    fn new(frame: Vec<u8>) -> Self {
        Self { len: frame.len(), bytes: frame.repeat(IN_FLIGHT + 1) }
    }

    fn at(&self, position: usize, n: usize) -> &[u8] {
        let phase = position % self.len;
        &self.bytes[phase..phase + n]
    }
}

impl Load {
    pub(crate) fn open(peer: Peer, address: SocketAddr, connections: usize) -> io::Result<Self> {
        let payload: [u8; PAYLOAD] = std::array::from_fn(|i| i as u8 ^ 0x5A);
        let (out, back) = if peer == Peer::ByHandPrefix {
            let frame = [&(PAYLOAD as u32).to_be_bytes()[..], &payload].concat();
            (frame.clone(), frame)
        } else {
            let masked: Vec<u8> = payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            let out = [&[0x82, 0x80 | PAYLOAD as u8][..], &KEY, &masked].concat();
            (out, [&[0x82, PAYLOAD as u8][..], &payload].concat())
        };
        let mut load = Self {
            poll: epoll::create(CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            out: Frames::new(out),
            back: Frames::new(back),
        };
        for id in 0..connections {
            let stream = connect(address, peer != Peer::ByHandPrefix)?;
            stream.set_nonblocking(true)?;
            epoll::add(&load.poll, &stream, EventData::new_u64(id as u64), EventFlags::IN)?;
            load.connections.push(Connection { stream, sent: 0, received: 0, blocked: false });
        }
        Ok(load)
    }

    /// Has `messages` echoed on every connection, all connections at the same time.
    ///
    /// # Errors
    /// An answer differs from what was sent, or came without a question; a connection ended; nothing came for long.
    pub(crate) fn echo(&mut self, messages: usize) -> io::Result<()> {
        let Self { poll, connections, out, back } = self;
        for (id, connection) in connections.iter_mut().enumerate() {
            (connection.sent, connection.received) = (0, 0);
            connection.write(poll, id, out, messages.min(IN_FLIGHT))?;
        }
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 64];
        let mut buffer = vec![0; IN_FLIGHT * back.len];
        let mut left = connections.len();
        while left > 0 {
            let patience = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
            let n = epoll::wait(&*poll, &mut events, Some(&patience))?;
            if n == 0 {
                return Err(io::Error::new(ErrorKind::TimedOut, "the server says nothing"));
            }
            for event in &events[..n] {
                let Event { flags, data } = *event;
                let id = data.u64() as usize;
                let connection = &mut connections[id];
                if flags != EventFlags::OUT {
                    connection.read(back, &mut buffer, messages)?;
                    left -= usize::from(connection.received == messages * back.len);
                }
                let due = (connection.received / back.len + IN_FLIGHT).min(messages);
                connection.write(poll, id, out, due)?;
            }
        }
        for connection in connections {
            match connection.stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => return Err(io::Error::new(ErrorKind::InvalidData, "more came back than was sent")),
            }
        }
        Ok(())
    }

    /// To show that an echo that differs is found.
    #[cfg(test)]
    pub(crate) fn expect_otherwise(&mut self) {
        self.back.bytes[self.back.len - 1] ^= 1;
    }
}

impl Connection {
    fn read(&mut self, back: &Frames, buffer: &mut [u8], messages: usize) -> io::Result<()> {
        let n = match self.stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            read => read?,
        };
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if buffer[..n] != *back.at(self.received, n) || self.received + n > messages * back.len {
            return Err(io::Error::new(ErrorKind::InvalidData, "the echo differs from what was sent"));
        }
        self.received += n;
        Ok(())
    }

    /// So that `due` messages have been sent.
    fn write(&mut self, poll: &OwnedFd, id: usize, out: &Frames, due: usize) -> io::Result<()> {
        let missing = due * out.len - self.sent;
        if missing > 0 {
            match self.stream.write(out.at(self.sent, missing)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => self.sent += written?,
            }
        }
        let blocked = self.sent < due * out.len;
        if blocked != self.blocked {
            let flags = if blocked { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(poll, &self.stream, EventData::new_u64(id as u64), flags)?;
            self.blocked = blocked;
        }
        Ok(())
    }
}

fn connect(address: SocketAddr, upgrade: bool) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(PATIENCE as u64)))?;
    if upgrade {
        stream.write_all(REQUEST)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head);
        if !head.starts_with("HTTP/1.1 101") || !head.contains(ACCEPT) {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("no upgrade: {head}")));
        }
    }
    Ok(stream)
}
