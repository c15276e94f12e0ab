//! Which kind of refusal a reply of ours was, and which address was probably meant.
//!
//! The log keeps what was said, and not why it was said: the kinds are told by our own words, which
//! [`Reply`](crate::mail::Reply) has; a test says each of them.

use super::words::Kind;
use crate::mail::{Address, Domain};
use crate::nearest::nearest;
use crate::policy::table::RoutingTable;

/// By words that stand in one kind of reply alone. The first that fits decides.
const MARKS: &[(&str, Kind)] = &[
    ("left out of <", Kind::LeftOut),
    ("no room in this group accepts", Kind::NoMember),
    ("is outside: only registered", Kind::Outside),
    ("names a route: write the control", Kind::Routed),
    ("does not exist in this control room", Kind::NoMailbox),
    ("no postmaster is set", Kind::NoPostmaster),
    ("cannot come in through gateway", Kind::GatewaySpeaksForRoom),
    ("is not an address of", Kind::NotYourRoom),
    ("is not taken: ", Kind::SenderNotTaken),
    ("does not accept mail from your room", Kind::NotAccepted),
    ("takes no mail at the moment", Kind::Disabled),
    ("The message has no From field", Kind::FromUnclear),
    ("The message has more than one", Kind::FromUnclear),
    ("field names more than one mailbox", Kind::FromUnclear),
    ("field names no mailbox", Kind::FromUnclear),
    ("is not a registered workstation", Kind::UnknownWorkstation),
    ("is no workstation of a control room", Kind::UnknownUser),
    ("sends over TLS only", Kind::NeedsTls),
    ("Say STARTTLS first", Kind::NeedsTls),
    ("AUTH needs TLS", Kind::NeedsTls),
    ("User name or password not right", Kind::LoginRefused),
    ("Too many failed logins", Kind::LoginRefused),
    ("Logins cannot be checked now", Kind::LoginImpossible),
    ("was changed or removed; closing", Kind::LoginOver),
    ("Malware found", Kind::Malware),
    ("such mail is stopped at present", Kind::Blocked),
    ("because of what is in it", Kind::ContentNotTaken),
    ("cannot be scanned now", Kind::NotScanned),
    ("Message too large", Kind::TooLarge),
    ("Too many recipients: ", Kind::TooManyRecipients),
    ("a CR or LF standing alone", Kind::BadNewlines),
    ("Mail loop", Kind::Loop),
    ("The time given with BY was over", Kind::OutOfTime),
    ("Too many messages from this", Kind::TooMuch),
    ("Too many recipients from this", Kind::TooMuch),
    ("Too much mail from this", Kind::TooMuch),
    ("Too many connections", Kind::Crowded),
    ("is for load balancers", Kind::Program),
    ("Too many errors", Kind::TooManyErrors),
    ("Too many commands without", Kind::TooManyErrors),
    ("The relay is going down", Kind::GoingDown),
    ("Nothing was heard for too long", Kind::TooSlow),
    ("comes too slowly", Kind::TooSlow),
    ("takes no replies", Kind::TooSlow),
    ("handshake takes too long", Kind::TooSlow),
    ("No message for too long", Kind::TooSlow),
    ("TLS with the client failed", Kind::TlsFailed),
    ("The client hung up", Kind::Vanished),
    ("has no space left", Kind::NoSpace),
    ("is short of memory", Kind::NoSpace),
    ("has a fault of its own", Kind::OurTrouble),
    ("cannot decide about this now", Kind::OurTrouble),
    ("The message was put off", Kind::PutOff),
    ("No recipient was accepted", Kind::NoRecipients),
    ("Sender address <", Kind::BadAddress),
    ("Recipient address <", Kind::BadAddress),
    ("needs the parameter SMTPUTF8", Kind::BadAddress),
];

/// Codes of what a client's program said wrong (RFC 5321 §4.2.4).
const OF_PROGRAMS: &[&str] = &["500", "501", "502", "503", "504", "538", "555"];

impl Kind {
    pub(super) fn of(reply: &str) -> Self {
        let reply = unquoted(reply);
        let mark = MARKS.iter().find(|(words, _)| reply.contains(words));
        let code = reply.get(..3).unwrap_or_default();
        match mark {
            Some((_, kind)) => *kind,
            None if OF_PROGRAMS.contains(&code) => Self::Program,
            None => Self::Unknown,
        }
    }

    /// Whether another refusal of the same transaction says more.
    pub(super) const fn only_follows(self) -> bool {
        matches!(self, Self::NoRecipients | Self::PutOff)
    }

    /// Nobody at the room could say more: a call there is of no use.
    pub(super) const fn calls_for_a_call(self) -> bool {
        matches!(
            self,
            Self::NotAccepted | Self::Disabled | Self::LeftOut | Self::Blocked
        )
    }
}

/// Without what the client wrote at its beginning, which may say anything.
fn unquoted(reply: &str) -> String {
    match (reply.find('<'), reply.split_once('>')) {
        (Some(begin), Some((quoted, rest))) if begin < quoted.len() => {
            let before = reply.get(..=begin).unwrap_or_default();
            format!("{before}>{rest}")
        }
        _ => reply.to_owned(),
    }
}

/// The address that was probably meant: as the reply has it, or the nearest that the table knows.
pub(super) fn meant(
    kind: Kind,
    reply: &str,
    recipient: &str,
    table: &RoutingTable,
) -> Option<String> {
    match kind {
        Kind::NoMailbox => {
            let (_, after) = reply.split_once("did you mean <")?;
            after.split_once('>').map(|(address, _)| address.to_owned())
        }
        Kind::Outside => nearest_room(&recipient.parse().ok()?, table),
        _ => None,
    }
}

fn nearest_room(address: &Address, table: &RoutingTable) -> Option<String> {
    let written = address.domain().unicode();
    let domains: Vec<(&Domain, String)> = table
        .rooms()
        .flat_map(|room| room.domains.iter().map(|it| (it, it.unicode())))
        .collect();
    let near = nearest(&written, domains.iter().map(|(_, name)| name.as_str()))?;
    let (domain, _) = domains.iter().find(|(_, name)| name == near)?;
    let meant = address.at(domain);
    let room = table.room_of(domain)?;
    match room.has(&meant) {
        true => Some(meant),
        false => room.nearest(&meant),
    }
    .map(|it| it.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;
    use crate::mail::{Lapses, Reply, RoomId};

    /// Every refusal that the table of replies has.
    #[test]
    fn each_reply_of_ours_is_known_by_its_words() {
        let client = IpAddr::from([10, 0, 0, 1]);
        let room = RoomId::new("amk-oslo");
        let wait = Duration::from_secs(20);
        #[rustfmt::skip]
        let cases = [
            (Reply::external_recipient("x@y.test"), Kind::Outside),
            (Reply::external_recipient("<Malware found"), Kind::Outside),
            (Reply::routed_recipient("x%y@z.test"), Kind::Routed),
            (Reply::unknown_mailbox("x@y.test", None), Kind::NoMailbox),
            (Reply::no_postmaster(), Kind::NoPostmaster),
            (Reply::sender_not_of_room("x@y.test", &room), Kind::NotYourRoom),
            (Reply::sender_of_room_from_gateway("x@y.test", "g"), Kind::GatewaySpeaksForRoom),
            (Reply::sender_not_taken("x@y.test", "it names a route"), Kind::SenderNotTaken),
            (Reply::not_accepted_by_room("x@y.test", "AMK", None), Kind::NotAccepted),
            (Reply::room_disabled("x@y.test", "AMK", None), Kind::Disabled),
            (Reply::left_out_of_group("x@y.test", "g@y.test"), Kind::LeftOut),
            (Reply::not_accepted_by_group("g@y.test"), Kind::NoMember),
            (Reply::author_not_of_room("From", "x@y.test", &room), Kind::NotYourRoom),
            (Reply::author_of_room_from_gateway("From", "x@y.test", "g"), Kind::GatewaySpeaksForRoom),
            (Reply::author_missing(), Kind::FromUnclear),
            (Reply::author_doubled("From"), Kind::FromUnclear),
            (Reply::author_several("From"), Kind::FromUnclear),
            (Reply::author_unclear("From"), Kind::FromUnclear),
            (Reply::unknown_workstation(client), Kind::UnknownWorkstation),
            (Reply::identify_first(client, "AUTH"), Kind::UnknownWorkstation),
            (Reply::user_of_no_room("ws"), Kind::UnknownUser),
            (Reply::room_needs_tls(&room), Kind::NeedsTls),
            (Reply::room_needs_tls_elsewhere(&room), Kind::NeedsTls),
            (Reply::tls_first(), Kind::NeedsTls),
            (Reply::login_needs_tls(), Kind::NeedsTls),
            (Reply::login_refused(), Kind::LoginRefused),
            (Reply::too_many_failed_logins(wait), Kind::LoginRefused),
            (Reply::too_many_refused_logins(), Kind::LoginRefused),
            (Reply::login_impossible(), Kind::LoginImpossible),
            (Reply::login_over("ws"), Kind::LoginOver),
            (Reply::malware("Eicar in a.zip"), Kind::Malware),
            (Reply::blocked("*.scr: a.scr"), Kind::Blocked),
            (Reply::content_not_taken("macros in a.doc"), Kind::ContentNotTaken),
            (Reply::policy_unsure(), Kind::OurTrouble),
            (Reply::too_large(25 << 20), Kind::TooLarge),
            (Reply::too_many_recipients(100), Kind::TooManyRecipients),
            (Reply::bare_newlines(), Kind::BadNewlines),
            (Reply::mail_loop(100), Kind::Loop),
            (Reply::out_of_time(), Kind::OutOfTime),
            (Reply::too_many_connections(), Kind::Crowded),
            (Reply::place_needed(), Kind::Crowded),
            (Reply::only_through_a_balancer(), Kind::Program),
            (Reply::too_many_errors(), Kind::TooManyErrors),
            (Reply::too_many_commands(), Kind::TooManyErrors),
            (Reply::shutting_down(), Kind::GoingDown),
            (Reply::timed_out(), Kind::TooSlow),
            (Reply::too_slow(), Kind::TooSlow),
            (Reply::replies_not_taken(), Kind::TooSlow),
            (Reply::handshake_too_slow(), Kind::TooSlow),
            (Reply::too_long_without_mail(), Kind::TooSlow),
            (Reply::tls_failed("bad certificate"), Kind::TlsFailed),
            (Reply::client_vanished(), Kind::Vanished),
            (Reply::store_full(), Kind::NoSpace),
            (Reply::memory_short(), Kind::NoSpace),
            (Reply::our_trouble(), Kind::OurTrouble),
            (Reply::not_scanned("timeout"), Kind::NotScanned),
            (Reply::put_off(), Kind::PutOff),
            (Reply::no_valid_recipients(), Kind::NoRecipients),
            (Reply::sender_syntax("x", "no @"), Kind::BadAddress),
            (Reply::recipient_syntax("x", "no @"), Kind::BadAddress),
            (Reply::needs_smtputf8("å@y.test"), Kind::BadAddress),
            (Reply::unknown_command(), Kind::Program),
            (Reply::hello_first(), Kind::Program),
            (Reply::mail_first(), Kind::Program),
            (Reply::login_cancelled(), Kind::Program),
            (Reply::unknown_parameter("X"), Kind::Program),
            (Reply::kept(Lapses::NONE), Kind::Unknown),
        ];
        for (reply, kind) in cases {
            assert_eq!(Kind::of(&reply.to_string()), kind, "{reply}");
        }
        assert_eq!(Kind::of(""), Kind::Unknown);
    }

    #[test]
    fn what_was_meant_is_as_near_as_a_slip_of_the_finger() {
        let room = |id: &str, more: &str| {
            format!(
                "[[room]]\nid = \"{id}\"\nname = \"{id}\"\ndomains = [\"{id}.nodnett.test\"]\nnext_hops = [\"maildir:mail\"]\n{more}\n"
            )
        };
        let toml = room("hamar", "recipients = [\"vakt\"]") + &room("oslo", "");
        let (table, _) = RoutingTable::parse(&toml, 1).unwrap();
        let replied = "550 5.1.1 <vatk@oslo.nodnett.test> does not exist in this control room; did you mean <vakt@oslo.nodnett.test>? K7F3";
        for (kind, reply, recipient, expected) in [
            (Kind::NoMailbox, replied, "", Some("vakt@oslo.nodnett.test")),
            (Kind::NoMailbox, "", "", None),
            (
                Kind::Outside,
                "",
                "vatk@hamra.nodnett.test",
                Some("vakt@hamar.nodnett.test"),
            ),
            (
                Kind::Outside,
                "",
                "x@oslo.nodnet.test",
                Some("x@oslo.nodnett.test"),
            ),
            (Kind::Outside, "", "kari@hamar.nodnet.test", None),
            (Kind::Outside, "", "x@example.test", None),
            (Kind::Outside, "", "x", None),
            (Kind::Disabled, replied, "vatk@oslo.nodnett.test", None),
        ] {
            let found = meant(kind, reply, recipient, &table);
            assert_eq!(found.as_deref(), expected, "{recipient}");
        }
    }
}
