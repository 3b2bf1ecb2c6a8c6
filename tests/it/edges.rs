//! Calls and packets in unlucky order: around restarts, removals, and the end of consent.

use nilas::{
    Agent, Candidate, CandidateKind, ComponentId, Config, ConnectionState, Credentials, GatheringState, Priority,
    RemoteDescription, Role, SendError, StateReason, Transport,
};

use crate::help::{ms, secs};
use crate::solo::{HOST_PRIORITY, Solo, address, host};

fn describe_as(solo: &mut Solo, ufrag: &str, password: &str) {
    solo.theirs = Credentials::new(ufrag, password).unwrap();
    let peer = RemoteDescription::new(solo.theirs.clone()).with_ice2(true);
    let peer = peer.with_candidates(vec![host("203.0.113.1:6000")]);
    solo.agent.set_remote_description(solo.now, solo.stream, &peer).unwrap();
}

fn send(solo: &mut Solo) -> Result<(), SendError> {
    let mut buffer = Vec::new();
    solo.agent.send(solo.now, solo.stream, ComponentId::RTP, b"x", &mut buffer).map(|_| ())
}

fn selected(role: Role) -> Solo {
    let mut solo = Solo::with_consent(role, Config::default());
    solo.describe(vec![host("203.0.113.1:6000")]);
    solo.answer();
    solo.run_for(ms(200));
    solo.answer();
    assert!(solo.agent.selected_pair(solo.stream, ComponentId::RTP).is_some());
    solo
}

/// Req: 8445-9-c
#[test]
fn an_answer_to_a_nomination_from_before_a_restart_has_no_meaning_any_more() {
    let mut solo = Solo::checking_with(Role::Controlling, Config::default());
    solo.answer();
    solo.run_for(ms(200));
    let nomination = solo.last();
    assert!(nomination.request().use_candidate);
    let answer = solo.success(nomination.request().id, nomination.source);
    solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
    solo.drain();
    describe_as(&mut solo, "peer2", "anotherPasswordOfPeer0123");
    solo.drain();
    let _ = solo.receive_at(nomination.destination, nomination.source, &answer);
    assert_eq!(solo.agent.stream_state(solo.stream).map(|(_, reason)| reason), Some(StateReason::Restarting));
    assert_eq!(send(&mut solo), Ok(()));
    solo.take();
    solo.run_for(secs(1));
    assert!(!solo.out.is_empty(), "the new generation is checked");
}

/// Req: 7675-5.1-j
/// Req: proj-restart-a
#[test]
fn two_restarts_in_a_row_keep_the_pair_in_use_and_its_consent() {
    let mut solo = selected(Role::Controlling);
    for number in 0..2 {
        solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
        solo.drain();
        describe_as(&mut solo, &format!("peer{number}"), &format!("anotherPasswordOfPeer0123{number}"));
        solo.drain();
        solo.run_for(ms(100));
        assert_eq!(send(&mut solo), Ok(()));
    }
    solo.take();
    let end = solo.now + secs(8);
    while let Some(at) = solo.agent.poll_timeout().filter(|at| *at <= end) {
        assert!(at > solo.now, "a drained agent wants to be called at once");
        solo.now = at;
        solo.agent.handle_timeout(at);
        solo.drain();
    }
    let name = |request: &nilas::sim::WireRequest| request.username.clone().unwrap();
    let old = solo
        .out
        .iter()
        .filter_map(|out| out.wire().request().cloned())
        .filter(|request| !name(request).starts_with(b"peer0") && !name(request).starts_with(b"peer1"));
    assert!(old.count() > 0, "consent is asked for with the first credentials");
}

/// Req: 8838-13-d
#[test]
fn a_new_address_may_be_part_of_a_restart() {
    let mut solo = selected(Role::Controlling);
    let add = |solo: &mut Solo| {
        let at = address("198.51.100.9:5000");
        solo.agent.add_socket(solo.now, solo.stream, ComponentId::RTP, Transport::Udp, at).map(|_| ())
    };
    assert!(add(&mut solo).is_err());
    solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
    assert_eq!(add(&mut solo), Ok(()));
}

#[test]
fn removing_the_old_address_and_committing_a_restart_in_one_step_goes_on() {
    let mut solo = selected(Role::Controlling);
    let (now, stream) = (solo.now, solo.stream);
    solo.agent.prepare_restart(now, stream).unwrap();
    let old = solo.agent.local_candidates(stream).next().unwrap().id;
    solo.agent.add_socket(now, stream, ComponentId::RTP, Transport::Udp, address("198.51.100.9:5000")).unwrap();
    solo.agent.remove_local_candidate(now, stream, old).unwrap();
    describe_as(&mut solo, "peer2", "anotherPasswordOfPeer0123");
    solo.drain();
    assert_eq!(solo.agent.stream_state(stream).map(|(state, _)| state), Some(ConnectionState::Checking));
    assert_eq!(send(&mut solo), Err(SendError::NoPair));
    solo.answer();
    assert!(solo.agent.state().is_connected());
    assert_eq!(send(&mut solo), Ok(()));
}

/// Req: 8840-8-a
#[test]
fn the_end_of_the_candidates_may_come_before_the_description_that_lists_them() {
    for is_named in [true, false] {
        let mut solo = Solo::with(Role::Controlling, Config::default());
        let (now, stream) = (solo.now, solo.stream);
        if is_named {
            solo.agent.end_of_remote_candidates_for(now, stream, &solo.theirs.ufrag.clone()).unwrap();
        } else {
            solo.agent.end_of_remote_candidates(now, stream).unwrap();
        }
        solo.describe(vec![host("203.0.113.1:6000")]);
        assert_eq!(solo.agent.remote_candidates(stream).count(), 1);
        let late = solo.agent.add_remote_candidate(now, stream, host("203.0.113.2:6000"));
        assert_eq!(late, Err(nilas::AddRemoteCandidateError::AfterEndOfCandidates));
    }
}

#[test]
fn a_pair_that_works_after_all_brings_a_failed_stream_back() {
    let config = Config::default().with_pair_events(true).with_pac_timer(Some(secs(1)));
    let mut solo = Solo::with_consent(Role::Controlling, config);
    let (now, stream) = (solo.now, solo.stream);
    solo.agent.end_of_local_candidates(now, stream).unwrap();
    let second = address("203.0.113.2:6000");
    let priority = Priority::new(HOST_PRIORITY - 256).unwrap();
    let low = Candidate::new(CandidateKind::Host, ComponentId::RTP, "2".parse().unwrap(), priority, second);
    solo.describe(vec![host("203.0.113.1:6000"), low]);
    solo.agent.end_of_remote_candidates(now, stream).unwrap();
    let first = solo.last();
    solo.run_for(ms(60));
    let answer = solo.success(first.request().id, first.source);
    let _ = solo.receive_at(first.destination, first.source, &answer);
    solo.run_for(ms(200));
    let is_nomination = |out: &&crate::solo::Out| out.wire().request().is_some_and(|request| request.use_candidate);
    let nomination = solo.out.iter().rev().find(is_nomination).unwrap().clone();
    let answer = solo.success(nomination.request().id, nomination.source);
    let _ = solo.receive_at(nomination.destination, nomination.source, &answer);
    solo.run_for(secs(60));
    assert_eq!(solo.agent.state(), ConnectionState::Failed);
    solo.agent.network_changed(solo.now);
    solo.take();
    solo.drain();
    solo.answer();
    assert!(solo.agent.state().is_connected());
    assert_eq!(send(&mut solo), Ok(()));
}

/// S113
#[test]
fn preparing_and_rolling_back_changes_nothing_of_the_generation_in_use() {
    let mut solo = Solo::checking_with(Role::Controlling, Config::default());
    let (now, stream) = (solo.now, solo.stream);
    solo.agent.end_of_local_candidates(now, stream).unwrap();
    solo.agent.end_of_remote_candidates(now, stream).unwrap();
    solo.answer();
    solo.run_for(ms(200));
    solo.answer();
    assert_eq!(solo.agent.state(), ConnectionState::Completed);
    solo.agent.prepare_restart(solo.now, stream).unwrap();
    solo.drain();
    assert_eq!(solo.agent.state(), ConnectionState::Completed);
    let mut solo = Solo::checking_with(Role::Controlling, Config::default());
    solo.agent.prepare_restart(solo.now, stream).unwrap();
    solo.agent.end_of_local_candidates(solo.now, stream).unwrap();
    let at = address("198.51.100.9:5000");
    let early = solo.agent.add_socket(solo.now, stream, ComponentId::RTP, Transport::Udp, at).unwrap();
    solo.agent.rollback_restart(solo.now, stream).unwrap();
    solo.drain();
    assert_eq!(solo.agent.gathering_state(), GatheringState::Gathering);
    solo.events.clear();
    assert_eq!(solo.agent.add_socket(solo.now, stream, ComponentId::RTP, Transport::Udp, at), Ok(early));
    solo.agent.end_of_local_candidates(solo.now, stream).unwrap();
    solo.drain();
    let ended = solo.events.iter().any(|event| matches!(event, nilas::Event::EndOfCandidates { generation: 0, .. }));
    assert!(ended, "{:?}", solo.events);
}

/// Req: 8445-19.2-b
#[test]
fn a_nomination_that_is_replayed_from_elsewhere_does_not_redirect_a_lite_agent() {
    let mut solo = Solo::with_consent(Role::Controlled, Config::default().with_lite(true));
    solo.describe(vec![host("203.0.113.1:6000")]);
    let check = solo.check().use_candidate();
    let bytes = solo.seal(check);
    let _ = solo.receive(&bytes);
    solo.run_for(secs(20));
    let _ = solo.receive_from(address("192.0.2.66:666"), &bytes);
    let mut buffer = Vec::new();
    let sent = solo.agent.send(solo.now, solo.stream, ComponentId::RTP, b"x", &mut buffer).unwrap();
    assert_eq!(sent.destination, address("203.0.113.1:6000"));
}

/// Through thousands of later ones, and through a restart; what was never seen moves the session.
#[test]
fn an_old_nomination_that_is_replayed_does_not_redirect_a_lite_agent() {
    let mut solo = Solo::with_consent(Role::Controlled, Config::default().with_lite(true));
    solo.describe(vec![host("203.0.113.1:6000")]);
    let nominate = |solo: &mut Solo| {
        let check = solo.check().use_candidate();
        solo.seal(check)
    };
    let goes_to = |solo: &Solo| {
        let mut buffer = Vec::new();
        let mut agent = solo.agent.clone();
        agent.send(solo.now, solo.stream, ComponentId::RTP, b"x", &mut buffer).unwrap().destination
    };
    let mut recorded = Vec::new();
    for n in 0..4097 {
        let bytes = nominate(&mut solo);
        let _ = solo.hand_in(solo.remote, solo.local, &bytes);
        if n % 500 == 0 || n == 4096 {
            recorded.push(bytes);
            solo.drain();
        }
        solo.agent.poll_transmit(solo.now, &mut Vec::new());
    }
    solo.drain();
    for bytes in &recorded {
        let mut probe = solo.clone();
        let _ = probe.receive_from(address("192.0.2.66:666"), bytes);
        assert_eq!(goes_to(&probe), solo.remote);
    }
    let moved = (0..400).map(|_| {
        let bytes = nominate(&mut solo);
        let mut probe = solo.clone();
        let _ = probe.receive_from(address("192.0.2.77:777"), &bytes);
        goes_to(&probe) != solo.remote
    });
    let moved: Vec<bool> = moved.collect();
    let refused = |some: &[bool]| some.iter().filter(|moved| !**moved).count();
    assert!(refused(&moved[..50]) <= 5 && refused(&moved) < 32, "{} of {}", refused(&moved), moved.len());
}

/// Req: 8445-9-d
#[test]
fn a_peer_that_is_lite_after_a_restart_is_controlled() {
    let mut solo = Solo::checking_with(Role::Controlled, Config::default());
    solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
    let theirs = Credentials::new("peer2", "anotherPasswordOfPeer0123").unwrap();
    let lite = RemoteDescription::new(theirs).with_lite(true);
    solo.agent.set_remote_description(solo.now, solo.stream, &lite).unwrap();
    assert_eq!(solo.agent.role(), Role::Controlling);
}

#[test]
fn a_restart_before_the_first_description_takes_it_with_the_new_credentials() {
    let mut solo = Solo::with(Role::Controlling, Config::default());
    let new = solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
    solo.drain();
    solo.describe(vec![host("203.0.113.1:6000")]);
    assert!(!solo.agent.is_restarting(solo.stream));
    assert_eq!(solo.agent.local_credentials(solo.stream), Some(&new));
}

/// Req: 8445-7.2.5.1-a
#[test]
fn a_peer_that_never_agrees_on_the_roles_is_given_up() {
    let mut solo = Solo::checking_with(Role::Controlling, Config::default());
    for _ in 0..100 {
        let request = solo.out.iter().rev().find(|out| out.wire().request().is_some()).unwrap().clone();
        let error = solo.error(request.request().id, 487);
        let _ = solo.receive(&error);
        solo.run_for(ms(50));
    }
    assert!(solo.out.len() < 30, "{} checks", solo.out.len());
}

/// Req: 8445-7.3.1.4-f
#[test]
fn candidates_of_a_fork_that_come_before_its_credentials_are_kept() {
    let mut solo = Solo::checking_with(Role::Controlling, Config::default());
    let fork = Credentials::new("fork", "passwordOfTheFork01234567").unwrap();
    let early = host("203.0.113.7:6000").with_extension("ufrag", "fork");
    let outcome = solo.agent.add_remote_candidate(solo.now, solo.stream, early);
    assert_eq!(outcome, Ok(nilas::RemoteCandidateOutcome::Deferred));
    solo.agent.add_forked_credentials(solo.now, solo.stream, &fork).unwrap();
    solo.drain();
    assert_eq!(solo.agent.remote_candidates(solo.stream).count(), 2);
}

#[test]
fn an_agent_that_is_cloned_goes_its_own_way() {
    let solo = selected(Role::Controlling);
    let mut clone: Agent = solo.agent.clone();
    clone.close(solo.now + secs(1));
    while clone.poll_event().is_some() {}
    assert_eq!(clone.state(), ConnectionState::Closed);
    assert_eq!(solo.agent.state(), ConnectionState::Connected);
}

/// Req: proj-restart-a
#[test]
fn a_request_of_the_generation_before_changes_no_role() {
    let mut solo = selected(Role::Controlling);
    let conflict = solo.check_as(Role::Controlling, u64::MAX);
    let bytes = solo.seal(conflict);
    solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
    solo.drain();
    describe_as(&mut solo, "peer2", "anotherPasswordOfPeer0123");
    solo.drain();
    solo.take();
    let _ = solo.receive(&bytes);
    assert_eq!(solo.agent.role(), Role::Controlling);
    let answered = solo.out.iter().any(|out| matches!(out.wire(), nilas::sim::Wire::Success { .. }));
    assert!(answered, "it is answered all the same");
}
