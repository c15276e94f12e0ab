//! A report as its reader sees it, who has never seen the source: shown by mail programs, in both
//! languages, word for word.

use crate::client::{letter, vakt};
use crate::peer;
use crate::relay::{Relay, Setup};
use crate::sink::{Sink, Stage, Step};

/// Shows the text of a report as a program with windows does.
const READER: &str = r#"
import email, email.policy, sys
sys.stdout.reconfigure(encoding="utf-8", newline="")
m = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.default)
print(m["Subject"])
print()
print(m.get_body(preferencelist=("plain",)).get_content(), end="")
"#;

/// What room `a` is told by a relay in Norway of a message that a hop answers with `answer`: the
/// report, and the message's reference.
fn told(language: &str, answer: &'static str) -> (Vec<u8>, String) {
    let (home, away) = (
        Sink::start(),
        Sink::scripted(move |stage, _, _| match stage {
            Stage::Rcpt => Step::Say(answer),
            _ => Step::Agree,
        }),
    );
    let relay = Setup::no_rooms()
        .room("a", &home.hop())
        .room("b", &away.hop())
        .language(language)
        .delivery("retry = [\"1s\"]\nwarn_after = \"2s\"\ngive_up_after = \"10m\"")
        .under(&["env", "TZ=Europe/Oslo"])
        .start();
    let reference = send(&relay);
    (home.wait_for(1).remove(0).data, reference)
}

fn send(relay: &Relay) -> String {
    let message = letter(&vakt("a"), &vakt("b"));
    let reply = relay.client("a").send(&vakt("a"), &[&vakt("b")], &message);
    assert_eq!(reply.said(), "250 2.0.0", "{reply}");
    reply.reference()
}

/// Numbers differ from run to run; so does whether it is still the day of sending.
fn without_numbers(text: &str, reference: &str) -> String {
    let text = text.replace("\r\n", "\n").replace(reference, "REF");
    let mut plain = String::new();
    for c in text.chars() {
        match c.is_ascii_digit() {
            true if plain.ends_with('#') => {}
            true => plain.push('#'),
            false => plain.push(c),
        }
    }
    plain.replace("#-#-# kl. ", "kl. ").replace("#-#-# at ", "")
}

fn is_shown(language: &str, answer: &'static str, expected: &str) {
    if !peer::all_here(&["python3", "s-nail"]) {
        return;
    }
    let (report, reference) = told(language, answer);
    let folder = tempfile::tempdir().unwrap();
    let [alone, mailbox] = ["report.eml", "mailbox"].map(|name| folder.path().join(name));
    std::fs::write(&alone, &report).unwrap();
    let shown = peer::python(READER, &[alone.to_str().unwrap()]);
    assert_eq!(without_numbers(&shown, &reference), expected.trim_start());
    let phone = ": +47 00 00 00 02\n";
    assert!(shown.replace("\r\n", "\n").contains(phone), "{shown}");

    let in_mailbox = [b"From a Thu Jan  1 00:00:00 1970\n", &report[..], b"\n"].concat();
    let in_mailbox = String::from_utf8(in_mailbox).unwrap().replace("\r\n", "\n");
    std::fs::write(&mailbox, in_mailbox).unwrap();
    let mut program = peer::command("s-nail");
    program.env("LC_ALL", "C.UTF-8").env("HOME", folder.path());
    program.args(["-:/", "-#", "-R", "-Y", "type 1", "-Y", "exit", "-f"]);
    let output = program.arg(&mailbox).output().unwrap();
    let on_terminal = peer::succeeded("s-nail", &output).replace('\r', "");
    let on_terminal = without_numbers(&on_terminal, &reference);
    let (subject, text) = expected.trim().split_once("\n\n").unwrap();
    assert!(
        on_terminal.contains(&format!("Subject: {subject}\n")),
        "{on_terminal}"
    );
    assert!(on_terminal.contains(text), "{on_terminal}");
}

#[test]
fn a_failure_in_norwegian() {
    is_shown(
        "nb",
        "550 5.1.1 no such user",
        "
Ikke levert: prøve #

Meldingen din er IKKE levert til vakt@b.nodnett.test.

Emne:       prøve #
Sendt:      kl. #:#:#
Referanse:  REF

Ikke levert til:

  vakt@b.nodnett.test (Rom B)
  Haster det? Ring Rom B: +# # # # #
  Hvorfor:        Adressen finnes ikke hos mottakeren. Sjekk at den er
                  riktig skrevet.
  Siste svar:
    # #.#.# no such user

Vi prøver ikke flere ganger.
Skal meldingen fram, må den sendes på nytt.
Sendte du til flere, gjelder dette bare mottakeren over.
Oppgi referansen når du kontakter brukerstøtten.
",
    );
}

#[test]
fn a_failure_in_english() {
    is_shown(
        "en",
        "550 5.1.1 no such user",
        "
Not delivered: prøve #

Your message was NOT delivered to vakt@b.nodnett.test.

Subject:    prøve #
Sent:       #:#:#
Reference:  REF

Not delivered to:

  vakt@b.nodnett.test (Rom B)
  Is it urgent? Call Rom B: +# # # # #
  Why:            The recipient's mail system has no such address. Check the
                  spelling.
  Last answer:
    # #.#.# no such user

We will not try again.
If the message is still needed, it must be sent anew.
If you sent it to others too, this is only about the recipient above.
Give the reference when you contact the service desk.
",
    );
}

#[test]
fn a_delay_in_norwegian() {
    is_shown(
        "nb",
        "451 4.3.2 not now",
        "
Forsinket: prøve #

Meldingen din er forsinket til vakt@b.nodnett.test. Den er ikke levert ennå,
men vi prøver fortsatt.

Emne:       prøve #
Sendt:      kl. #:#:#
Referanse:  REF

Forsinket til:

  vakt@b.nodnett.test (Rom B)
  Haster det? Ring Rom B: +# # # # #
  Hvorfor:        Mottakerens e-postsystem kan ikke ta imot meldingen
                  akkurat nå.
  Har ventet:     # sekunder, siden kl. #:#:#
  Neste forsøk:   kl. #:#:#
  Vi prøver til:  kl. #:#:#
  Siste svar:
    # #.#.# not now

Du trenger ikke sende meldingen på nytt.
Du får beskjed hvis den ikke kan leveres.
Sendte du til flere, gjelder dette bare mottakeren over.
Oppgi referansen når du kontakter brukerstøtten.
",
    );
}

#[test]
fn a_delay_in_english() {
    is_shown(
        "en",
        "451 4.3.2 not now",
        "
Delayed: prøve #

Your message is delayed to vakt@b.nodnett.test. It is not delivered yet, but
we keep trying.

Subject:    prøve #
Sent:       #:#:#
Reference:  REF

Delayed to:

  vakt@b.nodnett.test (Rom B)
  Is it urgent? Call Rom B: +# # # # #
  Why:            The recipient's mail system cannot take the message just
                  now.
  Waiting for:    # seconds, since #:#:#
  Next attempt:   #:#:#
  Trying until:   #:#:#
  Last answer:
    # #.#.# not now

There is no need to send the message again.
You will be told if it cannot be delivered.
If you sent it to others too, this is only about the recipient above.
Give the reference when you contact the service desk.
",
    );
}
