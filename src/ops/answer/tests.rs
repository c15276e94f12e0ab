//! Each state that a message can be in, told in each language and compared with the whole text in
//! `expected.nb.txt`, `expected.en.txt`, and so on.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt::Write as _;
use std::net::IpAddr;

use super::*;
use crate::mail::{
    Address, Details, EventKind, FileType, Reply, ScannedBy, State, Terms, Waiver, Wishes,
};
use crate::spool::store::{OfLate, RecipientId, Told, Waiting};

const REFERENCE: &str = "K7F3-2QXM-9A1B";
/// When it is asked, and when it was sent.
const NOW: &str = "2026-11-22T13:10:00Z";
const SENT: &str = "2026-11-22T13:02:09.700Z";
const HAMAR: &str = "vakt@hamar.nodnett.test";
const OSLO: &str = "vakt@oslo.nodnett.test";
const BERGEN: &str = "vakt@bergen.nodnett.test";

const TABLE: &str = r#"
[[room]]
id = "legevakt-hamar"
name = "Legevakt Hamar"
phone = "+47 62 00 00 00"
domains = ["hamar.nodnett.test"]
next_hops = ["maildir:mail/hamar"]
recipients = ["vakt", "leder"]
[[room]]
id = "amk-oslo"
name = "AMK Oslo"
phone = "+47 22 00 00 00"
domains = ["oslo.nodnett.test"]
next_hops = ["maildir:mail/oslo"]
[[room]]
id = "amk-bergen"
name = "AMK Bergen"
domains = ["bergen.nodnett.test"]
next_hops = ["maildir:mail/bergen"]
"#;

fn at(text: &str) -> Timestamp {
    match text.len() {
        8 => format!("2026-11-22T{text}Z").parse().unwrap(),
        _ => text.parse().unwrap(),
    }
}

/// An hour before UTC, as in a Norwegian winter, and no zone to be named.
fn winter(moment: Timestamp) -> Shown {
    let text = moment
        .after(std::time::Duration::from_secs(3_600))
        .to_string();
    let number = |from: usize, to: usize| text[from..to].parse::<i16>().unwrap();
    Shown {
        year: number(0, 4),
        month: number(5, 7) as i8,
        day: number(8, 10) as i8,
        days: (moment.as_millis() + 3_600_000).div_euclid(86_400_000),
        clock: text[11..19].to_owned(),
        zone: None,
    }
}

/// What the log has of one reference, as a test writes it.
struct Scene {
    name: &'static str,
    message: Option<MessageRecord>,
    events: Vec<LoggedEvent>,
    refusals: Vec<LogRow>,
    table: String,
    shown: bool,
}

fn room_of(address: &str) -> &'static str {
    match address {
        _ if address.ends_with("hamar.nodnett.test") => "legevakt-hamar",
        _ if address.ends_with("oslo.nodnett.test") => "amk-oslo",
        _ => "amk-bergen",
    }
}

fn waiting(number: u32, address: &str, state: State) -> Waiting {
    Waiting {
        id: RecipientId {
            reference: REFERENCE.parse().unwrap(),
            number,
        },
        recipient: address.parse().unwrap(),
        room: RoomId::new(room_of(address)),
        state,
        attempts: 0,
        of_late: OfLate::default(),
        accepted_at: at(SENT),
        waits_since: at(SENT),
        next_attempt_at: at(SENT),
        last_reply: None,
        told: Told::NOTHING,
        is_doubtful: false,
        wishes: Wishes::default(),
        terms: Terms::default(),
        is_ours: false,
        awaits_scan: false,
        waiver: None,
        sender: Some(OSLO.parse().unwrap()),
        sender_room: Some(RoomId::new("amk-oslo")),
        smtputf8: false,
        eight_bit: false,
        size: 1234,
        subject: Some("Utskrivning".to_owned()),
        message_id: None,
    }
}

fn file(name: &str) -> Attachment {
    Attachment {
        name: name.to_owned(),
        within: None,
        size: Some(9),
        sha256: None,
        kind: FileType::Unknown,
    }
}

fn event(when: &str, kind: EventKind, recipient: Option<&str>, details: Details) -> LoggedEvent {
    LoggedEvent {
        sequence: 0,
        reference: REFERENCE.parse().unwrap(),
        at: at(when),
        event: kind.word().to_owned(),
        sender: None,
        recipient: recipient.map(str::to_owned),
        details,
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// With the reply of a hop, or the reason in our words.
fn tried(reply: &str, reason: &str) -> Details {
    Details {
        reply: some(reply).filter(|it| !it.is_empty()),
        reason: some(reason).filter(|it| !it.is_empty()),
        hop: some("smtp://10.1.0.5:25"),
        tls: some("TLSv1.3 TLS_AES_256_GCM_SHA384"),
        duration_ms: Some(240),
        attempt: Some(1),
        ..Details::default()
    }
}

fn by(who: &str, reason: &str) -> Details {
    Details {
        by: some(who),
        reason: some(reason).filter(|it| !it.is_empty()),
        ..Details::default()
    }
}

fn engine(verdict: &str) -> ScannedBy {
    ScannedBy {
        engine: "clamd".to_owned(),
        version: some("ClamAV 1.4.2"),
        signatures: some("27468"),
        signature_age_s: Some(10_000),
        verdict: verdict.to_owned(),
        duration_ms: 310,
    }
}

fn scan(verdict: &str) -> Details {
    Details {
        engine: some("clamd"),
        verdict: some(verdict),
        engines: vec![engine(verdict)],
        duration_ms: Some(312),
        ..Details::default()
    }
}

impl Scene {
    fn empty(name: &'static str) -> Self {
        Self {
            name,
            message: None,
            events: Vec::new(),
            refusals: Vec::new(),
            table: TABLE.to_owned(),
            shown: true,
        }
    }

    /// A message with one attachment to these, accepted and found clean.
    fn sent(name: &'static str, recipients: &[(&str, State)]) -> Self {
        let rows = (0..).zip(recipients);
        let message = MessageRecord {
            reference: REFERENCE.parse().unwrap(),
            accepted_at: at(SENT),
            sender: Some(OSLO.parse().unwrap()),
            sender_room: Some(RoomId::new("amk-oslo")),
            client: "10.1.0.7".to_owned(),
            size: 1234,
            subject: some("Utskrivning"),
            message_id: None,
            attachments: vec![file("epikrise.pdf")],
            recipients: rows
                .map(|(n, (it, state))| waiting(n, it, *state))
                .collect(),
        };
        let mut scene = Self {
            message: Some(message),
            ..Self::empty(name)
        };
        for (address, _) in recipients {
            let details = Details {
                room: some(room_of(address)),
                rule: some("room \"x\" accepts from any; recipients are not limited"),
                revision: Some(12),
                client: some("10.1.0.7"),
                helo: some("ws1.oslo"),
                user: some("amk-oslo-ws3"),
                certificate: some("ws3.oslo.nodnett.test"),
                size: Some(1234),
                tls: some("TLSv1.3 TLS_AES_256_GCM_SHA384"),
                ..Details::default()
            };
            scene
                .events
                .push(event(SENT, EventKind::Accepted, Some(address), details));
        }
        scene
    }

    fn to_hamar(name: &'static str, state: State) -> Self {
        Self::sent(name, &[(HAMAR, state)])
    }

    fn clean(self) -> Self {
        self.then(SENT, EventKind::Scanned, None, scan("clean"))
    }

    fn then(mut self, when: &str, kind: EventKind, whom: Option<&str>, details: Details) -> Self {
        self.events.push(event(when, kind, whom, details));
        self
    }

    fn hamar(self, when: &str, kind: EventKind, details: Details) -> Self {
        self.then(when, kind, Some(HAMAR), details)
    }

    fn row(mut self, change: impl FnOnce(&mut Waiting)) -> Self {
        change(&mut self.message.as_mut().unwrap().recipients[0]);
        self
    }

    fn message(mut self, change: impl FnOnce(&mut MessageRecord)) -> Self {
        change(self.message.as_mut().unwrap());
        self
    }

    fn masked(mut self) -> Self {
        self.shown = false;
        self
    }

    /// A refused attempt to send to this recipient.
    fn refused(mut self, reply: &Reply, recipient: Option<&str>, details: Details) -> Self {
        let reply = reply.to_string();
        let row = LogRow {
            reference: REFERENCE.parse().unwrap(),
            at: at("13:02:09"),
            status: "refused".to_owned(),
            sender: some(OSLO),
            sender_room: some("amk-oslo"),
            recipient: recipient.map(str::to_owned),
            recipient_room: details.room.clone(),
            subject: None,
            size: None,
            message_id: None,
            client: "10.1.0.7".to_owned(),
            user: None,
            reply: Some(reply.clone()),
            count: 1,
            exception: None,
            place: 0,
        };
        self.refusals.push(row);
        let details = Details {
            client: some("10.1.0.7"),
            helo: some("ws1.oslo"),
            reply: Some(reply),
            revision: Some(12).filter(|_| details.rule.is_some()),
            ..details
        };
        self.then("13:02:09", EventKind::Refused, recipient, details)
    }

    fn trace(&self) -> Trace {
        let attachments = self.message.iter().flat_map(|it| &it.attachments);
        Trace {
            reference: REFERENCE.parse().unwrap(),
            message: self.message.clone(),
            attachments: attachments.cloned().collect(),
            events: self.events.clone(),
            refusals: self.refusals.clone(),
        }
    }

    fn told(&self, language: Language) -> Sheet {
        let (table, _) = RoutingTable::parse(&self.table, 12).unwrap();
        let known = Known {
            trace: &self.trace(),
            table: &table,
            now: at(NOW),
            zone: winter,
            shown: self.shown,
        };
        sheet(&known, language).unwrap()
    }

    /// All of it but the timeline.
    fn text(&self, language: Language) -> String {
        let sheet = self.told(language);
        let mut text = format!("== {} ==\n{}\n", self.name, sheet.sentence);
        for line in &sheet.advice {
            writeln!(text, "- {line}").unwrap();
        }
        if sheet.recipients.len() > 1 {
            for it in &sheet.recipients {
                writeln!(text, "  {} [{}] {}", it.recipient, it.state, it.sentence).unwrap();
            }
        }
        text
    }
}

const OK: &str = "250 2.0.0 Ok: queued as 4F1B2";
const NO_CONTACT: &str = "Connection refused (while connecting)";

fn delivered() -> Details {
    Details {
        rule: some("room \"legevakt-hamar\" has these next hops"),
        revision: Some(12),
        ..tried(OK, "")
    }
}

fn to_hamar(name: &'static str) -> Scene {
    Scene::to_hamar(name, State::Delivered).clean()
}

fn arrived() -> Vec<Scene> {
    let other = Details {
        rule: some(
            "room \"legevakt-hamar\" is redirected to \"amk-oslo\" until 2026-11-23T06:00:00.000Z: Flytting",
        ),
        ..tried(OK, "")
    };
    let caught = Details {
        malware: vec!["Eicar in epikrise.pdf".to_owned()],
        ..scan("infected")
    };
    let rules = Details {
        engines: Vec::new(),
        engine: some("rules"),
        ..scan("clean")
    };
    let marks = Details {
        marks: vec!["macros in epikrise.pdf".to_owned()],
        ..scan("clean")
    };
    let excepted = Details {
        exception: Some(3),
        by: some("kari"),
        ..scan("unscannable")
    };
    vec![
        to_hamar("delivered").hamar("13:02:11", EventKind::Delivered, delivered()),
        to_hamar("delivered yesterday").hamar(
            "2026-11-21T14:00:00Z",
            EventKind::Delivered,
            delivered(),
        ),
        to_hamar("delivered last year").hamar(
            "2025-11-21T14:00:00Z",
            EventKind::Delivered,
            delivered(),
        ),
        Scene::to_hamar("delivered, checked by the rules alone", State::Delivered)
            .message(|it| it.attachments.clear())
            .then(SENT, EventKind::Scanned, None, rules)
            .hamar(
                "13:02:09",
                EventKind::Delivered,
                tried("250 2.0.0 kept as mail/vakt/new/1", ""),
            ),
        Scene::to_hamar("delivered with a mark", State::Delivered)
            .message(|it| it.attachments.push(file("b.pdf")))
            .then(SENT, EventKind::Scanned, None, marks)
            .hamar("13:04:11", EventKind::Delivered, delivered()),
        to_hamar("delivered to the room that took over").hamar(
            "13:02:11",
            EventKind::Delivered,
            other,
        ),
        to_hamar("delivered, perhaps twice")
            .row(|it| it.is_doubtful = true)
            .hamar(
                "13:02:11",
                EventKind::PossiblyDelivered,
                tried("", "no answer within 60 s"),
            )
            .hamar("13:03:11", EventKind::Delivered, delivered()),
        Scene::to_hamar("delivered under an exception", State::Delivered)
            .row(|it| it.waiver = Some(Waiver::Exception(3)))
            .then(SENT, EventKind::Scanned, None, excepted)
            .hamar("13:02:11", EventKind::Delivered, delivered()),
        Scene::to_hamar("delivered by force", State::Delivered)
            .row(|it| it.waiver = Some(Waiver::Person))
            .then(SENT, EventKind::Scanned, None, caught.clone())
            .hamar(
                "13:05:00",
                EventKind::Released,
                by("kari", "asked for by the lab"),
            )
            .hamar("13:05:11", EventKind::Delivered, delivered()),
        Scene::to_hamar("delivered though it was caught", State::Delivered)
            .then(SENT, EventKind::Scanned, None, caught)
            .hamar("13:02:11", EventKind::Delivered, delivered())
            .hamar("13:02:12", EventKind::Alarm, by_nobody(LEAKED)),
    ]
}

/// What the alarm says; nothing depends on it.
const LEAKED: &str = "delivered by an attempt that was under way when it was caught";

fn on_the_way() -> Vec<Scene> {
    let next = |row: &mut Waiting| {
        row.attempts = 3;
        row.next_attempt_at = at("13:12:30");
    };
    let due = |row: &mut Waiting| row.attempts = 1;
    let doubtful = |row: &mut Waiting| {
        row.attempts = 2;
        row.is_doubtful = true;
        row.next_attempt_at = at("2026-11-23T06:00:00Z");
    };
    let waits = |words: &'static str| {
        move |row: &mut Waiting| {
            row.awaits_scan = true;
            row.last_reply = some(words);
        }
    };
    let deferred = |name| Scene::to_hamar(name, State::Deferred).clean();
    vec![
        Scene::to_hamar("unscanned", State::Unscanned)
            .row(waits("waits for its scan: timeout: no verdict in time")),
        Scene::to_hamar("unscanned, and there is no engine", State::Unscanned).row(waits(
            "waits for its scan: down: the settings name no engine any more, and when it came they did",
        )),
        Scene::to_hamar("queued", State::Queued).clean(),
        Scene::to_hamar("queued again", State::Queued).clean().row(due),
        deferred("deferred").row(next).hamar("13:09:30", EventKind::Deferred, tried("", NO_CONTACT)),
        deferred("deferred by the hop, and due")
            .row(due)
            .hamar("13:09:30", EventKind::Deferred, tried("450 4.2.0 Greylisted", "")),
        deferred("deferred while redirected")
            .row(next)
            .redirected()
            .hamar("13:09:30", EventKind::Deferred, tried("452 4.2.2 Mailbox full", "")),
        Scene::sent("deferred, and no phone is known", &[(BERGEN, State::Deferred)])
            .row(next)
            .then("13:09:30", EventKind::Deferred, Some(BERGEN), tried("", "no answer within 30 s")),
        deferred("possibly delivered").row(doubtful).hamar(
            "13:09:30",
            EventKind::PossiblyDelivered,
            tried("", "the connection was closed without an answer (after the final dot)"),
        ),
    ]
}

fn kept_back() -> Vec<Scene> {
    let measure = Details {
        measure: some("hold attachments"),
        until: some("2026-11-22T18:00:00.000Z"),
        ..by("kari", "held: hold attachments (kari: worm)")
    };
    let poison = "held: it cannot be scanned, tried 5 times: encrypted: a.zip";
    let poisoned = |row: &mut Waiting| {
        row.awaits_scan = true;
        row.last_reply = some(poison);
    };
    let lost = "a report that could not be delivered: 550 5.1.1 No such user";
    let report = |details: Details| Details {
        reason: some("7777-2QXM-9A1B failed"),
        client: None,
        rule: some("report to the sender"),
        ..details
    };
    let mut held = Scene::to_hamar("held: a report of ours", State::Held)
        .row(|it| it.is_ours = true)
        .message(|it| {
            it.client.clear();
            it.sender = None;
            it.sender_room = None;
        })
        .hamar("13:03:00", EventKind::Held, by_nobody(lost));
    held.events[0].details = report(Details::default());
    let mut told = Scene::to_hamar("delivered: a report of ours", State::Delivered)
        .row(|it| it.is_ours = true)
        .message(|it| {
            it.client.clear();
            it.sender = None;
            it.attachments.clear();
        })
        .hamar("13:02:11", EventKind::Delivered, delivered());
    told.events[0].details = report(Details::default());
    vec![
        Scene::to_hamar("held by an operator", State::Held)
            .clean()
            .hamar("13:03:00", EventKind::Held, by("kari", "venter på Hamar")),
        Scene::to_hamar("held by a measure", State::Held)
            .clean()
            .hamar("13:03:00", EventKind::Held, measure),
        Scene::to_hamar("held: it cannot be scanned", State::Held)
            .row(poisoned)
            .hamar("13:03:00", EventKind::Held, by_nobody(poison)),
        held,
        told,
    ]
}

fn by_nobody(reason: &str) -> Details {
    Details {
        reason: some(reason),
        ..Details::default()
    }
}

fn caught(engine: &str, found: &str) -> Details {
    Details {
        engine: some(engine),
        malware: vec![found.to_owned()],
        reason: Some(format!("{engine} found {found}")),
        ..Details::default()
    }
}

fn stopped() -> Vec<Scene> {
    let quarantined = |name| Scene::to_hamar(name, State::Quarantined);
    let worm = || caught("clamd", "Worm.Test in epikrise.pdf");
    let lies = |name| {
        Scene::to_hamar(name, State::Cancelled).hamar("13:03:00", EventKind::Quarantined, worm())
    };
    vec![
        quarantined("quarantined").hamar("13:03:00", EventKind::Quarantined, worm()),
        quarantined("quarantined, masked")
            .hamar("13:03:00", EventKind::Quarantined, worm())
            .masked(),
        quarantined("quarantined by the rules").hamar(
            "13:03:00",
            EventKind::Quarantined,
            caught("rules", "macros in epikrise.pdf"),
        ),
        quarantined("quarantined by a block").hamar(
            "13:03:00",
            EventKind::Quarantined,
            caught("outbreak", "file *.pdf: epikrise.pdf"),
        ),
        Scene::to_hamar("cancelled", State::Cancelled)
            .clean()
            .hamar(
                "13:03:00",
                EventKind::Cancelled,
                by("kari", "sendt ved en feil"),
            ),
        Scene::to_hamar("cancelled, and it may have arrived", State::Cancelled)
            .clean()
            .row(|it| it.is_doubtful = true)
            .hamar("13:03:00", EventKind::Cancelled, by("kari", "")),
        lies("deleted from quarantine").hamar("13:08:00", EventKind::Cancelled, by("kari", "")),
        lies("kept in quarantine for too long").hamar(
            "13:08:00",
            EventKind::Cancelled,
            by_nobody("kept in quarantine for 30d"),
        ),
    ]
}

fn failed() -> Vec<Scene> {
    let ended = |name| {
        Scene::to_hamar(name, State::Failed)
            .clean()
            .row(|it| it.attempts = 3)
    };
    let report = Details {
        report: some("7777-2QXM-9A1B"),
        ..Details::default()
    };
    let given_up = "tried for 4 h; at last: ";
    vec![
        ended("failed by the hop's word")
            .hamar(
                "13:03:00",
                EventKind::Failed,
                tried("550 5.1.1 No such user here", ""),
            )
            .hamar("13:03:00", EventKind::Bounced, report.clone()),
        ended("failed, and the sender does not know")
            .hamar(
                "13:03:00",
                EventKind::Failed,
                tried("552 5.2.2 Quota exceeded", ""),
            )
            .hamar(
                "13:03:00",
                EventKind::NotBounced,
                by_nobody("the sender asked not to be told (NOTIFY)"),
            ),
        ended("failed: no next hop can take it").hamar(
            "13:03:00",
            EventKind::Failed,
            tried("", "hamar.nodnett.test takes no mail (null MX)"),
        ),
        ended("given up")
            .hamar(
                "13:03:00",
                EventKind::Failed,
                tried("", &format!("{given_up}{NO_CONTACT}")),
            )
            .hamar("13:03:00", EventKind::Bounced, report.clone()),
        ended("given up, with an answer at last").hamar(
            "13:03:00",
            EventKind::Failed,
            tried(
                "451 4.3.0 Try later",
                &format!("{given_up}451 4.3.0 Try later"),
            ),
        ),
        ended("given up, and it may have arrived")
            .row(|it| it.is_doubtful = true)
            .hamar(
                "13:03:00",
                EventKind::Failed,
                tried("", &format!("{given_up}no answer within 60 s")),
            ),
        ended("given up before it was tried")
            .row(|it| it.attempts = 0)
            .hamar("13:03:00", EventKind::Failed, by_nobody("tried for 4 h")),
        ended("too late for its sender").hamar(
            "13:03:00",
            EventKind::Failed,
            by_nobody("not delivered by 2026-11-22T13:03:00.000Z, as the sender demanded"),
        ),
    ]
}

fn to_several() -> Vec<Scene> {
    let many: Vec<String> = (1..=20)
        .map(|n| format!("p{n}@oslo.nodnett.test"))
        .collect();
    let state = |n: usize| match n {
        0 => State::Queued,
        5 => State::Deferred,
        _ => State::Delivered,
    };
    let recipients: Vec<(&str, State)> = many
        .iter()
        .enumerate()
        .map(|(n, it)| (it.as_str(), state(n)))
        .collect();
    let mut eighteen = Scene::sent("18 of 20", &recipients).clean();
    for (n, address) in many
        .iter()
        .enumerate()
        .filter(|(n, _)| state(*n) == State::Delivered)
    {
        let when = format!("13:02:{:02}", 10 + n);
        eighteen = eighteen.then(&when, EventKind::Delivered, Some(address), delivered());
    }
    let two = |name, state| Scene::sent(name, &[(HAMAR, state), (OSLO, state)]).clean();
    let held =
        |scene: Scene, whom| scene.then("13:03:00", EventKind::Held, Some(whom), by("kari", ""));
    let left_out = Details {
        room: some("amk-bergen"),
        group: some("alle@gruppe.nodnett.test"),
        rule: some("room \"amk-bergen\" accepts from amk-tromso"),
        ..Details::default()
    };
    let group = "alle@gruppe.nodnett.test";
    let mut grouped = two("a group, and a member left out", State::Delivered)
        .then("13:02:11", EventKind::Delivered, Some(HAMAR), delivered())
        .then("13:02:12", EventKind::Delivered, Some(OSLO), delivered())
        .refused(
            &Reply::left_out_of_group(BERGEN, group),
            Some(BERGEN),
            left_out.clone(),
        );
    let last = grouped.events.last_mut().unwrap();
    last.event = EventKind::LeftOut.word().to_owned();
    vec![
        two("both delivered", State::Delivered)
            .then("13:02:11", EventKind::Delivered, Some(HAMAR), delivered())
            .then("13:02:14", EventKind::Delivered, Some(OSLO), delivered()),
        eighteen,
        held(held(two("neither delivered", State::Held), HAMAR), OSLO),
        Scene::to_hamar("one delivered, one refused", State::Delivered)
            .clean()
            .hamar("13:02:11", EventKind::Delivered, delivered())
            .refused(
                &Reply::external_recipient("x@hotmail.test"),
                Some("x@hotmail.test"),
                Details::default(),
            ),
        grouped,
    ]
}

fn ruled(rule: &str) -> Details {
    Details {
        rule: some(rule),
        ..Details::default()
    }
}

fn of_hamar(rule: &str) -> Details {
    Details {
        room: some("legevakt-hamar"),
        ..ruled(rule)
    }
}

/// The contract's table of replies.
fn refused() -> Vec<Scene> {
    let client = IpAddr::from([10, 1, 0, 7]);
    let oslo = RoomId::new("amk-oslo");
    let near: Address = HAMAR.parse().unwrap();
    let none = Details::default;
    let to = |name: &'static str, reply: Reply, recipient: &str, details| {
        Scene::empty(name).refused(&reply, Some(recipient), details)
    };
    let hamar = |name: &'static str, reply: Reply, details| to(name, reply, HAMAR, details);
    let nobody = |name: &'static str, reply: Reply, details| {
        Scene::empty(name).refused(&reply, None, details)
    };
    let typo = "vatk@hamar.nodnett.test";
    let wide = "vakt@hamra.nodnett.test";
    let found = Details {
        malware: vec!["Eicar in faktura.zip".to_owned()],
        ..ruled("scan: clamd found Eicar in faktura.zip")
    };
    let mut flood = nobody("refused: a flood", Reply::too_many_connections(), none());
    flood.refusals[0].count = 412;
    flood.refusals[0].sender = None;
    flood.refusals[0].sender_room = None;
    let mut login = nobody("refused: login", Reply::login_refused(), none());
    login.refusals[0].sender = None;
    login.refusals[0].sender_room = None;
    login.refusals[0].user = some("amk-oslo-ws3");
    let mut report = hamar(
        "refused: from nobody",
        Reply::unknown_workstation(client),
        none(),
    );
    report.refusals[0].sender = some("");
    report.refusals[0].sender_room = None;
    vec![
        to(
            "refused: outside",
            Reply::external_recipient("x@hotmail.test"),
            "x@hotmail.test",
            ruled("no registered room has the domain hotmail.test"),
        ),
        to(
            "refused: outside, by a slip",
            Reply::external_recipient(wide),
            wide,
            none(),
        ),
        to(
            "refused: no such mailbox",
            Reply::unknown_mailbox(typo, Some(&near)),
            typo,
            of_hamar("room \"legevakt-hamar\": recipients do not include \"vatk\""),
        ),
        hamar(
            "refused: another room's sender",
            Reply::sender_not_of_room("x@y.test", &oslo),
            none(),
        ),
        hamar(
            "refused: another room's author",
            Reply::author_not_of_room("From", "x@y.test", &oslo),
            none(),
        ),
        hamar(
            "refused: not accepted",
            Reply::not_accepted_by_room(HAMAR, "Legevakt Hamar", Some("+47 62 00 00 00")),
            of_hamar("room \"legevakt-hamar\" accepts from amk-bergen, not from \"amk-oslo\""),
        ),
        hamar(
            "refused: disabled",
            Reply::room_disabled(HAMAR, "Legevakt Hamar", None),
            of_hamar("room \"legevakt-hamar\" is disabled"),
        ),
        hamar("refused: no From", Reply::author_missing(), none()),
        nobody(
            "refused: unknown workstation",
            Reply::unknown_workstation(client),
            ruled("no workstation or gateway is 10.1.0.7"),
        ),
        nobody(
            "refused: identify first",
            Reply::identify_first(client, "STARTTLS"),
            none(),
        ),
        hamar(
            "refused: malware",
            Reply::malware("Eicar in faktura.zip"),
            found.clone(),
        ),
        hamar(
            "refused: malware, masked",
            Reply::malware("Eicar in faktura.zip"),
            found,
        )
        .masked(),
        hamar("refused: too large", Reply::too_large(25 << 20), none()),
        hamar(
            "refused: too many recipients",
            Reply::too_many_recipients(100),
            none(),
        ),
        nobody("refused: too much", Reply::too_many_connections(), none()),
        hamar("refused: bare newlines", Reply::bare_newlines(), none()),
        hamar("refused: no space", Reply::store_full(), none()),
        hamar("refused: our trouble", Reply::our_trouble(), none()),
        hamar(
            "refused: not scanned",
            Reply::not_scanned("timeout"),
            ruled("scan: timeout: no verdict in time"),
        ),
        hamar("refused: vanished", Reply::client_vanished(), none()),
        flood,
        login,
        report,
        hamar(
            "refused: two recipients alike",
            Reply::too_large(25 << 20),
            none(),
        )
        .refused(&Reply::too_large(25 << 20), Some(OSLO), none()),
        to(
            "refused: two recipients, each for its reason",
            Reply::external_recipient("x@y.test"),
            "x@y.test",
            none(),
        )
        .refused(
            &Reply::room_disabled(HAMAR, "Legevakt Hamar", None),
            Some(HAMAR),
            of_hamar("room \"legevakt-hamar\" is disabled"),
        )
        .refused(&Reply::no_valid_recipients(), Some("x@y.test"), none()),
    ]
}

fn of_no_message() -> Vec<Scene> {
    let one = |name, kind, details| Scene::empty(name).then("13:00:00", kind, None, details);
    let routes = Details {
        revision: Some(13),
        summary: some("1 room changed (legevakt-hamar)"),
        ..by("kari", "ny adresse")
    };
    let measure = Details {
        measure: some("block file *.scr"),
        until: some("2026-11-23T06:00:00.000Z"),
        ..by("kari", "worm")
    };
    let exception = Details {
        exception: Some(3),
        until: some("2026-11-22T15:00:00.000Z"),
        ..by("kari", "clamd is down")
    };
    vec![
        one("routes changed", EventKind::RoutesChanged, routes),
        one(
            "alarm",
            EventKind::Alarm,
            by_nobody("engine down: connection refused"),
        ),
        one(
            "all clear",
            EventKind::AllClear,
            by_nobody("engine up, after 12 s"),
        ),
        one("measure opened", EventKind::MeasureOpened, measure.clone()),
        one("measure closed", EventKind::MeasureClosed, measure),
        one(
            "exception opened",
            EventKind::ExceptionOpened,
            exception.clone(),
        ),
        one("exception closed", EventKind::ExceptionClosed, exception),
        one("viewed", EventKind::Viewed, by("kari", "")),
        one(
            "log read",
            EventKind::LogRead,
            Details {
                command: some("log search"),
                query: some("hamar --since 2h"),
                ..by("kari", "")
            },
        ),
        one(
            "log retention",
            EventKind::LogRetention,
            Details {
                summary: some("12 rows pseudonymised"),
                ..by_nobody("")
            },
        ),
    ]
}

impl Scene {
    fn redirected(mut self) -> Self {
        self.table += "[[redirect]]\nroom = \"legevakt-hamar\"\nto = \"amk-oslo\"\n";
        self
    }
}

fn scenes() -> Vec<Scene> {
    [
        arrived(),
        on_the_way(),
        kept_back(),
        stopped(),
        failed(),
        to_several(),
        refused(),
        of_no_message(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A message to which everything happens, each kind of event with what it may know.
fn everything() -> Scene {
    let mut scene = Scene::to_hamar("everything that can happen", State::Delivered);
    for kind in EventKind::ALL {
        let details = match kind {
            EventKind::Accepted
            | EventKind::RoutesChanged
            | EventKind::LogRead
            | EventKind::LogRetention => continue,
            EventKind::Refused => Details {
                malware: vec!["Eicar in epikrise.pdf".to_owned()],
                ..ruled("scan: clamd found Eicar in epikrise.pdf")
            },
            EventKind::LeftOut => Details {
                group: some("alle@gruppe.nodnett.test"),
                revision: Some(12),
                ..ruled("room \"legevakt-hamar\" accepts from amk-bergen, not from \"amk-oslo\"")
            },
            EventKind::Tolerated => Details {
                tolerated: vec!["missing_tls".to_owned()],
                priority: Some(4),
                deliver_by: some("2026-11-22T14:00:00.000Z"),
                require_tls: Some(true),
                ..Details::default()
            },
            EventKind::Scanned => Details {
                marks: vec!["macros in epikrise.pdf".to_owned()],
                files_left_out: Some(7),
                engines: vec![engine("clean"), engine("infected: Eicar in epikrise.pdf")],
                ..scan("infected")
            },
            EventKind::Quarantined => caught("rules", "macros in epikrise.pdf"),
            EventKind::Delivered => delivered(),
            EventKind::Deferred => Details {
                next_attempt_at: some("2026-11-22T13:12:30.000Z"),
                tls: some("none"),
                ..tried("450 4.2.0 epikrise.pdf is greylisted", "")
            },
            EventKind::PossiblyDelivered | EventKind::Failed => tried("", "no answer within 60 s"),
            EventKind::Bounced | EventKind::Warned | EventKind::Confirmed => Details {
                report: some("7777-2QXM-9A1B"),
                ..Details::default()
            },
            EventKind::MeasureOpened | EventKind::ExceptionOpened => Details {
                measure: some("block file *.scr"),
                exception: Some(3),
                until: some("2026-11-23T06:00:00.000Z"),
                ..by("kari", "worm")
            },
            _ => by("kari", "Utskrivning"),
        };
        scene = scene.hamar("13:03:00", *kind, details);
    }
    scene
}

fn timeline(scene: &Scene, language: Language) -> String {
    let mut text = format!("== {} ==\n", scene.name);
    for entry in scene.told(language).timeline {
        writeln!(text, "{} [{}] {}", entry.at, entry.event, entry.text).unwrap();
    }
    text
}

const LANGUAGES: [(Language, &str); 2] = [
    (Language::Nb, include_str!("expected.nb.txt")),
    (Language::En, include_str!("expected.en.txt")),
];

#[test]
fn each_state_is_told_as_expected() {
    let scenes = scenes();
    for (language, expected) in LANGUAGES {
        let mut told: Vec<String> = scenes.iter().map(|it| it.text(language)).collect();
        told.push(timeline(&everything(), language));
        for (told, expected) in told.iter().zip(expected.split_inclusive("\n\n")) {
            assert_eq!(told.trim_end(), expected.trim_end(), "{language:?}");
        }
        assert_eq!(
            told.join("\n"),
            expected,
            "{language:?}: all of them, in order"
        );
    }
}

/// What is masked is nowhere in an answer, not in what a hop said either.
#[test]
fn a_masked_answer_names_no_file_and_no_subject() {
    for language in [Language::Nb, Language::En] {
        for scene in scenes().into_iter().chain([everything()]) {
            let open = serde_json::to_string(&scene.told(language)).unwrap();
            let scene = scene.masked();
            let masked = serde_json::to_string(&scene.told(language)).unwrap();
            for secret in ["epikrise", "faktura", "Utskrivning"] {
                assert!(!masked.contains(secret), "{}: {masked}", scene.name);
            }
            let hides = ["epikrise", "Utskrivning"]
                .iter()
                .any(|it| open.contains(it));
            assert!(!hides || masked.contains("•••"), "{}: {masked}", scene.name);
        }
    }
}

#[test]
fn nothing_known_is_no_answer() {
    let scene = Scene::empty("nothing");
    let known = Known {
        trace: &scene.trace(),
        table: &RoutingTable::default(),
        now: at(NOW),
        zone: winter,
        shown: true,
    };
    assert_eq!(sheet(&known, Language::Nb), None);
}

#[test]
fn an_answer_says_which_message_it_is_about() {
    let sent = || to_hamar("about").hamar("13:02:11", EventKind::Delivered, delivered());
    let nobody = sent().message(|it| {
        it.sender = None;
        it.sender_room = None;
        it.subject = some(" ");
    });
    let row = Reply::too_large(1);
    let refused = Scene::empty("refused").refused(&row, Some(HAMAR), Details::default());
    let nb = "Melding fra AMK Oslo (vakt@oslo.nodnett.test), sendt kl. 14:02:09, emne: ";
    for (scene, about) in [
        (sent(), Some(format!("{nb}Utskrivning"))),
        (sent().masked(), Some(format!("{nb}•••"))),
        (
            nobody,
            some("Melding fra ukjent avsender, sendt kl. 14:02:09."),
        ),
        (refused, None),
    ] {
        assert_eq!(scene.told(Language::Nb).about, about);
    }
}
