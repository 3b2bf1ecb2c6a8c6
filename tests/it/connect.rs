//! Two agents find each other: times, packets, and what loss does to them.

use std::collections::BTreeMap;
use std::time::Duration;

use nilas::sim::{Link, Pair, PairSetup, SideName, Verdict};
use nilas::{Config, ConnectionState, Renomination, Role, Seed};

use crate::help::{at, ms, packets, requests, secs, setup, states};

/// S001
#[test]
fn one_host_candidate_each_connects_in_six_packets() {
    let mut pair = setup("six packets").build();
    assert!(pair.run_until_selected(secs(1)));
    pair.run_for(ms(400));
    assert_eq!(packets(&pair), 6);
    assert_eq!((pair.l.selected_at(), pair.r.selected_at()), (Some(at(100)), Some(at(75))));
    for side in [SideName::L, SideName::R] {
        assert_eq!(pair.peer(side).reached(ConnectionState::Connected), Some(at(50)));
        assert_eq!(pair.peer(side).selections(), 1);
        assert_eq!(
            states(&pair, side),
            [ConnectionState::Checking, ConnectionState::Connected, ConnectionState::Completed]
        );
    }
    assert!(pair.agrees());
    let nominating = requests(&pair.l.sent).into_iter().filter(|(_, request, _)| request.use_candidate).count();
    assert_eq!((requests(&pair.l.sent).len(), nominating, requests(&pair.r.sent).len()), (2, 1, 1));
}

#[test]
fn the_times_of_selection_follow_the_delay() {
    // Between Ta / 2 and Ta the checks that the peer's trigger take a slot of their own (RFC 8445 §7.3.1.4).
    for delay in [0, 10, 25, 50, 100, 300] {
        let mut pair = setup("delays").link(Link::with_delay(ms(delay))).build();
        assert!(pair.run_until_selected(secs(5)));
        let nominated = (2 * delay).max(50);
        assert_eq!(pair.l.selected_at(), Some(at(nominated + 2 * delay)), "controlling at {delay} ms");
        assert_eq!(pair.r.selected_at(), Some(at(nominated + delay)), "controlled at {delay} ms");
        for peer in [&pair.l, &pair.r] {
            assert_eq!(peer.reached(ConnectionState::Connected), Some(at(2 * delay)), "data at {delay} ms");
        }
        assert!(pair.agrees());
    }
}

/// S082
/// Req: 8445-12.1-a
#[test]
fn data_flows_on_a_valid_pair_before_any_is_nominated() {
    let mut pair = setup("early data").build();
    assert!(!pair.run_until(ms(49), |pair| pair.l.agent.state().is_connected()));
    assert!(pair.send(SideName::L, b"too early").is_err());
    pair.run_to(at(50));
    assert!(!pair.l.is_selected() && !pair.r.is_selected());
    pair.send(SideName::L, b"from L").unwrap();
    pair.send(SideName::R, b"from R").unwrap();
    pair.run_to(at(75));
    assert_eq!(pair.l.received.iter().map(|data| &*data.payload).collect::<Vec<_>>(), [b"from R"]);
    assert_eq!(pair.r.received.iter().map(|data| &*data.payload).collect::<Vec<_>>(), [b"from L"]);
}

/// The time at which both sides have selected, in a network that loses packets.
fn time_to_select(seed: u64, addresses: u8, loss: f64) -> Duration {
    let link = Link { loss, ..Link::with_delay(ms(25)) };
    let mut pair = PairSetup::new(Seed::from_number(seed)).addresses(addresses, addresses).link(link).build();
    assert!(pair.run_until_selected(secs(30)), "seed {seed} has not connected");
    let time = pair.elapsed();
    pair.run_for(secs(3));
    assert!(pair.agrees(), "seed {seed} ends with two different pairs");
    time
}

fn print_distribution(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    println!("{name}: median {:?}, 90% {:?}, 95% {:?}, 99% {:?}, worst {:?}", at(50), at(90), at(95), at(99), at(100));
}

#[test]
fn thirty_percent_loss_delays_but_never_prevents_a_connection() {
    let mut times: Vec<Duration> = (0..1000).map(|seed| time_to_select(seed, 3, 0.3)).collect();
    print_distribution("3x3 candidates, 30% loss, 1000 seeds", &mut times);
    assert!(times[949] <= ms(2000), "95% within {:?}", times[949]);
    assert!(times[999] <= secs(4), "the worst within {:?}", times[999]);
}

/// Lets only the pair through that is checked last.
fn only_the_worst_pair_works(count: u8) -> Pair {
    let config = Config::default().with_max_pairs(usize::from(count) * usize::from(count));
    let mut pair = setup("the worst pair").addresses(count, count).config(config).build();
    let worst = [198, 51, 100, count].into();
    let other = [203, 0, 113, count].into();
    pair.network.set_hook(move |packet| {
        let ends = [packet.source.ip(), packet.destination.ip()];
        if ends.contains(&worst) && ends.contains(&other) { Verdict::Pass } else { Verdict::Drop }
    });
    pair
}

/// S056
/// S068
#[test]
fn the_worst_of_many_pairs_is_found_as_fast_as_ta_allows() {
    let mut cost = BTreeMap::new();
    for count in [3_u8, 10, 30] {
        let mut pair = only_the_worst_pair_works(count);
        let last_check = 50 * (u64::from(count) * u64::from(count) - 1);
        assert!(pair.run_until_selected(secs(60)));
        let limit = ms(last_check + 100) + ms(50);
        assert!(pair.elapsed() <= limit, "{count}x{count} took {:?}, allowed are {limit:?}", pair.elapsed());
        let before = packets(&pair);
        cost.insert(count, before);
        pair.run_for(secs(30));
        let more = packets(&pair) - before;
        println!(
            "{count}x{count}: selected at {:?} after {before} packets, {more} more in 30 s",
            pair.elapsed() - secs(30)
        );
        assert!(more <= 30, "{more} packets after the selection");
        assert!(pair.agrees());
    }
}

/// S002
/// Req: 8445-7.2.5.2.3-a
/// Req: 8445-7.2.5.4-a
/// Req: 8863-4-d
#[test]
fn two_agents_that_hear_nothing_fail_when_their_checks_are_over() {
    let mut pair = setup("nothing").build();
    let (l, r) = (pair.host(SideName::L), pair.host(SideName::R));
    pair.network.cut_both(l, r);
    pair.run_for(secs(60));
    for side in [SideName::L, SideName::R] {
        let sent: Vec<u64> = requests(&pair.peer(side).sent)
            .iter()
            .map(|(time, ..)| pair.since_start(*time).as_millis() as u64)
            .collect();
        let offset = sent[0];
        let schedule: Vec<u64> = sent.iter().map(|time| time - offset).collect();
        let expected: Vec<u64> = [0, 500].into_iter().chain((1500..39_500).step_by(2000)).collect();
        assert_eq!(schedule, expected);
        assert_eq!(pair.peer(side).reached(ConnectionState::Failed), Some(at(39500 + offset)));
        assert_eq!(pair.peer(side).selections(), 0);
    }
}

/// S004
#[test]
fn the_earliest_and_the_latest_clock_connect() {
    for nanos in [i64::MIN, -1, i64::MAX - 100_000_000_000] {
        let mut setup = setup("clocks");
        setup.epoch = nilas::Instant::from_nanos(nanos);
        let mut pair = setup.build();
        assert!(pair.run_until_selected(secs(1)));
        assert_eq!(pair.elapsed(), ms(100));
    }
}

/// S010
/// S011
/// Req: 8421-4-a
#[test]
fn ipv6_is_used_alone_and_preferred_to_ipv4() {
    for ips in [&["2001:db8::1", "2001:db8:1::1"][..], &["2001:db8::1", "2001:db8:1::1", "198.51.100.1", "203.0.113.1"]]
    {
        let mut setup = setup("v6");
        setup.l.addresses = ips.iter().step_by(2).map(|ip| ip.parse().unwrap()).collect();
        setup.r.addresses = ips.iter().skip(1).step_by(2).map(|ip| ip.parse().unwrap()).collect();
        let mut pair = setup.build();
        assert!(pair.run_until_selected(secs(1)));
        let selected = pair.l.agent.selected_pair(pair.stream(), nilas::ComponentId::RTP).unwrap();
        assert!(selected.base.is_ipv6());
        pair.run_for(secs(5));
        let to_v4 = requests(&pair.l.sent).iter().filter(|(.., sent)| sent.destination.is_ipv4()).count();
        assert!(to_v4 <= 1, "the IPv4 pair was checked {to_v4} times");
    }
}

/// S012
#[test]
fn different_families_have_no_compatible_pair() {
    let mut setup = setup("families");
    setup.r.addresses = vec!["2001:db8::1".parse().unwrap()];
    let mut pair = setup.build();
    pair.run_for(secs(60));
    for peer in [&pair.l, &pair.r] {
        assert_eq!(
            peer.agent.stream_state(pair.stream()),
            Some((ConnectionState::Failed, nilas::StateReason::NoCompatiblePair))
        );
        assert_eq!(peer.reached(ConnectionState::Failed), Some(at(39500)));
        assert!(peer.sent.is_empty());
    }
}

/// S007
#[test]
fn a_side_that_starts_long_after_the_other_connects() {
    for side in [SideName::L, SideName::R] {
        let late = |side: &mut nilas::sim::SideSetup| {
            side.start = secs(20);
            side.description_delay = ms(0);
        };
        let setup = if side == SideName::L { setup("late").left(late) } else { setup("late").right(late) };
        let mut pair = setup.build();
        pair.run_for(secs(19));
        assert!(!pair.l.agent.state().is_connected());
        assert!(pair.run_until_selected(secs(2)));
        assert!(pair.agrees());
    }
}

/// S015
#[test]
fn a_wrong_password_never_connects_and_harms_nothing() {
    let mut pair = setup("wrong password").right(|r| r.description_delay = secs(1000)).build();
    let mut wrong = pair.description(SideName::R, pair.stream());
    wrong.credentials.password = "wrong/password/wrong/pass".parse().unwrap();
    let (now, stream) = (pair.now(), pair.stream());
    pair.l.agent.set_remote_description(now, stream, &wrong).unwrap();
    pair.drain(SideName::L);
    pair.run_for(secs(60));
    assert!(pair.r.agent.stats().dropped(nilas::DropReason::BadIntegrity) > 0);
    assert!(!pair.l.agent.state().is_connected());
    assert_eq!((pair.l.selections(), pair.r.selections()), (0, 0));
    assert_eq!(pair.l.agent.pairs().filter(|pair| pair.is_valid).count(), 0);
    assert_ne!(pair.r.agent.state(), ConnectionState::Failed);
}

#[test]
fn roles_may_be_exchanged() {
    let mut pair = setup("swapped").roles(Role::Controlled, Role::Controlling).build();
    assert!(pair.run_until_selected(secs(1)));
    assert_eq!((pair.l.selected_at(), pair.r.selected_at()), (Some(at(75)), Some(at(100))));
}

/// Req: renom1-3-a
/// Req: renom2-3-b
#[test]
fn where_nominations_are_repeated_loss_moves_nobody_for_good_and_nobody_disconnects() {
    let mut moves = 0;
    for seed in 0..24 {
        let draft = if seed % 2 == 0 { Renomination::Draft2016 } else { Renomination::Draft2026 };
        let link = Link { loss: 0.3, ..Link::with_delay(ms(25)) };
        let setup = PairSetup::new(Seed::from_number(seed)).addresses(2, 2).link(link).renomination(draft);
        let mut pair = setup.build();
        assert!(pair.run_until_selected(secs(30)), "seed {seed} has not connected");
        pair.run_for(secs(300));
        for peer in [&pair.l, &pair.r] {
            assert_eq!(peer.reached(ConnectionState::Disconnected), None, "seed {seed}");
        }
        moves += pair.l.selections() - 1;
        pair.network.set_default_link(Link::with_delay(ms(25)));
        pair.run_for(secs(30));
        assert!(pair.agrees(), "seed {seed} ends with two different pairs");
    }
    println!("{moves} moves in 24 sessions of 5 minutes at 30 % loss");
    assert!(moves <= 12, "{moves} moves");
}
