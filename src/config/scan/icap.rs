//! `kind = "icap"`.

use crate::document::{Table, Value};
use crate::scan::icap::Settings;

pub(super) fn read(mut table: Table<'_>) -> Option<Settings> {
    let url = table.require("url").and_then(Value::filled);
    Some(Settings { url: url? })
}
