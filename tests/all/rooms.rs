//! What the routing table says is what happens: mailboxes, groups, redirects, who accepts from whom.

use crate::client::{letter, vakt};
use crate::relay::{Relay, Setup, column, room};
use crate::wait;

fn statuses(relay: &Relay, reference: &str) -> Vec<String> {
    let rows = relay.rows(&["log", "search", reference]);
    let mut statuses: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {}", row["recipient"], row["status"]).replace('"', ""))
        .collect();
    statuses.sort();
    statuses
}

#[test]
fn an_unknown_mailbox_is_answered_with_the_nearest_known() {
    let relay = Setup::no_rooms()
        .room("a", "maildir:mail/a")
        .room_with("b", "maildir:mail/b", "recipients = [\"vakt\", \"leder\"]")
        .start();
    for (mailbox, nearest) in [
        ("vaktt", "vakt@b.nodnett.test"),
        ("ledr", "leder@b.nodnett.test"),
    ] {
        let to = format!("{mailbox}@b.nodnett.test");
        let reply = relay.client("a").send(&vakt("a"), &[&to], b"");
        assert_eq!(reply.said(), "550 5.1.1", "{reply}");
        assert!(reply.text().contains(nearest), "{reply}");
        assert_eq!(
            relay.refusal(&reply.reference())["recipient_room"],
            "room-b"
        );
    }
    let far = relay
        .client("a")
        .send(&vakt("a"), &["zzzzzzzz@b.nodnett.test"], b"");
    assert_eq!(far.said(), "550 5.1.1", "{far}");
    assert!(!far.text().contains("vakt@"), "{far}");
    let known = relay.client("a").send(
        &vakt("a"),
        &["VAKT@b.nodnett.test"],
        &letter(&vakt("a"), &vakt("b")),
    );
    assert_eq!(known.said(), "250 2.0.0", "{known}");
}

#[test]
fn a_room_chooses_from_whom_it_takes_mail() {
    let relay = Setup::no_rooms()
        .room("a", "maildir:mail/a")
        .room_with("b", "maildir:mail/b", "accepts_from = [\"room-c\"]")
        .room("c", "maildir:mail/c")
        .routes("[[gateway]]\nname = \"inn\"\nnetwork = \"127.0.9.0/24\"\n")
        .start();
    let refused = relay.client("a").send(&vakt("a"), &[&vakt("b")], b"");
    assert_eq!(refused.said(), "550 5.7.1", "{refused}");
    let row = relay.refusal(&refused.reference());
    assert_eq!(row["recipient_room"], "room-b");
    let taken = relay
        .client("c")
        .send(&vakt("c"), &[&vakt("b")], &letter(&vakt("c"), &vakt("b")));
    assert_eq!(taken.said(), "250 2.0.0", "{taken}");
    let outside = "lege@example.com";
    let gateway = crate::client::Client::greeted(relay.port, "127.0.9.1").send(
        outside,
        &[&vakt("b")],
        &letter(outside, &vakt("b")),
    );
    assert_eq!(gateway.said(), "250 2.0.0", "{gateway}");
}

const GROUP: &str = "[[group]]\naddress = \"alle@gruppe.nodnett.test\"\n\
    members = [\"vakt@a.nodnett.test\", \"vakt@b.nodnett.test\", \"vakt@c.nodnett.test\"]\n";

#[test]
fn a_group_reaches_each_member_once() {
    let relay = Setup::three_rooms().routes(GROUP).start();
    let to = [
        "alle@gruppe.nodnett.test",
        "vakt@b.nodnett.test",
        "ALLE@gruppe.nodnett.test",
    ];
    let reply = relay
        .client("a")
        .send(&vakt("a"), &to, &letter(&vakt("a"), to[0]));
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    let expected = ["a", "b", "c"].map(|l| format!("{} delivered", vakt(l)));
    wait::until("each member", || {
        statuses(&relay, &reply.reference()) == expected
    });
    for letter_of in ["a", "b", "c"] {
        assert_eq!(
            relay.maildir(letter_of, "vakt").len(),
            1,
            "room {letter_of}"
        );
    }
}

#[test]
fn a_member_that_refuses_is_left_out_with_a_row() {
    let relay = Setup::no_rooms()
        .room("a", "maildir:mail/a")
        .room("b", "maildir:mail/b")
        .room_with("c", "maildir:mail/c", "accepts_from = [\"room-b\"]")
        .routes(GROUP)
        .start();
    let group = "alle@gruppe.nodnett.test";
    let reply = relay
        .client("a")
        .send(&vakt("a"), &[group], &letter(&vakt("a"), group));
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    wait::until("the others", || {
        relay.maildir("a", "vakt").len() + relay.maildir("b", "vakt").len() == 2
    });
    assert_eq!(relay.maildir("c", "vakt").len(), 0);
    let events = relay.rows(&["log", "show", &reply.reference()]);
    let left_out: Vec<_> = events.iter().filter(|e| e["event"] == "left out").collect();
    assert_eq!(left_out.len(), 1, "{events:?}");
    assert_eq!(left_out[0]["recipient"], "vakt@c.nodnett.test");
}

fn redirect(from: &str, until: &str) -> String {
    format!(
        "[[redirect]]\nroom = \"room-b\"\nto = \"room-c\"\nfrom = {from}\nuntil = {until}\n\
         reason = \"Flytting av sentral\"\n"
    )
}

#[test]
fn a_redirect_changes_where_mail_goes_and_not_whom_it_is_for() {
    let relay = Setup::three_rooms()
        .routes(&redirect(
            "2020-01-01T00:00:00+01:00",
            "2099-01-01T00:00:00+01:00",
        ))
        .start();
    let reply = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    assert_eq!(
        statuses(&relay, &reply.reference()),
        ["vakt@b.nodnett.test delivered"]
    );
    assert_eq!(relay.maildir("b", "vakt").len(), 0);
    let explained = &relay.rows(&["route", "explain", &vakt("a"), &vakt("b")])[0];
    assert_eq!(explained["recipient_room"], "room-b");
    assert_eq!(
        explained["next_hops"],
        serde_json::json!(["maildir:mail/c"])
    );
}

#[test]
fn a_redirect_ends() {
    let relay = Setup::three_rooms()
        .routes(&redirect(
            "2020-01-01T00:00:00+01:00",
            "2021-01-01T00:00:00+01:00",
        ))
        .start();
    let reply = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    assert_eq!(relay.maildir("b", "vakt").len(), 1);
}

#[test]
fn next_hops_are_tried_in_order() {
    let sink = crate::sink::Sink::start();
    let dead = format!(
        "smtp://127.0.0.1:{}\", \"{}",
        crate::relay::free_port(),
        sink.hop()
    );
    let relay = Setup::from_a_to(&dead).start();
    let reply = relay
        .client("a")
        .send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    sink.wait_for(1);
    wait::until("the delivery's row", || {
        statuses(&relay, &reply.reference()) == ["vakt@b.nodnett.test delivered"]
    });
    let events = relay.rows(&["log", "show", &reply.reference()]);
    assert_eq!(events.last().unwrap()["hop"], sink.hop());
}

#[test]
fn the_postmaster_is_a_rooms_address() {
    let unset = Setup::three_rooms().start();
    let reply = unset.client("a").send(&vakt("a"), &["postmaster"], b"");
    assert_eq!(reply.said(), "550 5.1.1", "{reply}");
    let set = Setup::three_rooms();
    let relay = set.postmaster("vakt@c.nodnett.test").start();
    let taken =
        relay
            .client("a")
            .send(&vakt("a"), &["Postmaster"], &letter(&vakt("a"), &vakt("c")));
    assert_eq!(taken.said(), "250 2.0.0", "{taken}");
    relay.expect_events(&taken.reference(), &["accepted", "delivered"]);
    assert_eq!(relay.maildir("c", "vakt").len(), 1);
}

#[test]
fn the_rule_and_revision_stand_in_the_log() {
    let relay = Setup::three_rooms().start();
    relay.apply(
        &["a", "b"]
            .map(|l| room(l, &format!("maildir:mail/{l}"), ""))
            .concat(),
    );
    let accepted = || {
        let reply =
            relay
                .client("a")
                .send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
        relay.rows(&["log", "show", &reply.reference()])[0].clone()
    };
    wait::until("revision 2 in force", || accepted()["revision"] == 2);
    let rows = relay.rows(&["route", "history"]);
    assert_eq!(column(&rows, "revision"), ["2", "1"]);
    assert!(accepted()["rule"].is_string());
}
