//! The conformance suite for `Store`: what every backend must do, verb by verb.
//!
//! A backend joins with one line in `fresh_store`; each test asks only what the trait promises.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ilbud::credential::{Password, SALT, Verifiers};
use ilbud::mail::event::State;
use ilbud::mail::{
    Address, Attachment, ByMode, Content, DeliverBy, Details, Event, EventKind, Facts, FileType,
    Lapse, Lapses, Notify, Origin, Priority, Reference, Refusal, Return, RoomId, Sighting, Station,
    StationKind, Terms, Timestamp, Wishes,
};
use ilbud::spool::revision::{Conditions, Revision};
use ilbud::spool::sqlite::{Settings, Sqlite};
use ilbud::spool::store::Credential;
use ilbud::spool::store::{
    Caught, Change, EngineRow, NewMessage, NewRecipient, NewScan, NextLook, OfLate, Pair, Portion,
    RecipientChange, RecipientId, ScanQueue, ScanStep, Search, Shift, Store, StoreError, Told,
    WaitingFilter, WaitingOrder,
};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn later(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

fn fresh_store(keep_bodies: Duration) -> (Arc<dyn Store>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ilbud.db");
    (
        Arc::new(Sqlite::open(&Settings { path, keep_bodies }).unwrap()),
        folder,
    )
}

fn store() -> (Arc<dyn Store>, tempfile::TempDir) {
    fresh_store(Duration::ZERO)
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn reference(number: u64) -> Reference {
    Reference::from_number(number)
}

fn id(number: u64, recipient: u32) -> RecipientId {
    RecipientId {
        reference: reference(number),
        number: recipient,
    }
}

fn event(number: u64, kind: EventKind) -> Event {
    let details = Details {
        rule: Some("a rule".to_owned()),
        ..Details::default()
    };
    Event {
        reference: reference(number),
        at: NOW,
        kind,
        recipient: None,
        details,
    }
}

/// A message for each of `rooms`, due at once and leased to nobody.
fn message(number: u64, rooms: &[&str]) -> NewMessage {
    let recipient = |room: &&str| NewRecipient {
        waiver: None,
        address: address(&format!("vakt@{room}.nodnett.test")),
        room: RoomId::new(room),
        wishes: Wishes::default(),
        state: State::Queued,
        reason: None,
        next_attempt_at: NOW,
        look_at: NOW,
        leased_until: NOW,
    };
    NewMessage {
        reference: reference(number),
        accepted_at: NOW,
        sender: Some(address("leder@a.nodnett.test")),
        sender_room: Some(RoomId::new("a")),
        client: "127.0.1.9".to_owned(),
        smtputf8: false,
        eight_bit: true,
        terms: Terms::default(),
        facts: Facts {
            subject: Some("Prøve på ØST".to_owned()),
            message_id: Some(format!("{number}@a.nodnett.test")),
            attachments: vec![Attachment {
                name: "Epikrise.pdf".to_owned(),
                within: None,
                size: Some(3),
                sha256: Some("ab".repeat(32)),
                kind: FileType::Executable,
            }],
        },
        content: Content {
            trace: "Received: x\r\n".into(),
            bytes: "Subject: y\r\n\r\n\0\u{ff}".into(),
        },
        recipients: rooms.iter().map(recipient).collect(),
        events: vec![event(number, EventKind::Accepted)],
        left_out: Vec::new(),
        scan: None,
    }
}

fn portion(limit: usize) -> Portion {
    Portion {
        urgent: limit,
        routine: limit,
    }
}

fn step(id: RecipientId, from: &'static [State], to: State) -> RecipientChange {
    RecipientChange {
        to: Some(to),
        attempts: Some(1),
        last_reply: Some("250 kept".to_owned()),
        event: Some(event(id.reference.number(), EventKind::Delivered)),
        ..RecipientChange::of(id, from)
    }
}

fn change(recipients: Vec<RecipientChange>) -> Arc<Change> {
    Arc::new(Change {
        recipients,
        ..Change::default()
    })
}

async fn waiting(
    store: &Arc<dyn Store>,
    filter: WaitingFilter,
) -> Result<Vec<ilbud::spool::store::Waiting>, StoreError> {
    store
        .waiting(
            store
                .waiting_ids(filter, WaitingOrder::Age, usize::MAX)
                .await?,
        )
        .await
}

fn search() -> Search {
    Search {
        limit: 100,
        ..Search::default()
    }
}

#[tokio::test]
async fn what_is_accepted_is_there_byte_for_byte() {
    let (store, _folder) = store();
    let sent = message(7, &["b", "c"]);
    store.accept(sent.clone()).await.unwrap();
    assert_eq!(
        store.content(reference(7)).await.unwrap(),
        Some(sent.content)
    );
    let kept = store.message(reference(7)).await.unwrap().unwrap();
    assert_eq!(kept.subject.as_deref(), Some("Prøve på ØST"));
    assert_eq!(kept.attachments, sent.facts.attachments);
    let rooms: Vec<_> = kept.recipients.iter().map(|it| it.room.as_str()).collect();
    assert_eq!(rooms, ["b", "c"]);
    assert_eq!(store.events(reference(7)).await.unwrap().len(), 1);
    assert_eq!(store.last_reference().await.unwrap(), Some(reference(7)));
}

#[tokio::test]
async fn a_message_is_accepted_whole_or_not_at_all() {
    let (store, _folder) = store();
    store.accept(message(7, &["b"])).await.unwrap();
    let mut twice = message(7, &["c"]);
    twice.content.bytes = "other".into();
    assert!(matches!(
        store.accept(twice).await,
        Err(StoreError::Conflict(_))
    ));
    let kept = store.message(reference(7)).await.unwrap().unwrap();
    assert_eq!(kept.recipients.len(), 1);
    assert_eq!(kept.recipients[0].room, RoomId::new("b"));
    assert_eq!(store.events(reference(7)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn one_deed_that_fails_spares_the_others_in_its_commit() {
    let (store, _folder) = store();
    let all = (1..=50).flat_map(|number| [message(number, &["b"]), message(number, &["b"])]);
    let pending: Vec<_> = all.map(|message| store.accept(message)).collect();
    let mut kept = 0;
    for one in pending {
        match one.await {
            Ok(()) => kept += 1,
            Err(fault) => assert!(matches!(fault, StoreError::Conflict(_)), "{fault}"),
        }
    }
    assert_eq!(kept, 50);
    assert_eq!(
        waiting(&store, WaitingFilter::default())
            .await
            .unwrap()
            .len(),
        50
    );
}

#[tokio::test]
async fn what_is_due_is_given_out_once_oldest_first() {
    let (store, _folder) = store();
    for number in [3, 1, 2] {
        let mut message = message(number, &["b"]);
        message.recipients[0].next_attempt_at = later(number);
        message.recipients[0].leased_until = NOW;
        store.accept(message).await.unwrap();
    }
    let take = |now: Timestamp, limit, except: &[&str]| {
        let other = except.iter().map(|room| (RoomId::new(room), portion(0)));
        let leased_until = later(1000).max(now.after(Duration::from_secs(1)));
        store.take_due(now, leased_until, portion(limit), other.collect())
    };
    assert!(take(NOW, 9, &[]).await.unwrap().is_empty());
    assert!(take(later(9), 9, &["b"]).await.unwrap().is_empty());
    let numbers = |due: Vec<ilbud::spool::store::Waiting>| {
        due.iter()
            .map(|it| it.id.reference.number())
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(take(later(2), 1, &[]).await.unwrap()), [1]);
    assert_eq!(numbers(take(later(9), 9, &[]).await.unwrap()), [2, 3]);
    assert!(take(later(999), 9, &[]).await.unwrap().is_empty());
    assert_eq!(take(later(1000), 9, &[]).await.unwrap().len(), 3);
}

#[tokio::test]
async fn one_room_s_backlog_never_hides_another_s() {
    let (store, _folder) = store();
    for number in 1..=40 {
        store.accept(message(number, &["b"])).await.unwrap();
    }
    store.accept(message(41, &["c"])).await.unwrap();
    let due = store
        .take_due(NOW, later(1000), portion(5), HashMap::new())
        .await
        .unwrap();
    assert_eq!(due.len(), 6);
    assert!(due.iter().any(|it| it.room == RoomId::new("c")));
}

#[tokio::test]
async fn what_is_given_back_is_due_again() {
    let (store, _folder) = store();
    for number in [1, 2] {
        let mut leased = message(number, &["b"]);
        leased.recipients[0].leased_until = later(1800);
        store.accept(leased).await.unwrap();
    }
    store.give_back(vec![id(2, 0), id(3, 0)]).await.unwrap();
    let due = store
        .take_due(NOW, later(1800), portion(9), HashMap::new())
        .await
        .unwrap();
    assert_eq!(due.iter().map(|it| it.id).collect::<Vec<_>>(), [id(2, 0)]);
}

fn urgent(mut message: NewMessage, level: i8) -> NewMessage {
    message.terms.priority = Priority::new(level).unwrap();
    message
}

fn deferred(mut message: NewMessage, due: Timestamp) -> NewMessage {
    for recipient in &mut message.recipients {
        recipient.state = State::Deferred;
        recipient.next_attempt_at = due;
        recipient.leased_until = due;
    }
    message
}

/// In few commits.
async fn accept_all(store: &Arc<dyn Store>, messages: impl Iterator<Item = NewMessage>) {
    let pending: Vec<_> = messages.map(|message| store.accept(message)).collect();
    for one in pending {
        one.await.unwrap();
    }
}

async fn due_at(
    store: &Arc<dyn Store>,
    now: Timestamp,
    usual: Portion,
    other: &[(&str, Portion)],
) -> Vec<u64> {
    let other = other.iter().map(|(room, it)| (RoomId::new(room), *it));
    let due = store.take_due(
        now,
        now.after(Duration::from_secs(1000)),
        usual,
        other.collect(),
    );
    let due = due.await.unwrap();
    due.iter().map(|it| it.id.reference.number()).collect()
}

#[tokio::test]
async fn the_most_urgent_is_given_out_first_and_either_kind_has_its_portion() {
    let (store, _folder) = store();
    for (number, level, room) in [
        (1, 0, "b"),
        (2, -3, "b"),
        (3, 0, "b"),
        (4, 4, "b"),
        (5, 9, "b"),
        (6, 4, "b"),
        (7, 1, "c"),
        (8, 0, "c"),
    ] {
        let message = urgent(message(number, &[room]), level);
        store.accept(message).await.unwrap();
    }
    let none = portion(0);
    let urgent_only = Portion {
        urgent: 9,
        routine: 0,
    };
    let of_b = [("c", none)];
    assert_eq!(due_at(&store, NOW, portion(2), &of_b).await, [5, 4, 1, 2]);
    assert_eq!(due_at(&store, NOW, none, &[("c", urgent_only)]).await, [7]);
    assert_eq!(due_at(&store, NOW, portion(9), &[]).await, [6, 3, 8]);
    assert!(due_at(&store, NOW, portion(9), &[]).await.is_empty());
}

#[tokio::test]
async fn no_priority_waits_for_all_that_is_more_urgent() {
    let (store, _folder) = store();
    let urgent_ones = (1..=30).map(|n| urgent(message(n, &["b"]), 4));
    accept_all(&store, urgent_ones).await;
    accept_all(&store, (31..=60).map(|n| message(n, &["b"]))).await;
    for (number, level) in [(61, 1), (62, -4)] {
        let other = urgent(message(number, &["b"]), level);
        store.accept(other).await.unwrap();
    }
    let due = due_at(&store, NOW, portion(10), &[]).await;
    assert_eq!(due.len(), 20);
    assert!(due.contains(&61) && due.contains(&62), "{due:?}");
}

#[tokio::test]
async fn what_a_sender_asked_for_comes_back_as_it_went_in() {
    let (store, _folder) = store();
    let mut sent = urgent(message(1, &["b"]), 9);
    sent.terms = Terms {
        require_tls: true,
        deliver_by: Some(DeliverBy {
            at: later(60),
            mode: ByMode::Return,
            trace: true,
        }),
        ret: Some(Return::Headers),
        envelope_id: Some("QQ314159".to_owned()),
        ..sent.terms
    };
    sent.recipients[0].wishes = Wishes {
        notify: Some(Notify::NEVER),
        original: Some("rfc822;vakt@b.nodnett.test".to_owned()),
    };
    store.accept(sent.clone()).await.unwrap();
    let due = store.take_due(NOW, later(9), portion(1), HashMap::new());
    let due = due.await.unwrap();
    assert_eq!(due[0].terms, sent.terms);
    assert_eq!(due[0].wishes, sent.recipients[0].wishes);
    assert_eq!((due[0].told, due[0].waits_since), (Told::default(), NOW));
}

#[tokio::test]
async fn what_is_deferred_in_a_room_is_due_when_its_hop_is_back() {
    let (store, _folder) = store();
    let waiting = (1..=1200).map(|n| deferred(message(n, &["b"]), later(3600 + n)));
    accept_all(&store, waiting).await;
    let mut leased = message(2001, &["b"]);
    leased.recipients[0].leased_until = later(1800);
    let mut held = message(2002, &["b"]);
    held.recipients[0].state = State::Held;
    for message in [
        leased,
        held,
        urgent(deferred(message(2003, &["b"]), later(7200)), 4),
        deferred(message(2004, &["c"]), later(3600)),
    ] {
        store.accept(message).await.unwrap();
    }
    let room = RoomId::new("b");
    let mut made = Vec::new();
    while made.last() != Some(&0) {
        let portion = store.make_room_due(room.clone(), later(10)).await.unwrap();
        made.push(portion);
        if made.len() == 1 {
            assert_eq!(
                due_at(&store, later(10), portion_of_urgent(), &[]).await,
                [2003]
            );
        }
    }
    assert_eq!(made.iter().sum::<u64>(), 1201, "{made:?}");
    assert!(made.len() > 2, "a portion at a time: {made:?}");
    let due = due_at(&store, later(10), portion(2000), &[]).await;
    assert_eq!(due, (1..=1200).collect::<Vec<_>>());
}

const fn portion_of_urgent() -> Portion {
    Portion {
        urgent: 9,
        routine: 0,
    }
}

/// The clock was set an hour back just now, when message `last` was the newest.
fn hour_back(last: u64) -> Shift {
    let hour = Duration::from_secs(3600);
    Shift {
        millis: -3_600_000,
        known: reference(last),
        until: reference(last + 1000),
        parting: NOW.before(hour / 2),
        earliest: NOW.before(hour),
        closed_by: NOW.before(hour),
    }
}

#[tokio::test]
async fn when_the_clock_was_set_what_waited_moves_along() {
    let (store, _folder) = store();
    let waiting = (1..=3).map(|n| deferred(message(n, &["b"]), later(10)));
    accept_all(&store, waiting).await;
    let over = step(id(3, 0), &[State::Deferred], State::Delivered);
    store.apply(change(vec![over])).await.unwrap();
    let mut by_the_new_clock = deferred(message(5001, &["c"]), later(10));
    let hour_ago = NOW.before(Duration::from_secs(3600));
    by_the_new_clock.accepted_at = hour_ago;
    let mut by_the_old_clock = deferred(message(5002, &["d"]), later(9000));
    by_the_old_clock.accepted_at = later(1);
    by_the_old_clock.terms.deliver_by = Some(DeliverBy {
        at: later(61),
        mode: ByMode::Notify,
        trace: false,
    });
    accept_all(&store, [by_the_new_clock, by_the_old_clock].into_iter()).await;
    let ids = store.waiting_after(None, reference(9999), 9).await.unwrap();
    assert_eq!(ids, [id(1, 0), id(2, 0), id(5001, 0), id(5002, 0)]);
    store.shift(hour_back(5000), ids).await.unwrap();
    let moved = store
        .waiting(vec![id(1, 0), id(2, 0), id(5001, 0)])
        .await
        .unwrap();
    let times = moved.iter().map(|it| (it.waits_since, it.next_attempt_at));
    let then = (hour_ago, hour_ago.after(Duration::from_secs(10)));
    assert_eq!(
        times.collect::<Vec<_>>(),
        [then, then, (hour_ago, later(10))]
    );
    assert!(moved[..2].iter().all(|it| it.accepted_at == NOW));
    let by_the_old_clock = store.waiting(vec![id(5002, 0)]).await.unwrap();
    assert_eq!(
        by_the_old_clock[0].waits_since,
        hour_ago.after(Duration::from_secs(1))
    );
    let by = by_the_old_clock[0].terms.deliver_by.unwrap();
    assert_eq!(by.at, hour_ago.after(Duration::from_secs(61)));
    let due = due_at(&store, then.1, portion(9999), &[]).await;
    assert_eq!(due, [1, 2]);
}

#[tokio::test]
async fn what_waits_is_found_a_portion_at_a_time_in_the_order_of_acceptance() {
    let (store, _folder) = store();
    let rooms = ["c", "b", "a"].into_iter().cycle();
    let messages = (1..=7).zip(rooms).map(|(n, room)| message(n, &[room, "d"]));
    accept_all(&store, messages).await;
    let over = step(id(2, 1), &[State::Queued], State::Delivered);
    store.apply(change(vec![over])).await.unwrap();
    let mut found = Vec::new();
    loop {
        let after = found.last().copied();
        let portion = store.waiting_after(after, reference(6), 4).await.unwrap();
        let is_last = portion.len() < 4;
        found.extend(portion);
        if is_last {
            break;
        }
    }
    let all = (1..=6).flat_map(|n| [id(n, 0), id(n, 1)]);
    let expected: Vec<_> = all.filter(|it| *it != id(2, 1)).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn what_is_to_be_looked_at_is_found_in_order_of_time() {
    let (store, _folder) = store();
    for (number, look_at) in [(1, later(3)), (2, later(1)), (3, later(2))] {
        let mut one = message(number, &["b"]);
        one.recipients[0].look_at = look_at;
        store.accept(one).await.unwrap();
    }
    let found = async |now, limit| {
        let rows = store.to_look_at(now, limit).await.unwrap();
        rows.iter()
            .map(|it| it.id.reference.number())
            .collect::<Vec<_>>()
    };
    assert!(found(NOW, 9).await.is_empty());
    assert_eq!(found(later(3), 2).await, [2, 3]);
    let touch = |number, next_look| RecipientChange {
        next_look,
        told: Told {
            late: true,
            overdue: false,
        },
        ..RecipientChange::of(id(number, 0), &[State::Queued])
    };
    let again = NextLook::At(later(9));
    store.apply(change(vec![touch(2, again)])).await.unwrap();
    store
        .apply(change(vec![touch(3, NextLook::Never)]))
        .await
        .unwrap();
    assert_eq!(found(later(8), 9).await, [1]);
    assert_eq!(found(later(9), 9).await, [1, 2]);
    let row = store.waiting(vec![id(2, 0)]).await.unwrap();
    assert_eq!((row[0].state, row[0].told.late), (State::Queued, true));
    // What is finished is looked at no more, unless it is to be told.
    let delivered = step(id(1, 0), &[State::Queued], State::Delivered);
    let cancelled = RecipientChange {
        next_look: NextLook::At(later(4)),
        ..step(id(2, 0), &[State::Queued], State::Cancelled)
    };
    store
        .apply(change(vec![delivered, cancelled]))
        .await
        .unwrap();
    assert_eq!(found(later(9), 9).await, [2]);
    assert!(store.content(reference(1)).await.unwrap().is_none());
    assert!(store.content(reference(2)).await.unwrap().is_some());
    let told = RecipientChange {
        next_look: NextLook::Never,
        ..RecipientChange::of(id(2, 0), &[State::Cancelled])
    };
    store.apply(change(vec![told])).await.unwrap();
    assert!(found(later(9), 9).await.is_empty());
    assert!(store.content(reference(2)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_look_leaves_a_lease_alone() {
    let (store, _folder) = store();
    store.accept(message(1, &["b"])).await.unwrap();
    assert_eq!(due_at(&store, NOW, portion(1), &[]).await, [1]);
    let look = RecipientChange {
        next_look: NextLook::At(later(9)),
        ..RecipientChange::of(id(1, 0), &[State::Queued])
    };
    store.apply(change(vec![look])).await.unwrap();
    assert!(due_at(&store, NOW, portion(1), &[]).await.is_empty());
}

#[tokio::test]
async fn what_is_remembered_of_a_recipient_stays_with_it() {
    let (store, _folder) = store();
    store.accept(message(1, &["b"])).await.unwrap();
    let row = async || store.waiting(vec![id(1, 0)]).await.unwrap().remove(0);
    let of_late = OfLate {
        start: later(1),
        attempts: 3,
    };
    let doubtful = RecipientChange {
        is_doubtful: true,
        of_late: Some(of_late),
        told: Told {
            late: true,
            overdue: false,
        },
        ..step(id(1, 0), &[State::Queued], State::Deferred)
    };
    store.apply(change(vec![doubtful])).await.unwrap();
    let overdue = RecipientChange {
        told: Told {
            late: false,
            overdue: true,
        },
        ..step(id(1, 0), &[State::Deferred], State::Deferred)
    };
    store.apply(change(vec![overdue])).await.unwrap();
    let found = row().await;
    let both = Told {
        late: true,
        overdue: true,
    };
    assert_eq!((found.told, found.is_doubtful), (both, true));
    assert_eq!(found.of_late, of_late);
    assert_eq!((of_late.since(later(1)), of_late.since(NOW)), (3, 0));
    let released = RecipientChange {
        of_late: Some(OfLate::default()),
        ..step(id(1, 0), &[State::Deferred], State::Queued)
    };
    store.apply(change(vec![released])).await.unwrap();
    assert_eq!(row().await.of_late, OfLate::default());
}

#[tokio::test]
async fn a_report_is_written_with_all_of_its_steps_or_not_at_all() {
    let (store, _folder) = store();
    store.accept(message(1, &["b", "b"])).await.unwrap();
    let cancelled = step(id(1, 0), &[State::Queued], State::Cancelled);
    store.apply(change(vec![cancelled])).await.unwrap();
    let failed = |number| step(id(1, number), &[State::Queued], State::Failed);
    let with_report = |steps| Change {
        recipients: steps,
        messages: vec![message(2, &["a"])],
        events: Vec::new(),
        ..Change::default()
    };
    let both = with_report(vec![failed(0), failed(1)]);
    let applied = store.apply(Arc::new(both)).await.unwrap();
    assert_eq!(
        (applied.is_made(), applied.skipped),
        (false, vec![id(1, 0)])
    );
    assert!(store.message(reference(2)).await.unwrap().is_none());
    let rows = store.waiting(vec![id(1, 1)]).await.unwrap();
    assert_eq!(rows[0].state, State::Queued);
    let one = with_report(vec![failed(1)]);
    assert!(store.apply(Arc::new(one)).await.unwrap().is_made());
    assert!(store.message(reference(2)).await.unwrap().is_some());
}

#[tokio::test]
async fn the_beginning_of_a_message_is_read_without_the_rest() {
    let (store, _folder) = store();
    store.accept(message(1, &["b"])).await.unwrap();
    let whole = store.content(reference(1)).await.unwrap().unwrap();
    let begins = store.beginning(reference(1), 5).await.unwrap().unwrap();
    assert_eq!(begins.trace, whole.trace.slice(..5));
    assert_eq!(begins.bytes, whole.bytes.slice(..5));
    let all = store.beginning(reference(1), 1000).await.unwrap();
    assert_eq!(all, Some(whole));
    assert_eq!(store.beginning(reference(2), 5).await.unwrap(), None);
}

/// The leases of a relay that started just now.
fn ours() -> RangeInclusive<Timestamp> {
    later(1900)..=later(2000)
}

#[tokio::test]
async fn what_is_taken_since_a_restart_is_not_given_out_again() {
    let (store, _folder) = store();
    let waiting = (1..=600).map(|n| deferred(message(n, &["b"]), later(300)));
    accept_all(&store, waiting).await;
    let mut leased_long = message(601, &["b"]);
    leased_long.recipients[0].leased_until = later(9000);
    store.accept(leased_long).await.unwrap();
    let mut taken = 0;
    let mut portions = Vec::new();
    loop {
        let made = store.make_all_due(NOW, reference(601), ours()).await;
        portions.push(made.unwrap());
        taken += store
            .take_due(NOW, later(1950), portion(9999), HashMap::new())
            .await
            .unwrap()
            .len();
        if portions.last() == Some(&0) {
            break;
        }
    }
    assert!(portions.len() > 2, "a portion at a time: {portions:?}");
    assert_eq!((portions.iter().sum::<u64>(), taken), (601, 601));
}

#[tokio::test]
async fn what_was_accepted_in_the_future_was_accepted_now_after_a_restart() {
    let (store, _folder) = store();
    let ahead = Reference::first_at(later(3600)).number();
    let mut from_ahead = deferred(message(ahead, &["b"]), later(3605));
    from_ahead.accepted_at = later(3600);
    store.accept(from_ahead).await.unwrap();
    store.accept(message(1, &["b"])).await.unwrap();
    let now = later(60);
    let ours = later(1900)..=later(2000);
    let made = store.make_all_due(now, reference(ahead), ours).await;
    assert_eq!(made.unwrap(), 1);
    let ids = vec![id(1, 0), id(ahead, 0)];
    let since = store.waiting(ids).await.unwrap();
    let since: Vec<_> = since.iter().map(|it| it.waits_since).collect();
    assert_eq!(since, [NOW, now]);
}

#[tokio::test]
async fn after_a_restart_no_room_waits_for_another_s_backlog() {
    let (store, _folder) = store();
    let waiting = (1..=1500).map(|n| deferred(message(n, &["b"]), later(300)));
    accept_all(&store, waiting).await;
    store
        .accept(deferred(message(1501, &["c"]), later(300)))
        .await
        .unwrap();
    store
        .accept(urgent(deferred(message(1502, &["d"]), later(300)), 4))
        .await
        .unwrap();
    let made = store
        .make_all_due(NOW, reference(1502), ours())
        .await
        .unwrap();
    assert!(made < 1500, "a portion at a time: {made}");
    let due = due_at(&store, NOW, portion(1), &[]).await;
    assert_eq!(due, [1502, 1, 1501]);
}

#[tokio::test]
async fn after_a_restart_everything_that_waits_is_due() {
    let (store, _folder) = store();
    let mut leased = message(1, &["b"]);
    leased.recipients[0].leased_until = later(1800);
    let mut late = message(2, &["b"]);
    late.recipients[0].next_attempt_at = later(300);
    let mut held = message(3, &["b"]);
    held.recipients[0].state = State::Held;
    for message in [leased, late, held] {
        store.accept(message).await.unwrap();
    }
    assert!(
        store
            .take_due(NOW, later(1800), portion(9), HashMap::new())
            .await
            .unwrap()
            .is_empty()
    );
    // Not what was accepted since the start.
    let made_due = async |last| {
        let made = store.make_all_due(NOW, reference(last), ours()).await;
        made.unwrap()
    };
    assert_eq!(made_due(1).await, 1);
    assert_eq!(made_due(3).await, 1);
    assert_eq!(made_due(3).await, 0);
    let due = store
        .take_due(NOW, later(1800), portion(9), HashMap::new())
        .await
        .unwrap();
    assert_eq!(due.len(), 2);
    assert!(due.iter().all(|it| it.next_attempt_at <= NOW));
}

#[tokio::test]
async fn a_step_from_a_state_that_is_no_longer_there_is_skipped_with_its_event() {
    let (store, _folder) = store();
    store.accept(message(1, &["b"])).await.unwrap();
    let hold = step(id(1, 0), &[State::Queued], State::Held);
    assert!(
        store
            .apply(change(vec![hold.clone()]))
            .await
            .unwrap()
            .skipped
            .is_empty()
    );
    let applied = store.apply(change(vec![hold])).await.unwrap();
    assert_eq!(applied.skipped, [id(1, 0)]);
    assert_eq!(store.events(reference(1)).await.unwrap().len(), 2);
    assert!(
        store
            .take_due(later(9), later(99), portion(9), HashMap::new())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn the_bytes_go_with_the_last_recipient() {
    let (store, _folder) = store();
    store.accept(message(1, &["b", "c"])).await.unwrap();
    store
        .apply(change(vec![step(
            id(1, 0),
            &[State::Queued],
            State::Delivered,
        )]))
        .await
        .unwrap();
    assert!(store.content(reference(1)).await.unwrap().is_some());
    store
        .apply(change(vec![step(
            id(1, 1),
            &[State::Queued],
            State::Failed,
        )]))
        .await
        .unwrap();
    assert!(store.content(reference(1)).await.unwrap().is_none());
    assert!(
        waiting(&store, WaitingFilter::default())
            .await
            .unwrap()
            .is_empty()
    );
    let rows = store.search(search()).await.unwrap();
    let states: Vec<_> = rows.iter().map(|row| row.status.as_str()).collect();
    assert_eq!(states, ["delivered", "failed"]);
}

#[tokio::test]
async fn bytes_are_kept_for_a_while_when_asked() {
    let (store, _folder) = fresh_store(Duration::from_secs(60));
    store.accept(message(1, &["b"])).await.unwrap();
    store.accept(message(2, &["b"])).await.unwrap();
    store
        .apply(change(vec![step(
            id(1, 0),
            &[State::Queued],
            State::Delivered,
        )]))
        .await
        .unwrap();
    assert_eq!(store.purge(NOW, None).await.unwrap(), Some(reference(2)));
    assert!(store.content(reference(1)).await.unwrap().is_some());
    assert_eq!(
        store.purge(later(1), None).await.unwrap(),
        Some(reference(2))
    );
    assert_eq!(
        store.purge(later(1), Some(reference(2))).await.unwrap(),
        None
    );
    assert!(store.content(reference(1)).await.unwrap().is_none());
    assert!(store.content(reference(2)).await.unwrap().is_some());
}

#[tokio::test]
async fn large_messages_are_looked_at_a_few_at_a_time() {
    let (store, _folder) = fresh_store(Duration::from_secs(60));
    for number in 1..=3 {
        let mut message = message(number, &["b"]);
        message.content.bytes = vec![b'x'; 20 << 20].into();
        store.accept(message).await.unwrap();
    }
    accept_all(&store, (4..=600).map(|n| message(n, &["b"]))).await;
    let mut ends = vec![None];
    loop {
        let after = ends.last().copied().flatten();
        let end = store.purge(NOW, after).await.unwrap();
        ends.push(end);
        if end.is_none() {
            break;
        }
    }
    let ends: Vec<_> = ends.into_iter().flatten().map(Reference::number).collect();
    assert_eq!(ends, [2, 502, 600]);
}

#[tokio::test]
async fn the_space_of_what_has_passed_is_used_again() {
    let (store, folder) = store();
    let size = || {
        std::fs::metadata(folder.path().join("ilbud.db"))
            .unwrap()
            .len()
    };
    let pass = async |first: u64| {
        for number in first..first + 20 {
            let mut message = message(number, &["b"]);
            message.content.bytes = vec![b'x'; 2 << 20].into();
            store.accept(message).await.unwrap();
            let delivered = step(id(number, 0), &[State::Queued], State::Delivered);
            store.apply(change(vec![delivered])).await.unwrap();
        }
    };
    pass(1).await;
    let once = size();
    pass(100).await;
    assert!(size() <= once + (1 << 20), "grew from {once} to {}", size());
}

#[tokio::test]
async fn a_change_is_made_whole_with_its_report() {
    let (store, _folder) = store();
    store.accept(message(1, &["b"])).await.unwrap();
    let failed = step(id(1, 0), &[State::Queued], State::Failed);
    let mut report = message(2, &["a"]);
    report.sender = None;
    let change = Change {
        recipients: vec![failed],
        messages: vec![report],
        events: vec![Event {
            recipient: Some(address("vakt@b.nodnett.test")),
            ..event(1, EventKind::Bounced)
        }],
        ..Change::default()
    };
    store.apply(Arc::new(change)).await.unwrap();
    let words: Vec<_> = store
        .events(reference(1))
        .await
        .unwrap()
        .into_iter()
        .map(|it| it.event)
        .collect();
    assert_eq!(words, ["accepted", "delivered", "bounced"]);
    let waiting = waiting(&store, WaitingFilter::default()).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].sender, None);
}

fn refusal(number: u64, recipient: &str) -> Refusal {
    Refusal {
        reference: reference(number),
        at: later(number),
        client: "127.0.1.9".parse().unwrap(),
        helo: "ws".to_owned(),
        user: None,
        certificate: None,
        sender: Some("leder@a.nodnett.test".to_owned()),
        sender_room: Some(RoomId::new("a")),
        recipient: Some(recipient.to_owned()),
        recipient_room: None,
        subject: None,
        message_id: None,
        size: None,
        attachments: Arc::default(),
        files_left_out: 0,
        malware: Vec::new(),
        reply: "550 5.7.1 no".to_owned(),
        rule: Some("outside".to_owned()),
        revision: Some(1),
        count: 3,
    }
}

/// Searches go through what the backend keeps to be quick, or past it: they find the same.
#[tokio::test]
async fn the_log_is_searched_by_everything_a_caller_may_say() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        path: folder.path().join("ilbud.db"),
        keep_bodies: Duration::ZERO,
    };
    let quick = Sqlite::open(&settings).unwrap();
    quick.accept(message(1, &["b"])).await.unwrap();
    quick.accept(message(2, &["c"])).await.unwrap();
    quick.note(vec![refusal(3, "x@example.com")]).await.unwrap();
    found_by_everything(&quick).await;
    quick.fill_index().unwrap();
    found_by_everything(&quick).await;
}

async fn found_by_everything(store: &dyn Store) {
    let found = async |search: Search| {
        let rows = store.search(search).await.unwrap();
        rows.iter()
            .map(|row| row.reference.number())
            .collect::<Vec<_>>()
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(found(search()).await, [3, 2, 1]);
    assert_eq!(
        found(Search {
            limit: 2,
            ..search()
        })
        .await,
        [3, 2]
    );
    assert_eq!(
        found(Search {
            reference: Some(reference(2)),
            ..search()
        })
        .await,
        [2]
    );
    assert_eq!(
        found(Search {
            sender: text("LEDER@a"),
            ..search()
        })
        .await,
        [3, 2, 1]
    );
    assert_eq!(
        found(Search {
            recipient: text("vakt@b"),
            ..search()
        })
        .await,
        [1]
    );
    assert_eq!(
        found(Search {
            room: text("c"),
            ..search()
        })
        .await,
        [2]
    );
    assert_eq!(
        found(Search {
            status: text("refused"),
            ..search()
        })
        .await,
        [3]
    );
    assert_eq!(
        found(Search {
            status: text("queued"),
            ..search()
        })
        .await,
        [2, 1]
    );
    assert_eq!(
        found(Search {
            subject: text("PRØVE"),
            ..search()
        })
        .await,
        [2, 1]
    );
    assert_eq!(
        found(Search {
            attachment: text("epikrise"),
            ..search()
        })
        .await,
        [2, 1]
    );
    assert_eq!(
        found(Search {
            attachment: text(&"AB".repeat(32)),
            ..search()
        })
        .await,
        [2, 1]
    );
    assert_eq!(
        found(Search {
            message_id: text("2@a"),
            ..search()
        })
        .await,
        [2]
    );
    assert_eq!(
        found(Search {
            address: text("vakt@c"),
            ..search()
        })
        .await,
        [2]
    );
    assert_eq!(
        found(Search {
            reply: text("5.7.1 No"),
            ..search()
        })
        .await,
        [3]
    );
    assert_eq!(
        found(Search {
            client: text("127.0.1.9"),
            ..search()
        })
        .await,
        [3, 2, 1]
    );
    assert_eq!(
        found(Search {
            client: text("127.0.1.10"),
            ..search()
        })
        .await,
        [0_u64; 0]
    );
    assert_eq!(
        found(Search {
            since: Some(later(1)),
            ..search()
        })
        .await,
        [3]
    );
    assert_eq!(
        found(Search {
            until: Some(NOW),
            ..search()
        })
        .await,
        [2, 1]
    );
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found(Search {
            words: words(&["øst", "vakt@c"]),
            ..search()
        })
        .await,
        [2]
    );
    let typed = reference(1).to_string().to_lowercase().replace('-', "");
    assert_eq!(
        found(Search {
            words: words(&[&typed]),
            ..search()
        })
        .await,
        [1]
    );
    assert_eq!(
        found(Search {
            words: words(&["example.com"]),
            ..search()
        })
        .await,
        [3]
    );
    assert_eq!(
        found(Search {
            words: words(&["100%"]),
            ..search()
        })
        .await,
        [0_u64; 0]
    );
}

#[tokio::test]
async fn a_refusal_is_a_row_and_an_event() {
    let (store, _folder) = store();
    store
        .note(vec![refusal(3, "not an address")])
        .await
        .unwrap();
    let rows = store.search(search()).await.unwrap();
    assert_eq!(rows[0].status, "refused");
    assert_eq!(rows[0].recipient.as_deref(), Some("not an address"));
    assert_eq!((rows[0].count, rows[0].at), (3, later(3)));
    let events = store.events(reference(3)).await.unwrap();
    assert_eq!(events[0].event, "refused");
    assert_eq!(events[0].details.rule.as_deref(), Some("outside"));
}

#[tokio::test]
async fn who_was_left_out_is_a_row_beside_the_message() {
    let (store, _folder) = store();
    let mut sent = message(1, &["b"]);
    sent.left_out = vec![refusal(1, "vakt@c.nodnett.test")];
    store.accept(sent).await.unwrap();
    let rows = store.search(search()).await.unwrap();
    let states: Vec<_> = rows.iter().map(|row| row.status.as_str()).collect();
    assert_eq!(states, ["refused", "queued"]);
    assert_eq!(store.events(reference(1)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn events_come_in_the_order_of_commit() {
    let (store, _folder) = store();
    for number in 1..=5 {
        store.accept(message(number, &["b"])).await.unwrap();
    }
    let last = store.last_event().await.unwrap();
    let newest = store.events_after(last - 2, 10).await.unwrap();
    let numbers: Vec<_> = newest.iter().map(|it| it.reference.number()).collect();
    assert_eq!(numbers, [4, 5]);
    assert_eq!(store.events_after(0, 3).await.unwrap().len(), 3);
}

#[tokio::test]
async fn waiting_recipients_are_chosen_in_the_order_of_acceptance() {
    let (store, _folder) = store();
    for number in [3, 1, 2] {
        store.accept(message(number, &["b", "c"])).await.unwrap();
    }
    let all = store
        .waiting_ids(WaitingFilter::default(), WaitingOrder::Age, usize::MAX)
        .await
        .unwrap();
    let order = [id(1, 0), id(1, 1), id(2, 0), id(2, 1), id(3, 0), id(3, 1)];
    assert_eq!(all, order);
    let delivered = step(id(1, 0), &[State::Queued], State::Delivered);
    store.apply(change(vec![delivered])).await.unwrap();
    let still = store.waiting(all).await.unwrap();
    assert_eq!(still.iter().map(|it| it.id).collect::<Vec<_>>(), order[1..]);
    let room = Some(RoomId::new("c"));
    let chosen = waiting(
        &store,
        WaitingFilter {
            room,
            ..WaitingFilter::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(chosen.len(), 3);
    let references = vec![reference(2), reference(3)];
    let chosen = waiting(
        &store,
        WaitingFilter {
            references,
            ..WaitingFilter::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(chosen.len(), 4);
    let state = Some(State::Held);
    let chosen = waiting(
        &store,
        WaitingFilter {
            state,
            ..WaitingFilter::default()
        },
    )
    .await
    .unwrap();
    assert!(chosen.is_empty());
}

#[tokio::test]
async fn a_report_whose_step_came_too_late_is_not_written() {
    let (store, _folder) = store();
    store.accept(message(1, &["b"])).await.unwrap();
    let cancelled = step(id(1, 0), &[State::Queued], State::Cancelled);
    store.apply(change(vec![cancelled])).await.unwrap();
    let failed = Change {
        recipients: vec![step(id(1, 0), &[State::Queued], State::Failed)],
        messages: vec![message(2, &["a"])],
        events: vec![event(1, EventKind::Bounced)],
        ..Change::default()
    };
    let applied = store.apply(Arc::new(failed)).await.unwrap();
    assert_eq!(applied.skipped, [id(1, 0)]);
    assert!(store.message(reference(2)).await.unwrap().is_none());
    assert_eq!(store.events(reference(1)).await.unwrap().len(), 2);
}

fn revision(table: &str) -> Revision {
    Revision {
        revision: 0,
        at: NOW,
        by: "kari".to_owned(),
        reason: Some("Flytting".to_owned()),
        summary: "1 room added (b)".to_owned(),
        table: table.to_owned(),
    }
}

#[tokio::test]
async fn revisions_count_from_one_and_a_stale_one_is_refused() {
    let (store, _folder) = store();
    assert_eq!(store.routes().await.unwrap(), None);
    assert_eq!(
        store
            .replace_routes(revision("one"), Some(0), Conditions::default())
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        store
            .replace_routes(revision("two"), None, Conditions::default())
            .await
            .unwrap(),
        2
    );
    let stale = store
        .replace_routes(revision("three"), Some(1), Conditions::default())
        .await;
    assert!(matches!(stale, Err(StoreError::Conflict(_))), "{stale:?}");
    let current = store.routes().await.unwrap().unwrap();
    assert_eq!((current.revision, current.table.as_str()), (2, "two"));
    let first = store.revision(1).await.unwrap().unwrap();
    assert_eq!((first.revision, first.table.as_str()), (1, "one"));
    for unknown in [0, 3, u64::MAX] {
        assert_eq!(store.revision(unknown).await.unwrap(), None, "{unknown}");
    }
    let history = store.route_history().await.unwrap();
    assert_eq!(
        history
            .iter()
            .map(|it| it.revision.revision)
            .collect::<Vec<_>>(),
        [2, 1]
    );
}

#[tokio::test]
async fn another_table_in_force_is_seen_without_reading_it_also_where_a_hand_changed_it() {
    let (store, folder) = store();
    assert_eq!(store.routes_mark().await.unwrap(), None);
    let put = async |text: &str, conditions| {
        let made = store.replace_routes(revision(text), None, conditions).await;
        made.unwrap()
    };
    let mark = async || store.routes_mark().await.unwrap().unwrap();
    put("one", Conditions::default()).await;
    let first = mark().await;
    assert_eq!(first.revision, 1);
    // Of other things it says nothing.
    store.note(vec![refusal(3, "x@example.com")]).await.unwrap();
    assert_eq!(mark().await, first);
    put("two", Conditions::default()).await;
    let second = mark().await;
    assert_eq!(second.revision, 2);
    let by_hand = rusqlite::Connection::open(folder.path().join("ilbud.db")).unwrap();
    let mut seen = vec![first, second];
    for sql in [
        "UPDATE revision SET routes = 'owt' WHERE revision = 2",
        "DELETE FROM revision WHERE revision = 2",
        "INSERT INTO revision SELECT 2, at, by, reason, summary, routes FROM revision",
        "INSERT OR REPLACE INTO revision SELECT 2, at, by, reason, summary, routes FROM revision WHERE revision = 1",
    ] {
        by_hand.execute_batch(sql).unwrap();
        let mark = mark().await;
        assert!(!seen.contains(&mark), "{sql}: {mark:?}");
        seen.push(mark);
    }
}

#[tokio::test]
async fn mail_is_summed_up_by_who_wrote_to_whom() {
    let (store, _folder) = store();
    let nothing = Reference::from_number(0);
    assert!(store.pairs(NOW, nothing, 9).await.unwrap().is_empty());
    let through_group = Event {
        recipient: Some(address("vakt@c.nodnett.test")),
        details: Details {
            group: Some("alle@g.test".to_owned()),
            ..Details::default()
        },
        ..event(3, EventKind::Accepted)
    };
    let ours = NewMessage {
        sender: None,
        sender_room: None,
        client: String::new(),
        ..message(4, &["a"])
    };
    for message in [
        message(1, &["b"]),
        message(2, &["b", "c"]),
        NewMessage {
            events: vec![through_group],
            ..message(3, &["c"])
        },
        ours,
        NewMessage {
            accepted_at: NOW.before(Duration::from_secs(60)),
            ..message(5, &["d"])
        },
    ] {
        store.accept(message).await.unwrap();
    }
    let pair = |room: &str, messages| Pair {
        sender: Some("leder@a.nodnett.test".to_owned()),
        sender_room: Some(RoomId::new("a")),
        is_ours: false,
        recipient: format!("vakt@{room}.nodnett.test"),
        group: None,
        messages,
    };
    let expected = [
        Pair {
            sender: None,
            sender_room: None,
            is_ours: true,
            ..pair("a", 1)
        },
        Pair {
            group: Some("alle@g.test".to_owned()),
            ..pair("c", 1)
        },
        pair("b", 2),
        pair("c", 1),
    ];
    assert_eq!(store.pairs(NOW, nothing, 9).await.unwrap(), expected);
    // The newest first, and no more than asked for.
    let newest = store.pairs(NOW, nothing, 2).await.unwrap();
    assert_eq!(newest, expected[..2]);
    let last = store.pairs(NOW, reference(4), 9).await.unwrap();
    assert_eq!(last, expected[..1]);
}

#[tokio::test]
async fn another_process_s_change_is_noticed() {
    let (store, folder) = store();
    let mut foreign = store.foreign_changes();
    // Our own changes are nobody's news.
    store.accept(message(1, &["b"])).await.unwrap();
    let path = folder.path().join("ilbud.db");
    let other = Sqlite::open(&Settings {
        path,
        keep_bodies: Duration::ZERO,
    })
    .unwrap();
    tokio::time::timeout(Duration::from_secs(20), async {
        // The first look may come before or after the first change; the second is always seen.
        for number in 2.. {
            other.accept(message(number, &["b"])).await.unwrap();
            let noticed = tokio::time::timeout(Duration::from_secs(1), foreign.changed()).await;
            if noticed.is_ok_and(|it| it.is_ok()) {
                return;
            }
        }
    })
    .await
    .expect("the change of another connection goes unnoticed");
}

#[tokio::test]
async fn a_sound_store_has_nothing_to_say() {
    let (store, _folder) = store();
    store.accept(message(1, &["b"])).await.unwrap();
    assert!(store.check().await.unwrap().is_empty());
}

#[tokio::test]
async fn one_relay_at_a_time() {
    let (_store, folder) = store();
    let path = folder.path().join("ilbud.db");
    let lock = Sqlite::lock(&path).unwrap();
    assert!(matches!(Sqlite::lock(&path), Err(StoreError::Busy(_))));
    drop(lock);
    assert!(Sqlite::lock(&path).is_ok());
}

#[tokio::test]
async fn a_password_is_found_replaced_and_removed() {
    let (store, _folder) = store();
    let made = |password: &str| {
        let password = Password::new(password.to_owned());
        Verifiers::with_rounds("ws3", &password, [[1; SALT], [2; SALT]], 4096).unwrap()
    };
    let user = || "ws3".to_owned();
    let nobody = store.credential(user()).await.unwrap();
    assert!(!nobody.verifiers.are_real);
    assert_eq!(store.credential(user()).await.unwrap(), nobody);

    for (password, at) in [("correct horse", NOW), ("another horse", later(1))] {
        let verifiers = made(password);
        store
            .set_credential(user(), verifiers.clone(), at)
            .await
            .unwrap();
        let known = store.credential(user()).await.unwrap();
        assert_eq!((known.verifiers, known.used_at), (verifiers, None));
        store.credential_used(user(), later(9)).await.unwrap();
        let listed = store.credentials().await.unwrap();
        let expected = Credential {
            user: user(),
            since: at,
            used_at: Some(later(9)),
        };
        assert_eq!(listed, [expected]);
    }
    assert!(store.remove_credential(user()).await.unwrap());
    assert!(!store.remove_credential(user()).await.unwrap());
    assert_eq!(store.credential(user()).await.unwrap(), nobody);
    assert!(store.credentials().await.unwrap().is_empty());
}

fn sighting(origin: Origin, name: &str, seconds: u64, lapses: Lapses) -> Sighting {
    Sighting {
        station: Station {
            origin,
            kind: StationKind::Address,
            name: name.to_owned(),
        },
        at: later(seconds),
        address: "10.1.0.7".parse().unwrap(),
        tls: None,
        certificate_ends_at: None,
        lapses,
    }
}

#[tokio::test]
async fn a_workstation_is_one_row_that_knows_its_first_and_last_sighting() {
    let (store, _folder) = store();
    let room = || Origin::Room(RoomId::new("b"));
    let first = sighting(room(), "ws1", 10, Lapses::NONE.and(Lapse::MissingTls));
    let second = Sighting {
        tls: Some("TLSv1.3".to_owned()),
        certificate_ends_at: Some(later(900)),
        address: "10.1.0.8".parse().unwrap(),
        ..sighting(room(), "ws1", 20, Lapses::NONE.and(Lapse::BareNewlines))
    };
    // What comes late changes nothing that is newer.
    let late = sighting(room(), "ws1", 5, Lapses::NONE.and(Lapse::MissingTls));
    store.saw(vec![first]).await.unwrap();
    store.saw(vec![second, late]).await.unwrap();
    let gateway = sighting(Origin::Gateway("a".to_owned()), "ws1", 1, Lapses::NONE);
    let other = sighting(Origin::Room(RoomId::new("a")), "ws1", 1, Lapses::NONE);
    let ours = sighting(Origin::Relay, "ws1", 1, Lapses::NONE);
    store.saw(vec![gateway, other, ours]).await.unwrap();
    let rows = store.workstations().await.unwrap();
    let origins: Vec<_> = rows.iter().map(|row| row.station.origin.clone()).collect();
    let expected = [
        Origin::Room(RoomId::new("a")),
        room(),
        Origin::Gateway("a".to_owned()),
    ];
    assert_eq!(origins, expected);
    let row = &rows[1];
    assert_eq!((row.first_seen_at, row.last_seen_at), (later(5), later(20)));
    assert_eq!(
        (
            row.address.as_str(),
            row.tls.as_deref(),
            row.certificate_ends_at
        ),
        ("10.1.0.8", Some("TLSv1.3"), Some(later(900)))
    );
    let failed = [
        (Lapse::MissingTls, later(10)),
        (Lapse::BareNewlines, later(20)),
    ];
    assert_eq!(row.failed, failed);
    // The clock ran ahead and was set back.
    store
        .saw(vec![
            sighting(room(), "ws1", 90_000, Lapses::NONE),
            sighting(room(), "ws1", 30, Lapses::NONE),
        ])
        .await
        .unwrap();
    let rows = store.workstations().await.unwrap();
    assert_eq!((rows[1].last_seen_at, &rows[1].tls), (later(30), &None));
}

#[tokio::test]
async fn a_stranger_that_the_table_names_by_now_is_none() {
    let (store, _folder) = store();
    let room = || Origin::Room(RoomId::new("b"));
    let unknown = Lapses::NONE.and(Lapse::UnknownWorkstation);
    for (seconds, lapses, failed) in [(1, unknown, 1), (2, Lapses::NONE, 0)] {
        store
            .saw(vec![sighting(room(), "10.1.0.7", seconds, lapses)])
            .await
            .unwrap();
        let rows = store.workstations().await.unwrap();
        assert_eq!((rows.len(), rows[0].failed.len()), (1, failed));
    }
}

#[tokio::test]
async fn of_too_many_workstations_the_oldest_are_forgotten_strangers_first() {
    let (store, _folder) = store();
    let room = || Origin::Room(RoomId::new("b"));
    let unknown = Lapses::NONE.and(Lapse::UnknownWorkstation);
    store
        .saw(vec![sighting(room(), "known", 0, Lapses::NONE)])
        .await
        .unwrap();
    let strangers = (1..=2_500).map(|n| sighting(room(), &format!("x{n}"), n, unknown));
    store.saw(strangers.collect()).await.unwrap();
    let names = |rows: &[ilbud::spool::store::Workstation]| {
        let mut names: Vec<_> = rows.iter().map(|row| row.station.name.clone()).collect();
        names.sort();
        names
    };
    let rows = names(&store.workstations().await.unwrap());
    assert_eq!(rows.len(), 2_001);
    assert!(rows.contains(&"known".to_owned()) && !rows.contains(&"x500".to_owned()));
    let many = (1..=10_000).map(|n| sighting(room(), &format!("y{n}"), 9_000 + n, Lapses::NONE));
    store.saw(many.collect()).await.unwrap();
    let rows = names(&store.workstations().await.unwrap());
    assert_eq!(rows.len(), 10_000);
    assert!(rows.iter().all(|name| name.starts_with('y')));
}

#[tokio::test]
async fn a_clock_that_was_set_back_puts_no_scan_off() {
    let (store, _folder) = store();
    let mut unscanned = message(1, &["b"]);
    unscanned.recipients[0].state = State::Unscanned;
    let due_at = NOW.after(Duration::from_secs(3600));
    for (number, held_by) in [(1, None), (2, Some(7))] {
        let scan = NewScan {
            due_at,
            held_by,
            ..NewScan::default()
        };
        let message = NewMessage {
            reference: reference(number),
            scan: Some(scan),
            ..unscanned.clone()
        };
        store.accept(message).await.unwrap();
    }
    let due = store.to_scan(NOW, 10).await.unwrap();
    let due: Vec<_> = due.iter().map(|row| row.reference).collect();
    assert_eq!(
        due,
        [reference(1)],
        "what a measure holds waits for its end"
    );
}

fn to_scan(mut message: NewMessage, due_at: Timestamp) -> NewMessage {
    for recipient in &mut message.recipients {
        recipient.state = State::Unscanned;
    }
    message.scan = Some(NewScan {
        due_at,
        ..NewScan::default()
    });
    message
}

fn scan_step(step: ScanStep) -> Arc<Change> {
    Arc::new(Change {
        scans: vec![step],
        ..Change::default()
    })
}

fn done(number: u64, trace: &'static str) -> ScanStep {
    ScanStep::Done {
        reference: reference(number),
        trace: trace.into(),
    }
}

fn anew(number: u64, is_excused: bool) -> ScanStep {
    ScanStep::Anew {
        reference: reference(number),
        at: NOW,
        is_excused,
    }
}

async fn scans(store: &Arc<dyn Store>, now: Timestamp) -> Vec<u64> {
    let rows = store.to_scan(now, 99).await.unwrap();
    rows.iter().map(|it| it.reference.number()).collect()
}

#[tokio::test]
async fn what_is_to_be_scanned_comes_urgent_first_and_then_the_oldest() {
    let (store, _folder) = store();
    for (number, level, due_at) in [
        (1, 0, NOW),
        (2, 4, NOW),
        (3, 0, NOW),
        (4, 4, NOW),
        (5, 9, later(1)),
    ] {
        let message = to_scan(urgent(message(number, &["b"]), level), due_at);
        store.accept(message).await.unwrap();
    }
    assert_eq!(scans(&store, NOW).await, [2, 4, 1, 3]);
    assert_eq!(scans(&store, later(1)).await, [5, 2, 4, 1, 3]);
    assert_eq!(store.unscanned().await.unwrap(), 5);
    // Nobody delivers it meanwhile.
    assert!(due_at(&store, later(9), portion(9), &[]).await.is_empty());
}

#[tokio::test]
async fn a_scan_is_put_off_begun_anew_and_ended() {
    let (store, _folder) = store();
    store
        .accept(to_scan(message(1, &["b"]), NOW))
        .await
        .unwrap();
    let again = |due_at| {
        scan_step(ScanStep::Again {
            reference: reference(1),
            due_at,
            attempts: 3,
            stalls: 2,
            answers: 0,
            reason: "down".to_owned(),
        })
    };
    store.apply(again(Some(later(4)))).await.unwrap();
    assert!(scans(&store, later(3)).await.is_empty());
    let row = store.to_scan(later(4), 9).await.unwrap().remove(0);
    assert_eq!(
        (row.attempts, row.stalls, row.reason.as_deref()),
        (3, 2, Some("down"))
    );
    store.apply(again(None)).await.unwrap();
    assert!(scans(&store, later(1_000_000)).await.is_empty());
    store.apply(scan_step(anew(1, true))).await.unwrap();
    let row = store.to_scan(NOW, 9).await.unwrap().remove(0);
    assert_eq!((row.stalls, row.is_excused), (0, true));
    store.apply(scan_step(anew(1, false))).await.unwrap();
    assert!(store.to_scan(NOW, 9).await.unwrap()[0].is_excused);
    let size = store.message(reference(1)).await.unwrap().unwrap().size;
    store
        .apply(scan_step(done(1, "X-Scan: clean\r\n")))
        .await
        .unwrap();
    assert!(scans(&store, later(9)).await.is_empty());
    let content = store.content(reference(1)).await.unwrap().unwrap();
    assert_eq!(&content.trace[..], b"X-Scan: clean\r\n");
    let grown = "X-Scan: clean\r\n".len() as u64 - "Received: x\r\n".len() as u64;
    assert_eq!(
        store.message(reference(1)).await.unwrap().unwrap().size,
        size + grown
    );
    // What has its verdict may be scanned again too.
    store.apply(scan_step(anew(1, false))).await.unwrap();
    assert_eq!(scans(&store, NOW).await, [1]);
}

#[tokio::test]
async fn what_a_measure_holds_is_scanned_when_the_measure_is_over() {
    let (store, _folder) = store();
    for (number, measure) in [(1, 7), (2, 8)] {
        store
            .accept(to_scan(message(number, &["b"]), NOW))
            .await
            .unwrap();
        store
            .apply(scan_step(ScanStep::HeldBy {
                reference: reference(number),
                measure,
                due_at: later(60),
                trace: "X: y\r\n".into(),
            }))
            .await
            .unwrap();
    }
    assert!(scans(&store, NOW).await.is_empty());
    store.end_holds(vec![7, 8], NOW).await.unwrap();
    assert!(scans(&store, NOW).await.is_empty());
    store.end_holds(vec![8], NOW).await.unwrap();
    assert_eq!(scans(&store, NOW).await, [1]);
    assert_eq!(scans(&store, later(60)).await, [1, 2]);
    let content = store.content(reference(2)).await.unwrap().unwrap();
    assert_eq!(&content.trace[..], b"X: y\r\n");
}

fn catch(number: u64, recipient: u32, at: Timestamp) -> Arc<Change> {
    let to = step(
        id(number, recipient),
        &[State::Unscanned],
        State::Quarantined,
    );
    Arc::new(Change {
        recipients: vec![to],
        scans: vec![done(number, "X: y\r\n")],
        caught: vec![Caught {
            reference: reference(number),
            at,
            malware: "Eicar in a.doc".to_owned(),
            engine: "clamd".to_owned(),
            reason: "clamd found Eicar in a.doc".to_owned(),
        }],
        ..Change::default()
    })
}

async fn in_quarantine(store: &Arc<dyn Store>) -> Vec<(u64, Vec<String>)> {
    let caught = store.quarantined(None, 9).await.unwrap();
    let one = |it: ilbud::spool::store::CaughtMessage| (it.reference.number(), it.recipients);
    caught.into_iter().map(one).collect()
}

#[tokio::test]
async fn what_was_caught_lies_in_quarantine_until_it_is_let_out_or_done_away_with() {
    for keep_bodies in [Duration::ZERO, Duration::from_secs(60)] {
        let (store, _folder) = fresh_store(keep_bodies);
        for number in [1, 2, 3] {
            store
                .accept(to_scan(message(number, &["b", "c"]), NOW))
                .await
                .unwrap();
            store.apply(catch(number, 0, later(number))).await.unwrap();
        }
        let b = vec!["vakt@b.nodnett.test".to_owned()];
        let all = [(3, b.clone()), (2, b.clone()), (1, b.clone())];
        assert_eq!(in_quarantine(&store).await, all);
        let old = |seconds| store.caught_before(later(seconds), 9);
        assert!(old(1).await.unwrap().is_empty());
        assert_eq!(old(3).await.unwrap(), [reference(1), reference(2)]);
        // Waits for nothing.
        let waits = waiting(&store, WaitingFilter::default()).await.unwrap();
        assert!(waits.iter().all(|it| it.id.number == 1), "{waits:?}");
        // Another recipient still waits, so the bytes stay.
        let gone = step(id(1, 0), &[State::Quarantined], State::Cancelled);
        store.apply(change(vec![gone])).await.unwrap();
        assert!(store.content(reference(1)).await.unwrap().is_some());
        // Nobody else does, so they go at once, however long others are kept.
        let other = step(id(2, 1), &[State::Unscanned], State::Cancelled);
        store.apply(change(vec![other])).await.unwrap();
        let gone = step(id(2, 0), &[State::Quarantined], State::Cancelled);
        store.apply(change(vec![gone])).await.unwrap();
        assert!(store.content(reference(2)).await.unwrap().is_none());
        let out = step(id(3, 0), &[State::Quarantined], State::Queued);
        store.apply(change(vec![out])).await.unwrap();
        assert!(in_quarantine(&store).await.is_empty());
        assert!(store.content(reference(3)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn who_was_faster_than_a_verdict_leaves_nothing_of_it_behind() {
    let (store, _folder) = store();
    store
        .accept(to_scan(message(1, &["b", "c"]), NOW))
        .await
        .unwrap();
    let hold = step(id(1, 0), &[State::Unscanned], State::Held);
    store.apply(change(vec![hold])).await.unwrap();
    let applied = store.apply(catch(1, 0, NOW)).await.unwrap();
    assert!(!applied.is_made());
    assert_eq!(scans(&store, NOW).await, [1]);
    assert!(in_quarantine(&store).await.is_empty());
    let row = waiting(&store, WaitingFilter::default())
        .await
        .unwrap()
        .remove(0);
    assert!(row.awaits_scan);
}

#[tokio::test]
async fn what_is_finished_is_scanned_no_more() {
    for keep_bodies in [Duration::ZERO, Duration::from_secs(60)] {
        let (store, _folder) = fresh_store(keep_bodies);
        store
            .accept(to_scan(message(1, &["b", "c"]), NOW))
            .await
            .unwrap();
        for (recipient, left) in [(0, 1), (1, 0)] {
            let cancel = step(id(1, recipient), &[State::Unscanned], State::Cancelled);
            store.apply(change(vec![cancel])).await.unwrap();
            assert_eq!(store.unscanned().await.unwrap(), left, "{keep_bodies:?}");
        }
    }
}

#[tokio::test]
async fn how_the_engines_stand_is_what_was_said_last() {
    let (store, _folder) = store();
    assert!(store.engines().await.unwrap().is_empty());
    let down = EngineRow {
        engine: "uvscan".to_owned(),
        kind: "command".to_owned(),
        down: Some("it is gone".to_owned()),
        since: NOW,
        version: None,
        signatures: None,
        signatures_at: None,
        self_test: None,
        p50_ms: None,
        p99_ms: None,
    };
    let up = EngineRow {
        engine: "clamd".to_owned(),
        kind: "clamd".to_owned(),
        down: None,
        version: Some("ClamAV 1.4.3".to_owned()),
        signatures: Some("27600".to_owned()),
        signatures_at: Some(later(1)),
        self_test: Some(("found".to_owned(), later(2))),
        p50_ms: Some(3),
        p99_ms: Some(40),
        ..down.clone()
    };
    let both = vec![up.clone(), down.clone()];
    store.engines_stand(later(3), both).await.unwrap();
    let told = store.engines().await.unwrap();
    assert_eq!(told, [(later(3), up), (later(3), down.clone())]);
    store
        .engines_stand(later(4), vec![down.clone()])
        .await
        .unwrap();
    assert_eq!(store.engines().await.unwrap(), [(later(4), down)]);
}

#[tokio::test]
async fn what_waits_for_its_scan_is_counted() {
    let (store, _folder) = store();
    assert_eq!(store.scan_queue().await.unwrap(), ScanQueue::default());
    for (number, level) in [(7, 0), (8, 4), (9, 0)] {
        let mut message = urgent(message(number, &["b"]), level);
        message.scan = Some(NewScan {
            due_at: NOW,
            ..NewScan::default()
        });
        store.accept(message).await.unwrap();
    }
    let poison = Change {
        scans: vec![ScanStep::Again {
            reference: reference(9),
            due_at: None,
            attempts: 5,
            stalls: 5,
            answers: 0,
            reason: "it stalls".to_owned(),
        }],
        ..Change::default()
    };
    store.apply(Arc::new(poison)).await.unwrap();
    let queue = store.scan_queue().await.unwrap();
    assert_eq!((queue.waiting, queue.urgent, queue.poison), (3, 1, 1));
    assert!(queue.oldest_at.is_some());
}

#[tokio::test]
async fn what_came_of_a_scan_is_void_once_a_new_one_is_asked_for() {
    let (store, _folder) = store();
    let mut unscanned = message(1, &["b"]);
    unscanned.recipients[0].state = State::Unscanned;
    let (due_at, held_by) = (NOW, None);
    unscanned.scan = Some(NewScan {
        due_at,
        held_by,
        ..NewScan::default()
    });
    store.accept(unscanned).await.unwrap();
    let row = store.to_scan(NOW, 1).await.unwrap().remove(0);
    let verdict = || Change {
        scan_of: Some((row.reference, row.round)),
        recipients: vec![step(id(1, 0), &[State::Unscanned], State::Queued)],
        scans: vec![ScanStep::Done {
            reference: row.reference,
            trace: "X-Ilbud-Scan: clean\r\n".into(),
        }],
        ..Change::default()
    };
    let asked = ScanStep::Anew {
        reference: row.reference,
        at: NOW,
        is_excused: false,
    };
    let asked = Change {
        scans: vec![asked],
        ..Change::default()
    };
    store.apply(Arc::new(asked)).await.unwrap();
    let applied = store.apply(Arc::new(verdict())).await.unwrap();
    assert!(applied.is_void && !applied.is_made());
    let again = store.to_scan(NOW, 1).await.unwrap().remove(0);
    assert_eq!(again.round, row.round + 1);
    let verdict = Change {
        scan_of: Some((again.reference, again.round)),
        ..verdict()
    };
    assert!(store.apply(Arc::new(verdict)).await.unwrap().is_made());
    assert_eq!(store.unscanned().await.unwrap(), 0);
}
