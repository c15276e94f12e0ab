//! Disk images: the files of an ISO 9660 volume (ECMA-119), by both its lists of names.
//!
//! Other file systems are not read. Their programs are found where they begin a sector.

use super::octets::{far_at, is_at, narrow, piece, rest, u8_at, u16_at, wide};
use super::unpack::{Method, unpack};
use super::{Place, Walk};
use crate::mail::FileType;

const SECTOR: usize = 2048;
const UNSEEN: &str = "is a disk image that cannot be looked into";

pub fn look(walk: &mut Walk<'_>, place: &Place, bytes: &[u8]) {
    let volumes = volumes(bytes);
    let mut image = Image {
        bytes,
        seen: Vec::new(),
    };
    for volume in &volumes {
        if !image.folder(walk, place, volume, &volume.root, 0) {
            return;
        }
    }
    // A volume may have a second file system, with other files (UDF).
    let other = (16..32).any(|at| is_at(bytes, at * SECTOR + 1, b"NSR0"));
    if volumes.is_empty() || other {
        walk.bound(place, UNSEEN);
        programs(walk, place, bytes);
    }
}

struct Volume {
    root: Record,
    /// Octets of a block.
    block: usize,
    /// Names are in UTF-16 (Joliet).
    is_wide: bool,
}

struct Record {
    at: usize,
    size: usize,
    is_folder: bool,
    name: Vec<u8>,
}

impl Record {
    fn read(record: &[u8], block: usize) -> Option<Self> {
        let length = usize::from(u8_at(record, 32)?);
        Some(Self {
            at: far_at(record, 2)?.checked_mul(block)?,
            size: far_at(record, 10)?,
            is_folder: u8_at(record, 25)? & 2 != 0,
            name: piece(record, 33, length).to_vec(),
        })
    }
}

fn volumes(bytes: &[u8]) -> Vec<Volume> {
    let descriptors = (16..32).map(|at| rest(bytes, at * SECTOR));
    descriptors
        .filter(|it| is_at(it, 1, b"CD001") && matches!(it.first(), Some(1 | 2)))
        .filter_map(|it| {
            let block = usize::from(u16_at(it, 128)?).max(512);
            Some(Volume {
                root: Record::read(rest(it, 156), block)?,
                block,
                is_wide: it.first() == Some(&2) && is_at(it, 88, b"%/"),
            })
        })
        .collect()
}

struct Image<'a> {
    bytes: &'a [u8],
    /// Where folders and files are that were looked at.
    seen: Vec<(usize, usize)>,
}

impl Image<'_> {
    fn is_new(&mut self, record: &Record) -> bool {
        let at = (record.at, record.size);
        match self.seen.binary_search(&at) {
            Ok(_) => false,
            Err(place) => {
                self.seen.insert(place, at);
                true
            }
        }
    }

    /// `false`: there have been enough members.
    fn folder(
        &mut self,
        walk: &mut Walk<'_>,
        place: &Place,
        volume: &Volume,
        folder: &Record,
        depth: usize,
    ) -> bool {
        const DEPTH: usize = 32;
        if depth > DEPTH {
            walk.bound(
                place,
                "is a disk image with folders that are nested too deep",
            );
            return true;
        }
        let list = piece(self.bytes, folder.at, folder.size);
        if list.len() < folder.size || folder.size == 0 {
            walk.bound(place, "is a broken disk image");
        }
        let mut at = 0;
        while at < list.len() {
            let length = usize::from(u8_at(list, at).unwrap_or(0));
            if length == 0 {
                // Records do not cross sectors.
                at = (at / SECTOR + 1) * SECTOR;
                continue;
            }
            let record = Record::read(piece(list, at, length), volume.block);
            at += length;
            let Some(record) = record else {
                walk.bound(place, "is a broken disk image");
                continue;
            };
            // Itself, and the folder above.
            if matches!(record.name.as_slice(), [] | [0] | [1]) {
                continue;
            }
            if !self.record(walk, place, volume, &record, depth) {
                return false;
            }
        }
        true
    }

    fn record(
        &mut self,
        walk: &mut Walk<'_>,
        place: &Place,
        volume: &Volume,
        record: &Record,
        depth: usize,
    ) -> bool {
        let name = shown_name(&record.name, volume.is_wide);
        let mut member = place.of(&name);
        let is_new = self.is_new(record);
        if record.is_folder {
            // A folder is no archive.
            member.depth = place.depth;
            return walk.folder()
                && (!is_new || self.folder(walk, &member, volume, record, depth + 1));
        }
        if !is_new {
            return walk.listed(&member);
        }
        let content = piece(self.bytes, record.at, record.size);
        if content.len() < record.size {
            walk.bound(&member, "is broken");
        }
        let unpacked = unpack(Method::Stored, content, walk.budget);
        walk.member(&member, &unpacked)
    }
}

/// `SETUP.EXE;1` is `SETUP.EXE`.
fn shown_name(name: &[u8], is_wide: bool) -> String {
    let name = match is_wide {
        true => {
            let turned: Vec<u8> = name
                .chunks_exact(2)
                .flat_map(|pair| pair.iter().rev().copied())
                .collect();
            wide(&turned)
        }
        false => narrow(name),
    };
    match name.rsplit_once(';') {
        Some((name, _)) => name.to_owned(),
        None => name,
    }
}

/// Files begin at sectors, whatever lists them.
fn programs(walk: &mut Walk<'_>, place: &Place, bytes: &[u8]) {
    const SMALLEST: usize = 512;
    for at in (0..bytes.len()).step_by(SMALLEST) {
        let file = rest(bytes, at);
        let is_program = match file {
            [b'M', b'Z', ..] => {
                far_at(file, 60).is_some_and(|header| is_at(file, header, b"PE\0\0"))
            }
            [0x7f, b'E', ..] | [b'L', 0, 0, 0, ..] => FileType::of(piece(file, 0, SMALLEST)).runs(),
            _ => false,
        };
        if is_program {
            let member = place.of(&format!("a file at {at}"));
            let unpacked = unpack(Method::Stored, piece(file, 0, SMALLEST), walk.budget);
            if !walk.member(&member, &unpacked) {
                return;
            }
        }
    }
}
