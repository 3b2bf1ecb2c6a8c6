//! STUN by hand: messages as they are on the wire, decoded for the log, and built right or wrong for tests.

use std::net::SocketAddr;
use std::vec::Vec;

use crate::credentials::Password;
use crate::stun::address::write_xor_address;
use crate::stun::{Class, Integrity, IntegrityKey, TransactionId, reference};

/// A datagram, decoded by the parser of `stun-types`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wire {
    /// A Binding request.
    Request(WireRequest),
    /// A Binding success response.
    Success {
        /// Its transaction ID.
        id: [u8; 12],
        /// Its XOR-MAPPED-ADDRESS.
        mapped: Option<SocketAddr>,
    },
    /// A Binding error response.
    Error {
        /// Its transaction ID.
        id: [u8; 12],
        /// Its error code.
        code: Option<u16>,
        /// The types of its attributes, in order.
        attributes: Vec<u16>,
    },
    /// A Binding indication.
    Indication {
        /// The types of its attributes, in order.
        attributes: Vec<u16>,
    },
    /// No Binding message; this many bytes.
    Data(usize),
}

/// A Binding request on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireRequest {
    /// Its transaction ID.
    pub id: [u8; 12],
    /// USERNAME.
    pub username: Option<Vec<u8>>,
    /// PRIORITY.
    pub priority: Option<u32>,
    /// Whether USE-CANDIDATE is in it.
    pub use_candidate: bool,
    /// The value of the nomination, by whichever draft.
    pub nomination: Option<u32>,
    /// ICE-CONTROLLING.
    pub controlling: Option<u64>,
    /// ICE-CONTROLLED.
    pub controlled: Option<u64>,
    /// The types of its attributes, in order.
    pub attributes: Vec<u16>,
}

impl Wire {
    /// Decodes a datagram.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let Some(read) = reference::read(bytes).filter(|read| read.method == 1) else { return Self::Data(bytes.len()) };
        match read.class {
            Class::Request => Self::Request(WireRequest {
                id: read.id,
                username: read.username,
                priority: read.priority,
                use_candidate: read.use_candidate,
                nomination: read.nomination,
                controlling: read.controlling,
                controlled: read.controlled,
                attributes: read.kinds,
            }),
            Class::Success => Self::Success { id: read.id, mapped: read.mapped },
            Class::Error => Self::Error { id: read.id, code: read.error, attributes: read.kinds },
            Class::Indication => Self::Indication { attributes: read.kinds },
        }
    }

    /// The request in it, if it is one.
    #[must_use]
    pub const fn request(&self) -> Option<&WireRequest> {
        match self {
            Self::Request(request) => Some(request),
            Self::Success { .. } | Self::Error { .. } | Self::Indication { .. } | Self::Data(_) => None,
        }
    }

    /// Its transaction ID, if it is a request or a response.
    #[must_use]
    pub const fn id(&self) -> Option<[u8; 12]> {
        match self {
            Self::Request(WireRequest { id, .. }) | Self::Success { id, .. } | Self::Error { id, .. } => Some(*id),
            Self::Indication { .. } | Self::Data(_) => None,
        }
    }
}

/// Whether the integrity attribute of a message is that of this password, by the parser of `stun-types`.
#[must_use]
pub fn is_genuine(bytes: &[u8], password: &Password) -> bool {
    reference::is_genuine(bytes, password.expose())
}

/// Reads bytes with the reader of the agent and with the parser of `stun-types`, and compares what they found.
///
/// # Panics
/// If they disagree about a message that an agent would believe.
pub fn compare_readers(bytes: &[u8], password: &Password) {
    reference::compare(bytes, password);
}

/// Builds a STUN message attribute by attribute, as right or as wrong as a test wants it.
///
/// ```
/// use nilas::sim::{MessageBuilder, Wire};
///
/// let bytes = MessageBuilder::binding_request([7; 12])
///     .username("them", "us")
///     .priority(1)
///     .controlling(9)
///     .integrity(&"passwordOfThem0123456789".parse()?)
///     .fingerprint()
///     .build();
/// assert_eq!(Wire::decode(&bytes).request().map(|request| request.controlling), Some(Some(9)));
/// # Ok::<(), nilas::ParseCredentialError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MessageBuilder {
    bytes: Vec<u8>,
}

impl MessageBuilder {
    /// A message of this type number without attributes.
    #[must_use]
    pub fn new(kind: u16, id: [u8; 12]) -> Self {
        let mut bytes = Vec::new();
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 0, 0x21, 0x12, 0xa4, 0x42]);
        bytes.extend(id);
        Self { bytes }
    }

    /// A Binding request.
    #[must_use]
    pub fn binding_request(id: [u8; 12]) -> Self {
        Self::new(0x0001, id)
    }

    /// A Binding success response.
    #[must_use]
    pub fn binding_success(id: [u8; 12]) -> Self {
        Self::new(0x0101, id)
    }

    /// A Binding error response with this code.
    #[must_use]
    pub fn binding_error(id: [u8; 12], code: u16) -> Self {
        Self::new(0x0111, id).error_code(code)
    }

    /// Appends any attribute.
    #[must_use]
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.set_length(0);
        self
    }

    /// Appends USERNAME.
    #[must_use]
    pub fn username(self, to: &str, from: &str) -> Self {
        let mut text = Vec::from(to.as_bytes());
        text.push(b':');
        text.extend(from.as_bytes());
        self.attribute(0x0006, &text)
    }

    /// Appends PRIORITY.
    #[must_use]
    pub fn priority(self, priority: u32) -> Self {
        self.attribute(0x0024, &priority.to_be_bytes())
    }

    /// Appends USE-CANDIDATE.
    #[must_use]
    pub fn use_candidate(self) -> Self {
        self.attribute(0x0025, &[])
    }

    /// Appends ICE-CONTROLLING.
    #[must_use]
    pub fn controlling(self, tiebreaker: u64) -> Self {
        self.attribute(0x802a, &tiebreaker.to_be_bytes())
    }

    /// Appends ICE-CONTROLLED.
    #[must_use]
    pub fn controlled(self, tiebreaker: u64) -> Self {
        self.attribute(0x8029, &tiebreaker.to_be_bytes())
    }

    /// Appends XOR-MAPPED-ADDRESS of an IPv4 address.
    #[must_use]
    pub fn mapped_v4(self, address: std::net::SocketAddrV4) -> Self {
        let mut value = Vec::from([0, 1]);
        value.extend((address.port() ^ 0x2112).to_be_bytes());
        value.extend((u32::from(*address.ip()) ^ 0x2112_a442).to_be_bytes());
        self.attribute(0x0020, &value)
    }

    /// Appends MESSAGE-INTEGRITY.
    #[must_use]
    pub fn integrity(mut self, password: &Password) -> Self {
        self.set_length(24);
        let tag = IntegrityKey::new(password).sha1([&self.bytes, &[], &[]]);
        self.attribute(0x0008, &tag)
    }

    /// Appends MESSAGE-INTEGRITY-SHA256.
    #[must_use]
    pub fn integrity_sha256(mut self, password: &Password) -> Self {
        self.set_length(36);
        let tag = IntegrityKey::new(password).sha256([&self.bytes, &[], &[]]);
        self.attribute(0x001c, &tag)
    }

    /// Appends an address that is XORed with the header (RFC 8489 §14.2), as an attribute of this type.
    #[must_use]
    pub fn xor_address(self, kind: u16, address: SocketAddr) -> Self {
        let id = self.bytes.get(8..20).and_then(|id| id.try_into().ok()).unwrap_or_default();
        let mut value = [0; 20];
        let value = write_xor_address(&mut value, address, TransactionId(id)).to_vec();
        self.attribute(kind, &value)
    }

    /// Appends ERROR-CODE with this number.
    #[must_use]
    pub fn error_code(self, code: u16) -> Self {
        let [class, number] = [code / 100, code % 100].map(|part| u8::try_from(part).unwrap_or(u8::MAX));
        self.attribute(0x0009, &[0, 0, class, number])
    }

    /// Appends MESSAGE-INTEGRITY by the long-term credentials of a TURN server (RFC 8489 §9.2.2), made with MD5.
    #[must_use]
    pub fn long_term_integrity(mut self, username: &str, realm: &[u8], password: &str) -> Self {
        self.set_length(24);
        let key = IntegrityKey::long_term(username.as_bytes(), realm, password.as_bytes(), Integrity::Sha1);
        let tag = key.sha1([&self.bytes, &[], &[]]);
        self.attribute(0x0008, &tag)
    }

    /// Appends FINGERPRINT.
    #[must_use]
    pub fn fingerprint(mut self) -> Self {
        self.set_length(8);
        let tag = crc32fast::hash(&self.bytes) ^ 0x5354_554e;
        self.attribute(0x8028, &tag.to_be_bytes())
    }

    /// The message.
    #[must_use]
    pub fn build(self) -> Vec<u8> {
        self.bytes
    }

    fn set_length(&mut self, more: usize) {
        let length = u16::try_from(self.bytes.len() + more - 20).unwrap_or(u16::MAX);
        if let Some(field) = self.bytes.get_mut(2..4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }
}
