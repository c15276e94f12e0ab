//! One transaction, from MAIL to the end of its content: what is gathered, and what is made of it.
//!
//! Holds the snapshot of the routing table that was taken at MAIL, so that one message is judged by
//! one table. Asks policy, and turns its answers into replies, rows and events; knows nothing of
//! lines, states or sockets. Pure. Never fails: what cannot be taken is a [`Refusal`] row and a reply.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::command::Rcpt;
use super::data::Reader;
use super::xtext;
use crate::lifecycle;
use crate::mail::headers::{self, HeaderFacts, Removed};
use crate::mail::{
    Address, AddressFault, Admission, Attachment, BodyKind, ByMode, Certificate, Content, Details,
    Envelope, Event, EventKind, Facts, Inside, Lapse, Lapses, Origin, OverLimit, Peer, Priority,
    Received, Recipient, Reference, Refusal, Reply, RoomId, Sighting, Station, StationKind, Terms,
    Timestamp, Urgency, Wishes, Workstation,
};
use crate::policy::decide::{self, Accepted, Admitted, Decision, Refused};
use crate::policy::table::{Measure, RoutingTable};

/// RFC 5321 §6.3: a message with so many Received fields goes in a circle.
const MOST_HOPS: usize = 100;

/// The name of a transaction, taken or refused, and who began it.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub reference: Reference,
    /// As written by the client; empty is the null sender.
    pub sender: Option<String>,
    pub room: Option<RoomId>,
    /// It was refused for now only, so that nothing pipelined behind it is refused for good.
    pub put_off: bool,
}

impl Attempt {
    /// The same, once `reply` has refused it.
    #[must_use]
    pub fn refused_with(self, reply: &Reply) -> Self {
        Self {
            put_off: reply.is_temporary(),
            ..self
        }
    }
}

/// What MAIL asked for.
#[derive(Debug)]
pub struct Request {
    /// What stands between `<` and `>`.
    pub sender: String,
    pub body: BodyKind,
    pub smtputf8: bool,
    /// RFC 1870: what the client believes.
    pub size: Option<u64>,
    /// MT-PRIORITY, not yet granted.
    pub priority: Option<Priority>,
    /// All else that is asked for the message as a whole.
    pub terms: Terms,
}

/// A transaction under way.
#[derive(Debug)]
pub struct Transaction {
    pub attempt: Attempt,
    pub origin: Origin,
    /// By what the table knew the client at MAIL, and what its room lets pass.
    station: Station,
    tolerated: Lapses,
    /// Whose report it may be instead. Until the content tells, nothing is decided in which they differ.
    others: Vec<Admitted>,
    can_start_tls: bool,
    table: Arc<RoutingTable>,
    sender: Option<Address>,
    request: Request,
    recipients: Vec<Recipient>,
    known: HashSet<Address>,
    left_out: Vec<LeftOut>,
    /// Whom policy lets in, and the limits are asked about.
    pending: Option<Pending>,
    /// Whom it was accepted for while there were others.
    to_ask_again: Vec<Pending>,
    /// RCPT commands that were accepted, those refused for good, and those refused for now.
    accepted: usize,
    refused: usize,
    deferred: usize,
}

/// A RCPT command that policy accepts.
#[derive(Debug, Clone)]
struct Pending {
    recipient: String,
    accepted: Accepted,
    /// Of a mailbox that is named, and of a member of a group that is.
    wishes: Wishes,
    member_wishes: Wishes,
}

/// A member of a group that does not accept the sender.
#[derive(Debug)]
struct LeftOut {
    member: Address,
    group: String,
    rule: String,
}

/// A refusal by us or by policy, not yet said: the reply still without its reference.
#[derive(Debug)]
pub struct Verdict {
    pub reply: Reply,
    pub recipient: Option<String>,
    pub recipient_room: Option<RoomId>,
    sender_room: Option<RoomId>,
    rule: Option<String>,
    revision: Option<u64>,
    /// What was found in it.
    malware: Vec<String>,
}

impl Verdict {
    /// Refused by the protocol, no rule of the table being asked.
    pub fn protocol(reply: Reply, recipient: Option<String>) -> Box<Self> {
        Box::new(Self {
            reply,
            recipient,
            recipient_room: None,
            sender_room: None,
            rule: None,
            revision: None,
            malware: Vec::new(),
        })
    }

    /// Refused by a limit, which stands in the row in the place of a rule.
    pub fn over_limit(over: &OverLimit, recipient: Option<String>) -> Box<Self> {
        let mut verdict = Self::protocol(Reply::over_limit(over), recipient);
        verdict.rule = Some(over.to_string());
        verdict
    }

    /// Refused by the scan; what found it stands in the row in the place of a rule.
    pub fn scan(refused: lifecycle::Refused) -> Box<Self> {
        let mut verdict = Self::protocol(refused.reply, None);
        verdict.rule = Some(refused.rule);
        verdict.malware = refused.malware;
        verdict
    }

    fn policy(refused: Refused, recipient: Option<String>) -> Box<Self> {
        Box::new(Self {
            reply: refused.reply,
            recipient,
            recipient_room: refused.recipient_room,
            sender_room: refused.sender_room,
            rule: Some(refused.rule),
            revision: Some(refused.revision),
            malware: Vec::new(),
        })
    }

    /// The row of the log.
    pub fn row(&self, attempt: &Attempt, peer: &Peer, now: Timestamp) -> Refusal {
        Refusal {
            reference: attempt.reference,
            at: now,
            client: peer.address.ip(),
            helo: peer.helo.clone(),
            user: peer.user.as_ref().map(|it| it.name().to_owned()),
            certificate: peer.certificate.as_ref().map(Certificate::told),
            sender: attempt.sender.clone(),
            sender_room: attempt.room.clone(),
            recipient: self.recipient.clone(),
            recipient_room: self.recipient_room.clone(),
            subject: None,
            message_id: None,
            size: None,
            attachments: Arc::default(),
            files_left_out: 0,
            malware: self.malware.clone(),
            reply: self
                .reply
                .clone()
                .with_reference(attempt.reference)
                .to_string(),
            rule: self.rule.clone(),
            revision: self.revision,
            count: 1,
        }
    }
}

impl Transaction {
    /// MAIL FROM: asks policy whether this peer may send as this sender.
    pub fn begin(
        request: Request,
        reference: Reference,
        peer: &Peer,
        chances: Chances,
        table: Arc<RoutingTable>,
    ) -> Result<Self, (Attempt, Box<Verdict>)> {
        let mut attempt = Attempt {
            reference,
            sender: Some(request.sender.clone()),
            room: None,
            put_off: false,
        };
        let asked = sender_address(&request).and_then(|sender| {
            admit(peer, sender.as_ref(), chances, &table)
                .map(|(admitted, others)| (sender, admitted, others))
                .map_err(|refused| Verdict::policy(refused, None))
        });
        let (sender, admitted, others) = match asked {
            Ok(answer) => answer,
            Err(verdict) => {
                attempt.room.clone_from(&verdict.sender_room);
                return Err((attempt.refused_with(&verdict.reply), verdict));
            }
        };
        let origin = admitted.station.origin.clone();
        if others.is_empty() {
            attempt.room = origin.room().cloned();
        }
        Ok(Self {
            attempt,
            origin,
            tolerated: admitted.lapses(peer),
            station: admitted.station,
            others,
            can_start_tls: chances.start_tls,
            table,
            sender,
            request,
            recipients: Vec::new(),
            known: HashSet::new(),
            left_out: Vec::new(),
            pending: None,
            to_ask_again: Vec::new(),
            accepted: 0,
            refused: 0,
            deferred: 0,
        })
    }

    /// The reply that accepts MAIL. RFC 6710 §4.1: a client is told which priority it has instead of
    /// the one it asked for.
    pub fn welcome(&self) -> Reply {
        let ceiling = self.ceiling();
        let is_agreed = self.origins().all(|it| self.ceiling_of(it) == ceiling);
        let reply = match self.request.priority {
            Some(asked) if ceiling < asked && is_agreed => Reply::priority_lowered(ceiling),
            _ => Reply::sender_ok(),
        };
        reply.warning_of(self.warned())
    }

    /// For whom this may be: one, but for reports.
    fn origins(&self) -> impl Iterator<Item = &Origin> {
        let others = self.others.iter().map(|it| &it.station.origin);
        std::iter::once(&self.origin).chain(others)
    }

    /// What was let pass so far, and the client is to be told of.
    fn warned(&self) -> Lapses {
        let warned_by = |lapses, origin| self.table.strictness(origin).warned(lapses);
        self.origins().fold(self.tolerated, warned_by)
    }

    /// That the client was let in at MAIL, where it is known then for whom.
    pub fn first_sighting(&self, peer: &Peer, now: Timestamp) -> Option<Sighting> {
        self.others.is_empty().then(|| self.sighting(peer, now))
    }

    /// That the client was let in.
    fn sighting(&self, peer: &Peer, now: Timestamp) -> Sighting {
        let believed = peer.certificate.as_ref();
        let believed = believed.filter(|it| it.doubt().is_none());
        Sighting {
            station: self.station.clone(),
            at: now,
            address: peer.address.ip().to_canonical(),
            tls: peer.tls.as_ref().map(|it| it.version.clone()),
            certificate_ends_at: believed.and_then(Certificate::not_after),
            lapses: self.tolerated,
        }
    }

    /// What takes its content: newlines that stand alone are let pass where its room does.
    pub fn reader(&self, limit: usize) -> Reader {
        let measure = |it| self.table.strictness(it).bare_newlines;
        match self.origins().all(|it| measure(it) == Measure::Enforce) {
            true => Reader::new(limit),
            false => Reader::normalising(limit),
        }
    }

    /// What the limits are asked at MAIL. A report that may be of several counts for the first of
    /// them, whosever it turns out to be: it comes from one peer, and that is what limits are for.
    pub fn admission(&self, peer: &Peer) -> Admission {
        Admission {
            origin: self.origin.clone(),
            workstation: self.workstation(peer),
            urgency: Urgency::asked(self.request.priority, self.ceiling()),
            octets: self.request.size.unwrap_or(0),
            is_stranger: self.tolerated.has(Lapse::UnknownWorkstation),
        }
    }

    fn workstation(&self, peer: &Peer) -> Workstation {
        let name = self.station.name.clone();
        match self.station.kind {
            StationKind::User => Workstation::User(name),
            StationKind::Certificate => Workstation::Certificate(name),
            StationKind::Address => Workstation::Address(peer.address.ip()),
        }
    }

    /// The most urgent that this origin's mail may be.
    fn ceiling(&self) -> Priority {
        self.ceiling_of(&self.origin)
    }

    fn ceiling_of(&self, origin: &Origin) -> Priority {
        match origin {
            Origin::Room(id) => self.table.room(id).map(|it| it.priority_ceiling),
            Origin::Gateway(name) => {
                let mut gateways = self.table.gateways();
                let gateway = gateways.find(|it| it.name == *name);
                gateway.map(|it| it.priority_ceiling)
            }
            Origin::Relay => Some(Priority::MOST_URGENT),
        }
        .unwrap_or(Priority::ROUTINE)
    }

    /// RCPT TO: asks policy; `most` recipients may be named. `Ok`: so many are new, and wait for
    /// [`Transaction::take`] or [`Transaction::put_off`].
    pub fn add(
        &mut self,
        rcpt: &Rcpt<'_>,
        most: usize,
        now: Timestamp,
    ) -> Result<u64, Box<Verdict>> {
        let answer = self.judge(rcpt, most, now);
        match &answer {
            Ok(_) => {}
            Err(verdict) if verdict.reply.is_temporary() => self.deferred += 1,
            Err(_) => self.refused += 1,
        }
        answer
    }

    fn judge(&mut self, rcpt: &Rcpt<'_>, most: usize, now: Timestamp) -> Result<u64, Box<Verdict>> {
        let recipient = rcpt.recipient;
        let protocol = |reply| Verdict::protocol(reply, Some(recipient.to_owned()));
        if self.accepted >= most {
            return Err(protocol(Reply::too_many_recipients(most)));
        }
        if !self.request.smtputf8 && !recipient.is_ascii() {
            return Err(protocol(Reply::needs_smtputf8(recipient)));
        }
        if let Some(original) = rcpt.original.filter(|it| !it.is_ascii())
            && !self.request.smtputf8
        {
            // RFC 6533 §3.
            return Err(protocol(Reply::needs_smtputf8(original)));
        }
        let accepted = self.ask_policy(recipient, now)?;
        self.hold(rcpt, accepted)
    }

    /// Whether mail for `recipient` is let in from any of those whom this may be for.
    fn ask_policy(&self, recipient: &str, now: Timestamp) -> Result<Accepted, Box<Verdict>> {
        let sender = self.sender.as_ref();
        let ask = |origin| decide::decide(origin, sender, recipient, &self.table, now);
        let is_accepted = |it: &Decision| matches!(it, Decision::Accept(_));
        let answer = self.origins().map(ask).find(is_accepted);
        match answer.unwrap_or_else(|| ask(&self.origin)) {
            Decision::Accept(accepted) => Ok(accepted),
            Decision::Refuse(refused) | Decision::Defer(refused) => {
                Err(Verdict::policy(refused, Some(recipient.to_owned())))
            }
        }
    }

    fn hold(&mut self, rcpt: &Rcpt<'_>, accepted: Accepted) -> Result<u64, Box<Verdict>> {
        let recipient = rcpt.recipient;
        if accepted.recipients.is_empty() {
            let reply = Reply::not_accepted_by_group(recipient);
            let mut verdict = Verdict::protocol(reply, Some(recipient.to_owned()));
            verdict.rule = accepted.left_out.into_iter().next().map(|(_, rule)| rule);
            verdict.revision = Some(self.table.revision());
            return Err(verdict);
        }
        let is_new = |it: &&Recipient| !self.known.contains(&it.address);
        let newcomers = accepted.recipients.iter().filter(is_new).count();
        self.pending = Some(Pending {
            recipient: recipient.to_owned(),
            accepted,
            wishes: wishes(rcpt, false),
            member_wishes: wishes(rcpt, true),
        });
        Ok(newcomers as u64)
    }

    /// Takes whom [`Transaction::add`] has found. Each recipient once, however often it is named, by
    /// itself or through groups.
    pub fn take(&mut self) -> Option<Reply> {
        let pending = self.pending.take()?;
        let members = pending.accepted.recipients.len();
        let is_group = |it: &Recipient| it.group.is_some();
        let reply = match pending.accepted.recipients.iter().any(is_group) {
            true => Reply::group_ok(members),
            false => Reply::recipient_ok(),
        };
        self.accepted += 1;
        if !self.others.is_empty() {
            self.to_ask_again.push(pending.clone());
        }
        self.enlist(pending);
        Some(reply)
    }

    fn enlist(&mut self, pending: Pending) {
        let Pending {
            recipient,
            accepted,
            wishes,
            member_wishes,
        } = pending;
        for one in accepted.recipients {
            if self.known.insert(one.address.clone()) {
                let wishes = match one.group {
                    Some(_) => member_wishes.clone(),
                    None => wishes.clone(),
                };
                self.recipients.push(Recipient { wishes, ..one });
            }
        }
        for (member, rule) in accepted.left_out {
            if self.left_out.iter().all(|it| it.member != member) {
                let group = recipient.clone();
                self.left_out.push(LeftOut {
                    member,
                    group,
                    rule,
                });
            }
        }
    }

    /// Puts them off: they are too many for now.
    pub fn put_off(&mut self, over: &OverLimit) -> Box<Verdict> {
        self.deferred += 1;
        let pending = self.pending.take();
        let room = pending
            .as_ref()
            .and_then(|it| match &it.accepted.recipients[..] {
                [one] => Some(one.room.clone()),
                _ => None,
            });
        let mut verdict = Verdict::over_limit(over, pending.map(|it| it.recipient));
        verdict.recipient_room = room;
        verdict
    }

    /// May content follow now?
    pub fn ready_for_content(&self) -> Result<(), Reply> {
        match (self.recipients.is_empty(), self.deferred, self.refused) {
            (false, _, _) => Ok(()),
            (true, 0, 0) => Err(Reply::recipients_first()),
            (true, 0, _) => Err(Reply::no_valid_recipients()),
            (true, _, _) => Err(Reply::put_off()),
        }
    }

    /// Whether MAIL said SMTPUTF8.
    pub const fn is_utf8(&self) -> bool {
        self.request.smtputf8
    }

    /// The size that MAIL announced, where it did.
    pub fn announced_size(&self) -> Option<usize> {
        self.request.size.and_then(|it| usize::try_from(it).ok())
    }

    /// What rows are made of once the message itself has been handed on.
    pub fn outline(&self, facts: Facts, size: Option<u64>) -> Box<Outline> {
        let recipient = |it: &Recipient| (it.address.clone(), it.room.clone());
        Box::new(Outline {
            attempt: self.attempt.clone(),
            recipients: self.recipients.iter().map(recipient).collect(),
            subject: facts.subject,
            message_id: facts.message_id,
            attachments: facts.attachments.into(),
            files_left_out: 0,
            size,
            late: None,
        })
    }

    /// The content is complete: is it fit, and may this sender be its author? Gives what the log
    /// must know if it is refused, now or later, and the message or what refuses it.
    pub fn complete(
        mut self,
        content: Reader,
        place: &Place<'_>,
        now: Timestamp,
    ) -> (Box<Outline>, Result<Received, Box<Verdict>>) {
        let normalised = content.normalised();
        let bytes = Bytes::from(content.into_body());
        let read = headers::read(&bytes);
        let is_late = normalised > 0 || !self.others.is_empty() || !self.warned().is_empty();
        let judged = self
            .find_reporter(&read, place.peer)
            .and_then(|()| self.judge_lapses(normalised > 0, place.peer))
            .and_then(|()| self.ask_again(now))
            .and_then(|()| self.judge_content(&read, now));
        self.tolerated = self.tolerated.and_if(normalised > 0, Lapse::BareNewlines);
        let mut outline = self.outline(read.facts.clone(), Some(bytes.len() as u64));
        outline.late = is_late.then(|| Late {
            sighting: self.sighting(place.peer, now),
            warned: self.warned(),
        });
        let received = judged.map(|()| self.receive(bytes, normalised, read, place, now));
        (outline, received)
    }

    /// Whose report this is, where that was open until now: the one who may write as its authors.
    /// No two rooms may write as the same one, and all gateways are treated alike.
    fn find_reporter(&mut self, read: &HeaderFacts, peer: &Peer) -> Result<(), Box<Verdict>> {
        let others = std::mem::take(&mut self.others);
        if others.is_empty() {
            return Ok(());
        }
        let may_write = |it: &Origin| decide::author(it, None, &read.claims, &self.table);
        if let Err(refused) = may_write(&self.origin) {
            let found = others
                .into_iter()
                .find(|it| may_write(&it.station.origin).is_ok())
                .ok_or_else(|| Verdict::policy(refused, None))?;
            self.tolerated = found.lapses(peer);
            self.origin = found.station.origin.clone();
            self.station = found.station;
        }
        self.attempt.room = self.origin.room().cloned();
        Ok(())
    }

    /// What was accepted for any of those whose report it might have been, now for the one whose it
    /// is. A message is taken for all its recipients or for none: they have been promised together.
    fn ask_again(&mut self, now: Timestamp) -> Result<(), Box<Verdict>> {
        let mut answers = Vec::new();
        for asked in std::mem::take(&mut self.to_ask_again) {
            let accepted = self.ask_policy(&asked.recipient, now)?;
            answers.push(Pending { accepted, ..asked });
        }
        if !answers.is_empty() {
            self.recipients.clear();
            self.known.clear();
            self.left_out.clear();
        }
        for answer in answers {
            self.enlist(answer);
        }
        Ok(())
    }

    /// For whom this is may be known only now, and that room may let less pass.
    fn judge_lapses(&self, is_crooked: bool, peer: &Peer) -> Result<(), Box<Verdict>> {
        decide::secure(peer, &self.origin, self.can_start_tls, &self.table)
            .map_err(|refused| Verdict::policy(refused, None))?;
        let measure = self.table.strictness(&self.origin).bare_newlines;
        match is_crooked && measure == Measure::Enforce {
            true => Err(Verdict::protocol(Reply::bare_newlines(), None)),
            false => Ok(()),
        }
    }

    fn judge_content(&self, read: &HeaderFacts, now: Timestamp) -> Result<(), Box<Verdict>> {
        let deliver_by = self.request.terms.deliver_by;
        if deliver_by.is_some_and(|it| it.mode == ByMode::Return && it.at <= now) {
            return Err(Verdict::protocol(Reply::out_of_time(), None));
        }
        if read.hops >= MOST_HOPS {
            return Err(Verdict::protocol(Reply::mail_loop(read.hops), None));
        }
        decide::author(
            &self.origin,
            self.sender.as_ref(),
            &read.claims,
            &self.table,
        )
        .map_err(|refused| Verdict::policy(refused, None))
    }

    fn receive(
        mut self,
        bytes: Bytes,
        normalised: usize,
        read: HeaderFacts,
        place: &Place<'_>,
        now: Timestamp,
    ) -> Received {
        let authors = read.authors();
        let (bytes, removed) = read.cleaned.unwrap_or((bytes, Removed::default()));
        let remarks = self.remarks(&removed, normalised, place.peer, now);
        let asked = self.request.priority.or(read.priority);
        let terms = Terms {
            priority: asked.map_or(Priority::ROUTINE, |it| it.min(self.ceiling())),
            ..self.request.terms
        };
        let envelope = Envelope {
            reference: self.attempt.reference,
            received_at: now,
            peer: place.peer.clone(),
            origin: self.origin,
            sender: self.sender,
            smtputf8: self.request.smtputf8,
            body: self.request.body,
            terms,
            recipients: self.recipients,
        };
        let trace = headers::received_field(place.hostname, &envelope);
        Received {
            envelope,
            authors,
            dissection: read.dissection.light(),
            facts: read.facts,
            content: Content { trace, bytes },
            remarks,
            tolerated: self.tolerated,
        }
    }

    /// What the log is to say beside the acceptance.
    fn remarks(
        &mut self,
        removed: &Removed,
        normalised: usize,
        peer: &Peer,
        now: Timestamp,
    ) -> Vec<Event> {
        let reference = self.attempt.reference;
        let revision = Some(self.table.revision());
        let event = |kind, recipient, details| Event {
            reference,
            at: now,
            kind,
            recipient,
            details,
        };
        let warned = self.warned();
        let left_out = std::mem::take(&mut self.left_out).into_iter().map(|it| {
            let room = self.table.room_of(it.member.domain());
            let details = Details {
                room: room.map(|room| room.id.to_string()),
                group: Some(it.group),
                rule: Some(it.rule),
                revision,
                ..Details::default()
            };
            event(EventKind::LeftOut, Some(it.member), details)
        });
        let altered = |reason| {
            let details = Details {
                reason: Some(reason),
                ..Details::default()
            };
            event(EventKind::Altered, None, details)
        };
        let cleaned =
            (removed.count > 0).then(|| altered(format!("removed header fields: {removed}")));
        let straightened = (normalised > 0).then(|| {
            altered(format!(
                "CR or LF standing alone, made CRLF: {normalised} times"
            ))
        });
        let warned = (!warned.is_empty()).then(|| {
            let details = warning(warned, self.attempt.room.as_ref(), peer);
            event(EventKind::Tolerated, None, details)
        });
        left_out
            .chain(cleaned)
            .chain(straightened)
            .chain(warned)
            .collect()
    }
}

/// What a client could still do to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chances {
    pub start_tls: bool,
    pub log_in: bool,
}

/// May this peer send as this sender, and as it speaks now? Of a report also: for whom else it may be.
fn admit(
    peer: &Peer,
    sender: Option<&Address>,
    chances: Chances,
    table: &RoutingTable,
) -> Result<(Admitted, Vec<Admitted>), Refused> {
    let could_identify = chances.start_tls || chances.log_in;
    let admitted = decide::sender(peer, sender, could_identify, table)?;
    let others = match sender {
        Some(_) => Vec::new(),
        None => decide::other_reporters(peer, &admitted.station.origin, table),
    };
    let secure = |it: &Admitted| decide::secure(peer, &it.station.origin, chances.start_tls, table);
    if !others.iter().any(|it| secure(it).is_ok()) {
        secure(&admitted)?;
    }
    Ok((admitted, others))
}

/// What the log is to know of a client that was told.
fn warning(warned: Lapses, room: Option<&RoomId>, peer: &Peer) -> Details {
    let phrases: Vec<&str> = warned.iter().map(Lapse::phrase).collect();
    Details {
        room: room.map(RoomId::to_string),
        client: Some(peer.address.ip().to_canonical().to_string()),
        helo: (!peer.helo.is_empty()).then(|| peer.helo.clone()),
        user: peer.user.as_ref().map(|it| it.name().to_owned()),
        tolerated: warned.words(),
        reason: Some(format!(
            "the client was told that this will be refused: {}",
            phrases.join(", ")
        )),
        ..Details::default()
    }
}

/// Where a message comes in: who brought it, and to which relay.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub hostname: &'a str,
    pub peer: &'a Peer,
}

/// What the log must know of a message that is refused as a whole.
#[derive(Debug)]
pub struct Outline {
    pub attempt: Attempt,
    recipients: Vec<(Address, RoomId)>,
    subject: Option<String>,
    message_id: Option<String>,
    attachments: Arc<[Attachment]>,
    files_left_out: u64,
    pub size: Option<u64>,
    pub late: Option<Late>,
}

/// What is known of a client by the end of its content: that its newlines had to be normalised, whose
/// report it brought, what its room will refuse one day.
#[derive(Debug)]
pub struct Late {
    pub sighting: Sighting,
    /// What it is to be told of, at the end too: most clients show nothing but the last reply.
    pub warned: Lapses,
}

impl Outline {
    /// What its scan has found inside of its attachments.
    pub fn know(&mut self, inside: Inside) {
        let attachments = self.attachments.iter().cloned();
        self.attachments = attachments.chain(inside.files).collect();
        self.files_left_out = inside.left_out;
    }

    /// A row for each recipient that had been accepted.
    pub fn rows(&self, verdict: &Verdict, peer: &Peer, now: Timestamp) -> Vec<Refusal> {
        let row = verdict.row(&self.attempt, peer, now);
        let for_one = |(address, room): &(Address, RoomId)| Refusal {
            recipient: Some(address.to_string()),
            recipient_room: Some(room.clone()),
            subject: self.subject.clone(),
            message_id: self.message_id.clone(),
            size: self.size,
            attachments: Arc::clone(&self.attachments),
            files_left_out: self.files_left_out,
            ..row.clone()
        };
        self.recipients.iter().map(for_one).collect()
    }
}

/// What is asked for a recipient. Members of a group inherit it, so that the sender hears of each of
/// them, under the name that was written (RFC 3461 §5.2.7).
fn wishes(rcpt: &Rcpt<'_>, is_member: bool) -> Wishes {
    let written = || is_member.then(|| xtext::original(rcpt.recipient));
    Wishes {
        notify: rcpt.notify,
        original: rcpt.original.map(xtext::in_ascii).or_else(written),
    }
}

/// The sender as an address; `None` is the null sender.
fn sender_address(request: &Request) -> Result<Option<Address>, Box<Verdict>> {
    let text = request.sender.as_str();
    let refused = |reply| Err(Verdict::protocol(reply, None));
    if text.is_empty() {
        return Ok(None);
    }
    if !request.smtputf8 && !text.is_ascii() {
        return refused(Reply::needs_smtputf8(text));
    }
    match Address::parse(text) {
        Ok(address) => Ok(Some(address)),
        Err(fault @ (AddressFault::Syntax | AddressFault::TooLong | AddressFault::Domain)) => {
            refused(Reply::sender_syntax(text, &fault.to_string()))
        }
        Err(fault) => refused(Reply::sender_not_taken(text, &fault.to_string())),
    }
}
