//! What is said of a text: how its pieces were taken, and why it is not searched for.

use super::Desk;
use super::fields::{Field, REFUSED};
use super::times::Bounds;
use crate::mail::timestamp::{Clock, DAY, Day};
use crate::mail::{Language, Reference, Timestamp};

const MONTHS: [[&str; 2]; 12] = [
    ["januar", "January"],
    ["februar", "February"],
    ["mars", "March"],
    ["april", "April"],
    ["mai", "May"],
    ["juni", "June"],
    ["juli", "July"],
    ["august", "August"],
    ["september", "September"],
    ["oktober", "October"],
    ["november", "November"],
    ["desember", "December"],
];

/// `mellom 14:00 og 15:00 i går`
pub(super) fn bounds(bounds: Bounds, desk: Desk<'_>) -> Option<String> {
    let shown = |at: Timestamp| desk.zone.shown(at);
    // The last moment is the end of what it stands before.
    let end = |at: Timestamp| shown(Timestamp::from_millis(at.as_millis().saturating_add(1)));
    let language = desk.language;
    match (bounds.since, bounds.until) {
        (None, None) => None,
        (Some(since), None) => {
            let since = moment(shown(since), desk);
            Some(format!("{} {since}", language.choose("etter", "after")))
        }
        (None, Some(until)) => {
            let until = moment(end(until), desk);
            Some(format!("{} {until}", language.choose("før", "before")))
        }
        (Some(since), Some(until)) => Some(between(shown(since), end(until), desk)),
    }
}

fn between((first, begin): (Day, Clock), (last, end): (Day, Clock), desk: Desk<'_>) -> String {
    let language = desk.language;
    let is_whole = (begin, end) == (0, 0);
    let and = language.choose("og", "and");
    if is_whole && last == first.plus(1) {
        return format!(
            "{} {}",
            language.choose("hele dagen", "all day"),
            day(first, desk)
        );
    }
    if is_whole {
        let (first, last) = (day(first, desk), day(last.plus(-1), desk));
        return match language {
            Language::Nb => format!("fra og med {first} til og med {last}"),
            Language::En => format!("from {first} through {last}"),
        };
    }
    let between = language.choose("mellom", "between");
    let twice = match [(first, begin), (last, end)]
        .iter()
        .any(|it| desk.zone.is_twice(it.0, it.1))
    {
        true => language.choose(
            " (begge gangene klokka viser det)",
            " (both times that clocks show it)",
        ),
        false => "",
    };
    match (last == first, end == 0 && last == first.plus(1)) {
        (true, _) => format!(
            "{between} {} {and} {} {}{twice}",
            clock(begin),
            clock(end),
            day(first, desk)
        ),
        (_, true) => format!(
            "{between} {} {and} 24:00 {}{twice}",
            clock(begin),
            day(first, desk)
        ),
        _ => {
            let (first, last) = (moment((first, begin), desk), moment((last, end), desk));
            format!("{between} {first} {and} {last}{twice}")
        }
    }
}

fn moment((on, at): (Day, Clock), desk: Desk<'_>) -> String {
    format!("{} {}", clock(at), day(on, desk))
}

/// With seconds only where there are any.
fn clock(at: Clock) -> String {
    let (hour, minute, second) = (at / 3_600, at / 60 % 60, at % 60);
    match second {
        0 => format!("{hour:02}:{minute:02}"),
        _ => format!("{hour:02}:{minute:02}:{second:02}"),
    }
}

fn day(day: Day, desk: Desk<'_>) -> String {
    let (today, _) = desk.zone.shown(desk.now);
    let language = desk.language;
    match day {
        _ if day == today => language.choose("i dag", "today").to_owned(),
        _ if day == today.plus(-1) => language.choose("i går", "yesterday").to_owned(),
        _ if day == today.plus(1) => language.choose("i morgen", "tomorrow").to_owned(),
        _ => date(day, language, day.year() != today.year()),
    }
}

fn date(day: Day, language: Language, has_year: bool) -> String {
    let place = usize::try_from(day.month()).unwrap_or_default();
    let [nb, en] = MONTHS
        .get(place.saturating_sub(1))
        .copied()
        .unwrap_or_default();
    let number = day.day();
    let date = match language {
        Language::Nb => format!("{number}. {nb}"),
        Language::En => format!("{number} {en}"),
    };
    match has_year {
        true => format!("{date} {}", day.year()),
        false => date,
    }
}

pub(super) fn never_was(
    language: Language,
    (on, begin): (Day, Clock),
    (_, end): (Day, Clock),
) -> String {
    let (begin, end) = (clock(begin % DAY), clock(end % DAY));
    let day = date(on, language, true);
    match language {
        Language::Nb => format!(
            "{begin}–{end} {day} finnes ikke: klokka ble stilt fram forbi det den natten; skriv tiden før eller etter"
        ),
        Language::En => format!(
            "{begin}–{end} on {day} never was: clocks were put forward past it that night; write the time before or after"
        ),
    }
}

pub(super) fn contradiction(desk: Desk<'_>, since: Timestamp, until: Timestamp) -> String {
    let (since, until) = (
        moment(desk.zone.shown(since), desk),
        moment(desk.zone.shown(until), desk),
    );
    match desk.language {
        Language::Nb => {
            format!("tidene utelukker hverandre: etter {since}, og før {until}; skriv bare den ene")
        }
        Language::En => format!(
            "the times exclude each other: after {since}, and before {until}; write one of them"
        ),
    }
}

pub(super) fn left_out(language: Language, most: usize, left_out: usize) -> String {
    match language {
        Language::Nb => format!("de første {most} ordene; {left_out} til er ikke med"),
        Language::En => format!("the first {most} words; {left_out} more are left out"),
    }
}

/// `taken`: letters that were taken for others, `O er tatt som 0`.
pub(super) fn reference(language: Language, reference: Reference, written: &str) -> String {
    let mut taken: Vec<String> = Vec::new();
    let meant = reference.to_string();
    let letters = written.chars().filter(|it| it.is_alphanumeric());
    for (written, meant) in letters.zip(meant.chars().filter(|it| *it != '-')) {
        let written = written.to_ascii_uppercase();
        let line = match language {
            Language::Nb => format!("{written} er tatt som {meant}"),
            Language::En => format!("{written} is taken as {meant}"),
        };
        if written != meant && !taken.contains(&line) {
            taken.push(line);
        }
    }
    let reference = format!("{} {reference}", language.choose("referansen", "reference"));
    match taken.is_empty() {
        true => reference,
        false => format!("{reference} ({})", taken.join(", ")),
    }
}

pub(super) fn field(language: Language, field: Field, value: &str) -> String {
    let name = match field {
        Field::Sender => language.choose("avsender", "sender"),
        Field::Recipient => language.choose("mottaker", "recipient"),
        Field::Room => language.choose("sentral", "room"),
        Field::Subject => language.choose("emne", "subject"),
        Field::Attachment => language.choose("vedlegg", "attachment"),
        Field::Status => "status",
        Field::Client => language.choose("klient", "client"),
        Field::Reply => language.choose("svar", "reply"),
        Field::Reference => language.choose("referanse", "reference"),
        Field::MessageId => "Message-ID",
    };
    format!("{name} {value}")
}

/// A status as people call it.
pub(super) fn status(language: Language, word: &str) -> String {
    let nb = match word {
        "unscanned" => "ikke skannet",
        "queued" => "i kø",
        "deferred" => "utsatt",
        "held" => "holdt tilbake",
        "quarantined" => "i karantene",
        "delivered" => "levert",
        "failed" => "feilet",
        "cancelled" => "stoppet",
        REFUSED => "avvist",
        other => other,
    };
    field(language, Field::Status, language.choose(nb, word))
}

pub(super) fn not_delivered(language: Language) -> String {
    let said = language.choose(
        "ikke levert er flere ting, og alle er med: skriv i kø, utsatt, holdt, karantene, feilet, stoppet eller avvist",
        "not delivered is several things, and all are shown: write queued, deferred, held, quarantined, failed, cancelled or refused",
    );
    said.to_owned()
}

pub(super) fn words(language: Language, words: &[String]) -> String {
    let quoted = |it: &String| match language {
        Language::Nb => format!("«{it}»"),
        Language::En => format!("\"{it}\""),
    };
    let listed: Vec<String> = words.iter().map(quoted).collect();
    let listed = listed.join(", ");
    match words.len() {
        1 => format!("{listed} {}", language.choose("hvor som helst", "anywhere")),
        _ => format!(
            "{listed} {}",
            language.choose("hvor som helst, alle sammen", "anywhere, all of them")
        ),
    }
}

pub(super) fn no_field(language: Language, written: &str, near: &str) -> String {
    match language {
        Language::Nb => format!(
            "det finnes ikke noe felt «{written}»: mente du {near}: ? Skal det stå slik, skriv det i anførselstegn"
        ),
        Language::En => format!(
            "there is no field \"{written}\": did you mean {near}: ? If it is to stand like that, write it in quotation marks"
        ),
    }
}

pub(super) fn no_status(language: Language, written: &str, near: Option<&str>) -> String {
    let known = language.choose(
        "ikke skannet, i kø, utsatt, holdt, karantene, levert, feilet, stoppet, avvist",
        "unscanned, queued, deferred, held, quarantined, delivered, failed, cancelled, refused",
    );
    match (language, near) {
        (Language::Nb, Some(near)) => {
            format!("ingen status heter «{written}»: mente du {near}? Det finnes {known}")
        }
        (Language::Nb, None) => format!("ingen status heter «{written}»; det finnes {known}"),
        (Language::En, Some(near)) => {
            format!("no status is called \"{written}\": did you mean {near}? There are {known}")
        }
        (Language::En, None) => format!("no status is called \"{written}\"; there are {known}"),
    }
}

pub(super) fn no_value(language: Language, of: Field, written: &str, wanted: [&str; 2]) -> String {
    let name = field(language, of, "");
    let (name, [nb, en]) = (name.trim_end(), wanted);
    match (language, written) {
        (Language::Nb, "") => format!("{name} mangler: skriv {nb} etter kolonet"),
        (Language::Nb, _) => format!("{name} «{written}» kan ikke leses: skriv {nb}"),
        (Language::En, "") => format!("the {name} is missing: write {en} after the colon"),
        (Language::En, _) => format!("{name} \"{written}\" cannot be read: write {en}"),
    }
}
