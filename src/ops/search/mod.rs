//! The query box: what a person types or was told on the telephone, made into a search of the log.
//!
//! Decides what each piece of the text means: a reference, an address, a room, a status, a time, a file, a
//! field by its name; whatever is none of these is a word that must stand anywhere. Pure: the time, the zone
//! and the table come in. It refuses only what would be searched for in vain: a field or status that does not
//! exist, a time that never was, times that exclude each other.

mod clocks;
mod days;
mod fields;
mod loose;
mod piece;
mod said;
#[cfg(test)]
mod tests;
mod times;
mod token;

use std::cell::Cell;
use std::fmt;

use crate::mail::timestamp::Zone;
use crate::mail::{Language, Reference, Timestamp};
use crate::policy::table::RoutingTable;
use crate::spool::store::Search;

use piece::Reader;

/// What the meaning of a text depends on.
#[derive(Debug, Clone, Copy)]
pub struct Desk<'a> {
    pub now: Timestamp,
    /// Where the person looks at a clock.
    pub zone: &'a Zone,
    /// Of what is said of it; both languages are understood.
    pub language: Language,
    /// In force: the rooms' names.
    pub table: &'a RoutingTable,
}

/// A text that was understood.
#[derive(Debug, Clone)]
pub struct Understood {
    pub search: Search,
    /// How each piece was taken, in words.
    pub readings: Vec<String>,
    /// The same text as words alone, where something in it was taken for more than that, and no field was named.
    pub as_words: Option<Search>,
    /// The same search without words that say little, and without the endings of others; where that is another.
    pub loosely: Option<Search>,
}

/// Why a text is not searched for, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclear(String);

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unclear {}

/// Which letters of a reference that nobody knows were taken for others, to make one that is known of it.
pub fn taken_as(written: Reference, meant: Reference, language: Language) -> String {
    said::reference(language, meant, &written.to_string())
}

/// All readings in a line, as they stand above what was found.
pub fn told(readings: &[String], language: Language) -> String {
    let head = language.choose("Tolket som", "Taken as");
    format!("{head}: {}", readings.join("; "))
}

/// That only the words found anything.
pub fn told_as_words(readings: &[String], language: Language) -> String {
    let readings = readings.join("; ");
    match language {
        Language::Nb => {
            format!("ingenting ble funnet tolket som: {readings}; dette har ordene slik de står")
        }
        Language::En => {
            format!("nothing was found taken as: {readings}; this has the words as they stand")
        }
    }
}

/// That only a part of the words found anything.
pub fn told_loosely(readings: &[String], words: &[String], language: Language) -> String {
    let readings = readings.join("; ");
    let left = match (words, language) {
        ([], Language::Nb) => "dette er uten ordene".to_owned(),
        ([], Language::En) => "this is without the words".to_owned(),
        (words, Language::Nb) => format!("dette har {}", said::words(language, words)),
        (words, Language::En) => format!("this has {}", said::words(language, words)),
    };
    match language {
        Language::Nb => format!("ingenting ble funnet tolket som: {readings}; {left}"),
        Language::En => format!("nothing was found taken as: {readings}; {left}"),
    }
}

/// What was typed, piece by piece, without the subjects and the names of files that are sought.
pub fn without_names(text: &str) -> Vec<String> {
    let tokens = token::split(text, usize::MAX);
    tokens.listed.into_iter().map(piece::without_name).collect()
}

/// Words beyond so many say no more.
const MOST: usize = 40;

pub fn understand(text: &str, desk: Desk<'_>) -> Result<Understood, Unclear> {
    read(text, desk, &Cell::new(false))
}

/// Whether what it means depends on the table. Asked with any table, of which nothing is looked at but whether
/// it is needed.
pub fn asks_for_rooms(text: &str, desk: Desk<'_>) -> bool {
    let asks = Cell::new(false);
    // What is unclear for want of a room's name has asked for it first.
    drop(read(text, desk, &asks));
    asks.get()
}

fn read(text: &str, desk: Desk<'_>, asks: &Cell<bool>) -> Result<Understood, Unclear> {
    let tokens = token::split(text, MOST);
    let plain = piece::plain(&tokens.listed);
    let mut understood = Reader::new(&tokens.listed, &plain, desk, asks).read()?;
    if tokens.left_out > 0 {
        let left_out = said::left_out(desk.language, MOST, tokens.left_out);
        understood.readings.push(left_out);
    }
    Ok(understood)
}
