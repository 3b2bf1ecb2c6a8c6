//! A nomination of ours on its way (RFC 8445 §8.1.1).

use core::time::Duration;

use crate::checklist::TransactionKey;
use crate::types::{Instant, PairId};

/// An attempt to nominate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// The pair whose check carries the nomination.
    pub(crate) checked: PairId,
    /// The valid pair that it is about.
    pub(crate) valid: PairId,
    /// How many checks it took so far.
    pub(crate) tries: u32,
    /// Its value, for peers that know what that is.
    pub(crate) value: u32,
    /// The application wants it.
    pub(crate) is_forced: bool,
    /// It is about the pair that is nominated: the peer may have followed one of another pair, and never said so.
    pub(crate) is_affirming: bool,
    /// Answers to checks from before this say nothing about it.
    pub(crate) since: Instant,
    /// The latest check, whose silence brings the next one.
    pub(crate) latest: Option<TransactionKey>,
}

impl Attempt {
    /// How many nominating checks go unanswered before another valid pair is tried.
    pub(crate) const TRIES_BEFORE_FALLBACK: u32 = 8;
    /// The longest time between two checks that tell the peer which pair is kept.
    const MOST_PATIENCE: Duration = Duration::from_secs(5);

    /// How long the next check is waited for, where one alone would be waited for so long. An agent that tells which pair it
    /// keeps does so until it is answered, and ever more slowly.
    pub(crate) fn patience(&self, rto: Duration) -> Duration {
        if !self.is_affirming {
            return rto;
        }
        let doublings = self.tries.saturating_add(1).saturating_sub(Self::TRIES_BEFORE_FALLBACK).min(8);
        rto.saturating_mul(1 << doublings).min(Self::MOST_PATIENCE.max(rto))
    }

    /// Whether another pair is tried if it does better.
    pub(crate) const fn is_late(&self) -> bool {
        self.tries >= Self::TRIES_BEFORE_FALLBACK && !self.is_affirming
    }

    /// Whether the peer may have seen it, without its being the one that is kept.
    pub(crate) const fn has_left(&self) -> bool {
        self.tries > 0 && !self.is_affirming
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(tries: u32, is_affirming: bool) -> Attempt {
        let pair = PairId { serial: 1, slot: 0 };
        let (value, since) = (1, Instant::ZERO);
        Attempt { checked: pair, valid: pair, tries, value, is_forced: false, is_affirming, since, latest: None }
    }

    #[test]
    fn an_attempt_that_affirms_is_ever_more_patient_and_any_other_never() {
        let rto = Duration::from_millis(500);
        let patience = |tries, is_affirming| attempt(tries, is_affirming).patience(rto).as_millis();
        assert_eq!([0, 7, 8, 9, 10, 11, 12, 100].map(|tries| patience(tries, false)), [500; 8]);
        assert_eq!(
            [0, 7, 8, 9, 10, 11, 12, 100].map(|tries| patience(tries, true)),
            [500, 500, 1000, 2000, 4000, 5000, 5000, 5000]
        );
        // One that takes longer by itself is not cut short.
        assert_eq!(attempt(20, true).patience(Duration::from_secs(7)), Duration::from_secs(7));
    }

    #[test]
    fn another_pair_is_tried_after_eight_checks_in_vain_but_not_in_place_of_the_one_that_is_kept() {
        let of =
            |tries, is_affirming| (attempt(tries, is_affirming).is_late(), attempt(tries, is_affirming).has_left());
        assert_eq!(
            [0, 1, 7, 8].map(|tries| of(tries, false)),
            [(false, false), (false, true), (false, true), (true, true)]
        );
        assert_eq!([0, 1, 8, 99].map(|tries| of(tries, true)), [(false, false); 4]);
    }
}
