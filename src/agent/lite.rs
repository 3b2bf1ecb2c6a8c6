//! What is different for a lite agent (RFC 8445 §2.5): it has host candidates only, sends no checks, and takes the pairs
//! that its peer nominates.

use super::Agent;
use super::stream_data::{Component, EarlyCheck, Stream};
use crate::checklist::{CandidatePair, NewPair, PairFoundation, PairPriority};
use crate::nomination::Asked;
use crate::stun::TransactionId;
use crate::types::{ComponentId, Flow, PairId, Path, StateReason, StreamId, Transport, after};

impl Agent {
    /// Takes a check of the peer: the path is the peer's, and if the check nominates, it is selected (RFC 8445 §7.3.2).
    pub(super) fn accept(&mut self, stream: StreamId, peer: u8, check: &EarlyCheck) {
        let place = (stream, check.component);
        self.end_silence(place);
        let is_fresh = check.nomination.is_some_and(|one| self.is_fresh(place, one.transaction, &check.path));
        let Some(id) = self.accepted_pair(stream, peer, check) else { return };
        let value = check.nomination.and_then(|one| one.value);
        let is_outdated = self.can_renominate(stream)
            && self.component(place).is_some_and(|component| component.nomination.is_outdated(id, value));
        let is_new = is_fresh && (!is_outdated || self.is_rebound(place, id, check));
        let (now, order) = (self.now, self.nominations + 1);
        self.set.record_request(id, now, check.priority);
        self.is_dirty |= self.set.record_generation(id, check.generation);
        if is_new {
            // A lite agent cannot judge pairs: the last nomination counts (RFC 8445 §8.2).
            self.nominations = order;
            if let Some(component) = self.component_mut(place) {
                component.nomination.ask(id, Asked { is_deliberate: true, order, value });
            }
            self.take_nominated(id);
        }
        self.record_life(id);
        self.record_reply(id);
    }

    /// Why a lite agent gives up: it sends no checks that could fail, so it counts the time in which none of its peer came
    /// (RFC 8863 §4). A component that was nominated once has a path whose silence tells of itself.
    pub(super) fn silence(&self, data: &Stream) -> Option<StateReason> {
        let is_carried = |one: &Component| one.selection.previous().is_some() && !one.selection.is_lost();
        // As long as more candidates may come, those that are there say which components the peer has.
        let is_expected = |one: &Component| {
            let mut theirs = data.remotes.iter().map(|remote| remote.candidate.component());
            data.has_all_remotes || data.remotes.is_empty() || theirs.any(|id| id == one.id)
        };
        let is_silent = |one: &Component| !one.nomination.was_made() && !is_carried(one) && is_expected(one);
        if !data.effective_components().iter().any(is_silent) {
            return None;
        }
        Some(match (data.is_remote_lite && data.are_candidates_complete(), data.remotes.is_empty()) {
            (true, true) => StateReason::NoRemoteCandidates,
            (true, false) => StateReason::NoCompatiblePair,
            (false, _) => StateReason::NothingHeard,
        })
    }

    /// Begins to be patient anew: the peer checks a component that nothing was nominated for.
    fn end_silence(&mut self, place: (StreamId, ComponentId)) {
        let until = after(self.now, self.config.pac());
        let Some(data) = self.stream_mut(place.0) else { return };
        if data.component(place.1).is_some_and(|component| !component.nomination.was_made()) {
            (data.failure, data.pac_deadline) = (None, Some(until));
            self.is_dirty = true;
        }
    }

    /// Whether a check repeats the nomination that counts from another address: a NAT has forgotten the peer, which sees the
    /// pair that it has nominated as it was. It is asked on behalf of the same candidate, from an address that nobody signalled.
    fn is_rebound(&self, place: (StreamId, ComponentId), id: PairId, check: &EarlyCheck) -> bool {
        let value = check.nomination.and_then(|one| one.value);
        let held =
            self.component(place).and_then(|component| component.nomination.pair()).and_then(|held| self.set.get(held));
        let Some((held, new)) = held.filter(|_| value.is_some()).zip(self.set.get(id)) else { return false };
        let remote = self.stream(place.0).and_then(|data| data.remotes.get(new.remote));
        self.asked(held).is_some_and(|asked| asked.value == value)
            && held.path.base == check.path.base
            && held.announced == Some(check.priority)
            && remote.is_some_and(|remote| !remote.is_signalled)
    }

    /// Whether a nomination is to be followed, which is remembered.
    fn is_fresh(&mut self, place: (StreamId, ComponentId), transaction: TransactionId, path: &Path) -> bool {
        let nominated = self.component(place).and_then(|component| component.nomination.pair());
        let is_there = nominated.and_then(|id| self.set.get(id)).is_some_and(|pair| pair.path == *path);
        let (stream, component) = place;
        let component = Stream::find_mut(&mut self.streams, stream).and_then(|data| data.component_mut(component));
        component.is_some_and(|component| component.nomination.is_fresh(transaction, is_there, &self.random))
    }

    fn accepted_pair(&mut self, stream: StreamId, peer: u8, check: &EarlyCheck) -> Option<PairId> {
        if let Some(known) = self.set.find(&check.path) {
            return Some(known);
        }
        let remote = self.remote_of(stream, peer, check)?;
        self.unchecked_pair(stream, check.component, (check.path.transport, check.path.base), remote)
    }

    /// Makes room for a pair: the one goes that was not heard for longest of those that no component uses.
    fn forget_stalest_pair(&mut self) {
        let is_free = |pair: &&CandidatePair| {
            let component = self.component((pair.stream, pair.component));
            component.is_none_or(|component| !component.uses(pair.id))
        };
        let stalest = self.set.iter().filter(is_free).min_by_key(|pair| pair.heard_check_at).map(|pair| pair.id);
        if let Some(stalest) = stalest {
            self.forget_pairs(|pair| pair.id == stalest);
        }
    }

    /// A pair that nobody here checks.
    fn unchecked_pair(
        &mut self,
        stream: StreamId,
        component: ComponentId,
        (transport, base): (Transport, core::net::SocketAddr),
        remote: crate::types::CandidateId,
    ) -> Option<PairId> {
        let data = self.stream(stream)?;
        let ours = data.locals.at_base(component, transport, base)?;
        let flow = Flow { stream, component, generation: data.generation };
        let theirs = data.remotes.get(remote)?;
        let priority = PairPriority::compute(self.role, ours.candidate.priority(), theirs.candidate.priority());
        let new = NewPair {
            stream,
            component,
            generation: data.generation,
            local: ours.id,
            remote,
            path: Path::of(flow, transport, base, theirs.address),
            priority,
            group: PairFoundation { local: ours.foundation, remote: theirs.foundation },
        };
        if data.revoked.holds(new.generation, &new.path) {
            return None;
        }
        if self.set.is_full_beside_lists() {
            self.stats.pairs_refused += 1;
            self.forget_stalest_pair();
        }
        let id = self.set.insert_unchecked(&new)?;
        if let Some(data) = self.stream_mut(stream) {
            data.pairs_made = data.pairs_made.saturating_add(1);
        }
        Some(id)
    }

    /// Makes a pair valid and nominated without a check.
    fn take_nominated(&mut self, id: PairId) {
        let now = self.now;
        let Some(place) = self.set.get(id).map(|pair| (pair.stream, pair.component)) else { return };
        let choice = self.nomination_choice(place.0);
        self.set.validate_unchecked(now, id);
        let Some((component, checks)) = self.component_with_checks(place) else { return };
        component.nomination.pair_valid(now);
        let left = component.nomination.follow_unchecked(now, checks, id, choice);
        if component.nomination.pair() == Some(id) {
            component.selection.forget_suspicion();
        }
        left.into_iter().for_each(|left| checks.note(left));
        self.is_dirty = true;
    }

    /// Two lite agents: pairs what fits, without checks, once all candidates are there (RFC 8445 §8.2).
    ///
    /// Both sides order the pairs alike, by priority, so that they take the same one where several fit; the update of the
    /// descriptions, which RFC 8445 asks for then, is for the application.
    pub(super) fn pair_with_lite(&mut self, stream: StreamId) {
        let Some(data) = self.stream(stream).filter(|data| data.is_remote_lite && data.has_all_remotes) else { return };
        if !self.config.lite || !data.is_gathered() {
            return;
        }
        let open: smallvec::SmallVec<[ComponentId; 2]> = data
            .components
            .iter()
            .filter(|component| component.nomination.pair().is_none())
            .map(|component| component.id)
            .collect();
        for component in open {
            let Some(data) = self.stream(stream) else { return };
            let locals = data.locals.iter().filter(|local| local.candidate.component() == component);
            let fitting = locals.flat_map(|local| {
                data.remotes.iter().filter(|remote| super::pairing::is_compatible(local, remote)).map(|remote| {
                    let (ours, theirs) = (local.candidate.priority(), remote.candidate.priority());
                    (
                        PairPriority::compute(self.role, ours, theirs),
                        (local.candidate.transport(), local.base),
                        remote.id,
                    )
                })
            });
            let Some((_, base, remote)) = fitting.max_by_key(|(priority, ..)| *priority) else { continue };
            if let Some(id) = self.unchecked_pair(stream, component, base, remote) {
                self.take_nominated(id);
            }
        }
    }
}
