//! What the header fields of a part say of it, to whichever reader.
//!
//! Readers take the first of two fields or the last, stop at a line that is no field or read on, and
//! overlook control characters or do not. So everything that is said counts. Cannot fail; where a
//! field is longer than is read, it says so.

use mail_parser::ContentType;
use mail_parser::parsers::MessageStream;

use super::super::{FIELD_OCTETS, Field, Fields, line_length};
use super::encoding::{self, Encoding};

/// Parameters of one field, names of one part, and fields of one kind, as many as anybody means.
const PARAMETERS: usize = 100;
const NAMES: usize = 20;
const FIELDS: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Head {
    kinds: Vec<ContentType<'static>>,
    dispositions: Vec<ContentType<'static>>,
    encodings: Vec<Encoding>,
    /// As they stand there and as they are meant, each once; not the empty ones.
    pub names: Vec<String>,
    /// Of a multipart, each once.
    pub boundaries: Vec<Vec<u8>>,
    /// Where the body may begin: after the empty line, and where some readers see it begin earlier.
    pub bodies: Vec<usize>,
    /// More was said than was read.
    pub is_cut: bool,
}

impl Head {
    pub fn read(bytes: &[u8]) -> Self {
        let mut head = Self::default();
        let mut early = None;
        let mut fields = Fields { bytes, at: 0 };
        for field in fields.by_ref() {
            match name_and_value(&field) {
                Some((name, value)) => head.note(&name, value),
                None => early = early.or(Some(field.at)),
            }
            early = early.or_else(|| after_blank_line(&field));
        }
        let rest = bytes.get(fields.at..).unwrap_or_default();
        let end = fields.at + line_length(rest);
        head.bodies = early.into_iter().chain([end]).collect();
        head
    }

    fn note(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"content-type" => {
                if let Some(read) = self.parsed(value, self.kinds.len()) {
                    self.note_kind(read, value);
                }
            }
            b"content-disposition" => {
                if let Some(read) = self.parsed(value, self.dispositions.len()) {
                    self.note_names(&read, "filename", value);
                    self.dispositions.push(read);
                }
            }
            b"content-transfer-encoding" => {
                let value = value.get(..FIELD_OCTETS).unwrap_or(value);
                for encoding in encoding::read(value) {
                    if !self.encodings.contains(&encoding) {
                        self.encodings.push(encoding);
                    }
                }
            }
            _ => {}
        }
    }

    /// The value of Content-Type, or of Content-Disposition, which is written the same way. The time it
    /// takes grows with the square of the parameters.
    fn parsed(&mut self, value: &[u8], known: usize) -> Option<ContentType<'static>> {
        let parameters = memchr::memchr_iter(b';', value).count();
        self.is_cut |= value.len() > FIELD_OCTETS || parameters > PARAMETERS || known >= FIELDS;
        if known >= FIELDS {
            return None;
        }
        let most = memchr::memchr_iter(b';', value).nth(PARAMETERS);
        let read = value.get(..most.unwrap_or(value.len())).unwrap_or(value);
        let read = read.get(..FIELD_OCTETS).unwrap_or(read);
        let ended = [read, b"\n"].concat();
        let parsed = MessageStream::new(&ended).parse_content_type();
        parsed.into_owned().into_content_type()
    }

    fn note_kind(&mut self, read: ContentType<'static>, value: &[u8]) {
        self.note_names(&read, "name", value);
        if read.ctype().eq_ignore_ascii_case("multipart") {
            let said = parameters(&read, "boundary").map(|it| it.as_bytes().to_vec());
            for boundary in said.chain(written(value, b"boundary")) {
                let trimmed = boundary.trim_ascii_end().to_vec();
                for boundary in [boundary, trimmed] {
                    self.note_boundary(boundary);
                }
            }
        }
        self.kinds.push(read);
    }

    fn note_boundary(&mut self, boundary: Vec<u8>) {
        if !boundary.is_empty() && !self.boundaries.contains(&boundary) {
            match self.boundaries.len() < NAMES {
                true => self.boundaries.push(boundary),
                false => self.is_cut = true,
            }
        }
    }

    fn note_names(&mut self, read: &ContentType<'_>, parameter: &str, value: &[u8]) {
        let said = parameters(read, parameter).map(str::to_owned);
        let written = written(value, parameter.as_bytes());
        let written = written.map(|it| String::from_utf8_lossy(&it).into_owned());
        for name in said.chain(written).collect::<Vec<_>>() {
            if !name.trim().is_empty() && !self.names.contains(&name) {
                match self.names.len() < NAMES {
                    true => self.names.push(name),
                    false => self.is_cut = true,
                }
            }
        }
    }

    /// At least one.
    pub fn encodings(&self) -> &[Encoding] {
        match self.encodings.as_slice() {
            [] => &[Encoding::Identity],
            encodings => encodings,
        }
    }

    /// Whether one of its types is this one; an empty subtype is any.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kinds.iter().any(|it| is(it, kind, subtype))
    }

    pub fn is_multipart(&self) -> bool {
        self.is("multipart", "")
    }

    /// Whether some reader sees nothing but a multipart.
    pub fn is_only_multipart(&self) -> bool {
        !self.kinds.is_empty() && self.kinds.iter().all(|it| is(it, "multipart", ""))
    }

    pub fn is_message(&self) -> bool {
        self.is("message", "rfc822") || self.is("message", "global") || self.has_message_name()
    }

    fn has_message_name(&self) -> bool {
        let ends = |it: &String| it.trim_end().to_ascii_lowercase().ends_with(".eml");
        self.names.iter().any(ends)
    }

    /// Without a type it is a text, but in a digest (RFC 2046 §5.1.5).
    pub fn has_type(&self) -> bool {
        !self.kinds.is_empty()
    }

    /// Whether somebody attached it, as far as the fields say.
    pub fn is_attachment(&self) -> bool {
        let is_text = |it| is(it, "text", "plain") || is(it, "text", "html");
        // A multipart may be read as a text only where another field says that it is one.
        let mut others = self.kinds.iter().filter(|it| !is(it, "multipart", ""));
        let is_said = self.dispositions.iter().any(ContentType::is_attachment);
        !others.all(is_text) || self.is_only_multipart() || is_said || !self.names.is_empty()
    }
}

fn is(it: &ContentType<'_>, kind: &str, subtype: &str) -> bool {
    it.ctype().trim().eq_ignore_ascii_case(kind)
        && (subtype.is_empty()
            || it
                .subtype()
                .is_some_and(|it| it.trim().eq_ignore_ascii_case(subtype)))
}

/// Name and value of a field, its name in lower case and without what some readers overlook in it.
fn name_and_value<'a>(field: &Field<'a>) -> Option<(Vec<u8>, &'a [u8])> {
    /// `content-transfer-encoding`, and as much again.
    const LONGEST: usize = 64;
    let line = field.whole.get(..line_length(field.whole))?;
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = field.whole.split_at_checked(colon)?;
    let is_plain = |it: &&u8| it.is_ascii_graphic();
    // All that are of use begin so. Of another one it matters only that it is one.
    let first = name.iter().find(is_plain)?;
    let longest = if first.eq_ignore_ascii_case(&b'c') {
        LONGEST
    } else {
        1
    };
    let plain = name.iter().filter(is_plain).take(longest);
    let plain: Vec<u8> = plain.map(u8::to_ascii_lowercase).collect();
    // With a space in the middle it is no field to most readers, and the end of the fields to some.
    let has_space = name.trim_ascii_end().contains(&b' ');
    let is_ours = plain.starts_with(b"content-");
    (!plain.is_empty() && (is_ours || !has_space)).then_some((plain, value.get(1..)?))
}

/// A line with nothing but blanks is the empty line to some readers.
fn after_blank_line(field: &Field<'_>) -> Option<usize> {
    let mut at = field.at;
    for line in field.whole.split_inclusive(|it| *it == b'\n') {
        at += line.len();
        if line.trim_ascii().is_empty() {
            return Some(at);
        }
    }
    None
}

fn parameters<'a>(read: &'a ContentType<'_>, name: &'a str) -> impl Iterator<Item = &'a str> {
    let all = read.attributes().unwrap_or_default().iter();
    let named = all.filter(move |it| it.name.trim().eq_ignore_ascii_case(name));
    named.map(|it| &*it.value)
}

/// What stands behind `name=`, whatever stands around it: as a quoted text, up to the next `;`, and up
/// to the next blank.
fn written<'a>(value: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = Vec<u8>> + 'a {
    let value = value.get(..FIELD_OCTETS).unwrap_or(value);
    let places = memchr::memchr_iter(b'=', value).take(PARAMETERS);
    let named = places.filter(move |at| {
        let before = value.get(..*at).unwrap_or_default().trim_ascii_end();
        let start = before.len().checked_sub(name.len());
        start
            .and_then(|start| before.get(start..))
            .is_some_and(|it| it.eq_ignore_ascii_case(name))
    });
    named.flat_map(move |at| {
        let after = value.get(at + 1..).unwrap_or_default().trim_ascii_start();
        let until = |end: fn(&u8) -> bool, text: &[u8]| {
            let length = text.iter().position(end).unwrap_or(text.len());
            text.get(..length).unwrap_or_default().to_vec()
        };
        match after.strip_prefix(b"\"") {
            Some(quoted) => vec![unfolded(&until(|it| *it == b'"', quoted))],
            None => vec![
                unfolded(until(|it| *it == b';', after).trim_ascii()),
                until(|it| it.is_ascii_whitespace() || *it == b';', after),
            ],
        }
    })
}

fn unfolded(text: &[u8]) -> Vec<u8> {
    let is_break = |it: &&u8| !matches!(it, b'\r' | b'\n');
    text.iter().filter(is_break).copied().collect()
}
