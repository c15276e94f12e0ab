//! May this peer send, as this sender, to this recipient, and why.
//!
//! Each question of the SMTP dialogue is one function: [`sender`] at MAIL FROM, [`decide`] at RCPT
//! TO, [`author`] at the end of DATA, [`route`] at each attempt, and [`explain`] for a person who
//! asks all of them at once. Every answer names the line of the table that gave it. What matches no
//! line is refused.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde::Serialize;

use crate::credential;
use crate::mail::headers::Author;
use crate::mail::{
    Address, AddressFault, Login, Origin, Peer, Protocol, Recipient, Reply, RoomId, Timestamp,
    Wishes, Workstation,
};

use super::sources::proved;
use super::table::{Group, Holder, Line, NextHop, Room, RoutingTable, Source};

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

/// Where a room's mail goes at this moment.
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
) -> Result<Origin, Refused> {
    let found = match sender {
        Some(address) => holder_of(peer, address, table),
        None => first_line(peer, table, is_room).or_else(|| table.lines(peer).next()),
    };
    match found {
        Some(line) => Ok(origin(&line.holder)),
        None => Err(sender_refused(peer, sender, could_identify, table)),
    }
}

/// The line that lets `peer` send as `address`: of the room that the address is in, or of a gateway
/// where it is in none. A group's address is nobody's to send as.
fn holder_of<'a>(peer: &'a Peer, address: &Address, table: &'a RoutingTable) -> Option<&'a Line> {
    if let Some(room) = table.room_of(address.domain()) {
        let same = |holder: &Holder| matches!(holder, Holder::Room(it) if it.id == room.id);
        return first_line(peer, table, same);
    }
    if table.group(address).is_some() {
        return None;
    }
    first_line(peer, table, |holder| !is_room(holder))
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

/// Which workstation of `origin` this is: by the proof that counted, or by its address.
pub fn workstation(peer: &Peer, from: &Origin, table: &RoutingTable) -> Workstation {
    let counted = match &peer.user {
        Some(login) => Some(proved(login)),
        None => {
            let mut lines = table.lines(peer).filter(|it| origin(&it.holder) == *from);
            lines.next().map(|it| it.source.clone())
        }
    };
    match counted {
        Some(Source::User(name)) => Workstation::User(name),
        Some(Source::Certificate(name)) => Workstation::Certificate(name),
        Some(Source::Network(_)) | None => Workstation::Address(peer.address.ip()),
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

/// A peer that no line names.
fn nobody(peer: &Peer, could_identify: bool, table: &RoutingTable) -> Refused {
    let client = peer.address.ip().to_canonical();
    if let Some(user) = peer.user.as_ref().map(Login::name) {
        let rule =
            format!("no workstation is user {user:?}, no workstation or gateway is {client}");
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

/// RCPT TO: `recipient` is what stands between `<` and `>`.
pub fn decide(
    origin: &Origin,
    _sender: Option<&Address>,
    recipient: &str,
    table: &RoutingTable,
    _now: Timestamp,
) -> Decision {
    // RFC 5321 §4.5.1: <postmaster> without a domain, in any case of letters.
    if recipient.eq_ignore_ascii_case("postmaster") {
        return decide_postmaster(table);
    }
    let address = match Address::parse(recipient) {
        Ok(address) => address,
        Err(fault) => return Decision::Refuse(unparsable(recipient, fault, table)),
    };
    if let Some(group) = table.group(&address) {
        return decide_group(origin, group, table);
    }
    match table.room_of(address.domain()) {
        Some(room) => decide_mailbox(origin, &address, room, table),
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

fn decide_postmaster(table: &RoutingTable) -> Decision {
    const RULE: &str = "<postmaster> stands for the setting \"postmaster\"";
    let Some(address) = table.postmaster() else {
        let rule = format!("{RULE}, which is not set");
        return Decision::Refuse(refused(table, Reply::no_postmaster(), rule));
    };
    match table.room_of(address.domain()) {
        Some(room) => accept_one(address, room, format!("{RULE}, {address}"), table),
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
) -> Decision {
    if !room.has(address) {
        let near = room.nearest(address);
        let reply = Reply::unknown_mailbox(&address.to_string(), near.as_ref());
        let local = address.local();
        let rule = format!("room \"{}\": recipients do not include {local:?}", room.id);
        return Decision::Refuse(refused(table, reply, rule).of_room(room));
    }
    match accepts(origin, room) {
        Ok(()) => accept_one(address, room, acceptance(address, room), table),
        Err(rule) => {
            let phone = room.phone.as_deref();
            let reply = Reply::not_accepted_by_room(&address.to_string(), &room.name, phone);
            Decision::Refuse(refused(table, reply, rule).of_room(room))
        }
    }
}

fn decide_group(origin: &Origin, group: &Group, table: &RoutingTable) -> Decision {
    let mut accepted = Accepted {
        recipients: Vec::new(),
        left_out: Vec::new(),
    };
    for address in &group.mailboxes {
        let Some(room) = table.room_of(address.domain()) else {
            continue;
        };
        match accepts(origin, room) {
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

/// Whose report it is. The null sender names nobody, so where one peer is a server of several rooms,
/// or a gateway too, the From field tells which of them speaks; `None`: it may speak for none there.
pub fn reporter(peer: &Peer, from: &Author, table: &RoutingTable) -> Option<Origin> {
    table
        .lines(peer)
        .map(|line| origin(&line.holder))
        .find(|origin| author(origin, None, from, table).is_ok())
}

/// End of DATA: may this origin write as every mailbox in the From field?
pub fn author(
    origin: &Origin,
    _sender: Option<&Address>,
    author: &Author,
    table: &RoutingTable,
) -> Result<(), Refused> {
    if *origin == Origin::Relay {
        return Ok(());
    }
    let mailboxes = match author {
        Author::Mailboxes(mailboxes) if !mailboxes.is_empty() => mailboxes,
        Author::Mailboxes(_) | Author::Unclear => {
            return Err(bad_author(table, Reply::author_unclear()));
        }
        Author::Missing => return Err(bad_author(table, Reply::author_missing())),
        Author::Doubled => return Err(bad_author(table, Reply::author_doubled())),
    };
    mailboxes
        .iter()
        .try_for_each(|mailbox| may_write_as(origin, mailbox, table))
}

fn bad_author(table: &RoutingTable, reply: Reply) -> Refused {
    refused(
        table,
        reply,
        "a message has one From field, which names its author",
    )
}

fn may_write_as(origin: &Origin, mailbox: &str, table: &RoutingTable) -> Result<(), Refused> {
    let Ok(address) = Address::parse(mailbox) else {
        return Err(bad_author(table, Reply::author_unclear()));
    };
    let owner = table.room_of(address.domain()).map(|room| &room.id);
    let (reply, who) = match origin {
        Origin::Relay => return Ok(()),
        Origin::Room(room) if owner == Some(room) => return Ok(()),
        Origin::Gateway(_) if owner.is_none() && table.group(&address).is_none() => return Ok(()),
        Origin::Room(room) => (
            Reply::author_not_of_room(mailbox, room),
            format!("room \"{room}\""),
        ),
        Origin::Gateway(name) => (
            Reply::author_of_room_from_gateway(mailbox, name),
            format!("gateway {name:?}"),
        ),
    };
    let rule = format!("{who} may not write as {address}");
    Err(refused(table, reply, rule))
}

/// Where mail for `room` goes now. `None`: the room is no longer in the table.
pub fn route(room: &RoomId, table: &RoutingTable, now: Timestamp) -> Option<Route> {
    let mut via = table.room(room)?;
    let mut rules = Vec::new();
    // A sound table has no circle, so no more steps than rooms.
    for _ in table.rooms() {
        let Some(redirect) = table.redirect(&via.id, now) else {
            break;
        };
        via = table.room(&redirect.to)?;
        rules.push(redirect.to_string());
    }
    if rules.is_empty() {
        rules.push(format!("room \"{room}\" has these next hops"));
    }
    Some(Route {
        via: via.id.clone(),
        next_hops: via.next_hops.clone(),
        rule: rules.join("; "),
        revision: table.revision(),
    })
}

/// One decision, for `ilbud route explain`: a line of its listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `accept`, `refuse` or `defer`.
    pub decision: &'static str,
    pub sender: String,
    pub recipient: String,
    pub recipient_room: Option<RoomId>,
    pub rule: String,
    pub revision: u64,
    pub next_hops: Vec<String>,
    pub reply: String,
}

/// Who sends, as far as somebody who asks knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    Address(IpAddr),
    /// Logged in with a password.
    User(String),
}

/// An address, or else a user.
impl From<&str> for Client {
    fn from(text: &str) -> Self {
        let user = |_| Self::User(credential::user_name(text).unwrap_or_else(|| text.to_owned()));
        text.parse().map_or_else(user, Self::Address)
    }
}

/// What would be said to mail from `from` to `to`, as written with or without `<` and `>`. Without a
/// client, it is one that may send as `from`. A group has an explanation for each member.
pub fn explain(
    from: &str,
    to: &str,
    client: Option<&Client>,
    table: &RoutingTable,
    now: Timestamp,
) -> Vec<Explanation> {
    let (from, to) = (bare(from), bare(to));
    let question = Question {
        from,
        to,
        table,
        now,
    };
    match question.origin(client) {
        Ok((origin, sender)) => question.answer(decide(&origin, sender.as_ref(), to, table, now)),
        Err(refused) => vec![question.negative("refuse", &refused)],
    }
}

fn bare(text: &str) -> &str {
    let inside = text.strip_prefix('<').and_then(|it| it.strip_suffix('>'));
    inside.unwrap_or(text)
}

struct Question<'a> {
    from: &'a str,
    to: &'a str,
    table: &'a RoutingTable,
    now: Timestamp,
}

impl Question<'_> {
    fn origin(&self, client: Option<&Client>) -> Result<(Origin, Option<Address>), Refused> {
        let from = match self.from {
            "" => None,
            text => Some(Address::parse(text).map_err(|fault| self.bad_sender(fault))?),
        };
        let origin = match client {
            Some(client) => sender(&visitor(client), from.as_ref(), false, self.table)?,
            None => self.presumed(from.as_ref())?,
        };
        Ok((origin, from))
    }

    fn bad_sender(&self, fault: AddressFault) -> Refused {
        let reply = Reply::sender_syntax(self.from, &fault.to_string());
        refused(self.table, reply, "a sender is written as an address")
    }

    /// The one who may send as `from`, if anybody may.
    fn presumed(&self, from: Option<&Address>) -> Result<Origin, Refused> {
        let Some(from) = from else {
            return Ok(Origin::Relay);
        };
        if let Some(room) = self.table.room_of(from.domain()) {
            return Ok(Origin::Room(room.id.clone()));
        }
        let gateway = self.table.gateways().next();
        match gateway.filter(|_| self.table.group(from).is_none()) {
            Some(gateway) => Ok(Origin::Gateway(gateway.name.clone())),
            None => {
                let why = "no room and no gateway may send as this address";
                let reply = Reply::sender_not_taken(self.from, why);
                Err(refused(self.table, reply, why))
            }
        }
    }

    fn answer(&self, decision: Decision) -> Vec<Explanation> {
        match decision {
            Decision::Refuse(refused) => vec![self.negative("refuse", &refused)],
            Decision::Defer(refused) => vec![self.negative("defer", &refused)],
            Decision::Accept(accepted) => {
                let members = accepted.recipients.iter().map(|it| self.positive(it));
                let left_out = accepted.left_out.iter();
                let left_out = left_out.map(|(address, rule)| self.left_out(address, rule));
                members.chain(left_out).collect()
            }
        }
    }

    fn positive(&self, recipient: &Recipient) -> Explanation {
        let route = route(&recipient.room, self.table, self.now);
        let redirected = route.as_ref().filter(|it| it.via != recipient.room);
        let rule = match redirected {
            Some(route) => format!("{}; {}", recipient.rule, route.rule),
            None => recipient.rule.clone(),
        };
        let next_hops = route.map_or_else(Vec::new, |it| it.next_hops);
        Explanation {
            decision: "accept",
            sender: self.from.to_owned(),
            recipient: recipient.address.to_string(),
            recipient_room: Some(recipient.room.clone()),
            rule,
            revision: recipient.revision,
            next_hops: next_hops.iter().map(NextHop::to_string).collect(),
            reply: Reply::recipient_ok().to_string(),
        }
    }

    fn left_out(&self, address: &Address, rule: &str) -> Explanation {
        let room = self.table.room_of(address.domain());
        let name = room.map_or("", |it| it.name.as_str());
        let phone = room.and_then(|it| it.phone.as_deref());
        let recipient = address.to_string();
        let reply = Reply::not_accepted_by_room(&recipient, name, phone);
        let refused = refused(self.table, reply, rule);
        Explanation {
            recipient,
            recipient_room: room.map(|it| it.id.clone()),
            ..self.negative("refuse", &refused)
        }
    }

    fn negative(&self, decision: &'static str, refused: &Refused) -> Explanation {
        Explanation {
            decision,
            sender: self.from.to_owned(),
            recipient: self.to.to_owned(),
            recipient_room: refused.recipient_room.clone(),
            rule: refused.rule.clone(),
            revision: refused.revision,
            next_hops: Vec::new(),
            reply: refused.reply.to_string(),
        }
    }
}

/// A client of which nothing but this is known.
fn visitor(client: &Client) -> Peer {
    let (address, user) = match client {
        Client::Address(address) => (*address, None),
        Client::User(name) => (
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Some(Login::User(name.clone())),
        ),
    };
    Peer {
        address: SocketAddr::new(address, 0),
        helo: String::new(),
        protocol: Protocol::Esmtp,
        tls: None,
        certificate_names: Arc::new([]),
        user,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const TABLE: &str = r#"
        [[room]]
        id = "amk-oslo"
        name = "AMK Oslo"
        kind = "amk"
        phone = "+47 00 00 00 01"
        domains = ["amk-oslo.test", "ålesund.test"]
        next_hops = ["smtp://ilbud:hemmelig@10.1.0.5:25?tls=required", "maildir:data/oslo"]
        recipients = ["vakt", "leder", "bjørn", "postmaster"]
        [[room.workstation]]
        network = "10.1.0.0/24"
        [[room.workstation]]
        certificate = "WS1.amk-oslo.test"
        [[room.workstation]]
        user = "oslo-ws3"

        [[room]]
        id = "hamar"
        name = "Legevakt Hamar"
        phone = "+47 00 00 00 02"
        domains = ["hamar.test"]
        next_hops = ["maildir:data/hamar"]
        accepts_from = ["amk-oslo"]
        [[room.workstation]]
        network = "10.2.0.0/24"
        [[room.workstation]]
        network = "2001:db8::/32"

        [[room]]
        id = "bergen"
        name = "Akuttmottak Bergen"
        domains = ["bergen.test"]
        next_hops = ["maildir:data/bergen"]
        [[room.workstation]]
        network = "10.2.0.128/25"
        [[room.workstation]]
        network = "10.3.0.1"

        [[group]]
        address = "alle@gruppe.test"
        members = ["vakt@amk-oslo.test", "vest@gruppe.test", "vakt@hamar.test", "VAKT@bergen.test"]
        [[group]]
        address = "vest@gruppe.test"
        members = ["vakt@bergen.test"]
        [[group]]
        address = "bare-hamar@gruppe.test"
        members = ["vakt@hamar.test"]
        [[group]]
        address = "tom@gruppe.test"
        members = []

        [[gateway]]
        name = "inn"
        network = "10.250.0.10/32"
        [[gateway]]
        name = "delt"
        network = "10.3.0.0/24"

        [[redirect]]
        room = "hamar"
        to = "bergen"
        from = 2026-11-22T20:00:00+01:00
        until = 2026-11-23T07:00:00+01:00
        reason = "Flytting"
        [[redirect]]
        room = "bergen"
        to = "amk-oslo"
        from = 2026-11-23T06:00:00+01:00
        until = 2026-11-24T06:00:00+01:00
    "#;

    fn table() -> RoutingTable {
        RoutingTable::parse(TABLE, 7)
            .unwrap_or_else(|it| panic!("{it:?}"))
            .0
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn peer(client: &str) -> Peer {
        visitor(&Client::from(client))
    }

    fn room(id: &str) -> Origin {
        Origin::Room(RoomId::new(id))
    }

    fn gateway(name: &str) -> Origin {
        Origin::Gateway(name.to_owned())
    }

    /// `room:amk-oslo`, `gateway:inn` or the basic code of the refusal.
    fn told<T>(result: Result<Origin, Refused>, as_text: impl Fn(u16) -> T) -> Result<Origin, T> {
        result.map_err(|refused| {
            assert_eq!(refused.revision, 7);
            assert!(!refused.rule.is_empty());
            as_text(refused.reply.code)
        })
    }

    #[test]
    fn a_peer_sends_only_as_its_room() {
        let table = table();
        #[rustfmt::skip]
        let cases = [
            // client           sender                      could identify  answer
            ("10.1.0.7",        "vakt@amk-oslo.test",       false,  Ok(room("amk-oslo"))),
            ("10.1.0.7",        "VAKT@AMK-Oslo.TEST",       false,  Ok(room("amk-oslo"))),
            ("10.1.0.7",        "ukjent@amk-oslo.test",     false,  Ok(room("amk-oslo"))),
            ("10.1.0.7",        "vakt@xn--lesund-hua.test", false,  Ok(room("amk-oslo"))),
            ("::ffff:10.1.0.7", "vakt@amk-oslo.test",       false,  Ok(room("amk-oslo"))),
            ("2001:db8::7",     "vakt@hamar.test",          false,  Ok(room("hamar"))),
            ("10.1.0.7",        "",                         false,  Ok(room("amk-oslo"))),
            ("10.1.0.7",        "vakt@hamar.test",          false,  Err(550)),
            ("10.1.0.7",        "vakt@hamar.test",          true,   Err(550)),
            ("10.1.0.7",        "ola@example.com",          false,  Err(550)),
            ("10.1.0.7",        "vakt@sub.amk-oslo.test",   false,  Err(550)),
            ("10.1.0.7",        "alle@gruppe.test",         false,  Err(550)),
            ("10.9.0.7",        "vakt@amk-oslo.test",       false,  Err(550)),
            ("10.9.0.7",        "vakt@amk-oslo.test",       true,   Err(530)),
            ("10.9.0.7",        "",                         false,  Err(550)),
            ("10.9.0.7",        "",                         true,   Err(530)),
            // two rooms in one network
            ("10.2.0.7",        "vakt@hamar.test",          false,  Ok(room("hamar"))),
            ("10.2.0.7",        "vakt@bergen.test",         false,  Err(550)),
            ("10.2.0.200",      "vakt@hamar.test",          false,  Ok(room("hamar"))),
            ("10.2.0.200",      "vakt@bergen.test",         false,  Ok(room("bergen"))),
            ("10.2.0.200",      "vakt@amk-oslo.test",       false,  Err(550)),
            // gateways
            ("10.250.0.10",     "ola@example.com",          false,  Ok(gateway("inn"))),
            ("10.250.0.10",     "",                         false,  Ok(gateway("inn"))),
            ("10.250.0.10",     "vakt@amk-oslo.test",       false,  Err(550)),
            ("10.250.0.10",     "vakt@XN--LESUND-HUA.test", false,  Err(550)),
            ("10.250.0.10",     "alle@gruppe.test",         false,  Err(550)),
            ("10.250.0.11",     "ola@example.com",          false,  Err(550)),
            // a gateway that is also a workstation: the sender's domain tells
            ("10.3.0.1",        "ola@example.com",          false,  Ok(gateway("delt"))),
            ("10.3.0.1",        "vakt@bergen.test",         false,  Ok(room("bergen"))),
            ("10.3.0.1",        "vakt@hamar.test",          false,  Err(550)),
            ("10.3.0.1",        "",                         false,  Ok(room("bergen"))),
            ("10.3.0.2",        "vakt@bergen.test",         false,  Err(550)),
        ];
        for (client, from, could_identify, answer) in cases {
            let from = (!from.is_empty()).then(|| address(from));
            let found = sender(&peer(client), from.as_ref(), could_identify, &table);
            assert_eq!(told(found, |code| code), answer, "{client} {from:?}");
        }
    }

    #[test]
    fn a_peer_is_known_by_certificate_or_user() {
        let table = table();
        #[rustfmt::skip]
        let cases = [
            (vec![],                            None,               Err(550)),
            (vec!["ws1.amk-oslo.test"],         None,               Ok(room("amk-oslo"))),
            (vec!["x.test", "WS1.AMK-OSLO.test"], None,             Ok(room("amk-oslo"))),
            (vec!["ws2.amk-oslo.test"],         None,               Err(550)),
            (vec![],                            Some("oslo-ws3"),   Ok(room("amk-oslo"))),
            (vec![],                            Some("OSLO-WS3"),   Err(550)),
        ];
        for (names, user, answer) in cases {
            let peer = Peer {
                certificate_names: names.iter().map(|it| (*it).to_owned()).collect(),
                user: user.map(|it| Login::User(it.to_owned())),
                ..peer("10.9.0.7")
            };
            let found = sender(&peer, Some(&address("vakt@amk-oslo.test")), false, &table);
            assert_eq!(told(found, |code| code), answer, "{names:?} {user:?}");
        }
    }

    #[test]
    fn a_login_wins_over_network_and_certificate() {
        let table = table();
        let user = |name: &str| Some(Login::User(name.to_owned()));
        let proved = |name: &str| Some(Login::Certificate(name.to_owned()));
        #[rustfmt::skip]
        let cases = [
            ("10.2.0.7", None,                            "vakt@hamar.test",    Ok(room("hamar"))),
            ("10.2.0.7", user("oslo-ws3"),                "vakt@amk-oslo.test", Ok(room("amk-oslo"))),
            ("10.2.0.7", user("oslo-ws3"),                "vakt@hamar.test",    Err(550)),
            ("10.2.0.7", user("oslo-ws3"),                "",                   Ok(room("amk-oslo"))),
            ("10.2.0.7", proved("ws1.amk-oslo.test"),     "vakt@hamar.test",    Err(550)),
            ("10.2.0.7", proved("WS1.amk-oslo.test"),     "vakt@amk-oslo.test", Ok(room("amk-oslo"))),
            // a password is no certificate, a certificate no password
            ("10.9.0.7", user("ws1.amk-oslo.test"),       "vakt@amk-oslo.test", Err(550)),
            ("10.9.0.7", proved("oslo-ws3"),              "vakt@amk-oslo.test", Err(550)),
            // of no room: as good as anybody who has not logged in
            ("10.2.0.7", user("somebody"),                "vakt@hamar.test",    Ok(room("hamar"))),
            ("10.9.0.7", user("somebody"),                "vakt@hamar.test",    Err(550)),
        ];
        for (client, user, from, answer) in cases {
            let from = (!from.is_empty()).then(|| address(from));
            let peer = Peer {
                user: user.clone(),
                ..peer(client)
            };
            let found = sender(&peer, from.as_ref(), true, &table);
            assert_eq!(
                told(found, |code| code),
                answer,
                "{client} {user:?} {from:?}"
            );
        }
    }

    #[test]
    fn a_workstation_is_known_by_the_proof_that_counted() {
        let table = table();
        let user = |name: &str| Some(Login::User(name.to_owned()));
        let proved = |name: &str| Some(Login::Certificate(name.to_owned()));
        let (oslo, name) = (room("amk-oslo"), "WS1.amk-oslo.test");
        #[rustfmt::skip]
        let cases = [
            (None,               &[][..],        &oslo,            "10.1.0.7"),
            (None,               &["x", name],   &oslo,            "certificate \"ws1.amk-oslo.test\""),
            (None,               &["x"],         &oslo,            "10.1.0.7"),
            (None,               &[name],        &room("hamar"),   "10.1.0.7"),
            (None,               &[],            &gateway("delt"), "10.1.0.7"),
            (user("oslo-ws3"),   &[name],        &oslo,            "user \"oslo-ws3\""),
            (user("somebody"),   &[],            &oslo,            "user \"somebody\""),
            (proved(name),       &[],            &oslo,            "certificate \"ws1.amk-oslo.test\""),
        ];
        for (user, names, origin, known_as) in cases {
            let peer = Peer {
                user: user.clone(),
                certificate_names: names.iter().map(|&it| it.to_owned()).collect(),
                ..peer("10.1.0.7")
            };
            let found = workstation(&peer, origin, &table).to_string();
            assert_eq!(found, known_as, "{user:?} {names:?} {origin:?}");
        }
    }

    fn asked(origin: &Origin, recipient: &str, table: &RoutingTable) -> String {
        match decide(origin, None, recipient, table, Timestamp::default()) {
            Decision::Accept(accepted) => {
                let to = accepted.recipients.iter().map(|it| it.address.to_string());
                let mut text = to.collect::<Vec<_>>().join(" ");
                for (address, _) in accepted.left_out {
                    text.push_str(&format!(" -{address}"));
                }
                text
            }
            Decision::Refuse(refused) | Decision::Defer(refused) => {
                let enhanced = refused.reply.enhanced_code().unwrap_or_default();
                format!("{} {enhanced}", refused.reply.code)
            }
        }
    }

    #[test]
    fn nothing_leaves_however_it_is_spelt() {
        let table = table();
        #[rustfmt::skip]
        let cases = [
            ("ola@example.com",                     "550 5.7.1"),
            ("vakt@sub.amk-oslo.test",              "550 5.7.1"),
            ("vakt@test",                           "550 5.7.1"),
            ("vakt@gruppe.test",                    "550 5.7.1"),
            ("@example.com:vakt@amk-oslo.test",     "550 5.7.1"),
            ("@amk-oslo.test:ola@example.com",      "550 5.7.1"),
            ("ola%example.com@amk-oslo.test",       "550 5.7.1"),
            ("example.com!ola@amk-oslo.test",       "550 5.7.1"),
            ("\"ola@example.com\"@amk-oslo.test",   "550 5.7.1"),
            ("\"ola%example.com\"@amk-oslo.test",   "550 5.7.1"),
            ("ola@example.com@amk-oslo.test",       "550 5.7.1"),
            ("vakt@[10.1.0.5]",                     "550 5.7.1"),
            ("vakt@amk-oslo.test.",                 "550 5.7.1"),
            ("vakt@example.com.",                   "550 5.7.1"),
            ("vakt@xn--a.test",                     "550 5.7.1"),
            ("vakt",                                "501 5.1.3"),
            ("",                                    "501 5.1.3"),
            ("vakt@",                               "501 5.1.3"),
            ("vakt@amk-oslo.test ola@example.com",  "550 5.7.1"),
            ("vakt@amk-oslo.test,ola",              "550 5.7.1"),
            ("vakt\u{0}@amk-oslo.test",             "501 5.1.3"),
            ("vakt@amk-oslo.test",                  "vakt@amk-oslo.test"),
            ("VAKT@AMK-OSLO.TEST",                  "VAKT@amk-oslo.test"),
            ("\"vakt\"@amk-oslo.test",              "vakt@amk-oslo.test"),
            ("leder@ÅLESUND.test",                  "leder@ålesund.test"),
            ("leder@xn--lesund-hua.test",           "leder@ålesund.test"),
            ("BJØRN@amk-oslo.test",                 "BJØRN@amk-oslo.test"),
            ("hvem-som-helst@bergen.test",          "hvem-som-helst@bergen.test"),
            ("postmaster@amk-oslo.test",            "postmaster@amk-oslo.test"),
            ("postmaster@bergen.test",              "postmaster@bergen.test"),
            ("vatk@amk-oslo.test",                  "550 5.1.1"),
            ("vakt+x@amk-oslo.test",                "550 5.1.1"),
        ];
        for (recipient, answer) in cases {
            assert_eq!(
                asked(&room("amk-oslo"), recipient, &table),
                answer,
                "{recipient}"
            );
        }
    }

    #[test]
    fn a_room_chooses_whom_it_accepts() {
        let table = table();
        #[rustfmt::skip]
        let cases = [
            (room("amk-oslo"),  "vakt@hamar.test",          "vakt@hamar.test"),
            (room("bergen"),    "vakt@hamar.test",          "550 5.7.1"),
            (room("hamar"),     "vakt@hamar.test",          "550 5.7.1"),
            (gateway("inn"),    "vakt@hamar.test",          "vakt@hamar.test"),
            (Origin::Relay,     "vakt@hamar.test",          "vakt@hamar.test"),
            (gateway("inn"),    "ola@example.com",          "550 5.7.1"),
            (Origin::Relay,     "ola@example.com",          "550 5.7.1"),
            (room("amk-oslo"),  "ALLE@gruppe.test",         "vakt@amk-oslo.test vakt@bergen.test vakt@hamar.test"),
            (room("bergen"),    "alle@gruppe.test",         "vakt@amk-oslo.test vakt@bergen.test -vakt@hamar.test"),
            (room("bergen"),    "bare-hamar@gruppe.test",   "550 5.7.1"),
            (gateway("inn"),    "bare-hamar@gruppe.test",   "vakt@hamar.test"),
            (gateway("inn"),    "tom@gruppe.test",          "550 5.7.1"),
        ];
        for (origin, recipient, answer) in cases {
            assert_eq!(
                asked(&origin, recipient, &table),
                answer,
                "{origin:?} {recipient}"
            );
        }
    }

    #[test]
    fn postmaster_is_the_operator_of_the_relay() {
        let set = |to: &str| table().with_postmaster(Some(address(to)));
        let from = room("bergen");
        assert_eq!(asked(&from, "Postmaster", &table()), "550 5.1.1");
        assert_eq!(
            asked(&from, "POSTMASTER", &set("drift@hamar.test")),
            "drift@hamar.test"
        );
        assert_eq!(
            asked(&from, "postmaster", &set("drift@example.com")),
            "451 4.3.0"
        );
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let table = table();
        #[rustfmt::skip]
        let cases = [
            ("vatk@amk-oslo.test",  "vakt@amk-oslo.test",   "recipients do not include \"vatk\""),
            ("ledr@ålesund.test",   "leder@ålesund.test",   "room \"amk-oslo\""),
            ("ola@example.com",     "ola@example.com",      "no registered room has the domain example.com"),
            ("vakt@hamar.test",     "+47 00 00 00 02",      "room \"hamar\" accepts from amk-oslo, not from \"bergen\""),
        ];
        for (recipient, reply, rule) in cases {
            let decision = decide(
                &room("bergen"),
                None,
                recipient,
                &table,
                Timestamp::default(),
            );
            let Decision::Refuse(refused) = decision else {
                panic!("{recipient} is accepted");
            };
            assert!(
                refused.reply.to_string().contains(reply),
                "{}",
                refused.reply
            );
            assert!(refused.rule.contains(rule), "{}", refused.rule);
        }
    }

    #[test]
    fn nobody_writes_as_another() {
        let table = table();
        let named =
            |names: &[&str]| Author::Mailboxes(names.iter().map(|it| (*it).to_owned()).collect());
        let (oslo, inn) = (room("amk-oslo"), gateway("inn"));
        #[rustfmt::skip]
        let cases = [
            (&oslo,     named(&["vakt@amk-oslo.test"]),                         true),
            (&oslo,     named(&["hvem@AMK-OSLO.test", "x@xn--lesund-hua.test"]), true),
            (&oslo,     named(&["vakt@amk-oslo.test", "vakt@hamar.test"]),      false),
            (&oslo,     named(&["vakt@hamar.test"]),                            false),
            (&oslo,     named(&["ola@example.com"]),                            false),
            (&oslo,     named(&["vakt@sub.amk-oslo.test"]),                     false),
            (&oslo,     named(&["vakt"]),                                       false),
            (&oslo,     named(&["vakt@amk-oslo.test."]),                        false),
            (&oslo,     named(&["x%hamar.test@amk-oslo.test"]),                 false),
            (&oslo,     named(&[]),                                             false),
            (&oslo,     Author::Missing,                                        false),
            (&oslo,     Author::Doubled,                                        false),
            (&oslo,     Author::Unclear,                                        false),
            (&inn,      named(&["ola@example.com"]),                            true),
            (&inn,      named(&["ola@example.com", "vakt@hamar.test"]),         false),
            (&inn,      named(&["vakt@ÅLESUND.test"]),                          false),
            (&inn,      named(&["alle@gruppe.test"]),                           false),
            (&inn,      Author::Missing,                                        false),
            (&Origin::Relay, Author::Missing,                                   true),
        ];
        for (origin, from, allowed) in cases {
            let answer = author(origin, None, &from, &table);
            assert_eq!(answer.is_ok(), allowed, "{origin:?} {from:?}");
            if let Err(refused) = answer {
                assert_eq!(refused.reply.code, 550);
            }
        }
    }

    #[test]
    fn a_redirect_changes_where_mail_goes() {
        let table = table();
        #[rustfmt::skip]
        let cases = [
            ("2026-11-22T19:59:59+01:00", "hamar"),
            ("2026-11-22T20:00:00+01:00", "bergen"),
            ("2026-11-23T05:59:59+01:00", "bergen"),
            ("2026-11-23T06:30:00+01:00", "amk-oslo"),
            ("2026-11-23T07:00:00+01:00", "hamar"),
        ];
        for (now, via) in cases {
            let route = route(&RoomId::new("hamar"), &table, now.parse().unwrap()).unwrap();
            assert_eq!(route.via.as_str(), via, "{now}");
            assert_eq!(route.next_hops, table.room(&route.via).unwrap().next_hops);
        }
        assert_eq!(
            route(&RoomId::new("nowhere"), &table, Timestamp::default()),
            None
        );
    }

    #[test]
    fn explains_itself() {
        let table = table();
        let now = "2026-11-22T21:00:00+01:00".parse().unwrap();
        let ask = |from: &str, to: &str, client: Option<&str>| {
            let client = client.map(Client::from);
            explain(from, to, client.as_ref(), &table, now)
                .iter()
                .map(|it| format!("{} {} {:?}", it.decision, it.rule, it.next_hops))
                .collect::<Vec<_>>()
        };
        #[rustfmt::skip]
        let cases = [
            ("vakt@bergen.test", "<vakt@amk-oslo.test>", None, vec![
                "accept room \"amk-oslo\" accepts from any; recipients include \"vakt\" [\"smtp://ilbud@10.1.0.5:25\", \"maildir:data/oslo\"]"]),
            ("vakt@amk-oslo.test", "vakt@hamar.test", Some("10.1.0.7"), vec![
                "accept room \"hamar\" accepts from amk-oslo; recipients are not limited; room \"hamar\" is redirected to \"bergen\" until 2026-11-23T06:00:00.000Z: Flytting [\"maildir:data/bergen\"]"]),
            ("vakt@amk-oslo.test", "vakt@hamar.test", Some("10.2.0.7"), vec![
                "refuse network 10.2.0.0/24 is room \"hamar\", which may not send as vakt@amk-oslo.test []"]),
            ("vakt@bergen.test", "vakt@bergen.test", Some("oslo-ws3"), vec![
                "refuse user \"oslo-ws3\" is room \"amk-oslo\", which may not send as vakt@bergen.test []"]),
            ("vakt@amk-oslo.test", "vakt@hamar.test", Some("10.9.0.7"), vec![
                "refuse no workstation or gateway is 10.9.0.7 []"]),
            ("ola@example.com", "vakt@example.com", None, vec![
                "refuse no registered room has the domain example.com []"]),
            ("<>", "vakt@bergen.test", None, vec![
                "accept room \"bergen\" accepts from any; recipients are not limited [\"maildir:data/bergen\"]"]),
            ("ola", "vakt@bergen.test", None, vec!["refuse a sender is written as an address []"]),
            ("alle@gruppe.test", "vakt@bergen.test", None, vec![
                "refuse no room and no gateway may send as this address []"]),
            ("vakt@bergen.test", "alle@gruppe.test", None, vec![
                "accept group alle@gruppe.test; room \"amk-oslo\" accepts from any; recipients include \"vakt\" [\"smtp://ilbud@10.1.0.5:25\", \"maildir:data/oslo\"]",
                "accept group alle@gruppe.test; room \"bergen\" accepts from any; recipients are not limited [\"maildir:data/bergen\"]",
                "refuse room \"hamar\" accepts from amk-oslo, not from \"bergen\" []"]),
        ];
        for (from, to, client, lines) in cases {
            assert_eq!(ask(from, to, client), lines, "{from} {to} {client:?}");
        }
    }
}
