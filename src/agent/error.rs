//! What can be wrong with a call. A call that fails changes nothing.

use alloc::boxed::Box;
use core::net::SocketAddr;

use crate::candidate::UnusableAddress;
use crate::types::{CandidateId, ComponentId, PairId, StreamId};

/// The agent has no stream of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no stream {0}")]
#[non_exhaustive]
pub struct UnknownStream(pub StreamId);

/// The agent has no pair of this name, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no pair {0}")]
#[non_exhaustive]
pub struct UnknownPair(pub PairId);

/// Why a stream was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddStreamError {
    /// A stream has 1 to 256 components.
    #[error("a stream has 1 to 256 components, not {0}")]
    ComponentCount(u16),
    /// There are as many streams as there may be: [`Agent::MAX_STREAMS`](crate::Agent::MAX_STREAMS).
    #[error("there are {0} streams already")]
    TooMany(usize),
    /// The agent is closed.
    #[error("the agent is closed")]
    Closed,
}

/// Why a local candidate was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddLocalCandidateError {
    /// The agent has no such stream.
    #[error("no stream {0}")]
    UnknownStream(StreamId),
    /// The stream has no such component.
    #[error("the stream has no component {0}")]
    UnknownComponent(ComponentId),
    /// The address cannot be that of a candidate (RFC 8445 §5.1.1.1).
    #[error("{0} cannot be the address of a candidate: {1}")]
    UnusableAddress(SocketAddr, UnusableAddress),
    /// Another stream or component uses this address already.
    #[error("{0} belongs to another component")]
    AddressInUse(SocketAddr),
    /// The base of a reflexive candidate is not the address of a socket of this component.
    #[error("{0} is not the address of a socket of this component")]
    UnknownBase(SocketAddr),
    /// A lite agent has host candidates only (RFC 8445 §5.2).
    #[error("a lite agent has host candidates only")]
    Lite,
    /// Candidates of this type are not wanted: [`Config::with_candidate_types`](crate::Config::with_candidate_types).
    #[error("candidates of this type are not wanted")]
    ExcludedType,
    /// The end of the local candidates was signalled; new ones need a restart (RFC 8838 §13).
    #[error("the end of the candidates was signalled")]
    AfterEndOfCandidates,
    /// A pair of the component is nominated; new candidates need a restart (RFC 8838 §13).
    #[error("a pair of this component is nominated already")]
    AfterNomination,
    /// The stream has as many sockets as there may be: [`Agent::MAX_SOCKETS`](crate::Agent::MAX_SOCKETS).
    #[error("the stream has {0} sockets already")]
    TooMany(usize),
    /// The agent is closed.
    #[error("the agent is closed")]
    Closed,
}

/// Why candidates are not gathered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GatherError {
    /// There are more servers than [`Agent::MAX_SERVERS`](crate::Agent::MAX_SERVERS).
    #[error("{0} servers are too many")]
    TooManyServers(usize),
    /// The agent cannot use this server, whose URI is given.
    #[error("{0} cannot be used")]
    UnsupportedServer(Box<str>),
    /// This TURN server, whose URI is given, has no credentials: see
    /// [`IceServer::with_credentials`](crate::IceServer::with_credentials), or
    /// [`IceServer::anonymous`](crate::IceServer::anonymous) for one that serves guests.
    #[error("{0} has no credentials")]
    MissingCredentials(Box<str>),
    /// The user name for this server, whose URI is given, is longer than the 508 bytes that USERNAME can hold
    /// (RFC 8489 §14.3).
    #[error("the user name for {0} is longer than 508 bytes")]
    UnusableCredentials(Box<str>),
    /// The agent is closed.
    #[error("the agent is closed")]
    Closed,
}

/// Why the peer's description was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetRemoteDescriptionError {
    /// The agent has no such stream.
    #[error("no stream {0}")]
    UnknownStream(StreamId),
    /// The stream has other remote credentials: the peer restarts, and no restart is prepared (RFC 8445 §9).
    #[error("the remote credentials have changed, and no restart is prepared")]
    CredentialsChanged,
    /// The peer has the username fragment of another one with another password (RFC 8839 §5.4).
    #[error("the same username fragment is known with another password")]
    PasswordMismatch,
    /// There are 8 descriptions of forked peers already.
    #[error("too many forked descriptions")]
    TooManyForks,
    /// There is no description yet that this one could be a fork of.
    #[error("there is no remote description to fork")]
    NothingToFork,
    /// The agent is closed.
    #[error("the agent is closed")]
    Closed,
}

/// Why a remote candidate was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddRemoteCandidateError {
    /// The agent has no such stream.
    #[error("no stream {0}")]
    UnknownStream(StreamId),
    /// The end of the remote candidates was signalled (RFC 8838 §11).
    #[error("the end of the remote candidates was signalled")]
    AfterEndOfCandidates,
    /// The agent is closed.
    #[error("the agent is closed")]
    Closed,
}

/// Why a candidate was not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveCandidateError {
    /// The agent has no such stream.
    #[error("no stream {0}")]
    UnknownStream(StreamId),
    /// The stream has no such candidate, or no longer.
    #[error("no candidate {0}")]
    UnknownCandidate(CandidateId),
}

/// Why a pair was not nominated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NominateError {
    /// The agent has no such pair, or it is not valid.
    #[error("no valid pair {0}")]
    NotValid(PairId),
    /// Only the controlling agent nominates (RFC 8445 §8.1.1).
    #[error("the agent is controlled")]
    Controlled,
    /// The component has a nominated pair already, and one is all it gets (RFC 8445 §8.1.1).
    #[error("a pair of this component is nominated already")]
    AlreadyNominated,
}

/// Why data was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The agent has no such stream.
    #[error("no stream {0}")]
    UnknownStream(StreamId),
    /// The stream has no such component.
    #[error("the stream has no component {0}")]
    UnknownComponent(ComponentId),
    /// No pair of the component is valid yet (RFC 8445 §12.1).
    #[error("no valid pair yet")]
    NoPair,
    /// The peer's consent on the pair in use has ended, and there is no other (RFC 7675 §5.1).
    #[error("the peer no longer consents")]
    ConsentLost,
    /// The stream has failed.
    #[error("the stream has failed")]
    Failed,
    /// The agent is closed.
    #[error("the agent is closed")]
    Closed,
    /// The TCP connection of the pair in use is lost, and is not open and proven again yet (RFC 6544 §11.1).
    #[error("the connection of the pair in use is being opened again")]
    NotConnected,
    /// The buffer has no room for this many bytes: the payload, and what stands around it on its way.
    #[error("the buffer has no room for {0} bytes")]
    NoRoom(usize),
    /// The relay has no channel to the peer yet, so that no route can be given: [`Agent::send`](crate::Agent::send) works.
    #[error("the relay has no channel to the peer yet")]
    NoChannel,
    /// A datagram of this many bytes is too long for the way that it has to take.
    #[error("a datagram of {0} bytes is too long for its way")]
    TooLong(usize),
}
