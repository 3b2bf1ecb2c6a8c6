//! Random worlds: from a seed a topology, two agents with their options, and a scenario, with the verdict of the oracle.
//!
//! A world is *quiet*, with nothing but lossy links: then both agents connect exactly if the [oracle](super::oracle) says that
//! they can, and agree at rest; those that do go through trials, such as a NAT with another address or forged answers. Or it has a *storm*: letters of the [alphabet](super::Op) come down on it, faults of the network,
//! calls of both applications, polls in any order. Or it is *hostile*: the peer says what it should not, too. After the storm
//! everything is mended, and in the calm that follows nobody may hang: each stream is connected or has failed, and after a storm
//! of the network alone both sides agree or both have failed. In the end ICE is restarted, and whatever has happened before,
//! both connect exactly if the oracle says so. The invariants of the simulator hold after every step of all that.
//!
//! ```
//! use nilas::sim::World;
//!
//! let outcome = World::new(7).run();
//! assert!(outcome.connected || outcome.verdict != nilas::sim::Expected::Connected);
//! ```

use std::format;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use sha2::Digest;

use super::call::Call;
use super::dice::Dice;
use super::host::{Direction, FirewallRule, PeerMatch};
use super::link::{BurstLoss, Link};
use super::nat::{FilterScope, Filtering, Mapping, NatConfig, PortAssignment};
use super::op::{Op, regression_test};
use super::oracle::{Base, Learning, Side, find_paths_by};
use super::pair::Pair;
use super::setup::{PairSetup, SideName, SideSetup};
use super::trials::Trials;
use crate::types::Instant;
use crate::{CandidateKind, ComponentId, Config, ConnectionState, Renomination, Role, Seed, StreamId, TcpType};

/// A world: hosts, NATs and servers, options and a scenario, all drawn from one seed.
#[derive(Clone, Debug)]
pub struct World {
    seed: u64,
    setup: PairSetup,
    ops: Vec<Op>,
}

/// What the topology says of two agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "yes, no, and what the oracle does not know")]
pub enum Expected {
    /// They connect.
    Connected,
    /// They fail, both of them.
    Failed,
    /// They do the one or the other, both the same: only TCP may have a path.
    Either,
}

/// What has come of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Whether both sides were connected in the end.
    pub connected: bool,
    /// What the topology said of that.
    pub verdict: Expected,
    /// How many letters the scenario has.
    pub ops: usize,
    /// How long it has taken, on the clock of the network.
    pub elapsed: Duration,
    /// How many datagrams were sent.
    pub datagrams: usize,
    /// The first bytes of the SHA-256 of all datagrams, events and instants: the same world gives the same.
    pub digest: u64,
}

impl World {
    /// The world of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let setup = random_setup(seed, &mut dice);
        let (is_stormy, is_hostile) = (dice.below(10) < 6, dice.one_in(4));
        let mut ops = Vec::new();
        while is_stormy && ops.len() < 4 + usize::try_from(seed % 41).unwrap_or(0) {
            let bytes = dice.bytes();
            if let Some(op) = Op::decode(&mut &bytes[..]).filter(|op| is_hostile || !matches!(op, Op::Say(..))) {
                ops.push(op);
            }
        }
        Self { seed, setup, ops }
    }

    /// The same with another scenario.
    #[must_use]
    pub fn with_ops(mut self, ops: &[Op]) -> Self {
        self.ops = ops.to_vec();
        self
    }

    /// The same with another set-up.
    #[must_use]
    pub fn with_setup(mut self, setup: PairSetup) -> Self {
        self.setup = setup;
        self
    }

    /// Its scenario.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Its set-up.
    #[must_use]
    pub const fn setup(&self) -> &PairSetup {
        &self.setup
    }

    /// The line that runs it again.
    #[must_use]
    pub fn replay_line(&self) -> String {
        format!("cargo run --release --example worlds -- --seed {}", self.seed)
    }

    /// A test of it, for the case that its seed gives another world one day.
    #[must_use]
    pub fn regression_test(&self) -> String {
        let make = format!("nilas::sim::World::new({}).with_ops(&ops)", self.seed);
        regression_test(&format!("world_{}", self.seed), &make, "run()", &self.ops)
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If an invariant does not hold, or what has come of it is not what the topology says; the line that runs it again goes to
    /// standard error.
    #[must_use]
    pub fn run(&self) -> Outcome {
        let _replay = Replay(self);
        let mut pair = self.setup.clone().build();
        if self.ops.is_empty() {
            return self.run_quiet(pair);
        }
        for op in &self.ops {
            pair.perform(op);
        }
        self.heal(&mut pair);
        pair.run_for(Self::CALM);
        pair.run_until(Self::LONG_PATIENCE, |pair| self.hung(pair).is_none());
        pair.run_for(Self::CALM);
        self.check_calm(&mut pair);
        if pair.is_closed(SideName::L) || pair.is_closed(SideName::R) {
            return self.outcome(&pair, Expected::Either, false);
        }
        for stream in self.streams(&pair) {
            pair.restart(SideName::L, stream);
        }
        let (before, connected) = self.conclude(&mut pair);
        self.outcome(&pair, before, connected)
    }

    /// How long the calm after a storm takes: consent ends in it, and checks are given up.
    const CALM: Duration = Duration::from_secs(120);
    /// How long two agents may take to connect where they can.
    const PATIENCE: Duration = Duration::from_secs(60);
    /// How long they may take to fail.
    const LONG_PATIENCE: Duration = Duration::from_secs(1000);

    fn run_quiet(&self, mut pair: Pair) -> Outcome {
        let (verdict, connected) = self.conclude(&mut pair);
        if connected {
            Trials::new(&self.setup, &pair, &self.streams(&pair)).run();
        }
        self.outcome(&pair, verdict, connected)
    }

    /// Waits for what the topology says; says what that is, and whether both have connected.
    fn conclude(&self, pair: &mut Pair) -> (Expected, bool) {
        let streams = self.streams(pair);
        let are_connected = |pair: &Pair| self.are_selected(pair, &streams);
        let have_failed = |pair: &Pair| {
            [&pair.l, &pair.r].iter().all(|peer| {
                streams.iter().any(|stream| {
                    peer.agent.stream_state(*stream).is_some_and(|(state, _)| state == ConnectionState::Failed)
                })
            })
        };
        let first = self.verdict(pair, &streams);
        pair.run_until(Self::PATIENCE, are_connected);
        let second = self.verdict(pair, &streams);
        if !are_connected(pair) {
            pair.run_until(Self::LONG_PATIENCE, |pair| are_connected(pair) || have_failed(pair));
        }
        let connected = are_connected(pair);
        let states = || {
            let of = |side: SideName| {
                streams.iter().map(|stream| pair.peer(side).agent.stream_state(*stream)).collect::<Vec<_>>()
            };
            format!("L is {:?}, R is {:?}", of(SideName::L), of(SideName::R))
        };
        if connected {
            assert!(first != Expected::Failed || second != Expected::Failed, "connected without a path: {}", states());
            self.rest(pair, &streams);
        } else {
            assert!(first != Expected::Connected || second != Expected::Connected, "there is a path: {}", states());
            assert!(have_failed(pair), "neither connected nor failed: {}", states());
        }
        (first, connected)
    }

    /// Lets everything come to rest on a perfect network, and sees whether both sides agree.
    fn rest(&self, pair: &mut Pair, streams: &[StreamId]) {
        pair.network.set_default_link(Link { loss: 0.0, burst: None, ..self.setup.link });
        pair.run_for(if self.setup.l.renomination.is_some() { Self::CALM } else { Duration::from_secs(5) });
        for stream in streams {
            for component in self.components() {
                let agree =
                    pair.agrees_on(*stream, component) || takes_the_allocation_of_another(pair, *stream, component);
                assert!(agree, "the ends of two pairs are selected: {}", ends(pair, *stream, component));
            }
            let roles = (pair.l.agent.role(), pair.r.agent.role());
            assert_ne!(roles.0, roles.1, "both have the same role");
        }
    }

    /// Whoever is in a state that passes.
    fn hung(&self, pair: &Pair) -> Option<String> {
        let has_ended = |state| matches!(state, ConnectionState::Failed | ConnectionState::Closed);
        self.streams(pair).into_iter().flat_map(|stream| [(SideName::L, stream), (SideName::R, stream)]).find_map(
            |(side, stream)| {
                let (state, reason) = pair.peer(side).agent.stream_state(stream)?;
                let is_hung = !state.is_connected() && !has_ended(state);
                is_hung.then(|| format!("{side:?} hangs in {state:?}, {reason:?}"))
            },
        )
    }

    /// What has to be so after a calm.
    fn check_calm(&self, pair: &mut Pair) {
        // Whoever has taken away its addresses, or those of the peer, waits for others.
        let hung = self.hung(pair).filter(|_| !self.has_removed());
        assert_eq!(hung, None);
        if !self.is_plain() {
            return;
        }
        for stream in self.streams(pair) {
            let is_connected =
                |side| pair.peer(side).agent.stream_state(stream).is_some_and(|(state, _)| state.is_connected());
            let (l, r) = (is_connected(SideName::L), is_connected(SideName::R));
            assert_eq!(l, r, "one side is connected, and the other is not");
            let agree = |component| {
                pair.agrees_on(stream, component) || takes_the_allocation_of_another(pair, stream, component)
            };
            let other = self.components().find(|component| l && !agree(*component));
            assert!(
                other.is_none(),
                "the ends of two pairs are in use: {:?}",
                other.map(|other| ends(pair, stream, other))
            );
        }
    }

    /// Whether the storm was one of the network and of restarts alone.
    fn is_plain(&self) -> bool {
        let is_plain = |call: &Call| {
            let goes_on = matches!(call, Call::AddSocket(_) | Call::NetworkChanged | Call::Idle(_) | Call::Restart);
            goes_on || matches!(call, Call::Send(_) | Call::SendBatch | Call::Gather)
        };
        let has_consent = self.setup.l.config.consent && self.setup.r.config.consent;
        has_consent
            && self
                .ops
                .iter()
                .all(|op| if let Op::Call(_, call) = op { is_plain(call) } else { !matches!(op, Op::Say(..)) })
    }

    fn has_removed(&self) -> bool {
        self.ops.iter().any(|op| {
            matches!(
                op,
                Op::Say(..)
                    | Op::Call(
                        _,
                        Call::RemoveLocal(_)
                            | Call::RemoveRemote(_)
                            | Call::Rollback
                            | Call::RemovePair(_)
                            | Call::Close
                            | Call::Revoke
                    )
            )
        })
    }

    /// Undoes what the storm did to network, servers and applications.
    fn heal(&self, pair: &mut Pair) {
        let now = pair.now();
        pair.network.set_default_link(Link { loss: 0.0, burst: None, ..self.setup.link });
        let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
        pair.network.mend_both(l, r);
        for (side, setup) in [(SideName::L, &self.setup.l), (SideName::R, &self.setup.r)] {
            let host = pair.host(side);
            for ip in pair.network.all_addresses(host).collect::<Vec<_>>() {
                let _ = pair.network.set_interface_up(host, ip, true);
            }
            let _ = pair.network.unblock(host);
            for direction in [Direction::In, Direction::Out] {
                if let Some(ip) = setup.only_reaches {
                    let _ = pair.network.block(host, FirewallRule { direction, peer: PeerMatch::NotIp(ip) });
                }
            }
            for call in [Call::Withhold(false), Call::Idle(false)] {
                pair.perform(&Op::Call(side, call));
            }
            pair.drain(side);
        }
        for server in &mut pair.servers {
            server.set_alive(true);
            server.forgive();
        }
        pair.step_to(now);
    }

    /// The streams that both sides have.
    fn streams(&self, pair: &Pair) -> Vec<StreamId> {
        let has = |side: SideName, stream: StreamId| pair.peer(side).agent.stream_state(stream).is_some();
        pair.streams().iter().copied().filter(|stream| has(SideName::L, *stream) && has(SideName::R, *stream)).collect()
    }

    /// The components that both sides have for certain.
    fn components(&self) -> impl Iterator<Item = ComponentId> + use<> {
        let is_cut = self.ops.iter().any(|op| matches!(op, Op::Call(_, Call::KeepComponents(_))));
        let count = self.setup.l.components.min(self.setup.r.components);
        (1..=if is_cut { 1 } else { count }).filter_map(ComponentId::new)
    }

    fn are_selected(&self, pair: &Pair, streams: &[StreamId]) -> bool {
        let is_selected = |side: SideName, stream: StreamId| {
            let agent = &pair.peer(side).agent;
            let is_connected = agent.stream_state(stream).is_some_and(|(state, _)| state.is_connected());
            // While a restart is under way, a pair from before is selected.
            let is_current = |component| agent.has_selected_anew(stream, component);
            is_connected && !agent.is_restarting(stream) && self.components().all(is_current)
        };
        streams.iter().all(|stream| is_selected(SideName::L, *stream) && is_selected(SideName::R, *stream))
    }

    /// What the oracle says of all components of these streams together.
    fn verdict(&self, pair: &Pair, streams: &[StreamId]) -> Expected {
        let connects = |has_relays: bool| {
            streams.iter().all(|stream| {
                self.components().all(|component| {
                    let [mut l, mut r] =
                        [SideName::L, SideName::R].map(|side| self.side(pair, side, *stream, component));
                    for side in [&mut l, &mut r].into_iter().filter(|_| !has_relays) {
                        let is_relayed = |address: &SocketAddr| {
                            side.bases.iter().any(|base| base.is_relayed && base.address == *address)
                        };
                        let kept = side.candidates.iter().copied().filter(|address| !is_relayed(address)).collect();
                        side.candidates = kept;
                        side.bases.retain(|base| !base.is_relayed);
                    }
                    find_paths_by(&pair.network, &l, &r, Learning::ReceivingBase).connects()
                })
            })
        };
        let has_tcp = !self.setup.l.tcp.is_empty() && !self.setup.r.tcp.is_empty();
        let is_cut = self.ops.iter().any(|op| matches!(op, Op::Call(_, Call::KeepComponents(_))));
        if connects(!self.doubts_relays()) {
            Expected::Connected
        } else if has_tcp || is_cut || connects(true) {
            Expected::Either
        } else {
            Expected::Failed
        }
    }

    /// Whether a server may know of no allocation for an address that the agent takes for a relayed one: the oracle takes the
    /// way to the server for granted.
    fn doubts_relays(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, Op::Fault(_) | Op::Sleep(_)))
    }

    fn side(&self, pair: &Pair, side: SideName, stream: StreamId, component: ComponentId) -> Side {
        let peer = pair.peer(side);
        let signals =
            if side == SideName::L { self.setup.l.signals_candidates } else { self.setup.r.signals_candidates };
        let (mut bases, mut candidates) = (Vec::new(), Vec::new());
        for local in peer.agent.local_candidates(stream) {
            let candidate = local.candidate;
            let Some(address) = candidate.socket_address() else { continue };
            let is_it = candidate.component() == component && candidate.transport() == crate::Transport::Udp;
            if !is_it || candidate.kind() == CandidateKind::PeerReflexive {
                continue;
            }
            let server = pair.servers.iter().find(|server| server.address().ip() == local.base.ip());
            match server {
                Some(server) => bases.push(Base::relayed(server.host(), local.base)),
                None => bases.push(Base::new(peer.host(), local.base)),
            }
            if signals {
                candidates.push(address);
            }
        }
        Side { bases, candidates }
    }

    fn outcome(&self, pair: &Pair, verdict: Expected, connected: bool) -> Outcome {
        let mut hasher = sha2::Sha256::new();
        for peer in [&pair.l, &pair.r] {
            for sent in &peer.sent {
                hasher.update(nanos(sent.at));
                hasher.update(&sent.payload);
            }
            for (at, event) in &peer.events {
                hasher.update(nanos(*at));
                hasher.update(format!("{event:?}"));
            }
        }
        let bytes: [u8; 32] = hasher.finalize().into();
        let digest = bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        let datagrams = pair.l.sent.len() + pair.r.sent.len();
        Outcome { connected, verdict, ops: self.ops.len(), elapsed: pair.elapsed(), datagrams, digest }
    }
}

/// Whether a server takes a socket of one side for another one: a NAT that has forgotten has given the port of the one to the
/// other, and a server knows its clients by their 5-tuples alone (RFC 8656 §3.1). Checks, whose answers show it, get through as
/// they do behind any NAT. Channels have the numbers that the other socket has bound, so that data goes to its peer; no message
/// of the server tells, and nothing is wrong any more once one of both allocations is had anew.
fn takes_the_allocation_of_another(pair: &Pair, stream: StreamId, component: ComponentId) -> bool {
    [SideName::L, SideName::R].into_iter().any(|side| {
        let selected = pair.peer(side).agent.selected_pair(stream, component);
        let is_at_server = |ip: IpAddr| pair.servers.iter().any(|server| server.address().ip() == ip);
        let seen = selected.and_then(|pair| Some((pair.base, pair.local.socket_address()?)));
        seen.is_some_and(|(base, seen)| base != seen && base.ip() == seen.ip() && is_at_server(base.ip()))
    })
}

/// The selected pairs of both sides, and where data of each arrives.
fn ends(pair: &Pair, stream: StreamId, component: ComponentId) -> String {
    let of = |side: SideName| {
        let selected = pair.peer(side).agent.selected_pair(stream, component);
        let text = selected.map(|pair| format!("{:?} {} > {}", pair.local.kind(), pair.base, pair.remote_address));
        format!("{text:?}, whose data arrives on {:?}", pair.clone().send_probe(side, stream, component))
    };
    format!("{stream:?}, {component:?}, {} and {}", of(SideName::L), of(SideName::R))
}

fn nanos(at: Instant) -> [u8; 8] {
    at.as_nanos().to_be_bytes()
}

/// Says how a failure is seen again.
struct Replay<'a>(&'a World);

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::eprintln!("seen again by: {}", self.0.replay_line());
        }
    }
}

pub(super) fn random_nat(dice: &mut Dice, public: IpAddr) -> NatConfig {
    let mapping = dice.of(&[
        Mapping::EndpointIndependent,
        Mapping::EndpointIndependent,
        Mapping::AddressDependent,
        Mapping::AddressAndPortDependent,
    ]);
    let filtering =
        dice.of(&[Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent]);
    NatConfig {
        filter_scope: dice.of(&[FilterScope::Endpoint, FilterScope::Mapping]),
        ports: dice.of(&[PortAssignment::Preserving, PortAssignment::Random, PortAssignment::Sequential]),
        hairpin: dice.one_in(2),
        lifetime: dice.of(&[Some(Duration::from_secs(300)), Some(Duration::from_secs(60)), None]),
        ..NatConfig::new(mapping, filtering, [public])
    }
}

fn random_config(dice: &mut Dice) -> Config {
    let ta = Duration::from_millis(dice.of(&[50, 50, 50, 20, 5, 100]));
    let mut config = Config::default().with_ta(ta).with_pair_events(dice.one_in(2));
    if dice.one_in(12) {
        config = config.with_consent(false);
    }
    if dice.one_in(8) {
        config = config.with_max_pairs(dice.of(&[20, 40]));
    }
    config
}

fn random_setup(seed: u64, dice: &mut Dice) -> PairSetup {
    let ms = Duration::from_millis;
    let mut setup = PairSetup::new(Seed::from_number(seed));
    let loss = dice.of(&[0.0, 0.0, 0.0, 0.05, 0.15]);
    let burst = dice.one_in(12).then_some(BurstLoss { enter: 0.02, leave: 0.3, loss: 1.0 });
    setup.link = Link {
        loss,
        burst,
        jitter: ms(dice.below(40)),
        duplicate: dice.of(&[0.0, 0.0, 0.1]),
        reorder: dice.of(&[0.0, 0.0, 0.1]),
        reorder_delay: ms(80),
        ..Link::with_delay(ms(dice.below(120)))
    };
    if dice.one_in(6) {
        setup.shared_nats = std::vec![random_nat(dice, [192, 0, 2, 1].into())];
    }
    let is_shared = !setup.shared_nats.is_empty();
    let roles = [Role::Controlling, Role::Controlled];
    setup = setup.roles(dice.of(&roles), dice.of(&roles));
    setup.streams = dice.of(&[1, 1, 1, 2]);
    let components = dice.of(&[1, 1, 2]);
    let config = random_config(dice);
    let draft = dice.of(&[None, Some(Renomination::Draft2016), Some(Renomination::Draft2026)]);
    let (has_tcp, has_v6) = (dice.one_in(5), dice.one_in(4));
    let servers: Vec<IpAddr> = (0..dice.of(&[0, 0, 1, 2])).map(|last| IpAddr::from([203, 0, 113, 60 + last])).collect();
    for ip in servers {
        setup = setup.with_turn(ip);
    }
    let server = setup.servers.first().copied();
    for (number, side) in [(1, &mut setup.l), (2, &mut setup.r)] {
        random_side(dice, number, is_shared, side);
        side.config = config.clone();
        side.components = components;
        side.renomination = draft;
        if has_v6 {
            side.addresses.push(IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, number.into(), 0, 0, 0, 0, 1)));
        }
        if has_tcp {
            let types = [TcpType::Active, TcpType::Passive, TcpType::SimultaneousOpen];
            side.tcp = types.into_iter().filter(|_| dice.one_in(2)).collect();
        }
        if server.is_some() {
            side.only_reaches = server.filter(|_| dice.one_in(5));
            side.reflexive_toward = None;
        }
    }
    if !is_shared && dice.one_in(10) {
        // A lite agent has a public address, and controls nobody.
        // Nobody but consent tells it that its peer is there.
        setup.l.config = setup.l.config.clone().with_consent(true);
        setup.r.config = setup.r.config.clone().with_lite(true);
        setup.r.nats.clear();
        setup.r.addresses = std::vec![IpAddr::from([203, 0, 113, 2])];
        (setup.r.servers, setup.r.only_reaches, setup.r.tcp) = (Vec::new(), None, Vec::new());
        (setup.r.signals_candidates, setup.r.reflexive_toward) = (true, None);
        setup = setup.roles(Role::Controlling, Role::Controlled);
    }
    setup.follows_timer = dice.one_in(4);
    setup
}

fn random_side(dice: &mut Dice, number: u8, is_shared: bool, side: &mut SideSetup) {
    let ms = Duration::from_millis;
    for depth in 0..dice.of(&[0, 0, 1, 1, 1, 2]) {
        let public = match (depth, is_shared) {
            (0, false) => [198, 51, 100, number],
            _ => [100, 64, depth, number],
        };
        side.nats.push(random_nat(dice, public.into()));
    }
    let is_behind = !side.nats.is_empty() || is_shared;
    let net = if side.nats.is_empty() { 0 } else { dice.of(&[0, number]) };
    let own = if side.nats.is_empty() { number * 10 } else { 10 };
    let first = if is_behind { [10, 0, net] } else { [203, 0, 112] };
    let [a, b, c] = first;
    side.addresses = (0..=dice.of(&[0, 0, 1, 2])).map(|last| IpAddr::from([a, b, c, own + last])).collect();
    side.reflexive_toward = (!dice.one_in(4)).then_some(SocketAddr::from(([203, 0, 113, 53], 3478)));
    side.signals_candidates = !dice.one_in(10);
    side.ice2 = !dice.one_in(4);
    side.candidate_delay = ms(dice.of(&[0, 0, 60, 300]));
    side.candidate_interval = ms(dice.of(&[0, 0, 40]));
    side.description_delay = ms(dice.of(&[0, 0, 30, 200]));
}
