//! The built-in rules: what can be said of a message without an engine.
//!
//! Pure. They look at each attachment and each text as the walk over the message has found it, and
//! at the message itself. They say what they find; what follows from it is [`Actions`]'. Nothing here
//! fails: what could not be looked at is what the rule `bounds` finds.

pub mod inside;
pub mod names;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem;
use sha2::{Digest, Sha256};

use super::{Part, Specimen};
use crate::mail::{self, Actions, FileType, Finding, Rule, SeenFile, headers, hex};
use inside::{Bounds, Budget, Member};
use names::Patterns;

/// Of one rule; a person needs no more to know what came.
const FINDINGS: usize = 20;

/// Files within archives of one message that are told apart.
const MEMBERS: usize = 10_000;

/// Messages within archives that are taken apart.
const LETTERS: usize = 20;

/// In two halves, or this file would be found. EICAR has a file begin with it; within another file it
/// does as much harm, which is none, and some engines find it there.
pub(super) const EICAR: [&[u8]; 2] = [
    br"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-",
    b"ANTIVIRUS-TEST-FILE!$H+H*",
];

/// `[scan.rules]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub actions: Actions,
    /// SHA-256 in lower-case hex.
    pub blocked_hashes: BTreeSet<String>,
    pub file_names: Patterns,
    pub file_types: BTreeSet<FileType>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            actions: Actions::default(),
            blocked_hashes: BTreeSet::new(),
            file_names: Patterns::default(),
            file_types: BTreeSet::from([
                FileType::Executable,
                FileType::Script,
                FileType::Shortcut,
                FileType::Disk,
            ]),
        }
    }
}

/// What came of looking at a message.
#[derive(Debug, Default)]
pub struct Looked {
    /// Everything that the rules find, each thing once.
    pub findings: Vec<Finding>,
    /// What is inside of archives and documents, and attached to messages there.
    pub members: Vec<SeenFile>,
}

/// A file that is to be looked into.
struct Item<'a> {
    part: Cow<'a, Part>,
    /// The attachment that it is inside of, in octets of its name; `None`: it is one itself.
    within: Option<usize>,
}

pub fn inspect(specimen: &Specimen, settings: &Settings) -> Looked {
    let mut findings = Findings::default();
    let mut members = Vec::new();
    let mut budget = Budget::new(Bounds::default());
    let mut items: VecDeque<Item<'_>> = specimen.parts.iter().map(Item::attached).collect();
    let mut letters = 0;
    while let Some(item) = items.pop_front() {
        let part = &item.part;
        look(part, Some(&part.name), settings, &mut findings);
        if item.within.is_some() && inside::is_program(part.kind, &part.bytes) {
            let what = format!("{} within an archive", part.kind);
            findings.add(Rule::ArchivedExecutable, what, Some(&part.name));
        }
        if members.len() < MEMBERS {
            members.extend(item.as_member());
        }
        let inside = inside::look(&part.name, &part.bytes, &mut budget, &mut |member| {
            let seen = look_at_member(&item, &member, settings, &mut findings);
            if member.file_type == FileType::Message && letters < LETTERS {
                letters += 1;
                let within = Some(item.attachment());
                let attached = attached_to(&seen.name, member.bytes);
                items.extend(attached.map(|it| Item {
                    part: Cow::Owned(it),
                    within,
                }));
            }
            if members.len() < MEMBERS {
                members.push(seen);
            }
        });
        findings.add_all(inside);
    }
    for text in &specimen.texts {
        look(text, None, settings, &mut findings);
    }
    // In what belongs to no part: header fields, or what stands before the first part.
    if !findings.has(Rule::Eicar) && holds_eicar(&specimen.message) {
        findings.add(Rule::Eicar, "EICAR-Test-File", None);
    }
    for gap in &specimen.gaps {
        findings.add(Rule::Bounds, format!("not looked at whole: {gap}"), None);
    }
    Looked {
        findings: findings.found,
        members,
    }
}

impl<'a> Item<'a> {
    const fn attached(part: &'a Part) -> Self {
        Self {
            part: Cow::Borrowed(part),
            within: None,
        }
    }

    /// How many octets of its name are the attachment's.
    fn attachment(&self) -> usize {
        self.within.unwrap_or(self.part.name.len())
    }

    /// As what it is inside of an attachment.
    fn as_member(&self) -> Option<SeenFile> {
        let part = &self.part;
        Some(SeenFile {
            name: part.name.clone(),
            sha256: part.sha256().into_owned(),
            member: Some(mail::Member {
                attachment: self.within?,
                size: Some(part.bytes.len() as u64),
                kind: part.kind,
                runs: part.kind.runs() || inside::names::runs(&part.name, None),
            }),
        })
    }
}

/// What is attached to a message that lies in an archive.
fn attached_to(name: &str, letter: &[u8]) -> impl Iterator<Item = Part> + use<> {
    let dissection = headers::dissected(&Bytes::copy_from_slice(letter));
    let name = name.to_owned();
    let attachments = dissection.attachments.into_iter();
    attachments.map(move |mut part| {
        part.name = format!("{name}/{}", part.name);
        part
    })
}

/// What is found in a file within an archive.
fn look_at_member(
    item: &Item<'_>,
    member: &Member<'_>,
    settings: &Settings,
    findings: &mut Findings,
) -> SeenFile {
    let name = format!("{}/{}", item.part.name, member.path);
    let sha256 = match member.whole {
        true => hex(&Sha256::digest(member.bytes)),
        false => String::new(),
    };
    if holds_eicar(member.bytes) {
        findings.add(Rule::Eicar, "EICAR-Test-File", Some(&name));
    }
    if settings.blocked_hashes.contains(&sha256) {
        findings.add(Rule::BlockedHash, format!("SHA-256 {sha256}"), Some(&name));
    }
    let last = member.path.rsplit(['/', '\\']).next();
    let last = [last.unwrap_or_default().to_owned()];
    if let Some(pattern) = settings.file_names.fitting(&last) {
        let what = format!("its name fits {pattern}");
        findings.add(Rule::FileName, what, Some(&name));
    }
    SeenFile {
        name,
        sha256,
        member: member.is_file.then(|| mail::Member {
            attachment: item.attachment(),
            size: member.whole.then_some(member.bytes.len() as u64),
            kind: member.file_type,
            runs: member.file_type.runs() || inside::names::runs(member.path, None),
        }),
    }
}

/// What is found in one part.
fn look(part: &Part, attachment: Option<&String>, settings: &Settings, findings: &mut Findings) {
    let mut found = |rule, what: Cow<'_, str>| findings.add(rule, what, attachment);
    if holds_eicar(&part.bytes) {
        found(Rule::Eicar, "EICAR-Test-File".into());
    }
    if let Some(hash) = blocked(part, &settings.blocked_hashes) {
        found(Rule::BlockedHash, format!("SHA-256 {hash}").into());
    }
    if let Some(pattern) = settings.file_names.fitting(&part.names) {
        found(Rule::FileName, format!("its name fits {pattern}").into());
    }
    if settings.file_types.contains(&part.kind) {
        let what = format!("{} by its content", part.kind);
        found(Rule::FileType, what.into());
    }
}

#[derive(Debug, Default)]
struct Findings {
    found: Vec<Finding>,
    counts: BTreeMap<Rule, usize>,
}

impl Findings {
    fn add(&mut self, rule: Rule, what: impl Into<String>, attachment: Option<&String>) {
        let finding = Finding {
            rule,
            what: what.into(),
            attachment: attachment.cloned(),
        };
        let count = self.counts.entry(rule).or_default();
        if *count < FINDINGS && !self.found.contains(&finding) {
            *count += 1;
            self.found.push(finding);
        }
    }

    fn add_all(&mut self, found: Vec<Finding>) {
        for it in found {
            self.add(it.rule, it.what, it.attachment.as_ref());
        }
    }

    fn has(&self, rule: Rule) -> bool {
        self.counts.contains_key(&rule)
    }
}

fn holds_eicar(bytes: &[u8]) -> bool {
    static START: LazyLock<memmem::Finder<'_>> = LazyLock::new(|| memmem::Finder::new(EICAR[0]));
    let [start, end] = EICAR;
    let mut places = START.find_iter(bytes);
    places.any(|at| {
        let rest = bytes.get(at + start.len()..);
        rest.is_some_and(|rest| rest.starts_with(end))
    })
}

/// The digest that is blocked. A text is sent with other line ends than it has on a disk, and its last
/// one may belong to the boundary after it: it is known by each.
fn blocked(part: &Part, hashes: &BTreeSet<String>) -> Option<String> {
    if hashes.is_empty() {
        return None;
    }
    let known = |hash: &str| hashes.contains(hash).then(|| hash.to_owned());
    let own = known(&part.sha256());
    if own.is_some() || part.bytes.contains(&0) {
        return own;
    }
    let plain = without_returns(&part.bytes);
    let spellings: [(&[u8], &[u8]); 4] = [
        (&plain, b""),
        (&plain, b"\n"),
        (&part.bytes, b"\r\n"),
        (&part.bytes, b"\n"),
    ];
    spellings.into_iter().find_map(|(text, end)| {
        let digest = Sha256::new().chain_update(text).chain_update(end);
        known(&hex(&digest.finalize()))
    })
}

fn without_returns(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|it| *it == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(line) => {
                out.extend_from_slice(line);
                out.push(b'\n');
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

#[cfg(test)]
mod tests;
