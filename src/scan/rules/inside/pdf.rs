//! PDF files (ISO 32000-1): whether they are encrypted, and the files that are embedded in them.
//!
//! A PDF is not parsed, but searched: what encrypts it and what embeds a file stands in dictionaries
//! that are never packed themselves.

use super::octets::{contains, find, finds, piece, rest, wide};
use super::unpack::{Method, unpack};
use super::{Place, Walk, names};
use crate::mail::FileType;

/// A name is looked at so far, and a dictionary before or behind it.
const NAME: usize = 48;
const DICTIONARY: usize = 2048;

pub fn look(walk: &mut Walk<'_>, place: &Place, bytes: &[u8], kind: FileType) {
    if kind != FileType::Pdf && !contains(piece(bytes, 0, 1029), b"%PDF-") {
        return;
    }
    let mut ends = finds(bytes, b"endstream").peekable();
    for at in finds(bytes, b"/") {
        // The first letter of those names, or of any that is written otherwise.
        if !matches!(bytes.get(at + 1), Some(b'E' | b'F' | b'U' | b'#')) {
            continue;
        }
        let raw = raw_name(rest(bytes, at + 1));
        while ends.next_if(|end| *end < at).is_some() {}
        let end = ends.peek().copied().unwrap_or(bytes.len());
        match plain(raw).as_slice() {
            b"Encrypt" => walk.encrypted(place),
            b"EmbeddedFile" if !embedded(walk, place, bytes, at, end) => return,
            b"F" | b"UF" => named(walk, place, rest(bytes, at + 1 + raw.len())),
            _ => {}
        }
    }
}

/// Up to white space or a delimiter (§7.3.5).
fn raw_name(bytes: &[u8]) -> &[u8] {
    let bytes = piece(bytes, 0, NAME);
    let ends = |octet: &u8| {
        matches!(
            octet,
            0..=b' ' | b'(' | b')' | b'<' | b'>' | b'[' | b']' | b'{' | b'}' | b'/' | b'%'
        )
    };
    piece(bytes, 0, bytes.iter().position(ends).unwrap_or(NAME))
}

/// `#45ncrypt` is `Encrypt`.
fn plain(raw: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(octet) = raw.get(at) {
        let digits = std::str::from_utf8(piece(raw, at + 1, 2)).unwrap_or("");
        match (*octet, u8::from_str_radix(digits, 16)) {
            (b'#', Ok(octet)) if digits.len() == 2 => {
                plain.push(octet);
                at += 3;
            }
            (octet, _) => {
                plain.push(octet);
                at += 1;
            }
        }
    }
    plain
}

/// A file's name in a file specification (§7.11.3).
fn named(walk: &mut Walk<'_>, place: &Place, value: &[u8]) {
    let Some(text) = piece(value, 0, 512).trim_ascii_start().strip_prefix(b"(") else {
        return;
    };
    let text = piece(
        text,
        0,
        text.iter().position(|octet| *octet == b')').unwrap_or(0),
    );
    let name = match text {
        [0xfe, 0xff, rest @ ..] => {
            let turned: Vec<u8> = rest
                .chunks_exact(2)
                .flat_map(|pair| pair.iter().rev().copied())
                .collect();
            wide(&turned)
        }
        _ => String::from_utf8_lossy(text).into_owned(),
    };
    if names::runs(&name, None) {
        walk.listed(&place.of(&name));
    }
}

/// The stream behind the dictionary in which this stands, up to this end. `false`: there have been enough members.
fn embedded(walk: &mut Walk<'_>, place: &Place, bytes: &[u8], at: usize, end: usize) -> bool {
    let after = piece(bytes, at, DICTIONARY);
    let Some(stream) = find(after, b"stream") else {
        return true;
    };
    if find(after, b"endobj").is_some_and(|end| end < stream) {
        return true;
    }
    let before = piece(bytes, at.saturating_sub(DICTIONARY), at.min(DICTIONARY));
    let begin = memchr::memmem::rfind(before, b"obj").unwrap_or(0);
    let dictionary = [rest(before, begin), piece(after, 0, stream)].concat();
    let data = bytes
        .get(at + stream + b"stream".len()..end)
        .unwrap_or_default();
    let data = data.strip_prefix(b"\r").unwrap_or(data);
    let data = data.strip_prefix(b"\n").unwrap_or(data);
    let member = place.of("embedded file");
    let Some(method) = filter(&dictionary) else {
        walk.bound(&member, "is packed by a method that cannot be undone");
        return walk.listed(&member);
    };
    let unpacked = unpack(method, data, walk.budget);
    walk.member(&member, &unpacked)
}

fn filter(dictionary: &[u8]) -> Option<Method> {
    let filters: Vec<Vec<u8>> = finds(dictionary, b"/")
        .map(|at| plain(raw_name(rest(dictionary, at + 1))))
        .filter(|name| name.ends_with(b"Decode") || name.as_slice() == b"Fl")
        .collect();
    match filters.as_slice() {
        [] => Some(Method::Stored),
        [one] if one.starts_with(b"Fl") => Some(Method::Zlib),
        _ => None,
    }
}
