//! What people do to what waits.

use super::WAITING;
use super::report::POSSIBLY;
use super::scanning::{WAITS, is_held_by_us};
use crate::mail::{Details, Event, EventKind, State, Timestamp};
use crate::spool::store::{Change, NextLook, OfLate, RecipientChange, ScanStep, Waiting};

/// What is tried, by a scan or by an attempt, without anybody's asking.
const TRIED: &[State] = &[State::Unscanned, State::Queued, State::Deferred];

const HELD: &[State] = &[State::Held];

/// What an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Try again now.
    Retry,
    /// Keep, and try no more until released.
    Hold,
    Release,
    /// Give up.
    Cancel,
}

/// An operator's wish.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    pub operation: Operation,
    /// Login name.
    pub by: &'a str,
    pub reason: Option<&'a str>,
    /// Of what is cancelled the sender is told; whoever was told that it is late, always.
    pub report: bool,
    pub now: Timestamp,
}

/// What follows an order in a row that an attempt may have delivered: the attempt's words.
const DOUBT: &str = "; possibly delivered: ";

/// The words of the last attempt, where they are what the row says, or still stand behind what
/// somebody ordered since.
pub(super) fn of_the_last_attempt(last_reply: &str) -> Option<&str> {
    let is_order = Operation::ALL.iter().filter_map(|it| it.word());
    let mut is_order = is_order.map(|word| last_reply.strip_prefix(word));
    match is_order.any(|rest| rest.is_some_and(|rest| rest.starts_with(" by "))) {
        false => Some(last_reply),
        true => last_reply.rsplit_once(DOUBT).map(|(_, words)| words),
    }
}

impl Operation {
    const ALL: [Self; 4] = [Self::Retry, Self::Hold, Self::Release, Self::Cancel];

    /// How a row says that it was done. A retry leaves no trace there: the attempt is at hand.
    const fn word(self) -> Option<&'static str> {
        match self {
            Self::Retry => None,
            Self::Hold => Some("held"),
            Self::Release => Some("released"),
            Self::Cancel => Some("cancelled"),
        }
    }

    /// The states it may start from with this recipient; none: it does not apply.
    fn starts_from(self, row: &Waiting) -> &'static [State] {
        let from = match self {
            // What a measure holds, or a scan, an operator may hold beyond that.
            Self::Hold if is_held_by_us(row) => HELD,
            Self::Retry | Self::Hold => TRIED,
            Self::Release => HELD,
            Self::Cancel => WAITING,
        };
        match from.contains(&row.state) {
            true => from,
            false => &[],
        }
    }

    pub(super) const fn event(self) -> EventKind {
        match self {
            Self::Retry => EventKind::Retried,
            Self::Hold => EventKind::Held,
            Self::Release => EventKind::Released,
            Self::Cancel => EventKind::Cancelled,
        }
    }

    const fn leads_to(self, row: &Waiting) -> State {
        match self {
            Self::Retry => row.state,
            Self::Hold => State::Held,
            // Nobody releases what has no verdict from its scan.
            Self::Release if row.awaits_scan => State::Unscanned,
            Self::Release => State::Queued,
            Self::Cancel => State::Cancelled,
        }
    }
}

impl Order<'_> {
    /// Whether the sender is told: by the relay, once no attempt can deliver it any more. Who was
    /// promised word of the end gets it, asked or not.
    fn tells(&self, row: &Waiting) -> bool {
        self.operation == Operation::Cancel && (self.report || row.told.late)
    }

    fn next_look(&self, row: &Waiting) -> NextLook {
        match self.operation {
            Operation::Cancel if self.tells(row) => NextLook::At(self.now),
            Operation::Cancel => NextLook::Never,
            Operation::Release | Operation::Hold => NextLook::At(self.now),
            Operation::Retry => NextLook::AsBefore,
        }
    }

    /// What the row says from now on: who did it, and why. What the hop said last stands in the log.
    /// Of what is cancelled that is the better reason, unless somebody's order has taken its place.
    fn words(&self, row: &Waiting) -> Option<String> {
        let before = row.last_reply.as_deref();
        let attempt = before.and_then(of_the_last_attempt);
        if self.operation == Operation::Cancel && attempt == before {
            return None;
        }
        let mut words = format!("{} by {}", self.operation.word()?, self.by);
        if self.operation == Operation::Release && row.awaits_scan {
            words = format!("{WAITS}: {words}");
        }
        if let Some(reason) = self.reason {
            words += &format!(": {reason}");
        }
        if let Some(attempt) = attempt.filter(|_| row.is_doubtful) {
            let attempt = attempt.strip_prefix(POSSIBLY).unwrap_or(attempt);
            words += &format!("{DOUBT}{attempt}");
        }
        Some(words)
    }

    /// What is released, or tried again, without a verdict is scanned now.
    fn scan(&self, row: &Waiting) -> Option<ScanStep> {
        let is_meant = match self.operation {
            Operation::Retry => row.state == State::Unscanned,
            Operation::Release => row.awaits_scan,
            Operation::Hold | Operation::Cancel => false,
        };
        is_meant.then_some(ScanStep::Anew {
            reference: row.id.reference,
            at: self.now,
            is_excused: self.operation == Operation::Release,
        })
    }

    fn step(&self, row: &Waiting) -> RecipientChange {
        let is_due = matches!(self.operation, Operation::Retry | Operation::Release);
        RecipientChange {
            to: Some(self.operation.leads_to(row)),
            next_attempt_at: is_due.then_some(self.now),
            of_late: (self.operation == Operation::Release).then(OfLate::default),
            last_reply: self.words(row),
            next_look: self.next_look(row),
            event: Some(Event {
                reference: row.id.reference,
                at: self.now,
                kind: self.operation.event(),
                recipient: Some(row.recipient.clone()),
                details: Details {
                    by: Some(self.by.to_owned()),
                    reason: self.reason.map(str::to_owned),
                    ..Details::default()
                },
            }),
            ..RecipientChange::of(row.id, self.operation.starts_from(row))
        }
    }
}

/// An operator's move. Recipients in a state that the operation does not start from are left out.
pub fn operated(order: Order<'_>, waiting: &[Waiting]) -> Change {
    let applies = |row: &&Waiting| !order.operation.starts_from(row).is_empty();
    let meant = waiting.iter().filter(applies);
    let mut scans: Vec<ScanStep> = meant.clone().filter_map(|row| order.scan(row)).collect();
    scans.dedup();
    Change {
        recipients: meant.map(|row| order.step(row)).collect(),
        scans,
        ..Change::default()
    }
}
