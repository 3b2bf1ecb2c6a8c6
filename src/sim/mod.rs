//! A simulated network to test agents on: hosts, NATs and links under one virtual clock.
//!
//! [`Network`] carries datagrams between hosts. It knows nothing of ICE and does no I/O. Its clock moves only when it is
//! told to, and everything random in it comes from one [`Seed`](crate::Seed): the same seed and the same calls give the
//! same packets at the same times.
//!
//! ```
//! use std::net::SocketAddr;
//! use nilas::sim::{NatConfig, Network};
//! use nilas::Seed;
//!
//! let mut network = Network::new(Seed::from_name("example"));
//! let (l, r) = (network.add_host("L"), network.add_host("R"));
//! let nat = network.add_nat(NatConfig::port_restricted(["192.0.2.1".parse()?]))?;
//! network.add_interface_behind(nat, l, "10.0.0.2".parse()?)?;
//! network.add_interface(r, "198.51.100.7".parse()?)?;
//!
//! let (from, to): (SocketAddr, SocketAddr) = ("10.0.0.2:5000".parse()?, "198.51.100.7:6000".parse()?);
//! network.send(l, from, to, b"hello");
//! while let Some(due) = network.next_delivery() {
//!     network.advance_to(due);
//!     while let Some(delivery) = network.pop_delivery() {
//!         assert_eq!((delivery.host, delivery.source.ip()), (r, "192.0.2.1".parse()?));
//!         assert_eq!(delivery.payload, b"hello");
//!         network.recycle(delivery.payload);
//!     }
//! }
//! assert_eq!(network.delivered(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Model
//!
//! A packet passes the firewall of its host, the link of its interface and the NATs of its sender at the moment of
//! sending. Then it takes the time that the links say. The NATs of the receiver, the state of its interface and its
//! firewall count at the moment of arrival, so that a filter which opens while a packet is in flight lets it in.
//!
//! Hosts behind the same NAT reach each other directly. Every address of a host takes packets on every port.
//!
//! There is no ICMP, and there are no fragments and no queues: links have no bandwidth. A NAT that preserves ports does
//! not give the same port to two mappings (RFC 4787 §4.2.1 calls that overloading).
//!
//! TCP connections ([`Network::connect`], [`Network::listen`]) cross the same links and NATs. Their bytes arrive in order,
//! in pieces of any length; what a link loses is sent again a little later. Firewall rules for TCP are rules of their own.
//!
//! # Oracle
//!
//! [`oracle::find_paths`] says from the topology alone whether two hosts have a path that ICE must find.

mod call;
mod dice;
mod digest;
mod explore;
mod host;
pub mod invariants;
mod link;
mod nat;
mod network;
mod op;
pub mod oracle;
mod pair;
mod peer;
mod perform;
mod saying;
mod scene;
mod server;
mod setup;
mod small;
mod topology;
mod trace;
mod transcript;
mod trials;
mod wire;
mod world;

pub use call::Call;
pub use explore::{Budget, Explored, SmallWorld};
pub use host::{Direction, FirewallRule, HostId, PeerMatch};
pub use invariants::{Invariants, audit, is_consent_check};
pub use link::{BurstLoss, Link};
pub use nat::{FilterScope, Filtering, Mapping, NatConfig, NatId, Pooling, PortAssignment, Translation};
pub use network::{Delivery, Network, Passing, StreamEvent, StreamSocketId, Verdict};
pub use op::{Fault, Op, Poll, regression_test};
pub use pair::Pair;
pub use peer::{Peer, ReceivedData, Sent};
pub use saying::{Attribute, Saying, Voice};
pub use scene::{SCENES, Scene};
pub use server::{ServedRequest, Server, ServerMethod};
pub use setup::{PairSetup, SideName, SideSetup};
pub use small::small_worlds;
pub use topology::TopologyError;
pub use trace::{DropReason, Packet, PacketFate, PacketId};
pub use transcript::{ParseRecordingError, Recording, Transcript};
pub use wire::{MessageBuilder, Wire, WireRequest, compare_readers, is_genuine};
pub use world::{Expected, Outcome, World};
