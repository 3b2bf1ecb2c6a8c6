//! An agent without a network, and a peer whose part the test plays by hand.

use std::net::SocketAddr;
use std::time::Duration;

use nilas::sim::{MessageBuilder, Wire, WireRequest};
use nilas::{
    Agent, Candidate, CandidateKind, CandidatePairState, ComponentId, Config, Credentials, Datagram, Event, Instant,
    PairView, Priority, Received, RemoteCandidateOutcome, RemoteDescription, Role, Seed, StreamId, Transport,
};

use crate::help::{at, ms, silent};

/// A request that the agent has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// Milliseconds since the start.
    pub(crate) ms: u64,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) request: WireRequest,
}

/// The agent and what it has sent.
#[derive(Clone, Debug)]
pub(crate) struct Lone {
    pub(crate) agent: Agent,
    pub(crate) streams: Vec<StreamId>,
    pub(crate) now: Instant,
    pub(crate) peer: Credentials,
    pub(crate) checks: Vec<Check>,
    pub(crate) events: Vec<Event>,
    next_id: u8,
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn component(number: u16) -> ComponentId {
    ComponentId::new(number).unwrap()
}

/// A host candidate of the peer with this foundation and priority.
pub(crate) fn remote(foundation: &str, number: u16, priority: u32, at: &str) -> Candidate {
    let priority = Priority::new(priority).unwrap();
    Candidate::new(CandidateKind::Host, component(number), foundation.parse().unwrap(), priority, address(at))
}

/// The priority of a host candidate with this local preference, of component 1.
pub(crate) const fn host_priority(local_preference: u16) -> u32 {
    Priority::compute(126, local_preference, ComponentId::RTP).get()
}

impl Lone {
    /// An agent with so many streams of so many components.
    pub(crate) fn new(config: Config, role: Role, streams: usize, components: u16) -> Self {
        let mut agent = Agent::new(silent(config), role, Seed::from_name("lone")).unwrap();
        let streams = (0..streams).map(|_| agent.add_stream(components).unwrap()).collect();
        let peer = Credentials { ufrag: "peer".parse().unwrap(), password: "password/of/the/peer/00".parse().unwrap() };
        Self { agent, streams, now: at(0), peer, checks: Vec::new(), events: Vec::new(), next_id: 0 }
    }

    /// A controlling agent with one stream of one component, one socket, and the description of its peer.
    pub(crate) fn simple(config: Config) -> Self {
        let mut lone = Self::new(config, Role::Controlling, 1, 1);
        lone.socket(0, 1, "10.0.0.1:5000");
        lone.take_events();
        lone.describe();
        lone
    }

    pub(crate) fn socket(&mut self, stream: usize, number: u16, at: &str) {
        let stream = self.streams[stream];
        self.agent.add_socket(self.now, stream, component(number), Transport::Udp, address(at)).unwrap();
    }

    /// Takes all events: candidates are signalled, and paired.
    pub(crate) fn take_events(&mut self) {
        while let Some(event) = self.agent.poll_event() {
            self.events.push(event);
        }
    }

    /// Gives the agent the description of its peer, for all streams.
    pub(crate) fn describe(&mut self) {
        for stream in self.streams.clone() {
            let description = RemoteDescription::new(self.peer.clone()).with_ice2(true);
            self.agent.set_remote_description(self.now, stream, &description).unwrap();
        }
    }

    pub(crate) fn add(&mut self, stream: usize, candidate: Candidate) -> RemoteCandidateOutcome {
        let stream = self.streams[stream];
        self.agent.add_remote_candidate(self.now, stream, candidate).unwrap()
    }

    /// Says the end of the candidates of both sides in all streams.
    pub(crate) fn end(&mut self) {
        for stream in self.streams.clone() {
            self.agent.end_of_local_candidates(self.now, stream).unwrap();
            self.agent.end_of_remote_candidates(self.now, stream).unwrap();
        }
    }

    /// Polls everything; gives the checks that left.
    pub(crate) fn poll(&mut self) -> Vec<Check> {
        let mut checks = Vec::new();
        let mut buffer = Vec::new();
        while let Some(transmit) = self.agent.poll_transmit(self.now, &mut buffer) {
            if let Wire::Request(request) = Wire::decode(&buffer) {
                let (source, destination) = (transmit.source, transmit.destination);
                let ms = u64::try_from(self.now.saturating_duration_since(at(0)).as_millis()).unwrap();
                checks.push(Check { ms, source, destination, request });
            }
            buffer.clear();
        }
        self.take_events();
        self.checks.extend(checks.iter().cloned());
        checks
    }

    /// Lets the time pass, calling the agent whenever it asks for it; gives the checks that left.
    pub(crate) fn run_to(&mut self, end: u64) -> Vec<Check> {
        let mut checks = self.poll();
        while let Some(next) = self.agent.poll_timeout().filter(|next| *next <= at(end)) {
            self.now = self.now.max(next);
            self.agent.handle_timeout(self.now);
            checks.extend(self.poll());
        }
        self.now = at(end);
        checks.extend(self.poll());
        checks
    }

    fn deliver(&mut self, source: SocketAddr, destination: SocketAddr, payload: &[u8]) {
        let datagram = Datagram::new(source, destination, payload);
        assert_eq!(self.agent.handle_datagram(self.now, &datagram), Received::Handled);
    }

    /// Answers a check; the peer has seen it come from where it left.
    pub(crate) fn answer(&mut self, check: &Check) {
        self.answer_seen(check, check.source);
    }

    /// Answers a check that the peer has seen come from another address.
    pub(crate) fn answer_seen(&mut self, check: &Check, seen: SocketAddr) {
        let SocketAddr::V4(seen) = seen else { panic!("IPv4 only") };
        let message = MessageBuilder::binding_success(check.request.id).mapped_v4(seen);
        let bytes = message.integrity(&self.peer.password).fingerprint().build();
        self.deliver(check.destination, check.source, &bytes);
    }

    /// Answers a check with an error.
    pub(crate) fn refuse(&mut self, check: &Check, code: u16) {
        let message = MessageBuilder::binding_error(check.request.id, code);
        let bytes = message.integrity(&self.peer.password).fingerprint().build();
        self.deliver(check.destination, check.source, &bytes);
    }

    /// Lets the peer check the agent in the other role.
    pub(crate) fn be_checked(&mut self, stream: usize, source: &str, destination: &str, priority: u32) {
        let local = self.agent.local_credentials(self.streams[stream]).unwrap().clone();
        self.next_id += 1;
        let message = MessageBuilder::binding_request([self.next_id; 12])
            .username(local.ufrag.as_str(), self.peer.ufrag.as_str())
            .priority(priority);
        let message =
            if self.agent.role() == Role::Controlling { message.controlled(1) } else { message.controlling(1) };
        self.deliver(address(source), address(destination), &message.integrity(&local.password).fingerprint().build());
    }

    /// The pair with this remote address.
    pub(crate) fn pair_with(&self, remote: &str) -> PairView<'_> {
        let is_it = |pair: &PairView<'_>| pair.remote.socket_address() == Some(address(remote));
        self.agent.pairs().find(is_it).unwrap()
    }

    /// Stream, component, foundation of the remote candidate, and state of each pair, in the order of forming.
    pub(crate) fn states(&self) -> Vec<(usize, u16, String, CandidatePairState)> {
        let place = |stream| self.streams.iter().position(|one| *one == stream).unwrap();
        let view = |p: PairView<'_>| (place(p.stream), p.component.get(), p.remote.foundation().to_string(), p.state);
        self.agent.pairs().map(view).collect()
    }

    /// The states of pairs as a table: a row for each component of each stream, a column for each foundation.
    pub(crate) fn table(&self, foundations: &[&str]) -> Vec<String> {
        let states = self.states();
        let mut rows: Vec<(usize, u16)> = states.iter().map(|state| (state.0, state.1)).collect();
        rows.sort_unstable();
        rows.dedup();
        let cell = |row: (usize, u16), foundation: &str| {
            let mut found = states.iter().filter(|state| (state.0, state.1) == row && state.2 == foundation);
            let state = found.next().map_or('.', |state| letter(state.3));
            assert!(found.next().is_none(), "one pair in a cell");
            state
        };
        rows.into_iter().map(|row| foundations.iter().map(|foundation| cell(row, foundation)).collect()).collect()
    }

    /// When the agent wants to be called, in milliseconds from the start.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.agent.poll_timeout().map(|next| next.saturating_duration_since(at(0)))
    }
}

pub(crate) const fn letter(state: CandidatePairState) -> char {
    match state {
        CandidatePairState::Frozen => 'F',
        CandidatePairState::Waiting => 'W',
        CandidatePairState::InProgress => 'I',
        CandidatePairState::Succeeded => 'S',
        CandidatePairState::Failed => 'X',
    }
}

/// A configuration whose checks are sent once and given up after half a second.
pub(crate) fn hasty() -> Config {
    Config::default().with_rc(1).with_rm(1).with_pac_timer(Some(ms(0)))
}
