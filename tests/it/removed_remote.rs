//! Candidates of the peer that the application removes while their pairs are in use.

use std::net::SocketAddr;

use nilas::sim::{MessageBuilder, NatConfig, Pair, PairSetup, Sent, SideName, Wire};
use nilas::{
    Candidate, CandidateId, CandidateKind, ComponentId, Config, ConnectionState, Credentials, Event,
    RemoteCandidateOutcome, RemoteDescription, Renomination, Role, SendError, StateReason, TcpType,
};

use crate::help::{ms, requests, secs, setup, states};
use crate::solo::{Solo, address, host};

use ConnectionState::{Disconnected, New};

const RTP: ComponentId = ComponentId::RTP;

/// With this draft of renomination, or none.
fn by(setup: PairSetup, draft: Option<Renomination>) -> PairSetup {
    setup.left(|l| l.renomination = draft).right(|r| r.renomination = draft)
}

/// Connected, and more candidates may come.
fn connected(setup: PairSetup) -> Pair {
    let mut pair = setup.left(|l| l.signals_end = false).right(|r| r.signals_end = false).build();
    assert!(pair.run_until_selected(secs(5)));
    pair.run_for(secs(1));
    pair
}

/// Lets L remove all candidates of its peer; gives the ones that were signalled.
fn remove_all(pair: &mut Pair) -> Vec<(CandidateId, Candidate)> {
    let (now, stream) = (pair.now(), pair.stream());
    let all: Vec<_> = pair.l.agent.remote_candidates(stream).map(|one| (one.id, one.candidate.clone())).collect();
    for (id, _) in &all {
        pair.l.agent.remove_remote_candidate(now, stream, *id).unwrap();
    }
    pair.drain(SideName::L);
    all
}

fn codes(sent: &[Sent]) -> Vec<Option<u16>> {
    sent.iter()
        .filter_map(|sent| match Wire::decode(&sent.payload) {
            Wire::Error { code, .. } => Some(code),
            _ => None,
        })
        .collect()
}

fn is_revoked(pair: &Pair, side: SideName) -> bool {
    let is_end = |event: &Event| matches!(event, Event::ConsentEnded { is_revoked: true, .. });
    pair.peer(side).events.iter().any(|(_, event)| is_end(event))
}

/// Req: 7675-5.2-a
#[test]
fn without_its_last_remote_candidate_a_connected_stream_is_disconnected_and_its_peer_is_told() {
    use Role::{Controlled, Controlling};
    for roles in [[Controlling, Controlled], [Controlled, Controlling]] {
        for draft in [None, Some(Renomination::Draft2016), Some(Renomination::Draft2026)] {
            let mut pair = connected(by(setup("last"), draft).roles(roles[0], roles[1]));
            let (now, stream, sent) = (pair.now(), pair.stream(), pair.l.sent.len());
            remove_all(&mut pair);
            assert_eq!(
                pair.l.agent.stream_state(stream),
                Some((Disconnected, StateReason::WaitingForRemoteCandidates))
            );
            assert!(pair.run_until(ms(6100), |pair| is_revoked(pair, SideName::R)));
            println!("{roles:?}, {draft:?}: told after {:?}", pair.now().saturating_duration_since(now));
            assert!(matches!(pair.send(SideName::R, b"x"), Err(SendError::ConsentLost | SendError::NoPair)));
            let until = pair.r.sent.len();
            pair.run_for(secs(120));
            assert_eq!(pair.l.agent.state(), Disconnected);
            assert!(!states(&pair, SideName::L)[1..].contains(&New));
            assert_eq!(codes(&pair.l.sent[sent..]), [Some(403)]);
            assert!(requests(&pair.l.sent[sent..]).is_empty() && requests(&pair.r.sent[until..]).is_empty());
            assert_eq!(pair.l.agent.remote_candidates(stream).count(), 0);
        }
    }
}

#[test]
fn a_stream_that_was_never_connected_is_new_without_remote_candidates() {
    let mut solo = Solo::checking(Role::Controlling);
    let id = solo.agent.remote_candidates(solo.stream).next().unwrap().id;
    solo.agent.remove_remote_candidate(solo.now, solo.stream, id).unwrap();
    solo.drain();
    assert_eq!(solo.agent.state(), New);
}

/// Two sockets; the pair of the first one works, and that of the second one has not been answered.
fn one_of_two(role: Role, config: Config) -> Solo {
    let mut solo = Solo::with(role, config.clone());
    solo.add_socket("198.51.100.2:5000");
    solo.describe(vec![host("203.0.113.1:6000")]);
    if config_is_lite(&solo) {
        let check = solo.check();
        let bytes = solo.seal(check.use_candidate());
        solo.receive(&bytes);
    } else {
        let first = solo.out.iter().find(|out| out.source == solo.local).unwrap().clone();
        let answer = solo.success(first.request().id, first.source);
        solo.receive(&answer);
    }
    solo
}

fn config_is_lite(solo: &Solo) -> bool {
    solo.agent.pairs().count() == 0
}

/// What a check of the peer to one of our addresses is answered with: an error code, or `None` for success.
fn asked(solo: &mut Solo, source: SocketAddr, local: &str) -> Option<u16> {
    let check = solo.check();
    let bytes = solo.seal(check);
    asked_with(solo, source, local, &bytes)
}

fn asked_with(solo: &mut Solo, source: SocketAddr, local: &str, bytes: &[u8]) -> Option<u16> {
    solo.take();
    solo.receive_at(source, address(local), bytes);
    let answer = solo.take().into_iter().find(|out| out.wire().request().is_none()).expect("an answer");
    match answer.wire() {
        Wire::Success { .. } => None,
        Wire::Error { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

/// Req: 7675-5.2-a
#[test]
fn only_the_5_tuple_that_worked_is_refused_and_only_until_a_restart() {
    for (role, config) in [
        (Role::Controlling, Config::default()),
        (Role::Controlled, Config::default()),
        (Role::Controlled, Config::default().with_lite(true)),
    ] {
        let mut solo = one_of_two(role, config);
        let (stream, remote) = (solo.stream, solo.remote);
        let (id, candidate) =
            solo.agent.remote_candidates(stream).next().map(|one| (one.id, one.candidate.clone())).unwrap();
        solo.agent.remove_remote_candidate(solo.now, stream, id).unwrap();
        solo.drain();
        assert_eq!(asked(&mut solo, remote, "198.51.100.1:5000"), Some(403));
        assert_eq!(asked(&mut solo, remote, "198.51.100.2:5000"), None, "it had not worked there");
        assert_eq!((solo.agent.pairs().count(), solo.agent.remote_candidates(stream).count()), (0, 0));
        // Added again, it is a candidate for the other socket only.
        let ended = |outcome| matches!(outcome, Ok(RemoteCandidateOutcome::ConsentEnded(_)));
        assert!(ended(solo.agent.add_remote_candidate(solo.now, stream, candidate.clone())));
        assert!(ended(solo.agent.add_remote_candidate(solo.now, stream, candidate.clone())), "twice as once");
        solo.drain();
        assert_eq!(asked(&mut solo, remote, "198.51.100.1:5000"), Some(403));
        assert_eq!(asked(&mut solo, remote, "198.51.100.2:5000"), None);
        assert!(solo.agent.pairs().all(|pair| pair.base == address("198.51.100.2:5000")));
        // Another port of the peer is another 5-tuple.
        assert_eq!(asked(&mut solo, address("203.0.113.1:6001"), "198.51.100.1:5000"), None);
        // While a restart waits, the old credentials are refused and the new ones are not.
        let (old, theirs) = (solo.ours(), solo.theirs.clone());
        let new = solo.agent.prepare_restart(solo.now, stream).unwrap();
        solo.drain();
        let check = |to: &Credentials, from: &str, id: u8| {
            let message = MessageBuilder::binding_request([id; 12]).username(to.ufrag.as_str(), from);
            let message = message.priority(0x6eff_ffff);
            let message = if role == Role::Controlling { message.controlled(7) } else { message.controlling(7) };
            message.integrity(&to.password).fingerprint().build()
        };
        let local = "198.51.100.1:5000";
        assert_eq!(asked_with(&mut solo, remote, local, &check(&old, theirs.ufrag.as_str(), 1)), Some(403));
        assert_eq!(asked_with(&mut solo, remote, local, &check(&new, "fresh", 2)), None);
        let fresh = Credentials::new("fresh", "freshPasswordOfThePeer0").unwrap();
        let description = RemoteDescription::new(fresh).with_candidates(vec![candidate.clone()]);
        solo.agent.set_remote_description(solo.now, stream, &description).unwrap();
        solo.drain();
        assert!(solo.agent.remote_candidates(stream).any(|one| one.candidate.address() == candidate.address()));
        assert_eq!(asked_with(&mut solo, remote, local, &check(&new, "fresh", 3)), None);
        // As long as the generation before is in view, it is refused there.
        assert_eq!(asked_with(&mut solo, remote, local, &check(&old, theirs.ufrag.as_str(), 4)), Some(403));
        let known = solo.agent.add_remote_candidate(solo.now, stream, candidate);
        assert!(matches!(known, Ok(RemoteCandidateOutcome::Known(_))));
    }
}

/// Req: 7675-5.2-a
#[test]
fn a_peer_reflexive_candidate_that_is_removed_is_refused_and_not_found_again() {
    let mut solo = Solo::with(Role::Controlled, Config::default());
    solo.describe(Vec::new());
    let source = address("203.0.113.77:7777");
    assert_eq!(asked(&mut solo, source, "198.51.100.1:5000"), None);
    solo.run_for(ms(50));
    let check = solo.check();
    let bytes = solo.seal(check);
    solo.receive_from(source, &bytes);
    let mut other = Solo::with(Role::Controlled, Config::default());
    other.describe(Vec::new());
    let check = other.check();
    let bytes = other.seal(check);
    other.receive_from(source, &bytes);
    other.answer();
    let id = other.agent.remote_candidates(other.stream).next().unwrap().id;
    other.agent.remove_remote_candidate(other.now, other.stream, id).unwrap();
    other.drain();
    for _ in 0..3 {
        assert_eq!(asked(&mut other, source, "198.51.100.1:5000"), Some(403));
        assert_eq!(other.agent.remote_candidates(other.stream).count(), 0);
        other.run_for(secs(40));
    }
}

#[test]
fn the_pair_from_before_a_restart_goes_with_the_candidate_of_the_same_address() {
    let mut pair = connected(setup("previous"));
    let (stream, now) = (pair.stream(), pair.now());
    let known = pair.l.agent.remote_candidates(stream).next().unwrap().candidate.socket_address().unwrap();
    let signalled = host(&known.to_string());
    // L is in a new generation, and R does not check in it.
    pair.l.agent.prepare_restart(now, stream).unwrap();
    let fresh = Credentials::new("fresh", "freshPasswordOfThePeer0").unwrap();
    let description = RemoteDescription::new(fresh).with_candidates(vec![signalled]);
    pair.l.agent.set_remote_description(now, stream, &description).unwrap();
    pair.drain(SideName::L);
    pair.run_for(secs(1));
    assert!(pair.send(SideName::L, b"x").is_ok());
    let sent = pair.l.sent.len();
    remove_all(&mut pair);
    assert!(pair.send(SideName::L, b"x").is_err());
    assert!(pair.run_until(ms(6100), |pair| is_revoked(pair, SideName::R)));
    assert_eq!(codes(&pair.l.sent[sent..]), [Some(403)]);
}

/// Req: 7675-5.2-a
#[test]
fn a_peer_over_tcp_is_told_on_its_connection() {
    for (l, r) in [(TcpType::Active, TcpType::Passive), (TcpType::Passive, TcpType::Active)] {
        let side = |tcp: TcpType| move |side: &mut nilas::sim::SideSetup| (side.udp, side.tcp) = (false, vec![tcp]);
        let mut pair = connected(setup("removed tcp").left(side(l)).right(side(r)));
        remove_all(&mut pair);
        assert_eq!(pair.l.agent.state(), Disconnected, "{l:?}");
        assert!(pair.run_until(ms(6100), |pair| is_revoked(pair, SideName::R)), "{l:?}");
        pair.run_for(secs(120));
        assert_eq!((pair.l.agent.state(), pair.l.agent.remote_candidates(pair.stream()).count()), (Disconnected, 0));
        assert!(!pair.r.agent.state().is_connected());
    }
}

/// Req: 7675-5.2-a
#[test]
fn a_peer_behind_a_relay_is_told_through_the_relay() {
    let server = [192, 0, 2, 100].into();
    // Either side has the relay.
    for is_ours in [true, false] {
        let mut setup = setup("removed relay").with_turn(server);
        let (with, without) = if is_ours { (&mut setup.l, &mut setup.r) } else { (&mut setup.r, &mut setup.l) };
        with.only_reaches = Some(server);
        without.servers.clear();
        let mut pair = connected(setup);
        let selected = pair.l.agent.selected_pair(pair.stream(), RTP).unwrap();
        assert_eq!(selected.local.kind() == CandidateKind::Relayed, is_ours);
        remove_all(&mut pair);
        assert_eq!(pair.l.agent.state(), Disconnected);
        assert!(pair.run_until(ms(6400), |pair| is_revoked(pair, SideName::R)), "{is_ours}");
    }
}

#[test]
fn a_peer_behind_a_nat_is_told() {
    let mut pair =
        connected(setup("removed nat").left(|l| l.addresses = vec!["10.0.0.2".parse().unwrap()]).left(|l| {
            l.nats = vec![NatConfig::port_restricted(["192.0.2.1".parse().unwrap()])];
        }));
    remove_all(&mut pair);
    assert!(pair.run_until(ms(6100), |pair| is_revoked(pair, SideName::R)));
    pair.run_for(secs(60));
    assert_eq!(pair.l.agent.state(), Disconnected);
}

#[test]
fn the_best_pair_that_is_left_is_used_and_a_restart_brings_all_back() {
    let mut pair = connected(setup("some are left").addresses(1, 2).renomination(Renomination::Draft2016));
    pair.run_for(secs(5));
    let (stream, now) = (pair.stream(), pair.now());
    let used = pair.l.agent.selected_pair(stream, RTP).unwrap().remote_id;
    pair.l.agent.remove_remote_candidate(now, stream, used).unwrap();
    pair.drain(SideName::L);
    assert!(pair.run_until(secs(12), |pair| pair.agrees()));
    assert!(!states(&pair, SideName::L).contains(&Disconnected));
    pair.run_for(secs(12));
    assert!(pair.agrees() && is_revoked(&pair, SideName::R));
    pair.restart(SideName::L, stream);
    assert!(pair.run_until(secs(3), |pair| pair.l.agent.generation(stream) == Some(1) && pair.l.is_selected()));
    pair.run_for(secs(10));
    assert!(pair.agrees());
    assert_eq!(pair.l.agent.remote_candidates(stream).filter(|one| one.is_signalled).count(), 2);
}

/// Req: 7675-5.2-b
#[test]
fn a_refusal_of_any_check_ends_consent_on_its_5_tuple() {
    // Of the first check.
    let mut solo = Solo::checking(Role::Controlling);
    let refusal = solo.error(solo.last().request().id, 403);
    solo.receive(&refusal);
    solo.take();
    let check = solo.check();
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    solo.run_for(secs(400));
    assert!(solo.take_requests().is_empty(), "the check of the peer does not trigger another");
    // Of the nomination of a pair that works.
    let mut solo = Solo::checking(Role::Controlling);
    solo.answer();
    solo.run_for(secs(1));
    let nomination = solo.last().request();
    assert!(nomination.use_candidate);
    assert!(solo.agent.pairs().any(|pair| pair.is_valid));
    let refusal = solo.error(nomination.id, 403);
    solo.receive(&refusal);
    assert!(solo.events.iter().any(|event| matches!(event, Event::ConsentEnded { is_revoked: true, .. })));
    let mut buffer = Vec::new();
    assert!(solo.agent.send(solo.now, solo.stream, RTP, b"x", &mut buffer).is_err());
    solo.take();
    solo.run_for(secs(400));
    assert!(solo.take_requests().is_empty());
}
