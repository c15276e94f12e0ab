//! What the chain of the log costs: `cargo bench --bench chain -- [ROWS]`.
//!
//! Rows as a delivery writes them go into a store of each kind, a thousand to a commit: as they were before the
//! chain (schema 13, the bare statement), and as they are. Then the whole of it is verified. Microseconds and
//! octets a row; both kinds are made of the same rows, on the same disk, three times each in turn.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ilbud::evidence::leaf::{Field, Seed, row_hash, sealed};
use ilbud::evidence::{Digest, link};
use ilbud::mail::{Details, Event, EventKind, Reference, Timestamp};
use ilbud::ops::evidence::{Files, Settings, Signer, verify};
use ilbud::spool::sqlite::{self, Sqlite};
use ilbud::spool::store::{Change, Store};
use rusqlite::{Connection, params};

const COMMIT: usize = 1000;
const NOW: i64 = 1_800_000_000_000;

fn event(n: usize) -> Event {
    Event {
        reference: Reference::from_number((n as u64) << 20),
        at: Timestamp::from_millis(NOW + n as i64),
        kind: EventKind::Delivered,
        recipient: Some("vakt@legevakt-hamar.nodnett.test".parse().unwrap()),
        details: Details {
            room: Some("legevakt-hamar".to_owned()),
            hop: Some("smtp://10.1.0.5:25".to_owned()),
            tls: Some("TLSv1.3 TLS13_AES_256_GCM_SHA384".to_owned()),
            duration_ms: Some(n as u64 % 900),
            attempt: Some(1),
            reply: Some(format!("250 2.0.0 Ok: queued as {n:012X}")),
            ..Details::default()
        },
    }
}

fn main() {
    let rows = std::env::args().find_map(|it| it.parse().ok());
    let rows: usize = rows.unwrap_or(200_000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for _ in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let (bare, chained) = (
            folder.path().join("bare.db"),
            folder.path().join("chained.db"),
        );
        let without = bare_rows(&bare, rows);
        let settings = sqlite::Settings {
            path: chained.clone(),
            keep_bodies: Duration::ZERO,
        };
        let store: Arc<dyn Store> = Arc::new(Sqlite::open(&settings).unwrap());
        let with = runtime.block_on(chained_rows(&store, rows));
        report("a row as it was before the chain", without, rows);
        report("a row of the chain", with, rows);
        let (before, after) = (size(&bare), size(&chained));
        println!(
            "octets a row: {} before, {} now",
            before / rows,
            after / rows
        );
        let settings = Settings::beside(&chained);
        let signer = Signer::new(Arc::clone(&store), &settings).unwrap();
        let from = Instant::now();
        let heads = runtime
            .block_on(signer.sign(Timestamp::from_millis(NOW)))
            .unwrap();
        report(
            &format!("signing ({} heads)", heads.len()),
            from.elapsed(),
            rows,
        );
        let from = Instant::now();
        let files = Files::from(&settings);
        let report_of_it = runtime.block_on(verify(&store, &files, &[], &[], |_, _| {}));
        let verified = report_of_it.unwrap();
        assert!(verified.findings.is_empty() && verified.rows == rows as u64);
        report("verifying", from.elapsed(), rows);
    }
    let from = Instant::now();
    let mut digest = Digest([0; 32]);
    for n in 0..rows {
        let details = serde_json::to_string(&event(n).details).unwrap();
        let fields = details.split(',').enumerate();
        let fields = fields.map(|(n, it)| Field::new(format!("details.{n}"), it));
        digest = link(
            digest,
            n as u64,
            row_hash(&sealed(&Seed([7; 16]), fields.collect())),
        );
    }
    report("hashing alone", from.elapsed(), rows);
}

fn report(what: &str, took: Duration, rows: usize) {
    let each = took.as_secs_f64() * 1e6 / rows as f64;
    println!("{what:<34}{each:>8.2} µs");
}

fn size(file: &Path) -> usize {
    let store = Connection::open(file).unwrap();
    let pages = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    let octets: i64 = store.query_row(pages, [], |row| row.get(0)).unwrap();
    octets as usize
}

/// Time with the making of the events taken out.
async fn chained_rows(store: &Arc<dyn Store>, rows: usize) -> Duration {
    let mut took = Duration::ZERO;
    for first in (0..rows).step_by(COMMIT) {
        let events = (first..rows.min(first + COMMIT)).map(event).collect();
        let change = Arc::new(Change {
            events,
            ..Change::default()
        });
        let from = Instant::now();
        store.apply(change).await.unwrap();
        took += from.elapsed();
    }
    took
}

fn bare_rows(file: &Path, rows: usize) -> Duration {
    let store = Connection::open(file).unwrap();
    store
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 8192;
             PRAGMA cache_size = -65536;
             CREATE TABLE event (sequence INTEGER PRIMARY KEY, reference INTEGER NOT NULL, at INTEGER NOT NULL,
                 kind TEXT NOT NULL, recipient TEXT, details TEXT NOT NULL) STRICT;
             CREATE INDEX event_reference ON event (reference);
             CREATE INDEX event_malware ON event (reference) WHERE instr(details, '\"malware\":') > 0;",
        )
        .unwrap();
    let mut took = Duration::ZERO;
    for first in (0..rows).step_by(COMMIT) {
        let events: Vec<Event> = (first..rows.min(first + COMMIT)).map(event).collect();
        let from = Instant::now();
        store.execute_batch("BEGIN IMMEDIATE").unwrap();
        for event in events {
            let details = serde_json::to_string(&event.details).unwrap();
            store
                .prepare_cached(
                    "INSERT INTO event (reference, at, kind, recipient, details) VALUES (?1, ?2, ?3, ?4, ?5)",
                )
                .unwrap()
                .execute(params![
                    event.reference.number() as i64,
                    event.at.as_millis(),
                    event.kind.word(),
                    event.recipient.map(|it| it.to_string()),
                    details,
                ])
                .unwrap();
        }
        store.execute_batch("COMMIT").unwrap();
        took += from.elapsed();
    }
    took
}
