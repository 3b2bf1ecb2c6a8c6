//! Gathering over the simulated network: NATs, servers that die, and sessions that go on meanwhile.

use nilas::sim::{Link, NatConfig, Pair, PairSetup, PortAssignment, ServerMethod, SideName, SideSetup, Wire};
use nilas::{CandidateKind, ComponentId, Config, ConnectionState, Event, GatheringState, IceServer, Seed};

use crate::help::{ms, secs, setup, states};
use crate::solo::address;

const SERVER: &str = "192.0.2.53:3478";
const DEAD: &str = "192.0.2.99:3478";

fn hide(side: &mut SideSetup, inside: &str, public: &str, servers: &[&str]) {
    side.addresses = vec![inside.parse().unwrap()];
    side.nats = vec![NatConfig {
        lifetime: Some(secs(30)),
        ports: PortAssignment::Random,
        ..NatConfig::port_restricted([public.parse().unwrap()])
    }];
    side.servers = servers.iter().map(|server| IceServer::stun(address(server))).collect();
}

/// Both sides behind NATs that forget after 30 s, with these STUN servers, of which one lives.
fn behind_nats(name: &str, servers: &[&str]) -> PairSetup {
    let mut setup = setup(name);
    hide(&mut setup.l, "10.0.0.2", "198.51.100.100", servers);
    hide(&mut setup.r, "10.0.1.2", "203.0.113.100", servers);
    setup.servers = vec![address(SERVER).ip()];
    setup
}

fn mapped(pair: &Pair, side: SideName) -> std::net::SocketAddr {
    let mut candidates = pair.peer(side).agent.local_candidates(pair.stream());
    let found = candidates.find(|one| one.candidate.kind() == CandidateKind::ServerReflexive).unwrap();
    found.candidate.socket_address().unwrap()
}

/// Req: 8445-5.1.1.4-a
#[test]
fn what_a_nat_has_given_is_kept_alive_while_signalling_is_slow() {
    for keeps in [true, false] {
        let mut setup = behind_nats("slow signalling", &[SERVER]);
        for side in [&mut setup.l, &mut setup.r] {
            side.description_delay = secs(120);
            side.candidate_delay = secs(120);
            if !keeps {
                side.config = Config::default().with_keepalive_interval(secs(3600));
            }
        }
        let mut pair = setup.build();
        pair.run_for(secs(119));
        for side in [SideName::L, SideName::R] {
            let (told, base) = (mapped(&pair, side), pair.peer(side).sockets()[0]);
            let host = pair.host(side);
            let outside = pair.network.outside_address(host, base, address(SERVER));
            assert_eq!(outside == Some(told), keeps, "the control has to fail");
        }
        if keeps {
            assert!(pair.run_until_selected(secs(3)));
            assert!(pair.agrees());
            // Once a pair is nominated, nobody needs the other addresses any more.
            let asked = pair.servers[0].count(ServerMethod::Binding);
            pair.run_for(secs(120));
            assert_eq!(pair.servers[0].count(ServerMethod::Binding), asked);
        }
    }
}

/// S143
/// Req: 8838-13-a
#[test]
fn dead_servers_put_off_nothing_but_the_end_and_never_hurt_a_nominated_pair() {
    let mut pair = behind_nats("S143", &[DEAD, "192.0.2.98:3478", SERVER]).build();
    assert!(pair.run_until_selected(secs(2)), "the living server is enough");
    let selected = pair.l.agent.selected_pair(pair.stream(), ComponentId::RTP).unwrap().id;
    assert_eq!(pair.l.agent.gathering_state(), GatheringState::Gathering);
    assert_eq!(states(&pair, SideName::L).last(), Some(&ConnectionState::Connected));
    pair.run_for(secs(60));
    for side in [SideName::L, SideName::R] {
        use ConnectionState::{Checking, Completed, Connected};
        let peer = pair.peer(side);
        assert_eq!(states(&pair, side), [Checking, Connected, Completed]);
        assert_eq!((peer.selections(), peer.agent.gathering_state()), (1, GatheringState::Complete));
        let told: Vec<_> = peer
            .events
            .iter()
            .filter_map(|(at, event)| match event {
                Event::IceCandidateError { url, code, .. } => Some((url.to_string(), *code, *at)),
                _ => None,
            })
            .collect();
        assert_eq!(told.iter().map(|(_, code, _)| *code).collect::<Vec<_>>(), [701, 701]);
        assert!(told[0].0 != told[1].0 && told.iter().all(|(.., at)| pair.since_start(*at) <= ms(10_200)));
    }
    assert_eq!(pair.l.agent.selected_pair(pair.stream(), ComponentId::RTP).unwrap().id, selected);
}

/// Req: 8445-5.1.1.2-c
#[test]
fn checks_and_requests_to_servers_take_turns() {
    // Many checks and many servers, and one Ta for all of them; the invariants of the pair look at each gap.
    let mut setup = setup("turns").addresses(4, 8);
    setup.link = Link { loss: 1.0, ..Link::with_delay(ms(5)) };
    setup.l.servers = (0..8).map(|number| IceServer::stun(address(&format!("192.0.2.{number}:3478")))).collect();
    let mut pair = setup.build();
    pair.run_for(ms(3300));
    let starts: Vec<bool> = {
        let mut seen = std::collections::BTreeSet::new();
        let first = pair.l.sent.iter().filter_map(|sent| {
            let id = sent.payload.get(8..20)?.to_vec();
            let is_server = sent.destination.port() == 3478;
            seen.insert(id).then_some(is_server)
        });
        first.collect()
    };
    let servers = starts.iter().filter(|is_server| **is_server).count();
    assert_eq!(servers, 4 * 8, "all servers were asked");
    let first_checks = starts.iter().position(|is_server| !*is_server).unwrap();
    let (from, until) = (first_checks, starts.len().min(first_checks + 20));
    let shared = starts[from..until].iter().filter(|is_server| **is_server).count();
    assert!((8..=12).contains(&shared), "{shared} of 20 starts went to servers: {starts:?}");
}

#[test]
fn in_a_lossy_network_servers_are_asked_again_until_they_answer() {
    let mut found = 0;
    for seed in 0..40 {
        let mut setup = behind_nats("lossy", &[SERVER]);
        setup.seed = Seed::from_number(seed);
        setup.link = Link { loss: 0.2, ..Link::with_delay(ms(20)) };
        let mut pair = setup.build();
        assert!(pair.run_until_selected(secs(40)), "seed {seed}");
        let mut reflexive = pair.l.events.iter().filter_map(|(_, event)| match event {
            Event::LocalCandidate { candidate, .. } => Some(candidate.kind()),
            _ => None,
        });
        found += usize::from(reflexive.any(|kind| kind == CandidateKind::ServerReflexive));
    }
    assert!(found >= 38, "{found} of 40");
}

#[test]
fn a_restart_of_both_sides_gathers_again_and_follows_a_nat_that_has_rebound() {
    let mut pair = behind_nats("rebound", &[SERVER]).build();
    assert!(pair.run_until_selected(secs(2)));
    pair.run_for(secs(1));
    let before = mapped(&pair, SideName::L);
    let nat = pair.nats[&SideName::L][0];
    pair.network.rebind(nat).unwrap();
    pair.restart(SideName::L, pair.stream());
    pair.run_for(secs(5));
    assert!(pair.l.is_selected() && pair.r.is_selected() && pair.agrees());
    assert_eq!(pair.l.agent.generation(pair.stream()), Some(1));
    let told = pair.l.events.iter().filter_map(|(_, event)| match event {
        Event::LocalCandidate { candidate, generation: 1, .. } => candidate.socket_address(),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    assert!(told.iter().any(|one| one.ip() == before.ip() && *one != before), "{told:?}");
    let requests = pair.l.sent.iter().filter(|sent| sent.destination == address(SERVER));
    assert!(requests.map(|sent| Wire::decode(&sent.payload)).all(|wire| wire.request().is_some()));
}

fn told(pair: &Pair, side: SideName) -> Vec<CandidateKind> {
    let kind = |(_, event): &(_, Event)| match event {
        Event::LocalCandidate { candidate, .. } => Some(candidate.kind()),
        _ => None,
    };
    pair.peer(side).events.iter().filter_map(kind).collect()
}

fn codes(pair: &Pair, side: SideName) -> Vec<u16> {
    let code = |(_, event): &(_, Event)| match event {
        Event::IceCandidateError { code, .. } => Some(*code),
        _ => None,
    };
    pair.peer(side).events.iter().filter_map(code).collect()
}

/// Req: 8445-5.1.1.2-g
#[test]
fn a_relay_without_room_still_tells_the_address_that_it_sees() {
    for code in [486, 508] {
        let mut setup = setup("no room").with_turn("192.0.2.100".parse().unwrap());
        setup.l.addresses = vec!["10.0.0.2".parse().unwrap()];
        setup.l.nats = vec![NatConfig::port_restricted(["198.51.100.100".parse().unwrap()])];
        let mut pair = setup.build();
        pair.servers[0].fail(ServerMethod::Allocate, code, 1000);
        pair.run_for(secs(1));
        assert_eq!(told(&pair, SideName::L), [CandidateKind::Host, CandidateKind::ServerReflexive], "{code}");
        assert_eq!(codes(&pair, SideName::L), [code]);
    }
}

/// Req: 8445-5.1.1.2-h
#[test]
fn a_relayed_address_that_is_one_of_the_host_is_thrown_away() {
    let server = "192.0.2.100".parse().unwrap();
    for has_it in [false, true] {
        let mut setup = setup("own relay").with_turn(server);
        setup.r.servers.clear();
        let mut pair = setup.build();
        let (now, stream) = (pair.now(), pair.stream());
        if has_it {
            // The first address that the server gives out.
            let taken = std::net::SocketAddr::new(server, 49_152);
            pair.l.add_socket(now, stream, ComponentId::RTP, taken).unwrap();
            pair.drain(SideName::L);
        }
        pair.run_for(ms(200));
        assert_eq!(told(&pair, SideName::L).contains(&CandidateKind::Relayed), !has_it);
        assert!(pair.servers[0].count(ServerMethod::Allocate) >= 2, "without and with credentials");
    }
}
