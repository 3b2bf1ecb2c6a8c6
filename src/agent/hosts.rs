//! Our own candidates: hosts and what servers have shown of them, and how they are signalled (RFC 8445 §5.1, RFC 8838 §9).

use core::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;

use super::outbox::Outgoing;
use super::pairing::DISCARD;
use super::stream_data::Stream;
use super::{AddLocalCandidateError, Agent, Socket};
use crate::candidate::address::judge;
use crate::candidate::{
    Candidate, CandidateAddress, CandidateKind, Foundation, NewHost, Priority, SocketOptions, TcpType, UnusableAddress,
    check_host_address,
};
use crate::checklist::Insert;
use crate::config::limits;
use crate::event::Event;
use crate::gather::{MappingMode, masked};
use crate::types::address::{canonical, is_mapped, plain_ip};
use crate::types::{CandidateId, ComponentId, GatheringState, Instant, StreamId, Transport};

impl Agent {
    pub(super) fn add_host(
        &mut self,
        now: Instant,
        stream: StreamId,
        component: ComponentId,
        address: SocketAddr,
        tcp_type: Option<TcpType>,
        options: SocketOptions,
    ) -> Result<CandidateId, AddLocalCandidateError> {
        use AddLocalCandidateError as E;
        self.observe(now);
        self.check_local(stream, component)?;
        if self.config.lite && tcp_type.is_some_and(|tcp_type| tcp_type != TcpType::Passive) {
            return Err(E::Lite);
        }
        let transport = if tcp_type.is_some() { Transport::Tcp } else { Transport::Udp };
        let is_mapped = is_mapped(address);
        let mut address = canonical(address);
        if tcp_type == Some(TcpType::Active) {
            // It has no port before there is a connection: what is signalled is 9 (RFC 6544 §4.5).
            address.set_port(DISCARD);
        }
        check_host_address(address, self.config.loopback).map_err(|why| E::UnusableAddress(address, why))?;
        if let Some(known) = self.known_host(stream, component, (transport, address), tcp_type)? {
            return Ok(known);
        }
        let mapped = self.check_new_host(stream, component, address)?;
        let shown = match mapped {
            Some((public, MappingMode::Replace)) => public.into(),
            _ if self.config.mdns && self.config.candidate_types.host => {
                let host = self.name_of(address.ip()).as_ref().into();
                CandidateAddress::Name { host, port: address.port() }
            }
            _ => address.into(),
        };
        let id = self.next_candidate_id();
        let foundation = self.local_foundation(CandidateKind::Host, address.ip(), None, transport);
        let preferences = self.config.preferences();
        let is_hidden = !self.config.candidate_types.host;
        if tcp_type != Some(TcpType::Active) {
            self.sockets.insert((transport, address), Socket { stream, component, host: id });
        }
        self.mapped_sockets.note(transport, address, is_mapped);
        if let Some(data) = self.stream_mut(stream) {
            let host = NewHost { id, component, foundation, address, tcp_type, shown, options, is_hidden };
            data.locals.add_host(host, &preferences);
        }
        self.reset_retries();
        if self.signal_host(stream, id) {
            if let Some((public, MappingMode::Add)) = mapped.filter(|_| transport == Transport::Udp) {
                self.gatherer.mapped.push((stream, address, public));
            }
            self.gather_from(stream, component, tcp_type, address);
        }
        Ok(id)
    }

    /// The candidate that there is of a socket, if it is of the same component; an active one has no port of its own.
    fn known_host(
        &self,
        stream: StreamId,
        component: ComponentId,
        (transport, address): (Transport, SocketAddr),
        tcp_type: Option<TcpType>,
    ) -> Result<Option<CandidateId>, AddLocalCandidateError> {
        if tcp_type == Some(TcpType::Active) {
            let known = self.stream(stream).and_then(|data| data.locals.at_base(component, transport, address));
            return Ok(known.map(|known| known.id));
        }
        let Some(socket) = self.sockets.get(&(transport, address)) else { return Ok(None) };
        let is_same = (socket.stream, socket.component) == (stream, component);
        if is_same { Ok(Some(socket.host)) } else { Err(AddLocalCandidateError::AddressInUse(address)) }
    }

    /// Whether a socket with this address may be added; gives the address that the application knows to be its public one.
    fn check_new_host(
        &self,
        stream: StreamId,
        component: ComponentId,
        address: SocketAddr,
    ) -> Result<Option<(SocketAddr, MappingMode)>, AddLocalCandidateError> {
        use AddLocalCandidateError as E;
        let mapped = self.config.address_mapping.of(address);
        if let Some((public, _)) = mapped {
            check_host_address(public, self.config.loopback).map_err(|why| E::UnusableAddress(public, why))?;
        }
        if !self.config.address_filter.allows(address.ip()) {
            return Err(E::UnusableAddress(address, UnusableAddress::Excluded));
        }
        self.check_gathering(stream, component).or_else(|why| {
            // While a restart waits for its answer, sockets come and go.
            if self.is_too_late_to_signal(stream) { Ok(()) } else { Err(why) }
        })?;
        let sockets = self.stream(stream).map_or(0, |data| data.locals.iter().filter(|local| local.is_host()).count());
        if sockets >= Self::MAX_SOCKETS { Err(E::TooMany(sockets)) } else { Ok(mapped) }
    }

    /// Hands a new host to signalling; `false` if the peer learns of it by the checks of the generation to come.
    fn signal_host(&mut self, stream: StreamId, id: CandidateId) -> bool {
        if self.is_too_late_to_signal(stream) {
            let generation = self.stream(stream).map_or(0, |data| data.gathering_generation());
            self.announce(stream, id, generation);
            return false;
        }
        if let Some(data) = self.stream_mut(stream) {
            data.reopen();
            data.gathering = GatheringState::Gathering;
        }
        self.update_gathering();
        let data = self.stream(stream);
        let current = data.filter(|data| data.pending.is_some() && data.renomination.is_some());
        if let Some(generation) = current.map(|data| data.generation) {
            // Until the restart is answered, the session may go on there.
            self.queue_candidate_of(stream, id, generation);
        }
        self.queue_candidate(stream, id);
        true
    }

    /// Whether a restart is prepared whose candidates have ended, for a peer that takes none after that (RFC 8838 §13).
    pub(super) fn is_too_late_to_signal(&self, stream: StreamId) -> bool {
        let has_ended = |data: &Stream| data.pending.as_ref().is_some_and(|pending| pending.has_ended);
        self.stream(stream).is_some_and(|data| has_ended(data) && data.renomination.is_none())
    }

    /// Hands a candidate to signalling, unless it is not to be shown.
    pub(super) fn queue_candidate(&mut self, stream: StreamId, id: CandidateId) {
        let generation = self.stream(stream).map_or(0, |data| data.gathering_generation());
        self.queue_candidate_of(stream, id, generation);
    }

    /// The same in this generation.
    pub(super) fn queue_candidate_of(&mut self, stream: StreamId, id: CandidateId, generation: u32) {
        let is_hidden = |data: &Stream| data.locals.get(id).is_none_or(|local| local.is_hidden);
        if !self.stream(stream).is_none_or(is_hidden) {
            self.queue(Outgoing::LocalCandidate { stream, id, generation });
        }
    }

    /// Adds a server-reflexive candidate that the application has learned of, for example from the configuration of a 1:1
    /// NAT (RFC 8445 §5.1.1.2); gives its name, that of the earlier one if address and base are known already.
    ///
    /// `base` is the address of a socket of this component, and `server` the server that saw `mapped`: candidates of
    /// different servers have different foundations. An address that it could not see from where it is, loopback or
    /// link-local, is refused.
    ///
    /// # Errors
    /// [`UnknownBase`](AddLocalCandidateError::UnknownBase) if `base` is not such an address,
    /// [`Lite`](AddLocalCandidateError::Lite) for a lite agent, [`ExcludedType`](AddLocalCandidateError::ExcludedType) if such
    /// candidates are not wanted; otherwise as [`add_socket`](Self::add_socket).
    pub fn add_server_reflexive(
        &mut self,
        now: Instant,
        stream: StreamId,
        base: SocketAddr,
        mapped: SocketAddr,
        server: Option<IpAddr>,
    ) -> Result<CandidateId, AddLocalCandidateError> {
        self.observe(now);
        self.add_reflexive(stream, (Transport::Udp, base), mapped, server)
    }

    /// The same for a socket of any transport.
    pub(super) fn add_reflexive(
        &mut self,
        stream: StreamId,
        (transport, base): (Transport, SocketAddr),
        mapped: SocketAddr,
        server: Option<IpAddr>,
    ) -> Result<CandidateId, AddLocalCandidateError> {
        use AddLocalCandidateError as E;
        let (base, mapped, server) = (canonical(base), canonical(mapped), server.map(plain_ip));
        let socket = self.sockets.get(&(transport, base)).filter(|socket| socket.stream == stream).copied();
        let component = socket.map_or(ComponentId::RTP, |socket| socket.component);
        self.check_local(stream, component)?;
        if self.config.lite {
            return Err(E::Lite);
        }
        if !self.config.candidate_types.server_reflexive {
            return Err(E::ExcludedType);
        }
        let socket = socket.ok_or(E::UnknownBase(base))?;
        check_host_address(mapped, self.config.loopback).map_err(|why| E::UnusableAddress(mapped, why))?;
        if let Some(server) = server {
            let why = if mapped.ip().is_loopback() { UnusableAddress::Loopback } else { UnusableAddress::LinkLocal };
            judge(mapped.ip(), server).map_err(|_| E::UnusableAddress(mapped, why))?;
        }
        let data = self.stream(stream).ok_or(E::UnknownStream(stream))?;
        if let Some(known) = data.locals.told(component, transport, mapped, base) {
            return Ok(known.id);
        }
        let host = data.locals.get(socket.host).ok_or(E::UnknownBase(base))?;
        let tcp_type = host.candidate.tcp_type();
        let mut preference = host.candidate.priority().local_preference();
        let related = host.shown().unwrap_or_else(|| masked(base));
        self.check_gathering(stream, component)?;
        let kind = CandidateKind::ServerReflexive;
        self.make_room_for_reflexive(stream, component, base);
        let id = self.next_candidate_id();
        let foundation = self.local_foundation(kind, base.ip(), server, transport);
        if let Some(tcp_type) = tcp_type {
            preference = tcp_type.turned(kind, preference);
        }
        let priority = Priority::compute(self.config.preferences().of(kind, tcp_type.is_some()), preference, component);
        let number = Foundation::numbered("", foundation);
        let mut candidate = Candidate::new(kind, component, number, priority, mapped).with_related_address(related);
        if let Some(tcp_type) = tcp_type {
            candidate = candidate.with_tcp_type(tcp_type);
        }
        if let Some(data) = self.stream_mut(stream) {
            // What its priority derives from must not change any more.
            data.locals.fix_priority(socket.host);
            data.locals.add_reflexive(id, candidate, mapped, base, foundation);
        }
        self.queue_candidate(stream, id);
        Ok(id)
    }

    /// Keeps the number of server-reflexive candidates of a base within its limit: the NAT has long forgotten the oldest.
    pub(super) fn make_room_for_reflexive(&mut self, stream: StreamId, component: ComponentId, base: SocketAddr) {
        let Some(data) = self.stream(stream) else { return };
        let mut of_base = data.locals.iter().filter(|local| {
            let candidate = &local.candidate;
            (candidate.kind(), candidate.component(), local.base) == (CandidateKind::ServerReflexive, component, base)
        });
        let oldest = of_base.next().map(|local| local.id);
        if 1 + of_base.count() >= limits::REFLEXIVE_OF_BASE {
            if let Some(oldest) = oldest {
                let _ = self.remove_local_candidate(self.now, stream, oldest);
            }
        }
    }

    /// The number of the foundation of a local candidate.
    pub(super) fn local_foundation(
        &mut self,
        kind: CandidateKind,
        base: IpAddr,
        server: Option<IpAddr>,
        transport: Transport,
    ) -> u32 {
        let locals = self.streams.iter().flat_map(|data| data.locals.iter());
        self.local_foundations.make_room(|| locals.map(|local| local.foundation).collect());
        self.local_foundations.number(kind, base, server, transport)
    }

    pub(super) fn check_local(&self, stream: StreamId, component: ComponentId) -> Result<(), AddLocalCandidateError> {
        use AddLocalCandidateError as E;
        if self.is_closed {
            return Err(E::Closed);
        }
        let data = self.stream(stream).ok_or(E::UnknownStream(stream))?;
        data.component(component).map(|_| ()).ok_or(E::UnknownComponent(component))
    }

    /// Whether new candidates may still be signalled (RFC 8838 §13).
    pub(super) fn check_gathering(
        &self,
        stream: StreamId,
        component: ComponentId,
    ) -> Result<(), AddLocalCandidateError> {
        use AddLocalCandidateError as E;
        let data = self.stream(stream).ok_or(E::UnknownStream(stream))?;
        if data.renomination.is_some() {
            // A peer that follows from pair to pair takes candidates at any time.
            return Ok(());
        }
        if data.gathering == GatheringState::Complete {
            return Err(E::AfterEndOfCandidates);
        }
        // A restart that is prepared gathers for the generation to come.
        let is_nominated = data.component(component).is_some_and(|component| component.nomination.pair().is_some());
        if is_nominated && data.pending.is_none() { Err(E::AfterNomination) } else { Ok(()) }
    }

    /// Pairs a local candidate, whose event was taken, with the candidates of the peer (RFC 8838 §10).
    pub(super) fn announce(&mut self, stream: StreamId, id: CandidateId, generation: u32) {
        self.is_dirty = true;
        let Some(data) = self.stream_mut(stream) else { return };
        let is_current = data.generation == generation;
        let Some(local) = data.locals.announce(id, generation).filter(|_| is_current) else { return };
        let component = local.candidate.component();
        let remotes: SmallVec<[CandidateId; 8]> = data
            .remotes
            .iter()
            .filter(|remote| remote.is_signalled && remote.candidate.component() == component)
            .map(|remote| remote.id)
            .collect();
        for remote in remotes {
            self.form(stream, id, remote, Insert::Formed);
        }
    }

    /// Follows the gathering states of the streams.
    pub(super) fn update_gathering(&mut self) {
        let current = GatheringState::aggregate(self.streams.iter().map(|stream| stream.gathering));
        let previous = core::mem::replace(&mut self.gathering, current);
        if previous != current {
            self.emit(Event::GatheringStateChanged { previous, current, at: self.now });
        }
        self.is_dirty = true;
    }
}
