//! Checklists: the pairs of all streams, which of them is checked next, and what comes of it (RFC 8445 §6.1.2, §6.1.4).
//!
//! A [`ChecklistSet`] keeps the pairs of all streams, and the checks that are on their way. Each stream has one [`Checklist`]
//! with the pairs that wait for their turn in order of priority, those that are frozen, and the queue of triggered checks.
//! Pairs of the same foundation form a group over all checklists: one of them is checked first, and its success frees the
//! others.
//!
//! ```text
//!                insert                     next, begin                    succeed
//!   candidates ----------> Frozen, Waiting -------------> a transaction -------------> Succeeded
//!                               ^      |                     |     |
//!                               |      +------ drop ---------+-----+    Failed, put off, waiting for a permission,
//!                               +------------- trigger -----------------  without consent, superseded, removed
//! ```
//!
//! A pair and its check are changed together and in here alone, so nobody has to end a check whose pair is gone. Nothing here
//! looks at all pairs to find the next one: the lists are sorted, and the set keeps count.

#[cfg(feature = "sim")]
mod audit;
mod changes;
mod checks;
mod groups;
mod list;
mod moves;
mod pair;
mod pair_state;
mod records;
#[cfg(test)]
mod tests;
mod transactions;
mod turns;
mod valid;
#[cfg(test)]
mod work_tests;

use alloc::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use changes::Changes;
use groups::Groups;
pub(crate) use groups::PairFoundation;
pub(crate) use list::Checklist;
pub use list::ChecklistState;
use list::Turn;
pub(crate) use moves::{Update, Why};
pub(crate) use pair::CandidatePair;
pub use pair::PairPriority;
pub use pair_state::CandidatePairState;
use pair_state::PairState;
pub(crate) use records::Repeat;
use transactions::TransactionTable;
pub(crate) use transactions::{Due, Purpose, Start, Transaction, TransactionKey};

use crate::types::{Arena, CandidateId, ComponentId, PairId, Path, Schedule, StreamId, work};

/// All pairs of an agent, the checklists that they are on, and the checks on their way.
#[derive(Clone, Debug)]
pub(crate) struct ChecklistSet {
    pairs: Arena<CandidatePair>,
    transactions: TransactionTable,
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
    pub(crate) group: PairFoundation,
}

/// A pair that is on no list any more, and in no queue of the lists. Whoever knew it has to let it go.
#[derive(Clone, Debug)]
#[must_use = "others may know it still"]
pub(crate) struct Departed {
    pub(crate) pair: CandidatePair,
    /// Pairs beside the lists that nothing is left to check.
    pub(crate) orphans: SmallVec<[PairId; 1]>,
}

/// Why a pair is made: which others may have to go for it when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insert {
    /// Both candidates are known: failed pairs go, then ones of lower priority (RFC 8838 §10).
    Formed,
    /// The peer checks it: any pair goes of which nothing was heard.
    Triggered,
}

impl ChecklistSet {
    /// A set without lists, for so many pairs.
    pub(crate) fn new(limit: usize, schedule: Schedule) -> Self {
        Self {
            pairs: Arena::new(),
            transactions: TransactionTable::new(schedule),
            by_path: BTreeMap::new(),
            connected: BTreeSet::new(),
            lists: SmallVec::new(),
            groups: Groups::default(),
            fresh: BTreeSet::new(),
            turn: 0,
            listed: 0,
            limit,
            is_paused: false,
            changes: None,
        }
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
        if let Some(pair) = self.pairs.get_mut(id) {
            pair.is_told = true;
        }
    }

    /// Adds a list for a stream with so many components; streams are added in the order of their ids.
    pub(crate) fn add_list(&mut self, stream: StreamId, components: u16) {
        self.lists.push(Checklist::new(stream, components));
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

    fn list_mut(&mut self, stream: StreamId) -> Option<&mut Checklist> {
        let place = self.place_of(stream)?;
        self.lists.get_mut(place)
    }

    /// Lists are in the order of their streams.
    fn place_of(&self, stream: StreamId) -> Option<usize> {
        self.lists.binary_search_by_key(&stream, |list| list.stream).ok()
    }

    /// Records how a list is doing, and whether its checks go on once every component has a nominated pair.
    pub(crate) fn conclude(&mut self, stream: StreamId, state: ChecklistState, outlives_nomination: bool) {
        if let Some(list) = self.list_mut(stream) {
            (list.state, list.outlives_nomination) = (state, outlives_nomination);
        }
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
    fn get_mut(&mut self, id: PairId) -> Option<&mut CandidatePair> {
        let pair = self.pairs.get_mut(id)?;
        if let Some(changes) = self.changes.as_mut().filter(|_| !pair.is_noted) {
            pair.is_noted = true;
            changes.note(id);
        }
        Some(pair)
    }

    /// Notes that something has changed about a pair which somebody may want to know.
    pub(crate) fn note(&mut self, id: PairId) {
        self.get_mut(id);
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
    ///
    /// Pairs that `is_wanted` holds for stay in any case: somebody wants to nominate them.
    pub(crate) fn insert(
        &mut self,
        new: &NewPair,
        why: Insert,
        is_wanted: impl Fn(&CandidatePair) -> bool,
    ) -> Option<(PairId, Option<Departed>)> {
        let evicted = if self.listed >= self.limit {
            let victim = self.victim(new, why, is_wanted)?;
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

    fn store(&mut self, new: &NewPair, state: PairState, group: Option<PairFoundation>) -> PairId {
        let is_noted = self.changes.is_some();
        let id = self.pairs.insert(|id| CandidatePair::new(id, new, state, group, is_noted));
        self.changes.iter_mut().for_each(|changes| changes.note(id));
        if new.path.flow.is_some() {
            self.connected.insert((new.path, id));
        }
        id
    }

    /// Which pair goes for a new one.
    fn victim(&self, new: &NewPair, why: Insert, is_wanted: impl Fn(&CandidatePair) -> bool) -> Option<PairId> {
        let is_free = |id: &PairId| self.get(*id).is_some_and(|pair| pair.may_go() && !is_wanted(pair));
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
    fn remove(&mut self, id: PairId) -> Option<Departed> {
        self.dequeue(id);
        self.leave_state(id);
        let pair = self.pairs.remove(id)?;
        if let Some(key) = pair.state.transaction() {
            self.transactions.remove(key);
        }
        let pairs = &self.pairs;
        if let Some(changes) = &mut self.changes {
            changes.end(id, pair.is_noted, pair.is_told, |id| pairs.get(id).is_some());
        }
        self.connected.remove(&(pair.path, id));
        if self.by_path.get(&pair.path) == Some(&id) {
            self.by_path.remove(&pair.path);
        }
        if let Some(key) = pair.group {
            self.leave_list(id, pair.stream, key);
        }
        if pair.is_valid {
            self.leave_valid_list((pair.stream, pair.component), id);
        }
        if let Some(checked) = pair.produced_by.and_then(|checked| self.get_mut(checked)) {
            checked.produced.take_if(|produced| *produced == id);
        }
        let mut orphans = SmallVec::new();
        if let Some(product) = pair.produced.and_then(|product| self.get_mut(product)) {
            let was_of_it = product.produced_by.take_if(|checked| *checked == id).is_some();
            orphans.extend((was_of_it && product.group.is_none()).then_some(product.id));
        }
        if pair.is_shared {
            orphans.extend(self.forget_products(id, (pair.stream, pair.component)));
        }
        Some(Departed { pair, orphans })
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
}
