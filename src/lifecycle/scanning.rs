//! What a scan comes to: refused, kept, delivered with a mark, caught, or scanned again.
//!
//! Unscannable is never clean: what has no verdict waits, or is refused where its recipients' rooms
//! want that, and the one way past is an [`Exception`] that a named person opened. What may be said
//! to the sender before the 250 is a [`Ruling`]; afterwards it is a `Change`. A rule's action is that
//! of the strictest room it is for. Infected mail is never quoted in a report.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::attempts::{Settled, summed_up};
use super::report::{Failure, News, Notice};
use super::{CAUGHT, Occasion, WAITING};
use crate::mail::{
    Action, Actions, Address, Details, EngineReport, Event, EventKind, Finding, Inside, Inspection,
    Malware, Measure, OnFailure, Received, Reference, Reply, RoomId, Rule, ScannedBy, Scope,
    SeenFile, State, Timestamp, Unscannable, Verdict, Waiver, Why, headers,
};
use crate::policy::table::RoutingTable;
use crate::scan::measures::{self, Appearance, Measures};
use crate::spool::store::{
    Caught, Change, Clearance, NewScan, NextLook, RecipientChange, ScanRow, ScanStep, Waiting,
};

/// Scans of one message that stall or kill an engine, while it answers for others, before the message
/// waits for a person; and scans of a message of which the engine says that it cannot look into it.
const MOST_STALLS: u32 = 5;
/// The wait after each scan that came to nothing; the last one repeats.
const AGAIN: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];
/// How the row of what waits for its verdict begins, for people and for reports.
pub(super) const WAITS: &str = "waits for its scan";
/// The engine that a block is called where an engine is named.
const OUTBREAK: &str = "outbreak";
/// The engine that the built-in rules are called where an engine is named.
const RULES: &str = "rules";
/// How the row of what a measure holds, or what is poison, begins. An operator's says "held by".
const HELD: &str = "held: ";
/// What such a row goes on with where a person has to decide.
const CANNOT: &str = "it cannot be scanned";
/// Why what came while there was an engine waits, now that the settings name none.
const NO_ENGINE: &str = "the settings name no engine any more, and when it came they did";
/// Of each kind, as many are told in one event or field.
const MOST_TOLD: usize = 20;

/// What a scan is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Guard<'a> {
    pub now: Timestamp,
    pub table: &'a RoutingTable,
    /// What the settings say; a room may say otherwise of its own mail.
    pub on_failure: OnFailure,
    pub actions: &'a Actions,
    /// What is blocked, held and let through just now.
    pub measures: &'a Measures,
    /// There is an engine: what comes now is not let through without one.
    pub has_engines: bool,
}

/// A message, as far as it matters to what is decided of it.
#[derive(Clone, Copy)]
struct Matter<'a> {
    sender: Option<&'a Address>,
    sender_room: Option<&'a RoomId>,
    rooms: &'a [&'a RoomId],
    inspection: &'a Inspection,
}

/// What a message is to be told before its 250.
#[derive(Debug)]
pub enum Ruling {
    Refused(Box<Refused>),
    Kept(Keeping),
}

/// Why it is not taken.
#[derive(Debug)]
pub struct Refused {
    pub reply: Reply,
    /// For the row: which engine or rule it was.
    pub rule: String,
    pub malware: Vec<String>,
    pub inside: Inside,
}

impl Refused {
    /// It is not to come again. Otherwise there was no verdict.
    pub const fn is_final(&self) -> bool {
        !self.malware.is_empty()
    }
}

/// How a message is kept.
#[derive(Debug, Clone, Default)]
pub struct Keeping {
    /// The state in which all its recipients start; `None`: queued.
    pub state: Option<State>,
    pub reason: Option<String>,
    pub waiver: Option<Waiver>,
    /// Goes below our `Received`.
    pub field: String,
    pub scan: Option<NewScan>,
    pub events: Vec<Event>,
    pub inside: Inside,
}

/// What is to become of a scanned message.
enum Sentence<'a> {
    /// Something is in it that nobody is to get.
    Caught(Catch),
    /// No verdict.
    Waits(&'a Unscannable),
    /// Delivered, unscanned.
    Excepted(&'a Measure, &'a Unscannable),
    Clean,
}

struct Catch {
    malware: Vec<String>,
    engine: String,
    cause: Cause,
    /// For whom; `None`: nobody gets it.
    rooms: Option<Vec<RoomId>>,
    action: Action,
}

/// By what it was caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// An engine, or a rule that knows malware.
    Malware,
    /// A rule: it is what a room does not want.
    Rule,
    /// A block, while an outbreak lasts.
    Block,
}

impl<'a> Guard<'a> {
    fn action(&self, room: &RoomId, rule: Rule) -> Action {
        let said = self.table.room(room).map(|room| &room.scan.actions);
        let said = said.and_then(|it| it.of(rule));
        said.unwrap_or_else(|| self.actions.of(rule))
    }

    fn on_failure(&self, room: &RoomId) -> OnFailure {
        let room = self.table.room(room);
        room.and_then(|it| it.scan.on_failure)
            .unwrap_or(self.on_failure)
    }

    /// No engine is asked any more, and this came while there was one. The settings decide for what
    /// comes from now on; what waits needs an engine, or a person.
    const fn owes(&self, row: &ScanRow) -> bool {
        row.is_owed && !self.has_engines
    }

    fn sentence(&self, matter: Matter<'a>) -> Sentence<'a> {
        if let Some(catch) = self.catch(matter) {
            return Sentence::Caught(catch);
        }
        self.uncaught(matter)
    }

    /// The same, were nothing caught.
    fn uncaught(&self, matter: Matter<'a>) -> Sentence<'a> {
        let inspection = matter.inspection;
        let has_attachments = inspection.seen.has_attachments;
        let passes = |scope| scope == Scope::Everything || !has_attachments;
        match (&inspection.verdict, self.measures.exception(self.now)) {
            (Verdict::Unscannable(why), Some((exception, scope))) if passes(scope) => {
                Sentence::Excepted(exception, why)
            }
            (Verdict::Unscannable(why), _) => Sentence::Waits(why),
            _ => Sentence::Clean,
        }
    }

    /// What holds its attachments back for one of these rooms.
    fn hold(&self, matter: Matter<'_>, room: &RoomId) -> Option<&'a Measure> {
        let has_attachments = matter.inspection.seen.has_attachments;
        has_attachments
            .then(|| {
                self.measures
                    .holds_attachments(matter.sender_room, room, self.now)
            })
            .flatten()
    }

    fn blocked(&self, matter: Matter<'_>) -> Option<Catch> {
        let seen = &matter.inspection.seen;
        let sender = matter.sender.map(ToString::to_string);
        let authors = seen.authors.iter().map(String::as_str);
        let appearance = Appearance {
            senders: sender.as_deref().into_iter().chain(authors).collect(),
            subject: seen.subject.as_deref(),
            files: seen.files.iter().map(file).collect(),
        };
        let hit = self.measures.blocks(&appearance, self.now)?;
        Some(Catch {
            malware: vec![hit.to_string()],
            engine: OUTBREAK.to_owned(),
            cause: Cause::Block,
            rooms: None,
            action: Action::Refuse,
        })
    }

    /// What engines found goes before what is blocked, and that before what rules found; of those the
    /// strictest action.
    fn catch(&self, matter: Matter<'_>) -> Option<Catch> {
        let Matter {
            inspection, rooms, ..
        } = matter;
        if let Verdict::Infected(found) = &inspection.verdict {
            return Some(Catch {
                malware: found
                    .iter()
                    .take(MOST_TOLD)
                    .map(Malware::to_string)
                    .collect(),
                engine: finders(inspection),
                cause: Cause::Malware,
                rooms: None,
                action: Action::Refuse,
            });
        }
        if let Some(catch) = self.blocked(matter) {
            return Some(catch);
        }
        let strictest = |rule| rooms.iter().map(|room| self.action(room, rule)).max();
        let caught = |action| {
            let found = inspection.findings.iter();
            let found: Vec<&Finding> = found
                .filter(|it| strictest(it.rule) == Some(action))
                .collect();
            (!found.is_empty()).then_some(found)
        };
        let (action, found) = caught(Action::Refuse)
            .map(|found| (Action::Refuse, found))
            .or_else(|| caught(Action::Quarantine).map(|found| (Action::Quarantine, found)))?;
        let wants = |room: &RoomId| found.iter().any(|it| self.action(room, it.rule) >= action);
        let is_malware = |it: &&Finding| matches!(it.rule, Rule::Eicar | Rule::BlockedHash);
        let cause = match found.iter().any(is_malware) {
            true => Cause::Malware,
            false => Cause::Rule,
        };
        let rooms = rooms.iter().filter(|room| wants(room));
        Some(Catch {
            malware: found.iter().take(MOST_TOLD).map(|it| told(it)).collect(),
            engine: RULES.to_owned(),
            cause,
            rooms: (action == Action::Quarantine)
                .then(|| rooms.map(|room| RoomId::clone(room)).collect()),
            action,
        })
    }
}

fn file(seen: &SeenFile) -> measures::File<'_> {
    measures::File {
        name: &seen.name,
        sha256: &seen.sha256,
    }
}

impl Catch {
    fn refused(self) -> Refused {
        let found = self.malware.join(", ");
        let reply = match self.cause {
            Cause::Malware => Reply::malware(&found),
            Cause::Rule => Reply::content_not_taken(&found),
            Cause::Block => Reply::blocked(&found),
        };
        Refused {
            reply,
            rule: format!("scan: {} found {found}", self.engine),
            malware: self.malware,
            inside: Inside::default(),
        }
    }
}

/// Whether it was an engine that found something, not the built-in rules or a block.
pub fn is_by_engine(name: &str) -> bool {
    name != RULES && name != OUTBREAK
}

/// Which engines found it.
fn finders(inspection: &Inspection) -> String {
    let found = inspection.reports.iter();
    let found = found.filter(|it| matches!(it.verdict, Verdict::Infected(_)));
    let names: Vec<&str> = found.map(|it| it.engine.as_str()).collect();
    match names.is_empty() {
        true => RULES.to_owned(),
        false => names.join(", "),
    }
}

fn told(finding: &Finding) -> String {
    match &finding.attachment {
        Some(attachment) => format!("{} in {attachment}", finding.what),
        None => finding.what.clone(),
    }
}

/// What a message is told at its end, and what is known by then of what is inside of it. `None`: the scan
/// is not over yet, and its sender waits no longer.
pub fn ruled(received: &Received, inspection: Option<&Inspection>, guard: &Guard<'_>) -> Ruling {
    let mut ruling = judged(received, inspection, guard);
    let inside = match &mut ruling {
        Ruling::Refused(refused) => &mut refused.inside,
        Ruling::Kept(keeping) => &mut keeping.inside,
    };
    *inside = inspection.map(|it| it.seen.inside()).unwrap_or_default();
    ruling
}

fn judged(received: &Received, inspection: Option<&Inspection>, guard: &Guard<'_>) -> Ruling {
    let envelope = &received.envelope;
    let rooms: Vec<&RoomId> = envelope.recipients.iter().map(|it| &it.room).collect();
    let late = Unscannable::before(Why::Timeout, "no verdict in time");
    let Some(inspection) = inspection else {
        return waits(received, &rooms, &late, None, guard);
    };
    let matter = Matter {
        sender: envelope.sender.as_ref(),
        sender_room: envelope.origin.room(),
        rooms: &rooms,
        inspection,
    };
    match guard.sentence(matter) {
        Sentence::Caught(catch) if catch.action == Action::Refuse => {
            Ruling::Refused(Box::new(catch.refused()))
        }
        // Whoever is not to get it is found out once it is kept, with a report to the sender.
        Sentence::Caught(_) => Ruling::Kept(unscanned(None, guard.now, Vec::new(), guard)),
        Sentence::Waits(why) => waits(received, &rooms, why, Some(inspection), guard),
        // Likewise whose is held.
        _ if rooms.iter().any(|it| guard.hold(matter, it).is_some()) => {
            Ruling::Kept(unscanned(None, guard.now, Vec::new(), guard))
        }
        Sentence::Excepted(exception, why) => Ruling::Kept(Keeping {
            waiver: Some(Waiver::Exception(exception.number)),
            // Should it not be delivered by its end.
            scan: Some(NewScan {
                held_by: Some(exception.number),
                ..new_scan(exception.until, guard)
            }),
            field: excepted_field(exception, why),
            events: vec![excepted_event(
                envelope.reference,
                inspection,
                exception,
                guard.now,
            )],
            ..Keeping::default()
        }),
        Sentence::Clean => Ruling::Kept(Keeping {
            field: field(inspection, None),
            events: vec![event(envelope.reference, inspection, guard.now)],
            ..Keeping::default()
        }),
    }
}

fn waits(
    received: &Received,
    rooms: &[&RoomId],
    why: &Unscannable,
    inspection: Option<&Inspection>,
    guard: &Guard<'_>,
) -> Ruling {
    let rejects = |room: &&RoomId| guard.on_failure(room) == OnFailure::Reject;
    if rooms.iter().any(rejects) {
        return Ruling::Refused(Box::new(Refused {
            reply: Reply::not_scanned(&why.why.to_string()),
            rule: format!("scan: {why}"),
            malware: Vec::new(),
            inside: Inside::default(),
        }));
    }
    let reference = received.envelope.reference;
    let events = inspection.map(|it| event(reference, it, guard.now));
    let reason = format!("{WAITS}: {why}");
    // What has just come to nothing is not tried again at once.
    let attempts = inspection.map_or(0, |it| u32::from(was_tried(it)));
    let pause = inspection.map_or(Duration::ZERO, |_| pause(1));
    let due_at = guard.now.after(pause);
    let mut keeping = unscanned(Some(reason), due_at, Vec::from_iter(events), guard);
    if let Some(scan) = &mut keeping.scan {
        scan.attempts = attempts;
        scan.answers = inspection.map_or(0, |_| answers(0, why));
    }
    Ruling::Kept(keeping)
}

/// An engine that is down has seen nothing of it: as soon as it is up, the message's turn is as it was.
fn was_tried(inspection: &Inspection) -> bool {
    let was_asked = |it: &EngineReport| matches!(&it.verdict, Verdict::Unscannable(why) if why.begun || why.why != Why::Down);
    let reports = &inspection.reports;
    reports.is_empty() || reports.iter().any(was_asked)
}

fn unscanned(
    reason: Option<String>,
    due_at: Timestamp,
    events: Vec<Event>,
    guard: &Guard<'_>,
) -> Keeping {
    Keeping {
        state: Some(State::Unscanned),
        reason,
        scan: Some(new_scan(due_at, guard)),
        events,
        ..Keeping::default()
    }
}

const fn new_scan(due_at: Timestamp, guard: &Guard<'_>) -> NewScan {
    NewScan {
        due_at,
        held_by: None,
        attempts: 0,
        stalls: 0,
        answers: 0,
        is_owed: guard.has_engines,
    }
}

impl Ruling {
    /// The scan before the 250 stalled or killed an engine that answered for others.
    pub const fn stalled(&mut self) {
        if let Self::Kept(Keeping {
            scan: Some(scan), ..
        }) = self
        {
            scan.stalls = 1;
        }
    }
}

/// A scan that was made after the 250.
#[derive(Debug, Clone, Copy)]
pub struct Scanned<'a> {
    pub row: &'a ScanRow,
    /// All recipients of the message.
    pub recipients: &'a [Waiting],
    /// The trace fields as they are.
    pub trace: &'a [u8],
    pub inspection: &'a Inspection,
    /// It stalled or killed an engine, and the engine answered for others meanwhile.
    pub stalled: bool,
}

impl Scanned<'_> {
    const fn reference(&self) -> Reference {
        self.row.reference
    }

    fn done(&self, field: &str) -> ScanStep {
        ScanStep::Done {
            reference: self.reference(),
            trace: headers::with_scan_field(self.trace, field),
        }
    }
}

/// Whether the scan decides of this recipient: not while an operator holds it.
fn decides(waiting: &Waiting) -> bool {
    waiting.state == State::Unscanned || is_held_by_us(waiting)
}

/// Whether its message has to be scanned before it is delivered, whoever holds it.
pub(super) fn awaits_verdict(waiting: &Waiting) -> bool {
    let is_held = waiting.state == State::Held && waiting.awaits_scan;
    waiting.state == State::Unscanned || is_held
}

/// It is held until its next verdict, and by no operator.
pub(super) fn is_held_by_us(waiting: &Waiting) -> bool {
    let words = waiting.last_reply.as_deref().unwrap_or_default();
    waiting.state == State::Held && waiting.awaits_scan && words.starts_with(HELD)
}

/// It cannot be scanned, and a person has to decide.
pub(super) fn is_left_to_a_person(waiting: &Waiting) -> bool {
    let words = waiting.last_reply.as_deref().unwrap_or_default();
    let words = words.strip_prefix(HELD).unwrap_or_default();
    is_held_by_us(waiting) && words.starts_with(CANNOT)
}

/// There is no engine to wait for.
pub(super) fn waits_in_vain(waiting: &Waiting) -> bool {
    let words = waiting.last_reply.as_deref().unwrap_or_default();
    waiting.state == State::Unscanned && words.starts_with(WAITS) && words.ends_with(NO_ENGINE)
}

/// From the state in which it was seen, and no other: an operator may be faster.
pub(super) const fn as_seen(waiting: &Waiting) -> &'static [State] {
    match waiting.state {
        State::Quarantined => CAUGHT,
        State::Queued => &[State::Queued],
        State::Deferred => &[State::Deferred],
        State::Held => &[State::Held],
        _ => &[State::Unscanned],
    }
}

/// From where malware leads to quarantine.
const UNJUDGED: &[State] = &[State::Unscanned, State::Held];

/// What becomes of a message that was accepted without a verdict, or is scanned again.
pub fn scanned(scan: &Scanned<'_>, guard: &Guard<'_>, occasion: &Occasion<'_>) -> Change {
    match guard.owes(scan.row) {
        true => {
            let inspection = &without_engine(scan.inspection);
            let scan = Scanned {
                inspection,
                ..*scan
            };
            become_of(&scan, guard, occasion)
        }
        false => become_of(scan, guard, occasion),
    }
}

/// What the built-in rules found counts; that they found nothing does not.
fn without_engine(inspection: &Inspection) -> Inspection {
    let owed = Unscannable::before(Why::Down, NO_ENGINE);
    Inspection {
        verdict: Verdict::clone(&inspection.verdict).and(Verdict::Unscannable(owed)),
        ..inspection.clone()
    }
}

fn become_of(scan: &Scanned<'_>, guard: &Guard<'_>, occasion: &Occasion<'_>) -> Change {
    let all = scan.recipients.iter();
    let waiting: Vec<&Waiting> = all.clone().filter(|it| decides(it)).collect();
    let rooms: Vec<&RoomId> = all.clone().filter(has_rest).map(|it| &it.room).collect();
    let first = scan.recipients.first();
    let matter = Matter {
        sender: first.and_then(|it| it.sender.as_ref()),
        sender_room: first.and_then(|it| it.sender_room.as_ref()),
        rooms: &rooms,
        inspection: scan.inspection,
    };
    let change = match guard.sentence(matter) {
        Sentence::Caught(catch) => caught(scan, &catch, matter, guard, occasion),
        sentence => passed(scan, &waiting, &sentence, matter, guard),
    };
    Change {
        scan_of: Some((scan.reference(), scan.row.round)),
        inside: vec![(scan.reference(), scan.inspection.seen.inside().files)],
        ..change
    }
}

/// What becomes of these, of whom nothing was caught.
fn passed(
    scan: &Scanned<'_>,
    waiting: &[&Waiting],
    sentence: &Sentence<'_>,
    matter: Matter<'_>,
    guard: &Guard<'_>,
) -> Change {
    match sentence {
        Sentence::Waits(why) if scan.stalled && scan.row.stalls + 1 >= MOST_STALLS => {
            let reason = format!(
                "{CANNOT}: {MOST_STALLS} scans of it came to nothing while the engine answered for others; at last: {why}"
            );
            left_to_a_person(scan, waiting, &reason, why, guard.now)
        }
        Sentence::Waits(why) if answers(scan.row.answers, why) >= MOST_STALLS => {
            let reason = format!("{CANNOT}, tried {MOST_STALLS} times: {why}");
            left_to_a_person(scan, waiting, &reason, why, guard.now)
        }
        Sentence::Waits(why) => again(scan, waiting, why, guard.now),
        Sentence::Excepted(exception, why) => {
            excepted(scan, waiting, exception, why, matter, guard)
        }
        Sentence::Clean | Sentence::Caught(_) => cleared(scan, waiting, matter, guard),
    }
}

/// So many in a row, with this one, in which an engine said that it cannot look into it.
const fn answers(before: u32, why: &Unscannable) -> u32 {
    match why.why.is_answer() {
        true => before.saturating_add(1),
        false => 0,
    }
}

/// Whether anything can become of it still.
fn has_rest(waiting: &&Waiting) -> bool {
    UNJUDGED.contains(&waiting.state) || waiting.state == State::Quarantined
}

/// Clean: delivered, but for those whose attachments are held back for now. What lies in quarantine
/// stays there: only a person lets it out.
fn cleared(
    scan: &Scanned<'_>,
    waiting: &[&Waiting],
    matter: Matter<'_>,
    guard: &Guard<'_>,
) -> Change {
    let field = field(scan.inspection, None);
    let event = event(scan.reference(), scan.inspection, guard.now);
    let_through(scan, waiting, matter, guard, (&field, event), None)
}

/// Unscanned, while an exception lasts. What is not delivered by its end is scanned again.
fn excepted(
    scan: &Scanned<'_>,
    waiting: &[&Waiting],
    exception: &Measure,
    why: &Unscannable,
    matter: Matter<'_>,
    guard: &Guard<'_>,
) -> Change {
    let field = excepted_field(exception, why);
    let event = excepted_event(scan.reference(), scan.inspection, exception, guard.now);
    let_through(
        scan,
        waiting,
        matter,
        guard,
        (&field, event),
        Some(exception),
    )
}

/// Delivered, but for those whose attachments are held back for now. `exception`: under which, where no
/// scan found it clean.
fn let_through(
    scan: &Scanned<'_>,
    waiting: &[&Waiting],
    matter: Matter<'_>,
    guard: &Guard<'_>,
    (field, event): (&str, Event),
    exception: Option<&Measure>,
) -> Change {
    // Who was released is excused; who is held still is not.
    let hold = |it: &Waiting| match scan.row.is_excused && it.state == State::Unscanned {
        true => None,
        false => guard.hold(matter, &it.room),
    };
    let (held, free): (Vec<&Waiting>, Vec<&Waiting>) =
        waiting.iter().partition(|it| hold(it).is_some());
    let steps = held.iter().filter_map(|it| {
        let measure = hold(it)?;
        (it.state == State::Unscanned).then(|| held_back(it, measure, guard.now))
    });
    // The first that ends: then it is seen who is held still.
    let holds = held.iter().filter_map(|it| hold(it)).chain(exception);
    let step = holds.min_by_key(|it| it.until).map_or_else(
        || scan.done(field),
        |measure| ScanStep::HeldBy {
            reference: scan.reference(),
            measure: measure.number,
            due_at: measure.until,
            trace: headers::with_scan_field(scan.trace, field),
        },
    );
    let clearance = exception.map_or(Clearance::Scan, |it| {
        Clearance::Waiver(Waiver::Exception(it.number))
    });
    let mut recipients = queued(&free, clearance, guard.now);
    recipients.extend(steps);
    Change {
        recipients,
        scans: vec![step],
        events: vec![event],
        ..Change::default()
    }
}

fn held_back(waiting: &Waiting, measure: &Measure, now: Timestamp) -> RecipientChange {
    let mut reason = format!("{HELD}{} ({}", measure.aim, measure.by);
    if let Some(words) = &measure.reason {
        reason += &format!(": {words}");
    }
    reason.push(')');
    RecipientChange {
        to: Some(State::Held),
        last_reply: Some(reason.clone()),
        next_look: NextLook::At(now),
        event: Some(Event {
            reference: waiting.id.reference,
            at: now,
            kind: EventKind::Held,
            recipient: Some(waiting.recipient.clone()),
            details: Details {
                room: Some(waiting.room.to_string()),
                by: Some(measure.by.clone()),
                measure: Some(measure.aim.to_string()),
                until: Some(measure.until.to_string()),
                reason: Some(reason),
                ..Details::default()
            },
        }),
        ..RecipientChange::of(waiting.id, &[State::Unscanned])
    }
}

fn queued(waiting: &[&Waiting], clearance: Clearance, now: Timestamp) -> Vec<RecipientChange> {
    let one = |it: &&Waiting| RecipientChange {
        to: Some(State::Queued),
        next_attempt_at: Some(now),
        next_look: NextLook::At(now),
        clearance,
        ..RecipientChange::of(it.id, as_seen(it))
    };
    waiting.iter().map(one).collect()
}

/// Quarantined for those whom it concerns. For the others it passes as if nothing had been caught: with
/// a verdict, or under an exception, and never without.
fn caught(
    scan: &Scanned<'_>,
    catch: &Catch,
    matter: Matter<'_>,
    guard: &Guard<'_>,
    occasion: &Occasion<'_>,
) -> Change {
    let now = guard.now;
    let is_for = |it: &&Waiting| {
        catch
            .rooms
            .as_ref()
            .is_none_or(|them| them.contains(&it.room))
    };
    let unjudged = scan.recipients.iter();
    let unjudged = unjudged.filter(|it| UNJUDGED.contains(&it.state));
    let (theirs, others): (Vec<&Waiting>, Vec<&Waiting>) = unjudged.partition(is_for);
    let free: Vec<&Waiting> = others.iter().copied().filter(|it| decides(it)).collect();
    let malware = catch.malware.join(", ");
    let reason = format!("{} found {malware}", catch.engine);
    // A new scan was asked for: an attempt that was under way then may deliver it still.
    let is_told_later = scan.row.round > 0;
    let settle = |it: &&Waiting| {
        let step = RecipientChange {
            to: Some(State::Quarantined),
            last_reply: Some(format!("quarantined: {reason}")),
            next_look: match is_told_later {
                true => NextLook::At(now),
                false => NextLook::Never,
            },
            event: Some(quarantined(it, catch, &reason, now)),
            ..RecipientChange::of(it.id, UNJUDGED)
        };
        let news = News::Failed(Failure::Caught(malware.clone()));
        let notice = Notice::new(Waiting::clone(it), news, None);
        Settled {
            step,
            notice: (!is_told_later).then_some(notice),
        }
    };
    let mut change = summed_up(theirs.iter().map(settle).collect(), occasion);
    let is_cancelled = |it: &Waiting| it.state == State::Cancelled;
    let rest = match others.is_empty() {
        true if theirs.is_empty() && scan.recipients.iter().any(is_cancelled) => {
            set_aside(scan, &reason, now)
        }
        true => cleared(scan, &[], matter, guard),
        false => passed(scan, &free, &guard.uncaught(matter), matter, guard),
    };
    change.recipients.extend(rest.recipients);
    change.scans.extend(rest.scans);
    change.caught.push(Caught {
        reference: scan.reference(),
        at: now,
        malware,
        engine: catch.engine.clone(),
        reason,
    });
    let receipt = match rest.events.is_empty() && !theirs.is_empty() {
        true => vec![event(scan.reference(), scan.inspection, now)],
        false => rest.events,
    };
    change.events.splice(0..0, receipt);
    change
}

/// All of it was cancelled meanwhile: the row of its scan stays until the sender was told, so that the
/// report does not carry what was caught.
fn set_aside(scan: &Scanned<'_>, reason: &str, now: Timestamp) -> Change {
    Change {
        scans: vec![ScanStep::Again {
            reference: scan.reference(),
            due_at: None,
            attempts: scan.row.attempts,
            stalls: scan.row.stalls,
            answers: scan.row.answers,
            reason: reason.to_owned(),
        }],
        events: vec![event(scan.reference(), scan.inspection, now)],
        ..Change::default()
    }
}

fn quarantined(waiting: &Waiting, catch: &Catch, reason: &str, now: Timestamp) -> Event {
    Event {
        reference: waiting.id.reference,
        at: now,
        kind: EventKind::Quarantined,
        recipient: Some(waiting.recipient.clone()),
        details: Details {
            room: Some(waiting.room.to_string()),
            engine: Some(catch.engine.clone()),
            malware: catch.malware.clone(),
            reason: Some(reason.to_owned()),
            ..Details::default()
        },
    }
}

/// No verdict: it waits, and is scanned again. The log says so where it says anything new.
fn again(scan: &Scanned<'_>, waiting: &[&Waiting], why: &Unscannable, now: Timestamp) -> Change {
    let reason = why.to_string();
    let was_tried = was_tried(scan.inspection);
    let attempts = match was_tried {
        true => scan.row.attempts.saturating_add(1),
        false => scan.row.attempts,
    };
    let is_news =
        scan.row.reason.as_ref() != Some(&reason) || (was_tried && attempts <= MOST_STALLS);
    // What held it is over, and now it waits like others.
    let touch = |it: &&Waiting| RecipientChange {
        to: (it.state == State::Held).then_some(State::Unscanned),
        last_reply: Some(format!("{WAITS}: {reason}")),
        ..RecipientChange::of(it.id, as_seen(it))
    };
    let events = is_news.then(|| event(scan.reference(), scan.inspection, now));
    Change {
        recipients: waiting.iter().map(touch).collect(),
        scans: vec![ScanStep::Again {
            reference: scan.reference(),
            due_at: Some(now.after(pause(attempts))),
            attempts,
            stalls: scan.row.stalls + u32::from(scan.stalled),
            answers: answers(scan.row.answers, why),
            reason,
        }],
        events: Vec::from_iter(events),
        ..Change::default()
    }
}

fn pause(attempts: u32) -> Duration {
    let [.., last] = AGAIN;
    let place = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    AGAIN.get(place).copied().unwrap_or(last)
}

/// It is held, and not scanned again unless somebody asks for it.
fn left_to_a_person(
    scan: &Scanned<'_>,
    waiting: &[&Waiting],
    reason: &str,
    why: &Unscannable,
    now: Timestamp,
) -> Change {
    let reason = format!("{HELD}{reason}");
    let hold = |it: &&Waiting| RecipientChange {
        to: Some(State::Held),
        last_reply: Some(reason.clone()),
        next_look: NextLook::At(now),
        event: Some(Event {
            reference: it.id.reference,
            at: now,
            kind: EventKind::Held,
            recipient: Some(it.recipient.clone()),
            details: Details {
                room: Some(it.room.to_string()),
                reason: Some(reason.clone()),
                ..Details::default()
            },
        }),
        ..RecipientChange::of(it.id, &[State::Unscanned])
    };
    let alarm = Event {
        kind: EventKind::Alarm,
        details: Details {
            reason: Some(reason.clone()),
            engine: scan.inspection.failed_engines(),
            ..Details::default()
        },
        ..event(scan.reference(), scan.inspection, now)
    };
    Change {
        recipients: waiting.iter().map(hold).collect(),
        scans: vec![ScanStep::Again {
            reference: scan.reference(),
            due_at: None,
            attempts: scan.row.attempts.saturating_add(1),
            stalls: scan.row.stalls + u32::from(scan.stalled),
            answers: answers(scan.row.answers, why),
            reason: why.to_string(),
        }],
        events: vec![event(scan.reference(), scan.inspection, now), alarm],
        ..Change::default()
    }
}

/// These messages are scanned from the beginning, before any of them is delivered; what is in
/// quarantine, or held by an operator, stays there meanwhile.
pub fn rescanned(recipients: &[Waiting], by: &str, reason: Option<&str>, now: Timestamp) -> Change {
    // The relay scans nothing that it wrote itself.
    let is_operators = |it: &Waiting| it.state == State::Held && !is_held_by_us(it);
    let waits = |it: &&Waiting| WAITING.contains(&it.state) && !it.is_ours && !is_operators(it);
    let mut references: Vec<Reference> = Vec::new();
    let meant =
        |it: &&Waiting| !it.is_ours && (WAITING.contains(&it.state) || CAUGHT.contains(&it.state));
    for waiting in recipients.iter().filter(meant) {
        if references.last() != Some(&waiting.id.reference) {
            references.push(waiting.id.reference);
        }
    }
    let why = format!("asked for by {by}");
    let step = |it: &Waiting| called_in(it, &why, now);
    let asked = |reference: &Reference| Event {
        reference: *reference,
        at: now,
        kind: EventKind::Rescanned,
        recipient: None,
        details: Details {
            by: Some(by.to_owned()),
            reason: reason.map(str::to_owned),
            ..Details::default()
        },
    };
    Change {
        recipients: recipients.iter().filter(waits).map(step).collect(),
        scans: references
            .iter()
            .map(|reference| ScanStep::Anew {
                reference: *reference,
                at: now,
                is_excused: false,
            })
            .collect(),
        events: references.iter().map(asked).collect(),
        ..Change::default()
    }
}

/// These are not delivered before they are scanned.
fn called_in(waiting: &Waiting, why: &str, now: Timestamp) -> RecipientChange {
    RecipientChange {
        to: Some(State::Unscanned),
        last_reply: Some(format!("{WAITS}: {why}")),
        next_look: NextLook::At(now),
        clearance: Clearance::Scan,
        ..RecipientChange::of(waiting.id, as_seen(waiting))
    }
}

/// The exception is over under which these were let through, and they were not delivered by then.
pub fn called_back(recipients: &[Waiting], now: Timestamp) -> Change {
    let over = |it: &Waiting| {
        let number = it.waiver.and_then(Waiver::exception);
        let number = number.map_or_else(String::new, |it| format!(" {it}"));
        format!("exception{number} is over")
    };
    let mut firsts: Vec<&Waiting> = recipients.iter().collect();
    firsts.dedup_by_key(|it| it.id.reference);
    let anew = |it: &&Waiting| ScanStep::Anew {
        reference: it.id.reference,
        at: now,
        is_excused: false,
    };
    let event = |it: &&Waiting| Event {
        reference: it.id.reference,
        at: now,
        kind: EventKind::Rescanned,
        recipient: None,
        details: Details {
            exception: it.waiver.and_then(Waiver::exception),
            reason: Some(over(it)),
            ..Details::default()
        },
    };
    Change {
        recipients: recipients
            .iter()
            .map(|it| called_in(it, &over(it), now))
            .collect(),
        scans: firsts.iter().map(anew).collect(),
        events: firsts.iter().map(event).collect(),
        ..Change::default()
    }
}

/// The alarm that so many messages wait for an engine, and that the settings name none.
pub fn no_engine(reference: Reference, owed: u64, now: Timestamp) -> Event {
    Event {
        reference,
        at: now,
        kind: EventKind::Alarm,
        recipient: None,
        details: Details {
            reason: Some(match owed {
                1 => format!("a message waits for an engine: {NO_ENGINE}"),
                _ => format!("{owed} messages wait for an engine: {NO_ENGINE}"),
            }),
            ..Details::default()
        },
    }
}

/// The receipt of a scan.
fn event(reference: Reference, inspection: &Inspection, now: Timestamp) -> Event {
    Event {
        reference,
        at: now,
        kind: EventKind::Scanned,
        recipient: None,
        details: receipt(inspection, now),
    }
}

fn excepted_event(
    reference: Reference,
    inspection: &Inspection,
    exception: &Measure,
    now: Timestamp,
) -> Event {
    let receipt = receipt(inspection, now);
    let why = receipt.reason.clone().unwrap_or_default();
    Event {
        details: Details {
            exception: Some(exception.number),
            by: Some(exception.by.clone()),
            reason: Some(format!(
                "delivered unscanned under exception {} ({}): {why}",
                exception.number,
                exception.reason.as_deref().unwrap_or_default()
            )),
            ..receipt
        },
        ..event(reference, inspection, now)
    }
}

/// What the log knows of a scan.
pub fn receipt(inspection: &Inspection, now: Timestamp) -> Details {
    let names: Vec<&str> = inspection
        .reports
        .iter()
        .map(|it| it.engine.as_str())
        .collect();
    let (malware, reason) = match &inspection.verdict {
        Verdict::Clean => (Vec::new(), None),
        Verdict::Infected(found) => {
            let found = found.iter().take(MOST_TOLD);
            (found.map(Malware::to_string).collect(), None)
        }
        Verdict::Unscannable(why) => (Vec::new(), Some(why.to_string())),
    };
    let by = inspection.reports.iter().map(|it| ScannedBy {
        engine: it.engine.clone(),
        version: it.identity.version.clone(),
        signatures: it.identity.signatures.clone(),
        signature_age_s: it.identity.signatures_at.map(|at| now.since(at).as_secs()),
        verdict: it.verdict.to_string(),
        duration_ms: millis(it.duration),
    });
    let left_out = inspection.seen.inside().left_out;
    Details {
        files_left_out: (left_out > 0).then_some(left_out),
        engine: Some(match names.is_empty() {
            true => RULES.to_owned(),
            false => names.join(", "),
        }),
        verdict: Some(inspection.verdict.word().to_owned()),
        engines: by.collect(),
        malware,
        marks: inspection
            .findings
            .iter()
            .take(MOST_TOLD)
            .map(told)
            .collect(),
        duration_ms: Some(millis(inspection.duration)),
        reason,
        ..Details::default()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `X-Ilbud-Scan` of what was scanned: the verdict, and `remark`, before all else.
pub(super) fn field(inspection: &Inspection, remark: Option<String>) -> String {
    let engines = inspection.reports.iter().map(|it| {
        let version = it.identity.version.as_deref();
        let version = version.unwrap_or("version unknown");
        match &it.identity.signatures {
            Some(signatures) => format!("{} ({version}, signatures {signatures})", it.engine),
            None => format!("{} ({version})", it.engine),
        }
    });
    let marks = inspection.findings.iter().take(MOST_TOLD);
    let marks = marks.map(|it| format!("mark: {}", told(it)));
    let mut said = vec![inspection.verdict.word().to_owned()];
    match &inspection.verdict {
        Verdict::Clean => {}
        Verdict::Infected(found) => {
            said.extend(found.iter().take(MOST_TOLD).map(Malware::to_string));
        }
        Verdict::Unscannable(why) => said.push(why.why.to_string()),
    }
    said.extend(remark);
    said.extend(engines);
    said.push("built-in rules".to_owned());
    said.extend(marks);
    headers::scan_field(&said)
}

/// What speaks against delivering it to these rooms. `is_owed`: an engine has to say so.
pub(super) fn doubt(
    inspection: &Inspection,
    recipients: &[&Waiting],
    is_owed: bool,
    guard: &Guard<'_>,
) -> Option<String> {
    let rooms: Vec<&RoomId> = recipients.iter().map(|it| &it.room).collect();
    let first = recipients.first();
    let matter = Matter {
        sender: first.and_then(|it| it.sender.as_ref()),
        sender_room: first.and_then(|it| it.sender_room.as_ref()),
        rooms: &rooms,
        inspection,
    };
    if let Some(catch) = guard.catch(matter) {
        return Some(format!(
            "{} found {}",
            catch.engine,
            catch.malware.join(", ")
        ));
    }
    match &inspection.verdict {
        Verdict::Unscannable(_) => Some(inspection.verdict.to_string()),
        Verdict::Clean if is_owed && !guard.has_engines => Some(NO_ENGINE.to_owned()),
        _ => None,
    }
}

fn excepted_field(exception: &Measure, why: &Unscannable) -> String {
    headers::scan_field(&[
        "NOT SCANNED".to_owned(),
        why.why.to_string(),
        format!(
            "exception {} by {} until {}",
            exception.number, exception.by, exception.until
        ),
        exception.reason.clone().unwrap_or_default(),
    ])
}

/// Whether a row's words tell of a scan, and not of an attempt to deliver.
pub(super) fn tells_of_a_scan(words: &str) -> bool {
    words.starts_with(WAITS) || words.starts_with(HELD)
}
