//! Replays the seeds of the fuzz targets and every input that once made one of them fail, on any toolchain.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "test code"
)]

#[path = "../fuzz/run/candidate_line.rs"]
mod candidate_line;
#[path = "../fuzz/run/datagram.rs"]
mod datagram;
#[path = "../fuzz/run/host.rs"]
mod host;
#[path = "../fuzz/run/sdp.rs"]
mod sdp;
#[path = "../fuzz/run/tcp_stream.rs"]
mod tcp_stream;
#[path = "../fuzz/run/trickle.rs"]
mod trickle;
#[path = "../fuzz/run/turn.rs"]
mod turn;

use std::fs;
use std::path::{Path, PathBuf};

/// The inputs of a target, in the order of their names.
fn inputs(target: &str) -> Vec<PathBuf> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut found: Vec<PathBuf> = ["corpus", "kept"]
        .into_iter()
        .filter_map(|kind| fs::read_dir(fuzz.join(kind).join(target)).ok())
        .flat_map(|entries| entries.map(|entry| entry.unwrap().path()))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found
}

/// Runs every input, and each of its beginnings of a few lengths.
fn replay(target: &str, run: fn(&[u8])) {
    let inputs = inputs(target);
    assert!(inputs.len() >= 3, "there are seeds");
    for path in inputs {
        let input = fs::read(&path).unwrap();
        // Shown only if it fails.
        println!("{}", path.display());
        run(&input);
        for cut in [1, 2, 3, 5, 8, 13] {
            run(&input[..input.len() * cut / 14]);
        }
    }
}

/// S174
#[test]
fn candidate_lines_read_as_they_are_printed() {
    replay("candidate_line", candidate_line::run);
}

/// Req: proj-unauth-a
/// Req: proj-unauth-c
#[test]
fn datagrams_that_are_not_authenticated_change_nothing() {
    replay("datagram", datagram::run);
}

/// Req: 4571-2-a
#[test]
fn streams_are_taken_alike_however_they_are_split() {
    replay("tcp_stream", tcp_stream::run);
}

#[test]
fn streams_of_random_steps_are_taken_alike_however_they_are_split() {
    let mut state = 1_u64;
    for _ in 0..2000 {
        let input: Vec<u8> = (0..200)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u8
            })
            .collect();
        tcp_stream::run(&input);
    }
}

/// Req: 7675-5.1-b
/// Req: proj-flood-a
#[test]
fn whatever_an_application_calls_and_hears_the_agent_is_within_its_limits() {
    replay("host", host::run);
}

#[test]
fn whatever_an_application_calls_and_hears_at_random_the_agent_is_within_its_limits() {
    let mut state = 11_u64;
    for _ in 0..60 {
        let input: Vec<u8> = (0..260)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u8
            })
            .collect();
        host::run(&input);
    }
}

#[test]
fn descriptions_read_as_they_are_written() {
    replay("sdp", sdp::run);
}

/// Req: 8489-9.2.5-e
/// Req: 8656-7.3-b
#[test]
fn nothing_that_a_turn_server_says_is_believed_blindly() {
    replay("turn", turn::run);
}

#[test]
fn nothing_that_a_turn_server_says_at_random_is_believed_blindly() {
    let mut state = 7_u64;
    for _ in 0..300 {
        let input: Vec<u8> = (0..200)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u8
            })
            .collect();
        turn::run(&input);
    }
}

#[test]
fn fragments_read_as_they_are_printed_and_are_handed_on_once() {
    replay("trickle", trickle::run);
}
