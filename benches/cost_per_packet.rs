//! What one packet costs an agent with few and with many pairs: it should not matter how many there are.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use nilas::{Datagram, Received};
use support::Duo;

fn cost_per_packet(c: &mut Criterion) {
    for sockets in [3, 30] {
        let mut duo = Duo::connected(&Duo::keeping_all_pairs(sockets), sockets);
        assert_eq!(duo.r.pairs().count(), usize::from(sockets).pow(2));
        let check = duo.check.take().unwrap();
        let mut buffer = Vec::with_capacity(2048);
        c.bench_function(&format!("cost_per_packet/request_and_answer/{sockets}x{sockets}"), |b| {
            b.iter(|| {
                assert_eq!(duo.r.handle_datagram(duo.now, black_box(&check.as_datagram())), Received::Handled);
                buffer.clear();
                duo.r.poll_transmit(duo.now, &mut buffer).unwrap()
            });
        });
        let data = Datagram { payload: &[0x80; 1200], ..check.as_datagram() };
        c.bench_function(&format!("cost_per_packet/data/{sockets}x{sockets}"), |b| {
            b.iter(|| matches!(duo.r.handle_datagram(duo.now, black_box(&data)), Received::Data { .. }));
        });
        c.bench_function(&format!("cost_per_packet/timeout/{sockets}x{sockets}"), |b| {
            b.iter(|| {
                duo.r.handle_timeout(black_box(duo.now));
                duo.r.poll_timeout()
            });
        });
    }
}

criterion_group!(benches, cost_per_packet);
criterion_main!(benches);
