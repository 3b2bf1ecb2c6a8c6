//! What an agent tells its application: facts, with time and reason.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::candidate::Candidate;
use crate::checklist::CandidatePairState;
use crate::connection::ConnectionEnd;
use crate::credentials::Ufrag;
use crate::types::{
    CandidateId, ComponentId, ConnectionId, ConnectionState, GatheringState, Instant, PairId, PathHealth, Role,
    StateReason, StreamId,
};

/// Something that happened. New kinds may come with any version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A local candidate to signal to the peer (trickle ICE, RFC 8838 §9).
    ///
    /// It is paired with the peer's candidates from the moment at which this event is taken, not before.
    LocalCandidate {
        /// The stream that it belongs to.
        stream: StreamId,
        /// Its name in this agent.
        id: CandidateId,
        /// The generation that it is signalled for: that of [`Agent::generation`](crate::Agent::generation), or the next
        /// one while a restart is prepared.
        generation: u32,
        /// What to signal.
        candidate: Box<Candidate>,
    },
    /// No further local candidates of this stream will come: to be signalled as end-of-candidates (RFC 8838 §13).
    EndOfCandidates {
        /// The stream.
        stream: StreamId,
        /// The generation whose candidates are complete.
        generation: u32,
        /// Our username fragment in that generation.
        ufrag: Ufrag,
    },
    /// The gathering state has changed (W3C `gatheringstatechange`).
    GatheringStateChanged {
        /// The state before.
        previous: GatheringState,
        /// The state that holds now.
        current: GatheringState,
        /// When it changed.
        at: Instant,
    },
    /// A name that stands for an address of the host, and has to be answered for by multicast DNS (RFC 6762) as long as the
    /// session lasts. The candidate with it does not wait for that. Only with [`Config::with_mdns`](crate::Config::with_mdns).
    RegisterName {
        /// The name, which ends in `.local`.
        name: Arc<str>,
        /// The address that it stands for.
        address: IpAddr,
    },
    /// A candidate of the peer has this name, which has to be asked for by multicast DNS (RFC 6762); the answer goes to
    /// [`Agent::resolved`](crate::Agent::resolved). Nothing waits for it, and one that never comes does no harm.
    ResolveName {
        /// The name, which ends in `.local`.
        name: Arc<str>,
    },
    /// A server did not help to gather candidates (W3C `icecandidateerror`).
    IceCandidateError {
        /// The URI of the server.
        url: Arc<str>,
        /// The address of the socket from which it was asked; `None` if it was asked from several, or from none.
        base: Option<SocketAddr>,
        /// The error code of STUN or TURN that the server gave (RFC 8489 §14.8, RFC 8656 §19), or 701: no socket reached the
        /// server. 701 is told once for each server and gathering. 0: what the server gave or asked for is of no use, and the
        /// text says why.
        code: u16,
        /// What the server, or this agent, says of it: at most 127 characters, no control characters. Not for machines.
        text: Box<str>,
        /// When it was noticed.
        at: Instant,
    },
    /// The pair on which data of a component goes has changed (W3C `selectedcandidatepairchange`).
    SelectedPairChanged {
        /// The stream.
        stream: StreamId,
        /// The component.
        component: ComponentId,
        /// The selected pair, or `None` if there is none any more.
        pair: Option<PairId>,
        /// When it changed.
        at: Instant,
    },
    /// The path in use is doing better or worse.
    PathHealthChanged {
        /// The stream.
        stream: StreamId,
        /// The component.
        component: ComponentId,
        /// The pair in use.
        pair: PairId,
        /// How it is doing.
        health: PathHealth,
        /// When that was noticed.
        at: Instant,
        /// When the last answer came, which gave consent for 30 s.
        answered_at: Instant,
        /// When the peer was last heard in whatever way.
        heard_at: Instant,
        /// When anything was sent on it last: a check, an answer, or data.
        sent_at: Option<Instant>,
        /// When the health gets worse unless something is heard.
        next_state_at: Option<Instant>,
    },
    /// The peer's consent to send on the pair in use has ended: no data goes there any more (RFC 7675 §5.1, §5.2). What that
    /// means for the stream is told by the events that follow: data may go on another pair.
    ConsentEnded {
        /// The stream.
        stream: StreamId,
        /// The component.
        component: ComponentId,
        /// The pair that was in use.
        pair: PairId,
        /// When the last answer came.
        answered_at: Option<Instant>,
        /// When consent ended.
        at: Instant,
        /// The peer said so, by an authentic 403; otherwise no answer came for 30 s.
        is_revoked: bool,
    },
    /// The connection state of a stream has changed.
    StreamStateChanged {
        /// The stream.
        stream: StreamId,
        /// The state before.
        previous: ConnectionState,
        /// The state that holds now.
        current: ConnectionState,
        /// When it changed.
        at: Instant,
        /// Why it changed.
        reason: StateReason,
    },
    /// The connection state of the agent, made of those of its streams, has changed (W3C `iceconnectionstatechange`).
    ConnectionStateChanged {
        /// The state before.
        previous: ConnectionState,
        /// The state that holds now.
        current: ConnectionState,
        /// When it changed.
        at: Instant,
        /// Why the state of the stream that decided it changed.
        reason: StateReason,
    },
    /// A conflict of roles was repaired by a change of this agent's role (RFC 8445 §7.3.1.1).
    RoleChanged {
        /// The role from now on.
        role: Role,
        /// When it changed.
        at: Instant,
    },
    /// The first remote candidate of a stream was left out because there are too many; further ones are only counted.
    TooManyRemoteCandidates {
        /// The stream.
        stream: StreamId,
        /// The limit, [`Config::with_max_remote_candidates`](crate::Config::with_max_remote_candidates).
        limit: usize,
    },
    /// The peer proposes a Ta of more than a second, which counts as one second: RFC 8445 §14.2 demands the larger of the two
    /// proposals, however large, and that would let a peer keep the agent from checking anything.
    PacingLimited {
        /// The stream whose description proposes it.
        stream: StreamId,
        /// What it proposes.
        proposed: Duration,
        /// The Ta that is used: a second, or our own if that is longer.
        used: Duration,
    },
    /// A connection of a TCP candidate has ended, for another reason than that the application wanted it.
    ConnectionEnded {
        /// The connection. Its name means nothing any more.
        connection: ConnectionId,
        /// Its stream.
        stream: StreamId,
        /// Its component.
        component: ComponentId,
        /// The address at our end.
        local: SocketAddr,
        /// The address at the other end.
        remote: SocketAddr,
        /// Why it has ended.
        reason: ConnectionEnd,
        /// When it has ended.
        at: Instant,
    },
    /// A TURN server has lost an allocation, or the way to it is gone. The relayed candidate was removed, and so were its
    /// pairs; another allocation is asked for, with growing intervals. Its candidate is an event like any other before the
    /// end of the candidates; after it, the peer learns of it by checks. Peers that both lost theirs need an ICE restart.
    RelayLost {
        /// The stream.
        stream: StreamId,
        /// The component.
        component: ComponentId,
        /// URI of the server.
        url: Arc<str>,
        /// The local address that it was reached from.
        base: SocketAddr,
        /// The error code of the server; 701 if it said nothing.
        code: u16,
        /// What the server said, or what happened.
        text: Box<str>,
        /// When it was noticed.
        at: Instant,
    },
    /// A TURN server was told that its allocation is not needed any more, and has confirmed it or not answered two requests.
    RelayReleased {
        /// URI of the server.
        url: Arc<str>,
        /// The local address that it was reached from.
        base: SocketAddr,
        /// When that was over.
        at: Instant,
    },
    /// A TURN server got an ICMP message for what was sent to a peer (RFC 8656 §11.5). It may be forged: if it says that the
    /// peer is unreachable, it brings probes, as [`SendFailure::Unreachable`](crate::SendFailure::Unreachable) does.
    RelayIcmp {
        /// The stream.
        stream: StreamId,
        /// The component.
        component: ComponentId,
        /// The peer.
        peer: SocketAddr,
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
        /// When the server told.
        at: Instant,
    },
    /// A local candidate became known, whether it is ever signalled or not: of a socket, of a server, or one that an answer of
    /// the peer has shown. Only with [`Config::with_pair_events`](crate::Config::with_pair_events).
    LocalCandidateAdded {
        /// Its stream.
        stream: StreamId,
        /// Its name in this agent.
        id: CandidateId,
        /// The candidate. Its priority may still change until it is signalled.
        candidate: Box<Candidate>,
        /// The address that its packets leave from (RFC 8445 §4).
        base: SocketAddr,
        /// The URI of the server that has helped to find it.
        url: Option<Arc<str>>,
    },
    /// What is known of a local candidate has changed: its priority, before it is signalled, its cost, its server. Only with
    /// [`Config::with_pair_events`](crate::Config::with_pair_events).
    LocalCandidateChanged {
        /// Its stream.
        stream: StreamId,
        /// Its name in this agent.
        id: CandidateId,
        /// The candidate as it is now.
        candidate: Box<Candidate>,
        /// The address that its packets leave from.
        base: SocketAddr,
        /// The URI of the server that has helped to find it.
        url: Option<Arc<str>>,
    },
    /// A local candidate is gone, after its pairs. Only with
    /// [`Config::with_pair_events`](crate::Config::with_pair_events).
    LocalCandidateRemoved {
        /// Its stream.
        stream: StreamId,
        /// The name that it had.
        id: CandidateId,
    },
    /// A candidate of the peer was signalled and taken. Only with
    /// [`Config::with_pair_events`](crate::Config::with_pair_events).
    RemoteCandidateAdded {
        /// Its stream.
        stream: StreamId,
        /// Its name in this agent.
        id: CandidateId,
        /// The candidate.
        candidate: Box<Candidate>,
    },
    /// A check of the peer has shown a candidate that was not signalled (RFC 8445 §7.3.1.3). Only with
    /// [`Config::with_pair_events`](crate::Config::with_pair_events).
    RemoteCandidateDiscovered {
        /// Its stream.
        stream: StreamId,
        /// Its name in this agent.
        id: CandidateId,
        /// The candidate.
        candidate: Box<Candidate>,
    },
    /// A candidate that a check has shown was signalled as well, and what was signalled counts (RFC 8838 §11). Only with
    /// [`Config::with_pair_events`](crate::Config::with_pair_events).
    RemoteCandidateMerged {
        /// Its stream.
        stream: StreamId,
        /// Its name in this agent, as before.
        id: CandidateId,
        /// The candidate as it is now.
        candidate: Box<Candidate>,
    },
    /// A candidate of the peer has changed: it was signalled again with a higher priority, or the peer has opened its
    /// connection from another port. Only with [`Config::with_pair_events`](crate::Config::with_pair_events).
    RemoteCandidateChanged {
        /// Its stream.
        stream: StreamId,
        /// Its name in this agent, as before.
        id: CandidateId,
        /// The candidate as it is now.
        candidate: Box<Candidate>,
    },
    /// A candidate of the peer is gone: removed, given up for a better one, or of the generation before a restart. A pair of
    /// that generation which stays in use may still name it. Only with
    /// [`Config::with_pair_events`](crate::Config::with_pair_events).
    RemoteCandidateRemoved {
        /// Its stream.
        stream: StreamId,
        /// The name that it had.
        id: CandidateId,
    },
    /// A pair was made. It is [`Frozen`](CandidatePairState::Frozen), neither valid nor nominated, until an event says
    /// otherwise. Only with [`Config::with_pair_events`](crate::Config::with_pair_events).
    PairAdded {
        /// The pair.
        pair: PairId,
        /// Its stream.
        stream: StreamId,
        /// Its component.
        component: ComponentId,
        /// Its local candidate.
        local: CandidateId,
        /// Its remote candidate.
        remote: CandidateId,
    },
    /// A pair has changed its state. Only with [`Config::with_pair_events`](crate::Config::with_pair_events).
    PairStateChanged {
        /// The pair.
        pair: PairId,
        /// The state that holds now.
        state: CandidatePairState,
    },
    /// A pair has other candidates than before, with the same addresses: of two pairs with the same addresses the one with the
    /// higher priority stays (RFC 8445 §6.1.2.4). Only with [`Config::with_pair_events`](crate::Config::with_pair_events).
    PairCandidatesChanged {
        /// The pair.
        pair: PairId,
        /// Its local candidate from now on.
        local: CandidateId,
        /// Its remote candidate from now on.
        remote: CandidateId,
    },
    /// A pair came on the valid list, or left it (RFC 8445 §7.2.5.3.2). Only with
    /// [`Config::with_pair_events`](crate::Config::with_pair_events).
    PairValidityChanged {
        /// The pair.
        pair: PairId,
        /// Whether it is on the list now.
        is_valid: bool,
    },
    /// A pair was nominated. Only with [`Config::with_pair_events`](crate::Config::with_pair_events).
    PairNominated {
        /// The pair.
        pair: PairId,
    },
    /// A pair is not nominated any more: another one is in its place, or it does not work. Only with
    /// [`Config::with_pair_events`](crate::Config::with_pair_events).
    PairNominationLost {
        /// The pair.
        pair: PairId,
    },
    /// A pair was forgotten. Only with [`Config::with_pair_events`](crate::Config::with_pair_events).
    PairRemoved {
        /// The pair.
        pair: PairId,
    },
}
