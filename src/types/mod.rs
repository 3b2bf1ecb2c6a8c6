//! The words that all rooms speak. They know nothing but each other.

pub(crate) mod address;
mod arena;
mod framer;
mod ids;
mod path;
mod queue;
mod random;
mod recent;
mod renomination;
mod retransmission;
mod role;
mod states;
mod time;
mod traffic_class;
mod transport;
pub(crate) mod work;

pub(crate) use arena::{Arena, Handle, Kept};
pub(crate) use framer::{Delimited, Frame, Framer};
pub use ids::{CandidateId, ComponentId, ConnectionId, PairId, StreamId};
pub(crate) use path::{Flow, Path};
pub(crate) use queue::Queue;
pub(crate) use random::Random;
pub use random::Seed;
#[cfg(feature = "os-rng")]
pub use random::SeedError;
pub(crate) use recent::Recent;
pub use renomination::Renomination;
pub(crate) use retransmission::{CONSENT_EXPIRY, Retransmission, Schedule};
pub use role::Role;
pub(crate) use role::{RoleVerdict, Tiebreaker, judge};
pub use states::{ConnectionState, GatheringState, PathHealth, StateReason};
pub use time::Instant;
pub(crate) use time::{after, earliest, last};
pub use traffic_class::{Ecn, TrafficClass};
pub use transport::{RelayProtocol, Transport};
