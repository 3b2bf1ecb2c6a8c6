//! Lite agents that hear nothing of their peer.

use nilas::sim::{Pair, PairSetup, SideName};
use nilas::{ComponentId, Config, ConnectionState, Event, Role, StateReason, StreamId};

use crate::help::{at, ms, secs, setup};
use crate::solo::{Solo, host};

use ConnectionState::{Checking, Connected, Failed};

fn lite() -> Config {
    Config::default().with_lite(true)
}

fn with_lite_r(name: &str) -> PairSetup {
    setup(name).right(|r| r.config = lite())
}

fn cut(setup: PairSetup) -> Pair {
    let mut pair = setup.build();
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    pair
}

fn check(solo: &mut Solo, nominates: bool) {
    let check = solo.check();
    let bytes = solo.seal(if nominates { check.use_candidate() } else { check });
    solo.receive(&bytes);
}

fn state(solo: &Solo) -> (ConnectionState, StateReason) {
    solo.agent.stream_state(solo.stream).unwrap()
}

/// Req: 8863-4-a
#[test]
fn a_lite_agent_that_hears_nothing_fails_when_its_patience_is_over_and_goes_on_with_the_next_check() {
    for (is_local_end, is_remote_end, has_candidates) in
        [(false, false, true), (true, false, true), (false, true, true), (true, true, true), (false, false, false)]
    {
        let mut solo = Solo::with_consent(Role::Controlled, lite());
        solo.run_for(secs(60));
        assert_eq!(solo.agent.state(), ConnectionState::New, "without credentials there is nobody to wait for");
        solo.describe(if has_candidates { vec![host("203.0.113.1:6000")] } else { Vec::new() });
        if is_local_end {
            solo.agent.end_of_local_candidates(solo.now, solo.stream).unwrap();
        }
        if is_remote_end {
            solo.agent.end_of_remote_candidates(solo.now, solo.stream).unwrap();
        }
        solo.run_for(ms(39_499));
        assert_ne!(solo.agent.state(), Failed);
        solo.run_for(ms(1));
        assert_eq!(state(&solo), (Failed, StateReason::NothingHeard));
        assert_eq!(solo.agent.poll_timeout(), None);
        solo.run_for(secs(1000));
        // One that is not authentic is nothing.
        let before = solo.digest();
        let forged = solo.check().integrity(&solo.theirs.password).fingerprint().build();
        solo.receive(&forged);
        assert_eq!(solo.digest(), before);
        let mut nominated = solo.clone();
        check(&mut nominated, true);
        assert!(nominated.agent.state().is_connected());
        // One that does not nominate is a sign of life, and begins the patience anew.
        check(&mut solo, false);
        assert_eq!(solo.agent.state(), Checking);
        solo.run_for(ms(39_499));
        assert_eq!(solo.agent.state(), Checking);
        solo.run_for(ms(1));
        assert_eq!(state(&solo), (Failed, StateReason::NothingHeard));
    }
}

#[test]
fn a_peer_that_takes_its_time_to_nominate_is_waited_for() {
    let mut solo = Solo::with_consent(Role::Controlled, lite());
    solo.describe(vec![host("203.0.113.1:6000")]);
    for _ in 0..20 {
        solo.run_for(secs(30));
        check(&mut solo, false);
        assert_eq!(solo.agent.state(), Checking);
    }
    check(&mut solo, true);
    assert!(solo.agent.state().is_connected());
}

#[test]
fn a_lite_agent_whose_network_comes_late_is_connected() {
    let mut pair = cut(with_lite_r("late").left(|l| l.signals_end = false).right(|r| r.signals_end = false));
    pair.run_for(secs(50));
    assert_eq!(pair.r.reached(Failed), Some(at(39_500)));
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.mend_both(l, r);
    assert!(pair.run_until_selected(ms(2500)));
    assert_eq!((pair.r.agent.state(), pair.agrees()), (Connected, true));
    // Its silence after that is the path's.
    pair.network.cut_both(l, r);
    pair.run_for(secs(200));
    let state = pair.r.agent.stream_state(pair.stream());
    assert_eq!(state, Some((ConnectionState::Disconnected, StateReason::PathLost)));
}

#[test]
fn another_timer_of_rfc_8863_is_that_of_a_lite_agent_too() {
    let mut solo = Solo::with_consent(Role::Controlled, lite().with_pac_timer(Some(secs(7))));
    solo.describe(Vec::new());
    solo.run_for(ms(6999));
    assert_ne!(solo.agent.state(), Failed);
    solo.run_for(ms(1));
    assert_eq!(state(&solo), (Failed, StateReason::NothingHeard));
}

#[test]
fn each_stream_is_patient_for_itself() {
    let mut solo = Solo::with_consent(Role::Controlled, lite());
    solo.describe(vec![host("203.0.113.1:6000")]);
    check(&mut solo, true);
    let other: StreamId = solo.agent.add_stream(1).unwrap();
    let local = "198.51.100.1:5002".parse().unwrap();
    solo.agent.add_socket(solo.now, other, ComponentId::RTP, nilas::Transport::Udp, local).unwrap();
    let credentials = nilas::Credentials::new("other", "passwordOfAnotherPeer01").unwrap();
    let description = nilas::RemoteDescription::new(credentials);
    solo.agent.set_remote_description(solo.now, other, &description).unwrap();
    for _ in 0..10 {
        solo.run_for(secs(5));
        check(&mut solo, false);
    }
    assert!(solo.agent.stream_state(solo.stream).unwrap().0.is_connected());
    assert_eq!(solo.agent.stream_state(other), Some((Failed, StateReason::NothingHeard)));
}

#[test]
fn a_component_that_the_peer_does_not_have_is_not_waited_for() {
    for signals_end in [true, false] {
        let setup = with_lite_r("components").left(|l| l.signals_end = signals_end);
        let mut pair = setup.right(|r| (r.components, r.signals_end) = (2, signals_end)).build();
        pair.run_for(secs(100));
        assert_eq!(pair.r.reached(Failed), None);
    }
}

#[test]
fn a_restart_is_waited_for_while_the_pair_from_before_is_alive() {
    let mut pair = with_lite_r("restart").build();
    assert!(pair.run_until_selected(secs(1)));
    let (stream, now) = (pair.stream(), pair.now());
    // Its new description is taken, and it never checks with it.
    pair.r.agent.prepare_restart(now, stream).unwrap();
    let fresh = nilas::Credentials::new("fresh", "freshPasswordOfTheLeft0").unwrap();
    pair.r.agent.set_remote_description(now, stream, &nilas::RemoteDescription::new(fresh)).unwrap();
    pair.drain(SideName::R);
    pair.run_for(secs(100));
    assert_eq!(pair.r.reached(Failed), None);
    assert!(pair.r.agent.state().is_connected());
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    pair.run_for(secs(60));
    let last = pair.r.events.iter().rev().find_map(|(_, event)| match event {
        Event::StreamStateChanged { current, reason, .. } => Some((*current, *reason)),
        _ => None,
    });
    assert_eq!(last, Some((Failed, StateReason::NothingHeard)));
}

#[test]
fn two_lite_agents_say_what_they_lack() {
    let mut pair = setup("lites").left(|l| l.config = lite()).right(|r| r.config = lite()).build();
    pair.run_for(secs(100));
    assert!(pair.l.agent.state().is_connected() && pair.r.agent.state().is_connected());
    let v6 = "2001:db8::1".parse().unwrap();
    let apart = setup("apart").left(|l| (l.config, l.addresses) = (lite(), vec![v6])).right(|r| r.config = lite());
    let mut pair = apart.build();
    pair.run_for(secs(100));
    let state = pair.r.agent.stream_state(pair.stream());
    assert_eq!(state, Some((Failed, StateReason::NoCompatiblePair)));
}
