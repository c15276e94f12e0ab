//! How far a long command is, told at a terminal, and nowhere else.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often it is told.
const TELL: Duration = Duration::from_millis(200);

/// How far it is, on a terminal.
#[derive(Debug, Default)]
pub(super) struct Progress {
    told: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    pub(super) fn tell(&mut self, how_far: impl FnOnce() -> String) {
        let is_due = self.told.is_none_or(|it| it.elapsed() > TELL);
        if is_due && std::io::stderr().is_terminal() {
            self.told = Some(Instant::now());
            self.is_shown = true;
            let mut out = std::io::stderr().lock();
            drop(write!(out, "\r{}\x1b[K", how_far()).and_then(|()| out.flush()));
        }
    }

    /// The line is left empty.
    pub(super) fn end(&self) {
        if self.is_shown {
            drop(write!(std::io::stderr().lock(), "\r\x1b[K"));
        }
    }
}
