//! What a search in a large log takes: `cargo bench --bench log -- [MESSAGES] [FOLDER]`.
//!
//! Makes a log of so many messages (10,000,000) over two years in FOLDER (a folder of its own under /var/tmp, deleted
//! afterwards; one that is named is kept, and searched again next time), through the verbs of the store, with the
//! chain, 2,000 messages to a commit; builds the index; then searches, at rest and while a relay takes and delivers
//! mail as fast as it can; then lets go of the words of one day. Needs Postfix's smtp-source and smtp-sink for that, and loopback only. Each search goes
//! through `Store::search`, as a console's would; each is for something that another message of the log has.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod load;
mod world;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ilbud::mail::{Refusal, Timestamp};
use ilbud::spool::sqlite::{Settings, Sqlite};
use ilbud::spool::store::{Change, Cursor, Search, Store};
use tokio::runtime::Runtime;

use world::{Chance, World};

const COMMIT: u64 = 2_000;
const ASKED: usize = 200;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|it| it != "--bench")
        .collect();
    let messages = arguments
        .first()
        .and_then(|it| it.parse().ok())
        .unwrap_or(10_000_000);
    let own = tempfile::tempdir_in("/var/tmp").unwrap();
    let folder = arguments
        .get(1)
        .map_or(own.path().to_owned(), PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    let runtime = Runtime::new().unwrap();
    let (store, world) = made(&runtime, &folder, messages);
    indexed(&store, &folder, messages);
    println!("\nat rest");
    table(&runtime, &store, world);
    let bare = load::relay(&runtime, &folder, Arc::new(open(&folder)), || {
        std::thread::sleep(load::LONG)
    });
    println!("\nrelay without the follower: {bare:.0} messages/s");
    indexed(&store, &folder, messages);
    let followed = open(&folder);
    followed.follow().unwrap();
    println!("\nwhile a relay is at full load");
    let with = load::relay(&runtime, &folder, Arc::new(followed), || {
        std::thread::sleep(load::LONG);
    });
    println!("relay with the follower: {with:.0} messages/s");
    let followed = open(&folder);
    followed.follow().unwrap();
    let busy = load::relay(&runtime, &folder, Arc::new(followed), || {
        table(&runtime, &store, world);
        load::findable(&runtime, &store);
    });
    println!("relay with the follower, and searched all the time: {busy:.0} messages/s");
    forgotten(&runtime, &store, world);
}

/// What retention takes of the index each time: here of a day in the middle of the log, which is then read anew.
fn forgotten(runtime: &Runtime, store: &Sqlite, world: World) {
    store.fill_index().unwrap();
    let day = world.at(world.messages / 2);
    let times = Timestamp::from_millis(day)..=Timestamp::from_millis(day + 86_400_000);
    let from = Instant::now();
    runtime.block_on(store.forget(times)).unwrap();
    let forgotten = from.elapsed().as_secs_f64();
    store.fill_index().unwrap();
    let all = from.elapsed().as_secs_f64();
    println!(
        "the words of a day are forgotten in {forgotten:.1} s, and its rows read anew and all packed after {all:.1} s"
    );
}

fn open(folder: &Path) -> Sqlite {
    let (path, keep_bodies) = (folder.join("ilbud.db"), Duration::ZERO);
    Sqlite::open(&Settings { path, keep_bodies }).unwrap()
}

/// The log, made unless it is there.
fn made(runtime: &Runtime, folder: &Path, messages: u64) -> (Arc<Sqlite>, World) {
    let mark = folder.join("world");
    let store = Arc::new(open(folder));
    if let Ok(text) = std::fs::read_to_string(&mark) {
        let (messages, end) = text.trim().split_once(' ').unwrap();
        let world = World {
            messages: messages.parse().unwrap(),
            end: end.parse().unwrap(),
        };
        return (store, world);
    }
    let world = World {
        messages,
        end: Timestamp::now().as_millis() - 3_600_000,
    };
    let from = Instant::now();
    let (give, take) = std::sync::mpsc::sync_channel(2);
    std::thread::scope(|scope| {
        // While one portion is written the next is thought out.
        scope.spawn(move || {
            for first in (0..messages).step_by(COMMIT as usize) {
                give.send(portion(world, first..messages.min(first + COMMIT)))
                    .unwrap();
            }
        });
        for (number, portion) in take.iter().enumerate() {
            runtime.block_on(write(&store, portion));
            if number.is_multiple_of(100) {
                let done = (number as u64 + 1) * COMMIT;
                let each = from.elapsed().as_secs_f64() * 1e6 / done as f64;
                println!("{done:>10} messages, {each:.0} µs each");
            }
        }
    });
    std::fs::write(mark, format!("{messages} {}", world.end)).unwrap();
    println!("made in {:.0} s", from.elapsed().as_secs_f64());
    (store, world)
}

struct Made {
    accepted: Change,
    ended: Change,
    refused: Vec<Refusal>,
}

fn portion(world: World, numbers: std::ops::Range<u64>) -> Made {
    let messages: Vec<_> = numbers.clone().map(|n| world.message(n)).collect();
    let outcomes = messages.iter().zip(numbers.clone());
    let recipients = outcomes.flat_map(|(it, n)| world.outcome(it, n)).collect();
    Made {
        accepted: Change {
            messages,
            ..Change::default()
        },
        ended: Change {
            recipients,
            ..Change::default()
        },
        refused: numbers.filter_map(|n| world.refusal(n)).collect(),
    }
}

async fn write(store: &Sqlite, made: Made) {
    // Handed in together, they are committed together.
    let (accepted, ended) = (
        store.apply(Arc::new(made.accepted)),
        store.apply(Arc::new(made.ended)),
    );
    let refused = store.note(made.refused);
    accepted.await.unwrap();
    ended.await.unwrap();
    refused.await.unwrap();
}

fn indexed(store: &Sqlite, folder: &Path, messages: u64) {
    let from = Instant::now();
    store.fill_index().unwrap();
    let octets = |name: &str| {
        let ends = ["", "-wal"].map(|it| std::fs::metadata(folder.join(format!("{name}{it}"))));
        ends.into_iter().flatten().map(|it| it.len()).sum::<u64>()
    };
    let (of_store, of_index) = (octets("ilbud.db"), octets("ilbud.db-search"));
    println!(
        "index filled in {:.1} s; octets a message: {} of the store, {} of the index ({:.2} and {:.2} GB)",
        from.elapsed().as_secs_f64(),
        of_store / messages,
        of_index / messages,
        of_store as f64 / 1e9,
        of_index as f64 / 1e9
    );
}

fn table(runtime: &Runtime, store: &Arc<Sqlite>, world: World) {
    println!(
        "{:<44}{:>8}{:>8}{:>8}{:>8}{:>8}  ms",
        "search", "p50", "p95", "p99", "max", "rows"
    );
    for (name, make) in KINDS {
        let mut chance = Chance(77);
        let asked = (0..ASKED).map(|_| make(world, &mut chance));
        let asked: Vec<Search> = asked.map(|it| Search { limit: 100, ..it }).collect();
        measured(runtime, store, name, asked);
    }
    let newest = || Search {
        limit: 100,
        ..Search::default()
    };
    measured(
        runtime,
        store,
        "first page of the newest",
        vec![newest(); ASKED],
    );
    let mut before: Option<Cursor> = None;
    for _ in 0..99 {
        let page = runtime
            .block_on(store.search(Search { before, ..newest() }))
            .unwrap();
        before = page.last().map(|it| it.cursor());
    }
    measured(
        runtime,
        store,
        "page 100 of the newest",
        vec![Search { before, ..newest() }; ASKED],
    );
}

fn measured(runtime: &Runtime, store: &Arc<Sqlite>, name: &str, asked: Vec<Search>) {
    let mut took = Vec::new();
    let mut rows = 0;
    for search in asked {
        let from = Instant::now();
        rows += runtime.block_on(store.search(search)).unwrap().len();
        took.push(from.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let (p50, p95, p99, max) = (at(0.5), at(0.95), at(0.99), at(1.0));
    let rows = rows as f64 / took.len() as f64;
    println!("{name:<44}{p50:>8.2}{p95:>8.2}{p99:>8.2}{max:>8.2}{rows:>8.1}");
}

type Make = fn(World, &mut Chance) -> Search;

fn some(text: impl Into<String>) -> Option<String> {
    Some(text.into())
}

fn word(text: impl Into<String>) -> Search {
    Search {
        words: vec![text.into()],
        ..Search::default()
    }
}

fn any(world: World, chance: &mut Chance) -> u64 {
    chance.below(world.messages)
}

fn address(world: World, chance: &mut Chance) -> String {
    let message = world.message(any(world, chance));
    message.recipients[0].address.to_string()
}

/// An hour round a message.
fn hour(world: World, n: u64) -> Search {
    let at = world.at(n);
    Search {
        since: Some(Timestamp::from_millis(at - 1_800_000)),
        until: Some(Timestamp::from_millis(at + 1_800_000)),
        ..Search::default()
    }
}

fn place(world: World, chance: &mut Chance) -> String {
    loop {
        let subject = world::subject(any(world, chance));
        if let Some((_, rest)) = subject.split_once(": ") {
            return rest.split(',').next().unwrap_or_default().to_owned();
        }
    }
}

fn file(world: World, chance: &mut Chance) -> ilbud::mail::Attachment {
    loop {
        if let Some(file) = world::attachments(any(world, chance)).pop() {
            return file;
        }
    }
}

const KINDS: &[(&str, Make)] = &[
    ("reference, as a word", |world, chance| {
        word(world.reference(any(world, chance)).to_string())
    }),
    ("address, as a word", |world, chance| {
        word(address(world, chance))
    }),
    ("--address", |world, chance| Search {
        address: some(address(world, chance)),
        ..Search::default()
    }),
    ("--recipient, part (leder@akutt-ha)", |_, chance| {
        let room = world::room(chance.below(170));
        let part: String = room.chars().take(8).collect();
        Search {
            recipient: some(format!("leder@{part}")),
            ..Search::default()
        }
    }),
    ("part of an address, as a word", |_, chance| {
        let room = world::room(chance.below(170));
        word(
            room.split_once('-')
                .map(|(_, it)| it.to_owned())
                .unwrap_or_default(),
        )
    }),
    ("--room with an hour", |world, chance| {
        let n = any(world, chance);
        Search {
            room: some(world.message(n).recipients[0].room.as_str()),
            ..hour(world, n)
        }
    }),
    ("subject word, rare (a place)", |world, chance| Search {
        subject: some(place(world, chance)),
        ..Search::default()
    }),
    ("subject word, rare, as a word", |world, chance| {
        word(place(world, chance))
    }),
    ("subject word, common (epikrise)", |_, _| Search {
        subject: some("epikrise"),
        ..Search::default()
    }),
    ("subject word, part (haug)", |_, _| Search {
        subject: some("haug"),
        ..Search::default()
    }),
    ("subject word, absent", |_, chance| Search {
        subject: some(format!("finnesikke{}", chance.below(9))),
        ..Search::default()
    }),
    ("word, absent everywhere", |_, chance| {
        word(format!(
            "brannbilgarasje{}x",
            ["a", "b"][chance.below(2) as usize]
        ))
    }),
    ("word of two letters (sv)", |_, _| word("sv")),
    ("number of a case, as a word", |world, chance| {
        word(world::case(any(world, chance)).to_string())
    }),
    ("attachment name", |world, chance| Search {
        attachment: some(file(world, chance).name),
        ..Search::default()
    }),
    ("attachment hash", |world, chance| Search {
        attachment: some(file(world, chance).sha256.unwrap()),
        ..Search::default()
    }),
    ("attachment, part (xlsx)", |_, _| Search {
        attachment: some("xlsx"),
        ..Search::default()
    }),
    ("Message-ID", |world, chance| Search {
        message_id: some(world.message_id(any(world, chance))),
        ..Search::default()
    }),
    ("client", |_, chance| Search {
        client: some(format!("10.{}.0.12", chance.below(170))),
        ..Search::default()
    }),
    ("status failed + room", |_, chance| Search {
        status: some("failed"),
        room: some(world::room(chance.below(170))),
        ..Search::default()
    }),
    ("status queued + room", |_, chance| Search {
        status: some("queued"),
        room: some(world::room(chance.below(170))),
        ..Search::default()
    }),
    ("status refused", |_, _| Search {
        status: some("refused"),
        ..Search::default()
    }),
    ("reply words (nearest)", |_, _| Search {
        reply: some("the nearest"),
        ..Search::default()
    }),
    ("reply, the hop's queue id", |world, chance| {
        let n = any(world, chance);
        let reply = world
            .outcome(&world.message(n), n)
            .pop()
            .and_then(|it| it.last_reply);
        word(
            reply
                .unwrap_or_default()
                .rsplit(' ')
                .next()
                .unwrap_or_default(),
        )
    }),
    ("room + subject word + a day", |world, chance| {
        let n = any(world, chance);
        let day = Timestamp::from_millis(world.at(n) - 86_400_000);
        Search {
            room: some(world.message(n).recipients[0].room.as_str()),
            subject: some("epikrise"),
            since: Some(day),
            until: Some(Timestamp::from_millis(world.at(n))),
            ..Search::default()
        }
    }),
    ("sender + recipient", |world, chance| {
        let message = world.message(any(world, chance));
        Search {
            sender: message.sender.map(|it| it.to_string()),
            recipient: some(message.recipients[0].address.to_string()),
            ..Search::default()
        }
    }),
    ("three words (room, kind, place)", |world, chance| {
        let n = any(world, chance);
        let subject = world::subject(n);
        let words = subject
            .split([' ', ':', ','])
            .filter(|it| it.len() > 3)
            .take(2);
        let room = world.message(n).recipients[0].room.as_str().to_owned();
        Search {
            words: words.map(str::to_owned).chain([room]).collect(),
            ..Search::default()
        }
    }),
];
