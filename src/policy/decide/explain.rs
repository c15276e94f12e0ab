//! One decision told to a person: what would be said to such mail, and which line of the table says so.
//!
//! Asks the same questions as the dialogue does, in its order, of a client that is presumed. Pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Serialize;

use super::{Decision, Refused, decide, refused, route, sender, takes};
use crate::credential;
use crate::mail::{
    Address, AddressFault, Certificate, Login, Origin, Peer, Protocol, Recipient, Reply, RoomId,
    Timestamp,
};
use crate::policy::table::{Measure, NextHop, RoutingTable};

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
    let (from, to) = (bare(from), bare(to));
    let question = Question {
        from,
        to,
        table,
        now,
    };
    match question.origin(client) {
        Ok((origin, sender)) => {
            let mut found = question.answer(decide(&origin, sender.as_ref(), to, table, now));
            if table.strictness(&origin).missing_tls == Measure::Enforce {
                for accepted in found.iter_mut().filter(|it| it.decision == "accept") {
                    accepted
                        .rule
                        .push_str("; under TLS only, as missing_tls = \"enforce\" says");
                }
            }
            found
        }
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
            Some(client) => {
                let admitted = sender(
                    &visitor(client, self.table),
                    from.as_ref(),
                    false,
                    self.table,
                )?;
                admitted.station.origin
            }
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
