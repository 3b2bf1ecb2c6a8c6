//! Relayed candidates: allocations with TURN servers, and what goes through them (RFC 8445 §5.1.1.2, RFC 8656).
//!
//! A relayed address is a base like that of a socket: pairs are made with it, and messages go and come on paths that have
//! it as their base. Only the last step on the way out and the first on the way in know better. On the way out, a message
//! is put into ChannelData or a Send indication to the server; on the way in, it is taken out, and handled as if it had
//! come to the relayed address.
//!
//! A pair of a relayed candidate takes no turn before the server has a permission for the peer: checks that the server
//! throws away would only be waited for. A channel is bound once a pair is in use (RFC 8445 §12.1).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use bytes::BufMut;
use smallvec::SmallVec;

use super::input::Received;
use super::pairing::canonical;
use super::wrap::Leaving;
use super::{Agent, GatheringState, Socket};
use crate::candidate::{Candidate, CandidateId, CandidateKind, Foundation, Priority};
use crate::connection::{ConnectionId, ConnectionSecurity};
use crate::consent::PathHealth;
use crate::event::Event;
use crate::gather::{End, IceServer, TaskId};
use crate::pair::{CandidatePairState, PairId, Path};
use crate::route::Framing;
use crate::stats::DropReason;
use crate::stream::{ComponentId, StreamId};
use crate::stun::{Scratch, TransactionId, write_keepalive};
use crate::tcp::{Owner, Stage};
use crate::time::{Instant, after, earliest};
use crate::transmit::{Datagram, Transmit, Transport};
use crate::turn::data::{FromServer, put_send_indication};
use crate::turn::stream::{OutOfStep, ServerFrame, ServerFramer};
use crate::turn::{Allocation, Families, Terms, TurnEvent};

/// Names a relay of an agent; never used again for another.
pub(super) type RelayId = u32;

/// An allocation, and where it is used.
#[derive(Clone, Debug)]
struct Relay {
    stream: StreamId,
    component: ComponentId,
    /// The socket that the server is reached from.
    base: SocketAddr,
    server: SocketAddr,
    ice_server: Arc<IceServer>,
    /// The connection, where the server is reached over TCP or TLS.
    connection: Option<ConnectionId>,
    /// How many connections were opened because the server knew the address of the one before.
    mismatches: u8,
    allocation: Allocation,
    /// What gathering waits for.
    task: Option<TaskId>,
    candidates: SmallVec<[(SocketAddr, CandidateId); 2]>,
    last_sent_at: Instant,
    keepalive_at: Option<Instant>,
    /// How often a lost allocation could not be replaced.
    failures: u32,
    /// When that is tried again.
    retry_at: Option<Instant>,
    /// When any of it needs attention.
    deadline: Option<Instant>,
}

/// All relays of an agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Relays {
    list: BTreeMap<RelayId, Relay>,
    /// By the addresses of the socket and of the server.
    by_link: BTreeMap<(SocketAddr, SocketAddr), RelayId>,
    /// By relayed address.
    by_address: BTreeMap<SocketAddr, RelayId>,
    next: RelayId,
    deadline: Option<Instant>,
    /// Servers that were asked for an allocation from a base: none is asked again soon because another says so.
    asked: Vec<(SocketAddr, SocketAddr, Instant)>,
}

impl Relays {
    /// Most relays at a time.
    const MOST: usize = 64;
    /// Most requests remembered against loops of redirections.
    const MOST_ASKED: usize = 64;
    /// How long a server that was asked is not redirected to (RFC 8489 §10, RFC 8656 §7.4).
    const ASKED_FOR: Duration = Duration::from_secs(300);

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The relay whose server sends from there to here.
    pub(super) fn find(&self, base: SocketAddr, server: SocketAddr) -> Option<RelayId> {
        self.by_link.get(&(base, server)).copied()
    }

    /// Whether this is an address of a server, not one of ours.
    pub(super) fn is_relayed(&self, address: SocketAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    fn at(&self, address: SocketAddr) -> Option<&Relay> {
        self.list.get(self.by_address.get(&address)?)
    }

    fn insert(&mut self, relay: Relay) -> RelayId {
        let id = self.next;
        self.next += 1;
        if relay.ice_server.transport() == Transport::Udp {
            self.by_link.insert((relay.base, relay.server), id);
        }
        self.list.insert(id, relay);
        id
    }

    fn remove(&mut self, id: RelayId) -> Option<Relay> {
        let relay = self.list.remove(&id)?;
        self.by_link.retain(|_, known| *known != id);
        self.by_address.retain(|_, known| *known != id);
        self.settle();
        Some(relay)
    }

    /// Notes when a relay needs attention.
    fn touch(&mut self, id: RelayId) {
        if let Some(relay) = self.list.get_mut(&id) {
            relay.deadline = earliest(earliest(relay.allocation.deadline(), relay.keepalive_at), relay.retry_at);
        }
        self.settle();
    }

    fn settle(&mut self) {
        self.deadline = self.list.values().filter_map(|relay| relay.deadline).min();
    }

    /// Remembers that a server was asked from a base; `false` if that was not long ago.
    fn note_asked(&mut self, now: Instant, base: SocketAddr, server: SocketAddr) -> bool {
        self.asked.retain(|(.., until)| *until > now);
        let is_new = !self.asked.iter().any(|(from, to, _)| (*from, *to) == (base, server));
        if self.asked.len() >= Self::MOST_ASKED {
            self.asked.remove(0);
        }
        self.asked.push((base, server, after(now, Self::ASKED_FOR)));
        is_new
    }
}

impl Agent {
    /// How long after an error a lost allocation is asked for again, at first (RFC 8656 §7.4 for 486 and 508).
    const RETRY: Duration = Duration::from_secs(1);
    const RETRY_WHEN_FULL: Duration = Duration::from_secs(60);
    const RETRY_AFTER_MISMATCH: Duration = Duration::from_secs(120);
    /// How many further connections are opened to a server that takes ours for another (RFC 8656 §7.4).
    const MOST_MISMATCHES: u8 = 2;
    const RETRY_MOST: Duration = Duration::from_secs(600);

    /// Asks a server for relayed addresses, on behalf of gathering.
    pub(super) fn open_relay(&mut self, task: TaskId) {
        let Some(asked) = self.gatherer.get(task) else { return };
        let (stream, component, base) = (asked.stream, asked.component, asked.base);
        let (server, ice_server) = (canonical(asked.address), Arc::clone(&asked.server));
        let is_same = |relay: &&Relay| (relay.base, relay.ice_server.url()) == (base, ice_server.url());
        let known = self.relays.list.values().find(is_same);
        if known.is_some_and(|known| !known.candidates.is_empty()) {
            // It is held since an earlier gathering, and its candidates are signalled again without asking.
            self.gatherer.finish(task, self.now, End::Answered);
            return;
        }
        let is_taken = ice_server.transport() == Transport::Udp && self.relays.find(base, server).is_some();
        if self.relays.list.len() >= Relays::MOST || is_taken {
            self.gatherer.finish(task, self.now, End::Refused(0, "too many allocations".into()));
            return;
        }
        self.relays.note_asked(self.now, base, server);
        let allocation = self.new_allocation(&ice_server, base);
        let (candidates, failures) = (SmallVec::new(), 0);
        let id = self.relays.insert(Relay {
            stream,
            component,
            base,
            server,
            ice_server,
            connection: None,
            mismatches: 0,
            allocation,
            task: Some(task),
            candidates,
            last_sent_at: self.now,
            keepalive_at: None,
            failures,
            retry_at: None,
            deadline: None,
        });
        self.connect_relay(id);
        self.relays.touch(id);
    }

    /// Opens the connection of a relay, where it needs one (RFC 8656 §3.1).
    fn connect_relay(&mut self, id: RelayId) {
        self.hang_up(id);
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        if relay.ice_server.transport() != Transport::Tcp {
            return;
        }
        let security = match relay.ice_server.is_secure() {
            true => ConnectionSecurity::Tls { server_name: relay.ice_server.host().into() },
            false => ConnectionSecurity::Plain,
        };
        let local = SocketAddr::new(relay.base.ip(), 0);
        let owner = Owner::Relay(id, ServerFramer::default());
        relay.connection = Some(self.connections.open(self.now, local, relay.server, security, owner));
    }

    /// Closes the connection of a relay, if it has one.
    fn hang_up(&mut self, id: RelayId) {
        let connection = self.relays.list.get_mut(&id).and_then(|relay| relay.connection.take());
        if let Some(connection) = connection {
            self.connections.close(self.now, connection);
        }
    }

    /// The connection of a relay has ended.
    pub(super) fn disconnect_relay(&mut self, id: RelayId) {
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        relay.connection = None;
        relay.allocation.disconnect();
        self.follow_relay(id);
        self.is_dirty = true;
    }

    /// Forgets a relay, and closes its connection.
    fn forget_relay(&mut self, id: RelayId) -> Option<Relay> {
        self.hang_up(id);
        self.relays.remove(id)
    }

    /// Whether requests of a relay can leave: over a stream, once its connection is open.
    fn is_reachable(&self, relay: &Relay) -> bool {
        let is_open = |id| self.connections.get(id).is_some_and(|connection| connection.stage == Stage::Open);
        relay.ice_server.transport() == Transport::Udp || relay.connection.is_some_and(is_open)
    }

    /// How messages leave to the server of a relay; `None` as long as its connection is not open.
    fn link_of(&self, relay: &Relay) -> Option<Leaving> {
        let (destination, transport) = (relay.server, relay.ice_server.transport());
        if transport == Transport::Udp {
            return Some(Leaving { source: relay.base, destination, transport, connection: None });
        }
        let open = self.connections.get(relay.connection?).filter(|connection| connection.stage == Stage::Open)?;
        Some(Leaving { source: open.local, destination, transport, connection: Some(open.id) })
    }

    fn new_allocation(&self, server: &IceServer, base: SocketAddr) -> Allocation {
        let families = match (self.config.relay_families, base.is_ipv4()) {
            (crate::RelayFamilies::Both, _) => Families::Both,
            (crate::RelayFamilies::OfServer, true) => Families::V4,
            (crate::RelayFamilies::OfServer, false) => Families::V6,
        };
        let terms = Terms {
            families,
            is_stream: server.transport() == Transport::Tcp,
            schedule: self.config.schedule(),
            rto: self.config.rto,
            software: self.config.software.clone(),
        };
        Allocation::new(server.username().unwrap_or_default(), server.credential().unwrap_or_default(), terms)
    }

    // The way out.

    /// What stands around each message that leaves from a relayed address; `None` if it is none.
    pub(super) fn relay_framing(&self, path: &Path) -> Option<Framing> {
        if self.relays.is_empty() {
            return None;
        }
        let relay = self.relays.at(path.base)?;
        Some(match relay.allocation.channel_to(self.now, path.remote) {
            Some(channel) => Framing {
                channel: Some(channel),
                has_length: true,
                is_padded: relay.allocation.is_stream(),
                indication: None,
            },
            None => Framing { indication: Some(path.remote), ..Framing::NONE },
        })
    }

    /// How messages leave whose base is a relayed address; `None` for others. Without the permission of its server nothing
    /// leaves (RFC 8656 §11.1).
    pub(super) fn relay_link(&self, path: &Path) -> Option<Option<Leaving>> {
        if self.relays.is_empty() {
            return None;
        }
        let relay = self.relays.at(path.base)?;
        let is_permitted = relay.allocation.is_permitted(self.now, path.remote.ip());
        Some(self.link_of(relay).filter(|_| is_permitted))
    }

    /// Notes that something leaves through a relay: that puts off its keepalive.
    pub(super) fn note_relayed(&mut self, path: &Path) {
        if self.relays.is_empty() {
            return;
        }
        let (now, id) = (self.now, self.relays.by_address.get(&path.base));
        if let Some(relay) = id.and_then(|id| self.relays.list.get_mut(id)) {
            relay.last_sent_at = now;
        }
    }

    /// Appends a Send indication.
    pub(super) fn put_indication(&mut self, peer: SocketAddr, message: &[u8], buf: &mut impl BufMut) -> usize {
        let id = TransactionId::draw(&mut self.random);
        put_send_indication(buf, id, peer, message)
    }

    /// Whether a message may leave on a path: through a relay only with the permission of its server (RFC 8656 §11.1).
    pub(super) fn can_leave(&self, path: &Path) -> bool {
        if self.relays.is_empty() {
            return true;
        }
        self.relays.at(path.base).is_none_or(|relay| relay.allocation.is_permitted(self.now, path.remote.ip()))
    }

    /// Appends what a relay has to say to its server.
    pub(super) fn write_relay(&mut self, buf: &mut impl BufMut) -> Option<Transmit> {
        if self.relays.is_empty() {
            return None;
        }
        let now = self.now;
        let room = buf.remaining_mut();
        let has_repeat = |relay: &Relay| relay.allocation.has_repeat() && relay.allocation.longest_request() <= room;
        if let Some(id) = self.relays.list.iter().find(|(_, relay)| has_repeat(relay)).map(|(id, _)| *id) {
            return self.write_to_server(id, buf, |relay, _| relay.allocation.repeat(now).map(Into::into));
        }
        let is_due = |relay: &Relay| relay.keepalive_at.is_some_and(|at| at <= now);
        if let Some(id) = self.relays.list.iter().find(|(_, relay)| is_due(relay)).map(|(id, _)| *id) {
            let mut out = Scratch::new();
            write_keepalive(&mut out, TransactionId::draw(&mut self.random));
            return self.write_to_server(id, buf, |_, _| Some(Box::from(&*out)));
        }
        let is_turn = self.gatherer.is_turn() || !self.set.has_work();
        if !is_turn || !self.pacer.is_open(now) {
            return None;
        }
        let has_start = |relay: &Relay| {
            relay.allocation.has_start() && relay.allocation.longest_request() <= room && self.is_reachable(relay)
        };
        let id = self.relays.list.iter().find(|(_, relay)| has_start(relay)).map(|(id, _)| *id)?;
        let transmit =
            self.write_to_server(id, buf, |relay, random| relay.allocation.start(now, random).map(Into::into))?;
        self.pacer.start(now);
        self.gatherer.set_turn(false);
        Some(transmit)
    }

    fn write_to_server(
        &mut self,
        id: RelayId,
        buf: &mut impl BufMut,
        write: impl FnOnce(&mut Relay, &mut crate::random::Random) -> Option<Box<[u8]>>,
    ) -> Option<Transmit> {
        let patience = self.config.keepalive_interval;
        let now = self.now;
        let link = self.relays.list.get(&id).and_then(|relay| self.link_of(relay))?;
        let relay = self.relays.list.get_mut(&id)?;
        let bytes = write(relay, &mut self.random)?;
        relay.last_sent_at = now;
        if relay.keepalive_at.is_some() {
            relay.keepalive_at = Some(after(now, patience));
        }
        self.relays.touch(id);
        self.stats.datagrams_sent += 1;
        buf.put_slice(&bytes);
        let Leaving { source, destination, transport, connection } = link;
        let mut transmit = Transmit::new(bytes.len(), transport, source, destination);
        transmit.connection = connection;
        Some(transmit)
    }

    // The way in.

    /// Takes what came from the server of a relay.
    pub(super) fn handle_from_server<'a>(&mut self, id: RelayId, datagram: &Datagram<'a>) -> Received<'a> {
        let now = self.now;
        let dropped = Received::Dropped;
        let Some(relay) = self.relays.list.get_mut(&id) else { return dropped(DropReason::UnknownDestination) };
        let (peer, payload) = match FromServer::read(datagram.payload) {
            FromServer::Channel(number, payload) => match relay.allocation.peer_of(now, number) {
                Some(peer) => (peer, payload),
                None => return dropped(DropReason::UnvalidatedSource),
            },
            FromServer::Data(peer, payload) => (canonical(peer), payload),
            FromServer::Icmp(peer, kind, code) => {
                let result = relay.allocation.handle_icmp(now, canonical(peer), kind, code);
                self.follow_relay(id);
                return result.map_or_else(dropped, |()| Received::Handled);
            }
            FromServer::Message(message) => {
                let result = relay.allocation.handle_answer(now, &message);
                self.follow_relay(id);
                return result.map_or_else(dropped, |()| Received::Handled);
            }
            FromServer::Junk => return dropped(DropReason::Malformed),
        };
        if !relay.allocation.is_permitted(now, peer.ip()) {
            return dropped(DropReason::UnvalidatedSource);
        }
        let Some(relayed) = relay.allocation.relayed().iter().find(|relayed| relayed.is_ipv4() == peer.is_ipv4())
        else {
            return dropped(DropReason::UnknownDestination);
        };
        let (destination, transport) = (canonical(*relayed), Transport::Udp);
        let inner = Datagram { source: peer, destination, transport, payload, ..*datagram };
        self.dispatch_inner(&inner)
    }

    /// Takes what came on the connection of a relay, whose frames have been found.
    pub(super) fn take_relay_frame<'a>(
        &'a mut self,
        connection: ConnectionId,
        relay: RelayId,
        frame: Result<Option<ServerFrame<'a>>, OutOfStep>,
        spare: Vec<u8>,
    ) -> Option<Received<'a>> {
        match frame {
            Ok(None) => {
                self.connections.spare = spare;
                None
            }
            Err(OutOfStep) => {
                self.connections.spare = spare;
                // Nothing that follows can be understood.
                self.connections.close(self.now, connection);
                self.disconnect_relay(relay);
                self.stats.count_drop(DropReason::Malformed);
                Some(Received::Dropped(DropReason::Malformed))
            }
            Ok(Some(ServerFrame::Whole(bytes))) => {
                self.connections.spare = spare;
                self.stats.datagrams_received += 1;
                Some(self.count_relayed(relay, &in_stream(bytes)))
            }
            Ok(Some(ServerFrame::Joined(bytes))) => {
                self.stats.datagrams_received += 1;
                let received = self.count_relayed(relay, &in_stream(&bytes)).without_payload();
                self.connections.spare = bytes;
                let payload = match FromServer::read(&self.connections.spare) {
                    FromServer::Channel(_, payload) | FromServer::Data(_, payload) => payload,
                    FromServer::Icmp(..) | FromServer::Message(_) | FromServer::Junk => &[],
                };
                Some(received.with_payload(payload))
            }
        }
    }

    fn count_relayed<'a>(&mut self, relay: RelayId, datagram: &Datagram<'a>) -> Received<'a> {
        let received = self.handle_from_server(relay, datagram);
        if let Received::Dropped(reason) = received {
            self.stats.count_drop(reason);
        }
        received
    }

    // What follows.

    /// Takes note of what happened to an allocation.
    fn follow_relay(&mut self, id: RelayId) {
        while let Some(event) = self.relays.list.get_mut(&id).and_then(|relay| relay.allocation.poll_event()) {
            match event {
                TurnEvent::Allocated { relayed, mapped } => self.take_allocated(id, &relayed, canonical(mapped)),
                TurnEvent::FamilyRefused { family, code } => self.tell_relay_error(id, code, family_text(family)),
                TurnEvent::Failed { code, text } => self.take_failed(id, code, text.into()),
                TurnEvent::Redirected(alternate) => self.follow_redirection(id, canonical(alternate)),
                TurnEvent::Lost { code, text } => self.take_lost(id, code, text.into()),
                TurnEvent::Permitted(ip) => {
                    for pair in self.relayed_pairs(id, ip) {
                        self.set.release(pair);
                    }
                }
                TurnEvent::Refused { ip, code } => {
                    self.tell_relay_error(id, code, alloc::format!("no permission for {ip}").into());
                    for pair in self.relayed_pairs(id, ip) {
                        self.refuse_pair(pair);
                    }
                }
                TurnEvent::Icmp { peer, kind, code } => {
                    if let Some(relay) = self.relays.list.get(&id) {
                        let (stream, component) = (relay.stream, relay.component);
                        self.emit(Event::RelayIcmp { stream, component, peer, kind, code, at: self.now });
                    }
                }
                TurnEvent::Released => {
                    let Some(relay) = self.forget_relay(id) else { continue };
                    let (url, base) = (relay.ice_server.shared_url(), relay.base);
                    self.emit(Event::RelayReleased { url, base, at: self.now });
                }
            }
            self.is_dirty = true;
        }
        self.relays.touch(id);
    }

    fn take_allocated(&mut self, id: RelayId, relayed: &[SocketAddr], mapped: SocketAddr) {
        let patience = self.config.keepalive_interval;
        let now = self.now;
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        relay.failures = 0;
        let is_datagram = relay.connection.is_none();
        relay.keepalive_at = is_datagram.then(|| after(now, patience));
        let (stream, base, server, task) = (relay.stream, relay.base, relay.server, relay.task.take());
        if task.is_some() && is_datagram {
            // The server has seen what a STUN server would have seen. What is redundant or unwanted is left out.
            let _ = self.add_server_reflexive(now, stream, base, mapped, Some(server.ip()));
        }
        for address in relayed {
            self.add_relayed(id, canonical(*address), mapped);
        }
        if let Some(task) = task {
            self.gatherer.finish(task, now, End::Answered);
        }
    }

    /// Makes a candidate of a relayed address (RFC 8445 §5.1.1.2).
    fn add_relayed(&mut self, id: RelayId, address: SocketAddr, mapped: SocketAddr) {
        let kind = CandidateKind::Relayed;
        let Some(relay) = self.relays.list.get(&id) else { return };
        let (stream, component, server) = (relay.stream, relay.component, relay.server.ip());
        let (transport, url) = (relay.ice_server.transport(), relay.ice_server.shared_url());
        let host = self.sockets.get(&(Transport::Udp, relay.base)).map(|socket| socket.host);
        if self.sockets.contains_key(&(Transport::Udp, address)) {
            return;
        }
        let Some(data) = self.stream(stream) else { return };
        let preference = host.and_then(|host| data.locals.get(host)).map(|host| host.candidate.priority());
        let preference = preference.map_or(0, Priority::local_preference);
        // A relay that is reached over a stream comes after those that are not.
        let preference = match (transport, relay.ice_server.is_secure()) {
            (Transport::Udp, _) => preference,
            (_, false) => preference / 2,
            (_, true) => preference / 4,
        };
        let candidate_id = self.next_candidate_id();
        let foundation = self.local_foundations.number(kind, address.ip(), Some(server), transport);
        let priority = Priority::compute(self.config.type_preferences.of(kind), preference, component);
        let number = Foundation::numbered("", foundation);
        let candidate = Candidate::new(kind, component, number, priority, address)
            .with_related_address(self.shown_mapped(stream, mapped));
        if let Some(data) = self.stream_mut(stream) {
            if let Some(host) = host {
                data.locals.fix_priority(host);
            }
            data.locals.add_reflexive(candidate_id, candidate, address, address, foundation);
            data.locals.set_url(candidate_id, url);
        }
        self.sockets.insert((Transport::Udp, address), Socket { stream, component, host: candidate_id });
        self.relays.by_address.insert(address, id);
        if let Some(relay) = self.relays.list.get_mut(&id) {
            relay.candidates.push((address, candidate_id));
        }
        let ended = self.stream(stream).filter(|data| data.gathering == GatheringState::Complete);
        match ended.map(|data| data.gathering_generation()) {
            // After the end of the candidates no other is signalled (RFC 8838 §13): the peer learns of it by its checks.
            Some(generation) => self.announce(stream, candidate_id, generation),
            None => self.queue_candidate(stream, candidate_id),
        }
    }

    /// Asks for the permission that a new pair needs, and lets it take no turn before.
    pub(super) fn prepare_relayed_pair(&mut self, pair: PairId) {
        let Some(path) = self.set.get(pair).map(|pair| pair.path) else { return };
        if self.relays.is_empty() || self.can_leave(&path) {
            return;
        }
        let Some(id) = self.relays.by_address.get(&path.base).copied() else { return };
        let wants = |relay: &mut Relay| relay.allocation.permit(path.remote.ip());
        if self.relays.list.get_mut(&id).is_some_and(wants) {
            self.set.hold(pair);
        } else {
            self.refuse_pair(pair);
        }
        self.relays.touch(id);
    }

    /// Fails a pair whose packets the server does not let through.
    fn refuse_pair(&mut self, id: PairId) {
        let Some(pair) = self.set.get(id) else { return };
        if pair.is_valid || pair.state.get() == CandidatePairState::Succeeded {
            self.give_up_path(id, true);
        } else {
            self.set.refuse(id);
        }
        self.is_dirty = true;
    }

    fn relayed_pairs(&self, id: RelayId, ip: IpAddr) -> SmallVec<[PairId; 4]> {
        let Some(relay) = self.relays.list.get(&id) else { return SmallVec::new() };
        let is_of =
            |path: &Path| path.remote.ip() == ip && relay.candidates.iter().any(|(address, _)| *address == path.base);
        self.set.iter().filter(|pair| is_of(&pair.path)).map(|pair| pair.id).collect()
    }

    fn tell_relay_error(&mut self, id: RelayId, code: u16, text: Box<str>) {
        let Some(relay) = self.relays.list.get(&id) else { return };
        let (url, base) = (relay.ice_server.shared_url(), Some(relay.base));
        self.emit(Event::IceCandidateError { url, base, code, text, at: self.now });
    }

    /// There is no allocation, or none again.
    fn take_failed(&mut self, id: RelayId, code: u16, text: Box<str>) {
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        if code == 437 && relay.connection.is_some() && relay.mismatches < Self::MOST_MISMATCHES {
            // Another port is not known to the server (RFC 8656 §7.4).
            relay.mismatches += 1;
            self.ask_anew(id);
            return;
        }
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        if let Some(task) = relay.task.take() {
            let is_over_udp = relay.ice_server.transport() == Transport::Udp;
            self.forget_relay(id);
            if matches!(code, 486 | 508) && is_over_udp && self.config.candidate_types.server_reflexive {
                self.gatherer.ask_for_less(task, code, text);
                self.is_dirty = true;
                return;
            }
            let end = if code == Allocation::UNREACHABLE { End::Silent } else { End::Refused(code, text) };
            self.gatherer.finish(task, self.now, end);
            return;
        }
        self.tell_relay_error(id, code, text);
        // What the server will not change its mind about is not asked again.
        if matches!(code, 0 | 300..=436 | 438..=485) {
            self.forget_relay(id);
        } else {
            self.retry_relay(id, code);
        }
    }

    /// Begins again with an allocation that was not had.
    fn ask_anew(&mut self, id: RelayId) {
        let Some(relay) = self.relays.list.get(&id) else { return };
        let (base, ice_server) = (relay.base, Arc::clone(&relay.ice_server));
        let allocation = self.new_allocation(&ice_server, base);
        if let Some(relay) = self.relays.list.get_mut(&id) {
            relay.allocation = allocation;
        }
        self.connect_relay(id);
    }

    /// An allocation is gone: its candidates go, and another one is asked for.
    fn take_lost(&mut self, id: RelayId, code: u16, text: Box<str>) {
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        if relay.task.is_some() {
            // It could not be used, and was never told of.
            self.take_failed(id, code, text);
            return;
        }
        let (stream, component, base) = (relay.stream, relay.component, relay.base);
        let url = relay.ice_server.shared_url();
        relay.keepalive_at = None;
        for (address, candidate) in core::mem::take(&mut relay.candidates) {
            self.drop_relayed(stream, address, candidate);
        }
        self.emit(Event::RelayLost { stream, component, url, base, code, text, at: self.now });
        self.retry_relay(id, code);
    }

    /// Asks for an allocation again, some time later.
    fn retry_relay(&mut self, id: RelayId, code: u16) {
        let now = self.now;
        self.hang_up(id);
        if self.is_closed {
            self.relays.remove(id);
            return;
        }
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        let first = match code {
            486 | 508 => Self::RETRY_WHEN_FULL,
            // Of an Allocate; that of a Refresh says that there is nothing.
            437 if relay.failures > 0 => Self::RETRY_AFTER_MISMATCH,
            _ => Self::RETRY,
        };
        let wait = first.saturating_mul(1 << relay.failures.min(16)).min(Self::RETRY_MOST);
        relay.failures += 1;
        relay.retry_at = Some(after(now, wait));
        self.relays.touch(id);
    }

    fn drop_relayed(&mut self, stream: StreamId, address: SocketAddr, candidate: CandidateId) {
        self.relays.by_address.remove(&address);
        // It may have been removed by the application.
        let _ = self.remove_local_candidate(self.now, stream, candidate);
    }

    /// Asks the server that another one has named (RFC 8489 §10).
    fn follow_redirection(&mut self, id: RelayId, alternate: SocketAddr) {
        let Some(relay) = self.relays.list.get(&id) else { return };
        let (base, ice_server) = (relay.base, Arc::clone(&relay.ice_server));
        let is_usable = alternate.port() != 0
            && alternate.is_ipv4() == base.is_ipv4()
            && !alternate.ip().is_unspecified()
            && !alternate.ip().is_multicast()
            && self.relays.find(base, alternate).is_none();
        if !is_usable || !self.relays.note_asked(self.now, base, alternate) {
            self.take_failed(id, 300, "redirected in a circle, or to nowhere".into());
            return;
        }
        if let Some(relay) = self.relays.list.get_mut(&id) {
            if ice_server.transport() == Transport::Udp {
                self.relays.by_link.remove(&(base, relay.server));
                self.relays.by_link.insert((base, alternate), id);
            }
            relay.server = alternate;
        }
        self.ask_anew(id);
    }

    // Time, and the end.

    /// Binds channels to the peers of the pairs in use (RFC 8445 §12.1), and forgets relays that nobody waits for.
    pub(super) fn follow_relayed_use(&mut self) {
        if self.relays.is_empty() || self.is_closed {
            return;
        }
        for path in self.relayed_paths_in_use() {
            let Some(id) = self.relays.by_address.get(&path.base).copied() else { continue };
            if let Some(relay) = self.relays.list.get_mut(&id) {
                relay.allocation.bind(self.now, path.remote);
            }
            self.relays.touch(id);
        }
        self.question_silent_relays();
        let is_orphan = |relay: &Relay| {
            let is_open = |task| self.gatherer.is_open(task);
            relay.task.is_some_and(|task| !is_open(task))
        };
        let orphans: SmallVec<[RelayId; 4]> =
            self.relays.list.iter().filter(|(_, relay)| is_orphan(relay)).map(|(id, _)| *id).collect();
        for id in orphans {
            self.release_relay(id);
        }
    }

    /// Asks the servers of relayed pairs whose peer has fallen silent: the allocation may be gone.
    fn question_silent_relays(&mut self) {
        let is_silent =
            |one: &&super::stream_data::Component| matches!(one.health, Some(PathHealth::Suspect | PathHealth::Lost));
        let components = self.streams.iter().flat_map(|stream| &stream.components).filter(is_silent);
        let paths: SmallVec<[Path; 2]> = components
            .filter_map(|component| self.set.get(component.kept?))
            .map(|pair| pair.path)
            .filter(|path| self.relays.is_relayed(path.base))
            .collect();
        for path in paths {
            let Some(id) = self.relays.by_address.get(&path.base).copied() else { continue };
            if let Some(relay) = self.relays.list.get_mut(&id) {
                relay.allocation.refresh_now(self.now);
            }
            self.relays.touch(id);
        }
    }

    /// Whether an allocation of a stream was lost and may be replaced soon.
    pub(super) fn awaits_relay(&self, stream: StreamId) -> bool {
        const PATIENCE: u32 = 4;
        let is_awaited = |relay: &Relay| relay.stream == stream && relay.failures > 0 && relay.failures <= PATIENCE;
        !self.relays.is_empty() && self.relays.list.values().any(is_awaited)
    }

    fn relayed_paths_in_use(&self) -> SmallVec<[Path; 2]> {
        let components = self.streams.iter().flat_map(|stream| &stream.components);
        let used = components.flat_map(|component| [component.selected, component.previous, component.kept]);
        let paths = used.flatten().filter_map(|id| self.set.get(id)).map(|pair| pair.path);
        paths.filter(|path| self.relays.is_relayed(path.base)).collect()
    }

    /// Does what is due.
    pub(super) fn expire_relays(&mut self) {
        let now = self.now;
        if self.relays.deadline.is_none_or(|at| at > now) {
            return;
        }
        let due: SmallVec<[RelayId; 4]> = self
            .relays
            .list
            .iter()
            .filter(|(_, relay)| relay.deadline.is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.expire_relay(id);
        }
    }

    fn expire_relay(&mut self, id: RelayId) {
        let now = self.now;
        let patience = self.config.keepalive_interval;
        if self.relays.list.get(&id).is_some_and(|relay| relay.allocation.is_renewal_due(now)) {
            self.say_what_is_needed(id);
        }
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        relay.allocation.expire(now);
        if let Some(at) = relay.keepalive_at.filter(|at| *at <= now) {
            // Data puts it off.
            relay.keepalive_at = Some(after(relay.last_sent_at, patience).max(at));
        }
        if relay.retry_at.take_if(|at| *at <= now).is_some() {
            let (base, server) = (relay.base, relay.server);
            self.relays.note_asked(now, base, server);
            self.ask_anew(id);
        }
        self.follow_relay(id);
    }

    /// Lets permissions lapse of peers that no pair needs any more, and channels of those that are not in use.
    fn say_what_is_needed(&mut self, id: RelayId) {
        let Some(relay) = self.relays.list.get(&id) else { return };
        let is_base = |base: SocketAddr| relay.candidates.iter().any(|(address, _)| *address == base);
        let pairs = self.set.iter().filter(|pair| is_base(pair.path.base));
        let is_alive = |pair: &&crate::pair::CandidatePair| {
            pair.is_valid || !matches!(pair.state.get(), CandidatePairState::Failed)
        };
        let addresses: SmallVec<[IpAddr; 8]> = pairs.filter(is_alive).map(|pair| pair.path.remote.ip()).collect();
        let in_use = self.relayed_paths_in_use().into_iter().filter(|path| is_base(path.base));
        let peers: SmallVec<[SocketAddr; 2]> = in_use.map(|path| path.remote).collect();
        if let Some(relay) = self.relays.list.get_mut(&id) {
            relay.allocation.keep_only(&addresses, &peers);
        }
    }

    /// When relays need attention.
    pub(super) fn relay_deadline(&self) -> Option<Instant> {
        if self.relays.is_empty() {
            return None;
        }
        let mut next = self.relays.deadline;
        if self.relays.list.values().any(|relay| relay.allocation.has_repeat()) {
            next = Some(self.now);
        }
        if self.relays.list.values().any(|relay| relay.allocation.has_start() && self.is_reachable(relay)) {
            next = earliest(next, Some(self.pacer.next_start().unwrap_or(self.now).max(self.now)));
        }
        next
    }

    /// Gives back an allocation, and forgets it once the server was told.
    fn release_relay(&mut self, id: RelayId) {
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        relay.task = None;
        relay.keepalive_at = None;
        relay.retry_at = None;
        let stream = relay.stream;
        relay.allocation.release();
        let is_over = relay.allocation.is_over() && relay.retry_at.is_none();
        let candidates = core::mem::take(&mut relay.candidates);
        // What a closed agent had in the end may still be looked at.
        let is_closed = self.is_closed;
        for (address, candidate) in candidates.into_iter().filter(|_| !is_closed) {
            self.drop_relayed(stream, address, candidate);
        }
        self.follow_relay(id);
        if is_over {
            self.forget_relay(id);
        }
    }

    /// Gives back all allocations: the session is over.
    pub(super) fn release_relays(&mut self) {
        self.release_those(|_| true);
    }

    /// Gives back the allocations of components that are not needed any more.
    pub(super) fn release_relays_of(&mut self, stream: StreamId, which: &impl Fn(ComponentId) -> bool) {
        self.release_those(|relay| relay.stream == stream && which(relay.component));
    }

    fn release_those(&mut self, which: impl Fn(&Relay) -> bool) {
        let those: SmallVec<[RelayId; 4]> =
            self.relays.list.iter().filter(|(_, relay)| which(relay)).map(|(id, _)| *id).collect();
        for id in those {
            self.release_relay(id);
        }
    }

    /// Forgets the relays that are reached from a socket that is gone. There is no way left to tell their servers.
    pub(super) fn forget_relays_at(&mut self, base: SocketAddr) {
        let is_of = |relay: &Relay| relay.base == base;
        let gone: SmallVec<[RelayId; 4]> =
            self.relays.list.iter().filter(|(_, relay)| is_of(relay)).map(|(id, _)| *id).collect();
        for id in gone {
            let Some(relay) = self.forget_relay(id) else { continue };
            for (address, candidate) in relay.candidates {
                self.drop_relayed(relay.stream, address, candidate);
            }
        }
    }

    /// Gives back the allocation of a relayed candidate that the application has removed.
    pub(super) fn release_relayed(&mut self, address: SocketAddr) {
        let Some(id) = self.relays.by_address.remove(&address) else { return };
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        relay.candidates.retain(|(known, _)| *known != address);
        if relay.candidates.is_empty() {
            self.release_relay(id);
        }
    }
}

/// What arrives on a connection has its addresses from there.
const fn in_stream(bytes: &[u8]) -> Datagram<'_> {
    let nowhere = SocketAddr::new(IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0);
    Datagram { transport: Transport::Tcp, ..Datagram::new(nowhere, nowhere, bytes) }
}

fn family_text(family: u8) -> Box<str> {
    if family == 2 { "no relayed IPv6 address".into() } else { "no relayed IPv4 address".into() }
}
