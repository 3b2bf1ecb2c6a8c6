//! Candidates of both sides, and the pairs made of them (RFC 8445 §5.1, §6.1.2, RFC 8838 §10 to §12).

use core::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;

use super::stream_data::{EarlyCheck, Keyed, Stream};
use super::{AddRemoteCandidateError, Agent, RemoteCandidateOutcome, RemoteDescription};
use crate::candidate::address::{Scope, judge, scope};
use crate::candidate::{Candidate, CandidateKind, Foundation, LocalCandidate, RemoteCandidate, TcpType};
use crate::checklist::{CandidatePair, Insert, NewPair, PairFoundation, PairPriority, Update};
use crate::config::limits;
use crate::credentials::Credentials;
use crate::event::Event;
use crate::types::address::{canonical, is_ipv6_link_local};
use crate::types::{CandidateId, Flow, Instant, PairId, Path, StreamId, after};

/// The port of a candidate that has none (RFC 6544 §4.5).
pub(super) const DISCARD: u16 = 9;

impl Agent {
    /// The number of the foundation of a candidate of the peer.
    fn remote_foundation(&mut self, foundation: Foundation) -> u32 {
        let remotes = self.streams.iter().flat_map(|data| data.remotes.iter());
        self.remote_foundations.make_room(|| remotes.map(|remote| remote.foundation).collect());
        self.remote_foundations.number(foundation)
    }

    /// Adds a candidate of the peer (trickle ICE, RFC 8838 §11), and pairs it. Candidates may come before the description.
    ///
    /// # Errors
    /// * [`UnknownStream`](AddRemoteCandidateError::UnknownStream) if there is none of that name.
    /// * [`AfterEndOfCandidates`](AddRemoteCandidateError::AfterEndOfCandidates) after
    ///   [`end_of_remote_candidates`](Self::end_of_remote_candidates).
    /// * [`Closed`](AddRemoteCandidateError::Closed) after [`close`](Self::close).
    pub fn add_remote_candidate(
        &mut self,
        now: Instant,
        stream: StreamId,
        candidate: Candidate,
    ) -> Result<RemoteCandidateOutcome, AddRemoteCandidateError> {
        use RemoteCandidateOutcome as Outcome;
        self.observe(now);
        if self.is_closed {
            return Err(AddRemoteCandidateError::Closed);
        }
        let data = self.stream(stream).ok_or(AddRemoteCandidateError::UnknownStream(stream))?;
        let ufrag = candidate.extension("ufrag");
        let peer = ufrag.map_or(Some(0), |ufrag| data.peer(ufrag.as_bytes()));
        let Some(peer) = peer.or(data.remote.is_empty().then_some(0)) else {
            return Ok(self.defer(stream, candidate));
        };
        if data.has_all_remotes && data.renomination.is_none() {
            return Err(AddRemoteCandidateError::AfterEndOfCandidates);
        }
        if data.component(candidate.component()).is_none() {
            return Ok(Outcome::UnknownComponent);
        }
        let Some(address) = candidate.socket_address().map(canonical) else {
            return Ok(self.resolve(stream, candidate));
        };
        Ok(self.take_remote(stream, candidate, address, peer))
    }

    /// Takes a candidate whose address is known, and pairs it.
    pub(super) fn take_remote(
        &mut self,
        stream: StreamId,
        candidate: Candidate,
        address: SocketAddr,
        peer: u8,
    ) -> RemoteCandidateOutcome {
        use RemoteCandidateOutcome as Outcome;
        let transport = candidate.transport();
        // An IPv4-mapped address is the IPv4 address.
        let address = match address.ip().to_canonical() {
            IpAddr::V4(v4) => SocketAddr::from((v4, address.port())),
            IpAddr::V6(_) => address,
        };
        let Some(data) = self.stream(stream) else { return Outcome::OtherGeneration };
        let is_revoked = data.revoked.concerns(data.generation, candidate.component(), transport, address);
        if let Some(refusal) = self.refusal(address) {
            self.stats.remote_addresses_refused += 1;
            return refusal;
        }
        if self.config.is_prohibited(address.port()) && candidate.tcp_type() != Some(TcpType::Active) {
            return Outcome::Prohibited;
        }
        if let Some(known) = data.remotes.find(candidate.component(), transport, address) {
            let id = known.id;
            if !known.is_signalled && !self.make_room_for_remote(stream, &candidate) {
                // It stays what the checks of the peer have shown.
                return Outcome::TooMany;
            }
            let Some(known) = self.stream(stream).and_then(|data| data.remotes.get(id)) else {
                return Outcome::TooMany;
            };
            if !known.is_signalled || known.candidate.priority() < candidate.priority() {
                self.adopt(stream, id, candidate, peer);
            }
            let outcome = if is_revoked { Outcome::ConsentEnded(id) } else { Outcome::Known(id) };
            return self.told_of(stream, address.ip(), outcome);
        }
        if let Some(data) = self.stream_mut(stream) {
            data.removed.retain(|removed| *removed != address);
        }
        if !self.make_room_for_remote(stream, &candidate) {
            return Outcome::TooMany;
        }
        let id = self.next_candidate_id();
        let foundation = self.remote_foundation(candidate.foundation());
        if let Some(data) = self.stream_mut(stream) {
            data.remotes.add(RemoteCandidate { id, candidate, address, foundation, peer, is_signalled: true });
        }
        self.pair_remote(stream, id);
        self.reset_retries();
        let outcome = if is_revoked { Outcome::ConsentEnded(id) } else { Outcome::Added(id) };
        self.told_of(stream, address.ip(), outcome)
    }

    /// What became of a candidate that is known from now on: it may have to wait for a base of ours from which it can be
    /// checked, one of the same scope.
    fn told_of(&mut self, stream: StreamId, ip: IpAddr, outcome: RemoteCandidateOutcome) -> RemoteCandidateOutcome {
        let is_beside = |local: &LocalCandidate| judge(ip, local.base.ip()).is_ok();
        let is_wide = scope(ip) == Some(Scope::Wide);
        if is_wide || self.stream(stream).is_some_and(|data| data.locals.iter().any(is_beside)) {
            return outcome;
        }
        self.stats.remote_addresses_refused += 1;
        RemoteCandidateOutcome::OutOfScope
    }

    /// Why an address of the peer is never used, whatever sockets there may be.
    fn refusal(&self, address: SocketAddr) -> Option<RemoteCandidateOutcome> {
        use RemoteCandidateOutcome as Outcome;
        let ip = address.ip();
        match scope(ip) {
            None => Some(Outcome::UnusableAddress),
            Some(_) if address.port() == 0 => Some(Outcome::UnusableAddress),
            Some(_) if !self.config.remote_filter.allows(ip) => Some(Outcome::Filtered),
            Some(Scope::Host) if !self.config.loopback => Some(Outcome::OutOfScope),
            Some(Scope::Host | Scope::Link | Scope::Wide) => None,
        }
    }

    /// Whether somebody may be heard and talked to on a path.
    pub(super) fn is_admitted(&self, path: &Path) -> bool {
        let ip = path.remote.ip();
        judge(ip, path.base.ip()).is_ok() && self.config.remote_filter.allows(ip)
    }

    /// Keeps a candidate of a peer that is not known yet, a few of them.
    fn defer(&mut self, stream: StreamId, candidate: Candidate) -> RemoteCandidateOutcome {
        let Some(data) = self.stream_mut(stream) else { return RemoteCandidateOutcome::OtherGeneration };
        let ufrag = candidate.extension("ufrag").unwrap_or_default();
        let is_past =
            data.previous.as_ref().is_some_and(|previous| previous.remote.iter().any(|of| of.ufrag() == ufrag));
        if is_past || data.deferred.len() >= limits::DEFERRED_CANDIDATES {
            return RemoteCandidateOutcome::OtherGeneration;
        }
        data.deferred.push(candidate);
        RemoteCandidateOutcome::Deferred
    }

    /// Keeps the number of remote candidates within its limit: of too many, those of the highest priority stay.
    fn make_room_for_remote(&mut self, stream: StreamId, candidate: &Candidate) -> bool {
        let limit = self.config.max_remote_candidates;
        let Some(data) = self.stream(stream) else { return false };
        if data.remotes.counts().0 < limit {
            return true;
        }
        let least = data.remotes.least().filter(|least| least.candidate.priority() < candidate.priority());
        let victim = least.map(|least| least.id).filter(|victim| !self.is_in_use(stream, *victim));
        self.stats.remote_candidates_refused += 1;
        if let Some(data) = self.stream_mut(stream) {
            if !core::mem::replace(&mut data.has_told_limit, true) {
                self.emit(Event::TooManyRemoteCandidates { stream, limit });
            }
        }
        let Some(victim) = victim else { return false };
        for pair in self.pairs_of_remote(stream, victim) {
            self.forget_pair(pair);
        }
        self.stream_mut(stream).is_some_and(|data| data.remotes.remove(victim).is_some())
    }

    /// Whether something was ever heard of a remote candidate.
    fn is_in_use(&self, stream: StreamId, remote: CandidateId) -> bool {
        let pairs = self.pairs_of_remote(stream, remote);
        pairs.iter().filter_map(|pair| self.set.get(*pair)).any(|pair| pair.is_trusted() || self.asked(pair).is_some())
    }

    /// The pairs on the checklist that have this remote candidate.
    pub(super) fn pairs_of_remote(&self, stream: StreamId, remote: CandidateId) -> SmallVec<[PairId; 4]> {
        let Some(data) = self.stream(stream) else { return SmallVec::new() };
        let Some(remote) = data.remotes.get(remote) else { return SmallVec::new() };
        let (component, transport) = (remote.candidate.component(), remote.candidate.transport());
        let flow = Flow { stream, component, generation: data.generation };
        let bases = data
            .locals
            .iter()
            .filter(|local| local.candidate.component() == component && !local.candidate.kind().is_reflexive());
        bases.filter_map(|local| self.set.find(&Path::of(flow, transport, local.base, remote.address))).collect()
    }

    /// Takes what was signalled in the place of what the peer's checks have shown, in every pair (RFC 8838 §11).
    fn adopt(&mut self, stream: StreamId, id: CandidateId, candidate: Candidate, peer: u8) {
        let foundation = self.remote_foundation(candidate.foundation());
        if let Some(data) = self.stream_mut(stream) {
            data.remotes.replace(id, candidate, foundation, peer);
        }
        self.refresh_pairs(|pair| (pair.stream, pair.remote) == (stream, id));
        self.pair_remote(stream, id);
    }

    /// Computes priority and foundation of pairs again, in place.
    pub(super) fn refresh_pairs(&mut self, which: impl Fn(&CandidatePair) -> bool) {
        let ids: SmallVec<[PairId; 16]> = self.set.iter().filter(|pair| which(pair)).map(|pair| pair.id).collect();
        for id in ids {
            let Some(pair) = self.set.get(id) else { continue };
            let Some((priority, group)) = self.rate(pair.stream, pair.local, pair.remote) else { continue };
            let to = Update { priority: Some(priority), foundation: Some(group), ..Update::default() };
            self.set.update(id, to);
        }
        self.set.sort_all_valid();
        self.is_dirty = true;
    }

    /// Priority and foundation of a pair of these candidates.
    pub(super) fn rate(
        &self,
        stream: StreamId,
        local: CandidateId,
        remote: CandidateId,
    ) -> Option<(PairPriority, PairFoundation)> {
        let data = self.stream(stream)?;
        let (local, remote) = (data.locals.get(local)?, data.remotes.get(remote)?);
        let priority = PairPriority::compute(self.role, local.candidate.priority(), remote.candidate.priority());
        Some((priority, PairFoundation { local: local.foundation, remote: remote.foundation }))
    }

    fn pair_remote(&mut self, stream: StreamId, id: CandidateId) {
        let Some(data) = self.stream(stream) else { return };
        let Some(remote) = data.remotes.get(id) else { return };
        let component = remote.candidate.component();
        let locals: SmallVec<[CandidateId; 8]> = data
            .locals
            .iter()
            .filter(|local| local.is_announced_in(data.generation) && local.candidate.component() == component)
            .filter(|local| local.candidate.kind() != CandidateKind::PeerReflexive)
            .map(|local| local.id)
            .collect();
        for local in locals {
            self.form(stream, local, id, Insert::Formed);
        }
        self.is_dirty = true;
    }

    /// Begins to check: pairs what is there, and catches up with the checks that came early (RFC 8445 §7.3).
    pub(super) fn start_checks(&mut self, stream: StreamId, remote: &RemoteDescription) {
        let pac = after(self.now, self.config.pac());
        let renomination = remote.renomination.filter(|_| self.config.renomination);
        let ufrag = remote.credentials.ufrag.as_str();
        let Some(data) = self.stream_mut(stream) else { return };
        data.remote.push(Keyed::new(remote.credentials.clone()));
        data.is_ice2 = remote.ice2;
        data.renomination = renomination;
        data.is_remote_lite = remote.is_lite;
        data.has_all_remotes = false;
        data.pac_deadline = Some(pac);
        // Candidates that came before the description and name another generation are none of this peer's.
        let is_ours = |candidate: &Candidate| candidate.extension("ufrag").is_none_or(|of| of == ufrag);
        let stale = |known: &RemoteCandidate| if is_ours(&known.candidate) { None } else { Some(known.id) };
        for id in data.remotes.iter().filter_map(stale).collect::<SmallVec<[CandidateId; 8]>>() {
            data.remotes.remove(id);
        }
        let remotes: SmallVec<[CandidateId; 8]> = data.remotes.iter().map(|remote| remote.id).collect();
        for remote in remotes {
            self.pair_remote(stream, remote);
        }
        self.catch_up(stream);
        self.take_deferred(stream, &remote.credentials);
        self.is_dirty = true;
    }

    /// Adds the candidates of these credentials that came before them; those of others wait on.
    pub(super) fn take_deferred(&mut self, stream: StreamId, credentials: &Credentials) {
        let ufrag = Some(credentials.ufrag.as_str());
        let Some(data) = self.stream_mut(stream) else { return };
        let is_of = |candidate: &Candidate| candidate.extension("ufrag") == ufrag;
        let (ours, others) = core::mem::take(&mut data.deferred).into_iter().partition(is_of);
        data.deferred = others;
        for candidate in ours {
            // What becomes of it the application will see in the list of candidates.
            let _ = self.add_remote_candidate(self.now, stream, candidate);
        }
    }

    /// Lets the end of the candidates take effect that came before the description.
    pub(super) fn apply_deferred_end(&mut self, stream: StreamId, credentials: &Credentials, had_ended: bool) {
        let Some(data) = self.stream_mut(stream) else { return };
        let end = data.deferred_end.take_if(|ufrag| *ufrag == credentials.ufrag);
        data.has_all_remotes |= had_ended || end.is_some();
        self.is_dirty = true;
    }

    /// Lets the checks take effect that came before the credentials of their peer. Those of a fork wait on.
    pub(super) fn catch_up(&mut self, stream: StreamId) {
        let Some(data) = self.stream_mut(stream) else { return };
        for check in core::mem::take(&mut data.early) {
            match self.stream(stream).and_then(|data| data.peer(&check.ufrag)) {
                Some(peer) => self.learn(stream, peer, &check),
                None => self.keep_early(stream, check),
            }
        }
    }

    fn keep_early(&mut self, stream: StreamId, check: EarlyCheck) {
        if let Some(data) = self.stream_mut(stream) {
            data.early.push(check);
        }
    }

    /// Makes a pair of two candidates if they fit, or improves the one with the same addresses; gives its name.
    pub(super) fn form(
        &mut self,
        stream: StreamId,
        local: CandidateId,
        remote: CandidateId,
        why: Insert,
    ) -> Option<PairId> {
        let (priority, group) = self.rate(stream, local, remote)?;
        let data = self.stream(stream)?;
        // Without the peer's credentials there is nothing to check with, and a lite agent never checks.
        data.remote.first().filter(|_| !self.config.lite)?;
        let (ours, theirs) = (data.locals.get(local)?, data.remotes.get(remote)?);
        if !is_compatible(ours, theirs) {
            return None;
        }
        if ours.candidate.tcp_type() == Some(TcpType::Passive) && why == Insert::Formed {
            // It waits for its peer, and is pruned (RFC 6544 §6.2).
            return None;
        }
        let component = ours.candidate.component();
        let flow = Flow { stream, component, generation: data.generation };
        let path = Path::of(flow, ours.candidate.transport(), ours.base, theirs.address);
        if self.is_vetoed(stream, path) || data.revoked.holds(data.generation, &path) {
            return None;
        }
        if let Some(known) = self.set.find(&path) {
            // Of two pairs with the same addresses the higher one stays, with all that is known (RFC 8445 §6.1.2.4).
            if self.set.get(known).is_some_and(|pair| pair.priority < priority) {
                let (local, remote) = (Some(local), Some(remote));
                let to = Update { local, remote, priority: Some(priority), foundation: Some(group) };
                self.set.update(known, to);
                self.set.sort_valid((stream, component));
            }
            return Some(known);
        }
        let is_concluded = data.component(component).is_some_and(|component| component.nomination.pair().is_some());
        if is_concluded && why == Insert::Formed && data.renomination.is_none() {
            return None;
        }
        let generation = data.generation;
        let new = NewPair { stream, component, generation, local, remote, path, priority, group };
        let Self { set, streams, .. } = self;
        let is_wanted = |pair: &CandidatePair| {
            let component = Stream::find(streams, pair.stream).and_then(|data| data.component(pair.component));
            component.is_some_and(|component| component.nomination.is_wanted(pair.id))
        };
        let Some((id, evicted)) = set.insert(&new, why, is_wanted) else {
            self.stats.pairs_refused += 1;
            return None;
        };
        if let Some(evicted) = evicted {
            self.stats.pairs_refused += 1;
            self.let_go(evicted);
        }
        if let Some(data) = self.stream_mut(stream) {
            data.pairs_made = data.pairs_made.saturating_add(1);
            // There is something to hope for again.
            data.failure = None;
        }
        self.prepare_relayed_pair(id);
        self.is_dirty = true;
        Some(id)
    }
}

/// Whether two candidates may be paired: component, transport, who opens the connection, family, and addresses of a host or
/// a link with their like (RFC 8445 §6.1.2.2, RFC 6544 §6.2).
pub(super) fn is_compatible(local: &LocalCandidate, remote: &RemoteCandidate) -> bool {
    local.candidate.component() == remote.candidate.component()
        && local.candidate.transport() == remote.candidate.transport()
        && local.candidate.tcp_type() == remote.candidate.tcp_type().map(TcpType::opposite)
        // The server would be asked to let an address in that the peer does not show (draft-ietf-mmusic-mdns-ice-candidates).
        && (local.candidate.kind() != CandidateKind::Relayed || remote.candidate.socket_address().is_some())
        && local.base.is_ipv4() == remote.address.is_ipv4()
        && judge(remote.address.ip(), local.base.ip()).is_ok()
        && is_ipv6_link_local(local.base) == is_ipv6_link_local(remote.address)
}
