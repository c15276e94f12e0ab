//! A client may say anything, in any pieces: the session answers the same, in lines, and ends.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::BytesMut;
use ilbud::mail::{Reference, Timestamp};
use ilbud::policy::table::RoutingTable;
use ilbud::smtp::session::{Session, Settings, Step, Tls};
use ilbud::spool::store::StoreError;
use libfuzzer_sys::fuzz_target;

const ROUTES: &str = include_str!("../../tests/all/transcripts/routes.toml");
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

static TABLE: LazyLock<Arc<RoutingTable>> = LazyLock::new(|| table(ROUTES));
/// The same rooms, which let pass whatever they can.
static LAX: LazyLock<Arc<RoutingTable>> = LazyLock::new(|| {
    let strictness = "strictness = { bare_newlines = \"warn\", unknown_workstations = \"warn\" }";
    table(&ROUTES.replace("[[room]]\n", &format!("[[room]]\n{strictness}\n")))
});

fn table(routes: &str) -> Arc<RoutingTable> {
    Arc::new(RoutingTable::parse(routes, 1).expect("a sound table").0)
}

fuzz_target!(|input: &[u8]| {
    let Some((&size, said)) = input.split_first() else {
        return;
    };
    for table in [&*TABLE, &*LAX] {
        let whole = answers(table, said, usize::MAX);
        let cut = answers(table, said, usize::from(size) % 64 + 1);
        assert_eq!(whole, cut);
    }
});

/// All that the session says to `said` when it comes in pieces of `size` octets, and how many
/// messages it would keep.
fn answers(table: &Arc<RoutingTable>, said: &[u8], size: usize) -> (String, usize) {
    let settings = Settings {
        hostname: "relay.nodnett.test".to_owned(),
        message_size: 20_000,
        recipients: 5,
    };
    let client = "127.0.1.9:40000".parse().expect("an address");
    let mut session = Session::new(Arc::new(settings), client, Tls::NotOffered);
    let mut bytes = BytesMut::new();
    let (mut heard, mut kept, mut references) = (Vec::new(), 0, 0);
    for piece in said.chunks(size) {
        bytes.extend_from_slice(piece);
        loop {
            match session.read(&mut bytes, NOW) {
                Step::NeedBytes => break,
                Step::Say(reply) => heard.extend(reply.wire()),
                Step::Close => return (text(heard), kept),
                Step::StartTls => unreachable!("TLS is not offered"),
                Step::Begin => {
                    references += 1;
                    let reference = Reference::from_number(references);
                    session.begun(reference, Arc::clone(table), NOW);
                }
                Step::Admit(_) => session.admitted(Ok(()), NOW),
                Step::AdmitRecipients(count) => {
                    assert!(count <= 100);
                    session.recipients_admitted(Ok(()), NOW);
                }
                Step::Weigh(weight) => {
                    assert!(weight.recipients > 0 && weight.octets <= 20_000);
                    session.weighed(Ok(()), NOW);
                }
                Step::Reserve(octets) => {
                    assert!(octets > 0 && octets <= 20_000);
                    session.reserved(true, NOW);
                }
                Step::Keep(received) => {
                    kept += 1;
                    assert!(!received.envelope.recipients.is_empty());
                    assert!(received.content.bytes.len() <= 20_000);
                    let text = String::from_utf8_lossy(&received.content.bytes);
                    assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
                    session.kept(Err(&StoreError::Busy("fuzzing".to_owned())), NOW);
                }
                Step::Ask(_) => unreachable!("no login without TLS"),
                Step::WrongLogin(_) | Step::LoggedIn(_) | Step::Pause(_) | Step::Count(_) => {}
                Step::Seen(_) => {}
                Step::Note(row) => assert!(row.reply.contains(&row.reference.to_string())),
            }
        }
    }
    (text(heard), kept)
}

fn text(heard: Vec<u8>) -> String {
    let text = String::from_utf8(heard).expect("replies are UTF-8");
    for line in text.split_terminator("\r\n") {
        assert!(line.len() <= 510);
        assert!(!line.contains(['\r', '\n', '\0']));
    }
    text
}
