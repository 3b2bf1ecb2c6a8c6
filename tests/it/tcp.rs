//! ICE over TCP: two agents whose connections are pipes without delay.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use nilas::{
    Agent, ComponentId, Config, ConnectionEvent, ConnectionId, ConnectionRequest, ConnectionState, Event, Instant,
    Received, RemoteDescription, Role, Seed, SocketOptions, StreamId, TcpType, Transport,
};

use crate::help::ms;

const RTP: ComponentId = ComponentId::RTP;

/// One end of a connection: the side, and its name there.
type End = (usize, ConnectionId);

struct Pipes {
    agents: [Agent; 2],
    stream: StreamId,
    now: Instant,
    ends: BTreeMap<End, End>,
    bytes: VecDeque<(End, Vec<u8>)>,
    events: [Vec<Event>; 2],
    requests: [Vec<ConnectionRequest>; 2],
    received: [Vec<Vec<u8>>; 2],
    next_port: u16,
}

impl Pipes {
    /// Two agents with these candidates.
    fn new(types: [(TcpType, &str); 2], config: &Config) -> Self {
        let build = |role, name| Agent::new(config.clone(), role, Seed::from_name(name)).unwrap();
        let mut agents = [build(Role::Controlling, "l"), build(Role::Controlled, "r")];
        let streams = [0, 1].map(|side: usize| agents[side].add_stream(1).unwrap());
        let mut pipes = Self {
            agents,
            stream: streams[0],
            now: Instant::ZERO,
            ends: BTreeMap::new(),
            bytes: VecDeque::new(),
            events: [Vec::new(), Vec::new()],
            requests: [Vec::new(), Vec::new()],
            received: [Vec::new(), Vec::new()],
            next_port: 40_000,
        };
        for (side, (tcp_type, address)) in types.into_iter().enumerate() {
            let (stream, now) = (pipes.stream, pipes.now);
            let agent = &mut pipes.agents[side];
            let options = SocketOptions::default().with_tcp_type(tcp_type);
            agent.add_socket_with(now, stream, RTP, Transport::Tcp, address.parse().unwrap(), options).unwrap();
            agent.end_of_local_candidates(now, stream).unwrap();
        }
        for side in [0, 1] {
            let credentials = pipes.agents[1 - side].local_credentials(pipes.stream).unwrap().clone();
            let description = RemoteDescription::new(credentials).with_ice2(true);
            pipes.agents[side].set_remote_description(pipes.now, pipes.stream, &description).unwrap();
        }
        pipes
    }

    fn step(&mut self) -> bool {
        let (now, stream) = (self.now, self.stream);
        let mut is_quiet = true;
        for side in [0, 1] {
            let mut buffer = Vec::new();
            while let Some(transmit) = self.agents[side].poll_transmit(now, &mut buffer) {
                is_quiet = false;
                let from = (side, transmit.connection.expect("there is no UDP here"));
                if let Some(to) = self.ends.get(&from) {
                    self.bytes.push_back((*to, buffer.clone()));
                }
                buffer.clear();
            }
            while let Some(request) = self.agents[side].poll_connection() {
                is_quiet = false;
                self.connect(side, &request);
                self.requests[side].push(request);
            }
            while let Some(event) = self.agents[side].poll_event() {
                is_quiet = false;
                match &event {
                    Event::LocalCandidate { candidate, .. } => {
                        let candidate = (**candidate).clone();
                        let _ = self.agents[1 - side].add_remote_candidate(now, stream, candidate).unwrap();
                    }
                    Event::EndOfCandidates { .. } => {
                        self.agents[1 - side].end_of_remote_candidates(now, stream).unwrap();
                    }
                    _ => {}
                }
                self.events[side].push(event);
            }
        }
        while let Some(((side, id), bytes)) = self.bytes.pop_front() {
            is_quiet = false;
            // The network cuts where it likes.
            for piece in bytes.chunks(7) {
                let mut rest = piece;
                while let Some(received) = self.agents[side].handle_stream_bytes(now, id, &mut rest) {
                    if let Received::Data { payload, .. } = received {
                        self.received[side].push(payload.to_vec());
                    }
                }
            }
        }
        is_quiet
    }

    fn connect(&mut self, side: usize, request: &ConnectionRequest) {
        let (now, other) = (self.now, 1 - side);
        match request {
            ConnectionRequest::Open { id, local, remote, .. } => {
                self.next_port += 1;
                let local = SocketAddr::new(local.ip(), self.next_port);
                match self.agents[other].accept_connection(now, *remote, local) {
                    Ok(accepted) => {
                        self.ends.insert((side, *id), (other, accepted));
                        self.ends.insert((other, accepted), (side, *id));
                        self.agents[side].handle_connection(now, ConnectionEvent::Opened { id: *id, local });
                    }
                    Err(_) => self.agents[side].handle_connection(now, ConnectionEvent::Failed { id: *id }),
                }
            }
            ConnectionRequest::Close { id } => {
                if let Some((_, id)) = self.ends.remove(&(side, *id)) {
                    self.ends.remove(&(other, id));
                    self.agents[other].handle_connection(now, ConnectionEvent::Closed { id });
                }
            }
            _ => panic!("an unknown request"),
        }
    }

    fn run_for(&mut self, time: std::time::Duration) {
        let end = self.now + time;
        loop {
            while !self.step() {}
            let next = self.agents.iter().filter_map(Agent::poll_timeout).min().filter(|at| *at <= end);
            let Some(next) = next else { break };
            assert!(next > self.now, "a drained agent is due at once");
            self.now = next;
            self.agents.iter_mut().for_each(|agent| agent.handle_timeout(next));
        }
        self.now = end;
    }

    fn send(&mut self, side: usize, payload: &[u8]) {
        let mut buffer = Vec::new();
        let transmit = self.agents[side].send(self.now, self.stream, RTP, payload, &mut buffer).unwrap();
        assert_eq!((transmit.len, buffer.len()), (payload.len() + 2, payload.len() + 2));
        let to = self.ends[&(side, transmit.connection.unwrap())];
        self.bytes.push_back((to, buffer));
        while !self.step() {}
    }
}

/// Scenario: S135
/// Req: 6544-7.1-a
/// Req: 6544-7.1-f
/// Req: 6544-7.2-a
/// Req: 6544-10.1-b
/// Req: 7675-5.1-i
#[test]
fn an_active_candidate_connects_to_a_passive_one() {
    let types = [(TcpType::Active, "198.51.100.1:9"), (TcpType::Passive, "203.0.113.1:7000")];
    let mut pipes = Pipes::new(types, &Config::default());
    pipes.run_for(ms(5000));
    for side in [0, 1] {
        let agent = &pipes.agents[side];
        assert_eq!(agent.state(), ConnectionState::Completed, "side {side}");
        let tcp_types =
            agent.selected_pair(pipes.stream, RTP).map(|pair| (pair.local.tcp_type(), pair.remote.tcp_type()));
        let (active, passive) = (Some(TcpType::Active), Some(TcpType::Passive));
        assert_eq!(tcp_types, Some(if side == 0 { (active, passive) } else { (passive, active) }));
    }
    // One connection, from a port of its own, which each side has learned from the checks.
    assert!(matches!(pipes.requests[0].as_slice(), [ConnectionRequest::Open { local, .. }] if local.port() == 0));
    assert!(pipes.requests[1].is_empty());
    let addresses = [0, 1].map(|side: usize| {
        let pair = pipes.agents[side].selected_pair(pipes.stream, RTP).unwrap();
        [pair.local.socket_address().unwrap(), pair.remote.socket_address().unwrap()]
    });
    assert_eq!(addresses[0], ["198.51.100.1:40001".parse().unwrap(), "203.0.113.1:7000".parse().unwrap()]);
    assert_eq!(addresses[1], [addresses[0][1], addresses[0][0]]);
    for (side, length) in [(0, 1200), (1, 1), (0, 65_535), (1, 40_000)] {
        let payload = vec![0x80 + side as u8; length];
        pipes.send(side, &payload);
        assert_eq!(pipes.received[1 - side].pop(), Some(payload));
    }
    // It stays healthy, and consent is asked for.
    pipes.run_for(ms(60_000));
    for agent in &pipes.agents {
        assert!(agent.selected_pair(pipes.stream, RTP).unwrap().stats.consent_requests_sent >= 10);
    }
    assert!(pipes.agents.iter().all(|agent| agent.state() == ConnectionState::Completed));
    let is_ended = |event: &Event| matches!(event, Event::ConnectionEnded { .. } | Event::PathHealthChanged { .. });
    assert!(!pipes.events.iter().flatten().any(is_ended));
}
