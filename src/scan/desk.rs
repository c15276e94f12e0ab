//! Who asks the engines: one scan of one message at a time, with all engines and all rules.
//!
//! A scan is a task of its own: whoever waits for it may stop waiting, and it goes on. What breaks
//! down in it is a verdict too, and never a clean one. It decides nothing of what follows.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::engine::{Engine, Standing, failure};
use super::late::Late;
use super::memory::Memory;
use super::rules::{self, Looked};
use super::slots::Slots;
use super::{Part, Settings, Specimen};
use crate::mail::{
    EngineReport, Inspection, Priority, Received, Reference, Seen, SeenFile, Unscannable, Verdict,
    Why,
};

/// Messages with which an engine had trouble, of which it is remembered since when.
const MOST_TROUBLE: usize = 10_000;

/// Octets of a message from which on to take it apart may hold up others.
const LARGE: usize = 512 * 1024;

/// A message to be scanned.
#[derive(Debug, Clone)]
pub struct Job {
    pub reference: Reference,
    pub matter: Matter,
    pub priority: Priority,
    /// An engine that is down may be tried with it.
    pub may_try: bool,
}

/// What is to be scanned.
#[derive(Debug, Clone)]
pub enum Matter {
    Message(Bytes),
    /// Taken apart already.
    Specimen(Arc<Specimen>),
}

impl Matter {
    pub(super) fn received(received: &Received) -> Self {
        match Specimen::received(received) {
            Some(specimen) => Self::Specimen(Arc::new(specimen)),
            None => Self::Message(received.content.bytes.clone()),
        }
    }
}

/// What a scan came to.
#[derive(Debug)]
pub struct Outcome {
    pub inspection: Inspection,
    /// It stalled or killed an engine, and the engine answered for others meanwhile.
    pub stalled: bool,
}

#[derive(Debug)]
pub struct Desk {
    engines: Vec<Engine>,
    slots: Slots,
    /// What is unpacked to be looked into takes memory and a processor: so many at once.
    looking: Slots,
    /// For what is decoded of messages, until their scans are over.
    memory: Memory,
    rules: Arc<rules::Settings>,
    in_hand: Mutex<HashSet<Reference>>,
    /// Scans that go on although their messages were refused for now.
    pub(super) late: Late,
    /// Since when an engine has had trouble with a message.
    trouble: Mutex<HashMap<Reference, Instant>>,
    /// Rings when there is something to scan, or somebody to scan it.
    pub(super) wake: Arc<Notify>,
}

/// A scan of which as much is done as could be done at once.
pub(super) enum Begun {
    Over(Outcome),
    UnderWay(JoinSet<Outcome>),
}

/// The right to scan a message; nobody else has it until this is dropped.
#[derive(Debug)]
pub struct Claim {
    desk: Arc<Desk>,
    reference: Reference,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.desk.in_hand().remove(&self.reference);
    }
}

impl Desk {
    pub fn new(settings: &Settings) -> Self {
        let wake = Arc::new(Notify::new());
        let engines = settings.engines.iter();
        Self {
            engines: engines
                .map(|it| Engine::new(it, Arc::clone(&wake)))
                .collect(),
            slots: Slots::new(settings.slots),
            looking: Slots::new(processors()),
            memory: Memory::new(settings.memory),
            rules: Arc::new(settings.rules.clone()),
            in_hand: Mutex::default(),
            late: Late::default(),
            trouble: Mutex::default(),
            wake,
        }
    }

    fn in_hand(&self) -> MutexGuard<'_, HashSet<Reference>> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, HashMap<Reference, Instant>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count_in_hand(&self) -> usize {
        self.in_hand().len()
    }

    /// `None`: it is being scanned.
    pub fn claim(self: &Arc<Self>, reference: Reference) -> Option<Claim> {
        self.in_hand().insert(reference).then(|| Claim {
            desk: Arc::clone(self),
            reference,
        })
    }

    /// `None`: every engine is up. Otherwise when those that are down may be tried.
    pub(super) fn trial_at(&self) -> Option<Instant> {
        self.engines.iter().filter_map(Engine::trial_at).max()
    }

    /// Each engine has the signatures still with which it said so.
    pub(super) fn would_say_so_still(&self, inspection: &Inspection) -> bool {
        let reports = inspection.reports.iter();
        reports.len() == self.engines.len()
            && self.engines.iter().zip(reports).all(|(engine, report)| {
                let now = engine.standing().identity;
                (&now.signatures, now.signatures_at)
                    == (&report.identity.signatures, report.identity.signatures_at)
            })
    }

    pub fn standings(&self) -> Vec<Standing> {
        self.engines.iter().map(Engine::standing).collect()
    }

    pub(super) fn engines(&self) -> &[Engine] {
        &self.engines
    }

    /// Scans it in a task that goes on whether anybody waits for it or not, until it is dropped.
    pub fn begin(self: &Arc<Self>, job: Job) -> JoinSet<Outcome> {
        let mut task = JoinSet::new();
        task.spawn(self.scan(job, None));
        task
    }

    /// Scans it at once as far as there is nothing to wait for, since to hand a small message over to
    /// a task costs more than to look at it.
    /// Otherwise `early` hears what the rules say before the engines are asked.
    pub(super) fn at_once(self: &Arc<Self>, job: Job, early: oneshot::Sender<Inspection>) -> Begun {
        let mut scan = self.scan(job, Some(early));
        match (&mut scan).now_or_never() {
            Some(outcome) => Begun::Over(outcome),
            None => {
                let mut task = JoinSet::new();
                task.spawn(scan);
                Begun::UnderWay(task)
            }
        }
    }

    fn scan(
        self: &Arc<Self>,
        job: Job,
        early: Option<oneshot::Sender<Inspection>>,
    ) -> BoxFuture<'static, Outcome> {
        let desk = Arc::clone(self);
        let scan = async move { desk.inspect(&job, early).await };
        let scan = AssertUnwindSafe(scan).catch_unwind();
        Box::pin(async move { scan.await.unwrap_or_else(|_| broken_down()) })
    }

    /// Scans it, and nothing else; for commands.
    pub async fn once(self: &Arc<Self>, job: Job) -> Inspection {
        join_all(self.engines.iter().map(|it| it.identify(job.reference))).await;
        let mut task = self.begin(job);
        outcome(task.join_next().await).inspection
    }

    async fn inspect(&self, job: &Job, early: Option<oneshot::Sender<Inspection>>) -> Outcome {
        let begun = Instant::now();
        let is_urgent = job.priority > Priority::ROUTINE;
        let specimen = self.taken_apart(&job.matter, is_urgent).await;
        let looked = self.looked_at(&specimen, is_urgent).await;
        // Without an engine the rules have the last word at once.
        if let Some(early) = early.filter(|_| !self.engines.is_empty()) {
            // Who waits for this may be gone.
            drop(early.send(by_rules_alone(&specimen, &looked, begun)));
        }
        let slot = self.slots.take(is_urgent, specimen.message.len()).await;
        let asked_at = Instant::now();
        let reports = self.ask_all(job, &specimen).await;
        drop(slot);
        let verdicts = reports.iter().map(EngineReport::told);
        let inspection = Inspection {
            verdict: verdicts.fold(Verdict::Clean, Verdict::and),
            seen: seen(&specimen, looked.members),
            findings: looked.findings,
            duration: begun.elapsed(),
            reports,
        };
        let stalled = self.has_stalled(job.reference, &inspection, asked_at);
        Outcome {
            inspection,
            stalled,
        }
    }

    /// With memory for what is decoded of it, which takes no more than the message in all likelihood. What
    /// takes more is given up, and waits for as much as it takes, so that nobody has some and waits for more.
    async fn taken_apart(&self, matter: &Matter, is_urgent: bool) -> Arc<Specimen> {
        let message = match matter {
            Matter::Specimen(specimen) => return Arc::clone(specimen),
            Matter::Message(message) => message,
        };
        let mut octets = message.len();
        loop {
            let mut share = self.memory.take(is_urgent, octets).await;
            let mut specimen = taken_apart(message.clone()).await;
            if specimen.decoded <= octets {
                share.shrink_to(specimen.decoded);
                specimen.share = Some(Arc::new(share));
                return Arc::new(specimen);
            }
            octets = specimen.decoded;
        }
    }

    /// By the built-in rules.
    async fn looked_at(&self, specimen: &Arc<Specimen>, is_urgent: bool) -> Looked {
        let rules = Arc::clone(&self.rules);
        if specimen.parts.is_empty() && specimen.message.len() < LARGE {
            return rules::inspect(specimen, &rules);
        }
        let _slot = self.looking.take(is_urgent, specimen.message.len()).await;
        let specimen = Arc::clone(specimen);
        elsewhere(move || rules::inspect(&specimen, &rules)).await
    }

    /// All at once: each must say clean.
    async fn ask_all(&self, job: &Job, specimen: &Arc<Specimen>) -> Vec<EngineReport> {
        let asked = self
            .engines
            .iter()
            .map(|engine| engine.scan(job.reference, Arc::clone(specimen), job.may_try));
        join_all(asked).await
    }

    /// Whether an engine that had this message and gave no verdict has answered for others since the
    /// trouble with it began.
    fn has_stalled(&self, reference: Reference, inspection: &Inspection, begun: Instant) -> bool {
        let Verdict::Unscannable(_) = &inspection.verdict else {
            self.trouble().remove(&reference);
            return false;
        };
        let since = {
            let mut trouble = self.trouble();
            let since = trouble.get(&reference).copied().unwrap_or(begun);
            if trouble.len() < MOST_TROUBLE {
                trouble.insert(reference, begun);
            }
            since
        };
        let mut both = self.engines.iter().zip(&inspection.reports);
        both.any(|(engine, report)| {
            has_failed_with_it(&report.verdict) && engine.answered_for_others(since, reference)
        })
    }

    /// After trouble with a message: does an engine that had it answer for another one?
    pub(super) async fn answers_for_others(
        &self,
        inspection: &Inspection,
        name: Reference,
    ) -> bool {
        let mut answers = false;
        for (engine, report) in self.engines.iter().zip(&inspection.reports) {
            if has_failed_with_it(&report.verdict) {
                answers |= engine.answers(name).await;
            }
        }
        answers
    }
}

/// It had at least a part of the message, and gave no answer.
fn has_failed_with_it(verdict: &Verdict) -> bool {
    failure(verdict).is_some_and(|why| why.begun)
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Taking apart a large message takes a while: others go on meanwhile.
async fn taken_apart(message: Bytes) -> Specimen {
    match message.len() < LARGE {
        true => Specimen::of(message),
        false => elsewhere(move || Specimen::of(message)).await,
    }
}

/// What takes a while is done where it holds nobody up.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    match done.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(done) => done,
        // A panic in there is one here: it makes nothing clean.
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Before any engine was asked.
fn by_rules_alone(specimen: &Specimen, looked: &Looked, begun: Instant) -> Inspection {
    let not_asked = Unscannable::before(Why::Timeout, "no engine has answered yet");
    Inspection {
        verdict: Verdict::Unscannable(not_asked),
        findings: looked.findings.clone(),
        reports: Vec::new(),
        duration: begun.elapsed(),
        seen: seen(specimen, looked.members.clone()),
    }
}

fn seen(specimen: &Specimen, members: Vec<SeenFile>) -> Seen {
    let file = |part: &Part| SeenFile {
        name: part.name.clone(),
        sha256: part.sha256().into_owned(),
        member: None,
    };
    Seen {
        authors: specimen.authors.clone(),
        subject: specimen.subject.clone(),
        files: specimen.parts.iter().map(file).chain(members).collect(),
        has_attachments: !specimen.parts.is_empty() || !specimen.gaps.is_empty(),
    }
}

/// The outcome of a scan; that it broke down is one too.
pub(super) fn outcome(joined: Option<Result<Outcome, tokio::task::JoinError>>) -> Outcome {
    joined.and_then(Result::ok).unwrap_or_else(broken_down)
}

fn broken_down() -> Outcome {
    Outcome {
        inspection: Inspection {
            verdict: Verdict::Unscannable(Unscannable::during(
                Why::Broken,
                "the scan broke down: our fault",
            )),
            findings: Vec::new(),
            reports: Vec::new(),
            duration: std::time::Duration::ZERO,
            seen: Seen::UNKNOWN,
        },
        stalled: false,
    }
}
