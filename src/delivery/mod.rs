//! One message, one room's next hops, one attempt.
//!
//! Asks the next hops in order until every recipient has an outcome that another hop could not
//! better, and gives one [`Attempt`] per recipient. Keeps one connection for the next message. A hop
//! that is known to be silent is asked last, and looked after until it answers again.
//! Never fails as such: whatever happens is somebody's outcome, and unknown trouble is temporary.

pub mod answers;
pub mod client;
pub mod maildir;
pub mod outcome;
pub mod patience;
pub mod resolve;
pub mod trust;
pub mod ways;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::mail::{Answer, ByMode, Content, Timestamp};
use crate::policy::table::{HopServer, NextHop};
use crate::spool::store::Waiting;

use client::{Call, Caller, Connection, Letter, Setback};
use outcome::{Attempt, Fate, Handover, Outcome, Stage, Trouble};
use patience::{Patience, Stop};
use ways::{Watch, WayName};

/// `[delivery]` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The wait after each attempt; the last one repeats.
    pub retry: Vec<Duration>,
    /// When the sender is told that it is late.
    pub warn_after: Duration,
    /// When the sender is told that it failed.
    pub give_up_after: Duration,
    /// Attempts at once towards one room.
    pub connections_per_room: usize,
    pub timeouts: client::Timeouts,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry: [5, 15, 30, 60, 120, 300].map(Duration::from_secs).to_vec(),
            warn_after: Duration::from_secs(5 * 60),
            give_up_after: Duration::from_secs(4 * 60 * 60),
            connections_per_room: 20,
            timeouts: client::Timeouts::default(),
        }
    }
}

/// A message and those of its recipients that share next hops; at least one.
#[derive(Debug)]
pub struct Job<'a> {
    pub waiting: &'a [Waiting],
    pub content: &'a Content,
    /// No attempt can have been made before, not even by a process that crashed.
    pub first_try: bool,
    /// When the attempt begins.
    pub now: Timestamp,
    /// Begins nothing more when the relay stops, and gives what is known by the end of the grace.
    pub stop: Stop,
}

/// How long a transaction in hand may take when the relay stops; its outcome is to be written then.
pub const GRACE: Duration = Duration::from_secs(10);

/// A connection kept open for the next message.
#[derive(Debug)]
pub struct Kept {
    hop: NextHop,
    /// Which of the servers of a domain it is.
    exchanger: Option<String>,
    label: Arc<str>,
    connection: Connection,
    opened_at: Instant,
}

/// RFC 5321 §4.5.3.1.8: a hop takes at least this many recipients at once.
const RECIPIENTS: usize = 100;
/// How long a connection to a hop further down the list goes before those above it.
const SECOND_CHOICE: Duration = Duration::from_secs(5);

impl Kept {
    pub async fn close(self) {
        self.connection.quit().await;
    }

    fn leads(&self, way: &Way<'_>) -> bool {
        self.hop == *way.hop && self.exchanger.as_deref() == way.exchanger
    }

    fn is_preferred(&self) -> bool {
        self.opened_at.elapsed() < SECOND_CHOICE
    }
}

/// Tries to deliver to each recipient; one attempt each, in the order of `job.waiting`.
pub async fn attempt(
    job: &Job<'_>,
    hops: &[NextHop],
    kept: &mut Option<Kept>,
    caller: &Caller,
) -> Vec<Attempt> {
    let Some(message) = job.waiting.first() else {
        return Vec::new();
    };
    let mut round = Round::new(job, message, caller);
    let preferred = kept.as_ref().filter(|it| it.is_preferred());
    let preferred = preferred.and_then(|it| hops.iter().position(|hop| *hop == it.hop));
    let name = |hop: &NextHop| whole(hop);
    for hop in round.in_order(hops, preferred, name) {
        if round.is_over() {
            break;
        }
        match hop {
            NextHop::Maildir(root) => round.keep_copies(hop, root).await,
            NextHop::Mx(domain) => round.send_to_domain(hop, domain, kept).await,
            NextHop::Smtp(server) => round.send(Way::to(hop, Call::Smtp(server)), kept).await,
            NextHop::Smtps(server) => round.send(Way::to(hop, Call::Smtps(server)), kept).await,
            NextHop::Lmtp(server) => round.send(Way::to(hop, Call::Lmtp(server)), kept).await,
            NextHop::LmtpSocket(path) => {
                round.send(Way::to(hop, Call::LmtpSocket(path)), kept).await;
            }
        }
    }
    round.attempts()
}

/// Whether it is worth trying a room that could not be reached: connects to the first next hop that
/// is ready for mail, and keeps that connection. Otherwise the attempt that all who wait share.
pub async fn knock(
    hops: &[NextHop],
    kept: &mut Option<Kept>,
    caller: &Caller,
) -> Result<(), Attempt> {
    if let Some(old) = kept.take() {
        old.close().await;
    }
    let started_at = Instant::now();
    let deadline = started_at + caller.timeouts.whole;
    let mut shut = unasked(Duration::ZERO);
    for hop in in_order(hops, None, |hop| caller.ways.is_silent(&whole(hop))) {
        let (setback, label) = match knock_at(hop, caller, deadline).await {
            Ok(ready) => {
                *kept = ready;
                return Ok(());
            }
            Err(why) => why,
        };
        let fate = setback.fate();
        if !matches!(fate.outcome, Outcome::Deferred(_)) {
            // It is not the way there that is shut: each message hears so itself.
            return Ok(());
        }
        shut = Attempt {
            outcome: fate.outcome,
            hop: Some(label),
            duration: started_at.elapsed(),
            ..shut
        };
    }
    Err(shut)
}

/// The connection, where there is one to keep; or why not, and where.
async fn knock_at(
    hop: &NextHop,
    caller: &Caller,
    deadline: Instant,
) -> Result<Option<Kept>, (Setback, Arc<str>)> {
    let call = match hop {
        NextHop::Smtp(server) => Call::Smtp(server),
        NextHop::Smtps(server) => Call::Smtps(server),
        NextHop::Lmtp(server) => Call::Lmtp(server),
        NextHop::LmtpSocket(path) => Call::LmtpSocket(path),
        NextHop::Mx(domain) => return knock_at_domain(hop, domain, caller, deadline).await,
        NextHop::Maildir(root) => {
            let (patience, wait) = (Patience::until(deadline), caller.timeouts.block);
            let ready = caller.writers.make_ready(root, &patience, wait).await;
            let why = |trouble| (unready(trouble), hop.to_string().into());
            return ready.map(|()| None).map_err(why);
        }
    };
    let way = Way::to(hop, call);
    let opened = way.open(caller, false, deadline).await;
    opened.map(Some).map_err(|setback| (setback, way.label()))
}

async fn knock_at_domain(
    hop: &NextHop,
    domain: &HopServer,
    caller: &Caller,
    deadline: Instant,
) -> Result<Option<Kept>, (Setback, Arc<str>)> {
    let hosts = caller.exchangers(&domain.host, deadline).await;
    let hosts = hosts.map_err(|setback| (setback, hop.to_string().into()))?;
    let is_silent = |host: &String| caller.ways.is_silent(&server_of(hop, host));
    let hosts = in_order(&hosts, None, is_silent).into_iter().cloned();
    let nobody = unready(Trouble::NoSuchName(domain.host.clone()));
    let mut why = (nobody, hop.to_string().into());
    for host in hosts {
        let server = HopServer {
            host,
            ..domain.clone()
        };
        let way = Way {
            exchanger: Some(&server.host),
            ..Way::to(hop, Call::Smtp(&server))
        };
        match way.open(caller, false, deadline).await {
            Ok(opened) => return Ok(Some(opened)),
            Err(setback) => why = (setback, way.label()),
        }
    }
    Err(why)
}

/// Nobody there can be spoken with, whatever the message.
fn is_shut(setback: &Setback) -> bool {
    let fate = setback.clone().fate();
    !fate.reached && matches!(fate.outcome, Outcome::Deferred(_))
}

const fn unready(trouble: Trouble) -> Setback {
    Setback::new(Stage::Prepare, trouble)
}

/// As listed, the preferred one before the others and the silent ones after them.
fn in_order<T>(all: &[T], preferred: Option<usize>, is_silent: impl Fn(&T) -> bool) -> Vec<&T> {
    let mut order: Vec<(usize, &T)> = all.iter().enumerate().collect();
    order.sort_by_cached_key(|&(place, one)| (Some(place) != preferred, is_silent(one)));
    order.into_iter().map(|(_, one)| one).collect()
}

fn whole(hop: &NextHop) -> WayName {
    WayName {
        hop: hop.clone(),
        exchanger: None,
    }
}

fn server_of(hop: &NextHop, host: &str) -> WayName {
    WayName {
        exchanger: Some(host.to_owned()),
        ..whole(hop)
    }
}

/// How long a silent way is left alone before each knock; the last pause repeats.
const PAUSES: [u64; 6] = [1, 2, 5, 10, 20, 30];

/// Tries a silent way, one knock at a time, until it answers, or nobody names it, or the relay stops.
async fn look_after(watch: Watch, caller: Caller, mut stop: Stop) {
    let label = match &watch.way.exchanger {
        None => watch.way.hop.to_string(),
        Some(host) => format!("{} ({host})", watch.way.hop),
    };
    tracing::info!(
        next_hop = label,
        "it does not answer; mail goes another way until it does"
    );
    tokio::select! {
        () = stop.told() => {}
        () = knock_until_it_answers(&watch, &caller) => {
            tracing::info!(next_hop = label, "it answers again, or is not needed any more");
        }
    }
}

async fn knock_until_it_answers(watch: &Watch, caller: &Caller) {
    for knocks in 0.. {
        let pause = PAUSES.get(knocks).or(PAUSES.last());
        tokio::time::sleep(Duration::from_secs(pause.copied().unwrap_or(1))).await;
        if !watch.is_needed() {
            return;
        }
        let deadline = Instant::now() + caller.timeouts.whole;
        if let Ok(opened) = knock_at_way(&watch.way, caller, deadline).await {
            caller.ways.has_answered(&watch.way);
            if let Some(opened) = opened {
                opened.close().await;
            }
            return;
        }
    }
}

async fn knock_at_way(
    way: &WayName,
    caller: &Caller,
    deadline: Instant,
) -> Result<Option<Kept>, (Setback, Arc<str>)> {
    let (NextHop::Mx(domain), Some(host)) = (&way.hop, &way.exchanger) else {
        return knock_at(&way.hop, caller, deadline).await;
    };
    let server = HopServer {
        host: host.clone(),
        ..domain.clone()
    };
    let way = Way {
        exchanger: Some(host),
        ..Way::to(&way.hop, Call::Smtp(&server))
    };
    let opened = way.open(caller, false, deadline).await;
    opened.map(Some).map_err(|setback| (setback, way.label()))
}

/// How one server of a next hop is called.
#[derive(Clone, Copy)]
struct Way<'a> {
    hop: &'a NextHop,
    call: Call<'a>,
    exchanger: Option<&'a str>,
}

impl<'a> Way<'a> {
    const fn to(hop: &'a NextHop, call: Call<'a>) -> Self {
        Self {
            hop,
            call,
            exchanger: None,
        }
    }

    fn name(&self) -> WayName {
        WayName {
            hop: self.hop.clone(),
            exchanger: self.exchanger.map(str::to_owned),
        }
    }

    /// The next hop as configured, and which of its servers.
    fn label(&self) -> Arc<str> {
        match self.exchanger {
            None => self.hop.to_string().into(),
            Some(host) => format!("{} ({host})", self.hop).into(),
        }
    }

    async fn open(
        &self,
        caller: &Caller,
        guarded: bool,
        deadline: Instant,
    ) -> Result<Kept, Setback> {
        let opened = caller.open(self.call, guarded, deadline).await;
        match &opened {
            Ok(_) => _ = caller.ways.has_answered(&self.name()),
            // What only this message asks of it says nothing of the way.
            Err(setback) if !guarded && is_shut(setback) => {
                caller.ways.is_found_silent(self.name());
            }
            Err(_) => {}
        }
        Ok(Kept {
            connection: opened?,
            hop: self.hop.clone(),
            exchanger: self.exchanger.map(str::to_owned),
            label: self.label(),
            opened_at: Instant::now(),
        })
    }
}

/// The state of one attempt while the hops are asked in turn.
struct Round<'a> {
    job: &'a Job<'a>,
    message: &'a Waiting,
    caller: &'a Caller,
    started_at: Instant,
    /// Places of recipients that a further hop may still serve.
    open: Vec<usize>,
    attempts: Vec<Option<Attempt>>,
    /// Whether any hop was ready to take mail.
    reached: bool,
}

impl<'a> Round<'a> {
    fn new(job: &'a Job<'a>, message: &'a Waiting, caller: &'a Caller) -> Self {
        Self {
            job,
            message,
            caller,
            started_at: Instant::now(),
            open: (0..job.waiting.len()).collect(),
            attempts: vec![None; job.waiting.len()],
            reached: false,
        }
    }

    fn deadline(&self) -> Instant {
        self.started_at + self.caller.timeouts.whole
    }

    fn now(&self) -> Timestamp {
        self.job.now.after(self.started_at.elapsed())
    }

    /// The sender does not want it delivered any more (RFC 2852, mode R).
    fn is_too_late(&self) -> bool {
        let named = self.message.terms.deliver_by;
        named.is_some_and(|by| by.mode == ByMode::Return && by.at <= self.now())
    }

    fn patience(&self) -> Patience {
        Patience::until(self.deadline()).with(&self.job.stop)
    }

    /// Nothing more is begun.
    fn is_over(&self) -> bool {
        let is_late = Instant::now() >= self.deadline();
        self.open.is_empty() || is_late || self.is_too_late() || self.job.stop.is_told()
    }

    /// In the order in which to ask; what is passed over, since it is silent, is looked after.
    fn in_order<'t, T>(
        &self,
        all: &'t [T],
        preferred: Option<usize>,
        name: impl Fn(&T) -> WayName,
    ) -> Vec<&'t T> {
        let caller = self.caller;
        let order = in_order(all, preferred, |it| caller.ways.is_silent(&name(it)));
        let mut passed = false;
        for way in order.iter().map(|it| name(it)) {
            if !caller.ways.is_silent(&way) {
                passed = true;
            } else if passed && let Some(watch) = caller.ways.watch(&way) {
                tokio::spawn(look_after(watch, caller.clone(), self.job.stop.clone()));
            }
        }
        order
    }

    fn attempts(self) -> Vec<Attempt> {
        let (duration, reached) = (self.started_at.elapsed(), self.reached);
        let is_stopping = self.job.stop.is_told();
        let unasked = match is_stopping {
            true => stopped(duration),
            false => unasked(duration),
        };
        let attempts = self.attempts.into_iter();
        attempts
            .map(|attempt| Attempt {
                reached: reached || is_stopping,
                ..attempt.unwrap_or_else(|| unasked.clone())
            })
            .collect()
    }

    /// Takes the fates of the first open recipients; those that may ask elsewhere stay open.
    fn settle(&mut self, fates: Vec<Fate>, label: Option<&Arc<str>>, tls: Option<&Arc<str>>) {
        let duration = self.started_at.elapsed();
        let asked: Vec<usize> = self
            .open
            .drain(..fates.len().min(self.open.len()))
            .collect();
        for (place, fate) in asked.into_iter().zip(fates) {
            self.reached |= fate.reached;
            if fate.elsewhere {
                self.open.push(place);
            }
            if let Some(slot) = self.attempts.get_mut(place) {
                // What one hop cannot carry, a better one that is only out of reach may.
                let may_still = |it: &Attempt| matches!(it.outcome, Outcome::Deferred(_));
                let is_lesser = fate.elsewhere && matches!(fate.outcome, Outcome::Failed(_));
                if is_lesser && slot.as_ref().is_some_and(may_still) {
                    continue;
                }
                *slot = Some(Attempt {
                    outcome: fate.outcome,
                    hop: label.cloned(),
                    tls: tls.cloned(),
                    reached: fate.reached,
                    handover: fate.handover,
                    duration,
                });
            }
        }
    }

    /// All that `count` open recipients hear is this.
    fn settle_alike(&mut self, count: usize, setback: Setback, label: Option<&Arc<str>>) {
        self.settle(vec![setback.fate(); count], label, None);
    }

    async fn keep_copies(&mut self, hop: &NextHop, root: &Path) {
        let rows = self
            .open
            .iter()
            .filter_map(|&place| self.job.waiting.get(place));
        let copies = rows.map(|row| maildir::Copy {
            local_part: row.recipient.local().to_owned(),
            reference: row.id.reference,
            number: row.id.number,
            content: self.job.content.clone(),
            first_try: self.job.first_try,
        });
        let (copies, wait) = (copies.collect(), self.caller.timeouts.block);
        let writers = &self.caller.writers;
        let kept = writers.keep(root, copies, &self.patience(), wait).await;
        if kept.iter().all(|it| matches!(it, Err(Trouble::Disk(_)))) {
            self.caller.ways.is_found_silent(whole(hop));
        } else {
            self.caller.ways.has_answered(&whole(hop));
        }
        let fates = kept.into_iter().map(|result| match result {
            Ok(path) => stored(&path),
            Err(trouble) => Setback::new(Stage::Prepare, trouble).fate(),
        });
        let fates = fates.collect();
        self.settle(fates, Some(&hop.to_string().into()), None);
    }

    /// The servers of a domain in turn (RFC 5321 §5.1), as if each were a next hop.
    async fn send_to_domain(&mut self, hop: &NextHop, domain: &HopServer, kept: &mut Option<Kept>) {
        let mut stop = self.job.stop.clone();
        let servers = tokio::select! {
            biased;
            servers = self.servers(domain) => servers,
            // What was said before stands.
            () = stop.told() => return,
        };
        let servers = match servers {
            Ok(servers) => servers,
            Err(setback) => {
                if is_shut(&setback) {
                    self.caller.ways.is_found_silent(whole(hop));
                }
                let label = hop.to_string().into();
                return self.settle_alike(self.open.len(), setback, Some(&label));
            }
        };
        let before = kept
            .as_ref()
            .filter(|it| it.hop == *hop && it.is_preferred());
        let before = before.and_then(|it| it.exchanger.as_deref());
        let preferred = servers.iter().position(|it| Some(&*it.host) == before);
        let name = |it: &HopServer| server_of(hop, &it.host);
        for server in self.in_order(&servers, preferred, name) {
            if self.is_over() {
                break;
            }
            let way = Way {
                exchanger: Some(&server.host),
                ..Way::to(hop, Call::Smtp(server))
            };
            self.send(way, kept).await;
        }
        let ways = &self.caller.ways;
        if servers.iter().all(|it| ways.is_silent(&name(it))) {
            ways.is_found_silent(whole(hop));
        } else {
            ways.has_answered(&whole(hop));
        }
    }

    async fn servers(&self, domain: &HopServer) -> Result<Vec<HopServer>, Setback> {
        if self.message.terms.require_tls && domain.pin.is_none() && domain.ca.is_none() {
            // RFC 8689 §4.2.1: names found in an unsigned answer prove nothing.
            let trouble = Trouble::Lacks {
                status: "5.7.10",
                reason: format!(
                    "the message requires proof of who takes it, and names found for {} prove \
                     nothing: name the server, its CA or its certificate in the routing table",
                    domain.host
                ),
            };
            return Err(Setback::new(Stage::Prepare, trouble));
        }
        let hosts = self.caller.exchangers(&domain.host, self.deadline());
        let server = |host| HopServer {
            host,
            ..domain.clone()
        };
        Ok(hosts.await?.into_iter().map(server).collect())
    }

    async fn send(&mut self, way: Way<'_>, kept: &mut Option<Kept>) {
        // Each open recipient is asked once here; those that stay open line up behind the others.
        let mut left = self.open.len();
        while left > 0 && !self.is_over() {
            let mut current = match self.connection(way, kept).await {
                Ok(current) => current,
                // What was said before stands.
                Err(setback) if setback.trouble == Trouble::Stopping => return,
                Err(setback) => {
                    return self.settle_alike(left, setback, Some(&way.label()));
                }
            };
            let letter = self.letter(left.min(RECIPIENTS));
            let fates = current.connection.transact(&letter).await;
            let (label, tls) = (Arc::clone(&current.label), current.connection.tls());
            if current.connection.is_usable() {
                if fates.is_some() {
                    self.caller.ways.has_answered(&way.name());
                }
                *kept = Some(current);
            }
            // `None`: the kept connection had gone stale, and a fresh one is opened.
            if let Some(fates) = fates {
                left -= fates.len();
                let (crowd, fates) = self.without_the_crowd(fates, left);
                left += crowd;
                self.settle(fates, Some(&label), Some(&tls));
            }
        }
    }

    /// RFC 5321 §4.5.3.1.10: where a hop takes some and has too many with the others, those others
    /// stay in line here, behind the `left` that it has not heard of yet; how many they are, and the
    /// fates of the rest, who are the first in line then.
    fn without_the_crowd(&mut self, fates: Vec<Fate>, left: usize) -> (usize, Vec<Fate>) {
        let took = |fate: &Fate| matches!(fate.outcome, Outcome::Delivered(_));
        if !fates.iter().any(took) {
            return (0, fates);
        }
        let asked: Vec<usize> = self
            .open
            .drain(..fates.len().min(self.open.len()))
            .collect();
        let asked = asked.into_iter().zip(fates);
        let (crowd, rest): (Vec<_>, Vec<_>) = asked.partition(|(_, fate)| fate.crowd);
        let count = crowd.len();
        let behind = left.min(self.open.len());
        let places = crowd.into_iter().map(|(place, _)| place);
        self.open.splice(behind..behind, places);
        let (places, fates): (Vec<_>, Vec<_>) = rest.into_iter().unzip();
        self.open.splice(..0, places);
        (count, fates)
    }

    fn letter(&self, count: usize) -> Letter<'a> {
        let job = self.job;
        let rows = self.open.iter().take(count);
        Letter {
            message: self.message,
            recipients: rows.filter_map(|&place| job.waiting.get(place)).collect(),
            content: job.content,
            now: self.now(),
        }
    }

    /// The kept connection where it leads there and is guarded well enough, or a fresh one.
    async fn connection(&self, way: Way<'_>, kept: &mut Option<Kept>) -> Result<Kept, Setback> {
        let guarded = self.message.terms.require_tls;
        match kept.take() {
            Some(mut kept) if kept.leads(&way) && (!guarded || kept.connection.is_guarded()) => {
                kept.connection.resume(self.patience());
                return Ok(kept);
            }
            Some(other) => other.close().await,
            None => {}
        }
        let mut stop = self.job.stop.clone();
        let mut opened = tokio::select! {
            biased;
            opened = way.open(self.caller, guarded, self.deadline()) => opened?,
            // It has heard nothing of the message yet.
            () = stop.told() => return Err(unready(Trouble::Stopping)),
        };
        opened.connection.serve(self.patience());
        Ok(opened)
    }
}

fn stored(path: &Path) -> Fate {
    Fate {
        outcome: Outcome::Delivered(Answer {
            code: 250,
            enhanced: Some("2.0.0".into()),
            text: format!("kept as {}", path.display()),
        }),
        elsewhere: false,
        in_step: true,
        crowd: false,
        reached: true,
        handover: Handover::Mailbox,
    }
}

fn unasked(duration: Duration) -> Attempt {
    let words = "the room has no next hop that could be asked";
    before_asking(Trouble::Ours(words.into()), duration)
}

fn stopped(duration: Duration) -> Attempt {
    before_asking(Trouble::Stopping, duration)
}

fn before_asking(trouble: Trouble, duration: Duration) -> Attempt {
    Attempt {
        outcome: unready(trouble).fate().outcome,
        hop: None,
        tls: None,
        reached: false,
        handover: Handover::Relayed,
        duration,
    }
}
