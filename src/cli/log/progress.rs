//! How far a long command is, told at a terminal, and nowhere else.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often it is told.
const TELL: Duration = Duration::from_millis(200);
/// To the beginning of the line, and nothing in it.
const CLEAR: &str = "\r\x1b[K";

/// How far it is, in a line that is written over, and gone in the end.
#[derive(Debug)]
pub(super) struct Progress {
    is_on: bool,
    told: Option<Instant>,
}

impl Progress {
    /// `is_alone`: nothing else comes to the terminal meanwhile.
    pub(super) fn new(is_alone: bool) -> Self {
        Self {
            is_on: is_alone && std::io::stderr().is_terminal(),
            told: None,
        }
    }

    pub(super) fn tell(&mut self, how_far: impl FnOnce() -> String) {
        let is_due = self.told.is_none_or(|it| it.elapsed() > TELL);
        if is_due && self.is_on {
            self.told = Some(Instant::now());
            write(&format!("{CLEAR}{}", how_far()));
        }
    }

    /// What it came to, which stays.
    pub(super) fn end(mut self, done: impl Display) {
        if self.is_on {
            self.told = None;
            write(&format!("{CLEAR}{done}\n"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.told.is_some() {
            write(CLEAR);
        }
    }
}

/// Where that fails, nobody is there to be told.
fn write(text: &str) {
    let mut out = std::io::stderr().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}
