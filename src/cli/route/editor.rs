//! `ilbud route edit`: the table in force in an editor, looked at as a plan before it counts.
//!
//! The text has passwords in it, so it lies in a folder that nobody else may look into. That folder goes
//! when the table is in force, when nothing was changed, or when somebody says so; whatever else happens,
//! it stays, and is told. Nothing is decided here: see `ops::plan` and `ops::routes`.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::change::{self, Change};
use super::none_yet;
use super::plan::{self, Subject};
use crate::cli::{Failure, print};
use crate::config::Settings;
use crate::ops::routes::refuse_while_unconfirmed;
use crate::spool::store::Store;

/// As many days of real mail as the plan asks again.
const DAYS: u32 = 7;
/// What `sh` says of a command that is not there.
const NOT_FOUND: i32 = 127;
/// Where nobody has chosen an editor: what the system has chosen, and what every system has.
const USUAL: [&str; 2] = ["editor", "vi"];

#[derive(Debug, Args)]
pub(in crate::cli) struct Editing {
    /// Put it in force without asking, if there is no mistake in it
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    change: Change,
}

pub(super) async fn run(
    store: &Arc<dyn Store>,
    asked: &Editing,
    settings: &Settings,
) -> Result<(), Failure> {
    let unconfirmed = refuse_while_unconfirmed(store).await;
    unconfirmed.map_err(|refused| Failure::of_table("", refused))?;
    let revision = store.routes().await?.ok_or_else(none_yet)?;
    let base = revision.revision;
    if let Some(expected) = asked.change.expect.filter(|it| *it != base) {
        return Err(Failure::new(format!(
            "the routing table is at revision {base}, not {expected}"
        )));
    }
    let mut change = asked.change.clone();
    change.expect = Some(base);
    let desk = Desk {
        store,
        settings,
        change,
        is_agreed: asked.yes,
        sheet: Sheet::of(revision.table)?,
        base,
    };
    desk.work().await
}

/// The text that is edited.
struct Sheet {
    folder: PathBuf,
    file: PathBuf,
    original: String,
}

impl Sheet {
    fn of(original: String) -> io::Result<Self> {
        let mut folder = tempfile::Builder::new();
        let folder = folder
            .prefix("ilbud-")
            .permissions(Permissions::from_mode(0o700));
        let folder = folder.tempdir()?.keep();
        let file = folder.join("routes.toml");
        let mut open = OpenOptions::new();
        open.write(true).create_new(true).mode(0o600);
        open.open(&file)?.write_all(original.as_bytes())?;
        Ok(Self {
            folder,
            file,
            original,
        })
    }

    fn throw_away(&self) {
        if let Err(fault) = fs::remove_dir_all(&self.folder) {
            let folder = self.folder.display();
            print::complaint(&format!("warning: {folder} is still there: {fault}"));
        }
    }
}

/// What is to become of what was written.
enum Answer {
    Apply,
    EditAgain,
    Keep,
    ThrowAway,
}

struct Desk<'a> {
    store: &'a Arc<dyn Store>,
    settings: &'a Settings,
    change: Change,
    /// Nobody is to be asked.
    is_agreed: bool,
    sheet: Sheet,
    /// The revision that is edited.
    base: u64,
}

impl Desk<'_> {
    async fn work(self) -> Result<(), Failure> {
        // The terminal's signals are for the editor while it runs.
        let _interrupts = signal(SignalKind::interrupt())?;
        let _quits = signal(SignalKind::quit())?;
        loop {
            let Some((text, answer)) = self.edit_once().await? else {
                self.sheet.throw_away();
                let base = self.base;
                return Ok(print::line(format_args!(
                    "Nothing was changed: revision {base} stays in force."
                ))?);
            };
            match answer {
                Answer::EditAgain => (),
                Answer::Apply => return self.apply(text).await,
                Answer::Keep => return Err(self.keep(Failure::new("nothing was changed"))),
                Answer::ThrowAway => {
                    self.sheet.throw_away();
                    return Err(Failure::new("nothing was changed"));
                }
            }
        }
    }

    /// What was written, and what is to become of it; `None`: the text is as it was.
    async fn edit_once(&self) -> Result<Option<(String, Answer)>, Failure> {
        let status = edit(&self.sheet.file).await;
        let written = fs::read(&self.sheet.file);
        let is_same = |it: &Vec<u8>| it == self.sheet.original.as_bytes();
        let is_untouched = written.as_ref().is_ok_and(is_same);
        if let Err(failure) = well_ended(status) {
            if is_untouched {
                self.sheet.throw_away();
                return Err(failure);
            }
            return Err(self.keep(failure));
        }
        if is_untouched {
            return Ok(None);
        }
        if let Some(why) = nothing_in(&written) {
            self.sheet.throw_away();
            return Err(Failure::new(why));
        }
        let written = written.map_err(|fault| self.keep(fault.into()))?;
        let text = String::from_utf8(written);
        let text = text.map_err(|_| self.keep(Failure::new("the text is not UTF-8")))?;
        self.refuse_if_moved().await?;
        let answer = self.judge(text.clone()).await?;
        Ok(Some((text, answer)))
    }

    async fn judge(&self, toml: String) -> Result<Answer, Failure> {
        let is_asked = io::stdin().is_terminal();
        match self.show(toml).await {
            Ok(()) if self.is_agreed => Ok(Answer::Apply),
            Ok(()) if is_asked => self.ask(true).await,
            Ok(()) => Err(self.keep(Failure::new(
                "nothing was changed: nobody can be asked here, and there is no --yes",
            ))),
            Err(failure) if is_asked => {
                for line in &failure.lines {
                    print::complaint(&format!("ilbud: {line}"));
                }
                self.ask(false).await
            }
            Err(failure) => Err(self.keep(failure)),
        }
    }

    /// The plan of it, or its mistakes. A script that has agreed hears of mistakes when it is applied.
    async fn show(&self, toml: String) -> Result<(), Failure> {
        let Change { strict, json, .. } = self.change;
        if json && self.is_agreed {
            return Ok(());
        }
        let subject = Subject {
            toml,
            source: self.source(),
            command: None,
            warnings: Vec::new(),
            all: false,
            edit: None,
        };
        plan::show(self.store, &subject, DAYS, strict, json, self.settings).await
    }

    async fn apply(&self, toml: String) -> Result<(), Failure> {
        let source = self.source();
        let new = (toml, Vec::new());
        let put = change::put(self.store, &source, new, &self.change, self.settings);
        match put.await {
            Ok(()) => self.sheet.throw_away(),
            // It is in force, and nobody reads of it.
            Err(failure) if failure.lines.is_empty() => self.sheet.throw_away(),
            Err(failure) => {
                self.refuse_if_moved().await?;
                return Err(self.keep(failure));
            }
        }
        Ok(())
    }

    fn source(&self) -> String {
        self.sheet.file.display().to_string()
    }

    /// Somebody else has changed the table meanwhile: what is written here knows nothing of that.
    async fn refuse_if_moved(&self) -> Result<(), Failure> {
        let (base, file) = (self.base, self.source());
        let current = self
            .store
            .routes()
            .await
            .map_err(|it| self.keep(it.into()))?;
        let newest = current.map_or(0, |it| it.revision);
        if newest == base {
            return Ok(());
        }
        Err(Failure::of([
            format!(
                "nothing was changed: somebody else has put revision {newest} in force meanwhile"
            ),
            format!("what they have changed: ilbud route diff {base} {newest}"),
            format!(
                "what you wrote is kept in {file}; put it in again with ilbud route edit, or in the place of theirs: ilbud route apply {file} --expect {newest}"
            ),
        ]))
    }

    fn keep(&self, mut failure: Failure) -> Failure {
        let (base, file) = (self.base, self.source());
        failure.lines.push(format!(
            "what you wrote is kept in {file}; to go on: ilbud route apply {file} --expect {base}"
        ));
        failure
    }

    async fn ask(&self, is_sound: bool) -> Result<Answer, Failure> {
        let question = match is_sound {
            true => "Put this in force? (y)es, (e)dit again, (k)eep the file and quit, (q)uit: ",
            false => "What now? (e)dit again, (k)eep the file and quit, (q)uit: ",
        };
        loop {
            let answer = answer(question).await.map_err(|it| self.keep(it.into()))?;
            return Ok(match answer.as_deref().map(str::trim) {
                Some("y" | "yes") if is_sound => Answer::Apply,
                Some("e" | "edit") => Answer::EditAgain,
                Some("q" | "quit") => Answer::ThrowAway,
                Some("k" | "keep") | None => Answer::Keep,
                Some(_) => continue,
            });
        }
    }
}

/// A line from the terminal; `None`: it is at its end, or somebody has pressed Ctrl-C.
async fn answer(question: &str) -> io::Result<Option<String>> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut out = io::stderr();
    write!(out, "{question}")?;
    out.flush()?;
    let (tell, told) = oneshot::channel();
    // A thread of its own, since the process is to end while it still waits.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        // Nobody listens any more after Ctrl-C.
        let _ = tell.send(read.map(|octets| (octets > 0).then_some(line)));
    });
    let line = tokio::select! {
        line = told => line.unwrap_or(Ok(None))?,
        _ = interrupts.recv() => None,
    };
    if line.is_none() {
        writeln!(out)?;
    }
    Ok(line)
}

/// Runs the editor of who has asked, as `git` and `crontab` do: a command with arguments of its own.
async fn edit(file: &Path) -> io::Result<(String, ExitStatus)> {
    let chosen = ["VISUAL", "EDITOR"].into_iter().find_map(|name| {
        let chosen = std::env::var(name).ok();
        chosen.filter(|it| !it.trim().is_empty())
    });
    let file = file.to_owned();
    let editing = move || match chosen {
        Some(chosen) => run_editor(&chosen, &file),
        None => {
            let [first, second] = USUAL;
            match run_editor(first, &file)? {
                (_, status) if status.code() == Some(NOT_FOUND) => run_editor(second, &file),
                ended => Ok(ended),
            }
        }
    };
    // Elsewhere, so that signals are heard here meanwhile.
    tokio::task::spawn_blocking(editing)
        .await
        .unwrap_or_else(|fault| Err(io::Error::other(fault)))
}

fn run_editor(editor: &str, file: &Path) -> io::Result<(String, ExitStatus)> {
    let mut command = Command::new("sh");
    let command = command
        .arg("-c")
        .arg(format!("{editor} \"$@\""))
        .arg(editor)
        .arg(file);
    Ok((editor.to_owned(), command.status()?))
}

/// Why there is nothing to go on with: an editor was left in a hurry.
fn nothing_in(written: &io::Result<Vec<u8>>) -> Option<&'static str> {
    match written {
        Ok(text) if text.trim_ascii().is_empty() => Some("nothing was changed: the text is empty"),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => {
            Some("nothing was changed: the editor has taken the file away")
        }
        Ok(_) | Err(_) => None,
    }
}

fn well_ended(ended: io::Result<(String, ExitStatus)>) -> Result<(), Failure> {
    match ended {
        Ok((_, status)) if status.success() => Ok(()),
        Ok((editor, status)) if status.code() == Some(NOT_FOUND) => Err(Failure::new(format!(
            "nothing was changed: there is no editor {editor:?}; set VISUAL or EDITOR"
        ))),
        Ok((editor, status)) => Err(Failure::new(format!(
            "nothing was changed: the editor {editor:?} ended with {status}"
        ))),
        Err(fault) => Err(Failure::new(format!(
            "nothing was changed: no editor can be run: {fault}"
        ))),
    }
}
