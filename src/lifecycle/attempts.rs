//! What an attempt comes to for each of its recipients, and what the clock alone decides.

use std::time::Duration;

use crate::delivery::outcome::{Attempt, Cause, Handover, Outcome};
use crate::mail::{ByMode, Details, Event, EventKind, Notify, State, Timestamp};
use crate::spool::store::{Change, RecipientChange, Told, Waiting};

use super::news;
use super::report::{Failure, Last, News, Notice, Outlook};
use super::retry::Next;
use super::{ACTIVE, Occasion, WAITING, is_own_report};

/// What one outcome comes to: the move, and what the sender may want to know of it.
struct Settled {
    step: RecipientChange,
    notice: Option<Notice>,
}

/// One attempt was made for these recipients of one message.
pub fn attempted(tried: Vec<(Waiting, Attempt)>, occasion: &Occasion<'_>) -> Change {
    let settled = tried
        .into_iter()
        .map(|(waiting, attempt)| settle(waiting, &attempt, occasion));
    let mut change = summed_up(settled.collect(), occasion);
    let steps = change.recipients.iter_mut();
    if let Some(rule) = occasion.redirect {
        for event in steps.filter_map(|step| step.event.as_mut()) {
            event.details.rule = Some(rule.to_owned());
            event.details.revision = Some(occasion.table.revision());
        }
    }
    change
}

/// Whether it must not be delivered any more: the time that the sender named has passed (RFC 2852
/// §4.1.1, mode R). Asked before an attempt.
pub fn overdue(waiting: &Waiting, now: Timestamp) -> bool {
    let named = waiting.terms.deliver_by;
    named.is_some_and(|by| by.mode == ByMode::Return && by.at <= now)
}

/// These recipients of one message are [`overdue`]; those that are not stay as they are.
pub fn expired(rows: Vec<Waiting>, occasion: &Occasion<'_>) -> Change {
    let rows = rows.into_iter().filter(|row| overdue(row, occasion.now));
    let settled = rows.map(|waiting| expire(waiting, occasion));
    summed_up(settled.collect(), occasion)
}

fn expire(waiting: Waiting, occasion: &Occasion<'_>) -> Settled {
    let at = waiting.terms.deliver_by.map_or(occasion.now, |by| by.at);
    let failure = Failure::Expired(at);
    let reason = failed_because(&failure, waiting.last_reply.as_deref());
    let step = RecipientChange {
        id: waiting.id,
        from: WAITING,
        to: State::Failed,
        attempts: None,
        next_attempt_at: None,
        last_reply: reason.clone(),
        told: Told::default(),
        event: Some(Event {
            reference: waiting.id.reference,
            at: occasion.now,
            kind: EventKind::Failed,
            recipient: Some(waiting.recipient.clone()),
            details: Details {
                room: Some(waiting.room.to_string()),
                reason,
                ..Details::default()
            },
        }),
    };
    let last = Last::remembered(&waiting);
    let notice = Some(Notice::new(waiting, News::Failed(failure), last));
    Settled { step, notice }
}

fn summed_up(settled: Vec<Settled>, occasion: &Occasion<'_>) -> Change {
    let mut change = Change::default();
    let mut notices = Vec::new();
    for one in settled {
        change.recipients.push(one.step);
        notices.extend(one.notice);
    }
    news::tell(&mut change, notices, occasion);
    change
}

fn settle(waiting: Waiting, attempt: &Attempt, occasion: &Occasion<'_>) -> Settled {
    let kind = match attempt.outcome {
        Outcome::Delivered(_) => return delivered(waiting, attempt, occasion),
        Outcome::Failed(_) => return failed(waiting, attempt, Failure::Refused, occasion),
        Outcome::Deferred(_) => EventKind::Deferred,
        Outcome::PossiblyDelivered(_) => EventKind::PossiblyDelivered,
    };
    let noise = occasion.noise.wrapping_add(u64::from(waiting.id.number));
    let number = waiting.attempts.saturating_add(1);
    let course = occasion.course(&waiting);
    match course.after(number, occasion.now, noise) {
        Next::At(due_at) => put_off(waiting, attempt, kind, due_at, occasion),
        Next::GiveUp(tried_for) => failed(waiting, attempt, Failure::GivenUp(tried_for), occasion),
        Next::Expired(at) => failed(waiting, attempt, Failure::Expired(at), occasion),
    }
}

fn delivered(waiting: Waiting, attempt: &Attempt, occasion: &Occasion<'_>) -> Settled {
    let step = moved(
        &waiting,
        attempt,
        EventKind::Delivered,
        State::Delivered,
        occasion.now,
    );
    let notice = receipt(&waiting, attempt.handover)
        .map(|news| Notice::new(waiting, news, Some(Last::of(attempt, occasion.now))));
    Settled { step, notice }
}

/// What the sender asked to be told of a delivery, unless the next hop tells it (RFC 3461 §6.2).
fn receipt(waiting: &Waiting, handover: Handover) -> Option<News> {
    let asked = waiting.wishes.wants_success();
    let never = waiting.wishes.notify == Some(Notify::NEVER);
    // RFC 2852 §4.1: with by-trace each relay says that it passed the message on.
    let traced = waiting.terms.deliver_by.is_some_and(|by| by.trace) && !never;
    match handover {
        Handover::Mailbox => asked.then_some(News::Delivered),
        Handover::Relayed => (asked || traced).then_some(News::Relayed),
        Handover::Reporting => traced.then_some(News::Relayed),
    }
}

fn put_off(
    waiting: Waiting,
    attempt: &Attempt,
    kind: EventKind,
    due_at: Timestamp,
    occasion: &Occasion<'_>,
) -> Settled {
    let now = occasion.now;
    let mut step = moved(&waiting, attempt, kind, State::Deferred, now);
    step.next_attempt_at = Some(due_at);
    if let Some(event) = &mut step.event {
        event.details.next_attempt_at = Some(due_at.to_string());
    }
    let course = occasion.course(&waiting);
    let overdue = course.overdue(now);
    // One report says both where both times have passed; what nobody wants or may be told counts
    // as told, so that the log says so once.
    step.told = Told {
        late: course.is_late(now),
        overdue: overdue.is_some(),
    };
    let is_told = step.told != Told::default();
    let notice = is_told.then(|| {
        let news = News::Delayed(Outlook {
            overdue,
            next: due_at,
            until: course.until(now),
        });
        Notice::new(waiting, news, Some(Last::of(attempt, now)))
    });
    Settled { step, notice }
}

fn failed(
    waiting: Waiting,
    attempt: &Attempt,
    failure: Failure,
    occasion: &Occasion<'_>,
) -> Settled {
    let now = occasion.now;
    let (kind, state) = if is_own_report(&waiting) {
        // Never a report on a report; it waits for an operator.
        (EventKind::Held, State::Held)
    } else {
        (EventKind::Failed, State::Failed)
    };
    let mut step = moved(&waiting, attempt, kind, state, now);
    step.from = WAITING;
    if let Some(reason) = failed_because(&failure, step.last_reply.as_deref()) {
        explain(&mut step, reason);
    }
    if state == State::Held {
        let last = step.last_reply.take().unwrap_or_default();
        explain(
            &mut step,
            format!("a report that could not be delivered: {last}"),
        );
        step.told.late = true; // so that it is not looked at again while it is held
        return Settled { step, notice: None };
    }
    let last = Some(Last::of(attempt, now));
    Settled {
        step,
        notice: Some(Notice::new(waiting, News::Failed(failure), last)),
    }
}

fn explain(step: &mut RecipientChange, reason: String) {
    if let Some(event) = &mut step.event {
        event.details.reason = Some(reason.clone());
    }
    step.last_reply = Some(reason);
}

/// Why it was ended, where the last answer does not say it.
fn failed_because(failure: &Failure, last: Option<&str>) -> Option<String> {
    let ended = match failure {
        Failure::Refused | Failure::Cancelled => return None,
        Failure::GivenUp(tried_for) => format!("tried for {}", span(*tried_for)),
        Failure::Expired(at) => format!("not delivered by {at}, as the sender demanded"),
    };
    Some(match last {
        Some(last) => format!("{ended}; at last: {last}"),
        None => ended,
    })
}

/// The change that an attempt makes to its recipient.
fn moved(
    waiting: &Waiting,
    attempt: &Attempt,
    kind: EventKind,
    to: State,
    now: Timestamp,
) -> RecipientChange {
    let attempts = waiting.attempts.saturating_add(1);
    let (reply, reason) = match &attempt.outcome {
        Outcome::Delivered(answer)
        | Outcome::Deferred(Cause::Said(answer))
        | Outcome::Failed(Cause::Said(answer))
        | Outcome::PossiblyDelivered(Cause::Said(answer)) => (Some(answer.to_string()), None),
        Outcome::Deferred(cause) | Outcome::Failed(cause) | Outcome::PossiblyDelivered(cause) => {
            (None, Some(cause.to_string()))
        }
    };
    let words = reply.as_ref().or(reason.as_ref());
    let last_reply = match kind {
        EventKind::PossiblyDelivered => words.map(|words| format!("{kind}: {words}")),
        _ => words.cloned(),
    };
    RecipientChange {
        id: waiting.id,
        // A delivery is a fact, whatever was decided meanwhile; a deferral leaves a hold alone.
        from: if to == State::Delivered {
            WAITING
        } else {
            ACTIVE
        },
        to,
        attempts: Some(attempts),
        next_attempt_at: None,
        last_reply,
        told: Told::default(),
        event: Some(Event {
            reference: waiting.id.reference,
            at: now,
            kind,
            recipient: Some(waiting.recipient.clone()),
            details: Details {
                room: Some(waiting.room.to_string()),
                hop: attempt.hop.as_deref().map(str::to_owned),
                tls: attempt.tls.as_deref().map(str::to_owned),
                duration_ms: u64::try_from(attempt.duration.as_millis()).ok(),
                attempt: Some(attempts),
                reply,
                reason,
                ..Details::default()
            },
        }),
    }
}

/// `4 h`, `12 min` or `30 s`.
fn span(length: Duration) -> String {
    match length.as_secs() {
        seconds if seconds >= 7_200 => format!("{} h", seconds / 3_600),
        seconds if seconds >= 120 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
