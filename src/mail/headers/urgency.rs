//! How urgent an author holds a message to be, in the header fields that clients really set.
//!
//! Each field has its own words for much the same; a value that is none of them says nothing, since a
//! guess would let nonsense overtake mail. What the sender's room may ask for is not known here.

use crate::mail::Priority;

/// The words of one field, and what each means.
pub type Scale = &'static [(&'static str, Priority)];

const fn priority(level: i8) -> Priority {
    match Priority::new(level) {
        Some(priority) => priority,
        None => Priority::ROUTINE,
    }
}

const SCALES: [(&str, Scale); 4] = [
    (
        "x-priority",
        &[
            ("1", Priority::HIGH),
            ("2", priority(2)),
            ("3", Priority::ROUTINE),
            ("4", priority(-2)),
            ("5", priority(-4)),
        ],
    ),
    (
        "importance",
        &[
            ("high", Priority::HIGH),
            ("normal", Priority::ROUTINE),
            ("low", priority(-4)),
        ],
    ),
    (
        "priority",
        &[
            ("urgent", Priority::HIGH),
            ("normal", Priority::ROUTINE),
            ("non-urgent", priority(-4)),
        ],
    ),
    (
        "x-msmail-priority",
        &[
            ("high", Priority::HIGH),
            ("normal", Priority::ROUTINE),
            ("low", priority(-4)),
        ],
    ),
];

/// The words of the field of this name, if it is one that speaks of urgency.
pub fn scale(name: &[u8]) -> Option<Scale> {
    SCALES
        .into_iter()
        .find(|(field, _)| name.eq_ignore_ascii_case(field.as_bytes()))
        .map(|(_, scale)| scale)
}

/// What a field's value means. Spaces and comments, as in `1 (Highest)`, mean nothing.
pub fn read(scale: Scale, value: &[u8]) -> Option<Priority> {
    let rest = after_comments(value)?;
    let end = rest
        .iter()
        .position(|octet| !octet.is_ascii_alphanumeric() && *octet != b'-')
        .unwrap_or(rest.len());
    let (word, rest) = rest.split_at_checked(end)?;
    let is_all = after_comments(rest)?.is_empty();
    scale
        .iter()
        .find(|(known, _)| is_all && word.eq_ignore_ascii_case(known.as_bytes()))
        .map(|(_, priority)| *priority)
}

/// The text behind spaces and comments (RFC 5322 §3.2.2); `None` where a comment does not end.
fn after_comments(text: &[u8]) -> Option<&[u8]> {
    let (mut depth, mut escaped) = (0_usize, false);
    for (at, octet) in text.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if depth > 0 => escaped = true,
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            _ if depth > 0 || octet.is_ascii_whitespace() => {}
            _ => return text.get(at..),
        }
    }
    (depth == 0).then_some(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_own_words() {
        #[rustfmt::skip]
        let cases = [
            ("X-Priority",          "1",                        Some(4)),
            ("x-priority",          " 1 (Highest)\r\n",         Some(4)),
            ("X-PRIORITY",          "\r\n\t2",                  Some(2)),
            ("X-Priority",          "3 (Normal)",               Some(0)),
            ("X-Priority",          "4",                        Some(-2)),
            ("X-Priority",          "(a (b) \\) c) 5(Lowest)",  Some(-4)),
            ("Importance",          "High",                     Some(4)),
            ("Importance",          "NORMAL",                   Some(0)),
            ("importance",          "low ",                     Some(-4)),
            ("Priority",            "urgent",                   Some(4)),
            ("Priority",            "normal",                   Some(0)),
            ("Priority",            "Non-Urgent",               Some(-4)),
            ("X-MSMail-Priority",   "High",                     Some(4)),
            ("X-MSMail-Priority",   "Normal",                   Some(0)),
            ("X-MSMail-Priority",   "Low",                      Some(-4)),
            // nonsense
            ("X-Priority",          "",                         None),
            ("X-Priority",          "0",                        None),
            ("X-Priority",          "6",                        None),
            ("X-Priority",          "11",                       None),
            ("X-Priority",          "-1",                       None),
            ("X-Priority",          "high",                     None),
            ("X-Priority",          "1 2",                      None),
            ("X-Priority",          "1 (Highest",               None),
            ("X-Priority",          "1 )",                      None),
            ("X-Priority",          "(1)",                      None),
            ("Importance",          "1",                        None),
            ("Importance",          "highest",                  None),
            ("Importance",          "\"high\"",                 None),
            ("Priority",            "high",                     None),
            ("Priority",            "urgent\u{0}",              None),
            // other fields
            ("Precedence",          "high",                     None),
            ("Priority-X",          "urgent",                   None),
        ];
        for (name, value, expected) in cases {
            let found = scale(name.as_bytes()).and_then(|it| read(it, value.as_bytes()));
            assert_eq!(found.map(Priority::level), expected, "{name}: {value:?}");
        }
    }
}
