//! One decision told to a person: what would be said to such mail, and which line of the table says so.
//!
//! Asks the same questions as the dialogue does, in its order, of a client that is presumed, and tells each
//! rule that was tried on the way. The rules are those that were really asked: nothing is decided here. Pure.

use std::fmt::Arguments;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Serialize;

use super::{Decision, Refused, ask, destination, holder_of, refused, route, sender, takes};
use crate::credential;
use crate::mail::{
    Address, AddressFault, Certificate, Login, Origin, Peer, Protocol, Recipient, Reply, RoomId,
    Timestamp,
};
use crate::policy::table::{Measure, NextHop, Redirect, RoutingTable};

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
    /// Each rule in the order in which it was tried.
    pub steps: Vec<Step>,
    /// The next hops themselves.
    #[serde(skip)]
    pub hops: Vec<NextHop>,
}

/// One rule that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `sender`, `recipient` or `route`: what was asked.
    pub about: &'static str,
    pub rule: String,
    pub result: Tried,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tried {
    /// It left the question to the next rule.
    Passed,
    Decided,
}

impl Tried {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Decided => "decided",
        }
    }
}

impl Step {
    fn passed(about: &'static str, rule: impl ToString) -> Self {
        Self {
            about,
            rule: rule.to_string(),
            result: Tried::Passed,
        }
    }

    fn decided(about: &'static str, rule: impl ToString) -> Self {
        Self {
            result: Tried::Decided,
            ..Self::passed(about, rule)
        }
    }
}

/// Who sends, as far as somebody who asks knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    Address(IpAddr),
    /// A user, or a name in a certificate.
    Named(String),
}

/// An address, or else a name.
impl From<&str> for Client {
    fn from(text: &str) -> Self {
        let name = |_| Self::Named(credential::user_name(text).unwrap_or_else(|| text.to_owned()));
        text.parse().map_or_else(name, Self::Address)
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
    let question = Question {
        from: bare(from),
        to: bare(to),
        table,
        now,
    };
    let mut steps = Vec::new();
    let mut found = match question.origin(client, &mut steps) {
        Ok(origin) => question.recipient(&origin, &mut steps),
        Err(refused) => {
            steps.push(Step::decided("sender", &refused.rule));
            vec![question.negative("refuse", &refused)]
        }
    };
    for explanation in &mut found {
        explanation.steps.splice(..0, steps.iter().cloned());
    }
    found
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
    fn origin(&self, client: Option<&Client>, steps: &mut Vec<Step>) -> Result<Origin, Refused> {
        let from = match self.from {
            "" => None,
            text => Some(Address::parse(text).map_err(|fault| self.bad_sender(fault))?),
        };
        let Some(client) = client else {
            let origin = self.presumed(from.as_ref())?;
            let rule = format!(
                "no client is named: one that may send for {} is presumed",
                shown(&origin)
            );
            steps.push(Step::decided("sender", rule));
            return Ok(origin);
        };
        let peer = visitor(client, self.table);
        let admitted = sender(&peer, from.as_ref(), false, self.table);
        let by = from
            .as_ref()
            .and_then(|it| holder_of(&peer, it, self.table));
        let others = self.table.lines(&peer);
        let others = others.take_while(|line| by.is_none_or(|by| !std::ptr::eq(by, *line)));
        let others = others.filter(|_| from.is_some());
        let passed = others.map(|line| {
            let rule = format!(
                "{} is {}, not whom {} is of",
                line.source, line.holder, self.from
            );
            Step::passed("sender", rule)
        });
        steps.extend(passed);
        let admitted = admitted?;
        let rule = match (by, admitted.is_stranger) {
            (Some(line), _) => format!("{} is {}", line.source, line.holder),
            (None, true) => format!(
                "no line names it, and {} lets that pass",
                shown(&admitted.station.origin)
            ),
            (None, false) => format!("a report from {}", shown(&admitted.station.origin)),
        };
        steps.push(Step::decided("sender", rule));
        Ok(admitted.station.origin)
    }

    /// What is decided on the recipient, or on each member where it is a group.
    fn recipient(&self, origin: &Origin, steps: &mut Vec<Step>) -> Vec<Explanation> {
        let mut passed = |rule: Arguments<'_>| steps.push(Step::passed("recipient", rule));
        let decision = ask(origin, self.to, self.table, self.now, &mut passed);
        let needs_tls = self.table.strictness(origin).missing_tls == Measure::Enforce;
        let mut found = self.answer(decision);
        for accepted in found.iter_mut().filter(|it| it.decision == "accept") {
            if needs_tls {
                let rule = "; under TLS only, as missing_tls = \"enforce\" says";
                accepted.rule.push_str(rule);
            }
        }
        found
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
            Decision::Refuse(refused) => vec![self.decided("refuse", &refused)],
            Decision::Defer(refused) => vec![self.decided("defer", &refused)],
            Decision::Accept(accepted) => {
                let members = accepted.recipients.iter().map(|it| self.positive(it));
                let left_out = accepted.left_out.iter();
                let left_out = left_out.map(|(address, rule)| self.left_out(address, rule));
                members.chain(left_out).collect()
            }
        }
    }

    fn positive(&self, recipient: &Recipient) -> Explanation {
        let mut steps = vec![Step::decided("recipient", &recipient.rule)];
        let route = route(&recipient.room, self.table, self.now);
        self.follow(&recipient.room, &mut steps);
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
            steps,
            hops: next_hops,
        }
    }

    /// The redirects that were looked at on the way from `room` to where its mail goes.
    fn follow(&self, room: &RoomId, steps: &mut Vec<Step>) {
        let mut goes_elsewhere = false;
        let tried = |it: &Redirect, is_open: bool| {
            goes_elsewhere |= is_open;
            steps.push(match is_open {
                true => Step::decided("route", it),
                false => Step::passed("route", not_open(it, self.now)),
            });
        };
        if let Some(room) = self.table.room(room) {
            destination(room, self.table, self.now, tried);
        }
        if !goes_elsewhere {
            let rule = format!("room \"{room}\" has these next hops");
            steps.push(Step::decided("route", rule));
        }
    }

    fn left_out(&self, address: &Address, rule: &str) -> Explanation {
        let room = self.table.room_of(address.domain());
        let name = room.map_or("", |it| it.name.as_str());
        let phone = room.and_then(|it| it.phone.as_deref());
        let recipient = address.to_string();
        let is_disabled = room.is_some_and(|it| {
            takes(it, self.table, self.now).is_err_and(|disabled| disabled == rule)
        });
        let reply = match is_disabled {
            true => Reply::room_disabled(&recipient, name, phone),
            false => Reply::not_accepted_by_room(&recipient, name, phone),
        };
        let refused = refused(self.table, reply, rule);
        Explanation {
            recipient,
            recipient_room: room.map(|it| it.id.clone()),
            steps: vec![Step::decided("recipient", rule)],
            ..self.negative("refuse", &refused)
        }
    }

    fn decided(&self, decision: &'static str, refused: &Refused) -> Explanation {
        Explanation {
            steps: vec![Step::decided("recipient", &refused.rule)],
            ..self.negative(decision, refused)
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
            steps: Vec::new(),
            hops: Vec::new(),
        }
    }
}

fn shown(origin: &Origin) -> String {
    match origin {
        Origin::Room(room) => format!("room \"{room}\""),
        Origin::Gateway(name) => format!("gateway {name:?}"),
        Origin::Relay => "the relay itself".to_owned(),
    }
}

fn not_open(redirect: &Redirect, now: Timestamp) -> String {
    match (redirect.from, redirect.until) {
        (Some(from), _) if now < from => format!("{redirect}: it begins at {from}"),
        _ => format!("{redirect}: it is over"),
    }
}

/// A client of which nothing but this is known. A name that is no user's may be a certificate's.
pub(super) fn visitor(client: &Client, table: &RoutingTable) -> Peer {
    let nobody = |address| Peer {
        address: SocketAddr::new(address, 0),
        helo: String::new(),
        protocol: Protocol::Esmtp,
        tls: None,
        certificate: None,
        user: None,
    };
    let name = match client {
        Client::Address(address) => return nobody(*address),
        Client::Named(name) => name,
    };
    let nowhere = nobody(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let certified = Peer {
        certificate: Some(Certificate::new(vec![name.to_lowercase()], None, None)),
        ..nowhere.clone()
    };
    let user = Peer {
        user: Some(Login::User(name.clone())),
        ..nowhere
    };
    let is_known = |peer: &Peer| table.lines(peer).next().is_some();
    match is_known(&certified) && !is_known(&user) {
        true => certified,
        false => user,
    }
}
