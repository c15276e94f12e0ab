//! From TOML to a sound routing table: every mistake at once, each with its line and a way out.
//!
//! First each entry is read for itself, then what they say of each other is checked. What cannot
//! work is a mistake; what works and is probably not meant is a warning.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::credential;
use crate::document::{self, Fault, Mistakes, Table, Value};
use crate::mail::{Action, Address, Domain, OnFailure, Priority, RoomId, Rule, Timestamp};
use crate::nearest::nearest;

use super::checks::{self, At, Places, Written};
use super::comments::{self, Comments};
use super::export::Kind;
use super::graph::circles;
use super::next_hop::NextHop;
use super::sources::{Source, Sources};
use super::strictness::{Measure, Strictness};
use super::table::{
    AcceptsFrom, Gateway, Group, Mailboxes, Redirect, Room, RoomKind, RoomScan, RoutingTable,
};

/// A name in an SMTP reply and in a folder's name: longer is nobody's wish.
const ID_LENGTH: usize = 64;
/// For as many unknown names the nearest known one is searched for.
const SEARCHES: usize = 100;

pub fn table(toml: &str, revision: u64) -> Result<(RoutingTable, Vec<Fault>), Vec<Fault>> {
    document::read(toml, |mut root, mistakes| {
        let mut draft = Draft::default();
        let entries = [
            root.tables("room"),
            root.tables("group"),
            root.tables("gateway"),
            root.tables("redirect"),
        ];
        let [rooms, groups, gateways, redirects] = entries;
        rooms.into_iter().for_each(|it| draft.read_room(it));
        groups.into_iter().for_each(|it| draft.read_group(it));
        gateways.into_iter().for_each(|it| draft.read_gateway(it));
        redirects.into_iter().for_each(|it| draft.read_redirect(it));
        draft.check(mistakes);
        Some(draft.finish(revision, toml))
    })
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Draft {
    /// Every id that is written, also of rooms with other mistakes.
    ids: HashMap<RoomId, usize>,
    /// Every domain, with the id of its room.
    domains: HashMap<Domain, At<String>>,
    /// What some room has for a domain is none, so that nobody knows whose members are unknown.
    has_bad_domain: bool,
    rooms: Vec<At<Arc<Room>>>,
    /// Where `accepts_from` stands.
    accepts: HashMap<RoomId, usize>,
    /// Rooms that something points to.
    mentions: Vec<At<RoomId>>,
    addresses: HashMap<Address, usize>,
    groups: Vec<At<Vec<At<Address>>>>,
    group_addresses: Vec<Address>,
    gateways: Vec<At<Arc<Gateway>>>,
    redirects: Vec<At<Redirect>>,
    /// Found out by `check`.
    sources: Sources,
    /// How often the nearest name was searched for.
    searches: Cell<usize>,
    warnings: Vec<Fault>,
}

/// A room's own times; `None`: those of the settings.
struct Times {
    warn_after: Option<Duration>,
    give_up_after: Option<Duration>,
}

/// Each entry for itself.
impl Draft {
    fn warn(&mut self, line: Option<usize>, text: impl Into<String>) {
        self.warnings.push(Fault {
            line,
            text: text.into(),
        });
    }

    fn read_room(&mut self, mut entry: Table<'_>) {
        let line = entry.line();
        let id = entry.require("id").and_then(|it| self.read_id(it));
        let shown = id.as_ref().map_or("", RoomId::as_str).to_owned();
        let name = entry.require("name").and_then(Value::filled);
        let kind = match entry.take("kind") {
            Some(value) => value.word(&RoomKind::WORDS),
            None => Some(RoomKind::Other),
        };
        let phone = entry.take("phone").and_then(Value::filled);
        let is_disabled = entry.take("disabled").and_then(Value::boolean);
        let domains = entry.require("domains");
        let domains = domains.map_or_else(Vec::new, |it| self.read_domains(it, &shown));
        let next_hops = entry.require("next_hops");
        let next_hops = next_hops.map_or_else(Vec::new, |it| self.read_hops(it));
        let recipients = entry.take("recipients");
        let recipients = recipients.and_then(|it| self.read_recipients(it, domains.first()?));
        let accepts_from = entry.take("accepts_from");
        let accepts = id.clone().zip(accepts_from.as_ref().map(Value::line));
        self.accepts.extend(accepts);
        let accepts_from = accepts_from.and_then(|it| self.read_accepts_from(it));
        let times = Self::read_times(&mut entry);
        let priority_ceiling = ceiling(&mut entry);
        let strictness = self.read_strictness(&mut entry, &shown);
        let scan = read_scan(&mut entry);
        let workstations: Vec<Source> = entry
            .tables("workstation")
            .into_iter()
            .filter_map(|it| self.read_workstation(it))
            .collect();
        if workstations.is_empty() && strictness.unknown_workstations == Measure::Enforce {
            self.warn(
                line,
                format!("room {shown:?} has no workstation: nobody can send as it"),
            );
        }
        let (Some(id), Some(name), Some(kind)) = (id, name, kind) else {
            return;
        };
        self.rooms.push(At {
            line: line.unwrap_or(0),
            value: Arc::new(Room {
                id,
                name,
                kind,
                phone,
                is_disabled: is_disabled.unwrap_or(false),
                domains,
                next_hops,
                recipients,
                accepts_from: accepts_from.unwrap_or(AcceptsFrom::Any),
                warn_after: times.warn_after,
                give_up_after: times.give_up_after,
                priority_ceiling,
                strictness,
                scan,
                workstations,
            }),
        });
    }

    fn read_times(entry: &mut Table<'_>) -> Times {
        let mut time = |key| entry.take(key).and_then(Value::positive_duration);
        Times {
            warn_after: time("warn_after"),
            give_up_after: time("give_up_after"),
        }
    }

    fn read_strictness(&mut self, entry: &mut Table<'_>, room: &str) -> Strictness {
        let unsaid = Strictness::default();
        let Some(mut table) = entry.table("strictness") else {
            return unsaid;
        };
        let mut measure = |key, unsaid| {
            let said = table.take(key).and_then(|it| it.parse(Measure::parse));
            said.unwrap_or(unsaid)
        };
        let read = Strictness {
            bare_newlines: measure("bare_newlines", unsaid.bare_newlines),
            missing_tls: measure("missing_tls", unsaid.missing_tls),
            unknown_workstations: measure("unknown_workstations", unsaid.unknown_workstations),
        };
        if read.unknown_workstations < Measure::Enforce {
            let text = format!(
                "room {room:?} does not enforce unknown_workstations ({}): whoever reaches the relay can send as it",
                read.unknown_workstations.word()
            );
            self.warn(table.line(), text);
        }
        read
    }

    fn read_id(&mut self, value: Value<'_>) -> Option<RoomId> {
        let line = value.line();
        let ids = &self.ids;
        let id = value.parse(|text| {
            let sign = |c: char| c.is_alphanumeric() || "-_.".contains(c);
            if text.is_empty() || text.len() > ID_LENGTH || !text.chars().all(sign) {
                return Err(format!(
                    "{text:?} is no id; use letters, digits, - and _, at most {ID_LENGTH}"
                ));
            }
            let id = RoomId::new(text);
            match ids.get(&id) {
                Some(first) => Err(format!(
                    "{text:?} is already used on line {first}; each room needs its own"
                )),
                None => Ok(id),
            }
        })?;
        self.ids.insert(id.clone(), line);
        Some(id)
    }

    fn read_domains(&mut self, value: Value<'_>, room: &str) -> Vec<Domain> {
        let mut own = Vec::new();
        for item in filled_list(value, "name at least one domain") {
            own.extend(self.read_domain(item, room, &own));
        }
        own
    }

    fn read_domain(&mut self, value: Value<'_>, room: &str, own: &[Domain]) -> Option<Domain> {
        let line = value.line();
        let taken = &self.domains;
        let mut is_bad = false;
        let domain = value.parse(|text| {
            let domain = Domain::parse(text).map_err(|_| {
                is_bad = true;
                format!("{text:?} is no domain name")
            })?;
            match taken.get(&domain) {
                Some(_) if own.contains(&domain) => Err(format!(
                    "domain {text:?} stands twice in this room; once is enough"
                )),
                Some(first) => Err(format!(
                    "domain {text:?} already belongs to room {:?} (line {}); it can have only one",
                    first.value, first.line
                )),
                None => Ok(domain),
            }
        });
        self.has_bad_domain |= is_bad;
        let domain = domain?;
        let value = room.to_owned();
        self.domains.insert(domain.clone(), At { line, value });
        Some(domain)
    }

    fn read_hops(&mut self, value: Value<'_>) -> Vec<NextHop> {
        let mut hops = Vec::new();
        for item in filled_list(value, "name at least one next hop") {
            let line = item.line();
            let Some(hop) = item.parse(NextHop::parse) else {
                continue;
            };
            for text in checks::of_hop(&hop) {
                self.warn(Some(line), text);
            }
            if hops.contains(&hop) {
                self.warn(Some(line), format!("{hop} is named twice; once is enough"));
            }
            hops.push(hop);
        }
        hops
    }

    fn read_recipients(&mut self, value: Value<'_>, domain: &Domain) -> Option<Mailboxes> {
        let line = value.line();
        let mut seen = HashSet::new();
        let mut listed = Vec::new();
        for item in value.list()? {
            let Some(mailbox) = item.parse(|text| local_part(text, domain)) else {
                continue;
            };
            if seen.insert(mailbox.clone()) {
                listed.push(mailbox);
            } else {
                let text = format!("recipient {:?} is listed twice", mailbox.local());
                self.warn(Some(line), text);
            }
        }
        if listed.is_empty() {
            self.warn(
                Some(line),
                "\"recipients\" is empty: no mail can reach this room",
            );
        }
        Some(Mailboxes::new(listed))
    }

    fn read_accepts_from(&mut self, value: Value<'_>) -> Option<AcceptsFrom> {
        if !value.is_list() {
            return value.parse(|text| match text {
                "any" => Ok(AcceptsFrom::Any),
                _ => Err(format!(
                    "{text:?} is neither \"any\" nor a list of room ids"
                )),
            });
        }
        let mut rooms = Vec::new();
        for item in value.list()? {
            rooms.extend(self.mention(item));
        }
        Some(AcceptsFrom::Rooms(rooms))
    }

    /// The id of a room that may stand further down.
    fn mention(&mut self, value: Value<'_>) -> Option<RoomId> {
        let line = value.line();
        let id = RoomId::new(&value.string()?);
        let value = id.clone();
        self.mentions.push(At { line, value });
        Some(id)
    }

    fn read_workstation(&mut self, mut entry: Table<'_>) -> Option<Source> {
        let found = self.read_sources(&mut entry);
        one_source(&entry, found)
    }

    fn read_sources(&mut self, entry: &mut Table<'_>) -> Vec<Option<Source>> {
        let network = entry.take("network").map(|it| self.read_network(it));
        let certificate = entry.take("certificate");
        let certificate = certificate.map(|it| it.parse(certificate_name).map(Source::Certificate));
        let user = entry.take("user");
        let user = user.map(|it| it.parse(user_name).map(Source::User));
        [network, certificate, user].into_iter().flatten().collect()
    }

    fn read_network(&mut self, value: Value<'_>) -> Option<Source> {
        let line = value.line();
        let network = value.parse(network)?;
        if network.prefix_len() == 0 {
            self.warn(
                Some(line),
                format!("network {network} is every address there is"),
            );
        }
        if network != network.trunc() {
            let meant = network.trunc();
            self.warn(Some(line), format!("network {network} is taken as {meant}"));
        }
        Some(Source::Network(network.trunc()))
    }

    fn read_group(&mut self, mut entry: Table<'_>) {
        let line = entry.line().unwrap_or(0);
        let address = entry
            .require("address")
            .and_then(|it| self.read_group_address(it));
        let mut members = Vec::new();
        let listed = entry.require("members").and_then(Value::list);
        for item in listed.unwrap_or_default() {
            let line = item.line();
            let value = item.parse(address_text);
            members.extend(value.map(|value| At { line, value }));
        }
        let Some(address) = address else {
            return;
        };
        if members.is_empty() {
            self.warn(
                Some(line),
                format!("group {address} is empty: mail to it is refused"),
            );
        }
        self.group_addresses.push(address);
        let value = members;
        self.groups.push(At { line, value });
    }

    fn read_group_address(&mut self, value: Value<'_>) -> Option<Address> {
        let line = value.line();
        let taken = &self.addresses;
        let address = value.parse(|text| {
            let address = address_text(text)?;
            match taken.get(&address) {
                Some(first) => Err(format!(
                    "{text:?} is already a group on line {first}; put the members in one"
                )),
                None => Ok(address),
            }
        })?;
        self.addresses.insert(address.clone(), line);
        Some(address)
    }

    fn read_gateway(&mut self, mut entry: Table<'_>) {
        let line = entry.line().unwrap_or(0);
        let name = entry.require("name").and_then(Value::filled);
        let found = self.read_sources(&mut entry);
        let source = one_source(&entry, found);
        let priority_ceiling = ceiling(&mut entry);
        let (Some(name), Some(source)) = (name, source) else {
            return;
        };
        let value = Arc::new(Gateway {
            name,
            source,
            priority_ceiling,
        });
        self.gateways.push(At { line, value });
    }

    fn read_redirect(&mut self, mut entry: Table<'_>) {
        let line = entry.line().unwrap_or(0);
        let room = entry.require("room").and_then(|it| self.mention(it));
        let to = entry.require("to").and_then(|it| self.mention(it));
        let from = entry.take("from").and_then(Value::moment);
        let until = entry.take("until").and_then(Value::moment);
        let reason = entry.take("reason").and_then(Value::filled);
        if let (Some(from), Some(until)) = (from, until)
            && until <= from
        {
            entry.fault("a redirect must end after it begins: \"until\" is not after \"from\"");
        }
        let (Some(room), Some(to)) = (room, to) else {
            return;
        };
        if until.is_none() {
            let text = format!("the redirect of room \"{room}\" has no \"until\": it never ends");
            self.warn(Some(line), text);
        }
        self.redirects.push(At {
            line,
            value: Redirect {
                room,
                to,
                from,
                until,
                reason,
            },
        });
    }
}

/// What entries say of each other.
impl Draft {
    fn check(&mut self, mistakes: &Mistakes) {
        if self.ids.is_empty() {
            self.warn(None, "there is no room: everything is refused");
        }
        self.check_mentions(mistakes);
        self.check_members(mistakes);
        self.check_group_circles(mistakes);
        self.check_redirect_circles(mistakes);
        let lines = checks::lines(&self.rooms, &self.gateways);
        let sources = Sources::new(lines.iter().map(|(_, line)| line.clone()));
        let found = checks::warnings(&self.written(), &lines, &sources);
        self.warnings.extend(found);
        self.sources = sources;
    }

    fn check_mentions(&self, mistakes: &Mistakes) {
        for At { line, value: id } in &self.mentions {
            if !self.ids.contains_key(id) {
                let near = self.nearest(id.as_str(), self.ids.keys().map(RoomId::as_str));
                let text = format!("unknown room \"{id}\"{}", did_you_mean(near));
                mistakes.add(Some(*line), text);
            }
        }
    }

    /// Of many mistakes, only the first are worth the search.
    fn nearest<'a>(&self, word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        self.searches.set(self.searches.get() + 1);
        (self.searches.get() <= SEARCHES)
            .then(|| nearest(word, known))
            .flatten()
    }

    fn check_members(&mut self, mistakes: &Mistakes) {
        let rooms = self.rooms_by_domain();
        let mut twice = Vec::new();
        for group in &self.groups {
            let mut seen = HashSet::new();
            for At {
                line,
                value: member,
            } in &group.value
            {
                if !seen.insert(member) {
                    twice.push((*line, format!("{member} is a member of this group twice")));
                }
                if let Some(text) = self.member_mistake(member, &rooms) {
                    mistakes.add(Some(*line), text);
                }
            }
        }
        for (line, text) in twice {
            self.warn(Some(line), text);
        }
    }

    fn rooms_by_domain(&self) -> HashMap<Domain, Arc<Room>> {
        let mut rooms = HashMap::new();
        for At { value: room, .. } in &self.rooms {
            for domain in &room.domains {
                rooms.insert(domain.clone(), Arc::clone(room));
            }
        }
        rooms
    }

    fn member_mistake(
        &self,
        member: &Address,
        rooms: &HashMap<Domain, Arc<Room>>,
    ) -> Option<String> {
        if self.addresses.contains_key(member) {
            return None;
        }
        if !self.domains.contains_key(member.domain()) {
            if self.has_bad_domain {
                return None;
            }
            let known = self.domains.keys().map(Domain::ascii);
            let near = self.nearest(member.domain().ascii(), known);
            return Some(format!(
                "unknown member {member}: its domain belongs to no room, and it is no group{}",
                did_you_mean(near)
            ));
        }
        let room = rooms.get(member.domain())?;
        if room.has(member) {
            return None;
        }
        let near = room.nearest(member).map(|near| near.to_string());
        Some(format!(
            "unknown member {member}: it is not among the recipients of room \"{}\"{}",
            room.id,
            did_you_mean(near.as_deref())
        ))
    }

    fn check_group_circles(&self, mistakes: &Mistakes) {
        let places: HashMap<&Address, usize> = self.group_addresses.iter().zip(0..).collect();
        let edges: Vec<Vec<usize>> = self
            .groups
            .iter()
            .map(|group| {
                let members = group.value.iter();
                members
                    .filter_map(|member| places.get(&member.value).copied())
                    .collect()
            })
            .collect();
        for circle in circles(&edges) {
            let line = circle.first().and_then(|first| self.groups.get(*first));
            let names = circle.iter().filter_map(|it| self.group_addresses.get(*it));
            let text = format!("groups in a circle: {}", along(names));
            mistakes.add(line.map(|it| it.line), text);
        }
    }

    /// Redirects of different times make no circle, so each moment at which one begins or ends is
    /// looked at for itself, but only when there could be one at all.
    fn check_redirect_circles(&self, mistakes: &Mistakes) {
        let redirects: Vec<&Redirect> = self.redirects.iter().map(|it| &it.value).collect();
        if circles(&redirect_edges(&redirects)).is_empty() {
            return;
        }
        let begin = Timestamp::from_millis(i64::MIN);
        let moments: BTreeSet<Timestamp> = redirects
            .iter()
            .flat_map(|it| [it.from, it.until])
            .flatten()
            .chain([begin])
            .collect();
        let mut told = HashSet::new();
        for moment in moments {
            let open = open_at(&self.redirects, moment);
            let values: Vec<&Redirect> = open.iter().map(|it| &it.value).collect();
            for circle in circles(&redirect_edges(&values)) {
                let along_it = || circle.iter().filter_map(|it| open.get(*it));
                let line = along_it().map(|it| it.line).min();
                if told.insert(line) {
                    let names = along(along_it().map(|it| &it.value.room));
                    mistakes.add(line, format!("redirects in a circle: {names}"));
                }
            }
        }
    }

    fn written(&self) -> Written<'_> {
        Written {
            rooms: &self.rooms,
            accepts: &self.accepts,
            addresses: &self.group_addresses,
            groups: &self.groups,
            gateways: &self.gateways,
            redirects: &self.redirects,
        }
    }

    fn places(&self) -> Places {
        let mut places = Places::default();
        for At { line, value } in &self.rooms {
            places.rooms.insert(value.id.clone(), *line);
        }
        for At { line, value } in &self.gateways {
            places.gateways.entry(value.name.clone()).or_insert(*line);
        }
        for At { line, value } in &self.redirects {
            let of_room = places.redirects.entry(value.room.clone());
            of_room.or_default().push(*line);
        }
        places
    }

    /// Each entry's kind, its place in the file and its name, in the order of an export.
    fn order(&self) -> Vec<(Kind, usize, String)> {
        let rooms = self.rooms.iter().map(|it| it.value.id.to_string());
        let rooms = rooms.zip(0..).map(|(name, at)| (Kind::Room, at, name));
        let groups = self.group_addresses.iter().map(Address::to_string);
        let groups = groups.zip(0..).map(|(name, at)| (Kind::Group, at, name));
        let redirects = self.redirects.iter().map(|it| it.value.room.to_string());
        let redirects = redirects.zip(0..);
        let redirects = redirects.map(|(name, at)| (Kind::Redirect, at, name));
        let mut gateways: Vec<(&Gateway, usize)> =
            self.gateways.iter().map(|it| &*it.value).zip(0..).collect();
        gateways.sort_by_key(|(it, _)| in_order(it));
        let gateways = gateways.into_iter();
        let gateways = gateways.map(|(it, at)| (Kind::Gateway, at, it.name.clone()));
        let entries = rooms.chain(groups).chain(gateways);
        entries.chain(redirects).collect()
    }

    fn comments(&self, toml: &str) -> Comments {
        let written = comments::read(toml);
        match written.is_empty() {
            true => Comments::default(),
            false => written.named(self.order().into_iter()),
        }
    }

    fn finish(mut self, revision: u64, toml: &str) -> (RoutingTable, Vec<Fault>) {
        self.warnings.sort_by_key(|it| it.line);
        let domains = self.rooms_by_domain();
        let places = self.places();
        let groups = self.expanded_groups();
        let comments = self.comments(toml);
        let mut gateways: Vec<Arc<Gateway>> =
            self.gateways.into_iter().map(|it| it.value).collect();
        gateways.sort_by(|one, other| in_order(one).cmp(&in_order(other)));
        let mut redirects: BTreeMap<RoomId, Vec<Redirect>> = BTreeMap::new();
        for At { value, .. } in self.redirects {
            redirects.entry(value.room.clone()).or_default().push(value);
        }
        let rooms = self
            .rooms
            .into_iter()
            .map(|it| (it.value.id.clone(), it.value));
        let table = RoutingTable {
            revision,
            rooms: rooms.collect(),
            domains,
            groups,
            gateways,
            redirects,
            sources: self.sources,
            comments,
            places,
            postmaster: None,
            relay: None,
        };
        (table, self.warnings)
    }

    fn expanded_groups(&self) -> HashMap<Address, Group> {
        let written: HashMap<&Address, Vec<&Address>> = self
            .group_addresses
            .iter()
            .zip(&self.groups)
            .map(|(address, group)| (address, group.value.iter().map(|it| &it.value).collect()))
            .collect();
        let group = |address: &Address| Group {
            address: address.clone(),
            members: written
                .get(address)
                .map(|members| members.iter().copied().cloned().collect())
                .unwrap_or_default(),
            mailboxes: mailboxes(address, &written),
        };
        let addresses = self.group_addresses.iter();
        addresses
            .map(|address| (address.clone(), group(address)))
            .collect()
    }
}

/// The mailboxes behind a group, in the order of the members, each once.
fn mailboxes(group: &Address, written: &HashMap<&Address, Vec<&Address>>) -> Vec<Address> {
    let mut seen = HashSet::from([group]);
    let mut found = Vec::new();
    let mut ahead: Vec<&Address> = written
        .get(group)
        .into_iter()
        .flatten()
        .rev()
        .copied()
        .collect();
    while let Some(address) = ahead.pop() {
        if !seen.insert(address) {
            continue;
        }
        match written.get(address) {
            Some(members) => ahead.extend(members.iter().rev()),
            None => found.push(address.clone()),
        }
    }
    found
}

fn read_scan(entry: &mut Table<'_>) -> RoomScan {
    let mut scan = RoomScan::default();
    let Some(mut table) = entry.table("scan") else {
        return scan;
    };
    let ways: Vec<_> = OnFailure::ALL.iter().map(|it| (it.word(), *it)).collect();
    let actions: Vec<_> = Action::ALL.iter().map(|it| (it.word(), *it)).collect();
    let on_failure = table.take("on_failure");
    scan.on_failure = on_failure.and_then(|it| it.word(&ways));
    for rule in Rule::ALL {
        let action = table.take(rule.word());
        if let Some(action) = action.and_then(|it| it.word(&actions)) {
            scan.actions.say(*rule, action);
        }
    }
    scan
}

/// The most urgent that mail may be: from 0, routine, to 9.
fn ceiling(entry: &mut Table<'_>) -> Priority {
    let level = entry
        .take("priority_ceiling")
        .and_then(|it| it.integer(0..10));
    level
        .and_then(|it| i8::try_from(it).ok())
        .and_then(Priority::new)
        .unwrap_or(Priority::HIGH)
}

fn filled_list<'d>(value: Value<'d>, advice: &str) -> Vec<Value<'d>> {
    if value.is_empty_list() {
        value.fault(advice);
    }
    value.list().unwrap_or_default()
}

fn one_source(entry: &Table<'_>, found: Vec<Option<Source>>) -> Option<Source> {
    if found.len() != 1 {
        entry.fault("write exactly one of \"network\", \"certificate\" and \"user\" in each entry");
    }
    found.into_iter().next().flatten()
}

fn network(text: &str) -> Result<IpNet, String> {
    let whole = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(whole).ok_or_else(|| {
        format!("{text:?} is no network; write for example \"10.1.0.0/24\" or \"10.1.0.7\"")
    })
}

fn certificate_name(text: &str) -> Result<String, String> {
    let domain = Domain::parse(text).map_err(|_| format!("{text:?} is no DNS name"))?;
    Ok(domain.ascii().to_owned())
}

fn user_name(text: &str) -> Result<String, String> {
    credential::user_name(text).ok_or_else(|| format!("{text:?} is no user's name"))
}

/// What a key of a workstation says: `network`, `certificate` or `user`.
pub(super) fn source(key: &str, text: &str) -> Result<Source, String> {
    match key {
        "network" => network(text).map(|it| Source::Network(it.trunc())),
        "certificate" => certificate_name(text).map(Source::Certificate),
        "user" => user_name(text).map(Source::User),
        _ => Err(format!("{key:?} is nothing that a workstation is known by")),
    }
}

fn address_text(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|fault| format!("{text:?}: {fault}"))
}

fn local_part(text: &str, domain: &Domain) -> Result<Address, String> {
    let parse = |local: &str| Address::parse(&format!("{local}@{}", domain.ascii()));
    if text.contains('@') {
        return Err(format!("{text:?}: write only what stands before the @"));
    }
    parse(text)
        .or_else(|_| parse(&document::quoted(text)))
        .map_err(|fault| format!("{text:?} is no local part: {fault}"))
}

/// By what gateways are put in order.
const fn in_order(gateway: &Gateway) -> (&String, &Source) {
    (&gateway.name, &gateway.source)
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"))
}

/// `a → b → a`
fn along<T: ToString>(names: impl Iterator<Item = T>) -> String {
    let mut names: Vec<String> = names.map(|name| name.to_string()).collect();
    names.extend(names.first().cloned());
    names.join(" → ")
}

/// Redirect to redirect: each points to those of the room it leads to.
fn redirect_edges(redirects: &[&Redirect]) -> Vec<Vec<usize>> {
    let mut of: HashMap<&RoomId, Vec<usize>> = HashMap::new();
    for (place, redirect) in redirects.iter().enumerate() {
        of.entry(&redirect.room).or_default().push(place);
    }
    let next = |it: &&Redirect| of.get(&it.to).cloned().unwrap_or_default();
    redirects.iter().map(next).collect()
}

/// The redirect in force for each room at `moment`.
fn open_at(redirects: &[At<Redirect>], moment: Timestamp) -> Vec<&At<Redirect>> {
    let mut rooms = HashSet::new();
    redirects
        .iter()
        .filter(|it| it.value.is_open(moment) && rooms.insert(&it.value.room))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const HEAD: &str =
        "[[room]]\nid = \"a\"\nname = \"A\"\ndomains = [\"a.test\"]\nnext_hops = [\"maildir:x\"]\n";
    const STATION: &str = "[[room.workstation]]\nnetwork = \"10.1.0.0/24\"\n";

    fn room(id: &str, extra: &str) -> String {
        format!(
            "[[room]]\nid = \"{id}\"\nname = \"{id}\"\ndomains = [\"{id}.test\"]\n\
             next_hops = [\"maildir:x\"]\n{extra}\n[[room.workstation]]\nuser = \"{id}\"\n"
        )
    }

    fn texts(faults: &[Fault]) -> Vec<String> {
        faults.iter().map(Fault::to_string).collect()
    }

    #[test]
    fn refuses_with_one_clear_line_a_mistake() {
        let two = room("a", "") + &room("b", "");
        #[rustfmt::skip]
        let cases = [
            ("[[room]]\n".to_owned(), vec![
                "line 1: \"id\" is missing in [room]",
                "line 1: \"name\" is missing in [room]",
                "line 1: \"domains\" is missing in [room]",
                "line 1: \"next_hops\" is missing in [room]"]),
            ("[[rooms]]\n".to_owned(), vec!["line 1: unknown key \"rooms\"; did you mean \"room\"?"]),
            (format!("{HEAD}phonr = \"1\"\n"), vec!["line 6: unknown key \"phonr\" in [room]; did you mean \"phone\"?"]),
            (format!("{HEAD}kind = \"akm\"\n"), vec![
                "line 6: \"kind\": \"akm\" is not known; it is one of amk, legevakt, akuttmottak, other"]),
            (format!("{HEAD}{STATION}netwrk = \"x\"\n"), vec![
                "line 8: unknown key \"netwrk\" in [room.workstation]; did you mean \"network\"?"]),
            (format!("{HEAD}[[room.workstation]]\n"), vec![
                "line 6: write exactly one of \"network\", \"certificate\" and \"user\" in each entry"]),
            (format!("{HEAD}{STATION}user = \"x\"\n"), vec![
                "line 6: write exactly one of \"network\", \"certificate\" and \"user\" in each entry"]),
            (format!("{HEAD}[[room.workstation]]\nnetwork = \"10.1.0.0/33\"\n"), vec![
                "line 7: \"network\": \"10.1.0.0/33\" is no network; write for example \"10.1.0.0/24\" or \"10.1.0.7\""]),
            (format!("{HEAD}recipients = [\"vakt@a.test\", \"va kt@\", \"a%b\"]\n"), vec![
                "line 6: \"recipients\": \"vakt@a.test\": write only what stands before the @",
                "line 6: \"recipients\": \"va kt@\": write only what stands before the @",
                "line 6: \"recipients\": \"a%b\" is no local part: an address with % in it is not taken"]),
            (HEAD.replace("\"a\"", "\"a/b\""), vec![
                "line 2: \"id\": \"a/b\" is no id; use letters, digits, - and _, at most 64"]),
            (HEAD.replace("maildir:x", "ftp://x"), vec![
                "line 5: \"next_hops\": unknown scheme \"ftp\"; it is one of smtp, smtps, lmtp, mx, maildir"]),
            (HEAD.replace("[\"maildir:x\"]", "[]"), vec!["line 5: \"next_hops\": name at least one next hop"]),
            (format!("{HEAD}warn_after = \"soon\"\npriority_ceiling = 10\n"), vec![
                "line 6: \"warn_after\": must be a length of time such as \"10s\", \"5m\", \"4h\" or \"1d\"",
                "line 7: \"priority_ceiling\": must be from 0 to 9"]),
            (format!("{HEAD}strictness = {{ missing_tlz = \"warn\", bare_newlines = \"enforced\" }}\n"), vec![
                "line 6: \"bare_newlines\": \"enforced\" is not known; did you mean \"enforce\"?",
                "line 6: unknown key \"missing_tlz\" in [room.strictness]; did you mean \"missing_tls\"?"]),
            (format!("{HEAD}[room.strictness]\nmissing_tls = \"off\"\nbare_newlines = true\n"), vec![
                "line 7: \"missing_tls\": \"off\" is not known; it is one of report, warn, enforce",
                "line 8: \"bare_newlines\": must be a text in quotes, this is true or false"]),
            (format!("{HEAD}[room.scan]\non_failure = \"drop\"\neicar = \"pass\"\nmacro = \"mark\"\n"), vec![
                "line 7: \"on_failure\": \"drop\" is not known; it is one of hold, reject",
                "line 8: \"eicar\": \"pass\" is not known; it is one of mark, quarantine, refuse",
                "line 9: unknown key \"macro\" in [room.scan]; did you mean \"macros\"?"]),
            (format!("{HEAD}warn_after = \"0s\"\ngive_up_after = \"0m\"\n"), vec![
                "line 6: \"warn_after\": must be more than nothing",
                "line 7: \"give_up_after\": must be more than nothing"]),
            (HEAD.replace("[\"a.test\"]", "[]"), vec!["line 4: \"domains\": name at least one domain"]),
            (HEAD.replace("a.test", "a..test"), vec!["line 4: \"domains\": \"a..test\" is no domain name"]),
            (HEAD.replace("[\"a.test\"]", "[\"ålesund.test\", \"XN--LESUND-HUA.test\"]"), vec![
                "line 4: \"domains\": domain \"XN--LESUND-HUA.test\" stands twice in this room; once is enough"]),
            (format!("{HEAD}{HEAD}"), vec![
                "line 7: \"id\": \"a\" is already used on line 2; each room needs its own",
                "line 9: \"domains\": domain \"a.test\" already belongs to room \"a\" (line 4); it can have only one"]),
            (format!("{HEAD}accepts_from = [\"oslo\", \"a\"]\n"), vec!["line 6: unknown room \"oslo\""]),
            (format!("{HEAD}accepts_from = \"all\"\n"), vec![
                "line 6: \"accepts_from\": \"all\" is neither \"any\" nor a list of room ids"]),
            (format!("{two}[[redirect]]\nroom = \"c\"\nto = \"bb\"\n"), vec![
                "line 18: unknown room \"c\"", "line 19: unknown room \"bb\"; did you mean \"b\"?"]),
            (format!("{two}[[redirect]]\nroom = \"a\"\nto = \"b\"\nfrom = 2026-01-02T00:00:00Z\nuntil = 2026-01-01T00:00:00Z\n"), vec![
                "line 17: a redirect must end after it begins: \"until\" is not after \"from\""]),
            (format!("{two}[[redirect]]\nroom = \"a\"\nto = \"a\"\n"), vec!["line 17: redirects in a circle: a → a"]),
            (format!("{two}[[redirect]]\nroom = \"a\"\nto = \"b\"\n[[redirect]]\nroom = \"b\"\nto = \"a\"\n"), vec![
                "line 17: redirects in a circle: a → b → a"]),
            (format!("{two}[[group]]\naddress = \"x\"\nmembers = [\"x@a.test\"]\n"), vec![
                "line 18: \"address\": \"x\": it is not written as an address: name@domain"]),
            (format!("{two}[[group]]\naddress = \"g@g.test\"\nmembers = [\n\"x@a.test\",\n\"x@aa.test\",\n\"y\"]\n"), vec![
                "line 21: unknown member x@aa.test: its domain belongs to no room, and it is no group; did you mean \"a.test\"?",
                "line 22: \"members\": \"y\": it is not written as an address: name@domain"]),
            (format!("{}[[group]]\naddress = \"g@g.test\"\nmembers = [\"vatk@a.test\"]\n", room("a", "recipients = [\"vakt\"]")), vec![
                "line 11: unknown member vatk@a.test: it is not among the recipients of room \"a\"; did you mean \"vakt@a.test\"?"]),
            (format!("{two}[[group]]\naddress = \"g@g.test\"\nmembers = [\"h@g.test\"]\n[[group]]\naddress = \"h@g.test\"\nmembers = [\"G@g.test\"]\n"), vec![
                "line 17: groups in a circle: g@g.test → h@g.test → g@g.test"]),
            (format!("{two}[[group]]\naddress = \"g@g.test\"\nmembers = []\n[[group]]\naddress = \"G@G.test\"\nmembers = []\n"), vec![
                "line 21: \"address\": \"G@G.test\" is already a group on line 18; put the members in one"]),
            (format!("{two}[[gateway]]\nnetwork = \"10.0.0.1\"\n"), vec!["line 17: \"name\" is missing in [gateway]"]),
        ];
        for (toml, mistakes) in cases {
            let found = table(&toml, 1).unwrap_err();
            assert_eq!(texts(&found), mistakes, "{toml}");
        }
    }

    #[test]
    fn warns_of_what_is_probably_not_meant() {
        let two = room("a", "") + &room("b", "");
        let station =
            |id: &str, line: &str| room(id, "").replace(&format!("user = \"{id}\""), line);
        #[rustfmt::skip]
        let cases = [
            (String::new(), vec!["there is no room: everything is refused"]),
            (two.clone(), vec![]),
            (HEAD.to_owned(), vec!["line 1: room \"a\" has no workstation: nobody can send as it"]),
            (room("a", "strictness = { unknown_workstations = \"warn\" }"), vec![
                "line 6: room \"a\" does not enforce unknown_workstations (warn): whoever reaches the relay can send as it"]),
            (format!("{HEAD}[room.strictness]\nunknown_workstations = \"report\"\n"), vec![
                "line 6: room \"a\" does not enforce unknown_workstations (report): whoever reaches the relay can send as it"]),
            (room("a", "accepts_from = []"), vec!["line 6: room \"a\" accepts from no room, and there is no gateway: nobody may write to it"]),
            (room("a", "recipients = []"), vec!["line 6: \"recipients\" is empty: no mail can reach this room"]),
            (room("a", "recipients = [\"x\", \"X\"]"), vec!["line 6: recipient \"X\" is listed twice"]),
            (room("a", "").replace("maildir:x", "smtp://u:p@x?tls=opportunistic"), vec![
                "line 5: smtp://u@x:25?tls=opportunistic shows its password to any server that answers; leave tls=opportunistic out"]),
            (station("a", "network = \"0.0.0.0/0\""), vec!["line 8: network 0.0.0.0/0 is every address there is"]),
            (station("a", "network = \"10.1.0.5/24\""), vec!["line 8: network 10.1.0.5/24 is taken as 10.1.0.0/24"]),
            (station("a", "network = \"10.1.0.0/24\"") + &station("b", "network = \"10.1.0.7\""), vec![
                "line 9: network 10.1.0.7/32 of room \"b\" is also network 10.1.0.0/24 of room \"a\": the sender's domain tells which of them it is"]),
            (station("a", "network = \"10.1.0.0/24\"") + "[[gateway]]\nname = \"g\"\nnetwork = \"10.1.0.7\"\n", vec![
                "line 9: network 10.1.0.7/32 of gateway \"g\" is also network 10.1.0.0/24 of room \"a\": the sender's domain tells which of them it is"]),
            (station("a", "user = \"x\"") + &station("b", "user = \"x\""), vec![
                "line 1: user \"x\" of room \"a\" is also user \"x\" of room \"b\": the sender's domain tells which of them it is"]),
            (format!("{two}[[group]]\naddress = \"g@g.test\"\nmembers = []\n"), vec!["line 17: group g@g.test is empty: mail to it is refused"]),
            (format!("{two}[[group]]\naddress = \"g@g.test\"\nmembers = [\"x@a.test\", \"X@a.test\"]\n"), vec![
                "line 19: X@a.test is a member of this group twice"]),
            (room("a", "recipients = [\"x\"]") + "[[group]]\naddress = \"x@a.test\"\nmembers = []\n", vec![
                "line 9: group x@a.test is empty: mail to it is refused",
                "line 9: x@a.test is a group and also a recipient of room \"a\": the group gets the mail"]),
            (format!("{two}[[gateway]]\nname = \"g\"\nuser = \"g\"\n[[gateway]]\nname = \"g\"\nuser = \"h\"\n"), vec![
                "line 20: there are several gateways \"g\""]),
            (format!("{two}[[redirect]]\nroom = \"a\"\nto = \"b\"\n"), vec!["line 17: the redirect of room \"a\" has no \"until\": it never ends"]),
            (format!("{two}[[redirect]]\nroom = \"a\"\nto = \"b\"\nuntil = 2026-01-02T00:00:00Z\n[[redirect]]\nroom = \"a\"\nto = \"b\"\nuntil = 2026-01-02T00:00:00Z\n"), vec![
                "line 21: this redirect of room \"a\" never counts: the one on line 17 is open all that time"]),
            (format!("{two}[[redirect]]\nroom = \"a\"\nto = \"b\"\nuntil = 2026-01-02T00:00:00Z\n").replace("name = \"b\"", "name = \"b\"\ndisabled = true"), vec![
                "line 18: room \"a\" is redirected to \"b\", which is disabled: unless that is redirected too, mail is refused"]),
            // one after the other, there and back: no circle at any moment
            (format!("{two}[[redirect]]\nroom = \"a\"\nto = \"b\"\nuntil = 2026-01-02T00:00:00Z\n[[redirect]]\nroom = \"b\"\nto = \"a\"\nfrom = 2026-01-02T00:00:00Z\nuntil = 2026-01-03T00:00:00Z\n"), vec![]),
        ];
        for (toml, warnings) in cases {
            let (_, found) = table(&toml, 1).unwrap_or_else(|it| panic!("{it:?} {toml}"));
            assert_eq!(texts(&found), warnings, "{toml}");
        }
    }

    #[test]
    fn only_the_first_of_many_unknown_names_are_searched_for() {
        let members: Vec<String> = (0..SEARCHES * 2)
            .map(|n| format!("\"x{n}@aa.test\""))
            .collect();
        let toml = room("a", "")
            + "[[group]]\naddress = \"g@g.test\"\nmembers = ["
            + &members.join(", ")
            + "]\n";
        let mistakes = texts(&table(&toml, 1).unwrap_err());
        assert_eq!(mistakes.len(), SEARCHES * 2);
        let near = mistakes
            .iter()
            .filter(|it| it.ends_with("; did you mean \"a.test\"?"));
        assert_eq!(near.count(), SEARCHES);
    }

    #[test]
    fn exports_a_function_of_the_table_alone() {
        let toml = "[[redirect]]\nroom = \"b\"\nto = \"a\"\nuntil = 2026-01-02 01:00:00.5+01:00\nreason = \"\\\"Flytting\\\"\"\n\
            [[gateway]]\nname = \"z\"\nnetwork = \"2001:db8::/32\"\n[[gateway]]\nname = \"g\"\ncertificate = \"G.test\"\npriority_ceiling = 0\n\
            [[group]]\naddress = \"g@ålesund.test\"\nmembers = [\"X@a.test\", \"\\\"x y\\\"@b.test\"]\n"
            .to_owned()
            + &room("b", "recipients = [\"x y\", \"\\\"a..b\\\"\", \"\\\"\\\\\\\"q\\\\\\\"\\\"\"]\naccepts_from = [\"a\", \"b\"]\nphone = \"1\"\nkind = \"amk\"\ndisabled = true\n\
                warn_after = \"90s\"\ngive_up_after = \"120m\"\npriority_ceiling = 9\n\
                scan = { macros = \"refuse\", on_failure = \"reject\", eicar = \"quarantine\" }")
            + &room("a", "").replace("maildir:x", "smtp://u:p%40@X.test?tls=required");
        let first = table(&toml, 4).unwrap().0;
        let exported = first.export();
        let again = table(&exported, 5)
            .unwrap_or_else(|it| panic!("{it:?} {exported}"))
            .0;
        assert_eq!(again.export(), exported);
        assert_eq!(again.summary(Some(&first)), "nothing changed");
        assert!(exported.starts_with("[[room]]\nid = \"a\"\nname = \"a\"\nkind = \"other\"\n"));
        assert!(exported.contains("next_hops = [\"smtp://u:p%40@x.test:25\"]"));
        assert!(exported.contains("until = 2026-01-02T00:00:00.500Z"));
        let scan =
            "[room.scan]\non_failure = \"reject\"\neicar = \"quarantine\"\nmacros = \"refuse\"\n";
        assert!(exported.contains(scan), "{exported}");
        assert!(
            exported.contains("phone = \"1\"\ndisabled = true\n"),
            "{exported}"
        );
        let times = "warn_after = \"90s\"\ngive_up_after = \"2h\"\npriority_ceiling = 9\n";
        assert!(exported.contains(times), "{exported}");
        assert!(exported.contains("name = \"g\"\npriority_ceiling = 0\n"));
        assert!(
            exported.contains(
                "recipients = [\"\\\"x y\\\"\", \"\\\"a..b\\\"\", \"\\\"\\\\\\\"q\\\\\\\"\\\"\"]"
            ),
            "{exported}"
        );
        assert!(
            table(&exported, 5)
                .unwrap()
                .1
                .iter()
                .all(|it| !it.text.contains("key"))
        );
    }

    #[test]
    fn sums_up_what_changed() {
        let parse = |toml: &str| table(toml, 1).unwrap().0;
        let before = parse(&(room("a", "") + &room("b", "")));
        let after = parse(
            &(room("b", "phone = \"1\"")
                + &room("c", "")
                + &room("d", "")
                + "[[gateway]]\nname = \"inn\"\nnetwork = \"10.0.0.1\"\n"),
        );
        assert_eq!(
            before.summary(None),
            "the first table: 2 rooms, 0 groups, 0 gateways, 0 redirects"
        );
        assert_eq!(
            after.summary(Some(&before)),
            "2 rooms added (c, d), 1 room removed (a), 1 room changed (b), 1 gateway added (inn)"
        );
    }

    #[test]
    fn knows_redirects_that_are_over() {
        let toml = room("a", "")
            + &room("b", "")
            + "[[redirect]]\nroom = \"a\"\nto = \"b\"\nuntil = 2026-01-02T00:00:00Z\nreason = \"Flytting\"\n";
        let table = table(&toml, 1).unwrap().0;
        let at = |text: &str| texts(&table.stale(text.parse().unwrap()));
        assert!(at("2026-01-01T00:00:00Z").is_empty());
        assert_eq!(
            at("2026-01-02T00:00:00Z"),
            [
                "line 17: room \"a\" is redirected to \"b\" until 2026-01-02T00:00:00.000Z: Flytting: this time is over; the line can be taken out"
            ]
        );
    }
}
