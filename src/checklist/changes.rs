//! Which pairs have changed since somebody looked.
//!
//! Each pair that is there has one entry at the most. What has become of a pair that is gone matters only to whoever was told of
//! it, so that nobody's not looking makes the list longer than there are pairs, and pairs that were told.

use alloc::collections::VecDeque;

use crate::types::PairId;

/// Pairs that were made, touched or removed, in that order.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    list: VecDeque<Change>,
    /// How many say that a pair has changed which is gone by now.
    void: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    pair: PairId,
    /// It is the end of a pair that was told.
    is_end: bool,
}

impl Changes {
    /// How many void entries are let be in any case.
    const SPARE: usize = 64;

    /// A pair was made or touched that has no entry.
    pub(super) fn note(&mut self, pair: PairId) {
        self.list.push_back(Change { pair, is_end: false });
    }

    /// A pair is gone; `is_there` tells which others are not.
    pub(super) fn end(&mut self, pair: PairId, was_noted: bool, was_told: bool, is_there: impl Fn(PairId) -> bool) {
        if was_told {
            self.list.push_back(Change { pair, is_end: true });
        }
        self.void += usize::from(was_noted);
        if self.void > Self::SPARE && self.void > self.list.len() / 2 {
            self.list.retain(|change| change.is_end || is_there(change.pair));
            self.void = 0;
        }
    }

    pub(super) fn next(&self) -> Option<PairId> {
        self.list.front().map(|change| change.pair)
    }

    /// Goes on to the next one; gives the pair that was looked at. `is_there` tells whether it is.
    pub(super) fn forget(&mut self, is_there: impl Fn(PairId) -> bool) -> Option<PairId> {
        let Change { pair, is_end } = self.list.pop_front()?;
        self.void = self.void.saturating_sub(usize::from(!is_end && !is_there(pair)));
        Some(pair)
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(serial: u64) -> PairId {
        PairId { serial, slot: 0 }
    }

    #[test]
    fn pairs_that_come_and_go_unseen_leave_nothing_and_the_end_of_those_that_were_told_is_kept() {
        let mut changes = Changes::default();
        changes.note(pair(0));
        assert_eq!(changes.forget(|_| true), Some(pair(0)));
        for number in 1..10_000 {
            // The pair before makes room for the next.
            changes.note(pair(number));
            changes.end(pair(number - 1), number > 1, number == 1, |one| one == pair(number));
            assert!(changes.len() <= 2 * Changes::SPARE + 4, "{}", changes.len());
        }
        let mut left = 0;
        let mut ends = 0;
        while let Some(next) = changes.next() {
            left += usize::from(next == pair(9_999));
            ends += usize::from(next == pair(0));
            assert_eq!(changes.forget(|one| one == pair(9_999)), Some(next));
        }
        assert_eq!((left, ends, changes.void), (1, 1, 0));
    }
}
