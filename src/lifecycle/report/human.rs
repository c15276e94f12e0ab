//! The part of a report that people read: what happened, to whom, why, what comes next, and whom to
//! call. Both languages stand side by side.

use std::time::Duration;

use super::why::{self, Why};
use super::{Failure, Kind, Letter, News, Notice, Outlook, one_line};
use crate::mail::{Language, Timestamp};
use crate::policy::table::Room;

/// How long lines get, where words can be parted.
const WIDTH: usize = 76;
/// How much of the original's subject stands in the report's.
const SUBJECT: usize = 200;
/// Where what is said of a recipient begins, after its label.
const COLUMN: usize = 18;

impl Letter<'_> {
    pub(super) fn subject(&self) -> String {
        let subject = self.first.subject.as_deref().unwrap_or_default();
        let subject: String = subject.trim().chars().take(SUBJECT).collect();
        let what = match self.kind {
            Kind::Failure if self.is_unsure() => {
                self.say("Kanskje ikke levert", "Perhaps not delivered")
            }
            Kind::Failure => self.say("Ikke levert", "Not delivered"),
            Kind::Delay => self.say("Forsinket", "Delayed"),
            Kind::Success => self.say("Levert", "Delivered"),
        };
        if subject.is_empty() {
            format!("{what}: {}", self.no_subject())
        } else {
            format!("{what}: {subject}")
        }
    }

    pub(super) fn human(&self) -> String {
        let mut page = Page::default();
        page.line(self.opening());
        page.line("");
        let subject = self.first.subject.as_deref().map(one_line);
        let subject = subject.unwrap_or_else(|| self.no_subject().into());
        let reference = self.first.id.reference;
        let at = self.say("kl.", "at");
        let (date, time) = self.first.accepted_at.local_parts();
        page.line(&format!("{:<12}{subject}", self.say("Emne:", "Subject:")));
        let sent = self.say("Sendt:", "Sent:");
        page.line(&format!("{sent:<12}{date} {at} {time}"));
        let label = self.say("Referanse:", "Reference:");
        page.line(&format!("{label:<12}{reference}"));
        page.line("");
        page.line(self.heading());
        for notice in self.notices {
            page.line("");
            self.describe(&mut page, notice);
        }
        page.line("");
        for line in self.closing() {
            page.line(line);
        }
        page.text
    }

    fn say<'a>(&self, nb: &'a str, en: &'a str) -> &'a str {
        self.occasion.letterhead.language.choose(nb, en)
    }

    fn no_subject(&self) -> &'static str {
        self.say("(uten emne)", "(no subject)")
    }

    /// Nobody knows whether it arrived, for any recipient.
    fn is_unsure(&self) -> bool {
        self.notices.iter().all(Notice::is_unsure)
    }

    /// The first line says it all.
    fn opening(&self) -> &'static str {
        let all = |of: fn(&News) -> bool| self.notices.iter().all(|it| of(&it.news));
        match self.kind {
            Kind::Failure if self.is_unsure() => self.say(
                "Vi vet ikke om meldingen din kom fram.",
                "We do not know whether your message arrived.",
            ),
            Kind::Failure => self.say(
                "Meldingen din er IKKE levert.",
                "Your message was NOT delivered.",
            ),
            Kind::Delay if all(|news| matches!(news, News::Held(_))) => self.say(
                "Meldingen din er forsinket. Den holdes tilbake av driftspersonell.",
                "Your message is delayed. It is being held by the service desk.",
            ),
            Kind::Delay if self.is_unsure() => self.say(
                "Meldingen din er forsinket. Vi vet ikke om den kom fram, og prøver igjen.",
                "Your message is delayed. We do not know whether it arrived, and try again.",
            ),
            Kind::Delay => self.say(
                "Meldingen din er forsinket. Den er ikke levert ennå, men vi prøver fortsatt.",
                "Your message is delayed. It is not delivered yet, but we keep trying.",
            ),
            Kind::Success if all(|news| matches!(news, News::Delivered)) => {
                self.say("Meldingen din er levert.", "Your message was delivered.")
            }
            Kind::Success => self.say(
                "Meldingen din er levert til mottakerens e-postsystem.",
                "Your message was delivered to the recipient's mail system.",
            ),
        }
    }

    fn heading(&self) -> &'static str {
        match self.kind {
            Kind::Failure if self.is_unsure() => {
                self.say("Kanskje ikke levert til:", "Perhaps not delivered to:")
            }
            Kind::Failure => self.say("Ikke levert til:", "Not delivered to:"),
            Kind::Delay => self.say("Forsinket til:", "Delayed to:"),
            Kind::Success => self.say("Levert til:", "Delivered to:"),
        }
    }

    fn closing(&self) -> Vec<&'static str> {
        let desk = self.say(
            "Oppgi referansen når du kontakter brukerstøtten.",
            "Give the reference when you contact the service desk.",
        );
        let wants_failure = |notice: &Notice| notice.waiting.wishes.wants_failure();
        match self.kind {
            Kind::Failure if self.is_unsure() => vec![
                self.say(
                    "Vi prøver ikke flere ganger. Ring og spør før du sender meldingen på nytt.",
                    "We will not try again. Call and ask before you send the message again.",
                ),
                desk,
            ],
            Kind::Failure => vec![
                self.say(
                    "Vi prøver ikke flere ganger. Skal meldingen fram, må den sendes på nytt.",
                    "We will not try again. If the message is still needed, it must be sent anew.",
                ),
                desk,
            ],
            Kind::Delay => {
                let stay = self.say(
                    "Du trenger ikke sende meldingen på nytt.",
                    "There is no need to send the message again.",
                );
                let more = self.say(
                    "Du får beskjed hvis den ikke kan leveres.",
                    "You will be told if it cannot be delivered.",
                );
                let promise = self.notices.iter().all(wants_failure).then_some(more);
                [Some(stay), promise, Some(desk)]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Kind::Success => vec![self.say(
                "Dette er kvitteringen du ba om. Den sier ikke om meldingen er lest.",
                "This is the receipt you asked for. It does not say whether it was read.",
            )],
        }
    }

    fn describe(&self, page: &mut Page, notice: &Notice) {
        let waiting = &notice.waiting;
        let room = self.occasion.room(waiting);
        let name = room.map_or_else(|| waiting.room.to_string(), |room| room.name.clone());
        page.line(&format!("  {} ({name})", waiting.recipient));
        if self.kind == Kind::Success {
            return self.receipt(page, notice);
        }
        page.line(&format!("  {}", self.call(room, &name)));
        page.entry(self.say("Hvorfor:", "Why:"), &self.why(notice));
        if self.kind == Kind::Delay {
            self.prospect(page, notice);
        }
        if let Some(words) = notice.last.as_ref().and_then(why::words) {
            page.line(&format!("  {}", self.say("Siste svar:", "Last answer:")));
            page.line(&format!("    {}", one_line(&words)));
        }
    }

    /// What to do now: call.
    fn call(&self, room: Option<&Room>, name: &str) -> String {
        let urgent = self.say("Haster det? Ring", "Is it urgent? Call");
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

    fn why(&self, notice: &Notice) -> String {
        let cause = Why::of(notice).sentence(self.occasion.letterhead.language);
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
                // Of what was never tried there is no more to say.
                let cause = notice.last.as_ref().map_or("", |_| cause);
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
            &format!("{waited} ({since} {sent})"),
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
        let (date, time) = at.local_parts();
        let (today, _) = self.occasion.now.local_parts();
        let time = match self.occasion.letterhead.language {
            Language::Nb => format!("kl. {time}"),
            Language::En => time,
        };
        if date == today {
            time
        } else {
            format!("{date} {time}")
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

    /// A label and what it is about, over as many lines as it takes.
    fn entry(&mut self, label: &str, words: &str) {
        let mut line = format!("  {label:<width$}", width = COLUMN - 2);
        let mut is_empty = true;
        for word in words.split(' ') {
            let room = WIDTH.saturating_sub(line.chars().count());
            if !is_empty && room <= word.chars().count() {
                self.line(&line);
                line = " ".repeat(COLUMN);
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
