//! What whole agents send and tell, byte for byte and at the nanosecond, is what it was; `transcripts.txt` is kept for that.
//!
//! A difference is no fault: it is a change that somebody has to have wanted. `cargo run --release --example transcripts` says
//! in words what differs, and with `-- --record` keeps what is so now.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::time::Duration;

use nilas::sim::{Call, Op, Recording, SCENES, Scene};

const KEPT: &str = include_str!("transcripts.txt");

/// The recordings of a file: three lines each, the first of which is the number, and what the scene is about.
fn recordings() -> BTreeMap<u64, (&'static str, Recording)> {
    let lines: Vec<&str> = KEPT.lines().filter(|line| !line.starts_with('#')).collect();
    let parse = |lines: &[&'static str]| {
        let (number, kinds) = lines[0].split_once(' ').unwrap();
        (number.parse().unwrap(), (kinds, lines[1..].join("\n").parse().unwrap()))
    };
    lines.chunks(3).map(parse).collect()
}

#[test]
fn every_scene_is_played_as_it_was_recorded() {
    let kept = recordings();
    let mut differences = Vec::new();
    for number in 0..SCENES {
        let scene = Scene::new(number);
        let Some((kinds, before)) = kept.get(&number) else {
            differences.push(format!("scene {number} was not recorded"));
            continue;
        };
        assert_eq!(*kinds, scene.kinds.join(","), "scene {number}");
        match catch_unwind(|| Scene::new(number).run().record()) {
            Ok(now) => differences
                .extend(before.difference(&now).map(|difference| format!("scene {number} ({kinds}): {difference}"))),
            Err(_) => differences.push(format!("scene {number} ({kinds}) breaks an invariant")),
        }
    }
    assert!(
        differences.is_empty(),
        "{} scenes are played otherwise; if that is meant, see CONTRIBUTING.md for how to record them:\n{}",
        differences.len(),
        differences.iter().take(10).cloned().collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn scenes_of_all_kinds_are_recorded() {
    let kept = recordings();
    assert!(kept.len() as u64 == SCENES && SCENES >= 300);
    for kind in ["plain", "nat", "turn", "tcp", "loss", "restart", "roaming", "lite", "hostile"] {
        let of_kind = || kept.values().filter(|(kinds, _)| kinds.split(',').any(|one| one == kind));
        let (datagrams, events) = of_kind().map(|(_, recording)| recording.counts()).fold((0, 0), |sum, counts| {
            assert!(counts.1 > 4, "nothing happens in a scene of the kind {kind}");
            (sum.0 + counts.0, sum.1 + counts.1)
        });
        println!("{kind}: {} scenes, {datagrams} datagrams, {events} events", of_kind().count());
        assert!(of_kind().count() >= 40 && datagrams > 1000 && events > 400, "{kind}");
    }
}

/// S167
#[test]
fn nothing_comes_out_before_the_time_at_which_an_agent_wants_to_be_called() {
    // Odd, so that it seldom meets a timer of the agents.
    const OFTEN: Duration = Duration::from_nanos(41_777_777);
    let mut differences = Vec::new();
    for number in (0..SCENES).filter(|number| number % 10 == 1) {
        let scene = Scene::new(number);
        if scene.ops().iter().any(|op| matches!(op, Op::Call(_, Call::ToggleStream))) {
            // A stream is added without a word of the time: what that changes has the time that the agent was told last.
            continue;
        }
        let (asleep, awake) = (scene.run().record(), scene.run_awake(OFTEN).record());
        differences.extend(asleep.difference(&awake).map(|difference| format!("scene {number}: {difference}")));
    }
    assert_eq!(differences, Vec::<String>::new());
}

#[test]
fn a_scene_is_the_same_each_time_and_no_two_are_alike() {
    let once = |number| Scene::new(number).run();
    assert!((0..9).all(|number| once(number).to_string() == once(number).to_string()));
    let kept = recordings();
    let texts: std::collections::BTreeSet<String> = kept.values().map(|(_, recording)| recording.to_string()).collect();
    assert_eq!(texts.len(), kept.len());
}
