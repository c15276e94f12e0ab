//! Files that are one other file, packed: gzip, bzip2, xz, zstandard; and LZMA and zlib, which have no mark
//! of their own: what only looks like them, and unpacks to nothing, is left as something else.

use super::octets::{narrow, rest, u8_at, u16_at, u32_at, u64_at};
use super::unpack::{End, Method, Unpacked, unpack};
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
    show(walk, place, named, &unpacked);
}

/// What comes out of it by chance, where it is something else.
const CHANCE: usize = 64;

/// A stream of LZMA or zlib, maybe.
pub fn bare(walk: &mut Walk<'_>, place: &Place, bytes: &[u8]) {
    let Some(method) = bare_method(bytes) else {
        return;
    };
    let unpacked = unpack(method, bytes, walk.budget);
    let is_one = match unpacked.end {
        End::Broken => unpacked.bytes.len() >= CHANCE,
        End::Whole => !unpacked.bytes.is_empty(),
        End::Member | End::Ratio | End::Spent => true,
    };
    if is_one {
        show(walk, place, None, &unpacked);
    }
}

/// It may be such a stream.
pub fn is_bare(bytes: &[u8]) -> bool {
    bare_method(bytes).is_some()
}

fn bare_method(bytes: &[u8]) -> Option<Method> {
    /// What a file of LZMA is taken to unpack to at most; `xz --format=lzma` does so, too.
    const MOST: u64 = 1 << 38;
    // RFC 1950 §2.2: deflate, with a window of 32 KiB at most, no dictionary, and a sum that is right.
    if let [cmf, flags, _, ..] = bytes
        && cmf & 0x0f == 8
        && cmf >> 4 <= 7
        && flags & 0x20 == 0
        && (u16::from(*cmf) << 8 | u16::from(*flags)) % 31 == 0
    {
        return Some(Method::Zlib);
    }
    let (properties, dictionary) = (u8_at(bytes, 0)?, u32_at(bytes, 1)?);
    let size = u64_at(bytes, 5)?;
    // All that write it make it a power of two, or one and a half.
    let is_round = dictionary.count_ones() <= 2 || dictionary == u32::MAX;
    let is_sized = size == u64::MAX || size < MOST;
    let is_one =
        properties < 225 && dictionary >= 4096 && is_round && is_sized && bytes.get(13) == Some(&0);
    is_one.then_some(Method::Lzma)
}

fn show(walk: &mut Walk<'_>, place: &Place, named: Option<String>, unpacked: &Unpacked<'_>) {
    let name = named.unwrap_or_else(|| without_ending(walk.attachment, place));
    let mut member = place.of(&name);
    if FileType::of(&unpacked.bytes) == FileType::Tar {
        // A tar archive that was packed is one archive, not two.
        member.depth = place.depth;
    }
    walk.member(&member, unpacked);
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
