//! The last step on the way out: from a message on the path of a pair to the bytes on the wire.

use core::net::SocketAddr;

use bytes::BufMut;

use super::Agent;
use crate::route::Framing;
use crate::transmit::Transmit;
use crate::types::{ConnectionId, Path, TrafficClass, Transport};

/// Between which addresses a message leaves, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) transport: Transport,
    pub(super) connection: Option<ConnectionId>,
}

impl Agent {
    /// Appends a message to `buf` as it travels on this path, and says where it goes. All that leaves passes here.
    ///
    /// A message that does not fit around its frame is a mistake of the caller, who asks [`framing`](Self::framing) first.
    /// `None` if there is no connection that it could go on, or no permission of the server that relays it.
    pub(super) fn wrap(&mut self, path: &Path, message: &[u8], buf: &mut impl BufMut) -> Option<Transmit> {
        let Leaving { source, destination, transport, connection } = self.leaving(path)?;
        self.stats.datagrams_sent += 1;
        let framing = self.framing(path);
        let len = match framing.indication {
            Some(peer) => Some(self.put_indication(peer, message, buf)),
            None => framing.put(message, buf),
        };
        self.note_relayed(path);
        debug_assert!(len.is_some(), "the message is too long for its path");
        let mut transmit = Transmit::new(len.unwrap_or_default(), transport, source, destination);
        transmit.connection = connection;
        transmit.traffic_class = self.class_on(path);
        Some(transmit)
    }

    /// How messages on this path leave; `None` if its connection is not open, or its relay does not let them through.
    pub(super) fn leaving(&self, path: &Path) -> Option<Leaving> {
        if let Some(link) = self.relay_link(path) {
            return link;
        }
        let Path { transport, base, remote, .. } = *path;
        let way = match transport {
            Transport::Udp => Some(Leaving { source: base, destination: remote, transport, connection: None }),
            Transport::Tcp => self.connections.find_open(path).map(|open| Leaving {
                source: open.local,
                destination: remote,
                transport,
                connection: Some(open.id),
            }),
        };
        way.map(|way| self.mapped_sockets.spell(transport, base, way))
    }

    /// What stands around each message on this path.
    pub(super) fn framing(&self, path: &Path) -> Framing {
        if let Some(framing) = self.relay_framing(path) {
            return framing;
        }
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
