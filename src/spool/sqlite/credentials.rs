//! Passwords of workstations' users, as SQL: what is kept in their place.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::store::{Credential, Known, StoreError};
use crate::credential::{Argon2id, ScramKeys, Verifiers};
use crate::mail::Timestamp;

pub(super) fn find(connection: &Connection, user: &str) -> Result<Known, StoreError> {
    let secret: Vec<u8> = connection
        .prepare_cached("SELECT octets FROM secret WHERE name = 'nobody'")?
        .query_row([], |row| row.get(0))?;
    let known = connection
        .prepare_cached(
            "SELECT used_at, scram_salt, scram_rounds, stored_key, server_key, argon2id_salt,
                 argon2id_kibibytes, argon2id_passes, argon2id_lanes, argon2id_hash
             FROM credential WHERE user = ?1",
        )?
        .query_row([user], to_known)
        .optional()?;
    // Made in any case, so that it takes no longer for one who does not exist.
    let verifiers = Verifiers::of_nobody(user, &secret);
    Ok(known.unwrap_or(Known {
        verifiers,
        used_at: None,
    }))
}

fn to_known(row: &Row<'_>) -> rusqlite::Result<Known> {
    Ok(Known {
        used_at: row.get::<_, Option<i64>>(0)?.map(Timestamp::from_millis),
        verifiers: Verifiers {
            scram: ScramKeys {
                salt: row.get(1)?,
                rounds: row.get(2)?,
                stored: row.get(3)?,
                server: row.get(4)?,
            },
            argon2id: Argon2id {
                salt: row.get(5)?,
                kibibytes: row.get(6)?,
                passes: row.get(7)?,
                lanes: row.get(8)?,
                hash: row.get(9)?,
            },
            are_real: true,
        },
    })
}

pub(super) fn all(connection: &Connection) -> Result<Vec<Credential>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT user, since, used_at FROM credential ORDER BY user")?;
    let found = statement.query_map([], |row| {
        Ok(Credential {
            user: row.get(0)?,
            since: Timestamp::from_millis(row.get(1)?),
            used_at: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_millis),
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn set(
    connection: &Connection,
    user: &str,
    verifiers: &Verifiers,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Verifiers {
        scram, argon2id, ..
    } = verifiers;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO credential (user, since, scram_salt, scram_rounds, stored_key,
                 server_key, argon2id_salt, argon2id_kibibytes, argon2id_passes, argon2id_lanes,
                 argon2id_hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            user,
            now.as_millis(),
            scram.salt,
            scram.rounds,
            &scram.stored[..],
            &scram.server[..],
            argon2id.salt,
            argon2id.kibibytes,
            argon2id.passes,
            argon2id.lanes,
            &argon2id.hash[..],
        ])?;
    Ok(())
}

pub(super) fn remove(connection: &Connection, user: &str) -> Result<bool, StoreError> {
    let removed = connection
        .prepare_cached("DELETE FROM credential WHERE user = ?1")?
        .execute([user])?;
    Ok(removed > 0)
}

pub(super) fn used(connection: &Connection, user: &str, at: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE credential SET used_at = ?2 WHERE user = ?1")?
        .execute(params![user, at.as_millis()])?;
    Ok(())
}
