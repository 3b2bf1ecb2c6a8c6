//! The checklist set: pairs of all streams, freezing, and whose turn it is (RFC 8445 §6.1.2.6, §6.1.4.2).

#[cfg(feature = "sim")]
mod audit;

use alloc::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use super::changes::Changes;
use super::group::{GroupKey, Groups};
use super::{Checklist, ChecklistState, Turn};
use crate::check::TransactionKey;
use crate::pair::{CandidatePair, CandidatePairState, PairPriority, PairState, PairStats};
use crate::types::{Arena, CandidateId, ComponentId, PairId, Path, Recent, StreamId, work};

/// All pairs of an agent, and the checklists that they are on.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChecklistSet {
    pairs: Arena<CandidatePair>,
    /// Pairs on a checklist by their addresses.
    by_path: BTreeMap<Path, PairId>,
    /// All pairs whose path is a connection, which ends for all of them.
    connected: BTreeSet<(Path, PairId)>,
    lists: SmallVec<[Checklist; 1]>,
    groups: Groups,
    /// Pairs that were made since states were last given: a batch is judged as a whole (RFC 8838 §12).
    fresh: BTreeSet<PairId>,
    /// Index of the list whose turn is next.
    turn: usize,
    /// How many pairs are on the lists.
    listed: usize,
    /// Most pairs on the lists.
    limit: usize,
    /// Nothing is checked for the time being.
    is_paused: bool,
    /// Pairs that were made, removed or touched, each once, if somebody wants to know what has changed.
    changes: Option<Changes>,
}

/// A pair to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewPair {
    pub(crate) stream: StreamId,
    pub(crate) component: ComponentId,
    pub(crate) generation: u32,
    pub(crate) local: CandidateId,
    pub(crate) remote: CandidateId,
    pub(crate) path: Path,
    pub(crate) priority: PairPriority,
    pub(crate) group: GroupKey,
}

/// A pair that is on no list any more, and in no queue of the lists. Whoever knew it has to let it go.
#[derive(Clone, Debug)]
#[must_use = "others may know it still"]
pub(crate) struct Departed(pub(crate) CandidatePair);

/// Why a pair is made: which others may have to go for it when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insert {
    /// Both candidates are known: failed pairs go, then ones of lower priority (RFC 8838 §10).
    Formed,
    /// The peer checks it: any pair goes of which nothing was heard.
    Triggered,
}

impl ChecklistSet {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Whether changes are kept for [`next_change`](Self::next_change).
    pub(crate) fn log_changes(&mut self, wanted: bool) {
        self.changes = wanted.then(Changes::default);
    }

    /// How many changes are kept, and how many pairs there are.
    #[cfg(feature = "sim")]
    pub(crate) fn change_count(&self) -> (usize, usize) {
        (self.changes.as_ref().map_or(0, Changes::len), self.pairs.len())
    }

    /// The next pair that may have changed or is gone, until it is [forgotten](Self::forget_change).
    pub(crate) fn next_change(&self) -> Option<PairId> {
        self.changes.as_ref()?.next()
    }

    /// Goes on to the next pair that may have changed.
    pub(crate) fn forget_change(&mut self) {
        let pairs = &self.pairs;
        let is_there = |id: PairId| pairs.get(id).is_some();
        let Some(id) = self.changes.as_mut().and_then(|changes| changes.forget(is_there)) else { return };
        if let Some(pair) = self.pairs.get_mut(id) {
            pair.is_noted = false;
        }
    }

    /// Records that somebody was told of a pair, and wants to hear of its end.
    pub(crate) fn note_told(&mut self, id: PairId) {
        if let Some(pair) = self.peek_mut(id) {
            pair.is_told = true;
        }
    }

    /// A pair, which is not noted.
    fn peek_mut(&mut self, id: PairId) -> Option<&mut CandidatePair> {
        self.pairs.get_mut(id)
    }

    pub(crate) fn add_list(&mut self, stream: StreamId) {
        self.lists.push(Checklist::new(stream));
    }

    /// Takes a list out of the set whose pairs were removed before.
    pub(crate) fn remove_list(&mut self, stream: StreamId) {
        let Some(place) = self.place_of(stream) else { return };
        self.lists.remove(place);
        // Whose turn it is stays so.
        self.turn -= usize::from(place < self.turn);
    }

    pub(crate) fn list(&self, stream: StreamId) -> Option<&Checklist> {
        self.lists.get(self.place_of(stream)?)
    }

    pub(crate) fn list_mut(&mut self, stream: StreamId) -> Option<&mut Checklist> {
        let place = self.place_of(stream)?;
        self.lists.get_mut(place)
    }

    /// Lists are in the order of their streams.
    fn place_of(&self, stream: StreamId) -> Option<usize> {
        self.lists.binary_search_by_key(&stream, |list| list.stream).ok()
    }

    /// The state of the ICE session (RFC 8445 §6.1.3).
    pub(crate) fn session_state(&self) -> ChecklistState {
        ChecklistState::of_session(self.lists.iter().map(|list| list.state))
    }

    pub(crate) fn get(&self, id: PairId) -> Option<&CandidatePair> {
        work::count();
        self.pairs.get(id)
    }

    /// A pair to be changed, which is noted.
    pub(crate) fn get_mut(&mut self, id: PairId) -> Option<&mut CandidatePair> {
        let pair = self.pairs.get_mut(id)?;
        if let Some(changes) = self.changes.as_mut().filter(|_| !pair.is_noted) {
            pair.is_noted = true;
            changes.note(id);
        }
        Some(pair)
    }

    /// Records that a pair is on no valid list any more, as the first step of what is done to it: that is what is noted.
    pub(crate) fn invalidate(&mut self, id: PairId) {
        if let Some(pair) = self.pairs.get_mut(id) {
            pair.is_valid = false;
        }
    }

    /// The pair on a checklist with these addresses.
    pub(crate) fn find(&self, path: &Path) -> Option<PairId> {
        self.by_path.get(path).copied()
    }

    /// All pairs whose packets take this connection, on a checklist or beside.
    pub(crate) fn all_on(&self, path: &Path) -> impl Iterator<Item = PairId> + '_ {
        let (first, last) = (PairId { serial: 0, slot: 0 }, PairId { serial: u64::MAX, slot: u32::MAX });
        self.connected.range((*path, first)..=(*path, last)).inspect(|_| work::count()).map(|(_, id)| *id)
    }

    /// All pairs, oldest slot first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &CandidatePair> {
        self.pairs.iter().inspect(|_| work::count())
    }

    /// The number of the next pair.
    pub(crate) const fn next_serial(&self) -> u64 {
        self.pairs.next_serial()
    }

    /// Number of pairs on the checklists.
    pub(crate) const fn len(&self) -> usize {
        self.listed
    }

    /// How many pairs of the set are Waiting or In-Progress (RFC 8445 §14.3).
    pub(crate) fn busy(&self) -> usize {
        self.lists.iter().map(|list| list.waiting.0.len() + list.in_progress).sum()
    }

    /// The pairs of a component with a higher priority than this one that are not done.
    pub(crate) fn better_pending(
        &self,
        place: (StreamId, ComponentId),
        than: PairPriority,
    ) -> impl Iterator<Item = &CandidatePair> {
        self.iter().filter(move |pair| {
            let is_done = matches!(pair.state.get(), CandidatePairState::Succeeded | CandidatePairState::Failed);
            (pair.stream, pair.component) == place && pair.priority > than && !is_done
        })
    }

    /// Puts a pair on the checklist of its stream, Frozen for now; gives the pairs that had to go for it.
    ///
    /// `None` if there are too many pairs and none that may go.
    pub(crate) fn insert(&mut self, new: &NewPair, why: Insert) -> Option<(PairId, Option<Departed>)> {
        let evicted = if self.listed >= self.limit {
            let victim = self.victim(new, why)?;
            self.remove(victim)
        } else {
            None
        };
        let id = self.store(new, PairState::FROZEN, Some(new.group));
        self.by_path.insert(new.path, id);
        self.listed += 1;
        let turn = self.get(id).map(Turn::of);
        if let (Some(list), Some(turn)) = (self.list_mut(new.stream), turn) {
            list.listed += 1;
            list.frozen.insert(turn);
        }
        self.groups.update(new.group, |group| {
            group.members.insert(id);
            group.frozen += 1;
        });
        self.fresh.insert(id);
        Some((id, evicted))
    }

    /// Whether as many pairs are on no checklist as there may be on all of them.
    pub(crate) fn is_full_beside_lists(&self) -> bool {
        self.pairs.len() - self.listed >= self.limit
    }

    /// Adds a pair that another pair's check made valid; it is on no checklist (RFC 8445 §7.2.5.3.2). `None` if there are too
    /// many.
    pub(crate) fn insert_valid(&mut self, new: &NewPair) -> Option<PairId> {
        (!self.is_full_beside_lists()).then(|| self.store(new, PairState::SUCCEEDED, None))
    }

    /// Adds a pair that is never checked: of a lite agent (RFC 8445 §7.3.2). `None` if there are too many.
    pub(crate) fn insert_unchecked(&mut self, new: &NewPair) -> Option<PairId> {
        let id = self.insert_valid(new)?;
        self.by_path.insert(new.path, id);
        Some(id)
    }

    fn store(&mut self, new: &NewPair, state: PairState, group: Option<GroupKey>) -> PairId {
        let is_noted = self.changes.is_some();
        let id = self.pairs.insert(|id| CandidatePair {
            id,
            stream: new.stream,
            component: new.component,
            generation: new.generation,
            known_as: new.generation,
            local: new.local,
            remote: new.remote,
            path: new.path,
            priority: new.priority,
            state,
            group,
            is_queued: false,
            is_held: false,
            is_triggered_later: false,
            is_retired: false,
            is_valid: false,
            produced: None,
            produced_by: None,
            twin: None,
            is_nominated: false,
            is_nominating: false,
            nomination: None,
            nominating_transactions: Recent::default(),
            has_plain_check: false,
            answered_at: None,
            last_sent_at: None,
            last_check_at: None,
            announced: None,
            heard_check_at: None,
            is_alias: false,
            smoothed_round_trip: None,
            is_protected: false,
            consent: None,
            is_barred: false,
            has_timed_out: false,
            urgent_since: None,
            role_conflicts: 0,
            server_errors: 0,
            is_noted,
            is_told: false,
            stats: PairStats::default(),
        });
        self.changes.iter_mut().for_each(|changes| changes.note(id));
        if new.path.flow.is_some() {
            self.connected.insert((new.path, id));
        }
        id
    }

    /// Which pair goes for a new one.
    fn victim(&self, new: &NewPair, why: Insert) -> Option<PairId> {
        let is_free = |id: &PairId| self.get(*id).is_some_and(CandidatePair::may_go);
        let own = self.list(new.stream);
        let failed = own.into_iter().chain(&self.lists).find_map(|list| list.failed.iter().find(is_free));
        if failed.is_some() {
            return failed;
        }
        // Every list loses equally many: the longest one goes first (RFC 8445 §6.1.2.5).
        let longest = self
            .lists
            .iter()
            .filter(|list| list.least().is_some())
            .max_by_key(|list| (list.waiting.0.len() + list.frozen.0.len(), list.stream == new.stream));
        if let Some(least) = longest.and_then(Checklist::least) {
            let is_dispensable = why == Insert::Triggered
                || least.priority < new.priority
                || longest
                    .is_some_and(|list| list.stream != new.stream && own.is_none_or(|own| own.listed < list.listed));
            if is_dispensable && is_free(&least.pair()) {
                return Some(least.pair());
            }
        }
        if why == Insert::Formed {
            return None;
        }
        // An authenticated check tells more than the silence of one that nobody answered.
        let unanswered = |pair: &&CandidatePair| {
            pair.state.get() == CandidatePairState::InProgress && pair.heard_check_at.is_none() && is_free(&pair.id)
        };
        self.iter().filter(unanswered).min_by_key(|pair| pair.priority).map(|pair| pair.id)
    }

    /// Takes a pair off its list and forgets it.
    pub(crate) fn remove(&mut self, id: PairId) -> Option<Departed> {
        self.dequeue(id);
        self.leave_state(id);
        let pair = self.pairs.remove(id)?;
        let pairs = &self.pairs;
        if let Some(changes) = &mut self.changes {
            changes.end(id, pair.is_noted, pair.is_told, |id| pairs.get(id).is_some());
        }
        self.connected.remove(&(pair.path, id));
        if self.by_path.get(&pair.path) == Some(&id) {
            self.by_path.remove(&pair.path);
        }
        if let Some(key) = pair.group {
            self.listed -= 1;
            self.fresh.remove(&id);
            self.groups.update(key, |group| {
                group.members.remove(&id);
            });
            if let Some(list) = self.list_mut(pair.stream) {
                list.listed -= 1;
            }
        }
        Some(Departed(pair))
    }

    /// Takes a pair off its checklist and keeps it: it stays in use while a new generation is checked. Gives its check in
    /// progress, for which nobody waits any more.
    pub(crate) fn delist(&mut self, id: PairId) -> Option<TransactionKey> {
        self.dequeue(id);
        self.leave_state(id);
        let pair = self.get_mut(id)?;
        let in_progress = pair.state.transaction();
        // In whatever state it was: it is used because it worked.
        pair.state = PairState::SUCCEEDED;
        pair.produced = None;
        let checked = pair.produced_by.take();
        pair.is_nominating = false;
        pair.is_held = false;
        pair.is_triggered_later = false;
        let (path, stream, group) = (pair.path, pair.stream, pair.group.take());
        if let Some(checked) = checked.and_then(|checked| self.get_mut(checked)) {
            checked.produced.take_if(|produced| *produced == id);
        }
        if self.by_path.get(&path) == Some(&id) {
            self.by_path.remove(&path);
        }
        let Some(key) = group else { return in_progress };
        self.listed -= 1;
        self.fresh.remove(&id);
        self.groups.update(key, |group| {
            group.members.remove(&id);
        });
        if let Some(list) = self.list_mut(stream) {
            list.listed -= 1;
        }
        in_progress
    }

    /// Undoes what the indexes say of the pair's state. Every change of state stands between this and `enter_state`.
    fn leave_state(&mut self, id: PairId) {
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

    /// Gives a pair other candidates or another priority, in place (RFC 8838 §11).
    pub(crate) fn amend(&mut self, id: PairId, change: impl FnOnce(&mut CandidatePair)) {
        let Some((before, state)) = self.get(id).map(|pair| (pair.group, pair.state.get())) else { return };
        // Those that have failed are in the order of their failures, whatever their priority.
        let has_turn = state != CandidatePairState::Failed;
        if has_turn {
            self.leave_state(id);
        }
        let Some(pair) = self.get_mut(id) else { return };
        change(pair);
        let behind = pair.group;
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

    /// Gives new pairs their first state: the topmost of a foundation, and those of a proven one, wait; the others stay
    /// frozen (RFC 8445 §6.1.2.6, RFC 8838 §12).
    pub(crate) fn settle_fresh(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        let fresh = core::mem::take(&mut self.fresh);
        // Of each foundation it is one and the same for the whole batch.
        let mut topmost: BTreeMap<GroupKey, Option<PairId>> = BTreeMap::new();
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

    /// Puts a pair into the triggered-check queue, once (RFC 8445 §6.1.4.1); gives the check in progress, which is
    /// superseded. A pair that has succeeded is queued, too: to be nominated. One that is on no checklist is not checked.
    pub(crate) fn trigger(&mut self, id: PairId) -> Option<TransactionKey> {
        let superseded = self.get(id).filter(|pair| pair.group.is_some())?.state.transaction();
        self.leave_state(id);
        if let Some(pair) = self.get_mut(id) {
            pair.is_retired = false;
        }
        self.enter_state(id);
        self.change(id, PairState::trigger);
        let pair = self.get_mut(id)?;
        if pair.is_held {
            pair.is_triggered_later = true;
            return superseded;
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
        superseded
    }

    /// Lets a pair that has failed be checked in its turn once more.
    pub(crate) fn wait_again(&mut self, id: PairId) {
        if self.get(id).is_some_and(|pair| pair.state.get() == CandidatePairState::Failed) {
            self.change(id, PairState::trigger);
        }
    }

    /// Lets a pair take no turn until it is [released](Self::release).
    #[cfg(feature = "turn")]
    pub(crate) fn hold(&mut self, id: PairId) {
        let is_queued = self.get(id).is_some_and(|pair| pair.is_queued);
        self.dequeue(id);
        self.leave_state(id);
        if let Some(pair) = self.get_mut(id) {
            pair.is_held = true;
            pair.is_triggered_later |= is_queued;
        }
        self.enter_state(id);
    }

    /// Lets a pair take its turn.
    #[cfg(feature = "turn")]
    pub(crate) fn release(&mut self, id: PairId) {
        if !self.get(id).is_some_and(|pair| pair.is_held) {
            return;
        }
        self.leave_state(id);
        let mut is_triggered = false;
        if let Some(pair) = self.get_mut(id) {
            pair.is_held = false;
            is_triggered = core::mem::take(&mut pair.is_triggered_later);
        }
        self.enter_state(id);
        if is_triggered {
            self.trigger(id);
        }
    }

    /// Fails a pair that can never take its turn.
    #[cfg(feature = "turn")]
    pub(crate) fn refuse(&mut self, id: PairId) {
        if let Some(pair) = self.get_mut(id) {
            pair.is_triggered_later = false;
        }
        self.release(id);
        self.dequeue(id);
        self.change(id, PairState::unfreeze);
        self.change(id, PairState::abandon);
        self.change(id, PairState::fail);
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

    /// Appends what it will do as text, but for the pairs and what follows from them.
    #[cfg(feature = "sim")]
    pub(crate) fn write_state(&self, out: &mut alloc::string::String) {
        use core::fmt::Write;
        let _ = write!(out, "{:?}{}{}", self.fresh, self.turn, self.is_paused);
        for list in &self.lists {
            // The order of triggered checks and of failures is all that the pairs do not tell.
            let _ = write!(out, "{:?}{:?}{:?}{}", list.state, list.triggered, list.failed, list.outlives_nomination);
        }
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

    /// Takes a pair out of turn that cannot be checked: another one is next.
    pub(crate) fn skip(&mut self, id: PairId) {
        self.dequeue(id);
        let has_moved = self.change(id, PairState::abandon);
        if !has_moved {
            // Whatever it is doing there.
            self.lists.iter_mut().for_each(|list| list.waiting.0.retain(|turn| turn.pair() != id));
        }
    }

    /// Unfreezes one pair of this list in each group that nobody is busy with (RFC 8445 §6.1.4.2, step 2).
    fn unfreeze_idle(&mut self, stream: StreamId) {
        let idle: SmallVec<[GroupKey; 8]> = self.groups.idle().iter().copied().collect();
        for key in idle {
            let Some(group) = self.groups.get(key) else { continue };
            let candidates = group.members.iter().copied().filter(|id| self.is_frozen_in(stream, *id));
            if let Some(id) = self.topmost(candidates) {
                self.change(id, PairState::unfreeze);
            }
        }
    }

    /// Records that a check of the pair was sent.
    pub(crate) fn start(&mut self, id: PairId, key: TransactionKey) {
        self.dequeue(id);
        self.change(id, |state| state.start(key));
    }

    /// Records that a check of the pair was answered, and unfreezes the pairs of its foundation (RFC 8445 §7.2.5.3.3).
    pub(crate) fn succeed(&mut self, id: PairId) -> Option<TransactionKey> {
        let in_progress = self.get(id).and_then(|pair| pair.state.transaction());
        // A nomination that waits to be sent is not what an earlier check was about.
        if self.get(id).is_some_and(|pair| !pair.is_nominating) {
            self.dequeue(id);
        }
        self.change(id, PairState::succeed);
        let key = self.get(id).and_then(|pair| pair.group)?;
        if self.groups.get(key).is_some_and(|group| group.frozen > 0) {
            let members = self.groups.get(key).map(|group| group.members.clone()).unwrap_or_default();
            for member in members {
                self.change(member, PairState::unfreeze);
            }
        }
        in_progress
    }

    /// Records that a check of the pair failed.
    pub(crate) fn fail(&mut self, id: PairId) {
        self.dequeue(id);
        self.change(id, PairState::fail);
    }

    /// Takes a pair out of turn that cannot be checked.
    pub(crate) fn give_up(&mut self, id: PairId) {
        self.change(id, PairState::abandon);
    }

    /// Forgets which pairs were to be nominated, by either side: the roles have changed.
    pub(crate) fn forget_nominations(&mut self) {
        for pair in self.pairs.iter_mut() {
            pair.is_nominating = false;
            if !pair.is_nominated {
                pair.nomination = None;
            }
        }
    }

    /// Puts the pairs of a component off that are not done: they are checked again when nothing else is to do, and hold up
    /// no other list meanwhile. Gives the checks in progress.
    pub(crate) fn shelve(&mut self, component: (StreamId, ComponentId)) -> SmallVec<[TransactionKey; 8]> {
        let mut cancelled = SmallVec::new();
        for slot in self.pairs.slots() {
            let Some(pair) = self.pairs.in_slot(slot) else { continue };
            let is_done = matches!(pair.state.get(), CandidatePairState::Succeeded | CandidatePairState::Failed);
            if (pair.stream, pair.component) != component || pair.group.is_none() {
                continue;
            }
            let id = pair.id;
            cancelled.extend(pair.state.transaction());
            self.dequeue(id);
            if !is_done {
                self.change(id, PairState::shelve);
            }
        }
        cancelled
    }

    /// Forgets the pairs of a component that were not checked yet, save those that `keep` holds for; gives the checks in
    /// progress of the others, for which nobody waits any more: neither their list nor their foundation (RFC 8445 §8.1.2).
    pub(crate) fn retire(
        &mut self,
        component: (StreamId, ComponentId),
        keep: impl Fn(&CandidatePair) -> bool,
    ) -> (SmallVec<[Departed; 8]>, SmallVec<[TransactionKey; 8]>) {
        let mut removed = SmallVec::new();
        let mut cancelled = SmallVec::new();
        for slot in self.pairs.slots() {
            let Some(pair) = self.pairs.in_slot(slot) else { continue };
            if (pair.stream, pair.component) != component || pair.group.is_none() || pair.is_protected || keep(pair) {
                continue;
            }
            let id = pair.id;
            match pair.state.get() {
                CandidatePairState::Frozen | CandidatePairState::Waiting => removed.extend(self.remove(id)),
                CandidatePairState::InProgress => {
                    cancelled.extend(pair.state.transaction());
                    self.leave_state(id);
                    if let Some(pair) = self.get_mut(id) {
                        pair.is_retired = true;
                    }
                    self.enter_state(id);
                }
                CandidatePairState::Succeeded => self.dequeue(id),
                CandidatePairState::Failed => {}
            }
        }
        (removed, cancelled)
    }
}

#[cfg(test)]
mod tests;
