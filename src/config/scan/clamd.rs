//! `kind = "clamd"`.

use crate::document::Table;
use crate::scan::clamd::{Address, Settings};

pub(super) fn read(mut table: Table<'_>) -> Option<Settings> {
    let address = table
        .require("address")
        .and_then(|it| it.parse(str::parse::<Address>));
    Some(Settings { address: address? })
}
