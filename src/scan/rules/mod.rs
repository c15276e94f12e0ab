//! The built-in rules, which need no engine.
//!
//! Pure.

pub mod inside;
