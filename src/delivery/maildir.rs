//! `maildir:PATH`: a Maildir per local part under PATH, for a room without a mail server.
//!
//! The name of a file is a function of the message and the recipient, so that a second attempt
//! after a crash finds the first one's file instead of making another. A message is in `new` only
//! when its bytes and its name are on the disk. Local parts come from outside: what they are called
//! on disk is decided here. Trouble with the disk is temporary, and so is a disk that does not answer:
//! it holds up a few threads, and neither an attempt nor other disks. What is written after that was
//! given up is not delivered, unless it was being put in place already; then the next attempt finds it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::mail::{Content, Reference};

use super::outcome::Trouble;
use super::patience::Patience;

/// The longest name of a folder, in octets; file systems allow 255.
const NAME: usize = 200;

/// How many write at once below one folder, and below all: others need threads as well.
const WRITERS: usize = 8;
const ALL_WRITERS: usize = 128;
/// Far more folders than a table names.
const CAPACITY: usize = 1_000;

/// One copy to keep.
#[derive(Debug, Clone)]
pub struct Copy {
    pub local_part: String,
    pub reference: Reference,
    /// The recipient's place in the message.
    pub number: u32,
    pub content: Content,
    /// No earlier attempt can have left a file.
    pub first_try: bool,
}

/// Those that write, for all connections alike.
#[derive(Debug, Clone)]
pub struct Writers {
    all: Arc<Semaphore>,
    below: Arc<Mutex<HashMap<PathBuf, Arc<Semaphore>>>>,
    /// Files in hand, those that nobody waits for any more among them.
    busy: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Default for Writers {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(ALL_WRITERS)),
            below: Arc::default(),
            busy: Arc::default(),
        }
    }
}

/// A file that one writer has in hand.
struct Busy {
    file: PathBuf,
    all: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.file);
    }
}

impl Writers {
    /// Keeps copies under `root`, each durably and each within `wait`; one result each, in order.
    /// After one that was not answered the others are not begun.
    pub async fn keep(
        &self,
        root: &Path,
        copies: Vec<Copy>,
        patience: &Patience,
        wait: Duration,
    ) -> Vec<Result<PathBuf, Trouble>> {
        let mut results = Vec::with_capacity(copies.len());
        let mut shut = None;
        for copy in copies {
            let result = match &shut {
                None => self.keep_one(root, copy, patience, wait).await,
                Some(trouble) => Ok(Err(Trouble::clone(trouble))),
            };
            results.push(result.unwrap_or_else(|trouble| {
                shut = Some(trouble.clone());
                Err(trouble)
            }));
        }
        results
    }

    /// The outer trouble is for all that come after it.
    async fn keep_one(
        &self,
        root: &Path,
        copy: Copy,
        patience: &Patience,
        wait: Duration,
    ) -> Result<Result<PathBuf, Trouble>, Trouble> {
        let folder = root.join(folder_name(&copy.local_part));
        let Some(busy) = self.take_up(folder.join(file_name(&copy))) else {
            let words = "an earlier attempt to write it has not ended";
            return Ok(Err(Trouble::Disk(format!("{}: {words}", folder.display()))));
        };
        let given_up = Arc::new(AtomicBool::new(false));
        let is_given_up = Arc::clone(&given_up);
        let work = move || {
            let _busy = busy;
            let written = write(&folder, &copy, &is_given_up);
            written.map_err(|e| Trouble::Disk(format!("{}: {e}", folder.display())))
        };
        let done = self.work(root, work, patience, wait).await;
        given_up.store(done.is_err(), Ordering::SeqCst);
        done
    }

    /// Whether anything can be kept under `root`, which is made where it is missing.
    pub async fn make_ready(
        &self,
        root: &Path,
        patience: &Patience,
        wait: Duration,
    ) -> Result<(), Trouble> {
        let folder = root.to_owned();
        let work = move || {
            let tried = try_to_write(&folder);
            tried.map_err(|e| Trouble::Disk(format!("{}: {e}", folder.display())))
        };
        self.work(root, work, patience, wait).await?
    }

    async fn work<T: Send + 'static>(
        &self,
        root: &Path,
        work: impl FnOnce() -> T + Send + 'static,
        patience: &Patience,
        wait: Duration,
    ) -> Result<T, Trouble> {
        let work = async {
            let permits = self.permits(root).await;
            let work = move || {
                let _permits = permits;
                work()
            };
            tokio::task::spawn_blocking(work).await
        };
        match patience.wait(wait, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(e)) => Err(Trouble::Ours(format!("writing broke down: {e}"))),
            Err(Trouble::Silent(wait)) => {
                let words = format!("no answer within {} s", wait.as_secs());
                Err(Trouble::Disk(format!("{}: {words}", root.display())))
            }
            Err(other) => Err(other),
        }
    }

    /// They last as long as the work, not as long as somebody waits for it.
    async fn permits(&self, root: &Path) -> [Option<OwnedSemaphorePermit>; 2] {
        let below = self.below(root).acquire_owned().await;
        let all = Arc::clone(&self.all).acquire_owned().await;
        [below.ok(), all.ok()]
    }

    fn below(&self, root: &Path) -> Arc<Semaphore> {
        let mut below = self.below.lock().unwrap_or_else(PoisonError::into_inner);
        if below.len() >= CAPACITY {
            below.retain(|_, it| it.available_permits() < WRITERS);
        }
        let new = || Arc::new(Semaphore::new(WRITERS));
        Arc::clone(below.entry(root.to_owned()).or_insert_with(new))
    }

    fn take_up(&self, file: PathBuf) -> Option<Busy> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(file.clone()).then(|| Busy {
            file,
            all: Arc::clone(&self.busy),
        })
    }
}

fn file_name(copy: &Copy) -> String {
    format!("{}.{}.ilbud", copy.reference, copy.number)
}

fn try_to_write(root: &Path) -> io::Result<()> {
    let trial = root.join(".ilbud-knock");
    fs::create_dir_all(root)?;
    fs::write(&trial, b"\n")?;
    match fs::remove_file(trial) {
        // Another room with the same folder was as quick.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn write(folder: &Path, copy: &Copy, given_up: &AtomicBool) -> io::Result<PathBuf> {
    let name = file_name(copy);
    make_folders(folder)?;
    if !copy.first_try
        && let Some(there) = find(folder, &name)?
    {
        return Ok(there);
    }
    let (draft, kept) = (
        folder.join("tmp").join(&name),
        folder.join("new").join(&name),
    );
    if let Err(error) = draw_up(&draft, copy, given_up).and_then(|()| fs::rename(&draft, &kept)) {
        // Half of it would only take up room.
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    sync_folder(&folder.join("new"))?;
    Ok(kept)
}

/// An older draft is what a crash left; it is written anew.
fn draw_up(draft: &Path, copy: &Copy, given_up: &AtomicBool) -> io::Result<()> {
    let mut file = for_nobody_else(draft)?;
    write_whole(&mut file, &copy.content)?;
    file.sync_all()?;
    match given_up.load(Ordering::SeqCst) {
        true => Err(io::Error::other("nobody waits for it any more")),
        false => Ok(()),
    }
}

/// Whatever the umask is: mail is nobody's on this machine but the relay's and root's.
fn for_nobody_else(draft: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(draft)
}

fn make_folders(folder: &Path) -> io::Result<()> {
    if folder.join("cur").is_dir() && folder.join("new").is_dir() && folder.join("tmp").is_dir() {
        return Ok(());
    }
    let make = |part: &str| {
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(folder.join(part))
    };
    make("tmp")?;
    make("new")?;
    // The folders' own names must outlive a power cut, too. `cur` comes last: where it is, this was done.
    let above = folder.ancestors().take(3);
    above.filter(|it| it.is_dir()).try_for_each(sync_folder)?;
    make("cur")?;
    sync_folder(folder)
}

/// The file of an earlier attempt: still in `new`, or moved to `cur` by a reader, which adds flags
/// after a colon.
fn find(folder: &Path, name: &str) -> io::Result<Option<PathBuf>> {
    let kept = folder.join("new").join(name);
    if kept.try_exists()? {
        sync_folder(&folder.join("new"))?;
        return Ok(Some(kept));
    }
    for entry in fs::read_dir(folder.join("cur"))? {
        let entry = entry?;
        let file_name = entry.file_name();
        let base = file_name.to_str().and_then(|it| it.split(':').next());
        if base == Some(name) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

fn write_whole(file: &mut File, content: &Content) -> io::Result<()> {
    let pieces = [IoSlice::new(&content.trace), IoSlice::new(&content.bytes)];
    let written = file.write_vectored(&pieces)?;
    if written < content.trace.len() {
        file.write_all(content.trace.get(written..).unwrap_or_default())?;
        return file.write_all(&content.bytes);
    }
    let rest = content.bytes.get(written - content.trace.len()..);
    file.write_all(rest.unwrap_or_default())
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A folder's name for any local part: lower case, and every character that could leave the folder,
/// hide it, or be mistaken for an escape is written as `%` and its code.
fn folder_name(local_part: &str) -> String {
    let mut name = String::with_capacity(local_part.len());
    for c in local_part.chars().flat_map(char::to_lowercase) {
        let hides = c == '.' && name.is_empty();
        if hides || matches!(c, '/' | '\\' | '%' | ':') || c.is_control() {
            name.push_str(&format!("%{:02x}", u32::from(c)));
        } else {
            name.push(c);
        }
    }
    if name.is_empty() {
        name.push_str("%00");
    }
    shortened(name)
}

/// Long names keep their beginning and a digest of the whole.
fn shortened(mut name: String) -> String {
    if name.len() > NAME {
        let digest = <sha2::Sha256 as sha2::Digest>::digest(name.as_bytes());
        let tail: String = digest
            .iter()
            .take(8)
            .map(|octet| format!("{octet:02x}"))
            .collect();
        name.truncate(name.floor_char_boundary(NAME - tail.len() - 1));
        name.push('%');
        name.push_str(&tail);
    }
    name
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;

    fn copy(local_part: &str, number: u32) -> Copy {
        Copy {
            local_part: local_part.into(),
            reference: Reference::from_number(7),
            number,
            content: Content {
                trace: Bytes::from_static(b"Received: by relay\r\n"),
                bytes: Bytes::from_static(b"Subject: x\r\n\r\n.\r\nhei \xe5\r\n"),
            },
            first_try: false,
        }
    }

    async fn keep(root: PathBuf, copies: Vec<Copy>) -> Vec<Result<PathBuf, Trouble>> {
        const LONG: Duration = Duration::from_secs(600);
        let patience = Patience::until(tokio::time::Instant::now() + LONG);
        Writers::default()
            .keep(&root, copies, &patience, LONG)
            .await
    }

    fn files(root: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(root).unwrap().display().to_string());
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn no_local_part_leaves_its_folder() {
        for (local_part, expected) in [
            ("vakt", "vakt"),
            ("Vakt.Leder", "vakt.leder"),
            ("bl\u{e5}b\u{e6}r", "bl\u{e5}b\u{e6}r"),
            ("\u{c5}SE", "\u{e5}se"),
            ("a b", "a b"),
            (".", "%2e"),
            ("..", "%2e."),
            (".hidden", "%2ehidden"),
            ("../../etc/passwd", "%2e.%2f..%2fetc%2fpasswd"),
            ("/abs", "%2fabs"),
            ("a\\b", "a%5cb"),
            ("a\0b", "a%00b"),
            ("a\nb", "a%0ab"),
            ("%2f", "%252f"),
            ("a:2,S", "a%3a2,s"),
            ("", "%00"),
        ] {
            assert_eq!(folder_name(local_part), expected, "{local_part:?}");
        }
        let long = folder_name(&"\u{e5}".repeat(300));
        assert!(long.len() <= NAME && long.contains('%'), "{long}");
        assert_ne!(long, folder_name(&"\u{e5}".repeat(301)));
    }

    #[tokio::test]
    async fn a_message_is_kept_once_byte_for_byte() {
        let root = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let copies = vec![copy("Vakt", 0), copy("../leder", 1)];
            let kept = keep(root.path().to_owned(), copies).await;
            assert!(kept.iter().all(Result::is_ok), "{kept:?}");
        }
        assert_eq!(
            files(root.path()),
            [
                "%2e.%2fleder/new/0000-0000-0007.1.ilbud",
                "vakt/new/0000-0000-0007.0.ilbud",
            ]
        );
        let bytes = fs::read(root.path().join("vakt/new/0000-0000-0007.0.ilbud")).unwrap();
        assert_eq!(
            bytes,
            b"Received: by relay\r\nSubject: x\r\n\r\n.\r\nhei \xe5\r\n"
        );
    }

    #[tokio::test]
    async fn what_was_read_meanwhile_is_not_kept_again() {
        let root = tempfile::tempdir().unwrap();
        let kept = keep(root.path().to_owned(), vec![copy("vakt", 0)]).await;
        let file = kept.into_iter().next().unwrap().unwrap();
        let read = root.path().join("vakt/cur/0000-0000-0007.0.ilbud:2,S");
        fs::rename(&file, &read).unwrap();
        let kept = keep(root.path().to_owned(), vec![copy("vakt", 0)]).await;
        assert_eq!(kept, [Ok(read)]);
        assert_eq!(files(root.path()), ["vakt/cur/0000-0000-0007.0.ilbud:2,S"]);
    }

    #[tokio::test]
    async fn a_crash_before_the_rename_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("vakt/tmp")).unwrap();
        let draft = root.path().join("vakt/tmp/0000-0000-0007.0.ilbud");
        fs::write(&draft, b"half of it").unwrap();
        let kept = keep(root.path().to_owned(), vec![copy("vakt", 0)]).await;
        assert!(kept.iter().all(Result::is_ok), "{kept:?}");
        assert_eq!(files(root.path()), ["vakt/new/0000-0000-0007.0.ilbud"]);
    }

    #[tokio::test]
    async fn nobody_else_on_the_machine_can_read_mail() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let kept = keep(root.path().to_owned(), vec![copy("vakt", 0)]).await;
        let file = kept.into_iter().next().unwrap().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        for folder in ["vakt", "vakt/new", "vakt/cur", "vakt/tmp"] {
            assert_eq!(mode(&root.path().join(folder)), 0o700, "{folder}");
        }
    }

    #[tokio::test]
    async fn trouble_with_the_disk_is_told() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("no-folder");
        fs::write(&file, b"").unwrap();
        let kept = keep(file, vec![copy("vakt", 0)]).await;
        assert!(
            matches!(kept.as_slice(), [Err(Trouble::Disk(_))]),
            "{kept:?}"
        );
    }

    /// A pipe that nobody reads does not let itself be opened, as on a disk that is gone.
    #[tokio::test]
    async fn a_disk_that_does_not_answer_holds_up_nobody_and_delivers_nothing_later() {
        const MOMENT: Duration = Duration::from_millis(50);
        let root = tempfile::tempdir().unwrap();
        let tmp = root.path().join("vakt/tmp");
        fs::create_dir_all(&tmp).unwrap();
        let pipe = tmp.join("0000-0000-0007.0.ilbud");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let writers = Writers::default();
        let patience = Patience::until(tokio::time::Instant::now() + Duration::from_secs(600));
        let write = |wait| {
            let copies = vec![copy("vakt", 0), copy("leder", 1)];
            writers.keep(root.path(), copies, &patience, wait)
        };
        let words = |end: &str| format!("{}{end}", root.path().display());
        let silent = Err(Trouble::Disk(words(": no answer within 0 s")));
        assert_eq!(write(MOMENT).await, [silent.clone(), silent]);
        // Nobody else begins the same file meanwhile; other folders are written to.
        let long = Duration::from_secs(600);
        let again = write(long).await;
        let busy = words("/vakt: an earlier attempt to write it has not ended");
        assert_eq!(again.first(), Some(&Err(Trouble::Disk(busy))));
        assert!(again.get(1).unwrap().is_ok(), "{again:?}");
        let mut reader = File::open(&pipe).unwrap();
        io::Read::read_to_end(&mut reader, &mut Vec::new()).unwrap();
        while !writers.busy.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(files(root.path()), ["leder/new/0000-0000-0007.1.ilbud"]);
        assert!(write(long).await.iter().all(Result::is_ok));
        assert_eq!(files(root.path()).len(), 2);
    }

    #[tokio::test]
    async fn what_cannot_be_put_in_place_leaves_no_draft() {
        let root = tempfile::tempdir().unwrap();
        let new = root.path().join("vakt/new/0000-0000-0007.0.ilbud");
        fs::create_dir_all(new.join("in the way")).unwrap();
        let mut one = copy("vakt", 0);
        one.first_try = true;
        let kept = keep(root.path().to_owned(), vec![one]).await;
        assert!(
            matches!(kept.as_slice(), [Err(Trouble::Disk(_))]),
            "{kept:?}"
        );
        assert!(files(root.path()).is_empty(), "{:?}", files(root.path()));
    }
}
