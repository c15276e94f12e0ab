//! What to do next, where it is not delivered: whom to call, what to wait for, which command helps.

use super::Telling;
use super::refusal;
use super::standing::{Case, Standing};
use super::words::{Kind, say};
use crate::lifecycle::report::Why;
use crate::mail::{EventKind, RoomId};
use crate::policy::decide;

/// More lines than this nobody reads out; what is said of each recipient stands below.
const MOST: usize = 8;

impl Telling<'_> {
    pub(super) fn advice(&self) -> Vec<String> {
        let lines = match &self.trace.message {
            None if !self.trace.refusals.is_empty() => self.after_a_refusal(),
            None => self.after_an_event(),
            Some(_) => self.of_all(),
        };
        let mut said: Vec<String> = Vec::new();
        for line in lines {
            if !said.contains(&line) {
                said.push(line);
            }
        }
        if said.len() > MOST {
            said.truncate(MOST);
            said.push(self.words.advice.see_rows.to_owned());
        }
        said
    }

    /// Where some did not get it, those who did need nothing.
    fn of_all(&self) -> Vec<String> {
        let is_one = self.cases.len() == 1;
        let is_meant =
            |it: &&Case<'_>| is_one || !it.is_delivered() || it.last(EventKind::Alarm).is_some();
        let meant = self.cases.iter().filter(is_meant);
        meant.flat_map(|it| self.next_for(it)).collect()
    }

    fn next_for(&self, case: &Case<'_>) -> Vec<String> {
        let advice = &self.words.advice;
        let reference = self.trace.reference;
        let by = case.by().unwrap_or(self.words.sentences.somebody);
        let fixed = |line: &str| line.to_owned();
        match case.standing {
            Standing::Delivered => self.after_delivery(case),
            Standing::Queued => vec![
                self.call(case),
                fixed(advice.wait_for_turn),
                say!(advice.retry, reference = reference),
            ],
            Standing::Deferred => vec![
                self.call(case),
                say!(advice.wait, next = self.next(case)),
                say!(advice.retry, reference = reference),
            ],
            Standing::Perhaps => vec![
                self.call(case),
                fixed(advice.ask_first),
                say!(advice.tried_again, next = self.next(case)),
            ],
            Standing::Unscanned => vec![self.call(case), fixed(advice.wait_for_scan)],
            Standing::WaitsInVain => vec![self.call(case), fixed(advice.no_engine)],
            Standing::Held => vec![
                self.call(case),
                say!(advice.release, by = by, reference = reference),
            ],
            Standing::HeldByMeasure => {
                let until = case.details().and_then(|it| it.until.as_deref());
                let until = self.written_when(until.unwrap_or_default());
                let after = say!(advice.after_measure, until = until, reference = reference);
                vec![self.call(case), after]
            }
            Standing::HeldForAPerson => vec![
                self.call(case),
                say!(advice.let_out_poison, reference = reference),
            ],
            Standing::HeldReport => self.about_a_report(),
            Standing::Quarantined => vec![
                fixed(advice.do_not_resend),
                say!(advice.false_alarm, reference = reference),
            ],
            Standing::Failed | Standing::GivenUp | Standing::NeverTried | Standing::Expired => {
                self.after_failure(case)
            }
            Standing::Cancelled => {
                let by = case.by().filter(|_| case.reason().is_none());
                let ask = by.map(|by| say!(advice.ask, by = by));
                let lines = [ask, Some(self.call(case)), Some(self.again(case))];
                lines.into_iter().flatten().collect()
            }
            Standing::Deleted | Standing::Lapsed => vec![fixed(advice.do_not_resend)],
            Standing::Refused(_) | Standing::LeftOut => self.after_refusing(case),
        }
    }

    fn after_delivery(&self, case: &Case<'_>) -> Vec<String> {
        let advice = &self.words.advice;
        if case.last(EventKind::Alarm).is_some() {
            let room = case.elsewhere().or(case.room.as_deref());
            let room = self.room(room.unwrap_or_default());
            return vec![say!(advice.warn_of_leak, room = room)];
        }
        match self.is_ours() {
            true => self.about_a_report(),
            false => vec![say!(advice.not_found, address = case.recipient)],
        }
    }

    fn about_a_report(&self) -> Vec<String> {
        let about = self.reported();
        let line = about.map(|it| say!(self.words.advice.read_report, reference = it));
        Vec::from_iter(line)
    }

    /// What to do where we try no more.
    fn again(&self, case: &Case<'_>) -> String {
        let advice = &self.words.advice;
        let again = match case.is_doubtful() {
            true => advice.ask_first,
            false => advice.resend,
        };
        again.to_owned()
    }

    fn after_failure(&self, case: &Case<'_>) -> Vec<String> {
        let advice = &self.words.advice;
        let told = match (
            case.last(EventKind::Bounced),
            case.last(EventKind::NotBounced),
        ) {
            (Some(event), _) => {
                let report = event.details.report.as_deref().unwrap_or_default();
                Some(say!(advice.told, report = report))
            }
            (None, Some(_)) => Some(advice.not_told.to_owned()),
            (None, None) => None,
        };
        let is_unknown = |words: &str| Why::of_words(words, true) == Why::NoMailbox;
        let is_refused = case.standing == Standing::Failed;
        let is_unknown = is_refused && case.last_words().is_some_and(is_unknown);
        let remedy = is_unknown.then(|| advice.check_address.to_owned());
        let lines = [Some(self.call(case)), remedy, Some(self.again(case)), told];
        lines.into_iter().flatten().collect()
    }

    fn after_refusing(&self, case: &Case<'_>) -> Vec<String> {
        let kind = match case.standing {
            Standing::Refused(kind) => kind,
            _ => Kind::LeftOut,
        };
        let [_, todo] = self.words.refusals.of(kind);
        let reply = case.refusal.and_then(|it| it.reply.as_deref());
        let reply = reply.unwrap_or_default();
        let meant = refusal::meant(kind, reply, &case.recipient, self.known.table);
        let meant = meant.map(|it| say!(self.words.advice.nearest, address = it));
        let is_for_a_room = kind.calls_for_a_call() && case.room.is_some();
        let call = is_for_a_room.then(|| self.call(case));
        // A call says the same, and has the number.
        let todo = (call.is_none() || kind == Kind::Blocked).then(|| todo.to_owned());
        let lines = [meant, todo, call];
        lines.into_iter().flatten().collect()
    }

    fn after_a_refusal(&self) -> Vec<String> {
        if !self.cases.is_empty() {
            return self.cases.iter().flat_map(|it| self.next_for(it)).collect();
        }
        let kind = self.main_refusal().map(|(_, kind)| kind);
        let todo = kind.map(|kind| {
            let [_, todo] = self.words.refusals.of(kind);
            todo.to_owned()
        });
        Vec::from_iter(todo)
    }

    fn after_an_event(&self) -> Vec<String> {
        let advice = &self.words.advice;
        let kind = self.trace.events.last();
        let kind = kind.and_then(|it| it.event.parse().ok());
        let line = match kind {
            Some(EventKind::RoutesChanged) => Some(advice.routes_history),
            Some(EventKind::Alarm) => Some(advice.check_state),
            _ => None,
        };
        line.map(str::to_owned).into_iter().collect()
    }

    /// The telephone of the room that takes this recipient's mail now.
    fn call(&self, case: &Case<'_>) -> String {
        let advice = &self.words.advice;
        let (table, now) = (self.known.table, self.known.now);
        let id = RoomId::new(case.room.as_deref().unwrap_or_default());
        let route = decide::route(&id, table, now);
        let via = route.map_or_else(|| id.clone(), |route| route.via);
        let name = self.room(via.as_str());
        match table.room(&via).and_then(|room| room.phone.as_deref()) {
            Some(phone) => say!(advice.call, room = name, phone = phone),
            None => say!(advice.call_without_number, room = name),
        }
    }
}
