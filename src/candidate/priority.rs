//! Candidate priorities (RFC 8445 §5.1.2).

use core::fmt;

use super::CandidateKind;
use crate::stream::ComponentId;

/// Priority of a candidate: 1 to 2^31-1, higher is preferred (RFC 8445 §5.1.2).
///
/// Some peers send values up to 2^32-1; they are kept as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u32);

impl Priority {
    /// The highest priority that RFC 8445 allows.
    pub const MAX: Self = Self(0x7fff_ffff);

    /// A priority with this value; `None` for 0.
    #[must_use]
    pub const fn new(value: u32) -> Option<Self> {
        if value == 0 { None } else { Some(Self(value)) }
    }

    /// `2^24 * type preference + 2^8 * local preference + (256 - component)` (RFC 8445 §5.1.2.1).
    ///
    /// A type preference above 126 counts as 126.
    #[must_use]
    pub const fn compute(type_preference: u8, local_preference: u16, component: ComponentId) -> Self {
        let kind = if type_preference > 126 { 126 } else { type_preference };
        let value = (kind as u32) << 24 | (local_preference as u32) << 8 | (256 - component.get() as u32);
        // Only component 256 with both preferences 0 gives 0, which is not a priority.
        Self(if value == 0 { 1 } else { value })
    }

    /// Its value.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The local preference in it: bits 8 to 23 (RFC 8445 §5.1.2.1).
    pub(crate) const fn local_preference(self) -> u16 {
        (self.0 >> 8 & 0xffff) as u16
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Type preferences, 0 to 126 each, distinct (RFC 8445 §5.1.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "RFC 8445 closes the set of types")]
pub struct TypePreferences {
    /// Host candidates. Default 126.
    pub host: u8,
    /// Peer-reflexive candidates; above `server_reflexive`. Default 110.
    pub peer_reflexive: u8,
    /// Server-reflexive candidates. Default 100.
    pub server_reflexive: u8,
    /// Relayed candidates. Default 0.
    pub relayed: u8,
}

impl TypePreferences {
    /// The preference of one type.
    #[must_use]
    pub const fn of(&self, kind: CandidateKind) -> u8 {
        match kind {
            CandidateKind::Host => self.host,
            CandidateKind::ServerReflexive => self.server_reflexive,
            CandidateKind::PeerReflexive => self.peer_reflexive,
            CandidateKind::Relayed => self.relayed,
        }
    }

    /// Whether they are in range, distinct, and peer-reflexive above server-reflexive (RFC 8445 §5.1.2.1).
    #[must_use]
    pub const fn are_valid(&self) -> bool {
        let Self { host, peer_reflexive, server_reflexive, relayed } = *self;
        host <= 126
            && peer_reflexive <= 126
            && relayed <= 126
            && server_reflexive < peer_reflexive
            && host != peer_reflexive
            && host != server_reflexive
            && host != relayed
            && peer_reflexive != relayed
            && server_reflexive != relayed
    }
}

impl Default for TypePreferences {
    fn default() -> Self {
        Self { host: 126, peer_reflexive: 110, server_reflexive: 100, relayed: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Req: 8445-5.1.2.1-a
    #[test]
    fn priorities_follow_the_formula() {
        let one = ComponentId::RTP;
        assert_eq!(Priority::compute(126, 65535, one).get(), 2_130_706_431);
        assert_eq!(Priority::compute(100, 65535, one).get(), 1_694_498_815);
        assert_eq!(Priority::compute(110, 65535, one).get(), 0x6eff_ffff);
        assert_eq!(Priority::compute(0, 65535, one).get(), 16_777_215);
        assert!(ComponentId::new(0).is_none() && ComponentId::new(257).is_none());
    }

    /// Req: 8421-4-a
    #[test]
    fn the_components_of_one_address_differ_by_one() {
        let rtp = Priority::compute(126, 65535, ComponentId::RTP).get();
        let rtcp = Priority::compute(126, 65535, ComponentId::RTCP).get();
        assert_eq!(rtp - rtcp, 1);
    }

    /// Req: 8445-5.1.2-a
    #[test]
    fn a_priority_is_never_zero_nor_above_the_limit() {
        let last = ComponentId::new(256).unwrap();
        assert_eq!(Priority::compute(0, 0, last).get(), 1);
        assert!(Priority::compute(255, u16::MAX, ComponentId::RTP) <= Priority::MAX);
    }

    /// Req: 8445-5.1.2.1-b
    #[test]
    fn type_preferences_are_checked() {
        let good = TypePreferences::default();
        assert!(good.are_valid());
        assert!(!TypePreferences { host: 127, ..good }.are_valid());
        assert!(!TypePreferences { relayed: 126, ..good }.are_valid());
        assert!(!TypePreferences { peer_reflexive: 100, ..good }.are_valid());
        assert!(!TypePreferences { peer_reflexive: 90, ..good }.are_valid());
    }
}
