//! Programs of others that Ilbud is tried against.
//!
//! A test is left out only where `tests/run` said so: `ILBUD_TEST_WITHOUT` names the peers that this
//! machine cannot have. A peer that is missing and not named is a failure.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const DOVECOT_LMTP: &str = "/usr/lib/dovecot/lmtp";
const C_ICAP_TEMPLATES: &str = "/usr/share/c_icap/templates/virus_scan";
const CLAMAV_TESTFILES: &str = "/usr/share/clamav-testfiles";
const NODEMAILER: &str = "/usr/share/nodejs/nodemailer";

/// Whether a test that needs these peers can run; where not, it has been said.
pub fn all_here(peers: &[&str]) -> bool {
    let without = env::var("ILBUD_TEST_WITHOUT").unwrap_or_default();
    let without: Vec<&str> = without.split_whitespace().collect();
    for &peer in peers {
        if without.contains(&peer) {
            eprintln!("left out: this needs {peer}");
            return false;
        }
        assert!(
            is_here(peer),
            "{peer} is missing; tests/run installs it, or leaves this test out and says so"
        );
    }
    true
}

fn is_here(peer: &str) -> bool {
    match peer {
        "root" => is_root(),
        "postfix" => program("postfix").is_some() && program("smtp-source").is_some(),
        "systemd" => program("systemd-analyze").is_some(),
        "clamav-testfiles" => Path::new(CLAMAV_TESTFILES).exists(),
        "nodemailer" => program("node").is_some() && Path::new(NODEMAILER).exists(),
        "c-icap" => program("c-icap").is_some() && Path::new(C_ICAP_TEMPLATES).exists(),
        "dovecot" => program("dovecot").is_some() && Path::new(DOVECOT_LMTP).exists(),
        other => program(other).is_some(),
    }
}

pub fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

/// The name under which a test gives its orders.
pub fn login() -> String {
    let name = match logged_in() {
        Some(id) => Command::new("id").args(["-un", &id]).output().unwrap(),
        None => Command::new("id").arg("-urn").output().unwrap(),
    };
    match name.status.success() {
        true => String::from_utf8(name.stdout).unwrap().trim().to_owned(),
        false => format!("uid {}", rustix::process::getuid().as_raw()),
    }
}

/// The number of who logged in, where the kernel knows.
pub fn logged_in() -> Option<String> {
    let id = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    let id = id.trim().to_owned();
    (id != u32::MAX.to_string()).then_some(id)
}

/// Where a program is; those for administrators are often not in the search path.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/lib/postfix/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A command that runs a peer.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(program(name).unwrap_or_else(|| panic!("{name} is missing")));
    command.stdin(Stdio::null());
    command
}

/// Runs a peer to its end; it must succeed. Gives what it printed.
pub fn run(name: &str, arguments: &[&str]) -> String {
    succeeded(name, &command(name).args(arguments).output().unwrap())
}

pub fn succeeded(name: &str, output: &Output) -> String {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{name}: {}\n{printed}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}

/// Runs a Python program; gives what it printed.
pub fn python(program: &str, arguments: &[&str]) -> String {
    run("python3", &[&["-c", program], arguments].concat())
}
