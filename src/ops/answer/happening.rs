//! The sentence of what the log has under a reference that is no message's: the table, a measure, an alarm.

use super::Telling;
use super::words::{ended, say};
use crate::mail::EventKind;

impl Telling<'_> {
    pub(super) fn of_an_event(&self) -> String {
        let sentences = &self.words.sentences;
        let Some(event) = self.trace.events.last() else {
            return String::new();
        };
        let details = &event.details;
        let when = self.when(event.at);
        let by = details.by.as_deref().unwrap_or(sentences.somebody);
        let reason = details.reason.clone().unwrap_or_default();
        let what = details.measure.clone().unwrap_or_default();
        let until = || self.written(details.until.as_deref().unwrap_or_default());
        let Some(kind) = event.event.parse().ok() else {
            return say!(sentences.happened, what = event.event, when = when);
        };
        let said = match kind {
            EventKind::RoutesChanged => {
                let revision = details.revision.unwrap_or_default();
                let said = say!(
                    sentences.routes_changed,
                    revision = revision,
                    when = when,
                    by = by
                );
                with_words(said, details.summary.as_deref())
            }
            EventKind::LogRead => {
                let words = [&details.command, &details.query].map(Option::as_deref);
                let what: Vec<&str> = words.into_iter().flatten().collect();
                say!(
                    sentences.log_read,
                    when = when,
                    by = by,
                    what = what.join(" ")
                )
            }
            EventKind::LogRetention => {
                let what = details.summary.as_deref().unwrap_or_default();
                say!(sentences.log_retention, when = when, what = what)
            }
            EventKind::Alarm => say!(sentences.alarm, when = when, reason = reason),
            EventKind::AllClear => say!(sentences.all_clear, when = when, reason = reason),
            EventKind::MeasureOpened => {
                say!(
                    sentences.measure_opened,
                    when = when,
                    by = by,
                    what = what,
                    until = until()
                )
            }
            EventKind::MeasureClosed => {
                say!(sentences.measure_closed, when = when, by = by, what = what)
            }
            EventKind::ExceptionOpened => {
                say!(
                    sentences.exception_opened,
                    when = when,
                    by = by,
                    until = until()
                )
            }
            EventKind::ExceptionClosed => say!(sentences.exception_closed, when = when, by = by),
            kind => {
                let what = self.words.events.of(kind);
                say!(sentences.happened, what = what, when = when)
            }
        };
        ended(said)
    }
}

fn with_words(head: String, words: Option<&str>) -> String {
    words.map_or(head.clone(), |words| format!("{head}: {words}"))
}
