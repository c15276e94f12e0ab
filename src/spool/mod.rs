//! The only memory: what is accepted is kept here, and every change of it goes through here.

pub mod store;
