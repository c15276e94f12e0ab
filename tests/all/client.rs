//! A workstation that says exactly what it is told to, byte for byte.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned,
};

const PATIENCE: Duration = Duration::from_secs(120);

/// One reply, its lines without code and hyphen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 0 when the connection was closed instead.
    pub code: u16,
    pub lines: Vec<String>,
}

impl Reply {
    /// Basic and enhanced code: `550 5.7.1`.
    pub fn said(&self) -> String {
        let first = self.lines.last().map_or("", String::as_str);
        let enhanced = first.split(' ').next().unwrap_or("");
        format!("{} {enhanced}", self.code)
    }

    pub fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// The reference that it ends with.
    pub fn reference(&self) -> String {
        let text = self.text();
        let last = text.rsplit([' ', '\n']).next().unwrap_or("");
        assert!(is_reference(last), "no reference at the end of {self}");
        last.to_owned()
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text())
    }
}

/// Three groups of four in Crockford's alphabet.
pub fn is_reference(text: &str) -> bool {
    let crockford = |c: char| c.is_ascii_digit() || (c.is_ascii_uppercase() && !"ILOU".contains(c));
    let groups: Vec<&str> = text.split('-').collect();
    groups.len() == 3
        && groups
            .iter()
            .all(|group| group.len() == 4 && group.chars().all(crockford))
}

pub trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

pub struct Client {
    socket: TcpStream,
    wire: Box<dyn Wire>,
    buffer: Vec<u8>,
    /// `tls-exporter` of the session (RFC 9266).
    pub binding: [u8; 32],
}

impl Client {
    /// Connects from `source` and reads nothing yet.
    pub fn silent(port: u16, source: &str) -> io::Result<Self> {
        let source: IpAddr = source.parse().unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        let relay = SocketAddr::from(([127, 0, 0, 1], port));
        socket.connect_timeout(&relay.into(), PATIENCE)?;
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            wire: Box::new(socket.try_clone()?),
            socket,
            buffer: Vec::new(),
            binding: [0; 32],
        })
    }

    /// Connects, hears 220 and says EHLO.
    pub fn greeted(port: u16, source: &str) -> Self {
        let mut client = Self::silent(port, source).unwrap();
        let greeting = client.reply();
        assert_eq!(greeting.code, 220, "{greeting}");
        assert_eq!(client.say("EHLO ws.test").code, 250);
        client
    }

    /// One reply, however many lines; code 0 when the other side hung up.
    pub fn reply(&mut self) -> Reply {
        let mut lines = Vec::new();
        loop {
            let Some(line) = self.line() else {
                return Reply { code: 0, lines };
            };
            let (code, rest) = line.split_at(line.len().min(3));
            let code = code.parse().unwrap_or(1);
            lines.push(rest.get(1..).unwrap_or("").to_owned());
            if !rest.starts_with('-') {
                return Reply { code, lines };
            }
        }
    }

    /// One line without its end; `None` when the other side hung up.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            let mut chunk = [0; 16 * 1024];
            match self.wire.read(&mut chunk) {
                Ok(0) => return None,
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("no reply within {PATIENCE:?}")
                }
                Err(_) => return None,
            }
        }
    }

    /// Says one command line and hears the reply.
    pub fn say(&mut self, line: impl AsRef<[u8]>) -> Reply {
        self.put(&[line.as_ref(), b"\r\n"].concat());
        self.reply()
    }

    /// Puts bytes on the wire as they are. That nobody listens any more shows in the next reply.
    pub fn put(&mut self, bytes: &[u8]) {
        let _ = self.wire.write_all(bytes).and_then(|()| self.wire.flush());
    }

    /// A whole transaction. Gives the first refusal, or the reply to the message.
    pub fn send(&mut self, sender: &str, recipients: &[&str], message: &[u8]) -> Reply {
        let refused = self.envelope(sender, recipients, "");
        refused.unwrap_or_else(|| self.data(message))
    }

    /// MAIL and RCPT; the first refusal, if any, after which the transaction is reset.
    pub fn envelope(
        &mut self,
        sender: &str,
        recipients: &[&str],
        parameters: &str,
    ) -> Option<Reply> {
        let mail = self.say(format!("MAIL FROM:<{sender}>{parameters}"));
        if mail.code != 250 {
            return Some(mail);
        }
        for recipient in recipients {
            let reply = self.say(format!("RCPT TO:<{recipient}>"));
            if reply.code != 250 {
                self.say("RSET");
                return Some(reply);
            }
        }
        None
    }

    /// DATA with a message, dots stuffed.
    pub fn data(&mut self, message: &[u8]) -> Reply {
        let go = self.say("DATA");
        if go.code != 354 {
            return go;
        }
        self.put(&stuffed(message));
        self.put(b".\r\n");
        self.reply()
    }

    /// STARTTLS, trusting the authority in `certs`; gives the relay's certificate.
    pub fn start_tls(&mut self, certs: &Path) -> Vec<u8> {
        let ready = self.say("STARTTLS");
        assert_eq!(ready.code, 220, "{ready}");
        self.shake_hands(certs)
    }

    pub fn shake_hands(&mut self, certs: &Path) -> Vec<u8> {
        self.shake_hands_with(trusting(certs))
    }

    /// The same, showing the certificate and key of these PEM files.
    pub fn shake_hands_as(&mut self, certs: &Path, name: &str) {
        let file = |end: &str| certs.join(format!("{name}.{end}"));
        let chain = vec![CertificateDer::from_pem_file(file("pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
        let settings = anonymous(certs).with_client_auth_cert(chain, key).unwrap();
        self.shake_hands_with(Arc::new(settings));
    }

    /// The same, showing whatever these are, whether they belong together or not.
    pub fn shake_hands_showing(
        &mut self,
        certs: &Path,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) {
        let settings = anonymous(certs);
        let key = settings
            .crypto_provider()
            .key_provider
            .load_private_key(key);
        let shown = CertifiedKey::new(chain, key.unwrap());
        let shown = SingleCertAndKey::from(shown);
        self.shake_hands_with(Arc::new(
            settings.with_client_cert_resolver(Arc::new(shown)),
        ));
    }

    /// What it is connected with, for who wants to say and hear it all itself.
    pub fn into_wire(self) -> (TcpStream, Box<dyn Wire>) {
        (self.socket, self.wire)
    }

    fn shake_hands_with(&mut self, settings: Arc<ClientConfig>) -> Vec<u8> {
        let mut connection = connection(settings);
        let mut socket = self.socket.try_clone().unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).unwrap();
        }
        let label = b"EXPORTER-Channel-Binding";
        let binding = connection.export_keying_material([0; 32], label, Some(b""));
        self.binding = binding.unwrap();
        let leaf = connection.peer_certificates().unwrap()[0].to_vec();
        self.wire = Box::new(StreamOwned::new(connection, socket));
        leaf
    }
}

/// Our side of TLS, before its first word.
pub fn connection(settings: Arc<ClientConfig>) -> ClientConnection {
    let host = ServerName::try_from("relay.nodnett.test").unwrap();
    ClientConnection::new(settings, host).unwrap()
}

pub fn trusting(certs: &Path) -> Arc<ClientConfig> {
    Arc::new(anonymous(certs).with_no_client_auth())
}

fn anonymous(certs: &Path) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(certs.join("ca.pem")).unwrap())
        .unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let settings = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    settings.with_root_certificates(roots)
}

/// RFC 5321 §4.5.2, from the sender's side.
pub fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + 16);
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    wire
}

/// A mailbox `vakt` of a lettered room.
pub fn vakt(letter: &str) -> String {
    format!("vakt@{letter}.nodnett.test")
}

/// A small message of its own.
pub fn letter(from: &str, to: &str) -> Vec<u8> {
    letter_saying(from, to, "hei\r\n")
}

pub fn letter_saying(from: &str, to: &str, body: &str) -> Vec<u8> {
    let id = next_id();
    format!(
        "From: {from}\r\nTo: {to}\r\nSubject: pr\u{f8}ve {id}\r\nMessage-ID: <{id}@ws.test>\r\n\
         Date: Sun, 22 Nov 2026 12:00:00 +0100\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A message with exactly these From fields.
pub fn letter_from_fields(fields: &str) -> Vec<u8> {
    format!(
        "{fields}To: vakt@b.nodnett.test\r\nSubject: hei\r\nMessage-ID: <{}@ws.test>\r\n\
         Date: Sun, 22 Nov 2026 12:00:00 +0100\r\n\r\nhei\r\n",
        next_id()
    )
    .into_bytes()
}

/// Unique in this run.
pub fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
