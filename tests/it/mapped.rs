//! `::ffff:a.b.c.d` is the IPv4 address `a.b.c.d`, wherever it comes in; what leaves has the form of its socket
//! (RFC 8445 §5.1.1.1).

use std::net::{IpAddr, SocketAddr};

use nilas::sim::{MessageBuilder, Pair, PairSetup, SideName, SideSetup};
use nilas::{
    AddressFilter, AddressMapping, Agent, Candidate, CandidateAddress, CandidateKind, ComponentId, Config,
    ConnectionRequest, Datagram, IceMedia, IceServer, MappingMode, Received, RemoteCandidateOutcome, RemoteFilter,
    Role, Seed, TcpType, Transport,
};

use crate::help::{at, secs, setup};
use crate::lone::{Lone, address, remote};

fn mapped(text: &str) -> SocketAddr {
    let plain = address(text);
    let IpAddr::V4(ip) = plain.ip() else { panic!("IPv4 only") };
    SocketAddr::new(ip.to_ipv6_mapped().into(), plain.port())
}

/// Lets a pair connect, send both ways, and restart, with mapped sockets on one side, the other, and both.
fn connects(name: &str, make: impl Fn(&str) -> PairSetup) {
    for (l, r) in [(true, false), (false, true), (true, true)] {
        let mut pair = make(name).left(|side| side.mapped_sockets = l).right(|side| side.mapped_sockets = r).build();
        assert!(pair.run_until_selected(secs(10)), "{name} {l} {r}: {:?} {:?}", pair.l.events, pair.r.events);
        say_hello(&mut pair);
        let stream = pair.stream();
        pair.restart(SideName::L, stream);
        pair.run_for(secs(5));
        assert!(pair.l.is_selected() && pair.r.is_selected(), "{name} {l} {r}");
        say_hello(&mut pair);
        assert_eq!((pair.l.refused_addresses, pair.r.refused_addresses), (0, 0), "{name} {l} {r}");
    }
}

fn say_hello(pair: &mut Pair) {
    let before = (pair.l.received.len(), pair.r.received.len());
    // On a relayed pair, and after a restart, the way may still be made.
    pair.run_for(secs(2));
    pair.send(SideName::L, b"hello").unwrap();
    pair.send(SideName::R, b"hello").unwrap();
    pair.run_for(secs(1));
    assert_eq!((pair.l.received.len(), pair.r.received.len()), (before.0 + 1, before.1 + 1));
}

/// Req: 8445-5.1.1.1-d
#[test]
fn a_socket_in_mapped_form_sends_in_that_form_and_connects_over_udp() {
    connects("udp", setup);
}

/// Req: 8445-5.1.1.1-d
#[test]
fn a_socket_in_mapped_form_gathers_from_servers_and_connects_through_a_relay() {
    let server: IpAddr = "192.0.2.100".parse().unwrap();
    let only = |side: &mut SideSetup| side.only_reaches = Some(server);
    connects("relay", |name| setup(name).with_turn(server).left(only).right(only));
    let uri: IceServer = "turn:192.0.2.100:3478?transport=tcp".parse().unwrap();
    let over_tcp = |side: &mut SideSetup| {
        only(side);
        side.servers = vec![uri.clone().with_credentials("user", "pass")];
    };
    connects("relay over tcp", |name| setup(name).with_turn(server).left(over_tcp).right(over_tcp));
}

/// Req: 8445-5.1.1.1-d
#[test]
fn tcp_candidates_in_mapped_form_open_and_accept_connections_in_that_form() {
    use TcpType::{Active, Passive, SimultaneousOpen};
    for types in [[Active, Passive], [Passive, Active], [SimultaneousOpen, SimultaneousOpen]] {
        connects(&format!("tcp {types:?}"), |name| {
            let tcp = |tcp_type| {
                move |side: &mut SideSetup| {
                    side.udp = false;
                    side.tcp = vec![tcp_type];
                }
            };
            setup(name).left(tcp(types[0])).right(tcp(types[1]))
        });
    }
}

/// Active candidates of two components have one address, and its form outlives the removal of one of them.
///
/// Req: 8445-5.1.1.1-d
#[test]
fn the_form_of_a_socket_is_remembered_as_long_as_it_is_there_and_not_longer() {
    let mut agent = Agent::new(Config::default(), Role::Controlling, Seed::from_name("form")).unwrap();
    let stream = agent.add_stream(1).unwrap();
    let component = ComponentId::RTP;
    let source = |agent: &mut Agent, at_address: SocketAddr| {
        let id = agent.add_socket(at(0), stream, component, Transport::Udp, at_address).unwrap();
        let again = agent.add_socket(at(0), stream, component, Transport::Udp, address("10.0.0.1:5000")).unwrap();
        assert_eq!(id, again);
        agent.gather(at(0), &[IceServer::stun(mapped("192.0.2.9:3478"))]).unwrap();
        let mut buffer = Vec::new();
        let transmit = agent.poll_transmit(at(0), &mut buffer).unwrap();
        agent.remove_local_candidate(at(0), stream, id).unwrap();
        (transmit.source, transmit.destination)
    };
    let mut other = agent.clone();
    let forms = (mapped("10.0.0.1:5000"), mapped("192.0.2.9:3478"));
    assert_eq!(source(&mut agent, mapped("10.0.0.1:5000")), forms);
    assert_eq!(source(&mut other, address("10.0.0.1:5000")), (address("10.0.0.1:5000"), address("192.0.2.9:3478")));
}

/// Req: 8445-5.1.1.1-d
#[test]
fn a_candidate_is_known_by_its_plain_address_in_whichever_form_it_is_told() {
    let mut lone = Lone::simple(Config::default());
    let plain = remote("1", 1, 100, "192.0.2.1:4000");
    let other = remote("2", 1, 90, "192.0.2.1:4000");
    let in_v6 = Candidate::new(
        CandidateKind::Host,
        plain.component(),
        plain.foundation(),
        plain.priority(),
        mapped("192.0.2.1:4000"),
    );
    assert_eq!(in_v6, plain);
    let line: Candidate = "candidate:1 1 udp 100 ::FFFF:192.0.2.1 4000 typ host".parse().unwrap();
    assert_eq!(line, plain);
    assert_eq!(line.to_string(), "candidate:1 1 udp 100 ::FFFF:192.0.2.1 4000 typ host");
    assert!(matches!(lone.add(0, line), RemoteCandidateOutcome::Added(_)));
    for again in [in_v6, other, plain.clone()] {
        assert!(matches!(lone.add(0, again), RemoteCandidateOutcome::Known(_)));
    }
    let related = plain.clone().with_related_address(mapped("10.0.0.1:9"));
    assert_eq!(related.related_address(), Some(&CandidateAddress::from(address("10.0.0.1:9"))));
    let mut media = IceMedia::new("0");
    media.candidates.push(plain);
    assert!(media.matches_default(ComponentId::RTP, &CandidateAddress::Socket(mapped("192.0.2.1:4000"))));
    // The class of what is inside counts.
    let unspecified = "candidate:1 1 udp 100 ::ffff:0.0.0.0 4000 typ host".parse().unwrap();
    assert_eq!(lone.add(0, unspecified), RemoteCandidateOutcome::UnusableAddress);
}

/// Checks from a mapped address are of the candidate, and a mapped address in an answer is that of the base.
///
/// Req: 8445-5.1.1.1-d
#[test]
fn sources_and_mapped_addresses_in_ipv6_form_make_no_peer_reflexive_candidates() {
    let mut lone = Lone::simple(Config::default());
    let _ = lone.add(0, remote("1", 1, 100, "192.0.2.1:4000"));
    lone.be_checked(0, "[::ffff:192.0.2.1]:4000", "[::ffff:10.0.0.1]:5000", 100);
    let checks = lone.run_to(100);
    let check = checks.first().expect("it checks");
    assert_eq!((check.source, check.destination), (address("10.0.0.1:5000"), address("192.0.2.1:4000")));
    // The peer is a host of IPv6 that writes what it sees.
    let seen = mapped("10.0.0.1:5000");
    let message = MessageBuilder::binding_success(check.request.id);
    let message = xor_mapped_v6(message, seen, check.request.id);
    let bytes = message.integrity(&lone.peer.password).fingerprint().build();
    let datagram = Datagram::new(mapped("192.0.2.1:4000"), mapped("10.0.0.1:5000"), &bytes);
    assert_eq!(lone.agent.handle_datagram(lone.now, &datagram), Received::Handled);
    let stream = lone.streams[0];
    assert_eq!(lone.agent.remote_candidates(stream).count(), 1);
    assert_eq!(lone.agent.local_candidates(stream).count(), 1);
    let pair = lone.agent.pairs().next().unwrap();
    assert!(pair.is_valid);
    assert_eq!(pair.remote_address, address("192.0.2.1:4000"));
}

fn xor_mapped_v6(message: MessageBuilder, seen: SocketAddr, id: [u8; 12]) -> MessageBuilder {
    let SocketAddr::V6(v6) = seen else { panic!("IPv6 only") };
    let cookie = 0x2112_a442_u32.to_be_bytes();
    let mut value = vec![0, 2];
    value.extend((v6.port() ^ 0x2112).to_be_bytes());
    let mask = cookie.iter().chain(&id);
    value.extend(v6.ip().octets().iter().zip(mask).map(|(octet, mask)| octet ^ mask));
    message.attribute(0x0020, &value)
}

/// Req: 8445-5.1.1.1-d
#[test]
fn filters_and_mappings_of_addresses_know_both_forms() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let filter = AddressFilter::default().without_network(ip("::ffff:10.0.0.0"), 104);
    assert!(!filter.allows(ip("10.1.2.3")) && !filter.allows(ip("::ffff:10.1.2.3")) && filter.allows(ip("11.0.0.1")));
    assert!(!AddressFilter::default().without_ipv4().allows(ip("::ffff:11.0.0.1")));
    assert!(AddressFilter::default().without_ipv6().allows(ip("::ffff:11.0.0.1")));
    let only = RemoteFilter::nothing().with_network(ip("::ffff:192.0.2.0"), 120);
    assert!(only.allows(ip("192.0.2.9")) && !only.allows(ip("198.51.100.9")));
    let mapping =
        AddressMapping::default().with_rule(ip("::ffff:10.0.0.1"), ip("::ffff:192.0.2.7"), MappingMode::Replace);
    let mut lone = Lone::new(Config::default().with_address_mapping(mapping), Role::Controlling, 1, 1);
    lone.socket(0, 1, "[::ffff:10.0.0.1]:5000");
    let shown = lone.agent.local_candidates(lone.streams[0]).next().unwrap();
    assert_eq!(shown.candidate.socket_address(), Some(address("192.0.2.7:5000")));
    assert_eq!(shown.base, address("10.0.0.1:5000"));
}

/// Req: 8445-5.1.1.1-d
#[test]
fn an_active_candidate_in_mapped_form_asks_for_connections_in_that_form() {
    let mut agent = Agent::new(Config::default(), Role::Controlling, Seed::from_name("active")).unwrap();
    let stream = agent.add_stream(2).unwrap();
    let options = nilas::SocketOptions::default().with_tcp_type(TcpType::Active);
    let second = ComponentId::new(2).unwrap();
    let base = mapped("10.0.0.1:0");
    let first = agent.add_socket_with(at(0), stream, ComponentId::RTP, Transport::Tcp, base, options).unwrap();
    let _ = agent.add_socket_with(at(0), stream, second, Transport::Tcp, base, options).unwrap();
    while agent.poll_event().is_some() {}
    agent.remove_local_candidate(at(0), stream, first).unwrap();
    let credentials = nilas::Credentials::new("peer", "password/of/the/peer/00").unwrap();
    let line = "candidate:1 2 tcp 100 192.0.2.1 4000 typ host tcptype passive".parse().unwrap();
    let description = nilas::RemoteDescription::new(credentials).with_candidates(vec![line]);
    agent.set_remote_description(at(0), stream, &description).unwrap();
    assert!(agent.poll_transmit(at(0), &mut Vec::new()).is_none());
    let request = agent.poll_connection().expect("it opens a connection");
    let ConnectionRequest::Open { local, remote, .. } = request else { panic!("{request:?}") };
    assert_eq!((local, remote), (base, mapped("192.0.2.1:4000")));
}
