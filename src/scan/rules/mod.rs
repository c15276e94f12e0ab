//! The built-in rules: what can be said of a message without an engine.
//!
//! Pure. They look at each attachment and each text as the walk over the message has found it, and
//! at the message itself. They say what they find; what follows from it is [`Actions`]'. Nothing here
//! fails: what could not be looked at is what the rule `bounds` finds.

pub mod names;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;
use sha2::{Digest, Sha256};

use super::{Part, Specimen};
use crate::mail::{Actions, FileType, Finding, Rule};
use names::Patterns;

/// Of one rule; a person needs no more to know what came.
const FINDINGS: usize = 20;

/// In two halves, or this file would be found. EICAR has a file begin with it; within another file it
/// does as much harm, which is none, and some engines find it there.
const EICAR: [&[u8]; 2] = [
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

/// Everything that the rules find, each thing once.
pub fn inspect(specimen: &Specimen, settings: &Settings) -> Vec<Finding> {
    let mut findings = Findings::default();
    for part in &specimen.parts {
        look(part, Some(&part.name), settings, &mut findings);
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
    findings.found
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

    fn has(&self, rule: Rule) -> bool {
        self.counts.contains_key(&rule)
    }
}

fn holds_eicar(bytes: &[u8]) -> bool {
    let [start, end] = EICAR;
    let mut places = memmem::find_iter(bytes, start);
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

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests;
