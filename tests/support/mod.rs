//! Two agents in memory, for the tests and benchmarks that count costs: what one sends the other receives at once, and
//! there is nothing else whose cost could be counted.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "test code, of which no user needs all"
)]

pub(crate) mod streams;

use std::net::SocketAddr;
use std::time::Duration;

use nilas::sim::{PairSetup, Wire};
use nilas::{
    Agent, ApplicationNominates, Candidate, ComponentId, Config, Datagram, Event, Instant, Received, RemoteDescription,
    Role, Seed, StreamId, Transport,
};

/// The component that all of this is about.
pub(crate) const COMPONENT: ComponentId = ComponentId::RTP;

/// A datagram that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) payload: Vec<u8>,
}

impl Packet {
    /// The same as what arrives.
    pub(crate) fn as_datagram(&self) -> Datagram<'_> {
        Datagram::new(self.source, self.destination, &self.payload)
    }
}

/// Two agents with one stream of one component.
#[derive(Clone, Debug)]
pub(crate) struct Duo {
    pub(crate) l: Agent,
    pub(crate) r: Agent,
    pub(crate) now: Instant,
    pub(crate) stream: StreamId,
    buffer: Vec<u8>,
    candidates: Vec<Candidate>,
    /// The last check of L without nomination.
    pub(crate) check: Option<Packet>,
}

/// An agent whose selected pair goes through a relay, over a channel, at some time.
pub(crate) fn relayed() -> (Agent, Instant, StreamId) {
    let server = "192.0.2.100".parse().unwrap();
    let mut pair = PairSetup::new(Seed::from_name("relayed"))
        .config(quiet())
        .with_turn(server)
        .left(|l| l.only_reaches = Some(server))
        .right(|r| r.servers.clear())
        .build();
    assert!(pair.run_until(Duration::from_secs(5), |pair| {
        let mut agent = pair.l.agent.clone();
        agent.route(pair.now(), pair.stream(), COMPONENT).is_ok()
    }));
    (pair.l.agent.clone(), pair.now(), pair.stream())
}

fn address(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, last], port))
}

impl Duo {
    /// Two agents that have not begun, with so many sockets each.
    pub(crate) fn new(config: &Config, sockets_l: u8, sockets_r: u8) -> Self {
        let now = Instant::ZERO;
        let mut l = Agent::new(config.clone(), Role::Controlling, Seed::from_name("L")).unwrap();
        let mut r = Agent::new(config.clone(), Role::Controlled, Seed::from_name("R")).unwrap();
        let stream = l.add_stream(1).unwrap();
        assert_eq!(r.add_stream(1), Ok(stream));
        for (agent, count, port) in [(&mut l, sockets_l, 5000), (&mut r, sockets_r, 6000)] {
            for last in 1..=count {
                agent.add_socket(now, stream, COMPONENT, Transport::Udp, address(last, port)).unwrap();
            }
            agent.end_of_local_candidates(now, stream).unwrap();
        }
        Self { l, r, now, stream, buffer: Vec::with_capacity(2048), candidates: Vec::new(), check: None }
    }

    /// The configuration with room for so many sockets on each side, where nothing is nominated: all pairs stay.
    pub(crate) fn keeping_all_pairs(sockets: u8) -> Config {
        quiet()
            .with_max_pairs(usize::from(sockets).pow(2))
            .with_nomination_policy(std::sync::Arc::new(ApplicationNominates))
    }

    /// Tells each agent of the other.
    pub(crate) fn introduce(&mut self) {
        let (l, r) = (self.l.local_credentials(self.stream).unwrap(), self.r.local_credentials(self.stream).unwrap());
        let (l, r) = (RemoteDescription::new(l.clone()), RemoteDescription::new(r.clone()));
        self.l.set_remote_description(self.now, self.stream, &r.with_ice2(true)).unwrap();
        self.r.set_remote_description(self.now, self.stream, &l.with_ice2(true)).unwrap();
        self.signal();
    }

    /// Carries candidates, and drops all other events.
    pub(crate) fn signal(&mut self) {
        for is_l in [true, false] {
            let (from, to) = if is_l { (&mut self.l, &mut self.r) } else { (&mut self.r, &mut self.l) };
            while let Some(event) = from.poll_event() {
                match event {
                    Event::LocalCandidate { candidate, .. } => self.candidates.push(*candidate),
                    Event::EndOfCandidates { stream, .. } => {
                        for candidate in self.candidates.drain(..) {
                            let _ = to.add_remote_candidate(self.now, stream, candidate).unwrap();
                        }
                        to.end_of_remote_candidates(self.now, stream).unwrap();
                    }
                    _ => {}
                }
            }
        }
    }

    /// Sends until neither has anything to send at this time.
    pub(crate) fn exchange(&mut self) {
        loop {
            let mut is_quiet = true;
            for is_l in [true, false] {
                let (from, to) = if is_l { (&mut self.l, &mut self.r) } else { (&mut self.r, &mut self.l) };
                self.buffer.clear();
                while let Some(transmit) = from.poll_transmit(self.now, &mut self.buffer) {
                    is_quiet = false;
                    let datagram = Datagram::new(transmit.source, transmit.destination, &self.buffer);
                    let received = to.handle_datagram(self.now, &datagram);
                    assert_eq!(received, Received::Handled);
                    self.buffer.clear();
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    /// The same, keeping the checks of L on the way.
    fn exchange_and_keep_checks(&mut self) {
        loop {
            let mut is_quiet = true;
            for is_l in [true, false] {
                let (from, to) = if is_l { (&mut self.l, &mut self.r) } else { (&mut self.r, &mut self.l) };
                while let Some(packet) = poll(from, self.now) {
                    is_quiet = false;
                    assert_eq!(to.handle_datagram(self.now, &packet.as_datagram()), Received::Handled);
                    let is_check = |packet: &Packet| {
                        Wire::decode(&packet.payload).request().is_some_and(|request| !request.use_candidate)
                    };
                    if is_l && is_check(&packet) {
                        self.check = Some(packet);
                    }
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    /// Moves the clock to the next deadline; `false` if there is none.
    pub(crate) fn advance(&mut self) -> bool {
        let next = [self.l.poll_timeout(), self.r.poll_timeout()].into_iter().flatten().min();
        let Some(next) = next else { return false };
        self.now = self.now.max(next);
        self.l.handle_timeout(self.now);
        self.r.handle_timeout(self.now);
        true
    }

    /// Whether both have selected a pair.
    pub(crate) fn is_selected(&self) -> bool {
        [&self.l, &self.r].iter().all(|agent| agent.selected_pair(self.stream, COMPONENT).is_some())
    }

    /// Runs until both have selected a pair.
    pub(crate) fn connect(&mut self) {
        self.introduce();
        loop {
            self.exchange();
            self.signal();
            if self.is_selected() {
                return;
            }
            assert!(self.advance(), "the agents gave up");
        }
    }

    /// Runs until nothing is left to do, and keeps the last check of L.
    pub(crate) fn run_to_the_end(&mut self) {
        self.introduce();
        let end = self.now + END;
        loop {
            self.exchange_and_keep_checks();
            self.signal();
            if !self.advance() || self.now >= end {
                return;
            }
        }
    }

    /// Two agents that have selected a pair and have nothing left to do, and no buffers around them.
    pub(crate) fn connected_quietly() -> Self {
        let mut duo = Self::new(&quiet(), 1, 1);
        duo.connect();
        while duo.now < Instant::ZERO + END && duo.advance() {
            duo.exchange();
            duo.signal();
        }
        (duo.buffer, duo.candidates) = Default::default();
        duo
    }

    /// Two agents that are connected and have nothing left to do.
    pub(crate) fn connected(config: &Config, sockets: u8) -> Self {
        let mut duo = Self::new(config, sockets, sockets);
        duo.run_to_the_end();
        assert!(duo.l.state().is_connected() && duo.r.state().is_connected());
        duo
    }
}

/// The default without consent checks: an agent that says nothing by itself.
pub(crate) fn quiet() -> Config {
    Config::default().with_consent(false).with_keepalive_interval(Duration::from_secs(3600))
}

/// When every check that was not answered has been given up.
const END: Duration = Duration::from_secs(600);

/// The next datagram of an agent.
pub(crate) fn poll(agent: &mut Agent, now: Instant) -> Option<Packet> {
    let mut payload = Vec::with_capacity(Agent::MAX_DATAGRAM);
    let transmit = agent.poll_transmit(now, &mut payload)?;
    Some(Packet { source: transmit.source, destination: transmit.destination, payload })
}
