//! Each behaviour by its definition in RFC 4787.

use super::*;
use crate::Seed;
use alloc::format;
use alloc::string::String;

use Filtering as F;
use Mapping as M;

const NOW: Instant = Instant::ZERO;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn nat(config: NatConfig) -> Nat {
    Nat::new(config, RealmId::PUBLIC, RealmId::PUBLIC, Random::new(&Seed::from_name("nat")))
}

fn public() -> [IpAddr; 1] {
    [ip("192.0.2.1")]
}

fn later(seconds: u64) -> Instant {
    NOW + Duration::from_secs(seconds)
}

const INTERNAL: &str = "10.0.0.2:5000";
const REMOTE: &str = "198.51.100.1:7000";
const REMOTE_OTHER_PORT: &str = "198.51.100.1:7001";
const REMOTE_OTHER_IP: &str = "198.51.100.2:7000";

/// RFC 4787 §4.1: whether the mapping towards `REMOTE` is used again towards a second remote address.
#[test]
fn mapping_depends_on_what_its_name_says() {
    let table = [M::EndpointIndependent, M::AddressDependent, M::AddressAndPortDependent].map(|mapping| {
        let mut nat = nat(NatConfig::new(mapping, F::EndpointIndependent, public()));
        let mut map = |remote| nat.outbound(NOW, address(INTERNAL), address(remote)).unwrap();
        let first = map(REMOTE);
        [REMOTE, REMOTE_OTHER_PORT, REMOTE_OTHER_IP].map(|remote| map(remote) == first)
    });
    // Columns: the same remote, another port, another IP address.
    assert_eq!(table, [[true, true, true], [true, true, false], [true, false, false]]);
}

#[test]
fn another_internal_port_never_shares_a_mapping() {
    for mapping in [M::EndpointIndependent, M::AddressDependent, M::AddressAndPortDependent] {
        let mut nat = nat(NatConfig::new(mapping, F::EndpointIndependent, public()));
        let first = nat.outbound(NOW, address(INTERNAL), address(REMOTE)).unwrap();
        assert_ne!(nat.outbound(NOW, address("10.0.0.2:5001"), address(REMOTE)).unwrap(), first);
        assert_ne!(nat.outbound(NOW, address("10.0.0.3:5000"), address(REMOTE)).unwrap(), first);
    }
}

/// RFC 4787 §5: who may send to the mapping after a packet to `REMOTE`.
#[test]
fn filtering_depends_on_what_its_name_says() {
    for mapping in [M::EndpointIndependent, M::AddressDependent, M::AddressAndPortDependent] {
        let table = [F::EndpointIndependent, F::AddressDependent, F::AddressAndPortDependent].map(|filtering| {
            let mut nat = nat(NatConfig::new(mapping, filtering, public()));
            let external = nat.outbound(NOW, address(INTERNAL), address(REMOTE)).unwrap();
            [REMOTE, REMOTE_OTHER_PORT, REMOTE_OTHER_IP].map(|remote| {
                match nat.inbound(NOW, address(remote), external) {
                    Ok(internal) => internal == address(INTERNAL),
                    Err(reason) => {
                        assert_eq!(reason, DropReason::NatFiltered);
                        false
                    }
                }
            })
        });
        assert_eq!(table, [[true, true, true], [true, true, false], [true, false, false]]);
    }
}

#[test]
fn a_filter_entry_belongs_to_the_endpoint_or_to_the_mapping() {
    for (filter_scope, expected) in
        [(FilterScope::Endpoint, Ok(address(INTERNAL))), (FilterScope::Mapping, Err(DropReason::NatFiltered))]
    {
        let config = NatConfig::new(M::AddressAndPortDependent, F::AddressAndPortDependent, public());
        let mut nat = nat(NatConfig { filter_scope, ..config });
        let first = nat.outbound(NOW, address(INTERNAL), address(REMOTE)).unwrap();
        let second = nat.outbound(NOW, address(INTERNAL), address(REMOTE_OTHER_IP)).unwrap();
        assert_eq!(nat.inbound(NOW, address(REMOTE), first), Ok(address(INTERNAL)));
        assert_eq!(nat.inbound(NOW, address(REMOTE_OTHER_IP), second), Ok(address(INTERNAL)));
        assert_eq!(nat.inbound(NOW, address(REMOTE_OTHER_IP), first), expected);
    }
}

/// RFC 4787 §4.2: the ports of four mappings of ports 5000, 5000 of another host, 5001 and 5003.
#[test]
fn ports_are_assigned_as_configured() {
    let ports = |ports: PortAssignment| {
        let mut nat = nat(NatConfig { ports, ..NatConfig::full_cone(public()) });
        ["10.0.0.2:5000", "10.0.0.3:5000", "10.0.0.2:5001", "10.0.0.2:5003"]
            .map(|internal| nat.outbound(NOW, address(internal), address(REMOTE)).unwrap().port())
    };
    assert_eq!(ports(PortAssignment::Preserving), [5000, 5001, 5002, 5003]);
    assert_eq!(ports(PortAssignment::Sequential), [40_000, 40_001, 40_002, 40_003]);
    assert_eq!(ports(PortAssignment::ParityPreserving), [40_000, 40_002, 40_003, 40_005]);
    let mut random = ports(PortAssignment::Random);
    assert!(random.iter().all(|port| *port >= FIRST_PORT));
    assert_eq!(random, ports(PortAssignment::Random));
    random.sort_unstable();
    assert!(random.windows(2).all(|pair| pair[0] + 1 < pair[1]), "{random:?} are not random");
}

#[test]
fn ports_wrap_around_and_keep_their_parity() {
    assert_eq!(port_after(u16::MAX, 1), FIRST_PORT);
    assert_eq!(port_after(u16::MAX, 2), FIRST_PORT + 1);
    assert_eq!(port_after(u16::MAX - 1, 2), FIRST_PORT);
    let mut nat = nat(NatConfig { ports: PortAssignment::ParityPreserving, ..NatConfig::full_cone(public()) });
    nat.next_port = u16::MAX;
    assert_eq!(nat.outbound(NOW, address("10.0.0.2:5000"), address(REMOTE)).unwrap().port(), FIRST_PORT);
}

#[test]
fn a_nat_whose_ports_are_all_taken_drops() {
    for ports in [PortAssignment::Preserving, PortAssignment::Random, PortAssignment::Sequential] {
        let mut nat = nat(NatConfig { max_mappings: 100_000, ..NatConfig::full_cone(public()) });
        for port in FIRST_PORT..=u16::MAX {
            assert!(nat.outbound(NOW, SocketAddr::new(ip("10.0.0.2"), port), address(REMOTE)).is_ok());
        }
        nat.config.ports = ports;
        assert_eq!(nat.outbound(NOW, address("10.0.0.3:2000"), address(REMOTE)), Err(DropReason::NatFull));
        // Lower ports are only given out if they are preserved.
        let low = nat.outbound(NOW, address("10.0.0.2:80"), address(REMOTE));
        let preserves = ports == PortAssignment::Preserving;
        assert_eq!(low, if preserves { Ok(address("192.0.2.1:80")) } else { Err(DropReason::NatFull) });
    }
}

#[test]
fn both_tables_are_bounded_and_make_room_for_the_living() {
    let config = NatConfig { max_mappings: 2, max_filters: 3, ..NatConfig::port_restricted(public()) };
    let mut nat = nat(NatConfig { lifetime: Some(Duration::from_secs(30)), ..config });
    let mut send = |at, internal: &str, remote: &str| nat.outbound(at, address(internal), address(remote)).map(|_| ());
    assert_eq!(send(NOW, "10.0.0.2:1", REMOTE), Ok(()));
    assert_eq!(send(NOW, "10.0.0.2:2", REMOTE), Ok(()));
    assert_eq!(send(NOW, "10.0.0.2:3", REMOTE), Err(DropReason::NatFull));
    assert_eq!(send(NOW, "10.0.0.2:1", REMOTE_OTHER_PORT), Ok(()));
    assert_eq!(send(NOW, "10.0.0.2:1", REMOTE_OTHER_IP), Err(DropReason::NatFull));
    assert_eq!(send(later(30), "10.0.0.2:3", REMOTE), Ok(()));
    assert_eq!((nat.mappings.len(), nat.by_internal.len()), (1, 1));
}

/// RFC 4787 §4.3.
#[test]
fn a_mapping_expires_unless_it_is_refreshed_from_the_right_side() {
    // Columns: idle for 29 s, idle for 30 s, refreshed by a packet out after 20 s, by a packet in after 20 s.
    let alive = |inbound_refreshes| {
        let lifetime = Some(Duration::from_secs(30));
        let config = NatConfig { lifetime, inbound_refreshes, ..NatConfig::port_restricted(public()) };
        let mut columns = [(29, "-"), (30, "-"), (40, "out"), (40, "in")].map(|(at, refresh)| {
            let mut nat = nat(config.clone());
            let external = nat.outbound(NOW, address(INTERNAL), address(REMOTE)).unwrap();
            match refresh {
                "out" => drop(nat.outbound(later(20), address(INTERNAL), address(REMOTE))),
                "in" => drop(nat.inbound(later(20), address(REMOTE), external)),
                _ => {}
            }
            let inbound = nat.inbound(later(at), address(REMOTE), external);
            assert_eq!(nat.mapping_count(later(at)), usize::from(inbound.is_ok()));
            assert!(matches!(inbound, Ok(_) | Err(DropReason::NatNoMapping)));
            if inbound.is_ok() { 'x' } else { '.' }
        });
        columns.iter_mut().map(|column| *column).collect::<String>()
    };
    assert_eq!(alive(false), "x.x.");
    assert_eq!(alive(true), "x.xx");
}

#[test]
fn a_filter_entry_expires_apart_from_its_mapping() {
    let mut nat = nat(NatConfig { lifetime: Some(Duration::from_secs(30)), ..NatConfig::port_restricted(public()) });
    let external = nat.outbound(NOW, address(INTERNAL), address(REMOTE)).unwrap();
    assert_eq!(nat.outbound(later(20), address(INTERNAL), address(REMOTE_OTHER_IP)), Ok(external));
    assert_eq!(nat.inbound(later(30), address(REMOTE), external), Err(DropReason::NatFiltered));
    assert_eq!(nat.inbound(later(30), address(REMOTE_OTHER_IP), external), Ok(address(INTERNAL)));
}

#[test]
fn an_expired_mapping_takes_its_filter_entries_along() {
    let lifetime = Some(Duration::from_secs(30));
    let sequential = NatConfig { ports: PortAssignment::Preserving, lifetime, ..NatConfig::symmetric(public()) };
    let mut nat = nat(sequential);
    let external = nat.outbound(NOW, address(INTERNAL), address(REMOTE)).unwrap();
    // Another host gets the same external address.
    assert_eq!(nat.outbound(later(30), address("10.0.0.3:5000"), address(REMOTE_OTHER_IP)), Ok(external));
    assert_eq!(nat.inbound(later(30), address(REMOTE), external), Err(DropReason::NatFiltered));
    assert_eq!(nat.by_internal.len(), 1);
    assert_eq!(nat.filters.len(), 1);
}

#[test]
fn a_mapping_lives_for_ever_without_a_lifetime_and_at_the_end_of_time() {
    let end = Instant::from_nanos(i64::MAX);
    let mut eternal = nat(NatConfig { lifetime: None, ..NatConfig::full_cone(public()) });
    let external = eternal.outbound(Instant::from_nanos(i64::MIN), address(INTERNAL), address(REMOTE)).unwrap();
    assert!(eternal.inbound(end, address(REMOTE), external).is_ok());
    let mut mortal = nat(NatConfig::full_cone(public()));
    let external = mortal.outbound(end, address(INTERNAL), address(REMOTE)).unwrap();
    assert!(mortal.inbound(end, address(REMOTE), external).is_ok());
}

#[test]
fn several_public_addresses_are_paired_or_taken_in_turn() {
    let used = |pooling| {
        let public = [ip("192.0.2.1"), ip("192.0.2.2")];
        let mut nat = nat(NatConfig { pooling, ..NatConfig::full_cone(public) });
        ["10.0.0.2:1", "10.0.0.2:2", "10.0.0.3:1", "10.0.0.2:3"].map(|internal| {
            let external = nat.outbound(NOW, address(internal), address(REMOTE)).unwrap();
            format!("{}", external.ip()).chars().last().unwrap()
        })
    };
    assert_eq!(used(Pooling::Paired), ['1', '1', '2', '1']);
    assert_eq!(used(Pooling::Arbitrary), ['1', '2', '1', '2']);
}

#[test]
fn a_nat_translates_only_the_families_that_it_has_addresses_of() {
    let mut nat = nat(NatConfig::full_cone([ip("192.0.2.1"), ip("2001:db8::1")]));
    let v6 = nat.outbound(NOW, address("[fd00::2]:5000"), address("[2001:db8:1::1]:7000"));
    assert_eq!(v6, Ok(address("[2001:db8::1]:5000")));
    assert_eq!(nat.outbound(NOW, address(INTERNAL), address(REMOTE)), Ok(address("192.0.2.1:5000")));
    let mut v4_only = self::nat(NatConfig::full_cone(public()));
    let dropped = v4_only.outbound(NOW, address("[fd00::2]:5000"), address("[2001:db8:1::1]:7000"));
    assert_eq!(dropped, Err(DropReason::NatNoAddress));
}

#[test]
fn a_one_to_one_nat_keeps_ports_and_lets_in_without_a_packet_out() {
    let mut nat = nat(NatConfig::one_to_one([ip("192.0.2.1"), ip("192.0.2.2")]));
    assert!(nat.attach(ip("10.0.0.2")) && nat.attach(ip("10.0.0.3")) && !nat.attach(ip("10.0.0.4")));
    assert_eq!(nat.inbound(NOW, address(REMOTE), address("192.0.2.2:9")), Ok(address("10.0.0.3:9")));
    assert_eq!(nat.outbound(NOW, address("10.0.0.2:8"), address(REMOTE)), Ok(address("192.0.2.1:8")));
    assert_eq!(nat.outbound(NOW, address("10.0.0.4:8"), address(REMOTE)), Err(DropReason::NatNoAddress));
    nat.detach(ip("10.0.0.2"));
    assert_eq!(nat.inbound(NOW, address(REMOTE), address("192.0.2.1:8")), Err(DropReason::NatNoMapping));
    assert!(nat.attach(ip("10.0.0.4")));
    nat.move_to(Vec::from([ip("192.0.2.7"), ip("192.0.2.8")]));
    assert_eq!(nat.outbound(NOW, address("10.0.0.3:8"), address(REMOTE)).map(|external| external.port()), Ok(8));
    assert_eq!(nat.inbound(NOW, address(REMOTE), address("192.0.2.1:8")), Err(DropReason::NatNoMapping));
}

#[test]
fn a_firewall_only_filters() {
    let mut nat = nat(NatConfig::firewall(F::AddressAndPortDependent));
    let inside = address("[2001:db8::2]:5000");
    let (asked, stranger) = (address("[2001:db8:1::1]:7000"), address("[2001:db8:1::2]:7000"));
    assert_eq!(nat.inbound(NOW, asked, inside), Err(DropReason::NatFiltered));
    assert_eq!(nat.outbound(NOW, inside, asked), Ok(inside));
    assert_eq!(nat.inbound(NOW, asked, inside), Ok(inside));
    assert_eq!(nat.inbound(NOW, stranger, inside), Err(DropReason::NatFiltered));
}

#[test]
fn forgetting_closes_what_was_open() {
    let mut nat = nat(NatConfig { ports: PortAssignment::Sequential, ..NatConfig::port_restricted(public()) });
    let external = nat.outbound(NOW, address(INTERNAL), address(REMOTE)).unwrap();
    nat.forget();
    assert_eq!(nat.inbound(NOW, address(REMOTE), external), Err(DropReason::NatNoMapping));
    assert_ne!(nat.outbound(NOW, address(INTERNAL), address(REMOTE)), Ok(external));
}

#[test]
fn a_frozen_nat_drops_what_has_expired_and_keeps_the_rest() {
    let mut nat = nat(NatConfig { lifetime: Some(Duration::from_secs(30)), ..NatConfig::port_restricted(public()) });
    let old = nat.outbound(NOW, address(INTERNAL), address(REMOTE)).unwrap();
    let new = nat.outbound(later(20), address("10.0.0.3:6000"), address(REMOTE)).unwrap();
    nat.freeze(later(30));
    assert_eq!(nat.inbound(NOW, address(REMOTE), old), Err(DropReason::NatNoMapping));
    assert_eq!(nat.inbound(later(1_000_000), address(REMOTE), new), Ok(address("10.0.0.3:6000")));
}
