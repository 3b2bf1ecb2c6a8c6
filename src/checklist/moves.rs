//! What becomes of a pair: each change of its state, with what the lists, groups and transactions have to know of it.

use smallvec::SmallVec;

use super::list::Turn;
use super::{
    CandidatePair, CandidatePairState, ChecklistSet, ChecklistState, Departed, PairFoundation, PairPriority, PairState,
    TransactionKey,
};
use crate::types::{CandidateId, ComponentId, PairId, Path, StreamId};

/// Why a pair is not checked on, or not used any more.
///
/// | | waits to be triggered | state | its check | |
/// |---|---|---|---|---|
/// | `Failed` | no more | Failed | counts if answered late | may be triggered |
/// | `Postponed` | no more | Failed, unless Succeeded | counts if answered late | may be triggered |
/// | `AwaitsPermission` | once it is permitted | the same, without turns | goes on | until [`permit`](ChecklistSet::permit) |
/// | `ConsentLost` | no more | Failed | counts for nothing | never again with these credentials |
/// | `Superseded` | no more | the same; one without a check is gone | counts if answered late | nobody waits for it |
/// | `Removed` | | gone | ends | |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its check got no usable answer, or it works no more.
    Failed,
    /// Another pair was nominated, and a later nomination may come to this one.
    Postponed,
    /// The server that relays for it does not let its packets through yet (RFC 8656 §9).
    #[cfg_attr(not(feature = "turn"), expect(dead_code, reason = "relays alone ask for permissions"))]
    AwaitsPermission,
    /// The peer does not consent any more (RFC 7675 §5.1).
    ConsentLost,
    /// Another pair was nominated, for good (RFC 8445 §8.1.2).
    Superseded,
    /// Its candidates are gone, or somebody wants it to be gone.
    Removed,
}

/// What a pair is given in place of what it has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Update {
    pub(crate) local: Option<CandidateId>,
    pub(crate) remote: Option<CandidateId>,
    pub(crate) priority: Option<PairPriority>,
    /// Counts only for a pair on a checklist.
    pub(crate) foundation: Option<PairFoundation>,
}

impl ChecklistSet {
    /// Undoes what the indexes say of the pair's state. Every change of state stands between this and `enter_state`.
    pub(super) fn leave_state(&mut self, id: PairId) {
        self.count(id, false);
    }

    fn enter_state(&mut self, id: PairId) {
        self.count(id, true);
    }

    fn count(&mut self, id: PairId, is_entering: bool) {
        let Some(pair) = self.get(id) else { return };
        let (Some(key), state, turn, stream) = (pair.group, pair.state.get(), Turn::of(pair), pair.stream) else {
            return;
        };
        let is_held = pair.is_held;
        if pair.is_retired && state == CandidatePairState::InProgress {
            return;
        }
        let step = |count: &mut usize| *count = if is_entering { *count + 1 } else { count.saturating_sub(1) };
        self.groups.update(key, |group| match state {
            CandidatePairState::Frozen => step(&mut group.frozen),
            CandidatePairState::Waiting | CandidatePairState::InProgress => step(&mut group.busy),
            CandidatePairState::Succeeded => step(&mut group.succeeded),
            CandidatePairState::Failed => {}
        });
        let Some(list) = self.list_mut(stream) else { return };
        match (state, is_entering) {
            (CandidatePairState::Frozen | CandidatePairState::Waiting, _) if is_held => step(&mut list.held),
            (CandidatePairState::Frozen, true) => list.frozen.insert(turn),
            (CandidatePairState::Frozen, false) => list.frozen.remove(turn),
            (CandidatePairState::Waiting, true) => list.waiting.insert(turn),
            (CandidatePairState::Waiting, false) => list.waiting.remove(turn),
            (CandidatePairState::InProgress, _) => step(&mut list.in_progress),
            (CandidatePairState::Failed, true) => list.failed.push_back(id),
            (CandidatePairState::Failed, false) => {
                list.failed.remove(&id);
            }
            (CandidatePairState::Succeeded, _) => {}
        }
    }

    /// Changes the state of a pair by one of its moves; `false` if the move is not one of its state.
    pub(super) fn change(&mut self, id: PairId, step: impl FnOnce(&mut PairState) -> bool) -> bool {
        self.leave_state(id);
        let has_changed = self.get_mut(id).is_some_and(|pair| step(&mut pair.state));
        self.enter_state(id);
        has_changed
    }

    /// Gives a pair another path, because the peer has opened its connection anew.
    pub(crate) fn move_to(&mut self, id: PairId, path: Path) {
        let Some(pair) = self.get_mut(id) else { return };
        let before = core::mem::replace(&mut pair.path, path);
        if self.connected.remove(&(before, id)) {
            self.connected.insert((path, id));
        }
        if self.by_path.get(&before) == Some(&id) {
            self.by_path.remove(&before);
            self.by_path.insert(path, id);
        }
    }

    /// Takes a pair out of turn, for one of six reasons; gives it if it is gone.
    pub(crate) fn drop(&mut self, id: PairId, why: Why) -> Option<Departed> {
        let pair = self.get(id)?;
        let (state, is_held) = (pair.state.get(), pair.is_held);
        match why {
            Why::Removed => return self.remove(id),
            Why::Superseded if matches!(state, CandidatePairState::Frozen | CandidatePairState::Waiting) => {
                return self.remove(id);
            }
            Why::AwaitsPermission => self.hold(id),
            Why::Superseded => {
                self.stop_check(id);
                self.retire(id);
            }
            Why::Postponed if state == CandidatePairState::Succeeded => self.dequeue(id),
            Why::Failed | Why::Postponed | Why::ConsentLost => {
                self.stop_check(id);
                self.dequeue(id);
                if is_held {
                    self.free(id);
                }
                self.change(id, PairState::fail);
            }
        }
        if why == Why::ConsentLost {
            if let Some(pair) = self.get_mut(id) {
                pair.is_barred = true;
            }
        }
        None
    }

    /// Drops the pairs of a component, save those that `keep` holds for; gives those that are gone.
    pub(crate) fn drop_others(
        &mut self,
        component: (StreamId, ComponentId),
        why: Why,
        keep: impl Fn(&CandidatePair) -> bool,
    ) -> SmallVec<[Departed; 8]> {
        let mut gone = SmallVec::new();
        if why == Why::Superseded {
            let is_unchecked = |pair: &&CandidatePair| {
                matches!(pair.state.get(), CandidatePairState::Frozen | CandidatePairState::Waiting) && pair.is_valid
            };
            let is_of = |pair: &&CandidatePair| (pair.stream, pair.component) == component && pair.group.is_some();
            let unchecked = self.iter().filter(is_of).filter(is_unchecked).filter(|pair| !keep(pair));
            let unchecked: SmallVec<[PairId; 8]> = unchecked.map(|pair| pair.id).collect();
            self.invalidate_all(&unchecked);
        }
        for slot in self.pairs.slots() {
            let Some(pair) = self.pairs.in_slot(slot) else { continue };
            if (pair.stream, pair.component) == component && pair.group.is_some() && !keep(pair) {
                gone.extend(self.drop(pair.id, why));
            }
        }
        gone
    }

    /// Repeats the check of a pair no more; its answer counts all the same.
    fn stop_check(&mut self, id: PairId) {
        if let Some(key) = self.get(id).and_then(|pair| pair.state.transaction()) {
            self.transactions.cancel(key);
        }
    }

    /// Lets neither its list nor its foundation wait for a pair.
    fn retire(&mut self, id: PairId) {
        match self.get(id).map(|pair| pair.state.get()) {
            Some(CandidatePairState::InProgress) => {
                self.leave_state(id);
                if let Some(pair) = self.get_mut(id) {
                    pair.is_retired = true;
                }
                self.enter_state(id);
            }
            Some(CandidatePairState::Succeeded) => self.dequeue(id),
            Some(CandidatePairState::Frozen | CandidatePairState::Waiting | CandidatePairState::Failed) | None => {}
        }
    }

    fn hold(&mut self, id: PairId) {
        let is_queued = self.get(id).is_some_and(|pair| pair.is_queued);
        self.dequeue(id);
        self.leave_state(id);
        if let Some(pair) = self.get_mut(id) {
            pair.is_held = true;
            pair.is_triggered_later |= is_queued;
        }
        self.enter_state(id);
    }

    /// Gives a pair its turns back; whether it was to be triggered.
    fn free(&mut self, id: PairId) -> bool {
        self.leave_state(id);
        let mut is_triggered = false;
        if let Some(pair) = self.get_mut(id) {
            pair.is_held = false;
            is_triggered = core::mem::take(&mut pair.is_triggered_later);
        }
        self.enter_state(id);
        is_triggered
    }

    /// Lets a pair take its turn that was dropped because it [awaits a permission](Why::AwaitsPermission).
    #[cfg(feature = "turn")]
    pub(crate) fn permit(&mut self, id: PairId) {
        if self.get(id).is_some_and(|pair| pair.is_held) && self.free(id) {
            self.trigger(id);
        }
    }

    /// Puts a pair into the triggered-check queue, once (RFC 8445 §6.1.4.1); the check in progress is superseded. A pair that has
    /// succeeded is queued, too: to be nominated. One that is on no checklist is not checked, and one without consent neither.
    pub(crate) fn trigger(&mut self, id: PairId) {
        if !self.get(id).is_some_and(|pair| pair.group.is_some() && !pair.is_barred) {
            return;
        }
        self.stop_check(id);
        self.leave_state(id);
        if let Some(pair) = self.get_mut(id) {
            pair.is_retired = false;
        }
        self.enter_state(id);
        self.change(id, PairState::trigger);
        let Some(pair) = self.get_mut(id) else { return };
        if pair.is_held {
            pair.is_triggered_later = true;
            return;
        }
        let stream = pair.stream;
        if !core::mem::replace(&mut pair.is_queued, true) {
            if let Some(list) = self.list_mut(stream) {
                list.triggered.push_back(id);
                if list.state == ChecklistState::Failed {
                    list.state = ChecklistState::Running;
                }
            }
        }
    }

    /// Lets a pair that has failed be checked in its turn once more.
    pub(crate) fn wait_again(&mut self, id: PairId) {
        if self.get(id).is_some_and(|pair| pair.state.get() == CandidatePairState::Failed) {
            self.change(id, PairState::trigger);
        }
    }

    /// Takes a pair out of the triggered-check queue.
    pub(crate) fn dequeue(&mut self, id: PairId) {
        let Some(pair) = self.get_mut(id).filter(|pair| pair.is_queued) else { return };
        pair.is_queued = false;
        let stream = pair.stream;
        if let Some(list) = self.list_mut(stream) {
            list.triggered.remove(&id);
        }
    }

    /// Takes a pair out of its turn that has nothing to send, or no way to: another one is next.
    pub(crate) fn skip(&mut self, id: PairId) {
        self.dequeue(id);
        let has_moved = self.change(id, PairState::abandon);
        if !has_moved {
            // Whatever it is doing there.
            self.lists.iter_mut().for_each(|list| list.waiting.0.retain(|turn| turn.pair() != id));
        }
    }

    /// Records that a check of the pair is on its way.
    pub(super) fn start(&mut self, id: PairId, key: TransactionKey) {
        self.dequeue(id);
        self.change(id, |state| state.start(key));
    }

    /// Records that a check of the pair was answered, and unfreezes the pairs of its foundation (RFC 8445 §7.2.5.3.3). Nothing
    /// depends on a check that is in progress, the answer to which counts all the same. A nomination that waits to be sent
    /// is not what an earlier check was about, and stays where it is.
    pub(crate) fn succeed(&mut self, id: PairId, is_nominating: bool) {
        self.stop_check(id);
        if !is_nominating {
            self.dequeue(id);
        }
        self.change(id, PairState::succeed);
        let Some(key) = self.get(id).and_then(|pair| pair.group) else { return };
        if self.groups.get(key).is_some_and(|group| group.frozen > 0) {
            let members = self.groups.get(key).map(|group| group.members.clone()).unwrap_or_default();
            for member in members {
                self.change(member, PairState::unfreeze);
            }
        }
    }

    /// Takes a pair off its checklist and keeps it: it stays in use while a new generation is checked.
    pub(crate) fn delist(&mut self, id: PairId) {
        self.dequeue(id);
        self.stop_check(id);
        self.leave_state(id);
        let Some(pair) = self.get_mut(id) else { return };
        // In whatever state it was: it is used because it worked.
        pair.state = PairState::SUCCEEDED;
        pair.produced = None;
        let checked = pair.produced_by.take();
        pair.is_held = false;
        pair.is_triggered_later = false;
        let (path, stream, group) = (pair.path, pair.stream, pair.group.take());
        if let Some(checked) = checked.and_then(|checked| self.get_mut(checked)) {
            checked.produced.take_if(|produced| *produced == id);
        }
        if self.by_path.get(&path) == Some(&id) {
            self.by_path.remove(&path);
        }
        if let Some(key) = group {
            self.leave_list(id, stream, key);
        }
    }

    /// Counts a pair on its list and in its foundation no more.
    pub(super) fn leave_list(&mut self, id: PairId, stream: StreamId, key: PairFoundation) {
        self.listed -= 1;
        self.fresh.remove(&id);
        self.groups.update(key, |group| {
            group.members.remove(&id);
        });
        if let Some(list) = self.list_mut(stream) {
            list.listed -= 1;
        }
    }

    /// Gives a pair other candidates, and with them another priority and foundation, in place (RFC 8838 §11).
    pub(crate) fn update(&mut self, id: PairId, to: Update) {
        let Some((before, state)) = self.get(id).map(|pair| (pair.group, pair.state.get())) else { return };
        // Those that have failed are in the order of their failures, whatever their priority.
        let has_turn = state != CandidatePairState::Failed;
        if has_turn {
            self.leave_state(id);
        }
        let behind = before.map(|before| to.foundation.unwrap_or(before));
        let Some(pair) = self.get_mut(id) else { return };
        pair.local = to.local.unwrap_or(pair.local);
        pair.remote = to.remote.unwrap_or(pair.remote);
        pair.priority = to.priority.unwrap_or(pair.priority);
        pair.group = behind;
        if before != behind {
            if let Some(key) = before {
                self.groups.update(key, |group| {
                    group.members.remove(&id);
                });
            }
            if let Some(key) = behind {
                self.groups.update(key, |group| {
                    group.members.insert(id);
                });
            }
        }
        if has_turn {
            self.enter_state(id);
        }
    }
}
