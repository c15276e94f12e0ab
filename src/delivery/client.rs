//! One SMTP connection to a next hop: opened, secured, used for transactions, kept or closed.
//!
//! The crate `mail-send` lives here: it connects and starts TLS; the conversation is our own, since
//! each recipient has an outcome of its own and content goes out byte for byte. Decides nothing
//! about outcomes: whatever stands in the way is named with its stage and judged in
//! [`outcome`](super::outcome). Every wait has an end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mail_send::SmtpClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConnection;

use super::answers::{Answers, Spoken};
use super::outcome::{Fate, Handover, Outcome, Stage, Trouble, judge};
use super::resolve::Resolver;
use super::trust::Trust;
use crate::mail::{Address, Content};
use crate::policy::table::{HopServer, HopTls};
use crate::smtp::data;

/// How long each stage may take. RFC 5321 §4.5.3.2 gives the values beside them for a world of
/// slow links; a control room's hop that needs longer is tried again instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    /// §4.5.3.2.1: 5 min.
    pub greeting: Duration,
    pub hello: Duration,
    /// §4.5.3.2.2, §4.5.3.2.3: 5 min.
    pub envelope: Duration,
    /// §4.5.3.2.4: 2 min.
    pub data: Duration,
    /// §4.5.3.2.5: 3 min a block.
    pub block: Duration,
    /// §4.5.3.2.6: 10 min.
    pub final_dot: Duration,
    /// For the farewell.
    pub quit: Duration,
    /// A whole attempt, all next hops together.
    pub whole: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            greeting: Duration::from_secs(60),
            hello: Duration::from_secs(60),
            envelope: Duration::from_secs(60),
            data: Duration::from_secs(60),
            block: Duration::from_secs(180),
            final_dot: Duration::from_secs(600),
            quit: Duration::from_secs(2),
            whole: Duration::from_secs(1_800),
        }
    }
}

/// Larger messages are sent piece by piece instead of from one buffer.
const ONE_BUFFER: usize = 256 * 1024;
/// How much is gathered before it is written.
const BLOCK: usize = 64 * 1024;

/// Where the conversation broke, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    pub stage: Stage,
    pub trouble: Trouble,
}

impl Setback {
    pub const fn new(stage: Stage, trouble: Trouble) -> Self {
        Self { stage, trouble }
    }

    pub fn fate(self) -> Fate {
        judge(self.stage, self.trouble)
    }
}

/// What one transaction carries.
#[derive(Debug, Clone)]
pub struct Letter<'a> {
    /// `None` is the null sender.
    pub sender: Option<&'a Address>,
    pub recipients: Vec<&'a Address>,
    pub content: &'a Content,
    pub smtputf8: bool,
    pub eight_bit: bool,
}

/// What all connections share.
#[derive(Debug)]
pub struct Caller {
    /// Said with EHLO.
    pub hostname: String,
    pub trust: Trust,
    pub resolver: Resolver,
    pub timeouts: Timeouts,
}

/// An open connection, past EHLO.
pub struct Connection {
    wire: Wire,
    answers: Answers,
    offers: Offers,
    timeouts: Timeouts,
    deadline: Instant,
    tls: Arc<str>,
    /// A transaction was begun and not ended: RSET comes before the next.
    begun: bool,
    /// Out of step, or closed: not to be used again.
    broken: bool,
    /// At least one transaction ran on it.
    used: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("offers", &self.offers)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

enum Wire {
    Plain(SmtpClient<TcpStream>),
    Tls(Box<SmtpClient<TlsStream<TcpStream>>>),
}

/// What the hop offers in its answer to EHLO.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Offers {
    pipelining: bool,
    starttls: bool,
    size: bool,
    eight_bit_mime: bool,
    smtputf8: bool,
}

/// How TLS goes on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    Off,
    /// From the first byte, verified.
    Implicit,
    Required,
    Opportunistic,
    /// An opportunistic handshake failed a moment ago.
    GivenUp,
}

impl Caller {
    /// Connects to the first of the host's addresses that greets, up to and with EHLO.
    pub async fn open(
        &self,
        server: &HopServer,
        implicit: bool,
        deadline: Instant,
    ) -> Result<Connection, Setback> {
        let security = match (implicit, server.tls) {
            (true, _) => Security::Implicit,
            (false, HopTls::Off) => Security::Off,
            (false, HopTls::Required) => Security::Required,
            (false, HopTls::Opportunistic) => Security::Opportunistic,
        };
        let found = self.resolver.addresses(&server.host);
        let addresses = timeout_at(deadline.min(Instant::now() + self.timeouts.connect), found)
            .await
            .unwrap_or_else(|_| Err(Trouble::Unresolved("the name servers do not answer".into())))
            .map_err(|trouble| Setback::new(Stage::Prepare, trouble))?;
        let mut last = Trouble::NoSuchName(server.host.clone());
        let mut stage = Stage::Prepare;
        for address in addresses {
            let address = SocketAddr::new(address, server.port);
            match self.open_at(address, server, security, deadline).await {
                Ok(connection) => return Ok(connection),
                Err(setback) => (stage, last) = (setback.stage, setback.trouble),
            }
        }
        Err(Setback::new(stage, last))
    }

    async fn open_at(
        &self,
        address: SocketAddr,
        server: &HopServer,
        security: Security,
        deadline: Instant,
    ) -> Result<Connection, Setback> {
        let first = self.greeted(address, server, security, deadline).await;
        match first {
            // Plain text would have done from the start.
            Err(Setback {
                stage: Stage::StartTls,
                trouble: Trouble::Tls(_) | Trouble::Closed | Trouble::Network(_),
            }) if security == Security::Opportunistic => {
                let plain = Security::GivenUp;
                self.greeted(address, server, plain, deadline).await
            }
            outcome => outcome,
        }
    }

    async fn greeted(
        &self,
        address: SocketAddr,
        server: &HopServer,
        security: Security,
        deadline: Instant,
    ) -> Result<Connection, Setback> {
        let mut connection = self.connected(address, deadline).await?;
        if security == Security::Implicit {
            connection = self.secured(connection, server, security).await?;
        }
        let waits = self.timeouts;
        let greeting = connection.answer(Stage::Greeting, waits.greeting).await?;
        greeting.expect(Stage::Greeting, 220..=220)?;
        connection.hello(&self.hostname).await?;
        match security {
            Security::Required | Security::Opportunistic => {
                self.upgraded(connection, server, security).await
            }
            Security::Implicit | Security::Off => Ok(connection),
            Security::GivenUp => {
                connection.tls = "none (handshake failed)".into();
                Ok(connection)
            }
        }
    }

    async fn connected(
        &self,
        address: SocketAddr,
        deadline: Instant,
    ) -> Result<Connection, Setback> {
        let wait = self.timeouts.connect;
        let wait = wait.min(deadline.saturating_duration_since(Instant::now()));
        let client = SmtpClient::connect(address, wait).await.map_err(|error| {
            Setback::new(
                Stage::Connect,
                match error {
                    mail_send::Error::Timeout => Trouble::Silent(wait),
                    mail_send::Error::Io(e) => Trouble::Network(e.to_string()),
                    other => Trouble::Network(other.to_string()),
                },
            )
        })?;
        // Commands are small and waited for. Without it they are only slower.
        let _ = client.stream.set_nodelay(true);
        Ok(Connection {
            wire: Wire::Plain(client),
            answers: Answers::default(),
            offers: Offers::default(),
            timeouts: self.timeouts,
            deadline,
            tls: "none".into(),
            begun: false,
            broken: false,
            used: false,
        })
    }

    /// STARTTLS where it is offered, and EHLO anew (RFC 3207 §4.2).
    async fn upgraded(
        &self,
        mut connection: Connection,
        server: &HopServer,
        security: Security,
    ) -> Result<Connection, Setback> {
        let stage = Stage::StartTls;
        if !connection.offers.starttls {
            if security == Security::Required {
                let words = "STARTTLS is not offered, and the routing table requires it";
                return Err(Setback::new(stage, Trouble::Tls(words.into())));
            }
            return Ok(connection);
        }
        let waits = self.timeouts;
        connection
            .write(b"STARTTLS\r\n", stage, waits.envelope)
            .await?;
        let answer = connection.answer(stage, waits.envelope).await?;
        if answer.code != 220 && security == Security::Opportunistic {
            connection.tls = "none (STARTTLS refused)".into();
            return Ok(connection);
        }
        answer.expect(stage, 220..=220)?;
        if !connection.answers.is_empty() {
            // RFC 3207 §6: what came in plain text after 220 was put there by someone else.
            let words = "plain text was sent after the answer to STARTTLS";
            return Err(Setback::new(stage, Trouble::Nonsense(words.into())));
        }
        let mut connection = self.secured(connection, server, security).await?;
        connection.hello(&self.hostname).await?;
        Ok(connection)
    }

    async fn secured(
        &self,
        connection: Connection,
        server: &HopServer,
        security: Security,
    ) -> Result<Connection, Setback> {
        let Wire::Plain(mut client) = connection.wire else {
            return Ok(connection);
        };
        let verified = matches!(security, Security::Implicit | Security::Required);
        let config = self
            .trust
            .config(server, verified)
            .map_err(|trouble| Setback::new(Stage::StartTls, trouble))?;
        let left = connection
            .deadline
            .saturating_duration_since(Instant::now());
        client.timeout = self.timeouts.hello.min(left);
        let connector = TlsConnector::from(config);
        let name = server.host.trim_start_matches('[').trim_end_matches(']');
        let client = client.into_tls(&connector, name).await.map_err(|error| {
            let words = match error {
                mail_send::Error::Tls(e) => e.to_string(),
                mail_send::Error::Io(e) => e.to_string(),
                mail_send::Error::Timeout => "the handshake took too long".into(),
                other => other.to_string(),
            };
            Setback::new(Stage::StartTls, Trouble::Tls(words))
        })?;
        let tls = spoken_tls(client.tls_connection()).into();
        Ok(Connection {
            wire: Wire::Tls(Box::new(client)),
            tls,
            ..connection
        })
    }
}

/// `TLSv1.3 TLS13_AES_256_GCM_SHA384`
fn spoken_tls(connection: &ClientConnection) -> String {
    let version = connection.protocol_version().and_then(|it| it.as_str());
    let cipher = connection.negotiated_cipher_suite();
    let cipher = cipher.and_then(|it| it.suite().as_str());
    // RFC 8446 §1.2's way of writing a version, as in the Received field.
    let version = version.unwrap_or("TLS").replace('_', ".");
    format!("{version} {}", cipher.unwrap_or("unknown"))
}

impl Connection {
    /// TLS version and cipher suite, or `none`.
    pub fn tls(&self) -> Arc<str> {
        Arc::clone(&self.tls)
    }

    /// Whether another transaction may follow.
    pub const fn is_usable(&self) -> bool {
        !self.broken
    }

    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// One transaction: a fate for each recipient, in order. `None`: a kept connection had died
    /// before the hop heard anything of this message.
    pub async fn transact(&mut self, letter: &Letter<'_>) -> Option<Vec<Fate>> {
        let mut fates = vec![None; letter.recipients.len()];
        let rest = match self.run(letter, &mut fates).await {
            Ok(rest) => rest,
            Err(setback) if self.used && setback.is_parting() => {
                self.broken = true;
                return None;
            }
            Err(setback) => {
                let fate = setback.fate();
                self.broken |= !fate.in_step;
                fate
            }
        };
        self.used = true;
        let fates = fates.into_iter();
        Some(
            fates
                .map(|fate| fate.unwrap_or_else(|| rest.clone()))
                .collect(),
        )
    }

    /// Sets the fates of recipients that the hop refused one by one; gives the fate of the rest.
    async fn run(
        &mut self,
        letter: &Letter<'_>,
        fates: &mut [Option<Fate>],
    ) -> Result<Fate, Setback> {
        let waits = self.timeouts;
        if std::mem::take(&mut self.begun) {
            self.reset().await?;
        }
        let script = Script::new(letter, self.offers)?;
        if self.offers.pipelining {
            self.write(&script.text, Stage::Mail, waits.envelope)
                .await?;
        }
        let accepted = self.envelope(&script, fates).await?;
        if accepted == 0 && !self.offers.pipelining {
            return Ok(nobody());
        }
        let answer = self.ask(script.data(), Stage::Data, waits.data).await?;
        if accepted == 0 {
            if answer.code == 354 {
                // RFC 2920 §3.1: it took DATA with nobody to deliver to.
                self.write(b".\r\n", Stage::Content, waits.block).await?;
                self.answer(Stage::Content, waits.final_dot).await?;
            }
            return Ok(nobody());
        }
        answer.expect(Stage::Data, 354..=354)?;
        self.content(letter.content).await?;
        let answer = self.answer(Stage::FinalDot, waits.final_dot).await?;
        self.begun = false;
        let answer = answer.expect(Stage::FinalDot, 200..=299)?;
        Ok(Fate {
            outcome: Outcome::Delivered(answer.into_answer()),
            elsewhere: false,
            in_step: true,
            reached: true,
            handover: Handover::Relayed,
        })
    }

    /// RSET after a transaction that was not carried through. A hop that does not take it has
    /// parted from us, and says nothing about the next message.
    async fn reset(&mut self) -> Result<(), Setback> {
        let wait = self.timeouts.envelope;
        let parted = |_| Setback::new(Stage::Mail, Trouble::Closed);
        self.write(b"RSET\r\n", Stage::Mail, wait)
            .await
            .map_err(parted)?;
        let answer = self.answer(Stage::Mail, wait).await.map_err(parted)?;
        answer
            .expect(Stage::Mail, 200..=299)
            .map_err(parted)
            .map(drop)
    }

    /// MAIL and each RCPT; how many recipients were taken.
    async fn envelope(
        &mut self,
        script: &Script,
        fates: &mut [Option<Fate>],
    ) -> Result<usize, Setback> {
        let wait = self.timeouts.envelope;
        self.begun = true;
        let answer = self.ask(script.mail(), Stage::Mail, wait).await?;
        if let Err(setback) = answer.expect(Stage::Mail, 200..=299) {
            if self.offers.pipelining {
                self.pass_over(fates.len()).await;
            }
            return Err(setback);
        }
        let mut accepted = 0;
        for (number, fate) in fates.iter_mut().enumerate() {
            let answer = self
                .ask(script.recipient(number), Stage::Rcpt, wait)
                .await?;
            match answer.expect(Stage::Rcpt, 200..=299) {
                Ok(_) => accepted += 1,
                Err(setback) => {
                    let settled = setback.clone().fate();
                    if !settled.in_step {
                        return Err(setback);
                    }
                    *fate = Some(settled);
                }
            }
        }
        Ok(accepted)
    }

    /// Reads what a hop says to the RCPTs and DATA that were sent along with a refused MAIL.
    async fn pass_over(&mut self, recipients: usize) {
        let wait = self.timeouts.envelope;
        for _ in 0..recipients {
            if self.answer(Stage::Rcpt, wait).await.is_err() {
                self.broken = true;
                return;
            }
        }
        // 354 to DATA without a sender: closing is the clean way out.
        let data = self.answer(Stage::Data, wait).await;
        self.broken |= data.map_or(true, |answer| answer.code < 400);
    }

    async fn content(&mut self, content: &Content) -> Result<(), Setback> {
        let Err(setback) = self.send(content).await else {
            return Ok(());
        };
        self.broken = true;
        if matches!(setback.trouble, Trouble::Silent(_)) {
            return Err(setback);
        }
        // A hop may say why before it hangs up.
        let last_words = self.answer(Stage::Content, self.timeouts.quit).await;
        Err(match last_words {
            Ok(answer) if answer.code >= 400 => {
                Setback::new(Stage::Content, Trouble::Said(answer.into_answer()))
            }
            _ => setback,
        })
    }

    async fn send(&mut self, content: &Content) -> Result<(), Setback> {
        let wait = self.timeouts.block;
        if content.len() <= ONE_BUFFER {
            return self
                .write(&data::stuff(content), Stage::Content, wait)
                .await;
        }
        let mut block = Vec::with_capacity(2 * BLOCK);
        for piece in data::pieces(content) {
            for part in piece.chunks(BLOCK) {
                block.extend_from_slice(part);
                if block.len() >= BLOCK {
                    self.write(&block, Stage::Content, wait).await?;
                    block.clear();
                }
            }
        }
        self.write(&block, Stage::Content, wait).await
    }

    /// Says QUIT and waits a moment for the answer (RFC 5321 §4.1.1.10).
    pub async fn quit(mut self) {
        let wait = self.timeouts.quit;
        self.deadline = Instant::now() + wait;
        if !self.broken && self.write(b"QUIT\r\n", Stage::Mail, wait).await.is_ok() {
            // Whatever it answers, this was the end.
            let _ = self.answer(Stage::Mail, wait).await;
        }
    }

    async fn hello(&mut self, hostname: &str) -> Result<(), Setback> {
        let (stage, wait) = (Stage::Hello, self.timeouts.hello);
        let command = format!("EHLO {hostname}\r\n");
        self.write(command.as_bytes(), stage, wait).await?;
        let answer = self.answer(stage, wait).await?;
        if matches!(answer.code, 500 | 502) {
            // RFC 5321 §3.2: an old server.
            self.offers = Offers::default();
            let command = format!("HELO {hostname}\r\n");
            self.write(command.as_bytes(), stage, wait).await?;
            let answer = self.answer(stage, wait).await?;
            return answer.expect(stage, 250..=250).map(drop);
        }
        self.offers = Offers::read(&answer.expect(stage, 250..=250)?);
        Ok(())
    }

    /// The answer to a command, which was already written where the hop takes pipelining.
    async fn ask(
        &mut self,
        command: &[u8],
        stage: Stage,
        wait: Duration,
    ) -> Result<Spoken, Setback> {
        if !self.offers.pipelining {
            self.write(command, stage, wait).await?;
        }
        self.answer(stage, wait).await
    }

    async fn write(&mut self, bytes: &[u8], stage: Stage, wait: Duration) -> Result<(), Setback> {
        let until = self.deadline.min(Instant::now() + wait);
        match timeout_at(until, self.wire.write(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Setback::new(stage, lost(&error))),
            Err(_) => Err(Setback::new(stage, Trouble::Silent(wait))),
        }
    }

    async fn answer(&mut self, stage: Stage, wait: Duration) -> Result<Spoken, Setback> {
        let until = self.deadline.min(Instant::now() + wait);
        loop {
            match self.answers.complete() {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(what) => return Err(Setback::new(stage, Trouble::Nonsense(what))),
            }
            let unread = self.answers.unread();
            unread.reserve(1024);
            match timeout_at(until, self.wire.read(unread)).await {
                Ok(Ok(0)) => return Err(Setback::new(stage, Trouble::Closed)),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(Setback::new(stage, lost(&error))),
                Err(_) => return Err(Setback::new(stage, Trouble::Silent(wait))),
            }
        }
    }
}

impl Setback {
    /// A kept connection that the hop had closed, or closes instead of hearing MAIL.
    fn is_parting(&self) -> bool {
        self.stage == Stage::Mail
            && match &self.trouble {
                Trouble::Closed | Trouble::Network(_) => true,
                Trouble::Said(answer) => answer.code == 421,
                _ => false,
            }
    }
}

/// The fate of the rest where there is no rest: every recipient was refused on its own.
fn nobody() -> Fate {
    Setback::new(Stage::Rcpt, Trouble::Ours("nobody was left".into())).fate()
}

fn lost(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Trouble::Closed,
        _ => Trouble::Network(error.to_string()),
    }
}

impl Wire {
    async fn read(&mut self, into: &mut bytes::BytesMut) -> io::Result<usize> {
        match self {
            Self::Plain(client) => client.stream.read_buf(into).await,
            Self::Tls(client) => client.stream.read_buf(into).await,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(client) => client.stream.write_all(bytes).await,
            Self::Tls(client) => {
                client.stream.write_all(bytes).await?;
                client.stream.flush().await
            }
        }
    }
}

impl Spoken {
    fn expect(self, stage: Stage, codes: std::ops::RangeInclusive<u16>) -> Result<Self, Setback> {
        if codes.contains(&self.code) {
            Ok(self)
        } else {
            Err(Setback::new(stage, Trouble::Said(self.into_answer())))
        }
    }
}

impl Offers {
    fn read(answer: &Spoken) -> Self {
        let keywords = answer.lines.iter().skip(1); // the first line is a greeting
        let words = keywords.filter_map(|line| line.split_ascii_whitespace().next());
        words.fold(Self::default(), |mut offers, word| {
            match word.to_ascii_uppercase().as_str() {
                "PIPELINING" => offers.pipelining = true,
                "STARTTLS" => offers.starttls = true,
                "SIZE" => offers.size = true,
                "8BITMIME" => offers.eight_bit_mime = true,
                "SMTPUTF8" => offers.smtputf8 = true,
                _ => {}
            }
            offers
        })
    }
}

/// The commands of one transaction, ready to be sent together or one by one.
#[derive(Debug)]
struct Script {
    text: Vec<u8>,
    /// Where each command ends: MAIL, each RCPT; DATA is the rest.
    ends: Vec<usize>,
}

impl Script {
    fn new(letter: &Letter<'_>, offers: Offers) -> Result<Self, Setback> {
        if !offers.smtputf8 && letter.needs_smtputf8() {
            let trouble = Trouble::Lacks {
                status: "5.6.7", // RFC 6531 §3.5
                reason: "the next hop does not take SMTPUTF8, which this message needs".into(),
            };
            return Err(Setback::new(Stage::Mail, trouble));
        }
        let mut text = Vec::with_capacity(96 + 64 * letter.recipients.len());
        let mut ends = Vec::with_capacity(1 + letter.recipients.len());
        push_path(&mut text, b"MAIL FROM:<", letter.sender);
        if offers.size {
            text.extend_from_slice(format!(" SIZE={}", letter.content.len()).as_bytes()); // RFC 1870 §6
        }
        if offers.eight_bit_mime && letter.eight_bit {
            text.extend_from_slice(b" BODY=8BITMIME"); // RFC 6152 §3
        }
        if offers.smtputf8 && letter.asks_smtputf8() {
            text.extend_from_slice(b" SMTPUTF8"); // RFC 6531 §3.4
        }
        text.extend_from_slice(b"\r\n");
        ends.push(text.len());
        for recipient in &letter.recipients {
            push_path(&mut text, b"RCPT TO:<", Some(recipient));
            text.extend_from_slice(b"\r\n");
            ends.push(text.len());
        }
        text.extend_from_slice(b"DATA\r\n");
        Ok(Self { text, ends })
    }

    fn mail(&self) -> &[u8] {
        self.between(0, self.ends.first())
    }

    fn recipient(&self, number: usize) -> &[u8] {
        let start = self.ends.get(number).copied().unwrap_or_default();
        self.between(start, self.ends.get(number + 1))
    }

    fn data(&self) -> &[u8] {
        self.between(self.ends.last().copied().unwrap_or_default(), None)
    }

    fn between(&self, start: usize, end: Option<&usize>) -> &[u8] {
        let end = end.copied().unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or_default()
    }
}

fn push_path(text: &mut Vec<u8>, verb: &[u8], address: Option<&Address>) {
    text.extend_from_slice(verb);
    if let Some(address) = address {
        text.extend_from_slice(address.wire().as_bytes());
    }
    text.push(b'>');
}

impl Letter<'_> {
    fn names_need_smtputf8(&self) -> bool {
        let mut recipients = self.recipients.iter();
        self.sender.is_some_and(Address::needs_smtputf8) || recipients.any(|it| it.needs_smtputf8())
    }

    fn asks_smtputf8(&self) -> bool {
        self.smtputf8 || self.names_need_smtputf8()
    }

    /// A sender may have said SMTPUTF8 by habit; what counts is an address or a header field that
    /// has more than ASCII (RFC 6531 §3.2).
    fn needs_smtputf8(&self) -> bool {
        self.names_need_smtputf8()
            || self.smtputf8
                && !crate::mail::headers::header_section(self.content, usize::MAX).is_ascii()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spoken(text: &str) -> Spoken {
        let mut answers = Answers::default();
        answers.unread().extend_from_slice(text.as_bytes());
        answers.complete().unwrap().unwrap()
    }

    #[test]
    fn offers_are_read_from_the_answer_to_ehlo() {
        let all = Offers {
            pipelining: true,
            starttls: true,
            size: true,
            eight_bit_mime: true,
            smtputf8: true,
        };
        for (text, expected) in [
            ("250 hop\r\n", Offers::default()),
            ("250 PIPELINING\r\n", Offers::default()),
            (
                "250-hop\r\n250-pipelining\r\n250-STARTTLS\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 SmtpUtf8\r\n",
                all,
            ),
            ("250-hop\r\n250-X-PIPELINING\r\n250 \r\n", Offers::default()),
        ] {
            assert_eq!(Offers::read(&spoken(text)), expected, "{text:?}");
        }
    }
}
