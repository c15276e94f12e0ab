//! What is said of subjects and of the names of files: all of it passes here.
//!
//! Whoever may not see them gets `•••` in their place, whose length tells nothing. Pure; never fails.

use super::Trace;
use crate::mail::{Attachment, Details, ScannedBy};

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
    /// `shown`: whether subjects and names of attachments may be seen.
    pub(super) fn of(trace: &Trace, shown: bool) -> Self {
        let mut hidden: Vec<String> = match shown {
            true => Vec::new(),
            false => names(trace).map(str::to_owned).collect(),
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

    fn attachments(&self, them: &[Attachment]) -> Vec<Attachment> {
        let seen = them.iter().map(|it| Attachment {
            name: self.name(&it.name),
            within: it.within.as_deref().map(|it| self.name(it)),
            ..it.clone()
        });
        seen.collect()
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

    /// What an event knows, as it may be seen.
    pub(super) fn details(&self, details: &Details) -> Details {
        let over = |words: &Option<String>| words.as_deref().map(|it| self.over(it));
        let each = |them: &[String]| them.iter().map(|it| self.over(it)).collect();
        let engines = details.engines.iter().map(|it| ScannedBy {
            verdict: self.over(&it.verdict),
            ..it.clone()
        });
        Details {
            rule: over(&details.rule),
            reply: over(&details.reply),
            reason: over(&details.reason),
            malware: each(&details.malware),
            marks: each(&details.marks),
            engines: engines.collect(),
            ..details.clone()
        }
    }
}

impl Trace {
    /// As it may be seen. `shown`: whether subjects and names of attachments may be.
    #[must_use]
    pub fn veiled(mut self, shown: bool) -> Self {
        let veil = Veil::of(&self, shown);
        if let Some(message) = &mut self.message {
            message.subject = message.subject.as_deref().map(|it| veil.name(it));
            message.attachments = veil.attachments(&message.attachments);
        }
        self.attachments = veil.attachments(&self.attachments);
        for event in &mut self.events {
            event.details = veil.details(&event.details);
        }
        for row in &mut self.refusals {
            row.subject = row.subject.as_deref().map(|it| veil.name(it));
            row.reply = row.reply.as_deref().map(|it| veil.over(it));
        }
        self
    }
}

/// All that is to be hidden: files in which something was found may be no attachments themselves.
fn names(trace: &Trace) -> impl Iterator<Item = &str> {
    let found = trace.found().filter_map(|it| it.split_once(WITHIN));
    let attachments = trace.attachments.iter();
    let files = attachments.flat_map(|it| [Some(it.name.as_str()), it.within.as_deref()]);
    trace
        .subject()
        .into_iter()
        .chain(files.flatten())
        .chain(found.map(|(_, file)| file))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;
    use crate::mail::{FileType, Reference, Timestamp};
    use crate::spool::store::{LogRow, LoggedEvent};

    fn file(name: &str, within: Option<&str>) -> Attachment {
        Attachment {
            name: name.to_owned(),
            within: within.map(str::to_owned),
            size: None,
            sha256: None,
            kind: FileType::Unknown,
        }
    }

    fn found(malware: &[&str]) -> LoggedEvent {
        LoggedEvent {
            sequence: 1,
            reference: Reference::from_number(1),
            at: Timestamp::default(),
            event: "quarantined".to_owned(),
            sender: None,
            recipient: None,
            details: Details {
                malware: malware.iter().map(|it| (*it).to_owned()).collect(),
                ..Details::default()
            },
        }
    }

    fn refused(subject: &str) -> LogRow {
        LogRow {
            reference: Reference::from_number(1),
            at: Timestamp::default(),
            status: "refused".to_owned(),
            sender: None,
            sender_room: None,
            recipient: None,
            recipient_room: None,
            subject: Some(subject.to_owned()),
            size: None,
            message_id: None,
            client: String::new(),
            user: None,
            reply: None,
            count: 1,
            exception: None,
        }
    }

    #[test]
    fn nothing_of_a_name_is_left() {
        let files = [file("Ola.zip", None), file("x/Ola.exe", Some("Ola.zip"))];
        let trace = Trace {
            reference: Reference::from_number(1),
            message: None,
            attachments: files.to_vec(),
            events: vec![found(&["Eicar in b.zip", "Eicar"])],
            refusals: vec![refused("Ola Nordmann")],
        };
        let veil = |shown| Veil::of(&trace, shown);
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
        let details = Details {
            reply: Some(said.to_owned()),
            rule: Some("found Eicar in b.zip".to_owned()),
            by: Some("Ola".to_owned()),
            ..found(&["Eicar in Ola.zip"]).details
        };
        let masked = Details {
            reply: Some("550 •••, •••, •••: •••".to_owned()),
            rule: Some("found Eicar in •••".to_owned()),
            by: Some("Ola".to_owned()),
            ..found(&["Eicar in •••"]).details
        };
        assert_eq!(veil(false).details(&details), masked);
        assert_eq!(veil(true).details(&details), details);
        let seen = trace.clone().veiled(false);
        assert_eq!(seen.attachments[1], file("•••", Some("•••")));
        assert_eq!(seen.events[0].details.malware[0], "Eicar in •••");
        assert_eq!(seen.refusals[0].subject.as_deref(), Some("•••"));
        let seen = trace.clone().veiled(true);
        assert_eq!(seen.attachments, trace.attachments);
        assert_eq!(seen.events, trace.events);
        assert_eq!(seen.refusals, trace.refusals);
        assert_eq!(veil(false).name("Ola Nordmann"), "•••");
        assert_eq!(veil(false).name(""), "•••");
    }
}
