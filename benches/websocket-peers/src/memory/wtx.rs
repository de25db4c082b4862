//! wtx over memory. It masks in the caller's payload, so that a payload which is to be sent again is copied before.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use ::wtx::collection::Vector;
use ::wtx::rng::{Xorshift64, simple_seed};
use ::wtx::stream::{StreamReader, StreamWriter};
use ::wtx::web_socket::{Frame, OpCode, WebSocketBuffer, WebSocketOwned, WebSocketPayloadOrigin};

use super::wire::{Wire, note};

struct Memory<'a, F> {
    wire: &'a Wire,
    at: usize,
    take: F,
}

impl<F> StreamReader for Memory<'_, F> {
    async fn read(&mut self, bytes: &mut [u8]) -> ::wtx::Result<usize> {
        let Some(read) = self.wire.read_at(&mut self.at, bytes.len()) else { return Ok(0) };
        bytes[..read.len()].copy_from_slice(read);
        Ok(read.len())
    }
}

impl<F: FnMut(&[u8])> StreamWriter for Memory<'_, F> {
    async fn write_all(&mut self, bytes: &[u8]) -> ::wtx::Result<()> {
        (self.take)(std::hint::black_box(bytes));
        Ok(())
    }

    async fn write_all_vectored(&mut self, bytes: &[&[u8]]) -> ::wtx::Result<()> {
        bytes.iter().for_each(|bytes| (self.take)(std::hint::black_box(bytes)));
        Ok(())
    }
}

type Socket<'a, F, const IS_CLIENT: bool> = WebSocketOwned<(), Xorshift64, Memory<'a, F>, IS_CLIENT>;

fn socket<F: FnMut(&[u8]), const IS_CLIENT: bool>(wire: &Wire, take: F) -> Socket<'_, F, IS_CLIENT> {
    let buffer = match WebSocketBuffer::with_capacity((64 << 10) + 512, 0, 0) {
        Ok(buffer) => buffer,
        Err(error) => unreachable!("64 KiB: {error:?}"),
    };
    Socket::new((), false, Xorshift64::from(simple_seed()), Memory { wire, at: 0, take }, buffer)
}

/// Memory is always ready.
fn complete<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("memory is always ready"),
    }
}

pub(super) fn parse(wire: &Wire) -> u64 {
    let mut socket = socket::<_, false>(wire, |_: &[u8]| ());
    let mut buffer = Vector::new();
    let mut sum = 0;
    complete(async {
        for _ in 0..wire.messages {
            let Ok(frame) = socket.read_frame(&mut buffer, WebSocketPayloadOrigin::Adaptive).await else { return };
            if frame.op_code() == OpCode::Binary {
                note(&mut sum, frame.payload());
            }
        }
    });
    sum
}

pub(super) fn serialise(wire: &Wire) -> u64 {
    write(wire, |_| ())
}

fn write(wire: &Wire, take: impl FnMut(&[u8])) -> u64 {
    let mut socket = socket::<_, true>(wire, take);
    let mut payload = wire.payload.clone();
    let last = u64::from(wire.payload.last().copied().unwrap_or_default());
    let mut sum = 0;
    complete(async {
        for _ in 0..wire.messages {
            payload.copy_from_slice(std::hint::black_box(&wire.payload));
            let mut frame = Frame::new_fin(OpCode::Binary, &mut payload[..]);
            if socket.write_frame(&mut frame).await.is_ok() {
                sum += wire.payload.len() as u64 + last;
            }
        }
    });
    sum
}

#[cfg(test)]
pub(super) fn written(wire: &Wire) -> Vec<u8> {
    let mut all = Vec::new();
    write(wire, |bytes| all.extend_from_slice(bytes));
    all
}
