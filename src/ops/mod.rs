//! What people may do to the running system, shared by the command line and the console.
//!
//! Each deed works on the store alone, so it works whether or not the relay runs; a running relay
//! notices within a second. Deeds decide through `policy` and `lifecycle` and never touch SQL.

pub mod answer;
pub mod credentials;
pub mod doubts;
pub mod edits;
pub mod evidence;
pub mod explain;
pub mod inquiry;
pub mod log;
pub mod measures;
pub mod outbreak;
pub mod plan;
pub mod privacy;
pub mod quarantine;
pub mod queue;
pub mod reason;
pub mod route_alarm;
pub mod routes;
pub mod scan;
pub mod second_look;
pub mod when;
pub mod workstations;
