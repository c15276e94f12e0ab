//! When a deferred recipient is tried again, and when that has gone on for long enough.
//!
//! Decides the next attempt, and which milestone was passed: when the sender is told that it is
//! late, the time that the sender named (RFC 2852), and the end. No attempt skips a milestone. Pure:
//! the time and the noise of the jitter come in. Fails never: an empty schedule still waits.

use std::time::Duration;

use super::Occasion;
use super::report::Failure;
use crate::mail::{ByMode, DeliverBy, Terms, Timestamp};
use crate::policy::table::{Room, RoutingTable};
use crate::spool::store::{NextLook, Told, Waiting};

/// `delivery.retry`, `warn_after` and `give_up_after` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The wait after the first attempt, the second, …; the last one repeats.
    pub retry: Vec<Duration>,
    /// When the sender is told that it is late, unless the room has a time of its own.
    pub warn_after: Duration,
    /// When it is given up, unless the room has a time of its own.
    pub give_up_after: Duration,
}

/// The schedule of one recipient.
#[derive(Debug, Clone, Copy)]
pub struct Course<'a> {
    retry: &'a [Duration],
    /// Ages are counted from here.
    since: Timestamp,
    warn_after: Duration,
    give_up_after: Duration,
    deliver_by: Option<DeliverBy>,
    told: Told,
}

/// What follows a deferral.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    At(Timestamp),
    /// It was tried for this long; the sender is told.
    GiveUp(Duration),
    /// The sender did not want it delivered after this time (RFC 2852, mode R), which has passed.
    Expired(Timestamp),
}

/// The wait where a schedule names none.
const FALLBACK: Duration = Duration::from_secs(300);
/// Each wait varies by up to this many hundredths to either side, so that what failed together
/// does not come back together.
const JITTER: u64 = 10;
/// What an attempt would decide at a milestone is decided without one this long after it.
const ATTEMPTS_FIRST: Duration = Duration::from_secs(5);
/// Within so long after a milestone the attempts that it calls for are spread.
const MILESTONE_SPREAD: Duration = Duration::from_secs(4);
/// How often what is past all milestones is looked at.
const NOW_AND_THEN: Duration = Duration::from_secs(60);

impl Schedule {
    /// The course of a recipient in `room`, which may have times of its own.
    pub fn course(&self, waiting: &Waiting, room: Option<&Room>) -> Course<'_> {
        let give_up_after = room.and_then(|room| room.give_up_after);
        Course {
            retry: &self.retry,
            since: waiting.waits_since,
            warn_after: self.warning(room),
            give_up_after: give_up_after.unwrap_or(self.give_up_after),
            deliver_by: waiting.terms.deliver_by,
            told: waiting.told,
        }
    }

    /// The same with the longest wait after every attempt.
    #[must_use]
    pub fn patient(&self) -> Self {
        let longest = self.retry.iter().max().copied();
        Self {
            retry: self.retry.iter().filter_map(|_| longest).collect(),
            ..self.clone()
        }
    }

    fn warning(&self, room: Option<&Room>) -> Duration {
        let own = room.and_then(|room| room.warn_after);
        own.unwrap_or(self.warn_after)
    }

    /// The shortest time after which a sender to any room is told anything: that it is late, or that
    /// it failed.
    pub fn first_word(&self, table: &RoutingTable) -> Duration {
        let of_room = |room: &Room| {
            let give_up_after = room.give_up_after.unwrap_or(self.give_up_after);
            give_up_after.min(self.warning(Some(room)))
        };
        let usual = self.warn_after.min(self.give_up_after);
        table.rooms().map(of_room).fold(usual, Duration::min)
    }

    /// When a message is first looked at, whose sender is told nothing before `first_word` unless it
    /// named a time itself.
    pub fn first_look(accepted_at: Timestamp, first_word: Duration, terms: &Terms) -> Timestamp {
        let word = accepted_at.after(first_word);
        let named = terms.deliver_by.map_or(word, |by| by.at);
        word.min(named).after(ATTEMPTS_FIRST)
    }
}

impl Course<'_> {
    /// What follows attempt number `attempt` of late, which ended at `now`.
    pub fn after(&self, attempt: u32, now: Timestamp, noise: u64) -> Next {
        if let Some(at) = self.expired(now) {
            return Next::Expired(at);
        }
        let age = now.since(self.since);
        if age >= self.give_up_after && attempt >= self.fewest_attempts() {
            return Next::GiveUp(age);
        }
        let wait = self.wait(attempt, noise);
        let ahead = self.milestones().into_iter().flatten();
        let milestone = ahead.filter(|at| now < *at).min();
        let milestone = milestone.map(|at| at.after(spread(wait.min(at.since(now)), noise)));
        let next = now.after(wait);
        Next::At(milestone.map_or(next, |at| at.min(next)))
    }

    /// Until when the sender wanted it delivered or not at all (RFC 2852 §4.1.1, mode R), where that
    /// has passed.
    pub fn expired(&self, now: Timestamp) -> Option<Timestamp> {
        self.last_moment().filter(|at| *at <= now)
    }

    /// Whether its time is over without another attempt. What was due for as long as it takes to be
    /// given up, in a relay that was up all the while, needs no attempt at all for that.
    pub fn over(&self, waiting: &Waiting, occasion: &Occasion<'_>) -> Option<Failure> {
        let now = occasion.now;
        if let Some(at) = self.expired(now) {
            return Some(Failure::Expired(at));
        }
        let age = now.since(self.since);
        let in_line_for = now.since(waiting.next_attempt_at).min(occasion.up_for);
        let was_tried = waiting.of_late.since(occasion.start) >= self.fewest_attempts();
        let is_over = self.give_up_after <= age
            && (was_tried || self.give_up_after <= in_line_for)
            && self.end().after(ATTEMPTS_FIRST) <= now;
        is_over.then_some(Failure::GivenUp(age))
    }

    /// What the sender is to be told now, for the first time.
    pub fn news(&self, now: Timestamp) -> Told {
        Told {
            late: self.is_late(now),
            overdue: self.overdue(now).is_some(),
        }
    }

    /// When it is looked at next, once the sender was told `also`.
    pub fn next_look(&self, also: Told, now: Timestamp) -> Timestamp {
        let told = self.told.and(also);
        let ahead = Self { told, ..*self }.milestones();
        let ahead = ahead.into_iter().flatten();
        let looks = ahead.map(|at| at.after(ATTEMPTS_FIRST));
        let next = looks.filter(|at| now < *at).min();
        next.unwrap_or_else(|| now.after(NOW_AND_THEN))
    }

    /// What is held is never given up, so that it may be that nothing is left to tell.
    pub fn next_look_while_held(&self, also: Told, now: Timestamp) -> NextLook {
        let told = self.told.and(also);
        let [late, named, _] = Self { told, ..*self }.milestones();
        let ahead = [late, named].into_iter().flatten();
        let next = ahead.filter(|at| now < *at).min();
        next.map_or(NextLook::Never, NextLook::At)
    }

    /// Whether the sender is to be told now, for the first time, that it is late.
    pub fn is_late(&self, now: Timestamp) -> bool {
        !self.told.late && self.warning() <= now
    }

    /// The time that the sender named, where it has passed and the sender is to be told of that now,
    /// for the first time (RFC 2852, mode N).
    pub fn overdue(&self, now: Timestamp) -> Option<Timestamp> {
        let by = self.deliver_by.filter(|by| by.mode == ByMode::Notify)?;
        (!self.told.overdue && by.at <= now).then_some(by.at)
    }

    /// Whether a deferral now would be told to the sender, in a report that quotes the message.
    pub fn has_news(&self, now: Timestamp) -> bool {
        let is_over = self.until(now).is_none();
        is_over || self.is_late(now) || self.overdue(now).is_some()
    }

    /// Until when it is tried; `None` when that has passed already, and it is about to be given up.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let end = self.end();
        let until = self.last_moment().map_or(end, |at| at.min(end));
        (now < until).then_some(until)
    }

    /// After this it must not be delivered (RFC 2852, mode R).
    fn last_moment(&self) -> Option<Timestamp> {
        let by = self.deliver_by.filter(|by| by.mode == ByMode::Return);
        by.map(|by| by.at)
    }

    fn warning(&self) -> Timestamp {
        self.since.after(self.warn_after)
    }

    fn end(&self) -> Timestamp {
        self.since.after(self.give_up_after)
    }

    /// Moments at which something is due whatever the waits are.
    fn milestones(&self) -> [Option<Timestamp>; 3] {
        let named = self.deliver_by.filter(|_| !self.told.overdue);
        [
            (!self.told.late).then(|| self.warning()),
            named.map(|by| by.at),
            Some(self.end()),
        ]
    }

    /// What waited while the relay was down, or was held, is not given up at the first trouble: it
    /// gets the attempts of the schedule, or as many of them as the time to give up has room for.
    fn fewest_attempts(&self) -> u32 {
        let mut at = Duration::ZERO;
        let within = self.retry.iter().take_while(|wait| {
            at = at.saturating_add(**wait);
            at < self.give_up_after
        });
        u32::try_from(within.count()).unwrap_or(u32::MAX).max(1)
    }

    fn wait(&self, attempt: u32, noise: u64) -> Duration {
        let place = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        let base = self.retry.get(place).or(self.retry.last());
        jittered(base.copied().unwrap_or(FALLBACK), noise)
    }
}

/// How long after a milestone it is tried, so that what was accepted together does not come together;
/// which of them, `noise` decides.
fn spread(wait: Duration, noise: u64) -> Duration {
    let most = (wait / 10).min(MILESTONE_SPREAD);
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX - 1);
    Duration::from_millis(noise % (most + 1))
}

/// `wait` ± [`JITTER`] %; which of them, `noise` decides.
fn jittered(wait: Duration, noise: u64) -> Duration {
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX / 200);
    let spread = millis.saturating_mul(JITTER) / 100;
    let shift = noise.checked_rem(spread * 2 + 1).unwrap_or(0);
    Duration::from_millis(millis - spread + shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCEPTED: Timestamp = Timestamp::from_millis(1_795_345_200_000);

    fn seconds(of: &[u64]) -> Vec<Duration> {
        of.iter().map(|s| Duration::from_secs(*s)).collect()
    }

    fn at(second: u64) -> Timestamp {
        ACCEPTED.after(Duration::from_secs(second))
    }

    /// Warned already, so that only the waits and the end count.
    fn course(retry: &[Duration], give_up_after: u64) -> Course<'_> {
        Course {
            retry,
            since: ACCEPTED,
            warn_after: Duration::from_secs(300),
            give_up_after: Duration::from_secs(give_up_after),
            deliver_by: None,
            told: Told {
                late: true,
                overdue: false,
            },
        }
    }

    fn wait(next: Next, now: Timestamp) -> Option<u64> {
        match next {
            Next::At(at) => Some(at.since(now).as_millis() as u64),
            Next::GiveUp(_) | Next::Expired(_) => None,
        }
    }

    #[test]
    fn the_last_wait_repeats() {
        let retry = seconds(&[5, 15, 30]);
        let course = course(&retry, 14_400);
        // Noise that lands in the middle: spread is a tenth of the wait in milliseconds.
        for (attempt, noise, expected) in [
            (0, 500, 5_000),
            (1, 500, 5_000),
            (2, 1_500, 15_000),
            (3, 3_000, 30_000),
            (4, 3_000, 30_000),
            (u32::MAX, 3_000, 30_000),
        ] {
            let next = course.after(attempt, ACCEPTED, noise);
            assert_eq!(wait(next, ACCEPTED), Some(expected), "attempt {attempt}");
        }
    }

    #[test]
    fn jitter_stays_within_a_tenth_and_reaches_both_ends() {
        let retry = seconds(&[10]);
        let course = course(&retry, 14_400);
        for (noise, expected) in [
            (0, 9_000),
            (1_000, 10_000),
            (2_000, 11_000),
            (2_001, 9_000),
            (u64::MAX, 9_000 + u64::MAX % 2_001),
        ] {
            let next = course.after(1, ACCEPTED, noise);
            assert_eq!(wait(next, ACCEPTED), Some(expected), "noise {noise}");
        }
    }

    #[test]
    fn the_last_attempt_is_at_the_end_and_then_it_is_over() {
        let retry = seconds(&[60]);
        let course = course(&retry, 100);
        for (age, expected) in [
            (0, Some(54_000)),
            (30, Some(54_000)),
            (70, Some(30_000)),
            (99, Some(1_000)),
            (100, None),
            (1_000, None),
        ] {
            // Without noise a wait is a tenth shorter, and a milestone is met.
            let next = course.after(1, at(age), 0);
            assert_eq!(wait(next, at(age)), expected, "age {age}");
        }
    }

    #[test]
    fn an_empty_schedule_still_waits() {
        let next = course(&[], 14_400).after(1, ACCEPTED, 30_000);
        assert_eq!(wait(next, ACCEPTED), Some(300_000));
    }

    #[test]
    fn no_attempt_skips_a_milestone() {
        let retry = seconds(&[60]);
        let plain = course(&retry, 1_000);
        let by = |second, mode| {
            Some(DeliverBy {
                at: at(second),
                mode,
                trace: false,
            })
        };
        let told = |late, overdue| Told { late, overdue };
        // Age, what the sender named, what was told; then when it is next due, if ever.
        for (age, deliver_by, told, expected) in [
            (0, None, told(false, false), Some(54)),
            (239, None, told(false, false), Some(293)),
            (250, None, told(false, false), Some(300)),
            (250, None, told(true, false), Some(304)),
            (300, None, told(false, false), Some(354)),
            (980, None, told(true, false), Some(1_000)),
            (0, by(20, ByMode::Notify), told(false, false), Some(20)),
            (20, by(20, ByMode::Notify), told(false, false), Some(74)),
            (0, by(20, ByMode::Return), told(false, false), Some(20)),
            (19, by(20, ByMode::Return), told(false, false), Some(20)),
            (20, by(20, ByMode::Return), told(false, false), None),
            (290, by(295, ByMode::Notify), told(false, false), Some(295)),
            (290, by(310, ByMode::Notify), told(false, false), Some(300)),
        ] {
            let course = Course {
                deliver_by,
                told,
                ..plain
            };
            // Without noise a wait is a tenth shorter, and a milestone is met.
            let next = wait(course.after(5, at(age), 0), at(age));
            let due = next.map(|millis| age + millis / 1_000);
            assert_eq!(due, expected, "age {age}, {deliver_by:?}, {told:?}");
        }
    }

    #[test]
    fn what_a_milestone_calls_for_is_spread_after_it() {
        let retry = seconds(&[600]);
        let plain = Course {
            told: Told::NOTHING,
            ..course(&retry, 14_400)
        };
        let due: Vec<u64> = (0..6_000)
            .step_by(100)
            .filter_map(|noise| wait(plain.after(1, at(1), noise), at(1)))
            .collect();
        assert!(
            due.iter().all(|it| (299_000..=303_000).contains(it)),
            "{due:?}"
        );
        let (least, most) = (due.iter().min(), due.iter().max());
        assert!(least < Some(&299_500) && Some(&302_500) < most, "{due:?}");
    }

    #[test]
    fn each_milestone_is_told_once() {
        let retry = seconds(&[60]);
        for (age, late, overdue, expected) in [
            (299, false, false, (false, true)),
            (300, false, false, (true, true)),
            (301, true, false, (false, true)),
            (301, true, true, (false, false)),
            (9, false, false, (false, false)),
            (10, false, false, (false, true)),
        ] {
            let course = Course {
                told: Told { late, overdue },
                deliver_by: Some(DeliverBy {
                    at: at(10),
                    mode: ByMode::Notify,
                    trace: false,
                }),
                ..course(&retry, 1_000)
            };
            let is = (course.is_late(at(age)), course.overdue(at(age)).is_some());
            assert_eq!(is, expected, "age {age}, {late}, {overdue}");
            assert_eq!(course.has_news(at(age)), is.0 || is.1);
            assert!(course.has_news(at(1_000)), "the end");
        }
    }

    #[test]
    fn it_is_tried_until_the_end_or_the_time_named_in_mode_r() {
        let retry = seconds(&[60]);
        for (age, named, expected) in [
            (0, None, Some(1_000)),
            (0, Some((20, ByMode::Return)), Some(20)),
            (0, Some((20, ByMode::Notify)), Some(1_000)),
            (0, Some((2_000, ByMode::Return)), Some(1_000)),
            (1_000, None, None),
        ] {
            let course = Course {
                deliver_by: named.map(|(second, mode)| DeliverBy {
                    at: at(second),
                    mode,
                    trace: false,
                }),
                ..course(&retry, 1_000)
            };
            assert_eq!(course.until(at(age)), expected.map(at), "{age} {named:?}");
        }
    }
}
