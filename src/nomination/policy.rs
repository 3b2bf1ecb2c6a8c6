//! When to nominate, and which pair (RFC 8445 §8.1.1).

use core::fmt;
use core::time::Duration;

use crate::candidate::CandidateKind;
use crate::checklist::PairPriority;
use crate::types::{Instant, PairId, after};

/// Decides which valid pair a controlling agent nominates, and when (RFC 8445 §8.1.1).
///
/// It is asked again whenever something changes that it sees, and at the instant that it named.
pub trait NominationPolicy: fmt::Debug + Send + Sync {
    /// What to do for one component that has a valid pair and no nominated one.
    fn decide(&self, view: &NominationView<'_>) -> NominationDecision;
}

/// What a [`NominationPolicy`] decides by.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NominationView<'a> {
    /// The time.
    pub now: Instant,
    /// When the component got its first valid pair.
    pub first_valid_at: Instant,
    /// The valid pairs of the component, that of the highest priority first; at least one.
    pub valid: &'a [ValidPair],
    /// What may still come of pairs of higher priority than all of these.
    pub better: BetterPairs,
    /// No more candidates will come, from either side.
    pub are_candidates_complete: bool,
}

/// What may still come of pairs that are better than the valid ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BetterPairs {
    /// Nothing: there are none, or all have failed.
    None,
    /// They were all checked, and an answer that takes Ta longer than the one that has come would be there by now.
    Silent,
    /// They were all checked, and until this instant an answer may be on its way: one that takes Ta longer than the one
    /// that has come.
    AnswersExpectedUntil(Instant),
    /// Some wait for their first check.
    Unchecked,
}

/// A pair on the valid list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValidPair {
    /// The pair.
    pub pair: PairId,
    /// Its priority.
    pub priority: PairPriority,
    /// Type of its local candidate.
    pub local: CandidateKind,
    /// Type of its remote candidate.
    pub remote: CandidateKind,
    /// Its latest round-trip time.
    pub round_trip_time: Option<Duration>,
}

/// What a [`NominationPolicy`] wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NominationDecision {
    /// Nominate this pair.
    Nominate(PairId),
    /// Ask again at this instant, or when something changes.
    WaitUntil(Instant),
    /// Ask again when something changes.
    Wait,
}

/// The default policy: takes the best valid pair at once if nothing better can come, and otherwise gives better ones a
/// little time, the less the better the pair is.
///
/// Between two host candidates nothing better than what is being checked is expected; a pair through a NAT is often
/// followed by a direct one whose candidates are still on their way; a relay costs, and is worth some patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "one window for each class of pairs")]
pub struct SettleWindow {
    /// How long a pair of host candidates waits for one of higher priority that is being checked. Default 100 ms.
    pub host: Duration,
    /// How long a pair with a reflexive candidate waits. Default 250 ms.
    pub reflexive: Duration,
    /// How long a pair with a relayed candidate waits. Default 500 ms.
    pub relayed: Duration,
}

impl Default for SettleWindow {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self { host: ms(100), reflexive: ms(250), relayed: ms(500) }
    }
}

impl NominationPolicy for SettleWindow {
    fn decide(&self, view: &NominationView<'_>) -> NominationDecision {
        let Some(best) = view.valid.first() else { return NominationDecision::Wait };
        let is = |kind| best.local == kind || best.remote == kind;
        let is_relayed = is(CandidateKind::Relayed);
        let (window, may_be_bettered) = if is_relayed {
            (self.relayed, true)
        } else if is(CandidateKind::ServerReflexive) || is(CandidateKind::PeerReflexive) {
            (self.reflexive, true)
        } else {
            (self.host, false)
        };
        let mut until = after(view.first_valid_at, window);
        if view.are_candidates_complete || !may_be_bettered {
            until = match view.better {
                BetterPairs::None => view.now,
                // The round trip through a relay tells nothing of that of another path, which a NAT may have to open first.
                BetterPairs::Silent | BetterPairs::AnswersExpectedUntil(_) if is_relayed => until,
                BetterPairs::Silent => view.now,
                BetterPairs::AnswersExpectedUntil(at) => until.min(at),
                BetterPairs::Unchecked => until,
            };
        }
        if until <= view.now { NominationDecision::Nominate(best.pair) } else { NominationDecision::WaitUntil(until) }
    }
}

/// A policy that never nominates by itself: the application does, with [`Agent::nominate`](crate::Agent::nominate).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to set")]
pub struct ApplicationNominates;

impl NominationPolicy for ApplicationNominates {
    fn decide(&self, _: &NominationView<'_>) -> NominationDecision {
        NominationDecision::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::Priority;
    use crate::types::Role;

    fn decide(
        local: CandidateKind,
        age: u64,
        better: BetterPairs,
        are_candidates_complete: bool,
    ) -> NominationDecision {
        let priority = Priority::new(1).unwrap();
        let valid = [ValidPair {
            pair: PairId { serial: 3, slot: 0 },
            priority: PairPriority::compute(Role::Controlling, priority, priority),
            local,
            remote: CandidateKind::Host,
            round_trip_time: None,
        }];
        SettleWindow::default().decide(&NominationView {
            now: after(Instant::ZERO, Duration::from_millis(age)),
            first_valid_at: Instant::ZERO,
            valid: &valid,
            better,
            are_candidates_complete,
        })
    }

    /// Req: 8445-8.1.1-a
    /// Req: 8863-4-a
    /// Req: 8838-14-b
    #[test]
    fn a_pair_waits_as_long_as_its_class_says_unless_nothing_better_can_come() {
        use BetterPairs::{AnswersExpectedUntil, None, Silent, Unchecked};
        let now = NominationDecision::Nominate(PairId { serial: 3, slot: 0 });
        let at = |ms| after(Instant::ZERO, Duration::from_millis(ms));
        let until = |ms| NominationDecision::WaitUntil(at(ms));
        assert_eq!(decide(CandidateKind::Host, 0, None, false), now);
        assert_eq!(decide(CandidateKind::Host, 0, Unchecked, true), until(100));
        assert_eq!(decide(CandidateKind::Host, 0, AnswersExpectedUntil(at(30)), true), until(30));
        assert_eq!(decide(CandidateKind::Host, 30, AnswersExpectedUntil(at(30)), true), now);
        assert_eq!(decide(CandidateKind::Host, 0, AnswersExpectedUntil(at(300)), true), until(100));
        assert_eq!(decide(CandidateKind::Host, 100, Unchecked, true), now);
        assert_eq!(decide(CandidateKind::ServerReflexive, 0, None, false), until(250));
        assert_eq!(decide(CandidateKind::PeerReflexive, 0, None, true), now);
        assert_eq!(decide(CandidateKind::Relayed, 499, None, false), until(500));
        assert_eq!(decide(CandidateKind::Relayed, 0, None, true), now);
        assert_eq!(decide(CandidateKind::Host, 0, Silent, true), now);
        assert_eq!(decide(CandidateKind::PeerReflexive, 0, Silent, true), now);
        assert_eq!(decide(CandidateKind::Relayed, 0, Silent, true), until(500));
        assert_eq!(decide(CandidateKind::Relayed, 0, AnswersExpectedUntil(at(30)), true), until(500));
        assert_eq!(decide(CandidateKind::Relayed, 500, Unchecked, false), now);
    }
}
