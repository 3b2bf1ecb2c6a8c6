//! Plays the recorded scenes of the simulator, and says in words what is otherwise than it was recorded.
//!
//! ```text
//! cargo run --release --example transcripts                  what differs from tests/it/transcripts.txt
//! cargo run --release --example transcripts -- --record      the same, and keeps what is so now
//! cargo run --release --example transcripts -- --dump SCENE  all that is sent and told in a scene, a line each
//! ```
//!
//! What was sent and told before a change is dumped in a second checkout, and compared by `diff`.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a command")]
#![allow(clippy::disallowed_methods, reason = "it says how long it takes")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs};

use nilas::sim::{Recording, SCENES, Scene};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/transcripts.txt");
const HEAD: &str = "\
# What the scenes of the simulator send and tell: three lines each. The number, and what it is about; then each side with its
# digest, and for each window of time the number of datagrams, a letter for each event, and a digest; - where nothing happens.
# Written by: cargo run --release --example transcripts -- --record
";

/// The recordings that are kept.
fn kept() -> BTreeMap<u64, Recording> {
    let text = fs::read_to_string(FILE).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let parse = |lines: &[&str]| {
        let (head, sides) = lines.split_first()?;
        Some((head.split(' ').next()?.parse().ok()?, sides.join("\n").parse().ok()?))
    };
    lines.chunks(3).filter_map(parse).collect()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let first = arguments.first().map(String::as_str);
    if first == Some("--dump") {
        let number = arguments.get(1).expect("the number of a scene").parse().expect("a number");
        let scene = Scene::new(number);
        println!("scene {number} ({}): {:?}", scene.kinds.join(", "), scene.ops());
        print!("{}", scene.run());
        return ExitCode::SUCCESS;
    }
    let (begin, kept, mut text) = (Instant::now(), kept(), HEAD.to_owned());
    let (mut differing, mut broken, mut datagrams, mut events) = (0, 0, 0, 0);
    for number in 0..SCENES {
        let scene = Scene::new(number);
        let kinds = scene.kinds.join(",");
        let Ok(recording) = catch_unwind(|| Scene::new(number).run().record()) else {
            println!("scene {number} ({kinds}) breaks an invariant");
            broken += 1;
            continue;
        };
        let counts = recording.counts();
        (datagrams, events) = (datagrams + counts.0, events + counts.1);
        let _ = write!(text, "{number} {kinds}\n{recording}");
        match kept.get(&number).map(|before| before.difference(&recording)) {
            Some(None) => continue,
            Some(Some(difference)) => println!("scene {number} ({kinds}): {difference}"),
            None => println!("scene {number} ({kinds}): was not recorded"),
        }
        differing += 1;
    }
    println!("{SCENES} scenes, {datagrams} datagrams, {events} events in {:.1} s", begin.elapsed().as_secs_f64());
    println!("{differing} differ from what was recorded, {broken} break an invariant");
    if first == Some("--record") && broken == 0 {
        fs::write(FILE, text).expect("the file can be written");
        return ExitCode::SUCCESS;
    }
    if differing + broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
