//! The store: what goes in comes out, and costs what it weighs.

use super::*;

fn push(chunks: &mut Chunks, queue: &mut Queue, bytes: &[u8], piece: Piece) {
    chunks.push_received(queue, Payload::Borrowed(bytes), piece);
}

fn room(chunks: &Chunks) -> usize {
    let of = |chunk: &Chunk| match &chunk.body {
        Body::Bytes { buf, .. } | Body::Marked { buf, .. } => buf.capacity(),
        Body::Shared(bytes) | Body::Pinned(bytes) => bytes.len(),
        Body::Vacant => 0,
    };
    chunks.slots.iter().map(of).sum::<usize>() + chunks.slots.len() * size_of::<Chunk>()
}

#[test]
fn small_pieces_are_gathered_and_large_ones_shared() {
    let (mut chunks, mut queue) = (Chunks::new(), Queue::EMPTY);
    for _ in 0..1000 {
        push(&mut chunks, &mut queue, b"x", Piece::Bytes);
    }
    assert_eq!((queue.len(), queue.pieces()), (1000, 1));
    let large = Bytes::from(alloc::vec![7; 2000]);
    chunks.push(&mut queue, Payload::Owned(large.clone()), Piece::Bytes);
    assert_eq!(chunks.front(&queue), Some((1000, false)));
    let (lent, _) = chunks.lend(&mut queue, 400);
    assert_eq!(chunks.payload(lent).len(), 400);
    assert_eq!(chunks.take(&mut queue, usize::MAX).map(|(b, _)| b.len()), Some(600));
    let (shared, _) = chunks.take(&mut queue, usize::MAX).expect("it was pushed");
    assert_eq!(shared.as_ptr(), large.as_ptr());
    assert!(queue.is_empty());
    assert_eq!(queue.bytes, 0);
}

#[test]
fn messages_keep_their_ends_even_empty_ones() {
    let (mut chunks, mut queue) = (Chunks::new(), Queue::EMPTY);
    push(&mut chunks, &mut queue, b"", Piece::Last);
    push(&mut chunks, &mut queue, b"a", Piece::Part);
    push(&mut chunks, &mut queue, b"b", Piece::Last);
    push(&mut chunks, &mut queue, b"", Piece::Last);
    assert_eq!((queue.len(), queue.pieces()), (2, 3));
    assert_eq!(chunks.take(&mut queue, 9), Some((Bytes::new(), true)));
    let (lent, ends) = chunks.lend(&mut queue, 1);
    assert_eq!((chunks.payload(lent).as_slice(), ends), (&b"a"[..], false));
    let (lent, ends) = chunks.lend(&mut queue, 9);
    assert_eq!((chunks.payload(lent).as_slice(), ends), (&b"b"[..], true));
    assert_eq!(chunks.take(&mut queue, 9), Some((Bytes::new(), true)));
    assert!(queue.is_empty());
}

#[test]
fn any_cut_of_messages_gives_the_same_messages() {
    let mut rng = crate::rng::Rng::new(5);
    for _ in 0..300 {
        let (mut chunks, mut queue) = (Chunks::new(), Queue::EMPTY);
        let (mut expected, mut found, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..60_u8 {
            let longest = [3, 40, 1500, 9000][rng.below(4) as usize];
            let mut message = alloc::vec![n; rng.below(longest) as usize];
            expected.push(message.clone());
            while rng.below(3) == 0 && !message.is_empty() {
                let rest = message.split_off(rng.below(message.len() as u64 + 1) as usize);
                chunks.push_received(&mut queue, Payload::Owned(message.into()), Piece::Part);
                message = rest;
            }
            chunks.push_received(&mut queue, Payload::Owned(message.into()), Piece::Last);
            for _ in 0..rng.below(3) {
                if let Some((bytes, ends)) = chunks.take(&mut queue, 1 + rng.below(3000) as usize) {
                    open.extend_from_slice(&bytes);
                    if ends {
                        found.push(core::mem::take(&mut open));
                    }
                }
            }
        }
        while let Some((bytes, ends)) = chunks.take(&mut queue, usize::MAX) {
            open.extend_from_slice(&bytes);
            if ends {
                found.push(core::mem::take(&mut open));
            }
        }
        assert!(found == expected && queue.is_empty() && queue.bytes == 0 && chunks.pins == 0);
    }
}

#[test]
fn slots_and_blocks_are_used_again() {
    let (mut chunks, mut queue, mut other) = (Chunks::new(), Queue::EMPTY, Queue::EMPTY);
    let mut buffer = [0; 3];
    for _ in 0..100 {
        push(&mut chunks, &mut queue, b"abcde", Piece::Bytes);
        push(&mut chunks, &mut other, b"f", Piece::Last);
        assert_eq!(chunks.copy_out(&mut queue, &mut buffer), 3);
        assert_eq!(chunks.copy_out(&mut queue, &mut buffer), 2);
        assert_eq!(chunks.clear(&mut other), 1);
    }
    assert!(chunks.slots.len() <= 2 && chunks.spare.len() <= 2, "{}", chunks.slots.len());
}

#[test]
fn however_a_window_is_cut_it_costs_little_more_than_itself() {
    const WINDOW: usize = 1 << 20;
    for size in [1, 26, 128, 1000, 1024, 5000, 16 << 10] {
        for (piece, factor) in [(Piece::Bytes, 1), (Piece::Last, 1 + MARK.div_ceil(size))] {
            let (mut chunks, mut queue) = (Chunks::new(), Queue::EMPTY);
            for _ in 0..WINDOW / size {
                // Every piece comes in a read of 64 KiB that nobody else keeps.
                let mut read = Bytes::from(alloc::vec![1; 64 << 10]);
                chunks.push_received(&mut queue, Payload::Owned(read.split_to(size)), piece);
            }
            let pinned = chunks.pins as usize * (64 << 10);
            assert!(chunks.pins <= PINS && pinned <= 2 << 20);
            let used = room(&chunks);
            assert!(used < WINDOW * factor * 5 / 4 + BLOCK, "{piece:?} of {size}: {used} bytes for {WINDOW}");
        }
    }
}
