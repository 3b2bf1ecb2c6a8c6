//! Counters of pairs, as the WebRTC statistics define them.

use std::collections::BTreeSet;

use nilas::sim::{Link, SideName};
use nilas::{CandidatePairState, ComponentId, Config, Datagram, Event, PairStats, Received, Role};

use crate::help::{at, ms, secs, setup};
use crate::script::{BEST, LOCAL, OTHER, Script, socket};

/// S168
/// Req: wst-pair-c
/// Req: wst-pair-d
#[test]
fn a_repeated_check_is_one_request_and_its_round_trip_is_not_guessed() {
    let mut script = Script::new(Role::Controlling, Config::default(), |remote| remote);
    script.run_for(ms(3500));
    assert_eq!(script.requests_to(BEST).len(), 4);
    script.run_for(ms(80));
    script.answer(BEST);
    let stats = script.pair_to(BEST).stats;
    // The second request is the nomination, which leaves at once.
    assert_eq!((stats.requests_sent, stats.retransmissions_sent, stats.responses_received), (2, 3, 1));
    assert_eq!((stats.current_round_trip_time, stats.round_trip_time_measurements), (None, 0));
    script.run_for(ms(80));
    script.answer(BEST);
    let stats = script.pair_to(BEST).stats;
    assert_eq!((stats.requests_sent, stats.retransmissions_sent, stats.responses_received), (2, 3, 2));
    assert_eq!(stats.current_round_trip_time, Some(ms(80)));
    assert_eq!((stats.total_round_trip_time, stats.round_trip_time_measurements), (ms(80), 1));
}

/// S168
/// Req: wst-pair-c
#[test]
fn every_copy_of_a_request_is_received_and_answered() {
    let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote);
    let copy = script.check(BEST, false);
    for _ in 0..3 {
        assert!(script.hear(BEST, &copy));
    }
    let stats = script.pair_to(BEST).stats;
    assert_eq!((stats.requests_received, stats.responses_sent), (4, 4));
    script.check("192.0.2.9:900", false);
    let stats = script.pair_to("192.0.2.9:900").stats;
    assert_eq!((stats.requests_received, stats.responses_sent), (1, 1), "the first check of an address counts, too");
}

/// Req: wst-pair-c
#[test]
fn requests_that_are_refused_or_forged_are_not_counted_on_the_pair() {
    let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote);
    let mut forged = script.write_check(Role::Controlling, false);
    forged[9] ^= 1;
    assert!(!script.hear(BEST, &forged));
    let id = script.requests_to(BEST)[0].1.id;
    assert!(!script.answer_as(BEST, [0; 12], LOCAL));
    let stats = script.pair_to(BEST).stats;
    assert_eq!((stats.requests_received, stats.responses_sent, stats.responses_received), (0, 0, 0));
    assert!(script.answer_as(BEST, id, LOCAL));
    assert!(!script.answer_as(BEST, id, LOCAL), "a copy of an answer is not one");
    assert_eq!(script.pair_to(BEST).stats.responses_received, 1);
}

/// S168
/// Req: wst-pair-b
/// Req: wst-pair-c
/// Req: wst-pair-d
#[test]
fn a_scripted_run_gives_exact_counters_on_both_sides() {
    let mut pair = setup("exact").link(Link::with_delay(ms(40))).build();
    pair.run_to(at(1000));
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    // Of five packets of 100 to 500 bytes the second is lost; one comes back.
    pair.network.lose_nth(l, r, 1);
    for count in 1..=5 {
        pair.send(SideName::L, &vec![200; 100 * count]).unwrap();
        pair.run_for(ms(10));
    }
    pair.send(SideName::R, &[200; 7]).unwrap();
    pair.run_for(secs(1));
    let stream = pair.stream();
    let view = |side: SideName| pair.peer(side).agent.selected_pair(stream, ComponentId::RTP).unwrap();
    for side in [SideName::L, SideName::R] {
        let view = view(side);
        assert_eq!((view.state, view.is_nominated), (CandidatePairState::Succeeded, true));
        let stats = view.stats;
        let count = u32::try_from(stats.responses_received).unwrap();
        assert_eq!((stats.requests_sent, stats.retransmissions_sent), (u64::from(count), 0), "{side:?}");
        assert_eq!(stats.total_round_trip_time, ms(80) * count, "{side:?}");
        assert_eq!(stats.round_trip_time_measurements, u64::from(count));
        assert_eq!(stats.current_round_trip_time, Some(ms(80)));
        let other = pair.peer(side.other()).agent.selected_pair(stream, ComponentId::RTP).unwrap().stats;
        assert_eq!((stats.requests_sent, stats.responses_received), (other.requests_received, other.responses_sent));
    }
    let (sent, received) = (view(SideName::L).stats, view(SideName::R).stats);
    assert_eq!((sent.packets_sent, sent.bytes_sent), (5, 1500));
    assert_eq!((received.packets_received, received.bytes_received), (4, 1300));
    assert_eq!((received.packets_sent, received.bytes_sent), (1, 7));
    assert_eq!((sent.packets_received, sent.bytes_received), (1, 7));
    assert_eq!((sent.last_packet_sent_at, received.last_packet_received_at), (Some(at(1040)), Some(at(1080))));
    assert_eq!((received.last_packet_sent_at, sent.last_packet_received_at), (Some(at(1050)), Some(at(1090))));
}

/// Behind a NAT the selected pair is not the one that was checked. Its data is counted on it all the same, and so is that of
/// another valid pair on itself.
///
/// Req: wst-pair-b
#[test]
fn data_both_ways_counts_on_the_selected_pair_behind_a_nat() {
    let mut script = Script::new(Role::Controlled, Config::default(), |remote| remote.with_ice2(true));
    let public = "192.0.2.77:1024";
    for to in [BEST, OTHER] {
        script.run_for(ms(60));
        let id = script.requests_to(to).last().unwrap().1.id;
        assert!(script.answer_as(to, id, public));
    }
    script.check(BEST, true);
    let (stream, now) = (script.stream, script.now);
    let selected = script.agent.selected_pair(stream, ComponentId::RTP).unwrap();
    let (id, local) = (selected.id, selected.local.socket_address());
    assert_eq!((local, selected.base), (Some(socket(public)), socket(LOCAL)), "a pair that was not checked");
    let _ = script.agent.send(now, stream, ComponentId::RTP, &[200; 30], &mut Vec::new()).unwrap();
    for (from, length) in [(BEST, 10), (OTHER, 20)] {
        let payload = vec![200; length];
        let datagram = Datagram::new(socket(from), socket(LOCAL), &payload);
        let received = script.agent.handle_datagram(now, &datagram);
        assert!(matches!(received, Received::Data { pair: Some(pair), .. } if (pair == id) == (from == BEST)));
    }
    let counts =
        |stats: &PairStats| (stats.packets_sent, stats.bytes_sent, stats.packets_received, stats.bytes_received);
    let found: Vec<_> = script
        .agent
        .pairs()
        .filter(|pair| pair.stats.packets_received > 0)
        .map(|pair| (pair.local.socket_address(), pair.remote.socket_address(), counts(&pair.stats)))
        .collect();
    let expected = |to, counts| (Some(socket(public)), Some(socket(to)), counts);
    assert_eq!(found, [expected(BEST, (1, 30, 1, 10)), expected(OTHER, (0, 0, 1, 20))]);
}

/// Req: wst-pair-b
#[test]
fn a_pair_tells_its_state_through_its_life() {
    let mut script = Script::new(Role::Controlling, Config::default(), |remote| remote);
    assert_eq!(script.pair_to(BEST).state, CandidatePairState::InProgress);
    assert_eq!(script.pair_to(BEST).stats.last_packet_sent_at, None, "checks are no packets");
    script.answer(BEST);
    let view = script.pair_to(BEST);
    assert_eq!((view.state, view.is_valid, view.is_nominated), (CandidatePairState::Succeeded, true, false));
    script.answer_next(BEST);
    let view = script.pair_to(BEST);
    assert_eq!((view.is_nominated, view.is_selected), (true, true));
    assert_eq!((view.stats.packets_sent, view.stats.packets_received), (0, 0));
}

/// S176
#[test]
fn no_name_of_a_pair_or_candidate_is_used_twice() {
    let config = Config::default().with_max_pairs(4).with_max_remote_candidates(6).with_pair_events(true);
    let mut script = Script::new(Role::Controlling, config, |remote| remote);
    for count in 0..60_u32 {
        let (priority, port) = (1000 + 7919 * count % 60, 10_000 + count);
        let line = format!("candidate:{count} 1 udp {priority} 192.0.2.1 {port} typ host");
        let _ = script.agent.add_remote_candidate(script.now, script.stream, line.parse().unwrap());
        script.check(&format!("192.0.2.200:{port}"), false);
        script.run_for(ms(30));
    }
    let (mut alive, mut ever) = (BTreeSet::new(), BTreeSet::new());
    for (_, event) in &script.events {
        match event {
            Event::PairAdded { pair, .. } => {
                assert!(ever.insert(*pair), "{pair} again");
                alive.insert(*pair);
            }
            Event::PairRemoved { pair } => assert!(alive.remove(pair), "{pair} was not there"),
            Event::PairStateChanged { pair, .. } => assert!(ever.contains(pair), "{pair} was never told of"),
            _ => {}
        }
    }
    assert!(ever.len() > 8 && alive.len() <= 4, "{} made, {} left", ever.len(), alive.len());
    let views: BTreeSet<_> = script.agent.pairs().map(|pair| pair.id).collect();
    assert_eq!(views, alive, "every pair is told of, and every removal");
    let candidates: Vec<_> = script.agent.remote_candidates(script.stream).map(|remote| remote.id).collect();
    assert_eq!(candidates.iter().collect::<BTreeSet<_>>().len(), candidates.len());
}
