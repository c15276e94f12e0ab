//! Looking the whole log through, in memory that does not grow with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::files::{Line, heads_in};
use super::{Fault, Files};
use crate::evidence::leaf::MASKED;
use crate::evidence::state::Explained;
use crate::evidence::walk::{Fields, Row, Walk};
use crate::evidence::{Finding, Head, PublicKey};
use crate::spool::store::{RecipientState, Store};

/// Rows, recipients and heads read at a time.
const PORTION: usize = 1000;
/// Findings that are kept; what is wrong is plain by then.
const TOLD: usize = 1000;

/// What came of it. Field names are those of `--json`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    #[serde(skip)]
    pub findings: Vec<Finding>,
    /// Findings beyond those that are kept.
    pub untold: u64,
    /// Rows of the chain that were looked at, and those from before it began.
    pub rows: u64,
    pub rows_before: u64,
    /// Where the chain begins, and when its first row was written.
    pub chained_from: u64,
    pub chained_since: Option<String>,
    /// The last head that fits.
    pub head: Option<u64>,
    pub signed_to: Option<u64>,
    pub signed_at: Option<String>,
    pub key: Option<PublicKey>,
    /// Rows that no head covers yet.
    pub unsigned: u64,
    /// Rows of which something was masked for good, and rows that were purged.
    pub masked: u64,
    pub purged: u64,
    /// What is worth knowing and no finding.
    pub notes: Vec<String>,
}

impl Report {
    fn add(&mut self, finding: Finding) {
        match self.findings.len() < TOLD {
            true => self.findings.push(finding),
            false => self.untold += 1,
        }
    }
}

/// Goes along the whole chain, through the heads in the files, and through what stands beside the log.
/// `keys`: those that may have signed; none: the relay's, as it lies beside the store. `others`: files of heads
/// from elsewhere. `progress` is told how many rows of how many are done.
pub async fn verify(
    store: &Arc<dyn Store>,
    files: &Files,
    keys: &[PublicKey],
    others: &[&Path],
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, Fault> {
    let mut report = Report::default();
    let mut keys = keys.to_vec();
    if keys.is_empty() {
        keys.extend(files.public_key()?);
    }
    let has_key = !keys.is_empty();
    along_the_chain(store, keys, &mut report, &mut progress).await?;
    if !has_key && report.head.is_some() {
        let note = "there is no key beside the store: signatures were checked with the keys that they name themselves";
        report.notes.push(note.to_owned());
    }
    own_heads(store, &files.heads, &mut report).await?;
    for file in others {
        let Some(lines) = heads_in(file)? else {
            return Err(Fault::File(format!(
                "{}: there is no such file",
                file.display()
            )));
        };
        compare_heads(store, file, lines, &mut report).await?;
    }
    states(store, &mut report).await?;
    refusals(store, &mut report).await?;
    Ok(report)
}

async fn along_the_chain(
    store: &Arc<dyn Store>,
    keys: Vec<PublicKey>,
    report: &mut Report,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), Fault> {
    let start = store.log_start().await?;
    let first = start.first;
    let unchained = store.unchained().await?;
    if unchained.now != unchained.then {
        report.add(Finding::before_the_chain(unchained.then, unchained.now));
    }
    // In this order: what the last head covers is there, and so are rows that came meanwhile.
    let mut heads = Heads::new(store).await?;
    let last = store.last_event().await?;
    let all = last.saturating_sub(first).saturating_add(1);
    let mut walk = Walk::new(start, keys);
    let mut after = first.saturating_sub(1);
    let mut done = 0;
    while after < last {
        while walk.heads_ahead() == 0 && heads.give(store, &mut walk).await? {}
        let rows = store.log_rows(after, PORTION).await?;
        let Some(end) = rows.last() else { break };
        after = end.name.sequence;
        if report.chained_since.is_none() {
            report.chained_since = rows.first().and_then(written_at);
        }
        for row in rows {
            while walk.heads_ahead() == 0 && heads.give(store, &mut walk).await? {}
            walk.row(row);
            done += 1;
        }
        progress(done, all.max(done));
    }
    while heads.give(store, &mut walk).await? {}
    let walked = walk.end();
    walked.findings.into_iter().for_each(|it| report.add(it));
    report.rows = walked.rows;
    report.rows_before = unchained.now;
    report.chained_from = first;
    (report.masked, report.purged) = (walked.masked, walked.purged);
    report.unsigned = walked.rows;
    if let Some((head, row, at, key)) = walked.signed {
        report.unsigned = walked.last.saturating_sub(row);
        (report.head, report.signed_to) = (Some(head), Some(row));
        (report.signed_at, report.key) = (Some(at), Some(key));
    }
    Ok(())
}

fn written_at(row: &Row) -> Option<String> {
    let Fields::Leaves { leaves, .. } = &row.fields else {
        return None;
    };
    let (_, at) = leaves.iter().find(|it| it.name == "at")?.open.as_ref()?;
    String::from_utf8(at.to_vec()).ok()
}

/// The store's heads, a portion at a time, up to the last one when this was begun.
struct Heads {
    portion: std::vec::IntoIter<(u64, String)>,
    after: u64,
    last: u64,
}

impl Heads {
    async fn new(store: &Arc<dyn Store>) -> Result<Self, Fault> {
        Ok(Self {
            portion: Vec::new().into_iter(),
            after: 0,
            last: last_number(store).await?,
        })
    }

    /// Gives the next one to the walk; `false`: there is none.
    async fn give(&mut self, store: &Arc<dyn Store>, walk: &mut Walk) -> Result<bool, Fault> {
        let next = match self.portion.next() {
            Some(next) => Some(next),
            None if self.after >= self.last => None,
            None => {
                self.portion = store.heads(self.after, PORTION).await?.into_iter();
                self.portion.next()
            }
        };
        let Some((number, text)) = next.filter(|(number, _)| *number <= self.last) else {
            return Ok(false);
        };
        self.after = number;
        match serde_json::from_str::<Head>(&text) {
            Ok(head) if head.head == number => walk.head(head),
            _ => walk.bad_head(number),
        }
        Ok(true)
    }
}

async fn last_number(store: &Arc<dyn Store>) -> Result<u64, Fault> {
    let last = store.last_head().await?;
    Ok(last.map_or(0, |(number, _)| number))
}

/// The relay's own file of heads, which has all of them.
async fn own_heads(store: &Arc<dyn Store>, file: &Path, report: &mut Report) -> Result<(), Fault> {
    let last = last_number(store).await?;
    let seen = match heads_in(file)? {
        Some(lines) => compare_heads(store, file, lines, report).await?,
        None => 0,
    };
    if seen < last {
        let name = file.display().to_string();
        match last.saturating_sub(seen) {
            // The relay was stopped between the one and the other; its next start puts that right.
            1 => report
                .notes
                .push(format!("head {last} is not in {name} yet")),
            _ => report.add(Finding::heads_not_in_file(
                seen.saturating_add(1),
                last,
                &name,
            )),
        }
    }
    Ok(())
}

/// Compares the heads in a file with those of the store; gives up to which number none is missing there.
async fn compare_heads(
    store: &Arc<dyn Store>,
    file: &Path,
    lines: impl Iterator<Item = Result<Line, Fault>>,
    report: &mut Report,
) -> Result<u64, Fault> {
    let mut comparison = Comparison {
        file: file.display().to_string(),
        known: BTreeMap::new(),
        seen: 0,
        missing: None,
    };
    for line in lines {
        let (number, head) = line?;
        match head {
            Ok(head) => {
                let finding = comparison.line(store, number, head).await?;
                finding.into_iter().for_each(|it| report.add(it));
            }
            Err(why) => report.add(Finding::head_unreadable(&comparison.file, number, &why)),
        }
    }
    if let Some((last, first)) = &comparison.missing {
        let end = store.last_event().await?;
        let file = &comparison.file;
        report.add(match last.last > end {
            true => Finding::tail_cut(last.head, &last.at, last.last, end, &format!(" in {file}")),
            false => Finding::heads_not_in_store(*first, last.head, file),
        });
    }
    Ok(comparison.seen)
}

struct Comparison {
    file: String,
    /// A portion of the store's heads.
    known: BTreeMap<u64, String>,
    /// Up to this number none is missing in the file.
    seen: u64,
    /// The last one that is not in the store, and the number of the first.
    missing: Option<(Head, u64)>,
}

impl Comparison {
    async fn line(
        &mut self,
        store: &Arc<dyn Store>,
        line: usize,
        head: Head,
    ) -> Result<Option<Finding>, Fault> {
        let number = head.head;
        if !self.known.contains_key(&number) {
            let portion = store.heads(number.saturating_sub(1), PORTION).await?;
            self.known = portion.into_iter().collect();
        }
        let known = self.known.get(&number);
        let stored: Option<Head> = known.and_then(|text| serde_json::from_str(text).ok());
        if number == self.seen.saturating_add(1) {
            self.seen = number;
        }
        Ok(match (known, stored) {
            (_, Some(stored)) if stored == head => None,
            _ if !head.is_signed() => {
                let why = "its signature does not fit what it says";
                Some(Finding::head_unreadable(&self.file, line, why))
            }
            (Some(_), Some(stored)) if stored.is_signed() => {
                Some(Finding::other_head(number, &self.file))
            }
            // The store's has been changed, which the walk has found.
            (Some(_), _) => None,
            (None, _) => {
                let first = self.missing.take().map_or(number, |(_, first)| first);
                self.missing = Some((head, first));
                None
            }
        })
    }
}

/// The state of each recipient is one that its events explain.
async fn states(store: &Arc<dyn Store>, report: &mut Report) -> Result<(), Fault> {
    let mut after = None;
    loop {
        let portion = store.recipient_states(after, PORTION).await?;
        let Some(last) = portion.last() else {
            return Ok(());
        };
        after = Some(last.id);
        // Whose name was masked has events that do not name it either.
        let named = |it: &RecipientState| !it.address.starts_with(MASKED);
        for recipient in portion.into_iter().filter(named) {
            let explained = Explained::after(recipient.events.iter().copied());
            let is_explained = recipient
                .state
                .parse()
                .is_ok_and(|state| explained.explains(state));
            if !is_explained {
                let reference = recipient.id.reference.to_string();
                let (address, state) = (&recipient.address, &recipient.state);
                report.add(Finding::state(reference, address, state, &explained));
            }
        }
    }
}

async fn refusals(store: &Arc<dyn Store>, report: &mut Report) -> Result<(), Fault> {
    let mut after = 0;
    loop {
        let (last, unexplained) = store.unexplained_refusals(after, PORTION).await?;
        for reference in unexplained {
            report.add(Finding::unexplained("refusal", reference.to_string()));
        }
        let Some(last) = last else { return Ok(()) };
        after = last;
    }
}
