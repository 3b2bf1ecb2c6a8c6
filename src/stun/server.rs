//! Messages between a client and a STUN or TURN server (RFC 8489, RFC 8656 §17, §18): a reader that finds attributes on
//! demand, and a writer. The way of data needs neither: see `crate::turn::data`.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::types::address::plain;

use stun_types::message::MAGIC_COOKIE;

use super::address::write_xor_address;
use super::key::{Integrity, IntegrityKey};
use super::message::{Class, error_code, is_genuine};
use super::{TransactionId, attributes};
use crate::stun::address::xor_address;

/// Methods (RFC 8489 §18.2, RFC 8656 §17).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Method {
    Binding,
    Allocate,
    Refresh,
    Send,
    Data,
    CreatePermission,
    ChannelBind,
}

impl Method {
    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::Binding => 1,
            Self::Allocate => 3,
            Self::Refresh => 4,
            Self::Send => 6,
            Self::Data => 7,
            Self::CreatePermission => 8,
            Self::ChannelBind => 9,
        }
    }

    const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Binding,
            3 => Self::Allocate,
            4 => Self::Refresh,
            6 => Self::Send,
            7 => Self::Data,
            8 => Self::CreatePermission,
            9 => Self::ChannelBind,
            _ => return None,
        })
    }
}

/// Attribute types that only these messages have (RFC 8656 §18, RFC 8489 §18.3).
pub(crate) mod kinds {
    pub(crate) use super::attributes::{
        ERROR_CODE, MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256, NONCE, PASSWORD_ALGORITHM, REALM, USERHASH, USERNAME,
        XOR_MAPPED_ADDRESS,
    };
    pub(crate) const CHANNEL_NUMBER: u16 = 0x000c;
    pub(crate) const LIFETIME: u16 = 0x000d;
    pub(crate) const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub(crate) const DATA: u16 = 0x0013;
    pub(crate) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub(crate) const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    pub(crate) const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub(crate) const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
    pub(crate) const ADDRESS_ERROR_CODE: u16 = 0x8001;
    pub(crate) const PASSWORD_ALGORITHMS: u16 = 0x8002;
    pub(crate) const ICMP: u16 = 0x8004;
    pub(crate) const SOFTWARE: u16 = 0x8022;
    pub(crate) const ALTERNATE_SERVER: u16 = 0x8023;
}

/// Bytes of a STUN header.
pub(crate) const HEADER: usize = 20;

/// The type of a message, as its first two bytes have it (RFC 8489 §5).
pub(crate) const fn type_bytes(class: Class, method: Method) -> [u8; 2] {
    let bits = match class {
        Class::Request => 0,
        Class::Indication => 0x010,
        Class::Success => 0x100,
        Class::Error => 0x110,
    };
    // All methods here fit into the lowest four bits.
    (method.number() | bits).to_be_bytes()
}

/// A message of one of these methods that is well formed, and not yet believed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerMessage<'a> {
    bytes: &'a [u8],
    pub(crate) class: Class,
    pub(crate) method: Method,
    pub(crate) id: TransactionId,
}

impl<'a> ServerMessage<'a> {
    /// Reads bytes that look like STUN; `None` if the lengths do not add up or the method is another.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&[t1, t2, l1, l2, c1, c2, c3, c4, id @ ..], rest) = bytes.split_first_chunk::<HEADER>()?;
        if u32::from_be_bytes([c1, c2, c3, c4]) != MAGIC_COOKIE
            || usize::from(u16::from_be_bytes([l1, l2])) != rest.len()
        {
            return None;
        }
        let kind = u16::from_be_bytes([t1, t2]);
        let class = match kind & 0x110 {
            0 => Class::Request,
            0x010 => Class::Indication,
            0x100 => Class::Success,
            _ => Class::Error,
        };
        let method = Method::from_number(kind & !0x110)?;
        let message = Self { bytes, class, method, id: TransactionId(id) };
        let mut walk = message.walk();
        walk.by_ref().for_each(drop);
        walk.rest.is_empty().then_some(message)
    }

    const fn walk(&self) -> Walk<'a> {
        let rest = match self.bytes.split_at_checked(HEADER) {
            Some((_, rest)) => rest,
            None => &[],
        };
        Walk { rest, offset: HEADER }
    }

    /// All attributes of this type. Those behind an integrity attribute do not count (RFC 8489 §9).
    pub(crate) fn all(&self, kind: u16) -> impl Iterator<Item = &'a [u8]> {
        let is_covered = |kind: u16| !matches!(kind, kinds::MESSAGE_INTEGRITY | kinds::MESSAGE_INTEGRITY_SHA256);
        let covered = self.walk().take_while(move |(_, found, _)| is_covered(*found));
        covered.filter(move |(_, found, _)| *found == kind).map(|(_, _, value)| value)
    }

    /// The first attribute of this type: of those that occur twice, it is the one that counts.
    pub(crate) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.all(kind).next()
    }

    /// Verifies the integrity attribute of this algorithm; that of another does not count.
    pub(crate) fn is_genuine(&self, key: &IntegrityKey, integrity: Integrity) -> bool {
        let wanted = match integrity {
            Integrity::Sha1 => kinds::MESSAGE_INTEGRITY,
            Integrity::Sha256 => kinds::MESSAGE_INTEGRITY_SHA256,
        };
        let mut tags = self.walk().filter(|(_, kind, _)| *kind == wanted);
        tags.next().is_some_and(|(offset, _, value)| {
            let has_length = match integrity {
                Integrity::Sha1 => value.len() == 20,
                Integrity::Sha256 => matches!(value.len(), 16 | 20 | 24 | 28 | 32),
            };
            has_length && is_genuine(self.bytes, offset, value.len(), integrity, key)
        })
    }

    /// Whether there is an integrity attribute, right or wrong.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn has_integrity(&self) -> bool {
        self.walk().any(|(_, kind, _)| matches!(kind, kinds::MESSAGE_INTEGRITY | kinds::MESSAGE_INTEGRITY_SHA256))
    }

    /// An attribute that is an address XORed with the header (RFC 8489 §14.2).
    pub(crate) fn xor_address(&self, kind: u16) -> Option<SocketAddr> {
        xor_address(self.get(kind)?, self.id)
    }

    /// All attributes of this type that are addresses XORed with the header.
    pub(crate) fn xor_addresses(&self, kind: u16) -> impl Iterator<Item = SocketAddr> {
        let id = self.id;
        self.all(kind).filter_map(move |value| xor_address(value, id))
    }

    /// ALTERNATE-SERVER: an address as it is (RFC 8489 §14.15).
    pub(crate) fn alternate_server(&self) -> Option<SocketAddr> {
        let (&[_, family, p1, p2], address) = self.get(kinds::ALTERNATE_SERVER)?.split_first_chunk::<4>()?;
        let port = u16::from_be_bytes([p1, p2]);
        Some(plain(match family {
            1 => SocketAddr::from((<[u8; 4]>::try_from(address).ok()?, port)),
            2 => SocketAddr::from((<[u8; 16]>::try_from(address).ok()?, port)),
            _ => return None,
        }))
    }

    /// An attribute that is a number of 32 bits.
    pub(crate) fn number(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// ERROR-CODE: number and text (RFC 8489 §14.8).
    pub(crate) fn error(&self) -> Option<(u16, &'a str)> {
        let value = self.get(kinds::ERROR_CODE)?;
        let text = value.get(4..).and_then(|text| core::str::from_utf8(text).ok());
        Some((error_code(value)?, text.unwrap_or_default()))
    }

    /// ADDRESS-ERROR-CODE: family and number (RFC 8656 §18.13).
    pub(crate) fn address_error(&self) -> Option<(u8, u16)> {
        let value = self.get(kinds::ADDRESS_ERROR_CODE)?;
        Some((*value.first()?, error_code(value)?))
    }
}

/// Walks over attributes: offset, type and value of each.
#[derive(Clone, Debug)]
struct Walk<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Walk<'a> {
    type Item = (usize, u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[k1, k2, l1, l2], behind) = self.rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([l1, l2]));
        let (value, behind) = behind.split_at_checked(length)?;
        // The padding of the last one is part of the message, too.
        let padding = length.wrapping_neg() % 4;
        let next = behind.get(padding..)?;
        let item = (self.offset, u16::from_be_bytes([k1, k2]), value);
        self.offset += 4 + length + padding;
        self.rest = next;
        Some(item)
    }
}

/// A message being written.
#[derive(Clone, Debug)]
pub(crate) struct ServerWriter {
    bytes: Vec<u8>,
    id: TransactionId,
}

impl ServerWriter {
    pub(crate) fn new(class: Class, method: Method, id: TransactionId) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&type_bytes(class, method));
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        bytes.extend_from_slice(&id.0);
        Self { bytes, id }
    }

    /// Appends an attribute.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        debug_assert!(usize::from(length) == value.len(), "no such attribute is written");
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Appends an attribute that is an address XORed with the header.
    pub(crate) fn put_xor_address(&mut self, kind: u16, address: SocketAddr) -> &mut Self {
        let mut value = [0; 20];
        let value = write_xor_address(&mut value, address, self.id);
        self.put(kind, value)
    }

    /// Appends ERROR-CODE.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn put_error(&mut self, code: u16, text: &str) -> &mut Self {
        let mut value = Vec::with_capacity(4 + text.len());
        let [_, class] = (code / 100).to_be_bytes();
        let [_, number] = (code % 100).to_be_bytes();
        value.extend_from_slice(&[0, 0, class, number]);
        value.extend_from_slice(text.as_bytes());
        self.put(kinds::ERROR_CODE, &value)
    }

    /// Appends ALTERNATE-SERVER.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn put_alternate_server(&mut self, address: SocketAddr) -> &mut Self {
        let [p1, p2] = address.port().to_be_bytes();
        let mut value = Vec::from([0, if address.is_ipv4() { 1 } else { 2 }, p1, p2]);
        match address.ip() {
            core::net::IpAddr::V4(ip) => value.extend_from_slice(&ip.octets()),
            core::net::IpAddr::V6(ip) => value.extend_from_slice(&ip.octets()),
        }
        self.put(kinds::ALTERNATE_SERVER, &value)
    }

    /// The message, protected if there is a key.
    pub(crate) fn finish(mut self, protection: Option<(&IntegrityKey, Integrity)>) -> Vec<u8> {
        match protection {
            Some((key, Integrity::Sha1)) => {
                self.set_length(24);
                let tag = key.sha1([&self.bytes, &[], &[]]);
                self.put(kinds::MESSAGE_INTEGRITY, &tag);
            }
            Some((key, Integrity::Sha256)) => {
                self.set_length(36);
                let tag = key.sha256([&self.bytes, &[], &[]]);
                self.put(kinds::MESSAGE_INTEGRITY_SHA256, &tag);
            }
            None => self.set_length(0),
        }
        self.bytes
    }

    /// Sets the length field to what it will be when `more` bytes have been appended.
    fn set_length(&mut self, more: usize) {
        let length = u16::try_from(self.bytes.len() + more - HEADER).unwrap_or(u16::MAX);
        if let Some(field) = self.bytes.get_mut(2..4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stun_types::attribute::XorMappedAddress;
    use stun_types::message::Message;
    use turn_types::attribute::{ChannelNumber, Lifetime, RequestedTransport, XorPeerAddress, XorRelayedAddress};
    use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH};

    const ID: TransactionId = TransactionId([7; 12]);

    /// Req: 8656-7.1-a
    #[test]
    fn what_is_written_is_what_the_codec_reads() {
        let peer: SocketAddr = "[2001:db8::1]:4000".parse().unwrap();
        let relayed: SocketAddr = "192.0.2.1:49152".parse().unwrap();
        let mut out = ServerWriter::new(Class::Request, Method::Allocate, ID);
        out.put(kinds::REQUESTED_TRANSPORT, &[17, 0, 0, 0]).put(kinds::LIFETIME, &600_u32.to_be_bytes());
        out.put(kinds::CHANNEL_NUMBER, &[0x40, 1, 0, 0]).put_xor_address(kinds::XOR_PEER_ADDRESS, peer);
        out.put_xor_address(kinds::XOR_RELAYED_ADDRESS, relayed).put_xor_address(kinds::XOR_MAPPED_ADDRESS, peer);
        let key = IntegrityKey::long_term(b"user", b"realm", b"pass", Integrity::Sha1);
        let bytes = out.finish(Some((&key, Integrity::Sha1)));
        let message = Message::from_bytes(&bytes).unwrap();
        assert_eq!(message.attribute::<RequestedTransport>().unwrap().protocol(), RequestedTransport::UDP);
        assert_eq!(message.attribute::<Lifetime>().unwrap().seconds(), 600);
        assert_eq!(message.attribute::<ChannelNumber>().unwrap().channel(), 0x4001);
        let id = message.transaction_id();
        assert_eq!(message.attribute::<XorPeerAddress>().unwrap().addr(id), peer);
        assert_eq!(message.attribute::<XorRelayedAddress>().unwrap().addr(id), relayed);
        assert_eq!(message.attribute::<XorMappedAddress>().unwrap().addr(id), peer);
        let read = ServerMessage::read(&bytes).unwrap();
        assert_eq!((read.class, read.method, read.id), (Class::Request, Method::Allocate, ID));
        assert_eq!(read.xor_address(kinds::XOR_PEER_ADDRESS), Some(peer));
        assert!(read.is_genuine(&key, Integrity::Sha1) && !read.is_genuine(&key, Integrity::Sha256));
        let mut forged = bytes.clone();
        forged[24] ^= 1;
        assert!(!ServerMessage::read(&forged).unwrap().is_genuine(&key, Integrity::Sha1));
    }

    #[test]
    fn methods_have_the_numbers_of_the_codec() {
        let numbers = [
            (Method::Allocate, ALLOCATE),
            (Method::Refresh, REFRESH),
            (Method::CreatePermission, CREATE_PERMISSION),
            (Method::ChannelBind, CHANNEL_BIND),
        ];
        assert!(numbers.iter().all(|(ours, theirs)| ours.number() == theirs.value()));
        for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
            let bytes = ServerWriter::new(class, Method::ChannelBind, ID).finish(None);
            let message = Message::from_bytes(&bytes).unwrap();
            assert_eq!((Class::from(message.class()), message.method()), (class, CHANNEL_BIND));
        }
    }

    #[test]
    fn messages_cut_short_or_with_lengths_that_do_not_add_up_are_not_read() {
        let mut out = ServerWriter::new(Class::Error, Method::Allocate, ID);
        out.put_error(486, "full").put_alternate_server("192.0.2.9:3478".parse().unwrap());
        let bytes = out.finish(None);
        let read = ServerMessage::read(&bytes).unwrap();
        assert_eq!(read.error(), Some((486, "full")));
        assert_eq!(read.alternate_server(), Some("192.0.2.9:3478".parse().unwrap()));
        assert!((0..bytes.len()).all(|end| ServerMessage::read(&bytes[..end]).is_none()));
        let mut long = bytes.clone();
        long[23] = 200;
        assert!(ServerMessage::read(&long).is_none());
        let mut other = bytes;
        other[1] = 0x1f;
        assert!(ServerMessage::read(&other).is_none(), "an unknown method");
    }
}
