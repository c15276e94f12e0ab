//! `ilbud route room` and `workstation`: what is typed becomes an `Edit`.

use std::borrow::Cow;

use clap::{ArgGroup, Args, Subcommand};

use super::{How, Order, room};
use crate::mail::RoomId;
use crate::nearest::nearest;
use crate::ops::edits::{self, Edit, Keys};
use crate::policy::edit::Said;
use crate::policy::keys;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Room {
    /// Register a room; the first one begins a table
    Add(Box<AddRoom>),
    /// Set keys of a room, and unset others; a list that is given takes the place of the old one
    Set(Box<SetRoom>),
    /// Take no mail for a room for now: senders hear whom to call instead; it may still send
    ///
    /// What was taken for it before waits. While the room is redirected, its mail goes there.
    Disable(OneRoom),
    /// Take mail for a room again
    Enable(OneRoom),
    /// Take a room out of the table; refused while anything mentions it
    Remove(RemoveRoom),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct OneRoom {
    /// Its id
    #[arg(value_name = "ROOM", value_parser = room)]
    room: RoomId,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveRoom {
    /// Its id
    #[arg(value_name = "ROOM", value_parser = room)]
    room: RoomId,
    /// Take it out of groups, redirects and accepts_from, too
    #[arg(long)]
    with_mentions: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AddRoom {
    /// Its id
    #[arg(value_name = "ROOM", value_parser = room)]
    room: RoomId,
    #[arg(long)]
    name: String,
    /// Repeated for several, the first one is the room's own
    #[arg(long = "domain", value_name = "DOMAIN", required = true)]
    domains: Vec<String>,
    /// Repeated for several, tried in order
    #[arg(long = "next-hop", value_name = "URL", required = true)]
    next_hops: Vec<String>,
    #[command(flatten)]
    details: Details,
    #[command(flatten)]
    workstations: Sources,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
#[command(override_usage = "ilbud route room set ROOM [OPTIONS]")]
#[command(group(ArgGroup::new("anything").required(true).multiple(true).args([
    "name", "domains", "next_hops", "kind", "phone", "recipients", "accepts_from", "warn_after",
    "give_up_after", "priority_ceiling", "bare_newlines", "missing_tls", "unknown_workstations", "scan", "unset",
])))]
pub(in crate::cli) struct SetRoom {
    /// Its id
    #[arg(value_name = "ROOM", value_parser = room)]
    room: RoomId,
    #[arg(long)]
    name: Option<String>,
    /// Repeated for several, the first one is the room's own
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,
    /// Repeated for several, tried in order
    #[arg(long = "next-hop", value_name = "URL")]
    next_hops: Vec<String>,
    #[command(flatten)]
    details: Details,
    /// Leave a key out, so that it is as it is unsaid: phone, recipients, strictness.missing_tls, …
    #[arg(long, value_name = "KEY", value_parser = unsettable)]
    unset: Vec<String>,
    #[command(flatten)]
    how: How,
}

/// A key that a room may do without.
fn unsettable(typed: &str) -> Result<String, String> {
    let keys = keys::unsettable();
    if keys.iter().any(|it| it == typed) {
        return Ok(typed.to_owned());
    }
    let known = || keys.iter().map(String::as_str);
    Err(match nearest(typed, known()) {
        Some(near) => format!("no such key can be unset; did you mean {near}?"),
        None => format!("only these can be unset: {}", keys.join(", ")),
    })
}

/// `macros=refuse`: a key, and what it is to say.
fn scan(typed: &str) -> Result<(String, String), String> {
    let Some((key, word)) = typed.split_once('=') else {
        return Err("write for example macros=refuse or on_failure=reject".to_owned());
    };
    let (key, word) = (key.trim(), word.trim());
    if keys::of_scan().any(|it| it == key) {
        return Ok((format!("scan.{key}"), word.to_owned()));
    }
    Err(match nearest(key, keys::of_scan()) {
        Some(near) => format!("no rule is called {key:?}; did you mean {near}?"),
        None => format!(
            "write one of: {}",
            keys::of_scan().collect::<Vec<_>>().join(", ")
        ),
    })
}

/// What a room may say.
#[derive(Debug, Args)]
#[group(skip)]
pub(in crate::cli) struct Details {
    /// amk, legevakt, akuttmottak or other
    #[arg(long)]
    kind: Option<String>,
    /// Told to senders who must call instead
    #[arg(long)]
    phone: Option<String>,
    /// The mailboxes that it has, and no others
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    recipients: Option<Vec<String>>,
    /// Which rooms may write to it
    #[arg(long, value_name = "any|ROOM,ROOM")]
    accepts_from: Option<String>,
    /// When senders to it are told that it is late
    #[arg(long, value_name = "5m")]
    warn_after: Option<String>,
    /// When senders to it are told that it failed
    #[arg(long, value_name = "4h")]
    give_up_after: Option<String>,
    /// The most urgent that its own mail may be
    #[arg(long, value_name = "0…9", value_parser = clap::value_parser!(u8).range(..10))]
    priority_ceiling: Option<u8>,
    /// report, warn or enforce
    #[arg(long, value_name = "STRICTNESS")]
    bare_newlines: Option<String>,
    /// report, warn or enforce
    #[arg(long, value_name = "STRICTNESS")]
    missing_tls: Option<String>,
    /// report, warn or enforce
    #[arg(long, value_name = "STRICTNESS")]
    unknown_workstations: Option<String>,
    /// Repeated for several: on_failure=reject, or the action of a rule: macros=refuse, quarantine or mark
    #[arg(long, value_name = "KEY=WORD", value_parser = scan)]
    scan: Vec<(String, String)>,
}

impl Details {
    fn keys(&self) -> Keys {
        let list = |it: &Vec<String>| Said::List(trimmed(it));
        let text = |it: &Option<String>| it.as_ref().map(Said::text);
        let keys = [
            ("kind", text(&self.kind)),
            ("phone", text(&self.phone)),
            ("recipients", self.recipients.as_ref().map(list)),
            ("accepts_from", self.accepts_from.as_deref().map(rooms)),
            ("warn_after", text(&self.warn_after)),
            ("give_up_after", text(&self.give_up_after)),
            ("priority_ceiling", self.priority_ceiling.map(Said::Number)),
            ("strictness.bare_newlines", text(&self.bare_newlines)),
            ("strictness.missing_tls", text(&self.missing_tls)),
            (
                "strictness.unknown_workstations",
                text(&self.unknown_workstations),
            ),
        ];
        let scan = self.scan.iter();
        let scan = scan.map(|(key, word)| (Cow::Owned(key.clone()), Said::text(word)));
        said(keys).into_iter().chain(scan).collect()
    }
}

/// After a comma comes a space, as people write.
fn trimmed(items: &[String]) -> Vec<String> {
    items.iter().map(|it| it.trim().to_owned()).collect()
}

/// `any`, or a list of rooms.
fn rooms(text: &str) -> Said {
    match text {
        "any" => Said::text(text),
        rooms => Said::List(rooms.split(',').map(|it| it.trim().to_owned()).collect()),
    }
}

pub(super) fn said<const N: usize>(keys: [(&'static str, Option<Said>); N]) -> Keys {
    let said = |(key, said): (&'static str, Option<Said>)| Some((key.into(), said?));
    keys.into_iter().filter_map(said).collect()
}

/// What a workstation is known by.
#[derive(Debug, Args)]
#[group(skip)]
pub(in crate::cli) struct Sources {
    /// The network that it is in, or its address
    #[arg(long = "network", value_name = "N")]
    networks: Vec<String>,
    /// A DNS name in its certificate
    #[arg(long = "certificate", value_name = "C")]
    certificates: Vec<String>,
    /// The user that it logs in as
    #[arg(long = "user", value_name = "U")]
    users: Vec<String>,
}

impl Sources {
    pub(super) fn workstations(&self) -> Vec<edits::Workstation> {
        let all = [
            ("network", &self.networks),
            ("certificate", &self.certificates),
            ("user", &self.users),
        ];
        let named = |(key, names): (&'static str, &Vec<String>)| {
            let names = names.clone().into_iter();
            names.map(move |name| (key, name)).collect::<Vec<_>>()
        };
        all.into_iter().flat_map(named).collect()
    }
}

impl Room {
    pub(in crate::cli::route) fn order(&self) -> Order<'_> {
        let id = |room: &RoomId| room.clone();
        let (edit, how) = match self {
            Self::Add(it) => (it.edit(), &it.how),
            Self::Set(it) => (it.edit(), &it.how),
            Self::Disable(it) => (Edit::Disable(id(&it.room), true), &it.how),
            Self::Enable(it) => (Edit::Disable(id(&it.room), false), &it.how),
            Self::Remove(it) => (Edit::RemoveRoom(id(&it.room), it.with_mentions), &it.how),
        };
        Order::new(edit, how)
    }
}

impl AddRoom {
    fn edit(&self) -> Edit {
        let mut keys = said([
            ("name", Some(Said::text(&self.name))),
            ("domains", Some(Said::List(self.domains.clone()))),
            ("next_hops", Some(Said::List(self.next_hops.clone()))),
        ]);
        keys.extend(self.details.keys());
        Edit::AddRoom(self.room.clone(), keys, self.workstations.workstations())
    }
}

impl SetRoom {
    fn edit(&self) -> Edit {
        let list = |it: &Vec<String>| (!it.is_empty()).then(|| Said::List(it.clone()));
        let mut keys = said([
            ("name", self.name.as_ref().map(Said::text)),
            ("domains", list(&self.domains)),
            ("next_hops", list(&self.next_hops)),
        ]);
        keys.extend(self.details.keys());
        Edit::SetRoom(self.room.clone(), keys, self.unset.clone())
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Workstation {
    /// Let a workstation send as ROOM
    Add(Workstations),
    /// Let it no longer
    Remove(Workstations),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("anything").required(true).multiple(true).args([
    "networks", "certificates", "users",
])))]
pub(in crate::cli) struct Workstations {
    /// Its id
    #[arg(value_name = "ROOM", value_parser = room)]
    room: RoomId,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    how: How,
}

impl Workstation {
    pub(in crate::cli::route) fn order(&self) -> Order<'_> {
        let (make, it): (fn(_, _) -> _, _) = match self {
            Self::Add(it) => (Edit::AddWorkstations, it),
            Self::Remove(it) => (Edit::RemoveWorkstations, it),
        };
        let edit = make(it.room.clone(), it.sources.workstations());
        Order::new(edit, &it.how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_room_has_its_option_and_one_is_enough_for_set() {
        let command = SetRoom::augment_args(clap::Command::new("set"));
        let mut groups = command.get_groups();
        let enough = groups.find(|it| it.get_id() == "anything");
        let enough: Vec<&str> = enough
            .iter()
            .flat_map(|it| it.get_args())
            .map(clap::Id::as_str)
            .collect();
        for key in keys::of_room() {
            let option = match key.name.split_once('.') {
                Some(("scan", _)) => "scan",
                Some((_, within)) => within,
                None => &key.name,
            };
            // A room keeps its id, and is disabled and enabled by commands of their own.
            if ["id", "disabled"].contains(&option) {
                continue;
            }
            let mut options = command.get_arguments();
            assert!(options.any(|it| it.get_id() == option), "{option}");
            assert!(enough.contains(&option), "{option}");
        }
    }
}
