//! Evidence of the delivery log: heads are signed, the log is looked through, and proofs are made.
//!
//! The files beside the store are here (`files`), and the doing: [`sign`], [`verify`], [`case`]. What any of
//! it means is decided in `evidence`. Never changes a row of the log. A key or a file that cannot be used is one
//! clear line; what is wrong with the log is no failure but a list of findings.

mod case;
mod files;
mod sign;
mod verify;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::spool::store::StoreError;

pub use case::case;
pub use files::Files;
pub use sign::{Signer, sign_at_intervals};
pub use verify::{Report, verify};

/// How the relay signs its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub sign_every: Duration,
    /// The relay's key; its public half is beside it, with `.pub` at the end of its name.
    pub key: PathBuf,
    /// The heads, once more.
    pub heads: PathBuf,
}

impl Settings {
    const SIGN_EVERY: Duration = Duration::from_secs(60);

    /// As far as nothing else is said, for the store in this file.
    pub fn beside(store: &Path) -> Self {
        let beside = |ending: &str| {
            let mut name = store.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        Self {
            sign_every: Self::SIGN_EVERY,
            key: beside("-key"),
            heads: beside("-heads"),
        }
    }
}

/// Why something could not be signed, read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    Store(StoreError),
    /// Of a file, or of what stands in it; ready to be read.
    File(String),
    /// The log is not as it was written, as far as that was noticed.
    Log(String),
}

const LOOK: &str = "see what was done with ilbud log verify";

fn not_as_written(sequence: u64) -> Fault {
    Fault::Log(format!("row {sequence} is not as it was written; {LOOK}"))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(fault) => fault.fmt(f),
            Self::File(text) | Self::Log(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Fault {}

impl From<StoreError> for Fault {
    fn from(fault: StoreError) -> Self {
        Self::Store(fault)
    }
}
