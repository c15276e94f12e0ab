//! What is hidden of subjects and of the names of files, wherever they are repeated.
//!
//! A veil knows what stands in one message, and takes it out of whatever is said of that message: a hop's
//! words, an engine's, our own. In its place stands `•••`, whose length tells nothing. It finds what it hides
//! whatever the case of letters, the space between words, and where a text was cut off within it. Pure; it
//! never fails. What it has not been told of, it cannot know.

use super::{Attachment, Details};

/// What stands in the place of what is hidden.
pub const MASK: &str = "•••";
/// What stands between a finding and the file that it is in.
const WITHIN: &str = " in ";
/// What is shorter stands in too many other words: it is hidden where it is a word of its own.
const SHORT: usize = 4;

/// What is hidden of one message; or that nothing is.
#[derive(Debug, Clone, Default)]
pub struct Veil {
    shown: bool,
    /// Folded; the longest first, so that none is left standing within another.
    hidden: Vec<Vec<char>>,
}

impl Veil {
    /// Hides nothing.
    pub fn lifted() -> Self {
        Self {
            shown: true,
            hidden: Vec::new(),
        }
    }

    /// `found`: what was found, and in which files, some of which may be no attachments themselves.
    pub fn new<'a>(
        shown: bool,
        subject: Option<&'a str>,
        attachments: &'a [Attachment],
        found: impl Iterator<Item = &'a str>,
    ) -> Self {
        if shown {
            return Self::lifted();
        }
        let found = found.filter_map(|it| it.split_once(WITHIN).map(|(_, file)| file));
        let names = attachments
            .iter()
            .flat_map(|it| [Some(it.name.as_str()), it.within.as_deref()])
            .flatten();
        Self::over_words(subject.into_iter().chain(names).chain(found))
    }

    /// Hides these, as they are and as they are quoted.
    pub fn over_words<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut hidden = Vec::new();
        for word in words {
            // Of what is too long the beginning is known.
            let word = word.trim_end_matches('…');
            hidden.push(folded(word));
            let quoted = format!("{word:?}");
            hidden.push(folded(quoted.trim_matches('"')));
            // A file inside of another is known by its path, and told by its name.
            let file = word.rsplit(['/', '\\']).next();
            hidden.extend(file.map(folded));
        }
        // What is hidden already is nothing to look for.
        hidden.retain(|it| !it.is_empty() && !it.iter().all(|c| *c == '•'));
        hidden.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        hidden.dedup();
        Self {
            shown: false,
            hidden,
        }
    }

    /// A subject, or the name of a file.
    pub fn name(&self, name: &str) -> String {
        match self.shown {
            true => name.to_owned(),
            false => MASK.to_owned(),
        }
    }

    /// What was found, and in which file: `Eicar in a.zip`.
    pub fn found(&self, found: &str) -> (String, Option<String>) {
        let found = self.over(found);
        match found.split_once(WITHIN) {
            Some((what, file)) => (what.to_owned(), Some(self.name(file))),
            None => (found, None),
        }
    }

    /// The same, in one.
    pub fn finding(&self, found: &str) -> String {
        match self.found(found) {
            (what, Some(file)) => format!("{what}{WITHIN}{file}"),
            (what, None) => what,
        }
    }

    /// An attachment, with the name of what it is inside of.
    pub fn attachment(&self, it: &Attachment) -> Attachment {
        Attachment {
            name: self.name(&it.name),
            within: it.within.as_deref().map(|it| self.name(it)),
            ..it.clone()
        }
    }

    /// Words of a hop, or of our own, in which they may stand.
    pub fn over(&self, words: &str) -> String {
        let mut words = words.to_owned();
        for hidden in &self.hidden {
            words = without(&words, hidden);
        }
        words
    }

    /// All that an event knows.
    pub fn details(&self, details: &Details) -> Details {
        if self.shown {
            return details.clone();
        }
        let over = |text: &Option<String>| text.as_deref().map(|it| self.over(it));
        Details {
            rule: over(&details.rule),
            verdict: over(&details.verdict),
            engines: details
                .engines
                .iter()
                .map(|it| super::ScannedBy {
                    verdict: self.over(&it.verdict),
                    ..it.clone()
                })
                .collect(),
            marks: details.marks.iter().map(|it| self.finding(it)).collect(),
            malware: details.malware.iter().map(|it| self.finding(it)).collect(),
            reply: over(&details.reply),
            reason: over(&details.reason),
            ..details.clone()
        }
    }
}

/// Without what does not matter when two texts are compared: the case of letters, and how much space there is.
fn folded(text: &str) -> Vec<char> {
    places(text.trim()).into_iter().map(|it| it.0).collect()
}

/// The same, each with the octet at which it stands.
fn places(text: &str) -> Vec<(char, usize)> {
    let mut places: Vec<(char, usize)> = Vec::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c.is_whitespace() {
            true if places.last().is_some_and(|it| it.0 == ' ') => {}
            true => places.push((' ', at)),
            false => places.extend(c.to_lowercase().map(|it| (it, at))),
        }
    }
    places
}

/// The text with a mask wherever that stands, or is cut off at its end.
fn without(text: &str, hidden: &[char]) -> String {
    let places = places(text);
    let mut kept = String::with_capacity(text.len());
    let (mut seen, mut from) = (0, 0);
    while from < places.len() {
        let Some(length) = matched(&places, from, hidden) else {
            from += 1;
            continue;
        };
        let (begin, end) = (
            octet(&places, from, text),
            octet(&places, from + length, text),
        );
        kept.push_str(text.get(seen..begin).unwrap_or_default());
        kept.push_str(MASK);
        seen = end.max(seen);
        from += length;
    }
    kept.push_str(text.get(seen..).unwrap_or_default());
    kept
}

fn octet(places: &[(char, usize)], at: usize, text: &str) -> usize {
    places.get(at).map_or(text.len(), |it| it.1)
}

/// How much of what stands there is to be hidden.
fn matched(places: &[(char, usize)], from: usize, hidden: &[char]) -> Option<usize> {
    let here = places.get(from..)?.iter().map(|it| it.0);
    let same = here.zip(hidden).take_while(|(one, other)| one == *other);
    let same = same.count();
    let is_whole = same == hidden.len();
    let rest = places.get(from + same..).unwrap_or_default();
    let is_cut = same >= SHORT && rest.iter().all(|it| matches!(it.0, '.' | '…'));
    let is_part = |at: Option<&(char, usize)>| at.is_some_and(|it| it.0.is_alphanumeric());
    let before = from.checked_sub(1).and_then(|it| places.get(it));
    let is_within = hidden.len() < SHORT && (is_part(before) || is_part(rest.first()));
    ((is_whole && !is_within) || is_cut).then_some(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::FileType;

    fn file(name: &str, within: Option<&str>) -> Attachment {
        Attachment {
            name: name.to_owned(),
            within: within.map(str::to_owned),
            size: None,
            sha256: None,
            kind: FileType::Unknown,
        }
    }

    #[test]
    fn nothing_of_a_name_is_left() {
        let files = [file("Ola.zip", None), file("x/Ola.exe", Some("Ola.zip"))];
        let found = ["Eicar in b.zip", "Eicar"];
        let veil = |shown| Veil::new(shown, Some("Ola Nordmann"), &files, found.into_iter());
        for (words, what, file) in [
            ("Eicar in Ola.zip", "Eicar", Some("Ola.zip")),
            ("Eicar in kari.zip", "Eicar", Some("kari.zip")),
            (
                "Ola.exe is a program in Ola.zip",
                "••• is a program",
                Some("Ola.zip"),
            ),
            ("Eicar", "Eicar", None),
        ] {
            let masked = file.map(|_| MASK.to_owned());
            assert_eq!(veil(false).found(words), (what.to_owned(), masked));
            let shown = (what.replace("•••", "Ola.exe"), file.map(str::to_owned));
            assert_eq!(veil(true).found(words), shown);
        }
        let said = "550 x/Ola.exe, Ola.zip, b.zip: Ola Nordmann";
        assert_eq!(veil(false).over(said), "550 •••, •••, •••: •••");
        assert_eq!(veil(true).over(said), said);
        assert_eq!(veil(false).name("Ola Nordmann"), "•••");
        assert_eq!(veil(false).name(""), "•••");
    }

    #[test]
    fn it_is_found_however_it_is_repeated() {
        #[rustfmt::skip]
        let cases = [
            ("Ola Nordmann", "554 OLA  NORDMANN: no", "554 •••: no"),
            ("Ola Nordmann", "554 Ola Nordmanns brev", "554 •••s brev"),
            ("Ola Nordmann", "554 no: Ola Nor", "554 no: •••"),
            ("Ola Nordmann", "554 no: Ola Nor...", "554 no: •••..."),
            ("Ola Nordmann", "554 no: O", "554 no: O"),
            ("Ola Nordmann", "Ola er her", "Ola er her"),
            (" Ola\u{a0}7 ", "block subject ola: \"Ola\\u{a0}7\"", "block subject ola: \"•••\""),
            ("hei", "550 heis hei, (hei) hei", "550 heis •••, (•••) •••"),
            ("7", "450 4.7.1 17 7x 7", "450 4.•••.1 17 7x •••"),
            ("\u{130}stanbul", "250 \u{130}STANBUL ok", "250 ••• ok"),
            ("•••", "550 •••", "550 •••"),
            ("", "550 no", "550 no"),
        ];
        for (hidden, said, expected) in cases {
            let veil = Veil::new(false, Some(hidden), &[], std::iter::empty());
            assert_eq!(veil.over(said), expected, "{hidden:?} in {said:?}");
        }
    }

    #[test]
    fn an_event_keeps_what_tells_nothing() {
        let veil = Veil::new(false, Some("Epikrise Ola"), &[], std::iter::empty());
        let details = Details {
            room: Some("epikrise ola".to_owned()),
            reply: Some("250 got Epikrise Ola".to_owned()),
            malware: vec!["Eicar in a.zip".to_owned()],
            size: Some(7),
            ..Details::default()
        };
        let expected = Details {
            reply: Some("250 got •••".to_owned()),
            malware: vec!["Eicar in •••".to_owned()],
            ..details.clone()
        };
        assert_eq!(veil.details(&details), expected);
        assert_eq!(Veil::lifted().details(&details), details);
    }
}
