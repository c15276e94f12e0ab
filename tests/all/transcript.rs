//! Dialogues as files: what the client sends, what it must hear, and what the log must hold.
//!
//! ```text
//! # A line that is a remark.
//! @ tls = starttls           a setting of the dialogue, before its first step
//! @ login = ws3 secret      the one user there is; `down` or `limited`: nobody can be checked
//! C EHLO ws.test             the client sends this line, and CRLF
//! c half a li                the client sends exactly these octets; \r \n \0 \t \\ \xNN
//! S 250-…                    the server says this line; … is any text, {A} a reference, the same wherever A stands
//! T 250-…                    the server says this line too, within TLS
//! TLS                        both sides shake hands
//! STOP                       the relay is told to go down
//! TIMEOUT                    the client's time is up
//! LATER 61                   so many seconds pass
//! BYE                        the server closes
//! ROW a@x -> b@y 550 5.7.1   a refusal in the log: sender, recipient (- for none), reply
//! KEPT a@x -> b@y, c@z       a message was kept
//! ASKS priority 4            … on these terms, none of them left out
//! ASKS b@y notify NEVER      … and with these wishes for a recipient
//! EVENT left out d@y         … with this remark in the log
//! | Subject: hei\r\n         … and, line by line, this content
//! ```
//!
//! Whoever plays a dialogue does the steps in order. Rows and kept messages that are not named in
//! the file are mistakes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Send(Vec<u8>),
    /// All that the server says up to the client's next turn, a line each.
    Hear(Vec<Line>),
    Tls,
    Stop,
    Timeout,
    Later(u64),
    Bye,
    Row(String),
    Kept {
        who: String,
        asks: Vec<String>,
        events: Vec<String>,
        content: Vec<u8>,
    },
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub pattern: String,
    /// It says so within TLS, and nothing in its place elsewhere.
    pub only_in_tls: bool,
}

#[derive(Debug)]
pub struct Transcript {
    pub name: String,
    pub settings: BTreeMap<String, String>,
    /// With the line on which each begins.
    pub acts: Vec<(usize, Act)>,
}

/// The routing table by which every dialogue is judged.
pub const ROUTES: &str = include_str!("transcripts/routes.toml");

/// Every dialogue there is, by name.
pub fn all() -> Vec<Transcript> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all/transcripts");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "smtp"))
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy();
        Transcript::parse(&name, &fs::read_to_string(path).unwrap())
    };
    files.iter().map(read).collect()
}

impl Transcript {
    pub fn parse(name: &str, text: &str) -> Self {
        let mut transcript = Self {
            name: name.to_owned(),
            settings: BTreeMap::new(),
            acts: Vec::new(),
        };
        for (number, line) in (1..).zip(text.lines()) {
            if !line.is_empty() && !line.starts_with('#') {
                transcript.read(number, line);
            }
        }
        transcript
    }

    fn read(&mut self, number: usize, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let last = self.acts.last_mut().map(|(_, act)| act);
        let act = match (word, last) {
            ("@", _) => {
                let (key, value) = rest.split_once(" = ").expect("a setting has a value");
                self.settings.insert(key.to_owned(), value.to_owned());
                return;
            }
            ("C", Some(Act::Send(sent))) => {
                sent.extend_from_slice(&[&octets(rest)[..], b"\r\n"].concat());
                return;
            }
            ("c", Some(Act::Send(sent))) => return sent.extend_from_slice(&octets(rest)),
            ("S" | "T", Some(Act::Hear(lines))) => return lines.push(said(word, rest)),
            ("|", Some(Act::Kept { content, .. })) => {
                return content.extend_from_slice(&octets(rest));
            }
            ("ASKS", Some(Act::Kept { asks, .. })) => return asks.push(rest.to_owned()),
            ("EVENT", Some(Act::Kept { events, .. })) => return events.push(rest.to_owned()),
            ("C", _) => Act::Send([&octets(rest)[..], b"\r\n"].concat()),
            ("c", _) => Act::Send(octets(rest)),
            ("S" | "T", _) => Act::Hear(vec![said(word, rest)]),
            ("TLS", _) => Act::Tls,
            ("STOP", _) => Act::Stop,
            ("TIMEOUT", _) => Act::Timeout,
            ("LATER", _) => Act::Later(rest.parse().expect("a number of seconds")),
            ("BYE", _) => Act::Bye,
            ("ROW", _) => Act::Row(rest.to_owned()),
            ("KEPT", _) => Act::Kept {
                who: rest.to_owned(),
                asks: Vec::new(),
                events: Vec::new(),
                content: Vec::new(),
            },
            _ => panic!("{} line {number}: {line}", self.name),
        };
        self.acts.push((number, act));
    }

    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }
}

fn said(word: &str, pattern: &str) -> Line {
    Line {
        pattern: pattern.to_owned(),
        only_in_tls: word == "T",
    }
}

/// The octets that a text with escapes stands for.
fn octets(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        octets.push(match chars.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).expect("two hex digits")
            }
            other => panic!("no such escape: \\{other:?} in {text}"),
        });
    }
    octets
}

/// The references heard so far, by the letter that stands for each.
#[derive(Debug, Default)]
pub struct References(BTreeMap<String, String>);

impl References {
    /// Whether the server's `line` is what `pattern` asks for.
    pub fn matches(&mut self, pattern: &str, line: &str) -> bool {
        match (pattern.find('…'), pattern.find('{')) {
            (Some(at), brace) if brace.is_none_or(|brace| at < brace) => {
                let (start, rest) = (&pattern[..at], &pattern[at + '…'.len_utf8()..]);
                line.strip_prefix(start).is_some_and(|line| {
                    (0..=line.len())
                        .rev()
                        .filter(|from| line.is_char_boundary(*from))
                        .any(|from| self.matches(rest, &line[from..]))
                })
            }
            (_, Some(at)) => {
                let end = at + pattern[at..].find('}').expect("a closing brace");
                let (letter, rest) = (&pattern[at + 1..end], &pattern[end + 1..]);
                line.strip_prefix(&pattern[..at])
                    .and_then(|line| line.split_at_checked(14))
                    .is_some_and(|(reference, line)| {
                        self.is(letter, reference) && self.matches(rest, line)
                    })
            }
            _ => pattern == line,
        }
    }

    /// The same letter is the same reference, another letter another.
    fn is(&mut self, letter: &str, reference: &str) -> bool {
        if reference.parse::<ilbud::mail::Reference>().is_err() {
            return false;
        }
        match self.0.get(letter) {
            Some(known) => known == reference,
            None => {
                let new = self.0.values().all(|known| known != reference);
                self.0.insert(letter.to_owned(), reference.to_owned());
                new
            }
        }
    }
}
