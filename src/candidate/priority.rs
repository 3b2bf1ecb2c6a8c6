//! Candidate priorities (RFC 8445 §5.1.2).

use core::fmt;

use super::{CandidateKind, TcpType};
use crate::types::ComponentId;

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

/// How candidates over TCP rank beside those over UDP. Within each transport the order of types is the same, and relayed
/// candidates come last in any case (RFC 6544 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportOrder {
    /// Every kind of UDP comes before every kind of TCP: what real-time media want, which suffer when the repetition of one
    /// lost packet holds up all others.
    #[default]
    UdpFirst,
    /// The kind decides first, and the transport among candidates of the same kind: a direct connection over TCP comes
    /// before UDP through a NAT.
    KindFirst,
}

impl TransportOrder {
    /// The type preferences of TCP candidates beside these of UDP ones.
    const fn tcp(self, udp: &TypePreferences) -> TypePreferences {
        match self {
            Self::KindFirst => TypePreferences {
                host: udp.host.saturating_sub(1),
                peer_reflexive: udp.peer_reflexive.saturating_sub(1),
                server_reflexive: udp.server_reflexive.saturating_sub(1),
                relayed: udp.relayed.saturating_sub(1),
            },
            Self::UdpFirst => {
                // Peer-reflexive is above server-reflexive; between them and the relayed ones is room for three.
                let least = if udp.host < udp.server_reflexive { udp.host } else { udp.server_reflexive };
                let room = if udp.relayed < least { least - udp.relayed } else { least };
                let step = if room > 40 { 10 } else { room / 4 };
                TypePreferences {
                    host: least - step,
                    peer_reflexive: least - 2 * step,
                    server_reflexive: least - 3 * step,
                    relayed: udp.relayed.saturating_sub(1),
                }
            }
        }
    }
}

/// The preferences that priorities of candidates are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preferences {
    pub(crate) udp: TypePreferences,
    pub(crate) order: TransportOrder,
    /// They are those of a lite agent (RFC 8445 §5.2).
    pub(crate) is_lite: bool,
}

impl Preferences {
    /// Priority of a candidate; `preference` is the local preference that its address has (RFC 8445 §5.1.2.1,
    /// RFC 6544 §4.2).
    pub(crate) const fn priority(
        &self,
        kind: CandidateKind,
        tcp_type: Option<TcpType>,
        preference: u16,
        component: ComponentId,
    ) -> Priority {
        let preference = match tcp_type {
            Some(tcp_type) => tcp_type.local_preference(kind, preference),
            None => preference,
        };
        Priority::compute(self.of(kind, tcp_type.is_some()), preference, component)
    }

    /// The preference of a type, over TCP or UDP.
    pub(crate) const fn of(&self, kind: CandidateKind, is_tcp: bool) -> u8 {
        if is_tcp { self.order.tcp(&self.udp).of(kind) } else { self.udp.of(kind) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Req: 6544-4.2-a
    /// Req: 6544-4.2-b
    #[test]
    fn priorities_over_tcp_follow_the_formula() {
        let of = |kind, preference, tcp_type: TcpType| {
            let local = tcp_type.local_preference(kind, 65535);
            Priority::compute(preference, local, ComponentId::RTP).get()
        };
        let types = [TcpType::Active, TcpType::Passive, TcpType::SimultaneousOpen];
        let host = types.map(|tcp_type| of(CandidateKind::Host, 126, tcp_type));
        assert_eq!(host, [2_128_609_279, 2_124_414_975, 2_120_220_671]);
        let relayed = types.map(|tcp_type| of(CandidateKind::Relayed, 126, tcp_type));
        assert_eq!(relayed, host);
        let reflexive = types.map(|tcp_type| of(CandidateKind::ServerReflexive, 100, tcp_type));
        assert_eq!(reflexive, [1_688_207_359, 1_684_013_055, 1_692_401_663]);
        // Of several addresses, each has its own, and the direction stays.
        let lower = TcpType::Active.local_preference(CandidateKind::Host, 65533);
        assert_eq!(lower, TcpType::Active.local_preference(CandidateKind::Host, 65535) - 2);
        assert_eq!(TcpType::Passive.local_preference(CandidateKind::Host, 0), 4 << 13);
    }

    /// Req: 6544-4.2-d
    #[test]
    fn udp_comes_before_tcp_by_transport_or_within_each_type() {
        use CandidateKind::{Host, PeerReflexive, Relayed, ServerReflexive};
        let kinds = [Host, PeerReflexive, ServerReflexive, Relayed];
        let sorted = |order| {
            let preferences = Preferences { udp: TypePreferences::default(), order, is_lite: false };
            let mut all: alloc::vec::Vec<_> = kinds
                .iter()
                .flat_map(|kind| [(*kind, false), (*kind, true)])
                .filter(|one| *one != (Relayed, true))
                .collect();
            all.sort_by_key(|(kind, is_tcp)| core::cmp::Reverse(preferences.of(*kind, *is_tcp)));
            all
        };
        let (udp, tcp) = (|kind| (kind, false), |kind| (kind, true));
        let expected =
            [udp(Host), udp(PeerReflexive), udp(ServerReflexive), tcp(Host), tcp(PeerReflexive), tcp(ServerReflexive)];
        assert_eq!(sorted(TransportOrder::UdpFirst)[..6], expected);
        let expected =
            [udp(Host), tcp(Host), udp(PeerReflexive), tcp(PeerReflexive), udp(ServerReflexive), tcp(ServerReflexive)];
        assert_eq!(sorted(TransportOrder::KindFirst)[..6], expected);
        assert_eq!(sorted(TransportOrder::UdpFirst)[6], udp(Relayed));
        assert_eq!(sorted(TransportOrder::KindFirst)[6], udp(Relayed));
        let default = Preferences { udp: TypePreferences::default(), order: TransportOrder::default(), is_lite: false };
        assert_eq!(kinds.map(|kind| default.of(kind, true)), [90, 80, 70, 0]);
    }

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
