//! What the clock decides of what waits, whatever attempts come to: its sender is told that it is
//! late, or its time is over.
//!
//! The next attempt decides the same at the same moment, and knows more; this is for what no attempt
//! comes to in time: in line behind others, in an attempt that takes long, or held by an operator.
//! Of an attempt under way only its lateness is told; how it ends is the attempt's to say. A sender
//! also hears here that its message was cancelled, or caught by a scan that was asked for while it
//! may have been under way, once no attempt can deliver it any more.

use std::time::Duration;

use super::attempts::{Settled, ended, summed_up};
use super::report::{Failure, Last, News, Notice, Outlook};
use super::retry::Course;
use super::{ACTIVE, Occasion, is_own_report};
use crate::mail::{State, Timestamp};
use crate::spool::store::{Change, NextLook, RecipientChange, Told, Waiting};

/// When a cancelled or caught message is looked at again, while an attempt may still deliver it.
const SOON: Duration = Duration::from_secs(1);

/// A recipient whose time to be looked at has come.
#[derive(Debug)]
pub struct Look {
    pub waiting: Waiting,
    /// An attempt is being made for it.
    pub is_under_way: bool,
    /// Of what was cancelled: why; of what was caught: what was found.
    pub reason: Option<String>,
}

/// What becomes of these recipients of one message.
pub fn looked_at(looks: &[Look], occasion: &Occasion<'_>) -> Change {
    let settled = looks.iter().map(|look| settle(look, occasion));
    summed_up(settled.collect(), occasion)
}

/// Whether a look at this recipient may end in a report, which quotes the message.
pub fn has_news(look: &Look, occasion: &Occasion<'_>) -> bool {
    let course = occasion.course(&look.waiting);
    let is_stopped = matches!(look.waiting.state, State::Cancelled | State::Quarantined);
    is_stopped || course.has_news(occasion.now)
}

fn settle(look: &Look, occasion: &Occasion<'_>) -> Settled {
    let now = occasion.now;
    let course = occasion.course(&look.waiting);
    let is_free = !look.is_under_way;
    match look.waiting.state {
        State::Cancelled if is_free => {
            let failure = Failure::Cancelled(look.reason.clone());
            stopped(look, failure, &[State::Cancelled])
        }
        State::Quarantined if is_free => {
            let found = look.reason.clone().unwrap_or_default();
            stopped(look, Failure::CaughtLate(found), &[State::Quarantined])
        }
        State::Cancelled | State::Quarantined => {
            Settled::silently(again(&look.waiting, NextLook::At(now.after(SOON))))
        }
        State::Held => match course.expired(now) {
            Some(at) => ended(&look.waiting, Failure::Expired(at), occasion),
            None => held(&look.waiting, &course, now),
        },
        _ => match course.over(&look.waiting, occasion) {
            Some(failure) if is_free => ended(&look.waiting, failure, occasion),
            _ => late(&look.waiting, &course, now),
        },
    }
}

/// By a person, or by a scan.
fn stopped(look: &Look, failure: Failure, from: &'static [State]) -> Settled {
    let waiting = &look.waiting;
    let step = RecipientChange {
        next_look: NextLook::Never,
        ..RecipientChange::of(waiting.id, from)
    };
    let last = Last::remembered(waiting);
    let notice = Notice::new(waiting.clone(), News::Failed(failure), last);
    Settled {
        step,
        notice: Some(notice),
    }
}

fn held(waiting: &Waiting, course: &Course<'_>, now: Timestamp) -> Settled {
    let told = course.news(now);
    let next_look = course.next_look_while_held(told, now);
    let is_told = told != Told::NOTHING && !is_own_report(waiting);
    let step = RecipientChange {
        from: &[State::Held],
        told,
        ..again(waiting, next_look)
    };
    let overdue = course.overdue(now);
    let last = Last::remembered(waiting);
    let notice = is_told.then(|| Notice::new(waiting.clone(), News::Held(overdue), last));
    Settled { step, notice }
}

fn late(waiting: &Waiting, course: &Course<'_>, now: Timestamp) -> Settled {
    let told = course.news(now);
    let step = RecipientChange {
        told,
        ..again(waiting, NextLook::At(course.next_look(told, now)))
    };
    let notice = (told != Told::NOTHING).then(|| {
        let news = News::Delayed(Outlook {
            overdue: course.overdue(now),
            next: Some(waiting.next_attempt_at).filter(|at| now < *at),
            until: course.until(now),
        });
        let last = Last::remembered(waiting);
        Notice::new(waiting.clone(), news, last)
    });
    Settled { step, notice }
}

/// It stays where it is.
fn again(waiting: &Waiting, next_look: NextLook) -> RecipientChange {
    let from = match waiting.state {
        State::Cancelled => &[State::Cancelled],
        State::Quarantined => &[State::Quarantined],
        State::Unscanned => &[State::Unscanned],
        _ => ACTIVE,
    };
    RecipientChange {
        next_look,
        ..RecipientChange::of(waiting.id, from)
    }
}
