//! `[scan.rules]`.

use std::collections::BTreeSet;

use crate::document::{Table, Value};
use crate::mail::{Action, Actions, FileType, Rule, SaidActions};
use crate::scan::rules::Settings;
use crate::scan::rules::names::{Pattern, Patterns};

pub(super) fn read(mut table: Table<'_>) -> Settings {
    let unsaid = Settings::default();
    let hashes = table.take("blocked_hashes").and_then(Value::list);
    let names = table.take("file_names").and_then(Value::list);
    let types = table.take("file_types").and_then(Value::list);
    Settings {
        actions: actions(&mut table),
        blocked_hashes: hashes.map_or(unsaid.blocked_hashes, |it| {
            it.into_iter().filter_map(|it| it.parse(hash)).collect()
        }),
        file_names: names
            .and_then(|it| file_names(it, &table))
            .unwrap_or(unsaid.file_names),
        file_types: types.map_or(unsaid.file_types, file_types),
    }
}

fn actions(table: &mut Table<'_>) -> Actions {
    let words: Vec<_> = Action::ALL.iter().map(|it| (it.word(), *it)).collect();
    let mut said = SaidActions::default();
    for rule in Rule::ALL {
        let action = table.take(rule.word());
        if let Some(action) = action.and_then(|it| it.word(&words)) {
            said.say(*rule, action);
        }
    }
    Actions::default().over(&said)
}

fn file_names(patterns: Vec<Value<'_>>, table: &Table<'_>) -> Option<Patterns> {
    let patterns = patterns.into_iter();
    let read = patterns.filter_map(|it| it.parse(Pattern::parse));
    let all = Patterns::new(read.collect());
    all.map_err(|fault| table.fault(format!("\"file_names\": {fault}")))
        .ok()
}

fn file_types(words: Vec<Value<'_>>) -> BTreeSet<FileType> {
    let known: Vec<_> = FileType::ALL.iter().map(|it| (it.word(), *it)).collect();
    let read = words.into_iter().filter_map(|it| it.word(&known));
    read.collect()
}

/// Each as `sha256sum` prints it.
fn hash(text: &str) -> Result<String, String> {
    let is_hex = text.chars().all(|it| it.is_ascii_hexdigit());
    match text.len() == 64 && is_hex {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!(
            "{text:?} is no SHA-256: it has 64 hexadecimal digits"
        )),
    }
}
