//! What crosses the boundary between the agent and the network.

use core::fmt;
use core::net::SocketAddr;

/// Transport protocol of a datagram or candidate (RFC 8445 §5.1, RFC 6544 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// UDP: one datagram is one packet.
    Udp,
    /// TCP: packets are framed as RFC 4571 says.
    Tcp,
}

impl fmt::Display for Transport {
    /// Writes the lower-case token that browsers put in a candidate line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        })
    }
}

/// A datagram that arrived from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "built by every caller for every packet")]
pub struct Datagram<'a> {
    /// Where it came from.
    pub source: SocketAddr,
    /// The local address that it arrived on: the one given to [`Agent::add_socket`](crate::Agent::add_socket).
    pub destination: SocketAddr,
    /// Transport protocol that it arrived over.
    pub transport: Transport,
    /// The bytes after the UDP header.
    pub payload: &'a [u8],
}

/// A datagram to send, whose bytes were appended to the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a datagram that is not sent is lost"]
#[non_exhaustive]
pub struct Transmit {
    /// Number of bytes appended to the buffer.
    pub len: usize,
    /// Local address to send from: one given to [`Agent::add_socket`](crate::Agent::add_socket).
    pub source: SocketAddr,
    /// Address to send to.
    pub destination: SocketAddr,
    /// Transport protocol to send over.
    pub transport: Transport,
}

impl Transmit {
    pub(crate) const fn new(len: usize, transport: Transport, source: SocketAddr, destination: SocketAddr) -> Self {
        Self { len, source, destination, transport }
    }
}
