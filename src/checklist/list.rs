//! One checklist: which of the pairs of a stream wait for their turn, and in what order (RFC 8445 §6.1.2, §6.1.4).

use alloc::collections::BTreeSet;
use core::cmp::Reverse;

use smallvec::SmallVec;

use super::{CandidatePair, PairPriority};
use crate::types::{ComponentId, PairId, Queue, StreamId, work};

/// State of a checklist, or of all of them: of the ICE session (RFC 8445 §6.1.2.1, §6.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 8445 closes the set")]
pub enum ChecklistState {
    /// Checks go on, or candidates may still come.
    Running,
    /// Every component has a nominated pair.
    Completed,
    /// No component can get one any more.
    Failed,
}

impl ChecklistState {
    /// The state of the session: that of its checklists where they agree that they are over, else Running
    /// (RFC 8445 §6.1.3).
    #[must_use]
    pub fn of_session(lists: impl Iterator<Item = Self> + Clone) -> Self {
        let is_unanimous = |state| lists.clone().next().is_some() && lists.clone().all(|list| list == state);
        if is_unanimous(Self::Completed) {
            Self::Completed
        } else if is_unanimous(Self::Failed) {
            Self::Failed
        } else {
            Self::Running
        }
    }
}

/// Place of a pair in the order of checks, the last first: higher priority, then lower component, then earlier made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    pub(super) priority: PairPriority,
    component: Reverse<ComponentId>,
    id: Reverse<PairId>,
}

impl Turn {
    pub(super) const fn of(pair: &CandidatePair) -> Self {
        Self { priority: pair.priority, component: Reverse(pair.component), id: Reverse(pair.id) }
    }

    pub(super) const fn pair(self) -> PairId {
        self.id.0
    }
}

/// Pairs in the order of their turns, the next one at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(pub(super) BTreeSet<Turn>);

impl Turns {
    pub(super) fn insert(&mut self, turn: Turn) {
        work::count();
        self.0.insert(turn);
    }

    pub(super) fn remove(&mut self, turn: Turn) {
        work::count();
        self.0.remove(&turn);
    }

    pub(super) fn next(&self) -> Option<PairId> {
        self.0.last().map(|turn| turn.pair())
    }

    pub(super) fn last(&self) -> Option<Turn> {
        self.0.first().copied()
    }
}

/// What one stream wants to check.
#[derive(Clone, Debug)]
pub(crate) struct Checklist {
    pub(super) stream: StreamId,
    pub(super) state: ChecklistState,
    /// The pairs of each component that work, the highest priority first.
    pub(super) valid: SmallVec<[SmallVec<[PairId; 2]>; 1]>,
    pub(super) waiting: Turns,
    pub(super) frozen: Turns,
    pub(super) triggered: Queue<PairId>,
    /// Pairs that failed, the oldest first.
    pub(super) failed: Queue<PairId>,
    /// Checks go on after the list is Completed: another pair may be nominated later.
    pub(super) outlives_nomination: bool,
    /// How many pairs are In-Progress.
    pub(super) in_progress: usize,
    /// How many pairs are Frozen or Waiting and take no turn.
    pub(super) held: usize,
    /// How many pairs are on the list, in whatever state.
    pub(super) listed: usize,
}

impl Checklist {
    pub(super) fn new(stream: StreamId, components: u16) -> Self {
        Self {
            stream,
            state: ChecklistState::Running,
            valid: (0..components).map(|_| SmallVec::new()).collect(),
            waiting: Turns::default(),
            frozen: Turns::default(),
            triggered: Queue::default(),
            failed: Queue::default(),
            outlives_nomination: false,
            in_progress: 0,
            held: 0,
            listed: 0,
        }
    }

    /// How the list is doing.
    pub(crate) const fn state(&self) -> ChecklistState {
        self.state
    }

    /// Whether every pair is Succeeded or Failed and none is to be checked again.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.waiting.0.is_empty()
            && self.frozen.0.is_empty()
            && self.triggered.is_empty()
            && self.in_progress + self.held == 0
    }

    /// Whether pairs that wait are checked.
    pub(crate) fn is_checked(&self) -> bool {
        self.state == ChecklistState::Running || self.state == ChecklistState::Completed && self.outlives_nomination
    }

    /// The pairs that have failed, the oldest failure first.
    pub(crate) fn failed(&self) -> impl Iterator<Item = PairId> + '_ {
        self.failed.iter()
    }

    /// The pair that is given up first when there are too many.
    pub(super) fn least(&self) -> Option<Turn> {
        match (self.waiting.last(), self.frozen.last()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, None) | (None, one) => one,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ChecklistState::{self, Completed, Failed, Running};

    /// Req: 8445-6.1.3-a
    #[test]
    fn the_session_is_over_only_where_all_lists_agree() {
        let of = |lists: &[ChecklistState]| ChecklistState::of_session(lists.iter().copied());
        assert_eq!(of(&[]), Running);
        for a in [Running, Completed, Failed] {
            for b in [Running, Completed, Failed] {
                assert_eq!(of(&[a, b]), if a == b { a } else { Running }, "{a:?} and {b:?}");
            }
        }
    }
}
