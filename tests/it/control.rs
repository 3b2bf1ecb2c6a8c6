//! What the application decides itself: idle times, which pair is used, which ones may go.

use std::sync::Arc;

use nilas::sim::{Direction, Link, Pair, PairSetup, SideName};
use nilas::{
    ApplicationNominates, ComponentId, Config, ConnectionState, Event, PairId, PathHealth, Renomination, SendError,
};

use crate::help::{ms, requests, secs, setup};

const RTP: ComponentId = ComponentId::RTP;

fn connected(setup: PairSetup) -> Pair {
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(3)));
    pair.run_for(secs(3));
    pair
}

fn selected(pair: &Pair) -> PairId {
    pair.l.agent.selected_pair(pair.stream(), RTP).expect("a pair is selected").id
}

/// The times of the left side's checks from now on.
fn checks(pair: &mut Pair, time: std::time::Duration) -> Vec<nilas::Instant> {
    let before = pair.l.sent.len();
    pair.run_for(time);
    let sent = pair.l.sent[before..].to_vec();
    requests(&sent).into_iter().map(|(at, ..)| at).collect()
}

fn set_idle(pair: &mut Pair, is_idle: bool) {
    let now = pair.now();
    pair.l.agent.set_idle(now, is_idle);
    pair.drain(SideName::L);
}

/// S096
/// Req: 7675-5.1-k
#[test]
fn an_idle_agent_asks_seldom_and_an_active_one_at_once_and_once() {
    let config = Config::default().with_idle_interval(secs(60));
    let mut pair = connected(setup("idle").left(|side| side.config = config));
    set_idle(&mut pair, true);
    let idle = checks(&mut pair, secs(600));
    assert!((10..=13).contains(&idle.len()), "{} checks in 10 minutes", idle.len());
    for two in idle.windows(2) {
        let gap = two[1].saturating_duration_since(two[0]);
        assert!(gap >= secs(48) && gap <= secs(60), "{gap:?}");
    }
    assert_eq!(pair.l.reached(ConnectionState::Disconnected), None, "that consent lapses is no loss");
    let last = *idle.last().unwrap();
    pair.run_to(last + secs(40));
    let before = pair.l.sent.len();
    set_idle(&mut pair, false);
    pair.run_for(secs(30));
    let sent = pair.l.sent[before..].to_vec();
    let active: Vec<_> = requests(&sent).into_iter().map(|(at, ..)| at).collect();
    assert!(active[0].saturating_duration_since(last + secs(40)) <= ms(50), "the next check is due at once");
    assert!((5..=8).contains(&active.len()), "and no burst: {}", active.len());
    assert!(active.windows(2).all(|two| two[1].saturating_duration_since(two[0]) >= secs(4)));
    assert_eq!(pair.send(SideName::L, b"now"), Ok(()));
    set_idle(&mut pair, true);
    set_idle(&mut pair, false);
    let later = checks(&mut pair, secs(60));
    assert!(later.windows(2).all(|two| two[1].saturating_duration_since(two[0]) >= secs(4)));
    assert_eq!(pair.l.reached(ConnectionState::Disconnected), None);
}

/// S096
#[test]
fn sending_while_consent_has_lapsed_asks_for_it() {
    let config = Config::default().with_idle_interval(secs(600));
    let mut pair = connected(setup("lapsed").left(|side| side.config = config));
    set_idle(&mut pair, true);
    pair.run_for(secs(100));
    assert_eq!(pair.send(SideName::L, b"early"), Err(SendError::ConsentLost));
    pair.drain(SideName::L);
    pair.run_for(ms(60));
    assert_eq!(pair.send(SideName::L, b"now"), Ok(()));
}

/// S096
#[test]
fn an_idle_agent_still_notices_a_dead_path() {
    let mut pair = connected(setup("idle and dead"));
    set_idle(&mut pair, true);
    pair.run_for(secs(60));
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    let cut = pair.now();
    pair.run_for(secs(60));
    let lost = pair.l.reached(ConnectionState::Disconnected).expect("it is noticed");
    // One idle gap, and the detection from then on.
    assert!(lost.saturating_duration_since(cut) <= secs(36), "{lost:?}");
    assert!(pair.l.reached(ConnectionState::Failed).is_some());
}

/// An idle agent is woken no more often than it has something to send or to take.
#[test]
fn an_idle_agent_is_woken_once_for_each_check() {
    let mut pair = connected(setup("wake-ups"));
    for side in [SideName::L, SideName::R] {
        let now = pair.now();
        if side == SideName::L { &mut pair.l } else { &mut pair.r }.agent.set_idle(now, true);
        pair.drain(side);
    }
    let end = pair.now() + secs(600);
    let (mut wakes, before) = (0, pair.l.sent.len());
    while let Some(next) = pair.next_step().filter(|at| *at <= end) {
        wakes += u32::from(pair.l.agent.poll_timeout().is_some_and(|at| at <= next));
        pair.step_to(next);
    }
    let checks = requests(&pair.l.sent[before..]).len();
    println!("{wakes} wake-ups by timer and {checks} checks in 10 idle minutes");
    assert!(wakes as usize <= checks + 1, "{wakes} wake-ups for {checks} checks");
}

/// What is told of the path can be read, the next change of its state included.
///
/// Req: 7675-5.1-b
#[test]
fn the_state_of_the_path_and_when_it_changes_can_be_read() {
    let mut pair = connected(setup("report"));
    let report = |pair: &Pair| pair.l.agent.path_report(pair.stream(), RTP).expect("the pair in use is watched");
    assert_eq!((report(&pair).health, report(&pair).next_state_at), (PathHealth::Healthy, None));
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    for expected in [PathHealth::Suspect, PathHealth::Lost] {
        assert!(pair.run_until(secs(7), |pair| report(pair).next_state_at.is_some()));
        let next = report(&pair).next_state_at.unwrap();
        pair.run_to(next - ms(1));
        assert_ne!(report(&pair).health, expected);
        pair.run_to(next);
        assert_eq!(report(&pair).health, expected);
    }
    let over = report(&pair).next_state_at.unwrap();
    assert_eq!(over, report(&pair).answered_at + secs(30));
    assert!(report(&pair).unanswered_since.is_some() && report(&pair).sent_at.is_some());
    pair.run_to(over);
    assert_eq!(pair.l.agent.path_report(pair.stream(), RTP), None);
}

/// S081
#[test]
fn a_pair_that_the_application_forces_is_kept_until_it_is_let_go() {
    let slow = Link::with_delay(ms(100));
    let mut pair = connected(setup("forced").addresses(2, 1).renomination(Renomination::Draft2016));
    let (first, stream) = (selected(&pair), pair.stream());
    let base = pair.l.agent.pair(first).unwrap().base;
    let other = pair.l.agent.pairs().find(|one| one.is_valid && one.base != base).unwrap().id;
    let other_ip = pair.l.agent.pair(other).unwrap().base.ip();
    let host = pair.host(SideName::L);
    pair.network.set_interface_link(host, other_ip, Direction::Out, Some(slow)).unwrap();
    let now = pair.now();
    pair.l.agent.nominate(now, other).unwrap();
    pair.drain(SideName::L);
    pair.run_for(secs(300));
    assert_eq!(selected(&pair), other, "it is slow, and the application wants it");
    assert!(pair.agrees());
    let now = pair.now();
    pair.l.agent.select_automatically(now, stream, RTP).unwrap();
    pair.drain(SideName::L);
    pair.run_for(secs(60));
    assert_eq!(selected(&pair), first, "the policy takes the fast one");
    assert!(pair.agrees());
}

/// S081
#[test]
fn pairs_are_removed_and_protected_as_the_application_says_with_events_in_order() {
    let config = Config::default().with_pair_events(true).with_nomination_policy(Arc::new(ApplicationNominates));
    let mut pair = setup("remove").addresses(2, 2).left(|side| side.config = config).build();
    pair.run_for(secs(2));
    let stream = pair.stream();
    let valid: Vec<_> =
        pair.l.agent.pairs().filter(|one| one.is_valid).map(|one| (one.id, one.base, one.remote_address)).collect();
    assert_eq!(valid.len(), 4);
    let [(forced, ..), (gone, from, to), (kept, ..), _] = valid[..] else { panic!("four pairs") };
    let now = pair.now();
    pair.l.agent.protect_pair(now, kept, true).unwrap();
    pair.l.agent.remove_pair(now, gone).unwrap();
    pair.l.agent.nominate(now, forced).unwrap();
    let sent = pair.l.sent.len();
    pair.drain(SideName::L);
    pair.run_for(secs(60));
    assert_eq!(selected(&pair), forced);
    assert!(pair.l.agent.pair(gone).is_none() && pair.l.agent.pair(kept).is_some());
    assert!(pair.l.agent.remove_pair(now, gone).is_err() && pair.l.agent.protect_pair(now, gone, true).is_err());
    let requests = requests(&pair.l.sent[sent..]);
    assert!(requests.iter().all(|(.., sent)| (sent.source, sent.destination) != (from, to)), "it is not checked again");
    let about = |wanted: PairId| {
        let is_about = move |event: &Event| match event {
            Event::PairAdded { pair, .. } => (*pair == wanted).then_some("added"),
            Event::PairStateChanged { pair, .. } => (*pair == wanted).then_some("state"),
            Event::PairNominated { pair } => (*pair == wanted).then_some("nominated"),
            Event::PairRemoved { pair } => (*pair == wanted).then_some("removed"),
            Event::SelectedPairChanged { pair, .. } => (*pair == Some(wanted)).then_some("selected"),
            _ => None,
        };
        let mut kinds: Vec<_> = pair.l.events.iter().filter_map(|(_, event)| is_about(event)).collect();
        kinds.dedup();
        kinds
    };
    assert_eq!(about(forced), ["added", "state", "nominated", "selected"]);
    assert_eq!(about(gone), ["added", "state", "removed"]);
    let _ = stream;
}

/// S090
#[test]
fn a_failed_stream_goes_on_when_candidates_come() {
    let mut pair = setup("failed").renomination(Renomination::Draft2016).build();
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    let failed = |pair: &Pair| [&pair.l, &pair.r].iter().all(|peer| peer.agent.state() == ConnectionState::Failed);
    assert!(pair.run_until(secs(90), failed));
    pair.network.mend_both(l, r);
    let (now, ip) = (pair.now(), "198.51.100.77".parse().unwrap());
    pair.network.add_interface(l, ip).unwrap();
    let stream = pair.stream();
    pair.l.add_socket(now, stream, RTP, (ip, 7000).into()).unwrap();
    pair.drain(SideName::L);
    let completed = |pair: &Pair| [&pair.l, &pair.r].iter().all(|peer| peer.agent.state().is_connected());
    assert!(pair.run_until(secs(3), completed), "{:?} {:?}", pair.l.agent.state(), pair.r.agent.state());
    pair.run_for(secs(3));
    assert!(pair.agrees());
}

/// S074
#[test]
fn the_selection_moves_to_a_much_faster_pair_and_not_to_a_slightly_faster_one() {
    for (delay, moves) in [(55, false), (5, true)] {
        let mut pair = connected(setup("faster").addresses(2, 1).renomination(Renomination::Draft2016));
        let base = pair.l.agent.pair(selected(&pair)).unwrap().base;
        let faster = pair.l.agent.pairs().find(|one| one.is_valid && one.base != base).unwrap();
        let (faster, ip) = (faster.id, faster.base.ip());
        let (host, used) = (pair.host(SideName::L), base.ip());
        pair.network.set_default_link(Link::with_delay(ms(1)));
        pair.network.set_interface_link(host, used, Direction::Out, Some(Link::with_delay(ms(60)))).unwrap();
        pair.network.set_interface_link(host, ip, Direction::Out, Some(Link::with_delay(ms(delay)))).unwrap();
        pair.run_for(secs(300));
        assert_eq!(selected(&pair) == faster, moves, "{delay} ms");
        assert_eq!(pair.l.selections(), 1 + usize::from(moves));
        assert!(pair.agrees());
    }
}

/// S067
#[test]
fn when_the_network_in_use_becomes_costly_the_session_moves_to_the_cheap_one_once() {
    let mut pair = connected(setup("cost").addresses(2, 1).renomination(Renomination::Draft2016));
    let stream = pair.stream();
    let (used, id) = pair.l.agent.pair(selected(&pair)).map(|one| (one.base, one.local_id)).unwrap();
    let now = pair.now();
    pair.l.agent.set_network_cost(now, stream, id, 900).unwrap();
    pair.drain(SideName::L);
    pair.run_for(secs(1));
    assert_ne!(pair.l.agent.pair(selected(&pair)).unwrap().base, used);
    assert_eq!(pair.l.selections(), 2);
    pair.run_for(secs(120));
    assert!(pair.l.selections() == 2 && pair.agrees());
    let cost = pair.l.agent.local_candidates(stream).find(|local| local.id == id).unwrap();
    assert_eq!(cost.candidate.extension("network-cost"), Some("900"));
}
