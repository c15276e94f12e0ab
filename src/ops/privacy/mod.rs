//! Who may see what of the log, and for how long: masking, the access log, retention.
//!
//! Subjects and the names of files are hidden from people until they give a reason ([`Mask`]); who reads the
//! log is a row in it ([`access`]). Decides by the settings alone, and hides by `mail::veil`.

pub mod access;

use std::collections::HashMap;
use std::sync::Arc;

use crate::mail::{Reference, Veil};
use crate::spool::store::{CaughtMessage, LogRow, LoggedEvent, Names, Store, StoreError, Waiting};

/// What the settings say of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    pub mask: Mask,
}

/// From whom subjects and the names of files are hidden unless they give a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mask {
    /// From people at a terminal; scripts and exports have them.
    #[default]
    People,
    /// From scripts and exports too.
    All,
    /// From nobody.
    None,
}

impl Mask {
    pub const WORDS: [(&str, Self); 3] = [
        ("people", Self::People),
        ("all", Self::All),
        ("none", Self::None),
    ];

    /// Whether it shows them to whom gives no reason.
    pub const fn shows(self, is_script: bool) -> bool {
        match self {
            Self::People => is_script,
            Self::All => false,
            Self::None => true,
        }
    }
}

/// What hides what, message by message.
#[derive(Debug, Clone, Default)]
pub struct Veils {
    shown: bool,
    names: HashMap<Reference, Names>,
    found: HashMap<Reference, Vec<String>>,
}

impl Veils {
    /// `told`: messages and refusals with what is said of each.
    pub async fn of<'a>(
        store: &Arc<dyn Store>,
        shown: bool,
        told: impl Iterator<Item = (Reference, &'a str)>,
    ) -> Result<Self, StoreError> {
        let mut veils = Self {
            shown,
            ..Self::default()
        };
        if shown {
            return Ok(veils);
        }
        let (mut references, mut suspects) = (Vec::new(), Vec::new());
        for (reference, said) in told {
            references.push(reference);
            suspects.extend(may_name_a_file(said).then_some(reference));
        }
        for list in [&mut references, &mut suspects] {
            list.sort_unstable();
            list.dedup();
        }
        veils.names = store.names_of(references).await?;
        for reference in suspects {
            let events = store.events(reference).await?;
            let found = events.into_iter().flat_map(|it| it.details.malware);
            veils.found.insert(reference, found.collect());
        }
        Ok(veils)
    }

    pub fn veil(&self, reference: Reference) -> Veil {
        let names = self.names.get(&reference);
        let files = names.map_or(&[][..], |it| it.files.as_slice());
        let found = self.found.get(&reference).into_iter().flatten();
        let subject = names.and_then(|it| it.subject.as_deref());
        Veil::new(self.shown, subject, files, found.map(String::as_str))
    }

    /// A row, as it is shown.
    pub fn row(&self, row: &LogRow) -> LogRow {
        let veil = self.veil(row.reference);
        LogRow {
            subject: row.subject.as_deref().map(|it| veil.name(it)),
            reply: row.reply.as_deref().map(|it| veil.over(it)),
            ..row.clone()
        }
    }

    /// An event, as it is shown.
    pub fn event(&self, event: &LoggedEvent) -> LoggedEvent {
        LoggedEvent {
            details: self.veil(event.reference).details(&event.details),
            ..event.clone()
        }
    }

    /// A waiting recipient, as it is shown.
    pub fn waiting(&self, waiting: &Waiting) -> Waiting {
        let veil = self.veil(waiting.id.reference);
        Waiting {
            last_reply: waiting.last_reply.as_deref().map(|it| veil.over(it)),
            ..waiting.clone()
        }
    }

    /// What was caught, as it is shown.
    pub fn caught(&self, caught: &CaughtMessage) -> CaughtMessage {
        let veil = self.veil(caught.reference);
        CaughtMessage {
            subject: caught.subject.as_deref().map(|it| veil.name(it)),
            malware: caught
                .malware
                .split(", ")
                .map(|it| veil.finding(it))
                .collect::<Vec<_>>()
                .join(", "),
            reason: veil.over(&caught.reason),
            ..caught.clone()
        }
    }
}

/// Whether a reply may name a file in which something was found.
fn may_name_a_file(said: &str) -> bool {
    const WORDS: [&str; 3] = ["malware", "found", "block "];
    WORDS.iter().any(|word| said.contains(word))
}
