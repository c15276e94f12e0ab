//! Blocks, holds on attachments and exceptions from scanning, as people handle them: opened, listed, ended.
//!
//! What is opened has an end, a name and a row in the log; what is ended is ended once, whoever else
//! tries. What is typed is checked here, and a mistake says what to write. Beside it: the hunt for who
//! had a file (`hunt`), another scan of what waits or was caught (`rescan`), and how what is in force acts
//! on what waits already (`follow`).

mod follow;
mod hunt;
mod rescan;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::routes::{self, NoRoom};
use crate::document::{duration, length};
use crate::mail::measure::{Aim, Closing, Measure};
use crate::mail::reply::harmless;
use crate::mail::{Address, Domain, Event, Reference, References, Timestamp};
use crate::pattern::{self, NamePattern};
use crate::spool::store::{Store, StoreError};
pub use follow::{follow, heed, to_scan_again};
pub use hunt::hunt;
pub use rescan::{Which, Wish, rescan};

/// For how long a measure may be opened, and an exception. What is meant to stay belongs in the settings.
const LONGEST: Duration = Duration::from_secs(90 * 24 * 60 * 60);
const LONGEST_EXCEPTION: Duration = Duration::from_secs(24 * 60 * 60);
/// Letters that a subject must have in common with what is blocked.
const SHORTEST_SUBJECT: usize = 3;
const LONGEST_TEXT: usize = 255;
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
