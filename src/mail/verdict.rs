//! What a scan says of a message: the verdict, what was found, and which engine says so.
//!
//! Plain values. A verdict has three sides and never two: what could not be scanned is not clean. Of
//! several verdicts the worst counts: infected, then unscannable, then clean. Nothing here fails.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::event::words;
use super::{Member, Timestamp};

words! {
    /// Why there is no verdict.
    Why {
        /// The engine cannot be reached, or broke off.
        Down = "down",
        /// It did not answer in time.
        Timeout = "timeout",
        /// It does not take so much.
        TooLarge = "too large",
        /// It cannot look inside.
        Encrypted = "encrypted",
        /// What was to be scanned, or the answer, makes no sense.
        Broken = "broken",
        /// It has stopped before it had seen everything.
        Limit = "limit",
    }
}

impl Why {
    /// The engine works, and says what it cannot do: to ask it again changes little. Otherwise it has
    /// failed.
    pub const fn is_answer(self) -> bool {
        matches!(self, Self::TooLarge | Self::Encrypted | Self::Limit)
    }
}

/// That something could not be scanned, and why. It is never clean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unscannable {
    pub why: Why,
    /// In a few words, for the log: what the engine said, or what went wrong with it.
    pub detail: String,
    /// The engine had begun with this message when it failed: the fault may be the message's.
    pub begun: bool,
}

impl Unscannable {
    /// The engine has not seen anything of it.
    pub fn before(why: Why, detail: impl Into<String>) -> Self {
        Self {
            why,
            detail: detail.into(),
            begun: false,
        }
    }

    /// What went wrong, in words, without the word for it.
    pub fn reason(&self) -> &str {
        match self.detail.is_empty() {
            true => self.why.word(),
            false => &self.detail,
        }
    }

    /// The engine had at least a part of it.
    pub fn during(why: Why, detail: impl Into<String>) -> Self {
        Self {
            begun: true,
            ..Self::before(why, detail)
        }
    }
}

impl fmt::Display for Unscannable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.is_empty() {
            true => self.why.fmt(f),
            false => write!(f, "{}: {}", self.why, self.detail),
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malware {
    /// As the engine calls it: `Eicar-Test-Signature`.
    pub name: String,
    pub place: Place,
}

/// Where in a message it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// There is one place only, or nobody was asked.
    Unsaid,
    /// In the attachment of this name.
    Attachment(String),
    /// In none of the attachments by itself.
    Itself,
    /// The message has attachments, and whether it is in one of them, and in which, was not found out.
    Unknown,
}

impl Malware {
    /// Found in the message as a whole.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            place: Place::Unsaid,
        }
    }

    pub fn within(name: impl Into<String>, attachment: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            place: Place::Attachment(attachment.into()),
        }
    }

    /// Whether the attachment that it is in is known.
    pub const fn is_in_attachment(&self) -> bool {
        matches!(self.place, Place::Attachment(_))
    }
}

/// `Eicar-Test-Signature in invoice.zip`
impl fmt::Display for Malware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.place {
            Place::Unsaid => Ok(()),
            Place::Attachment(attachment) => write!(f, " in {attachment}"),
            Place::Itself => f.write_str(" (in the message itself)"),
            Place::Unknown => f.write_str(" (in which part of the message is not known)"),
        }
    }
}

/// What became of a scan. Never a `Result`: nothing may skip it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Clean,
    /// At least one thing was found.
    Infected(Vec<Malware>),
    Unscannable(Unscannable),
}

impl Verdict {
    /// The word for it in the log.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Infected(_) => "infected",
            Self::Unscannable(_) => "unscannable",
        }
    }

    /// What was found in no attachment is in the message itself: each of them was looked at.
    #[must_use]
    pub fn in_message_itself(self) -> Self {
        self.placed(&Place::Itself)
    }

    /// The message has attachments: where nobody has said which one it is, that is not known.
    #[must_use]
    pub fn in_some_part(self) -> Self {
        self.placed(&Place::Unknown)
    }

    fn placed(mut self, place: &Place) -> Self {
        if let Self::Infected(found) = &mut self {
            let unsaid = found.iter_mut().filter(|it| it.place == Place::Unsaid);
            unsaid.for_each(|it| it.place = place.clone());
        }
        self
    }

    /// The worse of the two. What both found is told once.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Infected(mut mine), Self::Infected(theirs)) => {
                for it in theirs {
                    if !mine.contains(&it) {
                        mine.push(it);
                    }
                }
                Self::Infected(mine)
            }
            (found @ Self::Infected(_), _) | (_, found @ Self::Infected(_)) => found,
            (gap @ Self::Unscannable(_), _) | (_, gap @ Self::Unscannable(_)) => gap,
            (Self::Clean, Self::Clean) => Self::Clean,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => f.write_str("clean"),
            Self::Infected(found) => {
                let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                write!(f, "infected: {}", found.join(", "))
            }
            Self::Unscannable(why) => write!(f, "unscannable: {why}"),
        }
    }
}

words! {
    /// The built-in rules, which need no engine.
    Rule {
        /// The test file of EICAR.
        Eicar = "eicar",
        /// A file whose SHA-256 the settings name.
        BlockedHash = "blocked_hash",
        /// A program within an archive.
        ArchivedExecutable = "archived_executable",
        /// A file whose name fits a pattern in the settings.
        FileName = "file_name",
        /// A file that is of a type in the settings, by its content.
        FileType = "file_type",
        /// An Office document with macros.
        Macros = "macros",
        /// An archive or a document that only a password opens.
        Encrypted = "encrypted",
        /// An archive, or a message, that is nested too deep, or of which there is too much to look at.
        Bounds = "bounds",
    }
}

words! {
    /// What follows where a rule finds something, from the mildest on.
    Action {
        /// It is delivered, with a mark on it.
        Mark = "mark",
        /// It is kept, and not delivered.
        Quarantine = "quarantine",
        /// The sender hears 550.
        Refuse = "refuse",
    }
}

impl Rule {
    /// Where nobody says anything else.
    const fn unsaid(self) -> Action {
        match self {
            Self::Eicar | Self::BlockedHash | Self::ArchivedExecutable => Action::Refuse,
            Self::FileName | Self::FileType | Self::Macros | Self::Encrypted | Self::Bounds => {
                Action::Mark
            }
        }
    }
}

/// What somebody has said to follow from some of the rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SaidActions(BTreeMap<Rule, Action>);

impl SaidActions {
    pub fn say(&mut self, rule: Rule, action: Action) {
        self.0.insert(rule, action);
    }

    pub fn of(&self, rule: Rule) -> Option<Action> {
        self.0.get(&rule).copied()
    }

    /// In one order.
    pub fn entries(&self) -> impl Iterator<Item = (Rule, Action)> + '_ {
        self.0.iter().map(|(rule, action)| (*rule, *action))
    }
}

/// What follows from each rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actions(SaidActions);

impl Default for Actions {
    fn default() -> Self {
        let unsaid = Rule::ALL.iter().map(|rule| (*rule, rule.unsaid()));
        Self(SaidActions(unsaid.collect()))
    }
}

impl Actions {
    pub fn of(&self, rule: Rule) -> Action {
        let said = self.0.0.get(&rule).copied();
        said.unwrap_or_else(|| rule.unsaid())
    }

    /// With what somebody else has said, who has the last word: a room's over the settings'.
    #[must_use]
    pub fn over(&self, said: &SaidActions) -> Self {
        let mut all = self.clone();
        all.0.0.extend(said.entries());
        all
    }
}

/// What a rule has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub rule: Rule,
    /// What it is, in a few words: `EICAR-Test-File`, `macros`, `setup.exe is an executable`.
    pub what: String,
    /// The attachment that it is in; `None`: the message itself.
    pub attachment: Option<String>,
}

words! {
    /// What becomes of a message that cannot be scanned.
    OnFailure {
        /// It is accepted and kept, and delivered when it was scanned.
        Hold = "hold",
        /// Its sender hears 451.
        Reject = "reject",
    }
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Of the program: `ClamAV 1.4.3`.
    pub version: Option<String>,
    /// Of its signatures: `27600`.
    pub signatures: Option<String>,
    /// When those were made.
    pub signatures_at: Option<Timestamp>,
}

/// One engine's part in a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineReport {
    /// Its name in the settings.
    pub engine: String,
    pub verdict: Verdict,
    pub identity: Identity,
    pub duration: Duration,
}

impl EngineReport {
    /// The verdict as one of several: why it could not scan, with its name.
    pub fn told(&self) -> Verdict {
        match &self.verdict {
            Verdict::Unscannable(gap) => Verdict::Unscannable(Unscannable {
                detail: match gap.detail.is_empty() {
                    true => self.engine.clone(),
                    false => format!("{}: {}", self.engine, gap.detail),
                },
                ..gap.clone()
            }),
            verdict => verdict.clone(),
        }
    }
}

/// All that a scan of one message came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What the engines say together; clean where there is none.
    pub verdict: Verdict,
    /// What the built-in rules say.
    pub findings: Vec<Finding>,
    pub reports: Vec<EngineReport>,
    /// From the first look to the last word.
    pub duration: Duration,
    pub seen: Seen,
}

/// What a scan saw of a message, for whoever blocks or holds messages by that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The mailboxes in From, Sender and their like, as written.
    pub authors: Vec<String>,
    pub subject: Option<String>,
    /// Attachments, and what is inside of archives among them.
    pub files: Vec<SeenFile>,
    /// Whether it has any, or may have.
    pub has_attachments: bool,
}

/// A file in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenFile {
    pub name: String,
    /// In lower-case hex; empty where it was not looked at whole.
    pub sha256: String,
    /// Where it is inside of an attachment, and the log is to know it.
    pub member: Option<Member>,
}

impl Seen {
    /// Of a message that could not be looked at: there may be anything in it.
    pub const UNKNOWN: Self = Self {
        authors: Vec::new(),
        subject: None,
        files: Vec::new(),
        has_attachments: true,
    };
}

impl Inspection {
    /// The engines that gave no verdict, by name.
    pub fn failed_engines(&self) -> Option<String> {
        let failed = self.reports.iter();
        let failed = failed.filter(|it| matches!(it.verdict, Verdict::Unscannable(_)));
        let names: Vec<&str> = failed.map(|it| it.engine.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_the_last_word_says_what_follows() {
        let said = |rule, action| {
            let mut said = SaidActions::default();
            said.say(rule, action);
            said
        };
        let settings = Actions::default().over(&said(Rule::Macros, Action::Quarantine));
        let room = settings.over(&said(Rule::Macros, Action::Refuse));
        #[rustfmt::skip]
        let cases = [
            (Actions::default(),    Rule::Eicar,                Action::Refuse),
            (Actions::default(),    Rule::BlockedHash,          Action::Refuse),
            (Actions::default(),    Rule::ArchivedExecutable,   Action::Refuse),
            (Actions::default(),    Rule::Macros,               Action::Mark),
            (settings.clone(),      Rule::Macros,               Action::Quarantine),
            (settings,              Rule::Eicar,                Action::Refuse),
            (room,                  Rule::Macros,               Action::Refuse),
        ];
        for (actions, rule, action) in cases {
            assert_eq!(actions.of(rule), action, "{rule}");
        }
    }

    #[test]
    fn the_worst_of_verdicts_counts() {
        let found = |name: &str| Verdict::Infected(vec![Malware::named(name)]);
        let down = || Verdict::Unscannable(Unscannable::before(Why::Down, "refused"));
        #[rustfmt::skip]
        let cases = [
            (Verdict::Clean, Verdict::Clean, "clean"),
            (Verdict::Clean, down(), "unscannable: down: refused"),
            (down(), found("A"), "infected: A"),
            (found("A"), down(), "infected: A"),
            (found("A"), found("A"), "infected: A"),
            (found("A"), found("B"), "infected: A, B"),
            (found("A"), Verdict::Infected(vec![Malware::within("A", "x.zip")]), "infected: A, A in x.zip"),
            (found("A").in_message_itself(), found("B").in_some_part(), "infected: A (in the message itself), B (in which part of the message is not known)"),
            (Verdict::Infected(vec![Malware::within("A", "x")]).in_some_part(), Verdict::Clean.in_some_part(), "infected: A in x"),
        ];
        for (one, other, worst) in cases {
            assert_eq!(one.and(other).to_string(), worst);
        }
    }
}
