#![no_main]

#[path = "../run/candidate_line.rs"]
mod candidate_line;

libfuzzer_sys::fuzz_target!(|data: &[u8]| candidate_line::run(data));
