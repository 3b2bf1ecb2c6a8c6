//! Room in the caller's buffer: `NoRoom` says how much is needed, to the byte, and nothing is written past the end.

use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use nilas::sim::{Pair, PairSetup, ServerMethod};
use nilas::{Agent, ComponentId, IceServer, Instant, Payload, Route, SendError, StreamId, TcpType};

use crate::help::{secs, setup};

const RTP: ComponentId = ComponentId::RTP;

fn v6(setup: PairSetup) -> PairSetup {
    let address = |last: u16| vec![IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])];
    setup.left(|l| l.addresses = address(1)).right(|r| r.addresses = address(2))
}

fn over_tcp(setup: PairSetup) -> PairSetup {
    setup
        .left(|l| (l.udp, l.tcp) = (false, vec![TcpType::Active]))
        .right(|r| (r.udp, r.tcp) = (false, vec![TcpType::Passive]))
}

/// The left side reaches nobody but its server, and that over this transport.
fn relayed(setup: PairSetup, transport: &str) -> PairSetup {
    let is_v4 = setup.l.addresses.iter().all(IpAddr::is_ipv4);
    let (host, ip) = if is_v4 { ("192.0.2.100", "192.0.2.100") } else { ("[2001:db8:9::1]", "2001:db8:9::1") };
    let ip: IpAddr = ip.parse().unwrap();
    let server: IceServer = format!("turn:{host}:3478?transport={transport}").parse().unwrap();
    setup
        .with_turn(ip)
        .left(|l| {
            l.only_reaches = Some(ip);
            l.servers = vec![server.with_credentials("user", "pass")];
        })
        .right(|r| r.servers.clear())
}

/// A way that data can take: its name, the bytes around a datagram of a length, and a pair that takes it.
type Way = (&'static str, fn(usize) -> usize, Pair);

fn ways() -> Vec<Way> {
    let plain = |setup: PairSetup| setup.build();
    let without_channels = |setup: PairSetup| {
        let mut pair = setup.build();
        pair.servers[0].fail(ServerMethod::ChannelBind, 508, u32::MAX);
        pair
    };
    vec![
        ("UDP over IPv4", |_| 0, plain(setup("udp"))),
        ("UDP over IPv6", |_| 0, plain(v6(setup("udp")))),
        ("TCP over IPv4", |_| 2, plain(over_tcp(setup("tcp")))),
        ("TCP over IPv6", |_| 2, plain(over_tcp(v6(setup("tcp"))))),
        ("channel, IPv4", |_| 4, plain(relayed(setup("channel"), "udp"))),
        ("channel, IPv6", |_| 4, plain(relayed(v6(setup("channel")), "udp"))),
        ("channel over TCP", |n| 4 + (4 - n % 4) % 4, plain(relayed(setup("channel"), "tcp"))),
        ("indication, IPv4", |n| 36 + (4 - n % 4) % 4, without_channels(relayed(setup("indication"), "udp"))),
        ("indication, IPv6", |n| 48 + (4 - n % 4) % 4, without_channels(relayed(v6(setup("indication")), "udp"))),
        ("indication over TCP", |n| 36 + (4 - n % 4) % 4, without_channels(relayed(setup("indication"), "tcp"))),
    ]
}

struct Sender {
    agent: Agent,
    now: Instant,
    stream: StreamId,
    room: Vec<u8>,
}

impl Sender {
    /// Sends with so much room; gives what was written.
    fn send(&mut self, payload: Payload<'_>, room: usize) -> Result<&[u8], SendError> {
        // What may not be written to is seen to be left alone.
        let around = self.room.len().min(room + 64);
        self.room[..around].fill(0xee);
        let (mut buf, _) = self.room.split_at_mut(room);
        let sent = self.agent.send(self.now, self.stream, RTP, payload, &mut buf).map(|transmit| transmit.len);
        let left = buf.remaining_mut();
        let written = room - left;
        assert_eq!(written, sent.unwrap_or(0), "what is told is what was written");
        assert!(self.room[written..around].iter().all(|byte| *byte == 0xee));
        sent.map(|len| &self.room[..len])
    }

    fn check(&mut self, payload: Payload<'_>, needed: usize, name: &str) {
        for room in [0, 1, needed / 2, needed.saturating_sub(4), needed.saturating_sub(1)] {
            if room < needed {
                assert_eq!(self.send(payload, room), Err(SendError::NoRoom(needed)), "{name}, {payload:?}");
            }
        }
        for room in [needed, needed + 1, needed + 3] {
            assert_eq!(self.send(payload, room).map(<[u8]>::len), Ok(needed), "{name}");
        }
    }
}

/// Req: 8445-12.1-a
#[test]
fn send_writes_what_it_says_into_the_room_that_it_asks_for() {
    for (name, around, mut pair) in ways() {
        assert!(pair.run_until_selected(secs(10)), "{name}");
        pair.run_for(secs(3));
        let (now, stream) = (pair.now(), pair.stream());
        let mut sender = Sender { agent: pair.l.agent, now, stream, room: vec![0; 100_000] };
        let data: Vec<u8> = (0..1500_u32).map(|place| 0x80 | (place % 64) as u8).collect();
        for length in 0..=1500 {
            sender.check(Payload::from(&data[..length]), length + around(length), name);
        }
        // Several datagrams at once, the last of them shorter.
        for (length, size) in
            [(1, 1), (7, 1), (7, 2), (100, 33), (1500, 499), (1500, 500), (1500, 1), (6, 5), (1500, 0)]
        {
            let whole = (length - 1_usize).checked_div(size).unwrap_or(0);
            let last = length - whole * size;
            let needed = whole * (size + around(size)) + last + around(last);
            sender.check(Payload::from(&data[..length]).with_segment_size(size), needed, name);
        }
    }
}

/// Req: 8445-12.1-a
#[test]
fn a_route_says_what_stands_around_each_payload_or_that_there_is_no_channel() {
    for (name, around, mut pair) in ways() {
        assert!(pair.run_until_selected(secs(10)), "{name}");
        pair.run_for(secs(3));
        let (now, stream) = (pair.now(), pair.stream());
        let route = match pair.l.agent.route(now, stream, RTP) {
            Ok(route) => route,
            Err(error) => {
                assert!(name.starts_with("indication"), "{name}");
                assert_eq!(error, SendError::NoChannel);
                continue;
            }
        };
        let data = [0x80; 1500];
        let mut sender = Sender { agent: pair.l.agent, now, stream, room: vec![0; 8192] };
        for length in 0..=1500 {
            let (prefix, trailer) = (route.prefix_len(), route.trailer_len(length));
            assert!(prefix <= Route::MAX_PREFIX && trailer <= Route::MAX_TRAILER);
            assert_eq!(prefix + trailer, around(length), "{name}");
            let mut header = [0xee; Route::MAX_PREFIX + 1];
            for room in 0..=header.len() {
                header.fill(0xee);
                assert_eq!(route.write_prefix(length, &mut header[..room]), room >= prefix, "{name}");
                let written = if room >= prefix { prefix } else { 0 };
                assert!(header[written..].iter().all(|byte| *byte == 0xee), "{name}");
            }
            let own = [&header[..prefix], &data[..length], &[0; 3][..trailer]].concat();
            let needed = own.len();
            assert_eq!(sender.send(Payload::from(&data[..length]), needed), Ok(own.as_slice()), "{name}");
        }
        let fits = prefix_fits(&route, 65_535);
        assert!(fits && prefix_fits(&route, 65_536) == (route.prefix_len() == 0), "{name}");
        assert!(prefix_fits(&route, usize::MAX) == (route.prefix_len() == 0), "{name}");
    }
}

fn prefix_fits(route: &Route, payload_len: usize) -> bool {
    route.write_prefix(payload_len, &mut [0; Route::MAX_PREFIX])
}

/// What a length field cannot say is an error, with any room.
#[test]
fn what_is_too_long_for_its_way_is_refused_before_its_room_is_looked_at() {
    for (name, around, mut pair) in ways() {
        assert!(pair.run_until_selected(secs(10)), "{name}");
        pair.run_for(secs(3));
        let (now, stream) = (pair.now(), pair.stream());
        let agent = &mut pair.l.agent;
        let data = vec![0x80; 65_540];
        for length in 65_470..=data.len() {
            let mut buf = BytesMut::new();
            let sent = agent.send(now, stream, RTP, &data[..length], &mut buf);
            match sent {
                Ok(transmit) => assert_eq!((transmit.len, buf.len()), (length + around(length), buf.len()), "{name}"),
                Err(error) => {
                    assert_eq!((error, buf.len()), (SendError::TooLong(length), 0), "{name}");
                    assert!(length > 65_535 - 64 && around(length) > 0, "{name}: {length}");
                }
            }
        }
        let mut none: &mut [u8] = &mut [];
        let batch = Payload::from(&data).with_segment_size(1);
        let refused = agent.send(now, stream, RTP, batch, &mut none);
        assert_eq!(refused, Err(SendError::NoRoom(data.len() * (1 + around(1)))), "{name}");
    }
}

/// Whatever room the caller has, at any moment of a session, datagrams come whole or not at all, and none is lost by asking.
#[test]
fn polling_with_little_room_gives_nothing_and_loses_nothing() {
    for (name, _, mut pair) in ways() {
        let mut written = 0;
        for _ in 0..400 {
            let Some(next) = pair.next_step().filter(|at| pair.since_start(*at) < secs(4)) else { break };
            pair.network.advance_to(next);
            for room in [0, 1, 20, 200, Agent::MAX_DATAGRAM - 1, Agent::MAX_DATAGRAM, 600, 1200, 1500] {
                let mut clone = pair.l.agent.clone();
                let agent = if room < Agent::MAX_DATAGRAM { &mut pair.l.agent } else { &mut clone };
                let mut bytes = vec![0; room];
                let mut buf = bytes.as_mut_slice();
                let sent = agent.poll_transmit(next, &mut buf);
                assert_eq!(room - buf.remaining_mut(), sent.map_or(0, |transmit| transmit.len), "{name}");
                assert!(sent.is_none() || room >= Agent::MAX_DATAGRAM, "{name}");
                written += usize::from(sent.is_some());
            }
            pair.step_to(next);
        }
        assert!(written > 3 || name.starts_with("TCP"), "{name}: {written}");
        assert!(pair.l.is_selected(), "{name}");
    }
}
