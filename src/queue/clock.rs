//! Steps of the wall clock: somebody, or a time server, sets it an hour forward or back.
//!
//! Due times and ages are kept by the wall clock, so that they survive a restart. At each look it is
//! compared with the steady clock; where they went apart by two seconds or more since the last look,
//! the wall clock was set by that much, and the times of what was accepted before are moved along.
//! A pause of the whole machine counts as a step forward: what could not be tried does not age.
//!
//! Which messages came before the step? Forward, their age tells: nothing was accepted between the
//! two clocks. Back, the same times come twice. What was begun after this look is told by its
//! reference, which always grows; of the rest, what was moved by an earlier step, or was accepted at
//! a time that only the old clock can have shown, came before; and so did what was begun before the
//! previous look, unless it was accepted earlier than begun, by their times: then it was open when
//! the step came. [`Shift::moves`] decides it. Steps are followed one after the other, in order. A
//! restart forgets what had not been moved yet; then everything is due, and nothing is from the
//! future. An outcome made out by the old clock and not yet written moves along with the rest; none
//! that goes on waiting is written between a step and the end of the moving ([`Dial`]).
//!
//! Pure but for [`Reading::now`] and the waiting. Fails never.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::mail::{Reference, Timestamp};
use crate::spool::store::Shift;

/// Less than this is drift, not a step.
const STEP: Duration = Duration::from_secs(2);
/// A transaction that was open at a step is over by then.
const TRANSACTION: Duration = Duration::from_secs(600);

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
        let since = now.steady.saturating_duration_since(before.seen.steady);
        let elapsed = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Some(Shift {
            millis,
            known: before.reference,
            until: reference,
            // Halfway between the two clocks, wherever in between the step was.
            parting: moved(before.seen.wall, elapsed.saturating_add(millis) / 2),
            earliest: moved(before.seen.wall, millis),
            closed_by: now.wall.after(TRANSACTION),
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
    use crate::mail::References;

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

    /// What happens, in order.
    #[derive(Debug, Clone, Copy)]
    enum Deed {
        /// A message is accepted, or one that takes so many milliseconds is begun.
        Accept,
        Begin(i64),
        Pass(i64),
        Set(i64),
        Look,
        /// All that the looks so far have seen is moved.
        Move,
        /// Half of what waits is moved by the first step seen, and the rest later.
        MoveHalf,
    }

    #[derive(Debug)]
    struct Row {
        reference: Reference,
        /// By the steady clock, and by the wall clock.
        truly_at: i64,
        accepted_at: Timestamp,
        waits_since: Option<Timestamp>,
    }

    struct World {
        start: Instant,
        steady: i64,
        offset: i64,
        references: References,
        clock: Clock,
        open: Vec<(i64, Reference)>,
        rows: Vec<Row>,
        steps: Vec<Shift>,
        half: Option<usize>,
    }

    impl World {
        fn new() -> Self {
            let start = Instant::now();
            let references = References::after(None);
            let first = references.next(Timestamp::from_millis(START), 0);
            Self {
                start,
                steady: 0,
                offset: 0,
                references,
                clock: Clock::at(reading(start, 0, 0), first),
                open: Vec::new(),
                rows: Vec::new(),
                steps: Vec::new(),
                half: None,
            }
        }

        fn now(&self) -> Timestamp {
            Timestamp::from_millis(START + self.steady + self.offset)
        }

        fn reference(&self) -> Reference {
            self.references.next(self.now(), 0)
        }

        fn accept(&mut self, reference: Reference) {
            self.rows.push(Row {
                reference,
                truly_at: self.steady,
                accepted_at: self.now(),
                waits_since: None,
            });
        }

        fn pass(&mut self, millis: i64) {
            for _ in 0..millis / 50 {
                self.steady += 50;
                let now = self.steady;
                let (done, open) = std::mem::take(&mut self.open)
                    .into_iter()
                    .partition(|it| it.0 <= now);
                self.open = open;
                let done: Vec<(i64, Reference)> = done;
                done.into_iter().for_each(|it| self.accept(it.1));
            }
        }

        fn shift(&mut self, places: std::ops::Range<usize>) {
            let Some(step) = self.steps.first() else {
                return;
            };
            self.rows.sort_by_key(|row| row.reference);
            for row in self.rows.get_mut(places).unwrap() {
                if step.moves(row.reference, row.accepted_at, row.waits_since) {
                    let since = row.waits_since.unwrap_or(row.accepted_at);
                    row.waits_since = Some(moved(since, step.millis));
                }
            }
        }

        fn act(&mut self, deed: Deed) {
            match deed {
                Deed::Accept => self.accept(self.reference()),
                Deed::Begin(millis) => {
                    let reference = self.reference();
                    self.open.push((self.steady + millis, reference));
                }
                Deed::Pass(millis) => self.pass(millis),
                Deed::Set(millis) => self.offset += millis,
                Deed::Look => {
                    let steady = u64::try_from(self.steady).unwrap();
                    let now = reading(self.start, self.steady + self.offset, steady);
                    let reference = self.reference();
                    self.steps.extend(self.clock.look(now, reference));
                }
                Deed::MoveHalf => {
                    let half = self.rows.len() / 2;
                    self.half = Some(half);
                    self.shift(0..half);
                }
                Deed::Move => {
                    while !self.steps.is_empty() {
                        let from = self.half.take().unwrap_or(0);
                        self.shift(from..self.rows.len());
                        self.steps.remove(0);
                    }
                }
            }
        }
    }

    /// After all that, every message is as old as it truly is.
    #[test]
    fn exactly_what_was_accepted_before_a_step_moves_along() {
        use Deed::{Accept, Begin, Look, Move, MoveHalf, Pass, Set};
        const MINUTE: i64 = 60_000;
        let back_and_put_right = |between: i64| {
            vec![
                Accept,
                Pass(20 * MINUTE),
                Look,
                Accept,
                Pass(10 * MINUTE),
                Accept,
                Look,
                Pass(100),
                Accept,
                Set(-HOUR),
                Accept,
                Pass(100),
                Accept,
                Look,
                Accept,
                Move,
                Pass(between / 2),
                Look,
                Move,
                Accept,
                Pass(between / 2),
                Accept,
                Look,
                Move,
                Pass(50),
                Accept,
                Set(HOUR),
                Accept,
                Pass(50),
                Look,
                Accept,
                Move,
                Pass(MINUTE),
                Accept,
                Look,
                Move,
            ]
        };
        let forward_and_put_right = |between: i64| {
            let turned = |deed| match deed {
                Set(millis) => Set(-millis),
                other => other,
            };
            back_and_put_right(between)
                .into_iter()
                .map(turned)
                .collect()
        };
        #[rustfmt::skip]
        let cases: Vec<(&str, Vec<Deed>)> = vec![
            ("back, put right in a moment", back_and_put_right(1000)),
            ("back, put right after ten minutes", back_and_put_right(10 * MINUTE)),
            ("back, put right after fifty minutes", back_and_put_right(50 * MINUTE)),
            ("back, put right after two hours", back_and_put_right(2 * HOUR)),
            ("forward, put right in a moment", forward_and_put_right(1000)),
            ("forward, put right after ten minutes", forward_and_put_right(10 * MINUTE)),
            ("forward, put right after fifty minutes", forward_and_put_right(50 * MINUTE)),
            ("forward, put right after two hours", forward_and_put_right(2 * HOUR)),
            ("two steps within one look", vec![
                Accept, Look, Pass(100), Accept, Set(HOUR), Pass(50), Set(-HOUR / 2), Accept, Pass(50),
                Look, Move, Accept, Look, Move]),
            ("a step while another is followed", vec![
                Accept, Accept, Pass(250), Look, Accept, Accept, Set(-HOUR), Pass(250), Look, Accept,
                MoveHalf, Pass(200), Accept, Set(HOUR), Accept, Pass(50), Look, Accept, Move, Accept]),
            ("the same the other way round", vec![
                Accept, Accept, Pass(250), Look, Accept, Accept, Set(HOUR), Pass(250), Look, Accept,
                MoveHalf, Pass(200), Accept, Set(-HOUR), Accept, Pass(50), Look, Accept, Move, Accept]),
            ("transactions that are open at a step back", vec![
                Begin(500), Begin(60_000), Pass(250), Look, Begin(200), Begin(MINUTE), Pass(100),
                Set(-HOUR), Pass(50), Begin(100), Begin(MINUTE), Pass(50), Look, Pass(2 * MINUTE), Move]),
            ("transactions that are open at a step forward", vec![
                Begin(500), Begin(60_000), Pass(250), Look, Begin(200), Begin(MINUTE), Pass(100),
                Set(HOUR), Pass(50), Begin(100), Begin(MINUTE), Pass(50), Look, Pass(2 * MINUTE), Move]),
            ("back and back again", vec![
                Accept, Look, Pass(250), Set(-HOUR), Look, Move, Accept, Pass(20 * MINUTE), Accept, Look,
                Pass(250), Set(-HOUR), Accept, Look, Move, Pass(MINUTE), Accept]),
            ("a long time without a look", vec![
                Accept, Look, Pass(10 * MINUTE), Accept, Set(-HOUR), Pass(10 * MINUTE), Accept, Look, Move,
                Look, Pass(10 * MINUTE), Accept, Set(HOUR), Pass(10 * MINUTE), Accept, Look, Move]),
            ("small steps", vec![
                Accept, Pass(250), Look, Accept, Set(-3000), Accept, Pass(250), Look, Accept, Move,
                Pass(250), Accept, Set(3000), Pass(100), Accept, Look, Move, Accept]),
        ];
        for (name, deeds) in cases {
            let mut world = World::new();
            deeds.iter().for_each(|deed| world.act(*deed));
            assert!(world.open.is_empty() && world.rows.len() > 2, "{name}");
            for row in &world.rows {
                let truly_at = Timestamp::from_millis(START + row.truly_at + world.offset);
                let since = row.waits_since.unwrap_or(row.accepted_at);
                assert_eq!(since, truly_at, "{name}: {row:?}");
            }
        }
    }

    #[test]
    fn times_move_with_the_clock() {
        let moment = Timestamp::from_millis(START);
        assert_eq!(moved(moment, -HOUR).as_millis(), START - HOUR);
    }
}
