//! Whether a room's next hops can be spoken with, as far as is known.
//!
//! Pure. A door is shut by one attempt that reached nobody. While it is shut the finding answers for
//! every task that comes due, and one knocker tries it at growing intervals. An operator's prompt
//! makes it knock at once, and until that knock has been answered no task shares the old finding.
//! Where nobody answers and yet nothing stands in the way (a first next hop that takes no mail at
//! all) it is left ajar: one task tries. A door that moved on since (`turn`) is not shut or opened
//! by what was learned before. Fails never.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::delivery::outcome::Attempt;

/// The pauses before the first knocks; the last one repeats.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// A pause is shorter than that by up to one in so many, so that doors are not knocked at together.
const JITTER: u64 = 5;

/// A prompt ends a knock that has gone on for this long; a younger one is waited for. Twice as long
/// for each knock in a row that was cut short, so that one ends by itself at last.
const OWN_TIME: Duration = Duration::from_secs(1);
const DOUBLINGS: u32 = 10;

/// How long a knock has for itself, after so many that were cut short.
pub(super) fn own_time(cut_short: u32) -> Duration {
    OWN_TIME * (1 << cut_short.min(DOUBLINGS))
}

/// How long to wait before knock number `knocks`, counted from 0.
pub(super) fn pause(knocks: u32, noise: u64) -> Duration {
    let place = usize::try_from(knocks).unwrap_or(usize::MAX);
    let [.., longest] = PAUSES;
    let pause = PAUSES.get(place).copied().unwrap_or(longest);
    let spread = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX) / JITTER;
    pause.saturating_sub(Duration::from_millis(noise % (spread + 1)))
}

#[derive(Debug, Default)]
pub(super) struct Door {
    /// Counts up whenever what is known changes.
    turn: u64,
    state: State,
    /// It was shut since it was last open: something may wait behind it.
    was_shut: bool,
}

#[derive(Debug, Default)]
enum State {
    /// Nobody has tried yet.
    #[default]
    Unknown,
    Open,
    Shut {
        finding: Arc<Attempt>,
        bell: Arc<Notify>,
        /// Prompts so far, and how many of them a knock has answered.
        prompts: u64,
        answered: u64,
    },
}

impl Door {
    pub(super) const fn turn(&self) -> u64 {
        self.turn
    }

    /// How many knocks count as made where it is shut now: one that was left ajar is not knocked at
    /// as quickly as before.
    pub(super) const fn knocks(&self) -> u32 {
        match self.was_shut {
            true => PAUSES.len() as u32,
            false => 0,
        }
    }

    pub(super) const fn is_shut(&self) -> bool {
        matches!(self.state, State::Shut { .. })
    }

    /// Somebody was spoken with, and nothing was heard to the contrary since.
    pub(super) const fn is_proven(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// What answers for a task; `None` while it is not shut.
    pub(super) fn finding(&self) -> Option<Arc<Attempt>> {
        match &self.state {
            State::Shut { finding, .. } => Some(Arc::clone(finding)),
            State::Unknown | State::Open => None,
        }
    }

    /// A prompt has not been answered: tasks wait for it.
    pub(super) const fn is_awaited(&self) -> bool {
        match self.state {
            State::Shut {
                prompts, answered, ..
            } => answered < prompts,
            State::Unknown | State::Open => false,
        }
    }

    /// Prompts so far; `None` when it is no longer as it was at `turn`.
    pub(super) const fn prompts(&self, turn: u64) -> Option<u64> {
        match self.state {
            State::Shut { prompts, .. } if self.turn == turn => Some(prompts),
            _ => None,
        }
    }

    /// Nobody was reached in an attempt begun at `turn`. Gives the bell for a new knocker, where
    /// this shuts the door.
    pub(super) fn shut(&mut self, turn: u64, finding: Arc<Attempt>) -> Option<Arc<Notify>> {
        if self.turn != turn || self.is_shut() {
            return None;
        }
        let bell = Arc::new(Notify::new());
        self.turn += 1;
        self.was_shut = true;
        self.state = State::Shut {
            finding,
            bell: Arc::clone(&bell),
            prompts: 0,
            answered: 0,
        };
        Some(bell)
    }

    /// A knock found nobody, with `prompts` so far when it began.
    pub(super) fn still_shut(&mut self, turn: u64, new: Arc<Attempt>, prompts: u64) {
        if let State::Shut {
            finding, answered, ..
        } = &mut self.state
            && self.turn == turn
        {
            *finding = new;
            *answered = prompts;
        }
    }

    /// Somebody was reached. Whether something may wait because nobody was before.
    pub(super) fn open(&mut self) -> bool {
        if self.is_shut() {
            self.turn += 1;
            self.ring();
        }
        self.state = State::Open;
        std::mem::take(&mut self.was_shut)
    }

    /// Nothing stands in the way, as far as a knock can tell, but nobody was spoken with.
    pub(super) fn leave_ajar(&mut self) {
        self.ring();
        self.turn += 1;
        self.state = State::Unknown;
    }

    /// The room's mail goes elsewhere now, or nothing waits for it any more: nothing is known.
    pub(super) fn forget(&mut self) {
        self.leave_ajar();
        self.was_shut = false;
    }

    /// Knock at once.
    pub(super) fn prompt(&mut self) {
        if let State::Shut { prompts, .. } = &mut self.state {
            *prompts += 1;
        }
        self.ring();
    }

    fn ring(&self) {
        if let State::Shut { bell, .. } = &self.state {
            bell.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::delivery::outcome::{Cause, Handover, Outcome};

    fn found(words: &str) -> Arc<Attempt> {
        Arc::new(Attempt {
            outcome: Outcome::Deferred(Cause::Found(words.to_owned())),
            hop: None,
            tls: None,
            reached: false,
            handover: Handover::Relayed,
            duration: Duration::ZERO,
        })
    }

    #[test]
    fn the_pauses_grow_to_five_seconds() {
        for (knocks, noise, expected) in [
            (0, 0, 1_000),
            (0, 200, 800),
            (0, 201, 1_000),
            (1, 0, 2_000),
            (1, 400, 1_600),
            (2, 0, 5_000),
            (3, 1_000, 4_000),
            (u32::MAX, 0, 5_000),
        ] {
            let pause = pause(knocks, noise).as_millis();
            assert_eq!(pause, expected, "{knocks} {noise}");
        }
    }

    #[test]
    fn the_first_to_reach_nobody_shuts_it() {
        let mut door = Door::default();
        let begun = door.turn();
        assert!(door.shut(begun, found("refused")).is_some());
        assert!(door.shut(begun, found("later")).is_none());
        assert_eq!(door.finding(), Some(found("refused")));
        door.still_shut(door.turn(), found("silent"), 0);
        assert_eq!(door.finding(), Some(found("silent")));
        assert!(door.open());
        assert!(door.is_proven() && door.finding().is_none());
        // An attempt from before ends only now.
        assert!(door.shut(begun, found("late")).is_none());
        assert!(!door.open());
    }

    #[test]
    fn a_door_left_ajar_is_not_forgotten() {
        let mut door = Door::default();
        door.shut(0, found("refused"));
        door.leave_ajar();
        assert!(!door.is_shut() && !door.is_proven());
        assert_eq!(door.knocks(), 3);
        assert!(door.shut(door.turn(), found("refused")).is_some());
        door.leave_ajar();
        assert!(door.open(), "something may wait");
        assert!(!door.open());
        assert_eq!(door.knocks(), 0);
    }

    #[test]
    fn prompts_do_not_cut_every_knock_short() {
        for (cut_short, seconds) in [(0, 1), (1, 2), (5, 32), (10, 1024), (u32::MAX, 1024)] {
            assert_eq!(own_time(cut_short), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn a_prompt_waits_for_a_knock_begun_after_it() {
        let mut door = Door::default();
        assert!(!door.is_awaited());
        door.shut(0, found("refused"));
        let (turn, before) = (door.turn(), door.prompts(door.turn()).unwrap());
        door.prompt();
        assert!(door.is_awaited());
        door.still_shut(turn, found("refused"), before);
        assert!(door.is_awaited());
        let after = door.prompts(turn).unwrap();
        door.still_shut(turn, found("refused"), after);
        assert!(!door.is_awaited());
    }

    #[test]
    fn a_way_that_changed_forgets_what_was_found() {
        let mut door = Door::default();
        door.shut(0, found("refused"));
        let turn = door.turn();
        door.forget();
        assert!(!door.is_shut() && !door.is_proven());
        assert_eq!(door.prompts(turn), None);
        door.still_shut(turn, found("late"), 0);
        assert!(door.shut(turn, found("late")).is_none());
    }
}
