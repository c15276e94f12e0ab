//! What is hidden of subjects and of the names of files, wherever they are repeated.
//!
//! A veil knows what stands in one message, and takes it out of whatever is said of that message: a hop's
//! words, an engine's, our own. In its place stands `•••`, whose length tells nothing. It finds what it hides
//! whatever the case, form and marks of letters, what stands between words, and where a text was cut off within it;
//! what is encoded is hidden unread. Pure; it never fails. What it has not been told of, it cannot know.

use super::{Attachment, Details};
use crate::pattern;

/// What stands in the place of what is hidden.
pub const MASK: &str = "•••";
/// What stands between a finding and the file that it is in.
const WITHIN: &str = " in ";
/// What is shorter stands in too many other words: it is hidden where it is a word of its own.
const SHORT: usize = 4;
/// In the place of what is not said back.
const UNSEEN: [char; 2] = ['?', '\u{fffd}'];

/// What is hidden of one message; or that nothing is.
#[derive(Debug, Clone, Default)]
pub struct Veil {
    shown: bool,
    /// The longest first, so that none is left standing within another.
    hidden: Vec<Vec<Letter>>,
    /// What has no letters.
    signs: Vec<String>,
}

impl Veil {
    /// Hides nothing.
    pub fn lifted() -> Self {
        Self {
            shown: true,
            ..Self::default()
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
        let (mut hidden, mut signs) = (Vec::new(), Vec::new());
        for word in words {
            // Of what is too long the beginning is known.
            let word = word.trim().trim_end_matches('…');
            if letters(word).is_empty() {
                signs.push(word.to_owned());
                continue;
            }
            hidden.push(letters(word));
            let quoted = format!("{word:?}");
            hidden.push(letters(quoted.trim_matches('"')));
            // A file inside of another is known by its path, and told by its name.
            let file = word.rsplit(['/', '\\']).next();
            hidden.extend(file.map(letters));
        }
        hidden.retain(|it| !it.is_empty());
        hidden.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        hidden.dedup();
        // What is hidden already is nothing to look for, and one sign tells nothing.
        signs.retain(|it| it.chars().any(|c| c != '•') && it.chars().count() > 1);
        Self {
            shown: false,
            hidden,
            signs,
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
        if self.shown || (self.hidden.is_empty() && self.signs.is_empty()) {
            return words.to_owned();
        }
        let mut words = without_encoded(words);
        for hidden in &self.hidden {
            words = without(&words, hidden);
        }
        for signs in &self.signs {
            words = words.replace(signs, MASK);
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

/// A letter or digit as texts are compared, and whether something that can be seen stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Letter {
    is: char,
    begins: bool,
}

/// A letter, with the octets of the character that it is of.
type Place = (Letter, usize, usize);

fn places(text: &str) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::with_capacity(text.len());
    let mut begins = true;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let known = places.len();
        for is in pattern::bare(c) {
            let begins = begins && known == places.len();
            places.push((Letter { is, begins }, at, end));
        }
        if known < places.len() {
            begins = false;
        } else if pattern::is_mark(c) {
            // It belongs to the letter before it.
            if let Some(last) = places.last_mut().filter(|it| it.2 == at) {
                last.2 = end;
            }
        } else if !UNSEEN.contains(&c) {
            begins = true;
        }
    }
    places
}

fn letters(text: &str) -> Vec<Letter> {
    places(text).into_iter().map(|it| it.0).collect()
}

/// The text with a mask wherever that stands, or is cut off.
fn without(text: &str, hidden: &[Letter]) -> String {
    let places = places(text);
    let mut kept = String::with_capacity(text.len());
    let (mut seen, mut from) = (0, 0);
    while from < places.len() {
        let Some(length) = matched(text, &places, from, hidden) else {
            from += 1;
            continue;
        };
        let begin = places.get(from).map_or(seen, |it| it.1);
        let end = places.get(from + length - 1).map_or(seen, |it| it.2);
        kept.push_str(text.get(seen..begin).unwrap_or_default());
        kept.push_str(MASK);
        seen = end.max(seen);
        from += length;
    }
    kept.push_str(text.get(seen..).unwrap_or_default());
    kept
}

/// How much of what stands there is to be hidden. What stands apart there does so in what is hidden.
fn matched(text: &str, places: &[Place], from: usize, hidden: &[Letter]) -> Option<usize> {
    let here = places.get(from..)?.iter().map(|it| it.0);
    let is_same = |at: usize, one: Letter, other: &Letter| {
        one.is == other.is && (at == 0 || !one.begins || other.begins)
    };
    let same = here.zip(hidden).enumerate();
    let same = same.take_while(|(at, (one, other))| is_same(*at, *one, other));
    let same = same.count();
    let end = places.get(from + same.checked_sub(1)?)?.2;
    let rest = text.get(end..).unwrap_or_default();
    let is_cut = same >= SHORT
        && (rest.starts_with("...") || rest.starts_with('…') || rest.trim().is_empty());
    let begin = places.get(from)?.1;
    let before = text.get(..begin).unwrap_or_default().chars().next_back();
    let is_part = |it: Option<char>| it.is_some_and(char::is_alphanumeric);
    let is_within = hidden.len() < SHORT && (is_part(before) || is_part(rest.chars().next()));
    ((same == hidden.len() && !is_within) || is_cut).then_some(same)
}

/// Without words that are encoded (RFC 2047): nobody sees what they hide.
fn without_encoded(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("=?") {
        kept.push_str(before);
        let end = encoded(after);
        kept.push_str(if end.is_some() { MASK } else { "=?" });
        rest = end.unwrap_or(after);
    }
    kept.push_str(rest);
    kept
}

/// What follows `utf-8?Q?ola?=`, or its beginning where it is cut off.
fn encoded(text: &str) -> Option<&str> {
    let (word, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    let (charset, word) = word.split_once('?')?;
    let (encoding, word) = word.split_once('?')?;
    let is_one = !charset.is_empty() && matches!(encoding, "b" | "B" | "q" | "Q");
    let after = word.split_once("?=").map(|(_, after)| after);
    let tail = after.map_or(0, |it| it.len() + rest.len());
    let tail = if after.is_some() { tail } else { rest.len() };
    is_one.then(|| text.get(text.len() - tail..)).flatten()
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
            ("Ola Nordmann", "554 ola_NORDMANN, ola-nordmann", "554 •••, •••"),
            ("Ola Nordmann", "554 Ola Nor... is no", "554 •••... is no"),
            ("Ola Nordmann", "554 O\u{ad}la\u{200b} Nord\u{301}mann: no", "554 •••: no"),
            ("Ola Nordmann", "554 O?la Nordmann: no", "554 •••: no"),
            ("Blåmann Å", "554 Bla\u{30a}mann A\u{30a}: no", "554 •••: no"),
            ("Bla\u{30a}mann", "554 blåmann", "554 •••"),
            ("Ola", "554 =?utf-8?Q?Ola?= =?utf-8?B?T2xh?=x =? =?x? =?a?q?b", "554 ••• •••x =? =?x? •••"),
            ("note", "550 is not expected", "550 is not expected"),
            ("anse", "550 I can see", "550 I can see"),
            ("!?", "550 !? no", "550 ••• no"),
            ("?", "550 who?", "550 who?"),
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
