//! A sans-IO ICE agent.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod candidate;
mod credentials;
mod random;
mod sdp;
#[cfg(feature = "sim")]
pub mod sim;
mod stream;
mod time;
mod transmit;

pub use candidate::{
    Candidate, CandidateAddress, CandidateKind, Foundation, ParseFoundationError, Priority, TcpType, TypePreferences,
};
pub use credentials::{Credentials, ParseCredentialError, Password, Ufrag};
pub use random::Seed;
#[cfg(feature = "os-rng")]
pub use random::SeedError;
pub use stream::{ComponentId, StreamId};
pub use time::Instant;
pub use transmit::{Datagram, Transmit, Transport};
