//! `ilbud route explain`: one decision, told to a person.

use std::sync::Arc;

use super::none_yet;
use crate::cli::{Failure, print};
use crate::config::Settings;
use crate::mail::Timestamp;
use crate::ops::routes;
use crate::policy::decide;
use crate::spool::store::Store;

pub(super) async fn run(
    store: &Arc<dyn Store>,
    (from, to): (&str, &str),
    client: Option<decide::Client>,
    settings: Settings,
    json: bool,
) -> Result<(), Failure> {
    let (_, table) = routes::current(store).await?.ok_or_else(none_yet)?;
    let table = settings.in_force(table);
    for explanation in decide::explain(from, to, client.as_ref(), &table, Timestamp::now()) {
        if json {
            print::json(&explanation)?;
            continue;
        }
        print::line(format_args!(
            "{}: {}",
            explanation.decision,
            print::harmless(&explanation.rule)
        ))?;
        print::line(format_args!("  revision   {}", explanation.revision))?;
        if let Some(room) = &explanation.recipient_room {
            print::line(format_args!("  room       {room}"))?;
        }
        for hop in &explanation.next_hops {
            print::line(format_args!("  next hop   {}", print::harmless(hop)))?;
        }
        print::line(format_args!(
            "  reply      {}",
            print::harmless(&explanation.reply)
        ))?;
    }
    Ok(())
}
