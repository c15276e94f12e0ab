//! What a verdict comes to, case by case. Rooms: `a` says nothing, `q` wants macros quarantined, `r`
//! refuses them, and `j` rejects what cannot be scanned.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::lifecycle::is_kept;
use crate::lifecycle::report::Letterhead;
use crate::lifecycle::retry::Schedule;
use crate::mail::measure::Aim;
use crate::mail::{
    BodyKind, Content, EngineReport, Envelope, Facts, Identity, Language, Lapses, Origin, Peer,
    Priority, Protocol, Recipient, Seen, SeenFile, Terms, Why, Wishes,
};
use crate::spool::store::{OfLate, RecipientId, Told};

const NOW: Timestamp = Timestamp::from_millis(1_795_345_200_000);
const START: Timestamp = Timestamp::from_millis(1_795_000_000_000);

fn table() -> RoutingTable {
    let room = |letter: &str, scan: &str| {
        format!(
            "[[room]]\nid = \"{letter}\"\nname = \"Rom {letter}\"\nphone = \"1\"\n\
             domains = [\"{letter}.test\"]\nnext_hops = [\"smtp://127.0.0.1:25\"]\n{scan}\n"
        )
    };
    let text = [
        room("a", ""),
        room("q", "[room.scan]\nmacros = \"quarantine\""),
        room("r", "[room.scan]\nmacros = \"refuse\""),
        room("j", "[room.scan]\non_failure = \"reject\""),
    ]
    .concat();
    RoutingTable::parse(&text, 7).unwrap().0
}

fn waiting(room: &str, number: u32, state: State, words: &str) -> Waiting {
    Waiting {
        id: RecipientId {
            reference: Reference::from_number(5),
            number,
        },
        recipient: Address::parse(&format!("vakt{number}@{room}.test")).unwrap(),
        room: RoomId::new(room),
        state,
        attempts: 0,
        of_late: OfLate::default(),
        accepted_at: NOW,
        waits_since: NOW,
        next_attempt_at: NOW,
        last_reply: Some(words.to_owned()),
        told: Told::default(),
        is_doubtful: false,
        wishes: Wishes::default(),
        terms: Terms::default(),
        is_ours: false,
        awaits_scan: state == State::Held,
        waiver: None,
        sender: Some(Address::parse("leder@a.test").unwrap()),
        sender_room: Some(RoomId::new("a")),
        smtputf8: false,
        eight_bit: false,
        size: 10,
        subject: None,
        message_id: None,
    }
}

/// `a unscanned`; of what is held, by whom: `a held-by-measure`, `a held-by-operator`.
fn recipients(said: &[&str]) -> Vec<Waiting> {
    let one = |(number, said): (usize, &&str)| {
        let (room, state) = said.split_once(' ').unwrap();
        let (state, words) = match state {
            "held-by-measure" => (State::Held, "held: hold attachments (kari)"),
            "held-by-operator" => (State::Held, "held by kari"),
            word => (word.parse().unwrap(), ""),
        };
        waiting(room, u32::try_from(number).unwrap(), state, words)
    };
    said.iter().enumerate().map(one).collect()
}

fn inspection(verdict: Verdict, found: &[Rule]) -> Inspection {
    let finding = |rule: &Rule| Finding {
        rule: *rule,
        what: rule.word().to_owned(),
        attachment: Some("a.doc".to_owned()),
    };
    Inspection {
        reports: vec![EngineReport {
            engine: "clamd".to_owned(),
            verdict: verdict.clone(),
            identity: Identity::default(),
            duration: Duration::ZERO,
        }],
        verdict,
        findings: found.iter().map(finding).collect(),
        duration: Duration::ZERO,
        seen: Seen {
            authors: Vec::new(),
            subject: None,
            files: vec![SeenFile {
                name: "a.doc".to_owned(),
                sha256: String::new(),
                member: None,
            }],
            has_attachments: true,
        },
    }
}

fn down() -> Verdict {
    Verdict::Unscannable(Unscannable::before(Why::Down, "refused"))
}

fn infected() -> Verdict {
    Verdict::Infected(vec![Malware::within("Eicar", "a.doc")])
}

fn measure(number: u64, aim: Aim) -> Measure {
    Measure {
        number,
        reference: Reference::from_number(number),
        aim,
        opened_at: NOW,
        by: "kari".to_owned(),
        reason: Some("why".to_owned()),
        until: NOW.after(Duration::from_secs(600)),
        closed: None,
    }
}

fn measures(aims: &[Aim]) -> Measures {
    let numbered = (1..).zip(aims.iter().cloned());
    Measures::new(numbered.map(|(number, aim)| measure(number, aim)).collect())
}

fn row() -> ScanRow {
    ScanRow {
        reference: Reference::from_number(5),
        size: 10,
        priority: Priority::ROUTINE,
        attempts: 0,
        stalls: 0,
        answers: 0,
        reason: None,
        held_by: None,
        round: 0,
        is_excused: false,
        is_owed: true,
    }
}

struct Case {
    row: ScanRow,
    recipients: Vec<Waiting>,
    inspection: Inspection,
    stalled: bool,
    measures: Measures,
    has_engines: bool,
}

impl Case {
    fn new(said: &[&str], verdict: Verdict) -> Self {
        Self {
            row: row(),
            recipients: recipients(said),
            inspection: inspection(verdict, &[]),
            stalled: false,
            measures: Measures::default(),
            has_engines: true,
        }
    }

    fn change(&self) -> Change {
        let letterhead = Letterhead {
            hostname: "relay.test".into(),
            language: Language::En,
        };
        let schedule = Schedule {
            retry: vec![Duration::from_secs(60)],
            warn_after: Duration::from_secs(300),
            give_up_after: Duration::from_secs(3_600),
        };
        let (table, actions) = (table(), Actions::default());
        let guard = Guard {
            now: NOW,
            table: &table,
            on_failure: OnFailure::Hold,
            actions: &actions,
            measures: &self.measures,
            has_engines: self.has_engines,
        };
        let occasion = Occasion {
            now: NOW,
            noise: 0,
            schedule: &schedule,
            letterhead: &letterhead,
            table: &table,
            content: None,
            reports: [9, 10, 11].map(Reference::from_number),
            route: None,
            start: START,
            up_for: Duration::from_secs(86_400),
        };
        let scan = Scanned {
            row: &self.row,
            recipients: &self.recipients,
            trace: b"",
            inspection: &self.inspection,
            stalled: self.stalled,
        };
        scanned(&scan, &guard, &occasion)
    }

    /// Where each recipient ends, and what becomes of the scan.
    fn outcome(&self) -> (Vec<&'static str>, &'static str) {
        let change = self.change();
        let state = |it: &Waiting| {
            let mut steps = change.recipients.iter().filter(|step| step.id == it.id);
            let step = steps.next();
            assert!(steps.next().is_none(), "two steps for {}", it.recipient);
            if let Some(step) = step {
                assert!(step.from.contains(&it.state), "{}", it.recipient);
            }
            step.and_then(|step| step.to).unwrap_or(it.state).word()
        };
        let scan = match &change.scans[..] {
            [ScanStep::Done { .. }] => "done",
            [ScanStep::Again { due_at: None, .. }] => "asked for",
            [ScanStep::Again { .. }] => "again",
            [ScanStep::HeldBy { .. }] => "later",
            other => panic!("{other:?}"),
        };
        (self.recipients.iter().map(state).collect(), scan)
    }
}

#[test]
fn a_verdict_leads_each_recipient_where_it_belongs() {
    let hold = || Aim::HoldAttachments(None);
    let hold_of_q = || Aim::HoldAttachments(Some(RoomId::new("q")));
    let block = || Aim::File("a.doc".to_owned());
    let text = || Aim::Exception(Scope::Text);
    let all = || Aim::Exception(Scope::Everything);
    let macros = &[Rule::Macros][..];
    for (said, verdict, found, aims, expected, scan) in [
        (
            &["a unscanned"][..],
            Verdict::Clean,
            &[][..],
            &[][..],
            &["queued"][..],
            "done",
        ),
        (
            &["a unscanned"],
            infected(),
            &[],
            &[],
            &["quarantined"],
            "done",
        ),
        (&["a unscanned"], down(), &[], &[], &["unscanned"], "again"),
        // Once accepted, it is not refused any more.
        (&["j unscanned"], down(), &[], &[], &["unscanned"], "again"),
        (
            &["a unscanned"],
            infected(),
            &[],
            &[all()],
            &["quarantined"],
            "done",
        ),
        // Should it not be delivered before the exception is over.
        (
            &["a unscanned"],
            down(),
            &[],
            &[all()],
            &["queued"],
            "later",
        ),
        // It has an attachment.
        (
            &["a unscanned"],
            down(),
            &[],
            &[text()],
            &["unscanned"],
            "again",
        ),
        // What a rule finds, room by room.
        (
            &["a unscanned"],
            Verdict::Clean,
            macros,
            &[],
            &["queued"],
            "done",
        ),
        (
            &["q unscanned"],
            Verdict::Clean,
            macros,
            &[],
            &["quarantined"],
            "done",
        ),
        (
            &["a unscanned", "q unscanned"],
            Verdict::Clean,
            macros,
            &[],
            &["queued", "quarantined"],
            "done",
        ),
        (
            &["a unscanned", "r unscanned"],
            Verdict::Clean,
            macros,
            &[],
            &["quarantined", "quarantined"],
            "done",
        ),
        (
            &["a unscanned"],
            Verdict::Clean,
            &[Rule::Eicar],
            &[],
            &["quarantined"],
            "done",
        ),
        // What was caught for one room goes to no other without a verdict.
        (
            &["a unscanned", "q unscanned"],
            down(),
            macros,
            &[],
            &["unscanned", "quarantined"],
            "again",
        ),
        (
            &["a unscanned", "q unscanned"],
            down(),
            macros,
            &[all()],
            &["queued", "quarantined"],
            "later",
        ),
        (
            &["a held-by-operator", "q unscanned"],
            down(),
            macros,
            &[],
            &["held", "quarantined"],
            "again",
        ),
        (
            &["a unscanned", "q unscanned"],
            Verdict::Clean,
            macros,
            &[hold()],
            &["held", "quarantined"],
            "later",
        ),
        // Blocks and holds.
        (
            &["a unscanned"],
            Verdict::Clean,
            &[],
            &[block()],
            &["quarantined"],
            "done",
        ),
        (
            &["a unscanned"],
            down(),
            &[],
            &[block(), all()],
            &["quarantined"],
            "done",
        ),
        (
            &["a unscanned"],
            Verdict::Clean,
            &[],
            &[hold()],
            &["held"],
            "later",
        ),
        (
            &["a unscanned", "q unscanned"],
            Verdict::Clean,
            &[],
            &[hold_of_q()],
            &["queued", "held"],
            "later",
        ),
        (
            &["a unscanned"],
            down(),
            &[],
            &[hold(), all()],
            &["held"],
            "later",
        ),
        (
            &["a unscanned"],
            down(),
            &[],
            &[hold()],
            &["unscanned"],
            "again",
        ),
        (
            &["a held-by-measure"],
            Verdict::Clean,
            &[],
            &[],
            &["queued"],
            "done",
        ),
        (
            &["a held-by-measure"],
            Verdict::Clean,
            &[],
            &[hold()],
            &["held"],
            "later",
        ),
        (
            &["a held-by-measure"],
            down(),
            &[],
            &[],
            &["unscanned"],
            "again",
        ),
        (
            &["a held-by-measure"],
            infected(),
            &[],
            &[],
            &["quarantined"],
            "done",
        ),
        // What an operator holds stays held, unless there is malware in it.
        (
            &["a held-by-operator"],
            Verdict::Clean,
            &[],
            &[],
            &["held"],
            "done",
        ),
        (
            &["a held-by-operator"],
            infected(),
            &[],
            &[],
            &["quarantined"],
            "done",
        ),
        (
            &["a held-by-operator"],
            down(),
            &[],
            &[],
            &["held"],
            "again",
        ),
        // It is scanned again when the exception is over.
        (
            &["a unscanned", "a held-by-operator"],
            down(),
            &[],
            &[all()],
            &["queued", "held"],
            "later",
        ),
        // Nobody but a person lets out what was caught.
        (
            &["a quarantined"],
            Verdict::Clean,
            &[],
            &[],
            &["quarantined"],
            "done",
        ),
        (
            &["a quarantined"],
            down(),
            &[],
            &[],
            &["quarantined"],
            "again",
        ),
        (
            &["a quarantined"],
            down(),
            &[],
            &[all()],
            &["quarantined"],
            "later",
        ),
        (
            &["a quarantined", "a unscanned"],
            Verdict::Clean,
            &[],
            &[],
            &["quarantined", "queued"],
            "done",
        ),
        // What is over stays so.
        (
            &["a delivered", "a cancelled", "a unscanned"],
            infected(),
            &[],
            &[],
            &["delivered", "cancelled", "quarantined"],
            "done",
        ),
        (
            &["a delivered", "a deferred"],
            infected(),
            &[],
            &[],
            &["delivered", "deferred"],
            "done",
        ),
    ] {
        let mut case = Case::new(said, verdict.clone());
        case.inspection = inspection(verdict.clone(), found);
        case.measures = measures(aims);
        let (states, step) = case.outcome();
        assert_eq!(
            (&states[..], step),
            (expected, scan),
            "{said:?} {verdict} {found:?} {aims:?}"
        );
    }
}

#[test]
fn nothing_without_a_verdict_is_queued_but_by_an_exception() {
    let states = [
        "unscanned",
        "queued",
        "deferred",
        "held-by-measure",
        "held-by-operator",
        "quarantined",
        "delivered",
        "cancelled",
    ];
    let aims = [
        Aim::HoldAttachments(None),
        Aim::File("*.exe".to_owned()),
        Aim::File("a.doc".to_owned()),
        Aim::Exception(Scope::Text),
    ];
    for (first, second) in states
        .iter()
        .flat_map(|it| states.map(|other| (*it, other)))
    {
        for rooms in [["a", "q"], ["j", "r"], ["q", "q"]] {
            for aim in &aims {
                for stalls in [0, 4] {
                    let said = [
                        format!("{} {first}", rooms[0]),
                        format!("{} {second}", rooms[1]),
                    ];
                    let said: Vec<&str> = said.iter().map(String::as_str).collect();
                    let mut case = Case::new(&said, down());
                    case.inspection = inspection(down(), &[Rule::Macros, Rule::Encrypted]);
                    case.measures = measures(std::slice::from_ref(aim));
                    case.row.stalls = stalls;
                    case.stalled = true;
                    case.row.held_by = Some(1);
                    let change = case.change();
                    let queued = change
                        .recipients
                        .iter()
                        .any(|it| it.to == Some(State::Queued));
                    assert!(!queued, "{said:?} {aim} {stalls}");
                }
            }
        }
    }
}

#[test]
fn what_stalls_an_engine_five_times_waits_for_a_person() {
    for (stalls, stalled, states, scan, alarms) in [
        (3, true, ["unscanned"], "again", 0),
        (4, true, ["held"], "asked for", 1),
        // The engine answered nobody else either.
        (4, false, ["unscanned"], "again", 0),
    ] {
        let mut case = Case::new(&["a unscanned"], down());
        case.row.stalls = stalls;
        case.stalled = stalled;
        assert_eq!(
            case.outcome(),
            (states.to_vec(), scan),
            "{stalls} {stalled}"
        );
        let events = case.change().events;
        let alarm = events.iter().filter(|it| it.kind == EventKind::Alarm);
        assert_eq!(alarm.count(), alarms);
    }
}

#[test]
fn what_no_engine_can_look_into_waits_for_a_person_and_is_no_poison() {
    for (why, answers, states, scan) in [
        (Why::Encrypted, 3, ["unscanned"], "again"),
        (Why::Encrypted, 4, ["held"], "asked for"),
        (Why::TooLarge, 4, ["held"], "asked for"),
        (Why::Limit, 9, ["held"], "asked for"),
        // An engine that fails is tried again, however often.
        (Why::Down, 9, ["unscanned"], "again"),
        (Why::Timeout, 9, ["unscanned"], "again"),
        (Why::Broken, 9, ["unscanned"], "again"),
    ] {
        let verdict = Verdict::Unscannable(Unscannable::during(why, "it says"));
        let mut case = Case::new(&["a unscanned"], verdict);
        case.row.attempts = 9;
        case.row.answers = answers;
        assert_eq!(case.outcome(), (states.to_vec(), scan), "{why} {answers}");
        let change = case.change();
        let words = change.recipients[0].last_reply.clone().unwrap();
        let is_held = states == ["held"];
        let expected = match is_held {
            true => format!("held: it cannot be scanned, tried 5 times: {why}: it says"),
            false => format!("waits for its scan: {why}: it says"),
        };
        assert_eq!(words, expected);
        let mut row = case.recipients[0].clone();
        row.state = change.recipients[0].to.unwrap_or(row.state);
        row.last_reply = Some(words);
        row.awaits_scan = true;
        assert_eq!(is_kept(&row), is_held, "a person may let it out");
    }
}

#[test]
fn what_came_while_there_was_an_engine_needs_one() {
    for (is_owed, has_engines, verdict, state) in [
        (true, false, Verdict::Clean, "unscanned"),
        (false, false, Verdict::Clean, "queued"),
        (true, true, Verdict::Clean, "queued"),
        (true, false, infected(), "quarantined"),
    ] {
        let mut case = Case::new(&["a unscanned"], verdict);
        case.inspection.reports.clear();
        case.row.is_owed = is_owed;
        case.has_engines = has_engines;
        assert_eq!(case.outcome().0, [state], "{is_owed} {has_engines}");
    }
}

#[test]
fn what_an_exception_let_through_is_called_back_at_its_end() {
    let mut rows = recipients(&["a queued", "q deferred"]);
    for row in &mut rows {
        row.waiver = Some(Waiver::Exception(3));
    }
    let change = called_back(&rows, NOW);
    for (step, row) in change.recipients.iter().zip(&rows) {
        assert_eq!(
            (step.to, step.from),
            (Some(State::Unscanned), &[row.state][..])
        );
        let words = step.last_reply.as_deref();
        assert_eq!(words, Some("waits for its scan: exception 3 is over"));
        assert_eq!(step.clearance, Clearance::Scan);
    }
    assert_eq!((change.scans.len(), change.events.len()), (1, 1));
    assert_eq!(change.events[0].details.exception, Some(3));
}

#[test]
fn who_may_have_got_it_after_all_is_not_told_otherwise() {
    let mut case = Case::new(&["a unscanned"], infected());
    assert_eq!(case.change().messages.len(), 1);
    // Somebody asked for this scan, and an attempt may have been under way then.
    case.row.round = 1;
    let change = case.change();
    assert!(change.messages.is_empty());
    assert_eq!(change.recipients[0].next_look, NextLook::At(NOW));
}

#[test]
fn a_scan_that_came_to_nothing_is_made_again_soon_and_then_every_fifteen_seconds() {
    let gone = || Verdict::Unscannable(Unscannable::during(Why::Down, "it hung up"));
    let waits = [(0, 2), (1, 4), (2, 8), (3, 15), (400, 15)];
    let tried = waits.map(|(before, seconds)| (gone(), before, seconds, before + 1));
    // Of an engine that has seen nothing of it nobody learns anything about the message.
    let untried = [(down(), 0, 2, 0), (down(), 2, 4, 2)];
    for (verdict, before, seconds, after) in tried.into_iter().chain(untried) {
        let mut case = Case::new(&["a unscanned"], verdict);
        case.row.attempts = before;
        let change = case.change();
        let [
            ScanStep::Again {
                due_at, attempts, ..
            },
        ] = &change.scans[..]
        else {
            panic!("{:?}", change.scans)
        };
        assert_eq!(*due_at, Some(NOW.after(Duration::from_secs(seconds))));
        assert_eq!(*attempts, after);
    }
}

#[test]
fn who_was_released_from_a_hold_is_excused_and_others_are_not() {
    let mut case = Case::new(&["a unscanned", "q held-by-measure"], Verdict::Clean);
    case.measures = measures(&[Aim::HoldAttachments(None)]);
    case.row.is_excused = true;
    assert_eq!(case.outcome(), (vec!["queued", "held"], "later"));
    let mut infected_case = Case::new(&["a unscanned"], infected());
    infected_case.row.is_excused = true;
    assert_eq!(infected_case.outcome(), (vec!["quarantined"], "done"));
}

#[test]
fn what_was_caught_says_what_and_its_sender_is_told() {
    let change = Case::new(&["a unscanned", "q unscanned"], infected()).change();
    let told: Vec<_> = change
        .messages
        .iter()
        .map(|it| &it.recipients[0].address)
        .collect();
    assert_eq!(told, [&Address::parse("leder@a.test").unwrap()]);
    let kinds: Vec<_> = change.events.iter().map(|it| it.kind).collect();
    assert_eq!(
        kinds,
        [EventKind::Scanned, EventKind::Bounced, EventKind::Bounced]
    );
    assert_eq!(change.events[0].details.malware, ["Eicar in a.doc"]);
    for step in &change.recipients {
        let event = step.event.as_ref().unwrap();
        assert_eq!(event.kind, EventKind::Quarantined);
        assert_eq!(event.details.malware, ["Eicar in a.doc"]);
        assert_eq!(event.details.engine.as_deref(), Some("clamd"));
    }
    let [caught] = &change.caught[..] else {
        panic!()
    };
    assert_eq!(
        (&*caught.malware, &*caught.engine),
        ("Eicar in a.doc", "clamd")
    );
}

#[test]
fn what_is_scanned_again_waits_for_it_but_stays_where_a_person_put_it() {
    let said = [
        "a unscanned",
        "a queued",
        "a deferred",
        "a held-by-measure",
        "a held-by-operator",
        "a quarantined",
        "a delivered",
        "a failed",
        "a cancelled",
    ];
    let rows = recipients(&said);
    let change = rescanned(&rows, "kari", Some("new signatures"), NOW);
    let moved: Vec<u32> = change.recipients.iter().map(|it| it.id.number).collect();
    assert_eq!(moved, [0, 1, 2, 3]);
    for step in &change.recipients {
        assert_eq!(step.to, Some(State::Unscanned));
        assert_eq!(step.from, [rows[step.id.number as usize].state]);
    }
    assert_eq!((change.scans.len(), change.events.len()), (1, 1));
    for (said, scans) in [
        ("a quarantined", 1),
        ("a held-by-operator", 1),
        ("a delivered", 0),
        ("a cancelled", 0),
    ] {
        let change = rescanned(&recipients(&[said]), "kari", None, NOW);
        assert_eq!(
            (change.recipients.len(), change.scans.len()),
            (0, scans),
            "{said}"
        );
    }
    let mut ours = recipients(&["a queued"]);
    ours[0].is_ours = true;
    assert!(rescanned(&ours, "kari", None, NOW).scans.is_empty());
}

fn received(rooms: &[&str]) -> Received {
    let recipient = |(number, room): (usize, &&str)| Recipient {
        address: Address::parse(&format!("vakt{number}@{room}.test")).unwrap(),
        room: RoomId::new(room),
        group: None,
        rule: "a rule".into(),
        revision: 7,
        wishes: Wishes::default(),
    };
    Received {
        envelope: Envelope {
            reference: Reference::from_number(5),
            received_at: NOW,
            peer: Peer {
                address: "127.0.1.9:4711".parse().unwrap(),
                helo: "ws1".into(),
                protocol: Protocol::Esmtp,
                tls: None,
                certificate: None,
                user: None,
            },
            origin: Origin::Room(RoomId::new("a")),
            sender: Some(Address::parse("leder@a.test").unwrap()),
            smtputf8: false,
            body: BodyKind::SevenBit,
            terms: Terms::default(),
            recipients: rooms.iter().enumerate().map(recipient).collect(),
        },
        authors: Vec::new(),
        dissection: None,
        facts: Facts::default(),
        content: Content {
            trace: bytes::Bytes::new(),
            bytes: bytes::Bytes::from_static(b"Subject: x\r\n\r\nhei\r\n"),
        },
        remarks: Vec::new(),
        tolerated: Lapses::NONE,
    }
}

#[test]
fn before_its_250_a_message_is_refused_kept_or_passed() {
    let hold = || Aim::HoldAttachments(None);
    let block = || Aim::File("a.doc".to_owned());
    let text = || Aim::Exception(Scope::Text);
    let all = || Aim::Exception(Scope::Everything);
    let macros = &[Rule::Macros][..];
    for (rooms, verdict, found, aims, expected) in [
        (&["a"][..], Some(Verdict::Clean), &[][..], &[][..], "queued"),
        (&["a"], Some(infected()), &[], &[], "550 Eicar in a.doc"),
        (
            &["a"],
            Some(infected()),
            &[],
            &[all()],
            "550 Eicar in a.doc",
        ),
        (&["a"], Some(down()), &[], &[], "unscanned"),
        (&["j"], Some(down()), &[], &[], "451 "),
        (&["a", "j"], Some(down()), &[], &[], "451 "),
        (&["j"], Some(down()), &[], &[all()], "queued"),
        (&["a"], Some(down()), &[], &[all()], "queued"),
        (&["a"], Some(down()), &[], &[text()], "unscanned"),
        (&["a"], Some(down()), &[], &[hold(), all()], "unscanned"),
        // The sender waits no longer.
        (&["a"], None, &[], &[], "unscanned"),
        (&["j"], None, &[], &[], "451 "),
        (&["a"], None, &[], &[all()], "unscanned"),
        // Rules, room by room.
        (&["a"], Some(Verdict::Clean), macros, &[], "queued"),
        (&["q"], Some(Verdict::Clean), macros, &[], "unscanned"),
        (
            &["r"],
            Some(Verdict::Clean),
            macros,
            &[],
            "550 macros in a.doc",
        ),
        (
            &["a", "q", "r"],
            Some(Verdict::Clean),
            macros,
            &[],
            "550 macros in a.doc",
        ),
        (
            &["a"],
            Some(Verdict::Clean),
            &[Rule::Eicar],
            &[],
            "550 eicar in a.doc",
        ),
        (
            &["a"],
            Some(down()),
            &[Rule::Eicar],
            &[],
            "550 eicar in a.doc",
        ),
        // Blocks and holds.
        (
            &["a"],
            Some(Verdict::Clean),
            &[],
            &[block()],
            "550 block file a.doc: \"a.doc\"",
        ),
        (
            &["a"],
            Some(down()),
            &[],
            &[block(), all()],
            "550 block file a.doc: \"a.doc\"",
        ),
        (&["a"], Some(Verdict::Clean), &[], &[hold()], "unscanned"),
    ] {
        let (table, actions, measures) = (table(), Actions::default(), measures(aims));
        let guard = Guard {
            now: NOW,
            table: &table,
            on_failure: OnFailure::Hold,
            actions: &actions,
            measures: &measures,
            has_engines: true,
        };
        let inspection = verdict.clone().map(|it| inspection(it, found));
        let told = match ruled(&received(rooms), inspection.as_ref(), &guard) {
            Ruling::Refused(it) => format!("{} {}", it.reply.code, it.malware.join(", ")),
            Ruling::Kept(it) => {
                let is_unscanned = it.state == Some(State::Unscanned);
                assert_eq!(it.scan.is_some(), is_unscanned || it.waiver.is_some());
                assert_eq!(it.field.is_empty(), is_unscanned, "{rooms:?} {verdict:?}");
                it.state.unwrap_or(State::Queued).word().to_owned()
            }
        };
        assert_eq!(told, expected, "{rooms:?} {verdict:?} {found:?} {aims:?}");
    }
}
