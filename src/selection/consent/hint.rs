//! A hint of the host that a path does not work: a message that anybody could have forged, so that it brings probes and
//! nothing else.
//!
//! ```text
//!   hint --> probe --- one RTO ---> probe --- one RTO ---> unreachable
//!              |                      |
//!              +------ an answer -----+--> as before; the next hint counts one second after the last one that did
//! ```

use core::time::Duration;

use crate::types::{Instant, after};

/// A round of probes that a hint has brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hint {
    began: Instant,
    /// How many probes have left.
    probes: u8,
    /// When two RTOs are over; `None` before the first probe has left, and once the round is.
    ends_at: Option<Instant>,
}

impl Hint {
    /// Time from one hint that counts to the next.
    const REST: Duration = Duration::from_secs(1);
    const PROBES: u8 = 2;

    /// A round that begins now, unless one did a moment ago.
    pub(crate) fn begin(last: Option<Self>, now: Instant) -> Option<Self> {
        let is_soon = last.is_some_and(|last| after(last.began, Self::REST) > now || last.ends_at.is_some());
        (!is_soon).then_some(Self { began: now, probes: 0, ends_at: None })
    }

    /// Records that a probe has left, if this round waits for one; gives the number of it.
    pub(crate) fn record_probe(&mut self, now: Instant, rto: Duration) -> Option<u8> {
        if self.probes >= Self::PROBES {
            return None;
        }
        self.probes += 1;
        self.ends_at.get_or_insert(after(now, rto.saturating_mul(2)));
        Some(self.probes)
    }

    /// Whether the first probe is not answered, and the second one is to come.
    pub(crate) const fn awaits_second(&self) -> bool {
        self.probes == 1 && self.ends_at.is_some()
    }

    /// When both probes have been waited for.
    pub(crate) const fn ends_at(&self) -> Option<Instant> {
        self.ends_at
    }

    /// Ends the round.
    pub(crate) const fn end(&mut self) {
        self.probes = Self::PROBES;
        self.ends_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTO: Duration = Duration::from_millis(500);

    fn at(ms: u64) -> Instant {
        after(Instant::ZERO, Duration::from_millis(ms))
    }

    #[test]
    fn a_round_has_two_probes_and_ends_two_rtos_after_the_first() {
        let mut hint = Hint::begin(None, at(0)).unwrap();
        assert_eq!(hint.ends_at(), None);
        assert_eq!(hint.record_probe(at(10), RTO), Some(1));
        assert!(hint.awaits_second());
        assert_eq!(hint.record_probe(at(510), RTO), Some(2));
        assert!(!hint.awaits_second());
        assert_eq!(hint.record_probe(at(600), RTO), None);
        assert_eq!(hint.ends_at(), Some(at(1010)));
    }

    #[test]
    fn a_second_passes_between_two_hints_that_count_and_no_round_begins_in_another() {
        let mut hint = Hint::begin(None, at(0)).unwrap();
        let _ = hint.record_probe(at(0), Duration::from_secs(3));
        assert!(Hint::begin(Some(hint), at(5000)).is_none());
        hint.end();
        assert!(Hint::begin(Some(hint), at(999)).is_none());
        assert!(Hint::begin(Some(hint), at(1000)).is_some());
    }
}
