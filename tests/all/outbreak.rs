//! An outbreak: who puts what in force and until when, and who sent and received a file.

use std::sync::Arc;
use std::time::Duration;

use ilbud::mail::measure::{Aim, Closing, Measure, Scope};
use ilbud::mail::{
    Address, Attachment, Content, Details, Event, EventKind, Facts, FileType, Reference, Refusal,
    RoomId, State, Terms, Timestamp, Wishes,
};
use ilbud::ops::measures::follow_measures;
use ilbud::ops::outbreak::{hunt, to_scan_again};
use ilbud::scan::measures::Measures;
use ilbud::spool::sqlite::{Settings, Sqlite};
use ilbud::spool::store::{Change, Hunted, NewMessage, NewRecipient, Store, StoreError};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::{next_id, vakt};
use crate::relay::{Relay, Setup, column, free_port};
use crate::wait;

const HASH: &str = "abababababababababababababababababababababababababababababababab";

fn listed(relay: &Relay) -> Vec<Value> {
    relay.rows(&["outbreak", "list"])
}

/// The number and the reference that an opening prints.
fn opened(relay: &Relay, arguments: &[&str]) -> (String, String) {
    let said = relay.done(arguments);
    let after = said.split("number ").nth(1).unwrap();
    let number = after.split(' ').next().unwrap().to_owned();
    let reference = after.split(['(', ')']).nth(1).unwrap().to_owned();
    (number, reference)
}

#[test]
fn a_block_is_listed_with_its_end_and_ended_once() {
    let relay = Setup::three_rooms().start();
    assert!(relay.done(&["outbreak", "list"]).contains("Nothing"));
    #[rustfmt::skip]
    let blocks: [&[&str]; 6] = [
        &["block", "--hash", &HASH.to_uppercase()],
        &["block", "--file", "faktura*.scr", "--for", "2h", "--reason", "bølge 2"],
        &["block", "--subject", "Ubetalt faktura"],
        &["block", "--sender", "@xn--5ca.nodnett.test"],
        &["hold-attachments", "--room", "room-b", "--for", "30m"],
        &["hold-attachments"],
    ];
    let opened: Vec<_> = blocks
        .map(|block| opened(&relay, &[&["outbreak"], block].concat()))
        .into();
    let rows = listed(&relay);
    #[rustfmt::skip]
    let expected = [
        ("hash", json!(HASH)), ("file", json!("faktura*.scr")), ("subject", json!("Ubetalt faktura")),
        ("sender", json!("@å.nodnett.test")), ("hold-attachments", json!("room-b")), ("hold-attachments", Value::Null),
    ];
    for ((row, (number, reference)), (kind, value)) in rows.iter().zip(&opened).zip(&expected) {
        assert_eq!(row["number"].to_string(), *number);
        assert_eq!(row["ref"], reference.as_str());
        assert_eq!(
            (&row["kind"], &row["value"]),
            (&json!(kind), value),
            "{row}"
        );
        assert_eq!(
            (&row["state"], &row["closed_at"]),
            (&json!("in force"), &Value::Null)
        );
        assert!(row["by"].as_str().is_some_and(|by| !by.is_empty()), "{row}");
        let time = |field: &str| row[field].as_str().unwrap().parse::<Timestamp>().unwrap();
        let hours = time("until").since(time("opened_at")).as_secs_f64() / 3600.0;
        let wanted = match (*kind, value) {
            ("file", _) => 2.0,
            (_, Value::String(room)) if room == "room-b" => 0.5,
            _ => 24.0,
        };
        assert!((hours - wanted).abs() < 1e-9, "{row}");
    }
    assert_eq!(rows.len(), 6);
    assert_eq!(rows[1]["reason"], "bølge 2");

    let (number, reference) = &opened[1];
    let said = relay.done(&["outbreak", "end", number]);
    assert!(
        said.contains("faktura*.scr") && said.contains(reference),
        "{said}"
    );
    assert_eq!(listed(&relay).len(), 5);
    let all = relay.rows(&["outbreak", "list", "--all"]);
    assert_eq!((all.len(), &all[1]["state"]), (6, &json!("ended")));
    assert_eq!(all[1]["closed_by"], all[1]["by"]);
    let complaint = relay.fails(1, &["outbreak", "end", number, "99", &opened[0].0]);
    assert!(complaint.contains("measure 2 was ended by") && complaint.contains("no measure 99"));
    assert_eq!(listed(&relay).len(), 4);

    let events = relay.rows(&["log", "show", reference]);
    assert_eq!(
        column(&events, "event"),
        ["measure opened", "measure closed"]
    );
    assert_eq!(column(&events, "measure"), ["block file faktura*.scr"; 2]);
    assert_eq!(events[0]["reason"], "bølge 2");
    assert_eq!(events[0]["until"], all[1]["until"]);
}

#[test]
fn wrong_usage_says_so() {
    let relay = Setup::three_rooms().start();
    let long = "a".repeat(300);
    #[rustfmt::skip]
    let wrong: [&[&str]; 28] = [
        &["outbreak"],
        &["outbreak", "block"],
        &["outbreak", "block", "--hash", HASH, "--file", "x"],
        &["outbreak", "block", "--hash", "abab"],
        &["outbreak", "block", "--hash", &HASH.replace('a', "g")],
        &["outbreak", "block", "--file", ""],
        &["outbreak", "block", "--file", "*"],
        &["outbreak", "block", "--file", &long],
        &["outbreak", "block", "--subject", "  ab "],
        &["outbreak", "block", "--sender", "vakt"],
        &["outbreak", "block", "--sender", "@"],
        &["outbreak", "block", "--file", "x", "--for", "0m"],
        &["outbreak", "block", "--file", "x", "--for", "91d"],
        &["outbreak", "block", "--file", "x", "--for", "soon"],
        &["outbreak", "block", "--file", "x", "--reason", " "],
        &["outbreak", "end"],
        &["outbreak", "end", "one"],
        &["outbreak", "hunt"],
        &["outbreak", "hunt", " "],
        &["outbreak", "hunt", "x", "--json", "--csv"],
        &["outbreak", "hunt", "x", "--since", "then"],
        &["scan", "exception", "open", "--for", "30m"],
        &["scan", "exception", "open", "--reason", "no engine"],
        &["scan", "exception", "open", "--for", "30m", "--reason", ""],
        &["scan", "exception", "open", "--for", "25h", "--reason", "no engine"],
        &["scan", "exception", "open", "--for", "0s", "--reason", "no engine"],
        &["scan", "exception", "open", "--for", "30m", "--reason", "x", "--text", "--everything"],
        &["scan", "exception", "close", "it"],
    ];
    for arguments in wrong {
        relay.fails(2, arguments);
    }
    let complaint = relay.fails(1, &["outbreak", "hold-attachments", "--room", "room_b"]);
    assert!(complaint.contains("did you mean \"room-b\""), "{complaint}");
    assert!(relay.rows(&["outbreak", "list", "--all"]).is_empty());
    assert!(
        relay
            .rows(&["scan", "exception", "list", "--all"])
            .is_empty()
    );
}

#[test]
fn an_exception_is_somebody_s_and_ends_by_itself() {
    let relay = Setup::three_rooms().start();
    let exceptions = |more: &[&str]| relay.rows(&[&["scan", "exception", "list"], more].concat());
    let open = [
        "scan",
        "exception",
        "open",
        "--reason",
        "clamd nede",
        "--for",
    ];
    let (_, reference) = opened(&relay, &[&open[..], &["1s"]].concat());
    wait::until("its end", || exceptions(&[]).is_empty());
    let row = &exceptions(&["--all"])[0];
    assert_eq!(
        (&row["state"], &row["value"]),
        (&json!("expired"), &json!("text"))
    );
    assert_eq!(
        (&row["reason"], &row["closed_at"]),
        (&json!("clamd nede"), &Value::Null)
    );
    assert_eq!(relay.events(&reference), ["exception opened"]);
    relay.fails(1, &["scan", "exception", "close"]);
    let late = relay.fails(1, &["scan", "exception", "close", "1"]);
    assert!(late.contains("measure 1 is expired"), "{late}");

    let (number, _) = opened(&relay, &[&open[..], &["24h", "--text"]].concat());
    let (_, wide) = opened(&relay, &[&open[..], &["30m", "--everything"]].concat());
    assert_eq!(column(&exceptions(&[]), "value"), ["text", "everything"]);
    let (block, _) = opened(&relay, &["outbreak", "block", "--file", "*.scr"]);
    // Each by its own command.
    let hint = relay.fails(1, &["outbreak", "end", &number]);
    assert!(
        hint.contains(&format!("ilbud scan exception close {number}")),
        "{hint}"
    );
    let hint = relay.fails(1, &["scan", "exception", "close", &block]);
    assert!(
        hint.contains(&format!("ilbud outbreak end {block}")),
        "{hint}"
    );
    assert_eq!(listed(&relay).len(), 1);
    relay.done(&["scan", "exception", "close", &number]);
    assert_eq!(column(&exceptions(&[]), "value"), ["everything"]);
    relay.done(&["scan", "exception", "close"]);
    assert!(exceptions(&[]).is_empty());
    assert_eq!(
        relay.events(&wide),
        ["exception opened", "exception closed"]
    );
}

#[test]
fn administrators_at_once_do_not_undo_each_other() {
    let relay = Setup::three_rooms().start();
    let block = ["outbreak", "block", "--file", "*.scr"];
    let opened: Vec<_> = std::thread::scope(|scope| {
        let one = || scope.spawn(|| opened(&relay, &block));
        let all: Vec<_> = (0..8).map(|_| one()).collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let mut numbers: Vec<_> = opened.iter().map(|it| it.0.clone()).collect();
    numbers.sort();
    assert_eq!(numbers, ["1", "2", "3", "4", "5", "6", "7", "8"]);
    let (number, reference) = &opened[0];
    let ended: Vec<_> = std::thread::scope(|scope| {
        let one = || scope.spawn(|| relay.run(&["outbreak", "end", number]).status.code());
        let all: Vec<_> = (0..6).map(|_| one()).collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(
        ended.iter().filter(|it| **it == Some(0)).count(),
        1,
        "{ended:?}"
    );
    assert_eq!(
        relay.events(reference),
        ["measure opened", "measure closed"]
    );
    assert_eq!(listed(&relay).len(), 7);
}

/// A message with these files.
fn with_files(from: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let id = next_id();
    let mut message = format!(
        "From: {from}\r\nTo: vakt@b.nodnett.test\r\nSubject: filer {id}\r\nMessage-ID: <{id}@ws.test>\r\n\
         Date: Sun, 22 Nov 2026 12:00:00 +0100\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"skille\"\r\n\r\n\
         --skille\r\nContent-Type: text/plain\r\n\r\nhei\r\n"
    );
    for (name, content) in files {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        message += &format!(
            "--skille\r\nContent-Type: application/octet-stream\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n{content}\r\n"
        );
    }
    (message + "--skille--\r\n").into_bytes()
}

fn sha256(content: &str) -> String {
    let digest = Sha256::digest(content.as_bytes());
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Status, recipient and attachment of each row that was found.
fn found(relay: &Relay, arguments: &[&str]) -> Vec<[String; 3]> {
    let rows = relay.rows(&[&["outbreak", "hunt"], arguments].concat());
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    rows.iter()
        .map(|row| ["status", "recipient", "attachment"].map(|field| text(&row[field])))
        .collect()
}

#[test]
fn a_hunt_finds_who_sent_and_who_received() {
    let away = format!("smtp://127.0.0.1:{}", free_port());
    let mut relay = Setup::three_rooms()
        .room("d", &away)
        .delivery("retry = [\"1h\"]")
        .start();
    let mut client = relay.client("a");
    let (a, b, c, d) = (vakt("a"), vakt("b"), vakt("c"), vakt("d"));
    let bad = ("Faktura.SCR", "MZ ond fil");
    let other = ("epikrise.pdf", "god fil");
    let first = client.send(&a, &[&b, &d], &with_files(&a, &[bad, other]));
    // Whoever may not send as this is refused at the end, with a row for each recipient.
    let forged = client.send(&a, &[&b, &c], &with_files(&vakt("c"), &[bad]));
    assert_eq!(forged.said(), "550 5.7.1", "{forged}");
    let mut answering = relay.client("b");
    let renamed = answering.send(
        &b,
        &[&a],
        &with_files(&b, &[("=cmd|' /C calc'!A0, \"x\".scr", bad.1)]),
    );
    client.send(&a, &[&b], &with_files(&a, &[other]));
    relay.expect_events(&renamed.reference(), &["accepted", "delivered"]);
    wait::until("what was said of each", || {
        found(&relay, &["*.scr"])
            .iter()
            .map(|it| it[0].as_str())
            .collect::<Vec<_>>()
            == ["delivered", "deferred", "refused", "refused", "delivered"]
    });
    let row = |status: &str, to: &String, name: &str| [status, to, name].map(str::to_owned);
    let formula = "=cmd|' /C calc'!A0, \"x\".scr";
    let everybody = [
        row("delivered", &b, "Faktura.SCR"),
        row("deferred", &d, "Faktura.SCR"),
        row("refused", &b, "Faktura.SCR"),
        row("refused", &c, "Faktura.SCR"),
        row("delivered", &a, formula),
    ];
    let hash = sha256(bad.1);
    assert_eq!(found(&relay, &[&hash]), everybody);
    assert_eq!(found(&relay, &[&hash.to_uppercase()]), everybody);
    assert_eq!(found(&relay, &["*.s?r"]), everybody);
    assert_eq!(found(&relay, &["faktura.scr"]), everybody[..4]);
    assert_eq!(found(&relay, &["faktura"]), <[[String; 3]; 0]>::default());
    assert_eq!(found(&relay, &[&hash, "--since", "1h"]), everybody);
    assert_eq!(found(&relay, &["*.scr", "--since", "1h"]), everybody);
    assert!(found(&relay, &["*.scr", "--since", "2099-01-01"]).is_empty());
    // Two files in one message are two rows for each of its recipients.
    assert_eq!(found(&relay, &["*f*"]).len(), 2 * 2 + 2 + 1);

    let rows = relay.rows(&["outbreak", "hunt", "faktura.scr"]);
    let expected = json!({
        "ref": first.reference(), "at": rows[0]["at"], "status": "delivered",
        "sender": a, "sender_room": "room-a", "recipient": b, "recipient_room": "room-b",
        "attachment": "Faktura.SCR", "sha256": hash, "malware": null, "client": "127.0.1.9", "count": 1,
    });
    assert_eq!(rows[0], expected);
    assert_eq!(rows[2]["ref"], forged.reference());
    let refused = relay.rows(&[
        "log",
        "search",
        "--attachment",
        "faktura",
        "--status",
        "refused",
    ]);
    assert_eq!(column(&refused, "recipient").len(), 2, "{refused:?}");

    // The same with the relay stopped.
    assert!(relay.stop().success());
    let csv = relay.done(&["outbreak", "hunt", &hash, "--csv"]);
    let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!(
        lines[0],
        "ref,at,status,sender,sender_room,recipient,recipient_room,attachment,sha256,malware,client,count"
    );
    assert_eq!(lines.len(), 6);
    let last = format!(
        "{},{},delivered,{b},room-b,{a},room-a,\"'=cmd|' /C calc'!A0, \"\"x\"\".scr\",{hash},,127.0.2.9,1",
        renamed.reference(),
        relay.rows(&["outbreak", "hunt", formula])[0]["at"]
            .as_str()
            .unwrap()
    );
    assert_eq!(lines[5], last);
    let nothing = relay.done(&["outbreak", "hunt", "faktura.exe", "--csv"]);
    assert_eq!(nothing.split_terminator("\r\n").count(), 1);
    assert!(
        relay
            .done(&["outbreak", "hunt", "faktura.exe"])
            .contains("Nothing")
    );
}

// What follows asks the library, where there is no engine yet that finds anything, and for what the relay
// does with measures.

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn store() -> (Arc<dyn Store>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (again(&folder), folder)
}

/// As another process opens it.
fn again(folder: &tempfile::TempDir) -> Arc<dyn Store> {
    let path = folder.path().join("ilbud.db");
    let keep_bodies = Duration::from_secs(3600);
    Arc::new(Sqlite::open(&Settings { path, keep_bodies }).unwrap())
}

fn attachment(name: &str) -> Attachment {
    Attachment {
        name: name.to_owned(),
        within: None,
        size: Some(3),
        sha256: Some(sha256(name)),
        kind: FileType::Text,
    }
}

fn message(number: u64, subject: &str, files: &[&str]) -> NewMessage {
    let recipient = |letter: &str, state| NewRecipient {
        waiver: None,
        address: Address::parse(&vakt(letter)).unwrap(),
        room: RoomId::new(&format!("room-{letter}")),
        wishes: Wishes::default(),
        state,
        reason: None,
        next_attempt_at: NOW,
        look_at: NOW,
        leased_until: NOW,
    };
    NewMessage {
        reference: Reference::from_number(number),
        accepted_at: NOW,
        sender: Some(Address::parse(&vakt("a")).unwrap()),
        sender_room: Some(RoomId::new("room-a")),
        client: "127.0.1.9".to_owned(),
        smtputf8: false,
        eight_bit: true,
        terms: Terms::default(),
        facts: Facts {
            subject: Some(subject.to_owned()),
            message_id: None,
            attachments: files.iter().map(|name| attachment(name)).collect(),
        },
        content: Content {
            trace: "Received: x\r\n".into(),
            bytes: "From: Leder <leder@a.nodnett.test>\r\n\r\nhei\r\n".into(),
        },
        recipients: vec![
            recipient("b", State::Queued),
            recipient("c", State::Deferred),
        ],
        events: Vec::new(),
        left_out: Vec::new(),
        scan: None,
    }
}

fn refusal(number: u64, reply: &str, malware: &[&str], files: &[&str]) -> Refusal {
    Refusal {
        reference: Reference::from_number(number),
        at: NOW,
        client: "127.0.1.9".parse().unwrap(),
        helo: "ws".to_owned(),
        user: None,
        sender: Some(vakt("a")),
        sender_room: Some(RoomId::new("room-a")),
        recipient: Some(vakt("b")),
        recipient_room: Some(RoomId::new("room-b")),
        subject: None,
        message_id: None,
        size: None,
        files_left_out: 0,
        attachments: files.iter().map(|name| attachment(name)).collect(),
        malware: malware.iter().map(|&it| it.to_owned()).collect(),
        reply: reply.to_owned(),
        rule: None,
        revision: None,
        count: 1,
    }
}

fn scanned(number: u64, malware: &[&str]) -> Event {
    Event {
        reference: Reference::from_number(number),
        at: NOW,
        kind: EventKind::Scanned,
        recipient: None,
        details: Details {
            verdict: Some("infected".to_owned()),
            malware: malware.iter().map(|&it| it.to_owned()).collect(),
            ..Details::default()
        },
    }
}

#[tokio::test]
async fn malware_is_hunted_by_what_it_is_called() {
    let (store, _folder) = store();
    store
        .accept(message(1, "x", &["a.zip", "b.pdf"]))
        .await
        .unwrap();
    store.accept(message(2, "x", &["a.zip"])).await.unwrap();
    store.accept(message(3, "x", &["c.zip"])).await.unwrap();
    let told = "550 5.7.1 Malware Eicar-Test found in f.zip; the message was not sent";
    store
        .note(vec![
            refusal(4, told, &["Eicar-Test in f.zip"], &["f.zip", "g.pdf"]),
            refusal(5, told, &[], &[]),
            refusal(6, "550 5.7.1 no", &[], &["a.zip"]),
        ])
        .await
        .unwrap();
    let events = vec![
        scanned(1, &["Win.EICAR_HDB-1 in a.zip", "Macro"]),
        scanned(1, &["Win.EICAR_HDB-1 in a.zip"]),
        scanned(2, &["Win.EICAR_HDB-1"]),
    ];
    let change = Change {
        events,
        ..Change::default()
    };
    store.apply(Arc::new(change)).await.unwrap();
    let summary = |it: &Hunted| {
        let text = |it: &Option<String>| it.clone().unwrap_or_default();
        format!(
            "{} {} {} {} | {}",
            it.reference.number(),
            it.status,
            text(&it.recipient),
            text(&it.attachment),
            text(&it.malware)
        )
    };
    #[rustfmt::skip]
    let cases: [(&str, &[&str]); 6] = [
        ("eicar", &[
            "1 queued vakt@b.nodnett.test a.zip | Win.EICAR_HDB-1 in a.zip",
            "1 deferred vakt@c.nodnett.test a.zip | Win.EICAR_HDB-1 in a.zip",
            "2 queued vakt@b.nodnett.test a.zip | Win.EICAR_HDB-1",
            "2 deferred vakt@c.nodnett.test a.zip | Win.EICAR_HDB-1",
            "4 refused vakt@b.nodnett.test f.zip | Eicar-Test in f.zip",
            "5 refused vakt@b.nodnett.test  | Eicar-Test",
        ]),
        ("Win.*_HDB-?", &[
            "1 queued vakt@b.nodnett.test a.zip | Win.EICAR_HDB-1 in a.zip",
            "1 deferred vakt@c.nodnett.test a.zip | Win.EICAR_HDB-1 in a.zip",
            "2 queued vakt@b.nodnett.test a.zip | Win.EICAR_HDB-1",
            "2 deferred vakt@c.nodnett.test a.zip | Win.EICAR_HDB-1",
        ]),
        ("macro", &[
            "1 queued vakt@b.nodnett.test  | Macro",
            "1 deferred vakt@c.nodnett.test  | Macro",
        ]),
        ("A.ZIP", &[
            "1 queued vakt@b.nodnett.test a.zip | Win.EICAR_HDB-1 in a.zip, Macro",
            "1 deferred vakt@c.nodnett.test a.zip | Win.EICAR_HDB-1 in a.zip, Macro",
            "2 queued vakt@b.nodnett.test a.zip | Win.EICAR_HDB-1",
            "2 deferred vakt@c.nodnett.test a.zip | Win.EICAR_HDB-1",
            "6 refused vakt@b.nodnett.test a.zip | ",
        ]),
        (&sha256("c.zip"), &[
            "3 queued vakt@b.nodnett.test c.zip | ",
            "3 deferred vakt@c.nodnett.test c.zip | ",
        ]),
        ("conficker", &[]),
    ];
    for (quarry, expected) in cases {
        let traces = hunt(&store, quarry, None).await.unwrap();
        let traces: Vec<_> = traces.iter().map(summary).collect();
        assert_eq!(traces, expected, "{quarry}");
    }
}

fn measure(number: u64, aim: Aim) -> Measure {
    Measure {
        number,
        reference: Reference::from_number(1000 + number),
        aim,
        opened_at: NOW,
        by: "kari".to_owned(),
        reason: None,
        until: NOW.after(Duration::from_secs(60)),
        closed: None,
    }
}

#[tokio::test]
async fn a_store_keeps_measures_and_closes_each_once() {
    let (store, _folder) = store();
    let one = measure(1, Aim::File("*.scr".to_owned()));
    let two = measure(2, Aim::Exception(Scope::Text));
    for (number, it) in [(1, &one), (2, &two)] {
        let kept = store.open_measure(it.clone(), it.opened()).await;
        assert_eq!(kept, Ok(number));
    }
    let taken = store.open_measure(one.clone(), one.opened()).await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))), "{taken:?}");
    let last = store.last_reference().await.unwrap();
    assert_eq!(last, Some(two.reference));
    let all = store.measures(None).await.unwrap();
    assert_eq!(all, [one.clone(), two.clone()]);
    assert_eq!(store.measures(Some(one.until)).await.unwrap(), []);

    let closing = |by: &str, at| Closing {
        at,
        by: by.to_owned(),
    };
    let close = async |number, closing: Closing, of: &Measure| {
        let event = of.closed(&closing);
        store.close_measure(number, closing, event).await.unwrap()
    };
    assert!(close(1, closing("ola", NOW), &one).await);
    assert!(!close(1, closing("per", NOW), &one).await);
    assert!(!close(2, closing("per", two.until), &two).await);
    assert!(!close(9, closing("per", NOW), &two).await);
    let all = store.measures(None).await.unwrap();
    assert_eq!(all[0].closed, Some(closing("ola", NOW)));
    let open = store.measures(Some(NOW)).await.unwrap();
    assert_eq!(open, std::slice::from_ref(&two));
    let words = async |it: &Measure| {
        let events = store.events(it.reference).await.unwrap();
        events.into_iter().map(|it| it.event).collect::<Vec<_>>()
    };
    assert_eq!(words(&one).await, ["measure opened", "measure closed"]);
    assert_eq!(words(&two).await, ["exception opened"]);
}

#[tokio::test]
async fn what_waits_and_is_concerned_is_scanned_again() {
    let (store, _folder) = store();
    store
        .accept(message(1, "Ubetalt faktura", &[]))
        .await
        .unwrap();
    store.accept(message(2, "hei", &["a.zip"])).await.unwrap();
    let unscanned = |mut it: NewMessage| {
        it.recipients
            .iter_mut()
            .for_each(|it| it.state = State::Unscanned);
        it
    };
    store
        .accept(unscanned(message(3, "faktura", &["a.scr"])))
        .await
        .unwrap();
    let ours = NewMessage {
        client: String::new(),
        ..message(4, "faktura", &["a.scr"])
    };
    store.accept(ours).await.unwrap();
    let text = str::to_owned;
    let room = |id: &str| Aim::HoldAttachments(Some(RoomId::new(id)));
    #[rustfmt::skip]
    let cases: [(Aim, &[u64]); 11] = [
        (Aim::Subject(text("FAKTURA")), &[1]),
        (Aim::Sender(text("vakt@a.nodnett.test")), &[1, 2]),
        // Who stands in From.
        (Aim::Sender(text("leder@a.nodnett.test")), &[1, 2]),
        (Aim::Sender(text("leder@b.nodnett.test")), &[]),
        // It may be in an archive.
        (Aim::File(text("*.scr")), &[2]),
        (Aim::Hash(text(HASH)), &[2]),
        (Aim::HoldAttachments(None), &[2]),
        (room("room-a"), &[2]),
        (room("room-c"), &[2]),
        (room("room-d"), &[]),
        (Aim::Exception(Scope::Everything), &[]),
    ];
    for (aim, expected) in cases {
        let measures = Measures::new(vec![measure(1, aim.clone())]);
        let meant = to_scan_again(&store, &measures, NOW).await.unwrap();
        let meant: Vec<u64> = meant.into_iter().map(Reference::number).collect();
        assert_eq!(meant, expected, "{aim}");
        let later = NOW.after(Duration::from_secs(60));
        assert_eq!(
            to_scan_again(&store, &measures, later).await.unwrap(),
            [],
            "{aim}"
        );
    }
}

#[tokio::test]
async fn a_running_relay_sees_what_others_open_and_close() {
    let (ours, folder) = store();
    let others = again(&folder);
    let (sender, mut receiver) = tokio::sync::watch::channel(Arc::new(Measures::default()));
    let following = tokio::spawn(follow_measures(ours, sender));
    let now = Timestamp::now();
    let it = Measure {
        opened_at: now,
        until: now.after(Duration::from_secs(3600)),
        ..measure(1, Aim::Exception(Scope::Text))
    };
    others.open_measure(it.clone(), it.opened()).await.unwrap();
    let patience = Duration::from_secs(20);
    let seen = receiver.wait_for(|it| it.exception(now).is_some());
    drop(tokio::time::timeout(patience, seen).await.unwrap().unwrap());
    let closing = Closing {
        at: now,
        by: "ola".to_owned(),
    };
    let event = it.closed(&closing);
    assert!(others.close_measure(1, closing, event).await.unwrap());
    let gone = receiver.wait_for(|it| it.exception(now).is_none());
    drop(tokio::time::timeout(patience, gone).await.unwrap().unwrap());
    following.abort();
}
