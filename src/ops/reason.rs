//! Why somebody does something, as the log keeps it: one line that explains itself.
//!
//! Pure. What is empty, has no letter or digit that can be seen, is too long, or would do something to a terminal is refused, in words.

use crate::mail::reply::harmless;
use crate::pattern::is_unseen;

const LONGEST: usize = 255;

/// What was typed, without blanks around it.
pub fn parse(typed: &str) -> Result<String, String> {
    let reason = typed.trim();
    let fits = (1..=LONGEST).contains(&reason.chars().count());
    let says_something = reason.chars().any(|c| c.is_alphanumeric() && !is_unseen(c));
    match fits && says_something && harmless(reason) == reason {
        true => Ok(reason.to_owned()),
        false => Err(format!("a reason is one line of 1 to {LONGEST} characters")),
    }
}
