//! Whom the relay believes at the other end, and how it shows who it is.
//!
//! Gives the TLS configuration for one next hop. Decides nothing about whether TLS is used.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::ClientConfig;

use super::outcome::Trouble;
use crate::policy::table::HopServer;
use crate::tls::{self, TlsFault};

/// What all next hops are judged by.
#[derive(Debug, Clone)]
pub struct Trust {
    verified: Arc<ClientConfig>,
    opportunistic: Arc<ClientConfig>,
}

impl Trust {
    /// `client_ca`: whom hops are judged by that name no authority of their own.
    pub fn new(client_ca: Option<&Path>) -> Result<Self, TlsFault> {
        Ok(Self {
            verified: tls::verifying_client(client_ca)?,
            opportunistic: tls::opportunistic_client()?,
        })
    }

    /// How to shake hands with `server`. `verified`: its certificate must prove that it is the one
    /// meant; otherwise any will do, since plain text would do.
    pub fn config(
        &self,
        _server: &HopServer,
        verified: bool,
    ) -> Result<Arc<ClientConfig>, Trouble> {
        Ok(Arc::clone(if verified {
            &self.verified
        } else {
            &self.opportunistic
        }))
    }
}
