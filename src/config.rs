//! The settings: the file as written → the settings as checked.
//!
//! Reads `ilbud.toml` key by key and gives each part its own `Settings`, with the defaults that
//! stand beside that part's code. Every mistake is found at once, with its line; an unknown key names
//! the nearest known one. It opens nothing but the file itself: whether a certificate or a folder is
//! there is for `check` and `serve` to find out.

mod scan;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::delivery::{self, client::Timeouts, resolve};
use crate::document::{self, Fault, Mistakes, Table, Value};
use crate::lifecycle::report::Letterhead;
use crate::lifecycle::retry::Schedule;
use crate::limits::{self, FailedLoginSettings, Rate, RateSettings};
use crate::mail::{Address, Domain, Language};
use crate::ops::doubts::Surroundings;
use crate::ops::evidence;
use crate::ops::privacy::{self, Mask, Retention};
use crate::policy::table::RoutingTable;
use crate::smtp::patience;
use crate::smtp::server::{ListenerSettings, ListenerTls};
use crate::spool::sqlite;
use crate::tls;

/// Everything the file says, checked, with defaults where it is silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Our name in the greeting, EHLO, `Received` and the Message-ID of what we write.
    pub hostname: String,
    pub language: Language,
    /// Whom `<postmaster>` stands for.
    pub postmaster: Option<Address>,
    pub store: sqlite::Settings,
    /// How the log is signed.
    pub log: evidence::Settings,
    /// Who may see what of it.
    pub privacy: privacy::Settings,
    pub listeners: Vec<ListenerSettings>,
    pub tls: Option<tls::Settings>,
    pub limits: limits::Settings,
    pub scan: crate::scan::Settings,
    pub delivery: delivery::Settings,
    pub resolver: resolve::Settings,
    /// A change of the routing table waits for a second person.
    pub routes_need_approval: bool,
    /// Where the console will listen.
    pub console: SocketAddr,
}

impl Settings {
    /// How the relay signs what it writes.
    pub fn letterhead(&self) -> Letterhead {
        Letterhead {
            hostname: self.hostname.clone(),
            language: self.language,
        }
    }

    /// A table as it is in force here: it knows the relay's own name, and who its postmaster is.
    pub fn in_force(&self, table: RoutingTable) -> RoutingTable {
        table
            .with_postmaster(self.postmaster.clone())
            .with_relay(Domain::parse(&self.hostname).ok())
    }

    /// What a routing table is looked at with.
    pub fn surroundings(&self) -> Surroundings<'_> {
        let tls = self.tls.as_ref();
        Surroundings {
            hostname: &self.hostname,
            postmaster: self.postmaster.as_ref(),
            delivery: &self.delivery,
            listeners: &self.listeners,
            has_client_ca: tls.is_some_and(|it| it.client_ca.is_some()),
        }
    }

    /// When what waits is tried, warned of and given up.
    pub fn schedule(&self) -> Schedule {
        let delivery = &self.delivery;
        Schedule {
            retry: delivery.retry.clone(),
            warn_after: delivery.warn_after,
            give_up_after: delivery.give_up_after,
        }
    }
}

const CONSOLE: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);
/// The largest settings make sense of; above it a number is a slip of the finger.
const MANY: u64 = 1_000_001;
/// A name that is asked for more often than this is waited for too long.
const MANY_ATTEMPTS: u64 = 11;
/// RFC 1035 §4.2.
const DNS_PORT: u16 = 53;
/// RFC 5321 §4.5.3.1.8: at least 100 recipients must be taken.
const FEWEST_RECIPIENTS: u64 = 1;

/// Reads the file. Every mistake at once.
pub fn load(path: &Path) -> Result<Settings, Vec<Fault>> {
    let text = std::fs::read_to_string(path).map_err(|cause| {
        let text = format!("cannot be read: {cause}; name the settings with --config PATH");
        vec![Fault { line: None, text }]
    })?;
    parse(&text)
}

/// Reads the settings out of TOML.
pub fn parse(text: &str) -> Result<Settings, Vec<Fault>> {
    document::read(text, settings)
}

fn settings(mut root: Table<'_>, _: &Mistakes) -> Option<Settings> {
    let hostname = root.require("hostname").and_then(|it| it.parse(hostname));
    let language = root
        .take("language")
        .and_then(|it| it.word(&Language::WORDS))
        .unwrap_or_default();
    let postmaster = root.take("postmaster").and_then(|it| it.parse(postmaster));
    let store = root.require("store").and_then(Value::table).and_then(store);
    let log = root.table("log").map(log).unwrap_or_default();
    let tls = root.table("tls").and_then(tls);
    let unsaid = if tls.is_some() {
        ListenerTls::StartTls
    } else {
        ListenerTls::Off
    };
    let listeners = listeners(&mut root, unsaid);
    let limits = root.table("limits").map(limits).unwrap_or_default();
    let scan = root.table("scan").map(scan::read).unwrap_or_default();
    let scan = crate::scan::Settings {
        memory: limits.memory / 2,
        ..scan
    };
    let delivery = root.table("delivery").map(delivery).unwrap_or_default();
    let resolver = root.table("resolver").map(resolver).unwrap_or_default();
    let routes_need_approval = root.table("routes").is_some_and(routes_need_approval);
    let console = root
        .table("console")
        .and_then(console)
        .unwrap_or(CONSOLE.into());
    if tls.is_none() {
        for it in listeners.iter().filter(|it| it.tls != ListenerTls::Off) {
            root.fault(format!(
                "listener {:?} has tls = {:?}, so a [tls] with certificate and private_key is needed",
                it.name,
                it.tls.word()
            ));
        }
    }
    let store = store?;
    Some(Settings {
        hostname: hostname?,
        language,
        postmaster,
        privacy: log.privacy.clone(),
        log: log.beside(&store.path),
        store,
        listeners,
        tls,
        limits,
        scan,
        delivery,
        resolver,
        routes_need_approval,
        console,
    })
}

fn hostname(text: &str) -> Result<String, &'static str> {
    Domain::parse(text)
        .map(|domain| domain.ascii().to_owned())
        .map_err(|_| "must be a domain name such as relay.nodnett.test")
}

fn postmaster(text: &str) -> Result<Address, &'static str> {
    Address::parse(text)
        .map_err(|_| "must be an address of a room, such as drift@amk-oslo.nodnett.test")
}

fn store(mut table: Table<'_>) -> Option<sqlite::Settings> {
    let path = table.require("url").and_then(|it| it.parse(store_path));
    let keep_bodies = table
        .take("keep_bodies")
        .and_then(Value::duration)
        .unwrap_or_default();
    Some(sqlite::Settings {
        path: path?,
        keep_bodies,
    })
}

/// What is said of the log.
#[derive(Debug, Default)]
struct SaidLog {
    sign_every: Option<Duration>,
    key: Option<PathBuf>,
    privacy: privacy::Settings,
}

impl SaidLog {
    /// The rest goes by where the store is.
    fn beside(self, store: &Path) -> evidence::Settings {
        let unsaid = evidence::Settings::beside(store);
        evidence::Settings {
            sign_every: self.sign_every.unwrap_or(unsaid.sign_every),
            key: self.key.unwrap_or(unsaid.key),
            heads: unsaid.heads,
        }
    }
}

fn log(mut table: Table<'_>) -> SaidLog {
    SaidLog {
        sign_every: table.take("sign_every").and_then(Value::positive_duration),
        key: table.take("key").and_then(Value::filled).map(PathBuf::from),
        privacy: privacy(&mut table),
    }
}

fn privacy(table: &mut Table<'_>) -> privacy::Settings {
    let mask = table.take("mask").and_then(|it| it.word(&Mask::WORDS));
    let keep_subjects = table.take("keep_subjects").and_then(Value::boolean);
    let mut age = |key| table.take(key).and_then(Value::positive_duration);
    let retention = Retention {
        pseudonymise_after: age("pseudonymise_after"),
        purge_after: age("purge_after"),
    };
    if let (Some(first), Some(then)) = (retention.pseudonymise_after, retention.purge_after)
        && then <= first
    {
        table.fault("purge_after must be longer than pseudonymise_after; leave the latter out to purge alone");
    }
    privacy::Settings {
        mask: mask.unwrap_or_default(),
        keep_subjects: keep_subjects.unwrap_or(true),
        retention,
    }
}

fn store_path(url: &str) -> Result<PathBuf, &'static str> {
    match url.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Err("must be sqlite:PATH, such as sqlite:data/ilbud.db"),
    }
}

/// `unsaid`: what a listener does that does not say `tls`: what the certificates allow.
fn listeners(root: &mut Table<'_>, unsaid: ListenerTls) -> Vec<ListenerSettings> {
    let tables = root.tables("listener");
    if tables.is_empty() {
        root.fault("at least one [[listener]] is needed, with name and address");
    }
    let mut listeners: Vec<ListenerSettings> = Vec::new();
    for mut table in tables {
        let name = table.require("name").and_then(Value::filled);
        let address = table
            .require("address")
            .and_then(|it| it.parse(socket_address));
        let words = ListenerTls::ALL.map(|tls| (tls.word(), tls));
        let tls = table.take("tls").map_or(Some(unsaid), |it| it.word(&words));
        let proxy_from = table.take("proxy_from").and_then(networks);
        let (Some(name), Some(address), Some(tls)) = (name, address, tls) else {
            continue;
        };
        for other in &listeners {
            if other.name == name {
                table.fault(format!("two listeners are named {name:?}"));
            }
            if other.address == address && address.port() != 0 {
                table.fault(format!(
                    "listeners {:?} and {name:?} have the same address {address}",
                    other.name
                ));
            }
        }
        listeners.push(ListenerSettings {
            name,
            address,
            tls,
            proxy_from: proxy_from.unwrap_or_default(),
        });
    }
    listeners
}

/// The load balancers that a listener is for.
fn networks(value: Value<'_>) -> Option<Vec<IpNet>> {
    if value.is_empty_list() {
        value.fault("must name at least one load balancer; leave the line out where there is none");
        return None;
    }
    let networks = value.list()?.into_iter();
    networks.map(|it| it.parse(network)).collect()
}

fn network(text: &str) -> Result<IpNet, &'static str> {
    let network: Option<IpNet> = match text.parse() {
        Ok(network) => Some(network),
        Err(_) => text.parse::<IpAddr>().ok().map(IpNet::from),
    };
    network
        .filter(|it| it.prefix_len() > 0)
        .ok_or("must be an address or a network, such as \"10.0.0.5\" or \"10.0.0.0/28\"")
}

/// `127.0.0.1:2525`, `[::1]:2525`, or a name of this machine with a port.
fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    const WANTED: &str = "must be ADDRESS:PORT, such as 127.0.0.1:2525 or [::1]:2525";
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    match text.strip_prefix("localhost:") {
        Some(_) => text
            .to_socket_addrs()
            .ok()
            .and_then(|mut it| it.next())
            .ok_or(WANTED),
        None => Err(WANTED),
    }
}

fn tls(mut table: Table<'_>) -> Option<tls::Settings> {
    let path = |value: Value<'_>| value.filled().map(PathBuf::from);
    let certificate = table.require("certificate").and_then(path);
    let private_key = table.require("private_key").and_then(path);
    let client_ca = table.take("client_ca").and_then(path);
    let client_crl = table.take("client_crl").map(files).unwrap_or_default();
    if client_ca.is_none() && !client_crl.is_empty() {
        table.fault(
            "client_crl says what the authorities in client_ca have revoked: client_ca is missing",
        );
    }
    Some(tls::Settings {
        certificate: certificate?,
        private_key: private_key?,
        client_ca,
        client_crl,
    })
}

/// One file, or a list of them.
fn files(value: Value<'_>) -> Vec<PathBuf> {
    let values = match value.is_list() {
        true => value.list().unwrap_or_default(),
        false => vec![value],
    };
    let paths = values.into_iter().filter_map(Value::filled);
    paths.map(PathBuf::from).collect()
}

fn limits(mut table: Table<'_>) -> limits::Settings {
    let default = limits::Settings::default();
    let size = |value: Option<Value<'_>>, default: usize| {
        value
            .and_then(Value::size)
            .and_then(|it| usize::try_from(it).ok())
            .unwrap_or(default)
    };
    let number = |value: Option<Value<'_>>, from: u64, default: usize| {
        let number = value.and_then(|it| it.integer(from..MANY));
        number
            .and_then(|it| usize::try_from(it).ok())
            .unwrap_or(default)
    };
    let message_size = size(table.take("message_size"), default.message_size);
    let memory = size(table.take("memory"), default.memory);
    if memory < message_size {
        table.fault("memory must have room for at least one message of message_size");
    }
    let connections = number(table.take("connections"), 1, default.connections);
    let urgent_reserve = table
        .take("urgent_reserve")
        .and_then(|it| it.parse(percent));
    limits::Settings {
        message_size,
        memory,
        connections,
        recipients: number(
            table.take("recipients"),
            FEWEST_RECIPIENTS,
            default.recipients,
        ),
        connections_per_address: number(
            table.take("connections_per_address"),
            1,
            default.connections_per_address,
        ),
        connections_kept: connections_kept(table.take("connections_kept"), connections),
        rates: table.table("rates").map(rates).unwrap_or_default(),
        recipient_rates: table
            .table("recipient_rates")
            .map(rates)
            .unwrap_or_default(),
        byte_rates: table
            .table("byte_rates")
            .map(byte_rates)
            .unwrap_or_default(),
        urgent_reserve: urgent_reserve.unwrap_or(default.urgent_reserve),
        failed_logins: table
            .table("failed_logins")
            .map(failed_logins)
            .unwrap_or_default(),
        timeouts: table
            .table("timeouts")
            .map(client_timeouts)
            .unwrap_or_default(),
    }
}

/// A tenth, unless it is said; and not all, or nobody else could connect.
fn connections_kept(value: Option<Value<'_>>, connections: usize) -> usize {
    let kept = value.and_then(|it| it.integer(0..connections as u64));
    let kept = kept.and_then(|it| usize::try_from(it).ok());
    kept.unwrap_or(connections / 10)
}

/// Octets a second.
fn pace(text: &str) -> Result<u32, &'static str> {
    let octets = document::size(text).and_then(|it| u32::try_from(it).ok());
    octets
        .filter(|it| *it > 0)
        .ok_or("must be what comes in a second, such as \"512 B\" or \"2 KiB\"")
}

fn client_timeouts(mut table: Table<'_>) -> patience::Timeouts {
    let default = patience::Timeouts::default();
    let pace = table.take("pace").and_then(|it| it.parse(pace));
    let mut wait = |key, default| {
        table
            .take(key)
            .and_then(Value::positive_duration)
            .unwrap_or(default)
    };
    patience::Timeouts {
        proxy_header: wait("proxy_header", default.proxy_header),
        handshake: wait("handshake", default.handshake),
        command: wait("command", default.command),
        login: wait("login", default.login),
        block: wait("block", default.block),
        pace: pace.unwrap_or(default.pace),
        content: wait("content", default.content),
        replies: wait("replies", default.replies),
        without_mail: wait("without_mail", default.without_mail),
    }
}

fn failed_logins(mut table: Table<'_>) -> FailedLoginSettings {
    let default = FailedLoginSettings::default();
    let mut rate = |key| table.take(key).and_then(|it| it.parse(str::parse::<Rate>));
    FailedLoginSettings {
        address: rate("address").unwrap_or(default.address),
        user: rate("user").unwrap_or(default.user),
    }
}

fn rates(mut table: Table<'_>) -> RateSettings {
    let mut rate = |key| table.take(key).and_then(|it| it.parse(str::parse::<Rate>));
    RateSettings {
        workstation: rate("workstation"),
        room: rate("room"),
        gateway: rate("gateway"),
    }
}

fn byte_rates(mut table: Table<'_>) -> RateSettings {
    let mut rate = |key| table.take(key).and_then(|it| it.parse(Rate::of_bytes));
    RateSettings {
        workstation: rate("workstation"),
        room: rate("room"),
        gateway: rate("gateway"),
    }
}

/// `20%`
fn percent(text: &str) -> Result<u8, &'static str> {
    let number = text.strip_suffix('%').and_then(|it| it.trim().parse().ok());
    number
        .filter(|it| *it <= 100)
        .ok_or("must be a part of the rate, from \"0%\" to \"100%\"")
}

fn delivery(mut table: Table<'_>) -> delivery::Settings {
    let default = delivery::Settings::default();
    let duration = |value: Option<Value<'_>>, default| {
        value.and_then(Value::positive_duration).unwrap_or(default)
    };
    delivery::Settings {
        retry: table.take("retry").and_then(retry).unwrap_or(default.retry),
        warn_after: duration(table.take("warn_after"), default.warn_after),
        give_up_after: duration(table.take("give_up_after"), default.give_up_after),
        connections_per_room: table
            .take("connections_per_room")
            .and_then(|it| it.integer(1..MANY))
            .and_then(|it| usize::try_from(it).ok())
            .unwrap_or(default.connections_per_room),
        timeouts: table.table("timeouts").map(timeouts).unwrap_or_default(),
    }
}

fn timeouts(mut table: Table<'_>) -> Timeouts {
    let default = Timeouts::default();
    let mut wait = |key, default| {
        table
            .take(key)
            .and_then(Value::positive_duration)
            .unwrap_or(default)
    };
    Timeouts {
        connect: wait("connect", default.connect),
        greeting: wait("greeting", default.greeting),
        hello: wait("hello", default.hello),
        envelope: wait("envelope", default.envelope),
        data: wait("data", default.data),
        block: wait("block", default.block),
        final_dot: wait("final_dot", default.final_dot),
        whole: wait("whole", default.whole),
        quit: default.quit,
    }
}

fn routes_need_approval(mut table: Table<'_>) -> bool {
    let approval = table.take("approval").and_then(Value::boolean);
    approval.unwrap_or(false)
}

fn resolver(mut table: Table<'_>) -> resolve::Settings {
    let default = resolve::Settings::default();
    resolve::Settings {
        name_servers: table
            .take("name_servers")
            .and_then(name_servers)
            .unwrap_or_default(),
        timeout: table
            .take("timeout")
            .and_then(Value::positive_duration)
            .unwrap_or(default.timeout),
        attempts: table
            .take("attempts")
            .and_then(|it| it.integer(1..MANY_ATTEMPTS))
            .and_then(|it| usize::try_from(it).ok())
            .unwrap_or(default.attempts),
        hosts_file: table
            .take("hosts_file")
            .and_then(Value::boolean)
            .unwrap_or(default.hosts_file),
    }
}

fn name_servers(value: Value<'_>) -> Option<Vec<SocketAddr>> {
    if value.is_empty_list() {
        value.fault("must name at least one server; leave the line out to ask the system's");
        return None;
    }
    let servers = value.list()?.into_iter();
    servers.map(|server| server.parse(name_server)).collect()
}

/// `10.1.0.1`, `10.1.0.1:5353`, `::1`, `[::1]:5353`.
fn name_server(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .or_else(|_| text.parse().map(|address| SocketAddr::new(address, DNS_PORT)))
        .map_err(|_: std::net::AddrParseError| {
            "must be an IP address such as 10.1.0.1, with a port where it is not 53: 10.1.0.1:5353"
        })
}

fn retry(value: Value<'_>) -> Option<Vec<Duration>> {
    if value.is_empty_list() {
        value.fault("must name at least one wait, such as [\"5s\", \"1m\"]");
        return None;
    }
    value
        .list()?
        .into_iter()
        .map(Value::positive_duration)
        .collect()
}

fn console(mut table: Table<'_>) -> Option<SocketAddr> {
    table
        .take("address")
        .and_then(|it| it.parse(socket_address))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::mail::{Action, FileType, Rule};

    const REQUIRED: &str = r#"
hostname = "relay.nodnett.test"
[store]
url = "sqlite:data/ilbud.db"
[[listener]]
name = "workstations"
address = "127.0.0.1:2525"
"#;

    fn faults(text: &str) -> Vec<String> {
        parse(text)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn with(more: &str) -> String {
        format!(
            "{}\n{more}",
            REQUIRED.replace("2525\"\n", "2525\"\ntls = \"off\"\n")
        )
    }

    #[test]
    fn only_three_things_are_required() {
        let settings = parse(&with("")).unwrap();
        assert_eq!(settings.limits, limits::Settings::default());
        assert_eq!(settings.delivery, delivery::Settings::default());
        assert_eq!(settings.language, Language::Nb);
        assert_eq!(
            faults(""),
            [
                "\"hostname\" is missing",
                "\"store\" is missing",
                "at least one [[listener]] is needed, with name and address",
            ]
        );
    }

    /// What the annotated file shows as the default is the default.
    #[test]
    fn the_shipped_file_says_what_the_code_does() {
        let shipped = parse(include_str!("../config/ilbud.toml")).unwrap();
        let bare = parse(&with("")).unwrap();
        let rate = |text: &str| Some(text.parse().unwrap());
        assert_eq!(shipped.language, bare.language);
        assert_eq!(shipped.store, bare.store);
        assert_eq!(shipped.log, bare.log);
        assert_eq!(shipped.privacy, bare.privacy);
        assert_eq!(shipped.scan, bare.scan);
        assert_eq!(shipped.delivery, bare.delivery);
        assert_eq!(shipped.resolver, bare.resolver);
        assert_eq!(shipped.console, bare.console);
        let rates = |workstation, room, gateway| RateSettings {
            workstation,
            room,
            gateway,
        };
        let bytes = |text: &str| Rate::of_bytes(text).ok();
        assert_eq!(
            shipped.limits,
            limits::Settings {
                rates: rates(rate("120/min"), rate("1200/min"), rate("600/min")),
                recipient_rates: rates(rate("2000/min"), rate("20000/min"), rate("10000/min")),
                byte_rates: rates(bytes("500 MiB/min"), bytes("5 GiB/min"), bytes("2 GiB/min")),
                ..bare.limits
            }
        );
        assert_eq!(shipped.limits.doubts(), [""; 0]);
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let settings = parse(&with("")).unwrap();
        assert_eq!(settings.limits.message_size, 25 << 20);
        assert_eq!(settings.limits.recipients, 100);
        assert_eq!(settings.limits.connections, 5000);
        assert_eq!(settings.limits.connections_per_address, 100);
        assert_eq!(settings.limits.rates, RateSettings::default());
        assert_eq!(settings.limits.recipient_rates, RateSettings::default());
        assert_eq!(settings.limits.byte_rates, RateSettings::default());
        assert_eq!(settings.limits.urgent_reserve, 20);
        assert_eq!(
            settings.delivery.retry,
            [5, 15, 30, 60, 120, 300].map(Duration::from_secs)
        );
        assert_eq!(
            settings.delivery.give_up_after,
            Duration::from_secs(4 * 3600)
        );
        assert_eq!(settings.console, "127.0.0.1:8080".parse().unwrap());
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        #[rustfmt::skip]
        let cases = [
            ("[limitz]\nrecipients = 5", "line 10: unknown key \"limitz\"; did you mean \"limits\"?"),
            ("[limits]\nrecipient = 5", "line 11: unknown key \"recipient\" in [limits]; did you mean \"recipients\"?"),
            ("[limits]\nrecipients = 0", "line 11: \"recipients\": must be from 1 to 1000000"),
            ("[limits]\nconnections = 5\nconnections_kept = 5", "line 12: \"connections_kept\": must be from 0 to 4"),
            ("[limits.timeouts]\ncomand = \"1m\"", "line 11: unknown key \"comand\" in [limits.timeouts]; did you mean \"command\"?"),
            ("[limits.timeouts]\npace = \"0 B\"", "line 11: \"pace\": must be what comes in a second, such as \"512 B\" or \"2 KiB\""),
            ("[limits.rates]\nroom = \"fast\"", "line 11: \"room\": a rate is written like \"120/min\": a number from 1 to 1000000, then /s, /min or /h"),
            ("[limits.byte_rates]\nroom = \"5/min\"", "line 11: \"room\": a rate of bytes is written like \"200 MiB/min\": a size from 1 KiB to 100 GiB, then /s, /min or /h"),
            ("[limits.recipient_rates]\nrooms = \"5/min\"", "line 11: unknown key \"rooms\" in [limits.recipient_rates]; did you mean \"room\"?"),
            ("[limits]\nurgent_reserve = \"120%\"", "line 11: \"urgent_reserve\": must be a part of the rate, from \"0%\" to \"100%\""),
            ("[log]\nsign_evry = \"1m\"", "line 11: unknown key \"sign_evry\" in [log]; did you mean \"sign_every\"?"),
            ("[log]\nsign_every = \"0s\"", "line 11: \"sign_every\": must be more than nothing"),
            ("[log]\nmask = \"some\"", "line 11: \"mask\": \"some\" is not known; it is one of people, all, none"),
            ("[log]\npurge_after = \"0s\"", "line 11: \"purge_after\": must be more than nothing"),
            ("[log]\npurge_after = \"1d\"\npseudonymise_after = \"24h\"", "line 10: purge_after must be longer than pseudonymise_after; leave the latter out to purge alone"),
            ("[delivery]\nretry = []", "line 11: \"retry\": must name at least one wait, such as [\"5s\", \"1m\"]"),
            ("[delivery]\nwarn_after = \"0s\"", "line 11: \"warn_after\": must be more than nothing"),
            ("[delivery.timeouts]\nfinaldot = \"1m\"", "line 11: unknown key \"finaldot\" in [delivery.timeouts]; did you mean \"final_dot\"?"),
            ("[delivery.timeouts]\nconnect = \"0s\"", "line 11: \"connect\": must be more than nothing"),
            ("[scan]\ninline_deadlin = \"5s\"", "line 11: unknown key \"inline_deadlin\" in [scan]; did you mean \"inline_deadline\"?"),
            ("[scan]\non_failure = \"deliver\"", "line 11: \"on_failure\": \"deliver\" is not known; it is one of hold, reject"),
            ("[scan]\nslots = 0", "line 11: \"slots\": must be from 1 to 1000"),
            ("[scan]\nquarantine = \"0s\"", "line 11: \"quarantine\": must be more than nothing"),
            ("[scan]\nsignature_max_age = \"0s\"", "line 11: \"signature_max_age\": must be more than nothing"),
            ("[scan]\nself_test = \"0s\"", "line 11: \"self_test\": must be more than nothing"),
            ("[scan.rules]\nmacro = \"mark\"", "line 11: unknown key \"macro\" in [scan.rules]; did you mean \"macros\"?"),
            ("[scan.rules]\neicar = \"pass\"", "line 11: \"eicar\": \"pass\" is not known; it is one of mark, quarantine, refuse"),
            ("[scan.rules]\nblocked_hashes = [\"ab\"]", "line 11: \"blocked_hashes\": \"ab\" is no SHA-256: it has 64 hexadecimal digits"),
            ("[scan.rules]\nfile_names = [\"*.exe\", \"[\"]", "line 11: \"file_names\": \"[\" is no pattern such as \"*.exe\": unclosed character class; missing ']'"),
            ("[resolver]\nnameservers = [\"10.1.0.1\"]", "line 11: unknown key \"nameservers\" in [resolver]; did you mean \"name_servers\"?"),
            ("[resolver]\nname_servers = [\"ns.test\"]", "line 11: \"name_servers\": must be an IP address such as 10.1.0.1, with a port where it is not 53: 10.1.0.1:5353"),
            ("[resolver]\nname_servers = []", "line 11: \"name_servers\": must name at least one server; leave the line out to ask the system's"),
            ("[[listener]]\nname = \"x\"\naddress = \"127.0.0.1:2526\"\nproxy_from = []", "line 13: \"proxy_from\": must name at least one load balancer; leave the line out where there is none"),
            ("[[listener]]\nname = \"x\"\naddress = \"127.0.0.1:2526\"\nproxy_from = [\"0.0.0.0/0\"]", "line 13: \"proxy_from\": must be an address or a network, such as \"10.0.0.5\" or \"10.0.0.0/28\""),
            ("[resolver]\nattempts = 0", "line 11: \"attempts\": must be from 1 to 10"),
            ("[resolver]\ntimeout = \"0s\"", "line 11: \"timeout\": must be more than nothing"),
            ("[console]\naddress = \"here\"", "line 11: \"address\": must be ADDRESS:PORT, such as 127.0.0.1:2525 or [::1]:2525"),
        ];
        for (more, message) in cases {
            assert_eq!(faults(&with(more)), [message], "{more}");
        }
        let all: String = cases
            .iter()
            .take(3)
            .map(|(more, _)| format!("{more}\n"))
            .collect();
        assert!(parse(&with(&all)).is_err());
    }

    #[test]
    fn engines_are_taken_as_the_contract_shows_them() {
        let settings = parse(&with(
            "[scan]\ninline_deadline = \"10s\"\non_failure = \"hold\"\n\
             [[scan.engine]]\nkind = \"clamd\"\naddress = \"/run/clamav/clamd.ctl\"\n\
             [[scan.engine]]\nkind = \"icap\"\nurl = \"icap://127.0.0.1:1344/avscan\"\n\
             [[scan.engine]]\nkind = \"command\"\ncommand = [\"uvscan\", \"--secure\", \"{file}\"]\n\
             clean = [0]\ninfected = [13]\n",
        ))
        .unwrap();
        let engines = settings.scan.engines.iter();
        let names: Vec<_> = engines.map(|it| (it.kind.word(), &*it.name)).collect();
        let kinds = ["clamd", "icap", "command"];
        assert_eq!(names, kinds.map(|kind| (kind, kind)));
    }

    #[test]
    fn the_rules_are_taken_as_written() {
        let hash = "AB".repeat(32);
        let settings = parse(&with(&format!(
            "[scan.rules]\nmacros = \"quarantine\"\nblocked_hashes = [\"{hash}\"]\nfile_types = [\"zip archive\"]\nfile_names = []",
        )))
        .unwrap();
        let rules = settings.scan.rules;
        assert_eq!(rules.actions.of(Rule::Macros), Action::Quarantine);
        assert_eq!(rules.actions.of(Rule::Eicar), Action::Refuse);
        assert_eq!(rules.actions.of(Rule::Bounds), Action::Mark);
        assert_eq!(rules.blocked_hashes, [hash.to_lowercase()].into());
        assert_eq!(rules.file_types, [FileType::Zip].into());
        assert_eq!(rules.file_names.fitting(&["a.exe".to_owned()]), None);
    }

    #[test]
    fn name_servers_and_waits_are_taken_as_written() {
        let settings = parse(&with(
            "[resolver]\nname_servers = [\"10.1.0.1\", \"10.1.0.2:5353\", \"::1\", \"[::1]:5353\"]\n\
             timeout = \"2s\"\nattempts = 1\nhosts_file = false\n\
             [delivery.timeouts]\nconnect = \"3s\"\nwhole = \"4m\"",
        ))
        .unwrap();
        let servers = ["10.1.0.1:53", "10.1.0.2:5353", "[::1]:53", "[::1]:5353"];
        assert_eq!(
            settings.resolver,
            resolve::Settings {
                name_servers: servers.map(|it| it.parse().unwrap()).into(),
                timeout: Duration::from_secs(2),
                attempts: 1,
                hosts_file: false,
            }
        );
        assert_eq!(
            settings.delivery.timeouts,
            Timeouts {
                connect: Duration::from_secs(3),
                whole: Duration::from_secs(240),
                ..Timeouts::default()
            }
        );
    }

    #[test]
    fn a_listener_with_tls_needs_certificates() {
        assert_eq!(
            faults(&with("").replace("\"off\"", "\"starttls\"")),
            [
                "listener \"workstations\" has tls = \"starttls\", so a [tls] with certificate and private_key is needed"
            ]
        );
    }

    #[test]
    fn two_listeners_are_told_apart() {
        let second =
            "[[listener]]\nname = \"workstations\"\naddress = \"127.0.0.1:2525\"\ntls = \"off\"";
        assert_eq!(faults(&with(second)).len(), 2);
    }
}
