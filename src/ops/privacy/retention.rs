//! How long the log remembers: what is old is pseudonymised, and later purged, a portion at a time.
//!
//! Between portions mail has its turn. A clock that has run far ahead of what the log knows deletes nothing: it
//! is told, loudly and once, and somebody has to say that it is right. What was done is an event of the log, and so
//! is the alarm that nothing was, and its end. A store that cannot be written is tried again at the next look.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::document;
use crate::mail::{Details, EventKind, Timestamp};
use crate::spool::store::{Aging, AgingPlan, Store, StoreError};

/// Messages and refusals in a portion.
const PORTION: usize = 20;
/// How often the relay looks, at most and at least.
const OFTEN: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(3600);
/// So many looks in the shortest age that is named.
const LOOKS: u32 = 24;
/// How often it is tried to fold the write-ahead log while others read.
const FOLDS: usize = 10;
/// A pause between portions is at least this long.
const PAUSE: Duration = Duration::from_millis(5);

/// At which age something is done to a row; `None`: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    pub pseudonymise_after: Option<Duration>,
    pub purge_after: Option<Duration>,
}

impl Retention {
    pub const fn is_asked(&self) -> bool {
        self.pseudonymise_after.is_some() || self.purge_after.is_some()
    }

    fn shortest(&self) -> Option<Duration> {
        self.pseudonymise_after
            .into_iter()
            .chain(self.purge_after)
            .min()
    }

    fn aging(&self, now: Timestamp, limit: usize) -> Aging {
        Aging {
            pseudonymise_before: self.pseudonymise_after.map(|it| now.before(it)),
            purge_before: self.purge_after.map(|it| now.before(it)),
            now,
            limit,
        }
    }
}

/// In words.
impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = document::length;
        match (self.pseudonymise_after, self.purge_after) {
            (None, None) => f.write_str("the log is kept for ever"),
            (Some(first), None) => write!(f, "the log is pseudonymised after {}", length(first)),
            (None, Some(then)) => write!(f, "the log is purged after {}", length(then)),
            (Some(first), Some(then)) => write!(
                f,
                "the log is pseudonymised after {}, and purged after {}",
                length(first),
                length(then)
            ),
        }
    }
}

/// Why nothing was done.
#[derive(Debug)]
pub enum Refused {
    /// The clock is that far ahead of what the log knows.
    Clock {
        now: Timestamp,
        known: Timestamp,
    },
    Store(StoreError),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock { now, known } => write!(
                f,
                "nothing is deleted from the log: by the clock it is {now}, and the last that the log knows is \
                 {known}; if the clock is right, say so with ilbud log retention --clock-is-right"
            ),
            Self::Store(fault) => fault.fmt(f),
        }
    }
}

impl From<StoreError> for Refused {
    fn from(fault: StoreError) -> Self {
        Self::Store(fault)
    }
}

/// What was done.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Done {
    /// Messages and refusals.
    pub references: u64,
    /// Rows.
    pub pseudonymised: u64,
    pub purged: u64,
    /// Rows that somebody has changed: they were left as they are.
    pub not_as_written: Vec<u64>,
}

/// What would be done now.
pub async fn plan(
    store: &Arc<dyn Store>,
    retention: &Retention,
    now: Timestamp,
) -> Result<AgingPlan, Refused> {
    believe(store, retention, now).await?;
    Ok(store.aging_plan(retention.aging(now, 0)).await?)
}

/// Does all that is due.
pub async fn run(
    store: &Arc<dyn Store>,
    retention: &Retention,
    now: Timestamp,
) -> Result<Done, Refused> {
    if let Err(refused) = believe(store, retention, now).await {
        // So that no row that is written by this clock makes it believed.
        if let Refused::Clock { known, .. } = refused {
            store.aging_looked_at(known).await?;
        }
        return Err(refused);
    }
    store.aging_looked_at(now).await?;
    let mut done = Done::default();
    loop {
        let since = Instant::now();
        let aged = store.age(retention.aging(now, PORTION)).await?;
        done.references += aged.references;
        done.pseudonymised += aged.masked;
        done.purged += aged.purged;
        done.not_as_written.extend(aged.not_as_written);
        if !aged.is_more {
            break;
        }
        // Mail has as much of the store as this had.
        tokio::time::sleep(since.elapsed().max(PAUSE)).await;
    }
    store.tell_aging(now).await?;
    forget_words(store).await?;
    // What was left over the last time, when somebody was in the way, goes now.
    clean_up(store, if done.references > 0 { FOLDS } else { 1 }).await?;
    Ok(done)
}

/// The search index forgets it too; after a crash, what is left over from the last time as well.
async fn forget_words(store: &Arc<dyn Store>) -> Result<(), StoreError> {
    let forgotten = store.forgotten().await?;
    for times in forgotten.times {
        store.forget(times).await?;
    }
    store.forgot(forgotten.number).await
}

/// Nothing of what was deleted is left in the files.
async fn clean_up(store: &Arc<dyn Store>, folds: usize) -> Result<(), StoreError> {
    while store.scrub().await? {
        tokio::time::sleep(PAUSE).await;
    }
    for _ in 0..folds {
        if store.fold().await? {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Somebody says that the clock is right.
pub async fn trust_the_clock(store: &Arc<dyn Store>, now: Timestamp) -> Result<(), StoreError> {
    store.aging_looked_at(now).await
}

/// A clock that is ahead of all that is known by more than the shortest age would delete what is young.
async fn believe(
    store: &Arc<dyn Store>,
    retention: &Retention,
    now: Timestamp,
) -> Result<(), Refused> {
    let (looked, newest) = store.aging_clocks().await?;
    let Some((known, step)) = looked.or(newest).zip(retention.shortest()) else {
        return Ok(());
    };
    match now.since(known) > step.max(SELDOM) {
        true => Err(Refused::Clock { now, known }),
        false => Ok(()),
    }
}

/// Looks again and again, for as long as the relay runs.
pub async fn keep(store: Arc<dyn Store>, retention: Retention) {
    let Some(shortest) = retention.shortest() else {
        return std::future::pending().await;
    };
    let every = (shortest / LOOKS).clamp(OFTEN, SELDOM);
    let mut keeper = Keeper::new(store, retention);
    loop {
        tokio::time::sleep(every).await;
        keeper.look(Timestamp::now()).await;
    }
}

/// Makes the log forget at each look, and remembers what it has complained of.
#[derive(Debug)]
pub struct Keeper {
    store: Arc<dyn Store>,
    retention: Retention,
    /// What the log knew when the clock was last not believed, and whether that stands in the log.
    doubted: Option<(Timestamp, bool)>,
}

impl Keeper {
    pub const fn new(store: Arc<dyn Store>, retention: Retention) -> Self {
        Self {
            store,
            retention,
            doubted: None,
        }
    }

    pub async fn look(&mut self, now: Timestamp) {
        match run(&self.store, &self.retention, now).await {
            Ok(done) => {
                self.end_alarm(now).await;
                if done.references > 0 || !done.not_as_written.is_empty() {
                    tell(&done);
                }
            }
            Err(refused @ Refused::Clock { known, .. }) => {
                self.raise_alarm(&refused, known, now).await;
            }
            Err(fault) => tracing::warn!(%fault, "the log cannot be made to forget yet"),
        }
    }

    /// Once for each moment that the clock ran away from; again only where the log did not take it.
    async fn raise_alarm(&mut self, refused: &Refused, known: Timestamp, now: Timestamp) {
        let is_new = self.doubted.is_none_or(|(of, _)| of != known);
        if is_new {
            tracing::error!("{refused}");
        }
        if is_new || self.doubted == Some((known, false)) {
            let is_logged = self.log(EventKind::Alarm, refused.to_string(), now).await;
            self.doubted = Some((known, is_logged));
        }
    }

    async fn end_alarm(&mut self, now: Timestamp) {
        let Some((_, is_logged)) = self.doubted else {
            return;
        };
        let reason = "the clock is believed again, and the log forgets what is old".to_owned();
        if !is_logged || self.log(EventKind::AllClear, reason, now).await {
            self.doubted = None;
        }
    }

    /// Whether it stands in the log.
    async fn log(&self, kind: EventKind, reason: String, now: Timestamp) -> bool {
        let details = Details {
            reason: Some(reason),
            ..Details::default()
        };
        let written = self.store.tell(now, kind, details).await;
        if let Err(fault) = &written {
            tracing::error!(%fault, "that the clock was not believed cannot be logged yet");
        }
        written.is_ok()
    }
}

fn tell(done: &Done) {
    let (references, pseudonymised, purged) = (done.references, done.pseudonymised, done.purged);
    tracing::info!(
        references,
        pseudonymised,
        purged,
        "what was old in the log was forgotten"
    );
    if let Some(first) = done.not_as_written.first() {
        let rows = done.not_as_written.len();
        tracing::error!(
            rows,
            first,
            "rows of the log are not as they were written, and were left: see ilbud log verify"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_said_in_words() {
        const DAY: Duration = Duration::from_secs(86_400);
        for (first, then, words) in [
            (None, None, "the log is kept for ever"),
            (Some(90), None, "the log is pseudonymised after 90d"),
            (None, Some(730), "the log is purged after 730d"),
            (
                Some(90),
                Some(730),
                "the log is pseudonymised after 90d, and purged after 730d",
            ),
        ] {
            let retention = Retention {
                pseudonymise_after: first.map(|it| DAY * it),
                purge_after: then.map(|it| DAY * it),
            };
            assert_eq!(retention.to_string(), words);
        }
    }
}
