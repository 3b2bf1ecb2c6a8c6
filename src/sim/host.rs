//! Hosts: named machines with interfaces and a firewall.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use super::link::Access;
use super::topology::RealmId;
use crate::Transport;

/// Names a host of one [`Network`](super::Network).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub(super) u32);

impl HostId {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h{}", self.0)
    }
}

/// Which way a packet passes, seen from a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is no third direction")]
pub enum Direction {
    /// Towards the host.
    In,
    /// Away from the host.
    Out,
}

/// Which peers a firewall rule is about: the far address as the host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PeerMatch {
    /// Every peer: blocks everything in the rule's direction.
    Any,
    /// Every port of one address.
    Ip(IpAddr),
    /// Every port of every address but this one.
    NotIp(IpAddr),
    /// One port of one address.
    Address(SocketAddr),
}

impl PeerMatch {
    fn matches(self, peer: SocketAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Ip(ip) => ip == peer.ip(),
            Self::NotIp(ip) => ip != peer.ip(),
            Self::Address(address) => address == peer,
        }
    }
}

/// UDP, or TCP, that the firewall of a host throws away. Stateless: for one that lets answers in, see
/// [`NatConfig::firewall`](super::NatConfig::firewall).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "plain configuration")]
pub struct FirewallRule {
    /// Direction of the packets to block.
    pub direction: Direction,
    /// The peers whose packets are blocked.
    pub peer: PeerMatch,
}

/// One interface, with one address.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) ip: IpAddr,
    pub(super) realm: RealmId,
    pub(super) up: bool,
    pub(super) egress: Option<Access>,
    pub(super) ingress: Option<Access>,
}

#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) interfaces: Vec<Interface>,
    pub(super) firewall: Vec<FirewallRule>,
    /// The same for TCP.
    pub(super) stream_firewall: Vec<FirewallRule>,
}

impl Host {
    pub(super) fn interface(&self, ip: IpAddr) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.ip == ip)
    }

    pub(super) fn interface_mut(&mut self, ip: IpAddr) -> Option<&mut Interface> {
        self.interfaces.iter_mut().find(|interface| interface.ip == ip)
    }

    pub(super) fn blocks(&self, transport: Transport, direction: Direction, peer: SocketAddr) -> bool {
        let rules = if transport == Transport::Tcp { &self.stream_firewall } else { &self.firewall };
        rules.iter().any(|rule| rule.direction == direction && rule.peer.matches(peer))
    }
}
