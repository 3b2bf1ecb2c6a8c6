//! What is recorded of a pair as packets come and go. Each is one fact, and changes nothing of whose turn it is.

use super::{ChecklistSet, Transaction};
use crate::types::{Instant, PairId};

/// Which problem of the peer a check is repeated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It claims the same role.
    RoleConflict,
    /// It had a problem of its own.
    ServerError,
}

impl Repeat {
    /// How often.
    const fn most(self) -> u8 {
        match self {
            // A conflict is settled by the first few.
            Self::RoleConflict => crate::config::limits::ROLE_CONFLICTS,
            Self::ServerError => crate::config::limits::SERVER_ERRORS,
        }
    }
}

impl ChecklistSet {
    /// A check of the peer came, and was answered; gives when one came before.
    pub(crate) fn record_request(&mut self, id: PairId, now: Instant, priority: u32) -> Option<Instant> {
        let pair = self.get_mut(id)?;
        pair.stats.requests_received += 1;
        pair.stats.responses_sent += 1;
        pair.announced = Some(priority);
        pair.heard_check_at.replace(now)
    }

    /// By which generation of our credentials the peer checks a pair; whether that is another one than before.
    pub(crate) fn record_generation(&mut self, id: PairId, generation: u32) -> bool {
        let known = self.get_mut(id).map(|pair| core::mem::replace(&mut pair.known_as, generation));
        known.is_some_and(|known| known != generation)
    }

    /// A check was answered.
    pub(crate) fn record_response(&mut self, now: Instant, transaction: &Transaction, is_success: bool) {
        let Some(pair) = self.get_mut(transaction.start.pair) else { return };
        pair.stats.responses_received += 1;
        // An error gives no consent (RFC 7675 §5.1).
        if is_success {
            pair.answered_at = Some(now);
        }
        // Which transmission of several was answered is not known (Karn's rule, RFC 8489 §6.2.1).
        if transaction.sent() == 1 {
            pair.record_round_trip(now.saturating_duration_since(transaction.first_sent));
        }
    }

    /// A consent check was answered.
    pub(crate) fn record_answer(&mut self, id: PairId, now: Instant) {
        if let Some(pair) = self.get_mut(id) {
            pair.answered_at = Some(now);
        }
    }

    /// Something left on the path: for a while it needs no keepalive.
    pub(crate) fn record_sent(&mut self, id: PairId, now: Instant) {
        if let Some(pair) = self.get_mut(id) {
            pair.last_sent_at = Some(now);
        }
    }

    /// Application data left.
    pub(crate) fn record_data_sent(&mut self, id: PairId, now: Instant, datagrams: usize, bytes: usize) {
        let Some(pair) = self.get_mut(id) else { return };
        pair.stats.packets_sent += datagrams as u64;
        pair.stats.bytes_sent += bytes as u64;
        pair.stats.last_packet_sent_at = Some(now);
        pair.last_sent_at = Some(now);
    }

    /// Application data was not taken by the host.
    pub(crate) fn record_data_discarded(&mut self, id: PairId, datagrams: usize, bytes: usize) {
        let Some(pair) = self.get_mut(id) else { return };
        pair.stats.packets_discarded_on_send += datagrams as u64;
        pair.stats.bytes_discarded_on_send += bytes as u64;
    }

    /// Application data came; `false` if there is no such pair.
    pub(crate) fn record_data_received(&mut self, id: PairId, now: Instant, bytes: usize) -> bool {
        let Some(pair) = self.get_mut(id) else { return false };
        pair.stats.packets_received += 1;
        pair.stats.bytes_received += bytes as u64;
        pair.stats.last_packet_received_at = Some(now);
        true
    }

    /// A pair is looked at in its turn to be checked again.
    pub(crate) fn record_look(&mut self, id: PairId, now: Instant) {
        if let Some(pair) = self.get_mut(id) {
            pair.last_check_at = Some(now);
        }
    }

    /// Its latest check that counts was not answered in time.
    pub(crate) fn record_timeout(&mut self, id: PairId) {
        if let Some(pair) = self.get_mut(id) {
            pair.has_timed_out = true;
        }
    }

    /// The candidate of the peer behind it was seen under another address as well.
    pub(crate) fn record_alias(&mut self, id: PairId) {
        if let Some(pair) = self.get_mut(id) {
            pair.is_alias = true;
        }
    }

    /// Whether a check is repeated once more because the peer had a problem, which is counted.
    pub(crate) fn may_repeat(&mut self, id: PairId, why: Repeat) -> bool {
        let Some(pair) = self.get_mut(id) else { return false };
        let count = match why {
            Repeat::RoleConflict => &mut pair.role_conflicts,
            Repeat::ServerError => &mut pair.server_errors,
        };
        let may_repeat = *count < why.most();
        *count += u8::from(may_repeat);
        may_repeat
    }

    /// An urgent check left.
    pub(crate) fn note_urgent(&mut self, id: PairId, now: Instant) {
        if let Some(pair) = self.get_mut(id) {
            pair.urgent_since.get_or_insert(now);
        }
    }

    /// Begins to count the time of urgent checks anew.
    pub(crate) fn renew_urgency(&mut self, id: PairId) {
        if let Some(pair) = self.get_mut(id) {
            pair.urgent_since = None;
        }
    }

    /// The application wants a pair to be removed by nobody but itself, or does not; `false` if there is no such pair.
    pub(crate) fn protect(&mut self, id: PairId, is_protected: bool) -> bool {
        let pair = self.get_mut(id);
        pair.map(|pair| pair.is_protected = is_protected).is_some()
    }
}
