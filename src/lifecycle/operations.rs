//! What people do to what waits.

use super::{ACTIVE, WAITING};
use crate::mail::{Details, Event, EventKind, State, Timestamp};
use crate::spool::store::{Change, NextLook, OfLate, RecipientChange, Waiting};

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

impl Operation {
    /// The states it may start from.
    pub const fn starts_from(self) -> &'static [State] {
        match self {
            Self::Retry | Self::Hold => ACTIVE,
            Self::Release => &[State::Held],
            Self::Cancel => WAITING,
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

    const fn leads_to(self, state: State) -> State {
        match self {
            Self::Retry => state,
            Self::Hold => State::Held,
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

    fn step(&self, row: &Waiting) -> RecipientChange {
        let is_due = matches!(self.operation, Operation::Retry | Operation::Release);
        RecipientChange {
            to: Some(self.operation.leads_to(row.state)),
            next_attempt_at: is_due.then_some(self.now),
            of_late: (self.operation == Operation::Release).then(OfLate::default),
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
            ..RecipientChange::of(row.id, self.operation.starts_from())
        }
    }
}

/// An operator's move. Recipients in a state that the operation does not start from are left out.
pub fn operated(order: Order<'_>, waiting: &[Waiting]) -> Change {
    let starts_from = order.operation.starts_from();
    let meant = waiting
        .iter()
        .filter(|row| starts_from.contains(&row.state));
    Change {
        recipients: meant.map(|row| order.step(row)).collect(),
        ..Change::default()
    }
}
