//! Behaviour of whole agents, through the public API and the simulator.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "test code"
)]

mod components;
mod connect;
mod controlled;
mod data;
mod explore;
mod help;
mod nomination;
mod peers;
mod script;
mod states;
mod stats;
mod wild;
