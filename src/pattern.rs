//! Text as people compare it, and patterns of file names.
//!
//! Pure. What looks the same to a reader is the same here: the case of letters, Unicode normal form,
//! width, characters that take no room, and the amount of white space do not matter. Whatever
//! is written by a stranger costs time in proportion to its length. The crate
//! `unicode-normalization` lives here.

use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

/// The form in which texts are compared.
pub fn folded(text: &str) -> String {
    // Most names are like this, and a hunt looks at a million of them.
    let is_plain = text.bytes().all(|octet| matches!(octet, b' '..=b'~'));
    if is_plain && !text.contains("  ") {
        return text.trim_matches(' ').to_ascii_lowercase();
    }
    let seen = |c: &char| !is_unseen(*c);
    let plain: String = match is_nfkc_quick(text.chars()) {
        IsNormalized::Yes => text.chars().filter(seen).flat_map(small).collect(),
        _ => text.nfkc().filter(seen).flat_map(small).collect(),
    };
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// In lower case, of which a letter has but one.
fn small(c: char) -> impl Iterator<Item = char> {
    c.to_lowercase().map(|it| match it {
        'ς' => 'σ',
        _ => it,
    })
}

/// What is left of a character without its marks, its width and its case: letters and digits, or nothing.
pub fn bare(c: char) -> impl Iterator<Item = char> {
    let parts = std::iter::once(c)
        .nfkd()
        .filter(|it| !is_combining_mark(*it));
    parts
        .filter(|it| it.is_alphanumeric() && !is_unseen(*it))
        .flat_map(small)
}

/// Whether it belongs to the letter before it, or takes no room.
pub fn is_mark(c: char) -> bool {
    is_combining_mark(c) || is_unseen(c)
}

/// Takes no room, or turns the direction of the text.
pub fn is_unseen(c: char) -> bool {
    (c.is_control() && !c.is_whitespace())
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

/// The form in which names of files are compared: Windows opens `a.exe. ` as `a.exe`.
pub fn folded_name(name: &str) -> String {
    let mut folded = folded(name);
    folded.truncate(folded.trim_end_matches(['.', ' ']).len());
    folded
}

/// A pattern of file names: `*` is any number of characters, `?` is one; the whole name has to fit,
/// with its folders or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    /// What stands between the stars; one more than there are stars.
    pieces: Vec<Piece>,
}

/// A piece without stars.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    text: String,
    has_gaps: bool,
}

impl NamePattern {
    pub fn new(pattern: &str) -> Self {
        let pieces = folded_name(pattern)
            .split('*')
            .map(|text| Piece {
                text: text.to_owned(),
                has_gaps: text.contains('?'),
            })
            .collect();
        Self { pieces }
    }

    /// Nothing but stars: it would fit every name.
    pub fn fits_all(&self) -> bool {
        self.pieces.len() > 1 && self.pieces.iter().all(|it| it.text.is_empty())
    }

    /// Whether nothing in it stands for anything else.
    pub fn is_plain(&self) -> bool {
        self.pieces.len() == 1 && self.pieces.iter().all(|it| !it.has_gaps)
    }

    pub fn fits(&self, name: &str) -> bool {
        self.fits_folded(&folded_name(name))
    }

    /// The same, of a name in the form that [`folded_name`] gives.
    pub fn fits_folded(&self, name: &str) -> bool {
        let bare = name.rsplit(['/', '\\']).next().unwrap_or(name);
        self.fits_whole(name) || (bare.len() < name.len() && self.fits_whole(bare))
    }

    fn fits_whole(&self, name: &str) -> bool {
        let Some((first, rest)) = self.pieces.split_first() else {
            return false;
        };
        let Some(name) = first.begins(name) else {
            return false;
        };
        let Some((last, middle)) = rest.split_last() else {
            return name.is_empty();
        };
        // The first place where a piece is found leaves the most for the others.
        let mut left = name;
        for piece in middle {
            match piece.after_first(left) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        last.ends(left)
    }
}

impl Piece {
    /// What follows it at the beginning of `text`.
    fn begins<'a>(&self, text: &'a str) -> Option<&'a str> {
        if !self.has_gaps {
            return text.strip_prefix(&self.text);
        }
        let mut chars = text.chars();
        for wanted in self.text.chars() {
            let c = chars.next()?;
            if wanted != '?' && wanted != c {
                return None;
            }
        }
        Some(chars.as_str())
    }

    /// What follows it where it first stands in `text`.
    fn after_first<'a>(&self, text: &'a str) -> Option<&'a str> {
        if !self.has_gaps {
            let at = text.find(&self.text)?;
            return text.get(at + self.text.len()..);
        }
        let places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        places
            .filter_map(|at| text.get(at..))
            .find_map(|rest| self.begins(rest))
    }

    fn ends(&self, text: &str) -> bool {
        if !self.has_gaps {
            return text.ends_with(&self.text);
        }
        let wanted = self.text.chars().count();
        let spare = text.chars().count().checked_sub(wanted);
        let at = spare.and_then(|spare| text.char_indices().map(|it| it.0).nth(spare));
        let rest = at.and_then(|at| text.get(at..));
        rest.and_then(|rest| self.begins(rest)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_the_same_is_the_same() {
        #[rustfmt::skip]
        let cases = [
            ("Faktura  2026", "faktura 2026"),
            ("\u{ff26}aktura\u{3000}2026\r\n ", "faktura 2026"),
            ("F\u{ad}ak\u{200b}tu\u{202e}ra", "faktura"),
            ("BLA\u{30a}", "bl\u{e5}"),
            ("\u{fb01}l", "fil"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(folded(text), expected, "{text:?}");
        }
        assert_eq!(folded_name("A.exe. . "), "a.exe");
        assert_eq!(folded_name("..."), "");
    }

    #[test]
    fn patterns_fit_whole_names() {
        #[rustfmt::skip]
        let cases = [
            ("faktura.exe", "Faktura.EXE", true),
            ("faktura.exe", "min faktura.exe", false),
            ("*.exe", "faktura.pdf.exe", true),
            ("*.exe", "faktura.exe.pdf", false),
            ("*.exe", "x/y/faktura.exe", true),
            ("faktura.exe", "x\\y/faktura.exe", true),
            ("x/*", "x/faktura.exe", true),
            ("*.exe", "a.exe.", true),
            ("*.exe", "a.e\u{200b}xe ", true),
            ("*.exe", ".exe", true),
            ("faktura*.scr", "faktura-17.scr", true),
            ("faktura*.scr", "faktura.scr", true),
            ("faktura*.scr", "faktur.scr", false),
            ("fak*tura", "faktura", true),
            ("ab*ba", "aba", false),
            ("ab*ba", "abba", true),
            ("*a*b*", "xaxbx", true),
            ("*a*b*", "xbxax", false),
            ("scan_?.zip", "scan_1.zip", true),
            ("scan_?.zip", "scan_\u{f8}.zip", true),
            ("scan_?.zip", "scan_.zip", false),
            ("scan_?.zip", "scan_10.zip", false),
            ("*_??.z*", "scan_10.zip", true),
            ("*_??", "scan_\u{f8}\u{f8}", true),
            ("*_??", "_\u{f8}", false),
            ("*??", "a", false),
            ("?", "", false),
            ("*", "", true),
            ("[a]*", "[a]b", true),
            ("[a]*", "ab", false),
        ];
        for (pattern, name, expected) in cases {
            let fits = NamePattern::new(pattern).fits(name);
            assert_eq!(fits, expected, "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn a_pattern_says_what_it_is() {
        for (pattern, fits_all, is_plain) in [
            ("*", true, false),
            ("**", true, false),
            ("?", false, false),
            ("a*", false, false),
            ("a", false, true),
        ] {
            let it = NamePattern::new(pattern);
            assert_eq!(
                (it.fits_all(), it.is_plain()),
                (fits_all, is_plain),
                "{pattern}"
            );
        }
    }

    /// A reader that tried every way to share the name out among the stars would not come back.
    #[test]
    fn a_hostile_name_takes_no_longer_than_another() {
        let pattern = NamePattern::new(&"*a".repeat(120));
        let gaps = NamePattern::new(&"*a?".repeat(80));
        let name = "a".repeat(100_000);
        assert!(pattern.fits(&name) && gaps.fits(&name));
        assert!(!NamePattern::new(&format!("{}b", "*a".repeat(120))).fits(&name));
        assert!(!NamePattern::new(&format!("{}b", "*a?".repeat(80))).fits(&name));
    }
}
