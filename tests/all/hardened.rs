//! The shipped unit: systemd finds it sound and tight, and the relay works within what it allows.

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::client::{letter, vakt};
use crate::peer;
use crate::relay::{Relay, Setup, free_port};
use crate::wait;

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/ilbud.service");
/// In tenths: `systemd-analyze security` says OK up to 4.9, and gives 9.6 to a unit that says nothing.
const MOST_EXPOSED: u32 = 14;

fn analyze(arguments: &[&str]) -> String {
    peer::run("systemd-analyze", arguments)
}

#[test]
fn systemd_finds_the_unit_sound_and_tight() {
    if !peer::all_here(&["systemd"]) {
        return;
    }
    let bound = format!("--threshold={MOST_EXPOSED}");
    let found = analyze(&["security", "--offline=yes", "--no-pager", &bound, UNIT]);
    assert!(found.contains("Overall exposure level"), "{found}");

    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("ilbud.service");
    let binary = env!("CARGO_BIN_EXE_ilbud");
    let shipped = fs::read_to_string(UNIT).unwrap();
    fs::write(&unit, shipped.replace("/usr/bin/ilbud", binary)).unwrap();
    let output = peer::command("systemd-analyze")
        .arg("verify")
        .arg(&unit)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    assert!(!words.contains("ilbud.service:"), "{words}");
}

/// Programs that look at the message on stdin, and at a file, within limits.
const ENGINES: &str = r#"
[[scan.engine]]
kind = "command"
name = "stdin"
command = ["cat"]
[[scan.engine]]
kind = "command"
name = "file"
command = ["cat", "{file}"]
memory = "1 GiB"
cpu = "10s"
"#;

fn with_a_dead_room_c() -> Setup {
    let nobody = format!("smtp://127.0.0.1:{}", free_port());
    Setup::from_a_to("maildir:mail/b")
        .room("c", &nobody)
        .settings(ENGINES)
}

/// A full day in short: TLS, mail taken and delivered, a look into the log, and the end.
fn works(relay: &mut Relay) {
    let certs = relay.path("certs");
    let mut client = relay.client("a");
    client.start_tls(&certs);
    assert_eq!(client.say("EHLO ws.test").code, 250);
    let sent = client.send(&vakt("a"), &[&vakt("b")], &letter(&vakt("a"), &vakt("b")));
    assert_eq!(sent.said(), "250 2.0.0", "{sent}");
    let looked = client.send(&vakt("a"), &[&vakt("c")], &letter(&vakt("a"), &vakt("c")));
    wait::until("an attempt at a server", || {
        let told = relay.events(&looked.reference());
        told.iter().any(|it| it == "deferred")
    });
    wait::until("the delivery", || {
        relay
            .events(&sent.reference())
            .last()
            .is_some_and(|it| it == "delivered")
    });
    client.say("QUIT");
    assert!(relay.stop().success(), "{}", relay.log());
}

/// What a line of the shipped unit says, all lines with this key together.
fn said(key: &str) -> Vec<String> {
    let unit = fs::read_to_string(UNIT).unwrap();
    let values = unit
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

/// The calls of a set of systemd's, the sets within it included.
fn calls_of(set: &str) -> HashSet<String> {
    if !set.starts_with('@') {
        return HashSet::from([set.to_owned()]);
    }
    let listed = analyze(&["syscall-filter", "--no-pager", set]);
    let words = listed.lines().map(str::trim).filter(|it| !it.is_empty());
    let inside = words.filter(|it| *it != set && !it.starts_with('#'));
    inside.flat_map(calls_of).collect()
}

fn allowed_calls() -> HashSet<String> {
    let mut allowed = HashSet::new();
    for line in said("SystemCallFilter") {
        let (refused, sets) = match line.strip_prefix('~') {
            Some(sets) => (true, sets),
            None => (false, line.as_str()),
        };
        for call in sets.split_whitespace().flat_map(calls_of) {
            if refused {
                allowed.remove(&call);
            } else {
                allowed.insert(call);
            }
        }
    }
    allowed
}

/// Everything that this relay has is read-only but for its state, it is nobody, and of all
/// capabilities it has the one for low ports.
const CONFINED: &str = r#"
set -e
mount --make-rprivate /
home=$PWD
mount --bind "$home" "$home"
mount --bind "$home/state" "$home/state"
mount -o remount,bind,ro "$home"
cd "$home"
exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs \
    --inh-caps=-all,+net_bind_service --ambient-caps=-all,+net_bind_service \
    --bounding-set=-all,+net_bind_service "$@"
"#;

/// A port that only the privileged may bind, and that nobody has.
fn low_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(600);
    (0..400)
        .map(|_| NEXT.fetch_add(1, Ordering::Relaxed))
        .find(|port| *port < 1000 && TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port below 1024")
}

/// A relay that is confined so, under `more`.
fn confined(more: &[&str]) -> Relay {
    let under = [&["unshare", "-m", "sh", "-c", CONFINED, "sh"], more].concat();
    let mut relay = with_a_dead_room_c().tls("starttls").under(&under).prepare();
    let low = low_port();
    let state = relay.path("state");
    let settings = fs::read_to_string(relay.path("ilbud.toml")).unwrap();
    let address = |port: u16| format!("127.0.0.1:{port}");
    let store = |folder: &Path| format!("sqlite:{}", folder.display());
    let settings = settings
        .replace(&address(relay.port), &address(low))
        .replace(&store(relay.home()), &store(&state));
    fs::write(relay.path("ilbud.toml"), settings).unwrap();
    relay.port = low;
    let routes = relay.path("routes.toml");
    let table = fs::read_to_string(&routes).unwrap();
    let mail = format!("maildir:{}/mail", state.display());
    fs::write(&routes, table.replace("maildir:mail", &mail)).unwrap();
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    let folders = [relay.path("certs"), state, routes];
    let mut chown = Command::new("chown");
    let status = chown.args(["-R", "65534:65534"]).args(folders).status();
    assert!(status.unwrap().success());
    relay
}

#[test]
fn the_relay_works_as_nobody_with_nothing_but_its_state_to_write_to() {
    if !peer::all_here(&["root", "unshare", "setpriv"]) {
        return;
    }
    let mut relay = confined(&[]);
    relay.start();
    let nobody = ("65534".to_owned(), "0000000000000400".to_owned());
    assert_eq!(privileges(relay.id()), nobody);
    works(&mut relay);
    assert!(relay.path("state/mail/b/vakt/new").is_dir());
    assert!(!relay.log().contains("runs as root"), "{}", relay.log());
}

#[test]
fn the_relay_asks_the_kernel_for_nothing_that_the_unit_forbids() {
    if !peer::all_here(&["systemd", "strace", "root", "unshare", "setpriv"]) {
        return;
    }
    let trace = tempfile::NamedTempFile::new().unwrap();
    let file = trace.path().to_str().unwrap();
    let open_to_all = fs::Permissions::from_mode(0o666);
    fs::set_permissions(trace.path(), open_to_all).unwrap();
    let mut relay = confined(&["strace", "-D", "-f", "-o", file]);
    relay.start();
    works(&mut relay);
    let text = wait::find("the whole trace", || {
        let text = fs::read_to_string(trace.path()).unwrap();
        text.contains("+++ exited").then_some(text)
    });
    let allowed = allowed_calls();
    let families = said("RestrictAddressFamilies").join(" ");
    let lines = text.lines().filter_map(|it| it.split_once(' '));
    let calls = lines
        .map(|(_, call)| call.trim_start())
        // `???`: it was killed before anybody saw what it asked for.
        .filter(|it| !it.starts_with(['+', '-', '<', '?']));
    let mut seen = HashSet::new();
    // The first is the start itself, which systemd does.
    for line in calls.skip(1) {
        let (call, arguments) = line.split_once('(').unwrap();
        seen.insert(call);
        assert!(allowed.contains(call), "{line}");
        let first = arguments.split(',').next().unwrap();
        assert!(
            call != "socket" || families.split(' ').any(|it| it == first),
            "{line}"
        );
        let writable_code = arguments.contains("PROT_WRITE|PROT_EXEC");
        let late_code = call == "mprotect" && arguments.contains("PROT_EXEC");
        assert!(
            !writable_code && !late_code,
            "MemoryDenyWriteExecute: {line}"
        );
    }
    assert!(
        seen.contains("listen") && seen.contains("fsync"),
        "{seen:?}"
    );
}

/// Whose a process is, and what it could ever do beside that.
fn privileges(id: u32) -> (String, String) {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let of = |key: &str| {
        let line = status.lines().find_map(|it| it.strip_prefix(key)).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    (of("Uid:"), of("CapBnd:"))
}

#[test]
fn root_is_told_that_it_need_not_run_this() {
    let relay = Setup::three_rooms().start();
    let warned = relay.run(&["check"]);
    let words = String::from_utf8(warned.stderr).unwrap();
    assert!(warned.status.success(), "{words}");
    assert_eq!(words.contains("runs as root"), peer::is_root(), "{words}");
    assert_eq!(relay.log().contains("runs as root"), peer::is_root());
}
