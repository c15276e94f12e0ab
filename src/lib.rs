//! Ilbud: an internal mail relay between registered emergency control rooms.

pub mod config;
pub mod delivery;
pub mod document;
pub mod lifecycle;
pub mod limits;
pub mod mail;
pub mod nearest;
pub mod policy;
pub mod queue;
pub mod smtp;
pub mod spool;
pub mod tls;
