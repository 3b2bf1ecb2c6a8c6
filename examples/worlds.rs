//! Runs random worlds of the simulator, and says which of them end otherwise than they should.
//!
//! ```text
//! cargo run --release --example worlds -- [COUNT [FIRST SEED]]
//! cargo run --release --example worlds -- --seed SEED     one world, with its scenario and as a test
//! cargo run --release --example worlds -- --shrink SEED   the same with as few letters as fail all the same
//! ```
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a command")]
#![allow(clippy::disallowed_methods, reason = "it says how long it takes")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use nilas::sim::{Expected, Op, Outcome, World};

/// What has come of a world, or why it fails.
fn run(world: &World) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| world.run())).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into())).unwrap_or_default()
    })
}

/// Leaves out whatever can be left out.
fn shrink(world: &World) -> World {
    // The same reason, whatever the numbers in it.
    let reason = |world: &World| -> Option<String> {
        Some(run(world).err()?.chars().filter(|c| !c.is_ascii_digit()).take(40).collect())
    };
    let mut world = world.clone();
    let wanted = reason(&world);
    let mut size = world.ops().len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        while start < world.ops().len() {
            let kept = |(place, _): &(usize, &Op)| *place < start || *place >= start + size;
            let fewer: Vec<Op> = world.ops().iter().enumerate().filter(kept).map(|(_, op)| op.clone()).collect();
            let smaller = world.clone().with_ops(&fewer);
            if !fewer.is_empty() && wanted.is_some() && reason(&smaller) == wanted {
                world = smaller;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
    world
}

fn show(world: &World) -> ExitCode {
    println!("{:#?}\n{}", world.setup(), world.regression_test());
    match run(world) {
        Ok(outcome) => {
            println!("{outcome:?}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            println!("FAILED: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: u64| {
        arguments.get(place).map_or(default, |text| text.parse().expect("an argument is a number"))
    };
    match arguments.first().map(String::as_str) {
        Some("--seed") => return show(&World::new(number(1, 0))),
        Some("--shrink") => {
            std::panic::set_hook(Box::new(|_| {}));
            let world = shrink(&World::new(number(1, 0)));
            return show(&world);
        }
        _ => {}
    }
    let (count, first) = (number(0, 300), number(1, 0));
    std::panic::set_hook(Box::new(|_| {}));
    let begin = Instant::now();
    let (mut kinds, mut failures) = (BTreeMap::new(), Vec::new());
    let (mut datagrams, mut hours) = (0, 0.0);
    for seed in first..first + count {
        let world = World::new(seed);
        match run(&world) {
            Ok(outcome) => {
                let kind = match (outcome.ops, outcome.connected) {
                    (0, true) => "quiet, connected",
                    (0, false) => "quiet, failed as foreseen",
                    (_, true) => "stormy, connected after the restart",
                    (_, false) if outcome.verdict == Expected::Either => "stormy, ended, or without a verdict",
                    (_, false) => "stormy, failed as foreseen",
                };
                *kinds.entry(kind).or_insert(0_u64) += 1;
                datagrams += outcome.datagrams;
                hours += outcome.elapsed.as_secs_f64() / 3600.0;
            }
            Err(reason) => failures.push((seed, reason)),
        }
    }
    println!("{count} worlds from seed {first} on in {:.1} s", begin.elapsed().as_secs_f64());
    println!("{hours:.1} hours of simulated time, {datagrams} datagrams");
    for (kind, count) in &kinds {
        println!("{count:7} {kind}");
    }
    println!("{:7} not as they should be", failures.len());
    for (seed, reason) in &failures {
        println!("--seed {seed}: {}", reason.lines().next().unwrap_or_default());
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
