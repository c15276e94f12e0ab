//! A full disk: 452, the relay lives, and takes mail again by itself once there is room.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::client::{letter_saying, vakt};
use crate::log_privacy::{FILE, SUBJECT, message, send as send_named};
use crate::peer;
use crate::relay::{Relay, Setup, free_port};
use crate::sink::{Sink, Step};
use crate::wait;

/// Mounts a small filesystem that only this relay sees, then becomes the relay.
const ON_A_SMALL_DISK: &str = "mount -t tmpfs -o size=16m tmpfs \"$0\" && exec \"$@\"";

/// The small disk, as seen through the relay's own eyes.
fn disk(relay: &Relay, folder: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{folder}", relay.id()))
}

/// Takes all that is left.
fn fill(file: &PathBuf) {
    let mut filler = fs::File::create(file).unwrap();
    for size in [64 * 1024, 1024, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Runs a command in the relay's own view of the disks.
fn run_inside(relay: &Relay, arguments: &[&str]) -> Output {
    Command::new("nsenter")
        .args([
            "-m",
            "-t",
            &relay.id().to_string(),
            env!("CARGO_BIN_EXE_ilbud"),
        ])
        .args(arguments)
        .arg("--config")
        .arg(relay.path("ilbud.toml"))
        .output()
        .unwrap()
}

fn inside(relay: &Relay, arguments: &[&str]) -> String {
    peer::succeeded("ilbud", &run_inside(relay, arguments))
}

#[test]
fn a_full_disk_is_temporary_trouble() {
    if !peer::all_here(&["root", "unshare", "nsenter"]) {
        return;
    }
    let small = tempfile::tempdir().unwrap();
    let folder = small.path().to_str().unwrap();
    let port = free_port();
    let mut relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{port}"))
        .store_in(small.path())
        .under(&["unshare", "-m", "sh", "-c", ON_A_SMALL_DISK, folder])
        .start();
    let filler = disk(&relay, folder).join("filler");
    let send = || {
        let body = format!("{}\r\n", "x".repeat(70)).repeat(400);
        let message = letter_saying(&vakt("a"), &vakt("b"), &body);
        (
            relay.client("a").send(&vakt("a"), &[&vakt("b")], &message),
            message,
        )
    };
    let mut promised = vec![send()];
    assert_eq!(promised[0].0.said(), "250 2.0.0", "{}", promised[0].0);

    fill(&filler);
    let refused = wait::find("a refusal", || {
        let (reply, message) = send();
        if reply.code == 250 {
            promised.push((reply, message));
            None
        } else {
            Some(reply)
        }
    });
    assert_eq!(refused.said(), "452 4.3.1", "{refused}");
    refused.reference();
    let announced = relay.client("a").say("NOOP");
    assert_eq!(announced.code, 250, "{announced}");

    fs::remove_file(&filler).unwrap();
    wait::until("room again", || {
        let (reply, message) = send();
        assert_eq!(reply.code / 100 % 2, 0, "never a 5xx: {reply}");
        let kept = reply.code == 250;
        if kept {
            promised.push((reply, message));
        }
        kept
    });
    let sink = Sink::on(port, |_, _, _| Step::Agree);
    let kept = sink.wait_for(promised.len());
    for (_, message) in &promised {
        assert!(
            kept.iter().any(|arrived| arrived.data.ends_with(message)),
            "one is lost"
        );
    }
    wait::until("an empty queue", || {
        inside(&relay, &["queue", "list", "--json"]).is_empty()
    });
    assert_eq!(sink.count(), promised.len());
    assert!(relay.is_running());
}

/// Nobody makes room: what was accepted goes out, and that is the room.
#[test]
fn a_disk_full_of_waiting_mail_empties_itself() {
    if !peer::all_here(&["root", "unshare", "nsenter"]) {
        return;
    }
    let small = tempfile::tempdir().unwrap();
    let folder = small.path().to_str().unwrap();
    let port = free_port();
    let relay = Setup::from_a_to(&format!("smtp://127.0.0.1:{port}"))
        .store_in(small.path())
        .under(&["unshare", "-m", "sh", "-c", ON_A_SMALL_DISK, folder])
        .start();
    let mut client = relay.client("a");
    let body = format!("{}\r\n", "x".repeat(70)).repeat(3000);
    let mut send = || {
        let message = letter_saying(&vakt("a"), &vakt("b"), &body);
        let reply = client.send(&vakt("a"), &[&vakt("b")], &message);
        (reply.said(), message)
    };
    let mut promised = Vec::new();
    let refused = loop {
        let (said, message) = send();
        if said != "250 2.0.0" {
            break said;
        }
        promised.push(message);
        assert!(promised.len() < 200, "the disk never fills");
    };
    assert_eq!(refused, "452 4.3.1");
    let sink = Sink::on(port, |_, _, _| Step::Agree);
    let kept = sink.wait_for(promised.len());
    for message in &promised {
        assert!(
            kept.iter().any(|arrived| arrived.data.ends_with(message)),
            "one is lost"
        );
    }
    wait::until("room again", || send().0 == "250 2.0.0");
}

/// Whoever asks gets an answer, and no look at the log goes without a row or a word.
#[test]
fn the_log_is_read_from_a_full_disk_and_what_cannot_be_noted_is_said() {
    if !peer::all_here(&["root", "unshare", "nsenter"]) {
        return;
    }
    let small = tempfile::tempdir().unwrap();
    let folder = small.path().to_str().unwrap();
    let relay = Setup::from_a_to("maildir:mail/b")
        .store_in(small.path())
        .language("nb")
        .under(&["unshare", "-m", "sh", "-c", ON_A_SMALL_DISK, folder])
        .start();
    let reference = send_named(&relay, &message(SUBJECT, FILE, "notat"));
    wait::until("delivery", || {
        inside(&relay, &["queue", "list", "--json"]).is_empty()
    });
    let filler = disk(&relay, folder).join("filler");
    fill(&filler);
    let r = reference.as_str();
    let (mut asked, mut silent, mut refused) = (0, 0, 0);
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    let mut read = |arguments: &[&str], holds: &str| {
        let output = run_inside(&relay, arguments);
        let (printed, said) = (text(output.stdout), text(output.stderr));
        asked += 1;
        match output.status.code() {
            Some(0) => {
                assert!(printed.contains(holds), "{arguments:?}: {printed}{said}");
                assert_eq!(printed.contains(SUBJECT), arguments.contains(&"--reason"));
                let warning = "warning: that the log was read could not be logged: the store has no space left";
                assert!(said.is_empty() || said.starts_with(warning), "{said}");
                assert!(said.lines().count() < 2, "{said}");
                silent += usize::from(said.is_empty());
            }
            status => {
                assert_eq!(status, Some(1), "{arguments:?}: {said}");
                let why = "ilbud: nothing is shown, since it cannot be logged that somebody saw it (the store has no space left";
                assert!(said.starts_with(why), "{said}");
                assert!(
                    arguments.contains(&"--reason") && printed.is_empty(),
                    "{printed}"
                );
                refused += 1;
            }
        }
        (asked - silent - refused, refused)
    };
    let delivered = "Levert til Rom B kl. ";
    wait::until("both a warning and a refusal", || {
        for (arguments, holds) in [
            (&["log", "search"][..], r),
            (&["log", "search", "epikrise"], delivered),
            (&["log", "search", "til Rom B"], delivered),
            (&["log", "answer", r], delivered),
            (&["log", "show", r], "accepted"),
        ] {
            read(arguments, holds);
        }
        let (warned, refused) = read(
            &["log", "show", r, "--reason", "pasienten ringer"],
            "accepted",
        );
        warned > 4 && refused > 0
    });
    // All rows, into what has no room for them, and into what has.
    let full = format!("{folder}/ut.csv");
    let output = run_inside(&relay, &["log", "export", "-o", &full]);
    let said = text(output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with(&format!("ilbud: {full}: ")) && said.matches("ilbud: ").count() == 1,
        "{said}"
    );
    let there = fs::read_dir(disk(&relay, folder)).unwrap();
    let names: Vec<_> = there.map(|it| it.unwrap().file_name()).collect();
    let ours = |it: &&std::ffi::OsString| !it.to_str().unwrap().starts_with("ilbud.db");
    assert_eq!(names.iter().filter(ours).collect::<Vec<_>>(), ["filler"]);
    inside(
        &relay,
        &[
            "log",
            "export",
            "-o",
            relay.path("ut.csv").to_str().unwrap(),
        ],
    );
    let rows = fs::read_to_string(relay.path("ut.csv")).unwrap();
    assert!(rows.contains(r), "{rows}");
    inside(&relay, &["log", "verify"]);
    fs::remove_file(&filler).unwrap();
    let noted = inside(&relay, &["log", "access", "--limit", "0", "--json"]);
    let noted = noted
        .lines()
        .filter(|it| !it.contains("\"log export\""))
        .count();
    assert_eq!(noted, silent, "{asked} asked, {refused} refused");
}
