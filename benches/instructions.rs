//! Handles and answers one request so many times, for `count.sh` to count the instructions of.
//!
//! `cargo bench --bench instructions -- 1000 30` does it 1000 times on an agent with 30 x 30 pairs, by default 100 times on
//! one with a single pair. Other arguments, such as `--bench` and `--test`, are passed over.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;

use nilas::Received;
use support::{Duo, quiet};

fn main() {
    let rounds: u32 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(100);
    let mut duo = Duo::connected(&quiet(), 1);
    let check = duo.check.take().unwrap();
    let mut buffer = Vec::with_capacity(2048);
    for _ in 0..rounds {
        assert_eq!(duo.r.handle_datagram(duo.now, black_box(&check.as_datagram())), Received::Handled);
        buffer.clear();
        let _ = black_box(duo.r.poll_transmit(duo.now, &mut buffer)).unwrap();
    }
    println!("{rounds} requests handled and answered");
}
