//! The languages in which the relay writes to people.

/// `language` in the settings: reports to senders, and the default of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// Norwegian bokmål.
    #[default]
    Nb,
    /// English.
    En,
}
