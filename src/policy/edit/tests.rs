#![allow(clippy::unwrap_used)]

use super::*;

const TABLE: &str = r#"# Sentraler i Innlandet.
# Ring drift før noe endres.

# Den store.
[[room]]
id = "amk"   # aldri endre
name = "AMK" # kort navn
domains = ["amk.test"]
next_hops = [
    "maildir:a", # først
    "maildir:b"  # så
]
[[room.workstation]] # vakt
network = "10.0.0.0/24"

# Den lille.
[[room]]
name = "Hamar"
id = "hamar"
domains = ["hamar.test"]
next_hops = ["maildir:h"]
workstation = [{ user = "h1" }, { network = "10.1.0.0/24" }]
strictness = { missing_tls = "warn" }

[[group]]
address = "Alle@g.test"
members = ["vakt@amk.test", "vakt@hamar.test"]

[[redirect]]
room = "hamar"
to = "amk"
until = 2026-11-22T08:00:00+01:00
# Slutt.
"#;

fn id(text: &str) -> RoomId {
    RoomId::new(text)
}

fn edited(edit: impl FnOnce(&mut Draft)) -> String {
    let mut draft = Draft::of(TABLE).unwrap();
    edit(&mut draft);
    draft.text()
}

fn replaced(pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(TABLE.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old}");
        text.replacen(old, new, 1)
    })
}

fn list(items: &[&str]) -> Said {
    Said::List(items.iter().map(|it| (*it).to_owned()).collect())
}

#[test]
fn what_is_not_edited_stays_byte_for_byte() {
    assert_eq!(edited(|_| ()), TABLE);
    let same = edited(|draft| {
        let mut room = draft.room_mut(&id("amk")).unwrap();
        room.set("name", &Said::text("AMK"));
        room.set("next_hops", &list(&["maildir:a", "maildir:b"]));
        assert!(!room.unset("phone"));
        assert!(draft.room_mut(&id("oslo")).is_none());
        assert!(!draft.remove_room(&id("oslo")));
    });
    assert_eq!(same, TABLE);
}

#[test]
fn a_key_is_set_and_the_comment_on_its_line_stays() {
    let text = edited(|draft| {
        let mut room = draft.room_mut(&id("amk")).unwrap();
        room.set("name", &Said::text("AMK \"Ny\""));
        room.set("disabled", &Said::Flag(true));
        room.set("priority_ceiling", &Said::Number(4));
    });
    let expected = replaced(&[
        ("\"AMK\" #", "'AMK \"Ny\"' #"),
        ("så\n]\n", "så\n]\ndisabled = true\npriority_ceiling = 4\n"),
    ]);
    assert_eq!(text, expected);
}

#[test]
fn a_list_changes_item_by_item_with_its_comments() {
    for (items, expected) in [
        (
            vec!["maildir:a", "maildir:b", "maildir:c"],
            "[\n    \"maildir:a\", # først\n    \"maildir:b\",  # så\n    \"maildir:c\"\n]",
        ),
        (vec!["maildir:a"], "[\n    \"maildir:a\" # først\n]"),
        (vec!["maildir:b"], "[\n    \"maildir:b\"  # så\n]"),
        (
            vec!["maildir:b", "maildir:a"],
            "[\n    \"maildir:b\", # først\n    \"maildir:a\"  # så\n]",
        ),
        (vec!["maildir:c"], "[\n    \"maildir:c\"\n]"),
    ] {
        let text = edited(|draft| {
            let mut room = draft.room_mut(&id("amk")).unwrap();
            room.set("next_hops", &list(&items));
        });
        let old = "[\n    \"maildir:a\", # først\n    \"maildir:b\"  # så\n]";
        assert_eq!(text, replaced(&[(old, expected)]), "{items:?}");
    }
}

#[test]
fn a_list_on_one_line_stays_on_one() {
    for (items, expected) in [
        (vec!["vakt@hamar.test"], "[\"vakt@hamar.test\"]"),
        (vec!["vakt@amk.test"], "[\"vakt@amk.test\"]"),
        (
            vec!["vakt@amk.test", "vakt@hamar.test", "x@amk.test"],
            "[\"vakt@amk.test\", \"vakt@hamar.test\", \"x@amk.test\"]",
        ),
        (vec![], "[]"),
    ] {
        let text = edited(|draft| {
            let address = Address::parse("alle@G.test").unwrap();
            let mut group = draft.group_mut(&address).unwrap();
            group.set("members", &list(&items));
            assert_eq!(group.list("members").unwrap(), items);
        });
        let old = "[\"vakt@amk.test\", \"vakt@hamar.test\"]";
        assert_eq!(text, replaced(&[(old, expected)]), "{items:?}");
    }
}

#[test]
fn keys_in_tables_of_a_room_are_set_however_they_are_written() {
    let text = edited(|draft| {
        let mut hamar = draft.room_mut(&id("hamar")).unwrap();
        hamar.set("strictness.missing_tls", &Said::text("enforce"));
        let mut amk = draft.room_mut(&id("amk")).unwrap();
        amk.set("strictness.missing_tls", &Said::text("warn"));
    });
    let expected = replaced(&[
        (
            "{ missing_tls = \"warn\" }",
            "{ missing_tls = \"enforce\" }",
        ),
        (
            "network = \"10.0.0.0/24\"\n",
            "network = \"10.0.0.0/24\"\n[room.strictness]\nmissing_tls = \"warn\"\n",
        ),
    ]);
    assert_eq!(text, expected);
    let text = edited(|draft| {
        let mut hamar = draft.room_mut(&id("hamar")).unwrap();
        assert!(hamar.unset("strictness.missing_tls"));
        assert!(!hamar.unset("strictness.missing_tls"));
        assert!(!hamar.unset("scan.on_failure"));
    });
    assert_eq!(
        text,
        replaced(&[("strictness = { missing_tls = \"warn\" }\n", "")])
    );
}

#[test]
fn entries_are_added_after_the_others_of_their_kind() {
    let text = edited(|draft| {
        let mut room = draft.add_room(&id("bergen")).unwrap();
        room.set("name", &Said::text("Bergen"));
        room.add_workstation("user", "b1");
        room.add_workstation("network", "10.2.0.0/24");
        assert!(draft.room_mut(&id("bergen")).is_some());
        let at = "2026-11-23T07:00:00+01:00".parse().unwrap();
        let mut redirect = draft.add_redirect(&id("bergen")).unwrap();
        redirect.set("until", &Said::Moment(at));
        draft
            .add_group(&Address::parse("a@g.test").unwrap())
            .unwrap();
    });
    let room = "\n[[room]]\nid = \"bergen\"\nname = \"Bergen\"\n[[room.workstation]]\nuser = \"b1\"\n[[room.workstation]]\nnetwork = \"10.2.0.0/24\"\n\n[[group]]";
    let expected = replaced(&[
        ("\n[[group]]", room),
        (
            "\n[[redirect]]",
            "\n[[group]]\naddress = \"a@g.test\"\n\n[[redirect]]",
        ),
        (
            "# Slutt.\n",
            "# Slutt.\n\n[[redirect]]\nroom = \"bergen\"\nuntil = 2026-11-23T06:00:00Z\n",
        ),
    ]);
    assert_eq!(text, expected);
}

#[test]
fn an_empty_text_takes_entries() {
    let mut draft = Draft::of("").unwrap();
    draft.add_room(&id("a")).unwrap();
    draft.add_room(&id("b")).unwrap();
    assert_eq!(
        draft.text(),
        "[[room]]\nid = \"a\"\n\n[[room]]\nid = \"b\"\n"
    );
}

#[test]
fn an_entry_goes_with_the_comment_right_above_it_and_no_other() {
    let text = edited(|draft| assert!(draft.remove_room(&id("amk"))));
    let (head, rest) = TABLE.split_once("\n\n# Den store.").unwrap();
    let (_, tail) = rest.split_once("\n\n# Den lille.").unwrap();
    assert_eq!(text, format!("{head}\n\n# Den lille.{tail}"));

    let text = edited(|draft| {
        assert!(draft.remove_room(&id("hamar")));
        assert!(draft.room_mut(&id("hamar")).is_none());
        assert!(draft.room_mut(&id("amk")).is_some());
        assert!(draft.remove_group(&Address::parse("alle@g.test").unwrap()));
        draft.remove_redirects_with(&id("hamar"));
    });
    let (head, _) = TABLE.split_once("\n# Den lille.").unwrap();
    assert_eq!(text, format!("{head}# Slutt.\n"));
}

#[test]
fn a_redirect_is_told_by_its_place_among_those_of_its_room() {
    let more = format!(
        "{TABLE}[[redirect]]\nroom = \"amk\"\nto = \"hamar\"\n[[redirect]]\nroom = \"hamar\"\nto = \"x\"\n"
    );
    let mut draft = Draft::of(&more).unwrap();
    assert!(!draft.remove_redirect(&id("hamar"), 2));
    assert!(draft.remove_redirect(&id("hamar"), 1));
    assert_eq!(
        draft.text(),
        more.replace("[[redirect]]\nroom = \"hamar\"\nto = \"x\"\n", "")
    );
}

#[test]
fn workstations_are_found_however_they_are_written() {
    let text = edited(|draft| {
        let mut remove = |room: &str, meant: (&str, &str)| {
            draft.remove_workstations(&id(room), |key, name| (key, name) == meant)
        };
        assert_eq!(remove("hamar", ("user", "h2")), 0);
        assert_eq!(remove("hamar", ("user", "h1")), 1);
        assert_eq!(remove("amk", ("network", "10.0.0.0/24")), 1);
        assert_eq!(remove("oslo", ("user", "h1")), 0);
    });
    assert!(!text.contains("h1"), "{text}");
    assert!(!text.contains("10.0.0.0/24"), "{text}");
    assert!(
        text.contains("[[room.workstation]]\nnetwork = \"10.1.0.0/24\""),
        "{text}"
    );
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    let faults = Draft::of("a = 1\n[[room\n").unwrap_err();
    assert_eq!(
        faults.iter().map(|it| it.line).collect::<Vec<_>>(),
        [Some(2)]
    );
    let mut draft = Draft::of("room = 1\n").unwrap();
    assert!(draft.add_room(&id("a")).is_none());
}

const SHIPPED: &str = include_str!("../../../config/routes.toml");

/// Whole lines of comment.
fn comments(text: &str) -> Vec<&str> {
    text.lines().filter(|it| it.starts_with('#')).collect()
}

#[test]
fn no_comment_of_the_shipped_table_is_lost() {
    let mut draft = Draft::of(SHIPPED).unwrap();
    assert_eq!(draft.text(), SHIPPED);
    let group = Address::parse("alle@gruppe.nodnett.test").unwrap();
    assert!(draft.remove_group(&group));
    assert_eq!(comments(&draft.text()), comments(SHIPPED));
    assert!(draft.remove_room(&id("amk-oslo")));
    assert_eq!(comments(&draft.text()), comments(SHIPPED));
    assert_eq!(
        draft.remove_workstations(&id("akuttmottak-bergen"), |_, _| true),
        1
    );
    draft.add_room(&id("ny")).unwrap();
    assert_eq!(comments(&draft.text()), comments(SHIPPED));
    assert!(draft.remove_room(&id("akuttmottak-bergen")));
    assert!(draft.remove_room(&id("ny")));
    assert_eq!(comments(&draft.text()), comments(SHIPPED));
}

#[test]
fn a_workstation_goes_with_the_comment_right_above_it_and_no_other() {
    let text = "[[room]]\nid = \"a\"\n\n# Begge rom.\n\n# Den ene.\n[[room.workstation]]\nuser = \"x\"\n[[room.workstation]]\nuser = \"y\"\n[[group]]\n";
    for (user, expected) in [
        (
            "x",
            "[[room]]\nid = \"a\"\n\n# Begge rom.\n\n[[room.workstation]]\nuser = \"y\"\n[[group]]\n",
        ),
        (
            "y",
            "[[room]]\nid = \"a\"\n\n# Begge rom.\n\n# Den ene.\n[[room.workstation]]\nuser = \"x\"\n[[group]]\n",
        ),
    ] {
        let mut draft = Draft::of(text).unwrap();
        assert_eq!(
            draft.remove_workstations(&id("a"), |_, name| name == user),
            1
        );
        assert_eq!(draft.text(), expected);
    }
}
