//! What a move means for the sender: a report for each kind of news, or the reason for none.

use crate::mail::{Details, Event, EventKind};
use crate::spool::store::Change;

use super::report::{self, Kind, Notice};
use super::{Occasion, is_own_report};

/// Adds what the sender of one message is told, and the events that say so.
pub(super) fn tell(change: &mut Change, notices: Vec<Notice>, occasion: &Occasion<'_>) {
    for kind in Kind::ALL {
        let of_this_kind = notices.iter().filter(|it| it.kind() == kind);
        // RFC 3461 §4.1: what the sender does not want to hear is not told.
        let (wanted, unwanted): (Vec<Notice>, Vec<Notice>) =
            of_this_kind.cloned().partition(Notice::is_wanted);
        // Our reports ask for none; but nobody said that, and there is nobody to tell.
        let is_ours = |it: &Notice| is_own_report(&it.waiting);
        let (ours, unwanted): (Vec<Notice>, Vec<Notice>) = unwanted.into_iter().partition(is_ours);
        for (notices, reason) in [
            (ours, "it is a report itself, and has no sender"),
            (unwanted, "the sender asked not to be told (NOTIFY)"),
        ] {
            if !notices.is_empty() {
                untold(change, kind, &notices, reason, occasion);
            }
        }
        if wanted.is_empty() {
            continue;
        }
        match report::written(kind, &wanted, occasion) {
            Ok(message) => {
                let name = message.reference.to_string();
                change.messages.push(message);
                let details = Details {
                    report: Some(name),
                    ..Details::default()
                };
                note(change, told(kind), &wanted, &details, occasion);
            }
            Err(reason) => untold(change, kind, &wanted, &reason, occasion),
        }
    }
}

/// The same moves where the reports to senders cannot be kept: that nobody was told, and why, stands
/// in their place.
pub fn without_reports(change: &Change, why: &str) -> Change {
    let events = change.events.iter().map(|event| {
        let Some(kind) = Kind::ALL.into_iter().find(|it| told(*it) == event.kind) else {
            return event.clone();
        };
        Event {
            kind: EventKind::NotBounced,
            details: Details {
                reason: Some(untold_because(kind, why)),
                ..Details::default()
            },
            ..event.clone()
        }
    });
    Change {
        recipients: change.recipients.clone(),
        messages: Vec::new(),
        events: events.collect(),
        scan_of: change.scan_of,
        scans: change.scans.clone(),
        caught: change.caught.clone(),
        inside: change.inside.clone(),
    }
}

const fn told(kind: Kind) -> EventKind {
    match kind {
        Kind::Failure => EventKind::Bounced,
        Kind::Delay => EventKind::Warned,
        Kind::Success => EventKind::Confirmed,
    }
}

fn untold(
    change: &mut Change,
    kind: Kind,
    notices: &[Notice],
    reason: &str,
    occasion: &Occasion<'_>,
) {
    let details = Details {
        reason: Some(untold_because(kind, reason)),
        ..Details::default()
    };
    note(change, EventKind::NotBounced, notices, &details, occasion);
}

fn untold_because(kind: Kind, reason: &str) -> String {
    match kind {
        Kind::Failure => reason.to_owned(),
        Kind::Delay => format!("not told that it is late: {reason}"),
        Kind::Success => format!("not told that it was delivered: {reason}"),
    }
}

fn note(
    change: &mut Change,
    kind: EventKind,
    notices: &[Notice],
    details: &Details,
    occasion: &Occasion<'_>,
) {
    change.events.extend(notices.iter().map(|notice| Event {
        reference: notice.waiting.id.reference,
        at: occasion.now,
        kind,
        recipient: Some(notice.waiting.recipient.clone()),
        details: details.clone(),
    }));
}
