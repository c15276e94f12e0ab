//! How strict a room is with its workstations: what is refused, and what is let pass for now.
//!
//! Rooms are moved onto strict ground step by step: what would be refused is first only reported, then
//! the client is warned, and in the end it is refused. Gateways have no steps: for them the defaults
//! hold. What no room says is as it always was.

use crate::mail::{Lapse, Lapses};
use crate::nearest::nearest;

/// What is done about a lapse, from the mildest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// It passes, and is remembered.
    Report,
    /// It passes, the client is told, and the log has an event of its own.
    Warn,
    /// It is refused.
    Enforce,
}

impl Measure {
    pub const ALL: [Self; 3] = [Self::Report, Self::Warn, Self::Enforce];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }

    /// As written in the routing table.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let words = || Self::ALL.iter().map(|it| it.word());
        if let Some(found) = Self::ALL.into_iter().find(|it| it.word() == text) {
            return Ok(found);
        }
        Err(match nearest(text, words()) {
            Some(near) => format!("{text:?} is not known; did you mean {near:?}?"),
            None => format!(
                "{text:?} is not known; it is one of {}",
                words().collect::<Vec<_>>().join(", ")
            ),
        })
    }
}

/// A room's measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strictness {
    pub bare_newlines: Measure,
    pub missing_tls: Measure,
    pub unknown_workstations: Measure,
}

impl Default for Strictness {
    fn default() -> Self {
        Self {
            bare_newlines: Measure::Enforce,
            missing_tls: Measure::Report,
            unknown_workstations: Measure::Enforce,
        }
    }
}

impl Strictness {
    pub const fn against(&self, lapse: Lapse) -> Measure {
        match lapse {
            Lapse::MissingTls => self.missing_tls,
            Lapse::BareNewlines => self.bare_newlines,
            Lapse::UnknownWorkstation => self.unknown_workstations,
        }
    }

    /// Those of the lapses that the client is to be told of.
    pub fn warned(&self, lapses: Lapses) -> Lapses {
        let is_warned = |it: &Lapse| self.against(*it) == Measure::Warn;
        lapses.iter().filter(is_warned).collect()
    }

    /// The measures as keys of the routing table, in one order.
    pub const fn entries(&self) -> [(&'static str, Measure); 3] {
        [
            ("bare_newlines", self.bare_newlines),
            ("missing_tls", self.missing_tls),
            ("unknown_workstations", self.unknown_workstations),
        ]
    }
}
