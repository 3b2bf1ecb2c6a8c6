//! What the W3C wants to see of an agent: candidates, transports, roles and their statistics.

use nilas::sim::{MessageBuilder, SideName, Verdict};
use nilas::{
    CandidateAddress, CandidateKind, CandidateStats, ComponentId, Config, ConnectionState, Event, IceServer,
    RelayProtocol, Role, TcpType, Transport, TransportStats, Ufrag,
};

use crate::help::{at, ms, secs, setup};
use crate::script::{BEST, OTHER, Script};
use crate::solo::{Outcome, Solo, address, host};

const RTP: ComponentId = ComponentId::RTP;
const BOTH: [SideName; 2] = [SideName::L, SideName::R];

fn transport<'a>(pair: &'a nilas::sim::Pair, side: SideName) -> TransportStats<'a> {
    pair.peer(side).agent.transport_stats(pair.stream(), RTP).unwrap()
}

/// S168
/// S169
/// Req: wst-transport-a
#[test]
fn a_transport_counts_on_over_restarts_and_changes_of_its_pair() {
    let mut pair = setup("transport").addresses(2, 2).build();
    let stream = pair.stream();
    for side in BOTH {
        let stats = transport(&pair, side);
        assert_eq!((stats.selected_pair, stats.selected_pair_changes), (None, 0));
        assert_eq!((stats.packets_sent, stats.bytes_sent, stats.packets_received, stats.bytes_received), (0, 0, 0, 0));
        assert_eq!(stats.local_username_fragment, &pair.peer(side).agent.local_credentials(stream).unwrap().ufrag);
    }
    let send = |pair: &mut nilas::sim::Pair, bytes: usize| {
        pair.send(SideName::L, &vec![200; bytes]).unwrap();
        pair.send(SideName::R, &[200; 7]).unwrap();
        pair.run_for(secs(1));
    };
    assert!(pair.run_until_selected(secs(5)));
    pair.run_for(secs(1));
    send(&mut pair, 100);
    let (first_pair, first_ufrag) = {
        let stats = transport(&pair, SideName::L);
        assert_eq!((stats.selected_pair_changes, stats.state), (1, ConnectionState::Completed));
        (stats.selected_pair.unwrap(), stats.local_username_fragment.clone())
    };
    pair.restart(SideName::L, stream);
    pair.run_for(secs(10));
    send(&mut pair, 50);
    let stats = transport(&pair, SideName::L);
    assert_ne!(stats.selected_pair, Some(first_pair));
    assert_ne!(stats.local_username_fragment, &first_ufrag);
    assert_eq!(stats.selected_pair_changes, 2);
    assert_eq!((stats.packets_sent, stats.bytes_sent, stats.packets_received, stats.bytes_received), (2, 150, 2, 14));
    let back = transport(&pair, SideName::R);
    assert_eq!((back.packets_sent, back.bytes_sent, back.packets_received, back.bytes_received), (2, 14, 2, 150));
    // The pair in use is lost for good: to none is a change, too.
    pair.network.set_hook(|_| Verdict::Drop);
    pair.run_for(secs(120));
    for side in BOTH {
        let events = pair.peer(side).events.iter();
        let told = events.filter(|(_, event)| matches!(event, Event::SelectedPairChanged { .. })).count();
        let stats = transport(&pair, side);
        assert_eq!(stats.selected_pair, None, "{side:?}");
        assert!(stats.selected_pair_changes >= 3, "{side:?}: {stats:?}");
        assert_eq!(stats.selected_pair_changes as usize, told, "each is an event");
        assert_eq!((stats.state, stats.packets_sent), (ConnectionState::Failed, 2));
    }
    assert!(pair.l.agent.transport_stats(stream, ComponentId::RTCP).is_none());
}

/// Req: wst-transport-a
/// Req: wst-pair-b
#[test]
fn a_transport_counts_what_came_on_any_of_its_pairs() {
    let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote);
    script.answer(BEST);
    script.check(OTHER, false);
    for (from, length) in [(BEST, 10), (OTHER, 20), (OTHER, 30), ("192.0.2.66:666", 40)] {
        let payload = vec![200; length];
        let datagram =
            nilas::Datagram::new(crate::script::socket(from), crate::script::socket(crate::script::LOCAL), &payload);
        let _ = script.agent.handle_datagram(script.now, &datagram);
    }
    let stats = script.agent.transport_stats(script.stream, RTP).unwrap();
    assert_eq!((stats.packets_received, stats.bytes_received), (3, 60), "what is refused does not count");
    let of_pairs: u64 = script.agent.pairs().map(|pair| pair.stats.bytes_received).sum();
    assert_eq!(of_pairs, 60);
}

/// Req: wpc-role-a
/// Req: wst-transport-a
#[test]
fn the_role_is_unknown_until_the_description_of_the_peer_and_follows_its_repair() {
    let mut solo = Solo::new(Role::Controlling);
    let role = |solo: &Solo| solo.agent.transport_stats(solo.stream, RTP).unwrap().role;
    assert_eq!(role(&solo), None);
    solo.describe(vec![host("203.0.113.1:6000")]);
    assert_eq!(role(&solo), Some(Role::Controlling));
    let check = solo.check_as(Role::Controlling, u64::MAX);
    let check = solo.seal(check);
    assert_eq!(solo.receive(&check), Outcome::Handled);
    assert_eq!(solo.roles_taken(), [Role::Controlled], "its tie-breaker is the highest there is");
    assert_eq!(role(&solo), Some(Role::Controlled));
}

fn stats_at<'a>(stats: &'a [CandidateStats<'_>], is_remote: bool, kind: CandidateKind) -> &'a CandidateStats<'a> {
    let found: Vec<_> = stats.iter().filter(|one| one.is_remote == is_remote && one.kind == kind).collect();
    let [one] = found[..] else { panic!("{found:?}") };
    one
}

/// The table of which field is there for which candidate.
///
/// Req: wst-cand-a
/// Req: wpc-candfields-a
/// Req: wpc-getters-a
#[test]
fn candidates_have_the_fields_that_their_kind_has() {
    let server = address("192.0.2.1:3478");
    let mut solo = Solo::new(Role::Controlling);
    let url = "stun:192.0.2.1:3478";
    solo.agent.gather(solo.now, &[url.parse().unwrap()]).unwrap();
    solo.drain();
    let request: [u8; 12] = solo.last().bytes[8..20].try_into().unwrap();
    let mapped = "192.0.2.99:40000";
    let answer = MessageBuilder::binding_success(request).mapped_v4(mapped.parse().unwrap()).build();
    assert_eq!(solo.receive_from(server, &answer), Outcome::Handled);
    let lines = [
        "candidate:5 1 udp 1694498815 203.0.113.1 6000 typ srflx raddr 10.0.0.1 rport 7000",
        "candidate:6 1 tcp 1518280447 203.0.113.1 9 typ host tcptype active",
    ];
    solo.describe(lines.iter().map(|line| line.parse().unwrap()).collect());
    // A check from elsewhere shows a candidate that was never signalled, and its answer one of ours.
    let check = solo.check();
    let check = solo.seal(check);
    let stranger = address("198.51.100.77:7777");
    assert_eq!(solo.receive_from(stranger, &check), Outcome::Handled);
    solo.run_for(ms(200));
    let (to_stranger, _) =
        solo.take_requests().into_iter().find(|(out, _)| out.destination == stranger).expect("a triggered check");
    let id = to_stranger.request().id;
    let reflexive = address("192.0.2.98:40001");
    let answer = solo.success(id, reflexive);
    assert_eq!(solo.receive_from(stranger, &answer), Outcome::Handled);

    let stats: Vec<_> = solo.agent.candidate_stats(solo.stream).collect();
    let (ours, theirs) = (solo.ours().ufrag, solo.theirs.ufrag.clone());
    assert!(stats.iter().all(|one| (one.stream, one.component) == (solo.stream, RTP)));
    assert!(stats.iter().all(|one| one.relay_protocol.is_none()), "none is relayed");

    let one = stats_at(&stats, false, CandidateKind::Host);
    assert_eq!((one.address, one.port), (Some(solo.local.ip()), solo.local.port()));
    assert_eq!(
        (one.protocol.to_string(), one.tcp_type, one.related_address, one.url),
        ("udp".into(), None, None, None)
    );
    assert_eq!(one.username_fragment, Some(&ours));

    let one = stats_at(&stats, false, CandidateKind::ServerReflexive);
    assert_eq!((one.address, one.port), (Some("192.0.2.99".parse().unwrap()), 40000));
    assert_eq!(one.related_address, Some(&CandidateAddress::Socket(solo.local)));
    assert_eq!((one.url, one.username_fragment), (Some(url), Some(&ours)));
    let host = stats_at(&stats, false, CandidateKind::Host);
    assert!(one.priority < host.priority && one.foundation != host.foundation);

    let one = stats_at(&stats, false, CandidateKind::PeerReflexive);
    assert_eq!((one.address, one.port, one.url), (Some(reflexive.ip()), reflexive.port(), None));
    assert_eq!(one.username_fragment, Some(&ours));

    let one = stats_at(&stats, true, CandidateKind::ServerReflexive);
    assert_eq!((one.address, one.port), (Some("203.0.113.1".parse().unwrap()), 6000));
    let related = address("10.0.0.1:7000");
    assert_eq!(one.related_address, Some(&CandidateAddress::Socket(related)));
    assert_eq!((one.priority.get(), one.foundation.to_string()), (1_694_498_815, "5".into()));
    assert_eq!((one.url, one.username_fragment), (None, Some(&theirs)));

    let one = stats_at(&stats, true, CandidateKind::Host);
    assert_eq!((one.protocol.to_string(), one.tcp_type, one.port), ("tcp".into(), Some(TcpType::Active), 9));

    let one = stats_at(&stats, true, CandidateKind::PeerReflexive);
    assert_eq!((one.address, one.port), (None, 7777), "nobody has signalled that address");
    let nothing: Option<&Ufrag> = None;
    assert_eq!((one.username_fragment, one.url, one.related_address), (nothing, None, None));

    // Nothing of this is in the candidate that is signalled.
    let signalled = solo.events.iter().find_map(|event| match event {
        Event::LocalCandidate { candidate, .. } if candidate.kind() == CandidateKind::ServerReflexive => {
            Some(candidate.to_string())
        }
        _ => None,
    });
    assert!(signalled.is_some_and(|line| !line.contains("url") && !line.contains("stun")));
}

/// The server of a relayed candidate and the way to it are known to its own agent alone.
///
/// Req: wst-cand-a
/// Req: wpc-candfields-a
#[test]
fn a_relayed_candidate_tells_its_server_and_how_that_is_reached() {
    let ways = [
        ("turn:192.0.2.100:3478?transport=udp", RelayProtocol::Udp, "udp"),
        ("turn:192.0.2.100:3478?transport=tcp", RelayProtocol::Tcp, "tcp"),
        // The simulated network leaves encryption out.
        ("turns:192.0.2.100:3478", RelayProtocol::Tls, "tls"),
    ];
    let server = "192.0.2.100".parse().unwrap();
    for (url, protocol, name) in ways {
        assert_eq!((protocol.as_str(), protocol.to_string()), (name, name.into()));
        let ice_server = url.parse::<IceServer>().unwrap().with_credentials("user", "pass");
        let mut pair = setup(name)
            .with_turn(server)
            .left(|l| (l.only_reaches, l.servers) = (Some(server), vec![ice_server]))
            .right(|r| r.servers.clear())
            .build();
        assert!(pair.run_until_selected(secs(5)), "{name}");
        pair.run_for(secs(1));
        let stats: Vec<_> = pair.l.agent.candidate_stats(pair.stream()).collect();
        let relayed = stats_at(&stats, false, CandidateKind::Relayed);
        assert_eq!((relayed.url, relayed.relay_protocol), (Some(url), Some(protocol)));
        assert_eq!((relayed.address, relayed.protocol), (Some(server), Transport::Udp), "the relayed address itself");
        assert!(relayed.related_address.is_some() && relayed.username_fragment.is_some());
        let others = || stats.iter().filter(|one| one.is_remote || one.kind != CandidateKind::Relayed);
        assert!(others().any(|one| one.is_remote) && others().any(|one| !one.is_remote));
        assert!(others().all(|one| one.relay_protocol.is_none()), "{stats:?}");
        assert!(others().filter(|one| one.is_remote).all(|one| one.url.is_none()), "{stats:?}");

        // To the peer it is a candidate like any other: neither of the two is signalled.
        let theirs: Vec<_> = pair.r.agent.candidate_stats(pair.stream()).collect();
        let remote = stats_at(&theirs, true, CandidateKind::Relayed);
        assert_eq!((remote.address, remote.port), (Some(server), relayed.port));
        assert_eq!((remote.url, remote.relay_protocol), (None, None));
        let signalled = pair.l.events.iter().find_map(|(_, event)| match event {
            Event::LocalCandidate { candidate, .. } if candidate.kind() == CandidateKind::Relayed => {
                Some(candidate.to_string())
            }
            _ => None,
        });
        let words = ["url", "turn", "relay-protocol", "tls"];
        assert!(signalled.is_some_and(|line| words.iter().all(|word| !line.contains(word))));
    }
}

/// A candidate that the peer's check has shown gets its address and username fragment when it is signalled.
///
/// Req: wst-cand-a
/// Req: wpc-getters-a
#[test]
fn a_candidate_that_is_signalled_late_is_shown_then() {
    let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote);
    let elsewhere = "192.0.2.77:777";
    script.check(elsewhere, false);
    let of = |script: &Script| {
        let found = script.agent.candidate_stats(script.stream).find(|one| one.is_remote && one.port == 777).unwrap();
        (found.id, found.address, found.username_fragment.map(Ufrag::to_string))
    };
    let (id, address, ufrag) = of(&script);
    assert_eq!((address, ufrag), (None, None));
    let signalled =
        |script: &Script| script.agent.remote_candidates(script.stream).filter(|one| one.is_signalled).count();
    assert_eq!(signalled(&script), 2);
    let line = "candidate:9 1 udp 1694498815 192.0.2.77 777 typ srflx";
    let _ = script.agent.add_remote_candidate(script.now, script.stream, line.parse().unwrap()).unwrap();
    assert_eq!(of(&script), (id, Some("192.0.2.77".parse().unwrap()), Some("peer".into())));
    assert_eq!(signalled(&script), 3);
}

/// Local candidates are shown once they were handed out, not before.
///
/// Req: wpc-getters-a
#[test]
fn the_local_list_is_what_was_handed_out() {
    let mut agent = nilas::Agent::new(Config::default(), Role::Controlling, nilas::Seed::from_name("list")).unwrap();
    let stream = agent.add_stream(1).unwrap();
    agent.add_socket(at(0), stream, RTP, Transport::Udp, address("192.0.2.1:5000")).unwrap();
    let announced = |agent: &nilas::Agent| agent.local_candidates(stream).filter(|local| local.is_announced).count();
    assert_eq!((announced(&agent), agent.candidate_stats(stream).count()), (0, 0));
    let is_candidate = |event: &Event| matches!(event, Event::LocalCandidate { .. });
    while !agent.poll_event().is_some_and(|event| is_candidate(&event)) {}
    assert_eq!((announced(&agent), agent.candidate_stats(stream).count()), (1, 1));
}
