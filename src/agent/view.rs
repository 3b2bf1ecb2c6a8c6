//! Read-only views of what an agent knows.

use core::net::SocketAddr;
use core::time::Duration;

use super::Agent;
use crate::candidate::{Candidate, CandidateAddress};
use crate::checklist::{CandidatePair, CandidatePairState, ChecklistState, PairPriority};
use crate::credentials::Credentials;
use crate::sdp::IceOptions;
use crate::stats::{AgentStats, PairStats};
use crate::types::{
    CandidateId, ComponentId, ConnectionState, GatheringState, Instant, PairId, PathHealth, Renomination, Role,
    StateReason, StreamId,
};

/// A candidate pair as it is at the moment.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PairView<'a> {
    /// Its name.
    pub id: PairId,
    /// Its stream.
    pub stream: StreamId,
    /// Its component.
    pub component: ComponentId,
    /// Name of its local candidate.
    pub local_id: CandidateId,
    /// Its local candidate.
    pub local: &'a Candidate,
    /// Name of its remote candidate.
    pub remote_id: CandidateId,
    /// Its remote candidate.
    pub remote: &'a Candidate,
    /// The address that its packets leave from: the base of the local candidate.
    pub base: SocketAddr,
    /// The address that its packets are sent to.
    pub remote_address: SocketAddr,
    /// Its state.
    pub state: CandidatePairState,
    /// Its priority (RFC 8445 §6.1.2.3).
    pub priority: PairPriority,
    /// It is on the valid list (RFC 8445 §7.2.5.3.2).
    pub is_valid: bool,
    /// It is nominated (RFC 8445 §8.1.1).
    pub is_nominated: bool,
    /// It is the selected pair of its component (RFC 8445 §12.1).
    pub is_selected: bool,
    /// Its counters.
    pub stats: PairStats,
}

/// How the path that a component uses is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathReport {
    /// The pair in use.
    pub pair: PairId,
    /// How it is doing.
    pub health: PathHealth,
    /// When the last answer came, which gave consent for 30 s (RFC 7675 §5.1).
    pub answered_at: Instant,
    /// When the peer was last heard in whatever way.
    pub heard_at: Instant,
    /// When anything was sent on it last: a check, an answer, or data.
    pub sent_at: Option<Instant>,
    /// Since when checks have been sent in vain, if they are.
    pub unanswered_since: Option<Instant>,
    /// Share of the checks of late that were not answered in time, in thousandths; `None` while there were too few to tell.
    pub loss: Option<u16>,
    /// When the health gets worse unless something is heard; `None` while nothing is asked or missing.
    pub next_state_at: Option<Instant>,
}

/// A local candidate as it is at the moment.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LocalCandidateView<'a> {
    /// Its name.
    pub id: CandidateId,
    /// What is or was signalled; the priority is final once its event was taken.
    pub candidate: &'a Candidate,
    /// The address that its packets leave from (RFC 8445 §4).
    pub base: SocketAddr,
    /// The URI of the server that has helped to find it (W3C `RTCIceCandidate.url`); it is not signalled.
    pub url: Option<&'a str>,
    /// Its event was taken.
    pub is_announced: bool,
}

/// A remote candidate as it is at the moment.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RemoteCandidateView<'a> {
    /// Its name.
    pub id: CandidateId,
    /// What was signalled, or what its checks have shown.
    pub candidate: &'a Candidate,
    /// It was signalled.
    pub is_signalled: bool,
}

impl<'a> RemoteCandidateView<'a> {
    /// The address as far as scripts and statistics may know it (W3C `RTCIceCandidatePair.remote`): `None` for one that only
    /// checks have shown, and the name where the peer has hidden the address behind one.
    #[must_use]
    pub const fn shown_address(&self) -> Option<&'a CandidateAddress> {
        if self.is_signalled { Some(self.candidate.address()) } else { None }
    }
}

impl Agent {
    /// What to list as `ice-options` in the description for the peer (RFC 8839 §5.6).
    #[must_use]
    pub fn ice_options(&self) -> IceOptions {
        let renomination = [IceOptions::RENOMINATION, IceOptions::RENOMINATION2];
        let wanted = renomination.into_iter().filter(|_| self.config.renomination);
        let all = core::iter::once(IceOptions::TRICKLE).chain(wanted);
        all.fold(IceOptions::default(), |options, token| options.clone().with(token).unwrap_or(options))
    }

    /// How both sides take several nominations of a component of this stream; `None` if one is all there is.
    #[must_use]
    pub fn renomination(&self, stream: StreamId) -> Option<Renomination> {
        self.stream(stream)?.renomination
    }

    /// The role in effect (RFC 8445 §6.1.1).
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The connection state of all streams together, as of the last poll.
    #[must_use]
    pub const fn state(&self) -> ConnectionState {
        self.state
    }

    /// The state of the ICE session in the terms of RFC 8445 §6.1.3, as of the last poll.
    #[must_use]
    pub fn session_state(&self) -> ChecklistState {
        self.set.session_state()
    }

    /// The gathering state of all streams together.
    #[must_use]
    pub const fn gathering_state(&self) -> GatheringState {
        self.gathering
    }

    /// Ta in effect: the larger one of the two sides' proposals (RFC 8839 §5.5).
    #[must_use]
    pub const fn ta(&self) -> Duration {
        self.pacer.ta()
    }

    /// The streams, in the order in which they were added.
    pub fn streams(&self) -> impl Iterator<Item = StreamId> {
        self.streams.iter().map(|stream| stream.id)
    }

    /// The connection state of a stream, as of the last poll, and why it is that.
    #[must_use]
    pub fn stream_state(&self, stream: StreamId) -> Option<(ConnectionState, StateReason)> {
        self.stream(stream).map(|stream| (stream.state, stream.reason))
    }

    /// Our credentials for a stream: what the peer has to be told.
    #[must_use]
    pub fn local_credentials(&self, stream: StreamId) -> Option<&Credentials> {
        self.stream(stream).map(|stream| &stream.local.credentials)
    }

    /// The local candidates of a stream, peer-reflexive ones included, in the order in which they became known.
    pub fn local_candidates(&self, stream: StreamId) -> impl Iterator<Item = LocalCandidateView<'_>> {
        self.stream(stream).into_iter().flat_map(|stream| stream.locals.iter()).map(|local| LocalCandidateView {
            id: local.id,
            candidate: &local.candidate,
            base: local.base,
            url: local.url.as_deref(),
            is_announced: local.announced_in.is_some(),
        })
    }

    /// The remote candidates of a stream, peer-reflexive ones included, in the order in which they became known.
    pub fn remote_candidates(&self, stream: StreamId) -> impl Iterator<Item = RemoteCandidateView<'_>> {
        self.stream(stream).into_iter().flat_map(|stream| stream.remotes.iter()).map(|remote| RemoteCandidateView {
            id: remote.id,
            candidate: &remote.candidate,
            is_signalled: remote.is_signalled,
        })
    }

    /// The selected pair of a component (RFC 8445 §8.1.2), as of the last poll.
    #[must_use]
    pub fn selected_pair(&self, stream: StreamId, component: ComponentId) -> Option<PairView<'_>> {
        self.pair(self.component((stream, component))?.selection.selected()?)
    }

    /// The pair on which data of a component goes: the selected one or, before there is one, the best valid one
    /// (RFC 8445 §12.1).
    #[must_use]
    pub fn usable_pair(&self, stream: StreamId, component: ComponentId) -> Option<PairView<'_>> {
        self.pair(self.in_use(stream, self.component((stream, component))?)?)
    }

    /// How the path that a component uses is doing; `None` if there is none, or nothing watches it.
    #[must_use]
    pub fn path_report(&self, stream: StreamId, component: ComponentId) -> Option<PathReport> {
        let pair = self.set.get(self.component((stream, component))?.selection.in_use()?)?;
        let consent = self.consent(pair.id)?;
        Some(PathReport {
            pair: pair.id,
            health: consent.health(),
            answered_at: consent.answered_at(),
            heard_at: consent.heard_at(),
            sent_at: pair.last_sent_at,
            unanswered_since: consent.unanswered_since(),
            loss: consent.loss(),
            next_state_at: consent.next_state_at(self.config.detection()),
        })
    }

    /// One pair, if it exists.
    #[must_use]
    pub fn pair(&self, pair: PairId) -> Option<PairView<'_>> {
        self.view(self.set.get(pair)?)
    }

    /// All pairs, in no particular order.
    pub fn pairs(&self) -> impl Iterator<Item = PairView<'_>> {
        self.set.iter().filter_map(|pair| self.view(pair))
    }

    fn view(&self, pair: &CandidatePair) -> Option<PairView<'_>> {
        let stream = self.stream(pair.stream)?;
        let selected = stream.component(pair.component)?.selection.selected();
        Some(PairView {
            id: pair.id,
            stream: pair.stream,
            component: pair.component,
            local_id: pair.local,
            local: &stream.locals.get(pair.local)?.candidate,
            remote_id: pair.remote,
            remote: &stream.remotes_in(pair.generation)?.get(pair.remote)?.candidate,
            base: pair.path.base,
            remote_address: pair.path.remote,
            state: pair.state.get(),
            priority: pair.priority,
            is_valid: pair.is_valid,
            is_nominated: self.is_nominated(pair),
            is_selected: selected == Some(pair.id),
            stats: pair.stats,
        })
    }

    /// Counters.
    #[must_use]
    pub const fn stats(&self) -> &AgentStats {
        &self.stats
    }
}
