//! A hop's bytes to its answers: strict, incremental, and never losing a pipelined one.
//!
//! Pure. Takes bytes however they were split and gives complete replies in order (RFC 5321 §4.2).
//! Fails with words when the bytes are no SMTP reply; after that the conversation is over.

use bytes::{Buf, BytesMut};

use crate::mail::Answer;
use crate::mail::reply::is_harmful;

/// The longest line that is still taken for SMTP; RFC 5321 §4.5.3.1.5 allows 512 octets.
const LINE: usize = 4 * 1024;
/// The longest reply.
const WHOLE: usize = 64 * 1024;
/// How much of a hop's words is kept for the log.
const KEPT: usize = 1000;

/// What has been read of a hop's replies.
#[derive(Debug, Default)]
pub struct Answers {
    unread: BytesMut,
    /// How far `unread` has been searched for the end of a line.
    searched: usize,
    partial: Partial,
}

/// The lines so far of a reply that is not complete.
#[derive(Debug, Default)]
struct Partial {
    code: Option<u16>,
    lines: Vec<String>,
    octets: usize,
}

/// One complete reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    pub code: u16,
    /// Without code and line ends.
    pub lines: Vec<String>,
}

/// Why the bytes are no reply.
pub type Nonsense = String;

impl Answers {
    /// Where newly read bytes go.
    pub fn unread(&mut self) -> &mut BytesMut {
        &mut self.unread
    }

    /// Whether nothing was sent beyond the replies already taken.
    pub fn is_empty(&self) -> bool {
        self.unread.is_empty() && self.partial.code.is_none()
    }

    /// The next complete reply; `None` when more bytes are needed.
    pub fn complete(&mut self) -> Result<Option<Spoken>, Nonsense> {
        while let Some(line) = self.next_line()? {
            if self.partial.take(&line)? {
                let partial = std::mem::take(&mut self.partial);
                return Ok(partial.code.map(|code| Spoken {
                    code,
                    lines: partial.lines,
                }));
            }
        }
        Ok(None)
    }

    fn next_line(&mut self) -> Result<Option<BytesMut>, Nonsense> {
        let fresh = self.unread.get(self.searched..).unwrap_or_default();
        let Some(place) = fresh.iter().position(|&octet| octet == b'\n') else {
            self.searched = self.unread.len();
            return if self.searched > LINE {
                Err(format!("a line of more than {LINE} octets"))
            } else {
                Ok(None)
            };
        };
        let mut line = self.unread.split_to(self.searched + place);
        self.unread.advance(1);
        self.searched = 0;
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        if line.len() > LINE {
            return Err(format!("a line of more than {LINE} octets"));
        }
        Ok(Some(line))
    }
}

impl Partial {
    /// Takes one line; `true` when it was the last of its reply.
    fn take(&mut self, line: &[u8]) -> Result<bool, Nonsense> {
        self.octets += line.len();
        if self.octets > WHOLE {
            return Err(format!("a reply of more than {WHOLE} octets"));
        }
        let (code, last, text) = dissect(line).ok_or_else(|| format!("{:?}", shown(line)))?;
        if *self.code.get_or_insert(code) != code {
            return Err("the codes of one reply differ".into());
        }
        self.lines.push(String::from_utf8_lossy(text).into_owned());
        Ok(last)
    }
}

/// RFC 5321 §4.2: three digits, then a hyphen, a space or the end of the line.
fn dissect(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let &[b'2'..=b'5', _, _] = digits else {
        return None;
    };
    let code = std::str::from_utf8(digits)
        .ok()
        .filter(|digits| digits.bytes().all(|d| d.is_ascii_digit()))?
        .parse()
        .ok()?;
    match rest {
        [] => Some((code, true, rest)),
        [b' ', text @ ..] => Some((code, true, text)),
        [b'-', text @ ..] => Some((code, false, text)),
        _ => None,
    }
}

fn shown(line: &[u8]) -> String {
    harmless(&String::from_utf8_lossy(line), 80)
}

/// At most `length` characters, none of which moves a cursor or turns the writing direction.
fn harmless(text: &str, length: usize) -> String {
    text.chars()
        .take(length)
        .map(|c| if is_harmful(c) { '\u{fffd}' } else { c })
        .collect()
}

impl Spoken {
    /// The reply as it is remembered: one line, harmless, the enhanced code apart.
    pub fn into_answer(mut self) -> Answer {
        let enhanced = self.lines.first().and_then(|line| enhanced_code(line));
        if let Some(code) = &enhanced {
            for line in &mut self.lines {
                if let Some(rest) = line.strip_prefix(code.as_str()) {
                    *line = rest.trim_start().to_owned();
                }
            }
        }
        Answer {
            code: self.code,
            enhanced,
            text: harmless(self.lines.join(" ").trim_end(), KEPT),
        }
    }
}

/// RFC 2034 §4: `class.subject.detail` as the first word.
fn enhanced_code(line: &str) -> Option<String> {
    let word = line.split_ascii_whitespace().next()?;
    let starts =
        line.starts_with(word) && matches!(word.as_bytes(), [b'2' | b'4' | b'5', b'.', ..]);
    let numbers =
        |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|d| d.is_ascii_digit());
    let parts = word.split('.');
    (starts && parts.clone().count() == 3 && parts.clone().all(numbers)).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(bytes: &[u8], step: usize) -> Result<Vec<String>, Nonsense> {
        let mut answers = Answers::default();
        let mut given = Vec::new();
        for piece in bytes.chunks(step) {
            answers.unread().extend_from_slice(piece);
            while let Some(spoken) = answers.complete()? {
                given.push(spoken.into_answer().to_string());
            }
        }
        Ok(given)
    }

    #[test]
    fn replies_are_the_same_however_they_are_split() {
        for (bytes, expected) in [
            (&b"250 ok\r\n"[..], &["250 ok"][..]),
            (b"250\r\n", &["250"]),
            (b"250 \r\n", &["250"]),
            (b"250 ok\n", &["250 ok"]),
            (b"250-a\r\n250-b\r\n250 c\r\n", &["250 a b c"]),
            (b"250-2.1.0 a\r\n250 2.1.0 b\r\n", &["250 2.1.0 a b"]),
            (
                b"250 2.1.0 a\r\n550 5.1.1 b\r\n354 go\r\n",
                &["250 2.1.0 a", "550 5.1.1 b", "354 go"],
            ),
            (b"550 5.7.1\r\n", &["550 5.7.1"]),
            (b"550 5.7.1234 no\r\n", &["550 5.7.1234 no"]),
            (b"550 \x1b[31mred\x07\r\n", &["550 \u{fffd}[31mred\u{fffd}"]),
            (b"550 \xff\r\n", &["550 \u{fffd}"]),
            (
                "250 bl\u{e5}b\u{e6}r\r\n".as_bytes(),
                &["250 bl\u{e5}b\u{e6}r"],
            ),
            (b"250 unfinished", &[]),
            (b"250-unfinished\r\n", &[]),
        ] {
            for step in [1, 2, 3, 7, bytes.len()] {
                let given = read(bytes, step).unwrap();
                assert_eq!(given, expected, "{:?} by {step}", shown(bytes));
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_nonsense() {
        for bytes in [
            &b"hello\r\n"[..],
            b"\r\n",
            b"25\r\n",
            b"2x0 ok\r\n",
            b"199 ok\r\n",
            b"600 ok\r\n",
            b"250_ok\r\n",
            b"2500 ok\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\x16\x03\x01\x02\x00\x01\n",
            b"250-a\r\n550 b\r\n",
            b"250-a\r\nb\r\n",
        ] {
            for step in [1, bytes.len()] {
                assert!(read(bytes, step).is_err(), "{:?}", shown(bytes));
            }
        }
    }

    #[test]
    fn endless_replies_end() {
        let line = [b"250 ".as_slice(), &[b'x'; LINE]].concat();
        assert!(read(&line, 512).is_err(), "a line that never ends");
        let many = b"250-more\r\n".repeat(WHOLE / 8 + 1);
        assert!(read(&many, 512).is_err(), "a reply that never ends");
    }

    #[test]
    fn what_follows_a_reply_is_seen() {
        let mut answers = Answers::default();
        answers
            .unread()
            .extend_from_slice(b"220 go\r\n250 injected\r\n");
        assert_eq!(answers.complete().unwrap().unwrap().code, 220);
        assert!(!answers.is_empty());
    }
}
