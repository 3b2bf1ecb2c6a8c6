//! Every order of delivery, loss and duplication of small scenarios, walked on the real code.
//!
//! The network holds all packets. A step delivers one of them, loses one, delivers one and keeps a copy, or lets the next
//! timer run out. States that differ only in the order of what led to them are walked once. From every state in which a
//! walk ends the network heals, once with what was held back before and once after, and both sides must agree.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use nilas::sim::{Link, PacketId, Pair, PairSetup, SideName};
use nilas::{CandidatePairState, ConnectionState, Role};

use crate::help::{ms, secs, setup};

/// How much may still go wrong.
#[derive(Clone, Copy, Debug, Hash)]
struct Budget {
    steps: u8,
    losses: u8,
    copies: u8,
    ticks: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Deliver(PacketId),
    Lose(PacketId),
    Copy(PacketId),
    Tick,
}

/// A network that delivers only what it is told to.
fn hold(mut setup: PairSetup) -> Pair {
    setup.link = Link::with_delay(secs(3600));
    setup.build()
}

fn take(pair: &mut Pair, step: Step) {
    let now = pair.now();
    match step {
        Step::Deliver(packet) => assert!(pair.network.expedite(packet)),
        Step::Lose(packet) => assert!(pair.network.discard(packet)),
        Step::Copy(packet) => {
            let sent = *pair.network.packet(packet).unwrap();
            let payload = pair.network.in_flight().find(|(id, ..)| *id == packet).unwrap().2.to_vec();
            pair.network.send(sent.from, sent.source, sent.destination, &payload);
            assert!(pair.network.expedite(packet));
        }
        Step::Tick => {
            let at = pair.next_step().unwrap();
            pair.step_to(at);
            return;
        }
    }
    pair.step_to(now);
}

fn steps(pair: &Pair, budget: Budget) -> Vec<(Step, Budget)> {
    let Budget { steps, losses, copies, ticks } = budget;
    let mut found = Vec::new();
    if steps == 0 {
        return found;
    }
    let next = Budget { steps: steps - 1, ..budget };
    let mut payloads = BTreeSet::new();
    for (packet, _, payload) in pair.network.in_flight() {
        // Two copies of a packet are one choice.
        let sent = pair.network.packet(packet).unwrap();
        if !payloads.insert((sent.destination, payload)) {
            continue;
        }
        found.push((Step::Deliver(packet), next));
        if losses > 0 {
            found.push((Step::Lose(packet), Budget { losses: losses - 1, ..next }));
        }
        if copies > 0 {
            found.push((Step::Copy(packet), Budget { copies: copies - 1, ..next }));
        }
    }
    if ticks > 0 && pair.next_step().is_some_and(|at| pair.since_start(at) < secs(6)) {
        found.push((Step::Tick, Budget { ticks: ticks - 1, ..next }));
    }
    found
}

fn fingerprint(pair: &Pair, budget: Budget) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut flights: Vec<_> = pair
        .network
        .in_flight()
        .map(|(packet, _, payload)| (pair.network.packet(packet).map(|packet| packet.destination), payload.to_vec()))
        .collect();
    flights.sort();
    (budget, pair.now(), flights, format!("{:?}{:?}", pair.l.agent, pair.r.agent)).hash(&mut hasher);
    hasher.finish()
}

/// What holds in every state.
fn check(pair: &Pair) {
    for side in [SideName::L, SideName::R] {
        let agent = &pair.peer(side).agent;
        for one in agent.pairs().filter(|pair| pair.is_selected) {
            assert!(
                one.is_valid && one.is_nominated && one.state == CandidatePairState::Succeeded,
                "{side:?}: {one:?}"
            );
        }
        if agent.role() == Role::Controlling {
            let nominated = agent.pairs().filter(|pair| pair.is_nominated && pair.is_valid).count();
            assert!(nominated <= 1, "{side:?} has {nominated} nominated pairs");
        }
        assert_ne!(agent.state(), ConnectionState::Failed, "{side:?}");
    }
}

fn deliver_all(pair: &mut Pair) {
    let packets: Vec<_> = pair.network.in_flight().map(|(packet, ..)| packet).collect();
    for packet in packets {
        take(pair, Step::Deliver(packet));
    }
}

/// Lets the network heal; what was held back arrives first or last.
fn rest(pair: &Pair, is_late: bool) -> Pair {
    let mut pair = pair.clone();
    let held: Vec<_> = pair.network.in_flight().map(|(packet, ..)| packet).collect();
    pair.network.set_default_link(Link::with_delay(ms(5)));
    if !is_late {
        deliver_all(&mut pair);
    }
    pair.run_for(secs(12));
    for packet in held {
        if pair.network.in_flight().any(|(id, ..)| id == packet) {
            take(&mut pair, Step::Deliver(packet));
            pair.run_for(ms(20));
        }
    }
    pair.run_for(secs(2));
    pair
}

fn check_rest(pair: &Pair, is_late: bool) {
    let pair = rest(pair, is_late);
    check(&pair);
    assert!(pair.l.is_selected() && pair.r.is_selected(), "{:?} {:?}", pair.l.agent.state(), pair.r.agent.state());
    assert_ne!(pair.l.agent.role(), pair.r.agent.role());
    assert!(pair.agrees());
}

/// Says how a failure was reached.
struct Trail<'a>(&'a [Step]);

impl Drop for Trail<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("reached by {:?}", self.0);
        }
    }
}

/// Walks all states within the budget, at the most so many; gives how many there were.
fn explore(setup: PairSetup, budget: Budget, most: usize) -> usize {
    let mut seen = BTreeSet::new();
    let start = hold(setup);
    let mut open = vec![(start, budget, Vec::new())];
    let mut count = 0;
    while let Some((pair, budget, trail)) = open.pop() {
        let _trail = Trail(&trail);
        check(&pair);
        count += 1;
        let next = steps(&pair, budget);
        if next.is_empty() {
            check_rest(&pair, false);
            check_rest(&pair, true);
        }
        for (step, budget) in next {
            let mut after = pair.clone();
            let mut trail = trail.clone();
            trail.push(step);
            {
                let _trail = Trail(&trail);
                take(&mut after, step);
            }
            if seen.insert(fingerprint(&after, budget)) {
                open.push((after, budget, trail));
            }
        }
        if count >= most {
            break;
        }
    }
    count
}

/// Small enough to walk all of it.
const WHOLE: Budget = Budget { steps: 6, losses: 1, copies: 0, ticks: 1 };
/// Deeper, and not to the end.
const DEEP: Budget = Budget { steps: 8, losses: 1, copies: 1, ticks: 2 };

#[test]
fn one_pair_agrees_in_every_order_of_events() {
    let count = explore(setup("explore"), WHOLE, usize::MAX);
    assert!(count > 500, "{count} states");
    explore(setup("explore deeper"), DEEP, 500);
}

#[test]
fn a_conflict_of_roles_is_repaired_in_every_order_of_events() {
    for role in [Role::Controlling, Role::Controlled] {
        for name in ["explore roles", "explore other roles"] {
            explore(setup(name).roles(role, role), DEEP, 300);
        }
    }
}

#[test]
fn checks_before_the_description_are_made_up_for_in_every_order_of_events() {
    for is_left_late in [true, false] {
        let late = |side: &mut nilas::sim::SideSetup| side.description_delay = ms(120);
        let setup = setup("explore early");
        let setup = if is_left_late { setup.left(late) } else { setup.right(late) };
        explore(setup, Budget { ticks: 4, ..DEEP }, 400);
    }
}

/// A walk that takes any step.
fn walk(setup: PairSetup, seed: u64, length: usize) {
    let mut pair = hold(setup);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    let mut trail = Vec::new();
    for _ in 0..length {
        let all = steps(&pair, Budget { steps: 1, losses: 1, copies: 1, ticks: 1 });
        let Some((step, _)) = (!all.is_empty()).then(|| all[draw(all.len())]) else { break };
        // Losses and copies are the exception.
        if matches!(step, Step::Lose(_) | Step::Copy(_)) && draw(3) > 0 {
            continue;
        }
        trail.push(step);
        let _trail = Trail(&trail);
        take(&mut pair, step);
        check(&pair);
    }
    let _trail = Trail(&trail);
    check_rest(&pair, seed % 2 == 0);
}

#[test]
fn long_walks_with_several_pairs_end_in_agreement() {
    for seed in 0..80_u64 {
        walk(setup("walk").addresses(2, 2), seed, 40);
        walk(setup("walk roles").addresses(2, 1).roles(Role::Controlling, Role::Controlling), seed, 30);
        walk(setup("walk roles").addresses(1, 2).roles(Role::Controlled, Role::Controlled), seed, 30);
    }
}
