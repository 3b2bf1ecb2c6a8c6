//! Two agents under a script of operations, polled in different ways: what they send and say must not depend on how.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use nilas::{
    Agent, Candidate, CandidateKind, ComponentId, Config, Datagram, Event, Instant, Priority, RemoteDescription, Role,
    Seed, StreamId, Transport,
};

use crate::help::ms;
use crate::solo::Out;

/// One thing that happens to a session.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Advance(Duration),
    /// Something befalls the n-th packet in flight.
    Drop(usize),
    Duplicate(usize),
    Hold(usize, Duration),
    Garbage(usize, Vec<u8>),
    Damage(usize, usize),
    AddSocket(usize),
    AddReflexive(usize),
    AddStrangeCandidate(usize, u16),
    EndOfLocal(usize),
    EndOfRemote(usize),
    Describe(usize),
    Data(usize),
}

/// How the agents are called.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    /// Events are polled before datagrams.
    pub(crate) events_first: bool,
    /// `handle_timeout` is called so often, due or not, besides.
    pub(crate) tick: Option<Duration>,
    /// Everything is polled once more, and `handle_timeout` called once more, after everything.
    pub(crate) repeats: bool,
}

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}

/// A random script; `late` says whether candidates are added after the descriptions.
pub(crate) fn script(seed: u64, late: bool) -> Vec<Op> {
    let mut dice = Dice(seed);
    let mut ops = Vec::new();
    for _ in 0..dice.below(3) {
        ops.push(Op::AddSocket(dice.below(2) as usize));
    }
    if dice.below(3) == 0 {
        ops.push(Op::AddReflexive(dice.below(2) as usize));
    }
    let first = dice.below(2) as usize;
    ops.push(Op::Advance(ms(dice.below(200))));
    ops.push(Op::Describe(first));
    ops.push(Op::Advance(ms(dice.below(200))));
    ops.push(Op::Describe(1 - first));
    for _ in 0..40 {
        let side = dice.below(2) as usize;
        let which = dice.below(8) as usize;
        ops.push(match dice.below(if late { 15 } else { 11 }) {
            0..=3 => Op::Advance(ms(dice.below(120))),
            4 => Op::Drop(which),
            5 => Op::Duplicate(which),
            6 => Op::Hold(which, ms(dice.below(600))),
            7 => Op::Garbage(side, (0..dice.below(90)).map(|_| dice.roll() as u8).collect()),
            8 => Op::Damage(which, dice.below(800) as usize),
            9 => Op::Data(side),
            10 => Op::EndOfRemote(side),
            11 => Op::AddSocket(side),
            12 => Op::AddStrangeCandidate(side, 1000 + which as u16),
            13 => Op::EndOfLocal(side),
            _ => Op::AddReflexive(side),
        });
    }
    ops.push(Op::Advance(ms(45_000)));
    ops
}

#[derive(Clone, Debug)]
enum Load {
    Candidate(Candidate),
    Packet { source: SocketAddr, destination: SocketAddr, bytes: Vec<u8> },
}

#[derive(Clone, Debug)]
struct Side {
    agent: Agent,
    stream: StreamId,
    sockets: u8,
    out: Vec<Out>,
    events: Vec<Event>,
    received: Vec<Vec<u8>>,
    sent: u64,
    signalled: u64,
}

/// Everything that can be seen of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transcript {
    pub(crate) out: [Vec<Out>; 2],
    pub(crate) events: [Vec<Event>; 2],
    pub(crate) received: [Vec<Vec<u8>>; 2],
}

#[derive(Clone, Debug)]
pub(crate) struct Duo {
    now: Instant,
    sides: [Side; 2],
    /// By time, kind, sender and number: an order that does not depend on how the agents are polled.
    flights: BTreeMap<(Instant, bool, usize, u64), Load>,
    style: Style,
    next_tick: Instant,
}

impl Duo {
    pub(crate) fn run(seed: u64, ops: &[Op], style: Style) -> Transcript {
        let mut duo = Self::new(seed, style);
        for op in ops {
            duo.apply(op);
        }
        let [l, r] = duo.sides;
        Transcript { out: [l.out, r.out], events: [l.events, r.events], received: [l.received, r.received] }
    }

    fn new(seed: u64, style: Style) -> Self {
        let sides = [(0, Role::Controlling), (1, Role::Controlled)].map(|(number, role)| {
            let config = Config::default().with_pair_events(true);
            let mut agent = Agent::new(config, role, Seed::from_number(2 * seed + number)).unwrap();
            let stream = agent.add_stream(1).unwrap();
            let (out, events, received) = (Vec::new(), Vec::new(), Vec::new());
            Side { agent, stream, sockets: 0, out, events, received, sent: 0, signalled: 0 }
        });
        let now = Instant::ZERO;
        let next_tick = style.tick.map_or(now, |tick| now + tick);
        let mut duo = Self { now, sides, flights: BTreeMap::new(), style, next_tick };
        for side in [0, 1] {
            duo.apply(&Op::AddSocket(side));
        }
        duo
    }

    fn apply(&mut self, op: &Op) {
        let now = self.now;
        let key = |this: &Self, which: usize| {
            let packets: Vec<_> = this.flights.keys().filter(|key| key.1).copied().collect();
            packets.get(which % packets.len().max(1)).copied()
        };
        match *op {
            Op::Advance(time) => self.run_to(now + time),
            Op::Drop(which) => {
                if let Some(key) = key(self, which) {
                    self.flights.remove(&key);
                }
            }
            Op::Duplicate(which) => {
                if let Some(Load::Packet { source, destination, bytes }) =
                    key(self, which).and_then(|key| self.flights.get(&key)).cloned()
                {
                    self.receive(source, destination, &bytes);
                }
            }
            Op::Hold(which, time) => {
                if let Some(key) = key(self, which) {
                    let load = self.flights.remove(&key).unwrap();
                    self.flights.insert((key.0 + time, key.1, key.2, key.3), load);
                }
            }
            Op::Damage(which, bit) => {
                if let Some(Load::Packet { bytes, .. }) = key(self, which).and_then(|key| self.flights.get_mut(&key)) {
                    let at = bit / 8 % bytes.len();
                    bytes[at] ^= 1 << (bit % 8);
                }
            }
            Op::Garbage(side, ref bytes) => {
                let (source, destination) = (address(1 - side, 1), address(side, 1));
                self.receive(source, destination, bytes);
            }
            Op::AddSocket(side) => {
                let data = &mut self.sides[side];
                data.sockets += 1;
                let socket = address(side, data.sockets);
                // It is refused after the end of candidates.
                let _ = data.agent.add_socket(now, data.stream, ComponentId::RTP, Transport::Udp, socket);
                self.drain(side);
            }
            Op::AddReflexive(side) => {
                let data = &mut self.sides[side];
                let mapped = SocketAddr::from(([192, 0, 2, side as u8 + 1], 4000 + u16::from(data.sockets)));
                let _ = data.agent.add_server_reflexive(now, data.stream, address(side, 1), mapped, None);
                self.drain(side);
            }
            Op::AddStrangeCandidate(side, port) => {
                let foundation = format!("s{}", port % 3).parse().unwrap();
                let priority = Priority::new(u32::from(port) * 1_000_000).unwrap();
                let to = SocketAddr::from(([192, 0, 2, 99], port));
                let candidate = Candidate::new(CandidateKind::Host, ComponentId::RTP, foundation, priority, to);
                let data = &mut self.sides[side];
                let _ = data.agent.add_remote_candidate(now, data.stream, candidate);
                self.drain(side);
            }
            Op::EndOfLocal(side) => {
                let data = &mut self.sides[side];
                data.agent.end_of_local_candidates(now, data.stream).unwrap();
                self.drain(side);
            }
            Op::EndOfRemote(side) => {
                let data = &mut self.sides[side];
                data.agent.end_of_remote_candidates(now, data.stream).unwrap();
                self.drain(side);
            }
            Op::Describe(side) => {
                let other = &self.sides[1 - side];
                let credentials = other.agent.local_credentials(other.stream).unwrap().clone();
                let data = &mut self.sides[side];
                data.agent.set_remote_description(now, data.stream, &RemoteDescription::new(credentials)).unwrap();
                self.drain(side);
            }
            Op::Data(side) => {
                let data = &mut self.sides[side];
                let mut bytes = Vec::new();
                let sent = data.agent.send(now, data.stream, ComponentId::RTP, &[0x80, side as u8], &mut bytes);
                if let Ok(transmit) = sent {
                    self.launch(side, transmit.source, transmit.destination, bytes);
                }
                self.drain(side);
            }
        }
    }

    fn run_to(&mut self, end: Instant) {
        loop {
            let flight = self.flights.first_key_value().map(|(key, _)| key.0);
            let tick = self.style.tick.map(|_| self.next_tick);
            let [l, r] = [0, 1].map(|side: usize| self.sides[side].agent.poll_timeout());
            let Some(next) = [flight, tick, l, r].into_iter().flatten().min().filter(|at| *at <= end) else { break };
            assert!(next >= self.now);
            self.now = next;
            while let Some(entry) = self.flights.first_entry().filter(|entry| entry.key().0 <= next) {
                let ((_, _, from, _), load) = entry.remove_entry();
                match load {
                    Load::Packet { source, destination, bytes } => self.receive(source, destination, &bytes),
                    Load::Candidate(candidate) => {
                        let data = &mut self.sides[1 - from];
                        let _ = data.agent.add_remote_candidate(next, data.stream, candidate);
                        self.drain(1 - from);
                    }
                }
            }
            let is_tick = tick.is_some_and(|tick| tick <= next);
            if let Some(tick) = self.style.tick.filter(|_| is_tick) {
                self.next_tick = next + tick;
            }
            for side in [0, 1] {
                let data = &mut self.sides[side];
                if is_tick || data.agent.poll_timeout().is_some_and(|at| at <= next) {
                    data.agent.handle_timeout(next);
                    self.drain(side);
                }
            }
        }
        self.now = end;
    }

    fn receive(&mut self, source: SocketAddr, destination: SocketAddr, payload: &[u8]) {
        let Some(side) = [0, 1].into_iter().find(|side| destination.ip() == address(*side, 1).ip()) else { return };
        let data = &mut self.sides[side];
        let datagram = Datagram::new(source, destination, payload);
        if let nilas::Received::Data { payload, .. } = data.agent.handle_datagram(self.now, &datagram) {
            data.received.push(payload.to_vec());
        }
        self.drain(side);
    }

    fn launch(&mut self, side: usize, source: SocketAddr, destination: SocketAddr, bytes: Vec<u8>) {
        let data = &mut self.sides[side];
        data.out.push(Out { at: self.now, source, destination, bytes: bytes.clone() });
        data.sent += 1;
        let key = (self.now + ms(25), true, side, data.sent);
        self.flights.insert(key, Load::Packet { source, destination, bytes });
    }

    fn drain(&mut self, side: usize) {
        loop {
            let before = (self.sides[side].out.len(), self.sides[side].events.len());
            if self.style.events_first {
                self.drain_events(side);
            }
            self.drain_datagrams(side);
            self.drain_events(side);
            if self.style.repeats {
                self.sides[side].agent.handle_timeout(self.now);
            }
            if before == (self.sides[side].out.len(), self.sides[side].events.len()) {
                break;
            }
        }
        let next = self.sides[side].agent.poll_timeout();
        assert!(next.is_none_or(|at| at > self.now), "drained at {:?}, and due at {next:?}", self.now);
    }

    fn drain_datagrams(&mut self, side: usize) {
        loop {
            let mut bytes = Vec::new();
            let Some(transmit) = self.sides[side].agent.poll_transmit(self.now, &mut bytes) else { return };
            assert_eq!(transmit.len, bytes.len());
            self.launch(side, transmit.source, transmit.destination, bytes);
        }
    }

    fn drain_events(&mut self, side: usize) {
        while let Some(event) = self.sides[side].agent.poll_event() {
            let data = &mut self.sides[side];
            if let Event::LocalCandidate { candidate, .. } = &event {
                data.signalled += 1;
                let load = Load::Candidate(Candidate::clone(candidate));
                self.flights.insert((self.now + ms(10), false, side, data.signalled), load);
            }
            data.events.push(event);
        }
    }
}

fn address(side: usize, number: u8) -> SocketAddr {
    let ip = if side == 0 { [198, 51, 100, 1] } else { [203, 0, 113, 1] };
    SocketAddr::from((ip, 5000 + u16::from(number)))
}
