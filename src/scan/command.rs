//! The engine that is a program, run once for each message.
//!
//! It is an argument vector and never a shell. `{file}` in an argument becomes the path of the message, an
//! argument `{files}` the paths of the message and of each attachment, decoded; where neither stands,
//! the message comes on stdin. Files are 0600 in a folder of 0700 of its own, which is its TMPDIR too, under
//! names of ours. Its exit code is the verdict, by the settings; a code that they do not name, and an
//! end by a signal, is none. A program that says clean and has not read all of its stdin has not seen
//! the message. What it prints is read to its end, and only the beginning kept: the names of what it
//! found are looked for there.
//!
//! It runs in a process group of its own, and the whole group is killed when the program has ended or is
//! given up; then the folder is removed. Limits of memory and CPU time are set right after the start:
//! what a process took before counts too, but a child that it made in those microseconds has none, and they
//! are for each process, not for all of them. A descendant that left the group (setsid) is not
//! found again: it has lost its folder, and ends with the service (systemd kills all of it). To find it would
//! need a cgroup of our own, which a service without privileges does not have.
//!
//! It fails as `Down`, not begun, where it cannot be started; `Down`, begun, where a signal ended it. It waits
//! as long as its caller does.

mod running;

use std::sync::Arc;

use tokio::task::spawn_blocking;

use self::running::{Ended, Input, Running};
use super::said::said;
use super::{Answering, Scanner, Specimen, identity};
use crate::mail::{Identity, Malware, Timestamp, Unscannable, Verdict, Why};

/// The path of the message, wherever it stands in an argument.
pub const FILE: &str = "{file}";

/// An argument: the paths of the message and of each attachment.
pub const FILES: &str = "{files}";

/// The name of what was found, in a line that the program prints.
pub const NAME: &str = "{name}";

/// Names that are told of one message.
const MOST_NAMES: usize = 100;

/// `kind = "command"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The program and its arguments; never a shell.
    pub argv: Vec<String>,
    /// What each exit code means.
    pub codes: Codes,
    /// How it prints the name of what it found; the first that fits a line counts.
    pub names: Vec<Pattern>,
    /// What prints its version.
    pub version: Option<Vec<String>>,
    pub limits: Limits,
}

/// Exit codes. What is in none of them is `Broken`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codes {
    pub clean: Vec<u8>,
    pub infected: Vec<u8>,
    pub unscannable: Vec<(Why, Vec<u8>)>,
}

impl Default for Codes {
    /// Those of McAfee's uvscan.
    fn default() -> Self {
        Self {
            clean: vec![0],
            infected: vec![13],
            unscannable: Vec::new(),
        }
    }
}

/// For each process of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of address space.
    pub memory: u64,
    /// Seconds of CPU time.
    pub cpu: Option<u64>,
    /// Octets that are kept of what it prints.
    pub output: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 4 << 30,
            cpu: None,
            output: 64 * 1024,
        }
    }
}

/// `Found: {name}`: what stands before and after the name in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    before: String,
    after: String,
}

impl Pattern {
    /// `None`: there must be one `{name}` in it.
    pub fn new(text: &str) -> Option<Self> {
        let (before, after) = text.split_once(NAME)?;
        (!after.contains(NAME)).then(|| Self {
            before: before.to_owned(),
            after: after.to_owned(),
        })
    }

    fn find<'l>(&self, line: &'l str) -> Option<&'l str> {
        let (_, rest) = line.split_once(&self.before)?;
        let name = match self.after.is_empty() {
            true => rest,
            false => rest.rsplit_once(&self.after)?.0,
        };
        Some(name.trim()).filter(|it| !it.is_empty())
    }
}

#[derive(Debug)]
pub struct Command {
    settings: Arc<Settings>,
}

impl Command {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
        }
    }
}

impl Scanner for Command {
    fn scan(&self, specimen: Arc<Specimen>) -> Answering<Verdict> {
        let settings = Arc::clone(&self.settings);
        Box::pin(async move { scan(settings, specimen).await })
    }

    fn identify(&self) -> Answering<Result<Identity, String>> {
        let settings = Arc::clone(&self.settings);
        Box::pin(async move { identify(settings).await })
    }
}

async fn scan(settings: Arc<Settings>, specimen: Arc<Specimen>) -> Verdict {
    let program = said(settings.argv.first().map_or("", String::as_str).as_bytes());
    let down = |error| {
        let detail = format!("{program}: {error}");
        Verdict::Unscannable(Unscannable::before(Why::Down, detail))
    };
    let (of_start, input) = (Arc::clone(&settings), input(&settings.argv, &specimen));
    // Whoever gives this up in the meantime drops what was started, and that ends it.
    let started = spawn_blocking(move || Running::start(&of_start.argv, &of_start.limits, input));
    let running = match started.await {
        Ok(Ok(running)) => running,
        Ok(Err(error)) => return down(error.to_string()),
        Err(error) => return down(error.to_string()),
    };
    match running.ended(settings.limits.output).await {
        Ok(ended) => verdict(&settings, &specimen, &program, &ended),
        Err(error) => {
            let detail = format!("{program}: {error}");
            Verdict::Unscannable(Unscannable::during(Why::Broken, detail))
        }
    }
}

fn input(argv: &[String], specimen: &Specimen) -> Input {
    let message = specimen.message.clone();
    if argv.iter().any(|it| it == FILES) {
        let parts = specimen.contents().into_iter();
        return Input::Files(message, parts.map(|it| it.part.bytes.clone()).collect());
    }
    match argv.iter().any(|it| it.contains(FILE)) {
        true => Input::Files(message, Vec::new()),
        false => Input::Stdin(message),
    }
}

fn verdict(settings: &Settings, specimen: &Specimen, program: &str, ended: &Ended) -> Verdict {
    let gap = |why, what: String| {
        let printed = ended.last_line();
        let detail = match printed.is_empty() {
            true => format!("{program} {what}"),
            false => format!("{program} {what}: {:?}", said(printed.as_bytes())),
        };
        Verdict::Unscannable(Unscannable::during(why, detail))
    };
    let Some(code) = ended.code else {
        let why = match ended.ran_out_of_time {
            true => Why::Limit,
            false => Why::Down,
        };
        return gap(why, format!("was ended by signal {}", ended.signal));
    };
    let codes = &settings.codes;
    if codes.infected.contains(&code) {
        return Verdict::Infected(found(settings, specimen, ended, code));
    }
    if codes.clean.contains(&code) {
        return match ended.read_all {
            false => gap(Why::Broken, "ended before it had read the message".into()),
            true => Verdict::Clean,
        };
    }
    let named = codes.unscannable.iter().find(|(_, it)| it.contains(&code));
    let why = named.map_or(Why::Broken, |(why, _)| *why);
    gap(why, format!("ended with code {code}"))
}

/// What it printed of what it found; something in any case.
fn found(settings: &Settings, specimen: &Specimen, ended: &Ended, code: u8) -> Vec<Malware> {
    let mut found: Vec<Malware> = Vec::new();
    let contents = specimen.contents();
    for line in ended.printed.lines() {
        let Some(name) = settings.names.iter().find_map(|it| it.find(line)) else {
            continue;
        };
        let name = said(name.as_bytes());
        let content = ended.part_in(line).and_then(|at| contents.get(at));
        let malware = Malware::named(name);
        let told = match content {
            Some(content) => specimen.within(content.part, &[malware]),
            None => vec![malware],
        };
        for malware in told {
            if !found.contains(&malware) && found.len() < MOST_NAMES {
                found.push(malware);
            }
        }
    }
    // What is in an attachment is in the message, too.
    let named = found.iter().filter(|it| it.is_in_attachment());
    let named: Vec<String> = named.map(|it| it.name.clone()).collect();
    found.retain(|it| it.is_in_attachment() || !named.contains(&it.name));
    if found.is_empty() {
        found.push(Malware::named(format!("unnamed (exit code {code})")));
    }
    found
}

async fn identify(settings: Arc<Settings>) -> Result<Identity, String> {
    let Some(argv) = settings.version.clone() else {
        return Ok(Identity::default());
    };
    let program = said(argv.first().map_or("", String::as_str).as_bytes());
    let in_words = |error: String| format!("{program}: {error}");
    let limits = settings.limits;
    let started = spawn_blocking(move || Running::start(&argv, &limits, Input::Nothing));
    let started = started.await.map_err(|error| in_words(error.to_string()))?;
    let running = started.map_err(|error| in_words(error.to_string()))?;
    let ended = running.ended(limits.output).await;
    let ended = ended.map_err(|error| in_words(error.to_string()))?;
    match ended.code {
        Some(0) => Ok(identity::read(ended.printed.as_bytes(), Timestamp::now())),
        Some(code) => Err(in_words(format!("ended with code {code}"))),
        None => Err(in_words(format!("was ended by signal {}", ended.signal))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_is_what_stands_between() {
        #[rustfmt::skip]
        let cases = [
            (": {name} FOUND", "/tmp/x/message: Eicar-Signature FOUND", Some("Eicar-Signature")),
            (": {name} FOUND", "/tmp/x/message: OK", None),
            (": {name} FOUND", "/tmp/x/message:  FOUND", None),
            ("Found: {name}", "/x ... Found: EICAR test file NOT a virus.", Some("EICAR test file NOT a virus.")),
            ("Found the {name} virus", "/x\tFound the W32/Sober.j@MM!zip virus !!!", Some("W32/Sober.j@MM!zip")),
            ("{name}", "Worm.A", Some("Worm.A")),
        ];
        for (pattern, line, name) in cases {
            assert_eq!(Pattern::new(pattern).unwrap().find(line), name, "{line}");
        }
        assert_eq!(Pattern::new("Found"), None);
        assert_eq!(Pattern::new("{name}{name}"), None);
    }
}
