//! Addresses that the peer names, or a server: which of them anything is sent to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nilas::sim::{Pair, ServerMethod, SideName};
use nilas::{
    AcceptConnectionError, Candidate, CandidatePairState, ComponentId, Config, DropReason, Event,
    RemoteCandidateOutcome, RemoteFilter, Role, SocketOptions, Transport,
};

use crate::help::{secs, setup};
use crate::solo::{HOST_PRIORITY, Outcome, Solo, address, host, value};

const RTP: ComponentId = ComponentId::RTP;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn add(solo: &mut Solo, candidate: Candidate) -> RemoteCandidateOutcome {
    let outcome = solo.agent.add_remote_candidate(solo.now, solo.stream, candidate).unwrap();
    solo.drain();
    outcome
}

/// Where the agent has sent anything, each address once.
fn destinations(solo: &mut Solo) -> Vec<(SocketAddr, SocketAddr)> {
    let mut found: Vec<_> = solo.take().into_iter().map(|out| (out.source, out.destination)).collect();
    found.sort();
    found.dedup();
    found
}

/// Req: 8445-19.5.1-a
#[test]
fn candidates_of_a_host_or_link_are_not_checked_from_beyond_it() {
    use RemoteCandidateOutcome::{Added, OutOfScope, UnusableAddress};
    let mut solo = Solo::new(Role::Controlling);
    solo.add_socket("[2001:db8::1]:5000");
    solo.describe(Vec::new());
    let narrow = [
        "127.0.0.1:22",
        "127.255.0.1:22",
        "169.254.169.254:80",
        "[::1]:22",
        "[fe80::1]:80",
        "[::ffff:127.0.0.1]:22",
        "[::ffff:169.254.169.254]:80",
        "[64:ff9b::7f00:1]:22",
        "[64:ff9b::a9fe:a9fe]:80",
    ];
    for text in narrow {
        assert_eq!(add(&mut solo, host(text)), OutOfScope, "{text}");
    }
    let nobodys =
        ["0.0.0.0:1", "0.0.0.1:1", "[::]:1", "224.0.0.1:1", "255.255.255.255:1", "[ff02::1]:1", "192.0.2.1:0"];
    for text in nobodys {
        assert_eq!(add(&mut solo, host(text)), UnusableAddress, "{text}");
    }
    assert!(matches!(add(&mut solo, host("10.0.0.1:53")), Added(_)), "private, and perhaps ours as well");
    assert_eq!(solo.agent.stats().remote_addresses_refused, (narrow.len() + nobodys.len()) as u64);
    solo.run_for(secs(60));
    assert_eq!(destinations(&mut solo), [(address("198.51.100.1:5000"), address("10.0.0.1:53"))]);
    assert_eq!(solo.agent.pairs().count(), 1);
}

#[test]
fn a_link_local_candidate_is_paired_once_there_is_a_socket_on_a_link() {
    let mut solo = Solo::new(Role::Controlling);
    solo.describe(Vec::new());
    for text in ["169.254.7.7:6000", "[fe80::7]:6000"] {
        assert_eq!(add(&mut solo, host(text)), RemoteCandidateOutcome::OutOfScope);
    }
    solo.add_socket("[fe80::1]:5000");
    solo.add_socket("169.254.1.1:5000");
    assert!(matches!(add(&mut solo, host("[fe80::8]:6000")), RemoteCandidateOutcome::Added(_)));
    solo.run_for(secs(60));
    let expected = [
        (address("169.254.1.1:5000"), address("169.254.7.7:6000")),
        (address("[fe80::1]:5000"), address("[fe80::7]:6000")),
        (address("[fe80::1]:5000"), address("[fe80::8]:6000")),
    ];
    assert_eq!(destinations(&mut solo), expected);
}

#[test]
fn where_loopback_is_allowed_it_is_checked_from_loopback_only() {
    let mut solo = Solo::with(Role::Controlling, Config::default().with_loopback(true));
    solo.describe(vec![host("127.0.0.1:6000"), host("[::1]:6000")]);
    solo.add_socket("127.0.0.1:5000");
    solo.add_socket("[::1]:5000");
    solo.run_for(secs(1));
    let expected =
        [(address("127.0.0.1:5000"), address("127.0.0.1:6000")), (address("[::1]:5000"), address("[::1]:6000"))];
    assert_eq!(destinations(&mut solo), expected);
}

#[test]
fn an_ipv4_mapped_candidate_is_that_of_the_ipv4_address() {
    let mut solo = Solo::new(Role::Controlling);
    solo.describe(vec![host("[::ffff:203.0.113.1]:6000")]);
    assert_eq!(solo.last().destination, solo.remote);
    solo.answer();
    assert_eq!(solo.agent.pairs().next().map(|pair| pair.state), Some(CandidatePairState::Succeeded));
    assert!(matches!(add(&mut solo, host("203.0.113.1:6000")), RemoteCandidateOutcome::Known(_)));
}

/// Of our own address the peer tells what it likes.
#[test]
fn an_answer_makes_no_candidate_of_a_host_or_link() {
    for text in ["127.0.0.1:5000", "169.254.169.254:80", "0.0.0.0:9", "224.0.0.1:9"] {
        let mut solo = Solo::checking(Role::Controlling);
        let request = solo.last().request();
        let answer = solo.success(request.id, address(text));
        assert_eq!(solo.receive(&answer), Outcome::Handled);
        assert_eq!(solo.agent.local_candidates(solo.stream).count(), 1, "{text}");
        assert!(solo.agent.pairs().all(|pair| pair.is_valid), "the path works: {text}");
    }
}

fn public_only() -> Config {
    Config::default().with_remote_filter(RemoteFilter::public_only())
}

#[test]
fn what_the_filter_leaves_out_is_not_checked_however_it_was_named() {
    let mut solo = Solo::with(Role::Controlling, public_only());
    let deferred = host("10.9.0.4:53").with_extension("ufrag", "peer");
    let _ = add(&mut solo, deferred);
    solo.describe(vec![host("10.9.0.1:53"), host("203.0.113.1:6000")]);
    assert_eq!(add(&mut solo, host("192.168.0.1:53")), RemoteCandidateOutcome::Filtered);
    assert_eq!(add(&mut solo, host("[::ffff:10.0.0.1]:53")), RemoteCandidateOutcome::Filtered);
    let name = "1f4712db-ea17-4bcf-a596-105139dfd8bf.local";
    let named = format!("candidate:1 1 udp {HOST_PRIORITY} {name} 53 typ host").parse().unwrap();
    assert_eq!(add(&mut solo, named), RemoteCandidateOutcome::Resolving);
    solo.agent.resolved(solo.now, name, Some(ip("10.9.0.3")));
    solo.drain();
    assert_eq!(solo.agent.stats().remote_addresses_refused, 5);
    solo.run_for(secs(60));
    assert_eq!(destinations(&mut solo), [(solo.local, solo.remote)]);
}

/// Neither counted as a way to the peer nor told that it is one.
#[test]
fn a_check_from_a_source_that_is_not_talked_to_has_no_effect() {
    let sources = ["10.0.0.1:53", "127.0.0.1:22", "169.254.169.254:80"];
    let describe: [fn(&mut Solo); 2] = [|_| (), |solo| solo.describe(vec![host("203.0.113.1:6000")])];
    for is_lite in [false, true] {
        for describe in describe {
            let mut solo = Solo::with(Role::Controlled, public_only().with_lite(is_lite));
            describe(&mut solo);
            solo.take();
            for source in sources {
                let before = solo.digest();
                let check = solo.check().use_candidate();
                let check = solo.seal(check);
                let outcome = solo.receive_from(address(source), &check);
                assert_eq!(outcome, Outcome::Dropped(DropReason::ExcludedSource), "{source}, lite {is_lite}");
                assert_eq!((solo.digest(), solo.take()), (before, Vec::new()), "{source}, lite {is_lite}");
            }
            assert_eq!(solo.dropped(DropReason::ExcludedSource), 3);
            solo.describe(vec![host("203.0.113.1:6000")]);
            solo.run_for(secs(60));
            assert!(destinations(&mut solo).iter().all(|(_, to)| *to == solo.remote), "lite {is_lite}");
        }
    }
}

#[test]
fn a_connection_from_a_source_that_is_not_talked_to_is_refused() {
    let mut solo = Solo::with(Role::Controlled, public_only());
    let (at, options) = (address("198.51.100.1:7000"), SocketOptions::default());
    solo.agent.add_socket_with(solo.now, solo.stream, RTP, Transport::Tcp, at, options).unwrap();
    for source in ["10.0.0.1:4000", "127.0.0.1:4000", "169.254.1.1:4000"] {
        let source = address(source);
        let refused = solo.agent.accept_connection(solo.now, at, source);
        assert_eq!(refused, Err(AcceptConnectionError::ExcludedAddress(source.ip())));
    }
    assert_eq!(solo.agent.stats().connections_refused, 3);
    assert!(solo.agent.accept_connection(solo.now, at, address("203.0.113.1:4000")).is_ok());
}

/// The addresses that the left side has asked permissions for, each once.
fn permitted(pair: &Pair) -> Vec<IpAddr> {
    let asked = pair.l.sent.iter().filter(|sent| sent.payload.starts_with(&[0, 8]));
    let mut ips: Vec<IpAddr> = asked
        .filter_map(|sent| value(&sent.payload, 0x0012))
        .map(|value| u32::from_be_bytes(value[4..8].try_into().unwrap()) ^ 0x2112_a442)
        .map(|bits| Ipv4Addr::from(bits).into())
        .collect();
    ips.sort();
    ips.dedup();
    ips
}

/// The inside of the network that the server is in.
#[test]
fn a_server_is_asked_for_no_permission_for_what_is_not_talked_to() {
    let server = ip("192.0.2.100");
    let hostile = ["127.0.0.1:22", "169.254.169.254:80", "10.0.0.1:53"];
    let mut pair = setup("relay to the inside")
        .with_turn(server)
        .left(|l| {
            l.only_reaches = Some(server);
            l.config = public_only();
        })
        .right(|r| {
            r.servers.clear();
            r.extra_candidates = hostile.iter().map(|text| host(text)).collect();
        })
        .build();
    assert!(pair.run_until_selected(secs(10)));
    pair.run_for(secs(60));
    assert_eq!(permitted(&pair), [ip("203.0.113.1")]);
    assert_eq!(pair.l.agent.stats().remote_addresses_refused, 3);
    assert!(pair.servers[0].count(ServerMethod::CreatePermission) > 0);
}

#[test]
fn a_server_that_redirects_to_what_is_not_talked_to_is_given_up() {
    let server = ip("192.0.2.100");
    for alternate in ["10.0.0.1:3478", "127.0.0.1:3478", "169.254.1.1:3478"] {
        let mut pair = setup("redirected inside").with_turn(server).config(public_only()).build();
        pair.servers[0].redirect(Some(address(alternate)));
        pair.run_for(secs(12));
        assert!(pair.l.sent.iter().all(|sent| sent.destination != address(alternate)), "{alternate}");
        let is_told = |event: &Event| matches!(event, Event::IceCandidateError { code: 300, .. });
        assert!(pair.peer(SideName::L).events.iter().any(|(_, event)| is_told(event)), "{alternate}");
    }
}
