//! Files that are one other file, packed: gzip, bzip2, xz, zstandard.

use super::octets::{narrow, rest, u8_at, u16_at};
use super::unpack::{Method, unpack};
use super::{Place, Walk};
use crate::mail::FileType;

pub fn look(walk: &mut Walk<'_>, place: &Place, bytes: &[u8], kind: FileType) {
    let method = match kind {
        FileType::Bzip2 => Method::Bzip2,
        FileType::Xz => Method::Xz,
        FileType::Zstandard => Method::Zstandard,
        _ => Method::Gzip,
    };
    let unpacked = unpack(method, bytes, walk.budget);
    let named = match kind {
        FileType::Gzip => gzip_name(bytes),
        _ => None,
    };
    let name = named.unwrap_or_else(|| without_ending(walk.attachment, place));
    let mut member = place.of(&name);
    if FileType::of(&unpacked.bytes) == FileType::Tar {
        // A tar archive that was packed is one archive, not two.
        member.depth = place.depth;
    }
    walk.member(&member, &unpacked);
}

/// The name that is in the file (RFC 1952 §2.3).
fn gzip_name(bytes: &[u8]) -> Option<String> {
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    let flags = u8_at(bytes, 3)?;
    let extra = match flags & EXTRA {
        0 => 0,
        _ => 2 + usize::from(u16_at(bytes, 10)?),
    };
    let name = narrow(rest(bytes, 10 + extra));
    (flags & NAME != 0 && !name.is_empty()).then_some(name)
}

/// `notes.txt.gz` holds `notes.txt`, `notes.tgz` holds `notes.tar`.
fn without_ending(attachment: &str, place: &Place) -> String {
    let path = if place.path.is_empty() {
        attachment
    } else {
        &place.path
    };
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    match name.rsplit_once('.') {
        Some((stem, ending)) if ending.len() <= 4 => match ending.starts_with('t') {
            true => format!("{stem}.tar"),
            false => stem.to_owned(),
        },
        _ => "content".to_owned(),
    }
}
