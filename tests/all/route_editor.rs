//! `ilbud route edit`, with editors that are small scripts: at a terminal, and where there is none.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::client::vakt;
use crate::relay::{Relay, Setup, column};
use crate::wait;

const RENAME: &str = "sed -i 's/\"Rom B\"/\"Rom Bo\"/' \"$1\"";

fn relay() -> Relay {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    relay
}

/// A script that is run in the place of an editor, in the relay's folder.
fn editor(relay: &Relay, script: &str) -> String {
    let file = relay.path("editor");
    let home = relay.home().display();
    fs::write(&file, format!("#!/bin/sh\ncd {home}\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file.display().to_string()
}

/// Edits with this script where nobody can be asked.
fn edit(relay: &Relay, script: &str, arguments: &[&str]) -> Output {
    let editor = format!("EDITOR={}", editor(relay, script));
    let under = ["env", "-u", "VISUAL", &editor];
    relay.run_under(&under, &[&["route", "edit"], arguments].concat())
}

/// Edits with this script at a terminal where these answers are typed; whether it succeeded, and what
/// stands on the screen.
fn edit_at_terminal(relay: &Relay, script: &str, answers: &str) -> (bool, String) {
    let command = format!(
        "{} route edit --config {}",
        env!("CARGO_BIN_EXE_ilbud"),
        relay.path("ilbud.toml").display()
    );
    let mut child = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env("VISUAL", editor(relay, script))
        .env("EDITOR", "false")
        .current_dir(relay.home())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    keyboard.write_all(answers.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(keyboard);
    (output.status.success(), text(&output.stdout))
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).replace('\r', "")
}

fn revisions(relay: &Relay) -> usize {
    relay.rows(&["route", "history"]).len()
}

fn name_of_b(relay: &Relay) -> String {
    let export = relay.done(&["route", "export"]);
    let name = export.lines().find(|it| it.starts_with("name = \"Rom B"));
    name.unwrap().to_owned()
}

/// The file that is said to be kept.
fn kept(told: &str) -> PathBuf {
    let (_, path) = told.split_once("what you wrote is kept in ").unwrap();
    PathBuf::from(path.split(';').next().unwrap())
}

#[test]
fn a_script_edits_with_yes_and_nobody_else_may_read_what_it_edits() {
    let relay = relay();
    let look = format!("stat -c '%a %n' \"$1\" \"$(dirname \"$1\")\" >modes\n{RENAME}");
    let output = edit(&relay, &look, &["--yes", "--reason", "Nytt navn"]);
    let told = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(told.contains("name \"Rom B\" → \"Rom Bo\""), "{told}");
    assert!(
        told.contains("Revision 2 is in force: 1 room changed (room-b)"),
        "{told}"
    );
    assert_eq!(name_of_b(&relay), "name = \"Rom Bo\"");
    assert_eq!(relay.rows(&["route", "history"])[0]["reason"], "Nytt navn");
    let modes = fs::read_to_string(relay.path("modes")).unwrap();
    let (modes, paths): (Vec<&str>, Vec<&str>) =
        modes.lines().map(|it| it.split_once(' ').unwrap()).unzip();
    assert_eq!(modes, ["600", "700"]);
    assert!(
        !PathBuf::from(paths[1]).exists(),
        "{paths:?} is still there"
    );

    let output = edit(&relay, "sed -i s/Bo/Bi/ \"$1\"", &["--yes", "--json"]);
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["revision"], 3);
}

#[test]
fn what_is_not_changed_is_not_applied() {
    let relay = relay();
    let output = edit(&relay, "echo \"$1\" >path", &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout),
        "Nothing was changed: revision 1 stays in force.\n"
    );
    assert_eq!(revisions(&relay), 1);
    let path = fs::read_to_string(relay.path("path")).unwrap();
    assert!(!PathBuf::from(path.trim()).exists());
}

#[test]
fn where_nobody_can_be_asked_what_was_written_is_kept() {
    let relay = relay();
    let output = edit(&relay, RENAME, &[]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("nobody can be asked here, and there is no --yes"),
        "{told}"
    );
    assert_eq!(revisions(&relay), 1);
    let file = kept(&told);
    relay.done(&["route", "apply", file.to_str().unwrap(), "--expect", "1"]);
    assert_eq!(name_of_b(&relay), "name = \"Rom Bo\"");
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
}

#[test]
fn an_editor_that_fails_or_dies_changes_nothing() {
    let relay = relay();
    let wrote = format!("{RENAME}\n");
    for (script, expected, is_kept) in [
        ("exit 3", "ended with exit status: 3", false),
        ("kill -9 $$", "nothing was changed: the editor ", false),
        (&format!("{wrote}exit 1"), "ended with exit status: 1", true),
        (
            &format!("{wrote}kill -9 $$"),
            "nothing was changed: the editor ",
            true,
        ),
        ("printf '\\377' >\"$1\"", "the text is not UTF-8", true),
        (
            "sed -i 's/^id = .*/id = 7/' \"$1\"",
            "must be a text in quotes",
            true,
        ),
    ] {
        let output = edit(&relay, script, &["--yes"]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{script}: {told}");
        assert!(told.contains(expected), "{script}: {told}");
        assert_eq!(
            told.contains("what you wrote is kept in"),
            is_kept,
            "{script}: {told}"
        );
        if is_kept {
            fs::remove_dir_all(kept(&told).parent().unwrap()).unwrap();
        }
    }
    let under = ["env", "VISUAL=no-such-editor-is-here"];
    let output = relay.run_under(&under, &["route", "edit"]);
    let told = text(&output.stderr);
    assert!(
        told.contains("there is no editor \"no-such-editor-is-here\"; set VISUAL or EDITOR"),
        "{told}"
    );
    assert_eq!(revisions(&relay), 1);
}

#[test]
fn at_a_terminal_the_plan_is_shown_before_it_is_asked() {
    let relay = relay();
    let (_, screen) = edit_at_terminal(&relay, RENAME, "what?\nq\n");
    let question = "Put this in force? (y)es, (e)dit again, (k)eep the file and quit, (q)uit: ";
    assert_eq!(screen.matches(question).count(), 2, "{screen}");
    let (plan, _) = screen.split_once(question).unwrap();
    assert!(plan.contains("name \"Rom B\" → \"Rom Bo\""), "{screen}");
    assert!(screen.contains("nothing was changed"), "{screen}");
    assert_eq!(revisions(&relay), 1);
    let (is_done, screen) = edit_at_terminal(&relay, RENAME, "y\n");
    assert!(is_done, "{screen}");
    assert!(screen.contains("Revision 2 is in force"), "{screen}");
    assert_eq!(name_of_b(&relay), "name = \"Rom Bo\"");
}

#[test]
fn at_a_terminal_a_mistake_is_edited_again() {
    let relay = relay();
    let script = "if [ -e once ]; then sed -i s/amkk/other/ \"$1\"; \
        else touch once; sed -i 's/kind = \"amk\"/kind = \"amkk\"/' \"$1\"; fi";
    let (is_done, screen) = edit_at_terminal(&relay, script, "y\ne\ny\n");
    assert!(is_done, "{screen}");
    let mistake = "\"kind\": \"amkk\" is not known";
    assert_eq!(screen.matches(mistake).count(), 3, "{screen}");
    // A yes to a mistake is no answer.
    assert_eq!(
        screen.matches("What now? (e)dit again").count(),
        2,
        "{screen}"
    );
    assert!(screen.contains("routes.toml: line 4: "), "{screen}");
    let export = relay.done(&["route", "export"]);
    assert_eq!(export.matches("kind = \"other\"").count(), 3, "{export}");
}

#[test]
fn at_a_terminal_work_is_kept_for_later() {
    let relay = relay();
    for answers in ["k\n", "\u{4}"] {
        let (is_done, screen) = edit_at_terminal(&relay, RENAME, answers);
        assert!(!is_done, "{screen}");
        let file = kept(&screen);
        assert!(fs::read_to_string(&file).unwrap().contains("Rom Bo"));
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }
    assert_eq!(revisions(&relay), 1);
}

#[test]
fn an_interrupt_is_for_the_editor_while_it_runs() {
    let relay = relay();
    let binary = env!("CARGO_BIN_EXE_ilbud");
    let script = editor(
        &relay,
        &format!("kill -INT $(cat pid)\nkill -QUIT $(cat pid)\n{RENAME}"),
    );
    let run = format!("echo $$ >pid; exec {binary} route edit --yes --config ilbud.toml");
    let output = Command::new("sh")
        .args(["-c", &run])
        .env("VISUAL", script)
        .current_dir(relay.home())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(name_of_b(&relay), "name = \"Rom Bo\"");
}

#[test]
fn work_is_not_lost_when_somebody_else_was_quicker() {
    let relay = relay();
    let other = format!(
        "{RENAME}\n{} route room disable room-c --config ilbud.toml",
        env!("CARGO_BIN_EXE_ilbud")
    );
    let output = edit(&relay, &other, &["--yes"]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for line in [
        "nothing was changed: somebody else has put revision 2 in force meanwhile",
        "what they have changed: ilbud route diff 1 2",
        "in the place of theirs: ilbud route apply ",
    ] {
        assert!(told.contains(line), "{told}");
    }
    assert_eq!(revisions(&relay), 2);
    assert_eq!(name_of_b(&relay), "name = \"Rom B\"");
    let file = kept(&told);
    assert!(fs::read_to_string(&file).unwrap().contains("Rom Bo"));
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
}

#[test]
fn nothing_is_edited_that_may_yet_be_taken_back_or_is_not_there() {
    let empty = Setup::no_rooms().prepare();
    let told = empty.fails(1, &["route", "edit", "--yes"]);
    assert!(told.contains("there is no routing table yet"), "{told}");
    let relay = relay();
    let told = relay.fails(1, &["route", "edit", "--yes", "--expect", "7"]);
    assert!(told.contains("is at revision 1, not 7"), "{told}");
    relay.done(&["route", "room", "disable", "room-c", "--confirm", "1h"]);
    let told = relay.fails(1, &["route", "edit", "--yes"]);
    assert!(told.contains("revision 2 may be taken back yet"), "{told}");
}

#[test]
fn an_edited_table_is_in_force_in_the_running_relay() {
    let relay = Setup::three_rooms().start();
    let output = edit(
        &relay,
        "sed -i 's/^id = \"room-b\"/&\\ndisabled = true/' \"$1\"",
        &["--yes"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    wait::until("the room is disabled", || {
        let refused = relay.client("a").envelope(&vakt("a"), &[&vakt("b")], "");
        refused.is_some_and(|reply| reply.said() == "550 5.2.1")
    });
    let history = relay.rows(&["route", "history"]);
    assert_eq!(column(&history, "summary")[0], "1 room changed (room-b)");
}

#[test]
fn a_text_that_was_emptied_or_taken_away_changes_nothing() {
    let relay = relay();
    for (script, expected) in [
        (": >\"$1\"", "nothing was changed: the text is empty"),
        (
            "printf '\\n \\n' >\"$1\"",
            "nothing was changed: the text is empty",
        ),
        (
            "rm \"$1\"",
            "nothing was changed: the editor has taken the file away",
        ),
    ] {
        let output = edit(&relay, script, &["--yes"]);
        assert_eq!(output.status.code(), Some(1), "{script}");
        assert_eq!(
            text(&output.stderr),
            format!("ilbud: {expected}\n"),
            "{script}"
        );
    }
    assert_eq!(revisions(&relay), 1);
}
