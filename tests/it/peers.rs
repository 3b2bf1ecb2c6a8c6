//! Peers that nominate in other ways than we do: both ends use one pair in the end, and nothing flaps.

use nilas::sim::{Link, Wire};
use nilas::{Config, ConnectionState, Event, NominationChoice, Role};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::help::{ms, requests, secs};
use crate::ops::packet_op;
use crate::wild::{Profile, World};

const SEEDS: u64 = 120;

/// Loses, delays, repeats and reorders.
fn rough() -> Link {
    let reordering = Link { reorder: 0.1, reorder_delay: ms(40), ..Link::with_delay(ms(20)) };
    Link { loss: 0.12, jitter: ms(30), duplicate: 0.1, ..reordering }
}

fn world(profile: Profile, seed: u64) -> World {
    let sizes = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 2)][seed as usize % 5];
    World::new(profile, seed, rough(), sizes, Config::default())
}

fn assert_agreement(world: &World, what: &str) {
    let ours = world.selected_addresses();
    assert!(ours.is_some(), "{what}: nothing is selected");
    assert_eq!(ours, world.wild.selected_addresses(), "{what}");
    assert_eq!(world.us.agent.state(), ConnectionState::Completed, "{what}");
}

/// Each selection is of a higher priority than the one before.
fn assert_upward(world: &World, what: &str) {
    let priorities: Vec<_> = world.selections().into_iter().map(|pair| world.priority(pair)).collect();
    assert!(priorities.windows(2).all(|two| two[0] < two[1]), "{what}: {priorities:?}");
    assert!(priorities.iter().all(Option::is_some), "{what}: {priorities:?}");
}

/// S070
/// Req: 5245-8.1.1-a
/// Req: 5245-8.1.2-a
#[test]
fn an_aggressive_peer_and_we_end_in_the_highest_pair_and_only_ever_move_upward() {
    for seed in 0..SEEDS {
        let mut world = world(Profile::Aggressive5245, seed);
        world.run_for(secs(40));
        let what = format!("seed {seed}");
        assert_agreement(&world, &what);
        assert_upward(&world, &what);
        assert!(requests(&world.us.sent).iter().all(|(_, request, _)| !request.use_candidate));
    }
}

#[test]
fn whatever_happens_to_packets_we_and_a_peer_of_the_field_end_on_one_pair() {
    let mut runner = TestRunner::deterministic();
    let scenario = proptest::collection::vec(packet_op(), 1..60);
    let profiles = [Profile::Aggressive5245, Profile::Controlled5245, Profile::Libwebrtc];
    for seed in 0..60 {
        let ops = scenario.new_tree(&mut runner).unwrap().current();
        let profile = profiles[seed as usize % profiles.len()];
        let mut world = World::new(profile, seed, Link::with_delay(ms(40)), (2, 2), Config::default());
        ops.iter().for_each(|op| world.perform(op));
        world.run_for(secs(60));
        assert_agreement(&world, &format!("{profile:?}, seed {seed}, {ops:?}"));
    }
}

/// Req: 5245-8.1.1-a
/// Req: 5245-8.1.2-a
#[test]
fn a_better_pair_that_succeeds_late_is_selected_after_completion() {
    let mut world = World::new(Profile::Aggressive5245, 1, Link::with_delay(ms(10)), (1, 2), Config::default());
    world.network.set_hook(|packet| {
        // The better address answers, and checks, 400 ms late.
        let is_slow = packet.source.ip() == std::net::IpAddr::from([203, 0, 113, 1]);
        if is_slow { nilas::sim::Verdict::Delay(ms(400)) } else { nilas::sim::Verdict::Pass }
    });
    world.run_for(ms(300));
    let first = world.selected_addresses().unwrap();
    assert_eq!(first.0.ip(), std::net::IpAddr::from([203, 0, 113, 2]));
    assert_eq!(world.us.agent.state(), ConnectionState::Completed);
    world.run_for(secs(3));
    assert_eq!(world.selected_addresses().unwrap().0.ip(), std::net::IpAddr::from([203, 0, 113, 1]));
    assert_eq!(world.selections().len(), 2);
    assert_agreement(&world, "late");
}

/// S070
#[test]
fn a_controlled_peer_of_rfc_5245_follows_our_regular_nomination() {
    for seed in 0..SEEDS {
        let mut world = world(Profile::Controlled5245, seed);
        world.run_for(secs(40));
        assert_agreement(&world, &format!("seed {seed}"));
        assert_eq!(world.selections().len(), 1, "seed {seed}");
    }
}

/// S070
/// Req: 5245-8.1.1-a
#[test]
fn a_peer_that_flags_all_checks_until_it_has_selected_is_followed() {
    for seed in 0..SEEDS {
        let mut world = world(Profile::Libwebrtc, seed);
        world.run_for(secs(20));
        let what = format!("seed {seed}");
        assert_agreement(&world, &what);
        assert_upward(&world, &what);
    }
}

/// S078
#[test]
fn a_peer_that_moves_to_a_lower_pair_and_nominates_it_again_is_followed() {
    for seed in 0..SEEDS {
        let mut world = world(Profile::Libwebrtc, seed);
        world.run_for(secs(20));
        let (before, count) = (world.selected_addresses(), world.selections().len());
        world.wild.move_down();
        world.run_for(secs(20));
        let what = format!("seed {seed}");
        assert_agreement(&world, &what);
        let has_moved = usize::from(world.selected_addresses() != before);
        assert_eq!(world.selections().len(), count + has_moved, "{what}: one step down, and no flapping");
    }
}

/// Req: 5245-8.1.1-a
#[test]
fn with_the_rule_of_rfc_5245_a_peer_that_moves_down_is_not_followed() {
    let config = Config::default().with_nomination_choice(NominationChoice::Highest);
    let mut world = World::new(Profile::Libwebrtc, 3, Link::with_delay(ms(20)), (1, 2), config);
    world.run_for(secs(5));
    let before = world.selected_addresses();
    assert!(before.is_some());
    world.wild.move_down();
    world.run_for(secs(20));
    assert_eq!(world.selected_addresses(), before);
    assert_ne!(world.wild.selected_addresses(), before);
}

/// S129
/// Req: 8445-6.1.1-a
/// Req: 5245-8.1.1-b
#[test]
fn a_lite_peer_uses_the_pair_that_we_nominate() {
    for seed in 0..SEEDS {
        let mut world = world(Profile::Lite, seed);
        assert_eq!(world.us.agent.role(), Role::Controlling, "seed {seed}");
        world.run_for(secs(40));
        let what = format!("seed {seed}");
        assert_agreement(&world, &what);
        assert_eq!(world.selections().len(), 1, "{what}");
        assert_eq!(world.wild.requests_sent, 0);
        let mut checked = std::collections::BTreeSet::new();
        for (_, request, sent) in requests(&world.us.sent) {
            let is_first = checked.insert((sent.source, sent.destination));
            assert!(!(is_first && request.use_candidate), "{what}: nominated before it was checked");
        }
    }
}

/// S131
#[test]
fn a_lite_peer_that_loses_the_first_nomination_gets_another() {
    let mut world = World::new(Profile::Lite, 0, Link::with_delay(ms(20)), (1, 1), Config::default());
    let lost = std::sync::atomic::AtomicBool::new(false);
    world.network.set_hook(move |packet| {
        let is_nomination = Wire::decode(packet.payload).request().is_some_and(|request| request.use_candidate);
        if is_nomination && !lost.swap(true, std::sync::atomic::Ordering::Relaxed) {
            return nilas::sim::Verdict::Drop;
        }
        nilas::sim::Verdict::Pass
    });
    world.run_for(ms(540));
    assert_eq!((world.selected_addresses(), world.wild.selected_addresses()), (None, None));
    world.run_for(ms(100));
    assert_agreement(&world, "second try");
}

/// Req: 8445-6.1.1-a
#[test]
fn a_controlled_agent_that_learns_of_a_lite_peer_takes_control_and_says_so() {
    let world = World::new(Profile::Lite, 1, Link::default(), (1, 1), Config::default());
    let changes: Vec<_> = world
        .us
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::RoleChanged { role, .. } => Some(*role),
            _ => None,
        })
        .collect();
    assert_eq!(changes, [Role::Controlling]);
}
