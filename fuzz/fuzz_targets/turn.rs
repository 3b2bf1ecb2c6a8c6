#![no_main]

#[path = "../run/turn.rs"]
mod turn;

libfuzzer_sys::fuzz_target!(|data: &[u8]| turn::run(data));
