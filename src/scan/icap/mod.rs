//! The engine behind an ICAP service (RFC 3507), as McAfee, ESET, Kaspersky, Sophos, Symantec and c-icap are.
//!
//! `place` is where it is, `options` what it says it does, `request` and `answer` are the octets in both
//! directions, `judge` is what an answer means, all pure; `connection` owns sockets, `dialogue` one
//! exchange. The whole message is shown first, then each attachment as it is when decoded, since many
//! engines do not take mail apart. A service that says of a beginning that it need not see more has
//! scanned nothing: it is given all of it, and asked again; c-icap, which is known to say so of what is
//! too large for it or of a type that it does not scan, is not believed. Whatever else goes wrong is
//! unscannable, and never clean.
//!
//! The protocol is our own. Of the crates that speak it `icaparse` is older than five years, and `icap-rs` keeps
//! whole bodies, offers no early answers, and does not say what else was on a connection: on that the
//! safety here rests.

pub mod answer;
mod connection;
mod dialogue;
pub mod judge;
pub mod options;
pub mod place;
pub mod request;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Answering, Part, Scanner, Specimen, search};
use crate::mail::{Identity, Unscannable, Verdict, Why};
use crate::tls::{ClientConfig, Outgoing};
use answer::Head;
use connection::{Pool, Wire};
use dialogue::{Stale, Told};
use judge::Judge;
use options::Abilities;
use place::Place;
pub use request::Method;
use request::{Manner, Object, Request};

/// How long OPTIONS may take, and how long it is left at that when it failed.
const OPTIONS_PATIENCE: Duration = Duration::from_secs(2);
const OPTIONS_PAUSE: Duration = Duration::from_secs(30);
/// How many attachments of a message are shown at the same time.
const AT_ONCE: usize = 4;
/// What c-icap does not scan and is larger than this, it does not scan for its size, in all likelihood.
const SIZABLE: usize = 1 << 20;

/// `kind = "icap"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub place: Place,
    /// None: what the service says that it does, RESPMOD rather than REQMOD.
    pub method: Option<Method>,
    /// Header fields that name malware, besides those that are known; in lower case.
    pub headers: Vec<String>,
    /// Whether attachments are shown by themselves too.
    pub attachments: bool,
    /// What is larger is not shown; None: the service itself says what is too large.
    pub max_size: Option<u64>,
    /// For `icaps://`.
    pub tls: Option<Outgoing>,
}

impl Settings {
    /// Those of a service that nothing else is known of.
    pub const fn at(place: Place) -> Self {
        Self {
            place,
            method: None,
            headers: Vec::new(),
            attachments: true,
            max_size: None,
            tls: None,
        }
    }
}

#[derive(Debug)]
pub struct Icap {
    peer: Arc<Peer>,
}

impl Icap {
    pub fn new(settings: Settings) -> Self {
        Self {
            peer: Arc::new(Peer {
                settings,
                pool: Pool::default(),
                abilities: Mutex::default(),
                trust: Mutex::default(),
            }),
        }
    }
}

impl Scanner for Icap {
    fn scan(&self, specimen: Arc<Specimen>) -> Answering<Verdict> {
        let peer = Arc::clone(&self.peer);
        Box::pin(async move { scan(&peer, &specimen).await })
    }

    fn identify(&self) -> Answering<Result<Identity, String>> {
        let peer = Arc::clone(&self.peer);
        Box::pin(async move { peer.identify().await })
    }
}

/// What is known of the service, and until when.
#[derive(Debug)]
struct Known {
    abilities: Arc<Abilities>,
    until: Instant,
}

#[derive(Debug)]
struct Peer {
    settings: Settings,
    pool: Pool,
    abilities: Mutex<Option<Known>>,
    trust: Mutex<Option<Arc<ClientConfig>>>,
}

/// What became of one object.
enum Seen {
    Verdict(Verdict),
    /// It was let pass without being scanned.
    PassedBy,
}

async fn scan(peer: &Arc<Peer>, specimen: &Arc<Specimen>) -> Verdict {
    let message = Object::message(specimen.message.clone());
    let whole = match peer.look(&message).await {
        Seen::Verdict(verdict) => verdict,
        Seen::PassedBy => passed_by(message.bytes.len()),
    };
    if !peer.settings.attachments {
        return whole;
    }
    let ask = |place: usize, part: Part| {
        let peer = Arc::clone(peer);
        async move { peer.attachment(place + 1, &part).await }
    };
    search::attachments(specimen, whole, AT_ONCE, ask).await
}

impl Peer {
    async fn attachment(&self, number: usize, part: &Part) -> Verdict {
        let mut object = Object::attachment(part.bytes.clone(), number, Some(&part.name));
        let abilities = self.abilities().await;
        if abilities.is_ok_and(|it| it.ignores(&object.name)) {
            object = Object::attachment(part.bytes.clone(), number, None);
        }
        match self.look(&object).await {
            Seen::Verdict(verdict) => verdict,
            // It is of a type that c-icap leaves out, and was scanned as a part of the message.
            Seen::PassedBy => Verdict::Clean,
        }
    }

    async fn look(&self, object: &Object) -> Seen {
        if let Some(verdict) = self.too_large(object.bytes.len()) {
            return Seen::Verdict(verdict);
        }
        let abilities = match self.abilities().await {
            Ok(abilities) => abilities,
            Err(verdict) => return Seen::Verdict(verdict),
        };
        let _place = self.pool.place(abilities.most_connections).await;
        match self.show(object, &abilities).await {
            // It was asked as one asks others.
            Told::Verdict(Verdict::Clean, true) if !abilities.is_c_icap => {
                let abilities = self.is_c_icap(&abilities).await;
                seen(self.show(object, &abilities).await)
            }
            told => seen(told),
        }
    }

    fn too_large(&self, size: usize) -> Option<Verdict> {
        let most = self.settings.max_size?;
        (size as u64 > most).then(|| {
            let detail = format!("{size} octets, and max_size is {most}");
            Verdict::Unscannable(Unscannable::before(Why::TooLarge, detail))
        })
    }

    /// A beginning first, where that is wanted; all of it where the beginning was let pass.
    async fn show(&self, object: &Object, abilities: &Abilities) -> Told {
        let preview = abilities.preview(&object.name, object.bytes.len());
        match self.ask(object, abilities, preview).await {
            Told::LetPass if !abilities.is_c_icap => self.ask(object, abilities, None).await,
            told => told,
        }
    }

    /// Its answer says that it is c-icap, where OPTIONS did not.
    async fn is_c_icap(&self, abilities: &Abilities) -> Arc<Abilities> {
        let abilities = Arc::new(abilities.of_c_icap());
        if let Some(known) = self.abilities.lock().await.as_mut() {
            known.abilities = Arc::clone(&abilities);
        }
        abilities
    }

    async fn ask(&self, object: &Object, abilities: &Abilities, preview: Option<usize>) -> Told {
        let manner = Manner {
            method: abilities.method,
            preview,
            // What is exactly as large as c-icap takes, it asks for, and then lets pass unscanned.
            margin: usize::from(abilities.is_c_icap),
        };
        let request = Request::new(&self.settings.place, object, manner);
        let request = &request;
        let told = self.converse(|mut wire| async move {
            let mut judge = Judge::new(
                object.bytes.clone(),
                object.content_type,
                &self.settings.headers,
                abilities.is_c_icap,
            );
            let told = dialogue::ask(&mut wire, request, &mut judge).await;
            (wire, told)
        });
        told.await.unwrap_or_else(|it| Told::Verdict(it, false))
    }

    /// What the service does, as it last said. `Err`: nobody can be spoken with.
    async fn abilities(&self) -> Result<Arc<Abilities>, Verdict> {
        let mut last = self.abilities.lock().await;
        if let Some(known) = last.as_ref().filter(|it| it.until > Instant::now()) {
            return Ok(Arc::clone(&known.abilities));
        }
        let plain = || Arc::new(Abilities::plain(self.settings.method));
        // It stands where the service does not answer, and where whoever asks gives up meanwhile.
        let abilities = last.take().map_or_else(plain, |it| it.abilities);
        let known = last.insert(Known {
            abilities,
            until: Instant::now() + OPTIONS_PAUSE,
        });
        match timeout(OPTIONS_PATIENCE, self.ask_options()).await {
            Ok(Err(down @ Verdict::Unscannable(Unscannable { begun: false, .. }))) => {
                known.until = Instant::now();
                return Err(down);
            }
            Ok(Ok(head)) => {
                if let Some(said) = Abilities::read(&head, self.settings.method) {
                    known.until = Instant::now() + said.hold;
                    known.abilities = Arc::new(said);
                }
            }
            Ok(Err(_)) | Err(_) => {}
        }
        Ok(Arc::clone(&known.abilities))
    }

    async fn ask_options(&self) -> Result<Head, Verdict> {
        let place = &self.settings.place;
        let said = self.converse(|mut wire| async move {
            let said = dialogue::options(&mut wire, place).await;
            (wire, said)
        });
        said.await?
    }

    /// Over a connection that was kept, or else a new one.
    async fn converse<T, F>(&self, talk: impl Fn(Wire) -> F) -> Result<T, Verdict>
    where
        F: Future<Output = (Wire, Result<T, Stale>)>,
    {
        if let Some(wire) = self.pool.take() {
            match talk(wire).await {
                (wire, Ok(said)) => {
                    self.pool.give_back(wire);
                    return Ok(said);
                }
                // Those beside it are as old.
                (_, Err(Stale)) => self.pool.clear(),
            }
        }
        let (wire, said) = talk(self.connect().await?).await;
        self.pool.give_back(wire);
        said.map_err(|Stale| judge::broken("a new connection was used before"))
    }

    async fn identify(&self) -> Result<Identity, String> {
        let head = self.ask_options().await.map_err(|it| it.to_string())?;
        match head.status {
            Some(200) => Ok(options::identity(&head.fields)),
            status => Err(format!(
                "OPTIONS was answered with {} {}",
                status.unwrap_or_default(),
                head.reason
            )),
        }
    }

    async fn connect(&self) -> Result<Wire, Verdict> {
        let trust = match &self.settings.tls {
            None => None,
            Some(outgoing) => Some(self.trust(outgoing).await?),
        };
        Wire::connect(&self.settings.place, trust)
            .await
            .map_err(|error| dialogue::unreachable(&error))
    }

    /// Whose certificates are believed; the files are read once.
    async fn trust(&self, outgoing: &Outgoing) -> Result<Arc<ClientConfig>, Verdict> {
        let mut trust = self.trust.lock().await;
        if let Some(config) = trust.as_ref() {
            return Ok(Arc::clone(config));
        }
        let config = outgoing.load().map_err(|fault| {
            Verdict::Unscannable(Unscannable::before(Why::Down, fault.to_string()))
        })?;
        *trust = Some(Arc::clone(&config));
        Ok(config)
    }
}

fn seen(told: Told) -> Seen {
    match told {
        Told::Verdict(verdict, _) => Seen::Verdict(verdict),
        Told::LetPass => Seen::PassedBy,
    }
}

fn passed_by(size: usize) -> Verdict {
    let why = if size >= SIZABLE {
        Why::TooLarge
    } else {
        Why::Limit
    };
    let detail = "c-icap let it pass without scanning it: for its MaxObjectSize or ScanFileTypes, or \
                  since it has no engine";
    Verdict::Unscannable(Unscannable::during(why, detail))
}
