//! Bytes of connections into an agent with a passive candidate: raw ones, frames that lie, and authentic checks.
//!
//! The input is a list of steps. Beside the agent runs a twin that is given the same bytes one at a time: wherever a stream
//! is split, the same data comes out of it, and the same answers go back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use nilas::sim::{Invariants, MessageBuilder};
use nilas::{
    Agent, ComponentId, Config, ConnectionEvent, ConnectionId, ConnectionRequest, Credentials, Event, Instant,
    Received, RemoteDescription, Role, Seed, StreamId, Transport,
};

const LISTENER: ([u8; 4], u16) = ([203, 0, 113, 1], 7000);
const MOST: usize = 6;

/// The input, taken bit by bit. What is missing reads as zero.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }
}

#[derive(Clone)]
struct Side {
    agent: Agent,
    said: Vec<(ConnectionId, Vec<u8>)>,
    closed: Vec<ConnectionId>,
    events: usize,
    invariants: Invariants,
}

impl Side {
    fn drain(&mut self, now: Instant) {
        for _ in 0..1000 {
            let mut bytes = Vec::new();
            if let Some(transmit) = self.agent.poll_transmit(now, &mut bytes) {
                let connection = transmit.connection.expect("there is no UDP here");
                let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
                assert_eq!((transmit.len, length + 2), (bytes.len(), bytes.len()), "one frame");
                self.said.push((connection, bytes));
            } else if let Some(request) = self.agent.poll_connection() {
                let ConnectionRequest::Close { id } = request else { panic!("a passive candidate calls nobody") };
                self.closed.push(id);
            } else if let Some(event) = self.agent.poll_event() {
                self.events += usize::from(!matches!(event, Event::PairAdded { .. }));
            } else {
                self.invariants.check(now, &self.agent);
                return;
            }
        }
        panic!("an agent goes on and on");
    }
}

fn start() -> (Side, StreamId, Credentials) {
    static START: OnceLock<(Side, StreamId, Credentials)> = OnceLock::new();
    START.get_or_init(build).clone()
}

fn build() -> (Side, StreamId, Credentials) {
    let now = Instant::ZERO;
    let config =
        Config::default().with_max_connections(MOST).with_max_connections_per_address(2).with_max_peer_reflexive(4);
    let mut agent = Agent::new(config, Role::Controlled, Seed::from_name("agent")).expect("the limits are good");
    let stream = agent.add_stream(1).expect("one component is fine");
    let added = agent.add_socket(now, stream, ComponentId::RTP, Transport::Tcp, SocketAddr::from(LISTENER));
    assert!(added.is_ok());
    let theirs = Credentials::new("peer", "passwordOfThePeer012345").expect("they are good");
    agent.set_remote_description(now, stream, &RemoteDescription::new(theirs.clone())).expect("it is good");
    let mut side = Side { agent, said: Vec::new(), closed: Vec::new(), events: 0, invariants: Invariants::new() };
    side.drain(now);
    (side, stream, theirs)
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let (side, stream, theirs) = start();
    let mut sides = [side.clone(), side];
    let ours = sides[0].agent.local_credentials(stream).expect("the stream exists").clone();
    let mut now = Instant::ZERO;
    let mut connections: Vec<ConnectionId> = Vec::new();
    // Whether an authentic check has come on it.
    let mut checked: BTreeMap<ConnectionId, bool> = BTreeMap::new();
    let mut number = 0_u8;
    for _ in 0..64 {
        if input.0.is_empty() {
            break;
        }
        let (step, which) = (input.byte(), usize::from(input.byte()));
        let connection = connections.get(which % connections.len().max(1)).copied();
        match step % 6 {
            0 => {
                let remote = SocketAddr::from(([198, 51, 100, step / 64], 40_000 + which as u16));
                let accepted = sides.each_mut().map(|side| side.agent.accept_connection(now, LISTENER.into(), remote));
                assert_eq!(accepted[0], accepted[1]);
                connections.extend(accepted[0].ok());
            }
            1 => {
                if let Some(id) = connection {
                    feed(&mut sides, now, id, input.bytes(), &checked);
                }
            }
            2 => {
                // A frame whose length tells the truth, or not.
                let payload = input.bytes();
                let mut length = payload.len() as u16;
                if step > 200 {
                    length = length.wrapping_mul(257);
                }
                let mut frame = length.to_be_bytes().to_vec();
                frame.extend_from_slice(payload);
                if let Some(id) = connection {
                    feed(&mut sides, now, id, &frame, &checked);
                }
            }
            3 => {
                number = number.wrapping_add(1);
                let check = MessageBuilder::binding_request([number; 12])
                    .username(ours.ufrag.as_str(), theirs.ufrag.as_str())
                    .priority(1 + which as u32)
                    .controlling(which as u64);
                let check = if step > 128 { check.use_candidate() } else { check };
                let mut message = check.integrity(&ours.password).fingerprint().build();
                if step % 5 == 0 {
                    let place = which % message.len();
                    message[place] ^= 1;
                }
                let mut frame = (message.len() as u16).to_be_bytes().to_vec();
                frame.extend_from_slice(&message);
                if let Some(id) = connection {
                    if step % 5 != 0 {
                        checked.insert(id, true);
                    }
                    feed(&mut sides, now, id, &frame, &checked);
                }
            }
            4 => {
                if let Some(id) = connection {
                    sides.iter_mut().for_each(|side| {
                        side.agent.handle_connection(now, ConnectionEvent::Closed { id });
                    });
                    connections.retain(|one| *one != id);
                }
            }
            _ => {
                now += Duration::from_millis(which as u64 * 50);
                sides.iter_mut().for_each(|side| side.agent.handle_timeout(now));
            }
        }
        sides.iter_mut().for_each(|side| side.drain(now));
        assert_eq!(sides[0].said, sides[1].said);
        assert_eq!(sides[0].closed, sides[1].closed);
        assert_eq!(sides[0].events, sides[1].events);
        assert!(sides[0].agent.remote_candidates(stream).count() <= 4);
    }
}

/// Gives bytes to the agent at once, and to its twin one by one.
fn feed(sides: &mut [Side; 2], now: Instant, id: ConnectionId, bytes: &[u8], checked: &BTreeMap<ConnectionId, bool>) {
    let take = |side: &mut Side, mut bytes: &[u8], data: &mut Vec<Vec<u8>>| {
        while let Some(received) = side.agent.handle_stream_bytes(now, id, &mut bytes) {
            if let Received::Data { payload, .. } = received {
                data.push(payload.to_vec());
            }
        }
        assert!(bytes.is_empty());
    };
    let [mut whole, mut single] = [Vec::new(), Vec::new()];
    let [agent, twin] = sides;
    take(agent, bytes, &mut whole);
    for byte in bytes.chunks(1) {
        take(twin, byte, &mut single);
    }
    assert_eq!(whole, single);
    assert!(whole.is_empty() || checked.contains_key(&id), "data before a check");
}
