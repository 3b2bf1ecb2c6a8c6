//! TCP connections as the agent sees them: it asks for them, and is told what becomes of them.

use crate::types::ConnectionId;
use alloc::boxed::Box;
use core::fmt;
use core::net::SocketAddr;

/// What protects the bytes of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionSecurity {
    /// Nothing: TCP as it is.
    #[default]
    Plain,
    /// TLS, which is the caller's: the agent is given, and gives, what is inside.
    Tls {
        /// The name that the server's certificate has to be for.
        server_name: Box<str>,
    },
}

/// What the agent wants done about a connection: see [`Agent::poll_connection`](crate::Agent::poll_connection).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a connection that nobody opens is one that fails"]
#[non_exhaustive]
pub enum ConnectionRequest {
    /// Open a TCP connection, and answer with [`ConnectionEvent::Opened`] or [`ConnectionEvent::Failed`].
    Open {
        /// Its name from now on.
        id: ConnectionId,
        /// The local address to open it from; port 0 stands for any. Another port is that of a candidate that accepts
        /// connections, too, so that the socket needs `SO_REUSEADDR`.
        local: SocketAddr,
        /// The address to open it to.
        remote: SocketAddr,
        /// Whether it is protected. Connections of candidates are not.
        security: ConnectionSecurity,
    },
    /// Send what is still to be sent, then close the connection, or stop opening it. The name means nothing any more: no
    /// event is expected.
    Close {
        /// Its name.
        id: ConnectionId,
    },
}

/// What has become of a connection: see [`Agent::handle_connection`](crate::Agent::handle_connection).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// It is open, with TLS if that was asked for.
    Opened {
        /// Its name.
        id: ConnectionId,
        /// The local address that it has.
        local: SocketAddr,
    },
    /// It could not be opened: refused, unreachable, timed out, or not to be trusted.
    Failed {
        /// Its name.
        id: ConnectionId,
    },
    /// It was open, and is closed or broken. What was given to be sent on it may be lost.
    Closed {
        /// Its name.
        id: ConnectionId,
    },
}

/// Why an agent has ended a connection of a TCP candidate, or what has ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConnectionEnd {
    /// It could not be opened.
    Failed,
    /// It was not open after 10 s.
    TimedOut,
    /// The peer or the network has ended it.
    Lost,
    /// Nothing was heard on it for [`Config::with_detection`](crate::Config::with_detection). It is opened anew.
    Dead,
    /// It was accepted, and no check of the peer came on it in 10 s.
    Silent,
    /// What came on it first is not STUN (RFC 6544 §7.1).
    NotStun,
    /// It was accepted, no check of the peer has come on it yet, and there was no room for another one.
    Displaced,
    /// Another pair was selected, or the candidate is gone (RFC 6544 §8).
    Unused,
}

impl fmt::Display for ConnectionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "could not be opened",
            Self::TimedOut => "was not open in time",
            Self::Lost => "was lost",
            Self::Dead => "was dead",
            Self::Silent => "carried no check in time",
            Self::NotStun => "does not carry STUN",
            Self::Displaced => "made room for another one",
            Self::Unused => "is not used",
        })
    }
}
