//! What an outbreak forbids, and what an exception lets through: the measures in force, matched with
//! what is known of a message.
//!
//! Pure: rows, message and time come in as arguments. It decides whether a measure concerns a
//! message and names it; what follows is its caller's. Whatever a stranger wrote costs time in
//! proportion to its length.

use std::collections::HashMap;
use std::fmt;

use crate::mail::measure::{Aim, Measure, Scope};
use crate::mail::{Address, Domain, RoomId, Timestamp};
use crate::pattern::{self, NamePattern};

/// What is known of a message.
#[derive(Debug, Clone, Default)]
pub struct Appearance<'a> {
    /// Whoever it may seem to be from: the sender of its envelope, and the mailboxes in From, Sender
    /// and their like.
    pub senders: Vec<&'a str>,
    pub subject: Option<&'a str>,
    /// Attachments, and what is inside archives among them.
    pub files: Vec<File<'a>>,
}

/// A file in a message.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    pub name: &'a str,
    /// In hex; empty where it is not known.
    pub sha256: &'a str,
}

/// A measure that concerns a message, and what of the message it is that it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit<'a> {
    pub measure: &'a Measure,
    pub what: What<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'a> {
    /// A file, by its content or its name.
    File(&'a str),
    Subject(&'a str),
    Sender(&'a str),
}

/// `block file *.scr: "faktura.scr"`
impl fmt::Display for Hit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (What::File(it) | What::Subject(it) | What::Sender(it)) = self.what;
        write!(f, "{}: {it:?}", self.measure.aim)
    }
}

/// The measures that were open when they were read. Each is asked whether it is in force still.
#[derive(Debug, Clone, Default)]
pub struct Measures {
    /// By number.
    rows: Vec<Measure>,
    hashes: HashMap<String, Vec<usize>>,
    files: Vec<(usize, NamePattern)>,
    subjects: Vec<(usize, String)>,
    senders: Vec<(usize, Sender)>,
}

#[derive(Debug, Clone)]
enum Sender {
    Address(Address),
    Domain(Domain),
}

impl Sender {
    /// `vakt@x.test`, or `@x.test` for all of a domain.
    fn read(text: &str) -> Option<Self> {
        match text.strip_prefix('@') {
            Some(domain) => Domain::parse(domain).ok().map(Self::Domain),
            None => Address::parse(text).ok().map(Self::Address),
        }
    }

    fn is(&self, address: &Address) -> bool {
        match self {
            Self::Address(it) => it == address,
            Self::Domain(it) => it == address.domain(),
        }
    }
}

impl PartialEq for Measures {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl Measures {
    pub fn new(mut rows: Vec<Measure>) -> Self {
        rows.sort_by_key(|it| it.number);
        let mut new = Self::default();
        for (at, row) in rows.iter().enumerate() {
            match &row.aim {
                Aim::Hash(hash) if hash.is_empty() => {}
                Aim::Hash(hash) => new.hashes.entry(hash.to_lowercase()).or_default().push(at),
                Aim::File(pattern) => new.files.push((at, NamePattern::new(pattern))),
                Aim::Subject(part) => new.subjects.push((at, pattern::folded(part))),
                Aim::Sender(text) => {
                    new.senders
                        .extend(Sender::read(text).map(|sender| (at, sender)));
                }
                Aim::HoldAttachments(_) | Aim::Exception(_) => {}
            }
        }
        new.rows = rows;
        new
    }

    /// By number, those among them that are over too.
    pub fn rows(&self) -> &[Measure] {
        &self.rows
    }

    /// Those that are in force, by number.
    pub fn numbers_in_force(&self, now: Timestamp) -> Vec<u64> {
        self.in_force(now).map(|it| it.number).collect()
    }

    pub fn is_in_force(&self, number: u64, now: Timestamp) -> bool {
        self.in_force(now).any(|it| it.number == number)
    }

    fn in_force(&self, now: Timestamp) -> impl Iterator<Item = &Measure> {
        self.rows.iter().filter(move |it| it.is_in_force(now))
    }

    /// The measure at this place, where it is in force.
    fn at(&self, place: usize, now: Timestamp) -> Option<&Measure> {
        self.rows.get(place).filter(|it| it.is_in_force(now))
    }

    /// The first block that concerns this message: by content, then by name, subject and sender.
    pub fn blocks<'a>(&'a self, message: &Appearance<'a>, now: Timestamp) -> Option<Hit<'a>> {
        self.by_hash(message, now)
            .or_else(|| self.by_name(message, now))
            .or_else(|| self.by_subject(message, now))
            .or_else(|| self.by_sender(message, now))
    }

    fn by_hash<'a>(&'a self, message: &Appearance<'a>, now: Timestamp) -> Option<Hit<'a>> {
        if self.hashes.is_empty() {
            return None;
        }
        message.files.iter().find_map(|file| {
            let mut places = self.hashes.get(&file.sha256.to_lowercase())?.iter();
            let measure = places.find_map(|&place| self.at(place, now))?;
            let what = What::File(file.name);
            Some(Hit { measure, what })
        })
    }

    fn by_name<'a>(&'a self, message: &Appearance<'a>, now: Timestamp) -> Option<Hit<'a>> {
        if self.files.is_empty() {
            return None;
        }
        message.files.iter().find_map(|file| {
            let name = pattern::folded_name(file.name);
            let what = What::File(file.name);
            first(&self.files, |it| it.fits_folded(&name))
                .find_map(|place| self.at(place, now))
                .map(|measure| Hit { measure, what })
        })
    }

    fn by_subject<'a>(&'a self, message: &Appearance<'a>, now: Timestamp) -> Option<Hit<'a>> {
        let subject = message.subject.filter(|_| !self.subjects.is_empty())?;
        let folded = pattern::folded(subject);
        let what = What::Subject(subject);
        first(&self.subjects, |part| {
            !part.is_empty() && folded.contains(part)
        })
        .find_map(|place| self.at(place, now))
        .map(|measure| Hit { measure, what })
    }

    fn by_sender<'a>(&'a self, message: &Appearance<'a>, now: Timestamp) -> Option<Hit<'a>> {
        if self.senders.is_empty() {
            return None;
        }
        message.senders.iter().find_map(|written| {
            // What is no address that we take is nobody's.
            let address = Address::parse(written).ok()?;
            let what = What::Sender(written);
            first(&self.senders, |it| it.is(&address))
                .find_map(|place| self.at(place, now))
                .map(|measure| Hit { measure, what })
        })
    }

    /// Whether mail with attachments between these waits. `from`: the sender's room, where it is of one.
    pub fn holds_attachments(
        &self,
        from: Option<&RoomId>,
        to: &RoomId,
        now: Timestamp,
    ) -> Option<&Measure> {
        self.in_force(now).find(|it| match &it.aim {
            Aim::HoldAttachments(None) => true,
            Aim::HoldAttachments(Some(room)) => Some(room) == from || room == to,
            _ => false,
        })
    }

    /// The exception that lets the most through; of several like it, the one that lasts longest.
    pub fn exception(&self, now: Timestamp) -> Option<(&Measure, Scope)> {
        let exceptions = self.in_force(now).filter_map(|it| match it.aim {
            Aim::Exception(scope) => Some((it, scope)),
            _ => None,
        });
        exceptions.max_by_key(|(it, scope)| (*scope, it.until))
    }
}

/// The places of those that match, in order.
fn first<T>(all: &[(usize, T)], is_match: impl Fn(&T) -> bool) -> impl Iterator<Item = usize> {
    all.iter()
        .filter(move |(_, it)| is_match(it))
        .map(|(place, _)| *place)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use std::time::Duration;

    use super::*;
    use crate::mail::Reference;
    use crate::mail::measure::Closing;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const HASH: &str = "abababababababababababababababababababababababababababababababab";

    fn measure(number: u64, aim: Aim) -> Measure {
        Measure {
            number,
            reference: Reference::from_number(number),
            aim,
            opened_at: NOW,
            by: "kari".to_owned(),
            reason: None,
            until: NOW.after(Duration::from_secs(60)),
            closed: None,
        }
    }

    fn measures(aims: Vec<Aim>) -> Measures {
        Measures::new((1..).zip(aims).map(|(n, aim)| measure(n, aim)).collect())
    }

    fn file(name: &str) -> Aim {
        Aim::File(name.to_owned())
    }

    fn subject(part: &str) -> Aim {
        Aim::Subject(part.to_owned())
    }

    fn sender(text: &str) -> Aim {
        Aim::Sender(text.to_owned())
    }

    const MESSAGE: [&str; 2] = ["vakt@a.nodnett.test", "Leder@\u{e5}.nodnett.test"];

    fn message() -> Appearance<'static> {
        Appearance {
            senders: MESSAGE.to_vec(),
            subject: Some("SV:  Ubetalt\u{a0}FAKTURA nr 7"),
            files: vec![
                File {
                    name: "epikrise.pdf",
                    sha256: "",
                },
                File {
                    name: "pakke.zip/x/Faktura.scr ",
                    sha256: HASH,
                },
            ],
        }
    }

    #[test]
    fn a_block_names_what_it_fits() {
        let upper = HASH.to_uppercase();
        let fits = |what: &str| Some(what.to_owned());
        #[rustfmt::skip]
        let cases = [
            (Aim::Hash(HASH.to_owned()), fits(&format!("block hash {HASH}: \"pakke.zip/x/Faktura.scr \""))),
            (Aim::Hash(upper.clone()), fits(&format!("block hash {upper}: \"pakke.zip/x/Faktura.scr \""))),
            (Aim::Hash("cd".repeat(32)), None),
            (Aim::Hash(String::new()), None),
            (file("*.SCR"), fits("block file *.SCR: \"pakke.zip/x/Faktura.scr \"")),
            (file("faktura.scr"), fits("block file faktura.scr: \"pakke.zip/x/Faktura.scr \"")),
            (file("epikrise"), None),
            (subject("ubetalt faktura"), fits("block subject ubetalt faktura: \"SV:  Ubetalt\\u{a0}FAKTURA nr 7\"")),
            (subject("Ubetalt  faktura NR"), fits("block subject Ubetalt  faktura NR: \"SV:  Ubetalt\\u{a0}FAKTURA nr 7\"")),
            (subject("betalt regning"), None),
            (subject(" "), None),
            (sender("VAKT@A.nodnett.test"), fits("block sender VAKT@A.nodnett.test: \"vakt@a.nodnett.test\"")),
            (sender("leder@xn--5ca.nodnett.test"), fits("block sender leder@xn--5ca.nodnett.test: \"Leder@\u{e5}.nodnett.test\"")),
            (sender("@A.nodnett.test"), fits("block sender @A.nodnett.test: \"vakt@a.nodnett.test\"")),
            (sender("@nodnett.test"), None),
            (sender("a.nodnett.test"), None),
            (sender("leder@a.nodnett.test"), None),
            (Aim::HoldAttachments(None), None),
            (Aim::Exception(Scope::Everything), None),
        ];
        for (aim, expected) in cases {
            let measures = measures(vec![aim.clone()]);
            let hit = measures.blocks(&message(), NOW).map(|it| it.to_string());
            assert_eq!(hit, expected, "{aim}");
        }
    }

    #[test]
    fn a_message_of_which_nothing_is_known_fits_nothing() {
        let aims = vec![
            file("*.scr"),
            subject("faktura"),
            sender("@a.nodnett.test"),
            Aim::Hash(HASH.to_owned()),
        ];
        let bare = Appearance {
            senders: vec!["", "no address", "@a.nodnett.test"],
            ..Appearance::default()
        };
        assert_eq!(measures(aims).blocks(&bare, NOW), None);
    }

    #[test]
    fn the_first_that_fits_and_is_in_force_is_named() {
        let mut rows = vec![
            measure(4, file("*.scr")),
            measure(2, file("faktura*")),
            measure(3, file("*.s?r")),
        ];
        let named = |rows: &[Measure], now| {
            let measures = Measures::new(rows.to_vec());
            measures.blocks(&message(), now).map(|it| it.measure.number)
        };
        assert_eq!(named(&rows, NOW), Some(2));
        rows[1].closed = Some(Closing {
            at: NOW,
            by: "ola".to_owned(),
        });
        assert_eq!(named(&rows, NOW), Some(3));
        rows[2].until = NOW;
        assert_eq!(named(&rows, NOW), Some(4));
        assert_eq!(
            named(&rows, NOW.after(Duration::from_millis(59_999))),
            Some(4)
        );
        assert_eq!(named(&rows, NOW.after(Duration::from_millis(60_000))), None);
        // The clock was set back.
        assert_eq!(named(&rows, NOW.before(Duration::from_secs(900))), Some(3));
    }

    #[test]
    fn attachments_are_held_of_and_to_a_room_or_all() {
        let room = |id: &str| RoomId::new(id);
        let held = |aim, from: Option<&str>, to: &str| {
            let measures = measures(vec![aim]);
            let from = from.map(room);
            measures
                .holds_attachments(from.as_ref(), &room(to), NOW)
                .is_some()
        };
        let of_b = || Aim::HoldAttachments(Some(room("room-b")));
        for (aim, from, to, expected) in [
            (Aim::HoldAttachments(None), None, "room-a", true),
            (of_b(), Some("room-a"), "room-b", true),
            (of_b(), Some("room-b"), "room-a", true),
            (of_b(), Some("room-a"), "room-c", false),
            (of_b(), None, "room-c", false),
            (file("*"), None, "room-b", false),
        ] {
            assert_eq!(held(aim.clone(), from, to), expected, "{aim} {from:?} {to}");
        }
    }

    #[test]
    fn of_exceptions_the_widest_counts_and_each_ends_by_itself() {
        let later = |seconds| NOW.after(Duration::from_secs(seconds));
        let exception = |number, scope, until| Measure {
            until,
            ..measure(number, Aim::Exception(scope))
        };
        let measures = Measures::new(vec![
            exception(1, Scope::Text, later(60)),
            exception(2, Scope::Everything, later(20)),
            exception(3, Scope::Everything, later(30)),
            exception(4, Scope::Text, later(40)),
        ]);
        for (now, expected) in [
            (NOW, Some((3, Scope::Everything))),
            (later(29), Some((3, Scope::Everything))),
            (later(30), Some((1, Scope::Text))),
            (later(59), Some((1, Scope::Text))),
            (later(60), None),
            // The clock was set back: it is not known how long it has lasted.
            (NOW.before(Duration::from_secs(1)), None),
        ] {
            let found = measures
                .exception(now)
                .map(|(it, scope)| (it.number, scope));
            assert_eq!(found, expected, "{now}");
        }
    }
}
