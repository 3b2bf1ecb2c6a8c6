//! Candidates that are gone: interfaces that went down, addresses that the peer took back.
//!
//! What follows is drawn when the agent is next polled, so that removing old candidates and adding new ones is one step.

use alloc::vec::Vec;
use core::net::SocketAddr;

use smallvec::SmallVec;

use super::Agent;
use super::error::RemoveCandidateError;
use super::revocation::Revocation;
use crate::candidate::{CandidateKind, LocalCandidate};
use crate::checklist::{CandidatePair, Departed, TransactionKey, Update, Why};
use crate::types::address::in_scope_of;
use crate::types::{CandidateId, ComponentId, Instant, PairId, Path, StreamId, Transport};

impl Agent {
    /// Removes a local candidate. With a host candidate go its socket, the reflexive candidates based on it, and all pairs
    /// of it: nothing is sent from that address any more, and nothing that arrives there is answered (RFC 8445 §5.1.1.4).
    ///
    /// If a selected pair is among them, the best valid pair that is left is used; without one, the stream is disconnected
    /// until there is one, for example by a restart.
    ///
    /// # Errors
    /// [`UnknownStream`](RemoveCandidateError::UnknownStream) or
    /// [`UnknownCandidate`](RemoveCandidateError::UnknownCandidate) if there is none of that name.
    pub fn remove_local_candidate(
        &mut self,
        now: Instant,
        stream: StreamId,
        candidate: CandidateId,
    ) -> Result<(), RemoveCandidateError> {
        self.observe(now);
        let data = self.stream(stream).ok_or(RemoveCandidateError::UnknownStream(stream))?;
        let local = data.locals.get(candidate).ok_or(RemoveCandidateError::UnknownCandidate(candidate))?;
        let (base, is_host) = (local.base, !local.candidate.kind().is_reflexive());
        let is_relayed = local.candidate.kind() == CandidateKind::Relayed;
        let (component, transport) = (local.candidate.component(), local.candidate.transport());
        // Several active candidates have the same address, one for each component.
        let is_at = |stream_of, component_of, path: &Path| {
            (stream_of, component_of, path.transport, path.base) == (stream, component, transport, base)
        };
        if is_host {
            self.sockets.remove(&(transport, base));
            let is_shared = |local: &LocalCandidate| {
                local.id != candidate && (local.candidate.transport(), local.base) == (transport, base)
            };
            if !self.streams.iter().any(|data| data.locals.iter().any(is_shared)) {
                // Active candidates of several components have the same address.
                self.mapped_sockets.forget(transport, base);
            }
            if is_relayed {
                self.release_relayed(base);
            } else {
                self.stop_gathering_from(transport, base);
                if transport == Transport::Udp {
                    self.forget_relays_at(base);
                }
            }
            self.outbox
                .replies
                .retain(|reply| reply.stream != stream || (reply.path.transport, reply.path.base) != (transport, base));
            self.forget_pairs(|pair| is_at(pair.stream, pair.component, &pair.path));
            self.drop_connections(|carrier| is_at(carrier.stream, carrier.component, &carrier.path));
        } else if let Some(host) = data.locals.at_base(component, transport, base).map(|host| host.id) {
            // The path stays; it is that of the base.
            self.set_local(stream, candidate, host);
        }
        if let Some(data) = self.stream_mut(stream) {
            data.locals.retain(|local| {
                let of = &local.candidate;
                let is_based = (of.component(), of.transport(), local.base) == (component, transport, base);
                local.id != candidate && !(is_host && is_based)
            });
            data.early.retain(|early| !(is_host && is_at(stream, early.component, &early.path)));
        }
        self.is_dirty = true;
        Ok(())
    }

    /// Removes a candidate of the peer, and all pairs of it, those from before a restart included. If it was the last one
    /// of a connected stream, that is disconnected.
    ///
    /// On the 5-tuples of pairs that worked our consent ends: checks of the peer are refused with 403 there, so that it stops
    /// to send with its next consent check, in 6 s at the latest, or after 30 s if that gets lost (RFC 7675 §5.2). Only a
    /// restart gives consent there again: adding the candidate once more tells
    /// [`ConsentEnded`](crate::RemoteCandidateOutcome::ConsentEnded), and it is paired where no pair of it had worked. There,
    /// checks from its address are answered and have no consequence until it is added again.
    ///
    /// # Errors
    /// As [`remove_local_candidate`](Self::remove_local_candidate).
    pub fn remove_remote_candidate(
        &mut self,
        now: Instant,
        stream: StreamId,
        candidate: CandidateId,
    ) -> Result<(), RemoveCandidateError> {
        self.observe(now);
        let data = self.stream_mut(stream).ok_or(RemoveCandidateError::UnknownStream(stream))?;
        let remote = data.remotes.remove(candidate).ok_or(RemoveCandidateError::UnknownCandidate(candidate))?;
        data.removed.push(remote.address);
        let (generation, of, address) = (data.generation, remote.candidate, remote.address);
        let is_of = |pair: &CandidatePair| {
            // The pair in use from before a restart has a candidate of that generation with the same address.
            let is_same = in_scope_of(pair.path.base, address) == pair.path.remote
                && (pair.component, pair.path.transport) == (of.component(), of.transport());
            pair.stream == stream && if pair.generation == generation { pair.remote == candidate } else { is_same }
        };
        let worked: SmallVec<[Revocation; 2]> = self
            .set
            .iter()
            .filter(|pair| is_of(pair) && (pair.is_valid || pair.produced.is_some()))
            .map(|pair| Revocation { generation: pair.generation, component: pair.component, path: pair.path })
            .collect();
        if let Some(data) = self.stream_mut(stream) {
            worked.into_iter().for_each(|one| data.revoked.add(one));
        }
        self.forget_pairs(is_of);
        self.is_dirty = true;
        Ok(())
    }

    /// Whether the peer has no candidate at this address any more.
    pub(super) fn is_removed(&self, stream: StreamId, address: SocketAddr) -> bool {
        self.stream(stream).is_some_and(|data| data.removed.contains(&address))
    }

    /// Forgets pairs.
    pub(super) fn forget_pairs(&mut self, which: impl Fn(&CandidatePair) -> bool) {
        let gone: Vec<PairId> = self.set.iter().filter(|pair| which(pair)).map(|pair| pair.id).collect();
        self.forget_all(&gone);
    }

    /// Forgets these pairs: each costs no more than if it were the only one.
    pub(super) fn forget_all(&mut self, gone: &[PairId]) {
        self.set.invalidate_all(gone);
        gone.iter().for_each(|id| self.forget_pair(*id));
    }

    /// Forgets a pair, if it is there still.
    pub(super) fn forget_pair(&mut self, id: PairId) {
        if let Some(departed) = self.set.drop(id, Why::Removed) {
            self.let_go(departed);
        }
    }

    /// Lets go of a pair that has left the checklists. This is the only way out: whatever names a pair forgets it here.
    ///
    /// The selected pair is left to the conclusions, which tell that it has changed.
    pub(super) fn let_go(&mut self, departed: Departed) {
        let Departed { pair, orphans } = departed;
        let (id, place) = (pair.id, (pair.stream, pair.component));
        self.leave_queues(place, id, pair.state.transaction());
        self.leave_component(place, id);
        if let Some(component) = self.component_mut(place) {
            component.nomination.forget(id);
        }
        self.is_dirty = true;
        // Nothing is left by which they could be checked.
        orphans.into_iter().for_each(|orphan| self.forget_pair(orphan));
    }

    /// Takes a pair off the valid list, and out of every use that its component makes of it. It may stay on its checklist.
    pub(super) fn leave_use(&mut self, place: (StreamId, ComponentId), id: PairId) {
        self.set.invalidate(id);
        self.leave_component(place, id);
    }

    /// Has a component forget a pair.
    fn leave_component(&mut self, place: (StreamId, ComponentId), id: PairId) {
        self.outbox.consent.remove(&id);
        if let Some((component, checks)) = self.component_with_checks(place) {
            component.lose(id).into_iter().for_each(|carried| checks.dequeue(carried));
        }
    }

    /// Takes a pair out of whatever waits to be sent for it, but for consent.
    ///
    /// What is sent again for it is its check in progress, or the latest nomination.
    pub(super) fn leave_queues(&mut self, place: (StreamId, ComponentId), id: PairId, check: Option<TransactionKey>) {
        self.outbox.probes.remove(&id);
        let attempt = self.component(place).and_then(|component| component.nomination.attempt());
        let nomination = attempt.filter(|attempt| attempt.checked == id).and_then(|attempt| attempt.latest);
        for key in check.into_iter().chain(nomination) {
            self.outbox.repeats.remove(&key);
        }
    }

    /// Gives pairs of one local candidate another one.
    fn set_local(&mut self, stream: StreamId, from: CandidateId, to: CandidateId) {
        let pairs: SmallVec<[PairId; 4]> =
            self.set.iter().filter(|pair| (pair.stream, pair.local) == (stream, from)).map(|pair| pair.id).collect();
        for id in pairs {
            self.set.update(id, Update { local: Some(to), ..Update::default() });
        }
        self.refresh_pairs(|pair| (pair.stream, pair.local) == (stream, to));
    }
}
