//! A ClamAV of one's own: signatures of this test's making, and a clamd with its own settings, at a
//! socket and at a port. Nothing is fetched.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use sha2::{Digest, Sha256};

use crate::fake_scanner::{EICAR, EICAR_NAME};
use crate::peer;
use crate::relay::free_port;
use crate::wait;

/// Where Debian's `clamav-testfiles` are: one small program, packed in many ways.
pub const TEST_FILES: &str = "/usr/share/clamav-testfiles";

/// What that program is called by these signatures, in whatever it is packed.
pub const TEST_NAME: &str = "ClamAV-Test-File";

/// As ClamAV says the name of a signature that is not its own.
pub fn found(name: &str) -> String {
    format!("{name}.UNOFFICIAL")
}

/// One of the test files.
pub fn test_file(name: &str) -> Vec<u8> {
    fs::read(Path::new(TEST_FILES).join(name)).unwrap()
}

/// All of them, by name.
pub fn test_files() -> Vec<String> {
    let files = fs::read_dir(TEST_FILES).unwrap();
    let mut names: Vec<String> = files
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Signatures for EICAR, for the test program, and for each file that it is packed in.
pub fn write_signatures(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|it| format!("{it:02x}")).collect() };
    let eicar = format!("{EICAR_NAME}:0:*:{}\n", hex(EICAR.as_bytes()));
    fs::write(folder.join("local.ndb"), eicar).unwrap();
    if !Path::new(TEST_FILES).exists() {
        return;
    }
    let mut hashes = String::new();
    for file in test_files() {
        let bytes = test_file(&file);
        let name = match file.as_str() {
            "clam.exe" => TEST_NAME.to_owned(),
            other => format!("Packed.{other}"),
        };
        let hash = hex(&Sha256::digest(&bytes));
        hashes.push_str(&format!("{hash}:{}:{name}\n", bytes.len()));
    }
    fs::write(folder.join("local.hsb"), hashes).unwrap();
}

/// What a stream may be at most for this clamd.
pub const STREAM_MAX: usize = 4 * 1024 * 1024;

/// A running clamd.
pub struct Clamd {
    home: tempfile::TempDir,
    pub port: u16,
    program: Child,
}

impl Clamd {
    pub fn start() -> Self {
        Self::with("AlertEncrypted yes\nAlertExceedsMax yes\n")
    }

    /// With these lines in its settings, besides what it cannot do without.
    pub fn with(more: &str) -> Self {
        let home = tempfile::Builder::new()
            .prefix("ilbud-clamd-")
            .tempdir()
            .unwrap();
        let port = free_port();
        write_signatures(&home.path().join("signatures"));
        let file = home.path().join("clamd.conf");
        fs::write(&file, settings(home.path(), port) + more).unwrap();
        let log = fs::File::create(home.path().join("log")).unwrap();
        let program = peer::command("clamd")
            .arg("--config-file")
            .arg(&file)
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        let mut clamd = Self {
            home,
            port,
            program,
        };
        wait::until("clamd", || {
            let ended = clamd.program.try_wait().unwrap();
            assert!(ended.is_none(), "clamd ended: {}", clamd.log());
            clamd.answers()
        });
        clamd
    }

    pub fn socket(&self) -> PathBuf {
        self.home.path().join("clamd.ctl")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    fn answers(&self) -> bool {
        let ping = || {
            let mut stream = UnixStream::connect(self.socket())?;
            stream.write_all(b"nPING\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        ping().is_ok_and(|it| it == "PONG\n")
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        drop(self.program.kill());
        drop(self.program.wait());
    }
}

fn settings(home: &Path, port: u16) -> String {
    let home = home.display();
    format!(
        "Foreground yes
DatabaseDirectory {home}/signatures
TemporaryDirectory {home}
LocalSocket {home}/clamd.ctl
TCPSocket {port}
TCPAddr 127.0.0.1
StreamMaxLength {STREAM_MAX}
MaxThreads 4
SelfCheck 0
MaxFileSize 16M
MaxScanSize 64M
"
    )
}
