//! A peer that moves: its checks come from another address than before.
//!
//! Behind a NAT that has forgotten it, a peer does not know that it is seen elsewhere, and goes on with the pair that it has:
//! for it, nothing was nominated anew. So the pair with the new address takes the place of the nominated one in three steps:
//!
//! ```text
//!   a check from there, on behalf of the       our own check of it       the old pair, asked at once,
//!   candidate of the nominated pair            is answered               is silent for two seconds
//!   ------------------------------------> * -----------------> fallback -------------------------------> nominated
//!                                                                  |
//!                                                                  +-- the old one answers --> (as before)
//! ```
//!
//! Data takes the fallback from the first answer on, and none goes to an address that has not answered. Whoever only copies
//! checks of the peer to an address of his own changes nothing for longer than the old pair takes to answer.

use smallvec::SmallVec;

use super::Agent;
use super::stream_data::EarlyCheck;
use crate::candidate::CandidateKind;
use crate::checklist::{CandidatePair, CandidatePairState};
use crate::selection::Successor;
use crate::types::{ComponentId, PairId, Role, StreamId};

type Place = (StreamId, ComponentId);

/// What speaks for it that one pair is another one seen under a new address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Likeness {
    /// Nothing, or the peer was heard later on the other.
    None,
    /// The candidate may be the same: its checks announce the same priority.
    Alike,
    /// And the address is none that was signalled, or that candidate was seen under several addresses before.
    Same,
}

impl Agent {
    /// Looks whether the peer has moved to a pair that has come to work.
    ///
    /// If its checks come from a new address on behalf of the candidate that the selected pair has, a NAT has forgotten it,
    /// and data goes there at once. Any other pair that may be the peer's choice only raises doubt about the selected one,
    /// which is asked what is true; if it is silent, the new one takes its place.
    pub(super) fn follow_move(&mut self, checked: PairId, valid: PairId) {
        let now = self.now;
        let Some((checked, new)) = self.set.get(checked).zip(self.set.get(valid)) else { return };
        let place = (new.stream, new.component);
        let Some(data) = self.stream(place.0) else { return };
        let Some(component) = data.component(place.1).filter(|component| component.selection.previous().is_none())
        else {
            return;
        };
        let Some(old) = component.nomination.pair().filter(|id| *id != valid).and_then(|id| self.set.get(id)) else {
            return;
        };
        let likeness = self.likeness(checked, old);
        // A peer that is nominated to once has no reason to move to another candidate.
        let is_younger = data.renomination.is_some()
            && component.nomination.is_older_than(checked.id)
            && checked.heard_check_at.is_some();
        let is_readdressed = likeness == Likeness::Same;
        let is_known = component.selection.knows_move(valid, is_readdressed);
        if is_known || likeness == Likeness::None && !is_younger || old.path == new.path {
            return;
        }
        let (old, seen_before) = (old.id, old.produced_by.unwrap_or(old.id));
        if is_readdressed {
            self.set.record_alias(seen_before);
        }
        if let Some(component) = self.component_mut(place) {
            component.selection.suspect_move(now, old, valid, is_readdressed);
        }
        self.is_dirty = true;
    }

    /// Whether the checks on one pair are on behalf of the candidate that another one has, and later.
    fn likeness(&self, checked: &CandidatePair, old: &CandidatePair) -> Likeness {
        let old_checks = self.set.get(old.produced_by.unwrap_or(old.id)).unwrap_or(old);
        let is_alike = old.path.base == checked.path.base
            && checked.announced.is_some()
            && old_checks.announced == checked.announced
            && checked.heard_check_at > old_checks.heard_check_at;
        let remote = self.stream(checked.stream).and_then(|data| data.remotes.get(checked.remote));
        let Some(remote) = remote.filter(|_| is_alike) else { return Likeness::None };
        if !remote.is_signalled || checked.is_alias {
            Likeness::Same
        } else if remote.candidate.kind() == CandidateKind::Relayed {
            // A relay is a candidate of its own, whatever its priority.
            Likeness::None
        } else {
            Likeness::Alike
        }
    }

    /// Whether a check from a new address may be on behalf of the candidate that the nominated pair has.
    pub(super) fn is_of_nominated(&self, stream: StreamId, check: &EarlyCheck) -> bool {
        let nominated = self.component((stream, check.component)).and_then(|component| component.nomination.pair());
        let Some(pair) = nominated.and_then(|id| self.set.get(id)) else { return false };
        let checked = self.set.get(pair.produced_by.unwrap_or(pair.id)).unwrap_or(pair);
        pair.path.base == check.path.base && checked.announced == Some(check.priority)
    }

    /// Whether a check on this pair, which has succeeded before, shows that the peer is seen under that address again: then
    /// it is to be checked anew.
    pub(super) fn has_come_back(&self, id: PairId) -> bool {
        let Some(pair) = self.set.get(id) else { return false };
        if pair.state.get() != CandidatePairState::Succeeded || self.is_nominating(pair) || self.config.lite {
            return false;
        }
        let Some(component) = self.component((pair.stream, pair.component)) else { return false };
        let valid = pair.produced.unwrap_or(id);
        let is_used = component.nomination.pair() == Some(valid)
            || component.selection.fallback().is_some_and(|one| one.pair == valid);
        let old = component.nomination.pair().filter(|_| !is_used && component.selection.previous().is_none());
        old.and_then(|old| self.set.get(old)).is_some_and(|old| self.likeness(pair, old) == Likeness::Same)
    }

    /// Lets the address under which the peer is seen take the place of the one that is silent, in the nominated pair.
    pub(super) fn follow_readdressed(&mut self, stream: StreamId) {
        let now = self.now;
        let Some(data) = self.stream_mut(stream) else { return };
        let can_renominate = data.renomination.is_some();
        let mut moved: SmallVec<[(Place, PairId, PairId); 1]> = SmallVec::new();
        for component in &mut data.components {
            let old = component.nomination.pair();
            match component.selection.successor(now, old, can_renominate) {
                Successor::None => {}
                Successor::At(at) => component.selection.wait_no_longer_than(at),
                Successor::Now(new) => moved.extend(old.map(|old| ((stream, component.id), old, new))),
            }
        }
        for (place, old, new) in moved {
            self.readdress(place, old, new);
        }
    }

    /// Makes one pair the nominated one in the place of another, which it is for the peer all the same.
    fn readdress(&mut self, place: Place, old: PairId, new: PairId) {
        let now = self.now;
        let Some((component, checks)) = self.component_with_checks(place) else { return };
        let attempt = component.nomination.readdress(now, checks, old, new);
        component.selection.forget_suspicion();
        component.selection.end_fallback();
        for name in [Some(new), checks.checked_by(new), Some(old), checks.checked_by(old)].into_iter().flatten() {
            checks.note(name);
        }
        if attempt.is_some() || self.role == Role::Controlling && self.can_renominate(place.0) {
            self.start_nomination(place, new, attempt.is_some_and(|attempt| attempt.is_forced));
        }
        self.give_up_path(old, false);
    }
}
