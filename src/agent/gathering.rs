//! Gathering by the agent itself: from its sockets, with the help of servers (RFC 8445 §5.1.1.2).

use core::net::{Ipv6Addr, SocketAddr};

use alloc::boxed::Box;
use alloc::string::{String, ToString};

use super::outbox::Outgoing;
use super::stream_data::Stream;
use super::{AddLocalCandidateError, Agent, GatherError};
use crate::candidate::TcpType;
#[cfg(feature = "turn")]
use crate::candidate::address::judge;
use crate::config::{Config, limits};
use crate::event::Event;
use crate::gather::{End, IceServer, IceServerKind, TaskId, TaskKind};
use crate::stats::DropReason;
use crate::stun::{Scratch, ServerAnswer, TransactionId, read_answer, write_binding};
use crate::transmit::Datagram;
use crate::types::address::canonical;
use crate::types::{CandidateId, ComponentId, GatheringState, Instant, Path, StreamId, Transport, after};

impl Agent {
    /// Most servers of one gathering.
    pub const MAX_SERVERS: usize = limits::SERVERS;

    /// Gathers candidates with the help of these servers, from every socket of every stream: of those that are there, and
    /// of those that are added before the end. Without servers, the sockets are all there is to gather.
    ///
    /// Every candidate is an event as soon as it is found. Once nothing is left to wait for, the end of the candidates is
    /// signalled, as by [`end_of_local_candidates`](Self::end_of_local_candidates), which may be called earlier. A server
    /// has [`Config::with_gathering_timeout`](crate::Config::with_gathering_timeout), by default 10 s, to answer, from the
    /// first request to it on; requests start Ta apart, in turn with the checks (RFC 8445 §14.2). What does not work is an
    /// [`Event::IceCandidateError`].
    ///
    /// Call it in any order with [`add_socket`](Self::add_socket), but before the next poll: a stream without a socket has
    /// nothing to gather, and ends at once. Calling it again gathers anew, for streams whose end was not signalled yet: that
    /// is for a restart that is prepared ([`prepare_restart`](Self::prepare_restart)), whose server-reflexive candidates are
    /// signalled once the servers have confirmed them. A lite agent asks no server
    /// (RFC 8445 §5.2).
    ///
    /// # Errors
    /// * [`TooManyServers`](GatherError::TooManyServers) if there are more than [`MAX_SERVERS`](Self::MAX_SERVERS).
    /// * [`UnsupportedServer`](GatherError::UnsupportedServer) if one of them cannot be used.
    /// * [`MissingCredentials`](GatherError::MissingCredentials) if a TURN server has none, and does not serve guests.
    /// * [`UnusableCredentials`](GatherError::UnusableCredentials) if its user name is too long for any message.
    /// * [`Closed`](GatherError::Closed) after [`close`](Self::close).
    pub fn gather(&mut self, now: Instant, servers: &[IceServer]) -> Result<(), GatherError> {
        self.observe(now);
        if self.is_closed {
            return Err(GatherError::Closed);
        }
        if servers.len() > Self::MAX_SERVERS {
            return Err(GatherError::TooManyServers(servers.len()));
        }
        if let Some(server) = servers.iter().find(|server| !is_supported(server)) {
            return Err(GatherError::UnsupportedServer(server.url().into()));
        }
        servers.iter().try_for_each(check_credentials)?;
        let types = self.config.candidate_types;
        let is_of_use = |server: &&IceServer| match server.kind() {
            _ if self.config.lite => false,
            IceServerKind::Stun => types.server_reflexive,
            IceServerKind::Turn => types.relayed,
        };
        let streams = &mut self.streams;
        for stream in streams.iter_mut().filter(|stream| stream.gathering != GatheringState::Complete) {
            stream.gathers = true;
            stream.gathering = GatheringState::Gathering;
        }
        let takes_part = |id: StreamId| streams.iter().any(|stream| stream.id == id && stream.gathers);
        self.gatherer.begin(servers.iter().filter(is_of_use), takes_part);
        for stream in streams.iter().filter(|stream| stream.gathers) {
            for local in stream.locals.iter().filter(|local| local.is_host()) {
                let component = local.candidate.component();
                match local.candidate.tcp_type() {
                    None => self.gatherer.add_base(stream.id, component, local.base, nat64_of(&self.config, stream)),
                    Some(TcpType::SimultaneousOpen) => {
                        self.gatherer.add_stream_base(stream.id, component, local.base);
                    }
                    Some(TcpType::Active | TcpType::Passive) => {}
                }
            }
        }
        self.doubt_reflexive();
        self.update_gathering();
        Ok(())
    }

    /// Takes back, for restarts that are prepared, what servers have told before, and are asked again: the NAT may have
    /// changed it since, and a candidate of the same foundation that leads nowhere would hold up the new one.
    fn doubt_reflexive(&mut self) {
        let streams = &self.streams;
        let is_doubted = |outgoing: &Outgoing| {
            let Outgoing::LocalCandidate { stream, id, generation } = outgoing else { return false };
            let data = streams.iter().find(|data| data.id == *stream && data.gathers);
            let is_pending = |data: &&Stream| data.pending.as_ref().is_some_and(|next| next.generation == *generation);
            let local = data.filter(is_pending).and_then(|data| data.locals.get(*id));
            local.is_some_and(|local| local.url.is_some() && local.candidate.kind().is_reflexive())
        };
        self.outbox.events.retain(|outgoing| !is_doubted(outgoing));
    }

    /// Gathers from a socket that was added.
    pub(super) fn gather_from(
        &mut self,
        stream: StreamId,
        component: ComponentId,
        tcp_type: Option<TcpType>,
        base: SocketAddr,
    ) {
        if !self.gatherer.is_active {
            return;
        }
        if let Some(data) = self.stream_mut(stream) {
            data.gathers = true;
        }
        match tcp_type {
            None => {
                let nat64 = self.stream(stream).and_then(|data| nat64_of(&self.config, data));
                self.gatherer.add_base(stream, component, base, nat64);
            }
            Some(TcpType::SimultaneousOpen) => self.gatherer.add_stream_base(stream, component, base),
            // Nobody can reach a passive candidate behind a NAT, and an active one has no port.
            Some(TcpType::Active | TcpType::Passive) => {}
        }
        self.is_dirty = true;
    }

    /// Asks the servers again whose answers the network may have changed.
    pub(super) fn renew_gathering(&mut self) {
        let streams = &self.streams;
        let goes_on = |id: StreamId| {
            streams.iter().any(|data| data.id == id && data.gathers && data.gathering != GatheringState::Complete)
        };
        self.gatherer.renew(|task| goes_on(task.stream));
        self.is_dirty = true;
    }

    /// Forgets what is asked from a base that is gone.
    pub(super) fn stop_gathering_from(&mut self, transport: Transport, base: SocketAddr) {
        let is_over_tcp = transport == Transport::Tcp;
        self.gatherer.remove(|task| task.base == base && (task.kind == TaskKind::StreamBinding) == is_over_tcp);
        self.gatherer.mapped.retain(|(_, of, _)| is_over_tcp || *of != base);
        self.is_dirty = true;
    }

    /// Adds the server-reflexive candidates that are known from the configuration, once all hosts have their preferences.
    pub(super) fn add_mapped(&mut self) {
        for (stream, base, public) in core::mem::take(&mut self.gatherer.mapped) {
            // It is redundant, not wanted, or was removed.
            let _ = self.add_server_reflexive(self.now, stream, base, public, None);
        }
    }

    /// Ends the gathering of streams for which nothing is left to wait for, and tells what did not work.
    pub(super) fn conclude_gathering(&mut self) {
        self.add_mapped();
        if !self.gatherer.is_active || self.is_closed {
            return;
        }
        if self.streams.iter().any(|stream| stream.gathers) {
            self.gatherer.tell_unreachable();
        }
        while let Some(failure) = self.gatherer.pop_failure() {
            let text = printable(&failure.text);
            let (url, code) = (failure.url, failure.code);
            // Not told if it is shown nowhere else (W3C `RTCPeerConnectionIceErrorEvent`).
            let is_shown = self.config.candidate_types.host && !self.config.mdns;
            let base = failure.base.filter(|_| is_shown);
            self.emit(Event::IceCandidateError { url, base, code, text, at: self.now });
        }
        let is_done = |stream: &Stream| {
            stream.gathers && stream.gathering != GatheringState::Complete && !self.gatherer.has_open(stream.id)
        };
        if self.config.continual_gathering {
            return;
        }
        let done: smallvec::SmallVec<[StreamId; 2]> =
            self.streams.iter().filter(|stream| is_done(stream)).map(|stream| stream.id).collect();
        for stream in done {
            let _ = self.end_of_local_candidates(self.now, stream);
        }
    }

    /// Ends what is still asked for a stream whose end of candidates was signalled.
    pub(super) fn stop_gathering(&mut self, stream: StreamId) {
        if let Some(data) = self.stream_mut(stream) {
            data.gathers = false;
        }
        self.gatherer.remove(|task| task.stream == stream && task.candidate.is_none());
    }

    /// Ends what is asked of a server, which may have been the last that the end of the candidates has waited for.
    pub(super) fn end_task(&mut self, task: TaskId, end: End) {
        self.gatherer.finish(task, self.now, end);
        self.is_dirty = true;
    }

    /// Does what is due.
    pub(super) fn expire_gathering(&mut self) {
        if self.gatherer.deadline().is_none_or(|at| at > self.now) {
            return;
        }
        for id in self.gatherer.advance(self.now) {
            if self.is_needed(id) {
                self.gatherer.ask_again(id);
            } else {
                self.gatherer.remove(|task| task.id == id);
            }
        }
        self.is_dirty = true;
    }

    /// Whether the address that a task has learned has to be kept alive: until a pair is nominated (RFC 8445 §5.1.1.4), or as
    /// long as gathering goes on.
    fn is_needed(&self, id: TaskId) -> bool {
        let Some(task) = self.gatherer.get(id) else { return false };
        let Some(data) = self.stream(task.stream) else { return false };
        let is_concluded = data.component(task.component).is_none_or(|component| component.nomination.pair().is_some());
        let is_there = task.candidate.is_some_and(|candidate| data.locals.get(candidate).is_some());
        let goes_on = self.config.continual_gathering && data.gathers;
        is_there && (goes_on || data.pending.is_some() || !is_concluded)
    }

    /// A request to a server that is sent again: the same bytes.
    pub(super) fn write_gathering_repetition(&mut self, out: &mut Scratch) -> Option<Path> {
        let (task, id) = self.gatherer.repeat(self.now)?;
        let task = self.gatherer.get(task)?;
        write_binding(out, id);
        Some(Path { transport: Transport::Udp, base: task.base, remote: task.address, flow: None })
    }

    /// A new request to a server, if Ta allows one (RFC 8445 §14.2).
    pub(super) fn write_gathering(&mut self, out: &mut Scratch) -> Option<Path> {
        if !self.pacer.is_open(self.now) {
            return None;
        }
        let path = loop {
            let id = self.gatherer.next()?;
            match self.gatherer.get(id)?.kind {
                TaskKind::Binding => break self.start_binding(id, out)?,
                TaskKind::StreamBinding if self.is_enquiry_over(id) => {
                    self.gatherer.delegate(id, after(self.now, self.config.gathering_timeout));
                    self.gatherer.finish(id, self.now, End::Silent);
                    self.is_dirty = true;
                }
                TaskKind::StreamBinding => {
                    self.gatherer.delegate(id, after(self.now, self.config.gathering_timeout));
                    self.pacer.start(self.now);
                    self.gatherer.set_turn(false);
                    self.ask_over_stream(id);
                    return None;
                }
                // Its requests take their turns by themselves.
                TaskKind::Relay => {
                    self.gatherer.delegate(id, after(self.now, self.config.gathering_timeout));
                    self.open_relay(id);
                }
            }
        };
        self.pacer.start(self.now);
        self.gatherer.set_turn(false);
        Some(path)
    }

    fn start_binding(&mut self, id: TaskId, out: &mut Scratch) -> Option<Path> {
        let rto = self.config.rto.max(self.pacer.ta().saturating_mul(self.gatherer.sought()));
        let request = TransactionId::draw(&mut self.random);
        let is_first = self.gatherer.get(id)?.candidate.is_none();
        let patience = if is_first { self.config.gathering_timeout } else { self.config.keepalive_interval };
        let way = self.config.schedule().begin(rto);
        self.gatherer.start(id, self.now, request, way, after(self.now, patience));
        let task = self.gatherer.get(id)?;
        write_binding(out, request);
        Some(Path { transport: Transport::Udp, base: task.base, remote: task.address, flow: None })
    }

    /// Takes the answer of a server; `None` if it is none to a request of ours.
    pub(super) fn handle_server_answer(
        &mut self,
        id: TransactionId,
        datagram: &Datagram<'_>,
    ) -> Option<Result<(), DropReason>> {
        let task = self.gatherer.find(id)?;
        let (task, stream, base) = (task.id, task.stream, task.base);
        let (from, to, server) =
            (canonical(datagram.source), canonical(datagram.destination), task_address(self, task)?);
        if (datagram.transport, from, to) != (Transport::Udp, server, base) {
            return Some(Err(DropReason::UnknownTransaction));
        }
        let Some(answer) = read_answer(datagram.payload) else { return Some(Err(DropReason::Malformed)) };
        self.is_dirty = true;
        match answer {
            ServerAnswer::Mapped(mapped) => self.take_mapped(task, stream, base, server, canonical(mapped)),
            ServerAnswer::Refused(500..=599, _) if self.gatherer.retry(task, self.now) => {}
            // Whatever it is, ALTERNATE-SERVER included: without credentials it is not believed (RFC 8445 §5.1.1.2).
            ServerAnswer::Refused(code, text) => {
                self.end_task(task, End::Refused(code, text.into()));
            }
            ServerAnswer::Unusable => self.end_task(task, End::Silent),
        }
        Some(Ok(()))
    }

    /// The mapped address as the related address of a relayed candidate, unless it is not to be shown.
    #[cfg(feature = "turn")]
    pub(super) fn shown_mapped(&self, stream: StreamId, mapped: SocketAddr, server: core::net::IpAddr) -> SocketAddr {
        let is_concealed =
            |data: &Stream| data.locals.iter().any(|local| local.is_concealed() && local.address == mapped);
        let is_shown = self.config.candidate_types.server_reflexive && !self.stream(stream).is_none_or(is_concealed);
        let is_somebodys = mapped.port() != 0 && judge(mapped.ip(), server).is_ok();
        if is_shown && is_somebodys { mapped } else { crate::gather::masked(mapped) }
    }

    /// Makes a candidate of the address that a server has seen, unless it is redundant or comes too late.
    fn take_mapped(
        &mut self,
        task: TaskId,
        stream: StreamId,
        base: SocketAddr,
        server: SocketAddr,
        mapped: SocketAddr,
    ) {
        let added = self.add_server_reflexive(self.now, stream, base, mapped, Some(server.ip()));
        self.end_task(task, end_of(&added));
        let Ok(candidate) = added else { return };
        self.confirm(stream, candidate);
        let is_new = self.gatherer.tasks().all(|other| other.id == task || other.candidate != Some(candidate));
        let locals = self.stream(stream).map(|data| &data.locals);
        let is_reflexive = locals.and_then(|locals| locals.get(candidate)).is_some_and(|local| !local.is_host());
        if is_new && is_reflexive {
            let url = self.gatherer.get(task).map(|task| task.server.shared_url());
            if let Some((data, url)) = self.stream_mut(stream).zip(url) {
                data.locals.set_url(candidate, url);
            }
            self.gatherer.keep(task, candidate, after(self.now, self.config.keepalive_interval));
        }
    }

    /// Hands a candidate that was known before to signalling for the generation to come, if it was not yet.
    fn confirm(&mut self, stream: StreamId, candidate: CandidateId) {
        let Some(data) = self.stream(stream).filter(|data| data.pending.is_some()) else { return };
        let generation = data.gathering_generation();
        let is_told = data.locals.get(candidate).is_none_or(|local| local.is_announced_in(generation));
        let is_it = |outgoing: &Outgoing| {
            matches!(outgoing, Outgoing::LocalCandidate { stream: of, id, generation: number }
                if (*of, *id, *number) == (stream, candidate, generation))
        };
        if !is_told && !self.outbox.events.iter().any(is_it) {
            self.queue_candidate_of(stream, candidate, generation);
        }
    }

    /// When gathering needs attention.
    pub(super) fn gathering_deadline(&self) -> Option<Instant> {
        let start = self.gatherer.next().map(|_| self.pacer.next_start_from(self.now));
        crate::types::earliest(self.gatherer.deadline(), start)
    }
}

/// Whether a server is of a kind that is asked.
fn is_supported(server: &IceServer) -> bool {
    server.kind() == IceServerKind::Stun || cfg!(feature = "turn")
}

/// How the asking of a server ends that has named an address: one that cannot be ours is told.
pub(super) fn end_of(added: &Result<CandidateId, AddLocalCandidateError>) -> End {
    match added {
        Err(error @ AddLocalCandidateError::UnusableAddress(..)) => End::Refused(0, error.to_string().into()),
        // It is redundant, not wanted, or comes too late.
        Ok(_) | Err(_) => End::Answered,
    }
}

/// Whether a TURN server can be asked with the credentials that there are for it.
fn check_credentials(server: &IceServer) -> Result<(), GatherError> {
    if server.kind() != IceServerKind::Turn || server.is_anonymous() {
        return Ok(());
    }
    match server.username().zip(server.credential()) {
        None => Err(GatherError::MissingCredentials(server.url().into())),
        Some((username, _)) if username.len() > limits::SERVER_USERNAME => {
            Err(GatherError::UnusableCredentials(server.url().into()))
        }
        Some(_) => Ok(()),
    }
}

/// The NAT64 through which a stream without IPv4 reaches IPv4 servers.
fn nat64_of(config: &Config, stream: &Stream) -> Option<Ipv6Addr> {
    config.nat64_prefix.filter(|_| stream.locals.iter().all(|local| local.base.is_ipv6()))
}

fn task_address(agent: &Agent, task: TaskId) -> Option<SocketAddr> {
    agent.gatherer.get(task).map(|task| canonical(task.address))
}

/// A server's text without what a terminal might act upon, and not longer than RFC 8489 §14.8 allows.
fn printable(text: &str) -> Box<str> {
    text.chars().filter(|c| !c.is_control()).take(limits::ERROR_TEXT).collect::<String>().into()
}
