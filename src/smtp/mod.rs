//! Bytes to envelope: how clients hand their mail in.
//!
//! `session` is the dialogue and is pure, as are the parts it is made of: `line` and `command` read
//! commands, `xtext` the alphabet of some of their parameters, `data` reads content, `transaction`
//! gathers what becomes a message. `server` is the shell with sockets, TLS and deadlines around it. A
//! 250 for a message leaves here only on the strength of a receipt of the spool.

pub mod auth;
pub mod command;
pub mod data;
mod line;
pub mod proxy;
pub mod server;
pub mod session;
mod transaction;
pub mod xtext;
