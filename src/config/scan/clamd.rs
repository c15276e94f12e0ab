//! `kind = "clamd"`.

use crate::document::{Table, Value};
use crate::scan::clamd::Settings;

pub(super) fn read(mut table: Table<'_>) -> Option<Settings> {
    let address = table.require("address").and_then(Value::filled);
    Some(Settings { address: address? })
}
