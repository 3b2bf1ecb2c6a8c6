//! Writing: messages go once over a buffer on the stack, whose size bounds them.

use core::net::SocketAddr;
use core::ops::Deref;

use stun_types::message::{BINDING, MAGIC_COOKIE, MessageClass, MessageType};

use super::TransactionId;
use super::attributes::{self, UnknownAttributes};
use super::key::{Integrity, IntegrityKey};
use crate::stun::address::xor_v6;
use crate::types::{Renomination, Role, Tiebreaker};

/// A message being written, on the stack. There is room for any that ICE writes: the largest, a check with the longest
/// username, has 372 bytes.
#[derive(Clone, Debug)]
pub(crate) struct Scratch {
    bytes: [u8; Self::ROOM],
    len: usize,
}

impl Scratch {
    const ROOM: usize = 512;

    pub(crate) const fn new() -> Self {
        Self { bytes: [0; Self::ROOM], len: 0 }
    }

    fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends bytes; more than there is room for is a mistake in this file, and left out.
    fn extend_from_slice(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.len..self.len + bytes.len());
        debug_assert!(room.is_some(), "ICE writes no such message");
        if let Some(room) = room {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }
}

impl Deref for Scratch {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What a connectivity check says (RFC 8445 §7.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) id: TransactionId,
    /// Username fragment of the peer.
    pub(crate) to: &'a str,
    /// Username fragment of this agent.
    pub(crate) from: &'a str,
    pub(crate) priority: u32,
    pub(crate) role: Role,
    pub(crate) tiebreaker: Tiebreaker,
    pub(crate) use_candidate: bool,
    /// The value of the nomination, where both sides know what that is.
    pub(crate) nomination: Option<(Renomination, u32)>,
}

/// The error responses that ICE gives (RFC 8489 §14.8, RFC 8445 §7.3.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ErrorReply {
    BadRequest,
    Unauthenticated,
    /// Consent is withdrawn (RFC 7675 §5.2).
    Forbidden,
    UnknownAttributes(UnknownAttributes),
    RoleConflict,
}

impl ErrorReply {
    const fn code_and_reason(&self) -> (u16, &'static str) {
        match self {
            Self::BadRequest => (400, "Bad Request"),
            Self::Unauthenticated => (401, "Unauthenticated"),
            Self::Forbidden => (403, "Forbidden"),
            Self::UnknownAttributes(_) => (420, "Unknown Attribute"),
            Self::RoleConflict => (487, "Role Conflict"),
        }
    }
}

/// Writes a check, protected with the key of the peer's password.
pub(crate) fn write_request(out: &mut Scratch, request: &Request<'_>, key: &IntegrityKey) {
    start(out, MessageClass::Request, request.id);
    let username = [request.to.as_bytes(), b":", request.from.as_bytes()];
    attribute(out, attributes::USERNAME, username.iter().map(|part| part.len()).sum());
    username.iter().for_each(|part| out.extend_from_slice(part));
    pad(out);
    attribute(out, attributes::PRIORITY, 4);
    out.extend_from_slice(&request.priority.to_be_bytes());
    let role = match request.role {
        Role::Controlling => attributes::ICE_CONTROLLING,
        Role::Controlled => attributes::ICE_CONTROLLED,
    };
    attribute(out, role, 8);
    out.extend_from_slice(&request.tiebreaker.get().to_be_bytes());
    if request.use_candidate {
        attribute(out, attributes::USE_CANDIDATE, 0);
    }
    if let Some((draft, value)) = request.nomination {
        let (kind, value) = match draft {
            Renomination::Draft2016 => (attributes::GOOG_NOMINATION, value & 0xff_ffff),
            Renomination::Draft2026 => (attributes::NOMINATION, value),
        };
        attribute(out, kind, 4);
        out.extend_from_slice(&value.to_be_bytes());
    }
    finish(out, Some((key, Integrity::Sha1)));
}

/// Writes a request to a STUN server, which carries no credentials (RFC 8445 §5.1.1.2).
pub(crate) fn write_binding(out: &mut Scratch, id: TransactionId) {
    start(out, MessageClass::Request, id);
    finish(out, None);
}

/// Writes a keepalive: FINGERPRINT is all that is in it (RFC 8445 §11).
pub(crate) fn write_keepalive(out: &mut Scratch, id: TransactionId) {
    start(out, MessageClass::Indication, id);
    finish(out, None);
}

/// Writes the answer to a check (RFC 8445 §7.3.1.2).
pub(crate) fn write_success(
    out: &mut Scratch,
    id: TransactionId,
    mapped: SocketAddr,
    key: &IntegrityKey,
    integrity: Integrity,
) {
    start(out, MessageClass::Success, id);
    let port = (mapped.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes();
    match mapped {
        SocketAddr::V4(v4) => {
            attribute(out, attributes::XOR_MAPPED_ADDRESS, 8);
            out.extend_from_slice(&[0, 1]);
            out.extend_from_slice(&port);
            out.extend_from_slice(&(u32::from(*v4.ip()) ^ MAGIC_COOKIE).to_be_bytes());
        }
        SocketAddr::V6(v6) => {
            attribute(out, attributes::XOR_MAPPED_ADDRESS, 20);
            out.extend_from_slice(&[0, 2]);
            out.extend_from_slice(&port);
            out.extend_from_slice(&xor_v6(*v6.ip(), id).octets());
        }
    }
    finish(out, Some((key, integrity)));
}

/// Writes an error response; one to a request that was not authenticated has no integrity (RFC 8489 §9.1.3).
pub(crate) fn write_error(
    out: &mut Scratch,
    id: TransactionId,
    error: &ErrorReply,
    protection: Option<(&IntegrityKey, Integrity)>,
) {
    start(out, MessageClass::Error, id);
    let (code, reason) = error.code_and_reason();
    attribute(out, attributes::ERROR_CODE, 4 + reason.len());
    let [_, class] = (code / 100).to_be_bytes();
    let [_, number] = (code % 100).to_be_bytes();
    out.extend_from_slice(&[0, 0, class, number]);
    out.extend_from_slice(reason.as_bytes());
    pad(out);
    if let ErrorReply::UnknownAttributes(unknown) = error {
        attribute(out, attributes::UNKNOWN_ATTRIBUTES, 2 * unknown.as_slice().len());
        unknown.as_slice().iter().for_each(|kind| out.extend_from_slice(&kind.to_be_bytes()));
        pad(out);
    }
    finish(out, protection);
}

fn start(out: &mut Scratch, class: MessageClass, id: TransactionId) {
    out.clear();
    let mut kind = [0; 2];
    MessageType::from_class_method(class, BINDING).write_into(&mut kind);
    out.extend_from_slice(&kind);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
    out.extend_from_slice(&id.0);
}

/// Writes type and length of an attribute, whose value has to follow.
fn attribute(out: &mut Scratch, kind: u16, length: usize) {
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    debug_assert!(length < 1024, "ICE writes no such attribute");
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
}

fn pad(out: &mut Scratch) {
    let padding = out.len().wrapping_neg() % 4;
    out.extend_from_slice([0; 3].get(..padding).unwrap_or_default());
}

/// Appends integrity, if any, and FINGERPRINT, with the length field that each of them counts with.
fn finish(out: &mut Scratch, protection: Option<(&IntegrityKey, Integrity)>) {
    match protection {
        Some((key, Integrity::Sha1)) => {
            set_length(out, 24);
            let tag = key.sha1([out, &[], &[]]);
            attribute(out, attributes::MESSAGE_INTEGRITY, tag.len());
            out.extend_from_slice(&tag);
        }
        Some((key, Integrity::Sha256)) => {
            set_length(out, 36);
            let tag = key.sha256([out, &[], &[]]);
            attribute(out, attributes::MESSAGE_INTEGRITY_SHA256, tag.len());
            out.extend_from_slice(&tag);
        }
        None => {}
    }
    set_length(out, 8);
    let tag = fingerprint(out);
    attribute(out, attributes::FINGERPRINT, 4);
    out.extend_from_slice(&tag.to_be_bytes());
}

/// Sets the length field to what it will be when `more` bytes have been appended.
fn set_length(out: &mut Scratch, more: usize) {
    let length = u16::try_from(out.len() + more - 20).unwrap_or(u16::MAX);
    if let Some(field) = out.bytes.get_mut(2..4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// FINGERPRINT of a message up to that attribute (RFC 8489 §14.7).
pub(super) fn fingerprint(before: &[u8]) -> u32 {
    crc32fast::hash(before) ^ 0x5354_554e
}
