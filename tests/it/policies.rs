//! What of the host is shown to others: types of candidates, addresses, names, and what stands for an address.

use std::net::{IpAddr, SocketAddr};

use nilas::sim::{Link, NatConfig, Pair, PairSetup, SideName, SideSetup, Wire};
use nilas::{
    AddLocalCandidateError, AddressFilter, AddressMapping, Agent, Candidate, CandidateAddress, CandidateKind,
    CandidateListing, CandidateTypes, ComponentId, Config, ConnectionState, Event, IceServer, Instant, MappingMode,
    PairView, RemoteCandidateOutcome, Role, Seed, StateReason, StreamId, Transport, UnusableAddress,
};

use crate::help::{at, ms, secs, setup};
use crate::solo::{Outcome, Solo, address, host};

const SERVER: &str = "192.0.2.53:3478";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Puts a side behind a NAT, with a STUN server.
fn hide(side: &mut SideSetup, inside: &str, public: &str) {
    side.addresses = vec![ip(inside)];
    side.nats = vec![NatConfig::port_restricted([ip(public)])];
    side.servers = vec![IceServer::stun(address(SERVER))];
}

/// Both sides behind NATs, with a STUN server; the left one with this configuration.
fn behind_nats(name: &str, of_l: Config) -> PairSetup {
    let mut setup = setup(name);
    hide(&mut setup.l, "10.0.0.2", "198.51.100.100");
    hide(&mut setup.r, "10.0.1.2", "203.0.113.100");
    setup.l.config = of_l;
    setup.servers = vec![address(SERVER).ip()];
    setup
}

fn signalled(pair: &Pair, side: SideName) -> Vec<Candidate> {
    let events = pair.peer(side).events.iter();
    events
        .filter_map(|(_, event)| match event {
            Event::LocalCandidate { candidate, .. } => Some(Candidate::clone(candidate)),
            _ => None,
        })
        .collect()
}

fn selected(pair: &Pair, side: SideName) -> PairView<'_> {
    pair.peer(side).agent.selected_pair(pair.stream(), ComponentId::RTP).unwrap()
}

fn related(candidate: &Candidate) -> Option<SocketAddr> {
    candidate.related_address().and_then(CandidateAddress::socket)
}

/// An agent and a stream.
fn agent(config: Config) -> (Agent, StreamId) {
    let mut agent = Agent::new(config, Role::Controlling, Seed::from_name("policies")).unwrap();
    let stream = agent.add_stream(1).unwrap();
    (agent, stream)
}

fn events(agent: &mut Agent) -> Vec<Event> {
    std::iter::from_fn(|| agent.poll_event()).collect()
}

fn candidates(agent: &mut Agent) -> Vec<Candidate> {
    let of = |event| if let Event::LocalCandidate { candidate, .. } = event { Some(*candidate) } else { None };
    events(agent).into_iter().filter_map(of).collect()
}

fn add(agent: &mut Agent, stream: StreamId, text: &str) -> Result<nilas::CandidateId, AddLocalCandidateError> {
    agent.add_socket(Instant::ZERO, stream, ComponentId::RTP, Transport::Udp, address(text))
}

/// Req: 8828-5.2-b
#[test]
fn without_host_candidates_no_private_address_is_signalled_and_the_session_connects() {
    let config = Config::default().with_candidate_types(CandidateTypes::NO_HOST);
    let mut pair = behind_nats("no host", config).build();
    assert!(pair.run_until_selected(secs(3)));
    pair.run_for(secs(1));
    assert!(pair.agrees());
    let told = signalled(&pair, SideName::L);
    assert_eq!(told.iter().map(Candidate::kind).collect::<Vec<_>>(), [CandidateKind::ServerReflexive]);
    assert_eq!(related(&told[0]), Some(address("0.0.0.0:9")));
    assert!(!told[0].to_string().contains("10.0.0.2"), "{}", told[0]);
    assert_eq!(selected(&pair, SideName::L).base.ip(), ip("10.0.0.2"));
}

#[test]
fn without_host_candidates_a_public_address_is_what_the_server_says_it_is() {
    let mut setup = setup("no host, no NAT");
    setup.l.config = Config::default().with_candidate_types(CandidateTypes::NO_HOST);
    setup.l.servers = vec![IceServer::stun(address(SERVER))];
    setup.servers = vec![address(SERVER).ip()];
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(3)));
    assert!(pair.agrees());
    let told = signalled(&pair, SideName::L);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].kind(), CandidateKind::ServerReflexive);
    assert_eq!(told[0].socket_address(), Some(address("198.51.100.1:5000")));
    assert_eq!(related(&told[0]), Some(address("0.0.0.0:9")));
}

/// S154
/// Req: 9429-3.5.3-a
#[test]
fn relay_only_shows_and_uses_no_address_of_the_host() {
    let config = Config::default().with_candidate_types(CandidateTypes::RELAY_ONLY);
    let mut pair = behind_nats("S154", config).build();
    // The other side knows the address all the same, and knocks.
    pair.run_for(secs(60));
    assert_eq!(signalled(&pair, SideName::L), []);
    assert_eq!(pair.l.sent, [], "nothing leaves the host");
    assert_eq!(pair.l.agent.stream_state(pair.stream()).unwrap().0, ConnectionState::Failed);
    assert_eq!(pair.l.agent.stream_state(pair.stream()).unwrap().1, StateReason::NoLocalCandidates);
}

/// Req: 9429-3.5.3-a
#[test]
fn relay_only_answers_no_check_at_an_address_of_the_host() {
    let mut solo = Solo::with(Role::Controlled, Config::default().with_candidate_types(CandidateTypes::RELAY_ONLY));
    solo.describe(vec![host("203.0.113.1:6000")]);
    let check = solo.check();
    let check = solo.seal(check);
    assert_eq!(solo.receive(&check), Outcome::Dropped(nilas::DropReason::ExcludedType));
    solo.run_for(secs(10));
    assert_eq!(solo.out, []);
    let (stream, mapped) = (solo.stream, address("192.0.2.7:5000"));
    let added = solo.agent.add_server_reflexive(solo.now, stream, solo.local, mapped, None);
    assert_eq!(added, Err(AddLocalCandidateError::ExcludedType));
}

#[test]
fn addresses_that_are_filtered_out_are_refused() {
    let filter = AddressFilter::default().without_ipv6().without_network(ip("172.17.0.0"), 16);
    let (mut agent, stream) = agent(Config::default().with_address_filter(filter));
    let excluded = |text| Err(AddLocalCandidateError::UnusableAddress(address(text), UnusableAddress::Excluded));
    assert_eq!(add(&mut agent, stream, "172.17.0.1:5000"), excluded("172.17.0.1:5000"));
    assert_eq!(add(&mut agent, stream, "[2001:db8::1]:5000"), excluded("[2001:db8::1]:5000"));
    assert!(add(&mut agent, stream, "192.0.2.1:5000").is_ok());
    assert_eq!(candidates(&mut agent).len(), 1);
}

#[test]
fn behind_a_one_to_one_nat_the_public_address_is_known_without_a_server() {
    for mode in [MappingMode::Replace, MappingMode::Add] {
        let mapping = AddressMapping::default().with_rule(ip("10.0.0.2"), ip("198.51.100.10"), mode);
        let mut setup = setup("mapped");
        setup.l.addresses = vec![ip("10.0.0.2")];
        setup.l.nats = vec![NatConfig::one_to_one([ip("198.51.100.10")])];
        setup.l.config = Config::default().with_address_mapping(mapping);
        setup.r.addresses = vec![ip("10.0.1.2")];
        setup.r.nats = vec![NatConfig::symmetric([ip("203.0.113.100")])];
        let mut pair = setup.build();
        assert!(pair.run_until_selected(secs(3)), "{mode:?}");
        pair.run_for(secs(1));
        assert!(pair.agrees(), "{mode:?}");
        let told = signalled(&pair, SideName::L);
        let public = Some(address("198.51.100.10:5000"));
        if mode == MappingMode::Replace {
            assert_eq!(told.len(), 1);
            assert_eq!((told[0].kind(), told[0].socket_address()), (CandidateKind::Host, public));
            // What the peer sees is what was told: no candidate is learned for it.
            let kinds: Vec<_> = pair.l.agent.local_candidates(pair.stream()).map(|one| one.candidate.kind()).collect();
            assert_eq!(kinds, [CandidateKind::Host]);
            assert_eq!(selected(&pair, SideName::L).local.kind(), CandidateKind::Host);
        } else {
            let kinds: Vec<_> = told.iter().map(Candidate::kind).collect();
            assert_eq!(kinds, [CandidateKind::Host, CandidateKind::ServerReflexive]);
            assert_eq!((told[1].socket_address(), related(&told[1])), (public, Some(address("10.0.0.2:5000"))));
        }
    }
}

/// Req: 8421-4-a
#[test]
fn addresses_that_are_known_from_the_configuration_do_not_disturb_the_order_of_the_hosts() {
    let mapping = AddressMapping::default().with_rule(ip("10.0.0.2"), ip("198.51.100.10"), MappingMode::Add);
    let (mut agent, stream) = agent(Config::default().with_address_mapping(mapping));
    add(&mut agent, stream, "10.0.0.2:5000").unwrap();
    add(&mut agent, stream, "[2001:db8::1]:5000").unwrap();
    agent.end_of_local_candidates(Instant::ZERO, stream).unwrap();
    let told = candidates(&mut agent);
    let preference = |kind, is_ipv4: bool| {
        let is_it = |one: &&Candidate| one.kind() == kind && one.socket_address().unwrap().is_ipv4() == is_ipv4;
        told.iter().find(is_it).unwrap().priority().get() >> 8 & 0xffff
    };
    assert_eq!(preference(CandidateKind::Host, false), 65_535);
    assert_eq!(preference(CandidateKind::Host, true), 65_534);
    assert_eq!(preference(CandidateKind::ServerReflexive, true), 65_534);
}

fn name(candidate: &Candidate) -> String {
    match candidate.address() {
        CandidateAddress::Name { host, .. } => host.to_string(),
        other => panic!("{other} is no name"),
    }
}

/// Req: mdns-3.1-a
/// Req: mdns-3.1-b
#[test]
fn a_hidden_host_has_one_name_for_each_address_which_nothing_waits_for() {
    let (mut agent, stream) = agent(Config::default().with_mdns(true));
    for text in ["192.168.1.7:5000", "192.168.1.7:5001", "[2001:db8::1]:5000"] {
        add(&mut agent, stream, text).unwrap();
    }
    let all = events(&mut agent);
    let registered: Vec<_> = all
        .iter()
        .filter_map(|event| match event {
            Event::RegisterName { name, address } => Some((name.to_string(), *address)),
            _ => None,
        })
        .collect();
    assert_eq!(
        registered.iter().map(|(_, address)| *address).collect::<Vec<_>>(),
        [ip("192.168.1.7"), ip("2001:db8::1")]
    );
    assert_ne!(registered[0].0, registered[1].0);
    let told: Vec<Candidate> = all
        .into_iter()
        .filter_map(|event| if let Event::LocalCandidate { candidate, .. } = event { Some(*candidate) } else { None })
        .collect();
    let names: Vec<_> = told.iter().map(|one| (name(one), one.address().port())).collect();
    let of = |index: usize| registered[index].0.clone();
    assert_eq!(names, [(of(0), 5000), (of(0), 5001), (of(1), 5000)]);
    assert!(told.iter().all(|one| !one.to_string().contains("192.168") && !one.to_string().contains("2001")));
    // A restart tells the same names.
    agent.prepare_restart(Instant::ZERO, stream).unwrap();
    let again: Vec<_> = candidates(&mut agent).iter().map(|one| (name(one), one.address().port())).collect();
    assert_eq!(again, names);
}

/// Req: mdns-3.1-c
#[test]
fn a_reflexive_address_equal_to_a_hidden_one_is_told_without_its_base() {
    let (mut agent, stream) = agent(Config::default().with_mdns(true));
    let base = address("203.0.113.5:5000");
    add(&mut agent, stream, "203.0.113.5:5000").unwrap();
    agent.add_server_reflexive(Instant::ZERO, stream, base, base, None).unwrap();
    let told = candidates(&mut agent);
    assert_eq!((told[1].kind(), told[1].socket_address()), (CandidateKind::ServerReflexive, Some(base)));
    assert_eq!(related(&told[1]), Some(address("0.0.0.0:9")));
    let v6 = address("[2001:db8::1]:5000");
    add(&mut agent, stream, "[2001:db8::1]:5000").unwrap();
    agent.add_server_reflexive(Instant::ZERO, stream, v6, address("[2001:db8::2]:1"), None).unwrap();
    assert_eq!(related(&candidates(&mut agent)[1]), Some(address("[::]:9")));
}

const UUID: &str = "1f4712db-ea17-4bcf-a596-105139dfd8bf.local";

fn named(name: &str, port: u16) -> Candidate {
    format!("candidate:{port} 1 udp 2122260223 {name} {port} typ host").parse().unwrap()
}

fn questions(solo: &Solo) -> Vec<String> {
    let of = |event: &Event| if let Event::ResolveName { name } = event { Some(name.to_string()) } else { None };
    solo.events.iter().filter_map(of).collect()
}

fn add_remote(solo: &mut Solo, candidate: Candidate) -> RemoteCandidateOutcome {
    let outcome = solo.agent.add_remote_candidate(solo.now, solo.stream, candidate).unwrap();
    solo.drain();
    outcome
}

/// S127
/// Req: mdns-3.2-b
/// Req: mdns-3.3-a
#[test]
fn a_name_of_the_peer_is_asked_for_once_and_paired_when_it_is_known() {
    let mut solo = Solo::new(Role::Controlling);
    solo.describe(vec![]);
    assert_eq!(add_remote(&mut solo, named(UUID, 6000)), RemoteCandidateOutcome::Resolving);
    assert_eq!(
        add_remote(&mut solo, named(&UUID.to_uppercase().replace("LOCAL", "local"), 6001)),
        RemoteCandidateOutcome::Resolving
    );
    assert_eq!(questions(&solo), [UUID]);
    solo.agent.end_of_remote_candidates(solo.now, solo.stream).unwrap();
    solo.run_for(secs(5));
    assert_eq!(solo.out, []);
    // An answer to no question is none.
    solo.agent.resolved(solo.now, "0f4712db-ea17-4bcf-a596-105139dfd8bf.local", Some(ip("203.0.113.9")));
    solo.agent.resolved(solo.now, UUID, Some(ip("203.0.113.1")));
    solo.drain();
    solo.run_for(ms(60));
    let destinations: Vec<_> = solo.take().into_iter().map(|out| out.destination).collect();
    assert_eq!(destinations, [address("203.0.113.1:6000"), address("203.0.113.1:6001")]);
    let shown: Vec<_> = solo.agent.remote_candidates(solo.stream).map(|one| one.candidate.to_string()).collect();
    assert!(shown.iter().all(|line| line.to_lowercase().contains(UUID) && !line.contains("203.0.113")), "{shown:?}");
    solo.agent.resolved(solo.now, UUID, Some(ip("203.0.113.8")));
    assert_eq!(solo.agent.remote_candidates(solo.stream).count(), 2);
}

/// Req: mdns-3.2-a
/// Req: mdns-3.2-b
#[test]
fn names_that_are_not_to_be_asked_for_and_answers_that_are_none_leave_no_trace() {
    let mut solo = Solo::new(Role::Controlling);
    solo.describe(vec![]);
    let before = solo.digest();
    for bad in ["a.b.local", "printer.local", "host.example"] {
        assert_eq!(add_remote(&mut solo, named(bad, 6000)), RemoteCandidateOutcome::UnresolvedName, "{bad}");
    }
    assert_eq!((questions(&solo).len(), solo.digest()), (0, before.clone()));
    assert_eq!(add_remote(&mut solo, named(UUID, 6000)), RemoteCandidateOutcome::Resolving);
    solo.agent.resolved(solo.now, UUID, None);
    solo.events.retain(|event| !matches!(event, Event::ResolveName { .. }));
    assert_eq!(solo.digest(), before);
    // Neither under relay only.
    let mut solo = Solo::with(Role::Controlling, Config::default().with_candidate_types(CandidateTypes::RELAY_ONLY));
    solo.describe(vec![]);
    assert_eq!(add_remote(&mut solo, named(UUID, 6000)), RemoteCandidateOutcome::UnresolvedName);
    assert_eq!(questions(&solo).len(), 0);
}

/// S127
/// Req: mdns-3.3-a
#[test]
fn a_check_before_the_name_is_known_teaches_an_address_that_is_merged_with_the_name() {
    let mut solo = Solo::new(Role::Controlled);
    solo.describe(vec![]);
    assert_eq!(add_remote(&mut solo, named(UUID, 6000)), RemoteCandidateOutcome::Resolving);
    let check = solo.check();
    let check = solo.seal(check);
    assert_eq!(solo.receive(&check), Outcome::Handled);
    let seen = solo.agent.remote_candidates(solo.stream).next().unwrap();
    assert_eq!(
        (seen.candidate.kind(), seen.is_signalled, seen.shown_address()),
        (CandidateKind::PeerReflexive, false, None)
    );
    solo.agent.resolved(solo.now, UUID, Some(solo.remote.ip()));
    solo.drain();
    let merged: Vec<_> = solo.agent.remote_candidates(solo.stream).collect();
    assert_eq!(merged.len(), 1);
    assert_eq!((merged[0].candidate.kind(), merged[0].is_signalled), (CandidateKind::Host, true));
    assert_eq!(merged[0].shown_address(), Some(named(UUID, 6000).address()));
    assert_eq!(solo.agent.pairs().count(), 1);
    solo.answer();
    assert!(solo.agent.usable_pair(solo.stream, ComponentId::RTP).is_some());
}

/// Req: mdns-sec-a
#[test]
fn questions_are_bounded_and_those_of_an_old_generation_are_forgotten() {
    let mut solo = Solo::new(Role::Controlling);
    solo.describe(vec![]);
    for number in 0..100 {
        let name = format!("1f4712db-ea17-4bcf-a596-{number:012}.local");
        let wanted = if number < 32 { RemoteCandidateOutcome::Resolving } else { RemoteCandidateOutcome::TooMany };
        assert_eq!(add_remote(&mut solo, named(&name, 6000)), wanted);
    }
    assert_eq!(questions(&solo).len(), 32);
    solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
    solo.theirs = nilas::Credentials::new("next", "passwordOfThePeer012345").unwrap();
    solo.describe(vec![]);
    solo.agent.resolved(solo.now, "1f4712db-ea17-4bcf-a596-000000000001.local", Some(ip("203.0.113.1")));
    assert_eq!(solo.agent.remote_candidates(solo.stream).count(), 0);
}

/// Two agents that hide their hosts, and a network that answers for their names.
#[test]
fn agents_that_hide_their_addresses_from_each_other_meet() {
    let config = Config::default().with_mdns(true);
    let mut setup = setup("mdns").config(config);
    setup.link = Link::with_delay(ms(5));
    let mut pair = setup.build();
    let mut known = std::collections::BTreeMap::new();
    for step in 1..200 {
        pair.run_to(at(step * 10));
        let now = pair.now();
        for side in [SideName::L, SideName::R] {
            for (_, event) in pair.peer(side).events.clone() {
                if let Event::RegisterName { name, address } = event {
                    known.insert(name, address);
                }
            }
        }
        for peer in [&mut pair.l, &mut pair.r] {
            for (_, event) in peer.events.clone() {
                if let Event::ResolveName { name } = event {
                    peer.agent.resolved(now, &name, known.get(&name).copied());
                }
            }
        }
        pair.drain(SideName::L);
        pair.drain(SideName::R);
    }
    assert!(pair.l.is_selected() && pair.r.is_selected() && pair.agrees());
    let wires = pair.l.sent.iter().map(|sent| Wire::decode(&sent.payload));
    assert!(wires.count() > 0);
    for side in [SideName::L, SideName::R] {
        assert!(signalled(&pair, side).iter().all(|one| one.socket_address().is_none()));
    }
}

/// S154
/// Req: 9429-3.5.3-a
#[test]
fn relay_only_talks_to_nobody_but_the_relay_and_tells_nothing_else() {
    let server = ip("192.0.2.100");
    let mut setup = setup("S154 relay").with_turn(server);
    setup.l.addresses = vec![ip("10.0.0.2")];
    setup.l.nats = vec![NatConfig::port_restricted([ip("198.51.100.100")])];
    setup.l.config = Config::default().with_candidate_types(CandidateTypes::RELAY_ONLY);
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(5)));
    pair.run_for(secs(60));
    pair.send(SideName::L, b"through the relay").unwrap();
    pair.run_for(ms(500));
    assert_eq!(pair.r.received.len(), 1);
    let told = signalled(&pair, SideName::L);
    assert_eq!(told.iter().map(Candidate::kind).collect::<Vec<_>>(), [CandidateKind::Relayed]);
    assert_eq!(related(&told[0]), Some(address("0.0.0.0:9")));
    assert!(pair.l.sent.iter().all(|sent| sent.destination.ip() == server));
    // The peer has heard of it through the server alone.
    let known: Vec<_> = pair.r.agent.remote_candidates(pair.stream()).map(|one| one.candidate.clone()).collect();
    assert!(known.iter().all(|one| one.socket_address().unwrap().ip() == server), "{known:?}");
    assert_eq!(selected(&pair, SideName::L).local.kind(), CandidateKind::Relayed);
}

/// Req: mdns-3.3-b
#[test]
fn a_relay_is_never_asked_to_let_an_address_in_that_the_peer_hides() {
    let (server, hidden) = (ip("192.0.2.100"), ip("203.0.113.1"));
    let mut setup = setup("relay and name").with_turn(server);
    setup.r.config = Config::default().with_mdns(true);
    setup.r.servers.clear();
    // The two cannot reach each other directly, so that nothing is learned from checks.
    setup.l.only_reaches = Some(server);
    let mut pair = setup.build();
    pair.run_for(secs(1));
    let names: Vec<_> = pair
        .l
        .events
        .iter()
        .filter_map(|(_, event)| if let Event::ResolveName { name } = event { Some(name.clone()) } else { None })
        .collect();
    assert_eq!(names.len(), 1);
    let now = pair.now();
    pair.l.agent.resolved(now, &names[0], Some(hidden));
    pair.drain(SideName::L);
    pair.run_for(ms(200));
    let of_name: Vec<_> = pair.l.agent.pairs().map(|pair| pair.local.kind()).collect();
    assert_eq!(of_name, [CandidateKind::Host], "the host is paired with the name, the relay is not");
    assert_eq!(pair.servers[0].count(nilas::sim::ServerMethod::CreatePermission), 0);
}

/// Addresses that are never shown are nothing to wait for.
///
/// Req: wpc-tstate-f
#[test]
fn without_shown_hosts_a_session_that_has_tried_everything_is_disconnected() {
    let mut setup = setup("nothing works").left(|side| {
        side.config = Config::default().with_candidate_types(CandidateTypes::NO_HOST);
        side.addresses = vec!["10.0.0.2".parse().unwrap()];
        side.nats = vec![NatConfig::port_restricted(["192.0.2.1".parse().unwrap()])];
        side.reflexive_toward = Some("192.0.2.53:3478".parse().unwrap());
    });
    setup.r.signals_end = false;
    let mut pair = setup.build();
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    assert!(pair.run_until(secs(90), |pair| pair.l.agent.state() == ConnectionState::Disconnected));
}

/// What a side says of itself once its pairs are nominated, and the address for those who do not know ICE.
fn described(pair: &Pair, side: SideName) -> (String, Option<SocketAddr>) {
    let agent = &pair.peer(side).agent;
    let media = agent.describe(pair.stream(), CandidateListing::Nominated).unwrap();
    let default = agent.default_candidate(pair.stream(), ComponentId::RTP, Transport::Udp);
    (media.attributes().to_string(), default.and_then(Candidate::socket_address))
}

/// Req: mdns-3.1-d
#[test]
fn a_name_stands_in_the_candidate_and_never_for_the_default_address() {
    let (mut agent, stream) = agent(Config::default().with_mdns(true));
    add(&mut agent, stream, "192.168.1.7:5000").unwrap();
    let line = candidates(&mut agent)[0].to_string();
    let media = agent.describe(stream, CandidateListing::All).unwrap().attributes().to_string();
    assert!(line.contains(".local 5000 typ host") && media.contains(".local 5000 typ host"), "{media}");
    assert!(!media.contains("192.168.1.7"));
    // Then it is 0.0.0.0, port 9.
    assert_eq!(agent.default_candidate(stream, ComponentId::RTP, Transport::Udp), None);
}

#[test]
fn descriptions_of_a_session_that_runs_keep_hidden_addresses_hidden() {
    for make in [NatConfig::symmetric, NatConfig::port_restricted] {
        let config = Config::default().with_candidate_types(CandidateTypes::NO_HOST);
        let mut setup = behind_nats("hidden", config);
        setup.l.nats = vec![make([ip("198.51.100.100")])];
        (setup.r.nats, setup.r.addresses) = (Vec::new(), vec![ip("203.0.113.1")]);
        let mut pair = setup.build();
        assert!(pair.run_until_selected(secs(3)));
        pair.run_for(secs(1));
        let (text, default) = described(&pair, SideName::L);
        assert!(text.contains("198.51.100.100") && !text.contains("10.0.0.2"), "{text}");
        assert_eq!(default.map(|default| default.ip()), Some(ip("198.51.100.100")));
    }
}
