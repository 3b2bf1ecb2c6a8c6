//! Reading: one pass over a message, and the proof that it was authenticated.

use core::net::SocketAddr;

use stun_types::message::{BINDING, MAGIC_COOKIE, MessageClass, MessageType};

use super::address::xor_address;
use super::attributes::{self, UnknownAttributes};
use super::key::{Integrity, IntegrityKey};
use super::{TransactionId, writer};
use crate::types::{Role, Tiebreaker};

/// Class of a STUN message (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Request,
    Indication,
    Success,
    Error,
}

impl From<MessageClass> for Class {
    fn from(class: MessageClass) -> Self {
        match class {
            MessageClass::Request => Self::Request,
            MessageClass::Indication => Self::Indication,
            MessageClass::Success => Self::Success,
            MessageClass::Error => Self::Error,
        }
    }
}

/// Why bytes are no message that ICE handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// The lengths do not add up, or FINGERPRINT is not the last attribute.
    Malformed,
    /// A method other than Binding.
    Method,
    /// FINGERPRINT is missing.
    NoFingerprint,
}

/// A Binding message that is well formed, and not yet believed.
///
/// Of attributes that occur twice the first counts; those behind the integrity attributes do not count at all, nor do
/// those that mean nothing in a message of this class (RFC 8489 §14, §9, §6.3).
#[derive(Clone, Debug)]
pub(crate) struct Message<'a> {
    bytes: &'a [u8],
    fingerprint: usize,
    sha1: Option<usize>,
    sha256: Option<(usize, usize)>,
    pub(crate) class: Class,
    pub(crate) id: TransactionId,
    pub(crate) username: Option<&'a [u8]>,
    pub(crate) priority: Option<u32>,
    pub(crate) use_candidate: bool,
    /// The value of the nomination by draft-thatcher-ice-renomination.
    pub(crate) nomination: Option<u32>,
    /// The same by draft-thatcher-tsvwg-renomination.
    pub(crate) nomination2: Option<u32>,
    pub(crate) controlling: Option<u64>,
    pub(crate) controlled: Option<u64>,
    pub(crate) mapped: Option<SocketAddr>,
    pub(crate) error: Option<u16>,
    pub(crate) unknown: UnknownAttributes,
    /// An attribute that ICE needs in such a message has a value that it cannot have.
    pub(crate) has_broken_attribute: bool,
}

const HEADER: usize = 20;

/// Whether these bytes are to be read as STUN: two zero bits, and the magic cookie in a whole header (RFC 8489 §5).
pub(crate) fn looks_like_stun(bytes: &[u8]) -> bool {
    let Some(&[first, _, _, _, a, b, c, d]) = bytes.first_chunk::<8>() else { return false };
    first & 0xc0 == 0 && u32::from_be_bytes([a, b, c, d]) == MAGIC_COOKIE && bytes.len() >= HEADER
}

impl<'a> Message<'a> {
    /// Reads bytes for which [`looks_like_stun`] holds.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let (header, mut rest) = bytes.split_first_chunk::<HEADER>().ok_or(Unreadable::Malformed)?;
        let [_, _, high, low, _, _, _, _, id @ ..] = *header;
        if usize::from(u16::from_be_bytes([high, low])) != rest.len() {
            return Err(Unreadable::Malformed);
        }
        let kind = MessageType::from_bytes(header).map_err(|_| Unreadable::Malformed)?;
        let class = kind.class().into();
        let mut message = Self {
            bytes,
            fingerprint: 0,
            sha1: None,
            sha256: None,
            class,
            id: TransactionId(id),
            username: None,
            priority: None,
            use_candidate: false,
            nomination: None,
            nomination2: None,
            controlling: None,
            controlled: None,
            mapped: None,
            error: None,
            unknown: UnknownAttributes::default(),
            has_broken_attribute: false,
        };
        while let Some((&[k1, k2, l1, l2], behind)) = rest.split_first_chunk::<4>() {
            let offset = bytes.len() - rest.len();
            let length = usize::from(u16::from_be_bytes([l1, l2]));
            let (value, behind) = behind.split_at_checked(length).ok_or(Unreadable::Malformed)?;
            rest = behind.get(length.wrapping_neg() % 4..).ok_or(Unreadable::Malformed)?;
            let kind = u16::from_be_bytes([k1, k2]);
            if kind == attributes::FINGERPRINT {
                if length != 4 || !rest.is_empty() {
                    return Err(Unreadable::Malformed);
                }
                message.fingerprint = offset;
            } else {
                message.note(kind, value, offset);
            }
        }
        if !rest.is_empty() {
            return Err(Unreadable::Malformed);
        }
        if kind.method() != BINDING {
            return Err(Unreadable::Method);
        }
        if message.fingerprint == 0 { Err(Unreadable::NoFingerprint) } else { Ok(message) }
    }

    /// Takes one attribute in.
    fn note(&mut self, kind: u16, value: &'a [u8], offset: usize) {
        let has_integrity = self.sha1.is_some() || self.sha256.is_some();
        let is = |class| self.class == class;
        match kind {
            attributes::MESSAGE_INTEGRITY if !has_integrity => {
                self.has_broken_attribute |= value.len() != 20;
                self.sha1 = Some(offset);
            }
            attributes::MESSAGE_INTEGRITY_SHA256 if self.sha256.is_none() => {
                self.has_broken_attribute |= !matches!(value.len(), 16 | 20 | 24 | 28 | 32);
                self.sha256 = Some((offset, value.len()));
            }
            _ if has_integrity => {}
            attributes::USERNAME => {
                self.username.get_or_insert(value);
            }
            attributes::PRIORITY if is(Class::Request) => {
                self.number(value, |message| &mut message.priority, u32::from_be_bytes);
            }
            attributes::USE_CANDIDATE if is(Class::Request) => {
                self.has_broken_attribute |= !self.use_candidate && !value.is_empty();
                self.use_candidate = true;
            }
            attributes::NOMINATION if is(Class::Request) => {
                self.number(value, |message| &mut message.nomination2, u32::from_be_bytes);
            }
            attributes::GOOG_NOMINATION if is(Class::Request) && self.nomination.is_none() => {
                // The number belongs to somebody else, so that another value breaks nothing. It counts by its low 24 bits.
                self.nomination = <[u8; 4]>::try_from(value).ok().map(|bytes| u32::from_be_bytes(bytes) & 0xff_ffff);
            }
            attributes::ICE_CONTROLLING if is(Class::Request) => {
                self.number(value, |message| &mut message.controlling, u64::from_be_bytes);
            }
            attributes::ICE_CONTROLLED if is(Class::Request) => {
                self.number(value, |message| &mut message.controlled, u64::from_be_bytes);
            }
            attributes::XOR_MAPPED_ADDRESS if is(Class::Success) && !self.has_broken_attribute => {
                self.mapped = self.mapped.or_else(|| xor_address(value, self.id));
                self.has_broken_attribute = self.mapped.is_none();
            }
            attributes::ERROR_CODE if is(Class::Error) && !self.has_broken_attribute => {
                self.error = self.error.or_else(|| error_code(value));
                self.has_broken_attribute = self.error.is_none();
            }
            _ if attributes::is_unknown(kind) => self.unknown.push(kind),
            _ => {}
        }
    }

    /// Takes an attribute in that is one number.
    fn number<const N: usize, T>(
        &mut self,
        value: &[u8],
        field: fn(&mut Self) -> &mut Option<T>,
        read: fn([u8; N]) -> T,
    ) {
        if field(self).is_some() {
            return;
        }
        match <[u8; N]>::try_from(value) {
            Ok(bytes) => *field(self) = Some(read(bytes)),
            Err(_) => self.has_broken_attribute = true,
        }
    }

    /// Whether FINGERPRINT is that of the message (RFC 8489 §14.7).
    pub(crate) fn has_valid_fingerprint(&self) -> bool {
        let Some((before, tag)) = self.bytes.split_at_checked(self.fingerprint) else { return false };
        tag.get(4..) == Some(writer::fingerprint(before).to_be_bytes().as_slice())
    }

    pub(crate) fn has_integrity(&self) -> bool {
        self.sha1.is_some() || self.sha256.is_some()
    }

    /// The two halves of USERNAME: whom it is for, and whom it is from (RFC 8445 §7.2.2).
    pub(crate) fn ufrags(&self) -> Option<(&'a [u8], &'a [u8])> {
        let username = self.username?;
        let colon = username.iter().position(|&byte| byte == b':')?;
        Some((username.get(..colon)?, username.get(colon + 1..)?))
    }

    /// Verifies the integrity attribute, the stronger one if there are two (RFC 8489 §9.1.3).
    pub(crate) fn authenticate(self, key: &IntegrityKey) -> Option<Authenticated<Self>> {
        let (offset, length, integrity) = match (self.sha256, self.sha1) {
            (Some((offset, length)), _) => (offset, length, Integrity::Sha256),
            (None, Some(offset)) => (offset, 20, Integrity::Sha1),
            (None, None) => return None,
        };
        is_genuine(self.bytes, offset, length, integrity, key).then_some(Authenticated { message: self, integrity })
    }
}

/// Whether the integrity attribute at this offset, whose value has this length, is that of the message.
pub(super) fn is_genuine(bytes: &[u8], offset: usize, length: usize, integrity: Integrity, key: &IntegrityKey) -> bool {
    let parts = || {
        // The length field counts up to the end of the integrity attribute (RFC 8489 §14.5).
        let counted = u16::try_from(offset + 4 + length - HEADER).ok()?.to_be_bytes();
        Some((bytes.get(..2)?, counted, bytes.get(4..offset)?, bytes.get(offset + 4..offset + 4 + length)?))
    };
    let Some((start, counted, rest, tag)) = parts() else { return false };
    match integrity {
        Integrity::Sha1 => key.verify_sha1([start, &counted, rest], tag),
        Integrity::Sha256 => key.verify_sha256([start, &counted, rest], tag),
    }
}

/// What was authenticated with the key of the party that it claims to come from. Only verifying makes one.
#[derive(Clone, Debug)]
pub(crate) struct Authenticated<T> {
    message: T,
    integrity: Integrity,
}

impl<T> Authenticated<T> {
    /// How it was protected, and how the response has to be.
    pub(crate) const fn integrity(&self) -> Integrity {
        self.integrity
    }
}

impl<T> core::ops::Deref for Authenticated<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.message
    }
}

impl Authenticated<Message<'_>> {
    /// The role that the sender of a request is in, and its tiebreaker; `None` if it claims none or both.
    pub(crate) const fn claimed_role(&self) -> Option<(Role, Tiebreaker)> {
        match (self.message.controlling, self.message.controlled) {
            (Some(tiebreaker), None) => Some((Role::Controlling, Tiebreaker::new(tiebreaker))),
            (None, Some(tiebreaker)) => Some((Role::Controlled, Tiebreaker::new(tiebreaker))),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }
}

/// Reads the number in ERROR-CODE (RFC 8489 §14.8).
pub(super) fn error_code(value: &[u8]) -> Option<u16> {
    let (&[_, _, class, number], _) = value.split_first_chunk::<4>()?;
    let class = class & 7;
    ((3..=6).contains(&class) && number < 100).then(|| u16::from(class) * 100 + u16::from(number))
}
