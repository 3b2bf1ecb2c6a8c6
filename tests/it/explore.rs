//! Every order of delivery, loss, duplication and timers of small worlds, walked on the real code; the thorough exploration
//! is `cargo run --release --example explore`.

use nilas::Role;
use nilas::sim::{Budget, SmallWorld, small_worlds};

use crate::help::{ms, setup};

/// Small enough to walk all of it.
const WHOLE: Budget = Budget { steps: 6, losses: 1, copies: 0, ticks: 1 };
/// Deeper, and not to the end.
const DEEP: Budget = Budget { steps: 8, losses: 1, copies: 1, ticks: 2 };

#[test]
fn one_pair_agrees_in_every_order_of_events() {
    let explored = SmallWorld::new("one pair", setup("explore"), WHOLE).explore(usize::MAX);
    assert!(explored.is_complete && explored.steps > 500, "{explored:?}");
    let _ = SmallWorld::new("one pair, deeper", setup("explore deeper"), DEEP).explore(500);
}

#[test]
fn a_conflict_of_roles_is_repaired_in_every_order_of_events() {
    for role in [Role::Controlling, Role::Controlled] {
        for name in ["explore roles", "explore other roles"] {
            let _ = SmallWorld::new("roles", setup(name).roles(role, role), DEEP).explore(300);
        }
    }
}

#[test]
fn checks_before_the_description_are_made_up_for_in_every_order_of_events() {
    for is_left_late in [true, false] {
        let late = |side: &mut nilas::sim::SideSetup| side.description_delay = ms(120);
        let setup = setup("explore early");
        let setup = if is_left_late { setup.left(late) } else { setup.right(late) };
        let _ = SmallWorld::new("early", setup, Budget { ticks: 4, ..DEEP }).explore(400);
    }
}

#[test]
fn a_lite_agent_whom_nobody_reaches_fails_in_every_order_of_timers() {
    let setup = setup("unreached")
        .left(|side| side.only_reaches = Some([192, 0, 2, 53].into()))
        .right(|side| side.config = side.config.clone().with_lite(true));
    let explored = SmallWorld::new("unreached", setup, WHOLE).which_may_fail().explore(usize::MAX);
    assert!(explored.is_complete, "{explored:?}");
}

#[test]
fn every_small_world_comes_to_rest_from_its_first_states() {
    for world in small_worlds() {
        let explored = world.explore(40);
        assert_eq!(explored.states, 40, "{}", world.name);
    }
}

#[test]
fn long_walks_through_every_small_world_end_in_agreement_or_in_failure() {
    for world in small_worlds() {
        for seed in 0..8 {
            world.walk(seed, 40);
        }
    }
}

#[test]
fn long_walks_with_several_pairs_end_in_agreement() {
    let both = |role| setup("walk roles").roles(role, role);
    for seed in 0..80_u64 {
        let walk = |setup, length| SmallWorld::new("a walk", setup, WHOLE).walk(seed, length);
        walk(setup("walk").addresses(2, 2), 40);
        walk(both(Role::Controlling).addresses(2, 1), 30);
        walk(both(Role::Controlled).addresses(1, 2), 30);
    }
}
