//! A program that runs: its folder, its group of processes, and what it reads and prints.
//!
//! Whatever becomes of it, its group is killed and its folder removed when this is dropped. The group is
//! killed before the program is waited for, since its number is nobody else's until then.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process_group, prlimit, waitid,
};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{FILE, FILES, Limits};

/// For what is still in a pipe when its program has ended; who has left the group may hold it open.
const REST: Duration = Duration::from_millis(200);

/// What it is given.
pub(super) enum Input {
    Nothing,
    Stdin(Bytes),
    /// The message, and its attachments.
    Files(Bytes, Vec<Bytes>),
}

/// How it ended.
pub(super) struct Ended {
    /// `None`: by a signal.
    pub code: Option<u8>,
    pub signal: i32,
    /// The signal came from the limit of CPU time.
    pub ran_out_of_time: bool,
    /// It has read what was there for it on stdin.
    pub read_all: bool,
    /// The beginning of what it printed, stdout first.
    pub printed: String,
    /// Where the attachments were.
    parts: Vec<String>,
}

impl Ended {
    /// The attachment whose file a line names.
    pub fn part_in(&self, line: &str) -> Option<usize> {
        self.parts.iter().position(|path| {
            let after = line.split_once(path.as_str()).map(|(_, after)| after);
            after.is_some_and(|it| !it.starts_with(|c: char| c.is_ascii_digit()))
        })
    }

    pub fn last_line(&self) -> &str {
        let lines = self.printed.lines().rev().map(str::trim);
        lines.into_iter().find(|it| !it.is_empty()).unwrap_or("")
    }
}

pub(super) struct Running {
    /// Until it was waited for.
    child: Option<Child>,
    folder: Option<TempDir>,
    stdin: Option<Stdin>,
    parts: Vec<String>,
}

struct Stdin {
    content: Bytes,
    writer: PipeWriter,
    /// To look at what is left in the pipe.
    reader: PipeReader,
}

impl Running {
    /// Blocks while it writes.
    pub fn start(argv: &[String], limits: &Limits, input: Input) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("ilbud-scan-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        let mut running = Self {
            child: None,
            folder: None,
            stdin: None,
            parts: Vec::new(),
        };
        let mut stdin = Stdio::null();
        let mut message = PathBuf::new();
        match input {
            Input::Nothing => {}
            Input::Stdin(content) => {
                let (reader, writer) = io::pipe()?;
                stdin = Stdio::from(reader.try_clone()?);
                running.stdin = Some(Stdin {
                    content,
                    writer,
                    reader,
                });
            }
            Input::Files(content, parts) => {
                message = write(folder.path(), "message", &content)?;
                for (at, part) in parts.iter().enumerate() {
                    let path = write(folder.path(), &format!("part-{}", at + 1), part)?;
                    running.parts.push(path.display().to_string());
                }
            }
        }
        let mut command = command(argv, &message, &running.parts)?;
        command.env("TMPDIR", folder.path()).env("LC_ALL", "C");
        command.stdin(stdin);
        running.folder = Some(folder);
        let child = running.child.insert(command.spawn()?);
        limit(Pid::from_child(child), limits)?;
        Ok(running)
    }

    /// When it has ended.
    pub async fn ended(mut self, most: u64) -> io::Result<Ended> {
        let child = self.child.as_mut().ok_or_else(gone)?;
        let pid = Pid::from_child(child);
        let stdout = printed(child.stdout.take().map(OwnedFd::from))?;
        let stderr = printed(child.stderr.take().map(OwnedFd::from))?;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut printing = Box::pin(async {
            tokio::join!(keep(stdout, most, &mut out), keep(stderr, most, &mut err));
        });
        let read_all = {
            let (mut has_printed, mut has_given) = (false, self.stdin.is_none());
            let mut giving = Box::pin(give(self.stdin.take()));
            let mut end = Box::pin(end(pid));
            let mut reader = None;
            loop {
                // Its end last: by then it is known what it was given.
                tokio::select! {
                    biased;
                    given = &mut giving, if !has_given => (reader, has_given) = (given?, true),
                    () = &mut printing, if !has_printed => has_printed = true,
                    ended = &mut end => break ended?,
                }
            }
            // Its children are of no use any more, and may hold what is waited for next.
            let _ = kill_process_group(pid, Signal::KILL);
            if !has_printed {
                let _ = timeout(REST, &mut printing).await;
            }
            has_given && reader.is_none_or(|it| is_empty(&it))
        };
        drop(printing);
        let status = self.child.as_mut().ok_or_else(gone)?.wait()?;
        self.child = None;
        out.push(b'\n');
        out.append(&mut err);
        let parts = std::mem::take(&mut self.parts);
        // To remove what is large takes a while.
        spawn_blocking(move || drop(self));
        Ok(Ended::new(status, read_all, &out, parts))
    }
}

impl Ended {
    fn new(status: ExitStatus, read_all: bool, printed: &[u8], parts: Vec<String>) -> Self {
        let signal = status.signal().unwrap_or_default();
        Self {
            code: status.code().and_then(|it| u8::try_from(it).ok()),
            signal,
            ran_out_of_time: signal == Signal::XCPU.as_raw(),
            read_all,
            printed: String::from_utf8_lossy(printed).into_owned(),
            parts,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        let folder = self.folder.take();
        let path = folder.as_ref().map(|it| it.path().to_owned());
        // At once: the relay may be about to end.
        drop(folder);
        // Its end may take a while, and until then it may have left something there.
        let wait = move || {
            let _ = child.wait();
            if let Some(path) = path {
                let _ = std::fs::remove_dir_all(path);
            }
        };
        drop(std::thread::Builder::new().spawn(wait));
    }
}

fn gone() -> io::Error {
    io::Error::other("it has ended already")
}

fn write(folder: &Path, name: &str, content: &[u8]) -> io::Result<PathBuf> {
    let path = folder.join(name);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(content)?;
    Ok(path)
}

fn command(argv: &[String], message: &Path, parts: &[String]) -> io::Result<Command> {
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let message = message.display().to_string();
    let mut command = Command::new(program);
    for argument in arguments {
        match argument == FILES {
            true => command.arg(&message).args(parts),
            false => command.arg(argument.replace(FILE, &message)),
        };
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0);
    Ok(command)
}

fn limit(pid: Pid, limits: &Limits) -> io::Result<()> {
    let set = |resource, most: u64, at_last: u64| {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(at_last),
        };
        match prlimit(Some(pid), resource, limit) {
            // It has ended already.
            Err(rustix::io::Errno::SRCH) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    };
    set(Resource::As, limits.memory, limits.memory)?;
    // A core would hold the message.
    set(Resource::Core, 0, 0)?;
    if let Some(seconds) = limits.cpu {
        // First the signal that says why.
        set(Resource::Cpu, seconds, seconds.saturating_add(1))?;
    }
    // The relay may be protected from being ended where memory is short; an engine is not.
    let _ = std::fs::write(format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero()), "0");
    Ok(())
}

/// Until a child of ours has ended. It is not waited for: its number stays its own.
async fn end(pid: Pid) -> io::Result<()> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let mut some_child_ended = signal(SignalKind::child())?;
    while waitid(WaitId::Pid(pid), look)?.is_none() {
        some_child_ended.recv().await.ok_or_else(gone)?;
    }
    Ok(())
}

fn printed(end: Option<OwnedFd>) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(end.ok_or_else(gone)?)
}

/// The beginning of it; the rest is read, and forgotten.
async fn keep(mut from: impl AsyncRead + Unpin, most: u64, kept: &mut Vec<u8>) {
    let mut beginning = (&mut from).take(most);
    let mut piece = [0; 4096];
    loop {
        match beginning.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(octets) => kept.extend_from_slice(piece.get(..octets).unwrap_or_default()),
        }
    }
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
}

/// Writes all of it; gives back the other end of the pipe. That nobody reads it shows when the program ends.
async fn give(stdin: Option<Stdin>) -> io::Result<Option<PipeReader>> {
    let Some(stdin) = stdin else { return Ok(None) };
    let mut writer = pipe::Sender::from_owned_fd(OwnedFd::from(stdin.writer))?;
    writer.write_all(&stdin.content).await?;
    Ok(Some(stdin.reader))
}

fn is_empty(pipe: &PipeReader) -> bool {
    rustix::io::ioctl_fionread(pipe).is_ok_and(|left| left == 0)
}
