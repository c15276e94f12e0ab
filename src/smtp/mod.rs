//! Bytes to envelope: how clients hand their mail in.
//!
//! `session` is the dialogue and is pure, as are the parts it is made of: `line` and `command` read
//! commands, `xtext` the alphabet of some of their parameters, `data` reads content, `transaction`
//! gathers what becomes a message. Around it are the sockets: `server` has the listeners, `visit` one
//! connection with its TLS, `patience` its deadlines.
//! A 250 for a message leaves here only on the strength of a receipt of the spool.

pub mod auth;
pub mod command;
pub mod data;
mod line;
pub mod patience;
pub mod proxy;
pub mod server;
pub mod session;
mod transaction;
mod visit;
pub mod xtext;
