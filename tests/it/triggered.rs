//! What follows from the checks of the peer: candidates, pairs, and checks in turn (RFC 8445 §7.3.1.3, §7.3.1.4).

use std::net::SocketAddr;

use nilas::sim::MessageBuilder;
use nilas::{CandidateKind, CandidatePairState, Credentials, Role, SendError};

use crate::help::{ms, requests, secs, setup};
use crate::solo::{CHECK_PRIORITY, Outcome, Solo, address, host, is_protected};

const SHA1: u16 = 0x0008;

/// Req: 8445-7.3.1.3-a
/// Req: 8445-7.3.1.4-a
#[test]
fn an_unknown_source_becomes_a_peer_reflexive_candidate_with_exactly_one_pair() {
    let mut solo = Solo::checking(Role::Controlled);
    solo.add_socket("198.51.100.9:5009");
    solo.run_for(secs(1));
    solo.take();
    let pairs = solo.agent.pairs().count();
    let source = address("192.0.2.77:777");
    let check = solo.check();
    let bytes = solo.seal(check);
    solo.receive_from(source, &bytes);
    let views: Vec<_> = solo.agent.remote_candidates(solo.stream).collect();
    let learnt = views.iter().find(|view| view.candidate.socket_address() == Some(source)).unwrap();
    assert_eq!(learnt.candidate.kind(), CandidateKind::PeerReflexive);
    assert_eq!((learnt.candidate.priority().get(), learnt.is_signalled), (CHECK_PRIORITY, false));
    assert!(
        views
            .iter()
            .filter(|other| other.id != learnt.id)
            .all(|o| o.candidate.foundation() != learnt.candidate.foundation())
    );
    assert_eq!(solo.agent.pairs().count(), pairs + 1);
    let pair = solo.agent.pair(solo.pair_to(source).unwrap()).unwrap();
    assert_eq!((pair.base, pair.local.kind()), (solo.local, CandidateKind::Host));
    solo.run_for(ms(50));
    let requests = solo.take_requests();
    let to: Vec<SocketAddr> = requests.iter().map(|(out, _)| out.destination).filter(|to| *to == source).collect();
    assert_eq!(to, [source]);
}

/// Req: 8445-7.3.1.4-a
#[test]
fn a_triggered_check_leaves_from_the_base_even_if_a_reflexive_candidate_is_better() {
    let mut solo = Solo::new(Role::Controlled);
    let mapped = address("192.0.2.1:5000");
    solo.agent.add_server_reflexive(solo.now, solo.stream, solo.local, mapped, None).unwrap();
    solo.drain();
    solo.describe(Vec::new());
    let check = solo.check();
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    let pair = solo.agent.pair(solo.pair_to(solo.remote).unwrap()).unwrap();
    assert_eq!((pair.local.kind(), pair.base), (CandidateKind::Host, solo.local));
    assert_eq!(solo.last().source, solo.local);
    assert_eq!(solo.agent.pairs().count(), 1);
}

/// Three more remote candidates keep the pacer busy, so that states can be seen.
fn busy(role: Role) -> Solo {
    let mut solo = Solo::new(role);
    let mut candidates: Vec<_> = ["203.0.113.1:6000", "203.0.113.1:6001", "203.0.113.1:6002"].map(host).into();
    candidates.push(host("203.0.113.1:6003"));
    solo.describe(candidates);
    solo
}

/// Req: 8445-7.3.1.4-b
#[test]
fn a_check_triggers_one_in_turn_by_the_state_of_its_pair() {
    let trigger = |solo: &mut Solo, source: SocketAddr| {
        let check = solo.check();
        let bytes = solo.seal(check);
        solo.receive_from(source, &bytes);
        solo.run_for(ms(50));
    };
    // All of one foundation: the first is checked, the others are frozen.
    let mut solo = busy(Role::Controlled);
    let to = |port: u16| SocketAddr::new(solo.remote.ip(), port);
    let [first, frozen, other] = [to(6000), to(6001), to(6002)];
    assert_eq!(solo.state_of(first), Some(CandidatePairState::InProgress));
    assert_eq!(solo.state_of(other), Some(CandidatePairState::Frozen));
    solo.take();
    trigger(&mut solo, other);
    assert_eq!(solo.take_requests()[0].0.destination, other, "a frozen pair is checked");
    assert_eq!(solo.state_of(frozen), Some(CandidatePairState::Frozen));
    solo.take();

    // Succeeded: nothing.
    let mut solo = Solo::checking(Role::Controlled);
    solo.answer();
    assert_eq!(solo.state(), Some(CandidatePairState::Succeeded));
    solo.take();
    trigger(&mut solo, first);
    solo.run_for(ms(500));
    assert_eq!(solo.take_requests().len(), 0, "a pair that has succeeded is not checked again");

    // Failed: it is revived.
    let mut solo = Solo::checking(Role::Controlled);
    let id = solo.last().request().id;
    let refusal = solo.error(id, 400);
    solo.receive(&refusal);
    assert_eq!(solo.state(), Some(CandidatePairState::Failed));
    solo.run_for(secs(60));
    solo.take();
    trigger(&mut solo, first);
    assert_eq!(solo.take_requests().len(), 1, "a failed pair is checked again");
    assert_eq!(solo.state(), Some(CandidatePairState::InProgress));
    solo.run_for(secs(1));
    trigger(&mut solo, first);
    solo.answer();
    assert_eq!(solo.state(), Some(CandidatePairState::Succeeded));
}

/// Req: 8445-7.3.1.4-b
#[test]
fn a_waiting_pair_is_moved_to_the_front_and_checked_once() {
    let mut solo = Solo::new(Role::Controlled);
    let candidates = (0..4_u16).map(|n| {
        let foundation = format!("{}", n + 1).parse().unwrap();
        let priority = nilas::Priority::new(1000 - u32::from(n)).unwrap();
        let to = SocketAddr::new(solo.remote.ip(), 6000 + n);
        nilas::Candidate::new(CandidateKind::Host, nilas::ComponentId::RTP, foundation, priority, to)
    });
    solo.describe(candidates.collect());
    let last = SocketAddr::new(solo.remote.ip(), 6003);
    assert_eq!(solo.state_of(last), Some(CandidatePairState::Waiting));
    for _ in 0..3 {
        let check = solo.check();
        let bytes = solo.seal(check);
        solo.receive_from(last, &bytes);
    }
    solo.take();
    solo.run_for(ms(200));
    let ports: Vec<u16> = solo.take_requests().iter().map(|(out, _)| out.destination.port()).collect();
    assert_eq!(ports, [6003, 6001, 6002]);
}

/// Req: 8445-7.3.1.4-c
#[test]
fn a_check_on_a_pair_in_progress_stops_the_repetition_and_asks_anew_while_the_old_answer_still_counts() {
    let mut solo = Solo::checking(Role::Controlled);
    let old = solo.last().request().id;
    let check = solo.check();
    let bytes = solo.seal(check);
    solo.run_for(ms(20));
    solo.receive(&bytes);
    assert_eq!(solo.state(), Some(CandidatePairState::Waiting));
    solo.take();
    solo.run_for(ms(30));
    let requests = solo.take_requests();
    let [(out, new)] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(out.at, nilas::Instant::ZERO + ms(50), "at the next slot, not after the RTO");
    assert_ne!(new.id, old);
    let mut patient = solo.clone();
    patient.run_for(secs(38));
    assert!(patient.take_requests().iter().all(|(_, request)| request.id == new.id), "the old one is not repeated");
    let answer = patient.success(old, patient.local);
    assert_eq!(patient.receive(&answer), Outcome::Handled);
    assert_eq!(patient.state(), Some(CandidatePairState::Succeeded));
    // Nor does its silence count: its time is over at 39.5 s, that of the new one at 39.55 s.
    solo.now = nilas::Instant::ZERO;
    solo.run_for(ms(39_549));
    assert_eq!(solo.state(), Some(CandidatePairState::InProgress));
    solo.run_for(ms(1));
    assert_eq!(solo.state(), Some(CandidatePairState::Failed));
}

/// Req: 8445-7.3.1.4-f
#[test]
fn a_triggered_check_uses_the_password_of_the_fork_that_asked() {
    let mut solo = Solo::new(Role::Controlling);
    solo.describe(vec![host("203.0.113.1:6000")]);
    let fork = Credentials::new("fork", "passwordOfTheFork012345").unwrap();
    solo.agent.add_forked_credentials(solo.now, solo.stream, &fork).unwrap();
    solo.answer();
    let ours = solo.ours();
    // From a new address, from one that was signalled without saying whose it is, and from that of the first peer.
    solo.agent.add_remote_candidate(solo.now, solo.stream, host("203.0.113.2:6002")).map(drop).unwrap();
    for (ufrag, source) in [
        ("fork", "192.0.2.77:1"),
        ("peer", "192.0.2.78:1"),
        ("fork", "203.0.113.2:6002"),
        ("peer", "203.0.113.3:6003"),
        ("fork", "203.0.113.3:6003"),
    ] {
        let password = if ufrag == "fork" { &fork.password } else { &solo.theirs.password }.clone();
        let id = solo.id();
        let check = MessageBuilder::binding_request(id).username(ours.ufrag.as_str(), ufrag).priority(1).controlled(1);
        let bytes = solo.seal(check);
        solo.run_for(ms(200));
        solo.take();
        solo.receive_from(address(source), &bytes);
        solo.run_for(ms(50));
        let requests = solo.take_requests();
        let (out, request) = requests.iter().find(|(out, _)| out.destination == address(source)).unwrap();
        let username = format!("{ufrag}:{}", ours.ufrag);
        assert_eq!(request.username.as_deref(), Some(username.as_bytes()), "{source}");
        assert!(is_protected(&out.bytes, SHA1, &password), "{source}");
    }
}

/// Req: 8445-19.2-b
#[test]
fn a_check_replayed_from_elsewhere_is_checked_in_turn_and_never_gets_data() {
    let mut solo = Solo::checking(Role::Controlled);
    let check = solo.check().use_candidate();
    let captured = solo.seal(check);
    solo.receive(&captured);
    let attacker = address("192.0.2.66:666");
    solo.receive_from(attacker, &captured);
    let mut buffer = Vec::new();
    let rtp = nilas::ComponentId::RTP;
    assert_eq!(solo.agent.send(solo.now, solo.stream, rtp, b"data", &mut buffer).unwrap_err(), SendError::NoPair);
    solo.run_for(ms(100));
    let to_attacker: Vec<_> = solo.take_requests().into_iter().filter(|(out, _)| out.destination == attacker).collect();
    assert_eq!(to_attacker.len(), 1);
    // The peer answers, the attacker cannot: data goes to the peer.
    let check = solo.check();
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    solo.run_for(ms(50));
    solo.answer();
    let transmit = solo.agent.send(solo.now, solo.stream, rtp, b"data", &mut buffer).unwrap();
    assert_eq!(transmit.destination, solo.remote);
}

/// Req: proj-flood-a
#[test]
fn a_peer_that_checks_from_5000_ports_is_bounded() {
    let mut solo = Solo::checking(Role::Controlled);
    solo.take();
    for port in 1000..6000 {
        let check = solo.check();
        let bytes = solo.seal(check);
        solo.receive_from(SocketAddr::new(solo.remote.ip(), port), &bytes);
    }
    let learnt = solo.agent.remote_candidates(solo.stream).filter(|remote| !remote.is_signalled).count();
    assert_eq!(learnt, 50);
    assert!(solo.agent.pairs().count() <= 100);
    assert_eq!(solo.agent.stats().peer_reflexive_refused, 5000 - 50);
    solo.take();
    solo.run_for(secs(60));
    let requests = solo.take_requests();
    // Repetitions included: 51 pairs take turns, Ta apart.
    assert!(requests.len() <= 1 + 60_000 / 50, "{}", requests.len());
}

/// Req: proj-priv-a
#[test]
fn a_check_from_an_address_that_nobody_can_have_teaches_nothing() {
    let mut solo = Solo::checking(Role::Controlled);
    let known = solo.agent.remote_candidates(solo.stream).count();
    for source in ["203.0.113.1:0", "224.0.0.1:5000", "255.255.255.255:5000", "0.0.0.0:5000"] {
        let check = solo.check();
        let bytes = solo.seal(check);
        solo.receive_from(address(source), &bytes);
        assert_eq!(solo.agent.remote_candidates(solo.stream).count(), known, "{source}");
        solo.run_for(ms(200));
        assert!(solo.out.iter().all(|out| out.wire().request().is_none() || out.destination == solo.remote));
    }
}

/// Req: 8489-6.3.1-b
#[test]
fn a_request_that_comes_again_and_again_means_what_it_meant_once() {
    let run = |copies: usize| {
        let mut solo = Solo::checking(Role::Controlled);
        let check = solo.check().use_candidate();
        let bytes = solo.seal(check);
        for _ in 0..copies {
            solo.receive(&bytes);
        }
        solo.take();
        solo.run_for(ms(50));
        solo.answer();
        for _ in 1..copies {
            solo.receive(&bytes);
        }
        solo.take();
        let selected = solo.agent.selected_pair(solo.stream, nilas::ComponentId::RTP).map(|pair| pair.id);
        let remotes = solo.agent.remote_candidates(solo.stream).count();
        (selected, remotes, solo.agent.pairs().count(), solo.events.clone(), solo.future())
    };
    let once = run(1);
    assert!(once.0.is_some());
    assert_eq!(run(2), once);
    assert_eq!(run(9), once);
}

/// Req: 8489-6.3.1-b
#[test]
fn a_network_that_delivers_every_packet_twice_changes_nothing_of_the_outcome() {
    let run = |duplicate| {
        let link = nilas::sim::Link { duplicate, ..nilas::sim::Link::with_delay(ms(25)) };
        let mut pair = setup("twice").addresses(2, 2).link(link).build();
        pair.run_for(secs(5));
        assert!(pair.agrees());
        let side = |peer: &nilas::sim::Peer| {
            let requests: Vec<_> = requests(&peer.sent).into_iter().map(|(at, request, _)| (at, request)).collect();
            let selected = peer.agent.selected_pair(peer.agent.streams().next().unwrap(), nilas::ComponentId::RTP);
            (peer.selected_at(), selected.map(|pair| pair.id), peer.events.clone(), requests)
        };
        (side(&pair.l), side(&pair.r))
    };
    assert_eq!(run(1.0), run(0.0));
}

/// Req: 8445-7.3.1.4-b
#[test]
fn a_check_of_the_peer_brings_a_list_back_that_has_failed() {
    let mut solo = Solo::checking(Role::Controlled);
    solo.agent.end_of_local_candidates(solo.now, solo.stream).unwrap();
    solo.agent.end_of_remote_candidates(solo.now, solo.stream).unwrap();
    solo.drain();
    solo.run_for(secs(60));
    assert_eq!(solo.agent.state(), nilas::ConnectionState::Failed);
    let check = solo.check().use_candidate();
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    assert_eq!(solo.agent.state(), nilas::ConnectionState::Checking);
    solo.answer();
    assert_eq!(solo.agent.state(), nilas::ConnectionState::Completed);
}
