//! The checks on their way, with what their pairs know of them.

use core::time::Duration;

use super::{ChecklistSet, Due, Purpose, Start, Transaction, TransactionKey};
use crate::stun::TransactionId;
use crate::types::{Instant, PairId};

impl ChecklistSet {
    /// The check with this ID.
    pub(crate) fn asked(&self, id: TransactionId) -> Option<(TransactionKey, &Transaction)> {
        self.transactions.find(id)
    }

    /// A check that is on its way.
    pub(crate) fn transaction(&self, key: TransactionKey) -> Option<&Transaction> {
        self.transactions.get(key)
    }

    /// The check in progress of a pair.
    pub(crate) fn check_of(&self, id: PairId) -> Option<&Transaction> {
        self.transactions.get(self.get(id)?.state.transaction()?)
    }

    /// Records a check that leaves now.
    pub(crate) fn begin(&mut self, now: Instant, start: &Start) -> TransactionKey {
        let key = self.transactions.start(now, start);
        self.record_check(now, start, key);
        key
    }

    /// Records a check that leaves once there is a connection for it.
    pub(crate) fn prepare(&mut self, now: Instant, start: &Start) -> TransactionKey {
        let key = self.transactions.prepare(now, start);
        self.record_check(now, start, key);
        key
    }

    fn record_check(&mut self, now: Instant, start: &Start, key: TransactionKey) {
        let is_ordinary = matches!(start.purpose, Purpose::Check | Purpose::Nomination);
        if is_ordinary {
            self.start(start.pair, key);
        }
        let Some(pair) = self.get_mut(start.pair) else { return };
        pair.last_check_at = Some(now);
        pair.last_sent_at = Some(now);
        if is_ordinary {
            pair.has_timed_out = false;
        }
        match start.purpose {
            Purpose::Consent => pair.stats.consent_requests_sent += 1,
            Purpose::Check | Purpose::Nomination | Purpose::Probe => pair.stats.requests_sent += 1,
        }
    }

    /// Records that a check which was [prepared](Self::prepare) leaves now; `None` if nobody wants it any more.
    pub(crate) fn launch(&mut self, now: Instant, key: TransactionKey) -> Option<&Transaction> {
        self.transactions.launch(now, key)
    }

    /// The check to send again for a [`Due::Repeat`], unless it is over by now; the next interval is at most `cap`.
    pub(crate) fn repeat(&mut self, now: Instant, key: TransactionKey, cap: Duration) -> Option<Start> {
        let start = self.transactions.repeat(now, key, cap)?.start;
        if let Some(pair) = self.get_mut(start.pair) {
            pair.last_check_at = Some(now);
            pair.stats.retransmissions_sent += 1;
        }
        Some(start)
    }

    /// Repeats a check no more; its answer counts all the same.
    pub(crate) fn cancel(&mut self, key: TransactionKey) {
        self.transactions.cancel(key);
    }

    /// Lets a check for which a [`Due::Repeat`] came be waited for until then.
    pub(crate) fn wait_until(&mut self, key: TransactionKey, at: Instant) {
        self.transactions.wait_until(key, at);
    }

    /// Ends a check: it was answered, or nobody wants to know.
    pub(crate) fn end(&mut self, key: TransactionKey) -> Option<Transaction> {
        self.transactions.remove(key)
    }

    /// The next check that is due by `now`.
    pub(crate) fn poll_due(&mut self, now: Instant) -> Option<Due> {
        self.transactions.poll_due(now)
    }

    /// When a check is due next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.transactions.deadline()
    }

    /// Ends all checks. Whatever waits for its turn never gets it.
    pub(crate) fn close(&mut self) {
        self.pause(true);
        self.transactions.keep(|_| false);
    }

    /// Ends the checks of pairs that are gone.
    pub(crate) fn forget_orphans(&mut self) {
        let pairs = &self.pairs;
        self.transactions.keep(|pair| pairs.get(pair).is_some());
    }

    /// How many checks there are.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn checks(&self) -> usize {
        self.transactions.len()
    }

    /// All checks.
    #[cfg(feature = "sim")]
    pub(crate) fn live(&self) -> impl Iterator<Item = (TransactionKey, &Transaction)> {
        self.transactions.live()
    }
}
