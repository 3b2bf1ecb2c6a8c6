//! Roles, and what a conflict of roles means (RFC 8445 §6.1.1, §7.3.1.1).

use core::fmt;

/// Who nominates (RFC 8445 §6.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 8445 closes the set")]
pub enum Role {
    /// Nominates the pair that is used.
    Controlling,
    /// Follows the nomination of its peer.
    Controlled,
}

impl Role {
    /// The role of the other side.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Controlling => Self::Controlled,
            Self::Controlled => Self::Controlling,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Controlling => "controlling",
            Self::Controlled => "controlled",
        })
    }
}

/// The number that decides a conflict of roles (RFC 8445 §5.2, §16.1). It is not printed: whoever knows it wins every conflict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tiebreaker(u64);

impl Tiebreaker {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its value, for the wire.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Tiebreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tiebreaker(..)")
    }
}

/// What the role that a request claims means for our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoleVerdict {
    /// The roles fit.
    Agree,
    /// We keep ours; the peer has to change.
    KeepAndReply487,
    /// We change.
    Switch,
}

/// Decides a role conflict (RFC 8445 §7.3.1.1).
pub(crate) const fn judge(ours: Role, own: Tiebreaker, claimed: Role, theirs: Tiebreaker) -> RoleVerdict {
    let (own, theirs) = (own.get(), theirs.get());
    use Role::{Controlled, Controlling};
    match (ours, claimed) {
        (Controlling, Controlled) | (Controlled, Controlling) => RoleVerdict::Agree,
        (Controlling, Controlling) if own >= theirs => RoleVerdict::KeepAndReply487,
        (Controlling, Controlling) => RoleVerdict::Switch,
        (Controlled, Controlled) if own >= theirs => RoleVerdict::Switch,
        (Controlled, Controlled) => RoleVerdict::KeepAndReply487,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Req: 8445-7.3.1.1-a
    /// Req: 8445-7.3.1.1-b
    #[test]
    fn the_higher_tiebreaker_is_or_stays_controlling() {
        use Role::{Controlled, Controlling};
        use RoleVerdict::{Agree, KeepAndReply487, Switch};
        let verdicts = |ours, claimed| {
            let judge = |(own, theirs)| judge(ours, Tiebreaker::new(own), claimed, Tiebreaker::new(theirs));
            [(1, 2), (2, 2), (3, 2)].map(judge)
        };
        assert_eq!(verdicts(Controlling, Controlling), [Switch, KeepAndReply487, KeepAndReply487]);
        assert_eq!(verdicts(Controlled, Controlled), [KeepAndReply487, Switch, Switch]);
        assert_eq!(verdicts(Controlling, Controlled), [Agree; 3]);
        assert_eq!(verdicts(Controlled, Controlling), [Agree; 3]);
    }

    #[test]
    fn a_tiebreaker_is_not_printed() {
        assert_eq!(std::format!("{:?}", Tiebreaker::new(1234)), "Tiebreaker(..)");
    }
}
