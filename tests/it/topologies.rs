//! Random topologies: whatever stands between two agents, they connect exactly when the oracle says that they can.

use std::net::IpAddr;

use nilas::sim::oracle::{Learning, PathVerdict, Side, find_paths_by};
use nilas::sim::{FilterScope, Filtering, Link, Mapping, NatConfig, Pair, PairSetup, PortAssignment, SideName};
use nilas::{CandidateKind, ComponentId, ConnectionState, Renomination, Role, Seed};

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
    setup.streams = 1 + dice.below(2) as usize;
    let components = 1 + dice.below(2) as u16;
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
        side.components = components;
        side.ice2 = !dice.one_in(4);
        side.candidate_delay = ms(dice.of(&[0, 0, 60, 300]));
        side.candidate_interval = ms(dice.of(&[0, 0, 40]));
        side.description_delay = ms(dice.of(&[0, 0, 30, 200]));
    }
    setup
}

/// What the oracle says of each component of each stream.
fn oracle(pair: &Pair, setup: &PairSetup) -> Vec<PathVerdict> {
    let side = |name: SideName, stream, component| {
        let peer = pair.peer(name);
        let signals = if name == SideName::L { setup.l.signals_candidates } else { setup.r.signals_candidates };
        let candidates = peer.agent.local_candidates(stream);
        let ours = candidates.filter(|local| local.candidate.component() == component).filter_map(|local| {
            let address = local.candidate.socket_address()?;
            (local.candidate.kind() != CandidateKind::PeerReflexive).then_some((local.base, address))
        });
        let ours: Vec<_> = ours.collect();
        let bases = ours.iter().map(|(base, _)| *base);
        Side::new(peer.host(), bases, ours.iter().filter(|_| signals).map(|(_, address)| *address))
    };
    let components = (1..=setup.l.components).filter_map(ComponentId::new);
    let places: Vec<_> =
        pair.streams().iter().flat_map(|stream| components.clone().map(|component| (*stream, component))).collect();
    let verdict = |(stream, component)| {
        let (l, r) = (side(SideName::L, stream, component), side(SideName::R, stream, component));
        find_paths_by(&pair.network, &l, &r, Learning::ReceivingBase)
    };
    places.into_iter().map(verdict).collect()
}

/// Runs one topology to its end; whether it connects.
fn run(seed: u64, draft: Option<Renomination>) -> bool {
    let mut setup = random_setup(seed);
    (setup.l.renomination, setup.r.renomination) = (draft, draft);
    let mut pair = setup.clone().build();
    let verdicts = oracle(&pair, &setup);
    let connects = verdicts.iter().all(PathVerdict::connects);
    if connects {
        assert!(pair.run_until_selected(secs(40)), "seed {seed} has not connected by {verdicts:?}");
        pair.run_for(secs(5));
        if draft.is_some() {
            // While packets are lost, the selected pair may be left for a while, and the other side learns it later.
            pair.network.set_default_link(Link::with_delay(ms(30)));
            pair.run_for(secs(120));
            assert_eq!(
                (pair.l.agent.state(), pair.r.agent.state()),
                (ConnectionState::Completed, ConnectionState::Completed)
            );
        }
        assert!(pair.agrees(), "seed {seed} ends with two different pairs");
        assert_ne!(pair.l.agent.role(), pair.r.agent.role(), "seed {seed}");
    } else {
        let failed = |pair: &Pair| [&pair.l, &pair.r].iter().all(|peer| peer.agent.state() == ConnectionState::Failed);
        assert!(pair.run_until(secs(400), failed), "seed {seed} has not failed");
        let works = verdicts.iter().any(PathVerdict::connects);
        assert!(works || pair.l.selections() + pair.r.selections() == 0, "seed {seed} has selected a pair");
    }
    connects
}

#[test]
fn random_topologies_connect_exactly_when_there_is_a_path() {
    const SEEDS: u64 = 240;
    let connected = (0..SEEDS).filter(|seed| run(*seed, None)).count();
    println!("{connected} of {SEEDS} random topologies connected, the others failed as foreseen");
    assert!((SEEDS as usize / 4..SEEDS as usize).contains(&connected));
}

/// Req: renom1-3-a
#[test]
fn where_nominations_are_repeated_both_ends_agree_at_rest_in_random_topologies() {
    for seed in 0..120 {
        let draft = if seed % 2 == 0 { Renomination::Draft2016 } else { Renomination::Draft2026 };
        run(1038, None);
        run(1000 + seed, Some(draft));
    }
}
