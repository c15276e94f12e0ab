//! `[scan]` as written → as checked. An engine's own keys are read in a file for each kind.

mod clamd;
mod command;
mod icap;
mod rules;

use std::time::Duration;

use crate::document::{Table, Value};
use crate::mail::OnFailure;
use crate::scan::{EngineSettings, Kind, Settings};

/// For one message, where the settings do not say it: of a server, and of a program that has to read its
/// signatures first.
const TIMEOUT: Duration = Duration::from_secs(10);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// Above it a number is a slip of the finger.
const MOST_SLOTS: u64 = 1001;
/// How many engines there may be: each has to say clean.
const MOST_ENGINES: usize = 8;

#[derive(Debug, Clone, Copy)]
enum Word {
    Clamd,
    Icap,
    Command,
}

const KINDS: [(&str, Word); 3] = [
    ("clamd", Word::Clamd),
    ("icap", Word::Icap),
    ("command", Word::Command),
];

pub(super) fn read(mut table: Table<'_>) -> Settings {
    let default = Settings::default();
    let words = [("hold", OnFailure::Hold), ("reject", OnFailure::Reject)];
    Settings {
        inline_deadline: table
            .take("inline_deadline")
            .and_then(Value::duration)
            .unwrap_or(default.inline_deadline),
        on_failure: table
            .take("on_failure")
            .and_then(|it| it.word(&words))
            .unwrap_or(default.on_failure),
        slots: table
            .take("slots")
            .and_then(|it| it.integer(1..MOST_SLOTS))
            .and_then(|it| usize::try_from(it).ok())
            .unwrap_or(default.slots),
        memory: default.memory,
        quarantine: table
            .take("quarantine")
            .and_then(Value::positive_duration)
            .unwrap_or(default.quarantine),
        signature_max_age: table
            .take("signature_max_age")
            .and_then(Value::positive_duration)
            .unwrap_or(default.signature_max_age),
        self_test: table
            .take("self_test")
            .and_then(Value::positive_duration)
            .unwrap_or(default.self_test),
        rules: table.table("rules").map(rules::read).unwrap_or_default(),
        engines: engines(&mut table),
    }
}

fn engines(table: &mut Table<'_>) -> Vec<EngineSettings> {
    let mut engines: Vec<EngineSettings> = Vec::new();
    for one in table.tables("engine") {
        let line = one.line();
        let Some(engine) = engine(one) else { continue };
        if engines.iter().any(|it| it.name == engine.name) {
            let at = line.map(|line| format!(" in line {line}"));
            table.fault(format!(
                "two engines are called {:?}; give the one{} a name of its own",
                engine.name,
                at.unwrap_or_default()
            ));
        }
        engines.push(engine);
    }
    if engines.len() > MOST_ENGINES {
        table.fault(format!("there are more than {MOST_ENGINES} engines"));
    }
    engines
}

fn engine(mut table: Table<'_>) -> Option<EngineSettings> {
    let kind = table.require("kind").and_then(|it| it.word(&KINDS));
    let name = table.take("name").and_then(Value::filled);
    let timeout = table.take("timeout").and_then(Value::positive_duration);
    let kind = match kind? {
        Word::Clamd => Kind::Clamd(clamd::read(table)?),
        Word::Icap => Kind::Icap(icap::read(table)?),
        Word::Command => Kind::Command(command::read(table)?),
    };
    Some(EngineSettings {
        name: name.unwrap_or_else(|| kind.word().to_owned()),
        timeout: timeout.unwrap_or(match &kind {
            Kind::Clamd(_) | Kind::Icap(_) => TIMEOUT,
            Kind::Command(_) => COMMAND_TIMEOUT,
        }),
        kind,
    })
}
