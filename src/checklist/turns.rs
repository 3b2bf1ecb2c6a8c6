//! Whose turn it is: freezing, and the order of checks over all lists (RFC 8445 §6.1.2.6, §6.1.4.2).

use alloc::collections::BTreeMap;

use smallvec::SmallVec;

use super::list::Turn;
use super::{CandidatePairState, Checklist, ChecklistSet, PairFoundation, PairState};
use crate::types::{PairId, StreamId};

impl ChecklistSet {
    /// Gives new pairs their first state: the topmost of a foundation, and those of a proven one, wait; the others stay
    /// frozen (RFC 8445 §6.1.2.6, RFC 8838 §12).
    pub(crate) fn settle_fresh(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        let fresh = core::mem::take(&mut self.fresh);
        // Of each foundation it is one and the same for the whole batch.
        let mut topmost: BTreeMap<PairFoundation, Option<PairId>> = BTreeMap::new();
        for id in fresh {
            let Some(key) =
                self.get(id).filter(|pair| pair.state.get() == CandidatePairState::Frozen).and_then(|pair| pair.group)
            else {
                continue;
            };
            let Some(group) = self.groups.get(key) else { continue };
            let mut is_topmost =
                || *topmost.entry(key).or_insert_with(|| self.topmost(group.members.iter().copied())) == Some(id);
            if group.succeeded > 0 || is_topmost() {
                self.change(id, PairState::unfreeze);
            }
        }
    }

    /// The pair that represents its foundation: of the first list, the lowest component, then the highest priority.
    fn topmost(&self, members: impl Iterator<Item = PairId>) -> Option<PairId> {
        let rank = |id: &PairId| {
            let pair = self.get(*id)?;
            let list = self.place_of(pair.stream)?;
            Some((list, core::cmp::Reverse(Turn::of(pair))))
        };
        let by_component = |id: &PairId| self.get(*id).map(|pair| pair.component);
        members.min_by_key(|id| {
            let (list, turn) = rank(id).unzip();
            (list, by_component(id), turn)
        })
    }

    /// Whether nothing is to be checked for the time being.
    pub(crate) const fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Checks nothing for the time being, or goes on.
    pub(crate) fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// Whether some list has something to check.
    pub(crate) fn has_work(&self) -> bool {
        !self.is_paused && self.has_waiting_work()
    }

    fn has_waiting_work(&self) -> bool {
        !self.fresh.is_empty() || self.lists.iter().any(|list| self.list_has_work(list))
    }

    fn list_has_work(&self, list: &Checklist) -> bool {
        !list.triggered.is_empty()
            || list.is_checked()
                && (list.waiting.next().is_some() || !list.frozen.0.is_empty() && self.can_unfreeze(list.stream))
    }

    /// Whether [`unfreeze_idle`](Self::unfreeze_idle) would find a pair.
    fn can_unfreeze(&self, stream: StreamId) -> bool {
        let Some(list) = self.list(stream) else { return false };
        let is_idle = |id: PairId| {
            let key = self.get(id).and_then(|pair| pair.group);
            key.is_some_and(|key| self.groups.idle().contains(&key))
        };
        // Those that are held are on the list, and have no turn.
        let mut members =
            self.groups.idle().iter().filter_map(|key| self.groups.get(*key)).flat_map(|group| &group.members);
        list.frozen.0.iter().any(|turn| is_idle(turn.pair()))
            || list.held > 0 && members.any(|id| self.is_frozen_in(stream, *id))
    }

    fn is_frozen_in(&self, stream: StreamId, id: PairId) -> bool {
        self.get(id).is_some_and(|pair| pair.stream == stream && pair.state.get() == CandidatePairState::Frozen)
    }

    /// The pair to check now: of the lists in turn, a triggered one, or the Waiting one of the highest priority
    /// (RFC 8445 §6.1.4.2). It stays where it is until the check is recorded by [`start`](Self::start).
    pub(crate) fn next(&mut self) -> Option<PairId> {
        self.settle_fresh();
        if self.is_paused {
            return None;
        }
        for step in 0..self.lists.len() {
            let index = (self.turn + step) % self.lists.len();
            let mut found = self.next_triggered(index);
            let Some(list) = self.lists.get(index) else { continue };
            if found.is_none() && list.is_checked() {
                let stream = list.stream;
                // What is unfrozen may be held: then it is the turn of others.
                while self
                    .lists
                    .get(index)
                    .is_some_and(|list| list.waiting.next().is_none() && !list.frozen.0.is_empty())
                    && self.can_unfreeze(stream)
                {
                    self.unfreeze_idle(stream);
                }
                found = self.lists.get(index).and_then(|list| list.waiting.next());
            }
            if found.is_some() {
                self.turn = index + 1;
                return found;
            }
        }
        None
    }

    /// The first of the queue of triggered checks. What is not on a checklist leaves the queue.
    fn next_triggered(&mut self, index: usize) -> Option<PairId> {
        loop {
            let id = self.lists.get(index)?.triggered.front()?;
            if self.get(id).is_some_and(|pair| pair.group.is_some()) {
                return Some(id);
            }
            debug_assert!(false, "pair {id} has left and is queued");
            self.lists.get_mut(index)?.triggered.pop_front();
        }
    }

    /// Unfreezes one pair of this list in each group that nobody is busy with (RFC 8445 §6.1.4.2, step 2).
    fn unfreeze_idle(&mut self, stream: StreamId) {
        let idle: SmallVec<[PairFoundation; 8]> = self.groups.idle().iter().copied().collect();
        for key in idle {
            let Some(group) = self.groups.get(key) else { continue };
            let candidates = group.members.iter().copied().filter(|id| self.is_frozen_in(stream, *id));
            if let Some(id) = self.topmost(candidates) {
                self.change(id, PairState::unfreeze);
            }
        }
    }
}
