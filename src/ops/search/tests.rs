//! What people type, and what is searched for: one case a line, in both languages.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::mail::timestamp::Zone;

/// A Sunday, 13:10 in Norway.
const NOW: &str = "2026-11-22T12:10:00Z";
const REFERENCE: &str = "CZ30-2QXM-9A1B";

const TABLE: &str = r#"
[[room]]
id = "legevakt-hamar"
name = "Legevakt Hamar"
domains = ["hamar.nodnett.test"]
next_hops = ["maildir:mail/hamar"]
[[room]]
id = "lv-0501"
name = "Legevakt Lillehammer"
domains = ["lv-0501.nodnett.test"]
next_hops = ["maildir:mail/lillehammer"]
[[room]]
id = "amk-oslo"
name = "AMK Oslo"
domains = ["amk-oslo.nodnett.test", "oslo.nodnett.test"]
next_hops = ["maildir:mail/oslo"]
"#;

fn understood_at(text: &str, now: &str, language: Language) -> Result<Understood, Unclear> {
    let (table, _) = RoutingTable::parse(TABLE, 1).unwrap();
    let zone = Zone::norway();
    let desk = Desk {
        now: now.parse().unwrap(),
        zone: &zone,
        language,
        table: &table,
    };
    understand(text, desk)
}

/// Reading a large table takes as long as many searches.
#[test]
fn the_table_is_asked_only_for_what_may_be_a_room() {
    let zone = Zone::norway();
    let desk = Desk {
        now: NOW.parse().unwrap(),
        zone: &zone,
        language: Language::Nb,
        table: &RoutingTable::default(),
    };
    for (typed, asks) in [
        ("", false),
        (REFERENCE, false),
        ("cz30 2qxm 9a1b i går", false),
        ("ref:cz302qxm9a1b", false),
        ("levert i går 14-15", false),
        ("vakt@hamar.nodnett.test", false),
        (
            "fra vakt@hamar.nodnett.test til leder@oslo.nodnett.test",
            false,
        ),
        ("fra:vakt@hamar.nodnett.test siste time", false),
        ("10.1.0.7 bilde.png", false),
        ("emne:epikrise status:levert", false),
        ("\"epikrise levert\"", false),
        ("epikrise", true),
        ("fra hamar", true),
        ("til:hamar", true),
        ("rom:hamar", true),
        // What is unclear by itself, and what only a room's name might have made clear.
        ("status:lost", false),
        ("frra:vakt", true),
    ] {
        assert_eq!(asks_for_rooms(typed, desk), asks, "{typed}");
    }
}

/// Only what is searched for, in a line; times as they are shown in Norway, the last one not included.
fn told(understood: &Understood) -> String {
    let search = &understood.search;
    let zone = Zone::norway();
    let shown = |at: Timestamp, more: i64| {
        let at = Timestamp::from_millis(at.as_millis() + more);
        let (day, clock) = zone.shown(at);
        let mut text = format!("{:02}{:02}", day.month(), day.day());
        if day.year() != 2026 {
            text = format!("{}{text}", day.year());
        }
        write!(text, " {:02}:{:02}", clock / 3_600, clock / 60 % 60).unwrap();
        text
    };
    let mut said: Vec<String> = search.words.clone();
    let fields = [
        ("ref", search.reference.map(|it| it.to_string())),
        ("from", search.sender.clone()),
        ("to", search.recipient.clone()),
        ("room", search.room.clone()),
        ("status", search.status.clone()),
        ("subject", search.subject.clone()),
        ("file", search.attachment.clone()),
        ("id", search.message_id.clone()),
        ("ip", search.client.clone()),
        ("reply", search.reply.clone()),
        ("since", search.since.map(|it| shown(it, 0))),
        ("until", search.until.map(|it| shown(it, 1))),
    ];
    for (name, value) in fields {
        said.extend(value.map(|value| format!("{name}={value}")));
    }
    said.join(" ")
}

#[track_caller]
fn expect(now: &str, cases: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (typed, expected) in cases {
        for language in [Language::Nb, Language::En] {
            let found = match understood_at(typed, now, language) {
                Ok(understood) => told(&understood),
                Err(unclear) => format!("unclear: {unclear}"),
            };
            if found != *expected {
                writeln!(
                    wrong,
                    "{typed:?} {language:?}\n  is   {found}\n  not  {expected}"
                )
                .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn what_a_piece_is_taken_for() {
    let sha = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08";
    let lower = format!("file={}", sha.to_lowercase());
    expect(
        NOW,
        &[
            ("", ""),
            ("epikrise", "epikrise"),
            ("Epikrise Ola", "epikrise ola"),
            // References.
            (REFERENCE, "ref=CZ30-2QXM-9A1B"),
            ("cz302qxm9a1b", "ref=CZ30-2QXM-9A1B"),
            ("cz30 2qxm 9a1b", "ref=CZ30-2QXM-9A1B"),
            ("czeo-2qxm-9alb", "ref=CZE0-2QXM-9A1B"),
            ("CZ3O-2QXM-9AIB", "ref=CZ30-2QXM-9A1B"),
            ("cz3o 2qxm 9alb", "ref=CZ30-2QXM-9A1B"),
            ("CZ30-2QXM-9A1B, takk", "takk ref=CZ30-2QXM-9A1B"),
            ("ref:cz302qxm9a1b", "ref=CZ30-2QXM-9A1B"),
            ("ZZZZ-2QXM-9A1B", "ref=ZZZZ-2QXM-9A1B"),
            ("2QXM-9A1B", "2qxm-9a1b"),
            ("dagbehandles", "dagbehandles"),
            ("journalnotat", "journalnotat"),
            ("zzzz2qxm9a1b", "zzzz2qxm9a1b"),
            // Addresses, and names of rooms.
            ("vakt@hamar.nodnett.test", "vakt@hamar.nodnett.test"),
            ("@hamar", "@hamar"),
            ("vakt@xn--bt-yia.nodnett.test", "vakt@båt.nodnett.test"),
            ("<vakt@hamar.nodnett.test>", "vakt@hamar.nodnett.test"),
            ("<abc.1@ws1>", "abc.1@ws1"),
            ("legevakt-hamar", "legevakt-hamar"),
            ("Legevakt Hamar", "legevakt hamar"),
            ("hamar", "hamar"),
            ("Legevakt Lillehammer", "room=lv-0501"),
            ("lillehammer", "room=lv-0501"),
            ("legevakt", "legevakt"),
            ("LILLEHAMMER epikrise", "epikrise room=lv-0501"),
            ("til lillehammer", "to=@lv-0501.nodnett.test"),
            (
                "fra vakt@hamar.nodnett.test til Legevakt Lillehammer",
                "from=vakt@hamar.nodnett.test to=@lv-0501.nodnett.test",
            ),
            (
                "from hamar to vakt@lv-0501.nodnett.test",
                "from=@hamar.nodnett.test to=vakt@lv-0501.nodnett.test",
            ),
            ("fra Ola", "fra ola"),
            ("fra \"AMK Oslo\"", "room=amk-oslo"),
            ("fra oslo", "from=oslo"),
            ("til \"Legevakt Hamar\" x", "x to=@hamar.nodnett.test"),
            ("til a@b.test til c@b.test", "til c@b.test to=a@b.test"),
            ("levert avvist", "avvist status=delivered"),
            (
                "a.pdf b.pdf 10.1.0.7 10.1.0.8",
                "b.pdf 10.1.0.8 file=a.pdf ip=10.1.0.7",
            ),
            // Statuses.
            ("levert", "status=delivered"),
            ("Delivered hamar", "hamar status=delivered"),
            ("i kø", "status=queued"),
            ("kø", "status=queued"),
            ("holdt tilbake", "status=held"),
            ("on hold", "status=held"),
            ("i karantene", "status=quarantined"),
            (
                "avvist i går",
                "status=refused since=1121 00:00 until=1122 00:00",
            ),
            (
                "rejected today",
                "status=refused since=1122 00:00 until=1123 00:00",
            ),
            ("utsatt", "status=deferred"),
            ("feilet", "status=failed"),
            ("kansellert", "status=cancelled"),
            ("ikke skannet", "status=unscanned"),
            ("ikke levert", ""),
            ("not delivered hamar", "hamar"),
            ("\"levert\"", "levert"),
            // What its form says.
            ("10.1.0.7", "ip=10.1.0.7"),
            ("::1", "ip=::1"),
            ("::ffff:10.1.0.7", "ip=10.1.0.7"),
            (sha, &lower),
            ("epikrise.pdf", "file=epikrise.pdf"),
            (
                "Epikrise_Ola.PDF 10.1.0.7",
                "file=Epikrise_Ola.PDF ip=10.1.0.7",
            ),
            ("hamar.nodnett.test", "hamar.nodnett.test"),
            // Exact words.
            ("\"i går kveld\"", "i går kveld"),
            ("«god natt» epikrise", "god natt epikrise"),
            ("“two words", "two words"),
            ("\"\"", ""),
            // Fields.
            (
                "fra:vakt@hamar.nodnett.test",
                "from=vakt@hamar.nodnett.test",
            ),
            ("FRA: vakt", "from=vakt"),
            ("from:hamar", "from=@hamar.nodnett.test"),
            ("til:leder@", "to=leder@"),
            ("mottaker:oslo", "to=oslo"),
            ("rom:hamar", "room=legevakt-hamar"),
            ("room:\"AMK Oslo\"", "room=amk-oslo"),
            ("rom:amk-gone", "room=amk-gone"),
            ("emne:\"til Hamar\" x", "x subject=til Hamar"),
            ("subject:note", "subject=note"),
            ("vedlegg:rapport", "file=rapport"),
            ("status:levert", "status=delivered"),
            ("status: \"i kø\"", "status=queued"),
            ("klient:10.1.0.7", "ip=10.1.0.7"),
            ("svar:greylisted", "reply=greylisted"),
            ("message-id:<a@b>", "id=a@b"),
            // Not everything with a colon is a field.
            ("SV: epikrise", "sv: epikrise"),
            ("http://x.test", "http://x.test"),
            ("a:b", "a:b"),
            ("tel:123", "tel:123"),
            ("urgent:ja", "urgent:ja"),
        ],
    );
}

#[test]
fn when_it_was() {
    expect(
        NOW,
        &[
            ("i dag", "since=1122 00:00 until=1123 00:00"),
            ("idag", "since=1122 00:00 until=1123 00:00"),
            ("today", "since=1122 00:00 until=1123 00:00"),
            ("i går", "since=1121 00:00 until=1122 00:00"),
            ("I GÅR", "since=1121 00:00 until=1122 00:00"),
            ("yesterday", "since=1121 00:00 until=1122 00:00"),
            ("i forgårs", "since=1120 00:00 until=1121 00:00"),
            (
                "the day before yesterday",
                "since=1120 00:00 until=1121 00:00",
            ),
            ("i går 14-15", "since=1121 14:00 until=1121 15:00"),
            ("i går 14–15", "since=1121 14:00 until=1121 15:00"),
            ("14-15 i går", "since=1121 14:00 until=1121 15:00"),
            ("i går kl. 14 - 15", "since=1121 14:00 until=1121 15:00"),
            ("i går kl 14:30-15:10", "since=1121 14:30 until=1121 15:10"),
            ("i går mellom 14 og 15", "since=1121 14:00 until=1121 15:00"),
            ("mellom 14 og 15 i går", "since=1121 14:00 until=1121 15:00"),
            ("fra 14 til 15 i går", "since=1121 14:00 until=1121 15:00"),
            ("yesterday 2pm-3pm", "since=1121 14:00 until=1121 15:00"),
            ("yesterday 2-3pm", "since=1121 14:00 until=1121 15:00"),
            ("yesterday 11am-1pm", "since=1121 11:00 until=1121 13:00"),
            (
                "yesterday between 2 pm and 3 pm",
                "since=1121 14:00 until=1121 15:00",
            ),
            (
                "from 2pm to 3pm yesterday",
                "since=1121 14:00 until=1121 15:00",
            ),
            ("12am yesterday", "since=1121 00:00 until=1121 01:00"),
            ("12pm", "since=1122 12:00 until=1122 13:00"),
            ("hamar 14-15", "hamar since=1121 14:00 until=1121 15:00"),
            ("10-11", "since=1122 10:00 until=1122 11:00"),
            ("22-06 i går", "22-06 since=1121 00:00 until=1122 00:00"),
            ("i går 22-06", "since=1121 22:00 until=1122 06:00"),
            ("i går kl 14", "since=1121 14:00 until=1121 15:00"),
            ("i går 14", "since=1121 14:00 until=1121 15:00"),
            ("i går 1405", "since=1121 14:00 until=1121 14:10"),
            ("i går 14.05", "since=1121 14:00 until=1121 14:10"),
            ("i går kveld", "since=1121 17:00 until=1122 00:00"),
            ("yesterday afternoon", "since=1121 12:00 until=1121 18:00"),
            ("last night", "since=1121 18:00 until=1122 06:00"),
            ("i natt", "since=1121 22:00 until=1122 06:00"),
            ("i morges", "since=1122 05:00 until=1122 10:00"),
            ("kl 14", "since=1121 14:00 until=1121 15:00"),
            ("kl 10", "since=1122 10:00 until=1122 11:00"),
            ("kl. 10:30", "since=1122 10:25 until=1122 10:35"),
            ("klokka 10", "since=1122 10:00 until=1122 11:00"),
            ("10:30", "since=1122 10:25 until=1122 10:35"),
            ("ca 14", "since=1121 13:30 until=1121 14:30"),
            (
                "ca 14 epikrise",
                "epikrise since=1121 13:30 until=1121 14:30",
            ),
            ("ca. kl. 14 i går", "since=1121 13:30 until=1121 14:30"),
            ("i går ca 14", "since=1121 13:30 until=1121 14:30"),
            ("about 10", "since=1122 09:30 until=1122 10:30"),
            (
                "around 10:30 hamar",
                "hamar since=1122 10:15 until=1122 10:45",
            ),
            ("~10", "since=1122 09:30 until=1122 10:30"),
            ("ved 10-tiden", "since=1122 09:30 until=1122 10:30"),
            ("ca hamar", "ca hamar"),
            ("etter 10", "since=1122 10:00"),
            ("etter 14", "since=1121 14:00"),
            ("etter 14 i går", "since=1121 14:00"),
            ("i går etter 14", "since=1121 14:00 until=1122 00:00"),
            ("i går etter 14 før 16", "since=1121 14:00 until=1121 16:00"),
            ("etter i går", "since=1122 00:00"),
            ("siden i går", "since=1121 00:00"),
            ("since monday", "since=1116 00:00"),
            ("since 2h", "since=1122 11:10"),
            ("siden 2026-11-20T10:00:00Z", "since=1120 10:59"),
            ("før 12", "until=1122 12:00"),
            ("before yesterday", "until=1121 00:00"),
            ("til i går", "until=1122 00:00"),
            ("fra i går", "since=1121 00:00"),
            ("fra mandag til onsdag", "since=1116 00:00 until=1119 00:00"),
            (
                "fra 20.11. 14:00 til 21.11. 09:00",
                "since=1120 14:00 until=1121 09:00",
            ),
            ("mandag", "since=1116 00:00 until=1117 00:00"),
            ("på mandag kl 9", "since=1116 09:00 until=1116 10:00"),
            ("søndag", "since=1122 00:00 until=1123 00:00"),
            ("forrige søndag", "since=1115 00:00 until=1116 00:00"),
            ("last sunday", "since=1115 00:00 until=1116 00:00"),
            ("Tuesday 9am", "since=1117 09:00 until=1117 10:00"),
            ("denne uka", "since=1116 00:00 until=1123 00:00"),
            ("forrige uke", "since=1109 00:00 until=1116 00:00"),
            ("last week", "since=1109 00:00 until=1116 00:00"),
            ("uke 46", "since=1109 00:00 until=1116 00:00"),
            ("forrige måned", "since=1001 00:00 until=1101 00:00"),
            ("this month", "since=1101 00:00 until=1201 00:00"),
            ("i fjor", "since=20250101 00:00 until=0101 00:00"),
            ("2h", "since=1122 11:10"),
            ("2t", "since=1122 11:10"),
            ("30min hamar", "hamar since=1122 12:40"),
            ("7d", "since=1115 13:10"),
            ("siste 2 timer", "since=1122 11:10"),
            ("de siste to timene", "since=1122 11:10"),
            ("siste time", "since=1122 12:10"),
            ("siste døgn", "since=1121 13:10"),
            ("siste uke", "since=1115 13:10"),
            ("last 30 min", "since=1122 12:40"),
            ("the last hour", "since=1122 12:10"),
            ("for 2 timer siden", "since=1122 10:40 until=1122 11:40"),
            ("an hour ago", "since=1122 11:55 until=1122 12:25"),
            ("3 dager siden", "since=1118 19:10 until=1120 07:10"),
            ("ca to timer siden", "since=1122 10:40 until=1122 11:40"),
            (
                "for omtrent en time siden",
                "since=1122 11:55 until=1122 12:25",
            ),
            ("about two hours ago", "since=1122 10:40 until=1122 11:40"),
            ("ca to timer", "ca to timer"),
            // A dial: the last time that it showed so, or by day.
            ("ca to", "since=1122 01:30 until=1122 02:30"),
            ("kl ett", "since=1122 13:00 until=1122 14:00"),
            ("ca ett", "since=1122 12:30 until=1122 13:30"),
            ("klokka tolv", "since=1122 12:00 until=1122 13:00"),
            ("at ten", "since=1122 10:00 until=1122 11:00"),
            ("i går ca to", "since=1121 13:30 until=1121 14:30"),
            (
                "i går hamar ca to",
                "hamar since=1121 13:30 until=1121 14:30",
            ),
            ("i går klokka ni", "since=1121 09:00 until=1121 10:00"),
            ("halv ett", "since=1122 12:25 until=1122 12:35"),
            ("ca halv ett", "since=1122 12:15 until=1122 12:45"),
            ("i går halv 3", "since=1121 14:25 until=1121 14:35"),
            ("kvart over tolv", "since=1122 12:10 until=1122 12:20"),
            ("kvart på ett", "since=1122 12:40 until=1122 12:50"),
            ("half past twelve", "since=1122 12:25 until=1122 12:35"),
            (
                "yesterday quarter to three",
                "since=1121 14:40 until=1121 14:50",
            ),
            ("two o'clock yesterday", "since=1121 14:00 until=1121 15:00"),
            ("etter halv ett", "since=1122 12:30"),
            ("siden klokka elleve", "since=1122 11:00"),
            ("to", "to"),
            ("halv pris", "halv pris"),
            ("ved en ulykke", "ved en ulykke"),
            ("ti minutter siden", "since=1122 12:55 until=1122 13:05"),
            ("2h ago", "since=1122 10:40 until=1122 11:40"),
            ("for en halvtime siden", "since=1122 12:32 until=1122 12:47"),
            ("en halv time siden", "since=1122 12:32 until=1122 12:47"),
            ("half an hour ago", "since=1122 12:32 until=1122 12:47"),
            ("siste halvtime", "since=1122 12:40"),
            ("last half hour", "since=1122 12:40"),
            ("siste fem minutter", "since=1122 13:05"),
            ("nettopp", "since=1122 12:55"),
            ("akkurat nå hamar", "hamar since=1122 12:55"),
            ("just now", "since=1122 12:55"),
            ("ti minutter", "ti minutter"),
            ("siden ti", "siden ti"),
            ("i går klokka to", "since=1121 14:00 until=1121 15:00"),
            ("i går to", "to since=1121 00:00 until=1122 00:00"),
            (
                "yesterday to hamar",
                "to=@hamar.nodnett.test since=1121 00:00 until=1122 00:00",
            ),
            (
                "mandag fem epikriser",
                "fem epikriser since=1116 00:00 until=1117 00:00",
            ),
            (
                "to hamar about two",
                "to=@hamar.nodnett.test since=1122 01:30 until=1122 02:30",
            ),
            ("22.11.", "since=1122 00:00 until=1123 00:00"),
            ("20.11", "since=1120 00:00 until=1121 00:00"),
            ("1.11.", "since=1101 00:00 until=1102 00:00"),
            ("20.11.2025", "since=20251120 00:00 until=20251121 00:00"),
            ("20.11.25", "since=20251120 00:00 until=20251121 00:00"),
            ("20/11", "since=1120 00:00 until=1121 00:00"),
            ("20. november", "since=1120 00:00 until=1121 00:00"),
            ("20 nov 14:05", "since=1120 14:00 until=1120 14:10"),
            ("22. november 10:05", "since=1122 10:00 until=1122 10:10"),
            (
                "den 20. november 2025",
                "since=20251120 00:00 until=20251121 00:00",
            ),
            ("November 20th 2pm", "since=1120 14:00 until=1120 15:00"),
            ("2026-11-20", "since=1120 00:00 until=1121 00:00"),
            ("2026-11-20 14:00", "since=1120 13:55 until=1120 14:05"),
            ("2026-11-20T14:05", "since=1120 14:00 until=1120 14:10"),
            ("2026-11-20T13:05:00Z", "since=1120 14:04 until=1120 14:06"),
            (
                "2026-11-20t14:05:00+01:00",
                "since=1120 14:04 until=1120 14:06",
            ),
            // Of the year before, where it is still to come.
            ("24.12.", "since=20251224 00:00 until=20251225 00:00"),
            ("24. desember", "since=20251224 00:00 until=20251225 00:00"),
            // Not times.
            ("14", "14"),
            ("31.02.", "31.02."),
            ("11/22", "11/22"),
            ("1.5", "1.5"),
            ("25:00", "25:00"),
            ("13:60", "13:60"),
            ("15pm", "15pm"),
            ("uke 54", "uke 54"),
            ("14 til 15", "14 til 15"),
            ("til 2 mottakere", "til 2 mottakere"),
            ("0h", "0h"),
            ("99999h", "99999h"),
        ],
    );
}

#[test]
fn nights_in_which_clocks_are_changed() {
    // The morning after: clocks showed 02:30 twice.
    expect(
        "2026-10-26T09:00:00Z",
        &[
            ("i går 02:30", "since=1025 02:25 until=1025 02:35"),
            ("i går 2-3", "since=1025 02:00 until=1025 03:00"),
            ("i går", "since=1025 00:00 until=1026 00:00"),
            ("etter 02:30 i går", "since=1025 02:30"),
            ("i går kl 2", "since=1025 02:00 until=1025 03:00"),
        ],
    );
    let length = |typed: &str, now: &str| {
        let search = understood_at(typed, now, Language::Nb).unwrap().search;
        (search.until.unwrap().as_millis() + 1 - search.since.unwrap().as_millis()) / 60_000
    };
    let autumn = "2026-10-26T09:00:00Z";
    assert_eq!(length("i går 02:30", autumn), 70);
    assert_eq!(length("i går kl 2", autumn), 120);
    assert_eq!(length("i går", autumn), 25 * 60);
    let spring = "2026-03-30T09:00:00Z";
    assert_eq!(length("i går", spring), 23 * 60);
    assert_eq!(length("i går 1-4", spring), 2 * 60);
    assert_eq!(length("i går 01:55-03:05", spring), 10);
    for typed in [
        "i går 02:30",
        "i går kl 2",
        "29.03. 02:15",
        "etter 02:30 i går",
    ] {
        let nb = understood_at(typed, spring, Language::Nb).unwrap_err();
        assert!(
            nb.to_string()
                .contains("29. mars 2026 finnes ikke: klokka ble stilt fram"),
            "{nb}"
        );
        let en = understood_at(typed, spring, Language::En).unwrap_err();
        assert!(
            en.to_string().contains("on 29 March 2026 never was"),
            "{en}"
        );
    }
}

#[test]
fn ends_of_years_and_leap_days() {
    expect(
        "2027-01-01T08:00:00Z",
        &[
            ("i går", "since=1231 00:00 until=20270101 00:00"),
            ("i går 23-01", "since=1231 23:00 until=20270101 01:00"),
            ("31.12.", "since=1231 00:00 until=20270101 00:00"),
            ("forrige måned", "since=1201 00:00 until=20270101 00:00"),
            ("last week", "since=1221 00:00 until=1228 00:00"),
            ("denne uken", "since=1228 00:00 until=20270104 00:00"),
            ("uke 53", "since=1228 00:00 until=20270104 00:00"),
            ("torsdag", "since=1231 00:00 until=20270101 00:00"),
            ("29.02.", "since=20240229 00:00 until=20240301 00:00"),
            (
                "29. februar 2024",
                "since=20240229 00:00 until=20240301 00:00",
            ),
            ("29.02.2026", "29.02.2026"),
            ("kl 10", "since=1231 10:00 until=1231 11:00"),
        ],
    );
    expect(
        "2028-03-01T08:00:00Z",
        &[
            ("i går", "since=20280229 00:00 until=20280301 00:00"),
            ("29.2.", "since=20280229 00:00 until=20280301 00:00"),
        ],
    );
    // Just after midnight in Norway it is still the day before elsewhere.
    expect(
        "2026-11-21T23:05:00Z",
        &[
            ("i dag", "since=1122 00:00 until=1123 00:00"),
            ("kl 23", "since=1121 23:00 until=1122 00:00"),
            ("ca 0", "since=1122 00:00 until=1122 00:30"),
        ],
    );
}

#[test]
fn what_is_searched_for_in_vain_is_refused_with_what_to_write() {
    for (typed, nb, en) in [
        (
            "frra:vakt",
            "felt «frra»: mente du fra:",
            "no field \"frra\": did you mean fra:",
        ),
        ("emnet:x", "mente du emne:", "did you mean emne:"),
        ("subjekt:x", "mente du subject:", "did you mean subject:"),
        (
            "status:levvert",
            "ingen status heter «levvert»: mente du levert?",
            "did you mean levert?",
        ),
        (
            "status:xyzzy",
            "ingen status heter «xyzzy»; det finnes ikke skannet,",
            "there are unscanned,",
        ),
        (
            "klient:ws1",
            "klient «ws1» kan ikke leses: skriv en adresse som 10.1.0.7",
            "client \"ws1\" cannot be read",
        ),
        (
            "ref:K7F3",
            "referanse «K7F3» kan ikke leses",
            "reference \"K7F3\" cannot be read",
        ),
        (
            "fra:",
            "avsender mangler: skriv",
            "the sender is missing: write",
        ),
        (
            "i går i dag",
            "tidene utelukker hverandre",
            "the times exclude each other",
        ),
        (
            "etter 12 før 10",
            "tidene utelukker hverandre",
            "the times exclude each other",
        ),
    ] {
        for (language, expected) in [(Language::Nb, nb), (Language::En, en)] {
            let unclear = understood_at(typed, NOW, language).unwrap_err().to_string();
            assert!(unclear.contains(expected), "{typed}: {unclear}");
        }
    }
    assert!(understood_at("\"frra:vakt\"", NOW, Language::Nb).is_ok());
}

#[test]
fn each_piece_is_said_in_words() {
    for (typed, nb, en) in [
        (
            "i går 14-15",
            "mellom 14:00 og 15:00 i går",
            "between 14:00 and 15:00 yesterday",
        ),
        ("i dag", "hele dagen i dag", "all day today"),
        ("20.11.", "hele dagen 20. november", "all day 20 November"),
        (
            "24.12.",
            "hele dagen 24. desember 2025",
            "all day 24 December 2025",
        ),
        (
            "forrige uke",
            "fra og med 9. november til og med 15. november",
            "from 9 November through 15 November",
        ),
        ("etter 10", "etter 10:00 i dag", "after 10:00 today"),
        ("før 12", "før 12:00 i dag", "before 12:00 today"),
        (
            "i går kveld",
            "mellom 17:00 og 24:00 i går",
            "between 17:00 and 24:00 yesterday",
        ),
        (
            "i natt",
            "mellom 22:00 i går og 06:00 i dag",
            "between 22:00 yesterday and 06:00 today",
        ),
        (
            "25.10. 02:30",
            "mellom 02:25 og 02:35 25. oktober (begge gangene klokka viser det)",
            "between 02:25 and 02:35 25 October (both times that clocks show it)",
        ),
        (
            "CZ3O-2QXM-9AlB",
            "referansen CZ30-2QXM-9A1B (O er tatt som 0, L er tatt som 1)",
            "reference CZ30-2QXM-9A1B (O is taken as 0, L is taken as 1)",
        ),
        (
            "cz30 2qxm 9a1b",
            "referansen CZ30-2QXM-9A1B",
            "reference CZ30-2QXM-9A1B",
        ),
        (
            "lillehammer",
            "sentral Legevakt Lillehammer (lv-0501)",
            "room Legevakt Lillehammer (lv-0501)",
        ),
        ("avvist", "status avvist", "status refused"),
        (
            "epikrise.pdf",
            "vedlegg epikrise.pdf",
            "attachment epikrise.pdf",
        ),
        (
            "fra:hamar",
            "avsender @hamar.nodnett.test",
            "sender @hamar.nodnett.test",
        ),
        ("ola", "«ola» hvor som helst", "\"ola\" anywhere"),
        (
            "ola kari",
            "«ola», «kari» hvor som helst, alle sammen",
            "\"ola\", \"kari\" anywhere, all of them",
        ),
    ] {
        for (language, expected) in [(Language::Nb, nb), (Language::En, en)] {
            let readings = understood_at(typed, NOW, language).unwrap().readings;
            assert_eq!(readings, [expected], "{typed}");
        }
    }
    let several = understood_at("epikrise avvist i går lillehammer", NOW, Language::Nb).unwrap();
    assert_eq!(
        several.readings,
        [
            "status avvist",
            "sentral Legevakt Lillehammer (lv-0501)",
            "hele dagen i går",
            "«epikrise» hvor som helst"
        ]
    );
}

#[test]
fn what_may_be_words_as_well_is_kept_as_words() {
    for (typed, words) in [
        ("levert i går", Some("levert i går")),
        ("lillehammer epikrise.pdf", Some("lillehammer epikrise.pdf")),
        ("cz30 2qxm 9a1b", Some("cz30 2qxm 9a1b")),
        ("epikrise", None),
        ("\"levert\"", None),
        // Whoever names a field means it.
        ("status:levert i går", None),
    ] {
        let understood = understood_at(typed, NOW, Language::Nb).unwrap();
        let found = understood.as_words.map(|it| it.words.join(" "));
        assert_eq!(found.as_deref(), words, "{typed}");
    }
}

#[test]
fn where_nothing_has_all_words_those_that_say_something_are_sought() {
    for (typed, loosely) in [
        ("epikrise", None),
        ("hamar 14:05", None),
        ("epikrisen", Some("epikris")),
        (
            "rapportene til hamar",
            Some("rapport to=@hamar.nodnett.test"),
        ),
        (
            "jeg sendte epikrisen til hamar ca to, kom den fram",
            Some("epikris to=@hamar.nodnett.test since=1122 01:30 until=1122 02:30"),
        ),
        ("did hamar get the message", Some("hamar")),
        (
            "hva skjedde i går",
            Some("since=1121 00:00 until=1122 00:00"),
        ),
        // All of it would be found.
        ("hva skjedde", None),
        // What is named or quoted is meant.
        ("\"hva skjedde\" med epikrisen", Some("hva skjedde epikris")),
        ("emne:epikrisen og", Some("subject=epikrisen")),
        ("natten", Some("natt")),
        // Too little would be left of it, and it is no word.
        ("huset", None),
        ("118423a", None),
        (
            "vakt@hamar.nodnett.test og",
            Some("vakt@hamar.nodnett.test"),
        ),
    ] {
        let understood = understood_at(typed, NOW, Language::Nb).unwrap();
        let found = understood.loosely.clone().map(|search| {
            told(&Understood {
                search,
                ..understood.clone()
            })
        });
        assert_eq!(found.as_deref(), loosely, "{typed}");
    }
}

#[test]
fn nothing_that_is_pasted_does_harm() {
    let long = "x".repeat(65_536);
    let many = "ord ".repeat(16_384);
    let dashes = "-".repeat(65_536);
    let digits = "1:".repeat(32_768);
    let quotes = "\"".repeat(65_536);
    let days = "i går ".repeat(10_000);
    for typed in [&long, &many, &dashes, &digits, &quotes, &days] {
        let understood = understood_at(typed, NOW, Language::Nb).unwrap();
        assert!(understood.search.words.len() <= MOST);
    }
    let understood = understood_at(&many, NOW, Language::Nb).unwrap();
    assert_eq!(
        understood.readings.last().unwrap(),
        "de første 40 ordene; 16344 til er ikke med"
    );
    expect(
        NOW,
        &[
            ("\0", ""),
            ("a\0b", "a\0b"),
            ("\u{202e}hamar\u{202c}", "hamar"),
            ("\u{200b}i går\u{200b}", "since=1121 00:00 until=1122 00:00"),
            ("\u{1b}[2J", "[2j"),
            ("; ' OR 1=1 --", "; ' or 1=1 --"),
            ("%_*", "%_*"),
        ],
    );
}

/// Pieces that mean something, put together in any way.
fn pieces() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "i",
        "går",
        "dag",
        "natt",
        "kl",
        "kl.",
        "ca",
        "14",
        "24",
        "00:00",
        "02:30",
        "2pm",
        "23-01",
        "mellom",
        "og",
        "fra",
        "til",
        "from",
        "to",
        "between",
        "and",
        "etter",
        "før",
        "siden",
        "since",
        "last",
        "siste",
        "week",
        "uke",
        "53",
        "29.02.",
        "31.12.9999",
        "22.11.",
        "november",
        "2026-03-29",
        "2026-10-25T02:30",
        "9999-12-31",
        "-",
        "–",
        "2h",
        "9999w",
        "ago",
        "for",
        "mandag",
        "monday",
        "night",
        "morgen",
        "status:",
        "fra:",
        "\"",
        "«",
        "hamar",
        "levert",
        "K7F3-2QXM-9A1B",
        "K7F3",
        "::1",
        "9999-12-31T23:59:59Z",
        "0000-01-01",
        "-9999-01-01T00:00:00Z",
        "24:00",
        "~",
        "~24",
        "24-tiden",
        "i fjor",
        "\u{202e}",
        "\0",
    ]);
    let other = "\\PC{0,6}";
    prop::collection::vec(
        prop_oneof![4 => known.prop_map(str::to_owned), 1 => other],
        0..9,
    )
    .prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn whatever_is_typed_gives_a_search_or_says_why_not(
        typed in prop_oneof![pieces(), any::<String>()],
        now in prop_oneof![0_i64..4_000_000_000_000, any::<i64>()],
    ) {
        let (table, _) = RoutingTable::parse(TABLE, 1).unwrap();
        let zone = Zone::norway();
        let desk = Desk { now: Timestamp::from_millis(now), zone: &zone, language: Language::Nb, table: &table };
        match understand(&typed, desk) {
            Ok(it) => {
                if let (Some(since), Some(until)) = (it.search.since, it.search.until) {
                    prop_assert!(since <= until, "{typed:?}");
                }
                prop_assert!(it.search.words.len() <= MOST);
            }
            Err(unclear) => prop_assert!(!unclear.to_string().is_empty()),
        }
    }
}
