//! The answer sheet: what became of one message or refusal, said in one sentence that can be read out.
//!
//! Decides how each recipient stands (`standing`), why something was refused (`refusal`), and from that what
//! is said (`sentence`), what to do next (`advice`) and what happened (`timeline`), in the words of one
//! language (`nb`, `en`). Pure: the log's rows, the table and the time come in. It never fails: of what the
//! log does not know nothing is said.

mod advice;
mod en;
mod moment;
mod nb;
mod refusal;
mod sentence;
mod standing;
#[cfg(test)]
mod tests;
mod timeline;
mod veil;
mod words;

use serde::{Serialize, Serializer};

use crate::mail::{Attachment, Language, Reference, RoomId, Shown, Timestamp};
use crate::policy::table::RoutingTable;
use crate::spool::store::{LogRow, LoggedEvent, MessageRecord};

use standing::{Case, Standing};
use veil::Veil;
use words::Words;

/// What the log knows of one reference, and what else an answer depends on.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub reference: Reference,
    pub message: Option<&'a MessageRecord>,
    /// Of the message, or of one that was refused; with what is inside of them.
    pub attachments: &'a [Attachment],
    /// In order.
    pub events: &'a [LoggedEvent],
    /// Refused attempts under this reference.
    pub refusals: &'a [LogRow],
    /// In force: the rooms' names and telephones.
    pub table: &'a RoutingTable,
    pub now: Timestamp,
    /// What clocks show to whoever asks.
    pub zone: fn(Timestamp) -> Shown,
    /// Whether subjects and names of attachments may be seen.
    pub shown: bool,
}

/// The answer. Field names are the contract's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sheet {
    #[serde(rename = "ref")]
    pub reference: Reference,
    /// Which message it is about: its sender, time and subject.
    pub about: Option<String>,
    pub sentence: String,
    /// What to do next, a line each; one text in JSON.
    #[serde(serialize_with = "joined")]
    pub advice: Vec<String>,
    pub recipients: Vec<RecipientAnswer>,
    pub timeline: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecipientAnswer {
    pub recipient: String,
    /// A recipient's state, or `refused`.
    pub state: String,
    pub sentence: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub at: Timestamp,
    /// The event's word, or `session`.
    pub event: String,
    pub text: String,
}

fn joined<S: Serializer>(lines: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&lines.join(" "))
}

/// The answer in one language; `None`: the log knows nothing of it.
pub fn sheet(known: &Known<'_>, language: Language) -> Option<Sheet> {
    if known.events.is_empty() && known.message.is_none() && known.refusals.is_empty() {
        return None;
    }
    let telling = Telling::new(known, language);
    let lines = telling.cases.iter().map(|case| RecipientAnswer {
        recipient: case.recipient.clone(),
        state: case.word().to_owned(),
        sentence: telling.of_one(case),
    });
    Some(Sheet {
        reference: known.reference,
        about: telling.about(),
        sentence: telling.sentence(),
        advice: telling.advice(),
        recipients: lines.collect(),
        timeline: telling.timeline(),
    })
}

/// One answer while it is made.
struct Telling<'a> {
    known: &'a Known<'a>,
    language: Language,
    words: &'static Words,
    veil: Veil,
    /// Each recipient that the log knows of, the refused ones after the others.
    cases: Vec<Case<'a>>,
}

impl<'a> Telling<'a> {
    fn new(known: &'a Known<'a>, language: Language) -> Self {
        Self {
            known,
            language,
            words: Words::of(language),
            veil: Veil::new(known.shown, subject(known), known.attachments, found(known)),
            cases: standing::cases(known),
        }
    }

    /// A room as people call it.
    fn room(&self, id: &str) -> String {
        let room = self.known.table.room(&RoomId::new(id));
        room.map_or_else(|| id.to_owned(), |room| room.name.clone())
    }

    /// The room, or the address where several are of one room or none is known.
    fn whom(&self, case: &Case<'_>) -> String {
        let Some(room) = case.room.as_deref() else {
            return case.recipient.clone();
        };
        let of_this_room = |it: &&Case<'_>| it.room.as_deref() == Some(room);
        let is_a_mistake = matches!(case.standing, Standing::Refused(_));
        match self.cases.iter().filter(of_this_room).count() {
            0 | 1 if !is_a_mistake => self.room(room),
            _ => case.recipient.clone(),
        }
    }

    /// The relay wrote it itself.
    fn is_ours(&self) -> bool {
        self.known.message.is_some_and(|it| it.client.is_empty())
    }
}

/// All that scans have found.
fn found<'a>(known: &Known<'a>) -> impl Iterator<Item = &'a str> {
    let events = known.events.iter().map(|it| &it.details);
    let found = events.flat_map(|it| it.malware.iter().chain(&it.marks));
    found.map(String::as_str)
}

fn subject<'a>(known: &Known<'a>) -> Option<&'a str> {
    match known.message {
        Some(message) => message.subject.as_deref(),
        None => known.refusals.first()?.subject.as_deref(),
    }
}
