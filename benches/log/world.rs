//! The log of two years that is searched: which message is the n-th is told by n alone.
//!
//! 170 rooms with four mailboxes and five workstations each; subjects of what such rooms write about, with
//! names of places (some 30,000) and numbers of cases; attachments by kind, with numbers; 3 % of all messages to
//! several rooms, 1 % failed, 4 % refusals beside them. By night and by day alike.

use std::sync::Arc;
use std::time::Duration;

use ilbud::mail::{
    Address, Attachment, Content, Details, Event, EventKind, Facts, FileType, Reference, Refusal,
    RoomId, State, Terms, Timestamp, Wishes,
};
use ilbud::spool::store::{NewMessage, NewRecipient, RecipientChange, RecipientId};

const TOWNS: [&str; 57] = [
    "oslo",
    "bergen",
    "trondheim",
    "stavanger",
    "drammen",
    "fredrikstad",
    "kristiansand",
    "sandnes",
    "tromso",
    "sarpsborg",
    "skien",
    "alesund",
    "sandefjord",
    "haugesund",
    "tonsberg",
    "moss",
    "porsgrunn",
    "bodo",
    "arendal",
    "hamar",
    "ytrebygda",
    "larvik",
    "halden",
    "askoy",
    "kongsberg",
    "harstad",
    "molde",
    "gjovik",
    "lillehammer",
    "horten",
    "mo-i-rana",
    "kristiansund",
    "korsvik",
    "jessheim",
    "honefoss",
    "elverum",
    "alta",
    "narvik",
    "askim",
    "leirvik",
    "osoyro",
    "raholt",
    "vennesla",
    "grimstad",
    "steinkjer",
    "kongsvinger",
    "stjordal",
    "bryne",
    "egersund",
    "kopervik",
    "mandal",
    "forde",
    "brumunddal",
    "levanger",
    "as",
    "droebak",
    "voss",
];
const KINDS: [&str; 3] = ["amk", "legevakt", "akutt"];
const MAILBOXES: [&str; 4] = ["vakt", "leder", "fagansvarlig", "sekretariat"];
const FRONT: [&str; 32] = [
    "Bjørk", "Furu", "Gran", "Ask", "Lind", "Ospe", "Hassel", "Rogn", "Selje", "Sol", "Nord",
    "Sør", "Øst", "Vest", "Øvre", "Nedre", "Stor", "Lille", "Kirke", "Skole", "Elve", "Fjell",
    "Dal", "Hav", "Strand", "Berg", "Ås", "Myr", "Skog", "Eng", "Haug", "Nes",
];
const MIDDLE: [&str; 30] = [
    "", "e", "ås", "berg", "vik", "haug", "mo", "land", "stad", "rud", "by", "tun", "foss", "sund",
    "øy", "nes", "dal", "lid", "skar", "vann", "bekk", "bru", "gard", "set", "bø", "tveit", "rød",
    "heim", "voll", "hol",
];
const BACK: [&str; 32] = [
    "veien", "gata", "lia", "bakken", "toppen", "svingen", "sletta", "åsen", "kroken", "stien",
    "moen", "haugen", "dalen", "neset", "vika", "brua", "torget", "alleen", "hagen", "tunet",
    "marka", "myra", "plassen", "ringen", "løkka", "enga", "skogen", "høgda", "kleiva", "sanden",
    "odden", "fjorden",
];
const ABOUT: [&str; 24] = [
    "Epikrise",
    "Overflytting av pasient",
    "Vaktliste",
    "Beredskap",
    "Melding om brann",
    "Trafikkulykke",
    "Blålys",
    "Tilbakemelding på oppdrag",
    "Logg fra aksjon",
    "Endret kontaktperson",
    "Driftsmelding radiosamband",
    "Ambulanse",
    "Luftambulanse",
    "Innleggelse",
    "Prøvesvar",
    "Avvik",
    "Henvisning",
    "Kvittering",
    "Oppdatert varslingsliste",
    "Referat fra møte",
    "Øvelse",
    "Samband nede",
    "Ny rutine",
    "Utrykning",
];
const URGENCY: [&str; 4] = ["", "haster", "rød respons", "gul respons"];
const FILES: [(&str, &str); 8] = [
    ("epikrise", "pdf"),
    ("vaktliste", "xlsx"),
    ("bilde", "jpg"),
    ("rapport", "docx"),
    ("logg", "txt"),
    ("kart", "pdf"),
    ("henvisning", "pdf"),
    ("prøvesvar", "pdf"),
];
const REFUSED: [&str; 4] = [
    "550 5.7.1 ukjent@example.com: only registered control rooms are served",
    "550 5.1.1 no such mailbox; the nearest is vakt",
    "550 5.7.1 the sender is not of the workstation's room",
    "552 5.3.4 the message is too large",
];
pub const YEARS: i64 = 2 * 365 * 86_400_000;

#[derive(Debug, Clone, Copy)]
pub struct World {
    pub messages: u64,
    pub end: i64,
}

/// Numbers that look like chance and are the same each time (splitmix64).
#[derive(Debug, Clone, Copy)]
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    fn is_one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

pub fn room(n: u64) -> String {
    let n = n % 170;
    format!("{}-{}", KINDS[(n % 3) as usize], TOWNS[(n / 3) as usize])
}

pub fn place(chance: &mut Chance) -> String {
    let (front, middle, back) = (chance.of(&FRONT), chance.of(&MIDDLE), chance.of(&BACK));
    format!("{front}{middle}{back}")
}

pub const fn case(n: u64) -> u64 {
    // Each once, and not in the order of time.
    1_000_000_000 + n.wrapping_mul(2_654_435_761) % 4_294_967_291
}

impl World {
    pub const fn at(&self, n: u64) -> i64 {
        let share = n as i128 * YEARS as i128 / self.messages as i128;
        self.end - YEARS + share as i64
    }

    pub fn reference(&self, n: u64) -> Reference {
        let at = Timestamp::from_millis(self.at(n));
        Reference::from_number(Reference::first_at(at).number() | (n & 0x3ffff))
    }

    pub fn message(&self, n: u64) -> NewMessage {
        let mut chance = Chance(n);
        let at = Timestamp::from_millis(self.at(n));
        let reference = self.reference(n);
        // Busy rooms are much busier.
        let busy = |chance: &mut Chance| chance.below(170) * chance.below(170) / 170;
        let from = busy(&mut chance);
        let many = if chance.is_one_in(33) {
            2 + chance.below(6)
        } else {
            1
        };
        let to = busy(&mut chance);
        let address = |mailbox: &str, room: &str| {
            Address::parse(&format!("{mailbox}@{room}.nodnett.test")).unwrap()
        };
        let recipients: Vec<NewRecipient> = (0..many)
            .map(|it| NewRecipient {
                waiver: None,
                address: address(MAILBOXES[(chance.below(7) as usize) % 4], &room(to + it)),
                room: RoomId::new(&room(to + it)),
                wishes: Wishes::default(),
                state: State::Queued,
                reason: None,
                next_attempt_at: at,
                look_at: at,
                leased_until: at,
            })
            .collect();
        let workstation = chance.below(5);
        let accepted = |it: &NewRecipient| Event {
            recipient: Some(it.address.clone()),
            details: Details {
                room: Some(it.room.as_str().to_owned()),
                rule: Some("a registered room".to_owned()),
                revision: Some(7),
                ..Details::default()
            },
            ..event(reference, at, EventKind::Accepted)
        };
        let mut events: Vec<Event> = recipients.iter().map(accepted).collect();
        events.push(event(reference, at, EventKind::Scanned));
        NewMessage {
            reference,
            accepted_at: at,
            sender: Some(address(
                MAILBOXES[(chance.below(6) as usize) % 4],
                &room(from),
            )),
            sender_room: Some(RoomId::new(&room(from))),
            client: format!("10.{}.0.{}", from % 170, 10 + workstation),
            smtputf8: false,
            eight_bit: true,
            terms: Terms::default(),
            facts: Facts {
                subject: Some(subject(n)),
                message_id: Some(self.message_id(n)),
                attachments: attachments(n),
            },
            content: Content {
                trace: "Received: by relay.nodnett.test\r\n".into(),
                bytes: "Subject: x\r\n\r\nx\r\n".into(),
            },
            recipients,
            events,
            left_out: Vec::new(),
            scan: None,
        }
    }

    pub fn message_id(&self, n: u64) -> String {
        let mut chance = Chance(n ^ 0x1d);
        format!(
            "{:08x}.{:012x}@ws{}.nodnett.test",
            chance.next() as u32,
            chance.next() >> 16,
            n % 850
        )
    }

    /// How each recipient of it ended; some of the newest wait.
    pub fn outcome(&self, message: &NewMessage, n: u64) -> Vec<RecipientChange> {
        let mut chance = Chance(n ^ 0x0c);
        if self.messages < n + 500 && n.is_multiple_of(2) {
            return Vec::new();
        }
        let end = |number: usize| {
            let (to, kind, reply) = match chance.below(1000) {
                0..10 => (
                    State::Failed,
                    EventKind::Failed,
                    "550 5.1.1 User unknown in local recipient table".to_owned(),
                ),
                10..13 => (
                    State::Cancelled,
                    EventKind::Cancelled,
                    "cancelled by the service desk".to_owned(),
                ),
                _ => (
                    State::Delivered,
                    EventKind::Delivered,
                    format!("250 2.0.0 Ok: queued as 4{:012X}", chance.next() >> 16),
                ),
            };
            let id = RecipientId {
                reference: message.reference,
                number: number as u32,
            };
            let at = message
                .accepted_at
                .after(Duration::from_millis(200 + chance.below(3000)));
            let recipient = message.recipients.get(number).map(|it| it.address.clone());
            let details = Details {
                hop: Some("smtp://10.1.0.5:25".to_owned()),
                tls: Some("TLSv1.3 TLS13_AES_256_GCM_SHA384".to_owned()),
                duration_ms: Some(chance.below(900)),
                attempt: Some(1),
                reply: Some(reply.clone()),
                ..Details::default()
            };
            RecipientChange {
                to: Some(to),
                attempts: Some(1),
                last_reply: Some(reply),
                event: Some(Event {
                    recipient,
                    details,
                    ..event(message.reference, at, kind)
                }),
                ..RecipientChange::of(id, &[State::Queued])
            }
        };
        (0..message.recipients.len()).map(end).collect()
    }

    /// One in twenty-five of the messages has a refusal beside it.
    pub fn refusal(&self, n: u64) -> Option<Refusal> {
        let mut chance = Chance(n ^ 0x4ef);
        if !chance.is_one_in(25) {
            return None;
        }
        let at = self.at(n) + 1;
        let moment = Timestamp::from_millis(at);
        let reference = Reference::first_at(moment).number() | 0x20000 | (n & 0x1ffff);
        let from = chance.below(170);
        Some(Refusal {
            reference: Reference::from_number(reference),
            at: moment,
            client: format!("10.{from}.0.{}", 10 + chance.below(5))
                .parse()
                .unwrap(),
            helo: "ws".to_owned(),
            user: None,
            certificate: None,
            sender: Some(format!("vakt@{}.nodnett.test", room(from))),
            sender_room: Some(RoomId::new(&room(from))),
            recipient: Some(format!("{}@example.com", chance.of(&MAILBOXES))),
            recipient_room: None,
            subject: None,
            message_id: None,
            size: None,
            attachments: Arc::default(),
            files_left_out: 0,
            malware: Vec::new(),
            reply: format!(
                "{} {}",
                chance.of(&REFUSED),
                Reference::from_number(reference)
            ),
            rule: Some("outside".to_owned()),
            revision: Some(7),
            count: 1,
        })
    }
}

fn event(reference: Reference, at: Timestamp, kind: EventKind) -> Event {
    Event {
        reference,
        at,
        kind,
        recipient: None,
        details: Details::default(),
    }
}

pub fn subject(n: u64) -> String {
    let mut chance = Chance(n ^ 0x5b);
    let (about, place, urgency) = (chance.of(&ABOUT), place(&mut chance), chance.of(&URGENCY));
    match chance.below(4) {
        0 => format!("{about} {urgency} {place}"),
        1 => format!("{about}: {place}, sak {}", case(n)),
        2 => format!("SV: {about} {}", room(chance.below(170))),
        _ => format!("{about} uke {} {urgency}", 1 + chance.below(52)),
    }
}

pub fn attachments(n: u64) -> Vec<Attachment> {
    let mut chance = Chance(n ^ 0xa7);
    let many = [0, 0, 1, 1, 1, 2][chance.below(6) as usize];
    let one = |_| {
        let (name, end) = chance.of(&FILES);
        Attachment {
            name: format!("{name}_{}.{end}", chance.below(100_000_000)),
            within: None,
            size: Some(chance.below(5_000_000)),
            sha256: Some(format!(
                "{:016x}{:016x}{:016x}{:016x}",
                chance.next(),
                chance.next(),
                chance.next(),
                chance.next()
            )),
            kind: FileType::Unknown,
        }
    };
    (0..many).map(one).collect()
}
