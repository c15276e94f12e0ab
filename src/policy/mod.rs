//! Envelope to decision: who may send, to whom, and where it goes.
//!
//! Pure: the routing table, the peer and the time come in as arguments. Every decision names the
//! rule that made it and the table's revision. Unknown means refused or "try again", never accepted.

mod checks;
mod comments;
pub mod decide;
pub mod difference;
pub mod edit;
mod export;
mod graph;
pub mod keys;
pub mod lists;
mod next_hop;
mod read;
pub mod replay;
mod sources;
mod strictness;
pub mod table;
