//! A sans-IO ICE agent.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod agent;
mod candidate;
mod check;
mod checklist;
mod config;
mod consent;
mod credentials;
mod event;
mod nomination;
mod pair;
mod random;
mod sdp;
#[cfg(feature = "sim")]
pub mod sim;
mod stats;
mod stream;
mod stun;
mod time;
mod transmit;

pub use agent::{
    AddLocalCandidateError, AddRemoteCandidateError, AddStreamError, Agent, ConnectionState, GatheringState,
    LocalCandidateView, NominateError, PairView, Received, RemoteCandidateOutcome, RemoteCandidateView,
    RemoteDescription, Role, SendError, SetRemoteDescriptionError, StateReason, UnknownStream, UnusableAddress,
};
pub use candidate::{
    Candidate, CandidateAddress, CandidateId, CandidateKind, Foundation, ParseFoundationError, Priority, TcpType,
    TypePreferences,
};
pub use config::{Config, ConfigError, DataFilter, NominationChoice, RtoFormula};
pub use consent::PathHealth;
pub use credentials::{Credentials, ParseCredentialError, Password, Ufrag};
pub use event::Event;
pub use nomination::{
    ApplicationNominates, BetterPairs, NominationDecision, NominationPolicy, NominationView, SettleWindow, ValidPair,
};
pub use pair::{CandidatePairState, PairId, PairPriority, PairStats};
pub use random::Seed;
#[cfg(feature = "os-rng")]
pub use random::SeedError;
pub use sdp::{
    AddIceCandidateError, AppendCandidateError, CredentialsChange, IceCandidateInit, IceDescription,
    IceDescriptionError, IceMedia, IceOptions, ParseCandidateError, ParseIceDescriptionError, ParseIceOptionsError,
    ReceiveFragmentError, RemoteCandidate, ResolvedCandidate, SkippedCandidate, TrickleFragment, TrickleItem,
    TrickleReceiver,
};
pub use stats::{AgentStats, DropReason};
pub use stream::{ComponentId, StreamId};
pub use time::Instant;
pub use transmit::{Datagram, Transmit, Transport};
