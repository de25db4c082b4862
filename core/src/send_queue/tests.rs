//! What the queue does, in small.

use super::*;
use alloc::vec::Vec;

fn queue(limit: usize) -> SendQueue {
    SendQueue::new(limit, 8, 4)
}

fn message(q: &mut SendQueue, bytes: &'static [u8]) -> Result<(), NoRoom> {
    q.begin();
    let done = q.message(bytes.len()).map(|mut w| w.put_bytes(Bytes::from_static(bytes)));
    if done.is_ok() {
        q.commit()
    } else {
        q.rollback()
    }
    done
}

fn all(q: &SendQueue) -> Vec<u8> {
    let mut slices: [&[u8]; 16] = [&[]; 16];
    let n = q.peek(&mut slices);
    slices[..n].concat()
}

#[test]
fn copied_and_shared_bytes_come_out_in_order_however_they_are_taken() {
    for step in 1..12 {
        let mut q = queue(64);
        for part in [&b"ab"[..], b"cdefg", b"h", b"ijklmnop", b"q", b"r"] {
            message(&mut q, part).unwrap();
        }
        let mut out = Vec::new();
        while !q.is_empty() {
            let offered = all(&q);
            let n = step.min(offered.len());
            out.extend_from_slice(&offered[..n]);
            q.advance(n).unwrap();
        }
        assert_eq!(out, b"abcdefghijklmnopqr", "step {step}");
        assert_eq!((q.ledger().accepted, q.ledger().flushed), (6, 6));
    }
}

#[test]
fn a_message_without_room_is_refused_and_changes_nothing() {
    let mut q = queue(6);
    message(&mut q, b"abc").unwrap();
    assert_eq!(message(&mut q, b"defg"), Err(NoRoom { need: 4, room: 3, limit: 6 }));
    assert_eq!(all(&q), b"abc");
    assert_eq!(q.ledger().unsent(), 1);
}

#[test]
fn a_command_refused_in_its_second_part_needs_room_for_both() {
    let mut q = queue(6);
    message(&mut q, b"a").unwrap();
    q.begin();
    q.message(2).unwrap().put_slice(b"bc");
    let refused = q.message(4).map(drop);
    q.rollback();
    assert_eq!(refused, Err(NoRoom { need: 6, room: 5, limit: 6 }));
    assert_eq!(q.room(), 5);
}

#[test]
fn a_command_undone_after_it_wrote_leaves_no_trace() {
    let mut q = queue(64);
    message(&mut q, b"abcdef").unwrap();
    message(&mut q, b"gh").unwrap();
    q.begin();
    q.message(2).unwrap().put_slice(b"ij");
    q.message(5).unwrap().put_bytes(Bytes::from_static(b"klmno"));
    q.hold();
    q.rollback();
    assert_eq!(all(&q), b"abcdefgh");
    assert_eq!((q.len(), q.ledger().accepted, q.ledger().held), (8, 2, 0));
    q.advance(8).unwrap();
    assert_eq!(q.ledger().unsent(), 0);
}

#[test]
fn answers_have_a_reserve_when_messages_fill_the_queue() {
    let mut q = queue(3);
    message(&mut q, b"abc").unwrap();
    q.control(8).put_slice(b"12345678");
    assert_eq!(q.take_fault(), None);
    q.control(1).put_slice(b"9");
    let overflow = LimitExceeded::ControlReserve { need: 1, reserve: 8 };
    assert_eq!(q.take_fault(), Some(QueueFault::Overflow(overflow)));
    assert_eq!(all(&q), b"abc12345678");
    q.advance(5).unwrap();
    assert_eq!((q.len(), q.control, q.ledger().flushed), (6, 6, 1));
}

#[test]
fn answers_beyond_the_reserve_use_the_messages_room() {
    let mut q = queue(10);
    q.control(12).put_slice(&[0; 12]);
    assert_eq!(q.take_fault(), None);
    assert_eq!(q.room(), 6);
}

#[test]
fn writing_past_the_reservation_is_the_protocols_bug_and_is_cut() {
    let mut q = queue(64);
    q.control(2).put_slice(b"abc");
    let misuse = Misuse::ReservationBroken { reserved: 2, written: 3 };
    assert_eq!(q.take_fault(), Some(QueueFault::Misuse(misuse)));
    assert!(q.is_empty());
}

#[test]
fn taking_more_than_was_offered_is_misuse() {
    let mut q = queue(64);
    message(&mut q, b"ab").unwrap();
    assert_eq!(q.advance(3), Err(Misuse::TransmittedTooMuch { reported: 3, offered: 2 }));
    assert_eq!(q.len(), 2);
}

#[test]
fn a_held_message_counts_as_unsent_until_it_is_written_and_transmitted() {
    let mut q = queue(64);
    q.begin();
    q.hold();
    q.commit();
    assert_eq!(q.ledger().unsent(), 1);
    q.held(2).unwrap().put_slice(b"ab");
    assert_eq!((q.ledger().held, q.ledger().unsent()), (0, 1));
    q.advance(2).unwrap();
    assert_eq!(q.ledger().unsent(), 0);
}

#[test]
fn held_messages_that_are_given_up_stay_unsent() {
    let mut q = queue(8);
    q.begin();
    q.hold();
    q.commit();
    q.give_up_held();
    assert_eq!((q.ledger().held, q.ledger().unsent()), (0, 1));
}

#[test]
fn a_refused_command_does_not_take_back_a_held_message_that_it_wrote_first() {
    let mut q = queue(8);
    q.begin();
    q.hold();
    q.commit();
    q.begin();
    q.held(2).unwrap().put_slice(b"ab");
    q.message(2).unwrap().put_slice(b"cd");
    assert!(q.held(1).is_err(), "not in the middle of a message");
    assert!(q.message(9).is_err());
    q.rollback();
    assert_eq!(all(&q), b"ab");
    assert_eq!((q.ledger().held, q.ledger().accepted), (0, 1));
    q.advance(2).unwrap();
    assert_eq!((q.ledger().unsent(), q.len()), (0, 0));
}

#[test]
fn a_refused_command_that_held_itself_back_and_wrote_leaves_no_trace() {
    // What is written is an older message that was held back: it stays. The command's own goes.
    let mut q = queue(8);
    q.begin();
    q.hold();
    q.commit();
    q.begin();
    q.hold();
    q.held(2).unwrap().put_slice(b"ab");
    q.rollback();
    assert_eq!(all(&q), b"ab");
    assert_eq!((q.ledger().held, q.ledger().accepted), (0, 1));
    q.advance(2).unwrap();
    assert_eq!((q.ledger().unsent(), q.len()), (0, 0));

    // Nothing older is held back: what is written is the command's own, and goes with it.
    let mut q = queue(8);
    q.begin();
    q.hold();
    q.held(2).unwrap().put_slice(b"cd");
    q.rollback();
    assert_eq!(all(&q), b"");
    assert_eq!((q.ledger().held, q.ledger().accepted, q.room()), (0, 0, 8));
    q.begin();
    q.hold();
    q.held(2).unwrap().put_slice(b"ef");
    q.commit();
    assert_eq!((q.ledger().held, q.ledger().accepted, all(&q).as_slice()), (0, 1, &b"ef"[..]));
    q.advance(2).unwrap();
    assert_eq!(q.ledger().unsent(), 0);
}

#[test]
fn what_is_given_up_stays_counted() {
    let mut q = queue(64);
    message(&mut q, b"ab").unwrap();
    message(&mut q, b"cd").unwrap();
    q.advance(3).unwrap();
    q.discard();
    assert_eq!((q.len(), q.ledger().unsent()), (0, 1));
}

#[test]
fn a_queue_that_is_fed_and_drained_in_pieces_does_not_grow() {
    let mut q = queue(64);
    for _ in 0..1000 {
        message(&mut q, b"abc").unwrap();
        message(&mut q, b"abc").unwrap();
        q.advance(if q.len() > 40 { 9 } else { 5 }).unwrap();
    }
    assert!(q.copied.capacity() <= 256, "{}", q.copied.capacity());
}

#[test]
fn what_is_changed_while_it_is_written_is_changed_only_there() {
    let mut q = queue(64);
    q.begin();
    let source = *b"abc";
    if let Ok(mut w) = q.message(5) {
        w.put_slice(b"ab");
        w.put_changed(&source, |copy| copy.make_ascii_uppercase());
    }
    q.commit();
    assert_eq!((all(&q).as_slice(), &source), (&b"abABC"[..], b"abc"));
}

#[test]
fn the_room_for_answers_is_what_an_answer_may_take() {
    let mut q = queue(16);
    assert_eq!((q.control_room(), q.control_len()), (24, 0));
    message(&mut q, b"0123456789").unwrap();
    q.control(6).put_slice(b"answer");
    assert_eq!((q.control_room(), q.control_len()), (8, 6));
    drop(q.control(8));
    assert_eq!(q.take_fault(), None);
    drop(q.control(9));
    assert!(q.take_fault().is_some());
    q.close();
    assert_eq!(q.control_room(), 0);
}

#[test]
fn a_message_is_begun_with_its_first_byte_and_stays_so() {
    let mut q = queue(64);
    message(&mut q, b"abcdef").unwrap();
    message(&mut q, b"ghi").unwrap();
    message(&mut q, b"jk").unwrap();
    assert_eq!(q.ledger().begun(), 0);
    for (bytes, flushed, begun) in [(1, 0, 1), (5, 1, 1), (2, 1, 2)] {
        q.advance(bytes).unwrap();
        assert_eq!((q.ledger().flushed, q.ledger().begun()), (flushed, begun));
    }
    q.discard();
    assert_eq!(q.ledger().begun(), 2, "what is given up was begun all the same");
    let mut q = queue(64);
    q.control(4).put_slice(b"pong");
    message(&mut q, b"abc").unwrap();
    q.advance(2).unwrap();
    assert_eq!(q.ledger().begun(), 0, "an answer is no message");
}
