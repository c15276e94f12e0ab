//! Somebody reads the log: what they may see, and the row that says so.
//!
//! The row is begun before the first line is shown, and costs the answer no time; what a reason reveals, or a
//! script is shown that people are not, waits until the row is written. Where it cannot be written, what is
//! masked is shown all the same, to scripts too, with a complaint; nothing is revealed.

use std::cell::Cell;
use std::sync::Arc;

use super::{Failure, operator, print};
use crate::mail::{Reference, Timestamp, Veil, reply, veil};
use crate::ops::privacy::access::{self, Reading};
use crate::ops::privacy::{Mask, Veils};
use crate::spool::store::{
    CaughtMessage, Hunted, LogRow, LoggedEvent, Pending, Store, StoreError, Waiting, WaitingGroup,
};

/// Who reads, and what is shown.
#[derive(Debug)]
pub(super) struct Reader {
    store: Arc<dyn Store>,
    reading: Reading,
    /// Somebody has to give a reason for what this one is shown.
    is_privileged: bool,
    shown: Cell<bool>,
    /// The row is written, or was tried to be.
    is_noted: Cell<bool>,
}

impl Reader {
    /// `query`: what was asked for, as typed; `is_script`: it is printed as JSON, or for a file.
    pub(super) fn new(
        store: &Arc<dyn Store>,
        mask: Mask,
        is_script: bool,
        command: &'static str,
        query: String,
        reason: Option<&str>,
    ) -> Self {
        let shown = reason.is_some() || mask.shows(is_script);
        Self {
            store: Arc::clone(store),
            is_privileged: reason.is_some() || shown && !mask.shows(false),
            shown: Cell::new(shown),
            is_noted: Cell::new(false),
            reading: Reading {
                by: operator(),
                command,
                query,
                reason: reason.map(str::to_owned),
                rows: None,
            },
        }
    }

    /// Whether subjects and the names of files are.
    pub(super) const fn is_shown(&self) -> bool {
        self.shown.get()
    }

    pub(super) const fn reveals(&self) -> bool {
        self.reading.reason.is_some()
    }

    pub(super) async fn of_rows(&self, rows: &[LogRow]) -> Result<Veils, StoreError> {
        let told = rows
            .iter()
            .map(|it| (it.reference, it.reply.as_deref().unwrap_or_default()));
        Veils::of(&self.store, self.is_shown(), told).await
    }

    pub(super) async fn of_events(&self, events: &[LoggedEvent]) -> Result<Veils, StoreError> {
        let told = events.iter().map(|it| {
            let is_of_files = !it.details.malware.is_empty();
            (it.reference, if is_of_files { "found" } else { "" })
        });
        Veils::of(&self.store, self.is_shown(), told).await
    }

    /// What waits, as it is shown.
    pub(super) async fn waiting(&self, waiting: &[Waiting]) -> Result<Vec<Waiting>, Failure> {
        let told = waiting.iter().map(|it| {
            (
                it.id.reference,
                it.last_reply.as_deref().unwrap_or_default(),
            )
        });
        let veils = Veils::of(&self.store, !self.has_to_know(), told).await?;
        let masked: Vec<Waiting> = waiting.iter().map(|it| veils.waiting(it)).collect();
        let said = |list: &[Waiting]| -> Vec<Option<String>> {
            list.iter().map(|it| it.last_reply.clone()).collect()
        };
        self.tell_if(said(waiting) != said(&masked)).await?;
        Ok(self.either(waiting, masked))
    }

    /// Why they wait, as it is shown: by the words of one of each group, since all of them say the same.
    pub(super) async fn veil_groups(&self, groups: &mut [WaitingGroup]) -> Result<(), Failure> {
        let told = |it: &&mut WaitingGroup| !self.is_shown() && !it.reason.is_empty();
        for group in groups.iter_mut().filter(told) {
            let first = self.store.waiting(vec![group.first]).await?;
            let first = self.waiting(&first).await?;
            let said = first.iter().find_map(|it| it.last_reply.as_deref());
            // Nobody knows any more what was said of it.
            group.reason = said.map_or_else(|| veil::MASK.to_owned(), reply::gist);
        }
        Ok(())
    }

    /// What was caught, as it is shown.
    pub(super) async fn caught(
        &self,
        caught: &[CaughtMessage],
    ) -> Result<Vec<CaughtMessage>, Failure> {
        let told = caught.iter().map(|it| (it.reference, "found"));
        let veils = Veils::of(&self.store, !self.has_to_know(), told).await?;
        let masked: Vec<CaughtMessage> = caught.iter().map(|it| veils.caught(it)).collect();
        self.tell_if(masked != caught).await?;
        Ok(self.either(caught, masked))
    }

    /// Which files were found, as it is shown.
    pub(super) async fn veil_hunted(&self, found: &mut [Hunted]) -> Result<(), StoreError> {
        let told = found.iter().map(|it| (it.reference, ""));
        let veils = Veils::of(&self.store, self.is_shown(), told).await?;
        for one in found {
            let veil = veils.veil(one.reference);
            let name = |it: &Option<String>| it.as_deref().map(|it| veil.name(it));
            one.attachment = name(&one.attachment);
            one.within = name(&one.within);
            one.malware = one.malware.as_deref().map(|it| veil.finding(it));
        }
        Ok(())
    }

    /// What is inside and around a message, as it is shown.
    pub(super) async fn veil(&self, reference: Reference) -> Result<Veil, Failure> {
        let told = std::iter::once((reference, "found"));
        Ok(Veils::of(&self.store, self.is_shown(), told)
            .await?
            .veil(reference))
    }

    /// Whether it matters what would be masked for others.
    const fn has_to_know(&self) -> bool {
        self.is_privileged || !self.is_shown()
    }

    fn either<T: Clone>(&self, bare: &[T], masked: Vec<T>) -> Vec<T> {
        match self.is_shown() {
            true => bare.to_vec(),
            false => masked,
        }
    }

    /// A listing of what waits or was caught is no look at the log, unless it shows what is masked for others.
    async fn tell_if(&self, shows: bool) -> Result<(), Failure> {
        match shows {
            true => self.settle(None).await,
            false => Ok(()),
        }
    }

    /// The same, where a reason was given.
    pub(super) async fn announce_if_revealing(&self) -> Result<(), Failure> {
        self.tell_if(self.reveals()).await
    }

    /// Before anything is veiled: what is masked for others is shown once the row is written. Where that cannot
    /// be, whoever gave a reason is shown nothing, and a script what people are.
    pub(super) async fn settle(&self, rows: Option<usize>) -> Result<(), Failure> {
        if !self.is_privileged || self.is_noted.replace(true) {
            return Ok(());
        }
        match self.note(rows.map(|it| it as u64)).await {
            Ok(_) => Ok(()),
            Err(fault) if self.reveals() => Err(refused(&fault)),
            Err(fault) => {
                self.shown.set(false);
                complain(Some(fault));
                Ok(())
            }
        }
    }

    /// Shows it, and notes it, unless that is done.
    pub(super) async fn show(
        &self,
        rows: usize,
        print: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.settle(Some(rows)).await?;
        let note = (!self.is_noted.get()).then(|| self.note(Some(rows as u64)));
        let printed = print();
        if let Some(note) = note {
            complain(note.await.err());
        }
        printed
    }

    /// Notes it before anything is shown.
    pub(super) async fn announce(&self) -> Result<(), Failure> {
        self.settle(None).await?;
        if !self.is_noted.replace(true) {
            complain(self.note(None).await.err());
        }
        Ok(())
    }

    /// What was announced is done: so many rows there were.
    pub(super) async fn sum_up(&self, rows: usize) {
        complain(self.note(Some(rows as u64)).await.err());
    }

    fn note(&self, rows: Option<u64>) -> Pending<Reference> {
        let reading = Reading {
            rows,
            ..self.reading.clone()
        };
        access::note(&self.store, &reading, Timestamp::now())
    }
}

fn refused(fault: &StoreError) -> Failure {
    Failure::new(format!(
        "nothing is shown, since it cannot be logged that somebody saw it ({fault}); without --reason what is \
         masked can be seen"
    ))
}

fn complain(fault: Option<StoreError>) {
    if let Some(fault) = fault {
        print::complaint(&format!(
            "warning: that the log was read could not be logged: {fault}"
        ));
    }
}
