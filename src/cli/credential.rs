//! `ilbud credential`: set, list, remove.
//!
//! A password is asked for at a terminal, twice and without echo, or read as one line from stdin. It is
//! never an argument, since arguments are for everybody on the machine to see.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::Arc;

use clap::Subcommand;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::{Failure, print};
use crate::credential::Password;
use crate::mail::Timestamp;
use crate::ops::credentials::{self, Listed, Refused};
use crate::spool::store::Store;

/// More than any password has.
const LONGEST: u64 = 4096;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Set the password with which USER logs in: asked for, or one line of stdin
    Set { user: String },
    /// Who can log in, since when, and when that was last done
    List {
        #[arg(long)]
        json: bool,
    },
    /// USER can no longer log in, from the next login on
    Remove { user: String },
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::new(refused)
    }
}

pub(super) async fn run(command: &Command, store: Arc<dyn Store>) -> Result<(), Failure> {
    match command {
        Command::Set { user } => set(&store, user).await,
        Command::List { json } => list(&store, *json).await,
        Command::Remove { user } => {
            let user = credentials::user(user)?;
            credentials::remove(&store, user.clone()).await?;
            let user = print::harmless(&user);
            Ok(print::line(format_args!("{user} can no longer log in."))?)
        }
    }
}

async fn set(store: &Arc<dyn Store>, user: &str) -> Result<(), Failure> {
    let user = credentials::user(user)?;
    let password = read_password(&user)?;
    credentials::set(store, user.clone(), &password, Timestamp::now()).await?;
    if let Some(doubt) = credentials::doubt(store, &user).await? {
        print::complaint(&format!("warning: {doubt}"));
    }
    let user = print::harmless(&user);
    Ok(print::line(format_args!("{user} can log in."))?)
}

async fn list(store: &Arc<dyn Store>, json: bool) -> Result<(), Failure> {
    let listed = credentials::list(store).await?;
    if !json {
        let row = |it: &Listed| {
            let used = it.credential.used_at.map(print::local);
            let since = print::local(it.credential.since);
            let user = it.credential.user.clone();
            vec![user, it.rooms.join(", "), since, used.unwrap_or_default()]
        };
        let rows: Vec<_> = listed.iter().map(row).collect();
        return Ok(print::table(
            &["user", "room", "since", "last login"],
            &rows,
        )?);
    }
    for it in listed {
        print::json(&serde_json::json!({
            "user": it.credential.user, "rooms": it.rooms, "since": it.credential.since,
            "last_login_at": it.credential.used_at,
        }))?;
    }
    Ok(())
}

fn read_password(user: &str) -> Result<Password, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(read_line()?);
    }
    let first = ask(&format!("Password for {}: ", print::harmless(user)))?;
    let second = ask("Once more: ")?;
    match first.is_same(&second) {
        true => Ok(first),
        false => Err(Failure::new("the two passwords are not the same")),
    }
}

/// Asks at the terminal, which shows nothing of the answer. It is silent before the question is there:
/// whoever answers at once is neither shown nor lost.
fn ask(question: &str) -> io::Result<Password> {
    let silence = Silence::begin()?;
    let mut out = io::stderr().lock();
    write!(out, "{question}")?;
    out.flush()?;
    let answer = read_line();
    drop(silence);
    writeln!(out)?;
    answer
}

/// One line of stdin, without its end.
fn read_line() -> io::Result<Password> {
    let mut line = Vec::new();
    for octet in io::stdin().lock().take(LONGEST).bytes() {
        match octet? {
            b'\n' => break,
            octet => line.push(octet),
        }
    }
    let line = String::from_utf8(line)
        .map_err(|_| io::Error::other("the password is not written in UTF-8"))?;
    Ok(Password::new(line.trim_end_matches('\r').to_owned()))
}

/// The terminal without echo, until this is dropped.
struct Silence {
    before: Termios,
}

impl Silence {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self { before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Where that fails the terminal is gone, and nobody is there to be told.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
