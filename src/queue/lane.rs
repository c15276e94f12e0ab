//! One room's lane: which task goes next, and how many connections may work on which.
//!
//! Pure. The most urgent task goes first, and among equals the one that came first; but of every
//! five picks one goes to the task that waits longest, however urgent it is and whether it came
//! fresh or from the store. A part of the
//! connections is kept free for urgent mail, and the last free one is kept for routine mail while
//! no other works on it, so that neither ever stands still for the other. With one connection there
//! is nothing to keep free: then the order alone decides. Fails never.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::mail::{Priority, Timestamp};

/// Of so many picks, one goes to the task that waits longest.
const FAIR: u32 = 5;
/// One in so many of the connections is kept free for urgent mail, but at least one.
const RESERVED: usize = 5;

/// What one connection is working on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    Urgent,
    Routine,
}

impl Urgency {
    pub(super) const fn of(priority: Priority) -> Self {
        if priority.is_urgent() {
            Self::Urgent
        } else {
            Self::Routine
        }
    }
}

/// What the connections in use leave for the next pick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Any,
    UrgentOnly,
    RoutineFirst,
}

/// The tasks of a lane, in order.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// The most urgent first, and among equals the one that came first.
    tasks: BTreeMap<Rank, Place<T>>,
    /// Who waits longest, among the urgent and among the others.
    urgent: BTreeSet<Age>,
    routine: BTreeSet<Age>,
    arrived: i64,
    put_back: i64,
    picks: u32,
}

/// The priority, and the place in the order of arrival; what is put back has one before all others.
type Rank = (Reverse<Priority>, i64);

/// The same, those that wait longest first, and among equals the one that came first.
type Age = (Timestamp, i64, Reverse<Priority>);

#[derive(Debug)]
struct Place<T> {
    waits_since: Timestamp,
    task: T,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            tasks: BTreeMap::new(),
            urgent: BTreeSet::new(),
            routine: BTreeSet::new(),
            arrived: 0,
            put_back: 0,
            picks: 0,
        }
    }
}

impl<T> Line<T> {
    pub(super) fn len(&self, urgency: Urgency) -> usize {
        match urgency {
            Urgency::Urgent => self.urgent.len(),
            Urgency::Routine => self.routine.len(),
        }
    }

    pub(super) fn push(&mut self, priority: Priority, waits_since: Timestamp, task: T) {
        self.arrived += 1;
        self.insert((Reverse(priority), self.arrived), waits_since, task);
    }

    /// A task that was picked and could not be worked on: the next of its kind.
    pub(super) fn put_back(&mut self, priority: Priority, waits_since: Timestamp, task: T) {
        self.put_back -= 1;
        self.insert((Reverse(priority), self.put_back), waits_since, task);
    }

    fn insert(&mut self, rank: Rank, waits_since: Timestamp, task: T) {
        self.by_age(rank).insert((waits_since, rank.1, rank.0));
        self.tasks.insert(rank, Place { waits_since, task });
    }

    pub(super) fn pick(&mut self, choice: Choice) -> Option<(Urgency, T)> {
        let fair = self.picks % FAIR == FAIR - 1;
        let rank = match choice {
            Choice::RoutineFirst => self.first(Urgency::Routine).or(self.first_of_all()),
            Choice::UrgentOnly if fair => self.urgent.first().map(|it| (it.2, it.1)),
            Choice::UrgentOnly => self.first(Urgency::Urgent),
            Choice::Any if fair => self.waits_longest(),
            Choice::Any => self.first_of_all(),
        }?;
        let task = self.remove(rank)?;
        self.picks = self.picks.wrapping_add(1) % FAIR;
        Some((Urgency::of(rank.0.0), task))
    }

    fn remove(&mut self, rank: Rank) -> Option<T> {
        let Place { waits_since, task } = self.tasks.remove(&rank)?;
        self.by_age(rank).remove(&(waits_since, rank.1, rank.0));
        Some(task)
    }

    /// Takes out those that are meant.
    pub(super) fn take_out(&mut self, is_meant: impl Fn(&T) -> bool) -> Vec<T> {
        let meant = self.tasks.iter().filter(|(_, place)| is_meant(&place.task));
        let ranks: Vec<Rank> = meant.map(|(rank, _)| *rank).collect();
        let taken = ranks.into_iter().filter_map(|rank| self.remove(rank));
        taken.collect()
    }

    /// Takes all of them out, in order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        let line = std::mem::take(self);
        line.tasks.into_values().map(|place| place.task)
    }

    fn by_age(&mut self, (priority, _): Rank) -> &mut BTreeSet<Age> {
        match Urgency::of(priority.0) {
            Urgency::Urgent => &mut self.urgent,
            Urgency::Routine => &mut self.routine,
        }
    }

    fn first_of_all(&self) -> Option<Rank> {
        self.tasks.keys().next().copied()
    }

    fn first(&self, urgency: Urgency) -> Option<Rank> {
        let from = match urgency {
            Urgency::Urgent => return self.first_of_all().filter(|it| it.0.0.is_urgent()),
            Urgency::Routine => (Reverse(Priority::ROUTINE), i64::MIN),
        };
        self.tasks.range(from..).next().map(|(rank, _)| *rank)
    }

    fn waits_longest(&self) -> Option<Rank> {
        let oldest = [self.urgent.first(), self.routine.first()];
        let oldest = oldest.into_iter().flatten().min();
        oldest.map(|it| (it.2, it.1))
    }
}

/// The workers of a lane, each with one connection at most. Where the room's mail turns elsewhere a
/// new crew takes over at once: those at work finish what they have in hand, and leave.
#[derive(Debug)]
pub(super) struct Crew {
    most: usize,
    /// Workers of crews before this one that have something in hand still.
    leaving: usize,
    pub(super) workers: usize,
    /// Workers with nothing to do, each on a connection that it keeps for a while.
    pub(super) idle: usize,
    /// Workers that hold a connection which the hop has accepted.
    pub(super) connected: usize,
    urgent: usize,
    routine: usize,
}

/// How the crew answers to a new task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Those at work will come to it.
    Nobody,
    /// One that is idle is woken.
    Idle,
    /// One more is taken on.
    Another,
}

impl Crew {
    pub(super) fn of_at_most(most: usize) -> Self {
        Self {
            most: most.max(1),
            leaving: 0,
            workers: 0,
            idle: 0,
            connected: 0,
            urgent: 0,
            routine: 0,
        }
    }

    /// The room's mail goes another way now.
    pub(super) fn turn(&mut self) {
        *self = Self {
            leaving: self.leaving + self.workers,
            ..Self::of_at_most(self.most)
        };
    }

    /// One of a crew before this one has left.
    pub(super) fn is_left(&mut self) {
        self.leaving = self.leaving.saturating_sub(1);
    }

    /// Connections that this crew may have: all that a room may have, unless more than twice as many
    /// would be open together, and so many in any case that one can be kept free for urgent mail.
    fn most(&self) -> usize {
        let left = (2 * self.most).saturating_sub(self.leaving);
        left.clamp(self.most.min(2), self.most)
    }

    pub(super) fn starts(&mut self, urgency: Urgency) {
        *self.busy(urgency) += 1;
    }

    pub(super) fn ends(&mut self, urgency: Urgency) {
        let busy = self.busy(urgency);
        *busy = busy.saturating_sub(1);
    }

    fn busy(&mut self, urgency: Urgency) -> &mut usize {
        match urgency {
            Urgency::Urgent => &mut self.urgent,
            Urgency::Routine => &mut self.routine,
        }
    }

    /// Connections that routine mail may take.
    fn most_for_routine(&self) -> usize {
        match self.most() {
            1 => 1,
            most => most - (most / RESERVED).max(1),
        }
    }

    pub(super) fn choice(&self) -> Choice {
        if self.routine >= self.most_for_routine() {
            Choice::UrgentOnly
        } else if self.most() > 1 && self.routine == 0 && self.urgent + 1 >= self.most() {
            Choice::RoutineFirst
        } else {
            Choice::Any
        }
    }

    /// Whom the tasks in line need.
    pub(super) fn call<T>(&self, line: &Line<T>) -> Call {
        let spare = self.most_for_routine().saturating_sub(self.routine);
        let wanted = line.len(Urgency::Urgent) + line.len(Urgency::Routine).min(spare);
        let busy = self.urgent + self.routine;
        if wanted == 0 {
            Call::Nobody
        } else if wanted <= self.idle {
            Call::Idle
        } else if self.workers < self.most() && self.workers.saturating_sub(busy) < wanted {
            Call::Another
        } else {
            Call::Nobody
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn priority(level: i8) -> Priority {
        Priority::new(level).unwrap()
    }

    /// Each task is named by its priority and its place of arrival among all.
    fn line(levels: &[i8]) -> Line<(i8, usize)> {
        let mut line = Line::default();
        for (place, &level) in levels.iter().enumerate() {
            line.push(priority(level), Timestamp::default(), (level, place));
        }
        line
    }

    fn picks<T>(line: &mut Line<T>, choice: Choice) -> Vec<T> {
        std::iter::from_fn(|| line.pick(choice).map(|it| it.1)).collect()
    }

    /// What waits, what may be picked, and what is picked in which order.
    type Case = (&'static [i8], Choice, &'static [(i8, usize)]);

    #[test]
    fn the_most_urgent_goes_first_and_every_fifth_is_the_oldest() {
        #[rustfmt::skip]
        let cases: [Case; 6] = [
            (&[0, 0, 4],             Choice::Any,          &[(4, 2), (0, 0), (0, 1)]),
            (&[-3, 0, 9, 4],         Choice::Any,          &[(9, 2), (4, 3), (0, 1), (-3, 0)]),
            (&[0, 4, 4, 4, 4, 4, 4], Choice::Any,          &[(4, 1), (4, 2), (4, 3), (4, 4), (0, 0), (4, 5), (4, 6)]),
            (&[0, 4, 0],             Choice::UrgentOnly,   &[(4, 1)]),
            (&[4, 0, -1],            Choice::RoutineFirst, &[(0, 1), (-1, 2), (4, 0)]),
            (&[4, 9, 9, 9, 9, 9, 0], Choice::UrgentOnly,   &[(9, 1), (9, 2), (9, 3), (9, 4), (4, 0), (9, 5)]),
        ];
        for (levels, choice, expected) in cases {
            assert_eq!(picks(&mut line(levels), choice), expected, "{levels:?}");
        }
    }

    #[test]
    fn who_waits_longest_is_told_by_age_and_not_by_arrival() {
        let mut line = line(&[4, 4, 4, 4, 4, 4]);
        let older = Timestamp::from_millis(-1);
        line.push(priority(0), older, (0, 6));
        let fifth = picks(&mut line, Choice::Any).into_iter().nth(4);
        assert_eq!(fifth, Some((0, 6)));
    }

    #[test]
    fn an_old_one_among_equals_that_came_late_is_not_forgotten() {
        let mut line = line(&[0; 6]);
        line.push(priority(0), Timestamp::from_millis(-1), (0, 6));
        let places: Vec<usize> = picks(&mut line, Choice::Any)
            .iter()
            .map(|it| it.1)
            .collect();
        assert_eq!(places, [0, 1, 2, 3, 6, 4, 5]);
    }

    #[test]
    fn what_is_put_back_is_next_of_its_kind() {
        let mut line = line(&[0, 0, 4]);
        let (_, task) = line.pick(Choice::RoutineFirst).unwrap();
        line.put_back(priority(0), Timestamp::default(), task);
        assert_eq!(line.len(Urgency::Routine), 2);
        assert_eq!(picks(&mut line, Choice::Any), [(4, 2), (0, 0), (0, 1)]);
    }

    #[test]
    fn the_lengths_follow() {
        let mut line = line(&[0, 4, 0]);
        let lengths = |line: &Line<_>| [Urgency::Urgent, Urgency::Routine].map(|it| line.len(it));
        assert_eq!(lengths(&line), [1, 2]);
        line.pick(Choice::Any);
        assert_eq!(lengths(&line), [0, 2]);
        assert_eq!(line.drain().count(), 2);
        assert_eq!(lengths(&line), [0, 0]);
    }

    #[test]
    fn connections_are_kept_free_for_either() {
        use Choice::{Any, RoutineFirst, UrgentOnly};
        #[rustfmt::skip]
        let cases = [
            // most, urgent, routine
            (1,  0, 0,  Any),
            (1,  0, 1,  UrgentOnly),
            (2,  0, 0,  Any),
            (2,  0, 1,  UrgentOnly),
            (2,  1, 0,  RoutineFirst),
            (5,  0, 4,  UrgentOnly),
            (5,  1, 3,  Any),
            (5,  4, 0,  RoutineFirst),
            (20, 0, 15, Any),
            (20, 0, 16, UrgentOnly),
            (20, 18, 0, Any),
            (20, 19, 0, RoutineFirst),
            (20, 18, 1, Any),
        ];
        for (most, urgent, routine, expected) in cases {
            let crew = Crew {
                urgent,
                routine,
                ..Crew::of_at_most(most)
            };
            assert_eq!(crew.choice(), expected, "{urgent} + {routine} of {most}");
        }
    }

    #[test]
    fn a_new_crew_does_not_wait_for_the_old_one() {
        // At work when the mail turned, once and again; then how many may work on the new way.
        for (most, crews, expected) in [
            (5, &[0][..], 5),
            (5, &[5], 5),
            (5, &[5, 5], 2),
            (5, &[5, 3], 2),
            (5, &[5, 1], 4),
            (1, &[1], 1),
            (1, &[1, 1, 1], 1),
            (2, &[2, 2, 2], 2),
        ] {
            let mut crew = Crew::of_at_most(most);
            for workers in crews {
                crew.workers = *workers;
                crew.connected = *workers;
                crew.turn();
                assert_eq!((crew.workers, crew.connected), (0, 0));
            }
            let mut hired = 0;
            while crew.call(&line(&[4; 20])) == Call::Another {
                crew.workers += 1;
                crew.starts(Urgency::Urgent);
                hired += 1;
            }
            assert_eq!(hired, expected, "{most} {crews:?}");
            for _ in 0..crews.iter().sum() {
                crew.is_left();
            }
            assert_eq!(crew.most(), most);
        }
    }

    #[test]
    fn a_task_calls_whom_it_needs() {
        use Call::{Another, Idle, Nobody};
        #[rustfmt::skip]
        let cases: [([usize; 4], &[i8], Call); 9] = [
            // workers, idle, urgent, routine at work
            ([0, 0, 0, 0], &[],        Nobody),
            ([0, 0, 0, 0], &[0],       Another),
            ([1, 1, 0, 0], &[0],       Idle),
            ([1, 1, 0, 0], &[0, 0],    Another),
            ([1, 0, 0, 0], &[0],       Nobody),   // it is on its way
            ([4, 0, 0, 4], &[0],       Nobody),   // routine mail has its part
            ([4, 0, 0, 4], &[0, 4],    Another),
            ([5, 0, 0, 4], &[0, 4],    Nobody),   // the fifth is on its way
            ([5, 0, 5, 0], &[0, 4, 4], Nobody),
        ];
        for ([workers, idle, urgent, routine], levels, expected) in cases {
            let crew = Crew {
                workers,
                idle,
                urgent,
                routine,
                ..Crew::of_at_most(5)
            };
            let call = crew.call(&line(levels));
            assert_eq!(call, expected, "{workers} {idle} {urgent} {routine}");
        }
    }
}
