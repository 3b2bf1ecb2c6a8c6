//! The session: the loop around the agent, and what its events mean in the protocol.

#![expect(clippy::disallowed_types, reason = "the caller of the agent does I/O")]

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use nilas::{
    Agent, Candidate, CandidateTypes, ComponentId, Config, ConnectionEvent, ConnectionId, ConnectionRequest,
    ConnectionSecurity, ConnectionState, Credentials, DataFilter, Datagram, Event, IceServer, Instant, PairId,
    Received, RemoteCandidateOutcome, RemoteDescription, Role, Seed, SendFailure, SocketOptions, StateReason, StreamId,
    TcpType, Transmit, Transport,
};

use rustls::ClientConfig;

use crate::connections::{Connections, Link};
use crate::input::Input;
use crate::protocol::{Command, Output, Payload, Report, RoleName, Start};
use crate::sockets::{self, Sockets};
use crate::tls;

/// The only media description there is.
const MID: &str = "0";

/// One agent, its sockets, and what was reported of it.
pub(crate) struct Session<'a> {
    agent: Agent,
    stream: StreamId,
    sockets: Sockets,
    /// What candidates are gathered with.
    servers: Vec<IceServer>,
    /// Whom to trust where servers are reached over TLS.
    trust: Option<Arc<ClientConfig>>,
    connections: Connections,
    clock: Clock,
    output: &'a mut Output,
    is_lite: bool,
    /// Counts ICE restarts.
    generation: u64,
    state: ConnectionState,
    reported_state: Option<ConnectionState>,
    reported_role: Option<Role>,
    rx_bytes: u64,
    rx_packets: u64,
    /// Datagrams are written here.
    buffer: Vec<u8>,
}

impl<'a> Session<'a> {
    /// Makes an agent, reports its credentials, and opens its sockets.
    pub(crate) fn start(
        start: &Start,
        inputs: SyncSender<Input>,
        output: &'a mut Output,
    ) -> Result<Self, Box<dyn Error>> {
        let config = Config::default()
            .with_data_filter(DataFilter::AllButStun)
            .with_loopback(!start.addresses.is_empty())
            .with_lite(start.lite)
            .with_candidate_types(if start.relay_only { CandidateTypes::RELAY_ONLY } else { CandidateTypes::ALL });
        let role = match start.role {
            RoleName::Controlling => Role::Controlling,
            RoleName::Controlled => Role::Controlled,
        };
        let mut agent = Agent::new(config, role, Seed::from_os()?)?;
        let stream = agent.add_stream(1)?;
        let mut session = Self {
            agent,
            stream,
            sockets: Sockets::new(inputs.clone()),
            connections: Connections::new(inputs),
            servers: Vec::new(),
            trust: None,
            clock: Clock::start(),
            output,
            is_lite: start.lite,
            generation: 0,
            state: ConnectionState::New,
            reported_state: None,
            reported_role: None,
            rx_bytes: 0,
            rx_packets: 0,
            buffer: Vec::new(),
        };
        let credentials = session.agent.local_credentials(stream).ok_or("the stream is gone")?.clone();
        session.report_credentials(&credentials)?;
        session.take_servers(start)?;
        session.open_sockets(start)?;
        Ok(session)
    }

    /// Serves the agent until the session ends.
    pub(crate) fn run(mut self, inputs: &Receiver<Input>) -> Result<(), Box<dyn Error>> {
        loop {
            self.drain()?;
            let input = match self.agent.poll_timeout() {
                Some(at) => inputs.recv_timeout(at.saturating_duration_since(self.clock.now())),
                None => inputs.recv().map_err(RecvTimeoutError::from),
            };
            let now = self.clock.now();
            match input {
                Err(RecvTimeoutError::Timeout) => self.agent.handle_timeout(now),
                Ok(Input::Datagram { source, destination, payload }) => {
                    self.receive(now, &Datagram::new(source, destination, &payload))?;
                }
                Ok(Input::Connected { id, link }) => self.take_connected(now, id, link)?,
                Ok(Input::Accepted { local, remote, stream }) => self.accept(now, local, remote, stream)?,
                Ok(Input::Bytes { id, bytes }) => self.receive_bytes(now, id, &bytes)?,
                Ok(Input::Disconnected { id }) => {
                    self.connections.close(id);
                    self.agent.handle_connection(now, ConnectionEvent::Closed { id });
                }
                Ok(Input::BadLine(message)) => self.output.write(&Report::Error { message: &message })?,
                Ok(Input::Command(Command::Close) | Input::End) | Err(RecvTimeoutError::Disconnected) => {
                    self.agent.close(now);
                    return self.say_goodbye(inputs);
                }
                Ok(Input::Command(command)) => self.obey(now, command)?,
            }
        }
    }

    /// Gives allocations back, as long as servers answer, and for two seconds at the most.
    fn say_goodbye(mut self, inputs: &Receiver<Input>) -> Result<(), Box<dyn Error>> {
        const PATIENCE: Duration = Duration::from_secs(2);
        let end = self.clock.now() + PATIENCE;
        loop {
            self.drain()?;
            let now = self.clock.now();
            let Some(at) = self.agent.poll_timeout().filter(|_| now < end) else { return Ok(()) };
            match inputs.recv_timeout(at.min(end).saturating_duration_since(now)) {
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => self.agent.handle_timeout(self.clock.now()),
                Ok(Input::Datagram { source, destination, payload }) => {
                    self.receive(self.clock.now(), &Datagram::new(source, destination, &payload))?;
                }
                Ok(Input::Bytes { id, bytes }) => self.receive_bytes(self.clock.now(), id, &bytes)?,
                Ok(_) => {}
            }
        }
    }

    fn report_credentials(&mut self, credentials: &Credentials) -> io::Result<()> {
        self.output.write(&Report::Credentials {
            ufrag: credentials.ufrag.as_str(),
            pwd: credentials.password.expose(),
            lite: self.is_lite,
            options: self.agent.ice_options().to_string(),
            generation: self.generation,
        })
    }

    /// Begins this generation: new credentials, and the candidates again. The old path is used until the new one works.
    fn restart(&mut self, now: Instant, generation: u64) -> io::Result<()> {
        match self.agent.prepare_restart(now, self.stream) {
            Ok(credentials) => {
                if let Err(error) = self.agent.gather(now, &self.servers) {
                    self.error(&error.to_string())?;
                }
                self.generation = generation;
                self.reported_state = None;
                self.report_credentials(&credentials)?;
                self.report_state()
            }
            Err(error) => self.error(&error.to_string()),
        }
    }

    /// Reads where the servers are. One that cannot be used is no reason to do without the others.
    fn take_servers(&mut self, start: &Start) -> io::Result<()> {
        for address in &start.stun {
            match format!("stun:{address}").parse() {
                Ok(server) => self.servers.push(server),
                Err(error) => self.error(&format!("no STUN server {address:?}: {error}"))?,
            }
        }
        for turn in &start.turn {
            match turn.uri.parse::<IceServer>() {
                Ok(server) => self.servers.push(server.with_credentials(&turn.username, &turn.credential)),
                Err(error) => self.error(&format!("no TURN server {:?}: {error}", turn.uri))?,
            }
        }
        match start.ca.as_deref().map(tls::trust) {
            Some(Ok(trust)) => self.trust = Some(trust),
            Some(Err(error)) => self.error(&format!("no certificates to trust: {error}"))?,
            None => {}
        }
        Ok(())
    }

    /// Opens a socket for each address. The agent makes host candidates of them.
    fn open_sockets(&mut self, start: &Start) -> Result<(), Box<dyn Error>> {
        let addresses = match start.addresses.as_slice() {
            [] => sockets::host_addresses(start.ipv6)?,
            addresses => addresses.to_vec(),
        };
        let now = self.clock.now();
        for ip in addresses {
            if start.tcp {
                self.add_tcp(now, ip)?;
            }
            let address = match self.sockets.open(ip) {
                Ok(address) => address,
                Err(error) => {
                    self.log(&format!("no socket at {ip}: {error}"))?;
                    continue;
                }
            };
            if let Err(error) = self.agent.add_socket(now, self.stream, ComponentId::RTP, Transport::Udp, address) {
                self.log(&format!("no candidate: {error}"))?;
            }
        }
        self.agent.gather(now, &self.servers)?;
        Ok(())
    }

    /// Adds a TCP candidate that accepts connections and one that opens them.
    fn add_tcp(&mut self, now: Instant, ip: IpAddr) -> io::Result<()> {
        let passive = match self.connections.listen(ip) {
            Ok(address) => Some((address, TcpType::Passive)),
            Err(error) => {
                self.log(&format!("no listener at {ip}: {error}"))?;
                None
            }
        };
        let active = (!self.is_lite).then_some((SocketAddr::new(ip, 0), TcpType::Active));
        for (address, tcp_type) in passive.into_iter().chain(active) {
            let options = SocketOptions::default().with_tcp_type(tcp_type);
            let added =
                self.agent.add_socket_with(now, self.stream, ComponentId::RTP, Transport::Tcp, address, options);
            if let Err(error) = added {
                self.log(&format!("no candidate: {error}"))?;
            }
        }
        Ok(())
    }

    /// Sends and reports all that the agent has to send and to tell.
    fn drain(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            let Some(transmit) = self.agent.poll_transmit(self.clock.now(), &mut self.buffer) else { break };
            self.send_buffer(&transmit);
        }
        while let Some(request) = self.agent.poll_connection() {
            self.connect_or_close(request)?;
        }
        while let Some(event) = self.agent.poll_event() {
            self.report(event)?;
        }
        Ok(())
    }

    /// Sends what is in the buffer. What cannot be sent is lost, as on any network; the agent is told.
    fn send_buffer(&mut self, transmit: &Transmit) {
        let (source, destination) = (transmit.source, transmit.destination);
        if let Some(id) = transmit.connection {
            if let Err(error) = self.connections.send(id, &self.buffer) {
                eprintln!("{source} -> {destination}: {error}");
                // A stream with a hole in it is of no use.
                self.connections.close(id);
                self.agent.handle_connection(self.clock.now(), ConnectionEvent::Closed { id });
            }
            return;
        }
        if let Err(error) = self.sockets.send(source, destination, &self.buffer) {
            eprintln!("{source} -> {destination}: {error}");
            if let Some(failure) = SendFailure::of(&error) {
                self.agent.handle_send_failure(self.clock.now(), source, destination, failure);
            }
        }
    }

    fn connect_or_close(&mut self, request: ConnectionRequest) -> io::Result<()> {
        match request {
            ConnectionRequest::Open { id, local, remote, security } => match (security, self.trust.clone()) {
                (ConnectionSecurity::Plain, _) => self.connections.open(id, local, remote, None),
                (ConnectionSecurity::Tls { server_name }, Some(trust)) => {
                    self.connections.open(id, local, remote, Some((trust, server_name.into())));
                }
                _ => {
                    self.log(&format!("nothing says whom to trust at {remote}"))?;
                    self.agent.handle_connection(self.clock.now(), ConnectionEvent::Failed { id });
                }
            },
            ConnectionRequest::Close { id } => self.connections.close(id),
            _ => {}
        }
        Ok(())
    }

    fn take_connected(&mut self, now: Instant, id: ConnectionId, link: io::Result<Link>) -> io::Result<()> {
        if !self.connections.is_wanted(id) {
            return Ok(());
        }
        let started = link.and_then(|link| {
            let local = link.stream.local_addr()?;
            self.connections.start(id, link)?;
            Ok(local)
        });
        match started {
            Ok(local) => self.agent.handle_connection(now, ConnectionEvent::Opened { id, local }),
            Err(error) => {
                self.log(&format!("no connection: {error}"))?;
                self.agent.handle_connection(now, ConnectionEvent::Failed { id });
            }
        }
        Ok(())
    }

    fn accept(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr, stream: TcpStream) -> io::Result<()> {
        match self.agent.accept_connection(now, local, remote) {
            Ok(id) if self.connections.start(id, Link { stream, tls: None }).is_ok() => Ok(()),
            Ok(id) => {
                self.agent.handle_connection(now, ConnectionEvent::Closed { id });
                Ok(())
            }
            Err(error) => self.log(&format!("{remote} not accepted: {error}")),
        }
    }

    fn receive_bytes(&mut self, now: Instant, id: ConnectionId, mut bytes: &[u8]) -> io::Result<()> {
        while let Some(received) = self.agent.handle_stream_bytes(now, id, &mut bytes) {
            match received {
                Received::Data { payload, .. } => {
                    self.rx_bytes += payload.len() as u64;
                    self.rx_packets += 1;
                    self.output.write(&Report::Data { payload: Payload::of(payload), generation: self.generation })?;
                }
                Received::Dropped(reason) => eprintln!("connection {id}: dropped, {reason:?}"),
                _ => {}
            }
        }
        Ok(())
    }

    fn receive(&mut self, now: Instant, datagram: &Datagram<'_>) -> io::Result<()> {
        match self.agent.handle_datagram(now, datagram) {
            Received::Data { payload, .. } => {
                self.rx_bytes += payload.len() as u64;
                self.rx_packets += 1;
                self.output.write(&Report::Data { payload: Payload::of(payload), generation: self.generation })
            }
            Received::Dropped(reason) => {
                eprintln!("{} <- {}: dropped, {reason:?}", datagram.destination, datagram.source);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn obey(&mut self, now: Instant, command: Command) -> io::Result<()> {
        match command {
            Command::Restart => self.restart(now, self.generation + 1),
            Command::Credentials { ufrag, pwd, lite, options, generation } if generation >= self.generation => {
                if generation > self.generation {
                    self.restart(now, generation)?;
                }
                let taken = Credentials::new(&ufrag, &pwd).map_err(Box::<dyn Error>::from).and_then(|credentials| {
                    let mut description = RemoteDescription::new(credentials).with_lite(lite);
                    if !options.is_empty() {
                        description = description.with_options(&options.parse()?);
                    }
                    self.agent.set_remote_description(now, self.stream, &description)?;
                    Ok(())
                });
                taken.or_else(|error| self.error(&format!("credentials not taken: {error}")))
            }
            Command::Candidate { candidate, generation } if generation == self.generation => {
                self.add_remote_candidate(now, &candidate)
            }
            Command::EndOfCandidates { generation } if generation == self.generation => {
                let taken = self.agent.end_of_remote_candidates(now, self.stream);
                taken.or_else(|error| self.error(&error.to_string()))
            }
            Command::Send(payload) => match payload.bytes() {
                Some(payload) => self.send(now, &payload),
                None => self.error("nothing to send"),
            },
            Command::BreakConnections => {
                self.connections.break_all();
                Ok(())
            }
            Command::Stats => {
                self.output.write(&Report::Stats { rx_bytes: self.rx_bytes, rx_packets: self.rx_packets })
            }
            _ => Ok(()),
        }
    }

    fn add_remote_candidate(&mut self, now: Instant, line: &str) -> io::Result<()> {
        let candidate: Candidate = match line.parse() {
            Ok(candidate) => candidate,
            Err(error) => return self.log(&format!("skipped {line:?}: {error}")),
        };
        match self.agent.add_remote_candidate(now, self.stream, candidate) {
            Ok(
                RemoteCandidateOutcome::Added(_) | RemoteCandidateOutcome::Known(_) | RemoteCandidateOutcome::Deferred,
            ) => Ok(()),
            Ok(outcome) => self.log(&format!("skipped {line:?}: {outcome:?}")),
            Err(error) => self.log(&format!("skipped {line:?}: {error}")),
        }
    }

    /// Sends application data on the selected pair or, before there is one, on the best valid one.
    fn send(&mut self, now: Instant, payload: &[u8]) -> io::Result<()> {
        self.buffer.clear();
        match self.agent.send(now, self.stream, ComponentId::RTP, payload, &mut self.buffer) {
            Ok(transmit) => {
                self.send_buffer(&transmit);
                Ok(())
            }
            Err(error) => self.error(&format!("not sent: {error}")),
        }
    }

    fn report(&mut self, event: Event) -> io::Result<()> {
        let generation = self.generation;
        match event {
            Event::LocalCandidate { candidate, .. } => {
                self.output.write(&Report::Candidate { candidate: candidate.to_string(), mid: MID, generation })
            }
            Event::EndOfCandidates { .. } => self.output.write(&Report::EndOfCandidates { mid: MID, generation }),
            Event::RelayLost { url, base, code, text, .. } => {
                self.log(&format!("relay-lost {url} from {base}: {code} {text}"))
            }
            Event::RelayReleased { url, base, .. } => self.log(&format!("relay-released {url} from {base}")),
            Event::IceCandidateError { url, base, code, text, .. } => {
                let base = base.map_or_else(String::new, |base| format!(" from {base}"));
                self.log(&format!("{url}{base}: {code} {text}"))
            }
            Event::GatheringStateChanged { current, .. } => {
                self.output.write(&Report::GatheringState { state: current.as_str(), generation })
            }
            Event::ConnectionStateChanged { previous, current, reason, .. } => {
                self.log(&format!("{previous} -> {current}: {reason}"))?;
                self.state = current;
                self.report_state()
            }
            Event::StreamStateChanged { reason: StateReason::PairSelected, .. } => self.report_state(),
            // What the loss of a pair means is said by the state that follows it.
            Event::SelectedPairChanged { pair: Some(pair), .. } => {
                self.report_state()?;
                self.report_selected(pair)
            }
            Event::RoleChanged { .. } => self.report_role(),
            _ => Ok(()),
        }
    }

    /// Reports the connection state. The protocol calls `connected` what has a selected pair of the generation; the agent
    /// is connected from the first valid pair on, and while a restart still uses the pair from before.
    fn report_state(&mut self) -> io::Result<()> {
        let reason = self.agent.stream_state(self.stream).map(|(_, reason)| reason);
        let is_selected = reason == Some(StateReason::PairSelected) && !self.agent.is_restarting(self.stream);
        let state = if self.state.is_connected() && !is_selected { ConnectionState::Checking } else { self.state };
        if self.reported_state.replace(state) != Some(state) {
            self.output.write(&Report::State { state: state.as_str(), generation: self.generation })?;
        }
        self.report_role()
    }

    /// Reports the role, from the first connection on.
    fn report_role(&mut self) -> io::Result<()> {
        let is_known = self.reported_role.is_some() || self.reported_state.is_some_and(ConnectionState::is_connected);
        let role = self.agent.role();
        if !is_known || self.reported_role.replace(role) == Some(role) {
            return Ok(());
        }
        let role = match role {
            Role::Controlling => RoleName::Controlling,
            Role::Controlled => RoleName::Controlled,
        };
        self.output.write(&Report::Role { role, generation: self.generation })
    }

    fn report_selected(&mut self, pair: PairId) -> io::Result<()> {
        let Some(pair) = self.agent.pair(pair) else { return Ok(()) };
        let (local, remote) = (pair.local.to_string(), pair.remote.to_string());
        self.output.write(&Report::Selected { local, remote, generation: self.generation })
    }

    fn log(&mut self, message: &str) -> io::Result<()> {
        self.output.write(&Report::Log { message })
    }

    fn error(&mut self, message: &str) -> io::Result<()> {
        self.output.write(&Report::Error { message })
    }
}

/// Where the agent's time comes from.
struct Clock(std::time::Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the caller of the agent has the clock")]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The time since the start.
    fn now(&self) -> Instant {
        Instant::from_std(self.0)
    }
}
