use super::*;
use crate::sdp::candidate::ParseCandidateError as E;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use proptest::prelude::*;

fn parse(text: &str) -> Candidate {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn error(text: &str) -> ParseCandidateError {
    text.parse::<Candidate>().expect_err(text)
}

const HOST: &str = "candidate:1 1 udp 2130706431 192.0.2.1 5010 typ host";

/// Lines as they were seen in the field, and those of the RFCs.
const CORPUS: &[&str] = &[
    // RFC 8839 §5.1 and §4.2, RFC 8840 §4.4.
    "candidate:2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998",
    "candidate:1 1 UDP 2130706431 203.0.113.141 8998 typ host",
    "candidate:1 1 UDP 2130706432 2001:db8:a0b:12f0::1 5000 typ host",
    "candidate:2 2 UDP 1694498815 192.0.2.3 5011 typ srflx raddr 192.0.2.1 rport 8998",
    // RFC 6544 Appendix C.
    "candidate:1 1 TCP 2128609279 10.0.1.1 9 typ host tcptype active",
    "candidate:2 1 TCP 2124414975 10.0.1.1 8998 typ host tcptype passive",
    "candidate:3 1 TCP 2120220671 10.0.1.1 8999 typ host tcptype so",
    "candidate:4 1 TCP 1688207359 192.0.2.3 9 typ srflx raddr 10.0.1.1 rport 9 tcptype active",
    "candidate:5 1 TCP 1684013055 192.0.2.3 45664 typ srflx raddr 10.0.1.1 rport 8998 tcptype passive",
    "candidate:6 1 TCP 1692401663 192.0.2.3 45687 typ srflx raddr 10.0.1.1 rport 8999 tcptype so",
    // Chrome.
    "candidate:2322976989 1 tcp 1518280447 192.0.2.7 9 typ host tcptype passive generation 0 ufrag UXEY network-id 1 network-cost 10",
    "candidate:842163049 1 udp 1677729535 203.0.113.45 50027 typ srflx raddr 0.0.0.0 rport 0 generation 0 network-cost 999",
    "candidate:1560499547 1 udp 2113937151 2cf0b2c0-0842-4fe3-aaa0-4556a2dfbadc.local 33192 typ host generation 0 network-cost 999",
    "candidate:4210984823 1 tcp 1518157311 2cf0b2c0-0842-4fe3-aaa0-4556a2dfbadc.local 9 typ host tcptype active generation 0 network-cost 999",
    "candidate:842163049 1 udp 1677729535 2001:db8:85a3:0:0:8a2e:370:7334 61558 typ srflx raddr :: rport 0 generation 0 ufrag BYCM network-cost 999",
    "candidate:3818712247 1 udp 2122260223 192.0.2.7 61397 typ host generation 0 network-id 1 network-cost 10",
    "candidate:750991856 2 udp 25108222 198.51.100.30 51472 typ relay raddr 203.0.113.61 rport 54763 generation 0 ufrag ETEn network-cost 50",
    "candidate:1853887674 1 udp 1518280447 203.0.113.61 36768 typ prflx raddr 192.0.2.196 rport 36768 generation 0",
    // Chrome before RFC 6544 port 9.
    "candidate:1169731898 2 tcp 1518280447 192.0.2.165 0 typ host tcptype active generation 0",
    // Firefox.
    "candidate:0 1 UDP 2122252543 5bc81191-dc9c-4920-854c-62755131fb5e.local 57601 typ host",
    "candidate:2 1 TCP 2105524479 5bc81191-dc9c-4920-854c-62755131fb5e.local 9 typ host tcptype active",
    "candidate:1 1 UDP 1686052863 203.0.113.246 57601 typ srflx raddr 0.0.0.0 rport 0",
    "candidate:3 1 UDP 92217086 198.51.100.9 61211 typ relay raddr 198.51.100.9 rport 61211",
    // Safari.
    "candidate:3271335521 1 udp 2113937151 7b36d3a4-4b10-4f0d-b8a2-2a0b9c5a0a6e.local 62123 typ host generation 0 ufrag oKMj network-cost 999",
    "candidate:1467250027 1 udp 2122194687 192.0.2.10 54609 typ host generation 0 ufrag 4ZcD network-id 1 network-cost 50",
    // libnice, as GStreamer and Janus print it.
    "candidate:1 1 UDP 2015363327 192.0.2.12 37871 typ host",
    "candidate:2 1 TCP 1015021823 192.0.2.12 9 typ host tcptype active",
    "candidate:3 1 TCP 1010827519 2001:db8::12 45103 typ host tcptype passive",
    "candidate:11 1 UDP 1679819007 203.0.113.12 37871 typ srflx raddr 192.0.2.12 rport 37871",
    "candidate:Rc0000201 2 UDP 8191 198.51.100.12 49203 typ relay raddr 203.0.113.12 rport 37872",
    // pion and LiveKit.
    "candidate:2929762781 1 udp 2130706431 10.0.0.5 56869 typ host",
    "candidate:881547516 1 udp 1694498815 :: 59935 typ srflx raddr :: rport 59935",
    "candidate:452458562 1 udp 1694498815 198.51.100.10 50522 typ srflx raddr 0.0.0.0 rport 50522",
    "candidate:324259901 1 tcp 1671430143 10.0.0.5 7881 typ host tcptype passive",
    "candidate:233762139 1 udp 2130706431 172.17.0.1 41238 typ host ufrag jWgTzKhMzqDlPxsX",
    "candidate:647372371 1 udp 1694498815 203.0.113.68 53991 typ srflx raddr 192.168.0.274 rport 53991 generation 1",
    "candidate:750 1 udp 500 2001:db8:12ce:9fc5:74a5:c6bb:d8b:e08a 53987 typ host",
    "candidate:4207374052 1 tcp 1685790463 192.0.2.15 50000 typ prflx raddr 10.0.0.1 rport 12345 tcptype passive generation 0",
    "candidate:1052353102 1 tcp 2128609279 192.168.0.196 0 typ host tcptype active generation 0",
    "candidate:1052353102 1 tcp 2128609279 192.168.0.196 0 typ host tcptype active empty-value-1  empty-value-2 ",
    "candidate:848194626 1 udp 16777215 198.51.100.1 5000 typ relay raddr 192.168.0.1 rport 5001 generation 0 network-id 1 network-cost 20 ufrag frag42abcdef password abc123exp123",
    // mediasoup.
    "candidate:udpcandidate 1 udp 1076302079 192.168.1.48 46186 typ host",
    "candidate:tcpcandidate 1 tcp 1076276479 127.0.0.1 2015 typ host tcptype passive",
    // ice4j and Asterisk.
    "candidate:1 1 tcp 2113939711 2001:db8::7 4443 typ host tcptype passive generation 0",
    "candidate:Ha58b279 2 udp 2130706431 192.0.2.121 16386 typ host generation 0",
    "candidate:Sc0000201 1 UDP 1694498815 203.0.113.9 12000 typ srflx raddr 192.0.2.1 rport 12000",
    // Odd but legal or tolerated.
    "candidate:1 1 udp 4294967295 192.0.2.1 5010 typ host",
    "candidate:1 001 UDP 0000000007 192.0.2.1 05010 TYP Host generation  ufrag abcd last",
    "candidate:1 1 udp 1 FE80::1%eth0 5010 typ host",
    "candidate:1 1 udp 1 fe80::1%7 5010 typ host foo  bar baz",
    "candidate:1 1 udp 1 192.0.2.1 5010 typ host raddr 192.0.2.9 rport 1",
    "candidate:1 1 tcp 1 192.0.2.1 9 typ srflx tcptype active raddr stun.example.org rport 1 x ",
    "candidate:1 1 udp 1 192.0.2.1 9 typ srflx rport 5 raddr 192.0.2.9 raddr 192.0.2.10 tcptype passive",
    "candidate:1 1 udp 1 host.example. 5010 typ host é ☃",
];

/// S173
/// Req: 8839-5.1-a
/// Req: 6544-4.5-a
#[test]
fn lines_of_all_peers_print_as_they_were_read() {
    for line in CORPUS {
        let candidate = parse(line);
        assert_eq!(candidate.to_string(), *line);
        assert_eq!(parse(&candidate.to_string()), candidate);
    }
}

/// Req: 8839-5.1-a
#[test]
fn every_field_of_a_line_is_read() {
    let c = parse("candidate:2 2 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 10.0.1.1 rport 8998 a b");
    assert_eq!((c.foundation().as_str(), c.component(), c.transport()), ("2", ComponentId::RTCP, Transport::Udp));
    assert_eq!((c.priority().get(), c.kind()), (1_694_498_815, CandidateKind::ServerReflexive));
    assert_eq!(c.socket_address(), Some("192.0.2.3:45664".parse().unwrap()));
    assert_eq!(c.related_address(), Some(&CandidateAddress::Socket("10.0.1.1:8998".parse().unwrap())));
    assert_eq!(c.extensions(), [("a".into(), "b".into())]);
    assert_eq!(c.tcp_type(), None);
}

/// Req: 8839-5.1-b
#[test]
fn numbers_and_foundations_out_of_range_are_refused_where_they_stand() {
    let line = |foundation: &str, component: &str, priority: &str, port: &str| {
        format!("{foundation} {component} udp {priority} 192.0.2.1 {port} typ host").parse::<Candidate>().map(|_| ())
    };
    assert_eq!(line("1", "1", "1", "1"), Ok(()));
    assert_eq!(line(&"f".repeat(32), "256", "2147483647", "65535"), Ok(()));
    let reason = ParseFoundationError::Length(33);
    assert_eq!(line(&"f".repeat(33), "1", "1", "1"), Err(E::Foundation { at: 0, reason }));
    let reason = ParseFoundationError::Length(0);
    assert_eq!(error("candidate:"), E::Foundation { at: 10, reason });
    assert_eq!(error("candidate: \t "), E::Foundation { at: 13, reason });
    let reason = ParseFoundationError::Character(1);
    assert_eq!(line("a-", "1", "1", "1"), Err(E::Foundation { at: 0, reason }));
    for component in ["0", "257", "0001", "-1", "+1", "a"] {
        assert_eq!(line("1", component, "1", "1"), Err(E::Component { at: 2 }), "{component}");
    }
    for priority in ["0", "9999999999", "4294967296", "00000000001", "-1", "+1", "1.0"] {
        assert_eq!(line("1", "1", priority, "1"), Err(E::Priority { at: 8 }), "{priority}");
    }
    for port in ["65536", "000001", "-1", "x"] {
        assert_eq!(line("1", "1", "1", port), Err(E::Port { at: 20 }), "{port}");
    }
}

/// Req: 8839-5.1-b
#[test]
fn priorities_above_the_limit_of_the_rfc_are_kept() {
    for value in [2_147_483_648, u32::MAX] {
        assert_eq!(parse(&format!("1 1 udp {value} 192.0.2.1 1 typ host")).priority().get(), value);
    }
}

#[test]
fn several_blanks_are_one_except_where_an_extension_has_no_value() {
    let plain = parse("1 1 udp 1 192.0.2.1 1 typ srflx raddr 10.0.0.1 rport 5 generation 0 x y");
    for odd in [
        "1  1 udp   1 192.0.2.1  1 typ  srflx  raddr  10.0.0.1  rport   5 generation  0 x y",
        "\t1\t1\tudp\t1\t192.0.2.1\t1\ttyp\tsrflx\traddr\t10.0.0.1\trport\t5\tgeneration\t0\tx\ty\t",
        "  candidate: 1 1 udp 1 192.0.2.1 1 typ srflx raddr 10.0.0.1 rport 5 generation 0 x y  ",
    ] {
        let read = parse(odd);
        assert_eq!((&read.related_address, read.generation()), (&plain.related_address, Some(0)), "{odd:?}");
        assert_eq!(read, plain, "{odd:?}");
        assert_eq!(parse(&read.to_string()), plain, "{odd:?}");
        assert!(has_odd_blanks(odd), "{odd:?}");
    }
    assert!(
        !has_odd_blanks(&format!("a={plain}")) && !has_odd_blanks("a=candidate:1 1 udp 1 192.0.2.1 1 typ host a  b c")
    );
    let empty = parse("1 1 udp 1 192.0.2.1 1 typ srflx raddr  rport 5 x  y z");
    assert_eq!(
        (empty.related_address.clone(), empty.extensions()),
        (None, &[("x".into(), "".into()), ("y".into(), "z".into())][..])
    );
    let nothing = parse("1 1 udp 1 192.0.2.1 1 typ srflx generation  raddr 10.0.0.1 x y");
    assert_eq!(nothing.extensions(), [("x".into(), "y".into())], "without its value it says nothing");
    let masked = nothing.with_masked_related_address();
    assert_eq!(parse(&masked.to_string()), masked);
    let tcp = parse("1 1 tcp 1 192.0.2.1 9 typ host tcptype  active ufrag   abcd");
    assert_eq!((tcp.tcp_type(), tcp.ufrag()), (Some(TcpType::Active), Some("abcd")));
}

/// Req: 8839-5.1-d
#[test]
fn an_address_with_a_colon_is_ipv6_and_any_other_is_ipv4_or_a_name() {
    let address = |text: &str| format!("1 1 udp 1 {text} 7 typ host").parse::<Candidate>().map(|c| c.address);
    assert_eq!(address("2001:db8::1"), Ok(CandidateAddress::Socket("[2001:db8::1]:7".parse().unwrap())));
    // The same address in its IPv6 form (RFC 8445 §5.1.1.1).
    assert_eq!(address("::ffff:192.0.2.1"), Ok(CandidateAddress::Socket("192.0.2.1:7".parse().unwrap())));
    assert_eq!(address("fe80::1%3"), Ok(CandidateAddress::Socket("[fe80::1%3]:7".parse().unwrap())));
    assert_eq!(address("fe80::1%eth0"), Ok(CandidateAddress::Socket("[fe80::1]:7".parse().unwrap())));
    for name in ["x.local", "a.b.local", "host.example", "4e.example"] {
        assert_eq!(address(name), Ok(CandidateAddress::Name { host: name.into(), port: 7 }));
    }
    let long = |length: usize| "a.".repeat(length / 2);
    assert!(address(&long(254)).is_ok());
    assert_eq!(address(&long(256)), Err(E::Address { at: 10 }));
    assert_eq!(address(&(long(254) + "a")), Err(E::Address { at: 10 }));
    for wrong in ["1:2", "192.0.2.256", "192.0.2", "1.2.3.4.5", "fe80::1%", "[::1]", "a..b", ".a", "a/b", "é.local"] {
        assert_eq!(address(wrong), Err(E::Address { at: 10 }), "{wrong}");
    }
}

/// Req: 8839-5.1-e
#[test]
fn transports_compare_in_any_case_and_unknown_ones_are_skippable() {
    for (text, transport) in [("udp", Transport::Udp), ("UDP", Transport::Udp), ("Udp", Transport::Udp)] {
        assert_eq!(parse(&HOST.replace("udp", text)).transport(), transport);
    }
    assert_eq!(parse("1 1 Tcp 1 192.0.2.1 1 typ host tcptype SO").tcp_type(), Some(TcpType::SimultaneousOpen));
    let unknown = error("1 1 sctp 1 192.0.2.1 1 typ host");
    assert_eq!(unknown, E::UnsupportedTransport { at: 4 });
    assert!(unknown.is_skippable());
    assert!(!error("1 1 sctp 1 192.0.2.1 1 typ").is_skippable(), "a broken line is broken first");
    assert_eq!(error("1 1"), E::Transport { at: 3 });
    assert_eq!(error("1 1  1 192.0.2.1 1 typ host"), E::Priority { at: 7 }, "two spaces are one");
}

/// Req: 8839-5.1-f
#[test]
fn types_compare_in_any_case_and_unknown_ones_are_skippable() {
    for kind in ["host", "srflx", "prflx", "relay"] {
        assert_eq!(parse(&HOST.replace("host", kind)).kind().as_str(), kind);
        assert_eq!(parse(&HOST.replace("host", &kind.to_uppercase())).kind().as_str(), kind);
    }
    let unknown = error("candidate:1 1 udp 1 192.0.2.1 1 typ foo");
    assert_eq!(unknown, E::UnsupportedKind { at: 36 });
    assert!(unknown.is_skippable());
    assert_eq!(error("1 1 udp 1 192.0.2.1 1 type host"), E::Kind { at: 22 });
    assert_eq!(error("1 1 udp 1 192.0.2.1 1 typ"), E::Kind { at: 25 });
    assert_eq!(error("1 1 udp 1 192.0.2.1"), E::Port { at: 19 });
}

/// Req: 8839-5.1-g
#[test]
fn reflexive_and_relayed_candidates_have_a_related_address_and_hosts_have_none() {
    let one = |kind, address: &str| {
        Candidate::new(kind, ComponentId::RTP, "1".parse().unwrap(), Priority::MAX, address.parse().unwrap())
    };
    use CandidateKind::{Host, PeerReflexive, Relayed, ServerReflexive};
    for kind in [ServerReflexive, PeerReflexive, Relayed] {
        let known = one(kind, "192.0.2.1:1").with_related_address("10.0.0.1:5".parse().unwrap());
        assert!(known.to_string().ends_with(&format!("typ {kind} raddr 10.0.0.1 rport 5")));
        assert!(known.with_masked_related_address().to_string().ends_with("raddr 0.0.0.0 rport 9"));
        let six = one(kind, "[2001:db8::1]:1");
        assert!(six.to_string().ends_with(kind.as_str()));
        assert!(six.with_masked_related_address().to_string().ends_with("raddr :: rport 9"));
        assert_eq!(parse(&HOST.replace("host", kind.as_str())).related_address(), None);
    }
    let host = one(Host, "192.0.2.1:1").with_related_address("10.0.0.1:5".parse().unwrap());
    assert!(host.to_string().ends_with("typ host"));
    assert_eq!(parse(&format!("{HOST} raddr 10.0.0.1 rport 5")).related_address(), None);
    assert!(
        parse(&format!("{HOST} raddr nonsense! rport 99999")).with_masked_related_address().related_address.is_none()
    );
    let mapped = parse("1 1 udp 1 192.0.2.1 1 typ srflx raddr 10.0.0.1 rport 2 x y").with_masked_related_address();
    assert_eq!(mapped.to_string(), "candidate:1 1 udp 1 192.0.2.1 1 typ srflx raddr 0.0.0.0 rport 9 x y");
}

#[test]
fn a_related_address_that_cannot_be_read_does_no_harm_but_a_wrong_port_is_an_error() {
    let line = |tail: &str| format!("1 1 udp 1 192.0.2.1 1 typ relay {tail}").parse::<Candidate>();
    assert_eq!(line("raddr 192.168.0.274 rport 1").unwrap().related_address, None);
    assert_eq!(line("raddr 1.2.3.4 rport 65536"), Err(E::RelatedPort { at: 52 }));
    assert_eq!(line("rport 1").unwrap().related_address, None);
    assert_eq!(line("raddr  rport 1").unwrap().related_address, None);
    let only_address = line("raddr 10.0.0.1").unwrap();
    assert_eq!(only_address.related_address, Some(CandidateAddress::Socket("10.0.0.1:0".parse().unwrap())));
    let name = line("raddr host.example rport 4").unwrap();
    assert_eq!(name.related_address, Some(CandidateAddress::Name { host: "host.example".into(), port: 4 }));
}

/// Req: 8839-5.1-j
#[test]
fn unknown_extensions_are_kept_and_a_name_without_value_does_no_harm() {
    let one = parse(&format!("{HOST} foo bar empty  baz 1,2;3=4 last"));
    let pairs: Vec<_> = one.extensions().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("foo", "bar"), ("empty", ""), ("baz", "1,2;3=4")]);
    assert_eq!(one.to_string(), format!("{HOST} foo bar empty  baz 1,2;3=4 last"));
    let changed = one.with_extension("more", "");
    assert_eq!(changed.to_string(), format!("{HOST} foo bar empty  baz 1,2;3=4 more "));
    assert_eq!(parse(&changed.to_string()), changed);
}

#[test]
fn extensions_that_could_not_be_read_again_are_not_written() {
    let mut one = parse(HOST);
    for (name, value) in [("", "x"), ("a b", "x"), ("a", "x y"), ("a", "x\r\na=b"), ("RADDR", "x"), ("tcptype", "so")] {
        one = one.with_extension(name, value);
    }
    assert_eq!(one.to_string(), HOST);
    assert_eq!(one.with_extension("ok", "").to_string(), format!("{HOST} ok "));
}

/// Req: 6544-4.5-a
#[test]
fn a_tcp_candidate_needs_a_tcptype_anywhere_after_the_type() {
    let line = |tail: &str| format!("1 1 tcp 1 192.0.2.1 5 typ srflx{tail}").parse::<Candidate>();
    assert_eq!(line(" tcptype active").unwrap().tcp_type, Some(TcpType::Active));
    assert_eq!(line(" tcptype passive").unwrap().tcp_type, Some(TcpType::Passive));
    assert_eq!(line(" tcptype so").unwrap().tcp_type, Some(TcpType::SimultaneousOpen));
    assert_eq!(line(" generation 0 tcptype so x y").unwrap().tcp_type, Some(TcpType::SimultaneousOpen));
    assert_eq!(line(" generation 0 tcptype so x y").unwrap().extensions.len(), 2);
    assert_eq!(line(" generation 0"), Err(E::MissingTcpType { at: 44 }));
    assert_eq!(line(" tcptype both"), Err(E::UnsupportedTcpType { at: 40 }));
    assert!(line("").unwrap_err().is_skippable() && line(" tcptype both").unwrap_err().is_skippable());
    let spelled = line(" tcptype so raddr 10.0.0.1 rport 7 x y").unwrap().with_extension("z", "1");
    let canonical = "candidate:1 1 tcp 1 192.0.2.1 5 typ srflx raddr 10.0.0.1 rport 7 tcptype so x y z 1";
    assert_eq!(spelled.to_string(), canonical);
    assert_eq!(parse(&format!("{HOST} tcptype passive")).tcp_type, None);
}

/// Req: 6544-4.5-b
#[test]
fn the_port_of_an_active_tcp_candidate_is_9() {
    let line = |port: u16| parse(&format!("1 1 tcp 1 192.0.2.1 {port} typ host tcptype active"));
    assert_eq!(line(0), line(9));
    assert_eq!(line(4711).socket_address().unwrap().port(), 9);
    assert!(line(0).to_string().contains(" 0 typ"));
    let own = Candidate::new(
        CandidateKind::Host,
        ComponentId::RTP,
        "1".parse().unwrap(),
        Priority::MAX,
        "192.0.2.1:50000".parse().unwrap(),
    );
    let own = own.with_tcp_type(TcpType::Active);
    assert_eq!(own.to_string(), "candidate:1 1 tcp 2147483647 192.0.2.1 9 typ host tcptype active");
}

/// Req: facto-cand-a
#[test]
fn common_extensions_have_their_values_in_any_order() {
    let one = parse(&format!("{HOST} network-cost 999 ufrag UXEY network-id 65535 generation 4294967295"));
    assert_eq!((one.generation(), one.ufrag()), (Some(u32::MAX), Some("UXEY")));
    assert_eq!((one.network_id(), one.network_cost()), (Some(u16::MAX), Some(999)));
    let wrong = parse(&format!("{HOST} network-cost 1000 network-id 65536 generation -1"));
    assert_eq!((wrong.generation(), wrong.network_id(), wrong.network_cost()), (None, None, None));
    let none = parse(HOST);
    assert_eq!((none.generation(), none.ufrag(), none.network_id()), (None, None, None));
}

/// Req: facto-cand-b
#[test]
fn prefixes_and_line_ends_do_not_matter() {
    let bare = HOST.strip_prefix("candidate:").unwrap();
    for text in [
        HOST.into(),
        format!("a={HOST}"),
        bare.into(),
        format!("a={HOST}\r\n"),
        format!("{HOST}\n"),
        format!("A=Candidate:{bare}\r\n"),
    ] {
        assert_eq!(parse(&text), parse(HOST));
        assert_eq!(parse(&text).to_string(), HOST);
    }
    let spaces = parse(&format!("a={HOST}  \r\n"));
    assert_eq!((spaces == parse(HOST), spaces.to_string()), (true, format!("{HOST}  ")));
    assert_eq!(error("a=candidate:1 0"), E::Component { at: 14 });
}

#[test]
fn line_ends_within_and_long_lines_are_refused() {
    assert_eq!(error(&HOST.replace("typ", "\r\ntyp")), E::ControlCharacter { at: 44 });
    assert_eq!(error(&format!("{HOST} a \0")), E::ControlCharacter { at: 55 });
    let longest = format!("{HOST} a {}", "b".repeat(4096 - HOST.len() - 3));
    assert_eq!(parse(&longest).to_string(), longest);
    assert_eq!(error(&format!("{longest}b")), E::TooLong(4097));
    assert_eq!(error(&format!("{longest}b")).position(), 4096);
}

#[test]
fn the_zone_of_an_address_is_not_written() {
    let own = Candidate::new(
        CandidateKind::Host,
        ComponentId::RTP,
        "1".parse().unwrap(),
        Priority::MAX,
        "[fe80::1%3]:7".parse().unwrap(),
    );
    assert_eq!(own.to_string(), "candidate:1 1 udp 2147483647 fe80::1 7 typ host");
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn any_kind() -> impl Strategy<Value = CandidateKind> {
    use CandidateKind::{Host, PeerReflexive, Relayed, ServerReflexive};
    proptest::sample::select(&[Host, ServerReflexive, PeerReflexive, Relayed])
}

prop_compose! {
    pub(in crate::sdp) fn any_candidate()(
        kind in any_kind(),
        component in 1_u16..=256,
        foundation in "[a-zA-Z0-9+/]{1,32}",
        priority in 1_u32..,
        address in any_address(),
        related in proptest::option::of(any_address()),
        tcp in proptest::sample::select(&[
            None,
            Some(TcpType::Active),
            Some(TcpType::Passive),
            Some(TcpType::SimultaneousOpen),
        ]),
        extensions in proptest::collection::vec(("[!-~]{1,12}", "[!-~é]{0,12}"), 0..4),
    ) -> Candidate {
        let component = ComponentId::new(component).unwrap();
        let (foundation, priority) = (foundation.parse().unwrap(), Priority::new(priority).unwrap());
        let mut address = address;
        if tcp == Some(TcpType::Active) {
            address.set_port(9);
        }
        let mut candidate = Candidate::new(kind, component, foundation, priority, address);
        if let Some(tcp_type) = tcp {
            candidate = candidate.with_tcp_type(tcp_type);
        }
        if let (Some(related), true) = (related, kind != CandidateKind::Host) {
            candidate = candidate.with_related_address(related);
        }
        for (name, value) in extensions {
            if is_extension(&name, &value) {
                candidate = candidate.with_extension(&name, &value);
            }
        }
        candidate
    }
}

proptest! {
    /// Req: 8839-5.1-a
    /// Req: 8839-5.1-j
    #[test]
    fn what_is_written_reads_as_the_same(candidate in any_candidate()) {
        let text = candidate.to_string();
        let read = parse(&text);
        prop_assert_eq!(&read, &candidate);
        prop_assert!(read.spelling.is_none());
        prop_assert_eq!(read.to_string(), text);
    }

    /// S174
    #[test]
    fn no_text_panics_and_what_is_read_prints_as_it_was(text in "\\PC{0,200}|[ -~\r\n]{0,200}") {
        if let Ok(candidate) = text.parse::<Candidate>() {
            prop_assert_eq!(parse(&candidate.to_string()), candidate);
        }
    }

    /// S174
    #[test]
    fn mutated_lines_print_as_they_were_or_are_refused(
        line in proptest::sample::select(CORPUS),
        at in any::<proptest::sample::Index>(),
        with in "\\PC|[ \r\n\0%:.]|[0-9]{1,12}|",
        until in any::<proptest::sample::Index>(),
    ) {
        let chars: Vec<char> = line.chars().collect();
        let (at, until) = (at.index(chars.len()), until.index(chars.len() + 1));
        let after = if until % 3 == 0 { until.max(at) } else { at + 1 };
        let text: String =
            chars[..at].iter().chain(&with.chars().collect::<Vec<_>>()).chain(&chars[after..]).collect();
        match text.parse::<Candidate>() {
            Ok(candidate) => {
                let value = text.trim_end_matches(['\r', '\n']);
                let value = strip_prefix_ignore_case(value, "candidate:").unwrap_or(value);
                prop_assert_eq!(candidate.to_string(), format!("candidate:{value}"));
                prop_assert_eq!(parse(&candidate.to_string()), candidate);
            }
            Err(error) => prop_assert!(error.position() <= text.len()),
        }
    }
}
