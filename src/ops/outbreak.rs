//! Blocks, holds on attachments, exceptions from scanning, and the hunt for who had a file, as people
//! handle them.
//!
//! What is opened has an end, a name and a row in the log; what is ended is ended once, whoever else
//! tries.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::log;
use super::routes::{self, NoRoom};
use crate::document::{duration, length};
use crate::lifecycle;
use crate::mail::headers;
use crate::mail::measure::{Aim, Closing, Measure};
use crate::mail::reply::harmless;
use crate::mail::{
    Address, Domain, Event, EventKind, Reference, References, RoomId, State, Timestamp,
};
use crate::pattern::{self, NamePattern};
use crate::scan::measures::{Appearance, File, Measures};
use crate::spool::store::{
    Change, Hunt, Quarry, Standing, Store, StoreError, Trace, WaitingFilter, WaitingOrder,
};

/// For how long a measure may be opened, and an exception. What is meant to stay belongs in the settings.
const LONGEST: Duration = Duration::from_secs(90 * 24 * 60 * 60);
const LONGEST_EXCEPTION: Duration = Duration::from_secs(24 * 60 * 60);
/// Letters that a subject must have in common with what is blocked.
const SHORTEST_SUBJECT: usize = 3;
const LONGEST_TEXT: usize = 255;
/// Messages that are looked at together.
const PORTION: usize = 500;
/// Messages that are sent back to their scan together.
const FEW: usize = 50;
/// How long measures that could not be acted on are left alone.
const READ_AGAIN: Duration = Duration::from_secs(2);
/// By then a running relay knows of what another process has opened.
const LEARNT: Duration = Duration::from_secs(10);
/// As much of a message as its header may take.
const HEADER: usize = 256 * 1024;
/// Times that a busy store, or a reference in use, is tried again.
const PATIENCE: usize = 3;

/// Why nothing was changed.
#[derive(Debug)]
pub enum Refused {
    Room(NoRoom),
    /// There is no measure of this number.
    Unknown(u64, Kind),
    /// It is over.
    Over(Box<Measure>, Timestamp),
    /// It is ended by another command.
    Elsewhere(u64, &'static str),
    NoException,
    Store(StoreError),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(missing) => missing.fmt(f),
            Self::Unknown(number, kind) => {
                let list = kind.list_command();
                write!(f, "there is no measure {number}; see: {list} --all")
            }
            Self::Over(measure, now) => match &measure.closed {
                Some(closing) => write!(
                    f,
                    "measure {} was ended by {} at {}",
                    measure.number, closing.by, closing.at
                ),
                None => write!(
                    f,
                    "measure {} is {}: it lasted until {}",
                    measure.number,
                    measure.state(*now),
                    measure.until
                ),
            },
            Self::Elsewhere(number, command) => {
                write!(f, "measure {number} is ended with: {command} {number}")
            }
            Self::NoException => {
                f.write_str("no exception is open; see: ilbud scan exception list --all")
            }
            Self::Store(fault) => fault.fmt(f),
        }
    }
}

impl From<StoreError> for Refused {
    fn from(fault: StoreError) -> Self {
        Self::Store(fault)
    }
}

/// A SHA-256 as it is kept.
pub fn hash(typed: &str) -> Result<String, String> {
    match is_hash(typed) {
        true => Ok(typed.to_lowercase()),
        false => Err(format!(
            "{typed:?} is no SHA-256, which has 64 digits and letters a to f"
        )),
    }
}

fn is_hash(typed: &str) -> bool {
    typed.len() == 64 && typed.bytes().all(|octet| octet.is_ascii_hexdigit())
}

/// A pattern of file names.
pub fn file(typed: &str) -> Result<String, String> {
    let typed = in_one_line(typed, "a pattern of file names")?;
    let pattern = NamePattern::new(typed);
    if pattern::folded_name(typed).is_empty() || LONGEST_TEXT < typed.len() {
        return Err(format!(
            "a pattern of file names has 1 to {LONGEST_TEXT} octets"
        ));
    }
    match pattern.fits_all() {
        true => Err("that fits every file; see: ilbud outbreak hold-attachments".to_owned()),
        false => Ok(typed.to_owned()),
    }
}

/// A part of subjects.
pub fn subject(typed: &str) -> Result<String, String> {
    let typed = in_one_line(typed, "a part of a subject")?;
    let letters = pattern::folded(typed).chars().count();
    match (SHORTEST_SUBJECT..=LONGEST_TEXT).contains(&letters) {
        true => Ok(typed.to_owned()),
        false => Err(format!(
            "a part of a subject has {SHORTEST_SUBJECT} to {LONGEST_TEXT} characters, or it would be in too many"
        )),
    }
}

/// An address, or `@` and a domain.
pub fn sender(typed: &str) -> Result<String, String> {
    let fault = |fault| format!("{typed:?} is no address, and no @ and a domain: {fault}");
    match typed.strip_prefix('@') {
        Some(domain) => Domain::parse(domain)
            .map(|it| format!("@{}", it.unicode()))
            .map_err(fault),
        None => Address::parse(typed)
            .map(|it| it.to_string())
            .map_err(fault),
    }
}

/// For how long: `30m`, `2h`, `7d`.
pub fn time(typed: &str) -> Result<Duration, String> {
    bounded(typed, LONGEST)
}

/// The same, for an exception.
pub fn exception_time(typed: &str) -> Result<Duration, String> {
    bounded(typed, LONGEST_EXCEPTION)
}

fn bounded(typed: &str, longest: Duration) -> Result<Duration, String> {
    let time = duration(typed)
        .ok_or_else(|| format!("{typed:?} is no length of time; write 30m, 2h or 1d"))?;
    match time {
        Duration::ZERO => Err("that is no time at all; write 30m, 2h or 1d".to_owned()),
        time if time > longest => Err(format!("that is too long: at most {}", length(longest))),
        time => Ok(time),
    }
}

/// What is hunted.
pub fn quarry(typed: &str) -> Result<String, String> {
    match typed.trim() {
        "" => Err("name a file, a SHA-256 or malware".to_owned()),
        quarry => Ok(quarry.to_owned()),
    }
}

/// Nobody can read or see what ends a line or turns the direction of a text.
fn in_one_line<'a>(typed: &'a str, what: &str) -> Result<&'a str, String> {
    match harmless(typed) == typed {
        true => Ok(typed),
        false => Err(format!("{what} has no control characters in it")),
    }
}

/// What somebody wants in force.
#[derive(Debug, Clone)]
pub struct Order {
    pub aim: Aim,
    pub by: String,
    pub reason: Option<String>,
    pub length: Duration,
}

/// Puts a measure in force.
pub async fn open(
    store: &Arc<dyn Store>,
    order: Order,
    now: Timestamp,
) -> Result<Measure, Refused> {
    if let Aim::HoldAttachments(Some(room)) = &order.aim
        && let Some(missing) = routes::missing_room(store, room.as_str()).await?
    {
        return Err(Refused::Room(missing));
    }
    let references = References::after(store.last_reference().await?);
    let mut measure = Measure {
        number: 0,
        reference: references.next(now, noise()),
        aim: order.aim,
        opened_at: now,
        by: order.by,
        reason: order.reason,
        until: now.after(order.length),
        closed: None,
    };
    for _ in 0..PATIENCE {
        match store.open_measure(measure.clone(), measure.opened()).await {
            Err(StoreError::Busy(_)) => {}
            // Another process has made the same reference.
            Err(StoreError::Conflict(_)) => measure.reference = references.next(now, noise()),
            number => {
                measure.number = number?;
                return Ok(measure);
            }
        }
    }
    measure.number = store
        .open_measure(measure.clone(), measure.opened())
        .await?;
    Ok(measure)
}

/// Processes that make references at the same time make others.
fn noise() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(std::process::id()) >> 32) as u32
}

/// Which of the measures are meant: exceptions are handled by another command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Outbreak,
    Exception,
}

impl Kind {
    const fn is_of(self, measure: &Measure) -> bool {
        measure.aim.is_exception() == matches!(self, Self::Exception)
    }

    const fn list_command(self) -> &'static str {
        match self {
            Self::Outbreak => "ilbud outbreak list",
            Self::Exception => "ilbud scan exception list",
        }
    }

    /// How one of the other kind is ended.
    const fn other_command(self) -> &'static str {
        match self {
            Self::Outbreak => "ilbud scan exception close",
            Self::Exception => "ilbud outbreak end",
        }
    }
}

/// By number: those in force, or all that ever were.
pub async fn list(
    store: &Arc<dyn Store>,
    kind: Kind,
    all: bool,
    now: Timestamp,
) -> Result<Vec<Measure>, StoreError> {
    let mut found = store.measures((!all).then_some(now)).await?;
    found.retain(|it| kind.is_of(it));
    Ok(found)
}

/// Ends one before its time.
pub async fn end(
    store: &Arc<dyn Store>,
    kind: Kind,
    number: u64,
    by: &str,
    now: Timestamp,
) -> Result<Measure, Refused> {
    let find = async || {
        let all = store.measures(None).await?;
        let found = all.into_iter().find(|it| it.number == number);
        found.ok_or(Refused::Unknown(number, kind))
    };
    let measure = find().await?;
    if !kind.is_of(&measure) {
        return Err(Refused::Elsewhere(number, kind.other_command()));
    }
    let by = by.to_owned();
    let closing = Closing { at: now, by };
    let event = measure.closed(&closing);
    match insist(store, number, &closing, event).await? {
        true => Ok(Measure {
            closed: Some(closing),
            ..measure
        }),
        false => Err(Refused::Over(Box::new(find().await?), now)),
    }
}

async fn insist(
    store: &Arc<dyn Store>,
    number: u64,
    closing: &Closing,
    event: Event,
) -> Result<bool, StoreError> {
    for _ in 0..PATIENCE {
        let closed = store.close_measure(number, closing.clone(), event.clone());
        match closed.await {
            Err(StoreError::Busy(_)) => {}
            outcome => return outcome,
        }
    }
    store.close_measure(number, closing.clone(), event).await
}

/// Ends all exceptions that are open.
pub async fn end_exceptions(
    store: &Arc<dyn Store>,
    by: &str,
    now: Timestamp,
) -> Result<Vec<Measure>, Refused> {
    let mut ended = Vec::new();
    for it in list(store, Kind::Exception, false, now).await? {
        match end(store, Kind::Exception, it.number, by, now).await {
            Ok(measure) => ended.push(measure),
            // Somebody else was quicker.
            Err(Refused::Over(..)) => {}
            Err(refused) => return Err(refused),
        }
    }
    match ended.is_empty() {
        true => Err(Refused::NoException),
        false => Ok(ended),
    }
}

/// A block or a hold; field names are the contract's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed<'a> {
    pub number: u64,
    #[serde(rename = "ref")]
    pub reference: Reference,
    /// `hash`, `file`, `subject`, `sender`, `hold-attachments` or `exception`.
    pub kind: &'static str,
    /// The hash, pattern, words, sender, room (none: all of them) or scope.
    pub value: Option<&'a str>,
    pub opened_at: Timestamp,
    pub by: &'a str,
    pub reason: Option<&'a str>,
    pub until: Timestamp,
    pub closed_at: Option<Timestamp>,
    pub closed_by: Option<&'a str>,
    /// `in force`, `expired` or `ended`.
    pub state: &'static str,
}

impl<'a> Listed<'a> {
    pub fn of(measure: &'a Measure, now: Timestamp) -> Self {
        let closing = measure.closed.as_ref();
        Self {
            number: measure.number,
            reference: measure.reference,
            kind: measure.aim.kind(),
            value: measure.aim.value(),
            opened_at: measure.opened_at,
            by: &measure.by,
            reason: measure.reason.as_deref(),
            until: measure.until,
            closed_at: closing.map(|it| it.at),
            closed_by: closing.map(|it| it.by.as_str()),
            state: measure.state(now),
        }
    }
}

/// Who sent and who was to receive a file, by its SHA-256, its name or a pattern of names; or a message
/// with malware, by a part of what that is called.
pub async fn hunt(
    store: &Arc<dyn Store>,
    typed: &str,
    since: Option<Timestamp>,
) -> Result<Vec<Trace>, StoreError> {
    let quarry = match is_hash(typed) {
        true => Quarry::Hash(typed.to_lowercase()),
        false => Quarry::Word(typed.to_owned()),
    };
    let not_below = since.map(log::first_reference);
    let hunt = Hunt {
        quarry,
        since,
        not_below,
    };
    store.hunt(hunt).await
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
    if !in_force().any(is_of_senders) {
        return Ok(false);
    }
    let beginning = store.beginning(standing.reference, HEADER).await?;
    let claims = beginning.map_or_else(Vec::new, |it| headers::read(&it.bytes).claims);
    message.senders.clear();
    for claim in &claims {
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

/// What is to be scanned again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    These(Vec<Reference>),
    /// All that waits, and all that lies in quarantine.
    All,
    Quarantine,
}

/// Who wants something scanned again, and why.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Login name.
    pub by: &'a str,
    pub reason: Option<&'a str>,
    pub now: Timestamp,
}

/// Has it scanned again by the running relay, before any of it is delivered: those messages of which
/// anything waits, or lies in quarantine.
pub async fn rescan(
    store: &Arc<dyn Store>,
    which: Which,
    wish: Wish<'_>,
) -> Result<Vec<Reference>, StoreError> {
    let mut references = match which {
        Which::These(references) => references,
        Which::All => {
            let mut all = waiting(store).await?;
            all.extend(in_quarantine(store).await?);
            all
        }
        Which::Quarantine => in_quarantine(store).await?,
    };
    references.sort_unstable();
    references.dedup();
    scan_again(store, &references, wish).await
}

async fn in_quarantine(store: &Arc<dyn Store>) -> Result<Vec<Reference>, StoreError> {
    let caught = store.quarantined(None, usize::MAX).await?;
    Ok(caught.iter().map(|it| it.reference).collect())
}

async fn waiting(store: &Arc<dyn Store>) -> Result<Vec<Reference>, StoreError> {
    let ids = store
        .waiting_ids(WaitingFilter::default(), WaitingOrder::Age, usize::MAX)
        .await?;
    let mut references: Vec<Reference> = ids.iter().map(|it| it.reference).collect();
    references.sort_unstable();
    references.dedup();
    Ok(references)
}

/// A few at a time, so that mail is not held up. Gives those that are meant.
async fn scan_again(
    store: &Arc<dyn Store>,
    references: &[Reference],
    wish: Wish<'_>,
) -> Result<Vec<Reference>, StoreError> {
    let mut meant = Vec::new();
    for few in references.chunks(FEW) {
        let mut recipients = Vec::new();
        for &reference in few {
            let record = store.message(reference).await?;
            recipients.extend(record.into_iter().flat_map(|it| it.recipients));
        }
        let change = lifecycle::rescanned(&recipients, wish.by, wish.reason, wish.now);
        meant.extend(change.events.iter().map(|it| it.reference));
        apply(store, &Arc::new(change)).await?;
    }
    Ok(meant)
}

/// The running relay may have the store for itself again and again; this waits its turn.
async fn apply(store: &Arc<dyn Store>, change: &Arc<Change>) -> Result<(), StoreError> {
    for _ in 0..PATIENCE {
        match store.apply(Arc::clone(change)).await {
            Err(StoreError::Busy(_)) => {}
            outcome => return outcome.map(drop),
        }
    }
    store.apply(Arc::clone(change)).await.map(drop)
}

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
    let measures = super::measures::current(store, now).await?;
    for measure in measures.rows().iter().filter(|it| it.is_in_force(now)) {
        if !measure.aim.is_exception() {
            act(store, measure, now).await?;
        }
    }
    Ok(())
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
