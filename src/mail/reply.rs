//! Everything that Ilbud ever says to a client, and what a next hop said to us.
//!
//! One table: each reply is a function named by its meaning, with the RFC section beside it. The
//! class digit of the enhanced code (RFC 3463) is computed from the basic code, so that the two
//! cannot disagree. Numbers stand here and in `delivery::outcome`, nowhere else. A fault of ours is
//! a 4xx, always.

use std::fmt;

use super::Reference;

/// One reply, on one or more lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// Subject and detail of the enhanced code, without the class (RFC 3463 §2): `(7, 1)`.
    /// `None` in greetings, EHLO and 354, which carry none (RFC 2034 §4).
    pub enhanced: Option<(u16, u16)>,
    /// Lines of text, the reference not among them.
    pub lines: Vec<String>,
    /// Said last on the last line (product.md, promise 8).
    pub reference: Option<Reference>,
}

impl Reply {
    pub const fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// `5.7.1`: class computed from the code.
    pub fn enhanced_code(&self) -> Option<String> {
        self.enhanced
            .map(|(subject, detail)| format!("{}.{subject}.{detail}", self.code / 100))
    }

    /// As bytes on the wire, each line at most 512 octets with its CRLF (RFC 5321 §4.5.3.1.5).
    pub fn wire(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// As one line of text, for the log: `550 5.7.1 … K7F3-2QXM-9A1B`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f;
        Ok(())
    }
}

/// What a next hop answered: its code, and its words with control characters made harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: u16,
    /// Enhanced code as the hop wrote it, if it did.
    pub enhanced: Option<String>,
    pub text: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        for part in self
            .enhanced
            .iter()
            .map(String::as_str)
            .chain([self.text.as_str()])
        {
            if !part.is_empty() {
                write!(f, " {part}")?;
            }
        }
        Ok(())
    }
}
