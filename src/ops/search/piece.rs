//! One piece after the other, each taken for what it most likely is.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use super::fields::{self, Field, Status};
use super::loose;
use super::times::{self, Piece};
use super::token::{Kind, Token};
use super::{Desk, Unclear, Understood, said};
use crate::mail::veil::MASK;
use crate::mail::{Reference, Timestamp};
use crate::ops::log;
use crate::policy::table::Room;
use crate::spool::store::Search;

/// The text while it is read.
pub(super) struct Reader<'a> {
    desk: Desk<'a>,
    tokens: &'a [Token],
    plain: &'a [String],
    search: Search,
    readings: Vec<String>,
    times: Vec<Piece>,
    /// The text taken as words alone.
    bare: Vec<String>,
    /// What is left of the words that are sought.
    loose: Vec<String>,
    is_more_than_words: bool,
    /// Set once a room was looked for in the table.
    asks_for_rooms: &'a Cell<bool>,
}

/// Each plain token in lower case; where nothing is to be understood, what stands for it.
pub(super) fn plain(tokens: &[Token]) -> Vec<String> {
    let plain = tokens.iter().map(|it| match it.kind {
        Kind::Plain => it.text.to_lowercase(),
        Kind::Exact | Kind::Of(_) => "\0".to_owned(),
    });
    plain.collect()
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        tokens: &'a [Token],
        plain: &'a [String],
        desk: Desk<'a>,
        asks_for_rooms: &'a Cell<bool>,
    ) -> Self {
        Self {
            desk,
            tokens,
            plain,
            search: Search::default(),
            readings: Vec::new(),
            times: Vec::new(),
            bare: Vec::new(),
            loose: Vec::new(),
            is_more_than_words: false,
            asks_for_rooms,
        }
    }

    pub(super) fn read(mut self) -> Result<Understood, Unclear> {
        let mut at = 0;
        while let Some(token) = self.tokens.get(at) {
            let used = match token.kind {
                Kind::Plain => self.plain(at)?,
                Kind::Exact => self.exact(&token.text),
                Kind::Of(field) => self.field(field, &token.text)?,
            };
            for token in self.tokens.iter().skip(at).take(used) {
                self.bare.push(word(&token.text));
            }
            at += used;
        }
        let bounds = times::bounds(&self.times, self.desk)?;
        (self.search.since, self.search.until) = (bounds.since, bounds.until);
        self.readings.extend(said::bounds(bounds, self.desk));
        if !self.search.words.is_empty() {
            let words = said::words(self.desk.language, &self.search.words);
            self.readings.push(words);
        }
        let has_fields = self.tokens.iter().any(|it| matches!(it.kind, Kind::Of(_)));
        let as_words = Search {
            words: self.bare,
            ..Search::default()
        };
        let loosely = Search {
            words: self.loose,
            ..self.search.clone()
        };
        let is_loose = loosely.words != self.search.words
            && (self.is_more_than_words || has_fields || !loosely.words.is_empty());
        Ok(Understood {
            loosely: is_loose.then_some(loosely),
            search: self.search,
            readings: self.readings,
            as_words: (self.is_more_than_words && !has_fields).then_some(as_words),
        })
    }

    /// Takes what begins here; how many tokens it was.
    fn plain(&mut self, at: usize) -> Result<usize, Unclear> {
        let token = self.tokens.get(at).map_or("", |it| it.text.as_str());
        let words: Vec<&'a str> = self.plain.iter().skip(at).map(String::as_str).collect();
        if let Some((used, reference)) = self.reference(at) {
            let written: Vec<&str> = self
                .tokens
                .iter()
                .skip(at)
                .take(used)
                .map(|it| it.text.as_str())
                .collect();
            let reading = said::reference(self.desk.language, reference, &written.concat());
            return Ok(self.take(used, reading, |it| it.reference = Some(reference)));
        }
        if let Some((used, piece)) = times::piece(&words, self.desk) {
            self.times.push(piece);
            self.is_more_than_words = true;
            return Ok(used);
        }
        let status = fields::status(&words).filter(|_| self.search.status.is_none());
        if let Some((used, status)) = status {
            return Ok(self.status(used, status));
        }
        if let Some(used) = self.direction(at) {
            return Ok(used);
        }
        let form = of_its_form(token).filter(|(field, _)| !self.has(*field));
        if let Some((field, value)) = form {
            let reading = said::field(self.desk.language, field, &value);
            return Ok(self.take(1, reading, |it| match field {
                Field::Client => it.client = Some(value),
                _ => it.attachment = Some(value),
            }));
        }
        if let Some((used, room)) = self.room_by_name(&words) {
            return Ok(self.in_room(room, used));
        }
        match fields::nearest_field(token) {
            Some((written, near)) => {
                Err(Unclear(said::no_field(self.desk.language, written, near)))
            }
            None => Ok(self.word(token)),
        }
    }

    /// Of what there can be but one, a second is a word.
    const fn has(&self, field: Field) -> bool {
        match field {
            Field::Client => self.search.client.is_some(),
            _ => self.search.attachment.is_some(),
        }
    }

    fn take(&mut self, used: usize, reading: String, set: impl FnOnce(&mut Search)) -> usize {
        set(&mut self.search);
        self.readings.push(reading);
        self.is_more_than_words = true;
        used
    }

    fn word(&mut self, text: &str) -> usize {
        let word = word(text);
        self.loose.extend(loose::stem(&word));
        self.search.words.push(word);
        1
    }

    fn exact(&mut self, text: &str) -> usize {
        let word = word(text);
        self.loose.push(word.clone());
        self.search.words.push(word);
        1
    }

    fn status(&mut self, used: usize, status: Status) -> usize {
        let language = self.desk.language;
        match status {
            Status::NotDelivered => self.take(used, said::not_delivered(language), |_| {}),
            Status::Is(word) => {
                let reading = said::status(language, word);
                self.take(used, reading, |it| it.status = Some(word.to_owned()))
            }
        }
    }

    /// Twelve letters and digits, in one piece or as they were read out, that can have been made by now.
    fn reference(&self, at: usize) -> Option<(usize, Reference)> {
        if self.search.reference.is_some() {
            return None;
        }
        let mut written = String::new();
        let tokens = self.tokens.get(at..)?.iter().take(3);
        for (used, token) in tokens.enumerate() {
            if token.kind != Kind::Plain || token.text.len() > 24 {
                return None;
            }
            written.push_str(&token.text);
            // It is read out in its groups of four. What is cut otherwise is words that happen to fit: "ca 14 epikrise".
            let letters = written.chars().filter(|it| it.is_alphanumeric()).count();
            if letters % 4 != 0 {
                return None;
            }
            if let Ok(reference) = written.parse::<Reference>() {
                let is_shaped = token.text.matches('-').count() == 2 && used == 0;
                let has_digit = written.bytes().any(|it| it.is_ascii_digit());
                let is_meant = has_digit && (is_shaped || self.is_possible(reference));
                return is_meant.then_some((used + 1, reference));
            }
        }
        None
    }

    /// Whether it can have been made by now.
    fn is_possible(&self, reference: Reference) -> bool {
        let tomorrow = self.desk.now.after(Duration::from_secs(86_400));
        (BEGINNING..tomorrow).contains(&reference.made_at())
    }

    /// `fra vakt@hamar`, `til Legevakt Hamar`
    fn direction(&mut self, at: usize) -> Option<usize> {
        let field = match self.plain.get(at)?.as_str() {
            "fra" | "from" if self.search.sender.is_none() => Field::Sender,
            "til" | "to" if self.search.recipient.is_none() => Field::Recipient,
            _ => return None,
        };
        let token = self.tokens.get(at + 1)?;
        let lower = token.text.to_lowercase();
        let following: Vec<&str> = match token.kind {
            Kind::Plain => self.plain.iter().skip(at + 1).map(String::as_str).collect(),
            Kind::Exact => vec![&lower],
            Kind::Of(_) => return None,
        };
        if let Some((used, room)) = self.named_room(&following) {
            let written = following.get(..used)?.join(" ");
            return Some(self.end_in(field, room, &written, used + 1));
        }
        let value = Some(&token.text).filter(|it| it.contains('@'))?;
        Some(self.end(field, log::address(&log::bare(value)), 2))
    }

    /// Sender or recipient.
    fn end(&mut self, field: Field, value: String, used: usize) -> usize {
        let reading = said::field(self.desk.language, field, &value);
        self.take(used, reading, |it| match field {
            Field::Sender => it.sender = Some(value),
            _ => it.recipient = Some(value),
        })
    }

    /// The same, of a room. Where no one text stands in all of its addresses, what was written, if it can
    /// stand in one; or the room at either end.
    fn end_in(&mut self, field: Field, room: &Room, written: &str, used: usize) -> usize {
        match domain(room) {
            Some(domain) => self.end(field, domain, used),
            None if written.contains(' ') => self.in_room(room, used),
            None => self.end(field, written.to_owned(), used),
        }
    }

    fn in_room(&mut self, room: &Room, used: usize) -> usize {
        let reading = room_said(self.desk, room);
        let id = room.id.to_string();
        self.take(used, reading, |it| it.room = Some(id))
    }

    /// A room by a name that does not stand in its id: words would not find it.
    fn room_by_name(&self, words: &[&str]) -> Option<(usize, &'a Room)> {
        if self.search.room.is_some() {
            return None;
        }
        let (used, room) = self.named_room(words)?;
        let id = room.id.to_string().to_lowercase();
        let stands_in_id = words.iter().take(used).all(|it| id.contains(it));
        (!stands_in_id).then_some((used, room))
    }

    /// The one room that the words begin with: its id, its name, or a part of its name that no other has.
    fn named_room(&self, words: &[&str]) -> Option<(usize, &'a Room)> {
        let longest = words.len().min(6);
        (1..=longest).rev().find_map(|used| {
            let phrase = words.get(..used)?.join(" ");
            Some((used, self.room(&phrase, SHORTEST)?))
        })
    }

    /// `shortest`: letters of a part of a name that is taken for all of it.
    fn room(&self, written: &str, shortest: usize) -> Option<&'a Room> {
        // No name has an address in it.
        if written.contains('@') {
            return None;
        }
        self.asks_for_rooms.set(true);
        let rooms = || self.desk.table.rooms();
        let is_whole = |it: &&Room| {
            it.name.to_lowercase() == written || it.id.to_string().to_lowercase() == written
        };
        if let Some(room) = rooms().find(is_whole) {
            return Some(room);
        }
        let has_part = |it: &&Room| {
            let name = format!(" {} ", it.name.to_lowercase());
            name.contains(&format!(" {written} "))
        };
        let mut with_part = rooms().filter(has_part);
        let found = with_part
            .next()
            .filter(|_| written.chars().count() >= shortest)?;
        with_part.next().is_none().then_some(found)
    }

    /// One token, which names what it is.
    fn field(&mut self, field: Field, value: &str) -> Result<usize, Unclear> {
        let language = self.desk.language;
        let wrong = |wanted| Unclear(said::no_value(language, field, value, wanted));
        if value.is_empty() {
            return Err(wrong(["det som skal finnes", "what is to be found"]));
        }
        let (lower, owned) = (value.to_lowercase(), value.to_owned());
        let reading = said::field(language, field, value);
        Ok(match field {
            Field::Sender | Field::Recipient => match self.room(&lower, SHORTEST) {
                Some(room) => self.end_in(field, room, &lower, 1),
                None => self.end(field, log::address(&log::bare(value)), 1),
            },
            Field::Room => match self.room(&lower, 1) {
                Some(room) => self.in_room(room, 1),
                None => self.take(1, reading, |it| it.room = Some(lower)),
            },
            Field::Status => {
                let words: Vec<&str> = lower.split_whitespace().collect();
                let found = fields::status(&words).filter(|(used, _)| *used == words.len());
                let near = || fields::nearest_status(&lower);
                let unknown = || Unclear(said::no_status(language, value, near()));
                let (_, status) = found.ok_or_else(unknown)?;
                self.status(1, status)
            }
            Field::Client => {
                let wanted = ["en adresse som 10.1.0.7", "an address such as 10.1.0.7"];
                let client: IpAddr = value.parse().map_err(|_| wrong(wanted))?;
                let client = client.to_canonical().to_string();
                self.take(1, reading, |it| it.client = Some(client))
            }
            Field::Reference => {
                let wanted = [
                    "tolv tegn som K7F3-2QXM-9A1B",
                    "twelve characters such as K7F3-2QXM-9A1B",
                ];
                let reference: Reference = value.parse().map_err(|_| wrong(wanted))?;
                let reading = said::reference(language, reference, value);
                self.take(1, reading, |it| it.reference = Some(reference))
            }
            Field::Subject => self.take(1, reading, |it| it.subject = Some(owned)),
            Field::Attachment => self.take(1, reading, |it| it.attachment = Some(owned)),
            Field::MessageId => self.take(1, reading, |it| it.message_id = Some(log::bare(value))),
            Field::Reply => self.take(1, reading, |it| it.reply = Some(owned)),
        })
    }
}

/// Letters of a part of a room's name, where nobody has said that it is one.
const SHORTEST: usize = 3;

/// 2020 began: no reference is older.
const BEGINNING: Timestamp = Timestamp::from_millis(1_577_836_800_000);

/// As the log has it: addresses with U-labels, a Message-ID without its brackets.
fn word(text: &str) -> String {
    let bare = log::bare(text);
    let known = match bare.contains("xn--") {
        true => log::address(&bare),
        false => bare,
    };
    known.to_lowercase()
}

fn room_said(desk: Desk<'_>, room: &Room) -> String {
    let name = format!("{} ({})", room.name, room.id);
    said::field(desk.language, Field::Room, &name)
}

/// What stands in each address of a room that has one domain.
fn domain(room: &Room) -> Option<String> {
    match room.domains.as_slice() {
        [only] => Some(format!("@{}", only.unicode())),
        _ => None,
    }
}

/// As it was typed, but for a subject or the name of a file.
pub(super) fn without_name(token: Token) -> String {
    let is_file = || matches!(of_its_form(&token.text), Some((Field::Attachment, _)));
    match token.kind {
        Kind::Of(Field::Subject) => format!("emne:{MASK}"),
        Kind::Of(Field::Attachment) => format!("vedlegg:{MASK}"),
        Kind::Of(_) => token.text,
        Kind::Plain | Kind::Exact if is_file() => MASK.to_owned(),
        Kind::Plain | Kind::Exact => token.text,
    }
}

/// Names of files that people send, by their ends.
const ENDS: &[&str] = &[
    "7z", "bmp", "bz2", "cab", "csv", "dcm", "doc", "docm", "docx", "dotm", "eml", "exe", "gif",
    "gz", "heic", "hl7", "htm", "html", "ics", "iso", "jar", "jpeg", "jpg", "js", "json", "lnk",
    "mov", "mp3", "mp4", "msg", "odp", "ods", "odt", "pdf", "png", "pps", "ppt", "pptm", "pptx",
    "ps1", "rar", "rtf", "scr", "svg", "tar", "tif", "tiff", "txt", "vbs", "vcf", "wav", "xls",
    "xlsb", "xlsm", "xlsx", "xml", "zip",
];

/// What its form alone says: a client's address, the SHA-256 or the name of a file.
fn of_its_form(text: &str) -> Option<(Field, String)> {
    let is_address = |it: &&str| it.contains('.') || it.matches(':').count() > 1;
    if let Some(client) = text.parse::<IpAddr>().ok().filter(|_| is_address(&text)) {
        return Some((Field::Client, client.to_canonical().to_string()));
    }
    let lower = text.to_lowercase();
    if lower.len() == 64 && lower.bytes().all(|it| it.is_ascii_hexdigit()) {
        return Some((Field::Attachment, lower));
    }
    let (name, end) = lower.rsplit_once('.')?;
    let is_file = !name.is_empty() && ENDS.contains(&end) && !lower.contains('@');
    is_file.then(|| (Field::Attachment, text.to_owned()))
}
