//! The verbs that change the store, as SQL. Each runs inside a savepoint of the writer's.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::store::{
    Applied, Change, Clearance, NewMessage, NewRecipient, NextLook, Portion, RecipientChange,
    RecipientId, Shift, StoreError, Waiting,
};
use super::chain::{self, NewRow};
use super::read::{self, WaitingLane};
use super::{members, scans};
use crate::mail::event::State;
use crate::mail::{
    Address, Attachment, ByMode, DeliverBy, Event, EventKind, Reference, Refusal, Return, RoomId,
    Timestamp, Waiver,
};

/// Free pages worth giving back to the file system, and how many at a time (4 KiB each).
const SPARE_PAGES: i64 = 4096;
const GIVEN_BACK_PAGES: u32 = 1024;
/// Contents that `purge` looks at, at a time.
const PURGED: u32 = 500;
/// Rows that are made due at a time, so that mail is not held up.
const DUE_AT_A_TIME: usize = 100;
/// Of each portion taken from the store, one part in so many goes to each priority that waits, so
/// that none waits for all that is more urgent.
const FAIR: usize = 5;
/// Octets of contents that `purge` looks at, at a time: freeing a page costs as much as writing it.
const PURGED_OCTETS: u64 = 32 << 20;

pub(super) fn accept(connection: &Connection, message: &NewMessage) -> Result<(), StoreError> {
    insert_message(connection, message)?;
    insert_content(connection, message)?;
    for (number, recipient) in message.recipients.iter().enumerate() {
        insert_recipient(connection, message, number, recipient)?;
    }
    if let Some(scan) = message.scan {
        scans::insert(connection, message.reference, scan)?;
    }
    let members = insert_attachments(connection, message.reference, &message.facts.attachments)?;
    let mut covers = Some(covers("message attachments", &members));
    let mut left_out = message.left_out.iter();
    for event in &message.events {
        let refusal = match event.kind {
            EventKind::LeftOut => left_out.next(),
            _ => None,
        };
        let covers = match refusal {
            Some(refusal) => Some(format!("refusal:{}", insert_refusal(connection, refusal)?)),
            None => covers.take_if(|_| event.reference == message.reference),
        };
        insert_covering(connection, event, covers.as_deref())?;
    }
    left_out.try_for_each(|row| insert_refusal(connection, row).map(drop))
}

/// What a row of the log speaks for, with members that came beside it.
fn covers(what: &str, members: &Range<usize>) -> String {
    match members.is_empty() {
        true => what.to_owned(),
        false => format!("{what} members:{}-{}", members.start, members.end),
    }
}

fn insert_message(connection: &Connection, message: &NewMessage) -> Result<(), StoreError> {
    let terms = &message.terms;
    connection
        .prepare_cached(
            "INSERT INTO message (reference, accepted_at, sender, sender_room, client, smtputf8,
                 eight_bit, size, subject, message_id, require_tls, deliver_by, deliver_by_mode,
                 ret, envelope_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            number(message.reference),
            message.accepted_at.as_millis(),
            message.sender.as_ref().map(Address::to_string),
            message.sender_room.as_ref().map(RoomId::as_str),
            message.client,
            message.smtputf8,
            message.eight_bit,
            message.content.len() as i64,
            message.facts.subject,
            message.facts.message_id,
            terms.require_tls,
            terms.deliver_by.map(|it| it.at.as_millis()),
            terms.deliver_by.map(by_mode),
            terms.ret.map(Return::word),
            terms.envelope_id,
        ])?;
    Ok(())
}

/// The mode of RFC 2852 §4 with its trace modifier.
const fn by_mode(deliver_by: DeliverBy) -> &'static str {
    match (deliver_by.mode, deliver_by.trace) {
        (ByMode::Return, false) => "R",
        (ByMode::Return, true) => "RT",
        (ByMode::Notify, false) => "N",
        (ByMode::Notify, true) => "NT",
    }
}

fn insert_content(connection: &Connection, message: &NewMessage) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO content (reference, trace, bytes) VALUES (?1, ?2, ?3)")?
        .execute(params![
            number(message.reference),
            &message.content.trace[..],
            &message.content.bytes[..]
        ])?;
    Ok(())
}

fn insert_recipient(
    connection: &Connection,
    message: &NewMessage,
    place: usize,
    recipient: &NewRecipient,
) -> Result<(), StoreError> {
    let next = recipient.next_attempt_at.as_millis();
    let due =
        is_due_some_day(recipient.state).then(|| next.max(recipient.leased_until.as_millis()));
    connection
        .prepare_cached(
            "INSERT INTO recipient (reference, number, address, room, state, attempts,
                 next_attempt_at, due_at, priority, notify, original, look_at, last_reply, waiver)
             VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            number(message.reference),
            place as i64,
            recipient.address.to_string(),
            recipient.room.as_str(),
            recipient.state.word(),
            next,
            due,
            message.terms.priority.level(),
            recipient.wishes.notify.map(|it| it.to_string()),
            recipient.wishes.original,
            recipient.look_at.as_millis(),
            recipient.reason,
            recipient.waiver.map(waiver),
        ])?;
    Ok(())
}

/// A message that is refused has a row for each recipient, and its attachments, and what is inside of them,
/// once.
fn insert_attachments(
    connection: &Connection,
    reference: Reference,
    attachments: &[Attachment],
) -> Result<Range<usize>, StoreError> {
    let own = attachments.iter().filter(|it| it.within.is_none());
    for (place, attachment) in own.enumerate() {
        connection
            .prepare_cached(
                "INSERT INTO attachment (reference, number, name, size, sha256, kind)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                number(reference),
                place as i64,
                attachment.name,
                attachment.size.unwrap_or_default().cast_signed(),
                attachment.sha256,
                attachment.kind.word()
            ])?;
    }
    members::add(connection, reference, attachments)
}

pub(super) fn insert_event(connection: &Connection, event: &Event) -> Result<(), StoreError> {
    insert_covering(connection, event, None)
}

fn insert_covering(
    connection: &Connection,
    event: &Event,
    covers: Option<&str>,
) -> Result<(), StoreError> {
    let details = serde_json::to_string(&event.details)
        .map_err(|fault| StoreError::Corrupt(fault.to_string()))?;
    let recipient = event.recipient.as_ref().map(Address::to_string);
    let row = NewRow {
        reference: number(event.reference),
        at: event.at.as_millis(),
        kind: event.kind.word(),
        recipient: recipient.as_deref(),
        details: &details,
        covers,
    };
    chain::append(connection, &row)
}

pub(super) fn apply(
    connection: &Connection,
    change: &Change,
    keep_bodies: bool,
) -> Result<Applied, StoreError> {
    let mut applied = Applied::default();
    if let Some((scan, round)) = change.scan_of
        && scans::is_void(connection, scan, round)?
    {
        applied.is_void = true;
        return Ok(applied);
    }
    if !change.messages.is_empty() {
        applied.skipped = overtaken(connection, change)?;
        applied.is_undone = !applied.skipped.is_empty();
        if applied.is_undone {
            return Ok(applied);
        }
    }
    let mut steps: Vec<&Event> = Vec::new();
    let mut finished = BTreeSet::new();
    let mut done_away = BTreeSet::new();
    for step in &change.recipients {
        if !move_recipient(connection, step)? {
            applied.skipped.push(step.id);
            continue;
        }
        steps.extend(&step.event);
        if is_over(step) {
            finished.insert(step.id.reference);
        }
        if step.from.contains(&State::Quarantined) {
            scans::let_out(connection, step.id.reference)?;
            if is_over(step) {
                done_away.insert(step.id.reference);
            }
        }
    }
    if !change.recipients.is_empty() && applied.skipped.len() == change.recipients.len() {
        applied.is_undone = true;
        return Ok(applied);
    }
    change
        .scans
        .iter()
        .try_for_each(|step| scans::apply(connection, step))?;
    for caught in &change.caught {
        scans::catch(connection, caught)?;
        // Somebody may have been faster with all of its recipients.
        scans::let_out(connection, caught.reference)?;
    }
    let mut inside = Vec::new();
    for (reference, files) in &change.inside {
        let members = members::add(connection, *reference, files)?;
        inside.push((*reference, members));
    }
    for reference in finished {
        // What was caught is not kept as other bodies are.
        if !keep_bodies || done_away.contains(&reference) {
            delete_finished_content(connection, reference)?;
        }
        scans::finish(connection, reference)?;
    }
    // What happened to the message as a whole, such as its scan, is why something became of its recipients.
    let (of_all, of_one): (Vec<&Event>, Vec<&Event>) =
        change.events.iter().partition(|it| it.recipient.is_none());
    of_all
        .into_iter()
        .chain(steps)
        .chain(of_one)
        .try_for_each(|event| {
            let mut found = inside.iter_mut();
            let found = found.find(|(of, members)| *of == event.reference && !members.is_empty());
            let members = found.map(|(_, members)| std::mem::take(members));
            let covers = members.map(|it| format!("members:{}-{}", it.start, it.end));
            insert_covering(connection, event, covers.as_deref())
        })?;
    change
        .messages
        .iter()
        .try_for_each(|message| accept(connection, message))?;
    Ok(applied)
}

/// Recipients that are no longer in a state that their step may start from.
fn overtaken(connection: &Connection, change: &Change) -> Result<Vec<RecipientId>, StoreError> {
    let mut state = connection
        .prepare_cached("SELECT state FROM recipient WHERE reference = ?1 AND number = ?2")?;
    let mut late = Vec::new();
    for step in &change.recipients {
        let now: Option<String> = state
            .query_row(params![number(step.id.reference), step.id.number], |row| {
                row.get(0)
            })
            .optional()?;
        if !step
            .from
            .iter()
            .any(|from| now.as_deref() == Some(from.word()))
        {
            late.push(step.id);
        }
    }
    Ok(late)
}

/// Whether nothing more is to become of the recipient, so that its message's bytes may go.
fn is_over(step: &RecipientChange) -> bool {
    step.to.is_some_and(State::is_final) || (step.to.is_none() && step.next_look == NextLook::Never)
}

/// Whether the recipient was in a state that the step may start from.
fn move_recipient(connection: &Connection, step: &RecipientChange) -> Result<bool, StoreError> {
    let changed = match step.to {
        Some(to) => move_to(connection, step, to)?,
        None => touch(connection, step)?,
    };
    Ok(changed == 1)
}

fn move_to(
    connection: &Connection,
    step: &RecipientChange,
    to: State,
) -> Result<usize, StoreError> {
    let finished_at = step
        .event
        .as_ref()
        .map_or_else(Timestamp::now, |event| event.at);
    let from = |place: usize| step.from.get(place).map(|state| state.word());
    let keeps_look = step.next_look == NextLook::AsBefore && !to.is_final();
    Ok(connection
        .prepare_cached(
            "UPDATE recipient SET state = ?3, attempts = coalesce(?4, attempts),
                 next_attempt_at = coalesce(?5, next_attempt_at),
                 due_at = CASE WHEN ?6 THEN coalesce(?5, next_attempt_at) END,
                 last_reply = coalesce(?7, last_reply), finished_at = ?8, told = told | ?15,
                 doubtful = doubtful | ?16,
                 start = coalesce(?17, start), of_late = coalesce(?18, of_late),
                 look_at = CASE WHEN ?19 THEN look_at ELSE ?20 END,
                 waiver = CASE WHEN ?21 THEN waiver ELSE ?22 END
             WHERE reference = ?1 AND number = ?2
                 AND (state = ?9 OR state = ?10 OR state = ?11 OR state = ?12 OR state = ?13
                     OR state = ?14)",
        )?
        .execute(params![
            number(step.id.reference),
            step.id.number,
            to.word(),
            step.attempts,
            step.next_attempt_at.map(Timestamp::as_millis),
            is_due_some_day(to),
            step.last_reply,
            to.is_final().then(|| finished_at.as_millis()),
            from(0),
            from(1),
            from(2),
            from(3),
            from(4),
            from(5),
            told_bits(step),
            step.is_doubtful,
            step.of_late.map(|it| it.start.as_millis()),
            step.of_late.map(|it| it.attempts),
            keeps_look,
            next_look(step),
            step.clearance == Clearance::AsBefore,
            cleared_by(step.clearance),
        ])?)
}

/// A step that leaves the recipient in its state, and under whatever lease it is.
fn touch(connection: &Connection, step: &RecipientChange) -> Result<usize, StoreError> {
    let from = |place: usize| step.from.get(place).map(|state| state.word());
    let keeps_look = step.next_look == NextLook::AsBefore;
    Ok(connection
        .prepare_cached(
            "UPDATE recipient SET last_reply = coalesce(?3, last_reply), told = told | ?10,
                 doubtful = doubtful | ?11, look_at = CASE WHEN ?12 THEN look_at ELSE ?13 END
             WHERE reference = ?1 AND number = ?2
                 AND (state = ?4 OR state = ?5 OR state = ?6 OR state = ?7 OR state = ?8
                     OR state = ?9)",
        )?
        .execute(params![
            number(step.id.reference),
            step.id.number,
            step.last_reply,
            from(0),
            from(1),
            from(2),
            from(3),
            from(4),
            from(5),
            told_bits(step),
            step.is_doubtful,
            keeps_look,
            next_look(step),
        ])?)
}

fn next_look(step: &RecipientChange) -> Option<i64> {
    match step.next_look {
        NextLook::At(at) => Some(at.as_millis()),
        NextLook::AsBefore | NextLook::Never => None,
    }
}

fn cleared_by(clearance: Clearance) -> Option<i64> {
    match clearance {
        Clearance::Waiver(it) => Some(waiver(it)),
        Clearance::AsBefore | Clearance::Scan => None,
    }
}

/// Exceptions are numbered from 1.
fn waiver(waiver: Waiver) -> i64 {
    waiver.exception().map_or(0, u64::cast_signed)
}

const fn told_bits(step: &RecipientChange) -> u8 {
    step.told.late as u8 | (step.told.overdue as u8) << 1
}

fn delete_finished_content(
    connection: &Connection,
    reference: Reference,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM content WHERE reference = ?1 AND NOT EXISTS
                 (SELECT 1 FROM recipient WHERE reference = ?1
                     AND (finished_at IS NULL OR look_at IS NOT NULL))",
        )?
        .execute([number(reference)])?;
    Ok(())
}

pub(super) fn note(connection: &Connection, refusals: &[Refusal]) -> Result<(), StoreError> {
    let mut last: Option<&Refusal> = None;
    for refusal in refusals {
        let mut speaks_for = format!("refusal:{}", insert_refusal(connection, refusal)?);
        // The rows of one message share its attachments.
        if !last.is_some_and(|it| Arc::ptr_eq(&it.attachments, &refusal.attachments)) {
            let (reference, files) = (refusal.reference, &refusal.attachments);
            let members = insert_attachments(connection, reference, files)?;
            if !files.is_empty() {
                speaks_for = covers(&format!("{speaks_for} attachments"), &members);
            }
        }
        insert_refused_event(connection, refusal, &speaks_for)?;
        last = Some(refusal);
    }
    Ok(())
}

/// Gives the number that it has.
fn insert_refusal(connection: &Connection, refusal: &Refusal) -> Result<i64, StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO refusal (reference, at, client, sender, sender_room, recipient,
                 recipient_room, subject, message_id, size, reply, count, user, certificate)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            number(refusal.reference),
            refusal.at.as_millis(),
            refusal.client.to_string(),
            refusal.sender,
            refusal.sender_room.as_ref().map(RoomId::as_str),
            refusal.recipient,
            refusal.recipient_room.as_ref().map(RoomId::as_str),
            refusal.subject,
            refusal.message_id,
            refusal.size.map(|size| size as i64),
            refusal.reply,
            refusal.count as i64,
            refusal.user,
            refusal.certificate,
        ])?;
    Ok(connection.last_insert_rowid())
}

/// Unlike other events, a refusal's recipient need not be an address at all.
fn insert_refused_event(
    connection: &Connection,
    refusal: &Refusal,
    covers: &str,
) -> Result<(), StoreError> {
    let details = serde_json::to_string(&refusal.details())
        .map_err(|fault| StoreError::Corrupt(fault.to_string()))?;
    let row = NewRow {
        reference: number(refusal.reference),
        at: refusal.at.as_millis(),
        kind: EventKind::Refused.word(),
        recipient: refusal.recipient.as_deref(),
        details: &details,
        covers: Some(covers),
    };
    chain::append(connection, &row)
}

pub(super) fn take_due(
    connection: &Connection,
    now: Timestamp,
    leased_until: Timestamp,
    usual: Portion,
    other: &HashMap<RoomId, Portion>,
) -> Result<Vec<Waiting>, StoreError> {
    let mut lanes = read::waiting_lanes(connection)?;
    let mut taken: Vec<Waiting> = Vec::new();
    let mut left: HashMap<RoomId, Portion> = HashMap::new();
    for part in [FAIR, 1] {
        let mut with_more = Vec::new();
        for lane in lanes {
            let room = RoomId::new(&lane.room);
            let portion = other.get(&room).copied().unwrap_or(usual);
            let left = left.entry(room).or_insert(portion);
            let (whole, left) = match lane.priority > 0 {
                true => (portion.urgent, &mut left.urgent),
                false => (portion.routine, &mut left.routine),
            };
            let most = whole.div_ceil(part).min(*left);
            if most > 0 {
                let due = lease_due(connection, &lane, now, leased_until, most)?;
                *left = left.saturating_sub(due.len());
                if due.len() == most {
                    with_more.push(lane);
                }
                taken.extend(due);
            }
        }
        lanes = with_more;
    }
    taken.sort_by_key(|waiting| {
        let urgency = std::cmp::Reverse(waiting.terms.priority);
        (urgency, waiting.next_attempt_at, waiting.id)
    });
    Ok(taken)
}

fn lease_due(
    connection: &Connection,
    lane: &WaitingLane,
    now: Timestamp,
    leased_until: Timestamp,
    limit: usize,
) -> Result<Vec<Waiting>, StoreError> {
    let due = read::due_in_lane(connection, lane, now, limit)?;
    let mut lease = connection
        .prepare_cached("UPDATE recipient SET due_at = ?3 WHERE reference = ?1 AND number = ?2")?;
    for waiting in &due {
        lease.execute(params![
            number(waiting.id.reference),
            waiting.id.number,
            leased_until.as_millis()
        ])?;
    }
    Ok(due)
}

pub(super) fn give_back(connection: &Connection, ids: &[RecipientId]) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "UPDATE recipient SET due_at = next_attempt_at
             WHERE reference = ?1 AND number = ?2 AND due_at IS NOT NULL",
    )?;
    for id in ids {
        statement.execute(params![number(id.reference), id.number])?;
    }
    Ok(())
}

pub(super) fn make_all_due(
    connection: &Connection,
    now: Timestamp,
    last: Reference,
    ours: &RangeInclusive<Timestamp>,
) -> Result<u64, StoreError> {
    bring_back_from_the_future(connection, now, last)?;
    let lanes = read::waiting_lanes(connection)?;
    // Every room has a share of each portion; the rest goes to the most urgent.
    let share = (DUE_AT_A_TIME / lanes.len().max(1)).max(1);
    let mut made = 0;
    for most in [share, DUE_AT_A_TIME] {
        for lane in &lanes {
            let left = DUE_AT_A_TIME.saturating_sub(made).min(most);
            if left > 0 {
                made += make_lane_due(connection, lane, now, last, ours, left)?;
            }
        }
    }
    Ok(made as u64)
}

/// The clock was ahead when these were accepted, and was put right while the relay was down. References
/// grow with time, so they stand at the end.
fn bring_back_from_the_future(
    connection: &Connection,
    now: Timestamp,
    last: Reference,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE recipient SET waits_since = ?1
             WHERE reference BETWEEN ?2 AND ?3 AND finished_at IS NULL AND coalesce(waits_since,
                 (SELECT accepted_at FROM message m WHERE m.reference = recipient.reference)) > ?1",
        )?
        .execute(params![
            now.as_millis(),
            number(Reference::first_at(now)),
            number(last)
        ])?;
    Ok(())
}

/// Leases given since the start are left alone: without that there would be no end.
fn make_lane_due(
    connection: &Connection,
    lane: &WaitingLane,
    now: Timestamp,
    last: Reference,
    ours: &RangeInclusive<Timestamp>,
    limit: usize,
) -> Result<usize, StoreError> {
    Ok(connection
        .prepare_cached(
            "UPDATE recipient SET next_attempt_at = min(next_attempt_at, ?3), due_at = ?3
             WHERE (reference, number) IN (
                 SELECT reference, number FROM recipient
                 WHERE room = ?1 AND priority = ?2 AND finished_at IS NULL AND due_at > ?3
                     AND reference <= ?4
                     AND (due_at = next_attempt_at OR due_at < ?6 OR due_at > ?7)
                 ORDER BY due_at LIMIT ?5)",
        )?
        .execute(params![
            lane.room,
            lane.priority,
            now.as_millis(),
            number(last),
            limit as i64,
            ours.start().as_millis(),
            ours.end().as_millis()
        ])?)
}

pub(super) fn make_room_due(
    connection: &Connection,
    room: &RoomId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut made = 0;
    let lanes = read::waiting_lanes(connection)?;
    for lane in lanes.iter().filter(|it| it.room == room.as_str()) {
        let left = DUE_AT_A_TIME.saturating_sub(made);
        if left > 0 {
            made += make_deferred_due(connection, lane, now, left)?;
        }
    }
    Ok(made as u64)
}

/// Leaves alone what is leased: its outcome is on the way. What would wait longest comes first, and what
/// is deferred anew meanwhile comes last, so that there is an end.
fn make_deferred_due(
    connection: &Connection,
    lane: &WaitingLane,
    now: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    Ok(connection
        .prepare_cached(
            "UPDATE recipient SET next_attempt_at = ?3, due_at = ?3
             WHERE (reference, number) IN (
                 SELECT reference, number FROM recipient
                 WHERE room = ?1 AND priority = ?2 AND finished_at IS NULL AND due_at > ?3
                     AND due_at = next_attempt_at AND state = 'deferred'
                 ORDER BY due_at DESC LIMIT ?4)",
        )?
        .execute(params![
            lane.room,
            lane.priority,
            now.as_millis(),
            limit as i64
        ])?)
}

pub(super) fn shift(
    connection: &Connection,
    shift: &Shift,
    ids: &[RecipientId],
) -> Result<(), StoreError> {
    let mut find = connection.prepare_cached(
        "SELECT m.accepted_at, r.waits_since FROM recipient r
             JOIN message m ON m.reference = r.reference
         WHERE r.reference = ?1 AND r.number = ?2 AND r.finished_at IS NULL",
    )?;
    let mut move_one = connection.prepare_cached(
        "UPDATE recipient SET next_attempt_at = next_attempt_at + ?3, due_at = due_at + ?3,
             look_at = look_at + ?3, waits_since = ?3 + ?4
         WHERE reference = ?1 AND number = ?2",
    )?;
    let time = |row: &Row<'_>, place| -> rusqlite::Result<Option<Timestamp>> {
        let millis: Option<i64> = row.get(place)?;
        Ok(millis.map(Timestamp::from_millis))
    };
    for id in ids {
        let key = params![number(id.reference), id.number];
        let times = find.query_row(key, |row| Ok((time(row, 0)?, time(row, 1)?)));
        let Some((Some(accepted_at), since)) = times.optional()? else {
            continue;
        };
        if shift.moves(id.reference, accepted_at, since) {
            move_one.execute(params![
                number(id.reference),
                id.number,
                shift.millis,
                since.unwrap_or(accepted_at).as_millis()
            ])?;
        }
    }
    Ok(())
}

pub(super) fn purge(
    connection: &Connection,
    finished_before: Timestamp,
    after: Option<Reference>,
) -> Result<Option<Reference>, StoreError> {
    let after = after.map_or(-1, number);
    let last = last_of_portion(connection, after)?;
    let Some(last) = last else { return Ok(None) };
    connection
        .prepare_cached(
            "DELETE FROM content WHERE reference > ?1 AND reference <= ?2 AND NOT EXISTS
                 (SELECT 1 FROM recipient WHERE recipient.reference = content.reference
                     AND (finished_at IS NULL OR finished_at >= ?3 OR look_at IS NOT NULL))",
        )?
        .execute([after, last, finished_before.as_millis()])?;
    Ok(Some(Reference::from_number(last.unsigned_abs())))
}

/// Where a portion of the contents ends that begins after `after`.
fn last_of_portion(connection: &Connection, after: i64) -> Result<Option<i64>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT reference, length(trace) + length(bytes) FROM content
         WHERE reference > ?1 ORDER BY reference LIMIT ?2",
    )?;
    let mut rows = statement.query(params![after, PURGED])?;
    let (mut last, mut octets) = (None, 0_u64);
    while let Some(row) = rows.next()? {
        last = Some(row.get(0)?);
        octets += row.get::<_, i64>(1)?.unsigned_abs();
        if octets >= PURGED_OCTETS {
            break;
        }
    }
    Ok(last)
}

pub(super) fn shrink(connection: &Connection) -> Result<(), StoreError> {
    let spare: i64 = connection
        .prepare_cached("PRAGMA freelist_count")?
        .query_row([], |row| row.get(0))?;
    if spare > SPARE_PAGES {
        // Steps one page at a time until told to stop, so it is read to its end.
        let mut statement =
            connection.prepare(&format!("PRAGMA incremental_vacuum({GIVEN_BACK_PAGES})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}

/// Waiting recipients in these states have a time; in the others nobody may take them.
const fn is_due_some_day(state: State) -> bool {
    matches!(state, State::Queued | State::Deferred)
}

/// References stay below 2^60, so they fit.
pub(super) const fn number(reference: Reference) -> i64 {
    reference.number() as i64
}
