//! Two agents, L and R, with a network and a signalling channel between them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use std::vec::Vec;

use super::host::{Direction, FirewallRule, HostId, PeerMatch};
use super::link::Link;
use super::nat::{NatConfig, NatId};
use super::network::Network;
use super::peer::{Peer, ReceivedData, Signal};
use super::server::Server;
use super::setup::{PairSetup, SideName, SideSetup};
use crate::types::{Instant, after};
use crate::{
    AddRemoteCandidateError, Agent, Candidate, ComponentId, RemoteCandidateOutcome, RemoteDescription, SendError,
    StreamId, TcpType, Ufrag,
};

#[derive(Clone, Debug)]
enum Message {
    Start,
    Description(StreamId, Box<RemoteDescription>),
    Candidate(StreamId, Box<Candidate>),
    EndOfCandidates(StreamId, Ufrag),
}

use std::boxed::Box;

/// Two agents on their way to each other. After every step the [invariants](super::invariants) hold, or it panics.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The network between them.
    pub network: Network,
    /// The left side.
    pub l: Peer,
    /// The right side.
    pub r: Peer,
    /// STUN and TURN servers: what arrives at their hosts is theirs.
    pub servers: Vec<Server>,
    /// The NATs of each side, the outermost first, those that both share included.
    pub nats: BTreeMap<SideName, Vec<NatId>>,
    setup: Arc<PairSetup>,
    streams: Vec<StreamId>,
    /// Signals on their way, by time and order.
    signalling: BTreeMap<(Instant, u64), (SideName, Message)>,
    next_signal: u64,
    sent_candidates: BTreeMap<SideName, u32>,
    remote_ufrags: BTreeMap<(SideName, StreamId), Ufrag>,
    epoch: Instant,
}

impl Pair {
    #[expect(clippy::expect_used, reason = "a set-up that makes no sense is a mistake in a test")]
    pub(super) fn new(setup: PairSetup) -> Self {
        let epoch = setup.epoch;
        let mut network = Network::new(setup.seed.clone()).starting_at(epoch);
        let mut nats = BTreeMap::new();
        let shared = add_nats(&mut network, Vec::new(), &setup.shared_nats);
        let mut peers = [(SideName::L, &setup.l), (SideName::R, &setup.r)].map(|(side, data)| {
            let host = network.add_host(if side == SideName::L { "L" } else { "R" });
            let chain = add_nats(&mut network, shared.clone(), &data.nats);
            for address in &data.addresses {
                let added = match chain.last() {
                    Some(nat) => network.add_interface_behind(*nat, host, *address),
                    None => network.add_interface(host, *address),
                };
                added.expect("the address can be used");
            }
            nats.insert(side, chain);
            if let Some(ip) = data.only_reaches {
                for direction in [Direction::In, Direction::Out] {
                    network
                        .block(host, FirewallRule { direction, peer: PeerMatch::NotIp(ip) })
                        .expect("the host exists");
                }
            }
            let seed = setup.seed.derive(if side == SideName::L { "L" } else { "R" });
            let agent = Agent::new(data.config.clone(), data.role, seed).expect("the configuration is good");
            let mut peer = Peer::new(host, agent);
            peer.is_mapped = data.mapped_sockets;
            peer
        });
        network.set_default_link(setup.link);
        let [l, r] = &mut peers;
        let mut streams = Vec::new();
        for _ in 0..setup.streams {
            let id = l.agent.add_stream(setup.l.components).expect("the count is good");
            assert_eq!(r.agent.add_stream(setup.r.components), Ok(id), "both sides name streams alike");
            streams.push(id);
        }
        let [l, r] = peers;
        let mut pair = Self {
            network,
            l,
            r,
            servers: Vec::new(),
            nats,
            streams,
            signalling: BTreeMap::new(),
            next_signal: 0,
            sent_candidates: BTreeMap::new(),
            remote_ufrags: BTreeMap::new(),
            epoch,
            setup: Arc::new(setup),
        };
        for ip in pair.setup.servers.clone() {
            pair.add_server(ip);
        }
        for side in [SideName::L, SideName::R] {
            let setup = pair.side_setup(side);
            let (start, delay) = (setup.start, setup.description_delay);
            pair.signal(side, start, Message::Start);
            for stream in pair.streams.clone() {
                let description = Box::new(pair.description(side, stream));
                pair.signal(side.other(), start + delay, Message::Description(stream, description));
            }
        }
        pair.step_to(epoch);
        pair
    }

    /// The description that one side gives of itself.
    ///
    /// # Panics
    /// If the side has no such stream.
    #[must_use]
    #[expect(clippy::expect_used, reason = "tests name their own streams")]
    pub fn description(&self, side: SideName, stream: StreamId) -> RemoteDescription {
        let credentials = self.peer(side).agent.local_credentials(stream).expect("the stream exists").clone();
        let setup = self.side_setup(side);
        RemoteDescription::new(credentials)
            .with_ice2(setup.ice2)
            .with_pacing(setup.config.ta)
            .with_lite(setup.config.lite)
            .with_renomination(setup.renomination)
    }

    fn side_setup(&self, side: SideName) -> &SideSetup {
        match side {
            SideName::L => &self.setup.l,
            SideName::R => &self.setup.r,
        }
    }

    /// Adds a STUN server on a host of its own, which relays for the user `user` with the password `pass`; gives its
    /// address, port 3478 of `ip`. The agents are not told.
    ///
    /// # Panics
    /// If the address is taken.
    #[expect(clippy::expect_used, reason = "a set-up that makes no sense is a mistake in a test")]
    pub fn add_server(&mut self, ip: IpAddr) -> SocketAddr {
        let host = self.network.add_host("server");
        self.network.add_interface(host, ip).expect("the address can be used");
        let address = SocketAddr::new(ip, 3478);
        self.network.listen(host, address);
        self.servers.push(Server::new(host, address, &self.setup.seed).with_user("user", "pass"));
        address
    }

    /// One of the two.
    #[must_use]
    pub const fn peer(&self, side: SideName) -> &Peer {
        match side {
            SideName::L => &self.l,
            SideName::R => &self.r,
        }
    }

    pub(super) const fn peer_mut(&mut self, side: SideName) -> &mut Peer {
        match side {
            SideName::L => &mut self.l,
            SideName::R => &mut self.r,
        }
    }

    /// The streams, which both sides name alike.
    #[must_use]
    pub fn streams(&self) -> &[StreamId] {
        &self.streams
    }

    /// The first stream.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "tests name their own streams")]
    pub fn stream(&self) -> StreamId {
        *self.streams.first().expect("there is a stream")
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.network.now()
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.since_start(self.now())
    }

    /// Time from the start to some instant.
    #[must_use]
    pub fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.epoch)
    }

    fn signal(&mut self, to: SideName, delay: Duration, message: Message) {
        let at = after(self.now(), delay);
        self.signalling.insert((at, self.next_signal), (to, message));
        self.next_signal += 1;
    }

    /// Runs until nothing is left to do before `end`; the clock shows `end` then.
    pub fn run_to(&mut self, end: Instant) {
        self.run(end, |_| false);
    }

    /// Runs for some time.
    pub fn run_for(&mut self, time: Duration) {
        self.run_to(after(self.now(), time));
    }

    /// Runs until the condition holds, at the most for this time; whether it holds.
    pub fn run_until(&mut self, time: Duration, condition: impl Fn(&Self) -> bool) -> bool {
        let end = after(self.now(), time);
        self.run(end, &condition) || condition(self)
    }

    /// Runs until both sides have selected their pairs; whether they have.
    pub fn run_until_selected(&mut self, time: Duration) -> bool {
        self.run_until(time, |pair| pair.l.is_selected() && pair.r.is_selected())
    }

    fn run(&mut self, end: Instant, condition: impl Fn(&Self) -> bool) -> bool {
        loop {
            if condition(self) {
                return true;
            }
            match self.next_step().filter(|at| *at <= end) {
                Some(at) => self.step_to(at),
                None => {
                    self.step_to(end);
                    return false;
                }
            }
        }
    }

    /// When something happens next.
    #[must_use]
    pub fn next_step(&self) -> Option<Instant> {
        let signal = self.signalling.first_key_value().map(|((at, _), _)| *at);
        let (l, r) = (self.l.agent.poll_timeout(), self.r.agent.poll_timeout());
        let times = [self.network.next_delivery(), signal, l, r, self.next_wake()];
        times.into_iter().flatten().min().map(|at| at.max(self.now()))
    }

    /// When the sides are woken next without having asked for it.
    fn next_wake(&self) -> Option<Instant> {
        let interval = self.setup.wakes_every?;
        let count = self.elapsed().as_nanos().checked_div(interval.as_nanos())? + 1;
        Some(after(self.epoch, interval.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))))
    }

    fn is_wake(&self) -> bool {
        let rest = |interval: Duration| self.elapsed().as_nanos().checked_rem(interval.as_nanos());
        self.setup.wakes_every.and_then(rest) == Some(0)
    }

    /// Moves the clock to `now`, and lets happen what is due: what arrives first, then signals, then timers.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub fn step_to(&mut self, now: Instant) {
        self.network.advance_to(now);
        let now = self.now();
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 10_000, "an agent wants to be called again and again at {now:?}");
            let mut is_quiet = true;
            while let Some(delivery) = self.network.pop_delivery() {
                is_quiet = false;
                for peer in [&mut self.l, &mut self.r] {
                    if delivery.host == peer.host() {
                        peer.deliver(now, &delivery);
                        if !self.setup.follows_timer {
                            peer.drain(now, &mut self.network);
                        }
                    }
                }
                for server in &mut self.servers {
                    if server.deliver(&mut self.network, &delivery) {
                        break;
                    }
                }
                self.network.recycle(delivery.payload);
            }
            while let Some(event) = self.network.pop_stream_event() {
                is_quiet = false;
                for peer in [&mut self.l, &mut self.r] {
                    if event.host() == peer.host() {
                        peer.deliver_stream(&mut self.network, &event);
                        if !self.setup.follows_timer {
                            peer.drain(now, &mut self.network);
                        }
                    }
                }
                for server in self.servers.iter_mut().filter(|server| server.host() == event.host()) {
                    server.deliver_stream(&mut self.network, &event);
                }
            }
            for side in [SideName::L, SideName::R] {
                // What a delivery has brought to light, such as the answer of a server, is signalled at once.
                if self.peer(side).has_signals() {
                    self.drain(side);
                }
            }
            while let Some(entry) = self.signalling.first_entry().filter(|entry| entry.key().0 <= now) {
                is_quiet = false;
                let (to, message) = entry.remove();
                self.take_message(to, message);
            }
            for side in [SideName::L, SideName::R] {
                let is_due = self.peer(side).agent.poll_timeout().is_some_and(|at| at <= now);
                if is_due || rounds == 1 && self.is_wake() {
                    is_quiet = false;
                    self.peer_mut(side).agent.handle_timeout(now);
                    self.drain(side);
                }
            }
            if is_quiet {
                break;
            }
        }
        self.l.check(now);
        self.r.check(now);
    }

    /// Polls a side that a test has called, and carries its signals.
    pub fn drain(&mut self, side: SideName) {
        let now = self.now();
        let peer = match side {
            SideName::L => &mut self.l,
            SideName::R => &mut self.r,
        };
        peer.drain(now, &mut self.network);
        let signals: Vec<Signal> = peer.take_signals().collect();
        for signal in signals {
            let setup = self.side_setup(side);
            let count = self.sent_candidates.get(&side).copied().unwrap_or_default();
            let delay = setup.candidate_delay + setup.candidate_interval * count;
            let message = match signal {
                Signal::Candidate(stream, candidate) if setup.signals_candidates => {
                    Message::Candidate(stream, Box::new(candidate))
                }
                Signal::EndOfCandidates(stream, ufrag) if setup.signals_end => Message::EndOfCandidates(stream, ufrag),
                Signal::Candidate(..) | Signal::EndOfCandidates(..) => continue,
            };
            *self.sent_candidates.entry(side).or_default() += 1;
            self.signal(side.other(), delay, message);
        }
    }

    #[expect(clippy::expect_used, reason = "a set-up that makes no sense is a mistake in a test")]
    fn take_message(&mut self, side: SideName, message: Message) {
        let now = self.now();
        let of = match &message {
            Message::Start => None,
            Message::Description(stream, _) | Message::Candidate(stream, _) | Message::EndOfCandidates(stream, _) => {
                Some(*stream)
            }
        };
        let is_gone = of.is_some_and(|stream| self.peer(side).agent.local_credentials(stream).is_none());
        if is_gone || self.peer(side).agent.was_closed() {
            // The stream was removed, or the session ended, while this was under way.
            return;
        }
        if self.peer(side).agent.state() == crate::ConnectionState::Closed {
            return;
        }
        match message {
            Message::Start => self.start(side),
            Message::Description(stream, description) => {
                let extra = self.side_setup(side.other()).extra_candidates.clone();
                self.answer_restart(side, stream, &description);
                let agent = &mut self.peer_mut(side).agent;
                agent.set_remote_description(now, stream, &description).expect("the description is good");
                for candidate in extra {
                    // Whatever becomes of it is what the test is about.
                    let _ = agent.add_remote_candidate(now, stream, candidate);
                }
            }
            Message::Candidate(stream, candidate) => {
                let outcome = self.peer_mut(side).agent.add_remote_candidate(now, stream, *candidate);
                let is_taken = matches!(
                    outcome,
                    // The application has said so, and was wrong.
                    Err(AddRemoteCandidateError::AfterEndOfCandidates)
                        | Ok(RemoteCandidateOutcome::Added(_)
                            | RemoteCandidateOutcome::Known(_)
                            | RemoteCandidateOutcome::ConsentEnded(_)
                            | RemoteCandidateOutcome::UnknownComponent
                            | RemoteCandidateOutcome::Deferred
                            | RemoteCandidateOutcome::Resolving
                            | RemoteCandidateOutcome::OtherGeneration
                            | RemoteCandidateOutcome::TooMany)
                );
                assert!(is_taken, "a candidate of the other side was refused: {outcome:?}");
            }
            Message::EndOfCandidates(stream, ufrag) => {
                self.peer_mut(side).agent.end_of_remote_candidates_for(now, stream, &ufrag).expect("the stream exists");
            }
        }
        self.after_input(side);
    }

    /// Polls a side after something was told to it, unless it is polled only when its timer says so.
    fn after_input(&mut self, side: SideName) {
        if !self.setup.follows_timer {
            self.drain(side);
        }
    }

    /// Signals on their way.
    pub(super) fn signals(&self) -> impl fmt::Debug + '_ {
        let entries: Vec<_> = self.signalling.iter().map(|((at, _), entry)| (*at, entry)).collect();
        entries
    }

    /// Forgets what the sides have said and heard so far, and what became of packets.
    pub fn forget_logs(&mut self) {
        for peer in [&mut self.l, &mut self.r] {
            peer.forget_logs();
        }
        for server in &mut self.servers {
            server.forget_served();
        }
    }

    /// Lets one side restart ICE in one stream: its new description and candidates go to the other side, which answers.
    ///
    /// # Panics
    /// If there is no such stream.
    pub fn restart(&mut self, side: SideName, stream: StreamId) {
        self.begin_restart(side, stream);
        self.after_input(side);
    }

    /// Whether a side may describe itself anew: it has heard of the other side, and was heard with what it said last. Both may
    /// do so at once.
    pub(super) fn may_restart(&self, side: SideName, stream: StreamId) -> bool {
        let is_mine = |(to, message): &(SideName, Message)| {
            *to == side.other() && matches!(message, Message::Description(of, _) if *of == stream)
        };
        let agent = &self.peer(side).agent;
        !agent.was_closed()
            && !agent.is_restarting(stream)
            && self.remote_ufrags.contains_key(&(side, stream))
            && !self.signalling.values().any(is_mine)
    }

    /// Takes back what a side has said of itself and the other side has not heard yet; whether there is such a thing. What was
    /// heard is answered, and that answer is one to a restart: nobody takes that back.
    pub(super) fn withdraw_description(&mut self, side: SideName, stream: StreamId) -> bool {
        let count = self.signalling.len();
        self.signalling.retain(|_, (to, message)| {
            let is_it = matches!(message, Message::Description(of, _) if *of == stream);
            *to != side.other() || !is_it
        });
        self.signalling.len() < count
    }

    /// The same as [`restart`](Self::restart), not polled yet.
    #[expect(clippy::expect_used, reason = "tests name their own streams")]
    pub(super) fn begin_restart(&mut self, side: SideName, stream: StreamId) {
        let now = self.now();
        let servers = self.side_setup(side).servers.clone();
        let agent = &mut self.peer_mut(side).agent;
        let credentials = agent.prepare_restart(now, stream).expect("the stream exists");
        if servers.is_empty() {
            agent.end_of_local_candidates(now, stream).expect("the stream exists");
        } else {
            agent.gather(now, &servers).expect("the servers can be used");
        }
        let mut description = self.description(side, stream);
        description.credentials = credentials;
        self.sent_candidates.remove(&side);
        let delay = self.side_setup(side).description_delay;
        self.signal(side.other(), delay, Message::Description(stream, Box::new(description)));
    }

    /// Lets a side gather from its servers, if it has any.
    #[expect(clippy::expect_used, reason = "a set-up that makes no sense is a mistake in a test")]
    pub(super) fn gather(&mut self, side: SideName) {
        let now = self.now();
        let servers = self.side_setup(side).servers.clone();
        if !servers.is_empty() {
            self.peer_mut(side).agent.gather(now, &servers).expect("the servers can be used");
        }
    }

    /// Restarts, too, if the other side's description says that it does.
    fn answer_restart(&mut self, side: SideName, stream: StreamId, description: &RemoteDescription) {
        let known = self.remote_ufrags.insert((side, stream), description.credentials.ufrag.clone());
        let is_restart = known.is_some_and(|known| known != description.credentials.ufrag);
        if is_restart && !self.peer(side).agent.is_restarting(stream) {
            self.restart(side, stream);
        }
    }

    #[expect(clippy::expect_used, reason = "a set-up that makes no sense is a mistake in a test")]
    fn start(&mut self, side: SideName) {
        let now = self.now();
        let setup = self.side_setup(side).clone();
        let mut port = 5000;
        let agent = &self.peer(side).agent;
        // A storm may have taken one away before the side begins.
        let streams: Vec<StreamId> =
            self.streams.iter().copied().filter(|stream| agent.stream_state(*stream).is_some()).collect();
        for stream in streams {
            for component in (1..=setup.components).filter_map(ComponentId::new) {
                for ip in &setup.addresses {
                    self.add_tcp(side, stream, component, *ip, port - 5000);
                    if !setup.udp {
                        continue;
                    }
                    let address = SocketAddr::new(*ip, port);
                    let peer = self.peer_mut(side);
                    peer.add_socket(now, stream, component, address).expect("the address can be used");
                    if let Some(server) = setup.reflexive_toward {
                        self.add_reflexive(side, stream, address, server);
                    }
                }
                port += 1;
            }
            if setup.signals_end && setup.servers.is_empty() {
                self.peer_mut(side).agent.end_of_local_candidates(now, stream).expect("the stream exists");
            }
        }
        if !setup.servers.is_empty() {
            self.peer_mut(side).agent.gather(now, &setup.servers).expect("the servers can be used");
        }
    }

    #[expect(clippy::expect_used, reason = "a set-up that makes no sense is a mistake in a test")]
    fn add_tcp(&mut self, side: SideName, stream: StreamId, component: ComponentId, ip: IpAddr, offset: u16) {
        for tcp_type in self.side_setup(side).tcp.clone() {
            let port = match tcp_type {
                TcpType::Active => 9,
                TcpType::Passive => 7000 + offset,
                TcpType::SimultaneousOpen => 8000 + offset,
            };
            let address = SocketAddr::new(ip, port);
            let (peer, network) = match side {
                SideName::L => (&mut self.l, &mut self.network),
                SideName::R => (&mut self.r, &mut self.network),
            };
            peer.add_tcp_candidate(network, stream, component, tcp_type, address).expect("the address can be used");
        }
    }

    /// Gives a side the server-reflexive candidate that it would have learned from a server.
    fn add_reflexive(&mut self, side: SideName, stream: StreamId, base: SocketAddr, server: SocketAddr) {
        let now = self.now();
        let host = self.peer(side).host();
        if let Some(mapped) = self.network.outside_address(host, base, server).filter(|mapped| *mapped != base) {
            let agent = &mut self.peer_mut(side).agent;
            let _ = agent.add_server_reflexive(now, stream, base, mapped, Some(server.ip()));
        }
    }

    /// Sends application data from one side on the first stream's first component.
    ///
    /// # Errors
    /// Those of [`Agent::send`].
    pub fn send(&mut self, side: SideName, payload: &[u8]) -> Result<(), SendError> {
        let stream = self.stream();
        let peer = match side {
            SideName::L => &mut self.l,
            SideName::R => &mut self.r,
        };
        peer.send(&mut self.network, stream, ComponentId::RTP, payload).map(|_| ())
    }

    /// Whether both sides have selected the two ends of one pair in every component of every stream.
    ///
    /// The addresses are compared as the network translates them: data of one side arrives on the pair of the other.
    #[must_use]
    pub fn agrees(&self) -> bool {
        let count = self.setup.l.components.min(self.setup.r.components);
        let components = || (1..=count).filter_map(ComponentId::new);
        self.streams.iter().all(|stream| components().all(|component| self.agrees_on(*stream, component)))
    }

    /// The same for one component.
    #[must_use]
    pub fn agrees_on(&self, stream: StreamId, component: ComponentId) -> bool {
        let mut probe = self.clone();
        [SideName::L, SideName::R].into_iter().all(|side| probe.arrives_on_selected(side, stream, component))
    }

    /// Sends data of one side through a perfect network, and sees whether it arrives on the other's selected pair.
    fn arrives_on_selected(&mut self, side: SideName, stream: StreamId, component: ComponentId) -> bool {
        let arrived = self.send_probe(side, stream, component);
        let selected = self.peer(side.other()).agent.selected_pair(stream, component);
        arrived.is_some() && arrived == selected.map(|pair| (pair.base, pair.remote_address))
    }

    /// Where data of one side arrives on a perfect network: the base and the remote address of the pair there.
    pub(super) fn send_probe(
        &mut self,
        side: SideName,
        stream: StreamId,
        component: ComponentId,
    ) -> Option<(SocketAddr, SocketAddr)> {
        const PROBE: &[u8] = b"\x80probe";
        self.network.clear_hook();
        self.network.set_default_link(Link::default());
        let (l, r) = (self.l.host(), self.r.host());
        self.network.set_links(l, r, None);
        for host in [l, r] {
            for ip in self.network.addresses(host).collect::<Vec<_>>() {
                for direction in [Direction::In, Direction::Out] {
                    let _ = self.network.set_interface_link(host, ip, direction, None);
                }
            }
        }
        self.l.received.clear();
        self.r.received.clear();
        let (peer, network) = match side {
            SideName::L => (&mut self.l, &mut self.network),
            SideName::R => (&mut self.r, &mut self.network),
        };
        peer.send(network, stream, component, PROBE).ok()?;
        self.carry(Duration::from_secs(3));
        let other = self.peer(side.other());
        let is_it =
            |data: &&ReceivedData| (data.stream, data.component, data.payload.as_slice()) == (stream, component, PROBE);
        let data = other.received.iter().find(is_it)?;
        // On the path of a pair from before a restart, too, the agent names no pair.
        let path = data.pair.and_then(|pair| other.agent.pair(pair)).map(|pair| (pair.base, pair.remote_address));
        path.or(data.arrived)
    }

    /// Lets the network carry what is in the air, relays included, while the agents' clocks stand still.
    fn carry(&mut self, time: Duration) {
        let now = self.now();
        let end = after(now, time);
        while let Some(at) = self.network.next_delivery().filter(|at| *at <= end) {
            self.network.advance_to(at);
            while let Some(delivery) = self.network.pop_delivery() {
                for peer in [&mut self.l, &mut self.r].into_iter().filter(|peer| peer.host() == delivery.host) {
                    peer.deliver(now, &delivery);
                }
                for server in &mut self.servers {
                    if server.deliver(&mut self.network, &delivery) {
                        break;
                    }
                }
            }
            while let Some(event) = self.network.pop_stream_event() {
                for peer in [&mut self.l, &mut self.r].into_iter().filter(|peer| peer.host() == event.host()) {
                    peer.deliver_stream(&mut self.network, &event);
                }
                for server in self.servers.iter_mut().filter(|server| server.host() == event.host()) {
                    server.deliver_stream(&mut self.network, &event);
                }
            }
        }
    }

    /// The host of a side.
    #[must_use]
    pub const fn host(&self, side: SideName) -> HostId {
        self.peer(side).host()
    }
}

#[expect(clippy::expect_used, reason = "a set-up that makes no sense is a mistake in a test")]
fn add_nats(network: &mut Network, mut chain: Vec<NatId>, configs: &[NatConfig]) -> Vec<NatId> {
    for config in configs {
        let nat = match chain.last() {
            Some(outer) => network.add_nat_behind(*outer, config.clone()),
            None => network.add_nat(config.clone()),
        };
        chain.push(nat.expect("the NAT can be built"));
    }
    chain
}
