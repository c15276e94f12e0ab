//! What people do to what was caught: let it out, or do away with it.
//!
//! Nothing gets out that still fails its scan, unless a named person says why it is to; that stands in
//! the log and in the message itself. The sender was told when it was caught, and is told nothing here.

use std::time::Duration;

use super::CAUGHT;
use super::scanning::{self, Guard};
use crate::document::length;
use crate::mail::{
    Details, Event, EventKind, Inspection, Reference, State, Timestamp, Waiver, headers,
};
use crate::spool::store::{
    Change, Clearance, NextLook, OfLate, RecipientChange, ScanStep, Waiting,
};

/// Who does something to a caught message, and why.
#[derive(Debug, Clone, Copy)]
pub struct Hand<'a> {
    /// Login name.
    pub by: &'a str,
    pub reason: Option<&'a str>,
    pub now: Timestamp,
}

/// A caught message that was scanned once more.
#[derive(Debug)]
pub struct Release<'a> {
    pub reference: Reference,
    pub recipients: &'a [Waiting],
    /// The trace fields as they are.
    pub trace: &'a [u8],
    pub inspection: &'a Inspection,
    /// An engine has to find it clean, not the built-in rules alone.
    pub is_owed: bool,
    /// It goes out whatever the scan says.
    pub is_forced: bool,
}

/// Whether it may be let out: what was caught, what cannot be scanned and waits for a person, and what
/// waits for an engine where there is none.
pub fn is_kept(waiting: &Waiting) -> bool {
    waiting.state == State::Quarantined
        || scanning::is_left_to_a_person(waiting)
        || scanning::waits_in_vain(waiting)
}

/// Lets it out; or what still speaks against that.
pub fn let_out(release: &Release<'_>, hand: Hand<'_>, guard: &Guard<'_>) -> Result<Change, String> {
    let all = release.recipients.iter();
    let (kept, others): (Vec<&Waiting>, Vec<&Waiting>) = all.partition(|it| is_kept(it));
    let doubt = scanning::doubt(release.inspection, &kept, release.is_owed, guard);
    if let (Some(doubt), false) = (&doubt, release.is_forced) {
        return Err(doubt.clone());
    }
    let forced = doubt.is_some().then(|| {
        let reason = hand.reason.unwrap_or_default();
        format!("released by {}: {reason}", hand.by)
    });
    let clearance = match forced {
        Some(_) => Clearance::Waiver(Waiver::Person),
        None => Clearance::Scan,
    };
    let field = scanning::field(release.inspection, forced);
    let receipt = Event {
        reference: release.reference,
        at: hand.now,
        kind: EventKind::Scanned,
        recipient: None,
        details: scanning::receipt(release.inspection, hand.now),
    };
    let step = |it: &&Waiting| RecipientChange {
        to: Some(State::Queued),
        next_attempt_at: Some(hand.now),
        of_late: Some(OfLate::default()),
        last_reply: Some(format!("released by {}", hand.by)),
        next_look: NextLook::At(hand.now),
        clearance,
        event: Some(hand.event(it, EventKind::Released)),
        ..RecipientChange::of(it.id, scanning::as_seen(it))
    };
    let mut scans = vec![ScanStep::Done {
        reference: release.reference,
        trace: headers::with_scan_field(release.trace, &field),
    }];
    // Others wait for a verdict of their own.
    if others.iter().any(|it| scanning::awaits_verdict(it)) {
        scans.push(ScanStep::Anew {
            reference: release.reference,
            at: hand.now,
            is_excused: false,
        });
    }
    Ok(Change {
        recipients: kept.iter().map(step).collect(),
        scans,
        events: vec![receipt],
        inside: vec![(release.reference, release.inspection.seen.inside().files)],
        ..Change::default()
    })
}

/// Does away with it.
pub fn done_away(recipients: &[Waiting], hand: Hand<'_>) -> Change {
    let by = format!("deleted from quarantine by {}", hand.by);
    let words = match hand.reason {
        Some(reason) => format!("{by}: {reason}"),
        None => by,
    };
    cancelled(recipients, &words, |it| {
        hand.event(it, EventKind::Cancelled)
    })
}

/// They have been kept for as long as the settings say.
pub fn lapsed(recipients: &[Waiting], kept_for: Duration, now: Timestamp) -> Change {
    let words = format!("kept in quarantine for {}", length(kept_for));
    cancelled(recipients, &words, |it| Event {
        reference: it.id.reference,
        at: now,
        kind: EventKind::Cancelled,
        recipient: Some(it.recipient.clone()),
        details: Details {
            room: Some(it.room.to_string()),
            reason: Some(words.clone()),
            ..Details::default()
        },
    })
}

fn cancelled(recipients: &[Waiting], words: &str, event: impl Fn(&Waiting) -> Event) -> Change {
    let step = |it: &Waiting| RecipientChange {
        to: Some(State::Cancelled),
        last_reply: Some(words.to_owned()),
        next_look: NextLook::Never,
        event: Some(event(it)),
        ..RecipientChange::of(it.id, CAUGHT)
    };
    Change {
        recipients: caught(recipients).map(step).collect(),
        ..Change::default()
    }
}

/// Somebody reads what was caught.
pub fn read_by(reference: Reference, hand: Hand<'_>) -> Change {
    Change {
        events: vec![Event {
            reference,
            at: hand.now,
            kind: EventKind::Viewed,
            recipient: None,
            details: hand.details(),
        }],
        ..Change::default()
    }
}

fn caught(recipients: &[Waiting]) -> impl Iterator<Item = &Waiting> + Clone {
    let recipients = recipients.iter();
    recipients.filter(|it| it.state == State::Quarantined)
}

impl Hand<'_> {
    fn details(&self) -> Details {
        Details {
            by: Some(self.by.to_owned()),
            reason: self.reason.map(str::to_owned),
            ..Details::default()
        }
    }

    fn event(&self, waiting: &Waiting, kind: EventKind) -> Event {
        Event {
            reference: waiting.id.reference,
            at: self.now,
            kind,
            recipient: Some(waiting.recipient.clone()),
            details: self.details(),
        }
    }
}
