//! Relays: allocations with TURN servers, from the first request to their release, and the candidates that they give
//! (RFC 8445 §5.1.1.2, RFC 8656).
//!
//! A relayed address is a base like that of a socket: pairs are made with it, and messages go and come on paths that have
//! it as their base. What goes to the server and comes from it is in `relay_link`, what pairs of relayed candidates need
//! in `relay_pairs`.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;

use smallvec::SmallVec;

pub(super) use super::relays::{Cramped, Relay, RelayId, Relays};
use super::{Agent, Socket};
use crate::candidate::address::judge;
use crate::candidate::{Candidate, CandidateKind, Foundation, Priority};
use crate::config::limits;
use crate::event::Event;
use crate::gather::{End, IceServer, TaskId};
use crate::turn::{Allocation, Families, Terms, TurnEvent};
use crate::types::address::canonical;
use crate::types::{CandidateId, ComponentId, GatheringState, Instant, StreamId, Transport, after, earliest};

impl Agent {
    /// How long after an error a lost allocation is asked for again, at first (RFC 8656 §7.4 for 486 and 508).
    const RETRY: Duration = Duration::from_secs(1);
    const RETRY_WHEN_FULL: Duration = Duration::from_secs(60);
    const RETRY_AFTER_MISMATCH: Duration = Duration::from_secs(120);
    /// An allocation that has lasted so long was a good one: what happened before it does not count.
    const LASTING: Duration = Duration::from_secs(60);
    /// How often servers may name another one instead of themselves (RFC 8489 §10 leaves it open).
    const MOST_HOPS: u8 = limits::REDIRECTIONS;
    /// How many further connections are opened to a server that takes ours for another (RFC 8656 §7.4).
    const MOST_MISMATCHES: u8 = limits::MISMATCHES;
    const RETRY_MOST: Duration = Duration::from_secs(600);
    /// How often a server is questioned about a peer that is silent, if it may be.
    const QUESTION: Duration = Duration::from_secs(3);

    /// Asks a server for relayed addresses, on behalf of gathering.
    pub(super) fn open_relay(&mut self, task: TaskId) {
        let Some(asked) = self.gatherer.get(task) else { return };
        let (stream, component, base) = (asked.stream, asked.component, asked.base);
        let (server, ice_server) = (canonical(asked.address), Arc::clone(&asked.server));
        let is_same = |relay: &&Relay| (relay.base, relay.ice_server.url()) == (base, ice_server.url());
        let known = self.relays.list.values().find(is_same);
        if known.is_some_and(|known| !known.candidates.is_empty()) {
            // It is held since an earlier gathering, and its candidates are signalled again without asking.
            self.end_task(task, End::Answered);
            return;
        }
        let is_taken = ice_server.transport() == Transport::Udp && self.relays.find(base, server).is_some();
        if self.relays.list.len() >= Relays::MOST || is_taken {
            self.end_task(task, End::Refused(0, "too many allocations".into()));
            return;
        }
        self.relays.note_asked(self.now, base, server);
        let allocation = self.new_allocation(&ice_server, base, server);
        let (candidates, failures) = (SmallVec::new(), 0);
        let id = self.relays.insert(Relay {
            stream,
            component,
            base,
            server,
            origin: server,
            ice_server,
            connection: None,
            mismatches: 0,
            hops: 0,
            allocation,
            task: Some(task),
            candidates,
            last_sent_at: self.now,
            keepalive_at: None,
            failures,
            allocated_at: self.now,
            cramped: None,
            retry_at: None,
            silent: SmallVec::new(),
            question_at: None,
            deadline: None,
        });
        self.connect_relay(id);
        self.relays.touch(id);
    }

    /// Forgets a relay, and closes its connection.
    fn forget_relay(&mut self, id: RelayId) -> Option<Relay> {
        self.hang_up(id);
        self.relays.remove(id)
    }

    fn new_allocation(&self, server: &IceServer, base: SocketAddr, address: SocketAddr) -> Allocation {
        let families = match (self.config.relay_families, base.is_ipv4()) {
            (crate::RelayFamilies::Both, _) => Families::Both,
            (crate::RelayFamilies::OfServer, true) => Families::V4,
            (crate::RelayFamilies::OfServer, false) => Families::V6,
        };
        let terms = Terms {
            families,
            is_stream: server.transport() == Transport::Tcp,
            server: address.ip(),
            schedule: self.config.schedule(),
            software: self.config.software.clone(),
        };
        Allocation::new(server.username().zip(server.credential()), terms)
    }

    // What follows.

    /// Takes note of what happened to an allocation.
    pub(super) fn follow_relay(&mut self, id: RelayId) {
        while let Some(event) = self.relays.list.get_mut(&id).and_then(|relay| relay.allocation.poll_event()) {
            match event {
                TurnEvent::Allocated { relayed, mapped } => self.take_allocated(id, &relayed, canonical(mapped)),
                TurnEvent::FamilyRefused { family, code } => self.tell_relay_error(id, code, family_text(family)),
                TurnEvent::Failed { code, text } => self.take_failed(id, code, text.into()),
                TurnEvent::Redirected(alternate) => self.follow_redirection(id, canonical(alternate)),
                TurnEvent::Lost { code, text } => self.take_lost(id, code, text.into()),
                TurnEvent::Permitted(ip) => {
                    for pair in self.relayed_pairs(id, ip) {
                        self.set.permit(pair);
                    }
                }
                TurnEvent::Refused { ip, code } => {
                    self.tell_relay_error(id, code, alloc::format!("no permission for {ip}").into());
                    for pair in self.relayed_pairs(id, ip) {
                        self.refuse_pair(pair);
                    }
                }
                TurnEvent::Trouble { code, text } => self.tell_relay_error(id, code, text.into()),
                TurnEvent::Icmp { peer, kind, code } => {
                    if let Some(relay) = self.relays.list.get(&id) {
                        let (stream, component) = (relay.stream, relay.component);
                        let mut relayed = relay.allocation.relayed().iter().copied();
                        let relayed = relayed.find(|relayed| relayed.is_ipv4() == peer.is_ipv4());
                        self.emit(Event::RelayIcmp { stream, component, peer, kind, code, at: self.now });
                        if let Some(relayed) = relayed {
                            self.take_relayed_icmp(canonical(relayed), peer, kind, code);
                        }
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
        relay.allocated_at = now;
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
        let is_of_use = self.relays.list.get(&id).is_some_and(|relay| !relay.candidates.is_empty());
        if let Some(task) = task {
            let refused = || End::Refused(0, TAKEN.into());
            self.end_task(task, if is_of_use { End::Answered } else { refused() });
        } else if !is_of_use {
            self.tell_relay_error(id, 0, TAKEN.into());
        }
        if !is_of_use {
            // Given back, and not tried again: the server would give the same one.
            self.release_relay(id);
        }
    }

    /// Makes a candidate of a relayed address (RFC 8445 §5.1.1.2).
    fn add_relayed(&mut self, id: RelayId, address: SocketAddr, mapped: SocketAddr) {
        let kind = CandidateKind::Relayed;
        let Some(relay) = self.relays.list.get(&id) else { return };
        let (stream, component, server) = (relay.stream, relay.component, relay.server.ip());
        let (transport, url) = (relay.ice_server.transport(), relay.ice_server.shared_url());
        let protocol = relay.ice_server.relay_protocol();
        let host = self.sockets.get(&(Transport::Udp, relay.base)).map(|socket| socket.host);
        if self.sockets.contains_key(&(Transport::Udp, address)) {
            // It is that of another allocation, as servers have it that give one address to many, or one of our own.
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
        let foundation = self.local_foundation(kind, address.ip(), Some(server), transport);
        let priority = Priority::compute(self.config.type_preferences.of(kind), preference, component);
        let number = Foundation::numbered("", foundation);
        let candidate = Candidate::new(kind, component, number, priority, address)
            .with_related_address(self.shown_mapped(stream, mapped, server));
        if let Some(data) = self.stream_mut(stream) {
            if let Some(host) = host {
                data.locals.fix_priority(host);
            }
            data.locals.add_reflexive(candidate_id, candidate, address, address, foundation);
            data.locals.set_url(candidate_id, url);
            data.locals.set_relay_protocol(candidate_id, protocol);
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
            self.end_task(task, end);
            return;
        }
        self.tell_relay_error(id, code, text);
        // What the server will not change its mind about is not asked again.
        if matches!(code, 0 | 300..=436 | 438..=485) {
            self.forget_relay(id);
            return;
        }
        let first = match code {
            486 | 508 => Self::RETRY_WHEN_FULL,
            437 => Self::RETRY_AFTER_MISMATCH,
            _ => Self::RETRY,
        };
        self.retry_relay(id, first);
    }

    /// Begins again with an allocation that was not had.
    fn ask_anew(&mut self, id: RelayId) {
        let Some(relay) = self.relays.list.get(&id) else { return };
        let (base, server, ice_server) = (relay.base, relay.server, Arc::clone(&relay.ice_server));
        let allocation = self.new_allocation(&ice_server, base, server);
        if let Some(relay) = self.relays.list.get_mut(&id) {
            relay.allocation = allocation;
            relay.cramped = None;
        }
        self.connect_relay(id);
    }

    /// An allocation is gone: its candidates go, and another one is asked for.
    fn take_lost(&mut self, id: RelayId, code: u16, text: Box<str>) {
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        if relay.task.is_some() || relay.candidates.is_empty() {
            // It could not be used, and was never told of.
            self.take_failed(id, code, text);
            return;
        }
        if after(relay.allocated_at, Self::LASTING) <= self.now {
            relay.failures = 0;
        }
        let (stream, component, base) = (relay.stream, relay.component, relay.base);
        let url = relay.ice_server.shared_url();
        relay.keepalive_at = None;
        for (address, candidate) in core::mem::take(&mut relay.candidates) {
            self.drop_relayed(stream, address, candidate);
        }
        self.emit(Event::RelayLost { stream, component, url, base, code, text, at: self.now });
        let is_full = matches!(code, 486 | 508);
        self.retry_relay(id, if is_full { Self::RETRY_WHEN_FULL } else { Self::RETRY });
    }

    /// Asks for an allocation again, some time later: twice as long each time, from the first on.
    fn retry_relay(&mut self, id: RelayId, first: Duration) {
        let now = self.now;
        self.hang_up(id);
        if self.is_closed {
            self.relays.remove(id);
            return;
        }
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        let wait = first.saturating_mul(1 << relay.failures.min(16)).min(Self::RETRY_MOST);
        relay.failures = relay.failures.saturating_add(1);
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
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        relay.hops = relay.hops.saturating_add(1);
        let base = relay.base;
        let is_usable = relay.hops <= Self::MOST_HOPS
            && alternate.is_ipv4() == base.is_ipv4()
            && alternate.port() != 0
            && judge(alternate.ip(), relay.server.ip()).is_ok()
            && self.config.remote_filter.allows(alternate.ip())
            && self.relays.find(base, alternate).is_none();
        if !is_usable || !self.relays.note_asked(self.now, base, alternate) {
            self.take_failed(id, 300, "redirected in a circle, too often, or to nowhere".into());
            return;
        }
        self.relays.turn_to(id, alternate);
        self.ask_anew(id);
    }

    // Time, and the end.

    /// Whether an allocation of a stream was lost and may be replaced soon.
    pub(super) fn awaits_relay(&self, stream: StreamId) -> bool {
        const PATIENCE: u32 = 4;
        let is_awaited = |relay: &Relay| {
            let is_lost = relay.candidates.is_empty() && relay.failures > 0;
            relay.stream == stream && is_lost && relay.failures <= PATIENCE
        };
        !self.relays.is_empty() && self.relays.list.values().any(is_awaited)
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
        if relay.question_at.take_if(|at| *at <= now).is_some() {
            relay.silent.iter().for_each(|peer| relay.allocation.doubt(now, *peer));
            relay.question_at = Some(after(now, Self::QUESTION));
        }
        relay.allocation.expire(now);
        if let Some(at) = relay.keepalive_at.filter(|at| *at <= now) {
            // Data puts it off.
            relay.keepalive_at = Some(after(relay.last_sent_at, patience).max(at));
        }
        if let Some(cramped) = &mut relay.cramped {
            cramped.again_at.take_if(|at| *at <= now);
            if cramped.is_over(now) {
                relay.cramped = None;
                relay.allocation.give_up_next(now);
            }
        }
        if relay.retry_at.take_if(|at| *at <= now).is_some() {
            let (base, origin) = (relay.base, relay.origin);
            relay.hops = 0;
            if self.relays.find(base, origin).is_none() {
                // Whoever was named instead is not asked for ever.
                self.relays.turn_to(id, origin);
            }
            let server = self.relays.list.get(&id).map_or(origin, |relay| relay.server);
            self.relays.note_asked(now, base, server);
            self.ask_anew(id);
        }
        self.follow_relay(id);
    }

    /// When relays need attention.
    pub(super) fn relay_deadline(&self) -> Option<Instant> {
        if self.relays.is_empty() {
            return None;
        }
        let mut next = self.relays.deadline;
        // What waits for a larger buffer is looked at again in its time.
        let mut roomy =
            self.relays.list.values().filter(|relay| relay.cramped.is_none_or(|one| one.again_at.is_none()));
        if roomy.clone().any(|relay| relay.allocation.has_repeat()) {
            next = Some(self.now);
        }
        if roomy.clone().any(|relay| relay.allocation.has_upkeep() && self.is_reachable(relay)) {
            next = Some(self.now);
        }
        if roomy.any(|relay| relay.allocation.has_start() && self.is_reachable(relay)) {
            next = earliest(next, Some(self.pacer.next_start_from(self.now)));
        }
        next
    }

    /// Gives back an allocation, and forgets it once the server was told.
    pub(super) fn release_relay(&mut self, id: RelayId) {
        let Some(relay) = self.relays.list.get_mut(&id) else { return };
        relay.task = None;
        relay.keepalive_at = None;
        relay.retry_at = None;
        relay.question_at = None;
        let stream = relay.stream;
        relay.allocation.release(self.now);
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

/// What is told of a relayed address that is there already.
const TAKEN: &str = "the relayed address is in use by another candidate";

fn family_text(family: u8) -> Box<str> {
    if family == 2 { "no relayed IPv6 address".into() } else { "no relayed IPv4 address".into() }
}
