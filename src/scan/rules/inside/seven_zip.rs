//! 7z archives, solid or not.
//!
//! The `sevenz-rust2` crate reads them: its bounds on memory hold for the list of members and for the
//! decompressors. A password is never tried: what needs one is a finding.

use std::io::Cursor;

use sevenz_rust2::{Archive, BlockDecoder, EncoderMethod, Error, Password};

use super::octets::{piece, u8_at, u32_at};
use super::unpack::{End, guarded, lzma_entrance, read};
use super::{Place, Walk};

pub const MARK: &[u8] = b"7z\xbc\xaf\x27\x1c";
/// What the list of members, and the decompressor of it, may take: a member's name takes more memory
/// than octets of the list, and 7-Zip packs its lists with a dictionary of 1 MiB.
const LIST_KIB: usize = 1200;
/// An octet costs so many of those that are inflated.
const COST: usize = 2;

/// A header whose checksum is right, and not any octets that begin like one.
pub fn is_sound(bytes: &[u8]) -> bool {
    let mut sum = flate2::Crc::new();
    sum.update(piece(bytes, 12, 20));
    bytes.starts_with(MARK) && u32_at(bytes, 8) == Some(sum.sum())
}

pub fn look(walk: &mut Walk<'_>, place: &Place, bytes: &[u8]) {
    let mut source = Cursor::new(bytes);
    let password = Password::empty();
    let listed = guarded(|| Archive::read_with_memory_limit(&mut source, &password, LIST_KIB));
    let archive = match listed {
        Some(Ok(archive)) => archive,
        Some(Err(error)) if is_encryption(&error) => return walk.encrypted(place),
        Some(Err(Error::MaxMemLimited { .. })) => {
            return walk.bound(place, "is a 7z archive whose list is too long");
        }
        _ => return walk.bound(place, "is a broken 7z archive"),
    };
    for file in archive.files.iter().filter(|file| !file.has_stream()) {
        let more = match file.is_directory() {
            true => walk.folder(),
            false => walk.listed(&place.of(file.name())),
        };
        if !more {
            return;
        }
    }
    for block in 0..archive.blocks.len() {
        if !look_at_block(walk, place, bytes, &archive, block) {
            return;
        }
    }
}

/// Without a decompressor for AES the list is what cannot be read.
fn is_encryption(error: &Error) -> bool {
    match error {
        Error::PasswordRequired | Error::MaybeBadPassword(_) => true,
        Error::UnsupportedCompressionMethod(method) => {
            method.contains("AES") || method.contains("[6, 241, 7, 1]")
        }
        _ => false,
    }
}

/// `false`: there have been enough members.
fn look_at_block(
    walk: &mut Walk<'_>,
    place: &Place,
    bytes: &[u8],
    archive: &Archive,
    block: usize,
) -> bool {
    let coders = archive.blocks.get(block).map_or(&[][..], |it| &it.coders);
    let files = archive
        .files
        .iter()
        .zip(&archive.stream_map.file_block_index)
        .filter(|(file, at)| **at == Some(block) && file.has_stream());
    let names: Vec<&str> = files.map(|(file, _)| file.name()).collect();
    let is_aes = |id: &[u8]| id == EncoderMethod::ID_AES256_SHA256;
    if coders.iter().any(|coder| is_aes(coder.encoder_method_id())) {
        return names.iter().all(|name| {
            walk.encrypted(&place.of(name));
            walk.listed(&place.of(name))
        });
    }
    for coder in coders {
        walk.budget
            .spend(lzma_entrance(u8_at(coder.properties(), 0).unwrap_or(0)));
    }
    let seen = unpack_block(walk, place, bytes, archive, block);
    let mut rest = names.iter().skip(seen.members);
    if seen.is_all || seen.members == names.len() {
        return seen.more;
    }
    if seen.more {
        walk.bound(place, "is a 7z archive that cannot be unpacked to its end");
    }
    seen.more && rest.all(|name| walk.listed(&place.of(name)))
}

struct Seen {
    members: usize,
    /// The block was read to its end.
    is_all: bool,
    /// There may be more members.
    more: bool,
}

fn unpack_block(
    walk: &mut Walk<'_>,
    place: &Place,
    bytes: &[u8],
    archive: &Archive,
    block: usize,
) -> Seen {
    let password = Password::empty();
    let kib = walk.budget.bounds().memory / 1024;
    let mut source = Cursor::new(bytes);
    let mut seen = Seen {
        members: 0,
        is_all: false,
        more: true,
    };
    let done = guarded(|| {
        let decoder =
            BlockDecoder::new_with_memory_limit(1, kib, block, archive, &password, &mut source);
        decoder.for_each_entries(&mut |file, content| {
            if !file.has_stream() {
                return Ok(true);
            }
            let unpacked = read(content, bytes.len(), COST, walk.budget);
            seen.members += 1;
            seen.more = walk.member(&place.of(file.name()), &unpacked);
            // What is left of a member is unpacked by the crate if it goes on.
            Ok(seen.more && unpacked.end == End::Whole)
        })
    });
    seen.is_all = matches!(done, Some(Ok(true)));
    seen
}
