//! The states that applications see: of connection and gathering in W3C terms (webrtc-pc §5.6), and of a path.

use core::fmt;

/// State of the connection of a stream, or of all (W3C `RTCIceTransportState`, `RTCIceConnectionState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the W3C closes the set")]
pub enum ConnectionState {
    /// Nothing is known of the peer's candidates.
    New,
    /// Checks run, and no pair is known to work yet.
    Checking,
    /// Every component has a pair on which data may flow, if not yet its selected one: see
    /// [`StateReason::PairValid`] and [`StateReason::PairSelected`].
    Connected,
    /// Every component has its selected pair, and nothing better will come.
    Completed,
    /// No pair works at the moment; that may change.
    Disconnected,
    /// No pair works, and none will without a restart.
    Failed,
    /// The agent was closed.
    Closed,
}

impl ConnectionState {
    /// Its W3C name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Checking => "checking",
            Self::Connected => "connected",
            Self::Completed => "completed",
            Self::Disconnected => "disconnected",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }

    /// Whether data can flow.
    #[must_use]
    pub const fn is_connected(self) -> bool {
        matches!(self, Self::Connected | Self::Completed)
    }

    /// The state of all from the states of each, by the rule of the W3C: the first that matches.
    #[must_use]
    pub fn aggregate(states: impl Iterator<Item = Self> + Clone) -> Self {
        use ConnectionState::{Checking, Closed, Completed, Connected, Disconnected, Failed, New};
        let any = |state| states.clone().any(|one| one == state);
        let all = |allowed: &[Self]| states.clone().all(|one| allowed.contains(&one));
        if any(Closed) && all(&[Closed]) {
            Closed
        } else if any(Failed) {
            Failed
        } else if any(Disconnected) {
            Disconnected
        } else if all(&[New, Closed]) {
            New
        } else if any(New) || any(Checking) {
            Checking
        } else if all(&[Completed, Closed]) {
            Completed
        } else {
            debug_assert!(all(&[Connected, Completed, Closed]));
            Connected
        }
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// State of gathering (W3C `RTCIceGatheringState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the W3C closes the set")]
pub enum GatheringState {
    /// No candidate was gathered yet.
    New,
    /// More candidates may come.
    Gathering,
    /// All candidates are there, and the end was signalled.
    Complete,
}

impl GatheringState {
    /// Its W3C name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Gathering => "gathering",
            Self::Complete => "complete",
        }
    }

    /// The state of all from the states of each, by the rule of the W3C.
    #[must_use]
    pub fn aggregate(states: impl Iterator<Item = Self> + Clone) -> Self {
        let any = |state| states.clone().any(|one| one == state);
        if any(Self::Gathering) {
            Self::Gathering
        } else if any(Self::New) || !any(Self::Complete) {
            Self::New
        } else {
            Self::Complete
        }
    }
}

impl fmt::Display for GatheringState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why the connection state is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StateReason {
    /// Neither the peer's description nor a candidate of it is known.
    NotStarted,
    /// The peer's description is known, and no candidate of it, neither by signalling nor by a check.
    WaitingForRemoteCandidates,
    /// A candidate of the peer is known, and none of ours was handed to signalling in this generation.
    WaitingForLocalCandidates,
    /// Candidates of both sides are known, those of the peer by signalling or by a check, and no component is without hope.
    CandidatesKnown,
    /// Every component has a valid pair on which data may go, and some has no selected one.
    PairValid,
    /// Every component has its selected pair.
    PairSelected,
    /// ICE was restarted, and data goes on the pair from before until there is a new one (RFC 8445 §9).
    Restarting,
    /// Every pair has failed, and more may come: candidates of either side, or checks of the peer.
    PairsExhausted,
    /// Every pair has failed, and no more candidates will come.
    ChecksFailed,
    /// Nothing is heard of the peer on the pair that some component uses.
    PathLost,
    /// The peer's consent on the pair in use has ended, and there is no other (RFC 7675 §5.1).
    ConsentExpired,
    /// Candidates of both sides are there and no two of them can be paired: other families, components or transports.
    NoCompatiblePair,
    /// No local candidates will come, and there are none to signal.
    NoLocalCandidates,
    /// No more candidates of the peer will come, none was signalled, and no check of it has come.
    NoRemoteCandidates,
    /// A lite agent has heard no check of its peer for as long as [`Config::with_pac_timer`] says. The next one that is
    /// authentic makes it go on.
    ///
    /// [`Config::with_pac_timer`]: crate::Config::with_pac_timer
    NothingHeard,
    /// The nomination failed, and the agent is strict about it (RFC 8445 §7.2.5.3.4).
    NominationFailed,
    /// The application closed the agent.
    ClosedByApplication,
}

impl fmt::Display for StateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotStarted => "not started",
            Self::WaitingForRemoteCandidates => "waiting for remote candidates",
            Self::WaitingForLocalCandidates => "waiting for local candidates",
            Self::CandidatesKnown => "candidates are known",
            Self::PairValid => "every component has a valid pair",
            Self::PairSelected => "every component has a selected pair",
            Self::Restarting => "restarting, the pair from before is in use",
            Self::PairsExhausted => "every pair failed, more may come",
            Self::ChecksFailed => "every pair failed",
            Self::PathLost => "nothing is heard of the peer",
            Self::ConsentExpired => "consent has expired",
            Self::NoCompatiblePair => "no compatible pair",
            Self::NoLocalCandidates => "no local candidates",
            Self::NoRemoteCandidates => "no remote candidates",
            Self::NothingHeard => "no check of the peer has come",
            Self::NominationFailed => "the nomination failed",
            Self::ClosedByApplication => "closed",
        })
    }
}

/// How a path in use is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PathHealth {
    /// The peer answers.
    Healthy,
    /// An answer is missing; the path is probed, and used as before.
    Suspect,
    /// Nothing was heard for [`Config::with_detection`](crate::Config::with_detection). The path is still probed, and
    /// data may be sent until consent expires.
    Lost,
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConnectionState::{Checking, Closed, Completed, Connected, Disconnected, Failed, New};

    const ALL: [ConnectionState; 7] = [New, Checking, Connected, Completed, Disconnected, Failed, Closed];

    /// Req: wpc-iceconn-a
    #[test]
    fn the_state_of_all_is_the_first_rule_of_the_w3c_that_matches() {
        let aggregate = |states: &[ConnectionState]| ConnectionState::aggregate(states.iter().copied());
        assert_eq!(aggregate(&[]), New);
        for a in ALL {
            assert_eq!(aggregate(&[a]), a);
            for b in ALL {
                for c in ALL {
                    let states = [a, b, c];
                    let only = |allowed: &[ConnectionState]| states.iter().all(|state| allowed.contains(state));
                    let expected = match states {
                        _ if only(&[Closed]) => Closed,
                        _ if states.contains(&Failed) => Failed,
                        _ if states.contains(&Disconnected) => Disconnected,
                        _ if only(&[New, Closed]) => New,
                        _ if states.contains(&New) || states.contains(&Checking) => Checking,
                        _ if only(&[Completed, Closed]) => Completed,
                        _ => Connected,
                    };
                    assert_eq!(aggregate(&states), expected, "{states:?}");
                }
            }
        }
    }

    /// Req: wpc-gathering-a
    #[test]
    fn gathering_of_all_is_gathering_if_any_is_and_complete_if_all_are() {
        use GatheringState::{Complete, Gathering, New};
        let aggregate = |states: &[GatheringState]| GatheringState::aggregate(states.iter().copied());
        assert_eq!(aggregate(&[]), New);
        assert_eq!(aggregate(&[New, Complete]), New);
        assert_eq!(aggregate(&[Complete, Gathering, New]), Gathering);
        assert_eq!(aggregate(&[Complete, Complete]), Complete);
    }
}
