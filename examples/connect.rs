//! Two agents connect over loopback, and exchange datagrams: the whole loop around an agent, with threads and blocking
//! sockets.
//!
//! ```text
//! cargo run --release --example connect
//! cargo run --release --example connect -- --hide-hosts
//! cargo run --release --example connect -- --relay
//! cargo run --release --example connect -- --tcp
//! cargo run --release --example connect -- --trace
//! ```
//!
//! Both gather with a STUN server of their own on loopback. Without a NAT in between it tells what is known already, and
//! its candidates are left out; with `--hide-hosts` they are the only ones. With `--relay` there is a TURN server on
//! loopback, too, and nothing but its relayed addresses is used. With `--tcp` no server is used, and all candidates are
//! for TCP (RFC 6544): at each address one that accepts connections, and one that opens them. `--trace`, alone or with one
//! of these, prints every event, and every message of ICE that leaves, decoded.
//!
//! Each `Peer` lives in a thread of its own. All that it reacts to comes through one channel: datagrams, which a thread
//! for each socket reads, what happens to TCP connections, and what the other peer signals, for which an application
//! would have its own server. The loop is `Peer::run`; everything else in this file answers the question what to do with
//! an input or an event.

#![expect(clippy::print_stdout, reason = "the example tells what it does")]
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "sockets and clock belong to the application")]
#![expect(clippy::wildcard_enum_match_arm, reason = "an application picks the events that it has a use for")]

#[path = "connect_tcp/connections.rs"]
mod connections;
#[path = "connect_servers/stun.rs"]
mod stun;
#[path = "connect_servers/turn.rs"]
mod turn;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use connections::Connections;
use nilas::sim::Wire;
use nilas::{
    Agent, CandidateTypes, ComponentId, Config, ConnectionEvent, ConnectionId, ConnectionRequest, Credentials,
    Datagram, Event, IceServer, Instant, Received, RemoteDescription, Role, Seed, SendFailure, SocketOptions, StreamId,
    TcpType, Transmit, Transport,
};

type Failure = Box<dyn Error + Send + Sync>;

/// How long all of it may take.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// How many datagrams each peer sends, and wants to have back.
const PINGS: u32 = 1_000;
/// How many of them may be on their way at a time: few enough for any socket's buffer.
const WINDOW: u32 = 8;

/// What a peer reacts to.
enum Input {
    Datagram {
        source: SocketAddr,
        destination: SocketAddr,
        payload: Vec<u8>,
    },
    /// What has become of a connection that the agent wanted.
    Opened {
        id: ConnectionId,
        opened: io::Result<TcpStream>,
    },
    /// The listener at `local` has a connection from `remote`.
    Accepted {
        local: SocketAddr,
        remote: SocketAddr,
        stream: TcpStream,
    },
    /// What came on a connection: several frames, or a part of one.
    Bytes {
        id: ConnectionId,
        bytes: Vec<u8>,
    },
    /// A connection is at its end.
    Closed {
        id: ConnectionId,
    },
    Signal(Signal),
}

/// What one peer tells the other over the signalling channel.
enum Signal {
    Credentials {
        ufrag: String,
        password: String,
    },
    Candidate(String),
    EndOfCandidates,
    /// A pair is selected, application data may come.
    Ready,
    /// All pings came back.
    Done,
}

struct Peer {
    name: &'static str,
    start: std::time::Instant,
    agent: Agent,
    stream: StreamId,
    sockets: BTreeMap<SocketAddr, UdpSocket>,
    connections: Connections,
    inputs: Receiver<Input>,
    /// The other end of `inputs`.
    own: Sender<Input>,
    other: Sender<Input>,
    /// What is sent is written here first.
    buffer: Vec<u8>,
    /// Everything is told.
    is_traced: bool,
    is_other_ready: bool,
    is_other_done: bool,
    pings: Pings,
}

/// The datagrams of the application: each peer sends numbered ones and the other sends them back.
#[derive(Default)]
struct Pings {
    sent_at: Vec<Instant>,
    round_trips: Vec<Duration>,
    /// How many pings of the other peer were sent back.
    echoed: u32,
}

fn main() -> ExitCode {
    match connect() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn connect() -> Result<(), Failure> {
    let (traces, options): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|option| option == "--trace");
    let (transport, types) = match options.first().map(String::as_str) {
        None => (Transport::Udp, CandidateTypes::ALL),
        Some("--relay") => (Transport::Udp, CandidateTypes::RELAY_ONLY),
        Some("--hide-hosts") => (Transport::Udp, CandidateTypes::NO_HOST),
        Some("--tcp") => (Transport::Tcp, CandidateTypes::ALL),
        Some(other) => return Err(format!("unknown option {other}").into()),
    };
    // A host may lack one of the two families.
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let mut servers: Vec<IceServer> =
        loopback.into_iter().filter_map(|ip| stun::start(ip).ok()).map(IceServer::stun).collect();
    if types == CandidateTypes::RELAY_ONLY {
        servers = loopback.into_iter().filter_map(|ip| turn::start(ip).ok()).collect();
    }
    if transport == Transport::Tcp {
        // These servers speak UDP only.
        servers.clear();
    }
    // Loopback addresses are no candidates in real life.
    let config = Config::default().with_loopback(true).with_candidate_types(types);
    let start = std::time::Instant::now();
    let (to_left, left_inputs) = mpsc::channel();
    let (to_right, right_inputs) = mpsc::channel();
    let mut left =
        Peer::new("left", (Role::Controlling, &config), start, (to_left.clone(), left_inputs), to_right.clone())?;
    let mut right = Peer::new("right", (Role::Controlled, &config), start, (to_right, right_inputs), to_left)?;
    for peer in [&mut left, &mut right] {
        for ip in loopback {
            match transport {
                Transport::Tcp => peer.add_tcp(ip)?,
                _ => peer.add_udp(ip)?,
            }
        }
        peer.is_traced = !traces.is_empty();
        peer.agent.gather(peer.now(), &servers)?;
    }
    let [left, right] = [left, right].map(|peer| thread::spawn(|| peer.run()));
    let peers = [left.join(), right.join()].map(|end| end.map_err(|_| "a peer panicked")?);
    for peer in peers {
        peer?.summarize();
    }
    Ok(())
}

impl Peer {
    /// An agent with one stream, and without sockets.
    fn new(
        name: &'static str,
        (role, config): (Role, &Config),
        start: std::time::Instant,
        (own, inputs): (Sender<Input>, Receiver<Input>),
        other: Sender<Input>,
    ) -> Result<Self, Failure> {
        let mut agent = Agent::new(config.clone(), role, Seed::from_os()?)?;
        let stream = agent.add_stream(1)?;
        Ok(Self {
            name,
            start,
            agent,
            stream,
            sockets: BTreeMap::new(),
            connections: Connections::new(own.clone()),
            inputs,
            own,
            other,
            buffer: Vec::new(),
            is_traced: false,
            is_other_ready: false,
            is_other_done: false,
            pings: Pings::default(),
        })
    }

    /// Opens a socket. A thread puts what it receives into `inputs`.
    fn add_udp(&mut self, ip: IpAddr) -> Result<(), Failure> {
        // A host may lack one of the two families.
        let Ok(socket) = UdpSocket::bind((ip, 0)) else { return Ok(()) };
        let address = socket.local_addr()?;
        self.agent.add_socket(self.now(), self.stream, ComponentId::RTP, Transport::Udp, address)?;
        let (reader, own) = (socket.try_clone()?, self.own.clone());
        thread::spawn(move || read(&reader, address, &own));
        self.sockets.insert(address, socket);
        Ok(())
    }

    /// Opens a listener for a passive candidate. An active one has sockets only for connections the agent asks for.
    fn add_tcp(&mut self, ip: IpAddr) -> Result<(), Failure> {
        let Ok(passive) = self.connections.listen(ip) else { return Ok(()) };
        let active = SocketAddr::new(ip, 0);
        for (address, tcp_type) in [(passive, TcpType::Passive), (active, TcpType::Active)] {
            let (now, options) = (self.now(), SocketOptions::default().with_tcp_type(tcp_type));
            self.agent.add_socket_with(now, self.stream, ComponentId::RTP, Transport::Tcp, address, options)?;
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        Instant::from_std(self.start)
    }

    /// The loop: send what is to be sent, look at what has happened, sleep until something comes in or is due.
    fn run(mut self) -> Result<Self, Failure> {
        let deadline = Instant::from_std(self.start) + TIME_LIMIT;
        let credentials = self.agent.local_credentials(self.stream).ok_or("the stream is gone")?;
        let (ufrag, password) = (credentials.ufrag.to_string(), credentials.password.expose().to_owned());
        self.signal(Signal::Credentials { ufrag, password });
        while !self.is_other_done || self.pings.round_trips.len() < PINGS as usize {
            self.transmit()?;
            while let Some(request) = self.agent.poll_connection() {
                self.handle_request(request);
            }
            while let Some(event) = self.agent.poll_event() {
                if self.is_traced {
                    self.say(format_args!("event {event:?}"));
                }
                self.handle_event(event)?;
            }
            let now = self.now();
            if now >= deadline {
                return Err(self.complain().into());
            }
            let wake = self.agent.poll_timeout().map_or(deadline, |at| at.min(deadline));
            match self.inputs.recv_timeout(wake.saturating_duration_since(now)) {
                Ok(Input::Datagram { source, destination, payload }) => {
                    let datagram = Datagram::new(source, destination, &payload);
                    if let Received::Data { payload, .. } = self.agent.handle_datagram(self.now(), &datagram) {
                        self.handle_data(payload)?;
                    }
                }
                Ok(Input::Opened { id, opened }) => self.handle_opened(id, opened),
                Ok(Input::Accepted { local, remote, stream }) => self.handle_accepted(local, remote, stream),
                Ok(Input::Bytes { id, bytes }) => self.handle_bytes(id, &bytes)?,
                Ok(Input::Closed { id }) => self.handle_closed(id),
                Ok(Input::Signal(signal)) => self.handle_signal(signal)?,
                Err(RecvTimeoutError::Timeout) => self.agent.handle_timeout(self.now()),
                Err(RecvTimeoutError::Disconnected) => return Err("the other peer is gone".into()),
            }
        }
        self.agent.close(self.now());
        Ok(self)
    }

    /// Sends all that the agent has to send.
    fn transmit(&mut self) -> Result<(), Failure> {
        loop {
            self.buffer.clear();
            let Some(transmit) = self.agent.poll_transmit(self.now(), &mut self.buffer) else { return Ok(()) };
            self.send_buffer(&transmit)?;
        }
    }

    fn send_buffer(&mut self, transmit: &Transmit) -> Result<(), Failure> {
        self.trace(transmit);
        if let Some(id) = transmit.connection {
            if let Err(error) = self.connections.write(id, &self.buffer) {
                self.say(format_args!("cannot write to connection {id}: {error}"));
                // Nothing can follow on a frame that is not whole.
                self.handle_closed(id);
            }
            return Ok(());
        }
        let (source, destination) = (transmit.source, transmit.destination);
        let socket = self.sockets.get(&source).ok_or("an unknown socket")?;
        if let Err(error) = socket.send_to(&self.buffer, destination) {
            // It counts as lost on the way, and the agent is told what the error says about the path.
            self.say(format_args!("cannot send to {destination}: {error}"));
            if let Some(failure) = SendFailure::of(&error) {
                self.agent.handle_send_failure(self.now(), source, destination, failure);
            }
        }
        Ok(())
    }

    /// Does what the agent wants done about a connection.
    fn handle_request(&mut self, request: ConnectionRequest) {
        match request {
            ConnectionRequest::Open { id, local, remote, .. } => self.connections.open(id, local, remote),
            ConnectionRequest::Close { id } => self.connections.close(id),
            _ => {}
        }
    }

    fn handle_opened(&mut self, id: ConnectionId, opened: io::Result<TcpStream>) {
        if !self.connections.contains(id) {
            // The agent wanted it closed in the meantime.
            return;
        }
        match opened.and_then(|stream| Ok((stream.local_addr()?, self.connections.keep(id, stream)?))) {
            Ok((local, ())) => self.agent.handle_connection(self.now(), ConnectionEvent::Opened { id, local }),
            Err(error) => {
                self.say(format_args!("cannot open connection {id}: {error}"));
                self.connections.close(id);
                self.agent.handle_connection(self.now(), ConnectionEvent::Failed { id });
            }
        }
    }

    fn handle_accepted(&mut self, local: SocketAddr, remote: SocketAddr, stream: TcpStream) {
        match self.agent.accept_connection(self.now(), local, remote) {
            Ok(id) if self.connections.keep(id, stream).is_ok() => {}
            Ok(id) => self.handle_closed(id),
            Err(error) => self.say(format_args!("{remote} is not accepted: {error}")),
        }
    }

    fn handle_bytes(&mut self, id: ConnectionId, mut bytes: &[u8]) -> Result<(), Failure> {
        while let Some(received) = self.agent.handle_stream_bytes(self.now(), id, &mut bytes) {
            if let Received::Data { payload, .. } = received {
                // It may be the agent's, which is asked to send next.
                let payload = payload.to_vec();
                self.handle_data(&payload)?;
            }
        }
        Ok(())
    }

    fn handle_closed(&mut self, id: ConnectionId) {
        self.connections.close(id);
        self.agent.handle_connection(self.now(), ConnectionEvent::Closed { id });
    }

    fn handle_event(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::LocalCandidate { candidate, .. } => {
                self.say(format_args!("local {candidate}"));
                self.signal(Signal::Candidate(candidate.to_string()));
            }
            Event::EndOfCandidates { .. } => {
                self.say("no more candidates");
                self.signal(Signal::EndOfCandidates);
            }
            Event::IceCandidateError { url, code, text, .. } => self.say(format_args!("{url}: {code} {text}")),
            Event::ConnectionStateChanged { previous, current, reason, .. } => {
                self.say(format_args!("{previous} -> {current}: {reason}"));
            }
            Event::RoleChanged { role, .. } => self.say(format_args!("role is {role:?} from now on")),
            Event::SelectedPairChanged { pair: Some(pair), .. } => {
                let Some(pair) = self.agent.pair(pair) else { return Ok(()) };
                self.say(format_args!("selected {} -> {}", pair.local, pair.remote));
                self.signal(Signal::Ready);
                self.send_pings()?;
            }
            _ => {}
        }
        Ok(())
    }

    fn handle_signal(&mut self, signal: Signal) -> Result<(), Failure> {
        let (now, stream) = (self.now(), self.stream);
        match signal {
            Signal::Credentials { ufrag, password } => {
                let remote = RemoteDescription::new(Credentials::new(&ufrag, &password)?);
                self.agent.set_remote_description(now, stream, &remote)?;
            }
            Signal::Candidate(line) => {
                let outcome = self.agent.add_remote_candidate(now, stream, line.parse()?)?;
                self.say(format_args!("remote {line}: {outcome:?}"));
            }
            Signal::EndOfCandidates => self.agent.end_of_remote_candidates(now, stream)?,
            Signal::Ready => {
                self.is_other_ready = true;
                self.send_pings()?;
            }
            Signal::Done => self.is_other_done = true,
        }
        Ok(())
    }

    /// Keeps as many pings on their way as the window allows, once both peers have selected a pair.
    fn send_pings(&mut self) -> Result<(), Failure> {
        if !self.is_other_ready || self.agent.selected_pair(self.stream, ComponentId::RTP).is_none() {
            return Ok(());
        }
        loop {
            let number = u32::try_from(self.pings.sent_at.len())?;
            let back = u32::try_from(self.pings.round_trips.len())?;
            if number == PINGS || number - back == WINDOW {
                return Ok(());
            }
            self.pings.sent_at.push(self.now());
            self.send_data(b'?', number)?;
        }
    }

    /// Application data takes the way that the agent names.
    fn send_data(&mut self, kind: u8, number: u32) -> Result<(), Failure> {
        let [a, b, c, d] = number.to_be_bytes();
        self.buffer.clear();
        let payload = [kind, a, b, c, d];
        let transmit = self.agent.send(self.now(), self.stream, ComponentId::RTP, &payload, &mut self.buffer)?;
        self.send_buffer(&transmit)
    }

    fn handle_data(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let &[kind, a, b, c, d] = payload else { return Err("a datagram of the wrong length".into()) };
        let number = u32::from_be_bytes([a, b, c, d]);
        let expected = if kind == b'?' { self.pings.echoed } else { u32::try_from(self.pings.round_trips.len())? };
        if number != expected {
            return Err(format!("{} got datagram {number} in place of {expected}", self.name).into());
        }
        if kind == b'?' {
            self.pings.echoed += 1;
            return self.send_data(b'!', number);
        }
        let sent_at = *self.pings.sent_at.get(number as usize).ok_or("an echo of nothing")?;
        self.pings.round_trips.push(self.now().saturating_duration_since(sent_at));
        if self.pings.round_trips.len() == PINGS as usize {
            self.signal(Signal::Done);
        }
        self.send_pings()
    }

    fn signal(&self, signal: Signal) {
        // A peer that ended before has failed, and says so itself.
        let _ = self.other.send(Input::Signal(signal));
    }

    /// Tells of a message that leaves. Data, and what goes through a relay, are left out.
    fn trace(&self, transmit: &Transmit) {
        // A frame has its length in front (RFC 4571).
        let message = self.buffer.get(if transmit.connection.is_some() { 2 } else { 0 }..).unwrap_or_default();
        match Wire::decode(message) {
            Wire::Data(_) => {}
            wire if self.is_traced => {
                self.say(format_args!("{} -> {} {wire:?}", transmit.source, transmit.destination))
            }
            _ => {}
        }
    }

    fn say(&self, what: impl Display) {
        println!("{:8.1} ms  {:5}  {what}", self.start.elapsed().as_secs_f64() * 1e3, self.name);
    }

    /// Why it is not done.
    fn complain(&self) -> String {
        let (state, back) = (self.agent.state(), self.pings.round_trips.len());
        let reason = self.agent.stream_state(self.stream).map(|(_, reason)| reason.to_string()).unwrap_or_default();
        format!("{} is {state} ({reason}) with {back} of {PINGS} echoes after {TIME_LIMIT:?}", self.name)
    }

    fn summarize(&self) {
        let trips = &self.pings.round_trips;
        let (least, most) = (trips.iter().min().copied(), trips.iter().max().copied());
        let mean = trips.iter().sum::<Duration>() / PINGS;
        let took = self.pings.sent_at.first().map(|first| self.pings.last_back(*first)).unwrap_or_default();
        println!("\n{} ({:?})", self.name, self.agent.role());
        println!("  {PINGS} datagrams and their echoes, {:.0} a second each way", rate(2 * PINGS, took));
        println!(
            "  round trip {:?} to {:?}, {mean:?} on average, of the echoes",
            least.unwrap_or_default(),
            most.unwrap_or_default()
        );
        if let Some(pair) = self.agent.selected_pair(self.stream, ComponentId::RTP) {
            let round_trip = pair.stats.current_round_trip_time.unwrap_or_default();
            println!("  round trip {round_trip:?} by the latest check of the selected pair");
        }
        let mut checks = [0; 4];
        for stats in self.agent.pairs().map(|pair| pair.stats) {
            let of_pair =
                [stats.requests_sent, stats.responses_received, stats.requests_received, stats.responses_sent];
            checks.iter_mut().zip(of_pair).for_each(|(sum, one)| *sum += one);
        }
        let [sent, answered, received, answers] = checks;
        println!("  {sent} checks sent and {answered} answered, {received} received and {answers} answered");
    }
}

impl Pings {
    /// How long after `first` the last echo came.
    fn last_back(&self, first: Instant) -> Duration {
        let backs = self.sent_at.iter().zip(&self.round_trips).map(|(sent, trip)| *sent + *trip);
        backs.max().unwrap_or(first).saturating_duration_since(first)
    }
}

fn rate(count: u32, took: Duration) -> f64 {
    f64::from(count) / took.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// Hands what a socket receives to the peer's thread.
fn read(socket: &UdpSocket, destination: SocketAddr, inputs: &Sender<Input>) {
    let mut buffer = [0; 2048];
    while let Ok((length, source)) = socket.recv_from(&mut buffer) {
        let payload = buffer.get(..length).unwrap_or_default().to_vec();
        if inputs.send(Input::Datagram { source, destination, payload }).is_err() {
            return;
        }
    }
}
