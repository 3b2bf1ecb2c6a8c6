//! Candidates: the transport addresses that the two agents try (RFC 8445 §5.1).

pub(crate) mod address;
mod foundation;
mod host;
mod locals;
pub(crate) mod mdns;
mod numbers;
mod preference;
mod priority;
mod remote_filter;
mod remotes;
mod socket_options;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

pub(crate) use address::is_within;
pub(crate) use foundation::is_ice_char;
pub use foundation::{Foundation, ParseFoundationError};
pub(crate) use host::check_host_address;
pub use host::{HostAddress, UnusableAddress};
pub(crate) use locals::{LocalCandidate, LocalCandidates, NewHost};
pub(crate) use numbers::{LocalFoundations, RemoteFoundations};
pub(crate) use priority::Preferences;
pub use priority::{Priority, TransportOrder, TypePreferences};
pub use remote_filter::RemoteFilter;
pub(crate) use remotes::{RemoteCandidate, RemoteCandidates};
pub use socket_options::SocketOptions;

use crate::types::address::plain;
use crate::types::{ComponentId, Transport};

/// The extension that tells the cost of an interface, as libwebrtc has it.
const NETWORK_COST: &str = "network-cost";

/// Type of a candidate (RFC 8445 §5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 8445 closes the set")]
pub enum CandidateKind {
    /// An address of the agent's own host: `host`.
    Host,
    /// The address that a NAT gave the agent, as a STUN server saw it: `srflx`.
    ServerReflexive,
    /// The address that a NAT gave an agent, as its peer saw it in a check: `prflx`.
    PeerReflexive,
    /// An address on a TURN server: `relay`.
    Relayed,
}

impl CandidateKind {
    /// The token of the candidate line: `host`, `srflx`, `prflx` or `relay` (RFC 8839 §5.1).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relay",
        }
    }

    /// Whether it is an address that a NAT gave to a host.
    #[must_use]
    pub const fn is_reflexive(self) -> bool {
        matches!(self, Self::ServerReflexive | Self::PeerReflexive)
    }
}

impl fmt::Display for CandidateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which side opens the connection of a TCP candidate (RFC 6544 §4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6544 closes the set")]
pub enum TcpType {
    /// Opens connections: `active`.
    Active,
    /// Accepts connections: `passive`.
    #[default]
    Passive,
    /// Both at once: `so`.
    SimultaneousOpen,
}

impl TcpType {
    /// The token after `tcptype`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::SimultaneousOpen => "so",
        }
    }

    /// The type that the other end of its connections has (RFC 6544 §6.2).
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Active => Self::Passive,
            Self::Passive => Self::Active,
            Self::SimultaneousOpen => Self::SimultaneousOpen,
        }
    }

    /// Whether candidates of this type open connections.
    pub(crate) const fn is_opening(self) -> bool {
        matches!(self, Self::Active | Self::SimultaneousOpen)
    }

    /// Which way round connections succeed most often: 0 to 7, the best first (RFC 6544 §4.2).
    const fn direction_preference(self, kind: CandidateKind) -> u16 {
        match (self, kind.is_reflexive()) {
            (Self::Active, false) | (Self::SimultaneousOpen, true) => 6,
            (Self::Passive, false) | (Self::Active, true) => 4,
            (Self::SimultaneousOpen, false) | (Self::Passive, true) => 2,
        }
    }

    /// The local preference of a candidate of another kind with the same address as one with this preference.
    pub(crate) const fn turned(self, kind: CandidateKind, preference: u16) -> u16 {
        self.direction_preference(kind) << 13 | preference & 0x1fff
    }

    /// The local preference of a candidate of this type, made of the one that its address has otherwise: 2^13 times the
    /// direction preference, plus what tells candidates of the same direction apart (RFC 6544 §4.2).
    pub(crate) const fn local_preference(self, kind: CandidateKind, preference: u16) -> u16 {
        const MOST: u16 = (1 << 13) - 1;
        let below = u16::MAX - preference;
        self.direction_preference(kind) << 13 | MOST.saturating_sub(below)
    }
}

/// Address of a candidate: an IP address, or a name that is still to be resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CandidateAddress {
    /// An IP address and port.
    Socket(SocketAddr),
    /// A host name, for example one that ends in `.local`, and a port.
    Name {
        /// The name as it was signalled.
        host: Box<str>,
        /// The port.
        port: u16,
    },
}

impl CandidateAddress {
    /// An IP address and port, in plain form.
    pub(crate) const fn of(address: SocketAddr) -> Self {
        Self::Socket(plain(address))
    }

    /// The IP address and port, if it is not a name.
    #[must_use]
    pub const fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(address) => Some(*address),
            Self::Name { .. } => None,
        }
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Socket(address) => address.port(),
            Self::Name { port, .. } => *port,
        }
    }
}

impl fmt::Display for CandidateAddress {
    /// Writes address and port, for people; a candidate line has them apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl From<SocketAddr> for CandidateAddress {
    /// An IPv4 address in its IPv6 form, `::ffff:a.b.c.d`, becomes the IPv4 address (RFC 8445 §5.1.1.1).
    fn from(address: SocketAddr) -> Self {
        Self::of(address)
    }
}

/// A candidate as it is signalled (RFC 8445 §5.1, RFC 8839 §5.1).
///
/// It parses from and prints as a candidate line. A parsed candidate prints as it was spelled, to the letter; what
/// its unknown extensions mean is for the application. Equality compares the meaning, not the spelling.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub(crate) foundation: Foundation,
    pub(crate) component: ComponentId,
    pub(crate) transport: Transport,
    pub(crate) tcp_type: Option<TcpType>,
    pub(crate) priority: Priority,
    pub(crate) address: CandidateAddress,
    pub(crate) kind: CandidateKind,
    pub(crate) related_address: Option<CandidateAddress>,
    pub(crate) extensions: Vec<(String, String)>,
    /// The text it was parsed from, where that differs from how it would be printed.
    pub(crate) spelling: Option<Box<str>>,
}

impl Candidate {
    /// A UDP candidate without related address and extensions.
    #[must_use]
    pub const fn new(
        kind: CandidateKind,
        component: ComponentId,
        foundation: Foundation,
        priority: Priority,
        address: SocketAddr,
    ) -> Self {
        Self {
            foundation,
            component,
            transport: Transport::Udp,
            tcp_type: None,
            priority,
            address: CandidateAddress::of(address),
            kind,
            related_address: None,
            extensions: Vec::new(),
            spelling: None,
        }
    }

    /// The same as a TCP candidate of this type (RFC 6544 §4.5).
    #[must_use]
    pub fn with_tcp_type(mut self, tcp_type: TcpType) -> Self {
        self.transport = Transport::Tcp;
        self.tcp_type = Some(tcp_type);
        self.spelling = None;
        self
    }

    /// The same with a related address (RFC 8445 §5.3).
    #[must_use]
    pub fn with_related_address(mut self, address: SocketAddr) -> Self {
        self.related_address = Some(CandidateAddress::of(address));
        self.spelling = None;
        self
    }

    /// The same with an extension appended, for example `("generation", "0")`.
    #[must_use]
    pub fn with_extension(mut self, name: &str, value: &str) -> Self {
        self.extensions.push((name.into(), value.into()));
        self.spelling = None;
        self
    }

    /// Foundation (RFC 8445 §5.1.1.3).
    #[must_use]
    pub const fn foundation(&self) -> Foundation {
        self.foundation
    }

    /// Component (RFC 8445 §5.1.1).
    #[must_use]
    pub const fn component(&self) -> ComponentId {
        self.component
    }

    /// Transport protocol.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// Who opens the connection; `None` for UDP.
    #[must_use]
    pub const fn tcp_type(&self) -> Option<TcpType> {
        self.tcp_type
    }

    /// Priority (RFC 8445 §5.1.2).
    #[must_use]
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// Address.
    #[must_use]
    pub const fn address(&self) -> &CandidateAddress {
        &self.address
    }

    /// IP address and port; `None` while the address is a name.
    #[must_use]
    pub const fn socket_address(&self) -> Option<SocketAddr> {
        self.address.socket()
    }

    /// Type.
    #[must_use]
    pub const fn kind(&self) -> CandidateKind {
        self.kind
    }

    /// Related address: the base of a reflexive candidate, the mapped address of a relayed one (RFC 8445 §5.3).
    #[must_use]
    pub const fn related_address(&self) -> Option<&CandidateAddress> {
        self.related_address.as_ref()
    }

    /// The extensions in their order, as pairs of name and value; `tcptype` is not among them.
    #[must_use]
    pub fn extensions(&self) -> &[(String, String)] {
        &self.extensions
    }

    /// Value of the first extension with this name.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            foundation,
            component,
            transport,
            tcp_type,
            priority,
            address,
            kind,
            related_address,
            extensions,
            spelling: _,
        } = self;
        *foundation == other.foundation
            && *component == other.component
            && *transport == other.transport
            && *tcp_type == other.tcp_type
            && *priority == other.priority
            && *address == other.address
            && *kind == other.kind
            && *related_address == other.related_address
            && *extensions == other.extensions
    }
}

impl Eq for Candidate {}
