//! The part of a report that people read: what happened, to whom, why, what comes next, and whom to
//! call. Both languages stand side by side.

use std::time::Duration;

use super::why::{self, Why};
use super::{Failure, Kind, Letter, News, Notice, Outlook, one_line};
use crate::delivery::outcome::Cause;
use crate::mail::{Language, Timestamp};
use crate::policy::decide;
use crate::policy::table::Room;
use crate::spool::store::Waiting;

/// How long lines get, where words can be parted.
const WIDTH: usize = 76;
/// How much of the original's subject stands in the report's.
const SUBJECT: usize = 200;
/// Where what is said of a recipient begins, after its label.
const COLUMN: usize = 18;

impl Letter<'_> {
    pub(super) fn subject(&self) -> String {
        let what = match self.kind {
            Kind::Failure if self.is_unsure() => {
                self.say("Kanskje ikke levert", "Perhaps not delivered")
            }
            Kind::Failure => self.say("Ikke levert", "Not delivered"),
            Kind::Delay => self.say("Forsinket", "Delayed"),
            Kind::Success => self.say("Levert", "Delivered"),
        };
        let subject: String = self.about().chars().take(SUBJECT).collect();
        format!("{what}: {subject}")
    }

    /// The original's subject, as far as it may be told.
    fn about(&self) -> String {
        let subject = self.first.subject.as_deref().unwrap_or_default().trim();
        match subject {
            _ if self.is_redacted() => self.say("(emnet er utelatt)", "(subject left out)").into(),
            "" => self.say("(uten emne)", "(no subject)").into(),
            subject => one_line(subject),
        }
    }

    pub(super) fn human(&self) -> String {
        let mut page = Page::default();
        page.paragraph(&self.opening());
        page.line("");
        self.identify(&mut page);
        for (heading, notices) in self.groups() {
            page.line("");
            page.line(heading);
            for notice in notices {
                page.line("");
                self.describe(&mut page, notice);
            }
        }
        page.line("");
        for line in self.closing() {
            page.line(line);
        }
        page.text
    }

    /// Which message it is about.
    fn identify(&self, page: &mut Page) {
        let mut fact = |label: &str, words: &str| page.line(&format!("{label:<12}{words}"));
        fact(self.say("Emne:", "Subject:"), &self.about());
        let sent = self.first.accepted_at;
        let sent = format!("{} {}", self.date(sent), self.time(sent));
        fact(self.say("Sendt:", "Sent:"), &sent);
        let reference = self.first.id.reference.to_string();
        fact(self.say("Referanse:", "Reference:"), &reference);
    }

    fn say<'a>(&self, nb: &'a str, en: &'a str) -> &'a str {
        self.occasion.letterhead.language.choose(nb, en)
    }

    /// Nobody knows whether it arrived, for any recipient.
    fn is_unsure(&self) -> bool {
        self.notices.iter().all(Notice::is_unsure)
    }

    /// The first line says it all, and no more than is known: others may have got the message, so
    /// that it names whom this is about.
    fn opening(&self) -> String {
        let whom = match self.notices {
            [only] => only.waiting.recipient.to_string(),
            several => self.recipients(several.len()),
        };
        match self.kind {
            Kind::Failure => self.failed(&whom),
            Kind::Delay => {
                let what = self.say(
                    "Meldingen din er forsinket til",
                    "Your message is delayed to",
                );
                format!("{what} {whom}. {}", self.what_now())
            }
            Kind::Success => self.arrived(&whom),
        }
    }

    fn failed(&self, whom: &str) -> String {
        let not = self.say(
            "Meldingen din er IKKE levert til",
            "Your message was NOT delivered to",
        );
        let unsure = self.notices.iter().filter(|it| it.is_unsure()).count();
        if unsure == 0 {
            return format!("{not} {whom}.");
        }
        if unsure == self.notices.len() {
            let unknown = self.say(
                "Vi vet ikke om meldingen din kom fram til",
                "We do not know whether your message arrived at",
            );
            return format!("{unknown} {whom}.");
        }
        let sure = self.recipients(self.notices.len() - unsure);
        let (of, unknown) = match self.occasion.letterhead.language {
            Language::Nb => ("For", "vet vi ikke om den kom fram"),
            Language::En => ("For", "we do not know whether it arrived"),
        };
        let unsure = self.recipients(unsure);
        format!("{not} {sure}. {of} {unsure} {unknown}.")
    }

    fn arrived(&self, whom: &str) -> String {
        let in_mailbox = |it: &&Notice| matches!(it.news, News::Delivered);
        let is_there = self.notices.iter().filter(in_mailbox).count();
        let all = self.notices.len();
        let what = self.say(
            "Meldingen din er levert til",
            "Your message was delivered to",
        );
        if is_there == all {
            return format!("{what} {whom}.");
        }
        if is_there == 0 {
            let system = self.say("e-postsystemet til", "the mail system of");
            return format!("{what} {system} {whom}.");
        }
        let or = self.say("eller til e-postsystemet deres", "or to their mail system");
        format!("{what} {whom}, {or}.")
    }

    /// What becomes of what is late, where that is the same for all.
    fn what_now(&self) -> &'static str {
        let all = |is: fn(&Notice) -> bool| self.notices.iter().all(is);
        if all(|it| Why::of(it) == Why::Unscannable) {
            self.say(
                "Den kunne ikke viruskontrolleres.",
                "It could not be scanned for viruses.",
            )
        } else if all(|it| it.is_held() && Why::of(it) != Why::Unscannable) {
            self.say(
                "Brukerstøtten holder den tilbake.",
                "It is being held by the service desk.",
            )
        } else if all(|it| !it.is_held() && it.is_unsure()) {
            self.say(
                "Vi vet ikke om den kom fram, og prøver igjen.",
                "We do not know whether it arrived, and try again.",
            )
        } else if all(|it| !it.is_held() && !it.is_unsure()) {
            self.say(
                "Den er ikke levert ennå, men vi prøver fortsatt.",
                "It is not delivered yet, but we keep trying.",
            )
        } else {
            self.say("Se hvorfor nedenfor.", "See below why.")
        }
    }

    /// `3 mottakere`.
    fn recipients(&self, count: usize) -> String {
        let word = match count {
            1 => self.say("mottaker", "recipient"),
            _ => self.say("mottakere", "recipients"),
        };
        format!("{count} {word}")
    }

    /// What is known and what is not, apart.
    fn groups(&self) -> Vec<(&'static str, Vec<&Notice>)> {
        let is_doubt = |it: &&Notice| self.kind == Kind::Failure && it.is_unsure();
        let (unsure, sure): (Vec<_>, Vec<_>) = self.notices.iter().partition(is_doubt);
        let heading = match self.kind {
            Kind::Failure => self.say("Ikke levert til:", "Not delivered to:"),
            Kind::Delay => self.say("Forsinket til:", "Delayed to:"),
            Kind::Success => self.say("Levert til:", "Delivered to:"),
        };
        let perhaps = self.say("Kanskje ikke levert til:", "Perhaps not delivered to:");
        let mut groups = vec![(heading, sure), (perhaps, unsure)];
        groups.retain(|(_, notices)| !notices.is_empty());
        groups
    }

    fn closing(&self) -> Vec<&'static str> {
        let desk = self.say(
            "Oppgi referansen når du kontakter brukerstøtten.",
            "Give the reference when you contact the service desk.",
        );
        let mut lines = match self.kind {
            Kind::Failure => self.after_a_failure(),
            Kind::Delay => self.after_a_delay(),
            Kind::Success => vec![self.say(
                "Dette er kvitteringen du ba om. Den sier ikke om meldingen er lest.",
                "This is the receipt you asked for. It does not say whether it was read.",
            )],
        };
        lines.push(match self.notices {
            [_] => self.say(
                "Sendte du til flere, gjelder dette bare mottakeren over.",
                "If you sent it to others too, this is only about the recipient above.",
            ),
            _ => self.say(
                "Sendte du til flere, gjelder dette bare mottakerne over.",
                "If you sent it to others too, this is only about the recipients above.",
            ),
        });
        if self.kind != Kind::Success {
            lines.push(desk);
        }
        lines
    }

    fn after_a_failure(&self) -> Vec<&'static str> {
        let over = self.say("Vi prøver ikke flere ganger.", "We will not try again.");
        let anew = self.say(
            "Skal meldingen fram, må den sendes på nytt.",
            "If the message is still needed, it must be sent anew.",
        );
        let ask = self.say(
            "Ring og spør før du sender den på nytt der det står «kanskje».",
            "Where it says \"perhaps\", call and ask before you send it again.",
        );
        let ask_all = self.say(
            "Ring og spør før du sender meldingen på nytt.",
            "Call and ask before you send the message again.",
        );
        if self.is_unsure() {
            vec![over, ask_all]
        } else if self.notices.iter().any(Notice::is_unsure) {
            vec![over, anew, ask]
        } else {
            vec![over, anew]
        }
    }

    fn after_a_delay(&self) -> Vec<&'static str> {
        let stay = self.say(
            "Du trenger ikke sende meldingen på nytt.",
            "There is no need to send the message again.",
        );
        let more = self.say(
            "Du får beskjed hvis den ikke kan leveres.",
            "You will be told if it cannot be delivered.",
        );
        let mut wishes = self.notices.iter().map(|it| &it.waiting.wishes);
        match wishes.all(|it| it.wants_failure()) {
            true => vec![stay, more],
            false => vec![stay],
        }
    }

    fn describe(&self, page: &mut Page, notice: &Notice) {
        let waiting = &notice.waiting;
        let name = self.name(waiting);
        page.line(&format!("  {} ({name})", waiting.recipient));
        let elsewhere = self.redirected_to(waiting);
        if let Some(other) = elsewhere {
            let [mail, now] = match self.occasion.letterhead.language {
                Language::Nb => ["E-post til", "går nå til"],
                Language::En => ["Mail to", "now goes to"],
            };
            page.line(&format!("  {mail} {name} {now} {}.", other.name));
        }
        if self.kind == Kind::Success {
            return self.receipt(page, notice);
        }
        page.line(&format!("  {}", self.call(waiting, elsewhere)));
        page.entry(self.say("Hvorfor:", "Why:"), &self.why(notice));
        if self.kind == Kind::Delay {
            self.prospect(page, notice);
        }
        if let Some(last) = &notice.last
            && let Some(words) = why::words(last)
        {
            page.line(&format!("  {}", self.whose_words(&last.cause)));
            page.line(&format!("    {}", one_line(&words)));
        }
    }

    fn name(&self, waiting: &Waiting) -> String {
        let room = self.occasion.room(waiting);
        room.map_or_else(|| waiting.room.to_string(), |room| room.name.clone())
    }

    /// The room that takes this recipient's mail, and the telephone, while its own is redirected.
    fn redirected_to(&self, waiting: &Waiting) -> Option<&Room> {
        let (table, now) = (self.occasion.table, self.occasion.now);
        let route = decide::route(&waiting.room, table, now)?;
        let elsewhere = route.via != waiting.room;
        elsewhere.then(|| table.room(&route.via)).flatten()
    }

    /// What to do now: call.
    fn call(&self, waiting: &Waiting, elsewhere: Option<&Room>) -> String {
        let urgent = self.say("Haster det? Ring", "Is it urgent? Call");
        let room = elsewhere.or_else(|| self.occasion.room(waiting));
        let name = elsewhere.map_or_else(|| self.name(waiting), |room| room.name.clone());
        match room.and_then(|room| room.phone.as_deref()) {
            Some(phone) => format!("{urgent} {name}: {phone}"),
            None => {
                let unknown = self.say(
                    "(Telefonnummeret er ikke registrert.)",
                    "(No phone number is registered.)",
                );
                format!("{urgent} {name}. {unknown}")
            }
        }
    }

    /// Nobody answered where the words are our own.
    const fn whose_words(&self, cause: &Cause) -> &'static str {
        let language = self.occasion.letterhead.language;
        match cause {
            Cause::Said(_) => language.choose("Siste svar:", "Last answer:"),
            Cause::Found(_) | Cause::Unfit { .. } => language.choose("Teknisk:", "Technical:"),
        }
    }

    fn why(&self, notice: &Notice) -> String {
        let why = Why::of(notice);
        let cause = why.sentence(self.occasion.letterhead.language);
        match &notice.news {
            News::Failed(Failure::GivenUp(length)) => {
                let tried = match notice.last {
                    Some(_) => self.say("Vi prøvde i", "We tried for"),
                    None => self.say("Den ventet i", "It waited for"),
                };
                format!("{tried} {}. {cause}", self.length(*length))
            }
            News::Failed(Failure::Expired(at)) => {
                let demand = self.say(
                    "Du ba om at den ikke ble levert senere enn",
                    "You asked that it not be delivered later than",
                );
                // Of what was never tried there may be no more to say.
                let is_told = notice.last.is_some() || why.is_of_what_never_went();
                let cause = if is_told { cause } else { "" };
                let words = format!("{demand} {}. {cause}", self.moment(*at));
                words.trim_end().to_owned()
            }
            News::Failed(Failure::Cancelled(reason)) => {
                let unsure = Why::Unsure.sentence(self.occasion.letterhead.language);
                let unsure = notice.is_unsure().then(|| unsure.to_owned());
                let reason = reason.as_deref().map(|words| self.in_their_words(words));
                let parts = [Some(cause.to_owned()), reason, unsure];
                parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
            }
            News::Failed(Failure::Caught(found) | Failure::CaughtLate(found)) => {
                format!(
                    "{cause} {}: {}",
                    self.say("Funnet", "Found"),
                    one_line(found)
                )
            }
            _ => cause.to_owned(),
        }
    }

    /// What an operator wrote.
    fn in_their_words(&self, words: &str) -> String {
        let wrote = self.say("De skriver:", "They write:");
        format!("{wrote} {}", one_line(words))
    }

    /// Since when it waits, when it is tried next, and until when.
    fn prospect(&self, page: &mut Page, notice: &Notice) {
        let waiting = &notice.waiting;
        let waited = self.length(self.occasion.now.since(waiting.waits_since));
        let since = self.say("siden", "since");
        let sent = self.moment(waiting.accepted_at);
        page.entry(
            self.say("Har ventet:", "Waiting for:"),
            &format!("{waited}, {since} {sent}"),
        );
        let (overdue, outlook) = match notice.news {
            News::Delayed(outlook) => (outlook.overdue, Some(outlook)),
            News::Held(overdue) => (overdue, None),
            _ => (None, None),
        };
        if let Some(at) = overdue {
            let asked = self.say("Du ba om levering innen", "You asked for delivery by");
            page.entry(
                self.say("Frist:", "Deadline:"),
                &format!("{asked} {}.", self.moment(at)),
            );
        }
        let Some(Outlook { next, until, .. }) = outlook else {
            return;
        };
        let turn = self.say(
            "så snart det er denne meldingens tur",
            "as soon as it is this message's turn",
        );
        page.entry(
            self.say("Neste forsøk:", "Next attempt:"),
            &next.map_or_else(|| turn.to_owned(), |at| self.moment(at)),
        );
        if let Some(until) = until {
            page.entry(
                self.say("Vi prøver til:", "Trying until:"),
                &self.moment(until),
            );
        }
    }

    fn receipt(&self, page: &mut Page, notice: &Notice) {
        let place = match notice.news {
            News::Delivered => self.say("Lagt i postkassen", "Put into the mailbox at"),
            _ => self.say(
                "Tatt imot av mottakerens e-postsystem",
                "Taken by the recipient's mail system at",
            ),
        };
        page.line(&format!("  {place} {}", self.moment(self.occasion.now)));
    }

    /// `kl. 12:00:00`, with the date where it is not today's.
    fn moment(&self, at: Timestamp) -> String {
        let (date, _) = at.local_parts();
        let (today, _) = self.occasion.now.local_parts();
        match self.occasion.letterhead.language {
            _ if date != today => format!("{} {}", self.date(at), self.time(at)),
            Language::Nb => self.time(at),
            Language::En => self.bare_time(at),
        }
    }

    fn date(&self, at: Timestamp) -> String {
        at.local_parts().0
    }

    fn time(&self, at: Timestamp) -> String {
        format!("{} {}", self.say("kl.", "at"), self.bare_time(at))
    }

    fn bare_time(&self, at: Timestamp) -> String {
        let (_, time) = at.local_parts();
        match at.zone_mark() {
            Some(zone) => format!("{time} ({zone})"),
            None => time,
        }
    }

    /// `4 timer`, `1 minutt`: the largest unit that fits.
    fn length(&self, length: Duration) -> String {
        let language = self.occasion.letterhead.language;
        counted(length, language)
    }
}

fn counted(length: Duration, language: Language) -> String {
    let (count, [one, many]) = match length.as_secs() {
        length if length >= 3_600 => (length / 3_600, [("time", "hour"), ("timer", "hours")]),
        length if length >= 60 => (length / 60, [("minutt", "minute"), ("minutter", "minutes")]),
        length => (length, [("sekund", "second"), ("sekunder", "seconds")]),
    };
    let (nb, en) = if count == 1 { one } else { many };
    format!("{count} {}", language.choose(nb, en))
}

/// Lines with CRLF.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push_str("\r\n");
    }

    /// Over as many lines as it takes.
    fn paragraph(&mut self, words: &str) {
        self.wrap(String::new(), 0, words);
    }

    /// A label and what it is about, over as many lines as it takes.
    fn entry(&mut self, label: &str, words: &str) {
        let label = format!("  {label:<width$}", width = COLUMN - 2);
        self.wrap(label, COLUMN, words);
    }

    fn wrap(&mut self, label: String, indent: usize, words: &str) {
        let mut line = label;
        let mut is_empty = true;
        for word in words.split(' ') {
            let room = WIDTH.saturating_sub(line.chars().count());
            if !is_empty && room <= word.chars().count() {
                self.line(&line);
                line = " ".repeat(indent);
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        self.line(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_in_words() {
        for (seconds, nb, en) in [
            (0, "0 sekunder", "0 seconds"),
            (1, "1 sekund", "1 second"),
            (59, "59 sekunder", "59 seconds"),
            (60, "1 minutt", "1 minute"),
            (3_599, "59 minutter", "59 minutes"),
            (3_600, "1 time", "1 hour"),
            (14_400, "4 timer", "4 hours"),
        ] {
            let length = Duration::from_secs(seconds);
            assert_eq!(counted(length, Language::Nb), nb);
            assert_eq!(counted(length, Language::En), en);
        }
    }

    #[test]
    fn long_sentences_go_on_below() {
        let mut page = Page::default();
        page.entry("Why:", "words ".repeat(16).trim());
        let second = format!("{}{}", " ".repeat(18), "words ".repeat(7));
        let expected = format!(
            "  Why:            {}\r\n{}\r\n",
            "words ".repeat(9).trim_end(),
            second.trim_end()
        );
        assert_eq!(page.text, expected);
    }
}
