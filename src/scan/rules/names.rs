//! File names that somebody would click on and should not.
//!
//! A name is read as the machine that opens the file reads it: without what is invisible in it, without
//! a folder, without trailing dots and blanks, up to a null or a colon. Pure; what is no pattern is said.

use std::collections::BTreeSet;

use globset::{Candidate, Glob, GlobBuilder, GlobSet};
use unicode_normalization::UnicodeNormalization;

use crate::pattern::is_unseen;

/// As much of a name as is looked at from its end: there its ending is.
const NAME_CHARS: usize = 1024;

/// What runs, or makes something run, when it is opened on a workstation.
const DANGEROUS: &[&str] = &[
    "*.ace",
    "*.ade",
    "*.adp",
    "*.appinstaller",
    "*.application",
    "*.appref-ms",
    "*.appx",
    "*.bat",
    "*.chm",
    "*.cmd",
    "*.com",
    "*.cpl",
    "*.diagcab",
    "*.dll",
    "*.exe",
    "*.gadget",
    "*.hlp",
    "*.hta",
    "*.img",
    "*.inf",
    "*.iso",
    "*.jar",
    "*.jnlp",
    "*.js",
    "*.jse",
    "*.lib",
    "*.library-ms",
    "*.lnk",
    "*.mde",
    "*.msc",
    "*.msi",
    "*.msix",
    "*.msp",
    "*.mst",
    "*.ocx",
    "*.one",
    "*.pif",
    "*.ps1",
    "*.psc1",
    "*.psm1",
    "*.rdp",
    "*.reg",
    "*.scf",
    "*.scr",
    "*.sct",
    "*.search-ms",
    "*.settingcontent-ms",
    "*.sys",
    "*.url",
    "*.vb",
    "*.vbe",
    "*.vbs",
    "*.vhd",
    "*.vhdx",
    "*.website",
    "*.wll",
    "*.ws",
    "*.wsc",
    "*.wsf",
    "*.wsh",
    "*.xll",
];

/// Patterns as in a shell: `*`, `?`, `[a-z]`, `{a,b}`. Case does not matter.
#[derive(Debug, Clone)]
pub struct Patterns {
    written: Vec<String>,
    set: GlobSet,
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Patterns {}

impl Default for Patterns {
    fn default() -> Self {
        let patterns = DANGEROUS.iter().filter_map(|it| Pattern::parse(it).ok());
        // A test sees that each of them is there.
        Self::new(patterns.collect()).unwrap_or_else(|_| Self::none())
    }
}

/// One of them, found sound.
#[derive(Debug, Clone)]
pub struct Pattern {
    written: String,
    glob: Glob,
}

impl Pattern {
    /// `Err`: in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("must not be empty".to_owned());
        }
        let glob = GlobBuilder::new(&text.to_lowercase()).build();
        let glob = glob.map_err(|fault| {
            let fault = fault.kind();
            format!("{text:?} is no pattern such as \"*.exe\": {fault}")
        })?;
        Ok(Self {
            written: text.to_owned(),
            glob,
        })
    }
}

impl Patterns {
    /// `Err`: each is sound, and together they are too many; in words.
    pub fn new(patterns: Vec<Pattern>) -> Result<Self, String> {
        let mut set = GlobSet::builder();
        for pattern in &patterns {
            set.add(pattern.glob.clone());
        }
        Ok(Self {
            set: set.build().map_err(|fault| fault.kind().to_string())?,
            written: patterns.into_iter().map(|it| it.written).collect(),
        })
    }

    const fn none() -> Self {
        Self {
            written: Vec::new(),
            set: GlobSet::empty(),
        }
    }

    /// The first pattern that one of the names fits, in one of the ways in which it may be read.
    pub fn fitting(&self, names: &[String]) -> Option<&str> {
        let spellings: BTreeSet<String> = names.iter().flat_map(|it| spellings(it)).collect();
        let fits = |name: &String| self.set.matches_candidate(&Candidate::new(name));
        let first = spellings.iter().flat_map(fits).min()?;
        self.written.get(first).map(String::as_str)
    }
}

/// The names that a file may end up with.
fn spellings(name: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let decoded = percent_decoded(name);
    for name in [Some(name), decoded.as_deref()].into_iter().flatten() {
        // A reader written in C stops at a null, others at a line end.
        let until_control = name.split(char::is_control).next().unwrap_or_default();
        for name in [name, until_control] {
            let plain = plain(name);
            let last = plain.rsplit(['/', '\\']).next().unwrap_or_default();
            // NTFS: what follows the colon is a stream of the file before it.
            let file = last.split(':').next().unwrap_or_default();
            for name in [plain.as_str(), last, file] {
                let trimmed =
                    name.trim_matches(|c: char| c.is_whitespace() || ".\"';,>)".contains(c));
                all.insert(name.to_owned());
                all.insert(trimmed.to_owned());
            }
        }
    }
    all.remove("");
    all
}

/// In lower case, with full-width letters as plain ones (NFKC), without what cannot be seen.
fn plain(name: &str) -> String {
    let skipped = name.chars().count().saturating_sub(NAME_CHARS);
    let visible = name.chars().skip(skipped).filter(|it| !is_invisible(*it));
    let plain: String = visible.nfkc().filter(|it| !is_invisible(*it)).collect();
    plain.to_lowercase()
}

/// Controls, line ends, marks that turn the reading direction, and what has no width.
fn is_invisible(c: char) -> bool {
    c.is_control() || is_unseen(c) || matches!(c, '\u{2028}' | '\u{2029}')
}

/// `a%2Eexe`; `None` where there is nothing of that kind.
fn percent_decoded(name: &str) -> Option<String> {
    let (start, rest) = name.split_once('%')?;
    let mut octets = start.as_bytes().to_vec();
    for piece in rest.split('%') {
        let octet = piece
            .get(..2)
            .and_then(|it| u8::from_str_radix(it, 16).ok());
        match octet.zip(piece.get(2..)) {
            Some((octet, rest)) => {
                octets.push(octet);
                octets.extend_from_slice(rest.as_bytes());
            }
            None => {
                octets.push(b'%');
                octets.extend_from_slice(piece.as_bytes());
            }
        }
    }
    Some(String::from_utf8_lossy(&octets).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_name_is_read_as_the_machine_reads_it_that_opens_the_file() {
        #[rustfmt::skip]
        let cases = [
            ("a.exe",                       Some("*.exe")),
            ("A.EXE",                       Some("*.exe")),
            ("invoice.pdf.exe",             Some("*.exe")),
            ("a.exe.",                      Some("*.exe")),
            ("a.exe . .",                   Some("*.exe")),
            ("a.exe\u{a0}\u{3000}",         Some("*.exe")),
            ("a.exe::$DATA",                Some("*.exe")),
            ("a.exe:b.txt",                 Some("*.exe")),
            ("a.exe\0.pdf",                 Some("*.exe")),
            ("a.exe\r\n.pdf",               Some("*.exe")),
            ("a.e\u{200b}xe",               Some("*.exe")),
            ("a.e\u{3164}xe",               Some("*.exe")),
            ("a.e\u{34f}xe",                Some("*.exe")),
            ("a\u{202e}fdp.exe",            Some("*.exe")),
            ("a.\u{ff45}\u{ff58}\u{ff45}",  Some("*.exe")),
            ("a\u{ff0e}exe",                Some("*.exe")),
            ("a%2Eexe",                     Some("*.exe")),
            ("a%2eex%65",                   Some("*.exe")),
            ("../../a.exe",                 Some("*.exe")),
            ("c:\\x\\a.exe",               Some("*.exe")),
            ("\"a.exe\"",                   Some("*.exe")),
            (".exe",                        Some("*.exe")),
            ("a.vbs",                       Some("*.vbs")),
            ("a.pdf",                       None),
            ("exe",                         None),
            ("a.exe.pdf",                   None),
            ("a.exefile",                   None),
            ("100% sure.pdf",               None),
            ("",                            None),
        ];
        let patterns = Patterns::default();
        for (name, pattern) in cases {
            assert_eq!(patterns.fitting(&[name.to_owned()]), pattern, "{name:?}");
        }
        let long = "x".repeat(1_000_000) + ".exe";
        assert_eq!(patterns.fitting(&[long]), Some("*.exe"));
        let both = ["a.pdf".to_owned(), "a.exe".to_owned()];
        assert_eq!(patterns.fitting(&both), Some("*.exe"));
    }

    #[test]
    fn patterns_are_as_in_a_shell() {
        #[rustfmt::skip]
        let cases = [
            ("faktura*",        "Faktura-17.pdf",       true),
            ("FAKTURA*",        "faktura",              true),
            ("faktura*",        "en faktura",           false),
            ("a?.{zip,rar}",    "ab.RAR",               true),
            ("[0-9].pdf",       "7.pdf",                true),
            ("*/*",             "a/b",                  true),
            ("pr\u{f8}ve.*",    "PR\u{d8}VE.pdf",       true),
        ];
        for (pattern, name, fits) in cases {
            let patterns = Patterns::new(vec![Pattern::parse(pattern).unwrap()]).unwrap();
            let fitting = patterns.fitting(&[name.to_owned()]);
            assert_eq!(fitting.is_some(), fits, "{pattern} {name}");
        }
        for odd in ["", " ", "[", "{a", "a\\"] {
            assert!(Pattern::parse(odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn every_shipped_pattern_is_sound() {
        assert_eq!(Patterns::default().written, DANGEROUS);
        assert_eq!(Patterns::default().set.len(), DANGEROUS.len());
    }
}
