//! Ilbud: an internal mail relay between registered emergency control rooms.
//!
//! The five-minute tour, in the order in which a message meets the files. One sentence holds it
//! together: pure code decides, one spool remembers, thin shells do; every change of a message's
//! state is committed together with the event that explains it.
//!
//! 1. [`cli`] runs one command. `serve` makes what is missing and starts the [`relay`], which wires
//!    the parts below and owns their lifetime. [`config`] is the file as written → the settings as
//!    checked; each part's `Settings` stand beside its code.
//! 2. [`mail`] is the words everyone speaks: addresses, references, envelopes, replies, events.
//!    [`document`] and [`nearest`] read TOML with all its mistakes and suggest what was meant;
//!    [`pattern`] compares text as people do; [`spreadsheet`] reads and writes CSV.
//! 3. [`smtp`] turns bytes into an envelope: `command` reads a line, `data` the message, `session`
//!    is the state machine, all pure; `server` and `visit` own sockets and deadlines and obey it.
//! 4. [`policy`] decides: who may send, to whom, and where it goes, by the routing table alone. How a table
//!    is read, warned of, edited, compared and written stands there too; [`ops`] puts one in force.
//! 5. [`scan`] asks the built-in rules and every engine for a verdict, before the 250 for as long as the
//!    sender waits, and after it otherwise: nothing is delivered without one. `watch` looks after the engines.
//! 6. [`lifecycle`] says what may become of a message: each move is a `Change`, with its events and
//!    any report to the sender.
//! 7. [`spool`] is the only memory. Nothing says 250 without the `Receipt` of a commit.
//! 8. [`queue`] gives each room its lane of workers, the urgent first, and a door that is shut while
//!    nobody at its next hops can be spoken with; [`delivery`] makes one attempt, and turns a hop's
//!    trouble into an outcome, which goes back to 6.
//! 9. [`ops`] is what people may do to all this, for the command line now and a console later.
//!
//! Beside the road: [`limits`] (how much one client may send), [`credential`] (what is kept in the place
//! of a password), [`tls`] (certificates), [`stamp`] (whether a file has changed), [`secrecy`] (whether
//! it is nobody else's to read), [`stop`] (the word that it is over) and [`supervisor`] (what systemd is told).

pub mod cli;
pub mod relay;

pub mod config;

pub mod ops;

pub mod smtp;

pub mod scan;

pub mod queue;

pub mod delivery;
pub mod spool;

pub mod limits;
pub mod secrecy;
pub mod stamp;
pub mod stop;
pub mod supervisor;
pub mod tls;

pub mod lifecycle;
pub mod policy;

pub mod credential;
pub mod document;
pub mod evidence;
pub mod mail;
pub mod nearest;
pub mod pattern;
pub mod spreadsheet;
