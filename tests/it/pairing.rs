//! Which pairs are made of the candidates of both sides, in which order, and which are left out.

use std::collections::BTreeSet;

use nilas::sim::{SideName, WireRequest};
use nilas::{
    ApplicationNominates, CandidateKind, CandidatePairState, Config, Event, PairPriority, Priority,
    RemoteCandidateOutcome, Role,
};

use crate::help::{ms, requests, secs, setup};
use crate::lone::{Lone, address, component, hasty, host_priority, letter, remote};
use crate::script::{BEST, LOCAL, OTHER, Script, socket};

/// Req: 8445-6.1.2.2-a
#[test]
fn pairs_are_of_one_stream_one_component_and_one_family() {
    let mut lone = Lone::new(Config::default(), Role::Controlling, 2, 2);
    for (stream, number) in [(0, 1), (0, 2), (1, 1), (1, 2)] {
        let port = 5000 + 10 * stream + usize::from(number);
        lone.socket(stream, number, &format!("10.0.0.1:{port}"));
        lone.socket(stream, number, &format!("[2001:db8::1]:{port}"));
    }
    lone.take_events();
    lone.describe();
    for (stream, number) in [(0, 1), (0, 2), (1, 1), (1, 2)] {
        let port = 6000 + 10 * stream + usize::from(number);
        for (name, ip) in [("a", "192.0.2.1"), ("b", "[2001:db8::2]")] {
            let _ = lone.add(stream, remote(name, number, host_priority(1), &format!("{ip}:{port}")));
        }
    }
    let mut places = Vec::new();
    for pair in lone.agent.pairs() {
        let (ours, theirs) = (pair.local.socket_address().unwrap(), pair.remote.socket_address().unwrap());
        assert_eq!(pair.local.component(), pair.remote.component());
        assert_eq!(ours.is_ipv4(), theirs.is_ipv4());
        assert_eq!(ours.port() + 1000, theirs.port(), "the ports name stream and component");
        places.push((pair.stream, pair.component, ours.is_ipv4()));
    }
    assert_eq!(places.len(), 8);
    assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), 8);
}

/// S069
/// Req: 8445-6.1.2.2-c
#[test]
fn a_link_local_address_meets_only_its_like_and_keeps_the_scope() {
    let mut lone = Lone::new(Config::default(), Role::Controlling, 1, 1);
    let stream = lone.streams[0];
    let scoped = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 5000, 0, 7);
    let udp = nilas::Transport::Udp;
    lone.agent.add_socket(lone.now, stream, component(1), udp, scoped.into()).unwrap();
    lone.socket(0, 1, "[2001:db8::1]:5000");
    lone.take_events();
    lone.describe();
    let _ = lone.add(0, remote("a", 1, host_priority(1), "[fe80::2]:6000"));
    let _ = lone.add(0, remote("b", 1, host_priority(2), "[2001:db8::2]:6000"));
    let pairs: Vec<_> = lone.agent.pairs().map(|p| (p.base.ip(), p.remote.socket_address().unwrap().ip())).collect();
    let ip = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
    assert_eq!(pairs, [(ip("fe80::1"), ip("fe80::2")), (ip("2001:db8::1"), ip("2001:db8::2"))]);
    let checks = lone.run_to(100);
    let to_link_local = checks.iter().find(|check| check.source.ip() == ip("fe80::1")).unwrap();
    let std::net::SocketAddr::V6(destination) = to_link_local.destination else { panic!("an IPv6 address") };
    assert_eq!(destination.scope_id(), 7, "in the scope of our own address");
}

/// Req: 8445-6.1.2.3-a
#[test]
fn pair_priorities_are_those_of_the_formula_whoever_controls() {
    for (role, against_reflexive) in
        [(Role::Controlling, 7_277_816_997_797_167_103), (Role::Controlled, 7_277_816_997_797_167_102)]
    {
        let mut lone = Lone::new(Config::default(), role, 1, 1);
        lone.socket(0, 1, "10.0.0.1:5000");
        lone.take_events();
        lone.describe();
        let _ = lone.add(0, remote("a", 1, 2_130_706_431, "192.0.2.1:6000"));
        let _ = lone.add(0, remote("b", 1, 1_694_498_815, "192.0.2.1:6001"));
        assert_eq!(lone.pair_with("192.0.2.1:6000").priority.get(), 9_151_314_442_783_293_438);
        assert_eq!(lone.pair_with("192.0.2.1:6001").priority.get(), against_reflexive);
    }
}

/// Req: 8445-6.1.2.3-a
#[test]
fn both_sides_compute_the_same_priority_for_every_pair() {
    let mut pair = setup("equal priorities").addresses(3, 4).build();
    pair.run_for(ms(1));
    let of = |side| {
        let view = |p: nilas::PairView<'_>| {
            let mut ends = [p.base, p.remote.socket_address().unwrap()];
            ends.sort_unstable();
            (ends, p.priority)
        };
        pair.peer(side).agent.pairs().map(view).collect::<BTreeSet<_>>()
    };
    assert_eq!(of(SideName::L).len(), 12);
    assert_eq!(of(SideName::L), of(SideName::R));
}

/// Req: 8445-6.1.2.3-b
/// Req: 8445-6.1.4.2-e
#[test]
fn pairs_are_checked_in_descending_priority_and_equal_ones_always_in_the_same_order() {
    let run = |priorities: [u32; 6]| {
        let mut lone = Lone::simple(Config::default());
        for (index, priority) in priorities.into_iter().enumerate() {
            let _ = lone.add(0, remote(&format!("f{index}"), 1, priority, &format!("192.0.2.1:{}", 6000 + index)));
        }
        lone.run_to(400).iter().map(|check| check.destination.port() - 6000).collect::<Vec<_>>()
    };
    assert_eq!(run([10, 60, 30, 20, 50, 40]), [1, 4, 5, 2, 3, 0]);
    let equal = run([7; 6]);
    assert_eq!(equal.iter().collect::<BTreeSet<_>>().len(), 6);
    assert_eq!(run([7; 6]), equal);
}

/// S052
/// Req: 8445-6.1.2.4-a
/// Req: 8445-6.1.2.4-b
/// Req: 8838-10-c
#[test]
fn a_host_and_its_server_reflexive_candidate_make_one_pair_of_the_host_s_priority() {
    for reflexive_first in [false, true] {
        let mut lone = Lone::new(Config::default(), Role::Controlling, 1, 1);
        lone.socket(0, 1, "10.0.0.1:5000");
        let stream = lone.streams[0];
        let server = Some("192.0.2.53".parse().unwrap());
        let (base, mapped) = (address("10.0.0.1:5000"), address("198.51.100.1:5000"));
        if reflexive_first {
            lone.agent.add_server_reflexive(lone.now, stream, base, mapped, server).unwrap();
        }
        lone.take_events();
        lone.describe();
        let _ = lone.add(0, remote("a", 1, host_priority(65535), "192.0.2.1:6000"));
        if !reflexive_first {
            lone.agent.add_server_reflexive(lone.now, stream, base, mapped, server).unwrap();
            lone.take_events();
        }
        assert_eq!(lone.agent.local_candidates(stream).count(), 2);
        let pairs: Vec<_> = lone.agent.pairs().map(|p| (p.local.kind(), p.base, p.priority.get())).collect();
        assert_eq!(pairs, [(CandidateKind::Host, base, 9_151_314_442_783_293_438)]);
        assert!(lone.run_to(2000).iter().all(|check| check.source == base));
    }
}

/// S053
/// Req: 8838-11-c
#[test]
fn a_candidate_that_is_seen_and_signalled_makes_one_pair_of_the_higher_priority() {
    for signalled_first in [false, true] {
        let mut lone = Lone::simple(Config::default());
        let (peer_reflexive, host) = (1_862_270_975, host_priority(65535));
        if signalled_first {
            let _ = lone.add(0, remote("a", 1, host, "192.0.2.1:6000"));
        }
        lone.be_checked(0, "192.0.2.1:6000", "10.0.0.1:5000", peer_reflexive);
        let before = lone.agent.pairs().next().unwrap().id;
        if !signalled_first {
            let seen = lone.pair_with("192.0.2.1:6000");
            assert_eq!(
                (seen.remote.kind(), seen.remote.priority().get()),
                (CandidateKind::PeerReflexive, peer_reflexive)
            );
            let outcome = lone.add(0, remote("a", 1, host, "192.0.2.1:6000"));
            assert!(matches!(outcome, RemoteCandidateOutcome::Known(_)));
        }
        let pairs: Vec<_> = lone.agent.pairs().map(|p| (p.id, p.remote.kind(), p.priority.get())).collect();
        assert_eq!(pairs, [(before, CandidateKind::Host, 9_151_314_442_783_293_438)]);
        assert_eq!(lone.agent.remote_candidates(lone.streams[0]).count(), 1);
    }
}

/// S054
/// Req: 8838-11-b
#[test]
fn a_pair_that_gets_a_higher_priority_during_its_check_keeps_transaction_counters_and_nomination() {
    let mut lone = Lone::simple(Config::default());
    lone.be_checked(0, "192.0.2.1:6000", "10.0.0.1:5000", 1_862_270_975);
    let check = lone.poll().remove(0);
    let before = lone.pair_with("192.0.2.1:6000");
    let (id, stats) = (before.id, before.stats);
    assert_eq!((before.state, stats.requests_sent, stats.requests_received), (CandidatePairState::InProgress, 1, 1));
    let _ = lone.add(0, remote("a", 1, host_priority(65535), "192.0.2.1:6000"));
    let after = lone.pair_with("192.0.2.1:6000");
    assert_eq!((after.id, after.state, after.stats), (id, CandidatePairState::InProgress, stats));
    assert!(lone.run_to(40).is_empty(), "no second check");
    // The answer to the check that was on its way counts, and the nomination goes on with the same pair.
    lone.answer(&check);
    assert!(lone.pair_with("192.0.2.1:6000").is_valid);
    let nominating = lone.run_to(300);
    assert_eq!(nominating.len(), 1);
    assert!(nominating[0].request.use_candidate);
    let _ = lone.add(0, remote("b", 1, host_priority(65535) + 1, "192.0.2.1:6000"));
    lone.answer(&nominating[0]);
    lone.poll();
    let selected = lone.agent.selected_pair(lone.streams[0], component(1)).unwrap();
    assert_eq!((selected.id, selected.is_nominated, selected.stats.requests_sent), (id, true, 2));
    assert_eq!(selected.remote.foundation().as_str(), "b");
    assert_eq!(lone.agent.pairs().count(), 1);
}

/// Forms pairs of so many local and remote candidates in each of two streams; gives the numbers of pairs, and whether
/// they are the best ones.
fn two_streams(sizes: [(usize, usize); 2]) -> [usize; 2] {
    let mut lone = Lone::new(Config::default(), Role::Controlling, 2, 1);
    for (stream, (locals, _)) in sizes.into_iter().enumerate() {
        for index in 0..locals {
            lone.socket(stream, 1, &format!("10.0.0.{}:500{stream}", index + 1));
        }
    }
    lone.take_events();
    lone.describe();
    for (stream, (_, remotes)) in sizes.into_iter().enumerate() {
        for index in 0..remotes {
            // In an order that is neither that of the priorities nor its reverse.
            let index = (index * 7 + 3) % remotes;
            let candidate =
                remote("f", 1, host_priority(60_000 - index as u16), &format!("192.0.2.{}:6000", index + 1));
            assert!(matches!(lone.add(stream, candidate), RemoteCandidateOutcome::Added(_)));
        }
    }
    lone.poll();
    let counts = [0, 1].map(|stream| lone.agent.pairs().filter(|pair| pair.stream == lone.streams[stream]).count());
    for stream in 0..2 {
        let id = lone.streams[stream];
        let mut all: Vec<PairPriority> = Vec::new();
        for ours in lone.agent.local_candidates(id) {
            for theirs in lone.agent.remote_candidates(id) {
                let [ours, theirs] = [ours.candidate.priority(), theirs.candidate.priority()];
                all.push(PairPriority::compute(Role::Controlling, ours, theirs));
            }
        }
        all.sort_unstable_by(|a, b| b.cmp(a));
        let mut kept: Vec<_> = lone.agent.pairs().filter(|pair| pair.stream == id).map(|pair| pair.priority).collect();
        kept.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(kept, all[..kept.len()], "the best pairs of stream {stream} are kept");
    }
    counts
}

/// S056
/// Req: 8445-6.1.2.5-a
#[test]
fn of_too_many_pairs_the_longest_lists_lose_those_of_the_lowest_priority() {
    assert_eq!(two_streams([(20, 20), (20, 20)]), [50, 50]);
    assert_eq!(two_streams([(8, 10), (8, 10)]), [50, 50]);
    assert_eq!(two_streams([(9, 10), (2, 10)]), [80, 20]);
    assert_eq!(two_streams([(2, 10), (9, 10)]), [20, 80]);
    assert_eq!(two_streams([(5, 10), (5, 10)]), [50, 50]);
    assert_eq!(two_streams([(20, 20), (1, 0)]), [100, 0]);
}

/// S056
#[test]
fn fifty_candidates_on_each_side_connect_at_once_and_never_exceed_the_limit() {
    let mut pair = setup("50x50").addresses(50, 50).build();
    assert_eq!(pair.l.agent.pairs().count(), 100);
    assert!(pair.run_until_selected(ms(300)), "took longer than {:?}", pair.elapsed());
    pair.run_for(secs(1));
    assert!(pair.agrees());
    for side in [SideName::L, SideName::R] {
        assert!(pair.peer(side).agent.stats().pairs_refused >= 2400);
        assert!(requests(&pair.peer(side).sent).len() < 20);
    }
}

/// Four pairs are all there may be: one each Succeeded and nominated, Failed, In-Progress, Waiting.
fn four_states() -> Lone {
    let config = Config::default().with_max_pairs(4).with_nomination_policy(std::sync::Arc::new(ApplicationNominates));
    let mut lone = Lone::simple(config);
    for (index, priority) in [40, 30, 20, 10].into_iter().enumerate() {
        let _ = lone.add(0, remote(&format!("f{index}"), 1, priority, &format!("192.0.2.1:{}", 6000 + index)));
    }
    let checks = lone.run_to(120);
    lone.answer(&checks[0]);
    lone.refuse(&checks[1], 400);
    assert_eq!(shape(&lone), "SXIW");
    lone
}

/// The states of pairs in the order of their remote ports.
fn shape(lone: &Lone) -> String {
    let mut pairs: Vec<_> =
        lone.agent.pairs().map(|p| (p.remote.socket_address().unwrap().port(), letter(p.state))).collect();
    pairs.sort_unstable();
    pairs.into_iter().map(|(_, letter)| letter).collect()
}

/// S056
/// Req: 8838-11-e
#[test]
fn at_the_limit_a_failed_pair_goes_first_then_a_lesser_one_then_the_newcomer() {
    let mut lone = four_states();
    let valid = lone.pair_with("192.0.2.1:6000").id;
    // The failed one goes even for a newcomer of the lowest priority.
    let _ = lone.add(0, remote("n1", 1, 5, "192.0.2.1:7001"));
    lone.take_events();
    assert_eq!(shape(&lone), "SIWW");
    // Without a failed one the least that nobody has checked goes, for a better one only.
    let _ = lone.add(0, remote("n2", 1, 4, "192.0.2.1:7002"));
    assert_eq!(lone.agent.stats().pairs_refused, 2);
    assert!(lone.agent.pairs().all(|pair| pair.remote.socket_address() != Some(address("192.0.2.1:7002"))));
    let _ = lone.add(0, remote("n3", 1, 100, "192.0.2.1:7003"));
    let _ = lone.add(0, remote("n4", 1, 101, "192.0.2.1:7004"));
    lone.take_events();
    assert_eq!(shape(&lone), "SIWW");
    let ports: BTreeSet<u16> = lone.agent.pairs().map(|pair| pair.remote.socket_address().unwrap().port()).collect();
    assert_eq!(ports, BTreeSet::from([6000, 6002, 7003, 7004]));
    // Once all are checked, nothing that is under way or has succeeded goes.
    lone.run_to(400);
    assert_eq!(shape(&lone), "SIII");
    let _ = lone.add(0, remote("n5", 1, 200, "192.0.2.1:7005"));
    assert_eq!(shape(&lone), "SIII");
    assert_eq!(lone.agent.pairs().count(), 4);
    assert!(lone.agent.pair(valid).unwrap().is_valid);
}

/// S057
/// Req: 8838-11-e
#[test]
fn a_late_candidate_is_tried_when_the_limit_is_full_of_failed_pairs() {
    let mut lone = Lone::simple(hasty().with_max_pairs(10));
    for index in 0..10 {
        let _ = lone.add(0, remote(&format!("f{index}"), 1, 100, &format!("192.0.2.1:{}", 6000 + index)));
    }
    lone.run_to(3000);
    assert_eq!(shape(&lone), "X".repeat(10));
    let _ = lone.add(0, remote("late", 1, 1, "192.0.2.1:7000"));
    let checks = lone.run_to(3001);
    assert_eq!(checks.iter().map(|check| check.destination).collect::<Vec<_>>(), [address("192.0.2.1:7000")]);
    lone.answer(&checks[0]);
    assert!(lone.pair_with("192.0.2.1:7000").is_valid);
    assert_eq!(lone.agent.pairs().count(), 10);
}

/// Req: 8445-6.1.2-b
/// Req: 8838-11-b
#[test]
fn late_candidates_disturb_no_pair_that_was_checked() {
    let mut lone = four_states();
    // Room for more, and the same addresses once more.
    let snapshot = |lone: &Lone| {
        let view = |p: nilas::PairView<'_>| (p.id, p.state, p.priority, p.stats);
        let mut all: Vec<_> = lone.agent.pairs().map(view).collect();
        all.retain(|(_, state, ..)| *state != CandidatePairState::Waiting);
        all
    };
    let before: Vec<_> = snapshot(&lone);
    for (index, priority) in [40, 30, 20, 10].into_iter().enumerate() {
        let again = remote(&format!("f{index}"), 1, priority, &format!("192.0.2.1:{}", 6000 + index));
        assert!(matches!(lone.add(0, again), RemoteCandidateOutcome::Known(_)));
    }
    lone.take_events();
    assert_eq!(snapshot(&lone), before);
    assert_eq!(shape(&lone), "SXIW");
    let mut lone = Lone::simple(Config::default());
    let _ = lone.add(0, remote("a", 1, 10, "192.0.2.1:6000"));
    lone.poll();
    let before = snapshot(&lone);
    let _ = lone.add(0, remote("b", 1, 20, "192.0.2.1:6001"));
    let _ = lone.add(0, remote("c", 1, 30, "192.0.2.1:6002"));
    lone.be_checked(0, "192.0.2.1:6003", "10.0.0.1:5000", 77);
    lone.take_events();
    assert_eq!(snapshot(&lone), before);
    assert_eq!(shape(&lone), "IWWW");
}

/// S128
/// Req: 8445-6.1.2.2-b
#[test]
fn of_two_components_against_one_the_second_is_dropped_when_the_peer_has_no_more_candidates() {
    for wide in [SideName::L, SideName::R] {
        let mut setup = setup("S128");
        if wide == SideName::L {
            setup.l.components = 2
        } else {
            setup.r.components = 2
        }
        let mut pair = setup.build();
        assert!(pair.run_until_selected(secs(2)));
        pair.run_for(secs(1));
        assert!(pair.agrees());
        let stream = pair.stream();
        for side in [SideName::L, SideName::R] {
            let agent = &pair.peer(side).agent;
            assert_eq!(agent.state(), nilas::ConnectionState::Completed, "{wide:?} is wide, {side:?}");
            assert!(agent.pairs().all(|pair| pair.component == component(1)));
            assert!(agent.selected_pair(stream, component(2)).is_none());
        }
    }
    // As long as candidates may come, the second component is waited for.
    let mut setup = setup("S128 waits").left(|l| l.components = 2);
    setup.r.signals_end = false;
    let mut pair = setup.build();
    assert!(!pair.run_until_selected(secs(60)));
    assert!(!pair.l.agent.state().is_connected());
    assert!(pair.r.agent.state().is_connected());
}

/// Req: 8445-6.1.2.4-a
/// Req: 8445-7.2.5.3.3-a
#[test]
fn a_peer_reflexive_local_candidate_is_never_checked_from() {
    let mut lone = Lone::simple(Config::default());
    let _ = lone.add(0, remote("a", 1, host_priority(1), "192.0.2.1:6000"));
    let check = lone.poll().remove(0);
    lone.answer_seen(&check, address("198.51.100.1:40000"));
    let kinds: Vec<_> = lone.agent.pairs().map(|p| (p.local.kind(), p.state, p.is_valid)).collect();
    let succeeded = CandidatePairState::Succeeded;
    assert_eq!(kinds, [(CandidateKind::Host, succeeded, false), (CandidateKind::PeerReflexive, succeeded, true)]);
    let valid = lone.agent.pairs().find(|pair| pair.is_valid).unwrap();
    assert_eq!((valid.base, valid.local.priority()), (address("10.0.0.1:5000"), Priority::new(1_862_270_975).unwrap()));
    let _ = lone.add(0, remote("b", 1, host_priority(2), "192.0.2.2:6000"));
    let checks = lone.run_to(2000);
    assert!(checks.iter().any(|check| check.destination == address("192.0.2.2:6000")));
    assert!(checks.iter().all(|check| check.source == address("10.0.0.1:5000")));
    assert_eq!(lone.agent.pairs().count(), 3, "the reflexive candidate is paired with nothing else");
    assert!(lone.events.iter().all(|event| !matches!(event, Event::LocalCandidate { candidate, .. }
        if candidate.kind() == CandidateKind::PeerReflexive)));
}

/// Req: 8445-7.2.5.3.2-a
#[test]
fn valid_pairs_stay_in_order_when_the_nat_shows_another_address() {
    let mut script = Script::new(Role::Controlling, Config::default(), |remote| remote);
    let (now, stream) = (script.now, script.stream);
    script.agent.add_server_reflexive(now, stream, socket(LOCAL), socket("192.0.2.7:7000"), None).unwrap();
    script.drain();
    let next_check = |script: &mut Script, to: &str, is_it: fn(&WireRequest) -> bool| {
        for _ in 0..500 {
            script.run_for(ms(10));
            if let Some((_, request)) = script.requests_to(to).into_iter().rev().find(|(_, request)| is_it(request)) {
                return request.id;
            }
        }
        panic!("no such check to {to}");
    };
    for to in [BEST, OTHER] {
        let id = next_check(&mut script, to, |_| true);
        assert!(script.answer_as(to, id, "192.0.2.1:7001"));
    }
    // The better pair is nominated, and the NAT shows the server-reflexive address meanwhile, which is worse.
    let nomination = next_check(&mut script, BEST, |request| request.use_candidate);
    assert!(script.answer_as(BEST, nomination, "192.0.2.7:7000"));
    assert_eq!(nilas::sim::audit(&script.agent), Ok(()));
}
