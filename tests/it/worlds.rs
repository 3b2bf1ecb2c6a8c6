//! Random worlds, and what an agent says of its own deadlines.

use std::panic::catch_unwind;

use nilas::sim::{Expected, Fault, Link, Op, Pair, PairSetup, Peer, SideName, SideSetup, World};
use nilas::{ComponentId, ConnectionState, Instant, Renomination, Role, TcpType};

use crate::help::{ms, secs, setup};

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

/// A session with all that happens to one: it connects, is restarted, loses its consent, and is restarted again. How far it has
/// come after each of that, in words: states, what is selected, and how much data arrives.
fn story(setup: &PairSetup, follows_timer: bool) -> (Vec<String>, Vec<Option<Instant>>) {
    let mut setup = setup.clone();
    setup.follows_timer = follows_timer;
    let mut pair = setup.build();
    let mut told = Vec::new();
    let mut tell = |pair: &mut Pair, what: &str| {
        for side in [SideName::L, SideName::R] {
            let selected = pair.peer(side).agent.selected_pair(pair.stream(), ComponentId::RTP);
            let selected = selected.map(|one| (one.local.kind(), one.remote.kind(), one.local.transport()));
            let before = pair.peer(side.other()).received.len();
            let is_sent = pair.send(side, b"\x80data").is_ok();
            pair.run_for(ms(500));
            let arrived = pair.peer(side.other()).received.len() - before;
            let states = progress(pair, side).1;
            told.push(format!("{what}: {side:?} {states:?} {selected:?}, sent {is_sent}, {arrived} arrived"));
        }
    };
    let stream = pair.stream();
    pair.run_for(secs(15));
    tell(&mut pair, "connected");
    pair.restart(SideName::L, stream);
    pair.run_for(secs(10));
    tell(&mut pair, "restarted");
    for side in [SideName::L, SideName::R] {
        pair.perform(&Op::Fault(Fault::Cut(side)));
    }
    pair.run_for(secs(45));
    tell(&mut pair, "cut");
    pair.perform(&Op::Fault(Fault::Mend));
    pair.restart(SideName::R, stream);
    pair.run_for(secs(30));
    tell(&mut pair, "mended and restarted");
    let states = [ConnectionState::Disconnected, ConnectionState::Failed];
    let reached = |peer: &Peer| states.map(|state| peer.reached(state));
    let times = [&pair.l, &pair.r].map(reached).concat();
    (told, times)
}

#[test]
fn whoever_follows_the_timer_alone_lives_through_the_same_session_over_udp_tcp_and_relays() {
    let over_tcp = |l: TcpType, r: TcpType| {
        let of = |tcp: TcpType| move |side: &mut SideSetup| (side.udp, side.tcp) = (false, vec![tcp]);
        setup("timer").left(of(l)).right(of(r))
    };
    let server = [192, 0, 2, 100].into();
    let relayed = || setup("timer").with_turn(server).left(|l| l.only_reaches = Some(server));
    let mut stories = vec![
        ("UDP", setup("timer")),
        ("UDP, 2x2, both controlling", setup("timer").addresses(2, 2).roles(Role::Controlling, Role::Controlling)),
        ("renomination of 2016", setup("timer").addresses(2, 1).renomination(Renomination::Draft2016)),
        ("renomination of 2026", setup("timer").addresses(2, 1).renomination(Renomination::Draft2026)),
        ("lite", setup("timer").right(|side| side.config = side.config.clone().with_lite(true))),
        ("TCP, active", over_tcp(TcpType::Active, TcpType::Passive)),
        ("TCP, passive", over_tcp(TcpType::Passive, TcpType::Active)),
        ("TCP, simultaneous open", over_tcp(TcpType::SimultaneousOpen, TcpType::SimultaneousOpen)),
        ("one relay", relayed().right(|r| r.servers.clear())),
        ("two relays", relayed().right(|r| r.only_reaches = Some(server))),
        ("two components of two streams", setup("timer").left(|l| l.components = 2).right(|r| r.components = 2)),
    ];
    if let Some((_, last)) = stories.last_mut() {
        last.streams = 2;
    }
    for (name, setup) in stories {
        let (always, by_timer) = (story(&setup, false), story(&setup, true));
        assert_eq!(always.0, by_timer.0, "{name}");
        assert!(
            always.0.iter().filter(|line| line.contains("sent true, 1 arrived")).count() >= 6,
            "{name}: {always:?}"
        );
        for (expected, found) in always.1.into_iter().zip(by_timer.1) {
            assert_eq!(expected.is_some(), found.is_some(), "{name}: {expected:?}, {found:?}");
            let Some((expected, found)) = expected.zip(found) else { continue };
            let difference = expected.saturating_duration_since(found).max(found.saturating_duration_since(expected));
            // Consent checks are 4 to 6 s apart by chance (RFC 7675 §5.1), and what is drawn is not the same.
            assert!(difference <= secs(6), "{name}: at {found:?}, and not at {expected:?}");
        }
    }
}
