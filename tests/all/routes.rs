//! The routing table from the command line, while the relay runs and while it does not.

use std::fs;
use std::time::Duration;

use crate::client::vakt;
use crate::relay::{Relay, Setup, column, room};
use crate::wait;

const PROMISED: Duration = Duration::from_secs(1);

fn two_rooms() -> String {
    ["a", "b"]
        .map(|l| room(l, &format!("maildir:mail/{l}"), ""))
        .concat()
}

fn takes(relay: &Relay, recipient: &str) -> bool {
    let mut client = relay.client("a");
    client.envelope(&vakt("a"), &[recipient], "").is_none()
}

#[test]
fn a_table_applied_is_in_force_within_a_second() {
    let relay = Setup::three_rooms().start();
    assert!(takes(&relay, &vakt("c")));
    relay.apply(&two_rooms());
    assert!(wait::within(PROMISED, || !takes(&relay, &vakt("c"))));
    relay.apply(&[two_rooms(), room("c", "maildir:mail/c", "")].concat());
    assert!(wait::within(PROMISED, || takes(&relay, &vakt("c"))));
    let history = relay.rows(&["route", "history"]);
    assert_eq!(column(&history, "revision"), ["3", "2", "1"]);
    for field in ["at", "by", "reason", "summary"] {
        assert!(history[0].get(field).is_some(), "{field}: {}", history[0]);
    }
}

#[test]
fn a_transaction_keeps_the_table_it_began_with() {
    let relay = Setup::three_rooms().start();
    let mut client = relay.client("a");
    assert_eq!(client.say("MAIL FROM:<vakt@a.nodnett.test>").code, 250);
    relay.apply(&two_rooms());
    assert!(wait::within(PROMISED, || !takes(&relay, &vakt("c"))));
    assert_eq!(client.say("RCPT TO:<vakt@c.nodnett.test>").code, 250);
}

#[test]
fn an_export_applies_to_no_difference() {
    let rich = "recipients = [\"vakt\", \"\u{f8}yvind\"]\naccepts_from = [\"room-a\"]\n\
        [[room.workstation]]\nnetwork = \"127.0.2.0/24\"\n\
        [[room.workstation]]\ncertificate = \"ws1.b.nodnett.test\"\n\
        [[room.workstation]]\nuser = \"b-ws3\"\n";
    let relay = Setup::no_rooms()
        .room("a", "maildir:mail/a")
        .room_with("b", "smtps://user:p%40ss@127.0.0.1:465?tls=required", rich)
        .routes(
            "[[group]]\naddress = \"alle@gruppe.nodnett.test\"\n\
             members = [\"vakt@a.nodnett.test\", \"vakt@b.nodnett.test\"]\n\
             [[gateway]]\nname = \"inn\"\nnetwork = \"127.0.9.0/24\"\n\
             [[redirect]]\nroom = \"room-b\"\nto = \"room-a\"\n\
             from = 2026-11-22T20:00:00+01:00\nuntil = 2026-11-23T07:00:00+01:00\n\
             reason = \"Flytting \\\"av\\\" sentral\"\n",
        )
        .prepare();
    let first = {
        relay.done(&["route", "apply", "routes.toml"]);
        relay.done(&["route", "export"])
    };
    assert_eq!(first.matches("[[room]]").count(), 2, "{first}");
    relay.apply(&first);
    assert_eq!(relay.done(&["route", "export"]), first);
    for word in [
        "\u{f8}yvind",
        "ws1.b.nodnett.test",
        "b-ws3",
        "Flytting",
        "accepts_from",
    ] {
        assert!(first.contains(word), "{word} is lost: {first}");
    }
}

const BROKEN: &[(&str, &str)] = &[
    ("bad syntax", "[[room]\n"),
    (
        "a duplicate id",
        "[[room]]\nid = \"room-a\"\nname = \"A\"\ndomains = [\"z.test\"]\nnext_hops = [\"maildir:z\"]\n",
    ),
    (
        "a duplicate domain",
        "[[room]]\nid = \"z\"\nname = \"Z\"\ndomains = [\"A.nodnett.test\"]\nnext_hops = [\"maildir:z\"]\n",
    ),
    (
        "an unknown room",
        "[[redirect]]\nroom = \"room-x\"\nto = \"room-a\"\nfrom = 2026-11-22T20:00:00+01:00\nuntil = 2026-11-23T07:00:00+01:00\n",
    ),
    (
        "an unknown member",
        "[[group]]\naddress = \"alle@g.test\"\nmembers = [\"vakt@x.nodnett.test\"]\n",
    ),
    (
        "a group in a circle",
        "[[group]]\naddress = \"x@g.test\"\nmembers = [\"y@g.test\"]\n[[group]]\naddress = \"y@g.test\"\nmembers = [\"x@g.test\"]\n",
    ),
    (
        "an unknown kind",
        "[[room]]\nid = \"z\"\nname = \"Z\"\nkind = \"amkk\"\ndomains = [\"z.test\"]\nnext_hops = [\"maildir:z\"]\n",
    ),
    (
        "an unknown scheme",
        "[[room]]\nid = \"z\"\nname = \"Z\"\ndomains = [\"z.test\"]\nnext_hops = [\"http://z\"]\n",
    ),
    (
        "an unknown key",
        "[[room]]\nid = \"z\"\nname = \"Z\"\ndomain = [\"z.test\"]\nnext_hops = [\"maildir:z\"]\n",
    ),
    (
        "a missing key",
        "[[room]]\nid = \"z\"\ndomains = [\"z.test\"]\nnext_hops = [\"maildir:z\"]\n",
    ),
];

#[test]
fn a_broken_table_is_refused_whole() {
    let relay = Setup::three_rooms().start();
    for (what, addition) in BROKEN {
        let file = relay.path("broken.toml");
        fs::write(&file, [&two_rooms(), *addition].concat()).unwrap();
        let complaint = relay.fails(1, &["route", "apply", "broken.toml"]);
        assert!(complaint.trim().len() > 10, "{what}: {complaint:?}");
    }
    assert_eq!(
        column(&relay.rows(&["route", "history"]), "revision"),
        ["1"]
    );
    assert!(takes(&relay, &vakt("c")));
}

#[test]
fn every_mistake_is_told_at_once() {
    let relay = Setup::three_rooms().prepare();
    let mistakes = [BROKEN[1].1, BROKEN[6].1, BROKEN[7].1].concat();
    fs::write(relay.path("broken.toml"), [two_rooms(), mistakes].concat()).unwrap();
    let complaint = relay.fails(1, &["route", "apply", "broken.toml"]);
    for word in ["room-a", "amkk", "http"] {
        assert!(complaint.contains(word), "{word}: {complaint}");
    }
}

#[test]
fn a_decision_is_explained() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let explain = |from: &str, to: &str| relay.rows(&["route", "explain", from, to])[0].clone();
    let accepted = explain(&vakt("a"), &vakt("b"));
    assert_eq!(accepted["decision"], "accept");
    assert_eq!(accepted["revision"], 1);
    assert_eq!(accepted["recipient_room"], "room-b");
    assert_eq!(accepted["next_hops"], serde_json::json!(["maildir:mail/b"]));
    let refused = explain(&vakt("a"), "x@example.com");
    assert_eq!(refused["decision"], "refuse");
    assert!(
        refused["reply"].as_str().unwrap().starts_with("550 5.7.1"),
        "{refused}"
    );
    let stranger = relay.rows(&[
        "route",
        "explain",
        &vakt("a"),
        &vakt("b"),
        "--client",
        "127.0.9.9",
    ])[0]
        .clone();
    assert_eq!(stranger["decision"], "refuse", "{stranger}");
}

#[test]
fn an_apply_that_expects_another_revision_is_refused() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    relay.fails(1, &["route", "apply", "routes.toml", "--expect", "7"]);
    relay.apply(&two_rooms());
    assert_eq!(
        column(&relay.rows(&["route", "history"]), "revision"),
        ["2", "1"]
    );
}

/// Room `b` behind a hop that wants a password.
fn with_password(password: &str) -> String {
    let hop = format!("smtps://relay:{password}@127.0.0.1:465");
    [room("a", "maildir:mail/a", ""), room("b", &hop, "")].concat()
}

/// Revisions 1: three rooms; 2: `b` asks for a password; 3: another password.
fn three_revisions() -> Relay {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml", "--reason", "Start"]);
    relay.apply(&with_password("s3cret"));
    relay.apply(&with_password("h3mmelig"));
    relay
}

#[test]
fn an_old_table_is_shown_as_it_was_exported() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml", "--reason", "Start"]);
    let exported = relay.done(&["route", "export"]);
    relay.apply(&two_rooms());
    assert_eq!(relay.done(&["route", "show", "1"]), exported);
    let row = &relay.rows(&["route", "show", "1"])[0];
    assert_eq!(row["revision"], 1);
    assert_eq!(row["reason"], "Start");
    assert!(row["summary"].as_str().unwrap().contains("3 rooms"));
    assert!(row["at"].is_string() && row["by"].is_string(), "{row}");
}

#[test]
fn a_difference_names_rooms_and_keys_and_no_password() {
    let relay = three_revisions();
    let rows = relay.rows(&["route", "diff", "1", "2"]);
    assert_eq!(column(&rows, "room"), ["room-b", "room-c"]);
    assert_eq!(column(&rows, "kind"), ["change", "change"]);
    assert_eq!(
        column(&rows, "summary"),
        [
            "room changed: next_hops [\"maildir:mail/b\"] → [\"smtps://relay@127.0.0.1:465\"]",
            "room removed"
        ]
    );
    let told = relay.done(&["route", "diff", "2", "3"]);
    assert_eq!(
        told,
        "room room-b changed\n  next_hops with another password\n"
    );
    let json = relay.done(&["route", "diff", "2", "3", "--json"]);
    for password in ["s3cret", "h3mmelig"] {
        assert!(!told.contains(password) && !json.contains(password));
    }
    assert!(relay.rows(&["route", "diff", "2", "2"]).is_empty());
    assert_eq!(
        relay.done(&["route", "diff", "2", "2"]),
        "No difference between revision 2 and revision 2.\n"
    );
}

#[test]
fn a_difference_knows_groups_gateways_and_redirects_too() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let more = "[[group]]\naddress = \"alle@gruppe.nodnett.test\"\nmembers = [\"vakt@a.nodnett.test\"]\n\
        [[gateway]]\nname = \"inn\"\nnetwork = \"127.0.9.0/24\"\n\
        [[redirect]]\nroom = \"room-b\"\nto = \"room-a\"\n";
    let table = relay.done(&["route", "export"]);
    relay.apply(&[&table, more].concat());
    relay.apply(&[&table, &*more.replace("127.0.9.0/24", "127.0.8.0/24")].concat());
    assert_eq!(
        relay.done(&["route", "diff", "1", "2"]),
        "group alle@gruppe.nodnett.test added\ngateway inn added\nredirect room-b added\n"
    );
    assert_eq!(
        relay.done(&["route", "diff", "2", "3"]),
        "gateway inn changed\n  network \"127.0.9.0/24\" → \"127.0.8.0/24\"\n"
    );
}

#[test]
fn a_revert_gives_back_the_same_bytes() {
    let relay = Setup::three_rooms().start();
    let exported = relay.done(&["route", "export"]);
    relay.apply(&with_password("s3cret"));
    assert!(wait::within(PROMISED, || !takes(&relay, &vakt("c"))));
    relay.done(&["route", "revert", "1", "--reason", "Feil", "--expect", "2"]);
    assert_eq!(relay.done(&["route", "export"]), exported);
    assert!(wait::within(PROMISED, || takes(&relay, &vakt("c"))));
    relay.done(&["route", "revert", "2"]);
    let history = relay.rows(&["route", "history"]);
    assert_eq!(column(&history, "revision"), ["4", "3", "2", "1"]);
    assert_eq!(history[1]["reason"], "Feil");
    assert_eq!(history[0]["reason"], "back to revision 2");
    assert_eq!(
        relay.done(&["route", "show", "4"]),
        relay.done(&["route", "show", "2"])
    );
}

#[test]
fn a_revert_without_a_difference_makes_no_revision() {
    let relay = three_revisions();
    let told = relay.done(&["route", "revert", "3"]);
    assert_eq!(told, "No difference: revision 3 stays in force.\n");
    relay.fails(1, &["route", "revert", "1", "--expect", "2"]);
    let history = relay.rows(&["route", "history"]);
    assert_eq!(column(&history, "revision"), ["3", "2", "1"]);
}

#[test]
fn a_revision_that_is_not_there_is_one_clear_error() {
    let relay = three_revisions();
    for command in [
        &["route", "show", "9"] as &[&str],
        &["route", "diff", "9", "1"],
        &["route", "diff", "1", "9"],
        &["route", "revert", "9"],
    ] {
        let complaint = relay.fails(1, command);
        assert_eq!(
            complaint,
            "ilbud: there is no revision 9; the newest is 3; see: ilbud route history\n"
        );
    }
    let empty = Setup::no_rooms().prepare();
    let complaint = empty.fails(1, &["route", "show", "1"]);
    assert!(complaint.contains("there is no routing table yet"));
}
