//! STUN and TURN servers that are wrong, or lie: nothing is believed blindly, and nothing is repeated without end.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BufMut;
use nilas::sim::{MessageBuilder, ServerMethod};
use nilas::{
    Agent, CandidateKind, ComponentId, Config, ConnectionState, Event, GatherError, GatheringState, IceServer, Instant,
    Role, Transport,
};

use crate::help::{ms, secs, setup};
use crate::solo::{Out, Solo, address};

const REALM: &[u8] = b"realm";
const ALLOCATE: u16 = 0x003;
const REFRESH: u16 = 0x004;

fn turn(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 3478))
}

fn user(number: u8) -> IceServer {
    IceServer::turn(turn(number), "user", "pass")
}

/// A request to a server.
#[derive(Clone, Copy)]
struct Asked {
    at: Instant,
    server: SocketAddr,
    method: u16,
    id: [u8; 12],
    is_signed: bool,
}

impl Asked {
    fn of(out: &Out) -> Option<Self> {
        let kind = u16::from_be_bytes([out.bytes[0], out.bytes[1]]);
        let id = out.bytes.get(8..20)?.try_into().unwrap();
        let is_signed = crate::solo::value(&out.bytes, 0x0008).is_some();
        (kind & 0xc110 == 0).then_some(Self { at: out.at, server: out.destination, method: kind, id, is_signed })
    }

    fn error(&self, code: u16) -> MessageBuilder {
        MessageBuilder::new(self.method | 0x110, self.id).error_code(code)
    }

    /// 401 or 438 with a realm and a nonce.
    fn challenge(&self, code: u16) -> Vec<u8> {
        self.error(code).attribute(0x0014, REALM).attribute(0x0015, b"nonce").build()
    }

    fn success(&self) -> MessageBuilder {
        MessageBuilder::new(self.method | 0x100, self.id)
    }

    /// An allocation of this address.
    fn grant(&self, relayed: &str, mapped: &str, lifetime: Option<u32>) -> Vec<u8> {
        let granted = self.success().xor_address(0x0016, address(relayed)).xor_address(0x0020, address(mapped));
        sign(match lifetime {
            Some(lifetime) => granted.attribute(0x000d, &lifetime.to_be_bytes()),
            None => granted,
        })
    }
}

fn sign(builder: MessageBuilder) -> Vec<u8> {
    builder.long_term_integrity("user", REALM, "pass").build()
}

/// Lets a server answer all requests for so long, in no time; gives them.
fn serve(solo: &mut Solo, time: Duration, mut answer: impl FnMut(&Asked) -> Option<Vec<u8>>) -> Vec<Asked> {
    let end = solo.now + time;
    let (mut seen, mut all) = (solo.out.len(), Vec::new());
    // What was sent before, when nobody served.
    seen = seen.min(solo.out.iter().position(|out| Asked::of(out).is_some()).unwrap_or(seen));
    loop {
        while let Some(out) = solo.out.get(seen).cloned() {
            seen += 1;
            let Some(asked) = Asked::of(&out) else { continue };
            all.push(asked);
            if let Some(bytes) = answer(&asked) {
                solo.receive_from(asked.server, &bytes);
            }
        }
        let Some(at) = solo.agent.poll_timeout().filter(|at| *at <= end) else { break };
        solo.now = at;
        solo.agent.handle_timeout(at);
        solo.drain();
    }
    solo.now = end;
    solo.out.clear();
    all
}

fn gathering(servers: &[IceServer]) -> Solo {
    let mut solo = Solo::with(Role::Controlling, Config::default());
    solo.agent.gather(solo.now, servers).unwrap();
    solo.drain();
    solo
}

fn errors(solo: &Solo) -> Vec<(u16, String)> {
    let told = |event: &Event| match event {
        Event::IceCandidateError { code, text, .. } => Some((*code, text.to_string())),
        _ => None,
    };
    solo.events.iter().filter_map(told).collect()
}

fn codes(solo: &Solo) -> Vec<u16> {
    errors(solo).into_iter().map(|(code, _)| code).collect()
}

fn of_kind(solo: &Solo, kind: CandidateKind) -> Vec<nilas::Candidate> {
    let told = |event: &Event| match event {
        Event::LocalCandidate { candidate, .. } if candidate.kind() == kind => Some((**candidate).clone()),
        _ => None,
    };
    solo.events.iter().filter_map(told).collect()
}

fn count(asked: &[Asked], method: u16) -> usize {
    asked.iter().filter(|one| one.method == method).count()
}

// Credentials.

/// S031
#[test]
fn a_turn_server_without_credentials_or_with_such_as_nothing_can_hold_is_refused() {
    let parsed: IceServer = "turn:192.0.2.1?transport=tcp".parse().unwrap();
    let mut solo = Solo::new(Role::Controlling);
    let now = solo.now;
    let before = solo.agent.poll_timeout();
    let mut gather = |servers: &[IceServer]| solo.agent.gather(now, servers);
    let url = |text: &str| Box::from(text);
    assert_eq!(
        gather(std::slice::from_ref(&parsed)),
        Err(GatherError::MissingCredentials(url("turn:192.0.2.1?transport=tcp")))
    );
    let long = IceServer::turn(turn(1), &"u".repeat(509), "pass");
    let expected = GatherError::UnusableCredentials(url("turn:192.0.2.1:3478?transport=udp"));
    assert_eq!(gather(&[IceServer::stun(turn(2)), long.clone()]), Err(expected));
    assert_eq!(solo.agent.poll_timeout(), before, "a call that fails changes nothing");
    let mut gather = |servers: &[IceServer]| solo.agent.gather(now, servers);
    assert_eq!(gather(&[long.anonymous()]), Ok(()));
    assert_eq!(gather(&[IceServer::turn(turn(1), &"u".repeat(508), &"p".repeat(5000))]), Ok(()));
    assert_eq!(gather(&[parsed.anonymous(), IceServer::turn_anonymous(turn(3)), IceServer::stun(turn(4))]), Ok(()));
    assert!(IceServer::turn_anonymous(turn(3)).is_anonymous());
    assert!(!IceServer::turn_anonymous(turn(3)).with_credentials("user", "pass").is_anonymous());
}

#[test]
fn a_guest_gets_an_allocation_of_a_server_that_asks_for_nothing() {
    let mut solo = gathering(&[IceServer::turn_anonymous(turn(1))]);
    let asked = serve(&mut solo, secs(1500), |asked| {
        assert!(!asked.is_signed);
        Some(match asked.method {
            ALLOCATE => asked
                .success()
                .xor_address(0x0016, address("192.0.2.1:50000"))
                .xor_address(0x0020, address("203.0.113.7:5000"))
                .build(),
            _ => asked.success().build(),
        })
    });
    assert_eq!((count(&asked, ALLOCATE), count(&asked, REFRESH)), (1, 2));
    assert_eq!(of_kind(&solo, CandidateKind::Relayed).len(), 1);
    let mut solo = gathering(&[IceServer::turn_anonymous(turn(1))]);
    let asked = serve(&mut solo, secs(30), |asked| Some(asked.challenge(401)));
    assert_eq!((asked.len(), codes(&solo)), (1, vec![401]));
}

// Challenges.

/// Polls with a buffer of so many bytes for so long; gives the requests to servers, and how often the agent wanted to be
/// called at once without having said anything.
fn poll_with(solo: &mut Solo, room: usize, time: Duration) -> (Vec<Out>, usize) {
    let end = solo.now + time;
    let (mut out, mut spins) = (Vec::new(), 0);
    for _ in 0..10_000 {
        let before = out.len();
        loop {
            let mut buf = Vec::new().limit(room);
            let Some(transmit) = solo.agent.poll_transmit(solo.now, &mut buf) else { break };
            let (source, destination, bytes) = (transmit.source, transmit.destination, buf.into_inner());
            out.push(Out { at: solo.now, source, destination, bytes });
        }
        let mut has_event = false;
        while let Some(event) = solo.agent.poll_event() {
            has_event = true;
            solo.events.push(event);
        }
        let Some(at) = solo.agent.poll_timeout().filter(|at| *at <= end) else { break };
        if at <= solo.now && out.len() == before && !has_event {
            spins += 1;
        }
        solo.now = solo.now.max(at);
        solo.agent.handle_timeout(solo.now);
    }
    solo.now = solo.now.max(end);
    (out, spins)
}

/// The first Allocate, which has not been answered.
fn first_request(solo: &mut Solo) -> Asked {
    let (out, _) = poll_with(solo, 1500, ms(100));
    let mut asked = solo.out.drain(..).chain(out).filter_map(|out| Asked::of(&out));
    asked.find(|asked| asked.method == ALLOCATE).unwrap()
}

/// Req: 8489-9.2.5-a
#[test]
fn a_challenge_of_any_length_is_answered_in_1500_bytes_or_the_server_is_given_up() {
    for (realm, nonce, algorithms, is_met) in [
        (0, 20, 0, true),
        (5, 0, 0, true),
        (763, 20, 0, true),
        (20, 763, 0, true),
        (650, 650, 0, true),
        (763, 763, 0, false),
        (764, 20, 0, false),
        (20, 764, 0, false),
        (20, 40, 8, true),
        (20, 40, 60_000, false),
        (60_000, 20, 0, false),
    ] {
        let mut solo = gathering(&[user(1)]);
        let first = first_request(&mut solo);
        let mut text = vec![b'n'; nonce];
        if algorithms > 0 {
            text.splice(..0, *b"obMatJos2gAAA");
        }
        let mut error = first.error(401).attribute(0x0014, &vec![b'r'; realm]).attribute(0x0015, &text);
        if algorithms > 0 {
            error = error.attribute(0x8002, &[0, 2, 0, 0].repeat(algorithms / 4));
        }
        solo.hand_in(first.server, solo.local, &error.build());
        let (out, spins) = poll_with(&mut solo, 1500, secs(60));
        let case = (realm, nonce, algorithms);
        assert_eq!((spins, !out.is_empty()), (0, is_met), "{case:?}");
        assert!(out.iter().all(|out| out.bytes.len() <= 1500));
        assert_eq!(solo.agent.gathering_state(), GatheringState::Complete, "{case:?}");
        let told = codes(&solo);
        assert_eq!(told, [if is_met { 701 } else { 401 }], "{case:?}");
    }
}

#[test]
fn a_request_that_no_buffer_has_room_for_waits_a_while_and_is_told() {
    let mut solo = gathering(&[user(1), IceServer::stun(turn(2))]);
    let first = first_request(&mut solo);
    let error = first.error(401).attribute(0x0014, &[b'r'; 400]).attribute(0x0015, &[b'n'; 400]).build();
    solo.hand_in(first.server, solo.local, &error);
    let mut patient = solo.clone();
    let (out, spins) = poll_with(&mut solo, 600, secs(60));
    assert_eq!(spins, 0);
    assert!(!out.is_empty() && out.iter().all(|out| out.destination == turn(2)), "others do not wait");
    assert_eq!(solo.agent.gathering_state(), GatheringState::Complete);
    assert_eq!(errors(&solo)[0], (0, "no buffer has room for the request".into()));
    // A larger buffer that comes in time gets it at once.
    let (_, spins) = poll_with(&mut patient, 600, secs(2));
    let (out, more) = poll_with(&mut patient, 1000, ms(50));
    assert_eq!((spins, more), (0, 0));
    assert!(out.iter().any(|out| out.destination == turn(1) && out.bytes.len() > 800));
    assert_eq!(errors(&patient), []);
}

/// Req: 8656-8-b
#[test]
fn a_closed_agent_that_has_no_room_to_say_goodbye_ends_all_the_same() {
    let mut solo = gathering(&[user(1)]);
    let long = |asked: &Asked| asked.error(401).attribute(0x0014, REALM).attribute(0x0015, &[b'n'; 700]).build();
    serve(&mut solo, secs(2), |asked| {
        Some(if asked.is_signed { asked.grant("192.0.2.1:50000", "203.0.113.7:5000", None) } else { long(asked) })
    });
    assert_eq!(of_kind(&solo, CandidateKind::Relayed).len(), 1);
    let mut cramped = solo.clone();
    for (solo, room) in [(&mut solo, 1000), (&mut cramped, 600)] {
        solo.agent.close(solo.now);
        let (out, spins) = poll_with(solo, room, secs(60));
        assert_eq!((spins, out.len()), (0, if room == 1000 { 2 } else { 0 }));
        assert!(matches!(solo.events.last(), Some(Event::RelayReleased { .. })));
        assert_eq!(solo.agent.poll_timeout(), None);
    }
}

/// Req: 8656-7.4-a
/// Req: 8489-9.2.5-b
#[test]
fn errors_that_anybody_can_forge_end_no_allocation() {
    for method in [ServerMethod::Refresh, ServerMethod::ChannelBind] {
        for (code, times) in [(401, 1), (438, 1), (401, 2), (438, 5), (401, u32::MAX), (438, u32::MAX)] {
            let name = format!("{method:?} {code} {times}");
            let mut pair = setup(&name)
                .with_turn(turn(100).ip())
                .left(|l| l.only_reaches = Some(turn(100).ip()))
                .right(|r| r.servers.clear())
                .build();
            assert!(pair.run_until_selected(secs(5)), "{name}");
            pair.run_for(secs(2));
            pair.servers[0].fail_unauthenticated(method, code, times);
            let before = pair.servers[0].count(method);
            // Permissions and channels are renewed after less than 300 s, the allocation after 540 s.
            let renewed = if method == ServerMethod::Refresh { secs(590) } else { secs(290) };
            pair.run_for(renewed);
            assert!(pair.l.agent.state().is_connected(), "{name}");
            let is_end = |event: &Event| matches!(event, Event::RelayLost { .. });
            assert!(pair.l.events.iter().all(|(_, event)| !is_end(event)), "{name}");
            let asked = pair.servers[0].count(method) - before;
            let trouble = pair
                .l
                .events
                .iter()
                .filter(|(_, event)| matches!(event, Event::IceCandidateError { code: told, .. } if *told == code));
            let is_told = trouble.count() > 0;
            assert_eq!(is_told, times > 1, "{name}: one more request is all that one costs");
            assert!((2..=30).contains(&asked), "{name}: {asked}");
            if times < u32::MAX {
                pair.run_for(secs(1200));
                assert_eq!(pair.l.agent.state(), ConnectionState::Completed, "{name}");
                assert!(pair.l.events.iter().all(|(_, event)| !is_end(event)), "{name}");
            }
        }
    }
}

/// Req: 8656-7.4-a
/// Req: 8489-9.2.5-b
#[test]
fn errors_that_anybody_can_forge_delay_a_permission_and_no_more() {
    for (code, times, within) in [(401, 1, 2), (438, 1, 2), (401, 2, 4), (438, 3, 4), (401, 6, 12), (438, 9, 12)] {
        let mut setup = setup(&format!("permission {code} {times}"))
            .with_turn(turn(100).ip())
            .left(|l| l.only_reaches = Some(turn(100).ip()))
            .right(|r| r.servers.clear());
        setup.l.start = ms(1);
        let mut pair = setup.build();
        pair.servers[0].fail_unauthenticated(ServerMethod::CreatePermission, code, times);
        assert!(pair.run_until_selected(secs(within)), "{code} {times}");
    }
}

// What they name.

const BAD: [&str; 8] = [
    "0.0.0.0:5",
    "255.255.255.255:5",
    "224.0.0.1:5",
    "127.0.0.1:5",
    "169.254.169.254:5",
    "[::ffff:127.0.0.1]:5",
    "[ff02::1]:5",
    "203.0.113.7:0",
];

#[test]
fn mapped_addresses_that_nobody_can_have_there_make_no_candidate() {
    for bad in BAD {
        for config in [Config::default(), Config::default().with_loopback(true)] {
            let mut solo = Solo::with(Role::Controlling, config);
            solo.agent.gather(solo.now, &[IceServer::stun(turn(1)), user(2)]).unwrap();
            solo.drain();
            serve(&mut solo, secs(20), |asked| {
                Some(match (asked.method, asked.is_signed) {
                    (ALLOCATE, false) => asked.challenge(401),
                    (ALLOCATE, true) => asked.grant("192.0.2.2:50000", bad, None),
                    _ => asked.success().xor_address(0x0020, address(bad)).build(),
                })
            });
            assert_eq!(of_kind(&solo, CandidateKind::ServerReflexive), [], "{bad}");
            assert_eq!(solo.agent.gathering_state(), GatheringState::Complete);
            assert_eq!(codes(&solo), [0], "{bad}: the STUN server is told of");
            let relayed = of_kind(&solo, CandidateKind::Relayed);
            assert_eq!(relayed.len(), 1);
            let related = relayed[0].related_address().unwrap().socket().unwrap();
            assert!(related.ip().is_unspecified() && related.port() == 9, "{bad}: {related}");
        }
    }
}

#[test]
fn a_server_on_loopback_may_name_addresses_there() {
    let config = Config::default().with_loopback(true);
    let mut agent = Agent::new(config, Role::Controlling, nilas::Seed::from_name("loopback")).unwrap();
    let (now, stream) = (Instant::ZERO, agent.add_stream(1).unwrap());
    agent.add_socket(now, stream, ComponentId::RTP, Transport::Udp, address("127.0.0.1:5000")).unwrap();
    let mapped = |agent: &mut Agent, text| {
        let near = Some("127.0.0.1".parse().unwrap());
        agent.add_server_reflexive(now, stream, address("127.0.0.1:5000"), address(text), near)
    };
    assert!(mapped(&mut agent, "127.0.0.1:6000").is_ok());
    assert!(mapped(&mut agent, "169.254.0.1:6000").is_err());
}

/// Req: 8656-7.3-b
#[test]
fn relayed_addresses_that_nobody_can_have_there_are_given_back_and_not_asked_for_again() {
    for bad in BAD {
        let mut solo = gathering(&[user(2)]);
        let asked = serve(&mut solo, secs(600), |asked| {
            Some(match (asked.method, asked.is_signed) {
                (ALLOCATE, false) => asked.challenge(401),
                (ALLOCATE, true) => asked.grant(bad, "203.0.113.7:5000", None),
                _ => sign(asked.success()),
            })
        });
        assert_eq!(of_kind(&solo, CandidateKind::Relayed), [], "{bad}");
        assert_eq!((count(&asked, ALLOCATE), count(&asked, REFRESH), asked.len()), (2, 1, 3), "{bad}");
        assert_eq!(codes(&solo), [0], "{bad}");
    }
}

/// Req: 8656-7.4-b
/// Scenario: S152
#[test]
fn a_redirection_to_where_nothing_is_to_be_asked_is_told_and_not_followed() {
    for bad in BAD.into_iter().chain(["192.0.2.1:3478", "[2001:db8::1]:3478", "[fe80::1]:3478"]) {
        let mut solo = gathering(&[user(1)]);
        let alternate = |asked: &Asked| {
            let to = address(bad);
            let mut value = vec![0, if to.is_ipv4() { 1 } else { 2 }];
            value.extend(to.port().to_be_bytes());
            match to.ip() {
                std::net::IpAddr::V4(v4) => value.extend(v4.octets()),
                std::net::IpAddr::V6(v6) => value.extend(v6.octets()),
            }
            sign(asked.error(300).attribute(0x8023, &value))
        };
        let asked = serve(&mut solo, secs(600), |asked| {
            assert_eq!(asked.server, turn(1), "{bad}");
            Some(if asked.is_signed { alternate(asked) } else { asked.challenge(401) })
        });
        assert_eq!((asked.len(), codes(&solo)), (2, vec![300]), "{bad}");
    }
}

/// Req: 8656-7.4-b
#[test]
fn servers_that_send_us_on_and_on_are_given_up() {
    let mut solo = gathering(&[user(1)]);
    let mut servers = Vec::new();
    let asked = serve(&mut solo, secs(600), |asked| {
        servers.push(asked.server);
        let next = turn(servers.len() as u8);
        let SocketAddr::V4(next) = next else { panic!() };
        let value = [&[0, 1], &next.port().to_be_bytes()[..], &next.ip().octets()].concat();
        Some(if asked.is_signed { sign(asked.error(300).attribute(0x8023, &value)) } else { asked.challenge(401) })
    });
    servers.dedup();
    assert_eq!((servers.len(), asked.len(), codes(&solo)), (6, 12, vec![300]), "the server, and five in its place");
}

#[test]
fn an_agent_has_64_relays_at_a_time() {
    let mut solo = Solo::with(Role::Controlling, Config::default().with_ta(ms(5)));
    for text in ["198.51.100.1:5001", "198.51.100.1:5002"] {
        solo.add_socket(text);
    }
    let servers: Vec<IceServer> = (1..33).map(user).collect();
    solo.agent.gather(solo.now, &servers).unwrap();
    solo.drain();
    let mut ways = std::collections::BTreeSet::new();
    let mut seen = 0;
    for _ in 0..200 {
        solo.run_for(ms(5));
        for out in &solo.out[seen..] {
            ways.extend(Asked::of(out).filter(|asked| asked.method == ALLOCATE).map(|_| (out.source, out.destination)));
        }
        seen = solo.out.len();
    }
    let refused =
        errors(&solo).iter().filter(|(code, text)| (*code, text.as_str()) == (0, "too many allocations")).count();
    assert_eq!((ways.len(), refused), (64, 32));
}

/// Req: 8445-5.1.1.2-f
#[test]
fn a_relayed_address_that_there_is_already_is_told_and_given_back() {
    for second in ["192.0.2.1:50000", "198.51.100.1:5000"] {
        let mut solo = gathering(&[user(1), user(2)]);
        let mut released = Vec::new();
        serve(&mut solo, secs(600), |asked| {
            if asked.method == REFRESH && asked.server == turn(2) {
                released.push(asked.at);
            }
            Some(match (asked.method, asked.is_signed) {
                (ALLOCATE, false) => asked.challenge(401),
                (ALLOCATE, true) if asked.server == turn(1) => asked.grant("192.0.2.1:50000", "203.0.113.7:5000", None),
                (ALLOCATE, true) => asked.grant(second, "203.0.113.7:5000", None),
                _ => sign(asked.success()),
            })
        });
        assert_eq!(of_kind(&solo, CandidateKind::Relayed).len(), 1, "{second}");
        assert_eq!(errors(&solo), [(0, "the relayed address is in use by another candidate".into())]);
        assert_eq!(released.len(), 1, "{second}");
        assert_eq!(solo.agent.gathering_state(), GatheringState::Complete);
    }
}

// What is repeated.

/// Req: 8656-7.3-a
#[test]
fn allocations_that_die_at_once_are_asked_for_again_ever_more_rarely() {
    for lifetime in [0, 1, 3, 5] {
        let mut solo = gathering(&[user(1)]);
        let mut last = [None; 2];
        let asked = serve(&mut solo, secs(600), |asked| {
            if asked.method == ALLOCATE && asked.is_signed {
                last = [last[1], Some(asked.at)];
            }
            Some(match (asked.method, asked.is_signed) {
                (ALLOCATE, false) => asked.challenge(401),
                (ALLOCATE, true) => asked.grant("192.0.2.1:50000", "203.0.113.7:5000", Some(lifetime)),
                _ => sign(asked.success().attribute(0x000d, &lifetime.to_be_bytes())),
            })
        });
        let allocations = count(&asked, ALLOCATE) / 2;
        println!("lifetime {lifetime}: {allocations} allocations");
        assert!((5..=12).contains(&allocations) && count(&asked, REFRESH) <= allocations, "{lifetime}: {allocations}");
        assert!(last[1].unwrap() - last[0].unwrap() > secs(100), "{lifetime}");
    }
}

/// Req: 8656-7.3-a
#[test]
fn allocations_whose_lifetime_is_not_told_or_is_beyond_measure_are_refreshed_all_the_same() {
    for (lifetime, expected) in [(None, 12), (Some(600), 12), (Some(u32::MAX), 1), (Some(86_400), 1)] {
        let mut solo = gathering(&[user(1)]);
        let asked = serve(&mut solo, secs(7000), |asked| {
            let told = asked.success();
            Some(match (asked.method, asked.is_signed) {
                (ALLOCATE, false) => asked.challenge(401),
                (ALLOCATE, true) => asked.grant("192.0.2.1:50000", "203.0.113.7:5000", lifetime),
                _ => sign(match lifetime {
                    Some(lifetime) => told.attribute(0x000d, &lifetime.to_be_bytes()),
                    None => told,
                }),
            })
        });
        assert_eq!((count(&asked, ALLOCATE), count(&asked, REFRESH)), (2, expected), "{lifetime:?}");
        assert_eq!(of_kind(&solo, CandidateKind::Relayed).len(), 1);
    }
}

/// Req: 8656-12.3-a
/// Req: 8656-8.3-a
/// Req: 8656-9-a
#[test]
fn whatever_a_server_says_it_is_asked_a_bounded_number_of_times() {
    let methods =
        [ServerMethod::Allocate, ServerMethod::Refresh, ServerMethod::CreatePermission, ServerMethod::ChannelBind];
    let mut worst = (0, String::new());
    for (number, code) in [400, 401, 403, 437, 438, 486, 500, 508].into_iter().enumerate() {
        for method in methods {
            // From the beginning, or once all is well; over UDP, or TCP.
            for is_late in [false, true] {
                let transport = if (number + usize::from(is_late)) % 2 == 0 { "udp" } else { "tcp" };
                let name = format!("{code} to {method:?} over {transport}, late: {is_late}");
                let server: IceServer = format!("turn:192.0.2.100:3478?transport={transport}").parse().unwrap();
                let mut setup = setup(&name)
                    .with_turn(turn(100).ip())
                    .left(|l| {
                        l.only_reaches = Some(turn(100).ip());
                        l.servers = vec![server.with_credentials("user", "pass")];
                    })
                    .right(|r| r.servers.clear());
                setup.l.start = ms(1);
                let mut pair = setup.build();
                pair.servers[0] = pair.servers[0].clone().with_lifetime(secs(120));
                if is_late {
                    assert!(pair.run_until_selected(secs(5)), "{name}");
                }
                if matches!(code, 401 | 438) {
                    pair.servers[0].fail_unauthenticated(method, code, u32::MAX);
                } else {
                    pair.servers[0].fail(method, code, u32::MAX);
                }
                if is_late && method == ServerMethod::Allocate {
                    pair.servers[0].forget_allocations();
                }
                pair.run_for(secs(600));
                let asked = pair.servers[0].served().len();
                if asked > worst.0 {
                    worst = (asked, name);
                }
            }
        }
    }
    println!("{worst:?}");
    // A Refresh each minute, channel and permission every four, and what fails with back-off, each with a 401 or two.
    assert!(worst.0 <= 90, "{worst:?}");
}

/// Req: 6544-11.2-a
#[test]
fn a_server_that_hangs_up_at_once_is_called_again_ever_more_rarely() {
    for after_selection in [false, true] {
        let server: IceServer = "turn:192.0.2.100:3478?transport=tcp".parse().unwrap();
        let mut pair = setup("hangs up")
            .with_turn(turn(100).ip())
            .left(|l| {
                l.only_reaches = Some(turn(100).ip());
                l.servers = vec![server.with_credentials("user", "pass")];
            })
            .right(|r| r.servers.clear())
            .build();
        if after_selection {
            assert!(pair.run_until_selected(secs(5)));
        }
        let host = pair.l.host();
        for _ in 0..3000 {
            pair.run_for(ms(200));
            pair.network.reset_streams(host);
        }
        let asked = pair.servers[0].served().len();
        println!("asked {asked} times");
        assert!(asked <= 40, "{asked}");
    }
}
