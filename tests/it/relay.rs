//! Relayed candidates: from a simulated TURN server to data through it.

use std::net::{IpAddr, SocketAddr};

use nilas::sim::{NatConfig, Pair, PairSetup, ServerMethod, SideName};
use nilas::{
    CandidateKind, ComponentId, ConnectionState, Datagram, DropReason, Event, GatheringState, IceServer, Received,
    RelayFamilies,
};

use crate::help::{ms, secs, setup};

fn server() -> IpAddr {
    "192.0.2.100".parse().unwrap()
}

fn address() -> SocketAddr {
    SocketAddr::new(server(), 3478)
}

/// Both behind NATs that no two hosts get through: only a relay helps.
fn apart(name: &str) -> PairSetup {
    setup(name)
        .with_turn(server())
        .left(|l| {
            l.addresses = vec!["10.0.0.2".parse().unwrap()];
            l.nats = vec![NatConfig::symmetric(["198.51.100.1".parse().unwrap()])];
        })
        .right(|r| {
            r.addresses = vec!["10.0.1.2".parse().unwrap()];
            r.nats = vec![NatConfig::symmetric(["203.0.113.1".parse().unwrap()])];
        })
}

/// The left one reaches nobody but the server; the right one is public, and asks nobody.
fn behind_relay(name: &str) -> PairSetup {
    setup(name).with_turn(server()).left(|l| l.only_reaches = Some(server())).right(|r| r.servers.clear())
}

fn kinds(pair: &Pair, side: SideName) -> (CandidateKind, CandidateKind) {
    let selected = pair.peer(side).agent.selected_pair(pair.stream(), ComponentId::RTP).expect("a pair is selected");
    (selected.local.kind(), selected.remote.kind())
}

fn exchange(pair: &mut Pair) {
    for side in [SideName::L, SideName::R] {
        let before = pair.peer(side.other()).received.len();
        pair.send(side, b"\x80 data").unwrap();
        pair.run_for(ms(300));
        let received = &pair.peer(side.other()).received;
        assert_eq!(received.len(), before + 1, "{side:?}");
        assert_eq!(received[before].payload, b"\x80 data");
    }
}

/// Req: 8656-3.1-a
/// Req: 8445-5.1.1.2-f
#[test]
fn a_server_gives_a_relayed_and_a_reflexive_candidate_with_their_related_addresses() {
    let mut pair = apart("relayed candidate").build();
    pair.run_for(secs(1));
    let candidates: Vec<_> = pair
        .l
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::LocalCandidate { candidate, .. } => Some(candidate.clone()),
            _ => None,
        })
        .collect();
    let of = |kind| candidates.iter().find(|candidate| candidate.kind() == kind).expect("there is one");
    let (reflexive, relayed) = (of(CandidateKind::ServerReflexive), of(CandidateKind::Relayed));
    assert_eq!(relayed.socket_address().unwrap().ip(), server());
    assert_eq!(relayed.related_address(), Some(reflexive.address()));
    assert_eq!(reflexive.socket_address().unwrap().ip(), "198.51.100.1".parse::<IpAddr>().unwrap());
    assert!(relayed.priority() < reflexive.priority());
    assert_eq!(pair.l.agent.gathering_state(), GatheringState::Complete);
    assert_eq!(pair.servers[0].allocations(pair.now()), 2);
}

/// Scenario: S149
#[test]
fn peers_that_nothing_else_joins_meet_at_the_relay() {
    let mut pair = apart("only a relay").build();
    assert!(pair.run_until_selected(secs(5)), "{:?}", pair.l.agent.state());
    let (local, remote) = kinds(&pair, SideName::L);
    assert!(local == CandidateKind::Relayed || remote == CandidateKind::Relayed, "{local:?} {remote:?}");
    exchange(&mut pair);
    assert!(pair.l.events.iter().all(|(_, event)| !matches!(event, Event::IceCandidateError { .. })));
}

/// Req: 8445-12.1-e
/// Req: 8656-12-b
/// Req: 8656-8-a
/// Req: 8656-9-a
#[test]
fn a_relayed_call_of_half_an_hour_loses_neither_channel_nor_permission() {
    let mut pair = apart("half an hour").build();
    assert!(pair.run_until_selected(secs(5)));
    for minute in 0..30 {
        exchange(&mut pair);
        pair.run_for(secs(59));
        assert_eq!(pair.l.agent.state(), ConnectionState::Completed, "minute {minute}");
    }
    let server = &pair.servers[0];
    assert!(server.served().iter().all(|served| matches!(served.error, None | Some(401))), "{:?}", server.served());
    let binds: Vec<_> = server.served().iter().filter(|served| served.method == ServerMethod::ChannelBind).collect();
    let client = binds[0].client;
    let times: Vec<_> = binds.iter().filter(|one| one.client == client).map(|one| pair.since_start(one.at)).collect();
    assert!(times.len() >= 7 && times.windows(2).all(|pair| pair[1] - pair[0] < secs(300)), "{times:?}");
    let refreshes: Vec<_> = server
        .served()
        .iter()
        .filter(|one| one.method == ServerMethod::Refresh && one.client == client)
        .map(|one| pair.since_start(one.at))
        .collect();
    assert!(refreshes[0] > secs(539) && refreshes[0] < secs(542), "{refreshes:?}");
    assert_eq!(pair.l.selections(), 1);
}

/// Req: 8656-8-b
/// Scenario: S155
#[test]
fn closing_gives_the_allocation_back_with_a_last_request_and_a_last_event() {
    let mut pair = apart("release").build();
    assert!(pair.run_until_selected(secs(5)));
    let now = pair.now();
    pair.l.agent.close(now);
    pair.drain(SideName::L);
    pair.run_for(secs(3));
    let last = pair.servers[0].served().iter().rev().find(|served| served.lifetime.is_some()).unwrap();
    assert_eq!((last.method, last.lifetime, last.error), (ServerMethod::Refresh, Some(0), None));
    assert_eq!(pair.l.agent.poll_timeout(), None);
    assert!(matches!(pair.l.events.last(), Some((_, Event::RelayReleased { .. }))), "{:?}", pair.l.events.last());
    // A dead server is told twice.
    pair.servers[0].set_alive(false);
    let (now, before) = (pair.now(), pair.r.sent.len());
    pair.r.agent.close(now);
    pair.drain(SideName::R);
    pair.run_for(secs(10));
    assert_eq!(pair.r.sent.len() - before, 2);
    assert_eq!(pair.r.agent.poll_timeout(), None);
    assert!(matches!(pair.r.events.last(), Some((_, Event::RelayReleased { .. }))));
}

/// Req: 8656-11.1-a
/// Req: 8445-7.2.1-a
/// Scenario: S147
#[test]
fn checks_through_a_relay_wait_for_its_permission_and_nobody_else_waits() {
    let mut pair = apart("permission first").build();
    // The server answers no request for a permission at first.
    pair.servers[0].fail(ServerMethod::CreatePermission, 438, 3);
    assert!(pair.run_until_selected(secs(5)));
    exchange(&mut pair);
    let first_send = pair.l.sent.iter().find(|sent| sent.destination == address() && sent.payload[..2] == [0, 0x16]);
    let granted = pair.servers[0]
        .served()
        .iter()
        .find(|served| served.method == ServerMethod::CreatePermission && served.error.is_none())
        .map(|served| served.at);
    assert!(first_send.unwrap().at > granted.unwrap());
}

/// Req: proj-perm-a
/// Scenario: S146
#[test]
fn a_peer_that_the_server_refuses_costs_its_own_pairs_alone() {
    let mut pair = setup("refused peer")
        .with_turn(server())
        .left(|l| {
            l.addresses = vec!["10.0.0.2".parse().unwrap()];
            l.nats = vec![NatConfig::symmetric(["198.51.100.1".parse().unwrap()])];
        })
        .right(|r| {
            r.addresses = (1..=3).map(|last| IpAddr::from([203, 0, 113, last])).collect();
            r.servers.clear();
        })
        .build();
    pair.servers[0].refuse_peer("203.0.113.2".parse().unwrap());
    pair.run_for(secs(3));
    assert!(pair.l.is_selected());
    let refused: Vec<_> =
        pair.l.events.iter().filter(|(_, event)| matches!(event, Event::IceCandidateError { code: 403, .. })).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
}

/// Both as before, and the server is reached over TCP, or TLS.
fn apart_over(name: &str, uri: &str) -> Pair {
    let server: IceServer = uri.parse().unwrap();
    let servers = vec![server.with_credentials("user", "pass")];
    apart(name).left(|l| l.servers = servers.clone()).right(|r| r.servers = servers.clone()).build()
}

/// Req: 8656-3.1-a
/// Req: 8656-12.5-a
#[test]
fn a_server_is_reached_over_a_stream_as_well() {
    let mut pair = apart_over("over tcp", "turn:192.0.2.100:3478?transport=tcp");
    assert!(pair.run_until_selected(secs(5)));
    assert_eq!(kinds(&pair, SideName::L).0, CandidateKind::Relayed);
    for length in [1, 2, 3, 4, 1200] {
        for side in [SideName::L, SideName::R] {
            let payload = vec![0x80; length];
            pair.send(side, &payload).unwrap();
            pair.run_for(ms(300));
            assert_eq!(pair.peer(side.other()).received.last().unwrap().payload, payload);
        }
    }
    // Nothing is repeated, and no keepalive is needed.
    pair.run_for(secs(1200));
    assert_eq!(pair.l.agent.state(), ConnectionState::Completed);
    let now = pair.now();
    pair.l.agent.close(now);
    pair.drain(SideName::L);
    pair.run_for(secs(1));
    assert_eq!(pair.servers[0].allocations(pair.now()), 1);
    assert!(matches!(pair.l.events.last(), Some((_, Event::RelayReleased { .. }))));
    assert_eq!(pair.l.agent.poll_timeout(), None);
}

/// Scenario: S145
/// Req: proj-exp-a
/// Req: 6544-11.2-a
#[test]
fn a_broken_connection_to_the_server_brings_another_one_and_another_allocation() {
    let mut pair = apart_over("broken tcp", "turn:192.0.2.100:3478?transport=tcp");
    assert!(pair.run_until_selected(secs(5)));
    pair.network.reset_streams(pair.l.host());
    pair.run_for(ms(100));
    assert!(pair.run_until(secs(5), |pair| pair.l.agent.state().is_connected()), "{:?}", pair.l.agent.state());
    assert!(pair.l.events.iter().any(|(_, event)| matches!(event, Event::RelayLost { code: 701, .. })));
    exchange(&mut pair);
}

/// Req: 8656-7.4-e
#[test]
fn a_server_that_takes_our_port_for_another_is_asked_from_two_more() {
    let mut pair = apart("mismatch")
        .left(|l| {
            let server: IceServer = "turn:192.0.2.100:3478?transport=tcp".parse().unwrap();
            l.servers = vec![server.with_credentials("user", "pass")];
        })
        .right(|r| r.servers.clear())
        .build();
    pair.servers[0].fail(ServerMethod::Allocate, 437, 9);
    pair.run_for(secs(120));
    let asked = pair.servers[0].served().iter().filter(|served| served.error == Some(437));
    let mut ports: Vec<_> = asked.map(|served| served.client.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!((ports.len(), pair.servers[0].count(ServerMethod::Allocate)), (3, 6));
    let errors = pair.l.events.iter().filter(|(_, e)| matches!(e, Event::IceCandidateError { code: 437, .. }));
    assert_eq!(errors.count(), 1);
}

/// Req: 8489-9.2.5-b
/// Scenario: S144
#[test]
fn a_nonce_that_changes_before_every_kind_of_request_is_followed() {
    let mut pair = apart("stale nonce").build();
    for method in [ServerMethod::Allocate, ServerMethod::CreatePermission, ServerMethod::ChannelBind] {
        pair.servers[0].fail(method, 438, 2);
    }
    pair.servers[0].fail(ServerMethod::Refresh, 438, 2);
    assert!(pair.run_until_selected(secs(5)));
    for _ in 0..15 {
        pair.servers[0].rotate_nonce();
        exchange(&mut pair);
        pair.run_for(secs(60));
    }
    assert_eq!(pair.l.agent.state(), ConnectionState::Completed);
    for method in
        [ServerMethod::Allocate, ServerMethod::CreatePermission, ServerMethod::ChannelBind, ServerMethod::Refresh]
    {
        let errors = |code| pair.servers[0].served().iter().filter(|s| s.method == method && s.error == code).count();
        assert!(errors(Some(438)) >= 2 && errors(None) >= 2, "{method:?}");
    }
}

/// Req: 8656-7.4-a
/// Scenario: S144
#[test]
fn a_wrong_password_is_told_after_two_requests() {
    let mut pair = apart("wrong password")
        .left(|l| l.servers = vec![IceServer::turn(address(), "user", "wrong")])
        .right(|r| r.servers.clear())
        .build();
    pair.run_for(secs(30));
    assert_eq!(pair.servers[0].count(ServerMethod::Allocate), 2);
    let errors: Vec<_> = pair
        .l
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::IceCandidateError { code, url, .. } => Some((*code, url.to_string())),
            _ => None,
        })
        .collect();
    assert_eq!(errors, [(401, format!("turn:{}?transport=udp", address()))]);
    assert_eq!(pair.l.agent.gathering_state(), GatheringState::Complete);
}

/// Req: 8656-8.3-a
/// Scenario: S145
/// Req: proj-exp-a
#[test]
fn a_lost_allocation_is_replaced_and_the_call_goes_on() {
    let mut pair = behind_relay("lost allocation").build();
    assert!(pair.run_until_selected(secs(5)));
    assert_eq!(kinds(&pair, SideName::L).0, CandidateKind::Relayed);
    pair.run_for(secs(20));
    pair.servers[0].forget_allocations();
    // A peer that has fallen silent is reason to ask the server, long before the next refresh.
    let is_lost = |pair: &Pair| pair.l.events.iter().any(|(_, event)| matches!(event, Event::RelayLost { .. }));
    assert!(pair.run_until(secs(8), is_lost));
    assert!(pair.run_until(secs(2), |pair| pair.l.agent.state().is_connected()), "{:?}", pair.l.agent.state());
    let lost = |event: &Event| matches!(event, Event::RelayLost { code: 437, .. });
    assert!(pair.l.events.iter().any(|(_, event)| lost(event)), "{:?}", pair.l.events);
    assert_eq!(pair.servers[0].allocations(pair.now()), 1);
    exchange(&mut pair);
}

/// Scenario: S145
#[test]
fn a_session_on_another_pair_does_not_notice_that_an_allocation_is_lost() {
    let mut pair = setup("direct pair").with_turn(server()).build();
    assert!(pair.run_until_selected(secs(5)));
    assert_eq!(kinds(&pair, SideName::L), (CandidateKind::Host, CandidateKind::Host));
    pair.servers[0].forget_allocations();
    pair.run_for(secs(700));
    assert!(pair.l.events.iter().any(|(_, event)| matches!(event, Event::RelayLost { .. })));
    assert_eq!((pair.l.selections(), pair.l.agent.state()), (1, ConnectionState::Completed));
    assert_eq!(pair.servers[0].allocations(pair.now()), 2);
    exchange(&mut pair);
}

/// Scenario: S145
#[test]
fn peers_that_both_lost_their_relay_meet_again_after_a_restart() {
    let mut pair = apart("both lost").build();
    assert!(pair.run_until_selected(secs(5)));
    pair.servers[0].forget_allocations();
    pair.run_for(secs(700));
    assert_eq!(pair.servers[0].allocations(pair.now()), 2);
    let stream = pair.stream();
    pair.restart(SideName::L, stream);
    assert!(pair.run_until_selected(secs(5)), "{:?}", pair.l.agent.state());
    exchange(&mut pair);
}

/// Req: 8838-13-a
#[test]
fn after_a_restart_the_end_of_candidates_is_told_without_another_call_where_the_relay_is_held() {
    for follows_timer in [false, true] {
        let mut setup = apart("held relay");
        setup.follows_timer = follows_timer;
        let mut pair = setup.build();
        assert!(pair.run_until_selected(secs(5)));
        pair.run_for(secs(1));
        let stream = pair.stream();
        let now = pair.now();
        pair.restart(SideName::L, stream);
        pair.run_for(ms(120));
        let is_end = |(_, event): &&(_, Event)| matches!(event, Event::EndOfCandidates { generation: 1, .. });
        let end = pair.l.events.iter().find(is_end).map(|(at, _)| *at);
        assert!(end.is_some_and(|end| end <= now + ms(100)), "{end:?}");
    }
}

/// Scenario: S152
#[test]
fn a_redirection_is_followed_and_a_circle_of_them_is_not() {
    let other: SocketAddr = "192.0.2.101:3478".parse().unwrap();
    let mut pair = apart("redirected").build();
    pair.add_server(other.ip());
    pair.servers[0].redirect(Some(other));
    assert!(pair.run_until_selected(secs(5)));
    assert_eq!(pair.servers[1].allocations(pair.now()), 2);

    let mut pair = apart("in a circle").right(|r| r.servers.clear()).build();
    pair.add_server(other.ip());
    pair.servers[0].redirect(Some(other));
    pair.servers[1].redirect(Some(address()));
    pair.run_for(secs(20));
    let errors = pair.l.events.iter().filter(|(_, e)| matches!(e, Event::IceCandidateError { code: 300, .. }));
    assert_eq!(errors.count(), 1);
    let asked = [0, 1].map(|server: usize| pair.servers[server].count(ServerMethod::Allocate));
    assert_eq!(asked, [2, 2], "a bare request and one with credentials to each");
}

/// Req: 8656-3.1-b
/// Req: 8656-11.4-a
/// Req: 8656-12.6-a
#[test]
fn channel_data_counts_from_the_server_alone_and_on_channels_that_are_bound() {
    let mut pair = behind_relay("channel data").build();
    assert!(pair.run_until_selected(secs(5)));
    pair.run_for(secs(1));
    let now = pair.now();
    let (base, stream) = (pair.l.sockets()[0], pair.stream());
    let mut buffer = Vec::new();
    let sent = pair.l.agent.send(now, stream, ComponentId::RTP, b"\x80data", &mut buffer).unwrap();
    assert_eq!((sent.source, sent.destination, buffer[0]), (base, address(), 0x40));
    let mut give = |source: SocketAddr, payload: &[u8]| match pair
        .l
        .agent
        .handle_datagram(now, &Datagram::new(source, base, payload))
    {
        Received::Data { payload, .. } => Ok(payload.to_vec()),
        Received::Dropped(reason) => Err(reason),
        other => panic!("{other:?}"),
    };
    assert_eq!(give(address(), &buffer), Ok(b"\x80data".to_vec()));
    let elsewhere = SocketAddr::new(server(), 3479);
    assert_eq!(give(elsewhere, &buffer), Err(DropReason::UnvalidatedSource));
    let mut unbound = buffer.clone();
    unbound[1] += 1;
    assert_eq!(give(address(), &unbound), Err(DropReason::UnvalidatedSource));
    let mut reserved = buffer.clone();
    reserved[0] = 0x50;
    assert_eq!(give(address(), &reserved), Err(DropReason::Malformed));
    let cut = &buffer[..buffer.len() - 1];
    assert_eq!(give(address(), cut), Err(DropReason::Malformed));
    // Nothing comes to a relayed address but through its server.
    let relayed = pair.l.agent.selected_pair(stream, ComponentId::RTP).unwrap().base;
    let direct = Datagram::new("203.0.113.1:5000".parse().unwrap(), relayed, b"\x80data");
    let received = pair.l.agent.handle_datagram(now, &direct);
    assert_eq!(received, Received::Dropped(DropReason::UnknownDestination));
}

/// Scenario: S151
#[test]
fn a_client_without_ipv6_reaches_ipv6_by_an_allocation_of_both_families() {
    let six: IpAddr = "2001:db8:3::10".parse().unwrap();
    let mut pair = setup("both families")
        .with_turn(server())
        .left(|l| {
            l.config = l.config.clone().with_relay_families(RelayFamilies::Both);
            l.start = ms(1);
        })
        .right(|r| {
            r.addresses = vec!["2001:db8:2::2".parse().unwrap()];
            r.servers.clear();
        })
        .build();
    let host = pair.servers[0].host();
    pair.network.add_interface(host, six).unwrap();
    pair.servers[0] = pair.servers[0].clone().with_relay_address(six);
    assert!(pair.run_until_selected(secs(5)), "{:?}", pair.l.agent.state());
    let relayed: Vec<_> = pair
        .l
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::LocalCandidate { candidate, .. } if candidate.kind() == CandidateKind::Relayed => {
                candidate.socket_address().map(|address| address.is_ipv6())
            }
            _ => None,
        })
        .collect();
    assert_eq!(relayed, [false, true]);
    let selected = pair.l.agent.selected_pair(pair.stream(), ComponentId::RTP).unwrap();
    assert_eq!((selected.local.kind(), selected.base.ip()), (CandidateKind::Relayed, six));
    exchange(&mut pair);
}

/// Req: 8489-9.2.5-c
#[test]
fn a_server_that_wants_sha256_and_hashed_names_gets_them() {
    for has_userhash in [false, true] {
        let mut pair = apart("sha256").left(|l| l.start = ms(1)).right(|r| r.start = ms(1)).build();
        pair.servers[0] = pair.servers[0].clone().with_sha256(has_userhash);
        assert!(pair.run_until_selected(secs(5)));
        exchange(&mut pair);
        pair.run_for(secs(600));
        assert_eq!(pair.l.agent.state(), ConnectionState::Completed);
    }
}
