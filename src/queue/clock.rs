//! Steps of the wall clock: somebody, or a time server, sets it an hour forward or back.
//!
//! Due times and ages are kept by the wall clock, so that they survive a restart. At each look it is
//! compared with the steady clock; where they went apart by two seconds or more since the last look,
//! the wall clock was set by that much, and the times of what was accepted before are moved along.
//! A pause of the whole machine counts as a step forward: what could not be tried does not age.
//!
//! Which messages came before the step? Forward, the reference tells: it holds the moment it was
//! made, and nothing was made between the two clocks. Back, references go on counting up from the
//! last one, so only those up to the previous look are surely older. A message accepted in the
//! fraction of a second between that look and the step back keeps its times: if it is in hand its
//! next attempt is reckoned by the new clock, and its age by how long the attempt really took; its
//! sender is told that it is late by at most the step too late. It is never given up too early.
//!
//! Pure but for [`Reading::now`]. Fails never.

use std::time::{Duration, Instant};

use crate::mail::{Reference, Timestamp};

/// Less than this is drift, not a step.
const STEP: Duration = Duration::from_secs(2);

/// Both clocks, read together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    wall: Timestamp,
    steady: Instant,
}

impl Reading {
    pub(super) fn now() -> Self {
        Self {
            wall: Timestamp::now(),
            steady: Instant::now(),
        }
    }

    /// What the wall clock would say at `later`, had nobody set it since.
    fn expected(self, later: Self) -> Timestamp {
        self.wall
            .after(later.steady.saturating_duration_since(self.steady))
    }

    /// By how many milliseconds the wall clock was set between here and `later`; 0 for drift.
    pub(super) fn step_until(self, later: Self) -> i64 {
        let step = later.wall.as_millis() - self.expected(later).as_millis();
        if Duration::from_millis(step.unsigned_abs()) < STEP {
            0
        } else {
            step
        }
    }
}

/// The wall clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub millis: i64,
    /// The last message that is surely from before.
    pub last: Reference,
}

/// What was seen at the last look.
#[derive(Debug)]
pub(super) struct Clock {
    seen: Reading,
    reference: Reference,
}

impl Clock {
    pub(super) const fn at(seen: Reading, reference: Reference) -> Self {
        Self { seen, reference }
    }

    /// Looks again, with a reference made just now.
    pub(super) fn look(&mut self, now: Reading, reference: Reference) -> Option<Step> {
        let before = std::mem::replace(self, Self::at(now, reference));
        let millis = before.seen.step_until(now);
        if millis == 0 {
            return None;
        }
        let midway = Duration::from_millis(millis.unsigned_abs() / 2);
        let last = if millis > 0 {
            Reference::first_at(before.seen.expected(now).after(midway))
        } else {
            before.reference
        };
        Some(Step { millis, last })
    }
}

/// `moment` after the clock was set by so many milliseconds.
pub(super) const fn moved(moment: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(moment.as_millis().saturating_add(millis))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const START: i64 = 1_800_000_000_000;
    const HOUR: i64 = 3_600_000;

    fn reading(start: Instant, wall: i64, steady: u64) -> Reading {
        Reading {
            wall: Timestamp::from_millis(START + wall),
            steady: start + Duration::from_millis(steady),
        }
    }

    #[test]
    fn a_step_is_what_the_clocks_differ_by() {
        let start = Instant::now();
        #[rustfmt::skip]
        let cases = [
            // wall, steady, step
            (250,           250,    0),
            (2_249,         250,    0),
            (2_250,         250,    2_000),
            (-1_749,        250,    0),
            (-1_750,        250,    -2_000),
            (HOUR + 250,    250,    HOUR),
            (250 - HOUR,    250,    -HOUR),
            (90_000,        90_000, 0),
        ];
        for (wall, steady, expected) in cases {
            let step = reading(start, 0, 0).step_until(reading(start, wall, steady));
            assert_eq!(step, expected, "{wall} {steady}");
        }
    }

    #[test]
    fn a_step_forward_parts_the_references_exactly() {
        let start = Instant::now();
        let made = |wall| Reference::first_at(Timestamp::from_millis(START + wall));
        let mut clock = Clock::at(reading(start, 0, 0), made(0));
        let now = reading(start, HOUR + 250, 250);
        let step = clock.look(now, made(HOUR + 250)).unwrap();
        assert_eq!(step.millis, HOUR);
        assert!(made(249) < step.last, "accepted just before");
        assert!(made(HOUR + 1) > step.last, "accepted just after");
        assert_eq!(
            clock.look(reading(start, HOUR + 500, 500), made(HOUR + 500)),
            None
        );
    }

    #[test]
    fn a_step_back_moves_what_the_last_look_knew() {
        let start = Instant::now();
        let reference = |number| Reference::from_number(number);
        let mut clock = Clock::at(reading(start, 0, 0), reference(5));
        let step = clock.look(reading(start, 250 - HOUR, 250), reference(9));
        let expected = Step {
            millis: -HOUR,
            last: reference(5),
        };
        assert_eq!(step, Some(expected));
        assert_eq!(
            moved(Timestamp::from_millis(START), -HOUR).as_millis(),
            START - HOUR
        );
    }
}
