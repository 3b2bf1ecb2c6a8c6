//! Gathering from STUN servers whose every answer is written by hand.

use std::net::SocketAddr;

use nilas::sim::MessageBuilder;
use nilas::{
    Agent, Candidate, CandidateKind, ComponentId, Config, ConnectionState, Event, GatherError, GatheringState,
    IceServer, Instant, RemoteDescription, Role, Seed, StateReason, Transport,
};

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
        [(Instant::ZERO, server(1)), (Instant::ZERO + ms(50), server(2)), (Instant::ZERO + ms(100), server(3)),]
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

/// The answer of a server with an error.
fn error(out: &Out, code: u16) -> Vec<u8> {
    MessageBuilder::binding_error(id(out), code).build()
}

fn codes(solo: &Solo) -> Vec<u16> {
    errors(solo).into_iter().map(|(_, _, code, _)| code).collect()
}

fn reflexive(solo: &Solo) -> Vec<Candidate> {
    candidates(solo).into_iter().filter(|one| one.kind() == CandidateKind::ServerReflexive).collect()
}

/// Req: 8445-5.1.1.2-a
/// Req: 8445-5.1.1.2-c
/// Req: 8445-14.2-a
#[test]
fn every_socket_asks_every_server_of_its_family_ta_apart() {
    let mut solo = Solo::new(Role::Controlling);
    for text in ["198.51.100.2:5000", "[2001:db8::1]:5000", "[fe80::1]:5000"] {
        solo.add_socket(text);
    }
    let mut servers = stun([1, 2]);
    servers.push("stun:[2001:db8:9::1]".parse().unwrap());
    solo.agent.gather(solo.now, &servers).unwrap();
    solo.drain();
    solo.run_for(ms(400));
    let asked: Vec<_> = solo.take().into_iter().map(|out| (out.at, out.source, out.destination)).collect();
    let v6 = ("[2001:db8::1]:5000", "[2001:db8:9::1]:3478");
    let expected = [
        ("198.51.100.1:5000", "192.0.2.1:3478"),
        ("198.51.100.1:5000", "192.0.2.2:3478"),
        ("198.51.100.2:5000", "192.0.2.1:3478"),
        ("198.51.100.2:5000", "192.0.2.2:3478"),
        v6,
    ];
    for (place, ((at, source, destination), (base, server))) in asked.iter().zip(expected).enumerate() {
        assert_eq!(*at, Instant::ZERO + ms(50) * place as u32);
        assert_eq!((*source, *destination), (address(base), address(server)));
    }
    assert_eq!(asked.len(), 5);
}

/// Req: 8445-14.3-a
#[test]
fn many_requests_at_once_are_repeated_later() {
    let mut solo = gathering(&stun(1..=20));
    solo.run_for(ms(1_999));
    let of_first = |solo: &Solo| solo.out.iter().filter(|out| out.destination == server(1)).count();
    let first = solo.out.first().unwrap().bytes.clone();
    // Twenty candidates are sought: 20 times Ta is the first wait.
    let at: Vec<_> =
        solo.out.iter().filter(|out| out.bytes == first).map(|out| out.at.as_nanos() / 1_000_000).collect();
    assert_eq!((at, of_first(&solo)), (vec![0, 1000], 2));
}

/// Req: 8445-5.1.1.2-d
#[test]
fn a_redirection_ends_the_request_and_goes_nowhere() {
    let mut solo = gathering(&stun([1]));
    let request = solo.last();
    // ALTERNATE-SERVER, 192.0.2.99:3478.
    let redirection = MessageBuilder::binding_error(id(&request), 300)
        .attribute(0x8023, &[0, 1, 0x0d, 0x96, 192, 0, 2, 99])
        .fingerprint()
        .build();
    solo.take();
    assert_eq!(solo.receive_from(server(1), &redirection), Outcome::Handled);
    assert_eq!((codes(&solo), ends(&solo)), (vec![300], 1));
    solo.run_for(secs(60));
    assert_eq!(solo.out, []);
}

/// Req: 8445-5.1.1.2-e
#[test]
fn a_server_of_rfc_3489_is_understood() {
    let mut solo = gathering(&stun([1]));
    let request = solo.last();
    let address = [0, 1, 0x9c, 0x40, 203, 0, 113, 77];
    let legacy = MessageBuilder::binding_success(id(&request))
        .attribute(0x0001, &address)
        .attribute(0x0004, &[0, 1, 0x0d, 0x96, 192, 0, 2, 1])
        .attribute(0x0005, &[0, 1, 0x0d, 0x97, 192, 0, 2, 2])
        .build();
    assert_eq!(solo.receive_from(server(1), &legacy), Outcome::Handled);
    assert_eq!(reflexive(&solo)[0].socket_address(), Some("203.0.113.77:40000".parse().unwrap()));
}

/// Req: wpc-iceerror-a
#[test]
fn an_error_is_told_with_its_code_and_text_and_only_one_that_may_pass_is_asked_again() {
    for code in [300, 400, 401, 420, 487] {
        let mut solo = gathering(&stun([1]));
        let request = solo.last();
        solo.take();
        assert_eq!(solo.receive_from(server(1), &error(&request, code)), Outcome::Handled);
        assert_eq!(errors(&solo).len(), 1);
        let (url, base, told, _) = errors(&solo).remove(0);
        assert_eq!((url.as_str(), base, told), ("stun:192.0.2.1:3478", Some(solo.local), code));
        solo.run_for(secs(60));
        assert_eq!((solo.out.len(), ends(&solo)), (0, 1));
    }
    let mut solo = gathering(&stun([1]));
    let mut asked = 0;
    while codes(&solo).is_empty() {
        asked += 1;
        let request = solo.last();
        solo.take();
        solo.receive_from(server(1), &error(&request, 500));
        while solo.out.is_empty() && codes(&solo).is_empty() {
            solo.run_for(ms(100));
        }
    }
    // Again after 0.5, 1, 2 and 4 s; then the time of the server would be over.
    assert_eq!((asked, codes(&solo), ends(&solo)), (5, vec![500], 1));
    assert_eq!(solo.now.as_nanos() / 1_000_000, 7500);
}

#[test]
fn a_server_that_recovers_is_heard() {
    let mut solo = gathering(&stun([1]));
    let request = solo.last();
    solo.receive_from(server(1), &error(&request, 503));
    solo.run_for(ms(500));
    let again = solo.last();
    assert_ne!(id(&again), id(&request), "it is a transaction of its own");
    solo.receive_from(server(1), &answer(&again, MAPPED));
    assert_eq!((reflexive(&solo).len(), codes(&solo), ends(&solo)), (1, vec![], 1));
}

/// Req: wpc-iceerror-b
#[test]
fn a_server_that_no_host_reaches_is_told_of_once() {
    let mut solo = Solo::new(Role::Controlling);
    solo.add_socket("198.51.100.2:5000");
    solo.add_socket("198.51.100.3:5000");
    solo.agent.gather(solo.now, &stun([1])).unwrap();
    solo.drain();
    solo.run_for(secs(60));
    let (url, base, code, _) = errors(&solo).remove(0);
    assert_eq!((errors(&solo).len(), url.as_str(), base, code), (1, "stun:192.0.2.1:3478", None, 701));
    // One that is reached by one host of three is reachable.
    let mut solo = Solo::new(Role::Controlling);
    solo.add_socket("198.51.100.2:5000");
    solo.agent.gather(solo.now, &stun([1])).unwrap();
    solo.drain();
    solo.receive_from(server(1), &answer(&solo.last(), MAPPED));
    solo.run_for(secs(60));
    assert_eq!((errors(&solo).len(), ends(&solo)), (0, 1));
    // And one of another family is out of reach.
    let solo = gathering(&["stun:[2001:db8::1]".parse().unwrap()]);
    assert_eq!((codes(&solo), solo.out.len(), ends(&solo)), (vec![701], 0, 1));
}

/// Req: 8445-5.1.3-a
#[test]
fn redundant_candidates_are_left_out() {
    // Without a NAT the server sees the host candidate.
    let mut solo = gathering(&stun([1]));
    solo.receive_from(server(1), &answer(&solo.last(), "198.51.100.1:5000"));
    assert_eq!((candidates(&solo).len(), ends(&solo)), (1, 1));
    // Two servers that see the same address make one candidate, that of the first.
    let mut solo = gathering(&stun([1, 2]));
    solo.run_for(ms(50));
    let requests = solo.take();
    solo.receive_from(server(1), &answer(&requests[0], MAPPED));
    solo.receive_from(server(2), &answer(&requests[1], MAPPED));
    assert_eq!((reflexive(&solo).len(), ends(&solo)), (1, 1));
    // Two that see different ones make two, which differ in foundation and priority.
    let mut solo = gathering(&stun([1, 2]));
    solo.run_for(ms(50));
    let requests = solo.take();
    solo.receive_from(server(1), &answer(&requests[0], MAPPED));
    solo.receive_from(server(2), &answer(&requests[1], "203.0.113.77:40001"));
    let [a, b] = &reflexive(&solo)[..] else { panic!("two candidates") };
    assert!(a.foundation() != b.foundation() && a.priority() > b.priority());
    let urls: Vec<_> = solo.agent.local_candidates(solo.stream).map(|one| one.url.map(str::to_owned)).collect();
    assert_eq!(urls, [None, Some("stun:192.0.2.1:3478".to_owned()), Some("stun:192.0.2.2:3478".to_owned())]);
}

/// S018
#[test]
fn what_is_no_answer_of_the_server_changes_nothing() {
    let mut solo = gathering(&stun([1]));
    let request = solo.last();
    let before = (solo.digest(), solo.future());
    let good = answer(&request, MAPPED);
    let mut bad_fingerprint =
        MessageBuilder::binding_success(id(&request)).mapped_v4(mapped(MAPPED)).fingerprint().build();
    *bad_fingerprint.last_mut().unwrap() ^= 1;
    let mut wrong_id = good.clone();
    wrong_id[19] ^= 1;
    let mut bad_length = good.clone();
    bad_length[23] ^= 0x40;
    let elsewhere: SocketAddr = "192.0.2.1:3479".parse().unwrap();
    for (source, bytes) in [
        (elsewhere, &good),
        (server(2), &good),
        (server(1), &wrong_id),
        (server(1), &bad_fingerprint),
        (server(1), &bad_length),
        (server(1), &good[..20].to_vec()),
    ] {
        assert!(matches!(solo.receive_from(source, bytes), Outcome::Dropped(_)), "{bytes:?}");
        assert_eq!((solo.digest(), solo.future()), before);
    }
    assert_eq!(solo.receive_from(server(1), &good), Outcome::Handled);
    let after = solo.digest();
    assert!(matches!(solo.receive_from(server(1), &good), Outcome::Dropped(_)), "it was answered already");
    assert_eq!(solo.digest(), after);
}

#[test]
fn an_answer_that_says_nothing_ends_the_request() {
    let cases = [
        MessageBuilder::binding_success as fn([u8; 12]) -> MessageBuilder,
        |id| MessageBuilder::binding_success(id).mapped_v4(mapped("0.0.0.0:0")),
        |id| MessageBuilder::binding_success(id).mapped_v4(mapped("203.0.113.77:0")),
        // With an attribute that has to be understood.
        |id| MessageBuilder::binding_success(id).mapped_v4(mapped(MAPPED)).attribute(0x7777, &[]),
        |id| MessageBuilder::new(0x0111, id),
    ];
    for make in cases {
        let mut solo = gathering(&stun([1]));
        let bytes = make(id(&solo.last())).build();
        assert_eq!(solo.receive_from(server(1), &bytes), Outcome::Handled);
        assert_eq!((reflexive(&solo).len(), ends(&solo)), (0, 1), "{bytes:?}");
    }
}

#[test]
fn a_servers_text_is_shown_without_what_terminals_act_upon_and_not_at_length() {
    let mut solo = gathering(&stun([1]));
    let mut value = vec![0, 0, 4, 0];
    value.extend_from_slice(b"\x1b[2Jgo away\r\n");
    value.extend_from_slice(&[b'x'; 500]);
    let bytes = MessageBuilder::new(0x0111, id(&solo.last())).attribute(0x0009, &value).build();
    solo.receive_from(server(1), &bytes);
    let (_, _, code, text) = errors(&solo).remove(0);
    assert_eq!((code, text.chars().count(), &text[..11]), (400, 127, "[2Jgo awayx"));
}

/// Req: 8838-13-c
#[test]
fn the_application_may_end_gathering_early_and_late_answers_are_ignored() {
    let mut solo = gathering(&stun([1, 2]));
    let request = solo.last();
    solo.agent.end_of_local_candidates(solo.now, solo.stream).unwrap();
    solo.drain();
    assert_eq!((ends(&solo), solo.agent.gathering_state()), (1, GatheringState::Complete));
    assert!(matches!(solo.receive_from(server(1), &answer(&request, MAPPED)), Outcome::Dropped(_)));
    solo.take();
    solo.run_for(secs(60));
    // Nobody is asked any more, and nobody is to blame.
    assert_eq!((solo.out.len(), reflexive(&solo).len(), errors(&solo).len(), ends(&solo)), (0, 0, 0, 1));
}

/// Req: 9429-3.5.4-a
#[test]
fn candidates_of_the_pool_wait_until_they_are_used() {
    let mut agent = Agent::new(Config::default(), Role::Controlling, Seed::from_name("pool")).unwrap();
    let stream = agent.add_pooled_stream(1).unwrap();
    let now = Instant::ZERO;
    agent.add_socket(now, stream, ComponentId::RTP, Transport::Udp, address("198.51.100.1:5000")).unwrap();
    agent.gather(now, &[]).unwrap();
    let about = |event: &Event| matches!(event, Event::LocalCandidate { .. } | Event::EndOfCandidates { .. });
    let take = |agent: &mut Agent| std::iter::from_fn(|| agent.poll_event()).filter(about).count();
    assert_eq!((take(&mut agent), agent.gathering_state()), (0, GatheringState::Complete));
    agent.use_pooled_stream(now, stream).unwrap();
    assert_eq!(take(&mut agent), 2);
    // Any other stream is none of the pool's.
    let other = agent.add_stream(1).unwrap();
    agent.add_socket(now, other, ComponentId::RTP, Transport::Udp, address("198.51.100.1:5001")).unwrap();
    assert_eq!(take(&mut agent), 2);
    agent.use_pooled_stream(now, other).unwrap();
    assert_eq!(take(&mut agent), 0);
}

/// S156
#[test]
fn without_a_socket_there_is_nothing_to_gather() {
    let mut agent = Agent::new(Config::default(), Role::Controlling, Seed::from_name("S156")).unwrap();
    let stream = agent.add_stream(1).unwrap();
    agent.gather(Instant::ZERO, &stun([1])).unwrap();
    let theirs = nilas::Credentials::new("peer", "passwordOfThePeer012345").unwrap();
    agent.set_remote_description(Instant::ZERO, stream, &RemoteDescription::new(theirs)).unwrap();
    let events: Vec<_> = std::iter::from_fn(|| agent.poll_event()).collect();
    assert!(events.iter().any(|event| matches!(event, Event::EndOfCandidates { .. })));
    assert!(events.iter().any(|event| matches!(event, Event::IceCandidateError { code: 701, .. })));
    assert_eq!(agent.gathering_state(), GatheringState::Complete);
    assert_eq!(agent.stream_state(stream), Some((ConnectionState::Failed, StateReason::NoLocalCandidates)));
}

/// Req: 8445-5.2-a
#[test]
fn a_lite_agent_asks_no_server() {
    let solo = gathering_with(Config::default().with_lite(true), &stun([1]));
    assert_eq!((solo.out.len(), candidates(&solo).len(), ends(&solo), errors(&solo).len()), (0, 1, 1, 0));
}

#[test]
fn servers_that_are_too_many_are_refused_and_a_closed_agent_gathers_no_more() {
    let mut solo = Solo::new(Role::Controlling);
    let before = solo.digest();
    let many = Agent::MAX_SERVERS + 1;
    let refused = solo.agent.gather(solo.now, &stun((0..many).map(|number| number as u8)));
    assert_eq!((refused, solo.digest()), (Err(GatherError::TooManyServers(many)), before));
    solo.agent.gather(solo.now, &stun([1])).unwrap();
    solo.drain();
    solo.agent.close(solo.now);
    solo.drain();
    solo.take();
    solo.run_for(secs(60));
    assert_eq!(solo.out, []);
    assert_eq!(solo.agent.gather(solo.now, &[]), Err(GatherError::Closed));
}

/// Req: 8445-5.1.1.4-b
#[test]
fn a_socket_that_comes_while_gathering_asks_too_and_one_that_goes_asks_no_more() {
    let mut solo = gathering(&stun([1]));
    solo.run_for(secs(1));
    solo.add_socket("198.51.100.2:5000");
    let new = solo.last();
    assert_eq!((new.source, new.destination), (address("198.51.100.2:5000"), server(1)));
    let first = solo.agent.local_candidates(solo.stream).next().unwrap().id;
    solo.agent.remove_local_candidate(solo.now, solo.stream, first).unwrap();
    solo.drain();
    solo.take();
    solo.run_for(secs(5));
    assert!(solo.take().iter().all(|out| out.source == new.source));
    solo.receive_at(server(1), new.source, &answer(&new, MAPPED));
    assert_eq!((reflexive(&solo).len(), ends(&solo), errors(&solo).len()), (1, 1, 0));
}

/// Req: wpc-gatherer-a
/// Req: wpc-gatherer-b
#[test]
fn a_restart_gathers_anew_if_it_is_asked_to() {
    let mut solo = gathering(&stun([1]));
    solo.receive_from(server(1), &answer(&solo.last(), MAPPED));
    let told = |solo: &mut Solo| {
        let events = std::mem::take(&mut solo.events);
        events
            .into_iter()
            .filter_map(|event| match event {
                Event::LocalCandidate { generation, candidate, .. } => {
                    Some(format!("{generation} {}", candidate.kind()))
                }
                Event::EndOfCandidates { generation, .. } => Some(format!("{generation} end")),
                Event::GatheringStateChanged { current, .. } => Some(current.to_string()),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&mut solo), ["gathering", "0 host", "0 srflx", "0 end", "complete"]);
    // With the same answer it is the same candidate.
    solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
    solo.agent.gather(solo.now, &stun([1])).unwrap();
    solo.drain();
    assert_eq!(told(&mut solo), ["1 host", "gathering"]);
    solo.run_for(ms(100));
    solo.receive_from(server(1), &answer(&solo.last(), MAPPED));
    assert_eq!(told(&mut solo), ["1 srflx", "1 end", "complete"]);
    solo.agent.rollback_restart(solo.now, solo.stream).unwrap();
    // The NAT has another address for us by now: that one is told, and the first is not.
    solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
    solo.agent.gather(solo.now, &stun([1])).unwrap();
    solo.run_for(ms(100));
    solo.receive_from(server(1), &answer(&solo.last(), "203.0.113.78:40000"));
    assert_eq!(told(&mut solo), ["2 host", "gathering", "2 srflx", "2 end", "complete"]);
    assert_eq!(reflexive(&solo), []);
    // Without asking anew, what is known is told again.
    solo.agent.rollback_restart(solo.now, solo.stream).unwrap();
    solo.drain();
    let _ = told(&mut solo);
    solo.agent.prepare_restart(solo.now, solo.stream).unwrap();
    solo.drain();
    assert_eq!(told(&mut solo), ["3 host", "3 srflx", "3 srflx", "gathering"]);
}

#[test]
fn continual_gathering_goes_on_until_the_application_ends_it() {
    let mut solo = gathering_with(Config::default().with_continual_gathering(true), &stun([1, 2]));
    solo.run_for(ms(50));
    let requests = solo.take();
    solo.receive_from(server(1), &answer(&requests[0], MAPPED));
    solo.run_for(secs(30));
    assert_eq!((ends(&solo), codes(&solo)), (0, vec![701]));
    // The network changes, and with it the address; the dead server lives again.
    solo.take();
    solo.agent.network_changed(solo.now);
    solo.run_for(ms(100));
    let renewed: Vec<_> = solo.take().into_iter().filter(|out| out.bytes.len() == 28).collect();
    assert_eq!(renewed.len(), 2);
    for out in renewed {
        solo.receive_from(out.destination, &answer(&out, "203.0.113.78:40000"));
    }
    assert_eq!(reflexive(&solo).len(), 2);
    solo.agent.end_of_local_candidates(solo.now, solo.stream).unwrap();
    solo.drain();
    assert_eq!((ends(&solo), codes(&solo)), (1, vec![701]));
}

/// Req: 8445-5.1.1.2-i
#[test]
fn through_a_nat64_an_ipv4_server_tells_an_ipv4_address() {
    let prefix = "64:ff9b::".parse().unwrap();
    let config = Config::default().with_nat64_prefix(Some(prefix));
    let mut agent = Agent::new(config.clone(), Role::Controlling, Seed::from_name("nat64")).unwrap();
    let stream = agent.add_stream(1).unwrap();
    let (now, base) = (Instant::ZERO, address("[2001:db8::1]:5000"));
    agent.add_socket(now, stream, ComponentId::RTP, Transport::Udp, base).unwrap();
    agent.gather(now, &stun([1])).unwrap();
    let mut bytes = Vec::new();
    let transmit = agent.poll_transmit(now, &mut bytes).unwrap();
    assert_eq!((transmit.source, transmit.destination), (base, address("[64:ff9b::c000:201]:3478")));
    let out = Out { at: now, source: base, destination: transmit.destination, bytes };
    let payload = &answer(&out, MAPPED)[..];
    let datagram = nilas::Datagram::new(transmit.destination, base, payload);
    let _ = agent.handle_datagram(now, &datagram);
    let kinds: Vec<_> = agent.local_candidates(stream).map(|one| one.candidate.socket_address().unwrap()).collect();
    assert_eq!(kinds, [base, address(MAPPED)]);
    // With IPv4 of its own the host needs no NAT64.
    let solo = gathering_with(config, &stun([1]));
    assert_eq!(solo.last().destination, server(1));
}
