//! The sentence that is read out, and the one of each recipient.

use super::Telling;
use super::standing::{Case, Standing, is};
use super::words::{counted, ended, say};
use crate::lifecycle::report::Why;
use crate::mail::EventKind;

/// Of so many recipients to whom it was not delivered each is named.
const NAMED: usize = 3;

impl Telling<'_> {
    /// Which message it is about.
    pub(super) fn about(&self) -> Option<String> {
        let sentences = &self.words.sentences;
        let (from, at) = match (&self.trace.message, self.trace.refusals.first()) {
            (Some(_), _) if self.is_ours() => return None,
            (Some(message), _) => (self.sender(), message.accepted_at),
            (None, Some(row)) => (self.sender(), row.at),
            (None, None) => return None,
        };
        let when = self.when(at);
        let subject = self.trace.subject().map(str::trim);
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
            None if self.trace.message.is_none() => return None,
            None => say!(sentences.about, from = from, when = when),
        })
    }

    /// The room and the address, as far as they are known.
    pub(super) fn sender(&self) -> String {
        let row = self.trace.refusals.first();
        let (address, room) = match (&self.trace.message, row) {
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
        let kept = self.trace.message.is_some();
        match self.cases.as_slice() {
            _ if !kept && !self.trace.refusals.is_empty() => self.refused(),
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
        let mut events = self.trace.events.iter();
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
        let every = match all {
            2 => sentences.both.to_owned(),
            n => say!(sentences.all, n = n),
        };
        let head = match there.max_by_key(|it| it.at()) {
            Some(last) if rest.is_empty() => {
                let (when, length) = (self.when(last.at()), self.after(last));
                say!(
                    sentences.all_delivered,
                    n = every,
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
                    all = say!(sentences.the_recipients, n = all),
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
        let mut events = self.trace.events.iter().rev();
        let found = events.find(|it| !it.details.malware.is_empty());
        found.map_or_else(String::new, |it| self.found(&it.details.malware))
    }

    /// How often it was tried.
    fn times(&self, case: &Case<'_>) -> String {
        let [once, often] = self.words.times;
        let attempts = usize::try_from(case.attempts()).unwrap_or(usize::MAX);
        counted([often, once, often], attempts)
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
}

fn with(head: String, more: Option<&str>) -> String {
    more.map_or(head.clone(), |more| format!("{head}; {more}"))
}

/// The first of several sentences, as the end of another.
fn clause(sentences: &str) -> String {
    let first = sentences.split(". ").next().unwrap_or_default();
    let first = first.trim_end_matches('.');
    let mut letters = first.chars();
    let begin = letters.next().map(char::to_lowercase);
    begin.into_iter().flatten().chain(letters).collect()
}
