//! The fixed limits of the tables of an agent, each of which somebody reaches here: what happens then, and what tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use nilas::sim::{Wire, audit};
use nilas::{
    AcceptConnectionError, Admission, Agent, Candidate, CandidateKind, CandidatePairState, ComponentId, Config,
    ConnectionEnd, ConnectionRequest, ConnectionState, Credentials, Datagram, Doorman, DropReason, Event, Foundation,
    GatheringState, Instant, PairId, Priority, RemoteCandidateOutcome, RemoteDescription, Renomination, Role, Seed,
    SetRemoteDescriptionError, SocketOptions, StreamId, TcpType, Transport,
};

use crate::help::{ms, secs};
use crate::solo::{Outcome, Solo, address, host, value};

const RTP: ComponentId = ComponentId::RTP;

fn agent(config: Config) -> (Agent, StreamId) {
    let mut agent = Agent::new(config, Role::Controlled, Seed::from_name("limits")).unwrap();
    let stream = agent.add_stream(1).unwrap();
    (agent, stream)
}

fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 1], port))
}

fn events(agent: &mut Agent) -> Vec<Event> {
    std::iter::from_fn(|| agent.poll_event()).collect()
}

fn states(events: &[Event]) -> Vec<ConnectionState> {
    let state = |event: &Event| match event {
        Event::ConnectionStateChanged { current, .. } => Some(*current),
        _ => None,
    };
    events.iter().filter_map(state).collect()
}

/// Req: mdns-3.1-b
#[test]
fn names_of_addresses_that_are_gone_make_room_and_those_in_use_stay() {
    let (mut agent, stream) = agent(Config::default().with_mdns(true));
    let now = Instant::ZERO;
    let at = |n: u16, port| SocketAddr::from(([10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]], port));
    // The name that an address gets; `None` if it has one.
    let add = |agent: &mut Agent, n, port| {
        let id = agent.add_socket(now, stream, RTP, Transport::Udp, at(n, port)).unwrap();
        let told = events(agent).into_iter().find_map(|event| match event {
            Event::RegisterName { name, address } => Some((name, address)),
            _ => None,
        });
        assert!(told.as_ref().is_none_or(|(_, ip)| *ip == at(n, port).ip()));
        (id, told.map(|(name, _)| name))
    };
    let visit = |agent: &mut Agent, n| {
        let (id, name) = add(agent, n, 5000);
        agent.remove_local_candidate(now, stream, id).unwrap();
        events(agent);
        name
    };
    assert!(add(&mut agent, 0, 5000).1.is_some());
    let names: Vec<_> = (1..256).map(|n| visit(&mut agent, n)).collect();
    assert!(names.iter().all(Option::is_some));
    assert_eq!(visit(&mut agent, 1), None, "it is remembered for a while");
    assert!(visit(&mut agent, 256).is_some());
    let again = visit(&mut agent, 1);
    assert!(again.is_some() && again != names[0], "it was forgotten");
    assert_eq!(add(&mut agent, 0, 5001).1, None, "one that is in use never is");
    // Those that are in use are as many as there are sockets.
    let all: Vec<_> = (1000..1400).filter_map(|n| add(&mut agent, n, 5000).1).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 400);
    assert!((1000..1400).all(|n| add(&mut agent, n, 5001).1.is_none()));
}

/// Req: 8445-7.3.1.4-f
#[test]
fn a_description_has_eight_forks() {
    let mut solo = Solo::checking(Role::Controlling);
    let fork = |n: usize| Credentials::new(&format!("fork{n}"), "passwordOfTheFork01234567").unwrap();
    for n in 1..8 {
        solo.agent.add_forked_credentials(solo.now, solo.stream, &fork(n)).unwrap();
    }
    let refused = solo.agent.add_forked_credentials(solo.now, solo.stream, &fork(8));
    assert_eq!(refused, Err(SetRemoteDescriptionError::TooManyForks));
    assert_eq!(solo.agent.add_forked_credentials(solo.now, solo.stream, &fork(7)), Ok(()), "it is known");
    let check = |solo: &mut Solo, n| {
        solo.theirs = fork(n);
        let bytes = solo.check();
        let bytes = solo.seal(bytes);
        solo.receive_from(peer(7000), &bytes)
    };
    assert_eq!(check(&mut solo, 7), Outcome::Handled);
    assert_eq!(check(&mut solo, 8), Outcome::Dropped(DropReason::UnknownPeer));
}

#[test]
fn of_removed_candidates_of_the_peer_and_of_vetoed_pairs_the_oldest_are_forgotten() {
    for removes_pairs in [false, true] {
        let mut solo = Solo::with(Role::Controlled, Config::default());
        solo.describe((6000..6065).map(|port| host(&peer(port).to_string())).collect());
        let pairs: Vec<PairId> = (6000..6065).map(|port| solo.pair_to(peer(port)).unwrap()).collect();
        let candidates: Vec<_> = solo.agent.remote_candidates(solo.stream).map(|remote| remote.id).collect();
        for (pair, candidate) in pairs.into_iter().zip(candidates) {
            if removes_pairs {
                solo.agent.remove_pair(solo.now, pair).unwrap();
            } else {
                solo.agent.remove_remote_candidate(solo.now, solo.stream, candidate).unwrap();
            }
        }
        solo.drain();
        for port in 6000..6065 {
            let check = solo.check();
            let check = solo.seal(check);
            solo.receive_from(peer(port), &check);
        }
        let back: Vec<u16> = solo.agent.pairs().map(|pair| pair.remote_address.port()).collect();
        assert_eq!(back, [6000], "pairs: {removes_pairs}");
    }
}

#[test]
fn of_a_generation_to_come_32_candidates_are_kept() {
    let mut solo = Solo::checking(Role::Controlling);
    let next = Credentials::new("next", "passwordOfThePeer543210").unwrap();
    for port in 7000..7033 {
        let candidate = host(&peer(port).to_string()).with_extension("ufrag", "next");
        let outcome = solo.agent.add_remote_candidate(solo.now, solo.stream, candidate).unwrap();
        let expected =
            if port < 7032 { RemoteCandidateOutcome::Deferred } else { RemoteCandidateOutcome::OtherGeneration };
        assert_eq!(outcome, expected, "{port}");
    }
    solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
    solo.agent.set_remote_description(solo.now, solo.stream, &RemoteDescription::new(next)).unwrap();
    solo.drain();
    assert_eq!(solo.agent.remote_candidates(solo.stream).count(), 32);
}

/// Who opens connections and talks nonsense makes the agent close them, and tell of it.
#[test]
fn connections_that_nobody_is_told_to_close_are_not_accepted_and_their_ends_cost_no_state() {
    let (mut agent, stream) = agent(Config::default());
    let (now, listener) = (Instant::ZERO, address("198.51.100.1:7000"));
    agent.add_socket(now, stream, RTP, Transport::Tcp, listener).unwrap();
    let theirs = Credentials::new("peer", "passwordOfThePeer012345").unwrap();
    agent.set_remote_description(now, stream, &RemoteDescription::new(theirs)).unwrap();
    let call = |agent: &mut Agent, n: u16| {
        let id = agent.accept_connection(now, listener, peer(n + 1))?;
        assert!(agent.handle_stream_bytes(now, id, &mut &b"\xff\xff\xff"[..]).is_none());
        Ok(id)
    };
    let ids: Vec<_> = (0..1024).map(|n| call(&mut agent, n).unwrap()).collect();
    let full = Err(AcceptConnectionError::TooMany(1024));
    assert_eq!((call(&mut agent, 1024), call(&mut agent, 1025)), (full, full));
    assert_eq!(agent.stats().connections_refused, 2);
    assert_eq!(agent.poll_connection(), Some(ConnectionRequest::Close { id: ids[0] }));
    assert!(call(&mut agent, 1024).is_ok());
    let closed = std::iter::from_fn(|| agent.poll_connection()).count();
    assert_eq!(closed, 1024, "whatever was to be closed is told");
    agent.close(now);
    let events = events(&mut agent);
    let is_end = |event: &&Event| matches!(event, Event::ConnectionEnded { reason: ConnectionEnd::NotStun, .. });
    let ends = events.iter().filter(is_end).count();
    assert_eq!((ends, ends as u64 + agent.stats().events_lost), ((1024 + 16) / 8, 1025));
    assert_eq!(states(&events).last(), Some(&ConnectionState::Closed));
}

/// Req: 6544-10.1-a
#[test]
fn calls_that_nobody_makes_wait_and_none_is_forgotten() {
    let config = Config::default().with_max_pairs(2000).with_max_remote_candidates(2000).with_ta(ms(5));
    let (mut agent, stream) = agent(config);
    let now = Instant::ZERO;
    let active = SocketOptions::default().with_tcp_type(TcpType::Active);
    agent.add_socket_with(now, stream, RTP, Transport::Tcp, address("198.51.100.1:9"), active).unwrap();
    let passive = |n: u32| {
        let at = SocketAddr::new(IpAddr::from((0xc612_0000 + n).to_be_bytes()), 7000);
        let (foundation, priority) = (format!("f{n}").parse().unwrap(), Priority::new(1_000_000 - n).unwrap());
        Candidate::new(CandidateKind::Host, RTP, foundation, priority, at).with_tcp_type(TcpType::Passive)
    };
    let theirs = Credentials::new("peer", "passwordOfThePeer012345").unwrap();
    let candidates = (0..1100).map(passive).collect();
    let description = RemoteDescription::new(theirs).with_pacing(ms(5)).with_candidates(candidates);
    agent.set_remote_description(now, stream, &description).unwrap();
    let mut buffer = Vec::new();
    while agent.poll_event().is_some() {}
    for step in 0..1300 {
        // Nobody asks which connections are wanted.
        assert!(agent.poll_transmit(now + ms(5 * step), &mut buffer).is_none());
    }
    let asked: Vec<_> = std::iter::from_fn(|| agent.poll_connection()).collect();
    let opened = |request: &ConnectionRequest| match request {
        ConnectionRequest::Open { remote, .. } => Some(*remote),
        _ => None,
    };
    let remotes: BTreeSet<SocketAddr> = asked.iter().filter_map(opened).collect();
    assert_eq!((asked.len(), remotes.len()), (1100, 1100), "those that waited have room when others were polled");
    assert_eq!(agent.poll_timeout().map(|at| at > now), Some(true));
}

/// Req: 6544-7.2-b
#[test]
fn a_first_frame_of_a_stranger_has_2048_bytes() {
    let (mut agent, stream) = agent(Config::default());
    let (now, listener) = (Instant::ZERO, address("198.51.100.1:7000"));
    agent.add_socket(now, stream, RTP, Transport::Tcp, listener).unwrap();
    let mut doorman = Doorman::new(10, 10);
    for (prefix, is_taken) in [([0x08, 0x00, 0], true), ([0x08, 0x01, 0], false)] {
        let id = agent.accept_connection(now, listener, peer(9)).unwrap();
        assert!(agent.handle_stream_bytes(now, id, &mut &prefix[..]).is_none());
        assert_eq!(agent.poll_connection().is_none(), is_taken, "{prefix:?}");
        doorman.accept(now, 1, peer(9)).unwrap();
        let expected = if is_taken { Admission::Waiting } else { Admission::Refused(ConnectionEnd::NotStun) };
        assert_eq!(doorman.handle_bytes(&1, &prefix), expected);
    }
}

/// Req: 8489-6.3.1-a
#[test]
fn of_many_attributes_that_are_not_understood_eight_are_listed() {
    let mut solo = Solo::checking(Role::Controlled);
    let check = (0x7000..0x7014).fold(solo.check(), |check, kind| check.attribute(kind, b""));
    let check = solo.seal(check);
    solo.take();
    assert_eq!(solo.receive(&check), Outcome::Dropped(DropReason::BadRequest));
    let listed = value(&solo.last().bytes, 0x000a).unwrap();
    assert_eq!((listed.len(), listed[..2].to_vec(), listed[14..].to_vec()), (16, vec![0x70, 0], vec![0x70, 7]));
}

/// Req: 8445-7.2.5.2.4-a
#[test]
fn whoever_answers_every_check_with_an_error_that_may_pass_is_asked_a_few_times() {
    for (code, most) in [(500, 1 + 4), (487, 1 + 10)] {
        let mut solo = Solo::checking(Role::Controlling);
        let mut asked = 1;
        for _ in 0..50 {
            let Some(request) = solo.take_requests().pop() else { break };
            let error = solo.error(request.1.id, code);
            solo.receive(&error);
            solo.run_for(ms(100));
            asked += solo.out.iter().filter(|out| matches!(out.wire(), Wire::Request(_))).count();
        }
        assert_eq!((asked, solo.state()), (most, Some(CandidatePairState::Failed)), "{code}");
    }
}

/// Req: 8445-12.2-b
#[test]
fn of_many_failed_pairs_eight_are_checked_again_in_a_round_and_all_in_their_turn() {
    let mut solo = Solo::with(Role::Controlling, Config::default());
    let worse = Priority::new(1_000_000).unwrap();
    let foundation: Foundation = "low".parse().unwrap();
    let good = address("203.0.113.9:6000");
    let candidate = Candidate::new(CandidateKind::Host, RTP, foundation, worse, good);
    let others = (6000..6012).map(|port| host(&peer(port).to_string()));
    solo.describe_as(Some(Renomination::Draft2026), others.chain([candidate]).collect());
    solo.end_of_candidates();
    let mut asked: Vec<(Instant, SocketAddr)> = Vec::new();
    for _ in 0..12_000 {
        solo.run_for(ms(20));
        for (out, request) in solo.take_requests() {
            if out.destination == good {
                let answer = solo.success(request.id, out.source);
                solo.receive_from(good, &answer);
            } else {
                asked.push((out.at, out.destination));
            }
        }
    }
    assert!(solo.agent.selected_pair(solo.stream, RTP).is_some_and(|pair| pair.remote_address == good));
    let later: Vec<_> = asked.into_iter().filter(|(at, _)| *at > Instant::ZERO + secs(60)).collect();
    let rounds: Vec<&[(Instant, SocketAddr)]> = later.chunk_by(|one, next| next.0 < one.0 + secs(1)).collect();
    assert!(rounds.len() > 2 && rounds.iter().all(|round| round.len() == 8), "{rounds:?}");
    assert_eq!(later.iter().map(|(_, to)| to.port()).collect::<BTreeSet<_>>().len(), 12);
}

#[test]
fn pairs_and_candidates_that_come_and_go_while_nobody_polls_leave_nothing_behind() {
    let (mut agent, stream) = agent(Config::default().with_pair_events(true));
    let now = Instant::ZERO;
    agent.add_socket(now, stream, RTP, Transport::Udp, address("198.51.100.1:5000")).unwrap();
    let theirs = Credentials::new("peer", "passwordOfThePeer012345").unwrap();
    agent.set_remote_description(now, stream, &RemoteDescription::new(theirs)).unwrap();
    let mut buffer = Vec::new();
    for port in 1000..4000 {
        let _ = agent.add_remote_candidate(now, stream, host(&peer(port).to_string())).unwrap();
        let _ = agent.poll_transmit(now, &mut buffer);
        buffer.clear();
        let id = agent.remote_candidates(stream).next().unwrap().id;
        if port > 1003 {
            agent.remove_remote_candidate(now, stream, id).unwrap();
        }
    }
    audit(&agent).unwrap();
    // Whoever polls in the end is told what there is.
    let mut told = BTreeMap::new();
    for event in std::iter::from_fn(|| agent.poll_event()) {
        match event {
            Event::PairAdded { pair, .. } => assert_eq!(told.insert(pair, ()), None),
            Event::PairRemoved { pair } => assert_eq!(told.remove(&pair), Some(())),
            _ => {}
        }
    }
    let pairs: Vec<PairId> = agent.pairs().map(|pair| pair.id).collect();
    assert_eq!((told.into_keys().collect::<Vec<_>>(), pairs.len()), (pairs.clone(), 4));
    audit(&agent).unwrap();
}

/// A peer that flips its role for ever, while names are asked for and candidates are too many.
#[test]
fn floods_of_a_peer_cost_no_change_of_state() {
    let (mut agent, stream) = agent(Config::default().with_max_remote_candidates(2).with_pair_events(true));
    let (now, here) = (Instant::ZERO, address("198.51.100.1:5000"));
    agent.add_socket(now, stream, RTP, Transport::Udp, here).unwrap();
    let theirs = Credentials::new("peer", "passwordOfThePeer012345").unwrap();
    agent.set_remote_description(now, stream, &RemoteDescription::new(theirs)).unwrap();
    let ours = agent.local_credentials(stream).unwrap().clone();
    let mut buffer = Vec::new();
    for number in 0..4000_u32 {
        let mut id = [2; 12];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let check =
            nilas::sim::MessageBuilder::binding_request(id).username(ours.ufrag.as_str(), "peer").priority(1_000_000);
        // A tiebreaker that is above ours, or below, each of which makes us yield.
        let check = if agent.role() == Role::Controlled { check.controlled(0) } else { check.controlling(u64::MAX) };
        let check = check.integrity(&ours.password).fingerprint().build();
        let source = peer(6000 + (number % 3000) as u16);
        let _ = agent.handle_datagram(now, &Datagram::new(source, here, &check));
        let name = format!("{:08x}-0000-4000-8000-000000000000.local", number);
        let named = format!("candidate:1 1 udp {} {name} 6000 typ host", 1_000_000 + number);
        let _ = agent.add_remote_candidate(now, stream, named.parse().unwrap());
        let _ = agent.add_remote_candidate(now, stream, host(&source.to_string()));
        while agent.poll_transmit(now, &mut buffer).is_some() {
            buffer.clear();
        }
    }
    agent.end_of_local_candidates(now, stream).unwrap();
    agent.close(now);
    audit(&agent).unwrap();
    let events = events(&mut agent);
    let roles = events.iter().filter(|event| matches!(event, Event::RoleChanged { .. })).count();
    assert_eq!((roles, agent.stats().events_lost > 3000), ((1024 + 16) / 8, true));
    assert_eq!(states(&events), [ConnectionState::Checking, ConnectionState::Closed]);
    let is_ended = |event: &Event| matches!(event, Event::EndOfCandidates { .. });
    let is_gathered =
        |event: &Event| matches!(event, Event::GatheringStateChanged { current: GatheringState::Complete, .. });
    assert!(events.iter().any(is_ended) && events.iter().any(is_gathered));
}
