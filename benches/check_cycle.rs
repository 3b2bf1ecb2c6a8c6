//! One authenticated request handled and answered by a connected agent: `handle_datagram` and `poll_transmit`.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use nilas::Received;
use support::{COMPONENT, Duo, quiet};

fn request_and_answer(c: &mut Criterion) {
    let mut duo = Duo::connected(&quiet(), 1);
    let check = duo.check.take().unwrap();
    let mut buffer = Vec::with_capacity(2048);
    c.bench_function("check_cycle/request_and_answer", |b| {
        b.iter(|| {
            assert_eq!(duo.r.handle_datagram(duo.now, black_box(&check.as_datagram())), Received::Handled);
            buffer.clear();
            black_box(duo.r.poll_transmit(duo.now, &mut buffer)).unwrap()
        });
    });
}

fn forged_request(c: &mut Criterion) {
    let mut duo = Duo::connected(&quiet().with_unauthenticated_replies(0), 1);
    let mut check = duo.check.take().unwrap();
    let forged = nilas::sim::MessageBuilder::binding_request([3; 12]);
    let ufrag = |agent: &nilas::Agent| agent.local_credentials(duo.stream).unwrap().ufrag.to_string();
    let forged = forged.username(&ufrag(&duo.r), &ufrag(&duo.l)).priority(1).controlling(1);
    check.payload =
        forged.integrity(&"not-the-password-0123456789".replace('-', "+").parse().unwrap()).fingerprint().build();
    c.bench_function("check_cycle/forged_request", |b| {
        b.iter(|| duo.r.handle_datagram(duo.now, black_box(&check.as_datagram())) == Received::Handled);
    });
}

fn data(c: &mut Criterion) {
    let mut duo = Duo::connected(&quiet(), 1);
    let payload = [0x80; 1200];
    let mut buffer = Vec::with_capacity(2048);
    let way_back = duo.check.take().unwrap();
    c.bench_function("check_cycle/send_data", |b| {
        b.iter(|| {
            buffer.clear();
            duo.l.send(duo.now, duo.stream, COMPONENT, black_box(&payload), &mut buffer).unwrap()
        });
    });
    let datagram = nilas::Datagram { payload: &payload, ..way_back.as_datagram() };
    c.bench_function("check_cycle/receive_data", |b| {
        b.iter(|| matches!(duo.r.handle_datagram(duo.now, black_box(&datagram)), Received::Data { .. }));
    });
}

criterion_group!(benches, request_and_answer, forged_request, data);
criterion_main!(benches);
