//! `ilbud queue list`: what waits, for whom, since when, why, and when it is tried next.
//!
//! For people first summed up by room and reason, what waits longest first, and then a row for each
//! recipient, up to a limit. For scripts each recipient, one JSON object a line.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Failure, Reader, expect_room, print, state};
use crate::document;
use crate::mail::{RoomId, State, Timestamp, Waiver};
use crate::ops::privacy::Mask;
use crate::ops::privacy::access::typed;
use crate::ops::reason;
use crate::spool::store::{Store, Waiting, WaitingFilter, WaitingGroup, WaitingOrder};

/// Rows read at a time, so that a queue of any size is listed in bounded memory.
const PAGE: usize = 1000;

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Only for this room
    #[arg(long, value_name = "ID")]
    room: Option<String>,
    /// Only in this state: unscanned, queued, deferred, held
    #[arg(long, value_name = "S", value_parser = state)]
    state: Option<State>,
    /// Only what waits longer than this, such as 10m
    #[arg(long, value_name = "TIME", value_parser = length)]
    older_than: Option<Duration>,
    /// Only where the last reply holds these words
    #[arg(long, value_name = "WORDS")]
    reason: Option<String>,
    /// What comes first
    #[arg(long, value_name = "ORDER", default_value = "age")]
    by: By,
    /// At most so many rows below the sums; 0: all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Show what is masked in replies, and say why: it is logged
    #[arg(long, value_name = "WHY", value_parser = reason::parse)]
    reveal: Option<String>,
    #[arg(long)]
    json: bool,
}

/// What comes first in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// The oldest
    Age,
    /// Room by room
    Room,
    /// Reason by reason
    Reason,
    /// What is tried next
    Next,
}

fn length(text: &str) -> Result<Duration, &'static str> {
    document::duration(text).ok_or("write a length of time such as 30s, 10m or 4h")
}

impl List {
    fn filter(&self, now: Timestamp) -> WaitingFilter {
        WaitingFilter {
            room: self.room.as_deref().map(RoomId::new),
            state: self.state,
            since_before: self.older_than.map(|age| now.before(age)),
            reason: self.reason.clone(),
            references: Vec::new(),
        }
    }

    const fn order(&self) -> WaitingOrder {
        match self.by {
            By::Age => WaitingOrder::Age,
            By::Room => WaitingOrder::Room,
            By::Reason => WaitingOrder::Reason,
            By::Next => WaitingOrder::Next,
        }
    }

    pub(super) async fn print(&self, store: &Arc<dyn Store>, mask: Mask) -> Result<(), Failure> {
        let now = Timestamp::now();
        let filter = self.filter(now);
        expect_room(store, &filter).await?;
        let (command, query) = ("queue list", self.asked());
        let reveal = self.reveal.as_deref();
        let reader = Reader::new(store, mask, self.json, command, query, reveal);
        match self.reason {
            // Which words stand in a reply tells what is masked in it.
            Some(_) => reader.announce().await?,
            None => reader.announce_if_revealing().await?,
        }
        if self.json {
            return self.print_rows(store, filter, usize::MAX, &reader).await;
        }
        let mut groups = store.waiting_groups(filter.clone()).await?;
        reader.veil_groups(&mut groups).await?;
        if groups.is_empty() {
            let everything = WaitingFilter::default();
            let any = store.waiting_ids(everything, WaitingOrder::Age, 1).await?;
            return Ok(print::line(format_args!(
                "{}",
                match any.is_empty() {
                    true => "Nothing is waiting.",
                    false => "Nothing like that is waiting; all that waits: ilbud queue list",
                }
            ))?);
        }
        print_groups(&groups, now)?;
        let limit = match self.limit {
            0 => usize::MAX,
            limit => limit,
        };
        self.print_rows(store, filter, limit, &reader).await?;
        let count: u64 = groups.iter().map(|it| it.count).sum();
        let left = count.saturating_sub(limit as u64);
        if left > 0 {
            let advice = "--limit 0 shows all, --room and --reason what is meant";
            print::line(format_args!("and {left} more: {advice}"))?;
        }
        Ok(())
    }

    async fn print_rows(
        &self,
        store: &Arc<dyn Store>,
        filter: WaitingFilter,
        limit: usize,
        reader: &Reader,
    ) -> Result<(), Failure> {
        let ids = store.waiting_ids(filter, self.order(), limit).await?;
        for page in ids.chunks(PAGE) {
            let waiting = store.waiting(page.to_vec()).await?;
            print_page(&reader.waiting(&waiting).await?, self.json)?;
        }
        Ok(())
    }

    fn asked(&self) -> String {
        let older_than = self.older_than.map(document::length);
        let fields = [
            ("room", self.room.clone()),
            ("state", self.state.map(|it| it.to_string())),
            ("older-than", older_than),
            ("reason", self.reason.clone()),
        ];
        let given = |(name, value): (&'static str, Option<String>)| Some((name, value?));
        let flags: Vec<_> = fields.into_iter().filter_map(given).collect();
        typed(&[], &flags)
    }
}

fn print_groups(groups: &[WaitingGroup], now: Timestamp) -> Result<(), Failure> {
    let oldest = groups.iter().map(|it| it.oldest_at).min();
    let oldest = oldest.unwrap_or(now);
    let count: u64 = groups.iter().map(|it| it.count).sum();
    print::line(format_args!(
        "{count} waiting, the oldest for {}.\n",
        print::span(now.since(oldest))
    ))?;
    let heads = ["room", "state", "count", "oldest", "next attempt", "why"];
    let rows: Vec<_> = groups.iter().map(|it| group_row(it, now)).collect();
    print::table(&heads, &rows)?;
    Ok(print::line(format_args!(""))?)
}

fn group_row(group: &WaitingGroup, now: Timestamp) -> Vec<String> {
    vec![
        group.room.clone(),
        group.state.clone(),
        group.count.to_string(),
        print::span(now.since(group.oldest_at)),
        next_attempt(group.state.parse().ok(), group.next_attempt_at),
        group.reason.clone(),
    ]
}

fn next_attempt(state: Option<State>, at: Timestamp) -> String {
    match state.is_some_and(is_tried) {
        true => print::local(at),
        false => "-".to_owned(),
    }
}

/// What is held has no next attempt.
const fn is_tried(state: State) -> bool {
    matches!(state, State::Queued | State::Deferred)
}

pub(super) fn print_page(page: &[Waiting], json: bool) -> Result<(), Failure> {
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
    let next_attempt_at = is_tried(waiting.state).then_some(waiting.next_attempt_at);
    Ok(print::json(&serde_json::json!({
        "ref": waiting.id.reference,
        "recipient": waiting.recipient.to_string(),
        "room": waiting.room,
        "state": waiting.state,
        "attempts": waiting.attempts,
        "accepted_at": waiting.accepted_at,
        "next_attempt_at": next_attempt_at,
        "last_reply": waiting.last_reply,
        "exception": waiting.waiver.and_then(Waiver::exception),
        "sender": waiting.sender.as_ref().map(ToString::to_string),
        "size": waiting.size,
        "priority": waiting.terms.priority.level(),
        "told_late": waiting.told.late,
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
        next_attempt(Some(waiting.state), waiting.next_attempt_at),
        waiting.last_reply.clone().unwrap_or_default(),
    ]
}
