//! What a sound routing table is warned of: it works, and is probably not meant.
//!
//! Pure, and of the table alone; what takes settings, users and files to see is in `ops::doubts`. Each
//! warning is one sentence that is exactly true, with the line that it is about. None refuses anything.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::document::Fault;
use crate::mail::{Address, Domain, RoomId};

use super::next_hop::{HopServer, NextHop};
use super::sources::{Holder, Line, Source, Sources};
use super::strictness::Measure;
use super::table::{AcceptsFrom, Gateway, Redirect, Room};

/// Something and the line it stands on.
#[derive(Debug)]
pub(super) struct At<T> {
    pub line: usize,
    pub value: T,
}

/// Where the entries of a table stand in the text that it was read from.
#[derive(Debug, Default)]
pub(super) struct EntryLines {
    pub rooms: HashMap<RoomId, usize>,
    pub gateways: HashMap<String, usize>,
    /// Of each room, in the order of its redirects.
    pub redirects: HashMap<RoomId, Vec<usize>>,
}

/// The entries of a table as they were written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    pub rooms: &'a [At<Arc<Room>>],
    /// Where `accepts_from` stands, for rooms that have it.
    pub accepts: &'a HashMap<RoomId, usize>,
    pub addresses: &'a [Address],
    /// The members of each of these.
    pub groups: &'a [At<Vec<At<Address>>>],
    pub gateways: &'a [At<Arc<Gateway>>],
    pub redirects: &'a [At<Redirect>],
}

/// All warnings that take more than one entry to see.
/// `lines` and `sources`: who may send, as written and by what it matches.
pub(super) fn warnings(
    written: &Written<'_>,
    lines: &[(usize, Line)],
    sources: &Sources,
) -> Vec<Fault> {
    let rooms = written.rooms_by_domain();
    let mut found = Vec::new();
    found.extend(overlaps(lines, sources));
    found.extend(written.closed_rooms());
    found.extend(written.shadows(&rooms));
    found.extend(written.members_left_out(&rooms));
    found.extend(written.namesakes());
    found.extend(written.redirects_that_never_count());
    found.extend(written.redirects_in_a_row());
    found.extend(written.redirects_to_nobody());
    found
}

/// Two rooms, or a room and a gateway, that the same peer could be.
fn overlaps(lines: &[(usize, Line)], sources: &Sources) -> Vec<Fault> {
    let told = |(at, line, other): (usize, &Line, &Line)| {
        let text = format!(
            "{} of {} is also {} of {}: the sender's domain tells which of them it is",
            line.source, line.holder, other.source, other.holder
        );
        warning(at, text)
    };
    sources.overlaps(lines).into_iter().map(told).collect()
}

fn warning(line: usize, text: String) -> Fault {
    Fault {
        line: Some(line),
        text,
    }
}

/// What is odd about one next hop.
pub(super) fn of_hop(hop: &NextHop) -> Vec<String> {
    let password = hop.exposes_password().then(|| {
        format!("{hop} shows its password to any server that answers; leave tls=opportunistic out")
    });
    let nowhere = hop.server().and_then(address_of_nobody).map(|address| {
        format!("{hop}: {address} is no server's address, so that mail would wait for nothing")
    });
    password.into_iter().chain(nowhere).collect()
}

fn address_of_nobody(server: &HopServer) -> Option<IpAddr> {
    let address: IpAddr = server.host.parse().ok()?;
    let is_broadcast = matches!(address, IpAddr::V4(it) if it.is_broadcast());
    (address.is_unspecified() || address.is_multicast() || is_broadcast).then_some(address)
}

/// Whether anybody can send as this room.
fn has_senders(room: &Room) -> bool {
    !room.workstations.is_empty() || room.strictness.unknown_workstations < Measure::Enforce
}

/// The rooms other than itself that a room takes mail from; `None`: all of them.
fn others(room: &Room) -> Option<Vec<&RoomId>> {
    match &room.accepts_from {
        AcceptsFrom::Any => None,
        AcceptsFrom::Rooms(rooms) => {
            let others = rooms.listed().iter().filter(|it| **it != room.id);
            Some(others.collect())
        }
    }
}

impl Written<'_> {
    fn rooms_by_domain(&self) -> HashMap<&Domain, &Room> {
        let domains = |room: &'_ At<Arc<Room>>| room.value.domains.len();
        let mut rooms = HashMap::with_capacity(self.rooms.iter().map(domains).sum());
        for At { value: room, .. } in self.rooms {
            rooms.extend(room.domains.iter().map(|domain| (domain, &**room)));
        }
        rooms
    }

    /// Rooms to which no other room can write. Gateways and our own reports pass `accepts_from`.
    fn closed_rooms(&self) -> Vec<Fault> {
        let rooms: HashMap<&RoomId, &Room> = self
            .rooms
            .iter()
            .map(|it| (&it.value.id, &*it.value))
            .collect();
        let can_send = |id: &&&RoomId| rooms.get(**id).is_some_and(|room| has_senders(room));
        let mut found = Vec::new();
        for At { line, value: room } in self.rooms {
            let Some(others) = others(room) else { continue };
            if others.iter().any(|id| can_send(&id)) {
                continue;
            }
            let line = self.accepts.get(&room.id).unwrap_or(line);
            found.push(warning(*line, self.closed_room(room, &others)));
        }
        found
    }

    fn closed_room(&self, room: &Room, others: &[&RoomId]) -> String {
        let id = &room.id;
        match (others, room.accepts_from.allows(id)) {
            ([], true) => {
                format!("room \"{id}\" accepts from itself alone: no other room may write to it")
            }
            ([], false) if self.gateways.is_empty() => format!(
                "room \"{id}\" accepts from no room, and there is no gateway: nobody may write to it"
            ),
            ([], false) => format!(
                "room \"{id}\" accepts from no room: only what comes through a gateway reaches it"
            ),
            _ => format!(
                "room \"{id}\" accepts from {}, as which nobody can send: no other room can write to it",
                room.accepts_from
            ),
        }
    }

    /// Groups that take mail over from a room.
    fn shadows(&self, rooms: &HashMap<&Domain, &Room>) -> Vec<Fault> {
        let groups = self.addresses.iter().zip(self.groups);
        groups
            .filter_map(|(address, group)| {
                let room = rooms.get(address.domain());
                let room = room.filter(|it| it.has(address))?;
                let also = match &room.recipients {
                    Some(_) => format!("also a recipient of room \"{}\"", room.id),
                    None => format!(
                        "at a domain of room \"{}\", which has every mailbox there",
                        room.id
                    ),
                };
                let text = format!("{address} is a group and {also}: the group gets the mail");
                Some(warning(group.line, text))
            })
            .collect()
    }

    /// Members that mail from another room to the group can never reach.
    fn members_left_out(&self, rooms: &HashMap<&Domain, &Room>) -> Vec<Fault> {
        let groups: HashSet<&Address> = self.addresses.iter().collect();
        let members = self.groups.iter().flat_map(|group| &group.value);
        members
            .filter(|member| !groups.contains(&member.value))
            .filter_map(|At { line, value }| {
                let room = rooms.get(value.domain())?;
                others(room)?.is_empty().then(|| {
                    let text = format!(
                        "{value} is in room \"{}\", which accepts from no other room: what they send to this group leaves it out",
                        room.id
                    );
                    warning(*line, text)
                })
            })
            .collect()
    }

    /// A second gateway of one name.
    fn namesakes(&self) -> Vec<Fault> {
        let mut names = HashSet::new();
        let again = self
            .gateways
            .iter()
            .filter(|it| !names.insert(&it.value.name));
        again
            .map(|At { line, value }| {
                warning(
                    *line,
                    format!("there are several gateways {:?}", value.name),
                )
            })
            .collect()
    }

    /// A second redirect of one room at one time.
    fn redirects_that_never_count(&self) -> Vec<Fault> {
        let mut found = Vec::new();
        let mut earlier: HashMap<&RoomId, Vec<&At<Redirect>>> = HashMap::new();
        for redirect in self.redirects {
            let At { line, value } = redirect;
            let others = earlier.entry(&value.room).or_default();
            let room = &value.room;
            if let Some(first) = others.iter().find(|it| covers(&it.value, value)) {
                let text = format!(
                    "this redirect of room \"{room}\" never counts: the one on line {} is open all that time",
                    first.line
                );
                found.push(warning(*line, text));
            } else if others.iter().any(|it| it.value.overlaps(value)) {
                let text = format!(
                    "room \"{room}\" has another redirect at the same time: the first one counts"
                );
                found.push(warning(*line, text));
            }
            others.push(redirect);
        }
        found
    }

    /// Redirects to a room that is redirected itself.
    fn redirects_in_a_row(&self) -> Vec<Fault> {
        let mut of: HashMap<&RoomId, Vec<&Redirect>> = HashMap::new();
        for At { value, .. } in self.redirects {
            of.entry(&value.room).or_default().push(value);
        }
        let next = |it: &At<Redirect>| {
            let onward = of.get(&it.value.to)?;
            let onward = onward.iter().find(|next| it.value.overlaps(next))?;
            let (room, to) = (&it.value.room, &it.value.to);
            let text = format!(
                "room \"{to}\" is redirected itself, to \"{}\", while this redirect is open: mail for room \"{room}\" goes there too",
                onward.to
            );
            Some(warning(it.line, text))
        };
        self.redirects.iter().filter_map(next).collect()
    }

    /// Redirects to a room that takes no mail.
    fn redirects_to_nobody(&self) -> Vec<Fault> {
        let rooms = self.rooms.iter().map(|it| &it.value);
        let disabled: HashSet<&RoomId> =
            rooms.filter(|it| it.is_disabled).map(|it| &it.id).collect();
        let to_nobody = self.redirects.iter();
        let to_nobody = to_nobody.filter(|it| disabled.contains(&it.value.to));
        let told = to_nobody.map(|At { line, value }| {
            let text = format!(
                "room \"{}\" is redirected to \"{}\", which is disabled: unless that is redirected too, mail is refused",
                value.room, value.to
            );
            warning(*line, text)
        });
        told.collect()
    }
}

/// Every line that names a peer, and where it stands.
pub(super) fn lines(rooms: &[At<Arc<Room>>], gateways: &[At<Arc<Gateway>>]) -> Vec<(usize, Line)> {
    let rooms = rooms.iter().flat_map(|room| {
        let holder = |source: &Source| Line {
            source: source.clone(),
            holder: Holder::Room(Arc::clone(&room.value)),
        };
        let sources = room.value.workstations.iter();
        sources.map(move |source| (room.line, holder(source)))
    });
    let gateways = gateways.iter().map(|gateway| {
        let line = Line {
            source: gateway.value.source.clone(),
            holder: Holder::Gateway(Arc::clone(&gateway.value)),
        };
        (gateway.line, line)
    });
    rooms.chain(gateways).collect()
}

/// Whether `one` is open whenever `other` is.
fn covers(one: &Redirect, other: &Redirect) -> bool {
    let begins = one
        .from
        .is_none_or(|from| other.from.is_some_and(|it| from <= it));
    let ends = one
        .until
        .is_none_or(|until| other.until.is_some_and(|it| it <= until));
    begins && ends
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::super::table::RoutingTable;

    /// Six lines: `next_hops` is the fifth, and `extra` begins on the sixth.
    fn room(id: &str, extra: &str) -> String {
        format!(
            "[[room]]\nid = \"{id}\"\nname = \"{id}\"\ndomains = [\"{id}.test\"]\n\
             next_hops = [\"maildir:{id}\"]\n{extra}\n[[room.workstation]]\nuser = \"{id}\"\n"
        )
    }

    fn redirect(room: &str, to: &str, from: &str, until: &str) -> String {
        let from = match from {
            "" => String::new(),
            day => format!("from = 2026-01-{day}T00:00:00Z\n"),
        };
        format!(
            "[[redirect]]\nroom = \"{room}\"\nto = \"{to}\"\n{from}until = 2026-01-{until}T00:00:00Z\n"
        )
    }

    fn warned(toml: &str) -> Vec<String> {
        let (_, warnings) =
            RoutingTable::parse(toml, 1).unwrap_or_else(|it| panic!("{it:?} {toml}"));
        warnings.iter().map(ToString::to_string).collect()
    }

    const GATEWAY: &str = "[[gateway]]\nname = \"inn\"\nnetwork = \"10.9.0.1\"\n";

    #[test]
    fn rooms_that_nobody_may_write_to() {
        let b = || room("b", "");
        let nobody = b().replace("[[room.workstation]]\nuser = \"b\"\n", "");
        let alone = "line 9: room \"b\" has no workstation: nobody can send as it";
        #[rustfmt::skip]
        let cases = [
            (room("a", "accepts_from = []") + &b(), vec![
                "line 6: room \"a\" accepts from no room, and there is no gateway: nobody may write to it"]),
            (room("a", "accepts_from = []") + &b() + GATEWAY, vec![
                "line 6: room \"a\" accepts from no room: only what comes through a gateway reaches it"]),
            (room("a", "phone = \"1\"\naccepts_from = [\"a\"]") + &b() + GATEWAY, vec![
                "line 7: room \"a\" accepts from itself alone: no other room may write to it"]),
            (room("a", "accepts_from = [\"b\"]") + &nobody, vec![
                "line 6: room \"a\" accepts from b, as which nobody can send: no other room can write to it", alone]),
            (room("a", "accepts_from = [\"a\", \"b\"]") + &nobody, vec![
                "line 6: room \"a\" accepts from a, b, as which nobody can send: no other room can write to it", alone]),
            (room("a", "accepts_from = [\"b\"]") + &b(), vec![]),
            (room("a", "accepts_from = \"any\"") + &b(), vec![]),
            (room("a", "accepts_from = [\"b\"]") + &nobody + "strictness = { unknown_workstations = \"report\" }\n", vec![
                "line 15: room \"b\" does not enforce unknown_workstations (report): whoever reaches the relay can send as it"]),
        ];
        for (toml, expected) in cases {
            assert_eq!(warned(&toml), expected, "{toml}");
        }
    }

    #[test]
    fn next_hops_that_are_nobodys() {
        let hop = |hop: &str| room("a", "").replace("maildir:a", hop);
        #[rustfmt::skip]
        let cases = [
            ("smtp://0.0.0.0", vec!["line 5: smtp://0.0.0.0:25: 0.0.0.0 is no server's address, so that mail would wait for nothing"]),
            ("smtps://[::]:465", vec!["line 5: smtps://[::]:465: :: is no server's address, so that mail would wait for nothing"]),
            ("lmtp://224.0.0.1", vec!["line 5: lmtp://224.0.0.1:24: 224.0.0.1 is no server's address, so that mail would wait for nothing"]),
            ("smtp://255.255.255.255", vec!["line 5: smtp://255.255.255.255:25: 255.255.255.255 is no server's address, so that mail would wait for nothing"]),
            ("smtp://127.0.0.1\", \"smtp://127.0.0.1:25", vec!["line 5: smtp://127.0.0.1:25 is named twice; once is enough"]),
            ("smtp://127.0.0.1\", \"smtp://127.0.0.1:26", vec![]),
        ];
        for (written, expected) in cases {
            assert_eq!(warned(&hop(written)), expected, "{written}");
        }
    }

    #[test]
    fn members_that_groups_never_reach() {
        let group =
            |members: &str| format!("[[group]]\naddress = \"g@g.test\"\nmembers = [{members}]\n");
        let open = room("a", "") + &room("c", "");
        let (closed, own) = (
            room("b", "accepts_from = []"),
            room("b", "accepts_from = [\"b\"]"),
        );
        #[rustfmt::skip]
        let cases = [
            (format!("{open}{closed}{}", group("\"x@a.test\",\n\"x@b.test\"")), vec![
                "line 22: room \"b\" accepts from no room, and there is no gateway: nobody may write to it",
                "line 28: x@b.test is in room \"b\", which accepts from no other room: what they send to this group leaves it out"]),
            (format!("{open}{own}{}", group("\"x@b.test\"")), vec![
                "line 22: room \"b\" accepts from itself alone: no other room may write to it",
                "line 27: x@b.test is in room \"b\", which accepts from no other room: what they send to this group leaves it out"]),
            (format!("{open}{}", group("\"x@a.test\"")), vec![]),
        ];
        for (toml, expected) in cases {
            assert_eq!(warned(&toml), expected, "{toml}");
        }
    }

    #[test]
    fn groups_that_take_mail_over_from_a_room() {
        let group = |address: &str| {
            format!("[[group]]\naddress = \"{address}\"\nmembers = [\"y@b.test\"]\n")
        };
        let rooms = |extra: &str| room("a", extra) + &room("b", "");
        let two = "recipients = [\"x\"]";
        #[rustfmt::skip]
        let cases = [
            (rooms("") + &group("x@a.test"), vec![
                "line 17: x@a.test is a group and at a domain of room \"a\", which has every mailbox there: the group gets the mail"]),
            (rooms(two) + &group("X@a.test"), vec![
                "line 17: X@a.test is a group and also a recipient of room \"a\": the group gets the mail"]),
            (rooms(two) + &group("z@a.test"), vec![]),
            (rooms("") + &group("x@g.test"), vec![]),
        ];
        for (toml, expected) in cases {
            assert_eq!(warned(&toml), expected, "{toml}");
        }
    }

    #[test]
    fn redirects_that_lead_elsewhere_than_they_say() {
        let rooms = room("a", "") + &room("b", "") + &room("c", "");
        #[rustfmt::skip]
        let cases = [
            (redirect("a", "b", "01", "09") + &redirect("a", "c", "02", "09"), vec![
                "line 30: this redirect of room \"a\" never counts: the one on line 25 is open all that time"]),
            (redirect("a", "b", "", "09") + &redirect("a", "c", "02", "08"), vec![
                "line 29: this redirect of room \"a\" never counts: the one on line 25 is open all that time"]),
            (redirect("a", "b", "01", "09") + &redirect("a", "c", "", "09"), vec![
                "line 30: room \"a\" has another redirect at the same time: the first one counts"]),
            (redirect("a", "b", "01", "05") + &redirect("a", "c", "05", "09"), vec![]),
            (redirect("a", "b", "01", "05") + &redirect("b", "c", "04", "09"), vec![
                "line 25: room \"b\" is redirected itself, to \"c\", while this redirect is open: mail for room \"a\" goes there too"]),
            (redirect("a", "b", "01", "05") + &redirect("b", "c", "05", "09"), vec![]),
        ];
        for (redirects, expected) in cases {
            assert_eq!(
                warned(&format!("{rooms}{redirects}")),
                expected,
                "{redirects}"
            );
        }
    }
}
