//! The valid lists, and which check has made a pair valid (RFC 8445 §7.2.5.3.2).
//!
//! The address that the peer sees may be another one than was checked from. Then the pair that works is another one as well:
//! one of the checklist, or one beside it, a *twin*, of which there is one for each path.
//!
//! ```text
//!   checked pair  --- produced ---->  itself, one of the checklist, or its twin      valid list of the component,
//!                 <-- produced_by --                                                 the highest priority first
//! ```

use core::cmp::Reverse;

use smallvec::SmallVec;

use super::{CandidatePair, ChecklistSet, PairState};
use crate::types::{Arena, ComponentId, Instant, PairId, StreamId, work};

type Place = (StreamId, ComponentId);

/// Puts a valid list in order, the highest priority first.
fn sort(list: &mut [PairId], pairs: &Arena<CandidatePair>) {
    work::many(list.len());
    list.sort_by_key(|id| Reverse(pairs.get(*id).map(|pair| pair.priority)));
}

impl ChecklistSet {
    /// The valid list of a component, the highest priority first.
    pub(crate) fn valid(&self, (stream, component): Place) -> &[PairId] {
        self.list(stream).and_then(|list| list.valid.get(component.index())).map(SmallVec::as_slice).unwrap_or_default()
    }

    fn valid_mut(&mut self, (stream, component): Place) -> Option<&mut SmallVec<[PairId; 2]>> {
        self.list_mut(stream)?.valid.get_mut(component.index())
    }

    /// Puts a pair on the valid list that the check of `checked` has shown to work; `false` if it is there.
    pub(crate) fn validate(&mut self, now: Instant, checked: PairId, valid: PairId) -> bool {
        let round_trip = self.get(checked).and_then(|pair| pair.stats.current_round_trip_time);
        if let Some(pair) = self.get_mut(checked) {
            let before = pair.produced.replace(valid);
            pair.is_shared |= before.is_some_and(|before| before != valid);
        }
        let Some(pair) = self.get_mut(valid) else { return false };
        let is_own = pair.produced == Some(valid);
        pair.is_shared |= pair.produced_by.is_some_and(|by| by != checked) || checked != valid && is_own;
        if checked != valid {
            pair.produced_by = Some(checked);
            pair.answered_at = Some(now);
            pair.stats.current_round_trip_time = round_trip;
        }
        let place = (pair.stream, pair.component);
        if core::mem::replace(&mut pair.is_valid, true) {
            return false;
        }
        if let Some(list) = self.valid_mut(place) {
            list.push(valid);
        }
        self.sort_valid(place);
        true
    }

    /// Puts a pair on the valid list that is never checked, and that the peer has chosen (RFC 8445 §8.2).
    pub(crate) fn validate_unchecked(&mut self, now: Instant, id: PairId) {
        if let Some(pair) = self.get_mut(id) {
            pair.answered_at = Some(now);
        }
        self.validate(now, id, id);
    }

    /// Lets the checks of others that have produced a pair which is gone show nothing any more: they are made again when somebody
    /// asks for them.
    ///
    /// Gives those beside the lists that were produced by its own checks: nothing is left to check them.
    pub(super) fn forget_products(&mut self, gone: PairId, (stream, component): Place) -> SmallVec<[PairId; 1]> {
        let is_of = |pair: &&CandidatePair| (pair.stream, pair.component) == (stream, component);
        let checked: SmallVec<[PairId; 2]> =
            self.iter().filter(is_of).filter(|pair| pair.produced == Some(gone)).map(|pair| pair.id).collect();
        for id in checked {
            self.forget_valid_pair(id);
            self.change(id, PairState::fail);
        }
        let produced: SmallVec<[PairId; 2]> =
            self.iter().filter(is_of).filter(|pair| pair.produced_by == Some(gone)).map(|pair| pair.id).collect();
        let mut orphans = SmallVec::new();
        for id in produced {
            let Some(pair) = self.get_mut(id) else { continue };
            pair.produced_by = None;
            orphans.extend(pair.group.is_none().then_some(id));
        }
        orphans
    }

    /// Takes a pair off the valid list.
    pub(crate) fn invalidate(&mut self, id: PairId) {
        let Some(pair) = self.get_mut(id) else { return };
        let place = (pair.stream, pair.component);
        if core::mem::take(&mut pair.is_valid) {
            self.leave_valid_list(place, id);
        }
    }

    pub(super) fn leave_valid_list(&mut self, place: Place, id: PairId) {
        if let Some(list) = self.valid_mut(place) {
            work::many(list.len());
            list.retain(|valid| *valid != id);
        }
    }

    /// Takes pairs off the valid lists, all at once: one by one each would take a look at all the others. Something else is
    /// about to be done to them, which is noted.
    pub(crate) fn invalidate_all(&mut self, gone: &[PairId]) {
        if gone.len() < 2 {
            return;
        }
        for id in gone {
            if let Some(pair) = self.pairs.get_mut(*id) {
                pair.is_valid = false;
            }
        }
        let pairs = &self.pairs;
        for list in self.lists.iter_mut().flat_map(|list| &mut list.valid) {
            work::many(list.len());
            list.retain(|id| pairs.get(*id).is_some_and(|pair| pair.is_valid));
        }
    }

    /// Begins the valid lists of a stream anew: those of the generation before are used until there are others.
    pub(crate) fn clear_valid(&mut self, stream: StreamId) {
        self.list_mut(stream).into_iter().flat_map(|list| &mut list.valid).for_each(SmallVec::clear);
    }

    /// Puts the valid list of a component in order.
    pub(crate) fn sort_valid(&mut self, (stream, component): Place) {
        let Some(place) = self.place_of(stream) else { return };
        let Some(list) = self.lists.get_mut(place).and_then(|list| list.valid.get_mut(component.index())) else {
            return;
        };
        sort(list, &self.pairs);
    }

    /// Puts all valid lists in order: priorities have changed.
    pub(crate) fn sort_all_valid(&mut self) {
        self.lists.iter_mut().flat_map(|list| &mut list.valid).for_each(|list| sort(list, &self.pairs));
    }

    /// The pair whose checks keep this one valid: itself, or the one that it stands for.
    pub(crate) fn checked_by(&self, id: PairId) -> Option<PairId> {
        self.get(id).map(|pair| pair.produced_by.unwrap_or(id))
    }

    /// The names under which the path of a pair may be valid: the pair that is checked first, and what stands for it while a
    /// NAT shows us under another address.
    pub(crate) fn names_of(&self, id: PairId) -> SmallVec<[PairId; 3]> {
        let checked = self.checked_by(id).unwrap_or(id);
        let twin = self.get(checked).and_then(|pair| pair.twin).filter(|twin| self.get(*twin).is_some());
        let mut names = SmallVec::from_slice(&[checked]);
        for one in twin.into_iter().chain([id]) {
            if !names.contains(&one) {
                names.push(one);
            }
        }
        names
    }

    /// Notes that something has changed about a pair under all names of its path.
    pub(crate) fn note_names(&mut self, id: PairId) {
        self.names_of(id).into_iter().for_each(|name| self.note(name));
    }

    /// Whether the packets of two pairs go the same way.
    pub(crate) fn is_same_path(&self, one: PairId, other: PairId) -> bool {
        let path = |id: PairId| self.get(id).map(|pair| pair.path);
        path(one) == path(other)
    }

    /// Records which pair stands for the path of another one since the peer sees us under another address.
    pub(crate) fn set_twin(&mut self, id: PairId, twin: PairId) {
        if let Some(pair) = self.get_mut(id) {
            pair.twin = Some(twin);
        }
    }

    /// Records that the check of a pair shows no pair to work any more.
    pub(crate) fn forget_valid_pair(&mut self, id: PairId) {
        if let Some(pair) = self.get_mut(id) {
            // It may be known still as the one that has produced another.
            pair.is_shared |= pair.produced.take().is_some_and(|product| product != id);
        }
    }
}
