//! A store that an earlier version left behind, with mail waiting in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ilbud::mail::{
    Lapses, Origin, RoomId, Sighting, State, Station, StationKind, Terms, Timestamp,
};
use ilbud::spool::sqlite::{Settings, Sqlite};
use ilbud::spool::store::{Change, Portion, RecipientChange, ScanStep, Search, Store, Told};
use rusqlite::Connection;

const FIRST: &str = include_str!("../../src/spool/schema/sqlite/001_main_job.sql");
const SECOND: &str = include_str!("../../src/spool/schema/sqlite/002_delivery.sql");
const NOW: i64 = 1_800_000_000_000;

const THIRD: &str = include_str!("../../src/spool/schema/sqlite/003_time.sql");
const FIFTH: &str = include_str!("../../src/spool/schema/sqlite/005_workstation.sql");
const FOURTH: &str = include_str!("../../src/spool/schema/sqlite/004_credential.sql");

/// One message with octets beyond ASCII, deferred, as schema 1 kept it.
fn left_behind(path: &std::path::Path) {
    let old = Connection::open(path).unwrap();
    old.execute_batch(FIRST).unwrap();
    old.execute_batch(&format!(
        "INSERT INTO message VALUES (7, {NOW}, 'vakt@a.test', 'a', '127.0.1.9', 0, 1, 9, 'x', NULL);
         INSERT INTO content VALUES (7, x'', x'C3A50D0A');
         INSERT INTO recipient VALUES (7, 0, 'vakt@b.test', 'b', 'deferred', 3, {NOW}, {NOW},
             '451 busy', NULL);
         PRAGMA user_version = 1;"
    ))
    .unwrap();
}

/// The same, as the schema after it kept it: in doubt, and another that an operator holds.
fn left_behind_by_the_second(path: &std::path::Path) {
    left_behind(path);
    let old = Connection::open(path).unwrap();
    old.execute_batch(SECOND).unwrap();
    old.execute_batch(&format!(
        "UPDATE recipient SET last_reply = 'possibly delivered: no answer', told = 1;
         INSERT INTO recipient (reference, number, address, room, state, attempts, next_attempt_at)
             VALUES (7, 1, 'leder@b.test', 'b', 'held', 0, {NOW});
         PRAGMA user_version = 2;"
    ))
    .unwrap();
}

#[tokio::test]
async fn an_older_store_takes_passwords_and_keeps_its_refusals() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ilbud.db");
    left_behind_by_the_second(&path);
    let old = Connection::open(&path).unwrap();
    old.execute_batch(THIRD).unwrap();
    old.execute_batch(&format!(
        "INSERT INTO refusal VALUES (1, 9, {NOW}, '127.0.1.9', 'vakt@a.test', NULL, NULL, NULL,
             NULL, NULL, NULL, '550 5.7.1 no', 1);
         PRAGMA user_version = 3;"
    ))
    .unwrap();
    drop(old);
    let keep_bodies = Duration::ZERO;
    let store = Sqlite::open(&Settings { path, keep_bodies }).unwrap();
    assert!(store.credentials().await.unwrap().is_empty());
    let nobody = store.credential("ws3".to_owned()).await.unwrap();
    assert!(!nobody.verifiers.are_real);
    let search = Search {
        status: Some("refused".to_owned()),
        limit: 9,
        ..Search::default()
    };
    let rows = store.search(search).await.unwrap();
    assert_eq!((rows.len(), rows[0].user.as_deref()), (1, None));
}

#[tokio::test]
async fn an_older_store_has_met_nobody_and_remembers_from_now_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ilbud.db");
    left_behind_by_the_second(&path);
    let old = Connection::open(&path).unwrap();
    old.execute_batch(THIRD).unwrap();
    old.execute_batch(FOURTH).unwrap();
    old.execute_batch("PRAGMA user_version = 4;").unwrap();
    drop(old);
    let keep_bodies = Duration::ZERO;
    let store = Sqlite::open(&Settings { path, keep_bodies }).unwrap();
    assert!(store.workstations().await.unwrap().is_empty());
    let sighting = Sighting {
        station: Station {
            origin: Origin::Room(RoomId::new("a")),
            kind: StationKind::Address,
            name: "127.0.1.9".to_owned(),
        },
        at: Timestamp::from_millis(NOW),
        address: "127.0.1.9".parse().unwrap(),
        tls: None,
        certificate_ends_at: None,
        lapses: Lapses::NONE,
    };
    store.saw(vec![sighting]).await.unwrap();
    assert_eq!(store.workstations().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_waited_before_anything_was_scanned_is_delivered_and_may_be_scanned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ilbud.db");
    left_behind_by_the_second(&path);
    let old = Connection::open(&path).unwrap();
    for schema in [THIRD, FOURTH, FIFTH] {
        old.execute_batch(schema).unwrap();
    }
    old.execute_batch("PRAGMA user_version = 5;").unwrap();
    drop(old);
    let keep_bodies = Duration::ZERO;
    let store = Sqlite::open(&Settings { path, keep_bodies }).unwrap();
    let now = Timestamp::from_millis(NOW);
    assert!(store.quarantined(None, 9).await.unwrap().is_empty());
    assert!(store.measures(None).await.unwrap().is_empty());
    // Nobody has scanned what waits, and it is not given out before that.
    let portion = Portion {
        urgent: 9,
        routine: 9,
    };
    let take = || store.take_due(now, now, portion, HashMap::new());
    assert_eq!(take().await.unwrap().len(), 0);
    pass_the_scan(&store, now).await;
    assert_eq!(take().await.unwrap().len(), 1);
}

/// All that waits for its scan is clean.
async fn pass_the_scan(store: &Sqlite, now: Timestamp) {
    for row in store.to_scan(now, 9).await.unwrap() {
        let record = store.message(row.reference).await.unwrap().unwrap();
        let waits = record.recipients.iter();
        let queued = waits.map(|it| RecipientChange {
            to: Some(State::Queued),
            ..RecipientChange::of(it.id, &[State::Unscanned])
        });
        let change = Change {
            scan_of: Some((row.reference, row.round)),
            recipients: queued.collect(),
            scans: vec![ScanStep::Done {
                reference: row.reference,
                trace: "X-Ilbud-Scan: clean\r\n".into(),
            }],
            ..Change::default()
        };
        assert!(store.apply(Arc::new(change)).await.unwrap().is_made());
    }
}

#[tokio::test]
async fn what_was_known_in_an_older_store_is_known_still() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ilbud.db");
    left_behind_by_the_second(&path);
    let keep_bodies = Duration::ZERO;
    let store = Sqlite::open(&Settings { path, keep_bodies }).unwrap();
    let now = Timestamp::from_millis(NOW);
    let rows = store.to_look_at(now, 9).await.unwrap();
    let known: Vec<_> = rows
        .iter()
        .map(|row| (row.state.word(), row.is_doubtful, row.told.late))
        .collect();
    assert_eq!(known, [("unscanned", true, true), ("held", false, false)]);
}

#[tokio::test]
async fn what_waited_in_an_older_store_is_given_out_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ilbud.db");
    left_behind(&path);
    let keep_bodies = Duration::ZERO;
    let store = Sqlite::open(&Settings { path, keep_bodies }).unwrap();
    let now = Timestamp::from_millis(NOW);
    let portion = Portion {
        urgent: 9,
        routine: 9,
    };
    pass_the_scan(&store, now).await;
    let due = store
        .take_due(now, now, portion, HashMap::new())
        .await
        .unwrap();
    let [row] = &due[..] else { panic!("{due:?}") };
    assert_eq!((row.attempts, row.waits_since), (3, now));
    assert_eq!((&row.terms, row.told), (&Terms::default(), Told::default()));
    // Nobody knows what the client declared, so it goes out as it came in.
    assert!(!row.eight_bit);
}

const WRITE_A_RECIPIENT: &str =
    "INSERT INTO recipient (reference, number, address, room, state, attempts, next_attempt_at,
         finished_at) VALUES (?1, 9, 'vakt@b.test', 'b', ?2, 0, 0, ?3)";

#[tokio::test]
async fn an_older_store_checks_what_it_checked_and_quicker() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ilbud.db");
    left_behind_by_the_second(&path);
    let settings = Settings {
        path: path.clone(),
        keep_bodies: Duration::ZERO,
    };
    drop(Sqlite::open(&settings).unwrap());
    let store = Connection::open(&path).unwrap();
    let write = |number: i64, state: &str, finished_at: Option<i64>| {
        let values = rusqlite::params![number, state, finished_at];
        store.execute(WRITE_A_RECIPIENT, values).is_ok()
    };
    let states = State::ALL.iter().zip(100..);
    let written = states.clone().filter(|(state, number)| {
        let finished_at = state.is_final().then_some(1);
        // Those that are due have a time, which is not given here.
        write(*number, state.word(), finished_at)
            != matches!(state, State::Queued | State::Deferred)
    });
    assert_eq!(written.count(), State::ALL.len());
    assert!(!write(1, "nonsense", None));
    assert!(!write(2, "held", Some(1)) && !write(3, "failed", None));
    // A table in memory takes longer to make than a row to write.
    let mut plan = store
        .prepare(&format!("EXPLAIN {WRITE_A_RECIPIENT}"))
        .unwrap();
    let steps = plan.query_map(rusqlite::params![4, "held", 1], |row| row.get(1));
    let steps: Vec<String> = steps.unwrap().map(Result::unwrap).collect();
    assert!(!steps.is_empty() && !steps.iter().any(|it| it == "OpenEphemeral"));
}
