//! What a packet is by its first byte (RFC 7983 §7, RFC 9443 §3).

/// A protocol that shares a port with ICE, told by the first byte of its packets.
///
/// | First byte | |
/// |---|---|
/// | 0 to 3 | STUN |
/// | 4 to 15 | nothing |
/// | 16 to 19 | ZRTP |
/// | 20 to 63 | DTLS |
/// | 64 to 79 | a TURN channel if it comes from a TURN server, QUIC otherwise |
/// | 80 to 127 | QUIC |
/// | 128 to 191 | RTP and RTCP |
/// | 192 to 255 | QUIC |
///
/// ```
/// use nilas::PacketKind;
///
/// // Of the data that an agent hands over no byte of a TURN server is left.
/// let payload = [0x16, 0xfe, 0xfd];
/// assert_eq!(PacketKind::of(payload[0], false), PacketKind::Dtls);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PacketKind {
    /// STUN, TURN's requests and indications included.
    Stun,
    /// ZRTP.
    Zrtp,
    /// DTLS.
    Dtls,
    /// Data in a channel of a TURN server.
    TurnChannel,
    /// QUIC.
    Quic,
    /// RTP or RTCP, secure or not.
    Rtp,
    /// No protocol of the scheme.
    Unassigned,
}

impl PacketKind {
    /// What begins with this byte. A packet comes from a TURN server if its source is one that has answered.
    #[must_use]
    pub const fn of(first: u8, is_from_turn_server: bool) -> Self {
        match first {
            0..=3 => Self::Stun,
            4..=15 => Self::Unassigned,
            16..=19 => Self::Zrtp,
            20..=63 => Self::Dtls,
            64..=79 if is_from_turn_server => Self::TurnChannel,
            128..=191 => Self::Rtp,
            64..=127 | 192..=255 => Self::Quic,
        }
    }
}

/// Which datagrams that are not STUN are application data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataFilter {
    /// Those of DTLS, SRTP, ZRTP and QUIC: first bytes 16 to 255 (RFC 9443 §3). A byte below 4 belongs to STUN, whether the
    /// rest is STUN or not, and 4 to 15 to nobody.
    #[default]
    Rfc9443,
    /// Those of DTLS, SRTP and ZRTP: first bytes 16 to 63 and 128 to 191 (RFC 7983 §7). For sessions without QUIC.
    Rfc7983,
    /// Everything that does not have the magic cookie of STUN: for protocols of any first byte.
    AllButStun,
}

impl DataFilter {
    /// Whether a datagram of the peer, which is not STUN, is data.
    pub(crate) fn takes(self, payload: &[u8]) -> bool {
        let kind = || payload.first().map_or(PacketKind::Unassigned, |first| PacketKind::of(*first, false));
        match self {
            Self::Rfc9443 => !matches!(kind(), PacketKind::Stun | PacketKind::Unassigned),
            Self::Rfc7983 => matches!(kind(), PacketKind::Zrtp | PacketKind::Dtls | PacketKind::Rtp),
            Self::AllButStun => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scheme as text: a run of first bytes a row, then what it is from a peer and from a TURN server.
    const SCHEME: [(u8, u8, PacketKind, PacketKind); 8] = [
        (0, 3, PacketKind::Stun, PacketKind::Stun),
        (4, 15, PacketKind::Unassigned, PacketKind::Unassigned),
        (16, 19, PacketKind::Zrtp, PacketKind::Zrtp),
        (20, 63, PacketKind::Dtls, PacketKind::Dtls),
        (64, 79, PacketKind::Quic, PacketKind::TurnChannel),
        (80, 127, PacketKind::Quic, PacketKind::Quic),
        (128, 191, PacketKind::Rtp, PacketKind::Rtp),
        (192, 255, PacketKind::Quic, PacketKind::Quic),
    ];

    /// S162
    /// Req: 7983-7-a
    /// Req: 9443-3-a
    #[test]
    fn every_first_byte_has_its_protocol() {
        let mut next = 0_u16;
        for (first, last, of_peer, of_server) in SCHEME {
            assert_eq!(u16::from(first), next, "no byte is left out");
            for byte in first..=last {
                assert_eq!(PacketKind::of(byte, false), of_peer, "{byte}");
                assert_eq!(PacketKind::of(byte, true), of_server, "{byte}");
            }
            next = u16::from(last) + 1;
        }
        assert_eq!(next, 256);
    }

    /// Req: 7983-7-a
    /// Req: 9443-3-a
    #[test]
    fn a_filter_takes_what_its_scheme_has() {
        for byte in 0..=u8::MAX {
            let packet = [byte, 1];
            assert!(DataFilter::AllButStun.takes(&packet));
            assert_eq!(DataFilter::Rfc9443.takes(&packet), byte >= 16, "{byte}");
            let is_of_7983 = (16..64).contains(&byte) || (128..192).contains(&byte);
            assert_eq!(DataFilter::Rfc7983.takes(&packet), is_of_7983, "{byte}");
        }
        assert!(!DataFilter::Rfc9443.takes(&[]));
        assert!(DataFilter::AllButStun.takes(&[]));
    }
}
