//! Candidates that come one by one, before and after the checks begin, and the end of them.

use std::net::SocketAddr;

use nilas::sim::{Pair, SideName, Verdict};
use nilas::{
    AddLocalCandidateError, AddRemoteCandidateError, ApplicationNominates, Candidate, CandidateKind,
    CandidatePairState, Config, ConnectionState, Event, GatheringState, RemoteCandidateOutcome, RemoteDescription,
    Role, StateReason, Transport,
};

use crate::help::{at, ms, secs, setup};
use crate::lone::{Lone, address, component, hasty, host_priority, remote};

/// Req: 8838-10-a
/// Req: 8838-11-a
#[test]
fn a_local_candidate_is_paired_when_its_event_is_taken() {
    let mut lone = Lone::new(Config::default(), Role::Controlling, 1, 1);
    lone.describe();
    let _ = lone.add(0, remote("a", 1, 10, "192.0.2.1:6000"));
    assert_eq!(lone.agent.pairs().count(), 0, "a remote candidate without a local one is only recorded");
    lone.socket(0, 1, "10.0.0.1:5000");
    lone.agent.handle_timeout(lone.now);
    let mut buffer = Vec::new();
    assert_eq!(lone.agent.poll_transmit(lone.now, &mut buffer), None);
    assert_eq!(lone.agent.pairs().count(), 0);
    let mut is_signalled = false;
    while let Some(event) = lone.agent.poll_event() {
        is_signalled |= matches!(event, Event::LocalCandidate { .. });
        assert_eq!(lone.agent.pairs().count(), usize::from(is_signalled), "after {event:?}");
    }
    assert!(is_signalled);
    assert_eq!(lone.poll().len(), 1);
}

/// Req: 8838-11-a
#[test]
fn a_candidate_without_one_of_the_same_component_is_recorded_and_paired_later() {
    let mut lone = Lone::new(Config::default(), Role::Controlling, 1, 2);
    lone.socket(0, 1, "10.0.0.1:5000");
    lone.take_events();
    lone.describe();
    assert!(matches!(lone.add(0, remote("a", 2, 10, "192.0.2.1:6001")), RemoteCandidateOutcome::Added(_)));
    assert_eq!(lone.agent.pairs().count(), 0);
    assert_eq!(lone.agent.remote_candidates(lone.streams[0]).count(), 1);
    let _ = lone.add(0, remote("a", 1, 11, "192.0.2.1:6000"));
    assert_eq!(lone.agent.pairs().map(|pair| pair.component.get()).collect::<Vec<_>>(), [1]);
    lone.socket(0, 2, "10.0.0.1:5001");
    lone.take_events();
    assert_eq!(lone.agent.pairs().map(|pair| pair.component.get()).collect::<Vec<_>>(), [1, 2]);
}

/// Req: 8838-9-c
#[test]
fn a_candidate_or_an_end_that_is_said_twice_changes_nothing() {
    let mut lone = Lone::simple(Config::default());
    let candidate = remote("a", 1, 10, "192.0.2.1:6000");
    let RemoteCandidateOutcome::Added(id) = lone.add(0, candidate.clone()) else { panic!("it is new") };
    lone.poll();
    let state = |lone: &Lone| {
        let pairs: Vec<_> = lone.agent.pairs().map(|p| (p.id, p.state, p.priority, p.stats)).collect();
        (pairs, lone.agent.remote_candidates(lone.streams[0]).count(), lone.timeout())
    };
    let before = state(&lone);
    assert_eq!(lone.add(0, candidate.clone()), RemoteCandidateOutcome::Known(id));
    assert!(lone.poll().is_empty());
    assert_eq!(state(&lone), before);
    lone.end();
    lone.poll();
    let before = (state(&lone), lone.events.len());
    lone.end();
    lone.poll();
    assert_eq!((state(&lone), lone.events.len()), before);
}

/// Req: 8838-9-d
#[test]
fn a_candidate_of_another_generation_is_ignored_whenever_it_comes() {
    let of = |ufrag: &str, at: &str| remote("a", 1, 10, at).with_extension("ufrag", ufrag);
    let mut lone = Lone::new(Config::default(), Role::Controlling, 1, 1);
    lone.socket(0, 1, "10.0.0.1:5000");
    lone.take_events();
    // Before the description nobody knows which generation is the right one.
    let _ = lone.add(0, of("past", "192.0.2.1:6000"));
    let _ = lone.add(0, of("peer", "192.0.2.1:6001"));
    lone.describe();
    // Behind it, an unknown one may be that of a restart to come: a few are kept, and none is used.
    for port in 7000..7032 {
        let candidate = of("next", &format!("192.0.2.1:{port}"));
        assert_eq!(lone.add(0, candidate), RemoteCandidateOutcome::Deferred);
    }
    assert_eq!(lone.add(0, of("next", "192.0.2.1:7032")), RemoteCandidateOutcome::OtherGeneration);
    assert!(matches!(lone.add(0, of("peer", "192.0.2.1:6003")), RemoteCandidateOutcome::Added(_)));
    let known: Vec<u16> = lone
        .agent
        .remote_candidates(lone.streams[0])
        .map(|known| known.candidate.socket_address().unwrap().port())
        .collect();
    assert_eq!(known, [6001, 6003]);
    assert_eq!(lone.agent.pairs().count(), 2);
}

/// S125
/// Req: 8838-3-b
/// Req: wpc-canTrickle-a
#[test]
fn a_description_of_a_peer_that_does_not_trickle_has_all_its_candidates() {
    let mut lone = Lone::new(hasty(), Role::Controlling, 1, 1);
    lone.socket(0, 1, "10.0.0.1:5000");
    lone.take_events();
    let stream = lone.streams[0];
    let description = RemoteDescription::new(lone.peer.clone()).with_trickle(false).with_candidates(vec![remote(
        "a",
        1,
        10,
        "192.0.2.1:6000",
    )]);
    lone.agent.set_remote_description(lone.now, stream, &description).unwrap();
    let late = lone.agent.add_remote_candidate(lone.now, stream, remote("b", 1, 10, "192.0.2.1:6001"));
    assert_eq!(late, Err(AddRemoteCandidateError::AfterEndOfCandidates));
    lone.agent.end_of_local_candidates(lone.now, stream).unwrap();
    assert_eq!(lone.run_to(499).len(), 1);
    assert_eq!(lone.agent.state(), ConnectionState::Checking);
    lone.run_to(500);
    assert_eq!(lone.agent.state(), ConnectionState::Failed, "the end was implied");
}

/// Req: 8838-4-a
/// Req: 8838-7-a
#[test]
fn descriptions_without_candidates_start_empty_lists_that_run() {
    let mut setup = setup("empty");
    for side in [&mut setup.l, &mut setup.r] {
        side.candidate_delay = secs(60);
    }
    let mut pair = setup.build();
    pair.run_for(secs(59));
    assert!(pair.l.sent.is_empty() && pair.r.sent.is_empty());
    for peer in [&pair.l, &pair.r] {
        let state = peer.agent.stream_state(pair.stream());
        assert_eq!(state, Some((ConnectionState::New, StateReason::WaitingForRemoteCandidates)));
    }
    assert!(pair.run_until_selected(secs(2)));
    assert!(pair.agrees());
}

/// S123
/// Req: 8838-11-d
#[test]
fn after_the_end_a_candidate_is_an_error_and_a_check_from_a_new_address_still_counts() {
    let mut lone = Lone::simple(Config::default());
    let stream = lone.streams[0];
    lone.end();
    let late = lone.agent.add_remote_candidate(lone.now, stream, remote("a", 1, 10, "192.0.2.1:6000"));
    assert_eq!(late, Err(AddRemoteCandidateError::AfterEndOfCandidates));
    assert_eq!((lone.agent.pairs().count(), lone.agent.remote_candidates(stream).count()), (0, 0));
    lone.be_checked(0, "192.0.2.1:6000", "10.0.0.1:5000", 77);
    assert_eq!(lone.pair_with("192.0.2.1:6000").remote.kind(), CandidateKind::PeerReflexive);
    let check = lone.poll().remove(0);
    lone.answer(&check);
    let nominating = lone.run_to(1000).remove(0);
    lone.answer(&nominating);
    lone.poll();
    assert_eq!(lone.agent.state(), ConnectionState::Completed);
}

/// The states of RFC 8838 §12: two streams with RTP and RTCP, which it numbers s1 to s4.
fn audio_and_video() -> Lone {
    let mut lone = Lone::new(Config::default(), Role::Controlling, 2, 2);
    for (stream, number) in [(0, 1), (0, 2), (1, 1), (1, 2)] {
        lone.socket(stream, number, &format!("10.0.0.1:{}", 5000 + 10 * stream + usize::from(number)));
    }
    lone.take_events();
    lone.describe();
    for (stream, number, foundations) in
        [(0, 1, &["f1", "f2", "f3"][..]), (0, 2, &["f1", "f2", "f3", "f4"]), (1, 1, &["f1"]), (1, 2, &["f1"])]
    {
        for foundation in foundations {
            insert(&mut lone, stream, number, foundation);
        }
    }
    lone
}

fn insert(lone: &mut Lone, stream: usize, number: u16, foundation: &str) {
    let index = foundation[1..].parse::<u16>().unwrap();
    let port = 6000 + 100 * stream as u16 + 10 * index + number;
    let priority = host_priority(1000 - index) - u32::from(number - 1);
    let _ = lone.add(stream, remote(foundation, number, priority, &format!("192.0.2.1:{port}")));
}

const ALL: [&str; 5] = ["f1", "f2", "f3", "f4", "f5"];

/// Req: 8838-12-a
/// Req: 8445-6.1.2.6-c
#[test]
fn new_pairs_get_the_states_of_the_three_rules() {
    let mut lone = audio_and_video();
    // Tables 1 and 2: all frozen, then the topmost of each foundation waits.
    assert_eq!(lone.table(&ALL), ["FFF..", "FFFF.", "F....", "F...."]);
    lone.take_events();
    assert_eq!(lone.table(&ALL), ["WWW..", "FFFW.", "F....", "F...."]);
    // Table 3: a success unfreezes its foundation everywhere.
    let check = lone.poll().remove(0);
    lone.answer(&check);
    assert_eq!(lone.table(&ALL), ["SWW..", "WFFW.", "W....", "W...."]);
    // Rule 1: the topmost of its foundation waits, although a lower one waits already.
    let mut first = lone.clone();
    insert(&mut first, 0, 1, "f4");
    insert(&mut first, 1, 2, "f5");
    first.take_events();
    assert_eq!(first.table(&ALL), ["SWWW.", "WFFW.", "W....", "W...W"]);
    // Rule 2: one of a foundation that has succeeded waits.
    let mut second = lone.clone();
    let again = lone.pair_with("192.0.2.1:6011").remote.foundation();
    let sibling = remote(again.as_str(), 1, 5, "192.0.2.1:6999");
    let _ = second.add(0, sibling);
    second.take_events();
    assert_eq!(second.pair_with("192.0.2.1:6999").state, CandidatePairState::Waiting);
    // Rule 3: any other is frozen.
    insert(&mut lone, 1, 1, "f2");
    insert(&mut lone, 1, 2, "f3");
    lone.take_events();
    assert_eq!(lone.table(&ALL), ["SWW..", "WFFW.", "WF...", "W.F.."]);
}

/// Everything that an agent sends in five seconds in which nobody answers.
fn transcript(lone: &mut Lone) -> Vec<(u64, SocketAddr, SocketAddr, [u8; 12])> {
    lone.run_to(5000).iter().map(|check| (check.ms, check.source, check.destination, check.request.id)).collect()
}

/// Req: 8838-12-d
#[test]
fn candidates_that_are_all_there_before_the_start_make_the_same_checks_however_they_came() {
    let candidates: Vec<Candidate> = (0..12_u16)
        .map(|index| {
            let priority = host_priority(500 + (index * 5) % 12) - u32::from(index % 2);
            remote(&format!("f{}", index % 4), 1 + index % 2, priority, &format!("192.0.2.1:{}", 6000 + index))
        })
        .collect();
    let new = || {
        let mut lone = Lone::new(Config::default(), Role::Controlling, 1, 2);
        lone.socket(0, 1, "10.0.0.1:5001");
        lone.socket(0, 2, "10.0.0.1:5002");
        lone.socket(0, 1, "10.0.0.2:5001");
        lone.socket(0, 2, "10.0.0.2:5002");
        lone
    };
    let regular = {
        let mut lone = new();
        lone.take_events();
        let description = RemoteDescription::new(lone.peer.clone()).with_candidates(candidates.clone());
        lone.agent.set_remote_description(lone.now, lone.streams[0], &description).unwrap();
        transcript(&mut lone)
    };
    assert!(regular.len() > 24);
    let mut orders = vec![candidates.clone(), candidates.iter().rev().cloned().collect()];
    orders.push(candidates.iter().cycle().skip(5).take(12).cloned().collect());
    for order in orders {
        for locals_last in [false, true] {
            for described_first in [false, true] {
                let mut lone = new();
                if !locals_last {
                    lone.take_events();
                }
                if described_first {
                    lone.describe();
                }
                for candidate in &order {
                    let _ = lone.add(0, candidate.clone());
                }
                if !described_first {
                    lone.describe();
                }
                lone.take_events();
                assert_eq!(transcript(&mut lone), regular);
            }
        }
    }
}

/// The five conditions of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Nothing,
    PairsDone,
    ComponentWithoutPair,
    LocalEnd,
    RemoteEnd,
    Pac,
}

/// Req: 8838-8-b
/// Req: 8863-5-a
/// Req: 8863-4-c
#[test]
fn a_list_fails_only_when_all_five_conditions_hold() {
    use Missing::{ComponentWithoutPair, LocalEnd, Nothing, Pac, PairsDone, RemoteEnd};
    for missing in [Nothing, PairsDone, ComponentWithoutPair, LocalEnd, RemoteEnd, Pac] {
        let config = if missing == PairsDone { Config::default() } else { hasty() };
        let config = config.with_nomination_policy(std::sync::Arc::new(ApplicationNominates));
        let config = config.with_pac_timer(Some(if missing == Pac { secs(30) } else { secs(1) }));
        let mut lone = Lone::new(config, Role::Controlling, 1, 1);
        lone.socket(0, 1, "10.0.0.1:5000");
        lone.take_events();
        lone.describe();
        let _ = lone.add(0, remote("a", 1, 10, "192.0.2.1:6000"));
        let stream = lone.streams[0];
        if missing != LocalEnd {
            lone.agent.end_of_local_candidates(lone.now, stream).unwrap();
        }
        if missing != RemoteEnd {
            lone.agent.end_of_remote_candidates(lone.now, stream).unwrap();
        }
        let check = lone.poll().remove(0);
        if missing == ComponentWithoutPair {
            lone.answer(&check);
        }
        lone.run_to(999);
        assert_ne!(lone.agent.state(), ConnectionState::Failed, "{missing:?}: PAC has not expired");
        lone.run_to(20_000);
        let has_failed = lone.agent.state() == ConnectionState::Failed;
        assert_eq!(has_failed, missing == Nothing, "{missing:?}: {:?}", lone.agent.stream_state(stream));
        // What was missing comes, and the list fails with it, not with the next packet.
        match missing {
            LocalEnd => lone.agent.end_of_local_candidates(lone.now, stream).unwrap(),
            RemoteEnd => lone.agent.end_of_remote_candidates(lone.now, stream).unwrap(),
            Nothing | PairsDone | ComponentWithoutPair | Pac => {
                lone.run_to(39_500);
            }
        }
        lone.poll();
        let has_failed = lone.agent.state() == ConnectionState::Failed;
        assert_eq!(has_failed, missing != ComponentWithoutPair, "{missing:?}");
    }
}

/// Req: 8838-13-a
/// Req: 8838-13-c
#[test]
fn the_end_of_candidates_is_told_once_and_after_the_last_one() {
    for role in [Role::Controlling, Role::Controlled] {
        let mut lone = Lone::new(Config::default(), role, 2, 1);
        lone.socket(0, 1, "10.0.0.1:5000");
        lone.socket(1, 1, "10.0.0.1:5001");
        lone.socket(0, 1, "10.0.0.2:5000");
        assert_eq!(lone.agent.gathering_state(), GatheringState::Gathering);
        lone.end();
        lone.end();
        lone.take_events();
        let told: Vec<_> = lone
            .events
            .iter()
            .filter_map(|event| match event {
                Event::LocalCandidate { stream, .. } => Some((*stream, "candidate")),
                Event::EndOfCandidates { stream, .. } => Some((*stream, "end")),
                _ => None,
            })
            .collect();
        let [a, b] = [lone.streams[0], lone.streams[1]];
        assert_eq!(told, [(a, "candidate"), (b, "candidate"), (a, "candidate"), (a, "end"), (b, "end")]);
        assert_eq!(lone.agent.gathering_state(), GatheringState::Complete);
    }
}

/// Req: 8838-13-d
#[test]
fn after_the_end_or_a_nomination_a_new_address_is_refused_until_a_restart() {
    let mut lone = Lone::simple(Config::default());
    let stream = lone.streams[0];
    let add = |lone: &mut Lone, at: &str| {
        lone.agent.add_socket(lone.now, stream, component(1), Transport::Udp, address(at)).map(|_| ())
    };
    let _ = lone.add(0, remote("a", 1, host_priority(1), "192.0.2.1:6000"));
    let mut ended = lone.clone();
    ended.end();
    assert_eq!(add(&mut ended, "10.0.0.2:5000"), Err(AddLocalCandidateError::AfterEndOfCandidates));
    let reflexive = |lone: &mut Lone| {
        let mapped = address("198.51.100.1:5000");
        lone.agent.add_server_reflexive(lone.now, stream, address("10.0.0.1:5000"), mapped, None).map(|_| ())
    };
    assert_eq!(reflexive(&mut ended), Err(AddLocalCandidateError::AfterEndOfCandidates));
    // The same one again is not new.
    assert_eq!(add(&mut ended, "10.0.0.1:5000"), Ok(()));
    let check = lone.poll().remove(0);
    lone.answer(&check);
    assert_eq!(add(&mut lone, "10.0.0.2:5000"), Ok(()), "a valid pair is not nominated yet");
    lone.take_events();
    let checks = lone.run_to(500);
    let nominating = checks.iter().find(|check| check.request.use_candidate).unwrap();
    lone.answer(nominating);
    lone.take_events();
    let candidates = |lone: &Lone| lone.agent.local_candidates(stream).count();
    let before = candidates(&lone);
    assert_eq!(add(&mut lone, "10.0.0.3:5000"), Err(AddLocalCandidateError::AfterNomination));
    assert_eq!(reflexive(&mut lone), Err(AddLocalCandidateError::AfterNomination));
    assert_eq!(candidates(&lone), before);
    assert!(lone.agent.poll_event().is_none());
}

/// Req: 8838-14-a
#[test]
fn an_end_that_comes_while_checks_run_counts_when_the_last_one_is_over() {
    let mut lone = Lone::simple(hasty());
    let _ = lone.add(0, remote("a", 1, 10, "192.0.2.1:6000"));
    let _ = lone.add(0, remote("b", 1, 9, "192.0.2.1:6001"));
    lone.run_to(10);
    lone.end();
    lone.run_to(549);
    assert_eq!(lone.table(&["a", "b"]), ["XI"]);
    assert_eq!(lone.agent.state(), ConnectionState::Checking);
    lone.run_to(550);
    assert_eq!(lone.agent.state(), ConnectionState::Failed);
}

/// Req: 8838-14-b
#[test]
fn a_relayed_pair_is_nominated_right_after_the_end_of_candidates() {
    let nominated_at = |ends: bool| {
        let mut lone = Lone::simple(Config::default());
        let relay = Candidate::new(
            CandidateKind::Relayed,
            component(1),
            "r".parse().unwrap(),
            nilas::Priority::compute(0, 65535, component(1)),
            address("192.0.2.1:6000"),
        );
        let _ = lone.add(0, relay);
        let check = lone.poll().remove(0);
        lone.now = at(100);
        lone.answer(&check);
        lone.run_to(200);
        if ends {
            lone.end();
        }
        lone.run_to(2000).iter().find(|check| check.request.use_candidate).unwrap().ms
    };
    assert_eq!((nominated_at(true), nominated_at(false)), (200, 600));
}

/// Lets packets pass only between the last addresses of both sides.
fn only_the_last(pair: &mut Pair, l: u8, r: u8) {
    let ends = [[198, 51, 100, l].into(), [203, 0, 113, r].into()];
    pair.network.set_hook(move |packet| {
        let both = [packet.source.ip(), packet.destination.ip()];
        if both.iter().all(|ip| ends.contains(ip)) { Verdict::Pass } else { Verdict::Drop }
    });
}

/// S120
#[test]
fn candidates_that_trickle_every_200_ms_connect_as_soon_as_two_that_work_are_there() {
    for (works_l, works_r) in [(1, 1), (3, 2), (5, 5), (2, 5)] {
        let mut setup = setup("S120").addresses(5, 5);
        for side in [&mut setup.l, &mut setup.r] {
            side.candidate_interval = ms(200);
        }
        let mut pair = setup.build();
        only_the_last(&mut pair, works_l, works_r);
        // One of the two candidates is enough: the other side sees the check come.
        let known = u64::from(works_l.min(works_r) - 1) * 200;
        let usable = |pair: &Pair| pair.l.agent.state().is_connected() && pair.r.agent.state().is_connected();
        assert!(pair.run_until(secs(10), usable));
        // Those whose worse candidate is better are checked before, Ta apart; then it takes a round trip each way.
        let worse = u64::from(works_l.max(works_r));
        let before = 50 * (worse * worse - 1);
        let limit = ms(before.max(known + 5 * 50) + 100);
        assert!(pair.elapsed() <= limit, "{works_l} and {works_r}: {:?}, allowed are {limit:?}", pair.elapsed());
        assert!(pair.run_until_selected(secs(1)));
        pair.run_for(secs(3));
        assert!(pair.agrees());
    }
}

/// S121
/// Req: 8863-4-c
#[test]
fn when_all_pairs_have_failed_a_check_that_comes_before_pac_expires_still_connects() {
    let config = Config::default().with_rc(1).with_rm(1).with_pac_timer(Some(secs(10)));
    let mut lone = Lone::simple(config);
    let _ = lone.add(0, remote("a", 1, 10, "192.0.2.1:6000"));
    lone.end();
    lone.run_to(2000);
    assert_eq!(lone.table(&["a"]), ["X"]);
    let state = lone.agent.stream_state(lone.streams[0]);
    assert_eq!(state, Some((ConnectionState::Disconnected, StateReason::PairsExhausted)));
    lone.now = at(2500);
    lone.be_checked(0, "192.0.2.9:6000", "10.0.0.1:5000", 77);
    let check = lone.poll().remove(0);
    lone.answer(&check);
    let nominating = lone.run_to(3000).remove(0);
    lone.answer(&nominating);
    lone.poll();
    assert_eq!(lone.agent.state(), ConnectionState::Completed);
    lone.run_to(60_000);
    assert_eq!(lone.agent.state(), ConnectionState::Completed);
}

/// S122
#[test]
fn without_an_end_of_candidates_nothing_fails_and_the_reason_is_visible() {
    let mut setup = setup("S122");
    setup.l.signals_end = false;
    setup.r.signals_end = false;
    let mut pair = setup.build();
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    pair.run_for(secs(3600));
    for peer in [&pair.l, &pair.r] {
        assert_eq!(peer.reached(ConnectionState::Failed), None);
        let state = peer.agent.stream_state(pair.stream());
        assert_eq!(state, Some((ConnectionState::Disconnected, StateReason::PairsExhausted)));
        assert_eq!(peer.agent.poll_timeout(), None, "there is nothing left to wait for");
    }
}

/// S126
#[test]
fn bad_candidates_among_good_ones_are_left_out_with_a_reason() {
    use RemoteCandidateOutcome as Outcome;
    let mut lone = Lone::simple(Config::default());
    let parse = |line: &str| line.parse::<Candidate>().unwrap();
    let cases = [
        (remote("a", 1, 10, "192.0.2.1:0"), Outcome::UnusableAddress),
        (remote("a", 1, 10, "0.0.0.0:6000"), Outcome::UnusableAddress),
        (remote("a", 1, 10, "[::]:6000"), Outcome::UnusableAddress),
        (remote("a", 1, 10, "224.0.0.1:6000"), Outcome::UnusableAddress),
        (remote("a", 1, 10, "255.255.255.255:6000"), Outcome::UnusableAddress),
        (remote("a", 2, 10, "192.0.2.1:6000"), Outcome::UnknownComponent),
        (parse("candidate:1 1 udp 10 host.example 6000 typ host"), Outcome::UnresolvedName),
    ];
    for (candidate, expected) in cases {
        let shown = candidate.to_string();
        assert_eq!(lone.add(0, candidate), expected, "{shown}");
    }
    assert!("candidate:1 1 udp 10 192.0.2.1 6000 typ unheard".parse::<Candidate>().is_err());
    assert_eq!((lone.agent.pairs().count(), lone.agent.remote_candidates(lone.streams[0]).count()), (0, 0));
    assert!(matches!(lone.add(0, remote("a", 1, 10, "192.0.2.1:6000")), Outcome::Added(_)));
    let check = lone.poll().remove(0);
    lone.answer(&check);
    assert_eq!(lone.agent.state(), ConnectionState::Checking);
    lone.poll();
    assert_eq!(lone.agent.state(), ConnectionState::Connected);
}

#[test]
fn of_too_many_remote_candidates_the_best_are_kept_and_the_application_is_told_once() {
    let mut lone = Lone::simple(Config::default().with_max_remote_candidates(3));
    let stream = lone.streams[0];
    for (index, priority) in [50, 10, 30].into_iter().enumerate() {
        let _ = lone.add(0, remote(&format!("f{index}"), 1, priority, &format!("192.0.2.1:{}", 6000 + index)));
    }
    assert_eq!(lone.add(0, remote("g", 1, 5, "192.0.2.1:6010")), RemoteCandidateOutcome::TooMany);
    assert!(matches!(lone.add(0, remote("h", 1, 40, "192.0.2.1:6011")), RemoteCandidateOutcome::Added(_)));
    let mut known: Vec<u32> =
        lone.agent.remote_candidates(stream).map(|known| known.candidate.priority().get()).collect();
    known.sort_unstable();
    assert_eq!(known, [30, 40, 50]);
    assert_eq!(lone.agent.pairs().count(), 3);
    lone.take_events();
    let told = lone.events.iter().filter(|event| matches!(event, Event::TooManyRemoteCandidates { limit: 3, .. }));
    assert_eq!((told.count(), lone.agent.stats().remote_candidates_refused), (1, 2));
    // One that works is never given up for a better one.
    let checks = lone.run_to(110);
    let worst = checks.iter().find(|check| check.destination.port() == 6002).unwrap().clone();
    lone.answer(&worst);
    assert_eq!(lone.add(0, remote("i", 1, 60, "192.0.2.1:6012")), RemoteCandidateOutcome::TooMany);
    assert!(lone.pair_with("192.0.2.1:6002").is_valid);
}
