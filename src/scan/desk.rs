//! Who asks the engines: one scan of one message at a time, with all engines and all rules.
//!
//! A scan is a task of its own: whoever waits for it may stop waiting, and it goes on. What breaks
//! down in it is a verdict too, and never a clean one. It decides nothing of what follows.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::engine::{Engine, Standing};
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
    wants_digests: AtomicBool,
    in_hand: Mutex<HashSet<Reference>>,
    /// Since when an engine has had trouble with a message.
    trouble: Mutex<HashMap<Reference, Instant>>,
    /// Rings when there is something to scan, or somebody to scan it.
    pub(super) wake: Arc<Notify>,
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
            wants_digests: AtomicBool::new(false),
            in_hand: Mutex::default(),
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

    pub fn standings(&self) -> Vec<Standing> {
        self.engines.iter().map(Engine::standing).collect()
    }

    pub(super) fn engines(&self) -> &[Engine] {
        &self.engines
    }

    /// Scans it in a task that goes on whether anybody waits for it or not, until it is dropped.
    pub fn begin(self: &Arc<Self>, job: Job) -> JoinSet<Outcome> {
        let desk = Arc::clone(self);
        let mut task = JoinSet::new();
        task.spawn(async move { desk.inspect(&job).await });
        task
    }

    /// Scans it, and nothing else; for commands.
    pub async fn once(self: &Arc<Self>, job: Job) -> Inspection {
        join_all(self.engines.iter().map(|it| it.identify(job.reference))).await;
        let mut task = self.begin(job);
        outcome(task.join_next().await).inspection
    }

    async fn inspect(&self, job: &Job) -> Outcome {
        let begun = Instant::now();
        let is_urgent = job.priority > Priority::ROUTINE;
        let specimen = self.taken_apart(&job.matter, is_urgent).await;
        let looked = self.looked_at(&specimen, is_urgent).await;
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
        let with_digests = self.wants_digests.load(Ordering::Relaxed);
        if specimen.parts.is_empty() && specimen.message.len() < LARGE {
            return rules::inspect(specimen, &rules, with_digests);
        }
        let _slot = self.looking.take(is_urgent, specimen.message.len()).await;
        let specimen = Arc::clone(specimen);
        elsewhere(move || rules::inspect(&specimen, &rules, with_digests)).await
    }

    /// Somebody blocks files by their digests, those within archives too.
    pub(super) fn want_digests(&self, wants: bool) {
        self.wants_digests.store(wants, Ordering::Relaxed);
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
            let had_it = matches!(&report.verdict, Verdict::Unscannable(why) if why.begun);
            had_it && engine.answered_for_others(since, reference)
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
            if matches!(&report.verdict, Verdict::Unscannable(why) if why.begun) {
                answers |= engine.answers(name).await;
            }
        }
        answers
    }
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

fn seen(specimen: &Specimen, members: Vec<SeenFile>) -> Seen {
    let file = |part: &Part| SeenFile {
        name: part.name.clone(),
        sha256: part.sha256().into_owned(),
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
    match joined {
        Some(Ok(outcome)) => outcome,
        _ => Outcome {
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
        },
    }
}
