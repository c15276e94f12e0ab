//! A full disk: 452, the relay lives, and takes mail again by itself once there is room.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::client::{letter_saying, vakt};
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
fn inside(relay: &Relay, arguments: &[&str]) -> String {
    let output = Command::new("nsenter")
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
        .unwrap();
    peer::succeeded("ilbud", &output)
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
