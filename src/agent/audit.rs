//! What holds inside an agent at rest, for the simulator: every queue names what is there, and every limit is kept.

use core::time::Duration;
use std::format;
use std::string::String;

use super::Agent;
use super::stream_data::{Component, Stream};
use crate::checklist::{CandidatePair, CandidatePairState, Purpose};
use crate::config::limits;
use crate::stun::TransactionId;
use crate::types::PairId;

/// Fails with a text unless the condition holds.
macro_rules! require {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}

impl Agent {
    /// Looks at every list of the agent, which has been polled until it was quiet; says what is wrong.
    pub(crate) fn audit(&self) -> Result<(), String> {
        self.set.audit()?;
        self.connections.audit()?;
        self.streams.iter().try_for_each(|stream| self.audit_stream(stream))?;
        self.set.iter().map(|pair| pair.id).try_for_each(|id| self.audit_pair(id))?;
        for id in self.outbox.consent.iter() {
            let is_queued = self.consent(id).is_some_and(|consent| consent.is_queued);
            require!(is_queued, "a consent check of pair {id} is queued that nobody wants");
        }
        for id in self.outbox.probes.iter() {
            require!(self.set.get(id).is_some(), "pair {id} is gone, and queued to be checked again");
        }
        for key in self.outbox.repeats.iter() {
            let pair = self.set.transaction(key).map(|transaction| transaction.start.pair);
            let is_there = pair.is_none_or(|id| self.set.get(id).is_some());
            require!(is_there, "a check of pair {pair:?} is repeated, which is gone");
        }
        let (events, most) = (self.outbox.events.len(), self.outbox.events.capacity());
        require!(events <= most, "{events} events wait, which are more than {most}");
        let (changes, pairs) = self.set.change_count();
        let (told, room) = (self.ledger.pair_count(), self.outbox.events.capacity());
        require!(told <= pairs + room, "{told} pairs were told, of {pairs}");
        require!(
            changes <= 2 * (pairs + told) + 130,
            "{changes} changes of {pairs} pairs wait to be told, {told} were"
        );
        // Every watched pair is asked at the most every 150 ms, and each question is remembered for 30 s.
        let (open, most) = (self.set.checks(), 512 * (self.set.iter().count() + 4));
        require!(open <= most, "{open} transactions are more than {most}");
        Ok(())
    }

    fn audit_stream(&self, stream: &Stream) -> Result<(), String> {
        let (id, config) = (stream.id, &self.config);
        let (signalled, reflexive) = stream.remotes.counts();
        require!(signalled <= config.max_remote_candidates, "{id:?}: {signalled} remote candidates");
        require!(reflexive <= config.max_peer_reflexive, "{id:?}: {reflexive} peer-reflexive remote candidates");
        let kind = crate::CandidateKind::PeerReflexive;
        let locals = stream.locals.iter().filter(|local| local.candidate.kind() == kind).count();
        require!(locals <= config.max_peer_reflexive, "{id:?}: {locals} peer-reflexive local candidates");
        let early = stream.early.len() + stream.pending.as_ref().map_or(0, |pending| pending.early.len());
        require!(early <= 2 * config.max_early_checks, "{id:?}: {early} early checks");
        for (what, count, most) in [
            ("descriptions of the peer", stream.remote.len(), limits::FORKS),
            ("removed candidates", stream.removed.len(), limits::REMOVED),
            ("vetoed pairs", stream.vetoed.len(), limits::REMOVED),
            ("5-tuples without consent", stream.revoked.len(), limits::REVOCATIONS),
            ("deferred candidates", stream.deferred.len(), limits::DEFERRED_CANDIDATES),
            ("names", stream.unresolved.len(), limits::UNRESOLVED_NAMES),
            ("held events", stream.held.as_ref().map_or(0, |held| held.len()), config.max_events),
        ] {
            require!(count <= most, "{id:?}: {count} {what}");
        }
        stream.components.iter().try_for_each(|component| self.audit_component(stream, component))
    }

    fn audit_component(&self, stream: &Stream, component: &Component) -> Result<(), String> {
        let place = (stream.id, component.id);
        let valid = self.set.valid(place);
        let is_here = |id: &PairId| self.set.get(*id).is_some_and(|pair| (pair.stream, pair.component) == place);
        for (name, pair) in component.selection.named().into_iter().chain(component.nomination.named()) {
            require!(pair.as_ref().is_none_or(is_here), "{place:?}: the {name} pair {pair:?} is gone");
        }
        for id in component.selection.standby().chain(valid.iter().copied()) {
            require!(is_here(&id), "{place:?}: pair {id} is in reserve or valid, and gone");
        }
        for id in valid {
            let is_right = self.set.get(*id).is_some_and(|pair| pair.is_valid && pair.generation == stream.generation);
            require!(is_right, "{place:?}: pair {id} is on the valid list, and not valid");
        }
        let priorities = valid.iter().map(|id| self.set.get(*id).map(|pair| pair.priority));
        require!(priorities.is_sorted_by(|one, next| one >= next), "{place:?}: the valid list is out of order");
        let of_place = |pair: &&CandidatePair| {
            (pair.stream, pair.component) == place && pair.generation == stream.generation && pair.is_valid
        };
        for id in self.set.iter().filter(of_place).map(|pair| pair.id) {
            let count = valid.iter().filter(|valid| **valid == id).count();
            require!(count == 1, "{place:?}: pair {id} is valid, and {count} times on the valid list");
        }
        if let Some(id) = component.nomination.pair() {
            require!(valid.contains(&id), "{place:?}: pair {id} is nominated, and not valid");
        }
        let (asked, pairs) = (component.nomination.asked_pairs(), self.set.iter().count());
        require!(asked <= pairs, "{place:?}: {asked} pairs are asked for, of {pairs}");
        let has_failed =
            |id: PairId| self.set.get(id).is_some_and(|pair| pair.state.get() == CandidatePairState::Failed);
        require!(!component.selection.selected().is_some_and(has_failed), "{place:?}: the selected pair has failed");
        Ok(())
    }

    fn audit_pair(&self, id: PairId) -> Result<(), String> {
        let Some(pair) = self.set.get(id) else { return Ok(()) };
        let place = (pair.stream, pair.component);
        require!(self.component(place).is_some(), "the component of pair {id} is gone");
        for other in [pair.produced, pair.produced_by].into_iter().flatten() {
            require!(self.set.get(other).is_some(), "pair {id} has to do with pair {other}, which is gone");
        }
        if let Some(key) = pair.state.transaction().filter(|_| !self.is_closed) {
            let asked = self.set.transaction(key).map(|transaction| transaction.start.pair);
            require!(asked == Some(id), "pair {id} waits for the answer to a check of {asked:?}");
        }
        if let Some(consent) = self.consent(id) {
            let is_queued = self.outbox.consent.contains(&id);
            require!(consent.is_queued == is_queued, "pair {id} says that its consent check is queued, or is not");
        }
        Ok(())
    }

    /// Lets the agent draw its conclusions once more, as any command would.
    pub(crate) const fn look_again(&mut self) {
        self.is_dirty = true;
    }

    /// Whether this is a consent check that is under way: those have a schedule of their own.
    pub(crate) fn is_consent_check(&self, id: [u8; 12]) -> bool {
        self.set.asked(TransactionId(id)).is_some_and(|(_, check)| check.start.purpose == Purpose::Consent)
    }

    /// Most pairs of all kinds.
    pub(crate) fn most_pairs(&self) -> usize {
        2 * self.config.max_pairs + 4 * self.components()
    }

    /// Ta as this agent was told to keep it, whatever the peer proposes.
    pub(crate) fn least_ta(&self) -> Duration {
        self.config.ta
    }

    /// The number of components of all streams.
    pub(crate) fn components(&self) -> usize {
        self.streams.iter().map(|stream| stream.components.len()).sum()
    }
}
