//! The trace: what became of every packet.

use alloc::collections::{BTreeMap, VecDeque};
use core::fmt;
use core::net::SocketAddr;

use super::host::HostId;
use crate::Instant;

/// Names a packet of one [`Network`](super::Network), in the order of sending. A duplicate has a name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub(super) u64);

impl PacketId {
    /// Its number: 0 for the first packet of the network, and one more for each after it.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// Why a packet did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// It was sent from an address that no interface of the host has: a mistake of the sender.
    NotLocal,
    /// The interface that it was sent from, or that it arrived at, is down.
    InterfaceDown,
    /// Its source and destination are of different address families: a mistake of the sender.
    FamilyMismatch,
    /// The sender's own firewall blocks it.
    FirewallOut,
    /// The receiver's firewall blocks it.
    FirewallIn,
    /// Nobody has the destination address.
    NoRoute,
    /// A NAT has no public address of the packet's family.
    NatNoAddress,
    /// A NAT on the way out has no room for another mapping, port or filter entry.
    NatFull,
    /// A NAT on the way in has no mapping for the destination.
    NatNoMapping,
    /// A NAT on the way in lets the source not through.
    NatFiltered,
    /// It was sent from behind a NAT to an address of that NAT, which does not hairpin.
    NatNoHairpin,
    /// The path between the two hosts is cut.
    Cut,
    /// A link lost it by chance.
    Loss,
    /// A link lost it in a burst.
    BurstLoss,
    /// It is larger than the MTU of a link.
    TooLarge,
    /// [`Network::lose_nth`](super::Network::lose_nth) asked for it.
    Script,
    /// The packet hook said so.
    Hook,
    /// [`Network::discard`](super::Network::discard) took it out of the air.
    Discarded,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PacketFate {
    /// It is on its way.
    InFlight {
        /// When it reaches the far end.
        due: Instant,
    },
    /// It reached a host.
    Delivered {
        /// The host.
        host: HostId,
        /// Where the host sees it come from: the source as the NATs translated it.
        source: SocketAddr,
        /// Address of the host at which it arrived: the destination as the NATs translated it.
        destination: SocketAddr,
        /// When.
        at: Instant,
    },
    /// It did not arrive.
    Dropped {
        /// Why.
        reason: DropReason,
        /// When it was dropped: at sending, or where it was due.
        at: Instant,
    },
}

/// One packet of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Packet {
    /// Its name.
    pub id: PacketId,
    /// The packet of which a link or a hook made it as a copy.
    pub copy_of: Option<PacketId>,
    /// The host that sent it.
    pub from: HostId,
    /// Where it was sent from.
    pub source: SocketAddr,
    /// Where it was sent to.
    pub destination: SocketAddr,
    /// Its source after the NATs of the sender; `None` if it did not get past them.
    pub outside_source: Option<SocketAddr>,
    /// When it was sent.
    pub sent_at: Instant,
    /// Bytes of payload.
    pub len: usize,
    /// What became of it.
    pub fate: PacketFate,
}

/// The most recent packets, and a count of all.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    packets: VecDeque<Packet>,
    limit: usize,
    next: u64,
    pub(super) delivered: u64,
    dropped: BTreeMap<DropReason, u64>,
}

impl Trace {
    pub(super) const fn new(limit: usize) -> Self {
        Self { packets: VecDeque::new(), limit, next: 0, delivered: 0, dropped: BTreeMap::new() }
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        let excess = self.packets.len().saturating_sub(limit);
        self.packets.drain(..excess);
    }

    /// The name that the next packet gets.
    pub(super) const fn next_id(&self) -> PacketId {
        PacketId(self.next)
    }

    /// Number of packets sent, copies included.
    pub(super) const fn sent(&self) -> u64 {
        self.next
    }

    /// Adds the next packet.
    pub(super) fn push(&mut self, packet: Packet) {
        debug_assert_eq!(packet.id, self.next_id(), "packets are named in order");
        self.next += 1;
        if self.packets.len() >= self.limit {
            self.packets.pop_front();
        }
        if self.limit > 0 {
            self.packets.push_back(packet);
        }
    }

    pub(super) fn settle(&mut self, id: PacketId, fate: PacketFate) {
        match fate {
            PacketFate::InFlight { .. } => {}
            PacketFate::Delivered { .. } => self.delivered += 1,
            PacketFate::Dropped { reason, .. } => *self.dropped.entry(reason).or_default() += 1,
        }
        if let Some(packet) = self.get_mut(id) {
            packet.fate = fate;
        }
    }

    pub(super) fn get(&self, id: PacketId) -> Option<&Packet> {
        self.packets.get(self.index(id)?)
    }

    pub(super) fn get_mut(&mut self, id: PacketId) -> Option<&mut Packet> {
        let index = self.index(id)?;
        self.packets.get_mut(index)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Packet> {
        self.packets.iter()
    }

    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(&reason).copied().unwrap_or(0)
    }

    pub(super) fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> {
        self.dropped.iter().map(|(reason, count)| (*reason, *count))
    }

    fn index(&self, id: PacketId) -> Option<usize> {
        let first = self.packets.front()?.id.0;
        usize::try_from(id.0.checked_sub(first)?).ok()
    }
}
