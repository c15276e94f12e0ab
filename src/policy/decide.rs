//! `decide()`: may this peer send, as this sender, to this recipient, and why.

use crate::mail::headers::Author;
use crate::mail::{Address, Origin, Peer, Recipient, Reply, RoomId, Timestamp};

use super::table::{NextHop, RoutingTable};

/// Something policy refuses or puts off: the reply (without its reference), the rule in words and
/// the revision of the table that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub reply: Reply,
    pub rule: String,
    pub revision: u64,
    /// The room that the refused recipient belongs to, where it is known.
    pub recipient_room: Option<RoomId>,
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

/// MAIL FROM: who is this peer, and may it send as `sender` (`None` is `<>`)?
/// `could_identify`: it could still start TLS or authenticate, so an unknown one hears 530.
pub fn sender(
    peer: &Peer,
    sender: Option<&Address>,
    could_identify: bool,
    table: &RoutingTable,
) -> Result<Origin, Refused> {
    let _ = (peer, sender, could_identify, table);
    Ok(Origin::Relay)
}

/// RCPT TO: `recipient` is what stands between `<` and `>`.
pub fn decide(
    origin: &Origin,
    sender: Option<&Address>,
    recipient: &str,
    table: &RoutingTable,
    now: Timestamp,
) -> Decision {
    let _ = (origin, sender, recipient, table, now);
    Decision::Accept(Accepted {
        recipients: Vec::new(),
        left_out: Vec::new(),
    })
}

/// End of DATA: may this origin write as every mailbox in the From field?
pub fn author(
    origin: &Origin,
    sender: Option<&Address>,
    author: &Author,
    table: &RoutingTable,
) -> Result<(), Refused> {
    let _ = (origin, sender, author, table);
    Ok(())
}

/// Where mail for `room` goes now. `None`: the room is no longer in the table.
pub fn route(room: &RoomId, table: &RoutingTable, now: Timestamp) -> Option<Route> {
    let _ = (room, table, now);
    None
}
