//! Zip archives (APPNOTE.TXT), and what is made of them.
//!
//! A zip archive lists its members twice: in a directory at its end, and in a header before each.
//! Readers believe either. So the members of both lists are looked at, under both names, and by both
//! methods; that they disagree is a finding. Several ends, junk before the archive and members that
//! lie over each other are read as the most lenient reader would.

use std::ops::Range;

use super::octets::{far, finds, is_at, narrow, piece, rest, u16_at, u32_at, u64_at};
use super::unpack::{End, Method, Unpacked, unpack};
use super::{Place, Walk, office};
use crate::mail::FileType;

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";
/// Comes before a directory that is encrypted.
const EXTRA_RECORD: &[u8] = b"PK\x06\x08";
/// The end record, and the longest comment behind it.
const TAIL: usize = 22 + 65_535;
/// Ends that are tried. An honest archive has one, and perhaps that of a member which is a zip itself.
const ENDS: usize = 8;

const ENCRYPTED: u16 = 1;
const SIZES_FOLLOW: u16 = 1 << 3;
const MASKED: u16 = 1 << 13;

/// A reader that goes by headers would open this.
pub fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(LOCAL) || bytes.starts_with(b"PK\x07\x08PK\x03\x04")
}

pub fn look(walk: &mut Walk<'_>, place: &Place, bytes: &[u8], kind: FileType) {
    let directory = Directory::read(bytes, walk.budget.bounds().entries);
    let is_zip = begins(bytes)
        || matches!(
            kind,
            FileType::Zip | FileType::OfficeXml | FileType::OpenDocument
        );
    if directory.entries.is_empty() && !is_zip {
        return;
    }
    if directory.entries.is_empty() && !bytes.starts_with(END) {
        match finds(bytes, EXTRA_RECORD).next() {
            Some(_) => walk.encrypted(place),
            None => walk.bound(place, "is a broken zip archive: it has no directory"),
        }
    }
    if directory.disagrees {
        walk.bound(
            place,
            "is a broken zip archive: its directory is not as long as it says",
        );
    }
    let mut taken = Vec::new();
    for entry in &directory.entries {
        if !entry.look(walk, place, bytes, &mut taken) {
            return;
        }
    }
    taken.sort_by_key(|range| range.start);
    if overlap(&taken) {
        walk.bound(place, "is a zip archive with members that overlap");
    }
    unlisted(walk, place, bytes, &taken, &directory);
}

fn overlap(sorted: &[Range<usize>]) -> bool {
    sorted.windows(2).any(|pair| match pair {
        [one, next] => next.start < one.end,
        _ => false,
    })
}

/// What stands in the directory or directories at the end.
struct Directory {
    entries: Vec<Central>,
    /// It has other entries than it says.
    disagrees: bool,
    /// What the directory itself takes up.
    span: Range<usize>,
}

impl Directory {
    fn read(bytes: &[u8], most: usize) -> Self {
        let mut directory = Self {
            entries: Vec::new(),
            disagrees: false,
            span: bytes.len()..bytes.len(),
        };
        let from = bytes.len().saturating_sub(TAIL);
        let mut ends: Vec<usize> = finds(rest(bytes, from), END).map(|at| from + at).collect();
        ends.reverse();
        let mut begun = Vec::new();
        for end in ends.into_iter().take(ENDS) {
            // The end of an archive that is a member is looked at with that member.
            if directory.has_within(bytes, end) {
                continue;
            }
            for start in starts(bytes, end) {
                if !begun.contains(&start.at) {
                    begun.push(start.at);
                    directory.extend(bytes, start, most);
                }
            }
        }
        directory
    }

    /// This place is in the octets of a member.
    fn has_within(&self, bytes: &[u8], place: usize) -> bool {
        self.entries.iter().any(|entry| {
            let local = entry.places.iter().find_map(|at| Local::read(bytes, *at));
            local.is_some_and(|it| {
                let end = it.data.saturating_add(far(entry.packed));
                (it.data..end).contains(&place)
            })
        })
    }

    fn extend(&mut self, bytes: &[u8], start: Start, most: usize) {
        let mut at = start.at;
        let before = self.entries.len();
        // One more than are looked at, so that it is noticed.
        while self.entries.len() <= most {
            let Some((entry, next)) = Central::read(bytes, at, start.shift) else {
                break;
            };
            self.entries.push(entry);
            at = next;
        }
        let found = self.entries.len() - before;
        if self.entries.len() <= most {
            self.disagrees |= found & 0xffff != start.count & 0xffff;
        }
        self.span = self.span.start.min(start.at)..self.span.end.max(at);
    }
}

/// Where a directory begins.
#[derive(Debug, Clone, Copy)]
struct Start {
    at: usize,
    /// What has to be added to the places in it: something stands before the archive.
    shift: usize,
    count: usize,
}

/// Where the directory of this end begins: right before the end, or where the end says.
fn starts(bytes: &[u8], end: usize) -> Vec<Start> {
    let record = rest(bytes, end);
    let mut said = Vec::new();
    if let (Some(count), Some(size), Some(offset)) =
        (u16_at(record, 10), u32_at(record, 12), u32_at(record, 16))
    {
        said.push((end, usize::from(count), far(size), far(offset)));
    }
    if let Some(at) = end_64(bytes, end) {
        let record = rest(bytes, at);
        if let (Some(count), Some(size), Some(offset)) =
            (u64_at(record, 32), u64_at(record, 40), u64_at(record, 48))
        {
            said.push((at, far(count), far(size), far(offset)));
        }
    }
    let mut starts = Vec::new();
    for (end, count, size, offset) in said {
        let behind = end.checked_sub(size);
        for at in behind.into_iter().chain([offset]) {
            let shift = at.saturating_sub(offset);
            if is_at(bytes, at, CENTRAL) {
                starts.push(Start { at, shift, count });
            }
        }
    }
    starts
}

/// The end record for large archives: where the locator says, or right before the locator.
fn end_64(bytes: &[u8], end: usize) -> Option<usize> {
    let locator = end.checked_sub(20)?;
    if !is_at(bytes, locator, LOCATOR_64) {
        return None;
    }
    let said = far(u64_at(bytes, locator + 8)?);
    let before = locator.checked_sub(56);
    [Some(said), before]
        .into_iter()
        .flatten()
        .find(|at| is_at(bytes, *at, END_64))
}

/// An entry of the directory.
#[derive(Debug)]
struct Central {
    flags: u16,
    method: u16,
    packed: u64,
    unpacked: u64,
    names: Vec<String>,
    /// Where its own header is, and where it is said to be.
    places: [usize; 2],
}

impl Central {
    fn read(bytes: &[u8], at: usize, shift: usize) -> Option<(Self, usize)> {
        let header = rest(bytes, at);
        if !header.starts_with(CENTRAL) {
            return None;
        }
        let name = piece(header, 46, usize::from(u16_at(header, 28)?));
        let extra_at = 46 + name.len();
        let extra = piece(header, extra_at, usize::from(u16_at(header, 30)?));
        let comment = usize::from(u16_at(header, 32)?);
        let (mut unpacked, mut packed) = (
            u64::from(u32_at(header, 24)?),
            u64::from(u32_at(header, 20)?),
        );
        let mut offset = u64::from(u32_at(header, 42)?);
        let mut large = extra_field(extra, 1).unwrap_or_default();
        for value in [&mut unpacked, &mut packed, &mut offset] {
            if let (0xffff_ffff, Some(real)) = (*value, u64_at(large, 0)) {
                *value = real;
                large = rest(large, 8);
            }
        }
        let entry = Self {
            flags: u16_at(header, 8)?,
            method: u16_at(header, 10)?,
            packed,
            unpacked,
            names: names(name, extra),
            places: [far(offset).saturating_add(shift), far(offset)],
        };
        Some((entry, at + extra_at + extra.len() + comment))
    }

    /// Looks at the member, and notes what it takes up. `false`: there have been enough members.
    fn look(
        &self,
        walk: &mut Walk<'_>,
        place: &Place,
        bytes: &[u8],
        taken: &mut Vec<Range<usize>>,
    ) -> bool {
        let local = self.places.iter().find_map(|at| Local::read(bytes, *at));
        let Some(local) = local else {
            walk.bound(
                place,
                "is a broken zip archive: it lists a member that it does not hold",
            );
            return self.names.iter().all(|name| {
                office::named(walk, place, name);
                walk.listed(&place.of(name))
            });
        };
        let size = match local.sizes_follow() {
            true => self.packed,
            false => self.packed.max(local.packed),
        };
        let mut names = self.names.clone();
        for name in &local.names {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        if self.disagrees(&local) {
            walk.bound(
                place,
                "is a zip archive whose directory disagrees with its members",
            );
        }
        let data = local.data..local.data.saturating_add(far(size)).min(bytes.len());
        taken.push(local.at..data.end);
        let packed = Packed {
            encrypted: self.is_encrypted() && local.is_encrypted(),
            may_be_encrypted: self.is_encrypted() || local.is_encrypted(),
            methods: [self.method, local.method],
            unpacked: Some(self.unpacked),
            cut: far(size) > rest(bytes, local.data).len(),
            bytes: piece(bytes, local.data, far(size)),
        };
        packed.look(walk, place, &names)
    }

    fn disagrees(&self, local: &Local) -> bool {
        let sizes = !local.sizes_follow()
            && (self.packed != local.packed || self.unpacked != local.unpacked);
        // A directory whose names are masked is encrypted as a whole.
        let named =
            self.flags & MASKED != 0 || local.names.iter().any(|it| self.names.contains(it));
        sizes
            || !named
            || self.method != local.method
            || self.is_encrypted() != local.is_encrypted()
    }

    const fn is_encrypted(&self) -> bool {
        self.flags & (ENCRYPTED | MASKED) != 0 || self.method == 99
    }
}

/// The header before a member.
#[derive(Debug)]
struct Local {
    at: usize,
    flags: u16,
    method: u16,
    packed: u64,
    unpacked: u64,
    names: Vec<String>,
    /// Where the member's octets begin.
    data: usize,
}

impl Local {
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let header = rest(bytes, at);
        if !header.starts_with(LOCAL) {
            return None;
        }
        let length = usize::from(u16_at(header, 26)?);
        let more = usize::from(u16_at(header, 28)?);
        let (name, extra) = (piece(header, 30, length), piece(header, 30 + length, more));
        let (mut packed, mut unpacked) = (
            u64::from(u32_at(header, 18)?),
            u64::from(u32_at(header, 22)?),
        );
        if let Some(large) = extra_field(extra, 1) {
            if let (0xffff_ffff, Some(real)) = (unpacked, u64_at(large, 0)) {
                unpacked = real;
            }
            if let (0xffff_ffff, Some(real)) = (packed, u64_at(large, 8)) {
                packed = real;
            }
        }
        Some(Self {
            at,
            flags: u16_at(header, 6)?,
            method: u16_at(header, 8)?,
            packed,
            unpacked,
            names: names(name, extra),
            data: at + 30 + length + more,
        })
    }

    /// Its sizes stand behind the member.
    const fn sizes_follow(&self) -> bool {
        self.flags & SIZES_FOLLOW != 0 && self.packed == 0
    }

    const fn is_encrypted(&self) -> bool {
        self.flags & (ENCRYPTED | MASKED) != 0 || self.method == 99
    }

    /// It is no chance that these octets look like a header.
    fn makes_sense(bytes: &[u8], at: usize) -> bool {
        let field = |offset: usize| u16_at(bytes, at + offset).unwrap_or(u16::MAX);
        let (name, extra) = (usize::from(field(26)), usize::from(field(28)));
        field(4) & 0xff <= 63
            && is_known(field(8))
            && name > 0
            && at + 30 + name + extra <= bytes.len()
    }
}

/// Members that have a header and are in no directory: whoever reads from the beginning sees them.
fn unlisted(
    walk: &mut Walk<'_>,
    place: &Place,
    bytes: &[u8],
    taken: &[Range<usize>],
    directory: &Directory,
) {
    let mut from = 0;
    let listed = !directory.entries.is_empty();
    for range in taken
        .iter()
        .chain([&directory.span, &(bytes.len()..bytes.len())])
    {
        let to = range.start.min(bytes.len());
        while let Some(local) = next_local(bytes, from..to) {
            if listed {
                walk.bound(
                    place,
                    "is a zip archive that holds a member which it does not list",
                );
            }
            let known = match local.sizes_follow() {
                true => to.saturating_sub(local.data),
                false => far(local.packed).min(bytes.len().saturating_sub(local.data)),
            };
            let packed = Packed {
                encrypted: local.is_encrypted(),
                may_be_encrypted: local.is_encrypted(),
                methods: [local.method; 2],
                unpacked: (!local.sizes_follow()).then_some(local.unpacked),
                cut: !local.sizes_follow() && far(local.packed) > known,
                bytes: piece(bytes, local.data, known),
            };
            if !packed.look(walk, place, &local.names) {
                return;
            }
            // The end of a member whose size is not said is unknown: the next may be in its octets.
            from = local.data + if local.sizes_follow() { 0 } else { known };
        }
        from = from.max(range.end);
    }
}

fn next_local(bytes: &[u8], gap: Range<usize>) -> Option<Local> {
    let part = bytes.get(gap.clone())?;
    finds(part, LOCAL)
        .map(|at| gap.start + at)
        .filter(|at| Local::makes_sense(bytes, *at))
        .find_map(|at| Local::read(bytes, at))
}

/// A member's octets, and all that is said of how to read them.
struct Packed<'a> {
    encrypted: bool,
    /// Only one of its headers says so.
    may_be_encrypted: bool,
    methods: [u16; 2],
    unpacked: Option<u64>,
    /// The archive ends before the member does.
    cut: bool,
    bytes: &'a [u8],
}

impl Packed<'_> {
    fn look(&self, walk: &mut Walk<'_>, place: &Place, names: &[String]) -> bool {
        let Some((name, others)) = names.split_first() else {
            return true;
        };
        for name in names {
            office::named(walk, place, name);
        }
        for other in others {
            if !walk.listed(&place.of(other)) {
                return false;
            }
        }
        let member = place.of(name);
        if self.may_be_encrypted {
            walk.encrypted(&member);
        }
        if self.encrypted || (self.bytes.is_empty() && !self.cut) {
            return walk.listed(&member);
        }
        let [one, other] = self.methods;
        let more = self.content(walk, &member, one);
        if one == other {
            return more;
        }
        more && self.content(walk, &member, other)
    }

    fn content(&self, walk: &mut Walk<'_>, member: &Place, method: u16) -> bool {
        let Some(how) = self.method(method) else {
            walk.bound(member, "is packed by a method that cannot be undone");
            return walk.listed(member);
        };
        let mut unpacked = unpack(how, self.bytes, walk.budget);
        if self.cut && unpacked.end == End::Whole {
            unpacked.end = match how {
                Method::Stored => End::Broken,
                _ => End::Whole,
            };
        }
        if unpacked.end == End::Whole && self.is_other_size(&unpacked) {
            walk.bound(member, "has another size than the archive says");
        }
        walk.member(member, &unpacked)
    }

    fn is_other_size(&self, unpacked: &Unpacked<'_>) -> bool {
        self.unpacked
            .is_some_and(|size| size != unpacked.bytes.len() as u64)
    }

    fn method(&self, method: u16) -> Option<Method> {
        Some(match method {
            0 => Method::Stored,
            8 => Method::Deflate,
            9 => Method::Deflate64,
            12 => Method::Bzip2,
            14 => Method::ZipLzma(self.unpacked),
            93 | 20 => Method::Zstandard,
            95 => Method::Xz,
            _ => return None,
        })
    }
}

const fn is_known(method: u16) -> bool {
    matches!(method, 0..=10 | 12 | 14 | 16 | 18..=20 | 93..=99)
}

fn extra_field(mut extra: &[u8], id: u16) -> Option<&[u8]> {
    while let (Some(this), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        if this == id {
            return Some(piece(extra, 4, usize::from(length)));
        }
        extra = rest(extra, 4 + usize::from(length));
    }
    None
}

/// The name in the header, and the one in UTF-8 beside it (APPNOTE §4.6.9).
fn names(name: &[u8], extra: &[u8]) -> Vec<String> {
    let mut names = vec![String::from_utf8_lossy(name).into_owned()];
    if let Some(field) = extra_field(extra, 0x7075) {
        let other = narrow(rest(field, 5));
        if !other.is_empty() && !names.contains(&other) {
            names.push(other);
        }
    }
    names
}
