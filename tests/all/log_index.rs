//! The search index: whatever becomes of it, searches find what they found, each row once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ilbud::mail::{
    Address, Attachment, Content, Details, Event, EventKind, Facts, FileType, Reference, Refusal,
    RoomId, State, Terms, Timestamp, Wishes,
};
use ilbud::spool::sqlite::{Settings, Sqlite};
use ilbud::spool::store::{
    Change, Cursor, LogRow, NewMessage, NewRecipient, RecipientChange, RecipientId, Search, Store,
};

use crate::relay::{Relay, Setup, column};
use crate::wait;

const NOW: i64 = 1_790_000_000_000;
/// Of the log in one volume of the index.
const VOLUME: i64 = 1 << 32;

const ROOMS: [&str; 4] = ["amk-oslo", "legevakt-hamar", "akutt-bodø", "amk-bergen"];
const SUBJECTS: [&str; 5] = [
    "Epikrise fra natt til lørdag",
    "Overflytting av pasient, ring 2",
    "Vaktliste uke 48",
    "Sak 2026/118423",
    "Blålys på E6",
];
const FILES: [&str; 4] = [
    "epikrise.pdf",
    "Vaktliste_48.xlsx",
    "bilde.JPG",
    "rapport-77.docx",
];

fn number_at(n: u64, at: Timestamp) -> Reference {
    Reference::from_number(Reference::first_at(at).number() + n)
}

/// Several in each millisecond, a few volumes of the index in all.
fn moment(n: u64) -> Timestamp {
    Timestamp::from_millis(NOW + (n as i64 / 7) * 200_000_000)
}

fn of<T: Copy>(list: &[T], n: u64) -> T {
    list[(n % list.len() as u64) as usize]
}

fn message(n: u64) -> NewMessage {
    let at = moment(n);
    let reference = number_at(n, at);
    let room = |n| of(&ROOMS, n);
    let address =
        |who: &str, room: &str| Address::parse(&format!("{who}@{room}.nodnett.test")).unwrap();
    let recipient = |to: u64| NewRecipient {
        waiver: None,
        address: address(of(&["vakt", "leder"], to), room(to)),
        room: RoomId::new(room(to)),
        wishes: Wishes::default(),
        state: State::Queued,
        reason: None,
        next_attempt_at: at,
        look_at: at,
        leased_until: at,
    };
    let recipients: Vec<_> = (0..=n % 3).map(|it| recipient(n + 1 + it)).collect();
    let accepted = |it: &NewRecipient| Event {
        reference,
        at,
        kind: EventKind::Accepted,
        recipient: Some(it.address.clone()),
        details: Details::default(),
    };
    NewMessage {
        reference,
        accepted_at: at,
        sender: (!n.is_multiple_of(11)).then(|| address("sentral", room(n))),
        sender_room: Some(RoomId::new(room(n))),
        client: format!("10.1.{}.7", n % 5),
        smtputf8: false,
        eight_bit: true,
        terms: Terms::default(),
        facts: Facts {
            subject: Some(format!("{} {n}", of(&SUBJECTS, n))),
            message_id: Some(format!("<2026.{n}@ws{}.test>", n % 9)),
            attachments: vec![Attachment {
                name: of(&FILES, n).to_owned(),
                within: None,
                size: Some(3),
                sha256: Some(format!("{n:064x}")),
                kind: FileType::Unknown,
            }],
        },
        content: Content {
            trace: "".into(),
            bytes: "Subject: y\r\n\r\n".into(),
        },
        events: recipients.iter().map(accepted).collect(),
        recipients,
        left_out: Vec::new(),
        scan: None,
    }
}

fn refusal(n: u64) -> Refusal {
    let at = moment(n);
    Refusal {
        reference: number_at(n, at),
        at,
        client: "10.9.9.9".parse().unwrap(),
        helo: "ws".to_owned(),
        user: Some(format!("ws-{}", n % 4)),
        certificate: n
            .is_multiple_of(2)
            .then(|| format!("pc{}.amk-oslo.nodnett.test (was revoked)", n % 5)),
        sender: Some("sentral@amk-oslo.nodnett.test".to_owned()),
        sender_room: None,
        recipient: Some(format!("ukjent{n}@example.com")),
        recipient_room: None,
        subject: None,
        message_id: None,
        size: None,
        attachments: Arc::default(),
        files_left_out: 0,
        malware: Vec::new(),
        reply: "550 5.7.1 only registered control rooms are served".to_owned(),
        rule: None,
        revision: None,
        count: 1,
    }
}

fn open(path: &Path) -> Sqlite {
    let keep_bodies = Duration::ZERO;
    let path = path.to_owned();
    Sqlite::open(&Settings { path, keep_bodies }).unwrap()
}

/// Every seventh is a refusal, every third is delivered.
async fn write(store: &Sqlite, numbers: impl IntoIterator<Item = u64>) {
    let numbers = numbers.into_iter();
    let (refusals, messages): (Vec<u64>, Vec<u64>) = numbers.partition(|n| n % 7 == 3);
    let change = Change {
        messages: messages.iter().map(|n| message(*n)).collect(),
        ..Change::default()
    };
    store.apply(Arc::new(change)).await.unwrap();
    store
        .note(refusals.into_iter().map(refusal).collect())
        .await
        .unwrap();
    let delivered = messages.into_iter().filter(|n| n % 3 == 0).map(delivered);
    let change = Change {
        recipients: delivered.collect(),
        ..Change::default()
    };
    store.apply(Arc::new(change)).await.unwrap();
}

fn delivered(n: u64) -> RecipientChange {
    let reference = number_at(n, moment(n));
    let id = RecipientId {
        reference,
        number: 0,
    };
    RecipientChange {
        to: Some(State::Delivered),
        attempts: Some(1),
        last_reply: Some(format!("250 2.0.0 Ok: queued as 4X{n:06}")),
        event: Some(Event {
            reference,
            at: moment(n).after(Duration::from_secs(2)),
            kind: EventKind::Delivered,
            recipient: None,
            details: Details::default(),
        }),
        ..RecipientChange::of(id, &[State::Queued])
    }
}

/// What people look for.
fn searches() -> Vec<Search> {
    let all = |limit| Search {
        limit,
        ..Search::default()
    };
    let text = |it: &str| Some(it.to_owned());
    let mut searches: Vec<Search> = [
        "epikrise",
        "EPI",
        "lørdag",
        "ø",
        "48",
        "118423",
        "1184",
        "8423",
        "vakt",
        "vakt@legevakt",
        "nodnett",
        "hamar",
        "10.1.3",
        "10.9.9.9",
        "ws-2",
        "pc3.amk-oslo",
        "was revoked",
        "example.com",
        "ukjent10",
        "2026.55@ws",
        "<2026.56@ws2.test>",
        "2026.",
        "4X000006",
        "4x",
        "queued",
        "5.7.1 only",
        "jpg",
        "xlsx",
        "fraværende",
        "100%",
        "@",
        "<>",
        "e6",
        "77",
    ]
    .iter()
    .map(|it| Search {
        words: vec![(*it).to_owned()],
        ..all(50)
    })
    .collect();
    let whole = Search {
        words: vec![number_at(30, moment(30)).to_string(), "hamar".to_owned()],
        ..all(9)
    };
    searches.extend([
        all(100_000),
        all(10),
        all(0),
        whole,
        Search {
            words: vec!["leder".to_owned(), "bodø".to_owned(), "epikrise".to_owned()],
            ..all(7)
        },
        Search {
            sender: text("<>"),
            ..all(20)
        },
        Search {
            sender: text("amk-o"),
            status: text("delivered"),
            ..all(20)
        },
        Search {
            recipient: text("leder@a"),
            ..all(300)
        },
        Search {
            address: text("bergen"),
            room: text("amk-oslo"),
            ..all(40)
        },
        Search {
            room: text("amk-oslo"),
            since: Some(moment(200)),
            until: Some(moment(260)),
            ..all(50)
        },
        Search {
            room: text("amk-oslo"),
            status: text("queued"),
            ..all(50)
        },
        Search {
            room: text("amk"),
            ..all(50)
        },
        Search {
            status: text("refused"),
            ..all(30)
        },
        Search {
            status: text("refused"),
            reply: text("registered control"),
            ..all(3)
        },
        Search {
            status: text("failed"),
            ..all(30)
        },
        Search {
            status: text("held"),
            ..all(30)
        },
        Search {
            subject: text("uke vaktliste"),
            ..all(30)
        },
        Search {
            subject: text("lørdag 25"),
            ..all(30)
        },
        Search {
            attachment: text("LISTE_48"),
            ..all(30)
        },
        Search {
            attachment: text(&format!("{:064X}", 40)),
            ..all(30)
        },
        Search {
            message_id: text("2026.77@ws5.test"),
            ..all(30)
        },
        Search {
            client: text("10.1.2.7"),
            subject: text("blålys"),
            ..all(30)
        },
        Search {
            reply: text("queued as 4x0000"),
            ..all(30)
        },
        Search {
            until: Some(moment(90)),
            words: vec!["epikrise".to_owned()],
            ..all(30)
        },
        Search {
            since: Some(moment(3000)),
            ..all(30)
        },
    ]);
    searches
}

async fn found(store: &Sqlite) -> Vec<Vec<LogRow>> {
    let mut found = Vec::new();
    for search in searches() {
        found.push(store.search(search).await.unwrap());
    }
    found
}

async fn expect(store: &Sqlite, expected: &[Vec<LogRow>], when: &str) {
    for ((found, expected), search) in found(store).await.iter().zip(expected).zip(searches()) {
        assert_eq!(found, expected, "{when}: {search:?}");
    }
}

fn index_of(path: &Path) -> PathBuf {
    path.with_file_name("ilbud.db-search")
}

/// Whether it stands anywhere in the index of that store, or beside it.
fn is_in_index(store: &Path, word: &str) -> bool {
    let index = index_of(store);
    let ends = ["", "-wal"].map(|it| fs::read(format!("{}{it}", index.display())));
    let is_there = |it: Vec<u8>| it.windows(word.len()).any(|at| at == word.as_bytes());
    ends.into_iter().flatten().any(is_there)
}

#[tokio::test]
async fn an_index_finds_what_the_store_finds_however_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ilbud.db");
    let store = open(&path);
    write(&store, 0..700).await;
    let expected = found(&store).await;
    assert!(!index_of(&path).exists());
    let is_empty = |(found, search): (&Vec<LogRow>, Search)| found.is_empty().then_some(search);
    let in_vain: Vec<_> = expected
        .iter()
        .zip(searches())
        .filter_map(is_empty)
        .collect();
    assert!(in_vain.len() < 12, "{in_vain:?}");
    store.fill_index().unwrap();
    assert!(index_of(&path).exists());
    expect(&store, &expected, "filled").await;

    write(&store, 700..900).await;
    let since = found(&store).await;
    let other = tempfile::tempdir().unwrap().path().join("ilbud.db");
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    let without = open(&other);
    write(&without, 0..700).await;
    write(&without, 700..900).await;
    let expected = found(&without).await;
    assert_eq!(since, expected);
    store.fill_index().unwrap();
    expect(&store, &expected, "filled again").await;
    fs::remove_dir_all(other.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn an_index_that_is_gone_or_broken_costs_no_row_and_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ilbud.db");
    let store = open(&path);
    write(&store, 0..400).await;
    let expected = found(&store).await;
    let index = index_of(&path);
    let overwrite = |from: usize, octets: &[u8]| {
        let mut bytes = fs::read(&index).unwrap();
        let end = (from + octets.len()).min(bytes.len());
        bytes[from..end].copy_from_slice(&octets[..end - from]);
        fs::write(&index, bytes).unwrap();
    };
    let length = |share: u64| fs::metadata(&index).unwrap().len() * share / 8;
    let cut = |share| {
        let file = fs::OpenOptions::new().write(true).open(&index).unwrap();
        file.set_len(length(share)).unwrap();
    };
    let remove = || fs::remove_file(&index).unwrap();
    let damages: [(&str, &dyn Fn()); 7] = [
        ("deleted", &remove),
        ("empty", &|| cut(0)),
        ("truncated", &|| cut(4)),
        ("garbage", &|| fs::write(&index, [7; 70_000]).unwrap()),
        ("a bad head", &|| overwrite(0, &[0xff; 200])),
        ("a bad schema", &|| overwrite(100, &[0xff; 3000])),
        ("bad pages", &|| {
            overwrite(length(1) as usize, &vec![0xa5; length(6) as usize])
        }),
    ];
    for (damage, make) in damages {
        // Another process, as after a restart: this one may have pages in memory.
        let relay = open(&path);
        relay.fill_index().unwrap();
        drop(relay);
        expect(&store, &expected, "before").await;
        drop(fs::remove_file(index.with_extension("db-search-wal")));
        make();
        expect(&open(&path), &expected, damage).await;
        expect(&store, &expected, damage).await;
        let relay = open(&path);
        relay.fill_index().unwrap();
        expect(&relay, &expected, &format!("after it was {damage}")).await;
    }
}

#[tokio::test]
async fn an_index_of_another_store_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ilbud.db");
    let old = open(&path);
    write(&old, 0..200).await;
    old.fill_index().unwrap();
    drop(old);
    for end in ["", "-wal", "-shm"] {
        drop(fs::remove_file(format!("{}{end}", path.display())));
    }
    let store = open(&path);
    write(&store, 300..340).await;
    let rows = store
        .search(Search {
            limit: 1000,
            ..Search::default()
        })
        .await
        .unwrap();
    let expected = found(&store).await;
    assert!(!rows.is_empty() && rows.iter().all(|it| it.at >= moment(300)));
    store.fill_index().unwrap_err();
    store.fill_index().unwrap();
    expect(&store, &expected, "made anew").await;
}

#[tokio::test]
async fn pages_give_each_row_once_however_many_are_of_one_time_and_while_others_come() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("ilbud.db"));
    let at = moment(5);
    let crowd: Vec<_> = (0..900)
        .map(|n| Refusal {
            at,
            reference: number_at(n, at),
            ..refusal(n)
        })
        .collect();
    write(&store, 0..300).await;
    for part in crowd.chunks(300) {
        store.note(part.to_vec()).await.unwrap();
    }
    let mut newer = 2_000..;
    for is_filled in [false, true] {
        if is_filled {
            store.fill_index().unwrap();
        }
        for words in [&[][..], &["ukjent"], &["vakt"]] {
            let words: Vec<String> = words.iter().map(|it| (*it).to_string()).collect();
            let whole = Search {
                words: words.clone(),
                limit: 10_000,
                ..Search::default()
            };
            let expected = store.search(whole).await.unwrap();
            let mut walked = Vec::new();
            let mut before: Option<Cursor> = None;
            loop {
                let page = Search {
                    words: words.clone(),
                    before,
                    limit: 61,
                    ..Search::default()
                };
                let rows = store.search(page).await.unwrap();
                let Some(last) = rows.last() else { break };
                // As it is passed on.
                before = Some(last.cursor().to_string().parse().unwrap());
                walked.extend(rows);
                write(&store, newer.next()).await;
            }
            assert_eq!(walked.len(), expected.len());
            assert_eq!(walked, expected, "{words:?}");
            let each: BTreeSet<String> = walked.iter().map(|it| it.cursor().to_string()).collect();
            assert_eq!(each.len(), walked.len());
        }
    }
}

#[tokio::test]
async fn what_was_masked_is_found_no_more_and_stands_nowhere_in_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ilbud.db");
    let store = open(&path);
    write(&store, 0..400).await;
    store.fill_index().unwrap();
    let search = |word: &str| Search {
        words: vec![word.to_owned()],
        limit: 1000,
        ..Search::default()
    };
    let count = async |word: &str| store.search(search(word)).await.unwrap().len();
    let is_in_file = |word: &str| is_in_index(&path, word);
    let before = (count("overflytting").await, count("hamar").await);
    assert!(before.0 > 10 && is_in_file("overflytting"));
    for event in store.events_after(0, 10_000).await.unwrap() {
        if event.event == "accepted" {
            let fields = vec!["message.subject".to_owned(), "attachment.0.name".to_owned()];
            store.mask(event.sequence, fields).await.unwrap();
        }
    }
    let last = Timestamp::from_millis(NOW + 10 * VOLUME);
    store
        .forget(Timestamp::from_millis(0)..=last)
        .await
        .unwrap();
    assert!(!is_in_file("overflytting"));
    assert_eq!(
        (count("overflytting").await, count("hamar").await),
        (0, before.1)
    );
    store.fill_index().unwrap();
    assert!(!is_in_file("overflytting") && !is_in_file("epikrise") && is_in_file("hamar"));
    assert_eq!(
        (count("overflytting").await, count("hamar").await),
        (0, before.1)
    );
}

#[tokio::test]
async fn an_index_that_another_relay_wrote_is_forgotten_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ilbud.db");
    let store = open(&path);
    write(&store, 0..40).await;
    let expected = found(&store).await;
    store.fill_index().unwrap();
    let index = rusqlite::Connection::open(index_of(&path)).unwrap();
    index.pragma_update(None, "user_version", 4).unwrap();
    drop(index);
    store.forget(moment(0)..=moment(1)).await.unwrap();
    assert!(!index_of(&path).exists());
    expect(&store, &expected, "gone").await;
}

/// One message more, with a subject of its own.
async fn write_one(store: &Sqlite, n: u64, subject: &str) {
    let mut message = message(n);
    message.facts.subject = Some(subject.to_owned());
    let change = Change {
        messages: vec![message],
        ..Change::default()
    };
    store.apply(Arc::new(change)).await.unwrap();
}

#[tokio::test]
async fn what_is_forgotten_of_some_days_takes_their_words_along_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ilbud.db");
    let store = open(&path);
    write(&store, 0..400).await;
    // The bit of a volume is that of the 64th before it, too.
    let far = 64 * VOLUME as u64 / 200_000_000 * 7;
    for (n, subject) in [
        (401, "Sykehistorie etterspurt"),
        (900, "Bakvaktskifte etterspurt"),
        (401 + far, "Ettertidsord"),
        (402, "Foreldelse"),
    ] {
        write_one(&store, n, subject).await;
    }
    store.fill_index().unwrap();
    let is_in_file = |word: &str| is_in_index(&path, word);
    let (gone, kept) = (
        ["sykehistorie", "foreldelse"],
        [
            "bakvaktskifte",
            "etterspurt",
            "ettertidsord",
            "overflytting",
        ],
    );
    assert!(gone.iter().chain(&kept).all(|it| is_in_file(it)));
    let until = moment(403);
    for event in store.events_after(0, 10_000).await.unwrap() {
        if event.event == "accepted" && (moment(100)..=until).contains(&event.at) {
            let fields = vec!["message.subject".to_owned()];
            store.mask(event.sequence, fields).await.unwrap();
        }
    }
    for again in ["once", "twice"] {
        store.forget(moment(100)..=until).await.unwrap();
        for word in gone {
            assert!(!is_in_file(word), "{again}: {word}");
        }
        for word in kept {
            assert!(is_in_file(word), "{again}: {word}");
        }
    }
    let after = found(&store).await;
    assert!(after.iter().any(|it| !it.is_empty()));
    store.fill_index().unwrap();
    expect(&store, &after, "read anew").await;
    for word in gone.iter().chain(&kept) {
        let is_kept = kept.contains(word);
        assert_eq!(is_in_file(word), is_kept, "read anew: {word}");
        let search = Search {
            subject: Some((*word).to_owned()),
            limit: 5,
            ..Search::default()
        };
        let rows = store.search(search).await.unwrap();
        assert_eq!(rows.is_empty(), !is_kept, "{word}");
    }
    fs::remove_file(index_of(&path)).unwrap();
    expect(&store, &after, "without an index").await;
}

/// A relay with so many rows in its log from before, of which none waits, and no index.
fn with_log(rows: u64) -> Relay {
    let relay = Setup::three_rooms().prepare();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = open(&relay.path("ilbud.db"));
    for from in (0..rows).step_by(500) {
        let numbers = from..(from + 500).min(rows);
        runtime.block_on(write(&store, numbers.filter(|n| n % 3 == 0 || n % 7 == 3)));
    }
    relay
}

fn references(relay: &Relay, word: &str) -> Vec<String> {
    column(
        &relay.rows(&["log", "search", word, "--limit", "50"]),
        "ref",
    )
}

#[test]
fn what_is_killed_while_it_fills_goes_on_where_it_was() {
    let mut relay = with_log(6_000);
    let index = relay.path("ilbud.db-search");
    let expected = [references(&relay, "118423"), references(&relay, "ukjent17")];
    assert!(expected.iter().all(|it| !it.is_empty()));
    let is_filled = || {
        let index = rusqlite::Connection::open(&index).unwrap();
        index.query_row("SELECT below FROM position", [], |row| row.get(0)) == Ok(0)
    };
    let mut rounds = 0;
    while rounds < 3 || !is_filled() {
        relay.launch();
        wait::until("it has begun", || index.exists());
        std::thread::yield_now();
        relay.kill();
        rounds += 1;
        let found = [references(&relay, "118423"), references(&relay, "ukjent17")];
        assert_eq!(found, expected, "round {rounds}");
        if rounds > 200 {
            relay.start();
            wait::until("it is filled", is_filled);
        }
    }
    assert_eq!(references(&relay, "118423"), expected[0]);
}

#[test]
fn commands_find_what_was_written_with_no_relay_and_beside_one_whose_index_goes() {
    let mut relay = with_log(300);
    let store = open(&relay.path("ilbud.db"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    relay.start();
    let index = relay.path("ilbud.db-search");
    wait::until("an index", || index.exists());
    relay.stop();
    runtime.block_on(write(&store, [304]));
    assert_eq!(references(&relay, "ukjent304").len(), 1);
    relay.start();
    assert_eq!(references(&relay, "ukjent304").len(), 1);
    for round in 0..3 {
        let n = 311 + 7 * round;
        fs::remove_file(&index).unwrap();
        runtime.block_on(write(&store, [n]));
        let word = format!("ukjent{n}");
        assert_eq!(references(&relay, &word).len(), 1, "{word}");
        wait::until("another index", || index.exists());
        assert_eq!(references(&relay, &word).len(), 1, "{word}");
    }
    assert!(relay.is_running());
}

#[test]
fn a_page_says_how_to_get_the_next_one() {
    let relay = with_log(60);
    let whole = relay.rows(&["log", "search", "--limit", "1000"]);
    let first = relay.done(&["log", "search", "--limit", "7"]);
    let more = first.lines().last().unwrap();
    let cursor = more.strip_prefix("more: add --before ").unwrap();
    assert_eq!(whole[6]["cursor"], cursor);
    let next = relay.rows(&["log", "search", "--limit", "1000", "--before", cursor]);
    assert_eq!(next, whole[7..]);
    let last = relay.done(&["log", "search", "--limit", "1000"]);
    assert!(!last.contains("more:"));
    let wrong = relay.fails(2, &["log", "search", "--before", "tomorrow"]);
    assert!(wrong.contains("is no cursor"), "{wrong}");
    let found = relay.rows(&[
        "log",
        "search",
        "--address",
        "sentral@amk-oslo",
        "--reply",
        "control rooms",
    ]);
    assert!(!found.is_empty() && column(&found, "status").iter().all(|it| it == "refused"));
}
