//! Ilbud judged from outside: the real binary, real sockets, and the delivery log as witness.
//!
//! A module is a scenario, named by it. What the scenarios share comes first: a relay of one's own,
//! a raw SMTP client, a server that keeps what it is sent, and the one way to wait. Nothing leaves
//! loopback, and a test ends no process but its own children.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod attempt;
mod c_icap;
mod clamav;
mod client;
mod dovecot;
mod fake_hop;
mod fake_icap;
mod fake_scanner;
mod graceful_stop;
mod peer;
mod postfix;
mod relay;
mod scans;
mod sink;
mod transcript;
mod wait;

mod asked_for;
mod bad_orders;
mod bounces;
mod bytes;
mod certificates;
mod clamd;
mod clock_steps;
mod command;
mod commands;
mod crash;
mod dead_rooms;
mod disk_full;
mod durability;
mod exceptions;
mod gateways;
mod hardened;
mod hop_back;
mod hop_extensions;
mod hop_login;
mod hop_security;
mod hostile;
mod house;
mod icap;
mod injection;
mod inside;
mod keys;
mod lateness;
mod lifetime;
mod limits;
mod live_redirects;
mod lmtp;
mod log_answer;
mod log_box;
mod log_curious;
mod log_evidence;
mod log_export;
mod log_forgetting;
mod log_hostile;
mod log_index;
mod log_privacy;
mod log_retention;
mod log_unfindable;
mod logins;
mod members;
mod names;
mod next_hops;
mod nodemailer;
mod nothing_leaves;
mod operator;
mod outbreak;
mod outbreak_effects;
mod own_room_only;
mod proxied;
mod quarantine;
mod queue;
mod queue_list;
mod real_hops;
mod real_icap;
mod real_peers;
mod rendered;
mod reports;
mod restart;
mod rooms;
mod route_checks;
mod route_comments;
mod route_confirm;
mod route_csv;
mod route_editor;
mod route_edits;
mod route_explain;
mod route_live;
mod route_plan;
mod route_properties;
mod route_storm;
mod route_times;
mod routes;
mod scan_chance;
mod scan_crash;
mod scan_engines;
mod scan_faults;
mod scan_hostile;
mod scan_memory;
mod scan_status;
mod scan_turns;
mod scanning;
mod secrets;
mod smuggling;
mod space;
mod store;
mod store_trouble;
mod strictness;
mod supervised;
mod throughput;
mod tls;
mod transcripts;
mod transcripts_over_sockets;
mod unscannable;
mod upgrade;
mod urgency;
mod whose_report;
mod workstations;
