//! `ilbud queue`: list, show, retry, hold, release, cancel.

use std::sync::Arc;

use clap::{Args, Subcommand};

use super::{Failure, operator, print};
use crate::lifecycle::Operation;
use crate::mail::{Reference, RoomId, State, Timestamp};
use crate::ops;
use crate::ops::queue::Count;
use crate::spool::store::{Store, Waiting, WaitingFilter};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What is waiting, oldest first
    List {
        /// Only for this room
        #[arg(long, value_name = "ID")]
        room: Option<String>,
        /// Only in this state: unscanned, queued, deferred, held
        #[arg(long, value_name = "S", value_parser = state)]
        state: Option<State>,
        #[arg(long)]
        json: bool,
    },
    /// One message's waiting recipients
    Show {
        #[arg(value_name = "REF", value_parser = ops::log::reference)]
        reference: Reference,
        #[arg(long)]
        json: bool,
    },
    /// Try again now
    Retry(Which),
    /// Keep, and do not deliver until released
    Hold(Which),
    /// Deliver what was held
    Release(Which),
    /// Never deliver
    Cancel(Which),
}

/// Which waiting recipients are meant.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    #[arg(value_name = "REF", value_parser = ops::log::reference)]
    references: Vec<Reference>,
    /// All that waits for this room
    #[arg(long, value_name = "ID")]
    room: Option<String>,
    /// All that waits
    #[arg(long)]
    all: bool,
}

fn state(word: &str) -> Result<State, String> {
    let waiting = || State::ALL.iter().copied().filter(|state| !state.is_final());
    waiting().find(|state| state.word() == word).ok_or_else(|| {
        let words: Vec<_> = waiting().map(State::word).collect();
        format!("what waits is in one of these states: {}", words.join(", "))
    })
}

pub(super) async fn run(command: &Command, store: Arc<dyn Store>) -> Result<(), Failure> {
    match command {
        Command::List { room, state, json } => {
            let room = room.as_deref().map(RoomId::new);
            let filter = WaitingFilter {
                room,
                state: *state,
                ..WaitingFilter::default()
            };
            list(&store, filter, *json).await
        }
        Command::Show { reference, json } => show(&store, *reference, *json).await,
        Command::Retry(which) => operate(&store, Operation::Retry, which).await,
        Command::Hold(which) => operate(&store, Operation::Hold, which).await,
        Command::Release(which) => operate(&store, Operation::Release, which).await,
        Command::Cancel(which) => operate(&store, Operation::Cancel, which).await,
    }
}

/// Rows read at a time, so that a queue of any size is listed in bounded memory.
const PAGE: usize = 1000;

async fn list(store: &Arc<dyn Store>, filter: WaitingFilter, json: bool) -> Result<(), Failure> {
    let ids = store.waiting_ids(filter).await?;
    if ids.is_empty() && !json {
        print::line(format_args!("Nothing is waiting."))?;
    }
    for page in ids.chunks(PAGE) {
        print_page(&store.waiting(page.to_vec()).await?, json)?;
    }
    Ok(())
}

fn print_page(page: &[Waiting], json: bool) -> Result<(), Failure> {
    if json {
        return page.iter().try_for_each(print_json);
    }
    let heads = [
        "ref",
        "recipient",
        "room",
        "state",
        "attempts",
        "accepted",
        "next attempt",
        "last reply",
    ];
    let rows: Vec<_> = page.iter().map(row).collect();
    Ok(print::table(&heads, &rows)?)
}

fn print_json(waiting: &Waiting) -> Result<(), Failure> {
    Ok(print::json(&serde_json::json!({
        "ref": waiting.id.reference,
        "recipient": waiting.recipient.to_string(),
        "room": waiting.room,
        "state": waiting.state,
        "attempts": waiting.attempts,
        "accepted_at": waiting.accepted_at,
        "next_attempt_at": waiting.next_attempt_at,
        "last_reply": waiting.last_reply,
        "sender": waiting.sender.as_ref().map(ToString::to_string),
        "size": waiting.size,
    }))?)
}

fn row(waiting: &Waiting) -> Vec<String> {
    vec![
        waiting.id.reference.to_string(),
        waiting.recipient.to_string(),
        waiting.room.to_string(),
        waiting.state.to_string(),
        waiting.attempts.to_string(),
        print::local(waiting.accepted_at),
        print::local(waiting.next_attempt_at),
        waiting.last_reply.clone().unwrap_or_default(),
    ]
}

async fn show(store: &Arc<dyn Store>, reference: Reference, json: bool) -> Result<(), Failure> {
    let references = vec![reference];
    let filter = WaitingFilter {
        references,
        ..WaitingFilter::default()
    };
    let ids = store.waiting_ids(filter).await?;
    let waiting = store.waiting(ids).await?;
    if waiting.is_empty() {
        return Err(Failure::new(format!(
            "nothing of {reference} is waiting; what became of it: ilbud log show {reference}"
        )));
    }
    print_page(&waiting, json)
}

async fn operate(
    store: &Arc<dyn Store>,
    operation: Operation,
    which: &Which,
) -> Result<(), Failure> {
    let (by, now) = (operator(), Timestamp::now());
    let mut whole = Count::default();
    let mut mistakes = Vec::new();
    for filter in which.filters() {
        let count = ops::queue::operate(store, operation, filter.clone(), &by, now).await?;
        whole.matched += count.matched;
        whole.changed += count.changed;
        for reference in filter.references {
            match count {
                Count { matched: 0, .. } => mistakes.push(format!(
                    "nothing of {reference} is waiting; what became of it: ilbud log show {reference}"
                )),
                Count { changed: 0, .. } => mistakes.push(format!(
                    "{reference} is in a state that this does not apply to; see: ilbud queue show {reference}"
                )),
                Count { .. } => {}
            }
        }
    }
    print::line(format_args!(
        "{} of {} changed.",
        whole.changed, whole.matched
    ))?;
    match mistakes.is_empty() {
        true => Ok(()),
        false => Err(Failure::of(mistakes)),
    }
}

impl Which {
    /// Each reference by itself, so that each mistake is told; or the room; or all.
    fn filters(&self) -> Vec<WaitingFilter> {
        if self.references.is_empty() {
            let room = self.room.as_deref().map(RoomId::new);
            return vec![WaitingFilter {
                room,
                ..WaitingFilter::default()
            }];
        }
        let one = |&reference: &Reference| WaitingFilter {
            references: vec![reference],
            ..WaitingFilter::default()
        };
        self.references.iter().map(one).collect()
    }
}
