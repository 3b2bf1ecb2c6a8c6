//! Streams and components that come and go while others run.

use std::collections::BTreeSet;

use nilas::sim::{Link, Pair, PairSetup, Passing, SideName, Verdict, Wire};
use nilas::{
    CandidatePairState, ComponentId, Config, ConnectionState, Datagram, DropReason, Event, GatheringState, Instant,
    Received, SendError, StateReason, StreamId, UnknownStream,
};

use crate::help::{at, ms, secs, setup};

use ConnectionState::{Checking, Closed, Completed, Failed};
use SideName::{L, R};

const BOTH: [SideName; 2] = [L, R];
const RTP: ComponentId = ComponentId::RTP;
const RTCP: ComponentId = ComponentId::RTCP;

/// So many streams and components on both sides; with stream s and component c, from 0, the ports are 5000 + s * components
/// + c on each address.
fn several(name: &str, streams: usize, components: u16) -> PairSetup {
    let mut setup = setup(name).left(|l| l.components = components).right(|r| r.components = components);
    setup.streams = streams;
    setup
}

/// Drops what goes to these ports.
fn block(pair: &mut Pair, ports: &[u16]) {
    let ports: BTreeSet<u16> = ports.iter().copied().collect();
    pair.network.set_hook(
        move |packet: &Passing<'_>| {
            if ports.contains(&packet.destination.port()) { Verdict::Drop } else { Verdict::Pass }
        },
    );
}

fn remove(pair: &mut Pair, side: SideName, stream: StreamId) {
    let now = pair.now();
    let agent = if side == L { &mut pair.l.agent } else { &mut pair.r.agent };
    agent.remove_stream(now, stream).unwrap();
    pair.drain(side);
}

/// The requests of a side from one of its ports, by their times.
fn requests_from(pair: &Pair, side: SideName, port: u16) -> Vec<Instant> {
    let is_one = |sent: &&nilas::sim::Sent| {
        sent.source.port() == port && matches!(Wire::decode(&sent.payload), Wire::Request(_))
    };
    pair.peer(side).sent.iter().filter(is_one).map(|sent| sent.at).collect()
}

fn state(pair: &Pair, side: SideName, stream: StreamId) -> Option<(ConnectionState, StateReason)> {
    pair.peer(side).agent.stream_state(stream)
}

/// Req: 8445-6.1.2.6-c
/// Req: 8445-7.2.5.3.3-b
#[test]
fn of_one_foundation_one_pair_is_checked_first_over_all_streams_and_components() {
    let mut pair = several("freezing", 3, 2).build();
    // One way takes 25 ms: until then the first component of the first stream stands for all of the foundation.
    pair.run_to(at(20));
    let states = |pair: &Pair| {
        let pairs = pair.l.agent.pairs().filter(|one| one.base.port() < 5006);
        let mut states: Vec<_> = pairs.map(|one| (one.stream, one.component, one.state)).collect();
        states.sort_unstable_by_key(|(stream, component, _)| (*stream, *component));
        states.into_iter().map(|(_, _, state)| state).collect::<Vec<_>>()
    };
    use CandidatePairState::{Frozen, InProgress, Succeeded};
    assert_eq!(states(&pair), [InProgress, Frozen, Frozen, Frozen, Frozen, Frozen]);
    pair.run_to(at(55));
    let after = states(&pair);
    assert_eq!(after[0], Succeeded);
    assert!(after[1..].iter().all(|state| *state != Frozen), "its success unfreezes all: {after:?}");
    assert!(pair.run_until(secs(5), Pair::agrees));
    // Fair to the streams: the second round begins when each had its turn.
    let firsts: Vec<_> = (5000..5006).map(|port| requests_from(&pair, L, port)[0]).collect();
    let latest_of_first_components = [firsts[2], firsts[4]].into_iter().max().unwrap();
    assert!(latest_of_first_components < firsts[3].max(firsts[5]), "{firsts:?}");
}

/// Req: 8839-4.4.1-f
#[test]
fn a_stream_that_is_removed_while_it_is_checked_says_nothing_more() {
    let config = Config::default().with_pair_events(true);
    let mut pair = several("removed early", 2, 1).addresses(2, 2).config(config).build();
    let [first, second] = pair.streams() else { panic!("two streams") };
    let (first, second) = (*first, *second);
    pair.run_to(at(20));
    assert!(pair.l.agent.pairs().any(|pair| pair.stream == first && pair.state == CandidatePairState::InProgress));
    let sockets: BTreeSet<_> = pair.l.agent.local_candidates(first).map(|local| local.base).collect();
    assert_eq!(sockets.len(), 2);
    remove(&mut pair, L, first);
    let (removed_at, before) = (pair.now(), pair.l.sent.len());
    pair.run_for(secs(60));
    assert!(pair.l.sent[before..].iter().all(|sent| !sockets.contains(&sent.source)), "not even an answer");
    assert!(pair.l.sent.len() > before);
    assert_eq!(pair.l.agent.streams().collect::<Vec<_>>(), [second]);
    assert_eq!(pair.l.agent.pairs().filter(|pair| pair.stream == first).count(), 0);
    assert!(pair.l.agent.stats().dropped(DropReason::UnknownDestination) > 0, "the peer's checks");
    let gone = pair.l.events.iter().filter(|(_, event)| matches!(event, Event::PairRemoved { .. })).count();
    assert!(gone >= 4, "the tables can be followed by the events");
    let closed = pair.l.events.iter().find_map(|(at, event)| match event {
        Event::StreamStateChanged { stream, previous, current: Closed, reason, .. } if *stream == first => {
            Some((*at, *previous, *reason))
        }
        _ => None,
    });
    assert_eq!(closed, Some((removed_at, Checking, StateReason::ClosedByApplication)));
    // The other one is connected, and all that counts.
    assert_eq!(state(&pair, L, second), Some((Completed, StateReason::PairSelected)));
    assert_eq!(pair.l.agent.state(), Completed);
    assert_eq!(state(&pair, R, second).map(|(state, _)| state), Some(Completed));
    assert_eq!(state(&pair, R, first).map(|(state, _)| state), Some(Failed), "the peer was not told");
    remove(&mut pair, R, first);
    assert_eq!(pair.r.agent.state(), Completed);
}

/// The second stream's pairs are frozen behind the first one's, which nobody answers.
#[test]
fn removing_a_stream_frees_the_pairs_that_wait_for_its_checks() {
    let mut pair = several("frees", 2, 1).build();
    block(&mut pair, &[5000]);
    let first = pair.stream();
    pair.run_for(secs(3));
    assert_eq!(requests_from(&pair, L, 5001), [], "its foundation is busy in the first list");
    let removed_at = pair.now();
    remove(&mut pair, L, first);
    remove(&mut pair, R, first);
    pair.run_for(secs(2));
    assert_eq!(requests_from(&pair, L, 5001).first(), Some(&removed_at), "at once, since nothing else was started");
    assert_eq!(pair.l.agent.state(), Completed);
}

#[test]
fn nothing_is_known_of_a_removed_stream_and_its_name_is_not_used_again() {
    let mut pair = several("names", 2, 1).build();
    assert!(pair.run_until_selected(secs(5)));
    let [first, second] = pair.streams() else { panic!("two streams") };
    let (first, second) = (*first, *second);
    let socket = pair.l.agent.local_candidates(second).next().unwrap().base;
    let remote = pair.l.agent.remote_candidates(second).next().unwrap().candidate.clone();
    let id = pair.l.agent.selected_pair(second, RTP).unwrap().id;
    let route = pair.l.agent.route(pair.now(), second, RTP).unwrap();
    let credentials = pair.l.agent.local_credentials(second).unwrap().clone();
    remove(&mut pair, L, second);
    let now = pair.now();
    let agent = &mut pair.l.agent;
    let of = |error: UnknownStream| error.0;
    assert_eq!(agent.remove_stream(now, second).map_err(of), Err(second));
    assert_eq!(agent.keep_components(now, second, 1).map_err(of), Err(second));
    assert_eq!(agent.end_of_local_candidates(now, second).map_err(of), Err(second));
    assert_eq!(agent.end_of_remote_candidates(now, second).map_err(of), Err(second));
    assert!(agent.add_remote_candidate(now, second, remote).is_err());
    assert_eq!(agent.route(now, second, RTP), Err(SendError::UnknownStream(second)));
    assert!(!agent.is_current(now, &route));
    assert!(agent.pair(id).is_none() && agent.selected_pair(second, RTP).is_none());
    assert_eq!(agent.stream_state(second), None);
    agent.record_sent(now, &route, 1, 1);
    let datagram = Datagram::new(route.destination, route.source, b"\x80late");
    assert_eq!(agent.handle_datagram(now, &datagram), Received::Dropped(DropReason::UnknownDestination));
    let third = agent.add_stream(1).unwrap();
    assert!(![first, second].contains(&third));
    assert_ne!(agent.local_credentials(third), Some(&credentials));
    // The socket is free for another stream.
    assert!(agent.add_socket(now, third, RTP, nilas::Transport::Udp, socket).is_ok());
}

#[test]
fn the_selected_pair_of_a_removed_stream_is_told_to_be_gone() {
    let mut pair = several("told", 2, 2).build();
    assert!(pair.run_until_selected(secs(5)));
    let second = pair.streams()[1];
    let before = pair.l.events.len();
    remove(&mut pair, L, second);
    let told: Vec<_> = pair.l.events[before..]
        .iter()
        .map(|(_, event)| match event {
            Event::SelectedPairChanged { stream, component, pair: None, .. } => (*stream, Some(*component)),
            Event::StreamStateChanged { stream, current: Closed, .. } => (*stream, None),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(second, Some(RTP)), (second, Some(RTCP)), (second, None)]);
}

/// Req: wpc-gathering-a
#[test]
fn a_stream_that_was_still_gathering_holds_nothing_up_once_it_is_removed() {
    let mut pair = several("gathering", 1, 1).build();
    assert!(pair.run_until_selected(secs(5)));
    let late = pair.l.agent.add_stream(1).unwrap();
    pair.run_for(secs(5));
    assert_ne!(pair.l.agent.state(), Completed);
    assert_eq!(pair.l.agent.gathering_state(), GatheringState::New);
    remove(&mut pair, L, late);
    assert_eq!(pair.l.agent.gathering_state(), GatheringState::Complete);
    assert_eq!(pair.l.agent.state(), Completed);
}

/// Req: 8445-8.1.2-d
#[test]
fn the_controlling_side_goes_on_without_the_stream_that_failed() {
    let mut pair = several("goes on", 3, 1).build();
    block(&mut pair, &[5001]);
    pair.run_for(secs(60));
    let second = pair.streams()[1];
    for side in BOTH {
        assert_eq!(pair.peer(side).agent.state(), Failed);
        assert_eq!(state(&pair, side, second), Some((Failed, StateReason::ChecksFailed)));
        remove(&mut pair, side, second);
        let peer = pair.peer(side);
        assert_eq!(peer.agent.state(), Completed, "{side:?}");
        let (_, last) = peer.events.last().unwrap();
        assert!(
            matches!(last, Event::ConnectionStateChanged { previous: Failed, current: Completed, .. }),
            "{side:?}: {last:?}"
        );
    }
}

/// One stream is restarted and another removed while a third one carries data all the time.
///
/// S118
#[test]
fn a_stream_carries_its_data_while_others_are_restarted_and_removed() {
    let link = Link { jitter: ms(10), ..Link::with_delay(ms(20)) };
    let mut pair = several("undisturbed", 3, 1).link(link).build();
    assert!(pair.run_until_selected(secs(5)));
    let [first, second, third] = pair.streams() else { panic!("three streams") };
    let (first, second, third) = (*first, *second, *third);
    let selected = |pair: &Pair, side| pair.peer(side).agent.selected_pair(first, RTP).map(|pair| pair.id);
    let before = BOTH.map(|side| selected(&pair, side));
    let mut sent = 0;
    for round in 0..400 {
        match round {
            50 => pair.restart(R, second),
            60 => remove(&mut pair, L, third),
            200 => remove(&mut pair, R, third),
            250 => pair.restart(L, second),
            _ => {}
        }
        for side in BOTH {
            pair.send(side, b"\x80data").unwrap();
        }
        sent += 1;
        pair.run_for(ms(20));
        assert_eq!(BOTH.map(|side| selected(&pair, side)), before, "round {round}");
    }
    pair.run_for(secs(1));
    for side in BOTH {
        let peer = pair.peer(side);
        assert_eq!(peer.received.iter().filter(|data| data.stream == first).count(), sent, "{side:?}");
        assert_eq!(peer.agent.state(), Completed, "{side:?}");
        assert_eq!(peer.agent.generation(second), Some(2));
        let selections = peer
            .events
            .iter()
            .filter(|(_, event)| matches!(event, Event::SelectedPairChanged { stream, .. } if *stream == first));
        assert_eq!(selections.count(), 1, "{side:?}");
    }
}

#[test]
fn a_stream_is_removed_in_the_middle_of_its_restart() {
    let mut pair = several("removed in restart", 2, 1).build();
    assert!(pair.run_until_selected(secs(5)));
    let [first, second] = pair.streams() else { panic!("two streams") };
    let (first, second) = (*first, *second);
    pair.restart(L, second);
    pair.restart(R, second);
    pair.run_for(ms(30));
    assert!(pair.l.agent.pairs().filter(|pair| pair.stream == second).count() >= 2, "of both generations");
    for side in BOTH {
        remove(&mut pair, side, second);
    }
    let before = BOTH.map(|side| pair.peer(side).sent.len());
    pair.run_for(secs(60));
    for (side, before) in BOTH.into_iter().zip(before) {
        assert!(pair.peer(side).sent[before..].iter().all(|sent| sent.source.port() == 5000), "{side:?}");
        assert!(pair.peer(side).agent.pairs().all(|pair| pair.stream == first));
        assert_eq!(pair.peer(side).agent.state(), Completed);
    }
}

/// A description, candidates or the end of them may be under way when a stream is removed.
#[test]
fn streams_come_and_go_many_times_and_leave_nothing_behind() {
    let mut pair = several("many times", 1, 1).build();
    assert!(pair.run_until_selected(secs(5)));
    pair.run_for(secs(120));
    let idle = format!("{:?}", pair.l.agent).len();
    for count in 0..200_u16 {
        let now = pair.now();
        let agent = &mut pair.l.agent;
        let stream = agent.add_stream(2).unwrap();
        for component in [RTP, RTCP] {
            let port = 7000 + count * 2 + component.get();
            let address = std::net::SocketAddr::from(([198, 51, 100, 1], port));
            agent.add_socket(now, stream, component, nilas::Transport::Udp, address).unwrap();
        }
        let theirs = nilas::Credentials::new(&format!("peer{count}"), "passwordOfThePeer012345").unwrap();
        let candidates = [1, 2].map(|component| {
            format!("candidate:1 {component} udp 2130706431 192.0.2.{} 900{component} typ host", count % 250 + 1)
        });
        let candidates = candidates.iter().map(|line| line.parse().unwrap()).collect();
        let remote = nilas::RemoteDescription::new(theirs).with_candidates(candidates);
        agent.set_remote_description(now, stream, &remote).unwrap();
        let mut buffer = Vec::new();
        for _ in 0..20 {
            while agent.poll_event().is_some() || agent.poll_transmit(now, &mut buffer).is_some() {}
        }
        assert!(agent.pairs().any(|pair| pair.stream == stream));
        agent.remove_stream(now, stream).unwrap();
        while agent.poll_event().is_some() {}
        assert_eq!(agent.streams().count(), 1);
        pair.l.agent.handle_timeout(now);
        pair.run_for(secs(1));
    }
    pair.run_for(secs(60));
    assert_eq!(pair.l.agent.state(), Completed);
    let grown = format!("{:?}", pair.l.agent).len();
    assert!(grown < idle + idle / 4, "all that an agent holds is in its Debug text: {idle} before, {grown} after");
}

/// Both sides agree to multiplex RTP and RTCP after the checks have begun (RFC 5761 §5.1.3).
///
/// Req: 8445-6.1.2.2-b
#[test]
fn a_component_that_is_no_longer_needed_holds_nothing_up() {
    let mut pair = several("mux", 1, 2).build();
    block(&mut pair, &[5001]);
    pair.run_for(secs(3));
    let stream = pair.stream();
    for side in BOTH {
        assert_eq!(pair.peer(side).agent.state(), Checking, "{side:?}");
        assert!(pair.peer(side).agent.selected_pair(stream, RTP).is_none());
    }
    let now = pair.now();
    for side in BOTH {
        let agent = if side == L { &mut pair.l.agent } else { &mut pair.r.agent };
        agent.keep_components(now, stream, 1).unwrap();
        pair.drain(side);
    }
    for side in BOTH {
        let peer = pair.peer(side);
        assert_eq!(peer.agent.state(), Completed, "{side:?}");
        assert_eq!(peer.reached(Completed), Some(now));
        assert!(peer.agent.selected_pair(stream, RTP).is_some_and(|pair| pair.is_nominated));
        assert!(peer.agent.pairs().all(|pair| pair.component == RTP));
        assert!(peer.agent.local_candidates(stream).all(|local| local.candidate.component() == RTP));
    }
    let before = pair.l.sent.len();
    pair.run_for(secs(60));
    assert!(pair.l.sent[before..].iter().all(|sent| sent.source.port() == 5000));
    let sent = pair.l.agent.send(pair.now(), stream, RTCP, b"\x80", &mut Vec::new());
    assert_eq!(sent.map(|_| ()), Err(SendError::UnknownComponent(RTCP)));
    let now = pair.now();
    let added = pair.l.agent.add_socket(now, stream, RTCP, nilas::Transport::Udp, "198.51.100.1:5001".parse().unwrap());
    assert!(added.is_err());
    let line = "candidate:9 2 udp 2130706431 192.0.2.9 9000 typ host";
    let outcome = pair.l.agent.add_remote_candidate(now, stream, line.parse().unwrap());
    assert!(!matches!(outcome, Ok(nilas::RemoteCandidateOutcome::Added(_))), "{outcome:?}");
}

#[test]
fn components_are_reduced_after_they_were_selected_and_never_to_none() {
    let mut pair = several("mux late", 1, 3).build();
    assert!(pair.run_until_selected(secs(5)));
    let stream = pair.stream();
    let third = ComponentId::new(3).unwrap();
    let now = pair.now();
    let before = pair.l.events.len();
    pair.l.agent.keep_components(now, stream, 3).unwrap();
    pair.l.agent.keep_components(now, stream, 9).unwrap();
    pair.drain(L);
    assert_eq!(pair.l.events.len(), before, "there are as many");
    pair.l.agent.keep_components(now, stream, 0).unwrap();
    pair.drain(L);
    let told: Vec<_> = pair.l.events[before..].iter().map(|(_, event)| event.clone()).collect();
    let gone = |component| Event::SelectedPairChanged { stream, component, pair: None, at: now };
    assert_eq!(told, [gone(RTCP), gone(third)]);
    assert_eq!(pair.l.agent.state(), Completed, "one component stays");
    pair.send(L, b"\x80still").unwrap();
    pair.run_for(secs(1));
    assert_eq!(pair.r.received.len(), 1);
    pair.restart(L, stream);
    pair.run_for(secs(10));
    assert_eq!(pair.l.agent.state(), Completed, "a restart is about what is left");
    assert!(pair.l.agent.selected_pair(stream, RTP).is_some());
}

/// The allocation of a removed stream is given back, from the socket that it was made from.
#[test]
fn a_removed_stream_gives_its_relay_back() {
    let server: std::net::IpAddr = "192.0.2.100".parse().unwrap();
    let mut pair = several("relays", 2, 1)
        .with_turn(server)
        .left(|l| l.only_reaches = Some(server))
        .right(|r| r.servers.clear())
        .build();
    assert!(pair.run_until_selected(secs(10)));
    pair.run_for(secs(10));
    assert_eq!(pair.servers[0].allocations(pair.now()), 2);
    let [first, second] = pair.streams() else { panic!("two streams") };
    let (first, second) = (*first, *second);
    let before = pair.l.sent.len();
    for side in BOTH {
        remove(&mut pair, side, first);
    }
    pair.run_for(secs(120));
    assert_eq!(pair.servers[0].allocations(pair.now()), 1);
    let after: Vec<_> = pair.l.sent[before..].iter().filter(|sent| sent.source.port() == 5000).collect();
    assert_eq!(after.len(), 1, "the request that gives it back, and no repetition of it");
    let released = |event: &Event| matches!(event, Event::RelayReleased { .. });
    assert_eq!(pair.l.events.iter().filter(|(_, event)| released(event)).count(), 1);
    assert_eq!(state(&pair, L, second), Some((Completed, StateReason::PairSelected)));
    pair.run_for(secs(1200));
    assert_eq!(pair.servers[0].allocations(pair.now()), 1, "the other one is refreshed");
}

#[test]
fn a_removed_stream_closes_its_connections_and_no_others() {
    let tcp = |side: &mut nilas::sim::SideSetup, tcp_type| (side.udp, side.tcp) = (false, vec![tcp_type]);
    let mut pair = several("connections", 2, 1)
        .left(|l| tcp(l, nilas::TcpType::Active))
        .right(|r| tcp(r, nilas::TcpType::Passive))
        .build();
    assert!(pair.run_until_selected(secs(10)));
    let [first, second] = pair.streams() else { panic!("two streams") };
    let (first, second) = (*first, *second);
    let now = pair.now();
    let ids = [first, second].map(|stream| pair.l.agent.route(now, stream, RTP).unwrap().connection.unwrap());
    assert_ne!(ids[0], ids[1]);
    let before = pair.l.connections.len();
    remove(&mut pair, L, first);
    pair.run_for(secs(60));
    let asked: Vec<_> = pair.l.connections[before..].iter().map(|(_, request)| request.clone()).collect();
    let closed = |request: &nilas::ConnectionRequest| matches!(request, nilas::ConnectionRequest::Close { id, .. } if *id == ids[0]);
    assert!(asked.iter().any(closed) && asked.len() == 1, "{asked:?}");
    assert_eq!(state(&pair, L, second), Some((Completed, StateReason::PairSelected)));
    assert!(pair.l.agent.route(pair.now(), second, RTP).is_ok());
}
