//! How the IP header of a datagram is marked.

/// The octet that IPv4 calls type of service and IPv6 traffic class: DSCP in the upper six bits (RFC 2474 §3), ECN in the
/// lower two (RFC 3168 §5). It is what sockets take and give as `IP_TOS` and `IPV6_TCLASS`.
///
/// ```
/// use nilas::{Ecn, TrafficClass};
///
/// let class = TrafficClass::EXPEDITED.with_ecn(Ecn::Ect1);
/// assert_eq!((class.dscp(), class.ecn(), class.octet()), (46, Ecn::Ect1, 0xb9));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TrafficClass(u8);

/// Explicit congestion notification (RFC 3168 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "two bits have four values")]
pub enum Ecn {
    /// Whoever sends it does not do ECN.
    #[default]
    NotEct = 0,
    /// Capable of ECN, the codepoint of RFC 9331.
    Ect1 = 1,
    /// Capable of ECN.
    Ect0 = 2,
    /// It met congestion.
    Ce = 3,
}

impl TrafficClass {
    /// No mark at all.
    pub const DEFAULT: Self = Self(0);
    /// Expedited forwarding, DSCP 46: what RFC 8837 §5 has for audio.
    pub const EXPEDITED: Self = Self(46 << 2);

    /// The class of this octet.
    #[must_use]
    pub const fn from_octet(octet: u8) -> Self {
        Self(octet)
    }

    /// The class of this codepoint without ECN; `None` above 63.
    #[must_use]
    pub const fn from_dscp(dscp: u8) -> Option<Self> {
        if dscp < 64 { Some(Self(dscp << 2)) } else { None }
    }

    /// The octet.
    #[must_use]
    pub const fn octet(self) -> u8 {
        self.0
    }

    /// Its codepoint of differentiated services, 0 to 63.
    #[must_use]
    pub const fn dscp(self) -> u8 {
        self.0 >> 2
    }

    /// Its congestion notification.
    #[must_use]
    pub const fn ecn(self) -> Ecn {
        match self.0 & 3 {
            0 => Ecn::NotEct,
            1 => Ecn::Ect1,
            2 => Ecn::Ect0,
            _ => Ecn::Ce,
        }
    }

    /// The same with another congestion notification.
    #[must_use]
    pub const fn with_ecn(self, ecn: Ecn) -> Self {
        Self(self.0 & !3 | ecn as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_is_a_codepoint_and_a_notification() {
        for octet in 0..=u8::MAX {
            let class = TrafficClass::from_octet(octet);
            let whole = TrafficClass::from_dscp(class.dscp()).unwrap().with_ecn(class.ecn());
            assert_eq!((whole, whole.octet()), (class, octet));
        }
        assert_eq!(TrafficClass::from_dscp(64), None);
        assert_eq!(TrafficClass::EXPEDITED.dscp(), 46);
    }
}
