//! What one would write on tokio alone to be fast: the baseline.
//!
//! One scratch buffer per thread for reading and one for the answers; a connection owns memory only while half a frame
//! or unwritten answers are left over. One read per wake-up, one write per read. No time-outs, no bounds but the longest
//! frame.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use ::tokio::net::{TcpListener, TcpStream};

use super::{HEADER, MAX_PAYLOAD};

struct Scratch {
    input: Vec<u8>,
    output: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { input: vec![0; HEADER + MAX_PAYLOAD], output: Vec::new() });
}

pub(super) async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        ::tokio::spawn(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut rest = Vec::new();
    let mut unwritten = Vec::new();
    while poll_fn(|cx| turn(&mut stream, cx, &mut rest, &mut unwritten)).await? {
        if !unwritten.is_empty() {
            stream.write_all(&unwritten).await?;
            unwritten.clear();
        }
    }
    Ok(())
}

/// One read, the answers to all that it brought, one write. False after the peer's end.
fn turn(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    rest: &mut Vec<u8>,
    unwritten: &mut Vec<u8>,
) -> Poll<io::Result<bool>> {
    SCRATCH.with_borrow_mut(|Scratch { input, output }| {
        let kept = rest.len();
        input[..kept].copy_from_slice(rest);
        let mut buffer = ReadBuf::new(&mut input[kept..]);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        if read == 0 {
            return Poll::Ready(Ok(false));
        }
        output.clear();
        let left = answer(&input[..kept + read], output)?;
        rest.clear();
        rest.extend_from_slice(left);
        let written = match Pin::new(stream).poll_write(cx, output) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        unwritten.extend_from_slice(&output[written..]);
        Poll::Ready(Ok(true))
    })
}

/// Echoes every whole frame into `output` and returns the rest.
fn answer<'a>(mut input: &'a [u8], output: &mut Vec<u8>) -> io::Result<&'a [u8]> {
    while let Some((header, after)) = input.split_first_chunk::<HEADER>() {
        let length = u32::from_be_bytes(*header) as usize;
        if length > MAX_PAYLOAD {
            return Err(ErrorKind::InvalidData.into());
        }
        let Some((payload, next)) = after.split_at_checked(length) else { break };
        output.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        output.extend_from_slice(payload);
        input = next;
    }
    Ok(input)
}
