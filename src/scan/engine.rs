//! One engine as the relay uses it: its deadline, its health, its times.
//!
//! An engine that does not answer is given up for a while, so that nobody waits for it in vain (a
//! circuit breaker): scans of it are answered `down` at once, but for a trial every few seconds, and
//! the first answer to one makes it an engine like any other again. One message alone never speaks
//! against it, unless nothing can be reached at all. What it says of itself is asked for now and
//! then. It decides nothing about mail, and never fails.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::{EngineSettings, Scanner, Specimen, engine};
use crate::mail::{EngineReport, Identity, Reference, Unscannable, Verdict, Why};

/// Messages in a row, each another one, that got no answer, before the engine counts as down.
const MOST_FAILURES: usize = 2;
/// The wait before a trial: doubled from the first to the longest.
const FIRST_TRIAL: Duration = Duration::from_secs(1);
const LONGEST_TRIAL: Duration = Duration::from_secs(5);
/// Times of so many scans are remembered.
const TIMES: usize = 1000;
/// What an engine has on top of its deadline for each MiB, and for each attachment.
const PER_MIB: Duration = Duration::from_secs(1);
const PER_PART: Duration = Duration::from_millis(10);
/// What an engine is asked in order to see whether it answers for others.
pub(super) const HARMLESS: &[u8] = b"Subject: Do you answer?\r\n\r\nThis message is harmless.\r\n";
/// A scan that takes longer than this when the engine comes back is lost.
const LOST: Duration = Duration::from_secs(5);
/// For an answer to who it is, and to whether it answers.
const IDENTIFY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Engine {
    name: String,
    kind: &'static str,
    scanner: Arc<dyn Scanner>,
    timeout: Duration,
    health: Mutex<Health>,
    /// Rings when it answers again.
    recovered: Arc<Notify>,
    /// Counts how often it came back.
    returns: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Health {
    identity: Identity,
    /// Messages in a row that got no answer.
    failed: Vec<Reference>,
    down: Option<Down>,
    /// The last answers, each to another message than the one after it.
    answered: VecDeque<(Instant, Reference)>,
    times: VecDeque<Duration>,
}

#[derive(Debug)]
struct Down {
    since: Instant,
    why: String,
    trial_at: Instant,
    wait: Duration,
}

/// How an engine stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub name: String,
    pub kind: &'static str,
    /// Why it is down, and for how long.
    pub down: Option<(String, Duration)>,
    pub identity: Identity,
    pub p50: Option<Duration>,
    pub p99: Option<Duration>,
}

impl Engine {
    pub(super) fn new(settings: &EngineSettings, recovered: Arc<Notify>) -> Self {
        Self {
            name: settings.name.clone(),
            kind: settings.kind.word(),
            scanner: engine(settings),
            timeout: settings.timeout,
            health: Mutex::default(),
            recovered,
            returns: watch::Sender::new(0),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn kind(&self) -> &'static str {
        self.kind
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `may_try`: it may be asked although it is down, if its time has come.
    pub(super) async fn scan(
        &self,
        reference: Reference,
        specimen: Arc<Specimen>,
        may_try: bool,
    ) -> EngineReport {
        let begun = Instant::now();
        let verdict = match self.refusal(may_try) {
            Some(why) => Verdict::Unscannable(why),
            None => {
                let verdict = self.ask(specimen).await;
                self.note(reference, &verdict, begun);
                verdict
            }
        };
        EngineReport {
            engine: self.name.clone(),
            verdict,
            identity: self.health().identity.clone(),
            duration: begun.elapsed(),
        }
    }

    async fn ask(&self, specimen: Arc<Specimen>) -> Verdict {
        let patience = self.timeout + more_patience(&specimen);
        let has_parts = !specimen.parts.is_empty();
        let given_up = |why| Verdict::Unscannable(Unscannable::during(Why::Timeout, why));
        let verdict = tokio::select! {
            biased;
            verdict = self.scanner.scan(specimen) => verdict,
            () = sleep(patience) => given_up("it did not answer in time"),
            () = self.returned() => given_up("it was down before it had answered"),
        };
        match has_parts {
            true => verdict.in_some_part(),
            false => verdict,
        }
    }

    /// What it says to this, without any bearing on its health and its times.
    pub(super) async fn probe(&self, specimen: Specimen) -> Verdict {
        self.ask(Arc::new(specimen)).await
    }

    /// Ready when it comes back from being down, and has had time to answer all the same: what it was
    /// given before that is lost with it.
    async fn returned(&self) {
        let mut returns = self.returns.subscribe();
        sleep(LOST).await;
        if returns.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Whether it scans another message, a small one.
    pub(super) async fn answers(&self, name: Reference) -> bool {
        let specimen = Arc::new(Specimen::whole(Bytes::from_static(HARMLESS)));
        let begun = Instant::now();
        let answer = timeout(IDENTIFY, self.scanner.scan(specimen)).await;
        let verdict = answer.unwrap_or_else(|_| {
            let gap = Unscannable::during(Why::Timeout, "it did not answer in time");
            Verdict::Unscannable(gap)
        });
        self.note(name, &verdict, begun);
        failure(&verdict).is_none()
    }

    /// While it is down nobody waits for it, but for a trial.
    fn refusal(&self, may_try: bool) -> Option<Unscannable> {
        let now = Instant::now();
        let mut health = self.health();
        let down = health.down.as_mut()?;
        if may_try && down.trial_at <= now {
            down.wait = (down.wait * 2).min(LONGEST_TRIAL);
            down.trial_at = now + down.wait;
            return None;
        }
        // The same words as of the message with which that was seen.
        Some(Unscannable::before(Why::Down, down.why.clone()))
    }

    fn note(&self, reference: Reference, verdict: &Verdict, begun: Instant) {
        let now = Instant::now();
        let mut health = self.health();
        let Some(why) = failure(verdict) else {
            health.failed.clear();
            let is_other = health.answered.back().is_none_or(|it| it.1 != reference);
            match health.answered.back_mut() {
                Some(last) if !is_other => last.0 = now,
                _ => health.answered.push_back((now, reference)),
            }
            if health.answered.len() > 2 {
                health.answered.pop_front();
            }
            if health.times.len() == TIMES {
                health.times.pop_front();
            }
            health.times.push_back(begun.elapsed());
            self.is_up(&mut health);
            return;
        };
        if !health.failed.contains(&reference) {
            health.failed.push(reference);
        }
        if health.down.is_some() || (why.begun && health.failed.len() < MOST_FAILURES) {
            return;
        }
        tracing::error!(engine = self.name, %why, "the engine is down; what cannot be scanned waits");
        health.down = Some(Down {
            since: now,
            why: why.reason().to_owned(),
            trial_at: now + FIRST_TRIAL,
            wait: FIRST_TRIAL,
        });
    }

    fn is_up(&self, health: &mut Health) {
        if let Some(down) = health.down.take() {
            let seconds = down.since.elapsed().as_secs();
            tracing::warn!(engine = self.name, seconds, "the engine answers again");
            self.recovered.notify_one();
            self.returns.send_modify(|count| *count += 1);
        }
    }

    /// Whether it has answered for another message since then.
    pub(super) fn answered_for_others(&self, since: Instant, but: Reference) -> bool {
        let health = self.health();
        let mut answered = health.answered.iter();
        answered.any(|(at, reference)| *at >= since && *reference != but)
    }

    /// `None`: it is up. Otherwise when it may be tried next.
    pub(super) fn trial_at(&self) -> Option<Instant> {
        self.health().down.as_ref().map(|it| it.trial_at)
    }

    /// Asks who it is; an engine that is down and says so is asked for a scan too. Whether it said it.
    pub(super) async fn identify(&self, name: Reference) -> bool {
        match timeout(IDENTIFY, self.scanner.identify()).await {
            Ok(Ok(identity)) => {
                let is_down = {
                    let mut health = self.health();
                    health.identity = identity;
                    health.down.is_some()
                };
                if is_down {
                    self.answers(name).await;
                }
                return true;
            }
            Ok(Err(why)) => {
                tracing::debug!(engine = self.name, why, "the engine does not say who it is");
            }
            Err(_) => tracing::debug!(engine = self.name, "the engine does not say who it is"),
        }
        false
    }

    pub(super) fn standing(&self) -> Standing {
        let health = self.health();
        let mut times: Vec<Duration> = health.times.iter().copied().collect();
        times.sort_unstable();
        let percentile = |percent: usize| {
            times
                .get((times.len() * percent / 100).min(times.len().saturating_sub(1)))
                .copied()
        };
        let down = health.down.as_ref();
        Standing {
            name: self.name.clone(),
            kind: self.kind,
            down: down.map(|it| (it.why.clone(), it.since.elapsed())),
            identity: health.identity.clone(),
            p50: percentile(50),
            p99: percentile(99),
        }
    }
}

fn more_patience(specimen: &Specimen) -> Duration {
    let times = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let for_size = PER_MIB.saturating_mul(times(specimen.message.len() >> 20));
    for_size + PER_PART.saturating_mul(times(specimen.parts.len()))
}

/// Why it gave no answer; `None` where it did. That something is too large, or locked, is an answer.
pub(super) fn failure(verdict: &Verdict) -> Option<&Unscannable> {
    match verdict {
        Verdict::Unscannable(why) => (!why.why.is_answer()).then_some(why),
        Verdict::Clean | Verdict::Infected(_) => None,
    }
}
