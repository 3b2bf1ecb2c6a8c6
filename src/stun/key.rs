//! Integrity keys: the hash states of a password, made once per credential (RFC 8489 §14.5, §14.6).

use alloc::boxed::Box;
use core::fmt;

use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;
#[cfg(feature = "turn")]
use sha2::digest::Digest;

use crate::credentials::Password;

/// Which integrity attribute protects a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Integrity {
    /// MESSAGE-INTEGRITY, HMAC-SHA1: what ICE uses unless the peer says otherwise (RFC 8489 §9.1.2).
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256.
    Sha256,
}

/// The key of one side's password.
///
/// The two padded key blocks of HMAC-SHA1 are hashed once, here. HMAC-SHA256 is rare enough to start from the password.
#[derive(Clone)]
pub(crate) struct IntegrityKey {
    sha1: Option<Hmac<Sha1>>,
    secret: Box<[u8]>,
}

impl IntegrityKey {
    pub(crate) fn new(password: &Password) -> Self {
        Self::from_secret(password.expose().as_bytes())
    }

    fn from_secret(secret: &[u8]) -> Self {
        let sha1 = Hmac::new_from_slice(secret).ok();
        debug_assert!(sha1.is_some(), "HMAC takes keys of any length");
        Self { sha1, secret: secret.into() }
    }

    /// The key of a long-term credential with a server of this realm (RFC 8489 §9.2.2, §18.5.1): all three as they are
    /// on the wire.
    #[cfg(feature = "turn")]
    pub(crate) fn long_term(username: &[u8], realm: &[u8], password: &[u8], algorithm: Integrity) -> Self {
        let parts = [username, b":", realm, b":", password];
        match algorithm {
            Integrity::Sha1 => Self::from_secret(&digest::<md5::Md5>(&parts)),
            Integrity::Sha256 => Self::from_secret(&digest::<Sha256>(&parts)),
        }
    }

    /// HMAC-SHA1 over the parts, one after another.
    pub(crate) fn sha1(&self, parts: [&[u8]; 3]) -> [u8; 20] {
        let Some(mut mac) = self.sha1.clone() else { return [0; 20] };
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }

    /// HMAC-SHA256 over the parts, one after another.
    pub(crate) fn sha256(&self, parts: [&[u8]; 3]) -> [u8; 32] {
        let Some(mac) = self.keyed_sha256(parts) else { return [0; 32] };
        mac.finalize().into_bytes().into()
    }

    /// Compares in constant time.
    pub(super) fn verify_sha1(&self, parts: [&[u8]; 3], tag: &[u8]) -> bool {
        let Some(mut mac) = self.sha1.clone() else { return false };
        parts.iter().for_each(|part| mac.update(part));
        mac.verify_slice(tag).is_ok()
    }

    /// Compares in constant time; a tag of 16 to 32 bytes may be cut off at the end (RFC 8489 §14.6).
    pub(super) fn verify_sha256(&self, parts: [&[u8]; 3], tag: &[u8]) -> bool {
        tag.len() >= 16 && self.keyed_sha256(parts).is_some_and(|mac| mac.verify_truncated_left(tag).is_ok())
    }

    fn keyed_sha256(&self, parts: [&[u8]; 3]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).ok()?;
        parts.iter().for_each(|part| mac.update(part));
        Some(mac)
    }
}

/// USERHASH of a user with a server of this realm (RFC 8489 §14.4).
#[cfg(feature = "turn")]
pub(crate) fn userhash(username: &[u8], realm: &[u8]) -> [u8; 32] {
    digest::<Sha256>(&[username, b":", realm]).into()
}

#[cfg(feature = "turn")]
fn digest<D: Digest>(parts: &[&[u8]]) -> sha2::digest::Output<D> {
    let mut hash = D::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize()
}

impl fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntegrityKey(..)")
    }
}

#[cfg(all(test, feature = "turn"))]
mod tests {
    use super::*;

    /// Req: 8489-9.2.2-a
    #[test]
    fn a_long_term_key_is_the_digest_of_the_three_parts() {
        let key = |algorithm| IntegrityKey::long_term(b"user", b"realm", b"pass", algorithm);
        assert_eq!(
            *key(Integrity::Sha1).secret,
            [0x84, 0x93, 0xfb, 0xc5, 0x3b, 0xa5, 0x82, 0xfb, 0x4c, 0x04, 0x4c, 0x45, 0x6b, 0xdc, 0x40, 0xeb]
        );
        assert_eq!(key(Integrity::Sha256).secret.len(), 32);
        assert_ne!(userhash(b"user", b"realm"), userhash(b"user", b"other"));
    }
}
