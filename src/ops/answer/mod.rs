//! The answer sheet: what became of one message or refusal, said in one sentence that can be read out.
//!
//! Decides how each recipient stands (`standing`), why something was refused (`refusal`), and from that what
//! is said (`sentence`), what to do next (`advice`) and what happened (`timeline`), in the words of one
//! language (`nb`, `en`). Pure: the log's rows, the table and the time come in. It never fails: of what the
//! log does not know nothing is said.

mod advice;
mod contents;
mod en;
mod happening;
mod moment;
mod nb;
mod nb_rules;
mod refusal;
mod refused;
mod rule;
mod sentence;
mod standing;
#[cfg(test)]
mod tests;
mod timeline;
mod words;

use serde::{Serialize, Serializer};

use crate::mail::{Attachment, Language, Reference, RoomId, Shown, Timestamp, Veil};
use crate::policy::table::RoutingTable;
use crate::spool::store::{LogRow, LoggedEvent, MessageRecord};

use standing::{Case, Standing};
use words::Words;

/// All that the log has of one reference.
#[derive(Debug, Clone)]
pub struct Trace {
    pub reference: Reference,
    pub message: Option<MessageRecord>,
    /// Of the message, or of one that was refused; with what is inside of them.
    pub attachments: Vec<Attachment>,
    /// In order.
    pub events: Vec<LoggedEvent>,
    /// Refused attempts, in the order in which they were refused.
    pub refusals: Vec<LogRow>,
}

impl Trace {
    pub const fn is_empty(&self) -> bool {
        self.events.is_empty() && self.message.is_none() && self.refusals.is_empty()
    }

    fn subject(&self) -> Option<&str> {
        match &self.message {
            Some(message) => message.subject.as_deref(),
            None => self.refusals.first()?.subject.as_deref(),
        }
    }

    /// All that scans have found.
    fn found(&self) -> impl Iterator<Item = &str> {
        let events = self.events.iter().map(|it| &it.details);
        let found = events.flat_map(|it| it.malware.iter().chain(&it.marks));
        found.map(String::as_str)
    }
}

/// What is seen of it.
impl Trace {
    fn veil(&self, shown: bool) -> Veil {
        Veil::new(shown, self.subject(), &self.attachments, self.found())
    }

    /// As it may be seen. `shown`: whether subjects and names of attachments may be.
    #[must_use]
    pub fn veiled(mut self, shown: bool) -> Self {
        let veil = self.veil(shown);
        let seen = |them: &[Attachment]| them.iter().map(|it| veil.attachment(it)).collect();
        if let Some(message) = &mut self.message {
            message.subject = message.subject.as_deref().map(|it| veil.name(it));
            message.attachments = seen(&message.attachments);
        }
        self.attachments = seen(&self.attachments);
        for event in &mut self.events {
            event.details = veil.details(&event.details);
        }
        for row in &mut self.refusals {
            row.subject = row.subject.as_deref().map(|it| veil.name(it));
            row.reply = row.reply.as_deref().map(|it| veil.over(it));
        }
        self
    }
}

/// What an answer depends on.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub trace: &'a Trace,
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
    if known.trace.is_empty() {
        return None;
    }
    let telling = Telling::new(known, language);
    let lines = telling.cases.iter().map(|case| RecipientAnswer {
        recipient: case.recipient.clone(),
        state: case.word().to_owned(),
        sentence: telling.of_one(case),
    });
    Some(Sheet {
        reference: known.trace.reference,
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
    trace: &'a Trace,
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
            trace: known.trace,
            language,
            words: Words::of(language),
            veil: known.trace.veil(known.shown),
            cases: standing::cases(known.trace),
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
        let message = self.trace.message.as_ref();
        message.is_some_and(|it| it.client.is_empty())
    }
}
