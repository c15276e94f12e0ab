//! `ilbud log`: search, answer, show, tail, access, export, verify.

mod access;
mod answer;
mod asked;
mod export;
mod output;
mod progress;
mod retention;
mod rows;
mod search_box;
mod verify;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::reading::Reader;
use super::{Failure, cells, print};
use crate::config::Settings;
use crate::mail::{Attachment, EventKind, Language, Reference, Timestamp};
use crate::ops;
use crate::ops::answer::{Sheet, Trace};
use crate::ops::inquiry::Register;
use crate::spool::store::{Cursor, LogRow, LoggedEvent, MessageRecord, Search, Store};
use asked::Asked;
use search_box::Found;

/// How often `tail` looks for new events.
const LOOK: Duration = Duration::from_millis(200);
/// Events that `tail` reads at a time.
const PORTION: usize = 1000;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Find messages and refusals, newest first
    Search(Box<Terms>),
    /// Did they get it? One sentence to read out, what to do next, and what happened
    Answer(answer::Question),
    /// Everything that happened to one message
    Show {
        #[arg(value_name = "REF", value_parser = ops::log::reference)]
        reference: Reference,
        #[command(flatten)]
        why: Why,
        #[arg(long)]
        json: bool,
    },
    /// Print events as they happen
    Tail {
        /// Start with this many of the newest
        #[arg(long, value_name = "N", default_value_t = 10)]
        limit: u64,
        #[command(flatten)]
        why: Why,
        #[arg(long)]
        json: bool,
    },
    /// Who has read the log, what, and why; newest first
    Access(access::Terms),
    /// Forget what is older than the settings say, now; the running relay does so by itself
    Retention(retention::Terms),
    /// Write down what is to be taken along
    Export(Box<export::Export>),
    /// Whether the log is as it was written: find what was changed, removed or inserted
    Verify(Box<verify::Terms>),
}

impl Command {
    /// What needs neither store nor settings, done.
    pub(super) fn without_store(&self) -> Option<Result<(), Failure>> {
        match self {
            Self::Verify(terms) => terms.without_store(),
            _ => None,
        }
    }
}

/// Why somebody is to see what is masked.
#[derive(Debug, Args)]
pub(super) struct Why {
    /// Show subjects and names of attachments, and say why: it is logged
    #[arg(long, value_name = "TEXT", value_parser = ops::reason::parse)]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Terms {
    #[command(flatten)]
    asked: Asked,
    /// At most so many rows
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// The next page: only what comes behind this row, by the cursor that a search has told
    #[arg(long, value_name = "CURSOR")]
    before: Option<Cursor>,
    #[command(flatten)]
    why: Why,
    #[arg(long)]
    json: bool,
}

fn moment(text: &str) -> Result<Timestamp, ops::log::MomentFault> {
    ops::log::moment(text, Timestamp::now())
}

impl Terms {
    /// A page of what the box says.
    fn with(&self, boxed: Search) -> Search {
        Search {
            before: self.before,
            limit: self.limit,
            ..self.asked.with(boxed)
        }
    }
}

pub(super) async fn run(
    command: &Command,
    store: Arc<dyn Store>,
    settings: Settings,
) -> Result<(), Failure> {
    let mask = settings.privacy.mask;
    let spoken = settings.language;
    let register = Register::new(&store);
    let reader = |command, query, why: &Why, json| {
        Reader::new(&store, mask, json, command, query, why.reason.as_deref())
    };
    let outcome = match command {
        Command::Search(terms) => {
            let reader = reader(
                "log search",
                terms.asked.typed(settings.privacy.keep_subjects),
                &terms.why,
                terms.json,
            );
            search(&store, &register, terms, spoken, &reader).await
        }
        Command::Answer(question) => {
            let query = question.reference.to_string();
            let reader = reader("log answer", query, &question.why, question.json);
            answer::run(&store, &register, question, spoken, &reader).await
        }
        Command::Show {
            reference,
            why,
            json,
        } => {
            let reader = reader("log show", reference.to_string(), why, *json);
            let trace = ops::inquiry::trace(&store, *reference).await?;
            show(&store, &register, trace, *json, spoken, &reader).await
        }
        Command::Tail { limit, why, json } => {
            let reader = reader("log tail", String::new(), why, *json);
            tail(&store, *limit, *json, &reader).await
        }
        Command::Access(terms) => access::run(&store, terms).await,
        Command::Retention(terms) => {
            retention::run(&store, &settings.privacy.retention, terms).await
        }
        Command::Export(export) => {
            let query = export.query(settings.privacy.keep_subjects);
            let reader = reader("log export", query, &export.why, true);
            export::run(&store, &register, &settings, export, &reader).await
        }
        Command::Verify(terms) => verify::run(&store, &settings, terms).await,
    };
    if let Some(doubt) = register.doubt() {
        print::complaint(&format!("warning: {doubt}"));
    }
    outcome
}

async fn search(
    store: &Arc<dyn Store>,
    register: &Register,
    terms: &Terms,
    language: Language,
    reader: &Reader,
) -> Result<(), Failure> {
    let mut found = search_box::found(store, register, terms, language).await?;
    reader.settle(Some(found.rows.len())).await?;
    let veils = reader.of_rows(&found.rows).await?;
    let sentence = match found.only(terms) {
        Some(only) => {
            let trace = ops::inquiry::trace(store, only).await?;
            let sheet = answer::of(store, register, &trace, language, reader);
            Some(sheet.await?.sentence)
        }
        None => None,
    };
    found.rows = found.rows.iter().map(|it| veils.row(it)).collect();
    let shown = reader.show(found.rows.len(), || match terms.json {
        true => Ok(print_listed(&found.rows)?),
        false => Ok(print_found(&found, sentence.as_deref(), terms.limit)?),
    });
    shown.await?;
    if let Some(room) = terms
        .asked
        .room
        .as_deref()
        .filter(|_| found.rows.is_empty())
    {
        // It may be a room of the past, so this is no more than a hint.
        if let Some(missing) = register.missing_room(room).await? {
            print::complaint(&format!("hint: {missing}"));
        }
    }
    Ok(())
}

fn print_listed(rows: &[LogRow]) -> io::Result<()> {
    let mut listed = rows.iter().map(Listed::of);
    listed.try_for_each(|it| print::json(&it))
}

/// `sentence`: what became of the one message that was found.
fn print_found(found: &Found, sentence: Option<&str>, limit: usize) -> io::Result<()> {
    if let Some(readings) = &found.readings {
        print::line(format_args!("{}\n", print::harmless(readings)))?;
    }
    match found.rows.is_empty() {
        true => print::line(format_args!("Nothing was found."))?,
        false => print_rows(&found.rows, limit)?,
    }
    if let Some(sentence) = sentence {
        print::line(format_args!(""))?;
        answer::say(sentence)?;
    }
    Ok(())
}

fn print_rows(rows: &[LogRow], limit: usize) -> io::Result<()> {
    let heads = [
        "ref",
        "at",
        "status",
        "sender",
        "recipient",
        "subject",
        "reply",
    ];
    print::table(&heads, &rows.iter().map(row).collect::<Vec<_>>())?;
    // A page that is not full is the last one.
    if let Some(last) = rows.last().filter(|_| rows.len() == limit) {
        let cursor = last.cursor();
        print::line(format_args!("more: add --before {cursor}"))?;
    }
    Ok(())
}

/// A row for scripts, with where the next page begins behind it.
#[derive(serde::Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    row: &'a LogRow,
    cursor: String,
}

impl<'a> Listed<'a> {
    fn of(row: &'a LogRow) -> Self {
        let cursor = row.cursor().to_string();
        Self { row, cursor }
    }
}

fn row(row: &LogRow) -> Vec<String> {
    vec![
        row.reference.to_string(),
        print::local(row.at),
        cells::status(&row.status, row.count),
        sender(row),
        cells::text(&row.recipient),
        cells::text(&row.subject),
        cells::text(&row.reply),
    ]
}

/// Where nobody got so far as to name a sender, the user.
fn sender(row: &LogRow) -> String {
    match (&row.sender, &row.user) {
        (None, Some(user)) => format!("user {user}"),
        (sender, _) => cells::sender(sender),
    }
}

async fn show(
    store: &Arc<dyn Store>,
    register: &Register,
    trace: Trace,
    json: bool,
    spoken: Language,
    reader: &Reader,
) -> Result<(), Failure> {
    reader.settle(Some(trace.events.len())).await?;
    // Events need no answer, and so no table.
    let sheet = match json && !trace.is_empty() {
        true => None,
        false => match answer::of(store, register, &trace, spoken, reader).await {
            Ok(sheet) => Some(sheet),
            Err(unknown) => return reader.show(0, || Err(unknown)).await,
        },
    };
    let trace = trace.veiled(reader.is_shown());
    let shown = reader.show(trace.events.len(), || match &sheet {
        None => print_events_as_json(&trace),
        Some(sheet) => Ok(print_story(sheet, &trace)?),
    });
    shown.await
}

fn print_events_as_json(trace: &Trace) -> Result<(), Failure> {
    let first = [EventKind::Accepted.word(), EventKind::Refused.word()];
    let mut attachments = Some(trace.attachments.as_slice());
    trace.events.iter().try_for_each(|event| {
        let is_first = first.contains(&event.event.as_str());
        let attachments = attachments.take_if(|_| is_first).unwrap_or_default();
        Ok(print::json(&with_attachments(to_json(event), attachments))?)
    })
}

fn print_story(sheet: &Sheet, trace: &Trace) -> io::Result<()> {
    answer::print_head(sheet)?;
    print::line(format_args!(""))?;
    trace.message.iter().try_for_each(print_message)?;
    trace.attachments.iter().try_for_each(print_attachment)?;
    if trace.message.is_some() || !trace.attachments.is_empty() {
        print::line(format_args!(""))?;
    }
    let events = &trace.events;
    events.iter().try_for_each(|it| print_event(it, false))
}

fn print_message(message: &MessageRecord) -> io::Result<()> {
    let line =
        |name: &str, value: &str| print::line(format_args!("{name:<12}{}", print::harmless(value)));
    line("Reference", &message.reference.to_string())?;
    line("Accepted", &print::local(message.accepted_at))?;
    line(
        "From",
        &message
            .sender
            .as_ref()
            .map_or_else(|| "<>".to_owned(), ToString::to_string),
    )?;
    for recipient in &message.recipients {
        line(
            "To",
            &format!("{} ({})", recipient.recipient, recipient.state),
        )?;
    }
    line("Subject", message.subject.as_deref().unwrap_or_default())?;
    line(
        "Message-ID",
        message.message_id.as_deref().unwrap_or_default(),
    )?;
    line("Size", &format!("{} octets", message.size))?;
    Ok(())
}

/// An attachment, or what is inside of one.
pub(super) fn print_attachment(it: &Attachment) -> io::Result<()> {
    let label = match it.within {
        Some(_) => "",
        None => "Attachment",
    };
    let known = match (it.size, &it.sha256) {
        (Some(size), Some(sha256)) => format!("{size} octets, SHA-256 {sha256}"),
        _ => "not looked at whole".to_owned(),
    };
    let line = print::harmless(&format!("{it} ({}, {known})", it.kind));
    print::line(format_args!("{label:<12}{line}"))
}

/// What the event knows, and nothing that it does not, in one flat object.
fn to_json(event: &LoggedEvent) -> Value {
    let mut object = serde_json::json!({
        "ref": event.reference,
        "at": event.at,
        "event": event.event,
    });
    let details = serde_json::to_value(&event.details).unwrap_or_default();
    if let (Value::Object(object), Value::Object(details)) = (&mut object, details) {
        if let Some(sender) = &event.sender {
            object.insert("sender".to_owned(), Value::String(sender.clone()));
        }
        if let Some(recipient) = &event.recipient {
            object.insert("recipient".to_owned(), Value::String(recipient.clone()));
        }
        object.extend(details);
    }
    object
}

/// The first acceptance, or refusal, says what is attached to the message.
fn with_attachments(mut event: Value, attachments: &[Attachment]) -> Value {
    if let (Value::Object(object), false) = (&mut event, attachments.is_empty()) {
        let listed = attachments.iter().map(|it| {
            let mut listed = serde_json::json!({
                "name": it.name,
                "kind": it.kind,
                "size": it.size,
                "sha256": it.sha256,
            });
            if let (Some(attachment), Value::Object(listed)) = (&it.within, &mut listed) {
                listed.insert("within".to_owned(), Value::String(attachment.clone()));
            }
            listed
        });
        object.insert("attachments".to_owned(), listed.collect());
    }
    event
}

fn print_event(event: &LoggedEvent, with_reference: bool) -> io::Result<()> {
    let mut line = format!("{}  ", print::local(event.at));
    if with_reference {
        line += &format!("{}  ", event.reference);
    }
    line += &format!(
        "{:<18}{}",
        event.event,
        event.recipient.as_deref().unwrap_or_default()
    );
    print::line(format_args!("{}", print::harmless(line.trim_end())))?;
    if let Ok(Value::Object(details)) = serde_json::to_value(&event.details) {
        for (name, value) in details {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let value = print::with_local_times(&value);
            print::line(format_args!("    {name:<16}{}", print::harmless(&value)))?;
        }
    }
    Ok(())
}

/// That it is read is noted once, at its start.
async fn tail(
    store: &Arc<dyn Store>,
    limit: u64,
    json: bool,
    reader: &Reader,
) -> Result<(), Failure> {
    let mut last = store.last_event().await?.saturating_sub(limit);
    reader.announce().await?;
    loop {
        let events = store.events_after(last, PORTION).await?;
        let veils = reader.of_events(&events).await?;
        for event in &events {
            let shown = veils.event(event);
            match json {
                true => print::json(&to_json(&shown))?,
                false => print_event(&shown, true)?,
            }
            last = event.sequence;
        }
        if events.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
    }
}
