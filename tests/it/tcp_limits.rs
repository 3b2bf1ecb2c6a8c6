//! ICE over TCP where somebody means ill, or many share a listener.

use std::net::SocketAddr;

use nilas::sim::MessageBuilder;
use nilas::{
    AcceptConnectionError, Admission, Agent, Candidate, CandidateKind, CandidatePairState, ComponentId, Config,
    ConnectionEnd, ConnectionEvent, ConnectionId, ConnectionRequest, Credentials, Doorman, DropReason, Event, Instant,
    Priority, Received, RemoteDescription, Role, Seed, SocketOptions, StreamId, TcpType, Transport,
};

use crate::help::{ms, secs};
use crate::solo::address;

const RTP: ComponentId = ComponentId::RTP;
const LISTENER: &str = "203.0.113.1:7000";

/// An agent with one TCP candidate, and a peer that a test speaks for.
struct Tcp {
    agent: Agent,
    stream: StreamId,
    now: Instant,
    theirs: Credentials,
    next_id: u8,
    sent: Vec<(ConnectionId, Vec<u8>)>,
    requests: Vec<ConnectionRequest>,
    events: Vec<Event>,
}

impl Tcp {
    fn new(tcp_type: TcpType, at: &str, config: Config, candidates: Vec<Candidate>) -> Self {
        let mut agent = Agent::new(config, Role::Controlled, Seed::from_name("tcp")).unwrap();
        let stream = agent.add_stream(1).unwrap();
        let now = Instant::ZERO;
        let options = SocketOptions::default().with_tcp_type(tcp_type);
        agent.add_socket_with(now, stream, RTP, Transport::Tcp, address(at), options).unwrap();
        agent.end_of_local_candidates(now, stream).unwrap();
        let theirs = Credentials::new("peer", "passwordOfThePeer012345").unwrap();
        let description = RemoteDescription::new(theirs.clone()).with_ice2(true).with_candidates(candidates);
        agent.set_remote_description(now, stream, &description).unwrap();
        let (sent, requests, events) = (Vec::new(), Vec::new(), Vec::new());
        let mut tcp = Self { agent, stream, now, theirs, next_id: 0, sent, requests, events };
        tcp.drain();
        tcp
    }

    fn passive() -> Self {
        Self::new(TcpType::Passive, LISTENER, Config::default(), Vec::new())
    }

    fn active(ports: &[u16]) -> Self {
        let candidates = ports.iter().map(|port| passive_candidate(*port)).collect();
        Self::new(TcpType::Active, "198.51.100.1:9", Config::default(), candidates)
    }

    fn drain(&mut self) {
        loop {
            let mut bytes = Vec::new();
            if let Some(transmit) = self.agent.poll_transmit(self.now, &mut bytes) {
                self.sent.push((transmit.connection.unwrap(), bytes));
            } else if let Some(request) = self.agent.poll_connection() {
                self.requests.push(request);
            } else if let Some(event) = self.agent.poll_event() {
                self.events.push(event);
            } else {
                break;
            }
        }
        assert!(self.agent.poll_timeout().is_none_or(|at| at > self.now));
    }

    fn run_for(&mut self, time: std::time::Duration) {
        let end = self.now + time;
        while let Some(at) = self.agent.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.agent.handle_timeout(at);
            self.drain();
        }
        self.now = end;
    }

    fn accept(&mut self, remote: &str) -> Result<ConnectionId, AcceptConnectionError> {
        self.agent.accept_connection(self.now, address(LISTENER), address(remote))
    }

    /// Hands bytes in; what became of each frame.
    fn feed(&mut self, id: ConnectionId, mut bytes: &[u8]) -> Vec<Result<Vec<u8>, Option<DropReason>>> {
        let mut results = Vec::new();
        while let Some(received) = self.agent.handle_stream_bytes(self.now, id, &mut bytes) {
            results.push(match received {
                Received::Data { payload, .. } => Ok(payload.to_vec()),
                Received::Dropped(reason) => Err(Some(reason)),
                _ => Err(None),
            });
        }
        assert!(bytes.is_empty());
        self.drain();
        results
    }

    /// A check of the peer, framed.
    fn check(&mut self) -> Vec<u8> {
        self.next_id += 1;
        let ours = self.agent.local_credentials(self.stream).unwrap();
        let check = MessageBuilder::binding_request([self.next_id; 12])
            .username(ours.ufrag.as_str(), self.theirs.ufrag.as_str())
            .priority(1_000_000)
            .controlling(u64::MAX);
        frame(&check.integrity(&ours.password).fingerprint().build())
    }

    fn ends(&self) -> Vec<ConnectionEnd> {
        let end = |event: &Event| match event {
            Event::ConnectionEnded { reason, .. } => Some(*reason),
            _ => None,
        };
        self.events.iter().filter_map(end).collect()
    }

    fn opened(&mut self) -> Vec<ConnectionId> {
        let mut ids = Vec::new();
        for request in std::mem::take(&mut self.requests) {
            if let ConnectionRequest::Open { id, .. } = request {
                let local = SocketAddr::from(([198, 51, 100, 1], 40_000 + ids.len() as u16));
                self.agent.handle_connection(self.now, ConnectionEvent::Opened { id, local });
                ids.push(id);
            }
        }
        self.drain();
        ids
    }
}

fn passive_candidate(port: u16) -> Candidate {
    let address = SocketAddr::from(([203, 0, 113, 1], port));
    let priority = Priority::new(1_500_000_000 - u32::from(port)).unwrap();
    let foundation = format!("f{port}").parse().unwrap();
    Candidate::new(CandidateKind::Host, RTP, foundation, priority, address).with_tcp_type(TcpType::Passive)
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = u16::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

/// Req: 6544-7.2-b
#[test]
fn data_before_the_first_check_is_dropped_and_after_it_delivered() {
    let mut tcp = Tcp::passive();
    let id = tcp.accept("198.51.100.9:40000").unwrap();
    assert_eq!(tcp.feed(id, &frame(b"\x80early")), [Err(Some(DropReason::UnvalidatedSource))]);
    let check = tcp.check();
    assert_eq!(tcp.feed(id, &check), [Err(None)]);
    assert_eq!(tcp.feed(id, &frame(b"\x80late")), [Ok(b"\x80late".to_vec())]);
    // In the order of the frames: the answer, then our own check, on the same connection.
    assert!(tcp.sent.iter().all(|(on, _)| *on == id));
    assert_eq!(tcp.sent.iter().map(|(_, bytes)| bytes[2..4].to_vec()).collect::<Vec<_>>(), [[1, 1], [0, 1]]);
}

/// A check of one generation of one stream owns the connection; one that cannot be authenticated owns nothing.
///
/// Req: 6544-7.2-b
#[test]
fn a_check_that_is_not_authentic_owns_no_connection() {
    let mut tcp = Tcp::passive();
    let id = tcp.accept("198.51.100.9:40000").unwrap();
    let mut forged = tcp.check();
    let last = forged.len() - 20;
    forged[last] ^= 1;
    assert!(tcp.feed(id, &forged)[0].is_err());
    assert_eq!(tcp.feed(id, &frame(b"\x80data")), [Err(Some(DropReason::UnvalidatedSource))]);
    assert_eq!(tcp.agent.pairs().count(), 0);
    tcp.run_for(secs(11));
    assert_eq!(tcp.ends(), [ConnectionEnd::Silent]);
}

/// Scenario: S138
#[test]
fn empty_and_longest_frames_and_streams_that_lie_are_bounded_and_have_a_reason() {
    // Legal, and none of them a check.
    let mut tcp = Tcp::passive();
    let id = tcp.accept("198.51.100.9:40000").unwrap();
    assert!(tcp.feed(id, &[0; 2000]).iter().all(|result| *result == Err(Some(DropReason::Unclassified))));
    let check = tcp.check();
    assert_eq!(tcp.feed(id, &check), [Err(None)]);
    let payload = vec![0x80; 65_535];
    assert!(tcp.feed(id, &frame(&payload)) == [Ok(payload)]);
    assert_eq!(tcp.feed(id, &[0, 0]), [Err(Some(DropReason::Unclassified))]);
    assert!(tcp.ends().is_empty());

    // Longer than any check, before there was one: nobody waits for it.
    let mut tcp = Tcp::passive();
    let id = tcp.accept("198.51.100.9:40000").unwrap();
    assert_eq!(tcp.feed(id, &[0xff, 0xff, 0]), []);
    assert_eq!(tcp.ends(), [ConnectionEnd::NotStun]);
    assert!(matches!(tcp.requests[..], [ConnectionRequest::Close { id: closed }] if closed == id));
    assert_eq!(tcp.feed(id, &[1, 2, 3]), [Err(Some(DropReason::UnknownConnection))]);

    // A frame that is never complete.
    let mut tcp = Tcp::passive();
    let id = tcp.accept("198.51.100.9:40000").unwrap();
    assert_eq!(tcp.feed(id, &[0, 100, 0, 1]), []);
    for _ in 0..20 {
        tcp.run_for(ms(400));
        assert_eq!(tcp.feed(id, &[0]), []);
    }
    assert!(tcp.ends().is_empty());
    tcp.run_for(secs(3));
    assert_eq!(tcp.ends(), [ConnectionEnd::Silent]);
}

/// Req: 6544-7.1-e
#[test]
fn whoever_answers_a_call_with_something_else_than_stun_is_no_peer() {
    for answer in [b"HTTP/1.1 400 Bad Request\r\n".to_vec(), frame(b"\x16\xfe\xff not a check")] {
        let mut tcp = Tcp::active(&[9000, 9001]);
        tcp.run_for(ms(200));
        let ids = tcp.opened();
        assert_eq!(ids.len(), 2);
        let _ = tcp.feed(ids[0], &answer);
        assert_eq!(tcp.ends(), [ConnectionEnd::NotStun]);
        let state_of = |port: u16| {
            let mut pairs = tcp.agent.pairs();
            pairs.find(|pair| pair.remote_address.port() == port).unwrap().state
        };
        assert_eq!(state_of(9000), CandidatePairState::Failed);
        assert_eq!(state_of(9001), CandidatePairState::InProgress);
    }
}

/// RFC 8489 section 6.2.2: one transmission, and 39.5 s of patience.
///
/// Req: 6544-4.1-d
/// Req: 8489-6.2.2-a
#[test]
fn a_check_over_tcp_is_sent_once_and_given_up_after_39_5_seconds() {
    let mut tcp = Tcp::active(&[9000]);
    tcp.agent.end_of_local_candidates(tcp.now, tcp.stream).unwrap();
    tcp.agent.end_of_remote_candidates(tcp.now, tcp.stream).unwrap();
    assert!(tcp.sent.is_empty());
    tcp.run_for(secs(2));
    let ids = tcp.opened();
    assert_eq!(tcp.sent.len(), 1);
    tcp.run_for(ms(39_499));
    assert_eq!(tcp.agent.pairs().next().unwrap().state, CandidatePairState::InProgress);
    tcp.run_for(ms(1));
    assert_eq!(tcp.agent.pairs().next().unwrap().state, CandidatePairState::Failed);
    assert_eq!(tcp.sent.len(), 1);
    assert_eq!((ids.len(), tcp.ends()), (1, Vec::new()));
}

#[test]
fn ten_thousand_half_open_connections_make_room_for_each_other_and_disturb_nobody() {
    let mut tcp = Tcp::passive();
    let theirs = tcp.accept("198.51.100.9:40000").unwrap();
    let check = tcp.check();
    assert_eq!(tcp.feed(theirs, &check), [Err(None)]);
    let (mut accepted, mut too_many_of_one) = (0, 0);
    for n in 0..10_000_u32 {
        let [_, _, a, b] = n.to_be_bytes();
        match tcp.accept(&format!("198.18.{}.{}:40000", a % 8, b)) {
            Ok(id) => {
                accepted += 1;
                let _ = tcp.feed(id, &[0, 100, 0]);
            }
            Err(AcceptConnectionError::TooManyFromAddress(16)) => too_many_of_one += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((accepted, too_many_of_one), (10_000, 0));
    assert_eq!(tcp.agent.stats().connections_refused, 0);
    assert_eq!(tcp.ends(), vec![ConnectionEnd::Displaced; 9937]);
    let closed = tcp.requests.iter().filter(|request| matches!(request, ConnectionRequest::Close { .. })).count();
    assert_eq!(closed, 9937);
    tcp.events.clear();
    assert_eq!(tcp.feed(theirs, &frame(b"\x80data")), [Ok(b"\x80data".to_vec())]);
    tcp.run_for(secs(11));
    assert_eq!(tcp.ends(), vec![ConnectionEnd::Silent; 63]);
    assert_eq!(tcp.feed(theirs, &frame(b"\x80data")), [Ok(b"\x80data".to_vec())]);
    for n in 0..20 {
        let result = tcp.accept(&format!("198.18.0.1:{}", 40_000 + n));
        assert_eq!(result.is_ok(), n < 16);
        assert!(n < 16 || result == Err(AcceptConnectionError::TooManyFromAddress(16)));
    }
    assert_eq!(tcp.agent.accept_connection(tcp.now, address("203.0.113.1:1"), address("198.18.0.1:1")), {
        Err(AcceptConnectionError::UnknownAddress(address("203.0.113.1:1")))
    });
}

#[test]
fn events_of_connections_that_nobody_has_change_nothing() {
    let mut tcp = Tcp::active(&[9000]);
    tcp.run_for(ms(100));
    let id = tcp.opened()[0];
    tcp.agent.handle_connection(tcp.now, ConnectionEvent::Opened { id, local: address("198.51.100.1:1") });
    tcp.drain();
    assert_eq!(tcp.sent.len(), 1);
    tcp.agent.handle_connection(tcp.now, ConnectionEvent::Closed { id });
    tcp.agent.handle_connection(tcp.now, ConnectionEvent::Closed { id });
    tcp.agent.handle_connection(tcp.now, ConnectionEvent::Failed { id });
    tcp.agent.handle_connection(tcp.now, ConnectionEvent::Opened { id, local: address("198.51.100.1:1") });
    tcp.drain();
    assert_eq!(tcp.ends(), [ConnectionEnd::Lost]);
    assert_eq!(tcp.feed(id, &frame(b"x")), [Err(Some(DropReason::UnknownConnection))]);
}

/// Req: 6544-4.1-b
#[test]
fn one_address_has_a_candidate_of_each_type_and_any_may_be_left_out() {
    let mut agent = Agent::new(Config::default(), Role::Controlling, Seed::from_name("types")).unwrap();
    let (stream, now) = (agent.add_stream(1).unwrap(), Instant::ZERO);
    let types = [(TcpType::Active, 0), (TcpType::Passive, 7000), (TcpType::SimultaneousOpen, 8000)];
    for (tcp_type, port) in types {
        let options = SocketOptions::default().with_tcp_type(tcp_type);
        let at = SocketAddr::from(([203, 0, 113, 1], port));
        let id = agent.add_socket_with(now, stream, RTP, Transport::Tcp, at, options).unwrap();
        assert_eq!(agent.add_socket_with(now, stream, RTP, Transport::Tcp, at, options), Ok(id));
    }
    let mut lines = Vec::new();
    while let Some(event) = agent.poll_event() {
        if let Event::LocalCandidate { candidate, .. } = event {
            lines.push((candidate.to_string(), candidate.priority().get()));
        }
    }
    assert!(lines[0].0.contains(" tcp ") && lines[0].0.contains("203.0.113.1 9 typ host tcptype active"));
    assert!(lines[1].0.contains("203.0.113.1 7000 typ host tcptype passive"));
    assert!(lines[2].0.contains("203.0.113.1 8000 typ host tcptype so"));
    assert!(lines[0].1 > lines[1].1 && lines[1].1 > lines[2].1);
}

/// Req: 6544-4.3-a
#[test]
fn the_default_candidate_is_never_a_simultaneous_open_one() {
    let mut agent = Agent::new(Config::default(), Role::Controlling, Seed::from_name("default")).unwrap();
    let (stream, now) = (agent.add_stream(1).unwrap(), Instant::ZERO);
    let so = SocketOptions::default().with_tcp_type(TcpType::SimultaneousOpen);
    agent.add_socket(now, stream, RTP, Transport::Udp, address("203.0.113.1:5000")).unwrap();
    agent.add_socket_with(now, stream, RTP, Transport::Tcp, address("203.0.113.1:8000"), so).unwrap();
    while agent.poll_event().is_some() {}
    let of =
        |agent: &Agent, transport| agent.default_candidate(stream, RTP, transport).and_then(Candidate::socket_address);
    assert_eq!(of(&agent, Transport::Udp), Some(address("203.0.113.1:5000")));
    assert_eq!(of(&agent, Transport::Tcp), None);
    agent.add_socket(now, stream, RTP, Transport::Tcp, address("203.0.113.1:7000")).unwrap();
    while agent.poll_event().is_some() {}
    assert_eq!(of(&agent, Transport::Tcp), Some(address("203.0.113.1:7000")));
}

/// Req: 6544-4.4-a
#[test]
fn a_lite_agent_has_passive_candidates_only_and_takes_the_calls_of_its_peer() {
    let mut agent = Agent::new(Config::default().with_lite(true), Role::Controlled, Seed::from_name("lite")).unwrap();
    let (stream, now) = (agent.add_stream(1).unwrap(), Instant::ZERO);
    for (tcp_type, is_allowed) in
        [(TcpType::Active, false), (TcpType::SimultaneousOpen, false), (TcpType::Passive, true)]
    {
        let options = SocketOptions::default().with_tcp_type(tcp_type);
        let added = agent.add_socket_with(now, stream, RTP, Transport::Tcp, address(LISTENER), options);
        assert_eq!(added.is_ok(), is_allowed, "{tcp_type:?}");
    }
    let theirs = Credentials::new("peer", "passwordOfThePeer012345").unwrap();
    agent.set_remote_description(now, stream, &RemoteDescription::new(theirs)).unwrap();
    let id = agent.accept_connection(now, address(LISTENER), address("198.51.100.9:40000")).unwrap();
    let ours = agent.local_credentials(stream).unwrap().clone();
    let check = MessageBuilder::binding_request([1; 12])
        .username(ours.ufrag.as_str(), "peer")
        .priority(1_000_000)
        .controlling(1)
        .use_candidate();
    let check = frame(&check.integrity(&ours.password).fingerprint().build());
    let mut bytes = check.as_slice();
    assert!(matches!(agent.handle_stream_bytes(now, id, &mut bytes), Some(Received::Handled)));
    while agent.poll_event().is_some() {}
    let mut buffer = Vec::new();
    assert_eq!(agent.poll_transmit(now, &mut buffer).and_then(|transmit| transmit.connection), Some(id));
    buffer.clear();
    let transmit = agent.send(now, stream, RTP, b"\x80data", &mut buffer).unwrap();
    assert_eq!((transmit.connection, buffer.as_slice()), (Some(id), b"\0\x05\x80data".as_slice()));
}

#[test]
fn closing_an_agent_closes_its_connections() {
    let mut tcp = Tcp::active(&[9000]);
    tcp.run_for(ms(100));
    let id = tcp.opened()[0];
    tcp.agent.close(tcp.now);
    tcp.drain();
    assert!(matches!(tcp.requests[..], [ConnectionRequest::Close { id: closed }] if closed == id));
    assert_eq!(tcp.feed(id, &frame(b"x")), [Err(Some(DropReason::UnknownConnection))]);
}

#[test]
fn removing_a_candidate_closes_its_connections() {
    let mut tcp = Tcp::passive();
    let id = tcp.accept("198.51.100.9:40000").unwrap();
    let check = tcp.check();
    assert_eq!(tcp.feed(id, &check), [Err(None)]);
    let local = tcp.agent.local_candidates(tcp.stream).next().unwrap().id;
    tcp.agent.remove_local_candidate(tcp.now, tcp.stream, local).unwrap();
    tcp.drain();
    assert!(matches!(tcp.requests[..], [ConnectionRequest::Close { id: closed }] if closed == id));
    assert_eq!(tcp.ends(), [ConnectionEnd::Unused]);
    assert_eq!(tcp.accept("198.51.100.9:40001"), Err(AcceptConnectionError::UnknownAddress(address(LISTENER))));
}

/// Fifty sessions share one listener, and one that is none of them knocks, too.
///
/// Scenario: S141
/// Req: 6544-7.2-b
#[test]
fn the_first_frame_tells_which_of_fifty_sessions_a_connection_is_for() {
    let now = Instant::ZERO;
    let mut sessions = Vec::new();
    for n in 0..50 {
        let build = |role, side: &str| {
            let mut agent = Agent::new(Config::default(), role, Seed::from_name(&format!("{side}{n}"))).unwrap();
            let stream = agent.add_stream(1).unwrap();
            (agent, stream)
        };
        let ((mut server, stream), (mut client, _)) = (build(Role::Controlled, "s"), build(Role::Controlling, "c"));
        server.add_socket(now, stream, RTP, Transport::Tcp, address(LISTENER)).unwrap();
        let active = SocketOptions::default().with_tcp_type(TcpType::Active);
        client.add_socket_with(now, stream, RTP, Transport::Tcp, address("198.51.100.1:9"), active).unwrap();
        let of = |agent: &Agent| RemoteDescription::new(agent.local_credentials(stream).unwrap().clone());
        let (of_server, of_client) = (of(&server).with_candidates(vec![passive_candidate(7000)]), of(&client));
        server.set_remote_description(now, stream, &of_client).unwrap();
        client.set_remote_description(now, stream, &of_server).unwrap();
        while server.poll_event().is_some() || client.poll_event().is_some() {}
        sessions.push((server, client, stream));
    }
    let mut doorman = Doorman::new(200, 100);
    let mut waiting = Vec::new();
    for (n, (_, client, _)) in sessions.iter_mut().enumerate() {
        let mut buffer = Vec::new();
        assert!(client.poll_transmit(now, &mut buffer).is_none());
        let Some(ConnectionRequest::Open { id, .. }) = client.poll_connection() else { panic!("no call") };
        let local = SocketAddr::from(([198, 51, 100, 1], 40_000 + n as u16));
        client.handle_connection(now, ConnectionEvent::Opened { id, local });
        assert_eq!(client.poll_transmit(now, &mut buffer).and_then(|transmit| transmit.connection), Some(id));
        doorman.accept(now, n, local).unwrap();
        waiting.push((n, local, buffer));
    }
    // Some say nothing, some say what nobody understands.
    for n in 50..100 {
        doorman.accept(now, n, address("198.51.100.2:1")).unwrap();
    }
    assert_eq!(doorman.handle_bytes(&99, b"GET / HTTP/1.1"), Admission::Refused(ConnectionEnd::NotStun));
    let mut admitted = 0;
    for (n, local, bytes) in waiting {
        for (place, byte) in bytes.iter().enumerate() {
            let admission = doorman.handle_bytes(&n, &[*byte]);
            if place + 1 < bytes.len() {
                assert_eq!(admission, Admission::Waiting);
                continue;
            }
            let Admission::Admitted { ufrag, bytes: all } = admission else { panic!("{admission:?}") };
            assert_eq!(all, bytes);
            let is_owner = |(server, _, stream): &&mut (Agent, Agent, StreamId)| {
                server.local_credentials(*stream).unwrap().ufrag.as_str() == &*ufrag
            };
            let owners: Vec<_> = sessions.iter_mut().enumerate().filter(|(_, session)| is_owner(session)).collect();
            let [(owner, (server, _, stream))] = <[_; 1]>::try_from(owners).unwrap_or_else(|_| panic!("no owner"));
            assert_eq!(owner, n);
            let id = server.accept_connection(now, address(LISTENER), local).unwrap();
            let mut rest = all.as_slice();
            assert!(matches!(server.handle_stream_bytes(now, id, &mut rest), Some(Received::Handled)));
            assert!(server.pairs().all(|pair| pair.stream == *stream) && server.pairs().count() == 1);
            admitted += 1;
        }
    }
    assert_eq!((admitted, doorman.len()), (50, 49));
    let until = doorman.poll_timeout().unwrap();
    assert_eq!(until, now + Doorman::<usize>::PATIENCE);
    let expired: Vec<usize> = std::iter::from_fn(|| doorman.poll_expired(until)).collect();
    assert!(expired.iter().copied().eq(50..99) && doorman.is_empty() && doorman.poll_timeout().is_none());
}

#[test]
fn the_doorman_holds_so_many_and_no_more() {
    let mut doorman = Doorman::new(100, 10);
    let now = Instant::ZERO;
    for n in 0..10_000_u32 {
        let [_, _, a, b] = n.to_be_bytes();
        let accepted = doorman.accept(now, n, address(&format!("198.18.{a}.{b}:1")));
        // Nobody closes those that have made room: at some time there is none.
        assert_eq!(accepted, if n < 200 { Ok(()) } else { Err(AcceptConnectionError::TooMany(100)) });
        let _ = doorman.handle_bytes(&n, &[0, 200, 0]);
    }
    assert_eq!((doorman.len(), doorman.poll_timeout()), (100, Some(now)));
    let displaced: Vec<u32> = std::iter::from_fn(|| doorman.poll_expired(now)).collect();
    assert!(displaced.into_iter().eq(0..100));
    assert_eq!(doorman.poll_timeout(), Some(now + Doorman::<u32>::PATIENCE));
    assert_eq!(doorman.handle_bytes(&100, &vec![0; 100_000]), Admission::Refused(ConnectionEnd::NotStun));
    assert_eq!(doorman.handle_bytes(&100, &[0]), Admission::Unknown);
    assert_eq!(doorman.handle_bytes(&101, &[0; 100]), Admission::Waiting);
    assert_eq!(doorman.remove(&101).map(|bytes| bytes.len()), Some(103));
    let mut doorman = Doorman::new(100, 10);
    let from_one = (0..20).filter(|n| doorman.accept(now, *n, address("198.18.0.1:1")).is_ok()).count();
    assert_eq!(from_one, 10);
}

/// Req: 6544-4.1-c
/// Req: 6544-4.1-d
/// Req: 6544-4.2-b
#[test]
fn a_server_tells_the_address_of_a_simultaneous_open_candidate_over_a_connection_that_stays() {
    let mut agent = Agent::new(Config::default(), Role::Controlled, Seed::from_name("so")).unwrap();
    let (stream, now) = (agent.add_stream(1).unwrap(), Instant::ZERO);
    for (tcp_type, at) in [
        (TcpType::SimultaneousOpen, "10.0.0.1:8000"),
        (TcpType::Passive, "10.0.0.1:7000"),
        (TcpType::Active, "10.0.0.1:9"),
    ] {
        let options = SocketOptions::default().with_tcp_type(tcp_type);
        agent.add_socket_with(now, stream, RTP, Transport::Tcp, address(at), options).unwrap();
    }
    agent.gather(now, &["stun:192.0.2.1:3478".parse().unwrap()]).unwrap();
    let theirs = Credentials::new("peer", "passwordOfThePeer012345").unwrap();
    let description = RemoteDescription::new(theirs.clone()).with_ice2(true);
    agent.set_remote_description(now, stream, &description).unwrap();
    let mut tcp =
        Tcp { agent, stream, now, theirs, next_id: 0, sent: Vec::new(), requests: Vec::new(), events: Vec::new() };
    tcp.drain();
    let [ConnectionRequest::Open { id, local, remote, .. }] = tcp.requests[..] else { panic!("{:?}", tcp.requests) };
    assert_eq!((local, remote), (address("10.0.0.1:8000"), address("192.0.2.1:3478")));
    assert!(!tcp.events.iter().any(|event| matches!(event, Event::EndOfCandidates { .. })));
    tcp.agent.handle_connection(now, ConnectionEvent::Opened { id, local });
    tcp.drain();
    // Without a frame.
    let (on, request) = tcp.sent.pop().unwrap();
    assert_eq!((on, &request[..2], request.len()), (id, [0, 1].as_slice(), 20 + usize::from(request[3])));
    let transaction: [u8; 12] = request[8..20].try_into().unwrap();
    let answer = MessageBuilder::binding_success(transaction).mapped_v4("198.51.100.7:1234".parse().unwrap()).build();
    for byte in &answer {
        let _ = tcp.feed(id, &[*byte]);
    }
    let reflexive = tcp.events.iter().find_map(|event| match event {
        Event::LocalCandidate { candidate, .. } if candidate.kind() == CandidateKind::ServerReflexive => {
            Some(candidate)
        }
        _ => None,
    });
    let reflexive = reflexive.expect("a candidate").to_string();
    assert!(reflexive.contains("198.51.100.7 1234 typ srflx raddr 10.0.0.1 rport 8000 tcptype so"), "{reflexive}");
    let priority = Priority::compute(70, (6 << 13) + 8191, RTP);
    assert!(reflexive.contains(&format!(" {priority} ")), "{reflexive}");
    assert!(tcp.events.iter().any(|event| matches!(event, Event::EndOfCandidates { .. })));
    // It stays while checks run, and goes when a pair is nominated.
    tcp.run_for(secs(20));
    assert_eq!(tcp.requests.len(), 1);
    let accepted = tcp.agent.accept_connection(tcp.now, address("10.0.0.1:7000"), address("203.0.113.9:4000")).unwrap();
    tcp.next_id += 1;
    let ours = tcp.agent.local_credentials(stream).unwrap().clone();
    let check = MessageBuilder::binding_request([9; 12])
        .username(ours.ufrag.as_str(), tcp.theirs.ufrag.as_str())
        .priority(1_000_000)
        .controlling(u64::MAX)
        .use_candidate();
    let _ = tcp.feed(accepted, &frame(&check.integrity(&ours.password).fingerprint().build()));
    let (_, check) = tcp.sent.pop().unwrap();
    let success = MessageBuilder::binding_success(check[10..22].try_into().unwrap());
    let success = success.mapped_v4("10.0.0.1:7000".parse().unwrap()).integrity(&tcp.theirs.password).fingerprint();
    let _ = tcp.feed(accepted, &frame(&success.build()));
    assert!(tcp.agent.selected_pair(stream, RTP).is_some());
    assert!(matches!(tcp.requests[..], [_, ConnectionRequest::Close { id: closed }] if closed == id));
}

#[test]
fn a_server_without_tcp_costs_no_candidate_of_others() {
    for answer in [None, Some(b"HTTP/1.1 400 Bad Request".to_vec()), Some(vec![1, 1, 0xff, 0xff, 0, 0])] {
        let mut agent = Agent::new(Config::default(), Role::Controlled, Seed::from_name("so")).unwrap();
        let (stream, now) = (agent.add_stream(1).unwrap(), Instant::ZERO);
        let so = SocketOptions::default().with_tcp_type(TcpType::SimultaneousOpen);
        agent.add_socket_with(now, stream, RTP, Transport::Tcp, address("10.0.0.1:8000"), so).unwrap();
        agent.gather(now, &["stun:192.0.2.1:3478".parse().unwrap()]).unwrap();
        let mut buffer = Vec::new();
        assert!(agent.poll_transmit(now, &mut buffer).is_none());
        let Some(ConnectionRequest::Open { id, local, .. }) = agent.poll_connection() else { panic!("no call") };
        if let Some(answer) = answer {
            agent.handle_connection(now, ConnectionEvent::Opened { id, local });
            assert!(agent.poll_transmit(now, &mut buffer).is_some());
            let mut bytes = answer.as_slice();
            while agent.handle_stream_bytes(now, id, &mut bytes).is_some() {}
            assert_eq!(agent.poll_connection(), Some(ConnectionRequest::Close { id }));
        } else {
            agent.handle_connection(now, ConnectionEvent::Failed { id });
        }
        let events: Vec<Event> = std::iter::from_fn(|| agent.poll_event()).collect();
        assert!(events.iter().any(|event| matches!(event, Event::EndOfCandidates { .. })));
        assert!(events.iter().any(|event| matches!(event, Event::IceCandidateError { code: 701, .. })), "{events:?}");
    }
}
