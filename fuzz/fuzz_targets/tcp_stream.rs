#![no_main]

#[path = "../run/tcp_stream.rs"]
mod tcp_stream;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tcp_stream::run(data));
