//! What the things of an agent are identified by: streams and components (RFC 8445 §4), candidates, pairs, connections.

use core::fmt;

use super::Handle;

/// Names a data stream of one agent; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(crate) u32);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a component of a data stream: 1 to 256 (RFC 8445 §5.1.1.1, RFC 8839 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId(u16);

impl ComponentId {
    /// RTP, or everything when RTP and RTCP share a port: component 1.
    pub const RTP: Self = Self(1);
    /// RTCP on a port of its own: component 2.
    pub const RTCP: Self = Self(2);
    /// The highest number that a component has.
    pub const MAX: Self = Self(256);

    /// The component with this number; `None` outside 1 to 256.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number == 0 || number > Self::MAX.0 { None } else { Some(Self(number)) }
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Its place in a list of components.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize - 1
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a local or remote candidate of one agent; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CandidateId(pub(crate) u64);

impl fmt::Display for CandidateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a candidate pair of one agent; never used again for another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairId {
    /// Counts up with each pair.
    pub(crate) serial: u64,
    /// Where it is kept.
    pub(crate) slot: u32,
}

impl fmt::Display for PairId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serial.fmt(f)
    }
}

impl fmt::Debug for PairId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PairId({})", self.serial)
    }
}

/// Names a connection of one agent; never used again for another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// Counts up with each connection.
    pub(crate) serial: u64,
    /// Where it is kept.
    pub(crate) slot: u32,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serial.fmt(f)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({})", self.serial)
    }
}

impl Handle for PairId {
    fn new(slot: u32, serial: u64) -> Self {
        Self { serial, slot }
    }

    fn slot(self) -> u32 {
        self.slot
    }
}

impl Handle for ConnectionId {
    fn new(slot: u32, serial: u64) -> Self {
        Self { serial, slot }
    }

    fn slot(self) -> u32 {
        self.slot
    }
}
