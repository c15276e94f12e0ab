//! What is wrong with a log, one sentence each.

use std::fmt;

use serde::Serialize;

use crate::mail::State;
use crate::mail::event::words;

use super::key::PublicKey;
use super::state::Explained;

words! {
    /// What was done to the log.
    Kind {
        RowChanged = "row changed",
        RowsRemoved = "rows removed",
        RowInserted = "row inserted",
        RowsReordered = "rows reordered",
        ChainRewritten = "chain rewritten",
        TailCut = "tail cut",
        HeadChanged = "head changed",
        HeadsRemoved = "heads removed",
        KeySwapped = "key swapped",
        StateUnexplained = "state unexplained",
        MessageUnexplained = "message unexplained",
    }
}

/// One thing that is wrong. Field names are those of `--json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: Kind,
    /// A sentence, without the kind.
    pub text: String,
    /// The row's place in the order of commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Which fields were changed, where that can be told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<u64>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.text)
    }
}

/// A row as people know it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Name {
    pub sequence: u64,
    pub reference: String,
    pub event: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sequence,
            reference,
            event,
        } = self;
        write!(f, "row {sequence} ({event} of {reference})")
    }
}

impl Finding {
    fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            sequence: None,
            reference: None,
            event: None,
            fields: Vec::new(),
            head: None,
        }
    }

    fn of_row(kind: Kind, row: &Name, text: String) -> Self {
        Self {
            sequence: Some(row.sequence),
            reference: Some(row.reference.clone()),
            event: Some(row.event.clone()),
            ..Self::new(kind, text)
        }
    }

    fn of_head(kind: Kind, head: u64, text: String) -> Self {
        Self {
            head: Some(head),
            ..Self::new(kind, text)
        }
    }

    /// `fields`: those that are not as they were; `missing`: more were there.
    pub fn changed(row: &Name, fields: Vec<String>, missing: usize) -> Self {
        let names = fields.join(", ");
        let text = match (fields.len(), missing) {
            (0, 0) => format!("{row}: which field cannot be told"),
            (0, missing) => format!("{row}: {missing} of its fields are gone"),
            (count, missing) if missing > count => format!(
                "{row}: {names}; and {} more of its fields are gone",
                missing - count
            ),
            _ => format!("{row}: {names}"),
        };
        Self {
            fields,
            ..Self::of_row(Kind::RowChanged, row, text)
        }
    }

    /// The second does not follow the first, and each by itself looks as it was.
    pub fn one_of_two(row: &Name, after: &Name) -> Self {
        let text = format!("{row} with its digest, or {after}: the second followed another row");
        Self::of_row(Kind::RowChanged, row, text)
    }

    pub fn digest_changed(row: &Name) -> Self {
        let text = format!("{row}: its digest");
        Self {
            fields: vec!["digest".to_owned()],
            ..Self::of_row(Kind::RowChanged, row, text)
        }
    }

    pub fn unreadable(row: &Name, why: &str) -> Self {
        Self::of_row(Kind::RowChanged, row, format!("{row}: {why}"))
    }

    pub fn in_place_of_masked(row: &Name, fields: Vec<String>) -> Self {
        let names = fields.join(", ");
        let text = format!("{row}: something was put where {names} had been masked for good");
        Self {
            fields,
            ..Self::of_row(Kind::RowChanged, row, text)
        }
    }

    pub fn more(rows: u64) -> Self {
        let text = format!("{rows} more rows do not fit the rows before them");
        Self::new(Kind::RowChanged, text)
    }

    pub fn removed(first: u64, last: u64) -> Self {
        let which = match first == last {
            true => format!("row {first}"),
            false => format!("rows {first} to {last}"),
        };
        let (before, after) = (first.saturating_sub(1), last.saturating_add(1));
        let text = format!("{which}, between row {before} and row {after}");
        Self {
            sequence: Some(first),
            ..Self::new(Kind::RowsRemoved, text)
        }
    }

    /// The rows after them were given other numbers.
    pub fn removed_and_closed(count: u64, before: Option<u64>, after: u64) -> Self {
        let before = before.map_or_else(|| "the beginning".to_owned(), |it| format!("row {it}"));
        let text =
            format!("{count} between {before} and row {after}, and those after them renumbered");
        Self {
            sequence: Some(after),
            ..Self::new(Kind::RowsRemoved, text)
        }
    }

    pub fn inserted(row: &Name) -> Self {
        Self::of_row(Kind::RowInserted, row, row.to_string())
    }

    pub fn before_the_chain(then: u64, now: u64) -> Self {
        let kind = match now > then {
            true => Kind::RowInserted,
            false => Kind::RowsRemoved,
        };
        let text = format!("before the chain begins there were {then} rows, and there are {now}");
        Self::new(kind, text)
    }

    pub fn moved(row: &Name, stood_at: u64) -> Self {
        let text = format!("{row} stood at {stood_at}");
        Self::of_row(Kind::RowsReordered, row, text)
    }

    /// `good`: the last head that fits, with its last row.
    pub fn rewritten(good: Option<(u64, u64)>, head: u64, row: u64, more: u64) -> Self {
        let since = match good {
            Some((head, row)) => format!("since head {head} (row {row})"),
            None => "from its beginning".to_owned(),
        };
        let more = match more {
            0 => String::new(),
            more => format!(", and so did {more} heads after it"),
        };
        let text = format!("{since}: head {head} signed another row {row}{more}");
        Self::of_head(Kind::ChainRewritten, head, text)
    }

    /// A head that is not the store's head of that number.
    pub fn other_head(head: u64, file: &str) -> Self {
        let before = match head.saturating_sub(1) {
            0 => "from its beginning".to_owned(),
            before => format!("since head {before}"),
        };
        let text = format!("{before}: head {head} in {file} is another one than the store's");
        Self::of_head(Kind::ChainRewritten, head, text)
    }

    pub fn tail_cut(head: u64, at: &str, signed: u64, last: u64, source: &str) -> Self {
        let text = format!(
            "head {head} of {at}{source} signed row {signed}, and the log ends with row {last}"
        );
        Self {
            sequence: Some(last),
            ..Self::of_head(Kind::TailCut, head, text)
        }
    }

    pub fn head_changed(head: u64) -> Self {
        let text = format!("head {head}: its signature does not fit what it says");
        Self::of_head(Kind::HeadChanged, head, text)
    }

    pub fn head_unreadable(source: &str, line: usize, why: &str) -> Self {
        Self::new(
            Kind::HeadChanged,
            format!("line {line} of {source} is no head: {why}"),
        )
    }

    pub fn head_does_not_follow(head: u64, before: u64) -> Self {
        let text = match head.checked_sub(before.saturating_add(1)) {
            Some(missing) if missing > 0 => {
                format!("{missing} between head {before} and head {head}")
            }
            _ => format!("head {head} does not follow head {before} of the store"),
        };
        Self::of_head(Kind::HeadsRemoved, head, text)
    }

    pub fn heads_not_in_store(first: u64, last: u64, file: &str) -> Self {
        let text = format!("{} from the store: {file} has them", heads(first, last));
        Self::of_head(Kind::HeadsRemoved, first, text)
    }

    pub fn heads_not_in_file(first: u64, last: u64, file: &str) -> Self {
        let text = format!("{} from {file}: the store has them", heads(first, last));
        Self::of_head(Kind::HeadsRemoved, first, text)
    }

    pub fn another_key(head: u64, key: &PublicKey, expected: &[PublicKey]) -> Self {
        let expected: Vec<String> = expected.iter().map(PublicKey::id).collect();
        let text = format!(
            "from head {head} on it is signed with key {}, not with {}",
            key.id(),
            expected.join(" or ")
        );
        Self::of_head(Kind::KeySwapped, head, text)
    }

    pub fn state(reference: String, recipient: &str, state: &str, explained: &Explained) -> Self {
        let known: Option<State> = state.parse().ok();
        let why = match (explained.by(), known) {
            (_, None) => "and there is no such state".to_owned(),
            (Some(by), _) => format!("and its last event that says so is {by}"),
            (None, _) => "and it has no event".to_owned(),
        };
        Self {
            text: format!("{recipient} of {reference} is {state}, {why}"),
            reference: Some(reference),
            ..Self::new(Kind::StateUnexplained, "")
        }
    }

    /// A row of another table that no row of the log speaks of.
    pub fn unexplained(what: &str, reference: String) -> Self {
        Self {
            text: format!(
                "{what} {reference} is in the store, and no row of the log says how it came"
            ),
            reference: Some(reference),
            ..Self::new(Kind::MessageUnexplained, "")
        }
    }
}

fn heads(first: u64, last: u64) -> String {
    match first == last {
        true => format!("head {first}"),
        false => format!("heads {first} to {last}"),
    }
}
