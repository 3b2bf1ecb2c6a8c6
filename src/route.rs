//! A way for data, for those who write it into buffers of their own.

use core::net::SocketAddr;

use bytes::BufMut;

use crate::types::{ComponentId, ConnectionId, Instant, PairId, StreamId, TrafficClass, Transport};

/// The way that the data of a component takes at the moment, from [`Agent::route`](crate::Agent::route).
///
/// The prefix goes right before each payload, the trailer right behind it; on a direct pair over UDP both are empty.
///
/// ```
/// use nilas::{Agent, ComponentId, Instant, Route, SendError, StreamId};
///
/// /// Sends a payload that stands in `buffer` behind room for the prefix.
/// fn send(agent: &mut Agent, now: Instant, stream: StreamId, buffer: &mut [u8]) -> Result<(), SendError> {
///     let route = agent.route(now, stream, ComponentId::RTP)?;
///     let payload_len = buffer.len() - Route::MAX_PREFIX;
///     let start = Route::MAX_PREFIX - route.prefix_len();
///     route.write_prefix(payload_len, &mut buffer[start..]);
///     // socket.send_to(&buffer[start..], route.destination), then:
///     agent.record_sent(now, &route, 1, payload_len);
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a way that is not taken leads nowhere"]
#[non_exhaustive]
pub struct Route {
    /// The stream.
    pub stream: StreamId,
    /// The component.
    pub component: ComponentId,
    /// The pair in use.
    pub pair: PairId,
    /// Local address to send from: one given to [`Agent::add_socket`](crate::Agent::add_socket).
    pub source: SocketAddr,
    /// Address to send to.
    pub destination: SocketAddr,
    /// Transport protocol to send over.
    pub transport: Transport,
    /// For TCP, the connection to send on.
    pub connection: Option<ConnectionId>,
    /// How the stream is marked.
    pub traffic_class: TrafficClass,
    /// When the peer's consent ends if no further answer comes: nobody sends from then on (RFC 7675 §5.1). `None` where
    /// consent is not asked for.
    pub expires_at: Option<Instant>,
    pub(crate) framing: Framing,
}

impl Route {
    /// Longest prefix of any route, in bytes: room that is always enough.
    pub const MAX_PREFIX: usize = 4;
    /// Longest trailer of any route, in bytes.
    pub const MAX_TRAILER: usize = 3;

    /// How many bytes stand before each payload.
    #[must_use]
    pub const fn prefix_len(&self) -> usize {
        self.framing.prefix_len()
    }

    /// How many zeros stand behind a payload of this length.
    #[must_use]
    pub const fn trailer_len(&self, payload_len: usize) -> usize {
        self.framing.trailer_len(payload_len)
    }

    /// Writes the prefix of a payload of this length to the beginning of `out`; `false`, and nothing is written, if it does
    /// not fit or the payload is too long for its length field, 65,535 bytes.
    #[must_use = "without its prefix a payload is not understood"]
    pub fn write_prefix(&self, payload_len: usize, out: &mut [u8]) -> bool {
        let Some((prefix, length)) = self.framing.prefix(payload_len) else { return false };
        let Some((prefix, out)) = prefix.get(..length).zip(out.get_mut(..length)) else { return false };
        out.copy_from_slice(prefix);
        true
    }
}

/// What stands around a message on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Framing {
    /// The channel of a TURN server, which comes first (RFC 8656 §12.4).
    pub(crate) channel: Option<u16>,
    /// Whether the length of the message comes before it.
    pub(crate) has_length: bool,
    /// Whether zeros follow up to a multiple of four where that is not so anyhow.
    pub(crate) is_padded: bool,
    /// The peer, if the message is inside of an indication to a TURN server (RFC 8656 §11.1).
    pub(crate) indication: Option<SocketAddr>,
}

impl Framing {
    /// The message as it is: over UDP.
    pub(crate) const NONE: Self = Self { channel: None, has_length: false, is_padded: false, indication: None };
    /// In a stream of bytes (RFC 4571 §2).
    pub(crate) const STREAM: Self = Self { channel: None, has_length: true, is_padded: false, indication: None };

    pub(crate) const fn prefix_len(self) -> usize {
        // Header, XOR-PEER-ADDRESS, and the head of DATA.
        match self.indication {
            Some(SocketAddr::V4(_)) => return 36,
            Some(SocketAddr::V6(_)) => return 48,
            None => {}
        }
        let channel = if self.channel.is_some() { 2 } else { 0 };
        if self.has_length { channel + 2 } else { channel }
    }

    pub(crate) const fn trailer_len(self, message_len: usize) -> usize {
        // The value of an attribute is padded whatever carries it (RFC 8489 §14).
        if self.is_padded || self.indication.is_some() { message_len.wrapping_neg() % 4 } else { 0 }
    }

    /// How many bytes a message of this length becomes.
    pub(crate) const fn framed_len(self, message_len: usize) -> usize {
        self.prefix_len().saturating_add(message_len).saturating_add(self.trailer_len(message_len))
    }

    /// Whether a message of this length can be said to have it.
    pub(crate) const fn can_hold(self, message_len: usize) -> bool {
        match self.indication {
            // The length field counts more than the message.
            Some(_) => message_len <= u16::MAX as usize - 32,
            None => !self.has_length || message_len <= u16::MAX as usize,
        }
    }

    fn prefix(self, message_len: usize) -> Option<([u8; 4], usize)> {
        let length = if self.has_length { u16::try_from(message_len).ok()? } else { 0 };
        let [l0, l1] = length.to_be_bytes();
        let [c0, c1] = self.channel.unwrap_or_default().to_be_bytes();
        let bytes = if self.channel.is_some() { [c0, c1, l0, l1] } else { [l0, l1, 0, 0] };
        Some((bytes, self.prefix_len()))
    }

    /// Appends a message with what stands around it; gives the number of bytes, or `None` if it is too long.
    pub(crate) fn put(self, message: &[u8], buf: &mut impl BufMut) -> Option<usize> {
        if self == Self::NONE {
            buf.put_slice(message);
            return Some(message.len());
        }
        let (prefix, length) = self.prefix(message.len())?;
        let padding = self.trailer_len(message.len());
        buf.put_slice(prefix.get(..length)?);
        buf.put_slice(message);
        buf.put_bytes(0, padding);
        Some(length + message.len() + padding)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const CHANNEL: Framing = Framing { channel: Some(0x4001), has_length: true, is_padded: false, indication: None };
    const CHANNEL_IN_STREAM: Framing = Framing { is_padded: true, ..CHANNEL };

    fn framed(framing: Framing, message: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let length = framing.put(message, &mut bytes).unwrap();
        assert_eq!((length, framing.framed_len(message.len())), (bytes.len(), bytes.len()));
        bytes
    }

    /// The drawings of RFC 4571 §2 and RFC 8656 §12.4.
    #[test]
    fn a_message_stands_between_its_prefix_and_its_trailer() {
        assert_eq!(framed(Framing::NONE, b"hello"), b"hello");
        assert_eq!(framed(Framing::STREAM, b"hello"), b"\0\x05hello");
        assert_eq!(framed(CHANNEL, b"hello"), b"\x40\x01\0\x05hello");
        assert_eq!(framed(CHANNEL_IN_STREAM, b"hello"), b"\x40\x01\0\x05hello\0\0\0");
        assert_eq!(framed(CHANNEL_IN_STREAM, b"four"), b"\x40\x01\0\x04four");
        assert_eq!(framed(CHANNEL_IN_STREAM, b""), b"\x40\x01\0\0");
    }

    #[test]
    fn what_its_length_field_cannot_say_is_refused() {
        let long = [0; 65_536];
        for framing in [Framing::STREAM, CHANNEL, CHANNEL_IN_STREAM] {
            assert!(!framing.can_hold(long.len()) && framing.can_hold(65_535));
            let mut bytes = Vec::new();
            assert_eq!(framing.put(&long, &mut bytes), None);
            assert!(bytes.is_empty());
            assert_eq!(framing.put(&long[1..], &mut bytes), Some(framing.framed_len(65_535)));
        }
        assert!(Framing::NONE.can_hold(usize::MAX));
    }

    #[test]
    fn an_indication_is_padded_over_any_transport() {
        let peers = ["192.0.2.1:1", "[2001:db8::1]:1"].map(|peer| peer.parse::<SocketAddr>().unwrap());
        for (peer, around) in peers.into_iter().zip([36, 48]) {
            let framing = Framing { indication: Some(peer), ..Framing::NONE };
            for length in 0..20 {
                assert_eq!(framing.framed_len(length), around + length.next_multiple_of(4));
            }
            // All of it but its header is counted by a length field of 16 bits.
            assert!(framing.can_hold(65_503) && !framing.can_hold(65_504));
        }
    }

    #[test]
    fn the_limits_hold_for_every_framing() {
        for framing in [Framing::NONE, Framing::STREAM, CHANNEL, CHANNEL_IN_STREAM] {
            assert!(framing.prefix_len() <= Route::MAX_PREFIX);
            assert!((0..10).all(|length| framing.trailer_len(length) <= Route::MAX_TRAILER));
        }
    }
}
