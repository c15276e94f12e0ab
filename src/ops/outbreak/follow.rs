//! What is in force acts on what waits already: messages that it may concern are scanned again.
//!
//! It decides whom a measure may concern, by what the log knows and the header says; the scan decides what
//! is caught or held, and nothing is delivered or refused here. It never fails for good: what cannot be
//! read or written is tried again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::rescan::{Wish, scan_again, waiting};
use crate::mail::headers;
use crate::mail::measure::{Aim, Measure};
use crate::mail::{EventKind, Reference, RoomId, State, Timestamp};
use crate::ops;
use crate::scan::measures::{Appearance, File, Measures};
use crate::spool::store::{Standing, Store, StoreError};

/// Messages that are looked at together.
const PORTION: usize = 500;
/// How long measures that could not be acted on are left alone.
const READ_AGAIN: Duration = Duration::from_secs(2);
/// By then a running relay knows of what another process has opened.
const LEARNT: Duration = Duration::from_secs(10);
/// As much of a message as its header may take.
const HEADER: usize = 256 * 1024;

/// Makes what is opened act on what waits already, for as long as the relay lives: what it concerns is
/// scanned again, and then caught or held. What cannot be read or written is tried again.
pub async fn follow(store: Arc<dyn Store>, mut measures: watch::Receiver<Arc<Measures>>) {
    let mut known: HashSet<u64> = HashSet::new();
    measures.mark_changed();
    while measures.changed().await.is_ok() {
        let current = Arc::clone(&measures.borrow_and_update());
        let now = Timestamp::now();
        for measure in current.rows().iter().filter(|it| it.is_in_force(now)) {
            if measure.aim.is_exception() || known.contains(&measure.number) {
                continue;
            }
            match act(&store, measure, now).await {
                Ok(()) => drop(known.insert(measure.number)),
                Err(fault) => {
                    tracing::error!(%fault, measure = measure.number, "what waits already cannot be scanned again yet");
                    tokio::time::sleep(READ_AGAIN).await;
                    measures.mark_changed();
                }
            }
        }
    }
}

/// What was opened while no relay ran concerns what waits: ready when what it concerns waits for its scan.
/// What cannot be read or written is tried again.
pub async fn heed(store: Arc<dyn Store>) {
    while let Err(fault) = heed_all(&store).await {
        tracing::error!(%fault, "nothing is delivered before it is known what is blocked");
        tokio::time::sleep(READ_AGAIN).await;
    }
}

async fn heed_all(store: &Arc<dyn Store>) -> Result<(), StoreError> {
    let now = Timestamp::now();
    let measures = ops::measures::current(store, now).await?;
    for measure in measures.rows().iter().filter(|it| it.is_in_force(now)) {
        if !measure.aim.is_exception() {
            act(store, measure, now).await?;
        }
    }
    Ok(())
}

/// What waits, was scanned, and has to be scanned again now that these are in force: what they concern, as far as
/// the log knows the messages, and what only another scan can tell, since it may be inside an archive.
/// What waits for its scan already, lies in quarantine, or was written by the relay itself, is not meant.
pub async fn to_scan_again(
    store: &Arc<dyn Store>,
    measures: &Measures,
    now: Timestamp,
) -> Result<Vec<Reference>, StoreError> {
    let references = waiting(store).await?;
    let mut meant = Vec::new();
    for portion in references.chunks(PORTION) {
        for standing in store.standing(portion.to_vec()).await? {
            if !standing.is_ours && concerns(store, &standing, measures, now).await? {
                meant.push(standing.reference);
            }
        }
    }
    Ok(meant)
}

async fn concerns(
    store: &Arc<dyn Store>,
    standing: &Standing,
    measures: &Measures,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let in_force = || measures.rows().iter().filter(|it| it.is_in_force(now));
    let is_of_files = |it: &Measure| matches!(it.aim, Aim::Hash(_) | Aim::File(_));
    let is_of_senders = |it: &Measure| matches!(it.aim, Aim::Sender(_));
    let has_attachments = !standing.attachments.is_empty();
    let from = standing.sender_room.as_ref();
    let is_held = |to: &RoomId| measures.holds_attachments(from, to, now).is_some();
    if has_attachments && (in_force().any(is_of_files) || standing.rooms.iter().any(is_held)) {
        return Ok(true);
    }
    let mut message = appearance(standing);
    if measures.blocks(&message, now).is_some() {
        return Ok(true);
    }
    // Where the log keeps no subjects, the message itself has one.
    let is_of_subjects = |it: &Measure| matches!(it.aim, Aim::Subject(_));
    let has_no_subject = standing.subject.is_none() && in_force().any(is_of_subjects);
    if !has_no_subject && !in_force().any(is_of_senders) {
        return Ok(false);
    }
    let beginning = store.beginning(standing.reference, HEADER).await?;
    let Some(read) = beginning.map(|it| headers::read(&it.bytes)) else {
        return Ok(false);
    };
    message.subject = message.subject.or(read.facts.subject.as_deref());
    message.senders.clear();
    for claim in &read.claims {
        if let headers::Author::Mailboxes(written) = &claim.author {
            message.senders.extend(written.iter().map(String::as_str));
        }
    }
    Ok(measures.blocks(&message, now).is_some())
}

fn appearance(standing: &Standing) -> Appearance<'_> {
    Appearance {
        senders: standing.sender.as_deref().into_iter().collect(),
        subject: standing.subject.as_deref(),
        files: standing
            .attachments
            .iter()
            .map(|it| File {
                name: &it.name,
                sha256: it.sha256.as_deref().unwrap_or_default(),
            })
            .collect(),
    }
}

/// On what was not scanned since.
async fn act(store: &Arc<dyn Store>, measure: &Measure, now: Timestamp) -> Result<(), StoreError> {
    let alone = Measures::new(vec![measure.clone()]);
    let mut old = Vec::new();
    for reference in to_scan_again(store, &alone, now).await? {
        if is_free(store, reference).await? && !was_scanned_since(store, reference, measure).await?
        {
            old.push(reference);
        }
    }
    let aim = measure.aim.to_string();
    let wish = Wish {
        by: &measure.by,
        reason: Some(&aim),
        now,
    };
    scan_again(store, &old, wish).await.map(drop)
}

/// Whether any of it may be delivered before its next scan.
async fn is_free(store: &Arc<dyn Store>, reference: Reference) -> Result<bool, StoreError> {
    let record = store.message(reference).await?;
    let mut recipients = record.into_iter().flat_map(|it| it.recipients);
    Ok(recipients.any(|it| match it.state {
        State::Queued | State::Deferred => true,
        State::Held => !it.awaits_scan,
        _ => false,
    }))
}

/// With some time to spare: a relay learns of a measure a moment after it was opened.
async fn was_scanned_since(
    store: &Arc<dyn Store>,
    reference: Reference,
    measure: &Measure,
) -> Result<bool, StoreError> {
    let events = store.events(reference).await?;
    let known_at = measure.opened_at.after(LEARNT);
    let mut scans = events.iter();
    Ok(scans.any(|it| it.event == EventKind::Scanned.word() && it.at >= known_at))
}
