//! Data on its way through a server: Send and Data indications, ChannelData (RFC 8656 §11, §12). Nothing here allocates.

use core::net::SocketAddr;

use bytes::BufMut;
use stun_types::message::MAGIC_COOKIE;

use crate::stun::address::write_xor_address;
use crate::stun::server::{HEADER, Method, ServerMessage, kinds, type_bytes};
use crate::stun::{Class, TransactionId};

/// What ChannelData has in front of the data.
const CHANNEL_HEADER: usize = 4;

/// Appends a Send indication with XOR-PEER-ADDRESS and DATA. Gives the number of bytes.
pub(crate) fn put_send_indication(buf: &mut impl BufMut, id: TransactionId, peer: SocketAddr, payload: &[u8]) -> usize {
    let mut value = [0; 20];
    let address = write_xor_address(&mut value, peer, id);
    let padding = payload.len().wrapping_neg() % 4;
    let total = 4 + address.len() + 4 + payload.len() + padding;
    let short = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
    buf.put_slice(&type_bytes(Class::Indication, Method::Send));
    buf.put_u16(short(total));
    buf.put_u32(MAGIC_COOKIE);
    buf.put_slice(&id.0);
    buf.put_u16(kinds::XOR_PEER_ADDRESS);
    buf.put_u16(short(address.len()));
    buf.put_slice(address);
    buf.put_u16(kinds::DATA);
    buf.put_u16(short(payload.len()));
    buf.put_slice(payload);
    buf.put_bytes(0, padding);
    HEADER + total
}

/// What came from a server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FromServer<'a> {
    /// Data of whoever this channel is bound to.
    Channel(u16, &'a [u8]),
    /// Data of a peer.
    Data(SocketAddr, &'a [u8]),
    /// The server got an ICMP message of this type and code for what was sent to a peer (RFC 8656 §11.5).
    Icmp(SocketAddr, u8, u8),
    /// Another message.
    Message(ServerMessage<'a>),
    /// Nothing that a server sends.
    Junk,
}

impl<'a> FromServer<'a> {
    /// Reads a datagram, or a frame of a stream.
    pub(crate) fn read(bytes: &'a [u8]) -> Self {
        if let Some((&[first, second, l1, l2], rest)) = bytes.split_first_chunk::<CHANNEL_HEADER>() {
            if (0x40..0x50).contains(&first) {
                // Padding may follow, over UDP as well (RFC 8656 §12.6).
                let length = usize::from(u16::from_be_bytes([l1, l2]));
                let number = u16::from_be_bytes([first, second]);
                return rest.get(..length).map_or(Self::Junk, |payload| Self::Channel(number, payload));
            }
        }
        let Some(message) = ServerMessage::read(bytes) else { return Self::Junk };
        if message.class != Class::Indication || message.method != Method::Data {
            return Self::Message(message);
        }
        let Some(peer) = message.xor_address(kinds::XOR_PEER_ADDRESS) else { return Self::Junk };
        match (message.get(kinds::DATA), message.get(kinds::ICMP)) {
            (Some(payload), _) => Self::Data(peer, payload),
            (None, Some(&[_, _, kind, code, ..])) => Self::Icmp(peer, kind, code),
            (None, _) => Self::Junk,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const ID: TransactionId = TransactionId([5; 12]);

    /// Req: 8656-12.5-a
    #[test]
    fn channel_data_is_padded_on_streams_only_and_padding_is_not_counted() {
        use crate::route::Framing;
        let framing = |is_padded| Framing { channel: Some(0x4001), has_length: true, is_padded, indication: None };
        for length in 0..10 {
            let payload = Vec::from_iter(0..length);
            let (mut datagram, mut stream) = (Vec::new(), Vec::new());
            let lengths = [
                framing(false).put(&payload, &mut datagram).unwrap(),
                framing(true).put(&payload, &mut stream).unwrap(),
            ];
            let plain = 4 + usize::from(length);
            assert_eq!((lengths, datagram.len(), stream.len() % 4), ([plain, stream.len()], plain, 0));
            for bytes in [&datagram, &stream] {
                assert_eq!(bytes[..4], [0x40, 1, 0, length]);
                assert!(matches!(FromServer::read(bytes), FromServer::Channel(0x4001, data) if data == payload));
            }
        }
    }

    /// Req: 8656-12.6-a
    #[test]
    fn channel_data_of_reserved_numbers_or_longer_than_the_datagram_is_junk() {
        for bytes in [&[0x50, 0, 0, 0][..], &[0xff, 0xff, 0, 0], &[0x40, 0, 0, 5, 1, 2, 3, 4], &[0x40], &[]] {
            assert!(matches!(FromServer::read(bytes), FromServer::Junk), "{bytes:?}");
        }
    }

    /// Req: 8656-11.4-a
    #[test]
    fn a_data_indication_needs_a_peer_and_data_that_may_be_empty() {
        use crate::stun::server::ServerWriter;
        let peer: SocketAddr = "[2001:db8::7]:9".parse().unwrap();
        let new = || ServerWriter::new(Class::Indication, Method::Data, ID);
        let with = |parts: &[(u16, &[u8])]| {
            let mut out = new();
            out.put_xor_address(kinds::XOR_PEER_ADDRESS, peer);
            parts.iter().for_each(|(kind, value)| {
                out.put(*kind, value);
            });
            out.finish(None)
        };
        let empty = with(&[(kinds::DATA, b"")]);
        assert!(matches!(FromServer::read(&empty), FromServer::Data(from, b"") if from == peer));
        let icmp = with(&[(kinds::ICMP, &[0, 0, 3, 1, 0, 0, 0, 0])]);
        assert!(matches!(FromServer::read(&icmp), FromServer::Icmp(from, 3, 1) if from == peer));
        assert!(matches!(FromServer::read(&with(&[])), FromServer::Junk));
        let mut nobody = new();
        nobody.put(kinds::DATA, b"x");
        assert!(matches!(FromServer::read(&nobody.finish(None)), FromServer::Junk));
    }

    #[test]
    fn a_send_indication_is_one_that_the_codec_reads() {
        use stun_types::message::Message;
        use turn_types::attribute::{Data, XorPeerAddress};
        for peer in ["192.0.2.1:4000", "[2001:db8::1]:4000"] {
            for length in 0..6 {
                let payload = Vec::from_iter(0..length);
                let mut bytes = Vec::new();
                let peer: SocketAddr = peer.parse().unwrap();
                let written = put_send_indication(&mut bytes, ID, peer, &payload);
                assert_eq!(written, bytes.len());
                let framing = crate::route::Framing { indication: Some(peer), ..crate::route::Framing::NONE };
                assert_eq!(bytes.len(), framing.framed_len(payload.len()));
                let message = Message::from_bytes(&bytes).unwrap();
                assert_eq!(message.method(), turn_types::message::SEND);
                assert_eq!(message.attribute::<XorPeerAddress>().unwrap().addr(message.transaction_id()), peer);
                assert_eq!(message.attribute::<Data<'_>>().unwrap().data(), payload);
            }
        }
    }
}
