//! Paths in use: consent, health, and what happens when the network dies.

use nilas::sim::{Link, Pair, SideName, Wire};
use nilas::{
    ApplicationSelects, ComponentId, Config, ConnectionState, Event, PathHealth, Renomination, Role, SendError,
    StateReason,
};

use crate::help::{at, ms, requests, secs, setup, states};
use crate::solo::{Solo, host};

fn connected(name: &str) -> Pair {
    let mut pair = setup(name).build();
    assert!(pair.run_until_selected(secs(1)));
    pair
}

fn cut(pair: &mut Pair) {
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
}

fn mend(pair: &mut Pair) {
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.mend_both(l, r);
}

/// S084
/// Req: 7675-5.1-d
/// Req: 7675-5.1-f
/// Req: 7675-4-a
/// Req: 7675-5.1-k
#[test]
fn an_idle_pair_carries_consent_checks_every_4_to_6_seconds_and_nothing_else() {
    let mut pair = connected("idle");
    let before = pair.l.sent.len();
    pair.run_for(secs(600));
    let after: Vec<_> = pair.l.sent[before..].to_vec();
    let checks = requests(&after);
    let mut ids: Vec<_> = checks.iter().map(|(_, request, _)| request.id).collect();
    for two in checks.windows(2) {
        let gap = two[1].0.saturating_duration_since(two[0].0);
        assert!(gap >= secs(4) && gap <= secs(6), "{gap:?} between two checks");
        assert!(two[1].1.use_candidate, "the pair is nominated again");
    }
    assert!(checks.len() >= 100 && checks.len() <= 150);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), checks.len());
    let answers = after.iter().filter(|sent| matches!(Wire::decode(&sent.payload), Wire::Success { .. })).count();
    assert_eq!(answers + checks.len(), after.len());
    assert_eq!(states(&pair, SideName::L).last(), Some(&ConnectionState::Completed));
}

/// S003
/// S085
/// Req: 7675-5.1-a
/// Req: 7675-5.1-b
/// Req: proj-data-a
/// Req: proj-consent-a
/// Req: wpc-tstate-g
#[test]
fn a_dead_path_is_suspected_lost_and_at_30_seconds_forbidden() {
    let mut pair = connected("dead path");
    pair.run_for(secs(60));
    cut(&mut pair);
    let cut_at = pair.now();
    pair.run_for(secs(60));
    for peer in [&pair.l, &pair.r] {
        let health: Vec<_> = peer
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::PathHealthChanged { health, at, answered_at, .. } => Some((*health, *at, *answered_at)),
                _ => None,
            })
            .collect();
        assert_eq!(
            health.iter().map(|(health, ..)| *health).collect::<Vec<_>>(),
            [PathHealth::Suspect, PathHealth::Lost]
        );
        let (_, lost_at, answered_at) = health[1];
        assert!(lost_at.saturating_duration_since(cut_at) <= secs(10) + ms(50));
        assert_eq!(peer.reached(ConnectionState::Disconnected), Some(lost_at));
        let failed = peer.reached(ConnectionState::Failed).unwrap();
        assert_eq!(failed, answered_at + secs(30));
        assert_eq!(
            peer.agent.stream_state(pair.stream()),
            Some((ConnectionState::Failed, StateReason::ConsentExpired))
        );
        assert_eq!(peer.selections(), 2);
        let ended = peer.events.iter().position(|(_, event)| {
            matches!(event, Event::ConsentEnded { at, answered_at: Some(answer), is_revoked: false, .. }
                if *at == failed && *answer == answered_at)
        });
        let selected = peer.events.iter().rposition(|(_, event)| matches!(event, Event::SelectedPairChanged { .. }));
        let state = peer.events.iter().rposition(|(_, event)| matches!(event, Event::StreamStateChanged { .. }));
        assert!(ended.is_some() && ended < selected && selected < state, "{ended:?} {selected:?} {state:?}");
        assert!(peer.sent.iter().all(|sent| sent.at < failed), "nothing is sent any more");
    }
    assert_eq!(pair.send(SideName::L, b"late"), Err(SendError::Failed));
}

/// Req: 7675-5.1-b
#[test]
fn data_is_refused_from_the_instant_of_expiry_even_before_a_timer_is_called() {
    let mut pair = connected("instant of expiry");
    pair.run_for(secs(20));
    let answered =
        pair.l.sent.iter().rev().find_map(|sent| Wire::decode(&sent.payload).request().map(|_| sent.at)).unwrap()
            + ms(50);
    cut(&mut pair);
    let mut agent = pair.l.agent.clone();
    let mut buffer = Vec::new();
    let stream = pair.stream();
    let mut send =
        |agent: &mut nilas::Agent, at| agent.send(at, stream, ComponentId::RTP, b"x", &mut buffer).map(|_| ());
    assert_eq!(send(&mut agent, answered + secs(30) - ms(1)), Ok(()));
    assert_eq!(send(&mut agent, answered + secs(30)), Err(SendError::ConsentLost));
}

/// S086
/// Req: wpc-tstate-f
#[test]
fn an_answer_before_the_expiry_heals_everything() {
    let mut pair = connected("healed");
    pair.run_for(secs(30));
    cut(&mut pair);
    pair.run_for(secs(20));
    assert_eq!(pair.l.agent.state(), ConnectionState::Disconnected);
    mend(&mut pair);
    pair.run_for(secs(2));
    for side in [SideName::L, SideName::R] {
        use ConnectionState::{Checking, Completed, Connected, Disconnected};
        assert_eq!(states(&pair, side), [Checking, Connected, Completed, Disconnected, Completed]);
        assert_eq!(pair.peer(side).selections(), 1);
    }
    assert!(pair.agrees());
}

#[test]
fn a_short_outage_goes_unnoticed_or_is_only_suspected() {
    for outage in [1, 3, 8] {
        let mut pair = connected("outage");
        pair.run_for(secs(20));
        cut(&mut pair);
        pair.run_for(secs(outage));
        mend(&mut pair);
        pair.run_for(secs(20));
        assert!(!states(&pair, SideName::L).contains(&ConnectionState::Failed));
        assert!(pair.l.agent.state().is_connected() && pair.r.agent.state().is_connected());
    }
}

/// S088
#[test]
fn a_third_of_the_packets_lost_for_5_minutes_disconnects_nobody() {
    let mut suspicions = 0;
    for seed in 0..100 {
        let link = Link { loss: 0.3, ..Link::with_delay(ms(25)) };
        let mut pair = nilas::sim::PairSetup::new(nilas::Seed::from_number(seed)).link(link).build();
        assert!(pair.run_until_selected(secs(30)));
        pair.run_for(secs(300));
        for side in [SideName::L, SideName::R] {
            assert!(!states(&pair, side).contains(&ConnectionState::Disconnected), "seed {seed}");
            let events = &pair.peer(side).events;
            suspicions += events.iter().filter(|(_, event)| matches!(event, Event::PathHealthChanged { .. })).count();
        }
    }
    println!("100 pairs, 5 min at 30% loss: {suspicions} changes between healthy and suspect, no disconnect");
    assert!(suspicions > 0);
}

/// S095
/// Req: 7675-5.1-l
#[test]
fn data_of_the_peer_holds_off_the_loss_but_not_the_end_of_consent() {
    let mut pair = connected("data only");
    pair.run_for(secs(40));
    pair.network.set_hook(|packet| match Wire::decode(packet.payload) {
        Wire::Data(_) => nilas::sim::Verdict::Pass,
        _ => nilas::sim::Verdict::Drop,
    });
    let start = pair.now();
    while pair.now() < start + secs(40) {
        let is_sent = pair.send(SideName::R, b"still here").is_ok();
        pair.run_for(ms(500));
        if is_sent {
            let (now, stream) = (pair.now(), pair.stream());
            pair.l.agent.application_received(now, stream, ComponentId::RTP).unwrap();
            pair.drain(SideName::L);
        }
    }
    use ConnectionState::{Checking, Completed, Connected, Disconnected, Failed};
    assert_eq!(states(&pair, SideName::L), [Checking, Connected, Completed, Failed]);
    assert_eq!(states(&pair, SideName::R), [Checking, Connected, Completed, Disconnected, Failed]);
}

/// Two addresses of R, both valid for both sides, and nobody nominates.
fn with_spare(name: &str) -> Pair {
    let patient = Config::default().with_nomination_policy(std::sync::Arc::new(nilas::ApplicationNominates));
    let mut pair = setup(name).addresses(1, 2).left(|l| l.config = patient).build();
    pair.run_for(secs(1));
    assert!([&pair.l, &pair.r].iter().all(|peer| peer.agent.pairs().filter(|pair| pair.is_valid).count() == 2));
    pair
}

/// The pair that L does not use.
fn spare(pair: &Pair) -> nilas::PairView<'_> {
    let used = pair.l.agent.usable_pair(pair.stream(), ComponentId::RTP).unwrap().id;
    pair.l.agent.pairs().find(|pair| pair.is_valid && pair.id != used).unwrap()
}

/// Req: 7675-5.1-a
/// Req: 7675-5.1-k
#[test]
fn a_pair_that_was_idle_for_minutes_is_asked_at_once_when_it_is_nominated() {
    let mut pair = with_spare("idle spare");
    pair.run_for(secs(300));
    let (spare, now) = (spare(&pair).id, pair.now());
    pair.l.agent.nominate(now, spare).unwrap();
    pair.drain(SideName::L);
    // R takes it, and its own consent is that old.
    pair.run_for(ms(26));
    assert!(pair.r.is_selected());
    assert_eq!(pair.send(SideName::R, b"too early"), Err(SendError::ConsentLost));
    let asked = requests(&pair.r.sent).last().unwrap().0;
    assert_eq!(asked, now + ms(25));
    pair.run_for(ms(50));
    assert!(pair.send(SideName::R, b"now").is_ok() && pair.send(SideName::L, b"now").is_ok());
    pair.run_for(secs(60));
    assert!(pair.agrees());
    assert_eq!((pair.l.selections(), pair.r.selections()), (1, 1));
    let is_doubt = |event: &Event| matches!(event, Event::PathHealthChanged { .. });
    assert!(!pair.l.events.iter().chain(&pair.r.events).any(|(_, event)| is_doubt(event)));
}

/// Req: 7675-5.1-a
#[test]
fn a_pair_that_was_idle_and_does_not_answer_gets_as_long_as_any_other() {
    let mut pair = with_spare("dead spare");
    pair.run_for(secs(300));
    let (spare, now, stream) = (spare(&pair).id, pair.now(), pair.stream());
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.l.agent.nominate(now, spare).unwrap();
    pair.drain(SideName::L);
    // R hears the nomination, and nothing after.
    pair.network.cut(r, l);
    pair.run_for(ms(26));
    pair.network.cut(l, r);
    let taken = now + ms(25);
    pair.run_for(secs(60));
    let health: Vec<_> = pair
        .r
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::PathHealthChanged { health, at, .. } => Some((*health, *at)),
            _ => None,
        })
        .collect();
    assert_eq!(health[..2], [(PathHealth::Suspect, taken + ms(500)), (PathHealth::Lost, taken + secs(10))]);
    let gone = pair.r.events.iter().rev().find_map(|(_, event)| match event {
        Event::SelectedPairChanged { pair: None, at, .. } => Some(*at),
        _ => None,
    });
    assert_eq!(gone, Some(taken + secs(30)));
    assert!(pair.r.agent.selected_pair(stream, ComponentId::RTP).is_none());
}

/// Req: 7675-5.1-b
/// Req: wpc-tstate-g
#[test]
fn when_consent_ends_on_one_pair_another_valid_one_carries_on() {
    let mut pair = with_spare("spare");
    pair.run_for(secs(120));
    let (spare, stream) = (spare(&pair).id, pair.stream());
    let used = pair.l.agent.usable_pair(stream, ComponentId::RTP).unwrap().remote.socket_address().unwrap();
    pair.network.set_hook(move |packet| {
        let is_dead = [packet.source, packet.destination].contains(&used);
        if is_dead { nilas::sim::Verdict::Drop } else { nilas::sim::Verdict::Pass }
    });
    pair.run_for(secs(300));
    for peer in [&pair.l, &pair.r] {
        assert_eq!(peer.agent.state(), ConnectionState::Connected);
        assert_eq!(peer.agent.pairs().filter(|pair| pair.is_valid).count(), 1);
    }
    assert_eq!(pair.l.agent.usable_pair(stream, ComponentId::RTP).map(|pair| pair.id), Some(spare));
    assert!(pair.send(SideName::L, b"on the spare").is_ok() && pair.send(SideName::R, b"too").is_ok());
}

/// Req: 7675-5.1-b
#[test]
fn a_nomination_ends_with_the_consent_on_its_pair() {
    let mut pair = setup("nomination").build();
    pair.run_for(ms(51));
    cut(&mut pair);
    pair.run_for(secs(60));
    assert_eq!(pair.l.reached(ConnectionState::Failed), Some(at(39_500)));
    let last = requests(&pair.l.sent).last().unwrap().0;
    assert!(last < at(30_050), "{last:?}");
    assert_eq!(pair.l.agent.pairs().filter(|pair| pair.is_valid || pair.is_nominated).count(), 0);
}

/// Req: 7675-5.1-b
#[test]
fn between_the_timer_and_the_next_poll_nothing_is_sent_either() {
    let mut pair = connected("between");
    pair.run_for(secs(20));
    cut(&mut pair);
    let (mut agent, stream) = (pair.l.agent.clone(), pair.stream());
    let late = pair.now() + secs(40);
    agent.handle_timeout(late);
    let mut buffer = Vec::new();
    assert_eq!(agent.send(late, stream, ComponentId::RTP, b"x", &mut buffer), Err(SendError::ConsentLost));
    // Nobody has looked at the clock for 40 s: the path is asked once, and all else waits for the answer.
    assert!(agent.poll_transmit(late, &mut buffer).is_some());
    assert!(Wire::decode(&buffer).request().is_some());
    assert!(agent.poll_transmit(late, &mut buffer).is_none());
    assert_eq!(agent.send(late, stream, ComponentId::RTP, b"x", &mut buffer), Err(SendError::ConsentLost));
}

/// S097
#[test]
fn after_an_hour_of_sleep_the_path_is_asked_at_once_without_a_storm_and_goes_on() {
    let mut pair = connected("sleep");
    pair.run_for(secs(20));
    let before = [pair.l.sent.len(), pair.r.sent.len()];
    let hour = pair.now() + secs(3600);
    // Nobody looks at the clock for an hour: no timer is called, and what was in flight is late.
    pair.network.advance_to(hour);
    let woken = pair.now();
    pair.run_for(ms(200));
    assert_eq!(pair.send(SideName::L, b"awake"), Ok(()));
    pair.run_for(secs(10));
    for (side, before) in [SideName::L, SideName::R].into_iter().zip(before) {
        let sent = &pair.peer(side).sent[before..];
        let checks: Vec<_> = requests(sent).into_iter().filter(|(at, ..)| *at < woken + secs(1)).collect();
        assert_eq!(checks.len(), 1, "one check on waking up");
        assert_eq!(checks[0].0, woken);
        use ConnectionState::{Checking, Completed, Connected};
        assert_eq!(states(&pair, side), [Checking, Connected, Completed]);
    }
}

/// Req: 7675-5.1-a
#[test]
fn after_sleep_no_data_goes_out_before_an_answer_and_a_dead_path_is_still_noticed() {
    let mut pair = connected("sleep and death");
    pair.run_for(secs(40));
    cut(&mut pair);
    let hour = pair.now() + secs(3600);
    pair.network.advance_to(hour);
    pair.run_for(ms(100));
    assert_eq!(pair.send(SideName::L, b"x"), Err(SendError::ConsentLost));
    pair.run_for(secs(31));
    assert_eq!(pair.l.agent.state(), ConnectionState::Failed);
}

#[test]
fn a_change_of_the_network_asks_at_once_and_only_once() {
    let mut pair = connected("network change");
    pair.run_for(secs(10));
    let (now, before) = (pair.now(), pair.l.sent.len());
    pair.l.agent.network_changed(now);
    pair.l.agent.network_changed(now);
    pair.drain(SideName::L);
    pair.run_for(secs(3));
    let checks = requests(&pair.l.sent[before..]);
    assert_eq!(checks.len(), 1);
    assert_eq!(checks[0].0, now);
}

/// S099
/// Req: 8445-7.2.5.2.2-a
#[test]
fn a_send_error_brings_a_check_and_fails_nothing() {
    let mut pair = connected("send error");
    pair.run_for(secs(10));
    let (now, before, events) = (pair.now(), pair.l.sent.len(), pair.l.events.len());
    let (here, there) = (pair.l.sockets()[0], pair.r.sockets()[0]);
    pair.l.agent.handle_send_error(now, here, there);
    pair.l.agent.handle_send_error(now, here, "192.0.2.1:9".parse().unwrap());
    pair.drain(SideName::L);
    assert_eq!(requests(&pair.l.sent[before..]).len(), 1, "it is asked at once");
    pair.run_for(secs(20));
    assert_eq!(pair.l.events[events..], [], "its answer came: nothing was to be suspected");
    assert_eq!(pair.l.agent.state(), ConnectionState::Completed);
}

/// A nomination of a pair that was watched in reserve is answered after its last consent check.
///
/// Req: 7675-5.1-b
#[test]
fn consent_ends_30_seconds_after_the_answer_that_is_told_whatever_other_checks_were_answered_since() {
    for draft in [Renomination::Draft2016, Renomination::Draft2026] {
        let policy = std::sync::Arc::new(ApplicationSelects);
        let config = Config::default().with_selection_policy(policy);
        let mut pair = setup("answers of another kind").addresses(2, 1).renomination(draft).config(config).build();
        assert!(pair.run_until_selected(secs(1)));
        pair.run_for(secs(7));
        let stream = pair.stream();
        let first = pair.l.agent.selected_pair(stream, ComponentId::RTP).unwrap().id;
        let other = pair.l.agent.pairs().find(|one| one.is_valid && one.id != first).unwrap().id;
        let now = pair.now();
        pair.l.agent.nominate(now, other).unwrap();
        pair.drain(SideName::L);
        let is_used =
            |pair: &Pair| pair.l.agent.usable_pair(stream, ComponentId::RTP).is_some_and(|used| used.id == other);
        assert!(pair.run_until(secs(1), is_used));
        let nominated_at = pair.now();
        cut(&mut pair);
        pair.run_for(secs(45));
        let told: Vec<_> = pair
            .l
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::ConsentEnded { answered_at, at, pair, .. } => Some((*pair, answered_at.unwrap(), *at)),
                _ => None,
            })
            .collect();
        println!("{draft:?}: answered at {nominated_at:?}, ended {told:?}");
        assert!(told.iter().any(|(pair, answered_at, _)| *pair == other && *answered_at < nominated_at));
        assert!(told.iter().all(|(_, answered_at, at)| *answered_at + secs(30) == *at));
    }
}

/// Req: 7675-5.1-b
#[test]
fn a_late_answer_to_a_check_that_nominates_does_not_bring_back_what_consent_has_ended_for() {
    for draft in [None, Some(Renomination::Draft2016), Some(Renomination::Draft2026)] {
        let mut solo = Solo::with_consent(Role::Controlling, Config::default());
        solo.describe_as(draft, vec![host("203.0.113.1:6000")]);
        solo.answer();
        solo.run_for(ms(100));
        solo.answer();
        let is_selected = |solo: &Solo| solo.agent.selected_pair(solo.stream, ComponentId::RTP).is_some();
        assert!(is_selected(&solo), "{draft:?}");
        solo.take();
        solo.run_for(secs(31));
        assert!(!is_selected(&solo), "{draft:?}");
        let checks = solo.take_requests();
        assert!(draft == Some(Renomination::Draft2016) || checks.iter().any(|(_, check)| check.use_candidate));
        for (out, check) in checks {
            let answer = solo.success(check.id, out.source);
            solo.receive_at(out.destination, out.source, &answer);
            assert!(!is_selected(&solo), "{draft:?}");
            assert!(!solo.agent.state().is_connected(), "{draft:?}");
        }
    }
}
