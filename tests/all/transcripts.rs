//! The dialogues played against the pure session: whole, and octet by octet.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::BytesMut;
use ilbud::credential::{Password, Verifiers};
use ilbud::mail::{
    Account, Counted, Envelope, OverLimit, Received, Recipient, Reference, Refusal, Reply,
    Timestamp, TlsSession, Wishes, Workstation,
};
use ilbud::policy::table::RoutingTable;
use ilbud::smtp::auth::{Answer, Question};
use ilbud::smtp::session::{Session, Settings, Step, Tls};
use ilbud::spool::sqlite::{self, Sqlite};
use ilbud::spool::store::StoreError;
use ilbud::spool::{BodyPermit, Feed, Receipt, Spool};

use crate::transcript::{self, Act, Line, ROUTES, References, Transcript};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

#[test]
fn every_dialogue_goes_as_written_at_any_chunking() {
    let transcripts = transcript::all();
    assert!(transcripts.len() > 20, "the transcripts are found");
    for transcript in &transcripts {
        for size in [usize::MAX, 1, 2, 3, 7] {
            Player::new(transcript, size).play();
        }
    }
}

/// A spool that really keeps, since nothing else makes receipts.
struct Keeping {
    runtime: tokio::runtime::Runtime,
    spool: Spool,
    _feed: Feed,
    _folder: tempfile::TempDir,
}

static KEEPING: LazyLock<Keeping> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&sqlite::Settings {
        path: folder.path().join("ilbud.db"),
        keep_bodies: Duration::ZERO,
    });
    let (spool, feed) = Spool::new(Arc::new(store.unwrap()), None, 1 << 20, 1);
    Keeping {
        runtime: tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap(),
        spool,
        _feed: feed,
        _folder: folder,
    }
});

fn keep(received: Received) -> Receipt {
    let permit = BodyPermit::default();
    KEEPING
        .runtime
        .block_on(
            KEEPING
                .spool
                .accept(received, &ilbud::lifecycle::Keeping::default(), permit),
        )
        .unwrap()
}

fn next_reference() -> Reference {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Reference::from_number(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Drives a session as the server does, from a transcript in pieces of `size` octets.
struct Player<'a> {
    transcript: &'a Transcript,
    size: usize,
    table: Arc<RoutingTable>,
    session: Session,
    bytes: BytesMut,
    heard: VecDeque<String>,
    rows: VecDeque<Refusal>,
    kept: VecDeque<Received>,
    closed: bool,
    tls_wanted: bool,
    references: References,
    now: Timestamp,
    /// How much of each there is.
    memory: usize,
    messages: usize,
}

impl<'a> Player<'a> {
    fn new(transcript: &'a Transcript, size: usize) -> Self {
        let number = |key: &str, default| {
            transcript
                .setting(key)
                .map_or(default, |it| it.parse().unwrap())
        };
        let settings = Settings {
            hostname: "relay.nodnett.test".to_owned(),
            message_size: number("message_size", 100_000),
            recipients: number("recipients", 100),
        };
        let client = transcript.setting("client").unwrap_or("127.0.1.9");
        let tls = match transcript.setting("tls").unwrap_or("off") {
            "starttls" => Tls::Offered,
            "required" => Tls::Required,
            _ => Tls::NotOffered,
        };
        let address = format!("{client}:40000").parse().unwrap();
        let table = RoutingTable::parse(ROUTES, 7).unwrap().0;
        Self {
            transcript,
            size,
            table: Arc::new(table),
            session: Session::new(Arc::new(settings), address, tls),
            bytes: BytesMut::new(),
            heard: VecDeque::new(),
            rows: VecDeque::new(),
            kept: VecDeque::new(),
            closed: false,
            tls_wanted: false,
            references: References::default(),
            now: NOW,
            memory: number("memory", usize::MAX),
            messages: number("messages", usize::MAX),
        }
    }

    fn play(mut self) {
        self.run();
        for (line, act) in &self.transcript.acts {
            let place = format!("{} line {line}, by {}", self.transcript.name, self.size);
            self.perform(act, &place);
        }
        let name = &self.transcript.name;
        assert_eq!(self.heard, [""; 0], "{name}: said but not written down");
        assert_eq!(self.rows, [], "{name}: noted but not written down");
        assert_eq!(self.kept, [], "{name}: kept but not written down");
    }

    fn perform(&mut self, act: &Act, place: &str) {
        match act {
            Act::Send(octets) => {
                for piece in octets.chunks(self.size) {
                    // What is sent in the clear behind STARTTLS would break the handshake.
                    if !self.tls_wanted {
                        self.bytes.extend_from_slice(piece);
                        self.run();
                    }
                }
            }
            Act::Hear(lines) => {
                let in_tls = self.session.peer().tls.is_some();
                for Line { pattern, .. } in lines.iter().filter(|it| in_tls || !it.only_in_tls) {
                    let line = self.heard.pop_front().unwrap_or_default();
                    assert!(
                        self.references.matches(pattern, &line),
                        "{place}:\n  heard {line}\n  not   {pattern}"
                    );
                }
            }
            Act::Tls => {
                assert!(std::mem::take(&mut self.tls_wanted), "{place}");
                assert!(
                    self.bytes.is_empty(),
                    "{place}: believed what came in the clear"
                );
                let (version, cipher) =
                    ("TLSv1.3".to_owned(), "TLS13_AES_128_GCM_SHA256".to_owned());
                self.session
                    .tls_started(TlsSession { version, cipher }, None, Some([7; 32]));
                self.run();
            }
            Act::Stop => {
                self.session.shutting_down();
                self.run();
            }
            Act::Timeout => {
                self.session.cut(Reply::timed_out(), self.now);
                self.run();
            }
            Act::Later(seconds) => self.now = self.now.after(Duration::from_secs(*seconds)),
            Act::Bye => assert!(self.closed, "{place}: still open"),
            Act::Row(expected) => {
                let row = self.rows.pop_front().map(|row| described(&row));
                assert_eq!(row.as_ref(), Some(expected), "{place}");
            }
            Act::Kept {
                who,
                asks,
                events,
                content,
            } => {
                let kept = self
                    .kept
                    .pop_front()
                    .unwrap_or_else(|| panic!("{place}: nothing kept"));
                check_kept(&kept, who, events, content, place);
                assert_eq!(&asked(&kept.envelope), asks, "{place}");
            }
        }
    }

    /// Takes steps until more bytes are needed.
    fn run(&mut self) {
        while !self.closed {
            match self.session.read(&mut self.bytes, self.now) {
                Step::NeedBytes => return,
                Step::Say(reply) => {
                    let wire = String::from_utf8(reply.wire()).unwrap();
                    assert!(wire.ends_with("\r\n"));
                    let lines = wire.split_terminator("\r\n").map(str::to_owned);
                    self.heard.extend(lines);
                }
                Step::StartTls => {
                    self.tls_wanted = true;
                    return;
                }
                Step::Close => self.closed = true,
                Step::Seen(_) => {}
                Step::Note(row) => self.rows.push_back(*row),
                Step::Begin => {
                    self.session
                        .begun(next_reference(), Arc::clone(&self.table), self.now);
                }
                Step::Admit(admission) => {
                    let answer = if self.messages > 0 {
                        Ok(())
                    } else {
                        Err(over_limit(admission.workstation))
                    };
                    self.messages = self.messages.saturating_sub(1);
                    self.session.admitted(answer, self.now);
                }
                Step::Reserve(octets) => {
                    let granted = octets <= self.memory;
                    self.memory -= if granted { octets } else { 0 };
                    self.session.reserved(granted, self.now);
                }
                Step::Ask(question) => {
                    let answer = self.answer(&question);
                    self.session.answered(answer, self.now);
                }
                Step::AdmitRecipients(_) => self.session.recipients_admitted(Ok(()), self.now),
                Step::Weigh(_) => self.session.weighed(Ok(()), self.now),
                Step::WrongLogin(_) | Step::LoggedIn(_) | Step::Pause(_) | Step::Count(_) => {}
                Step::Keep(received) => self.keep(*received),
            }
        }
    }

    /// The user of the setting `login`, a name and a password; `down`: the store is.
    fn answer(&self, question: &Question) -> Answer {
        let login = self.transcript.setting("login").unwrap_or_default();
        let (user, known) = login.split_once(' ').unwrap_or_default();
        match question {
            _ if login == "down" => Answer::Unknown,
            _ if login == "limited" => Answer::Limited(Duration::from_millis(2500)),
            Question::Keys { user } => Answer::Keys {
                verifiers: Box::new(Verifiers::of_nobody(user, b"secret")),
                nonce: "NONCE".to_owned(),
            },
            Question::Password {
                user: asked,
                password,
            } => {
                let known = Password::new(known.to_owned());
                Answer::IsRight(asked == user && password.is_same(&known))
            }
        }
    }

    fn keep(&mut self, received: Received) {
        let cause = || "by the transcript".to_owned();
        let fault = match self.transcript.setting("store") {
            Some("full") => StoreError::Full(cause()),
            Some("busy") => StoreError::Busy(cause()),
            Some("down") => StoreError::Down(cause()),
            Some("corrupt") => StoreError::Corrupt(cause()),
            _ => {
                self.kept.push_back(received.clone());
                return self.session.kept(Ok(keep(received)), self.now);
            }
        };
        self.session.kept(Err(&fault), self.now);
    }
}

fn over_limit(workstation: Workstation) -> OverLimit {
    OverLimit {
        counted: Counted::Messages,
        account: Account::Workstation(workstation),
        rate: "5/min".to_owned(),
        urgent: false,
        wait: Duration::from_millis(2500),
    }
}

fn described(row: &Refusal) -> String {
    let sender = row.sender.as_deref().unwrap_or("-");
    let recipient = row.recipient.as_deref().unwrap_or("-");
    let said: Vec<&str> = row.reply.split(' ').take(2).collect();
    let reference = row.reference.to_string();
    assert!(row.reply.ends_with(&reference), "{row:?}");
    format!("{sender} -> {recipient} {}", said.join(" "))
}

/// The terms of a message and the wishes for its recipients, where there are any.
fn asked(envelope: &Envelope) -> Vec<String> {
    let terms = &envelope.terms;
    let priority = Some(terms.priority).filter(|it| it.level() != 0);
    let words = [
        priority.map(|it| format!("priority {it}")),
        terms.require_tls.then(|| "requiretls".to_owned()),
        terms.deliver_by.map(|by| {
            let seconds = (by.at.as_millis() - NOW.as_millis()) / 1000;
            let trace = if by.trace { " trace" } else { "" };
            format!("by {seconds} {:?}{trace}", by.mode)
        }),
        terms.ret.map(|it| format!("ret {}", it.word())),
        terms.envelope_id.as_ref().map(|it| format!("envid {it}")),
    ];
    let mut asked = vec![words.into_iter().flatten().collect::<Vec<_>>().join(" ")];
    asked.extend(envelope.recipients.iter().filter_map(wished));
    asked.retain(|it| !it.is_empty());
    asked
}

fn wished(recipient: &Recipient) -> Option<String> {
    let Wishes { notify, original } = &recipient.wishes;
    let notify = notify.map(|it| format!(" notify {it}")).unwrap_or_default();
    let original = original.as_ref().map(|it| format!(" original {it}"));
    let wishes = notify + &original.unwrap_or_default();
    (!wishes.is_empty()).then(|| format!("{}{wishes}", recipient.address))
}

fn check_kept(kept: &Received, who: &str, events: &[String], content: &[u8], place: &str) {
    let sender = kept.envelope.sender.as_ref().map(ToString::to_string);
    let recipients: Vec<String> = kept
        .envelope
        .recipients
        .iter()
        .map(|it| it.address.to_string())
        .collect();
    let found = format!(
        "{} -> {}",
        sender.unwrap_or_default(),
        recipients.join(", ")
    );
    assert_eq!(found.trim_start(), who, "{place}");
    let remarks: Vec<String> = kept
        .remarks
        .iter()
        .map(|event| {
            let of = event.recipient.as_ref().map(ToString::to_string);
            let what = of.or_else(|| event.details.reason.clone());
            format!("{} {}", event.kind, what.unwrap_or_default())
        })
        .collect();
    assert_eq!(remarks, events, "{place}");
    assert_eq!(
        kept.content.bytes.escape_ascii().to_string(),
        content.escape_ascii().to_string(),
        "{place}"
    );
    assert!(kept.content.trace.starts_with(b"Received: "), "{place}");
}
