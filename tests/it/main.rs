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

mod aftermath;
mod agreement;
mod client;
mod close;
mod components;
mod connect;
mod consent;
mod control;
mod controlled;
mod data;
mod describe;
mod determinism;
mod duo;
mod early;
mod edges;
mod explore;
mod freshness;
mod gathering;
mod gathering_net;
mod help;
mod hostile;
mod keepalive;
mod late_network;
mod limits;
mod limits_of_tables;
mod limits_of_trust;
mod lite;
mod lite_silence;
mod local_candidates;
mod lone;
mod many_streams;
mod mapped;
mod mappings;
mod merge;
mod named_addresses;
mod nat;
mod nomination;
mod ops;
mod pairing;
mod peers;
mod policies;
mod progress;
mod rebinding;
mod relay;
mod relay_distrust;
mod relay_doubt;
mod relay_moves;
mod relay_nat;
mod removal;
mod removed_remote;
mod renomination;
mod repetition;
mod reserve;
mod restart;
mod roaming;
mod roles;
mod room;
mod route;
mod scheduling;
mod script;
mod secrets;
mod send_errors;
mod server;
mod server_node;
mod silent_connections;
mod solo;
mod states;
mod stats;
mod streams;
mod tables;
mod tcp;
mod tcp_limits;
mod tcp_sim;
mod topologies;
mod transcripts;
mod trickle;
mod triggered;
mod unruly;
mod vectors;
mod webrtc;
mod wild;
mod worlds;
