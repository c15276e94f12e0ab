//! Tar archives: the old form, ustar, GNU's long names and pax's records (POSIX.1-2017, pax).

use super::octets::{far, narrow, piece, rest};
use super::unpack::{End, stored};
use super::{Place, Walk};

const BLOCK: usize = 512;

pub fn look(walk: &mut Walk<'_>, place: &Place, bytes: &[u8]) {
    let mut at = 0;
    let mut named: Option<String> = None;
    let mut sized: Option<u64> = None;
    loop {
        let header = piece(bytes, at, BLOCK);
        if header.len() < BLOCK {
            // Some writers leave out the two empty blocks at the end.
            if !header.is_empty() {
                walk.bound(place, "is a broken tar archive: it ends too early");
            }
            return;
        }
        if header.iter().all(|octet| *octet == 0) {
            // More may follow: archives are put one behind the other.
            match next_header(bytes, at) {
                Some(next) => at = next,
                None => return,
            }
            continue;
        }
        if !is_sound(header) {
            walk.bound(place, "is a broken tar archive: a header makes no sense");
            return;
        }
        let kind = header.get(156).copied().unwrap_or(0);
        let Some(size) = number(piece(header, 124, 12)) else {
            walk.bound(place, "is a broken tar archive: a size makes no sense");
            return;
        };
        let is_header = matches!(kind, b'x' | b'g' | b'X' | b'L' | b'K');
        let size = match is_header {
            true => size,
            false => sized.take().unwrap_or(size),
        };
        // Links and folders have a size, and no content.
        let length = match kind {
            b'1'..=b'6' => 0,
            _ => far(size),
        };
        let content = piece(bytes, at + BLOCK, length);
        match kind {
            b'L' => named = Some(narrow(content)),
            b'x' | b'X' => {
                named = pax(content, b"path").map(|it| String::from_utf8_lossy(it).into_owned());
                sized = pax(content, b"size").and_then(decimal);
            }
            b'K' | b'g' => {}
            _ => {
                let own = own_name(header);
                let name = named.take().unwrap_or_else(|| own.clone());
                if name != own && !walk.listed(&place.of(&own)) {
                    return;
                }
                let mut unpacked = stored(content, walk.budget);
                if content.len() < length {
                    unpacked.end = End::Broken;
                }
                let member = place.of(&name);
                let more = match length {
                    0 => walk.listed(&member),
                    _ => walk.member(&member, &unpacked),
                };
                if !more {
                    return;
                }
            }
        }
        at = (at + BLOCK).saturating_add(length.div_ceil(BLOCK).saturating_mul(BLOCK));
        if at > bytes.len() {
            return;
        }
    }
}

/// The next block in which there is something.
fn next_header(bytes: &[u8], at: usize) -> Option<usize> {
    let empty = rest(bytes, at).iter().position(|octet| *octet != 0)?;
    Some(at + empty / BLOCK * BLOCK)
}

/// Its checksum is right; by old writers' reckoning, too, which summed signed octets.
fn is_sound(header: &[u8]) -> bool {
    let said = number(piece(header, 148, 8));
    let octets = || {
        header.iter().enumerate().map(|(at, octet)| match at {
            148..156 => b' ',
            _ => *octet,
        })
    };
    let sum: u64 = octets().map(u64::from).sum();
    let signed: i64 = octets().map(|it| i64::from(it.cast_signed())).sum();
    said.is_some_and(|said| said == sum || i64::try_from(said) == Ok(signed))
}

/// Octal, or in base 256 where the first bit is set. A negative one makes no sense.
fn number(field: &[u8]) -> Option<u64> {
    let (first, after) = field.split_first()?;
    if first & 0x80 != 0 {
        let value =
            |value: u64, octet: &u8| (value >> 56 == 0).then_some((value << 8) | u64::from(*octet));
        return match first {
            0x80 => after.iter().try_fold(0, value),
            _ => None,
        };
    }
    let text = narrow(field);
    let text = text.trim();
    match text.is_empty() {
        true => Some(0),
        false => u64::from_str_radix(text, 8).ok(),
    }
}

fn own_name(header: &[u8]) -> String {
    let name = narrow(piece(header, 0, 100));
    let prefix = match piece(header, 257, 6) {
        b"ustar\0" => narrow(piece(header, 345, 155)),
        _ => String::new(),
    };
    match prefix.is_empty() {
        true => name,
        false => format!("{prefix}/{name}"),
    }
}

/// The last record of this key: `27 path=a/b/c\n`.
fn pax<'a>(mut records: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut found = None;
    loop {
        let space = records.iter().position(|octet| *octet == b' ');
        let Some(length) = space.and_then(|at| decimal(piece(records, 0, at))) else {
            return found;
        };
        let (space, length) = (space.unwrap_or(0), far(length));
        if length <= space + 1 {
            return found;
        }
        let record = piece(records, space + 1, length - space - 1);
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        if let Some(value) = record
            .strip_prefix(key)
            .and_then(|rest| rest.strip_prefix(b"="))
        {
            found = Some(value);
        }
        records = rest(records, length);
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
