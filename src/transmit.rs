//! What crosses the boundary between the agent and the network.

use core::net::SocketAddr;

use crate::types::{ConnectionId, Ecn, PairId, TrafficClass, Transport};

/// A datagram that arrived from the network.
///
/// ```
/// use nilas::{Datagram, Ecn, TrafficClass};
///
/// let datagram = Datagram::new("203.0.113.1:6000".parse()?, "192.0.2.1:5000".parse()?, b"\x80data");
/// let marked = Datagram { traffic_class: TrafficClass::from_octet(0b10), ..datagram };
/// assert_eq!(marked.traffic_class.ecn(), Ecn::Ect0);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "built by every caller for every packet")]
pub struct Datagram<'a> {
    /// Where it came from.
    pub source: SocketAddr,
    /// The local address that it arrived on: the one given to [`Agent::add_socket`](crate::Agent::add_socket).
    pub destination: SocketAddr,
    /// Transport protocol that it arrived over.
    pub transport: Transport,
    /// How its IP header was marked, if the socket tells; handed on with application data, and of no consequence here.
    pub traffic_class: TrafficClass,
    /// The bytes after the UDP header.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// A datagram that arrived over UDP, of which no marking is known.
    #[must_use]
    pub const fn new(source: SocketAddr, destination: SocketAddr, payload: &'a [u8]) -> Self {
        Self { source, destination, transport: Transport::Udp, traffic_class: TrafficClass::DEFAULT, payload }
    }

    /// Takes apart what the host has put together: datagrams of this length one behind the other, of which the last may be
    /// shorter (generic receive offload). With 0 there is one, the whole.
    ///
    /// ```
    /// # use nilas::Datagram;
    /// # let (here, there) = ("192.0.2.1:5000".parse()?, "203.0.113.1:6000".parse()?);
    /// let read = [7; 2500];
    /// let lengths = Datagram::new(there, here, &read).segments(1200).map(|datagram| datagram.payload.len());
    /// assert_eq!(lengths.collect::<Vec<_>>(), [1200, 1200, 100]);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn segments(self, segment_size: usize) -> impl Iterator<Item = Self> {
        segments(self.payload, segment_size).map(move |payload| Self { payload, ..self })
    }
}

/// Cuts into pieces of this length, the last of which may be shorter. What is empty, or not to be cut, is one piece.
pub(crate) fn segments(bytes: &[u8], size: usize) -> impl Iterator<Item = &[u8]> {
    let is_one = size == 0 || bytes.len() <= size;
    let (whole, pieces): (Option<&[u8]>, &[u8]) = if is_one { (Some(bytes), &[]) } else { (None, bytes) };
    whole.into_iter().chain(pieces.chunks(size.max(1)))
}

/// Application data to be sent: one datagram, or several of the same length one behind the other.
///
/// What can be seen as bytes converts into the payload of one datagram.
///
/// ```
/// use nilas::{Ecn, Payload};
///
/// // Three datagrams for a socket with generic segmentation offload, marked as capable of ECN.
/// let bytes = [0x40; 3000];
/// let payload = Payload::from(&bytes).with_segment_size(1200).with_ecn(Ecn::Ect0);
/// # let _ = payload;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) segment_size: usize,
    pub(crate) traffic_class: Option<TrafficClass>,
    pub(crate) ecn: Ecn,
}

impl<'a> Payload<'a> {
    /// Sends it as datagrams of this length, the last of which may be shorter. Default, and 0: as one datagram.
    #[must_use]
    pub const fn with_segment_size(mut self, bytes: usize) -> Self {
        self.segment_size = bytes;
        self
    }

    /// Marks it with this, and the DSCP of the stream. Default [`Ecn::NotEct`].
    #[must_use]
    pub const fn with_ecn(mut self, ecn: Ecn) -> Self {
        self.ecn = ecn;
        self
    }

    /// Marks it like this, whatever the stream is marked with. Default: as
    /// [`Agent::set_traffic_class`](crate::Agent::set_traffic_class) says.
    #[must_use]
    pub const fn with_traffic_class(mut self, class: TrafficClass) -> Self {
        self.traffic_class = Some(class);
        self.ecn = class.ecn();
        self
    }

    pub(crate) fn segments(self) -> impl Iterator<Item = &'a [u8]> {
        segments(self.bytes, self.segment_size)
    }

    /// How many datagrams it is.
    pub(crate) const fn count(&self) -> usize {
        if self.segment_size == 0 || self.bytes.len() <= self.segment_size {
            1
        } else {
            self.bytes.len().div_ceil(self.segment_size)
        }
    }

    /// The lengths of the first datagram, and of all but the last, and that of the last.
    pub(crate) const fn lengths(&self) -> (usize, usize) {
        match self.count() {
            1 => (self.bytes.len(), self.bytes.len()),
            count => (self.segment_size, self.bytes.len().saturating_sub(self.segment_size.saturating_mul(count - 1))),
        }
    }

    /// How it is marked on a stream with this DSCP.
    pub(crate) const fn class_on(&self, of_stream: TrafficClass) -> TrafficClass {
        match self.traffic_class {
            Some(class) => class.with_ecn(self.ecn),
            None => of_stream.with_ecn(self.ecn),
        }
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Payload<'a> {
    fn from(bytes: &'a T) -> Self {
        Self { bytes: bytes.as_ref(), segment_size: 0, traffic_class: None, ecn: Ecn::NotEct }
    }
}

/// A datagram to send, or several, whose bytes were appended to the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a datagram that is not sent is lost"]
#[non_exhaustive]
pub struct Transmit {
    /// Number of bytes appended to the buffer.
    pub len: usize,
    /// Local address to send from: one given to [`Agent::add_socket`](crate::Agent::add_socket), in the form in which it was
    /// given.
    pub source: SocketAddr,
    /// Address to send to, in the same form: `::ffff:a.b.c.d` where the socket was given so.
    pub destination: SocketAddr,
    /// Transport protocol to send over.
    pub transport: Transport,
    /// For TCP, the connection to send on: all bytes, in the order in which they were given out.
    pub connection: Option<ConnectionId>,
    /// If there are several datagrams: the length of each but the last, which may be shorter (generic segmentation
    /// offload). `None` if the bytes are one datagram, or go into a stream.
    pub segment_size: Option<usize>,
    /// How to mark it (RFC 8445 §7.2.3). A host that cannot leaves it.
    pub traffic_class: TrafficClass,
    /// The pair whose application data it is; `None` for what the agent sends by itself.
    pub pair: Option<PairId>,
    /// How many datagrams of application data it is, and how many bytes.
    pub(crate) datagrams: usize,
    pub(crate) payload_len: usize,
}

impl Transmit {
    pub(crate) const fn new(len: usize, transport: Transport, source: SocketAddr, destination: SocketAddr) -> Self {
        let traffic_class = TrafficClass::DEFAULT;
        let (connection, segment_size, pair, datagrams, payload_len) = (None, None, None, 0, 0);
        Self {
            len,
            source,
            destination,
            transport,
            connection,
            segment_size,
            traffic_class,
            pair,
            datagrams,
            payload_len,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn as_many_segments_are_counted_as_there_are() {
        for length in 0..40 {
            let bytes = [7; 40];
            let bytes = &bytes[..length];
            for size in 0..45 {
                let payload = Payload::from(bytes).with_segment_size(size);
                let segments: Vec<&[u8]> = payload.segments().collect();
                assert_eq!(segments.len(), payload.count(), "{length} by {size}");
                assert_eq!(segments.concat(), bytes);
                let (last, others) = segments.split_last().unwrap();
                assert!(others.iter().all(|segment| segment.len() == size), "{length} by {size}");
                assert!(size == 0 || last.len() <= size);
                assert!(others.is_empty() || !last.is_empty());
                assert_eq!(payload.lengths(), (segments[0].len(), last.len()));
            }
        }
    }

    #[test]
    fn a_marking_of_the_payload_comes_before_that_of_the_stream() {
        let stream = TrafficClass::from_dscp(46).unwrap();
        let payload = Payload::from(b"x");
        assert_eq!(payload.class_on(stream).octet(), 46 << 2);
        assert_eq!(payload.with_ecn(Ecn::Ect1).class_on(stream).octet(), 46 << 2 | 1);
        let own = TrafficClass::from_octet(34 << 2 | 2);
        assert_eq!(payload.with_traffic_class(own).class_on(stream), own);
        assert_eq!(payload.with_traffic_class(own).with_ecn(Ecn::Ce).class_on(stream).octet(), 34 << 2 | 3);
    }
}
