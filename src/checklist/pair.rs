//! Candidate pairs (RFC 8445 §6.1.2).

use core::time::Duration;

use super::{NewPair, PairFoundation, PairState};
use crate::candidate::Priority;
use crate::stats::PairStats;
use crate::types::{CandidateId, ComponentId, Instant, Kept, PairId, Path, Role, StreamId};

/// Priority of a candidate pair: higher is checked earlier (RFC 8445 §6.1.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairPriority(u64);

impl PairPriority {
    /// `2^32 * min(G, D) + 2 * max(G, D) + (G > D)`, with G the priority of the controlling agent's candidate.
    #[must_use]
    pub const fn compute(role: Role, local: Priority, remote: Priority) -> Self {
        let (g, d) = match role {
            Role::Controlling => (local.get() as u64, remote.get() as u64),
            Role::Controlled => (remote.get() as u64, local.get() as u64),
        };
        // Only priorities near 2^32, which RFC 8445 forbids and some peers send, reach the end of the range.
        Self(if g > d { (d << 32).saturating_add(2 * g + 1) } else { (g << 32).saturating_add(2 * d) })
    }

    /// Its value.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A local and a remote candidate, and what checks have shown of them.
#[derive(Clone, Debug)]
pub(crate) struct CandidatePair {
    pub(crate) id: PairId,
    pub(crate) stream: StreamId,
    pub(crate) component: ComponentId,
    /// The generation of the stream that it belongs to.
    pub(crate) generation: u32,
    /// The generation of our credentials by which the peer of a lite agent checks it: after a restart it may be slow to
    /// learn the new ones.
    pub(crate) known_as: u32,
    pub(crate) local: CandidateId,
    pub(crate) remote: CandidateId,
    pub(crate) path: Path,
    pub(crate) priority: PairPriority,
    pub(crate) state: PairState,
    /// Its foundation group; `None` for a pair that is only valid and not on a checklist.
    pub(crate) group: Option<PairFoundation>,
    /// It waits in the triggered-check queue.
    pub(crate) is_queued: bool,
    /// It takes no turn: the server that relays for it does not let its packets through yet (RFC 8656 §9).
    pub(crate) is_held: bool,
    /// A triggered check is wanted as soon as it takes turns.
    pub(crate) is_triggered_later: bool,
    /// Another pair of its component was nominated while it was checked. Its check goes on only to be answered.
    pub(crate) is_retired: bool,
    /// It is on the valid list.
    pub(crate) is_valid: bool,
    /// The valid pair that its own check produced: itself, or one with another local candidate (RFC 8445 §7.2.5.3.2).
    pub(crate) produced: Option<PairId>,
    /// The pair whose check produced this one, where that is another.
    pub(crate) produced_by: Option<PairId>,
    /// Checks of several pairs have produced it, or its own have produced several.
    pub(crate) is_shared: bool,
    /// The pair beside the checklist that stands for its path since its check has shown us under another address.
    pub(crate) twin: Option<PairId>,
    /// When the latest answer to a check of it came.
    pub(crate) answered_at: Option<Instant>,
    /// When the latest datagram on its path left.
    pub(crate) last_sent_at: Option<Instant>,
    /// When its latest check left.
    pub(crate) last_check_at: Option<Instant>,
    /// PRIORITY in the latest check of the peer on its path: it tells which candidate of the peer is behind it.
    pub(crate) announced: Option<u32>,
    /// When that check came.
    pub(crate) heard_check_at: Option<Instant>,
    /// The candidate of the peer behind it was seen under another address as well: the peer may come back to this one.
    pub(crate) is_alias: bool,
    /// Round-trip time, smoothed over the last few.
    pub(crate) smoothed_round_trip: Option<Duration>,
    /// The application does not want it to be removed.
    pub(crate) is_protected: bool,
    /// Consent was lost: it is not checked again with the same credentials (RFC 7675 §5.1).
    pub(crate) is_barred: bool,
    /// Its latest check that counts was not answered in time.
    pub(crate) has_timed_out: bool,
    /// When its first urgent check left.
    pub(crate) urgent_since: Option<Instant>,
    /// How often a check was repeated after a conflict of roles.
    pub(crate) role_conflicts: u8,
    /// How often a check was repeated after a server error of the peer.
    pub(crate) server_errors: u8,
    /// It waits to be looked at for what has changed.
    pub(crate) is_noted: bool,
    /// Somebody was told of it.
    pub(crate) is_told: bool,
    pub(crate) stats: PairStats,
}

impl Kept for CandidatePair {
    type Id = PairId;

    fn id(&self) -> PairId {
        self.id
    }
}

impl CandidatePair {
    pub(super) fn new(
        id: PairId,
        new: &NewPair,
        state: PairState,
        group: Option<PairFoundation>,
        is_noted: bool,
    ) -> Self {
        Self {
            id,
            stream: new.stream,
            component: new.component,
            generation: new.generation,
            known_as: new.generation,
            local: new.local,
            remote: new.remote,
            path: new.path,
            priority: new.priority,
            state,
            group,
            is_queued: false,
            is_held: false,
            is_triggered_later: false,
            is_retired: false,
            is_valid: false,
            produced: None,
            produced_by: None,
            is_shared: false,
            twin: None,
            answered_at: None,
            last_sent_at: None,
            last_check_at: None,
            announced: None,
            heard_check_at: None,
            is_alias: false,
            smoothed_round_trip: None,
            is_protected: false,
            is_barred: false,
            has_timed_out: false,
            urgent_since: None,
            role_conflicts: 0,
            server_errors: 0,
            is_noted,
            is_told: false,
            stats: PairStats::default(),
        }
    }

    /// Whether it may be removed to make room for another, if nobody wants to nominate it.
    pub(crate) fn may_go(&self) -> bool {
        !self.is_barred && !self.is_protected
    }

    /// Whether packets from the remote candidate are those of the peer: an authenticated check went one way or the other.
    pub(crate) const fn is_trusted(&self) -> bool {
        self.is_valid || self.produced.is_some() || self.heard_check_at.is_some()
    }

    pub(crate) fn record_round_trip(&mut self, round_trip: Duration) {
        let smoothed = self.smoothed_round_trip.map_or(round_trip, |before| (before * 3 + round_trip) / 4);
        self.smoothed_round_trip = Some(smoothed);
        self.stats.current_round_trip_time = Some(round_trip);
        self.stats.total_round_trip_time = self.stats.total_round_trip_time.saturating_add(round_trip);
        self.stats.round_trip_time_measurements += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::Priority;

    /// Req: 8445-6.1.2.3-a
    #[test]
    fn pair_priorities_follow_the_formula_and_both_ends_agree() {
        let host = Priority::new(2_130_706_431).unwrap();
        let reflexive = Priority::new(1_694_498_815).unwrap();
        let compute = |role, local, remote| PairPriority::compute(role, local, remote).get();
        assert_eq!(compute(Role::Controlling, host, host), 9_151_314_442_783_293_438);
        assert_eq!(compute(Role::Controlling, host, reflexive), 7_277_816_997_797_167_103);
        assert_eq!(compute(Role::Controlled, host, reflexive), 7_277_816_997_797_167_102);
        assert_eq!(compute(Role::Controlling, reflexive, host), compute(Role::Controlled, host, reflexive));
    }

    /// Req: proj-unauth-c
    #[test]
    fn the_largest_signalled_priorities_do_not_overflow() {
        let most = Priority::new(u32::MAX).unwrap();
        assert_eq!(PairPriority::compute(Role::Controlling, most, most).get(), u64::MAX);
        assert_eq!(
            PairPriority::compute(Role::Controlled, most, Priority::new(1).unwrap()).get(),
            (1 << 32) + 2 * (u64::from(u32::MAX))
        );
    }
}
