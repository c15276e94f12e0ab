//! What may become of a message: states, allowed moves, and the `Change` each move makes.
//!
//! Pure: the time, new references and the settings come in as arguments. Every move names the
//! states it may start from, and carries the event that explains it; a move that comes too late is
//! skipped by the store, and [`overtaken`] still leaves its trace. What a move means for the sender
//! is a [`report`], or the reason why there is none. Nothing here fails: whatever happened to a
//! message, there is a change that says so.

mod acceptance;
mod attempts;
mod lateness;
mod news;
mod operations;
mod quarantine;
pub mod report;
pub mod retry;
mod scanning;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::mail::{Content, Details, Event, EventKind, Reference, State, Timestamp};
use crate::policy::table::{Room, RoutingTable};
use crate::spool::store::{Change, RecipientChange, RecipientId, Waiting};

use report::Letterhead;
use retry::{Course, Schedule};

pub use acceptance::accepted;
pub use attempts::{attempted, expired, overdue};
pub use lateness::{Look, has_news, looked_at};
pub use news::without_reports;
pub use operations::{Operation, Order, operated};
pub use quarantine::{Hand, Release, done_away, is_kept, lapsed, let_out, read_by};
pub use scanning::{
    Guard, Keeping, Refused, Ruling, Scanned, called_back, is_by_engine, no_engine, receipt,
    rescanned, ruled, scanned,
};

/// States in which a recipient still waits.
const WAITING: &[State] = &[
    State::Unscanned,
    State::Queued,
    State::Deferred,
    State::Held,
];
/// States in which the queue may work on a recipient.
const ACTIVE: &[State] = &[State::Queued, State::Deferred];

/// Where a recipient may be once an operator, or its time, was faster than an attempt.
const OVERTAKING: &[State] = &[State::Held, State::Cancelled, State::Failed];
/// From where a delivery leads: it is a fact, whatever was decided meanwhile.
const UNDELIVERED: &[State] = &[
    State::Unscanned,
    State::Queued,
    State::Deferred,
    State::Held,
    State::Cancelled,
    State::Failed,
];

const CAUGHT: &[State] = &[State::Quarantined];
/// The alarm when an attempt was under way that nobody could call back.
const TOO_LATE: &str = "delivered by an attempt that was under way when it was caught";

/// How many reports one move may write: of failure, of delay, of success.
pub const REPORTS: usize = 3;

/// What a move depends on beside the outcomes.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    pub now: Timestamp,
    /// Decides the jitter.
    pub noise: u64,
    pub schedule: &'a Schedule,
    pub letterhead: &'a Letterhead,
    pub table: &'a RoutingTable,
    /// The message, for what a report carries of it; `None` when it could not be read.
    pub content: Option<&'a Content>,
    /// Names for the reports, should they be written.
    pub reports: [Reference; REPORTS],
    /// The rule of the table by which it went where it went.
    pub route: Option<&'a str>,
    /// Names this start of the relay: what attempts were made before it does not count.
    pub start: Timestamp,
    /// For how long the relay has been up since.
    pub up_for: Duration,
}

impl<'a> Occasion<'a> {
    /// The room that a recipient is for, while it is registered.
    fn room(&self, waiting: &Waiting) -> Option<&'a Room> {
        self.table.room(&waiting.room)
    }

    fn course(&self, waiting: &Waiting) -> Course<'a> {
        self.schedule.course(waiting, self.room(waiting))
    }
}

/// Whether it is a report that the relay wrote itself. Nothing in a message tells that, for a client
/// can write what we write.
const fn is_own_report(waiting: &Waiting) -> bool {
    waiting.is_ours
}

/// Moves that came too late, since somebody had decided otherwise: nothing moves, but what
/// happened is told, and that it may have arrived is remembered. That it was delivered is a fact, also
/// of what was caught meanwhile.
pub fn overtaken(change: &Change, skipped: &[RecipientId]) -> Change {
    let late = change.recipients.iter();
    let late = late.filter(|it| skipped.contains(&it.id));
    let is_there = |it: &&RecipientChange| it.to == Some(State::Delivered);
    let alarms = late.clone().filter(is_there).filter_map(caught_too_late);
    let events = late.clone().filter_map(|it| it.event.clone());
    let step = |it: &RecipientChange| match it.to {
        Some(State::Delivered) => Some(RecipientChange {
            from: CAUGHT,
            event: None,
            ..it.clone()
        }),
        _ => it.is_doubtful.then(|| RecipientChange {
            is_doubtful: true,
            last_reply: it.last_reply.clone(),
            ..RecipientChange::of(it.id, OVERTAKING)
        }),
    };
    Change {
        events: events.chain(alarms).collect(),
        recipients: late.filter_map(step).collect(),
        ..Change::default()
    }
}

/// Somebody has what nobody was to get.
fn caught_too_late(step: &RecipientChange) -> Option<Event> {
    let delivered = step.event.as_ref()?;
    Some(Event {
        kind: EventKind::Alarm,
        details: Details {
            room: delivered.details.room.clone(),
            reason: Some(TOO_LATE.to_owned()),
            ..Details::default()
        },
        ..delivered.clone()
    })
}
