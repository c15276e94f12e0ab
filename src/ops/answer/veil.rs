//! What is said of subjects and of the names of files: all of it passes here.
//!
//! Whoever may not see them gets `•••` in their place, whose length tells nothing. Pure; never fails.

use crate::mail::Attachment;

const MASK: &str = "•••";
/// What stands between a finding and the file that it is in.
const WITHIN: &str = " in ";

/// What is hidden of one message; or that nothing is.
#[derive(Debug, Clone)]
pub(super) struct Veil {
    shown: bool,
    /// The longest first, so that none is left standing within another.
    hidden: Vec<String>,
}

impl Veil {
    pub(super) fn new(shown: bool, subject: Option<&str>, attachments: &[Attachment]) -> Self {
        let names = attachments
            .iter()
            .flat_map(|it| [Some(it.name.as_str()), it.within.as_deref()])
            .flatten();
        let mut hidden: Vec<String> = match shown {
            true => Vec::new(),
            false => subject.into_iter().chain(names).map(str::to_owned).collect(),
        };
        hidden.retain(|it| !it.trim().is_empty());
        hidden.sort_by_key(|it| std::cmp::Reverse(it.len()));
        hidden.dedup();
        Self { shown, hidden }
    }

    /// A subject, or the name of a file.
    pub(super) fn name(&self, name: &str) -> String {
        match self.shown {
            true => name.to_owned(),
            false => MASK.to_owned(),
        }
    }

    /// What was found, and in which file: `Eicar in a.zip`.
    pub(super) fn found(&self, found: &str) -> String {
        match found.split_once(WITHIN).filter(|_| !self.shown) {
            Some((what, _)) => format!("{}{WITHIN}{MASK}", self.over(what)),
            None => self.over(found),
        }
    }

    /// Words of a hop, or of our own, in which they may stand.
    pub(super) fn over(&self, words: &str) -> String {
        self.hidden
            .iter()
            .fold(words.to_owned(), |words, it| words.replace(it, MASK))
    }
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
        let veil = |shown| Veil::new(shown, Some("Ola Nordmann"), &files);
        for (words, masked) in [
            ("Eicar in Ola.zip", "Eicar in •••"),
            ("Eicar in kari.zip", "Eicar in •••"),
            ("Eicar", "Eicar"),
        ] {
            assert_eq!(veil(false).found(words), masked);
            assert_eq!(veil(true).found(words), words);
        }
        let said = "550 x/Ola.exe, Ola.zip: Ola Nordmann";
        assert_eq!(veil(false).over(said), "550 •••, •••: •••");
        assert_eq!(veil(true).over(said), said);
        assert_eq!(veil(false).name("Ola Nordmann"), "•••");
        assert_eq!(veil(false).name(""), "•••");
    }
}
