//! Rounds in which pairs that have failed are checked again, with a back-off: they may have come to work.

use core::time::Duration;

use crate::types::{Instant, after};

/// How the rounds of one component stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    /// When the next one is due.
    pub(crate) at: Instant,
    /// The time to the one after it.
    pub(crate) gap: Duration,
}

/// The rounds of one component, if there is a pair for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retries(Option<Retry>);

impl Retries {
    /// The longest gap, in first ones.
    const MOST_BACK_OFF: u32 = 12;

    /// Arms the rounds as `first` says, or stops them.
    pub(crate) const fn want(&mut self, is_wanted: bool, first: Retry) {
        match (is_wanted, self.0) {
            (true, None) => self.0 = Some(first),
            (false, Some(_)) => self.0 = None,
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Begins the rounds anew, if there are any: the network or the candidates have changed.
    pub(crate) const fn reset(&mut self, first: Retry) {
        if self.0.is_some() {
            self.0 = Some(first);
        }
    }

    /// Whether a round is due; the next one is later, up to twelve `interval`s.
    pub(crate) fn expire(&mut self, now: Instant, interval: Duration) -> bool {
        let longest = interval.saturating_mul(Self::MOST_BACK_OFF);
        let Some(retry) = self.0.as_mut().filter(|retry| retry.at <= now) else { return false };
        retry.at = after(now, retry.gap);
        retry.gap = retry.gap.saturating_mul(2).min(longest);
        true
    }

    /// When the next round is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        Some(self.0?.at)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const GAP: Duration = Duration::from_secs(5);

    fn first(seconds: i64) -> Retry {
        Retry { at: Instant::from_nanos(seconds * 1_000_000_000), gap: GAP }
    }

    /// The seconds at which the next rounds are due.
    fn rounds(mut retries: Retries, count: usize) -> Vec<i64> {
        let mut at = Vec::new();
        for _ in 0..count {
            let due = retries.deadline().unwrap();
            assert!(!retries.expire(Instant::from_nanos(due.as_nanos() - 1), GAP));
            assert!(retries.expire(due, GAP));
            at.push(due.as_nanos() / 1_000_000_000);
        }
        at
    }

    #[test]
    fn gaps_double_up_to_twelve_intervals() {
        let mut retries = Retries::default();
        retries.want(true, first(1));
        assert_eq!(rounds(retries, 8), [1, 6, 16, 36, 76, 136, 196, 256]);
    }

    #[test]
    fn rounds_are_armed_once_stopped_and_begun_anew_only_if_there_are_any() {
        let mut retries = Retries::default();
        retries.reset(first(3));
        assert_eq!(retries.deadline(), None);
        retries.want(true, first(1));
        retries.want(true, first(9));
        assert_eq!(rounds(retries, 2), [1, 6]);
        assert!(retries.expire(first(1).at, GAP));
        retries.reset(first(2));
        assert_eq!(rounds(retries, 2), [2, 7]);
        retries.want(false, first(9));
        assert_eq!((retries.deadline(), retries.expire(first(100).at, GAP)), (None, false));
    }
}
