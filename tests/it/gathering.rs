//! Gathering from STUN servers whose every answer is written by hand.

use std::net::SocketAddr;

use nilas::sim::MessageBuilder;
use nilas::{Candidate, CandidateKind, Config, Event, GatheringState, IceServer, Role};

use crate::help::{ms, secs};
use crate::solo::{Out, Outcome, Solo, address};

const MAPPED: &str = "203.0.113.77:40000";

fn server(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 3478))
}

fn stun(numbers: impl IntoIterator<Item = u8>) -> Vec<IceServer> {
    numbers.into_iter().map(|number| IceServer::stun(server(number))).collect()
}

/// An agent that gathers from these servers.
fn gathering(servers: &[IceServer]) -> Solo {
    gathering_with(Config::default(), servers)
}

fn gathering_with(config: Config, servers: &[IceServer]) -> Solo {
    let mut solo = Solo::with(Role::Controlling, config);
    solo.agent.gather(solo.now, servers).unwrap();
    solo.drain();
    solo
}

/// The ID of a request to a server.
fn id(out: &Out) -> [u8; 12] {
    out.bytes[8..20].try_into().unwrap()
}

fn mapped(text: &str) -> std::net::SocketAddrV4 {
    text.parse().unwrap()
}

/// The answer of a server without credentials and FINGERPRINT.
fn answer(out: &Out, address: &str) -> Vec<u8> {
    MessageBuilder::binding_success(id(out)).mapped_v4(mapped(address)).build()
}

fn errors(solo: &Solo) -> Vec<(String, Option<SocketAddr>, u16, String)> {
    solo.events
        .iter()
        .filter_map(|event| match event {
            Event::IceCandidateError { url, base, code, text, .. } => {
                Some((url.to_string(), *base, *code, text.to_string()))
            }
            _ => None,
        })
        .collect()
}

fn candidates(solo: &Solo) -> Vec<Candidate> {
    solo.events
        .iter()
        .filter_map(|event| match event {
            Event::LocalCandidate { candidate, .. } => Some((**candidate).clone()),
            _ => None,
        })
        .collect()
}

fn ends(solo: &Solo) -> usize {
    solo.events.iter().filter(|event| matches!(event, Event::EndOfCandidates { .. })).count()
}

/// Req: 8445-5.1.1.2-a
/// Req: 8445-4-a
#[test]
fn a_server_reflexive_candidate_is_what_the_server_has_seen_and_the_end_follows_it() {
    let mut solo = gathering(&stun([1]));
    let request = solo.last();
    assert_eq!((request.source, request.destination), (solo.local, server(1)));
    // A Binding request with FINGERPRINT and nothing else.
    assert_eq!((request.bytes.len(), &request.bytes[..4]), (28, &[0, 1, 0, 8][..]));
    assert_eq!((solo.agent.gathering_state(), ends(&solo)), (GatheringState::Gathering, 0));
    assert_eq!(solo.receive_from(server(1), &answer(&request, MAPPED)), Outcome::Handled);
    let of_server = candidates(&solo).pop().unwrap();
    assert_eq!(of_server.kind(), CandidateKind::ServerReflexive);
    assert_eq!(of_server.socket_address(), Some(address(MAPPED)));
    assert_eq!(of_server.related_address().and_then(|related| related.socket()), Some(solo.local));
    assert_eq!((solo.agent.gathering_state(), ends(&solo)), (GatheringState::Complete, 1));
    let kinds: Vec<_> = solo.events.iter().rev().take(2).collect();
    assert!(matches!(kinds[..], [Event::GatheringStateChanged { .. }, Event::EndOfCandidates { .. }]), "{kinds:?}");
    assert_eq!(errors(&solo), []);
}

/// S143
/// Req: wpc-iceerror-b
#[test]
fn of_three_servers_two_dead_ones_cost_the_living_one_nothing() {
    let mut solo = gathering(&stun([1, 2, 3]));
    solo.run_for(ms(100));
    let requests = solo.take();
    assert_eq!(
        requests.iter().map(|out| (out.at, out.destination)).collect::<Vec<_>>(),
        [
            (nilas::Instant::ZERO, server(1)),
            (nilas::Instant::ZERO + ms(50), server(2)),
            (nilas::Instant::ZERO + ms(100), server(3)),
        ]
    );
    solo.run_for(ms(40));
    solo.receive_from(server(3), &answer(&requests[2], MAPPED));
    // One round trip and two times Ta after the start.
    assert_eq!(candidates(&solo).len(), 2);
    solo.run_for(ms(9_859));
    assert_eq!((ends(&solo), errors(&solo)), (0, vec![]));
    solo.run_for(ms(51));
    // Ten seconds after the last dead server was first asked.
    assert_eq!((ends(&solo), solo.agent.gathering_state()), (1, GatheringState::Complete));
    let told: Vec<_> = errors(&solo).into_iter().map(|(url, base, code, _)| (url, base, code)).collect();
    let expected = |number| (format!("stun:192.0.2.{number}:3478"), Some(solo.local), 701);
    assert_eq!(told, [expected(1), expected(2)]);
    solo.run_for(secs(60));
    assert_eq!((errors(&solo).len(), ends(&solo)), (2, 1));
}

/// Req: 8445-14.3-a
#[test]
fn a_request_to_a_silent_server_follows_the_schedule_of_checks() {
    let mut solo = gathering(&stun([1]));
    solo.run_for(secs(20));
    let sent: Vec<_> = solo.take().into_iter().map(|out| (out.at.as_nanos() / 1_000_000, out.bytes)).collect();
    assert_eq!(sent.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 500, 1500, 3500, 7500]);
    assert!(sent.iter().all(|(_, bytes)| *bytes == sent[0].1), "a repetition is the same request");
}
