//! The names that fields and statuses have, in both languages.

use crate::mail::State;
use crate::nearest::nearest;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Sender,
    Recipient,
    Room,
    Subject,
    Attachment,
    Status,
    Client,
    Reply,
    Reference,
    MessageId,
}

const FIELDS: &[(&str, Field)] = &[
    ("fra", Field::Sender),
    ("avsender", Field::Sender),
    ("from", Field::Sender),
    ("sender", Field::Sender),
    ("til", Field::Recipient),
    ("mottaker", Field::Recipient),
    ("to", Field::Recipient),
    ("recipient", Field::Recipient),
    ("rom", Field::Room),
    ("sentral", Field::Room),
    ("room", Field::Room),
    ("emne", Field::Subject),
    ("subject", Field::Subject),
    ("vedlegg", Field::Attachment),
    ("fil", Field::Attachment),
    ("attachment", Field::Attachment),
    ("file", Field::Attachment),
    ("status", Field::Status),
    ("klient", Field::Client),
    ("client", Field::Client),
    ("ip", Field::Client),
    ("svar", Field::Reply),
    ("reply", Field::Reply),
    ("referanse", Field::Reference),
    ("ref", Field::Reference),
    ("reference", Field::Reference),
    ("meldings-id", Field::MessageId),
    ("message-id", Field::MessageId),
];

impl Field {
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let found = FIELDS.iter().find(|(it, _)| *it == name);
        found.map(|(_, field)| *field)
    }
}

/// What mail programs write before a subject, and addresses of pages: nobody meant a field.
const NO_FIELDS: &[&str] = &[
    "re", "sv", "vs", "fw", "fwd", "http", "https", "smtp", "mailto", "urn",
];

/// The field that was probably meant: `frra:` is `fra:`.
pub(super) fn nearest_field(written: &str) -> Option<(&str, &'static str)> {
    let (name, value) = written.split_once(':')?;
    // Shorter ones are near to anything: tel: is a telephone.
    let is_a_name = name.chars().count() > 3 && name.chars().all(|c| c.is_alphabetic() || c == '-');
    let lower = name.to_lowercase();
    if !is_a_name || value.starts_with("//") || NO_FIELDS.contains(&lower.as_str()) {
        return None;
    }
    let near = nearest(&lower, FIELDS.iter().map(|(it, _)| *it))?;
    Some((name, near))
}

/// Refused attempts are searched for like a state.
pub(super) const REFUSED: &str = "refused";

/// One to three words that are a status.
const STATUSES: &[(&str, &str)] = &[
    ("uskannet", State::Unscanned.word()),
    ("ikke skannet", State::Unscanned.word()),
    ("unscanned", State::Unscanned.word()),
    ("not scanned", State::Unscanned.word()),
    ("kø", State::Queued.word()),
    ("i kø", State::Queued.word()),
    ("queued", State::Queued.word()),
    ("in queue", State::Queued.word()),
    ("utsatt", State::Deferred.word()),
    ("forsinket", State::Deferred.word()),
    ("deferred", State::Deferred.word()),
    ("delayed", State::Deferred.word()),
    ("holdt", State::Held.word()),
    ("holdt tilbake", State::Held.word()),
    ("tilbakeholdt", State::Held.word()),
    ("på vent", State::Held.word()),
    ("held", State::Held.word()),
    ("held back", State::Held.word()),
    ("on hold", State::Held.word()),
    ("karantene", State::Quarantined.word()),
    ("i karantene", State::Quarantined.word()),
    ("quarantine", State::Quarantined.word()),
    ("in quarantine", State::Quarantined.word()),
    ("quarantined", State::Quarantined.word()),
    ("levert", State::Delivered.word()),
    ("delivered", State::Delivered.word()),
    ("feilet", State::Failed.word()),
    ("mislyktes", State::Failed.word()),
    ("mislykket", State::Failed.word()),
    ("failed", State::Failed.word()),
    ("stoppet", State::Cancelled.word()),
    ("avbrutt", State::Cancelled.word()),
    ("kansellert", State::Cancelled.word()),
    ("cancelled", State::Cancelled.word()),
    ("canceled", State::Cancelled.word()),
    ("avvist", REFUSED),
    ("nektet", REFUSED),
    ("refused", REFUSED),
    ("rejected", REFUSED),
];

/// That it is not delivered is several states, and no one search.
const UNDELIVERED: &[&str] = &["ikke levert", "not delivered", "undelivered", "ulevert"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Is(&'static str),
    /// Any but `delivered`.
    NotDelivered,
}

/// The longest status that the words begin with, and how many of them it is.
pub(super) fn status(words: &[&str]) -> Option<(usize, Status)> {
    (1..=2).rev().find_map(|length| {
        let phrase = words.get(..length)?.join(" ");
        let is_it = |it: &str| it == phrase;
        let found = STATUSES.iter().find(|(it, _)| is_it(it));
        let undelivered = UNDELIVERED.iter().any(|it| is_it(it));
        match (found, undelivered) {
            (Some((_, status)), _) => Some((length, Status::Is(status))),
            (None, true) => Some((length, Status::NotDelivered)),
            (None, false) => None,
        }
    })
}

pub(super) fn nearest_status(written: &str) -> Option<&'static str> {
    nearest(written, STATUSES.iter().map(|(it, _)| *it))
}
