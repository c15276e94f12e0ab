//! One room's lane: which task goes next, and how many connections may work on which.
//!
//! Pure. The most urgent task goes first, and among equals the one that came first; but of every
//! five picks one goes to the task that waits longest, however urgent it is. A part of the
//! connections is kept free for urgent mail, and the last free one is kept for routine mail while
//! no other works on it, so that neither ever stands still for the other. With one connection there
//! is nothing to keep free: then the order alone decides. Fails never.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

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
    /// None of them is empty.
    ranks: BTreeMap<Reverse<Priority>, VecDeque<Place<T>>>,
    urgent: usize,
    routine: usize,
    arrived: u64,
    picks: u32,
}

#[derive(Debug)]
struct Place<T> {
    waits_since: Timestamp,
    arrival: u64,
    task: T,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            ranks: BTreeMap::new(),
            urgent: 0,
            routine: 0,
            arrived: 0,
            picks: 0,
        }
    }
}

impl<T> Line<T> {
    pub(super) const fn len(&self, urgency: Urgency) -> usize {
        match urgency {
            Urgency::Urgent => self.urgent,
            Urgency::Routine => self.routine,
        }
    }

    pub(super) fn push(&mut self, priority: Priority, waits_since: Timestamp, task: T) {
        self.arrived += 1;
        let arrival = self.arrived;
        let rank = self.ranks.entry(Reverse(priority)).or_default();
        rank.push_back(Place {
            waits_since,
            arrival,
            task,
        });
        *self.count(Urgency::of(priority)) += 1;
    }

    /// A task that was picked and could not be worked on: the next of its kind.
    pub(super) fn put_back(&mut self, priority: Priority, waits_since: Timestamp, task: T) {
        let rank = self.ranks.entry(Reverse(priority)).or_default();
        rank.push_front(Place {
            waits_since,
            arrival: 0,
            task,
        });
        *self.count(Urgency::of(priority)) += 1;
    }

    pub(super) fn pick(&mut self, choice: Choice) -> Option<(Urgency, T)> {
        let fair = self.picks % FAIR == FAIR - 1;
        let rank = match choice {
            Choice::RoutineFirst => self.first(Urgency::Routine).or(self.first_of_all()),
            Choice::UrgentOnly if fair => self.waits_longest(true),
            Choice::UrgentOnly => self.first(Urgency::Urgent),
            Choice::Any if fair => self.waits_longest(false),
            Choice::Any => self.first_of_all(),
        }?;
        let places = self.ranks.get_mut(&rank)?;
        let place = places.pop_front()?;
        if places.is_empty() {
            self.ranks.remove(&rank);
        }
        self.picks = self.picks.wrapping_add(1) % FAIR;
        let urgency = Urgency::of(rank.0);
        *self.count(urgency) -= 1;
        Some((urgency, place.task))
    }

    /// Takes out those that are meant.
    pub(super) fn take_out(&mut self, is_meant: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for (rank, places) in &mut self.ranks {
            let all = std::mem::take(places).into_iter();
            let (out, left): (Vec<_>, Vec<_>) = all.partition(|place| is_meant(&place.task));
            *places = left.into();
            match Urgency::of(rank.0) {
                Urgency::Urgent => self.urgent -= out.len(),
                Urgency::Routine => self.routine -= out.len(),
            }
            taken.extend(out.into_iter().map(|place| place.task));
        }
        self.ranks.retain(|_, places| !places.is_empty());
        taken
    }

    /// Takes all of them out, in order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        let line = std::mem::take(self);
        let ranks = line.ranks.into_values().flatten();
        ranks.map(|place| place.task)
    }

    fn count(&mut self, urgency: Urgency) -> &mut usize {
        match urgency {
            Urgency::Urgent => &mut self.urgent,
            Urgency::Routine => &mut self.routine,
        }
    }

    fn first_of_all(&self) -> Option<Reverse<Priority>> {
        self.ranks.keys().next().copied()
    }

    fn first(&self, urgency: Urgency) -> Option<Reverse<Priority>> {
        let mut ranks = self.ranks.keys().copied();
        ranks.find(|rank| Urgency::of(rank.0) == urgency)
    }

    fn waits_longest(&self, urgent_only: bool) -> Option<Reverse<Priority>> {
        let ranks = self.ranks.iter();
        ranks
            .filter(|(rank, _)| !urgent_only || rank.0.is_urgent())
            .filter_map(|(rank, places)| Some((rank, places.front()?)))
            .min_by_key(|(_, place)| (place.waits_since, place.arrival))
            .map(|(rank, _)| *rank)
    }
}

/// The workers of a lane, each with one connection at most.
#[derive(Debug)]
pub(super) struct Crew {
    most: usize,
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
            workers: 0,
            idle: 0,
            connected: 0,
            urgent: 0,
            routine: 0,
        }
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
        match self.most {
            1 => 1,
            most => most - (most / RESERVED).max(1),
        }
    }

    pub(super) fn choice(&self) -> Choice {
        if self.routine >= self.most_for_routine() {
            Choice::UrgentOnly
        } else if self.most > 1 && self.routine == 0 && self.urgent + 1 >= self.most {
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
        } else if self.workers < self.most && self.workers.saturating_sub(busy) < wanted {
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
