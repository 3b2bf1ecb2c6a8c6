//! The parser of `stun-types`: the measure for our own reader and writer, and the eyes of the wire log.

use alloc::vec::Vec;
use core::net::SocketAddr;

use stun_types::attribute::{ErrorCode, XorMappedAddress};
use stun_types::message::{Message, MessageClass, MessageIntegrityCredentials, ShortTermCredentials, StunParseError};
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
    let class = match message.class() {
        MessageClass::Request => Class::Request,
        MessageClass::Indication => Class::Indication,
        MessageClass::Success => Class::Success,
        MessageClass::Error => Class::Error,
    };
    let id = message.transaction_id();
    Some(Reference {
        class,
        method: message.method().value(),
        id: u128::from(id).to_be_bytes().last_chunk().copied()?,
        username: raw(attributes::USERNAME),
        priority: number(raw(attributes::PRIORITY)).map(u32::from_be_bytes),
        use_candidate: raw(attributes::USE_CANDIDATE).is_some(),
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
