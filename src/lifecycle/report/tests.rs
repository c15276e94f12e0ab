//! Reports as they are read: whole, by people, in both languages; and line by line, by machines.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::super::retry::Schedule;
use super::why::{Why, read};
use super::*;
use crate::delivery::outcome::{Handover, Stage, Trouble, judge};
use crate::mail::{ByMode, DeliverBy};
use crate::policy::table::RoutingTable;
use crate::spool::store::{OfLate, RecipientId, Told};

const SENT: Timestamp = Timestamp::from_millis(1_795_345_200_000);

const TABLE: &str = r#"
    [[room]]
    id = "room-a"
    name = "Rom A"
    domains = ["a.nodnett.test"]
    next_hops = ["smtp://127.0.0.1:25"]
    [[room]]
    id = "room-b"
    name = "Rom B"
    phone = "+47 00 00 00 02"
    domains = ["b.nodnett.test"]
    next_hops = ["smtp://127.0.0.1:25"]
    [[room]]
    id = "closed"
    name = "Rom D"
    phone = "+47 00 00 00 04"
    domains = ["d.nodnett.test"]
    next_hops = ["smtp://127.0.0.1:25"]
    [[redirect]]
    room = "closed"
    to = "room-b"
    until = 2026-11-23T12:00:00Z
    [[room]]
    id = "moved"
    name = "Rom E"
    phone = "+47 00 00 00 05"
    domains = ["e.nodnett.test"]
    next_hops = ["smtp://127.0.0.1:25"]
    [[redirect]]
    room = "moved"
    to = "room-a"
    until = 2026-11-23T12:00:00Z
    [[room]]
    id = "open-again"
    name = "Rom F"
    phone = "+47 00 00 00 06"
    domains = ["f.nodnett.test"]
    next_hops = ["smtp://127.0.0.1:25"]
    [[redirect]]
    room = "open-again"
    to = "room-b"
    until = 2026-11-22T11:00:00Z
"#;

fn now() -> Timestamp {
    SENT.after(Duration::from_secs(310))
}

fn waiting(recipient: &str) -> Waiting {
    Waiting {
        id: RecipientId {
            reference: Reference::from_number(5),
            number: 0,
        },
        recipient: Address::parse(recipient).unwrap(),
        room: RoomId::new("room-b"),
        state: State::Queued,
        attempts: 0,
        accepted_at: SENT,
        next_attempt_at: SENT,
        last_reply: None,
        waits_since: SENT,
        told: Told::default(),
        is_doubtful: false,
        of_late: OfLate::default(),
        wishes: Wishes::default(),
        terms: Terms::default(),
        is_ours: false,
        awaits_scan: false,
        waiver: None,
        sender: Some(Address::parse("vakt@a.nodnett.test").unwrap()),
        sender_room: None,
        smtputf8: false,
        eight_bit: false,
        size: 10,
        subject: Some("prøve".into()),
        message_id: Some("<1@a.nodnett.test>".into()),
    }
}

fn said(code: u16, enhanced: Option<&str>, text: &str) -> Cause {
    Cause::Said(Answer {
        code,
        enhanced: enhanced.map(str::to_owned),
        text: text.into(),
    })
}

fn found(words: &str) -> Cause {
    Cause::Found(words.into())
}

fn last(cause: Cause) -> Option<Last> {
    Some(Last {
        cause,
        is_unsure: false,
        hop: Some("smtp://10.1.0.5:25".into()),
        at: Some(now()),
    })
}

fn unsure(cause: Cause) -> Option<Last> {
    let known = last(cause);
    known.map(|last| Last {
        is_unsure: true,
        ..last
    })
}

fn outlook(overdue: Option<Timestamp>) -> News {
    News::Delayed(Outlook {
        overdue,
        next: Some(now().after(Duration::from_secs(30))),
        until: Some(SENT.after(Duration::from_secs(14_400))),
    })
}

fn notice(news: News, last: Option<Last>) -> Notice {
    Notice::new(waiting("vakt@b.nodnett.test"), news, last)
}

fn refused() -> Notice {
    let cause = said(550, Some("5.1.1"), "no such user");
    notice(News::Failed(Failure::Refused), last(cause))
}

fn content() -> Content {
    Content {
        trace: b"Received: by relay\r\n".as_slice().into(),
        bytes: b"Subject: x\r\n\r\nsecret\r\n".as_slice().into(),
    }
}

/// The report on these, with its human part.
fn write(notices: &[Notice], content: &Content, language: Language) -> (NewMessage, String) {
    let table = RoutingTable::parse(TABLE, 7).unwrap().0;
    let letterhead = Letterhead {
        hostname: "relay.nodnett.test".into(),
        language,
    };
    let schedule = Schedule {
        retry: Vec::new(),
        warn_after: Duration::from_secs(300),
        give_up_after: Duration::ZERO,
    };
    let occasion = Occasion {
        now: now(),
        noise: 0,
        schedule: &schedule,
        letterhead: &letterhead,
        table: &table,
        content: Some(content),
        reports: [9, 10, 11].map(Reference::from_number),
        route: None,
        start: Timestamp::default(),
        up_for: Duration::from_secs(86_400),
    };
    let kind = notices[0].kind();
    let first = &notices[0].waiting;
    let letter = Letter {
        kind,
        notices,
        first,
        sender: first.sender.as_ref().unwrap(),
        reference: kind.reference(occasion.reports),
        occasion: &occasion,
    };
    let message = written(kind, notices, &occasion).unwrap();
    (message, letter.human())
}

fn text(notices: &[Notice]) -> String {
    let (message, _) = write(notices, &content(), Language::Nb);
    String::from_utf8(message.content.bytes.to_vec()).unwrap()
}

/// What a person reads: subject and text, with times put in by the zone of this machine. Long
/// sentences go on below, where depends on the zone.
fn is_read(notices: &[Notice], language: Language, expected: &str) {
    let (message, human) = write(notices, &content(), language);
    let subject = message.facts.subject.unwrap();
    let time = |at: Timestamp| {
        let zone = at.zone_mark().map(|zone| format!(" ({zone})"));
        at.local_parts().1 + &zone.unwrap_or_default()
    };
    let expected = expected
        .trim_start_matches('\n')
        .replace("{DATE}", &SENT.local_parts().0)
        .replace("{SENT}", &time(SENT))
        .replace("{NOW}", &time(now()))
        .replace("{DEADLINE}", &time(SENT.after(Duration::from_secs(300))))
        .replace("{NEXT}", &time(now().after(Duration::from_secs(30))))
        .replace("{UNTIL}", &time(SENT.after(Duration::from_secs(14_400))));
    let found = format!("{subject}\n\n{}", human.replace("\r\n", "\n"));
    let unfolded = |text: &str| text.replace("\n                  ", " ");
    assert_eq!(unfolded(&found), unfolded(&expected), "{found}");
    // What was answered stands as it is; our own lines are short.
    let is_ours = |line: &&str| !line.starts_with("    ") || line.starts_with("     ");
    for line in human.lines().filter(is_ours) {
        let length = line.chars().count();
        assert!(length < 78, "{length}: {line}");
    }
}

#[test]
fn a_failure_in_norwegian() {
    is_read(
        &[refused()],
        Language::Nb,
        "
Ikke levert: prøve

Meldingen din er IKKE levert til vakt@b.nodnett.test.

Emne:       prøve
Sendt:      {DATE} kl. {SENT}
Referanse:  0000-0000-0005

Ikke levert til:

  vakt@b.nodnett.test (Rom B)
  Haster det? Ring Rom B: +47 00 00 00 02
  Hvorfor:        Adressen finnes ikke hos mottakeren. Sjekk at den er
                  riktig skrevet.
  Siste svar:
    550 5.1.1 no such user

Vi prøver ikke flere ganger.
Skal meldingen fram, må den sendes på nytt.
Sendte du til flere, gjelder dette bare mottakeren over.
Oppgi referansen når du kontakter brukerstøtten.
",
    );
}

#[test]
fn a_failure_in_english() {
    let given_up = News::Failed(Failure::GivenUp(Duration::from_secs(14_400)));
    let mut elsewhere = notice(
        News::Failed(Failure::GivenUp(Duration::from_secs(60))),
        unsure(found("the connection was closed without an answer")),
    );
    elsewhere.waiting.room = RoomId::new("room-c");
    elsewhere.waiting.recipient = Address::parse("lege@c.nodnett.test").unwrap();
    is_read(
        &[
            notice(
                given_up,
                last(found("connection refused (while connecting)")),
            ),
            elsewhere,
        ],
        Language::En,
        "
Not delivered: prøve

Your message was NOT delivered to 1 recipient. For 1 recipient we do not
know whether it arrived.

Subject:    prøve
Sent:       {DATE} at {SENT}
Reference:  0000-0000-0005

Not delivered to:

  vakt@b.nodnett.test (Rom B)
  Is it urgent? Call Rom B: +47 00 00 00 02
  Why:            We tried for 4 hours. We cannot get in touch with the
                  recipient's mail system.
  Technical:
    connection refused (while connecting)

Perhaps not delivered to:

  lege@c.nodnett.test (room-c)
  Is it urgent? Call room-c. (No phone number is registered.)
  Why:            We tried for 1 minute. The connection was lost just after
                  the message had been sent. We do not know whether it
                  arrived.
  Technical:
    the connection was closed without an answer

We will not try again.
If the message is still needed, it must be sent anew.
Where it says \"perhaps\", call and ask before you send it again.
If you sent it to others too, this is only about the recipients above.
Give the reference when you contact the service desk.
",
    );
}

#[test]
fn what_nobody_knows_is_said_so() {
    let lost = || {
        unsure(found(
            "the connection was closed without an answer (after the whole message was sent)",
        ))
    };
    let given_up = News::Failed(Failure::GivenUp(Duration::from_secs(14_400)));
    is_read(
        &[notice(given_up, lost())],
        Language::Nb,
        "
Kanskje ikke levert: prøve

Vi vet ikke om meldingen din kom fram til vakt@b.nodnett.test.

Emne:       prøve
Sendt:      {DATE} kl. {SENT}
Referanse:  0000-0000-0005

Kanskje ikke levert til:

  vakt@b.nodnett.test (Rom B)
  Haster det? Ring Rom B: +47 00 00 00 02
  Hvorfor:        Vi prøvde i 4 timer. Forbindelsen ble brutt rett etter at
                  vi hadde sendt meldingen. Vi vet ikke om den kom fram.
  Teknisk:
    the connection was closed without an answer (after the whole message was sent)

Vi prøver ikke flere ganger.
Ring og spør før du sender meldingen på nytt.
Sendte du til flere, gjelder dette bare mottakeren over.
Oppgi referansen når du kontakter brukerstøtten.
",
    );
    is_read(
        &[notice(outlook(None), lost())],
        Language::En,
        "
Delayed: prøve

Your message is delayed to vakt@b.nodnett.test. We do not know whether it
arrived, and try again.

Subject:    prøve
Sent:       {DATE} at {SENT}
Reference:  0000-0000-0005

Delayed to:

  vakt@b.nodnett.test (Rom B)
  Is it urgent? Call Rom B: +47 00 00 00 02
  Why:            The connection was lost just after the message had been
                  sent. We do not know whether it arrived.
  Waiting for:    5 minutes, since {SENT}
  Next attempt:   {NEXT}
  Trying until:   {UNTIL}
  Technical:
    the connection was closed without an answer (after the whole message was sent)

There is no need to send the message again.
You will be told if it cannot be delivered.
If you sent it to others too, this is only about the recipient above.
Give the reference when you contact the service desk.
",
    );
}

#[test]
fn a_delay_in_norwegian() {
    let cause = found("no answer within 30 s (while connecting)");
    is_read(
        &[notice(outlook(None), last(cause))],
        Language::Nb,
        "
Forsinket: prøve

Meldingen din er forsinket til vakt@b.nodnett.test. Den er ikke levert ennå,
men vi prøver fortsatt.

Emne:       prøve
Sendt:      {DATE} kl. {SENT}
Referanse:  0000-0000-0005

Forsinket til:

  vakt@b.nodnett.test (Rom B)
  Haster det? Ring Rom B: +47 00 00 00 02
  Hvorfor:        Mottakerens e-postsystem svarer ikke.
  Har ventet:     5 minutter, siden kl. {SENT}
  Neste forsøk:   kl. {NEXT}
  Vi prøver til:  kl. {UNTIL}
  Teknisk:
    no answer within 30 s (while connecting)

Du trenger ikke sende meldingen på nytt.
Du får beskjed hvis den ikke kan leveres.
Sendte du til flere, gjelder dette bare mottakeren over.
Oppgi referansen når du kontakter brukerstøtten.
",
    );
}

#[test]
fn a_delay_in_english() {
    let cause = said(452, Some("4.2.2"), "mailbox full");
    let mut never = notice(outlook(None), last(cause));
    never.waiting.subject = None;
    never.waiting.wishes.notify = Some(Notify {
        delay: true,
        ..Notify::NEVER
    });
    is_read(
        &[never],
        Language::En,
        "
Delayed: (no subject)

Your message is delayed to vakt@b.nodnett.test. It is not delivered yet, but
we keep trying.

Subject:    (no subject)
Sent:       {DATE} at {SENT}
Reference:  0000-0000-0005

Delayed to:

  vakt@b.nodnett.test (Rom B)
  Is it urgent? Call Rom B: +47 00 00 00 02
  Why:            The recipient's mailbox is full.
  Waiting for:    5 minutes, since {SENT}
  Next attempt:   {NEXT}
  Trying until:   {UNTIL}
  Last answer:
    452 4.2.2 mailbox full

There is no need to send the message again.
If you sent it to others too, this is only about the recipient above.
Give the reference when you contact the service desk.
",
    );
}

#[test]
fn a_deadline_that_passed_is_named() {
    let by = SENT.after(Duration::from_secs(300));
    let cause = said(451, None, "busy");
    is_read(
        &[notice(outlook(Some(by)), last(cause.clone()))],
        Language::Nb,
        "
Forsinket: prøve

Meldingen din er forsinket til vakt@b.nodnett.test. Den er ikke levert ennå,
men vi prøver fortsatt.

Emne:       prøve
Sendt:      {DATE} kl. {SENT}
Referanse:  0000-0000-0005

Forsinket til:

  vakt@b.nodnett.test (Rom B)
  Haster det? Ring Rom B: +47 00 00 00 02
  Hvorfor:        Mottakerens e-postsystem kan ikke ta imot meldingen
                  akkurat nå.
  Har ventet:     5 minutter, siden kl. {SENT}
  Frist:          Du ba om levering innen kl. {DEADLINE}.
  Neste forsøk:   kl. {NEXT}
  Vi prøver til:  kl. {UNTIL}
  Siste svar:
    451 busy

Du trenger ikke sende meldingen på nytt.
Du får beskjed hvis den ikke kan leveres.
Sendte du til flere, gjelder dette bare mottakeren over.
Oppgi referansen når du kontakter brukerstøtten.
",
    );
    is_read(
        &[notice(News::Failed(Failure::Expired(by)), last(cause))],
        Language::En,
        "
Not delivered: prøve

Your message was NOT delivered to vakt@b.nodnett.test.

Subject:    prøve
Sent:       {DATE} at {SENT}
Reference:  0000-0000-0005

Not delivered to:

  vakt@b.nodnett.test (Rom B)
  Is it urgent? Call Rom B: +47 00 00 00 02
  Why:            You asked that it not be delivered later than {DEADLINE}.
                  The recipient's mail system cannot take the message just
                  now.
  Last answer:
    451 busy

We will not try again.
If the message is still needed, it must be sent anew.
If you sent it to others too, this is only about the recipient above.
Give the reference when you contact the service desk.
",
    );
}

#[test]
fn what_an_operator_did_is_told_without_a_name() {
    is_read(
        &[notice(News::Held(None), None)],
        Language::Nb,
        "
Forsinket: prøve

Meldingen din er forsinket til vakt@b.nodnett.test. Brukerstøtten holder den
tilbake.

Emne:       prøve
Sendt:      {DATE} kl. {SENT}
Referanse:  0000-0000-0005

Forsinket til:

  vakt@b.nodnett.test (Rom B)
  Haster det? Ring Rom B: +47 00 00 00 02
  Hvorfor:        Brukerstøtten holder meldingen tilbake. Den sendes når de frigir den.
  Har ventet:     5 minutter, siden kl. {SENT}

Du trenger ikke sende meldingen på nytt.
Du får beskjed hvis den ikke kan leveres.
Sendte du til flere, gjelder dette bare mottakeren over.
Oppgi referansen når du kontakter brukerstøtten.
",
    );
    is_read(
        &[notice(News::Failed(Failure::Cancelled(None)), None)],
        Language::Nb,
        "
Ikke levert: prøve

Meldingen din er IKKE levert til vakt@b.nodnett.test.

Emne:       prøve
Sendt:      {DATE} kl. {SENT}
Referanse:  0000-0000-0005

Ikke levert til:

  vakt@b.nodnett.test (Rom B)
  Haster det? Ring Rom B: +47 00 00 00 02
  Hvorfor:        Brukerstøtten stoppet sendingen.

Vi prøver ikke flere ganger.
Skal meldingen fram, må den sendes på nytt.
Sendte du til flere, gjelder dette bare mottakeren over.
Oppgi referansen når du kontakter brukerstøtten.
",
    );
}

#[test]
fn a_receipt_in_both_languages() {
    let kept = said(250, Some("2.0.0"), "kept");
    is_read(
        &[notice(News::Delivered, last(kept.clone()))],
        Language::Nb,
        "
Levert: prøve

Meldingen din er levert til vakt@b.nodnett.test.

Emne:       prøve
Sendt:      {DATE} kl. {SENT}
Referanse:  0000-0000-0005

Levert til:

  vakt@b.nodnett.test (Rom B)
  Lagt i postkassen kl. {NOW}

Dette er kvitteringen du ba om. Den sier ikke om meldingen er lest.
Sendte du til flere, gjelder dette bare mottakeren over.
",
    );
    is_read(
        &[notice(News::Relayed, last(kept))],
        Language::En,
        "
Delivered: prøve

Your message was delivered to the mail system of vakt@b.nodnett.test.

Subject:    prøve
Sent:       {DATE} at {SENT}
Reference:  0000-0000-0005

Delivered to:

  vakt@b.nodnett.test (Rom B)
  Taken by the recipient's mail system at {NOW}

This is the receipt you asked for. It does not say whether it was read.
If you sent it to others too, this is only about the recipient above.
",
    );
}

#[test]
fn each_answer_has_a_plain_sentence_and_a_status() {
    let fits = |status| Cause::Unfit {
        status,
        reason: "why".into(),
    };
    for (cause, why, status) in [
        (said(550, Some("5.1.1"), ""), Why::NoMailbox, "5.1.1"),
        (said(550, Some("5.1.8"), ""), Why::Sender, "5.1.8"),
        (said(556, Some("5.1.10"), ""), Why::NoMail, "5.1.10"),
        (said(550, Some("5.2.1"), ""), Why::MailboxClosed, "5.2.1"),
        (said(550, Some("4.1.1"), ""), Why::NoMailbox, "5.1.1"),
        (said(552, Some("5.2.2"), ""), Why::MailboxFull, "5.2.2"),
        (said(552, Some("5.3.4"), ""), Why::TooLarge, "5.3.4"),
        (said(550, Some("5.6.7"), ""), Why::Letters, "5.6.7"),
        (said(550, Some("5.6.0"), ""), Why::Refused, "5.6.0"),
        (said(554, Some("5.7.1"), ""), Why::Rules, "5.7.1"),
        (
            said(554, Some("5.7.1"), "Relay access denied"),
            Why::Rules,
            "5.7.1",
        ),
        (
            said(550, Some("5.7.1"), "Virus EICAR found"),
            Why::Suspect,
            "5.7.1",
        ),
        (
            said(554, Some("5.7.9"), "looks like SPAM"),
            Why::Suspect,
            "5.7.9",
        ),
        (said(550, Some("5.7.30"), ""), Why::Unguarded, "5.7.30"),
        // Without a code of its own, only the words tell what it is about.
        (said(550, None, ""), Why::Refused, "5.0.0"),
        (said(550, None, "no"), Why::Refused, "5.0.0"),
        (said(554, None, "transaction failed"), Why::Refused, "5.0.0"),
        (
            said(550, None, "No such user here"),
            Why::NoMailbox,
            "5.1.1",
        ),
        (said(550, None, "User unknown"), Why::NoMailbox, "5.1.1"),
        (
            said(550, None, "mailbox unavailable"),
            Why::NoMailbox,
            "5.1.1",
        ),
        (said(554, None, "Ukjent mottaker"), Why::NoMailbox, "5.1.1"),
        (said(551, None, ""), Why::NoMailbox, "5.1.1"),
        (
            said(550, None, "Sender address rejected"),
            Why::Sender,
            "5.1.8",
        ),
        (
            said(550, None, "Relaying to this address denied"),
            Why::Rules,
            "5.7.1",
        ),
        (
            said(550, None, "Message contains a virus"),
            Why::Suspect,
            "5.7.1",
        ),
        (said(552, None, ""), Why::TooLarge, "5.3.4"),
        (said(552, None, "over quota"), Why::MailboxFull, "5.2.2"),
        (
            said(554, None, "message size exceeds limit"),
            Why::TooLarge,
            "5.3.4",
        ),
        (fits("5.6.7"), Why::Letters, "5.6.7"),
        (fits("5.3.4"), Why::TooLarge, "5.3.4"),
        (fits("5.1.10"), Why::NoMail, "5.1.10"),
        (fits("5.7.30"), Why::Unguarded, "5.7.30"),
        (fits("5.6.3"), Why::Unfit, "5.6.3"),
    ] {
        let notice = notice(News::Failed(Failure::Refused), last(cause.clone()));
        assert_eq!(Why::of(&notice), why, "{cause:?}");
        assert_eq!(notice.status(), status, "{cause:?}");
    }
    for (cause, why, status) in [
        (said(451, Some("4.3.2"), ""), Why::Busy, "4.3.2"),
        (said(451, None, ""), Why::Busy, "4.0.0"),
        (said(450, Some("4.2.1"), ""), Why::Busy, "4.2.1"),
        (said(452, Some("4.2.2"), ""), Why::MailboxFull, "4.2.2"),
        (said(452, None, "mailbox full"), Why::MailboxFull, "4.2.2"),
        (said(452, Some("4.3.1"), ""), Why::NoSpace, "4.3.1"),
        (
            said(452, None, "Insufficient system storage"),
            Why::NoSpace,
            "4.3.1",
        ),
        (said(452, Some("4.5.3"), ""), Why::Busy, "4.5.3"),
        (said(450, Some("4.7.1"), "Greylisted"), Why::Later, "4.7.1"),
        (said(451, None, "greylisted"), Why::Later, "4.7.0"),
        (said(450, None, "user unknown, later"), Why::Busy, "4.0.0"),
        (said(554, Some("5.3.2"), "closed"), Why::Busy, "4.4.7"),
        (
            found("room x is no longer in the routing table"),
            Why::NoRoom,
            "4.4.4",
        ),
        (found("room \"x\" is disabled"), Why::Disabled, "4.2.1"),
        (
            found("the attempt broke down: our fault"),
            Why::Ours,
            "4.3.0",
        ),
        (
            found("the message cannot be read: disk"),
            Why::Ours,
            "4.3.0",
        ),
        (
            found("the store has no bytes of this message"),
            Why::Ours,
            "4.3.0",
        ),
        (found("something else"), Why::Unknown, "4.4.7"),
        (
            found("the next hop does not let user \"x\" log in: 535"),
            Why::NotLetIn,
            "4.7.0",
        ),
    ] {
        let notice = notice(outlook(None), last(cause.clone()));
        assert_eq!(Why::of(&notice), why, "{cause:?}");
        assert_eq!(notice.status(), status, "{cause:?}");
    }
}

#[test]
fn what_is_for_our_own_people_is_not_told() {
    let cause = found("could not be written: /srv/mail: no space left");
    let notice = notice(outlook(None), last(cause));
    let (message, human) = write(&[notice], &content(), Language::En);
    assert!(human.contains("The fault is ours, not the recipient's."));
    let text = String::from_utf8(message.content.bytes.to_vec()).unwrap();
    assert!(text.contains("Status: 4.3.0"), "{text}");
    assert!(
        !text.contains("/srv") && !human.contains("Technical"),
        "{text}"
    );
}

/// The words of `delivery::outcome` are what the sentences go by.
#[test]
fn each_trouble_has_a_plain_sentence() {
    let silence = Duration::from_secs(30);
    for (stage, trouble, why, status) in [
        (
            Stage::Connect,
            Trouble::Network("connection refused".into()),
            Why::NoContact,
            "4.4.1",
        ),
        (
            Stage::Connect,
            Trouble::Silent(silence),
            Why::Silent,
            "4.4.1",
        ),
        (Stage::Rcpt, Trouble::Silent(silence), Why::Silent, "4.4.1"),
        (Stage::Greeting, Trouble::Closed, Why::BrokenOff, "4.4.2"),
        (
            Stage::Content,
            Trouble::Network("reset".into()),
            Why::BrokenOff,
            "4.4.2",
        ),
        (Stage::FinalDot, Trouble::Closed, Why::Unsure, "4.4.2"),
        (
            Stage::Hello,
            Trouble::Nonsense("?".into()),
            Why::Nonsense,
            "4.5.0",
        ),
        (
            Stage::StartTls,
            Trouble::Tls("expired".into()),
            Why::Tls,
            "4.7.5",
        ),
        (
            Stage::Prepare,
            Trouble::NoSuchName("mx.test".into()),
            Why::NoHost,
            "4.4.4",
        ),
        (
            Stage::Prepare,
            Trouble::Unresolved("timeout".into()),
            Why::NoNames,
            "4.4.3",
        ),
        (
            Stage::Prepare,
            Trouble::Disk("full".into()),
            Why::Ours,
            "4.3.0",
        ),
    ] {
        let attempt = Attempt {
            outcome: judge(stage, trouble.clone()).outcome,
            hop: None,
            tls: None,
            reached: true,
            handover: Handover::Relayed,
            duration: Duration::ZERO,
        };
        let notice = notice(
            outlook(None),
            Some(Last::of(&attempt, &waiting("vakt@b.nodnett.test"), now())),
        );
        let told = (Why::of(&notice), notice.status());
        assert_eq!(told, (why, status.to_owned()), "{stage:?} {trouble:?}");
    }
}

#[test]
fn what_a_scan_keeps_back_is_told_as_it_is() {
    let hours = Duration::from_secs(14_400);
    let waits = "waits for its scan: down: /run/clamav/clamd.ctl";
    let measure = "held: hold attachments of room-b (kari: bølge 2)";
    let poison = "held: it cannot be scanned: 5 scans of it came to nothing";
    let gone = || News::Failed(Failure::GivenUp(hours));
    let expired = || News::Failed(Failure::Expired(SENT));
    let cancelled = || News::Failed(Failure::Cancelled(None));
    let delayed = || outlook(None);
    let held = || News::Held(None);
    #[rustfmt::skip]
    let cases = [
        (State::Unscanned, waits, delayed(), "The message has not been scanned for viruses yet. It will be sent as soon as that is done, unless something is found.", "Meldingen er ikke viruskontrollert ennå. Den sendes så snart det er gjort, hvis ingenting blir funnet."),
        (State::Unscanned, waits, gone(), "It waited for 4 hours. It was not scanned for viruses in time.", "Den ventet i 4 timer. Den rakk ikke å bli viruskontrollert."),
        (State::Unscanned, waits, expired(), "was not scanned for viruses in time.", "rakk ikke å bli viruskontrollert."),
        (State::Held, poison, held(), "The message could not be scanned for viruses. The service desk has to decide whether it is sent.", "Meldingen kunne ikke viruskontrolleres. Brukerstøtten må avgjøre om den skal sendes."),
        (State::Held, poison, expired(), "was not scanned for viruses in time.", "rakk ikke å bli viruskontrollert."),
        (State::Held, measure, held(), "Messages with attachments are being held back for now, as a precaution.", "Meldinger med vedlegg holdes tilbake for tiden, som et føre var-tiltak."),
        (State::Held, measure, expired(), "It was held back.", "Den ble holdt tilbake."),
        (State::Held, "held by kari", held(), "held by the service desk.", "Brukerstøtten holder meldingen tilbake."),
        (State::Held, "held by kari", expired(), "It was held back.", "Den ble holdt tilbake."),
        (State::Cancelled, "cancelled by kari", cancelled(), "The service desk cancelled the message.", "Brukerstøtten stoppet sendingen."),
        // Scanned since, and waits for its turn.
        (State::Queued, waits, delayed(), "Many messages are waiting for this recipient.", "Det er kø av meldinger til denne mottakeren."),
        (State::Queued, waits, gone(), "It waited for 4 hours. Many messages are waiting", "Den ventet i 4 timer. Det er kø"),
    ];
    for (state, words, news, en, nb) in cases {
        let waiting = Waiting {
            state,
            awaits_scan: state == State::Held && !words.contains(" by "),
            last_reply: Some(words.to_owned()),
            ..waiting("vakt@b.nodnett.test")
        };
        let last = Last::remembered(&waiting);
        let is_over = matches!(news, News::Failed(_));
        let notices = [Notice::new(waiting, news, last)];
        for (language, expected) in [(Language::En, en), (Language::Nb, nb)] {
            let (_, human) = write(&notices, &content(), language);
            let told = human.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(told.contains(expected), "{words} {expected}: {told}");
            let promises = [
                "will be sent",
                "sendes så snart",
                "sendes når",
                "try again when",
            ];
            let promises = promises.iter().any(|it| told.contains(it));
            assert!(!(is_over && promises), "{told}");
            // What is for our own people.
            for secret in ["clamd", "kari", "came to nothing"] {
                assert!(!told.contains(secret), "{told}");
            }
        }
    }
}

#[test]
fn a_listed_reply_is_read_back() {
    for (reply, is_doubtful, expected) in [
        (
            "451 4.3.2 try later",
            false,
            said(451, Some("4.3.2"), "try later"),
        ),
        ("550 no user", true, said(550, None, "no user")),
        (
            "possibly delivered: 451 busy",
            true,
            said(451, None, "busy"),
        ),
        (
            "connection refused (while connecting)",
            false,
            found("connection refused (while connecting)"),
        ),
        ("127 hosts", false, said(127, None, "hosts")),
        ("4511 hosts", false, found("4511 hosts")),
    ] {
        let mut row = waiting("vakt@b.nodnett.test");
        row.last_reply = Some(reply.into());
        row.is_doubtful = is_doubtful;
        let last = Last::remembered(&row).unwrap();
        assert_eq!((last.cause, last.is_unsure), (expected, is_doubtful));
    }
    assert_eq!(read("250"), said(250, None, ""));
}

#[test]
fn a_machine_reads_failures() {
    let late = News::Failed(Failure::GivenUp(Duration::from_secs(60)));
    let notices = [
        refused(),
        Notice::new(
            waiting("lege@b.nodnett.test"),
            late,
            last(found("blått\r\nX: y")),
        ),
    ];
    let text = text(&notices);
    let (sent, now) = (SENT.rfc5322(), now().rfc5322());
    let blocks = format!(
        "Content-Type: message/delivery-status\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
         Reporting-MTA: dns; relay.nodnett.test\r\nArrival-Date: {sent}\r\n\r\n\
         Final-Recipient: rfc822; vakt@b.nodnett.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\
         Remote-MTA: dns; [10.1.0.5]\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n\
         Last-Attempt-Date: {now}\r\n\r\n\
         Final-Recipient: rfc822; lege@b.nodnett.test\r\nAction: failed\r\nStatus: 4.4.7\r\n\
         Diagnostic-Code: X-Ilbud; bl?tt  X: y\r\nLast-Attempt-Date: {now}\r\n"
    );
    assert!(text.contains(&blocks), "{text}");
    for line in [
        "To: <vakt@a.nodnett.test>\r\n",
        "Auto-Submitted: auto-replied\r\n",
        "Message-ID: <0000-0000-0009@relay.nodnett.test>\r\n",
        "In-Reply-To: <1@a.nodnett.test>\r\n",
        "Content-Type: text/rfc822-headers",
        "report-type=",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    assert!(text.starts_with("From: "), "{text}");
    assert!(text.ends_with("--\r\n"), "{text}");
    let bare = text.replace("\r\n", "");
    assert!(!bare.contains(['\r', '\n']), "bare CR or LF");
    assert!(text.is_ascii());
    assert!(!text.contains("secret"), "never the text of the message");
}

/// RFC 3464 §2.2.1, §2.3.1, §2.3.9; RFC 2852 §4.1, §5.
#[test]
fn a_machine_reads_each_kind() {
    let by = SENT.after(Duration::from_secs(300));
    let until = SENT.after(Duration::from_secs(14_400)).rfc5322();
    let kept = || last(said(250, Some("2.1.5"), "kept"));
    let later = || last(said(451, Some("4.3.2"), "later"));
    let retry = format!("\r\nWill-Retry-Until: {until}\r\n");
    for (news, last, action, status, retries) in [
        (outlook(None), later(), "delayed", "4.3.2", true),
        (outlook(Some(by)), later(), "delayed", "4.4.7", true),
        (News::Held(None), None, "delayed", "4.3.0", false),
        (
            News::Failed(Failure::Expired(by)),
            later(),
            "failed",
            "5.4.7",
            false,
        ),
        (
            News::Failed(Failure::Cancelled(None)),
            None,
            "failed",
            "5.3.0",
            false,
        ),
        (News::Delivered, kept(), "delivered", "2.1.5", false),
        (News::Relayed, kept(), "relayed", "2.1.5", false),
    ] {
        let mut notice = notice(news.clone(), last);
        notice.waiting.terms = Terms {
            envelope_id: Some("QQ+2B31".into()),
            deliver_by: Some(DeliverBy {
                at: by,
                mode: ByMode::Notify,
                trace: false,
            }),
            ret: Some(Return::Full),
            ..Terms::default()
        };
        notice.waiting.wishes.original = Some("rfc822;alle+3Db@gruppe.test".into());
        let text = text(&[notice]);
        let about_message = format!(
            "\r\nOriginal-Envelope-Id: QQ+31\r\nReporting-MTA: dns; relay.nodnett.test\r\n\
             Arrival-Date: {}\r\nDeliver-By-Date: {}\r\n\r\n",
            SENT.rfc5322(),
            by.rfc5322()
        );
        let about_recipient = format!(
            "\r\nOriginal-Recipient: rfc822; alle=b@gruppe.test\r\n\
             Final-Recipient: rfc822; vakt@b.nodnett.test\r\nAction: {action}\r\nStatus: {status}\r\n"
        );
        assert!(text.contains(&about_message), "{news:?}: {text}");
        assert!(text.contains(&about_recipient), "{news:?}: {text}");
        assert_eq!(text.contains(&retry), retries, "{news:?}: {text}");
        let is_whole = text.contains("secret");
        assert_eq!(is_whole, action == "failed", "{news:?}: {text}");
    }
}

/// RFC 3461 §4.3, RFC 6533 §4.
#[test]
fn a_failed_message_is_returned_as_asked() {
    let huge = vec![b'x'; WHOLE];
    for (ret, smtputf8, body, expected) in [
        (None, false, &b"secret\r\n"[..], "text/rfc822-headers"),
        (
            Some(Return::Headers),
            false,
            b"secret\r\n",
            "text/rfc822-headers",
        ),
        (
            Some(Return::Full),
            false,
            b"secret\r\n",
            "message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nReceived: by relay\r\n",
        ),
        (
            Some(Return::Full),
            false,
            "bl\u{e5}\r\n".as_bytes(),
            "message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nReceived: by relay\r\n",
        ),
        (
            Some(Return::Full),
            true,
            "bl\u{e5}\r\n".as_bytes(),
            "message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\nReceived: by relay\r\n",
        ),
        (Some(Return::Full), false, &huge, "text/rfc822-headers"),
    ] {
        let mut notice = refused();
        notice.waiting.terms.ret = ret;
        notice.waiting.smtputf8 = smtputf8;
        let content = Content {
            trace: b"Received: by relay\r\n".as_slice().into(),
            bytes: [b"Subject: x\r\n\r\n", body].concat().into(),
        };
        let (message, _) = write(&[notice], &content, Language::Nb);
        let text = String::from_utf8(message.content.bytes.to_vec()).unwrap();
        let expected = format!("\r\nContent-Type: {expected}");
        assert!(text.contains(&expected), "{ret:?} {smtputf8}: {expected:?}");
        assert!(!message.eight_bit);
        assert!(text.len() < 10_000);
    }
}

/// RFC 6533 §3: a report for a mailbox in ASCII needs no SMTPUTF8, whoever it is about.
#[test]
fn letters_in_an_address_never_keep_a_report_from_getting_home() {
    for (sender, kind, recipient) in [
        (
            "vakt@a.nodnett.test",
            "message/delivery-status\r\nContent-Transfer-Encoding: 7bit\r\n",
            "Final-Recipient: utf-8; bl\\x{E5}@b.nodnett.test\r\n",
        ),
        (
            "l\u{f8}r@a.nodnett.test",
            "message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n",
            "Final-Recipient: utf-8; bl\u{e5}@b.nodnett.test\r\n",
        ),
    ] {
        let mut notice = refused();
        notice.waiting.recipient = Address::parse("bl\u{e5}@b.nodnett.test").unwrap();
        notice.waiting.sender = Some(Address::parse(sender).unwrap());
        let (message, human) = write(&[notice], &content(), Language::Nb);
        let text = String::from_utf8(message.content.bytes.to_vec()).unwrap();
        assert_eq!(message.smtputf8, !sender.is_ascii());
        assert_eq!(text.is_ascii(), sender.is_ascii());
        assert!(!message.eight_bit);
        for line in [kind, recipient] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        assert!(
            human.contains("levert til bl\u{e5}@b.nodnett.test."),
            "{human}"
        );
    }
}

/// RFC 8689 §5: RET=FULL does not count, and nothing of the message travels less guarded than it.
#[test]
fn a_report_on_a_guarded_message_tells_only_the_envelope() {
    let mut notice = refused();
    notice.waiting.subject = Some("bl\u{e5}lys".into());
    notice.waiting.terms = Terms {
        require_tls: true,
        ret: Some(Return::Full),
        envelope_id: Some("QQ31".into()),
        ..Terms::default()
    };
    let (message, human) = write(&[notice], &content(), Language::Nb);
    let text = String::from_utf8(message.content.bytes.to_vec()).unwrap();
    assert!(!message.terms.require_tls);
    let subject = "Ikke levert: (emnet er utelatt)";
    assert_eq!(message.facts.subject.as_deref(), Some(subject));
    assert!(
        human.contains("Emne:       (emnet er utelatt)\r\n"),
        "{human}"
    );
    assert!(text.contains("Original-Envelope-Id: QQ31\r\n"), "{text}");
    for secret in [
        "secret",
        "Subject: x",
        "1@a.nodnett.test",
        "rfc822-headers",
        "lys",
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn the_host_that_answered_is_named() {
    for (hop, expected) in [
        ("smtp://10.1.0.5:25", Some("[10.1.0.5]")),
        ("smtp://mx.b.test:25", Some("mx.b.test")),
        ("smtp://mx.b.test:25?tls=required", Some("mx.b.test")),
        ("smtps://[::1]:465", Some("[IPv6:::1]")),
        ("lmtp://[::1]", Some("[IPv6:::1]")),
        ("smtp://mx.b.test", Some("mx.b.test")),
        ("mx:b.test (mx1.b.test)", Some("mx1.b.test")),
        ("mx:b.test?tls=required (10.1.0.5)", Some("[10.1.0.5]")),
        ("mx:b.test", None),
        ("lmtp:/run/dovecot/lmtp", None),
        ("smtp://user@mx.b.test:25", Some("mx.b.test")),
        ("maildir:/srv/mail", None),
    ] {
        let mut notice = refused();
        notice.last.as_mut().unwrap().hop = Some(hop.into());
        let text = text(&[notice]);
        let found = text
            .lines()
            .find_map(|it| it.strip_prefix("Remote-MTA: dns; "));
        assert_eq!(found, expected, "{hop}");
    }
}

#[test]
fn the_phone_is_the_one_that_is_answered() {
    for (room, expected) in [
        ("room-b", "  Haster det? Ring Rom B: +47 00 00 00 02\r\n"),
        (
            "closed",
            "  E-post til Rom D går nå til Rom B.\r\n  Haster det? Ring Rom B: +47 00 00 00 02\r\n",
        ),
        (
            "moved",
            "  E-post til Rom E går nå til Rom A.\r\n  Haster det? Ring Rom A. (Telefonnummeret \
             er ikke registrert.)\r\n",
        ),
        (
            "open-again",
            "  Haster det? Ring Rom F: +47 00 00 00 06\r\n",
        ),
        (
            "gone",
            "  Haster det? Ring gone. (Telefonnummeret er ikke registrert.)\r\n",
        ),
    ] {
        let mut notice = refused();
        notice.waiting.room = RoomId::new(room);
        let (_, human) = write(&[notice], &content(), Language::Nb);
        assert!(
            human.contains(&format!(")\r\n{expected}  Hvorfor:")),
            "{human}"
        );
    }
}

#[test]
fn the_first_line_claims_no_more_than_is_known() {
    let to = |number: usize, news: News, last: Option<Last>| {
        let recipient = format!("vakt{number}@b.nodnett.test");
        Notice::new(waiting(&recipient), news, last)
    };
    let lost = || unsure(found("the connection was closed without an answer"));
    let kept = || last(said(250, None, "kept"));
    let busy = || last(said(451, None, "busy"));
    let no = || last(said(550, None, "no"));
    let refused = News::Failed(Failure::Refused);
    let given_up = News::Failed(Failure::GivenUp(Duration::from_secs(60)));
    #[rustfmt::skip]
    let cases = [
        (vec![(refused.clone(), no()), (refused.clone(), no()), (refused.clone(), no())],
            "Meldingen din er IKKE levert til 3 mottakere."),
        (vec![(given_up.clone(), lost()), (given_up.clone(), lost())],
            "Vi vet ikke om meldingen din kom fram til 2 mottakere."),
        (vec![(refused.clone(), no()), (refused, no()), (given_up, lost())],
            "Meldingen din er IKKE levert til 2 mottakere. For 1 mottaker vet vi ikke om den kom fram."),
        (vec![(outlook(None), busy()), (outlook(None), busy())],
            "Meldingen din er forsinket til 2 mottakere. Den er ikke levert ennå, men vi prøver fortsatt."),
        (vec![(outlook(None), busy()), (outlook(None), lost())],
            "Meldingen din er forsinket til 2 mottakere. Se hvorfor nedenfor."),
        (vec![(outlook(None), busy()), (News::Held(None), None)],
            "Meldingen din er forsinket til 2 mottakere. Se hvorfor nedenfor."),
        (vec![(News::Delivered, kept()), (News::Delivered, kept())],
            "Meldingen din er levert til 2 mottakere."),
        (vec![(News::Delivered, kept()), (News::Relayed, kept())],
            "Meldingen din er levert til 2 mottakere, eller til e-postsystemet deres."),
        (vec![(News::Relayed, kept()), (News::Relayed, kept())],
            "Meldingen din er levert til e-postsystemet til 2 mottakere."),
    ];
    for (all, expected) in cases {
        let all = all.into_iter().enumerate();
        let notices: Vec<Notice> = all.map(|(at, (news, last))| to(at, news, last)).collect();
        let (_, human) = write(&notices, &content(), Language::Nb);
        let opening = human.split("\r\n\r\n").next().unwrap();
        assert_eq!(opening.replace("\r\n", " "), expected);
        assert!(human.contains("bare mottakerne over."), "{human}");
    }
}

/// The report's own reference could be guessed, and servers refuse what is no mail.
#[test]
fn a_hostile_message_cannot_break_its_report() {
    let long = "x".repeat(999);
    for (fields, expected) in [
        (&b"X: 1"[..], "message/rfc822"),
        (b"X: bl\xe5 \xff", "message/rfc822"),
        (b"X: a\0b", "text/rfc822-headers"),
        (b"X: a\nb", "text/rfc822-headers"),
        (b"X: a\rb", "text/rfc822-headers"),
        (long.as_bytes(), "text/rfc822-headers"),
        (
            b"--report-0000-0000-0009--\r\nContent-Type: text/html\r\n--report-0000-0000-0009-",
            "message/rfc822",
        ),
    ] {
        for ret in [Return::Full, Return::Headers] {
            let mut notice = refused();
            notice.waiting.terms.ret = Some(ret);
            let content = Content {
                trace: b"Received: by relay\r\n".as_slice().into(),
                bytes: [fields, b"\r\n\r\nsecret\r\n"].concat().into(),
            };
            let (message, _) = write(&[notice], &content, Language::Nb);
            let text = String::from_utf8_lossy(&message.content.bytes).into_owned();
            let (_, rest) = text.split_once("boundary=\"").unwrap();
            let line = format!("\r\n--{}", rest.split('"').next().unwrap());
            let parts: Vec<&str> = text.split(&format!("{line}\r\n")).collect();
            assert_eq!(parts.len(), 4, "{text}");
            assert!(text.ends_with(&format!("{line}--\r\n")), "{text}");
            let kind = match ret {
                Return::Full => expected,
                Return::Headers => "text/rfc822-headers",
            };
            assert!(parts[3].starts_with(&format!("Content-Type: {kind}\r\n")));
            assert!(is_sound(&message.content.bytes), "{text}");
        }
    }
}
