//! Comments of a routing table's file, from the command line: they come back in an export, a change of them
//! alone is a revision of its own, and a revert gives them back.

use std::fs;

use crate::client::vakt;
use crate::relay::{Relay, Setup, column, room};

/// With a comment at each kind of place.
fn commented() -> String {
    let a = room(
        "a",
        "maildir:mail/a",
        "recipients = [\n  \"vakt\", # døgnet rundt\n  # \"leder\",\n]\n",
    );
    let b = room("b", "maildir:mail/b", "");
    format!(
        "# Sentraler i nord\n# Sist gått gjennom av Kari\n\n# Hovedsentral\n{}\n# Flytter til høsten\n{b}\
         # [[room.workstation]]\n# user = \"b-ws2\"\n\n# Slutt\n",
        a.replace("name =", "# som på skiltet\nname =")
    )
}

/// Each comment of a text, in its order.
fn comments(text: &str) -> Vec<&str> {
    let found = text
        .lines()
        .filter_map(|line| line.find('#').map(|at| line[at..].trim_end()));
    found.collect()
}

fn plan(relay: &Relay, table: &str) -> Vec<String> {
    fs::write(relay.path("new.toml"), table).unwrap();
    column(&relay.rows(&["route", "plan", "new.toml"]), "summary")
}

#[test]
fn an_export_has_every_comment_and_applies_to_no_difference() {
    let relay = Setup::no_rooms().routes(&commented()).prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let exported = relay.done(&["route", "export"]);
    assert_eq!(comments(&exported), comments(&commented()));
    for place in [
        "# Sist gått gjennom av Kari\n\n# Hovedsentral\n[[room]]\n",
        "# som på skiltet\nname = ",
        "recipients = [\n  \"vakt\", # døgnet rundt\n  # \"leder\",\n]\n",
        "\n\n# Flytter til høsten\n[[room]]\n",
        "\n# [[room.workstation]]\n# user = \"b-ws2\"\n\n# Slutt\n",
    ] {
        assert!(exported.contains(place), "{place}\n{exported}");
    }
    for table in [commented(), exported] {
        assert_eq!(plan(&relay, &table), [""; 0]);
        assert_eq!(
            relay.done(&["route", "apply", "new.toml"]),
            "No difference: revision 1 stays in force.\n"
        );
    }
}

#[test]
fn the_table_of_a_fresh_machine_keeps_what_it_explains() {
    let shipped = include_str!("../../config/routes.toml");
    let relay = Setup::no_rooms().routes(shipped).prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let exported = relay.done(&["route", "export"]);
    let sorted = |text: &str| {
        let mut found: Vec<String> = comments(text).into_iter().map(str::to_owned).collect();
        found.sort();
        found
    };
    assert_eq!(sorted(&exported), sorted(shipped));
    assert_eq!(plan(&relay, &exported), [""; 0]);
}

#[test]
fn a_change_of_comments_alone_is_a_revision_that_says_so() {
    let relay = Setup::no_rooms().routes(&commented()).start();
    let before = relay.done(&["route", "export"]);
    let moved = commented()
        .replace("til høsten", "til våren\u{9b}2J")
        .replace("# Slutt", "# Finis");
    assert_eq!(
        plan(&relay, &moved),
        ["room changed: comments", "table changed: comments"]
    );
    let told = relay.done(&["route", "apply", "new.toml"]);
    assert_eq!(
        told,
        "Revision 2 is in force: comments changed (room room-b, table itself)\n"
    );
    let rows = relay.rows(&["route", "history"]);
    assert_eq!(
        column(&rows, "summary")[0],
        "comments changed (room room-b, table itself)"
    );
    assert_eq!(
        relay.done(&["route", "diff", "1", "2"]),
        "room room-b changed\n  comments\ntable itself changed\n  comments\n"
    );
    // No terminal is told to do anything.
    let after = relay.done(&["route", "export"]);
    assert!(after.contains("# Flytter til våren 2J\n"), "{after}");
    relay.done(&["route", "revert", "1"]);
    assert_eq!(relay.done(&["route", "export"]), before);
    let mut client = relay.client("b");
    let reply = client.send(
        &vakt("b"),
        &[&vakt("a")],
        &crate::client::letter(&vakt("b"), &vakt("a")),
    );
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
}

#[test]
fn a_control_character_that_toml_forbids_is_named_by_its_line() {
    let relay = Setup::no_rooms().routes(&commented()).prepare();
    let table = commented().replace("som på", "som\u{7}på");
    fs::write(relay.path("new.toml"), &table).unwrap();
    let line = table.lines().position(|it| it.contains('\u{7}')).unwrap() + 1;
    let told = relay.fails(1, &["route", "apply", "new.toml"]);
    assert!(told.contains(&format!("new.toml: line {line}: ")), "{told}");
    assert!(!told.contains('\u{7}'), "{told}");
}

#[test]
fn a_comment_below_an_entry_stays_with_it_when_another_comes_behind() {
    let group = |name: &str| {
        format!("[[group]]\naddress = \"{name}@g.test\"\nmembers = [\"vakt@a.nodnett.test\"]\n")
    };
    let rooms = room("a", "maildir:mail/a", "") + &room("b", "maildir:mail/b", "");
    let gateway = "\n# Utenfra\n[[gateway]]\nname = \"inn\"\nnetwork = \"10.9.0.0/24\"\n";
    for (end, edit, summary) in [
        (
            "# Spør Kari\n",
            "redirect open room-b to room-a until 2h",
            "redirect added",
        ),
        (
            "# Spør Kari\n\n# Slutt\n",
            "redirect open room-b to room-a until 2h",
            "redirect added",
        ),
        (
            &["# Spør Kari\n", gateway].concat(),
            "group add to@g.test vakt@a.nodnett.test",
            "group added",
        ),
    ] {
        let table = [rooms.as_str(), &group("en"), end].concat();
        let relay = Setup::no_rooms().routes(&table).prepare();
        relay.done(&["route", "apply", "routes.toml"]);
        let edit: Vec<&str> = ["route"].into_iter().chain(edit.split(' ')).collect();
        let rows = relay.rows(&[edit.clone(), vec!["--plan"]].concat());
        assert_eq!(column(&rows, "summary"), [summary], "{end}");
        relay.done(&edit);
        let exported = relay.done(&["route", "export"]);
        let kept = format!("{}# Spør Kari\n\n", group("en"));
        assert!(exported.contains(&kept), "{exported}");
    }
}
