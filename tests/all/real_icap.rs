//! The engine `icap` against c-icap with its `virus_scan`, which asks a clamd.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use ilbud::scan::icap::{Icap, Settings};
use ilbud::scan::{Part, Scanner, Specimen};

use crate::c_icap::{CIcap, Counted, FOUND, MAX_OBJECT};
use crate::fake_icap::EICAR;
use crate::peer::all_here;

fn engine(icap: &CIcap, port: u16) -> Icap {
    Icap::new(Settings::at(icap.url(port).parse().unwrap()))
}

async fn verdict(engine: &Icap, message: String) -> String {
    scan(engine, Specimen::whole(message.into())).await
}

async fn scan(engine: &Icap, specimen: Specimen) -> String {
    let patience = Duration::from_secs(60);
    let verdict = tokio::time::timeout(patience, engine.scan(Arc::new(specimen))).await;
    verdict.expect("the scan comes to an end").to_string()
}

fn harmless(size: usize) -> String {
    const LINE: &str = "0123456789 0123456789 0123456789 0123456789 0123456789 012345\r\n";
    let mut message = format!("Subject: x\r\n\r\n{}", LINE.repeat(size / LINE.len() + 1));
    message.truncate(size);
    message
}

/// Text of this length, and EICAR in an attachment behind it.
fn attached(text: usize) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(EICAR);
    format!(
        "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\n{}\r\n\
         --b\r\nContent-Type: application/octet-stream; name=e.com\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{encoded}\r\n--b--\r\n",
        harmless(text)
    )
}

fn infected() -> String {
    format!("infected: {FOUND}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_icap_finds_eicar_wherever_it_is() {
    if !all_here(&["c-icap", "clamd"]) {
        return;
    }
    let icap = CIcap::start();
    let counted = Counted::to(icap.port);
    let engine = engine(&icap, counted.port);
    for size in [20, 1000, 1024, 1025, 100_000] {
        assert_eq!(verdict(&engine, harmless(size)).await, "clean", "{size}");
    }
    // It has begun to give it back before it has all of it.
    assert_eq!(verdict(&engine, harmless(900_000)).await, "clean");
    assert_eq!(counted.connections(), 1);

    assert_eq!(verdict(&engine, EICAR.into()).await, infected());
    let message = format!("Subject: x\r\n\r\n{EICAR}\r\n");
    assert_eq!(verdict(&engine, message).await, infected());
    assert_eq!(verdict(&engine, attached(10)).await, infected());
    assert_eq!(verdict(&engine, attached(100_000)).await, infected());
    // Then it stops in the middle, and has no name for it.
    assert_eq!(
        verdict(&engine, attached(900_000)).await,
        "infected: blocked by the ICAP service"
    );
    let part = |name: &str, bytes: Vec<u8>| Part::new(name, bytes.into());
    let picture = [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 2000]].concat();
    let picture = part("picture.png", picture);
    let whole = |message: String, parts: Vec<Part>| Specimen {
        parts,
        ..Specimen::whole(message.into())
    };
    let found = whole(
        attached(900_000),
        vec![picture.clone(), part("e.com", EICAR.into())],
    );
    assert_eq!(
        scan(&engine, found).await,
        format!("infected: {FOUND} in e.com")
    );
    let nothing = whole(
        harmless(2000),
        vec![picture, part("a.txt", b"nothing".to_vec())],
    );
    assert_eq!(scan(&engine, nothing).await, "clean");

    let identity = engine.identify().await.unwrap();
    let version = identity.version.unwrap();
    assert!(version.starts_with("C-ICAP/"), "{version}");
    let signatures = identity.signatures.unwrap();
    assert!(signatures.starts_with("CI0001-"), "{signatures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_for_c_icap_is_not_clean() {
    if !all_here(&["c-icap", "clamd"]) {
        return;
    }
    let icap = CIcap::start();
    let engine = engine(&icap, icap.port);
    // At the very size c-icap would say that it is clean.
    let mut brim = attached(900_000);
    brim.push_str(&" ".repeat(MAX_OBJECT - brim.len()));
    for message in [
        brim,
        harmless(MAX_OBJECT),
        attached(2_000_000),
        harmless(2_000_000),
    ] {
        let size = message.len();
        let said = verdict(&engine, message).await;
        assert!(
            said.starts_with("unscannable: too large: c-icap let it pass"),
            "{size}: {said}"
        );
    }
    assert_eq!(verdict(&engine, harmless(MAX_OBJECT - 1)).await, "clean");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_icap_is_found_again_when_it_was_away() {
    if !all_here(&["c-icap", "clamd"]) {
        return;
    }
    let mut icap = CIcap::start();
    let engine = engine(&icap, icap.port);
    assert_eq!(verdict(&engine, harmless(2000)).await, "clean");
    icap.stop();
    let said = verdict(&engine, harmless(2000)).await;
    assert!(said.starts_with("unscannable: down: "), "{said}");
    icap.go();
    assert_eq!(verdict(&engine, harmless(2000)).await, "clean");
    // It was not away for long enough to be missed.
    icap.stop();
    icap.go();
    assert_eq!(verdict(&engine, harmless(2000)).await, "clean");
    assert_eq!(verdict(&engine, attached(10)).await, infected());

    icap.stop_clamd();
    assert_eq!(
        verdict(&engine, harmless(2000)).await,
        "unscannable: broken: 500 Server error"
    );
}
