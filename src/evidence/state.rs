//! Which state of a recipient its events explain.

use crate::mail::{EventKind, State};

/// The states in which a recipient may be after its events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Explained {
    states: Vec<State>,
    /// The event that set them last.
    by: Option<EventKind>,
}

impl Explained {
    /// After these events, of the recipient and of its message as a whole, in order.
    pub fn after(events: impl IntoIterator<Item = EventKind>) -> Self {
        let mut explained = Self::default();
        events.into_iter().for_each(|event| explained.add(event));
        explained
    }

    fn add(&mut self, event: EventKind) {
        use EventKind as E;
        use State as S;
        match event {
            E::Accepted | E::Released => self.set(event, &[S::Unscanned, S::Queued]),
            E::Delivered => self.set(event, &[S::Delivered]),
            E::Deferred | E::PossiblyDelivered => self.put_off(event),
            E::Failed => self.set(event, &[S::Failed]),
            E::Held => self.set(event, &[S::Held]),
            E::Cancelled => self.set(event, &[S::Cancelled]),
            E::Quarantined => self.set(event, &[S::Quarantined]),
            // Of the recipients that wait for it, what is found clean goes on, and the others wait.
            E::Scanned => self.allow(&[S::Unscanned, S::Held], &[S::Queued, S::Unscanned]),
            E::Rescanned => self.allow(&[S::Queued, S::Deferred, S::Held], &[S::Unscanned]),
            _ => {}
        }
    }

    /// What an attempt comes to that did not deliver it leaves alone what is held, or over.
    fn put_off(&mut self, event: EventKind) {
        let is_tried =
            |it: &State| matches!(it, State::Unscanned | State::Queued | State::Deferred);
        if self.states.iter().any(is_tried) {
            self.by = Some(event);
            self.states.retain(|it| !is_tried(it));
            self.states.push(State::Deferred);
        }
    }

    fn set(&mut self, event: EventKind, states: &[State]) {
        self.by = Some(event);
        self.states = states.to_vec();
    }

    /// Where one of these is possible, so are those.
    fn allow(&mut self, from: &[State], to: &[State]) {
        if from.iter().any(|it| self.states.contains(it)) {
            self.states.extend_from_slice(to);
        }
    }

    pub fn explains(&self, state: State) -> bool {
        self.states.contains(&state)
    }

    pub const fn by(&self) -> Option<EventKind> {
        self.by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_what_the_last_event_makes_of_it() {
        use EventKind as E;
        use State as S;
        let cases: &[(&[EventKind], &[State])] = &[
            (&[], &[]),
            (&[E::Accepted], &[S::Unscanned, S::Queued]),
            (&[E::Accepted, E::Delivered], &[S::Delivered]),
            (
                &[E::Accepted, E::Deferred, E::Warned, E::Duplicate],
                &[S::Deferred],
            ),
            (
                &[E::Accepted, E::Deferred, E::Failed, E::Bounced],
                &[S::Failed],
            ),
            (&[E::Accepted, E::Held], &[S::Held]),
            (
                &[E::Accepted, E::Held, E::Scanned, E::Deferred],
                &[S::Deferred, S::Held],
            ),
            (
                &[E::Accepted, E::Cancelled, E::PossiblyDelivered],
                &[S::Cancelled],
            ),
            (
                &[E::Accepted, E::Held, E::Scanned],
                &[S::Unscanned, S::Queued, S::Held],
            ),
            (
                &[E::Accepted, E::Held, E::Released],
                &[S::Unscanned, S::Queued],
            ),
            (
                &[E::Accepted, E::Scanned, E::Quarantined],
                &[S::Quarantined],
            ),
            (
                &[E::Accepted, E::Deferred, E::Rescanned],
                &[S::Unscanned, S::Deferred],
            ),
            (
                &[E::Accepted, E::Cancelled, E::Delivered, E::Scanned],
                &[S::Delivered],
            ),
        ];
        for (events, states) in cases {
            let explained = Explained::after(events.iter().copied());
            let found = S::ALL.iter().copied().filter(|it| explained.explains(*it));
            assert_eq!(found.collect::<Vec<_>>(), *states, "{events:?}");
        }
    }
}
