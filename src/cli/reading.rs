//! Somebody reads the log: what they may see, and the row that says so.
//!
//! The row is begun before the first line is shown, and costs the answer no time; what a reason reveals waits
//! until the row is written. Where it cannot be written, what is masked is shown all the same, with a
//! complaint; nothing is revealed.

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
    shown: bool,
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
        Self {
            store: Arc::clone(store),
            shown: reason.is_some() || mask.shows(is_script),
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
        self.shown
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
    pub(super) async fn waiting(&self, waiting: &[Waiting]) -> Result<Vec<Waiting>, StoreError> {
        let told = waiting.iter().map(|it| {
            (
                it.id.reference,
                it.last_reply.as_deref().unwrap_or_default(),
            )
        });
        let veils = Veils::of(&self.store, self.is_shown(), told).await?;
        Ok(waiting.iter().map(|it| veils.waiting(it)).collect())
    }

    /// Why they wait, as it is shown: by the words of one of each group, since all of them say the same.
    pub(super) async fn veil_groups(&self, groups: &mut [WaitingGroup]) -> Result<(), StoreError> {
        let told = |it: &&mut WaitingGroup| !self.shown && !it.reason.is_empty();
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
    ) -> Result<Vec<CaughtMessage>, StoreError> {
        let told = caught.iter().map(|it| (it.reference, "found"));
        let veils = Veils::of(&self.store, self.is_shown(), told).await?;
        Ok(caught.iter().map(|it| veils.caught(it)).collect())
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
    pub(super) async fn veil(&self, reference: Reference) -> Result<Veil, StoreError> {
        let told = std::iter::once((reference, "found"));
        Ok(Veils::of(&self.store, self.is_shown(), told)
            .await?
            .veil(reference))
    }

    /// A listing of what waits or was caught is no look at the log, unless it reveals something.
    pub(super) async fn announce_if_revealing(&self) -> Result<(), Failure> {
        match self.reveals() {
            true => self.announce().await,
            false => Ok(()),
        }
    }

    /// Shows it, and notes it.
    pub(super) async fn show(
        &self,
        rows: usize,
        print: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let note = self.note(Some(rows as u64));
        if self.reveals() {
            note.await.map_err(|fault| refused(&fault))?;
            return print();
        }
        let printed = print();
        complain(note.await.err());
        printed
    }

    /// Notes it before anything is shown.
    pub(super) async fn announce(&self) -> Result<(), Failure> {
        match (self.note(None).await, self.reveals()) {
            (Err(fault), true) => Err(refused(&fault)),
            (noted, _) => {
                complain(noted.err());
                Ok(())
            }
        }
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
