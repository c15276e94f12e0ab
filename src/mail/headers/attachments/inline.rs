//! Files within a text, as they were sent before MIME and still are: uuencode, yEnc, BinHex.
//!
//! Many readers show such a file as an attachment. Cannot fail: what is broken off is given as far as
//! it goes.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use super::line_length;

/// A file and the name that stands with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Enclosed {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// As many of them as wanted. Each octet of the text is in one of them at most.
pub(super) fn enclosed(text: &[u8], most: usize) -> Vec<Enclosed> {
    let mut found = Vec::new();
    let mut at = 0;
    // Where each mark stands next, so that the text is searched once for each of them.
    let mut places = MARKS.each_ref().map(|it| it.find(text, 0));
    while found.len() < most {
        for (place, mark) in places.iter_mut().zip(MARKS.iter()) {
            if place.is_some_and(|it| it < at) {
                *place = mark.find(text, at);
            }
        }
        let firsts = places.iter().zip(MARKS.iter());
        let firsts = firsts.filter_map(|(it, mark)| Some(((*it)?, mark.read)));
        let Some((start, read)) = firsts.min_by_key(|it| it.0) else {
            break;
        };
        let (file, length) = read(text.get(start..).unwrap_or_default());
        found.extend(file);
        at = start + length.max(1);
    }
    found
}

/// The file, if it is one, and how much of the text is done with.
type Read = fn(&[u8]) -> (Option<Enclosed>, usize);

/// How a line begins that may begin a file.
struct Mark {
    finder: Finder<'static>,
    read: Read,
}

/// Made once: to make them takes as long as to search a short text.
static MARKS: LazyLock<[Mark; 3]> = LazyLock::new(|| {
    let mark = |written: &'static str, read| Mark {
        finder: Finder::new(written),
        read,
    };
    [
        mark("begin", uuencoded),
        mark("=ybegin ", yencoded),
        mark("(This file must be converted with BinHex", binhexed),
    ]
});

impl Mark {
    fn find(&self, text: &[u8], from: usize) -> Option<usize> {
        let mut places = self.finder.find_iter(text.get(from..)?);
        places
            .find(|at| begins_line(text, from + at))
            .map(|at| from + at)
    }
}

/// A file that nothing ends, ends where the next one begins.
fn begins_another(line: &[u8]) -> bool {
    beginning(line).is_some() || line.starts_with(b"=ybegin ")
}

fn begins_line(text: &[u8], at: usize) -> bool {
    at.checked_sub(1)
        .is_none_or(|before| text.get(before) == Some(&b'\n'))
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (line, after) = rest.split_at_checked(line_length(rest))?;
        rest = after;
        (!line.is_empty()).then_some(line)
    })
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn name(written: &[u8]) -> String {
    String::from_utf8_lossy(written.trim_ascii()).into_owned()
}

/// `begin 644 name`, lines, `end` (POSIX uuencode), or `begin-base64 644 name`, lines, `====`.
fn uuencoded(text: &[u8]) -> (Option<Enclosed>, usize) {
    let first = text.get(..line_length(text)).unwrap_or_default();
    let Some((is_base64, written)) = beginning(first) else {
        return (None, first.len());
    };
    let mut bytes = Vec::new();
    let mut length = first.len();
    for line in lines(text.get(first.len()..).unwrap_or_default()) {
        if begins_another(line) {
            break;
        }
        length += line.len();
        let line = without_end(line);
        if line.trim_ascii_end() == b"end" || line.starts_with(b"====") {
            break;
        }
        match is_base64 {
            true => bytes.extend(super::encoding::base64_line(line)),
            false => uuencoded_line(line, &mut bytes),
        }
    }
    let name = name(written);
    (Some(Enclosed { name, bytes }), length)
}

/// Whether the lines are base64, and the name.
fn beginning(line: &[u8]) -> Option<(bool, &[u8])> {
    let rest = line.strip_prefix(b"begin")?;
    let (is_base64, rest) = match rest.strip_prefix(b"-base64") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.strip_prefix(b" ")?.trim_ascii_start();
    let mode = rest.iter().position(|it| !it.is_ascii_digit())?;
    let (mode, rest) = rest.split_at_checked(mode)?;
    let rest = rest.strip_prefix(b" ")?.trim_ascii();
    ((3..=6).contains(&mode.len()) && !rest.is_empty()).then_some((is_base64, rest))
}

fn uuencoded_line(line: &[u8], out: &mut Vec<u8>) {
    let sextet = |byte: Option<&u8>| byte.map_or(0, |it| u32::from(it.wrapping_sub(32) & 63));
    let Some((first, rest)) = line.split_first() else {
        return;
    };
    let length = sextet(Some(first)) as usize;
    let end = out.len() + length;
    for group in rest.chunks(4).take(length.div_ceil(3)) {
        let group = (0..4).fold(0, |all, at| all << 6 | sextet(group.get(at)));
        let [_, triple @ ..] = group.to_be_bytes();
        out.extend_from_slice(&triple);
    }
    out.truncate(end);
}

/// `=ybegin line=128 size=3 name=x`, lines, `=yend` (yEnc draft 1.3).
fn yencoded(text: &[u8]) -> (Option<Enclosed>, usize) {
    let first = text.get(..line_length(text)).unwrap_or_default();
    let at = memmem::find(first, b"name=").map_or(first.len(), |at| at + 5);
    let written = first.get(at..).unwrap_or_default();
    let mut bytes = Vec::new();
    let mut length = first.len();
    for line in lines(text.get(first.len()..).unwrap_or_default()) {
        if begins_another(line) {
            break;
        }
        length += line.len();
        if line.starts_with(b"=yend") {
            break;
        }
        if !line.starts_with(b"=ypart") {
            yencoded_line(without_end(line), &mut bytes);
        }
    }
    let name = name(written);
    (Some(Enclosed { name, bytes }), length)
}

fn yencoded_line(line: &[u8], out: &mut Vec<u8>) {
    let mut is_escaped = false;
    for byte in line {
        match byte {
            b'=' if !is_escaped => is_escaped = true,
            _ => {
                let shift = if is_escaped { 42 + 64 } else { 42 };
                out.push(byte.wrapping_sub(shift));
                is_escaped = false;
            }
        }
    }
}

/// RFC 1741, appendix A: between two colons.
fn binhexed(text: &[u8]) -> (Option<Enclosed>, usize) {
    let begin = memchr::memchr(b':', text).map_or(text.len(), |at| at + 1);
    let rest = text.get(begin..).unwrap_or_default();
    let length = memchr::memchr(b':', rest).unwrap_or(rest.len());
    let packed = binhex_octets(rest.get(..length).unwrap_or_default());
    let file = binhex_file(&unrolled(&packed, rest.len()));
    (file, begin + length)
}

fn binhex_octets(written: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] =
        b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr";
    let mut out = Vec::with_capacity(written.len());
    let (mut group, mut bits) = (0_u32, 0_u32);
    for byte in written {
        let Some(sextet) = memchr::memchr(*byte, ALPHABET) else {
            continue;
        };
        group = group << 6 | sextet as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((group >> bits) as u8);
        }
    }
    out
}

/// 0x90 and a number repeat the octet before. It grows no longer than `most`.
fn unrolled(packed: &[u8], most: usize) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(packed.len());
    let mut rest = packed;
    while let [byte, after @ ..] = rest
        && out.len() < most
    {
        rest = after;
        match (byte, after) {
            (0x90, [0, after @ ..]) => {
                out.push(0x90);
                rest = after;
            }
            (0x90, [times, after @ ..]) => {
                let last = out.last().copied().unwrap_or_default();
                out.extend(std::iter::repeat_n(last, usize::from(*times) - 1));
                rest = after;
            }
            _ => out.push(*byte),
        }
    }
    out
}

/// Name, then type, creator, flags, two lengths and a checksum, then the data fork.
fn binhex_file(bytes: &[u8]) -> Option<Enclosed> {
    const BETWEEN: usize = 1 + 4 + 4 + 2;
    let (length, rest) = bytes.split_first()?;
    let (written, rest) = rest.split_at_checked(usize::from(*length))?;
    let rest = rest.get(BETWEEN..)?;
    let (size, rest) = rest.split_first_chunk::<4>()?;
    let data = rest.get(4 + 2..)?;
    let size = u32::from_be_bytes(*size) as usize;
    Some(Enclosed {
        name: name(written),
        bytes: data.get(..size).unwrap_or(data).to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_files_within_a_text() {
        #[rustfmt::skip]
        let cases: [(&str, &[(&str, &str)]); 12] = [
            ("hei\r\n",                                                     &[]),
            ("begin at the beginning\r\nend\r\n",                           &[]),
            ("begin\r\n",                                                   &[]),
            ("x begin 644 a\r\n#:&5I\r\n`\r\nend\r\n",                      &[]),
            ("begin 644 a.txt\r\n#:&5I\r\n`\r\nend\r\n",                    &[("a.txt", "hei")]),
            ("hei\nbegin 0644  a b.exe \n#:&5I\n \nend\nbye",               &[("a b.exe", "hei")]),
            ("begin 644 a\r\n#:&5I",                                        &[("a", "hei")]),
            ("begin 644 a\r\n$:&5I(0\r\nend\r\n",                           &[("a", "hei!")]),
            ("begin 644 a\n#:&5I\nend\nbegin 644 b\n#:&5I\nend\n",          &[("a", "hei"), ("b", "hei")]),
            ("begin-base64 644 a\r\naGVpIQ==\r\n====\r\n",                  &[("a", "hei!")]),
            ("=ybegin line=128 size=3 name=a b\r\n\u{92}",                  &[("a b", "\u{98}h")]),
            ("=ybegin line=128 size=2 name=a\r\n=ypart begin=1 end=2\r\nKK=}\r\n=yend size=2\r\n", &[("a", "!!\u{13}")]),
        ];
        for (text, expected) in cases {
            let found = enclosed(text.as_bytes(), 10);
            let found: Vec<(String, String)> = found
                .into_iter()
                .map(|it| (it.name, it.bytes.iter().map(|it| *it as char).collect()))
                .collect();
            let expected: Vec<(String, String)> = expected
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect();
            assert_eq!(found, expected, "{text:?}");
        }
        let two = "begin 644 a\n#:&5I\nend\n".repeat(2);
        assert_eq!(enclosed(two.as_bytes(), 1).len(), 1);
    }
}
