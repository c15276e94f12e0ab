//! The engine behind a clamd socket (clamd(8), INSTREAM).

use std::sync::Arc;

use super::{Answering, Scanner, Specimen};
use crate::mail::{Identity, Unscannable, Verdict, Why};

/// `kind = "clamd"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A socket path, or host:port.
    pub address: String,
}

#[derive(Debug)]
pub struct Clamd {
    settings: Settings,
}

impl Clamd {
    pub const fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Scanner for Clamd {
    fn scan(&self, _: Arc<Specimen>) -> Answering<Verdict> {
        let detail = format!("{} is not asked yet", self.settings.address);
        Box::pin(async { Verdict::Unscannable(Unscannable::before(Why::Down, detail)) })
    }

    fn identify(&self) -> Answering<Result<Identity, String>> {
        Box::pin(async { Ok(Identity::default()) })
    }
}
