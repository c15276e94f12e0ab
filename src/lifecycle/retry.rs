//! When a deferred recipient is tried again, and when that has gone on for long enough.
//!
//! Pure: the time and the noise of the jitter come in. Fails never: an empty schedule still waits.

use std::time::Duration;

use crate::mail::Timestamp;

/// `delivery.retry` and `delivery.give_up_after` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The wait after the first attempt, the second, …; the last one repeats.
    pub retry: Vec<Duration>,
    /// When the sender is told that it is late, unless the room has a time of its own.
    pub warn_after: Duration,
    /// Counted from the acceptance.
    pub give_up_after: Duration,
}

/// What follows a deferral.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    At(Timestamp),
    /// It was tried for this long; the sender is told.
    GiveUp(Duration),
}

/// The wait where a schedule names none.
const FALLBACK: Duration = Duration::from_secs(300);
/// Each wait varies by up to this many hundredths to either side, so that what failed together
/// does not come back together.
const JITTER: u64 = 10;

impl Schedule {
    /// What follows attempt number `attempt`, which ended at `now`.
    pub fn after(&self, attempt: u32, accepted_at: Timestamp, now: Timestamp, noise: u64) -> Next {
        let tried_for = now.since(accepted_at);
        let is_late = tried_for >= self.give_up_after;
        if is_late && attempt >= self.fewest_attempts() {
            return Next::GiveUp(tried_for);
        }
        let next = now.after(self.wait(attempt, noise));
        // The last attempt falls on the moment of giving up, not a whole wait after it.
        let last = accepted_at.after(self.give_up_after);
        Next::At(if is_late { next } else { next.min(last) })
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

    fn schedule(seconds: &[u64], give_up_after: u64) -> Schedule {
        Schedule {
            retry: seconds.iter().map(|s| Duration::from_secs(*s)).collect(),
            warn_after: Duration::from_secs(300),
            give_up_after: Duration::from_secs(give_up_after),
        }
    }

    fn wait(next: Next, now: Timestamp) -> Option<u64> {
        match next {
            Next::At(at) => Some(at.since(now).as_millis() as u64),
            Next::GiveUp(_) => None,
        }
    }

    #[test]
    fn the_last_wait_repeats() {
        let schedule = schedule(&[5, 15, 30], 14_400);
        // Noise that lands in the middle: spread is a tenth of the wait in milliseconds.
        for (attempt, noise, expected) in [
            (0, 500, 5_000),
            (1, 500, 5_000),
            (2, 1_500, 15_000),
            (3, 3_000, 30_000),
            (4, 3_000, 30_000),
            (u32::MAX, 3_000, 30_000),
        ] {
            let next = schedule.after(attempt, ACCEPTED, ACCEPTED, noise);
            assert_eq!(wait(next, ACCEPTED), Some(expected), "attempt {attempt}");
        }
    }

    #[test]
    fn jitter_stays_within_a_tenth_and_reaches_both_ends() {
        let schedule = schedule(&[10], 14_400);
        for (noise, expected) in [
            (0, 9_000),
            (1_000, 10_000),
            (2_000, 11_000),
            (2_001, 9_000),
            (u64::MAX, 9_000 + u64::MAX % 2_001),
        ] {
            let next = schedule.after(1, ACCEPTED, ACCEPTED, noise);
            assert_eq!(wait(next, ACCEPTED), Some(expected), "noise {noise}");
        }
    }

    #[test]
    fn the_last_attempt_is_at_the_end_and_then_it_is_over() {
        let schedule = schedule(&[60], 100);
        for (age, expected) in [
            (0, Some(60_000)),
            (30, Some(60_000)),
            (70, Some(30_000)),
            (99, Some(1_000)),
            (100, None),
            (1_000, None),
        ] {
            let now = ACCEPTED.after(Duration::from_secs(age));
            let next = schedule.after(1, ACCEPTED, now, 6_000);
            assert_eq!(wait(next, now), expected, "age {age}");
        }
    }

    #[test]
    fn an_empty_schedule_still_waits() {
        let next = schedule(&[], 14_400).after(1, ACCEPTED, ACCEPTED, 30_000);
        assert_eq!(wait(next, ACCEPTED), Some(300_000));
    }
}
