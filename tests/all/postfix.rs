//! A Postfix of one's own: its own settings, queue and log, on a port of its own, out of any chroot.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::peer;
use crate::relay::free_port;
use crate::wait;

const SERVICES: &str = "\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

/// A running Postfix that keeps mail for one domain in Maildirs.
pub struct Postfix {
    home: tempfile::TempDir,
    pub port: u16,
    /// TLS from the first byte.
    pub secure_port: u16,
    master: Child,
}

impl Postfix {
    /// Serves `domain` with the certificate `relay.pem` in `certs`.
    pub fn serving(domain: &str, certs: &Path) -> Self {
        Self::set(domain, certs, &[])
    }

    /// The same, with more lines of settings.
    pub fn set(domain: &str, certs: &Path, more: &[&str]) -> Self {
        let home = tempfile::Builder::new()
            .prefix("ilbud-postfix-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        let (port, secure_port) = (free_port(), free_port());
        for folder in ["etc", "queue", "data", "mail"] {
            fs::create_dir(home.path().join(folder)).unwrap();
        }
        peer::run("chown", &["postfix", path(&home, "data").to_str().unwrap()]);
        peer::run("chown", &["1000", path(&home, "mail").to_str().unwrap()]);
        fs::write(
            path(&home, "etc/main.cf"),
            settings(home.path(), domain, certs) + &more.join("\n"),
        )
        .unwrap();
        let services = format!(
            "127.0.0.1:{port} inet n - n - - smtpd\n\
             127.0.0.1:{secure_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n{SERVICES}"
        );
        fs::write(path(&home, "etc/master.cf"), services).unwrap();
        let log = fs::File::create(path(&home, "start.log")).unwrap();
        let master = peer::command("postfix")
            .arg("-c")
            .arg(path(&home, "etc"))
            .arg("start-fg")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let postfix = Self {
            home,
            port,
            secure_port,
            master,
        };
        wait::until("Postfix", || {
            [port, secure_port].map(|it| TcpStream::connect(("127.0.0.1", it)).is_ok()) == [true; 2]
        });
        postfix
    }

    /// The messages that arrived for a local part.
    pub fn maildir(&self, local: &str) -> Vec<Vec<u8>> {
        fs::read_dir(path(&self.home, "mail").join(local).join("new"))
            .into_iter()
            .flatten()
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .collect()
    }

    /// What it keeps of the only message in its hold queue: a line for each attribute.
    pub fn held(&self) -> String {
        let queue = path(&self.home, "queue/hold");
        let file = wait::find("a held message", || fs::read_dir(&queue).ok()?.next());
        let id = file.unwrap().file_name().into_string().unwrap();
        let settings = path(&self.home, "etc");
        peer::run(
            "postcat",
            &["-c", settings.to_str().unwrap(), "-e", "-q", &id],
        )
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(path(&self.home, "mail.log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let stopped = Command::new(peer::program("postfix").unwrap())
            .arg("-c")
            .arg(path(&self.home, "etc"))
            .arg("abort")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            drop(self.master.kill());
        }
        drop(self.master.wait());
    }
}

fn path(home: &tempfile::TempDir, name: &str) -> PathBuf {
    home.path().join(name)
}

fn settings(home: &Path, domain: &str, certs: &Path) -> String {
    let mut settings = String::new();
    let home = home.display();
    let certs = certs.display();
    for line in [
        "compatibility_level = 3.6".to_owned(),
        format!("queue_directory = {home}/queue"),
        format!("data_directory = {home}/data"),
        "command_directory = /usr/sbin".to_owned(),
        "daemon_directory = /usr/lib/postfix/sbin".to_owned(),
        "mail_owner = postfix".to_owned(),
        "setgid_group = postdrop".to_owned(),
        "myhostname = hop.nodnett.test".to_owned(),
        "mydestination =".to_owned(),
        "alias_maps =".to_owned(),
        "alias_database =".to_owned(),
        "inet_interfaces = 127.0.0.1".to_owned(),
        "inet_protocols = ipv4".to_owned(),
        "mynetworks = 127.0.0.0/8".to_owned(),
        format!("virtual_mailbox_domains = {domain}"),
        format!("virtual_mailbox_base = {home}/mail"),
        "virtual_mailbox_maps = static:vakt/".to_owned(),
        "virtual_uid_maps = static:1000".to_owned(),
        "virtual_gid_maps = static:1000".to_owned(),
        format!("maillog_file = {home}/mail.log"),
        format!("maillog_file_prefixes = {home}"),
        "smtpd_tls_security_level = may".to_owned(),
        format!("smtpd_tls_cert_file = {certs}/relay.pem"),
        format!("smtpd_tls_key_file = {certs}/relay.key"),
        "smtpd_tls_loglevel = 1".to_owned(),
        "smtpd_tls_received_header = yes".to_owned(),
    ] {
        writeln!(settings, "{line}").unwrap();
    }
    settings
}
