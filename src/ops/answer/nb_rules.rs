//! The rules that refuse something, in Norwegian bokmål: as the decision writes them, and as they are said.

use super::rule::{Saying, Sayings};

pub(super) const SAYINGS: Sayings = Sayings {
    rules: RULES,
    parts: PARTS,
};

const RULES: &[Saying] = &[
    // Who sends.
    (
        "{rule}; its certificate is {certificate}",
        "{rule}; sertifikatet er {certificate}",
    ),
    (
        "{rule}; its certificate {certificate} {doubt}",
        "{rule}; sertifikatet {certificate} {doubt}",
    ),
    (
        "no workstation is user {user}, no workstation or gateway is {client}",
        "ingen arbeidsstasjon er bruker {user}, og ingen arbeidsstasjon eller gateway er {client}",
    ),
    (
        "no workstation is user {user}",
        "ingen arbeidsstasjon er bruker {user}",
    ),
    (
        "no workstation or gateway is {client}",
        "ingen arbeidsstasjon eller gateway er {client}",
    ),
    (
        "{source} is {holder}, which may not send as {sender}",
        "{source} er {holder}, som ikke kan sende som {sender}",
    ),
    (
        "room {room} enforces missing_tls: nothing is taken in plain text",
        "sentralen {room} krever TLS: ingenting tas imot ukryptert",
    ),
    // Who is named as the author.
    (
        "a message has one From field, which names its author",
        "en melding har ett From-felt, som sier hvem den er fra",
    ),
    (
        "a message has one Sender field at most, which names one mailbox",
        "en melding har høyst ett Sender-felt, med én postkasse",
    ),
    (
        "a Resent-From field names who has sent the message on",
        "et Resent-From-felt sier hvem som har sendt meldingen videre",
    ),
    (
        "a Resent-Sender field names one mailbox",
        "et Resent-Sender-felt har én postkasse",
    ),
    (
        "{holder} may not write as {address}",
        "{holder} kan ikke skrive som {address}",
    ),
    (
        "{holder} may not name {address} in {field}",
        "{holder} kan ikke oppgi {address} i {field}",
    ),
    // Whom it is for.
    (
        "no registered room has the domain {domain}",
        "ingen registrert sentral har domenet {domain}",
    ),
    (
        "no room's address is written so: {fault}",
        "ingen sentral har en adresse som skrives slik: {fault}",
    ),
    (
        "<postmaster> stands for the setting \"postmaster\", which is not set",
        "<postmaster> står for innstillingen \"postmaster\", som ikke er satt",
    ),
    (
        "<postmaster> stands for the setting \"postmaster\", {address}, whose domain belongs to no room",
        "<postmaster> står for innstillingen \"postmaster\", {address}, og det domenet hører ikke til noen sentral",
    ),
    (
        "room {room}: recipients do not include {name}",
        "sentralen {room} har ikke {name} blant mottakerne",
    ),
    (
        "room {room} accepts from {rooms}, not from {sender}",
        "sentralen {room} tar imot fra {rooms}, ikke fra {sender}",
    ),
    (
        "room {room} is redirected to {other} until {until}: {reason}; {rule}",
        "sentralen {room} er omdirigert til {other} til {until}: {reason}; {rule}",
    ),
    (
        "room {room} is redirected to {other} until {until}; {rule}",
        "sentralen {room} er omdirigert til {other} til {until}; {rule}",
    ),
    (
        "room {room} is redirected to {other}: {reason}; {rule}",
        "sentralen {room} er omdirigert til {other}: {reason}; {rule}",
    ),
    (
        "room {room} is redirected to {other}; {rule}",
        "sentralen {room} er omdirigert til {other}; {rule}",
    ),
    ("room {room} is disabled", "sentralen {room} er slått av"),
    (
        "group {group} has no member that accepts this",
        "gruppen {group} har ikke noe medlem som tar imot dette",
    ),
    // What is in it, and how much there is.
    (
        "scan: rules found {found}",
        "de innebygde reglene fant {found}",
    ),
    ("scan: outbreak found {found}", "sperrelisten har {found}"),
    ("scan: {engine} found {found}", "{engine} fant {found}"),
    (
        "limits.{setting}: more than {rate} {what} from {account}, the reserve for urgent mail included",
        "limits.{setting}: mer enn {rate} {what} fra {account}, medregnet det som er satt av til hastemeldinger",
    ),
    (
        "limits.{setting}: more than {rate} {what} from {account}",
        "limits.{setting}: mer enn {rate} {what} fra {account}",
    ),
];

/// Who sends, what is wrong, what was counted.
const PARTS: &[Saying] = &[
    ("expired at {when}", "utløp {when}"),
    ("is not valid before {when}", "gjelder ikke før {when}"),
    ("was revoked", "er trukket tilbake"),
    (
        "is of an authority that is not known here",
        "er fra en utsteder som ikke er kjent her",
    ),
    ("is not meant for clients", "er ikke ment for klienter"),
    ("has no DNS name in it", "har ikke noe DNS-navn"),
    (
        "has a key that could not be checked",
        "har en nøkkel som ikke kunne kontrolleres",
    ),
    ("cannot be read", "kan ikke leses"),
    ("is not fit: {why}", "kan ikke brukes: {why}"),
    ("network {network}", "nettet {network}"),
    ("certificate {name}", "sertifikatet {name}"),
    ("user {name}", "brukeren {name}"),
    (
        "it is not written as an address: name@domain",
        "den er ikke skrevet som en adresse: navn@domene",
    ),
    (
        "it is too long: 64 octets of name, 254 in all",
        "den er for lang: 64 tegn i navnet, 254 i alt",
    ),
    (
        "source routes are not taken",
        "veier i adressen tas ikke imot",
    ),
    (
        "an address with % in it is not taken",
        "en adresse med % i tas ikke imot",
    ),
    (
        "an address with ! in it is not taken",
        "en adresse med ! i tas ikke imot",
    ),
    (
        "an address with a second @ in it is not taken",
        "en adresse med en @ til tas ikke imot",
    ),
    (
        "an IP address in place of the domain is not taken",
        "en IP-adresse i stedet for domenet tas ikke imot",
    ),
    ("the domain ends with a dot", "domenet slutter med punktum"),
    (
        "the domain is not a valid name",
        "domenet er ikke et gyldig navn",
    ),
    ("no room", "ingen sentral"),
    ("{listed} and {n} more", "{listed} og {n} til"),
    ("messages", "meldinger"),
    ("recipients", "mottakere"),
    ("bytes", "byte"),
    ("strangers of {room}", "ukjente i {room}"),
    ("workstation {source}", "arbeidsstasjonen med {source}"),
    ("room {room}", "sentralen {room}"),
    ("gateway {name}", "gateway {name}"),
    ("{malware} in {file}", "{malware} i {file}"),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::mail::limit::{Account, Counted, OverLimit, Workstation};
    use crate::mail::{Origin, RoomId, Timestamp};
    use crate::policy::decide::{self, Client};
    use crate::policy::table::RoutingTable;

    const TABLE: &str = r#"
        [[room]]
        id = "a"
        name = "Rom A"
        domains = ["a.test"]
        next_hops = ["maildir:mail/a"]
        recipients = ["vakt"]
        accepts_from = ["a", "b"]
        [[room.workstation]]
        network = "10.1.0.0/24"
        [[room.workstation]]
        user = "a-ws1"
        [[room]]
        id = "b"
        name = "Rom B"
        domains = ["b.test"]
        next_hops = ["maildir:mail/b"]
        disabled = true
        [[room.workstation]]
        network = "10.2.0.0/24"
        [[room]]
        id = "c"
        name = "Rom C"
        domains = ["c.test"]
        next_hops = ["maildir:mail/c"]
        accepts_from = []
        [[room.workstation]]
        network = "10.3.0.0/24"
        [[group]]
        address = "alle@gruppe.test"
        members = ["vakt@c.test"]
        [[gateway]]
        name = "inn"
        network = "10.9.0.1/32"
        [[redirect]]
        room = "c"
        to = "b"
        until = 2030-01-01T00:00:00Z
        reason = "Flytting"
    "#;

    fn table() -> RoutingTable {
        RoutingTable::parse(TABLE, 7).unwrap().0
    }

    #[test]
    fn each_rule_by_which_policy_refuses_is_told() {
        let table = table();
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        #[rustfmt::skip]
        let cases = [
            ("vakt@a.test", "x@b.test", "10.1.0.9", "sentralen \"b\" er slått av"),
            ("vakt@a.test", "x@y.test", "10.1.0.9", "ingen registrert sentral har domenet y.test"),
            ("vakt@a.test", "x%y@a.test", "10.1.0.9", "ingen sentral har en adresse som skrives slik: en adresse med % i tas ikke imot"),
            ("vakt@a.test", "x", "10.1.0.9", "ingen sentral har en adresse som skrives slik: den er ikke skrevet som en adresse: navn@domene"),
            ("vakt@a.test", "postmaster", "10.1.0.9", "<postmaster> står for innstillingen \"postmaster\", som ikke er satt"),
            ("vakt@a.test", "vatk@a.test", "10.1.0.9", "sentralen \"a\" har ikke \"vatk\" blant mottakerne"),
            ("vakt@c.test", "vakt@a.test", "10.3.0.9", "sentralen \"a\" tar imot fra a, b, ikke fra \"c\""),
            ("vakt@a.test", "vakt@c.test", "10.1.0.9", "sentralen \"c\" tar imot fra ingen sentral, ikke fra \"a\""),
            ("x@ute.test", "vakt@c.test", "10.9.0.1", "sentralen \"c\" er omdirigert til \"b\" til 2030-01-01T00:00:00.000Z: Flytting; sentralen \"b\" er slått av"),
            ("vakt@a.test", "alle@gruppe.test", "10.1.0.9", "gruppen alle@gruppe.test har ikke noe medlem som tar imot dette"),
            ("vakt@b.test", "vakt@a.test", "10.1.0.9", "nettet 10.1.0.0/24 er sentralen \"a\", som ikke kan sende som vakt@b.test"),
            ("vakt@a.test", "vakt@a.test", "10.9.0.1", "nettet 10.9.0.1/32 er gateway \"inn\", som ikke kan sende som vakt@a.test"),
            ("vakt@b.test", "vakt@a.test", "a-ws1", "brukeren \"a-ws1\" er sentralen \"a\", som ikke kan sende som vakt@b.test"),
            ("vakt@a.test", "vakt@a.test", "192.0.2.1", "ingen arbeidsstasjon eller gateway er 192.0.2.1"),
        ];
        for (from, to, client, said) in cases {
            let client = Client::from(client);
            let explained = decide::explain(from, to, Some(&client), &table, now);
            let rule = &explained.first().unwrap().rule;
            assert_eq!(SAYINGS.told(rule), said, "{rule}");
        }
        let room = Origin::Room(RoomId::new("a"));
        let nobody = decide::author(&room, None, &[], &table).unwrap_err();
        assert_eq!(
            SAYINGS.told(&nobody.rule),
            "en melding har ett From-felt, som sier hvem den er fra"
        );
    }

    #[test]
    fn each_limit_is_told() {
        let limit = |counted, account, urgent| OverLimit {
            counted,
            account,
            rate: "120/min".to_owned(),
            urgent,
            wait: std::time::Duration::ZERO,
        };
        let user = Account::Workstation(Workstation::User("a-ws1".to_owned()));
        let room = RoomId::new("a");
        for (limit, said) in [
            (
                limit(Counted::Messages, user, false),
                "limits.rates: mer enn 120/min meldinger fra arbeidsstasjonen med brukeren \"a-ws1\"",
            ),
            (
                limit(Counted::Recipients, Account::Room(room.clone()), true),
                "limits.recipient_rates: mer enn 120/min mottakere fra sentralen a, medregnet det som er satt av til hastemeldinger",
            ),
            (
                limit(Counted::Bytes, Account::Strangers(room), false),
                "limits.byte_rates: mer enn 120/min byte fra ukjente i a",
            ),
        ] {
            assert_eq!(SAYINGS.told(&limit.to_string()), said);
        }
    }

    #[test]
    fn what_is_no_rule_of_this_list_stays_as_it_is() {
        for (rule, said) in [
            ("report to the sender", "report to the sender"),
            (
                "scan: rules found Eicar in x.txt",
                "de innebygde reglene fant Eicar i x.txt",
            ),
            ("scan: clamd is down in part", "scan: clamd is down in part"),
            (
                "no workstation or gateway is 10.0.0.1; its certificate ws1.a.test expired at 2026-01-01T00:00:00.000Z",
                "ingen arbeidsstasjon eller gateway er 10.0.0.1; sertifikatet ws1.a.test utløp 2026-01-01T00:00:00.000Z",
            ),
            (
                "no workstation or gateway is 10.0.0.1; its certificate is ws1.a.test and 2 others",
                "ingen arbeidsstasjon eller gateway er 10.0.0.1; sertifikatet er ws1.a.test and 2 others",
            ),
        ] {
            assert_eq!(SAYINGS.told(rule), said);
        }
    }

    /// A value that is left out would be missed.
    #[test]
    fn what_is_said_has_the_values_that_are_written() {
        for (written, said) in RULES.iter().chain(PARTS) {
            let slots = |text: &str| {
                let parts = text.split('{').skip(1);
                let mut slots: Vec<String> = parts
                    .map(|it| it.split_once('}').unwrap().0.to_owned())
                    .collect();
                slots.sort_unstable();
                slots
            };
            assert_eq!(slots(written), slots(said), "{written}");
        }
    }
}
