#![no_main]

#[path = "../run/host.rs"]
mod host;

libfuzzer_sys::fuzz_target!(|data: &[u8]| host::run(data));
