//! Pairs in reserve, failed pairs that come to work, and where data goes when a path dies: without a restart.

use std::net::IpAddr;
use std::time::Duration;

use nilas::sim::{Pair, PairSetup, SideName, SideSetup};
use nilas::{
    ComponentId, Config, ConnectionState, Event, Instant, PairView, PathHealth, Renomination, SocketOptions, Transport,
};

use crate::help::{ms, requests, secs, setup};

const DRAFT: Renomination = Renomination::Draft2016;

fn selected(pair: &Pair, side: SideName) -> PairView<'_> {
    pair.peer(side).agent.selected_pair(pair.stream(), ComponentId::RTP).expect("a pair is selected")
}

/// Two agents that take several nominations; the left one has two interfaces.
fn two_ways(name: &str) -> PairSetup {
    setup(name).addresses(2, 1).renomination(DRAFT)
}

fn connected(setup: PairSetup) -> Pair {
    let mut pair = setup.build();
    assert!(pair.run_until_selected(secs(3)));
    pair.run_for(secs(2));
    pair
}

/// Cuts the interface of the left side that the selected pair uses.
fn cut_selected(pair: &mut Pair) -> IpAddr {
    let ip = selected(pair, SideName::L).base.ip();
    let host = pair.host(SideName::L);
    pair.network.set_interface_up(host, ip, false).unwrap();
    ip
}

/// Runs with data both ways each 20 ms; gives the longest time in which nothing arrived, on each side.
fn longest_gaps(pair: &mut Pair, time: Duration) -> [Duration; 2] {
    let end = pair.now() + time;
    let mut last = [pair.now(); 2];
    let mut longest = [Duration::ZERO; 2];
    let mut seen = [pair.l.received.len(), pair.r.received.len()];
    while pair.now() < end {
        let _ = pair.send(SideName::L, b"from l");
        let _ = pair.send(SideName::R, b"from r");
        pair.run_for(ms(20));
        let received = [&pair.l.received, &pair.r.received];
        for (side, received) in received.into_iter().enumerate() {
            if received.len() > seen[side] {
                seen[side] = received.len();
                last[side] = pair.now();
            }
            longest[side] = longest[side].max(pair.now().saturating_duration_since(last[side]));
        }
    }
    longest
}

#[test]
fn without_consent_nobody_leaves_a_pair_for_one_that_comes_to_work_later() {
    for draft in [Renomination::Draft2016, Renomination::Draft2026] {
        let is_mute = |side: &mut SideSetup| side.config = side.config.clone().with_consent(false);
        let mut pair = two_ways("mute").renomination(draft).left(is_mute).right(is_mute).build();
        let (host, second) = (pair.host(SideName::L), pair.l.sockets()[1].ip());
        pair.network.set_interface_up(host, second, false).unwrap();
        assert!(pair.run_until_selected(secs(3)));
        // Longer than an answer lets a pair count as alive, and then as long as rounds of failed pairs are apart.
        pair.run_for(secs(12));
        pair.network.set_interface_up(host, second, true).unwrap();
        pair.run_for(secs(120));
        let valid = pair.l.agent.pairs().filter(|pair| pair.is_valid).count();
        assert_eq!((valid, pair.l.selections(), pair.r.selections()), (2, 1, 1), "{draft:?}");
        assert!(pair.agrees());
    }
}

/// S109
/// Req: renom2-3-c
#[test]
fn a_pair_in_reserve_is_asked_every_20_to_25_seconds() {
    let mut pair = connected(two_ways("reserve"));
    let used = selected(&pair, SideName::L).base;
    let before = pair.l.sent.len();
    pair.run_for(secs(600));
    let later = pair.l.sent[before..].to_vec();
    let spare: Vec<Instant> =
        requests(&later).into_iter().filter(|(.., sent)| sent.source != used).map(|(at, ..)| at).collect();
    assert!((24..=31).contains(&spare.len()), "{} checks in 10 minutes", spare.len());
    for two in spare.windows(2) {
        let gap = two[1].saturating_duration_since(two[0]);
        assert!(gap >= secs(20) && gap <= secs(25) + ms(50), "{gap:?}");
    }
    assert_eq!(pair.l.selections(), 1);
}

/// Req: renom2-3-c
#[test]
fn by_the_later_draft_kept_pairs_are_asked_as_often_as_consent_wants() {
    let config = Config::default().with_standby_pairs(3);
    let mut pair = connected(setup("kept").addresses(2, 2).config(config).renomination(Renomination::Draft2026));
    let (used, far) = (selected(&pair, SideName::L).base, selected(&pair, SideName::L).remote_address);
    let before = pair.l.sent.len();
    pair.run_for(secs(60));
    let later = pair.l.sent[before..].to_vec();
    let mut by_path = std::collections::BTreeMap::<_, Vec<Instant>>::new();
    for (at, _, sent) in requests(&later) {
        by_path.entry((sent.source, sent.destination)).or_default().push(at);
    }
    by_path.remove(&(used, far));
    assert_eq!(by_path.len(), 3);
    for (path, checks) in by_path {
        let gaps = checks.windows(2).map(|two| two[1].saturating_duration_since(two[0]));
        assert!(gaps.clone().count() >= 8, "{path:?}");
        for gap in gaps {
            assert!(gap >= secs(4) && gap <= secs(6) + ms(150), "{path:?}: {gap:?}");
        }
    }
}

/// S109
/// S107
#[test]
fn when_the_selected_path_dies_a_pair_in_reserve_takes_over_without_a_restart() {
    for seed in 0..20 {
        let mut pair = connected(two_ways(&format!("failover {seed}")));
        pair.run_for(ms(731 * seed));
        let dead = cut_selected(&mut pair);
        let cut_at = pair.now();
        let moved = |pair: &Pair| {
            [SideName::L, SideName::R].iter().all(|side| {
                let one = selected(pair, *side);
                one.base.ip() != dead && one.remote_address.ip() != dead
            })
        };
        assert!(pair.run_until(secs(12), moved), "seed {seed}");
        let suspected = pair
            .l
            .events
            .iter()
            .filter_map(|(at, event)| {
                let is_it = matches!(event, Event::PathHealthChanged { health: PathHealth::Suspect, .. });
                (is_it && *at > cut_at).then_some(*at)
            })
            .next();
        let since = pair.now().saturating_duration_since(suspected.expect("it was suspected"));
        assert!(since <= secs(3), "seed {seed}: {since:?} after the suspicion");
        assert!(pair.agrees());
        assert_eq!(pair.l.reached(ConnectionState::Disconnected), None, "seed {seed}");
        assert_eq!(pair.r.reached(ConnectionState::Disconnected), None, "seed {seed}");
        pair.run_for(secs(60));
        assert!(pair.agrees());
        assert_eq!(pair.l.agent.generation(pair.stream()), Some(0));
    }
}

/// S108
#[test]
fn when_the_host_says_that_an_interface_is_gone_the_other_is_in_use_after_one_round_of_checks() {
    let mut pair = connected(two_ways("interface"));
    let dead = cut_selected(&mut pair);
    let (stream, now) = (pair.stream(), pair.now());
    let gone = pair.l.agent.local_candidates(stream).find(|one| one.base.ip() == dead).unwrap().id;
    pair.l.agent.remove_local_candidate(now, stream, gone).unwrap();
    pair.drain(SideName::L);
    let [gap_l, gap_r] = longest_gaps(&mut pair, secs(3));
    assert!(gap_l <= ms(300) && gap_r <= ms(300), "{gap_l:?} {gap_r:?}");
    assert!(pair.agrees());
    assert_eq!(pair.l.reached(ConnectionState::Disconnected), None);
}

/// S110
/// S111
#[test]
fn a_better_pair_that_comes_to_work_is_used_within_the_back_off_and_at_once_when_the_network_changed() {
    for is_told in [false, true] {
        let mut setup = two_ways("upgrade");
        setup.l.addresses = vec!["198.51.100.1".parse().unwrap()];
        let mut pair = setup.build();
        // A costly way works from the start, the free one only later.
        let (host, costly): (_, IpAddr) = (pair.host(SideName::L), "198.51.100.9".parse().unwrap());
        pair.network.add_interface(host, costly).unwrap();
        let stream = pair.stream();
        let now = pair.now();
        pair.network.set_interface_up(host, "198.51.100.1".parse().unwrap(), false).unwrap();
        let options = SocketOptions::default().with_network_cost(900).with_unreliable(true);
        let address = (costly, 7000).into();
        pair.l.agent.add_socket_with(now, stream, ComponentId::RTP, Transport::Udp, address, options).unwrap();
        pair.l.note_socket(address);
        pair.drain(SideName::L);
        assert!(pair.run_until_selected(secs(5)));
        pair.run_for(secs(600));
        assert_eq!(selected(&pair, SideName::L).base.ip(), costly);
        pair.network.set_interface_up(host, "198.51.100.1".parse().unwrap(), true).unwrap();
        let mended = pair.now();
        if is_told {
            pair.l.agent.network_changed(mended);
            pair.drain(SideName::L);
        }
        let is_better = |pair: &Pair| selected(pair, SideName::L).base.ip() != costly && pair.agrees();
        let within = if is_told { ms(500) } else { secs(61) };
        assert!(pair.run_until(within, is_better), "told {is_told}");
        let moves = pair.l.selections();
        pair.run_for(secs(300));
        assert_eq!(pair.l.selections(), moves, "and it stays there");
        assert!(pair.agrees());
    }
}

#[test]
fn failed_pairs_are_checked_again_with_a_back_off() {
    let mut setup = two_ways("back-off");
    setup.r.addresses = vec!["203.0.113.1".parse().unwrap(), "203.0.113.2".parse().unwrap()];
    let mut pair = setup.build();
    let r = pair.host(SideName::R);
    // The first address of R can be reached by nobody.
    let ip: IpAddr = "203.0.113.1".parse().unwrap();
    pair.network.set_interface_up(r, ip, false).unwrap();
    assert!(pair.run_until_selected(secs(10)));
    pair.run_for(secs(60));
    let before = pair.l.sent.len();
    pair.run_for(secs(1200));
    let later = pair.l.sent[before..].to_vec();
    let probes = requests(&later).into_iter().filter(|(.., sent)| sent.destination.ip() == ip).count();
    // Two pairs, a check each a minute.
    assert!((36..=44).contains(&probes), "{probes} in 20 minutes");
    assert!(pair.agrees());
}

/// Req: 8445-12.2-b
#[test]
fn after_a_flap_nothing_oscillates() {
    let mut pair = connected(two_ways("flap"));
    for _ in 0..5 {
        let dead = cut_selected(&mut pair);
        pair.run_for(secs(15));
        let host = pair.host(SideName::L);
        pair.network.set_interface_up(host, dead, true).unwrap();
        pair.run_for(secs(45));
        assert!(pair.agrees());
    }
    assert!(pair.l.selections() <= 1 + 2 * 5, "{} selections", pair.l.selections());
    let before = pair.l.selections();
    pair.run_for(secs(300));
    assert_eq!(pair.l.selections(), before);
    assert_eq!(pair.l.agent.state(), ConnectionState::Completed);
}
