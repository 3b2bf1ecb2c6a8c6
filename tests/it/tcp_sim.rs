//! ICE over TCP across a simulated network.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use nilas::sim::{Direction, FirewallRule, Link, NatConfig, Pair, PairSetup, PeerMatch, SideName, Wire};
use nilas::{
    CandidateKind, CandidatePairState, ComponentId, Config, ConnectionEnd, ConnectionRequest, ConnectionState, Event,
    PairId, PathHealth, Renomination, Role, SendError, TcpType, Transport, TransportOrder,
};

use crate::help::{ms, secs, setup};

use TcpType::{Active, Passive, SimultaneousOpen};

const RTP: ComponentId = ComponentId::RTP;
const SIDES: [SideName; 2] = [SideName::L, SideName::R];

/// Both sides with these TCP candidates and no UDP.
fn over_tcp(name: &str, l: &[TcpType], r: &[TcpType]) -> PairSetup {
    let (l, r) = (l.to_vec(), r.to_vec());
    setup(name).left(|side| (side.udp, side.tcp) = (false, l)).right(|side| (side.udp, side.tcp) = (false, r))
}

fn selected(pair: &Pair, side: SideName) -> Option<PairId> {
    pair.peer(side).agent.selected_pair(pair.stream(), RTP).map(|pair| pair.id)
}

fn tcp_types(pair: &Pair, side: SideName) -> Option<[Option<TcpType>; 2]> {
    let selected = pair.peer(side).agent.selected_pair(pair.stream(), RTP)?;
    Some([selected.local.tcp_type(), selected.remote.tcp_type()])
}

fn opens(pair: &Pair, side: SideName) -> usize {
    let requests = pair.peer(side).connections.iter();
    requests.filter(|(_, request)| matches!(request, ConnectionRequest::Open { .. })).count()
}

fn ends(pair: &Pair, side: SideName) -> Vec<ConnectionEnd> {
    let events = pair.peer(side).events.iter();
    let end = |event: &Event| match event {
        Event::ConnectionEnded { reason, .. } => Some(*reason),
        _ => None,
    };
    events.filter_map(|(_, event)| end(event)).collect()
}

/// Sends data both ways, in frames of many lengths, and sees it arrive whole and in order.
fn exchange(pair: &mut Pair) {
    for side in SIDES {
        let before = pair.peer(side.other()).received.len();
        let payloads: Vec<Vec<u8>> = [1, 1200, 65_535, 2, 16_384].map(|length| vec![0x80; length]).into();
        for payload in &payloads {
            pair.send(side, payload).unwrap();
        }
        pair.run_for(secs(1));
        let received = pair.peer(side.other()).received[before..].iter().map(|data| &data.payload);
        assert!(received.eq(&payloads), "{side:?}");
    }
}

/// Scenario: S135
/// Req: 6544-7.1-a
/// Req: 6544-7.1-c
/// Req: 6544-7.1-f
/// Req: 6544-7.2-a
/// Req: 6544-8-a
#[test]
fn active_and_passive_candidates_connect_either_way_round() {
    for (l, r) in [(Active, Passive), (Passive, Active)] {
        for roles in [(Role::Controlling, Role::Controlled), (Role::Controlled, Role::Controlling)] {
            let mut pair = over_tcp("either", &[l], &[r]).roles(roles.0, roles.1).build();
            assert!(pair.run_until_selected(secs(2)), "{l:?} {r:?} {roles:?}");
            assert_eq!(tcp_types(&pair, SideName::L), Some([Some(l), Some(r)]));
            assert_eq!(tcp_types(&pair, SideName::R), Some([Some(r), Some(l)]));
            exchange(&mut pair);
            assert_eq!(opens(&pair, SideName::L) + opens(&pair, SideName::R), 1);
            // All that was ever sent is a row of frames. The first check nominates nothing.
            for side in SIDES {
                let (.., first) = pair.peer(side).streamed.first().unwrap();
                let first = Wire::decode(&first[2..]);
                assert!(first.request().is_none_or(|request| !request.use_candidate));
                let mut bytes: Vec<u8> =
                    pair.peer(side).streamed.iter().flat_map(|(.., bytes)| bytes.iter().copied()).collect();
                let mut frames = 0;
                while !bytes.is_empty() {
                    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
                    bytes.drain(..2 + length);
                    frames += 1;
                }
                assert!(frames > 5);
            }
        }
    }
}

/// Req: 6544-6.2-a
/// Req: 6544-7.2-a
#[test]
fn simultaneous_open_candidates_get_one_connection_from_both_calls() {
    let mut pair = over_tcp("so", &[SimultaneousOpen], &[SimultaneousOpen]).build();
    assert!(pair.run_until_selected(secs(3)));
    for side in SIDES {
        assert_eq!(tcp_types(&pair, side), Some([Some(SimultaneousOpen); 2]), "{side:?}");
        let local = pair.peer(side).agent.selected_pair(pair.stream(), RTP).unwrap().base;
        assert_eq!(local.port(), 8000);
        let requests = &pair.peer(side).connections;
        assert!(matches!(requests[0].1, ConnectionRequest::Open { local: from, .. } if from == local));
    }
    exchange(&mut pair);
}

/// One side is too late to call: its peer's call is accepted.
///
/// Req: 6544-7.2-a
#[test]
fn a_simultaneous_open_candidate_accepts_the_call_of_its_peer() {
    let late = |pair: PairSetup| pair.right(|side| side.description_delay = ms(300));
    let mut pair = late(over_tcp("so late", &[SimultaneousOpen], &[SimultaneousOpen])).build();
    assert!(pair.run_until_selected(secs(3)));
    assert_eq!(pair.network.stream_count(pair.host(SideName::L)), 1);
    exchange(&mut pair);
}

/// Scenario: S136
/// Req: 6544-6.2-a
/// Req: 6544-6.2-b
#[test]
fn of_sixteen_combinations_three_over_tcp_and_udp_with_udp_can_work() {
    let types = [None, Some(Active), Some(Passive), Some(SimultaneousOpen)];
    for l in types {
        for r in types {
            let of = |one: Option<TcpType>| one.into_iter().collect::<Vec<_>>();
            let mut pair = over_tcp("table", &of(l), &of(r))
                .left(|side| side.udp = l.is_none())
                .right(|side| side.udp = r.is_none())
                .build();
            let is_allowed = matches!(
                (l, r),
                (None, None)
                    | (Some(Active), Some(Passive))
                    | (Some(Passive), Some(Active))
                    | (Some(SimultaneousOpen), Some(SimultaneousOpen))
            );
            assert_eq!(pair.run_until_selected(secs(3)), is_allowed, "{l:?} {r:?}");
            if !is_allowed {
                for side in SIDES {
                    let peer = pair.peer(side);
                    assert_eq!((peer.agent.pairs().count(), peer.connections.len()), (0, 0), "{l:?} {r:?}");
                }
            }
        }
    }
}

/// Req: 6544-6.2-b
#[test]
fn a_passive_side_calls_nobody_and_its_check_comes_back_on_the_connection_of_its_peer() {
    let mut pair = over_tcp("passive", &[Active], &[Passive]).build();
    pair.run_for(ms(30));
    assert_eq!(pair.r.agent.pairs().count(), 0);
    assert!(pair.run_until_selected(secs(2)));
    assert!(pair.r.connections.is_empty());
    assert!(pair.r.agent.pairs().all(|pair| pair.remote.kind() == CandidateKind::PeerReflexive));
    assert!(pair.r.agent.selected_pair(pair.stream(), RTP).unwrap().stats.requests_sent > 0);
}

/// Req: 6544-7-a
/// Req: 6544-4.2-d
#[test]
fn where_both_work_udp_is_selected_and_the_connection_is_closed_after_a_while() {
    let tcp = |pair: PairSetup| pair.left(|side| side.tcp = vec![Active]).right(|side| side.tcp = vec![Passive]);
    let mut pair = tcp(setup("both")).build();
    assert!(pair.run_until_selected(secs(5)));
    for side in SIDES {
        let selected = pair.peer(side).agent.selected_pair(pair.stream(), RTP).unwrap();
        assert_eq!(selected.local.transport(), Transport::Udp);
    }
    pair.run_for(secs(30));
    for side in SIDES {
        assert_eq!(pair.network.stream_count(pair.host(side)), 0, "{side:?}");
        assert_eq!(pair.peer(side).agent.state(), ConnectionState::Completed);
    }
}

/// Req: 6544-8-b
#[test]
fn connections_of_pairs_that_were_not_selected_are_closed_three_seconds_later() {
    let mut pair = over_tcp("close", &[Active], &[Passive]).addresses(2, 2).build();
    assert!(pair.run_until_selected(secs(10)));
    let at = pair.now();
    pair.run_for(ms(2000));
    assert!(pair.network.stream_count(pair.host(SideName::L)) > 1);
    pair.run_for(secs(10));
    assert_eq!(pair.network.stream_count(pair.host(SideName::L)), 1);
    assert_eq!(pair.network.stream_count(pair.host(SideName::R)), 1);
    let closed = pair.l.connections.iter().filter(|(_, request)| matches!(request, ConnectionRequest::Close { .. }));
    let times: Vec<_> = closed.map(|(at, _)| *at).collect();
    assert!(!times.is_empty() && times.iter().all(|closed| closed.saturating_duration_since(at) < secs(5)));
    assert!(ends(&pair, SideName::L).iter().all(|end| matches!(end, ConnectionEnd::Unused | ConnectionEnd::Lost)));
    exchange(&mut pair);
}

/// Scenario: S139
/// Req: 6544-11.1-a
/// Req: 6544-11.1-b
#[test]
fn a_lost_connection_is_opened_again_and_the_pair_stays() {
    for (l, r) in [(Active, Passive), (Passive, Active), (SimultaneousOpen, SimultaneousOpen)] {
        for side in SIDES {
            let mut pair = over_tcp("redial", &[l], &[r]).build();
            assert!(pair.run_until_selected(secs(3)));
            pair.run_for(secs(7));
            let before = SIDES.map(|side| selected(&pair, side));
            let host = pair.host(side);
            pair.network.reset_streams(host);
            pair.run_for(ms(1));
            for side in SIDES {
                // Until a check has come back on the new connection.
                assert_eq!(pair.send(side, b"\x80too early"), Err(SendError::NotConnected), "{l:?} {side:?}");
            }
            pair.run_for(secs(2));
            assert_eq!(SIDES.map(|side| selected(&pair, side)), before, "{l:?}");
            exchange(&mut pair);
            for side in SIDES {
                assert!(ends(&pair, side).contains(&ConnectionEnd::Lost));
                assert_eq!(pair.network.stream_count(pair.host(side)), 1, "{l:?}");
                let states = crate::help::states(&pair, side);
                assert!(!states.contains(&ConnectionState::Disconnected), "{states:?}");
            }
            pair.run_for(secs(60));
            assert!(SIDES.iter().all(|side| pair.peer(*side).agent.state() == ConnectionState::Completed));
        }
    }
}

#[test]
fn a_connection_that_dies_without_a_word_is_replaced() {
    let mut pair = over_tcp("dead", &[Active], &[Passive]).build();
    assert!(pair.run_until_selected(secs(3)));
    let before = SIDES.map(|side| selected(&pair, side));
    let host = pair.host(SideName::L);
    pair.network.freeze_streams(host);
    pair.run_for(secs(20));
    assert_eq!(SIDES.map(|side| selected(&pair, side)), before);
    assert_eq!(ends(&pair, SideName::L), [ConnectionEnd::Dead]);
    assert_eq!(ends(&pair, SideName::R), [ConnectionEnd::Dead]);
    exchange(&mut pair);
    // As long as an answer is missing, no further check is put behind the first.
    let consent = |(at, _, bytes): &&(nilas::Instant, _, Vec<u8>)| bytes.len() > 90 && at.as_nanos() > 3_000_000_000;
    assert!(pair.l.streamed.iter().filter(consent).count() < 10);
}

/// Req: 6544-11.1-a
#[test]
fn a_connection_is_lost_time_and_again() {
    let mut pair = over_tcp("again", &[Active], &[Passive]).build();
    assert!(pair.run_until_selected(secs(3)));
    let before = SIDES.map(|side| selected(&pair, side));
    for round in 0..80 {
        let host = pair.host(SideName::L);
        pair.network.reset_streams(host);
        pair.run_for(secs(8));
        assert_eq!(SIDES.map(|side| selected(&pair, side)), before, "round {round}");
        assert!(pair.send(SideName::L, b"\x80x").is_ok() && pair.send(SideName::R, b"\x80y").is_ok(), "round {round}");
    }
    assert_eq!(opens(&pair, SideName::L), 81);
    assert!(pair.l.agent.remote_candidates(pair.stream()).count() < 5);
    assert!(pair.r.agent.remote_candidates(pair.stream()).count() < 5);
}

/// Req: 6544-11.1-c
#[test]
fn a_connection_that_cannot_be_opened_again_ends_the_session_and_a_restart_brings_it_back() {
    let mut pair = over_tcp("gone", &[Active], &[Passive]).build();
    assert!(pair.run_until_selected(secs(3)));
    let (host, listener) = (pair.host(SideName::R), "203.0.113.1:7000".parse().unwrap());
    pair.network.unlisten(host, listener);
    pair.network.reset_streams(host);
    pair.run_for(secs(12));
    assert_eq!(pair.l.agent.state(), ConnectionState::Disconnected);
    let suspected =
        |(_, event): &(_, Event)| matches!(event, Event::PathHealthChanged { health: PathHealth::Lost, .. });
    assert!(pair.l.events.iter().any(suspected));
    pair.run_for(secs(60));
    assert!(matches!(pair.l.agent.state(), ConnectionState::Failed | ConnectionState::Disconnected));
    let attempts = opens(&pair, SideName::L);
    assert!((4..20).contains(&attempts), "{attempts}");
    // Nobody calls any more once consent has ended.
    pair.run_for(secs(120));
    assert_eq!(opens(&pair, SideName::L), attempts);
    pair.network.listen(host, listener);
    let stream = pair.stream();
    pair.restart(SideName::L, stream);
    pair.run_for(secs(5));
    assert!(pair.l.agent.state().is_connected() && pair.r.agent.state().is_connected());
    exchange(&mut pair);
}

/// Scenario: S142
/// Req: 6544-9.2-a
#[test]
fn a_restart_gets_a_connection_of_its_own_and_data_flows_all_the_time() {
    for (l, r) in [(Active, Passive), (Passive, Active)] {
        for side in SIDES {
            let mut pair = over_tcp("restart", &[l], &[r]).build();
            assert!(pair.run_until_selected(secs(3)));
            pair.run_for(secs(5));
            let before = SIDES.map(|side| selected(&pair, side));
            let stream = pair.stream();
            pair.restart(side, stream);
            for _ in 0..100 {
                pair.run_for(ms(20));
                for side in SIDES {
                    let counts = pair.peer(side.other()).received.len();
                    pair.send(side, b"\x80all the time").unwrap();
                    pair.run_for(ms(60));
                    assert_eq!(pair.peer(side.other()).received.len(), counts + 1);
                }
            }
            let now = SIDES.map(|side| selected(&pair, side));
            assert!(now[0].is_some() && now[1].is_some() && now[0] != before[0] && now[1] != before[1]);
            exchange(&mut pair);
            for side in SIDES {
                assert_eq!(pair.network.stream_count(pair.host(side)), 1, "the old connection is closed");
            }
        }
    }
}

/// Req: 6544-9.2-b
#[test]
fn a_restart_with_the_same_simultaneous_open_candidates_uses_the_connection_that_is_there() {
    let mut pair = over_tcp("so restart", &[SimultaneousOpen], &[SimultaneousOpen]).build();
    assert!(pair.run_until_selected(secs(3)));
    let before = [opens(&pair, SideName::L), opens(&pair, SideName::R)];
    let stream = pair.stream();
    pair.restart(SideName::L, stream);
    pair.run_for(secs(10));
    assert!(SIDES.iter().all(|side| pair.peer(*side).agent.state() == ConnectionState::Completed));
    assert!(pair.l.agent.generation(stream) == Some(1) && selected(&pair, SideName::L).is_some());
    assert_eq!([opens(&pair, SideName::L), opens(&pair, SideName::R)], before);
    assert!(SIDES.iter().all(|side| ends(&pair, *side).is_empty()));
    exchange(&mut pair);
}

/// Scenario: S140
#[test]
fn where_udp_is_blocked_tcp_connects() {
    let blocked = FirewallRule { direction: Direction::In, peer: PeerMatch::Any };
    let mut pair =
        setup("blocked").left(|side| side.tcp = vec![Active]).right(|side| side.tcp = vec![Active, Passive]).build();
    for side in SIDES {
        let host = pair.host(side);
        pair.network.block(host, blocked).unwrap();
    }
    assert!(pair.run_until_selected(secs(10)));
    assert_eq!(tcp_types(&pair, SideName::L), Some([Some(Active), Some(Passive)]));
    exchange(&mut pair);
}

/// Behind a NAT only the active side is, and its address is seen by the passive one.
#[test]
fn an_active_side_behind_a_nat_connects() {
    let mut pair = over_tcp("nat", &[Active], &[Passive])
        .left(|side| {
            side.addresses = vec!["10.0.0.2".parse().unwrap()];
            side.nats = vec![NatConfig::port_restricted(["198.51.100.200".parse().unwrap()])];
        })
        .build();
    assert!(pair.run_until_selected(secs(5)));
    let seen = pair.r.agent.selected_pair(pair.stream(), RTP).unwrap().remote.socket_address().unwrap();
    assert_eq!(seen.ip().to_string(), "198.51.100.200");
    let ours = pair.l.agent.selected_pair(pair.stream(), RTP).unwrap();
    assert_eq!((ours.local.kind(), ours.local.socket_address()), (CandidateKind::PeerReflexive, Some(seen)));
    exchange(&mut pair);
    let host = pair.host(SideName::L);
    pair.network.reset_streams(host);
    pair.run_for(secs(2));
    exchange(&mut pair);
}

/// Req: 6544-7.1-b
#[test]
fn a_connection_that_is_refused_or_never_opens_fails_its_pair() {
    let mut pair = over_tcp("refused", &[Active], &[Passive]).build();
    let (host, listener) = (pair.host(SideName::R), "203.0.113.1:7000".parse().unwrap());
    pair.network.unlisten(host, listener);
    pair.run_for(secs(1));
    assert_eq!(ends(&pair, SideName::L), [ConnectionEnd::Failed]);
    assert!(pair.l.agent.pairs().all(|pair| pair.state == CandidatePairState::Failed));
    let mut pair = over_tcp("silent", &[Active], &[Passive]).build();
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    pair.run_for(secs(11));
    assert_eq!(ends(&pair, SideName::L), [ConnectionEnd::TimedOut]);
    assert!(pair.l.agent.pairs().all(|pair| pair.state == CandidatePairState::Failed));
    assert!(matches!(
        pair.l.connections[..],
        [(_, ConnectionRequest::Open { .. }), (_, ConnectionRequest::Close { .. })]
    ));
}

/// Req: 6544-4.1-d
/// Req: 6544-12-a
#[test]
fn at_most_five_connections_to_one_address_are_opened_at_a_time_and_ta_apart() {
    let passive = |port: u16| {
        let address: SocketAddr = format!("203.0.113.1:{port}").parse().unwrap();
        let priority = nilas::Priority::new(1_500_000_000 - u32::from(port)).unwrap();
        let foundation = format!("f{port}").parse().unwrap();
        nilas::Candidate::new(CandidateKind::Host, RTP, foundation, priority, address).with_tcp_type(Passive)
    };
    let mut pair = over_tcp("many", &[Active], &[])
        .right(|side| side.extra_candidates = (9000..9020).map(passive).collect())
        .build();
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    let (mut outstanding, mut most, mut seen) = (0_i32, 0, 0);
    while pair.elapsed() < secs(60) {
        pair.run_for(ms(10));
        for (_, request) in &pair.l.connections[seen..] {
            outstanding += if matches!(request, ConnectionRequest::Open { .. }) { 1 } else { -1 };
            most = most.max(outstanding);
        }
        seen = pair.l.connections.len();
    }
    assert_eq!((most, opens(&pair, SideName::L)), (5, 20));
    let times: Vec<_> = pair.l.connections.iter().take(5).map(|(at, _)| *at).collect();
    assert!(times.windows(2).all(|pair| pair[1].saturating_duration_since(pair[0]) >= ms(50)));
    let targets: BTreeSet<SocketAddr> = pair
        .l
        .connections
        .iter()
        .filter_map(|(_, request)| match request {
            ConnectionRequest::Open { remote, .. } => Some(*remote),
            _ => None,
        })
        .collect();
    assert_eq!(targets.len(), 20);
}

/// Req: 6544-4.2-d
#[test]
fn kind_first_prefers_a_direct_connection_to_udp_through_a_nat() {
    let priorities = |order| {
        let config = Config::default().with_transport_order(order);
        let mut pair = setup("kind")
            .left(|side| {
                side.config = config.clone();
                side.tcp = vec![Active];
                side.addresses = vec!["10.0.0.2".parse().unwrap()];
                side.nats = vec![NatConfig::port_restricted(["198.51.100.200".parse().unwrap()])];
                side.reflexive_toward = Some("203.0.113.9:3478".parse().unwrap());
            })
            .build();
        pair.run_for(ms(100));
        let stream = pair.stream();
        let of = |transport, kind| {
            let mut locals = pair.l.agent.local_candidates(stream).map(|local| local.candidate);
            locals.find(|one| (one.transport(), one.kind()) == (transport, kind)).unwrap().priority()
        };
        (of(Transport::Tcp, CandidateKind::Host), of(Transport::Udp, CandidateKind::ServerReflexive))
    };
    let (tcp, reflexive) = priorities(TransportOrder::UdpFirst);
    assert!(tcp < reflexive);
    let (tcp, reflexive) = priorities(TransportOrder::KindFirst);
    assert!(tcp > reflexive);
}

#[test]
fn a_slow_and_lossy_network_delays_and_changes_nothing() {
    let link = Link { jitter: ms(40), ..Link::with_loss(0.2) };
    let mut pair = over_tcp("lossy", &[Active], &[Passive]).link(link).build();
    assert!(pair.run_until_selected(secs(20)));
    pair.run_for(secs(60));
    let states = SIDES.map(|side| pair.peer(side).agent.state());
    assert_eq!(states, [ConnectionState::Completed; 2]);
}

/// Scenario: S140
#[test]
fn data_moves_back_to_udp_once_that_works_again() {
    let blocked = FirewallRule { direction: Direction::In, peer: PeerMatch::Any };
    let mut pair = setup("returns")
        .left(|side| side.tcp = vec![Active])
        .right(|side| side.tcp = vec![Passive])
        .renomination(Renomination::Draft2016)
        .build();
    for side in SIDES {
        let host = pair.host(side);
        pair.network.block(host, blocked).unwrap();
    }
    assert!(pair.run_until_selected(secs(10)));
    assert_eq!(tcp_types(&pair, SideName::L), Some([Some(Active), Some(Passive)]));
    pair.run_for(secs(60));
    for side in SIDES {
        let host = pair.host(side);
        pair.network.unblock(host).unwrap();
    }
    assert!(pair.run_until(secs(120), |pair| tcp_types(pair, SideName::L) == Some([None; 2])));
    pair.run_for(secs(5));
    assert_eq!(tcp_types(&pair, SideName::R), Some([None; 2]));
}

/// Whatever befalls the connections: nothing panics, nothing grows, no frame is torn, and in the end a restart helps.
#[test]
fn connections_under_random_faults_recover() {
    for seed in 0..60_u64 {
        let kinds = [(Active, Passive), (Passive, Active), (SimultaneousOpen, SimultaneousOpen)];
        let (l, r) = kinds[(seed % 3) as usize];
        let mut pair = over_tcp(&format!("faults {seed}"), &[l], &[r]).build();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let (host_l, host_r) = (pair.host(SideName::L), pair.host(SideName::R));
        let mut sent = 0_u32;
        for _ in 0..60 {
            let side = SIDES[draw(2) as usize];
            let host = pair.host(side);
            match draw(12) {
                0 => pair.network.reset_streams(host),
                1 => pair.network.freeze_streams(host),
                2 => pair.network.cut_both(host_l, host_r),
                3..5 => pair.network.mend_both(host_l, host_r),
                5 => {
                    let stream = pair.stream();
                    pair.restart(side, stream);
                }
                6..9 => {
                    for _ in 0..draw(20) {
                        sent += 1;
                        let mut payload = vec![0x80; 5 + draw(3000) as usize];
                        payload[1..5].copy_from_slice(&sent.to_be_bytes());
                        let _ = pair.send(side, &payload);
                    }
                }
                _ => {}
            }
            pair.run_for(ms(draw(4000)));
        }
        for side in SIDES {
            let numbers = |data: &nilas::sim::ReceivedData| {
                assert!(data.payload.len() >= 5 && data.payload[5..].iter().all(|byte| *byte == 0x80));
                u32::from_be_bytes(data.payload[1..5].try_into().unwrap())
            };
            let received: Vec<u32> = pair.peer(side).received.iter().map(numbers).collect();
            let distinct: BTreeSet<u32> = received.iter().copied().collect();
            assert_eq!(distinct.len(), received.len(), "seed {seed}: nothing comes twice");
        }
        pair.network.mend_both(host_l, host_r);
        pair.run_for(secs(10));
        let stream = pair.stream();
        pair.restart(SideName::L, stream);
        pair.run_for(secs(20));
        for side in SIDES {
            let agent = &pair.peer(side).agent;
            assert!(agent.state().is_connected(), "seed {seed} {side:?} {l:?}: {:?}", agent.stream_state(stream));
            assert!(pair.network.stream_count(pair.host(side)) <= 2, "seed {seed}");
            assert!(agent.pairs().count() < 10, "seed {seed}: {}", agent.pairs().count());
        }
        exchange(&mut pair);
    }
}
