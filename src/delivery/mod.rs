//! One message, one room's next hops, one attempt.
//!
//! Asks the next hops in order until every recipient has an outcome that another hop could not
//! better, and gives one [`Attempt`] per recipient. Keeps one connection for the next message.
//! Never fails as such: whatever happens is somebody's outcome, and unknown trouble is temporary.

pub mod answers;
pub mod client;
pub mod maildir;
pub mod outcome;
pub mod resolve;
pub mod trust;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::mail::{Answer, Content};
use crate::policy::table::{HopServer, NextHop};
use crate::spool::store::Waiting;

use client::{Caller, Connection, Letter, Setback};
use outcome::{Attempt, Fate, Handover, Outcome, Stage, Trouble};

/// `[delivery]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The wait after each attempt; the last one repeats.
    pub retry: Vec<Duration>,
    /// When the sender is told that it is late.
    pub warn_after: Duration,
    /// When the sender is told that it failed.
    pub give_up_after: Duration,
    /// Attempts at once towards one room.
    pub connections_per_room: usize,
    pub timeouts: client::Timeouts,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry: [5, 15, 30, 60, 120, 300].map(Duration::from_secs).to_vec(),
            warn_after: Duration::from_secs(5 * 60),
            give_up_after: Duration::from_secs(4 * 60 * 60),
            connections_per_room: 20,
            timeouts: client::Timeouts::default(),
        }
    }
}

/// A message and those of its recipients that share next hops; at least one.
#[derive(Debug)]
pub struct Job<'a> {
    pub waiting: &'a [Waiting],
    pub content: &'a Content,
    /// No attempt can have been made before, not even by a process that crashed.
    pub first_try: bool,
}

/// A connection kept open for the next message.
#[derive(Debug)]
pub struct Kept {
    hop: NextHop,
    label: Arc<str>,
    connection: Connection,
    opened_at: Instant,
}

/// RFC 5321 §4.5.3.1.8: a hop takes at least this many recipients at once.
const RECIPIENTS: usize = 100;
/// How long a connection to a hop further down the list goes before those above it.
const SECOND_CHOICE: Duration = Duration::from_secs(5);

impl Kept {
    pub async fn close(self) {
        self.connection.quit().await;
    }
}

/// Whether this version can speak to such a hop; mail for another kind is kept and waits.
pub fn can_reach(hop: &NextHop) -> bool {
    match hop {
        NextHop::Maildir(_) => true,
        NextHop::Smtp(server) | NextHop::Smtps(server) => {
            server.credentials.is_none() && server.client_certificate.is_none()
        }
        NextHop::Lmtp(_) | NextHop::LmtpSocket(_) | NextHop::Mx(_) => false,
    }
}

/// Tries to deliver to each recipient; one attempt each, in the order of `job.waiting`.
pub async fn attempt(
    job: &Job<'_>,
    hops: &[NextHop],
    kept: &mut Option<Kept>,
    caller: &Caller,
) -> Vec<Attempt> {
    let mut round = Round::new(job, caller);
    for hop in in_order(hops, preferred(hops, kept.as_ref())) {
        match hop {
            _ if !can_reach(hop) => round.cannot(hop),
            NextHop::Maildir(root) => round.keep_copies(hop, root).await,
            NextHop::Smtp(server) => round.send(hop, server, false, kept).await,
            NextHop::Smtps(server) => round.send(hop, server, true, kept).await,
            NextHop::Lmtp(_) | NextHop::LmtpSocket(_) | NextHop::Mx(_) => {
                round.cannot(hop);
            }
        }
        if round.is_over() {
            break;
        }
    }
    round.attempts()
}

/// Opens a connection to the first next hop that takes one, before there is anything to send, and
/// keeps it. `Err`: nobody can be spoken with, and this is what an attempt would have come to. Next
/// hops without connections are always there.
pub async fn knock(
    hops: &[NextHop],
    kept: &mut Option<Kept>,
    caller: &Caller,
) -> Result<(), Attempt> {
    let started_at = Instant::now();
    let mut last = unasked(Duration::ZERO);
    for hop in hops {
        let (server, implicit) = match hop {
            NextHop::Smtp(server) if can_reach(hop) => (server, false),
            NextHop::Smtps(server) if can_reach(hop) => (server, true),
            _ => return Ok(()),
        };
        let label: Arc<str> = hop.to_string().into();
        let deadline = started_at + caller.timeouts.whole;
        let setback = match caller.open(server, implicit, deadline).await {
            Ok(connection) => {
                *kept = Some(Kept {
                    hop: hop.clone(),
                    label,
                    connection,
                    opened_at: Instant::now(),
                });
                return Ok(());
            }
            Err(setback) => setback,
        };
        last = Attempt {
            outcome: setback.fate().outcome,
            hop: Some(label),
            ..unasked(started_at.elapsed())
        };
    }
    Err(last)
}

/// The place of the hop whose kept connection goes first for a while.
fn preferred(hops: &[NextHop], kept: Option<&Kept>) -> Option<usize> {
    let kept = kept.filter(|it| it.opened_at.elapsed() < SECOND_CHOICE)?;
    hops.iter().position(|hop| *hop == kept.hop)
}

/// As configured, the preferred one before them.
fn in_order(hops: &[NextHop], preferred: Option<usize>) -> impl Iterator<Item = &NextHop> {
    let first = preferred.and_then(|place| hops.get(place));
    let others = hops.iter().enumerate();
    let others = others.filter(move |(place, _)| Some(*place) != preferred);
    first.into_iter().chain(others.map(|(_, hop)| hop))
}

/// The state of one attempt while the hops are asked in turn.
struct Round<'a> {
    job: &'a Job<'a>,
    caller: &'a Caller,
    started_at: Instant,
    /// Places of recipients that a further hop may still serve.
    open: Vec<usize>,
    attempts: Vec<Option<Attempt>>,
}

impl<'a> Round<'a> {
    fn new(job: &'a Job<'a>, caller: &'a Caller) -> Self {
        Self {
            job,
            caller,
            started_at: Instant::now(),
            open: (0..job.waiting.len()).collect(),
            attempts: vec![None; job.waiting.len()],
        }
    }

    fn deadline(&self) -> Instant {
        self.started_at + self.caller.timeouts.whole
    }

    fn is_over(&self) -> bool {
        self.open.is_empty() || Instant::now() >= self.deadline()
    }

    fn attempts(self) -> Vec<Attempt> {
        let duration = self.started_at.elapsed();
        let attempts = self.attempts.into_iter();
        attempts
            .map(|attempt| attempt.unwrap_or_else(|| unasked(duration)))
            .collect()
    }

    /// Takes the fates of the first open recipients; those that may ask elsewhere stay open.
    fn settle(&mut self, fates: Vec<Fate>, label: &Arc<str>, tls: Option<&Arc<str>>) {
        let duration = self.started_at.elapsed();
        let asked: Vec<usize> = self
            .open
            .drain(..fates.len().min(self.open.len()))
            .collect();
        for (place, fate) in asked.into_iter().zip(fates) {
            if fate.elsewhere {
                self.open.push(place);
            }
            if let Some(slot) = self.attempts.get_mut(place) {
                // What one hop cannot carry, a better one that is only out of reach may.
                let may_still = |it: &Attempt| matches!(it.outcome, Outcome::Deferred(_));
                let is_lesser = fate.elsewhere && matches!(fate.outcome, Outcome::Failed(_));
                if is_lesser && slot.as_ref().is_some_and(may_still) {
                    continue;
                }
                *slot = Some(Attempt {
                    outcome: fate.outcome,
                    hop: Some(Arc::clone(label)),
                    tls: tls.cloned(),
                    reached: fate.reached,
                    handover: fate.handover,
                    duration,
                });
            }
        }
    }

    /// All that `count` open recipients hear is this.
    fn settle_alike(&mut self, count: usize, setback: Setback, label: &Arc<str>) {
        self.settle(vec![setback.fate(); count], label, None);
    }

    fn cannot(&mut self, hop: &NextHop) {
        let label: Arc<str> = hop.to_string().into();
        let words = format!("{hop}: this kind of next hop comes with a later version");
        let setback = Setback::new(Stage::Prepare, Trouble::Unsupported(words));
        self.settle_alike(self.open.len(), setback, &label);
    }

    async fn keep_copies(&mut self, hop: &NextHop, root: &Path) {
        let rows = self
            .open
            .iter()
            .filter_map(|&place| self.job.waiting.get(place));
        let copies = rows.map(|row| maildir::Copy {
            local_part: row.recipient.local().to_owned(),
            reference: row.id.reference,
            number: row.id.number,
            content: self.job.content.clone(),
            first_try: self.job.first_try,
        });
        let kept = maildir::keep(root.to_owned(), copies.collect()).await;
        let fates = kept.into_iter().map(|result| match result {
            Ok(path) => stored(&path),
            Err(trouble) => Setback::new(Stage::Prepare, trouble).fate(),
        });
        let fates = fates.collect();
        self.settle(fates, &hop.to_string().into(), None);
    }

    async fn send(
        &mut self,
        hop: &NextHop,
        server: &HopServer,
        implicit: bool,
        kept: &mut Option<Kept>,
    ) {
        // Each open recipient is asked once here; those that stay open line up behind the others.
        let mut left = self.open.len();
        while left > 0 {
            let mut current = match self.connection(hop, server, implicit, kept).await {
                Ok(current) => current,
                Err(setback) => {
                    return self.settle_alike(left, setback, &hop.to_string().into());
                }
            };
            let letter = self.letter(left.min(RECIPIENTS));
            let fates = current.connection.transact(&letter).await;
            let (label, tls) = (Arc::clone(&current.label), current.connection.tls());
            if current.connection.is_usable() {
                *kept = Some(current);
            }
            // `None`: the kept connection had gone stale, and a fresh one is opened.
            if let Some(fates) = fates {
                left -= fates.len();
                self.settle(fates, &label, Some(&tls));
            }
        }
    }

    fn letter(&self, count: usize) -> Letter<'a> {
        let (job, first) = (self.job, self.job.waiting.first());
        let rows = self.open.iter().take(count);
        let rows = rows.filter_map(|&place| job.waiting.get(place));
        Letter {
            sender: first.and_then(|row| row.sender.as_ref()),
            recipients: rows.map(|row| &row.recipient).collect(),
            content: job.content,
            smtputf8: first.is_some_and(|row| row.smtputf8),
            eight_bit: first.is_some_and(|row| row.eight_bit),
        }
    }

    /// The kept connection where it leads to this hop, or a fresh one.
    async fn connection(
        &self,
        hop: &NextHop,
        server: &HopServer,
        implicit: bool,
        kept: &mut Option<Kept>,
    ) -> Result<Kept, Setback> {
        match kept.take() {
            Some(mut kept) if kept.hop == *hop => {
                kept.connection.set_deadline(self.deadline());
                return Ok(kept);
            }
            Some(other) => other.close().await,
            None => {}
        }
        let connection = self.caller.open(server, implicit, self.deadline()).await?;
        Ok(Kept {
            hop: hop.clone(),
            label: hop.to_string().into(),
            connection,
            opened_at: Instant::now(),
        })
    }
}

fn stored(path: &Path) -> Fate {
    Fate {
        outcome: Outcome::Delivered(Answer {
            code: 250,
            enhanced: Some("2.0.0".into()),
            text: format!("kept as {}", path.display()),
        }),
        elsewhere: false,
        in_step: true,
        reached: true,
        handover: Handover::Mailbox,
    }
}

fn unasked(duration: Duration) -> Attempt {
    let words = "the room has no next hop that could be asked";
    Attempt {
        outcome: Setback::new(Stage::Prepare, Trouble::Ours(words.into()))
            .fate()
            .outcome,
        hop: None,
        tls: None,
        reached: false,
        handover: Handover::Relayed,
        duration,
    }
}
