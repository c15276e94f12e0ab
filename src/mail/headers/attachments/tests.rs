#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use mail_parser::MessageParser;

use super::*;

fn taken_apart(message: &str) -> Dissection {
    dissect(&Bytes::from(message.replace('\n', "\r\n")))
}

/// `name: content` of each attachment; a file that is long is told by its length.
fn files(dissection: &Dissection) -> Vec<String> {
    let content = |it: &Part| match it.bytes.len() {
        0..40 => String::from_utf8_lossy(&it.bytes).into_owned(),
        length => format!("{length} octets"),
    };
    let files = dissection.attachments.iter();
    files
        .map(|it| format!("{}: {}", it.name, content(it)))
        .collect()
}

fn mixed(parts: &str) -> String {
    format!("Content-Type: multipart/mixed; boundary=x\n\n--x\n\nhei\n{parts}\n--x--\n")
}

/// A part that is called a, is "hei" in base64, and has these fields.
fn part(fields: &str) -> String {
    mixed(&format!("--x\n{fields}\n\naGVp"))
}

const FILE: &str = "Content-Type: a/b; name=a\nContent-Transfer-Encoding: base64";

#[test]
fn what_readers_understand_differently_is_found_in_each_way() {
    let file = |content: &str| mixed(&format!("--x\n{FILE}\n\n{content}"));
    let of = |head: &str, body: &str| format!("{head}\n\n{body}");
    let sound = format!("--x\n{FILE}\n\naGVp\n");
    let nested = "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n\
                  Q29udGVudC1UeXBlOiBhL2I7IG5hbWU9ZQ0KQ29udGVudC1UcmFuc2Zlci1FbmNvZGluZzogYmFzZTY0DQoNCmFHVnA=";
    #[rustfmt::skip]
    let cases: Vec<(&str, String, &[&str])> = vec![
        // Two fields of a kind.
        ("two types", of("Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=x", &sound), &["a: hei"]),
        ("two types, the other way round", of("Content-Type: multipart/mixed; boundary=x\nContent-Type: text/plain", &sound), &["a: hei"]),
        ("two boundaries", of("Content-Type: multipart/mixed; boundary=y\nContent-Type: multipart/mixed; boundary=x", &sound), &["a: hei"]),
        ("two boundaries in one", of("Content-Type: multipart/mixed; boundary=y; boundary=x", &sound), &["a: hei"]),
        ("two encodings", part("Content-Type: a/b; name=a\nContent-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64"), &["a: aGVp", "a: hei"]),
        ("two encodings, the other way round", part("Content-Type: a/b; name=a\nContent-Transfer-Encoding: base64\nContent-Transfer-Encoding: 7bit"), &["a: hei", "a: aGVp"]),
        // Boundaries.
        ("in quotes with blanks after", of("Content-Type: multipart/mixed; boundary=\"x  \"", &sound), &["a: hei"]),
        ("blanks after the line", mixed(&sound.replace("--x", "--x \t ")), &["a: hei"]),
        ("in single quotes", of("Content-Type: multipart/mixed; boundary='x'", &sound.replace("--x", "--'x'")), &["a: hei"]),
        ("with spaces, not in quotes", of("Content-Type: multipart/mixed; boundary=x y", &sound.replace("--x", "--x y")), &["a: hei"]),
        ("spaces around the sign", of("Content-Type: multipart/mixed; boundary = \"x\"", &sound), &["a: hei"]),
        ("folded", of("Content-Type: multipart/mixed;\n boundary=\n \"x\"", &sound), &["a: hei"]),
        ("escaped", of("Content-Type: multipart/mixed; boundary=\"\\x\"", &sound), &["a: hei"]),
        ("in pieces", of("Content-Type: multipart/mixed; boundary*0=x; boundary*1=y", &sound.replace("--x", "--xy")), &["a: hei"]),
        ("an odd type", of("CONTENT-TYPE:\n\tMultiPart/Odd ;BOUNDARY=x", &sound), &["a: hei"]),
        ("a comment", of("Content-Type: multipart/mixed (x; boundary=z); boundary=x", &sound), &["a: hei"]),
        ("the beginning of a longer one", of("Content-Type: multipart/mixed; boundary=x", &sound.replace("--x\n", "--xyz\n")), &["a: hei"]),
        ("in the middle of a line", of("Content-Type: multipart/mixed; boundary=x", &format!("hei {sound}--x--")), &["a: hei"]),
        ("no closing one", of("Content-Type: multipart/mixed; boundary=x", &sound), &["a: hei"]),
        ("more after the closing one", of("Content-Type: multipart/mixed; boundary=x", &format!("--x\n\nhei\n--x--\n{sound}--x--\n")), &["a: hei"]),
        ("none", of("Content-Type: multipart/mixed", &sound), &["a: hei"]),
        ("another than said", of("Content-Type: multipart/mixed; boundary=y", &sound), &["a: hei"]),
        ("one within that is the beginning of the outer", mixed(&format!("--x\nContent-Type: multipart/mixed; boundary=xx\n\n{}--xx--\n", sound.replace("--x", "--xx"))), &["a: hei"]),
        ("encoded as a whole", of("Content-Type: multipart/mixed; boundary=x\nContent-Transfer-Encoding: base64",
            "LS14CkNvbnRlbnQtVHlwZTogYS9iOyBuYW1lPWEKQ29udGVudC1UcmFuc2Zlci1FbmNvZGluZzogYmFzZTY0CgphR1ZwCg=="), &["a: hei"]),
        // Header fields.
        ("no fields", mixed("--x\n\naGVp"), &[]),
        ("no empty line", mixed(&format!("--x\n{FILE}\naGVp")), &["a: hei", "a: "]),
        ("an empty line of blanks", mixed(&format!("--x\n{FILE}\n \t\naGVp")), &["a: hei", "a: "]),
        ("no field before a field", mixed("--x\nhei hei\nContent-Type: a/b; name=a\n\naGVp"), &["a: aGVp", "a: 42 octets"]),
        ("a null in a name", part("Content\0-Type: a/b; name=a\nContent-Transfer\0-Encoding: base64"), &["a: hei"]),
        ("a null in a value", part("Content-Type: a/b; name=a\nContent-Transfer-Encoding: ba\0se64"), &["a: hei", "a: aGVp"]),
        ("a space before the colon", part("Content-Type : a/b; name=a\nContent-Transfer-Encoding  : base64"), &["a: hei"]),
        // Encodings.
        ("odd case", part("Content-Type: a/b; name=a\nContent-Transfer-Encoding: bAsE64"), &["a: hei"]),
        ("a comment", part("Content-Type: a/b; name=a\nContent-Transfer-Encoding: (7bit) base64 (8bit)"), &["a: hei", "a: aGVp"]),
        ("unknown", part("Content-Type: a/b; name=a\nContent-Transfer-Encoding: x-odd"), &["a: hei", "a: aGVp"]),
        ("no padding", file("aGVpIQ"), &["a: hei!"]),
        ("blank lines", file("aG\n\n  \n\tVp\n"), &["a: hei"]),
        ("noise", file("aG*V\u{1}p"), &["a: hei", "a: aG*V\u{1}p"]),
        ("padding in the middle", file("aGU=\naQ=="), &["a: he", "a: hei", "a: he\u{1a}", "a: aGU=\r\naQ=="]),
        ("not base64 at all", file("MZ..."), &["a: 1", "a: MZ..."]),
        ("quoted-printable", mixed("--x\nContent-Type: a/b; name=a\nContent-Transfer-Encoding: quoted-printable\n\nh=65=\ni"), &["a: hei"]),
        // In a text.
        ("uuencode", "Subject: x\n\nhei\nbegin 644 a.exe\n#:&5I\n`\nend\n".to_owned(), &["a.exe: hei"]),
        ("uuencode as an encoding", mixed("--x\nContent-Type: a/b; name=a\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 b\n#:&5I\n`\nend"), &["a: hei", "b: hei", "a: begin 644 b\r\n#:&5I\r\n`\r\nend"]),
        ("yEnc", "Subject: x\n\n=ybegin line=128 size=2 name=a.exe\nKK\n=yend size=2\n".to_owned(), &["a.exe: !!"]),
        ("BinHex", "Subject: x\n\n(This file must be converted with BinHex 4.0)\n:\"@%ZCAKP!&4&@&4dG(Kd!!!!!!!$!!!!!!!!D'9T!!!!!!:\n".to_owned(), &["a.exe: hei"]),
        // Messages in messages.
        ("a message", mixed(&format!("--x\nContent-Type: message/rfc822\n\n{FILE}\n\naGVp")), &["message.eml: 68 octets", "a: hei"]),
        ("an encoded message", mixed(&format!("--x\n{nested}")), &["message.eml: 68 octets", "e: hei"]),
        ("a message that is called so", mixed(&format!("--x\nContent-Type: a/b; name=b.eml\n\n{FILE}\n\naGVp")), &["b.eml: 68 octets", "a: hei"]),
        ("a digest", format!("Content-Type: multipart/digest; boundary=x\n\n--x\n\n{FILE}\n\naGVp\n--x--\n"), &["message.eml: 68 octets", "a: hei"]),
        // Files that are said to be texts, and texts.
        ("a program as the text", "Subject: x\n\n\x7fELF".to_owned(), &["unnamed: \x7fELF"]),
        ("a program as a web page", mixed("--x\nContent-Type: text/html\nContent-Disposition: inline\n\n\x7fELF"), &["unnamed: \x7fELF"]),
        ("a text inline", mixed("--x\nContent-Type: text/plain\nContent-Disposition: inline\n\nhei"), &[]),
        ("a text attached", mixed("--x\nContent-Type: text/plain\nContent-Disposition: ATTACHMENT\n\nhei"), &["unnamed: hei"]),
        ("a text with a name", mixed("--x\nContent-Type: text/plain; name=a.txt\n\nhei"), &["a.txt: hei"]),
        ("an empty file", mixed("--x\nContent-Type: a/b; name=a\n\n"), &["a: "]),
        ("TNEF", mixed("--x\nContent-Type: application/ms-tnef; name=winmail.dat\n\nhei"), &["winmail.dat: hei"]),
        // The same file twice is two attachments.
        ("twice", mixed(&format!("{sound}{sound}")), &["a: hei", "a: hei"]),
    ];
    let mut wrong = Vec::new();
    for (what, message, expected) in cases {
        let found = files(&taken_apart(&message));
        // A whole that some readers do not see through is a file to them.
        let is_whole = |it: &String| it.starts_with("unnamed: ") && it.ends_with(" octets");
        let is_expected = |it: &String| expected.contains(&it.as_str()) || is_whole(it);
        let is_found = |it: &&str| found.iter().any(|found| found == it);
        if !expected.iter().all(is_found) || !found.iter().all(is_expected) {
            wrong.push(format!("{what}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_name_is_kept() {
    #[rustfmt::skip]
    let cases: [(&str, &str, &[&str]); 17] = [
        ("Content-Type: a/b; name=a.txt",                                              "a.txt", &["a.txt"]),
        ("Content-Disposition: attachment; filename=a.txt",                            "a.txt", &["a.txt"]),
        ("Content-Type: a/b; name=a.txt\nContent-Disposition: x; filename=b.exe",      "a.txt", &["a.txt", "b.exe"]),
        ("Content-Type: a/b; name=a.txt; name=b.exe",                                  "a.txt", &["a.txt", "b.exe"]),
        ("Content-Type: a/b; name=a.txt\nContent-Type: a/b; name=b.exe",               "a.txt", &["a.txt", "b.exe"]),
        ("Content-Disposition: x; filename=a.txt; filename*=utf-8''b.exe",             "a.txt", &["a.txt", "b.exe"]),
        ("Content-Disposition: x; filename*0=\"a.\"; filename*1=exe",                  "a.exe", &["a.exe"]),
        ("Content-Disposition: x; filename*0*=utf-8''pr%C3%B8; filename*1=ve.exe",     "prøve.exe", &["prøve.exe"]),
        ("Content-Disposition: x; filename*=iso-8859-1''pr%F8ve",                      "prøve", &["prøve"]),
        ("Content-Disposition: x; filename=\"=?utf-8?b?cHLDuHZl?=\"",                  "prøve", &["prøve"]),
        ("Content-Type: a/b; name=my file.exe",                                        "", &["my file.exe", "my"]),
        ("Content-Type: a/b; name=\"a.exe",                                            "", &["a.exe"]),
        ("Content-Disposition: x; filename = \"a.exe\"",                               "a.exe", &["a.exe"]),
        ("Content-Type: a/b; name=\"../../etc/a\u{202e}fdp.exe\"",                     "../../etc/a?fdp.exe", &["../../etc/a\u{202e}fdp.exe"]),
        ("Content-Type: a/b; name=\"a.exe\u{0}.pdf\"",                                 "a.exe?.pdf", &["a.exe\u{0}.pdf"]),
        ("Content-Type: a/b; name=\"\"",                                               "unnamed", &[]),
        ("Content-Type: a/b; name=\" \"",                                              "unnamed", &[]),
    ];
    for (fields, shown, names) in cases {
        let found = taken_apart(&mixed(&format!("--x\n{fields}\n\nhei")));
        let [part] = found.attachments.as_slice() else {
            panic!("{fields}: {found:?}");
        };
        for name in names {
            assert!(
                part.names.iter().any(|it| it == name),
                "{fields}: {name} in {:?}",
                part.names
            );
        }
        assert!(
            shown.is_empty() || part.name == shown,
            "{fields}: {:?}",
            part.name
        );
    }
}

#[test]
fn what_is_not_looked_at_is_said() {
    let layer = |it: usize| format!("Content-Type: multipart/mixed; boundary=b{it}b\n\n--b{it}b\n");
    let deep = |layers: usize| (0..layers).map(layer).collect::<String>() + FILE + "\n\naGVp";
    let many = |parts: usize| mixed(&"--x\n\nhei\n".repeat(parts));
    let long = format!("Content-Type: a/b; name=\"{}\"\n\nhei", "x".repeat(20_000));
    let parameters = format!("Content-Type: a/b{}\n\nhei", "; a=b".repeat(200));
    #[rustfmt::skip]
    let cases: Vec<(&str, String, &[Gap])> = vec![
        ("a text",              "Subject: x\n\nhei".to_owned(),                                 &[]),
        ("a file",              mixed(&format!("--x\n{FILE}\n\naGVp")),                         &[]),
        ("deep",                deep(100),                                                      &[]),
        ("too deep",            deep(101),                                                      &[Gap::Depth]),
        ("messages",            "Content-Type: message/rfc822\n\n".repeat(100),                 &[]),
        ("too many within",     "Content-Type: message/rfc822\n\n".repeat(102),                 &[Gap::Depth]),
        ("many",                many(9_000),                                                    &[]),
        ("too many",            many(10_001),                                                   &[Gap::Parts]),
        ("a long field",        long,                                                           &[Gap::Field]),
        ("parameters",          parameters,                                                     &[Gap::Field]),
        ("a piece",             "Content-Type: message/partial; id=x; number=1\n\nhei".to_owned(), &[Gap::Partial]),
        ("elsewhere",           "Content-Type: message/external-body; access-type=url\n\nhei".to_owned(), &[Gap::External]),
        ("too many layers",     "Content-Type: message/rfc822\n\n".repeat(5_000),               &[Gap::Depth, Gap::Odd]),
    ];
    for (what, message, gaps) in cases {
        let found = taken_apart(&message);
        assert_eq!(found.gaps, gaps, "{what}");
        assert!(
            found.attachments.len() + found.texts.len() <= PARTS + 1,
            "{what}"
        );
    }
}

#[test]
fn a_message_that_another_reader_would_choke_on_is_not_given_to_it() {
    let many = |line: &str, times: usize| mixed(&line.repeat(times));
    let dashes = "Content-Type: multipart/mixed; boundary=\"-\"\n\n".to_owned() + &"-".repeat(1000);
    let fields = (0..5_000)
        .map(|it| format!("; x{it}*1=y"))
        .collect::<String>();
    let lost = "--x\nContent-Type: multipart/mixed; boundary=y\n\n";
    #[rustfmt::skip]
    let cases = [
        ("fields",      many("a:\n", 1_500_000),                                true),
        ("boundaries",  many("--x\n\n", 200_000),                               true),
        ("dashes",      dashes,                                                 true),
        ("parameters",  format!("Content-Type: multipart/mixed{fields}\n\n"),   true),
        ("layers",      many("Content-Type: message/rfc822\n\n", 1_000),        true),
        ("lost",        many(lost, 499) + &"x\n".repeat(2_000_000),             true),
        ("a few lost",  many(lost, 100),                                        false),
        ("a table",     many("--- | --- | ---\n", 100_000),                     false),
    ];
    for (what, message, is_left) in cases {
        let opinion = second::opinion(message.as_bytes());
        assert_eq!(opinion == Opinion::None, is_left, "{what}");
    }
}

/// Whatever `mail-parser` finds by itself, with everything that it decodes.
fn others(message: &mail_parser::Message<'_>, found: &mut Vec<Vec<u8>>) {
    for part in message.attachments() {
        match part.message() {
            Some(nested) => others(nested, found),
            None => found.push(part.contents().to_vec()),
        }
    }
}

#[test]
fn what_mail_parser_finds_is_found() {
    let sound = format!("--x\n{FILE}\n\naGVp\n");
    let heads = [
        "Content-Type: multipart/mixed; boundary=x",
        "Content-Type: multipart/mixed; boundary=\"x\"; boundary=y",
        "Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=x",
        "Content-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=x",
    ];
    let odd = [
        sound.clone(),
        sound.replace("--x\n", "--xx\n"),
        sound.replace("--x\n", "x--x\n"),
        sound.replace("\n\naGVp", "\n \naGVp"),
        sound.replace("\n\naGVp", "\nX: y\n\n\naGVp"),
        sound.replace("aGVp", "aG=Vp"),
        sound.replace("aGVp", "aG~Vp"),
        sound.replace("aGVp", "aGVp--x"),
        sound.replace("base64", "quoted-printable"),
        sound.replace("base64", "\"base64\""),
        sound.replace("--x\n", "--x--\n"),
        sound.replace("--x\n", "--x Content-Type: c/d\n"),
    ];
    for head in heads {
        for body in &odd {
            let message = format!("{head}\n\n{body}--x--\n").replace('\n', "\r\n");
            let ours = dissect(&Bytes::from(message.clone()));
            let mut theirs = Vec::new();
            others(
                &MessageParser::default().parse(&message).unwrap(),
                &mut theirs,
            );
            for file in theirs {
                let file = file.trim_ascii();
                let all = ours.attachments.iter().chain(&ours.texts);
                let is_found = all.into_iter().any(|it| it.bytes.trim_ascii() == file);
                let shown = String::from_utf8_lossy(file);
                assert!(is_found, "{message}\n{shown:?} is not in {ours:?}");
            }
        }
    }
}
