//! What an attempt comes to for each of its recipients, and how a recipient ends without one.

use std::time::Duration;

use crate::delivery::outcome::{Attempt, Cause, Handover, Outcome};
use crate::mail::{ByMode, Details, Event, EventKind, Notify, State, Timestamp, Waiver};
use crate::spool::store::{Change, NextLook, OfLate, RecipientChange, Told, Waiting};

use super::news;
use super::report::{Failure, Last, News, Notice, Outlook};
use super::retry::Next;
use super::{ACTIVE, Occasion, UNDELIVERED, WAITING, is_own_report};

/// What one recipient comes to: the move, and what the sender may want to know of it.
pub(super) struct Settled {
    pub step: RecipientChange,
    pub notice: Option<Notice>,
}

impl Settled {
    /// Nothing to be told.
    pub(super) const fn silently(step: RecipientChange) -> Self {
        Self { step, notice: None }
    }
}

/// One attempt was made for these recipients of one message.
pub fn attempted(tried: &[(Waiting, Attempt)], occasion: &Occasion<'_>) -> Change {
    let tried = tried.iter();
    let settled = tried.map(|(waiting, attempt)| settle(waiting, attempt, occasion));
    let mut change = summed_up(settled.collect(), occasion);
    let steps = change.recipients.iter_mut();
    if let Some(rule) = occasion.route {
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
pub fn expired(rows: &[Waiting], occasion: &Occasion<'_>) -> Change {
    let rows = rows.iter().filter(|row| overdue(row, occasion.now));
    let settled = rows.map(|waiting| {
        let at = waiting.terms.deliver_by.map_or(occasion.now, |by| by.at);
        ended(waiting, Failure::Expired(at), occasion)
    });
    summed_up(settled.collect(), occasion)
}

/// It ends here, without another attempt.
pub(super) fn ended(waiting: &Waiting, failure: Failure, occasion: &Occasion<'_>) -> Settled {
    let reason = failed_because(&failure, waiting.last_reply.as_deref());
    let step = RecipientChange {
        to: Some(State::Failed),
        last_reply: reason.clone(),
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
        ..RecipientChange::of(waiting.id, WAITING)
    };
    let last = Last::remembered(waiting);
    failed_for_good(step, waiting, failure, last)
}

pub(super) fn summed_up(settled: Vec<Settled>, occasion: &Occasion<'_>) -> Change {
    let mut change = Change::default();
    let mut notices = Vec::new();
    for one in settled {
        change.recipients.push(one.step);
        notices.extend(one.notice);
    }
    news::tell(&mut change, notices, occasion);
    change
}

fn settle(waiting: &Waiting, attempt: &Attempt, occasion: &Occasion<'_>) -> Settled {
    let kind = match attempt.outcome {
        Outcome::Delivered(_) => return delivered(waiting, attempt, occasion),
        Outcome::Failed(_) => return failed(waiting, attempt, Failure::Refused, occasion),
        Outcome::Deferred(_) => EventKind::Deferred,
        Outcome::PossiblyDelivered(_) => EventKind::PossiblyDelivered,
    };
    let noise = occasion.noise.wrapping_add(u64::from(waiting.id.number));
    let number = waiting.of_late.since(occasion.start).saturating_add(1);
    let course = occasion.course(waiting);
    match course.after(number, occasion.now, noise) {
        Next::At(due_at) => put_off(waiting, attempt, kind, due_at, occasion),
        Next::GiveUp(tried_for) => failed(waiting, attempt, Failure::GivenUp(tried_for), occasion),
        Next::Expired(at) => failed(waiting, attempt, Failure::Expired(at), occasion),
    }
}

fn delivered(waiting: &Waiting, attempt: &Attempt, occasion: &Occasion<'_>) -> Settled {
    let step = moved(
        waiting,
        attempt,
        EventKind::Delivered,
        State::Delivered,
        occasion.now,
    );
    let last = Last::of(attempt, waiting, occasion.now);
    let news = receipt(waiting, attempt.handover);
    let notice = news.map(|news| Notice::new(waiting.clone(), news, Some(last)));
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
    waiting: &Waiting,
    attempt: &Attempt,
    kind: EventKind,
    due_at: Timestamp,
    occasion: &Occasion<'_>,
) -> Settled {
    let now = occasion.now;
    let mut step = moved(waiting, attempt, kind, State::Deferred, now);
    step.next_attempt_at = Some(due_at);
    step.of_late = Some(OfLate {
        start: occasion.start,
        attempts: waiting.of_late.since(occasion.start).saturating_add(1),
    });
    if let Some(event) = &mut step.event {
        event.details.next_attempt_at = Some(due_at.to_string());
    }
    let course = occasion.course(waiting);
    let overdue = course.overdue(now);
    // One report says both where both times have passed; what nobody wants or may be told counts
    // as told, so that the log says so once.
    step.told = course.news(now);
    step.next_look = NextLook::At(course.next_look(step.told, now));
    let is_told = step.told != Told::NOTHING;
    let notice = is_told.then(|| {
        let news = News::Delayed(Outlook {
            overdue,
            next: Some(due_at),
            until: course.until(now),
        });
        let last = Last::of(attempt, waiting, now);
        Notice::new(waiting.clone(), news, Some(last))
    });
    Settled { step, notice }
}

fn failed(
    waiting: &Waiting,
    attempt: &Attempt,
    failure: Failure,
    occasion: &Occasion<'_>,
) -> Settled {
    let now = occasion.now;
    let mut step = moved(waiting, attempt, EventKind::Failed, State::Failed, now);
    step.from = WAITING;
    if let Some(reason) = failed_because(&failure, step.last_reply.as_deref()) {
        explain(&mut step, reason);
    }
    let last = Last::of(attempt, waiting, now);
    failed_for_good(step, waiting, failure, Some(last))
}

/// Never a report on a report: a report of our own that fails waits for an operator.
fn failed_for_good(
    mut step: RecipientChange,
    waiting: &Waiting,
    failure: Failure,
    last: Option<Last>,
) -> Settled {
    if last.as_ref().is_some_and(|last| last.is_unsure) {
        let words = step.last_reply.take().unwrap_or_default();
        explain(
            &mut step,
            format!("{words}; it may have arrived all the same"),
        );
    }
    if !is_own_report(waiting) {
        let notice = Some(Notice::new(waiting.clone(), News::Failed(failure), last));
        return Settled { step, notice };
    }
    let words = step.last_reply.take().unwrap_or_default();
    explain(
        &mut step,
        format!("a report that could not be delivered: {words}"),
    );
    step.to = Some(State::Held);
    step.next_look = NextLook::Never;
    if let Some(event) = &mut step.event {
        event.kind = EventKind::Held;
    }
    Settled::silently(step)
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
        Failure::Refused | Failure::Cancelled(_) | Failure::Caught(_) | Failure::CaughtLate(_) => {
            return None;
        }
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
    // A deferral leaves a hold alone.
    let from = match to {
        State::Delivered => UNDELIVERED,
        _ => ACTIVE,
    };
    RecipientChange {
        to: Some(to),
        attempts: Some(attempts),
        last_reply,
        is_doubtful: kind == EventKind::PossiblyDelivered,
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
                exception: waiting.waiver.and_then(Waiver::exception),
                reply,
                reason,
                ..Details::default()
            },
        }),
        ..RecipientChange::of(waiting.id, from)
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
