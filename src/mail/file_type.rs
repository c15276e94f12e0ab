//! What a file really is, by its content: never by its name or by what a sender says of it.
//!
//! Pure. Looks at a bounded part of the content, and cannot fail: what it does not know is `unknown`.
//! It reads as lenient readers do, since a file that some program opens is what that program takes it
//! for: junk before a PDF's header, a program before a zip archive. Where a file is several things at
//! once, what runs counts before what is unpacked, and that before what is shown.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::event::words;

words! {
    FileType {
        /// Runs by itself on some machine: PE, ELF, Mach-O, MSI, class files, compiled help.
        Executable = "executable",
        Script = "script",
        /// A Windows shortcut, or a file of another kind that does no more than start something.
        Shortcut = "shortcut",
        Zip = "zip archive",
        Rar = "rar archive",
        SevenZip = "7z archive",
        Tar = "tar archive",
        Gzip = "gzip archive",
        Bzip2 = "bzip2 archive",
        Xz = "xz archive",
        Zstandard = "zstandard archive",
        Cabinet = "cab archive",
        /// arj, lzh, ace, cpio, ar, rpm, xar, szdd, wim, compress, lzip, lz4.
        OtherArchive = "other archive",
        Disk = "disk image",
        /// Word, Excel and PowerPoint up to 2003, and other compound files.
        Compound = "compound document",
        /// Word, Excel and PowerPoint since 2007.
        OfficeXml = "office document",
        OpenDocument = "opendocument",
        OneNote = "onenote document",
        Rtf = "rtf document",
        Pdf = "pdf document",
        Html = "html",
        Image = "image",
        Audio = "audio",
        Video = "video",
        /// A message, or what Outlook makes of one (TNEF).
        Message = "message",
        Text = "text",
        Unknown = "unknown",
    }
}

/// How much of the beginning is searched for what tells a text's kind.
const HEAD: usize = 4096;
/// A PDF's header may come this late (ISO 32000-1, Annex H, note 13).
const PDF_JUNK: usize = 1024;
/// A zip archive's end record and the longest comment behind it.
const ZIP_TAIL: usize = 22 + 65_535;
/// How much at either end of a zip archive is searched for the names of its members.
const ZIP_NAMES: usize = 128 * 1024;
const COMPOUND: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
const CLASS_END: [u8; 12] = [0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46];

impl FileType {
    /// The type of a file with this content.
    pub fn of(bytes: &[u8]) -> Self {
        by_signature(bytes)
            .or_else(|| by_later_signature(bytes))
            .or_else(|| by_text(bytes))
            .unwrap_or(Self::Unknown)
    }

    /// It starts something when it is opened.
    pub const fn runs(self) -> bool {
        matches!(self, Self::Executable | Self::Script | Self::Shortcut)
    }

    /// It holds other files, and is made for nothing else.
    pub const fn is_archive(self) -> bool {
        matches!(
            self,
            Self::Zip
                | Self::Rar
                | Self::SevenZip
                | Self::Tar
                | Self::Gzip
                | Self::Bzip2
                | Self::Xz
                | Self::Zstandard
                | Self::Cabinet
                | Self::OtherArchive
                | Self::Disk
        )
    }

    /// Made of pieces that nobody put there as files, though there may be files among them.
    pub const fn is_document(self) -> bool {
        self.holds_files() && !self.is_archive() && !matches!(self, Self::Message)
    }

    /// Other files may be in it: it is an archive, or a document that takes objects in.
    pub const fn holds_files(self) -> bool {
        self.is_archive()
            || matches!(
                self,
                Self::Compound
                    | Self::OfficeXml
                    | Self::OpenDocument
                    | Self::OneNote
                    | Self::Rtf
                    | Self::Pdf
                    | Self::Message
            )
    }
}

/// What stands in the very first octets. An order only where one is the beginning of another.
#[rustfmt::skip]
const SIGNATURES: &[(&[u8], FileType)] = &[
    (b"\x7fELF", FileType::Executable),
    (b"\xfe\xed\xfa\xce", FileType::Executable),
    (b"\xfe\xed\xfa\xcf", FileType::Executable),
    (b"\xce\xfa\xed\xfe", FileType::Executable),
    (b"\xcf\xfa\xed\xfe", FileType::Executable),
    (b"\xca\xfe\xba\xbe", FileType::Executable), // class files, and Mach-O for several machines
    (b"\xca\xfe\xba\xbf", FileType::Executable),
    (b"dex\n03", FileType::Executable),
    (b"\0asm", FileType::Executable),
    (b"ITSF", FileType::Executable), // compiled help (.chm)
    (b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F", FileType::Shortcut),
    (b"Rar!\x1a\x07\0", FileType::Rar),
    (b"Rar!\x1a\x07\x01\0", FileType::Rar),
    (b"RE~^", FileType::Rar), // before 1.5
    (b"7z\xbc\xaf\x27\x1c", FileType::SevenZip),
    (b"\x1f\x8b", FileType::Gzip),
    (b"\xfd7zXZ\0", FileType::Xz),
    (b"\x28\xb5\x2f\xfd", FileType::Zstandard),
    (b"MSCF\0\0\0\0", FileType::Cabinet),
    (b"!<arch>\n", FileType::OtherArchive),
    (b"\xed\xab\xee\xdb", FileType::OtherArchive), // rpm
    (b"xar!", FileType::OtherArchive),
    (b"SZDD\x88\xf0\x27\x33", FileType::OtherArchive),
    (b"KWAJ\x88\xf0\x27\xd1", FileType::OtherArchive),
    (b"MSWIM\0\0\0", FileType::OtherArchive),
    (b"070701", FileType::OtherArchive), // cpio
    (b"070702", FileType::OtherArchive),
    (b"070707", FileType::OtherArchive),
    (b"\xc7\x71", FileType::OtherArchive),
    (b"\x71\xc7", FileType::OtherArchive),
    (b"\x60\xea", FileType::OtherArchive), // arj
    (b"\x1f\x9d", FileType::OtherArchive), // compress
    (b"\x1f\xa0", FileType::OtherArchive),
    (b"LZIP", FileType::OtherArchive),
    (b"\x04\x22\x4d\x18", FileType::OtherArchive), // lz4
    (b"ISc(", FileType::OtherArchive), // InstallShield
    (b"vhdxfile", FileType::Disk),
    (b"conectix", FileType::Disk),
    (b"QFI\xfb", FileType::Disk),
    (b"KDMV", FileType::Disk),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", FileType::OneNote),
    (b"\x78\x9f\x3e\x22", FileType::Message), // TNEF
    (b"\x89PNG\r\n\x1a\n", FileType::Image),
    (b"\xff\xd8\xff", FileType::Image),
    (b"GIF87a", FileType::Image),
    (b"GIF89a", FileType::Image),
    (b"II*\0", FileType::Image),
    (b"MM\0*", FileType::Image),
    (b"II+\0", FileType::Image),
    (b"8BPS", FileType::Image),
    (b"\0\0\x01\0", FileType::Image), // icon
    (b"\xd7\xcd\xc6\x9a", FileType::Image), // WMF
    (b"\x01\0\0\0\x58\0\0\0", FileType::Image), // EMF
    (b"\0\0\0\x0cjP  ", FileType::Image),
    (b"\xff\x4f\xff\x51", FileType::Image),
    (b"ID3", FileType::Audio),
    (b"\xff\xfb", FileType::Audio),
    (b"\xff\xf3", FileType::Audio),
    (b"\xff\xf2", FileType::Audio),
    (b"\xff\xf1", FileType::Audio),
    (b"\xff\xf9", FileType::Audio),
    (b"OggS", FileType::Audio),
    (b"fLaC", FileType::Audio),
    (b"MThd", FileType::Audio),
    (b"#!AMR", FileType::Audio),
    (b".snd", FileType::Audio),
    (b"\x1a\x45\xdf\xa3", FileType::Video),
    (b"FLV\x01", FileType::Video),
    (b"\0\0\x01\xba", FileType::Video),
    (b"\0\0\x01\xb3", FileType::Video),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", FileType::Video),
];

fn by_signature(bytes: &[u8]) -> Option<FileType> {
    if is_program(bytes) {
        return Some(FileType::Executable);
    }
    if begins_zip(bytes) {
        return Some(kind_of_zip(bytes));
    }
    if bytes.starts_with(COMPOUND) {
        return Some(kind_of_compound(bytes));
    }
    let begins =
        |signature: &&[u8]| signature.first() == bytes.first() && bytes.starts_with(signature);
    SIGNATURES
        .iter()
        .find(|(signature, _)| begins(signature))
        .map(|(_, kind)| *kind)
        .or_else(|| by_two_signatures(bytes))
}

/// Begins with MZ, and has what no program of that kind can do without: the header that the one at
/// the beginning points to, or, of a DOS program, something behind its header that can be loaded.
fn is_program(bytes: &[u8]) -> bool {
    if !bytes.starts_with(b"MZ") && !bytes.starts_with(b"ZM") {
        return false;
    }
    newer_header(bytes).is_some_and(|at| begins_newer(bytes, at))
        || (!is_text(slice(bytes, 0, 256)) && (points_beyond(bytes) || is_dos_program(bytes)))
}

/// Where the header of a program for Windows or OS/2 is said to be.
fn newer_header(bytes: &[u8]) -> Option<usize> {
    let field = bytes.get(60..64)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(field)).ok()
}

fn begins_newer(bytes: &[u8], at: usize) -> bool {
    let marks: [&[u8]; 4] = [b"PE\0\0", b"NE", b"LE", b"LX"];
    marks
        .iter()
        .any(|mark| slice(bytes, at, mark.len()) == *mark)
}

/// Of what is very large only the beginning may be here. Windows wants the header before this place.
fn points_beyond(bytes: &[u8]) -> bool {
    const FURTHEST: usize = 1 << 28;
    newer_header(bytes).is_some_and(|at| bytes.len() <= at && at < FURTHEST)
}

/// DOS reads 28 octets, skips the header, whose length in units of 16 is one of them, and loads the rest.
fn is_dos_program(bytes: &[u8]) -> bool {
    const HEADER: usize = 28;
    let length = slice(bytes, 8, 2).try_into().map(u16::from_le_bytes);
    let length = length.map_or(usize::MAX, |it| usize::from(it) * 16);
    HEADER <= bytes.len() && length < bytes.len()
}

fn begins_zip(bytes: &[u8]) -> bool {
    let marks: [&[u8]; 4] = [
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"PK\x07\x08PK\x03\x04",
        b"PK00PK\x03\x04",
    ];
    marks.iter().any(|mark| bytes.starts_with(mark))
}

/// What is told by two places, or by a place and a field that makes sense.
fn by_two_signatures(bytes: &[u8]) -> Option<FileType> {
    let at = |from: usize, mark: &[u8]| slice(bytes, from, mark.len()) == mark;
    if at(0, b"BZh") && bytes.get(3).is_some_and(|it| (b'1'..=b'9').contains(it)) {
        return Some(FileType::Bzip2);
    }
    if at(0, b"RIFF") || at(0, b"RIFX") {
        return Some(match slice(bytes, 8, 4) {
            b"WEBP" => FileType::Image,
            b"WAVE" | b"RMID" => FileType::Audio,
            _ => FileType::Video,
        });
    }
    if at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC")) {
        return Some(FileType::Audio);
    }
    if at(4, b"ftyp") {
        return Some(kind_of_box(slice(bytes, 8, 4)));
    }
    if at(4, b"moov") || at(4, b"mdat") {
        return Some(FileType::Video);
    }
    if at(0, b"BM") && at(6, &[0; 4]) {
        return Some(FileType::Image);
    }
    if at(2, b"-lh") || at(2, b"-lz") {
        return Some(FileType::OtherArchive);
    }
    if at(7, b"**ACE**") {
        return Some(FileType::OtherArchive);
    }
    at(128, b"DICM").then_some(FileType::Image)
}

fn kind_of_box(brand: &[u8]) -> FileType {
    match brand {
        b"heic" | b"heix" | b"mif1" | b"msf1" | b"avif" | b"avis" => FileType::Image,
        b"M4A " | b"M4B " | b"M4P " => FileType::Audio,
        _ => FileType::Video,
    }
}

/// A zip archive by what it is used for.
fn kind_of_zip(bytes: &[u8]) -> FileType {
    let has = |name: &[u8]| lists(bytes, name);
    if has(b"[Content_Types].xml") && (has(b"_rels/.rels") || has(b"docProps/app.xml")) {
        return FileType::OfficeXml;
    }
    let opened = b"mimetypeapplication/vnd.oasis.opendocument";
    let older = b"mimetypeapplication/vnd.sun.xml.";
    let declared = |mark: &[u8]| slice(bytes, 30, mark.len()) == mark;
    if declared(opened) || declared(older) {
        return FileType::OpenDocument;
    }
    if has(b"META-INF/manifest.xml") && (has(b"content.xml") || has(b"mimetype")) {
        return FileType::OpenDocument;
    }
    FileType::Zip
}

/// A header at either end of the archive has this name.
fn lists(bytes: &[u8], name: &[u8]) -> bool {
    let tail = bytes.len().saturating_sub(ZIP_NAMES);
    [slice(bytes, 0, ZIP_NAMES), slice(bytes, tail, ZIP_NAMES)]
        .iter()
        .any(|part| names(part, name))
}

fn names(part: &[u8], name: &[u8]) -> bool {
    let header = |at: usize, before: usize, mark: &[u8]| {
        at.checked_sub(before)
            .is_some_and(|from| slice(part, from, 4) == mark)
    };
    places(part, name).any(|at| header(at, 30, b"PK\x03\x04") || header(at, 46, b"PK\x01\x02"))
}

/// An installer is a compound file whose root has the installer's class ([MS-CFB] §2.6.1).
fn kind_of_compound(bytes: &[u8]) -> FileType {
    let shift = match slice(bytes, 30, 2) {
        [12, 0] => 12,
        _ => 9,
    };
    let sector = slice(bytes, 48, 4)
        .try_into()
        .map_or(0, |it| u64::from(u32::from_le_bytes(it)));
    let root = usize::try_from((sector + 1) << shift).unwrap_or(usize::MAX);
    let class = slice(bytes, root.saturating_add(80), 16);
    match class.split_first() {
        Some((0x82 | 0x84 | 0x86, rest)) if rest.starts_with(&[0x10, 0x0c]) => {
            match rest.ends_with(&CLASS_END) {
                true => FileType::Executable,
                false => FileType::Compound,
            }
        }
        _ => FileType::Compound,
    }
}

/// What may come after something else.
fn by_later_signature(bytes: &[u8]) -> Option<FileType> {
    static PDF: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"%PDF-"));
    if PDF.find(slice(bytes, 0, PDF_JUNK + 5)).is_some() {
        return Some(FileType::Pdf);
    }
    if is_tar(bytes) {
        return Some(FileType::Tar);
    }
    if is_disk(bytes) {
        return Some(FileType::Disk);
    }
    ends_zip(bytes).then(|| kind_of_zip(bytes))
}

/// The header's checksum is right: the old form has no other mark.
fn is_tar(bytes: &[u8]) -> bool {
    let Some(header) = bytes.get(..512) else {
        return slice(bytes, 257, 5) == b"ustar";
    };
    let (before, rest) = header.split_at(148);
    let sum = |part: &[u8]| part.iter().map(|octet| u32::from(*octet)).sum::<u32>();
    let (said, after) = rest.split_at(8);
    let octal = said
        .iter()
        .filter(|octet| (b'0'..=b'7').contains(octet))
        .fold(0_u32, |value, octet| (value << 3) | u32::from(octet - b'0'));
    let named = header.first().is_some_and(|octet| *octet != 0);
    named && octal != 0 && octal == sum(before) + sum(after) + 8 * u32::from(b' ')
}

fn is_disk(bytes: &[u8]) -> bool {
    let at = |from: usize, mark: &[u8]| slice(bytes, from, mark.len()) == mark;
    let volume = (16..32).any(|sector| {
        [b"CD001", b"BEA01", b"NSR02", b"NSR03"]
            .iter()
            .any(|mark| at(sector * 2048 + 1, *mark))
    });
    let tail = bytes.len().saturating_sub(512);
    let boot = at(510, b"\x55\xaa")
        && (at(3, b"NTFS    ") || at(54, b"FAT") || at(82, b"FAT32") || at(3, b"EXFAT   "));
    let partitions = at(510, b"\x55\xaa")
        && slice(bytes, 446, 64)
            .chunks(16)
            .all(|entry| matches!(entry.first(), Some(0 | 0x80)));
    volume || boot || partitions || at(tail, b"conectix") || at(tail, b"koly")
}

/// Whatever comes before it, unpackers look for a zip archive from its end.
fn ends_zip(bytes: &[u8]) -> bool {
    static END: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"PK\x05\x06"));
    let from = bytes.len().saturating_sub(ZIP_TAIL);
    let tail = slice(bytes, from, ZIP_TAIL);
    END.find_iter(tail).any(|at| {
        let field = |offset: usize| {
            slice(tail, at + offset, 4)
                .try_into()
                .ok()
                .and_then(|it| usize::try_from(u32::from_le_bytes(it)).ok())
        };
        let (Some(size), Some(offset)) = (field(12), field(16)) else {
            return false;
        };
        let end = from + at;
        let listed = |at: usize| slice(bytes, at, 4) == b"PK\x01\x02";
        size >= 46 && (end.checked_sub(size).is_some_and(listed) || listed(offset))
    })
}

fn by_text(bytes: &[u8]) -> Option<FileType> {
    let head = readable(slice(bytes, 0, HEAD));
    let head = head.trim_ascii_start();
    if head.starts_with(b"{\\rt") {
        return Some(FileType::Rtf);
    }
    let markup = Markup::of(head);
    if head.is_empty() || !is_text(head) {
        return markup.page.then_some(FileType::Html);
    }
    (markup.program || begins_script(head))
        .then_some(FileType::Script)
        .or_else(|| shortcut(head))
        .or_else(|| is_message(head).then_some(FileType::Message))
        .or_else(|| markup.shown())
        .or(Some(FileType::Text))
}

/// Without a byte order mark, and UTF-16 as the ASCII that is in it.
fn readable(head: &[u8]) -> Cow<'_, [u8]> {
    let narrow = |rest: &[u8], high: usize| {
        let octets = rest.chunks_exact(2).map(|pair| match pair.get(high) {
            Some(0) => pair.get(1 - high).copied().unwrap_or(b'?'),
            _ => b'?',
        });
        octets.collect::<Vec<u8>>().into()
    };
    match head {
        [0xef, 0xbb, 0xbf, rest @ ..] => rest.into(),
        [0xff, 0xfe, rest @ ..] => narrow(rest, 1),
        [0xfe, 0xff, rest @ ..] => narrow(rest, 0),
        [b'<' | b'#' | b'@' | b'{', 0, _, 0, ..] => narrow(head, 1),
        _ => head.into(),
    }
}

fn begins_script(head: &[u8]) -> bool {
    let shebang = head.strip_prefix(b"#!").map(<[u8]>::trim_ascii_start);
    let begins = [
        b"@echo off".as_slice(),
        b"<?php",
        b"#@~^",
        b"windows registry editor",
        b"regedit4",
        b"<job",
        b"<package>",
    ];
    shebang.is_some_and(|it| it.starts_with(b"/")) || starts_with_any(head, &begins)
}

fn shortcut(head: &[u8]) -> Option<FileType> {
    let begins = [
        b"[internetshortcut]".as_slice(),
        b"[desktop entry]",
        b"[shell]",
    ];
    starts_with_any(head, &begins).then_some(FileType::Shortcut)
}

/// It begins with two header fields that only messages have.
fn is_message(head: &[u8]) -> bool {
    const FIELDS: &[&[u8]] = &[
        b"received:",
        b"from:",
        b"to:",
        b"subject:",
        b"date:",
        b"message-id:",
        b"mime-version:",
        b"return-path:",
        b"delivered-to:",
        b"content-type:",
        b"content-transfer-encoding:",
        b"x-",
    ];
    let mut lines = head.split(|octet| *octet == b'\n').peekable();
    lines.next_if(|line| starts_with_word(line, b"from "));
    let fields = lines
        .take_while(|line| line.starts_with(b" ") || line.starts_with(b"\t") || is_field(line))
        .filter(|line| starts_with_any(line, FIELDS));
    fields.take(2).count() == 2
}

fn is_field(line: &[u8]) -> bool {
    let name = line.split(|octet| *octet == b':').next().unwrap_or(b"");
    name.len() < line.len() && !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

/// What makes a text more than that, wherever it stands; the stronger goes first.
const PROGRAMS: [&[u8]; 2] = [b"<hta:application", b"<scriptlet"];
const PAGES: [&[u8]; 7] = [
    b"<!doctype html",
    b"<html",
    b"<head",
    b"<body",
    b"<script",
    b"<iframe",
    b"<meta ",
];
const PICTURES: [&[u8]; 1] = [b"<svg"];

#[derive(Debug, Default)]
struct Markup {
    program: bool,
    page: bool,
    picture: bool,
}

impl Markup {
    /// All marks are looked for at once, where they may begin.
    fn of(head: &[u8]) -> Self {
        let mut found = Self::default();
        for at in memchr::memchr_iter(b'<', head) {
            let rest = head.get(at..).unwrap_or_default();
            found.program |= starts_with_any(rest, &PROGRAMS);
            found.page |= starts_with_any(rest, &PAGES);
            found.picture |= starts_with_any(rest, &PICTURES);
        }
        found
    }

    const fn shown(&self) -> Option<FileType> {
        match (self.page, self.picture) {
            (true, _) => Some(FileType::Html),
            (false, true) => Some(FileType::Image),
            (false, false) => None,
        }
    }
}

/// In whichever case.
fn starts_with_any(text: &[u8], words: &[&[u8]]) -> bool {
    words.iter().any(|word| starts_with_word(text, word))
}

fn starts_with_word(text: &[u8], word: &[u8]) -> bool {
    let start = text.get(..word.len());
    start.is_some_and(|it| it.eq_ignore_ascii_case(word))
}

/// No control characters but those of text; whatever the character set.
fn is_text(head: &[u8]) -> bool {
    // Nothing here depends on what came before, so that many octets are looked at in one step.
    let is_odd = |octet: u8| {
        let is_control = (octet < b' ') | (octet == 0x7f);
        let is_blank = (b'\t'..=b'\r').contains(&octet) & (octet != 0x0b);
        is_control & !is_blank & (octet != 0x1b)
    };
    !head.iter().fold(false, |odd, octet| odd | is_odd(*octet))
}

/// As much of it as there is.
fn slice(bytes: &[u8], from: usize, length: usize) -> &[u8] {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.get(..length).unwrap_or(rest)
}

fn places<'a>(part: &'a [u8], mark: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    memchr::memmem::find_iter(part, mark)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::FileType::{self, *};

    fn at(place: usize, mark: &[u8]) -> Vec<u8> {
        [&vec![0; place], mark].concat()
    }

    /// The header of a DOS program, so long in units of 16, and `there` where it points to.
    fn mz(length: u16, points: u32, there: &[u8]) -> Vec<u8> {
        let mut file = b"MZ\x90\0\x03\0\0\0".to_vec();
        file.extend(length.to_le_bytes());
        file.resize(60, 0);
        file.extend(points.to_le_bytes());
        if !there.is_empty() && points > 64 {
            file.resize(points as usize, 0);
        }
        file.extend(there);
        file
    }

    fn local(name: &str) -> Vec<u8> {
        let mut header = b"PK\x03\x04".to_vec();
        header.resize(26, 0);
        header.extend([name.len() as u8, 0, 0, 0]);
        header.extend(name.as_bytes());
        header
    }

    fn central(name: &str) -> Vec<u8> {
        let mut header = b"PK\x01\x02".to_vec();
        header.resize(46, 0);
        header.extend(name.as_bytes());
        header
    }

    /// Something, and a zip archive behind it whose offsets do not know of that.
    fn behind(before: &[u8], names: &[&str]) -> Vec<u8> {
        let directory: Vec<u8> = names.iter().flat_map(|name| central(name)).collect();
        let mut end = b"PK\x05\x06".to_vec();
        end.resize(12, 0);
        end.extend((directory.len() as u32).to_le_bytes());
        end.extend([0; 6]);
        [before, &local("a"), &directory, &end].concat()
    }

    fn tar(name: &str) -> Vec<u8> {
        let mut header = vec![0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|it| u32::from(*it)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header
    }

    fn compound(class: &[u8]) -> Vec<u8> {
        let mut file = super::COMPOUND.to_vec();
        file.resize(30, 0);
        file.extend([9, 0]);
        file.resize(48, 0);
        file.extend([1, 0, 0, 0]);
        file.resize(1024 + 80, 0);
        file.extend(class);
        file
    }

    fn utf16(text: &str) -> Vec<u8> {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [0xff, 0xfe].into_iter().chain(units).collect()
    }

    const INSTALLER: &[u8] = b"\x84\x10\x0c\0\0\0\0\0\xc0\0\0\0\0\0\0F";

    #[test]
    fn a_file_is_what_its_content_says() {
        #[rustfmt::skip]
        let cases: Vec<(Vec<u8>, FileType)> = vec![
            (mz(4, 0x80, b"PE\0\0L\x01"), Executable),
            (mz(0, 0x40, b"PE\0\0L\x01"), Executable),
            (mz(0xffff, 0x1000, b"NE\x05"), Executable),
            (mz(0xffff, 0x80, b"LE\0\0"), Executable),
            (mz(0xffff, 0x80, b"LX\0\0"), Executable),
            (mz(0xffff, 0x0fff_ffff, b""), Executable), // only its beginning is here
            (mz(0xffff, 0x80, b"PX\0\0"), Unknown),
            (mz(0xffff, 0xf000_0000, b""), Unknown),
            (mz(2, 0, b"\xb4\x4c\xcd\x21"), Executable), // DOS
            ([b"ZM", &mz(2, 0, b"\xb4\x4c\xcd\x21")[2..]].concat(), Executable),
            (mz(5, 0, b"\xb4\x4c\xcd\x21"), Unknown), // its header is longer than the file
            (mz(0, 0, b"")[..27].to_vec(), Unknown),
            (b"MZ\x90\0\x03".to_vec(), Unknown),
            (b"MZ".to_vec(), Text),
            (b"MZ no line ends here".to_vec(), Text),
            (b"MZ;Maputo\r\nNO;Oslo\r\n".to_vec(), Text),
            (b"MZ er landskoden til Mosambik. ".repeat(50_000), Text),
            (b"MZ\0\0".repeat(2), Unknown),
            (behind(&mz(4, 0x80, b"PE\0\0"), &["a"]), Executable),
            (b"\x7fELF\x02".to_vec(), Executable),
            (b"\xcf\xfa\xed\xfe".to_vec(), Executable),
            (b"\xca\xfe\xba\xbe\0\0\0\x34".to_vec(), Executable),
            (b"ITSF\x03".to_vec(), Executable),
            (compound(INSTALLER), Executable),
            (compound(b"\x06\x09\x02"), Compound),
            (compound(b""), Compound),
            (b"#!/bin/sh\nrm".to_vec(), Script),
            (b"#! /usr/bin/env python3\n".to_vec(), Script),
            (b"\xef\xbb\xbf#!/bin/sh\n".to_vec(), Script),
            (b"@ECHO OFF\r\ndel *".to_vec(), Script),
            (b"#@~^abc==".to_vec(), Script),
            (utf16("Windows Registry Editor Version 5.00\r\n"), Script),
            (b"<html><head><HTA:APPLICATION id=x>".to_vec(), Script),
            (b"# a heading\n".to_vec(), Text),
            (b"#!AMR\n<\0".to_vec(), Audio),
            (b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F\x9b".to_vec(), Shortcut),
            (b"[InternetShortcut]\r\nURL=file://x".to_vec(), Shortcut),
            (local("a.txt"), Zip),
            (b"PK\x05\x06".to_vec(), Zip),
            (behind(b"junk \x01\x02", &["a.txt"]), Zip),
            (behind(b"\x89PNG\r\n\x1a\n", &["a.txt"]), Image),
            ([local("x.pdf"), b"%PDF-1.7".to_vec()].concat(), Zip),
            ([local("[Content_Types].xml"), local("_rels/.rels")].concat(), OfficeXml),
            (behind(&local("word/document.xml"), &["[Content_Types].xml", "_rels/.rels"]), OfficeXml),
            (local("[Content_Types].xml"), Zip),
            ([local("mimetype"), b"application/vnd.oasis.opendocument.text".to_vec()].concat(), OpenDocument),
            ([local("META-INF/manifest.xml"), local("content.xml")].concat(), OpenDocument),
            ([local("META-INF/MANIFEST.MF"), local("A.class")].concat(), Zip),
            (b"Rar!\x1a\x07\0\xcf".to_vec(), Rar),
            (b"Rar!\x1a\x07\x01\0".to_vec(), Rar),
            (b"7z\xbc\xaf\x27\x1c\0\x04".to_vec(), SevenZip),
            (tar("notes.txt"), Tar),
            (at(257, b"ustar"), Tar),
            (b"\x1f\x8b\x08\0".to_vec(), Gzip),
            (b"BZh91AY&SY".to_vec(), Bzip2),
            (b"BZhello".to_vec(), Text),
            (b"\xfd7zXZ\0\0\x04".to_vec(), Xz),
            (b"\x28\xb5\x2f\xfd\x04".to_vec(), Zstandard),
            (b"MSCF\0\0\0\0".to_vec(), Cabinet),
            (b"\x60\xea\x29\0".to_vec(), OtherArchive),
            (b"!<arch>\ndebian-binary".to_vec(), OtherArchive),
            (b"\x20\x1c-lh5-".to_vec(), OtherArchive),
            (at(32769, b"CD001"), Disk),
            (at(34817, b"BEA01"), Disk),
            (b"vhdxfile".to_vec(), Disk),
            (b"{\\rtf1\\ansi".to_vec(), Rtf),
            (b"{\\rt\\objdata".to_vec(), Rtf),
            (b"%PDF-1.7\n".to_vec(), Pdf),
            ([vec![b'x'; 1000], b"\n%PDF-1.4".to_vec()].concat(), Pdf),
            ([vec![b'x'; 2000], b"\n%PDF-1.4".to_vec()].concat(), Text),
            (b"<!DOCTYPE html><p>".to_vec(), Html),
            (b"\r\n  <!-- x --><Script>".to_vec(), Html),
            (utf16("<html>"), Html),
            (b"\x01<hta:application><BODY>".to_vec(), Html),
            (b"\x01<svg><hta:application>".to_vec(), Unknown),
            (b"[InternetShortcut]\r\n<svg><Scriptlet".to_vec(), Script),
            (b"<svg><hta:applicatio".to_vec(), Image),
            (b"<?xml version='1.0'?><svg>".to_vec(), Image),
            (b"<svg><script>".to_vec(), Html),
            (b"\xff\xd8\xff\xe0".to_vec(), Image),
            (b"RIFF\0\0\0\0WEBP".to_vec(), Image),
            (b"\0\0\0\x18ftypheic".to_vec(), Image),
            (at(128, b"DICM"), Image),
            (b"RIFF\0\0\0\0WAVE".to_vec(), Audio),
            (b"ID3\x03".to_vec(), Audio),
            (b"\0\0\0\x18ftypM4A ".to_vec(), Audio),
            (b"\0\0\0\x18ftypisom".to_vec(), Video),
            (b"RIFF\0\0\0\0AVI ".to_vec(), Video),
            (b"\x1a\x45\xdf\xa3".to_vec(), Video),
            (b"From: a@b\r\nTo: c@d\r\n\r\n<html>".to_vec(), Message),
            (b"From a@b Mon\nReceived: from x\n\tby y\nDate: z\n".to_vec(), Message),
            (b"\x78\x9f\x3e\x22\x01".to_vec(), Message),
            (b"From: a list\r\nof things".to_vec(), Text),
            (b"Gr\xfc\xdfe\r\n".to_vec(), Text),
            ("Blåbær\n".into(), Text),
            (utf16("hei"), Text),
            (b"".to_vec(), Unknown),
            (b"\x01\x02\x03\x04".to_vec(), Unknown),
        ];
        for (content, kind) in cases {
            let shown = String::from_utf8_lossy(super::slice(&content, 0, 40)).into_owned();
            assert_eq!(FileType::of(&content), kind, "{shown:?}");
        }
    }

    #[test]
    fn any_beginning_of_anything_has_a_type() {
        let whole = behind(&compound(INSTALLER), &["[Content_Types].xml"]);
        for length in 0..whole.len() {
            let _ = FileType::of(&whole[..length]);
        }
    }
}
