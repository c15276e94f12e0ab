//! Ilbud: an internal mail relay between registered emergency control rooms.

pub mod lifecycle;
pub mod mail;
pub mod policy;
pub mod spool;
pub mod cli {
    pub mod certs;
}
