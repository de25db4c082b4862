use alloc::vec::Vec;

use proptest::collection::vec as list;
use proptest::prelude::*;

use super::super::tests::{Clean, Final, Seen, Truncated, decode, decode_skipping, encode, frame, skipped, too_long};
use super::*;

fn any<const N: usize>(delimiters: [&str; N], max_frame: usize) -> Delimited {
    Delimited::any(delimiters, max_frame).unwrap()
}

#[test]
fn lines_end_at_lf_and_lose_one_cr() {
    let lines = Delimited::lines(8);
    assert_eq!(decode(&lines, "ab\ncd\r\n\n\r\n"), [frame("ab"), frame("cd"), frame(""), frame(""), Clean]);
    assert_eq!(decode(&lines, "a\rb\r\r\n"), [frame("a\rb\r"), Clean]);
    assert_eq!(encode(&lines, "ab").as_deref(), Ok(&b"ab\n"[..]));
    assert!(encode(&lines, "a\nb").is_err());
    assert!(encode(&lines, "ab\r").is_err(), "the peer would strip the CR");
    assert_eq!(encode(&lines, "a\rb").as_deref(), Ok(&b"a\rb\n"[..]));
}

#[test]
fn crlf_alone_ends_nothing_at_lf_or_cr() {
    let crlf = Delimited::crlf(8);
    assert_eq!(decode(&crlf, "a\nb\rc\r\n\r\r\n"), [frame("a\nb\rc"), frame("\r"), Clean]);
    assert_eq!(encode(&crlf, "a\nb\r").as_deref(), Ok(&b"a\nb\r\r\n"[..]));
    assert!(encode(&crlf, "a\r\nb").is_err());
}

#[test]
fn the_earliest_delimiter_wins_and_at_one_place_the_longest() {
    for set in [["\r", "\r\n"], ["\r\n", "\r"]] {
        assert_eq!(decode(&any(set, 8), "a\r\nb\rc\r"), [frame("a"), frame("b"), Final(b"c".to_vec())]);
    }
    assert_eq!(decode(&any(["--", ";"], 8), "a-;b--"), [frame("a-"), frame("b"), Clean]);
    assert_eq!(decode(&any(["abc", "b"], 8), "xabcyaby"), [frame("x"), frame("ya"), Truncated(None)]);
    let five = any(["1", "2", "3", "4", "5"], 8);
    assert_eq!(decode(&five, "a1b2c3d4e5"), [frame("a"), frame("b"), frame("c"), frame("d"), frame("e"), Clean]);
}

#[test]
fn frames_to_send_end_with_a_delimiter_that_begins_no_other() {
    assert_eq!(encode(&any(["\r", "\r\n"], 8), "a").as_deref(), Ok(&b"a\r\n"[..]));
    assert_eq!(encode(&any(["\n", "\r\n"], 8), "a").as_deref(), Ok(&b"a\n"[..]));
    // With a "c" from the next frame, "abc" would be found.
    assert!(encode(&any(["b", "abc"], 8), "xa").is_err());
    // "xa" and "aab" are "xaaab", whose first "aa.." could not be told from the delimiter's.
    assert_eq!(encode(&any(["aab"], 8), "xa").as_deref(), Ok(&b"xaaab"[..]));
    assert!(encode(&any(["aba"], 8), "xab").is_err(), "xababa ends after the first aba");
}

#[test]
fn a_kept_delimiter_is_part_of_the_payload_both_ways() {
    let kept = Delimited::lines(4).keep_delimiter();
    assert_eq!(decode(&kept, "ab\r\ncdef\n"), [frame("ab\r\n"), frame("cdef\n"), Clean]);
    assert_eq!(encode(&kept, "ab\r\n").as_deref(), Ok(&b"ab\r\n"[..]));
    assert_eq!(encode(&kept, "abcd\n").as_deref(), Ok(&b"abcd\n"[..]));
    for refused in ["ab", "a\nb\n", "abcde\n", ""] {
        assert!(encode(&kept, refused).is_err(), "{refused:?}");
    }
    assert!(encode(&any(["\r", "\r\n"], 8).keep_delimiter(), "a\r").is_err(), "an LF might follow");
}

#[test]
fn the_limit_counts_payload_and_is_exact() {
    assert_eq!(decode(&any([";"], 4), "abcd;"), [frame("abcd"), Clean]);
    assert_eq!(decode(&any([";"], 4), "abcde;"), [too_long(4, 5)]);
    assert_eq!(decode(&any([";"], 0), ";;x"), [frame(""), frame(""), too_long(0, 1)]);
    // The CR could still have been followed by LF.
    assert_eq!(decode(&Delimited::crlf(4), "abcd\r\n"), [frame("abcd"), Clean]);
    assert_eq!(decode(&Delimited::crlf(4), "abcd\rx\r\n"), [too_long(4, 6)]);
    assert_eq!(decode(&Delimited::crlf(4), "abcdx\r\n"), [too_long(4, 5)]);
    assert_eq!(decode(&Delimited::lines(4), "abcd\r\n"), [frame("abcd"), Clean]);
    assert_eq!(decode(&Delimited::lines(4), "abcd\rx"), [too_long(4, 6)]);
    // Certain only where the longest beginning of a delimiter breaks off.
    assert_eq!(decode(&any(["aaaab"], 2), "xxaaaaab"), [too_long(2, 7)]);
    assert_eq!(encode(&any([";"], 4), "abcd").as_deref(), Ok(&b"abcd;"[..]));
    assert!(encode(&any([";"], 4), "abcde").is_err());
    assert_eq!(Delimited::crlf(4).max_unit(), 6);
    assert_eq!(Delimited::crlf(usize::MAX).max_unit(), usize::MAX);
    assert_eq!(decode(&Delimited::lines(usize::MAX), "a\nb"), [frame("a"), Truncated(None)]);
}

#[test]
fn the_end_of_the_stream_may_end_the_last_frame() {
    assert_eq!(decode(&Delimited::lines(4), "ab\ncd"), [frame("ab"), Truncated(None)]);
    let open = Delimited::lines(4).last_frame_needs_delimiter(false);
    assert_eq!(decode(&open, "ab\ncd"), [frame("ab"), Final(b"cd".to_vec())]);
    assert_eq!(decode(&open, "ab\n"), [frame("ab"), Clean]);
    assert_eq!(decode(&open, ""), [Clean]);
    assert_eq!(decode(&open, "abc\r"), [Final(b"abc\r".to_vec())]);
    assert_eq!(decode(&open, "abcd\r"), [too_long(4, 5)], "the CR is payload now");
    assert_eq!(decode(&any(["\r", "\r\n"], 4).keep_delimiter(), "abcd\r"), [Final(b"abcd\r".to_vec())]);
}

#[test]
fn frames_that_are_too_long_can_be_skipped_across_cut_delimiters() {
    assert_eq!(
        decode_skipping(&Delimited::crlf(2), "abc\rdef\r\ngh\r\nijkl\r\r\n"),
        [skipped(2, 3), frame("gh"), skipped(2, 3), Clean]
    );
    let mut crlf = Delimited::crlf(2);
    assert_eq!(crlf.skip(b"abc\r"), Some(Skipped { consumed: 3, done: false }), "the CR stays");
    assert_eq!(crlf.skip(b"\r\nx"), Some(Skipped { consumed: 2, done: true }));
    assert_eq!(crlf.skip(b""), Some(Skipped { consumed: 0, done: false }));
}

#[test]
fn looking_goes_on_where_it_stopped() {
    for framing in [any([";"], 1000), any(["abc"], 1000), Delimited::lines(1000), any(["1", "2", "3", "4"], 1000)] {
        let mut framing = framing;
        let mut bytes = Vec::new();
        for n in 1..100 {
            bytes.push(b'x');
            assert_eq!(framing.find(&mut bytes), Ok(Found::NeedMore { hint: 0 }));
            assert_eq!(framing.scanned, n);
        }
    }
    let mut crlf = Delimited::crlf(1000);
    assert_eq!(crlf.find(&mut b"ab\r".to_vec()), Ok(Found::NeedMore { hint: 0 }));
    assert_eq!(crlf.scanned, 2, "the CR is looked at again");
    // Beyond the limit there is nothing to look for.
    assert_eq!(any([";"], 2).candidate(b"abcdefgh;", 0, 2), None);
}

#[test]
fn delimiters_that_cannot_work_are_refused() {
    assert_eq!(Delimited::new("", 4).err(), Some(DelimiterError::Empty));
    assert_eq!(Delimited::any(["a", ""], 4).err(), Some(DelimiterError::Empty));
    assert_eq!(Delimited::any::<&str>([], 4).err(), Some(DelimiterError::Empty));
    for nested in [["a", "abc"], ["b", "abcd"], ["a", "aab"]] {
        assert_eq!(Delimited::any(nested, 4).err(), Some(DelimiterError::Nested), "{nested:?}");
    }
    for fine in [["a", "ab"], ["b", "abc"], ["b", "ab"], ["a", "a"], ["ab", "bc"]] {
        assert!(Delimited::any(fine, 4).is_ok(), "{fine:?}");
    }
}

/// The definition, word by word.
fn reference(delimiters: &[&str], max: usize, mut bytes: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        let at = |i: usize| delimiters.iter().filter(|d| bytes[i..].starts_with(d.as_bytes())).map(|d| d.len()).max();
        match (0..bytes.len()).find_map(|i| Some((i, at(i)?))) {
            Some((i, len)) if i <= max => {
                seen.push(frame(&bytes[..i]));
                bytes = &bytes[i + len..];
            }
            _ => {
                let open = |i: usize| delimiters.iter().any(|d| d.as_bytes().starts_with(&bytes[i..]));
                // The fewest bytes after which no delimiter can start within the limit.
                let certain = (max + 1..=bytes.len()).find(|n| {
                    let cut = &bytes[..*n];
                    (0..=max).all(|i| !delimiters.iter().any(|d| d.as_bytes().starts_with(&cut[i..])))
                });
                seen.push(match certain {
                    Some(n) => too_long(max, n as u64),
                    None if bytes.is_empty() => Clean,
                    None => {
                        assert!(bytes.len() <= max || (0..=max).any(open));
                        Truncated(None)
                    }
                });
                return seen;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_are_those_of_the_definition(bytes in list(prop::sample::select(&b"ab\r\nx"[..]), 0..40), max in 0_usize..6) {
        let sets: [&[&str]; 9] = [
            &["a"], &["\r\n"], &["\n", "\r\n"], &["aab"], &["abab"], &["aaaa"],
            &["ab", "ba"], &["a", "b", "x\n"], &["a", "b", "\r", "\n"],
        ];
        for set in sets {
            let framing = Delimited::any(set, max).unwrap();
            prop_assert_eq!(decode(&framing, &bytes), reference(set, max, &bytes), "{:?}", set);
        }
    }
}

#[test]
fn a_skipped_frame_may_end_with_the_stream() {
    let cr = Delimited::any(["\r", "\r\n"], 2).unwrap();
    assert_eq!(decode_skipping(&cr, "abc\r"), [skipped(2, 3), Clean], "no LF follows, so CR was the end");
    assert_eq!(decode_skipping(&cr, "abc"), [skipped(2, 3), Truncated(None)]);
    let last = Delimited::lines(2).last_frame_needs_delimiter(false);
    assert_eq!(decode_skipping(&last, "abcdef"), [skipped(2, 3), Clean]);
    assert_eq!(decode_skipping(&last, "abc\r"), [skipped(2, 3), Clean]);
    assert_eq!(decode_skipping(&last, "ab\r"), [skipped(2, 3)], "known at the end of the stream only");
}
