//! What the heap is used for, seen by a counting allocator: an agent that is connected does not use it at all.
//!
//! Warm-up: what is measured is done once before, so that each buffer has grown to the size that it keeps. The first
//! answer of an agent needs one entry in its queue of answers, and its first check a slot in its table of transactions.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod support;

use std::time::Duration;

use allocation_counter::measure;
use nilas::sim::{MessageBuilder, Wire};
use nilas::{Agent, Config, Datagram, Payload, Received};
use support::streams::StreamDuo;
use support::{COMPONENT, Duo, Packet, poll, quiet, relayed};

const ROUNDS: u32 = 10_000;

/// Handles a request and polls its answer.
fn answer(agent: &mut Agent, duo_now: nilas::Instant, datagram: &Datagram<'_>, buffer: &mut Vec<u8>) {
    assert_eq!(agent.handle_datagram(duo_now, datagram), Received::Handled);
    buffer.clear();
    assert!(agent.poll_transmit(duo_now, buffer).is_some());
}

/// A request of L, as L would write it, with another transaction ID.
fn fresh_request(duo: &Duo, number: u32) -> Vec<u8> {
    let check = Wire::decode(&duo.check.as_ref().unwrap().payload);
    let check = check.request().unwrap();
    let mut id = [0; 12];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let username = String::from_utf8(check.username.clone().unwrap()).unwrap();
    let (to, from) = username.split_once(':').unwrap();
    let password = &duo.r.local_credentials(duo.stream).unwrap().password;
    let request = MessageBuilder::binding_request(id).username(to, from).priority(check.priority.unwrap());
    request.controlling(check.controlling.unwrap()).integrity(password).fingerprint().build()
}

#[test]
fn answering_checks_of_a_connected_peer_allocates_nothing() {
    let mut duo = Duo::connected(&quiet(), 1);
    let path = duo.check.clone().unwrap();
    let requests: Vec<Vec<u8>> = (0..ROUNDS).map(|number| fresh_request(&duo, number)).collect();
    let mut buffer = Vec::with_capacity(Agent::MAX_DATAGRAM);
    let info = measure(|| {
        for request in &requests {
            duo.now += Duration::from_millis(10);
            let datagram = Datagram { payload: request, ..path.as_datagram() };
            answer(&mut duo.r, duo.now, &datagram, &mut buffer);
            while duo.r.poll_event().is_some() {}
            std::hint::black_box(duo.r.poll_timeout());
        }
    });
    assert_eq!((info.count_total, info.bytes_total), (0, 0));
    assert_eq!(duo.r.stats().dropped_in_all(), 0);
}

#[test]
fn data_over_tcp_allocates_nothing_however_it_is_split() {
    let mut duo = StreamDuo::connected(&quiet());
    let payload = [0x80; 1200];
    let mut buffer = Vec::with_capacity(4096);
    let mut round = |duo: &mut StreamDuo, split: usize| {
        buffer.clear();
        for _ in 0..3 {
            let transmit = duo.l.send(duo.now, duo.stream, COMPONENT, &payload, &mut buffer).unwrap();
            assert_eq!(transmit.len, 1202);
        }
        let mut count = 0;
        for mut piece in buffer.chunks(split) {
            while let Some(received) = duo.r.handle_stream_bytes(duo.now, duo.at_r, &mut piece) {
                assert!(matches!(received, Received::Data { payload: data, .. } if *data == payload));
                count += 1;
            }
        }
        assert_eq!(count, 3);
    };
    // The first frame in pieces needs a buffer for them.
    round(&mut duo, 1000);
    for split in [1, 100, 1201, 1202, 1300, 5000] {
        let info = measure(|| (0..ROUNDS / 10).for_each(|_| round(&mut duo, split)));
        assert_eq!((info.count_total, info.bytes_total), (0, 0), "pieces of {split}");
    }
}

#[test]
fn data_both_ways_allocates_nothing() {
    let mut duo = Duo::connected(&quiet(), 1);
    let mut buffer = Vec::with_capacity(2048);
    let payload = [0x80; 1200];
    let info = measure(|| {
        for _ in 0..ROUNDS {
            duo.now += Duration::from_millis(1);
            for is_l in [true, false] {
                let (from, to) = if is_l { (&mut duo.l, &mut duo.r) } else { (&mut duo.r, &mut duo.l) };
                buffer.clear();
                let sent = from.send(duo.now, duo.stream, COMPONENT, &payload, &mut buffer).unwrap();
                let datagram = Datagram::new(sent.source, sent.destination, &buffer);
                assert!(matches!(to.handle_datagram(duo.now, &datagram), Received::Data { .. }));
            }
        }
    });
    assert_eq!((info.count_total, info.bytes_total), (0, 0));
}

/// Req: 8656-12-a
#[test]
fn data_through_a_relay_allocates_nothing() {
    let (mut agent, mut now, stream) = relayed();
    let mut buffer = Vec::with_capacity(2048);
    let payload = [0x80; 1200];
    let mut received = 0;
    let info = measure(|| {
        for _ in 0..ROUNDS {
            now += Duration::from_micros(100);
            buffer.clear();
            let sent = agent.send(now, stream, COMPONENT, &payload, &mut buffer).unwrap();
            assert_eq!(sent.len, 1204);
            // What comes on a channel looks as what goes.
            let datagram = Datagram::new(sent.destination, sent.source, &buffer);
            received += u32::from(matches!(agent.handle_datagram(now, &datagram), Received::Data { .. }));
        }
    });
    assert_eq!((info.count_total, info.bytes_total, received), (0, 0, ROUNDS));
}

/// The same for those who own their buffers, or send and receive several datagrams at once.
#[test]
fn data_in_batches_and_on_routes_allocates_nothing() {
    let mut duo = Duo::connected(&quiet(), 1);
    let mut buffer = Vec::with_capacity(16_384);
    let payload = [0x80; 12_000];
    let mut received = 0;
    let info = measure(|| {
        for _ in 0..ROUNDS {
            duo.now += Duration::from_millis(1);
            let route = duo.l.route(duo.now, duo.stream, COMPONENT).unwrap();
            assert!(duo.l.is_current(duo.now, &route));
            duo.l.record_sent(duo.now, &route, 10, payload.len());
            buffer.clear();
            let batch = Payload::from(&payload).with_segment_size(1200);
            let sent = duo.l.send(duo.now, duo.stream, COMPONENT, batch, &mut buffer).unwrap();
            for segment in Datagram::new(sent.source, sent.destination, &buffer).segments(sent.segment_size.unwrap()) {
                received += u32::from(matches!(duo.r.handle_datagram(duo.now, &segment), Received::Data { .. }));
            }
        }
    });
    assert_eq!((info.count_total, info.bytes_total), (0, 0));
    assert_eq!(received, 10 * ROUNDS);
}

/// What an attacker sends costs no memory either, whatever it is.
#[test]
fn what_cannot_be_authenticated_allocates_nothing() {
    let mut duo = Duo::connected(&quiet(), 1);
    let path = duo.check.clone().unwrap();
    let mut forged = path.payload.clone();
    let last_of_integrity = forged.len() - 9;
    forged[last_of_integrity] ^= 1;
    let length = forged.len();
    let tag = crc32fast_of(&forged[..length - 8]);
    forged[length - 4..].copy_from_slice(&tag);
    let cut = &path.payload[..path.payload.len() - 4];
    let stranger = Datagram { source: "192.0.2.66:6666".parse().unwrap(), ..path.as_datagram() };
    let mut buffer = Vec::with_capacity(Agent::MAX_DATAGRAM);
    let mut round = |duo: &mut Duo| {
        duo.now += Duration::from_millis(10);
        for payload in [&forged, cut, &[0x80; 30]] {
            let received = duo.r.handle_datagram(duo.now, &Datagram { payload, ..stranger });
            assert!(matches!(received, Received::Dropped(_)));
            buffer.clear();
            while duo.r.poll_transmit(duo.now, &mut buffer).is_some() {}
        }
    };
    round(&mut duo);
    let info = measure(|| (0..ROUNDS).for_each(|_| round(&mut duo)));
    assert_eq!((info.count_total, info.bytes_total), (0, 0));
    assert!(duo.r.stats().dropped(nilas::DropReason::BadIntegrity) > u64::from(ROUNDS));
}

/// FINGERPRINT of what stands before it.
fn crc32fast_of(before: &[u8]) -> [u8; 4] {
    let built = before.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    (!built ^ 0x5354_554e).to_be_bytes()
}

/// A pair that is checked again and again: each check of the peer triggers one of ours, whose answer comes from another
/// address than it was sent to, so that the check fails (RFC 8445 §7.2.5.2.1). That is a whole round in both directions
/// without an end.
#[test]
fn a_round_of_checks_in_both_directions_allocates_nothing() {
    let mut duo = Duo::new(&Duo::keeping_all_pairs(1), 1, 1);
    duo.introduce();
    let check = poll(&mut duo.l, duo.now).unwrap();
    assert!(Wire::decode(&check.payload).request().is_some());
    duo.check = Some(check.clone());
    while poll(&mut duo.r, duo.now).is_some() {}
    let warm_up = 2_000;
    let requests: Vec<Vec<u8>> = (0..warm_up + ROUNDS).map(|number| fresh_request(&duo, number)).collect();
    let (warm_up, measured) = requests.split_at(warm_up as usize);
    let mut buffer = Vec::with_capacity(Agent::MAX_DATAGRAM);
    let mut answer_buffer = Vec::with_capacity(Agent::MAX_DATAGRAM);
    let mut checks = 0;
    let mut round = |duo: &mut Duo, request: &[u8]| {
        duo.now += Duration::from_millis(50);
        duo.l.handle_timeout(duo.now);
        duo.r.handle_timeout(duo.now);
        let datagram = Datagram { payload: request, ..check.as_datagram() };
        assert_eq!(duo.r.handle_datagram(duo.now, &datagram), Received::Handled);
        buffer.clear();
        while let Some(sent) = duo.r.poll_transmit(duo.now, &mut buffer) {
            let is_request = buffer.first() == Some(&0) && buffer.get(1) == Some(&1);
            if is_request {
                checks += 1;
                let datagram = Datagram { payload: &buffer, ..reversed(&check) };
                assert_eq!(datagram.destination, sent.destination);
                answer(&mut duo.l, duo.now, &datagram, &mut answer_buffer);
                // L's own triggered checks are lost, its answers come from elsewhere.
                let source = "192.0.2.99:9999".parse().unwrap();
                let datagram = Datagram { source, payload: &answer_buffer, ..check.as_datagram() };
                let _ = duo.r.handle_datagram(duo.now, &datagram);
                answer_buffer.clear();
                while duo.l.poll_transmit(duo.now, &mut answer_buffer).is_some() {
                    answer_buffer.clear();
                }
            }
            buffer.clear();
        }
        for agent in [&mut duo.l, &mut duo.r] {
            while agent.poll_event().is_some() {}
        }
    };
    warm_up.iter().for_each(|request| round(&mut duo, request));
    let info = measure(|| measured.iter().for_each(|request| round(&mut duo, request)));
    assert_eq!((info.count_total, info.bytes_total), (0, 0));
    assert!(checks > ROUNDS / 2, "{checks} checks");
}

/// The way back.
fn reversed(packet: &Packet) -> Datagram<'_> {
    Datagram { source: packet.destination, destination: packet.source, ..packet.as_datagram() }
}

/// Not a promise, but a figure that should be looked at when it changes.
#[test]
fn a_connected_agent_keeps_little_on_the_heap() {
    let mut duo = None;
    let info = measure(|| duo = Some(Duo::connected_quietly()));
    let of_one = {
        let agent = &duo.as_ref().unwrap().l;
        let mut copy = None;
        let info = measure(|| copy = Some(agent.clone()));
        info.bytes_current
    };
    let inline = size_of::<Agent>();
    println!(
        "two connected agents keep {} bytes on the heap, a copy of one {of_one}; inline {inline}",
        info.bytes_current
    );
    assert!(of_one < 8_192, "{of_one} bytes");
}

/// Ten thousand consent checks each way, answered: hours of an idle connection.
#[test]
fn consent_of_an_idle_connection_allocates_nothing() {
    let mut duo = Duo::new(&Config::default(), 1, 1);
    duo.connect();
    let round = |duo: &mut Duo| {
        assert!(duo.advance());
        duo.exchange();
        while duo.l.poll_event().is_some() || duo.r.poll_event().is_some() {}
    };
    (0..1000).for_each(|_| round(&mut duo));
    let before = duo.now;
    let info = measure(|| (0..4 * ROUNDS).for_each(|_| round(&mut duo)));
    assert_eq!((info.count_total, info.bytes_total), (0, 0));
    let hours = duo.now.saturating_duration_since(before).as_secs() / 3600;
    assert!(hours >= 10, "{hours} hours");
    assert!(duo.is_selected());
}
