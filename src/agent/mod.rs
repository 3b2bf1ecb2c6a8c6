//! The agent: its fields, constructor and commands. What comes in is in `input`, `requests` and `responses`, what
//! follows from it in `pairing` and `conclude`, and what goes out in `output`.

#[cfg(feature = "sim")]
mod audit;
#[cfg(feature = "sim")]
mod canon;
mod conclude;
mod connection_end;
mod connections;
mod data;
mod describe;
mod description;
mod error;
mod event_queue;
mod facts;
mod forms;
mod gathering;
mod hold;
mod hosts;
mod input;
mod ledger;
mod lite;
mod liveness;
mod moves;
mod names;
mod outbox;
mod output;
mod pair_control;
mod pairing;
mod pool;
#[cfg(not(feature = "turn"))]
#[path = "no_relay.rs"]
mod relay;
#[cfg(feature = "turn")]
mod relay;
#[cfg(feature = "turn")]
mod relay_link;
#[cfg(feature = "turn")]
mod relay_pairs;
#[cfg(feature = "turn")]
mod relays;
mod removal;
mod requests;
mod reserve;
mod responses;
mod restart;
mod revocation;
mod search;
mod send_failure;
mod sockets;
mod statistics;
mod stream_data;
mod stream_gathering;
mod streams;
mod view;
#[cfg(test)]
mod work_tests;
mod wrap;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

#[cfg(feature = "sim")]
pub(crate) use canon::DrawnNames;
pub use describe::CandidateListing;
pub use description::{RemoteCandidateOutcome, RemoteDescription, RemoteDescriptionOutcome};
pub use error::{
    AddLocalCandidateError, AddRemoteCandidateError, AddStreamError, GatherError, NominateError, RemoveCandidateError,
    SendError, SetRemoteDescriptionError, UnknownPair, UnknownStream,
};
pub use input::Received;
pub use statistics::{CandidateStats, TransportStats};
pub use view::{LocalCandidateView, PairView, PathReport, RemoteCandidateView};

use crate::candidate::{LocalFoundations, RemoteFoundations};
use crate::check::Pacer;
use crate::checklist::{CandidatePair, ChecklistSet};
use crate::config::{Config, ConfigError, limits};
use crate::credentials::{Credentials, Ufrag};
use crate::event::Event;
use crate::gather::Gatherer;
use crate::nomination::{Asked, Nomination};
use crate::stats::AgentStats;
use crate::tcp::Connections;
use crate::types::{
    CandidateId, ComponentId, ConnectionState, GatheringState, Instant, Random, Role, Seed, StreamId, Tiebreaker,
    Transport, last,
};
use forms::MappedSockets;
use ledger::Ledger;
use outbox::{Outbox, Outgoing};
use stream_data::{Keyed, Stream};

/// Where packets of a component arrive.
#[derive(Clone, Copy, Debug)]
struct Socket {
    stream: StreamId,
    component: ComponentId,
    host: CandidateId,
}

/// Answers to requests that were not authenticated: so many a second (RFC 8489 §9.1.3).
#[derive(Clone, Copy, Debug)]
struct ReplyLimit {
    since: Instant,
    used: u32,
}

/// An ICE agent (RFC 8445): a state machine that is told what arrives and what time it is, and says what to send.
///
/// See the [crate documentation](crate) for the loop around it.
///
/// # Clones
///
/// A clone is the same agent in all respects, randomness included: given the same calls, it and the original draw the same
/// credentials, tiebreaker and transaction IDs. That is what snapshots and model checking want. Two agents that both talk to
/// somebody must not share secrets: whoever makes agents by cloning a template calls [`reseed`](Self::reseed) on each clone.
///
/// # Time
///
/// `now` never goes back: an instant before the latest one that was named counts as that one, and does no harm. One that is
/// in the future by mistake is believed: all that is due until then happens at once, such as the end of consent and of
/// allocations, and from then on the clock of the agent stands still until real time has caught up. There is no way back but
/// another agent, so the instants of one agent have to come from one clock.
#[derive(Clone, Debug)]
pub struct Agent {
    config: Arc<Config>,
    role: Role,
    tiebreaker: Tiebreaker,
    random: Random,
    streams: Vec<Stream>,
    sockets: BTreeMap<(Transport, SocketAddr), Socket>,
    mapped_sockets: MappedSockets,
    set: ChecklistSet,
    pacer: Pacer,
    /// Keeps consent checks apart, which do not count against Ta.
    consent_pacer: Pacer,
    local_foundations: LocalFoundations,
    remote_foundations: RemoteFoundations,
    next_stream: u32,
    next_candidate: u64,
    /// Counts the nominations of the peer.
    nominations: u64,
    outbox: Outbox,
    ledger: Ledger,
    gatherer: Gatherer,
    connections: Connections,
    /// The names that hide addresses of ours.
    names: BTreeMap<IpAddr, Arc<str>>,
    relays: relay::Relays,
    stats: AgentStats,
    reply_limit: ReplyLimit,
    /// The latest instant that the caller has named.
    now: Instant,
    /// Something has changed that states, nominations or selections may follow from.
    is_dirty: bool,
    is_closed: bool,
    /// Some stream is marked.
    is_marked: bool,
    /// The application expects no data.
    is_idle: bool,
    gathering: GatheringState,
    state: ConnectionState,
}

impl Agent {
    /// An agent without streams.
    ///
    /// The initiator of the session is [`Role::Controlling`], the responder [`Role::Controlled`] (RFC 8445 §6.1.1);
    /// should both think the same, the agents repair it. `config` may be shared between agents by an [`Arc`].
    ///
    /// # Errors
    /// [`ConfigError`] if a value of the configuration is out of its range.
    pub fn new(config: impl Into<Arc<Config>>, role: Role, seed: Seed) -> Result<Self, ConfigError> {
        let config = config.into();
        config.check()?;
        let mut random = Random::new(&seed);
        let mut set = ChecklistSet::new(config.max_pairs, config.schedule());
        set.log_changes(config.pair_events);
        Ok(Self {
            role,
            tiebreaker: Tiebreaker::new(random.u64()),
            random,
            streams: Vec::new(),
            sockets: BTreeMap::new(),
            mapped_sockets: MappedSockets::default(),
            set,
            pacer: Pacer::new(config.ta),
            consent_pacer: Pacer::new(config.ta),
            local_foundations: LocalFoundations::default(),
            remote_foundations: RemoteFoundations::default(),
            next_stream: 0,
            next_candidate: 0,
            nominations: 0,
            outbox: Outbox::default(),
            ledger: Ledger::default(),
            gatherer: Gatherer::default(),
            connections: Connections::default(),
            names: BTreeMap::new(),
            relays: relay::Relays::default(),
            stats: AgentStats::default(),
            reply_limit: ReplyLimit { since: Instant::from_nanos(i64::MIN), used: 0 },
            now: Instant::from_nanos(i64::MIN),
            is_dirty: false,
            is_closed: false,
            is_marked: false,
            is_idle: false,
            gathering: GatheringState::New,
            state: ConnectionState::New,
            config,
        })
    }

    /// Draws all that is secret anew, and from `seed` from now on: for a clone, which would draw the same as the original. See
    /// [Clones](Self#clones).
    ///
    /// Before anything is known of the peer, that is the tiebreaker, and for each stream without a remote description the
    /// username fragment and the password: signal them, and the candidates, only afterwards. What a session has begun with
    /// stays as it is, and only what is drawn later comes from the new seed: transaction IDs, the credentials of the next
    /// restart, times. Names that hide addresses ([`Config::with_mdns`](crate::Config::with_mdns)) stay those of the template:
    /// give sockets to the clone.
    pub fn reseed(&mut self, seed: Seed) {
        self.random = Random::new(&seed);
        if self.streams.iter().all(|stream| stream.remote.is_empty()) {
            self.tiebreaker = Tiebreaker::new(self.random.u64());
        }
        for stream in &mut self.streams {
            if !stream.remote.is_empty() || stream.pending.is_some() {
                continue;
            }
            stream.local = Keyed::new(Credentials::generate(&mut self.random));
            let held = stream.held.iter_mut().flatten();
            for outgoing in self.outbox.events.iter_mut().chain(held) {
                if let Outgoing::Event(Event::EndOfCandidates { stream: of, ufrag, .. }) = outgoing {
                    if *of == stream.id {
                        *ufrag = stream.local.credentials.ufrag.clone();
                    }
                }
            }
        }
    }

    /// Most streams at a time: 1,024.
    pub const MAX_STREAMS: usize = limits::STREAMS;

    /// Adds a data stream with components 1 to `components`, and new credentials. Streams are checked in the order in
    /// which they were added (RFC 8445 §6.1.2.1).
    ///
    /// # Errors
    /// * [`ComponentCount`](AddStreamError::ComponentCount) unless there are 1 to 256 components.
    /// * [`TooMany`](AddStreamError::TooMany) if there are [`MAX_STREAMS`](Self::MAX_STREAMS), or four billion were made.
    /// * [`Closed`](AddStreamError::Closed) after [`close`](Self::close).
    pub fn add_stream(&mut self, components: u16) -> Result<StreamId, AddStreamError> {
        if self.is_closed {
            return Err(AddStreamError::Closed);
        }
        if components == 0 || components > limits::COMPONENTS {
            return Err(AddStreamError::ComponentCount(components));
        }
        if self.streams.len() >= Self::MAX_STREAMS || self.next_stream == u32::MAX {
            return Err(AddStreamError::TooMany(self.streams.len()));
        }
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        let credentials = Credentials::generate(&mut self.random);
        self.streams.push(Stream::new(id, components, credentials));
        self.set.add_list(id, components);
        self.update_gathering();
        Ok(id)
    }

    /// Says that no further local candidates of this stream will come, which is signalled to the peer (RFC 8838 §13).
    /// Saying it again changes nothing.
    ///
    /// # Errors
    /// [`UnknownStream`] if there is none of that name.
    pub fn end_of_local_candidates(&mut self, now: Instant, stream: StreamId) -> Result<(), UnknownStream> {
        self.observe(now);
        self.add_mapped();
        let data = self.stream_mut(stream).ok_or(UnknownStream(stream))?;
        if data.gathering == GatheringState::Complete {
            return Ok(());
        }
        data.gathering = GatheringState::Complete;
        let generation = data.gathering_generation();
        match data.pending.as_mut() {
            Some(pending) => pending.has_ended = true,
            None => data.ended_generation = Some(generation),
        }
        let ufrag = data.local_in(generation).map(|keyed| keyed.credentials.ufrag.clone());
        if let Some(ufrag) = ufrag {
            self.emit(Event::EndOfCandidates { stream, generation, ufrag });
        }
        self.stop_gathering(stream);
        self.update_gathering();
        Ok(())
    }

    /// Takes the peer's description of a stream: credentials, abilities, and the candidates that it lists.
    ///
    /// Checks begin with it, once there are candidates on both sides. Taking the same credentials again adds candidates
    /// that are not known yet and changes nothing else. Other credentials are a restart of the peer: they are taken if a
    /// restart is prepared, see [`prepare_restart`](Self::prepare_restart). What became of it is in the outcome; a peer that
    /// did not take part in a restart is [`RestartUnanswered`](RemoteDescriptionOutcome::RestartUnanswered).
    ///
    /// A peer may keep its username fragment in a restart and change the password alone, which is against RFC 8839 §5.4 and
    /// RFC 8445 §9 but happens; ours always changes both. Candidates, and ends of them, that are late from the generation
    /// before cannot be told apart then and count for the new one.
    ///
    /// # Errors
    /// * [`UnknownStream`](SetRemoteDescriptionError::UnknownStream) if there is none of that name.
    /// * [`CredentialsChanged`](SetRemoteDescriptionError::CredentialsChanged) if others are known and no restart is
    ///   prepared.
    /// * [`PasswordMismatch`](SetRemoteDescriptionError::PasswordMismatch) if another stream of the peer has the same
    ///   username fragment with another password.
    /// * [`Closed`](SetRemoteDescriptionError::Closed) after [`close`](Self::close).
    pub fn set_remote_description(
        &mut self,
        now: Instant,
        stream: StreamId,
        remote: &RemoteDescription,
    ) -> Result<RemoteDescriptionOutcome, SetRemoteDescriptionError> {
        use RemoteDescriptionOutcome as Outcome;
        self.observe(now);
        let data = self.check_remote_credentials(stream, &remote.credentials, true)?;
        let is_same = |known: &Keyed| known.credentials == remote.credentials;
        let is_changed = !data.remote.is_empty() && !data.remote.iter().any(is_same);
        if is_changed && data.previous.as_ref().is_some_and(|previous| previous.remote.iter().any(is_same)) {
            return Ok(Outcome::Outdated);
        }
        let is_prepared = data.pending.is_some();
        if is_changed && !is_prepared {
            return Err(SetRemoteDescriptionError::CredentialsChanged);
        }
        let is_first = data.remote.is_empty();
        // The end of the candidates may come before the description that lists them.
        let had_ended = is_first && data.has_all_remotes;
        if is_changed || is_first {
            let proposed = remote.pacing.unwrap_or(Duration::from_millis(50));
            if !self.pacer.agree(proposed) {
                self.emit(Event::PacingLimited { stream, proposed, used: self.pacer.ta() });
            }
            match (self.config.lite, remote.is_lite) {
                // A full agent controls a lite one, whoever started (RFC 8445 §6.1.1).
                (false, true) => self.take_role(Role::Controlling),
                (true, false) => self.take_role(Role::Controlled),
                (false, false) | (true, true) => {}
            }
            if is_prepared {
                self.commit_restart(stream, remote);
            } else {
                self.start_checks(stream, remote);
            }
        }
        for candidate in &remote.candidates {
            // One that cannot be used is no reason to refuse the others (RFC 8839 §5.1).
            let _ = self.add_remote_candidate(now, stream, candidate.clone());
        }
        if is_changed || is_first {
            self.apply_deferred_end(stream, &remote.credentials, had_ended);
        }
        if !remote.trickle {
            let _ = self.end_of_remote_candidates(now, stream);
        }
        Ok(match (is_prepared, is_changed || is_first) {
            (true, true) => Outcome::Restarted,
            (true, false) => Outcome::RestartUnanswered,
            (false, true) => Outcome::Started,
            (false, false) => Outcome::Updated,
        })
    }

    /// Takes the credentials of a further peer that answered the same description: a fork (RFC 8445 §7.3.1.4).
    ///
    /// Its candidates name it by their `ufrag` extension. A stream follows at most 8 forks.
    ///
    /// # Errors
    /// * [`NothingToFork`](SetRemoteDescriptionError::NothingToFork) before
    ///   [`set_remote_description`](Self::set_remote_description).
    /// * [`TooManyForks`](SetRemoteDescriptionError::TooManyForks) if there are 8 descriptions already.
    /// * As [`set_remote_description`](Self::set_remote_description) otherwise.
    pub fn add_forked_credentials(
        &mut self,
        now: Instant,
        stream: StreamId,
        credentials: &Credentials,
    ) -> Result<(), SetRemoteDescriptionError> {
        self.observe(now);
        let data = self.check_remote_credentials(stream, credentials, false)?;
        if data.remote.is_empty() {
            return Err(SetRemoteDescriptionError::NothingToFork);
        }
        if data.remote.iter().any(|known| known.credentials == *credentials) {
            return Ok(());
        }
        if data.remote.len() >= limits::FORKS {
            return Err(SetRemoteDescriptionError::TooManyForks);
        }
        if let Some(data) = self.stream_mut(stream) {
            data.remote.push(Keyed::new(credentials.clone()));
        }
        self.take_deferred(stream, credentials);
        self.catch_up(stream);
        Ok(())
    }

    fn check_remote_credentials(
        &self,
        stream: StreamId,
        credentials: &Credentials,
        may_restart: bool,
    ) -> Result<&Stream, SetRemoteDescriptionError> {
        if self.is_closed {
            return Err(SetRemoteDescriptionError::Closed);
        }
        let data = self.stream(stream).ok_or(SetRemoteDescriptionError::UnknownStream(stream))?;
        let contradicts =
            |known: &Keyed| known.ufrag() == credentials.ufrag.as_str() && known.credentials != *credentials;
        // A peer that restarts may keep its fragment, one stream after the other.
        let is_restart = may_restart && data.remote.first().is_some_and(contradicts);
        if !is_restart && self.streams.iter().flat_map(|stream| &stream.remote).any(contradicts) {
            return Err(SetRemoteDescriptionError::PasswordMismatch);
        }
        Ok(data)
    }

    /// Says that the peer has no further candidates for this stream (RFC 8838 §14). Saying it again changes nothing.
    ///
    /// # Errors
    /// [`UnknownStream`] if there is none of that name.
    pub fn end_of_remote_candidates(&mut self, now: Instant, stream: StreamId) -> Result<(), UnknownStream> {
        self.observe(now);
        let data = self.stream_mut(stream).ok_or(UnknownStream(stream))?;
        data.has_all_remotes = true;
        self.is_dirty = true;
        Ok(())
    }

    /// The same for the generation in which the peer has this username fragment, which is remembered if that is still to
    /// come (RFC 8838 §9); the end of an earlier generation changes nothing.
    ///
    /// # Errors
    /// [`UnknownStream`] if there is none of that name.
    pub fn end_of_remote_candidates_for(
        &mut self,
        now: Instant,
        stream: StreamId,
        ufrag: &Ufrag,
    ) -> Result<(), UnknownStream> {
        self.observe(now);
        let data = self.stream_mut(stream).ok_or(UnknownStream(stream))?;
        if data.peer(ufrag.as_str().as_bytes()).is_some() {
            return self.end_of_remote_candidates(now, stream);
        }
        if !data.is_past_peer(ufrag.as_str().as_bytes()) {
            data.deferred_end = Some(ufrag.clone());
        }
        Ok(())
    }

    /// Ends the session: nothing is sent to the peer or answered any more (W3C `RTCIceTransport` state `closed`).
    ///
    /// Relays are given back, which takes the sockets until [`Event::RelayReleased`], at the most 10 s; then
    /// [`poll_timeout`](Self::poll_timeout) gives `None`. Closing again changes nothing.
    pub fn close(&mut self, now: Instant) {
        self.observe(now);
        self.is_closed = true;
        self.set.close();
        self.release_relays();
        self.outbox.replies.clear();
        self.outbox.repeats.clear();
        self.outbox.consent.clear();
        self.gatherer = Gatherer::default();
        self.outbox.probes.clear();
        self.close_connections();
        self.is_dirty = true;
    }

    /// Notes the time.
    fn observe(&mut self, now: Instant) {
        self.now = self.now.max(now.min(last()));
    }

    /// The nomination of the component of a pair.
    fn nomination_of(&self, pair: &CandidatePair) -> Option<&Nomination> {
        self.component((pair.stream, pair.component)).map(|component| &component.nomination)
    }

    /// Whether the checks of a pair carry USE-CANDIDATE.
    fn is_nominating(&self, pair: &CandidatePair) -> bool {
        self.nomination_of(pair).is_some_and(|nomination| nomination.is_nominating(pair.id))
    }

    /// Whether a pair is nominated (RFC 8445 §8.1.1).
    fn is_nominated(&self, pair: &CandidatePair) -> bool {
        self.nomination_of(pair).is_some_and(|nomination| nomination.shows(pair.id))
    }

    /// What the peer has asked for a pair.
    fn asked(&self, pair: &CandidatePair) -> Option<Asked> {
        self.nomination_of(pair)?.asked(pair.id)
    }

    /// Whether the check of a pair is not to wait for the back-off of retransmissions: the session depends on it.
    fn is_urgent(&self, pair: &CandidatePair) -> bool {
        self.nomination_of(pair).is_some_and(|nomination| {
            nomination.is_nominating(pair.id) || pair.produced.is_none() && nomination.asked(pair.id).is_some()
        })
    }

    fn stream(&self, id: StreamId) -> Option<&Stream> {
        Stream::find(&self.streams, id)
    }

    fn stream_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        Stream::find_mut(&mut self.streams, id)
    }

    fn component(&self, (stream, component): (StreamId, ComponentId)) -> Option<&stream_data::Component> {
        self.stream(stream)?.component(component)
    }

    fn component_mut(&mut self, (stream, component): (StreamId, ComponentId)) -> Option<&mut stream_data::Component> {
        self.stream_mut(stream)?.component_mut(component)
    }

    fn next_candidate_id(&mut self) -> CandidateId {
        let id = CandidateId(self.next_candidate);
        self.next_candidate += 1;
        id
    }

    fn emit(&mut self, event: Event) {
        if let Event::SelectedPairChanged { stream, component, .. } = event {
            if let Some(component) = self.component_mut((stream, component)) {
                component.traffic.selections = component.traffic.selections.saturating_add(1);
            }
        }
        self.queue(Outgoing::Event(event));
    }

    /// How many events may wait.
    fn most_events(&self) -> usize {
        self.config.max_events + limits::EVENTS_PER_STREAM * self.streams.len()
    }

    /// Queues an event. What an application loses that never polls, the queue knows.
    fn queue(&mut self, outgoing: Outgoing) {
        self.report_tables();
        let Some(outgoing) = self.hold(outgoing) else { return };
        let most = self.most_events();
        self.stats.events_lost += self.outbox.events.push(most, outgoing);
    }
}
