//! The octets of an ICAP answer → its head, the HTTP heads in it, its body, its end (RFC 3507 §4.3, §4.4).
//!
//! Pure, and in any pieces. It keeps no body: what comes is handed on. The length of a line, the
//! number of fields and the size of a head are bounded; how long a body may be is the reader's to say.
//! Where heads end is seen from their blank line, since many services count wrong in `Encapsulated`;
//! a connection on which that happened is said to be out of step. Fails where it is no ICAP.

use bytes::{Buf, Bytes, BytesMut};

/// The longest line.
const LINE: usize = 16 * 1024;
/// The most lines of a head, or of a trailer.
const LINES: usize = 512;
/// The largest head.
const HEAD: usize = 64 * 1024;
/// The longest line that says how long a chunk is.
const SIZE_LINE: usize = 1024;

/// Why it cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Garbage(pub &'static str);

/// Header fields, in their order, their names in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first of this name, which is in lower case.
    pub fn value(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(it, _)| it == name)?;
        Some(value)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of_name = self.0.iter().filter(move |(it, _)| it == name);
        of_name.map(|(_, value)| value.as_str())
    }

    /// Whether a list under this name has the word.
    pub fn says(&self, name: &str, word: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .any(|it| it.trim().eq_ignore_ascii_case(word))
    }

    /// A line that is no field belongs to the one before it: services break
    /// `X-Violations-Found` into lines in more than one way.
    fn push(&mut self, line: &str) {
        let is_folded = line.starts_with([' ', '\t']);
        if !is_folded
            && let Some((name, value)) = line.split_once(':')
            && is_token(name.trim_end())
        {
            let name = name.trim_end().to_ascii_lowercase();
            self.0.push((name, value.trim().to_owned()));
            return;
        }
        if let Some((_, value)) = self.0.last_mut() {
            value.push('\n');
            value.push_str(line.trim());
        }
    }
}

fn is_token(name: &str) -> bool {
    let is_part = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&octet);
    !name.is_empty() && name.bytes().all(is_part)
}

/// A head: of ICAP, or of HTTP within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// None: it is the head of a request.
    pub status: Option<u16>,
    /// The words after it.
    pub reason: String,
    pub fields: Fields,
}

/// What has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Not enough yet.
    More,
    Icap(Head),
    Http(Head),
    Body(Bytes),
    /// The answer is complete.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Icap,
    Http,
    Size,
    Chunk(u64),
    AfterChunk,
    Trailer,
    Done,
}

/// One answer, as far as it was read.
#[derive(Debug)]
pub struct Answer {
    stage: Stage,
    /// Of the head that is being read, and how much of it there was.
    lines: Vec<String>,
    size: usize,
    /// How long each HTTP head is said to be.
    heads: Vec<Option<usize>>,
    has_body: bool,
    in_step: bool,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            stage: Stage::Icap,
            lines: Vec::new(),
            size: 0,
            heads: Vec::new(),
            has_body: false,
            in_step: true,
        }
    }
}

impl Answer {
    /// Whether it is known where it ended, so that another may follow it.
    pub const fn is_in_step(&self) -> bool {
        self.in_step
    }

    /// The next thing in `buffer`; what was read is taken out of it.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<Step, Garbage> {
        loop {
            match self.stage {
                Stage::Icap | Stage::Http => {
                    if !self.lines(buffer)? {
                        return Ok(Step::More);
                    }
                    return self.head();
                }
                Stage::Size => match line(buffer, SIZE_LINE)? {
                    None => return Ok(Step::More),
                    Some(line) => {
                        self.stage = match chunk_size(&line)? {
                            0 => Stage::Trailer,
                            size => Stage::Chunk(size),
                        };
                    }
                },
                Stage::Chunk(_) if buffer.is_empty() => return Ok(Step::More),
                Stage::Chunk(left) => return Ok(Step::Body(self.chunk(left, buffer))),
                Stage::AfterChunk => match line(buffer, SIZE_LINE)? {
                    None => return Ok(Step::More),
                    Some(line) if line.is_empty() => self.stage = Stage::Size,
                    Some(_) => return Err(Garbage("a chunk is longer than it says")),
                },
                Stage::Trailer => {
                    if !self.lines(buffer)? {
                        return Ok(Step::More);
                    }
                    self.stage = Stage::Done;
                }
                Stage::Done => return Ok(Step::End),
            }
        }
    }

    /// Reads lines up to the blank one; whether that has come.
    fn lines(&mut self, buffer: &mut BytesMut) -> Result<bool, Garbage> {
        loop {
            let before = buffer.len();
            let Some(line) = line(buffer, LINE)? else {
                return Ok(false);
            };
            self.size += before - buffer.len();
            if line.is_empty() {
                return Ok(true);
            }
            self.lines.push(line);
            if self.lines.len() > LINES || self.size > HEAD {
                return Err(Garbage("its head is too large"));
            }
        }
    }

    fn head(&mut self) -> Result<Step, Garbage> {
        let lines = std::mem::take(&mut self.lines);
        let size = std::mem::take(&mut self.size);
        let mut lines = lines.iter().map(String::as_str);
        let start = lines.next().ok_or(Garbage("its head is empty"))?;
        let mut fields = Fields::default();
        lines.for_each(|line| fields.push(line));
        if self.stage == Stage::Icap {
            let head = status_line(start, "ICAP/1.", fields);
            let head = head.ok_or(Garbage("its first line is no ICAP status"))?;
            self.plan(&head);
            self.stage = self.next();
            return Ok(Step::Icap(head));
        }
        let said = self.heads.pop().flatten();
        self.in_step &= said.is_none_or(|it| it == size);
        self.stage = self.next();
        http_head(start, fields)
            .map(Step::Http)
            .ok_or(Garbage("what it encapsulates is no HTTP"))
    }

    fn next(&self) -> Stage {
        match (self.heads.is_empty(), self.has_body) {
            (false, _) => Stage::Http,
            (true, true) => Stage::Size,
            (true, false) => Stage::Done,
        }
    }

    /// What is to come, by `Encapsulated` (RFC 3507 §4.4.1).
    fn plan(&mut self, head: &Head) {
        if matches!(head.status, Some(100 | 204)) {
            return;
        }
        let Some(sections) = head.fields.value("encapsulated").and_then(sections) else {
            self.in_step = false;
            return;
        };
        for pair in sections.windows(2) {
            if let [(_, from), (_, to)] = pair {
                self.heads.push(to.checked_sub(*from));
            }
        }
        // The first is taken first.
        self.heads.reverse();
        if let Some((last, _)) = sections.last() {
            match last.as_str() {
                "null-body" => {}
                name if name.ends_with("-hdr") => self.heads.insert(0, None),
                _ => self.has_body = true,
            }
        }
    }

    fn chunk(&mut self, left: u64, buffer: &mut BytesMut) -> Bytes {
        let here = usize::try_from(left).unwrap_or(usize::MAX);
        let here = here.min(buffer.len());
        self.stage = match left - here as u64 {
            0 => Stage::AfterChunk,
            left => Stage::Chunk(left),
        };
        buffer.split_to(here).freeze()
    }
}

/// `res-hdr=0, res-body=137`
fn sections(value: &str) -> Option<Vec<(String, usize)>> {
    const MOST: usize = 4;
    let section = |it: &str| {
        let (name, offset) = it.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        let is_known = name.ends_with("-hdr") || name.ends_with("-body");
        is_known.then_some((name, offset.trim().parse().ok()?))
    };
    let sections: Option<Vec<_>> = value.split(',').map(section).collect();
    let sections = sections?;
    let (_, heads) = sections.split_last()?;
    let are_heads = heads.iter().all(|(name, _)| name.ends_with("-hdr"));
    (sections.len() <= MOST && are_heads).then_some(sections)
}

/// A line without its end; a bare LF ends it too.
fn line(buffer: &mut BytesMut, longest: usize) -> Result<Option<String>, Garbage> {
    let Some(end) = buffer.iter().take(longest).position(|it| *it == b'\n') else {
        return match buffer.len() >= longest {
            true => Err(Garbage("a line is too long")),
            false => Ok(None),
        };
    };
    let line = buffer.split_to(end);
    buffer.advance(1);
    let line = line.strip_suffix(b"\r").unwrap_or(&line);
    Ok(Some(String::from_utf8_lossy(line).into_owned()))
}

fn chunk_size(line: &str) -> Result<u64, Garbage> {
    let digits = line.split(';').next().unwrap_or_default().trim();
    let is_number = digits.len() <= 15 && digits.bytes().all(|it| it.is_ascii_hexdigit());
    match is_number {
        true => u64::from_str_radix(digits, 16).ok(),
        false => None,
    }
    .ok_or(Garbage("a chunk does not say how long it is"))
}

/// `ICAP/1.0 204 No Content`
fn status_line(line: &str, version: &str, fields: Fields) -> Option<Head> {
    let rest = line.strip_prefix(version)?;
    let (_, rest) = rest.split_once(' ')?;
    let rest = rest.trim_start();
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let is_status = status.len() == 3 && status.bytes().all(|it| it.is_ascii_digit());
    let status = if is_status { status.parse().ok() } else { None };
    Some(Head {
        status: Some(status?),
        reason: reason.trim().to_owned(),
        fields,
    })
}

fn http_head(line: &str, fields: Fields) -> Option<Head> {
    if line.starts_with("HTTP/") {
        return status_line(line, "HTTP/", fields);
    }
    line.contains(" HTTP/").then(|| Head {
        status: None,
        reason: line.to_owned(),
        fields,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Everything that is in `octets`, given in pieces of this size, with bodies put together; and what is
    /// left after its end.
    fn read(octets: &[u8], piece: usize) -> (String, bool, usize) {
        let (mut answer, mut buffer) = (Answer::default(), BytesMut::new());
        let (mut told, mut body) = (Vec::new(), Vec::new());
        let mut pieces = octets.chunks(piece);
        let last = loop {
            match answer.read(&mut buffer) {
                Ok(Step::More) => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => break "more",
                },
                Ok(Step::Icap(head)) => told.push(format!("icap {}", head.status.unwrap())),
                Ok(Step::Http(head)) => {
                    told.push(
                        head.status
                            .map_or("request".into(), |it| format!("http {it}")),
                    );
                }
                Ok(Step::Body(octets)) => body.extend_from_slice(&octets),
                Ok(Step::End) => break "end",
                Err(Garbage(why)) => break why,
            }
        };
        if !body.is_empty() {
            told.push(format!("{:?}", String::from_utf8_lossy(&body)));
        }
        told.push(last.into());
        let left = buffer.len() + pieces.map(<[u8]>::len).sum::<usize>();
        let left = if last == "end" { left } else { 0 };
        (told.join(", "), answer.is_in_step(), left)
    }

    #[test]
    fn answers_in_any_pieces() {
        #[rustfmt::skip]
        let cases: &[(&str, &str, bool)] = &[
            ("ICAP/1.0 204 No Content\r\n\r\n", "icap 204, end", true),
            ("ICAP/1.0 204\n\n", "icap 204, end", true),
            ("ICAP/1.0 100 Continue\r\nX: y\r\n\r\n", "icap 100, end", true),
            ("ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
                "icap 200, http 200, \"abcde\", end", true),
            ("ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=7\r\n\r\nHTTP/1.1 403 No\r\n\r\n0\r\nTrailer: x\r\n\r\n",
                "icap 200, http 403, end", false),
            ("ICAP/1.0 200 OK\r\nEncapsulated: req-hdr=0, req-body=19\r\n\r\nPOST / HTTP/1.1\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                "icap 200, request, \"x\", end", true),
            ("ICAP/1.0 200 OK\r\nEncapsulated: req-hdr=0, res-hdr=18, null-body=37\r\n\r\nGET / HTTP/1.1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
                "icap 200, request, http 200, end", true),
            ("ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "icap 200, http 200, end", true),
            ("ICAP/1.0 200 OK\r\nEncapsulated: null-body=0\r\n\r\n", "icap 200, end", true),
            ("ICAP/1.0 200 OK\r\nEncapsulated: opt-body=0\r\n\r\n1\r\nx\r\n0\r\n\r\n", "icap 200, \"x\", end", true),
            ("ICAP/1.0 200 OK\r\n\r\n", "icap 200, end", false),
            ("ICAP/1.0 200 OK\r\nEncapsulated: whatever\r\n\r\n", "icap 200, end", false),
            ("ICAP/1.0 200 OK\r\nEncapsulated: res-body=0, res-hdr=5\r\n\r\n", "icap 200, end", false),
            ("ICAP/1.0 20", "more", true),
            ("ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n3\r\nab",
                "icap 200, http 200, \"ab\", more", true),
            ("HTTP/1.1 400 Bad Request\r\n\r\n", "its first line is no ICAP status", true),
            ("ICAP/1.0 2000 OK\r\n\r\n", "its first line is no ICAP status", true),
            ("ICAP/1.0 +20 OK\r\n\r\n", "its first line is no ICAP status", true),
            ("\r\n", "its head is empty", true),
            ("PONG\r\n\r\n", "its first line is no ICAP status", true),
            ("ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\nzz\r\n", "icap 200, a chunk does not say how long it is", true),
            ("ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\n\r\n", "icap 200, a chunk does not say how long it is", true),
            ("ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\nffffffffffffffff\r\n", "icap 200, a chunk does not say how long it is", true),
            ("ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\n1\r\nab\r\n", "icap 200, \"a\", a chunk is longer than it says", true),
            ("ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, null-body=4\r\n\r\nhm\r\n\r\n", "icap 200, what it encapsulates is no HTTP", false),
        ];
        for (text, told, in_step) in cases {
            for piece in [1, 2, 7, 4096] {
                let octets = text.as_bytes();
                assert_eq!(
                    read(octets, piece),
                    ((*told).to_owned(), *in_step, 0),
                    "{text:?} by {piece}"
                );
            }
        }
    }

    #[test]
    fn what_follows_an_answer_is_left() {
        let two = b"ICAP/1.0 204 No Content\r\n\r\nICAP/1.0 204 No Content\r\n\r\n";
        assert_eq!(read(two, 4096), ("icap 204, end".into(), true, 27));
    }

    #[test]
    fn heads_are_bounded() {
        let long_line = format!("ICAP/1.0 204 {}", "x".repeat(LINE));
        let many = format!("ICAP/1.0 204 x\r\n{}", "a: b\r\n".repeat(LINES + 1));
        let wide = format!(
            "ICAP/1.0 204 x\r\n{}",
            format!("a: {}\r\n", "y".repeat(8000)).repeat(9)
        );
        for (text, told) in [
            (long_line, "a line is too long"),
            (many, "its head is too large"),
            (wide, "its head is too large"),
        ] {
            assert_eq!(read(text.as_bytes(), 4096).0, told);
        }
    }

    #[test]
    fn fields_are_found_whatever_their_lines() {
        let mut fields = Fields::default();
        for line in [
            "X-Violations-Found: 1",
            "\teicar.com",
            "Eicar-Test-Signature",
            "0",
            "Connection: keep-alive, Close",
            "X-A : b",
        ] {
            fields.push(line);
        }
        assert_eq!(
            fields.value("x-violations-found"),
            Some("1\neicar.com\nEicar-Test-Signature\n0")
        );
        assert!(fields.says("connection", "close"));
        assert_eq!(fields.value("x-a"), Some("b"));
        assert_eq!(fields.value("x-b"), None);
    }
}
