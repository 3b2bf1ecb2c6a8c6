//! Whoever opens TCP connections and says nothing keeps nobody else out: of an agent, and of a listener that many share.

use std::net::{IpAddr, SocketAddr};

use nilas::sim::MessageBuilder;
use nilas::{
    AcceptConnectionError, Admission, Agent, ComponentId, Config, ConnectionEnd, ConnectionId, ConnectionRequest,
    Credentials, Doorman, Event, Instant, RemoteDescription, Role, Seed, SocketOptions, StreamId, TcpType, Transport,
};

use crate::help::{ms, secs};
use crate::solo::address;

const RTP: ComponentId = ComponentId::RTP;

/// An agent with a TCP candidate at each family, polled as a program would.
struct Host {
    agent: Agent,
    stream: StreamId,
    now: Instant,
    closed: Vec<ConnectionId>,
    ends: Vec<ConnectionEnd>,
}

/// An address of the attacker in its `site`, the n-th.
fn attacker(is_v6: bool, site: u32, n: u64) -> SocketAddr {
    if is_v6 {
        let prefix = 0x2001_0db8_6666_0000_u128 + u128::from(site);
        SocketAddr::new(IpAddr::from((prefix << 64 | u128::from(n)).to_be_bytes()), 999)
    } else {
        SocketAddr::new(IpAddr::from((0xc612_0000 + site).to_be_bytes()), (n % 60_000) as u16 + 1000)
    }
}

impl Host {
    fn new(config: Config, tcp_type: TcpType) -> Self {
        let mut agent = Agent::new(config, Role::Controlled, Seed::from_name("silent")).unwrap();
        let stream = agent.add_stream(1).unwrap();
        let now = Instant::ZERO;
        for text in ["[2001:db8::1]:7000", "203.0.113.1:7000"] {
            let options = SocketOptions::default().with_tcp_type(tcp_type);
            agent.add_socket_with(now, stream, RTP, Transport::Tcp, address(text), options).unwrap();
        }
        let theirs = Credentials::new("peer", "passwordOfThePeer012345").unwrap();
        agent.set_remote_description(now, stream, &RemoteDescription::new(theirs).with_ice2(true)).unwrap();
        let mut host = Self { agent, stream, now, closed: Vec::new(), ends: Vec::new() };
        host.drain();
        host
    }

    fn drain(&mut self) {
        let mut bytes = Vec::new();
        while self.agent.poll_transmit(self.now, &mut bytes).is_some() {
            bytes.clear();
        }
        while let Some(event) = self.agent.poll_event() {
            if let Event::ConnectionEnded { reason, .. } = event {
                self.ends.push(reason);
            }
        }
        while let Some(request) = self.agent.poll_connection() {
            if let ConnectionRequest::Close { id } = request {
                self.closed.push(id);
            }
        }
    }

    fn accept(&mut self, remote: SocketAddr) -> Result<ConnectionId, AcceptConnectionError> {
        let local = if remote.is_ipv6() { "[2001:db8::1]:7000" } else { "203.0.113.1:7000" };
        self.agent.accept_connection(self.now, address(local), remote)
    }

    /// The peer says on a connection who it is.
    fn check(&mut self, id: ConnectionId) {
        let ours = self.agent.local_credentials(self.stream).unwrap();
        let check = MessageBuilder::binding_request([id.to_string().len() as u8; 12])
            .username(ours.ufrag.as_str(), "peer")
            .priority(1_000_000)
            .controlling(u64::MAX)
            .integrity(&ours.password)
            .fingerprint()
            .build();
        let frame = [&(check.len() as u16).to_be_bytes()[..], &check].concat();
        let mut rest = frame.as_slice();
        while self.agent.handle_stream_bytes(self.now, id, &mut rest).is_some() {}
        self.drain();
    }

    fn wait(&mut self, time: std::time::Duration) {
        self.now += time;
        self.agent.handle_timeout(self.now);
        self.drain();
    }
}

const PEERS: [&str; 2] = ["[2001:db8:1::9]:40000", "192.0.2.9:40000"];

#[test]
fn one_silent_site_never_has_more_than_its_share() {
    for (is_v6, tcp_type) in [(true, TcpType::Passive), (false, TcpType::Passive), (true, TcpType::SimultaneousOpen)] {
        let mut host = Host::new(Config::default(), tcp_type);
        let mut n = 0;
        for _ in 0..300 {
            let mut opened = 0;
            while host.accept(attacker(is_v6, 0, n)).is_ok() {
                (n, opened) = (n + 1, opened + 1);
                assert!(opened <= 16);
            }
            let refused = host.accept(attacker(is_v6, 0, n));
            assert_eq!(refused, Err(AcceptConnectionError::TooManyFromAddress(16)));
            for peer in PEERS {
                assert!(host.accept(address(peer)).is_ok(), "{peer}");
            }
            host.wait(ms(100));
        }
    }
}

/// From as many sites as there is room for: the oldest one goes, of those that have most.
#[test]
fn where_there_is_no_room_the_site_that_has_most_makes_it() {
    let mut host = Host::new(Config::default(), TcpType::Passive);
    let mut held = Vec::new();
    for site in 0..4 {
        held.extend((0..16).map(|n| host.accept(attacker(site % 2 == 0, site, n)).unwrap()));
    }
    let mut peers = Vec::new();
    for (n, peer) in PEERS.into_iter().enumerate() {
        peers.push(host.accept(address(peer)).unwrap());
        host.drain();
        assert_eq!(host.closed, [held[0], held[16]][..=n], "one of each of the largest sites, the oldest");
    }
    assert_eq!(host.ends, [ConnectionEnd::Displaced; 2]);
    // What goes is closed by whoever holds it: the agent takes nothing more on it.
    assert!(host.agent.handle_stream_bytes(host.now, held[0], &mut b"\0".as_slice()).is_some());
    // One of the peers says who it is. However many come from anywhere, it stays.
    host.check(peers[0]);
    for site in 0..1000 {
        assert!(host.accept(attacker(site % 2 == 0, 10 + site, 0)).is_ok());
        host.drain();
    }
    assert!(!host.closed.contains(&peers[0]) && host.closed.contains(&peers[1]));
    assert_eq!(host.closed.len(), 1002);
    host.wait(secs(11));
    assert_eq!(host.ends.iter().filter(|end| **end == ConnectionEnd::Silent).count(), 63);
}

#[test]
fn peers_that_have_said_who_they_are_never_make_room() {
    let config = Config::default().with_max_connections(4).with_max_connections_per_address(2);
    let mut host = Host::new(config, TcpType::Passive);
    let mut peers = Vec::new();
    for n in 0..4 {
        let id = host.accept(attacker(true, n, 0)).unwrap();
        host.check(id);
        peers.push(id);
    }
    assert_eq!(host.accept(address(PEERS[0])), Err(AcceptConnectionError::TooMany(4)));
    host.agent.handle_connection(host.now, nilas::ConnectionEvent::Closed { id: peers[3] });
    assert!(host.accept(address(PEERS[0])).is_ok() && host.accept(address(PEERS[1])).is_ok());
    host.drain();
    assert_eq!((host.closed.len(), host.agent.stats().connections_refused), (1, 1));
}

/// A program that closes nothing has no room for more, and the agent no list that grows.
#[test]
fn connections_that_nobody_closes_take_room() {
    let mut host = Host::new(Config::default(), TcpType::Passive);
    let accepted = (0..10_000).filter(|n| host.accept(attacker(true, *n, 0)).is_ok()).count();
    assert_eq!(accepted, 128);
    host.drain();
    assert_eq!(host.closed.len(), 64);
    assert!(host.accept(address(PEERS[0])).is_ok());
}

#[test]
fn a_shared_listener_is_kept_open_alike() {
    for is_v6 in [false, true] {
        let mut doorman = Doorman::new(64, 16);
        let mut now = Instant::ZERO;
        let (mut key, mut n, mut gone) = (0_u64, 0, 0_usize);
        for _ in 0..300 {
            for site in 0..6 {
                while doorman.accept(now, key, attacker(is_v6, site, n)).is_ok() && doorman.len() < 64 {
                    (key, n) = (key + 1, n + 1);
                }
                key += 1;
            }
            for peer in PEERS {
                key += 1;
                doorman.accept(now, key, address(peer)).unwrap();
                gone += std::iter::from_fn(|| doorman.poll_expired(now)).count();
                assert!(doorman.len() <= 64);
                // It is there, and may say whose it is.
                assert_eq!(doorman.handle_bytes(&key, b"\0"), Admission::Waiting);
            }
            now += ms(100);
        }
        assert!(gone > 1000, "{gone}");
    }
}

/// A name that is used again is that of the new connection.
#[test]
fn a_displaced_connection_whose_name_is_used_again_is_forgotten() {
    let mut doorman = Doorman::new(2, 2);
    let now = Instant::ZERO;
    for key in 0..3 {
        doorman.accept(now, key, attacker(false, key, 0)).unwrap();
    }
    doorman.accept(now, 0, address(PEERS[0])).unwrap();
    assert_eq!(std::iter::from_fn(|| doorman.poll_expired(now)).collect::<Vec<_>>(), [1]);
    assert_eq!((doorman.len(), doorman.handle_bytes(&0, b"\0")), (2, Admission::Waiting));
}
