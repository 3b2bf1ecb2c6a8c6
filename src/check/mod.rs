//! Connectivity checks: what requests and responses mean, and how they are repeated (RFC 8445 §7, §14).

pub(crate) mod client;
mod pacing;
mod search;
pub(crate) mod server;

pub(crate) use pacing::Pacer;
pub(crate) use search::Search;
