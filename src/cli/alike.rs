//! Many warnings of one kind as a few: somebody who is told 20,000 lines is told nothing.
//!
//! Lines are of one kind when they differ only in what is quoted, in numbers and in addresses. The first of
//! each kind are kept as they are, and what follows is counted. `--all` tells each.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// As many of a kind are told one by one.
const ONE_BY_ONE: usize = 8;
/// As many stand for the rest where there are more.
const EXAMPLES: usize = 3;

/// The lines, in their order, with those beyond the first few of a kind counted.
pub(super) fn few(lines: Vec<String>) -> Vec<String> {
    let kinds: Vec<u64> = lines.iter().map(|it| kind(it)).collect();
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for kind in &kinds {
        *counts.entry(*kind).or_default() += 1;
    }
    let mut told: HashMap<u64, usize> = HashMap::new();
    let mut few = Vec::new();
    for (line, kind) in lines.into_iter().zip(kinds) {
        let count = counts.get(&kind).copied().unwrap_or(1);
        let told = told.entry(kind).or_default();
        *told += 1;
        if count <= ONE_BY_ONE || *told <= EXAMPLES {
            few.push(line);
        }
        if count > ONE_BY_ONE && *told == EXAMPLES {
            few.push(format!(
                "and {} more like this one (route plan and check tell each with --all)",
                count - EXAMPLES
            ));
        }
    }
    few
}

/// The same, or all of the lines for whom wants each.
pub(super) fn few_unless(all: bool, lines: Vec<String>) -> Vec<String> {
    if all { lines } else { few(lines) }
}

/// What is the same in all lines of a kind.
fn kind(line: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut was_varying = false;
    for word in words(line) {
        let word = word.trim_end_matches(',');
        let is_varying = word.contains(|c: char| c == '"' || c == '@' || c.is_ascii_digit());
        if !is_varying {
            word.hash(&mut hasher);
        } else if !was_varying {
            0_u8.hash(&mut hasher);
        }
        was_varying = is_varying;
    }
    hasher.finish()
}

/// Words, of which one is what stands between quotes.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    line.split(move |c: char| {
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        c == ' ' && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(count: usize, what: &str) -> Vec<String> {
        (0..count)
            .map(|it| format!("a.toml: line {it}: room \"rom {it}\": {what} \"x\", \"y{it}\""))
            .collect()
    }

    #[test]
    fn many_of_a_kind_are_counted_and_few_are_told() {
        let lines = [rooms(9, "no password for"), rooms(8, "nobody shows")].concat();
        let told = few(lines.clone());
        assert_eq!(told.get(..3), lines.get(..3));
        assert_eq!(
            told.get(3).map(String::as_str),
            Some("and 6 more like this one (route plan and check tell each with --all)")
        );
        assert_eq!(told.get(4..), lines.get(9..));
    }

    #[test]
    fn lists_of_any_length_are_of_one_kind() {
        let lists: Vec<String> = (1..=9)
            .map(|it| format!("no {}", vec!["\"a b\""; it].join(", ")))
            .collect();
        assert_eq!(few(lists).len(), EXAMPLES + 1);
        let others: Vec<String> = ('a'..='j').map(|it| format!("no {it}")).collect();
        assert_eq!(few(others.clone()), others);
    }
}
