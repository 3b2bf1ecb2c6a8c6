//! Does one thing so many times, for `count.sh` to count the instructions of.
//!
//! `cargo bench --bench instructions -- request 1000 30` handles and answers 1000 requests on an agent with 30 x 30 pairs;
//! by default there are 100 rounds on one with a single pair. Other arguments, such as `--bench` and `--test`, are passed
//! over. What can be done:
//!
//! | | |
//! |---|---|
//! | `request` | handle a request and write its answer |
//! | `copy` | copy a payload of 1200 bytes into the send buffer: what any sender does |
//! | `send` | the same by `Agent::send` |
//! | `batch` | the same, ten datagrams at once |
//! | `route` | ask for a route and count a datagram that the application has written itself |
//! | `current` | the same with a route that was kept |
//! | `receive` | take a datagram of 1200 bytes |
//! | `stray` | the same on another valid pair than the one in use |
//! | `relay-send` | send a datagram of 1200 bytes through a relay, over a channel |
//! | `relay-receive` | take one that came so |
//! | `stream-send` | the same as `send` on a TCP connection |
//! | `stream` | take a frame of 1200 bytes that is whole in what was read |
//! | `pieces` | take one that came in two reads |
//! | `segments` | take ten of them that came in one read |

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;

use nilas::{Datagram, Payload, Received};
use support::streams::StreamDuo;
use support::{COMPONENT, Duo, quiet, relayed};

/// How many datagrams a batch has.
const BATCH: usize = 10;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut numbers = words.iter().filter_map(|argument| argument.parse::<u32>().ok());
    let rounds = numbers.next().unwrap_or(100);
    let sockets = numbers.next().and_then(|count| u8::try_from(count).ok()).unwrap_or(1);
    let what = words.iter().find(|word| !word.starts_with('-') && word.parse::<u32>().is_err());
    let what = what.map_or("request", String::as_str);
    let config = if sockets == 1 { quiet() } else { Duo::keeping_all_pairs(sockets) };
    let mut duo = Duo::connected(&config, sockets);
    let check = duo.check.take().unwrap();
    let (payload, batch) = ([0x80; 1200], [0x80; 1200 * BATCH]);
    let kept = duo.l.route(duo.now, duo.stream, COMPONENT).unwrap();
    // What L sends comes on the pair that R uses, too, or on another one.
    let data = Datagram::new(kept.source, kept.destination, &payload);
    let stray = Datagram { payload: &payload, ..check.as_datagram() };
    let read = Datagram { payload: &batch, ..data };
    let mut streams = StreamDuo::connected(&quiet());
    let mut frame = Vec::new();
    let _ = streams.l.send(streams.now, streams.stream, COMPONENT, &payload, &mut frame).unwrap();
    let mut buffer = Vec::with_capacity(16_384);
    let (mut agent, now, stream) =
        if what.starts_with("relay") { relayed() } else { (duo.l.clone(), duo.now, duo.stream) };
    let mut framed = Vec::new();
    let way = agent.send(now, stream, COMPONENT, &payload, &mut framed).unwrap();
    let through_relay = Datagram::new(way.destination, way.source, &framed);
    for _ in 0..rounds {
        buffer.clear();
        match what {
            "copy" => buffer.extend_from_slice(black_box(&payload)),
            "send" => {
                let sent = duo.l.send(duo.now, duo.stream, COMPONENT, black_box(&payload), &mut buffer);
                let _ = black_box(sent).unwrap();
            }
            "batch" => {
                let payload = Payload::from(black_box(&batch)).with_segment_size(1200);
                let _ = black_box(duo.l.send(duo.now, duo.stream, COMPONENT, payload, &mut buffer)).unwrap();
            }
            "route" => {
                let route = black_box(duo.l.route(duo.now, duo.stream, COMPONENT)).unwrap();
                duo.l.record_sent(duo.now, &route, 1, payload.len());
            }
            "current" => {
                assert!(duo.l.is_current(duo.now, black_box(&kept)));
                duo.l.record_sent(duo.now, &kept, 1, payload.len());
            }
            "receive" => {
                assert!(matches!(duo.r.handle_datagram(duo.now, black_box(&data)), Received::Data { .. }));
            }
            "stray" => {
                assert!(matches!(duo.r.handle_datagram(duo.now, black_box(&stray)), Received::Data { .. }));
            }
            "relay-send" => {
                let sent = agent.send(now, stream, COMPONENT, black_box(&payload), &mut buffer);
                let _ = black_box(sent).unwrap();
            }
            "relay-receive" => {
                assert!(matches!(agent.handle_datagram(now, black_box(&through_relay)), Received::Data { .. }));
            }
            "stream-send" => {
                let sent = streams.l.send(streams.now, streams.stream, COMPONENT, black_box(&payload), &mut buffer);
                let _ = black_box(sent).unwrap();
            }
            "stream" => {
                let mut bytes = black_box(frame.as_slice());
                let received = streams.r.handle_stream_bytes(streams.now, streams.at_r, &mut bytes);
                assert!(matches!(received, Some(Received::Data { .. })));
            }
            "pieces" => {
                let (mut head, mut tail) = black_box(frame.split_at(600));
                assert!(streams.r.handle_stream_bytes(streams.now, streams.at_r, &mut head).is_none());
                let received = streams.r.handle_stream_bytes(streams.now, streams.at_r, &mut tail);
                assert!(matches!(received, Some(Received::Data { .. })));
            }
            "segments" => {
                for segment in black_box(read).segments(1200) {
                    assert!(matches!(duo.r.handle_datagram(duo.now, &segment), Received::Data { .. }));
                }
            }
            _ => {
                assert_eq!(duo.r.handle_datagram(duo.now, black_box(&check.as_datagram())), Received::Handled);
                let _ = black_box(duo.r.poll_transmit(duo.now, &mut buffer)).unwrap();
            }
        }
        black_box(&buffer);
    }
    println!("{rounds} times {what}");
}
