//! The languages in which the relay writes to people.

use std::fmt;
use std::str::FromStr;

/// `language` in the settings: reports to senders, and the default of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// Norwegian bokmål.
    #[default]
    Nb,
    /// English.
    En,
}

/// What names no language of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoLanguage(String);

impl fmt::Display for NoLanguage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "people are written to in nb or en, not in {:?}", self.0)
    }
}

impl std::error::Error for NoLanguage {}

impl FromStr for Language {
    type Err = NoLanguage;

    fn from_str(word: &str) -> Result<Self, NoLanguage> {
        let mut words = Self::WORDS.iter();
        let found = words.find(|(it, _)| *it == word);
        found
            .map(|(_, language)| *language)
            .ok_or_else(|| NoLanguage(word.to_owned()))
    }
}

impl Language {
    /// As settings and commands have them.
    pub const WORDS: [(&str, Self); 2] = [("nb", Self::Nb), ("en", Self::En)];

    /// The same words in each language, side by side where they are written.
    pub const fn choose<'a>(self, nb: &'a str, en: &'a str) -> &'a str {
        match self {
            Self::Nb => nb,
            Self::En => en,
        }
    }
}
