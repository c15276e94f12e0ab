//! What people do to what waits, and what its senders are told of that.

use crate::mail::{Details, Event, EventKind, State, Timestamp};
use crate::spool::store::{Change, RecipientChange, Told, Waiting};

use super::report::{Failure, Last, News, Notice};
use super::{ACTIVE, Occasion, WAITING, is_own_report, news};

/// What an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Try again now.
    Retry,
    /// Keep, and try no more until released.
    Hold,
    Release,
    /// Give up, silently.
    Cancel,
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

/// An operator's move. Recipients in a state that the operation does not start from are left out.
pub fn operated(
    operation: Operation,
    waiting: &[Waiting],
    by: &str,
    now: Timestamp,
    reason: Option<&str>,
) -> Change {
    let meant = |row: &&Waiting| operation.starts_from().contains(&row.state);
    Change {
        recipients: waiting
            .iter()
            .filter(meant)
            .map(|row| RecipientChange {
                id: row.id,
                from: operation.starts_from(),
                to: operation.leads_to(row.state),
                attempts: None,
                next_attempt_at: matches!(operation, Operation::Retry | Operation::Release)
                    .then_some(now),
                last_reply: None,
                told: Told::default(),
                event: Some(Event {
                    reference: row.id.reference,
                    at: now,
                    kind: operation.event(),
                    recipient: Some(row.recipient.clone()),
                    details: Details {
                        by: Some(by.to_owned()),
                        reason: reason.map(str::to_owned),
                        ..Details::default()
                    },
                }),
            })
            .collect(),
        ..Change::default()
    }
}

/// An operator cancels recipients of one message, and its sender is told.
pub fn cancelled(
    rows: &[Waiting],
    by: &str,
    reason: Option<&str>,
    occasion: &Occasion<'_>,
) -> Change {
    let mut change = operated(Operation::Cancel, rows, by, occasion.now, reason);
    let starts = Operation::Cancel.starts_from();
    let meant = rows.iter().filter(|row| starts.contains(&row.state));
    let notices = meant.map(|row| {
        let last = Last::remembered(row);
        Notice::new(row.clone(), News::Failed(Failure::Cancelled), last)
    });
    news::tell(&mut change, notices.collect(), occasion);
    change
}

/// Senders hear that what is held is late, once, and as soon as for what is tried in vain. Recipients
/// of one message; those that are not late yet, or not held, stay as they are.
pub fn held_too_long(rows: Vec<Waiting>, occasion: &Occasion<'_>) -> Change {
    let mut change = Change::default();
    let mut notices = Vec::new();
    let is_meant =
        |row: &Waiting| row.state == State::Held && occasion.course(row).is_late(occasion.now);
    for row in rows.into_iter().filter(is_meant) {
        change.recipients.push(RecipientChange {
            id: row.id,
            from: &[State::Held],
            to: State::Held,
            attempts: None,
            next_attempt_at: None,
            last_reply: None,
            told: Told {
                late: true,
                overdue: false,
            },
            event: None,
        });
        if !is_own_report(&row) {
            let last = Last::remembered(&row);
            notices.push(Notice::new(row, News::Held, last));
        }
    }
    news::tell(&mut change, notices, occasion);
    change
}
