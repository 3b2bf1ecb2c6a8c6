//! The last step on the way out: from a message on the path of a pair to the bytes on the wire.

use core::net::SocketAddr;

use bytes::BufMut;

use super::Agent;
use crate::connection::ConnectionId;
use crate::pair::Path;
use crate::route::Framing;
use crate::traffic_class::TrafficClass;
use crate::transmit::{Transmit, Transport};

impl Agent {
    /// Appends a message to `buf` as it travels on this path, and says where it goes. All that leaves passes here.
    ///
    /// A message that does not fit around its frame is a mistake of the caller, who asks [`framing`](Self::framing) first.
    /// `None` if there is no connection that it could go on.
    pub(super) fn wrap(&mut self, path: Path, message: &[u8], buf: &mut impl BufMut) -> Option<Transmit> {
        let (source, connection) = self.leaving(&path)?;
        self.stats.datagrams_sent += 1;
        let len = Self::framing(&path).put(message, buf);
        debug_assert!(len.is_some(), "the message is too long for its path");
        let mut transmit = Transmit::new(len.unwrap_or_default(), path.transport, source, path.remote);
        transmit.connection = connection;
        transmit.traffic_class = self.class_on(&path);
        Some(transmit)
    }

    /// Where messages on this path leave from: an address, and over TCP the connection; `None` if that is not open.
    pub(super) fn leaving(&self, path: &Path) -> Option<(SocketAddr, Option<ConnectionId>)> {
        match path.transport {
            Transport::Udp => Some((path.base, None)),
            Transport::Tcp => self.connections.find_open(path).map(|open| (open.local, Some(open.id))),
        }
    }

    /// What stands around each message on this path.
    pub(super) const fn framing(path: &Path) -> Framing {
        match path.transport {
            Transport::Udp => Framing::NONE,
            Transport::Tcp => Framing::STREAM,
        }
    }

    /// How messages of ICE are marked: like the data, on the same way (RFC 8445 §7.2.3).
    pub(super) fn class_on(&self, path: &Path) -> TrafficClass {
        if !self.is_marked {
            return TrafficClass::DEFAULT;
        }
        let socket = self.sockets.get(&(path.transport, path.base));
        let stream = path.flow.map(|flow| flow.stream).or(socket.map(|socket| socket.stream));
        let stream = stream.and_then(|stream| self.stream(stream));
        stream.map_or(TrafficClass::DEFAULT, |data| data.traffic_class)
    }
}
