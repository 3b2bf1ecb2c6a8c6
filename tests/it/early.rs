//! Checks that come before the credentials of the peer that sends them (RFC 8445 §7.3).

use std::net::SocketAddr;

use nilas::sim::{Link, MessageBuilder, SideName, Wire};
use nilas::{CandidateKind, ComponentId, Config, ConnectionState, Credentials, Role};

use crate::help::{at, ms, requests, secs, setup};
use crate::solo::{CHECK_PRIORITY, Outcome, Solo, address, host, is_protected};

fn check_from(solo: &mut Solo, ufrag: &str, priority: u32) -> MessageBuilder {
    let id = solo.id();
    let ours = solo.ours();
    let request = MessageBuilder::binding_request(id).username(ours.ufrag.as_str(), ufrag).priority(priority);
    match solo.agent.role() {
        Role::Controlled => request.controlling(1),
        Role::Controlling => request.controlled(1),
    }
}

/// S006
/// Req: 8445-7.3-c
#[test]
fn a_check_before_the_credentials_is_answered_at_once_and_checked_in_turn_when_they_come() {
    let mut solo = Solo::new(Role::Controlled);
    let check = solo.check().use_candidate();
    let bytes = solo.seal(check);
    assert_eq!(solo.receive(&bytes), Outcome::Handled);
    let [answer] = &*solo.take() else { panic!("one answer") };
    assert!(matches!(answer.wire(), Wire::Success { mapped, .. } if mapped == Some(solo.remote)));
    assert!(is_protected(&answer.bytes, 0x0008, &solo.ours().password));
    assert_eq!((solo.agent.pairs().count(), solo.agent.remote_candidates(solo.stream).count()), (0, 0));
    assert_eq!(solo.future(), []);
    solo.run_for(ms(500));
    solo.describe(Vec::new());
    let views: Vec<_> = solo.agent.remote_candidates(solo.stream).collect();
    assert_eq!((views.len(), views[0].candidate.kind()), (1, CandidateKind::PeerReflexive));
    assert_eq!(views[0].candidate.priority().get(), CHECK_PRIORITY);
    let request = solo.last();
    assert_eq!((request.at, request.destination), (at(500), solo.remote));
    solo.answer();
    let selected = solo.agent.selected_pair(solo.stream, ComponentId::RTP).expect("the nomination was kept");
    assert_eq!(selected.remote.socket_address(), Some(solo.remote));
}

/// Req: 8445-7.3-c
#[test]
fn an_early_check_from_a_signalled_candidate_is_that_candidate() {
    let mut solo = Solo::new(Role::Controlled);
    let check = solo.check();
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    // Candidates trickle ahead of the description.
    solo.agent.add_remote_candidate(solo.now, solo.stream, host("203.0.113.1:6000")).map(drop).unwrap();
    solo.describe(Vec::new());
    let views: Vec<_> = solo.agent.remote_candidates(solo.stream).collect();
    assert_eq!((views.len(), views[0].is_signalled, views[0].candidate.kind()), (1, true, CandidateKind::Host));
    assert_eq!(solo.agent.pairs().count(), 1);
}

/// Req: proj-early-a
#[test]
fn early_checks_of_one_address_are_one_with_the_latest_priority_and_any_nomination() {
    let mut solo = Solo::new(Role::Controlled);
    for (priority, nominates) in [(10, false), (20, true), (30, false)] {
        let mut check = check_from(&mut solo, "peer", priority);
        if nominates {
            check = check.use_candidate();
        }
        let bytes = solo.seal(check);
        solo.receive(&bytes);
    }
    solo.describe(Vec::new());
    let views: Vec<_> = solo.agent.remote_candidates(solo.stream).collect();
    assert_eq!((views.len(), views[0].candidate.priority().get()), (1, 30));
    solo.answer();
    assert!(solo.agent.selected_pair(solo.stream, ComponentId::RTP).is_some());
}

/// Req: proj-early-a
/// Req: proj-unauth-c
#[test]
fn ten_thousand_early_checks_from_random_sources_are_answered_and_32_remembered() {
    for (limit, checks) in [(32, 10_000), (5, 100), (0, 100)] {
        let mut solo = Solo::with(Role::Controlled, Config::default().with_max_early_checks(limit));
        let mut random = 1_u32;
        for _ in 0..checks {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [a, b, c, d] = random.to_be_bytes();
            let source = SocketAddr::from(([10, a, b, c], 1024 + u16::from(d)));
            let check = check_from(&mut solo, "peer", 7);
            let bytes = solo.seal(check);
            assert_eq!(solo.receive_from(source, &bytes), Outcome::Handled);
            assert!(matches!(solo.take().as_slice(), [answer] if answer.destination == source));
        }
        assert_eq!(solo.agent.stats().early_checks_forgotten, checks - limit as u64);
        solo.describe(Vec::new());
        assert_eq!(solo.agent.remote_candidates(solo.stream).count(), limit);
        assert_eq!(solo.agent.pairs().count(), limit);
    }
}

/// Req: proj-early-a
#[test]
fn a_name_that_no_peer_can_have_is_not_remembered() {
    let mut solo = Solo::new(Role::Controlled);
    let long = "x".repeat(10_000);
    let check = check_from(&mut solo, &long, 7);
    let bytes = solo.seal(check);
    assert_eq!(solo.receive(&bytes), Outcome::Handled);
    assert_eq!(solo.agent.stats().early_checks_forgotten, 1);
    let longest = "x".repeat(256);
    let check = check_from(&mut solo, &longest, 7);
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    assert_eq!(solo.agent.stats().early_checks_forgotten, 1);
}

/// Req: 8445-7.3-c
/// Req: 8445-7.3.1.4-f
#[test]
fn early_checks_of_two_forks_wait_for_the_credentials_of_each() {
    let mut solo = Solo::new(Role::Controlling);
    let (one, two) = (solo.remote, address("203.0.113.2:6002"));
    for (ufrag, source) in [("peer", one), ("fork", two), ("nobody", address("192.0.2.66:6"))] {
        let check = check_from(&mut solo, ufrag, 7);
        let bytes = solo.seal(check);
        assert_eq!(solo.receive_from(source, &bytes), Outcome::Handled);
    }
    let sources = |solo: &Solo| {
        let all = solo.agent.remote_candidates(solo.stream);
        all.filter_map(|remote| remote.candidate.socket_address()).collect::<Vec<_>>()
    };
    solo.describe(Vec::new());
    assert_eq!(sources(&solo), [one]);
    let fork = Credentials::new("fork", "passwordOfTheFork012345").unwrap();
    solo.agent.add_forked_credentials(solo.now, solo.stream, &fork).unwrap();
    solo.drain();
    assert_eq!(sources(&solo), [one, two]);
    solo.run_for(ms(50));
    let check = solo.last();
    assert_eq!(check.destination, two);
    assert!(is_protected(&check.bytes, 0x0008, &fork.password));
}

/// Req: 8445-7.3-c
/// Req: 8445-7.1.2-a
#[test]
fn an_early_nomination_by_a_controlled_peer_is_never_honoured() {
    let mut solo = Solo::new(Role::Controlling);
    let check = solo.check_as(Role::Controlled, 1).use_candidate();
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    // Then the peer says that it is controlling, and wins.
    let check = solo.check_as(Role::Controlling, u64::MAX);
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    assert_eq!(solo.agent.role(), Role::Controlled);
    solo.describe(Vec::new());
    solo.answer();
    assert!(solo.agent.state().is_connected());
    assert!(!solo.agent.pairs().any(|pair| pair.is_nominated));
}

/// S005
/// Req: 8445-7.3-c
#[test]
fn a_side_that_learns_of_the_other_from_its_checks_alone_answers_and_connects() {
    for side in [SideName::L, SideName::R] {
        let late = |setup: &mut nilas::sim::SideSetup| setup.candidate_delay = secs(1000);
        let mut pair = match side {
            SideName::L => setup("no candidates of L").left(late),
            SideName::R => setup("no candidates of R").right(late),
        }
        .build();
        assert!(pair.run_until_selected(secs(1)), "{side:?}");
        let learnt: Vec<_> = pair.peer(side.other()).agent.remote_candidates(pair.stream()).collect();
        assert_eq!((learnt.len(), learnt[0].candidate.kind()), (1, CandidateKind::PeerReflexive));
        assert!(pair.agrees());
    }
}

/// S006
/// Req: 8445-7.3-c
#[test]
fn an_answer_that_is_slower_than_the_checks_costs_no_more_than_its_own_delay() {
    let mut pair = setup("slow answer").left(|l| l.role = Role::Controlled).right(|r| {
        r.role = Role::Controlling;
        r.description_delay = ms(500);
        r.candidate_delay = ms(500);
    });
    pair.link = Link::with_delay(ms(25));
    let mut pair = pair.build();
    pair.run_to(at(499));
    // R got its answer at once and has nominated; L has not sent a single check.
    assert_eq!(pair.r.reached(ConnectionState::Connected), Some(at(50)));
    assert_eq!(requests(&pair.l.sent).len(), 0);
    pair.run_to(at(500));
    assert_eq!(requests(&pair.l.sent).len(), 1);
    assert!(pair.run_until_selected(ms(50)));
    assert_eq!(pair.l.selected_at(), Some(at(550)));
    assert!(pair.agrees());
}
