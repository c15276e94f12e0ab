//! Bytes to envelope: how clients hand their mail in.

pub mod command;
pub mod data;
pub mod server;
