//! What carries packets: to the peer, and to a relay.

use core::fmt;

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

/// How a TURN server is reached by the agent (W3C `RTCIceServerTransportProtocol`), which is not how its relayed address is
/// reached by the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the W3C closes the set")]
pub enum RelayProtocol {
    /// Over UDP.
    Udp,
    /// Over TCP.
    Tcp,
    /// Over TLS, on TCP.
    Tls,
}

impl RelayProtocol {
    /// Its W3C name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

impl fmt::Display for RelayProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
