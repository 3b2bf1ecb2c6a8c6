//! An agent on a simulated host.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::vec::Vec;

use bytes::BufMut;

use super::host::HostId;
use super::invariants::Invariants;
use super::network::{Delivery, Network, StreamEvent, StreamSocketId};
use super::trace::PacketId;
use crate::types::Instant;
use crate::types::address::{mapped, plain};
use crate::{
    Agent, Candidate, ComponentId, ConnectionEvent, ConnectionId, ConnectionRequest, ConnectionState, Datagram, Event,
    PairId, Received, SendError, SocketOptions, StreamId, TcpType, TrafficClass, Transmit, Transport, Ufrag,
};

/// Application data that a [`Peer`] received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedData {
    /// When it came.
    pub at: Instant,
    /// The stream that it was for.
    pub stream: StreamId,
    /// The component that it was for.
    pub component: ComponentId,
    /// The pair that it came on, if the agent said so.
    pub pair: Option<PairId>,
    /// Where it arrived and where it came from, if it came in a datagram of its own.
    pub arrived: Option<(SocketAddr, SocketAddr)>,
    /// The data.
    pub payload: Vec<u8>,
}

/// A datagram that an agent sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// When it left.
    pub at: Instant,
    /// What became of it is in the trace of the [`Network`] under this name.
    pub packet: PacketId,
    /// Where it left from.
    pub source: SocketAddr,
    /// Where it was sent to.
    pub destination: SocketAddr,
    /// How it was marked.
    pub traffic_class: TrafficClass,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// What signalling has to carry to the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Candidate(StreamId, Candidate),
    EndOfCandidates(StreamId, Ufrag),
}

/// An agent on a host, with all that it said and did.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The agent. Whoever calls it has to [`drain`](Peer::drain) it, as every step of a pair does.
    pub agent: Agent,
    /// Its events, and when they were polled.
    pub events: Vec<(Instant, Event)>,
    /// The application data that arrived.
    pub received: Vec<ReceivedData>,
    /// The datagrams that it sent: the wire log.
    pub sent: Vec<Sent>,
    /// What it wanted done about connections, and when.
    pub connections: Vec<(Instant, ConnectionRequest)>,
    /// What it sent on connections: the name, and the bytes.
    pub streamed: Vec<(Instant, ConnectionId, Vec<u8>)>,
    /// How many datagrams, and connections to be opened, its sockets have refused for the form of their addresses. Only
    /// sockets of IPv6 do, see [`SideSetup::mapped_sockets`](super::SideSetup::mapped_sockets).
    pub refused_addresses: usize,
    pub(super) is_mapped: bool,
    /// The base and the remote address of each pair that an event has named, as they were when that was polled first.
    pub(super) paths: BTreeMap<PairId, (SocketAddr, SocketAddr)>,
    host: HostId,
    sockets: Vec<SocketAddr>,
    ends: BTreeMap<ConnectionId, StreamSocketId>,
    names: BTreeMap<StreamSocketId, ConnectionId>,
    signals: Vec<Signal>,
    buffer: Vec<u8>,
    invariants: Invariants,
    /// How many of the sent datagrams were checked to leave from a socket.
    checked: usize,
}

impl Peer {
    /// An agent on a host.
    #[must_use]
    pub const fn new(host: HostId, agent: Agent) -> Self {
        Self {
            agent,
            events: Vec::new(),
            received: Vec::new(),
            sent: Vec::new(),
            connections: Vec::new(),
            streamed: Vec::new(),
            refused_addresses: 0,
            is_mapped: false,
            paths: BTreeMap::new(),
            host,
            sockets: Vec::new(),
            ends: BTreeMap::new(),
            names: BTreeMap::new(),
            signals: Vec::new(),
            buffer: Vec::new(),
            invariants: Invariants::new(),
            checked: 0,
        }
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> HostId {
        self.host
    }

    /// The addresses of its sockets.
    #[must_use]
    pub fn sockets(&self) -> &[SocketAddr] {
        &self.sockets
    }

    /// Gives the agent a socket.
    ///
    /// # Errors
    /// Those of [`Agent::add_socket`].
    pub fn add_socket(
        &mut self,
        now: Instant,
        stream: StreamId,
        component: ComponentId,
        address: SocketAddr,
    ) -> Result<crate::CandidateId, crate::AddLocalCandidateError> {
        let id = self.agent.add_socket(now, stream, component, Transport::Udp, self.seen(address))?;
        self.note_socket(address);
        Ok(id)
    }

    /// An address as its sockets have it.
    const fn seen(&self, address: SocketAddr) -> SocketAddr {
        if self.is_mapped { mapped(address) } else { address }
    }

    /// The addresses as the network has them; `None` if its sockets do not take them.
    fn unseen(&mut self, source: SocketAddr, destination: SocketAddr) -> Option<(SocketAddr, SocketAddr)> {
        let is_refused = |address: SocketAddr| address.is_ipv4() == self.is_mapped && plain(address).is_ipv4();
        if is_refused(source) || is_refused(destination) {
            self.refused_addresses += 1;
            return None;
        }
        Some((plain(source), plain(destination)))
    }

    /// Notes a socket that a test has given to the agent itself.
    pub fn note_socket(&mut self, address: SocketAddr) {
        if !self.sockets.contains(&address) {
            self.sockets.push(address);
        }
    }

    /// Gives the agent a TCP candidate, and lets its host accept connections there if it is not active.
    ///
    /// # Errors
    /// Those of [`Agent::add_socket_with`].
    pub fn add_tcp_candidate(
        &mut self,
        network: &mut Network,
        stream: StreamId,
        component: ComponentId,
        tcp_type: TcpType,
        address: SocketAddr,
    ) -> Result<crate::CandidateId, crate::AddLocalCandidateError> {
        let options = SocketOptions::default().with_tcp_type(tcp_type);
        let now = network.now();
        let seen = self.seen(address);
        let id = self.agent.add_socket_with(now, stream, component, Transport::Tcp, seen, options)?;
        if tcp_type != TcpType::Active {
            network.listen(self.host, address);
        }
        Ok(id)
    }

    /// Tells the agent what has happened to a connection.
    pub fn deliver_stream(&mut self, network: &mut Network, event: &StreamEvent) {
        let now = network.now();
        match event {
            StreamEvent::Opened { socket, local, .. } => {
                if let Some(&id) = self.names.get(socket) {
                    let local = self.seen(*local);
                    self.agent.handle_connection(now, ConnectionEvent::Opened { id, local });
                }
            }
            StreamEvent::Accepted { socket, local, remote, .. } => {
                match self.agent.accept_connection(now, self.seen(*local), self.seen(*remote)) {
                    Ok(id) => {
                        self.ends.insert(id, *socket);
                        self.names.insert(*socket, id);
                    }
                    Err(_) => network.close_stream(*socket),
                }
            }
            StreamEvent::Bytes { socket, bytes, .. } => {
                let Some(&id) = self.names.get(socket) else { return };
                let mut rest = bytes.as_slice();
                while let Some(received) = self.agent.handle_stream_bytes(now, id, &mut rest) {
                    if let Received::Data { stream, component, pair, payload, .. } = received {
                        let payload = payload.into();
                        self.received.push(ReceivedData { at: now, stream, component, pair, arrived: None, payload });
                    }
                }
            }
            StreamEvent::Failed { socket, .. } => {
                if let Some(id) = self.forget_end(*socket) {
                    self.agent.handle_connection(now, ConnectionEvent::Failed { id });
                }
            }
            StreamEvent::Closed { socket, .. } => {
                if let Some(id) = self.forget_end(*socket) {
                    self.agent.handle_connection(now, ConnectionEvent::Closed { id });
                }
            }
        }
    }

    fn forget_end(&mut self, socket: StreamSocketId) -> Option<ConnectionId> {
        let id = self.names.remove(&socket)?;
        self.ends.remove(&id);
        Some(id)
    }

    fn do_request(&mut self, network: &mut Network, request: ConnectionRequest) {
        match &request {
            ConnectionRequest::Open { id, local, remote, .. } => match self.unseen(*local, *remote) {
                Some((local, remote)) => {
                    let socket = network.connect(self.host, local, remote);
                    self.ends.insert(*id, socket);
                    self.names.insert(socket, *id);
                }
                None => self.agent.handle_connection(network.now(), ConnectionEvent::Failed { id: *id }),
            },
            ConnectionRequest::Close { id } => {
                if let Some(socket) = self.ends.remove(id) {
                    self.names.remove(&socket);
                    network.close_stream(socket);
                }
            }
        }
        self.connections.push((network.now(), request));
    }

    pub(super) fn forget_logs(&mut self) {
        self.checked = 0;
        self.events.clear();
        self.received.clear();
        self.sent.clear();
        self.connections.clear();
        self.streamed.clear();
    }

    /// Hands a delivered datagram to the agent.
    pub fn deliver(&mut self, now: Instant, delivery: &Delivery) {
        let (source, destination) = (self.seen(delivery.source), self.seen(delivery.destination));
        let datagram = Datagram::new(source, destination, &delivery.payload);
        if let Received::Data { stream, component, pair, payload, .. } = self.agent.handle_datagram(now, &datagram) {
            let payload = payload.into();
            let arrived = Some((delivery.destination, delivery.source));
            self.received.push(ReceivedData { at: now, stream, component, pair, arrived, payload });
        }
    }

    /// Polls the agent until it has nothing more to say, and puts its datagrams on the network.
    ///
    /// # Panics
    /// If that never ends.
    pub fn drain(&mut self, now: Instant, network: &mut Network) {
        let mut outputs = 0;
        loop {
            let mut is_done = true;
            self.buffer.clear();
            let room = self.invariants.room.unwrap_or(usize::MAX);
            while let Some(transmit) = self.agent.poll_transmit(now, &mut (&mut self.buffer).limit(room)) {
                is_done = false;
                if transmit.connection.is_none() {
                    self.invariants.note_sent(now, &self.agent, &self.buffer);
                }
                self.put(now, &transmit, network);
                self.buffer.clear();
                outputs += 1;
                assert!(outputs < Invariants::MOST_OUTPUTS, "an agent sends without end at {now:?}");
            }
            while let Some(request) = self.agent.poll_connection() {
                is_done = false;
                self.do_request(network, request);
            }
            while let Some(event) = self.agent.poll_event() {
                is_done = false;
                self.note_event(now, event);
                outputs += 1;
            }
            if is_done {
                return;
            }
            assert!(outputs < Invariants::MOST_OUTPUTS, "an agent is never quiet at {now:?}");
        }
    }

    /// Checks the [invariants](super::invariants) of the agent, which was drained at this instant.
    ///
    /// # Panics
    /// If one of them does not hold.
    pub fn check(&mut self, now: Instant) {
        self.invariants.check(now, &self.agent);
        for sent in self.sent.iter().skip(self.checked) {
            assert!(self.sockets.contains(&sent.source), "{} was never a socket", sent.source);
        }
        self.checked = self.sent.len();
    }

    /// Has buffers with so many bytes of room from now on.
    pub(super) const fn limit_room(&mut self, room: usize) {
        self.invariants.room = Some(room);
    }

    /// Polls one datagram into a buffer with so many bytes of room, and puts it on the network.
    pub(super) fn poll_transmit(&mut self, now: Instant, network: &mut Network, room: usize) {
        self.buffer.clear();
        let transmit = self.agent.poll_transmit(now, &mut (&mut self.buffer).limit(room));
        if let Some(transmit) = transmit {
            assert_eq!(transmit.len, self.buffer.len(), "a transmit is as long as what was written");
            if transmit.connection.is_none() {
                self.invariants.note_sent(now, &self.agent, &self.buffer);
            }
            self.put(now, &transmit, network);
        } else {
            assert!(self.buffer.is_empty(), "nothing is written that is not sent");
        }
        self.buffer.clear();
    }

    /// Polls one event.
    pub(super) fn poll_event(&mut self, now: Instant) {
        if let Some(event) = self.agent.poll_event() {
            self.note_event(now, event);
        }
    }

    /// Polls what is to be done about one connection, and does it.
    pub(super) fn poll_connection(&mut self, network: &mut Network) {
        if let Some(request) = self.agent.poll_connection() {
            self.do_request(network, request);
        }
    }

    fn note_event(&mut self, now: Instant, event: Event) {
        let (Self { paths, agent, .. }, named) = (&mut *self, pair_of(&event));
        if let Some(pair) = named.filter(|pair| !paths.contains_key(pair)).and_then(|pair| agent.pair(pair)) {
            paths.insert(pair.id, (pair.base, pair.remote_address));
        }
        if let Event::LocalCandidate { stream, candidate, .. } = &event {
            self.signals.push(Signal::Candidate(*stream, Candidate::clone(candidate)));
        } else if let Event::EndOfCandidates { stream, ufrag, .. } = &event {
            self.signals.push(Signal::EndOfCandidates(*stream, ufrag.clone()));
        }
        self.events.push((now, event));
    }

    /// Sends application data on the pair in use; gives the name of the packet, if it is one.
    ///
    /// # Errors
    /// Those of [`Agent::send`].
    pub fn send(
        &mut self,
        network: &mut Network,
        stream: StreamId,
        component: ComponentId,
        payload: &[u8],
    ) -> Result<Option<PacketId>, SendError> {
        let now = network.now();
        self.buffer.clear();
        let transmit = self.agent.send(now, stream, component, payload, &mut self.buffer)?;
        Ok(self.put(now, &transmit, network))
    }

    /// Puts what is in the buffer on the network.
    fn put(&mut self, now: Instant, transmit: &Transmit, network: &mut Network) -> Option<PacketId> {
        let (source, destination) = self.unseen(transmit.source, transmit.destination)?;
        if let Some(id) = transmit.connection {
            if let Some(socket) = self.ends.get(&id) {
                network.send_stream(*socket, &self.buffer);
            }
            self.streamed.push((now, id, self.buffer.clone()));
            return None;
        }
        let traffic_class = transmit.traffic_class;
        let packet = network.send(self.host, source, destination, &self.buffer);
        let payload = self.buffer.clone();
        self.sent.push(Sent { at: now, packet, source, destination, traffic_class, payload });
        Some(packet)
    }

    pub(super) fn has_signals(&self) -> bool {
        !self.signals.is_empty()
    }

    pub(super) fn take_signals(&mut self) -> impl Iterator<Item = Signal> + '_ {
        self.signals.drain(..)
    }

    /// When the agent first reached a state, all streams together.
    #[must_use]
    pub fn reached(&self, wanted: ConnectionState) -> Option<Instant> {
        let is_it =
            |event: &Event| matches!(event, Event::ConnectionStateChanged { current, .. } if *current == wanted);
        self.events.iter().find(|(_, event)| is_it(event)).map(|(at, _)| *at)
    }

    /// When a pair was first selected.
    #[must_use]
    pub fn selected_at(&self) -> Option<Instant> {
        let is_it = |event: &Event| matches!(event, Event::SelectedPairChanged { pair: Some(_), .. });
        self.events.iter().find(|(_, event)| is_it(event)).map(|(at, _)| *at)
    }

    /// How often the selected pair has changed.
    #[must_use]
    pub fn selections(&self) -> usize {
        self.events.iter().filter(|(_, event)| matches!(event, Event::SelectedPairChanged { .. })).count()
    }

    /// Whether every component of every stream has its selected pair.
    #[must_use]
    pub fn is_selected(&self) -> bool {
        let mut streams = self.agent.streams().peekable();
        streams.peek().is_some()
            && streams.all(|stream| self.agent.selected_pair(stream, ComponentId::RTP).is_some())
            && self.agent.state().is_connected()
    }
}

/// The pair that an event names.
const fn pair_of(event: &Event) -> Option<PairId> {
    let (Event::PathHealthChanged { pair, .. }
    | Event::ConsentEnded { pair, .. }
    | Event::PairAdded { pair, .. }
    | Event::PairStateChanged { pair, .. }
    | Event::PairCandidatesChanged { pair, .. }
    | Event::PairValidityChanged { pair, .. }
    | Event::PairNominated { pair }
    | Event::PairNominationLost { pair }
    | Event::PairRemoved { pair }) = event
    else {
        return if let Event::SelectedPairChanged { pair, .. } = event { *pair } else { None };
    };
    Some(*pair)
}
