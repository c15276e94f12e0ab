//! From a next hop's name to a connection that is ready for mail: looked up, connected, greeted,
//! secured, logged in.
//!
//! Decides when TLS is needed: where the table says so, and wherever a password, a certificate of
//! ours or a message that requires TLS would otherwise go in plain text. The addresses of a host are
//! tried in order; what is said of the last one stands for all.

use std::net::SocketAddr;
use std::path::Path;

use tokio::time::{Instant, timeout_at};

use super::extensions::Offers;
use super::probe::Journal;
use super::wire::Wire;
use super::{Caller, Connection, Dialect, Guard, Setback};
use crate::delivery::answers::Spoken;
use crate::delivery::outcome::{Stage, Trouble};
use crate::mail::Answer;
use crate::policy::table::{HopServer, HopTls};

/// Where to connect, and what is spoken there.
#[derive(Debug, Clone, Copy)]
pub enum Call<'a> {
    Smtp(&'a HopServer),
    /// TLS from the first byte.
    Smtps(&'a HopServer),
    Lmtp(&'a HopServer),
    LmtpSocket(&'a Path),
}

/// How TLS goes on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    Off,
    Opportunistic,
    /// An opportunistic handshake failed a moment ago.
    GivenUp,
    Needed(Need),
}

/// TLS, or no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Need {
    /// From the first byte.
    implicit: bool,
    verified: bool,
    reason: Reason,
}

/// Why plain text will not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Table,
    Password,
    Certificate,
    Message,
}

/// One way to one server.
#[derive(Clone, Copy)]
struct Way<'a> {
    server: &'a HopServer,
    dialect: Dialect,
    security: Security,
    deadline: Instant,
    journal: Option<&'a Journal>,
}

impl Way<'_> {
    fn tell(&self, step: &'static str, words: impl FnOnce() -> String) {
        if let Some(journal) = self.journal {
            journal.note(step, words());
        }
    }
}

impl Security {
    /// `guarded`: the message requires TLS with a server that proves who it is.
    fn of(server: &HopServer, implicit: bool, guarded: bool) -> Result<Self, Setback> {
        let need = |verified, reason| {
            Self::Needed(Need {
                implicit,
                verified,
                reason,
            })
        };
        if implicit || server.tls == HopTls::Required {
            return Ok(need(true, Reason::Table));
        }
        let reason = match server {
            it if it.credentials.is_some() => Some(Reason::Password),
            it if it.client_certificate.is_some() => Some(Reason::Certificate),
            _ if guarded => Some(Reason::Message),
            _ => None,
        };
        match (reason, server.tls) {
            (Some(reason), HopTls::Off) => Err(reason.without_tls(server, "is switched off")),
            (Some(reason), _) => Ok(need(guarded, reason)),
            (None, HopTls::Off) => Ok(Self::Off),
            (None, _) => Ok(Self::Opportunistic),
        }
    }
}

impl Reason {
    /// TLS is needed, and this is how it stands with it here.
    fn without_tls(self, server: &HopServer, state: &str) -> Setback {
        match self {
            Self::Table => {
                let words = "STARTTLS is not offered, and the routing table requires it";
                Setback::new(Stage::StartTls, Trouble::Tls(words.into()))
            }
            Self::Password => {
                let user = server.credentials.as_ref().map_or("", |(user, _)| user);
                let words = format!(
                    "TLS {state}, and the password of user {user:?} is never sent in plain text: \
                     let the server offer STARTTLS, or take user and password out of the next hop"
                );
                Setback::new(Stage::Auth, Trouble::NotLetIn(words))
            }
            Self::Certificate => {
                let words = format!(
                    "TLS {state}, and without it the relay cannot show its certificate: let the \
                     server offer STARTTLS, or take client_certificate out of the next hop"
                );
                Setback::new(Stage::StartTls, Trouble::NotLetIn(words))
            }
            Self::Message => {
                let reason =
                    format!("TLS towards the next hop {state}, and the message requires it");
                let status = "5.7.10"; // RFC 8689 §5
                Setback::new(Stage::StartTls, Trouble::Lacks { status, reason })
            }
        }
    }
}

impl Caller {
    /// Connects up to the point where mail can be sent. `guarded`: only if what is sent cannot be
    /// read on the way.
    pub async fn open(
        &self,
        call: Call<'_>,
        guarded: bool,
        deadline: Instant,
    ) -> Result<Connection, Setback> {
        self.open_telling(call, guarded, deadline, None).await
    }

    /// The same. With a journal each step is told, and nobody logs in.
    pub(super) async fn open_telling(
        &self,
        call: Call<'_>,
        guarded: bool,
        deadline: Instant,
        journal: Option<&Journal>,
    ) -> Result<Connection, Setback> {
        let (server, implicit, dialect) = match call {
            Call::Smtp(server) => (server, false, Dialect::Smtp),
            Call::Smtps(server) => (server, true, Dialect::Smtp),
            Call::Lmtp(server) => (server, false, Dialect::Lmtp),
            Call::LmtpSocket(path) => return self.open_socket(path, deadline, journal).await,
        };
        let way = Way {
            server,
            dialect,
            security: Security::of(server, implicit, guarded)?,
            deadline,
            journal,
        };
        let mut setback = Setback::new(Stage::Prepare, Trouble::NoSuchName(server.host.clone()));
        for address in self
            .looked_up(self.resolver.addresses(&server.host), deadline)
            .await?
        {
            let address = SocketAddr::new(address, server.port);
            match self.open_at(address, way).await {
                Err(other) if other.stage < Stage::Auth => {
                    way.tell(other.stage.step(), || {
                        format!("{address}: {}", other.words())
                    });
                    setback = other;
                }
                outcome => return outcome,
            }
        }
        Err(setback)
    }

    /// The servers that take mail for a domain, in the order in which to try them.
    pub async fn exchangers(
        &self,
        domain: &str,
        deadline: Instant,
    ) -> Result<Vec<String>, Setback> {
        self.looked_up(self.resolver.exchangers(domain, &self.hostname), deadline)
            .await
    }

    async fn looked_up<T>(
        &self,
        lookup: impl Future<Output = Result<T, Trouble>>,
        deadline: Instant,
    ) -> Result<T, Setback> {
        timeout_at(deadline.min(Instant::now() + self.timeouts.connect), lookup)
            .await
            .unwrap_or_else(|_| Err(Trouble::Unresolved("the name servers do not answer".into())))
            .map_err(|trouble| Setback::new(Stage::Prepare, trouble))
    }

    async fn open_socket(
        &self,
        path: &Path,
        deadline: Instant,
        journal: Option<&Journal>,
    ) -> Result<Connection, Setback> {
        let tell = |step, words: String| {
            if let Some(journal) = journal {
                journal.note(step, words);
            }
        };
        let wait = self.timeouts.connect.min(left(deadline));
        let wire = Wire::connect_socket(path, wait)
            .await
            .map_err(|trouble| Setback::new(Stage::Connect, trouble))?;
        tell("connect", path.display().to_string());
        let mut connection = Connection::new(wire, Dialect::Lmtp, self.timeouts, deadline);
        tell("greeting", connection.greeted().await?.to_string());
        tell("LHLO", connection.hello(&self.hostname).await?.to_string());
        Ok(connection)
    }

    async fn open_at(&self, address: SocketAddr, way: Way<'_>) -> Result<Connection, Setback> {
        match self.ready(address, way).await {
            // Plain text would have done from the start.
            Err(Setback {
                stage: Stage::StartTls,
                trouble,
            }) if way.security == Security::Opportunistic && is_failed_start(&trouble) => {
                let failed = Setback::new(Stage::StartTls, trouble);
                way.tell("STARTTLS", || {
                    format!("{}; again without TLS", failed.words())
                });
                let security = Security::GivenUp;
                self.ready(address, Way { security, ..way }).await
            }
            outcome => outcome,
        }
    }

    async fn ready(&self, address: SocketAddr, way: Way<'_>) -> Result<Connection, Setback> {
        let wait = self.timeouts.connect.min(left(way.deadline));
        let wire = Wire::connect(address, wait)
            .await
            .map_err(|trouble| Setback::new(Stage::Connect, trouble))?;
        way.tell("connect", || address.to_string());
        let mut connection = Connection::new(wire, way.dialect, self.timeouts, way.deadline);
        if let Security::Needed(need) = way.security
            && need.implicit
        {
            connection = self.secured(connection, way).await?;
        }
        let greeting = connection.greeted().await?;
        way.tell("greeting", || greeting.to_string());
        let offers = connection.hello(&self.hostname).await?;
        way.tell(way.dialect.hello(), || offers.to_string());
        match way.security {
            Security::Needed(Need {
                implicit: false, ..
            })
            | Security::Opportunistic => connection = self.upgraded(connection, way).await?,
            Security::GivenUp => connection.tls = "none (handshake failed)".into(),
            Security::Needed(_) | Security::Off => {}
        }
        match (&way.server.credentials, way.journal) {
            (Some((user, password)), None) => connection.log_in(user, password).await?,
            (Some((user, _)), Some(journal)) => {
                journal.note("AUTH", connection.could_log_in(user)?);
            }
            (None, _) => {}
        }
        Ok(connection)
    }

    /// STARTTLS where it is offered, and EHLO anew (RFC 3207 §4.2).
    async fn upgraded(
        &self,
        mut connection: Connection,
        way: Way<'_>,
    ) -> Result<Connection, Setback> {
        if !connection.offers.starttls {
            return match way.security {
                Security::Needed(need) => {
                    Err(need.reason.without_tls(way.server, "is not offered"))
                }
                _ => Ok(connection),
            };
        }
        let (stage, wait) = (Stage::StartTls, self.timeouts.hello);
        let answer = connection.say(b"STARTTLS\r\n", stage, wait).await?;
        if !matches!(answer.code, 220 | 421) && way.security == Security::Opportunistic {
            way.tell("STARTTLS", || {
                format!("{}; on without TLS", answer.into_answer())
            });
            connection.tls = "none (STARTTLS refused)".into();
            return Ok(connection);
        }
        let answer = answer.expect(stage, 220..=220)?.into_answer();
        way.tell("STARTTLS", || answer.to_string());
        if !connection.answers.is_empty() {
            // RFC 3207 §6: what came in plain text after 220 was put there by someone else.
            let words = "plain text was sent after the answer to STARTTLS";
            return Err(Setback::new(stage, Trouble::Nonsense(words.into())));
        }
        let mut connection = self.secured(connection, way).await?;
        let offers = connection.hello(&self.hostname).await?;
        way.tell(way.dialect.hello(), || offers.to_string());
        Ok(connection)
    }

    async fn secured(&self, connection: Connection, way: Way<'_>) -> Result<Connection, Setback> {
        let verified = matches!(way.security, Security::Needed(need) if need.verified);
        let failed = |trouble| Setback::new(Stage::StartTls, trouble);
        let config = self.trust.config(way.server, verified).map_err(failed)?;
        let name = way.server.host.trim_matches(['[', ']']);
        let wait = self.timeouts.hello.min(left(way.deadline));
        let (wire, agreed) = connection
            .wire
            .secure(config, name, wait)
            .await
            .map_err(failed)?;
        way.tell("TLS", || match verified {
            true => format!("{agreed}, and the certificate proves who it is"),
            false => format!("{agreed}; the certificate was not checked"),
        });
        Ok(Connection {
            wire,
            tls: agreed.into(),
            guard: if verified {
                Guard::Verified
            } else {
                Guard::Unverified
            },
            ..connection
        })
    }
}

/// The hop does not come to TLS, as far as can be seen; not: somebody has meddled with it.
fn is_failed_start(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Tls(_) | Trouble::Closed | Trouble::Network(_) | Trouble::Silent(_) => true,
        Trouble::Said(answer) => answer.code == 421,
        _ => false,
    }
}

fn left(deadline: Instant) -> std::time::Duration {
    deadline.saturating_duration_since(Instant::now())
}

impl Connection {
    async fn greeted(&mut self) -> Result<Answer, Setback> {
        let stage = Stage::Greeting;
        let greeting = self.answer(stage, self.timeouts.greeting).await?;
        greeting.expect(stage, 220..=220).map(Spoken::into_answer)
    }

    /// EHLO or LHLO, and what is offered in answer.
    async fn hello(&mut self, hostname: &str) -> Result<Answer, Setback> {
        let (stage, wait) = (Stage::Hello, self.timeouts.hello);
        let verb = self.dialect.hello();
        let command = format!("{verb} {hostname}\r\n");
        let answer = self.say(command.as_bytes(), stage, wait).await?;
        if matches!(answer.code, 500 | 502) && self.dialect == Dialect::Smtp {
            // RFC 5321 §3.2: an old server.
            self.offers = Offers::default();
            let command = format!("HELO {hostname}\r\n");
            let answer = self.say(command.as_bytes(), stage, wait).await?;
            return answer.expect(stage, 250..=250).map(Spoken::into_answer);
        }
        let answer = answer.expect(stage, 250..=250)?;
        self.offers = Offers::read(&answer);
        Ok(answer.into_answer())
    }
}
