//! Peers as they are met in the field, each reduced to how it checks and nominates.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nilas::sim::{HostId, Link, MessageBuilder, Network, Op, Peer, SideName, Wire};
use nilas::{
    Agent, Candidate, CandidateKind, ComponentId, Config, Credentials, Event, Foundation, Instant, PairId,
    PairPriority, Priority, RemoteDescription, Role, Seed, StreamId,
};

use crate::help::ms;

/// How a peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// RFC 5245 with aggressive nomination: the flag is in every check, and the highest pair counts.
    Aggressive5245,
    /// The same agent on the controlled side: the highest nominated pair counts.
    Controlled5245,
    /// Pings without freezing; the flag is in every check until a pair is selected, and then in those of that pair and of
    /// better ones.
    Libwebrtc,
    /// Answers, and uses the pair that was nominated last.
    Lite,
}

#[derive(Clone, Debug)]
struct WildPair {
    local: SocketAddr,
    remote: SocketAddr,
    priority: PairPriority,
    is_checked: bool,
    has_succeeded: bool,
    has_received_flag: bool,
    is_nominated: bool,
}

#[derive(Clone, Debug)]
struct Check {
    id: [u8; 12],
    pair: usize,
    flag: bool,
    sent: u32,
    again_at: Option<Instant>,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Wild {
    profile: Profile,
    host: HostId,
    ours: Credentials,
    theirs: Credentials,
    pairs: Vec<WildPair>,
    checks: Vec<Check>,
    triggered: VecDeque<usize>,
    next_at: Instant,
    next_ping: usize,
    next_id: u32,
    /// The pair that it likes whatever its priority.
    favourite: Option<usize>,
    pub(crate) selected: Option<usize>,
    pub(crate) requests_sent: usize,
}

impl Wild {
    fn role(&self) -> Role {
        if matches!(self.profile, Profile::Aggressive5245 | Profile::Libwebrtc) {
            Role::Controlling
        } else {
            Role::Controlled
        }
    }

    pub(crate) fn selected_addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.selected.map(|index| (self.pairs[index].local, self.pairs[index].remote))
    }

    /// Moves to the succeeded pair of the lowest priority, and stays there.
    pub(crate) fn move_down(&mut self) {
        let lowest = (0..self.pairs.len()).filter(|index| self.pairs[*index].has_succeeded);
        self.favourite = lowest.min_by_key(|index| self.pairs[*index].priority);
        self.select();
    }

    fn rank(&self, index: usize) -> (bool, PairPriority) {
        (self.favourite == Some(index), self.pairs[index].priority)
    }

    fn select(&mut self) {
        let is_libwebrtc = self.profile == Profile::Libwebrtc;
        let may = |index: &usize| {
            let pair = &self.pairs[*index];
            if is_libwebrtc { pair.has_succeeded } else { pair.is_nominated }
        };
        if self.profile != Profile::Lite {
            self.selected = (0..self.pairs.len()).filter(may).max_by_key(|index| self.rank(*index));
        }
    }

    fn has_flag(&self, index: usize) -> bool {
        match self.profile {
            Profile::Aggressive5245 => true,
            Profile::Libwebrtc => self.selected.is_none_or(|selected| self.rank(index) >= self.rank(selected)),
            Profile::Controlled5245 | Profile::Lite => false,
        }
    }

    fn next_step(&self) -> Option<Instant> {
        if self.profile == Profile::Lite {
            return None;
        }
        let wants_check = self.profile == Profile::Libwebrtc
            || !self.triggered.is_empty()
            || self.pairs.iter().any(|pair| !pair.is_checked) && self.selected.is_none();
        let again = self.checks.iter().filter_map(|check| check.again_at).min();
        wants_check.then_some(self.next_at).into_iter().chain(again).min()
    }

    fn step(&mut self, now: Instant, network: &mut Network) {
        for index in 0..self.checks.len() {
            let check = &mut self.checks[index];
            if check.again_at.is_none_or(|at| at > now) {
                continue;
            }
            let pair = &self.pairs[check.pair];
            let is_moot = self.selected.is_some_and(|selected| self.pairs[selected].priority > pair.priority);
            check.sent += 1;
            check.again_at = (check.sent < 8 && !is_moot).then(|| now + ms(500 << (check.sent - 1)));
            if check.again_at.is_some() {
                network.send(self.host, pair.local, pair.remote, &check.bytes);
            }
        }
        if self.next_at > now || self.profile == Profile::Lite {
            return;
        }
        let chosen = self.triggered.pop_front().or_else(|| self.next_pair());
        let Some(chosen) = chosen else { return };
        self.send_check(now, chosen, network);
    }

    fn next_pair(&mut self) -> Option<usize> {
        let unchecked = (0..self.pairs.len()).filter(|index| !self.pairs[*index].is_checked);
        if self.profile != Profile::Libwebrtc {
            return unchecked.filter(|_| self.selected.is_none()).max_by_key(|index| self.pairs[*index].priority);
        }
        self.next_ping += 1;
        Some(self.next_ping % self.pairs.len())
    }

    fn send_check(&mut self, now: Instant, index: usize, network: &mut Network) {
        let is_pinging = self.profile == Profile::Libwebrtc;
        let flag = self.has_flag(index);
        self.next_id += 1;
        let mut id = [0x5a; 12];
        id[..4].copy_from_slice(&self.next_id.to_be_bytes());
        let message = MessageBuilder::binding_request(id)
            .username(self.theirs.ufrag.as_str(), self.ours.ufrag.as_str())
            .priority(1_862_270_975);
        let message = match self.role() {
            Role::Controlling => message.controlling(u64::MAX),
            Role::Controlled => message.controlled(0),
        };
        let message = if flag { message.use_candidate() } else { message };
        let bytes = message.integrity(&self.theirs.password).fingerprint().build();
        self.pairs[index].is_checked = true;
        let pair = &self.pairs[index];
        network.send(self.host, pair.local, pair.remote, &bytes);
        self.requests_sent += 1;
        let again_at = (!is_pinging).then(|| now + ms(500));
        self.checks.push(Check { id, pair: index, flag, sent: 1, again_at, bytes });
        let is_settled = self.selected.is_some() && self.pairs.iter().all(|pair| pair.has_succeeded);
        let interval = match (is_pinging, is_settled) {
            (true, true) => ms(2500) / u32::try_from(self.pairs.len()).unwrap(),
            (true, false) => ms(48),
            (false, _) => ms(50),
        };
        self.next_at = now + interval;
    }

    fn hear(&mut self, source: SocketAddr, destination: SocketAddr, bytes: &[u8], network: &mut Network) {
        match Wire::decode(bytes) {
            Wire::Request(request) => {
                let SocketAddr::V4(mapped) = source else { panic!("IPv4 only") };
                let answer = MessageBuilder::binding_success(request.id).mapped_v4(mapped);
                let answer = answer.integrity(&self.ours.password).fingerprint().build();
                network.send(self.host, destination, source, &answer);
                let found = self.pairs.iter().position(|pair| (pair.local, pair.remote) == (destination, source));
                let Some(index) = found else { return };
                let pair = &mut self.pairs[index];
                if self.profile == Profile::Lite {
                    if request.use_candidate {
                        self.selected = Some(index);
                    }
                    return;
                }
                pair.has_received_flag |= request.use_candidate;
                pair.is_nominated |= pair.has_succeeded && request.use_candidate;
                if !pair.has_succeeded && !self.triggered.contains(&index) {
                    self.triggered.push_back(index);
                }
                self.select();
            }
            Wire::Success { id, .. } => {
                let Some(place) = self.checks.iter().position(|check| check.id == id) else { return };
                let check = self.checks.remove(place);
                let pair = &mut self.pairs[check.pair];
                assert_eq!((pair.local, pair.remote), (destination, source));
                pair.has_succeeded = true;
                pair.is_nominated |= check.flag || pair.has_received_flag && self.profile == Profile::Controlled5245;
                self.select();
            }
            other => panic!("the agent sent {other:?}"),
        }
    }
}

/// An agent and a peer from the field, with a network between them.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) us: Peer,
    pub(crate) wild: Wild,
    pub(crate) stream: StreamId,
}

impl World {
    /// Both sides have so many addresses, and know all of each other at time 0.
    pub(crate) fn new(profile: Profile, seed: u64, link: Link, (ours, theirs): (u8, u8), config: Config) -> Self {
        let mut network = Network::new(Seed::from_number(seed));
        network.set_default_link(link);
        let (host, wild_host) = (network.add_host("us"), network.add_host("wild"));
        // To a lite agent we are controlling, whatever was said before.
        let is_controlling = matches!(profile, Profile::Controlled5245) || profile == Profile::Lite && seed % 2 == 0;
        let role = if is_controlling { Role::Controlling } else { Role::Controlled };
        let mut agent = Agent::new(config, role, Seed::from_number(seed)).unwrap();
        let stream = agent.add_stream(1).unwrap();
        let mut us = Peer::new(host, agent);
        let now = network.now();
        for last in 1..=ours {
            let ip = IpAddr::from([198, 51, 100, last]);
            network.add_interface(host, ip).unwrap();
            us.add_socket(now, stream, ComponentId::RTP, SocketAddr::new(ip, 5000)).unwrap();
        }
        us.agent.end_of_local_candidates(now, stream).unwrap();
        us.drain(now, &mut network);
        let their_credentials = Credentials::new("wild", "password/of/the/wild/one").unwrap();
        let candidates: Vec<Candidate> = (1..=theirs)
            .map(|last| {
                let ip = IpAddr::from([203, 0, 113, last]);
                network.add_interface(wild_host, ip).unwrap();
                let priority = Priority::new(2_130_706_431 - 256 * u32::from(last)).unwrap();
                let foundation: Foundation = last.to_string().parse().unwrap();
                Candidate::new(CandidateKind::Host, ComponentId::RTP, foundation, priority, SocketAddr::new(ip, 6000))
            })
            .collect();
        let mut pairs = Vec::new();
        let wild_is_controlled = matches!(profile, Profile::Controlled5245 | Profile::Lite);
        let wild_role = if wild_is_controlled { Role::Controlled } else { Role::Controlling };
        for (_, event) in &us.events {
            let Event::LocalCandidate { candidate: remote, .. } = event else { continue };
            for local in &candidates {
                pairs.push(WildPair {
                    local: local.socket_address().unwrap(),
                    remote: remote.socket_address().unwrap(),
                    priority: PairPriority::compute(wild_role, local.priority(), remote.priority()),
                    is_checked: false,
                    has_succeeded: false,
                    has_received_flag: false,
                    is_nominated: false,
                });
            }
        }
        let wild = Wild {
            profile,
            host: wild_host,
            theirs: us.agent.local_credentials(stream).unwrap().clone(),
            ours: their_credentials.clone(),
            pairs,
            checks: Vec::new(),
            triggered: VecDeque::new(),
            next_at: now,
            next_ping: usize::try_from(seed % 7).unwrap(),
            next_id: 0,
            favourite: None,
            selected: None,
            requests_sent: 0,
        };
        let remote = RemoteDescription::new(their_credentials)
            .with_trickle(false)
            .with_lite(profile == Profile::Lite)
            .with_candidates(candidates);
        us.agent.set_remote_description(now, stream, &remote).unwrap();
        let mut world = Self { network, us, wild, stream };
        world.us.drain(now, &mut world.network);
        world
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.network.now() + time;
        loop {
            let steps = [self.network.next_delivery(), self.us.agent.poll_timeout(), self.wild.next_step()];
            let Some(at) = steps.into_iter().flatten().min().filter(|at| *at <= end) else { break };
            self.network.advance_to(at);
            let now = self.network.now();
            while let Some(delivery) = self.network.pop_delivery() {
                if delivery.host == self.us.host() {
                    self.us.deliver(now, &delivery);
                    self.us.drain(now, &mut self.network);
                } else {
                    self.wild.hear(delivery.source, delivery.destination, &delivery.payload, &mut self.network);
                }
            }
            self.us.agent.handle_timeout(now);
            self.us.drain(now, &mut self.network);
            self.us.check(now);
            if self.wild.next_step().is_some_and(|at| at <= now) {
                self.wild.step(now, &mut self.network);
            }
        }
        self.network.advance_to(end);
    }

    /// Plays a letter of the alphabet, as far as there is room for it: L is our side.
    pub(crate) fn perform(&mut self, op: &Op) {
        let now = self.network.now();
        match op {
            Op::Advance(time) => self.run_for(ms(u64::from(*time))),
            Op::Call(SideName::L, call) => {
                call.perform(&mut self.us.agent, now);
                self.us.drain(now, &mut self.network);
            }
            _ if op.disturb(&mut self.network) => self.run_for(ms(0)),
            _ => {}
        }
    }

    /// Our selected pair as the other side sees it.
    pub(crate) fn selected_addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        let selected = self.us.agent.selected_pair(self.stream, ComponentId::RTP)?;
        Some((selected.remote.socket_address()?, selected.base))
    }

    /// The pairs that we have selected, one after the other.
    pub(crate) fn selections(&self) -> Vec<Option<PairId>> {
        let selected = |event: &Event| match event {
            Event::SelectedPairChanged { pair, .. } => Some(*pair),
            _ => None,
        };
        self.us.events.iter().filter_map(|(_, event)| selected(event)).collect()
    }

    pub(crate) fn priority(&self, pair: Option<PairId>) -> Option<PairPriority> {
        self.us.agent.pair(pair?).map(|pair| pair.priority)
    }
}
