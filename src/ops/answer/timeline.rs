//! What happened, a line an event: the session, the decision, the scan's receipt, each attempt.

use std::time::Duration;

use super::standing::is;
use super::words::say;
use super::{Entry, Telling};
use crate::mail::{Details, EventKind, Lapse, ScannedBy};
use crate::spool::store::LoggedEvent;

/// The word of the line that says who came with it.
const SESSION: &str = "session";

impl Telling<'_> {
    pub(super) fn timeline(&self) -> Vec<Entry> {
        let mut entries = Vec::from_iter(self.session());
        entries.extend(self.trace.events.iter().map(|event| Entry {
            at: event.at,
            event: event.event.clone(),
            text: self.line(event),
        }));
        entries
    }

    /// Who came with it, and how.
    fn session(&self) -> Option<Entry> {
        let kinds = [EventKind::Accepted, EventKind::Refused];
        let mut events = self.trace.events.iter();
        let first = events.find(|it| kinds.iter().any(|kind| is(it, *kind)))?;
        let (details, parts) = (&first.details, &self.words.parts);
        let client = details.client.as_deref()?;
        let (user, certificate) = (details.user.as_deref(), details.certificate.as_deref());
        let tls = match details.tls.as_deref() {
            // Of a refused attempt it is not known.
            None if is(first, EventKind::Refused) => None,
            tls => Some(self.guarded(tls)),
        };
        let said = [
            Some(say!(parts.from, client = client)),
            details
                .helo
                .as_deref()
                .map(|it| say!(parts.helo, helo = it)),
            tls,
            user.map(|it| say!(parts.user, user = it)),
            certificate.map(|it| say!(parts.certificate, certificate = it)),
            details.size.map(|it| say!(parts.size, n = it)),
        ];
        Some(Entry {
            at: first.at,
            event: SESSION.to_owned(),
            text: line(self.words.events.session, said.into_iter().flatten()),
        })
    }

    fn guarded(&self, tls: Option<&str>) -> String {
        match tls {
            None | Some("none") => self.words.parts.plain.to_owned(),
            Some(tls) => say!(self.words.parts.tls, tls = tls),
        }
    }

    fn line(&self, event: &LoggedEvent) -> String {
        let kind = event.event.parse::<EventKind>().ok();
        let head = kind.map_or(event.event.as_str(), |kind| self.words.events.of(kind));
        let (parts, details) = (&self.words.parts, &self.veil.details(&event.details));
        let recipient = event.recipient.as_deref();
        let recipient = recipient.map(|it| say!(parts.to, recipient = it));
        let mut said = Vec::from_iter(recipient);
        match kind {
            Some(EventKind::Scanned) => said.extend(self.receipt(details)),
            Some(EventKind::Accepted) => said.extend(self.decision(details)),
            _ => {
                said.extend(self.attempt(details));
                said.extend(self.decision(details));
            }
        }
        said.extend(self.circumstances(details));
        line(head, said.into_iter())
    }

    /// Of an attempt to deliver it, or of a refusal.
    fn attempt(&self, details: &Details) -> impl Iterator<Item = String> {
        let parts = &self.words.parts;
        let tls = details.tls.as_deref();
        let took = details.duration_ms.map(Duration::from_millis);
        let next = details.next_attempt_at.as_deref();
        let reply = details.reply.as_deref();
        [
            details.attempt.map(|it| say!(parts.attempt, n = it)),
            details.hop.as_deref().map(|it| say!(parts.hop, hop = it)),
            reply.map(|it| say!(parts.reply, reply = it)),
            tls.map(|it| self.guarded(Some(it))),
            took.map(|it| say!(parts.took, length = self.length(it))),
            next.map(|it| say!(parts.next, when = self.written_when(it))),
        ]
        .into_iter()
        .flatten()
    }

    /// By which rule of which table.
    fn decision(&self, details: &Details) -> impl Iterator<Item = String> {
        let parts = &self.words.parts;
        let rule = details.rule.as_deref();
        let group = details.group.as_deref();
        let tolerated: Vec<&str> = details.tolerated.iter().map(|it| self.lapse(it)).collect();
        let tolerated = (!tolerated.is_empty()).then(|| tolerated.join(", "));
        [
            group.map(|it| say!(parts.group, group = it)),
            rule.map(|it| say!(parts.rule, rule = it)),
            details.revision.map(|it| say!(parts.revision, n = it)),
            details.priority.map(|it| say!(parts.priority, n = it)),
            details
                .deliver_by
                .as_deref()
                .map(|it| say!(parts.deliver_by, when = self.written(it))),
            details.require_tls.map(|_| parts.require_tls.to_owned()),
            tolerated.map(|it| say!(parts.tolerated, what = it)),
        ]
        .into_iter()
        .flatten()
    }

    /// What a stricter room would have refused.
    fn lapse<'t>(&self, word: &'t str) -> &'t str {
        let parts = &self.words.parts;
        match Lapse::ALL.iter().find(|it| it.word() == word) {
            Some(Lapse::MissingTls) => parts.plain,
            Some(Lapse::BareNewlines) => parts.bare_newlines,
            Some(Lapse::UnknownWorkstation) => parts.unknown_workstation,
            None => word,
        }
    }

    /// Each engine's part in a scan.
    fn receipt(&self, details: &Details) -> impl Iterator<Item = String> {
        let parts = &self.words.parts;
        let verdict = details.verdict.as_deref().map(|it| self.verdict(it));
        let rules = details.engines.is_empty();
        let rules = rules.then(|| say!(parts.engine, engine = parts.rules));
        let engines = details.engines.iter().map(|it| self.by_engine(it));
        let took = details.duration_ms.map(Duration::from_millis);
        let took = took.map(|it| say!(parts.took, length = self.length(it)));
        let said: Vec<String> = verdict
            .into_iter()
            .chain(rules)
            .chain(engines)
            .chain(took)
            .collect();
        said.into_iter()
    }

    fn verdict(&self, word: &str) -> String {
        let parts = &self.words.parts;
        match word {
            "clean" => parts.clean.to_owned(),
            "infected" => parts.infected.to_owned(),
            "unscannable" => parts.unscannable.to_owned(),
            other => other.to_owned(),
        }
    }

    fn by_engine(&self, part: &ScannedBy) -> String {
        let parts = &self.words.parts;
        let age = part.signature_age_s.map(Duration::from_secs);
        let age = age.map(|it| say!(parts.signature_age, length = self.length(it)));
        let version = part.version.as_deref();
        let signatures = part.signatures.as_deref();
        let (word, detail) = part.verdict.split_once(": ").unwrap_or((&part.verdict, ""));
        let verdict = match detail {
            "" => self.verdict(word),
            detail => format!("{}: {}", self.verdict(word), self.found_one(detail)),
        };
        let took = Duration::from_millis(part.duration_ms);
        let known = [
            version.map(|it| say!(parts.version, version = it)),
            signatures.map(|it| say!(parts.signatures, signatures = it)),
            age,
            Some(verdict),
            Some(say!(parts.took, length = self.length(took))),
        ];
        let known: Vec<String> = known.into_iter().flatten().collect();
        let engine = say!(parts.engine, engine = part.engine);
        format!("{engine} ({})", known.join(", "))
    }

    /// By whom, why, and until when.
    fn circumstances(&self, details: &Details) -> impl Iterator<Item = String> {
        let parts = &self.words.parts;
        let found = |them: &[String]| (!them.is_empty()).then(|| self.found(them));
        let reason = details.reason.as_deref();
        let engine = details
            .engine
            .as_deref()
            .filter(|_| details.verdict.is_none());
        [
            found(&details.malware).map(|it| say!(parts.found, found = it)),
            engine.map(|it| say!(parts.engine, engine = self.engine(it))),
            found(&details.marks).map(|it| say!(parts.marks, marks = it)),
            details
                .files_left_out
                .map(|it| say!(parts.more_files, n = it)),
            details
                .measure
                .as_deref()
                .map(|it| say!(parts.measure, measure = it)),
            details
                .exception
                .map(|it| say!(parts.exception, number = it)),
            details.by.as_deref().map(|it| say!(parts.by, by = it)),
            details
                .until
                .as_deref()
                .map(|it| say!(parts.until, when = self.written(it))),
            details.summary.clone(),
            reason.map(|it| say!(parts.reason, reason = it)),
            details
                .report
                .as_deref()
                .map(|it| say!(parts.report, report = it)),
        ]
        .into_iter()
        .flatten()
    }
}

fn line(head: &str, parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    match parts.is_empty() {
        true => head.to_owned(),
        false => format!("{head}: {}", parts.join("; ")),
    }
}
