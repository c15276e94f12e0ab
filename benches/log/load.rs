//! A relay that takes and delivers mail as fast as it can: smtp-source, the relay in this process, smtp-sink.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use ilbud::config;
use ilbud::ops::routes;
use ilbud::relay::Relay;
use ilbud::spool::sqlite::Sqlite;
use ilbud::spool::store::{Search, Store};
use tokio::runtime::Runtime;

/// How long the relay is measured when nothing else is.
pub const LONG: Duration = Duration::from_secs(20);
const ROUTES: &str = "[[room]]\nid = \"bench-a\"\nname = \"A\"\nkind = \"amk\"\ndomains = [\"bench-a.nodnett.test\"]\n\
    next_hops = [\"smtp://127.0.0.1:9\"]\n[[room.workstation]]\nnetwork = \"127.0.0.0/8\"\n\
    [[room]]\nid = \"bench-b\"\nname = \"B\"\nkind = \"amk\"\ndomains = [\"bench-b.nodnett.test\"]\n";
const FROM: &str = "vakt@bench-a.nodnett.test";
const TO: &str = "vakt@bench-b.nodnett.test";

static PORT: AtomicU16 = AtomicU16::new(0);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn sink(port: u16) -> Killed {
    let hop = format!("127.0.0.1:{port}");
    let sink = Command::new("smtp-sink")
        .args(["-u", "nobody", &hop, "1000"])
        .stdout(Stdio::null())
        .spawn();
    Killed(sink.unwrap())
}

/// Messages until somebody ends it.
fn source(port: u16) -> Killed {
    let to = format!("127.0.0.1:{port}");
    let arguments = [
        "-d",
        "-s",
        "32",
        "-m",
        "100000000",
        "-l",
        "2000",
        "-f",
        FROM,
        "-t",
        TO,
        "-S",
        "Epikrise last",
        &to,
    ];
    let source = Command::new("smtp-source")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Killed(source.unwrap())
}

fn write_settings(folder: &Path, port: u16) -> config::Settings {
    let store = folder.join("ilbud.db");
    let text = format!(
        "hostname = \"relay.nodnett.test\"\n[store]\nurl = \"sqlite:{}\"\n[[listener]]\nname = \"w\"\n\
         address = \"127.0.0.1:{port}\"\ntls = \"off\"\n[console]\naddress = \"127.0.0.1:{}\"\n",
        store.display(),
        free_port()
    );
    std::fs::write(folder.join("ilbud.toml"), &text).unwrap();
    config::parse(&text).unwrap()
}

fn apply_routes(folder: &Path, hop: u16) {
    let routes = folder.join("routes-bench.toml");
    std::fs::write(
        &routes,
        format!("{ROUTES}next_hops = [\"smtp://127.0.0.1:{hop}\"]\n"),
    )
    .unwrap();
    let apply = Command::new(env!("CARGO_BIN_EXE_ilbud"))
        .args(["route", "apply"])
        .arg(&routes)
        .arg("--config")
        .arg(folder.join("ilbud.toml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(apply.unwrap().success());
}

/// Messages a second that were delivered while something is done.
pub fn relay(runtime: &Runtime, folder: &Path, store: Arc<Sqlite>, what: impl FnOnce()) -> f64 {
    let (port, hop) = (free_port(), free_port());
    let settings = write_settings(folder, port);
    apply_routes(folder, hop);
    let _sink = sink(hop);
    let store: Arc<dyn Store> = store;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let table = runtime
        .block_on(routes::readable(&store))
        .unwrap()
        .unwrap()
        .table;
    let relay = runtime
        .block_on(Relay::start(settings, Arc::clone(&store), table))
        .unwrap();
    let running = runtime.spawn(relay.run(async {
        drop(stopped.await);
    }));
    PORT.store(port, Ordering::Relaxed);
    let source = source(port);
    std::thread::sleep(Duration::from_secs(3));
    let delivered = || runtime.block_on(store.last_event()).unwrap();
    let (before, from) = (delivered(), Instant::now());
    what();
    let (after, took) = (delivered(), from.elapsed());
    drop(source);
    stop.send(()).unwrap();
    runtime.block_on(running).unwrap().unwrap();
    events_to_messages(runtime, &store, after - before) / took.as_secs_f64()
}

/// How many of the last events are deliveries, as a share of all.
fn events_to_messages(runtime: &Runtime, store: &Arc<dyn Store>, events: u64) -> f64 {
    let last = runtime.block_on(store.last_event()).unwrap();
    let newest = runtime
        .block_on(store.events_after(last.saturating_sub(5_000), 5_000))
        .unwrap();
    let delivered = newest.iter().filter(|it| it.event == "delivered").count();
    events as f64 * delivered as f64 / newest.len() as f64
}

/// From the 250 of a message to a search that finds it by a word that no other has.
pub fn findable(runtime: &Runtime, store: &Arc<Sqlite>) {
    let mut took = Vec::new();
    for n in 0..50 {
        let word = format!(
            "nyord{}",
            ["a", "b", "c", "d", "e", "f", "g", "h", "j", "k"].map(|it| it)[n % 10]
                .repeat(n / 10 + 1)
        );
        let word = format!("{word}{}", std::process::id());
        send(PORT.load(Ordering::Relaxed), &word);
        let from = Instant::now();
        let search = || Search {
            subject: Some(word.clone()),
            limit: 5,
            ..Search::default()
        };
        while runtime.block_on(store.search(search())).unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        took.push(from.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    println!(
        "findable after its 250: p50 {:.1} ms, p95 {:.1} ms, max {:.1} ms",
        took[25], took[47], took[49]
    );
}

fn send(port: u16, subject: &str) {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut answer = || {
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 0 {
            if line.as_bytes().get(3) != Some(&b'-') {
                break;
            }
            line.clear();
        }
        assert!(line.starts_with(['2', '3']), "{line}");
    };
    answer();
    let message = format!("From: {FROM}\r\nTo: {TO}\r\nSubject: {subject}\r\n\r\nx\r\n.\r\n");
    for line in [
        "EHLO ws\r\n",
        &format!("MAIL FROM:<{FROM}>\r\n"),
        &format!("RCPT TO:<{TO}>\r\n"),
        "DATA\r\n",
        &message,
    ] {
        (&stream).write_all(line.as_bytes()).unwrap();
        answer();
    }
}
