//! A hostile TURN server that knows the password, over UDP and over a connection, whose frames come in pieces.
//!
//! The input is a list of steps: what the server says to a request that it has got, in what lifetime, with what addresses;
//! data and ICMP that nobody asked for; raw bytes; what becomes of the connection; time that passes; and how much room
//! there is in the buffers. Whatever it says, no candidate has an address that is nobody's, nothing is asked more often than
//! it is answered or time passes, and once polled the agent does not want to be called at once.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use nilas::sim::MessageBuilder;
use nilas::{
    Agent, Candidate, CandidateKind, ComponentId, Config, ConnectionEvent, ConnectionId, ConnectionRequest,
    Credentials, Datagram, Event, Foundation, IceServer, Instant, Priority, RelayFamilies, RemoteDescription, Role,
    Seed, StreamId, Transport,
};

const BASE: ([u8; 4], u16) = ([198, 51, 100, 1], 5000);
const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 3478);
const PEER: ([u8; 4], u16) = ([203, 0, 113, 1], 6000);

/// The input, taken byte by byte. What is missing reads as zero.
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

    /// One of the addresses that a server may name: good ones, and such as nobody should follow.
    fn address(&mut self) -> SocketAddr {
        let (which, port) = (self.byte(), u16::from(self.byte()) * 257);
        let ip = match which % 16 {
            0 => "192.0.2.1",
            1 => "192.0.2.2",
            2 => "203.0.113.1",
            3 => "127.0.0.1",
            4 => "169.254.169.254",
            5 => "224.0.0.1",
            6 => "255.255.255.255",
            7 => "0.0.0.0",
            8 => "::1",
            9 => "fe80::1",
            10 => "ff02::1",
            11 => "2001:db8::1",
            12 => "::ffff:127.0.0.1",
            13 => "::ffff:192.0.2.7",
            14 => "198.51.100.1",
            _ => return SocketAddr::from(([192, 0, 2, which], port)),
        };
        SocketAddr::new(ip.parse().expect("it is an address"), port)
    }
}

/// A request that the server has got.
#[derive(Clone, Copy)]
struct Asked {
    method: u16,
    id: [u8; 12],
    /// Where it came to, or the connection that it came on.
    server: SocketAddr,
    connection: Option<ConnectionId>,
    channel: Option<u16>,
}

#[derive(Clone)]
struct World {
    agent: Agent,
    stream: StreamId,
    now: Instant,
    asked: Vec<Asked>,
    opening: Vec<ConnectionId>,
    open: Vec<ConnectionId>,
    channel: u16,
    /// The realm and the nonce that were told last.
    realm: Vec<u8>,
    sent: usize,
    /// What the agent may send at the most by now.
    allowed: usize,
}

fn start() -> World {
    static START: OnceLock<World> = OnceLock::new();
    START.get_or_init(build).clone()
}

fn build() -> World {
    let now = Instant::ZERO;
    let config = Config::default().with_relay_families(RelayFamilies::Both).with_max_peer_reflexive(4);
    let mut agent = Agent::new(config, Role::Controlling, Seed::from_name("agent")).expect("the limits are good");
    let stream = agent.add_stream(1).expect("one component is fine");
    agent.add_socket(now, stream, ComponentId::RTP, Transport::Udp, BASE.into()).expect("it is a good address");
    let framed: IceServer = "turn:192.0.2.1:3478?transport=tcp".parse().expect("it is a good URI");
    let servers = [
        IceServer::turn(SERVER.into(), "user", "pass"),
        framed.with_credentials("user", "pass"),
        IceServer::stun(SERVER.into()),
    ];
    agent.gather(now, &servers).expect("they are good");
    let foundation: Foundation = "1".parse().expect("it is one");
    let priority = Priority::new(0x7eff_ffff).expect("it is one");
    let host = Candidate::new(CandidateKind::Host, ComponentId::RTP, foundation, priority, PEER.into());
    let theirs = Credentials::new("peer", "passwordOfThePeer012345").expect("they are good");
    let description = RemoteDescription::new(theirs).with_candidates(vec![host]);
    agent.set_remote_description(now, stream, &description).expect("it is good");
    let mut world = World {
        agent,
        stream,
        now,
        asked: Vec::new(),
        opening: Vec::new(),
        open: Vec::new(),
        channel: 0x4000,
        realm: b"realm".to_vec(),
        sent: 0,
        allowed: 100,
    };
    world.drain(1500);
    world
}

impl World {
    /// Takes all that the agent has to say, into buffers with so much room.
    fn drain(&mut self, room: usize) {
        for _ in 0..2000 {
            let mut buf = vec![0; room];
            if let Some(transmit) = self.agent.poll_transmit(self.now, &mut buf.as_mut_slice()) {
                self.sent += 1;
                self.note(transmit.destination, transmit.connection, &buf[..transmit.len]);
            } else if let Some(request) = self.agent.poll_connection() {
                match request {
                    ConnectionRequest::Close { id } => {
                        self.open.retain(|one| *one != id);
                        self.opening.retain(|one| *one != id);
                        self.asked.retain(|asked| asked.connection != Some(id));
                    }
                    ConnectionRequest::Open { id, .. } => self.opening.push(id),
                    _ => {}
                }
            } else if let Some(event) = self.agent.poll_event() {
                if let Event::LocalCandidate { candidate, .. } = event {
                    judge(&candidate);
                }
            } else {
                let due = self.agent.poll_timeout();
                assert!(due.is_none_or(|at| at > self.now), "drained, and due at {due:?}");
                assert!(self.sent <= self.allowed, "{} packets of {}", self.sent, self.allowed);
                return;
            }
        }
        panic!("an agent goes on and on");
    }

    fn note(&mut self, server: SocketAddr, connection: Option<ConnectionId>, bytes: &[u8]) {
        let Some((head, body)) = bytes.split_first_chunk::<20>() else { return };
        let method = u16::from_be_bytes([head[0], head[1]]);
        if method & 0xc110 != 0 {
            return;
        }
        assert!(head[4..8] == [0x21, 0x12, 0xa4, 0x42]);
        let id = head[8..].try_into().expect("there are twelve");
        let channel = body.starts_with(&[0, 0x0c]).then(|| u16::from_be_bytes([body[4], body[5]]));
        self.channel = channel.unwrap_or(self.channel);
        self.asked.push(Asked { method, id, server, connection, channel });
        if self.asked.len() > 32 {
            self.asked.remove(0);
        }
    }

    /// Gives a message of the server to the agent.
    fn say(&mut self, to: &Asked, bytes: &[u8], pieces: u8) {
        self.allowed += 8;
        match to.connection {
            None => {
                let _ = self.agent.handle_datagram(self.now, &Datagram::new(to.server, BASE.into(), bytes));
            }
            Some(id) => {
                let size = usize::from(pieces) + 1;
                for mut piece in bytes.chunks(if pieces > 200 { usize::MAX } else { size }) {
                    while self.agent.handle_stream_bytes(self.now, id, &mut piece).is_some() {}
                }
            }
        }
    }

    fn pass(&mut self, time: Duration, room: usize) {
        let end = self.now + time;
        // What leaves by the clock alone: checks, keepalives and refreshes, as Ta and the schedules have it.
        self.allowed += 60 + 8 * usize::try_from(time.as_secs()).unwrap_or(0);
        for _ in 0..5000 {
            let Some(at) = self.agent.poll_timeout().filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(at);
            self.agent.handle_timeout(self.now);
            self.drain(room);
        }
        panic!("time does not pass");
    }

    fn check(&self) {
        for local in self.agent.local_candidates(self.stream) {
            judge(local.candidate);
        }
        assert!(self.agent.local_candidates(self.stream).count() <= 64);
        assert!(self.agent.pairs().count() <= 100);
    }
}

/// A candidate that is made of what a server has told has an address that somebody can have, elsewhere.
fn judge(candidate: &Candidate) {
    let Some(address) = candidate.socket_address() else { return };
    let ip = address.ip().to_canonical();
    assert!(address.port() != 0 && !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(), "{address}");
    if let std::net::IpAddr::V4(v4) = ip {
        assert!(!v4.is_broadcast() && !v4.is_link_local(), "{address}");
    }
}

/// One that a server relays to, by its own word.
fn grant(asked: &Asked, relayed: &[SocketAddr], mapped: SocketAddr, lifetime: Option<u32>) -> MessageBuilder {
    let mut message = MessageBuilder::new(asked.method | 0x100, asked.id).xor_address(0x0020, mapped);
    for address in relayed {
        message = message.xor_address(0x0016, *address);
    }
    match lifetime {
        Some(lifetime) => message.attribute(0x000d, &lifetime.to_be_bytes()),
        None => message,
    }
}

const LIFETIMES: [Option<u32>; 8] =
    [Some(600), None, Some(0), Some(1), Some(10), Some(120), Some(3600), Some(u32::MAX)];
const CODES: [u16; 16] = [300, 400, 401, 403, 420, 437, 438, 440, 441, 442, 443, 446, 486, 500, 508, 599];

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut world = start();
    let mut room = 1500;
    for _ in 0..64 {
        if input.0.is_empty() {
            break;
        }
        let (step, which) = (input.byte(), usize::from(input.byte()));
        let place = which % world.asked.len().max(1);
        let asked = world.asked.get(place).copied();
        match (step % 16, asked) {
            // What was asked for, as it should be.
            (0, Some(asked)) => {
                let relayed = [SocketAddr::from(([192, 0, 2, 1], 50_000 + which as u16))];
                let message = grant(&asked, &relayed, SocketAddr::from(([203, 0, 113, 7], 40_000)), Some(600));
                let bytes = message.long_term_integrity("user", &world.realm, "pass").build();
                answer(&mut world, place, &asked, &bytes, step);
            }
            // The same with any addresses and lifetimes, or a part of it.
            (1 | 2, Some(asked)) => {
                let relayed = [input.address(), input.address()];
                let (mapped, flags) = (input.address(), input.byte());
                let count = usize::from(flags % 3);
                let message = grant(&asked, &relayed[..count], mapped, LIFETIMES[usize::from(flags / 32)]);
                let message = if flags & 4 == 0 { message } else { message.attribute(0x8001, input.bytes()) };
                let bytes = sign(message, &world.realm, flags);
                answer(&mut world, place, &asked, &bytes, step);
            }
            // A challenge.
            (3, Some(asked)) => {
                let flags = input.byte();
                let length = |bits: u8| [0, 4, 20, 128, 400, 650, 763, 764][usize::from(bits % 8)];
                world.realm = vec![b'r'; length(flags)];
                let mut nonce = vec![b'n'; length(flags / 8)];
                let mut message = MessageBuilder::new(asked.method | 0x110, asked.id);
                message = message.error_code(if flags & 128 == 0 { 401 } else { 438 });
                if flags & 64 != 0 {
                    nonce.splice(..0, *b"obMatJos2gAAA");
                    message = message.attribute(0x8002, &[0, 1, 0, 0].repeat(which));
                }
                let bytes = message.attribute(0x0014, &world.realm).attribute(0x0015, &nonce).build();
                answer(&mut world, place, &asked, &bytes, step);
            }
            // An error, perhaps with another server.
            (4 | 5, Some(asked)) => {
                let (code, flags) = (CODES[usize::from(input.byte() % 16)], input.byte());
                let mut message = MessageBuilder::new(asked.method | 0x110, asked.id).error_code(code);
                if code == 300 {
                    message = alternate(message, input.address());
                }
                if matches!(code, 401 | 438) {
                    message = message.attribute(0x0014, &world.realm).attribute(0x0015, input.bytes());
                }
                let bytes = sign(message, &world.realm, flags);
                answer(&mut world, place, &asked, &bytes, step);
            }
            // An answer that is made of anything.
            (6, Some(asked)) => {
                let mut message = MessageBuilder::new(asked.method | if which < 128 { 0x100 } else { 0x110 }, asked.id);
                for _ in 0..input.byte() % 6 {
                    let kind = u16::from_be_bytes([input.byte() & 0x80, input.byte() % 0x40]);
                    message = message.attribute(kind, input.bytes());
                }
                let bytes = sign(message, &world.realm, input.byte());
                answer(&mut world, place, &asked, &bytes, step);
            }
            // Data and ICMP.
            (7, Some(asked)) => {
                let message = MessageBuilder::new(0x0017, [which as u8; 12]).xor_address(0x0012, input.address());
                let kind = if which % 2 == 0 { 0x0013 } else { 0x8004 };
                world.say(&asked, &message.attribute(kind, input.bytes()).build(), step);
            }
            (8, Some(asked)) => {
                let payload = input.bytes();
                let number = asked.channel.unwrap_or(world.channel).to_be_bytes();
                let mut bytes = [&number[..], &(payload.len() as u16).to_be_bytes(), payload].concat();
                if asked.connection.is_some() {
                    bytes.resize(bytes.len().next_multiple_of(4), 0);
                }
                world.say(&asked, &bytes, step);
            }
            (9, Some(asked)) => {
                let bytes = input.bytes();
                world.say(&asked, bytes, step);
            }
            // What becomes of connections.
            (10, _) => {
                if let Some(id) = world.opening.pop() {
                    let event = if which % 4 == 0 {
                        ConnectionEvent::Failed { id }
                    } else {
                        world.open.push(id);
                        ConnectionEvent::Opened { id, local: SocketAddr::from((BASE.0, 40_000 + which as u16)) }
                    };
                    world.agent.handle_connection(world.now, event);
                }
            }
            (11, _) => {
                if let Some(id) = world.open.pop() {
                    world.asked.retain(|asked| asked.connection != Some(id));
                    world.agent.handle_connection(world.now, ConnectionEvent::Closed { id });
                }
            }
            (12, _) => room = [548, 600, 800, 1500, 9000][which % 5],
            (13, _) => {
                let mut buf = vec![0; room];
                let _ =
                    world.agent.send(world.now, world.stream, ComponentId::RTP, b"\x80data", &mut buf.as_mut_slice());
            }
            (14, _) => world.pass(Duration::from_secs(which as u64 * 4), room),
            _ => world.pass(Duration::from_millis(which as u64 * 10), room),
        }
        world.drain(room);
        world.check();
    }
    world.agent.close(world.now);
    world.allowed += 50;
    world.drain(room);
    // Whoever is told that it is over, or does not want to hear it, is left in the end.
    world.pass(Duration::from_secs(600), room);
    assert_eq!(world.agent.poll_timeout(), None, "a closed agent comes to an end");
}

fn answer(world: &mut World, place: usize, asked: &Asked, bytes: &[u8], step: u8) {
    // Some answers come twice.
    if step < 240 {
        world.asked.remove(place);
    }
    world.say(asked, bytes, step);
}

/// Signs with the right key, with none, or with another.
fn sign(message: MessageBuilder, realm: &[u8], flags: u8) -> Vec<u8> {
    match flags % 8 {
        0 => message.build(),
        1 => message.long_term_integrity("user", realm, "guess").build(),
        _ => message.long_term_integrity("user", realm, "pass").build(),
    }
}

fn alternate(message: MessageBuilder, to: SocketAddr) -> MessageBuilder {
    let mut value = vec![0, if to.is_ipv4() { 1 } else { 2 }];
    value.extend(to.port().to_be_bytes());
    match to.ip() {
        std::net::IpAddr::V4(v4) => value.extend(v4.octets()),
        std::net::IpAddr::V6(v6) => value.extend(v6.octets()),
    }
    message.attribute(0x8023, &value)
}
