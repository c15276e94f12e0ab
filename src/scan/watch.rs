//! What the engines say of themselves, and whether they find what they must: asked for now and then.
//!
//! An engine that is down is looked after more often, so that it is used again as soon as it answers. What
//! somebody should know is an `alarm` in the log, and once it is well again an `all clear`: an engine that
//! is down, one that does not find the test file of EICAR, signatures that are too old or of which nobody
//! knows how old they are. One that says clean where that file lies deeper than it looks is warned of.
//! How the engines stand is written to the store, for other processes.
//! It decides nothing about mail: an engine that fails its self-test scans on. It never fails; what the
//! store does not take is given to it again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::desk::Desk;
use super::engine::{Engine, HARMLESS, failure};
use super::{EngineSettings, Settings, Specimen, test_files};
use crate::mail::{Details, Event, EventKind, Reference, Timestamp, Verdict, Why};
use crate::spool::Spool;
use crate::spool::store::{Change, EngineRow};

/// How often an engine that is up is asked who it is, and one that is down.
const UP: Duration = Duration::from_secs(60);
const DOWN: Duration = Duration::from_secs(2);
/// How often it is looked at whether it is up.
const LOOK: Duration = Duration::from_millis(250);
/// The first self-test comes so long after the start, at the latest.
const FIRST_TEST: Duration = Duration::from_secs(10);
/// Signatures that stay too old are told again after this.
const AGAIN: Duration = Duration::from_secs(86_400);
/// How often the store is told how the engines stand where that changed, and where it did not.
const TELL: Duration = Duration::from_secs(1);
const TELL_AGAIN: Duration = Duration::from_secs(4);
/// Events that wait for a store which does not take them.
const MOST_EVENTS: usize = 100;

/// For as long as the relay lives.
pub async fn watch(desk: &Desk, spool: &Spool, settings: &Settings) {
    let watched: Vec<Watched<'_>> = desk
        .engines()
        .iter()
        .map(|engine| Watched::new(engine, spool, settings))
        .collect();
    if watched.is_empty() {
        // There is nothing to look after, but what was said of engines before holds no longer.
        while let Err(fault) = spool
            .store()
            .engines_stand(Timestamp::now(), Vec::new())
            .await
        {
            tracing::debug!(%fault, "that there is no engine cannot be written");
            sleep(TELL).await;
        }
        return std::future::pending().await;
    }
    tokio::join!(
        join_all(watched.iter().map(Watched::run)),
        tell(&watched, spool)
    );
}

/// Tells the store how the engines stand.
async fn tell(watched: &[Watched<'_>], spool: &Spool) {
    let mut last: Option<(Instant, Vec<EngineRow>)> = None;
    loop {
        let rows: Vec<EngineRow> = watched.iter().map(Watched::row).collect();
        let is_told = last
            .as_ref()
            .is_some_and(|(at, told)| *told == rows && at.elapsed() < TELL_AGAIN);
        if !is_told {
            let told = spool.store().engines_stand(Timestamp::now(), rows.clone());
            match told.await {
                Ok(()) => last = Some((Instant::now(), rows)),
                Err(fault) => tracing::debug!(%fault, "how the engines stand cannot be written"),
            }
        }
        sleep(TELL).await;
    }
}

/// How a self-test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Found,
    Clean,
    /// An answer, and neither of the two; or none, from an engine that answers others.
    Neither,
}

impl Test {
    const fn words(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Clean => "clean",
            Self::Neither => "no finding",
        }
    }
}

/// How old signatures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Known(Duration),
    /// Nobody says it, or the time lies in the future.
    Unknown,
}

fn age(signatures_at: Option<Timestamp>, now: Timestamp) -> Age {
    match signatures_at {
        Some(at) if at <= now => Age::Known(now.since(at)),
        _ => Age::Unknown,
    }
}

/// Whether it is told now that signatures are too old: at once, and then again and again.
fn is_told_now(told_at: Option<Instant>, now: Instant) -> bool {
    told_at.is_none_or(|at| now.saturating_duration_since(at) >= AGAIN)
}

/// What was seen of an engine, and what was told of it.
#[derive(Debug)]
struct Seen {
    is_down: bool,
    since: Timestamp,
    test: Option<(Test, Timestamp)>,
    /// When it was told last that its signatures are too old.
    too_old: Option<Instant>,
    is_unknown_told: bool,
    is_test_alarm: bool,
    /// It says clean of what it has not looked into.
    is_blind: bool,
    unwritten: VecDeque<Event>,
}

struct Watched<'a> {
    engine: &'a Engine,
    spool: &'a Spool,
    settings: &'a Settings,
    seen: Mutex<Seen>,
}

impl<'a> Watched<'a> {
    fn new(engine: &'a Engine, spool: &'a Spool, settings: &'a Settings) -> Self {
        Self {
            engine,
            spool,
            settings,
            seen: Mutex::new(Seen {
                is_down: false,
                since: Timestamp::now(),
                test: None,
                too_old: None,
                is_unknown_told: false,
                is_test_alarm: false,
                is_blind: false,
                unwritten: VecDeque::new(),
            }),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn run(&self) {
        let mut test_at = Instant::now() + FIRST_TEST.min(self.settings.self_test);
        let mut asked_at: Option<Instant> = None;
        let mut was_silent = false;
        loop {
            let is_down = self.engine.trial_at().is_some();
            let every = match is_down {
                true => DOWN,
                false => UP.min(self.settings.self_test),
            };
            if asked_at.is_none_or(|at| at.elapsed() >= every) {
                let said = self.engine.identify(self.spool.next_reference()).await;
                // It may be gone, with nobody to notice: no mail came.
                if !said && was_silent && !is_down {
                    self.ask_harmless().await;
                }
                was_silent = !said;
                asked_at = Some(Instant::now());
                self.look_at_signatures();
            }
            if test_at <= Instant::now() && self.engine.trial_at().is_none() {
                // What came to nothing is made up for as soon as the engine is back.
                if self.test().await {
                    self.test_deep().await;
                    test_at = Instant::now() + self.settings.self_test;
                }
            }
            self.look_at_health();
            self.write().await;
            sleep(LOOK).await;
        }
    }

    /// Whether it scans at all, which counts for its health: two messages in a row without an answer,
    /// and it is down.
    async fn ask_harmless(&self) -> bool {
        self.engine.answers(self.spool.next_reference()).await
            || self.engine.answers(self.spool.next_reference()).await
    }

    /// Whether it has come to anything.
    async fn test(&self) -> bool {
        let verdict = self.engine.probe(test_files::plain()).await;
        let is_silent = failure(&verdict).is_some();
        if is_silent && !self.ask_harmless().await {
            // That is an engine that is down.
            return false;
        }
        let (test, reason) = judged(&verdict);
        let was_alarm = self.with(|seen| {
            seen.test = Some((test, Timestamp::now()));
            std::mem::replace(&mut seen.is_test_alarm, test != Test::Found)
        });
        match (was_alarm, test == Test::Found) {
            (_, false) => {
                tracing::error!(
                    engine = self.engine.name(),
                    reason,
                    "the engine fails its self-test"
                );
                if !was_alarm {
                    self.say(EventKind::Alarm, reason);
                }
            }
            (true, true) => {
                tracing::warn!(
                    engine = self.engine.name(),
                    "the engine passes its self-test again"
                );
                self.say(EventKind::AllClear, reason);
            }
            (false, true) => {}
        }
        true
    }

    /// Whether it says clean of what it has not looked into, which most mail shows nothing of.
    async fn test_deep(&self) {
        let verdict = self.engine.probe(test_files::deep()).await;
        let Some(is_blind) = is_blind(&verdict) else {
            return;
        };
        let was_blind = self.with(|seen| std::mem::replace(&mut seen.is_blind, is_blind));
        let name = self.engine.name();
        // That is how somebody set it up, and no event of today's: a warning, not an alarm.
        match (was_blind, is_blind) {
            (false, true) => {
                let why = blindness(self.engine.kind());
                tracing::warn!(engine = name, "self-test: {why}");
            }
            (true, false) => {
                tracing::warn!(engine = name, "the engine says what it has not looked into");
            }
            _ => {}
        }
    }

    fn look_at_health(&self) {
        let standing = self.engine.standing();
        let was_down = self.with(|seen| seen.is_down);
        match standing.down {
            Some((why, length)) if !was_down => {
                self.with(|seen| {
                    seen.is_down = true;
                    seen.since = Timestamp::now().before(length);
                });
                self.say(EventKind::Alarm, format!("engine down: {why}"));
            }
            None if was_down => {
                let now = Timestamp::now();
                let since = self.with(|seen| {
                    seen.is_down = false;
                    std::mem::replace(&mut seen.since, now)
                });
                let seconds = now.since(since).as_secs();
                self.say(EventKind::AllClear, format!("engine up, after {seconds} s"));
            }
            _ => {}
        }
    }

    fn look_at_signatures(&self) {
        let standing = self.engine.standing();
        if standing.down.is_some() {
            return;
        }
        let most = self.settings.signature_max_age;
        let name = self.engine.name();
        let identity = standing.identity;
        match age(identity.signatures_at, Timestamp::now()) {
            Age::Known(age) if age > most => {
                let now = Instant::now();
                let is_due = self.with(|seen| {
                    let is_due = is_told_now(seen.too_old, now);
                    if is_due {
                        seen.too_old = Some(now);
                    }
                    is_due
                });
                if is_due {
                    let hours = age.as_secs() / 3600;
                    tracing::warn!(engine = name, hours, "the engine's signatures are too old");
                    self.say(EventKind::Alarm, format!("signatures too old: {hours} h"));
                }
            }
            Age::Known(_) => {
                if self.with(|seen| seen.too_old.take()).is_some() {
                    tracing::warn!(engine = name, "the engine has new signatures");
                    self.say(EventKind::AllClear, "signatures are fresh again".to_owned());
                }
            }
            // What was too old stays so until fresh ones are known.
            Age::Unknown => {
                if !self.with(|seen| std::mem::replace(&mut seen.is_unknown_told, true)) {
                    tracing::warn!(
                        engine = name,
                        "how old the engine's signatures are is not known"
                    );
                    self.say(EventKind::Alarm, "signature age unknown".to_owned());
                }
            }
        }
    }

    fn say(&self, kind: EventKind, reason: String) {
        let identity = self.engine.standing().identity;
        let event = Event {
            reference: self.spool.next_reference(),
            at: Timestamp::now(),
            kind,
            recipient: None,
            details: Details {
                engine: Some(self.engine.name().to_owned()),
                reason: Some(match (identity.version, identity.signatures) {
                    (Some(version), Some(signatures)) => {
                        format!("{reason} ({version}, {signatures})")
                    }
                    (Some(version), None) => format!("{reason} ({version})"),
                    _ => reason,
                }),
                ..Details::default()
            },
        };
        self.with(|seen| {
            if seen.unwritten.len() < MOST_EVENTS {
                seen.unwritten.push_back(event);
            }
        });
    }

    async fn write(&self) {
        let events: Vec<Event> = self.with(|seen| seen.unwritten.iter().cloned().collect());
        if events.is_empty() {
            return;
        }
        let count = events.len();
        let change = Arc::new(Change {
            events,
            ..Change::default()
        });
        match self.spool.apply(change).await {
            Ok(_) => self.with(|seen| drop(seen.unwritten.drain(..count))),
            Err(fault) => tracing::warn!(%fault, "an alarm cannot be written yet"),
        }
    }

    fn row(&self) -> EngineRow {
        self.with(|seen| {
            let test = seen.test.map(|(test, at)| (words(test, seen.is_blind), at));
            row(self.engine, seen.since, test)
        })
    }
}

fn row(engine: &Engine, since: Timestamp, self_test: Option<(String, Timestamp)>) -> EngineRow {
    let standing = engine.standing();
    let millis = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
    EngineRow {
        engine: standing.name,
        kind: standing.kind.to_owned(),
        down: standing.down.map(|(why, _)| why),
        since,
        version: standing.identity.version,
        signatures: standing.identity.signatures,
        signatures_at: standing.identity.signatures_at,
        self_test,
        p50_ms: standing.p50.map(millis),
        p99_ms: standing.p99.map(millis),
    }
}

fn judged(verdict: &Verdict) -> (Test, String) {
    match verdict {
        Verdict::Infected(_) => (Test::Found, "self-test: EICAR found".to_owned()),
        Verdict::Clean => (Test::Clean, "self-test: EICAR came back clean".to_owned()),
        Verdict::Unscannable(why) => (
            Test::Neither,
            format!("self-test: EICAR was not found: {why}"),
        ),
    }
}

/// Whether an engine to which EICAR was shown deeper than engines look has said clean; `None`: it has
/// not answered.
const fn is_blind(verdict: &Verdict) -> Option<bool> {
    match verdict {
        Verdict::Clean => Some(true),
        Verdict::Unscannable(it) if matches!(it.why, Why::Down | Why::Timeout) => None,
        Verdict::Infected(_) | Verdict::Unscannable(_) => Some(false),
    }
}

/// What is wrong there, and what to do, by the kind of engine.
pub fn blindness(kind: &str) -> String {
    let remedy = match kind {
        "clamd" => "set \"AlertExceedsMax yes\" in its clamd.conf",
        "command" => "let it say so (clamscan: --alert-exceeds-max)",
        _ => "let it say so, or block what is nested deeper than it looks",
    };
    format!("EICAR in many archives came back clean although it was not looked into; {remedy}")
}

fn words(test: Test, is_blind: bool) -> String {
    match (test, is_blind) {
        (Test::Found, true) => "found; clean where it does not look".to_owned(),
        (test, _) => test.words().to_owned(),
    }
}

/// What an engine says when it is asked by a command.
#[derive(Debug)]
pub struct Asked {
    pub row: EngineRow,
    /// It says clean of what it has not looked into.
    pub is_blind: bool,
    /// Whether it found the test file, where it was given that.
    pub found: Option<bool>,
}

/// Asks each engine who it is, and for a scan: of a harmless message, or of the test file of EICAR.
pub async fn ask(settings: &Settings, with_test: bool) -> Vec<Asked> {
    let asked = settings.engines.iter().map(|it| ask_one(it, with_test));
    join_all(asked).await
}

async fn ask_one(settings: &EngineSettings, with_test: bool) -> Asked {
    let engine = Engine::new(settings, Arc::new(Notify::new()));
    let now = Timestamp::now();
    engine.identify(Reference::first_at(now)).await;
    let verdict = match with_test {
        true => engine.probe(test_files::plain()).await,
        false => {
            engine
                .probe(Specimen::whole(Bytes::from_static(HARMLESS)))
                .await
        }
    };
    let is_blind = match failure(&verdict) {
        Some(_) => false,
        None => is_blind(&engine.probe(test_files::deep()).await) == Some(true),
    };
    let test = with_test.then(|| judged(&verdict));
    let words = test.map(|(test, _)| (words(test, is_blind), now));
    let mut row = row(&engine, now, words);
    row.down = match &verdict {
        Verdict::Unscannable(why) => Some(why.reason().to_owned()),
        Verdict::Infected(_) if !with_test => {
            Some("it finds malware in a harmless message".to_owned())
        }
        _ => None,
    };
    Asked {
        is_blind,
        found: with_test.then_some(matches!(verdict, Verdict::Infected(_))),
        row,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Unscannable;

    #[test]
    fn a_time_in_the_future_is_no_age() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let hour = Duration::from_secs(3600);
        for (at, expected) in [
            (Some(now.before(hour)), Age::Known(hour)),
            (Some(now), Age::Known(Duration::ZERO)),
            (Some(now.after(hour)), Age::Unknown),
            (None, Age::Unknown),
        ] {
            assert_eq!(age(at, now), expected, "{at:?}");
        }
    }

    #[test]
    fn signatures_that_stay_too_old_are_told_again_each_day() {
        let first = Instant::now();
        let hours = |hours: u64| first + Duration::from_secs(hours * 3600);
        for (told_at, now, expected) in [
            (None, first, true),
            (Some(first), first, false),
            (Some(first), hours(23), false),
            (Some(first), hours(24), true),
            (Some(hours(24)), hours(25), false),
            (Some(hours(24)), hours(49), true),
            (Some(hours(1)), first, false),
        ] {
            assert_eq!(is_told_now(told_at, now), expected, "{told_at:?} {now:?}");
        }
    }

    #[test]
    fn clean_where_it_does_not_look_is_blind() {
        let gap = |why| Verdict::Unscannable(Unscannable::during(why, ""));
        for (verdict, expected) in [
            (Verdict::Clean, Some(true)),
            (Verdict::Infected(Vec::new()), Some(false)),
            (gap(Why::Limit), Some(false)),
            (gap(Why::Encrypted), Some(false)),
            (gap(Why::Broken), Some(false)),
            (gap(Why::Down), None),
            (gap(Why::Timeout), None),
        ] {
            assert_eq!(is_blind(&verdict), expected, "{verdict:?}");
        }
    }

    #[test]
    fn only_a_finding_passes() {
        let too_large = Unscannable::during(Why::TooLarge, "");
        for (verdict, expected) in [
            (Verdict::Infected(Vec::new()), Test::Found),
            (Verdict::Clean, Test::Clean),
            (Verdict::Unscannable(too_large), Test::Neither),
        ] {
            assert_eq!(judged(&verdict).0, expected, "{verdict:?}");
        }
    }
}
