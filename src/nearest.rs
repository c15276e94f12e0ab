//! The nearest known name to one that is not known: "did you mean".
//!
//! Pure. Decides only what is near enough to be worth saying. The crate `strsim` lives here.

/// The candidate that `word` is most likely a misspelling of, if any is near enough.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    candidates
        .filter_map(|candidate| {
            let allowed = allowance(length.max(candidate.chars().count()));
            let apart = length.abs_diff(candidate.chars().count());
            (apart <= allowed)
                .then(|| strsim::osa_distance(&word, &candidate.to_lowercase()))
                .filter(|distance| *distance <= allowed)
                .map(|distance| (distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters may be wrong in a word of this length.
const fn allowance(length: usize) -> usize {
    match length {
        0..=1 => 0,
        2..=5 => 1,
        6..=8 => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_near_and_nothing_else() {
        #[rustfmt::skip]
        let cases = [
            ("limitz",      Some("limits")),
            ("LIMITS",      Some("limits")),
            ("limit",       Some("limits")),
            ("vatk",        Some("vakt")),
            ("vak",         Some("vakt")),
            ("leder1",      Some("leder")),
            ("connection_per_adress", Some("connections_per_address")),
            ("x",           None),
            ("vaktmester",  None),
            ("",            None),
        ];
        let known = ["limits", "vakt", "leder", "connections_per_address"];
        for (word, found) in cases {
            assert_eq!(nearest(word, known.into_iter()), found, "{word}");
        }
    }
}
