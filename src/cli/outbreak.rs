//! `ilbud outbreak`: block, hold-attachments, list, end, rescan, hunt.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::reading::Reader;
use super::{Failure, cells, operator, print};
use crate::config::Settings;
use crate::mail::measure::{Aim, Measure};
use crate::mail::{Reference, RoomId, Timestamp};
use crate::ops::outbreak::{self, Kind, Listed, Order, Refused, Which, Wish};
use crate::ops::{log, reason};
use crate::spool::store::{Hunted, Store};
use crate::spreadsheet::Separator;

/// How long a measure lasts where nothing is said.
const LENGTH: &str = "24h";
/// What no hunt can know, in a line.
const UNKNOWN: &str = "not known to any hunt: the contents of encrypted archives, what is in attachments \
    beyond 200 files a message, and what was in attachments that came before such lists were kept";
/// The columns of a hunt; in JSON and CSV they have these names.
const COLUMNS: [&str; 12] = [
    "ref",
    "at",
    "status",
    "sender",
    "sender_room",
    "recipient",
    "recipient_room",
    "attachment",
    "sha256",
    "malware",
    "client",
    "count",
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Take no more of this, and deliver none of it
    Block {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        terms: Terms,
    },
    /// Keep what has attachments, and deliver it when this has ended
    HoldAttachments {
        /// Only of and to this room
        #[arg(long, value_name = "ID")]
        room: Option<String>,
        #[command(flatten)]
        terms: Terms,
    },
    /// What is in force
    List {
        /// What has ended too
        #[arg(long)]
        all: bool,
        #[arg(long)]
        json: bool,
    },
    /// End what is in force before its time
    End {
        #[arg(value_name = "NUMBER", required = true)]
        numbers: Vec<u64>,
    },
    /// Scan again what waits or was caught, as after new signatures
    Rescan {
        #[command(flatten)]
        again: Again,
        /// Why, for the log
        #[arg(long, value_name = "TEXT", value_parser = reason::parse)]
        reason: Option<String>,
    },
    /// Who sent it and who received it: a file, or what malware was found in
    Hunt {
        /// SHA-256 of a file, inside archives too; its name, or a pattern such as "*.scr"; part of what malware
        /// is called
        #[arg(value_name = "HASH, NAME or MALWARE", value_parser = outbreak::quarry)]
        quarry: String,
        /// Not before: 2h (ago), 2026-11-22, "2026-11-22 14:00", RFC 3339
        #[arg(long, value_name = "T", value_parser = moment)]
        since: Option<Timestamp>,
        /// Show the names of files, and say why: it is logged
        #[arg(long, value_name = "TEXT", value_parser = reason::parse)]
        reason: Option<String>,
        #[arg(long)]
        json: bool,
        /// For the incident report
        #[arg(long, conflicts_with = "json")]
        csv: bool,
    },
}

/// What is scanned again.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Again {
    #[arg(value_name = "REF", value_parser = log::reference)]
    references: Vec<Reference>,
    /// All that waits, and all that lies in quarantine
    #[arg(long)]
    all: bool,
    /// All that lies in quarantine
    #[arg(long)]
    quarantine: bool,
}

impl Again {
    fn which(&self) -> Which {
        match (self.all, self.quarantine) {
            (true, _) => Which::All,
            (false, true) => Which::Quarantine,
            (false, false) => Which::These(self.references.clone()),
        }
    }
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct What {
    /// Files with this SHA-256, inside archives too
    #[arg(long, value_name = "SHA256", value_parser = outbreak::hash)]
    hash: Option<String>,
    /// Files whose name fits: * is any number of characters, ? is one
    #[arg(long, value_name = "PATTERN", value_parser = outbreak::file)]
    file: Option<String>,
    /// Messages in whose subject this stands
    #[arg(long, value_name = "TEXT", value_parser = outbreak::subject)]
    subject: Option<String>,
    /// Messages of this address, or of all of a domain: @x.test
    #[arg(long, value_name = "A", value_parser = outbreak::sender)]
    sender: Option<String>,
}

impl What {
    fn aim(&self) -> Option<Aim> {
        let hash = self.hash.clone().map(Aim::Hash);
        hash.or_else(|| self.file.clone().map(Aim::File))
            .or_else(|| self.subject.clone().map(Aim::Subject))
            .or_else(|| self.sender.clone().map(Aim::Sender))
    }
}

#[derive(Debug, Args)]
pub(super) struct Terms {
    /// It ends by itself: 30m, 2h, 7d
    #[arg(long = "for", value_name = "TIME", default_value = LENGTH, value_parser = outbreak::time)]
    length: Duration,
    /// Why, for the list and the log
    #[arg(long, value_name = "TEXT", value_parser = reason::parse)]
    reason: Option<String>,
}

fn moment(text: &str) -> Result<Timestamp, log::MomentFault> {
    log::moment(text, Timestamp::now())
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::new(refused)
    }
}

pub(super) async fn run(
    command: &Command,
    store: Arc<dyn Store>,
    settings: Settings,
) -> Result<(), Failure> {
    match command {
        Command::Block { what, terms } => {
            let aim = what.aim();
            let aim = aim.ok_or_else(|| Failure::new("nothing is named that is to be blocked"))?;
            open(&store, aim, terms).await
        }
        Command::HoldAttachments { room, terms } => {
            let room = room.as_deref().map(RoomId::new);
            open(&store, Aim::HoldAttachments(room), terms).await
        }
        Command::List { all, json } => list(&store, Kind::Outbreak, *all, *json).await,
        Command::End { numbers } => end(&store, Kind::Outbreak, numbers).await,
        Command::Rescan { again, reason } => rescan(&store, again, reason.as_deref()).await,
        Command::Hunt {
            quarry,
            since,
            reason,
            json,
            csv,
        } => {
            let mask = settings.privacy.mask;
            let (command, query) = ("outbreak hunt", quarry.clone());
            let is_script = *json || *csv;
            let reason = reason.as_deref();
            let reader = Reader::new(&store, mask, is_script, command, query, reason);
            let mut found = outbreak::hunt(&store, quarry, *since).await?;
            // Which names fit a pattern tells what they are, whatever is masked.
            reader.announce().await?;
            reader.veil_hunted(&mut found).await?;
            print::complaint(UNKNOWN);
            print_found(&found, *json, *csv)
        }
    }
}

async fn open(store: &Arc<dyn Store>, aim: Aim, terms: &Terms) -> Result<(), Failure> {
    let order = Order {
        aim,
        by: operator(),
        reason: terms.reason.clone(),
        length: terms.length,
    };
    let measure = outbreak::open(store, order, Timestamp::now()).await?;
    Ok(print::line(format_args!("{}", in_force(&measure)))?)
}

async fn rescan(
    store: &Arc<dyn Store>,
    again: &Again,
    reason: Option<&str>,
) -> Result<(), Failure> {
    let by = operator();
    let wish = Wish {
        by: &by,
        reason,
        now: Timestamp::now(),
    };
    let meant = outbreak::rescan(store, again.which(), wish).await?;
    let count = meant.len();
    print::line(format_args!("{count} to be scanned again."))?;
    let others = again.references.iter().filter(|it| !meant.contains(it));
    let mistakes: Vec<String> = others
        .map(|it| format!(
            "nothing of {it} is waiting or in quarantine; what became of it: ilbud log show {it}"
        ))
        .collect();
    match mistakes.is_empty() {
        true => Ok(()),
        false => Err(Failure::of(mistakes)),
    }
}

/// What was opened, in a line.
pub(super) fn in_force(measure: &Measure) -> String {
    format!(
        "In force until {}, number {} ({}): {}.",
        print::local(measure.until),
        measure.number,
        measure.reference,
        print::harmless(&measure.aim.to_string())
    )
}

pub(super) async fn list(
    store: &Arc<dyn Store>,
    kind: Kind,
    all: bool,
    json: bool,
) -> Result<(), Failure> {
    let now = Timestamp::now();
    let found = outbreak::list(store, kind, all, now).await?;
    if json {
        let mut listed = found.iter().map(|it| Listed::of(it, now));
        return Ok(listed.try_for_each(|it| print::json(&it))?);
    }
    if found.is_empty() {
        return Ok(print::line(format_args!("Nothing is in force."))?);
    }
    let heads = [
        "number", "ref", "what", "until", "state", "since", "by", "reason",
    ];
    let row = |it: &Measure| {
        let state = match &it.closed {
            Some(closing) => format!("ended by {} {}", closing.by, print::local(closing.at)),
            None => it.state(now).to_owned(),
        };
        vec![
            it.number.to_string(),
            it.reference.to_string(),
            it.aim.to_string(),
            print::local(it.until),
            state,
            print::local(it.opened_at),
            it.by.clone(),
            it.reason.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    Ok(print::table(&heads, &rows)?)
}

/// Ends them one by one; each mistake is told.
pub(super) async fn end(
    store: &Arc<dyn Store>,
    kind: Kind,
    numbers: &[u64],
) -> Result<(), Failure> {
    let by = operator();
    let mut mistakes = Vec::new();
    for &number in numbers {
        match outbreak::end(store, kind, number, &by, Timestamp::now()).await {
            Ok(measure) => print::line(format_args!("{}", ended(&measure)))?,
            Err(refused) => mistakes.push(refused),
        }
    }
    match mistakes.is_empty() {
        true => Ok(()),
        false => Err(Failure::of(mistakes)),
    }
}

pub(super) fn ended(measure: &Measure) -> String {
    format!(
        "Ended, number {} ({}): {}.",
        measure.number,
        measure.reference,
        print::harmless(&measure.aim.to_string())
    )
}

fn print_found(found: &[Hunted], json: bool, csv: bool) -> Result<(), Failure> {
    if json {
        return Ok(found.iter().try_for_each(print::json)?);
    }
    if csv {
        return Ok(print::csv(
            Separator::Comma,
            &COLUMNS,
            found.iter().map(|it| cells::in_a_sheet(full_row(it))),
        )?);
    }
    if found.is_empty() {
        return Ok(print::line(format_args!(
            "Nothing was found. Part of a file's name is sought with stars: \"*part*\"."
        ))?);
    }
    let heads = [
        "ref",
        "at",
        "status",
        "sender",
        "recipient",
        "attachment",
        "malware",
        "client",
    ];
    let rows: Vec<_> = found.iter().map(row).collect();
    Ok(print::table(&heads, &rows)?)
}

/// `setup.exe in tools.zip`
fn file(found: &Hunted) -> String {
    match (&found.attachment, &found.within) {
        (Some(name), Some(attachment)) => print::harmless(&format!("{name} in {attachment}")),
        (name, _) => cells::text(name),
    }
}

fn full_row(found: &Hunted) -> Vec<String> {
    vec![
        found.reference.to_string(),
        found.at.to_string(),
        found.status.clone(),
        cells::text(&found.sender),
        cells::text(&found.sender_room),
        cells::text(&found.recipient),
        cells::text(&found.recipient_room),
        file(found),
        cells::text(&found.sha256),
        cells::text(&found.malware),
        print::harmless(&found.client),
        found.count.to_string(),
    ]
}

fn row(found: &Hunted) -> Vec<String> {
    vec![
        found.reference.to_string(),
        print::local(found.at),
        cells::status(&found.status, found.count),
        cells::sender(&found.sender),
        cells::text(&found.recipient),
        file(found),
        cells::text(&found.malware),
        found.client.clone(),
    ]
}
