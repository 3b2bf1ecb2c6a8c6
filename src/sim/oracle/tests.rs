//! What the oracle must know.

use super::*;
use crate::Seed;
use crate::sim::{
    Direction, FilterScope, Filtering, FirewallRule, Link, Mapping, NatConfig, NatId, PacketId, PeerMatch,
    PortAssignment,
};
use alloc::string::ToString;
use core::time::Duration;

use Filtering as F;
use Mapping as M;

const L: &str = "10.0.0.2:5000";
const R: &str = "10.0.1.2:6000";
const STUN: &str = "203.0.113.1:3478";
const MAPPINGS: [Mapping; 3] = [M::EndpointIndependent, M::AddressDependent, M::AddressAndPortDependent];
const FILTERINGS: [Filtering; 3] = [F::EndpointIndependent, F::AddressDependent, F::AddressAndPortDependent];

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A network, and hosts with one base each that signal it and their server-reflexive address.
struct Scene {
    network: Network,
    sides: Vec<Side>,
}

impl Scene {
    fn new() -> Self {
        Self { network: Network::new(Seed::from_name("oracle")), sides: Vec::new() }
    }

    fn nat(&mut self, config: NatConfig) -> NatId {
        self.network.add_nat(config).unwrap()
    }

    fn host(&mut self, base: &str, nat: Option<NatId>) -> HostId {
        let host = self.network.add_host(base);
        let base = address(base);
        match nat {
            Some(nat) => self.network.add_interface_behind(nat, host, base.ip()).unwrap(),
            None => self.network.add_interface(host, base.ip()).unwrap(),
        }
        let reflexive = self.network.outside_address(host, base, address(STUN));
        let candidates: BTreeSet<SocketAddr> = [base].into_iter().chain(reflexive).collect();
        self.sides.push(Side::new(host, [base], candidates));
        host
    }

    fn verdict(&self) -> PathVerdict {
        find_paths(&self.network, &self.sides[0], &self.sides[1])
    }

    fn connects(&self) -> bool {
        let verdict = self.verdict();
        assert!(verdict.converged());
        let strict = find_paths_by(&self.network, &self.sides[0], &self.sides[1], Learning::ReceivingBase);
        assert_eq!(strict.connects(), verdict.connects());
        verdict.connects()
    }
}

/// Two hosts, each behind a NAT of its own.
fn apart(l: NatConfig, r: NatConfig) -> Scene {
    let mut scene = Scene::new();
    let l = scene.nat(NatConfig { public: [ip("192.0.2.1")].into(), ..l });
    let r = scene.nat(NatConfig { public: [ip("192.0.2.2")].into(), ..r });
    scene.host(L, Some(l));
    scene.host(R, Some(r));
    scene
}

/// Every combination of mapping and filtering on both sides.
fn matrix(mut test: impl FnMut(NatConfig, NatConfig)) {
    let shapes: Vec<(Mapping, Filtering)> =
        MAPPINGS.iter().flat_map(|mapping| FILTERINGS.map(|filtering| (*mapping, filtering))).collect();
    for l in &shapes {
        for r in &shapes {
            for filter_scope in [FilterScope::Endpoint, FilterScope::Mapping] {
                for ports in [PortAssignment::Preserving, PortAssignment::Sequential, PortAssignment::Random] {
                    let [l, r] = [l, r].map(|shape| {
                        let config = NatConfig::new(shape.0, shape.1, []);
                        NatConfig { filter_scope, ports, ..config }
                    });
                    test(l, r);
                }
            }
        }
    }
}

/// What follows from the definitions, for NATs with one public address each and a STUN server elsewhere.
///
/// Let `p0` and `q0` be the server-reflexive addresses, and `p1` and `q1` the addresses from which the sides reach each
/// other. With independent mapping `p1` is `p0`.
///
/// - Both independent: each sends to the other's only address, so that every filter is open for it.
/// - One independent (say R, at `q0`): requests of L come from `p1`, which R never sent to. A filter of R that looks at
///   ports drops them for good. Any other lets one in, for R has sent to `p0` at the same IP address; then R sends to `p1`,
///   which is open for `q0`.
/// - Both dependent: the first packet is from `p1` to `q0` (or from `q1` to `p0`). A filter that looks at ports on either
///   side ends it: if it is R's, it drops `p1`, and `p2` after it; if it is L's, it drops the answer, which comes from
///   `q1`. Else R learns `p1`, and L learns `q1` from R's request. If one side has one port for all ports of the other,
///   they meet there. If both have a port for each port, every request creates yet another one.
///   If filter entries belong to mappings, `q0` is open for the STUN server alone unless R filters nothing: one of the
///   two has to be like that for the first packet to pass.
fn expected(l: &NatConfig, r: &NatConfig) -> bool {
    let by_port = |nat: &NatConfig| nat.filtering == F::AddressAndPortDependent;
    let is_open = |nat: &NatConfig| nat.filtering == F::EndpointIndependent;
    match (l.mapping, r.mapping) {
        (M::EndpointIndependent, M::EndpointIndependent) => true,
        (M::EndpointIndependent, _) => !by_port(l),
        (_, M::EndpointIndependent) => !by_port(r),
        (M::AddressAndPortDependent, M::AddressAndPortDependent) => false,
        (M::AddressDependent | M::AddressAndPortDependent, M::AddressDependent | M::AddressAndPortDependent) => {
            let first_passes = l.filter_scope == FilterScope::Endpoint || is_open(l) || is_open(r);
            first_passes && !by_port(l) && !by_port(r)
        }
    }
}

#[test]
fn every_pair_of_nats_connects_exactly_if_the_definitions_say_so() {
    let mut count = 0;
    matrix(|l, r| {
        count += 1;
        let verdict = apart(l.clone(), r.clone()).verdict();
        assert_eq!(verdict.connects(), expected(&l, &r), "{l:?}\n{r:?}\n{verdict:?}");
    });
    assert_eq!(count, 81 * 2 * 3);
}

#[test]
fn the_well_known_pairs_are_as_everybody_knows_them() {
    let shapes = [
        NatConfig::full_cone([]),
        NatConfig::address_restricted([]),
        NatConfig::port_restricted([]),
        NatConfig::symmetric([]),
    ];
    let table = shapes.clone().map(|l| shapes.clone().map(|r| apart(l.clone(), r).verdict().connects()));
    let expected = [[true; 4], [true; 4], [true, true, true, false], [true, true, false, false]];
    assert_eq!(table, expected);
}

#[test]
fn the_oracle_does_not_care_which_side_is_first() {
    matrix(|l, r| {
        let scene = apart(l, r);
        let there = scene.verdict();
        let back = find_paths(&scene.network, &scene.sides[1], &scene.sides[0]);
        assert_eq!((there.connects(), there.converged()), (back.connects(), back.converged()));
        let turn = |path: &Path| Path { l: path.r, r: path.l, l_seen: path.r_seen, r_seen: path.l_seen };
        let turned: Vec<Path> = back.paths().iter().map(turn).collect();
        // Ports depend on who is first if both mappings depend on the other.
        let [l, r] =
            [there.paths(), &turned].map(|paths| paths.iter().map(|path| (path.l, path.r)).collect::<Vec<_>>());
        assert_eq!(l, r);
    });
}

#[test]
fn the_oracle_leaves_the_network_as_it_is_and_repeats_itself() {
    let scene = apart(NatConfig::symmetric([]), NatConfig::full_cone([]));
    let before = alloc::format!("{:?}", scene.network);
    assert_eq!(scene.verdict(), scene.verdict());
    assert_eq!(before, alloc::format!("{:?}", scene.network));
}

#[test]
fn endless_new_ports_end_the_search() {
    let dependent = NatConfig::new(M::AddressAndPortDependent, F::EndpointIndependent, []);
    let verdict = apart(dependent.clone(), dependent).verdict();
    assert!(!verdict.connects() && !verdict.converged());
}

/// Sends real packets, every 50 ms from every base to every known address.
fn play(mut network: Network, sides: &[Side]) -> bool {
    let mut known: Vec<BTreeSet<SocketAddr>> =
        [1, 0].map(|peer: usize| sides[peer].candidates.iter().copied().collect()).into();
    let mut sent: BTreeMap<PacketId, (usize, SocketAddr)> = BTreeMap::new();
    let mut successes = [BTreeSet::new(), BTreeSet::new()];
    for _ in 0..8 {
        for (index, side) in sides.iter().enumerate() {
            for to in &known[index] {
                let id = network.send(side.bases[0].host, side.bases[0].address, *to, b"");
                sent.insert(id, (index, *to));
            }
        }
        let end = crate::types::after(network.now(), Duration::from_millis(50));
        while network.next_delivery().is_some_and(|due| due < end) {
            network.advance_to(network.next_delivery().unwrap());
            while let Some(delivery) = network.pop_delivery() {
                let at = Base::new(delivery.host, delivery.destination);
                let Some(index) = sides.iter().position(|side| side.bases[0] == at) else { continue };
                if delivery.payload.is_empty() {
                    known[index].insert(delivery.source);
                    let answer = delivery.packet_id.get().to_string();
                    network.send(at.host, at.address, delivery.source, answer.as_bytes());
                    continue;
                }
                let answered = core::str::from_utf8(&delivery.payload).unwrap().parse::<u64>().unwrap();
                let (id, request) = sent.iter().find(|(id, _)| id.get() == answered).unwrap();
                if *request == (index, delivery.source) {
                    let seen = network.packet(*id).unwrap().outside_source.unwrap();
                    successes[index].insert((seen, delivery.source));
                }
            }
        }
        network.advance_to(end);
    }
    successes[0].iter().any(|(seen, to)| successes[1].contains(&(*to, *seen)))
}

#[test]
fn the_oracle_agrees_with_packets_on_the_network() {
    matrix(|l, r| {
        let scene = apart(l.clone(), r.clone());
        assert_eq!(play(scene.network.clone(), &scene.sides), scene.verdict().connects(), "{l:?}\n{r:?}");
    });
}

#[test]
fn two_public_hosts_have_the_path_between_their_bases() {
    let mut scene = Scene::new();
    let (l, r) = (scene.host("198.51.100.1:1", None), scene.host("198.51.100.2:2", None));
    let (l_seen, r_seen) = (address("198.51.100.1:1"), address("198.51.100.2:2"));
    let path = Path { l: Base::new(l, l_seen), r: Base::new(r, r_seen), l_seen, r_seen };
    assert_eq!(scene.verdict().paths(), [path]);
}

#[test]
fn a_public_host_connects_to_every_nat_also_without_signalled_candidates() {
    for config in [NatConfig::port_restricted([ip("192.0.2.1")]), NatConfig::symmetric([ip("192.0.2.1")])] {
        let mut scene = Scene::new();
        let nat = scene.nat(config);
        scene.host(L, Some(nat));
        scene.host("198.51.100.2:2", None);
        scene.sides[0].candidates.clear();
        assert!(scene.connects());
        scene.sides[1].candidates.clear();
        assert!(!scene.connects());
    }
}

#[test]
fn hosts_behind_one_nat_meet_inside_or_by_its_hairpin() {
    // Columns: host candidates are signalled, the NAT hairpins, they connect.
    for (signals, hairpin, connects) in
        [(true, false, true), (true, true, true), (false, true, true), (false, false, false)]
    {
        let mut scene = Scene::new();
        let nat = scene.nat(NatConfig { hairpin, ..NatConfig::port_restricted([ip("192.0.2.1")]) });
        scene.host(L, Some(nat));
        scene.host("10.0.0.3:6000", Some(nat));
        if !signals {
            scene
                .sides
                .iter_mut()
                .for_each(|side| side.candidates.retain(|candidate| candidate.ip() == ip("192.0.2.1")));
        }
        assert_eq!(scene.connects(), connects);
        assert_eq!(scene.verdict().paths().len(), usize::from(signals) + usize::from(hairpin));
    }
}

#[test]
fn equal_private_addresses_in_two_realms_do_not_meet() {
    let mut scene = Scene::new();
    let l = scene.nat(NatConfig::symmetric([ip("192.0.2.1")]));
    let r = scene.nat(NatConfig::symmetric([ip("192.0.2.2")]));
    scene.host(L, Some(l));
    scene.host(L, Some(r));
    assert!(!scene.connects());
}

#[test]
fn neighbours_behind_one_carrier_need_its_hairpin() {
    for hairpin in [false, true] {
        let mut scene = Scene::new();
        let carrier = scene.nat(NatConfig { hairpin, ..NatConfig::full_cone([ip("192.0.2.1")]) });
        for (base, outside) in [(L, "100.64.0.1"), (R, "100.64.0.2")] {
            let home = NatConfig::port_restricted([ip(outside)]);
            let home = scene.network.add_nat_behind(carrier, home).unwrap();
            scene.host(base, Some(home));
        }
        assert_eq!(scene.connects(), hairpin);
    }
}

#[test]
fn a_symmetric_carrier_hides_a_friendly_home_router() {
    for (r, connects) in [(NatConfig::address_restricted([]), true), (NatConfig::port_restricted([]), false)] {
        let mut scene = Scene::new();
        let carrier = scene.nat(NatConfig::symmetric([ip("192.0.2.1")]));
        let home = scene.network.add_nat_behind(carrier, NatConfig::full_cone([ip("100.64.0.1")])).unwrap();
        let r = scene.nat(NatConfig { public: [ip("192.0.2.2")].into(), ..r });
        scene.host(L, Some(home));
        scene.host(R, Some(r));
        assert_eq!(scene.connects(), connects);
    }
}

#[test]
fn a_one_to_one_nat_is_as_good_as_none() {
    assert!(apart(NatConfig::one_to_one([]), NatConfig::symmetric([])).connects());
}

#[test]
fn faults_in_one_direction_end_all_paths() {
    let faults: [fn(&mut Network, HostId, HostId); 7] = [
        |network, l, r| network.cut(l, r),
        |network, l, r| network.cut(r, l),
        |network, l, r| network.set_link(l, r, Some(Link::with_loss(1.0))),
        |network, l, _| network.set_host_link(l, Direction::In, Some(Link::with_loss(1.0))).unwrap(),
        |network, l, _| network.set_interface_up(l, ip("198.51.100.1"), false).unwrap(),
        |network, l, _| network.block(l, FirewallRule { direction: Direction::In, peer: PeerMatch::Any }).unwrap(),
        |network, l, _| {
            let peer = PeerMatch::Address(address("198.51.100.2:2"));
            network.block(l, FirewallRule { direction: Direction::Out, peer }).unwrap();
        },
    ];
    for fault in faults {
        let mut scene = Scene::new();
        let (l, r) = (scene.host("198.51.100.1:1", None), scene.host("198.51.100.2:2", None));
        scene.network.set_default_link(Link { loss: 0.99, mtu: Some(1), ..Link::default() });
        assert!(scene.connects());
        fault(&mut scene.network, l, r);
        assert!(!scene.connects());
    }
}

#[test]
fn hosts_of_different_families_do_not_connect_and_dual_stack_hosts_do() {
    let mut scene = Scene::new();
    let l = scene.host("198.51.100.1:1", None);
    scene.host("[2001:db8::2]:2", None);
    assert!(!scene.connects());
    scene.network.add_interface(l, ip("2001:db8::1")).unwrap();
    scene.sides[0].bases.push(Base::new(l, address("[2001:db8::1]:1")));
    assert_eq!(scene.verdict().paths().len(), 1);
}

#[test]
fn every_base_of_a_host_with_two_interfaces_is_tried() {
    let mut scene = apart(NatConfig::symmetric([]), NatConfig::symmetric([]));
    assert!(!scene.connects());
    let host = scene.sides[0].bases[0].host;
    scene.network.add_interface(host, ip("198.51.100.1")).unwrap();
    scene.sides[0].bases.push(Base::new(host, address("198.51.100.1:1")));
    // What it sends alone is dropped by R's filter: R has to know its address and send there, too.
    assert!(!scene.connects());
    scene.sides[0].candidates.push(address("198.51.100.1:1"));
    let verdict = scene.verdict();
    assert_eq!(verdict.paths().len(), 1);
    assert_eq!(verdict.paths()[0].l.address, address("198.51.100.1:1"));
}

#[test]
fn a_candidate_whose_mapping_expired_is_of_no_use() {
    let lifetime = Some(Duration::from_secs(30));
    let full_cone = NatConfig { ports: PortAssignment::Sequential, lifetime, ..NatConfig::full_cone([]) };
    let mut scene = apart(full_cone, NatConfig::symmetric([]));
    scene.sides[1].candidates.clear();
    assert!(scene.connects());
    scene.network.advance_to(Instant::ZERO + Duration::from_secs(30));
    assert!(!scene.connects());
}

#[test]
fn a_relayed_base_hears_only_whom_it_has_sent_to() {
    let mut scene = apart(NatConfig::symmetric([]), NatConfig::symmetric([]));
    let server = scene.network.add_host("turn");
    scene.network.add_interface(server, ip("203.0.113.9")).unwrap();
    let relayed = address("203.0.113.9:49152");
    scene.sides[0].bases.push(Base::relayed(server, relayed));
    scene.sides[0].candidates.push(relayed);
    let verdict = scene.verdict();
    assert_eq!(verdict.paths().iter().map(|path| path.r_seen.ip()).collect::<Vec<_>>(), [ip("192.0.2.2")]);
    // Without R's public address, no permission is ever installed for it.
    scene.sides[1].candidates.retain(|candidate| *candidate == address(R));
    assert!(!scene.connects());
}
