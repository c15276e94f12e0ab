//! Passwords of workstations as people handle them: set, list, remove.
//!
//! Looked up at each login, so that a change is in force at the next one.

use std::fmt;
use std::sync::Arc;

use super::routes;
use crate::credential::{self, Password, PasswordFault, Verifiers};
use crate::mail::Timestamp;
use crate::nearest::nearest;
use crate::policy::table::{RoutingTable, Source};
use crate::spool::store::{Credential, Store, StoreError};
use crate::tls;

/// Why nothing was changed.
#[derive(Debug)]
pub enum Refused {
    Name(String),
    Password(PasswordFault),
    /// With the name that was perhaps meant.
    Unknown(String, Option<String>),
    Store(StoreError),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(written) => write!(f, "{written:?} is no user's name"),
            Self::Password(fault) => fault.fmt(f),
            Self::Unknown(user, None) => write!(f, "user {user:?} has no password"),
            Self::Unknown(user, Some(near)) => {
                write!(f, "user {user:?} has no password; did you mean {near:?}?")
            }
            Self::Store(fault) => fault.fmt(f),
        }
    }
}

impl From<StoreError> for Refused {
    fn from(fault: StoreError) -> Self {
        Self::Store(fault)
    }
}

/// The name as it is kept.
pub fn user(written: &str) -> Result<String, Refused> {
    credential::user_name(written).ok_or_else(|| Refused::Name(written.to_owned()))
}

/// Sets a user's password, in the place of the one before, if any.
pub async fn set(
    store: &Arc<dyn Store>,
    user: String,
    password: &Password,
    now: Timestamp,
) -> Result<(), Refused> {
    let random = || tls::random().map_err(|fault| StoreError::Down(fault.to_string()));
    let salts = [random()?, random()?];
    let verifiers = Verifiers::of(&user, password, salts).map_err(Refused::Password)?;
    Ok(store.set_credential(user, verifiers, now).await?)
}

/// A user who can log in, and the rooms of whose workstations it is one.
#[derive(Debug)]
pub struct Listed {
    pub credential: Credential,
    pub rooms: Vec<String>,
}

pub async fn list(store: &Arc<dyn Store>) -> Result<Vec<Listed>, Refused> {
    let table = routes::current(store).await?.map(|(_, table)| table);
    let listed = |credential: Credential| Listed {
        rooms: rooms(table.as_ref(), &credential.user),
        credential,
    };
    Ok(store.credentials().await?.into_iter().map(listed).collect())
}

fn rooms(table: Option<&RoutingTable>, user: &str) -> Vec<String> {
    let is_of = |source: &Source| matches!(source, Source::User(name) if name == user);
    let rooms = table.into_iter().flat_map(RoutingTable::rooms);
    rooms
        .filter(|room| room.workstations.iter().any(is_of))
        .map(|room| room.id.to_string())
        .collect()
}

/// What is odd about this user, if anything.
pub async fn doubt(store: &Arc<dyn Store>, user: &str) -> Result<Option<String>, Refused> {
    let table = routes::current(store).await?.map(|(_, table)| table);
    Ok(rooms(table.as_ref(), user).is_empty().then(|| {
        format!(
            "no room has a workstation with user = {user:?} yet; until the routing table has, \
             {user:?} may log in and send for no room"
        )
    }))
}

pub async fn remove(store: &Arc<dyn Store>, user: String) -> Result<(), Refused> {
    if store.remove_credential(user.clone()).await? {
        return Ok(());
    }
    let known = store.credentials().await?;
    let near = nearest(&user, known.iter().map(|it| it.user.as_str())).map(str::to_owned);
    Err(Refused::Unknown(user, near))
}
