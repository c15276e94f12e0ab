//! A Dovecot of one's own: its own settings, mailboxes and log, LMTP on a port and a socket of its own,
//! and logins for a Postfix beside it.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;

use crate::peer;
use crate::relay::free_port;
use crate::wait;

/// User `ilbud`, password `s@k:r/t`.
const LOGIN: &str = "ilbud:{PLAIN.B64}c0BrOnIvdA==\n";

/// A running Dovecot that knows `vakt` and `full` at one domain; the latter's mailbox has no room left.
pub struct Dovecot {
    home: tempfile::TempDir,
    pub port: u16,
    program: Child,
}

impl Dovecot {
    /// Serves `domain` with the certificate `relay.pem` in `certs`.
    pub fn serving(domain: &str, certs: &Path) -> Self {
        let home = tempfile::Builder::new()
            .prefix("ilbud-dovecot-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        let port = free_port();
        let mail = home.path().join("mail");
        fs::create_dir(&mail).unwrap();
        peer::run("chown", &["1000", mail.to_str().unwrap()]);
        let mailbox = |local: &str, extra: &str| {
            let place = mail.join(local).display().to_string();
            format!("{local}@{domain}::1000:1000::{place}::{extra}\n")
        };
        let users = mailbox("vakt", "") + &mailbox("full", "userdb_quota_rule=*:bytes=1");
        fs::write(home.path().join("users"), users).unwrap();
        fs::write(home.path().join("logins"), LOGIN).unwrap();
        let file = home.path().join("dovecot.conf");
        fs::write(&file, settings(home.path(), port, certs)).unwrap();
        let program = peer::command("dovecot")
            .arg("-F")
            .arg("-c")
            .arg(&file)
            .spawn()
            .unwrap();
        let dovecot = Self {
            home,
            port,
            program,
        };
        wait::until("Dovecot", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok() && dovecot.logins().exists()
        });
        dovecot
    }

    /// Where LMTP is spoken without a network.
    pub fn socket(&self) -> PathBuf {
        self.home.path().join("lmtp")
    }

    /// Where a Postfix asks whether a user and a password belong together.
    pub fn logins(&self) -> PathBuf {
        self.home.path().join("auth")
    }

    /// The messages that arrived for a local part.
    pub fn maildir(&self, local: &str) -> Vec<Vec<u8>> {
        fs::read_dir(self.home.path().join("mail").join(local).join("new"))
            .into_iter()
            .flatten()
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .collect()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let id = self.program.id().to_string();
        if !peer::command("kill")
            .args(["-TERM", &id])
            .status()
            .is_ok_and(|status| status.success())
        {
            drop(self.program.kill());
        }
        drop(self.program.wait());
    }
}

fn settings(home: &Path, port: u16, certs: &Path) -> String {
    let home = home.display();
    let certs = certs.display();
    format!(
        "base_dir = {home}/run
state_dir = {home}/run
log_path = {home}/log
protocols = lmtp
ssl = yes
ssl_cert = <{certs}/relay.pem
ssl_key = <{certs}/relay.key
mail_location = maildir:~/
mail_plugins = quota
mail_save_crlf = yes
first_valid_uid = 1
auth_mechanisms = plain login
auth_failure_delay = 0
disable_plaintext_auth = no
passdb {{
  driver = passwd-file
  args = {home}/logins
}}
userdb {{
  driver = passwd-file
  args = {home}/users
}}
plugin {{
  quota = maildir:User quota
}}
service lmtp {{
  unix_listener {home}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service auth {{
  unix_listener {home}/auth {{
    mode = 0666
  }}
}}
"
    )
}
