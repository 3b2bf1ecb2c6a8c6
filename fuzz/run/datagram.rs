//! Datagrams into an agent that is connecting: raw bytes, and messages that are almost right or right.
//!
//! The input is a list of steps. Beside the agent under attack runs a twin that is told the same but never sees what was
//! dropped without being authenticated: whatever such a datagram is, the two have to say the same ever after.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::OnceLock;
use std::time::Duration;

use nilas::sim::{Invariants, MessageBuilder, Wire, compare_readers};
use nilas::{
    Agent, ComponentId, Config, Datagram, DropReason, Event, Instant, Received, RemoteDescription, Role, Seed,
    StreamId, Transmit, Transport,
};

/// The input, taken bit by bit. What is missing reads as zero.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }
}

/// Who takes part, up to the moment at which checks begin.
#[derive(Clone)]
struct Start {
    agent: Agent,
    peer: Agent,
    stream: StreamId,
}

const HERE: [&str; 2] = ["198.51.100.1:5000", "198.51.100.2:5000"];
const THERE: [&str; 2] = ["203.0.113.1:6000", "203.0.113.2:6000"];

fn address(text: &str) -> SocketAddr {
    text.parse().expect("it is an address")
}

fn start(role: Role) -> Start {
    let now = Instant::ZERO;
    let config = Config::default().with_max_pairs(8).with_max_peer_reflexive(4).with_max_early_checks(4);
    let agent = Agent::new(config.clone().with_pair_events(true), role, Seed::from_name("agent"));
    let peer = Agent::new(config, role.opposite(), Seed::from_name("peer"));
    let (mut agent, mut peer) = (agent.expect("the limits are good"), peer.expect("the limits are good"));
    let stream = agent.add_stream(1).expect("one component is fine");
    assert_eq!(peer.add_stream(1), Ok(stream));
    for (agent, addresses) in [(&mut agent, HERE), (&mut peer, THERE)] {
        for text in addresses {
            let added = agent.add_socket(now, stream, ComponentId::RTP, Transport::Udp, address(text));
            assert!(added.is_ok());
        }
    }
    let description =
        |agent: &Agent| RemoteDescription::new(agent.local_credentials(stream).expect("the stream exists").clone());
    let (of_agent, of_peer) = (description(&agent), description(&peer));
    peer.set_remote_description(now, stream, &of_agent).expect("the description is good");
    introduce(&mut agent, &mut peer, now);
    agent.set_remote_description(now, stream, &of_peer).expect("the description is good");
    introduce(&mut peer, &mut agent, now);
    Start { agent, peer, stream }
}

/// Carries the candidates of one to the other.
fn introduce(from: &mut Agent, to: &mut Agent, now: Instant) {
    while let Some(event) = from.poll_event() {
        if let Event::LocalCandidate { stream, candidate, .. } = event {
            assert!(to.add_remote_candidate(now, stream, *candidate).is_ok());
        }
    }
}

fn prepared(role: Role) -> Start {
    static STARTS: OnceLock<[Start; 2]> = OnceLock::new();
    let starts = STARTS.get_or_init(|| [start(Role::Controlling), start(Role::Controlled)]);
    starts[usize::from(role == Role::Controlled)].clone()
}

type Sent = (SocketAddr, SocketAddr, Vec<u8>);

struct Scene {
    agent: Agent,
    twin: Agent,
    peer: Agent,
    stream: StreamId,
    now: Instant,
    /// What the agent and its peer sent, until it is delivered or lost.
    to_peer: VecDeque<Sent>,
    to_agent: VecDeque<Sent>,
    /// The latest check of the agent.
    check: Option<Sent>,
    data: usize,
    /// What holds for the agent, and for its twin.
    invariants: [Invariants; 2],
}

/// Whether it is an answer to what was not authenticated.
fn is_unauthenticated_reply(bytes: &[u8]) -> bool {
    matches!(Wire::decode(bytes), Wire::Error { attributes, .. } if !attributes.contains(&8) && !attributes.contains(&0x1c))
}

impl Scene {
    /// Polls both the agent and its twin until they are quiet.
    fn drain(&mut self) {
        let mut said = Vec::new();
        let mut events = Vec::new();
        for (agent, invariants) in [&mut self.agent, &mut self.twin].into_iter().zip(&mut self.invariants) {
            let mut sent: Vec<Sent> = Vec::new();
            let mut told = Vec::new();
            for polls in 0.. {
                assert!(polls < 1000, "it never is quiet");
                let mut buffer = Vec::new();
                if let Some(Transmit { len, source, destination, .. }) = agent.poll_transmit(self.now, &mut buffer) {
                    assert_eq!(len, buffer.len());
                    assert!(len <= Agent::MAX_DATAGRAM);
                    assert!(HERE.iter().any(|text| address(text) == source), "{source} is no socket");
                    invariants.note_sent(self.now, agent, &buffer);
                    sent.push((source, destination, buffer));
                } else if let Some(event) = agent.poll_event() {
                    told.push(event);
                } else {
                    break;
                }
            }
            invariants.check(self.now, agent);
            assert!(agent.pairs().filter(|pair| !pair.is_valid).count() <= 8);
            assert!(agent.remote_candidates(self.stream).filter(|remote| !remote.is_signalled).count() <= 4);
            said.push(sent);
            events.push(told);
        }
        let (twin_said, mut said) = (said.pop().unwrap_or_default(), said.pop().unwrap_or_default());
        said.retain(|(.., bytes)| !is_unauthenticated_reply(bytes));
        assert_eq!(said, twin_said, "something dropped has changed what is sent");
        assert_eq!(events.first(), events.last(), "something dropped has changed what is told");
        assert_eq!(self.agent.poll_timeout(), self.twin.poll_timeout());
        assert_eq!((self.agent.role(), self.agent.state()), (self.twin.role(), self.twin.state()));
        for sent in said {
            if Wire::decode(&sent.2).request().is_some() {
                self.check = Some(sent.clone());
            }
            self.to_peer.push_back(sent);
        }
        for _ in 0..1000 {
            let mut buffer = Vec::new();
            let Some(transmit) = self.peer.poll_transmit(self.now, &mut buffer) else { break };
            self.to_agent.push_back((transmit.source, transmit.destination, buffer));
        }
        while self.peer.poll_event().is_some() {}
    }

    /// Hands a datagram to the agent, and to its twin unless it was dropped before it was believed.
    fn deliver(&mut self, source: SocketAddr, destination: SocketAddr, payload: &[u8]) {
        for agent in [&self.agent, &self.peer] {
            let password = &agent.local_credentials(self.stream).expect("the stream exists").password;
            compare_readers(payload, password);
        }
        let datagram = Datagram::new(source, destination, payload);
        let received = self.agent.handle_datagram(self.now, &datagram);
        self.data += usize::from(matches!(received, Received::Data { .. }));
        match received {
            Received::Dropped(DropReason::BadRequest | DropReason::UnusableResponse) | Received::Handled => {
                assert_eq!(self.twin.handle_datagram(self.now, &datagram), received);
            }
            Received::Data { payload: data, .. } => {
                assert_eq!(data, payload);
                assert_eq!(self.twin.handle_datagram(self.now, &datagram), received);
            }
            _ => {}
        }
        self.drain();
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        for agent in [&mut self.agent, &mut self.twin, &mut self.peer] {
            agent.handle_timeout(self.now);
        }
        self.drain();
    }

    /// Builds a message from the input: right where it does not say otherwise.
    fn message(&self, input: &mut Input<'_>) -> Vec<u8> {
        let ours = self.agent.local_credentials(self.stream).expect("the stream exists");
        let theirs = self.peer.local_credentials(self.stream).expect("the stream exists");
        let flags = input.byte();
        let answered = self.check.as_ref().and_then(|sent| Wire::decode(&sent.2).id());
        let (mut message, password) = match flags & 3 {
            0 | 1 => {
                let request = MessageBuilder::binding_request(input.array());
                (request.username(ours.ufrag.as_str(), theirs.ufrag.as_str()), &ours.password)
            }
            2 => (MessageBuilder::binding_success(answered.unwrap_or([1; 12])), &theirs.password),
            _ => {
                let code = 300 + u16::from(input.byte()) * 2;
                (MessageBuilder::binding_error(answered.unwrap_or([1; 12]), code), &theirs.password)
            }
        };
        for _ in 0..8 {
            let what = input.byte();
            message = match what % 12 {
                1 => message.priority(u32::from_be_bytes(input.array())),
                2 => message.use_candidate(),
                3 => message.controlling(u64::from_be_bytes(input.array())),
                4 => message.controlled(u64::from_be_bytes(input.array())),
                5 => {
                    let [a, b, c, d, high, low] = input.array();
                    let port = u16::from_be_bytes([high, low]);
                    message.mapped_v4(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port))
                }
                6 => message.mapped_v4(SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 5000)),
                7 => message.attribute(u16::from_be_bytes(input.array()), input.bytes()),
                8 => message.attribute(6, input.bytes()),
                9 => message.priority(0x6eff_ffff).controlling(u64::MAX),
                10 => message.priority(0x6eff_ffff).controlled(0),
                _ => break,
            };
        }
        if flags & 4 == 0 {
            message = if flags & 8 == 0 { message.integrity(password) } else { message.integrity_sha256(password) };
        }
        if flags & 16 != 0 {
            message = message.attribute(u16::from_be_bytes(input.array()), input.bytes());
        }
        let mut bytes = if flags & 32 == 0 { message.fingerprint().build() } else { message.build() };
        if flags & 64 != 0 {
            let at = usize::from(u16::from_be_bytes(input.array())) % bytes.len();
            bytes[at] ^= 1 << (input.byte() % 8);
        }
        bytes
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let step = input.byte();
        let here = address(HERE[usize::from(step >> 4) % 2]);
        let there = match step >> 5 {
            0 | 1 => address(THERE[0]),
            2 => address(THERE[1]),
            3 => SocketAddr::from(([192, 0, 2, 1], 7000)),
            4 => SocketAddr::from(([0, 0, 0, 0], 0)),
            5 => "[::ffff:203.0.113.1]:6000".parse().expect("it is an address"),
            6 => "[2001:db8::1]:9".parse().expect("it is an address"),
            _ => SocketAddr::from(([192, 0, 2, 2], u16::from(input.byte()))),
        };
        match step & 15 {
            0..=2 => self.deliver(there, here, input.bytes()),
            3..=6 => {
                let bytes = self.message(input);
                self.deliver(there, here, &bytes);
            }
            7 => {
                let Some((source, destination, bytes)) = self.to_peer.pop_front() else { return };
                let datagram = Datagram::new(source, destination, &bytes);
                let _ = self.peer.handle_datagram(self.now, &datagram);
                self.drain();
            }
            8 => {
                let Some((source, destination, bytes)) = self.to_agent.pop_front() else { return };
                self.deliver(source, destination, &bytes);
            }
            // What the peer said, with one byte changed and perhaps another source.
            9 => {
                let Some((_, destination, mut bytes)) = self.to_agent.front().cloned() else { return };
                let at = usize::from(input.byte()) % bytes.len();
                bytes[at] ^= input.byte();
                self.deliver(there, destination, &bytes);
            }
            10 => self.advance(Duration::from_millis(u64::from(input.byte()) * 4)),
            11 => self.advance(Duration::from_secs(u64::from(input.byte()))),
            12 => {
                let _ = (self.to_peer.pop_front(), self.to_agent.pop_front());
            }
            // Everything that is under way arrives.
            13 => {
                for _ in 0..8 {
                    while let Some((source, destination, bytes)) = self.to_peer.pop_front() {
                        let datagram = Datagram::new(source, destination, &bytes);
                        let _ = self.peer.handle_datagram(self.now, &datagram);
                        self.drain();
                    }
                    while let Some((source, destination, bytes)) = self.to_agent.pop_front() {
                        self.deliver(source, destination, &bytes);
                    }
                }
            }
            14 => {
                for agent in [&mut self.agent, &mut self.twin] {
                    let mut buffer = Vec::new();
                    let _ = agent.send(self.now, self.stream, ComponentId::RTP, b"\x80data", &mut buffer);
                }
            }
            _ => {
                for agent in [&mut self.agent, &mut self.twin] {
                    assert!(agent.end_of_remote_candidates(self.now, self.stream).is_ok());
                    assert!(agent.end_of_local_candidates(self.now, self.stream).is_ok());
                }
                self.drain();
            }
        }
    }
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let role = if input.byte() % 2 == 0 { Role::Controlling } else { Role::Controlled };
    let Start { agent, peer, stream } = prepared(role);
    let mut scene = Scene {
        twin: agent.clone(),
        agent,
        peer,
        stream,
        now: Instant::ZERO,
        to_peer: VecDeque::new(),
        to_agent: VecDeque::new(),
        check: None,
        data: 0,
        invariants: Default::default(),
    };
    scene.drain();
    for _ in 0..200 {
        if input.0.is_empty() {
            break;
        }
        scene.step(&mut input);
    }
    let stats = scene.agent.stats();
    assert!(stats.integrity_checks <= stats.datagrams_received, "more than one integrity check for a datagram");
}
