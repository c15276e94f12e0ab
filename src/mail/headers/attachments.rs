//! The attachments of a message: names, sizes and digests, for the log.
//!
//! MIME is taken apart here by one walk over the lines, and the depth and number of parts are
//! limited, so that a message built to wear its reader out costs no more than another of its size. A
//! digest is of the file as it was attached: transfer encoding undone, character set untouched.

use std::borrow::Cow;
use std::fmt::Write as _;

use mail_parser::ContentType;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;
use sha2::{Digest, Sha256};

use super::{FIELD_OCTETS, Fields, line_length, shortened, starts_with_word};
use crate::mail::Attachment;

/// Multiparts within multiparts, messages within messages.
const DEPTH: usize = 8;
const PARTS: usize = 1000;

pub fn attachments(message: &[u8]) -> Vec<Attachment> {
    let mut walk = Walk {
        found: Vec::new(),
        parts: 0,
    };
    walk.entity(message, DEPTH);
    walk.found
}

#[derive(Debug)]
struct Walk {
    found: Vec<Attachment>,
    parts: usize,
}

impl Walk {
    /// A message, or a part of one: header fields, an empty line, a body (RFC 2045 §2.4).
    fn entity(&mut self, bytes: &[u8], depth: usize) {
        self.parts += 1;
        if self.parts > PARTS {
            return;
        }
        let entity = Entity::read(bytes);
        if let Some(boundary) = entity.boundary() {
            if depth > 0 {
                for part in parts(entity.body, boundary.as_bytes()) {
                    self.entity(part, depth - 1);
                }
            }
            return;
        }
        if entity.is_attachment() {
            self.found.push(entity.attachment());
        }
        if entity.is_message() && depth > 0 {
            self.entity(entity.body, depth - 1);
        }
    }
}

#[derive(Debug)]
struct Entity<'a> {
    kind: Option<ContentType<'a>>,
    disposition: Option<ContentType<'a>>,
    encoding: &'a [u8],
    body: &'a [u8],
}

impl<'a> Entity<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let mut fields = Fields { bytes, at: 0 };
        let (mut kind, mut disposition, mut encoding) = (None, None, None);
        for (name, value) in fields.by_ref().filter_map(|field| field.parts()) {
            if name.eq_ignore_ascii_case(b"content-type") {
                kind = kind.or_else(|| content_type(value));
            } else if name.eq_ignore_ascii_case(b"content-disposition") {
                disposition = disposition.or_else(|| content_type(value));
            } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
                encoding = encoding.or(Some(value));
            }
        }
        let rest = bytes.get(fields.at..).unwrap_or_default();
        Self {
            kind,
            disposition,
            encoding: encoding.unwrap_or_default(),
            body: rest.get(line_length(rest)..).unwrap_or_default(),
        }
    }

    fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.as_ref().is_some_and(|it| {
            it.ctype().eq_ignore_ascii_case(kind)
                && (subtype.is_empty()
                    || it
                        .subtype()
                        .is_some_and(|it| it.eq_ignore_ascii_case(subtype)))
        })
    }

    fn boundary(&self) -> Option<&str> {
        let boundary = self.kind.as_ref()?.attribute("boundary")?;
        (self.is("multipart", "") && !boundary.is_empty()).then_some(boundary)
    }

    fn is_message(&self) -> bool {
        self.is("message", "rfc822") || self.is("message", "global")
    }

    fn is_attachment(&self) -> bool {
        let is_text = self.kind.is_none() || self.is("text", "plain") || self.is("text", "html");
        let is_said = self
            .disposition
            .as_ref()
            .is_some_and(ContentType::is_attachment);
        !is_text || is_said || self.name().is_some()
    }

    fn name(&self) -> Option<&str> {
        let filename = self
            .disposition
            .as_ref()
            .and_then(|it| it.attribute("filename"));
        filename.or_else(|| self.kind.as_ref().and_then(|it| it.attribute("name")))
    }

    fn attachment(&self) -> Attachment {
        let file = self.file();
        let unnamed = if self.is_message() {
            "message.eml"
        } else {
            "unnamed"
        };
        Attachment {
            name: self
                .name()
                .and_then(shortened)
                .unwrap_or_else(|| unnamed.to_owned()),
            size: file.len() as u64,
            sha256: hex(&Sha256::digest(&file)),
        }
    }

    /// RFC 2045 §6: the body as it was before it was encoded.
    fn file(&self) -> Cow<'a, [u8]> {
        let decoded = if starts_with_word(self.encoding, b"base64") {
            base64_decode(self.body)
        } else if starts_with_word(self.encoding, b"quoted-printable") {
            quoted_printable_decode(self.body)
        } else {
            None
        };
        decoded.map_or(Cow::Borrowed(self.body), Cow::Owned)
    }
}

/// The value of Content-Type, or of Content-Disposition, which is written the same way.
fn content_type(value: &[u8]) -> Option<ContentType<'static>> {
    let read = value.get(..FIELD_OCTETS).unwrap_or(value);
    let ended = [read, b"\n"].concat();
    let parsed = MessageStream::new(&ended).parse_content_type();
    parsed.into_owned().into_content_type()
}

/// RFC 2046 §5.1.1: what stands between the boundary lines. The line end before a boundary is its.
fn parts<'a>(body: &'a [u8], boundary: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut at = 0;
    let mut begin = None;
    std::iter::from_fn(move || {
        while let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) {
            let line = rest.get(..line_length(rest))?;
            let before = at;
            at += line.len();
            let Some(is_last) = boundary_line(line, boundary) else {
                continue;
            };
            let part = begin.and_then(|begin| body.get(begin..before));
            begin = (!is_last).then_some(at);
            if part.is_some() {
                return part.map(without_line_end);
            }
        }
        // A last part that nothing ends: cut off on the way, and still a part.
        let part = begin.take().and_then(|begin| body.get(begin..))?;
        (!part.trim_ascii().is_empty()).then_some(part)
    })
}

/// Whether this boundary line is the last one; `None` where the line is none.
fn boundary_line(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let after = line
        .strip_prefix(b"--")?
        .strip_prefix(boundary)?
        .trim_ascii();
    match after {
        b"" => Some(false),
        b"--" => Some(true),
        _ => None,
    }
}

fn without_line_end(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(
        String::with_capacity(octets.len() * 2),
        |mut text, octet| {
            let _ = write!(text, "{octet:02x}");
            text
        },
    )
}
