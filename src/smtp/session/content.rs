//! Content on its way in, from DATA or BDAT to the receipt: memory is asked for as it comes, and what
//! is refused is read to its true end before that is said.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};

use super::{After, Session, State, Step};
use crate::lifecycle::Refused;
use crate::mail::{Facts, Lapses, OverLimit, Received, Reply, Timestamp, Urgency, Weight, headers};
use crate::smtp::command::Bdat;
use crate::smtp::data::{Reader, Unfit};
use crate::smtp::transaction::{Place, Transaction, Verdict};
use crate::spool::Receipt;
use crate::spool::store::StoreError;

/// Memory asked for at first, when the client announces no size; and at most, when it does.
const FIRST_SHARE: usize = 8 * 1024;
const FIRST_SHARE_ANNOUNCED: usize = 64 * 1024;
/// And at most from then on, so that hardly more is held than has come.
const MORE: usize = 2 * 1024 * 1024;
/// What is read at once may have the end in it, and commands behind it: beyond the announced size.
const BESIDE: usize = 32 * 1024;
/// A message may come in so many chunks, however small. Beyond that, chunks that are smaller than this
/// on average are counted as commands.
const ANY_CHUNKS: u64 = 8192;
const SMALL_CHUNK: u64 = 64;
/// A chunk past this is not read to its end: nobody means it, and it would never end.
const ABSURD_CHUNK: u64 = 1 << 32;
/// Before a client hears that all that it sent is beyond its limit: it may do so again and again.
const VAIN_PAUSE: Duration = Duration::from_secs(1);

/// Content on its way in.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) reader: Reader,
    /// Octets of memory that were granted.
    pub(super) granted: usize,
    /// The size that MAIL announced, where it did.
    announced: Option<usize>,
    /// Octets that have come, whether they were kept or not.
    came: u64,
    pub(super) chunks: u64,
    pub(super) form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// DATA; 354 has been said or not.
    Data {
        invited: bool,
    },
    Chunk {
        octets: u64,
        left: u64,
        last: bool,
    },
}

/// Content that is thrown away.
#[derive(Debug)]
pub(super) struct Discarding {
    pub(super) rest: Rest,
    /// Thrown away so far.
    pub(super) octets: u64,
    /// Said at its end.
    pub(super) reply: Reply,
    pub(super) then: State,
}

impl Discarding {
    /// Whether the transaction goes on behind it.
    pub(super) const fn leads_back(&self) -> bool {
        matches!(self.then, State::Open(..))
    }

    /// Whether it is of a message that was refused for good.
    const fn counts(&self) -> bool {
        !self.reply.is_temporary() && matches!(self.then, State::Idle(Some(_)))
    }
}

/// What is yet to come of it.
#[derive(Debug)]
pub(super) enum Rest {
    Data(Reader),
    Chunk(u64),
}

/// The commands that content follows.
impl Session {
    pub(super) fn data(&mut self, now: Timestamp) {
        let refused = match &self.state {
            State::Open(transaction, None) => transaction.ready_for_content().err(),
            State::Open(_, Some(_)) => Some(Reply::chunks_only()),
            _ => Some(self.no_transaction(Reply::mail_first)),
        };
        if let Some(reply) = refused {
            self.refuse(Verdict::protocol(reply, None), After::Nothing, now);
        } else if let State::Open(transaction, _) = self.take_state() {
            let first = first_share(&transaction, self.settings.message_size);
            let intake = self.intake(&transaction, Form::Data { invited: false });
            self.reserve(transaction, intake, first);
        }
    }

    pub(super) fn bdat(&mut self, chunk: Bdat, now: Timestamp) {
        let refused = match &self.state {
            State::Open(transaction, intake) => {
                let so_far = intake.as_ref().map_or(0, |it| it.reader.len() as u64);
                let in_all = so_far.saturating_add(chunk.octets);
                let limit = self.settings.message_size;
                let large = || (in_all > limit as u64).then(|| Reply::too_large(limit));
                transaction.ready_for_content().err().or_else(large)
            }
            State::Idle(Some(attempt)) if !attempt.put_off => {
                Some(self.too_early().unwrap_or_else(Reply::chunk_refused))
            }
            _ => Some(self.no_transaction(Reply::mail_first)),
        };
        match refused {
            Some(reply) => self.refuse_chunk(reply, chunk, now),
            None => self.take_chunk(chunk),
        }
    }

    fn take_chunk(&mut self, Bdat { octets, last }: Bdat) {
        if let State::Open(transaction, begun) = self.take_state() {
            let form = Form::Chunk {
                octets,
                left: octets,
                last,
            };
            let mut intake = begun.unwrap_or_else(|| self.intake(&transaction, form));
            intake.form = form;
            intake.chunks += 1;
            let in_all = octets.saturating_add(intake.reader.len() as u64);
            let counted = intake.chunks.saturating_sub(ANY_CHUNKS);
            if octets > 0 && in_all >= counted.saturating_mul(SMALL_CHUNK) {
                // Content, which is bounded by its own limits, and no command without mail.
                self.commands = self.commands.saturating_sub(1);
            }
            self.state = State::Taking(transaction, intake);
        }
    }

    /// RFC 3030 §2: the octets of a refused chunk are thrown away, and its message with them.
    fn refuse_chunk(&mut self, reply: Reply, chunk: Bdat, now: Timestamp) {
        let after = if chunk.octets > ABSURD_CHUNK {
            After::Close
        } else {
            After::DiscardChunk(chunk.octets)
        };
        let verdict = Verdict::protocol(reply, None);
        match self.take_state() {
            State::Open(transaction, intake) if transaction.ready_for_content().is_ok() => {
                let octets = intake.as_ref().map_or(0, |it| it.reader.len() as u64);
                let facts = intake.map_or_else(Facts::default, |it| facts_so_far(&it.reader));
                let outline = transaction.outline(facts, None);
                self.refuse_content(*outline, &verdict, after, octets, now);
            }
            state => {
                self.state = state;
                self.refuse(verdict, after, now);
            }
        }
    }

    fn intake(&self, transaction: &Transaction, form: Form) -> Box<Intake> {
        Box::new(Intake {
            reader: transaction.reader(self.settings.message_size),
            granted: 0,
            announced: transaction.announced_size(),
            came: 0,
            chunks: 0,
            form,
        })
    }
}

/// Content.
impl Session {
    pub(super) fn take_content(
        &mut self,
        transaction: Box<Transaction>,
        mut intake: Box<Intake>,
        bytes: &mut BytesMut,
        now: Timestamp,
    ) -> bool {
        let available = intake.available(bytes.len());
        if let Some(share) = intake.share_for(available, self.settings.message_size) {
            self.reserve(transaction, intake, share);
            return true;
        }
        let (taken, ended) = intake.take(bytes.get(..available).unwrap_or_default());
        intake.came = intake.came.saturating_add(taken as u64);
        bytes.advance(taken.min(bytes.len()));
        match (self.refusal_of(intake.reader.unfit()), ended) {
            (Some(reply), _) => self.give_up_content(&transaction, *intake, ended, reply, now),
            (None, true) => self.end_of_content(transaction, intake, now),
            (None, false) => self.state = State::Taking(transaction, intake),
        }
        ended || taken > 0
    }

    fn refusal_of(&self, unfit: Option<Unfit>) -> Option<Reply> {
        Some(match unfit? {
            Unfit::TooLarge => Reply::too_large(self.settings.message_size),
            Unfit::BareNewline => Reply::bare_newlines(),
        })
    }

    /// What came is unfit, or there is no room for it: the rest is thrown away.
    fn give_up_content(
        &mut self,
        transaction: &Transaction,
        intake: Intake,
        ended: bool,
        reply: Reply,
        now: Timestamp,
    ) {
        let outline = transaction.outline(facts_so_far(&intake.reader), None);
        let octets = intake.came;
        let verdict = Verdict::protocol(reply, None);
        let after = match intake.form {
            Form::Chunk { left, .. } => After::DiscardChunk(left),
            Form::Data { .. } if ended => After::Nothing,
            Form::Data { .. } => {
                let mut reader = intake.reader;
                reader.discard();
                After::DiscardData(reader)
            }
        };
        self.refuse_content(*outline, &verdict, after, octets, now);
    }

    fn end_of_content(
        &mut self,
        transaction: Box<Transaction>,
        intake: Box<Intake>,
        now: Timestamp,
    ) {
        if let Form::Chunk {
            octets,
            last: false,
            ..
        } = intake.form
        {
            let reference = transaction.attempt.reference;
            self.state = State::Open(transaction, Some(intake));
            return self.say(Reply::chunk_ok(octets).with_reference(reference));
        }
        let place = Place {
            hostname: &self.settings.hostname,
            peer: &self.peer,
        };
        match transaction.complete(intake.reader, &place, now) {
            (outline, Ok(received)) => {
                self.steps.push_back(Step::Weigh(weight(&received)));
                self.state = State::Weighing(outline, Box::new(received));
            }
            (outline, Err(verdict)) => {
                let octets = outline.size.unwrap_or(0);
                self.refuse_content(*outline, &verdict, After::Nothing, octets, now);
            }
        }
    }

    pub(super) fn discard(
        &mut self,
        mut discarding: Box<Discarding>,
        bytes: &mut BytesMut,
    ) -> bool {
        let (taken, ended) = discarding.rest.take(bytes);
        bytes.advance(taken.min(bytes.len()));
        discarding.octets = discarding.octets.saturating_add(taken as u64);
        if ended {
            if discarding.counts() {
                self.steps.push_back(Step::Count(discarding.octets));
            }
            self.state = discarding.then;
            self.say(discarding.reply);
        } else {
            self.state = State::Discarding(discarding);
        }
        ended
    }

    fn reserve(&mut self, transaction: Box<Transaction>, intake: Box<Intake>, share: usize) {
        self.state = State::Reserving(transaction, intake, share);
        self.steps.push_back(Step::Reserve(share));
    }
}

impl Rest {
    /// How many octets were thrown away, and whether those were the last.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        match self {
            Self::Data(reader) => match reader.read(bytes) {
                Some(taken) => (taken, true),
                None => (bytes.len(), false),
            },
            Self::Chunk(left) => {
                let taken = usize::try_from(*left).map_or(bytes.len(), |it| it.min(bytes.len()));
                *left -= taken as u64;
                (taken, *left == 0)
            }
        }
    }
}

impl Intake {
    /// How many of the octets in the buffer are content, for all we can know.
    fn available(&self, buffered: usize) -> usize {
        match self.form {
            Form::Data { .. } => buffered,
            Form::Chunk { left, .. } => {
                usize::try_from(left).map_or(buffered, |it| it.min(buffered))
            }
        }
    }

    /// The memory to ask for before `more` octets are taken: doubling at first, so that asking stays
    /// rare, and no more than was announced as long as that is true.
    fn share_for(&self, more: usize, limit: usize) -> Option<usize> {
        let more = self.reader.growth(more);
        let needed = self.reader.len().saturating_add(more).min(limit);
        let announced = self.announced.map(|it| it.saturating_add(BESIDE));
        let most = announced.filter(|it| needed <= *it).unwrap_or(limit);
        let wanted = needed
            .max(self.granted.saturating_add(self.granted.min(MORE)))
            .max(FIRST_SHARE)
            .min(most.min(limit));
        (needed > self.granted).then(|| wanted - self.granted)
    }

    /// How many octets were taken, and whether that was the end of the message or chunk.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        match &mut self.form {
            Form::Data { .. } => match self.reader.read(bytes) {
                Some(taken) => (taken, true),
                None => (bytes.len(), false),
            },
            Form::Chunk { left, last, .. } => {
                self.reader.read_chunk(bytes);
                *left = left.saturating_sub(bytes.len() as u64);
                if *left == 0 && *last {
                    self.reader.end_chunks();
                }
                (bytes.len(), *left == 0)
            }
        }
    }
}

/// Answers to steps.
impl Session {
    /// Answers [`Step::Reserve`].
    pub fn reserved(&mut self, granted: bool, now: Timestamp) {
        match (self.take_state(), granted) {
            (State::Reserving(transaction, mut intake, share), true) => {
                intake.granted += share;
                intake.reader.reserve(intake.granted);
                let invited = std::mem::replace(&mut intake.form, Form::Data { invited: true });
                match invited {
                    Form::Data { invited: false } => self.say(Reply::send_data()),
                    form => intake.form = form,
                }
                self.state = State::Taking(transaction, intake);
            }
            (State::Reserving(transaction, intake, _), false) => {
                self.memory_short(transaction, *intake, now);
            }
            (state, _) => self.state = state,
        }
    }

    fn memory_short(&mut self, transaction: Box<Transaction>, intake: Intake, now: Timestamp) {
        if intake.form == (Form::Data { invited: false }) {
            let outline = transaction.outline(Facts::default(), None);
            let verdict = Verdict::protocol(Reply::memory_short(), None);
            self.refuse_content(*outline, &verdict, After::Nothing, 0, now);
        } else {
            self.give_up_content(&transaction, intake, false, Reply::memory_short(), now);
        }
    }

    /// Answers [`Step::Weigh`]. Who sent all of it for nothing waits a little, unless it is urgent.
    pub fn weighed(&mut self, answer: Result<(), OverLimit>, now: Timestamp) {
        match (self.take_state(), answer) {
            (State::Weighing(outline, received), Ok(())) => {
                self.state = State::Keeping(outline);
                self.steps.push_back(Step::Keep(received));
            }
            (State::Weighing(outline, _), Err(over)) => {
                if !over.urgent {
                    self.steps.push_back(Step::Pause(VAIN_PAUSE));
                }
                let verdict = Verdict::over_limit(&over, None);
                self.refuse_content(*outline, &verdict, After::Nothing, 0, now);
            }
            (state, _) => self.state = state,
        }
    }

    /// Answers [`Step::Keep`]. Only a receipt makes a 250.
    pub fn kept(&mut self, answer: Result<Receipt, &StoreError>, now: Timestamp) {
        match (self.take_state(), answer) {
            (State::Keeping(outline), Ok(receipt)) => {
                self.state = State::Idle(None);
                self.commands = 0;
                self.errors = 0;
                let warned = outline.late.as_ref().map_or(Lapses::NONE, |it| it.warned);
                if let Some(late) = outline.late {
                    self.steps.push_back(Step::Seen(Box::new(late.sighting)));
                }
                let reply = Reply::kept(warned);
                self.say(reply.with_reference(receipt.reference()));
            }
            (State::Keeping(outline), Err(fault)) => {
                let verdict = Verdict::protocol(apology(fault), None);
                self.refuse_content(*outline, &verdict, After::Nothing, 0, now);
            }
            (state, _) => self.state = state,
        }
    }
}

/// Answers to steps, from the scan.
impl Session {
    /// Answers [`Step::Keep`]: its scan does not let it through.
    pub fn not_passed(&mut self, mut refused: Refused, now: Timestamp) {
        match self.take_state() {
            State::Keeping(mut outline) => {
                let octets = outline.size.unwrap_or(0);
                outline.know(std::mem::take(&mut refused.inside));
                let verdict = Verdict::scan(refused);
                self.refuse_content(*outline, &verdict, After::Nothing, octets, now);
            }
            state => self.state = state,
        }
    }
}

fn weight(received: &Received) -> Weight {
    let envelope = &received.envelope;
    Weight {
        urgency: Urgency::of(envelope.terms.priority),
        recipients: envelope.recipients.len() as u64,
        octets: received.content.bytes.len() as u64,
    }
}

/// Memory is given as content comes; what a client announces is believed a little.
fn first_share(transaction: &Transaction, limit: usize) -> usize {
    transaction
        .announced_size()
        .map_or(FIRST_SHARE, |size| size.clamp(1, FIRST_SHARE_ANNOUNCED))
        .min(limit)
}

/// Subject and the like of content that is not complete.
pub(super) fn facts_so_far(reader: &Reader) -> Facts {
    const ENOUGH: usize = 64 * 1024;
    let body = reader.body();
    let start = body.get(..ENOUGH).unwrap_or(body);
    headers::read(&Bytes::copy_from_slice(start)).facts
}

/// Our own trouble is temporary, whatever it is.
fn apology(fault: &StoreError) -> Reply {
    match fault {
        StoreError::Full(_) => Reply::store_full(),
        StoreError::Busy(_)
        | StoreError::Down(_)
        | StoreError::Corrupt(_)
        | StoreError::Conflict(_) => Reply::our_trouble(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;
    const LIMIT: usize = 25 * MIB;

    /// What was asked for in all, once so much has come.
    fn asked_for(octets: usize, announced: Option<usize>) -> usize {
        let mut intake = Intake {
            reader: Reader::new(LIMIT),
            granted: 0,
            announced,
            came: 0,
            chunks: 0,
            form: Form::Data { invited: true },
        };
        let content = vec![b'x'; octets];
        for read in content.chunks(16 * 1024) {
            intake.granted += intake.share_for(read.len(), LIMIT).unwrap_or(0);
            intake.reader.read_chunk(read);
        }
        intake.granted
    }

    #[test]
    fn hardly_more_memory_is_asked_for_than_is_taken() {
        #[rustfmt::skip]
        let cases = [
            (1, None, FIRST_SHARE),
            (16 * MIB, None, 16 * MIB),
            (16 * MIB + 1, None, 18 * MIB),
            (16 * MIB + 1, Some(16 * MIB + 1), 16 * MIB + 1 + BESIDE),
            // It was a lie: what is asked for beyond it grows as if nothing had been said.
            (16 * MIB + 1, Some(MIB), 16 * MIB + 2 * BESIDE),
            (LIMIT, None, LIMIT),
        ];
        for (octets, announced, expected) in cases {
            let asked = asked_for(octets, announced);
            assert_eq!(asked, expected, "{octets} {announced:?}");
        }
    }
}
