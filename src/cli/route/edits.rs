//! `ilbud route room`, `workstation`, `group`, `gateway` and `redirect`: small edits without a file.
//!
//! What is typed becomes an `Edit`, which `ops::edits` makes. Nothing is decided here.

use std::borrow::Cow;
use std::sync::Arc;

use clap::{ArgGroup, Args, Subcommand};

use super::change::{self, Change};
use super::plan::{self, Subject};
use crate::cli::Failure;
use crate::config::Settings;
use crate::mail::{Address, RoomId, Rule, Timestamp};
use crate::nearest::nearest;
use crate::ops::edits::{self, Edit, Keys, Opening, Unfit};
use crate::ops::routes;
use crate::ops::when::When;
use crate::policy::edit::Said;
use crate::spool::store::Store;

/// An edit, and how it is to be made.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) edit: Edit,
    pub(super) how: &'a How,
    /// What is worth knowing of where it came from.
    pub(super) warnings: Vec<String>,
}

impl<'a> Order<'a> {
    const fn new(edit: Edit, how: &'a How) -> Self {
        Self {
            edit,
            how,
            warnings: Vec::new(),
        }
    }
}

/// The options of every small edit.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct How {
    /// Show what would change, and whose real mail would fare otherwise; change nothing
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    change: Change,
}

/// As many days of real mail as a plan asks again.
const DAYS: u32 = 7;

pub(super) async fn run(
    store: &Arc<dyn Store>,
    order: Order<'_>,
    settings: &Settings,
) -> Result<(), Failure> {
    if order.how.plan {
        return show(store, order, settings).await;
    }
    let Order {
        edit,
        how,
        warnings,
    } = order;
    change::edit(store, &edit, warnings, &how.change, settings).await
}

async fn show(
    store: &Arc<dyn Store>,
    order: Order<'_>,
    settings: &Settings,
) -> Result<(), Failure> {
    let (edit, change) = (&order.edit, &order.how.change);
    let now = Timestamp::now();
    let edited = edits::make(store, edit, &settings.surroundings(), now).await?;
    routes::expect(change.expect, edited.base)?;
    let subject = Subject {
        toml: edited.toml,
        source: String::new(),
        warnings: order.warnings,
        command: Some("the same without --plan, and with".to_owned()),
        all: false,
        edit: Some((edit, edited.known)),
    };
    plan::show(store, &subject, DAYS, change.strict, change.json, settings).await?;
    match edit {
        Edit::OpenRedirect(opening) if !change.json => change::tell_opened(opening, now, false),
        _ => Ok(()),
    }
}

impl From<Unfit> for Failure {
    fn from(why: Unfit) -> Self {
        match why.lines() {
            Ok(lines) => Self::of(lines),
            Err(refused) => Self::of_table("", refused),
        }
    }
}

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
    const KEYS: [&str; 12] = [
        "kind",
        "phone",
        "recipients",
        "accepts_from",
        "warn_after",
        "give_up_after",
        "priority_ceiling",
        "strictness",
        "strictness.bare_newlines",
        "strictness.missing_tls",
        "strictness.unknown_workstations",
        "scan",
    ];
    let scan = scan_keys().map(|key| format!("scan.{key}"));
    let keys: Vec<String> = KEYS.map(str::to_owned).into_iter().chain(scan).collect();
    if keys.iter().any(|it| it == typed) {
        return Ok(typed.to_owned());
    }
    let known = || keys.iter().map(String::as_str);
    Err(match nearest(typed, known()) {
        Some(near) => format!("no such key can be unset; did you mean {near}?"),
        None => format!("only these can be unset: {}", keys.join(", ")),
    })
}

/// What a room may say of the scan of its mail.
fn scan_keys() -> impl Iterator<Item = &'static str> {
    ["on_failure"]
        .into_iter()
        .chain(Rule::ALL.iter().map(|it| it.word()))
}

/// `macros=refuse`: a key, and what it is to say.
fn scan(typed: &str) -> Result<(String, String), String> {
    let Some((key, word)) = typed.split_once('=') else {
        return Err("write for example macros=refuse or on_failure=reject".to_owned());
    };
    let (key, word) = (key.trim(), word.trim());
    if scan_keys().any(|it| it == key) {
        return Ok((format!("scan.{key}"), word.to_owned()));
    }
    Err(match nearest(key, scan_keys()) {
        Some(near) => format!("no rule is called {key:?}; did you mean {near}?"),
        None => format!(
            "write one of: {}",
            scan_keys().collect::<Vec<_>>().join(", ")
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

fn said<const N: usize>(keys: [(&'static str, Option<Said>); N]) -> Keys {
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
    fn workstations(&self) -> Vec<edits::Workstation> {
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
    pub(super) fn order(&self) -> Order<'_> {
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
    pub(super) fn order(&self) -> Order<'_> {
        let (make, it): (fn(_, _) -> _, _) = match self {
            Self::Add(it) => (Edit::AddWorkstations, it),
            Self::Remove(it) => (Edit::RemoveWorkstations, it),
        };
        let edit = make(it.room.clone(), it.sources.workstations());
        Order::new(edit, &it.how)
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Group {
    /// Make a group of these members
    Add(Members),
    /// Take a group out of the table; refused while it is a member of another
    Remove(RemoveGroup),
    /// Add members to a group
    Join(Members),
    /// Take members out of a group
    Leave(Members),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Members {
    #[arg(value_parser = address)]
    address: Address,
    /// Mailboxes of rooms, and other groups
    #[arg(value_name = "MEMBER", required = true, value_parser = address)]
    members: Vec<Address>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveGroup {
    #[arg(value_parser = address)]
    address: Address,
    /// Take it out of other groups, too
    #[arg(long)]
    with_mentions: bool,
    #[command(flatten)]
    how: How,
}

impl Group {
    pub(super) fn order(&self) -> Order<'_> {
        let (make, it): (fn(_, _) -> _, _) = match self {
            Self::Add(it) => (Edit::AddGroup, it),
            Self::Join(it) => (Edit::Join, it),
            Self::Leave(it) => (Edit::Leave, it),
            Self::Remove(it) => {
                let edit = Edit::RemoveGroup(it.address.clone(), it.with_mentions);
                return Order::new(edit, &it.how);
            }
        };
        let edit = make(it.address.clone(), it.members.clone());
        Order::new(edit, &it.how)
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Gateway {
    /// Let mail from outside in here: to rooms only, and never as one of them
    Add(AddGateway),
    /// Set keys of a gateway; another network, certificate or user takes the place of the old one
    Set(SetGateway),
    /// Take a gateway out of the table
    Remove(RemoveGateway),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("source").required(true).args(["networks", "certificates", "users"])))]
pub(in crate::cli) struct AddGateway {
    name: String,
    #[command(flatten)]
    source: Sources,
    /// The most urgent that mail through it may be
    #[arg(long, value_name = "0…9", value_parser = clap::value_parser!(u8).range(..10))]
    priority_ceiling: Option<u8>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
#[command(override_usage = "ilbud route gateway set NAME [OPTIONS]")]
#[command(group(ArgGroup::new("source").args(["networks", "certificates", "users"])))]
#[command(group(ArgGroup::new("anything").required(true).multiple(true).args([
    "networks", "certificates", "users", "priority_ceiling", "unset",
])))]
pub(in crate::cli) struct SetGateway {
    name: String,
    #[command(flatten)]
    source: Sources,
    /// The most urgent that mail through it may be
    #[arg(long, value_name = "0…9", value_parser = clap::value_parser!(u8).range(..10))]
    priority_ceiling: Option<u8>,
    /// Leave a key out, so that it is as it is unsaid
    #[arg(long, value_name = "KEY", value_parser = ["priority_ceiling"])]
    unset: Vec<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveGateway {
    name: String,
    #[command(flatten)]
    how: How,
}

impl Gateway {
    pub(super) fn order(&self) -> Order<'_> {
        let ceiling = |it: Option<u8>| said([("priority_ceiling", it.map(Said::Number))]);
        let (edit, how) = match self {
            Self::Add(it) => {
                let keys = ceiling(it.priority_ceiling);
                let sources = it.source.workstations();
                (Edit::AddGateway(it.name.clone(), sources, keys), &it.how)
            }
            Self::Set(it) => {
                let keys = ceiling(it.priority_ceiling);
                let (name, sources) = (it.name.clone(), it.source.workstations());
                let edit = Edit::SetGateway(name, sources, keys, it.unset.clone());
                (edit, &it.how)
            }
            Self::Remove(it) => (Edit::RemoveGateway(it.name.clone()), &it.how),
        };
        Order::new(edit, how)
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Redirect {
    /// Let a room's mail go to another room: legevakt-hamar to amk-oslo until 07:00
    ///
    /// A time is 07:00 (the next one), 2h (from now, or from --from on), or a date and time.
    #[command(
        override_usage = "ilbud route redirect open ROOM to ROOM [from TIME] [until TIME] [OPTIONS]"
    )]
    Open(Box<Open>),
    /// Let a room's mail go to the room itself again
    Close(Close),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Open {
    /// The room whose mail is to go elsewhere
    #[arg(value_name = "ROOM", value_parser = room)]
    room: RoomId,
    #[arg(value_name = "to", value_parser = ["to"], hide = true, requires = "to_room", required_unless_present = "to")]
    to_word: Option<String>,
    #[arg(value_name = "TO", value_parser = room, hide = true)]
    to_room: Option<RoomId>,
    #[arg(value_name = "from|until", value_parser = ["from", "until"], hide = true, requires = "first_time")]
    first_word: Option<String>,
    #[arg(value_name = "TIME", value_parser = When::parse, hide = true)]
    first_time: Option<When>,
    #[arg(value_name = "until", value_parser = ["until"], hide = true, requires = "second_time")]
    second_word: Option<String>,
    #[arg(value_name = "TIME", value_parser = When::parse, hide = true)]
    second_time: Option<When>,
    /// The room that gets the mail
    #[arg(long, value_name = "ROOM", value_parser = room, conflicts_with = "to_word")]
    to: Option<RoomId>,
    /// Left out: from now on
    #[arg(long, value_name = "TIME", value_parser = When::parse, conflicts_with = "first_word")]
    from: Option<When>,
    /// Left out: until it is closed
    #[arg(long, value_name = "TIME", value_parser = When::parse, conflicts_with = "first_word")]
    until: Option<When>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Close {
    /// Its id
    #[arg(value_name = "ROOM", value_parser = room)]
    room: RoomId,
    /// Those that are not open now, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    how: How,
}

impl Open {
    /// The time after a word, or else of the option.
    fn time(&self, word: &str, option: Option<&When>) -> Option<When> {
        let typed = [
            (&self.first_word, &self.first_time),
            (&self.second_word, &self.second_time),
        ];
        let typed = typed
            .into_iter()
            .find(|(it, _)| it.as_deref() == Some(word));
        typed
            .and_then(|(_, time)| time.as_ref())
            .or(option)
            .cloned()
    }

    fn edit(&self) -> Edit {
        let to = self.to_room.as_ref().or(self.to.as_ref());
        Edit::OpenRedirect(Opening {
            room: self.room.clone(),
            to: to.unwrap_or(&self.room).clone(),
            from: self.time("from", self.from.as_ref()),
            until: self.time("until", self.until.as_ref()),
            reason: self.how.change.reason.clone(),
        })
    }
}

impl Redirect {
    pub(super) fn order(&self) -> Order<'_> {
        let (edit, how) = match self {
            Self::Open(it) => (it.edit(), &it.how),
            Self::Close(it) => (Edit::CloseRedirect(it.room.clone(), it.all), &it.how),
        };
        Order::new(edit, how)
    }
}

/// Infallible: what no room is called is told with the nearest that one is.
#[allow(clippy::unnecessary_wraps, reason = "clap wants a Result")]
fn room(text: &str) -> Result<RoomId, String> {
    Ok(RoomId::new(text))
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|fault| fault.to_string())
}
