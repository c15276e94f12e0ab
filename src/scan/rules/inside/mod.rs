//! What is inside of an attachment: the members of archives and documents, and of those again.
//!
//! [`look`] shows every member to its caller, with its name and its type by content, and says what it
//! finds by itself: something that runs, macros, what only a password opens, and whatever could not
//! be looked at to its end. So what it says nothing of has been looked at whole.
//!
//! A file is looked at in every way in which some program would open it, not only as what it is taken
//! for: a picture with a zip archive behind it is looked into. Where two lists of an archive's members
//! disagree, the members of both count.
//!
//! Pure; it never unpacks to a disk. The work for one message is bounded by its [`Budget`]. It cannot
//! fail: what is broken, too deep or too large is a finding.

mod budget;
mod cabinet;
mod compound;
mod disk;
pub(super) mod names;
mod octets;
mod office;
mod onenote;
mod pdf;
mod rar;
mod rtf;
mod seven_zip;
mod single;
mod tar;
mod tnef;
mod unpack;
mod zip;

use std::collections::BTreeMap;

use crate::mail::{FileType, Finding, Rule};

pub use budget::{Bounds, Budget};
use unpack::{End, Unpacked};

/// A file within another.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Below the attachment: `inner.zip/setup.exe`.
    pub path: &'a str,
    /// Unpacked: all of it, or its beginning where it is too large or broken. Nothing where it is known
    /// by its name alone.
    pub bytes: &'a [u8],
    /// Nothing of it is missing.
    pub whole: bool,
    /// By its content.
    pub file_type: FileType,
    /// Somebody put it there; otherwise it is one of the pieces that a document is made of.
    pub is_file: bool,
}

/// A file of this type, with this content, runs on a workstation when it is opened: a script only where
/// Windows comes with what runs it, and that is not so for PHP and for what names its interpreter (`#!`).
pub fn is_program(kind: FileType, bytes: &[u8]) -> bool {
    let head = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let head = head.trim_ascii_start();
    // The last one is what Linux has for a shortcut.
    let foreign: [&[u8]; 3] = [b"#!", b"<?php", b"[desktop entry]"];
    let begins = |mark: &[u8]| octets::piece(head, 0, mark.len()).eq_ignore_ascii_case(mark);
    kind.runs() && (kind == FileType::Executable || !foreign.into_iter().any(begins))
}

/// Looks into the attachment of this name, and shows all members to `each`. Nothing that is found is
/// said twice, and of many things of a kind only the first.
pub fn look(
    name: &str,
    bytes: &[u8],
    budget: &mut Budget,
    each: &mut dyn FnMut(Member<'_>),
) -> Vec<Finding> {
    let mut walk = Walk {
        attachment: name,
        budget,
        each,
        unseen: BTreeMap::new(),
        findings: Vec::new(),
    };
    let kind = FileType::of(bytes);
    let place = Place {
        path: String::new(),
        depth: 0,
        kind,
        is_file: true,
    };
    walk.file(&place, bytes, kind);
    walk.show_unseen();
    walk.findings
}

/// Findings of one rule in one attachment.
const FINDINGS: usize = 10;

/// Where a file is.
#[derive(Debug, Clone)]
struct Place {
    /// Below the attachment; empty: the attachment itself.
    path: String,
    /// How many archives it is in.
    depth: usize,
    /// Of the file itself.
    kind: FileType,
    /// It is no mere piece of a document.
    is_file: bool,
}

impl Place {
    /// The member of this name in the file at this place.
    fn of(&self, name: &str) -> Self {
        let path = match self.path.is_empty() {
            true => name.to_owned(),
            false => format!("{}/{name}", self.path),
        };
        Self {
            path,
            depth: self.depth + 1,
            kind: FileType::Unknown,
            is_file: !self.kind.is_document(),
        }
    }
}

/// One look into one attachment.
struct Walk<'a> {
    attachment: &'a str,
    budget: &'a mut Budget,
    each: &'a mut dyn FnMut(Member<'_>),
    /// By their paths, members that were not shown: of nothing else is anything known. And whether they
    /// are files.
    unseen: BTreeMap<String, bool>,
    findings: Vec<Finding>,
}

impl Walk<'_> {
    /// Looks into a file in every way in which it can be opened.
    fn file(&mut self, place: &Place, bytes: &[u8], kind: FileType) {
        zip::look(self, place, bytes, kind);
        match kind {
            _ if kind == FileType::Executable || bytes.starts_with(b"MZ") => {
                self.self_extracting(place, bytes);
            }
            FileType::Rar => rar::look(self, place, bytes),
            FileType::SevenZip => seven_zip::look(self, place, bytes),
            FileType::Cabinet => cabinet::look(self, place, bytes),
            FileType::Tar => tar::look(self, place, bytes),
            FileType::Gzip | FileType::Bzip2 | FileType::Xz | FileType::Zstandard => {
                single::look(self, place, bytes, kind);
            }
            FileType::Unknown | FileType::Text => single::bare(self, place, bytes),
            FileType::Disk => disk::look(self, place, bytes),
            FileType::OneNote => onenote::look(self, place, bytes),
            FileType::Rtf => rtf::look(self, place, bytes),
            FileType::Message => tnef::look(self, place, bytes),
            FileType::OtherArchive => self.bound(place, "is an archive that cannot be looked into"),
            _ => {}
        }
        compound::look(self, place, bytes);
        pdf::look(self, place, bytes, kind);
        office::text(self, place, bytes);
    }

    /// A program that is an archive, too: the mark of one stands behind the program's code.
    fn self_extracting(&mut self, place: &Place, bytes: &[u8]) {
        if let Some(at) = rar::begins(bytes) {
            rar::look(self, place, octets::rest(bytes, at));
        }
        for at in octets::finds(bytes, seven_zip::MARK).take(4) {
            let archive = octets::rest(bytes, at);
            if seven_zip::is_sound(archive) {
                seven_zip::look(self, place, archive);
            }
        }
        for at in octets::finds(bytes, cabinet::MARK).take(16) {
            let archive = octets::rest(bytes, at);
            if cabinet::is_sound(archive) {
                cabinet::look(self, place, archive);
            }
        }
    }

    /// A member was found: it is shown, judged and looked into. `false`: there have been enough.
    fn member(&mut self, place: &Place, unpacked: &Unpacked<'_>) -> bool {
        if !self.folder() {
            return false;
        }
        let is_whole = unpacked.end == End::Whole;
        if names::runs(&place.path, is_whole.then_some(&*unpacked.bytes)) {
            self.executable(place);
        }
        if let Some(fault) = unpacked.end.fault() {
            self.bound(place, fault);
        }
        self.content(place, &unpacked.bytes, is_whole);
        true
    }

    /// A member is known by its name only. `false`: there have been enough.
    fn listed(&mut self, place: &Place) -> bool {
        let more = self.folder();
        if more && names::runs(&place.path, None) {
            self.executable(place);
        }
        if more {
            self.unseen.insert(place.path.clone(), place.is_file);
        }
        more
    }

    /// A member whose name says nothing. `false`: there have been enough.
    fn folder(&mut self) -> bool {
        let more = self.budget.entry();
        if !more {
            let what = "there are more members than are looked at";
            self.finding(Rule::Bounds, what.to_owned());
        }
        more
    }

    /// What is known by its name alone, since it is encrypted or packed by a method that cannot be
    /// undone.
    fn show_unseen(&mut self) {
        for (path, is_file) in &self.unseen {
            (self.each)(Member {
                path,
                bytes: &[],
                whole: false,
                file_type: FileType::Unknown,
                is_file: *is_file || names::runs(path, None),
            });
        }
    }

    fn content(&mut self, place: &Place, bytes: &[u8], whole: bool) {
        let file_type = FileType::of(bytes);
        self.unseen.remove(&place.path);
        (self.each)(Member {
            path: &place.path,
            bytes,
            whole,
            file_type,
            is_file: place.is_file
                || file_type.runs()
                || file_type.holds_files()
                || names::runs(&place.path, None),
        });
        if is_program(file_type, bytes) {
            self.executable(place);
        }
        if place.depth < self.budget.bounds().depth {
            let place = Place {
                kind: file_type,
                ..place.clone()
            };
            self.file(&place, bytes, file_type);
        } else if file_type.holds_files() || zip::begins(bytes) || single::is_bare(bytes) {
            self.bound(place, "is nested too deep");
        }
    }

    fn executable(&mut self, place: &Place) {
        let what = format!("{} is an executable", names::shown(&place.path));
        self.finding(Rule::ArchivedExecutable, what);
    }

    fn macros(&mut self, place: &Place, what: &str) {
        self.about(Rule::Macros, place, what);
    }

    fn encrypted(&mut self, place: &Place) {
        self.about(Rule::Encrypted, place, "is encrypted");
    }

    /// Something has not been looked at.
    fn bound(&mut self, place: &Place, why: &str) {
        self.about(Rule::Bounds, place, why);
    }

    fn about(&mut self, rule: Rule, place: &Place, what: &str) {
        let what = match place.path.is_empty() {
            true => what.to_owned(),
            false => format!("{} {what}", names::shown(&place.path)),
        };
        self.finding(rule, what);
    }

    fn finding(&mut self, rule: Rule, what: String) {
        let same = self.findings.iter().filter(|it| it.rule == rule);
        if same.clone().count() < FINDINGS && !same.clone().any(|it| it.what == what) {
            self.findings.push(Finding {
                rule,
                what,
                attachment: Some(self.attachment.to_owned()),
            });
        }
    }
}

#[cfg(test)]
mod tests;
