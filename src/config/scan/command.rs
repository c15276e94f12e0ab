//! `kind = "command"`.

use std::time::Duration;

use crate::document::{Table, Value};
use crate::mail::Why;
use crate::scan::command::{Codes, FILE, FILES, Limits, Pattern, Settings};

/// The keys for exit codes that say why there is no verdict.
const REASONS: [(&str, Why); 5] = [
    ("down", Why::Down),
    ("too_large", Why::TooLarge),
    ("encrypted", Why::Encrypted),
    ("broken", Why::Broken),
    ("limit", Why::Limit),
];

pub(super) fn read(mut table: Table<'_>) -> Option<Settings> {
    let argv = table.require("command").and_then(arguments);
    if let Some(program) = argv.as_ref().and_then(|it| it.first())
        && program.contains(['{', '}'])
    {
        table.fault(format!(
            "\"command\": the program comes first, and {FILE} and {FILES} after it"
        ));
    }
    let names = table.take("names").and_then(Value::list);
    let names = names.unwrap_or_default().into_iter().map(pattern);
    let settings = Settings {
        names: names.collect::<Option<Vec<_>>>()?,
        codes: codes(&mut table)?,
        version: match table.take("version") {
            Some(version) => Some(arguments(version)?),
            None => None,
        },
        limits: limits(&mut table)?,
        argv: argv?,
    };
    Some(settings)
}

fn arguments(list: Value<'_>) -> Option<Vec<String>> {
    if list.is_empty_list() {
        list.fault("must name a program");
        return None;
    }
    let mut words = list.list()?.into_iter();
    let program = words.next().and_then(Value::filled);
    let rest: Option<Vec<String>> = words.map(Value::string).collect();
    let (program, rest) = (program?, rest?);
    Some(std::iter::once(program).chain(rest).collect())
}

fn pattern(value: Value<'_>) -> Option<Pattern> {
    value.parse(|text| Pattern::new(text).ok_or("must have {name} in it, once"))
}

fn codes(table: &mut Table<'_>) -> Option<Codes> {
    let default = Codes::default();
    let read = Codes {
        clean: list_of_codes(table, "clean", default.clean)?,
        infected: list_of_codes(table, "infected", default.infected)?,
        unscannable: REASONS
            .into_iter()
            .map(|(key, why)| Some((why, list_of_codes(table, key, Vec::new())?)))
            .collect::<Option<_>>()?,
    };
    let gaps = read.unscannable.iter().flat_map(|(_, codes)| codes);
    let mut all: Vec<u8> = read
        .clean
        .iter()
        .chain(&read.infected)
        .chain(gaps)
        .copied()
        .collect();
    all.sort_unstable();
    if let Some(twice) = all.windows(2).find_map(|it| match it {
        [one, other] if one == other => Some(one),
        _ => None,
    }) {
        table.fault(format!(
            "exit code {twice} stands twice; it can mean one thing"
        ));
    }
    Some(read)
}

fn list_of_codes(table: &mut Table<'_>, key: &'static str, default: Vec<u8>) -> Option<Vec<u8>> {
    let Some(list) = table.take(key) else {
        return Some(default);
    };
    let code = |it: Value<'_>| it.integer(0..256).and_then(|it| u8::try_from(it).ok());
    list.list()?.into_iter().map(code).collect()
}

fn limits(table: &mut Table<'_>) -> Option<Limits> {
    let default = Limits::default();
    let memory = table.take("memory").map(|it| size(it, 1 << 20));
    let output = table.take("output").map(|it| size(it, 1));
    let cpu = table.take("cpu").map(Value::positive_duration);
    let seconds = |it: Duration| it.as_secs().max(1);
    Some(Limits {
        memory: memory.unwrap_or(Some(default.memory))?,
        cpu: match cpu {
            Some(cpu) => Some(seconds(cpu?)),
            None => default.cpu,
        },
        output: output.unwrap_or(Some(default.output))?,
    })
}

fn size(value: Value<'_>, least: u64) -> Option<u64> {
    value.parse(|text| match crate::document::size(text) {
        Some(size) if size >= least => Ok(size),
        Some(_) => Err("is too small"),
        None => Err("must be a size such as \"512 KiB\" or \"2 GiB\""),
    })
}
