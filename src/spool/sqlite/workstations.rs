//! Workstations as they were met, as SQL.

use rusqlite::{Connection, Row, params, types::Type};

use super::super::store::{StoreError, Workstation};
use crate::mail::{Lapse, Origin, RoomId, Sighting, Station, StationKind, Timestamp};

/// As many are remembered, and of those as many that no line of the table named: whoever scans the
/// network from many addresses pushes out others of his kind.
const MOST: u32 = 10_000;
const MOST_UNKNOWN: u32 = 2_000;

/// A sighting is never written later than this.
const LATE_MILLIS: i64 = 60 * 60 * 1000;

pub(super) fn saw(connection: &Connection, sightings: &[Sighting]) -> Result<(), StoreError> {
    for sighting in sightings {
        insert(connection, sighting)?;
    }
    forget_oldest(connection)
}

fn insert(connection: &Connection, sighting: &Sighting) -> Result<(), StoreError> {
    let Some((origin, of)) = columns(&sighting.station.origin) else {
        return Ok(());
    };
    let at = sighting.at.as_millis();
    let failed = |lapse| sighting.lapses.has(lapse).then_some(at);
    // What comes late changes nothing that is newer, unless that was under a clock that ran ahead.
    connection
        .prepare_cached(
            "INSERT INTO workstation VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT DO UPDATE SET
                 address = iif(last_seen_at NOT BETWEEN ?6 + 1 AND ?6 + ?12, ?5, address),
                 tls = iif(last_seen_at NOT BETWEEN ?6 + 1 AND ?6 + ?12, ?7, tls),
                 certificate_ends_at =
                     iif(last_seen_at NOT BETWEEN ?6 + 1 AND ?6 + ?12, ?8, certificate_ends_at),
                 first_seen_at = min(first_seen_at, ?6),
                 last_seen_at = iif(last_seen_at NOT BETWEEN ?6 + 1 AND ?6 + ?12, ?6, last_seen_at),
                 missing_tls_at = coalesce(max(missing_tls_at, ?9), missing_tls_at, ?9),
                 bare_newlines_at = coalesce(max(bare_newlines_at, ?10), bare_newlines_at, ?10),
                 unknown_workstation_at = iif(last_seen_at NOT BETWEEN ?6 + 1 AND ?6 + ?12, ?11,
                     unknown_workstation_at)",
        )?
        .execute(params![
            origin,
            of,
            sighting.station.kind.word(),
            sighting.station.name,
            sighting.address.to_string(),
            at,
            sighting.tls,
            sighting.certificate_ends_at.map(Timestamp::as_millis),
            failed(Lapse::MissingTls),
            failed(Lapse::BareNewlines),
            failed(Lapse::UnknownWorkstation),
            LATE_MILLIS,
        ])?;
    Ok(())
}

/// The relay itself is nobody's workstation.
fn columns(origin: &Origin) -> Option<(&'static str, &str)> {
    match origin {
        Origin::Room(room) => Some(("room", room.as_str())),
        Origin::Gateway(name) => Some(("gateway", name)),
        Origin::Relay => None,
    }
}

fn forget_oldest(connection: &Connection) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM workstation WHERE (origin, of, kind, name) IN
                 (SELECT origin, of, kind, name FROM workstation
                  WHERE unknown_workstation_at IS NOT NULL
                  ORDER BY unknown_workstation_at DESC LIMIT -1 OFFSET ?1)",
        )?
        .execute([MOST_UNKNOWN])?;
    connection
        .prepare_cached(
            "DELETE FROM workstation WHERE (origin, of, kind, name) IN
                 (SELECT origin, of, kind, name FROM workstation
                  ORDER BY last_seen_at DESC LIMIT -1 OFFSET ?1)",
        )?
        .execute([MOST])?;
    Ok(())
}

pub(super) fn all(connection: &Connection) -> Result<Vec<Workstation>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT origin, of, kind, name, address, first_seen_at, last_seen_at, tls,
             certificate_ends_at, missing_tls_at, bare_newlines_at, unknown_workstation_at
         FROM workstation ORDER BY origin DESC, of, kind, name",
    )?;
    let found = statement.query_map([], to_workstation)?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn to_workstation(row: &Row<'_>) -> rusqlite::Result<Workstation> {
    let time = |column| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row
            .get::<_, Option<i64>>(column)?
            .map(Timestamp::from_millis))
    };
    let of: String = row.get(1)?;
    let origin = match row.get::<_, String>(0)?.as_str() {
        "room" => Origin::Room(RoomId::new(&of)),
        _ => Origin::Gateway(of),
    };
    let kind: String = row.get(2)?;
    let known = StationKind::ALL.into_iter().find(|it| it.word() == kind);
    let kind = known.ok_or_else(|| rusqlite::Error::InvalidColumnType(2, kind, Type::Text))?;
    let mut failed = Vec::new();
    for (lapse, column) in [
        (Lapse::MissingTls, 9),
        (Lapse::BareNewlines, 10),
        (Lapse::UnknownWorkstation, 11),
    ] {
        failed.extend(time(column)?.map(|at| (lapse, at)));
    }
    Ok(Workstation {
        station: Station {
            origin,
            kind,
            name: row.get(3)?,
        },
        address: row.get(4)?,
        first_seen_at: Timestamp::from_millis(row.get(5)?),
        last_seen_at: Timestamp::from_millis(row.get(6)?),
        tls: row.get(7)?,
        certificate_ends_at: time(8)?,
        failed,
    })
}
