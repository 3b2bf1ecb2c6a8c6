//! When to leave the selected pair for another one.
//!
//! RFC 8445 has one nomination for each component. Where both sides take several of them, see
//! [`Renomination`](crate::Renomination), the controlling side goes on to compare the pairs that work, and a
//! [`SelectionPolicy`] decides.

use core::cmp::Reverse;
use core::fmt;
use core::time::Duration;

use crate::candidate::CandidateKind;
use crate::checklist::PairPriority;
use crate::types::{Instant, PairId, PathHealth, after};

/// Decides when a controlling agent nominates another pair of a component that has its selected pair.
///
/// It is asked again whenever something changes that it sees, and at the instant that it named. A pair that the
/// application has nominated itself is left to it as long as it works.
pub trait SelectionPolicy: fmt::Debug + Send + Sync {
    /// What to do for one component.
    fn decide(&self, view: &SelectionView<'_>) -> SelectionDecision;
}

/// What a [`SelectionPolicy`] decides by.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SelectionView<'a> {
    /// The time.
    pub now: Instant,
    /// The pair that is nominated.
    pub current: &'a PathQuality,
    /// Since when it is.
    pub since: Instant,
    /// The other pairs that work, that of the highest priority first.
    pub others: &'a [PathQuality],
}

/// What is known of a pair that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathQuality {
    /// The pair.
    pub pair: PairId,
    /// Its priority.
    pub priority: PairPriority,
    /// Type of its local candidate.
    pub local: CandidateKind,
    /// Type of its remote candidate.
    pub remote: CandidateKind,
    /// Whether its addresses are IPv6 ones.
    pub is_ipv6: bool,
    /// What both interfaces cost together, 0 to 1998: see
    /// [`SocketOptions::network_cost`](crate::SocketOptions::network_cost).
    pub network_cost: u16,
    /// Smoothed round-trip time, if it was measured.
    pub round_trip_time: Option<Duration>,
    /// How many round-trip times that is made of.
    pub measurements: u64,
    /// Share of the checks of late that were not answered in time, in thousandths; `None` while there were too few to
    /// tell.
    pub loss: Option<u16>,
    /// How it is doing.
    pub health: PathHealth,
    /// When its last answer came.
    pub answered_at: Instant,
    /// Since when checks have been sent in vain, if they are.
    pub unanswered_since: Option<Instant>,
    /// The host has said that its destination is unreachable, and two checks since were not answered: see
    /// [`SendFailure::Unreachable`](crate::SendFailure::Unreachable).
    pub is_unreachable: bool,
    /// It looks as if the peer had moved here from the current pair: its checks come from a new address, on behalf of the
    /// same candidate of its.
    pub is_successor: bool,
}

impl PathQuality {
    /// How many relays it goes through: 0 to 2.
    #[must_use]
    pub fn relays(&self) -> usize {
        [self.local, self.remote].iter().filter(|kind| **kind == CandidateKind::Relayed).count()
    }

    /// Whether an address of it is one that a NAT gave to a host.
    #[must_use]
    pub const fn is_translated(&self) -> bool {
        self.local.is_reflexive() || self.remote.is_reflexive()
    }

    /// What counts more than speed, the less the better: relays, cost of the networks, NATs.
    #[must_use]
    pub fn class(&self) -> (usize, u16, bool) {
        (self.relays(), self.network_cost, self.is_translated())
    }
}

/// What a [`SelectionPolicy`] wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SelectionDecision {
    /// Stay. Ask again when something changes.
    Keep,
    /// Stay. Ask again at this instant, or when something changes.
    KeepUntil(Instant),
    /// Nominate this pair.
    Move(PairId),
}

/// The default policy: moves at once to a pair of a better class and away from a dead one, and to a faster one only for a
/// large and lasting gain.
///
/// A class is better with fewer relays, then with cheaper networks, then without a NAT. Between pairs of one class,
/// round-trip time and loss decide, with hysteresis: small differences do not move anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "one value for each rule")]
pub struct SteadySelection {
    /// How long checks go unanswered before another pair, which has answered meanwhile, takes over. Default 2 s.
    pub patience: Duration,
    /// How much shorter a round trip has to be, at the least. Default 20 ms. It has to be a fifth shorter, too.
    pub round_trip_gain: Duration,
    /// How much lower the loss has to be, in thousandths. Default 200.
    pub loss_gain: u16,
    /// How long a pair is kept before one of the same class takes its place for being faster. Default 10 s.
    pub dwell: Duration,
}

impl Default for SteadySelection {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(2),
            round_trip_gain: Duration::from_millis(20),
            loss_gain: 200,
            dwell: Duration::from_secs(10),
        }
    }
}

impl SteadySelection {
    /// Round trips that have to be measured before they are compared.
    const MEASUREMENTS: u64 = 2;

    fn is_much_faster(&self, one: &PathQuality, current: &PathQuality) -> bool {
        let are_measured = one.measurements >= Self::MEASUREMENTS && current.measurements >= Self::MEASUREMENTS;
        let times = one.round_trip_time.zip(current.round_trip_time).filter(|_| are_measured);
        let is_faster = times.is_some_and(|(one, current)| {
            one.saturating_add(self.round_trip_gain) <= current && one <= current.saturating_sub(current / 5)
        });
        let losses = one.loss.zip(current.loss);
        is_faster && losses.is_none_or(|(one, current)| one <= current.saturating_add(self.loss_gain / 4))
    }

    fn loses_much_less(&self, one: &PathQuality, current: &PathQuality) -> bool {
        one.loss.zip(current.loss).is_some_and(|(one, current)| one.saturating_add(self.loss_gain) <= current)
    }
}

impl SelectionPolicy for SteadySelection {
    fn decide(&self, view: &SelectionView<'_>) -> SelectionDecision {
        let SelectionView { now, current, since, others } = *view;
        let alive = || others.iter().filter(|one| one.health == PathHealth::Healthy);
        let best = alive().min_by_key(|one| (one.class(), one.round_trip_time, Reverse(one.priority)));
        let Some(best) = best else { return SelectionDecision::Keep };
        let mut again = None;
        if current.health != PathHealth::Healthy {
            if let Some(moved) = alive().find(|one| one.is_successor) {
                return SelectionDecision::Move(moved.pair);
            }
            // Proof that the peer is there and only this path is not.
            let silent_since = current.unanswered_since;
            let has_answered = |one: &&PathQuality| silent_since.is_none_or(|since| one.answered_at >= since);
            if let Some(other) = Some(best).filter(has_answered).or_else(|| alive().find(has_answered)) {
                let until = silent_since.map_or(now, |since| after(since, self.patience));
                if until <= now || current.health == PathHealth::Lost || current.is_unreachable {
                    return SelectionDecision::Move(other.pair);
                }
                again = Some(until);
            }
        }
        if best.class() < current.class() {
            return SelectionDecision::Move(best.pair);
        }
        let equal = || alive().filter(|one| one.class() == current.class());
        let better = equal().find(|one| self.is_much_faster(one, current) || self.loses_much_less(one, current));
        if let Some(better) = better {
            let at = after(since, self.dwell);
            if at <= now {
                return SelectionDecision::Move(better.pair);
            }
            again = Some(again.map_or(at, |other: Instant| other.min(at)));
        }
        again.map_or(SelectionDecision::Keep, SelectionDecision::KeepUntil)
    }
}

/// A policy that never moves by itself: the application does, with [`Agent::nominate`](crate::Agent::nominate).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to set")]
pub struct ApplicationSelects;

impl SelectionPolicy for ApplicationSelects {
    fn decide(&self, _: &SelectionView<'_>) -> SelectionDecision {
        SelectionDecision::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::Priority;
    use crate::types::Role;

    fn at(ms: u64) -> Instant {
        after(Instant::ZERO, Duration::from_millis(ms))
    }

    fn path(serial: u32, kind: CandidateKind, round_trip: u64) -> PathQuality {
        let priority = Priority::new(1000 - serial).unwrap();
        PathQuality {
            pair: PairId { serial: serial.into(), slot: 0 },
            priority: PairPriority::compute(Role::Controlling, priority, priority),
            local: kind,
            remote: CandidateKind::Host,
            is_ipv6: false,
            network_cost: 0,
            round_trip_time: Some(Duration::from_millis(round_trip)),
            measurements: 3,
            loss: Some(0),
            health: PathHealth::Healthy,
            answered_at: at(10_000),
            unanswered_since: None,
            is_unreachable: false,
            is_successor: false,
        }
    }

    fn decide(now: u64, current: PathQuality, others: &[PathQuality]) -> SelectionDecision {
        SteadySelection::default().decide(&SelectionView { now: at(now), current: &current, since: at(0), others })
    }

    const HOST: CandidateKind = CandidateKind::Host;

    /// S074
    #[test]
    fn only_a_large_gain_in_round_trip_time_moves_and_only_after_the_dwell() {
        let (current, better, faster) = (path(0, HOST, 50), path(1, HOST, 47), path(2, HOST, 20));
        assert_eq!(decide(60_000, current, &[better]), SelectionDecision::Keep);
        assert_eq!(decide(9_000, current, &[better, faster]), SelectionDecision::KeepUntil(at(10_000)));
        assert_eq!(decide(10_000, current, &[better, faster]), SelectionDecision::Move(faster.pair));
        assert_eq!(decide(60_000, path(0, HOST, 200), &[path(1, HOST, 175)]), SelectionDecision::Keep);
        let unproven = PathQuality { measurements: 1, ..faster };
        assert_eq!(decide(60_000, current, &[unproven]), SelectionDecision::Keep);
    }

    /// S073
    #[test]
    fn an_equal_pair_moves_nobody_and_a_better_class_does_at_once() {
        let relay = path(0, CandidateKind::Relayed, 10);
        assert_eq!(decide(60_000, path(0, HOST, 50), &[path(1, HOST, 50)]), SelectionDecision::Keep);
        assert_eq!(decide(60_000, path(1, HOST, 50), &[relay]), SelectionDecision::Keep);
        assert_eq!(decide(100, relay, &[path(1, HOST, 90)]), SelectionDecision::Move(path(1, HOST, 0).pair));
        let costly = PathQuality { network_cost: 900, ..path(0, HOST, 10) };
        assert_eq!(decide(100, costly, &[path(1, HOST, 90)]), SelectionDecision::Move(path(1, HOST, 0).pair));
    }

    #[test]
    fn a_silent_pair_is_left_when_another_has_answered_since_and_patience_is_over() {
        let silent =
            PathQuality { health: PathHealth::Suspect, unanswered_since: Some(at(9_000)), ..path(0, HOST, 50) };
        let (fresh, old) =
            (path(1, CandidateKind::Relayed, 90), PathQuality { answered_at: at(8_000), ..path(2, HOST, 50) });
        assert_eq!(decide(10_500, silent, &[old]), SelectionDecision::Keep);
        assert_eq!(decide(10_500, silent, &[old, fresh]), SelectionDecision::KeepUntil(at(11_000)));
        assert_eq!(decide(11_000, silent, &[old, fresh]), SelectionDecision::Move(fresh.pair));
        let lost = PathQuality { health: PathHealth::Lost, ..silent };
        assert_eq!(decide(10_500, lost, &[fresh]), SelectionDecision::Move(fresh.pair));
        let moved = PathQuality { is_successor: true, ..fresh };
        assert_eq!(decide(9_600, silent, &[moved]), SelectionDecision::Move(moved.pair));
        let dead = PathQuality { health: PathHealth::Suspect, ..fresh };
        assert_eq!(decide(60_000, lost, &[dead]), SelectionDecision::Keep);
    }

    #[test]
    fn a_pair_that_loses_much_less_takes_over() {
        let lossy = PathQuality { loss: Some(300), ..path(0, HOST, 50) };
        assert_eq!(decide(60_000, lossy, &[path(1, HOST, 50)]), SelectionDecision::Move(path(1, HOST, 0).pair));
        let slightly = PathQuality { loss: Some(150), ..path(0, HOST, 50) };
        assert_eq!(decide(60_000, slightly, &[path(1, HOST, 50)]), SelectionDecision::Keep);
    }
}
