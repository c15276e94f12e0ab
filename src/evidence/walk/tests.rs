#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::evidence::leaf::{Field, Seed, sealed};
use crate::evidence::{SigningKey, tree};
use crate::mail::Timestamp;

fn start() -> Start {
    Start {
        first: 1,
        log: Digest([9; 32]),
    }
}

fn leaves(n: u64, word: &str) -> Vec<Leaf<'static>> {
    let seed = Seed([u8::try_from(n % 251).unwrap(); 16]);
    let fields = vec![
        Field::new("kind", "accepted"),
        Field::owned("reference", n),
        Field::new("details.reason", "none"),
        Field::owned("message.subject", word),
    ];
    sealed(&seed, fields)
}

fn row(n: u64, word: &str, before: Digest) -> Row {
    let leaves = leaves(n, word);
    Row {
        name: Name {
            sequence: n,
            reference: format!("REF-{n}"),
            event: "accepted".to_owned(),
        },
        digest: Some(link(before, n, row_hash(&leaves))),
        marks: marks(&leaves),
        fields: Fields::Leaves {
            leaves,
            misplaced: Vec::new(),
        },
    }
}

/// Rows 1 to `count`.
fn chain(count: u64) -> Vec<Row> {
    let mut before = start().digest();
    (1..=count)
        .map(|n| {
            let row = row(n, "Hei", before);
            before = row.digest.unwrap();
            row
        })
        .collect()
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[3; 32]).unwrap()
}

/// A head after each of these rows.
fn heads(rows: &[Row], ends: &[u64], key: &SigningKey) -> Vec<Head> {
    let mut before = Before::none(&start());
    let mut heads = Vec::new();
    for end in ends {
        let covered = rows
            .iter()
            .filter(|it| before.last < it.name.sequence && it.name.sequence <= *end);
        let digests: Vec<Digest> = covered.map(|it| it.digest.unwrap()).collect();
        let (last, root) = (*digests.last().unwrap(), tree::root(&digests).unwrap());
        let at = Timestamp::from_millis(1_800_000_000_000);
        let head = before.followed_by(digests.len() as u64, last, root, at, key);
        before = head.before_next();
        heads.push(head);
    }
    heads
}

fn walk(rows: Vec<Row>, heads: Vec<Head>) -> Walked {
    let mut walk = Walk::new(start(), vec![key().public()]);
    heads.into_iter().for_each(|it| walk.head(it));
    rows.into_iter().for_each(|it| walk.row(it));
    walk.end()
}

fn found(rows: Vec<Row>, heads: Vec<Head>) -> Vec<String> {
    let walked = walk(rows, heads);
    walked.findings.iter().map(ToString::to_string).collect()
}

fn put(row: &mut Row, leaves: Vec<Leaf<'static>>) {
    row.fields = Fields::Leaves {
        leaves,
        misplaced: Vec::new(),
    };
}

fn signed(rows: &[Row]) -> Vec<Head> {
    heads(rows, &[8, 16], &key())
}

#[test]
fn an_untouched_chain_holds() {
    let rows = chain(20);
    let heads = signed(&rows);
    let walked = walk(rows, heads);
    assert_eq!(walked.findings, []);
    assert_eq!((walked.rows, walked.last), (20, 20));
    assert_eq!(walked.signed.map(|it| (it.0, it.1)), Some((2, 16)));
}

type Tampering = fn(&mut Vec<Row>);

#[rustfmt::skip]
const CASES: &[(&str, Tampering, &[&str])] = &[
    ("a field", |rows| put(&mut rows[4], leaves(5, "Hallo")),
        &["row changed: row 5 (accepted of REF-5): message.subject"]),
    ("the last row", |rows| put(&mut rows[19], leaves(20, "Hallo")),
        &["row changed: row 20 (accepted of REF-20): message.subject"]),
    ("the first row", |rows| put(&mut rows[0], leaves(1, "Hallo")),
        &["row changed: row 1 (accepted of REF-1): message.subject"]),
    ("a digest", |rows| rows[4].digest = Some(Digest([0; 32])),
        &["row changed: row 5 (accepted of REF-5): its digest"]),
    ("no digest", |rows| rows[4].digest = None,
        &["row changed: row 5 (accepted of REF-5): its digest"]),
    ("a field with its marks", |rows| { let new = leaves(5, "Hallo"); rows[4].marks = marks(&new); put(&mut rows[4], new); },
        &["row changed: row 4 (accepted of REF-4) with its digest, or row 5 (accepted of REF-5): the second followed another row"]),
    ("marks", |rows| rows[4].marks = vec![0; 8],
        &["row changed: row 5 (accepted of REF-5): marks"]),
    ("removed", |rows| { rows.remove(4); },
        &["rows removed: row 5, between row 4 and row 6"]),
    ("several removed", |rows| { rows.drain(4..9); },
        &["rows removed: rows 5 to 9, between row 4 and row 10"]),
    ("the first removed", |rows| { rows.remove(0); },
        &["rows removed: row 1, between row 0 and row 2"]),
    ("removed, and the gap closed", |rows| { rows.drain(4..7); for row in &mut rows[4..] { row.name.sequence -= 3; } },
        &["rows removed: 3 between row 4 and row 5, and those after them renumbered"]),
    ("inserted, with those after it renumbered", |rows| { for row in &mut rows[4..] { row.name.sequence += 1; } let mut new = row(500, "Hei", Digest([1; 32])); new.name.sequence = 5; rows.insert(4, new); },
        &["row inserted: row 5 (accepted of REF-500)"]),
    ("a copy inserted", |rows| { for row in &mut rows[4..] { row.name.sequence += 1; } let mut new = rows[12].clone(); new.name.sequence = 5; rows.insert(4, new); },
        &["row inserted: row 5 (accepted of REF-13)"]),
    ("inserted with a digest that fits", |rows| { for row in &mut rows[4..] { row.name.sequence += 1; } let before = rows[3].digest.unwrap(); rows.insert(4, row(5, "Nytt", before)); },
        &["row inserted: row 5 (accepted of REF-5)"]),
    ("a copy of the first inserted after it", |rows| { for row in &mut rows[1..] { row.name.sequence += 1; } let mut new = rows[0].clone(); new.name.sequence = 2; rows.insert(1, new); },
        &["row inserted: row 1 (accepted of REF-1)"]),
    ("one moved past two others", |rows| { let row = rows.remove(4); rows.insert(6, row); for (n, row) in (1..).zip(rows.iter_mut()) { row.name.sequence = n; } },
        &["rows removed: 1 between row 4 and row 5, and those after them renumbered", "rows reordered: row 7 (accepted of REF-5) stood at 5"]),
    ("appended", |rows| { let mut new = row(21, "Hei", Digest([1; 32])); new.marks.clear(); rows.push(new); },
        &["row inserted: row 21 (accepted of REF-21)"]),
    ("two neighbours", |rows| { rows.swap(4, 5); rows[4].name.sequence = 5; rows[5].name.sequence = 6; },
        &["rows reordered: row 5 (accepted of REF-6) stood at 6", "rows reordered: row 6 (accepted of REF-5) stood at 5"]),
    ("two far apart", |rows| { rows.swap(4, 12); rows[4].name.sequence = 5; rows[12].name.sequence = 13; },
        &["rows reordered: row 5 (accepted of REF-13) stood at 13", "rows reordered: row 13 (accepted of REF-5) stood at 5"]),
    ("moved to the end", |rows| { let mut row = rows.remove(4); row.name.sequence = 21; rows.push(row); },
        &["rows reordered: row 21 (accepted of REF-5) stood at 5"]),
    ("the tail cut", |rows| rows.truncate(14),
        &["tail cut: head 2 of 2027-01-15T08:00:00.000Z signed row 16, and the log ends with row 14"]),
    ("the chain rewritten", |rows| { let mut before = rows[9].digest.unwrap(); for (n, at) in (11..).zip(rows[10..].iter_mut()) { *at = row(n, "Nytt", before); before = at.digest.unwrap(); } },
        &["chain rewritten: since head 1 (row 8): head 2 signed another row 16"]),
    ("a row and its digest", |rows| { let before = rows[9].digest.unwrap(); rows[10] = row(11, "Nytt", before); },
        &["row changed: row 11 (accepted of REF-11) with its digest, or row 12 (accepted of REF-12): the second followed another row"]),
];

#[test]
fn each_kind_of_tampering_is_named() {
    for (what, tamper, expected) in CASES {
        let mut rows = chain(20);
        let heads = signed(&rows);
        tamper(&mut rows);
        assert_eq!(found(rows, heads), *expected, "{what}");
    }
}

#[test]
fn heads_are_looked_at_too() {
    let rows = chain(20);
    let ends = [4, 8, 12, 16];
    let good = heads(&rows, &ends, &key());
    let mut changed = good.clone();
    changed[1].at = "2026-01-01T00:00:00.000Z".to_owned();
    assert_eq!(
        found(rows.clone(), changed),
        ["head changed: head 2: its signature does not fit what it says"]
    );
    let mut fewer = good.clone();
    fewer.drain(1..3);
    assert_eq!(
        found(rows.clone(), fewer),
        ["heads removed: 2 between head 1 and head 4"]
    );
    let other = SigningKey::from_seed(&[4; 32]).unwrap();
    let swapped = heads(&rows, &ends, &other);
    let (own, others) = (key().public().id(), other.public().id());
    assert_eq!(
        found(rows, swapped),
        [format!(
            "key swapped: from head 1 on it is signed with key {others}, not with {own}"
        )]
    );
}

#[test]
fn what_is_past_naming_is_counted() {
    let mut rows = chain(500);
    let heads = signed(&rows);
    for row in &mut rows {
        row.digest = None;
    }
    let found = found(rows, heads);
    assert_eq!(
        found.last().unwrap(),
        "row changed: 300 more rows do not fit the rows before them"
    );
}

#[test]
fn what_was_masked_or_purged_holds() {
    let mut rows = chain(20);
    let heads = signed(&rows);
    let Fields::Leaves { leaves, .. } = &mut rows[4].fields else {
        unreachable!()
    };
    let subject = leaves
        .iter_mut()
        .find(|it| it.name == "message.subject")
        .unwrap();
    subject.open = None;
    let Fields::Leaves { leaves, .. } = &rows[10].fields else {
        unreachable!()
    };
    rows[10].fields = Fields::Purged(row_hash(leaves));
    rows[10].digest = None;
    let walked = walk(rows, heads);
    assert_eq!(walked.findings, []);
    assert_eq!((walked.masked, walked.purged), (1, 1));
}

proptest! {
    #[test]
    fn nothing_that_is_done_to_a_row_goes_unseen(at in 0_usize..20, other in 0_usize..20, what in 0..5) {
        let mut rows = chain(20);
        let heads = heads(&rows, &[20], &key());
        match what {
            0 => { rows.remove(at); }
            1 => put(&mut rows[at], leaves(at as u64 + 1, "Hallo")),
            2 => { let row = rows[other].clone(); rows[at].fields = row.fields; rows[at].digest = row.digest; rows[at].marks = row.marks; }
            3 => rows[at].digest = None,
            _ => {
                let row = rows[other].clone();
                rows.insert(at, row);
                for (n, row) in (1..).zip(rows.iter_mut()) {
                    row.name.sequence = n;
                }
            }
        }
        let is_same = what == 2 && at == other;
        prop_assert_eq!(walk(rows, heads).findings.is_empty(), is_same);
    }
}
