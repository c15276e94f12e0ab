//! The sentence that is read out, and the one of each recipient.

use super::Telling;
use super::standing::{Case, Standing, is};
use super::words::{Kind, say};
use crate::lifecycle::report::Why;
use crate::mail::{Details, EventKind};
use crate::spool::store::{LogRow, LoggedEvent};

/// Of so many recipients to whom it was not delivered each is named.
const NAMED: usize = 3;

impl Telling<'_> {
    /// Which message it is about.
    pub(super) fn about(&self) -> Option<String> {
        let sentences = &self.words.sentences;
        let (from, at) = match (self.known.message, self.known.refusals.first()) {
            (Some(_), _) if self.is_ours() => return None,
            (Some(message), _) => (self.sender(), message.accepted_at),
            (None, Some(row)) => (self.sender(), row.at),
            (None, None) => return None,
        };
        let when = self.when(at);
        let subject = super::subject(self.known).map(str::trim);
        Some(match subject.filter(|it| !it.is_empty()) {
            Some(subject) => {
                let subject = self.veil.name(subject);
                say!(
                    sentences.about_subject,
                    from = from,
                    when = when,
                    subject = subject
                )
            }
            None if self.known.message.is_none() => return None,
            None => say!(sentences.about, from = from, when = when),
        })
    }

    /// The room and the address, as far as they are known.
    fn sender(&self) -> String {
        let row = self.known.refusals.first();
        let (address, room) = match (self.known.message, row) {
            (Some(it), _) => {
                let room = it.sender_room.as_ref().map(ToString::to_string);
                (it.sender.as_ref().map(ToString::to_string), room)
            }
            (None, Some(row)) => (row.sender.clone(), row.sender_room.clone()),
            (None, None) => (None, None),
        };
        let address = address.filter(|it| !it.is_empty());
        let nobody = || row.and_then(|it| it.user.clone());
        let room = room.map(|it| self.room(&it));
        match (room, address.or_else(nobody)) {
            (Some(room), Some(address)) => format!("{room} ({address})"),
            (None, Some(it)) | (Some(it), None) => it,
            (None, None) => self.words.sentences.no_sender.to_owned(),
        }
    }

    pub(super) fn sentence(&self) -> String {
        let kept = self.known.message.is_some();
        match self.cases.as_slice() {
            _ if !kept && !self.known.refusals.is_empty() => self.refused(),
            [] => self.of_an_event(),
            [only] => self.of_our_own(&self.of_only(only)),
            several => self.of_our_own(&self.of_several(several)),
        }
    }

    /// A report of ours says so first.
    fn of_our_own(&self, sentence: &str) -> String {
        if !self.is_ours() {
            return sentence.to_owned();
        }
        let sentences = &self.words.sentences;
        let report = match self.reported() {
            Some(about) => say!(sentences.report, about = about),
            None => sentences.report_of_old.to_owned(),
        };
        format!("{report} {sentence}")
    }

    /// The message that a report of ours is about.
    pub(super) fn reported(&self) -> Option<&str> {
        let mut events = self.known.events.iter();
        let accepted = events.find(|it| is(it, EventKind::Accepted))?;
        let reason = accepted.details.reason.as_deref()?;
        reason.split_whitespace().next().filter(|_| self.is_ours())
    }

    /// With what is known of its contents.
    fn of_only(&self, case: &Case<'_>) -> String {
        match case.is_delivered() {
            true => self.delivered(case, self.contents().as_deref()),
            false => self.of_one(case),
        }
    }

    fn of_several(&self, cases: &[Case<'_>]) -> String {
        let sentences = &self.words.sentences;
        let there = cases.iter().filter(|it| it.is_delivered());
        let (n, all) = (there.clone().count(), cases.len());
        let rest: Vec<&Case<'_>> = cases.iter().filter(|it| !it.is_delivered()).collect();
        let the_recipients = |n: usize| say!(sentences.the_recipients, n = n);
        let head = match there.max_by_key(|it| it.at()) {
            Some(last) if rest.is_empty() => {
                let (when, length) = (self.when(last.at()), self.after(last));
                say!(
                    sentences.all_delivered,
                    n = the_recipients(all),
                    when = when,
                    length = length
                )
            }
            Some(_) => {
                let whom = self.named(&rest);
                say!(sentences.some_delivered, n = n, all = all, whom = whom)
            }
            None => {
                let whom = self.named(&rest);
                return ended(say!(
                    sentences.none_delivered,
                    all = the_recipients(all),
                    whom = whom
                ));
            }
        };
        ended(with(head, self.contents().as_deref()))
    }

    /// Those that did not get it, the first of them by name.
    fn named(&self, cases: &[&Case<'_>]) -> String {
        let sentences = &self.words.sentences;
        let one = |it: &&Case<'_>| {
            let (whom, state) = (self.whom(it), self.state(it));
            say!(sentences.one_of_several, whom = whom, state = state)
        };
        let mut names: Vec<String> = cases.iter().take(NAMED).map(one).collect();
        if cases.len() > NAMED {
            names.push(say!(sentences.others, n = cases.len() - NAMED));
        }
        let last = names.pop().unwrap_or_default();
        match names.is_empty() {
            true => last,
            false => format!("{}{}{last}", names.join(", "), sentences.and),
        }
    }

    fn state(&self, case: &Case<'_>) -> &'static str {
        let states = &self.words.states;
        match (case.standing, case.waiting) {
            (Standing::Perhaps, _) => states.perhaps,
            (Standing::LeftOut, _) => states.left_out,
            (_, Some(waiting)) => states.of(waiting.state),
            (_, None) => states.refused,
        }
    }

    /// How long after it was sent.
    fn after(&self, case: &Case<'_>) -> String {
        let accepted = case.waiting.map_or_else(|| case.at(), |it| it.accepted_at);
        self.length(case.at().since(accepted))
    }

    /// What is said of one recipient. That an attempt may have delivered it is never left out.
    pub(super) fn of_one(&self, case: &Case<'_>) -> String {
        let is_said = matches!(
            case.standing,
            Standing::Delivered | Standing::Perhaps | Standing::Failed | Standing::GivenUp
        );
        let said = self.as_it_stands(case);
        match case.is_doubtful() && !is_said {
            true => format!("{said} {}", self.words.sentences.may_have_arrived),
            false => said,
        }
    }

    fn as_it_stands(&self, case: &Case<'_>) -> String {
        let sentences = &self.words.sentences;
        let (whom, when) = (self.whom(case), self.when(case.at()));
        let by = case.by().unwrap_or(sentences.somebody);
        match case.standing {
            Standing::Delivered => self.delivered(case, None),
            Standing::Queued if case.attempts() > 0 => {
                let times = self.times(case);
                ended(say!(sentences.queued_again, whom = whom, times = times))
            }
            Standing::Queued => {
                let since = self.bare(case.at());
                ended(say!(sentences.queued, whom = whom, since = since))
            }
            Standing::Deferred => self.tried(case, sentences.deferred),
            Standing::Perhaps => self.tried(case, sentences.perhaps),
            Standing::Unscanned | Standing::WaitsInVain => {
                ended(say!(sentences.unscanned_yet, whom = whom))
            }
            Standing::Held => {
                let said = say!(sentences.held, whom = whom, by = by, when = when);
                self.with_reason(said, case)
            }
            Standing::HeldByMeasure => {
                let until = case.details().and_then(|it| it.until.as_deref());
                let until = self.written(until.unwrap_or_default());
                ended(say!(
                    sentences.held_by_measure,
                    whom = whom,
                    by = by,
                    until = until
                ))
            }
            Standing::HeldForAPerson => ended(say!(sentences.held_for_a_person, whom = whom)),
            Standing::HeldReport => ended(say!(sentences.held_report, whom = whom)),
            Standing::Quarantined => self.quarantined(case),
            Standing::Failed | Standing::GivenUp | Standing::NeverTried | Standing::Expired => {
                self.failed(case)
            }
            Standing::Cancelled => {
                let said = say!(sentences.cancelled, whom = whom, by = by, when = when);
                self.with_reason(said, case)
            }
            Standing::Deleted => {
                let said = say!(sentences.deleted, whom = whom, by = by, when = when);
                self.with_reason(said, case)
            }
            Standing::Lapsed => ended(say!(sentences.lapsed, whom = whom, when = when)),
            Standing::Refused(kind) => {
                let why = self.why_refused(kind, case.event);
                let said = say!(
                    sentences.refused_recipient,
                    whom = whom,
                    when = when,
                    why = why
                );
                ended(said)
            }
            Standing::LeftOut => {
                let group = case.details().and_then(|it| it.group.clone());
                let group = group.unwrap_or_default();
                ended(say!(sentences.left_out, whom = whom, group = group))
            }
        }
    }

    fn delivered(&self, case: &Case<'_>, contents: Option<&str>) -> String {
        let sentences = &self.words.sentences;
        let (whom, when) = (self.whom(case), self.when(case.at()));
        let head = match case.elsewhere() {
            Some(other) => {
                let other = self.room(other);
                say!(
                    sentences.delivered_elsewhere,
                    whom = whom,
                    other = other,
                    when = when
                )
            }
            None => say!(sentences.delivered, whom = whom, when = when),
        };
        let after = say!(sentences.after, length = self.after(case));
        let mut said = vec![ended(with(format!("{head}, {after}"), contents))];
        if case.is_doubtful() || case.last(EventKind::PossiblyDelivered).is_some() {
            said.push(sentences.perhaps_twice.to_owned());
        }
        if case.last(EventKind::Alarm).is_some() {
            let found = self.found_at_last();
            said.push(say!(sentences.caught_too_late, found = found));
        }
        let reply = case.details().and_then(|it| it.reply.as_deref());
        said.extend(reply.map(|it| say!(sentences.receipt, reply = self.veil.over(it))));
        said.join(" ")
    }

    /// What the last scan that found something has found.
    fn found_at_last(&self) -> String {
        let mut events = self.known.events.iter().rev();
        let found = events.find(|it| !it.details.malware.is_empty());
        found.map_or_else(String::new, |it| self.found(&it.details.malware))
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

    /// How often it was tried.
    fn times(&self, case: &Case<'_>) -> String {
        let [once, often] = self.words.times;
        let attempts = usize::try_from(case.attempts()).unwrap_or(usize::MAX);
        counted([often, once, often], attempts)
    }

    /// Attachments, and whether they were scanned.
    fn contents(&self) -> Option<String> {
        if self.is_ours() {
            return None;
        }
        let (sentences, words) = (&self.words.sentences, self.words);
        let count = self.known.attachments.iter();
        let count = count.filter(|it| it.within.is_none()).count();
        let attachments = counted(words.attachments, count);
        let mut scans = self.known.events.iter().rev();
        let scan = scans.find(|it| is(it, EventKind::Scanned));
        let waivers = self.cases.iter().filter_map(|it| it.waiting?.waiver);
        let mut exceptions = waivers.clone().filter_map(|it| it.exception());
        let details = scan.map(|it| &it.details);
        let somebody = sentences.somebody;
        let scanned_by = |it: Option<&Details>| {
            let by = it.and_then(|it| it.by.clone());
            by.unwrap_or_else(|| somebody.to_owned())
        };
        let mut parts = match (exceptions.next(), details) {
            (Some(number), _) => vec![
                say!(sentences.unscanned, attachments = attachments),
                say!(
                    sentences.under_exception,
                    number = number,
                    by = scanned_by(details)
                ),
            ],
            (None, _) if waivers.clone().next().is_some() => {
                let by = self.released_by();
                vec![say!(
                    sentences.not_clean,
                    attachments = attachments,
                    by = by
                )]
            }
            (None, Some(it)) if it.verdict.as_deref() != Some("clean") => vec![attachments],
            (None, Some(it)) if it.engines.is_empty() => {
                vec![say!(sentences.by_rules, attachments = attachments)]
            }
            (None, Some(_)) => vec![counted(words.clean, count)],
            (None, None) => vec![attachments],
        };
        if let Some(it) = details.filter(|it| !it.marks.is_empty()) {
            parts.push(say!(sentences.marked, marks = self.found(&it.marks)));
        }
        Some(parts.join("; "))
    }

    /// Who let it out of quarantine.
    fn released_by(&self) -> &str {
        let mut events = self.known.events.iter().rev();
        let released = events.find(|it| is(it, EventKind::Released));
        let by = released.and_then(|it| it.details.by.as_deref());
        by.unwrap_or(self.words.sentences.somebody)
    }

    /// Not delivered yet, and tried on.
    fn tried(&self, case: &Case<'_>, phrase: &'static str) -> String {
        let why = match case.last_words() {
            _ if case.is_doubtful() => Why::Unsure,
            Some(words) => Why::of_words(words, false),
            None => Why::Unknown,
        };
        let why = clause(why.sentence(self.language));
        let (times, next) = (self.times(case), self.next(case));
        let whom = self.whom(case);
        let said = say!(phrase, whom = whom, why = why, times = times, next = next);
        self.in_their_words(said, case)
    }

    /// When it is tried again.
    pub(super) fn next(&self, case: &Case<'_>) -> String {
        let next = case.waiting.map(|it| it.next_attempt_at);
        match next.filter(|at| *at > self.known.now) {
            Some(at) => self.when(at),
            None => self.words.sentences.now.to_owned(),
        }
    }

    /// The last words of an attempt after it.
    fn in_their_words(&self, said: String, case: &Case<'_>) -> String {
        let sentences = &self.words.sentences;
        let said = ended(said);
        let Some(words) = case.last_words() else {
            return said;
        };
        let words = self.veil.over(words);
        let is_code = |it: &str| it.len() == 3 && it.bytes().all(|it| it.is_ascii_digit());
        match words.split(' ').next().is_some_and(is_code) {
            true => format!("{said} {}", say!(sentences.their_words, reply = words)),
            false => format!("{said} {}", say!(sentences.technical, reason = words)),
        }
    }

    fn failed(&self, case: &Case<'_>) -> String {
        let sentences = &self.words.sentences;
        let (whom, when) = (self.whom(case), self.when(case.at()));
        let is_final = case.standing == Standing::Failed;
        let why = case
            .last_words()
            .map_or(Why::Unknown, |words| Why::of_words(words, is_final));
        let why = clause(why.sentence(self.language));
        let times = self.times(case);
        let said = match case.standing {
            Standing::GivenUp => {
                say!(
                    sentences.given_up,
                    whom = whom,
                    when = when,
                    times = times,
                    why = why
                )
            }
            Standing::NeverTried => say!(sentences.never_tried, whom = whom, when = when),
            Standing::Expired => say!(sentences.expired, whom = whom, when = when),
            _ => say!(sentences.failed, whom = whom, when = when, why = why),
        };
        let is_left_to_say = matches!(case.standing, Standing::Failed | Standing::GivenUp);
        let said = match case.is_doubtful() && is_left_to_say {
            true => format!("{} {}", ended(said), sentences.may_have_arrived),
            false => said,
        };
        self.in_their_words(said, case)
    }

    /// What an operator wrote.
    fn with_reason(&self, said: String, case: &Case<'_>) -> String {
        let said = ended(said);
        match case.reason() {
            Some(reason) => {
                let reason = self.veil.over(reason);
                format!(
                    "{said} {}",
                    say!(self.words.sentences.reason, reason = reason)
                )
            }
            None => said,
        }
    }

    fn quarantined(&self, case: &Case<'_>) -> String {
        let sentences = &self.words.sentences;
        let (whom, when) = (self.whom(case), self.when(case.at()));
        let said = say!(sentences.quarantined, whom = whom, when = when);
        let Some(details) = case.details().filter(|it| !it.malware.is_empty()) else {
            return ended(said);
        };
        let engine = self.engine(details.engine.as_deref().unwrap_or_default());
        let found = self.found(&details.malware);
        ended(format!(
            "{said}; {}",
            say!(sentences.caught_by, engine = engine, found = found)
        ))
    }

    /// An engine, or what stands in the place of one.
    pub(super) fn engine(&self, name: &str) -> String {
        match name {
            "rules" => self.words.parts.rules.to_owned(),
            "outbreak" => self.words.parts.block.to_owned(),
            name => name.to_owned(),
        }
    }

    fn why_refused(&self, kind: Kind, event: Option<&LoggedEvent>) -> String {
        let [why, _] = self.words.refusals.of(kind);
        let malware = event.map(|it| it.details.malware.as_slice());
        match malware.filter(|it| !it.is_empty()) {
            Some(malware) => format!("{why}: {}", self.found(malware)),
            None => why.to_owned(),
        }
    }

    /// An attempt of which nothing was kept.
    fn refused(&self) -> String {
        let sentences = &self.words.sentences;
        let Some((row, kind)) = self.main_refusal() else {
            return String::new();
        };
        let event = self.event_of(row);
        let (from, when) = (self.sender(), self.when(row.at));
        let why = self.why_refused(kind, event);
        let recipients = |n: usize| say!(sentences.recipients, n = n);
        let client = row.user.as_deref().unwrap_or(&row.client);
        let of_other_kinds = |it: &Case<'_>| it.standing != Standing::Refused(kind);
        let said = match self.cases.as_slice() {
            _ if row.count > 1 => {
                let n = row.count;
                say!(
                    sentences.refused_many,
                    client = client,
                    n = n,
                    when = when,
                    why = why
                )
            }
            several if several.iter().any(of_other_kinds) => {
                let n = recipients(several.len());
                return say!(sentences.refused_all, from = from, n = n, when = when);
            }
            [only] => {
                let whom = &only.recipient;
                say!(
                    sentences.refused_to,
                    from = from,
                    whom = whom,
                    when = when,
                    why = why
                )
            }
            [] if row.sender.is_some() => {
                say!(sentences.refused_from, from = from, when = when, why = why)
            }
            [] => say!(
                sentences.refused_client,
                client = client,
                when = when,
                why = why
            ),
            several => {
                let whom = recipients(several.len());
                say!(
                    sentences.refused_to,
                    from = from,
                    whom = whom,
                    when = when,
                    why = why
                )
            }
        };
        let details = event.map(|it| &it.details);
        let rule = details
            .and_then(|it| it.rule.as_deref())
            .map(|it| self.veil.over(it));
        let revision = details.and_then(|it| it.revision);
        let rule = rule.map(|rule| match revision {
            Some(revision) => say!(sentences.rule, rule = rule, revision = revision),
            None => say!(sentences.bare_rule, rule = rule),
        });
        let reply = row.reply.as_deref().map(|it| self.veil.over(it));
        let reply = reply.map(|it| say!(sentences.reply, reply = it));
        [Some(said), rule, reply]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The refusal that says most, and its kind.
    pub(super) fn main_refusal(&self) -> Option<(&LogRow, Kind)> {
        let kind = |row: &LogRow| Kind::of(row.reply.as_deref().unwrap_or_default());
        let rows = self.known.refusals.iter().map(|row| (row, kind(row)));
        let mut telling = rows.clone().filter(|(_, kind)| !kind.only_follows());
        telling.next().or_else(|| rows.clone().next())
    }

    fn event_of(&self, row: &LogRow) -> Option<&LoggedEvent> {
        let mut events = self.known.events.iter();
        let is_same =
            |it: &&LoggedEvent| it.details.reply == row.reply && it.recipient == row.recipient;
        events.find(is_same)
    }

    /// What the log has that is about no message: the table, a measure, an alarm.
    fn of_an_event(&self) -> String {
        let sentences = &self.words.sentences;
        let Some(event) = self.known.events.last() else {
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

/// None, one, several.
fn counted([none, one, several]: [&'static str; 3], n: usize) -> String {
    match n {
        0 => say!(none, n = n),
        1 => say!(one, n = n),
        _ => say!(several, n = n),
    }
}

fn with(head: String, more: Option<&str>) -> String {
    more.map_or(head.clone(), |more| format!("{head}; {more}"))
}

fn with_words(head: String, words: Option<&str>) -> String {
    words.map_or(head.clone(), |words| format!("{head}: {words}"))
}

/// With a full stop, unless it has one.
fn ended(sentence: String) -> String {
    match sentence.ends_with(['.', '!', '?']) {
        true => sentence,
        false => sentence + ".",
    }
}

/// The first of several sentences, as the end of another.
fn clause(sentences: &str) -> String {
    let first = sentences.split(". ").next().unwrap_or_default();
    let first = first.trim_end_matches('.');
    let mut letters = first.chars();
    let begin = letters.next().map(char::to_lowercase);
    begin.into_iter().flatten().chain(letters).collect()
}
