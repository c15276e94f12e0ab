//! The bytes between the relay and a next hop: over TCP, TLS or a Unix socket.
//!
//! The crate `mail-send` lives here; it connects and shakes hands. Decides nothing. Fails with the
//! network's or the TLS library's words.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use mail_send::SmtpClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

use super::super::outcome::Trouble;

pub enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Socket(UnixStream),
}

impl Wire {
    pub async fn connect(address: SocketAddr, wait: Duration) -> Result<Self, Trouble> {
        match SmtpClient::connect(address, wait).await {
            Ok(client) => {
                // Commands are small and waited for. Without it they are only slower.
                let _ = client.stream.set_nodelay(true);
                Ok(Self::Plain(client.stream))
            }
            Err(mail_send::Error::Timeout) => Err(Trouble::Silent(wait)),
            Err(mail_send::Error::Io(error)) => Err(Trouble::network(&error)),
            Err(other) => Err(Trouble::Network(other.to_string())),
        }
    }

    pub async fn connect_socket(path: &Path, wait: Duration) -> Result<Self, Trouble> {
        match timeout(wait, UnixStream::connect(path)).await {
            Ok(Ok(stream)) => Ok(Self::Socket(stream)),
            Ok(Err(error)) => Err(Trouble::network(&error)),
            Err(_) => Err(Trouble::Silent(wait)),
        }
    }

    /// Shakes hands with the server called `name`; gives what was agreed on, too.
    pub async fn secure(
        self,
        config: Arc<ClientConfig>,
        name: &str,
        wait: Duration,
    ) -> Result<(Self, String), Trouble> {
        let Self::Plain(stream) = self else {
            return Err(Trouble::Ours("TLS was started twice".into()));
        };
        let client = SmtpClient {
            stream,
            timeout: wait,
        };
        let connector = TlsConnector::from(config);
        let client = client.into_tls(&connector, name).await.map_err(|error| {
            Trouble::Tls(match error {
                mail_send::Error::Tls(e) => plainly(&e.to_string()),
                mail_send::Error::Io(e) => plainly(&e.to_string()),
                mail_send::Error::Timeout => "the handshake took too long".into(),
                other => other.to_string(),
            })
        })?;
        let agreed = agreed(client.tls_connection());
        Ok((Self::Tls(Box::new(client.stream)), agreed))
    }

    pub async fn read(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read_buf(into).await,
            Self::Tls(stream) => stream.read_buf(into).await,
            Self::Socket(stream) => stream.read_buf(into).await,
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Self::Socket(stream) => stream.write_all(bytes).await,
        }
    }
}

/// What our own check of a certificate says is expected: the library says that it is not.
fn plainly(words: &str) -> String {
    let own = words.strip_prefix("unexpected error: ");
    own.unwrap_or(words).to_owned()
}

/// `TLSv1.3 TLS13_AES_256_GCM_SHA384`
fn agreed(connection: &ClientConnection) -> String {
    let version = connection.protocol_version().and_then(|it| it.as_str());
    let cipher = connection.negotiated_cipher_suite();
    let cipher = cipher.and_then(|it| it.suite().as_str());
    // RFC 8446 §1.2's way of writing a version, as in the Received field.
    let version = version.unwrap_or("TLS").replace('_', ".");
    format!("{version} {}", cipher.unwrap_or("unknown"))
}
