//! An application that calls its agent in any order, and all that is around it: a peer whose credentials are known, a STUN and
//! TURN server, connections.
//!
//! The input is a list of letters: those of `sim::Op`, as far as they concern one agent, and those of this file, for what else an
//! application may call, what a server says, and what becomes of connections. Whatever comes, the invariants of the simulator
//! hold, data goes nowhere but where an answer has come from within the time of consent, and what is printed tells no secret.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nilas::sim::{Call, Fault, Invariants, MessageBuilder, Op, Poll, Saying, ServerMethod, Voice};
use nilas::{
    AcceptConnectionError, Agent, Candidate, CandidateId, CandidateKind, CandidateListing, ComponentId, Config,
    ConnectionEvent, ConnectionId, ConnectionRequest, Credentials, Datagram, Event, Foundation, IceServer, Instant,
    PairId, Payload, Priority, Received, RemoteDescription, Renomination, Role, Seed, SendFailure, SocketOptions,
    StreamId, TcpType, TrafficClass, Transmit, Transport,
};

const SERVER: ([u8; 4], u16) = ([192, 0, 2, 53], 3478);
/// Where a relay of it is.
const RELAY: [u8; 4] = [192, 0, 2, 54];
const PEER: ([u8; 4], u16) = ([203, 0, 113, 1], 6000);
const RELAY_PASSWORD: &str = "passwordOfTheRelay";
/// How long an answer allows to send (RFC 7675 §5.1).
const CONSENT: Duration = Duration::from_secs(30);

/// The input, taken byte by byte. What is missing reads as zero.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn bit(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// One of the addresses that a candidate may have, good ones and others.
    fn address(&mut self) -> SocketAddr {
        let (which, port) = (self.byte(), 6000 + u16::from(self.byte() % 4));
        let ip = match which % 16 {
            0..8 => "203.0.113.1",
            8..11 => "203.0.113.2",
            11 => "2001:db8::2",
            12 => "::ffff:203.0.113.1",
            13 => "127.0.0.1",
            14 => "192.0.2.54",
            _ => "224.0.0.1",
        };
        SocketAddr::new(ip.parse().expect("it is an address"), port)
    }
}

/// A request that was sent.
#[derive(Clone)]
struct Asked {
    method: u16,
    id: [u8; 12],
    from: SocketAddr,
    to: SocketAddr,
    connection: Option<ConnectionId>,
    /// The server that carries it, if it goes to `to` by a relay.
    by: Option<SocketAddr>,
}

struct Connection {
    id: ConnectionId,
    local: SocketAddr,
    remote: SocketAddr,
}

struct Host {
    agent: Agent,
    stream: StreamId,
    now: Instant,
    is_lite: bool,
    has_consent: bool,
    invariants: Invariants,
    theirs: Credentials,
    /// How many credentials the peer has had.
    generation: usize,
    /// The latest requests, the last one first.
    asked: VecDeque<Asked>,
    opening: Vec<Connection>,
    open: Vec<Connection>,
    channels: BTreeMap<u16, SocketAddr>,
    /// When an authentic answer came last from each address, by a relay or not; for a lite agent, a check.
    answered: BTreeMap<(bool, SocketAddr), Instant>,
    /// What nobody may read where something is printed.
    secrets: BTreeSet<String>,
    shown: String,
    number: u32,
}

fn credentials(generation: usize) -> Credentials {
    Credentials::new(&format!("peer{generation}"), &format!("passwordOfThePeer{generation:05}")).expect("they are good")
}

fn host(address: SocketAddr, priority: u32) -> Candidate {
    let (kind, foundation) = (CandidateKind::Host, format!("f{}", address.port()));
    let foundation: Foundation = foundation.parse().expect("it is one");
    let priority = Priority::new(0x7eff_0000 + priority).expect("it is one");
    Candidate::new(kind, ComponentId::RTP, foundation, priority, address)
}

impl Host {
    fn new(input: &mut Input<'_>) -> Self {
        let (flags, more) = (input.byte(), input.byte());
        let role = if flags & 1 == 0 { Role::Controlling } else { Role::Controlled };
        let (is_lite, has_consent) = (flags & 0x0e == 0x0e, flags & 0x30 != 0x30);
        let config = Config::default()
            .with_lite(is_lite)
            .with_consent(has_consent || is_lite)
            .with_pair_events(flags & 0x40 != 0)
            .with_max_pairs(12)
            .with_max_peer_reflexive(4)
            .with_max_remote_candidates(8)
            .with_max_connections(6)
            .with_ta(Duration::from_millis(if flags & 0x80 == 0 { 50 } else { 5 }));
        let mut agent = Agent::new(config, role, Seed::from_number(more.into())).expect("the limits are good");
        let stream = agent.add_stream(1 + u16::from(more & 1)).expect("the count is good");
        let mut host = Self {
            agent,
            stream,
            now: Instant::ZERO,
            is_lite,
            // A lite agent asks nobody: that its peer is silent is told, and ends nothing (RFC 7675 §1).
            has_consent: has_consent && !is_lite,
            invariants: Invariants::new(),
            theirs: credentials(0),
            generation: 0,
            asked: VecDeque::new(),
            opening: Vec::new(),
            open: Vec::new(),
            channels: BTreeMap::new(),
            answered: BTreeMap::new(),
            secrets: BTreeSet::from([RELAY_PASSWORD.into()]),
            shown: String::new(),
            number: 0,
        };
        host.add_socket(0, Transport::Udp, None);
        if more & 2 != 0 {
            host.add_socket(1, Transport::Udp, None);
        }
        if more & 4 != 0 {
            host.add_socket(0, Transport::Tcp, Some(TcpType::Passive));
            host.add_socket(0, Transport::Tcp, Some(TcpType::Active));
        }
        if more & 8 != 0 {
            host.gather();
        }
        if more & 16 == 0 {
            host.describe(more >> 5, 2);
        }
        host.drain();
        host
    }

    fn add_socket(&mut self, which: u8, transport: Transport, tcp_type: Option<TcpType>) {
        let port = match (transport, tcp_type) {
            (Transport::Tcp, Some(TcpType::Active)) => 9,
            (Transport::Tcp, _) => 7000,
            _ => 5000 + u16::from(which / 4 % 4),
        };
        let address = SocketAddr::from(([198, 51, 100, 1 + which % 4], port));
        let options = SocketOptions::default();
        let options = if let Some(tcp_type) = tcp_type { options.with_tcp_type(tcp_type) } else { options };
        let _ = self.agent.add_socket_with(self.now, self.stream, ComponentId::RTP, transport, address, options);
    }

    fn gather(&mut self) {
        let framed: IceServer = "turn:192.0.2.53:3478?transport=tcp".parse().expect("it is a good URI");
        let servers = [
            IceServer::turn(SERVER.into(), "user", RELAY_PASSWORD),
            framed.with_credentials("user", RELAY_PASSWORD),
            IceServer::stun(SERVER.into()),
        ];
        let _ = self.agent.gather(self.now, &servers);
        let _ = write!(self.shown, "{servers:?}");
    }

    /// The peer describes itself.
    fn describe(&mut self, flags: u8, candidates: u8) {
        let draft = match flags % 4 {
            0 => None,
            1 => Some(Renomination::Draft2016),
            _ => Some(Renomination::Draft2026),
        };
        let candidates =
            (0..candidates % 4).map(|place| host(SocketAddr::from((PEER.0, PEER.1 + u16::from(place))), 9));
        let description = RemoteDescription::new(self.theirs.clone())
            .with_candidates(candidates.collect())
            .with_ice2(flags & 4 == 0)
            .with_renomination(draft)
            .with_lite(flags & 0x38 == 0x38);
        let outcome = self.agent.set_remote_description(self.now, self.stream, &description);
        self.show(&description);
        self.show(&outcome);
    }

    fn show(&mut self, what: &impl std::fmt::Debug) {
        if self.shown.len() < 20_000 {
            let _ = write!(self.shown, "{what:?} ");
        }
    }

    /// Takes all that the agent has to say, and sees that it is quiet then.
    fn drain(&mut self) {
        for _ in 0..Invariants::MOST_OUTPUTS {
            let is_done = !(self.poll_transmit(1500) | self.poll_connection() | self.poll_event());
            if is_done {
                self.invariants.check(self.now, &self.agent);
                self.remember();
                return;
            }
        }
        panic!("an agent goes on and on");
    }

    fn poll_transmit(&mut self, room: usize) -> bool {
        let mut buffer = vec![0; room];
        let Some(transmit) = self.agent.poll_transmit(self.now, &mut buffer.as_mut_slice()) else { return false };
        buffer.truncate(transmit.len);
        assert!(transmit.pair.is_none(), "what the agent sends by itself is no data");
        if transmit.connection.is_none() {
            self.invariants.note_sent(self.now, &self.agent, &buffer);
        }
        self.note(&transmit, &buffer);
        true
    }

    fn poll_connection(&mut self) -> bool {
        let Some(request) = self.agent.poll_connection() else { return false };
        self.show(&request);
        match request {
            ConnectionRequest::Open { id, local, remote, .. } => {
                self.opening.push(Connection { id, local, remote });
                assert!(self.opening.len() < 64, "it opens connections without end");
            }
            ConnectionRequest::Close { id } => self.forget(id),
            _ => {}
        }
        true
    }

    fn poll_event(&mut self) -> bool {
        let Some(event) = self.agent.poll_event() else { return false };
        if !matches!(event, Event::PairAdded { .. } | Event::PairStateChanged { .. }) {
            self.show(&event);
        }
        true
    }

    fn forget(&mut self, id: ConnectionId) {
        self.opening.retain(|one| one.id != id);
        self.open.retain(|one| one.id != id);
        self.asked.retain(|asked| asked.connection != Some(id));
    }

    /// Notes the secrets of the moment.
    fn remember(&mut self) {
        let streams: Vec<StreamId> = self.agent.streams().collect();
        for stream in streams {
            if let Some(ours) = self.agent.local_credentials(stream) {
                self.secrets.insert(ours.password.expose().into());
            }
        }
        self.secrets.insert(self.theirs.password.expose().into());
    }

    /// Notes a request that was sent, so that it can be answered.
    fn note(&mut self, transmit: &Transmit, bytes: &[u8]) {
        let bytes = match transmit.connection {
            // STUN of a TURN server is not framed, that of a peer is.
            Some(_) if transmit.destination != SERVER.into() => bytes.get(2..).unwrap_or_default(),
            _ => bytes,
        };
        let (mut peer, mut inner) = (None, bytes);
        if let (Some(number), [0x40..=0x4f, ..]) = (bytes.first_chunk::<2>(), bytes) {
            peer = self.channels.get(&u16::from_be_bytes(*number)).copied();
            inner = bytes.get(4..).unwrap_or_default();
        } else if bytes.starts_with(&[0x00, 0x16]) {
            peer = attribute(bytes, 0x0012).and_then(unxor);
            inner = attribute(bytes, 0x0013).unwrap_or_default();
        }
        let Some((head, _)) = inner.split_first_chunk::<20>() else { return };
        let method = u16::from_be_bytes([head[0], head[1]]);
        if method & 0xc110 != 0 || head[4..8] != [0x21, 0x12, 0xa4, 0x42] {
            return;
        }
        for kind in [0x8029, 0x802a] {
            if let Some(tie_breaker) = attribute(inner, kind).and_then(|value| <[u8; 8]>::try_from(value).ok()) {
                let number = u64::from_be_bytes(tie_breaker);
                self.secrets.insert(number.to_string());
                self.secrets.insert(format!("{number:x}"));
            }
        }
        if method == 0x0009 {
            let number = attribute(inner, 0x000c).and_then(|value| value.first_chunk::<2>().copied());
            if let (Some(number), Some(peer)) = (number, attribute(inner, 0x0012).and_then(unxor)) {
                self.channels.insert(u16::from_be_bytes(number), peer);
            }
        }
        let id = head[8..].try_into().expect("there are twelve");
        let by = peer.map(|_| transmit.destination);
        let to = peer.unwrap_or(transmit.destination);
        self.asked.retain(|asked| asked.id != id);
        let (from, connection) = (transmit.source, transmit.connection);
        self.asked.push_front(Asked { method, id, from, to, connection, by });
        self.asked.truncate(40);
    }

    /// What arrives for the agent at an address of it, or on a connection.
    fn hear(&mut self, from: SocketAddr, to: SocketAddr, connection: Option<ConnectionId>, bytes: &[u8]) {
        let mut heard = Vec::new();
        match connection {
            None => heard.push(format!("{:?}", self.agent.handle_datagram(self.now, &Datagram::new(from, to, bytes)))),
            Some(id) => {
                let mut rest = bytes;
                while let Some(received) = self.agent.handle_stream_bytes(self.now, id, &mut rest) {
                    if !matches!(received, Received::Data { .. }) {
                        heard.push(format!("{received:?}"));
                    }
                }
            }
        }
        for text in heard {
            self.show(&text);
        }
        self.drain();
    }

    fn framed(asked: &Asked, bytes: &[u8]) -> Vec<u8> {
        if asked.connection.is_some() && asked.to != SERVER.into() {
            let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
            return [&length[..], bytes].concat();
        }
        bytes.to_vec()
    }

    /// The peer, or the server, answers a request as it should.
    fn answer(&mut self, place: u8, is_repeated: bool) {
        let Some(place) = usize::from(place).checked_rem(self.asked.len()) else { return };
        let asked = self.asked[place].clone();
        if !is_repeated {
            self.asked.remove(place);
        }
        if asked.method != 1 || asked.to == SERVER.into() {
            let mut message = MessageBuilder::new(asked.method | 0x100, asked.id);
            if asked.method == 3 {
                message = message.xor_address(0x0016, SocketAddr::from((RELAY, 50_000 + (self.number % 100) as u16)));
                self.number += 1;
            }
            if matches!(asked.method, 1 | 3) {
                let mapped = SocketAddr::from(([192, 0, 2, 7], 40_000 + asked.from.port() % 1000));
                message = message.xor_address(0x0020, mapped);
            }
            if matches!(asked.method, 3 | 4) {
                message = message.attribute(0x000d, &600_u32.to_be_bytes());
            }
            if asked.method != 1 {
                message = message.long_term_integrity("user", b"realm", RELAY_PASSWORD);
            }
            self.hear(asked.to, asked.from, asked.connection, &message.build());
            return;
        }
        let mapped = if asked.by.is_some() { SocketAddr::from((RELAY, 50_000)) } else { asked.from };
        let message = MessageBuilder::binding_success(asked.id).xor_address(0x0020, mapped);
        let bytes = message.integrity(&self.theirs.password).fingerprint().build();
        self.answered.insert((asked.by.is_some(), plain(asked.to)), self.now);
        self.carry(&asked, &bytes);
    }

    /// Brings the agent what answers a request, the way that the request has gone.
    fn carry(&mut self, asked: &Asked, bytes: &[u8]) {
        match asked.by {
            Some(server) => {
                let message =
                    MessageBuilder::new(0x0017, asked.id).xor_address(0x0012, asked.to).attribute(0x0013, bytes);
                self.hear(server, asked.from, asked.connection, &message.build());
            }
            None => self.hear(asked.to, asked.from, asked.connection, &Self::framed(asked, bytes)),
        }
    }

    /// The server refuses a request, or asks for credentials.
    fn refuse(&mut self, method: u16, code: u16, is_signed: bool) {
        let is_it = |asked: &Asked| asked.method == method && asked.to == SERVER.into();
        let Some(asked) = self.asked.iter().find(|asked| is_it(asked)).cloned() else { return };
        let mut message = MessageBuilder::new(method | 0x110, asked.id).error_code(code);
        if matches!(code, 401 | 438) {
            message = message.attribute(0x0014, b"realm").attribute(0x0015, format!("nonce{}", self.number).as_bytes());
            self.number += 1;
        }
        let message = if is_signed { message.long_term_integrity("user", b"realm", RELAY_PASSWORD) } else { message };
        self.hear(asked.to, asked.from, asked.connection, &message.build());
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.drain();
        for _ in 0..20_000 {
            let Some(at) = self.agent.poll_timeout().filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(at);
            self.agent.handle_timeout(self.now);
            self.drain();
        }
        panic!("time does not pass");
    }

    /// Sends data, and sees that whoever it goes to has answered.
    fn send(&mut self, stream: StreamId, payload: Payload<'_>) {
        let mut buffer = Vec::new();
        let sent = self.agent.send(self.now, stream, ComponentId::RTP, payload, &mut buffer);
        match sent {
            Ok(transmit) => self.check_data(transmit.pair),
            Err(error) => self.show(&error),
        }
        if let Ok(route) = self.agent.route(self.now, stream, ComponentId::RTP) {
            self.check_data(self.agent.usable_pair(stream, ComponentId::RTP).map(|pair| pair.id));
            self.agent.record_sent(self.now, &route, 1, 20);
            self.show(&route);
        }
    }

    fn check_data(&self, pair: Option<PairId>) {
        // On the path of a pair from before a restart, no pair is named.
        let Some(pair) = pair.and_then(|pair| self.agent.pair(pair)) else { return };
        let is_relayed = pair.base.ip() == IpAddr::from(RELAY);
        let answered = self.answered.get(&(is_relayed, plain(pair.remote_address))).copied();
        let Some(answered) = answered else { panic!("data goes to {}, which has not answered", pair.remote_address) };
        let until = answered + CONSENT;
        assert!(!self.has_consent || self.now < until, "data goes to {} without consent", pair.remote_address);
    }

    fn op(&mut self, op: &Op) {
        match op {
            Op::Advance(time) => self.pass(Duration::from_millis(u64::from(*time))),
            Op::Tick => {
                self.drain();
                self.now = self.now.max(self.agent.poll_timeout().unwrap_or(self.now));
                self.agent.handle_timeout(self.now);
                self.drain();
            }
            Op::Sleep(time) => {
                self.drain();
                self.now += Duration::from_millis(u64::from(*time));
                self.agent.handle_timeout(self.now);
                self.drain();
            }
            Op::Deliver(which) | Op::Delay(which, _) => {
                self.drain();
                self.answer(*which, false);
            }
            Op::Duplicate(which) => {
                self.drain();
                self.answer(*which, true);
            }
            Op::Drop(which) => {
                if let Some(place) = usize::from(*which).checked_rem(self.asked.len()) {
                    self.asked.remove(place);
                }
            }
            Op::Call(_, call) => self.call(*call),
            Op::Poll(_, poll) => match poll {
                Poll::Transmit => drop(self.poll_transmit(1500)),
                Poll::Small(room) => drop(self.poll_transmit(usize::from(*room))),
                Poll::Event => drop(self.poll_event()),
                Poll::Connection => drop(self.poll_connection()),
                _ => self.agent.handle_timeout(self.now),
            },
            Op::Fault(Fault::ServerRefuses(_, method, code, _)) => self.refuse(number(*method), *code, true),
            Op::Fault(Fault::ServerLies(_, method, code, _)) => self.refuse(number(*method), *code, false),
            Op::Fault(Fault::ServerRotatesNonce(_)) => {
                let methods = [3, 4, 8, 9];
                let method = methods[self.number as usize % 4];
                self.refuse(method, 438, false);
            }
            Op::Fault(Fault::ResetStreams(_)) => self.end_connection(0, true),
            Op::Say(_, saying) => self.say(saying),
            _ => {}
        }
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Restart => {
                let prepared = self.agent.prepare_restart(self.now, self.stream);
                if let Ok(credentials) = &prepared {
                    self.secrets.insert(credentials.password.expose().into());
                }
                self.show(&prepared);
            }
            Call::Gather => self.gather(),
            Call::Send(length) => {
                let payload = vec![0x80; usize::from(length).max(1)];
                self.send(self.stream, Payload::from(&payload));
            }
            Call::SendBatch => self.send(self.stream, Payload::from(&[0x80; 250]).with_segment_size(100)),
            _ => call.perform(&mut self.agent, self.now),
        }
    }

    fn say(&mut self, saying: &Saying) {
        self.drain();
        let Some(ours) = self.agent.local_credentials(self.stream).cloned() else { return };
        let to = self.agent.local_candidates(self.stream).map(|local| local.base).find(SocketAddr::is_ipv4);
        let to = to.unwrap_or(SocketAddr::from(([198, 51, 100, 1], 5000)));
        let requests = self.asked.iter().filter(|asked| asked.method == 1 && asked.by.is_none());
        let asked: Vec<_> = requests.take(6).map(|asked| (asked.to, asked.id)).collect();
        self.number += 1;
        let mut id = [0xee; 12];
        id[..4].copy_from_slice(&self.number.to_be_bytes());
        let theirs = self.theirs.clone();
        let voice = Voice { ours: &ours, theirs: &theirs, from: PEER.into(), seen: to, id, asked: &asked };
        let Some((from, bytes)) = saying.write(&voice) else { return };
        match saying {
            Saying::Answer { code: None, which, .. } => {
                // Only one that comes from where the request has gone to counts.
                let is_symmetric = asked.get(usize::from(*which)).is_some_and(|(asked, _)| *asked == from);
                if is_symmetric {
                    self.answered.insert((false, plain(from)), self.now);
                }
            }
            Saying::Check { .. } if self.is_lite => drop(self.answered.insert((false, plain(from)), self.now)),
            _ => {}
        }
        let to = if let Saying::Answer { which, .. } = saying {
            let id = asked.get(usize::from(*which)).map(|(_, id)| *id);
            self.asked.iter().find(|asked| Some(asked.id) == id).map_or(to, |asked| asked.from)
        } else {
            to
        };
        self.hear(from, to, None, &bytes);
    }

    fn end_connection(&mut self, which: u8, is_open: bool) {
        let list = if is_open { &self.open } else { &self.opening };
        let Some(place) = usize::from(which).checked_rem(list.len()) else { return };
        let id = list[place].id;
        let event = if is_open { ConnectionEvent::Closed { id } } else { ConnectionEvent::Failed { id } };
        self.forget(id);
        self.agent.handle_connection(self.now, event);
    }

    /// A letter about a server or a connection.
    fn outside(&mut self, input: &mut Input<'_>) {
        self.drain();
        let (letter, which) = (input.byte(), input.byte());
        match letter % 12 {
            0 => {
                let Some(place) = usize::from(which).checked_rem(self.opening.len()) else { return };
                let Connection { id, local, remote } = self.opening.remove(place);
                let local = if local.port() == 0 { SocketAddr::new(local.ip(), 41_000) } else { local };
                self.open.push(Connection { id, local, remote });
                self.agent.handle_connection(self.now, ConnectionEvent::Opened { id, local });
            }
            1 => self.end_connection(which, false),
            2 => self.end_connection(which, true),
            3 => {
                let (local, remote) = (SocketAddr::from(([198, 51, 100, 1], 7000)), input.address());
                let accepted = self.agent.accept_connection(self.now, local, remote);
                self.show(&accepted);
                if let Ok(id) = accepted {
                    self.open.push(Connection { id, local, remote });
                }
            }
            // A check on a connection.
            4 | 5 => {
                let Some(place) = usize::from(which).checked_rem(self.open.len()) else { return };
                let Connection { id, local, remote } = self.open[place];
                let Some(ours) = self.agent.local_credentials(self.stream).cloned() else { return };
                self.number += 1;
                let mut transaction = [0xcc; 12];
                transaction[..4].copy_from_slice(&self.number.to_be_bytes());
                let message = MessageBuilder::binding_request(transaction)
                    .username(ours.ufrag.as_str(), self.theirs.ufrag.as_str())
                    .priority(99);
                let message = match letter / 16 % 4 {
                    0 => message.controlling(u64::MAX),
                    1 => message.controlling(u64::MAX).use_candidate(),
                    2 => message.controlled(0),
                    _ => message.controlled(u64::MAX),
                };
                let bytes = message.integrity(&ours.password).fingerprint().build();
                let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
                if self.is_lite {
                    self.answered.insert((false, plain(remote)), self.now);
                }
                self.hear(remote, local, Some(id), &[&length[..], &bytes].concat());
            }
            6 => {
                let Some(place) = usize::from(which).checked_rem(self.open.len()) else { return };
                let Connection { id, local, remote } = self.open[place];
                let bytes = [input.byte(), input.byte() % 32, input.byte(), input.byte()];
                self.hear(remote, local, Some(id), &bytes);
            }
            // The server asks for credentials, as it does first.
            7 | 8 => self.refuse([3, 4, 8, 9][usize::from(which % 4)], 401, false),
            // Data by the relay: a check of the peer, or anything.
            9 | 10 => {
                let Some(ours) = self.agent.local_credentials(self.stream).cloned() else { return };
                let (peer, base) = (input.address(), SocketAddr::from(([198, 51, 100, 1], 5000)));
                self.number += 1;
                let mut transaction = [0xdd; 12];
                transaction[..4].copy_from_slice(&self.number.to_be_bytes());
                let check = MessageBuilder::binding_request(transaction)
                    .username(ours.ufrag.as_str(), self.theirs.ufrag.as_str())
                    .priority(98)
                    .controlling(7);
                let check = if which % 2 == 0 { check.use_candidate() } else { check };
                let bytes = check.integrity(&ours.password).fingerprint().build();
                let message =
                    MessageBuilder::new(0x0017, transaction).xor_address(0x0012, peer).attribute(0x0013, &bytes);
                self.hear(SERVER.into(), base, None, &message.build());
            }
            // The peer does not consent any more, or does not agree about the roles.
            _ => {
                let Some(place) = usize::from(which).checked_rem(self.asked.len()) else { return };
                let asked = self.asked[place].clone();
                if asked.method == 1 && asked.to != SERVER.into() {
                    let code = if letter / 16 % 2 == 0 { 403 } else { 487 };
                    let message = MessageBuilder::binding_error(asked.id, code);
                    let bytes = message.integrity(&self.theirs.password).fingerprint().build();
                    self.carry(&asked, &bytes);
                }
            }
        }
    }

    /// A call that the alphabet has no letter for.
    fn api(&mut self, input: &mut Input<'_>) {
        let (letter, which) = (input.byte(), input.byte());
        let (now, stream) = (self.now, self.stream);
        match letter % 28 {
            0 | 1 => self.describe(which, input.byte()),
            2..5 => {
                // The peer has restarted, or answers a restart.
                self.generation += 1;
                self.theirs = credentials(self.generation);
                self.describe(which, input.byte());
            }
            5 | 6 => {
                let candidate = host(input.address(), u32::from(which) * 256);
                let outcome = self.agent.add_remote_candidate(now, stream, candidate);
                self.show(&outcome);
            }
            7 => self.add_socket(which, Transport::Udp, None),
            8 => {
                let types = [TcpType::Active, TcpType::Passive, TcpType::SimultaneousOpen];
                self.add_socket(which, Transport::Tcp, Some(types[usize::from(which % 3)]));
            }
            9 => {
                let text = ["abc.local", "1.local", "203.0.113.9", "abc.local"][usize::from(which % 4)];
                let line = format!("candidate:7 1 udp 2130706431 {text} 6003 typ host");
                if let Ok(candidate) = line.parse() {
                    let outcome = self.agent.add_remote_candidate(now, stream, candidate);
                    self.show(&outcome);
                }
            }
            10 => self.agent.resolved(now, "abc.local", (which % 3 > 0).then(|| input.address().ip())),
            11 => {
                let (base, mapped) = (SocketAddr::from(([198, 51, 100, 1], 5000)), input.address());
                let outcome = self.agent.add_server_reflexive(now, stream, base, mapped, None);
                self.show(&outcome);
            }
            12 => {
                let fork =
                    Credentials::new(&format!("fork{which}"), "passwordOfTheFork01234567").expect("they are good");
                self.secrets.insert(fork.password.expose().into());
                let outcome = self.agent.add_forked_credentials(now, stream, &fork);
                self.show(&outcome);
            }
            13 => drop(self.agent.select_automatically(now, stream, ComponentId::RTP)),
            14 => {
                let paths: Vec<_> = self.agent.pairs().map(|pair| (pair.base, pair.remote_address)).collect();
                if let Some(place) = usize::from(which).checked_rem(paths.len()) {
                    let (base, remote) = paths[place];
                    let failure = if input.bit() { SendFailure::Unreachable } else { SendFailure::Local };
                    self.agent.handle_send_failure(now, base, remote, failure);
                }
            }
            15 => drop(self.agent.set_traffic_class(stream, TrafficClass::from_octet(which))),
            16 => {
                let media = self.agent.describe(stream, CandidateListing::All);
                let default = self.agent.default_candidate(stream, ComponentId::RTP, Transport::Udp);
                let text = format!("{default:?}");
                self.show(&media);
                self.show(&text);
            }
            17 => {
                let ufrag = self.theirs.ufrag.clone();
                let _ = self.agent.end_of_remote_candidates_for(now, stream, &ufrag);
            }
            18 => {
                if self.agent.streams().count() < 4 {
                    let pooled = self.agent.add_pooled_stream(1);
                    self.show(&pooled);
                }
            }
            19 => {
                let last = self.agent.streams().last();
                let used = last.map(|last| self.agent.use_pooled_stream(now, last));
                self.show(&used);
            }
            20 => {
                let (last, payload) = (self.agent.streams().last(), [0x80; 30]);
                if let Some(last) = last {
                    self.send(last, Payload::from(&payload));
                }
            }
            21 => {
                let ids: Vec<CandidateId> = self.agent.local_candidates(stream).map(|local| local.id).collect();
                if let Some(place) = usize::from(which).checked_rem(ids.len()) {
                    let _ = self.agent.remove_local_candidate(now, stream, ids[place]);
                }
            }
            22 => {
                let stats: Vec<String> = self.agent.candidate_stats(stream).map(|stats| format!("{stats:?}")).collect();
                let transport = format!("{:?}", self.agent.transport_stats(stream, ComponentId::RTP));
                self.show(&stats);
                self.show(&transport);
            }
            23 => {
                let (views, report) = (
                    format!("{:?}", self.agent.pairs().collect::<Vec<_>>()),
                    format!("{:?}", self.agent.path_report(stream, ComponentId::RTP)),
                );
                self.show(&views);
                self.show(&report);
            }
            24 => {
                let id = self.agent.local_candidates(stream).map(|local| local.id).next();
                let _ = id.map(|id| self.agent.set_network_cost(now, stream, id, u16::from(which)));
            }
            25 => self.agent.handle_timeout(self.now),
            26 => drop(self.agent.remove_stream(now, self.agent.streams().last().unwrap_or(stream))),
            _ => self.call(Call::Gather),
        }
        self.remember();
    }

    /// Whoever opens connections and says nothing keeps nobody out: where one of them has found room, so does the next.
    fn crowd(&mut self) {
        let (local, mut has_room) = (SocketAddr::from(([198, 51, 100, 1], 7000)), false);
        for last in 0..10 {
            let outcome =
                self.agent.accept_connection(self.now, local, SocketAddr::from(([203, 0, 113, 20 + last], 9)));
            let is_full = matches!(outcome, Err(AcceptConnectionError::TooMany(_)));
            assert!(!(is_full && has_room), "silent connections keep others out");
            has_room |= outcome.is_ok();
            self.drain();
        }
    }

    /// Sees that nothing that is printed tells a secret.
    fn check_secrets(&mut self) {
        let agent = format!("{:?}", self.agent);
        for secret in &self.secrets {
            let bytes = format!("{:?}", secret.as_bytes());
            let bytes = bytes.trim_matches(['[', ']']);
            for text in [&agent, &self.shown] {
                let place = text.find(secret.as_str()).or_else(|| text.find(bytes));
                let around = place.map(|place| &text[place.saturating_sub(60)..(place + 30).min(text.len())]);
                assert_eq!(around, None, "a secret is printed");
            }
        }
    }
}

/// An address as the wire has it.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn number(method: ServerMethod) -> u16 {
    match method {
        ServerMethod::Allocate => 3,
        ServerMethod::Refresh => 4,
        ServerMethod::CreatePermission => 8,
        ServerMethod::ChannelBind => 9,
        _ => 1,
    }
}

/// The value of an attribute.
fn attribute(message: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = message.get(20..)?;
    loop {
        let (head, value) = rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if u16::from_be_bytes([head[0], head[1]]) == wanted {
            return value.get(..length);
        }
        rest = value.get(length.next_multiple_of(4)..)?;
    }
}

/// An IPv4 address that is XORed with the header.
fn unxor(value: &[u8]) -> Option<SocketAddr> {
    let [_, 1, high, low, a, b, c, d] = *value else { return None };
    let port = u16::from_be_bytes([high, low]) ^ 0x2112;
    Some(SocketAddr::from(([a ^ 0x21, b ^ 0x12, c ^ 0xa4, d ^ 0x42], port)))
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut host = Host::new(&mut input);
    for _ in 0..80 {
        if input.0.is_empty() {
            break;
        }
        match input.byte() % 8 {
            0..5 => {
                if let Some(op) = Op::decode(&mut input.0) {
                    host.op(&op);
                }
            }
            5 => host.outside(&mut input),
            _ => host.api(&mut input),
        }
    }
    host.pass(Duration::from_secs(60));
    host.crowd();
    host.check_secrets();
    host.agent.close(host.now);
    host.drain();
}
