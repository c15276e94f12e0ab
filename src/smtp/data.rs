//! The content of a message on the wire: reading it strictly and writing it back exactly.
//!
//! A message sent with DATA ends at `<CRLF>.<CRLF>` and at nothing else (RFC 5321 §4.1.1.4). A CR or
//! LF that stands alone (§2.3.8) marks the message as bad and never ends it: it is read to its true
//! end, so that what follows the end is never mistaken for commands, nor what precedes it for a
//! second message.
//!
//! A reader that normalises writes CRLF where a CR or LF stood alone, counts them, and takes nothing
//! else for the end all the same. A line that begins after such a newline is not the start of a line as
//! SMTP counts them: its dot was not added by the sender, and stays. So no octet of a message is lost,
//! and what looked like an end is a line with a dot in it, which is stuffed like any other on its way
//! out.
//!
//! Pure; bounded by the limit it is given, and by twice what came; never fails.

use crate::mail::Content;

/// Content as it comes in, dot-unstuffed, with what is wrong with it.
#[derive(Debug)]
pub struct Reader {
    state: State,
    body: Vec<u8>,
    limit: usize,
    unfit: Option<Unfit>,
    normalises: bool,
    normalised: usize,
}

/// What makes a message unfit, however it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// A CR or LF stood alone.
    BareNewline,
    /// There was more than the limit; all of it was thrown away.
    TooLarge,
}

/// How far into a line end we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of the message or right after CRLF.
    LineStart,
    /// After a `.` at the start of a line.
    Dot,
    /// After `.` CR at the start of a line.
    DotCr,
    /// Within a line.
    Text,
    /// After a CR within a line.
    Cr,
}

impl Reader {
    /// Keeps at most `limit` octets.
    pub const fn new(limit: usize) -> Self {
        Self {
            state: State::LineStart,
            body: Vec::new(),
            limit,
            unfit: None,
            normalises: false,
            normalised: 0,
        }
    }

    /// The same, but what stands alone becomes CRLF; the limit is for what comes of it.
    pub fn normalising(limit: usize) -> Self {
        Self {
            normalises: true,
            ..Self::new(limit)
        }
    }

    /// How many newlines stood alone and are CRLF now.
    pub const fn normalised(&self) -> usize {
        self.normalised
    }

    /// The most that so many more octets can add to the body.
    pub const fn growth(&self, octets: usize) -> usize {
        match self.normalises {
            // Each may be a newline alone, after one that is still in doubt.
            true => octets.saturating_mul(2).saturating_add(1),
            false => octets,
        }
    }

    /// From here on nothing is kept, and only the end is looked for.
    pub fn discard(&mut self) {
        self.limit = 0;
        self.body = Vec::new();
        self.unfit.get_or_insert(Unfit::TooLarge);
    }

    /// What was wrong first.
    pub const fn unfit(&self) -> Option<Unfit> {
        self.unfit
    }

    pub const fn len(&self) -> usize {
        self.body.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Makes room for so many octets in all, at once.
    pub fn reserve(&mut self, octets: usize) {
        let more = octets.min(self.limit).saturating_sub(self.body.len());
        self.body.reserve_exact(more);
    }

    /// Takes part of a DATA stream. `Some(n)`: the message ended after `n` octets of `input`;
    /// `None`: all of it was taken and there is more to come.
    pub fn read(&mut self, input: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) {
            if self.state == State::Text {
                let run = find(rest, is_newline).unwrap_or(rest.len());
                self.keep(rest.get(..run).unwrap_or_default());
                at += run;
            }
            let Some(&octet) = input.get(at) else { break };
            at += 1;
            if (self.state, octet) == (State::DotCr, b'\n') {
                return Some(at);
            }
            self.step(octet);
        }
        None
    }

    /// Takes part of a BDAT chunk (RFC 3030 §2): every octet is content.
    pub fn read_chunk(&mut self, input: &[u8]) {
        let mut rest = input;
        while let Some((&octet, tail)) = rest.split_first() {
            match (self.state, octet) {
                (State::Cr, b'\n') => {
                    self.state = State::Text;
                    self.keep(b"\n");
                    rest = tail;
                }
                (State::Cr, _) => {
                    self.lone_cr();
                    self.state = State::Text;
                }
                (_, b'\r' | b'\n') => {
                    self.text(octet);
                    rest = tail;
                }
                _ => {
                    let run = find(rest, is_newline).unwrap_or(rest.len());
                    self.keep(rest.get(..run).unwrap_or_default());
                    rest = rest.get(run..).unwrap_or_default();
                }
            }
        }
    }

    /// The last chunk is here: a CR that waited for its LF stood alone.
    pub fn end_chunks(&mut self) {
        if self.state == State::Cr {
            self.lone_cr();
            self.state = State::Text;
        }
    }

    /// One octet that is not in the middle of a line, the end of the message excepted.
    fn step(&mut self, octet: u8) {
        match (self.state, octet) {
            // RFC 5321 §4.5.2: the first dot of a line is not content.
            (State::LineStart, b'.') => self.state = State::Dot,
            (State::Dot, b'\r') => self.state = State::DotCr,
            (State::DotCr, _) => {
                // The CR after the dot was content after all, and stood alone.
                self.keep(b"\r");
                self.state = State::Cr;
                self.step(octet);
            }
            (State::Cr, b'\n') => {
                self.state = State::LineStart;
                self.keep(b"\n");
            }
            (State::Cr, _) => {
                self.lone_cr();
                self.text(octet);
            }
            _ => self.text(octet),
        }
    }

    /// An octet within a line.
    fn text(&mut self, octet: u8) {
        self.state = State::Text;
        match octet {
            b'\n' => self.lone_lf(),
            b'\r' => {
                self.state = State::Cr;
                self.keep(b"\r");
            }
            octet => self.keep(&[octet]),
        }
    }

    /// The CR that was kept last has no LF.
    fn lone_cr(&mut self) {
        if self.normalises {
            self.normalised += 1;
            self.keep(b"\n");
        } else {
            self.unfit.get_or_insert(Unfit::BareNewline);
        }
    }

    /// A LF without a CR before it.
    fn lone_lf(&mut self) {
        if self.normalises {
            self.normalised += 1;
            self.keep(b"\r\n");
        } else {
            self.unfit.get_or_insert(Unfit::BareNewline);
            self.keep(b"\n");
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = self.limit.saturating_sub(self.body.len());
        if let Some(fitting) = piece.get(..room).filter(|_| piece.len() > room) {
            // The start stays, for the log to say which message it was, until it is discarded.
            self.body.extend_from_slice(fitting);
            self.limit = 0;
            self.unfit.get_or_insert(Unfit::TooLarge);
        } else {
            self.body.extend_from_slice(piece);
        }
    }
}

const fn is_newline(octet: u8) -> bool {
    matches!(octet, b'\r' | b'\n')
}

/// Where the first octet stands that is wanted. Blocks are looked at as a whole, which compilers
/// turn into a few instructions.
fn find(octets: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    const BLOCK: usize = 32;
    let clear = octets
        .chunks_exact(BLOCK)
        .take_while(|block| !block.iter().fold(false, |hit, it| hit | wanted(*it)))
        .count()
        * BLOCK;
    let rest = octets.get(clear..)?;
    Some(clear + rest.iter().position(|it| wanted(*it))?)
}

/// The content as it goes out with DATA: dot-stuffed (RFC 5321 §4.5.2), with `.` CRLF at the end.
/// Content that does not end in CRLF (BDAT can bring such) has one put before the final dot, since
/// DATA cannot carry it otherwise.
pub fn stuff(content: &Content) -> Vec<u8> {
    let mut wire = Vec::with_capacity(content.len() + content.len() / 64 + 8);
    for piece in pieces(content) {
        wire.extend_from_slice(piece);
    }
    wire
}

/// The same, piece by piece and without copying: for large messages.
pub fn pieces(content: &Content) -> Pieces<'_> {
    Pieces {
        parts: [&content.trace, &content.bytes],
        next: Next::LineStart,
        last: [0; 2],
    }
}

/// See [`pieces`].
#[derive(Debug, Clone)]
pub struct Pieces<'a> {
    /// What is yet to be written.
    parts: [&'a [u8]; 2],
    next: Next,
    /// The last two octets written.
    last: [u8; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    LineStart,
    Text,
    Done,
}

impl<'a> Pieces<'a> {
    /// The part being written; the second once the first is used up.
    fn part(&mut self) -> Option<&mut &'a [u8]> {
        self.parts.iter_mut().find(|part| !part.is_empty())
    }

    fn end(&mut self) -> Option<&'a [u8]> {
        match std::mem::replace(&mut self.next, Next::Done) {
            Next::Done => None,
            Next::LineStart => Some(b".\r\n"),
            Next::Text => Some(b"\r\n.\r\n"),
        }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (next, last) = (self.next, self.last);
        let Some(part) = self.part() else {
            return self.end();
        };
        if next == Next::LineStart && part.first() == Some(&b'.') {
            self.next = Next::Text;
            return Some(b".");
        }
        let length = before_dot(part, last);
        let (piece, rest) = part.split_at_checked(length)?;
        *part = rest;
        self.last = last_two(last, piece);
        self.next = if self.last == *b"\r\n" {
            Next::LineStart
        } else {
            Next::Text
        };
        Some(piece)
    }
}

/// How much of `part` can be written before a dot must be doubled.
fn before_dot(part: &[u8], last: [u8; 2]) -> usize {
    let mut at = 0;
    while let Some(found) = part.get(at..).and_then(|rest| find(rest, |it| it == b'\n')) {
        at += found + 1;
        let line_end = last_two(last, part.get(..at).unwrap_or_default()) == *b"\r\n";
        if line_end && part.get(at) == Some(&b'.') {
            return at;
        }
    }
    part.len()
}

/// The last two octets of what was written before, and of `piece` after it.
const fn last_two([_, before]: [u8; 2], piece: &[u8]) -> [u8; 2] {
    match piece {
        [.., one, two] => [*one, *two],
        [two] => [before, *two],
        [] => [0, before],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use bytes::Bytes;

    /// What a reader makes of `wire` when it comes in pieces of `size` octets: content, whether a
    /// newline stood alone, and how many octets the message took (`None`: it has not ended).
    fn read(wire: &[u8], size: usize) -> (Vec<u8>, bool, Option<usize>) {
        let mut reader = Reader::new(1 << 20);
        let mut end = None;
        for (number, piece) in wire.chunks(size).enumerate() {
            if let Some(taken) = reader.read(piece) {
                end = Some(number * size + taken);
                break;
            }
        }
        let bare = reader.unfit() == Some(Unfit::BareNewline);
        (reader.into_body(), bare, end)
    }

    #[test]
    fn ends_at_crlf_dot_crlf_and_nothing_else() {
        // wire, content, a newline stood alone, where the message ended
        let cases: [(&str, &str, bool, Option<usize>); 31] = [
            (".\r\n", "", false, Some(3)),
            ("\r\n.\r\n", "\r\n", false, Some(5)),
            ("a\r\n.\r\n", "a\r\n", false, Some(6)),
            ("a\r\n.\r\nQUIT\r\n", "a\r\n", false, Some(6)),
            ("a\r\n", "a\r\n", false, None),
            ("a.\r\n", "a.\r\n", false, None),
            (".a\r\n.\r\n", "a\r\n", false, Some(7)),
            ("..\r\n.\r\n", ".\r\n", false, Some(7)),
            ("...\r\n.\r\n", "..\r\n", false, Some(8)),
            ("a\r\n..b\r\n.\r\n", "a\r\n.b\r\n", false, Some(11)),
            (". \r\n.\r\n", " \r\n", false, Some(7)),
            ("a\n.\n", "a\n.\n", true, None),
            ("a\n.\r\n.\r\n", "a\n.\r\n", true, Some(8)),
            ("a\n.\r\nMAIL\r\n.\r\n", "a\n.\r\nMAIL\r\n", true, Some(14)),
            ("a\r.\r", "a\r.\r", true, None),
            ("a\r.\r\n.\r\n", "a\r.\r\n", true, Some(8)),
            ("a\r\n.\n", "a\r\n\n", true, None),
            ("a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", true, Some(11)),
            ("a\r\n.\r", "a\r\n", false, None),
            ("a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", true, Some(11)),
            ("a\r\n.\r\r\n", "a\r\n\r\r\n", true, None),
            ("a\r\n.\r\r\n.\r\n", "a\r\n\r\r\n", true, Some(10)),
            ("a\r\r\n.\r\n", "a\r\r\n", true, Some(7)),
            ("a\r\r\n.\r\r\n.\r\n", "a\r\r\n\r\r\n", true, Some(11)),
            ("a\n\n.\r\n", "a\n\n.\r\n", true, None),
            ("a\n\r\n.\r\n", "a\n\r\n", true, Some(7)),
            ("a\n\r.\r\n", "a\n\r.\r\n", true, None),
            ("\n.\r\n", "\n.\r\n", true, None),
            ("\r.\r\n", "\r.\r\n", true, None),
            (".\r.\r\n.\r\n", "\r.\r\n", true, Some(8)),
            ("a\0b\r\n.\r\n", "a\0b\r\n", false, Some(8)),
        ];
        for (wire, content, bare, end) in cases {
            for size in 1..=wire.len() {
                let found = read(wire.as_bytes(), size);
                let expected = (content.as_bytes().to_vec(), bare, end);
                assert_eq!(found, expected, "{wire:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn normalised_newlines_end_nothing_and_lose_no_octet() {
        // wire, content, newlines that stood alone, where the message ended
        let cases: [(&str, &str, usize, Option<usize>); 22] = [
            ("a\r\n.\r\n", "a\r\n", 0, Some(6)),
            ("a\nb\rc\r\n.\r\n", "a\r\nb\r\nc\r\n", 2, Some(10)),
            ("a\n.\n", "a\r\n.\r\n", 2, None),
            ("a\n.\r\n.\r\n", "a\r\n.\r\n", 1, Some(8)),
            ("a\n..b\r\n.\r\n", "a\r\n..b\r\n", 1, Some(10)),
            ("a\r.b\r\n.\r\n", "a\r\n.b\r\n", 1, Some(9)),
            ("a\n.\r\nMAIL\r\n.\r\n", "a\r\n.\r\nMAIL\r\n", 1, Some(14)),
            ("a\r.\r", "a\r\n.\r", 1, None),
            ("a\r.\r\n.\r\n", "a\r\n.\r\n", 1, Some(8)),
            ("a\r\n.\n", "a\r\n\r\n", 1, None),
            ("a\r\n.\n.\r\n.\r\n", "a\r\n\r\n.\r\n", 1, Some(11)),
            ("a\r\n.\rb\r\n.\r\n", "a\r\n\r\nb\r\n", 1, Some(11)),
            ("a\r\n.\r\r\n", "a\r\n\r\n\r\n", 1, None),
            ("a\r\n.\r\r\n.\r\n", "a\r\n\r\n\r\n", 1, Some(10)),
            ("a\r\r\n.\r\n", "a\r\n\r\n", 1, Some(7)),
            ("a\n\r\n.\r\n", "a\r\n\r\n", 1, Some(7)),
            ("a\n\n.\r\n", "a\r\n\r\n.\r\n", 2, None),
            ("a\n\r.\r\n", "a\r\n\r\n.\r\n", 2, None),
            ("\n.\r\n", "\r\n.\r\n", 1, None),
            ("\r.\r\n", "\r\n.\r\n", 1, None),
            (".\r.\r\n.\r\n", "\r\n.\r\n", 1, Some(8)),
            ("\r\r\r", "\r\n\r\n\r", 2, None),
        ];
        for (wire, content, alone, end) in cases {
            for size in 1..=wire.len() {
                let mut reader = Reader::normalising(1 << 20);
                let mut found = None;
                for (number, piece) in wire.as_bytes().chunks(size).enumerate() {
                    found = found.or(reader.read(piece).map(|taken| number * size + taken));
                    if found.is_some() {
                        break;
                    }
                }
                let (fit, counted) = (reader.unfit().is_none(), reader.normalised());
                let body = String::from_utf8(reader.into_body()).unwrap();
                let expected = (content, alone, end, true);
                assert_eq!(
                    (body.as_str(), counted, found, fit),
                    expected,
                    "{wire:?} in pieces of {size}"
                );
            }
        }
    }

    /// Every CR and LF that stands alone as CRLF, found in another way.
    fn straightened(octets: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(octets.to_vec()).unwrap();
        let straight = text.replace("\r\n", "\n").replace('\r', "\n");
        straight.replace('\n', "\r\n").into_bytes()
    }

    #[test]
    fn whatever_is_normalised_ends_where_it_ended_and_goes_out_as_one_message() {
        const SIGNS: [u8; 4] = *b"\r\n.a";
        for number in 0..SIGNS.len().pow(8) {
            let mut wire: Vec<u8> = (0..8)
                .map(|place| SIGNS[number / SIGNS.len().pow(place) % SIGNS.len()])
                .collect();
            wire.extend_from_slice(b"\r\n.\r\n");
            let (mut strict, mut reader) = (Reader::new(99), Reader::normalising(99));
            let end = strict.read(&wire);
            assert_eq!(reader.read(&wire), end, "{wire:?}");
            let is_bare = strict.unfit() == Some(Unfit::BareNewline);
            assert_eq!((reader.normalised() > 0, reader.unfit()), (is_bare, None));
            assert!(reader.len() <= reader.growth(wire.len()));
            let body = reader.into_body();
            assert_eq!(body, straightened(strict.body()), "{wire:?}");
            let out = stuff(&Content {
                trace: Bytes::new(),
                bytes: body.clone().into(),
            });
            let mut hop = Reader::new(99);
            assert_eq!(hop.read(&out), Some(out.len()), "{wire:?}");
            assert_eq!((hop.unfit(), hop.into_body()), (None, body));
        }
    }

    #[test]
    fn the_limit_is_for_what_is_normalised() {
        for (limit, unfit) in [(9, Some(Unfit::TooLarge)), (10, None)] {
            let mut reader = Reader::normalising(limit);
            assert_eq!(reader.read(b"\n\n\n\n\r\n.\r\n"), Some(9));
            assert_eq!((reader.unfit(), reader.len()), (unfit, limit));
        }
    }

    #[test]
    fn long_lines_are_scanned_in_blocks() {
        for length in 0..100 {
            let line = "x".repeat(length);
            let (content, bare, end) = read(format!("{line}\r\n.\r\n").as_bytes(), 1000);
            assert_eq!(content, format!("{line}\r\n").as_bytes());
            assert_eq!((bare, end), (false, Some(length + 5)));
            assert!(read(format!("{line}\ny\r\n.\r\n").as_bytes(), 1000).1);
        }
    }

    #[test]
    fn keeps_no_more_than_the_limit_and_finds_the_end_all_the_same() {
        for (limit, too_large) in [(0, true), (5, true), (6, false), (7, false)] {
            let mut reader = Reader::new(limit);
            assert_eq!(reader.read(b"abcd\r\n.\r\n"), Some(9), "{limit}");
            assert_eq!(
                reader.unfit(),
                too_large.then_some(Unfit::TooLarge),
                "{limit}"
            );
            assert_eq!(
                reader.body(),
                b"abcd\r\n".get(..limit).unwrap_or(b"abcd\r\n")
            );
        }
    }

    #[test]
    fn what_is_discarded_ends_where_it_would_have_ended() {
        let mut reader = Reader::new(100);
        assert_eq!(reader.read(b"abcd\r\n.\r"), None);
        reader.discard();
        assert!(reader.is_empty());
        assert_eq!(reader.read(b"\r\n.\r\nQUIT"), Some(5));
    }

    #[test]
    fn chunks_are_content_to_the_last_octet() {
        for (wire, bare) in [
            ("", false),
            ("no newline at the end", false),
            ("a\r\n.\r\nb\r\n", false),
            ("..\r\n", false),
            ("a\nb", true),
            ("a\rb", true),
            ("a\r", true),
            ("a\r\r\n", true),
            ("\n", true),
            ("\r\n\n", true),
        ] {
            for size in 1..=wire.len().max(1) {
                let mut reader = Reader::new(1 << 20);
                for piece in wire.as_bytes().chunks(size) {
                    reader.read_chunk(piece);
                }
                reader.end_chunks();
                assert_eq!(
                    reader.unfit(),
                    bare.then_some(Unfit::BareNewline),
                    "{wire:?} by {size}"
                );
                assert_eq!(reader.into_body(), wire.as_bytes());
                let mut reader = Reader::normalising(1 << 20);
                for piece in wire.as_bytes().chunks(size) {
                    reader.read_chunk(piece);
                }
                reader.end_chunks();
                assert_eq!((reader.unfit(), reader.normalised() > 0), (None, bare));
                let mut again = Reader::new(1 << 20);
                again.read_chunk(reader.body());
                again.end_chunks();
                assert_eq!(again.unfit(), None, "{wire:?} by {size}");
            }
        }
    }

    fn content(trace: &str, bytes: &str) -> Content {
        Content {
            trace: Bytes::copy_from_slice(trace.as_bytes()),
            bytes: Bytes::copy_from_slice(bytes.as_bytes()),
        }
    }

    #[test]
    fn doubles_dots_and_ends_the_message() {
        for (trace, bytes, wire) in [
            ("", "", ".\r\n"),
            ("T: 1\r\n", "", "T: 1\r\n.\r\n"),
            ("T: 1\r\n", "a\r\n", "T: 1\r\na\r\n.\r\n"),
            ("", ".\r\n", "..\r\n.\r\n"),
            ("T: 1\r\n", ".\r\n", "T: 1\r\n..\r\n.\r\n"),
            ("", "..\r\n", "...\r\n.\r\n"),
            ("", "a\r\n.b\r\n.", "a\r\n..b\r\n..\r\n.\r\n"),
            ("", "a\r\n.\r\n.\r\n", "a\r\n..\r\n..\r\n.\r\n"),
            ("", "a.\r\nb.c\r\n", "a.\r\nb.c\r\n.\r\n"),
            ("", "no end", "no end\r\n.\r\n"),
            ("", "half\r", "half\r\r\n.\r\n"),
            ("a\r", "\n.b", "a\r\n..b\r\n.\r\n"),
            ("a", "\r\n.b\r\n", "a\r\n..b\r\n.\r\n"),
            ("", "\r\n.", "\r\n..\r\n.\r\n"),
        ] {
            let written = stuff(&content(trace, bytes));
            assert_eq!(
                String::from_utf8(written).unwrap(),
                wire,
                "{trace:?} {bytes:?}"
            );
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let alphabet = [".", "\r\n", "a", "..", ".\r\n", "\r\n.\r\n"];
        for number in 0..alphabet.len().pow(4) {
            let mut text: String = (0..4)
                .map(|place| alphabet[number / alphabet.len().pow(place) % alphabet.len()])
                .collect();
            text.push_str("\r\n");
            let wire = stuff(&content("", &text));
            let back = read(&wire, 3);
            assert_eq!(back, (text.into_bytes(), false, Some(wire.len())));
        }
    }
}
