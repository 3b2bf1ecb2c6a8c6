//! TCP: connections between hosts, whose bytes arrive in order, split anywhere.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use super::Network;
use crate::sim::host::HostId;
use crate::sim::trace::DropReason;
use crate::types::{after, earliest};
use crate::{Instant, Transport};

/// Names one end of a TCP connection of one [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamSocketId(u32);

impl fmt::Display for StreamSocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// Something that happened at one end of a TCP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an end that nobody looks at might as well be dead"]
#[non_exhaustive]
pub enum StreamEvent {
    /// A connection that the host wanted is open.
    Opened {
        /// The host.
        host: HostId,
        /// Its end.
        socket: StreamSocketId,
        /// The local address of this end.
        local: SocketAddr,
    },
    /// A connection that the host wanted was refused, or nobody answered.
    Failed {
        /// The host.
        host: HostId,
        /// Its end, which is gone.
        socket: StreamSocketId,
    },
    /// A listener of the host has accepted a connection.
    Accepted {
        /// The host.
        host: HostId,
        /// Its end.
        socket: StreamSocketId,
        /// The local address of this end.
        local: SocketAddr,
        /// The other end as the host sees it.
        remote: SocketAddr,
    },
    /// Bytes have arrived.
    Bytes {
        /// The host.
        host: HostId,
        /// Its end.
        socket: StreamSocketId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The connection is over.
    Closed {
        /// The host.
        host: HostId,
        /// Its end, which is gone.
        socket: StreamSocketId,
    },
}

impl StreamEvent {
    /// The host that it happened at.
    #[must_use]
    pub const fn host(&self) -> HostId {
        match self {
            Self::Opened { host, .. }
            | Self::Failed { host, .. }
            | Self::Accepted { host, .. }
            | Self::Bytes { host, .. }
            | Self::Closed { host, .. } => *host,
        }
    }
}

/// One end.
#[derive(Clone, Debug)]
struct Socket {
    host: HostId,
    local: SocketAddr,
    /// Where it sends to.
    remote: SocketAddr,
    /// The other end, once there is one.
    peer: Option<StreamSocketId>,
    /// When the last of what it has sent arrives: nothing overtakes it.
    last_due: Instant,
    /// What waits behind a loss, and what was lost.
    backlog: VecDeque<Vec<u8>>,
    /// Nothing comes through any more.
    is_frozen: bool,
}

#[derive(Clone, Debug)]
enum Segment {
    /// Wants a connection.
    Open,
    /// Something was lost, and is sent again.
    Repeat {
        tries: u32,
    },
    /// Nobody has answered.
    GiveUp,
    /// The other end has agreed.
    Agree {
        peer: StreamSocketId,
    },
    /// There is nobody.
    Refuse,
    Bytes(Vec<u8>),
    /// The other end is done.
    Close,
}

/// All connections and listeners.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams {
    sockets: BTreeMap<StreamSocketId, Socket>,
    listeners: BTreeSet<(HostId, SocketAddr)>,
    /// Segments in flight, by time and order, with the end that has sent them, or for which they are.
    flights: BTreeMap<(Instant, u64), (StreamSocketId, Segment)>,
    arrived: VecDeque<(Instant, StreamEvent)>,
    next_socket: u32,
    next_flight: u64,
    next_port: u16,
}

impl Streams {
    pub(super) fn next(&self) -> Option<Instant> {
        let waiting = self.arrived.front().map(|(at, _)| *at);
        earliest(waiting, self.flights.first_key_value().map(|((due, _), _)| *due))
    }

    fn add(&mut self, host: HostId, local: SocketAddr, remote: SocketAddr, now: Instant) -> StreamSocketId {
        let id = StreamSocketId(self.next_socket);
        self.next_socket += 1;
        self.sockets.insert(
            id,
            Socket { host, local, remote, peer: None, last_due: now, backlog: VecDeque::new(), is_frozen: false },
        );
        id
    }

    fn fly(&mut self, due: Instant, of: StreamSocketId, segment: Segment) {
        self.flights.insert((due, self.next_flight), (of, segment));
        self.next_flight += 1;
    }
}

impl Network {
    /// How long the first repetition of what was lost waits; each further one waits twice as long.
    const STREAM_RTO: Duration = Duration::from_millis(200);
    /// How often something is repeated before its connection is given up.
    const STREAM_TRIES: u32 = 6;

    /// Lets a host accept TCP connections at an address.
    pub fn listen(&mut self, host: HostId, address: SocketAddr) {
        self.streams.listeners.insert((host, address));
    }

    /// Undoes [`listen`](Self::listen): further connections are refused, and those that are open stay.
    pub fn unlisten(&mut self, host: HostId, address: SocketAddr) {
        self.streams.listeners.remove(&(host, address));
    }

    /// Begins to open a TCP connection; with port 0 the host chooses one. What comes of it is a [`StreamEvent`].
    ///
    /// Two hosts that open one to each other at the same time, from and to the same ports, get one connection.
    pub fn connect(&mut self, host: HostId, mut local: SocketAddr, remote: SocketAddr) -> StreamSocketId {
        self.settle();
        if local.port() == 0 {
            local.set_port(49_152 + self.streams.next_port % 16_384);
            self.streams.next_port = self.streams.next_port.wrapping_add(1);
        }
        let now = self.now;
        let id = self.streams.add(host, local, remote, now);
        self.call(id, 0);
        id
    }

    /// Sends bytes on a connection. They arrive in order, in pieces of any length. Without a connection nothing happens.
    pub fn send_stream(&mut self, socket: StreamSocketId, bytes: &[u8]) {
        self.settle();
        if self.streams.sockets.get(&socket).is_none_or(|socket| socket.peer.is_none()) {
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            // Whole writes happen, and pieces of any length.
            let is_whole = self.random.chance(0.25);
            let length = if is_whole { rest.len() as u64 } else { 1 + self.random.below(rest.len() as u64) };
            let length = usize::try_from(length).unwrap_or(rest.len());
            let (piece, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            self.send_bytes(socket, piece.into());
            rest = behind;
        }
    }

    /// Closes a connection: what is on its way still arrives.
    pub fn close_stream(&mut self, socket: StreamSocketId) {
        self.settle();
        // A loss is made good at some time.
        let late = after(self.now, Self::STREAM_RTO);
        let due = self.cross_from(socket, 40).unwrap_or(late);
        if let Some(peer) = self.streams.sockets.remove(&socket).and_then(|socket| socket.peer) {
            self.streams.fly(due, peer, Segment::Close);
        }
    }

    /// Ends the connections of a host at both ends at once, as a device in between does that resets them.
    pub fn reset_streams(&mut self, host: HostId) {
        self.settle();
        let mut gone: Vec<StreamSocketId> = Vec::new();
        for (id, socket) in &self.streams.sockets {
            if socket.host == host {
                gone.push(*id);
                gone.extend(socket.peer);
            }
        }
        for id in gone {
            self.end_stream(id);
        }
    }

    /// Lets the connections of a host die without a word: nothing that is sent on them arrives any more.
    pub fn freeze_streams(&mut self, host: HostId) {
        self.settle();
        let of_host = self.streams.sockets.iter().filter(|(_, socket)| socket.host == host);
        let both: Vec<StreamSocketId> = of_host.flat_map(|(id, socket)| [Some(*id), socket.peer]).flatten().collect();
        for id in both {
            if let Some(socket) = self.streams.sockets.get_mut(&id) {
                socket.is_frozen = true;
            }
        }
    }

    /// How many ends of connections a host has.
    #[must_use]
    pub fn stream_count(&self, host: HostId) -> usize {
        self.streams.sockets.values().filter(|socket| socket.host == host).count()
    }

    /// The next thing that has happened at an end of a connection by now.
    pub fn pop_stream_event(&mut self) -> Option<StreamEvent> {
        self.settle();
        self.streams.arrived.pop_front().map(|(_, event)| event)
    }

    fn tell(&mut self, event: StreamEvent) {
        self.streams.arrived.push_back((self.now, event));
    }

    fn end_stream(&mut self, id: StreamSocketId) {
        if let Some(socket) = self.streams.sockets.remove(&id) {
            self.tell(StreamEvent::Closed { host: socket.host, socket: id });
        }
    }

    /// Sends bytes, behind those that wait for others that were lost.
    fn send_bytes(&mut self, from: StreamSocketId, bytes: Vec<u8>) {
        let Some(socket) = self.streams.sockets.get_mut(&from) else { return };
        if socket.backlog.is_empty() {
            if let Err(bytes) = self.try_bytes(from, bytes) {
                self.hold_back(from, bytes);
                self.repeat_later(from, 0);
            }
        } else {
            socket.backlog.push_back(bytes);
        }
    }

    fn hold_back(&mut self, from: StreamSocketId, bytes: Vec<u8>) {
        if let Some(socket) = self.streams.sockets.get_mut(&from) {
            socket.backlog.push_front(bytes);
        }
    }

    /// Lets bytes fly; gives them back if they are lost.
    fn try_bytes(&mut self, from: StreamSocketId, bytes: Vec<u8>) -> Result<(), Vec<u8>> {
        // A segment is a packet of no more than what links let through.
        let Some(due) = self.cross_from(from, (bytes.len() + 40).min(1500)) else { return Err(bytes) };
        self.streams.fly(due, from, Segment::Bytes(bytes));
        Ok(())
    }

    /// When something that leaves now is at the other end, behind all that left before; `None` if it is lost.
    fn cross_from(&mut self, from: StreamSocketId, size: usize) -> Option<Instant> {
        let socket = self.streams.sockets.get(&from)?;
        let (host, local, remote) = (socket.host, socket.local, socket.remote);
        let (.., delay) = self.cross_stream(host, local, remote, size).ok()?;
        let due = after(self.now, delay);
        let socket = self.streams.sockets.get_mut(&from)?;
        socket.last_due = socket.last_due.max(due);
        Some(socket.last_due)
    }

    /// Sends what was lost again after a while, or gives up.
    fn repeat_later(&mut self, from: StreamSocketId, tries: u32) {
        let segment = if tries < Self::STREAM_TRIES { Segment::Repeat { tries: tries + 1 } } else { Segment::GiveUp };
        self.streams.fly(after(self.now, Self::STREAM_RTO * (1 << tries.min(6))), from, segment);
    }

    fn repeat(&mut self, from: StreamSocketId, tries: u32) {
        let Some(socket) = self.streams.sockets.get(&from) else { return };
        if socket.peer.is_none() {
            self.call(from, tries);
            return;
        }
        let mut tries = tries;
        while let Some(bytes) = self.streams.sockets.get_mut(&from).and_then(|socket| socket.backlog.pop_front()) {
            if let Err(bytes) = self.try_bytes(from, bytes) {
                self.hold_back(from, bytes);
                self.repeat_later(from, tries);
                return;
            }
            tries = 0;
        }
    }

    /// Asks the other host for a connection.
    fn call(&mut self, from: StreamSocketId, tries: u32) {
        match self.cross_from(from, 40) {
            Some(due) => self.streams.fly(due, from, Segment::Open),
            None => self.repeat_later(from, tries),
        }
    }

    /// Where something from this address arrives, where it seems to come from, and how long it takes.
    fn cross_stream(
        &mut self,
        host: HostId,
        source: SocketAddr,
        destination: SocketAddr,
        size: usize,
    ) -> Result<(HostId, SocketAddr, SocketAddr, Duration), DropReason> {
        let interface = self.topology.leave(host, Transport::Tcp, source, destination)?;
        let realm = interface.realm;
        let egress = interface.egress.as_mut().map(|egress| egress.cross(&mut self.random, size));
        let egress = egress.transpose()?.unwrap_or_default();
        let climbed = self.topology.climb(self.now, realm, source, destination)?;
        if !climbed.is_routed {
            return Err(DropReason::NoRoute);
        }
        let arrival = self.topology.descend(self.now, climbed.realm, Transport::Tcp, climbed.source, destination)?;
        let (to, at) = arrival;
        let crossing = egress.then(self.cross(host, Some((to, at.ip())), size)?);
        Ok((to, at, climbed.source, crossing.delay))
    }

    /// Lets every segment arrive that is due.
    pub(super) fn settle_streams(&mut self) {
        while let Some(entry) = self.streams.flights.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (of, segment) = entry.remove();
            self.arrive_segment(of, segment);
        }
    }

    fn arrive_segment(&mut self, of: StreamSocketId, segment: Segment) {
        let Some(socket) = self.streams.sockets.get(&of) else { return };
        let (host, peer) = (socket.host, socket.peer);
        match segment {
            Segment::Open => self.arrive_open(of),
            Segment::Repeat { tries } => self.repeat(of, tries),
            Segment::Bytes(_) | Segment::Close if self.is_frozen(of) => {}
            Segment::Bytes(bytes) => {
                let to = peer.and_then(|peer| Some((peer, self.streams.sockets.get(&peer)?.host)));
                match to {
                    Some((socket, host)) => self.tell(StreamEvent::Bytes { host, socket, bytes }),
                    // Whoever sends to an end that is gone is told so.
                    None => self.end_stream(of),
                }
            }
            Segment::Agree { peer } => {
                if let Some(socket) = self.streams.sockets.get_mut(&of).filter(|socket| socket.peer.is_none()) {
                    socket.peer = Some(peer);
                    let local = socket.local;
                    self.tell(StreamEvent::Opened { host, socket: of, local });
                }
            }
            Segment::Refuse | Segment::GiveUp if peer.is_none() => {
                self.streams.sockets.remove(&of);
                self.tell(StreamEvent::Failed { host, socket: of });
            }
            Segment::Refuse => {}
            Segment::GiveUp | Segment::Close => self.end_stream(of),
        }
    }

    fn is_frozen(&self, one: StreamSocketId) -> bool {
        self.streams.sockets.get(&one).is_some_and(|socket| socket.is_frozen)
    }

    /// A connection is wanted at the other end.
    fn arrive_open(&mut self, from: StreamSocketId) {
        let Some(socket) = self.streams.sockets.get(&from).filter(|socket| socket.peer.is_none()) else { return };
        let (host, local, remote) = (socket.host, socket.local, socket.remote);
        let Ok((to, at, seen, delay)) = self.cross_stream(host, local, remote, 40) else {
            // The answer is lost, and whoever wants it asks again.
            self.repeat_later(from, 0);
            return;
        };
        let due = after(self.now, delay);
        let is_crossing =
            |socket: &Socket| socket.host == to && socket.local == at && socket.remote == seen && socket.peer.is_none();
        let crossing = self.streams.sockets.iter().find(|(_, socket)| is_crossing(socket)).map(|(id, _)| *id);
        if let Some(other) = crossing {
            // Both have called: each is the other end of the other.
            let now = self.now;
            self.streams.fly(due, from, Segment::Agree { peer: other });
            self.streams.fly(now, other, Segment::Agree { peer: from });
        } else if self.streams.listeners.contains(&(to, at)) {
            let now = self.now;
            let accepted = self.streams.add(to, at, seen, now);
            if let Some(socket) = self.streams.sockets.get_mut(&accepted) {
                socket.peer = Some(from);
            }
            self.streams.fly(due, from, Segment::Agree { peer: accepted });
            self.tell(StreamEvent::Accepted { host: to, socket: accepted, local: at, remote: seen });
        } else {
            self.streams.fly(due, from, Segment::Refuse);
        }
    }
}
