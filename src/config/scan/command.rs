//! `kind = "command"`.

use crate::document::{Table, Value};
use crate::scan::command::Settings;

pub(super) fn read(mut table: Table<'_>) -> Option<Settings> {
    let argv = table.require("command").and_then(Value::list)?;
    let argv: Option<Vec<String>> = argv.into_iter().map(Value::filled).collect();
    Some(Settings { argv: argv? })
}
