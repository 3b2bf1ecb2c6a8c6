//! Ever longer waits before a server is asked again.

use core::time::Duration;

/// How long to wait before something is tried again that has failed: twice as long each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    failures: u8,
}

impl Backoff {
    const MOST: Duration = Duration::from_secs(300);

    /// The wait after one more failure, the first of which is `least`.
    pub(super) fn next(&mut self, least: Duration) -> Duration {
        let wait = least.saturating_mul(1 << self.failures.min(16)).min(Self::MOST);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// How often it has failed.
    pub(super) const fn failures(self) -> u8 {
        self.failures
    }
}
