//! Attempts made straight against next hops, without a relay around them.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use ilbud::delivery::client::{Caller, Timeouts};
use ilbud::delivery::maildir::Writers;
use ilbud::delivery::outcome::{Attempt, Outcome};
use ilbud::delivery::patience::Stop;
use ilbud::delivery::trust::Trust;
use ilbud::delivery::ways::Ways;
use ilbud::delivery::{self, Job, Kept};
use ilbud::mail::{Address, Content, Reference, RoomId, State, Terms, Timestamp, Wishes};
use ilbud::policy::table::{HopServer, HopTls, NextHop};
use ilbud::spool::store::{OfLate, RecipientId, Told, Waiting};

use tokio::sync::watch;

use crate::fake_hop;

pub const BYTES: &[u8] = b"Subject: x\r\n\r\nhei\r\n";
/// The moment of each attempt.
pub const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// Believes what fake hops show. Reading the system's roots takes a while.
static TRUST: LazyLock<Trust> =
    LazyLock::new(|| Trust::new(Some(fake_hop::certificate())).unwrap());

pub fn server(port: u16, tls: HopTls) -> HopServer {
    HopServer {
        host: "127.0.0.1".into(),
        port,
        tls,
        credentials: None,
        client_certificate: None,
        client_key: None,
        ca: None,
        pin: None,
    }
}

/// With user and password.
pub fn known(server: HopServer, user: &str, password: &str) -> HopServer {
    HopServer {
        credentials: Some((user.into(), password.into())),
        ..server
    }
}

pub fn hop(port: u16) -> NextHop {
    NextHop::Smtp(server(port, HopTls::Opportunistic))
}

pub fn rows(recipients: &[&str]) -> Vec<Waiting> {
    let row = |(number, recipient): (u32, &&str)| Waiting {
        id: RecipientId {
            reference: Reference::from_number(5),
            number,
        },
        recipient: Address::parse(recipient).unwrap(),
        room: RoomId::new("room-b"),
        state: State::Queued,
        attempts: 0,
        accepted_at: Timestamp::from_millis(0),
        next_attempt_at: Timestamp::from_millis(0),
        last_reply: None,
        waits_since: Timestamp::from_millis(0),
        told: Told::default(),
        is_doubtful: false,
        of_late: OfLate::default(),
        wishes: Wishes::default(),
        terms: Terms::default(),
        is_ours: false,
        awaits_scan: false,
        waiver: None,
        sender: Some(Address::parse("vakt@a.nodnett.test").unwrap()),
        sender_room: None,
        smtputf8: false,
        eight_bit: false,
        size: 0,
        subject: None,
        message_id: None,
    };
    (0..).zip(recipients).map(row).collect()
}

/// The same for a message with these terms.
pub fn rows_under(terms: &Terms, recipients: &[&str]) -> Vec<Waiting> {
    let mut rows = rows(recipients);
    rows.iter_mut().for_each(|row| row.terms = terms.clone());
    rows
}

fn content(bytes: &[u8]) -> Content {
    Content {
        trace: Bytes::from_static(b"Received: by relay\r\n"),
        bytes: Bytes::copy_from_slice(bytes),
    }
}

/// One worker's view: its connection is kept between attempts.
pub struct Worker {
    caller: Caller,
    pub kept: Option<Kept>,
    stopping: watch::Sender<bool>,
}

/// How long a transaction goes on after a stop.
const GRACE: Duration = Duration::from_millis(200);

impl Worker {
    pub fn new() -> Self {
        Self::with(Timeouts::default())
    }

    pub fn with(timeouts: Timeouts) -> Self {
        let caller = Caller {
            hostname: "relay.nodnett.test".into(),
            trust: TRUST.clone(),
            resolver: Arc::default(),
            timeouts,
            ways: Ways::default(),
            writers: Writers::default(),
        };
        Self {
            caller,
            kept: None,
            stopping: watch::Sender::new(false),
        }
    }

    pub async fn attempt(&mut self, recipients: &[&str], hops: &[NextHop]) -> Vec<Attempt> {
        self.carry(&rows(recipients), BYTES, hops).await
    }

    pub async fn carry(
        &mut self,
        rows: &[Waiting],
        bytes: &[u8],
        hops: &[NextHop],
    ) -> Vec<Attempt> {
        let content = content(bytes);
        let job = Job {
            waiting: rows,
            content: &content,
            first_try: true,
            now: NOW,
            stop: Stop::new(self.stopping.subscribe(), GRACE),
        };
        delivery::attempt(&job, hops, &mut self.kept, &self.caller).await
    }

    /// What stops the attempts.
    pub fn stopping(&self) -> watch::Sender<bool> {
        self.stopping.clone()
    }

    pub async fn knock(&mut self, hops: &[NextHop]) -> Result<(), Attempt> {
        delivery::knock(hops, &mut self.kept, &self.caller).await
    }
}

pub fn word(attempt: &Attempt) -> &'static str {
    match attempt.outcome {
        Outcome::Delivered(_) => "delivered",
        Outcome::Deferred(_) => "deferred",
        Outcome::Failed(_) => "failed",
        Outcome::PossiblyDelivered(_) => "possibly",
    }
}

pub fn words(attempts: &[Attempt]) -> Vec<&'static str> {
    attempts.iter().map(word).collect()
}

/// What the log would say of it, with the status where the reason is our own.
pub fn told(attempt: &Attempt) -> String {
    use ilbud::delivery::outcome::Cause;
    match &attempt.outcome {
        Outcome::Delivered(answer) => answer.to_string(),
        Outcome::Failed(Cause::Unfit { status, reason }) => format!("{status} {reason}"),
        Outcome::Deferred(cause) | Outcome::Failed(cause) | Outcome::PossiblyDelivered(cause) => {
            cause.to_string()
        }
    }
}
