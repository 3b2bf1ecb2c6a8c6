//! Data in the application's own buffers, several datagrams at once, and how they are marked.

use nilas::sim::{SideName, Verdict};
use nilas::{
    Agent, ComponentId, Config, ConnectionState, Datagram, Ecn, Payload, Received, Role, Route, SendError,
    TrafficClass, Transmit,
};

use crate::help::{ms, secs, setup};
use crate::script::{BEST, LOCAL, OTHER, Script, socket};

const RTP: ComponentId = ComponentId::RTP;

fn script() -> Script {
    Script::new(Role::Controlled, Config::default(), |remote| remote.with_ice2(true))
}

fn route(script: &mut Script) -> Result<Route, SendError> {
    script.agent.route(script.now, script.stream, RTP)
}

fn send(script: &mut Script, payload: Payload<'_>) -> (Transmit, Vec<u8>) {
    let mut bytes = Vec::new();
    let transmit = script.agent.send(script.now, script.stream, RTP, payload, &mut bytes).unwrap();
    (transmit, bytes)
}

/// Req: 8445-12.1-b
/// Req: 8826-4.2-a
#[test]
fn a_route_is_where_data_is_sent_and_refused_where_it_is() {
    let mut script = script();
    assert_eq!(route(&mut script), Err(SendError::NoPair));
    script.check(BEST, false);
    assert_eq!(route(&mut script), Err(SendError::NoPair), "the peer's check alone validates nothing");
    script.answer_next(BEST);
    let found = route(&mut script).unwrap();
    let (transmit, bytes) = send(&mut script, Payload::from(b"payload"));
    assert_eq!((found.source, found.destination), (transmit.source, transmit.destination));
    assert_eq!((found.source, found.destination), (socket(LOCAL), socket(BEST)));
    assert_eq!((found.transport, Some(found.pair)), (transmit.transport, transmit.pair));
    assert_eq!((found.prefix_len(), found.trailer_len(7), bytes.as_slice()), (0, 0, &b"payload"[..]));
    assert!(found.write_prefix(7, &mut []));
    let unknown = script.agent.route(script.now, script.stream, ComponentId::RTCP);
    assert_eq!(unknown, Err(SendError::UnknownComponent(ComponentId::RTCP)));
    script.agent.close(script.now);
    assert_eq!(route(&mut script), Err(SendError::Closed));
    assert!(!script.agent.is_current(script.now, &found));
}

/// Req: 8445-12.1-b
#[test]
fn a_route_ends_when_another_pair_is_taken_into_use() {
    let mut script = script();
    script.run_for(ms(60));
    script.answer(OTHER);
    let before = route(&mut script).unwrap();
    assert_eq!(before.destination, socket(OTHER));
    assert!(script.agent.is_current(script.now, &before));
    script.answer(BEST);
    script.check(BEST, true);
    assert!(!script.agent.is_current(script.now, &before), "the selected pair is another one");
    let after = route(&mut script).unwrap();
    assert_eq!(after.destination, socket(BEST));
    assert!(script.agent.is_current(script.now, &after));
}

/// Req: 7675-5.1-a
/// Req: 8826-4.2-a
#[test]
fn a_route_is_current_as_long_as_the_peer_consents_and_not_a_moment_longer() {
    let mut pair = setup("route").build();
    assert!(pair.run_until_selected(secs(5)));
    let stream = pair.stream();
    let first = pair.l.agent.route(pair.now(), stream, RTP).unwrap();
    pair.run_for(secs(60));
    assert!(pair.l.agent.is_current(pair.now(), &first), "consent was renewed");
    let later = pair.l.agent.route(pair.now(), stream, RTP).unwrap();
    assert!(later.expires_at > first.expires_at && later.expires_at > Some(pair.now()));
    pair.network.set_hook(|_| Verdict::Drop);
    // An answer may be on its way.
    pair.run_for(secs(20));
    let last = pair.l.agent.route(pair.now(), stream, RTP).unwrap();
    let end = last.expires_at.unwrap();
    assert!(pair.l.agent.is_current(end - ms(1), &last));
    assert!(!pair.l.agent.is_current(end, &last), "told without a call of handle_timeout, too");
    assert_eq!(pair.l.agent.clone().route(end, stream, RTP), Err(SendError::ConsentLost));
    pair.run_to(end);
    assert_eq!(pair.l.agent.route(end, stream, RTP), Err(SendError::Failed), "there is no other pair");
    assert!(!pair.l.agent.is_current(end, &first) && !pair.l.agent.is_current(end, &last));
}

/// Req: 7675-5.1-a
#[test]
fn a_route_has_no_end_where_consent_is_not_asked_for() {
    let mut script = script();
    script.answer(BEST);
    let found = route(&mut script).unwrap();
    assert_eq!(found.expires_at, None);
    assert!(script.agent.is_current(script.now + secs(3600), &found));
}

#[test]
fn a_route_from_before_a_restart_ends_with_the_new_selection() {
    let mut pair = setup("route and restart").build();
    assert!(pair.run_until_selected(secs(5)));
    let stream = pair.stream();
    let before = pair.l.agent.route(pair.now(), stream, RTP).unwrap();
    pair.restart(SideName::L, stream);
    pair.restart(SideName::R, stream);
    pair.run_for(ms(40));
    assert!(pair.l.agent.is_current(pair.now(), &before), "the old pair carries the data until there is a new one");
    pair.run_for(secs(10));
    assert!(!pair.l.agent.is_current(pair.now(), &before));
    assert_eq!(pair.l.agent.state(), ConnectionState::Completed);
    assert!(pair.l.agent.route(pair.now(), stream, RTP).is_ok());
}

/// Req: wst-pair-b
#[test]
fn what_is_sent_on_a_route_is_counted_like_what_send_gives_out() {
    let mut script = script();
    script.answer(BEST);
    let pair = script.pair_to(BEST).id;
    let before = script.agent.stats().datagrams_sent;
    let found = route(&mut script).unwrap();
    script.run_for(ms(70));
    script.agent.record_sent(script.now, &found, 3, 2500);
    let stats = script.agent.pair(pair).unwrap().stats;
    assert_eq!((stats.packets_sent, stats.bytes_sent), (3, 2500));
    assert_eq!(stats.last_packet_sent_at, Some(script.now));
    let (_, _) = send(&mut script, Payload::from(&[0x80; 2500]).with_segment_size(1200));
    let stats = script.agent.pair(pair).unwrap().stats;
    assert_eq!((stats.packets_sent, stats.bytes_sent), (6, 5000));
    let checks = script.take().len() as u64;
    assert!(script.agent.stats().datagrams_sent >= before + 6 && checks > 0);
}

/// Data puts off the keepalive, on a route as by `send` (RFC 8445 §11).
#[test]
fn data_on_a_route_puts_off_the_keepalive() {
    let config = Config::default().with_consent(false);
    let mut pair = setup("route and keepalive").config(config).build();
    assert!(pair.run_until_selected(secs(5)));
    pair.run_for(secs(60));
    let (stream, before) = (pair.stream(), pair.l.sent.len());
    for _ in 0..12 {
        pair.run_for(secs(10));
        let now = pair.now();
        let route = pair.l.agent.route(now, stream, RTP).unwrap();
        pair.l.agent.record_sent(now, &route, 1, 100);
    }
    assert_eq!(pair.l.sent.len(), before);
    pair.run_for(secs(15));
    assert_eq!(pair.l.sent.len(), before + 1);
}

#[test]
fn several_datagrams_leave_with_one_stride() {
    let mut script = script();
    script.answer(BEST);
    let data: Vec<u8> = (0..2500).map(|place| 0x80 | (place % 100) as u8).collect();
    let (transmit, bytes) = send(&mut script, Payload::from(&data).with_segment_size(1200));
    assert_eq!((transmit.len, transmit.segment_size, &bytes), (2500, Some(1200), &data));
    let (one, _) = send(&mut script, Payload::from(&data).with_segment_size(2500));
    assert_eq!((one.len, one.segment_size), (2500, None));
    let (empty, bytes) = send(&mut script, Payload::from(&[0_u8; 0]).with_segment_size(1200));
    assert_eq!((empty.len, empty.segment_size, bytes.len()), (0, None, 0));
    let mut short = [0; 2499];
    let payload = Payload::from(&data).with_segment_size(1200);
    let refused = script.agent.send(script.now, script.stream, RTP, payload, &mut &mut short[..]);
    assert_eq!(refused, Err(SendError::NoRoom(2500)));
    assert_eq!(short, [0; 2499], "nothing of it is written");
}

/// Req: wst-pair-b
#[test]
fn datagrams_that_the_host_has_put_together_are_several_again() {
    let mut script = script();
    script.answer(BEST);
    let pair = script.pair_to(BEST).id;
    let mut read = vec![0x80; 2500];
    read[1200] = 0x17;
    read[2400] = 0x03;
    let class = TrafficClass::DEFAULT.with_ecn(Ecn::Ce);
    let datagram = Datagram { traffic_class: class, ..Datagram::new(socket(BEST), socket(LOCAL), &read) };
    let (mut data, mut dropped) = (Vec::new(), 0);
    for segment in datagram.segments(1200) {
        match script.agent.handle_datagram(script.now, &segment) {
            Received::Data { payload, traffic_class, .. } => data.push((payload[0], payload.len(), traffic_class)),
            Received::Dropped(_) => dropped += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(data, [(0x80, 1200, class), (0x17, 1200, class)]);
    assert_eq!(dropped, 1, "each is judged by itself: the last begins like STUN");
    let stats = script.agent.pair(pair).unwrap().stats;
    assert_eq!((stats.packets_received, stats.bytes_received), (2, 2400));
}

/// A batch may hold a check between data.
#[test]
fn a_check_among_datagrams_of_one_read_is_answered() {
    let mut script = script();
    script.answer(BEST);
    let check = script.write_check(Role::Controlling, false);
    let mut read = vec![0x80; check.len()];
    read.extend(&check);
    read.extend([0x81; 10]);
    let datagram = Datagram::new(socket(BEST), socket(LOCAL), &read);
    let outcomes: Vec<_> = datagram
        .segments(check.len())
        .map(|segment| match script.agent.handle_datagram(script.now, &segment) {
            Received::Data { payload, .. } => payload.len(),
            Received::Handled => 0,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(outcomes, [check.len(), 0, 10]);
    let answer = poll(&mut script.agent, script.now).unwrap();
    assert_eq!(answer.destination, socket(BEST));
}

fn poll(agent: &mut Agent, now: nilas::Instant) -> Option<Transmit> {
    agent.poll_transmit(now, &mut Vec::new())
}

/// Req: 8445-7.2.3-a
#[test]
fn checks_answers_and_data_carry_the_mark_of_their_stream() {
    let class = TrafficClass::EXPEDITED;
    let mut marks = setup("marks").left(|l| l.start = ms(10));
    marks.streams = 2;
    let mut pair = marks.build();
    let [audio, other] = pair.streams() else { panic!("two streams") };
    let (audio, other) = (*audio, *other);
    pair.l.agent.set_traffic_class(audio, class.with_ecn(Ecn::Ect0)).unwrap();
    assert!(pair.run_until_selected(secs(5)));
    pair.run_for(secs(60));
    let mut kinds = [[0; 3]; 2];
    for sent in &pair.l.sent {
        let is_audio = sent.source.port() == 5000;
        let expected = if is_audio { class } else { TrafficClass::DEFAULT };
        assert_eq!(sent.traffic_class, expected, "{sent:?}");
        // Requests and answers before and after the selection.
        let kind = match sent.payload[..2] {
            [0, 1] if pair.l.selected_at().is_some_and(|at| sent.at > at) => 1,
            [0, 1] => 0,
            [1, 1] => 2,
            _ => continue,
        };
        kinds[usize::from(is_audio)][kind] += 1;
    }
    assert!(kinds.iter().flatten().all(|count| *count > 0), "checks, consent checks and answers: {kinds:?}");
    let now = pair.now();
    let mut mark = |stream, payload: Payload<'_>| {
        pair.l.agent.send(now, stream, RTP, payload, &mut Vec::new()).unwrap().traffic_class
    };
    let payload = Payload::from(b"\x80");
    assert_eq!(mark(audio, payload), class);
    assert_eq!(mark(audio, payload.with_ecn(Ecn::Ect1)), class.with_ecn(Ecn::Ect1));
    assert_eq!(mark(audio, payload.with_traffic_class(TrafficClass::DEFAULT)), TrafficClass::DEFAULT);
    assert_eq!(mark(other, payload.with_ecn(Ecn::Ect0)).octet(), 2);
    assert_eq!(pair.l.agent.route(now, audio, RTP).unwrap().traffic_class, class);
    let unknown = pair.l.agent.clone().add_stream(1).unwrap();
    assert!(pair.l.agent.set_traffic_class(unknown, class).is_err());
}

/// Req: wst-pair-e
#[test]
fn what_the_host_did_not_take_is_counted() {
    let mut script = script();
    script.answer(BEST);
    let pair = script.pair_to(BEST).id;
    let (transmit, _) = send(&mut script, Payload::from(&[0x80; 2500]).with_segment_size(1200));
    script.agent.record_discarded(&transmit);
    let (transmit, _) = send(&mut script, Payload::from(b"seven.."));
    script.agent.record_discarded(&transmit);
    let stats = script.agent.pair(pair).unwrap().stats;
    assert_eq!((stats.packets_discarded_on_send, stats.bytes_discarded_on_send), (4, 2507));
    assert_eq!((stats.packets_sent, stats.bytes_sent), (4, 2507), "they were handed over, nevertheless");
    script.check(OTHER, false);
    script.run_for(ms(50));
    let check = script.agent.clone();
    let mut other = script.agent.clone();
    let datagram = script.write_check(Role::Controlling, false);
    let _ = other.handle_datagram(script.now, &Datagram::new(socket(BEST), socket(LOCAL), &datagram));
    let answer = poll(&mut other, script.now).unwrap();
    other.record_discarded(&answer);
    let after = other.pair(pair).unwrap().stats;
    assert_eq!(after.packets_discarded_on_send, check.pair(pair).unwrap().stats.packets_discarded_on_send);
}

/// What `send` writes of a payload, and what an application writes that asks for the route.
fn written(agent: &Agent, now: nilas::Instant, stream: nilas::StreamId, payload: &[u8]) -> [Vec<u8>; 2] {
    let (mut one, mut other) = (agent.clone(), agent.clone());
    let mut sent = Vec::new();
    let transmit = one.send(now, stream, RTP, payload, &mut sent).unwrap();
    let route = other.route(now, stream, RTP).unwrap();
    assert_eq!((route.source, route.destination), (transmit.source, transmit.destination));
    assert_eq!((route.transport, route.connection), (transmit.transport, transmit.connection));
    let mut own = vec![0; Route::MAX_PREFIX];
    own.extend(payload);
    let start = Route::MAX_PREFIX - route.prefix_len();
    assert!(route.write_prefix(payload.len(), &mut own[start..]));
    own.extend(std::iter::repeat_n(0, route.trailer_len(payload.len())));
    own.drain(..start);
    other.record_sent(now, &route, 1, payload.len());
    let counted = |agent: &Agent| {
        let stats = agent.transport_stats(stream, RTP).unwrap();
        (stats.packets_sent, stats.bytes_sent)
    };
    assert_eq!(counted(&one), counted(&other));
    [sent, own]
}

#[test]
fn on_tcp_a_route_has_the_length_of_the_frame_as_its_prefix() {
    let tcp = |side: &mut nilas::sim::SideSetup, tcp_type| (side.udp, side.tcp) = (false, vec![tcp_type]);
    let mut pair = setup("route over TCP")
        .left(|l| tcp(l, nilas::TcpType::Active))
        .right(|r| tcp(r, nilas::TcpType::Passive))
        .build();
    assert!(pair.run_until_selected(secs(5)));
    let (now, stream) = (pair.now(), pair.stream());
    for length in [0, 1, 1200, 65_535] {
        let [sent, own] = written(&pair.l.agent, now, stream, &vec![0x80; length]);
        assert_eq!(sent.len(), length + 2);
        assert_eq!(sent, own);
    }
    let route = pair.l.agent.route(now, stream, RTP).unwrap();
    assert_eq!((route.prefix_len(), route.trailer_len(3)), (2, 0));
    assert!(!route.write_prefix(65_536, &mut [0; 4]) && !route.write_prefix(1, &mut [0; 1]));
    let long = pair.l.agent.send(now, stream, RTP, &vec![0x80; 65_536], &mut Vec::new());
    assert_eq!(long, Err(SendError::TooLong(65_536)));
    // Several datagrams are several frames in the stream, which has no stride.
    let mut buffer = Vec::new();
    let payload = Payload::from(&[0x80; 250]).with_segment_size(100);
    let transmit = pair.l.agent.send(now, stream, RTP, payload, &mut buffer).unwrap();
    assert_eq!((transmit.len, transmit.segment_size), (256, None));
    assert_eq!([&buffer[..2], &buffer[102..104], &buffer[204..206]], [[0, 100], [0, 100], [0, 50]]);
    pair.l.agent.record_discarded(&transmit);
    let stats = pair.l.agent.selected_pair(stream, RTP).unwrap().stats;
    assert_eq!((stats.packets_discarded_on_send, stats.bytes_discarded_on_send), (3, 250), "without the frames");
    let mut short = [0; 255];
    let refused = pair.l.agent.send(now, stream, RTP, payload, &mut &mut short[..]);
    assert_eq!(refused, Err(SendError::NoRoom(256)));
}

#[test]
fn through_a_relay_a_route_has_the_header_of_its_channel_as_its_prefix() {
    let server: std::net::IpAddr = "192.0.2.100".parse().unwrap();
    let relayed = setup("route over a relay").with_turn(server);
    let mut pair = relayed.left(|l| l.only_reaches = Some(server)).right(|r| r.servers.clear()).build();
    assert!(pair.run_until_selected(secs(10)));
    pair.run_for(secs(5));
    let (now, stream) = (pair.now(), pair.stream());
    let route = pair.l.agent.route(now, stream, RTP).unwrap();
    assert_eq!((route.prefix_len(), route.destination.ip()), (4, server));
    assert!(pair.l.agent.is_current(now, &route));
    for length in [0, 1, 3, 1200] {
        let [sent, own] = written(&pair.l.agent, now, stream, &vec![0x80; length]);
        assert_eq!(sent, own);
        assert!((0x40..0x50).contains(&sent[0]), "a channel");
        assert_eq!(usize::from(u16::from_be_bytes([sent[2], sent[3]])), length);
        assert_eq!(sent.len(), length + 4, "over UDP nothing is padded");
    }
    // A batch has one stride, headers included, and arrives as what it was.
    let data: Vec<u8> = (0..250).map(|place| 0x80 | (place % 100) as u8).collect();
    let mut buffer = Vec::new();
    let payload = Payload::from(&data).with_segment_size(100);
    let transmit = pair.l.agent.send(now, stream, RTP, payload, &mut buffer).unwrap();
    assert_eq!((transmit.len, transmit.segment_size), (262, Some(104)));
    let host = pair.l.host();
    for datagram in buffer.chunks(104) {
        pair.network.send(host, transmit.source, transmit.destination, datagram);
    }
    pair.run_for(secs(1));
    let received: Vec<&[u8]> = pair.r.received.iter().map(|data| &*data.payload).collect();
    assert_eq!(received, [&data[..100], &data[100..200], &data[200..]]);
}

/// Req: 9443-2-a
#[test]
fn from_a_turn_server_nothing_is_data_but_what_it_relays() {
    let server: std::net::SocketAddr = "192.0.2.100:3478".parse().unwrap();
    let relayed = setup("only relayed").with_turn(server.ip());
    let mut pair = relayed.left(|l| l.only_reaches = Some(server.ip())).right(|r| r.servers.clear()).build();
    assert!(pair.run_until_selected(secs(10)));
    pair.run_for(secs(5));
    let (now, stream) = (pair.now(), pair.stream());
    let mut header = [0; 4];
    let route = pair.l.agent.route(now, stream, RTP).unwrap();
    assert!(route.write_prefix(3, &mut header));
    let mut receive =
        |bytes: &[u8]| match pair.l.agent.handle_datagram(now, &Datagram::new(server, route.source, bytes)) {
            Received::Data { payload, pair, .. } => Some((payload.to_vec(), pair)),
            Received::Handled | Received::Dropped(_) => None,
            other => panic!("{other:?}"),
        };
    for first in 0..=u8::MAX {
        assert_eq!(receive(&[first, 0xff, 0, 3, 1, 2, 3]), None, "{first}");
    }
    let in_channel = [&header[..], &[0x80, 2, 3]].concat();
    assert_eq!(receive(&in_channel), Some((vec![0x80, 2, 3], Some(route.pair))));
    // What a peer has sent is judged by its own first byte: 64 to 79 is QUIC then.
    let quic = [&header[..], &[0x45, 2, 3]].concat();
    assert_eq!(receive(&quic), Some((vec![0x45, 2, 3], Some(route.pair))));
    let nothing = [&header[..], &[0x05, 2, 3]].concat();
    assert_eq!(receive(&nothing), None);
}
