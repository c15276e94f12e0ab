//! The scan before the 250: a sender waits for it a while, and no longer.
//!
//! What is not over by then goes on, and its message is kept without a verdict; [`Unfinished`] is
//! handed over to [`Gate`](super::Gate), so that nobody scans it a second time meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::desk::{Claim, Desk, Job, Matter, Outcome, outcome};
use crate::mail::{Inspection, Received};
use crate::spool::BodyPermit;

/// What is known when the sender has waited.
#[derive(Debug)]
pub enum Answer {
    Done(Inspection),
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

impl Desk {
    /// Scans a message that is not kept yet, for as long as its sender waits. `None`: another scan of
    /// it is under way, which cannot be.
    pub async fn inline(
        self: &Arc<Self>,
        received: &Received,
        deadline: Duration,
        may_try: bool,
    ) -> Option<Answer> {
        let envelope = &received.envelope;
        let claim = self.claim(envelope.reference)?;
        let mut task = self.begin(Job {
            reference: envelope.reference,
            matter: Matter::received(received),
            priority: envelope.terms.priority,
            may_try,
        });
        Some(match timeout(deadline, task.join_next()).await {
            Ok(joined) => Answer::Done(outcome(joined).inspection),
            Err(_) => Answer::Unfinished(Unfinished {
                claim,
                task,
                permit: BodyPermit::default(),
            }),
        })
    }
}
