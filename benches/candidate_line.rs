//! Reading and printing candidate lines.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::fmt::Write;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use nilas::Candidate;

const LINES: [(&str, &str); 3] = [
    ("host", "candidate:1 1 udp 2130706431 192.0.2.1 5010 typ host"),
    (
        "browser",
        "candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 192.168.1.7 rport 46154 generation 0 \
         ufrag EsAw network-id 1 network-cost 10",
    ),
    ("ipv6", "candidate:3 1 UDP 2130706431 2001:db8:85a3::8a2e:370:7334 5010 typ host"),
];

fn candidate_line(c: &mut Criterion) {
    for (name, line) in LINES {
        c.bench_function(&format!("candidate_line/parse/{name}"), |b| {
            b.iter(|| black_box(line).parse::<Candidate>().unwrap());
        });
        let candidate: Candidate = line.parse().unwrap();
        let mut text = String::with_capacity(512);
        c.bench_function(&format!("candidate_line/print/{name}"), |b| {
            b.iter(|| {
                text.clear();
                write!(text, "{}", black_box(&candidate)).unwrap();
                text.len()
            });
        });
    }
}

criterion_group!(benches, candidate_line);
criterion_main!(benches);
