//! A c-icap of one's own, with its `virus_scan` in front of a clamd of its own: settings, sockets and
//! signatures in a temporary folder. The signatures are one: EICAR, wherever it stands.

use std::fs;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fake_icap::EICAR;
use crate::peer;
use crate::relay::free_port;
use crate::wait;

/// How clamd calls it, since it is no signature of ClamAV's.
pub const FOUND: &str = "Eicar-Local.UNOFFICIAL";

/// More than this c-icap does not scan.
pub const MAX_OBJECT: usize = 1 << 20;

pub struct CIcap {
    home: tempfile::TempDir,
    pub port: u16,
    program: Option<Child>,
    clamd: Option<Child>,
}

impl CIcap {
    pub fn start() -> Self {
        let home = tempfile::Builder::new()
            .prefix("ilbud-c-icap-")
            .tempdir()
            .unwrap();
        let mut icap = Self {
            home,
            port: free_port(),
            program: None,
            clamd: None,
        };
        icap.start_clamd();
        let settings = settings(icap.home.path(), icap.port);
        fs::write(icap.home.path().join("c-icap.conf"), settings).unwrap();
        icap.go();
        icap
    }

    fn start_clamd(&mut self) {
        let home = self.home.path();
        let signatures = home.join("signatures");
        fs::create_dir(&signatures).unwrap();
        let hex: String = EICAR.bytes().map(|it| format!("{it:02x}")).collect();
        fs::write(
            signatures.join("local.ndb"),
            format!("Eicar-Local:0:*:{hex}\n"),
        )
        .unwrap();
        let socket = home.join("clamd");
        let text = format!(
            "Foreground yes\nLocalSocket {}\nDatabaseDirectory {}\nTemporaryDirectory {}\n",
            socket.display(),
            signatures.display(),
            home.display()
        );
        let file = home.join("clamd.conf");
        fs::write(&file, text).unwrap();
        let mut clamd = peer::command("clamd");
        clamd.arg("-c").arg(&file);
        clamd.stdout(Stdio::null()).stderr(Stdio::null());
        self.clamd = Some(clamd.spawn().unwrap());
        wait::until("clamd", || socket.exists());
    }

    /// Starts it, where it was before.
    pub fn go(&mut self) {
        let mut program = peer::command("c-icap");
        program.arg("-N").arg("-f");
        program.arg(self.home.path().join("c-icap.conf"));
        program.stdout(Stdio::null()).stderr(Stdio::null());
        self.program = Some(program.spawn().unwrap());
        let port = self.port;
        wait::until("c-icap", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// Kills it, with the processes that it has started: asked to end, it waits for whoever is connected.
    pub fn stop(&mut self) {
        kill(self.program.take());
        let port = self.port;
        // Its listener is its children's too, and gone with the last of them.
        wait::until("c-icap to be gone", || {
            TcpStream::connect(("127.0.0.1", port)).is_err()
        });
    }

    /// Ends what it asks.
    pub fn stop_clamd(&mut self) {
        kill(self.clamd.take());
    }

    pub fn url(&self, port: u16) -> String {
        format!("icap://127.0.0.1:{port}/virus_scan")
    }
}

impl Drop for CIcap {
    fn drop(&mut self) {
        kill(self.program.take());
        kill(self.clamd.take());
    }
}

fn kill(program: Option<Child>) {
    let Some(mut program) = program else { return };
    let id = program.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    drop(program.kill());
    for child in children.unwrap_or_default().split_whitespace() {
        drop(peer::command("kill").args(["-KILL", child]).status());
    }
    drop(program.wait());
}

fn settings(home: &Path, port: u16) -> String {
    let home = home.display();
    let modules = modules();
    format!(
        "PidFile {home}/c-icap.pid
CommandsSocket {home}/c-icap.ctl
ServerLog {home}/server.log
AccessLog {home}/access.log
Port 127.0.0.1:{port}
StartServers 1
MaxServers 1
MinSpareThreads 1
MaxSpareThreads 8
ThreadsPerChild 8
TmpDir {home}
ModulesDir {modules}
ServicesDir {modules}
TemplateDir /usr/share/c_icap/templates/
LoadMagicFile /etc/c-icap/c-icap.magic
Module common clamd_mod.so
clamd_mod.ClamdSocket {home}/clamd
Service antivirus_module virus_scan.so
virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE
virus_scan.MaxObjectSize {MAX_OBJECT}
virus_scan.SendPercentData 5
virus_scan.StartSendPercentDataAfter 512K
"
    )
}

/// Where Debian has c-icap's modules.
fn modules() -> String {
    let libraries = fs::read_dir("/usr/lib").unwrap();
    let folders = libraries.map(|it| it.unwrap().path().join("c_icap"));
    let mut with_module = folders.filter(|it| it.join("virus_scan.so").is_file());
    let found = with_module.next().expect("c-icap's virus_scan");
    found.display().to_string()
}

/// Passes connections on to a port, and counts them.
pub struct Counted {
    pub port: u16,
    connections: Arc<AtomicUsize>,
}

impl Counted {
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for here in listener.incoming() {
                let Ok(here) = here else { break };
                count.fetch_add(1, Ordering::SeqCst);
                let Ok(there) = TcpStream::connect(("127.0.0.1", target)) else {
                    continue;
                };
                pass_on(&here, &there);
                pass_on(&there, &here);
            }
        });
        Self { port, connections }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn pass_on(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}
