//! Which pair is checked when: freezing, turns of the streams, triggered checks, Ta and RTO.

use std::collections::BTreeMap;

use nilas::sim::{PairSetup, SideName};
use nilas::{ApplicationNominates, CandidatePairState, Config, ConnectionState, Role, RtoFormula, Seed, StateReason};

use crate::help::{at, ms, requests, secs, setup};
use crate::lone::{Check, Lone, address, component, hasty, host_priority, letter, remote};

/// Streams of one component, each with these foundations: the first one of a stream has its highest priority.
fn streams(config: Config, lists: &[&[&str]]) -> Lone {
    let mut lone = Lone::new(config, Role::Controlling, lists.len(), 1);
    for stream in 0..lists.len() {
        lone.socket(stream, 1, &format!("10.0.0.1:{}", 5000 + stream));
    }
    lone.take_events();
    lone.describe();
    for (stream, foundations) in lists.iter().enumerate() {
        for (index, foundation) in foundations.iter().enumerate() {
            let place = format!("192.0.2.{}:{}", stream + 1, 6000 + index);
            let _ = lone.add(stream, remote(foundation, 1, host_priority(100 - index as u16), &place));
        }
    }
    lone
}

/// Lets the states follow from what was added, without a check.
fn settle(lone: &mut Lone) {
    lone.take_events();
}

const TABLE: [&[&str]; 3] = [&["f1", "f2", "f3"], &["f1", "f2", "f3", "f4"], &["f1", "f5"]];
const ALL: [&str; 5] = ["f1", "f2", "f3", "f4", "f5"];

/// Req: 8445-6.1.2.6-c
/// Req: 8838-7-a
#[test]
fn at_first_one_pair_of_each_foundation_waits_as_in_table_1() {
    let mut lone = streams(Config::default(), &TABLE);
    assert_eq!(lone.table(&ALL), ["FFF..", "FFFF.", "F...F"]);
    settle(&mut lone);
    assert_eq!(lone.table(&ALL), ["WWW..", "FFFW.", "F...W"]);
}

/// Req: 8445-6.1.2.6-c
#[test]
fn of_one_foundation_the_lowest_component_waits_then_the_highest_priority() {
    let mut lone = Lone::new(Config::default(), Role::Controlling, 1, 2);
    lone.socket(0, 1, "10.0.0.1:5000");
    lone.socket(0, 2, "10.0.0.1:5001");
    lone.take_events();
    lone.describe();
    for (number, priority, port) in [(2, 900, 6000), (2, 800, 6001), (1, 100, 6002), (1, 300, 6003), (1, 200, 6004)] {
        let _ = lone.add(0, remote("f", number, priority, &format!("192.0.2.1:{port}")));
    }
    settle(&mut lone);
    let states: Vec<_> = lone.agent.pairs().map(|pair| letter(pair.state)).collect();
    assert_eq!(states, ['F', 'F', 'F', 'W', 'F']);
}

/// S060
/// Req: 8445-7.2.5.3.3-b
#[test]
fn a_success_unfreezes_its_foundation_in_every_stream_at_once() {
    let mut lone = streams(Config::default(), &TABLE);
    let check = lone.poll().remove(0);
    assert_eq!(lone.table(&ALL), ["IWW..", "FFFW.", "F...W"]);
    lone.answer(&check);
    assert_eq!(lone.table(&ALL), ["SWW..", "WFFW.", "W...W"]);
}

/// S060
#[test]
fn two_streams_of_the_same_foundations_check_one_of_each_first() {
    let mut setup = setup("S060").addresses(2, 2);
    setup.streams = 2;
    let mut pair = setup.build();
    let states = |pair: &nilas::sim::Pair, stream: usize| {
        let id = pair.streams()[stream];
        let mut found = BTreeMap::new();
        for one in pair.l.agent.pairs().filter(|one| one.stream == id) {
            *found.entry(letter(one.state)).or_insert(0) += 1;
        }
        found
    };
    assert_eq!(states(&pair, 0), BTreeMap::from([('I', 1), ('W', 3)]));
    assert_eq!(states(&pair, 1), BTreeMap::from([('F', 4)]));
    pair.run_to(at(49));
    assert_eq!(states(&pair, 1), BTreeMap::from([('F', 4)]));
    pair.run_to(at(50));
    assert_eq!(states(&pair, 1)[&'F'], 3, "the first one of the first stream has succeeded");
    assert!(pair.run_until_selected(secs(1)));
    assert!(pair.agrees());
}

/// Req: 8445-7.2.5.2-a
/// Req: 8445-6.1.4.2-d
/// S061
#[test]
fn a_failure_changes_no_other_pair_and_a_list_that_runs_dry_unfreezes_one_of_each_idle_foundation() {
    let mut lone = streams(Config::default(), &[&["f1"], &["f1", "f1", "f2", "f2"]]);
    settle(&mut lone);
    let states = |lone: &Lone| lone.states().iter().map(|state| letter(state.3)).collect::<String>();
    assert_eq!(states(&lone), "WFFWF");
    let checks = lone.run_to(60);
    assert_eq!(states(&lone), "IFFIF");
    // Nobody waits any more, yet both foundations are busy: the list sends nothing.
    assert!(lone.run_to(400).is_empty());
    assert_eq!(states(&lone), "IFFIF");
    lone.refuse(&checks[0], 400);
    assert_eq!(states(&lone), "XFFIF");
    // The failure frees the foundation: one of it is checked at once, in the list that still has some.
    let next = lone.poll();
    assert_eq!(next.iter().map(|check| check.destination).collect::<Vec<_>>(), [address("192.0.2.2:6000")]);
    assert_eq!(states(&lone), "XIFIF");
    lone.refuse(&next[0], 400);
    lone.refuse(&checks[1], 400);
    assert_eq!(states(&lone), "XXFXF");
    assert_eq!(lone.run_to(500).len(), 2);
    assert_eq!(states(&lone), "XXIXI");
}

/// Req: 8445-6.1.4.2-a
#[test]
fn the_first_check_leaves_at_once_and_the_others_ta_apart() {
    let mut lone = streams(Config::default(), &[&ALL]);
    let times: Vec<u64> = lone.run_to(300).iter().map(|check| check.ms).collect();
    assert_eq!(times, [0, 50, 100, 150, 200]);
}

/// Req: 8445-6.1.2-a
/// Req: 8445-6.1.4.2-b
#[test]
fn streams_take_turns_in_the_order_in_which_they_were_added() {
    let mut lone = streams(Config::default(), &[&["a", "b", "c"], &["d", "e"], &["g", "h", "i", "j"]]);
    let turns: Vec<u8> = lone
        .run_to(450)
        .iter()
        .map(|check| if let std::net::IpAddr::V4(ip) = check.destination.ip() { ip.octets()[3] } else { 0 })
        .collect();
    assert_eq!(turns, [1, 2, 3, 1, 2, 3, 1, 3, 3]);
}

/// Req: 8445-6.1.4.2-f
/// Req: 8838-8-a
#[test]
fn a_stream_with_nothing_to_check_costs_no_time() {
    let mut lone = streams(Config::default(), &[&[], &["a", "b", "c"], &[]]);
    let times: Vec<u64> = lone.run_to(400).iter().map(|check| check.ms).collect();
    assert_eq!(times, [0, 50, 100]);
    for stream in [0, 2] {
        let (state, _) = lone.agent.stream_state(lone.streams[stream]).unwrap();
        assert_eq!(state, ConnectionState::New, "an empty list has not failed");
    }
}

/// Req: 8445-6.1.4.2-c
/// S063
/// Req: 8445-6.1.4.1-a
#[test]
fn a_pair_that_the_peer_checks_is_next_and_once() {
    let mut lone = streams(Config::default(), &[&ALL]);
    lone.poll();
    lone.now = at(10);
    for _ in 0..3 {
        lone.be_checked(0, "192.0.2.1:6004", "10.0.0.1:5000", 1);
    }
    lone.be_checked(0, "192.0.2.1:6003", "10.0.0.1:5000", 1);
    let ports: Vec<(u64, u16)> =
        lone.run_to(400).iter().map(|check| (check.ms, check.destination.port() - 6000)).collect();
    assert_eq!(ports, [(50, 4), (100, 3), (150, 1), (200, 2)]);
}

/// S062
#[test]
fn a_check_of_a_pair_in_progress_replaces_the_own_one_before_ordinary_ones() {
    let mut lone = streams(Config::default(), &[&ALL]);
    let first = lone.poll().remove(0);
    lone.now = at(10);
    lone.be_checked(0, "192.0.2.1:6000", "10.0.0.1:5000", 1);
    assert_eq!(lone.pair_with("192.0.2.1:6000").state, CandidatePairState::Waiting);
    let second = lone.run_to(60).remove(0);
    assert_eq!((second.ms, second.destination), (50, first.destination));
    assert_ne!(second.request.id, first.request.id);
    // The old one is not repeated; the new one is.
    let later = lone.run_to(600);
    let of = |check: &Check| later.iter().filter(|one| one.request.id == check.request.id).count();
    assert_eq!((of(&first), of(&second)), (0, 1));
    // The answer to the old one still counts.
    lone.answer(&first);
    assert_eq!(lone.pair_with("192.0.2.1:6000").state, CandidatePairState::Succeeded);
    assert!(lone.run_to(5000).iter().all(|one| one.request.id != second.request.id));
}

/// Req: 8445-6.1.4.2-g
#[test]
fn fifty_checks_of_the_peer_at_once_are_answered_at_once_and_followed_by_one_check_per_ta() {
    let mut lone = streams(Config::default(), &[&ALL]);
    lone.poll();
    lone.now = at(5);
    for port in 7000..7050 {
        lone.be_checked(0, &format!("192.0.2.9:{port}"), "10.0.0.1:5000", 1);
    }
    lone.run_to(5);
    assert_eq!(lone.agent.stats().datagrams_sent, 1 + 50);
    let mut starts: BTreeMap<[u8; 12], u64> = BTreeMap::new();
    lone.run_to(3000);
    for check in &lone.checks {
        starts.entry(check.request.id).or_insert(check.ms);
    }
    let mut times: Vec<u64> = starts.into_values().collect();
    times.sort_unstable();
    assert!(times.len() >= 55, "{} checks started", times.len());
    assert_eq!(times[..55], (0..55).map(|index| index * 50).collect::<Vec<u64>>());
}

/// S058
/// Req: 8445-6.1.4.2-g
#[test]
fn over_three_streams_new_transactions_are_never_closer_than_ta() {
    for (ta, cut) in [(50, false), (50, true), (20, true), (5, false)] {
        let mut setup = PairSetup::new(Seed::from_number(ta)).config(Config::default().with_ta(ms(ta))).addresses(5, 4);
        setup.streams = 3;
        let mut pair = setup.build();
        let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
        if cut {
            pair.network.cut_both(l, r);
        }
        pair.run_for(secs(5));
        for side in [SideName::L, SideName::R] {
            let mut starts = BTreeMap::new();
            for (time, request, _) in requests(&pair.peer(side).sent) {
                starts.entry(request.id).or_insert(time);
            }
            let mut times: Vec<_> = starts.into_values().collect();
            times.sort_unstable();
            assert!(times.len() >= if cut { 20 } else { 6 }, "{} checks started", times.len());
            assert!(times.windows(2).all(|two| two[1] >= two[0] + ms(ta)), "Ta {ta} ms: {times:?}");
        }
    }
}

/// The time from the first transmission to the first repetition of the first check of so many pairs.
fn first_wait(config: Config, pairs: usize) -> u64 {
    let foundations: Vec<String> = (0..pairs).map(|index| format!("f{index}")).collect();
    let foundations: Vec<&str> = foundations.iter().map(String::as_str).collect();
    let mut lone = streams(config, &[&foundations]);
    let first = lone.poll().remove(0);
    let repeated = lone.run_to(100_000).into_iter().find(|check| check.request.id == first.request.id);
    repeated.unwrap().ms
}

/// Req: 8445-14.3-c
#[test]
fn the_rto_grows_with_the_checks_that_wait_or_are_under_way() {
    assert_eq!(first_wait(Config::default(), 1), 500);
    assert_eq!(first_wait(Config::default(), 4), 500);
    assert_eq!(first_wait(Config::default(), 10), 500);
    assert_eq!(first_wait(Config::default(), 30), 1500);
    assert_eq!(first_wait(Config::default().with_ta(ms(20)), 30), 600 * 50 / 20, "the peer insists on 50 ms");
    assert_eq!(first_wait(Config::default().with_rto(ms(800)), 4), 800);
    let literal = Config::default().with_rto_formula(RtoFormula::Literal);
    assert_eq!(first_wait(literal.clone(), 2), 500);
    assert_eq!(first_wait(literal, 10), 50 * 10 * 10);
}

/// Req: 8445-14.3-c
#[test]
fn the_rto_is_fixed_when_the_check_starts() {
    let mut lone = Lone::simple(Config::default());
    let _ = lone.add(0, remote("first", 1, host_priority(65535), "192.0.2.1:6000"));
    let first = lone.poll().remove(0);
    for index in 0..50 {
        let _ =
            lone.add(0, remote(&format!("f{index}"), 1, host_priority(index), &format!("192.0.2.2:{}", 6000 + index)));
    }
    let later = lone.run_to(500);
    assert_eq!(
        later.iter().filter(|check| check.request.id == first.request.id).map(|c| c.ms).collect::<Vec<_>>(),
        [500]
    );
}

/// Req: 8445-14.3-d
#[test]
fn every_check_is_sent_once_before_any_is_sent_twice() {
    for pairs in [2, 10, 30, 100] {
        let foundations: Vec<String> = (0..pairs).map(|index| format!("f{index}")).collect();
        let foundations: Vec<&str> = foundations.iter().map(String::as_str).collect();
        let mut lone = streams(Config::default(), &[&foundations]);
        let checks = lone.run_to(20_000);
        let mut ids: Vec<_> = checks[..pairs].iter().map(|check| check.request.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), pairs, "of {pairs} pairs");
        assert!(checks.len() > pairs);
    }
}

/// Req: proj-sched-a
#[test]
fn with_nothing_to_check_no_time_is_waited_for_and_new_work_starts_when_ta_allows() {
    let config = Config::default().with_pac_timer(Some(ms(0)));
    let mut lone = Lone::simple(config.with_nomination_policy(std::sync::Arc::new(ApplicationNominates)));
    lone.poll();
    assert_eq!(lone.timeout(), None);
    lone.now = at(1000);
    let _ = lone.add(0, remote("a", 1, 10, "192.0.2.1:6000"));
    assert_eq!(lone.timeout(), Some(ms(1000)));
    let check = lone.poll().remove(0);
    assert_eq!(check.ms, 1000);
    lone.now = at(1001);
    lone.answer(&check);
    lone.poll();
    assert_eq!(
        lone.timeout(),
        Some(ms(1000) + secs(3600)),
        "the pair is valid, and nobody nominates: only a keepalive"
    );
    // New work right after a start waits for the rest of Ta, by a candidate as well as by a trigger.
    let _ = lone.add(0, remote("b", 1, 10, "192.0.2.1:6001"));
    assert!(lone.poll().is_empty());
    assert_eq!(lone.timeout(), Some(ms(1050)));
    let check = lone.run_to(1050).remove(0);
    lone.answer(&check);
    lone.poll();
    assert_eq!(lone.timeout(), Some(ms(1000) + secs(3600)));
    lone.be_checked(0, "192.0.2.7:6000", "10.0.0.1:5000", 1);
    lone.poll();
    assert_eq!(lone.timeout(), Some(ms(1100)));
    assert_eq!(lone.run_to(1100).len(), 1);
}

/// Req: 8445-7.2.5.4-a
#[test]
fn a_list_whose_pairs_have_all_failed_fails() {
    let mut lone = streams(hasty(), &[&["a", "b"]]);
    lone.end();
    lone.run_to(549);
    assert_eq!(lone.agent.state(), ConnectionState::Checking);
    lone.run_to(550);
    assert_eq!(lone.agent.stream_state(lone.streams[0]), Some((ConnectionState::Failed, StateReason::ChecksFailed)));
}

/// Req: 8445-7.2.5.4-b
#[test]
fn a_list_with_valid_pairs_and_no_nominated_one_goes_on() {
    let config = hasty().with_nomination_policy(std::sync::Arc::new(ApplicationNominates));
    let mut lone = streams(config, &[&["a", "b"]]);
    lone.end();
    let check = lone.poll().remove(0);
    lone.answer(&check);
    lone.run_to(100_000);
    assert_eq!(lone.table(&["a", "b"]), ["SX"]);
    assert_eq!(lone.agent.stream_state(lone.streams[0]), Some((ConnectionState::Connected, StateReason::PairValid)));
    // A late nomination completes it.
    let valid = lone.pair_with("192.0.2.1:6000").id;
    lone.agent.nominate(lone.now, valid).unwrap();
    let nominating = lone.poll().remove(0);
    assert!(nominating.request.use_candidate);
    lone.answer(&nominating);
    lone.poll();
    assert_eq!(lone.agent.state(), ConnectionState::Completed);
    assert!(lone.agent.selected_pair(lone.streams[0], component(1)).is_some());
}

/// Req: 8445-6.1.4.2-i
#[test]
fn the_controlled_side_never_nominates() {
    let mut lone = Lone::new(Config::default(), Role::Controlled, 1, 1);
    lone.socket(0, 1, "10.0.0.1:5000");
    lone.take_events();
    lone.describe();
    let _ = lone.add(0, remote("a", 1, 10, "192.0.2.1:6000"));
    lone.end();
    let check = lone.poll().remove(0);
    lone.answer(&check);
    let valid = lone.pair_with("192.0.2.1:6000").id;
    assert_eq!(lone.agent.nominate(lone.now, valid), Err(nilas::NominateError::Controlled));
    assert!(lone.run_to(100_000).is_empty());
    assert_eq!(lone.agent.state(), ConnectionState::Connected);
}

/// Req: 8445-8.1.2-a
/// Req: 8445-6.1.4.2-d
#[test]
fn the_silent_checks_of_a_nominated_component_hold_up_no_other_one() {
    let mut lone = Lone::new(Config::default(), Role::Controlling, 1, 2);
    lone.socket(0, 1, "10.0.0.1:5000");
    lone.socket(0, 2, "10.0.0.1:5001");
    lone.take_events();
    lone.describe();
    let _ = lone.add(0, remote("silent", 1, host_priority(9), "192.0.2.1:6000"));
    let _ = lone.add(0, remote("works", 1, host_priority(8), "192.0.2.1:6001"));
    let _ = lone.add(0, remote("silent", 2, host_priority(7), "192.0.2.1:6002"));
    let checks = lone.run_to(60);
    assert_eq!(checks.iter().map(|check| check.destination.port()).collect::<Vec<_>>(), [6000, 6001]);
    lone.answer(&checks[1]);
    let nominating = lone.run_to(400);
    assert!(nominating.iter().all(|check| check.request.use_candidate));
    assert_eq!(lone.pair_with("192.0.2.1:6002").state, CandidatePairState::Frozen);
    lone.answer(&nominating[0]);
    let next = lone.poll();
    assert_eq!(next.iter().map(|check| check.destination.port()).collect::<Vec<_>>(), [6002]);
    // The silent check is not repeated, and its answer still counts.
    assert!(lone.run_to(2000).iter().all(|check| check.destination.port() == 6002));
    lone.answer(&checks[0]);
    assert_eq!(lone.pair_with("192.0.2.1:6000").state, CandidatePairState::Succeeded);
}
