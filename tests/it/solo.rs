//! One live agent, and a peer whose messages the tests write by hand.

use std::collections::BTreeSet;
use std::net::{SocketAddr, SocketAddrV4};

use nilas::sim::{Invariants, MessageBuilder, Wire, WireRequest, is_consent_check, is_genuine};
use nilas::{
    Agent, Candidate, CandidateKind, CandidatePairState, ComponentId, Config, Credentials, Datagram, DropReason, Event,
    Foundation, Instant, PairId, Password, Priority, Received, RemoteDescription, Renomination, Role, Seed, StreamId,
    Transport,
};

use crate::help::{ms, silent};

/// Priority of a host candidate with the highest local preference, component 1.
pub(crate) const HOST_PRIORITY: u32 = 0x7eff_ffff;
/// The same of the peer-reflexive candidate that a check announces.
pub(crate) const CHECK_PRIORITY: u32 = 0x6eff_ffff;

/// A datagram that the agent sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Out {
    pub(crate) at: Instant,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

impl Out {
    pub(crate) fn wire(&self) -> Wire {
        Wire::decode(&self.bytes)
    }

    pub(crate) fn request(&self) -> WireRequest {
        self.wire().request().expect("it is a request").clone()
    }
}

/// What became of a datagram, without what it borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Handled,
    Data,
    Dropped(DropReason),
}

#[derive(Clone, Debug)]
pub(crate) struct Solo {
    pub(crate) agent: Agent,
    pub(crate) stream: StreamId,
    pub(crate) now: Instant,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) theirs: Credentials,
    pub(crate) out: Vec<Out>,
    /// Which of them are consent checks, which have a schedule of their own.
    pub(crate) consents: BTreeSet<usize>,
    pub(crate) events: Vec<Event>,
    invariants: Invariants,
    next_id: u64,
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn host(text: &str) -> Candidate {
    let foundation: Foundation = "1".parse().unwrap();
    let priority = Priority::new(HOST_PRIORITY).unwrap();
    Candidate::new(CandidateKind::Host, ComponentId::RTP, foundation, priority, address(text))
}

impl Solo {
    /// An agent with one socket that has not heard of its peer.
    pub(crate) fn new(role: Role) -> Self {
        Self::with(role, Config::default())
    }

    /// The same with this configuration, but neither consent nor keepalives.
    pub(crate) fn with(role: Role, config: Config) -> Self {
        Self::with_consent(role, silent(config))
    }

    /// The same, with consent if the configuration has it.
    pub(crate) fn with_consent(role: Role, config: Config) -> Self {
        let mut agent = Agent::new(config, role, Seed::from_name("solo")).unwrap();
        let stream = agent.add_stream(1).unwrap();
        let mut solo = Self {
            agent,
            stream,
            now: Instant::ZERO,
            local: address("198.51.100.1:5000"),
            remote: address("203.0.113.1:6000"),
            theirs: Credentials::new("peer", "passwordOfThePeer012345").unwrap(),
            out: Vec::new(),
            consents: BTreeSet::new(),
            events: Vec::new(),
            invariants: Invariants::new(),
            next_id: 1 << 32,
        };
        solo.add_socket("198.51.100.1:5000");
        solo
    }

    /// An agent that knows credentials and host candidate of its peer, and has sent its first check.
    pub(crate) fn checking(role: Role) -> Self {
        Self::checking_with(role, Config::default())
    }

    pub(crate) fn checking_with(role: Role, config: Config) -> Self {
        let mut solo = Self::with(role, config);
        solo.describe(vec![host("203.0.113.1:6000")]);
        assert_eq!(solo.out.len(), 1);
        solo
    }

    /// Says that no more candidates come, from either side.
    pub(crate) fn end_of_candidates(&mut self) {
        self.agent.end_of_local_candidates(self.now, self.stream).unwrap();
        self.agent.end_of_remote_candidates(self.now, self.stream).unwrap();
        self.drain();
    }

    pub(crate) fn add_socket(&mut self, text: &str) {
        self.agent.add_socket(self.now, self.stream, ComponentId::RTP, Transport::Udp, address(text)).unwrap();
        self.drain();
    }

    /// Takes the peer's description with these candidates.
    pub(crate) fn describe(&mut self, candidates: Vec<Candidate>) {
        self.describe_as(None, candidates);
    }

    /// The same of a peer that takes several nominations by this draft.
    pub(crate) fn describe_as(&mut self, draft: Option<Renomination>, candidates: Vec<Candidate>) {
        let description = RemoteDescription::new(self.theirs.clone())
            .with_ice2(true)
            .with_renomination(draft)
            .with_candidates(candidates);
        self.agent.set_remote_description(self.now, self.stream, &description).unwrap();
        self.drain();
    }

    pub(crate) fn ours(&self) -> Credentials {
        self.agent.local_credentials(self.stream).unwrap().clone()
    }

    pub(crate) fn drain(&mut self) {
        for outputs in 0.. {
            assert!(outputs < Invariants::MOST_OUTPUTS, "it is never quiet");
            let mut bytes = Vec::new();
            if let Some(transmit) = self.agent.poll_transmit(self.now, &mut bytes) {
                let (source, destination) = (transmit.source, transmit.destination);
                self.invariants.note_sent(self.now, &self.agent, &bytes);
                if is_consent_check(&self.agent, &bytes) {
                    self.consents.insert(self.out.len());
                }
                self.out.push(Out { at: self.now, source, destination, bytes });
            } else if let Some(event) = self.agent.poll_event() {
                self.events.push(event);
            } else {
                break;
            }
        }
        self.invariants.check(self.now, &self.agent);
    }

    /// Lets time pass, with every deadline in it.
    pub(crate) fn run_for(&mut self, time: std::time::Duration) {
        let end = self.now + time;
        while let Some(at) = self.agent.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.agent.handle_timeout(at);
            self.drain();
        }
        self.now = end;
    }

    pub(crate) fn id(&mut self) -> [u8; 12] {
        self.next_id += 1;
        let mut id = [7; 12];
        id[4..].copy_from_slice(&self.next_id.to_be_bytes());
        id
    }

    /// Hands a datagram from `source` to the agent, and polls it.
    pub(crate) fn receive_from(&mut self, source: SocketAddr, bytes: &[u8]) -> Outcome {
        self.receive_at(source, self.local, bytes)
    }

    pub(crate) fn receive_at(&mut self, source: SocketAddr, destination: SocketAddr, bytes: &[u8]) -> Outcome {
        let outcome = self.hand_in(source, destination, bytes);
        self.drain();
        outcome
    }

    /// Hands a datagram to the agent without polling it.
    pub(crate) fn hand_in(&mut self, source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Outcome {
        let datagram = Datagram::new(source, destination, payload);
        match self.agent.handle_datagram(self.now, &datagram) {
            Received::Handled => Outcome::Handled,
            Received::Data { .. } => Outcome::Data,
            Received::Dropped(reason) => Outcome::Dropped(reason),
            other => panic!("unexpected {other:?}"),
        }
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Outcome {
        self.receive_from(self.remote, bytes)
    }

    /// A check of the peer up to where integrity follows; it claims the role opposite to the agent's.
    pub(crate) fn check(&mut self) -> MessageBuilder {
        let role = self.agent.role().opposite();
        self.check_as(role, 1)
    }

    pub(crate) fn check_as(&mut self, role: Role, tiebreaker: u64) -> MessageBuilder {
        let id = self.id();
        let ours = self.ours();
        let builder = MessageBuilder::binding_request(id)
            .username(ours.ufrag.as_str(), self.theirs.ufrag.as_str())
            .priority(CHECK_PRIORITY);
        match role {
            Role::Controlling => builder.controlling(tiebreaker),
            Role::Controlled => builder.controlled(tiebreaker),
        }
    }

    /// Protects a message of the peer's with our password, as its requests are.
    pub(crate) fn seal(&self, builder: MessageBuilder) -> Vec<u8> {
        builder.integrity(&self.ours().password).fingerprint().build()
    }

    /// Protects a response of the peer.
    pub(crate) fn seal_response(&self, builder: MessageBuilder) -> Vec<u8> {
        builder.integrity(&self.theirs.password).fingerprint().build()
    }

    /// A genuine success response with this mapped address.
    pub(crate) fn success(&self, id: [u8; 12], mapped: SocketAddr) -> Vec<u8> {
        let SocketAddr::V4(mapped) = mapped else { panic!("IPv4 only") };
        self.success_v4(id, mapped)
    }

    fn success_v4(&self, id: [u8; 12], mapped: SocketAddrV4) -> Vec<u8> {
        self.seal_response(MessageBuilder::binding_success(id).mapped_v4(mapped))
    }

    /// A genuine error response.
    pub(crate) fn error(&self, id: [u8; 12], code: u16) -> Vec<u8> {
        self.seal_response(MessageBuilder::binding_error(id, code))
    }

    /// The latest datagram.
    pub(crate) fn last(&self) -> Out {
        self.out.last().expect("something was sent").clone()
    }

    /// All datagrams so far, which are forgotten.
    pub(crate) fn take(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    /// The requests so far; everything is forgotten.
    pub(crate) fn take_requests(&mut self) -> Vec<(Out, WireRequest)> {
        let is_request = |out: Out| Some((out.clone(), out.wire().request()?.clone()));
        self.take().into_iter().filter_map(is_request).collect()
    }

    /// Answers the latest request of the agent from where it went to, as the peer without NAT sees it.
    pub(crate) fn answer(&mut self) {
        let request = self.out.iter().rev().find(|out| out.wire().request().is_some()).expect("a request").clone();
        let answer = self.success(request.request().id, request.source);
        assert_eq!(self.receive_at(request.destination, request.source, &answer), Outcome::Handled);
    }

    pub(crate) fn state_of(&self, remote: SocketAddr) -> Option<CandidatePairState> {
        self.pair_to(remote).map(|pair| self.agent.pair(pair).unwrap().state)
    }

    /// The first pair to this remote address.
    pub(crate) fn pair_to(&self, remote: SocketAddr) -> Option<PairId> {
        self.agent.pairs().find(|pair| pair.remote.socket_address() == Some(remote)).map(|pair| pair.id)
    }

    pub(crate) fn state(&self) -> Option<CandidatePairState> {
        self.state_of(self.remote)
    }

    /// All that can be seen of the agent from outside but its counters, and what it will do next.
    pub(crate) fn digest(&self) -> String {
        let agent = &self.agent;
        let pairs: Vec<String> = agent
            .pairs()
            .map(|pair| {
                format!(
                    "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
                    pair.id,
                    pair.base,
                    pair.local,
                    pair.remote,
                    pair.state,
                    pair.priority,
                    (pair.is_valid, pair.is_nominated, pair.is_selected),
                    (pair.stats.requests_received, pair.stats.responses_received),
                    pair.stats.current_round_trip_time,
                )
            })
            .collect();
        let locals: Vec<String> = agent.local_candidates(self.stream).map(|local| format!("{local:?}")).collect();
        let remotes: Vec<String> = agent.remote_candidates(self.stream).map(|remote| format!("{remote:?}")).collect();
        format!(
            "{pairs:?}\n{locals:?}\n{remotes:?}\n{:?}",
            (
                agent.role(),
                agent.state(),
                agent.stream_state(self.stream),
                agent.gathering_state(),
                agent.poll_timeout(),
                self.events.len(),
            )
        )
    }

    /// What the agent sends in the next minute if nothing more arrives.
    pub(crate) fn future(&self) -> Vec<Out> {
        let mut probe = self.clone();
        probe.out.clear();
        probe.run_for(ms(60_000));
        probe.out
    }

    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.agent.stats().dropped(reason)
    }

    pub(crate) fn roles_taken(&self) -> Vec<Role> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::RoleChanged { role, .. } => Some(*role),
                _ => None,
            })
            .collect()
    }
}

/// Whether the last but one attribute is the only integrity attribute, of this kind, and FINGERPRINT the last.
pub(crate) fn is_protected(bytes: &[u8], kind: u16, password: &Password) -> bool {
    let kinds = kinds(bytes);
    let integrity: Vec<u16> = kinds.iter().copied().filter(|kind| [0x0008, 0x001c].contains(kind)).collect();
    kinds.ends_with(&[kind, 0x8028]) && integrity == [kind] && is_genuine(bytes, password)
}

/// The attribute types of a message, in order.
pub(crate) fn kinds(bytes: &[u8]) -> Vec<u16> {
    let mut kinds = Vec::new();
    let mut rest = &bytes[20..];
    while rest.len() >= 4 {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]])).next_multiple_of(4);
        kinds.push(u16::from_be_bytes([rest[0], rest[1]]));
        rest = &rest[4 + length..];
    }
    kinds
}

/// The value of the first attribute of this type.
pub(crate) fn value(bytes: &[u8], kind: u16) -> Option<Vec<u8>> {
    let mut rest = &bytes[20..];
    while rest.len() >= 4 {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if u16::from_be_bytes([rest[0], rest[1]]) == kind {
            return Some(rest[4..4 + length].to_vec());
        }
        rest = &rest[4 + length.next_multiple_of(4)..];
    }
    None
}
