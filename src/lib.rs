//! Ilbud: an internal mail relay between registered emergency control rooms.

pub mod mail;
pub mod policy;
pub mod spool;
