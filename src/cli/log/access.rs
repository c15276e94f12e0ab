//! `ilbud log access`: who has read the log, what, and why.

use std::sync::Arc;

use clap::Args;

use super::moment;
use crate::cli::{Failure, cells, print};
use crate::mail::Timestamp;
use crate::ops::privacy::access::Access;
use crate::spool::store::{Store, Window};

/// Rows read at a time.
const PORTION: usize = 1000;

#[derive(Debug, Args)]
pub(in crate::cli) struct Terms {
    /// Not before: 2h (ago), 2026-11-22, "2026-11-22 14:00", RFC 3339
    #[arg(long, value_name = "T", value_parser = moment)]
    since: Option<Timestamp>,
    /// Not after
    #[arg(long, value_name = "T", value_parser = moment)]
    until: Option<Timestamp>,
    /// At most so many rows; 0: all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(store: &Arc<dyn Store>, terms: &Terms) -> Result<(), Failure> {
    let window = Window {
        since: terms.since,
        until: terms.until,
    };
    let (mut before, mut left) = (None, terms.limit);
    if left == 0 {
        left = usize::MAX;
    }
    let mut is_first = true;
    while left > 0 {
        let portion = store.readings(window, before, left.min(PORTION)).await?;
        let Some(last) = portion.last() else { break };
        before = Some(last.sequence);
        left = left.saturating_sub(portion.len());
        let portion: Vec<Access> = portion.into_iter().map(Access::from).collect();
        print(&portion, terms.json)?;
        is_first = false;
    }
    if is_first && !terms.json {
        print::line(format_args!("Nobody has read the log."))?;
    }
    Ok(())
}

fn print(portion: &[Access], json: bool) -> Result<(), Failure> {
    if json {
        return Ok(portion.iter().try_for_each(print::json)?);
    }
    let heads = ["at", "by", "command", "asked for", "rows", "reason"];
    let row = |it: &Access| {
        vec![
            print::local(it.at),
            cells::text(&it.by),
            cells::text(&it.command),
            cells::text(&it.query),
            cells::number(it.rows),
            cells::text(&it.reason),
        ]
    };
    Ok(print::table(
        &heads,
        &portion.iter().map(row).collect::<Vec<_>>(),
    )?)
}
