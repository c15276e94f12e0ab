//! The words of an answer: what a language has to say, as templates with slots.
//!
//! A language is one file that fills in [`Words`]; the compiler names what it leaves out, and a test the
//! slots that it does not know. Nothing is decided here but which phrase belongs to what.

use super::rule::Sayings;
use crate::mail::{EventKind, Language, State};

/// Puts values into the slots of a template, each once: a value is never read as a template.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (slot, after) = after.split_once('}').unwrap_or((after, ""));
        let value = values.iter().find(|(name, _)| *name == slot);
        filled.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// A phrase with its slots filled: `say!(words.delivered, room = room, when = when)`.
macro_rules! say {
    ($template:expr $(, $slot:ident = $value:expr)* $(,)?) => {
        $crate::ops::answer::words::fill($template, &[$((stringify!($slot), &*$value.to_string())),*])
    };
}
pub(super) use say;

/// None, one, several.
pub(super) fn counted([none, one, several]: [&'static str; 3], n: usize) -> String {
    match n {
        0 => say!(none, n = n),
        1 => say!(one, n = n),
        _ => say!(several, n = n),
    }
}

/// With a full stop, unless it has one.
pub(super) fn ended(sentence: String) -> String {
    match sentence.ends_with(['.', '!', '?']) {
        true => sentence,
        false => sentence + ".",
    }
}

macro_rules! phrases {
    ($(#[$doc:meta])* $group:ident { $($(#[$about:meta])* $name:ident $slots:literal,)* }) => {
        $(#[$doc])*
        pub(super) struct $group { $($(#[$about])* pub $name: &'static str,)* }

        #[cfg(test)]
        impl $group {
            /// Each phrase by name, and the slots that it may have.
            pub fn all(&self) -> Vec<(&'static str, &'static str, &'static str)> {
                vec![$((stringify!($name), self.$name, $slots),)*]
            }
        }
    };
}

/// All that is said in one language.
pub(super) struct Words {
    pub months: [&'static str; 12],
    /// `kl. 14:02:11`: when something happened.
    pub at: Moments,
    /// The same after "since", "until" or "next attempt".
    pub bare: Moments,
    pub lengths: Lengths,
    /// No attachment, one, several.
    pub attachments: [&'static str; 3],
    /// The same, scanned and clean.
    pub clean: [&'static str; 3],
    /// Once, several times.
    pub times: [&'static str; 2],
    pub states: States,
    pub sentences: Sentences,
    pub advice: Advice,
    pub refusals: Refusals,
    /// Rules that refuse something, where they are not said as they are written.
    pub rules: Sayings,
    pub events: Events,
    pub parts: Parts,
}

impl Words {
    pub const fn of(language: Language) -> &'static Self {
        match language {
            Language::Nb => &super::nb::WORDS,
            Language::En => &super::en::WORDS,
        }
    }
}

phrases! {
    Moments {
        today "clock",
        yesterday "clock",
        tomorrow "clock",
        this_year "day month clock",
        another_year "day month year clock",
    }
}

phrases! {
    Lengths {
        /// What stands before the tenths.
        decimal "",
        next_to_nothing "",
        seconds "n",
        minutes "n",
        hours "n",
        days "n",
    }
}

phrases! {
    /// How a recipient stands, in a list of several.
    States {
        unscanned "",
        queued "",
        deferred "",
        perhaps "",
        held "",
        quarantined "",
        delivered "",
        failed "",
        cancelled "",
        refused "",
        left_out "",
    }
}

impl States {
    pub const fn of(&self, state: State) -> &'static str {
        match state {
            State::Unscanned => self.unscanned,
            State::Queued => self.queued,
            State::Deferred => self.deferred,
            State::Held => self.held,
            State::Quarantined => self.quarantined,
            State::Delivered => self.delivered,
            State::Failed => self.failed,
            State::Cancelled => self.cancelled,
        }
    }
}

phrases! {
    /// What is read out. `whom` is a room, or an address where several are of one room.
    Sentences {
        /// Which message it is about.
        about "from when",
        about_subject "from when subject",
        no_sender "",
        and "",
        others "n",
        delivered "whom when",
        /// Into the hands of the room that had taken over.
        delivered_elsewhere "whom other when",
        after "length",
        by_rules "attachments",
        marked "marks",
        unscanned "attachments",
        under_exception "number by",
        not_clean "attachments by",
        receipt "reply",
        perhaps_twice "",
        caught_too_late "found",
        queued "whom since",
        queued_again "whom times",
        deferred "whom why times next",
        perhaps "whom why times next",
        held "whom by when",
        held_for_a_person "whom",
        held_by_measure "whom by until",
        held_report "whom",
        unscanned_yet "whom",
        quarantined "whom when",
        caught_by "engine found",
        failed "whom when why",
        given_up "whom when times why",
        never_tried "whom when",
        expired "whom when",
        may_have_arrived "",
        their_words "reply",
        technical "reason",
        cancelled "whom by when",
        deleted "whom by when",
        lapsed "whom when",
        reason "reason",
        all_delivered "n when length",
        some_delivered "n all whom",
        none_delivered "all whom",
        one_of_several "whom state",
        report "about",
        report_of_old "",
        refused_from "from when why",
        /// Who never said whom a message is from: a user, or a client's address.
        refused_client "client when why",
        refused_to "from whom when why",
        refused_many "client n when why",
        /// For reasons that differ.
        refused_all "from n when",
        refused_recipient "whom when why",
        left_out "whom group",
        rule "rule revision",
        bare_rule "rule",
        reply "reply",
        recipients "n",
        /// All of them: "the 3 recipients".
        both "",
        all "n",
        the_recipients "n",
        routes_changed "revision when by",
        log_read "when by what",
        log_retention "when what",
        alarm "when reason",
        all_clear "when reason",
        measure_opened "when by what until",
        measure_closed "when by what",
        exception_opened "when by until",
        exception_closed "when by",
        happened "when what",
        somebody "",
        /// In the place of a time that has come.
        now "",
    }
}

phrases! {
    /// What to do next.
    Advice {
        not_found "address",
        call "room phone",
        call_without_number "room",
        ask_first "",
        wait "next",
        tried_again "next",
        wait_for_turn "",
        retry "reference",
        wait_for_scan "",
        no_engine "",
        release "by reference",
        after_measure "until reference",
        let_out_poison "reference",
        read_report "reference",
        do_not_resend "",
        false_alarm "reference",
        resend "",
        check_address "",
        told "report",
        not_told "",
        ask "by",
        check_state "",
        nearest "address",
        warn_of_leak "room",
        routes_history "",
        see_rows "",
    }
}

phrases! {
    /// What events know, in the timeline.
    Parts {
        from "client",
        helo "helo",
        user "user",
        certificate "certificate",
        tls "tls",
        plain "",
        size "n",
        to "recipient",
        rule "rule",
        revision "n",
        group "group",
        attempt "n",
        hop "hop",
        reply "reply",
        reason "reason",
        took "length",
        next "when",
        by "by",
        until "when",
        measure "measure",
        exception "number",
        found "found",
        /// What was found, and in which file.
        within "what file",
        marks "marks",
        engine "engine",
        version "version",
        signatures "signatures",
        signature_age "length",
        clean "",
        infected "",
        unscannable "",
        report "report",
        priority "n",
        deliver_by "when",
        require_tls "",
        tolerated "what",
        bare_newlines "",
        unknown_workstation "",
        more_files "n",
        /// What finds in the place of an engine.
        rules "",
        block "",
    }
}

macro_rules! refusals {
    ($($(#[$about:meta])* $kind:ident $name:ident,)*) => {
        /// Why something was refused, by what its sender can do about it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(super) enum Kind { $($(#[$about])* $kind,)* }

        /// Why, as the end of a sentence; and what the sender should do.
        pub(super) struct Refusals { $(pub $name: [&'static str; 2],)* }

        impl Refusals {
            pub const fn of(&self, kind: Kind) -> [&'static str; 2] {
                match kind { $(Kind::$kind => self.$name,)* }
            }
        }

        #[cfg(test)]
        impl Kind {
            pub const ALL: &[Self] = &[$(Self::$kind,)*];
        }
    };
}

refusals! {
    Outside outside,
    Routed routed,
    BadAddress bad_address,
    NoMailbox no_mailbox,
    NoPostmaster no_postmaster,
    NotYourRoom not_your_room,
    GatewaySpeaksForRoom gateway_speaks_for_room,
    SenderNotTaken sender_not_taken,
    NotAccepted not_accepted,
    Disabled disabled,
    LeftOut left_out,
    NoMember no_member,
    FromUnclear from_unclear,
    UnknownWorkstation unknown_workstation,
    UnknownUser unknown_user,
    NeedsTls needs_tls,
    LoginRefused login_refused,
    LoginImpossible login_impossible,
    LoginOver login_over,
    Malware malware,
    Blocked blocked,
    ContentNotTaken content_not_taken,
    TooLarge too_large,
    TooManyRecipients too_many_recipients,
    BadNewlines bad_newlines,
    Loop mail_loop,
    OutOfTime out_of_time,
    TooMuch too_much,
    Crowded crowded,
    TooManyErrors too_many_errors,
    TooSlow too_slow,
    Vanished vanished,
    TlsFailed tls_failed,
    GoingDown going_down,
    NoSpace no_space,
    OurTrouble our_trouble,
    NotScanned not_scanned,
    PutOff put_off,
    NoRecipients no_recipients,
    /// The client said what makes no sense here.
    Program program,
    Unknown unknown,
}

macro_rules! events {
    ($($kind:ident $name:ident,)*) => {
        /// What happened, at the beginning of a line of the timeline.
        pub(super) struct Events {
            /// A client came with the message.
            pub session: &'static str,
            $(pub $name: &'static str,)*
        }

        impl Events {
            pub const fn of(&self, kind: EventKind) -> &'static str {
                match kind { $(EventKind::$kind => self.$name,)* }
            }
        }
    };
}

events! {
    Accepted accepted,
    Refused refused,
    LeftOut left_out,
    Altered altered,
    Tolerated tolerated,
    Scanned scanned,
    Rescanned rescanned,
    Quarantined quarantined,
    Viewed viewed,
    Alarm alarm,
    AllClear all_clear,
    Delivered delivered,
    Deferred deferred,
    PossiblyDelivered possibly_delivered,
    Failed failed,
    Bounced bounced,
    NotBounced not_bounced,
    Warned warned,
    Confirmed confirmed,
    Duplicate duplicate,
    Held held,
    Released released,
    Retried retried,
    Cancelled cancelled,
    MeasureOpened measure_opened,
    MeasureClosed measure_closed,
    ExceptionOpened exception_opened,
    ExceptionClosed exception_closed,
    RoutesChanged routes_changed,
    LogRead log_read,
    LogRetention log_retention,
}

#[cfg(test)]
impl Words {
    fn all(&self) -> Vec<(&'static str, &'static str, &'static str)> {
        [
            self.at.all(),
            self.bare.all(),
            self.lengths.all(),
            self.states.all(),
            self.sentences.all(),
            self.advice.all(),
            self.parts.all(),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_value_is_never_a_template() {
        for (template, filled) in [
            ("til {whom} {when}", "til {when} kl. 14"),
            ("{whom}", "{when}"),
            ("{none}.", "."),
            ("x { y", "x "),
            ("", ""),
        ] {
            let values = [("whom", "{when}"), ("when", "kl. 14")];
            assert_eq!(fill(template, &values), filled, "{template}");
        }
    }

    /// A slot that is misspelt would be empty, and one that is left out says less than is known.
    #[test]
    fn each_language_has_the_slots_that_each_phrase_has() {
        for language in [Language::Nb, Language::En] {
            for (name, template, slots) in Words::of(language).all() {
                let mut used: Vec<&str> = template
                    .split('{')
                    .skip(1)
                    .map(|it| it.split_once('}').unwrap().0)
                    .collect();
                let mut known: Vec<&str> = slots.split_whitespace().collect();
                used.sort_unstable();
                known.sort_unstable();
                assert_eq!(used, known, "{language:?} {name}: {template}");
                assert!(!template.is_empty(), "{language:?} {name}");
            }
        }
    }

    #[test]
    fn each_refusal_has_a_reason_and_advice() {
        for language in [Language::Nb, Language::En] {
            for kind in Kind::ALL {
                let [why, advice] = Words::of(language).refusals.of(*kind);
                assert!(!why.is_empty() && !why.ends_with('.'), "{kind:?}: {why}");
                assert!(advice.ends_with('.'), "{kind:?}: {advice}");
            }
        }
    }
}
