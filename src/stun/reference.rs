//! The parser of `stun-types`: the measure for our own reader and writer, and the eyes of the wire log.

use alloc::vec::Vec;
use core::net::SocketAddr;

use stun_types::attribute::{ErrorCode, XorMappedAddress};
use stun_types::message::{Message, MessageIntegrityCredentials, ShortTermCredentials, StunParseError};
use stun_types::prelude::{Attribute, AttributeFromRaw, AttributeStaticType};

use super::attributes;
use super::message::Class;

/// A STUN message as `stun-types` reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) class: Class,
    pub(crate) method: u16,
    pub(crate) id: [u8; 12],
    pub(crate) username: Option<Vec<u8>>,
    pub(crate) priority: Option<u32>,
    pub(crate) use_candidate: bool,
    /// The value of a nomination, by whichever draft.
    pub(crate) nomination: Option<u32>,
    pub(crate) controlling: Option<u64>,
    pub(crate) controlled: Option<u64>,
    pub(crate) mapped: Option<SocketAddr>,
    pub(crate) error: Option<u16>,
    pub(crate) kinds: Vec<u16>,
}

/// Reads a message with `stun-types`; `None` if it does not take it.
pub(crate) fn read(bytes: &[u8]) -> Option<Reference> {
    let message = Message::from_bytes(bytes).ok()?;
    let raw = |kind: u16| message.raw_attribute(kind.into()).map(|raw| raw.value.to_vec());
    let class = message.class().into();
    let id = message.transaction_id();
    Some(Reference {
        class,
        method: message.method().value(),
        id: u128::from(id).to_be_bytes().last_chunk().copied()?,
        username: raw(attributes::USERNAME),
        priority: number(raw(attributes::PRIORITY)).map(u32::from_be_bytes),
        use_candidate: raw(attributes::USE_CANDIDATE).is_some(),
        nomination: number(raw(attributes::NOMINATION).or(raw(attributes::GOOG_NOMINATION))).map(u32::from_be_bytes),
        controlling: number(raw(attributes::ICE_CONTROLLING)).map(u64::from_be_bytes),
        controlled: number(raw(attributes::ICE_CONTROLLED)).map(u64::from_be_bytes),
        mapped: typed::<XorMappedAddress>(&message).ok().map(|mapped| mapped.addr(id)),
        error: typed::<ErrorCode>(&message).ok().map(|error| error.code()),
        kinds: message.iter_attributes().map(|(_, raw)| raw.get_type().value()).collect(),
    })
}

/// Whether `stun-types` finds the integrity attribute to be that of this password.
pub(crate) fn is_genuine(bytes: &[u8], password: &str) -> bool {
    let credentials = MessageIntegrityCredentials::ShortTerm(ShortTermCredentials::new(password.into()));
    Message::from_bytes(bytes).is_ok_and(|message| message.validate_integrity(&credentials).is_ok())
}

fn number<const N: usize>(value: Option<Vec<u8>>) -> Option<[u8; N]> {
    value?.try_into().ok()
}

fn typed<'a, A: AttributeFromRaw<'a> + AttributeStaticType>(message: &'a Message<'a>) -> Result<A, StunParseError> {
    message.attribute::<A>()
}

/// Holds our reader against this one.
///
/// # Panics
/// If we take what the reference does not, read something else in it, or think otherwise of its integrity.
#[cfg(feature = "sim")]
#[expect(clippy::panic, reason = "a difference is a mistake of this crate")]
pub(crate) fn compare(bytes: &[u8], password: &crate::credentials::Password) {
    use super::message::{Message as Ours, Unreadable, looks_like_stun};
    if !looks_like_stun(bytes) {
        return;
    }
    let theirs = read(bytes);
    let ours = match (Ours::read(bytes), &theirs) {
        (Ok(ours), Some(_)) => ours,
        (Err(Unreadable::Method), Some(theirs)) => {
            assert_ne!(theirs.method, 1, "a Binding message was taken for another");
            return;
        }
        // We are stricter: ICE wants FINGERPRINT, and does not look into what it refuses.
        (Err(_), _) => return,
        // The reference verifies FINGERPRINT while it reads; we do it before we believe anything.
        (Ok(ours), None) if !ours.has_valid_fingerprint() => return,
        (Ok(_), None) => panic!("the reference does not read this"),
    };
    let Some(theirs) = theirs else { return };
    assert_eq!((theirs.class, theirs.method, theirs.id), (ours.class, 1, ours.id.0));
    // The reference stops where anything else stands behind an integrity attribute, or a second one: it verifies no
    // FINGERPRINT then, and shows attributes that do not count.
    let ending: Vec<u16> = kinds(bytes).into_iter().skip_while(|kind| !is_integrity(*kind)).collect();
    let is_tidy = ending.iter().enumerate().all(|(place, kind)| {
        (is_integrity(*kind) || *kind == attributes::FINGERPRINT)
            && !ending.iter().skip(place + 1).any(|later| later == kind)
    });
    assert!(ours.has_valid_fingerprint() || !is_tidy, "the reference takes the fingerprint");
    if !is_tidy || ours.has_broken_attribute {
        return;
    }
    // We read only what means something in a message of its class.
    match ours.class {
        Class::Request => {
            assert_eq!(theirs.username.as_deref(), ours.username);
            assert_eq!((theirs.priority, theirs.use_candidate), (ours.priority, ours.use_candidate));
            assert_eq!((theirs.controlling, theirs.controlled), (ours.controlling, ours.controlled));
        }
        Class::Success => assert_eq!(theirs.mapped, ours.mapped),
        // The reference wants the reason phrase to be text; only the number matters here.
        Class::Error => assert!(theirs.error.is_none_or(|error| ours.error == Some(error))),
        Class::Indication => {}
    }
    let is_genuine = is_genuine(bytes, password.expose());
    let is_authentic = ours.authenticate(&super::IntegrityKey::new(password)).is_some();
    assert_eq!(is_genuine, is_authentic, "the two disagree on the integrity");
}

/// The types of all attributes, also of those that do not count.
#[cfg(feature = "sim")]
fn kinds(bytes: &[u8]) -> Vec<u16> {
    let mut kinds = Vec::new();
    let mut rest = bytes.get(20..).unwrap_or_default();
    while let Some((&[k1, k2, l1, l2], behind)) = rest.split_first_chunk::<4>() {
        kinds.push(u16::from_be_bytes([k1, k2]));
        let length = usize::from(u16::from_be_bytes([l1, l2]));
        rest = behind.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    kinds
}

#[cfg(feature = "sim")]
const fn is_integrity(kind: u16) -> bool {
    matches!(kind, attributes::MESSAGE_INTEGRITY | attributes::MESSAGE_INTEGRITY_SHA256)
}
