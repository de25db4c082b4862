//! The bytes of every framing, cut at any place, against decoders that see the whole stream.
//!
//! For each input:
//! * whole, cut and in place the stream gives the same frames and the same end, down to the numbers in the error;
//! * that is what the reference decoder makes of it;
//! * what was accepted for sending decodes, by the reference, to what was sent.

mod reference;

use arbitrary::Arbitrary;
use bytes::Bytes;
use duologue_core::framed::{
    Delimited, Endian, FixedSize, FrameError, FrameTooLong, Framed, Framing, HeaderFramed, HeaderLength,
    LengthPrefixed, Marked, OnTooLong, Raw, VarintPrefixed,
};

use self::reference::{Marks, Resolve, Step};
use crate::feed::{End, Feed, Outcome, decode, encode};

/// A framing, a stream and how to cut it, and payloads to send.
#[derive(Arbitrary, Debug)]
pub struct Input {
    kind: Kind,
    on_too_long: TooLong,
    /// The bytes are taken from the few that mean something to the framing.
    narrow: bool,
    /// The receive buffer holds one unit.
    tight: bool,
    cuts: Vec<u8>,
    payloads: Vec<Vec<u8>>,
    /// The last, so that the rest of the input is the stream.
    stream: Vec<u8>,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum TooLong {
    Close,
    Skip,
    Answer,
}

#[derive(Arbitrary, Clone, Debug)]
enum Kind {
    Delimited { delimiters: Delimiters, max: u8, keep: bool, last_needs: bool },
    LengthPrefixed { width: u8, little: bool, offset: u8, adjustment: Adjustment, keep: bool, max: u8 },
    Varint { max: u16 },
    Header { rule: Rule, max: u8 },
    Fixed { size: u8 },
    Marked { marks: MarkedKind, max: u8, leading: bool },
    Raw { max: u8 },
}

#[derive(Arbitrary, Clone, Debug)]
enum Delimiters {
    Lines,
    CrLf,
    Nul,
    /// Made of few letters, so that they overlap.
    Any(Vec<[u8; 4]>),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Adjustment {
    None,
    Small(i8),
    Any(i64),
}

#[derive(Arbitrary, Clone, Debug)]
enum MarkedKind {
    Slip,
    Hdlc,
    Xor { begin: Option<u8>, end: u8, escape: u8, mask: u8 },
    Table { begin: Option<u8>, end: u8, escape: u8, table: Vec<(u8, u8)> },
}

/// Headers of different sizes, by the two low bits of the first byte.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Rule {
    sizes: [u8; 4],
    wide: bool,
}

impl HeaderLength for Rule {
    fn header_len(&self, first: u8) -> Option<usize> {
        let size = usize::from(self.sizes[usize::from(first & 3)] % 12);
        (first < 0xF0).then_some(size)
    }

    fn body_len(&self, header: &[u8]) -> Result<u64, &'static str> {
        let tail = header.get(1..).unwrap_or_default();
        match tail.first() {
            Some(0xFF) => Err("the second byte is 0xFF"),
            _ if self.wide => Ok(tail.iter().take(8).fold(0, |n, byte| n << 8 | u64::from(*byte))),
            last => Ok(last.map_or(0, |byte| u64::from(*byte))),
        }
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    if let Some(input) = crate::parse::<Input>(data) {
        check(&input);
    }
}

fn check(input: &Input) {
    match &input.kind {
        Kind::Delimited { delimiters, max, keep, last_needs } => {
            check_delimited(input, delimiters, usize::from(*max), *keep, *last_needs);
        }
        &Kind::LengthPrefixed { width, little, offset, adjustment, keep, max } => {
            let (width, offset) = (1 + usize::from(width % 8), usize::from(offset % 4));
            let adjustment = match adjustment {
                Adjustment::None => 0,
                Adjustment::Small(n) => i64::from(n),
                Adjustment::Any(n) => n,
            };
            check_length(input, width, little, offset, adjustment, keep, usize::from(max));
        }
        Kind::Varint { max } => {
            let max = usize::from(*max);
            let subject = Subject::new(max, &[0, 1, 2, 3, 0x80, 0x81, 0xFF, 0x7F]);
            subject.check(input, || VarintPrefixed::new(max), |rest| reference::varint(rest, max));
        }
        Kind::Header { rule, max } => {
            let (rule, max) = (*rule, usize::from(*max));
            let subject = Subject::new(max, &[0, 1, 2, 3, 4, 0xF0, 0xFF, 9]);
            subject.check(input, || HeaderFramed::new(rule, max), |rest| header(rest, rule, max));
        }
        Kind::Fixed { size } => {
            let size = usize::from(*size).max(1);
            let subject = Subject::new(usize::MAX, &[1, 2]);
            let step = |rest: &[u8]| match rest.len() {
                0 => Step::End(End::Clean),
                n if n < size => Step::End(End::Truncated(Some((size - n) as u64))),
                _ => Step::Frame(rest[..size].to_vec(), size),
            };
            subject.check(input, || FixedSize::new(size), step);
        }
        Kind::Marked { marks, max, leading } => check_marked(input, marks, usize::from(*max), *leading),
        Kind::Raw { max } => {
            let max = usize::from(*max).max(1);
            let mut subject = Subject::new(usize::MAX, &[1, 2]);
            subject.raw = Some(max);
            let step = |rest: &[u8]| match rest.len() {
                0 => Step::End(End::Clean),
                n => Step::Frame(rest.to_vec(), n),
            };
            subject.check(input, || Raw::new(max), step);
        }
    }
}

fn check_delimited(input: &Input, delimiters: &Delimiters, max: usize, keep: bool, last_needs: bool) {
    let all: Vec<Vec<u8>> = match delimiters {
        Delimiters::Lines => vec![b"\n".to_vec(), b"\r\n".to_vec()],
        Delimiters::CrLf => vec![b"\r\n".to_vec()],
        Delimiters::Nul => vec![b"\0".to_vec()],
        // The first byte gives the length, the others a letter each.
        Delimiters::Any(some) => {
            let letters = |word: &[u8; 4]| word.iter().map(|b| b'a' + b % 3).collect::<Vec<_>>();
            some.iter().take(5).map(|word| letters(word)[..1 + usize::from(word[0] / 64)].to_vec()).collect()
        }
    };
    let Ok(framing) = Delimited::any(&all, max) else { return };
    let framing = match delimiters {
        Delimiters::Lines => Delimited::lines(max),
        Delimiters::CrLf => Delimited::crlf(max),
        _ => framing,
    };
    let framing = framing.last_frame_needs_delimiter(last_needs);
    let framing = if keep { framing.keep_delimiter() } else { framing };
    let mut subject = Subject::new(max, b"\r\n\0abcx");
    subject.exact = false;
    subject.check(input, || framing.clone(), |rest| reference::delimited(rest, &all, max, keep, last_needs));
}

fn check_length(input: &Input, width: usize, little: bool, offset: usize, adjustment: i64, keep: bool, max: usize) {
    let header = offset + width;
    let make = || {
        let endian = if little { Endian::Little } else { Endian::Big };
        let framing = LengthPrefixed::new(width, endian, max).offset(offset).adjustment(adjustment);
        // The plain kind has a short way of its own.
        let plain = offset == 0 && adjustment == 0;
        let framing = if plain { LengthPrefixed::new(width, endian, max) } else { framing };
        if keep { framing.keep_header() } else { framing }
    };
    let step = |rest: &[u8]| {
        let Some(field) = rest.get(offset..header) else { return reference::header_cut(rest) };
        let digits: Vec<u8> = if little { field.iter().rev().copied().collect() } else { field.to_vec() };
        let length = digits.iter().fold(0_u64, |n, digit| n << 8 | u64::from(*digit));
        match u128::try_from(i128::from(length) + i128::from(adjustment)) {
            Err(_) => Step::End(End::Broken(FrameError::BadLength { length, adjustment })),
            Ok(body) => reference::announced(rest, header, body, body, max, if keep { 0 } else { header }),
        }
    };
    let mut subject = Subject::new(max, &[0, 1, 2, 3, 4, 8, 0x80, 0xFF]);
    if keep {
        subject.filled_in = Some((offset, header));
    }
    subject.check(input, make, step);
}

fn header(rest: &[u8], rule: Rule, max: usize) -> Step {
    let Some(&first) = rest.first() else { return reference::header_cut(rest) };
    match rule.header_len(first) {
        None | Some(0) => Step::End(End::Broken(FrameError::UnknownHeader { first })),
        Some(size) if rest.len() < size => reference::header_cut(rest),
        Some(size) => match rule.body_len(&rest[..size]) {
            Err(why) => Step::End(End::Broken(FrameError::BadHeader { why })),
            Ok(body) => {
                let body = u128::from(body);
                reference::announced(rest, size, body, body + size as u128, max, 0)
            }
        },
    }
}

fn check_marked(input: &Input, kind: &MarkedKind, max: usize, leading: bool) {
    let table = |begin, end, escape, pairs: &[(u8, u8)]| Marks {
        begin,
        end,
        escape,
        abortable: false,
        resolve: Resolve::Table(pairs.to_vec()),
    };
    let (framing, marks) = match kind {
        MarkedKind::Slip => (Marked::slip(max), table(None, 0xC0, 0xDB, &[(0xC0, 0xDC), (0xDB, 0xDD)])),
        MarkedKind::Hdlc => {
            let resolve = Resolve::Xor(0x20);
            (Marked::hdlc(max), Marks { begin: Some(0x7E), end: 0x7E, escape: 0x7D, abortable: true, resolve })
        }
        &MarkedKind::Xor { begin, end, escape, mask } => {
            let Ok(framing) = Marked::xor(begin, end, escape, mask, max) else { return };
            (framing, Marks { begin, end, escape, abortable: false, resolve: Resolve::Xor(mask) })
        }
        MarkedKind::Table { begin, end, escape, table: pairs } => {
            // The marks get substitutes, so that most tables are complete.
            let mut all = vec![(*end, 0x11), (*escape, 0x12)];
            all.extend(begin.filter(|b| b != end).map(|b| (b, 0x13)));
            all.extend(pairs.iter().take(4));
            let Ok(framing) = Marked::table(*begin, *end, *escape, &all, max) else { return };
            (framing, table(*begin, *end, *escape, &all))
        }
    };
    let framing = if leading { framing.leading_end() } else { framing };
    let palette = [marks.end, marks.escape, marks.begin.unwrap_or(marks.end), 0xDC, 0x5E, 0x11, 0x12, b'x'];
    let subject = Subject::new(max, &palette);
    let new_reference = || {
        let mut open = false;
        let marks = marks.clone();
        move |rest: &[u8]| marks.step(rest, &mut open, max)
    };
    subject.check_with(input, || framing.clone(), new_reference);
}

/// What the comparison must know about a framing.
struct Subject {
    limit: usize,
    palette: [u8; 8],
    /// The reference knows the number in a too long frame's error.
    exact: bool,
    /// Only the concatenation of the frames means anything; none is longer than this.
    raw: Option<usize>,
    /// On sending, these bytes of a payload are filled in.
    filled_in: Option<(usize, usize)>,
}

impl Subject {
    fn new(limit: usize, palette: &[u8]) -> Self {
        let palette = core::array::from_fn(|i| palette[i % palette.len()]);
        Self { limit, palette, exact: true, raw: None, filled_in: None }
    }

    fn check<F>(&self, input: &Input, make: impl Fn() -> F, step: impl Fn(&[u8]) -> Step)
    where
        F: Framing<Error = FrameError>,
    {
        self.check_with(input, make, || &step);
    }

    /// As `check`, with a reference that remembers something of a stream.
    fn check_with<F, S>(&self, input: &Input, make: impl Fn() -> F, new_reference: impl Fn() -> S)
    where
        F: Framing<Error = FrameError>,
        S: FnMut(&[u8]) -> Step,
    {
        let narrowed = |bytes: &[u8]| -> Vec<u8> {
            let pick = |byte: &u8| if input.narrow { self.palette[usize::from(byte % 8)] } else { *byte };
            bytes.iter().map(pick).collect()
        };
        let stream = narrowed(&input.stream);
        let answer = Bytes::from_static(b"!");
        let protocol = || {
            Framed::new(make()).on_too_long(match input.on_too_long {
                TooLong::Close => OnTooLong::Close,
                TooLong::Skip => OnTooLong::Skip,
                TooLong::Answer => OnTooLong::Answer(answer.clone()),
            })
        };
        let skips = input.on_too_long != TooLong::Close;
        let whole = decode(protocol(), &stream, Feed::WHOLE);
        for in_place in [false, true] {
            let feed = Feed { cuts: &input.cuts, in_place, tight: input.tight };
            let cut = decode(protocol(), &stream, feed);
            assert_eq!(self.joined(&cut.0), self.joined(&whole.0), "L10: cut {feed:?} it decodes differently");
            assert_eq!(cut.1, whole.1, "the answers depend on the cuts {feed:?}");
        }
        let due = reference::decode(&stream, self.limit, skips, new_reference());
        assert_eq!(self.compared(&whole.0), self.compared(&due), "not what the reference says of {stream:?}");
        let one_answer = encode(protocol(), &[answer.to_vec()]).1;
        let answers = if input.on_too_long == TooLong::Answer { whole.0.skipped as usize } else { 0 };
        assert_eq!(whole.1, one_answer.repeat(answers), "one answer for each frame that was skipped");

        let payloads: Vec<Vec<u8>> = input.payloads.iter().take(8).map(|payload| narrowed(payload)).collect();
        let (accepted, wire) = encode(protocol(), &payloads);
        let mut back = reference::decode(&wire, self.limit, false, new_reference());
        assert_eq!(back.end, End::Clean, "what was sent does not end between two frames: {wire:?}");
        let mut sent = accepted;
        if let Some((from, to)) = self.filled_in {
            back.frames.iter_mut().chain(&mut sent).for_each(|frame| frame[from..to].fill(0));
        }
        if self.raw.is_some() {
            (back.frames, sent) = (vec![back.frames.concat()], vec![sent.concat()]);
        }
        assert_eq!(back.frames, sent, "what was sent decodes to something else: {wire:?}");
    }

    /// Without what may depend on the cuts.
    fn joined(&self, outcome: &Outcome) -> Outcome {
        let mut outcome = outcome.clone();
        if let Some(max) = self.raw {
            assert!(outcome.frames.iter().all(|frame| (1..=max).contains(&frame.len())), "{outcome:?}");
            outcome.frames = vec![outcome.frames.concat()];
        }
        outcome
    }

    /// Without what the reference does not know either.
    fn compared(&self, outcome: &Outcome) -> Outcome {
        let mut outcome = outcome.clone();
        if self.raw.is_some() {
            outcome.frames = vec![outcome.frames.concat()];
        }
        if let (false, End::Broken(FrameError::TooLong(FrameTooLong { buffered, .. }))) = (self.exact, &mut outcome.end)
        {
            *buffered = 0;
        }
        outcome
    }
}
