#![allow(clippy::unwrap_used)]

use super::*;

const NOW: &str = "2026-11-22T12:00:00Z";

const TABLE: &str = r#"[[room]]
id = "amk"
name = "AMK"
domains = ["amk.test"]
next_hops = ["maildir:a"]
recipients = ["vakt"]
[[room.workstation]]
network = "10.0.0.0/24"
[[room.workstation]]
user = "amk1"

[[room]]
id = "hamar"
name = "Hamar"
domains = ["hamar.test"]
next_hops = ["maildir:h"]
accepts_from = ["amk", "hamar"]

[[room]]
id = "elverum"
name = "Elverum"
domains = ["elverum.test"]
next_hops = ["maildir:e"]

[[group]]
address = "alle@g.test"
members = ["vakt@amk.test", "vakt@hamar.test", "noen@g.test"]

[[group]]
address = "noen@g.test"
members = ["vakt@hamar.test"]

[[redirect]]
room = "hamar"
to = "elverum"
until = 2026-11-22T14:00:00Z

[[redirect]]
room = "hamar"
to = "amk"
from = 2026-11-23T12:00:00Z
until = 2026-11-23T14:00:00Z
"#;

fn id(text: &str) -> RoomId {
    RoomId::new(text)
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn user(name: &str) -> Vec<Workstation> {
    vec![("user", name.to_owned())]
}

fn network(name: &str) -> Vec<Workstation> {
    vec![("network", name.to_owned())]
}

fn opening(room: &str, to: &str, from: Option<&str>, until: Option<&str>) -> Edit {
    let when = |it: Option<&str>| it.map(|it| When::parse(it).unwrap());
    Edit::OpenRedirect(Opening {
        room: id(room),
        to: id(to),
        from: when(from),
        until: when(until),
        reason: None,
    })
}

/// The text that an edit makes, or its mistakes.
fn made(edit: &Edit) -> Result<String, Vec<String>> {
    let (table, _) = RoutingTable::parse(TABLE, 7).unwrap();
    let mut draft = Draft::of(TABLE).unwrap();
    match edit.on(&mut draft, &table, NOW.parse().unwrap()) {
        Ok(()) => Ok(draft.text()),
        Err(why) => Err(why.lines().unwrap()),
    }
}

/// The lines that an edit takes out of the table and puts into it.
fn difference(edit: &Edit) -> Vec<String> {
    let text = made(edit).unwrap();
    RoutingTable::parse(&text, 8).unwrap();
    let (old, new): (Vec<&str>, Vec<&str>) = (TABLE.lines().collect(), text.lines().collect());
    let alike = |(one, other): &(&&str, &&str)| one == other;
    let head = old.iter().zip(&new).take_while(alike).count();
    let left = old.len().min(new.len()) - head;
    let tails = old.iter().rev().zip(new.iter().rev()).take(left);
    let tail = tails.take_while(alike).count();
    let between = |lines: &[&str], sign: char| -> Vec<String> {
        let lines = lines.iter().skip(head).take(lines.len() - tail - head);
        lines.map(|it| format!("{sign}{it}")).collect()
    };
    let (gone, come) = (between(&old, '-').into_iter(), between(&new, '+'));
    let told = gone.chain(come).filter(|it| it.len() > 1);
    told.collect()
}

#[test]
fn each_edit_changes_what_it_says() {
    let vakt = || vec![address("vakt@elverum.test")];
    for (edit, expected) in [
        (
            Edit::AddRoom(
                id("ny"),
                vec![
                    ("name".into(), Said::text("Ny")),
                    ("domains".into(), Said::List(vec!["ny.test".into()])),
                    ("next_hops".into(), Said::List(vec!["maildir:n".into()])),
                ],
                user("ny1"),
            ),
            &[
                "+[[room]]",
                "+id = \"ny\"",
                "+name = \"Ny\"",
                "+domains = [\"ny.test\"]",
                "+next_hops = [\"maildir:n\"]",
                "+[[room.workstation]]",
                "+user = \"ny1\"",
            ][..],
        ),
        (
            Edit::SetRoom(
                id("amk"),
                vec![
                    ("phone".into(), Said::text("113")),
                    ("name".into(), Said::text("AMK Oslo")),
                ],
                vec!["recipients".to_owned()],
            ),
            &[
                "-name = \"AMK\"",
                "-domains = [\"amk.test\"]",
                "-next_hops = [\"maildir:a\"]",
                "-recipients = [\"vakt\"]",
                "+name = \"AMK Oslo\"",
                "+domains = [\"amk.test\"]",
                "+next_hops = [\"maildir:a\"]",
                "+phone = \"113\"",
            ],
        ),
        (
            Edit::SetRoom(
                id("amk"),
                vec![("name".into(), Said::text("AMK"))],
                vec!["phone".to_owned()],
            ),
            &[],
        ),
        (Edit::Disable(id("elverum"), true), &["+disabled = true"]),
        (Edit::Disable(id("elverum"), false), &[]),
        (
            Edit::AddWorkstations(id("hamar"), user("h1")),
            &["+[[room.workstation]]", "+user = \"h1\""],
        ),
        (
            Edit::AddWorkstations(id("amk"), network("10.0.0.7/24")),
            &[],
        ),
        (
            Edit::RemoveWorkstations(id("amk"), network("10.0.0.0/24")),
            &["-network = \"10.0.0.0/24\"", "-[[room.workstation]]"],
        ),
        (
            Edit::AddGroup(address("ny@g.test"), vakt()),
            &[
                "+[[group]]",
                "+address = \"ny@g.test\"",
                "+members = [\"vakt@elverum.test\"]",
            ],
        ),
        (
            Edit::Join(address("noen@g.test"), vakt()),
            &[
                "-members = [\"vakt@hamar.test\"]",
                "+members = [\"vakt@hamar.test\", \"vakt@elverum.test\"]",
            ],
        ),
        (
            Edit::Join(address("noen@g.test"), vec![address("vakt@HAMAR.test")]),
            &[],
        ),
        (
            Edit::Leave(address("alle@g.test"), vec![address("noen@g.test")]),
            &[
                "-members = [\"vakt@amk.test\", \"vakt@hamar.test\", \"noen@g.test\"]",
                "+members = [\"vakt@amk.test\", \"vakt@hamar.test\"]",
            ],
        ),
        (
            Edit::RemoveGroup(address("noen@g.test"), true),
            &[
                "-members = [\"vakt@amk.test\", \"vakt@hamar.test\", \"noen@g.test\"]",
                "-[[group]]",
                "-address = \"noen@g.test\"",
                "-members = [\"vakt@hamar.test\"]",
                "+members = [\"vakt@amk.test\", \"vakt@hamar.test\"]",
            ],
        ),
        (
            opening("elverum", "amk", None, Some("2h")),
            &[
                "+[[redirect]]",
                "+room = \"elverum\"",
                "+to = \"amk\"",
                "+until = 2026-11-22T14:00:00Z",
            ],
        ),
        (
            opening("elverum", "amk", Some("1h"), Some("2h")),
            &[
                "+[[redirect]]",
                "+room = \"elverum\"",
                "+to = \"amk\"",
                "+from = 2026-11-22T13:00:00Z",
                "+until = 2026-11-22T15:00:00Z",
            ],
        ),
        (opening("hamar", "elverum", None, Some("2h")), &[]),
        (
            Edit::CloseRedirect(id("hamar"), false),
            &[
                "-to = \"elverum\"",
                "-until = 2026-11-22T14:00:00Z",
                "-[[redirect]]",
                "-room = \"hamar\"",
            ],
        ),
    ] {
        assert_eq!(difference(&edit), expected);
    }
}

#[test]
fn a_room_goes_with_all_that_mentions_it() {
    let text = made(&Edit::RemoveRoom(id("hamar"), true)).unwrap();
    let (table, _) = RoutingTable::parse(&text, 8).unwrap();
    assert!(!text.contains("hamar"), "{text}");
    assert_eq!((table.rooms().count(), table.redirects().count()), (2, 0));
    let closed = made(&Edit::CloseRedirect(id("hamar"), true)).unwrap();
    assert!(!closed.contains("redirect"), "{closed}");
}

#[test]
fn each_misfit_is_told_with_what_was_meant() {
    let domain = vec![("domains".into(), Said::List(vec!["AMK.test".to_owned()]))];
    for (edit, expected) in [
        (
            Edit::Disable(id("hamer"), true),
            &["there is no room \"hamer\"; did you mean \"hamar\"?"][..],
        ),
        (
            Edit::RemoveRoom(id("oslo"), true),
            &["there is no room \"oslo\"; see: ilbud route export"],
        ),
        (
            Edit::AddRoom(id("amk"), Vec::new(), Vec::new()),
            &["there is a room \"amk\" already; change it with: ilbud route room set amk"],
        ),
        (
            Edit::SetRoom(id("hamar"), domain, Vec::new()),
            &["domain \"AMK.test\" already belongs to room \"amk\"; it can have only one"],
        ),
        (
            Edit::RemoveRoom(id("hamar"), false),
            &[
                "room \"hamar\" cannot be removed: group alle@g.test has the member vakt@hamar.test",
                "room \"hamar\" cannot be removed: group noen@g.test has the member vakt@hamar.test",
                "room \"hamar\" cannot be removed: room \"hamar\" is redirected to \"elverum\" until 2026-11-22T14:00:00.000Z",
                "room \"hamar\" cannot be removed: room \"hamar\" is redirected to \"amk\" until 2026-11-23T14:00:00.000Z",
                "nothing was changed: change these first, or add --with-mentions",
            ],
        ),
        (
            Edit::RemoveRoom(id("amk"), false),
            &[
                "room \"amk\" cannot be removed: group alle@g.test has the member vakt@amk.test",
                "room \"amk\" cannot be removed: room \"hamar\" has it in accepts_from",
                "room \"amk\" cannot be removed: room \"hamar\" is redirected to \"amk\" until 2026-11-23T14:00:00.000Z",
                "nothing was changed: change these first, or add --with-mentions",
            ],
        ),
        (
            Edit::RemoveWorkstations(id("amk"), user("amk2")),
            &["room \"amk\" has no workstation user \"amk2\"; did you mean user \"amk1\"?"],
        ),
        (
            Edit::RemoveWorkstations(id("hamar"), user("amk2")),
            &["room \"hamar\" has no workstation user \"amk2\"; see: ilbud route export"],
        ),
        (
            Edit::AddGroup(address("ALLE@g.test"), Vec::new()),
            &[
                "there is a group ALLE@g.test already; add to it with: ilbud route group join ALLE@g.test MEMBER",
            ],
        ),
        (
            Edit::Join(address("ale@g.test"), Vec::new()),
            &["there is no group ale@g.test; did you mean alle@g.test?"],
        ),
        (
            Edit::Leave(address("alle@g.test"), vec![address("vakt@amk.tset")]),
            &["vakt@amk.tset is no member of group alle@g.test; did you mean vakt@amk.test?"],
        ),
        (
            Edit::RemoveGroup(address("noen@g.test"), false),
            &[
                "group noen@g.test cannot be removed: group alle@g.test has the member noen@g.test",
                "nothing was changed: change these first, or add --with-mentions",
            ],
        ),
        (
            opening("hamar", "elverun", None, None),
            &["there is no room \"elverun\"; did you mean \"elverum\"?"],
        ),
        (
            opening("hamar", "amk", Some("1h"), None),
            &[
                "room \"hamar\" is redirected to \"elverum\" until 2026-11-22T14:00:00.000Z, at the same time; end that first: ilbud route redirect close hamar",
            ],
        ),
        (
            opening("elverum", "amk", None, Some("2026-11-22T11:00:00Z")),
            &["2026-11-22T11:00:00.000Z is over already"],
        ),
        (
            Edit::CloseRedirect(id("amk"), true),
            &["room \"amk\" has no redirect"],
        ),
    ] {
        assert_eq!(
            made(&edit),
            Err(expected.iter().map(|it| (*it).to_owned()).collect())
        );
    }
}

#[test]
fn a_redirect_that_is_not_open_is_closed_by_name_only() {
    let (table, _) = RoutingTable::parse(TABLE, 7).unwrap();
    let mut draft = Draft::of(TABLE).unwrap();
    let later = "2026-11-22T20:00:00Z".parse().unwrap();
    let closing = Edit::CloseRedirect(id("hamar"), false);
    let lines = closing.on(&mut draft, &table, later).unwrap_err().lines();
    let told = lines.unwrap().concat();
    assert!(
        told.starts_with("no redirect of room \"hamar\" is open now; --all takes these out: "),
        "{told}"
    );
}

#[test]
fn only_new_warnings_are_told_and_without_a_line() {
    let fault = |line, text: &str| Fault {
        line,
        text: text.to_owned(),
    };
    let of = |of_table: Vec<Fault>, others: &[&str]| Warnings {
        of_table,
        others: others.iter().map(|&it| it.to_owned()).collect(),
    };
    let known = of(vec![fault(Some(1), "old")], &["known"]);
    let both = vec![fault(Some(4), "old"), fault(Some(9), "new")];
    let edit = Edit::CloseRedirect(id("hamar"), false);
    let news = edit.news("", of(both, &["known", "unknown"]), &known);
    assert_eq!(news.of_table, [fault(None, "new")]);
    assert_eq!(news.others, ["unknown"]);
}
