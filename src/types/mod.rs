//! The words that all rooms speak. They know nothing but each other.

pub(crate) mod address;
mod ids;
mod path;
mod random;
mod renomination;
mod retransmission;
mod role;
mod states;
mod time;
mod traffic_class;
mod transport;

pub use ids::{CandidateId, ComponentId, ConnectionId, PairId, StreamId};
pub(crate) use path::{Flow, Path};
pub(crate) use random::Random;
pub use random::Seed;
#[cfg(feature = "os-rng")]
pub use random::SeedError;
pub use renomination::Renomination;
pub(crate) use retransmission::{Retransmission, Schedule};
pub use role::Role;
pub(crate) use role::{RoleVerdict, Tiebreaker, judge};
pub use states::{ConnectionState, GatheringState, PathHealth, StateReason};
pub use time::Instant;
pub(crate) use time::{after, earliest, last};
pub use traffic_class::{Ecn, TrafficClass};
pub use transport::{RelayProtocol, Transport};
