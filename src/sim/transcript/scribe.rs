//! A transcript line by line: each event and request in words of its own.

use std::collections::BTreeMap;
use std::format;
use std::net::SocketAddr;
use std::string::{String, ToString};
use std::vec::Vec;

use crate::types::Instant;
use crate::{
    CandidateId, CandidatePairState, ConnectionId, ConnectionRequest, ConnectionSecurity, ConnectionState, Event,
    GatheringState, PairId, PathHealth, Role, StateReason,
};

/// Numbers for names, in the order in which they come up.
#[derive(Debug, Default)]
struct Names {
    pairs: Vec<PairId>,
    candidates: Vec<CandidateId>,
    connections: Vec<ConnectionId>,
}

fn number<T: PartialEq>(known: &mut Vec<T>, name: T) -> usize {
    if let Some(place) = known.iter().position(|one| *one == name) {
        return place + 1;
    }
    known.push(name);
    known.len()
}

/// Writes the lines of one side.
pub(super) struct Scribe<'a> {
    epoch: Instant,
    paths: &'a BTreeMap<PairId, (SocketAddr, SocketAddr)>,
    names: Names,
}

impl<'a> Scribe<'a> {
    pub(super) fn new(epoch: Instant, paths: &'a BTreeMap<PairId, (SocketAddr, SocketAddr)>) -> Self {
        Self { epoch, paths, names: Names::default() }
    }

    /// Nanoseconds from the start.
    pub(super) fn at(&self, at: Instant) -> i64 {
        at.as_nanos().saturating_sub(self.epoch.as_nanos())
    }

    fn some_at(&self, at: Option<Instant>) -> String {
        at.map_or_else(|| "never".into(), |at| self.at(at).to_string())
    }

    fn pair(&mut self, pair: PairId) -> String {
        let number = number(&mut self.names.pairs, pair);
        match self.paths.get(&pair) {
            Some((base, remote)) => format!("pair {number} {base} > {remote}"),
            None => format!("pair {number}"),
        }
    }

    fn candidate(&mut self, id: CandidateId) -> usize {
        number(&mut self.names.candidates, id)
    }

    pub(super) fn connection(&mut self, id: ConnectionId) -> usize {
        number(&mut self.names.connections, id)
    }

    pub(super) fn request(&mut self, request: &ConnectionRequest) -> (char, String) {
        match request {
            ConnectionRequest::Open { id, local, remote, security } => {
                let name = match security {
                    ConnectionSecurity::Plain => "",
                    ConnectionSecurity::Tls { server_name } => server_name,
                };
                ('o', format!("{} {local} > {remote} {name}", self.connection(*id)))
            }
            ConnectionRequest::Close { id } => ('q', self.connection(*id).to_string()),
        }
    }

    pub(super) fn event(&mut self, event: &Event) -> (char, String) {
        match event {
            Event::LocalCandidate { stream, id, generation, candidate } => {
                ('l', format!("stream {stream}, {}, generation {generation}: {candidate}", self.candidate(*id)))
            }
            Event::EndOfCandidates { stream, generation, ufrag } => {
                ('e', format!("stream {stream}, generation {generation}, {ufrag}"))
            }
            Event::GatheringStateChanged { previous, current, at } => {
                ('g', format!("{} > {} at {}", gathering(*previous), gathering(*current), self.at(*at)))
            }
            Event::RegisterName { name, address } => ('r', format!("{name} {address}")),
            Event::ResolveName { name } => ('n', name.to_string()),
            Event::IceCandidateError { url, base, code, text, at } => {
                let base = base.map_or_else(|| "none".into(), |base| base.to_string());
                ('x', format!("{url} from {base}: {code} {text} at {}", self.at(*at)))
            }
            Event::SelectedPairChanged { stream, component, pair, at } => {
                let pair = pair.map_or_else(|| "none".into(), |pair| self.pair(pair));
                ('S', format!("{stream}.{component}: {pair} at {}", self.at(*at)))
            }
            Event::PathHealthChanged {
                stream,
                component,
                pair,
                health,
                at,
                answered_at,
                heard_at,
                sent_at,
                next_state_at,
            } => {
                let (pair, health) = (self.pair(*pair), health_word(*health));
                let (sent, next) = (self.some_at(*sent_at), self.some_at(*next_state_at));
                let (at, answered, heard) = (self.at(*at), self.at(*answered_at), self.at(*heard_at));
                let times = format!("{at}, answered {answered}, heard {heard}, sent {sent}, next {next}");
                ('h', format!("{stream}.{component}: {pair} {health} at {times}"))
            }
            Event::ConsentEnded { stream, component, pair, answered_at, at, is_revoked } => {
                let (pair, answered) = (self.pair(*pair), self.some_at(*answered_at));
                let how = if *is_revoked { "revoked" } else { "expired" };
                ('C', format!("{stream}.{component}: {pair} {how} at {}, answered {answered}", self.at(*at)))
            }
            Event::StreamStateChanged { stream, previous, current, at, reason } => {
                ('t', format!("{stream}: {}", self.change(*previous, *current, *at, *reason)))
            }
            Event::ConnectionStateChanged { previous, current, at, reason } => {
                ('T', self.change(*previous, *current, *at, *reason))
            }
            Event::RoleChanged { role, at } => {
                let role = match role {
                    Role::Controlling => "controlling",
                    Role::Controlled => "controlled",
                };
                ('R', format!("{role} at {}", self.at(*at)))
            }
            Event::TooManyRemoteCandidates { stream, limit } => ('m', format!("{stream}: more than {limit}")),
            Event::PacingLimited { stream, proposed, used } => {
                ('p', format!("{stream}: {} ns, and not {} ns", used.as_nanos(), proposed.as_nanos()))
            }
            Event::ConnectionEnded { connection, stream, component, local, remote, reason, at } => {
                let number = self.connection(*connection);
                ('c', format!("{stream}.{component}: {number} {local} > {remote} {reason} at {}", self.at(*at)))
            }
            Event::RelayLost { stream, component, url, base, code, text, at } => {
                ('L', format!("{stream}.{component}: {url} from {base}: {code} {text} at {}", self.at(*at)))
            }
            Event::RelayReleased { url, base, at } => ('f', format!("{url} from {base} at {}", self.at(*at))),
            Event::RelayIcmp { stream, component, peer, kind, code, at } => {
                ('i', format!("{stream}.{component}: {peer} {kind} {code} at {}", self.at(*at)))
            }
            Event::LocalCandidateAdded { stream, id, candidate, base, url } => {
                let url = url.as_deref().unwrap_or_default();
                ('a', format!("{stream}: {} {candidate} from {base} {url}", self.candidate(*id)))
            }
            Event::LocalCandidateChanged { stream, id, candidate, base, url } => {
                let url = url.as_deref().unwrap_or_default();
                ('b', format!("{stream}: {} {candidate} from {base} {url}", self.candidate(*id)))
            }
            Event::LocalCandidateRemoved { stream, id } => ('d', format!("{stream}: {}", self.candidate(*id))),
            Event::RemoteCandidateAdded { stream, id, candidate } => {
                ('A', format!("{stream}: {} {candidate}", self.candidate(*id)))
            }
            Event::RemoteCandidateDiscovered { stream, id, candidate } => {
                ('D', format!("{stream}: {} {candidate}", self.candidate(*id)))
            }
            Event::RemoteCandidateMerged { stream, id, candidate } => {
                ('M', format!("{stream}: {} {candidate}", self.candidate(*id)))
            }
            Event::RemoteCandidateChanged { stream, id, candidate } => {
                ('B', format!("{stream}: {} {candidate}", self.candidate(*id)))
            }
            Event::RemoteCandidateRemoved { stream, id } => ('E', format!("{stream}: {}", self.candidate(*id))),
            Event::PairAdded { pair, stream, component, local, remote } => {
                let (pair, local, remote) = (self.pair(*pair), self.candidate(*local), self.candidate(*remote));
                ('P', format!("{stream}.{component}: {pair}, {local} > {remote}"))
            }
            Event::PairStateChanged { pair, state } => {
                let state = match state {
                    CandidatePairState::Frozen => "frozen",
                    CandidatePairState::Waiting => "waiting",
                    CandidatePairState::InProgress => "in progress",
                    CandidatePairState::Succeeded => "succeeded",
                    CandidatePairState::Failed => "failed",
                };
                ('s', format!("{} {state}", self.pair(*pair)))
            }
            Event::PairCandidatesChanged { pair, local, remote } => {
                let (pair, local, remote) = (self.pair(*pair), self.candidate(*local), self.candidate(*remote));
                ('k', format!("{pair}, {local} > {remote}"))
            }
            Event::PairValidityChanged { pair, is_valid } => {
                ('v', format!("{} {}", self.pair(*pair), if *is_valid { "valid" } else { "not valid" }))
            }
            Event::PairNominated { pair } => ('N', self.pair(*pair)),
            Event::PairNominationLost { pair } => ('O', self.pair(*pair)),
            Event::PairRemoved { pair } => ('Q', self.pair(*pair)),
        }
    }

    fn change(&self, previous: ConnectionState, current: ConnectionState, at: Instant, reason: StateReason) -> String {
        format!("{} > {} at {}: {}", state(previous), state(current), self.at(at), reason_word(reason))
    }
}

const fn state(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::New => "new",
        ConnectionState::Checking => "checking",
        ConnectionState::Connected => "connected",
        ConnectionState::Completed => "completed",
        ConnectionState::Disconnected => "disconnected",
        ConnectionState::Failed => "failed",
        ConnectionState::Closed => "closed",
    }
}

const fn gathering(state: GatheringState) -> &'static str {
    match state {
        GatheringState::New => "new",
        GatheringState::Gathering => "gathering",
        GatheringState::Complete => "complete",
    }
}

const fn health_word(health: PathHealth) -> &'static str {
    match health {
        PathHealth::Healthy => "healthy",
        PathHealth::Suspect => "suspect",
        PathHealth::Lost => "lost",
    }
}

const fn reason_word(reason: StateReason) -> &'static str {
    match reason {
        StateReason::NotStarted => "not started",
        StateReason::WaitingForRemoteCandidates => "waiting for remote candidates",
        StateReason::WaitingForLocalCandidates => "waiting for local candidates",
        StateReason::CandidatesKnown => "candidates known",
        StateReason::PairValid => "pair valid",
        StateReason::PairSelected => "pair selected",
        StateReason::Restarting => "restarting",
        StateReason::PairsExhausted => "pairs exhausted",
        StateReason::ChecksFailed => "checks failed",
        StateReason::PathLost => "path lost",
        StateReason::ConsentExpired => "consent expired",
        StateReason::NoCompatiblePair => "no compatible pair",
        StateReason::NoLocalCandidates => "no local candidates",
        StateReason::NoRemoteCandidates => "no remote candidates",
        StateReason::NothingHeard => "nothing heard",
        StateReason::NominationFailed => "nomination failed",
        StateReason::ClosedByApplication => "closed by the application",
    }
}

/// Adds bytes in hexadecimal.
pub(super) fn hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    text.reserve(2 * bytes.len());
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(DIGITS.get(usize::from(digit)).copied().unwrap_or('?'));
        }
    }
}
