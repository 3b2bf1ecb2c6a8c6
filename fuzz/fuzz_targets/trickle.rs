#![no_main]

#[path = "../run/trickle.rs"]
mod trickle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| trickle::run(data));
