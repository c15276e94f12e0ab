//! The engine behind an ICAP service (RFC 3507).

use std::sync::Arc;

use super::{Answering, Scanner, Specimen};
use crate::mail::{Identity, Unscannable, Verdict, Why};

/// `kind = "icap"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `icap://host:port/service`
    pub url: String,
}

#[derive(Debug)]
pub struct Icap {
    settings: Settings,
}

impl Icap {
    pub const fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Scanner for Icap {
    fn scan(&self, _: Arc<Specimen>) -> Answering<Verdict> {
        let detail = format!("{} is not asked yet", self.settings.url);
        Box::pin(async { Verdict::Unscannable(Unscannable::before(Why::Down, detail)) })
    }

    fn identify(&self) -> Answering<Result<Identity, String>> {
        Box::pin(async { Ok(Identity::default()) })
    }
}
