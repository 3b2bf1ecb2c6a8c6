//! What is known of the peer of a stream.

use alloc::vec::Vec;
use core::time::Duration;

use crate::candidate::Candidate;
use crate::credentials::Credentials;
use crate::sdp::IceOptions;
use crate::types::{CandidateId, Renomination};

/// The peer's description of a stream: what signalling has told (RFC 8445 §5.4, RFC 8839 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteDescription {
    /// Username fragment and password.
    pub credentials: Credentials,
    /// The peer is an ICE lite agent. Default no.
    pub is_lite: bool,
    /// The peer trickles: more candidates may follow (RFC 8838 §3). Default yes; otherwise `candidates` are all there are.
    pub trickle: bool,
    /// The peer follows RFC 8445, so that it nominates each component once (RFC 8839 §5.6). Default no.
    pub ice2: bool,
    /// The Ta that the peer proposes. Default, with `None`, 50 ms (RFC 8839 §5.5). More than a second counts as one, which
    /// [`Event::PacingLimited`](crate::Event::PacingLimited) tells.
    pub pacing: Option<Duration>,
    /// The peer takes several nominations of a component, by this draft. Default, with `None`, one nomination only.
    pub renomination: Option<Renomination>,
    /// The candidates in the description. Default none.
    pub candidates: Vec<Candidate>,
}

impl RemoteDescription {
    /// A description of a full agent that trickles.
    #[must_use]
    pub const fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            is_lite: false,
            trickle: true,
            ice2: false,
            pacing: None,
            renomination: None,
            candidates: Vec::new(),
        }
    }

    /// The same of a lite or a full agent.
    #[must_use]
    pub const fn with_lite(mut self, is_lite: bool) -> Self {
        self.is_lite = is_lite;
        self
    }

    /// The same of an agent that trickles or not.
    #[must_use]
    pub const fn with_trickle(mut self, trickle: bool) -> Self {
        self.trickle = trickle;
        self
    }

    /// The same of an agent that follows RFC 8445 or only RFC 5245.
    #[must_use]
    pub const fn with_ice2(mut self, ice2: bool) -> Self {
        self.ice2 = ice2;
        self
    }

    /// The same with a proposed Ta.
    #[must_use]
    pub const fn with_pacing(mut self, ta: Duration) -> Self {
        self.pacing = Some(ta);
        self
    }

    /// The same of an agent that takes several nominations of a component, by this draft or not at all.
    #[must_use]
    pub const fn with_renomination(mut self, draft: Option<Renomination>) -> Self {
        self.renomination = draft;
        self
    }

    /// The same with what its `ice-options` say: `ice2`, `trickle`, `renomination` and `renomination2`
    /// (RFC 8839 §5.6).
    #[must_use]
    pub fn with_options(mut self, options: &IceOptions) -> Self {
        self.ice2 = options.ice2();
        self.trickle = options.trickle();
        self.renomination = Renomination::of(options);
        self
    }

    /// The same with these candidates.
    #[must_use]
    pub fn with_candidates(mut self, candidates: Vec<Candidate>) -> Self {
        self.candidates = candidates;
        self
    }
}

/// What became of a description of the peer. Whoever has no restart prepared need not look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteDescriptionOutcome {
    /// It is the first one of the stream: checks begin.
    Started,
    /// Its credentials are known: candidates were added that were not, and nothing else has changed.
    Updated,
    /// Its credentials are new, and the restart that was prepared takes place.
    Restarted,
    /// Its credentials are those from before the restart that is prepared: the peer has not restarted, or not yet. As with
    /// `Updated`, the session goes on with them.
    ///
    /// The restart stays prepared. A later description with new credentials makes it take place, and
    /// [`Agent::rollback_restart`](crate::Agent::rollback_restart) takes it back.
    RestartUnanswered,
    /// Its credentials are those of the generation before: it has come late, or twice. Nothing has changed.
    Outdated,
}

/// What became of a remote candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a candidate that is not used is worth a line in a log"]
#[non_exhaustive]
pub enum RemoteCandidateOutcome {
    /// It is known by this name from now on.
    Added(CandidateId),
    /// Its address was known already, under this name, from the peer's checks or from an earlier candidate.
    Known(CandidateId),
    /// It is known by this name, and was removed before while a pair of it worked: consent has ended on the 5-tuples of those
    /// pairs until a restart (RFC 7675 §5.2). It is paired with our other local candidates only.
    ConsentEnded(CandidateId),
    /// Its address is a name in `.local`, which is asked for: [`Event::ResolveName`](crate::Event::ResolveName).
    Resolving,
    /// Its address is a name that the agent does not ask for: resolve it first (RFC 8839 §5.1).
    UnresolvedName,
    /// Its component is none of the stream's.
    UnknownComponent,
    /// Its port is one of [`Config::with_prohibited_ports`](crate::Config::with_prohibited_ports): it is never checked.
    Prohibited,
    /// Its address can be nobody's: unspecified, multicast, broadcast, or with port 0.
    UnusableAddress,
    /// Its address is a loopback or link-local one, and no socket of ours is: what is there was not meant by the peer. It is
    /// paired if such a socket comes later; loopback addresses only with
    /// [`Config::with_loopback`](crate::Config::with_loopback).
    OutOfScope,
    /// Its address is left out by [`Config::with_remote_filter`](crate::Config::with_remote_filter).
    Filtered,
    /// Its `ufrag` extension is that of the generation before, or of nobody known while too many such candidates wait
    /// (RFC 8838 §9).
    OtherGeneration,
    /// Its `ufrag` extension is of nobody known: it waits for the description of the next generation.
    Deferred,
    /// There are too many candidates, and it is not better than one of them.
    TooMany,
}
