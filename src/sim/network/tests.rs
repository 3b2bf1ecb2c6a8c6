//! Packets from host to host.

use super::*;
use crate::sim::{BurstLoss, PeerMatch};
use crate::types::after;
use alloc::string::String;
use alloc::vec;

const L: &str = "10.0.0.2:5000";
const R: &str = "198.51.100.7:6000";
const PUBLIC: &str = "192.0.2.1";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// L at `10.0.0.2` behind a NAT at `192.0.2.1`, and R at `198.51.100.7`.
fn behind(config: NatConfig) -> (Network, HostId, HostId, NatId) {
    let mut network = Network::new(Seed::from_name("network"));
    let (l, r) = (network.add_host("L"), network.add_host("R"));
    let nat = network.add_nat(config).unwrap();
    network.add_interface_behind(nat, l, ip("10.0.0.2")).unwrap();
    network.add_interface(r, ip("198.51.100.7")).unwrap();
    (network, l, r, nat)
}

const A: &str = "198.51.100.1:1";
const B: &str = "198.51.100.2:2";

/// Two public hosts, A and B.
fn two() -> (Network, HostId, HostId) {
    let mut network = Network::new(Seed::from_name("network"));
    let (a, b) = (network.add_host("A"), network.add_host("B"));
    network.add_interface(a, ip("198.51.100.1")).unwrap();
    network.add_interface(b, ip("198.51.100.2")).unwrap();
    (network, a, b)
}

/// Runs until nothing is in flight.
fn drain(network: &mut Network) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    while let Some(due) = network.next_delivery() {
        network.advance_to(due);
        deliveries.extend(core::iter::from_fn(|| network.pop_delivery()));
    }
    deliveries
}

/// What becomes of a packet.
fn fate(network: &mut Network, from: HostId, source: &str, destination: &str) -> PacketFate {
    let id = network.send(from, address(source), address(destination), b"x");
    drop(drain(network));
    network.fate(id).unwrap()
}

/// Why a packet does not arrive; `None` if it does.
fn why(network: &mut Network, from: HostId, source: &str, destination: &str) -> Option<DropReason> {
    match fate(network, from, source, destination) {
        PacketFate::Delivered { .. } => None,
        PacketFate::Dropped { reason, .. } => Some(reason),
        PacketFate::InFlight { .. } => panic!("still in flight"),
    }
}

/// Where a packet arrives, and from where.
fn arrival(network: &mut Network, from: HostId, source: &str, destination: &str) -> (HostId, SocketAddr, SocketAddr) {
    match fate(network, from, source, destination) {
        PacketFate::Delivered { host, source, destination, .. } => (host, source, destination),
        PacketFate::InFlight { .. } | PacketFate::Dropped { .. } => panic!("the packet is not delivered"),
    }
}

#[test]
fn a_packet_arrives_after_its_delay_with_what_was_sent() {
    let (mut network, a, b) = two();
    let packet_id = network.send(a, address(A), address(B), b"hello");
    let due = Instant::ZERO + Network::DEFAULT_DELAY;
    assert_eq!(network.fate(packet_id), Some(PacketFate::InFlight { due }));
    assert_eq!(network.next_delivery(), Some(due));
    assert_eq!(network.in_flight().collect::<Vec<_>>(), [(packet_id, due, b"hello".as_slice())]);
    network.advance_to(Instant::from_nanos(due.as_nanos() - 1));
    assert_eq!(network.pop_delivery(), None);
    network.advance_to(due);
    let (source, destination) = (address(A), address(B));
    let delivery = Delivery { packet_id, host: b, source, destination, payload: b"hello".to_vec(), at: due };
    assert_eq!(network.pop_delivery(), Some(delivery));
    assert_eq!((network.pop_delivery(), network.next_delivery()), (None, None));
    assert_eq!(network.fate(packet_id), Some(PacketFate::Delivered { host: b, source, destination, at: due }));
    assert_eq!((network.sent(), network.delivered(), network.drops().count()), (1, 1, 0));
}

#[test]
fn packets_due_together_arrive_in_the_order_of_sending() {
    let (mut network, a, b) = two();
    let ids: Vec<_> = (0..20).map(|_| network.send(a, address(A), address(B), b"x")).collect();
    let far = Instant::ZERO + ms(1_000);
    network.advance_to(far);
    let arrived: Vec<_> = core::iter::from_fn(|| network.pop_delivery()).collect();
    assert_eq!(arrived.iter().map(|delivery| delivery.packet_id).collect::<Vec<_>>(), ids);
    assert!(arrived.iter().all(|delivery| delivery.at == Instant::ZERO + ms(10) && delivery.host == b));
}

#[test]
fn the_clock_runs_at_both_ends_of_time() {
    for (start, due) in [(i64::MIN, i64::MIN + 10_000_000), (i64::MAX - 1, i64::MAX), (i64::MAX, i64::MAX)] {
        let (network, l, _, _) = behind(NatConfig::port_restricted([ip(PUBLIC)]));
        let mut network = network.starting_at(Instant::from_nanos(start));
        network.send(l, address(L), address(R), b"x");
        assert_eq!(network.next_delivery(), Some(Instant::from_nanos(due)));
        assert_eq!(drain(&mut network).len(), 1);
    }
}

#[test]
fn the_clock_does_not_go_back() {
    let (mut network, ..) = two();
    network.advance_to(Instant::ZERO + ms(5));
    network.advance_to(Instant::ZERO + ms(3));
    assert_eq!(network.now(), Instant::ZERO + ms(5));
}

#[test]
fn a_packet_from_a_wrong_source_is_dropped_and_counted() {
    let (mut network, a, _) = two();
    assert_eq!(why(&mut network, a, B, A), Some(DropReason::NotLocal));
    assert_eq!(why(&mut network, HostId(9), A, B), Some(DropReason::NotLocal));
    assert_eq!(why(&mut network, a, A, "[2001:db8::1]:1"), Some(DropReason::FamilyMismatch));
    assert_eq!(why(&mut network, a, A, "203.0.113.1:1"), Some(DropReason::NoRoute));
    assert_eq!(network.drops().map(|(_, count)| count).sum::<u64>(), 4);
    assert_eq!(network.dropped(DropReason::NotLocal), 2);
}

#[test]
fn an_interface_that_is_down_neither_sends_nor_receives() {
    let (mut network, a, b) = two();
    network.send(b, address(B), address(A), b"in flight");
    network.set_interface_up(a, ip("198.51.100.1"), false).unwrap();
    assert_eq!(network.addresses(a).count(), 0);
    assert_eq!(why(&mut network, a, A, B), Some(DropReason::InterfaceDown));
    assert_eq!(why(&mut network, b, B, A), Some(DropReason::InterfaceDown));
    assert_eq!(network.delivered(), 0);
    network.set_interface_up(a, ip("198.51.100.1"), true).unwrap();
    assert_eq!(why(&mut network, a, A, B), None);
    assert_eq!(why(&mut network, b, B, A), None);
}

#[test]
fn a_removed_interface_is_gone_and_its_address_free() {
    let (mut network, a, b) = two();
    network.remove_interface(a, ip("198.51.100.1")).unwrap();
    assert_eq!(why(&mut network, a, A, B), Some(DropReason::NotLocal));
    assert_eq!(why(&mut network, b, B, A), Some(DropReason::NoRoute));
    network.add_interface(a, ip("198.51.100.1")).unwrap();
    assert_eq!(why(&mut network, b, B, A), None);
}

#[test]
fn a_topology_that_contradicts_itself_is_an_error_and_changes_nothing() {
    let (mut network, l, r, nat) = behind(NatConfig::full_cone([ip(PUBLIC)]));
    let in_use = |address| Err(TopologyError::AddressInUse(ip(address)));
    assert_eq!(network.add_interface(l, ip("198.51.100.7")), in_use("198.51.100.7"));
    assert_eq!(network.add_interface(l, ip(PUBLIC)), in_use(PUBLIC));
    assert_eq!(network.add_interface(l, ip("10.0.0.2")), in_use("10.0.0.2"));
    let overlapping = NatConfig::full_cone([ip("192.0.2.9"), ip(PUBLIC)]);
    assert_eq!(network.add_nat(overlapping), Err(TopologyError::AddressInUse(ip(PUBLIC))));
    assert_eq!(network.add_interface(r, ip("192.0.2.9")), Ok(()));
    assert_eq!(network.rebind_to(nat, [ip("192.0.2.5"), ip("192.0.2.9")]), in_use("192.0.2.9"));
    assert_eq!(arrival(&mut network, l, L, R).1, address("192.0.2.1:5000"));
    assert_eq!(network.add_interface(HostId(9), ip("192.0.2.8")), Err(TopologyError::UnknownHost(HostId(9))));
    assert_eq!(network.add_interface(l, ip("192.0.2.8")), Ok(()));
    assert_eq!(network.rebind(NatId(9)), Err(TopologyError::UnknownNat(NatId(9))));
    let unknown = Err(TopologyError::UnknownInterface(ip(PUBLIC)));
    assert_eq!(network.set_interface_up(l, ip(PUBLIC), false), unknown);
    let one = network.add_nat(NatConfig::one_to_one([ip("192.0.2.20")])).unwrap();
    assert_eq!(network.add_interface_behind(one, l, ip("10.9.0.1")), Ok(()));
    let full = Err(TopologyError::NoPublicAddress(ip("10.9.0.2")));
    assert_eq!(network.add_interface_behind(one, l, ip("10.9.0.2")), full);
}

#[test]
fn a_firewall_blocks_by_direction_and_peer() {
    let any = PeerMatch::Any;
    let this_ip = PeerMatch::Ip(ip("198.51.100.2"));
    let other_port = PeerMatch::Address(address("198.51.100.2:3"));
    for (direction, peer, out, in_) in [
        (Direction::Out, any, Some(DropReason::FirewallOut), None),
        (Direction::In, any, None, Some(DropReason::FirewallIn)),
        (Direction::Out, this_ip, Some(DropReason::FirewallOut), None),
        (Direction::In, this_ip, None, Some(DropReason::FirewallIn)),
        (Direction::In, PeerMatch::Address(address(B)), None, Some(DropReason::FirewallIn)),
        (Direction::In, other_port, None, None),
    ] {
        let (mut network, a, b) = two();
        network.block(a, FirewallRule { direction, peer }).unwrap();
        assert_eq!((why(&mut network, a, A, B), why(&mut network, b, B, A)), (out, in_), "{direction:?} {peer:?}");
        network.unblock(a).unwrap();
        assert_eq!((why(&mut network, a, A, B), why(&mut network, b, B, A)), (None, None));
    }
}

#[test]
fn a_cut_works_one_way_or_both_ways_and_on_packets_in_flight() {
    let (mut network, a, b) = two();
    let in_flight = network.send(a, address(A), address(B), b"x");
    network.cut(a, b);
    assert_eq!(why(&mut network, a, A, B), Some(DropReason::Cut));
    assert!(matches!(network.fate(in_flight), Some(PacketFate::Dropped { reason: DropReason::Cut, .. })));
    assert_eq!(why(&mut network, b, B, A), None);
    network.cut_both(a, b);
    assert_eq!(why(&mut network, b, B, A), Some(DropReason::Cut));
    network.mend(a, b);
    assert_eq!((why(&mut network, a, A, B), why(&mut network, b, B, A)), (None, Some(DropReason::Cut)));
    network.mend_both(a, b);
    assert_eq!((why(&mut network, a, A, B), why(&mut network, b, B, A)), (None, None));
}

#[test]
fn a_script_loses_exactly_the_packets_that_it_names() {
    let (mut network, a, b) = two();
    network.send(a, address(A), address(B), b"before");
    network.lose_nth(a, b, 1);
    network.lose_nth(a, b, 3);
    let lost: Vec<_> = (0..6).map(|_| why(&mut network, a, A, B).is_some()).collect();
    assert_eq!(lost, [false, true, false, true, false, false]);
    assert_eq!(network.dropped(DropReason::Script), 2);
}

#[test]
fn a_hook_sees_translated_packets_and_decides_about_them() {
    let (mut network, l, r, _) = behind(NatConfig::full_cone([ip(PUBLIC)]));
    network.set_hook(move |passing| {
        assert_eq!((passing.from, passing.to), (l, Some(r)));
        assert_eq!((passing.source, passing.destination), (address("192.0.2.1:5000"), address(R)));
        match passing.payload {
            b"drop" => Verdict::Drop,
            b"delay" => Verdict::Delay(ms(7)),
            b"twice" => Verdict::Duplicate(ms(3)),
            b"replace" => Verdict::Replace(b"other".to_vec()),
            _ => Verdict::Pass,
        }
    });
    for payload in ["pass", "drop", "delay", "twice", "replace"] {
        network.send(l, address(L), address(R), payload.as_bytes());
    }
    let arrived: Vec<_> = drain(&mut network)
        .into_iter()
        .map(|delivery| {
            let after = delivery.at.duration_since(Instant::ZERO).as_millis();
            (after, String::from_utf8(delivery.payload).unwrap())
        })
        .collect();
    let expected = [(10, "pass"), (10, "twice"), (10, "other"), (13, "twice"), (17, "delay")];
    assert_eq!(arrived, expected.map(|(at, payload)| (at, payload.into())));
    assert_eq!(network.dropped(DropReason::Hook), 1);
    let copies: Vec<_> = network.packets().filter_map(|packet| packet.copy_of).collect();
    assert_eq!(copies, [PacketId(3)]);
    network.clear_hook();
    assert_eq!(why(&mut network, l, L, R), None);
}

#[test]
fn links_add_up_from_the_interface_over_the_pair_to_the_interface() {
    let (mut network, a, b) = two();
    let mut delay = |change: &dyn Fn(&mut Network)| {
        change(&mut network);
        let sent_at = network.now();
        let PacketFate::Delivered { at, .. } = fate(&mut network, a, A, B) else { panic!("not delivered") };
        at.duration_since(sent_at)
    };
    let link = |millis| Some(Link::with_delay(ms(millis)));
    assert_eq!(delay(&|_| {}), ms(10));
    assert_eq!(delay(&|network| network.set_default_link(Link::default())), ms(0));
    assert_eq!(delay(&|network| network.set_link(b, a, link(1))), ms(0));
    assert_eq!(delay(&|network| network.set_link(a, b, link(2))), ms(2));
    let set = |network: &mut Network, host, direction, millis| {
        network.set_host_link(host, direction, link(millis)).unwrap();
    };
    assert_eq!(delay(&|network| set(network, a, Direction::Out, 30)), ms(32));
    assert_eq!(delay(&|network| set(network, b, Direction::In, 400)), ms(432));
    assert_eq!(delay(&|network| set(network, a, Direction::In, 5_000)), ms(432));
    let clear = |network: &mut Network| network.set_interface_link(a, ip("198.51.100.1"), Direction::Out, None);
    assert_eq!(delay(&|network| clear(network).unwrap()), ms(402));
    assert_eq!(delay(&|network| network.set_links(a, b, None)), ms(400));
}

#[test]
fn the_mtu_counts_the_headers_of_ip_and_udp() {
    let (mut network, a, b) = two();
    network.add_interface(a, ip("2001:db8::1")).unwrap();
    network.add_interface(b, ip("2001:db8::2")).unwrap();
    network.set_default_link(Link { mtu: Some(1280), ..Link::default() });
    for (source, destination, fits) in [(A, B, 1252), ("[2001:db8::1]:1", "[2001:db8::2]:2", 1232)] {
        for len in [fits, fits + 1] {
            network.send(a, address(source), address(destination), &vec![0; len]);
        }
        assert_eq!(drain(&mut network).len(), 1);
    }
    assert_eq!(network.dropped(DropReason::TooLarge), 2);
}

#[test]
fn chance_loses_duplicates_and_reorders_over_the_network() {
    let (mut network, a, b) = two();
    let burst = Some(BurstLoss { enter: 0.05, leave: 0.5, loss: 1.0 });
    let (reorder, reorder_delay) = (0.1, ms(5));
    network.set_links(a, b, Some(Link { loss: 0.1, burst, reorder, reorder_delay, duplicate: 0.1, ..Link::default() }));
    for _ in 0..1_000 {
        network.send(a, address(A), address(B), b"x");
        network.advance_to(after(network.now(), ms(1)));
    }
    let ids: Vec<_> = drain(&mut network).iter().map(|delivery| delivery.packet_id).collect();
    assert!(ids.windows(2).any(|pair| pair[0] > pair[1]), "nothing was reordered");
    let copies = network.packets().filter(|packet| packet.copy_of.is_some()).count();
    let lost = [DropReason::Loss, DropReason::BurstLoss].map(|reason| network.dropped(reason));
    assert!((50..130).contains(&copies), "{copies} copies");
    assert!((60..130).contains(&lost[0]) && (50..140).contains(&lost[1]), "{lost:?} lost");
    assert_eq!(network.sent(), network.delivered() + lost[0] + lost[1]);
}

#[test]
fn a_packet_in_flight_can_be_expedited_or_discarded() {
    let (mut network, a, b) = two();
    let [first, second, third] = [b"1", b"2", b"3"].map(|payload| network.send(a, address(A), address(B), payload));
    assert!(network.expedite(third) && network.discard(first));
    assert!(!network.expedite(third) && !network.discard(first));
    let arrived: Vec<_> = drain(&mut network).iter().map(|delivery| (delivery.packet_id, delivery.at)).collect();
    assert_eq!(arrived, [(third, Instant::ZERO), (second, Instant::ZERO + ms(10))]);
    let dropped = PacketFate::Dropped { reason: DropReason::Discarded, at: Instant::ZERO };
    assert_eq!((network.fate(first), network.host_name(b)), (Some(dropped), Some("B")));
}

#[test]
fn the_trace_keeps_the_most_recent_packets() {
    let (mut network, a, _) = two();
    network.set_trace_limit(3);
    let ids: Vec<_> = (0..5).map(|_| network.send(a, address(A), address(B), b"x")).collect();
    assert_eq!(network.packets().map(|packet| packet.id).collect::<Vec<_>>(), ids[2..]);
    assert_eq!(network.fate(ids[1]), None);
    network.set_trace_limit(1);
    assert_eq!(network.packets().count(), 1);
    network.set_trace_limit(0);
    drop(drain(&mut network));
    network.send(a, address(A), address(B), b"x");
    assert_eq!((network.packets().count(), network.sent(), network.delivered()), (0, 6, 5));
}

#[test]
fn a_nat_translates_on_the_way_out_and_back() {
    let (mut network, l, r, nat) = behind(NatConfig::port_restricted([ip(PUBLIC)]));
    assert_eq!(why(&mut network, r, R, "192.0.2.1:5000"), Some(DropReason::NatNoMapping));
    let outside = address("192.0.2.1:5000");
    assert_eq!(arrival(&mut network, l, L, R), (r, outside, address(R)));
    assert_eq!(arrival(&mut network, r, R, "192.0.2.1:5000"), (l, address(R), address(L)));
    assert_eq!(why(&mut network, r, "198.51.100.7:6001", "192.0.2.1:5000"), Some(DropReason::NatFiltered));
    assert_eq!(why(&mut network, r, R, L), Some(DropReason::NoRoute));
    assert_eq!(network.packets().nth(1).unwrap().outside_source, Some(outside));
    assert_eq!(network.mapping_count(nat), 1);
}

#[test]
fn a_filter_that_opens_while_a_packet_is_in_flight_lets_it_in() {
    let (mut network, l, r, _) = behind(NatConfig::port_restricted([ip(PUBLIC)]));
    let outside = network.outside_address(l, address(L), address("203.0.113.1:3478")).unwrap();
    let packet = network.send(r, address(R), outside, b"early");
    network.advance_to(Instant::ZERO + ms(9));
    network.send(l, address(L), address(R), b"open");
    drop(drain(&mut network));
    assert!(matches!(network.fate(packet), Some(PacketFate::Delivered { .. })));
}

#[test]
fn hosts_behind_one_nat_reach_each_other_directly() {
    let (mut network, l, _, nat) = behind(NatConfig::symmetric([ip(PUBLIC)]));
    let other = network.add_host("other");
    network.add_interface_behind(nat, other, ip("10.0.0.3")).unwrap();
    let direct = arrival(&mut network, l, L, "10.0.0.3:7000");
    assert_eq!(direct, (other, address(L), address("10.0.0.3:7000")));
    assert_eq!(network.mapping_count(nat), 0);
}

/// RFC 4787 §6: the source of a hairpinned packet is the external address.
#[test]
fn a_nat_hairpins_if_it_is_told_to() {
    for hairpin in [false, true] {
        let (mut network, l, _, nat) = behind(NatConfig { hairpin, ..NatConfig::full_cone([ip(PUBLIC)]) });
        let other = network.add_host("other");
        network.add_interface_behind(nat, other, ip("10.0.0.3")).unwrap();
        let outside = network.outside_address(other, address("10.0.0.3:7000"), address(R)).unwrap();
        assert_eq!(outside, address("192.0.2.1:7000"));
        if hairpin {
            let arrival = arrival(&mut network, l, L, "192.0.2.1:7000");
            assert_eq!(arrival, (other, address("192.0.2.1:5000"), address("10.0.0.3:7000")));
        } else {
            assert_eq!(why(&mut network, l, L, "192.0.2.1:7000"), Some(DropReason::NatNoHairpin));
            assert_eq!(network.mapping_count(nat), 1);
        }
    }
}

#[test]
fn hairpinning_filters_as_well() {
    let config = NatConfig { hairpin: true, ..NatConfig::address_restricted([ip(PUBLIC)]) };
    let (mut network, l, _, nat) = behind(config);
    let other = network.add_host("other");
    network.add_interface_behind(nat, other, ip("10.0.0.3")).unwrap();
    let outside = network.outside_address(other, address("10.0.0.3:7000"), address(R)).unwrap();
    assert_eq!(outside, address("192.0.2.1:7000"));
    assert_eq!(why(&mut network, l, L, "192.0.2.1:7000"), Some(DropReason::NatFiltered));
    assert_eq!(why(&mut network, other, "10.0.0.3:7000", "192.0.2.1:5000"), None);
    assert_eq!(why(&mut network, l, L, "192.0.2.1:7000"), None);
}

/// Two home routers behind one carrier-grade NAT.
fn carrier_grade(hairpin: bool) -> (Network, [HostId; 3]) {
    let mut network = Network::new(Seed::from_name("carrier grade"));
    let hosts = ["L", "R", "server"].map(|name| network.add_host(name));
    let carrier =
        NatConfig { hairpin, ports: crate::sim::PortAssignment::Sequential, ..NatConfig::full_cone([ip(PUBLIC)]) };
    let carrier = network.add_nat(carrier).unwrap();
    for (host, outside) in hosts.iter().zip(["100.64.0.1", "100.64.0.2"]) {
        let home = network.add_nat_behind(carrier, NatConfig::port_restricted([ip(outside)])).unwrap();
        network.add_interface_behind(home, *host, ip("192.168.1.2")).unwrap();
    }
    network.add_interface(hosts[2], ip("203.0.113.1")).unwrap();
    (network, hosts)
}

#[test]
fn chained_nats_translate_hop_by_hop() {
    let (mut network, [l, r, server]) = carrier_grade(false);
    let (inside, outside) = ("192.168.1.2:5000", "203.0.113.1:3478");
    assert_eq!(arrival(&mut network, l, inside, outside), (server, address("192.0.2.1:40000"), address(outside)));
    assert_eq!(arrival(&mut network, r, inside, outside), (server, address("192.0.2.1:40001"), address(outside)));
    let back = arrival(&mut network, server, outside, "192.0.2.1:40001");
    assert_eq!(back, (r, address(outside), address(inside)));
    // The home router filters, the carrier does not.
    let stranger = why(&mut network, server, "203.0.113.1:9", "192.0.2.1:40001");
    assert_eq!(stranger, Some(DropReason::NatFiltered));
    assert_eq!(why(&mut network, l, inside, "192.0.2.1:40001"), Some(DropReason::NatNoHairpin));
}

#[test]
fn neighbours_behind_one_carrier_meet_in_its_realm_or_by_its_hairpin() {
    let (mut network, [l, r, _]) = carrier_grade(true);
    let inside = "192.168.1.2:5000";
    let server = address("203.0.113.1:3478");
    let [l_outside, r_outside] = [l, r].map(|host| network.outside_address(host, address(inside), server).unwrap());
    // Through the carrier's realm: each home router has to have sent first.
    assert_eq!(why(&mut network, l, inside, "100.64.0.2:5000"), Some(DropReason::NatFiltered));
    assert_eq!(arrival(&mut network, r, inside, "100.64.0.1:5000"), (l, address("100.64.0.2:5000"), address(inside)));
    assert_eq!(why(&mut network, l, inside, "100.64.0.2:5000"), None);
    // Through its hairpin.
    network.send(l, address(inside), r_outside, b"open");
    drop(drain(&mut network));
    let id = network.send(r, address(inside), l_outside, b"x");
    let delivery = drain(&mut network).pop().unwrap();
    assert_eq!((delivery.packet_id, delivery.host, delivery.source), (id, l, r_outside));
}

#[test]
fn a_firewall_for_ipv6_leaves_addresses_alone_in_either_direction() {
    let mut network = Network::new(Seed::from_name("firewall"));
    let (l, r) = (network.add_host("L"), network.add_host("R"));
    let firewall = network.add_nat(NatConfig::firewall(crate::sim::Filtering::AddressAndPortDependent)).unwrap();
    network.add_interface_behind(firewall, l, ip("2001:db8::1")).unwrap();
    network.add_interface(r, ip("2001:db8::2")).unwrap();
    assert_eq!(network.add_interface(r, ip("2001:db8::1")), Err(TopologyError::AddressInUse(ip("2001:db8::1"))));
    let (inside, outside) = ("[2001:db8::1]:1", "[2001:db8::2]:2");
    assert_eq!(why(&mut network, r, outside, inside), Some(DropReason::NatFiltered));
    assert_eq!(arrival(&mut network, l, inside, outside), (r, address(inside), address(outside)));
    assert_eq!(arrival(&mut network, r, outside, inside), (l, address(outside), address(inside)));
    network.remove_interface(l, ip("2001:db8::1")).unwrap();
    assert_eq!(why(&mut network, r, outside, inside), Some(DropReason::NoRoute));
}

#[test]
fn rebinding_forgets_mappings_and_may_move_the_nat() {
    let (mut network, l, r, nat) = behind(NatConfig::symmetric([ip(PUBLIC)]));
    let (_, before, _) = arrival(&mut network, l, L, R);
    let in_flight = network.send(r, address(R), before, b"x");
    network.rebind(nat).unwrap();
    drop(drain(&mut network));
    let dropped =
        |reason| matches!(network.fate(in_flight), Some(PacketFate::Dropped { reason: r, .. }) if r == reason);
    assert!(dropped(DropReason::NatNoMapping));
    let (_, after, _) = arrival(&mut network, l, L, R);
    assert!(after.ip() == before.ip() && after.port() != before.port(), "{before} became {after}");
    network.rebind_to(nat, [ip("192.0.2.2")]).unwrap();
    assert_eq!(arrival(&mut network, l, L, R).1.ip(), ip("192.0.2.2"));
    let gone = network.send(r, address(R), after, b"x");
    let no_route = PacketFate::Dropped { reason: DropReason::NoRoute, at: network.now() };
    assert_eq!(network.fate(gone), Some(no_route));
}

#[test]
fn a_mapping_expires_in_network_time() {
    let lifetime = Some(Duration::from_secs(30));
    let (mut network, l, r, nat) = behind(NatConfig { lifetime, ..NatConfig::port_restricted([ip(PUBLIC)]) });
    let (_, outside, _) = arrival(&mut network, l, L, R);
    // Sent in time, but due too late.
    network.advance_to(Instant::ZERO + Duration::from_secs(30) - ms(5));
    let packet = network.send(r, address(R), outside, b"x");
    drop(drain(&mut network));
    let at = Instant::ZERO + Duration::from_secs(30) + ms(5);
    assert_eq!(network.fate(packet), Some(PacketFate::Dropped { reason: DropReason::NatNoMapping, at }));
    assert_eq!(network.mapping_count(nat), 0);
}

#[test]
fn the_outside_address_is_what_a_packet_would_show_and_opens_what_it_would_open() {
    let (mut network, l, r, nat) = behind(NatConfig::symmetric([ip(PUBLIC)]));
    let outside = network.outside_address(l, address(L), address(R)).unwrap();
    assert_eq!(network.mapping_count(nat), 1);
    assert_eq!(why(&mut network, r, R, &alloc::format!("{outside}")), None);
    assert_eq!(arrival(&mut network, l, L, R).1, outside);
    assert_eq!(network.outside_address(r, address(R), address(B)), Some(address(R)));
    assert_eq!(network.outside_address(l, address("10.0.0.9:1"), address(R)), None);
    for direction in [Direction::In, Direction::Out] {
        network.block(l, FirewallRule { direction, peer: PeerMatch::Any }).unwrap();
        assert_eq!(network.outside_address(l, address(L), address(R)), None);
        network.unblock(l).unwrap();
    }
    network.set_interface_up(l, ip("10.0.0.2"), false).unwrap();
    assert_eq!(network.outside_address(l, address(L), address(R)), None);
}

/// Everything random at once.
fn transcript(seed: Seed) -> (Vec<Packet>, Vec<Delivery>) {
    let mut network = Network::new(seed);
    let (l, r) = (network.add_host("L"), network.add_host("R"));
    let nat = network.add_nat(NatConfig::symmetric([ip(PUBLIC), ip("192.0.2.2")])).unwrap();
    network.add_interface_behind(nat, l, ip("10.0.0.2")).unwrap();
    network.add_interface(r, ip("198.51.100.7")).unwrap();
    let burst = Some(BurstLoss { enter: 0.1, leave: 0.5, loss: 0.9 });
    let (delay, jitter) = (ms(5), ms(20));
    network.set_default_link(Link { delay, jitter, loss: 0.1, burst, duplicate: 0.1, ..Link::default() });
    let mut deliveries = Vec::new();
    for number in 0..100_u8 {
        network.send(l, address(L), SocketAddr::new(ip("198.51.100.7"), u16::from(number % 7)), &[number]);
        network.advance_to(after(network.now(), ms(3)));
        while let Some(delivery) = network.pop_delivery() {
            network.send(r, delivery.destination, delivery.source, &delivery.payload);
            deliveries.push(delivery);
        }
    }
    deliveries.extend(drain(&mut network));
    (network.packets().copied().collect(), deliveries)
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let seed = Seed::from_number;
    assert_eq!(transcript(seed(1)), transcript(seed(1)));
    assert_ne!(transcript(seed(1)), transcript(seed(2)));
}

#[test]
fn a_clone_has_the_same_future() {
    let (mut network, a, _) = two();
    network.set_default_link(Link { jitter: ms(100), loss: 0.5, ..Link::default() });
    network.send(a, address(A), address(B), b"x");
    let futures = [network.clone(), network].map(|mut network| {
        for _ in 0..50 {
            network.send(a, address(A), address(B), b"y");
        }
        drain(&mut network)
    });
    assert_eq!(futures[0], futures[1]);
}
