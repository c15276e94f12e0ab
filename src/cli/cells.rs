//! What stands in a cell of a listing, at a terminal and in a spreadsheet alike: made harmless, and empty where
//! nothing is known.

use super::print;
use crate::spreadsheet;

pub(super) fn text(known: &Option<String>) -> String {
    print::harmless(known.as_deref().unwrap_or_default())
}

pub(super) fn number(known: Option<u64>) -> String {
    known.map(|it| it.to_string()).unwrap_or_default()
}

/// With how often, where a flood of refusals was summed up.
pub(super) fn status(word: &str, count: u64) -> String {
    match count {
        1 => word.to_owned(),
        count => format!("{word} × {count}"),
    }
}

/// The null sender as people know it.
pub(super) fn sender(known: &Option<String>) -> String {
    match known.as_deref() {
        Some("") => "<>".to_owned(),
        _ => text(known),
    }
}

/// A row of them as a spreadsheet has it.
pub(super) fn in_a_sheet(cells: Vec<String>) -> Vec<String> {
    cells
        .iter()
        .map(|it| spreadsheet::in_one_cell(it))
        .collect()
}
