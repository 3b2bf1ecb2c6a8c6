//! Local candidates: which addresses become candidates, with what foundation and priority.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use nilas::sim::{MessageBuilder, SideName};
use nilas::{
    AddLocalCandidateError, AddStreamError, Candidate, CandidateKind, ComponentId, Config, Event, GatheringState,
    Priority, RelayFamilies, Role, SocketOptions, Transport, UnusableAddress,
};
use proptest::prelude::*;

use crate::help::{ms, setup};
use crate::lone::{Lone, address, component};

fn new(components: u16) -> Lone {
    Lone::new(Config::default(), Role::Controlling, 1, components)
}

/// The candidates that were handed to signalling.
fn signalled(lone: &mut Lone) -> Vec<Candidate> {
    lone.take_events();
    let candidates = lone.events.iter().filter_map(|event| match event {
        Event::LocalCandidate { candidate, .. } => Some(Candidate::clone(candidate)),
        _ => None,
    });
    candidates.collect()
}

/// A local candidate as it is signalled: with the username fragment of its generation.
fn announced(lone: &Lone, candidate: &Candidate) -> Candidate {
    let ours = lone.agent.local_credentials(lone.streams[0]).unwrap();
    candidate.clone().with_extension("ufrag", ours.ufrag.as_str())
}

fn add(lone: &mut Lone, number: u16, at: &str) -> Result<(), AddLocalCandidateError> {
    let stream = lone.streams[0];
    lone.agent.add_socket(lone.now, stream, component(number), Transport::Udp, address(at)).map(|_| ())
}

fn add_reflexive(lone: &mut Lone, base: &str, mapped: &str, server: &str) -> nilas::CandidateId {
    let (stream, server) = (lone.streams[0], server.parse().ok());
    lone.agent.add_server_reflexive(lone.now, stream, address(base), address(mapped), server).unwrap()
}

/// Req: 8445-5.1.1.1-a
/// Req: 8445-5.1.1.1-h
/// Req: 8838-17-a
#[test]
fn three_addresses_and_two_components_make_six_host_candidates_each_its_own_base() {
    let mut lone = new(2);
    for number in [1, 2] {
        for ip in ["10.0.0.1", "10.0.0.2", "[2001:db8::1]"] {
            add(&mut lone, number, &format!("{ip}:{}", 5000 + number)).unwrap();
        }
    }
    let candidates = signalled(&mut lone);
    let places: BTreeSet<_> = candidates.iter().map(|c| (c.component(), c.socket_address().unwrap().ip())).collect();
    assert_eq!((candidates.len(), places.len()), (6, 6));
    for (candidate, view) in candidates.iter().zip(lone.agent.local_candidates(lone.streams[0])) {
        assert_eq!((candidate.kind(), candidate.related_address()), (CandidateKind::Host, None));
        assert_eq!(Some(view.base), candidate.socket_address());
        assert_eq!(&announced(&lone, view.candidate), candidate);
    }
    let components: Vec<u16> = candidates.iter().map(|candidate| candidate.component().get()).collect();
    assert_eq!(components, [1, 1, 1, 2, 2, 2], "lower components first");
}

/// Req: 8445-5.1.1.1-b
#[test]
fn loopback_addresses_are_refused_unless_a_test_wants_them() {
    for at in ["127.0.0.1:5000", "127.8.9.1:5000", "[::1]:5000"] {
        let mut lone = new(1);
        add(&mut lone, 1, "10.0.0.1:5000").unwrap();
        let refused = AddLocalCandidateError::UnusableAddress(address(at), UnusableAddress::Loopback);
        assert_eq!(add(&mut lone, 1, at), Err(refused));
        let addresses: Vec<_> = signalled(&mut lone).iter().map(|c| c.socket_address().unwrap()).collect();
        assert_eq!(addresses, [address("10.0.0.1:5000")]);
        let mut lone = Lone::new(Config::default().with_loopback(true), Role::Controlling, 1, 1);
        assert_eq!(add(&mut lone, 1, at), Ok(()));
    }
}

/// Req: 8445-5.1.1.1-c
#[test]
fn addresses_of_deprecated_and_useless_classes_are_refused_with_the_reason() {
    use UnusableAddress as Why;
    let cases = [
        ("[::192.0.2.1]:5000", Why::Ipv4Compatible),
        ("[::2]:5000", Why::Ipv4Compatible),
        ("[fec0::1]:5000", Why::SiteLocal),
        ("[feff:ffff::1]:5000", Why::SiteLocal),
        ("0.0.0.0:5000", Why::Unspecified),
        ("[::]:5000", Why::Unspecified),
        ("10.0.0.1:0", Why::PortZero),
        ("224.0.0.5:5000", Why::NotUnicast),
        ("[ff02::1]:5000", Why::NotUnicast),
        ("255.255.255.255:5000", Why::NotUnicast),
    ];
    let mut lone = new(1);
    for (at, why) in cases {
        assert_eq!(add(&mut lone, 1, at), Err(AddLocalCandidateError::UnusableAddress(address(at), why)), "{at}");
    }
    assert!(signalled(&mut lone).is_empty());
    for at in ["[fe80::1]:5000", "[fd00::1]:5000", "169.254.1.1:5000", "[64:ff9b::1]:5000", "[ff::1]:5000"] {
        assert_eq!(add(&mut lone, 1, at), Ok(()), "{at}");
    }
    assert_eq!(signalled(&mut lone).len(), 5);
}

#[test]
fn a_call_that_is_wrong_is_a_typed_error_and_changes_nothing() {
    use AddLocalCandidateError as E;
    let mut lone = new(2);
    assert_eq!(lone.agent.add_stream(0), Err(AddStreamError::ComponentCount(0)));
    assert_eq!(lone.agent.add_stream(257), Err(AddStreamError::ComponentCount(257)));
    assert_eq!(add(&mut lone, 1, "10.0.0.1:5000"), Ok(()));
    assert_eq!(add(&mut lone, 3, "10.0.0.1:5001"), Err(E::UnknownComponent(component(3))));
    assert_eq!(add(&mut lone, 2, "10.0.0.1:5000"), Err(E::AddressInUse(address("10.0.0.1:5000"))));
    let (now, stream) = (lone.now, lone.streams[0]);
    let nowhere = lone.agent.add_socket(now, stream, component(1), Transport::Tcp, address("10.0.0.1:0"));
    assert_eq!(nowhere, Err(E::UnusableAddress(address("10.0.0.1:0"), UnusableAddress::PortZero)));
    let (base, mapped) = (address("10.0.0.9:5000"), address("198.51.100.1:5000"));
    let unknown = lone.agent.add_server_reflexive(now, stream, base, mapped, None);
    assert_eq!(unknown, Err(E::UnknownBase(base)));
    let other = Lone::new(Config::default(), Role::Controlling, 3, 1).streams[2];
    let nowhere = lone.agent.add_socket(now, other, component(1), Transport::Udp, address("10.0.0.3:5000"));
    assert_eq!(nowhere, Err(E::UnknownStream(other)));
    assert_eq!(signalled(&mut lone).len(), 1);
    lone.agent.close(now);
    assert_eq!(add(&mut lone, 1, "10.0.0.4:5000"), Err(E::Closed));
}

#[test]
fn a_candidate_that_is_gone_before_it_is_taken_leaves_nothing_to_do() {
    let mut lone = new(1);
    add(&mut lone, 1, "192.0.2.1:5000").unwrap();
    lone.take_events();
    for _ in 0..3 {
        let stream = lone.streams[0];
        let other = address("192.0.2.2:5000");
        let id = lone.agent.add_socket(lone.now, stream, component(1), Transport::Udp, other).unwrap();
        lone.agent.remove_local_candidate(lone.now, stream, id).unwrap();
        assert!(lone.agent.poll_transmit(lone.now, &mut Vec::new()).is_none());
        assert_eq!(lone.agent.poll_event(), None);
        assert!(lone.agent.poll_timeout().is_none_or(|at| at > lone.now), "it wants to be called at once");
    }
}

#[test]
fn a_socket_that_is_added_twice_keeps_its_name() {
    let mut lone = new(1);
    let (now, stream) = (lone.now, lone.streams[0]);
    let mut add =
        || lone.agent.add_socket(now, stream, component(1), Transport::Udp, address("10.0.0.1:5000")).unwrap();
    assert_eq!(add(), add());
    assert_eq!(signalled(&mut lone).len(), 1);
}

/// Req: 8445-4-a
/// Req: 8445-5.1.2.1-a
/// Req: 8445-5.1.2.1-c
#[test]
fn a_single_address_has_the_highest_local_preference_and_a_reflexive_one_points_to_its_base() {
    let mut lone = new(2);
    add(&mut lone, 1, "10.0.0.1:5000").unwrap();
    add(&mut lone, 2, "10.0.0.1:5001").unwrap();
    add_reflexive(&mut lone, "10.0.0.1:5000", "198.51.100.1:6000", "192.0.2.53");
    let all: Vec<_> = signalled(&mut lone)
        .iter()
        .map(|c| (c.kind(), c.component().get(), c.priority().get(), c.related_address().and_then(|a| a.socket())))
        .collect();
    assert_eq!(
        all,
        [
            (CandidateKind::Host, 1, 2_130_706_431, None),
            (CandidateKind::Host, 2, 2_130_706_430, None),
            (CandidateKind::ServerReflexive, 1, 1_694_498_815, Some(address("10.0.0.1:5000"))),
        ]
    );
    assert_eq!((ComponentId::new(0), ComponentId::new(257)), (None, None));
    assert_eq!(Priority::compute(0, 65535, component(1)).get(), 16_777_215);
    assert_eq!(Priority::compute(110, 65535, component(1)).get(), 0x6eff_ffff);
}

/// Req: 8445-5.1.3-a
/// Req: 8838-9-b
#[test]
fn a_reflexive_candidate_with_address_and_base_of_another_is_dropped_and_with_another_base_it_stays() {
    let mut lone = new(1);
    let udp = Transport::Udp;
    let (now, stream) = (lone.now, lone.streams[0]);
    let host = lone.agent.add_socket(now, stream, component(1), udp, address("10.0.1.100:2498")).unwrap();
    add(&mut lone, 1, "192.168.1.100:1000").unwrap();
    // Without a NAT the server sees the host's own address.
    assert_eq!(add_reflexive(&mut lone, "10.0.1.100:2498", "10.0.1.100:2498", "192.0.2.53"), host);
    // The other interface is translated to it (RFC 8445 appendix B.2).
    let other = add_reflexive(&mut lone, "192.168.1.100:1000", "10.0.1.100:2498", "192.0.2.53");
    assert_ne!(other, host);
    // Another server sees the same.
    assert_eq!(add_reflexive(&mut lone, "192.168.1.100:1000", "10.0.1.100:2498", "192.0.2.54"), other);
    let all: Vec<_> = signalled(&mut lone).iter().map(|c| (c.kind(), c.socket_address().unwrap())).collect();
    assert_eq!(
        all,
        [
            (CandidateKind::Host, address("10.0.1.100:2498")),
            (CandidateKind::Host, address("192.168.1.100:1000")),
            (CandidateKind::ServerReflexive, address("10.0.1.100:2498")),
        ]
    );
}

fn host_order(lone: &mut Lone) -> String {
    let mut candidates = signalled(lone);
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.priority()));
    candidates.iter().map(|c| if c.socket_address().unwrap().is_ipv6() { '6' } else { '4' }).collect()
}

/// Req: 8421-4-b
#[test]
fn ipv6_has_a_head_start_of_as_many_addresses_as_rfc_8421_says() {
    let mut lone = new(1);
    for index in 1..=2 {
        add(&mut lone, 1, &format!("10.0.0.{index}:5000")).unwrap();
    }
    for index in 1..=6 {
        add(&mut lone, 1, &format!("[2001:db8::{index}]:5000")).unwrap();
    }
    assert_eq!(host_order(&mut lone), "66664646");
}

/// Req: 8421-3-a
#[test]
fn unreliable_interfaces_have_the_lowest_preferences() {
    let mut lone = new(1);
    let stream = lone.streams[0];
    let flaky = address("[2001:db8::9]:5000");
    let options = SocketOptions::default().with_unreliable(true);
    lone.agent.add_socket_with(lone.now, stream, component(1), Transport::Udp, flaky, options).unwrap();
    add(&mut lone, 1, "10.0.0.1:5000").unwrap();
    add(&mut lone, 1, "[2001:db8::1]:5000").unwrap();
    let candidates = signalled(&mut lone);
    let least = candidates.iter().min_by_key(|candidate| candidate.priority()).unwrap();
    assert_eq!(least.socket_address(), Some(flaky));
}

/// Req: 8421-4-a
#[test]
fn dual_stack_sides_order_their_pairs_alike_and_components_differ_by_one() {
    let mut setup = setup("dual stack");
    for (side, v4, v6) in [(&mut setup.l, "198.51.100.", "2001:db8:1::"), (&mut setup.r, "203.0.113.", "2001:db8:2::")]
    {
        side.components = 2;
        let ips = [format!("{v4}1"), format!("{v4}2"), format!("{v6}1"), format!("{v6}2"), format!("{v6}3")];
        side.addresses = ips.iter().map(|ip| ip.parse().unwrap()).collect();
    }
    let mut pair = setup.build();
    pair.run_for(ms(1));
    let stream = pair.stream();
    for side in [SideName::L, SideName::R] {
        let mut by_address: BTreeMap<IpAddr, Vec<u32>> = BTreeMap::new();
        for local in pair.peer(side).agent.local_candidates(stream) {
            let ip = local.candidate.socket_address().unwrap().ip();
            by_address.entry(ip).or_default().push(local.candidate.priority().get());
        }
        assert_eq!(by_address.len(), 5);
        assert!(by_address.values().all(|two| two[0] == two[1] + 1), "{by_address:?}");
    }
    let order = |side: SideName| {
        let mut pairs: Vec<_> = pair
            .peer(side)
            .agent
            .pairs()
            .map(|p| {
                let (ours, theirs) = (p.base, p.remote.socket_address().unwrap());
                (p.priority, if side == SideName::L { (ours, theirs) } else { (theirs, ours) })
            })
            .collect();
        pairs.sort_unstable();
        pairs
    };
    assert_eq!(order(SideName::L).len(), 2 * (2 * 2 + 3 * 3));
    assert_eq!(order(SideName::L), order(SideName::R));
}

/// What a random agent is given: the last byte of an address, its family, its port, its component, and what to do with it.
fn any_step() -> impl Strategy<Value = (u8, bool, u16, u16, u8)> {
    (1..5_u8, any::<bool>(), 5000..5004_u16, 1..3_u16, 0..5_u8)
}

/// Has two servers of each family relay for each socket, on an IPv4 and an IPv6 address, ports counted up.
fn relay(lone: &mut Lone, keys: &mut BTreeMap<nilas::CandidateId, (u8, IpAddr, Option<IpAddr>)>) {
    const SERVERS: [&str; 4] = ["192.0.2.1:3478", "192.0.2.2:3478", "[2001:db8:9::1]:3478", "[2001:db8:9::2]:3478"];
    let servers = SERVERS.map(|at| nilas::IceServer::turn(address(at), "user", "pass"));
    lone.agent.gather(lone.now, &servers).unwrap();
    let mut port = 40_000;
    for _ in 0..2000 {
        let mut bytes = Vec::new();
        let Some(sent) = lone.agent.poll_transmit(lone.now, &mut bytes) else {
            lone.take_events();
            let next = lone.agent.poll_timeout().filter(|_| lone.agent.gathering_state() != GatheringState::Complete);
            let Some(at) = next else { break };
            lone.now = at.max(lone.now);
            lone.agent.handle_timeout(lone.now);
            continue;
        };
        let id = bytes[8..20].try_into().unwrap();
        let message = |kind: u16| MessageBuilder::new(u16::from(bytes[1]) | kind, id);
        let answer = if crate::solo::value(&bytes, 0x0008).is_none() {
            message(0x110).error_code(401).attribute(0x0014, b"realm").attribute(0x0015, b"nonce").build()
        } else {
            port += 1;
            let server = sent.destination.ip();
            let last = if server.to_string().ends_with('1') { 1 } else { 2 };
            let granted = [
                SocketAddr::from(([192, 0, 2, last], port)),
                SocketAddr::from(([0x2001, 0xdb8, 9, 0, 0, 0, 0, u16::from(last)], port)),
            ];
            let message = message(0x100).xor_address(0x0020, sent.source);
            let message = granted.iter().fold(message, |message, relayed| message.xor_address(0x0016, *relayed));
            message.long_term_integrity("user", b"realm", "pass").build()
        };
        let _ = lone.agent.handle_datagram(lone.now, &nilas::Datagram::new(sent.destination, sent.source, &answer));
        for local in lone.agent.local_candidates(lone.streams[0]) {
            if local.candidate.kind() == CandidateKind::Relayed {
                keys.entry(local.id).or_insert((2, local.base.ip(), Some(sent.destination.ip())));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Req: 8445-5.1.2-a
    /// Req: 8445-5.1.2.1-c
    /// Req: 8445-5.1.1.3-a
    #[test]
    fn priorities_are_distinct_and_foundations_go_by_type_base_and_server(
        steps in proptest::collection::vec(any_step(), 1..30),
        steps_end_with_relays in proptest::bool::weighted(0.2),
    ) {
        let config = Config::default().with_relay_families(RelayFamilies::Both);
        let mut lone = Lone::new(config, Role::Controlling, 1, 2);
        let (now, stream) = (lone.now, lone.streams[0]);
        // The key of each candidate: type, base and server.
        let mut keys = BTreeMap::new();
        for (last, is_v6, port, number, what) in steps {
            let ip: IpAddr = if is_v6 { [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)].into() } else { [10, 0, 0, last].into() };
            let base = SocketAddr::new(ip, port);
            match what {
                0 | 1 => {
                    let added = lone.agent.add_socket(now, stream, component(number), Transport::Udp, base);
                    added.into_iter().for_each(|id| { keys.insert(id, (0, ip, None)); });
                }
                2 => while let Some(event) = lone.agent.poll_event() {
                    lone.events.push(event);
                },
                _ => {
                    let mapped = SocketAddr::new([198, 51, 100, last].into(), port);
                    let server = IpAddr::from([192, 0, 2, what]);
                    let added = lone.agent.add_server_reflexive(now, stream, base, mapped, Some(server));
                    added.into_iter().for_each(|id| { keys.entry(id).or_insert((1, ip, Some(server))); });
                }
            }
        }
        if steps_end_with_relays {
            relay(&mut lone, &mut keys);
        }
        let signalled = signalled(&mut lone);
        let candidates: Vec<_> = lone.agent.local_candidates(stream).collect();
        prop_assert_eq!(signalled.len(), candidates.len());
        let priorities: BTreeSet<u32> = candidates.iter().map(|local| local.candidate.priority().get()).collect();
        prop_assert_eq!(priorities.len(), candidates.len(), "two candidates have the same priority");
        prop_assert!(priorities.iter().all(|priority| (1..=0x7fff_ffff).contains(priority)));
        for a in &candidates {
            prop_assert!(signalled.contains(&announced(&lone, a.candidate)), "the priority has changed after it was signalled");
            for b in &candidates {
                let has_same = a.candidate.foundation() == b.candidate.foundation();
                prop_assert_eq!(has_same, keys[&a.id] == keys[&b.id]);
            }
        }
    }
}
