//! A revision of the routing table as the store keeps it, and where it stands.
//!
//! A revision is never changed once it is written. Whether its table counts is said beside it: some wait
//! for a second person, some are taken back by themselves unless somebody confirms them.

use std::fmt;
use std::time::Duration;

use crate::mail::{Details, Event, EventKind, Reference, Timestamp};

/// One revision of the routing table.
#[derive(Clone, PartialEq, Eq)]
pub struct Revision {
    pub revision: u64,
    pub at: Timestamp,
    pub by: String,
    pub reason: Option<String>,
    /// What changed, in a line.
    pub summary: String,
    /// The table as TOML, canonical form.
    pub table: String,
}

/// Without the table, which has passwords in it.
impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revision")
            .field("revision", &self.revision)
            .field("at", &self.at)
            .field("by", &self.by)
            .field("reason", &self.reason)
            .field("summary", &self.summary)
            .finish_non_exhaustive()
    }
}

impl Revision {
    /// The event that this revision came in force, by whose hand and why.
    pub fn came_in_force(&self, reference: Reference, by: &str, reason: Option<&str>) -> Event {
        Event {
            reference,
            at: self.at,
            kind: EventKind::RoutesChanged,
            recipient: None,
            details: Details {
                revision: Some(self.revision),
                summary: Some(self.summary.clone()),
                by: Some(by.to_owned()),
                reason: reason.map(str::to_owned),
                ..Details::default()
            },
        }
    }
}

/// By what it is seen that another routing table may be in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutesMark {
    /// The one in force.
    pub revision: u64,
    /// How often any revision was written, by us or by hand.
    pub written: u64,
}

/// How a new revision comes to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conditions {
    /// It is taken back so long after it came in force, unless somebody confirms it.
    pub confirm: Option<Duration>,
    /// It counts only once somebody else has approved it. The first table of all needs nobody.
    pub needs_approval: bool,
}

/// A revision in force that is taken back unless it is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unconfirmed {
    pub revision: u64,
    /// Whose table counts again then.
    pub back_to: u64,
    pub since: Timestamp,
    pub until: Timestamp,
}

impl Unconfirmed {
    /// How long it has yet. A clock that was set back does not make it longer than it was to be.
    pub fn left(&self, now: Timestamp) -> Duration {
        let whole = self.until.since(self.since);
        self.until.since(now).min(whole)
    }
}

/// Who has decided on a revision that needed a second person, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub is_approved: bool,
    pub at: Timestamp,
    pub by: String,
    pub reason: Option<String>,
}

/// A revision that needed a second person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The revision that was in force when it was proposed: it takes the place of no other.
    pub base: u64,
    pub decision: Option<Decision>,
}

/// A revision with all that was decided on it, without its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    pub revision: Revision,
    pub state: RevisionState,
    pub approval: Option<Approval>,
    pub confirmed: Option<(Timestamp, String)>,
    /// It was to be confirmed, and nobody did.
    pub is_unconfirmed: bool,
}

/// Where a revision stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevisionState {
    InForce,
    /// In force, and taken back unless it is confirmed.
    Unconfirmed(Unconfirmed),
    /// Somebody else has to approve it.
    Waiting,
    Rejected,
    /// Another came in force while it waited: nobody can approve it any more.
    Overtaken,
    /// It was in force.
    Past,
}

impl RevisionState {
    pub const fn word(self) -> &'static str {
        match self {
            Self::InForce => "in force",
            Self::Unconfirmed(_) => "unconfirmed",
            Self::Waiting => "waiting",
            Self::Rejected => "rejected",
            Self::Overtaken => "overtaken",
            Self::Past => "past",
        }
    }
}
