//! The words everyone speaks: addresses, references, envelopes, replies and events.
//!
//! Pure values. This module decides nothing, opens nothing and reads no clock; every other part of
//! the relay imports it and it imports none of them. Nothing in it fails except parsing, and a
//! parse failure is a closed enum that says what was wrong.

pub mod address;
pub mod envelope;
pub mod event;
pub mod file_type;
pub mod headers;
pub mod inside;
pub mod language;
pub mod limit;
pub mod measure;
pub mod part;
pub mod reference;
pub mod reply;
pub mod sighting;
pub mod terms;
pub mod timestamp;
pub mod veil;
pub mod verdict;

pub use address::{Address, AddressFault, Domain};
pub use envelope::{
    Attachment, BodyKind, Certificate, Content, Doubt, Envelope, Facts, Login, Origin, Peer,
    Protocol, Received, Recipient, RoomId, TlsSession,
};
pub use event::{Details, Event, EventKind, Refusal, ScannedBy, State};
pub use file_type::FileType;
pub use inside::{Inside, Member};
pub use language::Language;
pub use limit::{Account, Admission, Counted, OverLimit, Urgency, Weight, Workstation};
pub use measure::{Aim, Closing, Measure, Scope, Waiver};
pub use part::{Dissection, Gap, Part, hex};
pub use reference::{Reference, ReferenceFault, References};
pub use reply::{Answer, Reply};
pub use sighting::{Lapse, Lapses, Sighting, Station, StationKind};
pub use terms::{ByMode, DeliverBy, Notify, Priority, Return, Terms, Wishes};
pub use timestamp::{LocalFault, Shown, Timestamp};
pub use veil::Veil;
pub use verdict::{
    Action, Actions, EngineReport, Finding, Identity, Inspection, Malware, OnFailure, Rule,
    SaidActions, Seen, SeenFile, Unscannable, Verdict, Why,
};
