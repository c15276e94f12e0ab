//! The engine that is a program: ClamAV's clamscan, and scripts that misbehave.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ilbud::mail::{Identity, Verdict, Why};
use ilbud::scan::command::{Codes, Limits, Pattern, Settings};
use ilbud::scan::{self, EngineSettings, Kind, Part, Scanner, Specimen};

use crate::clamav;
use crate::fake_scanner::{EICAR, EICAR_NAME};
use crate::peer::{self, all_here};
use crate::wait;

const LETTER: &str = "Subject: x\r\n\r\nhei\r\n";

/// A folder with a script in it, and the settings that run it.
struct Script {
    home: tempfile::TempDir,
    settings: Settings,
}

impl Script {
    /// In the shell's language; `arguments` follow the script's own name.
    fn new(text: &str, arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("scanner.sh");
        fs::write(&file, format!("cd '{}'\n{text}\n", home.path().display())).unwrap();
        let words = ["/bin/sh", file.to_str().unwrap()];
        Self {
            settings: settings(&[&words[..], arguments].concat()),
            home,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn left(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn engine(&self) -> Arc<dyn Scanner> {
        engine(self.settings.clone())
    }

    async fn verdict(&self, specimen: &Arc<Specimen>) -> String {
        self.engine().scan(Arc::clone(specimen)).await.to_string()
    }

    /// Starts a scan, waits until the script has written its number into `id`, and gives the scan up.
    async fn begin_and_give_up(&self, specimen: Arc<Specimen>) {
        let engine = self.engine();
        let asked = tokio::spawn(async move { engine.scan(specimen).await });
        wait::until("the script", || self.left("id").ends_with('\n'));
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
    }
}

fn settings(argv: &[&str]) -> Settings {
    Settings {
        argv: argv.iter().map(ToString::to_string).collect(),
        codes: Codes::default(),
        names: vec![Pattern::new("Found: {name}").unwrap()],
        version: None,
        limits: Limits::default(),
    }
}

fn engine(settings: Settings) -> Arc<dyn Scanner> {
    scan::engine(&EngineSettings {
        name: "command".into(),
        timeout: Duration::from_secs(30),
        kind: Kind::Command(settings),
    })
}

fn whole(message: impl Into<Bytes>) -> Arc<Specimen> {
    Arc::new(Specimen::whole(message.into()))
}

fn with_parts(message: &str, parts: &[(&str, &[u8])]) -> Arc<Specimen> {
    let part = |&(name, bytes): &(&str, &[u8])| Part::new(name, Bytes::copy_from_slice(bytes));
    Arc::new(Specimen {
        parts: parts.iter().map(part).collect(),
        ..Specimen::whole(Bytes::copy_from_slice(message.as_bytes()))
    })
}

/// Whether a process is there that does more than wait for its burial.
fn lives(id: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", id.trim())).unwrap_or_default();
    let state = status.lines().find(|line| line.starts_with("State:"));
    state.is_some_and(|it| !it.contains('Z') && !it.contains('X'))
}

#[tokio::test]
async fn the_exit_code_is_the_verdict() {
    let mut script = Script::new("cat >/dev/null; eval \"$(cat what)\"", &[]);
    script.settings.codes.unscannable = vec![(Why::Down, vec![8]), (Why::Encrypted, vec![9])];
    #[rustfmt::skip]
    let cases = [
        ("exit 0", "clean"),
        ("echo Found: Worm.A; exit 0", "clean"),
        ("exit 13", "infected: unnamed (exit code 13)"),
        ("echo Found: Worm.A; exit 13", "infected: Worm.A"),
        ("echo Found: Worm.A; echo Found: Worm.A; echo x Found: B >&2; exit 13", "infected: Worm.A, B"),
        ("echo Found:; exit 13", "infected: unnamed (exit code 13)"),
        ("exit 1", "unscannable: broken: /bin/sh ended with code 1"),
        ("echo no licence; echo; exit 6", "unscannable: broken: /bin/sh ended with code 6: \"no licence\""),
        ("echo no signatures >&2; exit 8", "unscannable: down: /bin/sh ended with code 8: \"no signatures\""),
        ("exit 9", "unscannable: encrypted: /bin/sh ended with code 9"),
        ("exit 255", "unscannable: broken: /bin/sh ended with code 255"),
        ("kill -9 $$", "unscannable: down: /bin/sh was ended by signal 9"),
        ("kill -SEGV $$", "unscannable: down: /bin/sh was ended by signal 11"),
    ];
    for (what, expected) in cases {
        fs::write(script.path("what"), what).unwrap();
        assert_eq!(script.verdict(&whole(LETTER)).await, expected, "{what}");
    }
}

#[tokio::test]
async fn what_cannot_be_started_is_down_and_has_not_begun() {
    let home = tempfile::tempdir().unwrap();
    let plain = home.path().join("plain");
    fs::write(&plain, "x").unwrap();
    for program in [
        plain.to_str().unwrap(),
        "/nowhere/uvscan",
        "/",
        "no-such-program-here",
    ] {
        let Verdict::Unscannable(gap) = engine(settings(&[program])).scan(whole(LETTER)).await
        else {
            panic!("{program} has a verdict");
        };
        assert_eq!((gap.why, gap.begun), (Why::Down, false), "{gap}");
        assert!(gap.detail.starts_with(program), "{gap}");
    }
}

#[tokio::test]
async fn it_is_given_the_message_byte_for_byte() {
    let bytes: Vec<u8> = (0..=255).cycle().take(1_000_001).collect();
    let stdin = Script::new("cat >got", &[]);
    let file = Script::new(
        "cat \"$1\" >got; stat -c %a \"$1\" \"${1%/*}\" >modes; echo $TMPDIR >id",
        &["{file}"],
    );
    for script in [&stdin, &file] {
        assert_eq!(script.verdict(&whole(bytes.clone())).await, "clean");
        assert_eq!(fs::read(script.path("got")).unwrap(), bytes);
    }
    assert_eq!(file.left("modes"), "600\n700\n", "nobody else reads it");
    let folder = PathBuf::from(file.left("id").trim());
    wait::until("the end of its folder", || !folder.exists());
}

#[tokio::test]
async fn nothing_in_an_argument_is_for_a_shell() {
    let odd = "$(touch evil); `touch evil` > evil 'x' \"y\"";
    let script = Script::new("printf '%s\\n' \"$@\" >got", &[odd, "--file={file}", ""]);
    assert_eq!(script.verdict(&whole(LETTER)).await, "clean");
    let got = script.left("got");
    let lines: Vec<&str> = got.lines().collect();
    assert_eq!(lines[0], odd);
    assert!(lines[1].starts_with("--file=/") && lines[1].ends_with("/message"));
    assert_eq!(lines[2..], [""]);
    assert!(!script.path("evil").exists());
}

#[tokio::test]
async fn clean_without_having_read_the_message_is_not_clean() {
    let small = whole(LETTER);
    let large = whole(vec![b'x'; 1_000_000]);
    for text in ["exit 0", "exec <&-; exit 0", "head -c 5 >/dev/null; exit 0"] {
        let script = Script::new(text, &[]);
        for specimen in [&small, &large] {
            assert_eq!(
                script.verdict(specimen).await,
                "unscannable: broken: /bin/sh ended before it had read the message",
                "{text}"
            );
        }
    }
    let infected = Script::new("echo Found: A; exit 13", &[]);
    assert_eq!(infected.verdict(&large).await, "infected: A");
}

#[tokio::test]
async fn what_is_found_names_its_attachment() {
    let specimen = with_parts(
        "evil",
        &[
            ("a.txt", b"good"),
            ("b $(x).exe", b"evil"),
            ("../c", b"evil"),
        ],
    );
    let text = "for file; do grep -q evil \"$file\" && echo \"$file Found: Worm.A\"; done; exit 13";
    let files = Script::new(text, &["{files}"]);
    assert_eq!(
        files.verdict(&specimen).await,
        "infected: Worm.A in b $(x).exe, Worm.A in ../c"
    );
    let file = Script::new(text, &["{file}"]);
    assert_eq!(file.verdict(&specimen).await, "infected: Worm.A");
    let many: Vec<Part> = (1..=10_000)
        .map(|at| Part::new(format!("{at}.txt"), Bytes::from(at.to_string())))
        .collect();
    let many = Arc::new(Specimen {
        parts: many,
        ..Specimen::whole(LETTER.into())
    });
    assert_eq!(
        Script::new("test $# = 10001", &["{files}"])
            .verdict(&many)
            .await,
        "clean"
    );
    let twelfth = Script::new("shift 12; echo $1 Found: A; exit 13", &["{files}"]);
    assert_eq!(twelfth.verdict(&many).await, "infected: A in 12.txt");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_its_children_when_it_is_given_up() {
    for arguments in [&["{file}"][..], &[]] {
        let script = Script::new(
            "sleep 1000 & first=$!; (trap '' TERM HUP; sleep 1000) & \
             echo $TMPDIR >folder; echo $$ $first $! >id; wait",
            arguments,
        );
        script.begin_and_give_up(whole(vec![b'x'; 500_000])).await;
        let ids = script.left("id");
        for id in ids.split_whitespace() {
            wait::until("the end of each process", || !lives(id));
        }
        let folder = PathBuf::from(script.left("folder").trim());
        wait::until("the end of its folder", || !folder.exists());
    }
}

/// They hold its stdout open, and it has ended.
#[tokio::test]
async fn children_that_outlive_it_are_not_waited_for() {
    let script = Script::new(
        "sleep 1000 & echo $! >id; echo Found: A; exit 13",
        &["{file}"],
    );
    assert_eq!(script.verdict(&whole(LETTER)).await, "infected: A");
    let id = script.left("id");
    wait::until("the end of its child", || !lives(&id));
}

#[tokio::test]
async fn a_flood_of_output_is_read_and_forgotten() {
    let text = "echo Found: First; head -c 20000000 /dev/zero; \
                head -c 20000000 /dev/zero >&2; echo; echo Found: Last; exit 13";
    let script = Script::new(text, &["{file}"]);
    assert_eq!(script.verdict(&whole(LETTER)).await, "infected: First");
}

#[tokio::test]
async fn memory_is_limited() {
    if !all_here(&["python3"]) {
        return;
    }
    let eat = "import sys; sys.stdin.read(); x = bytearray(400 << 20); print(len(x))";
    let python = peer::program("python3").unwrap();
    let mut settings = settings(&[python.to_str().unwrap(), "-c", eat]);
    assert_eq!(
        engine(settings.clone()).scan(whole(LETTER)).await,
        Verdict::Clean
    );
    settings.limits.memory = 200 << 20;
    let verdict = engine(settings).scan(whole(LETTER)).await.to_string();
    assert!(verdict.contains("MemoryError"), "{verdict}");
}

#[tokio::test]
async fn cpu_time_is_limited() {
    let mut script = Script::new("while :; do :; done", &["{file}"]);
    script.settings.limits.cpu = Some(1);
    assert_eq!(
        script.verdict(&whole(LETTER)).await,
        "unscannable: limit: /bin/sh was ended by signal 24"
    );
}

#[tokio::test]
async fn it_says_who_it_is() {
    let mut script = Script::new("exit 0", &[]);
    let none = Ok(Identity::default());
    assert_eq!(script.engine().identify().await, none);
    let mut version = |text: &str| {
        script.settings.version = Some(["/bin/sh", "-c", text].map(String::from).into());
        script.engine()
    };
    let engine = version("echo; echo Scanner 7; echo more");
    let identity = engine.identify().await.unwrap();
    assert_eq!(identity.version.as_deref(), Some("Scanner 7"));
    assert!(version("exit 3").identify().await.is_err());
    assert!(version("kill -9 $$").identify().await.is_err());
}

#[test]
fn mistakes_in_its_settings_are_named() {
    let shipped = include_str!("../../config/ilbud.toml");
    let engine = "[[scan.engine]]\nkind = \"command\"\n";
    let read = |lines: &str| ilbud::config::parse(&format!("{shipped}\n{engine}{lines}\n"));
    for right in [
        "command = [\"uvscan\", \"{file}\"]",
        "command = [\"x\"]\nclean = [0]\ninfected = [1]\ndown = [2, 40]\ncpu = \"1m\"\nmemory = \"2 GiB\"",
        "command = [\"x\", \"\"]\nnames = [\": {name} FOUND\"]\nversion = [\"x\", \"--version\"]",
    ] {
        assert!(read(right).is_ok(), "{right}");
    }
    for (lines, fault) in [
        ("", "\"command\" is missing in [scan.engine]"),
        ("command = []", "\"command\": must name a program"),
        (
            "command = [\"{file}\"]",
            "\"command\": the program comes first, and {file} and {files} after it",
        ),
        (
            "command = [\"x\"]\nclean = [0, 13]",
            "exit code 13 stands twice; it can mean one thing",
        ),
        (
            "command = [\"x\"]\nclean = [256]",
            "\"clean\": must be from 0 to 255",
        ),
        (
            "command = [\"x\"]\nnames = [\"FOUND\"]",
            "\"names\": must have {name} in it, once",
        ),
        (
            "command = [\"x\"]\nmemory = \"1 B\"",
            "\"memory\": is too small",
        ),
    ] {
        let faults = read(lines).unwrap_err();
        let faults: Vec<&str> = faults.iter().map(|it| it.text.as_str()).collect();
        assert_eq!(faults, [fault]);
    }
}

#[test]
fn the_examples_in_the_settings_are_right() {
    let shipped = include_str!("../../config/ilbud.toml");
    let mut examples = String::new();
    let mut is_example = false;
    for line in shipped.lines() {
        is_example = line == "# [[scan.engine]]" || (is_example && line.starts_with("# "));
        if is_example {
            examples.push_str(line.trim_start_matches("# "));
            examples.push('\n');
        }
    }
    let settings = ilbud::config::parse(&format!("{shipped}\n{examples}")).unwrap();
    let kinds: Vec<&str> = settings
        .scan
        .engines
        .iter()
        .map(|it| it.kind.word())
        .collect();
    assert!(
        kinds.contains(&"clamd") && kinds.contains(&"command"),
        "{kinds:?}"
    );
}

/// As the settings' reference shows it, with signatures of its own.
fn clamscan(signatures: &Path) -> Settings {
    let database = format!("--database={}", signatures.display());
    let program = peer::program("clamscan").unwrap();
    let program = program.to_str().unwrap();
    let argv = [
        program,
        "--no-summary",
        "--stdout",
        "--alert-encrypted",
        "--alert-exceeds-max",
        &database,
        "{files}",
    ];
    let mut settings = settings(&argv);
    settings.codes.infected = vec![1];
    settings.codes.unscannable = vec![(Why::Down, vec![2])];
    settings.names = vec![Pattern::new(": {name} FOUND").unwrap()];
    settings.version = Some(vec![program.into(), "--version".into()]);
    settings
}

#[tokio::test]
async fn clamscan_finds_what_there_is() {
    if !all_here(&["clamscan", "clamav-testfiles"]) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    clamav::write_signatures(home.path());
    let engine = engine(clamscan(home.path()));
    let infected = format!("Subject: x\r\n\r\n{EICAR}\r\n");
    let zip = clamav::test_file("clam.zip");
    let eicar = clamav::found(EICAR_NAME);
    let packed = clamav::found("Packed.clam.zip");
    let program = clamav::found(clamav::TEST_NAME);
    for (specimen, expected) in [
        (
            with_parts(LETTER, &[("a.txt", b"hei")]),
            vec!["clean".to_owned()],
        ),
        (whole(infected), vec![format!("infected: {eicar}")]),
        (
            with_parts(LETTER, &[("a.txt", b"hei"), ("faktura.zip", &zip)]),
            vec![
                format!("infected: {packed} in faktura.zip"),
                format!("infected: {program} in faktura.zip"),
            ],
        ),
    ] {
        let verdict = engine.scan(specimen).await.to_string();
        assert!(expected.contains(&verdict), "{verdict}");
    }
    let identity = engine.identify().await.unwrap();
    assert!(identity.version.unwrap().starts_with("ClamAV "));

    let nowhere = home.path().join("none");
    let Verdict::Unscannable(gap) = self::engine(clamscan(&nowhere)).scan(whole(LETTER)).await
    else {
        panic!("a verdict without signatures");
    };
    assert_eq!(gap.why, Why::Down, "{gap}");
}
