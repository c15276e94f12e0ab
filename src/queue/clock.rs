//! Steps of the wall clock: somebody, or a time server, sets it an hour forward or back.
//!
//! Due times and ages are kept by the wall clock, so that they survive a restart. At each look it is
//! compared with the steady clock; where they went apart by two seconds or more since the last look,
//! the wall clock was set by that much, and the times of what was accepted before are moved along.
//! A pause of the whole machine counts as a step forward: what could not be tried does not age.
//!
//! Which messages came before the step? Forward, the reference tells: it holds the moment it was
//! made, and nothing was made between the two clocks. Back, references go on counting up from the
//! last one, so those up to the previous look are older, and of later ones those that were accepted
//! at a time which has yet to come. An outcome made out by the old clock and not yet written moves
//! along with the rest; none is written between a step and the end of the moving ([`Dial`]).
//!
//! Pure but for [`Reading::now`] and the waiting. Fails never.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::mail::{Reference, Timestamp};
use crate::spool::store::Shift;

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

    pub(super) const fn wall(self) -> Timestamp {
        self.wall
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
    pub(super) fn look(&mut self, now: Reading, reference: Reference) -> Option<Shift> {
        let before = std::mem::replace(self, Self::at(now, reference));
        let millis = before.seen.step_until(now);
        if millis == 0 {
            return None;
        }
        // Halfway between what the clock would say and what it says.
        let expected = before.seen.expected(now);
        let midway = moved(expected, millis / 2);
        let (last, or_since) = if millis > 0 {
            (Reference::first_at(midway), None)
        } else {
            (before.reference, Some(midway))
        };
        Some(Shift {
            millis,
            last,
            or_since,
        })
    }

    pub(super) const fn seen(&self) -> Reading {
        self.seen
    }
}

/// What all may know of the clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dial {
    pub seen: Reading,
    /// The times of what waits are being moved.
    pub moving: bool,
}

impl Dial {
    /// No step is being followed, and none was made since the last look.
    fn is_steady(&self) -> bool {
        !self.moving && self.seen.step_until(Reading::now()) == 0
    }
}

/// Waits until the times in the store are by today's clock.
pub(super) async fn steady(dial: &watch::Receiver<Dial>) {
    if !dial.borrow().is_steady() {
        // Nobody moves anything any more once the queue has stopped.
        drop(dial.clone().wait_for(Dial::is_steady).await);
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
        let expected = Shift {
            millis: -HOUR,
            last: reference(5),
            or_since: Some(Timestamp::from_millis(START + 250 - HOUR / 2)),
        };
        assert_eq!(step, Some(expected));
        assert_eq!(
            moved(Timestamp::from_millis(START), -HOUR).as_millis(),
            START - HOUR
        );
    }
}
