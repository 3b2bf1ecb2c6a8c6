//! Paths in use: consent, health, and what happens when the network dies.

use nilas::sim::{Link, Pair, SideName, Wire};
use nilas::{ComponentId, ConnectionState, Event, PathHealth, SendError, StateReason};

use crate::help::{ms, requests, secs, setup, states};

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
        assert!(!two[1].1.use_candidate);
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
