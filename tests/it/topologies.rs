//! Random topologies: whatever stands between two agents, they connect exactly when the oracle says that they can.

use std::net::IpAddr;

use nilas::sim::oracle::{Learning, PathVerdict, Side, find_paths_by};
use nilas::sim::{FilterScope, Filtering, Link, Mapping, NatConfig, Pair, PairSetup, PortAssignment, SideName};
use nilas::{CandidateKind, ConnectionState, Role, Seed};

use crate::help::{ms, secs};

/// Small numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ bits >> 31) % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn nat(&mut self, public: IpAddr) -> NatConfig {
        let mapping = self.of(&[
            Mapping::EndpointIndependent,
            Mapping::EndpointIndependent,
            Mapping::AddressDependent,
            Mapping::AddressAndPortDependent,
        ]);
        let filtering =
            self.of(&[Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent]);
        NatConfig {
            filter_scope: self.of(&[FilterScope::Endpoint, FilterScope::Mapping]),
            ports: self.of(&[PortAssignment::Preserving, PortAssignment::Random, PortAssignment::Sequential]),
            hairpin: self.one_in(2),
            ..NatConfig::new(mapping, filtering, [public])
        }
    }
}

fn random_setup(seed: u64) -> PairSetup {
    let mut dice = Dice(seed);
    let mut setup = PairSetup::new(Seed::from_number(seed));
    let loss = if dice.one_in(3) { 0.15 } else { 0.0 };
    setup.link = Link { loss, jitter: ms(dice.below(40)), ..Link::with_delay(ms(dice.below(120))) };
    if dice.one_in(4) {
        setup.shared_nats = vec![dice.nat([192, 0, 2, 1].into())];
    }
    let is_shared = !setup.shared_nats.is_empty();
    let roles = [Role::Controlling, Role::Controlled];
    setup = setup.roles(dice.of(&roles), dice.of(&roles));
    for (number, side) in [(1, &mut setup.l), (2, &mut setup.r)] {
        for depth in 0..dice.below(3) as u8 {
            let public = match (depth, is_shared) {
                (0, false) => [198, 51, 100, number],
                _ => [100, 64, depth, number],
            };
            side.nats.push(dice.nat(public.into()));
        }
        let net = if side.nats.is_empty() { 0 } else { dice.below(2) as u8 * number };
        let own = if side.nats.is_empty() { number * 10 } else { 10 };
        side.addresses = (0..=dice.below(3) as u8).map(|last| [10, 0, net, own + last].into()).collect();
        side.reflexive_toward = (!dice.one_in(4)).then(|| "203.0.113.53:3478".parse().unwrap());
        side.signals_candidates = !dice.one_in(8);
        side.ice2 = !dice.one_in(4);
        side.candidate_delay = ms(dice.of(&[0, 0, 60, 300]));
        side.candidate_interval = ms(dice.of(&[0, 0, 40]));
        side.description_delay = ms(dice.of(&[0, 0, 30, 200]));
    }
    setup
}

fn oracle(pair: &Pair, setup: &PairSetup) -> PathVerdict {
    let side = |name: SideName| {
        let peer = pair.peer(name);
        let signals = if name == SideName::L { setup.l.signals_candidates } else { setup.r.signals_candidates };
        let candidates = peer.agent.local_candidates(pair.stream());
        let signalled = candidates.filter(|local| signals && local.candidate.kind() != CandidateKind::PeerReflexive);
        let candidates: Vec<_> = signalled.filter_map(|local| local.candidate.socket_address()).collect();
        Side::new(peer.host(), peer.sockets().iter().copied(), candidates)
    };
    find_paths_by(&pair.network, &side(SideName::L), &side(SideName::R), Learning::ReceivingBase)
}

/// Runs one topology to its end; whether it connects.
fn run(seed: u64) -> bool {
    let setup = random_setup(seed);
    let mut pair = setup.clone().build();
    let verdict = oracle(&pair, &setup);
    if verdict.connects() {
        assert!(pair.run_until_selected(secs(40)), "seed {seed} has not connected by {:?}", verdict.paths());
        pair.run_for(secs(5));
        assert!(pair.agrees(), "seed {seed} ends with two different pairs");
        assert_ne!(pair.l.agent.role(), pair.r.agent.role(), "seed {seed}");
    } else {
        let failed = |pair: &Pair| [&pair.l, &pair.r].iter().all(|peer| peer.agent.state() == ConnectionState::Failed);
        assert!(pair.run_until(secs(400), failed), "seed {seed} has not failed");
        assert_eq!((pair.l.selections(), pair.r.selections()), (0, 0), "seed {seed} has selected a pair");
    }
    verdict.connects()
}

#[test]
fn random_topologies_connect_exactly_when_there_is_a_path() {
    const SEEDS: u64 = 400;
    let connected = (0..SEEDS).filter(|seed| run(*seed)).count();
    println!("{connected} of {SEEDS} random topologies connected, the others failed as foreseen");
    assert!((SEEDS as usize / 4..SEEDS as usize).contains(&connected));
}
