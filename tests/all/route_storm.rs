//! The routing table changes again and again under load, by two at once, and by commands that are killed:
//! nobody ever meets half a table, and no message fares otherwise than one of the tables says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::client::{letter, vakt};
use crate::clock_steps::Clock;
use crate::peer::all_here;
use crate::relay::{BINARY, Relay, Setup, column, room};
use crate::sink::{Message, Sink};
use crate::wait;

const GROUP: &str = "alle@gruppe.nodnett.test";
const SENDERS: usize = 4;
const MESSAGES: usize = 600;
/// As many revisions at least come in force while they send.
const EDITS: usize = 25;
const HOUR: i64 = 3600;

fn group(letters: &[&str]) -> String {
    let members: Vec<String> = letters.iter().map(|it| format!("{:?}", vakt(it))).collect();
    format!(
        "[[group]]\naddress = \"{GROUP}\"\nmembers = [{}]\n",
        members.join(", ")
    )
}

/// Two tables that both know rooms a, b and c. Only the second knows d; b's mail goes to another hop
/// there, and the group has other members.
struct Tables {
    hops: BTreeMap<&'static str, Sink>,
    odd: String,
    even: String,
}

impl Tables {
    fn new() -> Self {
        let hops: BTreeMap<_, _> = ["b1", "b2", "c", "d"]
            .map(|name| (name, Sink::start()))
            .into();
        let hop = |name: &str| hops[name].hop();
        let fixed = [room("a", "maildir:mail/a", ""), room("c", &hop("c"), "")].concat();
        let odd = [fixed.clone(), room("b", &hop("b1"), ""), group(&["b", "c"])];
        let d = room("d", &hop("d"), "");
        let even = [fixed, room("b", &hop("b2"), ""), d, group(&["b", "c", "d"])];
        Self {
            odd: odd.concat(),
            even: even.concat(),
            hops,
        }
    }

    fn write(&self, relay: &Relay) {
        fs::write(relay.path("odd.toml"), &self.odd).unwrap();
        fs::write(relay.path("even.toml"), &self.even).unwrap();
    }

    fn arrived(&self, hop: &str) -> Vec<Message> {
        self.hops[hop].kept()
    }
}

/// Reference of each message that was accepted, with the recipient that was asked for; and of each refusal.
#[derive(Default)]
struct Ledger {
    accepted: Mutex<BTreeMap<String, String>>,
    refused: Mutex<BTreeSet<String>>,
}

impl Ledger {
    fn fill(&self, relay: &Relay) {
        let recipients = [vakt("b"), vakt("c"), GROUP.to_owned(), vakt("d")];
        let mut client = relay.client("a");
        for recipient in recipients.iter().cycle().take(MESSAGES) {
            let reply = client.send(&vakt("a"), &[recipient], &letter(&vakt("a"), recipient));
            match reply.code {
                250 => {
                    let mut accepted = self.accepted.lock().unwrap();
                    accepted.insert(reply.reference(), recipient.clone());
                }
                _ => {
                    assert_eq!(
                        (reply.said().as_str(), recipient),
                        ("550 5.7.1", &vakt("d"))
                    );
                    self.refused.lock().unwrap().insert(reply.reference());
                    client.say("RSET");
                }
            }
        }
    }
}

/// One table after the other until the senders are done, and a few times at least.
fn edit(relay: &Relay, over: &AtomicBool) {
    for n in 1.. {
        if n > EDITS && over.load(Ordering::Relaxed) {
            return;
        }
        let file = if n % 2 == 0 { "odd.toml" } else { "even.toml" };
        relay.done(&["route", "apply", file]);
    }
}

fn known_to(revision: &Value) -> &'static str {
    match revision.as_u64().unwrap() % 2 {
        1 => "odd",
        _ => "even",
    }
}

#[test]
fn no_message_is_refused_or_goes_astray_that_both_tables_would_take() {
    let tables = Tables::new();
    let relay = Setup::no_rooms().routes(&tables.odd).start();
    tables.write(&relay);
    let (ledger, over) = (Ledger::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| edit(&relay, &over));
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| scope.spawn(|| ledger.fill(&relay)))
            .collect();
        for sender in senders {
            sender.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    // What was accepted for d waits as long as nobody knows d.
    relay.done(&["route", "apply", "even.toml"]);
    wait::until("an empty queue", || relay.queue_is_empty());
    let accepted = ledger.accepted.into_inner().unwrap();
    let refused = ledger.refused.into_inner().unwrap();
    assert_eq!(accepted.len() + refused.len(), SENDERS * MESSAGES);

    // Each hop got what is for its room alone, and together they got every recipient once.
    let mut arrived: BTreeMap<&str, usize> = BTreeMap::new();
    for (hop, room) in [("b1", "b"), ("b2", "b"), ("c", "c"), ("d", "d")] {
        for message in tables.arrived(hop) {
            assert_eq!(
                message.recipients,
                [format!("<{}>", vakt(room))],
                "at {hop}"
            );
            *arrived.entry(room).or_default() += 1;
        }
    }
    let rows = relay.rows(&["log", "search", "--limit", "100000"]);
    let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
    let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row["status"] == "delivered") {
        let room = row["recipient_room"].as_str().unwrap();
        let room = room.strip_prefix("room-").unwrap();
        *expected.entry(room).or_default() += 1;
        let reference = row["ref"].as_str().unwrap();
        members.entry(reference).or_default().insert(room);
    }
    assert_eq!(arrived, expected);
    // The members of a group are those of one of the tables.
    let in_groups = accepted.iter().filter(|(_, asked)| *asked == GROUP);
    let mut seen = BTreeSet::new();
    for (reference, _) in in_groups {
        let rooms: Vec<_> = members[reference.as_str()].iter().copied().collect();
        assert!(
            ["b c", "b c d"].contains(&rooms.join(" ").as_str()),
            "{rooms:?}"
        );
        seen.insert(rooms.len());
    }
    assert_eq!(seen, BTreeSet::from([2, 3]), "both tables were in force");
    // What was refused was refused by a table without the room, and the row names it.
    assert!(!refused.is_empty());
    for reference in refused.iter().take(20) {
        assert_eq!(known_to(&relay.story(reference)[0]["revision"]), "odd");
    }
    let for_d = accepted.iter().filter(|(_, asked)| **asked == vakt("d"));
    for (reference, _) in for_d.take(20) {
        let story = relay.story(reference);
        assert_eq!(known_to(&story[0]["revision"]), "even", "{story:?}");
    }
}

/// `ilbud route apply FILE`, not yet over.
fn begin(relay: &Relay, file: &str) -> Child {
    Command::new(BINARY)
        .args(["route", "apply", file, "--config"])
        .arg(relay.path("ilbud.toml"))
        .current_dir(relay.home())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Within the time that a command takes.
fn random_moment() -> Duration {
    Duration::from_micros(RandomState::new().hash_one(0) % 60_000)
}

#[test]
fn an_apply_that_is_killed_is_done_or_not_done() {
    let tables = Tables::new();
    let mut relay = Setup::no_rooms().routes(&tables.odd).start();
    tables.write(&relay);
    relay.done(&["route", "apply", "even.toml"]);
    let even = relay.done(&["route", "export"]);
    relay.done(&["route", "apply", "odd.toml"]);
    let odd = relay.done(&["route", "export"]);
    let mut done = 3;
    for n in 0..40 {
        let file = if n % 2 == 0 { "even.toml" } else { "odd.toml" };
        let mut command = begin(&relay, file);
        std::thread::sleep(random_moment());
        command.kill().unwrap();
        command.wait().unwrap();
        let history = relay.rows(&["route", "history"]);
        let numbers: Vec<usize> = column(&history, "revision")
            .iter()
            .rev()
            .map(|it| it.parse().unwrap())
            .collect();
        assert_eq!(numbers, (1..=history.len()).collect::<Vec<_>>());
        assert!(history.len() <= done + 1);
        done = history.len();
        let now = relay.done(&["route", "export"]);
        assert_eq!(now, if done % 2 == 0 { &*even } else { &*odd });
    }
    let knows_d = |relay: &Relay| {
        let mut client = relay.client("a");
        client.envelope(&vakt("a"), &[&vakt("d")], "").is_none()
    };
    wait::until("the relay goes by what stands in the store", || {
        knows_d(&relay) == (done % 2 == 0)
    });
    relay.kill();
    relay.start();
    // What a command had on the disk when it was killed, and had shown to nobody, may count from now on.
    let history = relay.rows(&["route", "history"]);
    assert!([done, done + 1].contains(&history.len()), "{history:?}");
    assert_eq!(knows_d(&relay), history.len().is_multiple_of(2));
}

#[test]
fn of_many_who_expect_the_same_revision_one_comes_through() {
    let relay = Setup::three_rooms().start();
    for n in 0..6 {
        let late = format!("give_up_after = \"{}h\"\n", n + 2);
        let table = room("a", "maildir:mail/a", &late);
        fs::write(relay.path(&format!("{n}.toml")), table).unwrap();
    }
    let apply = |n: usize, more: &[&str]| {
        let file = format!("{n}.toml");
        relay.run(&[&["route", "apply", &file], more].concat())
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..6)
            .map(|n| scope.spawn(move || apply(n, &["--expect", "1"])))
            .collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let (done, refused): (Vec<_>, Vec<_>) =
        outcomes.into_iter().partition(|it| it.status.success());
    assert_eq!(done.len(), 1, "{refused:?}");
    for output in refused {
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("is at revision 2, not 1: plan again"),
            "{said}"
        );
    }
    // Who expects nothing comes through, and every table of theirs is in the history.
    std::thread::scope(|scope| {
        for n in 0..6 {
            scope.spawn(move || assert!(apply(n, &[]).status.success()));
        }
    });
    let history = relay.rows(&["route", "history"]);
    // One of the six may have been the very table in force.
    assert!([7, 8].contains(&history.len()), "{history:?}");
    let tables: BTreeSet<String> = column(&history, "revision")
        .iter()
        .map(|it| relay.done(&["route", "show", it]))
        .collect();
    assert_eq!(tables.len(), 7, "the first, and six others");
}

#[test]
fn a_redirect_goes_by_the_clock_when_that_is_set_back() {
    if !all_here(&["faketime"]) {
        return;
    }
    let clock = Clock::new();
    let now = ilbud::mail::Timestamp::now();
    let redirect = format!(
        "[[redirect]]\nroom = \"room-b\"\nto = \"room-c\"\nfrom = {}\nuntil = {}\n",
        now.before(Duration::from_secs(600)),
        now.after(Duration::from_secs(600)),
    );
    let relay = clock.run(Setup::three_rooms().routes(&redirect));
    let send = || {
        let mut client = relay.client("a");
        let reply = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
        relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
        ["b", "c"].map(|it| relay.maildir(it, "vakt").len())
    };
    assert_eq!(send(), [0, 1], "it is open");
    clock.set(-HOUR);
    assert_eq!(send(), [1, 1], "it has not begun");
    clock.set(HOUR);
    assert_eq!(send(), [2, 1], "it is over");
    clock.set(0);
    assert_eq!(send(), [2, 2], "it is open again");
    clock.set(-HOUR);
    assert_eq!(send(), [3, 2], "it has not begun again");
}
