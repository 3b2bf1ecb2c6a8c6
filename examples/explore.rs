//! Walks every order of events of the small worlds of the simulator, and says how many states there are.
//!
//! ```text
//! cargo run --release --example explore                all of them, with their own budgets
//! cargo run --release --example explore -- 20000       so many states of each at the most
//! cargo run --release --example explore -- 20000 NAME  one of them
//! ```
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a command")]
#![allow(clippy::disallowed_methods, reason = "it says how long it takes")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use nilas::sim::{Explored, SmallWorld, small_worlds};

/// The most memory that this process has had so far, in MiB, where the system says so.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1024)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let most = arguments.first().map_or(usize::MAX, |text| text.parse().expect("the number of states is a number"));
    let begin = Instant::now();
    let worlds: Vec<_> = small_worlds();
    let wanted = |world: &&SmallWorld| arguments.get(1).is_none_or(|name| world.name.contains(name.as_str()));
    let queue: Mutex<Vec<&SmallWorld>> = Mutex::new(worlds.iter().rev().filter(wanted).collect());
    println!("{:40} {:>10} {:>10} {:>8} {:>8}", "world", "states", "steps", "ends", "seconds");
    let run = || {
        let mut results = Vec::new();
        loop {
            let next = queue.lock().expect("nobody panics with the lock").pop();
            let Some(world) = next else { return results };
            let start = Instant::now();
            let explored = catch_unwind(AssertUnwindSafe(|| world.explore(most))).ok();
            let seconds = start.elapsed().as_secs_f64();
            match &explored {
                Some(Explored { states, steps, ends, is_complete, .. }) => {
                    let note = if *is_complete { "" } else { " (cut)" };
                    println!("{:40} {states:>10} {steps:>10} {ends:>8} {seconds:>8.1}{note}", world.name);
                }
                None => println!("{:40} FAILED", world.name),
            }
            results.push(explored);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let results: Vec<Option<Explored>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("panics are caught")).collect()
    });
    let sum = |of: fn(&Explored) -> usize| results.iter().flatten().map(of).sum::<usize>();
    let (states, steps, ends) = (sum(|one| one.states), sum(|one| one.steps), sum(|one| one.ends));
    let failed = results.iter().filter(|one| one.is_none()).count();
    let seconds = begin.elapsed().as_secs_f64();
    println!("{:40} {states:>10} {steps:>10} {ends:>8} {seconds:>8.1}", "all");
    if let Some(memory) = peak_memory() {
        println!("{memory} MiB at the most");
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
