#![allow(clippy::unwrap_used)]

use super::*;
use crate::spreadsheet;

const TABLE: &str = "\
# Tabellen.

[[room]]
id = \"a\"
name = \"A\"
kind = \"amk\"
phone = \"+47 1\"
domains = [\"a.test\", \"aa.test\"]
next_hops = [\"maildir:my mail\", \"smtp://h:25\"]
recipients = [\"vakt\", \"\\\"a, b\\\"\"]
accepts_from = [\"b\"]
priority_ceiling = 2

[room.strictness]
missing_tls = \"warn\"
[[room.workstation]]
network = \"10.0.0.0/24\"
[[room.workstation]]
user = \"a1\"

[[room]]
id = \"b\" # to
name = \"B\"
kind = \"other\"
domains = [\"b.test\"]
next_hops = [\"maildir:b\"]
recipients = []
accepts_from = []
";

fn table(toml: &str) -> RoutingTable {
    RoutingTable::parse(toml, 1).unwrap().0
}

fn import(list: List, csv: &str) -> Import {
    Import {
        list,
        file: "list.csv".to_owned(),
        sheet: spreadsheet::read(csv.as_bytes()).unwrap(),
        ignored: Vec::new(),
        is_whole: false,
    }
}

/// The export of the table that an import makes, or its faults.
fn made(import: &Import) -> Result<String, Vec<String>> {
    let lines = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut draft = Draft::of(TABLE).unwrap();
    import.write(&mut draft, &table(TABLE)).map_err(lines)?;
    let text = draft.text();
    match RoutingTable::parse(&text, 2) {
        Ok((table, _)) => Ok(table.export()),
        Err(faults) => Err(lines(import.tell(&text, faults))),
    }
}

fn faults(list: List, csv: &str) -> Vec<String> {
    made(&import(list, csv)).unwrap_err()
}

#[test]
fn what_is_exported_imports_to_no_difference() {
    let export_of = table(TABLE).export();
    for list in [List::Rooms, List::Workstations] {
        let (heads, rows) = export(list, &table(TABLE), &export_of).unwrap();
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        let mut csv = Vec::new();
        spreadsheet::write(
            &mut csv,
            spreadsheet::Separator::Comma,
            &heads,
            rows.into_iter(),
        )
        .unwrap();
        let mut import = import(list, &String::from_utf8(csv).unwrap());
        for is_whole in [false, true] {
            import.is_whole = is_whole;
            assert_eq!(made(&import).unwrap(), export_of);
        }
    }
}

#[test]
fn an_export_has_the_columns_that_say_something() {
    let (heads, rows) = export(List::Rooms, &table(TABLE), &table(TABLE).export()).unwrap();
    let told = heads.iter().zip(rows.first().unwrap());
    let told: Vec<_> = told.map(|(head, cell)| format!("{head}={cell}")).collect();
    assert_eq!(
        told,
        [
            "id=a",
            "name=A",
            "kind=amk",
            "phone=+47 1",
            "domains=a.test | aa.test",
            "next_hops=maildir:my mail | smtp://h:25",
            "recipients=vakt | \"a, b\"",
            "accepts_from=b",
            "priority_ceiling=2",
            "strictness.missing_tls=warn"
        ]
    );
    let of_b: Vec<_> = heads.iter().zip(rows.last().unwrap()).collect();
    let cell = |key: &str| of_b.iter().find(|it| it.0 == key).unwrap().1.as_str();
    assert_eq!(cell("recipients"), "[]");
    assert_eq!(cell("phone"), "");
    let (heads, rows) = export(List::Workstations, &table(TABLE), "").unwrap();
    assert_eq!(heads, ["room", "network", "certificate", "user"]);
    assert_eq!(rows, [["a", "10.0.0.0/24", "", ""], ["a", "", "", "a1"]]);
}

#[test]
fn a_row_changes_a_room_and_makes_one() {
    let csv = "ID;Phone;Name;Domains;next_hops;disabled\n\
        b;22;B;b.test;maildir:b;ja\n\
        c;;C;\"c.test, cc.test\";maildir:c | smtp://d;nei\n";
    let made = made(&import(List::Rooms, csv)).unwrap();
    for line in [
        "id = \"b\" # to\nname = \"B\"\nkind = \"other\"\nphone = \"22\"\ndisabled = true\n",
        "id = \"c\"\nname = \"C\"\n",
        "domains = [\"c.test\", \"cc.test\"]\n",
        "next_hops = [\"maildir:c\", \"smtp://d:25\"]\n",
        // What has no row is as it was.
        "phone = \"+47 1\"\n",
        "# Tabellen.\n",
    ] {
        assert!(made.contains(line), "{line}: {made}");
    }
    assert_eq!(made.matches("disabled").count(), 1, "{made}");
}

#[test]
fn an_empty_cell_takes_a_key_out_and_a_whole_list_takes_rooms_out() {
    let mut list = import(
        List::Rooms,
        "id,phone,priority_ceiling,strictness.missing_tls,accepts_from\na,,,,any\n",
    );
    let one = made(&list).unwrap();
    assert!(one.contains("id = \"b\""), "{one}");
    for gone in ["phone", "priority_ceiling", "strictness", "missing_tls"] {
        assert!(!one.contains(gone), "{gone}: {one}");
    }
    list.is_whole = true;
    let one = made(&list).unwrap();
    assert!(!one.contains("id = \"b\""), "{one}");
}

#[test]
fn workstations_are_added_and_taken_out() {
    let csv = "room,network,user\nb,10.2.0.7,\na,,a1\nb,,b1\nb,,b1\n";
    let mut list = import(List::Workstations, csv);
    let sources = |toml: &str| -> Vec<String> {
        let table = table(toml);
        let of = |room: &crate::policy::table::Room| {
            let sources = room.workstations.iter();
            sources
                .map(|it| format!("{} {it}", room.id))
                .collect::<Vec<_>>()
        };
        table.rooms().flat_map(of).collect()
    };
    let more = sources(&made(&list).unwrap());
    assert_eq!(
        more,
        [
            "a network 10.0.0.0/24",
            "a user \"a1\"",
            "b network 10.2.0.7/32",
            "b user \"b1\""
        ]
    );
    list.is_whole = true;
    assert_eq!(sources(&made(&list).unwrap()), more.get(1..).unwrap());
}

#[test]
fn each_mistake_is_told_with_its_row() {
    for (list, csv, expected) in [
        (
            List::Rooms,
            "name\nx\n",
            vec!["list.csv: row 1: there is no column \"id\""],
        ),
        (
            List::Rooms,
            "id,nmae,Name,name,colour\na,,,,\n",
            vec![
                "list.csv: row 1: column \"nmae\" is unknown; did you mean \"name\"? Leave it out with --ignore \"nmae\"",
                "list.csv: row 1: there are two columns \"name\"",
                "list.csv: row 1: column \"colour\" is unknown. Leave it out with --ignore \"colour\"",
            ],
        ),
        (
            List::Rooms,
            "id,priority_ceiling,disabled\na,high,maybe\n,1,\na,,\n",
            vec![
                "list.csv: row 2: column priority_ceiling: \"high\" is no whole number",
                "list.csv: row 2: column disabled: \"maybe\" is neither \"true\" nor \"false\"",
                "list.csv: row 3: write the id of the room",
                "list.csv: row 4: room \"a\" is in row 2 already",
            ],
        ),
        (
            List::Rooms,
            "id,name,domains,next_hops,kind\n\nc,C,b.test,ftp://x,amk\nd,,d.test,maildir:d,ambulanse\n",
            vec![
                "list.csv: row 3 (c), column domains: domain \"b.test\" already belongs to room \"b\"; it can have only one",
            ],
        ),
        (
            List::Workstations,
            "room,network\nx,10.0.0.0/8\na,10.0.0\na,\n,10.0.0.0/8\n",
            vec![
                "list.csv: row 2: there is no room \"x\"",
                "list.csv: row 3: column network: \"10.0.0\" is no network; write for example \"10.1.0.0/24\" or \"10.1.0.7\"",
                "list.csv: row 4: write exactly one of network, certificate, user",
                "list.csv: row 5: write the id of the room",
            ],
        ),
        (
            List::Workstations,
            "rom,nett\na,1\n",
            vec![
                "list.csv: row 1: column \"rom\" is unknown; did you mean \"room\"? Leave it out with --ignore \"rom\"",
                "list.csv: row 1: column \"nett\" is unknown. Leave it out with --ignore \"nett\"",
                "list.csv: row 1: there is no column \"room\"",
                "list.csv: row 1: there has to be a column network or certificate or user",
            ],
        ),
    ] {
        let faults = faults(list, csv);
        for line in &expected {
            assert!(faults.iter().any(|it| it == line), "{line}: {faults:#?}");
        }
    }
}

#[test]
fn a_column_that_is_not_ours_is_ignored_when_it_is_said() {
    let mut list = import(List::Rooms, "id,Adresse,name\na,Storgata 1,Nytt navn\n");
    list.ignored = vec!["adresse".to_owned()];
    assert!(made(&list).unwrap().contains("name = \"Nytt navn\""));
    list.ignored = vec!["adresse".to_owned(), "by".to_owned()];
    assert_eq!(
        made(&list).unwrap_err(),
        ["list.csv: there is no column \"by\" to ignore"]
    );
}

#[test]
fn what_is_wrong_is_told_by_the_name_where_it_is_in_no_row() {
    let mut list = import(List::Rooms, "id\na\n");
    list.is_whole = true;
    // Room a accepts from b, which would be gone.
    let faults = made(&list).unwrap_err();
    assert_eq!(faults, ["list.csv: row 2 (a): unknown room \"b\""]);
    // Of rooms that are in no list, nothing but the name is known.
    let list = import(List::Workstations, "room,user\nb,b1\n");
    let fault = Fault {
        line: Some(8),
        text: "\"domains\": odd".to_owned(),
    };
    let told = list.tell(TABLE, vec![fault]);
    assert_eq!(told.first().unwrap().text, "room a: odd");
}
