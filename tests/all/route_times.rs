//! Times as people type and read them: what clocks here skip or show twice is told, and a moment is told as
//! local time with its offset; scripts get it in UTC.

use std::process::Output;

use crate::client::{letter, vakt};
use crate::relay::{Relay, Setup, column};

const OPEN: [&str; 6] = ["route", "redirect", "open", "room-b", "to", "room-c"];
/// Summer time, from 02:00 to 03:00 on 29 March 2099, back on 25 October.
const SKIPPED: &str = "2099-03-29 02:30 never comes, since clocks here are put forward past it; \
    write \"2099-03-29 03:30:00+02:00\"";
const TWICE: &str = "2099-10-25 02:30 comes twice, since clocks here are put back; \
    write \"2099-10-25 02:30:00+02:00\" or \"2099-10-25 02:30:00+01:00\"";

fn prepared() -> Relay {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    relay
}

/// As it is run in Norway.
fn run(relay: &Relay, arguments: &[&str]) -> Output {
    let mut command = relay.command(arguments);
    command.env("TZ", "Europe/Oslo").output().unwrap()
}

fn done(relay: &Relay, arguments: &[&str]) -> String {
    let output = run(relay, arguments);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(relay: &Relay, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(relay, arguments);
    let complaint = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), complaint)
}

#[test]
fn a_time_that_clocks_skip_or_show_twice_is_no_moment() {
    let relay = prepared();
    let explain = ["route", "explain", &vakt("a"), &vakt("b"), "--at"];
    let search = ["log", "search", "--since"];
    for command in [&[&OPEN[..], &["until"]].concat()[..], &explain, &search] {
        for (time, expected) in [("2099-03-29 02:30", SKIPPED), ("2099-10-25T02:30", TWICE)] {
            let (status, told) = refused(&relay, &[command, &[time]].concat());
            assert_eq!(status, Some(2), "{command:?}: {told}");
            assert!(told.contains(expected), "{command:?}: {told}");
        }
    }
    // The next time that a clock shows it, from a day on that has it twice.
    let later = ["from", "2099-10-24 12:00", "until", "02:30"];
    for command in [OPEN.to_vec(), [&OPEN[..], &["--plan"]].concat()] {
        let (status, told) = refused(&relay, &[&command[..], &later].concat());
        assert_eq!((status, told), (Some(1), format!("ilbud: {TWICE}\n")));
    }
    assert_eq!(relay.rows(&["route", "history"]).len(), 1);
    // What is to be written instead can be written.
    for time in ["2099-10-25 02:30:00+02:00", "2099-10-25 02:30:00+01:00"] {
        let told = done(&relay, &[&OPEN[..], &["until", time]].concat());
        let expected = format!("Mail for room-b goes to room-c until {time}.");
        assert_eq!(told.lines().last(), Some(expected.as_str()));
        done(&relay, &["route", "redirect", "close", "room-b"]);
    }
}

#[test]
fn people_are_told_local_time_and_scripts_utc() {
    let redirect = "[[redirect]]\nroom = \"room-b\"\nto = \"room-c\"\n\
        until = 2099-07-01T05:00:00Z\nreason = \"Flytting\"\n";
    let relay = Setup::three_rooms().routes(redirect).start();
    let summer = "2099-07-01 07:00:00+02:00";
    let explain = ["route", "explain", &vakt("a"), &vakt("b")];
    let rule = |until: &str| {
        format!("room \"room-b\" is redirected to \"room-c\" until {until}: Flytting")
    };
    let told = done(&relay, &explain);
    assert!(told.contains(&rule(summer)), "{told}");
    let told = relay.rows(&explain)[0]["steps"].to_string();
    assert!(told.contains("until 2099-07-01T05:00:00.000Z"), "{told}");

    let (_, told) = refused(&relay, &[&OPEN[..], &["until", "2h"]].concat());
    assert!(told.contains(&format!("until {summer}")), "{told}");
    let (_, told) = refused(
        &relay,
        &[&OPEN[..], &["until", "2020-01-01 07:00"]].concat(),
    );
    assert_eq!(told, "ilbud: 2020-01-01 07:00:00+01:00 is over already\n");

    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    let told = done(&relay, &["log", "show", &reply.reference()]);
    assert!(told.contains(&rule(summer)), "{told}");
    for listing in [
        &["route", "history"][..],
        &["log", "search"],
        &["log", "show", &reply.reference()],
    ] {
        let told = done(&relay, listing);
        let is_local = told.contains("+01:00") || told.contains("+02:00");
        assert!(is_local && !told.contains("000Z"), "{listing:?}: {told}");
    }
    let rows = relay.rows(&["route", "history"]);
    assert!(column(&rows, "at").iter().all(|it| it.ends_with('Z')));
}
