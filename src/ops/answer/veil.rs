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
    /// `found`: what was found, and in which files, some of which may be no attachments themselves.
    pub(super) fn new<'a>(
        shown: bool,
        subject: Option<&'a str>,
        attachments: &'a [Attachment],
        found: impl Iterator<Item = &'a str>,
    ) -> Self {
        let found = found.filter_map(|it| it.split_once(WITHIN).map(|(_, file)| file));
        let names = attachments
            .iter()
            .flat_map(|it| [Some(it.name.as_str()), it.within.as_deref()])
            .flatten();
        let mut hidden: Vec<String> = match shown {
            true => Vec::new(),
            false => subject
                .into_iter()
                .chain(names)
                .chain(found)
                .map(str::to_owned)
                .collect(),
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
    pub(super) fn found(&self, found: &str) -> (String, Option<String>) {
        let (what, file) = found
            .split_once(WITHIN)
            .map_or((found, None), |(what, file)| (what, Some(file)));
        (self.over(what), file.map(|it| self.name(it)))
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
        let found = ["Eicar in b.zip", "Eicar"];
        let veil = |shown| Veil::new(shown, Some("Ola Nordmann"), &files, found.into_iter());
        for (words, what, file) in [
            ("Eicar in Ola.zip", "Eicar", Some("Ola.zip")),
            ("Eicar in kari.zip", "Eicar", Some("kari.zip")),
            ("Eicar", "Eicar", None),
        ] {
            let masked = file.map(|_| MASK.to_owned());
            assert_eq!(veil(false).found(words), (what.to_owned(), masked));
            let shown = file.map(str::to_owned);
            assert_eq!(veil(true).found(words), (what.to_owned(), shown));
        }
        let said = "550 x/Ola.exe, Ola.zip, b.zip: Ola Nordmann";
        assert_eq!(veil(false).over(said), "550 •••, •••, •••: •••");
        assert_eq!(veil(true).over(said), said);
        assert_eq!(veil(false).name("Ola Nordmann"), "•••");
        assert_eq!(veil(false).name(""), "•••");
    }
}
