//! Integrity keys: the hash states of a password, made once per credential (RFC 8489 §14.5, §14.6).

use core::fmt;

use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;

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
    password: Password,
}

impl IntegrityKey {
    pub(crate) fn new(password: &Password) -> Self {
        let sha1 = Hmac::new_from_slice(password.expose().as_bytes()).ok();
        debug_assert!(sha1.is_some(), "HMAC takes keys of any length");
        Self { sha1, password: password.clone() }
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
        let mut mac = Hmac::<Sha256>::new_from_slice(self.password.expose().as_bytes()).ok()?;
        parts.iter().for_each(|part| mac.update(part));
        Some(mac)
    }
}

impl fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntegrityKey(..)")
    }
}
