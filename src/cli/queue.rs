//! `ilbud queue`: list, show, retry, hold, release, cancel.

mod list;

use std::sync::Arc;

use clap::{Args, Subcommand};

use super::reading::Reader;
use super::{Failure, operator, print};
use crate::config::Settings;
use crate::lifecycle::{Operation, Order};
use crate::mail::{Reference, RoomId, State, Timestamp};
use crate::ops;
use crate::ops::queue::Count;
use crate::spool::store::{Store, WaitingFilter, WaitingOrder};
use list::List;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What is waiting: by room and reason, and then one by one
    List(List),
    /// One message's waiting recipients
    Show {
        #[arg(value_name = "REF", value_parser = ops::log::reference)]
        reference: Reference,
        /// Show what is masked in replies, and say why: it is logged
        #[arg(long, value_name = "TEXT", value_parser = ops::reason::parse)]
        reason: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Try again now
    Retry(Which),
    /// Keep, and do not deliver until released
    Hold {
        #[command(flatten)]
        which: Which,
        /// Why, for the list and the log
        #[arg(long, value_name = "TEXT", value_parser = ops::reason::parse)]
        reason: Option<String>,
    },
    /// Deliver what was held
    Release(Which),
    /// Never deliver
    Cancel {
        #[command(flatten)]
        which: Which,
        /// Why, for the log and the report
        #[arg(long, value_name = "TEXT", value_parser = ops::reason::parse)]
        reason: Option<String>,
        /// Tell the sender. Whoever was told that it is late is told in any case
        #[arg(long)]
        report: bool,
    },
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

pub(super) async fn run(
    command: &Command,
    store: Arc<dyn Store>,
    settings: Settings,
) -> Result<(), Failure> {
    let mask = settings.privacy.mask;
    let by = operator();
    let order = |operation| Order {
        operation,
        by: &by,
        reason: None,
        report: false,
        now: Timestamp::now(),
    };
    match command {
        Command::List(list) => list.print(&store, mask).await,
        Command::Show {
            reference,
            reason,
            json,
        } => {
            let (command, query) = ("queue show", reference.to_string());
            let reader = Reader::new(&store, mask, *json, command, query, reason.as_deref());
            show(&store, *reference, *json, &reader).await
        }
        Command::Retry(which) => operate(&store, order(Operation::Retry), which).await,
        Command::Hold { which, reason } => {
            let reason = reason.as_deref();
            let order = order(Operation::Hold);
            operate(&store, Order { reason, ..order }, which).await
        }
        Command::Release(which) => operate(&store, order(Operation::Release), which).await,
        Command::Cancel {
            which,
            reason,
            report,
        } => {
            let order = Order {
                reason: reason.as_deref(),
                report: *report,
                ..order(Operation::Cancel)
            };
            operate(&store, order, which).await
        }
    }
}

async fn show(
    store: &Arc<dyn Store>,
    reference: Reference,
    json: bool,
    reader: &Reader,
) -> Result<(), Failure> {
    let references = vec![reference];
    let filter = WaitingFilter {
        references,
        ..WaitingFilter::default()
    };
    let ids = store
        .waiting_ids(filter, WaitingOrder::Age, usize::MAX)
        .await?;
    let waiting = store.waiting(ids).await?;
    if waiting.is_empty() {
        return Err(Failure::new(format!(
            "nothing of {reference} is waiting; what became of it: ilbud log show {reference}"
        )));
    }
    reader.announce_if_revealing().await?;
    list::print_page(&reader.waiting(&waiting).await?, json)
}

async fn operate(store: &Arc<dyn Store>, order: Order<'_>, which: &Which) -> Result<(), Failure> {
    let mut tally = Tally::default();
    for filter in which.filters() {
        expect_room(store, &filter).await?;
        let count = ops::queue::operate(store, order, filter.clone()).await?;
        tally.add(&filter, count);
    }
    tally.tell(order.report)
}

/// A mistyped room would look like one for which nothing waits.
async fn expect_room(store: &Arc<dyn Store>, filter: &WaitingFilter) -> Result<(), Failure> {
    let Some(room) = &filter.room else {
        return Ok(());
    };
    match ops::queue::missing_room(store, room).await? {
        Some(missing) => Err(Failure::new(missing)),
        None => Ok(()),
    }
}

/// What came of an operation, and what was meant in vain.
#[derive(Default)]
struct Tally {
    whole: Count,
    mistakes: Vec<String>,
}

impl Tally {
    fn add(&mut self, filter: &WaitingFilter, count: Count) {
        self.whole.matched += count.matched;
        self.whole.changed += count.changed;
        self.whole.told += count.told;
        for reference in &filter.references {
            match count {
                Count { matched: 0, .. } => self.mistakes.push(format!(
                    "nothing of {reference} is waiting; what became of it: ilbud log show {reference}"
                )),
                Count { changed: 0, .. } => self.mistakes.push(format!(
                    "{reference} is in a state that this does not apply to; see: ilbud queue show {reference}"
                )),
                Count { .. } => {}
            }
        }
    }

    fn tell(self, report: bool) -> Result<(), Failure> {
        let Count {
            matched,
            changed,
            told,
        } = self.whole;
        print::line(format_args!("{changed} of {matched} changed."))?;
        if told > 0 && !report {
            print::line(format_args!(
                "{told} of them had been reported as late: their senders are told that they were cancelled."
            ))?;
        }
        match self.mistakes.is_empty() {
            true => Ok(()),
            false => Err(Failure::of(self.mistakes)),
        }
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
