//! Engines of others behind the relay: what is clean arrives, what is not is refused by name.

use crate::c_icap::CIcap;
use crate::clamav::{self, Clamd};
use crate::client::{letter, vakt};
use crate::fake_scanner::EICAR;
use crate::peer::{self, all_here};
use crate::relay::column;
use crate::scans::{attaching, receipts, relay, saying, send};
use crate::sink::Sink;

fn clamd(clamd: &Clamd) -> String {
    format!(
        "[[scan.engine]]\nkind = \"clamd\"\naddress = \"{}\"\n",
        clamd.socket().display()
    )
}

fn icap(icap: &CIcap) -> String {
    format!(
        "[[scan.engine]]\nkind = \"icap\"\nurl = \"{}\"\n",
        icap.url(icap.port)
    )
}

fn clamscan(signatures: &std::path::Path) -> String {
    let program = peer::program("clamscan").unwrap();
    format!(
        "[[scan.engine]]\nkind = \"command\"\nname = \"clamscan\"\ntimeout = \"2m\"\n\
         command = [\"{}\", \"--no-summary\", \"--stdout\", \"--alert-encrypted\", \
         \"--alert-exceeds-max\", \"--database={}\", \"{{files}}\"]\n\
         infected = [1]\ndown = [2]\nnames = [\": {{name}} FOUND\"]\n",
        program.display(),
        signatures.display()
    )
}

/// `engines`: as they are called. `knows_program`: one of them knows the test files.
fn scans(settings: &str, engines: &str, knows_program: bool) {
    let sink = Sink::start();
    let settings =
        format!("[scan]\ninline_deadline = \"25s\"\n[scan.rules]\neicar = \"mark\"\n{settings}");
    let relay = relay(&sink, &settings);
    let clean = letter(&vakt("a"), &vakt("b"));
    let reply = send(&relay, &clean);
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    let receipts = receipts(&relay, &reply.reference());
    assert_eq!(column(&receipts, "engine"), [engines]);
    assert!(
        sink.wait_for(1)[0]
            .above(&clean)
            .contains("X-Ilbud-Scan: clean;")
    );

    let reply = send(&relay, &saying(EICAR));
    assert_eq!(reply.said(), "550 5.7.1", "{reply}");
    let name = reply.text().to_lowercase();
    assert!(name.contains("eicar"), "{reply}");

    let reply = send(&relay, &attaching("faktura.com", EICAR.as_bytes()));
    assert_eq!(reply.said(), "550 5.7.1", "{reply}");
    assert!(reply.text().contains("faktura.com"), "{reply}");

    if knows_program {
        let reply = send(
            &relay,
            &attaching("faktura.scr", &clamav::test_file("clam.exe")),
        );
        assert_eq!(reply.said(), "550 5.7.1", "{reply}");
        let found = format!("{} in faktura.scr", clamav::found(clamav::TEST_NAME));
        assert!(reply.text().contains(&found), "{reply}");
        let refusal = relay.refusal(&reply.reference());
        assert_eq!(refusal["status"], "refused");
    }
    assert_eq!(sink.count(), 1);
}

#[test]
fn clamd_scans_for_the_relay() {
    if all_here(&["clamd", "clamav-testfiles"]) {
        scans(&clamd(&Clamd::start()), "clamd", true);
    }
}

#[test]
fn c_icap_scans_for_the_relay() {
    if all_here(&["c-icap", "clamd"]) {
        scans(&icap(&CIcap::start()), "icap", false);
    }
}

#[test]
fn clamscan_scans_for_the_relay() {
    if all_here(&["clamscan", "clamav-testfiles"]) {
        let home = tempfile::tempdir().unwrap();
        clamav::write_signatures(home.path());
        scans(&clamscan(home.path()), "clamscan", true);
    }
}

#[test]
fn three_engines_at_once_scan_for_the_relay() {
    if all_here(&["clamd", "c-icap", "clamscan", "clamav-testfiles"]) {
        let home = tempfile::tempdir().unwrap();
        clamav::write_signatures(home.path());
        let (one, two) = (Clamd::start(), CIcap::start());
        let settings = clamd(&one) + &icap(&two) + &clamscan(home.path());
        scans(&settings, "clamd, icap, clamscan", true);
    }
}

/// A message of 600 small pictures gets a verdict, before its sender has waited in vain.
fn takes_many_attachments(settings: &str) {
    let sink = Sink::start();
    let settings = format!("[scan]\ninline_deadline = \"25s\"\n{settings}");
    let relay = relay(&sink, &settings);
    let mut message = format!("From: {}\r\nTo: {}\r\n", vakt("a"), vakt("b"));
    message += "Subject: x\r\nMIME-Version: 1.0\r\n";
    message += "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    for at in 0..600 {
        message += "--b\r\nContent-Type: image/gif\r\n";
        message += &format!("Content-Disposition: attachment; filename={at}.gif\r\n\r\n");
        message += &format!("GIF89a{at}\r\n");
    }
    message += "--b--\r\n";
    let reply = send(&relay, message.as_bytes());
    relay.expect_events(&reply.reference(), &["accepted", "delivered"]);
    let receipts = receipts(&relay, &reply.reference());
    assert_eq!(column(&receipts, "verdict"), ["clean"]);
}

#[test]
fn clamd_takes_many_attachments() {
    if all_here(&["clamd"]) {
        takes_many_attachments(&clamd(&Clamd::start()));
    }
}

#[test]
fn c_icap_takes_many_attachments() {
    if all_here(&["c-icap", "clamd"]) {
        takes_many_attachments(&icap(&CIcap::start()));
    }
}
