//! The least that can be called a simulated network: a binary heap of arrivals, two byte buffers, framing by hand.
//! No kernel buffers, no FIN, no faults, no trace.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bytes::{Buf, BytesMut};

use crate::contest::{Contest, FRAME, PAYLOAD, frame, number};

struct Side {
    input: BytesMut,
    output: Vec<u8>,
}

pub fn run(contest: Contest) -> u32 {
    let latency = contest.latency.as_nanos() as u64;
    let mut heap = BinaryHeap::new();
    let mut sides = [(); 2].map(|()| Side { input: BytesMut::new(), output: Vec::new() });
    // What is on its way, oldest first, for each side: the heap holds times.
    let mut flying: [std::collections::VecDeque<Vec<u8>>; 2] = Default::default();
    let mut spare: Vec<Vec<u8>> = Vec::new();
    let (mut now, mut sequence, mut sent, mut echoed) = (0_u64, 0_u64, 0_u32, 0_u32);
    while sent < contest.in_flight.min(contest.echoes) {
        sides[0].output.extend_from_slice(&frame(sent));
        sent += 1;
    }
    let mut turn = 0;
    loop {
        if !sides[turn].output.is_empty() {
            let bytes = std::mem::replace(&mut sides[turn].output, spare.pop().unwrap_or_default());
            flying[turn ^ 1].push_back(bytes);
            sequence += 1;
            heap.push(Reverse((now + latency, sequence, turn ^ 1)));
        }
        let Some(Reverse((at, _, to))) = heap.pop() else { return echoed };
        now = at;
        turn = to;
        if let Some(mut bytes) = flying[to].pop_front() {
            sides[to].input.extend_from_slice(&bytes);
            bytes.clear();
            spare.push(bytes);
        }
        let side = &mut sides[to];
        while side.input.len() >= FRAME {
            let length = u32::from_be_bytes([side.input[0], side.input[1], side.input[2], side.input[3]]) as usize;
            assert_eq!(length, PAYLOAD);
            if to == 1 {
                side.output.extend_from_slice(&side.input[..FRAME]);
            } else {
                assert_eq!(number(&side.input[..FRAME]), Some(echoed));
                echoed += 1;
                if sent < contest.echoes {
                    side.output.extend_from_slice(&frame(sent));
                    sent += 1;
                }
            }
            side.input.advance(FRAME);
        }
    }
}
