//! The attachments of a message, each asked about by itself: whether they are clean too, and which of
//! them it is that something is in.
//!
//! What is in several attachments is asked about once, a few at a time, what is most likely to be bad
//! first. All must be clean. Once something was found, the rest is asked only for a moment more, for
//! its name; what is not known then is said to be unknown. An engine that has failed is not asked
//! on. It fails as `Limit` where there is more than is looked at. How long it may take is the caller's to say.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::icap::judge::NAMELESS;
use super::said::said;
use super::specimen::Content;
use super::{Part, Specimen};
use crate::mail::{FileType, Malware, Unscannable, Verdict, Why};

/// Octets of attachments that are looked at. A nested message's are in each message around it again.
const MOST_OCTETS: usize = 512 * 1024 * 1024;

/// To find out which attachment it is in, where something was found.
const NAMING: Duration = Duration::from_secs(2);

/// What a message is known to be, and what its attachments turn out to be, so many of them at once.
pub(super) async fn attachments<F>(
    specimen: &Arc<Specimen>,
    whole: Verdict,
    at_once: usize,
    ask: impl Fn(usize, Part) -> F,
) -> Verdict
where
    F: Future<Output = Verdict> + Send + 'static,
{
    if is_hopeless(&whole) || specimen.parts.is_empty() {
        return whole;
    }
    let mut search = Search::begin(specimen);
    if whole != Verdict::Clean {
        search.hurry();
    }
    search.run(at_once, &ask).await;
    let is_whole = search.is_whole();
    let found = match (whole, search.told()) {
        (Verdict::Infected(found), Verdict::Infected(named)) => {
            Verdict::Infected(once_each(found, named))
        }
        (whole, within) => whole.and(within),
    };
    match is_whole {
        true => found.in_message_itself(),
        false => found,
    }
}

/// The engine is not there, or no longer; it is not asked about the rest. What one attachment brings about
/// says nothing of the others.
pub(super) fn is_hopeless(verdict: &Verdict) -> bool {
    let Verdict::Unscannable(it) = verdict else {
        return false;
    };
    matches!(it.why, Why::Down | Why::Timeout | Why::Broken)
}

/// What was found in an attachment is not told of the message once more.
fn once_each(found: Vec<Malware>, mut named: Vec<Malware>) -> Vec<Malware> {
    for it in found {
        if it.name != NAMELESS && named.iter().all(|named| named.name != it.name) {
            named.push(it);
        }
    }
    named
}

struct Search<'a> {
    /// Those that were not asked about, the next one last.
    waiting: Vec<Content<'a>>,
    /// With the place of each in the message.
    running: JoinSet<(usize, Verdict)>,
    /// What is not clean.
    told: Vec<(usize, Verdict)>,
    names: &'a Specimen,
    /// When it ends, whatever is missing.
    end: Option<Instant>,
}

impl<'a> Search<'a> {
    fn begin(specimen: &'a Arc<Specimen>) -> Self {
        let mut waiting = specimen.contents();
        let total = waiting.len();
        let mut octets = 0_usize;
        waiting.retain(|it| {
            octets = octets.saturating_add(it.part.bytes.len());
            octets <= MOST_OCTETS
        });
        let mut told = Vec::new();
        if waiting.len() < total {
            let detail = format!("{} of {total} attachments were looked at", waiting.len());
            let rest = Unscannable::during(Why::Limit, detail);
            told.push((usize::MAX, Verdict::Unscannable(rest)));
        }
        waiting.sort_by_key(|it| Reverse((harmlessness(it.part.kind), it.place)));
        Self {
            waiting,
            running: JoinSet::new(),
            told,
            names: specimen,
            end: None,
        }
    }

    fn hurry(&mut self) {
        self.end.get_or_insert_with(|| Instant::now() + NAMING);
    }

    async fn run<F>(&mut self, at_once: usize, ask: &impl Fn(usize, Part) -> F)
    where
        F: Future<Output = Verdict> + Send + 'static,
    {
        loop {
            self.fill(at_once, ask);
            let next = self.running.join_next();
            let next = match self.end {
                Some(end) => timeout_at(end, next).await.unwrap_or(None),
                None => next.await,
            };
            let Some(next) = next else { return };
            let (place, verdict) = next.unwrap_or_else(|_| (usize::MAX, given_up()));
            let is_last = is_hopeless(&verdict);
            match verdict {
                Verdict::Clean => continue,
                Verdict::Infected(_) => self.hurry(),
                Verdict::Unscannable(_) => {}
            }
            self.told.push((place, self.named(place, verdict)));
            if is_last {
                // It is not asked on, and what is not known stays so.
                self.running.abort_all();
                self.hurry();
                return;
            }
        }
    }

    fn fill<F>(&mut self, at_once: usize, ask: &impl Fn(usize, Part) -> F)
    where
        F: Future<Output = Verdict> + Send + 'static,
    {
        while self.running.len() < at_once
            && let Some(Content { place, part }) = self.waiting.pop()
        {
            let answer = ask(place, part.clone());
            self.running.spawn(async move { (place, answer.await) });
        }
    }

    /// Everything was asked about, and answered.
    fn is_whole(&self) -> bool {
        let is_gap = |it: &(usize, Verdict)| matches!(it.1, Verdict::Unscannable(_));
        self.waiting.is_empty() && self.running.is_empty() && !self.told.iter().any(is_gap)
    }

    /// In the order of the attachments.
    fn told(mut self) -> Verdict {
        self.told.sort_by_key(|(place, _)| *place);
        let told = self.told.into_iter().map(|(_, verdict)| verdict);
        told.fold(Verdict::Clean, Verdict::and)
    }

    /// The verdict on an attachment, with its name; with each of its names where it is there more than once.
    fn named(&self, place: usize, verdict: Verdict) -> Verdict {
        let Some(part) = self.names.parts.get(place) else {
            return verdict;
        };
        match verdict {
            Verdict::Clean => Verdict::Clean,
            Verdict::Infected(found) => Verdict::Infected(self.names.within(part, &found)),
            // That is the engine's fault, whatever it was given.
            Verdict::Unscannable(gap) if matches!(gap.why, Why::Down | Why::Timeout) => {
                Verdict::Unscannable(gap)
            }
            Verdict::Unscannable(gap) => Verdict::Unscannable(Unscannable {
                detail: format!("{}: {}", said(part.name.as_bytes()), gap.detail),
                ..gap
            }),
        }
    }
}

/// What malware comes as is asked about first.
const fn harmlessness(kind: FileType) -> u8 {
    match kind {
        it if it.runs() => 0,
        it if it.holds_files() => 1,
        FileType::Html | FileType::Unknown => 2,
        _ => 3,
    }
}

fn given_up() -> Verdict {
    Verdict::Unscannable(Unscannable::during(
        Why::Broken,
        "an attachment was given up",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::{pending, ready};
    use std::sync::Mutex;

    use super::*;
    use crate::scan::Answering;

    fn specimen(parts: &[(&str, &'static [u8])]) -> Arc<Specimen> {
        let part = |(name, bytes): &(&str, &'static [u8])| Part::new(*name, (*bytes).into());
        Arc::new(Specimen {
            parts: parts.iter().map(part).collect(),
            ..Specimen::whole("x".into())
        })
    }

    fn found(name: &str) -> Verdict {
        Verdict::Infected(vec![Malware::named(name)])
    }

    /// What comes of it, and the names of what was asked about, in this order.
    async fn told(
        parts: &[(&str, &'static [u8])],
        whole: Verdict,
        answer: fn(&Part) -> Answering<Verdict>,
    ) -> (String, Vec<String>) {
        let asked = Mutex::new(Vec::new());
        let ask = |_, part: Part| {
            asked.lock().unwrap().push(part.name.clone());
            answer(&part)
        };
        let verdict = attachments(&specimen(parts), whole, 1, ask).await;
        (verdict.to_string(), asked.into_inner().unwrap())
    }

    #[tokio::test]
    async fn what_is_likely_to_be_bad_is_asked_about_first() {
        let parts: [(&str, &[u8]); 7] = [
            ("a.txt", b"hei"),
            ("b.png", b"\x89PNG\r\n\x1a\n"),
            ("c.bin", b"\x01\x02"),
            ("d.zip", b"PK\x03\x04"),
            ("e.bin", b"\x7fELF"),
            ("empty", b""),
            ("f.txt", b"hei"),
        ];
        let (verdict, asked) =
            told(&parts, Verdict::Clean, |_| Box::pin(ready(Verdict::Clean))).await;
        assert_eq!(verdict, "clean");
        assert_eq!(asked, ["e.bin", "d.zip", "c.bin", "a.txt", "b.png"]);
    }

    #[tokio::test]
    async fn what_is_found_says_where() {
        let parts: [(&str, &[u8]); 4] = [
            ("a.txt", b"hei"),
            ("b", b"evil"),
            ("c", b"evil"),
            ("d", b"slow"),
        ];
        let honest: fn(&Part) -> Answering<Verdict> = |part| match &*part.bytes {
            b"evil" => Box::pin(ready(found("A"))),
            b"slow" => Box::pin(pending()),
            _ => Box::pin(ready(Verdict::Clean)),
        };
        let broken: fn(&Part) -> Answering<Verdict> = |_| {
            let gap = Unscannable::during(Why::Down, "it hung up");
            Box::pin(ready(Verdict::Unscannable(gap)))
        };
        let too_large = || Verdict::Unscannable(Unscannable::before(Why::TooLarge, "x"));
        #[rustfmt::skip]
        let cases = [
            (&parts[..3], found("A"), honest, "infected: A in b, A in c"),
            (&parts[..3], Verdict::Clean, honest, "infected: A in b, A in c"),
            (&parts[..3], found("B"), honest, "infected: A in b, A in c, B (in the message itself)"),
            (&parts[..3], found(NAMELESS), honest, "infected: A in b, A in c"),
            (&parts[..3], too_large(), honest, "infected: A in b, A in c"),
            (&parts[..1], found("A"), honest, "infected: A (in the message itself)"),
            // The rest is not known in time, or not at all.
            (&parts[..4], found("A"), honest, "infected: A in b, A in c"),
            (&parts[3..], found("A"), honest, "infected: A"),
            (&parts[..1], found("A"), broken, "infected: A"),
            (&parts[..1], Verdict::Clean, broken, "unscannable: down: it hung up"),
            (&[], found("A"), broken, "infected: A"),
        ];
        for (parts, whole, answer, expected) in cases {
            assert_eq!(told(parts, whole, answer).await.0, expected);
        }
    }

    #[tokio::test]
    async fn an_engine_that_has_failed_is_not_asked_on() {
        let gap: fn(&Part) -> Answering<Verdict> = |part| {
            let why = if part.name == "a" {
                Why::Encrypted
            } else {
                Why::Timeout
            };
            Box::pin(ready(Verdict::Unscannable(Unscannable::during(why, ""))))
        };
        let parts: [(&str, &[u8]); 3] = [("a", b"1"), ("b", b"2"), ("c", b"3")];
        let (verdict, asked) = told(&parts, Verdict::Clean, gap).await;
        assert_eq!(verdict, "unscannable: encrypted: a: ");
        assert_eq!(asked, ["a", "b"]);
        let down = Verdict::Unscannable(Unscannable::before(Why::Down, ""));
        assert_eq!(told(&parts, down, gap).await.1, [""; 0]);
    }
}
