//! Why a connection that was accepted is not taken.

use core::net::{IpAddr, SocketAddr};

/// Why a connection of the peer was not accepted. It has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptConnectionError {
    /// No TCP candidate that accepts connections has this address.
    #[error("no candidate accepts connections at {0}")]
    UnknownAddress(SocketAddr),
    /// There are [`Config::with_max_connections`](crate::Config::with_max_connections) accepted connections, and none that
    /// could make room.
    #[error("there are {0} accepted connections already")]
    TooMany(usize),
    /// There are [`Config::with_max_connections_per_address`](crate::Config::with_max_connections_per_address) from the
    /// same IPv4 address or IPv6 /64.
    #[error("there are {0} accepted connections from that address already")]
    TooManyFromAddress(usize),
    /// Nobody at this address is talked to: [`Config::with_remote_filter`](crate::Config::with_remote_filter) leaves it out, or
    /// it is a loopback or link-local address while that of the candidate is neither.
    #[error("nobody at {0} is talked to")]
    ExcludedAddress(IpAddr),
    /// The agent is closed.
    #[error("the agent is closed")]
    Closed,
}
