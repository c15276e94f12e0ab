//! What clamd answers to INSTREAM → a verdict.
//!
//! Clean is one answer only, `stream: OK`, complete, and said after the whole stream was sent. An answer
//! that came before is for something else, and nobody knows what a second one is for. Pure; it cannot
//! fail: what is not understood is `Broken`.

use super::super::said::said;
use crate::mail::{Malware, Unscannable, Verdict, Why};

/// Findings of ClamAV that say that it could not look.
const GAPS: [(&str, Why); 2] = [
    ("Heuristics.Encrypted.", Why::Encrypted),
    ("Heuristics.Limits.Exceeded", Why::Limit),
];

/// One line of an answer.
enum Line<'a> {
    Clean,
    Found(&'a str),
    /// It has not scanned.
    Trouble(Why),
}

/// What `heard` says of a stream. `whole`: the stream was sent, to its end, before anything was heard.
pub fn verdict(heard: &[u8], whole: bool) -> Verdict {
    let broken = |what: &str| gap(Why::Broken, what, heard);
    let text = String::from_utf8_lossy(heard);
    let Some(complete) = text.strip_suffix(['\0', '\n']) else {
        return gap(Why::Down, "it broke off in its answer", heard);
    };
    let lines: Vec<Line<'_>> = complete
        .split(['\0', '\n'])
        .map(|line| line.trim_end_matches('\r'))
        .filter(|line| !line.is_empty())
        .map(line)
        .collect();
    match lines.as_slice() {
        [] => broken("it gave an empty answer"),
        [Line::Trouble(why), more @ ..] if more.iter().all(Line::is_trouble) => {
            gap(*why, "it answered", heard)
        }
        _ if !whole => broken("it answered before it had everything"),
        [Line::Clean] => Verdict::Clean,
        found if found.iter().all(Line::is_finding) => findings(found, heard),
        _ => broken("it answered more than once"),
    }
}

impl Line<'_> {
    const fn is_trouble(&self) -> bool {
        matches!(self, Self::Trouble(_))
    }

    const fn is_finding(&self) -> bool {
        matches!(self, Self::Found(_))
    }
}

fn line(text: &str) -> Line<'_> {
    let result = text.strip_prefix("stream: ");
    let name = result.and_then(|it| it.strip_suffix(" FOUND"));
    match (result, name) {
        (Some("OK"), _) => Line::Clean,
        (_, Some(name)) if !name.trim().is_empty() => Line::Found(name),
        _ => Line::Trouble(trouble(text)),
    }
}

fn trouble(text: &str) -> Why {
    let is_error = text.ends_with("ERROR");
    match text {
        _ if is_error && text.starts_with("INSTREAM size limit exceeded") => Why::TooLarge,
        _ if is_error && text.starts_with("stream: Exceeded ") => Why::Limit,
        _ if text.starts_with("COMMAND READ TIMED OUT") => Why::Timeout,
        _ => Why::Broken,
    }
}

/// Malware where there is any, and otherwise what kept it from looking.
fn findings(found: &[Line<'_>], heard: &[u8]) -> Verdict {
    let (mut malware, mut why) = (Vec::new(), None);
    for line in found {
        let Line::Found(name) = line else { continue };
        match GAPS
            .iter()
            .find(|(beginning, _)| name.starts_with(beginning))
        {
            Some((_, gap)) => why = why.or(Some(*gap)),
            None => {
                let malware_found = Malware::named(said(name.as_bytes()));
                if !malware.contains(&malware_found) {
                    malware.push(malware_found);
                }
            }
        }
    }
    match why {
        Some(why) if malware.is_empty() => gap(why, "it answered", heard),
        _ => Verdict::Infected(malware),
    }
}

fn gap(why: Why, what: &str, heard: &[u8]) -> Verdict {
    let heard = heard.strip_suffix(b"\0").unwrap_or(heard);
    let detail = format!("{what}: {:?}", said(heard));
    Verdict::Unscannable(Unscannable::during(why, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_is_one_answer_only() {
        #[rustfmt::skip]
        let cases: [(&str, &str); 32] = [
            ("stream: OK\0", "clean"),
            ("stream: OK\n", "clean"),
            ("stream: OK\r\n", "clean"),
            ("stream: OK\n\0", "clean"),
            ("stream: OK", "unscannable: down: it broke off in its answer: \"stream: OK\""),
            ("stream: OKrum FOUND\0", "infected: OKrum"),
            ("stream: ok\0", "unscannable: broken: it answered: \"stream: ok\""),
            ("stream:OK\0", "unscannable: broken: it answered: \"stream:OK\""),
            ("1: stream: OK\0", "unscannable: broken: it answered: \"1: stream: OK\""),
            (" stream: OK\0", "unscannable: broken: it answered: \"stream: OK\""),
            ("other: OK\0", "unscannable: broken: it answered: \"other: OK\""),
            ("OK\0", "unscannable: broken: it answered: \"OK\""),
            ("stream: OK\0stream: OK\0", "unscannable: broken: it answered more than once: \"stream: OK?stream: OK\""),
            ("stream: OK\0stream: A FOUND\0", "unscannable: broken: it answered more than once: \"stream: OK?stream: A FOUND\""),
            ("stream: A FOUND\0stream: OK\0", "unscannable: broken: it answered more than once: \"stream: A FOUND?stream: OK\""),
            ("stream: OK\0stream: OK", "unscannable: down: it broke off in its answer: \"stream: OK?stream: OK\""),
            ("stream: Eicar-Signature FOUND\0", "infected: Eicar-Signature"),
            ("stream: A FOUND\nstream: B FOUND\nstream: A FOUND\n", "infected: A, B"),
            ("stream: A FOUND", "unscannable: down: it broke off in its answer: \"stream: A FOUND\""),
            ("stream: a\u{1b}[2J\u{f8} FOUND\0", "infected: a?[2J?"),
            ("stream:  FOUND\0", "unscannable: broken: it answered: \"stream:  FOUND\""),
            ("stream: Heuristics.Encrypted.Zip FOUND\0", "unscannable: encrypted: it answered: \"stream: Heuristics.Encrypted.Zip FOUND\""),
            ("stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\0", "unscannable: limit: it answered: \"stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\""),
            ("stream: Heuristics.Encrypted.Zip FOUND\0stream: A FOUND\0", "infected: A"),
            ("INSTREAM size limit exceeded. ERROR\0", "unscannable: too large: it answered: \"INSTREAM size limit exceeded. ERROR\""),
            ("COMMAND READ TIMED OUT\n", "unscannable: timeout: it answered: \"COMMAND READ TIMED OUT\""),
            ("stream: Exceeded time limit ERROR\0", "unscannable: limit: it answered: \"stream: Exceeded time limit ERROR\""),
            ("stream: Can't allocate memory ERROR\0", "unscannable: broken: it answered: \"stream: Can't allocate memory ERROR\""),
            ("UNKNOWN COMMAND\0", "unscannable: broken: it answered: \"UNKNOWN COMMAND\""),
            ("\0", "unscannable: broken: it gave an empty answer: \"\""),
            ("", "unscannable: down: it broke off in its answer: \"\""),
            ("HTTP/1.1 200 OK\r\n\r\n", "unscannable: broken: it answered: \"HTTP/1.1 200 OK\""),
        ];
        for (heard, expected) in cases {
            assert_eq!(verdict(heard.as_bytes(), true).to_string(), expected);
        }
    }

    #[test]
    fn an_early_answer_is_for_something_else() {
        #[rustfmt::skip]
        let cases = [
            ("stream: OK\0", "unscannable: broken: it answered before it had everything: \"stream: OK\""),
            ("stream: A FOUND\0", "unscannable: broken: it answered before it had everything: \"stream: A FOUND\""),
            ("INSTREAM size limit exceeded. ERROR\0", "unscannable: too large: it answered: \"INSTREAM size limit exceeded. ERROR\""),
        ];
        for (heard, expected) in cases {
            assert_eq!(verdict(heard.as_bytes(), false).to_string(), expected);
        }
    }
}
