//! A connection opened as for mail, told step by step, and closed without any.
//!
//! It goes the very way that delivery goes, with the same trust, certificates and times, but for one thing:
//! nobody logs in, since who only looks is not to use up tries or show a password. Decides nothing, and
//! fails with what an attempt would be put off for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Call, Caller};
use crate::delivery::outcome::Trouble;

/// One step of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `connect`, `greeting`, `EHLO` …
    pub name: &'static str,
    pub took: Duration,
    /// The hop's own, or ours.
    pub words: String,
}

/// How far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub steps: Vec<Step>,
    /// Why mail would have to wait; `None`: it is ready.
    pub trouble: Option<String>,
}

/// The steps so far, and when the last of them was done.
#[derive(Debug)]
pub(super) struct Journal(Mutex<(Instant, Vec<Step>)>);

impl Journal {
    fn begin() -> Self {
        Self(Mutex::new((Instant::now(), Vec::new())))
    }

    pub(super) fn note(&self, name: &'static str, words: String) {
        let (last, steps) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let took = last.elapsed();
        *last = Instant::now();
        steps.push(Step { name, took, words });
    }

    fn steps(self) -> Vec<Step> {
        let (_, steps) = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        steps
    }
}

impl Caller {
    /// Opens a connection, and says QUIT as soon as mail could be sent.
    pub async fn probe(&self, call: Call<'_>, deadline: Instant) -> Probe {
        let journal = Journal::begin();
        let opened = self.open_telling(call, false, deadline, Some(&journal));
        let trouble = match opened.await {
            Ok(connection) => {
                let answer = connection.part().await;
                let words = answer.map(|it| it.into_answer().to_string());
                journal.note("QUIT", words.unwrap_or_else(|| "no answer".to_owned()));
                None
            }
            Err(setback) => Some(match &setback.trouble {
                Trouble::Said(answer) => format!("{answer} ({})", setback.stage),
                _ => setback.words(),
            }),
        };
        Probe {
            steps: journal.steps(),
            trouble,
        }
    }
}
