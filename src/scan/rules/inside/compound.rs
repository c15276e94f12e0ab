//! Compound files ([MS-CFB]): Word, Excel and PowerPoint up to 2003, macro projects, installers,
//! messages of Outlook, and documents since 2007 that are encrypted.
//!
//! All entries of the directory are read, whether or not its tree leads to them. Streams are members.

use super::octets::{
    array, contains, far, far_at, finds, narrow, piece, rest, u16_at, u32_at, wide,
};
use super::unpack::{End, Method, Unpacked, unpack};
use super::{Place, Walk};

pub const MARK: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
/// Sector numbers from here on are marks.
const MARKS: u32 = 0xffff_fffa;
/// Within the streams of PowerPoint: an object, packed or not ([MS-PPT] §2.10.35).
const PACKED_OBJECT: &[u8] = &[0x10, 0x00, 0x11, 0x10];
const STORED_OBJECT: &[u8] = &[0x00, 0x00, 0x11, 0x10];

pub fn look(walk: &mut Walk<'_>, place: &Place, bytes: &[u8]) {
    if !bytes.starts_with(MARK) {
        return;
    }
    let Some(compound) = Compound::read(bytes) else {
        return broken(walk, place, bytes);
    };
    let entries = compound.entries();
    if entries.is_empty() {
        return broken(walk, place, bytes);
    }
    for entry in &entries {
        entry.judge(walk, place);
    }
    for entry in entries.iter().filter(|entry| entry.is_stream()) {
        if !compound.stream(walk, place, entry) {
            return;
        }
    }
}

/// What can still be told where the directory cannot be read.
fn broken(walk: &mut Walk<'_>, place: &Place, bytes: &[u8]) {
    walk.bound(place, "is a broken compound document");
    let has = |name: &str| {
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        contains(bytes, &name)
    };
    if has("_VBA_PROJECT") {
        walk.macros(place, "has macros (VBA)");
    }
    if has("EncryptedPackage") {
        walk.encrypted(place);
    }
}

struct Compound<'a> {
    bytes: &'a [u8],
    shift: u32,
    /// The next sector of each.
    next: Vec<u32>,
    /// The same for the small sectors, which lie in a stream of their own.
    next_small: Vec<u32>,
    small: Vec<u8>,
    directory: Vec<u8>,
    /// Streams below this size are in small sectors.
    cutoff: usize,
}

impl<'a> Compound<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let shift = match u16_at(bytes, 30)? {
            shift @ (9 | 12) => u32::from(shift),
            _ => return None,
        };
        let mut compound = Self {
            bytes,
            shift,
            next: Vec::new(),
            next_small: Vec::new(),
            small: Vec::new(),
            directory: Vec::new(),
            cutoff: far_at(bytes, 56)?,
        };
        compound.read_table();
        compound.directory = compound.chain(u32_at(bytes, 48)?, usize::MAX);
        compound.next_small = numbers(&compound.chain(u32_at(bytes, 60)?, usize::MAX));
        let root = Entry::read(piece(&compound.directory, 0, 128))?;
        compound.small = compound.chain(root.start, root.size);
        Some(compound)
    }

    fn sectors(&self) -> usize {
        (self.bytes.len() >> self.shift) + 1
    }

    fn sector(&self, number: u32) -> &'a [u8] {
        let at = far((u64::from(number) + 1) << self.shift);
        piece(self.bytes, at, 1 << self.shift)
    }

    /// The table of sectors is in sectors that are listed in the header, and in further ones.
    fn read_table(&mut self) {
        let mut lists = numbers(piece(self.bytes, 76, 436));
        let mut further = u32_at(self.bytes, 68).unwrap_or(MARKS);
        for _ in 0..self.sectors() {
            let mut list = numbers(self.sector(further));
            let Some(next) = list.pop().filter(|_| further < MARKS) else {
                break;
            };
            lists.extend(list);
            further = next;
        }
        for number in lists.into_iter().filter(|it| *it < MARKS) {
            if self.next.len() > self.sectors() {
                break;
            }
            self.next.extend(numbers(self.sector(number)));
        }
    }

    /// The sectors from this one on, and no more of them than there are.
    fn chain(&self, start: u32, size: usize) -> Vec<u8> {
        let mut content = Vec::new();
        let mut at = start;
        for _ in 0..self.sectors() {
            if at >= MARKS || content.len() >= size {
                break;
            }
            content.extend_from_slice(self.sector(at));
            at = self.next.get(far(at)).copied().unwrap_or(MARKS);
        }
        content.truncate(size);
        content
    }

    fn small_chain(&self, start: u32, size: usize) -> Vec<u8> {
        const SMALL: usize = 64;
        let mut content = Vec::new();
        let mut at = start;
        for _ in 0..=self.small.len() / SMALL {
            if at >= MARKS || content.len() >= size {
                break;
            }
            content.extend_from_slice(piece(&self.small, far(at).saturating_mul(SMALL), SMALL));
            at = self.next_small.get(far(at)).copied().unwrap_or(MARKS);
        }
        content.truncate(size);
        content
    }

    fn entries(&self) -> Vec<Entry> {
        self.directory.chunks(128).filter_map(Entry::read).collect()
    }

    /// `false`: there have been enough members.
    fn stream(&self, walk: &mut Walk<'_>, place: &Place, entry: &Entry) -> bool {
        let member = place.of(&entry.name);
        if walk.budget.left() < entry.size.min(self.bytes.len()) {
            if let Some(fault) = End::Spent.fault() {
                walk.bound(&member, fault);
            }
            return walk.listed(&member);
        }
        let most = entry.size.min(walk.budget.bounds().member);
        let content = match entry.size < self.cutoff {
            true => self.small_chain(entry.start, most),
            false => self.chain(entry.start, most),
        };
        walk.budget.spend(content.len());
        known_stream(walk, place, &entry.lower(), &content);
        let end = match content.len() {
            length if length == entry.size => End::Whole,
            length if length == most => End::Member,
            _ => End::Broken,
        };
        let unpacked = Unpacked {
            bytes: content.into(),
            end,
        };
        walk.member(&member, &unpacked)
    }
}

fn numbers(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .filter_map(|it| array(it, 0).map(u32::from_le_bytes))
        .collect()
}

/// An entry of the directory (§2.6.1).
struct Entry {
    /// Without the control characters that come first in some.
    name: String,
    kind: u8,
    start: u32,
    size: usize,
}

impl Entry {
    fn read(entry: &[u8]) -> Option<Self> {
        let length = usize::from(u16_at(entry, 64)?).min(64);
        let kind = entry
            .get(66)
            .copied()
            .filter(|kind| matches!(kind, 1 | 2 | 5))?;
        let name = wide(piece(entry, 0, length));
        Some(Self {
            name: name.trim_start_matches(char::is_control).to_owned(),
            kind,
            start: u32_at(entry, 116)?,
            size: far_at(entry, 120)?,
        })
    }

    const fn is_stream(&self) -> bool {
        self.kind == 2
    }

    fn lower(&self) -> String {
        self.name.to_lowercase()
    }

    /// What its name says of the document.
    fn judge(&self, walk: &mut Walk<'_>, place: &Place) {
        match (self.lower().as_str(), self.is_stream()) {
            ("_vba_project" | "_vba_project_cur", _) | ("vba" | "macros", false) => {
                walk.macros(place, "has macros (VBA)");
            }
            ("encryptedpackage" | "encryptioninfo" | "encryptedsummary" | "drmcontent", _) => {
                walk.encrypted(place);
            }
            _ => {}
        }
    }
}

/// What a stream that programs look for says of the document.
fn known_stream(walk: &mut Walk<'_>, place: &Place, name: &str, content: &[u8]) {
    match name {
        // FibBase: fEncrypted ([MS-DOC] §2.5.2).
        "worddocument" if u16_at(content, 10).is_some_and(|flags| flags & 0x100 != 0) => {
            walk.encrypted(place);
        }
        // CurrentUserAtom: headerToken ([MS-PPT] §2.3.2).
        "current user" if u32_at(content, 12) == Some(0xf3d1_c4df) => walk.encrypted(place),
        "workbook" | "book" => workbook(walk, place, content),
        "powerpoint document" => presentation(walk, place, content),
        "ole10native" => packaged(walk, place, rest(content, 4)),
        _ if name.starts_with("__substg1.0_3707") || name.starts_with("__substg1.0_3704") => {
            attached_name(walk, place, name, content);
        }
        _ => {}
    }
}

/// The name of a file in a message of Outlook ([MS-OXMSG]).
fn attached_name(walk: &mut Walk<'_>, place: &Place, stream: &str, content: &[u8]) {
    let name = match stream.ends_with("001f") {
        true => wide(content),
        false => narrow(content),
    };
    walk.listed(&place.of(&name));
}

/// Records of Excel up to 2003 ([MS-XLS] §2.4).
fn workbook(walk: &mut Walk<'_>, place: &Place, content: &[u8]) {
    const FILE_PASS: u16 = 0x2f;
    const BOUND_SHEET: u16 = 0x85;
    let mut at = 0;
    while let (Some(kind), Some(length)) = (u16_at(content, at), u16_at(content, at + 2)) {
        match kind {
            FILE_PASS => return walk.encrypted(place),
            BOUND_SHEET => match content.get(at + 4 + 5) {
                Some(1) => walk.macros(place, "has macros (Excel 4)"),
                Some(6) => walk.macros(place, "has macros (VBA)"),
                _ => {}
            },
            _ => {}
        }
        at += 4 + usize::from(length);
    }
}

/// Macros and objects of PowerPoint are compound files within its stream, packed as a rule.
fn presentation(walk: &mut Walk<'_>, place: &Place, content: &[u8]) {
    const OBJECTS: usize = 100;
    for at in finds(content, PACKED_OBJECT).take(OBJECTS) {
        let length = far_at(content, at + 4).unwrap_or(0);
        let packed = piece(content, at + 12, length.saturating_sub(4));
        // Zlib's first octet: any other has only the look of a record.
        if packed.first() == Some(&0x78) {
            let unpacked = unpack(Method::Zlib, packed, walk.budget);
            if !walk.member(&place.of("object"), &unpacked) {
                return;
            }
        }
    }
    for at in finds(content, STORED_OBJECT).take(OBJECTS) {
        let length = far_at(content, at + 4).unwrap_or(0);
        let object = piece(content, at + 8, length);
        if object.starts_with(MARK) {
            let unpacked = unpack(Method::Stored, object, walk.budget);
            if !walk.member(&place.of("object"), &unpacked) {
                return;
            }
        }
    }
}

/// A file that somebody has dragged into a document: a mark, its name and its path, flags, a path
/// again, its size, its content.
pub fn packaged(walk: &mut Walk<'_>, place: &Place, native: &[u8]) {
    let mut text_at = 2;
    let mut text = || {
        let text = narrow(piece(native, text_at, 1024));
        let length = piece(native, text_at, 1024)
            .iter()
            .position(|octet| *octet == 0)
            .unwrap_or(0);
        text_at += length + 1;
        text
    };
    let (label, path) = (text(), text());
    let temporary = text_at + 8;
    let content_at = far_at(native, text_at + 4)
        .and_then(|length| temporary.checked_add(length))
        .unwrap_or(usize::MAX);
    let size = far_at(native, content_at).unwrap_or(0);
    let content = piece(native, content_at.saturating_add(4), size);
    for name in [&label, &path] {
        walk.listed(&place.of(name));
    }
    if !content.is_empty() {
        let unpacked = unpack(Method::Stored, content, walk.budget);
        walk.member(&place.of(&label), &unpacked);
    }
}
