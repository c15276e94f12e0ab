//! Cabinet archives ([MS-CAB]): stored, MSZIP and LZX.
//!
//! A cabinet's folders are streams in which its files lie one behind the other. A cabinet that goes on
//! in another is read as far as it goes.

use std::io::Read;

use lzxd::{Lzxd, WindowSize};

use super::octets::{far_at, narrow, piece, rest, u8_at, u16_at, u32_at};
use super::unpack::{End, Unpacked, guarded};
use super::{Place, Walk};

pub const MARK: &[u8] = b"MSCF\0\0\0\0";
const HAS_PREVIOUS: u16 = 1;
const HAS_NEXT: u16 = 2;
const HAS_RESERVE: u16 = 4;
/// What one block unpacks to at most, and how far back MSZIP may refer.
const BLOCK: usize = 32 * 1024;
const BROKEN: &str = "is a broken cab archive";
/// What it costs to begin with a folder.
const ENTRANCE: usize = 32 * 1024;

/// Not any octets that begin like one.
pub fn is_sound(bytes: &[u8]) -> bool {
    let version = (u8_at(bytes, 24), u8_at(bytes, 25));
    bytes.starts_with(MARK) && version == (Some(3), Some(1)) && u32_at(bytes, 12) == Some(0)
}

pub fn look(walk: &mut Walk<'_>, place: &Place, bytes: &[u8]) {
    let Some(cabinet) = Cabinet::read(bytes) else {
        return walk.bound(place, BROKEN);
    };
    let mut files = cabinet.files(walk.budget.bounds().entries);
    if files.len() < cabinet.files.min(walk.budget.bounds().entries) {
        walk.bound(place, BROKEN);
    }
    files.sort_by_key(|file| (file.folder, file.offset));
    let mut current: Option<(usize, Folder)> = None;
    for file in &files {
        let index = cabinet.real_folder(file.folder);
        if current.as_ref().is_none_or(|(it, _)| *it != index) {
            let until = files
                .iter()
                .filter(|it| cabinet.real_folder(it.folder) == index)
                .map(|it| it.offset.saturating_add(it.size))
                .max();
            let folder = cabinet.folder(walk, bytes, index, until.unwrap_or(0));
            current = Some((index, folder));
        }
        let Some((_, folder)) = &current else {
            continue;
        };
        if !file.look(walk, place, folder) {
            return;
        }
    }
}

#[derive(Debug)]
struct Cabinet<'a> {
    bytes: &'a [u8],
    folders_at: usize,
    folders: usize,
    /// Octets of each folder's entry.
    entry: usize,
    /// Octets before the data of each block.
    reserve: usize,
    files_at: usize,
    files: usize,
}

#[derive(Debug)]
struct File {
    name: String,
    size: usize,
    offset: usize,
    folder: u16,
}

/// What a folder unpacks to.
#[derive(Debug)]
struct Folder {
    bytes: Vec<u8>,
    end: End,
}

impl<'a> Cabinet<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let flags = u16_at(bytes, 30)?;
        let (mut at, mut entry, mut reserve) = (36, 8, 0);
        if flags & HAS_RESERVE != 0 {
            entry += usize::from(u8_at(bytes, 38)?);
            reserve = usize::from(u8_at(bytes, 39)?);
            at = 40 + usize::from(u16_at(bytes, 36)?);
        }
        for flag in [HAS_PREVIOUS, HAS_NEXT] {
            // The name of a cabinet, and that of its disk.
            for _ in 0..2 {
                if flags & flag != 0 {
                    let text = piece(bytes, at, 256);
                    at += text.iter().position(|octet| *octet == 0)? + 1;
                }
            }
        }
        Some(Self {
            bytes,
            folders_at: at,
            folders: usize::from(u16_at(bytes, 26)?),
            entry,
            reserve,
            files_at: far_at(bytes, 16)?,
            files: usize::from(u16_at(bytes, 28)?),
        })
    }

    fn files(&self, most: usize) -> Vec<File> {
        let mut at = self.files_at;
        let mut files = Vec::new();
        while files.len() < self.files.min(most) {
            let Some(file) = File::read(self.bytes, at) else {
                break;
            };
            let name = piece(self.bytes, at + 16, 257);
            at += 17 + name.iter().position(|octet| *octet == 0).unwrap_or(256);
            files.push(file);
        }
        files
    }

    /// Files that go on from or in another cabinet are in the first or the last folder.
    fn real_folder(&self, index: u16) -> usize {
        match index {
            0xfffd | 0xffff => 0,
            0xfffe => self.folders.saturating_sub(1),
            _ => usize::from(index),
        }
    }

    /// Unpacks a folder up to this place.
    fn folder(&self, walk: &mut Walk<'_>, bytes: &[u8], index: usize, until: usize) -> Folder {
        let mut folder = Folder {
            bytes: Vec::new(),
            end: End::Broken,
        };
        let header = rest(bytes, self.folders_at + index * self.entry);
        let (Some(mut at), Some(blocks), Some(method)) =
            (far_at(header, 0), u16_at(header, 4), u16_at(header, 6))
        else {
            return folder;
        };
        walk.budget.spend(ENTRANCE);
        let Some(mut unpacker) = Unpacker::new(method) else {
            return folder;
        };
        for _ in 0..blocks {
            if folder.bytes.len() >= until {
                break;
            }
            let (Some(packed), Some(unpacked)) = (u16_at(bytes, at + 4), u16_at(bytes, at + 6))
            else {
                return folder;
            };
            let (packed, unpacked) = (usize::from(packed), usize::from(unpacked));
            let data = piece(bytes, at + 8 + self.reserve, packed);
            if walk.budget.left() < 2 * unpacked.max(packed) {
                walk.budget.spend(usize::MAX);
                folder.end = End::Spent;
                return folder;
            }
            walk.budget.spend(2 * unpacked.max(packed));
            let Some(block) = guarded(|| unpacker.block(data, unpacked)).flatten() else {
                return folder;
            };
            folder.bytes.extend_from_slice(&block);
            at = at.saturating_add(8 + self.reserve + packed);
        }
        folder.end = End::Whole;
        folder
    }
}

impl File {
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        Some(Self {
            size: far_at(bytes, at)?,
            offset: far_at(bytes, at + 4)?,
            folder: u16_at(bytes, at + 8)?,
            name: narrow(piece(bytes, at + 16, 257)),
        })
    }

    fn look(&self, walk: &mut Walk<'_>, place: &Place, folder: &Folder) -> bool {
        let content = piece(&folder.bytes, self.offset, self.size);
        let cut = content.len() < self.size;
        let end = match (cut, folder.end) {
            (false, _) => End::Whole,
            (true, End::Whole) => End::Broken,
            (true, end) => end,
        };
        // What several files share was unpacked once, and is looked at several times.
        walk.budget.spend(content.len() / 4);
        let unpacked = Unpacked {
            bytes: content.into(),
            end: if walk.budget.left() == 0 && !content.is_empty() {
                End::Spent
            } else {
                end
            },
        };
        match walk.budget.left() {
            0 => {
                if let Some(fault) = End::Spent.fault() {
                    walk.bound(&place.of(&self.name), fault);
                }
                walk.listed(&place.of(&self.name))
            }
            _ => walk.member(&place.of(&self.name), &unpacked),
        }
    }
}

enum Unpacker {
    Stored,
    /// With what came before, as far as a block may refer to it.
    Mszip(Vec<u8>),
    Lzx(Box<Lzxd>),
}

impl Unpacker {
    fn new(method: u16) -> Option<Self> {
        Some(match method & 15 {
            0 => Self::Stored,
            1 => Self::Mszip(Vec::new()),
            3 => Self::Lzx(Box::new(Lzxd::new(window(method >> 8 & 31)?))),
            _ => return None,
        })
    }

    fn block(&mut self, packed: &[u8], size: usize) -> Option<Vec<u8>> {
        match self {
            Self::Stored => Some(packed.to_vec()),
            Self::Mszip(before) => mszip(before, packed, size),
            Self::Lzx(lzx) => lzx.decompress_next(packed, size).ok().map(<[u8]>::to_vec),
        }
    }
}

/// A block is a deflate stream that may refer to what came before ([MS-MCI]): that is put before it as
/// a block of its own, stored.
fn mszip(before: &mut Vec<u8>, packed: &[u8], size: usize) -> Option<Vec<u8>> {
    let packed = packed.strip_prefix(b"CK")?;
    let length = u16::try_from(before.len()).ok()?;
    let mut stream = vec![0];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend_from_slice(before);
    stream.extend_from_slice(packed);
    let mut block = Vec::new();
    flate2::bufread::DeflateDecoder::new(stream.as_slice())
        .take(before.len() as u64 + size.min(BLOCK) as u64)
        .read_to_end(&mut block)
        .ok()?;
    let block = block.split_off(before.len().min(block.len()));
    before.extend_from_slice(&block);
    let surplus = before.len().saturating_sub(BLOCK);
    before.drain(..surplus);
    (block.len() == size).then_some(block)
}

const fn window(bits: u16) -> Option<WindowSize> {
    Some(match bits {
        15 => WindowSize::KB32,
        16 => WindowSize::KB64,
        17 => WindowSize::KB128,
        18 => WindowSize::KB256,
        19 => WindowSize::KB512,
        20 => WindowSize::MB1,
        21 => WindowSize::MB2,
        22 => WindowSize::MB4,
        23 => WindowSize::MB8,
        24 => WindowSize::MB16,
        25 => WindowSize::MB32,
        _ => return None,
    })
}
