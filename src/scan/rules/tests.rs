#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;

use super::names::Pattern;
use super::*;

/// Whole only here, and only while it runs.
fn eicar() -> String {
    EICAR.map(String::from_utf8_lossy).concat()
}

/// Of Windows, all of it characters of ASCII.
fn program() -> String {
    format!("MZ{:\0<58}@\0\0\0PE\0\0", "")
}

fn base64(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let octet = |at: usize| u32::from(three.get(at).copied().unwrap_or_default());
        let all = octet(0) << 16 | octet(1) << 8 | octet(2);
        let sign = move |at: u32| char::from(ALPHABET[(all >> (18 - 6 * at) & 63) as usize]);
        let signs = three.len() as u32 + 1;
        (0..4).map(move |at| if at < signs { sign(at) } else { '=' })
    };
    text.as_bytes().chunks(3).flat_map(group).collect()
}

/// `rule: what (attachment)` of each finding.
fn found(message: &str, settings: &Settings) -> Vec<String> {
    let specimen = Specimen::of(Bytes::from(message.replace('\n', "\r\n")));
    let findings = inspect(&specimen, settings).findings.into_iter();
    findings
        .map(|it| match it.attachment {
            Some(name) => format!("{}: {} ({name})", it.rule, it.what),
            None => format!("{}: {}", it.rule, it.what),
        })
        .collect()
}

fn file(fields: &str, content: &str) -> String {
    format!(
        "Content-Type: multipart/mixed; boundary=x\n\n--x\n\nhei\n--x\n{fields}\n\n{content}\n--x--\n"
    )
}

fn hash_of(text: &str) -> String {
    hex(&Sha256::digest(text))
}

#[test]
fn eicar_is_found_wherever_it_stands() {
    let eicar = eicar();
    assert_eq!(eicar.len(), 68);
    let zipped = format!("PK\u{3}\u{4}{eicar}");
    let encoded = "Content-Type: a/b; name=a\nContent-Transfer-Encoding: base64";
    let (half, rest) = eicar.split_at(30);
    #[rustfmt::skip]
    let cases: [(&str, String, &[&str]); 12] = [
        ("the text",        format!("Subject: x\n\n{eicar}\n"),                    &["eicar: EICAR-Test-File"]),
        ("in the text",     format!("Subject: x\n\nSee:\n> {eicar} <\n"),          &["eicar: EICAR-Test-File"]),
        ("attached",        file("Content-Type: a/b; name=a", &eicar),              &["eicar: EICAR-Test-File (a)"]),
        ("encoded",         file(encoded, &base64(&eicar)),                         &["eicar: EICAR-Test-File (a)"]),
        ("encoded within",  file(encoded, &base64(&zipped)),                        &["eicar: EICAR-Test-File (a)", "bounds: is a broken zip archive: it has no directory (a)"]),
        ("a text encoded",  format!("Content-Transfer-Encoding: base64\n\n{}", base64(&eicar)), &["eicar: EICAR-Test-File"]),
        ("printable",       format!("Content-Transfer-Encoding: quoted-printable\n\n{}=\n{}", half.replace('=', "=3D"), rest), &["eicar: EICAR-Test-File"]),
        ("twice",           file(encoded, &base64(&eicar)).replace("hei", &eicar),  &["eicar: EICAR-Test-File (a)", "eicar: EICAR-Test-File"]),
        ("in a field",      format!("Subject: {eicar}\n\nhei\n"),                  &["eicar: EICAR-Test-File"]),
        ("before the parts", file("Content-Type: a/b; name=a", "x").replacen("\n\n", &format!("\n\n{eicar}\n"), 1), &["eicar: EICAR-Test-File"]),
        ("named",           "Subject: EICAR-STANDARD-ANTIVIRUS-TEST-FILE\n\nhei\n".to_owned(), &[]),
        ("broken",          format!("Subject: x\n\n{half}\n{rest}\n"),             &[]),
    ];
    for (what, message, expected) in cases {
        assert_eq!(found(&message, &Settings::default()), expected, "{what}");
    }
}

#[test]
fn a_message_within_an_archive_is_taken_apart() {
    let letter = format!(
        "From: a@b.test\r\nSubject: x\r\nMIME-Version: 1.0\r\n\
         Content-Type: application/octet-stream; name=e.com\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        base64(&eicar())
    );
    let encoded = "Content-Type: a/b; name=a.tar\nContent-Transfer-Encoding: base64";
    let packed = file(encoded, &base64(&tar("b.eml", &letter)));
    let found = found(&packed, &Settings::default());
    let expected = "eicar: EICAR-Test-File (a.tar/b.eml/e.com)";
    assert!(found.iter().any(|it| it == expected), "{found:?}");
    let program = letter.replace(&base64(&eicar()), &base64(&program()));
    let packed = file(encoded, &base64(&tar("b.eml", &program)));
    let found = self::found(&packed, &Settings::default());
    let expected = "archived_executable: executable within an archive (a.tar/b.eml/e.com)";
    assert!(found.iter().any(|it| it == expected), "{found:?}");
}

/// POSIX.1-1988: a header of 512 octets, the file, two blocks of nothing.
fn tar(name: &str, file: &str) -> String {
    let head = |sum: u32| {
        let number = |value: usize| format!("{value:011o}\0");
        let size = number(file.len());
        let sum = format!("{sum:06o}\0 ");
        let all = format!(
            "{name:\0<100}0000644\0{:07o}\0{:07o}\0{size}{}{sum}0{:\0<100}ustar\x0000",
            0,
            0,
            number(0),
            ""
        );
        format!("{all:\0<512}")
    };
    let blank = head(0).replacen("000000\0 ", "        ", 1);
    let sum = blank.bytes().map(u32::from).sum();
    let padding = "\0".repeat(file.len().next_multiple_of(512) - file.len() + 1024);
    format!("{}{file}{padding}", head(sum))
}

#[test]
fn a_blocked_file_is_found_by_its_content() {
    let with = |text: &str| Settings {
        blocked_hashes: BTreeSet::from([hash_of(text)]),
        ..Settings::default()
    };
    let encoded = "Content-Type: a/b; name=a\nContent-Transfer-Encoding: base64";
    let plain = "Content-Type: a/b; name=a";
    #[rustfmt::skip]
    let cases = [
        ("attached",            file(encoded, "aGVp"),          with("hei"),            true),
        ("not it",              file(encoded, "aGVp"),          with("Hei"),            false),
        ("none is blocked",     file(encoded, "aGVp"),          Settings::default(),    false),
        ("a text, as sent",     file(plain, "a\nb\n"),          with("a\r\nb\r\n"),     true),
        ("a text, as kept",     file(plain, "a\nb\n"),          with("a\nb\n"),         true),
        ("its last line end",   file(plain, "a\nb"),            with("a\nb\n"),         true),
        ("without it",          file(plain, "a\nb"),            with("a\nb"),           true),
        ("the text itself",     "Subject: x\n\na\nb\n".to_owned(), with("a\nb\n"),     true),
    ];
    for (what, message, settings, is_found) in cases {
        let found = found(&message, &settings);
        assert_eq!(!found.is_empty(), is_found, "{what}: {found:?}");
        assert!(
            found
                .iter()
                .all(|it| it.starts_with("blocked_hash: SHA-256 ")),
            "{found:?}"
        );
    }
}

#[test]
fn names_types_and_bounds_are_found() {
    let own = Settings {
        file_names: Patterns::new(vec![Pattern::parse("faktura*").unwrap()]).unwrap(),
        file_types: BTreeSet::from([FileType::Zip]),
        ..Settings::default()
    };
    let usual = Settings::default();
    #[rustfmt::skip]
    let cases: Vec<(String, &Settings, &[&str])> = vec![
        (file("Content-Type: a/b; name=a.pdf", "hei"),              &usual, &[]),
        (file("Content-Type: a/b; name=a.pdf.exe", "hei"),          &usual, &["file_name: its name fits *.exe (a.pdf.exe)"]),
        (file("Content-Type: a/b; name=a.pdf\nContent-Disposition: attachment; filename=a.exe", "hei"),
                                                                    &usual, &["file_name: its name fits *.exe (a.pdf)"]),
        (file("Content-Type: a/b; name=a.pdf", &program()),          &usual, &["file_type: executable by its content (a.pdf)"]),
        (file("Content-Type: text/html", &program()),                &usual, &["file_type: executable by its content (unnamed)"]),
        (file("Content-Type: a/b; name=a.exe", &program()),          &usual, &["file_name: its name fits *.exe (a.exe)", "file_type: executable by its content (a.exe)"]),
        (file("Content-Type: a/b; name=a.exe", &program()),          &own,   &[]),
        (file("Content-Type: a/b; name=Faktura.zip", "PK\u{3}\u{4}"), &own, &["file_name: its name fits faktura* (Faktura.zip)", "file_type: zip archive by its content (Faktura.zip)", "bounds: is a broken zip archive: it has no directory (Faktura.zip)"]),
        ("Subject: x\n\nbegin 644 a.exe\n#:&5I\nend\n".to_owned(),  &usual, &["file_name: its name fits *.exe (a.exe)"]),
        (file("Content-Type: message/partial; number=1", "hei"),    &usual, &["bounds: not looked at whole: it is a piece of a message that is sent in pieces"]),
        (file("", &"--x\n\nhei\n".repeat(10_001)),                  &usual, &["bounds: not looked at whole: it has more than 10,000 parts"]),
    ];
    for (message, settings, expected) in cases {
        let start: String = message.chars().take(200).collect();
        assert_eq!(found(&message, settings), expected, "{start}");
    }
    let many = "--x\nContent-Type: a/b; name=a.exe\n\n".to_owned();
    let many: String = (0..100)
        .map(|it| many.replace("a.exe", &format!("{it}.exe")))
        .collect();
    assert_eq!(found(&file("", &many), &usual).len(), FINDINGS);
}
