//! Mail of the past, asked of two tables: which of it would fare otherwise under the new one.
//!
//! Each pair of sender and recipient is decided as at RCPT TO, for the room or gateway that may send as
//! that sender: which workstation it came from is not asked. A member of a group is asked by itself, and
//! under the group that it was reached through. Pure, and it cannot fail.

use std::cmp::Reverse;
use std::fmt;

use crate::mail::{Address, Origin, RoomId, Timestamp};
use crate::spool::store::Pair;

use super::decide::{Decision, decide, is_ours, route};
use super::table::{NextHop, RoutingTable};

/// What becomes of mail between two addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Accepted {
        room: RoomId,
        /// Another room while a redirect is open.
        via: Option<RoomId>,
        /// Without passwords.
        next_hops: Vec<String>,
    },
    Refused {
        rule: String,
    },
    Deferred {
        rule: String,
    },
    /// It is kept until its room takes mail again.
    Waits {
        rule: String,
    },
}

/// How a pair would fare otherwise; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    Refused,
    Waiting,
    Accepted,
    Elsewhere,
}

/// A pair that would fare otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    pub pair: Pair,
    pub effect: Effect,
    pub before: Fate,
    pub after: Fate,
}

impl Effect {
    pub const ALL: [Self; 4] = [
        Self::Refused,
        Self::Waiting,
        Self::Accepted,
        Self::Elsewhere,
    ];
}

/// `accept: room-b by smtp://10.0.0.1:25`, or `refuse:` and the rule.
impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { rule } => write!(f, "refuse: {rule}"),
            Self::Deferred { rule } => write!(f, "defer: {rule}"),
            Self::Waits { rule } => write!(f, "wait: {rule}"),
            Self::Accepted {
                room,
                via,
                next_hops,
            } => {
                write!(f, "accept: {room}")?;
                if let Some(via) = via {
                    write!(f, ", redirected to {via},")?;
                }
                write!(f, " by {}", next_hops.join(", "))
            }
        }
    }
}

/// Those of `pairs` that fare otherwise under `after` than under `before`, the worst first, and then
/// those with the most messages.
pub fn replay(
    pairs: Vec<Pair>,
    before: &RoutingTable,
    after: &RoutingTable,
    now: Timestamp,
) -> Vec<Traffic> {
    let compared = pairs.into_iter().filter_map(|pair| {
        let old = fate(&pair, before, now);
        let new = fate(&pair, after, now);
        let effect = effect(&old, &new)?;
        Some(Traffic {
            pair,
            effect,
            before: old,
            after: new,
        })
    });
    let mut traffic: Vec<Traffic> = compared.collect();
    traffic.sort_by(|one, other| key(one).cmp(&key(other)));
    traffic
}

fn key(it: &Traffic) -> (Effect, Reverse<u64>, Option<&str>, &str) {
    let (sender, recipient) = (it.pair.sender.as_deref(), it.pair.recipient.as_str());
    (it.effect, Reverse(it.pair.messages), sender, recipient)
}

/// `None`: it fares as before. Another rule alone is nothing to anybody.
fn effect(before: &Fate, after: &Fate) -> Option<Effect> {
    let is_accepted = |fate: &Fate| matches!(fate, Fate::Accepted { .. });
    match (is_accepted(before), is_accepted(after)) {
        (true, false) if matches!(after, Fate::Waits { .. }) => Some(Effect::Waiting),
        (true, false) => Some(Effect::Refused),
        (false, true) => Some(Effect::Accepted),
        (true, true) if before != after => Some(Effect::Elsewhere),
        _ => None,
    }
}

fn fate(pair: &Pair, table: &RoutingTable, now: Timestamp) -> Fate {
    let sender = pair.sender.as_deref();
    let sender = sender.and_then(|it| Address::parse(it).ok());
    if let Some(room) = room_of_report(pair, table) {
        return taken(room, table, now);
    }
    let origin = match origin(pair, sender.as_ref(), table) {
        Ok(origin) => origin,
        Err(rule) => return Fate::Refused { rule },
    };
    let asked = pair.group.as_deref().unwrap_or(&pair.recipient);
    let decision = decide(&origin, sender.as_ref(), asked, table, now);
    let accepted = match decision {
        Decision::Accept(accepted) => accepted,
        Decision::Refuse(refused) => return Fate::Refused { rule: refused.rule },
        Decision::Defer(refused) => return Fate::Deferred { rule: refused.rule },
    };
    let is_meant = |it: &Address| it.to_string() == pair.recipient;
    if let Some(found) = accepted.recipients.iter().find(|it| is_meant(&it.address)) {
        return taken(&found.room, table, now);
    }
    let left_out = accepted.left_out.into_iter().find(|(it, _)| is_meant(it));
    let rule = match (left_out, accepted.recipients.first()) {
        (Some((_, rule)), _) => rule,
        // A mailbox that has become a group goes where its first member is.
        (None, Some(first)) if pair.group.is_none() => return taken(&first.room, table, now),
        (None, _) => format!("group {asked} has no member {}", pair.recipient),
    };
    Fate::Refused { rule }
}

/// A report of our own is for a room, and nobody asks whether that takes it.
fn room_of_report<'t>(pair: &Pair, table: &'t RoutingTable) -> Option<&'t RoomId> {
    let recipient = Address::parse(&pair.recipient).ok();
    let recipient = recipient.filter(|_| pair.is_ours)?;
    table.room_of(recipient.domain()).map(|room| &room.id)
}

/// The one who may send as the pair's sender, as far as the log knows it; or why nobody may.
fn origin(pair: &Pair, sender: Option<&Address>, table: &RoutingTable) -> Result<Origin, String> {
    if pair.is_ours {
        return Ok(Origin::Relay);
    }
    let owner = sender.and_then(|it| table.room_of(it.domain()));
    match (&pair.sender_room, sender, owner) {
        (Some(_), Some(_), Some(owner)) => Ok(Origin::Room(owner.id.clone())),
        (Some(_), Some(sender), None) => {
            let domain = sender.domain();
            Err(format!("no registered room has the domain {domain}"))
        }
        (Some(room), None, _) => match table.room(room) {
            Some(room) => Ok(Origin::Room(room.id.clone())),
            None => Err(format!("there is no room \"{room}\"")),
        },
        (None, _, Some(owner)) => Err(format!(
            "a gateway may not send as an address of room \"{}\"",
            owner.id
        )),
        (None, Some(sender), None) if is_ours(sender, table) => {
            Err(format!("nobody may send as {sender}"))
        }
        (None, _, None) => match table.gateways().next() {
            Some(gateway) => Ok(Origin::Gateway(gateway.name.clone())),
            None => Err("there is no gateway".to_owned()),
        },
    }
}

fn taken(room: &RoomId, table: &RoutingTable, now: Timestamp) -> Fate {
    let route = route(room, table, now);
    if let Some(waits) = route.as_ref().filter(|it| it.next_hops.is_empty()) {
        let rule = waits.rule.clone();
        return Fate::Waits { rule };
    }
    let via = route.as_ref().map(|it| it.via.clone());
    let next_hops = route.map_or_else(Vec::new, |it| it.next_hops);
    Fate::Accepted {
        room: room.clone(),
        via: via.filter(|it| it != room),
        next_hops: next_hops.iter().map(NextHop::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_763_800_000_000);
    const ROOMS: &str = "[[room]]\nid = \"a\"\nname = \"A\"\ndomains = [\"a.test\"]\nnext_hops = [\"maildir:a\"]\n\
        [[room]]\nid = \"b\"\nname = \"B\"\ndomains = [\"b.test\"]\nnext_hops = [\"maildir:b\"]\n";
    const ALL: &str =
        "[[group]]\naddress = \"alle@g.test\"\nmembers = [\"vakt@a.test\", \"vakt@b.test\"]\n";
    const INN: &str = "[[gateway]]\nname = \"inn\"\nnetwork = \"10.0.0.0/24\"\n";

    fn table(parts: &[&str]) -> RoutingTable {
        RoutingTable::parse(&parts.concat(), 1).unwrap().0
    }

    fn pair(sender: Option<&str>, room: Option<&str>) -> Pair {
        Pair {
            sender: sender.map(str::to_owned),
            sender_room: room.map(RoomId::new),
            is_ours: false,
            recipient: "vakt@b.test".to_owned(),
            group: None,
            messages: 3,
        }
    }

    fn from_a() -> Pair {
        pair(Some("vakt@a.test"), Some("a"))
    }

    fn through_group() -> Pair {
        Pair {
            group: Some("alle@g.test".to_owned()),
            ..from_a()
        }
    }

    fn ours() -> Pair {
        Pair {
            is_ours: true,
            ..pair(None, None)
        }
    }

    fn told(pair: Pair, before: &[&str], after: &[&str]) -> Option<(Effect, String)> {
        let found = replay(vec![pair], &table(before), &table(after), NOW);
        found.first().map(|it| (it.effect, it.after.to_string()))
    }

    #[test]
    fn each_kind_of_mail_is_asked_as_what_it_is() {
        let (room_a, room_b) = ROOMS.split_at(ROOMS.rfind("[[room]]").unwrap());
        let closed = [room_b, "accepts_from = []\n"].concat();
        let disabled = [room_b, "disabled = true\n"].concat();
        let listed = [room_b, "recipients = [\"leder\"]\n"].concat();
        let moved = room_b.replace("maildir:b", "maildir:z");
        let alone = ALL.replace(", \"vakt@b.test\"", "");
        let redirect = "[[redirect]]\nroom = \"b\"\nto = \"a\"\n";
        let theirs = room_a.replace("\"a.test\"", "\"a.test\", \"x.test\"");
        let outside = || pair(Some("lege@x.test"), None);
        let refused = |rule: &str| Some((Effect::Refused, format!("refuse: {rule}")));
        let elsewhere = |fate: &str| Some((Effect::Elsewhere, fate.to_owned()));
        let no_room = "no registered room has the domain";
        let not_a = "room \"b\" accepts from no room, not from \"a\"";
        for (pair, before, after, expected) in [
            (from_a(), vec![ROOMS], vec![ROOMS], None),
            (
                from_a(),
                vec![ROOMS],
                vec![room_a, &disabled],
                refused("room \"b\" is disabled"),
            ),
            (
                from_a(),
                vec![ROOMS],
                vec![room_a, &disabled, redirect],
                elsewhere("accept: b, redirected to a, by maildir:a"),
            ),
            (
                from_a(),
                vec![ROOMS],
                vec![room_a],
                refused(&format!("{no_room} b.test")),
            ),
            (
                from_a(),
                vec![ROOMS],
                vec![room_b],
                refused(&format!("{no_room} a.test")),
            ),
            (from_a(), vec![ROOMS], vec![room_a, &closed], refused(not_a)),
            (
                from_a(),
                vec![room_a, &closed],
                vec![ROOMS],
                Some((Effect::Accepted, "accept: b by maildir:b".to_owned())),
            ),
            (
                from_a(),
                vec![ROOMS],
                vec![room_a, &moved],
                elsewhere("accept: b by maildir:z"),
            ),
            (
                from_a(),
                vec![ROOMS],
                vec![ROOMS, redirect],
                elsewhere("accept: b, redirected to a, by maildir:a"),
            ),
            // Both refuse it, each by another rule.
            (from_a(), vec![room_a, &closed], vec![room_a], None),
            // What came through a group is asked of the group.
            (
                through_group(),
                vec![ROOMS, ALL],
                vec![ROOMS],
                refused(&format!("{no_room} g.test")),
            ),
            (
                through_group(),
                vec![ROOMS, ALL],
                vec![ROOMS, &alone],
                refused("group alle@g.test has no member vakt@b.test"),
            ),
            (
                through_group(),
                vec![ROOMS, ALL],
                vec![room_a, &closed, ALL],
                refused(not_a),
            ),
            // accepts_from concerns senders in rooms.
            (
                outside(),
                vec![ROOMS, INN],
                vec![room_a, &closed, INN],
                None,
            ),
            (
                outside(),
                vec![ROOMS, INN],
                vec![ROOMS],
                refused("there is no gateway"),
            ),
            (
                outside(),
                vec![ROOMS, INN],
                vec![&theirs, room_b, INN],
                refused("a gateway may not send as an address of room \"a\""),
            ),
            (ours(), vec![ROOMS], vec![room_a, &closed], None),
            // Nobody refuses a report of our own: it waits.
            (
                ours(),
                vec![ROOMS],
                vec![room_a, &disabled],
                Some((Effect::Waiting, "wait: room \"b\" is disabled".to_owned())),
            ),
            (
                ours(),
                vec![room_a, &disabled],
                vec![ROOMS],
                Some((Effect::Accepted, "accept: b by maildir:b".to_owned())),
            ),
            (
                ours(),
                vec![ROOMS],
                vec![room_a, &disabled, redirect],
                elsewhere("accept: b, redirected to a, by maildir:a"),
            ),
            (ours(), vec![ROOMS], vec![room_a, &listed], None),
            (
                pair(None, Some("a")),
                vec![ROOMS],
                vec![room_b],
                refused("there is no room \"a\""),
            ),
            (
                pair(None, Some("a")),
                vec![ROOMS],
                vec![room_a, &closed],
                refused(not_a),
            ),
        ] {
            let shown = format!("{pair:?} {after:?}");
            assert_eq!(told(pair, &before, &after), expected, "{shown}");
        }
    }
}
