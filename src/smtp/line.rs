//! Finds the command lines in what a client sent.
//!
//! Decides where a line ends and whether it is too long (RFC 5321 §4.5.3.1.4, each extension's
//! allowance included); never looks at what it means. Memory is bounded: of a line that is too long
//! nothing but its verb is kept while its end is awaited. Pure, never fails.

use bytes::BytesMut;

use super::command::Verb;

/// A command line, CRLF included.
const LINE: usize = 512;
/// SIZE (RFC 1870 §3), BODY (RFC 6152 §2), SMTPUTF8 (RFC 6531 §3.1), RET and ENVID (RFC 3461 §4.3,
/// §4.4), BY (RFC 2852 §2), MT-PRIORITY (RFC 6710 §3), REQUIRETLS (RFC 8689 §2) and AUTH (RFC 4954 §3) lengthen MAIL.
const MAIL_LINE: usize = LINE + 26 + 17 + 10 + 9 + 107 + 17 + 15 + 12 + 500;
/// AUTH, and whatever is said to a mechanism (RFC 4954 §4).
const AUTH_LINE: usize = 12_288;
/// NOTIFY and ORCPT (RFC 3461 §4.1, §4.2) lengthen RCPT.
const RCPT_LINE: usize = LINE + 29 + 507;

/// What stands at the start of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Its end has not come yet.
    Incomplete,
    /// `text` octets, and `whole` with the line end.
    Complete {
        text: usize,
        whole: usize,
    },
    /// It ended in something else than CRLF.
    BareNewline {
        verb: Verb,
        whole: usize,
    },
    TooLong {
        verb: Verb,
        whole: usize,
    },
}

/// Finds lines one by one.
#[derive(Debug, Default)]
pub struct Lines {
    /// The verb of a line that is too long and has not ended yet.
    overlong: Option<Verb>,
}

impl Lines {
    /// Looks at the next line, which stays in `bytes` for the caller to take.
    pub fn find(&mut self, bytes: &mut BytesMut) -> Line {
        self.find_within(bytes, limit)
    }

    /// The same where it is no command, but said to a mechanism of AUTH.
    pub fn find_response(&mut self, bytes: &mut BytesMut) -> Line {
        self.find_within(bytes, |_| AUTH_LINE)
    }

    fn find_within(&mut self, bytes: &mut BytesMut, limit: fn(&[u8]) -> usize) -> Line {
        match bytes.iter().position(|octet| *octet == b'\n') {
            Some(at) => self.ended(bytes, at, limit),
            None => {
                if self.overlong.is_some() || bytes.len() > limit(bytes) {
                    self.overlong.get_or_insert_with(|| Verb::of(bytes));
                    bytes.clear();
                }
                Line::Incomplete
            }
        }
    }

    fn ended(&mut self, bytes: &[u8], newline: usize, limit: fn(&[u8]) -> usize) -> Line {
        let whole = newline + 1;
        if let Some(verb) = self.overlong.take() {
            return Line::TooLong { verb, whole };
        }
        let line = bytes.get(..newline).unwrap_or_default();
        let verb = Verb::of(line);
        match line.strip_suffix(b"\r") {
            _ if whole > limit(line) => Line::TooLong { verb, whole },
            Some(text) => Line::Complete {
                text: text.len(),
                whole,
            },
            None => Line::BareNewline { verb, whole },
        }
    }
}

fn limit(line: &[u8]) -> usize {
    match Verb::of(line) {
        Verb::Mail => MAIL_LINE,
        Verb::Rcpt => RCPT_LINE,
        Verb::Auth => AUTH_LINE,
        Verb::Data | Verb::Bdat | Verb::Other => LINE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Line {
        Lines::default().find(&mut BytesMut::from(text))
    }

    #[test]
    fn a_line_ends_at_crlf() {
        let complete = |text, whole| Line::Complete { text, whole };
        for (text, line) in [
            ("", Line::Incomplete),
            ("NOOP", Line::Incomplete),
            ("NOOP\r", Line::Incomplete),
            ("NOOP\r\n", complete(4, 6)),
            ("\r\n", complete(0, 2)),
            ("NOOP\r\nQUIT\r\n", complete(4, 6)),
            ("NO\rOP\r\n", complete(5, 7)),
            (
                "NOOP\nQUIT\r\n",
                Line::BareNewline {
                    verb: Verb::Other,
                    whole: 5,
                },
            ),
        ] {
            assert_eq!(found(text), line, "{text:?}");
        }
    }

    #[test]
    fn a_line_has_a_greatest_length() {
        for (verb, longest) in [
            ("NOOP", LINE),
            ("RCPT", RCPT_LINE),
            ("MAIL", MAIL_LINE),
            ("AUTH", AUTH_LINE),
        ] {
            let line = |octets: usize| format!("{verb} {}\r\n", "x".repeat(octets - 7));
            assert!(matches!(found(&line(longest)), Line::Complete { .. }));
            assert!(matches!(found(&line(longest + 1)), Line::TooLong { .. }));
        }
    }

    #[test]
    fn of_an_endless_line_only_the_verb_is_kept() {
        let mut lines = Lines::default();
        let mut bytes = BytesMut::from(&b"BDAT "[..]);
        for _ in 0..100 {
            bytes.extend_from_slice(&[b'1'; 600]);
            assert_eq!(lines.find(&mut bytes), Line::Incomplete);
            assert!(bytes.is_empty());
        }
        bytes.extend_from_slice(b"1\r\nNOOP\r\n");
        let too_long = Line::TooLong {
            verb: Verb::Bdat,
            whole: 3,
        };
        assert_eq!(lines.find(&mut bytes), too_long);
        bytes.clear();
        bytes.extend_from_slice(b"NOOP\r\n");
        assert!(matches!(lines.find(&mut bytes), Line::Complete { .. }));
    }
}
