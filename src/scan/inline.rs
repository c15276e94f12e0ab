//! The scan before the 250: a sender waits for it a while, and no longer.
//!
//! What is not over by then goes on, and its message is kept without a verdict; [`Unfinished`] is
//! handed over to [`Gate`](super::Gate), so that nobody scans it a second time meanwhile. What the
//! built-in rules refuse hardly waits for the engines: long enough to be called by their name for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::desk::{Begun, Claim, Desk, Job, Matter, Outcome, outcome};
use crate::mail::{Inspection, Received};
use crate::spool::BodyPermit;

/// How long the engines have to say what they call it that the rules refuse.
const NAMING: Duration = Duration::from_millis(500);

/// What is known when the sender has waited.
#[derive(Debug)]
pub enum Answer {
    Done(Outcome),
    Unfinished(Unfinished),
}

/// A scan that goes on.
#[derive(Debug)]
pub struct Unfinished {
    pub(super) claim: Claim,
    pub(super) task: JoinSet<Outcome>,
    /// The memory that its message takes.
    pub permit: BodyPermit,
}

/// For how long a sender waits, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub deadline: Duration,
    /// An engine that is down may be tried with this.
    pub may_try: bool,
}

impl Desk {
    /// Scans a message that is not kept yet, for as long as its sender waits, or until the rules found
    /// what `is_refused`. `None`: another scan of it is under way, which cannot be.
    pub async fn inline(
        self: &Arc<Self>,
        received: &Received,
        patience: Patience,
        is_refused: impl Fn(&Inspection) -> bool,
    ) -> Option<Answer> {
        let envelope = &received.envelope;
        let claim = self.claim(envelope.reference)?;
        let job = Job {
            reference: envelope.reference,
            matter: Matter::received(received),
            priority: envelope.terms.priority,
            may_try: patience.may_try,
        };
        let (early, mut found) = oneshot::channel();
        let mut task = match self.at_once(job, early) {
            Begun::Over(outcome) => return Some(Answer::Done(outcome)),
            Begun::UnderWay(task) => task,
        };
        let scan = async {
            tokio::select! {
                biased;
                joined = task.join_next() => return outcome(joined),
                Ok(inspection) = &mut found => {
                    if is_refused(&inspection) {
                        // Engines have better names for it.
                        let named = timeout(NAMING, task.join_next()).await;
                        return named.map_or(Outcome { inspection, stalled: false }, outcome);
                    }
                }
            }
            outcome(task.join_next().await)
        };
        Some(match timeout(patience.deadline, scan).await {
            Ok(outcome) => Answer::Done(outcome),
            Err(_) => Answer::Unfinished(Unfinished {
                claim,
                task,
                permit: BodyPermit::default(),
            }),
        })
    }
}
