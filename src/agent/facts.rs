//! The state of a stream, derived in one function from what is so (webrtc-pc §5.6).

use crate::types::{ConnectionState, StateReason};

/// What the state of a stream follows from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamFacts {
    pub(crate) is_closed: bool,
    /// The checklist has failed, for this reason.
    pub(crate) failure: Option<StateReason>,
    pub(crate) has_remote_candidates: bool,
    pub(crate) has_remote_credentials: bool,
    pub(crate) has_announced_candidates: bool,
    /// Every component has a valid pair.
    pub(crate) is_usable: bool,
    /// Some component had a valid pair since the beginning, or since the restart.
    pub(crate) was_usable: bool,
    /// Every component has its selected pair.
    pub(crate) is_selected: bool,
    /// ICE was restarted.
    pub(crate) is_restarted: bool,
    /// Some component uses a pair of the generation before the restart.
    pub(crate) is_restarting: bool,
    /// Nothing is heard of the peer on the pair that some component uses.
    pub(crate) is_lost: bool,
    /// The consent that some component had has ended.
    pub(crate) has_lost_consent: bool,
    /// No more candidates will come, from either side.
    pub(crate) is_complete: bool,
    /// There were pairs, and none is left to check.
    pub(crate) is_exhausted: bool,
}

/// The connection state of a stream (webrtc-pc §5.6.4, RFC 8838 §8).
pub(crate) const fn stream_state(facts: &StreamFacts) -> (ConnectionState, StateReason) {
    use ConnectionState::{Checking, Closed, Completed, Connected, Disconnected, Failed, New};
    if facts.is_closed {
        return (Closed, StateReason::ClosedByApplication);
    }
    if let Some(reason) = facts.failure {
        return (Failed, reason);
    }
    if facts.is_lost {
        return (Disconnected, StateReason::PathLost);
    }
    if facts.is_selected {
        return (if facts.is_complete { Completed } else { Connected }, StateReason::PairSelected);
    }
    if facts.is_usable {
        return (Connected, if facts.is_restarting { StateReason::Restarting } else { StateReason::PairValid });
    }
    if !facts.has_remote_candidates && facts.was_usable {
        return (Disconnected, StateReason::WaitingForRemoteCandidates);
    }
    if !facts.has_remote_candidates {
        let is_waiting = facts.has_remote_credentials;
        // After a restart the state is never that of a beginning.
        let state = if facts.is_restarted { Checking } else { New };
        return (state, if is_waiting { StateReason::WaitingForRemoteCandidates } else { StateReason::NotStarted });
    }
    if facts.is_exhausted {
        let is_expired = facts.has_lost_consent;
        return (Disconnected, if is_expired { StateReason::ConsentExpired } else { StateReason::PairsExhausted });
    }
    let is_waiting = !facts.has_announced_candidates;
    (Checking, if is_waiting { StateReason::WaitingForLocalCandidates } else { StateReason::CandidatesKnown })
}
