//! That somebody reads the log is a row in it: who, with which command, what for, and how much there was.
//!
//! The row is of no message: no search finds it, and it disturbs no message's story. It is written while the
//! answer is on its way; only what is revealed waits for it.

use std::sync::Arc;

use crate::mail::reply::harmless;
use crate::mail::{Details, EventKind, Reference, Timestamp};
use crate::spool::store::{LoggedEvent, Pending, Store};

/// Nobody types more than this; what is longer is cut off, and says so.
const LONGEST: usize = 1000;

/// One look at the log.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The operator's login name.
    pub by: String,
    /// `log search`
    pub command: &'static str,
    /// What was asked for, as typed.
    pub query: String,
    /// Why what is masked is shown.
    pub reason: Option<String>,
    pub rows: Option<u64>,
}

/// Notes it in the log; begun at once, whether or not somebody waits for it.
pub fn note(store: &Arc<dyn Store>, reading: &Reading, now: Timestamp) -> Pending<Reference> {
    let query = harmless(&reading.query);
    let mut short: String = query.chars().take(LONGEST).collect();
    if short.len() < query.len() {
        short.push('…');
    }
    let details = Details {
        by: Some(reading.by.clone()),
        command: Some(reading.command.to_owned()),
        query: (!short.is_empty()).then_some(short),
        reason: reading.reason.clone(),
        rows: reading.rows,
        ..Details::default()
    };
    store.tell(now, EventKind::LogRead, details)
}

/// As somebody would type it again.
pub fn typed(words: &[&str], flags: &[(&str, String)]) -> String {
    let quoted = |text: &str| match text.is_empty() || text.contains(char::is_whitespace) {
        true => format!("\"{text}\""),
        false => text.to_owned(),
    };
    let mut all: Vec<String> = words.iter().map(|it| quoted(it)).collect();
    let flags = flags.iter();
    all.extend(flags.map(|(name, value)| format!("--{name} {}", quoted(value))));
    all.join(" ")
}

/// What one such row says, for listings.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Access {
    pub at: Timestamp,
    pub by: Option<String>,
    pub command: Option<String>,
    pub query: Option<String>,
    pub reason: Option<String>,
    pub rows: Option<u64>,
    #[serde(rename = "ref")]
    pub reference: Reference,
}

impl From<LoggedEvent> for Access {
    fn from(event: LoggedEvent) -> Self {
        let details = event.details;
        Self {
            at: event.at,
            by: details.by,
            command: details.command,
            query: details.query,
            reason: details.reason,
            rows: details.rows,
            reference: event.reference,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_told_as_one_would_type_it() {
        let text = str::to_owned;
        for (words, flags, expected) in [
            (&[][..], &[][..], ""),
            (&["hamar", "Ola N"], &[], "hamar \"Ola N\""),
            (
                &["x"],
                &[("room", text("amk-oslo")), ("status", text(""))],
                "x --room amk-oslo --status \"\"",
            ),
        ] {
            assert_eq!(typed(words, flags), expected);
        }
    }
}
