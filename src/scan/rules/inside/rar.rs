//! Rar archives, versions 1.5 to 5: their headers only. No free program unpacks them all.
//!
//! So a member is known by its name, and that its content was not looked at is a finding, but for
//! members that are stored as they are. ("RAR 5.0 archive format", "RAR technote".)

use super::octets::{far, finds, is_at, narrow, piece, rest, u8_at, u16_at, u32_at};
use super::unpack::stored;
use super::{Place, Walk};

const MARK_4: &[u8] = b"Rar!\x1a\x07\0";
const MARK_5: &[u8] = b"Rar!\x1a\x07\x01\0";
const UNSEEN: &str = "is in a rar archive and cannot be unpacked";

/// Where an archive begins in a program that unpacks itself.
pub fn begins(bytes: &[u8]) -> Option<usize> {
    finds(bytes, b"Rar!\x1a\x07").find(|at| {
        is_at(bytes, *at, MARK_5)
            || (is_at(bytes, *at, MARK_4) && u8_at(bytes, at + 9) == Some(0x73))
    })
}

pub fn look(walk: &mut Walk<'_>, place: &Place, bytes: &[u8]) {
    let done = match bytes {
        _ if bytes.starts_with(MARK_5) => version_5(walk, place, bytes),
        _ if bytes.starts_with(MARK_4) => version_4(walk, place, bytes),
        _ => None,
    };
    if done.is_none() {
        walk.bound(place, "is a broken rar archive");
    }
}

/// A header of the versions before 5: checksum, kind, flags, size.
fn version_4(walk: &mut Walk<'_>, place: &Place, bytes: &[u8]) -> Option<()> {
    const ARCHIVE: u8 = 0x73;
    const FILE: u8 = 0x74;
    const SERVICE: u8 = 0x7a;
    const END: u8 = 0x7b;
    const HAS_DATA: u16 = 0x8000;
    let mut at = MARK_4.len();
    loop {
        let block = rest(bytes, at);
        if block.is_empty() {
            return Some(());
        }
        let (kind, flags) = (u8_at(block, 2)?, u16_at(block, 3)?);
        let size = usize::from(u16_at(block, 5)?);
        let header = block.get(..size).filter(|_| size >= 7)?;
        let has_data = flags & HAS_DATA != 0 || matches!(kind, FILE | SERVICE);
        let mut data = match has_data {
            true => far(u32_at(header, 7)?),
            false => 0,
        };
        match kind {
            ARCHIVE if flags & 0x80 != 0 => {
                walk.encrypted(place);
                return Some(());
            }
            FILE => {
                let member = File4::read(header, flags)?;
                data = data.saturating_add(member.more);
                if !member.look(walk, place, piece(block, size, data)) {
                    return Some(());
                }
            }
            END => return Some(()),
            _ => {}
        }
        at = at.saturating_add(size).saturating_add(data);
        if at > bytes.len() {
            return None;
        }
    }
}

struct File4 {
    names: Vec<String>,
    encrypted: bool,
    is_stored: bool,
    is_folder: bool,
    /// The high half of its packed size.
    more: usize,
}

impl File4 {
    fn read(header: &[u8], flags: u16) -> Option<Self> {
        let large = flags & 0x100 != 0;
        let name_at = if large { 40 } else { 32 };
        let name = piece(header, name_at, usize::from(u16_at(header, 26)?));
        let high = match large {
            true => u32_at(header, 32)?,
            false => 0,
        };
        Some(Self {
            names: names_4(name),
            encrypted: flags & 4 != 0,
            is_stored: u8_at(header, 25)? == 0x30,
            is_folder: flags & 0xe0 == 0xe0,
            more: far(u64::from(high) << 32),
        })
    }

    fn look(&self, walk: &mut Walk<'_>, place: &Place, data: &[u8]) -> bool {
        let how = match (self.encrypted, self.is_folder, self.is_stored) {
            (true, ..) => How::Encrypted,
            (_, true, _) => How::Folder,
            (_, _, true) => How::Stored,
            _ => How::Packed,
        };
        member(walk, place, &self.names, how, data)
    }
}

/// In the old character set, and behind a NUL in UTF-16 packed by a rule of its own; where both end
/// alike, the first is enough.
fn names_4(name: &[u8]) -> Vec<String> {
    let mut names = vec![narrow(name)];
    if let Some(at) = name.iter().position(|octet| *octet == 0) {
        names.push(unpacked_name(piece(name, 0, at), rest(name, at + 1)));
    }
    names
}

/// The UTF-16 name is told by its difference to the other.
fn unpacked_name(narrow: &[u8], packed: &[u8]) -> String {
    let mut units: Vec<u16> = Vec::new();
    let mut octets = packed.iter().copied();
    let high = u16::from(octets.next().unwrap_or(0)) << 8;
    let (mut flags, mut bits) = (0_u8, 0);
    while units.len() < narrow.len().max(2048) {
        if bits == 0 {
            let Some(next) = octets.next() else { break };
            (flags, bits) = (next, 8);
        }
        let Some(next) = octets.next() else { break };
        match flags >> 6 {
            0 => units.push(u16::from(next)),
            1 => units.push(high | u16::from(next)),
            2 => units.push(u16::from(next) | (u16::from(octets.next().unwrap_or(0)) << 8)),
            _ => {
                let correction = (next & 0x80 != 0).then(|| octets.next().unwrap_or(0));
                for _ in 0..usize::from(next & 0x7f) + 2 {
                    let plain = narrow.get(units.len()).copied().unwrap_or(0);
                    units.push(match correction {
                        Some(by) => high | u16::from(plain.wrapping_add(by)),
                        None => u16::from(plain),
                    });
                }
            }
        }
        flags <<= 2;
        bits -= 2;
    }
    String::from_utf16_lossy(&units)
}

/// A header of version 5: checksum, size, kind, flags, all but the first of variable length.
fn version_5(walk: &mut Walk<'_>, place: &Place, bytes: &[u8]) -> Option<()> {
    const FILE: u64 = 2;
    const ENCRYPTION: u64 = 4;
    const END: u64 = 5;
    let mut at = MARK_5.len();
    loop {
        if rest(bytes, at).is_empty() {
            return Some(());
        }
        let mut sizes = Fields(rest(bytes, at + 4));
        let size = far(sizes.number()?);
        let header_at = bytes.len() - sizes.0.len();
        let mut header = Fields(piece(bytes, header_at, size));
        let (kind, flags) = (header.number()?, header.number()?);
        let extra = match flags & 1 {
            0 => 0,
            _ => far(header.number()?),
        };
        let data = match flags & 2 {
            0 => 0,
            _ => far(header.number()?),
        };
        let data_at = header_at.checked_add(size)?;
        match kind {
            ENCRYPTION => {
                walk.encrypted(place);
                return Some(());
            }
            FILE => {
                let content = piece(bytes, data_at, data);
                if !file_5(walk, place, header, extra, content)? {
                    return Some(());
                }
            }
            END => return Some(()),
            _ => {}
        }
        at = data_at.checked_add(data)?;
        if at > bytes.len() {
            return None;
        }
    }
}

fn file_5(
    walk: &mut Walk<'_>,
    place: &Place,
    mut header: Fields<'_>,
    extra: usize,
    data: &[u8],
) -> Option<bool> {
    let flags = header.number()?;
    let _size = header.number()?;
    let _attributes = header.number()?;
    header.skip(if flags & 2 == 0 { 0 } else { 4 });
    header.skip(if flags & 4 == 0 { 0 } else { 4 });
    let method = header.number()? >> 7 & 7;
    let _system = header.number()?;
    let length = far(header.number()?);
    let name = String::from_utf8_lossy(piece(header.0, 0, length)).into_owned();
    let records = piece(header.0, header.0.len().saturating_sub(extra), extra);
    let how = match (is_encrypted_5(records), flags & 1 != 0, method) {
        (true, ..) => How::Encrypted,
        (_, true, _) => How::Folder,
        (_, _, 0) => How::Stored,
        _ => How::Packed,
    };
    Some(member(walk, place, &[name], how, data))
}

/// One of the records behind the name is that of encryption.
fn is_encrypted_5(records: &[u8]) -> bool {
    let mut fields = Fields(records);
    while let Some(size) = fields.number() {
        let mut record = Fields(piece(fields.0, 0, far(size)));
        if record.number() == Some(1) {
            return true;
        }
        fields.skip(far(size));
        if size == 0 {
            break;
        }
    }
    false
}

#[derive(Debug, Clone, Copy)]
enum How {
    Encrypted,
    Folder,
    Stored,
    Packed,
}

fn member(walk: &mut Walk<'_>, place: &Place, names: &[String], how: How, data: &[u8]) -> bool {
    let Some((name, others)) = names.split_first() else {
        return true;
    };
    if !others.iter().all(|other| walk.listed(&place.of(other))) {
        return false;
    }
    let member = place.of(name);
    match how {
        How::Encrypted => walk.encrypted(&member),
        How::Folder => return walk.folder(),
        How::Packed => walk.bound(&member, UNSEEN),
        How::Stored => {
            let unpacked = stored(data, walk.budget);
            return walk.member(&member, &unpacked);
        }
    }
    walk.listed(&member)
}

/// Numbers of variable length: seven bits an octet, the lowest first.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for at in 0..10 {
            let octet = u8_at(self.0, at)?;
            value |= u64::from(octet & 0x7f).checked_shl(7 * u32::try_from(at).ok()?)?;
            if octet & 0x80 == 0 {
                self.skip(at + 1);
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, octets: usize) {
        self.0 = rest(self.0, octets);
    }
}
