//! What one would write without any library to be fast: one thread, epoll, a scratch buffer for reading and one for the
//! answers; one read per wake-up, one write per read. No time-outs, no fragments, no control frames.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::handshake;

/// Bytes of the longest payload.
const MAX_PAYLOAD: usize = 64 << 10;
/// Bytes of the scratch buffer for reading.
const SCRATCH: usize = MAX_PAYLOAD + 14;
const LISTENER: u64 = u64::MAX;

/// How messages lie on the wire.
pub(super) trait Wire {
    /// Whether an HTTP upgrade comes first.
    const UPGRADE: bool;

    /// Appends the answer to the first message and tells what that message took; 0 when it is not whole.
    fn answer(input: &mut [u8], output: &mut Vec<u8>) -> io::Result<usize>;
}

pub(super) struct Prefix;

impl Wire for Prefix {
    const UPGRADE: bool = false;

    #[inline]
    fn answer(input: &mut [u8], output: &mut Vec<u8>) -> io::Result<usize> {
        let Some((header, rest)) = input.split_first_chunk::<4>() else { return Ok(0) };
        let len = u32::from_be_bytes(*header) as usize;
        if len > MAX_PAYLOAD {
            return Err(ErrorKind::InvalidData.into());
        }
        if rest.len() < len {
            return Ok(0);
        }
        output.extend_from_slice(&input[..4 + len]);
        Ok(4 + len)
    }
}

pub(super) struct WebSocket;

impl Wire for WebSocket {
    const UPGRADE: bool = true;

    #[inline]
    fn answer(input: &mut [u8], output: &mut Vec<u8>) -> io::Result<usize> {
        let Some((&[first, second], rest)) = input.split_first_chunk::<2>() else { return Ok(0) };
        if first != 0x82 || second & 0x80 == 0 {
            return Err(ErrorKind::InvalidData.into());
        }
        let (len, header) = match (second & 0x7F, rest) {
            (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 4),
            (126, _) => return Ok(0),
            (127, _) => return Err(ErrorKind::InvalidData.into()),
            (short, _) => (usize::from(short), 2),
        };
        let Some((head, payload)) = input.split_at_mut_checked(header + 4) else { return Ok(0) };
        let (Some(key), Some(payload)) = (head.last_chunk::<4>(), payload.get(..len)) else { return Ok(0) };
        match len {
            0..126 => output.extend_from_slice(&[0x82, len as u8]),
            _ => output.extend_from_slice(&[0x82, 126, head[2], head[3]]),
        }
        let start = output.len();
        output.extend_from_slice(payload);
        mask(&mut output[start..], *key);
        Ok(header + 4 + len)
    }
}

/// Blocks that compilers turn into vector instructions.
#[inline]
fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let keys: [u8; 16] = std::array::from_fn(|i| key[i % 4]);
    let mut wide = bytes.chunks_exact_mut(16);
    for block in &mut wide {
        for (byte, key) in block.iter_mut().zip(keys) {
            *byte ^= key;
        }
    }
    for (byte, key) in wide.into_remainder().iter_mut().zip(keys) {
        *byte ^= key;
    }
}

struct Connection {
    stream: TcpStream,
    upgraded: bool,
    rest: Vec<u8>,
    unwritten: Vec<u8>,
}

struct Scratch {
    input: Vec<u8>,
    output: Vec<u8>,
}

pub(super) fn serve<W: Wire>(listener: &TcpListener) -> io::Result<()> {
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 64];
    let mut scratch = Scratch { input: vec![0; SCRATCH], output: Vec::new() };
    loop {
        let n = epoll::wait(&poll, &mut events, None)?;
        for event in &events[..n] {
            let id = event.data.u64();
            if id == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                epoll::add(&poll, &stream, EventData::new_u64(connections.len() as u64), EventFlags::IN)?;
                let upgraded = !W::UPGRADE;
                connections.push(Some(Connection { stream, upgraded, rest: Vec::new(), unwritten: Vec::new() }));
            } else if let Some(slot) = connections.get_mut(id as usize) {
                let Some(connection) = slot else { continue };
                if !turn::<W>(&poll, id, connection, &mut scratch).unwrap_or(false) {
                    // Closing it takes it out of the poll.
                    *slot = None;
                }
            }
        }
    }
}

/// One read, the answers to all that it brought, one write. False after the peer's end.
fn turn<W: Wire>(poll: &OwnedFd, id: u64, connection: &mut Connection, scratch: &mut Scratch) -> io::Result<bool> {
    let Connection { stream, upgraded, rest, unwritten } = connection;
    let Scratch { input, output } = scratch;
    if !unwritten.is_empty() {
        let written = would_block(stream.write(unwritten))?;
        unwritten.drain(..written);
        if !unwritten.is_empty() {
            return Ok(true);
        }
        epoll::modify(poll, stream.as_fd(), EventData::new_u64(id), EventFlags::IN)?;
    }
    let kept = rest.len();
    input[..kept].copy_from_slice(rest);
    let read = match stream.read(&mut input[kept..]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
        read => read?,
    };
    if read == 0 {
        return Ok(false);
    }
    let input = &mut input[..kept + read];
    output.clear();
    let mut at = 0;
    if *upgraded {
        loop {
            let taken = W::answer(&mut input[at..], output)?;
            if taken == 0 {
                break;
            }
            at += taken;
        }
    } else if let Some(answer) = handshake::answer(input)? {
        output.extend_from_slice(answer.as_bytes());
        *upgraded = true;
        at = input.len();
    }
    rest.clear();
    rest.extend_from_slice(&input[at..]);
    let written = if output.is_empty() { 0 } else { would_block(stream.write(output))? };
    if written < output.len() {
        unwritten.extend_from_slice(&output[written..]);
        epoll::modify(poll, stream.as_fd(), EventData::new_u64(id), EventFlags::OUT)?;
    }
    Ok(true)
}

fn would_block(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}
