//! What a plan tells before a routing table is applied: its mistakes, its difference, and whose real mail
//! would fare otherwise. And that it changes nothing.

use std::fs;

use serde_json::Value;

use crate::client::{Client, letter, vakt};
use crate::relay::{Relay, Setup, column, room};
use crate::sink::{Sink, Stage, Step};

const GATEWAY: &str = "127.0.9.1";
const OUTSIDE: &str = "lege@example.com";
const GROUP: &str = "alle@gruppe.nodnett.test";
const GROUP_OF_ALL: &str = "[[group]]\naddress = \"alle@gruppe.nodnett.test\"\n\
    members = [\"vakt@b.nodnett.test\", \"vakt@c.nodnett.test\"]\n";
const INN: &str = "[[gateway]]\nname = \"inn\"\nnetwork = \"127.0.9.0/24\"\n";

fn lettered(letter: &str) -> String {
    room(letter, &format!("maildir:mail/{letter}"), "")
}

fn all() -> String {
    let rooms = ["a", "b", "c"].map(lettered).concat();
    [&rooms, GROUP_OF_ALL, INN].concat()
}

/// Two messages from `a` to `b`, one to the group, and one from outside to `b`.
fn with_mail() -> Relay {
    let relay = Setup::no_rooms().routes(&all()).start();
    let mut client = relay.client("a");
    for recipient in [&vakt("b"), &vakt("b"), GROUP] {
        let reply = client.send(&vakt("a"), &[recipient], &letter(&vakt("a"), recipient));
        assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    }
    let mut client = Client::greeted(relay.port, GATEWAY);
    let reply = client.send(OUTSIDE, &[&vakt("b")], &letter(OUTSIDE, &vakt("b")));
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    relay
}

fn write(relay: &Relay, table: &str) {
    fs::write(relay.path("new.toml"), table).unwrap();
}

fn rows(relay: &Relay, table: &str) -> Vec<Value> {
    write(relay, table);
    relay.rows(&["route", "plan", "new.toml"])
}

/// `sender recipient messages` of the mail that would fare otherwise.
fn traffic(rows: &[Value]) -> Vec<String> {
    let told = |it: &Value| {
        let text = |field: &str| it[field].as_str().unwrap().to_owned();
        format!(
            "{} {} {}",
            text("sender"),
            text("recipient"),
            it["messages"]
        )
    };
    let traffic = rows.iter().filter(|it| it["kind"] == "traffic");
    traffic.map(told).collect()
}

#[test]
fn a_plan_tells_whose_mail_would_be_refused() {
    let relay = with_mail();
    // Room c is gone, the group with it, and b takes nothing from a.
    let table = [
        &lettered("a"),
        &room("b", "maildir:mail/b", "accepts_from = []\n"),
        INN,
    ]
    .map(|it| it as &str)
    .concat();
    let rows = rows(&relay, &table);
    let changes: Vec<_> = rows.iter().filter(|it| it["kind"] == "change").collect();
    let summaries: Vec<_> = changes.iter().map(|it| &it["summary"]).collect();
    assert_eq!(
        summaries,
        [
            "room changed: accepts_from \"any\" → []",
            "room removed",
            "group removed"
        ]
    );
    assert_eq!(changes[0]["room"], "room-b");
    assert_eq!(changes[1]["room"], "room-c");
    // Both members were reached through the group; mail from outside still passes.
    let [a, b, c] = ["a", "b", "c"].map(vakt);
    assert_eq!(
        traffic(&rows),
        [
            format!("{a} {b} 2"),
            format!("{a} {b} 1"),
            format!("{a} {c} 1")
        ]
    );
    let first = rows.iter().find(|it| it["kind"] == "traffic").unwrap();
    assert_eq!(first["before"], "accept: room-b by maildir:mail/b");
    assert_eq!(
        first["after"],
        "refuse: room \"room-b\" accepts from no room, not from \"room-a\""
    );
    let told = relay.done(&["route", "plan", "new.toml"]);
    for line in [
        "room room-b changed\n  accepts_from \"any\" → []\n",
        "3 pairs would be refused from now on (4 messages last week):\n",
        "  vakt@a.nodnett.test to vakt@b.nodnett.test (2 messages)\n    before accept: room-b",
        "through alle@gruppe.nodnett.test (1 message)\n",
        "Revision 1 is in force. To apply this: ilbud route apply new.toml --expect 1\n",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
}

#[test]
fn a_plan_changes_nothing_and_what_it_tells_to_do_works() {
    let relay = with_mail();
    let before = relay.done(&["route", "export"]);
    let table = all().replace("maildir:mail/b", "maildir:mail/elsewhere");
    let found = rows(&relay, &table);
    // The members of the group, those who write directly, and mail from outside.
    assert_eq!(traffic(&found).len(), 3, "{found:?}");
    let told = relay.done(&["route", "plan", "new.toml", "--days", "2"]);
    let line = "3 pairs would go another way from now on (4 messages in the last 2 days):\n";
    assert!(told.contains(line), "{told}");
    assert_eq!(relay.done(&["route", "export"]), before);
    let history = relay.rows(&["route", "history"]);
    assert_eq!(column(&history, "revision"), ["1"]);
    relay.done(&["route", "apply", "new.toml", "--expect", "1"]);
    // A plan after apply is empty.
    assert!(relay.rows(&["route", "plan", "new.toml"]).is_empty());
    assert_eq!(
        relay.done(&["route", "plan", "new.toml"]),
        "No difference: revision 2 stays in force.\n"
    );
    // And so is one of the export, and of the way back.
    fs::write(relay.path("old.toml"), &before).unwrap();
    assert_eq!(
        relay.rows(&["route", "plan", "old.toml"]).len(),
        found.len()
    );
    relay.done(&["route", "revert", "1"]);
    assert!(relay.rows(&["route", "plan", "old.toml"]).is_empty());
}

/// Tables of every shape: each plan after its own apply is empty, and its plan before tells something.
#[test]
fn a_plan_after_apply_is_empty() {
    let relay = Setup::no_rooms().routes(&all()).prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let extras = [
        "",
        "recipients = [\"vakt\", \"leder\"]\npriority_ceiling = 0\n",
        "accepts_from = [\"room-a\"]\n[room.strictness]\nmissing_tls = \"warn\"\n",
        "warn_after = \"3m\"\n[room.scan]\non_failure = \"reject\"\n",
    ];
    let hops = [
        "maildir:mail/b",
        "smtps://u:one@127.0.0.1:465",
        "smtps://u:two@127.0.0.1:465",
    ];
    let ends = [
        "",
        GROUP_OF_ALL,
        INN,
        "[[redirect]]\nroom = \"room-b\"\nto = \"room-a\"\n",
    ];
    let mut before = String::new();
    for extra in extras {
        for hop in hops {
            for end in ends {
                let (a, b, c) = (lettered("a"), room("b", hop, extra), lettered("c"));
                let table = [&a, &b, &c, end].map(|it| it as &str).concat();
                let shown = format!("{before}\n---\n{table}");
                assert!(!rows(&relay, &table).is_empty(), "{shown}");
                relay.done(&["route", "apply", "new.toml"]);
                assert!(
                    relay.rows(&["route", "plan", "new.toml"]).is_empty(),
                    "{shown}"
                );
                before = table;
            }
        }
    }
}

#[test]
fn a_plan_tells_every_mistake_and_warns() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let mistakes = all()
        .replacen("kind = \"amk\"", "kind = \"amkk\"", 1)
        .replace("members = [", "members = [\"vakt@x.nodnett.test\", ");
    write(&relay, &mistakes);
    let complaint = relay.fails(1, &["route", "plan", "new.toml"]);
    let apply = relay.fails(1, &["route", "apply", "new.toml"]);
    assert_eq!(complaint, apply);
    for word in [
        "new.toml: line 4: ",
        "it is one of amk, legevakt",
        "vakt@x.nodnett.test",
    ] {
        assert!(complaint.contains(word), "{word}: {complaint}");
    }
    relay.fails(1, &["route", "plan", "nowhere.toml"]);
    relay.fails(2, &["route", "plan", "new.toml", "--days", "0"]);
    let extra = "warn_after = \"3h\"\ngive_up_after = \"2h\"\n";
    write(
        &relay,
        &["a", "b", "c"]
            .map(|it| room(it, "maildir:m", extra))
            .concat(),
    );
    let output = relay.run(&["route", "plan", "new.toml"]);
    assert!(output.status.success());
    let warnings = String::from_utf8(output.stderr).unwrap();
    assert!(
        warnings.contains("warning: new.toml: line 1: room \"room-a\": nobody is warned"),
        "{warnings}"
    );
}

#[test]
fn a_first_table_is_planned_too() {
    let relay = Setup::three_rooms().prepare();
    let rows = relay.rows(&["route", "plan", "routes.toml"]);
    assert_eq!(column(&rows, "summary"), ["room added"; 3]);
    let told = relay.done(&["route", "plan", "routes.toml"]);
    let line =
        "No table is in force yet. To apply this: ilbud route apply routes.toml --expect 0\n";
    assert!(told.ends_with(line), "{told}");
    relay.done(&["route", "apply", "routes.toml", "--expect", "0"]);
}

#[test]
fn a_plan_shows_no_password() {
    let relay = Setup::no_rooms()
        .room("a", "maildir:mail/a")
        .room("b", "smtps://relay:s3cret@127.0.0.1:465")
        .prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let table = fs::read_to_string(relay.path("routes.toml")).unwrap();
    write(&relay, &table.replace("s3cret", "h3mmelig"));
    for command in [
        &["route", "plan", "new.toml"] as &[&str],
        &["route", "plan", "new.toml", "--json"],
    ] {
        let told = relay.done(command);
        assert!(told.contains("with another password"), "{told}");
        assert!(
            !told.contains("s3cret") && !told.contains("h3mmelig"),
            "{told}"
        );
    }
}

#[test]
fn a_file_that_is_empty_is_no_table() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    // As a shell leaves it where `route export >file` has failed.
    fs::write(relay.path("empty.toml"), "\n").unwrap();
    for command in ["plan", "apply"] {
        let told = relay.fails(1, &["route", command, "empty.toml"]);
        assert_eq!(
            told,
            "ilbud: empty.toml: there is nothing in it; begin with what ilbud route export prints\n"
        );
    }
    assert_eq!(relay.rows(&["route", "history"]).len(), 1);
}

#[test]
fn a_mistake_in_a_next_hop_shows_no_password() {
    let relay = Setup::three_rooms().prepare();
    for hop in [
        "smtp://ilbud:hemmelig",
        "smtp://ilbud:hemmelig:25",
        "smtp://ilbud:hemmelig/25",
    ] {
        fs::write(relay.path("new.toml"), room("a", hop, "")).unwrap();
        for command in ["plan", "apply"] {
            let told = relay.fails(1, &["route", command, "new.toml"]);
            assert!(told.contains("is no port"), "{told}");
            assert!(!told.contains("hemmelig"), "{told}");
        }
    }
}

#[test]
fn a_report_of_our_own_waits_where_mail_is_refused() {
    let away = Sink::scripted(|stage, _, _| match stage {
        Stage::Rcpt => Step::Say("550 5.2.1 mailbox is closed"),
        _ => Step::Agree,
    });
    let relay = Setup::from_a_to(&away.hop()).start();
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    relay.expect_events(&reply.reference(), &["accepted", "failed", "bounced"]);
    let disable = ["route", "room", "disable", "room-a", "--plan"];
    let rows = relay.rows(&disable);
    let rows: Vec<_> = rows.iter().filter(|it| it["kind"] == "traffic").collect();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["recipient"], vakt("a"));
    assert_eq!(rows[0]["after"], "wait: room \"room-a\" is disabled");
    let told = relay.done(&disable);
    let line = "1 pair would wait from now on (1 message last week):\n";
    assert!(told.contains(line), "{told}");
}
