//! `ilbud log verify`: whether the log, or a proof of a part of it, is as it was written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::progress::Progress;
use crate::cli::{Failure, print};
use crate::config::Settings;
use crate::evidence::PublicKey;
use crate::evidence::proof::{Proof, ProvenRow};
use crate::mail::Timestamp;
use crate::ops::evidence::{self, Files, Report};
use crate::spool::store::Store;

#[derive(Debug, Args)]
pub(in crate::cli) struct Terms {
    /// The relay's public key, or the file that holds it; more than one where the key was changed
    #[arg(long, value_name = "PUBLIC", value_parser = public_key)]
    key: Vec<PublicKey>,
    /// Heads from another machine, to be compared with the store's
    #[arg(long, value_name = "FILE", conflicts_with = "proof")]
    heads: Vec<PathBuf>,
    /// Check a proof instead, that log export --case wrote; needs no store and no settings
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    #[arg(long)]
    json: bool,
}

/// 64 digits of hex, or a file with them.
fn public_key(text: &str) -> Result<PublicKey, String> {
    let is_key = text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit());
    if is_key {
        return text.to_ascii_lowercase().parse();
    }
    let file = std::fs::read_to_string(text)
        .map_err(|fault| format!("a key is 64 digits of hex, or a file with them: {fault}"))?;
    file.trim().parse()
}

impl Terms {
    /// What needs no store: the proof, checked.
    pub(in crate::cli) fn without_store(&self) -> Option<Result<(), Failure>> {
        self.proof.as_deref().map(|file| self.check(file))
    }

    fn check(&self, file: &Path) -> Result<(), Failure> {
        let name = file.display();
        let text = std::fs::read_to_string(file)
            .map_err(|fault| Failure::new(format!("{name}: {fault}")))?;
        let proof = Proof::check(&text, &self.key).map_err(|faults| {
            Failure::of(
                faults
                    .iter()
                    .map(|fault| format!("{name} proves nothing: {fault}")),
            )
        })?;
        match self.json {
            true => Ok(proof
                .rows
                .iter()
                .try_for_each(|row| print::json(&as_json(row)))?),
            false => Ok(tell_proof(&proof, !self.key.is_empty())?),
        }
    }
}

pub(super) async fn run(
    store: &Arc<dyn Store>,
    settings: &Settings,
    terms: &Terms,
) -> Result<(), Failure> {
    let files = Files::from(&settings.log);
    let others: Vec<&Path> = terms.heads.iter().map(PathBuf::as_path).collect();
    let mut progress = Progress::new(true);
    let report = evidence::verify(store, &files, &terms.key, &others, |done, all| {
        progress.tell(|| format!("{done} of {all} rows"));
    })
    .await;
    drop(progress);
    let report = report.map_err(Failure::new)?;
    if terms.json {
        report.findings.iter().try_for_each(print::json)?;
        print::json(&summary(&report))?;
    } else if report.findings.is_empty() {
        print::line(format_args!("{}", sentence(&report)))?;
    }
    for note in report.notes.iter().filter(|_| !terms.json) {
        print::complaint(&format!("note: {note}"));
    }
    if report.findings.is_empty() {
        return Ok(());
    }
    let told = report.findings.iter().map(ToString::to_string);
    let untold = (report.untold > 0).then(|| format!("… and {} more findings", report.untold));
    Err(Failure::of(told.chain(untold).collect::<Vec<_>>()))
}

fn summary(report: &Report) -> Value {
    let mut summary = serde_json::to_value(report).unwrap_or_default();
    if let Value::Object(fields) = &mut summary {
        fields.insert("kind".to_owned(), json!("summary"));
        let findings = report.findings.len() as u64 + report.untold;
        fields.insert("findings".to_owned(), json!(findings));
    }
    summary
}

/// `1,234 rows, chained since …, signed up to row 1,200 …`
fn sentence(report: &Report) -> String {
    let mut sentence = format!("{} rows", report.rows);
    if let Some(since) = report.chained_since.as_deref() {
        sentence += &format!(", chained since {}", local(since));
    }
    sentence += &match (
        report.head,
        report.signed_to,
        &report.signed_at,
        &report.key,
    ) {
        (Some(head), Some(row), Some(at), Some(key)) => format!(
            ", signed up to row {row} (head {head} of {}, key {})",
            local(at),
            key.id()
        ),
        _ => ", not signed yet".to_owned(),
    };
    if report.unsigned > 0 && report.head.is_some() {
        sentence += &format!("; {} rows since then are not signed yet", report.unsigned);
    }
    if report.rows_before > 0 {
        sentence += &format!("; {} rows before are not chained", report.rows_before);
    }
    if report.masked > 0 {
        sentence += &format!("; of {} rows something was masked for good", report.masked);
    }
    if report.purged > 0 {
        sentence += &format!("; {} rows were purged", report.purged);
    }
    if report.masked_by_age + report.purged_by_age > 0 {
        sentence += &format!(
            " (since they were old, as log retention says: {} masked, {} purged)",
            report.masked_by_age, report.purged_by_age
        );
    }
    sentence
}

fn local(moment: &str) -> String {
    let read: Result<Timestamp, _> = moment.parse();
    read.map_or_else(|_| moment.to_owned(), print::local)
}

fn as_json(row: &ProvenRow) -> Value {
    let fields = row.fields.keys().map(|name| {
        let value =
            row.value(name)
                .map_or(Value::Null, |value| match name.starts_with("details.") {
                    true => serde_json::from_str(value).unwrap_or_else(|_| json!(value)),
                    false => json!(value),
                });
        (name.clone(), value)
    });
    let mut object: serde_json::Map<String, Value> = fields.collect();
    object.insert("sequence".to_owned(), json!(row.sequence));
    Value::Object(object)
}

/// What a proof proves, in words, and its rows.
fn tell_proof(proof: &Proof, is_trusted: bool) -> std::io::Result<()> {
    let rows = proof.rows.len();
    let signed: Vec<&str> = proof.heads.iter().map(|it| it.at.as_str()).collect();
    let signed = match *signed.as_slice() {
        [] => String::new(),
        [one] => format!("at {}", local(one)),
        [first, .., last] => format!("between {} and {}", local(first), local(last)),
    };
    print::line(format_args!(
        "The proof holds. Who has the key {} signed {signed} that these {rows} rows on {} stood in the log, in \
         this order and at these places; nothing in them was changed since.",
        proof.key.id(),
        print::harmless(&proof.reference),
    ))?;
    let masked = |row: &&ProvenRow| row.fields.keys().any(|it| row.value(it).is_none());
    let masked = proof.rows.iter().filter(masked).count();
    if masked > 0 {
        print::line(format_args!(
            "In {masked} of the rows something had been masked for good before the proof was made."
        ))?;
    }
    if !is_trusted {
        print::line(format_args!(
            "Whose key it is you have to know yourself: compare it with the relay's (the file that ends in \
             -key.pub), or give that with --key.\n    {}",
            proof.key
        ))?;
    }
    print::line(format_args!(
        "It does not prove that there are no other rows on {}, nor that the relay's clock was right.",
        print::harmless(&proof.reference),
    ))?;
    proof.rows.iter().try_for_each(tell_row)
}

fn tell_row(row: &ProvenRow) -> std::io::Result<()> {
    let value = |name| row.value(name).unwrap_or("(masked)");
    let recipient = match row.fields.contains_key("recipient") {
        true => value("recipient"),
        false => "",
    };
    let line = format!(
        "{}  row {:<8}  {:<18}{recipient}",
        local(value("at")),
        row.sequence,
        value("kind")
    );
    print::line(format_args!("\n{}", print::harmless(line.trim_end())))?;
    let told = ["at", "kind", "recipient", "reference", "covers"];
    for name in row.fields.keys().filter(|it| !told.contains(&it.as_str())) {
        let value = value(name);
        let plain: Option<String> = match name.starts_with("details.") {
            true => serde_json::from_str(value).ok(),
            false => None,
        };
        let value = plain.as_deref().unwrap_or(value);
        let name = name.strip_prefix("details.").unwrap_or(name);
        print::line(format_args!(
            "    {:<24}{}",
            print::harmless(name),
            print::harmless(value)
        ))?;
    }
    Ok(())
}
