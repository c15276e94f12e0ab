//! `ilbud workstation list`: who was met, how it speaks, and what keeps it from strict ground.

use std::sync::Arc;

use clap::Subcommand;

use super::{Failure, print};
use crate::mail::Timestamp;
use crate::ops::routes;
use crate::ops::workstations::{self, Listed};
use crate::spool::store::Store;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Each workstation and gateway: first and last seen, its TLS, and what strictness would refuse
    List {
        /// Only of this room
        #[arg(long, value_name = "ID")]
        room: Option<String>,
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(command: &Command, store: Arc<dyn Store>) -> Result<(), Failure> {
    match command {
        Command::List { room, json } => list(&store, room.as_deref(), *json).await,
    }
}

async fn list(store: &Arc<dyn Store>, room: Option<&str>, json: bool) -> Result<(), Failure> {
    let mut listed = workstations::list(store, Timestamp::now()).await?;
    if let Some(id) = room {
        listed.retain(|it| it.room.as_deref() == Some(id));
        if listed.is_empty()
            && let Some(missing) = routes::missing_room(store, id).await?
        {
            return Err(Failure::new(missing));
        }
    }
    if json {
        return Ok(listed.iter().try_for_each(print::json)?);
    }
    if listed.is_empty() {
        return Ok(print::line(format_args!("No workstation was seen yet."))?);
    }
    let heads = [
        "room",
        "workstation",
        "first seen",
        "last seen",
        "from",
        "TLS",
        "certificate",
        "would fail",
        "last failed",
    ];
    let rows: Vec<_> = listed.iter().map(row).collect();
    Ok(print::table(&heads, &rows)?)
}

fn row(it: &Listed) -> Vec<String> {
    let gateway = it.gateway.as_deref().map(|it| format!("gateway {it}"));
    let failed = it.failed_at.values().max();
    let tls = match it.last_seen {
        Some(_) => it.tls.clone().unwrap_or_else(|| "none".to_owned()),
        None => String::new(),
    };
    let time = |at: Option<Timestamp>| at.map(print::local);
    vec![
        it.room.clone().or(gateway).unwrap_or_default(),
        format!("{} {}", it.kind, it.name),
        time(it.first_seen).unwrap_or_default(),
        time(it.last_seen).unwrap_or_else(|| "never".to_owned()),
        it.address.clone().unwrap_or_default(),
        tls,
        it.certificate_days_left
            .map_or_else(String::new, |days| format!("{days} d left")),
        it.would_fail.join(", "),
        time(failed.copied()).unwrap_or_default(),
    ]
}
