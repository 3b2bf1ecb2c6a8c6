//! Tables that somebody would like to see grow.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use nilas::sim::MessageBuilder;
use nilas::{
    AddLocalCandidateError, AddStreamError, Agent, CandidateKind, ComponentId, Config, ConnectionState, Credentials,
    Datagram, Event, Instant, RemoteDescription, Role, Seed, StreamId, Transport,
};

use crate::help::{secs, setup};

const RTP: ComponentId = ComponentId::RTP;

fn agent(config: Config) -> Agent {
    Agent::new(config, Role::Controlled, Seed::from_name("limits")).unwrap()
}

fn here(port: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], port))
}

/// Lets a lite agent be checked from so many ports at so many sockets, and nominated or not.
fn check_lite(agent: &mut Agent, sockets: u16, ports: u16, nominates: bool) {
    let now = Instant::ZERO;
    let stream = agent.add_stream(1).unwrap();
    for n in 0..sockets {
        agent.add_socket(now, stream, RTP, Transport::Udp, here(5000 + n)).unwrap();
    }
    let theirs = Credentials::new("peer", "passwordOfThePeer012345").unwrap();
    agent.set_remote_description(now, stream, &RemoteDescription::new(theirs)).unwrap();
    let password = agent.local_credentials(stream).unwrap().clone();
    let mut number = 0_u32;
    for to in 0..sockets {
        for from in 0..ports {
            number += 1;
            let mut id = [1; 12];
            id[..4].copy_from_slice(&number.to_be_bytes());
            let check = MessageBuilder::binding_request(id)
                .username(password.ufrag.as_str(), "peer")
                .priority(1)
                .controlling(1);
            let check = if nominates { check.use_candidate() } else { check };
            let check = check.integrity(&password.password).fingerprint().build();
            let source = SocketAddr::from(([203, 0, 113, 1], 6000 + from));
            let _ = agent.handle_datagram(now, &Datagram::new(source, here(5000 + to), &check));
            let mut buffer = Vec::new();
            while agent.poll_transmit(now, &mut buffer).is_some() {
                buffer.clear();
            }
            while agent.poll_event().is_some() {}
        }
    }
    if nominates {
        // The last nomination is what it follows.
        let selected = agent.selected_pair(stream, RTP).unwrap();
        assert!(agent.pairs().any(|pair| pair.id == selected.id));
    }
}

#[test]
fn a_lite_agent_keeps_to_the_limit_of_pairs_and_follows_the_last_nomination() {
    for (nominates, most) in [(true, 10), (false, 10), (true, 1)] {
        let mut agent = agent(Config::default().with_lite(true).with_max_pairs(most));
        check_lite(&mut agent, 3, 30, nominates);
        assert_eq!(agent.pairs().count(), most, "nominates: {nominates}");
        assert!(agent.stats().pairs_refused > 0);
    }
}

#[test]
fn streams_and_sockets_have_a_limit_and_room_again_when_some_are_gone() {
    let mut agent = agent(Config::default());
    let now = Instant::ZERO;
    let streams: Vec<_> = (0..Agent::MAX_STREAMS).map(|_| agent.add_stream(1).unwrap()).collect();
    assert_eq!(agent.add_stream(1), Err(AddStreamError::TooMany(Agent::MAX_STREAMS)));
    agent.remove_stream(now, streams[7]).unwrap();
    let stream = agent.add_stream(1).unwrap();
    let add = |agent: &mut Agent, port| agent.add_socket(now, stream, RTP, Transport::Udp, here(port));
    let first = add(&mut agent, 1000).unwrap();
    for port in 1001..1000 + u16::try_from(Agent::MAX_SOCKETS).unwrap() {
        add(&mut agent, port).unwrap();
    }
    assert_eq!(add(&mut agent, 9999), Err(AddLocalCandidateError::TooMany(Agent::MAX_SOCKETS)));
    agent.remove_local_candidate(now, stream, first).unwrap();
    assert!(add(&mut agent, 9999).is_ok());
}

#[test]
fn of_the_addresses_that_a_nat_gives_one_socket_the_oldest_goes() {
    let mut agent = agent(Config::default());
    let now = Instant::ZERO;
    let stream = agent.add_stream(1).unwrap();
    agent.add_socket(now, stream, RTP, Transport::Udp, here(5000)).unwrap();
    let mapped = |port| SocketAddr::from(([203, 0, 113, 9], port));
    for port in 1000..1200 {
        let server: IpAddr = "192.0.2.1".parse().unwrap();
        agent.add_server_reflexive(now, stream, here(5000), mapped(port), Some(server)).unwrap();
        while agent.poll_event().is_some() {}
    }
    let candidates = agent.local_candidates(stream);
    let ports: Vec<u16> = candidates
        .filter(|local| local.candidate.kind() == CandidateKind::ServerReflexive)
        .map(|local| local.candidate.socket_address().unwrap().port())
        .collect();
    assert_eq!(ports, (1136..1200).collect::<Vec<_>>());
}

#[test]
fn an_agent_with_five_hundred_streams_has_room_for_all_that_it_tells_of_them_at_one_instant() {
    for components in [1, 2] {
        let mut agent = agent(Config::default());
        let now = Instant::ZERO;
        let streams: Vec<_> = (0..500).map(|_| agent.add_stream(components).unwrap()).collect();
        let mut port = 1000;
        for stream in &streams {
            for component in 1..=components {
                port += 1;
                let component = ComponentId::new(component).unwrap();
                agent.add_socket(now, *stream, component, Transport::Udp, here(port)).unwrap();
            }
            agent.end_of_local_candidates(now, *stream).unwrap();
        }
        let mut told: BTreeMap<StreamId, [u16; 2]> = BTreeMap::new();
        for event in std::iter::from_fn(|| agent.poll_event()) {
            match event {
                Event::LocalCandidate { stream, .. } => told.entry(stream).or_default()[0] += 1,
                Event::EndOfCandidates { stream, .. } => told.entry(stream).or_default()[1] += 1,
                _ => {}
            }
        }
        assert_eq!(agent.stats().events_lost, 0);
        assert_eq!(told, streams.iter().map(|stream| (*stream, [components, 1])).collect());
        for stream in &streams {
            agent.remove_stream(now, *stream).unwrap();
        }
        agent.close(now);
        let is_end =
            |event: &Event| matches!(event, Event::StreamStateChanged { current: ConnectionState::Closed, .. });
        let ends = std::iter::from_fn(|| agent.poll_event()).filter(is_end).count();
        assert_eq!((ends, agent.stats().events_lost), (500, 0));
    }
}

#[test]
fn a_flood_of_icmp_messages_at_a_relay_costs_no_change_of_state_and_not_the_close() {
    let server: IpAddr = "192.0.2.100".parse().unwrap();
    let setup = setup("flood").with_turn(server).left(|l| l.only_reaches = Some(server)).right(|r| r.servers.clear());
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(5)));
    pair.run_for(secs(1));
    let (stream, base, start) = (pair.stream(), pair.l.sockets()[0], pair.now());
    let agent = &mut pair.l.agent;
    let peer = agent.selected_pair(stream, RTP).unwrap().remote_address;
    let lost_before = agent.stats().events_lost;
    let icmp = MessageBuilder::new(0x0017, [7; 12]).xor_address(0x0012, peer);
    let icmp = icmp.attribute(0x8004, &[0, 0, 3, 1, 0, 0, 0, 0]).build();
    // Nobody answers any more, and nobody polls for events, until long after consent has ended.
    let mut buffer = Vec::new();
    for second in 1..90 {
        let now = start + secs(second);
        agent.handle_timeout(now);
        for _ in 0..100 {
            let _ = agent.handle_datagram(now, &Datagram::new(SocketAddr::new(server, 3478), base, &icmp));
        }
        while agent.poll_transmit(now, &mut buffer).is_some() {
            buffer.clear();
        }
    }
    agent.close(start + secs(90));
    let lost = agent.stats().events_lost - lost_before;
    let events: Vec<Event> = std::iter::from_fn(|| agent.poll_event()).collect();
    let messages = events.iter().filter(|event| matches!(event, Event::RelayIcmp { .. })).count();
    assert_eq!(messages, (1024 + 16) / 8);
    // Only of the flood something was lost.
    assert_eq!(u64::try_from(messages).unwrap() + lost, 8900);
    let state = |event: &Event| match event {
        Event::ConnectionStateChanged { current, .. } => Some(*current),
        _ => None,
    };
    let states: Vec<ConnectionState> = events.iter().filter_map(state).collect();
    assert_eq!(states, [ConnectionState::Disconnected, ConnectionState::Failed, ConnectionState::Closed]);
    let is_unselected = |event: &Event| matches!(event, Event::SelectedPairChanged { pair: None, .. });
    assert!(events.iter().any(is_unselected));
}

#[test]
fn whoever_never_polls_hears_of_the_close_all_the_same() {
    let config = Config::default().with_pair_events(true);
    let mut agent = agent(config);
    let now = Instant::ZERO;
    // Streams that come and go, each of which is an event that is never lost, are no way to grow without limit.
    for _ in 0..5000 {
        let stream = agent.add_stream(1).unwrap();
        agent.add_socket(now, stream, RTP, Transport::Udp, here(5000)).unwrap();
        agent.remove_stream(now, stream).unwrap();
    }
    agent.close(now);
    let events: Vec<Event> = std::iter::from_fn(|| agent.poll_event()).collect();
    assert!(events.len() <= 1024 + 16 + Agent::MAX_STREAMS, "{}", events.len());
    assert!(agent.stats().events_lost > 0);
    let is_closed =
        |event: &Event| matches!(event, Event::ConnectionStateChanged { current: ConnectionState::Closed, .. });
    assert!(events.iter().any(is_closed));
}
