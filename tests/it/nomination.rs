//! The controlling side nominates: when, which pair, and with what check.

use std::sync::Arc;
use std::time::Duration;

use nilas::sim::{Link, Pair, PairSetup, Passing, SideName, Verdict};
use nilas::{
    ApplicationNominates, BetterPairs, ComponentId, Config, ConnectionState, Event, NominateError, NominationDecision,
    NominationPolicy, NominationView, PairId, Role, Seed, StateReason,
};

use crate::help::{at, ms, requests, secs, setup, silent_setup};
use crate::script::{BEST, OTHER, Script, socket};

/// Waits for some time, and takes the best then.
#[derive(Debug)]
struct NominateAt(u64);

impl NominationPolicy for NominateAt {
    fn decide(&self, view: &NominationView<'_>) -> NominationDecision {
        if view.now < at(self.0) {
            return NominationDecision::WaitUntil(at(self.0));
        }
        view.valid.first().map_or(NominationDecision::Wait, |best| NominationDecision::Nominate(best.pair))
    }
}

fn with_policy(policy: impl NominationPolicy + 'static) -> Config {
    Config::default().with_nomination_policy(Arc::new(policy))
}

/// When L sent checks with the flag, and where to.
fn nominating(pair: &Pair) -> Vec<(u64, [u8; 12], std::net::SocketAddr)> {
    requests(&pair.l.sent)
        .into_iter()
        .filter(|(_, request, _)| request.use_candidate)
        .map(|(time, request, sent)| (pair.since_start(time).as_millis() as u64, request.id, sent.destination))
        .collect()
}

/// Req: 8445-8.1.1-a
/// Req: 8445-8.1.1-b
#[test]
fn the_nominating_check_repeats_the_check_of_the_pair_in_a_new_transaction() {
    let mut pair = setup("repeats").build();
    assert!(pair.run_until_selected(secs(1)));
    let sent = requests(&pair.l.sent);
    let [(first_at, first, first_sent), (second_at, second, second_sent)] = &sent[..] else {
        panic!("{} requests", sent.len())
    };
    assert_eq!((*first_at, *second_at), (at(0), at(50)));
    assert_eq!((first.use_candidate, second.use_candidate), (false, true));
    assert_eq!((first_sent.source, first_sent.destination), (second_sent.source, second_sent.destination));
    assert_eq!((first.priority, first.controlling), (second.priority, second.controlling));
    assert_ne!(first.id, second.id);
    assert!(requests(&pair.r.sent).iter().all(|(_, request, _)| !request.use_candidate));
}

/// Req: 5245-8.1.1-b
/// Req: 8445-8.1.1-c
#[test]
fn no_first_check_nominates_and_no_component_gets_two_nominated_pairs() {
    for seed in 0..100 {
        let link = Link { loss: 0.2, jitter: ms(60), duplicate: 0.1, ..Link::with_delay(ms(20)) };
        let mut pair = PairSetup::new(Seed::from_number(seed)).addresses(3, 2).link(link).build();
        assert!(pair.run_until_selected(secs(30)), "seed {seed}");
        pair.run_for(secs(5));
        let mut checked = std::collections::BTreeSet::new();
        for (_, request, sent) in requests(&pair.l.sent) {
            let is_first = checked.insert((sent.source, sent.destination));
            assert!(!(is_first && request.use_candidate), "seed {seed}: {} was nominated unchecked", sent.destination);
        }
        assert_eq!(pair.l.agent.pairs().filter(|pair| pair.is_nominated).count(), 1, "seed {seed}");
    }
}

/// Req: 8445-7.2.5.3.4-a
#[test]
fn the_pair_is_nominated_when_the_answer_comes_and_lost_ones_are_repeated_every_half_second() {
    let mut pair = setup("lost answers").build();
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.run_to(at(51));
    pair.network.cut(r, l);
    pair.run_to(at(1400));
    assert!(pair.l.agent.pairs().all(|pair| !pair.is_nominated) && !pair.l.is_selected());
    pair.network.mend(r, l);
    pair.run_to(at(2000));
    let sent = nominating(&pair);
    assert_eq!(sent.iter().map(|(time, ..)| *time).collect::<Vec<_>>(), [50, 550, 1050, 1550]);
    let ids: std::collections::BTreeSet<_> = sent.iter().map(|(_, id, _)| *id).collect();
    assert_eq!(ids.len(), 4, "each repetition is a check of its own");
    assert_eq!(pair.l.selected_at(), Some(at(1600)));
    assert!(pair.agrees());
}

/// Two remote addresses, the better of which no longer answers from 400 ms on; L nominates at 500 ms.
fn nomination_into_the_void(config: Config) -> Pair {
    let mut pair = setup("void").addresses(1, 2).left(|l| l.config = config).build();
    pair.run_to(at(400));
    assert_eq!(pair.l.agent.pairs().filter(|pair| pair.is_valid).count(), 2);
    let best = pair.l.agent.usable_pair(pair.stream(), ComponentId::RTP).unwrap().remote.socket_address().unwrap();
    pair.network.set_hook(move |packet: &Passing<'_>| {
        if [packet.source, packet.destination].contains(&best) { Verdict::Drop } else { Verdict::Pass }
    });
    pair
}

/// S076
/// Req: 8445-7.2.5.3.4-b
#[test]
fn a_nomination_that_is_never_answered_falls_back_to_the_next_valid_pair() {
    let mut pair = nomination_into_the_void(with_policy(NominateAt(500)));
    pair.run_to(at(5000));
    let sent = nominating(&pair);
    let first = sent[0].2;
    type Nominating<'a> = Vec<&'a (u64, [u8; 12], std::net::SocketAddr)>;
    let (lost, second): (Nominating<'_>, Nominating<'_>) = sent.iter().partition(|(.., to)| *to == first);
    assert_eq!(
        lost.iter().map(|(time, ..)| *time).collect::<Vec<_>>(),
        [500, 1000, 1500, 2000, 2500, 3000, 3500, 4000]
    );
    assert_eq!(second.iter().map(|(time, ..)| *time).collect::<Vec<_>>(), [4500]);
    assert_eq!(pair.l.selected_at(), Some(at(4550)));
    assert!(pair.agrees());
    let given_up = pair.l.agent.pairs().find(|pair| pair.remote.socket_address() == Some(first)).unwrap();
    assert!(!given_up.is_valid && given_up.state == nilas::CandidatePairState::Failed);
    pair.run_for(secs(60));
    assert_eq!(pair.l.agent.state(), ConnectionState::Completed);
}

/// Req: 8445-7.2.5.3.4-b
/// Req: 8863-4-c
#[test]
fn a_strict_agent_fails_with_its_nomination_when_its_patience_ends() {
    let config = with_policy(NominateAt(500)).with_strict_nomination(true).with_pac_timer(Some(secs(60)));
    let mut pair = nomination_into_the_void(config);
    pair.run_to(at(59_999));
    assert_ne!(pair.l.agent.state(), ConnectionState::Failed);
    assert_eq!(pair.l.agent.pairs().filter(|pair| pair.is_valid).count(), 1, "off the valid list");
    pair.run_for(secs(60));
    let first = nominating(&pair)[0].2;
    assert!(nominating(&pair).iter().all(|(.., to)| *to == first), "no other pair is nominated");
    let reason = (ConnectionState::Failed, StateReason::NominationFailed);
    assert_eq!(pair.l.agent.stream_state(pair.stream()), Some(reason));
    assert_eq!(pair.l.reached(ConnectionState::Failed), Some(at(60_000)));
    assert_eq!(pair.l.selections(), 0);
}

/// Req: 8445-7.3.1.5-c
/// Req: 8445-7.2.5.3.4-b
#[test]
fn a_nomination_that_the_peer_refuses_goes_to_the_next_valid_pair_at_once() {
    let mut script = Script::new(Role::Controlling, with_policy(NominateAt(300)), |remote| remote);
    script.answer(BEST);
    script.answer_next(OTHER);
    script.run_for(ms(300));
    let (_, request) = script.requests_to(BEST).pop().unwrap();
    assert!(request.use_candidate);
    assert!(script.refuse(BEST, request.id, 400));
    script.run_for(ms(50));
    let (_, request) = script.requests_to(OTHER).pop().unwrap();
    assert!(request.use_candidate);
    script.answer(OTHER);
    assert_eq!(script.selected(), Some(socket(OTHER)));
    assert_eq!(script.agent.pairs().filter(|pair| pair.is_nominated).count(), 1);
}

/// Req: 8445-8.1.1-c
#[test]
fn a_late_answer_to_a_nomination_that_was_given_up_brings_the_current_one_again() {
    let mut script = Script::new(Role::Controlling, with_policy(NominateAt(300)), |remote| remote);
    script.answer(BEST);
    script.answer_next(OTHER);
    script.run_for(secs(5));
    let given_up = script.requests_to(BEST).pop().unwrap().1;
    let current = script.requests_to(OTHER).pop().unwrap().1;
    assert!(given_up.use_candidate && current.use_candidate);
    script.answer(OTHER);
    assert_eq!(script.selected(), Some(socket(OTHER)));
    let before = script.requests_to(OTHER).len();
    // It may have reached the peer after the nomination that counts, and the last one wins there.
    assert!(script.answer_as(BEST, given_up.id, crate::script::LOCAL));
    assert_eq!(script.selected(), Some(socket(OTHER)));
    script.run_for(ms(100));
    let repeated = script.requests_to(OTHER)[before..].to_vec();
    assert!(repeated.len() == 1 && repeated[0].1.use_candidate && repeated[0].1.id != current.id);
    script.answer(OTHER);
    script.run_for(secs(5));
    assert_eq!((script.requests_to(OTHER).len(), script.selections()), (before + 1, 1));
    assert_eq!(script.agent.pairs().filter(|pair| pair.is_nominated).count(), 1);
}

/// Req: 8445-8.1.1-c
#[test]
fn late_answers_to_an_earlier_nomination_do_not_take_the_place_of_the_one_in_progress() {
    let mut script = Script::new(Role::Controlling, with_policy(NominateAt(300)), |remote| remote);
    script.answer(BEST);
    script.answer_next(OTHER);
    script.run_for(secs(5));
    let given_up = script.requests_to(BEST);
    let count = script.requests_to(OTHER).len();
    assert!(script.requests_to(OTHER)[count - 1].1.use_candidate);
    for (_, request) in given_up.iter().rev().take(3) {
        assert!(request.use_candidate && script.answer_as(BEST, request.id, crate::script::LOCAL));
        assert_eq!(script.selected(), None, "the peer may have seen the other one since");
    }
    script.run_for(secs(1));
    script.answer(OTHER);
    assert_eq!((script.selected(), script.selections()), (Some(socket(OTHER)), 1));
}

/// Req: 8445-8.1.1-a
#[test]
fn a_late_answer_to_an_earlier_check_does_not_stop_a_nomination_that_waits_to_be_sent() {
    let mut script = Script::new(Role::Controlling, Config::default(), |remote| remote);
    script.check(BEST, false);
    script.run_for(ms(60));
    script.check(BEST, false);
    script.run_for(ms(45));
    let checks: Vec<_> = script.requests_to(BEST).into_iter().map(|(_, request)| request.id).collect();
    assert_eq!(checks.len(), 3, "each check of the peer triggers one");
    assert!(script.answer_as(BEST, checks[0], crate::script::LOCAL));
    // The nomination waits for Ta.
    assert!(script.answer_as(BEST, checks[1], crate::script::LOCAL));
    script.run_for(ms(50));
    assert!(script.requests_to(BEST).last().unwrap().1.use_candidate);
    script.answer(BEST);
    assert_eq!(script.selected(), Some(socket(BEST)));
}

/// Req: 8445-7.2.5.3.4-b
#[test]
fn a_nomination_without_an_alternative_goes_on_for_as_long_as_a_check_lasts() {
    let mut pair = silent_setup("no alternative").build();
    pair.run_to(at(51));
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    pair.run_for(secs(60));
    let sent = nominating(&pair);
    assert!(sent.windows(2).all(|two| two[1].0 - two[0].0 == 500), "{sent:?}");
    assert_eq!(sent.last().map(|(time, ..)| *time), Some(39_050));
    assert_eq!(pair.l.reached(ConnectionState::Failed), Some(at(39_550)));
    assert_eq!(pair.l.agent.pairs().filter(|pair| pair.is_valid || pair.is_nominated).count(), 0);
}

/// A relay is reached in `relay`, and the host itself in `host`, both there and back.
fn relay_and_host(relay: Duration, host: Duration, signals_end: bool) -> Pair {
    let mut setup = setup("relay and host").link(Link::default()).addresses(1, 2).right(|r| {
        r.signals_candidates = false;
        r.signals_end = signals_end;
        r.extra_candidates = [
            "candidate:1 1 udp 2130706431 203.0.113.1 5000 typ host",
            "candidate:2 1 udp 16777215 203.0.113.2 5000 typ relay raddr 203.0.113.1 rport 5000",
        ]
        .map(|line| line.parse().unwrap())
        .to_vec();
    });
    (setup.l.start, setup.r.start) = (ms(1), ms(1));
    let mut pair = setup.build();
    pair.network.set_hook(move |packet: &Passing<'_>| {
        let is_host = [packet.source.ip(), packet.destination.ip()].contains(&[203, 0, 113, 1].into());
        Verdict::Delay(if is_host { host } else { relay } / 2)
    });
    pair
}

/// S071
/// Req: 8863-4-a
#[test]
fn a_relay_that_answers_first_waits_for_the_host() {
    for (relay, host) in [(20, 200), (20, 100), (20, 400)] {
        for signals_end in [false, true] {
            let mut pair = relay_and_host(ms(relay), ms(host), signals_end);
            // The check of the relay leaves after that of the host.
            assert!(pair.run_until(ms(1000), |pair| pair.l.is_selected()), "{host} ms, end {signals_end}");
            let selected = pair.l.agent.selected_pair(pair.stream(), ComponentId::RTP).unwrap();
            let to = selected.remote.socket_address().unwrap();
            assert_eq!(to, socket("203.0.113.1:5000"), "host after {host} ms, end {signals_end}");
            let connected = pair.l.reached(ConnectionState::Connected).unwrap();
            assert!(pair.since_start(connected) <= ms(120), "data may flow on the relay earlier");
        }
    }
}

/// Req: 8445-8.1.1-a
#[test]
fn a_relay_is_nominated_in_the_end_if_nothing_better_answers() {
    let mut pair = relay_and_host(ms(20), secs(100), false);
    assert!(pair.run_until(secs(2), |pair| pair.l.is_selected()));
    assert!(pair.elapsed() <= ms(700), "{:?}", pair.elapsed());
    let selected = pair.l.agent.selected_pair(pair.stream(), ComponentId::RTP).unwrap();
    assert_eq!(selected.remote.socket_address(), Some(socket("203.0.113.2:5000")));
}

/// S073
/// Req: 8445-8.1.1-c
#[test]
fn a_candidate_that_comes_after_the_nomination_changes_nothing() {
    let mut pair = silent_setup("late candidate").right(|r| r.signals_end = false).build();
    assert!(pair.run_until_selected(secs(1)));
    pair.run_for(secs(1));
    let before = requests(&pair.l.sent).len();
    let late = "candidate:9 1 udp 2130706431 203.0.113.1 7777 typ host".parse().unwrap();
    let (now, stream) = (pair.now(), pair.stream());
    assert!(pair.l.agent.add_remote_candidate(now, stream, late).is_ok());
    pair.drain(SideName::L);
    pair.run_for(secs(5));
    assert_eq!((requests(&pair.l.sent).len(), pair.l.selections()), (before, 1));
}

/// Req: 8445-8.1.2-a
#[test]
fn checks_in_flight_are_not_repeated_after_the_nomination() {
    // Only the last of six pairs works; its check is answered while the other five are in flight.
    let mut pair = silent_setup("in flight").addresses(6, 1).build();
    pair.network.set_hook(|packet: &Passing<'_>| {
        let worst = [198, 51, 100, 6].into();
        let is_worst = [packet.source.ip(), packet.destination.ip()].contains(&worst);
        if is_worst { Verdict::Pass } else { Verdict::Drop }
    });
    assert!(pair.run_until_selected(secs(1)));
    let in_flight = pair.l.agent.pairs().filter(|pair| pair.state == nilas::CandidatePairState::InProgress).count();
    assert_eq!(in_flight, 5);
    let before = requests(&pair.l.sent).len() + requests(&pair.r.sent).len();
    pair.run_for(secs(30));
    assert_eq!(requests(&pair.l.sent).len() + requests(&pair.r.sent).len(), before);
    pair.run_for(secs(30));
    for side in [SideName::L, SideName::R] {
        assert_eq!(pair.peer(side).agent.state(), ConnectionState::Completed, "their silence is no failure");
    }
}

/// Req: 8445-8.1.2-a
#[test]
fn the_answer_to_a_cancelled_check_is_taken() {
    let mut script = Script::new(Role::Controlling, Config::default(), |remote| remote);
    script.answer(BEST);
    script.run_for(ms(50));
    let other = script.requests_to(OTHER).first().map(|(_, request)| request.id);
    script.run_for(ms(60));
    let other = other.or(script.requests_to(OTHER).first().map(|(_, request)| request.id)).unwrap();
    script.answer(BEST);
    assert_eq!(script.selected(), Some(socket(BEST)));
    script.run_for(secs(3));
    assert_eq!(script.requests_to(OTHER).len(), 1, "cancelled");
    script.answer_as(OTHER, other, crate::script::LOCAL);
    assert!(script.pair_to(OTHER).is_valid);
    script.run_for(secs(10));
    assert_eq!((script.selected(), script.selections()), (Some(socket(BEST)), 1));
}

/// Req: 8445-8.1.1-a
#[test]
fn the_application_nominates_by_its_own_policy() {
    // Of the checks that nominate, those that keep consent are not what this is about.
    let config = with_policy(ApplicationNominates).with_repeated_use_candidate(false);
    let mut pair = setup("application").addresses(1, 2).left(|l| l.config = config).build();
    pair.run_to(at(60_000));
    assert_eq!(pair.l.agent.state(), ConnectionState::Connected);
    assert_eq!((nominating(&pair).len(), pair.l.selections(), pair.r.selections()), (0, 0, 0));
    let stream = pair.stream();
    let used = pair.l.agent.usable_pair(stream, ComponentId::RTP).unwrap().id;
    let other = pair.l.agent.pairs().find(|pair| pair.is_valid && pair.id != used).unwrap().id;
    let now = pair.now();
    pair.l.agent.nominate(now, other).unwrap();
    pair.l.agent.nominate(now, other).unwrap();
    pair.drain(SideName::L);
    assert!(pair.run_until_selected(ms(50)));
    assert_eq!(pair.l.agent.selected_pair(stream, ComponentId::RTP).map(|pair| pair.id), Some(other));
    // R last heard an answer on that pair a minute ago, and has to be given consent again before it sends (RFC 7675 §5.1).
    pair.run_for(ms(25));
    assert!(pair.agrees());
    let now = pair.now();
    assert_eq!(pair.l.agent.nominate(now, other), Ok(()));
    assert_eq!(pair.l.agent.nominate(now, used), Err(NominateError::AlreadyNominated));
    pair.drain(SideName::L);
    pair.run_for(secs(10));
    assert_eq!((nominating(&pair).len(), pair.l.selections(), pair.r.selections()), (1, 1, 1));
}

#[test]
fn only_a_controlling_agent_nominates_and_only_valid_pairs() {
    let mut pair = setup("errors").left(|l| l.config = with_policy(ApplicationNominates)).build();
    let now = pair.now();
    let unchecked = pair.l.agent.pairs().next().unwrap().id;
    assert_eq!(pair.l.agent.nominate(now, unchecked), Err(NominateError::NotValid(unchecked)));
    pair.run_to(at(500));
    let valid = pair.r.agent.pairs().find(|pair| pair.is_valid).unwrap().id;
    let now = pair.now();
    assert_eq!(pair.r.agent.nominate(now, valid), Err(NominateError::Controlled));
    pair.run_for(secs(1));
    assert!(nominating(&pair).is_empty());
}

/// Takes the valid pair of the lowest priority once there are two.
#[derive(Debug)]
struct WorstOfTwo;

impl NominationPolicy for WorstOfTwo {
    fn decide(&self, view: &NominationView<'_>) -> NominationDecision {
        assert!(view.valid.is_sorted_by_key(|pair| std::cmp::Reverse(pair.priority)));
        match view.valid {
            [_, .., worst] => {
                assert_eq!(view.better, BetterPairs::None);
                NominationDecision::Nominate(worst.pair)
            }
            _ => NominationDecision::Wait,
        }
    }
}

/// Req: 8445-8.1.1-a
#[test]
fn a_policy_of_the_application_decides_which_valid_pair_is_used() {
    let mut pair = setup("worst").addresses(1, 2).left(|l| l.config = with_policy(WorstOfTwo)).build();
    assert!(pair.run_until_selected(secs(2)));
    let selected = pair.l.agent.selected_pair(pair.stream(), ComponentId::RTP).unwrap();
    let best = pair.l.agent.pairs().filter(|pair| pair.is_valid).map(|pair| pair.priority).max().unwrap();
    assert!(selected.priority < best);
    assert!(pair.agrees());
}

/// Req: 8445-7.2.5.3.4-a
#[test]
fn a_nomination_is_told_once_and_before_the_selection() {
    let mut pair = setup("events").config(Config::default().with_pair_events(true)).build();
    assert!(pair.run_until_selected(secs(1)));
    for peer in [&pair.l, &pair.r] {
        let place = |wanted: &dyn Fn(&Event) -> Option<PairId>| {
            let mut found =
                peer.events.iter().enumerate().filter_map(|(place, (_, event))| Some((place, wanted(event)?)));
            let first = found.next().unwrap();
            assert!(found.next().is_none(), "told twice");
            first
        };
        let (nominated_at, nominated) = place(&|event| match event {
            Event::PairNominated { pair } => Some(*pair),
            _ => None,
        });
        let (selected_at, selected) = place(&|event| match event {
            Event::SelectedPairChanged { pair, .. } => *pair,
            _ => None,
        });
        assert!(nominated_at < selected_at);
        assert_eq!(nominated, selected);
    }
}
