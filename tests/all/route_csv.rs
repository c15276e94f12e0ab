//! Lists of rooms and workstations: out of the table as CSV and into it, from the command line.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use crate::client::vakt;
use crate::relay::{Relay, Setup, column, room};
use crate::wait;

fn write(relay: &Relay, bytes: impl AsRef<[u8]>) {
    fs::write(relay.path("list.csv"), bytes).unwrap();
}

fn import<'a>(list: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["route", "csv", "import", list, "list.csv"], more].concat()
}

fn takes(relay: &Relay, letter: &str) -> bool {
    let mut client = relay.client("a");
    client.envelope(&vakt("a"), &[&vakt(letter)], "").is_none()
}

#[test]
fn a_list_of_rooms_is_in_force_within_a_second() {
    let relay = Setup::three_rooms().start();
    // As a spreadsheet in Norwegian saves it.
    let list = "id;name;phone;domains;next_hops\r\n\
        room-a;Legevakt \u{d8}yer;+47 22;a.nodnett.test;maildir:mail/a\r\n\
        room-d;Ny;;d.nodnett.test;maildir:mail/d\r\n";
    let latin: Vec<u8> = list
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    write(&relay, latin);
    let told = relay.done(&import("rooms", &["--reason", "list of November"]));
    assert_eq!(
        told,
        "Revision 2 is in force: 1 room added (room-d), 1 room changed (room-a)\n"
    );
    wait::until("the new room", || takes(&relay, "d"));
    let export = relay.done(&["route", "export"]);
    assert!(
        export.contains("name = \"Legevakt \u{d8}yer\"\n"),
        "{export}"
    );
    assert!(export.contains("phone = \"+47 22\"\n"), "{export}");
    let history = relay.rows(&["route", "history"]);
    assert_eq!(history[0]["reason"], "list of November");
    // The same again is no difference.
    let told = relay.done(&import("rooms", &[]));
    assert_eq!(told, "No difference: revision 2 stays in force.\n");
}

#[test]
fn what_is_exported_imports_to_no_difference() {
    let relay = Setup::three_rooms()
        .routes(&room(
            "d",
            "smtp://user:p%40ss@127.0.0.1:25?tls=required",
            "recipients = [\"=1+1\", \"\u{f8}yvind\"]\naccepts_from = []\n\
             [room.strictness]\nmissing_tls = \"warn\"\n[[room.workstation]]\nuser = \"d1\"\n",
        ))
        .prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    for list in ["rooms", "workstations"] {
        for semicolon in [&[][..], &["--semicolon"]] {
            let csv = relay.done(&[&["route", "csv", "export", list], semicolon].concat());
            write(&relay, &csv);
            let told = relay.done(&import(list, &["--replace"]));
            assert_eq!(told, "No difference: revision 1 stays in force.\n", "{csv}");
        }
    }
    let csv = relay.done(&["route", "csv", "export", "rooms"]);
    assert!(csv.starts_with("id,name,kind,phone,"), "{csv}");
    assert!(csv.contains(",'=1+1 | "), "no formula: {csv}");
}

#[test]
fn mistakes_are_told_by_row_and_change_nothing() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    write(
        &relay,
        "id,name,domains,next_hops,kind\nroom-d,D,a.nodnett.test,maildir:d,\n\n\
         room-e,E,e.nodnett.test,ftp://x,ambulanse\n",
    );
    let said = relay.fails(1, &import("rooms", &[]));
    for line in [
        "ilbud: list.csv: row 2 (room-d), column domains: domain \"a.nodnett.test\" already belongs to room \"room-a\"",
        "ilbud: list.csv: row 4 (room-e), column next_hops: ",
        "ilbud: list.csv: row 4 (room-e), column kind: ",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("line "), "{said}");
    write(&relay, "room,network\nroom-x,10.0.0.0/8\nroom-a,10.0.0\n");
    let said = relay.fails(1, &import("workstations", &[]));
    assert!(
        said.contains("list.csv: row 2: there is no room \"room-x\"; did you mean"),
        "{said}"
    );
    assert!(
        said.contains("list.csv: row 3: column network: \"10.0.0\" is no network"),
        "{said}"
    );
    write(&relay, b"PK\x03\x04xl/workbook.xml");
    let said = relay.fails(1, &import("rooms", &[]));
    assert!(
        said.contains("list.csv: this is a workbook; save it as CSV"),
        "{said}"
    );
    let said = relay.fails(1, &["route", "csv", "import", "rooms", "none.csv"]);
    assert!(said.contains("none.csv: "), "{said}");
    assert_eq!(relay.rows(&["route", "history"]).len(), 1);
}

#[test]
fn workstations_come_and_go_and_a_plan_changes_nothing() {
    let relay = Setup::three_rooms().start();
    write(
        &relay,
        "room,network,user\nroom-b,,b1\nroom-c,127.0.77.0/24,\n",
    );
    let plan = relay.done(&import("workstations", &["--plan"]));
    assert!(plan.contains("room room-b changed\n"), "{plan}");
    assert_eq!(relay.rows(&["route", "history"]).len(), 1);
    relay.done(&import("workstations", &[]));
    let sends = |source: &str| {
        let mut client = crate::client::Client::greeted(relay.port, source);
        client.envelope(&vakt("c"), &[&vakt("a")], "").is_none()
    };
    wait::until("the new workstation", || sends("127.0.77.3"));
    // The whole list: what is not in it is no workstation any more.
    write(&relay, "room,network\nroom-c,127.0.78.0/24\n");
    let told = relay.done(&import("workstations", &["--replace"]));
    assert!(told.contains("3 rooms changed"), "{told}");
    wait::until("the list", || sends("127.0.78.3") && !sends("127.0.77.3"));
    let csv = relay.done(&["route", "csv", "export", "workstations"]);
    assert_eq!(
        csv,
        "room,network,certificate,user\r\nroom-c,127.0.78.0/24,,\r\n"
    );
}

#[test]
fn a_cell_that_is_missing_changes_nothing_and_is_told() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    write(
        &relay,
        "id,name,kind,phone\nroom-a,A,amk\nroom-b,B,,\nroom-c\nroom-d,D\n",
    );
    let refused = relay.run(&import("rooms", &[]));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("row 5 (room-d): \"domains\" "), "{said}");
    write(
        &relay,
        "id,name,kind,phone\nroom-a,A,amk\nroom-b,B,,\nroom-c\n",
    );
    let told = relay.run(&import("rooms", &["--replace"]));
    let warned = String::from_utf8(told.stderr).unwrap();
    assert_eq!(
        warned,
        "warning: list.csv: rows 2, 4 have fewer than 4 cells; what their missing cells are for stays as it was\n"
    );
    let csv = relay.done(&["route", "csv", "export", "rooms"]);
    for row in [
        "\r\nroom-a,A,amk,'+47 00 00 00 01,",
        "\r\nroom-b,B,other,,",
        "\r\nroom-c,Rom C,amk,'+47 00 00 00 03,",
    ] {
        assert!(csv.contains(row), "{row}: {csv}");
    }
    write(&relay, "id,phone\nroom-a\n");
    relay.fails(1, &import("rooms", &["--strict"]));
}

#[test]
fn a_list_begins_a_table() {
    let relay = Setup::no_rooms().prepare();
    write(
        &relay,
        "id,name,domains,next_hops,Adresse\na,A,a.nodnett.test,maildir:mail/a,Storgata 1\n",
    );
    let said = relay.fails(1, &import("rooms", &[]));
    assert!(said.contains("column \"Adresse\" is unknown"), "{said}");
    relay.done(&import("rooms", &["--ignore", "Adresse"]));
    let history = relay.rows(&["route", "history"]);
    assert_eq!(column(&history, "revision"), ["1"]);
    write(&relay, "room,user\na,a1\n");
    relay.done(&import("workstations", &["--expect", "1"]));
    let said = relay.fails(1, &import("workstations", &["--expect", "1"]));
    assert!(said.contains("is at revision 2, not 1"), "{said}");
}

#[test]
fn a_list_that_would_do_what_nobody_meant_is_refused() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    for (list, options, text, expected) in [
        // A quotation mark that is never closed takes in every row below it.
        (
            "rooms",
            &[][..],
            "id,recipients\nroom-a,vakt\nroom-c,\"vakt\nroom-b,\n",
            "row 3: a quotation mark is opened here and never closed",
        ),
        // The heads alone, where rows were expected.
        (
            "rooms",
            &["--replace"],
            "id,name\n",
            "row 1: no row follows, and with --replace that would take out every room",
        ),
        (
            "workstations",
            &["--replace"],
            "room,user\n,\n",
            "row 1: no row follows, and with --replace that would take out every workstation",
        ),
    ] {
        write(&relay, text);
        let said = relay.fails(1, &import(list, options));
        assert!(said.contains(&format!("list.csv: {expected}")), "{said}");
    }
    assert_eq!(relay.rows(&["route", "history"]).len(), 1);
}

#[test]
fn a_list_with_passwords_is_careful_with_them() {
    let hop = "smtp://ilbud:hemmelig@127.0.0.1:17999";
    let relay = Setup::from_a_to(hop).prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let help = relay.done(&["route", "csv", "export", "--help"]);
    assert!(help.contains("with the passwords in it"), "{help}");
    // Others may read this file.
    let list = format!("id,name,next_hops\nroom-b,B,{hop}\n");
    write(&relay, &list);
    fs::set_permissions(relay.path("list.csv"), Permissions::from_mode(0o644)).unwrap();
    let output = relay.run(&import("rooms", &["--plan"]));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("chmod 600 list.csv"), "{told}");
    let told = relay.fails(1, &import("rooms", &["--strict"]));
    assert!(told.contains("chmod 600 list.csv"), "{told}");
    assert!(
        told.contains("with --strict a warning is a mistake"),
        "{told}"
    );
    // What separates the items of a cell is part of this password.
    write(&relay, list.replace("hemmelig", "hem|melig"));
    let told = relay.fails(1, &import("rooms", &[]));
    assert!(told.contains("row 2: column next_hops: "), "{told}");
    assert!(told.contains("%7C"), "{told}");
    assert!(!told.contains("hem") && !told.contains("melig"), "{told}");
    assert_eq!(relay.rows(&["route", "history"]).len(), 1);
}

#[test]
fn what_is_told_of_a_list_is_short_and_told_once() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    write(
        &relay,
        format!("id,next_hops\nroom-a,smtp://{}\n", "x".repeat(100_000)),
    );
    let told = relay.fails(1, &import("rooms", &[]));
    assert!(
        told.contains("row 2 (room-a), column next_hops: "),
        "{told}"
    );
    assert!(told.ends_with(" is no host name\n"), "{told}");
    assert!(told.len() < 5_000, "{}", told.len());
    write(&relay, "room,network\nroom-a,127.0.1.0/24\n");
    let output = relay.run(&import("workstations", &["--replace"]));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("warning: room \"room-b\" has no workstation: nobody can send as it\n"),
        "{told}"
    );
    // Letters that were guessed are something to warn of.
    write(&relay, b"id,name\nroom-a,Tr\xf8ndelag\n");
    let told = relay.fails(1, &import("rooms", &["--strict"]));
    assert!(told.contains("it was read as Windows-1252"), "{told}");
}

#[test]
fn a_list_of_a_table_that_cannot_be_read_says_what_to_do() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let store = rusqlite::Connection::open(relay.path("ilbud.db")).unwrap();
    store
        .execute("UPDATE revision SET routes = '?'", [])
        .unwrap();
    let told = relay.fails(1, &["route", "csv", "export", "rooms"]);
    assert!(told.contains("routing table, revision 1"), "{told}");
    let remedy =
        "; no revision can be read; put a good table in force with: ilbud route apply FILE\n";
    assert!(told.ends_with(remedy), "{told}");
}
