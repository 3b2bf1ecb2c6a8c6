//! Attribute types: those of RFC 8489 and the ones that ICE adds (RFC 8445 §7.1, §20.1).

use crate::config::limits;
use smallvec::SmallVec;

pub(crate) const MAPPED_ADDRESS: u16 = 0x0001;
pub(crate) const USERNAME: u16 = 0x0006;
pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
pub(crate) const ERROR_CODE: u16 = 0x0009;
pub(crate) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
pub(crate) const REALM: u16 = 0x0014;
pub(crate) const NONCE: u16 = 0x0015;
pub(crate) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
pub(crate) const PASSWORD_ALGORITHM: u16 = 0x001d;
pub(crate) const USERHASH: u16 = 0x001e;
pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(crate) const PRIORITY: u16 = 0x0024;
pub(crate) const USE_CANDIDATE: u16 = 0x0025;
/// Value of a nomination, as draft-thatcher-tsvwg-renomination has it; to be understood.
pub(crate) const NOMINATION: u16 = 0x0030;
/// Value of a nomination, as libwebrtc sends it for draft-thatcher-ice-renomination.
pub(super) const GOOG_NOMINATION: u16 = 0xc001;
pub(crate) const FINGERPRINT: u16 = 0x8028;
pub(crate) const ICE_CONTROLLED: u16 = 0x8029;
pub(crate) const ICE_CONTROLLING: u16 = 0x802a;

/// Whether a request with this attribute has to be refused because the attribute has to be understood and is not
/// (RFC 8489 §6.3.1).
pub(super) const fn is_unknown(kind: u16) -> bool {
    kind < 0x8000
        && !matches!(
            kind,
            MAPPED_ADDRESS
                | USERNAME
                | MESSAGE_INTEGRITY
                | ERROR_CODE
                | UNKNOWN_ATTRIBUTES
                | REALM
                | NONCE
                | MESSAGE_INTEGRITY_SHA256
                | PASSWORD_ALGORITHM
                | USERHASH
                | XOR_MAPPED_ADDRESS
                | PRIORITY
                | USE_CANDIDATE
                | NOMINATION
        )
}

/// Attribute types that a request has and that are not understood, the first few of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnknownAttributes(SmallVec<[u16; Self::MOST]>);

impl UnknownAttributes {
    /// As many as are listed in an error response, which keeps it smaller than 548 bytes.
    const MOST: usize = limits::UNKNOWN_ATTRIBUTES;

    pub(super) fn push(&mut self, kind: u16) {
        if self.0.len() < Self::MOST && !self.0.contains(&kind) {
            self.0.push(kind);
        }
    }

    /// That one attribute.
    pub(crate) fn one(kind: u16) -> Self {
        let mut unknown = Self::default();
        unknown.push(kind);
        unknown
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn as_slice(&self) -> &[u16] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stun_types::attribute as codec;
    use stun_types::prelude::AttributeStaticType;

    #[test]
    fn the_numbers_are_those_of_the_codec() {
        let pairs = [
            (USERNAME, codec::Username::TYPE),
            (MESSAGE_INTEGRITY, codec::MessageIntegrity::TYPE),
            (ERROR_CODE, codec::ErrorCode::TYPE),
            (UNKNOWN_ATTRIBUTES, codec::UnknownAttributes::TYPE),
            (REALM, codec::Realm::TYPE),
            (NONCE, codec::Nonce::TYPE),
            (MESSAGE_INTEGRITY_SHA256, codec::MessageIntegritySha256::TYPE),
            (PASSWORD_ALGORITHM, codec::PasswordAlgorithm::TYPE),
            (USERHASH, codec::Userhash::TYPE),
            (XOR_MAPPED_ADDRESS, codec::XorMappedAddress::TYPE),
            (FINGERPRINT, codec::Fingerprint::TYPE),
        ];
        assert!(pairs.iter().all(|(ours, theirs)| *ours == theirs.value()));
    }
}
