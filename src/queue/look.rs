//! What waits is looked at when its time comes, whatever attempts come to.
//!
//! The store knows of each recipient when that is: its sender is to hear that it is late, or its
//! time is over. What is in line is taken out of it for the look, and comes back; of an attempt
//! under way nothing is taken, and only lateness is told. It decides nothing (`lifecycle` does) and
//! fails never: what cannot be read or written is looked at again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::clock;
use super::desk::{Desk, Standing};
use crate::lifecycle::{self, Look, Occasion};
use crate::mail::{Content, EventKind, Reference, RoomId, State, Timestamp};
use crate::policy::table::RoutingTable;
use crate::spool::store::{
    Applied, Change, RecipientChange, RecipientId, StoreError, Told, Waiting, WaitingFilter,
    WaitingOrder,
};

/// After a start what waited is tried before it is looked at.
const ATTEMPTS_FIRST: Duration = Duration::from_secs(10);
/// How often the store is asked who is to be looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Recipients looked at, at a time.
const PORTION: usize = 100;
/// As much of a message as a report may quote.
const QUOTED: usize = (1 << 20) + 1;

/// Who was told of, and what came of writing it.
type Written = (Vec<RecipientId>, Result<Applied, StoreError>);

/// For as long as the queue runs. The store has twice as long a rest after each portion as that took.
/// `restarted`: something may wait from before.
pub(super) async fn run(desk: &Desk, restarted: bool) {
    let first = match restarted {
        true => Instant::now() + ATTEMPTS_FIRST,
        false => Instant::now(),
    };
    let mut tick = tokio::time::interval_at(first, LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        loop {
            let begun = Instant::now();
            clock::steady(&desk.dial).await;
            match desk.look_at_a_portion().await {
                Ok(PORTION) => tokio::time::sleep(2 * begun.elapsed()).await,
                Ok(_) => break,
                Err(fault) => {
                    tracing::warn!(%fault, "what waits cannot be looked at yet");
                    break;
                }
            }
        }
    }
}

/// Recipients that are being looked at: nobody else takes them in hand until this is dropped.
struct InView<'a> {
    desk: &'a Desk,
    /// What their senders were told while they were under way; `None`: they are not.
    standing: HashMap<RecipientId, Option<Told>>,
    taken: Vec<RecipientId>,
    taken_from_line: Vec<RecipientId>,
}

impl<'a> InView<'a> {
    fn take(desk: &'a Desk, rows: &[Waiting]) -> Self {
        let mut view = Self {
            desk,
            standing: HashMap::new(),
            taken: Vec::new(),
            taken_from_line: Vec::new(),
        };
        let hand = &mut *desk.hand();
        for row in rows {
            let told = match hand.take_for_a_look(row.id, &row.room) {
                Standing::Settling => continue,
                Standing::UnderWay(told) => Some(told),
                Standing::Free { is_in_line: true } => {
                    view.taken_from_line.push(row.id);
                    None
                }
                Standing::Free { is_in_line: false } => {
                    view.taken.push(row.id);
                    None
                }
            };
            view.standing.insert(row.id, told);
        }
        view
    }

    /// As they are now that nobody else changes them, message by message.
    async fn looks(&self) -> Result<Vec<Look>, StoreError> {
        let mut ids: Vec<RecipientId> = self.standing.keys().copied().collect();
        ids.sort();
        let rows = self.desk.spool.store().waiting(ids).await?;
        let looks = rows.into_iter().filter_map(|mut waiting| {
            let under_way = *self.standing.get(&waiting.id)?;
            waiting.told = waiting.told.and(under_way.unwrap_or_default());
            Some(Look {
                waiting,
                is_under_way: under_way.is_some(),
                reason: None,
            })
        });
        Ok(looks.collect())
    }
}

impl Drop for InView<'_> {
    fn drop(&mut self) {
        let hand = &mut *self.desk.hand();
        hand.let_go(&self.taken, false);
        hand.let_go(&self.taken_from_line, true);
    }
}

impl Desk {
    /// How many were to be looked at.
    async fn look_at_a_portion(&self) -> Result<usize, StoreError> {
        let store = self.spool.store();
        let rows = store.to_look_at(Timestamp::now(), PORTION).await?;
        let view = InView::take(self, &rows);
        let looks = view.looks().await?;
        let table = Arc::clone(&self.table.borrow());
        let mut silent = Change::default();
        let mut writing = JoinSet::new();
        let mut looks = looks.into_iter().peekable();
        while let Some(first) = looks.next() {
            let reference = first.waiting.id.reference;
            let mut message = vec![first];
            while let Some(next) = looks.next_if(|it| it.waiting.id.reference == reference) {
                message.push(next);
            }
            let change = self.look_at(reference, message, &table).await?;
            if change.messages.is_empty() && change.events.is_empty() {
                silent.recipients.extend(change.recipients);
            } else {
                // Each by itself: what it tells is told only if it is written whole.
                self.tell(&mut writing, change);
            }
        }
        if !silent.recipients.is_empty() {
            self.tell(&mut writing, silent);
        }
        self.written(writing).await?;
        Ok(rows.len())
    }

    /// Writes a change. Of what its senders are told in it they are told by nobody else meanwhile.
    fn tell(&self, writing: &mut JoinSet<Written>, change: Change) {
        let steps = change.recipients.iter();
        let told = steps.filter(|step| step.told != Told::NOTHING);
        let hand = &mut *self.hand();
        let ids = told.map(|step| {
            hand.tell(step.id, step.told);
            step.id
        });
        let ids = ids.collect();
        let (spool, change) = (self.spool.clone(), Arc::new(change));
        writing.spawn(async move { (ids, spool.apply(change).await) });
    }

    async fn written(&self, mut writing: JoinSet<Written>) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        while let Some(written) = writing.join_next().await {
            let (told, written) = written.map_err(|it| StoreError::Down(it.to_string()))?;
            if !matches!(&written, Ok(applied) if applied.is_made()) {
                let hand = &mut *self.hand();
                told.into_iter()
                    .for_each(|id| hand.take_back_what_was_told(id));
            }
            outcome = outcome.and(written.map(drop));
        }
        outcome
    }

    /// Where a room's hops put off whatever comes, one message that waits there is tried now and then,
    /// whatever its time: as soon as it is taken, so are the others.
    pub(super) async fn probe(&self) {
        let now = Instant::now();
        let rooms = self.hand().rooms(|lane| lane.mood.wants_a_probe(now));
        for room in rooms {
            if let Err(fault) = self.make_one_due(room).await {
                tracing::warn!(%fault, "what is put off cannot be tried out of turn yet");
            }
        }
    }

    async fn make_one_due(&self, room: RoomId) -> Result<(), StoreError> {
        let store = self.spool.store();
        let filter = WaitingFilter {
            room: Some(room),
            state: Some(State::Deferred),
            ..WaitingFilter::default()
        };
        for id in store.waiting_ids(filter, WaitingOrder::Next, 1).await? {
            let step = RecipientChange {
                to: Some(State::Deferred),
                next_attempt_at: Some(Timestamp::now()),
                ..RecipientChange::of(id, &[State::Deferred])
            };
            let change = Change {
                recipients: vec![step],
                ..Change::default()
            };
            self.spool.apply(Arc::new(change)).await?;
        }
        Ok(())
    }

    async fn look_at(
        &self,
        reference: Reference,
        mut message: Vec<Look>,
        table: &RoutingTable,
    ) -> Result<Change, StoreError> {
        let mut content = None;
        let occasion = self.occasion(table);
        if message
            .iter()
            .any(|look| lifecycle::has_news(look, &occasion))
        {
            content = self.quoted(reference).await;
            self.learn_reasons(reference, &mut message).await?;
        }
        let content = content.as_ref();
        Ok(lifecycle::looked_at(
            &message,
            &Occasion {
                content,
                ..occasion
            },
        ))
    }

    /// As much of a message as a report quotes; a report says what it can without it.
    pub(super) async fn quoted(&self, reference: Reference) -> Option<Content> {
        match self.spool.store().beginning(reference, QUOTED).await {
            Ok(content) => content,
            Err(fault) => {
                tracing::warn!(%fault, %reference, "a report cannot quote its message");
                None
            }
        }
    }

    /// Why an operator cancelled them, and what was found in them, from the log.
    async fn learn_reasons(
        &self,
        reference: Reference,
        message: &mut [Look],
    ) -> Result<(), StoreError> {
        if !message.iter().any(|look| stop(look).is_some()) {
            return Ok(());
        }
        let events = self.spool.store().events(reference).await?;
        for look in message.iter_mut() {
            let Some(kind) = stop(look) else { continue };
            let recipient = look.waiting.recipient.to_string();
            let stopped = events.iter().rev().find(|event| {
                event.event == kind.word() && event.recipient.as_ref() == Some(&recipient)
            });
            look.reason = stopped.and_then(|event| match kind {
                EventKind::Quarantined => Some(event.details.malware.join(", ")),
                _ => event.details.reason.clone(),
            });
        }
        Ok(())
    }
}

/// What happened to what goes no further.
const fn stop(look: &Look) -> Option<EventKind> {
    match look.waiting.state {
        State::Cancelled => Some(EventKind::Cancelled),
        State::Quarantined => Some(EventKind::Quarantined),
        _ => None,
    }
}
