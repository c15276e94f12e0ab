//! The proof of one case: the rows of a message or refusal, ready to be taken along.

use std::sync::Arc;

use super::sign::{Signer, digests};
use super::{Fault, Files, LOOK, Settings, not_as_written};
use crate::evidence::proof::{Proof, ProvenRow};
use crate::evidence::walk::{Fields, Row};
use crate::evidence::{Digest, Head, Start};
use crate::mail::{Reference, Timestamp};
use crate::spool::store::Store;

/// A proof of all rows of a reference. Signs first what is not signed yet; that needs the relay's key.
pub async fn case(
    store: &Arc<dyn Store>,
    settings: &Settings,
    reference: Reference,
    now: Timestamp,
) -> Result<Proof, Fault> {
    let rows = store.log_rows_of(reference).await?;
    let Some(last) = rows.last().map(|it| it.name.sequence) else {
        return Err(Fault::Log(unchained(store, reference).await?));
    };
    if store.head_over(last).await?.is_none() {
        sign(store, settings, last, now).await?;
    }
    let start = store.log_start().await?;
    let mut heads: Vec<Head> = Vec::new();
    let mut window = Vec::new();
    let mut proven = Vec::new();
    for row in &rows {
        let sequence = row.name.sequence;
        if !heads.last().is_some_and(|it| it.covers(sequence)) {
            let head = head_over(store, sequence).await?;
            let rows = usize::try_from(head.rows()).unwrap_or(usize::MAX);
            window = digests(store, head.first.saturating_sub(1), rows).await?;
            heads.push(head);
        }
        let head = heads.last().ok_or_else(|| not_as_written(sequence))?;
        proven.push(prove(store, &start, row, head, &window).await?);
    }
    let key = heads
        .first()
        .map(|it| it.key)
        .ok_or_else(|| not_as_written(last))?;
    let proof = Proof::new(reference.to_string(), key, proven, heads);
    Proof::check(&proof.text(), &[])
        .map_err(|faults| Fault::Log(format!("{}; {LOOK}", faults.join("; "))))
}

async fn unchained(store: &Arc<dyn Store>, reference: Reference) -> Result<String, Fault> {
    Ok(match store.events(reference).await?.is_empty() {
        true => format!("nothing is known of {reference}"),
        false => format!(
            "what is known of {reference} was written before the log was chained: nothing can be proven of it"
        ),
    })
}

async fn sign(
    store: &Arc<dyn Store>,
    settings: &Settings,
    last: u64,
    now: Timestamp,
) -> Result<(), Fault> {
    let files = Files::from(settings);
    let how = "let the relay sign it first, which it does at intervals (log.sign_every) and when it stops";
    let key = match files.signing_key() {
        Ok(Some(key)) => key,
        Ok(None) => {
            let key = files.key.display();
            return Err(Fault::File(format!(
                "row {last} is not signed yet, and the relay's key is not in {key}: {how}"
            )));
        }
        Err(fault) => {
            return Err(Fault::File(format!(
                "row {last} is not signed yet, and the relay's key cannot be used ({fault}): {how}"
            )));
        }
    };
    let signer = Signer::with(Arc::clone(store), key, files);
    signer.sign(now).await?;
    Ok(())
}

async fn head_over(store: &Arc<dyn Store>, sequence: u64) -> Result<Head, Fault> {
    let text = store.head_over(sequence).await?;
    let head: Option<Head> = text.and_then(|it| serde_json::from_str(&it).ok());
    head.filter(|it| it.covers(sequence))
        .ok_or_else(|| not_as_written(sequence))
}

async fn prove(
    store: &Arc<dyn Store>,
    start: &Start,
    row: &Row,
    head: &Head,
    window: &[Digest],
) -> Result<ProvenRow, Fault> {
    let sequence = row.name.sequence;
    let before = match sequence == start.first {
        true => Some(start.digest()),
        false => {
            let before = store.log_digests(sequence.saturating_sub(2), 1).await?;
            before.first().and_then(|(_, digest)| *digest)
        }
    };
    let proven = match (&row.fields, before) {
        (Fields::Leaves { leaves, .. }, Some(before)) => {
            ProvenRow::new(sequence, before, leaves, head, window)
        }
        _ => None,
    };
    proven.ok_or_else(|| not_as_written(sequence))
}
