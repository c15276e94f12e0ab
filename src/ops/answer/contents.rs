//! What was in it, and whether somebody has looked into it.

use super::Telling;
use super::standing::is;
use super::words::{counted, say};
use crate::mail::{Details, EventKind};

impl Telling<'_> {
    /// Attachments, and what was done against what may be in them. Of a report of ours nothing is said.
    pub(super) fn contents(&self) -> Option<String> {
        if self.is_ours() {
            return None;
        }
        let sentences = &self.words.sentences;
        let scan = self.last_of_all(EventKind::Scanned);
        let marks = scan.map(|it| it.marks.as_slice());
        let marks = marks.filter(|it| !it.is_empty());
        let marked = marks.map(|it| say!(sentences.marked, marks = self.found(it)));
        Some(match (self.scanned(scan), marked) {
            (scanned, Some(marked)) => format!("{scanned}; {marked}"),
            (scanned, None) => scanned,
        })
    }

    fn scanned(&self, scan: Option<&Details>) -> String {
        let sentences = &self.words.sentences;
        let attachments = self.trace.attachments.iter();
        let count = attachments.filter(|it| it.within.is_none()).count();
        let attachments = counted(self.words.attachments, count);
        let mut waivers = self.cases.iter().filter_map(|it| it.waiting?.waiver);
        let exception = waivers.clone().find_map(|it| it.exception());
        match scan {
            _ if let Some(number) = exception => {
                let by = self.who(scan);
                let unscanned = say!(sentences.unscanned, attachments = attachments);
                let under = say!(sentences.under_exception, number = number, by = by);
                format!("{unscanned}; {under}")
            }
            _ if waivers.next().is_some() => {
                let by = self.who(self.last_of_all(EventKind::Released));
                say!(sentences.not_clean, attachments = attachments, by = by)
            }
            Some(it) if it.verdict.as_deref() != Some("clean") => attachments,
            Some(it) if it.engines.is_empty() => {
                say!(sentences.by_rules, attachments = attachments)
            }
            Some(_) => counted(self.words.clean, count),
            None => attachments,
        }
    }

    fn who<'e>(&self, details: Option<&'e Details>) -> &'e str {
        let by = details.and_then(|it| it.by.as_deref());
        by.unwrap_or(self.words.sentences.somebody)
    }

    /// What the last event of this kind knows.
    fn last_of_all(&self, kind: EventKind) -> Option<&Details> {
        let mut events = self.trace.events.iter().rev();
        events.find(|it| is(it, kind)).map(|it| &it.details)
    }

    pub(super) fn found(&self, malware: &[String]) -> String {
        let found: Vec<String> = malware.iter().map(|it| self.found_one(it)).collect();
        found.join(", ")
    }

    /// In the words of this language: `Eicar i faktura.zip`.
    pub(super) fn found_one(&self, found: &str) -> String {
        match self.veil.found(found) {
            (what, Some(file)) => say!(self.words.parts.within, what = what, file = file),
            (what, None) => what,
        }
    }
}
