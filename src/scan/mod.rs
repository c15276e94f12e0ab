//! Message → verdict: the engines, the built-in rules, and who asks them when.
//!
//! [`Scanner`] is what an engine implements: a file each, and one `match` in [`engine`]. What an
//! engine answers is a [`Verdict`], never a `Result`: what went wrong is a verdict too, and it is
//! never clean. An engine sees one message at a time, decides nothing about mail, and keeps nothing
//! of it. It may be given up at any moment, by dropping its future; whatever it started ends with it.

pub mod clamd;
pub mod command;
mod desk;
mod engine;
mod gate;
pub mod icap;
pub mod identity;
mod inline;
mod late;
pub mod measures;
mod memory;
pub mod rules;
mod said;
mod search;
mod slots;
mod specimen;
mod test_files;
mod watch;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::mail::{Identity, OnFailure, Verdict};

pub use desk::{Desk, Job, Matter};
pub use engine::Standing;
pub use gate::Gate;
pub use inline::{Answer, Unfinished};
pub use memory::Share;
pub use specimen::{Part, Specimen};
pub use watch::{Asked, ask, blindness, watch};

/// What is being found out.
pub type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One antivirus engine. How long it may take is its caller's to say.
pub trait Scanner: Send + Sync + fmt::Debug {
    /// Looks at the whole message, and at what is attached to it where that helps.
    fn scan(&self, specimen: Arc<Specimen>) -> Answering<Verdict>;
    /// Asks the engine who it is. `Err`: in words, why it did not say. Many do not say everything,
    /// and a few say nothing, and scan all the same.
    fn identify(&self) -> Answering<Result<Identity, String>>;
}

/// `[[scan.engine]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSettings {
    /// Its name in the log; its kind, where none is given.
    pub name: String,
    /// For one message.
    pub timeout: Duration,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Clamd(clamd::Settings),
    Icap(icap::Settings),
    Command(command::Settings),
}

impl Kind {
    /// The word for it in the settings.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Clamd(_) => "clamd",
            Self::Icap(_) => "icap",
            Self::Command(_) => "command",
        }
    }
}

/// The engine that the settings describe. It connects to nobody yet.
pub fn engine(settings: &EngineSettings) -> Arc<dyn Scanner> {
    match &settings.kind {
        Kind::Clamd(settings) => Arc::new(clamd::Clamd::new(settings.clone())),
        Kind::Icap(settings) => Arc::new(icap::Icap::new(settings.clone())),
        Kind::Command(settings) => Arc::new(command::Command::new(settings.clone())),
    }
}

/// `[scan]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a sender waits for the verdict.
    pub inline_deadline: Duration,
    pub on_failure: OnFailure,
    /// Messages that are scanned at once; urgent and small ones have a few places more.
    pub slots: usize,
    /// Octets that are decoded at once of all messages, for their scans.
    pub memory: usize,
    /// How long what was caught is kept.
    pub quarantine: Duration,
    /// Signatures older than this are an alarm.
    pub signature_max_age: Duration,
    /// How often each engine has to find the test file of EICAR.
    pub self_test: Duration,
    pub rules: rules::Settings,
    /// All of them must say clean. None: only the built-in rules scan.
    pub engines: Vec<EngineSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            inline_deadline: Duration::from_secs(10),
            on_failure: OnFailure::Hold,
            slots: 16,
            memory: 256 << 20,
            quarantine: Duration::from_secs(30 * 86_400),
            signature_max_age: Duration::from_secs(48 * 3600),
            self_test: Duration::from_secs(3600),
            rules: rules::Settings::default(),
            engines: Vec::new(),
        }
    }
}
