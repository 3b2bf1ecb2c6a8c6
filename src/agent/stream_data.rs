//! What an agent keeps of each stream.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

use smallvec::SmallVec;

use super::outbox::Outgoing;
use super::restart::{Pending, Previous};
use super::revocation::Revocations;
use super::statistics::Traffic;
use crate::candidate::{Candidate, LocalCandidates, RemoteCandidates};
use crate::check::Search;
use crate::config::limits;
use crate::credentials::{Credentials, Ufrag};
use crate::nomination::Nomination;
use crate::selection::Selection;
use crate::stun::{IntegrityKey, TransactionId};
use crate::types::{
    ComponentId, ConnectionState, GatheringState, Instant, PairId, Path, Recent, Renomination, Role, StateReason,
    StreamId, TrafficClass,
};

/// Credentials with the key that is made of the password.
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    pub(crate) credentials: Credentials,
    pub(crate) key: IntegrityKey,
}

impl Keyed {
    pub(crate) fn new(credentials: Credentials) -> Self {
        let key = IntegrityKey::new(&credentials.password);
        Self { credentials, key }
    }

    pub(crate) fn ufrag(&self) -> &str {
        self.credentials.ufrag.as_str()
    }
}

/// What a check of the peer nominates by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nominating {
    pub(crate) transaction: TransactionId,
    /// Its value, where that was negotiated.
    pub(crate) value: Option<u32>,
}

/// A check that came before the peer's credentials, reduced to its consequences (RFC 8445 §7.3).
#[derive(Clone, Debug)]
pub(crate) struct EarlyCheck {
    pub(crate) component: ComponentId,
    /// How it came.
    pub(crate) path: Path,
    /// The generation of ours that it was addressed to.
    pub(crate) generation: u32,
    /// The username fragment that it claims to come from.
    pub(crate) ufrag: Box<[u8]>,
    pub(crate) priority: u32,
    pub(crate) claimed: Role,
    /// The latest request that nominated, if any did.
    pub(crate) nomination: Option<Nominating>,
    pub(crate) has_plain_check: bool,
}

/// What is known of one component.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    pub(crate) id: ComponentId,
    pub(crate) nomination: Nomination,
    pub(crate) selection: Selection,
    /// When a check of the peer, or an answer of it, came on any pair.
    pub(crate) heard_at: Option<Instant>,
    /// A check was lost while the peer was heard.
    pub(crate) is_lossy: bool,
    /// What went through it since it was made.
    pub(crate) traffic: Traffic,
}

impl Component {
    pub(crate) fn new(id: ComponentId) -> Self {
        Self {
            id,
            nomination: Nomination::default(),
            selection: Selection::default(),
            heard_at: None,
            is_lossy: false,
            traffic: Traffic::default(),
        }
    }

    /// A pair works no more, or is gone; gives the pair whose checks carry the nomination that ends with it.
    pub(crate) fn lose(&mut self, pair: PairId) -> Option<PairId> {
        self.selection.lose(pair);
        self.nomination.lose(pair)
    }

    /// Whether a pair carries what the component sends, or is about to.
    pub(crate) fn uses(&self, pair: PairId) -> bool {
        self.selection.uses(pair) || [self.nomination.pair(), self.nomination.pinned()].contains(&Some(pair))
    }

    /// Begins a new generation, in which a pair of the old one is used for the time being.
    pub(crate) fn restart(&mut self, in_use: Option<PairId>) {
        self.nomination.restart(in_use);
        self.selection.restart(in_use);
        (self.heard_at, self.is_lossy) = (None, false);
    }
}

/// A data stream.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) components: SmallVec<[Component; 1]>,
    pub(crate) local: Keyed,
    /// The peer's credentials; more than one if the description was forked (RFC 8445 §7.3.1.4).
    pub(crate) remote: SmallVec<[Keyed; 1]>,
    pub(crate) locals: LocalCandidates,
    pub(crate) remotes: RemoteCandidates,
    pub(crate) early: Vec<EarlyCheck>,
    /// The number of the current generation, and of the next one (RFC 8445 §9).
    pub(crate) generation: u32,
    pub(crate) next_generation: u32,
    pub(crate) pending: Option<Pending>,
    pub(crate) previous: Option<Previous>,
    /// Addresses whose candidates the application has removed.
    pub(crate) removed: Recent<SocketAddr, { limits::REMOVED }>,
    /// Where a pair that worked had one of those: checks are refused there.
    pub(crate) revoked: Revocations,
    /// Paths whose pairs the application has removed.
    pub(crate) vetoed: Recent<Path, { limits::REMOVED }>,
    /// The application has withdrawn our consent: checks are refused (RFC 7675 §5.2).
    pub(crate) is_revoked: bool,
    /// Candidates that name a username fragment of the peer which is not known yet: signalling may overtake itself.
    pub(crate) deferred: Vec<Candidate>,
    /// Their end, if it was signalled.
    pub(crate) deferred_end: Option<Ufrag>,
    /// Candidates of the peer whose name is asked for.
    pub(crate) unresolved: Vec<Candidate>,
    /// The generation whose last candidate was signalled.
    pub(crate) ended_generation: Option<u32>,
    pub(crate) gathering: GatheringState,
    /// What is told of the candidates once the stream leaves the candidate pool; `None` outside of it.
    pub(crate) held: Option<Vec<Outgoing>>,
    /// The agent gathers by itself, and says the end of it.
    pub(crate) gathers: bool,
    /// The peer said that no more candidates come, or is known not to trickle.
    pub(crate) has_all_remotes: bool,
    /// How both sides take several nominations of a component, if they do.
    pub(crate) renomination: Option<Renomination>,
    /// The peer says that it follows RFC 8445.
    pub(crate) is_ice2: bool,
    /// The peer is a lite agent.
    pub(crate) is_remote_lite: bool,
    pub(crate) pac_deadline: Option<Instant>,
    /// How many pairs were ever made.
    pub(crate) pairs_made: u32,
    pub(crate) failure: Option<StateReason>,
    /// Pairs that have failed are checked again.
    pub(crate) search: Option<Search>,
    pub(crate) nomination_failed: bool,
    /// A remote candidate was refused for the limit, and the application was told.
    pub(crate) has_told_limit: bool,
    pub(crate) state: ConnectionState,
    pub(crate) reason: StateReason,
    /// How what is sent for it is marked.
    pub(crate) traffic_class: TrafficClass,
}

impl Stream {
    /// The stream of this name, of several that are in the order of their names.
    pub(crate) fn find(streams: &[Self], id: StreamId) -> Option<&Self> {
        let place = streams.binary_search_by_key(&id, |stream| stream.id).ok()?;
        streams.get(place)
    }

    pub(crate) fn find_mut(streams: &mut [Self], id: StreamId) -> Option<&mut Self> {
        let place = streams.binary_search_by_key(&id, |stream| stream.id).ok()?;
        streams.get_mut(place)
    }

    pub(crate) fn new(id: StreamId, components: u16, local: Credentials) -> Self {
        Self {
            id,
            components: (1..=components).filter_map(ComponentId::new).map(Component::new).collect(),
            local: Keyed::new(local),
            remote: SmallVec::new(),
            locals: LocalCandidates::default(),
            remotes: RemoteCandidates::default(),
            early: Vec::new(),
            generation: 0,
            next_generation: 1,
            pending: None,
            previous: None,
            removed: Recent::default(),
            revoked: Revocations::default(),
            vetoed: Recent::default(),
            is_revoked: false,
            deferred: Vec::new(),
            unresolved: Vec::new(),
            deferred_end: None,
            ended_generation: None,
            gathering: GatheringState::New,
            held: None,
            gathers: false,
            has_all_remotes: false,
            renomination: None,
            is_ice2: false,
            is_remote_lite: false,
            pac_deadline: None,
            pairs_made: 0,
            failure: None,
            search: None,
            nomination_failed: false,
            has_told_limit: false,
            state: ConnectionState::New,
            reason: StateReason::NotStarted,
            traffic_class: TrafficClass::DEFAULT,
        }
    }

    pub(crate) fn component(&self, id: ComponentId) -> Option<&Component> {
        self.components.get(id.index())
    }

    pub(crate) fn component_mut(&mut self, id: ComponentId) -> Option<&mut Component> {
        self.components.get_mut(id.index())
    }

    /// The components that both sides have: all, until the peer's candidates are complete and have fewer
    /// (RFC 8445 §6.1.2.2).
    pub(crate) fn effective_components(&self) -> &[Component] {
        let highest = |ids: &mut dyn Iterator<Item = ComponentId>| ids.max().map_or(0, |id| usize::from(id.get()));
        let mut count = self.components.len();
        if self.has_all_remotes && !self.remotes.is_empty() {
            count = count.min(highest(&mut self.remotes.iter().map(|remote| remote.candidate.component())));
        }
        if self.is_gathered() && self.locals.iter().next().is_some() {
            count = count.min(highest(&mut self.locals.iter().map(|local| local.candidate.component())));
        }
        self.components.get(..count).unwrap_or(&self.components)
    }

    /// Which of the peer's credentials have this username fragment.
    pub(crate) fn peer(&self, ufrag: &[u8]) -> Option<u8> {
        let place = self.remote.iter().position(|keyed| keyed.ufrag().as_bytes() == ufrag)?;
        u8::try_from(place).ok()
    }

    /// Whether the end of the local candidates of a generation was signalled.
    pub(crate) fn ended_in(&self, generation: u32) -> bool {
        match &self.pending {
            Some(pending) if pending.generation == generation => pending.has_ended,
            Some(_) | None => self.ended_generation >= Some(generation),
        }
    }

    /// The generation that local candidates are gathered for.
    pub(crate) fn gathering_generation(&self) -> u32 {
        self.pending.as_ref().map_or(self.generation, |pending| pending.generation)
    }

    /// Whether the local candidates of the current generation are complete.
    pub(crate) fn is_gathered(&self) -> bool {
        self.ended_generation >= Some(self.generation)
    }

    /// Takes back that the local candidates of the generation that is gathered for are complete: another one has come.
    pub(crate) fn reopen(&mut self) {
        match self.pending.as_mut() {
            Some(pending) => pending.has_ended = false,
            None => self.ended_generation = self.ended_generation.filter(|ended| *ended < self.generation),
        }
    }

    /// The gathering state of the current generation alone.
    pub(crate) fn gathering_before_restart(&self) -> GatheringState {
        match self.is_gathered() {
            true => GatheringState::Complete,
            false if self.locals.iter().next().is_some() => GatheringState::Gathering,
            false => GatheringState::New,
        }
    }

    pub(crate) fn are_candidates_complete(&self) -> bool {
        self.has_all_remotes && self.is_gathered()
    }
}
