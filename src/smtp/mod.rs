//! Bytes to envelope: how clients hand their mail in.

pub mod server;
