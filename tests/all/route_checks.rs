//! What a routing table is warned of: `plan`, `apply` and `check` say the same, each with its line, and
//! `--strict` refuses on all of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ilbud::mail::Timestamp;

use crate::client::{letter, vakt};
use crate::relay::{Relay, Setup, column, room};

/// What a command complained of, without what stands before each warning.
fn warned(relay: &Relay, command: &[&str], source: &str) -> Vec<String> {
    let output = relay.run(command);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{command:?}: {told}");
    let mine = told
        .lines()
        .map(|line| line.strip_prefix("warning: ").unwrap_or(line));
    // `check` has more to say, of settings that no table is to blame for.
    let mine =
        mine.filter(|line| !line.starts_with("no [[scan.engine]]") && !line.contains("as root"));
    mine.map(|line| line.replace(&format!("{source}: "), ""))
        .collect()
}

fn strictly(relay: &Relay, command: &[&str]) -> Vec<String> {
    let told = relay.fails(1, &[command, &["--strict"]].concat());
    let lines = told
        .lines()
        .map(|line| line.strip_prefix("ilbud: ").unwrap_or(line));
    lines.map(|line| line.replace("new.toml: ", "")).collect()
}

const LAST: &str = "nothing was changed: with --strict a warning is a mistake";

/// Each table with one mistake of each kind that is none, and its warning.
fn cases(relay: &Relay) -> Vec<(String, Vec<String>)> {
    let [a, b] = ["a", "b"].map(|it| room(it, &format!("maildir:mail/{it}"), ""));
    let hop = |hop: &str| room("b", hop, "");
    let extra = |extra: &str| room("b", "maildir:mail/b", extra);
    let port = relay.port;
    let certificate = "[[room.workstation]]\ncertificate = \"ws1.b.nodnett.test\"\n";
    let user = "[[room.workstation]]\nuser = \"ws1\"\n";
    let over = "[[redirect]]\nroom = \"room-b\"\nto = \"room-a\"\nfrom = 2020-01-01T00:00:00Z\nuntil = 2020-01-02T00:00:00Z\n";
    let end: Timestamp = "2020-01-02T00:00:00Z".parse().unwrap();
    let group =
        "[[group]]\naddress = \"alle@a.nodnett.test\"\nmembers = [\"vakt@b.nodnett.test\"]\n";
    #[rustfmt::skip]
    let cases = [
        // room b begins on line 12, and the redirect on line 23
        (format!("{a}{b}"), vec![]),
        (a.clone() + &extra("accepts_from = []"), vec![
            "line 19: room \"room-b\" accepts from no room, and there is no gateway: nobody may write to it".to_owned()]),
        (a.clone() + &hop("smtp://0.0.0.0"), vec![
            "line 18: smtp://0.0.0.0:25: 0.0.0.0 is no server's address, so that mail would wait for nothing".to_owned()]),
        (a.clone() + &hop(&format!("smtp://127.0.0.1:{port}")), vec![format!(
            "line 12: room \"room-b\", next hop smtp://127.0.0.1:{port}: that is this relay's own listener \"workstations\", so that mail would come back")]),
        (a.clone() + &hop(&format!("smtp://relay.nodnett.test:{port}")), vec![format!(
            "line 12: room \"room-b\", next hop smtp://relay.nodnett.test:{port}: that is this relay's own listener \"workstations\", so that mail would come back")]),
        (a.clone() + &hop("maildir:ilbud.toml/b"), vec![
            "line 12: room \"room-b\", next hop maildir:ilbud.toml/b: ilbud.toml is a file and no folder, so that nothing can be kept there".to_owned()]),
        (a.clone() + &hop("smtp://127.0.0.1?ca=nowhere.pem"), vec![
            "line 12: room \"room-b\", next hop 127.0.0.1: nowhere.pem: I/O error: No such file or directory (os error 2); until then its mail waits".to_owned()]),
        (a.clone() + &extra(user), vec![
            "line 12: room \"room-b\": no password for user \"ws1\"; set one with: ilbud credential set USER".to_owned()]),
        (a.clone() + &extra(certificate), vec![
            "line 12: room \"room-b\": nobody can show certificate \"ws1.b.nodnett.test\", since [tls] has no client_ca".to_owned()]),
        (a.clone() + &extra("strictness = { missing_tls = \"enforce\" }"), vec![
            "line 12: room \"room-b\" enforces missing_tls, and no listener has TLS: nobody can send as it".to_owned()]),
        (a.clone() + &extra("give_up_after = \"2m\""), vec![
            "line 12: room \"room-b\": nobody is warned, since its give_up_after (2m) is not after the warn_after of the settings (5m)".to_owned()]),
        (format!("{a}{b}{group}"), vec![
            "line 23: alle@a.nodnett.test is a group and at a domain of room \"room-a\", which has every mailbox there: the group gets the mail".to_owned()]),
        (format!("{a}{b}{over}"), vec![format!(
            "line 23: room \"room-b\" is redirected to \"room-a\" until {}: this time is over; the line can be taken out", end.local())]),
    ];
    cases.into()
}

#[test]
fn plan_apply_and_check_say_the_same_and_strict_refuses_it() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    for (revision, (table, expected)) in (1..).zip(cases(&relay)) {
        fs::write(relay.path("new.toml"), &table).unwrap();
        let plan = warned(&relay, &["route", "plan", "new.toml"], "new.toml");
        assert_eq!(plan, expected, "{table}");
        if !expected.is_empty() {
            let refused = [&expected[..], &[LAST.to_owned()]].concat();
            assert_eq!(strictly(&relay, &["route", "plan", "new.toml"]), refused);
            assert_eq!(strictly(&relay, &["route", "apply", "new.toml"]), refused);
        }
        let history = relay.rows(&["route", "history"]);
        assert_eq!(
            column(&history, "revision")[0],
            revision.to_string(),
            "nothing was changed"
        );
        let apply = warned(&relay, &["route", "apply", "new.toml"], "new.toml");
        assert_eq!(apply, expected, "{table}");
        // In the table as it is kept, lines are other ones.
        let words = |lines: &[String]| -> Vec<String> {
            let bare = lines
                .iter()
                .map(|it| it.split_once(": ").map_or("", |(_, words)| words));
            bare.map(str::to_owned).collect()
        };
        let check = warned(&relay, &["check"], "routing table");
        assert_eq!(words(&check), words(&expected), "{check:?}");
    }
}

#[test]
fn what_is_wrong_with_settings_or_file_is_refused_strictly_too() {
    let relay = Setup::three_rooms()
        .postmaster("vakt@x.nodnett.test")
        .prepare();
    relay.done(&["route", "apply", "routes.toml"]);
    let password = room("b", "smtps://u:p@127.0.0.1", "");
    let file = relay.path("new.toml");
    fs::write(&file, room("a", "maildir:mail/a", "") + &password).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let told = strictly(&relay, &["route", "apply", "new.toml"]);
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(
        told[0],
        "postmaster vakt@x.nodnett.test is in no registered room"
    );
    assert!(
        told[1].contains("may be read by others") || told[1].contains("chmod"),
        "{told:?}"
    );
    assert_eq!(told[2], LAST);
    assert_eq!(told, strictly(&relay, &["route", "plan", "new.toml"]));
    assert_eq!(
        column(&relay.rows(&["route", "history"]), "revision"),
        ["1"]
    );
    // And revert does as apply does.
    let told = strictly(&relay, &["route", "revert", "1"]);
    assert_eq!(
        told[0],
        "postmaster vakt@x.nodnett.test is in no registered room"
    );
}

#[test]
fn many_warnings_of_one_kind_are_a_few_unless_all_are_asked_for() {
    let relay = Setup::three_rooms().prepare();
    let closed = |it: char| {
        let folder = format!("maildir:mail/{it}");
        room(&it.to_string(), &folder, "accepts_from = []")
    };
    let table: String = ('a'..='l').map(closed).collect();
    fs::write(relay.path("new.toml"), table).unwrap();
    let plan = ["route", "plan", "new.toml"];
    let all = [&plan[..], &["--all"]].concat();
    let nobody = |lines: &[String]| {
        let nobody = |line: &&String| line.ends_with("nobody may write to it");
        lines.iter().filter(nobody).count()
    };
    for (found, end) in [
        (warned(&relay, &plan, "new.toml"), 0),
        (strictly(&relay, &plan), 1),
    ] {
        assert_eq!(nobody(&found), 3, "{found:?}");
        assert!(found[3].starts_with("and 9 more like this one"));
        assert_eq!(found.len(), 4 + end, "{found:?}");
    }
    assert_eq!(nobody(&warned(&relay, &all, "new.toml")), 12);
    let found = strictly(&relay, &all);
    assert_eq!((nobody(&found), found.len()), (12, 13), "{found:?}");
    assert_eq!(found[12], LAST);
}

#[test]
fn a_table_with_nothing_to_warn_of_is_taken_strictly() {
    let relay = Setup::three_rooms().prepare();
    relay.done(&["route", "apply", "routes.toml", "--strict"]);
    relay.done(&["route", "plan", "routes.toml", "--strict"]);
}

#[test]
fn a_certificate_that_nobody_has_come_with_is_told_until_somebody_does() {
    let extra = "[[room.workstation]]\nnetwork = \"127.0.2.0/24\"\n\
        [[room.workstation]]\ncertificate = \"ws1.b.nodnett.test\"\n";
    let relay = Setup::no_rooms()
        .tls("starttls")
        .room("a", "maildir:mail/a")
        .room_with("b", "maildir:mail/b", extra)
        .start();
    let expected = "line 12: room \"room-b\": nobody has come with certificate \"ws1.b.nodnett.test\" yet; see: ilbud workstation list";
    let plan = warned(&relay, &["route", "plan", "routes.toml"], "routes.toml");
    assert_eq!(plan, [expected]);
    let reply = relay
        .client("b")
        .send(&vakt("b"), &[&vakt("a")], &letter(&vakt("b"), &vakt("a")));
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    // It came from a network, and showed none.
    let plan = warned(&relay, &["route", "plan", "routes.toml"], "routes.toml");
    assert_eq!(plan, [expected]);
}
