//! The sentence of an attempt of which nothing was kept: who tried what, why not, and what was said.

use super::Telling;
use super::standing::{Case, Standing};
use super::words::{Kind, say};
use crate::spool::store::{LogRow, LoggedEvent};

impl Telling<'_> {
    pub(super) fn refused(&self) -> String {
        let sentences = &self.words.sentences;
        let Some((row, kind)) = self.main_refusal() else {
            return String::new();
        };
        let is_of_another_kind = |it: &Case<'_>| it.standing != Standing::Refused(kind);
        if row.count == 1 && self.cases.iter().any(is_of_another_kind) {
            let (from, when) = (self.sender(), self.when(row.at));
            let n = say!(sentences.recipients, n = self.cases.len());
            return say!(sentences.refused_all, from = from, n = n, when = when);
        }
        let event = self.event_of(row);
        let reply = row.reply.as_deref().map(|it| self.veil.over(it));
        let reply = reply.map(|it| say!(sentences.reply, reply = it));
        let said = [
            Some(self.attempt_refused(row, &self.why_refused(kind, event))),
            event.and_then(|it| self.rule(it)),
            reply,
        ];
        let said: Vec<String> = said.into_iter().flatten().collect();
        said.join(" ")
    }

    /// Who tried to send to whom, and why it was refused.
    fn attempt_refused(&self, row: &LogRow, why: &str) -> String {
        let sentences = &self.words.sentences;
        let (from, when) = (self.sender(), self.when(row.at));
        let client = row.user.as_deref().unwrap_or(&row.client);
        let phrase = match self.cases.len() {
            _ if row.count > 1 => sentences.refused_many,
            0 if row.sender.is_some() => sentences.refused_from,
            0 => sentences.refused_client,
            _ => sentences.refused_to,
        };
        let whom = match self.cases.as_slice() {
            [only] => only.recipient.clone(),
            several => say!(sentences.recipients, n = several.len()),
        };
        say!(
            phrase,
            from = from,
            client = client,
            n = row.count,
            whom = whom,
            when = when,
            why = why
        )
    }

    /// The rule that refused it, and of which table. As it was written it stands in the timeline.
    fn rule(&self, event: &LoggedEvent) -> Option<String> {
        let sentences = &self.words.sentences;
        let rule = self.veil.over(event.details.rule.as_deref()?);
        let rule = self.words.rules.told(&rule);
        Some(match event.details.revision {
            Some(revision) => say!(sentences.rule, rule = rule, revision = revision),
            None => say!(sentences.bare_rule, rule = rule),
        })
    }

    pub(super) fn why_refused(&self, kind: Kind, event: Option<&LoggedEvent>) -> String {
        let [why, _] = self.words.refusals.of(kind);
        let malware = event.map(|it| it.details.malware.as_slice());
        match malware.filter(|it| !it.is_empty()) {
            Some(malware) => format!("{why}: {}", self.found(malware)),
            None => why.to_owned(),
        }
    }

    /// The refusal that says most, and its kind.
    pub(super) fn main_refusal(&self) -> Option<(&LogRow, Kind)> {
        let kind = |row: &LogRow| Kind::of(row.reply.as_deref().unwrap_or_default());
        let rows = self.trace.refusals.iter().map(|row| (row, kind(row)));
        let mut telling = rows.clone().filter(|(_, kind)| !kind.only_follows());
        telling.next().or_else(|| rows.clone().next())
    }

    fn event_of(&self, row: &LogRow) -> Option<&LoggedEvent> {
        let mut events = self.trace.events.iter();
        let is_same =
            |it: &&LoggedEvent| it.details.reply == row.reply && it.recipient == row.recipient;
        events.find(is_same)
    }
}
