//! A whole connection, from two descriptions to two selected pairs: the agents alone, without a network.

#![allow(missing_docs, reason = "a benchmark")]

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use nilas::Config;
use support::Duo;

fn connect(c: &mut Criterion) {
    let mut group = c.benchmark_group("connect");
    group.sample_size(20);
    for sockets in [1, 10] {
        group.bench_function(format!("{sockets}x{sockets}"), |b| {
            b.iter_batched_ref(|| Duo::new(&Config::default(), sockets, sockets), Duo::connect, BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, connect);
criterion_main!(benches);
