//! The house rules, read from the `use` lines: who may import whom, and where a foreign crate lives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// From the entry down to the words. A module may import its own layer and those below it.
const LAYERS: &[(&str, &[&str])] = &[
    ("entry", &["main", "lib", "cli", "relay", "config"]),
    ("console", &["console"]),
    ("ops", &["ops"]),
    ("workers", &["smtp::server", "smtp::visit", "scan", "queue"]),
    ("doers", &["spool", "delivery"]),
    (
        "tools",
        &[
            "metrics",
            "limits",
            "secrecy",
            "stamp",
            "stop",
            "supervisor",
            "tls",
        ],
    ),
    (
        "deciders",
        &[
            "smtp",
            "scan::measures",
            "scan::rules",
            "scan::specimen",
            "policy",
            "lifecycle",
            "delivery::outcome",
            "document",
            "nearest",
            "spreadsheet",
        ],
    ),
    (
        "words",
        &[
            "mail",
            "credential",
            "evidence",
            "pattern",
            "spool::store",
            "spool::Receipt",
        ],
    ),
];

/// Modules without a clock, a socket, a file, SQL or randomness.
const PURE: &[&str] = &[
    "mail",
    "credential",
    "evidence",
    "smtp::auth",
    "smtp::command",
    "smtp::data",
    "smtp::proxy",
    "smtp::session",
    "scan::measures",
    "scan::rules",
    "scan::specimen",
    "pattern",
    "spreadsheet",
    "scan::icap::answer",
    "scan::icap::judge",
    "scan::icap::options",
    "scan::icap::place",
    "scan::icap::request",
    "policy",
    "lifecycle",
    "delivery::outcome",
    "ops::answer",
    "ops::search",
    "spool::findable",
];

const IMPURE: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "Zoned::now",
    "Timestamp::now",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "tokio::",
    "rusqlite",
    "RandomState",
    "std::env",
];

/// A foreign crate and the modules it may be named in.
const HOMES: &[(&str, &[&str])] = &[
    ("mail_parser", &["mail::headers"]),
    ("jiff", &["mail::timestamp"]),
    ("idna", &["mail::address"]),
    ("smtp_proto", &["smtp::command"]),
    ("rusqlite", &["spool::sqlite"]),
    ("mail_send", &["delivery::client"]),
    ("hickory_resolver", &["delivery::resolve"]),
    ("mail_builder", &["lifecycle::report"]),
    ("argon2", &["credential"]),
    // In `tls` that is what rustls calls its own part of it.
    ("aws_lc_rs", &["evidence::key", "tls"]),
    ("hmac", &["credential"]),
    ("pbkdf2", &["credential"]),
    ("stringprep", &["credential"]),
    ("base64", &["smtp::auth"]),
    (
        "memchr",
        &["mail::headers", "mail::file_type", "scan::rules"],
    ),
    ("flate2", &["scan::rules::inside"]),
    ("bzip2", &["scan::rules::inside::unpack"]),
    ("deflate64", &["scan::rules::inside::unpack"]),
    ("lzma_rust2", &["scan::rules::inside::unpack"]),
    ("ruzstd", &["scan::rules::inside::unpack"]),
    ("lzxd", &["scan::rules::inside::cabinet"]),
    ("sevenz_rust2", &["scan::rules::inside::seven_zip"]),
    ("globset", &["scan::rules::names"]),
    ("unicode_normalization", &["pattern", "scan::rules::names"]),
    ("governor", &["limits"]),
    ("csv", &["spreadsheet"]),
    ("encoding_rs", &["spreadsheet"]),
    ("toml", &["document"]),
    ("toml_edit", &["policy::edit"]),
    ("toml_parser", &["policy::comments"]),
    ("prefix_trie", &["policy::sources"]),
    ("clap", &["cli", "main"]),
    ("mimalloc", &["main"]),
    ("nix", &["cli::operator"]),
    ("rcgen", &["cli::development"]),
    ("rustls_native_certs", &["tls::next_hops"]),
    ("x509_parser", &["tls::x509"]),
    (
        "tokio_rustls",
        &[
            "tls",
            "smtp::visit",
            "delivery::client",
            "scan::icap::connection",
            "cli::development",
        ],
    ),
];

struct Module {
    /// `smtp::server`; a `mod.rs` is its folder.
    name: String,
    path: PathBuf,
    /// Without its tests, comments and doc comments.
    code: String,
}

fn modules() -> Vec<Module> {
    let mut found = Vec::new();
    collect(Path::new(SOURCE), &mut found);
    assert!(found.len() > 10, "the source is not where it was");
    found
}

fn collect(folder: &Path, found: &mut Vec<Module>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
            found.push(Module {
                name: module_name(&path),
                code: code_only(&fs::read_to_string(&path).unwrap()),
                path,
            });
        }
    }
}

fn module_name(path: &Path) -> String {
    let relative = path.strip_prefix(SOURCE).unwrap().with_extension("");
    let parts: Vec<_> = relative
        .iter()
        .map(|part| part.to_str().unwrap())
        .filter(|part| *part != "mod")
        .collect();
    parts.join("::")
}

fn code_only(source: &str) -> String {
    let source = source.split("#[cfg(test)]").next().unwrap_or("");
    let code = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

fn is_or_is_inside(name: &str, module: &str) -> bool {
    name.strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || rest.starts_with('_'))
}

/// The layer whose entry names the most of a path.
fn layer(name: &str) -> Option<usize> {
    let named = |modules: &[&str]| {
        modules
            .iter()
            .filter(|module| is_or_is_inside(name, module))
            .map(|module| module.len())
            .max()
    };
    (0..LAYERS.len())
        .filter_map(|at| named(LAYERS[at].1).map(|length| (length, at)))
        .max()
        .map(|(_, at)| at)
}

/// Every path that begins with `crate::`, as far as it is written out.
fn imports(module: &Module) -> Vec<String> {
    let mut paths = Vec::new();
    for after in module.code.split("crate::").skip(1) {
        let end = after
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .unwrap_or(after.len());
        let (head, rest) = after.split_at(end);
        if let (true, Some(list)) = (
            head.ends_with("::") || head.is_empty(),
            rest.strip_prefix('{'),
        ) {
            let list = list.split('}').next().unwrap_or("");
            for item in list
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
            {
                paths.push(format!("{head}{item}"));
            }
        } else {
            paths.push(head.trim_end_matches(':').to_owned());
        }
    }
    paths
}

#[test]
fn imports_point_downward_only() {
    let mut broken = Vec::new();
    for module in modules() {
        let Some(own) = layer(&module.name) else {
            broken.push(format!("{} belongs to no layer; give it one", module.name));
            continue;
        };
        for path in imports(&module) {
            let Some(other) = layer(&path) else { continue };
            if other < own {
                broken.push(format!(
                    "{} ({}) imports {path} ({})",
                    module.name, LAYERS[own].0, LAYERS[other].0
                ));
            }
        }
    }
    let rule = "Who may import whom: downward only, entry, console, ops, workers, doers, tools, \
                deciders, words";
    assert!(broken.is_empty(), "{rule}.\n{}", broken.join("\n"));
}

#[test]
fn a_foreign_crate_has_one_home() {
    let mut broken = Vec::new();
    for module in modules() {
        for (name, homes) in HOMES {
            let at_home = homes.iter().any(|home| is_or_is_inside(&module.name, home));
            if !at_home && names_crate(&module.code, name) {
                broken.push(format!(
                    "{} names {name}, whose home is {}",
                    module.name, homes[0]
                ));
            }
        }
    }
    let rule = "A foreign crate has one home file; its types and errors do not leave it";
    assert!(broken.is_empty(), "{rule}.\n{}", broken.join("\n"));
}

fn names_crate(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
    })
}

#[test]
fn pure_modules_decide_without_looking_around() {
    let mut broken = Vec::new();
    for module in modules() {
        let pure = PURE.iter().any(|pure| is_or_is_inside(&module.name, pure));
        let own_clock = module.name == "mail::timestamp";
        if !pure || own_clock {
            continue;
        }
        for word in IMPURE.iter().filter(|word| module.code.contains(*word)) {
            broken.push(format!("{} says {word}", module.name));
        }
    }
    let rule = "Pure modules take `now` and new ids as arguments: no clock, socket, file, SQL or \
                randomness in them";
    assert!(broken.is_empty(), "{rule}.\n{}", broken.join("\n"));
}

#[test]
fn nothing_is_named_after_a_drawer() {
    const DRAWERS: &[&str] = &["util", "utils", "common", "helpers", "types", "misc"];
    const SUFFIXES: &[&str] = &["Manager", "Handler", "Service", "Info", "Impl", "Context"];
    let mut broken = Vec::new();
    for module in modules() {
        let last = module.name.rsplit("::").next().unwrap().to_owned();
        if DRAWERS.contains(&last.as_str()) {
            broken.push(module.path.display().to_string());
        }
        for line in module.code.lines().map(str::trim) {
            let words: Vec<&str> = line.split([' ', '(', '<', '{', ';', ':']).collect();
            let named = words
                .windows(2)
                .find(|pair| ["struct", "enum", "trait", "type"].contains(&pair[0]))
                .map(|pair| pair[1]);
            if named.is_some_and(|name| SUFFIXES.iter().any(|suffix| name.ends_with(suffix))) {
                broken.push(format!("{}: {line}", module.name));
            }
            if line.contains("fn get_") {
                broken.push(format!("{}: {line}", module.name));
            }
        }
    }
    let rule = "One word per thing; no util, common, types, helpers; no Manager, Handler, Service, \
                Info, Impl, Context; no get_";
    assert!(broken.is_empty(), "{rule}.\n{}", broken.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    let silent: Vec<_> = modules()
        .into_iter()
        .filter(|module| !fs::read_to_string(&module.path).unwrap().starts_with("//!"))
        .map(|module| module.name)
        .collect();
    assert!(
        silent.is_empty(),
        "A module header says what it is, what it decides, what it never does and how it fails.\n{}",
        silent.join("\n")
    );
}

/// The files that are, or are about to be, committed.
fn files_of_the_repository() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(listed.status.success(), "git lists the repository's files");
    String::from_utf8(listed.stdout)
        .unwrap()
        .split_terminator('\0')
        .map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
        .filter(|path| path.is_file())
        .collect()
}

#[test]
fn no_private_key_is_in_the_repository() {
    // In two halves, or this file would be found.
    let marks = ["PRIVATE", "EC PRIVATE", "RSA PRIVATE", "ENCRYPTED PRIVATE"]
        .map(|kind| format!("-----BEGIN {kind} {}", "KEY-----"));
    let keys: Vec<_> = files_of_the_repository()
        .into_iter()
        .filter(|path| {
            let content = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
            path.extension().is_some_and(|it| it == "key")
                || marks.iter().any(|mark| content.contains(mark))
        })
        .collect();
    assert!(
        keys.is_empty(),
        "No private key is ever committed.\n{keys:?}"
    );
}
