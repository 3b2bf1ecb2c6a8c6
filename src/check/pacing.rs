//! Ta: when the next new transaction may start (RFC 8445 §14.2).

use core::time::Duration;

use crate::types::{Instant, after};

/// Keeps new transactions at least Ta apart. Retransmissions do not pass here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    ta: Duration,
    last_start: Option<Instant>,
}

impl Pacer {
    /// The largest proposal of the peer that counts. RFC 8445 §14.2 knows no limit; but with a Ta of an hour, or of 49 days, which
    /// 32 bits of milliseconds can say, a peer would keep our agent from checking anything.
    pub(crate) const LONGEST_PROPOSAL: Duration = Duration::from_secs(1);

    pub(crate) const fn new(ta: Duration) -> Self {
        Self { ta, last_start: None }
    }

    pub(crate) const fn ta(&self) -> Duration {
        self.ta
    }

    /// Keeps starts this far apart from now on.
    pub(crate) const fn set_ta(&mut self, ta: Duration) {
        self.ta = ta;
    }

    /// Takes the larger of the two proposals (RFC 8839 §5.5); `false` if that of the peer is too long and counts as the longest.
    #[must_use]
    pub(crate) fn agree(&mut self, theirs: Duration) -> bool {
        self.ta = self.ta.max(theirs.min(Self::LONGEST_PROPOSAL));
        theirs <= Self::LONGEST_PROPOSAL
    }

    /// The earliest instant for the next start; `None` before the first one, which need not wait.
    pub(crate) fn next_start(&self) -> Option<Instant> {
        self.last_start.map(|at| after(at, self.ta))
    }

    /// The same, and not before `now`.
    pub(crate) fn next_start_from(&self, now: Instant) -> Instant {
        self.next_start().unwrap_or(now).max(now)
    }

    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.next_start().is_none_or(|at| at <= now)
    }

    pub(crate) const fn start(&mut self, now: Instant) {
        self.last_start = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Req: 8445-6.1.4.2-a
    #[test]
    fn the_first_start_waits_for_nothing_and_the_next_for_ta() {
        let ta = Duration::from_millis(50);
        let mut pacer = Pacer::new(ta);
        let now = Instant::from_nanos(i64::MIN);
        assert!(pacer.is_open(now));
        pacer.start(now);
        assert!(!pacer.is_open(after(now, Duration::from_millis(49))));
        assert!(pacer.is_open(after(now, ta)));
    }

    /// Req: 8445-14.2-b
    #[test]
    fn the_larger_of_two_proposals_counts() {
        let mut pacer = Pacer::new(Duration::from_millis(20));
        assert!(pacer.agree(Duration::from_millis(50)));
        assert_eq!(pacer.ta(), Duration::from_millis(50));
        assert!(pacer.agree(Duration::from_millis(10)));
        assert_eq!(pacer.ta(), Duration::from_millis(50));
        assert!(pacer.agree(Duration::from_secs(1)));
        assert_eq!(pacer.ta(), Duration::from_secs(1));
    }

    #[test]
    fn a_proposal_above_a_second_counts_as_one_and_our_own_as_it_is() {
        let ms = Duration::from_millis;
        for (ours, theirs, expected) in [(50, 1001, 1000), (50, u64::from(u32::MAX), 1000), (3000, 5000, 3000)] {
            let mut pacer = Pacer::new(ms(ours));
            assert!(!pacer.agree(ms(theirs)));
            assert_eq!(pacer.ta(), ms(expected));
        }
    }
}
