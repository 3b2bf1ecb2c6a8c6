//! Networks that come after the session has begun.

use std::net::IpAddr;
use std::time::Duration;

use nilas::sim::{Pair, PairSetup, SideName};
use nilas::{CandidatePairState, Config, ConnectionState, Instant, NominationChoice, Renomination, Role, TcpType};

use crate::help::{ms, requests, secs, setup};

/// Both sides may still get candidates, so that neither fails.
fn open(name: &str) -> PairSetup {
    setup(name).left(|l| l.signals_end = false).right(|r| r.signals_end = false)
}

/// With this draft of renomination, or none.
fn by(setup: PairSetup, draft: Option<Renomination>) -> PairSetup {
    setup.left(|l| l.renomination = draft).right(|r| r.renomination = draft)
}

fn cut(setup: PairSetup) -> Pair {
    let mut pair = setup.build();
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    pair
}

/// Lets the network come at some time: how long it takes until both sides have selected.
fn mended(pair: &Pair, within: Duration) -> Option<Duration> {
    let mut pair = pair.clone();
    let (l, r, start) = (pair.host(SideName::L), pair.host(SideName::R), pair.now());
    pair.network.mend_both(l, r);
    pair.run_until_selected(within).then(|| {
        let time = pair.now().saturating_duration_since(start);
        pair.run_for(secs(2));
        let is_udp = pair.l.connections.is_empty();
        assert!(!is_udp || pair.agrees());
        time
    })
}

/// The worst over networks that come at all times from `from` to `to`, so far apart.
fn worst(mut pair: Pair, from: Duration, to: Duration, step: Duration, within: Duration) -> Duration {
    let mut worst = Duration::ZERO;
    pair.run_for(from);
    while pair.elapsed() < to {
        let time = mended(&pair, within);
        worst =
            worst.max(time.unwrap_or_else(|| panic!("not within {within:?} when it comes at {:?}", pair.elapsed())));
        pair.run_for(step);
    }
    worst
}

/// S064
/// Req: 8489-6.2.1-a
#[test]
fn a_network_that_comes_late_is_used_within_the_cap_two_round_trips_and_the_settle_window() {
    use Role::{Controlled, Controlling};
    for (roles, draft) in [
        ([Controlling, Controlled], None),
        ([Controlled, Controlling], Some(Renomination::Draft2016)),
        ([Controlling, Controlled], Some(Renomination::Draft2026)),
    ] {
        let pair = cut(by(open("late"), draft).roles(roles[0], roles[1]));
        let worst = worst(pair, ms(100), secs(70), ms(1370), ms(2500));
        println!("1 pair, {draft:?}: {worst:?}");
    }
    for (l, r) in [(2, 3), (8, 5)] {
        let pair = cut(open("late").addresses(l, r));
        let worst = worst(pair, ms(330), secs(60), ms(4210), ms(2500));
        println!("{l}x{r} pairs: {worst:?}");
    }
}

/// Req: 8489-6.2.1-a
#[test]
fn one_path_of_forty_that_comes_late_is_used_within_the_same_time() {
    let mut pair = open("one of forty").addresses(8, 5).build();
    let (left, right): (IpAddr, IpAddr) = ([198, 51, 100, 8].into(), [203, 0, 113, 5].into());
    let free = |from: Duration| {
        move |packet: &nilas::sim::Passing<'_>| {
            let ends = [packet.source.ip(), packet.destination.ip()];
            let has_come = packet.now >= Instant::ZERO + from;
            if has_come && ends.contains(&left) && ends.contains(&right) {
                nilas::sim::Verdict::Pass
            } else {
                nilas::sim::Verdict::Drop
            }
        }
    };
    let mut worst = Duration::ZERO;
    for time in [ms(2300), ms(9100), ms(20_700), ms(37_900), ms(39_400), ms(40_100), ms(41_900), ms(47_300)] {
        pair.network.set_hook(free(secs(100_000)));
        pair.run_for(time - pair.elapsed());
        let mut late = pair.clone();
        late.network.set_hook(free(time));
        assert!(late.run_until_selected(ms(2500)), "not when it comes at {time:?}");
        worst = worst.max(late.elapsed() - time);
    }
    println!("1 path of 40 pairs: {worst:?}");
}

/// Req: 8445-14.2-a
#[test]
fn however_many_pairs_are_silent_they_share_ta() {
    for (l, r) in [(8, 5), (10, 10)] {
        let mut pair = cut(open("shared").addresses(l, r));
        pair.run_for(secs(100));
        for side in [SideName::L, SideName::R] {
            let times: Vec<Instant> = requests(&pair.peer(side).sent).iter().map(|(at, ..)| *at).collect();
            let most = (0..95)
                .map(|from| {
                    let from = Instant::ZERO + secs(from);
                    times.iter().filter(|at| **at >= from && **at < from + secs(5)).count()
                })
                .max();
            println!("{l}x{r}: {} requests in 100 s, at most {most:?} in 5 s", times.len());
            // Those that leave for the first time meet those that are repeated.
            assert!(most <= Some(105), "{most:?}");
        }
    }
}

#[test]
fn pairs_are_looked_for_five_minutes_long_and_again_when_the_network_has_changed() {
    let mut pair = cut(open("long"));
    pair.run_for(secs(337));
    assert!(mended(&pair, ms(2500)).is_some());
    pair.run_for(secs(100));
    let before = pair.l.sent.len() + pair.r.sent.len();
    assert_eq!((pair.l.agent.poll_timeout(), pair.r.agent.poll_timeout()), (None, None));
    assert_eq!(mended(&pair, secs(60)), None);
    assert_eq!(pair.l.agent.state(), ConnectionState::Disconnected);
    let (l, r, now) = (pair.host(SideName::L), pair.host(SideName::R), pair.now());
    pair.network.mend_both(l, r);
    pair.l.agent.network_changed(now);
    pair.drain(SideName::L);
    assert!(pair.run_until_selected(ms(500)));
    assert!(pair.l.sent.len() + pair.r.sent.len() > before);
}

/// The better of two pairs is not checked first when the network comes, and wins all the same.
#[test]
fn a_network_that_comes_late_brings_the_best_pair() {
    for choice in [NominationChoice::Auto, NominationChoice::Last] {
        let config = Config::default().with_nomination_choice(choice);
        let mut pair = cut(open("best").addresses(2, 2).config(config));
        pair.run_for(secs(43));
        for _ in 0..22 {
            pair.run_for(ms(97));
            let mut late = pair.clone();
            let (l, r) = (late.host(SideName::L), late.host(SideName::R));
            late.network.mend_both(l, r);
            assert!(late.run_until_selected(ms(2500)));
            let best = late.l.agent.pairs().map(|pair| pair.priority).max();
            let selected = late.l.agent.selected_pair(late.stream(), nilas::ComponentId::RTP).unwrap();
            assert_eq!(Some(selected.priority), best, "when it comes at {:?}", pair.elapsed());
        }
    }
}

#[test]
fn a_relayed_path_that_comes_late_is_used() {
    let server = [192, 0, 2, 100].into();
    let setup =
        open("late relay").with_turn(server).left(|l| l.only_reaches = Some(server)).right(|r| r.servers.clear());
    let mut pair = setup.build();
    let (relay, r) = (pair.servers[0].host(), pair.host(SideName::R));
    pair.network.cut_both(relay, r);
    let mut worst = Duration::ZERO;
    pair.run_for(secs(5));
    for _ in 0..12 {
        pair.run_for(ms(5510));
        let mut late = pair.clone();
        late.network.mend_both(relay, r);
        assert!(late.run_until_selected(secs(3)), "when it comes at {:?}", pair.elapsed());
        worst = worst.max(late.elapsed() - pair.elapsed());
    }
    println!("a relayed pair: {worst:?}");
}

/// A connection has 10 s to open, in which the host tries by itself; then another one is opened.
#[test]
fn a_path_over_tcp_that_comes_late_is_used() {
    let setup = open("late tcp")
        .left(|l| (l.udp, l.tcp) = (false, vec![TcpType::Active]))
        .right(|r| (r.udp, r.tcp) = (false, vec![TcpType::Passive]));
    let mut pair = cut(setup);
    let mut worst = Duration::ZERO;
    for _ in 0..10 {
        pair.run_for(ms(6130));
        let time = mended(&pair, secs(13));
        worst = worst.max(time.unwrap_or_else(|| panic!("not when it comes at {:?}", pair.elapsed())));
    }
    println!("a pair over TCP: {worst:?}");
    assert!(pair.l.agent.pairs().all(|pair| pair.state == CandidatePairState::Failed));
}
