//! The engine that is a program, run once for each message.

use std::sync::Arc;

use super::{Answering, Scanner, Specimen};
use crate::mail::{Identity, Unscannable, Verdict, Why};

/// `kind = "command"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The program and its arguments; never a shell.
    pub argv: Vec<String>,
}

#[derive(Debug)]
pub struct Command {
    settings: Settings,
}

impl Command {
    pub const fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Scanner for Command {
    fn scan(&self, _: Arc<Specimen>) -> Answering<Verdict> {
        let detail = format!("{:?} is not asked yet", self.settings.argv);
        Box::pin(async { Verdict::Unscannable(Unscannable::before(Why::Down, detail)) })
    }

    fn identify(&self) -> Answering<Result<Identity, String>> {
        Box::pin(async { Ok(Identity::default()) })
    }
}
