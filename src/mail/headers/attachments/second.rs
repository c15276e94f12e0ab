//! How `mail-parser` reads a message: the second opinion beside our own walk.
//!
//! It takes boundaries where ours sees none, in the middle of a line and as the beginning of a longer
//! one, and splits header fields differently. Its work may grow with the square of a message built for
//! that, and its memory with a multiple, so such a message is not given to it, and that is said.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mail_parser::{Header, HeaderName, Message, MessageParser, PartType};
use memchr::memchr2_iter;

use super::super::{FIELD_OCTETS, Fields, line_length};

/// Octets that it may have to look at.
const WORK: usize = 1 << 30;
/// Multiparts and messages, within each other or not.
const LAYERS: usize = 500;
/// Lines, or pieces of them, that may be a boundary.
const BOUNDARIES: usize = 100_000;
/// Parameters of one field.
const PARAMETERS: usize = 100;
/// Octets that are searched for the beginning of a word in one go.
const PIECE: usize = 128;

/// Header fields and body of a part, as places in the message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub head: Range<usize>,
    pub body: Range<usize>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opinion {
    /// There is nothing to take apart.
    Same,
    Parts(Vec<Place>),
    /// It was not asked, or has given up.
    None,
}

pub(super) fn opinion(message: &[u8]) -> Opinion {
    let multiparts = places_of(message, b"multipart").count();
    let layers = multiparts + places_of(message, b"message/").count();
    if layers == 0 {
        return Opinion::Same;
    }
    if layers > LAYERS || multiparts.saturating_mul(message.len()) > WORK || is_laborious(message) {
        return Opinion::None;
    }
    let parser = MessageParser::new()
        .header_content_type(HeaderName::ContentType)
        .header_content_type(HeaderName::ContentDisposition)
        .default_header_ignore();
    // It promises not to panic. A message is not lost if it does.
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        let mut places = Vec::new();
        if let Some(read) = parser.parse(message) {
            collect(&read, &mut places);
        }
        places
    }));
    parsed.map_or(Opinion::None, Opinion::Parts)
}

/// Transfer encodings were hidden from it, so that all places are in the one message.
fn collect(message: &Message<'_>, places: &mut Vec<Place>) {
    for part in &message.parts {
        if !matches!(part.body, PartType::Multipart(_)) {
            places.push(Place {
                head: part.offset_header as usize..part.offset_body as usize,
                body: part.offset_body as usize..part.offset_end as usize,
            });
        }
        if let PartType::Message(nested) = &part.body {
            collect(nested, places);
        }
    }
}

/// Where a word in lower case stands, in any case.
fn places_of<'a>(message: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let first = word.first().copied().unwrap_or_default();
    let pieces = (0..message.len()).step_by(PIECE);
    let places = pieces
        .filter(move |start| may_begin(message, *start, word))
        .flat_map(move |start| {
            let rest = message.get(start..).unwrap_or_default();
            let piece = rest.get(..PIECE).unwrap_or(rest);
            memchr2_iter(first, first.to_ascii_uppercase(), piece).map(move |at| start + at)
        });
    places.filter(move |at| {
        message
            .get(*at..at + word.len())
            .is_some_and(|it| it.eq_ignore_ascii_case(word))
    })
}

/// Whether the first three letters of a word may stand in a piece of the message. Base64 has each letter
/// every few octets: no octet is looked at by itself, so that many are in one step.
fn may_begin(message: &[u8], start: usize, word: &[u8]) -> bool {
    let &[first, second, third, ..] = word else {
        return true;
    };
    let piece = |from: usize| {
        let rest = message.get(start + from..).unwrap_or_default();
        rest.get(..PIECE).unwrap_or(rest)
    };
    let is = |octet: &u8, letter: u8| (octet | 0x20) == letter;
    let octets = piece(0).iter().zip(piece(1)).zip(piece(2));
    octets.fold(false, |found, ((a, b), c)| {
        found | (is(a, first) & is(b, second) & is(c, third))
    })
}

fn is_laborious(message: &[u8]) -> bool {
    has_too_many_fields(message)
        || has_monstrous_field(message)
        || may_have_too_many_boundaries(message)
}

/// Each line with a colon may become a field in its memory.
fn has_too_many_fields(message: &[u8]) -> bool {
    const MEMORY: usize = 64 << 20;
    let most = (MEMORY + 4 * message.len()) / size_of::<Header<'_>>();
    let (mut fields, mut line) = (0, 0);
    for colon in memchr::memchr_iter(b':', message) {
        if colon >= line {
            fields += 1;
            let rest = message.get(colon..).unwrap_or_default();
            line = colon + line_length(rest);
        }
    }
    fields > most
}

/// A field whose parameters are so many that sorting them out takes long.
fn has_monstrous_field(message: &[u8]) -> bool {
    let mut after = 0;
    for at in places_of(message, b"content-") {
        let rest = message.get(at..).unwrap_or_default();
        if at < after || !is_parsed(rest) {
            continue;
        }
        let Some(field) = (Fields { bytes: rest, at: 0 }).next() else {
            continue;
        };
        after = at + field.whole.len();
        let parameters = memchr::memchr_iter(b';', field.whole).count();
        if field.whole.len() > FIELD_OCTETS || parameters > PARAMETERS {
            return true;
        }
    }
    false
}

fn is_parsed(field: &[u8]) -> bool {
    let names: [&[u8]; 2] = [b"content-type", b"content-disposition"];
    names.into_iter().any(|name| {
        let start = field.get(..name.len());
        let after = field.get(name.len()..).unwrap_or_default();
        let end = after.iter().find(|it| !it.is_ascii_whitespace());
        start.is_some_and(|it| it.eq_ignore_ascii_case(name)) && end == Some(&b':')
    })
}

/// Two dashes, and then an octet that some boundary in the message has.
fn may_have_too_many_boundaries(message: &[u8]) -> bool {
    let Some(octets) = boundary_octets(message) else {
        return true;
    };
    let is_one = |at: &usize| {
        let before = at.checked_sub(1).and_then(|at| message.get(at));
        let next = message.get(at + 1).copied().map(usize::from);
        before == Some(&b'-') && next.and_then(|it| octets.get(it)).copied() == Some(true)
    };
    let dashes = memchr::memchr_iter(b'-', message);
    dashes.filter(is_one).nth(BOUNDARIES).is_some()
}

/// The octets that boundaries have in them but dashes. `None`: there is one with nothing but dashes.
fn boundary_octets(message: &[u8]) -> Option<[bool; 256]> {
    const LONGEST: usize = 256;
    let mut octets = [false; 256];
    for at in places_of(message, b"boundary") {
        let rest = message.get(at + b"boundary".len()..).unwrap_or_default();
        let rest = rest.get(..LONGEST).unwrap_or(rest);
        let is_around = |it: &u8| it.is_ascii_whitespace() || b"=*\"'".contains(it);
        let begin = rest.iter().position(|it| !is_around(it)).unwrap_or(0);
        let value = rest.get(begin..).unwrap_or_default();
        let end = value.iter().position(|it| b";\r\n".contains(it));
        let value = value.get(..end.unwrap_or(value.len())).unwrap_or_default();
        let value = value.trim_ascii();
        let value = value.strip_suffix(b"\"").unwrap_or(value);
        if !value.is_empty() && value.iter().all(|it| *it == b'-') {
            return None;
        }
        for octet in value.iter().filter(|it| **it != b'-') {
            if let Some(known) = octets.get_mut(usize::from(*octet)) {
                *known = true;
            }
        }
    }
    Some(octets)
}
