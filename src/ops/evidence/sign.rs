//! Signing: a head over the rows that have come since the last one.

use std::sync::Arc;

use tokio::time::MissedTickBehavior;

use super::{Fault, Files, LOOK, Settings, not_as_written};
use crate::evidence::head::Before;
use crate::evidence::{Digest, Head, SigningKey, tree};
use crate::mail::Timestamp;
use crate::spool::store::{Store, StoreError};

/// Rows that one head covers: a proof needs the digests of all of them to be made.
const COVERED: usize = 1 << 16;
/// Rows read at a time, so that no reader holds the store up for long.
const PORTION: usize = 4096;

/// Who signs.
#[derive(Debug)]
pub struct Signer {
    store: Arc<dyn Store>,
    key: SigningKey,
    files: Files,
}

/// Signs as often as the settings say, for as long as the relay runs.
pub async fn sign_at_intervals(signer: Arc<Signer>, settings: Settings) {
    let mut tick = tokio::time::interval(settings.sign_every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        signer.sign_and_tell().await;
    }
}

impl Signer {
    /// With the key that the settings name, which is made where it is missing.
    pub fn new(store: Arc<dyn Store>, settings: &Settings) -> Result<Self, Fault> {
        let files = Files::from(settings);
        let key = files.key_for_signing()?;
        Ok(Self { store, key, files })
    }

    /// With a key that is there.
    pub(super) const fn with(store: Arc<dyn Store>, key: SigningKey, files: Files) -> Self {
        Self { store, key, files }
    }

    /// What stands in the way is told, and tried again the next time.
    pub async fn sign_and_tell(&self) {
        match self.sign(Timestamp::now()).await {
            Ok(heads) => heads.iter().for_each(tell),
            Err(Fault::Store(fault)) => {
                tracing::warn!(%fault, "the log cannot be signed yet");
            }
            Err(fault) => tracing::error!(%fault, "the log cannot be signed"),
        }
    }

    /// Signs what has come since the last head; gives the new heads.
    pub async fn sign(&self, now: Timestamp) -> Result<Vec<Head>, Fault> {
        let mut signed = Vec::new();
        loop {
            // One head may be missing in the file where the relay was stopped: more would have been removed.
            self.write_down(&[]).await?;
            let before = self.before().await?;
            let window = self.window(&before).await?;
            let (Some(digest), Some(root)) = (window.last(), tree::root(&window)) else {
                break;
            };
            let rows = window.len();
            let head = before.followed_by(rows as u64, *digest, root, now, &self.key);
            match self.store.add_head(head.clone()).await {
                Ok(()) => signed.push(head),
                // Somebody else has signed meanwhile.
                Err(StoreError::Conflict(_)) => continue,
                Err(fault) => return Err(fault.into()),
            }
            if rows < COVERED {
                break;
            }
        }
        self.write_down(&signed).await?;
        Ok(signed)
    }

    /// The last head, whose last row must be what it signed.
    async fn before(&self) -> Result<Before, Fault> {
        let Some((_, text)) = self.store.last_head().await? else {
            return Ok(Before::none(&self.store.log_start().await?));
        };
        let head: Head = serde_json::from_str(&text)
            .map_err(|fault| Fault::Log(format!("the last head is none ({fault}); {LOOK}")))?;
        let row = self
            .store
            .log_digests(head.last.saturating_sub(1), 1)
            .await?;
        match row.first() {
            Some((at, digest)) if *at == head.last && *digest == Some(head.digest) => {
                self.warn_of_another_key(&head);
                Ok(head.before_next())
            }
            _ => Err(Fault::Log(format!(
                "row {} is not the one that head {} signed; {LOOK}",
                head.last, head.head
            ))),
        }
    }

    fn warn_of_another_key(&self, last: &Head) {
        let (before, now) = (last.key.id(), self.key.public().id());
        if before != now {
            tracing::warn!(
                before,
                now,
                "the log was signed with another key so far: unless you know why, see what was done with \
                 ilbud log verify --key"
            );
        }
    }

    /// The digests of the rows since then.
    async fn window(&self, before: &Before) -> Result<Vec<Digest>, Fault> {
        digests(&self.store, before.last, COVERED).await
    }

    /// Adds to the file what is not there yet; also what was signed before a crash.
    async fn write_down(&self, signed: &[Head]) -> Result<(), Fault> {
        let last = self.files.last_head()?;
        let new = signed.first().map_or(u64::MAX, |it| it.head);
        let mut after = last.min(new.saturating_sub(1));
        loop {
            let heads = self.store.heads(after, PORTION).await?;
            let Some((number, _)) = heads.last() else {
                return Ok(());
            };
            after = *number;
            let lines: Vec<String> = heads.into_iter().map(|(_, text)| text).collect();
            self.files.add_heads(&lines)?;
        }
    }
}

/// Whoever keeps what the relay says of itself elsewhere has the heads there.
fn tell(head: &Head) {
    let head = serde_json::to_string(head).unwrap_or_default();
    tracing::info!("the log is signed: {head}");
}

/// The digests of at most so many rows after one, none of which may be missing.
pub(super) async fn digests(
    store: &Arc<dyn Store>,
    after: u64,
    limit: usize,
) -> Result<Vec<Digest>, Fault> {
    let mut digests = Vec::new();
    while digests.len() < limit {
        let last = after.saturating_add(digests.len() as u64);
        let portion = PORTION.min(limit - digests.len());
        let rows = store.log_digests(last, portion).await?;
        if rows.is_empty() {
            break;
        }
        for (at, digest) in rows {
            let next = after.saturating_add(digests.len() as u64).saturating_add(1);
            match digest {
                Some(digest) if at == next => digests.push(digest),
                _ => return Err(not_as_written(next)),
            }
        }
    }
    Ok(digests)
}
