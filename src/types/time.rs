//! The clock of the crate: whatever the caller passes in as `now`.

use core::time::Duration;

pub use sans_io_time::Instant;

/// The last instant that counts: later ones count as this one. What an agent plans from there on is never due; at the very end
/// of time, where instants cannot get any later, it would be due at once, for ever.
#[must_use]
pub(crate) fn last() -> Instant {
    Instant::from_nanos(i64::MAX - 1_000_000_000)
}

/// The instant `duration` after `instant`, or the last representable one.
///
/// Durations are only ever added to instants: an early instant has no room below it.
#[must_use]
pub(crate) fn after(instant: Instant, duration: Duration) -> Instant {
    instant.checked_add(duration).unwrap_or(Instant::from_nanos(i64::MAX))
}

/// The earlier of two deadlines, where `None` means that nothing is due.
#[must_use]
pub(crate) fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_past_the_end_of_time_stays_at_the_end() {
        let last = Instant::from_nanos(i64::MAX);
        assert_eq!(after(last, Duration::from_secs(1)), last);
        assert_eq!(after(Instant::from_nanos(i64::MIN), Duration::ZERO), Instant::from_nanos(i64::MIN));
    }

    #[test]
    fn nothing_due_loses_against_anything_due() {
        let at = Instant::ZERO;
        assert_eq!(earliest(None, None), None);
        assert_eq!(earliest(Some(at), None), Some(at));
        assert_eq!(earliest(None, Some(at)), Some(at));
        assert_eq!(earliest(Some(after(at, Duration::from_secs(1))), Some(at)), Some(at));
    }
}
