//! A room, as it is written.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Draft, ceiling};
use crate::document::{self, Table, Value};
use crate::mail::{Action, Address, Domain, OnFailure, RoomId, Rule};
use crate::policy::checks::{self, At};
use crate::policy::next_hop::NextHop;
use crate::policy::sources::Source;
use crate::policy::strictness::{Measure, Strictness};
use crate::policy::table::{AcceptsFrom, Mailboxes, Room, RoomKind, RoomScan, Rooms};

/// A name in an SMTP reply and in a folder's name: longer is nobody's wish.
const ID_LENGTH: usize = 64;

/// A room's own times; `None`: those of the settings.
struct Times {
    warn_after: Option<Duration>,
    give_up_after: Option<Duration>,
}

impl Draft {
    pub(super) fn read_room(&mut self, mut entry: Table<'_>) {
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
        Some(AcceptsFrom::Rooms(Rooms::new(rooms)))
    }
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

fn filled_list<'d>(value: Value<'d>, advice: &str) -> Vec<Value<'d>> {
    if value.is_empty_list() {
        value.fault(advice);
    }
    value.list().unwrap_or_default()
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
