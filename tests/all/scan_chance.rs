//! A thousand messages against two engines that fail at random: none passes unscanned, none is lost.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use ilbud::mail::Reference;

use crate::client::{letter_saying, vakt};
use crate::fake_scanner::{FakeScanner, Fault};
use crate::relay::{Relay, Setup};
use crate::scans::engine;
use crate::sink::Sink;
use crate::wait;

const MESSAGES: usize = 1000;
const SENDERS: usize = 10;
/// One message in so many is infected.
const INFECTED: usize = 20;
/// One answer in so many fails.
const FAILING: u64 = 20;

/// The same faults each time, from a seed.
fn faults(mut seed: u64, count: usize) -> Vec<Fault> {
    const FAULTS: [Fault; 7] = [
        Fault::HangUp,
        Fault::DieMidStream,
        Fault::Silent,
        Fault::Half,
        Fault::Say("what?"),
        Fault::Twice,
        Fault::Raw(b"\xff\0"),
    ];
    let mut next = move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let one = |_| match next() % FAILING {
        0 => FAULTS[usize::try_from(next()).unwrap() % FAULTS.len()].clone(),
        _ => Fault::Right,
    };
    (0..count).map(one).collect()
}

/// What became of a message whose sender heard 250, in the order of the log.
fn stories(relay: &Relay) -> BTreeMap<String, Vec<String>> {
    let store = rusqlite::Connection::open(relay.path("ilbud.db")).unwrap();
    let mut query = store
        .prepare("SELECT reference, kind, details FROM event ORDER BY sequence")
        .unwrap();
    let rows = query.query_map([], |row| {
        let reference: i64 = row.get(0)?;
        let details: String = row.get(2)?;
        Ok((reference, row.get::<_, String>(1)?, details))
    });
    let mut stories: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows.unwrap() {
        let (reference, kind, details) = row.unwrap();
        let details: serde_json::Value = serde_json::from_str(&details).unwrap();
        let told = match details["verdict"].as_str() {
            Some(verdict) if kind == "scanned" => format!("scanned {verdict}"),
            _ => kind,
        };
        let reference = Reference::from_number(reference.unsigned_abs()).to_string();
        stories.entry(reference).or_default().push(told);
    }
    stories
}

#[test]
fn of_a_thousand_messages_none_passes_unscanned_and_none_is_lost() {
    let sink = Sink::start();
    let engines = [FakeScanner::start(), FakeScanner::start()];
    for (seed, scanner) in (1..).zip(&engines) {
        scanner.find("malign", "Test.Malign");
        scanner.script(&faults(seed, 3 * MESSAGES));
    }
    let settings = engine(&engines[0], "one", "20s") + &engine(&engines[1], "two", "20s");
    let relay = Setup::from_a_to(&sink.hop())
        .settings(&format!(
            "[limits]\nconnections_per_address = 100\n{settings}"
        ))
        .start();
    let promised: Mutex<HashMap<String, Vec<u8>>> = Mutex::default();
    let caught: Mutex<HashSet<String>> = Mutex::default();
    let refused = Mutex::new(0);
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (promised, caught, refused, relay) = (&promised, &caught, &refused, &relay);
            scope.spawn(move || {
                let mut client = relay.client("a");
                for n in (sender..MESSAGES).step_by(SENDERS) {
                    let is_infected = n % INFECTED == 7;
                    let text = if is_infected { "malign" } else { "harmless" };
                    let text = format!("{n}: {text}\r\n");
                    let message = letter_saying(&vakt("a"), &vakt("b"), &text);
                    let reply = client.send(&vakt("a"), &[&vakt("b")], &message);
                    match (reply.code, is_infected) {
                        (550, true) => *refused.lock().unwrap() += 1,
                        (250, true) => drop(caught.lock().unwrap().insert(reply.reference())),
                        (250, false) => {
                            promised.lock().unwrap().insert(reply.reference(), message);
                        }
                        _ => panic!("{n}: {reply}"),
                    }
                }
            });
        }
    });
    let (promised, caught) = (promised.into_inner().unwrap(), caught.into_inner().unwrap());
    assert_eq!(promised.len(), MESSAGES - MESSAGES / INFECTED);
    assert_eq!(
        caught.len() + refused.into_inner().unwrap(),
        MESSAGES / INFECTED
    );
    let over = wait::within(Duration::from_secs(120), || {
        sink.count() >= promised.len() && relay.queue_is_empty()
    });
    assert!(over, "{} of {} arrived", sink.count(), promised.len());

    let passed = engines.each_ref().map(|it| HashSet::from_iter(it.passed()));
    let passed: [HashSet<Vec<u8>>; 2] = passed;
    let kept = sink.kept();
    assert_eq!(kept.len(), promised.len(), "each arrives once");
    let arrived: Vec<&Vec<u8>> = promised
        .values()
        .filter(|sent| kept.iter().any(|it| it.data.ends_with(sent)))
        .collect();
    assert_eq!(arrived.len(), promised.len(), "lost");
    for message in arrived {
        for passed in &passed {
            assert!(passed.contains(message), "delivered unscanned");
        }
    }
    for message in &kept {
        assert!(
            message.text().contains("X-Ilbud-Scan: clean;"),
            "{message:?}"
        );
    }

    let stories = stories(&relay);
    let mut waited = 0;
    for reference in promised.keys() {
        let story = &stories[reference];
        let place = |event: &str| story.iter().position(|it| it == event);
        let clean = place("scanned clean").unwrap_or_else(|| panic!("{reference}: {story:?}"));
        assert!(place("delivered") > Some(clean), "{reference}: {story:?}");
        waited += usize::from(place("scanned unscannable").is_some());
    }
    for reference in &caught {
        let story = &stories[reference];
        assert!(story.contains(&"quarantined".to_owned()), "{story:?}");
        assert!(!story.contains(&"delivered".to_owned()), "{story:?}");
    }
    assert!(waited > 0, "no engine failed");
    eprintln!(
        "{waited} waited for their scan, {} were caught after the 250",
        caught.len()
    );
}
