#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;

const HEAD: &str =
    "[[room]]\nid = \"a\"\nname = \"A\"\ndomains = [\"a.test\"]\nnext_hops = [\"maildir:x\"]\n";
const STATION: &str = "[[room.workstation]]\nnetwork = \"10.1.0.0/24\"\n";

fn room(id: &str, extra: &str) -> String {
    format!(
        "[[room]]\nid = \"{id}\"\nname = \"{id}\"\ndomains = [\"{id}.test\"]\n\
         next_hops = [\"maildir:x\"]\n{extra}\n[[room.workstation]]\nuser = \"{id}\"\n"
    )
}

fn texts(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(Fault::to_string).collect()
}

#[test]
fn refuses_with_one_clear_line_a_mistake() {
    let two = room("a", "") + &room("b", "");
    #[rustfmt::skip]
    let cases = [
        ("[[room]]\n".to_owned(), vec![
            "line 1: \"id\" is missing in [room]",
            "line 1: \"name\" is missing in [room]",
            "line 1: \"domains\" is missing in [room]",
            "line 1: \"next_hops\" is missing in [room]"]),
        ("[[rooms]]\n".to_owned(), vec!["line 1: unknown key \"rooms\"; did you mean \"room\"?"]),
        (format!("{HEAD}phonr = \"1\"\n"), vec!["line 6: unknown key \"phonr\" in [room]; did you mean \"phone\"?"]),
        (format!("{HEAD}kind = \"akm\"\n"), vec![
            "line 6: \"kind\": \"akm\" is not known; it is one of amk, legevakt, akuttmottak, other"]),
        (format!("{HEAD}{STATION}netwrk = \"x\"\n"), vec![
            "line 8: unknown key \"netwrk\" in [room.workstation]; did you mean \"network\"?"]),
        (format!("{HEAD}[[room.workstation]]\n"), vec![
            "line 6: write exactly one of \"network\", \"certificate\" and \"user\" in each entry"]),
        (format!("{HEAD}{STATION}user = \"x\"\n"), vec![
            "line 6: write exactly one of \"network\", \"certificate\" and \"user\" in each entry"]),
        (format!("{HEAD}[[room.workstation]]\nnetwork = \"10.1.0.0/33\"\n"), vec![
            "line 7: \"network\": \"10.1.0.0/33\" is no network; write for example \"10.1.0.0/24\" or \"10.1.0.7\""]),
        (format!("{HEAD}recipients = [\"vakt@a.test\", \"va kt@\", \"a%b\"]\n"), vec![
            "line 6: \"recipients\": \"vakt@a.test\": write only what stands before the @",
            "line 6: \"recipients\": \"va kt@\": write only what stands before the @",
            "line 6: \"recipients\": \"a%b\" is no local part: an address with % in it is not taken"]),
        (HEAD.replace("\"a\"", "\"a/b\""), vec![
            "line 2: \"id\": \"a/b\" is no id; use letters, digits, - and _, at most 64"]),
        (HEAD.replace("maildir:x", "ftp://x"), vec![
            "line 5: \"next_hops\": unknown scheme \"ftp\"; it is one of smtp, smtps, lmtp, mx, maildir"]),
        (HEAD.replace("[\"maildir:x\"]", "[]"), vec!["line 5: \"next_hops\": name at least one next hop"]),
        (format!("{HEAD}warn_after = \"soon\"\npriority_ceiling = 10\n"), vec![
            "line 6: \"warn_after\": must be a length of time such as \"10s\", \"5m\", \"4h\" or \"1d\"",
            "line 7: \"priority_ceiling\": must be from 0 to 9"]),
        (format!("{HEAD}strictness = {{ missing_tlz = \"warn\", bare_newlines = \"enforced\" }}\n"), vec![
            "line 6: \"bare_newlines\": \"enforced\" is not known; did you mean \"enforce\"?",
            "line 6: unknown key \"missing_tlz\" in [room.strictness]; did you mean \"missing_tls\"?"]),
        (format!("{HEAD}[room.strictness]\nmissing_tls = \"off\"\nbare_newlines = true\n"), vec![
            "line 7: \"missing_tls\": \"off\" is not known; it is one of report, warn, enforce",
            "line 8: \"bare_newlines\": must be a text in quotes, this is true or false"]),
        (format!("{HEAD}[room.scan]\non_failure = \"drop\"\neicar = \"pass\"\nmacro = \"mark\"\n"), vec![
            "line 7: \"on_failure\": \"drop\" is not known; it is one of hold, reject",
            "line 8: \"eicar\": \"pass\" is not known; it is one of mark, quarantine, refuse",
            "line 9: unknown key \"macro\" in [room.scan]; did you mean \"macros\"?"]),
        (format!("{HEAD}warn_after = \"0s\"\ngive_up_after = \"0m\"\n"), vec![
            "line 6: \"warn_after\": must be more than nothing",
            "line 7: \"give_up_after\": must be more than nothing"]),
        (HEAD.replace("[\"a.test\"]", "[]"), vec!["line 4: \"domains\": name at least one domain"]),
        (HEAD.replace("a.test", "a..test"), vec!["line 4: \"domains\": \"a..test\" is no domain name"]),
        (HEAD.replace("[\"a.test\"]", "[\"ålesund.test\", \"XN--LESUND-HUA.test\"]"), vec![
            "line 4: \"domains\": domain \"XN--LESUND-HUA.test\" stands twice in this room; once is enough"]),
        (format!("{HEAD}{HEAD}"), vec![
            "line 7: \"id\": \"a\" is already used on line 2; each room needs its own",
            "line 9: \"domains\": domain \"a.test\" already belongs to room \"a\" (line 4); it can have only one"]),
        (format!("{HEAD}accepts_from = [\"oslo\", \"a\"]\n"), vec!["line 6: unknown room \"oslo\""]),
        (format!("{HEAD}accepts_from = \"all\"\n"), vec![
            "line 6: \"accepts_from\": \"all\" is neither \"any\" nor a list of room ids"]),
        (format!("{two}[[redirect]]\nroom = \"c\"\nto = \"bb\"\n"), vec![
            "line 18: unknown room \"c\"", "line 19: unknown room \"bb\"; did you mean \"b\"?"]),
        (format!("{two}[[redirect]]\nroom = \"a\"\nto = \"b\"\nfrom = 2026-01-02T00:00:00Z\nuntil = 2026-01-01T00:00:00Z\n"), vec![
            "line 17: a redirect must end after it begins: \"until\" is not after \"from\""]),
        (format!("{two}[[redirect]]\nroom = \"a\"\nto = \"a\"\n"), vec!["line 17: redirects in a circle: a → a"]),
        (format!("{two}[[redirect]]\nroom = \"a\"\nto = \"b\"\n[[redirect]]\nroom = \"b\"\nto = \"a\"\n"), vec![
            "line 17: redirects in a circle: a → b → a"]),
        (format!("{two}[[group]]\naddress = \"x\"\nmembers = [\"x@a.test\"]\n"), vec![
            "line 18: \"address\": \"x\": it is not written as an address: name@domain"]),
        (format!("{two}[[group]]\naddress = \"g@g.test\"\nmembers = [\n\"x@a.test\",\n\"x@aa.test\",\n\"y\"]\n"), vec![
            "line 21: unknown member x@aa.test: its domain belongs to no room, and it is no group; did you mean \"a.test\"?",
            "line 22: \"members\": \"y\": it is not written as an address: name@domain"]),
        (format!("{}[[group]]\naddress = \"g@g.test\"\nmembers = [\"vatk@a.test\"]\n", room("a", "recipients = [\"vakt\"]")), vec![
            "line 11: unknown member vatk@a.test: it is not among the recipients of room \"a\"; did you mean \"vakt@a.test\"?"]),
        (format!("{two}[[group]]\naddress = \"g@g.test\"\nmembers = [\"h@g.test\"]\n[[group]]\naddress = \"h@g.test\"\nmembers = [\"G@g.test\"]\n"), vec![
            "line 17: groups in a circle: g@g.test → h@g.test → g@g.test"]),
        (format!("{two}[[group]]\naddress = \"g@g.test\"\nmembers = []\n[[group]]\naddress = \"G@G.test\"\nmembers = []\n"), vec![
            "line 21: \"address\": \"G@G.test\" is already a group on line 18; put the members in one"]),
        (format!("{two}[[gateway]]\nnetwork = \"10.0.0.1\"\n"), vec!["line 17: \"name\" is missing in [gateway]"]),
    ];
    for (toml, mistakes) in cases {
        let found = table(&toml, 1).unwrap_err();
        assert_eq!(texts(&found), mistakes, "{toml}");
    }
}

#[test]
fn warns_of_what_is_probably_not_meant() {
    let two = room("a", "") + &room("b", "");
    let station = |id: &str, line: &str| room(id, "").replace(&format!("user = \"{id}\""), line);
    #[rustfmt::skip]
    let cases = [
        (String::new(), vec!["there is no room: everything is refused"]),
        (two.clone(), vec![]),
        (HEAD.to_owned(), vec!["line 1: room \"a\" has no workstation: nobody can send as it"]),
        (room("a", "strictness = { unknown_workstations = \"warn\" }"), vec![
            "line 6: room \"a\" does not enforce unknown_workstations (warn): whoever reaches the relay can send as it"]),
        (format!("{HEAD}[room.strictness]\nunknown_workstations = \"report\"\n"), vec![
            "line 6: room \"a\" does not enforce unknown_workstations (report): whoever reaches the relay can send as it"]),
        (room("a", "accepts_from = []"), vec!["line 6: room \"a\" accepts from no room, and there is no gateway: nobody may write to it"]),
        (room("a", "recipients = []"), vec!["line 6: \"recipients\" is empty: no mail can reach this room"]),
        (room("a", "recipients = [\"x\", \"X\"]"), vec!["line 6: recipient \"X\" is listed twice"]),
        (room("a", "").replace("maildir:x", "smtp://u:p@x?tls=opportunistic"), vec![
            "line 5: smtp://u@x:25?tls=opportunistic shows its password to any server that answers; leave tls=opportunistic out"]),
        (station("a", "network = \"0.0.0.0/0\""), vec!["line 8: network 0.0.0.0/0 is every address there is"]),
        (station("a", "network = \"10.1.0.5/24\""), vec!["line 8: network 10.1.0.5/24 is taken as 10.1.0.0/24"]),
        (station("a", "network = \"10.1.0.0/24\"") + &station("b", "network = \"10.1.0.7\""), vec![
            "line 9: network 10.1.0.7/32 of room \"b\" is also network 10.1.0.0/24 of room \"a\": the sender's domain tells which of them it is"]),
        (station("a", "network = \"10.1.0.0/24\"") + "[[gateway]]\nname = \"g\"\nnetwork = \"10.1.0.7\"\n", vec![
            "line 9: network 10.1.0.7/32 of gateway \"g\" is also network 10.1.0.0/24 of room \"a\": the sender's domain tells which of them it is"]),
        (station("a", "user = \"x\"") + &station("b", "user = \"x\""), vec![
            "line 1: user \"x\" of room \"a\" is also user \"x\" of room \"b\": the sender's domain tells which of them it is"]),
        (format!("{two}[[group]]\naddress = \"g@g.test\"\nmembers = []\n"), vec!["line 17: group g@g.test is empty: mail to it is refused"]),
        (format!("{two}[[group]]\naddress = \"g@g.test\"\nmembers = [\"x@a.test\", \"X@a.test\"]\n"), vec![
            "line 19: X@a.test is a member of this group twice"]),
        (room("a", "recipients = [\"x\"]") + "[[group]]\naddress = \"x@a.test\"\nmembers = []\n", vec![
            "line 9: group x@a.test is empty: mail to it is refused",
            "line 9: x@a.test is a group and also a recipient of room \"a\": the group gets the mail"]),
        (format!("{two}[[gateway]]\nname = \"g\"\nuser = \"g\"\n[[gateway]]\nname = \"g\"\nuser = \"h\"\n"), vec![
            "line 20: there are several gateways \"g\""]),
        (format!("{two}[[redirect]]\nroom = \"a\"\nto = \"b\"\n"), vec!["line 17: the redirect of room \"a\" has no \"until\": it never ends"]),
        (format!("{two}[[redirect]]\nroom = \"a\"\nto = \"b\"\nuntil = 2026-01-02T00:00:00Z\n[[redirect]]\nroom = \"a\"\nto = \"b\"\nuntil = 2026-01-02T00:00:00Z\n"), vec![
            "line 21: this redirect of room \"a\" never counts: the one on line 17 is open all that time"]),
        (format!("{two}[[redirect]]\nroom = \"a\"\nto = \"b\"\nuntil = 2026-01-02T00:00:00Z\n").replace("name = \"b\"", "name = \"b\"\ndisabled = true"), vec![
            "line 18: room \"a\" is redirected to \"b\", which is disabled: unless that is redirected too, mail is refused"]),
        // one after the other, there and back: no circle at any moment
        (format!("{two}[[redirect]]\nroom = \"a\"\nto = \"b\"\nuntil = 2026-01-02T00:00:00Z\n[[redirect]]\nroom = \"b\"\nto = \"a\"\nfrom = 2026-01-02T00:00:00Z\nuntil = 2026-01-03T00:00:00Z\n"), vec![]),
    ];
    for (toml, warnings) in cases {
        let (_, found) = table(&toml, 1).unwrap_or_else(|it| panic!("{it:?} {toml}"));
        assert_eq!(texts(&found), warnings, "{toml}");
    }
}

#[test]
fn only_the_first_of_many_unknown_names_are_searched_for() {
    let members: Vec<String> = (0..SEARCHES * 2)
        .map(|n| format!("\"x{n}@aa.test\""))
        .collect();
    let toml = room("a", "")
        + "[[group]]\naddress = \"g@g.test\"\nmembers = ["
        + &members.join(", ")
        + "]\n";
    let mistakes = texts(&table(&toml, 1).unwrap_err());
    assert_eq!(mistakes.len(), SEARCHES * 2);
    let near = mistakes
        .iter()
        .filter(|it| it.ends_with("; did you mean \"a.test\"?"));
    assert_eq!(near.count(), SEARCHES);
}

#[test]
fn exports_a_function_of_the_table_alone() {
    let toml = "[[redirect]]\nroom = \"b\"\nto = \"a\"\nuntil = 2026-01-02 01:00:00.5+01:00\nreason = \"\\\"Flytting\\\"\"\n\
        [[gateway]]\nname = \"z\"\nnetwork = \"2001:db8::/32\"\n[[gateway]]\nname = \"g\"\ncertificate = \"G.test\"\npriority_ceiling = 0\n\
        [[group]]\naddress = \"g@ålesund.test\"\nmembers = [\"X@a.test\", \"\\\"x y\\\"@b.test\"]\n"
        .to_owned()
        + &room("b", "recipients = [\"x y\", \"\\\"a..b\\\"\", \"\\\"\\\\\\\"q\\\\\\\"\\\"\"]\naccepts_from = [\"a\", \"b\"]\nphone = \"1\"\nkind = \"amk\"\ndisabled = true\n\
            warn_after = \"90s\"\ngive_up_after = \"120m\"\npriority_ceiling = 9\n\
            scan = { macros = \"refuse\", on_failure = \"reject\", eicar = \"quarantine\" }")
        + &room("a", "").replace("maildir:x", "smtp://u:p%40@X.test?tls=required");
    let first = table(&toml, 4).unwrap().0;
    let exported = first.export();
    let again = table(&exported, 5)
        .unwrap_or_else(|it| panic!("{it:?} {exported}"))
        .0;
    assert_eq!(again.export(), exported);
    assert_eq!(again.summary(Some(&first)), "nothing changed");
    assert!(exported.starts_with("[[room]]\nid = \"a\"\nname = \"a\"\nkind = \"other\"\n"));
    assert!(exported.contains("next_hops = [\"smtp://u:p%40@x.test:25\"]"));
    assert!(exported.contains("until = 2026-01-02T00:00:00.500Z"));
    let scan =
        "[room.scan]\non_failure = \"reject\"\neicar = \"quarantine\"\nmacros = \"refuse\"\n";
    assert!(exported.contains(scan), "{exported}");
    assert!(
        exported.contains("phone = \"1\"\ndisabled = true\n"),
        "{exported}"
    );
    let times = "warn_after = \"90s\"\ngive_up_after = \"2h\"\npriority_ceiling = 9\n";
    assert!(exported.contains(times), "{exported}");
    assert!(exported.contains("name = \"g\"\npriority_ceiling = 0\n"));
    assert!(
        exported.contains(
            "recipients = [\"\\\"x y\\\"\", \"\\\"a..b\\\"\", \"\\\"\\\\\\\"q\\\\\\\"\\\"\"]"
        ),
        "{exported}"
    );
    assert!(
        table(&exported, 5)
            .unwrap()
            .1
            .iter()
            .all(|it| !it.text.contains("key"))
    );
}

#[test]
fn sums_up_what_changed() {
    let parse = |toml: &str| table(toml, 1).unwrap().0;
    let before = parse(&(room("a", "") + &room("b", "")));
    let after = parse(
        &(room("b", "phone = \"1\"")
            + &room("c", "")
            + &room("d", "")
            + "[[gateway]]\nname = \"inn\"\nnetwork = \"10.0.0.1\"\n"),
    );
    assert_eq!(
        before.summary(None),
        "the first table: 2 rooms, 0 groups, 0 gateways, 0 redirects"
    );
    assert_eq!(
        after.summary(Some(&before)),
        "2 rooms added (c, d), 1 room removed (a), 1 room changed (b), 1 gateway added (inn)"
    );
}

#[test]
fn knows_redirects_that_are_over() {
    let toml = room("a", "")
        + &room("b", "")
        + "[[redirect]]\nroom = \"a\"\nto = \"b\"\nuntil = 2026-01-02T00:00:00Z\nreason = \"Flytting\"\n";
    let table = table(&toml, 1).unwrap().0;
    let at = |text: &str| texts(&table.stale(text.parse().unwrap()));
    assert!(at("2026-01-01T00:00:00Z").is_empty());
    assert_eq!(
        at("2026-01-02T00:00:00Z"),
        [
            "line 17: room \"a\" is redirected to \"b\" until 2026-01-02T00:00:00.000Z: Flytting: this time is over; the line can be taken out"
        ]
    );
}

#[test]
fn an_export_that_is_not_of_the_table_does_not_read_back() {
    let toml = format!(
        "# all\n\n# a\n{HEAD}recipients = [\"vakt\", \"leder\"]\naccepts_from = [\"b\"]\n{STATION}{}         [[group]]\naddress = \"alle@g.test\"\nmembers = [\"vakt@a.test\", \"leder@a.test\"]\n         [[gateway]]\nname = \"inn\"\nuser = \"gw\"\n         [[redirect]]\nroom = \"a\"\nto = \"b\"\nuntil = 2027-01-01T00:00:00Z\n",
        room("b", "phone = \"113\"")
    );
    let (table, _) = RoutingTable::parse(&toml, 1).unwrap();
    let export = table.export();
    assert!(table.reads_back(&export));
    #[rustfmt::skip]
    let changes = [
        ("# all", "# none"), ("# a", "# b"), ("name = \"A\"", "name = \"B\""), ("\"leder\"", "\"sjef\""),
        ("[\"vakt\", \"leder\"]", "[\"leder\", \"vakt\"]"), ("accepts_from = \"any\"", "accepts_from = [\"a\"]"), ("10.1.0.0/24", "10.1.0.0/25"),
        ("113", "112"), ("\"leder@a.test\"", "\"vakt@a.test\""), ("alle@", "noen@"), ("\"inn\"", "\"ut\""), ("\"gw\"", "\"gv\""),
        ("2027", "2028"), ("to = \"b\"", "to = \"a\""), ("[[gateway]]", "[[gatevay]]"), ("[[room]]", "[[room"),
        ("user = \"b\"", "user = \"b\"\n[[room.workstation]]\nuser = \"c\""),
    ];
    for (from, to) in changes {
        let other = export.replacen(from, to, 1);
        assert_ne!(other, export, "{from}");
        assert!(!table.reads_back(&other), "{from} -> {to}");
    }
    let shorter = export.split("\n[[redirect]]").next().unwrap();
    assert!(!table.reads_back(shorter));
}
