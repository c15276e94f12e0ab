//! A rule that refused something, in the words of the answer.
//!
//! The log keeps the words of the decision, which are English, and the timeline shows those. What is read out has
//! them in the language of the answer where that language lists the rule, whole; any other stays as it is. A value
//! in a rule (an address, a room) is taken over as it stands. Pure, and cannot fail.

use super::words::fill;

/// As it is written in the log, and as it is said; `{slots}` are values.
pub(super) type Saying = (&'static str, &'static str);

/// How a language says rules.
#[derive(Debug)]
pub(super) struct Sayings {
    /// Whole rules. Of those that begin alike the longer one comes first.
    pub rules: &'static [Saying],
    /// What stands in a slot of theirs, where it is words.
    pub parts: &'static [Saying],
}

/// A slot in which another rule stands.
const RULE: &str = "rule";
/// Slots whose values are words.
const PARTS: [&str; 8] = [
    "account", "doubt", "fault", "found", "holder", "rooms", "source", "what",
];

impl Sayings {
    /// By the first saying that the rule fits.
    pub(super) fn told(&self, rule: &str) -> String {
        self.by(self.rules, rule)
    }

    fn by(&self, sayings: &[Saying], text: &str) -> String {
        let fits = |(written, said): &Saying| Some((*said, values(text, written)?));
        let Some((said, values)) = sayings.iter().find_map(fits) else {
            return text.to_owned();
        };
        // Each value is shorter than what it stands in.
        let value = |(slot, value): &(&'static str, &str)| match *slot {
            RULE => (*slot, self.told(value)),
            part if PARTS.contains(&part) => (*slot, self.by(self.parts, value)),
            _ => (*slot, (*value).to_owned()),
        };
        let values: Vec<(&str, String)> = values.iter().map(value).collect();
        let values = values.iter().map(|(slot, value)| (*slot, value.as_str()));
        fill(said, &values.collect::<Vec<_>>())
    }
}

/// What stands in the slots of `written`, where the rule is otherwise the same. A value ends where the words after
/// it begin for the first time.
fn values<'r>(rule: &'r str, written: &'static str) -> Option<Vec<(&'static str, &'r str)>> {
    let mut parts = written.split('{');
    let mut rest = rule.strip_prefix(parts.next()?)?;
    let mut values = Vec::new();
    for part in parts {
        let (slot, words) = part.split_once('}')?;
        let (value, after) = match words {
            "" => (rest, ""),
            words => rest.split_once(words)?,
        };
        if value.is_empty() {
            return None;
        }
        values.push((slot, value));
        rest = after;
    }
    rest.is_empty().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_told_where_it_fits_as_a_whole() {
        const SAYINGS: Sayings = Sayings {
            rules: &[
                ("{rule}; it ends", "{rule}; slutt"),
                ("room {room} is off", "rom {room} er av"),
                ("always", "alltid"),
                ("{who} sees {what}", "{what} ses av {who}"),
            ],
            parts: &[("{n} rooms", "{n} rom"), ("all", "alt")],
        };
        for (rule, said) in [
            ("", ""),
            ("always", "alltid"),
            ("always so", "always so"),
            ("room \"a\" is off", "rom \"a\" er av"),
            ("room  is off", "room  is off"),
            ("room \"a\" is off; it ends", "rom \"a\" er av; slutt"),
            ("whatever; it ends", "whatever; slutt"),
            ("a sees b", "b ses av a"),
            ("a sees 2 rooms", "2 rom ses av a"),
            // A part is no rule, and a value is no slot.
            ("all", "all"),
            ("2 rooms", "2 rooms"),
            ("all sees {who}", "{who} ses av all"),
            ("room always is off", "rom always er av"),
        ] {
            assert_eq!(SAYINGS.told(rule), said, "{rule}");
        }
    }
}
