//! How each recipient stands: what the log has of it, in one word that decides what is said.

use super::Trace;
use super::words::Kind;
use crate::lifecycle;
use crate::mail::{Details, EventKind, State, Timestamp};
use crate::spool::store::{LogRow, LoggedEvent, Waiting};

/// How a recipient stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Unscanned,
    /// It waits for an engine, and there is none.
    WaitsInVain,
    Queued,
    Deferred,
    /// The last attempt, or an earlier one, may have delivered it.
    Perhaps,
    /// By an operator.
    Held,
    HeldByMeasure,
    /// It cannot be scanned, and somebody has to decide.
    HeldForAPerson,
    /// A report of ours that could not be delivered.
    HeldReport,
    Quarantined,
    Delivered,
    /// By the next hop's word.
    Failed,
    GivenUp,
    /// Given up before it was ever tried.
    NeverTried,
    /// The time that its sender named was over.
    Expired,
    Cancelled,
    /// From quarantine, by hand.
    Deleted,
    /// From quarantine, by age.
    Lapsed,
    Refused(Kind),
    /// Of a group.
    LeftOut,
}

/// One recipient, and what the log has of it.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub recipient: String,
    pub room: Option<String>,
    pub standing: Standing,
    /// `None`: it was refused.
    pub waiting: Option<&'a Waiting>,
    pub refusal: Option<&'a LogRow>,
    /// What put it where it is.
    pub event: Option<&'a LoggedEvent>,
    /// All that concern this recipient alone.
    pub events: Vec<&'a LoggedEvent>,
}

pub(super) fn cases(trace: &Trace) -> Vec<Case<'_>> {
    let kept = trace.message.iter().flat_map(|it| &it.recipients);
    let kept = kept.map(|it| Case::of(it, &trace.events));
    let refused = trace.refusals.iter();
    let refused = refused.filter_map(|it| Case::refused(it, &trace.events));
    let mut cases: Vec<Case<'_>> = kept.chain(refused).collect();
    let says_more =
        |it: &Case<'_>| !matches!(it.standing, Standing::Refused(kind) if kind.only_follows());
    if cases.iter().any(says_more) {
        cases.retain(says_more);
    }
    cases
}

pub(super) fn is(event: &LoggedEvent, kind: EventKind) -> bool {
    event.event == kind.word()
}

impl<'a> Case<'a> {
    fn of(waiting: &'a Waiting, events: &'a [LoggedEvent]) -> Self {
        let recipient = waiting.recipient.to_string();
        let own = events.iter();
        let own: Vec<&LoggedEvent> = own
            .filter(|it| it.recipient.as_ref() == Some(&recipient))
            .collect();
        let last = own.iter().rev();
        let event = last.copied().find(|it| puts_in(it, waiting.state));
        Self {
            standing: standing(waiting, event, &own),
            room: Some(waiting.room.to_string()),
            waiting: Some(waiting),
            refusal: None,
            recipient,
            event,
            events: own,
        }
    }

    fn refused(row: &'a LogRow, events: &'a [LoggedEvent]) -> Option<Self> {
        let recipient = row.recipient.clone()?;
        let own = events.iter();
        let own: Vec<&LoggedEvent> = own
            .filter(|it| it.recipient.as_ref() == Some(&recipient))
            .filter(|it| is(it, EventKind::Refused) || is(it, EventKind::LeftOut))
            .collect();
        let kind = Kind::of(row.reply.as_deref().unwrap_or_default());
        let is_said = |it: &&&LoggedEvent| it.details.reply == row.reply;
        let event = own.iter().find(is_said).or_else(|| own.first());
        Some(Self {
            standing: match kind {
                Kind::LeftOut => Standing::LeftOut,
                kind => Standing::Refused(kind),
            },
            room: row.recipient_room.clone(),
            waiting: None,
            refusal: Some(row),
            recipient,
            event: event.copied(),
            events: own,
        })
    }

    pub(super) fn word(&self) -> &'static str {
        let refused = EventKind::Refused.word();
        self.waiting.map_or(refused, |it| it.state.word())
    }

    pub(super) fn details(&self) -> Option<&'a Details> {
        self.event.map(|it| &it.details)
    }

    /// Who did it.
    pub(super) fn by(&self) -> Option<&'a str> {
        self.details()?.by.as_deref()
    }

    pub(super) fn reason(&self) -> Option<&'a str> {
        self.details()?.reason.as_deref()
    }

    /// When it came where it is.
    pub(super) fn at(&self) -> Timestamp {
        let event = self.event.map(|it| it.at);
        let refused = || self.refusal.map(|it| it.at);
        let accepted = || self.waiting.map(|it| it.accepted_at);
        event.or_else(refused).or_else(accepted).unwrap_or_default()
    }

    /// The last words of an attempt, the hop's or ours.
    pub(super) fn last_words(&self) -> Option<&'a str> {
        let details = self.details()?;
        let reason = details.reason.as_deref();
        let at_last = |it: &'a str| match it.split_once(AT_LAST) {
            Some((_, words)) => Some(words),
            None => (!is_of_time(it)).then_some(it),
        };
        details
            .reply
            .as_deref()
            .or_else(|| reason.and_then(at_last))
    }

    /// The last of its events of this kind.
    pub(super) fn last(&self, kind: EventKind) -> Option<&'a LoggedEvent> {
        let mut events = self.events.iter().rev();
        events.find(|it| is(it, kind)).copied()
    }

    pub(super) fn attempts(&self) -> u32 {
        self.waiting.map_or(0, |it| it.attempts)
    }

    pub(super) fn is_doubtful(&self) -> bool {
        self.waiting.is_some_and(|it| it.is_doubtful)
    }

    pub(super) fn is_delivered(&self) -> bool {
        self.standing == Standing::Delivered
    }

    /// The room that took it over, by the rule of the delivery.
    pub(super) fn elsewhere(&self) -> Option<&'a str> {
        let rule = self.details()?.rule.as_deref()?;
        let (_, after) = rule.rsplit_once("is redirected to \"")?;
        after.split_once('"').map(|(room, _)| room)
    }
}

const AT_LAST: &str = "; at last: ";
const TRIED: &str = "tried for ";
const TOO_LATE: &str = "not delivered by ";

/// It says that the time was over, and nothing of an attempt.
fn is_of_time(reason: &str) -> bool {
    reason.starts_with(TRIED) || reason.starts_with(TOO_LATE)
}

fn puts_in(event: &LoggedEvent, state: State) -> bool {
    let kinds: &[EventKind] = match state {
        State::Unscanned | State::Queued => &[],
        State::Deferred => &[EventKind::Deferred, EventKind::PossiblyDelivered],
        State::Held => &[EventKind::Held],
        State::Quarantined => &[EventKind::Quarantined],
        State::Delivered => &[EventKind::Delivered],
        State::Failed => &[EventKind::Failed],
        State::Cancelled => &[EventKind::Cancelled],
    };
    kinds.iter().any(|it| is(event, *it))
}

fn standing(waiting: &Waiting, event: Option<&LoggedEvent>, own: &[&LoggedEvent]) -> Standing {
    let details = event.map(|it| &it.details);
    match waiting.state {
        State::Unscanned if lifecycle::is_kept(waiting) => Standing::WaitsInVain,
        State::Unscanned => Standing::Unscanned,
        State::Queued => Standing::Queued,
        State::Deferred if waiting.is_doubtful => Standing::Perhaps,
        State::Deferred => Standing::Deferred,
        State::Held => held(waiting, details),
        State::Quarantined => Standing::Quarantined,
        State::Delivered => Standing::Delivered,
        State::Failed => failed(waiting, details),
        State::Cancelled => cancelled(details, own),
    }
}

fn held(waiting: &Waiting, details: Option<&Details>) -> Standing {
    let by = details.and_then(|it| it.by.as_ref());
    match details.and_then(|it| it.measure.as_ref()) {
        Some(_) => Standing::HeldByMeasure,
        None if lifecycle::is_kept(waiting) => Standing::HeldForAPerson,
        None if waiting.is_ours && by.is_none() => Standing::HeldReport,
        None => Standing::Held,
    }
}

fn failed(waiting: &Waiting, details: Option<&Details>) -> Standing {
    let reason = details.and_then(|it| it.reason.as_deref());
    match reason.unwrap_or_default() {
        reason if reason.starts_with(TOO_LATE) => Standing::Expired,
        reason if !reason.starts_with(TRIED) => Standing::Failed,
        _ if waiting.attempts == 0 => Standing::NeverTried,
        _ => Standing::GivenUp,
    }
}

/// What was caught and not let out is deleted; somebody who does that is named.
fn cancelled(details: Option<&Details>, own: &[&LoggedEvent]) -> Standing {
    let moves = [EventKind::Quarantined, EventKind::Released];
    let mut back = own.iter().rev();
    let last = back.find(|it| moves.iter().any(|kind| is(it, *kind)));
    let was_caught = last.is_some_and(|it| is(it, EventKind::Quarantined));
    match details.and_then(|it| it.by.as_ref()) {
        _ if !was_caught => Standing::Cancelled,
        Some(_) => Standing::Deleted,
        None => Standing::Lapsed,
    }
}
