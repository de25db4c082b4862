use alloc::vec::Vec;

use super::super::tests::{Clean, Error, Truncated, decode, decode_skipping, encode, frame, skipped, too_long};
use super::*;

fn stx(max_frame: usize) -> Marked {
    Marked::xor(Some(2), 3, 0x10, 0x40, max_frame).unwrap()
}

#[test]
fn slip_is_as_in_rfc_1055() {
    let slip = Marked::slip(1006);
    let wire = [0xC0, 1, 0xDB, 0xDC, 2, 0xDB, 0xDD, 3, 0xC0, 0xC0, 0xC0, 4, 0xC0];
    assert_eq!(decode(&slip, wire), [frame([1, 0xC0, 2, 0xDB, 3]), frame([4]), Clean]);
    assert_eq!(encode(&slip, [1, 0xC0, 2, 0xDB]), Ok([1, 0xDB, 0xDC, 2, 0xDB, 0xDD, 0xC0].to_vec()));
    assert_eq!(encode(&slip.clone().leading_end(), [1]), Ok([0xC0, 1, 0xC0].to_vec()));
    assert!(encode(&slip, []).is_err(), "it would be fill");
    assert_eq!(decode(&slip, [1, 0xDB, 7, 0xC0]), [Error(FrameError::BadEscape { found: 7 })]);
    assert_eq!(decode(&slip, [1, 0xDB, 0xC0]), [Error(FrameError::BadEscape { found: 0xC0 })]);
}

#[test]
fn hdlc_is_as_in_rfc_1662() {
    let hdlc = Marked::hdlc(1500);
    // One flag between frames, several, and escapes of bytes that need none.
    let wire = [0x7E, 1, 0x7D, 0x5E, 0x7E, 0x7D, 0x5D, 0x7D, 0x31, 0x7E, 0x7E, 0x7E, 2, 0x7E];
    assert_eq!(decode(&hdlc, wire), [frame([1, 0x7E]), frame([0x7D, 0x11]), frame([2]), Clean]);
    assert_eq!(encode(&hdlc, [1, 0x7E, 0x7D, 0x11]), Ok([0x7E, 1, 0x7D, 0x5E, 0x7D, 0x5D, 0x11, 0x7E].to_vec()));
    assert_eq!(decode(&hdlc, [1, 0x7E]), [Error(FrameError::MissingBegin { expected: 0x7E, found: 1 })]);
    assert_eq!(decode(&hdlc, [0x7E, 1, 2, 0x7D, 0x7E, 3, 0x7E]), [frame([3]), Clean], "aborted");
    assert!(encode(&hdlc, []).is_err());
}

#[test]
fn a_begin_mark_of_its_own_stands_before_every_frame_and_nowhere_else() {
    let stx = stx(8);
    assert_eq!(decode(&stx, [2, 3, 2, 1, 0x10, 0x42, 3]), [frame([]), frame([1, 2]), Clean]);
    assert_eq!(decode(&stx, [2, 1, 3, 9]), [frame([1]), Error(FrameError::MissingBegin { expected: 2, found: 9 })]);
    assert_eq!(decode(&stx, [2, 1, 2, 9, 3]), [Error(FrameError::StrayBegin { found: 2 })]);
    assert_eq!(decode(&stx, [2, 0x10, 2, 3]), [Error(FrameError::BadEscape { found: 2 })]);
    assert_eq!(encode(&stx, [2, 3, 0x10]), Ok([2, 0x10, 0x42, 0x10, 0x43, 0x10, 0x50, 3].to_vec()));
    assert_eq!(encode(&stx, []), Ok([2, 3].to_vec()));
}

#[test]
fn a_table_may_keep_other_bytes_off_the_line() {
    let table = [(0x11, 1), (0x13, 2), (0xC0, 4), (0xDB, 0xDB)];
    let marked = Marked::table(None, 0xC0, 0xDB, &table, 8).unwrap();
    let payload = [0x11, 9, 0x13, 0xC0, 0xDB];
    let wire = [0xDB, 1, 9, 0xDB, 2, 0xDB, 4, 0xDB, 0xDB, 0xC0];
    assert_eq!(encode(&marked, payload), Ok(wire.to_vec()));
    assert_eq!(decode(&marked, wire), [frame(payload), Clean]);
}

#[test]
fn marks_that_cannot_work_are_refused() {
    assert_eq!(Marked::xor(None, 1, 1, 2, 8).err(), Some(MarksError::EscapeIsMark { escape: 1 }));
    assert_eq!(Marked::xor(Some(1), 2, 1, 4, 8).err(), Some(MarksError::EscapeIsMark { escape: 1 }));
    assert_eq!(Marked::xor(None, 1, 2, 0, 8).err(), Some(MarksError::SubstituteIsMark { substitute: 1 }));
    assert_eq!(Marked::xor(Some(1), 3, 9, 2, 8).err(), Some(MarksError::SubstituteIsMark { substitute: 1 }));
    assert_eq!(Marked::xor(None, 1, 3, 2, 8).err(), Some(MarksError::SubstituteIsMark { substitute: 1 }));
    let table = |pairs| Marked::table(Some(1), 2, 3, pairs, 8).err();
    assert_eq!(table(&[(1, 4), (2, 5)]), Some(MarksError::NoSubstitute { byte: 3 }));
    assert_eq!(table(&[(2, 5), (3, 6)]), Some(MarksError::NoSubstitute { byte: 1 }));
    assert_eq!(table(&[(1, 4), (2, 4), (3, 6)]), Some(MarksError::Ambiguous { byte: 4 }));
    assert_eq!(table(&[(1, 4), (1, 5), (2, 6)]), Some(MarksError::Ambiguous { byte: 1 }));
    assert_eq!(table(&[(1, 4), (2, 1), (3, 6)]), Some(MarksError::SubstituteIsMark { substitute: 1 }));
    assert_eq!(table(&[(1, 4), (2, 5), (3, 3)]), None);
}

#[test]
fn the_limit_counts_payload_after_escapes() {
    let slip = Marked::slip(3);
    let escaped = [0xDB, 0xDC, 0xDB, 0xDD, 0xDB, 0xDC, 0xC0];
    assert_eq!(decode(&slip, escaped), [frame([0xC0, 0xDB, 0xC0]), Clean]);
    assert_eq!(decode(&slip, [1, 2, 3, 4, 0xC0]), [too_long(3, 4)]);
    assert_eq!(decode(&slip, [0xDB, 0xDC, 2, 3, 0xDB, 0xDC, 0xC0]), [too_long(3, 4)]);
    // What comes first in the stream is what is said.
    assert_eq!(decode(&slip, [1, 2, 3, 0xDB, 7]), [Error(FrameError::BadEscape { found: 7 })]);
    assert_eq!(decode(&slip, [1, 2, 3, 4, 0xDB, 7]), [too_long(3, 4)]);
    assert_eq!(decode(&stx(0), [2, 3, 2, 9, 3]), [frame([]), too_long(0, 1)]);
    assert!(encode(&slip, [1, 2, 3, 4]).is_err());
    assert_eq!(encode(&slip, [0xC0; 3]).map(|wire| wire.len()), Ok(7));
    assert_eq!(Marked::slip(usize::MAX).max_unit(), usize::MAX);
    assert_eq!(decode(&Marked::slip(usize::MAX), [1, 0xC0]), [frame([1]), Clean]);
}

#[test]
fn frames_that_are_too_long_can_be_skipped() {
    let wire = [1, 2, 3, 0xDB, 0xDC, 5, 0xC0, 6, 0xC0];
    assert_eq!(decode_skipping(&Marked::slip(2), wire), [skipped(2, 3), frame([6]), Clean]);
    assert_eq!(decode_skipping(&stx(1), [2, 8, 9, 3, 2, 7, 3]), [skipped(1, 2), frame([7]), Clean]);
    // The flag that ends the skipped frame opens the next.
    assert_eq!(decode_skipping(&Marked::hdlc(1), [0x7E, 1, 2, 0x7E, 3, 0x7E]), [skipped(1, 2), frame([3]), Clean]);
}

#[test]
fn the_stream_ends_between_frames_only() {
    assert_eq!(decode(&Marked::slip(8), [1, 0xC0, 2]), [frame([1]), Truncated(None)]);
    assert_eq!(decode(&Marked::hdlc(8), [0x7E]), [Clean]);
    assert_eq!(decode(&Marked::hdlc(8), [0x7E, 0x7D]), [Truncated(None)]);
    assert_eq!(decode(&stx(8), [2]), [Truncated(None)]);
}

#[test]
fn looking_goes_on_where_it_stopped_and_changes_nothing_before_the_end() {
    let mut slip = Marked::slip(1000);
    let mut bytes = Vec::new();
    for n in 0..100 {
        bytes.extend([0xDB, 0xDC, 7]);
        let before = bytes.clone();
        assert_eq!(slip.find(&mut bytes), Ok(Found::NeedMore { hint: 0 }));
        assert_eq!((slip.progress.scanned, slip.progress.payload), (3 * (n + 1), 2 * (n + 1)));
        assert_eq!(bytes, before);
    }
    bytes.push(0xC0);
    assert_eq!(slip.find(&mut bytes), Ok(Found::Frame(Span { start: 0, end: 200, consumed: 301 })));
    assert!(bytes[..200].chunks(2).all(|pair| pair == [0xC0, 7]));
    assert_eq!(slip.progress.scanned, 0);
}

#[test]
fn idle_flags_are_taken_off_as_they_come() {
    let mut hdlc = Marked::hdlc(8);
    assert_eq!(hdlc.find(&mut [0x7E; 5]), Ok(Found::Fill { consumed: 5 }));
    assert_eq!(hdlc.find(&mut [0x7E, 1]), Ok(Found::Fill { consumed: 1 }));
}
