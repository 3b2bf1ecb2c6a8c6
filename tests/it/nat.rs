//! Agents behind NATs: whether they connect is what the oracle says, and how they connect is what RFC 8445 says.

use std::time::Duration;

use nilas::sim::oracle::{Learning, PathVerdict, Side, find_paths_by};
use nilas::sim::{
    FilterScope, Filtering, Link, Mapping, NatConfig, Pair, PairSetup, PortAssignment, SideName, SideSetup, Verdict,
};
use nilas::{
    Candidate, CandidateKind, CandidatePairState, ComponentId, Config, ConnectionState, GatheringState, IceServer,
    PairView, Seed, StateReason,
};

use crate::help::{at, ms, requests, secs, setup};

const SERVER: &str = "192.0.2.53:3478";

pub(crate) const MAPPINGS: [Mapping; 3] =
    [Mapping::EndpointIndependent, Mapping::AddressDependent, Mapping::AddressAndPortDependent];
pub(crate) const FILTERINGS: [Filtering; 3] =
    [Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent];

/// Puts a side behind a NAT with this public address, where it learns a server-reflexive candidate.
fn hide(side: &mut SideSetup, inside: &str, nat: NatConfig) {
    side.addresses = vec![inside.parse().unwrap()];
    side.nats = vec![nat];
    side.reflexive_toward = Some(SERVER.parse().unwrap());
}

/// Lets both sides ask the server themselves for what they would else be told.
fn ask(mut setup: PairSetup) -> PairSetup {
    for side in [&mut setup.l, &mut setup.r] {
        let server = side.reflexive_toward.take();
        side.servers = server.map(IceServer::stun).into_iter().collect();
    }
    setup.servers = vec![SERVER.parse::<std::net::SocketAddr>().unwrap().ip()];
    setup
}

pub(crate) fn public(side: SideName) -> [std::net::IpAddr; 1] {
    [if side == SideName::L { [198, 51, 100, 100] } else { [203, 0, 113, 100] }.into()]
}

/// What the oracle says of two sides as they are: of their sockets, and of the candidates that they have signalled.
fn oracle(pair: &Pair) -> PathVerdict {
    let side = |name: SideName| {
        let peer = pair.peer(name);
        let candidates = pair.streams().iter().flat_map(|stream| peer.agent.local_candidates(*stream));
        let signalled = candidates.filter(|local| local.candidate.kind() != CandidateKind::PeerReflexive);
        let candidates: Vec<_> = signalled.filter_map(|local| local.candidate.socket_address()).collect();
        Side::new(peer.host(), peer.sockets().iter().copied(), candidates)
    };
    find_paths_by(&pair.network, &side(SideName::L), &side(SideName::R), Learning::ReceivingBase)
}

/// The same, once both sides have gathered.
fn foresee(pair: &Pair, name: &str) -> PathVerdict {
    let mut gathered = pair.clone();
    let is_done =
        |pair: &Pair| [&pair.l, &pair.r].iter().all(|peer| peer.agent.gathering_state() == GatheringState::Complete);
    assert!(gathered.run_until(secs(12), is_done), "{name} has not gathered");
    oracle(&gathered)
}

/// Runs to the end, and asserts that it is the one that the oracle foresaw; gives the time it took to connect.
fn run_as_foreseen(mut pair: Pair, name: &str) -> Option<Duration> {
    let verdict = foresee(&pair, name);
    if verdict.connects() {
        assert!(pair.run_until_selected(secs(30)), "{name} has not connected by {:?}", verdict.paths());
        let time = pair.elapsed();
        pair.run_for(ms(500));
        assert!(pair.agrees(), "{name} ends with two different pairs");
        let used = (selected(&pair, SideName::L).base, selected(&pair, SideName::R).base);
        let is_foreseen = verdict.paths().iter().any(|path| (path.l.address, path.r.address) == used);
        assert!(is_foreseen, "{name} uses {used:?}, which is none of {:?}", verdict.paths());
        return Some(time);
    }
    let have_failed = |pair: &Pair| [&pair.l, &pair.r].iter().all(|peer| peer.agent.state() == ConnectionState::Failed);
    assert!(pair.run_until(secs(300), have_failed), "{name} has not failed");
    assert_eq!((pair.l.selections(), pair.r.selections()), (0, 0), "{name} has selected a pair");
    for peer in [&pair.l, &pair.r] {
        assert!(peer.reached(ConnectionState::Failed) >= Some(at(39_500)), "{name} has lost patience");
        assert_eq!(peer.agent.stream_state(pair.stream()).unwrap().1, StateReason::ChecksFailed, "{name}");
    }
    None
}

fn selected(pair: &Pair, side: SideName) -> PairView<'_> {
    pair.peer(side).agent.selected_pair(pair.stream(), ComponentId::RTP).unwrap()
}

fn kinds(pair: &Pair, side: SideName) -> (CandidateKind, CandidateKind) {
    let selected = selected(pair, side);
    (selected.local.kind(), selected.remote.kind())
}

/// The details that a seed varies: those that must not matter, and those that the oracle knows of.
pub(crate) fn vary(seed: u64, mapping: Mapping, filtering: Filtering, side: SideName) -> NatConfig {
    let mut nat = NatConfig::new(mapping, filtering, public(side));
    let bits = if side == SideName::L { seed } else { seed >> 2 };
    if bits & 1 != 0 {
        nat.ports = PortAssignment::Random;
    }
    if bits & 2 != 0 {
        nat.filter_scope = FilterScope::Mapping;
    }
    nat
}

/// All NATs of one mapping on the left, and all on the right.
fn matrix(name: &str, mapping_l: Mapping) {
    const SEEDS: u64 = 20;
    let (mut times, mut cells, mut failures) = (Vec::new(), Vec::new(), 0);
    for filtering_l in FILTERINGS {
        for mapping_r in MAPPINGS {
            for filtering_r in FILTERINGS {
                let mut connected = 0;
                for seed in 0..SEEDS {
                    let cell = format!("{mapping_l:?}/{filtering_l:?} x {mapping_r:?}/{filtering_r:?}, seed {seed}");
                    let mut setup = PairSetup::new(Seed::from_number(seed));
                    setup.link = Link { jitter: ms(20), ..Link::with_delay(ms(5 + 3 * seed)) };
                    hide(&mut setup.l, "10.0.0.2", vary(seed, mapping_l, filtering_l, SideName::L));
                    // Every fourth time both sides have the same private address.
                    let inside_r = if seed % 4 == 3 { "10.0.0.2" } else { "10.0.1.2" };
                    hide(&mut setup.r, inside_r, vary(seed, mapping_r, filtering_r, SideName::R));
                    setup.r.candidate_delay = ms(seed % 5 * 40);
                    match run_as_foreseen(ask(setup).build(), &cell) {
                        Some(time) => {
                            times.push(time);
                            connected += 1;
                        }
                        None => failures += 1,
                    }
                }
                cells.push(connected);
            }
        }
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    println!("{name}: {} connected, {failures} failed as foreseen; by cell {cells:?}", times.len());
    println!("{name}: median {:?}, 90% {:?}, 99% {:?}, worst {:?}", at(50), at(90), at(99), at(100));
}

/// Req: 8445-7.2.5.3.3-a
#[test]
fn behind_endpoint_independent_mapping_agents_connect_exactly_when_there_is_a_path() {
    matrix("EIM x all", Mapping::EndpointIndependent);
}

#[test]
fn behind_address_dependent_mapping_agents_connect_exactly_when_there_is_a_path() {
    matrix("ADM x all", Mapping::AddressDependent);
}

#[test]
fn behind_symmetric_mapping_agents_connect_exactly_when_there_is_a_path() {
    matrix("APDM x all", Mapping::AddressAndPortDependent);
}

/// The nine kinds of NAT.
fn kind_of_nat(number: usize) -> (Mapping, Filtering) {
    (MAPPINGS[number / 3], FILTERINGS[number % 3])
}

/// All combinations once more, with whatever `change` does to the set-up; gives how many connected and how many not.
fn all_combinations(name: &str, change: impl Fn(&mut PairSetup, NatConfig, NatConfig)) -> (usize, usize) {
    let (mut connected, mut failed) = (0, 0);
    for cell in 0..81 {
        let ((mapping_l, filtering_l), (mapping_r, filtering_r)) = (kind_of_nat(cell / 9), kind_of_nat(cell % 9));
        let seed = cell as u64;
        let mut setup = PairSetup::new(Seed::from_number(seed));
        let nat_l = vary(seed, mapping_l, filtering_l, SideName::L);
        change(&mut setup, nat_l, vary(seed, mapping_r, filtering_r, SideName::R));
        let text = format!("{name}: {mapping_l:?}/{filtering_l:?}, {mapping_r:?}/{filtering_r:?}");
        match run_as_foreseen(ask(setup).build(), &text) {
            Some(_) => connected += 1,
            None => failed += 1,
        }
    }
    println!("{name}: {connected} of 81 connected, {failed} failed as foreseen");
    (connected, failed)
}

#[test]
fn behind_a_home_nat_and_a_carrier_grade_nat_agents_connect_exactly_when_there_is_a_path() {
    // The carrier's and the home's NAT of the left side; the right one is behind the most common home router.
    let chained = |setup: &mut PairSetup, outer: NatConfig, inner: NatConfig| {
        hide(&mut setup.l, "10.0.0.2", outer);
        setup.l.nats.push(NatConfig { public: vec!["100.64.0.7".parse().unwrap()], ..inner });
        hide(&mut setup.r, "10.0.1.2", NatConfig::port_restricted(public(SideName::R)));
    };
    let (connected, failed) = all_combinations("chained", chained);
    assert!(connected > 0 && failed > 0);
}

/// Req: 8445-7.2.5.3.1-a
#[test]
fn without_server_reflexive_candidates_one_public_side_is_enough_and_needed() {
    let one_public = |setup: &mut PairSetup, nat: NatConfig, _| {
        hide(&mut setup.l, "10.0.0.2", nat);
        setup.l.reflexive_toward = None;
    };
    assert_eq!(all_combinations("one public side", one_public), (81, 0));
    let none_public = |setup: &mut PairSetup, nat_l: NatConfig, nat_r: NatConfig| {
        hide(&mut setup.l, "10.0.0.2", nat_l);
        hide(&mut setup.r, "10.0.1.2", nat_r);
        (setup.l.reflexive_toward, setup.r.reflexive_toward) = (None, None);
    };
    assert_eq!(all_combinations("no public side", none_public), (0, 81));
}

#[test]
fn one_server_reflexive_candidate_helps_as_far_as_the_oracle_says() {
    let only_left = |setup: &mut PairSetup, nat_l: NatConfig, nat_r: NatConfig| {
        hide(&mut setup.l, "10.0.0.2", nat_l);
        hide(&mut setup.r, "10.0.1.2", nat_r);
        setup.r.reflexive_toward = None;
    };
    let (connected, failed) = all_combinations("one reflexive candidate", only_left);
    assert!(connected > 0 && failed > 0);
}

/// S011
#[test]
fn next_to_nats_for_ipv4_a_common_ipv6_network_always_connects_and_a_lone_ipv6_side_changes_nothing() {
    for (cell, has_v6) in (0..81).flat_map(|cell| [(cell, [true, true]), (cell, [true, false])]) {
        let (of_l, of_r) = (kind_of_nat(cell / 9), kind_of_nat(cell % 9));
        let mut setup = PairSetup::new(Seed::from_number(cell as u64));
        hide(&mut setup.l, "10.0.0.2", NatConfig::new(of_l.0, of_l.1, public(SideName::L)));
        hide(&mut setup.r, "10.0.1.2", NatConfig::new(of_r.0, of_r.1, public(SideName::R)));
        (setup.l.start, setup.r.start) = (ms(10), ms(10));
        let mut pair = setup.build();
        let (now, stream) = (pair.now(), pair.stream());
        for (side, v6) in [(SideName::L, "2001:db8:1::2"), (SideName::R, "2001:db8:2::2")] {
            if has_v6[usize::from(side == SideName::R)] {
                pair.network.add_interface(pair.host(side), v6.parse().unwrap()).unwrap();
                let peer = if side == SideName::L { &mut pair.l } else { &mut pair.r };
                let address = std::net::SocketAddr::new(v6.parse().unwrap(), 5000);
                peer.add_socket(now, stream, ComponentId::RTP, address).unwrap();
                pair.drain(side);
            }
        }
        pair.run_to(at(10));
        let name = format!("{of_l:?} x {of_r:?}, IPv6 {has_v6:?}");
        let mut v4_alone = PairSetup::new(Seed::from_number(cell as u64));
        hide(&mut v4_alone.l, "10.0.0.2", NatConfig::new(of_l.0, of_l.1, public(SideName::L)));
        hide(&mut v4_alone.r, "10.0.1.2", NatConfig::new(of_r.0, of_r.1, public(SideName::R)));
        let works_without = oracle(&v4_alone.build()).connects();
        let works = run_as_foreseen(pair, &name).is_some();
        assert_eq!(works, works_without || has_v6 == [true, true], "{name}");
    }
}

/// S039
/// Req: 8445-7.2.5.3.3-a
/// Req: 8445-7.3.1.3-a
#[test]
fn a_port_restricted_nat_and_a_public_side_meet_on_a_peer_reflexive_pair() {
    let setup = setup("S039").left(|l| {
        hide(l, "10.0.0.2", NatConfig::port_restricted(public(SideName::L)));
        l.reflexive_toward = None;
    });
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(2)));
    pair.run_for(secs(2));
    assert!(pair.agrees());
    assert_eq!(kinds(&pair, SideName::L), (CandidateKind::PeerReflexive, CandidateKind::Host));
    assert_eq!(kinds(&pair, SideName::R), (CandidateKind::Host, CandidateKind::PeerReflexive));
    // On the left the pair that was checked and the one that is valid are two, and both have succeeded.
    let of_l: Vec<_> = pair.l.agent.pairs().map(|pair| (pair.local.kind(), pair.state, pair.is_valid)).collect();
    assert_eq!(
        of_l,
        [
            (CandidateKind::Host, CandidatePairState::Succeeded, false),
            (CandidateKind::PeerReflexive, CandidatePairState::Succeeded, true)
        ]
    );
    assert_eq!(selected(&pair, SideName::L).priority, selected(&pair, SideName::R).priority);
    // Whatever one side has sent along the pair, the other has received, and answered.
    let checked = pair.l.agent.pairs().find(|pair| pair.local.kind() == CandidateKind::Host).unwrap().stats;
    let reversed = selected(&pair, SideName::R).stats;
    assert_eq!((checked.requests_sent, checked.retransmissions_sent), (reversed.requests_received, 0));
    assert_eq!(checked.responses_received, reversed.responses_sent);
    assert_eq!(checked.requests_received, reversed.requests_sent);
    assert_eq!(checked.responses_sent, reversed.responses_received);
}

/// S040
/// Req: 8445-6.1.2.4-a
/// Req: 8445-6.1.4.2-h
#[test]
fn cones_on_both_sides_meet_on_a_direct_pair_of_server_reflexive_candidates() {
    for make in [NatConfig::full_cone, NatConfig::address_restricted, NatConfig::port_restricted] {
        let mut setup = setup("S040");
        hide(&mut setup.l, "10.0.0.2", make(public(SideName::L)));
        hide(&mut setup.r, "10.0.1.2", make(public(SideName::R)));
        let mut pair = setup.build();
        assert!(pair.run_until_selected(secs(2)));
        pair.run_for(secs(2));
        assert!(pair.agrees());
        for side in [SideName::L, SideName::R] {
            assert_eq!(kinds(&pair, side), (CandidateKind::ServerReflexive, CandidateKind::ServerReflexive));
            let checked = selected(&pair, side);
            let peer = pair.peer(side);
            assert!(peer.sent.iter().all(|sent| peer.sockets() == [sent.source]), "a check left from no base");
            assert_eq!(checked.base, peer.sockets()[0]);
            // Two remote addresses, one base: two pairs are checked, and the third is the valid one.
            assert_eq!(peer.agent.pairs().filter(|pair| pair.local.kind() == CandidateKind::Host).count(), 2);
            assert_eq!(peer.agent.pairs().count(), 3);
        }
        assert_eq!(selected(&pair, SideName::L).priority, selected(&pair, SideName::R).priority);
    }
}

fn behind_one_nat(name: &str, nat: NatConfig) -> PairSetup {
    let mut setup = setup(name);
    setup.shared_nats = vec![nat];
    for (side, inside) in [(&mut setup.l, "10.0.0.2"), (&mut setup.r, "10.0.0.3")] {
        side.addresses = vec![inside.parse().unwrap()];
        side.reflexive_toward = Some(SERVER.parse().unwrap());
    }
    setup
}

/// S044
#[test]
fn behind_the_same_nat_without_hairpinning_the_hosts_meet() {
    let mut pair = behind_one_nat("S044", NatConfig::port_restricted(public(SideName::L))).build();
    assert!(pair.run_until_selected(secs(1)));
    pair.run_for(secs(1));
    assert!(pair.agrees());
    for side in [SideName::L, SideName::R] {
        assert_eq!(kinds(&pair, side), (CandidateKind::Host, CandidateKind::Host));
    }
    assert!(pair.network.dropped(nilas::sim::DropReason::NatNoHairpin) <= 4);
}

/// S045
#[test]
fn behind_the_same_nat_with_hairpinning_isolated_hosts_meet_on_their_outside_addresses() {
    let isolate = |pair: &mut Pair| {
        pair.network.set_hook(|packet| match packet.destination.ip() {
            std::net::IpAddr::V4(ip) if ip.is_private() => Verdict::Drop,
            _ => Verdict::Pass,
        });
    };
    let nat = |hairpin| NatConfig { hairpin, ..NatConfig::port_restricted(public(SideName::L)) };
    let mut pair = behind_one_nat("S045", nat(true)).build();
    isolate(&mut pair);
    assert!(pair.run_until_selected(secs(2)));
    pair.run_for(secs(1));
    assert!(pair.agrees());
    for side in [SideName::L, SideName::R] {
        assert_eq!(kinds(&pair, side), (CandidateKind::ServerReflexive, CandidateKind::ServerReflexive));
    }
    let mut pair = behind_one_nat("S045", nat(false)).build();
    isolate(&mut pair);
    assert!(!pair.run_until_selected(secs(60)));
    assert_eq!((pair.l.agent.state(), pair.r.agent.state()), (ConnectionState::Failed, ConnectionState::Failed));
}

/// S046
/// Req: 8445-5.1.1.3-a
#[test]
fn a_one_to_one_nat_connects_with_a_symmetric_one_as_server_reflexive_or_rewritten() {
    for is_rewritten in [false, true] {
        let mut setup = setup("S046");
        let ips: Vec<std::net::IpAddr> = vec!["198.51.100.10".parse().unwrap(), "198.51.100.11".parse().unwrap()];
        hide(&mut setup.l, "10.0.0.2", NatConfig::one_to_one(ips));
        setup.l.addresses.push("10.0.0.3".parse().unwrap());
        setup.l.components = 2;
        setup.r.components = 2;
        hide(&mut setup.r, "10.0.1.2", NatConfig::symmetric(public(SideName::R)));
        if is_rewritten {
            // The peer is told of host candidates at the public addresses.
            setup.l.signals_candidates = false;
            let host = |ip: &str, component: u16| {
                let priority = nilas::Priority::compute(126, 65535, ComponentId::new(component).unwrap());
                let address = format!("{ip}:{}", 4999 + component).parse().unwrap();
                let foundation = "1".parse().unwrap();
                let component = ComponentId::new(component).unwrap();
                Candidate::new(CandidateKind::Host, component, foundation, priority, address)
            };
            setup.l.extra_candidates = vec![host("198.51.100.10", 1), host("198.51.100.10", 2)];
        }
        let mut pair = setup.build();
        assert!(pair.run_until_selected(secs(5)), "rewritten: {is_rewritten}");
        pair.run_for(secs(1));
        assert!(pair.agrees());
        let of_r = kinds(&pair, SideName::R);
        let wanted = if is_rewritten { CandidateKind::Host } else { CandidateKind::ServerReflexive };
        assert_eq!(of_r, (CandidateKind::PeerReflexive, wanted));
        // Both components of one address share a foundation, the two addresses and the two types do not.
        let stream = pair.stream();
        let signalled = pair.l.agent.local_candidates(stream).map(|local| local.candidate.clone());
        let keyed: Vec<_> = signalled
            .filter(|candidate| candidate.kind() != CandidateKind::PeerReflexive)
            .map(|candidate| (candidate.foundation(), candidate.kind(), candidate.socket_address().unwrap().ip()))
            .collect();
        assert_eq!(keyed.len(), 8);
        for a in &keyed {
            for b in &keyed {
                assert_eq!(a.0 == b.0, (a.1, a.2) == (b.1, b.2), "{a:?} and {b:?}");
            }
        }
    }
}

/// S050
#[test]
fn filters_open_within_two_rounds_of_checks() {
    for late in [0, 130, 400] {
        let mut setup = setup("S050");
        hide(&mut setup.l, "10.0.0.2", NatConfig::port_restricted(public(SideName::L)));
        hide(&mut setup.r, "10.0.1.2", NatConfig::port_restricted(public(SideName::R)));
        setup.l.candidate_delay = ms(late);
        let mut pair = setup.build();
        assert!(pair.run_until(secs(5), |pair| pair.r.agent.state().is_connected()));
        // The second pair is checked Ta after the first; what the first check of one side meets the other has opened.
        let opened = requests(&pair.r.sent)[1].0;
        assert_eq!(pair.since_start(opened), ms(late + 50));
        assert!(pair.elapsed() <= ms(late + 50) + ms(2 * 50 + 2 * 50), "late {late}: {:?}", pair.elapsed());
        assert!(pair.run_until_selected(secs(1)));
        assert!(pair.agrees());
    }
}

/// Req: 8445-8.1.1-a
#[test]
fn a_nomination_is_sent_although_an_older_check_is_answered_in_between() {
    // Both trigger each other, and the round trip is longer than Ta: three checks of one pair are on their way when the
    // first is answered, and the answers to the others come before Ta lets the nomination leave.
    for seed in 0..200 {
        let mut setup = PairSetup::new(Seed::from_number(seed));
        setup.link = Link { jitter: ms(20), ..Link::with_delay(ms(53)) };
        hide(&mut setup.l, "10.0.0.2", NatConfig::full_cone(public(SideName::L)));
        hide(&mut setup.r, "10.0.1.2", NatConfig::full_cone(public(SideName::R)));
        setup.r.candidate_delay = ms(40);
        let mut pair = setup.build();
        assert!(pair.run_until_selected(secs(3)), "seed {seed}");
    }
}

/// Req: 8445-5.3-b
#[test]
fn checks_arrive_on_every_candidate_that_was_signalled() {
    let config = Config::default().with_pac_timer(Some(Duration::ZERO));
    let mut setup = setup("all candidates").config(config);
    hide(&mut setup.l, "10.0.0.2", NatConfig::full_cone(public(SideName::L)));
    // The left side hears of the right one a second late.
    setup.r.description_delay = secs(1);
    setup.r.signals_candidates = false;
    let mut pair = setup.build();
    pair.run_for(ms(900));
    let answered: Vec<_> = pair.r.agent.pairs().map(|pair| (pair.remote.kind(), pair.state)).collect();
    assert_eq!(
        answered,
        [
            (CandidateKind::Host, CandidatePairState::InProgress),
            (CandidateKind::ServerReflexive, CandidatePairState::Succeeded)
        ]
    );
    assert!(pair.run_until_selected(secs(2)));
    assert!(pair.agrees());
}

/// Puts a side behind one of the six shapes, all of which but the first hide its address.
pub(crate) fn shape(side: &mut SideSetup, inside: &str, public: [std::net::IpAddr; 1], shape: usize) {
    let nat = match shape {
        0 => return,
        1 => NatConfig::full_cone(public),
        2 => NatConfig::address_restricted(public),
        3 => NatConfig::port_restricted(public),
        4 => NatConfig::symmetric(public),
        // A NAT without an address lets no UDP through.
        _ => NatConfig::full_cone([]),
    };
    hide(side, inside, nat);
}

/// Scenario: S043
#[test]
fn each_of_the_six_by_six_shapes_connects_directly_or_fails_as_the_table_says() {
    const SHAPES: [&str; 6] = ["none", "full cone", "address-restricted", "port-restricted", "symmetric", "blocked"];
    // A row for the shape of the left side, a column for that of the right one, in that order; `d` is direct.
    const EXPECTED: [&str; 6] = ["ddddd-", "ddddd-", "ddddd-", "dddd--", "ddd---", "------"];
    for (of_l, row) in EXPECTED.iter().enumerate() {
        for (of_r, cell) in row.chars().enumerate() {
            let name = format!("{} x {}", SHAPES[of_l], SHAPES[of_r]);
            let mut setup = setup(&name);
            shape(&mut setup.l, "10.0.0.2", public(SideName::L), of_l);
            shape(&mut setup.r, "10.0.1.2", public(SideName::R), of_r);
            let time = run_as_foreseen(ask(setup).build(), &name);
            assert_eq!(time.is_some(), cell == 'd', "{name}");
            assert!(time.is_none_or(|time| time < secs(2)), "{name} took {time:?}");
        }
    }
}
