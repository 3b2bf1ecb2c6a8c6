//! Random worlds, and what an agent says of its own deadlines.

use std::panic::catch_unwind;

use nilas::sim::{Expected, Link, Pair, PairSetup, SideName, World};
use nilas::{ComponentId, ConnectionState, Instant};

use crate::help::{ms, secs};

/// So many worlds in each run of the tests. `.ci/figures` runs 300, `cargo run --release --example worlds` as many as are wanted.
const WORLDS: u64 = 60;

/// Worlds beyond those that have found a fault, each of its own kind, or shown that the oracle was wrong.
const MENDED: [u64; 9] = [
    // Two pairs had one path, after a TCP peer had opened its connection anew.
    201, // The end of the candidates waited for the next call, after a restart while a relay was held.
    142, 179,
    // A NAT had given an address of one socket to another one, whose pair was taken for that of the first.
    176, // Without consent, the pair in use was left after 10 s for any other that had answered since.
    61, 81, 151, 235,
    // A NAT that had forgotten swapped the ports of two sockets, whose server then took the one for the other.
    120,
];

#[test]
fn random_worlds_end_as_their_topology_says() {
    let (mut connected, mut failed, mut stormy) = (0, 0, 0);
    let mut wrong = Vec::new();
    for seed in (0..WORLDS).chain(MENDED) {
        let Ok(outcome) = catch_unwind(|| World::new(seed).run()) else {
            wrong.push(seed);
            continue;
        };
        connected += u64::from(outcome.connected);
        failed += u64::from(!outcome.connected && outcome.verdict == Expected::Failed);
        stormy += u64::from(outcome.ops > 0);
    }
    assert_eq!(wrong, [], "these worlds do not end as they should");
    println!("{WORLDS} worlds, {stormy} with a storm: {connected} connected, {failed} failed as foreseen");
    assert!(connected > WORLDS / 2 && failed > WORLDS / 20 && stormy > WORLDS / 3);
}

/// S164
#[test]
fn a_world_is_the_same_each_time() {
    for seed in 0..10 {
        let digest = |world: &World| world.run().digest;
        assert_eq!(digest(&World::new(seed)), digest(&World::new(seed)), "seed {seed}");
    }
}

/// How far a side has come: when it was connected first, its states at last, and whether it has selected a pair.
fn progress(pair: &Pair, side: SideName) -> (Option<Instant>, Vec<String>) {
    let peer = pair.peer(side);
    let first =
        [ConnectionState::Connected, ConnectionState::Completed].into_iter().filter_map(|state| peer.reached(state));
    // Which of several pairs that is may depend on what comes first at one instant.
    let states = pair.streams().iter().map(|stream| {
        let is_selected = peer.agent.selected_pair(*stream, ComponentId::RTP).is_some();
        format!("{:?} {is_selected}", peer.agent.stream_state(*stream))
    });
    (first.min(), states.collect())
}

/// Runs a set-up with agents that are polled after each input, and with such that are polled when their timers say so: what
/// comes at one instant is then seen at once, and nothing may be seen later.
fn compare(seed: u64, setup: &PairSetup) {
    let run = |follows_timer: bool| {
        let mut setup = setup.clone();
        setup.follows_timer = follows_timer;
        // What is drawn by chance depends on how many packets there are.
        setup.link = Link::with_delay(setup.link.delay);
        let mut pair = setup.build();
        pair.run_for(secs(20));
        pair
    };
    let (always, by_timer) = (run(false), run(true));
    for side in [SideName::L, SideName::R] {
        let (expected, found) = (progress(&always, side), progress(&by_timer, side));
        assert_eq!(expected.1, found.1, "seed {seed}, {side:?}");
        assert_eq!(expected.0.is_some(), found.0.is_some(), "seed {seed}, {side:?}");
        if let Some((expected, found)) = expected.0.zip(found.0) {
            let difference = expected.saturating_duration_since(found).max(found.saturating_duration_since(expected));
            assert!(difference <= ms(200), "seed {seed}, {side:?}: connected at {found:?}, and not at {expected:?}");
        }
    }
}

#[test]
fn an_agent_that_is_polled_only_when_its_timer_says_so_gets_as_far() {
    let is_wrong = |seed: &u64| catch_unwind(|| compare(*seed, World::new(*seed).setup())).is_err();
    let wrong: Vec<u64> = (0..60).chain(MENDED).filter(is_wrong).collect();
    assert_eq!(wrong, [], "these worlds differ, or break an invariant");
}
