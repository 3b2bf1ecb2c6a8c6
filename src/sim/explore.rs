//! Every order of events of a small world, walked on the real code.
//!
//! The network holds all packets. A step lets one of them arrive, loses one, lets one arrive and keeps a copy, lets the next
//! timer run out, or takes one of a few letters of the [alphabet](super::Op), such as a restart. All sequences of such steps
//! within a [`Budget`] are walked on clones, and states of one canonical digest are one state, from which no step is taken
//! twice with the same budget or a smaller one. In every state the invariants of the simulator hold, and from every state in
//! which a walk ends the network heals, once with what was held back before and once after: then both sides agree, or both
//! have failed with a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use super::dice::Dice;
use super::digest::{Digester, SideDigest};
use super::link::Link;
use super::op::{Op, regression_test};
use super::pair::Pair;
use super::setup::{PairSetup, SideName};
use crate::types::after;
use crate::{CandidatePairState, ComponentId, ConnectionState, Role};

/// How much may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "plain input")]
pub struct Budget {
    /// Steps of whatever kind.
    pub steps: u8,
    /// Packets that are lost.
    pub losses: u8,
    /// Packets that arrive and are kept.
    pub copies: u8,
    /// Timers that run out.
    pub ticks: u8,
}

impl Budget {
    /// Whether whatever may happen with the other may happen with this one.
    const fn covers(self, other: Self) -> bool {
        self.steps >= other.steps
            && self.losses >= other.losses
            && self.copies >= other.copies
            && self.ticks >= other.ticks
    }
}

/// A small world.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SmallWorld {
    /// Its name.
    pub name: &'static str,
    /// Its set-up.
    pub setup: PairSetup,
    /// How long it runs undisturbed before.
    pub prelude: Duration,
    /// Letters that each may come once, at any time.
    pub actions: Vec<Op>,
    /// How much may happen.
    pub budget: Budget,
    /// Whether there is a path whatever happens: both sides then connect in the end.
    pub connects: bool,
    /// Whether both sides agree in the end, or both have failed. Otherwise each of them has connected or failed, which is all
    /// that can be said where one side was told something that the other does not know.
    pub agrees: bool,
    /// Timers run out that are due within this time after the prelude.
    pub horizon: Duration,
}

/// What an exploration has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explored {
    /// States of different digests.
    pub states: usize,
    /// Steps taken, to states that were known or not.
    pub steps: usize,
    /// States in which a walk has ended, and the network was healed.
    pub ends: usize,
    /// Whether there is nothing else within the budget.
    pub is_complete: bool,
}

/// A state to go on from.
#[derive(Debug)]
struct Open {
    pair: Pair,
    digest: u64,
    sides: [SideDigest; 2],
    budget: Budget,
    /// The letters that may still come, by their places.
    actions: u16,
    trail: Vec<Op>,
}

impl SmallWorld {
    /// A world of this set-up, without a prelude or letters of its own.
    #[must_use]
    pub const fn new(name: &'static str, setup: PairSetup, budget: Budget) -> Self {
        let (prelude, horizon) = (Duration::ZERO, Duration::from_secs(6));
        Self { name, setup, prelude, actions: Vec::new(), budget, connects: true, agrees: true, horizon }
    }

    /// The same after so much undisturbed time.
    #[must_use]
    pub const fn after(mut self, prelude: Duration) -> Self {
        self.prelude = prelude;
        self
    }

    /// The same with letters that each may come once.
    #[must_use]
    pub fn with_actions(mut self, actions: &[Op]) -> Self {
        self.actions = actions.to_vec();
        self
    }

    /// The same where it may be that there is no path in the end.
    #[must_use]
    pub const fn which_may_fail(mut self) -> Self {
        self.connects = false;
        self
    }

    /// The same where the sides may come to different ends.
    #[must_use]
    pub const fn which_may_disagree(mut self) -> Self {
        (self.connects, self.agrees) = (false, false);
        self
    }

    /// The same with another budget.
    #[must_use]
    pub const fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// The state in which the exploration begins: the network holds what is in the air.
    #[must_use]
    pub fn begin(&self) -> Pair {
        let mut setup = self.setup.clone();
        let held = Link::with_delay(Duration::from_secs(36_000));
        setup.link = if self.prelude.is_zero() { held } else { Link::with_delay(Duration::from_millis(5)) };
        let mut pair = setup.build();
        pair.run_for(self.prelude);
        pair.network.set_default_link(held);
        pair.network.set_trace_limit(0);
        pair.forget_logs();
        pair
    }

    /// Takes one step.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub fn step(pair: &mut Pair, op: &Op) {
        pair.perform(op);
        pair.perform(&Op::Advance(0));
        pair.forget_logs();
    }

    /// A test that goes one way alone.
    #[must_use]
    pub fn regression_test(&self, trail: &[Op]) -> String {
        let make = format!("nilas::sim::SmallWorld::named({:?}).expect(\"it exists\")", self.name);
        regression_test("a_way_through_a_small_world", &make, "replay(&ops)", trail)
    }

    /// Takes these steps, and lets the network heal from where they lead.
    ///
    /// # Panics
    /// If an invariant does not hold, or it ends where it should not.
    pub fn replay(&self, trail: &[Op]) {
        let mut pair = self.begin();
        for op in trail {
            Self::step(&mut pair, op);
            self.check(&pair);
        }
        for is_late in [false, true] {
            self.check_rest(&pair, is_late, &mut Digester::default(), &mut BTreeSet::new());
        }
    }

    /// Goes one long way, of steps that the seed chooses among all: losses and copies are the exception.
    ///
    /// # Panics
    /// If an invariant does not hold, or it ends where it should not.
    pub fn walk(&self, seed: u64, length: usize) {
        let mut dice = Dice::new(seed);
        let mut pair = self.begin();
        let end = after(pair.now(), self.horizon);
        let mut actions = self.all_actions();
        let mut trail = Vec::new();
        for _ in 0..length {
            let budget = Budget { steps: 1, losses: 1, copies: 1, ticks: 1 };
            let all = self.next(&pair, budget, actions, end);
            let place = usize::try_from(dice.below(all.len() as u64)).unwrap_or(0);
            let Some((op, _, left)) = all.into_iter().nth(place) else { break };
            if matches!(op, Op::Drop(_) | Op::Duplicate(_)) && !dice.one_in(3) {
                continue;
            }
            actions = left;
            trail.push(op.clone());
            let _trail = Trail { world: self, trail: &trail };
            Self::step(&mut pair, &op);
            self.check(&pair);
        }
        let _trail = Trail { world: self, trail: &trail };
        self.check_rest(&pair, seed % 2 == 1, &mut Digester::default(), &mut BTreeSet::new());
    }

    /// The letters that may come, as a set of their places.
    fn all_actions(&self) -> u16 {
        u16::try_from((1_u32 << self.actions.len().min(15)) - 1).unwrap_or(u16::MAX)
    }

    /// One of the [`small_worlds`](super::small_worlds).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        super::small_worlds().into_iter().find(|world| world.name == name)
    }

    /// Walks all states within the budget, at the most so many.
    ///
    /// # Panics
    /// If an invariant does not hold, or a walk ends where it should not; how it was reached goes to standard error.
    #[must_use]
    pub fn explore(&self, most: usize) -> Explored {
        let mut digester = Digester::default();
        let mut seen: BTreeMap<(u64, u16), Vec<Budget>> = BTreeMap::new();
        let (mut states, mut ended, mut healed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut explored = Explored { is_complete: true, ..Explored::default() };
        let all = self.all_actions();
        let first = self.begin();
        let end = after(first.now(), self.horizon);
        let (digest, sides) = digester.digest_with(&first, [None, None]);
        let mut open =
            std::vec![Open { pair: first, digest, sides, budget: self.budget, actions: all, trail: Vec::new() }];
        while let Some(Open { pair, digest, sides, budget, actions, trail }) = open.pop() {
            let guard = Trail { world: self, trail: &trail };
            self.check(&pair);
            if states.len() >= most {
                explored.is_complete = false;
                break;
            }
            states.insert(digest);
            let next = self.next(&pair, budget, actions, end);
            if next.is_empty() && ended.insert(digest) {
                explored.ends += 1;
                for is_late in [false, true] {
                    self.check_rest(&pair, is_late, &mut digester, &mut healed);
                }
            }
            drop(guard);
            for (op, budget, actions) in next {
                explored.steps += 1;
                let mut after = pair.clone();
                let mut trail = trail.clone();
                // A packet concerns those who hear it alone.
                let known = if let Op::Deliver(place) | Op::Duplicate(place) = &op {
                    let heard = pair.network.hearer(usize::from(*place));
                    let is_heard = |side| heard.is_none_or(|host| host == pair.host(side));
                    let mut is_heard = [is_heard(SideName::L), is_heard(SideName::R)].into_iter();
                    sides.clone().map(|side| is_heard.next().is_some_and(|is_heard| !is_heard).then_some(side))
                } else if matches!(op, Op::Drop(_)) {
                    sides.clone().map(Some)
                } else {
                    [None, None]
                };
                trail.push(op);
                {
                    let guard = Trail { world: self, trail: &trail };
                    if let Some(op) = guard.trail.last() {
                        Self::step(&mut after, op);
                    }
                }
                let (digest, sides) = digester.digest_with(&after, known);
                let known = seen.entry((digest, actions)).or_default();
                if known.iter().any(|known| known.covers(budget)) {
                    continue;
                }
                known.retain(|known| !budget.covers(*known));
                known.push(budget);
                open.push(Open { pair: after, digest, sides, budget, actions, trail });
            }
        }
        explored.states = states.len();
        explored
    }

    /// What may happen next.
    fn next(&self, pair: &Pair, budget: Budget, actions: u16, end: crate::Instant) -> Vec<(Op, Budget, u16)> {
        let mut found = Vec::new();
        if budget.steps == 0 {
            return found;
        }
        let next = Budget { steps: budget.steps - 1, ..budget };
        let mut payloads = BTreeSet::new();
        for (place, (_, destination, payload)) in (0_u8..).zip(pair.network.in_flight_with_addresses()) {
            // Two copies of a packet are one choice.
            if !payloads.insert((destination, payload)) {
                continue;
            }
            found.push((Op::Deliver(place), next, actions));
            if budget.losses > 0 {
                found.push((Op::Drop(place), Budget { losses: budget.losses - 1, ..next }, actions));
            }
            if budget.copies > 0 {
                found.push((Op::Duplicate(place), Budget { copies: budget.copies - 1, ..next }, actions));
            }
        }
        if budget.ticks > 0 && pair.next_step().is_some_and(|at| at <= end) {
            found.push((Op::Tick, Budget { ticks: budget.ticks - 1, ..next }, actions));
        }
        for (place, op) in self.actions.iter().enumerate() {
            let bit = 1_u16 << place;
            if actions & bit != 0 {
                found.push((op.clone(), next, actions & !bit));
            }
        }
        found
    }

    /// What holds in every state, besides the invariants.
    fn check(&self, pair: &Pair) {
        for (side, setup) in [(SideName::L, &self.setup.l), (SideName::R, &self.setup.r)] {
            let agent = &pair.peer(side).agent;
            let is_final = setup.renomination.is_none();
            for one in agent.pairs().filter(|pair| pair.is_selected) {
                let is_good = one.is_valid && one.state == CandidatePairState::Succeeded;
                // One from before a restart may be the best that there was.
                let is_agreed = one.is_nominated || !is_final || !agent.is_current_pair(one.id);
                assert!(is_good && is_agreed, "{side:?} has selected {one:?}");
            }
            let nominated = agent.pairs().filter(|pair| {
                pair.component == ComponentId::RTP
                    && pair.is_nominated
                    && pair.is_valid
                    && agent.is_current_pair(pair.id)
            });
            let count = nominated.count();
            assert!(agent.role() == Role::Controlled || count <= 1, "{side:?} has nominated {count} pairs");
            assert!(!self.connects || agent.state() != ConnectionState::Failed, "{side:?} has failed");
        }
    }

    /// Lets the network heal: what was held back arrives first or last.
    fn check_rest(&self, pair: &Pair, is_late: bool, digester: &mut Digester, healed: &mut BTreeSet<(u64, bool)>) {
        let mut pair = pair.clone();
        let count = pair.network.in_flight().count();
        if is_late && count == 0 {
            return;
        }
        pair.network.set_default_link(Link::with_delay(Duration::from_millis(5)));
        for _ in 0..if is_late { 0 } else { count } {
            Self::step(&mut pair, &Op::Deliver(0));
        }
        // Many walks lead here. What is held back until later makes them different, and they are so from the beginning.
        for pause in if is_late { &[1600][..] } else { &[0, 400, 1600] } {
            pair.run_for(Duration::from_millis(*pause));
            if !healed.insert((digester.digest(&pair), is_late)) {
                return;
            }
        }
        pair.run_for(Duration::from_secs(10));
        let is_settled = |pair: &Pair| if self.agrees { is_settled(pair) } else { is_over(pair) };
        if !is_settled(&pair) {
            pair.run_until(Duration::from_secs(240), is_settled);
        }
        if is_late {
            for _ in 0..count {
                // What the agents send now is due before.
                let held = pair.network.in_flight().count().saturating_sub(1);
                Self::step(&mut pair, &Op::Deliver(u8::try_from(held).unwrap_or(u8::MAX)));
                pair.run_for(Duration::from_millis(20));
            }
            pair.run_for(Duration::from_secs(2));
            if !is_settled(&pair) {
                pair.run_until(Duration::from_secs(240), is_settled);
            }
        }
        self.check(&pair);
        let states = [&pair.l, &pair.r].map(|peer| peer.agent.stream_state(pair.stream()));
        assert!(is_settled(&pair), "at rest, {states:?}: neither do they agree nor have both failed");
        assert!(!self.connects || pair.l.is_selected(), "there is a path: {states:?}");
    }
}

/// Whether each side is connected, or will not be.
fn is_over(pair: &Pair) -> bool {
    [SideName::L, SideName::R].into_iter().all(|side| {
        let state = pair.peer(side).agent.state();
        pair.is_closed(side) || state.is_connected() || state == ConnectionState::Failed
    })
}

/// Whether both sides agree, or both have failed.
fn is_settled(pair: &Pair) -> bool {
    let are = |state| [&pair.l, &pair.r].iter().all(|peer| peer.agent.state() == state);
    let has_ended = |side| pair.is_closed(side) || pair.peer(side).agent.state() == ConnectionState::Failed;
    let is_restarting = pair.l.agent.is_restarting(pair.stream()) || pair.r.agent.is_restarting(pair.stream());
    are(ConnectionState::Failed)
        || has_ended(SideName::L) && has_ended(SideName::R)
        || pair.l.is_selected()
            && pair.r.is_selected()
            && !is_restarting
            && pair.l.agent.role() != pair.r.agent.role()
            && pair.agrees()
}

/// Says how a failure was reached.
struct Trail<'a> {
    world: &'a SmallWorld,
    trail: &'a [Op],
}

impl Drop for Trail<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::eprintln!("{}", self.world.regression_test(self.trail));
        }
    }
}
