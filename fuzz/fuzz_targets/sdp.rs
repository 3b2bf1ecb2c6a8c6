#![no_main]

#[path = "../run/sdp.rs"]
mod sdp;

libfuzzer_sys::fuzz_target!(|data: &[u8]| sdp::run(data));
