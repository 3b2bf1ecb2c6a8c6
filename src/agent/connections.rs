//! Connections of TCP candidates: opened for checks, accepted from the peer, what comes on them, and whose pairs they
//! carry (RFC 6544). How they end is in `connection_end`.

use core::net::SocketAddr;
use core::time::Duration;

use super::input::{Arrival, Received};
use super::{Agent, Socket};
use crate::candidate::TcpType;
use crate::checklist::{CandidatePair, Purpose, TransactionKey};
use crate::config::limits;
use crate::connection::{ConnectionEnd, ConnectionEvent, ConnectionRequest, ConnectionSecurity};
use crate::stats::DropReason;
use crate::stun::{Scratch, looks_like_stun};
use crate::tcp::{self, AcceptConnectionError, Carrier, Connection, Owner, Stage};
use crate::transmit::Datagram;
use crate::types::address::canonical;
use crate::types::{ConnectionId, Flow, Frame, PairId, Path, PathHealth, Transport, after};

/// Whether a message of a pair can leave.
#[derive(Clone, Copy, Debug)]
pub(super) enum Carriage {
    /// At once.
    Ready,
    /// When this connection is open.
    Opening(ConnectionId),
    /// There is no connection, and it is for the peer to open one.
    None,
}

impl Agent {
    /// How long an accepted connection may be without a check of the peer.
    const SILENCE: Duration = Duration::from_secs(10);
    /// The longest frame on a connection whose other end is still strange: no check is longer.
    const FIRST_FRAME: usize = limits::FIRST_FRAME;

    /// The next thing to be done about a connection; `None` if there is none for the time being.
    ///
    /// An agent without TCP candidates has none. Call it, until it gives `None`, when
    /// [`poll_transmit`](Self::poll_transmit) has given none.
    #[must_use = "a connection that nobody opens is one that fails"]
    pub fn poll_connection(&mut self) -> Option<ConnectionRequest> {
        self.evaluate();
        let request = self.connections.poll_request(self.now)?;
        Some(self.spell_request(request))
    }

    /// Takes what has become of a connection. What is said of a connection that the agent does not have, or no longer,
    /// changes nothing.
    pub fn handle_connection(&mut self, now: super::Instant, event: ConnectionEvent) {
        self.observe(now);
        match event {
            ConnectionEvent::Opened { id, local } => {
                self.connections.opened(self.now, id, canonical(local));
                // By now nobody may want it any more.
                self.is_dirty = true;
            }
            ConnectionEvent::Failed { id } => self.end_connection(id, ConnectionEnd::Failed),
            ConnectionEvent::Closed { id } => self.end_connection(id, ConnectionEnd::Lost),
        }
    }

    /// Takes a connection that a socket has accepted: `local` is the address of a passive or simultaneous-open candidate,
    /// `remote` that at the other end. Gives its name; [`handle_stream_bytes`](Self::handle_stream_bytes) takes what comes
    /// on it.
    ///
    /// Whose it is, the first authenticated check on it tells. One that carries none within 10 s is closed. So is one that
    /// carries none yet where there is no room for another one: the oldest of the IPv4 address, or the IPv6 /64, that has most
    /// of those. So nobody who opens connections and says nothing keeps others out.
    ///
    /// # Errors
    /// * [`UnknownAddress`](AcceptConnectionError::UnknownAddress) if no such candidate has this address.
    /// * [`ExcludedAddress`](AcceptConnectionError::ExcludedAddress) if nobody at `remote` is talked to.
    /// * [`TooManyFromAddress`](AcceptConnectionError::TooManyFromAddress) at the limit for one address, or one /64.
    /// * [`TooMany`](AcceptConnectionError::TooMany) if there are as many as the configuration allows, and all of them belong
    ///   to peers, or as many are to be closed that [`poll_connection`](Self::poll_connection) was not asked for.
    /// * [`Closed`](AcceptConnectionError::Closed) after [`close`](Self::close).
    pub fn accept_connection(
        &mut self,
        now: super::Instant,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<ConnectionId, AcceptConnectionError> {
        use AcceptConnectionError as E;
        self.observe(now);
        if self.is_closed {
            return Err(E::Closed);
        }
        let (local, remote) = (canonical(local), canonical(remote));
        let socket = self.sockets.get(&(Transport::Tcp, local)).copied();
        let Socket { stream, component, .. } = socket.ok_or(E::UnknownAddress(local))?;
        let path = Path::new(Transport::Tcp, local, remote);
        if let Err(refusal) = self.make_room_for(&path) {
            self.stats.connections_refused += 1;
            return Err(refusal);
        }
        let carrier = Carrier {
            stream,
            component,
            path,
            former: None,
            is_accepted: true,
            is_heard: false,
            is_proven: false,
            is_asked: false,
            waiting: None,
        };
        let until = after(self.now, Self::SILENCE);
        Ok(self.connections.accept(local, remote, Owner::Candidates(carrier), until))
    }

    /// Sees to it that there is room for another connection: where there is none, one goes of which nobody knows whose it is,
    /// the oldest of the site that has most of them.
    fn make_room_for(&mut self, path: &Path) -> Result<(), AcceptConnectionError> {
        use AcceptConnectionError as E;
        let ip = path.remote.ip();
        if !self.is_admitted(path) {
            return Err(E::ExcludedAddress(ip));
        }
        if self.connections.is_backlogged() {
            return Err(E::TooMany(limits::CONNECTION_REQUESTS));
        }
        if let Some(stale) = self.connections.find(path).map(|connection| connection.id) {
            // The same addresses again: the connection before was lost without a word.
            self.end_connection(stale, ConnectionEnd::Dead);
        }
        let (most, most_of_one) = (self.config.max_connections, self.config.max_connections_per_address);
        if self.connections.accepted_of(ip) >= most_of_one {
            return Err(E::TooManyFromAddress(most_of_one));
        }
        if self.connections.accepted() < most {
            return Ok(());
        }
        // A caller that closes none of those that went has no room for another one.
        let victim = self.connections.victim().filter(|_| self.connections.requested() < most);
        self.end_connection(victim.ok_or(E::TooMany(most))?, ConnectionEnd::Displaced);
        Ok(())
    }

    /// Takes bytes that have come on a connection, up to the end of the first frame in them, and advances `bytes` past
    /// what it has taken. `None` once all is taken: call it in a loop. The pieces may be split anywhere.
    ///
    /// ```
    /// # use nilas::{Agent, ConnectionId, Instant, Received};
    /// # fn take(agent: &mut Agent, now: Instant, connection: ConnectionId, mut bytes: &[u8]) {
    /// while let Some(received) = agent.handle_stream_bytes(now, connection, &mut bytes) {
    ///     if let Received::Data { payload, .. } = received {
    ///         println!("{} bytes", payload.len());
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// A payload that is whole in `bytes` is borrowed from there; otherwise, from the agent.
    pub fn handle_stream_bytes<'a, 'i: 'a>(
        &'a mut self,
        now: super::Instant,
        id: ConnectionId,
        bytes: &mut &'i [u8],
    ) -> Option<Received<'a>> {
        self.observe(now);
        let mut spare = core::mem::take(&mut self.connections.spare);
        let open = self.connections.get_mut(id).filter(|connection| connection.stage == Stage::Open);
        let Some(connection) = open else {
            self.connections.spare = spare;
            let rest = core::mem::take(bytes);
            return (!rest.is_empty()).then(|| self.count(Received::Dropped(DropReason::UnknownConnection)));
        };
        if let Owner::Server(enquiry) = &mut connection.owner {
            let part = core::mem::take(bytes);
            enquiry.answer.extend_from_slice(part);
            self.connections.spare = spare;
            return if part.is_empty() { None } else { self.take_answer(id) };
        }
        #[cfg(feature = "turn")]
        if let Owner::Relay(relay, framer) = &mut connection.owner {
            let (relay, frame) = (*relay, framer.next(bytes, &mut spare));
            return self.take_relay_frame(id, relay, frame, spare);
        }
        let frame = connection.framer.next(bytes, &mut spare).unwrap_or_else(|never| match never {});
        let Some(frame) = frame else {
            self.connections.spare = spare;
            self.judge_opening(id);
            return None;
        };
        match frame {
            Frame::Whole(frame) => {
                self.connections.spare = spare;
                Some(self.handle_frame(id, tcp::payload(frame)))
            }
            Frame::Joined(frame) => {
                let received = self.handle_frame(id, tcp::payload(&frame)).without_payload();
                self.connections.spare = frame;
                Some(received.with_payload(tcp::payload(&self.connections.spare)))
            }
        }
    }

    fn handle_frame<'a>(&mut self, id: ConnectionId, payload: &'a [u8]) -> Received<'a> {
        self.stats.datagrams_received += 1;
        let Some(connection) = self.connections.get_mut(id) else {
            return self.count(Received::Dropped(DropReason::UnknownConnection));
        };
        let is_stun = looks_like_stun(payload);
        let Some(carrier) = connection.carrier_mut() else {
            return self.count(Received::Dropped(DropReason::UnknownConnection));
        };
        let is_stranger = carrier.is_strange();
        let is_alien = is_stranger && (payload.len() > Self::FIRST_FRAME || !is_stun && !carrier.is_accepted);
        carrier.is_heard |= is_stun;
        let (stream, component, path) = (carrier.stream, carrier.component, carrier.path);
        if is_alien {
            // Whoever is there is no ICE agent (RFC 6544 §7.1).
            self.end_connection(id, ConnectionEnd::NotStun);
            return self.count(Received::Dropped(DropReason::Unclassified));
        }
        let current = self.stream(stream).map_or(0, |data| data.generation);
        let generation = path.flow.map_or(current, |flow| flow.generation);
        let datagram = Datagram { transport: Transport::Tcp, ..Datagram::new(path.remote, path.base, payload) };
        let received = self.deliver(Arrival { stream, component, path, generation }, &datagram);
        self.count(received)
    }

    fn count<'a>(&mut self, received: Received<'a>) -> Received<'a> {
        if let Received::Dropped(reason) = received {
            self.stats.count_drop(reason);
        }
        received
    }

    /// Looks at the beginning of the first frame, before it is complete: what is no STUN, or too long for a check, is not
    /// waited for.
    fn judge_opening(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(id) else { return };
        let Some(carrier) = connection.carrier().filter(|carrier| carrier.is_strange()) else { return };
        let part = connection.framer.part();
        let Some((prefix, payload)) = part.split_first_chunk() else { return };
        let is_long = usize::from(u16::from_be_bytes(*prefix)) > Self::FIRST_FRAME;
        let is_other = payload.first().is_some_and(|first| *first > 3) && !carrier.is_accepted;
        if is_long || is_other {
            self.end_connection(id, ConnectionEnd::NotStun);
        }
    }

    /// Whether the messages of a pair can leave; opens a connection if that is what is missing (RFC 6544 §7.1).
    pub(super) fn carriage(&mut self, id: PairId) -> Carriage {
        let Some(pair) = self.set.get(id) else { return Carriage::None };
        if pair.path.transport != Transport::Tcp {
            return Carriage::Ready;
        }
        let path = pair.path;
        if let Some(connection) = self.connections.find(&path) {
            return match connection.stage {
                Stage::Open => Carriage::Ready,
                Stage::Queued | Stage::Opening => Carriage::Opening(connection.id),
            };
        }
        match self.tcp_type(id) {
            Some(TcpType::SimultaneousOpen) => {
                // After a restart both sides may list the same addresses, and use what is open (RFC 6544 §9.2).
                let bare = Path { flow: None, ..path };
                let open = self.connections.find_open(&bare);
                let found = open.and_then(|open| Some((open.id, open.carrier()?.is_reusable())));
                match found {
                    Some((connection, true)) => {
                        self.connections.bind(connection, path);
                        return Carriage::Ready;
                    }
                    Some((connection, false)) => self.end_connection(connection, ConnectionEnd::Dead),
                    None => {}
                }
                self.dial(id).map_or(Carriage::None, Carriage::Opening)
            }
            Some(TcpType::Active) => self.dial(id).map_or(Carriage::None, Carriage::Opening),
            Some(TcpType::Passive) | None => Carriage::None,
        }
    }

    /// The type of the local candidate of a pair.
    pub(super) fn tcp_type(&self, id: PairId) -> Option<TcpType> {
        let pair = self.set.get(id)?;
        self.stream(pair.stream)?.locals.get(pair.local)?.candidate.tcp_type()
    }

    /// Opens the connection of a pair: from a port of its own for an active candidate, from that of the base otherwise.
    pub(super) fn dial(&mut self, id: PairId) -> Option<ConnectionId> {
        let tcp_type = self.tcp_type(id).filter(|tcp_type| tcp_type.is_opening())?;
        let pair = self.set.get(id)?;
        let path = pair.path;
        let mut local = path.base;
        if tcp_type == TcpType::Active {
            local.set_port(0);
        }
        let carrier = Carrier {
            stream: pair.stream,
            component: pair.component,
            path,
            former: None,
            is_accepted: false,
            is_heard: false,
            is_proven: false,
            is_asked: false,
            waiting: None,
        };
        let owner = Owner::Candidates(carrier);
        let id = self.connections.open(self.now, local, path.remote, ConnectionSecurity::Plain, owner);
        if tcp_type == TcpType::SimultaneousOpen {
            // Between two ports there is one connection, whose pair it is today or after a restart.
            self.connections.alias(id, Path { flow: None, ..path });
        }
        Some(id)
    }

    /// Lets a check wait for a connection, in the place of an earlier one.
    pub(super) fn let_wait(&mut self, connection: ConnectionId, key: TransactionKey) {
        let Some(connection) = self.connections.get_mut(connection) else { return };
        if let Some(earlier) = connection.carrier_mut().and_then(|carrier| carrier.waiting.replace(key)) {
            self.set.end(earlier);
        }
    }

    /// What is said first on a connection that was opened: the check that waited for it, or one that shows whether a path
    /// in use works again (RFC 6544 §11.1).
    pub(super) fn write_opening(&mut self, out: &mut Scratch) -> Option<Path> {
        loop {
            let id = self.connections.poll_ready()?;
            let Some(carrier) = self.connections.get_mut(id).and_then(Connection::carrier_mut) else { continue };
            let (path, waiting) = (carrier.path, carrier.waiting.take());
            let launched = waiting.and_then(|key| self.set.launch(self.now, key));
            if let Some(start) = launched.map(|transaction| transaction.start) {
                if let Some(path) = self.encode(out, &start) {
                    return Some(path);
                }
            }
            let in_use = self.watched().find(|id| self.set.get(*id).is_some_and(|pair| pair.path == path));
            let Some(id) = in_use else {
                let Some(start) = self.plan_opened(&path) else { continue };
                let path = self.encode(out, &start);
                self.record_probe(&start);
                return path;
            };
            let Some(start) = self.plan(id, Purpose::Consent) else { continue };
            if let Some(path) = self.encode(out, &start) {
                self.record_consent(&start);
                return Some(path);
            }
        }
    }

    /// Records whose connection an authenticated request has come on; gives the path of its pair (RFC 6544 §7.2).
    pub(super) fn own(&mut self, arrival: Arrival) -> Path {
        let Arrival { stream, component, path, generation } = arrival;
        let flow = Some(Flow { stream, component, generation });
        if path.transport != Transport::Tcp || path.flow == flow {
            return path;
        }
        let Some(id) = self.connections.find(&path).map(|connection| connection.id) else { return path };
        let bound = Path { flow, ..path };
        if let Some(other) = self.connections.find(&bound).map(|other| other.id).filter(|other| *other != id) {
            // Both sides have opened one at the same time: that of the peer works.
            self.supersede(other);
        }
        self.connections.bind(id, bound);
        self.is_dirty = true;
        self.revive(id, bound);
        bound
    }

    /// Gives a pair in use, whose connection is lost or does not answer, the one that its peer has opened instead
    /// (RFC 6544 §11.1).
    fn revive(&mut self, id: ConnectionId, bound: Path) {
        let is_lost = |pair: &CandidatePair| {
            let path = pair.path;
            let is_silent = self.consent(pair.id).is_some_and(|consent| consent.health() != PathHealth::Healthy);
            (path.transport, path.base, path.remote.ip(), path.flow)
                == (bound.transport, bound.base, bound.remote.ip(), bound.flow)
                && (is_silent || self.connections.find(&path).is_none())
        };
        let lost = self.watched().filter_map(|id| self.set.get(id)).find(|pair| is_lost(pair));
        let Some((before, remote, stream)) = lost.map(|pair| (pair.path, pair.remote, pair.stream)) else {
            return;
        };
        if self.set.find(&bound).is_some_and(|other| self.set.get(other).is_some_and(|pair| pair.path != before)) {
            // Another pair has this path by itself: it is checked on it, and data goes there once it works.
            return;
        }
        for pair in self.pairs_on(&before) {
            self.set.move_to(pair, bound);
        }
        if let Some(dead) = self.connections.find(&before).map(|connection| connection.id) {
            self.end_connection(dead, ConnectionEnd::Dead);
        }
        if let Some(data) = self.stream_mut(stream) {
            data.readdress(remote, bound);
        }
        self.connections.make_ready(id);
        self.resume_nomination(&bound);
    }

    /// Whether two paths are carried by the same connection, or are the same.
    pub(super) fn is_same_way(&self, one: &Path, other: &Path) -> bool {
        let connection = |path| self.connections.find(path).map(|connection| connection.id);
        one == other || connection(one).is_some() && connection(one) == connection(other)
    }

    /// Records that a check was answered on a path: data may follow on its connection.
    pub(super) fn prove_connection(&mut self, path: &Path) {
        let Some(id) = self.connections.find(path).map(|connection| connection.id) else { return };
        if let Some(carrier) = self.connections.get_mut(id).and_then(Connection::carrier_mut) {
            (carrier.is_proven, carrier.is_asked) = (true, false);
        }
        self.connections.forget_redial(path);
    }

    /// Whether data may go on this path: its connection is open, and a check was answered on it. A lite agent sends no
    /// checks.
    pub(super) fn is_carried(&self, path: &Path) -> bool {
        let open = self.connections.find_open(path);
        open.and_then(Connection::carrier).is_some_and(|carrier| carrier.is_proven || self.config.lite)
    }

    /// Whether the answer to a consent check has to come first, or a connection, before the next one is sent.
    pub(super) fn is_asked(&self, id: PairId) -> bool {
        let Some(pair) = self.set.get(id).filter(|pair| pair.path.transport == Transport::Tcp) else { return false };
        self.connections.find_open(&pair.path).and_then(Connection::carrier).is_none_or(|carrier| carrier.is_asked)
    }
}
