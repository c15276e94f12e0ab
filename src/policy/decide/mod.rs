//! May this peer send, as this sender, to this recipient, and why.
//!
//! Each question of the SMTP dialogue is one function: [`sender`] at MAIL FROM, [`decide`] at RCPT
//! TO, [`author`] at the end of DATA, [`secure`] wherever it matters how it is spoken, [`route`] at each
//! attempt, and [`explain`] for a person who asks all of them at once. Every answer names the line of
//! the table that gave it. What matches no line is refused.

mod explain;
#[cfg(test)]
mod tests;

use std::fmt::{Arguments, Write as _};

use crate::mail::headers::{Author, Claim, Origination};
use crate::mail::{
    Address, AddressFault, Certificate, Domain, Doubt, Lapse, Lapses, Login, Origin, Peer,
    Recipient, Reply, RoomId, Station, StationKind, Timestamp, Wishes,
};

use super::table::{Group, Holder, Line, Measure, NextHop, Redirect, Room, RoutingTable, Source};
pub use explain::{Client, Explanation, Step, Tried, explain};

/// Something policy refuses or puts off: the reply (without its reference), the rule in words and
/// the revision of the table that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub reply: Reply,
    pub rule: String,
    pub revision: u64,
    /// The room that the refused recipient belongs to, where it is known.
    pub recipient_room: Option<RoomId>,
    /// The room that the peer speaks for, where a sender was refused.
    pub sender_room: Option<RoomId>,
}

/// A peer that may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// For whom, and by what the table knows it.
    pub station: Station,
    /// No line of the table names it, and the room that it says it is lets that pass.
    pub is_stranger: bool,
}

impl Admitted {
    /// What it lacks already, before any content. Gateways have nothing to do about it.
    pub const fn lapses(&self, peer: &Peer) -> Lapses {
        match &self.station.origin {
            Origin::Room(_) => Lapses::NONE
                .and_if(peer.tls.is_none(), Lapse::MissingTls)
                .and_if(self.is_stranger, Lapse::UnknownWorkstation),
            Origin::Gateway(_) | Origin::Relay => Lapses::NONE,
        }
    }
}

/// A recipient that is let in: one, or each member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub recipients: Vec<Recipient>,
    /// Members of a group whose rooms do not accept the sender, with the rule.
    pub left_out: Vec<(Address, String)>,
}

/// The answer for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Accept(Accepted),
    Refuse(Refused),
    /// We cannot tell now: 4xx.
    Defer(Refused),
}

/// Where a room's mail goes at this moment. No next hop: the room is disabled, and its mail waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The room whose next hops are used: another one while a redirect is open.
    pub via: RoomId,
    pub next_hops: Vec<NextHop>,
    pub rule: String,
    pub revision: u64,
}

fn refused(table: &RoutingTable, reply: Reply, rule: impl Into<String>) -> Refused {
    Refused {
        reply,
        rule: rule.into(),
        revision: table.revision(),
        recipient_room: None,
        sender_room: None,
    }
}

impl Refused {
    fn of_room(self, room: &Room) -> Self {
        Self {
            recipient_room: Some(room.id.clone()),
            ..self
        }
    }
}

/// MAIL FROM: who is this peer, and may it send as `sender` (`None` is `<>`)?
/// `could_identify`: it could still start TLS or authenticate, so an unknown one hears 530.
pub fn sender(
    peer: &Peer,
    sender: Option<&Address>,
    could_identify: bool,
    table: &RoutingTable,
) -> Result<Admitted, Refused> {
    let found = match sender {
        Some(address) => holder_of(peer, address, table),
        None => first_line(peer, table, is_room).or_else(|| table.lines(peer).next()),
    };
    let admitted = match found {
        Some(line) => Some(Admitted {
            station: station(peer, line),
            is_stranger: false,
        }),
        None => stranger(peer, sender, table),
    };
    admitted
        .ok_or_else(|| with_certificate(peer, sender_refused(peer, sender, could_identify, table)))
}

/// For whom else than `first` a peer may send a report. The null sender names nobody, so where one peer
/// is a server of several rooms, or a gateway too, only [`author`] tells which of them speaks.
pub fn other_reporters(peer: &Peer, first: &Origin, table: &RoutingTable) -> Vec<Admitted> {
    let mut others: Vec<Admitted> = Vec::new();
    for line in table.lines(peer) {
        let station = station(peer, line);
        let is_new = |it: &Admitted| it.station.origin != station.origin;
        if station.origin != *first && others.iter().all(is_new) {
            others.push(Admitted {
                station,
                is_stranger: false,
            });
        }
    }
    others
}

/// By what `line` knows this peer.
fn station(peer: &Peer, line: &Line) -> Station {
    let (kind, name) = match &line.source {
        Source::Certificate(name) => (StationKind::Certificate, name.clone()),
        Source::User(name) => (StationKind::User, name.clone()),
        Source::Network(_) => (StationKind::Address, shown_address(peer)),
    };
    Station {
        origin: origin(&line.holder),
        kind,
        name,
    }
}

fn shown_address(peer: &Peer) -> String {
    peer.address.ip().to_canonical().to_string()
}

/// A peer that no line names, of a room that lets such send as it. Whoever has logged in is no
/// stranger: it has said who it is, and that is nobody's workstation. Nor is who shows what was revoked.
fn stranger(peer: &Peer, sender: Option<&Address>, table: &RoutingTable) -> Option<Admitted> {
    let doubt = peer.certificate.as_ref().and_then(Certificate::doubt);
    let is_somebody = peer.user.is_some() || table.lines(peer).next().is_some();
    if is_somebody || doubt == Some(&Doubt::Revoked) {
        return None;
    }
    let room = table.room_of(sender?.domain())?;
    let passes = room.strictness.unknown_workstations < Measure::Enforce;
    passes.then(|| Admitted {
        station: Station {
            origin: Origin::Room(room.id.clone()),
            kind: StationKind::Address,
            name: shown_address(peer),
        },
        is_stranger: true,
    })
}

/// Whether a peer that sends for `origin` may do so as it speaks now. `can_start_tls`: STARTTLS is
/// offered, so it hears 530.
pub fn secure(
    peer: &Peer,
    origin: &Origin,
    can_start_tls: bool,
    table: &RoutingTable,
) -> Result<(), Refused> {
    let Origin::Room(room) = origin else {
        return Ok(());
    };
    if peer.tls.is_some() || table.strictness(origin).missing_tls < Measure::Enforce {
        return Ok(());
    }
    let reply = match can_start_tls {
        true => Reply::room_needs_tls(room),
        false => Reply::room_needs_tls_elsewhere(room),
    };
    let rule = format!("room \"{room}\" enforces missing_tls: nothing is taken in plain text");
    Err(Refused {
        sender_room: Some(room.clone()),
        ..refused(table, reply, rule)
    })
}

/// The line that lets `peer` send as `address`: of the room that the address is in, or of a gateway
/// where it is in none.
fn holder_of<'a>(peer: &'a Peer, address: &Address, table: &'a RoutingTable) -> Option<&'a Line> {
    if let Some(room) = table.room_of(address.domain()) {
        let same = |holder: &Holder| matches!(holder, Holder::Room(it) if it.id == room.id);
        return first_line(peer, table, same);
    }
    if is_ours(address, table) {
        return None;
    }
    first_line(peer, table, |holder| !is_room(holder))
}

/// A group's address, or one of the relay itself: as that nobody sends, and from outside it is a lie.
pub(super) fn is_ours(address: &Address, table: &RoutingTable) -> bool {
    table.group(address).is_some() || table.is_relay(address.domain())
}

fn first_line<'a>(
    peer: &'a Peer,
    table: &'a RoutingTable,
    wanted: impl Fn(&Holder) -> bool,
) -> Option<&'a Line> {
    table.lines(peer).find(|line| wanted(&line.holder))
}

const fn is_room(holder: &Holder) -> bool {
    matches!(holder, Holder::Room(_))
}

fn origin(holder: &Holder) -> Origin {
    match holder {
        Holder::Room(room) => Origin::Room(room.id.clone()),
        Holder::Gateway(gateway) => Origin::Gateway(gateway.name.clone()),
    }
}

fn sender_refused(
    peer: &Peer,
    sender: Option<&Address>,
    could_identify: bool,
    table: &RoutingTable,
) -> Refused {
    let shown = sender.map(Address::to_string).unwrap_or_default();
    let line = first_line(peer, table, is_room).or_else(|| table.lines(peer).next());
    let Some(Line { source, holder }) = line else {
        return nobody(peer, could_identify, table);
    };
    let reply = match holder {
        Holder::Room(room) => Reply::sender_not_of_room(&shown, &room.id),
        Holder::Gateway(gateway) => Reply::sender_of_room_from_gateway(&shown, &gateway.name),
    };
    let rule = format!("{source} is {holder}, which may not send as {shown}");
    let sender_room = origin(holder).room().cloned();
    Refused {
        sender_room,
        ..refused(table, reply, rule)
    }
}

/// What a certificate came to may be why: a workstation whose certificate has expired is to hear it.
fn with_certificate(peer: &Peer, refused: Refused) -> Refused {
    let Some(certificate) = &peer.certificate else {
        return refused;
    };
    let rule = refused.rule;
    match certificate.doubt() {
        Some(doubt) => Refused {
            reply: refused
                .reply
                .adding(Reply::certificate_proves_nothing(certificate, doubt)),
            rule: format!("{rule}; its certificate {certificate} {doubt}"),
            ..refused
        },
        None => Refused {
            rule: format!("{rule}; its certificate is {certificate}"),
            ..refused
        },
    }
}

/// A peer that no line names.
fn nobody(peer: &Peer, could_identify: bool, table: &RoutingTable) -> Refused {
    let client = peer.address.ip().to_canonical();
    if let Some(user) = peer.user.as_ref().map(Login::name) {
        let mut rule = format!("no workstation is user {user:?}");
        if !client.is_unspecified() {
            let _ = write!(rule, ", no workstation or gateway is {client}");
        }
        return refused(table, Reply::user_of_no_room(user), rule);
    }
    let reply = match (could_identify, peer.tls.is_some()) {
        (true, false) => Reply::identify_first(client, "STARTTLS"),
        (true, true) => Reply::identify_first(client, "AUTH"),
        (false, _) => Reply::unknown_workstation(client),
    };
    let rule = format!("no workstation or gateway is {client}");
    refused(table, reply, rule)
}

/// Hears of each rule that was asked and did not decide. Nothing is written out where nobody listens.
type Passed<'a> = &'a mut dyn FnMut(Arguments<'_>);

/// RCPT TO: `recipient` is what stands between `<` and `>`.
pub fn decide(
    origin: &Origin,
    _sender: Option<&Address>,
    recipient: &str,
    table: &RoutingTable,
    now: Timestamp,
) -> Decision {
    ask(origin, recipient, table, now, &mut |_| ())
}

/// One rule after the other, until one decides.
fn ask(
    origin: &Origin,
    recipient: &str,
    table: &RoutingTable,
    now: Timestamp,
    passed: Passed<'_>,
) -> Decision {
    // RFC 5321 §4.5.1: <postmaster> without a domain, in any case of letters.
    if recipient.eq_ignore_ascii_case("postmaster") {
        return decide_postmaster(table, now);
    }
    passed(format_args!("it is not <postmaster>"));
    let address = match Address::parse(recipient) {
        Ok(address) => address,
        Err(fault) => return Decision::Refuse(unparsable(recipient, fault, table)),
    };
    passed(format_args!("it is one address, and names no way"));
    if let Some(group) = table.group(&address) {
        return decide_group(origin, group, table, now);
    }
    passed(format_args!("no group is {address}"));
    match table.room_of(address.domain()) {
        Some(room) => {
            let domain = address.domain();
            passed(format_args!("room \"{}\" has the domain {domain}", room.id));
            decide_mailbox(origin, &address, room, table, now, passed)
        }
        None => Decision::Refuse(refused(
            table,
            Reply::external_recipient(recipient),
            format!("no registered room has the domain {}", address.domain()),
        )),
    }
}

fn unparsable(recipient: &str, fault: AddressFault, table: &RoutingTable) -> Refused {
    let reply = match fault {
        AddressFault::SourceRoute
        | AddressFault::PercentHack
        | AddressFault::BangPath
        | AddressFault::QuotedAt
        | AddressFault::TrailingDot => Reply::routed_recipient(recipient),
        AddressFault::AddressLiteral | AddressFault::Domain => Reply::external_recipient(recipient),
        AddressFault::Syntax | AddressFault::TooLong => {
            Reply::recipient_syntax(recipient, &fault.to_string())
        }
    };
    refused(
        table,
        reply,
        format!("no room's address is written so: {fault}"),
    )
}

fn decide_postmaster(table: &RoutingTable, now: Timestamp) -> Decision {
    const RULE: &str = "<postmaster> stands for the setting \"postmaster\"";
    let Some(address) = table.postmaster() else {
        let rule = format!("{RULE}, which is not set");
        return Decision::Refuse(refused(table, Reply::no_postmaster(), rule));
    };
    match table.room_of(address.domain()) {
        Some(room) => match takes(room, table, now) {
            Ok(()) => accept_one(address, room, format!("{RULE}, {address}"), table),
            Err(rule) => Decision::Refuse(disabled(address, room, rule, table)),
        },
        None => {
            let rule = format!("{RULE}, {address}, whose domain belongs to no room");
            Decision::Defer(refused(table, Reply::policy_unsure(), rule))
        }
    }
}

fn decide_mailbox(
    origin: &Origin,
    address: &Address,
    room: &Room,
    table: &RoutingTable,
    now: Timestamp,
    passed: Passed<'_>,
) -> Decision {
    if !room.has(address) {
        let near = room.nearest(address);
        let reply = Reply::unknown_mailbox(&address.to_string(), near.as_ref());
        let local = address.local();
        let rule = format!("room \"{}\": recipients do not include {local:?}", room.id);
        return Decision::Refuse(refused(table, reply, rule).of_room(room));
    }
    passed(format_args!("room \"{}\" has this mailbox", room.id));
    if let Err(rule) = accepts(origin, room) {
        let phone = room.phone.as_deref();
        let reply = Reply::not_accepted_by_room(&address.to_string(), &room.name, phone);
        return Decision::Refuse(refused(table, reply, rule).of_room(room));
    }
    match takes(room, table, now) {
        Ok(()) => accept_one(address, room, acceptance(address, room), table),
        Err(rule) => Decision::Refuse(disabled(address, room, rule, table)),
    }
}

fn disabled(address: &Address, room: &Room, rule: String, table: &RoutingTable) -> Refused {
    let phone = room.phone.as_deref();
    let reply = Reply::room_disabled(&address.to_string(), &room.name, phone);
    refused(table, reply, rule).of_room(room)
}

fn decide_group(origin: &Origin, group: &Group, table: &RoutingTable, now: Timestamp) -> Decision {
    let mut accepted = Accepted {
        recipients: Vec::new(),
        left_out: Vec::new(),
    };
    for address in &group.mailboxes {
        let Some(room) = table.room_of(address.domain()) else {
            continue;
        };
        match accepts(origin, room).and_then(|()| takes(room, table, now)) {
            Ok(()) => {
                let rule = format!("group {}; {}", group.address, acceptance(address, room));
                let recipient = recipient(address, room, rule, table);
                accepted.recipients.push(Recipient {
                    group: Some(group.address.clone()),
                    ..recipient
                });
            }
            Err(rule) => accepted.left_out.push((address.clone(), rule)),
        }
    }
    if accepted.recipients.is_empty() {
        let reply = Reply::not_accepted_by_group(&group.address.to_string());
        let rule = format!("group {} has no member that accepts this", group.address);
        return Decision::Refuse(refused(table, reply, rule));
    }
    Decision::Accept(accepted)
}

/// `accepts_from` concerns senders in rooms; gateways and our own reports pass it.
fn accepts(origin: &Origin, room: &Room) -> Result<(), String> {
    match origin.room() {
        Some(from) if !room.accepts_from.allows(from) => Err(format!(
            "room \"{}\" accepts from {}, not from \"{from}\"",
            room.id, room.accepts_from
        )),
        _ => Ok(()),
    }
}

/// A disabled room takes no mail, whoever sends it, nor does one that is redirected to such.
fn takes(room: &Room, table: &RoutingTable, now: Timestamp) -> Result<(), String> {
    let mut rules = Vec::new();
    let tried = |it: &Redirect, is_open: bool| rules.extend(is_open.then(|| it.to_string()));
    match destination(room, table, now, tried) {
        Some(end) if end.is_disabled => {
            rules.push(format!("room \"{}\" is disabled", end.id));
            Err(rules.join("; "))
        }
        _ => Ok(()),
    }
}

/// The room whose next hops get the mail for `room`, along each redirect that is open: of several of a room
/// the first one as written. `tried` hears of each that is looked at, and whether it is open.
fn destination<'t>(
    room: &'t Room,
    table: &'t RoutingTable,
    now: Timestamp,
    mut tried: impl FnMut(&'t Redirect, bool),
) -> Option<&'t Room> {
    let mut via = room;
    // A sound table has no circle, so no more steps than rooms.
    for _ in table.rooms() {
        let mut redirects = table.redirects_of(&via.id).iter();
        let open = redirects.find(|it| {
            let is_open = it.is_open(now);
            tried(it, is_open);
            is_open
        });
        let Some(open) = open else { break };
        via = table.room(&open.to)?;
    }
    Some(via)
}

fn acceptance(address: &Address, room: &Room) -> String {
    let (id, from) = (&room.id, &room.accepts_from);
    match room.recipients {
        Some(_) => format!(
            "room \"{id}\" accepts from {from}; recipients include {:?}",
            address.local()
        ),
        None => format!("room \"{id}\" accepts from {from}; recipients are not limited"),
    }
}

fn recipient(address: &Address, room: &Room, rule: String, table: &RoutingTable) -> Recipient {
    Recipient {
        address: address.clone(),
        room: room.id.clone(),
        group: None,
        rule,
        revision: table.revision(),
        wishes: Wishes::default(),
    }
}

fn accept_one(address: &Address, room: &Room, rule: String, table: &RoutingTable) -> Decision {
    Decision::Accept(Accepted {
        recipients: vec![recipient(address, room, rule, table)],
        left_out: Vec::new(),
    })
}

/// End of DATA: may this origin write as every mailbox in From, Sender, Resent-From and Resent-Sender?
pub fn author(
    origin: &Origin,
    sender: Option<&Address>,
    claims: &[Claim],
    table: &RoutingTable,
) -> Result<(), Refused> {
    if *origin == Origin::Relay {
        return Ok(());
    }
    if claims.iter().all(|it| it.field != Origination::From) {
        return Err(bad_author(
            Origination::From,
            Reply::author_missing(),
            table,
        ));
    }
    let is_report = sender.is_none();
    claims
        .iter()
        .try_for_each(|claim| may_claim(origin, is_report, claim, table))
}

fn may_claim(
    origin: &Origin,
    is_report: bool,
    claim: &Claim,
    table: &RoutingTable,
) -> Result<(), Refused> {
    let field = claim.field;
    let reply = match &claim.author {
        Author::Mailboxes(mailboxes) if !mailboxes.is_empty() => {
            let mut mailboxes = mailboxes.iter();
            return mailboxes.try_for_each(|it| may_write_as(origin, is_report, field, it, table));
        }
        Author::Mailboxes(_) | Author::Unclear => Reply::author_unclear(field.name()),
        Author::Missing => Reply::author_missing(),
        Author::Doubled => Reply::author_doubled(field.name()),
        Author::Several => Reply::author_several(field.name()),
    };
    Err(bad_author(field, reply, table))
}

fn bad_author(field: Origination, reply: Reply, table: &RoutingTable) -> Refused {
    let rule = match field {
        Origination::From => "a message has one From field, which names its author",
        Origination::Sender => "a message has one Sender field at most, which names one mailbox",
        Origination::ResentFrom => "a Resent-From field names who has sent the message on",
        Origination::ResentSender => "a Resent-Sender field names one mailbox",
    };
    refused(table, reply, rule)
}

/// A room's own server reports as `MAILER-DAEMON@` its host's name, which is below the room's domain.
fn is_host_of(domain: &Domain, room: &RoomId, table: &RoutingTable) -> bool {
    let room = table.room(room);
    room.is_some_and(|room| room.domains.iter().any(|it| domain.is_below(it)))
}

fn may_write_as(
    origin: &Origin,
    is_report: bool,
    field: Origination,
    mailbox: &str,
    table: &RoutingTable,
) -> Result<(), Refused> {
    let name = field.name();
    let Ok(address) = Address::parse(mailbox) else {
        return Err(bad_author(field, Reply::author_unclear(name), table));
    };
    let owner = table.room_of(address.domain()).map(|room| &room.id);
    let (reply, who) = match origin {
        Origin::Relay => return Ok(()),
        Origin::Room(room) if owner == Some(room) => return Ok(()),
        Origin::Room(room)
            if is_report && owner.is_none() && is_host_of(address.domain(), room, table) =>
        {
            return Ok(());
        }
        Origin::Gateway(_) if owner.is_none() && !is_ours(&address, table) => return Ok(()),
        Origin::Room(room) => (
            Reply::author_not_of_room(name, mailbox, room),
            format!("room \"{room}\""),
        ),
        Origin::Gateway(gateway) => (
            Reply::author_of_room_from_gateway(name, mailbox, gateway),
            format!("gateway {gateway:?}"),
        ),
    };
    let rule = match field {
        Origination::From => format!("{who} may not write as {address}"),
        _ => format!("{who} may not name {address} in {name}"),
    };
    Err(refused(table, reply, rule))
}

/// Where mail for `room` goes now. `None`: the room is no longer in the table.
pub fn route(room: &RoomId, table: &RoutingTable, now: Timestamp) -> Option<Route> {
    let mut rules = Vec::new();
    let tried = |it: &Redirect, is_open: bool| rules.extend(is_open.then(|| it.to_string()));
    let via = destination(table.room(room)?, table, now, tried)?;
    if via.is_disabled {
        rules.push(format!("room \"{}\" is disabled", via.id));
    }
    if rules.is_empty() {
        rules.push(format!("room \"{room}\" has these next hops"));
    }
    let next_hops = match via.is_disabled {
        true => Vec::new(),
        false => via.next_hops.clone(),
    };
    Some(Route {
        via: via.id.clone(),
        next_hops,
        rule: rules.join("; "),
        revision: table.revision(),
    })
}
