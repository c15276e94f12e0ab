//! What holds of every routing table, whatever stands in it: random sound tables, in the pure code and from
//! the command line.

use std::fmt::Write;

use ilbud::mail::{Origin, RoomId, Timestamp};
use ilbud::policy::decide::{self, Decision};
use ilbud::policy::difference::difference;
use ilbud::policy::table::RoutingTable;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::relay::Setup;

const ROOMS: usize = 6;

#[derive(Debug, Clone)]
struct Room {
    name: String,
    kind: &'static str,
    phone: Option<String>,
    second_domain: bool,
    hops: Vec<&'static str>,
    recipients: Option<Vec<&'static str>>,
    accepts_from: Option<Vec<usize>>,
    workstations: Vec<Workstation>,
    keys: Vec<&'static str>,
    comment: Option<String>,
}

#[derive(Debug, Clone)]
enum Workstation {
    Network(u8, u8),
    Certificate(u8),
    User(u8),
}

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 _.,;:#'\"\\\\/=\\[\\]{}+\u{e6}\u{f8}\u{e5}\u{c6}\u{d8}\u{c5}\u{20ac}\u{2028}-]{0,16}[a-z\u{f8}]"
}

/// As TOML and JSON both write a text.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn workstation() -> impl Strategy<Value = Workstation> {
    prop_oneof![
        (any::<u8>(), 8..=32_u8).prop_map(|(at, length)| Workstation::Network(at, length)),
        any::<u8>().prop_map(Workstation::Certificate),
        any::<u8>().prop_map(Workstation::User),
    ]
}

fn room() -> impl Strategy<Value = Room> {
    let hops = [
        "smtp://10.9.0.1:25",
        "smtps://user:p%40ss@mail.test:465",
        "lmtp:/run/lmtp.sock",
        "mx:mail.test",
        "maildir:data/mail",
        "smtp://[2001:db8::1]:2525?tls=required",
    ];
    let mailboxes = ["vakt", "leder", "\u{f8}yvind", "a.b", "\"a, b\""];
    let keys = [
        "warn_after = \"3m\"",
        "give_up_after = \"2h\"",
        "priority_ceiling = 2",
        "disabled = true",
        "strictness = { missing_tls = \"warn\" }",
        "scan = { macros = \"refuse\", on_failure = \"reject\" }",
    ];
    let words = (
        text(),
        select(&["amk", "legevakt", "akuttmottak", "other"][..]),
        option::of(text()),
        option::of(text()),
    );
    let rules = (
        any::<bool>(),
        subsequence(hops.to_vec(), 1..=3),
        option::of(subsequence(mailboxes.to_vec(), 0..=5)),
        option::of(subsequence((0..ROOMS).collect::<Vec<_>>(), 0..=ROOMS)),
        vec(workstation(), 0..4),
        subsequence(keys.to_vec(), 0..=keys.len()),
    );
    (words, rules).prop_map(|((name, kind, phone, comment), rules)| {
        let (second_domain, hops, recipients, accepts_from, workstations, keys) = rules;
        Room {
            name,
            kind,
            phone,
            second_domain,
            hops,
            recipients,
            accepts_from,
            workstations,
            keys,
            comment,
        }
    })
}

fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|it| quoted(it.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

impl Room {
    fn write(&self, at: usize, rooms: usize, out: &mut String) {
        if let Some(comment) = &self.comment {
            writeln!(out, "# {}", comment.replace('\u{2028}', " ")).unwrap();
        }
        writeln!(
            out,
            "[[room]]\nid = \"room-{at}\"\nname = {}",
            quoted(&self.name)
        )
        .unwrap();
        writeln!(out, "kind = \"{}\"", self.kind).unwrap();
        if let Some(phone) = &self.phone {
            writeln!(out, "phone = {}", quoted(phone)).unwrap();
        }
        let domains = [format!("r{at}.test"), format!("\u{f8}{at}.test")];
        let count = 1 + usize::from(self.second_domain);
        writeln!(out, "domains = {}", list(&domains[..count])).unwrap();
        writeln!(out, "next_hops = {}", list(&self.hops)).unwrap();
        if let Some(recipients) = &self.recipients {
            writeln!(out, "recipients = {}", list(recipients)).unwrap();
        }
        if let Some(accepts) = &self.accepts_from {
            let accepts = accepts.iter().filter(|it| **it < rooms);
            let accepts = accepts.map(|it| format!("room-{it}"));
            writeln!(out, "accepts_from = {}", list(accepts)).unwrap();
        }
        for key in &self.keys {
            writeln!(out, "{key}").unwrap();
        }
        for workstation in &self.workstations {
            let line = match workstation {
                Workstation::Network(net, length) => {
                    let address = std::net::Ipv4Addr::new(10, *net, 0, 0);
                    let net = ipnet::Ipv4Net::new(address, *length).unwrap().trunc();
                    format!("network = \"{net}\"")
                }
                Workstation::Certificate(n) => format!("certificate = \"ws{n}.test\""),
                Workstation::User(n) => format!("user = \"user{n}\""),
            };
            writeln!(out, "[[room.workstation]]\n{line}").unwrap();
        }
    }

    fn has_vakt(&self) -> bool {
        self.recipients
            .as_ref()
            .is_none_or(|it| it.contains(&"vakt"))
    }
}

/// A sound table.
fn table() -> impl Strategy<Value = String> {
    let rooms = vec(room(), 1..=ROOMS);
    let groups = vec(subsequence((0..ROOMS).collect::<Vec<_>>(), 0..=ROOMS), 0..3);
    let redirects = vec(
        (0..ROOMS, 0..ROOMS, any::<bool>(), option::of(text())),
        0..3,
    );
    let gateways = 0..3_usize;
    (rooms, groups, redirects, gateways).prop_map(|(rooms, groups, redirects, gateways)| {
        let mut out = String::new();
        for (at, room) in rooms.iter().enumerate() {
            room.write(at, rooms.len(), &mut out);
        }
        for (n, members) in groups.iter().enumerate() {
            let members = members.iter();
            let known = members.filter(|at| rooms.get(**at).is_some_and(Room::has_vakt));
            let members = known.map(|at| format!("vakt@r{at}.test"));
            // Each group holds the one before it.
            let earlier = n.checked_sub(1).map(|it| format!("g{it}@gruppe.test"));
            let members = list(members.chain(earlier));
            writeln!(
                out,
                "[[group]]\naddress = \"g{n}@gruppe.test\"\nmembers = {members}"
            )
            .unwrap();
        }
        for n in 0..gateways {
            writeln!(
                out,
                "[[gateway]]\nname = \"inn {n}\"\nnetwork = \"10.250.{n}.0/24\""
            )
            .unwrap();
        }
        for (from, to, ends, reason) in redirects {
            // Always towards a room with a higher number: never a circle.
            let (from, to) = (from.min(to), from.max(to));
            if from == to || to >= rooms.len() {
                continue;
            }
            writeln!(
                out,
                "[[redirect]]\nroom = \"room-{from}\"\nto = \"room-{to}\""
            )
            .unwrap();
            if ends {
                writeln!(out, "until = 2026-11-23T07:00:00+01:00").unwrap();
            }
            if let Some(reason) = reason {
                writeln!(out, "reason = {}", quoted(&reason)).unwrap();
            }
        }
        out
    })
}

fn parsed(toml: &str, revision: u64) -> RoutingTable {
    match RoutingTable::parse(toml, revision) {
        Ok((table, _)) => table,
        Err(faults) => panic!("{faults:#?}\n{toml}"),
    }
}

/// Known and unknown ones, and what is hardly an address.
fn address() -> impl Strategy<Value = String> {
    let local = prop_oneof![
        select(&["vakt", "leder", "VAKT", "ukjent", "\"a, b\"", "a%b", ""][..])
            .prop_map(str::to_owned),
        text(),
    ];
    let domain = prop_oneof![
        (0..ROOMS).prop_map(|at| format!("r{at}.test")),
        (0..ROOMS).prop_map(|at| format!("\u{f8}{at}.TEST")),
        select(&["gruppe.test", "example.com", "r1.test.", "[10.0.0.1]"][..])
            .prop_map(str::to_owned),
        text(),
    ];
    prop_oneof![
        8 => (local, domain).prop_map(|(local, domain)| format!("{local}@{domain}")),
        1 => (0..3_usize).prop_map(|n| format!("g{n}@gruppe.test")),
        1 => any::<String>(),
    ]
}

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![
        (0..=ROOMS).prop_map(|at| Origin::Room(RoomId::new(&format!("room-{at}")))),
        Just(Origin::Gateway("inn 0".to_owned())),
        Just(Origin::Relay),
    ]
}

fn settings(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(settings(200))]

    #[test]
    fn the_table_built_from_an_export_is_its_source(toml in table()) {
        let source = parsed(&toml, 7);
        let export = source.export();
        let again = parsed(&export, 7);
        prop_assert_eq!(&again.export(), &export);
        prop_assert!(difference(&source, &again).is_empty());
        prop_assert_eq!(again.rooms().collect::<Vec<_>>(), source.rooms().collect::<Vec<_>>());
        prop_assert_eq!(again.groups(), source.groups());
        prop_assert_eq!(again.gateways().collect::<Vec<_>>(), source.gateways().collect::<Vec<_>>());
        let redirects = source.redirects().collect::<Vec<_>>();
        prop_assert_eq!(again.redirects().collect::<Vec<_>>(), redirects);
    }

    #[test]
    fn a_decision_is_made_about_everything(
        toml in table(),
        asked in vec((origin(), address()), 1..20),
        seconds in 1_795_000_000_i64..1_800_000_000,
    ) {
        let table = parsed(&toml, 7);
        let now = Timestamp::from_millis(seconds * 1000);
        for (origin, recipient) in asked {
            match decide::decide(&origin, None, &recipient, &table, now) {
                Decision::Accept(accepted) => {
                    for it in &accepted.recipients {
                        // Nothing leaves: it is for a registered room, and there is a way there.
                        let room = table.room_of(it.address.domain());
                        prop_assert_eq!(room.map(|room| &room.id), Some(&it.room));
                        prop_assert!(decide::route(&it.room, &table, now).is_some());
                        prop_assert_eq!(it.revision, 7);
                    }
                    prop_assert!(!accepted.recipients.is_empty());
                }
                Decision::Refuse(refused) => {
                    prop_assert!(refused.reply.to_string().starts_with('5'), "{:?}", refused);
                    prop_assert_eq!(refused.revision, 7);
                    prop_assert!(!refused.rule.is_empty());
                }
                Decision::Defer(refused) => {
                    prop_assert!(refused.reply.to_string().starts_with('4'), "{:?}", refused);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(settings(6))]

    #[test]
    fn a_plan_after_apply_is_empty_and_a_revert_gives_back_the_same_bytes(
        tables in vec(table(), 3),
        back_to in 1..=3_usize,
    ) {
        let relay = Setup::no_rooms().prepare();
        let mut exports = Vec::new();
        for toml in &tables {
            std::fs::write(relay.path("new.toml"), toml).unwrap();
            relay.done(&["route", "apply", "new.toml"]);
            prop_assert_eq!(relay.rows(&["route", "plan", "new.toml"]), Vec::<serde_json::Value>::new());
            let export = relay.done(&["route", "export"]);
            if exports.last() != Some(&export) {
                exports.push(export);
            }
        }
        let back_to = back_to.min(exports.len());
        let old = relay.done(&["route", "show", &back_to.to_string()]);
        prop_assert_eq!(&old, &exports[back_to - 1]);
        relay.done(&["route", "revert", &back_to.to_string()]);
        prop_assert_eq!(relay.done(&["route", "export"]), old);
        std::fs::write(relay.path("old.toml"), &exports[back_to - 1]).unwrap();
        let plan = relay.done(&["route", "plan", "old.toml"]);
        prop_assert!(plan.starts_with("No difference: "), "{}", plan);
    }
}
